//! Taps and doors in IPv6, frame by frame: what `datapath_tap` and `datapath_door` show
//! of IPv4 holds here, too.

use sidestep_abi::counter::{Counter, EventKind};
use sidestep_abi::door::{LEASE_NS, MARK, Neighbour, PortClass, Side, UNTAGGED};
use sidestep_abi::flow::FlowKind;
use sidestep_abi::program::{DOOR_OUT, TAP_FROM_VM, TAP_TO_VM};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    Programs, TcxAction, TcxRun, action, flow_key, ifindex, ip, isolated, now_ns,
};

const VM: &str = "2001:db8:1::11";
const VM_SIP: &str = "[2001:db8:1::11]:5060";
const GATEWAY: &str = "2001:db8:3::31";
const GATEWAY_SIP: &str = "[2001:db8:3::31]:5060";
const TC_SIP: &str = "[2001:db8:2::21]:5062";
const ANY: &str = "::";
const VM_RTP: &str = "[2001:db8:1::11]:30000";
const GATEWAY_RTP: &str = "[2001:db8:3::31]:30000";

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const DOOR_VM_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x01];
const DOOR_NET_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x02];

/// A tap with a VM, both doors, a fresh lease.
struct Host {
    programs: Programs,
    tap: u32,
    doors: [u32; 2],
}

impl Host {
    fn set_up() -> Self {
        for (host, far) in [("tap0", "vm0"), ("ssd-vm", "vm"), ("ssd-net", "net")] {
            ip(&format!("link add {host} type veth peer name {far}")).unwrap();
        }
        let [tap, vm, net] = ["tap0", "ssd-vm", "ssd-net"].map(|name| ifindex(name).unwrap());
        let mut programs = Programs::load();
        programs.set_vm(VM, tap);
        programs.set_port(5060, PortClass::Gateway);
        programs.set_port(5070, PortClass::Registrar);
        programs.set_door(Side::Vm, vm, DOOR_VM_MAC);
        programs.set_door(Side::Net, net, DOOR_NET_MAC);
        programs.set_lease(now_ns() + LEASE_NS);
        Self {
            programs,
            tap,
            doors: [vm, net],
        }
    }

    fn vm_sends(&self, packet: &Packet) -> TcxRun {
        self.programs.tcx(TAP_FROM_VM, &packet.bytes(), self.tap, 0)
    }

    fn vm_gets(&self, packet: &Packet) -> TcxRun {
        self.programs.tcx(TAP_TO_VM, &packet.bytes(), self.tap, 0)
    }

    fn out_of(&self, side: Side, packet: &Packet) -> TcxRun {
        let door = self.doors[side as usize];
        self.programs.tcx(DOOR_OUT, &packet.bytes(), door, 0)
    }
}

fn ran(action: TcxAction, packet: &Packet, mark: u32) -> TcxRun {
    TcxRun {
        action,
        frame: packet.bytes(),
        mark,
    }
}

fn passed(packet: &Packet) -> TcxRun {
    ran(TcxAction::Next, packet, 0)
}

fn dropped(packet: &Packet) -> TcxRun {
    ran(TcxAction::Drop, packet, 0)
}

/// Into a door, with the MAC of its namespace's end.
fn taken(packet: &Packet, src: Mac, door: Mac) -> TcxRun {
    ran(TcxAction::Redirect, &packet.clone().macs(src, door), 0)
}

fn from_vm(src: &str, dst: &str) -> Packet {
    let packet = Packet::udp(src, dst).macs(VM_MAC, ROUTER_MAC);
    packet.payload(b"INVITE sip:200@[2001:db8:3::31] SIP/2.0\r\n")
}

fn to_vm(src: &str, dst: &str) -> Packet {
    let packet = Packet::udp(src, dst).macs(ROUTER_MAC, VM_MAC);
    packet.payload(b"SIP/2.0 200 OK\r\n")
}

#[test]
fn signalling_goes_into_its_door_and_macs_are_learned() {
    isolated(|| {
        let mut host = Host::set_up();
        let learned = |seen_mac, chosen_by_vm| {
            Some(Neighbour {
                vm_mac: VM_MAC,
                peer_mac: ROUTER_MAC,
                seen_mac,
                chosen_by_vm,
                tag: UNTAGGED,
            })
        };
        let registers = to_vm(TC_SIP, "[2001:db8:1::11]:5070");
        assert_eq!(
            host.vm_gets(&registers),
            taken(&registers, ROUTER_MAC, DOOR_NET_MAC)
        );
        assert_eq!(host.programs.neighbour(VM, ANY), learned([0; 6], 0));
        let invite = from_vm(VM_SIP, GATEWAY_SIP);
        assert_eq!(host.vm_sends(&invite), taken(&invite, VM_MAC, DOOR_VM_MAC));
        assert_eq!(host.programs.neighbour(VM, GATEWAY), learned([0; 6], 1));
        let answer = to_vm(GATEWAY_SIP, VM_SIP);
        assert_eq!(
            host.vm_gets(&answer),
            taken(&answer, ROUTER_MAC, DOOR_NET_MAC)
        );
        assert_eq!(
            host.programs.counted(),
            [(Counter::TakenFromVm, 1), (Counter::TakenToVm, 2)]
        );
    });
}

#[test]
fn fragments_follow_their_first() {
    isolated(|| {
        let mut host = Host::set_up();
        let invite = from_vm(VM_SIP, GATEWAY_SIP).payload(&[b'v'; 3_000]);
        let fragments = invite.fragments(1_400);
        // One that comes before its first is not known.
        let early = fragments[1].clone().id(9);
        assert_eq!(host.vm_sends(&early), passed(&early));
        for fragment in &fragments {
            let sent = fragment.clone().macs(VM_MAC, ROUTER_MAC);
            assert_eq!(host.vm_sends(&sent), taken(&sent, VM_MAC, DOOR_VM_MAC));
        }
        let later = fragments.len() as u64 - 1;
        assert_eq!(
            host.programs.counted(),
            [
                (Counter::TakenFromVm, 1),
                (Counter::TakenFragment, later),
                (Counter::FragmentUnknown, 1)
            ]
        );
    });
}

#[test]
fn what_is_not_to_be_taken_passes() {
    isolated(|| {
        let mut host = Host::set_up();
        let invite = from_vm(VM_SIP, GATEWAY_SIP);
        // Another VM's address; an extension header; a second tag; no signalling.
        let passing = [
            (
                from_vm("[2001:db8:1::99]:5060", GATEWAY_SIP),
                Some(Counter::NotOurVm),
            ),
            (invite.clone().extension(60), Some(Counter::ExtensionHeader)),
            (invite.clone().vlan(7), Some(Counter::Tagged)),
            (from_vm("[2001:db8:1::11]:7", "[2001:db8:3::31]:7"), None),
            (invite.clone().macs(VM_MAC, [0x33, 0x33, 0, 0, 0, 1]), None),
        ];
        for (packet, counter) in passing {
            assert_eq!(host.vm_sends(&packet), passed(&packet), "{packet:?}");
            let counted: Vec<_> = counter.map(|counter| (counter, 1)).into_iter().collect();
            assert_eq!(host.programs.counted(), counted, "{packet:?}");
        }
        // What the daemon has sent through this tap, once.
        let mark = MARK | (host.tap & 0xffff);
        let run = host
            .programs
            .tcx(TAP_TO_VM, &invite.bytes(), host.tap, mark);
        assert_eq!(run, passed(&invite));
        host.programs.set_lease(now_ns() - 1);
        assert_eq!(host.vm_sends(&invite), passed(&invite));
        assert_eq!(host.programs.counted(), [(Counter::LeaseStale, 1)]);
        assert_eq!(host.programs.neighbour(VM, ANY), None);
    });
}

#[test]
fn guarded_media_is_dropped_and_relayed_media_counted() {
    isolated(|| {
        let mut host = Host::set_up();
        let up = from_vm(VM_RTP, GATEWAY_RTP).rtp(1, 160, 0xcc, 8);
        let down = to_vm(GATEWAY_RTP, VM_RTP).rtp(1, 160, 0xdd, 8);
        host.programs
            .set_flow(VM_RTP, GATEWAY_RTP, action(FlowKind::Guard, 1));
        assert_eq!(host.vm_sends(&up), dropped(&up));
        // Toward the VM a guard says nothing.
        assert_eq!(host.vm_gets(&up), passed(&up));
        assert_eq!(host.programs.counted(), [(Counter::Guarded, 1)]);
        let stats = host.programs.stats(1);
        assert_eq!((stats.packets, stats.bytes, stats.ssrc), (1, 220, 0xcc));
        let [event] = host.programs.events()[..] else {
            panic!("one event");
        };
        assert_eq!(event.kind, EventKind::FirstPacket as u32);
        assert_eq!(event.key, flow_key(VM_RTP, GATEWAY_RTP));

        host.programs
            .set_flow(VM_RTP, GATEWAY_RTP, action(FlowKind::Relay, 2));
        host.programs
            .set_flow(GATEWAY_RTP, VM_RTP, action(FlowKind::Relay, 3));
        assert_eq!(host.vm_sends(&up), passed(&up));
        assert_eq!(host.vm_gets(&down), passed(&down));
        assert_eq!(host.programs.counted(), [(Counter::Relayed, 2)]);
        assert_eq!(host.programs.stats(2).ssrc, 0xcc);
        assert_eq!(host.programs.stats(3).ssrc, 0xdd);
        let fragment = up.fragment(0, true);
        assert_eq!(host.vm_sends(&fragment), passed(&fragment));
        assert_eq!(host.programs.counted(), [(Counter::MediaFragment, 1)]);
    });
}

/// While a softphone rings, its port is not known; without a daemon it is heard.
#[test]
fn a_guard_without_a_port_stands_for_all_of_the_vms() {
    isolated(|| {
        let mut host = Host::set_up();
        let any = "[2001:db8:1::11]:0";
        host.programs
            .set_flow(any, GATEWAY_RTP, action(FlowKind::Guard, 1));
        for port in [30_000, 41_234] {
            let up = from_vm(&format!("[{VM}]:{port}"), GATEWAY_RTP).rtp(1, 160, 0xcc, 8);
            assert_eq!(host.vm_sends(&up), dropped(&up));
        }
        host.programs.set_lease(now_ns() - 1);
        let up = from_vm(VM_RTP, GATEWAY_RTP).rtp(2, 320, 0xcc, 8);
        assert_eq!(host.vm_sends(&up), passed(&up));
        assert_eq!(host.programs.counted(), [(Counter::Guarded, 2)]);
    });
}

#[test]
fn out_of_the_doors_frames_have_the_macs_that_were_learned() {
    isolated(|| {
        let mut host = Host::set_up();
        let learn = from_vm(VM_SIP, GATEWAY_SIP);
        host.vm_sends(&learn);
        host.programs.counted();
        let mark = MARK | (host.tap & 0xffff);
        let own = [0x02, 9, 9, 9, 9, 9];
        let for_vm = to_vm(GATEWAY_SIP, VM_SIP).macs(DOOR_VM_MAC, own);
        let as_vm = from_vm(VM_SIP, GATEWAY_SIP).macs(DOOR_NET_MAC, own);
        assert_eq!(
            host.out_of(Side::Vm, &for_vm),
            ran(
                TcxAction::Redirect,
                &for_vm.clone().macs(ROUTER_MAC, VM_MAC),
                mark
            )
        );
        // Whatever it is, and to whomever: by the next hop that the VM used last.
        let others = [
            as_vm.clone(),
            as_vm.clone().extension(60),
            as_vm.clone().fragment(0, true),
            as_vm.clone().between(VM_SIP, "[2001:db8:77::5]:5060"),
        ];
        for packet in others {
            assert_eq!(
                host.out_of(Side::Net, &packet),
                ran(
                    TcxAction::Redirect,
                    &packet.clone().macs(VM_MAC, ROUTER_MAC),
                    mark
                )
            );
        }
        // What an IPv6 stack says to its link has no business there; nor has a VM that
        // nobody knows.
        let foreign = [
            (Packet::udp("[fe80::1]:1", VM_SIP), Counter::DoorForeign),
            (Packet::udp("[::]:1", "[ff02::16]:1"), Counter::DoorForeign),
            (
                to_vm(GATEWAY_SIP, "[2001:db8:1::99]:5060"),
                Counter::DoorNoNeighbour,
            ),
        ];
        host.programs.counted();
        for (packet, counter) in foreign {
            assert_eq!(host.out_of(Side::Vm, &packet), dropped(&packet));
            assert_eq!(host.programs.counted(), [(counter, 1)], "{packet:?}");
        }
    });
}
