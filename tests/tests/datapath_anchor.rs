//! Steering at a VM's tap, frame by frame: what comes to an anchor and crossed no uplink,
//! or one that could not know the next hop.

use sidestep_abi::counter::{Counter, EventKind};
use sidestep_abi::door::{MARK, Neighbour, Tag, UNTAGGED};
use sidestep_abi::flow::{AT_TAP, FLOW_DSCP, FlowAction, FlowKind};
use sidestep_abi::program::TAP_TO_VM;
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    LO, Programs, TcxAction, TcxRun, XdpAction, action, ifindex, ip, isolated, steer,
};

/// The sender, on this host; the anchor; it as the far side sees it; the far side.
type Call = [&'static str; 4];

const V4: Call = [
    "10.71.1.12:30000",
    "10.71.1.11:40000",
    "10.71.1.11:40000",
    "10.71.2.21:20000",
];
const V6: Call = [
    "[2001:db8:1::12]:30000",
    "[2001:db8:1::11]:40000",
    "[2001:db8:1::11]:40000",
    "[2001:db8:2::21]:20000",
];
const TO_V6: Call = [V4[0], V4[1], V6[2], V6[3]];
const TO_V4: Call = [V6[0], V6[1], V4[2], V4[3]];
const CALLS: [Call; 4] = [V4, V6, TO_V6, TO_V4];

const VM: [&str; 2] = ["10.71.1.11", "2001:db8:1::11"];
const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const SENDER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x12];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const OTHER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x02];

/// Through the router, and so far nothing else is known of it.
const BY_ROUTER: Neighbour = Neighbour {
    vm_mac: VM_MAC,
    peer_mac: ROUTER_MAC,
    seen_mac: ROUTER_MAC,
    chosen_by_vm: 0,
    tag: UNTAGGED,
};

fn ip_of(end: &str) -> &str {
    let (ip, _) = end.rsplit_once(':').expect("address and port");
    ip.trim_matches(['[', ']'])
}

/// A tap with the VM behind it.
struct Tap {
    programs: Programs,
    index: u32,
}

impl Tap {
    fn set_up() -> Self {
        if ifindex("tap0").is_err() {
            ip("link add tap0 type veth peer name vm0").unwrap();
        }
        let index = ifindex("tap0").unwrap();
        let mut programs = Programs::load();
        for vm in VM {
            programs.set_vm(vm, index);
        }
        Self { programs, index }
    }

    /// A call at an anchor, whose far side's next hop is known.
    fn steering(call: Call) -> Self {
        let mut tap = Self::set_up();
        tap.steer(call, |_| {});
        tap.knows(call, BY_ROUTER);
        tap
    }

    fn steer(&mut self, [from, to, sent_from, sent_to]: Call, change: fn(&mut FlowAction)) {
        let mut action = steer(5, sent_from, sent_to, AT_TAP);
        change(&mut action);
        self.programs.set_flow(from, to, action);
        self.programs.set_anchor(to, 7);
    }

    fn knows(&mut self, [_, _, vm, far]: Call, neighbour: Neighbour) {
        self.programs
            .set_neighbour(ip_of(vm), ip_of(far), neighbour);
    }

    fn gets(&self, packet: &Packet) -> TcxRun {
        self.programs.tcx(TAP_TO_VM, &packet.bytes(), self.index, 0)
    }

    /// In by the tap, as if the VM had sent it.
    fn sent(&self, packet: &Packet) -> TcxRun {
        TcxRun {
            action: TcxAction::Redirect,
            frame: packet.bytes(),
            mark: MARK | self.index,
        }
    }
}

fn left(packet: &Packet, action: TcxAction) -> TcxRun {
    TcxRun {
        action,
        frame: packet.bytes(),
        mark: 0,
    }
}

fn came([from, to, ..]: Call) -> Packet {
    let packet = Packet::udp(from, to).macs(SENDER_MAC, VM_MAC);
    packet.rtp(100, 16_000, 0xbb, 8)
}

/// What the anchor makes of it.
fn went(packet: &Packet, [from, _, vm, far]: Call) -> Packet {
    let went = packet.clone().between(vm, far).macs(VM_MAC, ROUTER_MAC);
    // A translated header has no identification (RFC 6864 §4.1).
    let translated = from.starts_with('[') && !far.starts_with('[');
    if translated {
        went.id(0).ttl(63)
    } else {
        went.ttl(63)
    }
}

#[test]
fn every_pairing_leaves_as_if_the_vm_had_sent_it() {
    isolated(|| {
        let mut tap = Tap::set_up();
        for call in CALLS {
            tap.steer(call, |_| {});
            tap.knows(call, BY_ROUTER);
            let mut octets = 0;
            // Checksums of every kind: sums that wrap, and the one of all ones.
            for seq in 0..200u16 {
                let packet = came(call).rtp(seq, u32::from(seq) * 160, 0xbb, 8);
                octets += packet.ip_len() as u64;
                let expected = tap.sent(&went(&packet, call));
                assert_eq!(tap.gets(&packet), expected, "{call:?} {seq}");
            }
            assert_eq!(tap.programs.counted(), [(Counter::SteeredAtTap, 200)]);
            let stats = tap.programs.stats(5);
            assert_eq!((stats.packets, stats.bytes), (200, octets));
            assert_eq!((stats.lost(), stats.ifindex), (0, tap.index));
            tap.programs.set_stats(5, Default::default());
        }
    });
}

#[test]
fn a_checksum_of_zero_stays_zero_where_it_may() {
    isolated(|| {
        for call in [V4, V6, TO_V4] {
            let tap = Tap::steering(call);
            let packet = came(call).no_udp_checksum();
            assert_eq!(tap.gets(&packet), tap.sent(&went(&packet, call)));
        }
        let mut tap = Tap::steering(TO_V6);
        for len in [0, 1, 2, 55, 56, 63, 64, 119, 172, 1_000, 1_452] {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + 1) as u8).collect();
            let packet = came(TO_V6).payload(&payload);
            let run = tap.gets(&packet.clone().no_udp_checksum());
            assert_eq!(run, tap.sent(&went(&packet, TO_V6)), "{len} octets");
        }
        tap.programs.counted();
        let long = came(TO_V6).payload(&[0x80; 1_473]).no_udp_checksum();
        assert_eq!(tap.gets(&long), left(&long, TcxAction::Next));
        assert_eq!(tap.programs.counted(), [(Counter::TooBig, 1)]);
        ip("link set tap0 mtu 2000").unwrap();
        assert_eq!(tap.gets(&long), left(&long, TcxAction::Drop));
        assert_eq!(tap.programs.counted(), [(Counter::NoUdpChecksum, 1)]);
    });
}

/// It is dropped, uncounted in its flow: a call that hears nothing else goes back to its VM.
/// Whoever sends to the anchor shows by which next hop it is reached.
#[test]
fn without_a_next_hop_nothing_leaves_until_the_far_side_has_sent() {
    isolated(|| {
        for call in [V4, V6] {
            let mut tap = Tap::set_up();
            let [sender, anchor, _, far] = call;
            let back = [far, anchor, anchor, sender];
            tap.steer(call, |_| {});
            tap.programs
                .set_flow(far, anchor, steer(6, anchor, sender, AT_TAP));
            let packet = came(call);
            assert_eq!(tap.gets(&packet), left(&packet, TcxAction::Drop));
            assert_eq!(tap.programs.counted(), [(Counter::AnchorNoNeighbour, 1)]);
            assert_eq!(tap.programs.stats(5).packets, 0);

            // The sender's own is known now.
            let answer = came(back).macs(ROUTER_MAC, VM_MAC);
            let to_sender = went(&answer, back).macs(VM_MAC, SENDER_MAC);
            assert_eq!(tap.gets(&answer), tap.sent(&to_sender));
            assert_eq!(tap.gets(&packet), tap.sent(&went(&packet, call)));
            assert_eq!(tap.programs.counted(), [(Counter::SteeredAtTap, 2)]);
        }
    });
}

/// Media teaches nothing where signalling has, and where the VM has chosen.
#[test]
fn what_is_known_of_a_next_hop_stands() {
    isolated(|| {
        let mut tap = Tap::steering(V4);
        let known = Neighbour {
            chosen_by_vm: 1,
            ..BY_ROUTER
        };
        tap.programs.set_neighbour(VM[0], ip_of(V4[0]), known);
        tap.gets(&came(V4).macs(OTHER_MAC, VM_MAC));
        let [vm, sender] = [VM[0], ip_of(V4[0])];
        assert_eq!(tap.programs.neighbour(vm, sender), Some(known));
        assert_eq!(tap.programs.neighbour(vm, "::"), None);
    });
}

#[test]
fn the_vms_own_tag_goes_with_it() {
    isolated(|| {
        let mut tap = Tap::steering(V4);
        let tag = Tag {
            protocol_be: 0x8100u16.to_be(),
            control: 30,
        };
        tap.knows(V4, Neighbour { tag, ..BY_ROUTER });
        // BPF_PROG_TEST_RUN shows what stands beside a frame as little as in it.
        assert_eq!(tap.gets(&came(V4)), tap.sent(&went(&came(V4), V4)));
    });
}

#[test]
fn a_flooded_frame_is_steered_at_its_vms_tap_only() {
    isolated(|| {
        let mut tap = Tap::steering(V4);
        let packet = came(V4);
        for other in [LO, ifindex("vm0").unwrap()] {
            let run = tap.programs.tcx(TAP_TO_VM, &packet.bytes(), other, 0);
            assert_eq!(run, left(&packet, TcxAction::Next));
        }
        let broadcast = packet.macs(SENDER_MAC, [0xff; 6]);
        assert_eq!(tap.gets(&broadcast), left(&broadcast, TcxAction::Next));
        assert_eq!(tap.programs.counted(), []);
        assert_eq!(tap.programs.stats(5).packets, 0);
    });
}

#[test]
fn strangers_at_the_anchor_are_dropped_and_told_of() {
    isolated(|| {
        for call in [V4, V6] {
            let mut tap = Tap::steering(call);
            let [sender, anchor, ..] = call;
            let stranger = sender.replace("12", "66");
            let packet = came(call).between(&stranger, anchor);
            for _ in 0..3 {
                assert_eq!(tap.gets(&packet), left(&packet, TcxAction::Drop));
            }
            assert_eq!(tap.programs.counted(), [(Counter::ForeignAtAnchor, 3)]);
            let [event] = tap.programs.events()[..] else {
                panic!("one event");
            };
            assert_eq!((event.kind, event.call), (EventKind::Foreign as u32, 7));
            assert_eq!(event.ifindex, tap.index);

            // From where the thin client registered: its port may be learned.
            let registered = sender.replace(":30000", ":0");
            tap.programs
                .set_flow(&registered, anchor, action(FlowKind::Learn, 8));
            let packet = came(call).between(&sender.replace("30000", "61000"), anchor);
            assert_eq!(tap.gets(&packet), left(&packet, TcxAction::Drop));
            assert_eq!(tap.programs.counted(), [(Counter::Unlearned, 1)]);
            let [event] = tap.programs.events()[..] else {
                panic!("one event");
            };
            assert_eq!(event.kind, EventKind::Unlearned as u32);
        }
    });
}

#[test]
fn what_cannot_be_steered_passes() {
    isolated(|| {
        for (call, cases) in [
            (V4, [Counter::TtlExpired, Counter::MediaFragment]),
            (V6, [Counter::TtlExpired, Counter::MediaFragment]),
            (TO_V6, [Counter::TtlExpired, Counter::MediaFragment]),
        ] {
            let mut tap = Tap::steering(call);
            for (packet, counter) in [came(call).ttl(1), came(call).fragment(0, true)]
                .into_iter()
                .zip(cases)
            {
                assert_eq!(tap.gets(&packet), left(&packet, TcxAction::Next));
                assert_eq!(tap.programs.counted(), [(counter, 1)], "{call:?}");
            }
        }
        // To the VM itself, at a port that is no anchor.
        let tap = Tap::steering(V4);
        let other = came(V4).between(V4[0], "10.71.1.11:40002");
        assert_eq!(tap.gets(&other), left(&other, TcxAction::Next));
    });
}

#[test]
fn the_configured_dscp_is_written_and_ecn_left() {
    isolated(|| {
        for call in CALLS {
            let mut tap = Tap::set_up();
            tap.steer(call, |action| {
                action.flags |= FLOW_DSCP;
                action.dscp = 46;
            });
            tap.knows(call, BY_ROUTER);
            let packet = came(call).tos(0x0d);
            let expected = went(&packet, call).tos(46 << 2 | 1);
            assert_eq!(tap.gets(&packet), tap.sent(&expected), "{call:?}");
        }
    });
}

#[test]
fn an_error_about_a_steered_packet_reaches_its_sender() {
    isolated(|| {
        for (call, kind) in [(V4, (3, 3)), (V6, (1, 4))] {
            let [sender, anchor, _, far] = call;
            let mut tap = Tap::steering(call);
            tap.programs
                .set_flow(far, anchor, steer(6, anchor, sender, AT_TAP));
            let sent = Packet::udp(sender, anchor).rtp(1, 160, 9, 8);
            let steered = Packet::udp(anchor, far).rtp(1, 160, 9, 8);
            let came = Packet::error(far, anchor, kind, 0, &steered);
            let came = came.macs(ROUTER_MAC, VM_MAC);
            // Nobody knows where the sender is: it is not the VM's to answer.
            assert_eq!(tap.gets(&came), left(&came, TcxAction::Drop));
            let known = Neighbour {
                peer_mac: SENDER_MAC,
                ..BY_ROUTER
            };
            tap.programs
                .set_neighbour(ip_of(anchor), ip_of(sender), known);
            let went = Packet::error(anchor, sender, kind, 0, &sent);
            let went = went.macs(VM_MAC, SENDER_MAC).ttl(63);
            assert_eq!(tap.gets(&came), tap.sent(&went));
            assert_eq!(
                tap.programs.counted(),
                [
                    (Counter::ErrorTranslated, 1),
                    (Counter::AnchorNoNeighbour, 1)
                ]
            );
            // About anything else it is the VM's.
            let other = Packet::error(far, anchor, kind, 0, &sent);
            assert_eq!(tap.gets(&other), left(&other, TcxAction::Next));
            // An uplink leaves both to the tap.
            for packet in [came, other] {
                let run = tap.programs.uplink(&packet.bytes());
                assert_eq!((run.action, run.frame), (XdpAction::Pass, packet.bytes()));
            }
            assert_eq!(tap.programs.counted(), []);
        }
    });
}

/// What an uplink is not to steer comes to the tap as it came, counted there.
#[test]
fn an_uplink_leaves_it_to_the_tap() {
    isolated(|| {
        for call in CALLS {
            let mut tap = Tap::steering(call);
            tap.programs.set_uplink(LO, OTHER_MAC);
            for to in [VM_MAC, OTHER_MAC] {
                for tagged in [false, true] {
                    let packet = came(call).macs(ROUTER_MAC, to);
                    let packet = if tagged { packet.vlan(9) } else { packet };
                    let run = tap.programs.uplink(&packet.bytes());
                    assert_eq!((run.action, run.frame), (XdpAction::Pass, packet.bytes()));
                }
            }
            assert_eq!(tap.programs.counted(), [(Counter::SteeredTransit, 4)]);
            assert_eq!(tap.programs.stats(5).packets, 0);
            assert_eq!(tap.gets(&came(call)).action, TcxAction::Redirect);
            assert_eq!(tap.programs.stats(5).packets, 1);
        }
    });
}
