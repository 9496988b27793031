//! `door_out` (tcx), frame by frame, and `door_socket` (sk_lookup) with real
//! sockets: the way out of the daemon's namespace, and the way in.

use std::fs::File;
use std::net::UdpSocket;
use std::time::Duration;

use aya::maps::RingBuf;
use aya::programs::SkLookup;
use sidestep_abi::counter::Counter;
use sidestep_abi::door::{MARK, Neighbour, Side, UNTAGGED};
use sidestep_abi::program::{DOOR_OUT, DOOR_SOCKET};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{Programs, TcxAction, TcxRun, ifindex, ip, isolated, sysctl, typed};
use sidestep_tests::wire::Wire;

const VM: &str = "10.71.1.11";
const VM_SIP: &str = "10.71.1.11:5060";
const GATEWAY: &str = "10.71.3.31";
const GATEWAY_SIP: &str = "10.71.3.31:5060";

const NS_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x01];
const KNOWN: Neighbour = Neighbour {
    vm_mac: [0x02, 0x71, 0x01, 0, 0, 0x11],
    peer_mac: [0x02, 0x71, 0x01, 0, 0, 0x01],
    seen_mac: [0; 6],
    chosen_by_vm: 1,
    tag: UNTAGGED,
};
const LAST: Neighbour = Neighbour {
    vm_mac: [0x02, 0x71, 0x01, 0, 0, 0x11],
    peer_mac: [0x02, 0x71, 0x01, 0, 0, 0x02],
    seen_mac: [0; 6],
    chosen_by_vm: 1,
    tag: UNTAGGED,
};

/// The host ends of both doors, a VM on tap 0x1_0203, MACs of its gateway.
struct Doors {
    programs: Programs,
    vm: u32,
    net: u32,
}

const TAP: u32 = 0x1_0203;

impl Doors {
    fn set_up() -> Self {
        ip("link add ssd-vm type veth peer name vm").unwrap();
        ip("link add ssd-net type veth peer name net").unwrap();
        let (vm, net) = (ifindex("ssd-vm").unwrap(), ifindex("ssd-net").unwrap());
        let mut programs = Programs::load();
        programs.set_door(Side::Vm, vm, NS_MAC);
        programs.set_door(Side::Net, net, NS_MAC);
        programs.set_vm(VM, TAP);
        programs.set_neighbour(VM, GATEWAY, KNOWN);
        Self { programs, vm, net }
    }

    fn out_of(&self, door: u32, packet: &Packet) -> TcxRun {
        self.programs.tcx(DOOR_OUT, &packet.bytes(), door, 0)
    }
}

fn sent(packet: &Packet, src: Mac, dst: Mac) -> TcxRun {
    TcxRun {
        action: TcxAction::Redirect,
        frame: packet.clone().macs(src, dst).bytes(),
        mark: MARK | 0x0203,
    }
}

fn dropped(packet: &Packet) -> TcxRun {
    TcxRun {
        action: TcxAction::Drop,
        frame: packet.bytes(),
        mark: 0,
    }
}

fn for_vm() -> Packet {
    Packet::udp4(GATEWAY_SIP, VM_SIP).payload(b"SIP/2.0 200 OK\r\n")
}

fn as_vm() -> Packet {
    Packet::udp4(VM_SIP, GATEWAY_SIP).payload(b"INVITE sip:200@10.71.3.31 SIP/2.0\r\n")
}

#[test]
fn out_of_the_vm_door_frames_go_to_the_vm() {
    isolated(|| {
        let mut doors = Doors::set_up();
        assert_eq!(
            doors.out_of(doors.vm, &for_vm()),
            sent(&for_vm(), KNOWN.peer_mac, KNOWN.vm_mac)
        );
        assert_eq!(doors.programs.counted(), [(Counter::DoorToVm, 1)]);
    });
}

#[test]
fn out_of_the_net_door_frames_go_as_if_the_vm_had_sent_them() {
    isolated(|| {
        let mut doors = Doors::set_up();
        assert_eq!(
            doors.out_of(doors.net, &as_vm()),
            sent(&as_vm(), KNOWN.vm_mac, KNOWN.peer_mac)
        );
        assert_eq!(doors.programs.counted(), [(Counter::DoorToNet, 1)]);
    });
}

#[test]
fn anything_of_ipv4_may_leave() {
    isolated(|| {
        let mut doors = Doors::set_up();
        let packets = [
            as_vm().fragment(0, true),
            as_vm().fragment(1_480, false),
            as_vm().options(&[1, 1, 1, 0]),
            as_vm().protocol(132),
        ];
        for packet in &packets {
            assert_eq!(
                doors.out_of(doors.net, packet),
                sent(packet, KNOWN.vm_mac, KNOWN.peer_mac)
            );
        }
        assert_eq!(doors.programs.counted(), [(Counter::DoorToNet, 4)]);
    });
}

#[test]
fn toward_a_stranger_the_vms_last_next_hop_serves() {
    isolated(|| {
        let mut doors = Doors::set_up();
        doors.programs.set_neighbour(VM, "::", LAST);
        let packet = as_vm().between(VM_SIP, "203.0.113.5:5060");
        assert_eq!(
            doors.out_of(doors.net, &packet),
            sent(&packet, LAST.vm_mac, LAST.peer_mac)
        );
        // Where there is a better one, not.
        assert_eq!(
            doors.out_of(doors.net, &as_vm()),
            sent(&as_vm(), KNOWN.vm_mac, KNOWN.peer_mac)
        );
    });
}

#[test]
fn frames_without_a_tap_or_a_mac_are_dropped() {
    isolated(|| {
        let mut doors = Doors::set_up();
        let no_mac = as_vm().between(VM_SIP, "203.0.113.5:5060");
        let no_vm = as_vm().between("10.71.1.99:5060", GATEWAY_SIP);
        for packet in [&no_mac, &no_vm] {
            assert_eq!(doors.out_of(doors.net, packet), dropped(packet));
        }
        // Of the Vm door the destination is the VM.
        assert_eq!(doors.out_of(doors.vm, &as_vm()), dropped(&as_vm()));
        doors.programs.set_vm(VM, 0);
        assert_eq!(doors.out_of(doors.net, &as_vm()), dropped(&as_vm()));
        assert_eq!(doors.programs.counted(), [(Counter::DoorNoNeighbour, 4)]);
        // Somebody will wonder why: a line in the log, but not one a frame.
        let logs = doors.programs.ebpf.map_mut("AYA_LOGS").unwrap();
        let mut logs = RingBuf::try_from(logs).unwrap();
        assert!(logs.next().is_some());
        assert!(logs.next().is_none());
    });
}

#[test]
fn nothing_else_has_business_there() {
    isolated(|| {
        let mut doors = Doors::set_up();
        for ethertype in [0x0806, 0x88cc] {
            let packet = as_vm().ethertype(ethertype);
            assert_eq!(doors.out_of(doors.net, &packet), dropped(&packet));
        }
        // What an IPv6 stack says to its link of its own accord.
        for (src, dst) in [
            ("[fe80::1]:1", "[2001:db8::2]:2"),
            ("[2001:db8::1]:1", "[ff02::16]:2"),
            ("[::]:1", "[2001:db8::1]:2"),
        ] {
            let packet = Packet::udp(src, dst);
            assert_eq!(doors.out_of(doors.net, &packet), dropped(&packet));
        }
        let tagged = as_vm().vlan(3);
        assert_eq!(doors.out_of(doors.net, &tagged), dropped(&tagged));
        // An interface that is no door.
        let far_end = ifindex("net").unwrap();
        assert_eq!(doors.out_of(far_end, &as_vm()), dropped(&as_vm()));
        assert_eq!(doors.programs.counted(), [(Counter::DoorForeign, 7)]);
    });
}

/// The namespace as the daemon makes it: whatever comes in by its two links is
/// for this host. Its sockets, and the wires into it.
struct Inside {
    programs: Programs,
    sockets: [UdpSocket; 2],
    wires: [Wire; 2],
}

impl Inside {
    fn set_up() -> Self {
        sysctl("ipv4/conf/default/rp_filter", "0").unwrap();
        sysctl("ipv4/conf/all/rp_filter", "0").unwrap();
        ip("route add local 0.0.0.0/0 dev lo table 100").unwrap();
        for end in ["vm", "net"] {
            ip(&format!("link add ssd-{end} type veth peer name {end}")).unwrap();
            ip(&format!(
                "link set {end} address 02:d0:00:00:00:01 arp off up"
            ))
            .unwrap();
            ip(&format!("link set ssd-{end} arp off up")).unwrap();
            ip(&format!("rule add iif {end} lookup 100")).unwrap();
        }
        let mut programs = Programs::load();
        let sockets = [(); 2].map(|()| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            socket
        });
        for (side, end) in [(Side::Vm, "vm"), (Side::Net, "net")] {
            programs.set_door_ns(side, ifindex(end).unwrap());
            programs
                .door_sockets()
                .set(side as u32, &sockets[side as usize], 0)
                .unwrap();
        }
        let lookup: &mut SkLookup = typed(&mut programs.ebpf, DOOR_SOCKET).unwrap();
        lookup
            .attach(File::open("/proc/thread-self/ns/net").unwrap())
            .unwrap();
        Self {
            programs,
            sockets,
            wires: ["ssd-vm", "ssd-net"].map(|host| Wire::open(host).unwrap()),
        }
    }

    fn enters(&self, side: Side, packet: &Packet) {
        let frame = packet.clone().macs([2; 6], NS_MAC).bytes();
        self.wires[side as usize].send(&frame).unwrap();
    }

    fn received(&self, side: Side) -> (String, Vec<u8>) {
        let mut buffer = [0; 8_192];
        let (len, from) = self.sockets[side as usize]
            .recv_from(&mut buffer)
            .expect("a datagram");
        (from.to_string(), buffer[..len].to_vec())
    }
}

#[test]
fn every_datagram_reaches_the_socket_of_its_side_whatever_its_port() {
    isolated(|| {
        let mut inside = Inside::set_up();
        // Sockets bound to the very address are asked after the program.
        sysctl("ipv4/ip_nonlocal_bind", "1").unwrap();
        let bound = UdpSocket::bind(VM_SIP).unwrap();
        bound.set_nonblocking(true).unwrap();
        for port in [1, 5060, 5070, 65_535] {
            for side in [Side::Net, Side::Vm] {
                let payload = format!("{side:?} {port}");
                let packet = Packet::udp4(GATEWAY_SIP, &format!("{VM}:{port}"));
                inside.enters(side, &packet.payload(payload.as_bytes()));
                let expected = (GATEWAY_SIP.to_owned(), payload.into_bytes());
                assert_eq!(inside.received(side), expected);
            }
        }
        assert!(bound.recv(&mut [0; 1]).is_err());
        assert_eq!(inside.programs.counted(), []);
    });
}

#[test]
fn a_datagram_in_fragments_arrives_whole() {
    isolated(|| {
        let inside = Inside::set_up();
        let message: Vec<u8> = (0..4_000u32).map(|at| at as u8).collect();
        let whole = Packet::udp4(VM_SIP, GATEWAY_SIP).id(9).payload(&message);
        for fragment in whole.fragments(1_500) {
            inside.enters(Side::Vm, &fragment);
        }
        assert_eq!(inside.received(Side::Vm), (VM_SIP.to_owned(), message));
    });
}

#[test]
fn a_socket_that_does_not_fit_is_counted() {
    isolated(|| {
        let mut inside = Inside::set_up();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        inside
            .programs
            .door_sockets()
            .set(Side::Net as u32, &listener, 0)
            .unwrap();
        let marker = Packet::udp4(GATEWAY_SIP, VM_SIP).payload(b"x");
        inside.enters(Side::Net, &marker);
        inside.enters(Side::Vm, &marker);
        inside.received(Side::Vm);
        assert_eq!(inside.programs.counted(), [(Counter::KernelRefused, 1)]);
    });
}
