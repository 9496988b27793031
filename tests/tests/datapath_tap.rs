//! The tap programs (tcx), frame by frame: what goes into the doors, what is
//! dropped, and everything that passes as it came.

use sidestep_abi::counter::{Counter, EventKind};
use sidestep_abi::door::{
    FRAGMENT_LIFETIME_NS, LEASE_NS, MARK, Neighbour, PortClass, Side, UNTAGGED,
};
use sidestep_abi::flow::FlowKind;
use sidestep_abi::program::{TAP_FROM_VM, TAP_TO_VM};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    Programs, TcxAction, TcxRun, action, flow_key, ifindex, ip, isolated, now_ns,
};

const VM: &str = "10.71.1.11";
const VM_SIP: &str = "10.71.1.11:5060";
const GATEWAY: &str = "10.71.3.31";
const GATEWAY_SIP: &str = "10.71.3.31:5060";
const ANY: &str = "::";

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const OTHER_ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x02];
const DOOR_VM_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x01];
const DOOR_NET_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x02];
const BROADCAST: Mac = [0xff; 6];

/// One tap with a VM, both doors, a fresh lease.
struct Tap {
    programs: Programs,
    tap: u32,
}

impl Tap {
    fn set_up() -> Self {
        ip("link add tap0 type veth peer name vm0").unwrap();
        let tap = ifindex("tap0").unwrap();
        let mut programs = Programs::load();
        programs.set_vm(VM, tap);
        programs.set_port(5060, PortClass::Gateway);
        programs.set_port(5070, PortClass::Registrar);
        programs.set_door(Side::Vm, 101, DOOR_VM_MAC);
        programs.set_door(Side::Net, 102, DOOR_NET_MAC);
        programs.set_lease(now_ns() + LEASE_NS);
        Self { programs, tap }
    }

    fn vm_sends(&self, packet: &Packet) -> TcxRun {
        self.programs.tcx(TAP_FROM_VM, &packet.bytes(), self.tap, 0)
    }

    fn vm_gets(&self, packet: &Packet) -> TcxRun {
        self.programs.tcx(TAP_TO_VM, &packet.bytes(), self.tap, 0)
    }

    /// Both programs let it be, and count this.
    fn passes_both_ways(&mut self, from_vm: &Packet, to_vm: &Packet, counter: Option<Counter>) {
        assert_eq!(self.vm_sends(from_vm), passed(from_vm));
        assert_eq!(self.vm_gets(to_vm), passed(to_vm));
        let counted: Vec<_> = counter.map(|counter| (counter, 2)).into_iter().collect();
        assert_eq!(self.programs.counted(), counted);
        assert_eq!(self.programs.neighbour(VM, ANY), None);
    }
}

/// Nothing has come from there.
const NEVER: Mac = [0; 6];

fn learned(peer_mac: Mac, seen_mac: Mac, chosen_by_vm: u16) -> Option<Neighbour> {
    Some(Neighbour {
        vm_mac: VM_MAC,
        peer_mac,
        seen_mac,
        chosen_by_vm,
        tag: UNTAGGED,
    })
}

fn passed(packet: &Packet) -> TcxRun {
    TcxRun {
        action: TcxAction::Next,
        frame: packet.bytes(),
        mark: 0,
    }
}

/// Into a door: the namespace's MAC, all else as it came.
fn taken(packet: &Packet, src: Mac, door: Mac) -> TcxRun {
    TcxRun {
        action: TcxAction::Redirect,
        frame: packet.clone().macs(src, door).bytes(),
        mark: 0,
    }
}

fn invite() -> Packet {
    Packet::udp4(VM_SIP, GATEWAY_SIP)
        .macs(VM_MAC, ROUTER_MAC)
        .payload(b"INVITE sip:200@10.71.3.31 SIP/2.0\r\n")
}

fn answer() -> Packet {
    Packet::udp4(GATEWAY_SIP, VM_SIP)
        .macs(ROUTER_MAC, VM_MAC)
        .payload(b"SIP/2.0 200 OK\r\n")
}

fn rtp_of_vm() -> Packet {
    Packet::udp4("10.71.1.11:30000", "10.71.3.31:30000")
        .macs(VM_MAC, ROUTER_MAC)
        .rtp(1, 160, 0xcc, 8)
}

fn rtp_to_vm() -> Packet {
    Packet::udp4("10.71.3.31:30000", "10.71.1.11:30000")
        .macs(ROUTER_MAC, VM_MAC)
        .rtp(1, 160, 0xdd, 8)
}

#[test]
fn what_the_vm_signals_goes_into_the_vm_door() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let expected = taken(&invite(), VM_MAC, DOOR_VM_MAC);
        assert_eq!(tap.vm_sends(&invite()), expected);
        assert_eq!(tap.programs.counted(), [(Counter::TakenFromVm, 1)]);
        let learned = learned(ROUTER_MAC, NEVER, 1);
        assert_eq!(tap.programs.neighbour(VM, GATEWAY), learned);
        assert_eq!(tap.programs.neighbour(VM, ANY), learned);
    });
}

#[test]
fn what_others_signal_to_the_vm_goes_into_the_net_door() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let expected = taken(&answer(), ROUTER_MAC, DOOR_NET_MAC);
        assert_eq!(tap.vm_gets(&answer()), expected);
        assert_eq!(tap.programs.counted(), [(Counter::TakenToVm, 1)]);
        let of = |seen_mac| learned(ROUTER_MAC, seen_mac, 0);
        assert_eq!(tap.programs.neighbour(VM, GATEWAY), of(ROUTER_MAC));
        assert_eq!(tap.programs.neighbour(VM, ANY), of(NEVER));
    });
}

#[test]
fn which_ports_are_signalling_and_which_way() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let vm = |port: u16| format!("{VM}:{port}");
        let far = |port: u16| format!("{GATEWAY}:{port}");
        // VM's port, far port, taken from the VM, taken to the VM.
        let cases = [
            (5060, 5060, true, true),
            (5060, 9, true, true),
            (9, 5060, true, true),
            (5070, 9, false, true),
            (9, 5070, false, false),
            (9, 9, false, false),
            (5061, 5061, false, false),
            // 5060 with its octets swapped.
            (50_195, 50_195, false, false),
        ];
        for (vm_port, far_port, from_vm, to_vm) in cases {
            let packet = invite().between(&vm(vm_port), &far(far_port));
            let was_taken = tap.vm_sends(&packet).action == TcxAction::Redirect;
            assert_eq!(was_taken, from_vm, "from {vm_port} to {far_port}");
            let packet = answer().between(&far(far_port), &vm(vm_port));
            let was_taken = tap.vm_gets(&packet).action == TcxAction::Redirect;
            assert_eq!(was_taken, to_vm, "to {vm_port} from {far_port}");
        }
        assert_eq!(
            tap.programs.counted(),
            [(Counter::TakenFromVm, 3), (Counter::TakenToVm, 4)]
        );
    });
}

#[test]
fn signalling_of_no_vm_of_this_tap_passes() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let other = "10.71.1.99:5060";
        tap.passes_both_ways(
            &invite().between(other, GATEWAY_SIP),
            &answer().between(GATEWAY_SIP, other),
            Some(Counter::NotOurVm),
        );
        // A configured VM, but of another tap; and one whose tap is gone.
        for ifindex in [tap.tap + 1, 0] {
            tap.programs.set_vm("10.71.1.99", ifindex);
            tap.passes_both_ways(
                &invite().between(other, GATEWAY_SIP),
                &answer().between(GATEWAY_SIP, other),
                Some(Counter::NotOurVm),
            );
        }
    });
}

#[test]
fn with_a_stale_lease_signalling_passes() {
    isolated(|| {
        let mut tap = Tap::set_up();
        for deadline in [now_ns() - 1, 0] {
            tap.programs.set_lease(deadline);
            tap.passes_both_ways(&invite(), &answer(), Some(Counter::LeaseStale));
        }
        tap.programs.set_lease(now_ns() + LEASE_NS);
        assert_eq!(tap.vm_sends(&invite()).action, TcxAction::Redirect);
    });
}

#[test]
fn without_both_doors_signalling_passes() {
    isolated(|| {
        let mut tap = Tap::set_up();
        for side in [Side::Vm, Side::Net] {
            tap.programs.set_door(side, 0, DOOR_VM_MAC);
            tap.passes_both_ways(&invite(), &answer(), Some(Counter::DoorMissing));
            tap.programs.set_door(side, 101, DOOR_VM_MAC);
        }
    });
}

#[test]
fn what_the_daemon_sent_back_passes_once_without_its_mark() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let own = MARK | tap.tap;
        for (program, packet) in [(TAP_FROM_VM, invite()), (TAP_TO_VM, answer())] {
            let run = tap.programs.tcx(program, &packet.bytes(), tap.tap, own);
            assert_eq!(run, passed(&packet));
        }
        assert_eq!(tap.programs.counted(), []);
        // Marked for another VM's tap it is anyone's, and keeps what it has.
        for mark in [MARK | (tap.tap + 1), tap.tap, MARK, 1] {
            let run = tap
                .programs
                .tcx(TAP_TO_VM, &answer().bytes(), tap.tap, mark);
            assert_eq!((run.action, run.mark), (TcxAction::Redirect, mark));
        }
        assert_eq!(tap.programs.counted(), [(Counter::TakenToVm, 4)]);
    });
}

#[test]
fn later_fragments_follow_their_first() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let first = invite().id(77).fragment(0, true).payload(&[b'x'; 1_472]);
        let second = invite()
            .id(77)
            .fragment(1_480, true)
            .payload(&[b'y'; 1_480]);
        let third = invite().id(77).fragment(2_960, false).payload(b"z");
        for fragment in [&first, &second, &third, &second] {
            let expected = taken(fragment, VM_MAC, DOOR_VM_MAC);
            assert_eq!(tap.vm_sends(fragment), expected);
        }
        assert_eq!(
            tap.programs.counted(),
            [(Counter::TakenFromVm, 1), (Counter::TakenFragment, 3)]
        );

        // And the other way.
        let first = answer().id(77).fragment(0, true).payload(&[b'x'; 1_472]);
        let second = answer().id(77).fragment(1_480, false).payload(b"y");
        for fragment in [&first, &second] {
            let expected = taken(fragment, ROUTER_MAC, DOOR_NET_MAC);
            assert_eq!(tap.vm_gets(fragment), expected);
        }
        assert_eq!(
            tap.programs.counted(),
            [(Counter::TakenToVm, 1), (Counter::TakenFragment, 1)]
        );
    });
}

#[test]
fn later_fragments_of_anything_else_pass() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let first = invite().id(77).fragment(0, true).payload(&[b'x'; 1_472]);
        let later = invite().id(77).fragment(1_480, false).payload(b"y");
        // Its first has not been seen.
        assert_eq!(tap.vm_sends(&later), passed(&later));
        assert_eq!(tap.programs.counted(), [(Counter::FragmentUnknown, 1)]);

        tap.vm_sends(&first);
        tap.programs.counted();
        let strangers = [
            later.clone().id(78),
            later.clone().between(VM_SIP, "10.71.3.32:5060"),
            later.clone().between("10.71.1.12:5060", GATEWAY_SIP),
        ];
        for stranger in &strangers {
            assert_eq!(tap.vm_sends(stranger), passed(stranger));
        }
        // The same datagram seen on the other side of the VM is another one.
        assert_eq!(tap.vm_gets(&later), passed(&later));
        assert_eq!(tap.programs.counted(), [(Counter::FragmentUnknown, 4)]);

        // A first fragment that was not taken is not remembered.
        let media = rtp_of_vm().id(79).fragment(0, true);
        let rest = rtp_of_vm().id(79).fragment(1_480, false);
        assert_eq!(tap.vm_sends(&media), passed(&media));
        assert_eq!(tap.vm_sends(&rest), passed(&rest));
        assert_eq!(tap.programs.counted(), [(Counter::FragmentUnknown, 1)]);
    });
}

#[test]
fn a_first_fragment_is_forgotten_after_a_while() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let first = invite().id(77).fragment(0, true).payload(&[b'x'; 1_472]);
        let later = invite().id(77).fragment(1_480, false).payload(b"y");
        tap.vm_sends(&first);
        tap.programs.counted();
        let mut fragments = tap.programs.fragments();
        let key = fragments.keys().next().unwrap().unwrap();
        fragments
            .insert(key, now_ns() - FRAGMENT_LIFETIME_NS - 1, 0)
            .unwrap();
        assert_eq!(tap.vm_sends(&later), passed(&later));
        assert_eq!(tap.programs.counted(), [(Counter::FragmentUnknown, 1)]);
    });
}

#[test]
fn later_fragments_pass_when_nobody_is_behind_the_door() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let first = invite().id(77).fragment(0, true).payload(&[b'x'; 1_472]);
        let later = invite().id(77).fragment(1_480, false).payload(b"y");
        tap.vm_sends(&first);
        tap.programs.counted();
        tap.programs.set_lease(0);
        assert_eq!(tap.vm_sends(&later), passed(&later));
        assert_eq!(tap.programs.counted(), [(Counter::LeaseStale, 1)]);
    });
}

#[test]
fn macs_are_learned_from_taken_frames_only() {
    isolated(|| {
        let mut tap = Tap::set_up();
        tap.passes_both_ways(&rtp_of_vm(), &rtp_to_vm(), None);

        // What others send tells of the remote, the last of it, until the VM
        // says better.
        for router in [ROUTER_MAC, OTHER_ROUTER_MAC] {
            tap.vm_gets(&answer().macs(router, VM_MAC));
            let of = |seen_mac| learned(router, seen_mac, 0);
            assert_eq!(tap.programs.neighbour(VM, GATEWAY), of(router));
            assert_eq!(tap.programs.neighbour(VM, ANY), of(NEVER));
        }
        tap.vm_sends(&invite());
        let of = |seen_mac| learned(ROUTER_MAC, seen_mac, 1);
        assert_eq!(tap.programs.neighbour(VM, GATEWAY), of(OTHER_ROUTER_MAC));
        assert_eq!(tap.programs.neighbour(VM, ANY), of(NEVER));
        // By which its frames come is known beside it.
        tap.vm_gets(&answer().macs(ROUTER_MAC, VM_MAC));
        assert_eq!(tap.programs.neighbour(VM, GATEWAY), of(ROUTER_MAC));
        tap.vm_gets(&answer().macs(OTHER_ROUTER_MAC, VM_MAC));
        assert_eq!(tap.programs.neighbour(VM, GATEWAY), of(OTHER_ROUTER_MAC));
        assert_eq!(tap.programs.neighbour(VM, ANY), of(NEVER));

        // The VM's MAC is learned from both.
        let new_mac = [0x02, 0x71, 0x01, 0, 0, 0x12];
        tap.vm_gets(&answer().macs(OTHER_ROUTER_MAC, new_mac));
        let known = tap.programs.neighbour(VM, GATEWAY).unwrap();
        assert_eq!((known.vm_mac, known.peer_mac), (new_mac, ROUTER_MAC));
        assert_eq!(
            tap.programs.counted(),
            [(Counter::TakenFromVm, 1), (Counter::TakenToVm, 5)]
        );
    });
}

#[test]
fn multicast_and_broadcast_are_for_others_too_and_pass() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let announced = invite().macs(VM_MAC, BROADCAST);
        assert_eq!(tap.vm_sends(&announced), passed(&announced));
        let heard = answer().macs(ROUTER_MAC, BROADCAST);
        assert_eq!(tap.vm_gets(&heard), passed(&heard));
        assert_eq!(tap.programs.neighbour(VM, ANY), None);
        assert_eq!(tap.programs.counted(), []);
    });
}

#[test]
fn a_bypassed_vms_own_media_is_counted_and_dropped() {
    isolated(|| {
        let mut tap = Tap::set_up();
        tap.programs.set_flow(
            "10.71.1.11:30000",
            "10.71.3.31:30000",
            action(FlowKind::Guard, 4),
        );
        assert_eq!(
            tap.vm_sends(&rtp_of_vm()),
            TcxRun {
                action: TcxAction::Drop,
                ..passed(&rtp_of_vm())
            }
        );
        assert_eq!(tap.programs.counted(), [(Counter::Guarded, 1)]);
        let stats = tap.programs.stats(4);
        assert_eq!((stats.packets, stats.bytes, stats.ssrc), (1, 200, 0xcc));
        assert_eq!(stats.ifindex, tap.tap);
        let [event] = tap.programs.events()[..] else {
            panic!("one event");
        };
        assert_eq!(event.kind, EventKind::FirstPacket as u32);
        assert_eq!(event.key, flow_key("10.71.1.11:30000", "10.71.3.31:30000"));

        // One port off is another flow; so is the same to the VM of that tap.
        let rtcp = rtp_of_vm().between("10.71.1.11:30001", "10.71.3.31:30001");
        assert_eq!(tap.vm_sends(&rtcp), passed(&rtcp));
        assert_eq!(tap.vm_gets(&rtp_of_vm()), passed(&rtp_of_vm()));
        assert_eq!(tap.programs.counted(), []);

        // Neither the lease nor the doors matter.
        tap.programs.set_lease(0);
        tap.programs.set_door(Side::Vm, 0, DOOR_VM_MAC);
        assert_eq!(tap.vm_sends(&rtp_of_vm()).action, TcxAction::Drop);
        assert_eq!(tap.programs.counted(), [(Counter::Guarded, 1)]);
    });
}

/// While the VM's softphone rings, its port is not known, but where it will send
/// is.
#[test]
fn a_guard_without_a_port_stands_for_all_of_the_vms() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let far = "10.71.3.31:30000";
        tap.programs
            .set_flow("10.71.1.11:0", far, action(FlowKind::Guard, 4));
        assert_eq!(tap.vm_sends(&rtp_of_vm()).action, TcxAction::Drop);
        assert_eq!(tap.programs.counted(), [(Counter::Guarded, 1)]);
        assert_eq!(tap.programs.stats(4).packets, 1);
        // The daemon has died: the call goes on through the VM.
        tap.programs.set_lease(0);
        assert_eq!(tap.vm_sends(&rtp_of_vm()), passed(&rtp_of_vm()));
        tap.programs.set_lease(u64::MAX);

        // Elsewhere, or of another VM: not guarded.
        for (src, dst) in [
            ("10.71.1.11:30000", "10.71.3.31:30002"),
            ("10.71.1.12:30000", far),
        ] {
            let other = rtp_of_vm().between(src, dst);
            assert_eq!(tap.vm_sends(&other), passed(&other));
        }
        assert_eq!(tap.vm_gets(&rtp_of_vm()), passed(&rtp_of_vm()));
        // What is known of the exact flow goes first.
        tap.programs
            .set_flow("10.71.1.11:30000", far, action(FlowKind::Relay, 1));
        assert_eq!(tap.vm_sends(&rtp_of_vm()), passed(&rtp_of_vm()));
        assert_eq!(tap.programs.counted(), [(Counter::Relayed, 1)]);
        // Only a guard may lack its port.
        tap.programs
            .set_flow("10.71.1.11:0", far, action(FlowKind::Relay, 4));
        let other = rtp_of_vm().between("10.71.1.11:40000", far);
        assert_eq!(tap.vm_sends(&other), passed(&other));
        assert_eq!(tap.programs.counted(), []);
    });
}

#[test]
fn relayed_media_is_counted_and_passes_both_ways() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let (vm, far) = ("10.71.1.11:30000", "10.71.3.31:30000");
        tap.programs.set_flow(vm, far, action(FlowKind::Relay, 1));
        tap.programs.set_flow(far, vm, action(FlowKind::Relay, 2));
        assert_eq!(tap.vm_sends(&rtp_of_vm()), passed(&rtp_of_vm()));
        assert_eq!(tap.vm_gets(&rtp_to_vm()), passed(&rtp_to_vm()));
        assert_eq!(tap.programs.counted(), [(Counter::Relayed, 2)]);
        assert_eq!(tap.programs.stats(1).ssrc, 0xcc);
        assert_eq!(tap.programs.stats(2).ssrc, 0xdd);
    });
}

#[test]
fn flows_of_the_uplink_pass_the_tap() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let (vm, far) = ("10.71.1.11:30000", "10.71.3.31:30000");
        for kind in [FlowKind::Direct, FlowKind::Steered] {
            tap.programs.set_flow(vm, far, action(kind, 1));
            assert_eq!(tap.vm_sends(&rtp_of_vm()), passed(&rtp_of_vm()));
        }
        assert_eq!(tap.programs.counted(), []);
        assert_eq!(tap.programs.stats(1).packets, 0);
    });
}

#[test]
fn what_is_not_understood_passes() {
    isolated(|| {
        let mut tap = Tap::set_up();
        tap.programs.set_flow(
            "10.71.1.11:30000",
            "10.71.3.31:30000",
            action(FlowKind::Guard, 4),
        );
        let cases = [
            (invite().vlan(7), Some(Counter::Tagged)),
            (invite().options(&[1, 1, 1, 0]), Some(Counter::IpOptions)),
            (invite().protocol(132), None),
            (invite().ethertype(0x0806), None),
            (invite().ethertype(0x86dd), None),
            (rtp_of_vm().fragment(0, true), Some(Counter::MediaFragment)),
        ];
        for (packet, counter) in cases {
            assert_eq!(tap.vm_sends(&packet), passed(&packet));
            let counted: Vec<_> = counter.map(|counter| (counter, 1)).into_iter().collect();
            assert_eq!(tap.programs.counted(), counted);
        }
        assert_eq!(tap.programs.neighbour(VM, ANY), None);
        assert_eq!(tap.programs.stats(4).packets, 0);
    });
}

#[test]
fn a_frame_shorter_than_its_headers_say_passes() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let whole = invite().bytes();
        for len in [34, 41, 42, whole.len() - 1] {
            for program in [TAP_FROM_VM, TAP_TO_VM] {
                let run = tap.programs.tcx(program, &whole[..len], tap.tap, 0);
                assert_eq!(run.action, TcxAction::Next, "{len} octets");
                assert_eq!(run.frame, whole[..len], "{len} octets");
                assert_eq!(
                    tap.programs.counted(),
                    [(Counter::Truncated, 1)],
                    "{len} octets"
                );
            }
        }
    });
}

#[test]
fn what_guarded_media_carries_is_told_apart_as_on_the_uplink() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let (vm, far) = ("10.71.1.11:30000", "10.71.3.31:30000");
        tap.programs.set_flow(vm, far, action(FlowKind::Guard, 4));
        tap.vm_sends(&rtp_of_vm().payload(&[0; 20]));
        assert_eq!(
            tap.programs.counted(),
            [(Counter::Guarded, 1), (Counter::NotRtp, 1)]
        );
        tap.vm_sends(&rtp_of_vm().rtcp(201, 1));
        assert_eq!(tap.programs.counted(), [(Counter::Guarded, 1)]);
        tap.programs
            .set_flow(vm, far, action(FlowKind::Guard, 1 << 20));
        tap.vm_sends(&rtp_of_vm());
        assert_eq!(
            tap.programs.counted(),
            [(Counter::Guarded, 1), (Counter::NoStats, 1)]
        );
        assert_eq!(tap.programs.stats(4).packets, 2);
    });
}
