//! TCP at the taps and the doors, segment by segment: a connection is taken from
//! its first segment on or not at all, and once taken until it is reset.

use sidestep_abi::counter::Counter;
use sidestep_abi::door::{ConnectionKey, LEASE_NS, Neighbour, PortClass, Side, UNTAGGED};
use sidestep_abi::program::{DOOR_OUT, TAP_FROM_VM, TAP_TO_VM};
use sidestep_tests::packet::Packet;
use sidestep_tests::program::{Programs, TcxAction, address, ifindex, ip, isolated, now_ns};

const VM: &str = "10.71.1.11";
const VM_PORT: &str = "10.71.1.11:40001";
const GATEWAY: &str = "10.71.3.31";
const GATEWAY_SIP: &str = "10.71.3.31:5060";

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What became of a segment.
#[derive(Debug, PartialEq)]
enum Fate {
    Taken,
    Passed,
}
use Fate::{Passed, Taken};

struct Tap {
    programs: Programs,
    tap: u32,
    doors: [u32; 2],
}

impl Tap {
    fn set_up() -> Self {
        ip("link add tap0 type veth peer name vm0").unwrap();
        ip("link add ssd-vm type veth peer name vm").unwrap();
        ip("link add ssd-net type veth peer name net").unwrap();
        let tap = ifindex("tap0").unwrap();
        let doors = ["ssd-vm", "ssd-net"].map(|door| ifindex(door).unwrap());
        let mut programs = Programs::load();
        programs.set_vm(VM, tap);
        programs.set_port(5060, PortClass::Gateway);
        programs.set_port(5070, PortClass::Registrar);
        programs.set_port(2427, PortClass::GatewayDatagrams);
        programs.set_door(Side::Vm, doors[0], [2; 6]);
        programs.set_door(Side::Net, doors[1], [2; 6]);
        let known = Neighbour {
            vm_mac: [2, 0, 0, 0, 0, 1],
            peer_mac: [2, 0, 0, 0, 0, 2],
            seen_mac: [0; 6],
            chosen_by_vm: 1,
            tag: UNTAGGED,
        };
        programs.set_neighbour(VM, GATEWAY, known);
        let mut tap = Self {
            programs,
            tap,
            doors,
        };
        tap.renew_lease();
        tap
    }

    fn renew_lease(&mut self) {
        self.programs.set_lease(now_ns() + LEASE_NS);
    }

    fn run(&self, program: &str, packet: &Packet) -> Fate {
        let run = self.programs.tcx(program, &packet.bytes(), self.tap, 0);
        match run.action {
            TcxAction::Redirect => Taken,
            TcxAction::Next => {
                assert_eq!(run.frame, packet.bytes());
                Passed
            }
            other => panic!("{other:?}"),
        }
    }

    fn vm_sends(&self, flags: u8) -> Fate {
        self.run(TAP_FROM_VM, &Packet::tcp4(VM_PORT, GATEWAY_SIP, flags))
    }

    fn vm_gets(&self, flags: u8) -> Fate {
        self.run(TAP_TO_VM, &Packet::tcp4(GATEWAY_SIP, VM_PORT, flags))
    }

    /// The daemon's stack sends this.
    fn leaves(&self, side: Side, flags: u8) {
        let packet = match side {
            Side::Vm => Packet::tcp4(GATEWAY_SIP, VM_PORT, flags),
            Side::Net => Packet::tcp4(VM_PORT, GATEWAY_SIP, flags),
        };
        let door = self.doors[side as usize];
        let run = self.programs.tcx(DOOR_OUT, &packet.bytes(), door, 0);
        assert_eq!(run.action, TcxAction::Redirect);
    }
}

#[test]
fn a_connection_is_taken_from_its_first_segment_on() {
    isolated(|| {
        let mut tap = Tap::set_up();
        // Nobody saw it begin.
        assert_eq!(tap.vm_sends(ACK), Passed);
        assert_eq!(tap.vm_gets(ACK), Passed);
        // The other end's answer to a SYN that passed is no beginning.
        assert_eq!(tap.vm_gets(SYN | ACK), Passed);
        assert_eq!(tap.programs.counted(), [(Counter::ConnectionNotTaken, 3)]);
        assert_eq!(tap.vm_sends(SYN), Taken);
        for flags in [SYN | ACK, ACK, ACK | FIN] {
            assert_eq!(tap.vm_gets(flags), Taken);
        }
        for flags in [SYN, ACK, ACK | FIN, RST] {
            assert_eq!(tap.vm_sends(flags), Taken);
        }
        assert_eq!(
            tap.programs.counted(),
            [(Counter::TakenFromVm, 5), (Counter::TakenToVm, 3)]
        );
    });
}

#[test]
fn one_that_others_begin_toward_the_vm_too() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let to_vm = |flags| Packet::tcp4("10.71.3.31:33333", "10.71.1.11:5060", flags);
        let from_vm = |flags| Packet::tcp4("10.71.1.11:5060", "10.71.3.31:33333", flags);
        assert_eq!(tap.run(TAP_TO_VM, &to_vm(SYN)), Taken);
        assert_eq!(tap.run(TAP_FROM_VM, &from_vm(SYN | ACK)), Taken);
        assert_eq!(tap.run(TAP_TO_VM, &to_vm(ACK)), Taken);
        // Its neighbour by one port is another one.
        let other = Packet::tcp4("10.71.3.31:33334", "10.71.1.11:5060", ACK);
        assert_eq!(tap.run(TAP_TO_VM, &other), Passed);
        assert_eq!(tap.programs.connections().keys().count(), 1);
    });
}

#[test]
fn only_ports_of_protocols_that_use_connections() {
    isolated(|| {
        let mut tap = Tap::set_up();
        for (port, fate) in [(5060, Taken), (5070, Passed), (2427, Passed), (80, Passed)] {
            let out = Packet::tcp4(VM_PORT, &format!("{GATEWAY}:{port}"), SYN);
            assert_eq!(tap.run(TAP_FROM_VM, &out), fate, "{port}");
        }
        // Datagrams of such a port are taken all the same.
        let datagram = Packet::udp4(VM_PORT, "10.71.3.31:2427").payload(b"AUEP");
        assert_eq!(tap.run(TAP_FROM_VM, &datagram), Taken);
        let stranger = Packet::tcp4("10.71.1.99:40001", GATEWAY_SIP, SYN);
        assert_eq!(tap.run(TAP_FROM_VM, &stranger), Passed);
        tap.programs.counted();
    });
}

/// Thin clients come to the registrar at their VM's address, by a port of which the VM
/// itself hears nothing.
#[test]
fn a_connection_to_the_registrar_is_taken_toward_the_vm_only() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let to_vm = |flags| Packet::tcp4("10.71.2.21:40001", "10.71.1.11:5070", flags);
        let from_vm = |flags| Packet::tcp4("10.71.1.11:5070", "10.71.2.21:40001", flags);
        assert_eq!(tap.run(TAP_TO_VM, &to_vm(ACK)), Passed);
        for flags in [SYN, ACK, ACK | FIN] {
            assert_eq!(tap.run(TAP_TO_VM, &to_vm(flags)), Taken);
        }
        assert_eq!(tap.run(TAP_FROM_VM, &from_vm(SYN | ACK)), Passed);
        assert_eq!(tap.programs.connections().keys().count(), 1);
        assert_eq!(
            tap.programs.counted(),
            [(Counter::TakenToVm, 3), (Counter::ConnectionNotTaken, 1)]
        );
    });
}

/// What a daemon that is only slow has begun goes on; what begins without it goes
/// past it, to its end.
#[test]
fn a_stale_lease_keeps_connections_whole() {
    isolated(|| {
        let mut tap = Tap::set_up();
        assert_eq!(tap.vm_sends(SYN), Taken);
        tap.programs.set_lease(0);
        assert_eq!(tap.vm_sends(ACK), Taken);
        assert_eq!(tap.vm_gets(ACK), Taken);
        // Its SYN was lost with the daemon, and comes again.
        assert_eq!(tap.vm_sends(SYN), Passed);
        tap.renew_lease();
        assert_eq!(tap.vm_gets(SYN | ACK), Passed);
        assert_eq!(tap.vm_sends(ACK), Passed);
        assert_eq!(
            tap.programs.counted(),
            [
                (Counter::TakenFromVm, 2),
                (Counter::TakenToVm, 1),
                (Counter::LeaseStale, 1),
                (Counter::ConnectionNotTaken, 2)
            ]
        );
    });
}

#[test]
fn beyond_the_limit_connections_pass_and_those_before_go_on() {
    isolated(|| {
        let mut tap = Tap::set_up();
        assert_eq!(tap.vm_sends(SYN), Taken);
        tap.programs.take_connections(VM, tap.tap, false);
        let another = |flags| Packet::tcp4("10.71.1.11:40002", GATEWAY_SIP, flags);
        assert_eq!(tap.run(TAP_FROM_VM, &another(SYN)), Passed);
        assert_eq!(tap.vm_sends(SYN), Taken);
        assert_eq!(tap.vm_sends(ACK), Taken);
        tap.programs.take_connections(VM, tap.tap, true);
        assert_eq!(tap.run(TAP_FROM_VM, &another(ACK)), Passed);
        assert_eq!(
            tap.programs.counted(),
            [
                (Counter::TakenFromVm, 3),
                (Counter::ConnectionNotTaken, 1),
                (Counter::ConnectionLimit, 1)
            ]
        );
    });
}

/// Whoever has not heard of the reset hears of it from the other end.
#[test]
fn after_a_reset_out_of_either_door_segments_pass() {
    for side in [Side::Vm, Side::Net] {
        isolated(|| {
            let mut tap = Tap::set_up();
            assert_eq!(tap.vm_sends(SYN), Taken);
            tap.leaves(side, ACK);
            tap.leaves(side, FIN | ACK);
            assert_eq!(tap.vm_sends(ACK), Taken);
            tap.leaves(side, RST | ACK);
            assert_eq!(tap.vm_sends(ACK), Passed);
            assert_eq!(tap.vm_gets(ACK), Passed);
            assert!(
                tap.programs
                    .counted()
                    .contains(&(Counter::ConnectionReset, 1))
            );
        });
    }
}

/// A segment may come in fragments, as from a tunnel with a smaller MTU.
#[test]
fn fragments_of_a_taken_connection_follow() {
    isolated(|| {
        let tap = Tap::set_up();
        let whole = Packet::tcp4(VM_PORT, GATEWAY_SIP, ACK)
            .id(7)
            .payload(&[0x55; 3_000]);
        for fragment in whole.fragments(1_500) {
            assert_eq!(tap.run(TAP_FROM_VM, &fragment), Passed);
        }
        assert_eq!(tap.vm_sends(SYN), Taken);
        for fragment in whole.fragments(1_500) {
            assert_eq!(tap.run(TAP_FROM_VM, &fragment), Taken);
        }
    });
}

#[test]
fn an_entry_says_when_a_segment_came_last() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let key = ConnectionKey {
            vm: address("10.71.1.11"),
            remote: address("10.71.3.31"),
            vm_port_be: 40001u16.to_be(),
            remote_port_be: 5060u16.to_be(),
        };
        let before = now_ns();
        tap.vm_sends(SYN);
        let began = tap.programs.connections().get(&key, 0).unwrap();
        assert!((before..=now_ns()).contains(&began));
        // An hour later; not by every segment.
        tap.programs.connections().insert(key, 1, 0).unwrap();
        tap.vm_gets(ACK);
        let last = tap.programs.connections().get(&key, 0).unwrap();
        assert!(last >= began);
        tap.vm_gets(ACK);
        assert_eq!(tap.programs.connections().get(&key, 0).unwrap(), last);
    });
}

#[test]
fn what_is_shorter_than_it_says_passes() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let short = Packet::udp4(VM_PORT, GATEWAY_SIP)
            .protocol(6)
            .payload(b"abc");
        assert_eq!(tap.run(TAP_FROM_VM, &short), Passed);
        assert_eq!(tap.programs.counted(), [(Counter::Truncated, 1)]);
    });
}
