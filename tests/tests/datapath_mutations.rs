//! A tenant's VM, or anyone on the network, can send any frame. Frames of every
//! shape that the programs know are damaged at random (with fixed seeds) and run:
//! what a program returns must be allowed for what it has been given, and where it
//! writes anything at all, it may only be what steering a flow writes.

use sidestep_abi::door::{MARK, Neighbour, PortClass, Side, UNTAGGED};
use sidestep_abi::flow::FlowKind;
use sidestep_abi::program::{TAP_FROM_VM, TAP_TO_VM};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    LO, Programs, TcxAction, XdpAction, action, isolated, now_ns, steer,
};

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const DOOR_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x01];
const HOP_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x09];

/// By which the VM reaches the far side of what is steered at its tap.
const BY_HOP: Neighbour = Neighbour {
    vm_mac: VM_MAC,
    peer_mac: HOP_MAC,
    seen_mac: HOP_MAC,
    chosen_by_vm: 1,
    tag: UNTAGGED,
};

/// What comes in, and what it becomes, in both versions and between them.
const STEERED: [[&str; 4]; 4] = [
    [
        "10.1.0.1:1000",
        "10.2.0.1:40000",
        "10.2.0.1:40000",
        "10.3.0.1:3000",
    ],
    [
        "10.1.0.2:1000",
        "10.2.0.1:40002",
        "[fd02::1]:40002",
        "[fd03::1]:3000",
    ],
    [
        "[fd01::1]:1000",
        "[fd02::1]:40004",
        "10.2.0.1:40004",
        "10.3.0.1:3002",
    ],
    [
        "[fd01::2]:1000",
        "[fd02::1]:40006",
        "[fd02::1]:40006",
        "[fd03::1]:3004",
    ],
];
const DIRECT: [&str; 2] = ["10.1.0.9:9000", "10.3.0.9:9002"];
const GUARDED: [&str; 2] = ["10.2.0.1:6000", "192.0.2.1:6002"];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn seeds() -> Vec<Packet> {
    let mut seeds = Vec::new();
    for [src, dst, ..] in STEERED {
        let plain = Packet::udp(src, dst)
            .macs(ROUTER_MAC, VM_MAC)
            .rtp(7, 160, 9, 8);
        seeds.extend([
            plain.clone(),
            plain.clone().vlan(3),
            plain.clone().service_vlan(4).vlan(3),
            plain.clone().no_udp_checksum(),
            plain.clone().fragment(0, true),
            plain.clone().receiver_report(5, [1, 2, 3, 4]),
            plain.clone().sender_report(5, (6, 7), [1, 2, 3, 4]),
            plain.payload(&[]),
        ]);
    }
    seeds.push(Packet::udp4(DIRECT[0], DIRECT[1]).rtp(1, 2, 3, 0));
    seeds.push(Packet::udp4(GUARDED[0], GUARDED[1]).rtp(1, 2, 3, 0));
    seeds.push(Packet::udp("[fd01::2]:1000", "[fd02::1]:40006").extension(0));
    seeds.push(Packet::udp4("10.2.0.1:5060", "10.9.0.1:5060").payload(b"INVITE"));
    seeds.push(Packet::udp("[fd02::1]:5060", "[fd09::1]:5060").payload(b"INVITE"));
    seeds.push(Packet::tcp4("10.2.0.1:40000", "10.9.0.1:5060", 0x02));
    seeds
}

/// One to four octets changed, most often in the headers; sometimes the end cut.
fn damaged(random: &mut Random, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..=random.below(4) {
        let reach = if random.below(4) == 0 {
            frame.len()
        } else {
            70.min(frame.len())
        };
        let at = random.below(reach);
        frame[at] = match random.below(3) {
            0 => random.below(256) as u8,
            1 => frame[at] ^ (1 << random.below(8)),
            _ => [0, 1, 0xff, 0x80, 17, 44, 6, 0x45][random.below(8)],
        };
    }
    if random.below(5) == 0 {
        // BPF_PROG_TEST_RUN takes no frame that is nothing but an Ethernet header.
        frame.truncate(15 + random.below(frame.len() - 14));
    }
    frame
}

fn set_up() -> Programs {
    let mut programs = Programs::load();
    for (index, [src, dst, new_src, new_dst]) in STEERED.into_iter().enumerate() {
        programs.set_flow(src, dst, steer(index as u32, new_src, new_dst, VM_MAC));
        programs.set_anchor(dst, 1);
    }
    programs.set_flow(DIRECT[0], DIRECT[1], action(FlowKind::Direct, 10));
    programs.set_flow(GUARDED[0], GUARDED[1], action(FlowKind::Guard, 11));
    for [_, _, vm, far] in STEERED {
        programs.set_neighbour(ip_of(vm), ip_of(far), BY_HOP);
    }
    programs.set_vm("10.2.0.1", LO);
    programs.set_vm("fd02::1", LO);
    programs.set_port(5060, PortClass::Gateway);
    for side in [Side::Vm, Side::Net] {
        programs.set_door(side, LO, DOOR_MAC);
    }
    programs.set_lease(now_ns() + 600_000_000_000);
    programs
}

/// Source and destination address and port of a frame, where it has UDP after IP,
/// or after an IPv6 fragment header, and up to two tags.
fn five_tuple(frame: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut l3 = 14;
    for _ in 0..2 {
        if let Some([0x81, 0x00] | [0x88, 0xa8]) = frame.get(l3 - 2..l3) {
            l3 += 4;
        }
    }
    let (addresses, ports) = match frame.get(l3 - 2..l3)? {
        [0x08, 0x00] => (l3 + 12..l3 + 20, l3 + 20..l3 + 24),
        [0x86, 0xdd] => {
            let l4 = if frame.get(l3 + 6) == Some(&44) {
                48
            } else {
                40
            };
            (l3 + 8..l3 + 40, l3 + l4..l3 + l4 + 4)
        }
        _ => return None,
    };
    Some(([frame.get(addresses)?, frame.get(ports)?].concat(), l3))
}

fn ip_of(end: &str) -> &str {
    let (ip, _) = end.rsplit_once(':').expect("address and port");
    ip.trim_matches(['[', ']'])
}

/// A steered frame has the addresses and ports of its flow's other side, its tags stay, and
/// so does all behind UDP's header. True, if it is one of `tuples`.
fn is_steered(tuples: &[(Vec<u8>, Vec<u8>)], frame: &[u8], went: &[u8]) -> bool {
    let (was, l3) = five_tuple(frame).expect("what is steered has ports");
    let Some((_, becomes)) = tuples.iter().find(|(from, _)| *from == was) else {
        return false;
    };
    let (is, new_l3) = five_tuple(went).expect("it still has");
    assert_eq!((&is, new_l3), (becomes, l3), "{frame:02x?}");
    assert_eq!(went[12..l3 - 2], frame[12..l3 - 2]);
    let header = |frame: &[u8]| {
        if frame[l3 - 1] == 0 { l3 + 28 } else { l3 + 48 }
    };
    assert_eq!(went[header(went)..], frame[header(frame)..]);
    true
}

/// Whether a frame is one to an anchor.
fn is_at_anchor(tuples: &[(Vec<u8>, Vec<u8>)], frame: &[u8]) -> bool {
    let (was, _) = five_tuple(frame).expect("what is dropped has ports");
    tuples.iter().any(|(from, _)| {
        let end = from.len();
        was.len() == end && {
            let address = (end - 4) / 2;
            was[address..end - 4] == from[address..end - 4] && was[end - 2..] == from[end - 2..]
        }
    })
}

fn steered_tuples() -> Vec<(Vec<u8>, Vec<u8>)> {
    let tuple = |src: &str, dst: &str| five_tuple(&Packet::udp(src, dst).bytes()).unwrap().0;
    STEERED
        .iter()
        .map(|[src, dst, new_src, new_dst]| (tuple(src, dst), tuple(new_src, new_dst)))
        .collect()
}

#[test]
fn damaged_frames_leave_the_uplink_as_they_came_or_steered() {
    isolated(|| {
        let programs = set_up();
        let mut random = Random(0x5eed_0001);
        let seeds: Vec<_> = seeds().iter().map(Packet::bytes).collect();
        let tuples = steered_tuples();
        let mut steered = 0;
        for round in 0..40_000 {
            let frame = damaged(&mut random, &seeds[round % seeds.len()]);
            let run = programs.uplink(&frame);
            match run.action {
                XdpAction::Tx => {
                    steered += 1;
                    let right = is_steered(&tuples, &frame, &run.frame);
                    assert!(right, "steered, but of no flow: {frame:02x?}");
                    // MACs change places.
                    assert_eq!(run.frame[..6], frame[6..12]);
                    assert_eq!(run.frame[6..12], frame[..6]);
                }
                XdpAction::Pass => assert_eq!(run.frame, frame),
                XdpAction::Drop => {
                    assert_eq!(run.frame, frame);
                    let at_anchor = is_at_anchor(&tuples, &frame);
                    assert!(at_anchor, "dropped, but at no anchor: {frame:02x?}");
                }
                other => panic!("{other:?} of {frame:02x?}"),
            }
        }
        assert!(steered > 1_000, "only {steered} were whole enough");
    });
}

#[test]
fn damaged_frames_pass_the_tap_or_go_into_the_door_or_on_from_an_anchor() {
    isolated(|| {
        let programs = set_up();
        let mut random = Random(0x5eed_0002);
        let seeds: Vec<_> = seeds().iter().map(Packet::bytes).collect();
        let tuples = steered_tuples();
        let (mut taken, mut guarded, mut steered) = (0, 0, 0);
        for round in 0..40_000 {
            let frame = damaged(&mut random, &seeds[round % seeds.len()]);
            // BPF_PROG_TEST_RUN makes no skb whose IP header is not whole.
            if frame.len() < 54 {
                continue;
            }
            let name = if random.below(2) == 0 {
                TAP_FROM_VM
            } else {
                TAP_TO_VM
            };
            let run = programs.tcx(name, &frame, LO, 0);
            match run.action {
                TcxAction::Next => assert_eq!(run.frame, frame),
                // In by the tap again, as if the VM had sent it.
                TcxAction::Redirect if run.mark != 0 => {
                    steered += 1;
                    assert_eq!((name, run.mark), (TAP_TO_VM, MARK | LO));
                    let right = is_steered(&tuples, &frame, &run.frame);
                    assert!(right, "steered, but of no flow: {frame:02x?}");
                    assert_eq!(run.frame[..6], HOP_MAC);
                    assert_eq!(run.frame[6..12], VM_MAC);
                    continue;
                }
                TcxAction::Redirect => {
                    taken += 1;
                    assert_eq!(run.frame[..6], DOOR_MAC);
                    assert_eq!(run.frame[6..], frame[6..]);
                }
                TcxAction::Drop if name == TAP_TO_VM => {
                    assert_eq!(run.frame, frame);
                    let at_anchor = is_at_anchor(&tuples, &frame);
                    assert!(at_anchor, "dropped, but at no anchor: {frame:02x?}");
                }
                TcxAction::Drop => {
                    guarded += 1;
                    assert_eq!((name, &run.frame), (TAP_FROM_VM, &frame));
                    let (was, _) = five_tuple(&frame).expect("what is guarded has ports");
                    let flow = Packet::udp4(GUARDED[0], GUARDED[1]).bytes();
                    assert_eq!(Some(was), five_tuple(&flow).map(|(tuple, _)| tuple));
                }
            }
            assert_eq!(run.mark, 0);
        }
        assert!(
            taken > 100 && guarded > 100 && steered > 500,
            "{taken} taken, {guarded} guarded, {steered} steered"
        );
    });
}
