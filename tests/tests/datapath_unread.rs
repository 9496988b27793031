//! Signalling that nobody here can read, at the taps: it passes as it came, and is
//! noted by VM and reason.

use sidestep_abi::counter::Counter;
use sidestep_abi::door::{LEASE_NS, PortClass, Side, Unread, UnreadSeen};
use sidestep_abi::program::{TAP_FROM_VM, TAP_TO_VM};
use sidestep_tests::packet::Packet;
use sidestep_tests::program::{Programs, TcxAction, ifindex, ip, isolated, now_ns};

const VM: &str = "10.71.1.11";
const GATEWAY: &str = "10.71.3.31";
const VM6: &str = "[fd71:1::11]";
const GATEWAY6: &str = "[fd71:3::31]";

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Types of an SCTP packet's first chunk (RFC 9260 §3.2).
const DATA: u8 = 0;
const INIT: u8 = 1;

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
        programs.set_vm(VM6.trim_matches(['[', ']']), tap);
        programs.set_port(5060, PortClass::Gateway);
        programs.set_port(2944, PortClass::Gateway);
        programs.set_port(5061, PortClass::Encrypted);
        programs.set_port(5070, PortClass::Registrar);
        programs.set_door(Side::Vm, 101, [2; 6]);
        programs.set_door(Side::Net, 102, [2; 6]);
        programs.set_lease(now_ns() + LEASE_NS);
        Self { programs, tap }
    }

    /// It passes as it came; what is counted.
    fn passes(&mut self, program: &str, packet: &Packet) -> Vec<(Counter, u64)> {
        let run = self.programs.tcx(program, &packet.bytes(), self.tap, 0);
        assert_eq!(run.action, TcxAction::Next, "{packet:?}");
        assert_eq!(run.frame, packet.bytes());
        self.programs.counted()
    }
}

/// An SCTP packet: ports, verification tag and checksum where UDP has its header and
/// four octets more, then a chunk.
fn sctp(from: &str, to: &str, chunk: u8) -> Packet {
    let common_and_chunk = [0, 0, 0, 0, chunk, 0, 0, 20, 0, 0, 0, 0];
    Packet::udp(from, to)
        .protocol(132)
        .payload(&common_and_chunk)
}

#[test]
fn tls_without_certificates_passes_and_is_noted() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let began = [(Counter::SignallingEncrypted, 1)];
        let (vm, far) = (format!("{VM}:40001"), format!("{GATEWAY}:5061"));
        assert_eq!(tap.programs.unread(VM, Unread::Encrypted), None);
        let syn = Packet::tcp4(&vm, &far, SYN);
        assert_eq!(tap.passes(TAP_FROM_VM, &syn), began);
        for _ in 0..3 {
            let answer = Packet::tcp4(&far, &vm, SYN | ACK);
            assert_eq!(tap.passes(TAP_TO_VM, &answer), []);
            let next = Packet::tcp4(&vm, &far, ACK);
            assert_eq!(tap.passes(TAP_FROM_VM, &next), []);
        }
        // A gateway that connects to the VM, from a port that is signalling's own.
        let (vm, far) = (format!("{VM}:5061"), format!("{GATEWAY}:5060"));
        let syn = Packet::tcp4(&far, &vm, SYN);
        assert_eq!(tap.passes(TAP_TO_VM, &syn), began);
        let seen = tap.programs.unread(VM, Unread::Encrypted).unwrap();
        assert_eq!(seen.begun, 2);
        assert!(now_ns() - seen.last_ns < 1_000_000_000);
        // Datagrams of that port are nothing that is known.
        let datagram = Packet::udp4(&format!("{VM}:9"), &format!("{GATEWAY}:5061"));
        assert_eq!(tap.passes(TAP_FROM_VM, &datagram), []);
    });
}

#[test]
fn a_connection_from_before_is_noted_without_its_beginning() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let (vm, far) = (format!("{VM}:40001"), format!("{GATEWAY}:5061"));
        let later = Packet::tcp4(&vm, &far, ACK);
        assert_eq!(tap.passes(TAP_FROM_VM, &later), []);
        let UnreadSeen { begun, last_ns } = tap.programs.unread(VM, Unread::Encrypted).unwrap();
        assert_eq!(begun, 0);
        assert!(last_ns > 0);
    });
}

#[test]
fn sctp_passes_and_is_noted() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let mut times = 0;
        for (vm, far) in [(VM, GATEWAY), (VM6, GATEWAY6)] {
            for port in [2944, 5060, 5061] {
                let (from, to) = (format!("{vm}:40001"), format!("{far}:{port}"));
                let began = [(Counter::SignallingSctp, 1)];
                assert_eq!(tap.passes(TAP_FROM_VM, &sctp(&from, &to, INIT)), began);
                assert_eq!(tap.passes(TAP_FROM_VM, &sctp(&from, &to, DATA)), []);
                assert_eq!(tap.passes(TAP_TO_VM, &sctp(&to, &from, DATA)), []);
                times += 1;
                // Toward the VM's own port, too.
                assert_eq!(
                    tap.passes(
                        TAP_TO_VM,
                        &sctp(&from.replace(vm, far), &to.replace(far, vm), INIT)
                    ),
                    began
                );
                times += 1;
            }
        }
        let of = |tap: &mut Tap, vm: &str| {
            let vm = vm.trim_matches(['[', ']']);
            tap.programs.unread(vm, Unread::Sctp).map(|seen| seen.begun)
        };
        assert_eq!(of(&mut tap, VM), Some(times / 2));
        assert_eq!(of(&mut tap, VM6), Some(times / 2));
        // Ports that are no signalling, and the registrar's.
        for port in [9, 5070] {
            let packet = sctp(&format!("{GATEWAY}:40001"), &format!("{VM}:{port}"), INIT);
            assert_eq!(tap.passes(TAP_TO_VM, &packet), [], "{port}");
        }
    });
}

#[test]
fn what_is_of_no_vm_of_this_tap_is_not_noted() {
    isolated(|| {
        let mut tap = Tap::set_up();
        let (other, far) = ("10.71.1.99:40001", format!("{GATEWAY}:5061"));
        for packet in [Packet::tcp4(other, &far, SYN), sctp(other, &far, INIT)] {
            let counted = tap.passes(TAP_FROM_VM, &packet);
            assert_eq!(counted, [(Counter::NotOurVm, 1)]);
        }
        assert_eq!(tap.programs.unread("10.71.1.99", Unread::Encrypted), None);
    });
}
