//! `uplink` (XDP), packet by packet: what comes in, what the program returns,
//! the exact octets that come out, what it counts.

use sidestep_abi::counter::{Counter, EventKind};
use sidestep_abi::flow::{FLOW_RTCP, FlowAction, FlowKind};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    LO, Programs, XdpAction, XdpRun, action, flow_key, ifindex, ip, isolated, now_ns, steer, sysctl,
};

const TC: &str = "10.71.2.21:20000";
const GATEWAY: &str = "10.71.3.31:30000";
/// At the VM's address, with a port of the anchor range.
const ANCHOR: &str = "10.71.1.11:40000";

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const UPLINK_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x02];
const NEXT_HOP_MAC: Mac = [0x02, 0x71, 0x09, 0, 0, 0x09];
const NONE: Mac = [0; 6];

/// From the TC to the gateway, on its way through a bridge of this host.
fn direct() -> Packet {
    Packet::udp4(TC, GATEWAY).rtp(100, 16_000, 0xaa, 8)
}

/// From the gateway to the anchor, at the VM's MAC.
fn to_anchor() -> Packet {
    Packet::udp4(GATEWAY, ANCHOR)
        .macs(ROUTER_MAC, VM_MAC)
        .rtp(100, 16_000, 0xbb, 8)
}

/// What the anchor makes of it for the TC.
fn from_anchor() -> Packet {
    to_anchor()
        .between(ANCHOR, TC)
        .macs(VM_MAC, ROUTER_MAC)
        .ttl(63)
}

fn passed(packet: &Packet) -> XdpRun {
    XdpRun {
        action: XdpAction::Pass,
        frame: packet.bytes(),
    }
}

fn dropped(packet: &Packet) -> XdpRun {
    XdpRun {
        action: XdpAction::Drop,
        frame: packet.bytes(),
    }
}

fn with_flow(src: &str, dst: &str, action: FlowAction) -> Programs {
    let mut programs = Programs::load();
    programs.set_flow(src, dst, action);
    programs
}

/// A route for everything behind one next hop, whose MAC is known, on an
/// interface of this MAC.
fn route_everything() {
    ip("link add out0 type veth peer name far0").unwrap();
    ip("link set far0 up").unwrap();
    ip("link set out0 address 02:71:05:00:00:02 up").unwrap();
    ip("address add 10.71.5.2/24 dev out0").unwrap();
    ip("route add 10.71.0.0/16 via 10.71.5.1").unwrap();
    ip("neigh add 10.71.5.1 lladdr 02:71:09:00:00:09 dev out0 nud permanent").unwrap();
    sysctl("ipv4/ip_forward", "1").unwrap();
}

/// Frames come in by one and leave by the other.
fn set_uplinks(programs: &mut Programs) {
    for interface in [LO, ifindex("out0").unwrap()] {
        programs.set_uplink(interface, UPLINK_MAC);
    }
}

#[test]
fn direct_media_on_a_bridge_is_counted_and_passes_as_it_came() {
    isolated(|| {
        let mut programs = with_flow(TC, GATEWAY, action(FlowKind::Direct, 3));
        programs.set_uplink(LO, UPLINK_MAC);
        assert_eq!(programs.uplink(&direct().bytes()), passed(&direct()));
        assert_eq!(programs.counted(), [(Counter::DirectPassed, 1)]);

        let stats = programs.stats(3);
        assert_eq!((stats.packets, stats.bytes), (1, 200));
        assert_eq!((stats.ssrc, stats.payload_type), (0xaa, 8));
        assert!((1..=stats.last_seen_ns()).contains(&stats.first_seen_ns));
        assert!((1..now_ns()).contains(&stats.last_seen_ns()));
        assert_eq!(stats.ifindex, LO);

        let [event] = programs.events()[..] else {
            panic!("one event");
        };
        assert_eq!(event.kind, EventKind::FirstPacket as u32);
        assert_eq!(
            (event.call, event.key, event.ifindex, event.detail),
            (7, flow_key(TC, GATEWAY), LO, 0)
        );
        assert_eq!(event.at_ns, stats.first_seen_ns);
    });
}

#[test]
fn a_packet_of_no_flow_passes_uncounted() {
    isolated(|| {
        let mut programs = with_flow(TC, GATEWAY, action(FlowKind::Direct, 3));
        let almost = [
            direct().between("10.71.2.21:20001", GATEWAY),
            direct().between("10.71.2.22:20000", GATEWAY),
            direct().between(TC, "10.71.3.31:30001"),
            direct().between(TC, "10.71.3.32:30000"),
            direct().between(GATEWAY, TC),
            direct().protocol(6),
            direct().ethertype(0x86dd),
            direct().ethertype(0x0806),
        ];
        for packet in almost {
            assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
        }
        assert_eq!(programs.counted(), []);
        assert_eq!(programs.stats(3).packets, 0);
    });
}

#[test]
fn direct_media_for_this_host_is_forwarded_by_the_kernels_routes() {
    isolated(|| {
        route_everything();
        let mut programs = with_flow(TC, GATEWAY, action(FlowKind::Direct, 3));
        set_uplinks(&mut programs);
        let packet = direct().macs(ROUTER_MAC, UPLINK_MAC).tos(0xb8);
        assert_eq!(
            programs.uplink(&packet.bytes()),
            XdpRun {
                action: XdpAction::Redirect,
                frame: packet.macs(UPLINK_MAC, NEXT_HOP_MAC).ttl(63).bytes(),
            }
        );
        assert_eq!(programs.counted(), [(Counter::DirectForwarded, 1)]);
        assert_eq!(programs.stats(3).packets, 1);
    });
}

#[test]
fn without_a_next_hop_the_stack_gets_the_packet() {
    isolated(|| {
        let mut programs = with_flow(TC, GATEWAY, action(FlowKind::Direct, 3));
        programs.set_uplink(LO, UPLINK_MAC);
        let packet = direct().macs(ROUTER_MAC, UPLINK_MAC);
        // No route at all.
        assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
        // A route, but the neighbour's MAC is not known.
        route_everything();
        ip("neigh del 10.71.5.1 dev out0").unwrap();
        assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
        assert_eq!(programs.counted(), [(Counter::FibPassed, 2)]);
        assert_eq!(programs.stats(3).packets, 2);
    });
}

/// A tap, a bridge, a container: frames that XDP sends there may vanish.
#[test]
fn what_leaves_by_no_uplink_is_the_stacks_to_send() {
    isolated(|| {
        route_everything();
        let mut programs = with_flow(TC, GATEWAY, action(FlowKind::Direct, 3));
        programs.set_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, NONE));
        programs.set_uplink(LO, UPLINK_MAC);
        let direct = direct().macs(ROUTER_MAC, UPLINK_MAC);
        assert_eq!(programs.uplink(&direct.bytes()), passed(&direct));
        let steered = to_anchor().macs(ROUTER_MAC, UPLINK_MAC);
        let rewritten = steered.clone().between(ANCHOR, TC);
        assert_eq!(programs.uplink(&steered.bytes()), passed(&rewritten));
        assert_eq!(programs.counted(), [(Counter::FibPassed, 2)]);
        assert_eq!(
            (programs.stats(3).packets, programs.stats(5).packets),
            (1, 1)
        );
    });
}

/// A sender on this host that leaves the checksum to its card: only a socket buffer tells
/// what is still to be made.
#[test]
fn a_checksum_that_is_left_to_a_card_is_the_stacks_to_make() {
    isolated(|| {
        route_everything();
        let mut programs = with_flow(TC, GATEWAY, action(FlowKind::Direct, 3));
        programs.set_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, NONE));
        set_uplinks(&mut programs);
        let packets = [direct(), to_anchor()];
        for packet in packets.map(|packet| packet.macs(ROUTER_MAC, UPLINK_MAC)) {
            let unfinished = packet.clone().unfinished();
            assert_eq!(programs.uplink(&unfinished.bytes()), passed(&unfinished));
            assert_eq!(programs.counted(), [(Counter::ChecksumUnfinished, 1)]);
            // One off, and it is a checksum like any other.
            let other = packet.udp_checksum(unfinished.pseudo_sum() ^ 1);
            let run = programs.uplink(&other.bytes());
            assert_eq!(run.action, XdpAction::Redirect);
            programs.counted();
        }
        assert_eq!(
            (programs.stats(3).packets, programs.stats(5).packets),
            (2, 2)
        );
    });
}

#[test]
fn steered_media_turns_around_at_a_bridged_vms_anchor() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        programs.set_anchor(ANCHOR, 7);
        assert_eq!(
            programs.uplink(&to_anchor().bytes()),
            XdpRun {
                action: XdpAction::Tx,
                frame: from_anchor().bytes(),
            }
        );
        assert_eq!(programs.counted(), [(Counter::SteeredTx, 1)]);
        let stats = programs.stats(5);
        assert_eq!((stats.packets, stats.bytes, stats.ssrc), (1, 200, 0xbb));
    });
}

#[test]
fn checksums_are_right_whatever_changes() {
    isolated(|| {
        let ends = [
            ("0.0.0.1:1", "255.255.255.254:65535", "127.255.0.0:2"),
            ("192.0.2.1:65535", "192.0.2.1:65535", "192.0.2.1:65535"),
            ("10.255.255.255:256", "1.0.0.0:1", "254.255.255.255:255"),
        ];
        let mut programs = Programs::load();
        for (src, anchor, dst) in ends {
            programs.set_flow(src, anchor, steer(5, anchor, dst, VM_MAC));
            for seq in 0..500u16 {
                let came = to_anchor()
                    .between(src, anchor)
                    .ttl((seq % 250) as u8 + 2)
                    .tos(seq as u8)
                    .id(seq.wrapping_mul(40_503))
                    .rtp(seq, u32::from(seq) * 160, 0xbb, 8);
                let went = came
                    .clone()
                    .between(anchor, dst)
                    .macs(VM_MAC, ROUTER_MAC)
                    .ttl((seq % 250) as u8 + 1);
                assert_eq!(programs.uplink(&came.bytes()).frame, went.bytes());
            }
        }
    });
}

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    isolated(|| {
        let programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        let run = programs.uplink(&to_anchor().no_udp_checksum().bytes());
        assert_eq!(run.frame, from_anchor().no_udp_checksum().bytes());
    });
}

#[test]
fn a_udp_checksum_that_comes_out_zero_is_written_as_all_ones() {
    isolated(|| {
        let programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        // A payload whose two last octets make the sum after the rewrite zero:
        // what the checksum is without them has to be added by them.
        let bare = from_anchor().payload(&[0; 20]).bytes();
        let sum = [bare[40], bare[41]];
        let mut payload = [0; 20];
        payload[18..].copy_from_slice(&sum);
        let went = from_anchor().payload(&payload).bytes();
        assert_eq!(went[40..42], [0xff, 0xff]);
        let run = programs.uplink(&to_anchor().payload(&payload).bytes());
        assert_eq!(run.frame, went);
    });
}

#[test]
fn a_wrong_udp_checksum_stays_wrong() {
    isolated(|| {
        let programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        let came = to_anchor().bytes();
        let right = u16::from_be_bytes([came[40], came[41]]);
        let damaged = to_anchor().udp_checksum(right ^ 0x0100).bytes();
        let run = programs.uplink(&damaged);
        assert_ne!(run.frame, from_anchor().bytes());
        assert_eq!(run.frame.len(), damaged.len());
        assert_eq!(run.frame[..40], from_anchor().bytes()[..40]);
    });
}

#[test]
fn steered_media_on_its_way_to_the_anchor_passes_uncounted() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        // Another interface of the bridge: still addressed to the router.
        let packet = to_anchor().macs(NEXT_HOP_MAC, ROUTER_MAC);
        assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
        assert_eq!(programs.counted(), [(Counter::SteeredTransit, 1)]);
        assert_eq!(programs.stats(5).packets, 0);

        // The same where the host routes for the VM.
        programs.set_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, NONE));
        programs.set_uplink(LO, UPLINK_MAC);
        assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
        assert_eq!(programs.counted(), [(Counter::SteeredTransit, 1)]);
        assert_eq!(programs.stats(5).packets, 0);
    });
}

#[test]
fn steered_media_of_a_routed_vm_is_rewritten_and_forwarded() {
    isolated(|| {
        route_everything();
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, NONE));
        set_uplinks(&mut programs);
        let packet = to_anchor().macs(ROUTER_MAC, UPLINK_MAC);
        assert_eq!(
            programs.uplink(&packet.bytes()),
            XdpRun {
                action: XdpAction::Redirect,
                frame: from_anchor().macs(UPLINK_MAC, NEXT_HOP_MAC).bytes(),
            }
        );
        assert_eq!(programs.counted(), [(Counter::SteeredForwarded, 1)]);
        assert_eq!(programs.stats(5).packets, 1);
    });
}

#[test]
fn steered_media_without_a_next_hop_goes_rewritten_to_the_stack() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, NONE));
        programs.set_uplink(LO, UPLINK_MAC);
        let packet = to_anchor().macs(ROUTER_MAC, UPLINK_MAC);
        // The stack takes one off the TTL itself.
        let rewritten = packet.clone().between(ANCHOR, TC);
        assert_eq!(programs.uplink(&packet.bytes()), passed(&rewritten));
        assert_eq!(programs.counted(), [(Counter::FibPassed, 1)]);
    });
}

#[test]
fn the_last_hop_goes_to_the_stack_as_it_came() {
    isolated(|| {
        route_everything();
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        programs.set_uplink(LO, UPLINK_MAC);
        programs.set_flow(TC, GATEWAY, action(FlowKind::Direct, 3));
        let steered = to_anchor().ttl(1);
        let direct = direct().macs(ROUTER_MAC, UPLINK_MAC).ttl(1);
        assert_eq!(programs.uplink(&steered.bytes()), passed(&steered));
        assert_eq!(programs.uplink(&direct.bytes()), passed(&direct));
        assert_eq!(programs.counted(), [(Counter::TtlExpired, 2)]);

        let last = to_anchor().ttl(2);
        assert_eq!(
            programs.uplink(&last.bytes()).frame,
            from_anchor().ttl(1).bytes()
        );
    });
}

#[test]
fn a_stranger_at_an_anchor_is_dropped_and_told_of_once_a_second() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        programs.set_anchor(ANCHOR, 7);
        let stranger = "203.0.113.66:666";
        let packet = to_anchor().between(stranger, ANCHOR);
        for _ in 0..3 {
            assert_eq!(programs.uplink(&packet.bytes()), dropped(&packet));
        }
        assert_eq!(programs.counted(), [(Counter::ForeignAtAnchor, 3)]);
        let [event] = programs.events()[..] else {
            panic!("one event");
        };
        assert_eq!(event.kind, EventKind::Foreign as u32);
        assert_eq!((event.call, event.key), (7, flow_key(stranger, ANCHOR)));

        // The gateway's own packet, one port off, is a stranger's too.
        let off = to_anchor().between("10.71.3.31:30002", ANCHOR);
        assert_eq!(programs.uplink(&off.bytes()), dropped(&off));
        assert_eq!(programs.counted(), [(Counter::ForeignAtAnchor, 1)]);
        // Another port of the VM's is its own business.
        let other = packet.between(stranger, "10.71.1.11:40002");
        assert_eq!(programs.uplink(&other.bytes()), passed(&other));
        assert_eq!(programs.counted(), []);
        assert_eq!(programs.stats(5).packets, 0);
    });
}

#[test]
fn flows_of_the_tap_programs_pass_the_uplink_uncounted() {
    isolated(|| {
        let mut programs = with_flow(TC, GATEWAY, action(FlowKind::Relay, 3));
        assert_eq!(programs.uplink(&direct().bytes()), passed(&direct()));
        programs.set_flow(TC, GATEWAY, action(FlowKind::Guard, 3));
        assert_eq!(programs.uplink(&direct().bytes()), passed(&direct()));
        assert_eq!(programs.counted(), []);
        assert_eq!(programs.stats(3).packets, 0);
    });
}

#[test]
fn what_is_not_understood_passes_and_is_counted() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        programs.set_anchor(ANCHOR, 7);
        let cases = [
            (
                to_anchor().service_vlan(7).vlan(8).vlan(9),
                vec![(Counter::Tagged, 1)],
            ),
            (
                to_anchor().options(&[0x94, 4, 0, 0]),
                vec![(Counter::IpOptions, 1)],
            ),
            (
                to_anchor().fragment(0, true),
                vec![(Counter::MediaFragment, 1)],
            ),
            // It could be anyone's.
            (to_anchor().fragment(1_480, false), vec![]),
        ];
        for (packet, counted) in cases {
            assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
            assert_eq!(programs.counted(), counted);
        }
        assert_eq!(programs.stats(5).packets, 0);
    });
}

#[test]
fn a_frame_shorter_than_its_headers_say_passes_and_is_counted() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        let whole = to_anchor().bytes();
        for len in [14, 15, 33, 34, 41, 42, whole.len() - 1] {
            let cut = &whole[..len];
            let run = programs.uplink(cut);
            assert_eq!(run.action, XdpAction::Pass, "{len} octets");
            assert_eq!(run.frame, cut, "{len} octets");
            assert_eq!(
                programs.counted(),
                [(Counter::Truncated, 1)],
                "{len} octets"
            );
        }
        // An IP header that is shorter than itself, and IP packets shorter than
        // their headers.
        for (at, value) in [(14, 0x44), (17, 19), (17, 27)] {
            let mut wrong = whole.clone();
            wrong[at] = value;
            assert_eq!(programs.uplink(&wrong).action, XdpAction::Pass);
            assert_eq!(programs.counted(), [(Counter::Truncated, 1)]);
        }
        assert_eq!(programs.stats(5).packets, 0);
    });
}

#[test]
fn padding_after_the_ip_packet_is_none_of_ours() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        let mut came = to_anchor().payload(&[]).bytes();
        came.resize(60, 0);
        let mut went = from_anchor().payload(&[]).bytes();
        went.resize(60, 0);
        let run = programs.uplink(&came);
        assert_eq!((run.action, run.frame), (XdpAction::Tx, went));
        assert_eq!(programs.stats(5).bytes, 28);
    });
}

#[test]
fn what_is_no_rtp_is_counted_and_goes_its_way() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        // STUN, an RTP header that is cut, RTP version 1.
        for payload in [&[0; 20][..], &[0x80; 11], &[0x40; 172]] {
            let run = programs.uplink(&to_anchor().payload(payload).bytes());
            assert_eq!(run.action, XdpAction::Tx);
            assert_eq!(run.frame, from_anchor().payload(payload).bytes());
            assert_eq!(
                programs.counted(),
                [(Counter::SteeredTx, 1), (Counter::NotRtp, 1)]
            );
        }
        let stats = programs.stats(5);
        assert_eq!((stats.packets, stats.rtp_packets), (3, 0));
    });
}

#[test]
fn rtcp_counts_packets_and_octets_only() {
    isolated(|| {
        let rtcp_flow = FlowAction {
            flags: FLOW_RTCP,
            ..steer(6, ANCHOR, TC, VM_MAC)
        };
        let mut programs = with_flow(GATEWAY, ANCHOR, rtcp_flow);
        let came = to_anchor().rtcp(200, 0xbb);
        let went = from_anchor().rtcp(200, 0xbb);
        assert_eq!(programs.uplink(&came.bytes()).frame, went.bytes());
        let stats = programs.stats(6);
        assert_eq!((stats.packets, stats.bytes, stats.rtp_packets), (1, 56, 0));

        // Multiplexed on the port of RTP (RFC 5761 §4): types 192 to 223.
        programs.set_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        for packet_type in [192, 200, 201, 205, 223] {
            programs.uplink(&to_anchor().rtcp(packet_type, 0xbb).bytes());
        }
        let stats = programs.stats(5);
        assert_eq!((stats.packets, stats.rtp_packets), (5, 0));
        // RTP with the marker bit is below and above them.
        programs.uplink(&to_anchor().rtp(1, 0, 0xbb, 0x80 | 63).bytes());
        programs.uplink(&to_anchor().rtp(2, 0, 0xbb, 0x80 | 96).bytes());
        assert_eq!(programs.stats(5).rtp_packets, 2);
        assert_eq!(programs.counted(), [(Counter::SteeredTx, 8)]);
    });
}

#[test]
fn without_room_for_statistics_the_packet_goes_its_way() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(1 << 20, ANCHOR, TC, VM_MAC));
        let run = programs.uplink(&to_anchor().bytes());
        assert_eq!(run.action, XdpAction::Tx);
        assert_eq!(run.frame, from_anchor().bytes());
        assert_eq!(
            programs.counted(),
            [(Counter::SteeredTx, 1), (Counter::NoStats, 1)]
        );
    });
}

#[test]
fn a_copy_on_another_interface_is_sent_on_uncounted() {
    isolated(|| {
        let mut programs = with_flow(GATEWAY, ANCHOR, steer(5, ANCHOR, TC, VM_MAC));
        programs.uplink(&to_anchor().bytes());
        programs.counted();
        // As if it had been met on interface 9 just now.
        let mut stats = programs.stats(5);
        stats.ifindex = 9;
        stats.last_rtp_ns = now_ns();
        programs.set_stats(5, stats);
        let run = programs.uplink(&to_anchor().bytes());
        assert_eq!(run.frame, from_anchor().bytes());
        assert_eq!(
            programs.counted(),
            [(Counter::SteeredTx, 1), (Counter::SeenElsewhere, 1)]
        );
        assert_eq!(programs.stats(5), stats);

        // Over a second later the flow has moved here.
        stats.last_rtp_ns = now_ns() - 1_000_000_001;
        programs.set_stats(5, stats);
        programs.uplink(&to_anchor().bytes());
        assert_eq!(programs.counted(), [(Counter::SteeredTx, 1)]);
        let moved = programs.stats(5);
        assert_eq!((moved.packets, moved.ifindex), (2, LO));
    });
}

#[test]
fn an_event_without_room_is_counted_as_lost() {
    isolated(|| {
        let mut programs = Programs::load_sized(200, Some(4_096));
        for port in 0..200u16 {
            let src = format!("10.0.0.1:{}", 1_000 + port);
            programs.set_flow(&src, GATEWAY, action(FlowKind::Direct, u32::from(port)));
            programs.uplink(&direct().between(&src, GATEWAY).bytes());
        }
        // 64 octets and the ring buffer's own 8 each: 4,096 hold 56.
        assert_eq!(
            programs.counted(),
            [(Counter::DirectPassed, 200), (Counter::EventLost, 144)]
        );
        assert_eq!(programs.events().len(), 56);
    });
}
