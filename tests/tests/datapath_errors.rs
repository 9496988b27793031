//! ICMP errors about steered packets: translated, and sent to the sender that they
//! concern; those about anything else pass as they came.

use sidestep_abi::counter::Counter;
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{LO, Programs, XdpAction, XdpRun, isolated, steer};

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const UPLINK_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x02];

/// Gateway, anchor toward it, anchor toward the TC, TC, a router on the way.
struct Site {
    gateway: &'static str,
    near: &'static str,
    far: &'static str,
    tc: &'static str,
    router: &'static str,
}

const IPV4: Site = Site {
    gateway: "10.71.3.31:30000",
    near: "10.71.1.11:40000",
    far: "10.71.1.11:40000",
    tc: "10.71.2.21:20000",
    router: "10.71.9.9:0",
};
const IPV6: Site = Site {
    gateway: "[2001:db8:3::31]:30000",
    near: "[2001:db8:1::11]:40000",
    far: "[2001:db8:1::12]:40000",
    tc: "[2001:db8:2::21]:20000",
    router: "[2001:db8:9::9]:0",
};
const CROSSED: Site = Site {
    far: "[2001:db8:1::12]:40000",
    tc: "[2001:db8:2::21]:20000",
    router: "[2001:db8:9::9]:0",
    ..IPV4
};

impl Site {
    fn programs(&self, anchor_mac: Mac) -> Programs {
        let mut programs = Programs::load();
        programs.set_uplink(LO, UPLINK_MAC);
        programs.set_flow(
            self.gateway,
            self.near,
            steer(1, self.far, self.tc, anchor_mac),
        );
        programs.set_flow(
            self.tc,
            self.far,
            steer(2, self.near, self.gateway, anchor_mac),
        );
        programs
    }

    /// As the gateway sent it.
    fn sent(&self) -> Packet {
        Packet::udp(self.gateway, self.near).rtp(1, 160, 9, 8)
    }

    /// As it left the anchor for the TC.
    fn steered(&self) -> Packet {
        Packet::udp(self.far, self.tc).rtp(1, 160, 9, 8)
    }
}

fn passed(packet: &Packet) -> XdpRun {
    XdpRun {
        action: XdpAction::Pass,
        frame: packet.bytes(),
    }
}

/// Port unreachable, too big, time exceeded, parameter problem.
const KINDS: [[(u8, u8, u32); 4]; 2] = [
    [(3, 3, 0), (3, 4, 1_400), (11, 0, 0), (12, 0, 0)],
    [(1, 4, 0), (2, 0, 1_400), (3, 0, 0), (4, 1, 0)],
];

#[test]
fn an_error_about_a_steered_packet_reaches_its_sender() {
    isolated(|| {
        for (site, kinds) in [IPV4, IPV6].iter().zip(KINDS) {
            let mut programs = site.programs(VM_MAC);
            for (kind, code, rest) in kinds {
                // From the TC itself, or from a router on the way.
                for from in [site.tc, site.router] {
                    for tagged in [false, true] {
                        let tag = |packet: Packet| if tagged { packet.vlan(9) } else { packet };
                        let came =
                            Packet::error(from, site.far, (kind, code), rest, &site.steered());
                        let came = tag(came.macs(ROUTER_MAC, VM_MAC).ttl(60));
                        let about = site.sent();
                        let went =
                            Packet::error(site.near, site.gateway, (kind, code), rest, &about);
                        let went = tag(went.macs(VM_MAC, ROUTER_MAC).ttl(59));
                        let run = programs.uplink(&came.bytes());
                        assert_eq!(run.action, XdpAction::Tx, "{kind}/{code} from {from}");
                        assert_eq!(run.frame, went.bytes(), "{kind}/{code} from {from}");
                    }
                }
            }
            assert_eq!(programs.counted(), [(Counter::ErrorTranslated, 16)]);
            assert_eq!(programs.stats(1).packets, 0);
        }
    });
}

#[test]
fn where_the_host_routes_the_stack_sends_the_error_on() {
    isolated(|| {
        let mut programs = IPV4.programs([0; 6]);
        let came = Packet::error(IPV4.tc, IPV4.far, (3, 3), 0, &IPV4.steered());
        let went = Packet::error(IPV4.near, IPV4.gateway, (3, 3), 0, &IPV4.sent()).ttl(63);
        assert_eq!(programs.uplink(&came.bytes()), passed(&went));
        assert_eq!(programs.counted(), [(Counter::ErrorTranslated, 1)]);
    });
}

#[test]
fn other_icmp_passes_as_it_came() {
    isolated(|| {
        for (site, kinds) in [IPV4, IPV6, CROSSED]
            .iter()
            .zip([KINDS[0], KINDS[1], KINDS[1]])
        {
            let programs = site.programs(VM_MAC);
            let (kind, code, rest) = kinds[0];
            let steered = site.steered();
            let error = |from, to, kind, about: &Packet| {
                Packet::error(from, to, kind, rest, about).macs(ROUTER_MAC, VM_MAC)
            };
            let echo = if site.far.starts_with('[') { 128 } else { 8 };
            let other = steered.clone().between(site.far, site.router);
            let mut passing = vec![
                error(site.tc, site.far, (echo, 0), &steered),
                error(site.tc, site.far, (kind, code), &other),
                error(
                    site.tc,
                    site.far,
                    (kind, code),
                    &steered.clone().protocol(6),
                ),
                // Not sent to whom the packet seems to be from.
                error(site.tc, site.router, (kind, code), &steered),
            ];
            if site.gateway.starts_with('[') != site.tc.starts_with('[') {
                // It would have to change its version.
                passing.push(error(site.tc, site.far, (kind, code), &steered));
            }
            for packet in passing {
                assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
            }
            let short = error(site.tc, site.far, (kind, code), &steered).bytes();
            for len in [40, 60, short.len() - 150] {
                let run = programs.uplink(&short[..len]);
                assert_eq!(
                    (run.action, &run.frame[..]),
                    (XdpAction::Pass, &short[..len])
                );
            }
        }
    });
}
