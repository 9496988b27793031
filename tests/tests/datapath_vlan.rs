//! Media between VLANs, where the host routes: what comes behind the tags of one side
//! leaves behind those of the other, or none. Each of the host's interfaces in a VLAN is
//! an ordinary one here, which serves the programs as well; this kernel has no others.

use sidestep_abi::counter::Counter;
use sidestep_abi::flow::{FlowKind, vlan_tag};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{
    LO, Programs, XdpAction, XdpRun, action, ifindex, ip, isolated, steer, sysctl,
};

const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const UPLINK_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x02];

const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;

/// A side of the host: an interface, the tags that its frames have on the uplink, and
/// the next hop there.
struct Side {
    interface: &'static str,
    tags: &'static [(u16, u16)],
    mac: Mac,
    hop: Mac,
    networks: [&'static str; 2],
    addresses: [&'static str; 2],
    hops: [&'static str; 2],
}

const TC_SIDE: Side = Side {
    interface: "office",
    tags: &[(CUSTOMER, 100)],
    mac: [0x02, 0x71, 0x02, 0, 0, 0x02],
    hop: [0x02, 0x71, 0x02, 0, 0, 0x01],
    networks: ["10.71.2.0/24", "2001:db8:2::/48"],
    addresses: ["10.71.12.2/24", "2001:db8:12::2/64"],
    hops: ["10.71.12.1", "2001:db8:12::1"],
};
const GATEWAY_SIDE: Side = Side {
    interface: "dmz",
    tags: &[],
    mac: [0x02, 0x71, 0x03, 0, 0, 0x02],
    hop: [0x02, 0x71, 0x03, 0, 0, 0x01],
    networks: ["10.71.3.0/24", "2001:db8:3::/48"],
    addresses: ["10.71.13.2/24", "2001:db8:13::2/64"],
    hops: ["10.71.13.1", "2001:db8:13::1"],
};

/// Gateway, anchor toward it, anchor toward the thin client, thin client.
struct Call {
    gateway: &'static str,
    near: &'static str,
    far: &'static str,
    tc: &'static str,
}

const V4: Call = Call {
    gateway: "10.71.3.31:30000",
    near: "10.71.4.13:40000",
    far: "10.71.4.13:40000",
    tc: "10.71.2.21:20000",
};
const V6: Call = Call {
    gateway: "[2001:db8:3::31]:30000",
    near: "[2001:db8:4::13]:40000",
    far: "[2001:db8:4::13]:40000",
    tc: "[2001:db8:2::21]:20000",
};
const CALLS: [Call; 4] = [
    V4,
    V6,
    Call {
        far: V6.far,
        tc: V6.tc,
        ..V4
    },
    Call {
        far: V4.far,
        tc: V4.tc,
        ..V6
    },
];

impl Side {
    fn set_up(&self, programs: &mut Programs) {
        let name = self.interface;
        let mac = |mac: Mac| mac.map(|octet| format!("{octet:02x}")).join(":");
        ip(&format!("link add {name} type veth peer name far-{name}")).unwrap();
        ip(&format!("link set far-{name} up")).unwrap();
        ip(&format!("link set {name} address {} up", mac(self.mac))).unwrap();
        for version in 0..2 {
            let nodad = if version == 1 { " nodad" } else { "" };
            let (own, hop) = (self.addresses[version], self.hops[version]);
            ip(&format!("address add {own} dev {name}{nodad}")).unwrap();
            ip(&format!("route add {} via {hop}", self.networks[version])).unwrap();
            let hop = format!("{hop} lladdr {}", mac(self.hop));
            ip(&format!("neigh add {hop} dev {name} nud permanent")).unwrap();
        }
        let mut tags = [0; 2];
        for (tag, (protocol, id)) in tags.iter_mut().zip(self.tags) {
            *tag = vlan_tag(*protocol, *id);
        }
        if tags[0] != 0 {
            programs.set_vlan(LO, tags, ifindex(name).unwrap(), self.mac);
        } else {
            // Frames come in by the loopback, and leave by this.
            for uplink in [LO, ifindex(name).unwrap()] {
                programs.set_uplink(uplink, self.mac);
            }
        }
    }

    /// Behind the tags of this side, with a priority that says nothing about the VLAN.
    fn tagged(&self, packet: Packet, priority: u16) -> Packet {
        let tagged = |packet: Packet, (protocol, id): &(u16, u16)| match *protocol {
            SERVICE => packet.service_vlan(id | priority << 13),
            _ => packet.vlan(id | priority << 13),
        };
        self.tags.iter().fold(packet, tagged)
    }

    /// A frame of the next hop's for the host.
    fn comes(&self, packet: Packet) -> Packet {
        self.tagged(packet.macs(self.hop, self.mac), 5)
    }

    /// A frame of the host's for the next hop.
    fn leaves(&self, packet: Packet) -> Packet {
        self.tagged(packet.macs(self.mac, self.hop), 0)
    }
}

fn sides(programs: &mut Programs, sides: [&Side; 2]) {
    sysctl("ipv4/ip_forward", "1").unwrap();
    sysctl("ipv6/conf/all/forwarding", "1").unwrap();
    for side in sides {
        side.set_up(programs);
    }
}

fn rtp(src: &str, dst: &str) -> Packet {
    Packet::udp(src, dst).rtp(1, 160, 9, 8)
}

/// As it leaves when its IP version has changed.
fn went(came: &str, src: &str, dst: &str) -> Packet {
    let packet = rtp(src, dst).ttl(63);
    let crossed = came.starts_with('[') && !src.starts_with('[');
    if crossed { packet.id(0) } else { packet }
}

#[test]
fn steered_media_leaves_with_the_tags_of_the_other_side() {
    let tags: [[&[(u16, u16)]; 2]; 5] = [
        [&[(CUSTOMER, 100)], &[]],
        [&[(CUSTOMER, 100)], &[(CUSTOMER, 200)]],
        [&[(CUSTOMER, 100)], &[(SERVICE, 200), (CUSTOMER, 300)]],
        [&[], &[(SERVICE, 200), (CUSTOMER, 300)]],
        [
            &[(SERVICE, 7), (CUSTOMER, 9)],
            &[(SERVICE, 7), (CUSTOMER, 10)],
        ],
    ];
    for [tc_tags, gateway_tags] in tags {
        isolated(|| {
            let tc_side = Side {
                tags: tc_tags,
                ..TC_SIDE
            };
            let gateway_side = Side {
                tags: gateway_tags,
                ..GATEWAY_SIDE
            };
            let mut programs = Programs::load();
            sides(&mut programs, [&tc_side, &gateway_side]);
            for Call {
                gateway,
                near,
                far,
                tc,
            } in CALLS
            {
                programs.set_flow(gateway, near, steer(1, far, tc, [0; 6]));
                programs.set_flow(tc, far, steer(2, near, gateway, [0; 6]));
                let what = format!("{tc_tags:x?} and {gateway_tags:x?}, {gateway} and {tc}");
                let goes = |came: Packet, went: Packet| {
                    let run = programs.uplink(&came.bytes());
                    assert_eq!(run.action, XdpAction::Redirect, "{what}");
                    assert_eq!(run.frame, went.bytes(), "{what}");
                };
                goes(
                    gateway_side.comes(rtp(gateway, near)),
                    tc_side.leaves(went(gateway, far, tc)),
                );
                goes(
                    tc_side.comes(rtp(tc, far)),
                    gateway_side.leaves(went(tc, near, gateway)),
                );
            }
            assert_eq!(programs.counted(), [(Counter::SteeredForwarded, 8)]);
            assert_eq!(programs.stats(1).packets, 4);
        });
    }
}

#[test]
fn direct_media_between_vlans_too() {
    isolated(|| {
        let mut programs = Programs::load();
        sides(&mut programs, [&TC_SIDE, &GATEWAY_SIDE]);
        for Call { gateway, tc, .. } in [V4, V6] {
            programs.set_flow(tc, gateway, action(FlowKind::Direct, 1));
            let run = programs.uplink(&TC_SIDE.comes(rtp(tc, gateway)).bytes());
            let went = GATEWAY_SIDE.leaves(rtp(tc, gateway).ttl(63));
            assert_eq!((run.action, run.frame), (XdpAction::Redirect, went.bytes()));
        }
        assert_eq!(programs.counted(), [(Counter::DirectForwarded, 2)]);
    });
}

/// In another VLAN, for another MAC, with the other kind of tag, at its last hop, and
/// where no neighbour is known: as it came.
#[test]
fn what_is_not_for_this_host_keeps_its_tags() {
    isolated(|| {
        let mut programs = Programs::load();
        sides(&mut programs, [&TC_SIDE, &GATEWAY_SIDE]);
        let Call {
            gateway,
            near,
            far,
            tc,
        } = V4;
        programs.set_flow(tc, far, steer(2, near, gateway, [0; 6]));
        let packet = rtp(tc, far).macs(TC_SIDE.hop, TC_SIDE.mac);
        let transit = [
            packet.clone().vlan(101),
            packet.clone().service_vlan(100),
            packet.clone().vlan(100).vlan(100),
            packet.clone(),
            packet.clone().macs(TC_SIDE.hop, ROUTER_MAC).vlan(100),
            packet.clone().macs(TC_SIDE.hop, UPLINK_MAC).vlan(100),
        ];
        for packet in transit {
            let passed = XdpRun {
                action: XdpAction::Pass,
                frame: packet.bytes(),
            };
            assert_eq!(programs.uplink(&packet.bytes()), passed, "{packet:?}");
        }
        assert_eq!(programs.counted(), [(Counter::SteeredTransit, 6)]);
        let last = packet.clone().ttl(1).vlan(100);
        let run = programs.uplink(&last.bytes());
        assert_eq!((run.action, run.frame), (XdpAction::Pass, last.bytes()));
        // The stack finds the neighbour; it gets the packet rewritten, with its tags.
        ip("neigh del 10.71.13.1 dev dmz").unwrap();
        let came = packet.vlan(100);
        let run = programs.uplink(&came.bytes());
        let went = came.clone().between(near, gateway);
        assert_eq!((run.action, run.frame), (XdpAction::Pass, went.bytes()));
        assert_eq!(
            programs.counted(),
            [(Counter::FibPassed, 1), (Counter::TtlExpired, 1)]
        );
    });
}
