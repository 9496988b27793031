//! `uplink` and the IP versions: every pairing of what comes in and what leaves,
//! behind no tag, one or two; what cannot be translated; IPv6 that is left alone.

use sidestep_abi::counter::{Counter, EventKind};
use sidestep_abi::flow::{FLOW_DSCP, FlowAction, FlowKind};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    LO, Programs, XdpAction, XdpRun, action, flow_key, ifindex, ip, isolated, steer, sysctl,
};

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const UPLINK_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x02];
const NEXT_HOP_MAC: Mac = [0x02, 0x71, 0x09, 0, 0, 0x09];

/// Gateway, anchor toward it, anchor toward the TC, TC; by the versions of the
/// gateway and the TC.
const PAIRINGS: [[&str; 4]; 4] = [
    [
        "10.71.3.31:30000",
        "10.71.1.11:40000",
        "10.71.1.11:40000",
        "10.71.2.21:20000",
    ],
    [
        "10.71.3.31:30000",
        "10.71.1.11:40000",
        "[2001:db8:1::11]:40000",
        "[2001:db8:2::21]:20000",
    ],
    [
        "[2001:db8:3::31]:30000",
        "[2001:db8:1::11]:40000",
        "10.71.1.11:40000",
        "10.71.2.21:20000",
    ],
    [
        "[2001:db8:3::31]:30000",
        "[2001:db8:1::11]:40000",
        "[2001:db8:1::11]:40000",
        "[2001:db8:2::21]:20000",
    ],
];

const CROSSED: [&str; 4] = PAIRINGS[1];
const BACK: [&str; 4] = PAIRINGS[2];
const IPV6: [&str; 4] = PAIRINGS[3];

/// From the gateway to the anchor, at the VM's MAC.
fn came([gateway, anchor, ..]: [&str; 4]) -> Packet {
    Packet::udp(gateway, anchor)
        .macs(ROUTER_MAC, VM_MAC)
        .rtp(100, 16_000, 0xbb, 8)
}

/// The same packet on its way to the TC.
fn went(packet: &Packet, [gateway, _, anchor, tc]: [&str; 4]) -> Packet {
    let went = packet
        .clone()
        .between(anchor, tc)
        .macs(VM_MAC, ROUTER_MAC)
        .ttl(63);
    // A translated header has no identification (RFC 6864 §4.1).
    let translated = gateway.starts_with('[') && !tc.starts_with('[');
    if translated { went.id(0) } else { went }
}

fn to(pairing: [&str; 4], anchor_mac: Mac) -> FlowAction {
    steer(5, pairing[2], pairing[3], anchor_mac)
}

fn steering(pairing: [&str; 4]) -> Programs {
    let mut programs = Programs::load();
    programs.set_flow(pairing[0], pairing[1], to(pairing, VM_MAC));
    programs.set_anchor(pairing[1], 7);
    programs
}

fn turned(packet: &Packet) -> XdpRun {
    XdpRun {
        action: XdpAction::Tx,
        frame: packet.bytes(),
    }
}

fn passed(packet: &Packet) -> XdpRun {
    XdpRun {
        action: XdpAction::Pass,
        frame: packet.bytes(),
    }
}

#[test]
fn every_pairing_of_ip_versions_is_steered_behind_every_number_of_tags() {
    isolated(|| {
        let mut programs = Programs::load();
        for pairing in PAIRINGS {
            programs.set_flow(pairing[0], pairing[1], to(pairing, VM_MAC));
            let mut octets = 0;
            for tags in [
                &(|packet: Packet| packet) as &dyn Fn(Packet) -> Packet,
                &|packet| packet.vlan(30),
                &|packet| packet.service_vlan(100).vlan(30),
            ] {
                let packet = tags(came(pairing));
                octets += packet.ip_len() as u64;
                let expected = turned(&went(&packet, pairing));
                assert_eq!(programs.uplink(&packet.bytes()), expected, "{pairing:?}");
            }
            assert_eq!(programs.counted(), [(Counter::SteeredTx, 3)]);
            let stats = programs.stats(5);
            assert_eq!((stats.packets, stats.bytes), (3, octets));
            assert_eq!(
                (stats.ssrc, stats.rtp_packets, stats.duplicate),
                (0xbb, 3, 2)
            );
            programs.set_stats(5, Default::default());
        }
    });
}

#[test]
fn checksums_are_right_whatever_is_translated() {
    isolated(|| {
        let mut programs = Programs::load();
        let ends = [
            [
                "0.0.0.1:1",
                "255.255.255.254:65535",
                "[::1]:65535",
                "[ffff::ffff]:2",
            ],
            [
                "[::1]:1",
                "[ffff:ffff::]:65535",
                "127.255.0.0:2",
                "255.0.255.255:256",
            ],
            ["[ffff::]:255", "[0:ffff::]:1", "[fffe::1]:1", "[::2]:65534"],
        ];
        for pairing in ends {
            programs.set_flow(pairing[0], pairing[1], to(pairing, VM_MAC));
            for seq in 0..200u16 {
                let packet = came(pairing)
                    .tos(seq as u8)
                    .rtp(seq, u32::from(seq) * 160, 0xbb, 8);
                let run = programs.uplink(&packet.bytes());
                assert_eq!(run, turned(&went(&packet, pairing)), "{pairing:?} {seq}");
            }
        }
    });
}

#[test]
fn ipv6_gets_the_udp_checksum_that_ipv4_had_not() {
    isolated(|| {
        let mut programs = steering(CROSSED);
        // Whole pieces of the sum, odd ends, nothing but the header.
        for len in [
            0, 1, 2, 3, 12, 55, 56, 57, 63, 64, 119, 120, 172, 1_000, 1_452,
        ] {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + 1) as u8).collect();
            let packet = came(CROSSED).payload(&payload);
            let run = programs.uplink(&packet.clone().no_udp_checksum().bytes());
            assert_eq!(run, turned(&went(&packet, CROSSED)), "{len} octets");
        }
        programs.counted();
        // One that would take too long to sum up (RFC 7915 §4.5).
        let long = came(CROSSED).payload(&[0x80; 1_473]).no_udp_checksum();
        let run = programs.uplink(&long.bytes());
        assert_eq!((run.action, run.frame), (XdpAction::Drop, long.bytes()));
        assert_eq!(programs.counted(), [(Counter::NoUdpChecksum, 1)]);
    });
}

#[test]
fn a_udp_checksum_of_zero_stays_zero_where_it_may() {
    isolated(|| {
        for pairing in [BACK, IPV6] {
            let programs = steering(pairing);
            let packet = came(pairing).no_udp_checksum();
            let run = programs.uplink(&packet.bytes());
            assert_eq!(run, turned(&went(&packet, pairing)));
        }
    });
}

#[test]
fn what_would_be_too_long_as_ipv6_passes() {
    isolated(|| {
        ip("link set lo mtu 1500").unwrap();
        let mut programs = steering(CROSSED);
        let fits = came(CROSSED).payload(&[0x80; 1_500 - 48]);
        assert_eq!(
            programs.uplink(&fits.bytes()),
            turned(&went(&fits, CROSSED))
        );
        let long = came(CROSSED).payload(&[0x80; 1_500 - 47]);
        assert_eq!(programs.uplink(&long.bytes()), passed(&long));
        assert_eq!(
            programs.counted(),
            [(Counter::SteeredTx, 1), (Counter::TooBig, 1)]
        );
        // The other way it gets shorter.
        let mut programs = steering(BACK);
        let long = came(BACK).payload(&[0x80; 1_500 - 48]);
        assert_eq!(programs.uplink(&long.bytes()), turned(&went(&long, BACK)));
        assert_eq!(programs.counted(), [(Counter::SteeredTx, 1)]);
    });
}

#[test]
fn the_last_hop_goes_to_the_stack_as_it_came() {
    isolated(|| {
        for pairing in PAIRINGS {
            let mut programs = steering(pairing);
            let packet = came(pairing).ttl(1);
            assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
            assert_eq!(programs.counted(), [(Counter::TtlExpired, 1)]);
        }
    });
}

#[test]
fn the_configured_dscp_is_written_and_ecn_left() {
    isolated(|| {
        for pairing in PAIRINGS {
            let mut programs = Programs::load();
            let mut marked = to(pairing, VM_MAC);
            marked.flags |= FLOW_DSCP;
            marked.dscp = 46;
            programs.set_flow(pairing[0], pairing[1], marked);
            let packet = came(pairing).tos(0x0d);
            let expected = went(&packet, pairing).tos(46 << 2 | 1);
            assert_eq!(programs.uplink(&packet.bytes()), turned(&expected));

            // Direct media too.
            let marked = FlowAction {
                flags: FLOW_DSCP,
                dscp: 46,
                ..action(FlowKind::Direct, 6)
            };
            programs.set_flow(pairing[0], pairing[1], marked);
            let expected = packet.clone().tos(46 << 2 | 1);
            assert_eq!(programs.uplink(&packet.bytes()), passed(&expected));
        }
    });
}

/// Routes for everything of both versions behind one next hop.
fn route_everything() {
    ip("link add out0 type veth peer name far0").unwrap();
    ip("link set far0 up").unwrap();
    ip("link set out0 address 02:71:05:00:00:02 up").unwrap();
    ip("address add 10.71.5.2/24 dev out0").unwrap();
    ip("address add 2001:db8:5::2/64 dev out0 nodad").unwrap();
    ip("route add 10.71.0.0/16 via 10.71.5.1").unwrap();
    ip("route add 2001:db8::/32 via 2001:db8:5::1").unwrap();
    ip("neigh add 10.71.5.1 lladdr 02:71:09:00:00:09 dev out0 nud permanent").unwrap();
    ip("neigh add 2001:db8:5::1 lladdr 02:71:09:00:00:09 dev out0 nud permanent").unwrap();
    sysctl("ipv4/ip_forward", "1").unwrap();
    sysctl("ipv6/conf/all/forwarding", "1").unwrap();
}

#[test]
fn every_pairing_is_forwarded_by_the_kernels_routes() {
    isolated(|| {
        route_everything();
        for pairing in PAIRINGS {
            let mut programs = Programs::load();
            for interface in [LO, ifindex("out0").unwrap()] {
                programs.set_uplink(interface, UPLINK_MAC);
            }
            programs.set_flow(pairing[0], pairing[1], to(pairing, [0; 6]));
            let packet = came(pairing).macs(ROUTER_MAC, UPLINK_MAC).tos(0xb8);
            let expected = went(&packet, pairing).macs(UPLINK_MAC, NEXT_HOP_MAC);
            let run = programs.uplink(&packet.bytes());
            assert_eq!(run.action, XdpAction::Redirect, "{pairing:?}");
            assert_eq!(run.frame, expected.bytes(), "{pairing:?}");
            assert_eq!(programs.counted(), [(Counter::SteeredForwarded, 1)]);

            // Direct media of this version.
            programs.set_flow(pairing[0], pairing[1], action(FlowKind::Direct, 6));
            let expected = packet.clone().macs(UPLINK_MAC, NEXT_HOP_MAC).ttl(63);
            let run = programs.uplink(&packet.bytes());
            assert_eq!(run.action, XdpAction::Redirect, "{pairing:?}");
            assert_eq!(run.frame, expected.bytes(), "{pairing:?}");
            assert_eq!(programs.counted(), [(Counter::DirectForwarded, 1)]);
        }
    });
}

#[test]
fn without_a_next_hop_the_stack_gets_what_is_translated() {
    isolated(|| {
        for pairing in [CROSSED, BACK] {
            let mut programs = Programs::load();
            programs.set_uplink(LO, UPLINK_MAC);
            programs.set_flow(pairing[0], pairing[1], to(pairing, [0; 6]));
            let packet = came(pairing).macs(ROUTER_MAC, UPLINK_MAC);
            // The stack takes one off the TTL itself.
            let expected = went(&packet, pairing).macs(ROUTER_MAC, UPLINK_MAC).ttl(64);
            assert_eq!(programs.uplink(&packet.bytes()), passed(&expected));
            assert_eq!(programs.counted(), [(Counter::FibPassed, 1)]);
        }
    });
}

#[test]
fn an_ipv6_stranger_at_an_anchor_is_dropped_and_told_of() {
    isolated(|| {
        let mut programs = steering(IPV6);
        let stranger = "[2001:db8:66::66]:666";
        let packet = came(IPV6).between(stranger, IPV6[1]);
        for packet in [packet.clone(), packet.vlan(3)] {
            let run = programs.uplink(&packet.bytes());
            assert_eq!((run.action, run.frame), (XdpAction::Drop, packet.bytes()));
        }
        assert_eq!(programs.counted(), [(Counter::ForeignAtAnchor, 2)]);
        let [event] = programs.events()[..] else {
            panic!("one event");
        };
        assert_eq!(event.kind, EventKind::Foreign as u32);
        assert_eq!((event.call, event.key), (7, flow_key(stranger, IPV6[1])));
    });
}

#[test]
fn ipv6_that_is_not_plain_udp_passes() {
    isolated(|| {
        let mut programs = steering(IPV6);
        let cases = [
            (came(IPV6).fragment(0, true), Some(Counter::MediaFragment)),
            // It could be anyone's.
            (came(IPV6).fragment(1_232, false), None),
            (came(IPV6).extension(0), Some(Counter::ExtensionHeader)),
            (came(IPV6).extension(43), Some(Counter::ExtensionHeader)),
            (came(IPV6).extension(60), Some(Counter::ExtensionHeader)),
            (came(IPV6).protocol(6), None),
            (came(IPV6).protocol(59), None),
            (
                came(IPV6).between("[2001:db8::1]:1", "[2001:db8::2]:2"),
                None,
            ),
        ];
        for (packet, counter) in cases {
            assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
            let expected: Vec<_> = counter.into_iter().map(|counter| (counter, 1)).collect();
            assert_eq!(programs.counted(), expected);
        }
        assert_eq!(programs.stats(5).packets, 0);
    });
}

#[test]
fn an_ipv6_frame_shorter_than_its_headers_say_passes() {
    isolated(|| {
        let mut programs = steering(IPV6);
        for packet in [came(IPV6), came(IPV6).vlan(5)] {
            let whole = packet.bytes();
            let l3 = whole.len() - packet.ip_len();
            for len in [l3, l3 + 1, l3 + 39, l3 + 40, l3 + 47, whole.len() - 1] {
                let run = programs.uplink(&whole[..len]);
                assert_eq!(
                    (run.action, &run.frame[..]),
                    (XdpAction::Pass, &whole[..len])
                );
                assert_eq!(
                    programs.counted(),
                    [(Counter::Truncated, 1)],
                    "{len} octets"
                );
            }
        }
        assert_eq!(programs.stats(5).packets, 0);
    });
}
