//! ICMP errors about steered packets: translated, to the other IP version too, and sent
//! to the sender that they concern; those about anything else pass as they came.

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

/// An error as it comes, and as it goes on: type, code, and the octets after the
/// checksum. The loopback, by which they come here, has an MTU of 65,536.
type Said = (u8, u8, u32);

/// RFC 7915 §5.2.
const TO_IPV4: [(Said, Said); 16] = [
    ((1, 0, 0), (3, 1, 0)),
    ((1, 1, 0), (3, 10, 0)),
    ((1, 2, 0), (3, 1, 0)),
    ((1, 3, 0), (3, 1, 0)),
    ((1, 4, 0), (3, 3, 0)),
    ((2, 0, 1_400), (3, 4, 1_380)),
    ((2, 0, 70_000), (3, 4, 65_516)),
    ((3, 0, 0), (11, 0, 0)),
    ((3, 1, 0), (11, 1, 0)),
    ((4, 0, 1), (12, 0, 1 << 24)),
    ((4, 0, 5), (12, 0, 2 << 24)),
    ((4, 0, 6), (12, 0, 9 << 24)),
    ((4, 0, 7), (12, 0, 8 << 24)),
    ((4, 0, 23), (12, 0, 12 << 24)),
    ((4, 0, 24), (12, 0, 16 << 24)),
    ((4, 1, 6), (3, 2, 0)),
];

/// RFC 7915 §4.2.
const TO_IPV6: [(Said, Said); 19] = [
    ((3, 0, 0), (1, 0, 0)),
    ((3, 1, 0), (1, 0, 0)),
    ((3, 2, 0), (4, 1, 6)),
    ((3, 3, 0), (1, 4, 0)),
    ((3, 4, 1_400), (2, 0, 1_420)),
    // Never below IPv6's least; a router that does not say it; longer than the link.
    ((3, 4, 576), (2, 0, 1_280)),
    ((3, 4, 0), (2, 0, 1_512)),
    ((3, 4, 65_535), (2, 0, 65_536)),
    ((3, 5, 0), (1, 0, 0)),
    ((3, 9, 0), (1, 1, 0)),
    ((3, 13, 0), (1, 1, 0)),
    ((3, 15, 0), (1, 1, 0)),
    ((11, 0, 0), (3, 0, 0)),
    ((11, 1, 0), (3, 1, 0)),
    ((12, 0, 1 << 24), (4, 0, 1)),
    ((12, 0, 8 << 24), (4, 0, 7)),
    ((12, 0, 9 << 24), (4, 0, 6)),
    ((12, 2, 2 << 24), (4, 0, 4)),
    ((12, 0, 19 << 24), (4, 0, 24)),
];

/// What the other version has no words for.
const NOT_IPV4: [Said; 4] = [(1, 5, 0), (4, 2, 0), (4, 0, 2), (4, 0, 40)];
const NOT_IPV6: [Said; 5] = [
    (3, 14, 0),
    (12, 1, 0),
    (12, 0, 4 << 24),
    (12, 0, 10 << 24),
    (12, 0, 20 << 24),
];

fn error(from: &str, to: &str, (kind, code, rest): Said, about: &Packet) -> Packet {
    Packet::error(from, to, (kind, code), rest, about)
}

/// Behind no tag, one, or two.
fn tagged(packet: Packet, tags: usize) -> Packet {
    match tags {
        0 => packet,
        1 => packet.vlan(9),
        _ => packet.service_vlan(7).vlan(9),
    }
}

/// A gateway of IPv4, a thin client of IPv6: each hears of what became of its packets in
/// its own version.
#[test]
fn an_error_of_the_other_ip_version_reaches_the_sender_in_its_own() {
    isolated(|| {
        let site = CROSSED;
        let mut programs = site.programs(VM_MAC);
        let mut translated = 0;
        for tags in 0..3 {
            let mut goes = |came: Packet, went: Packet| {
                let came = tagged(came.macs(ROUTER_MAC, VM_MAC).ttl(60).tos(0xb8), tags);
                let went = tagged(went.macs(VM_MAC, ROUTER_MAC).ttl(59).tos(0xb8), tags);
                let run = programs.uplink(&came.bytes());
                assert_eq!(run.action, XdpAction::Tx, "{came:?}");
                assert_eq!(run.frame, went.bytes(), "{came:?} behind {tags} tags");
                translated += 1;
            };
            for (came, went) in TO_IPV4 {
                // An identification is not known any more, nor needed.
                let sent = site.sent().id(0);
                for from in [site.tc, site.router] {
                    goes(
                        error(from, site.far, came, &site.steered()),
                        error(site.near, site.gateway, went, &sent).id(0),
                    );
                }
            }
            for (came, went) in TO_IPV6 {
                let sent = Packet::udp(site.tc, site.far).rtp(5, 800, 3, 0);
                let steered = sent.clone().between(site.near, site.gateway);
                for from in [site.gateway, "10.71.9.9:0"] {
                    goes(
                        error(from, site.near, came, &steered),
                        error(site.far, site.tc, went, &sent),
                    );
                }
            }
        }
        assert_eq!(translated, 210);
        assert_eq!(programs.counted(), [(Counter::ErrorTranslated, translated)]);
        assert_eq!(
            (programs.stats(1).packets, programs.stats(2).packets),
            (0, 0)
        );
    });
}

#[test]
fn an_error_that_the_other_version_cannot_say_passes() {
    isolated(|| {
        let site = CROSSED;
        let mut programs = site.programs(VM_MAC);
        let up = Packet::udp(site.near, site.gateway).rtp(5, 800, 3, 0);
        let long = Packet::udp(site.near, site.gateway).payload(&[0; 1_300]);
        let down = NOT_IPV4.map(|said| error(site.tc, site.far, said, &site.steered()));
        let back = NOT_IPV6.map(|said| error(site.gateway, site.near, said, &up));
        for packet in down.into_iter().chain(back) {
            let packet = packet.macs(ROUTER_MAC, VM_MAC);
            assert_eq!(programs.uplink(&packet.bytes()), passed(&packet));
        }
        assert_eq!(programs.counted(), []);
        // What is cut off in it does not matter.
        let cut = error(site.gateway, site.near, (3, 3, 0), &long).macs(ROUTER_MAC, VM_MAC);
        assert_eq!(programs.uplink(&cut.bytes()).action, XdpAction::Tx);
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
            let passing = [
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
