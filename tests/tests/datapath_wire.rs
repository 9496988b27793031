//! The programs attached to real interfaces: frames sent at one end arrive where
//! they should, which BPF_PROG_TEST_RUN cannot show.

use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode};
use sidestep_abi::counter::Counter;
use sidestep_abi::door::{LEASE_NS, Neighbour, PortClass, Side, UNTAGGED};
use sidestep_abi::flow::{AT_TAP, FlowKind};
use sidestep_abi::program::{DOOR_OUT, TAP_FROM_VM, TAP_TO_VM, UPLINK};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    Programs, action, ifindex, ip, isolated, listen_to_xdp, now_ns, steer, sysctl, typed,
};
use sidestep_tests::wire::Wire;

const VM: &str = "10.71.1.11";
const VM_SIP: &str = "10.71.1.11:5060";
const GATEWAY_SIP: &str = "10.71.3.31:5060";
const VM6: &str = "2001:db8:1::11";
const VM6_SIP: &str = "[2001:db8:1::11]:5060";
const GATEWAY6_SIP: &str = "[2001:db8:3::31]:5060";

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const DOOR_VM_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x01];
const DOOR_NET_MAC: Mac = [0x02, 0xd0, 0, 0, 0, 0x02];

/// A veth pair, both ends up, GRO on: a veth takes XDP frames only from a peer
/// that polls.
fn pair(near: &str, far: &str) {
    ip(&format!("link add {near} type veth peer name {far}")).unwrap();
    for end in [near, far] {
        ip(&format!("link set dev {end} up")).unwrap();
        let gro = std::process::Command::new("ethtool")
            .args(["-K", end, "gro", "on"])
            .status()
            .expect("ethtool");
        assert!(gro.success());
    }
}

/// A VM on a bridge port, the network on another, both doors.
///
/// ```text
/// vm0 ── tap0 ── br0 ── up0 ── far0      ssd-vm ── vm     ssd-net ── net
/// ```
struct Host {
    programs: Programs,
    /// The VM's own interface.
    vm: Wire,
    /// Beyond the uplink.
    far: Wire,
    /// The namespace's ends of the doors.
    door_vm: Wire,
    door_net: Wire,
}

impl Host {
    fn set_up() -> Self {
        for family in ["default", "all"] {
            sysctl(&format!("ipv6/conf/{family}/disable_ipv6"), "1").unwrap();
        }
        ip("link add br0 type bridge").unwrap();
        ip("link set br0 up").unwrap();
        pair("tap0", "vm0");
        pair("up0", "far0");
        pair("ssd-vm", "vm");
        pair("ssd-net", "net");
        ip("link set tap0 master br0").unwrap();
        ip("link set up0 master br0").unwrap();

        let mut programs = Programs::load();
        let tap = ifindex("tap0").unwrap();
        programs.set_vm(VM, tap);
        programs.set_port(5060, PortClass::Gateway);
        programs.set_door(Side::Vm, ifindex("ssd-vm").unwrap(), DOOR_VM_MAC);
        programs.set_door(Side::Net, ifindex("ssd-net").unwrap(), DOOR_NET_MAC);
        programs.set_lease(now_ns() + 60 * LEASE_NS);
        for (name, interface, direction) in [
            (TAP_FROM_VM, "tap0", TcAttachType::Ingress),
            (TAP_TO_VM, "tap0", TcAttachType::Egress),
            (DOOR_OUT, "ssd-vm", TcAttachType::Ingress),
            (DOOR_OUT, "ssd-net", TcAttachType::Ingress),
        ] {
            let program: &mut SchedClassifier = typed(&mut programs.ebpf, name).unwrap();
            let options = TcAttachOptions::TcxOrder(LinkOrder::default());
            program
                .attach_with_options(interface, direction, options)
                .unwrap();
        }
        let host = Self {
            programs,
            vm: Wire::open("vm0").unwrap(),
            far: Wire::open("far0").unwrap(),
            door_vm: Wire::open("vm").unwrap(),
            door_net: Wire::open("net").unwrap(),
        };
        // Once the bridge forwards, it also knows where both are.
        let hello = other_from_vm().bytes();
        sidestep_tests::wait::wait_for("the bridge", LIMIT, || {
            host.vm.send(&hello).unwrap();
            host.far.waiting().unwrap()
        })
        .unwrap();
        // Once more both ways, past whatever hellos are still on their way.
        for (from, to, hello) in [
            (&host.vm, &host.far, other_from_vm()),
            (&host.far, &host.vm, other_to_vm()),
        ] {
            let last = hello.id(2).bytes();
            from.send(&last).unwrap();
            while to.next().unwrap() != last {}
        }
        host
    }
}

const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

fn from_vm() -> Packet {
    Packet::udp4(VM_SIP, GATEWAY_SIP)
        .macs(VM_MAC, ROUTER_MAC)
        .payload(b"INVITE sip:200@10.71.3.31 SIP/2.0\r\n")
}

fn to_vm() -> Packet {
    Packet::udp4(GATEWAY_SIP, VM_SIP)
        .macs(ROUTER_MAC, VM_MAC)
        .payload(b"SIP/2.0 200 OK\r\n")
}

/// Something that nobody takes.
fn other_from_vm() -> Packet {
    from_vm().between("10.71.1.11:7", "10.71.3.31:7")
}

fn other_to_vm() -> Packet {
    to_vm().between("10.71.3.31:7", "10.71.1.11:7")
}

#[test]
fn the_vms_signalling_arrives_behind_the_vm_door() {
    isolated(|| {
        let host = Host::set_up();
        host.vm.send(&from_vm().bytes()).unwrap();
        let expected = from_vm().macs(VM_MAC, DOOR_VM_MAC).bytes();
        assert_eq!(host.door_vm.next().unwrap(), expected);
        // And nowhere else: what is sent after it comes first.
        host.vm.send(&other_from_vm().bytes()).unwrap();
        assert_eq!(host.far.next().unwrap(), other_from_vm().bytes());
    });
}

#[test]
fn signalling_to_the_vm_arrives_behind_the_net_door() {
    isolated(|| {
        let host = Host::set_up();
        host.far.send(&to_vm().bytes()).unwrap();
        let expected = to_vm().macs(ROUTER_MAC, DOOR_NET_MAC).bytes();
        assert_eq!(host.door_net.next().unwrap(), expected);
        host.far.send(&other_to_vm().bytes()).unwrap();
        assert_eq!(host.vm.next().unwrap(), other_to_vm().bytes());
    });
}

#[test]
fn what_the_daemon_sends_arrives_with_the_old_macs_and_is_not_taken_again() {
    isolated(|| {
        let mut host = Host::set_up();
        // The programs learn the MACs.
        host.vm.send(&from_vm().bytes()).unwrap();
        host.door_vm.next().unwrap();
        host.far.send(&to_vm().bytes()).unwrap();
        host.door_net.next().unwrap();
        host.programs.counted();

        // As the VM, out of the Net door: through the bridge, to the network.
        let own = [0x02, 9, 9, 9, 9, 9];
        let as_vm = from_vm().macs(DOOR_NET_MAC, own).payload(&[b'x'; 1_400]);
        host.door_net.send(&as_vm.bytes()).unwrap();
        let expected = as_vm.macs(VM_MAC, ROUTER_MAC).bytes();
        assert_eq!(host.far.next().unwrap(), expected);
        // As the gateway, out of the Vm door: to the VM.
        let as_gateway = to_vm().macs(DOOR_VM_MAC, own);
        host.door_vm.send(&as_gateway.bytes()).unwrap();
        assert_eq!(host.vm.next().unwrap(), to_vm().bytes());

        assert_eq!(
            host.programs.counted(),
            [(Counter::DoorToNet, 1), (Counter::DoorToVm, 1)]
        );
    });
}

#[test]
fn with_a_stale_lease_signalling_goes_its_old_way() {
    isolated(|| {
        let mut host = Host::set_up();
        host.programs.set_lease(now_ns() - 1);
        host.vm.send(&from_vm().bytes()).unwrap();
        assert_eq!(host.far.next().unwrap(), from_vm().bytes());
        host.far.send(&to_vm().bytes()).unwrap();
        assert_eq!(host.vm.next().unwrap(), to_vm().bytes());
        assert_eq!(host.programs.counted(), [(Counter::LeaseStale, 2)]);
    });
}

#[test]
fn guarded_media_does_not_leave() {
    isolated(|| {
        let mut host = Host::set_up();
        let (vm, far) = ("10.71.1.11:30000", "10.71.3.31:30000");
        host.programs.set_flow(vm, far, action(FlowKind::Guard, 1));
        let rtp = from_vm().between(vm, far).rtp(1, 160, 1, 8);
        host.vm.send(&rtp.bytes()).unwrap();
        host.vm.send(&other_from_vm().bytes()).unwrap();
        assert_eq!(host.far.next().unwrap(), other_from_vm().bytes());
        assert_eq!(host.programs.counted(), [(Counter::Guarded, 1)]);
    });
}

/// A VM whose guest tags its frames, over both IP versions, UDP and TCP: the daemon gets
/// them without the tag, which the kernel keeps beside the frame, and what it sends has
/// the tag again. (BPF_PROG_TEST_RUN cannot put a tag there.)
#[test]
fn a_tag_is_left_at_the_door_and_given_back() {
    isolated(|| {
        let mut host = Host::set_up();
        host.programs
            .set_vm(VM6, ifindex("tap0").expect("the VM's tap"));
        // Priority 5, VLAN 7; a service tag.
        let tags: [fn(Packet) -> Packet; 2] = [
            |packet| packet.vlan(5 << 13 | 7),
            |packet| packet.service_vlan(9),
        ];
        let syn = |src, dst| Packet::tcp4(src, dst, 0x02);
        let pairs = [
            (
                Packet::udp(VM_SIP, GATEWAY_SIP),
                Packet::udp(GATEWAY_SIP, VM_SIP),
            ),
            (
                Packet::udp(VM6_SIP, GATEWAY6_SIP),
                Packet::udp(GATEWAY6_SIP, VM6_SIP),
            ),
            (
                syn("10.71.1.11:32768", GATEWAY_SIP),
                syn(GATEWAY_SIP, "10.71.1.11:32768"),
            ),
        ];
        let own = [0x02, 9, 9, 9, 9, 9];
        for tagged in tags {
            for (up, down) in &pairs {
                let (up, down) = (up.clone().payload(b"INVITE"), down.clone().payload(b"OK"));
                // The VM's own, into its door.
                let sent = tagged(up.clone().macs(VM_MAC, ROUTER_MAC));
                host.vm.send(&sent.bytes()).unwrap();
                let taken = up.clone().macs(VM_MAC, DOOR_VM_MAC);
                assert_eq!(host.door_vm.next().unwrap(), taken.bytes());
                // As the VM, through the bridge to the network.
                let as_vm = up.clone().macs(DOOR_NET_MAC, own);
                host.door_net.send(&as_vm.bytes()).unwrap();
                assert_eq!(host.far.next().unwrap(), sent.bytes());
                // From the network, into the other door.
                let sent = tagged(down.clone().macs(ROUTER_MAC, VM_MAC));
                host.far.send(&sent.bytes()).unwrap();
                let taken = down.clone().macs(ROUTER_MAC, DOOR_NET_MAC);
                assert_eq!(host.door_net.next().unwrap(), taken.bytes());
                // As who sent it, to the VM.
                let as_other = down.clone().macs(DOOR_VM_MAC, own);
                host.door_vm.send(&as_other.bytes()).unwrap();
                assert_eq!(host.vm.next().unwrap(), sent.bytes());
            }
        }
        let counted = host.programs.counted();
        for counter in [
            Counter::TakenFromVm,
            Counter::TakenToVm,
            Counter::DoorToNet,
            Counter::DoorToVm,
        ] {
            assert!(counted.contains(&(counter, 6)), "{counter:?}: {counted:?}");
        }
        assert!(
            !counted
                .iter()
                .any(|(counter, _)| *counter == Counter::Tagged)
        );
    });
}

/// A large INVITE of such a guest: each fragment has the tag, and is taken without it.
#[test]
fn fragments_leave_their_tags_too() {
    isolated(|| {
        let host = Host::set_up();
        let invite = from_vm().payload(&[b'v'; 3_000]);
        for fragment in invite.fragments(1_400) {
            host.vm.send(&fragment.clone().vlan(7).bytes()).unwrap();
            let taken = fragment.macs(VM_MAC, DOOR_VM_MAC);
            assert_eq!(host.door_vm.next().unwrap(), taken.bytes());
        }
    });
}

/// Without a daemon, and with media or a second tag, all is as the VM has sent it.
#[test]
fn what_is_not_taken_keeps_its_tags() {
    isolated(|| {
        let mut host = Host::set_up();
        let (vm, far) = ("10.71.1.11:30000", "10.71.3.31:30000");
        host.programs.set_flow(vm, far, action(FlowKind::Guard, 1));
        let guarded = from_vm().between(vm, far).rtp(1, 160, 1, 8).vlan(7);
        host.vm.send(&guarded.bytes()).unwrap();
        let passing = [
            other_from_vm().vlan(7),
            from_vm().service_vlan(9).vlan(7),
            from_vm().vlan(9).vlan(7),
        ];
        for packet in passing {
            host.vm.send(&packet.bytes()).unwrap();
            assert_eq!(host.far.next().unwrap(), packet.bytes(), "{packet:?}");
        }
        host.programs.set_lease(now_ns() - 1);
        host.vm.send(&from_vm().vlan(7).bytes()).unwrap();
        assert_eq!(host.far.next().unwrap(), from_vm().vlan(7).bytes());
        assert_eq!(
            host.programs.counted(),
            [
                (Counter::LeaseStale, 1),
                (Counter::Guarded, 1),
                (Counter::Tagged, 2)
            ]
        );
        assert_eq!(host.door_vm.waiting().unwrap(), None);
    });
}

/// Two uplinks with XDP in the driver, and the network's ends of them.
///
/// ```text
/// fara ── upa ── (XDP) ── this host ── (XDP) ── upb ── farb
/// ```
fn uplinks(programs: &mut Programs) -> [Wire; 2] {
    for family in ["default", "all"] {
        sysctl(&format!("ipv6/conf/{family}/disable_ipv6"), "1").unwrap();
    }
    let uplink: &mut Xdp = typed(&mut programs.ebpf, UPLINK).unwrap();
    ["a", "b"].map(|end| {
        let (name, far) = (format!("up{end}"), format!("far{end}"));
        pair(&name, &far);
        listen_to_xdp(&far).unwrap();
        uplink.attach(&name, XdpMode::Driver).unwrap();
        Wire::open(&far).unwrap()
    })
}

const UPA_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x0a];
const UPB_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x0b];
const NEXT_HOP_MAC: Mac = [0x02, 0x71, 0x09, 0, 0, 0x09];

#[test]
fn steered_media_turns_around_on_its_interface() {
    isolated(|| {
        let mut programs = Programs::load();
        let [a, _] = uplinks(&mut programs);
        let (gateway, anchor, tc) = ("10.71.3.31:30000", "10.71.1.11:40000", "10.71.2.21:20000");
        programs.set_flow(gateway, anchor, steer(1, anchor, tc, VM_MAC));
        for seq in 0..100 {
            let came = Packet::udp4(gateway, anchor).macs(ROUTER_MAC, VM_MAC).rtp(
                seq,
                u32::from(seq) * 160,
                1,
                8,
            );
            a.send(&came.bytes()).unwrap();
            let went = came.between(anchor, tc).macs(VM_MAC, ROUTER_MAC).ttl(63);
            assert_eq!(a.next().unwrap(), went.bytes());
        }
        let stats = programs.stats(1);
        assert_eq!((stats.packets, stats.lost()), (100, 0));
        assert_eq!(stats.ifindex, ifindex("upa").unwrap());
    });
}

#[test]
fn routed_media_leaves_by_the_other_uplink() {
    isolated(|| {
        let mut programs = Programs::load();
        let [a, b] = uplinks(&mut programs);
        ip("link set upa address 02:71:05:00:00:0a").unwrap();
        ip("link set upb address 02:71:05:00:00:0b").unwrap();
        ip("address add 10.71.5.2/24 dev upb").unwrap();
        ip("route add 10.71.0.0/16 via 10.71.5.1").unwrap();
        ip("neigh add 10.71.5.1 lladdr 02:71:09:00:00:09 dev upb nud permanent").unwrap();
        sysctl("ipv4/ip_forward", "1").unwrap();
        for (uplink, mac) in [("upa", UPA_MAC), ("upb", UPB_MAC)] {
            programs.set_uplink(ifindex(uplink).unwrap(), mac);
        }
        let (tc, gateway, anchor) = ("10.71.2.21:20000", "10.71.3.31:30000", "10.71.4.13:40000");
        programs.set_flow(tc, gateway, action(FlowKind::Direct, 1));
        programs.set_flow(tc, anchor, steer(2, anchor, gateway, [0; 6]));

        let direct = Packet::udp4(tc, gateway)
            .macs(ROUTER_MAC, UPA_MAC)
            .rtp(1, 160, 1, 8);
        a.send(&direct.bytes()).unwrap();
        let went = direct.macs(UPB_MAC, NEXT_HOP_MAC).ttl(63);
        assert_eq!(b.next().unwrap(), went.bytes());

        let steered = Packet::udp4(tc, anchor)
            .macs(ROUTER_MAC, UPA_MAC)
            .rtp(1, 160, 1, 8);
        a.send(&steered.bytes()).unwrap();
        let went = steered
            .between(anchor, gateway)
            .macs(UPB_MAC, NEXT_HOP_MAC)
            .ttl(63);
        assert_eq!(b.next().unwrap(), went.bytes());
        assert_eq!(
            programs.counted(),
            [
                (Counter::DirectForwarded, 1),
                (Counter::SteeredForwarded, 1)
            ]
        );
    });
}

/// A sender on the VM's bridge leaves its checksums to a card; what is steered at the VM's tap
/// leaves by the uplink with whole ones, in every pairing of IP versions.
#[test]
fn a_checksum_that_is_left_to_a_card_is_made_on_the_way_out() {
    const SENDER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x12];
    let (v4, v6) = (
        ["10.71.1.12:3000", "10.71.1.11:40000", "10.71.2.21:2000"],
        [
            "[2001:db8:1::12]:3000",
            "[2001:db8:1::11]:40000",
            "[2001:db8:2::21]:2000",
        ],
    );
    isolated(|| {
        let mut host = Host::set_up();
        pair("tap9", "vm9");
        ip("link set tap9 master br0").unwrap();
        let card = std::process::Command::new("ethtool")
            .args(["-K", "up0", "tx", "off"])
            .status()
            .expect("ethtool");
        assert!(card.success());
        let sender = Wire::open("vm9").unwrap();
        // The kernel's own ends of the bridge tell it of their groups (IGMP).
        let is_for_all = |frame: &[u8]| frame[0] & 1 != 0;
        let tap = ifindex("tap0").unwrap();
        let router = Neighbour {
            vm_mac: VM_MAC,
            peer_mac: ROUTER_MAC,
            seen_mac: ROUTER_MAC,
            chosen_by_vm: 0,
            tag: UNTAGGED,
        };
        for (vm, far) in [(VM, "10.71.2.21"), (VM6, "2001:db8:2::21")] {
            host.programs.set_vm(vm, tap);
            host.programs.set_neighbour(vm, far, router);
        }
        for (came, went) in [(v4, v4), (v6, v6), (v4, v6), (v6, v4)] {
            let ([from, anchor, _], [_, sent_from, to]) = (came, went);
            host.programs
                .set_flow(from, anchor, steer(3, sent_from, to, AT_TAP));
            for seq in 0..20 {
                let packet = Packet::udp(from, anchor)
                    .macs(SENDER_MAC, VM_MAC)
                    .rtp(seq, 160, 7, 8);
                let unfinished = packet.clone().unfinished().bytes();
                sender.send_unfinished(&unfinished).unwrap();
                let went = packet
                    .between(sent_from, to)
                    .macs(VM_MAC, ROUTER_MAC)
                    .ttl(63);
                let translated = from.starts_with('[') && !to.starts_with('[');
                let went = if translated { went.id(0) } else { went };
                let mut frame = host.far.next().unwrap();
                while is_for_all(&frame) {
                    frame = host.far.next().unwrap();
                }
                assert_eq!(frame, went.bytes(), "{from} {to} {seq}");
            }
            assert_eq!(host.programs.counted(), [(Counter::SteeredAtTap, 20)]);
        }
    });
}
