//! A thin client behind a NAT, packet by packet: until its port is learned, the daemon
//! hears of what comes from its address, and nothing gets through that belongs to no
//! flow. Which of it is learned from is `controller/core/tests/calls_nat.rs`.

use sidestep_abi::counter::{Counter, EventKind};
use sidestep_abi::flow::FlowKind;
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{LO, Programs, XdpAction, XdpRun, action, flow_key, isolated, steer};

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];
const UPLINK_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x02];

/// Who is where: all of one IP version.
struct Site {
    gateway: &'static str,
    anchor: &'static str,
    /// As the thin client describes it: of its own network.
    described: &'static str,
    /// Its NAT's address, where it has registered from; any port of it.
    registered: &'static str,
    /// Ports of the NAT: the thin client's, and others.
    nat: [&'static str; 3],
    strangers: [&'static str; 2],
}

const SITES: [Site; 2] = [
    Site {
        gateway: "10.71.3.31:30000",
        anchor: "10.71.1.11:40000",
        described: "192.168.7.9:20000",
        registered: "10.71.2.21:0",
        nat: ["10.71.2.21:61000", "10.71.2.21:61002", "10.71.2.21:20000"],
        strangers: ["10.66.6.6:61000", "10.71.2.22:20000"],
    },
    Site {
        gateway: "[2001:db8:3::31]:30000",
        anchor: "[2001:db8:1::11]:40000",
        described: "[fd00:7::9]:20000",
        registered: "[2001:db8:2::21]:0",
        nat: [
            "[2001:db8:2::21]:61000",
            "[2001:db8:2::21]:61002",
            "[2001:db8:2::21]:20000",
        ],
        strangers: ["[2001:db8:6::6]:61000", "[2001:db8:2::22]:20000"],
    },
];

impl Site {
    /// A call whose thin client is thought to be at `tc`.
    fn call(&self, programs: &mut Programs, tc: &str) {
        programs.set_flow(self.gateway, self.anchor, steer(1, self.anchor, tc, VM_MAC));
        programs.set_flow(tc, self.anchor, steer(2, self.anchor, self.gateway, VM_MAC));
    }

    /// The same, and the port is still to be learned.
    fn unlearned(&self) -> Programs {
        let mut programs = Programs::load();
        programs.set_uplink(LO, UPLINK_MAC);
        programs.set_anchor(self.anchor, 7);
        self.call(&mut programs, self.described);
        programs.set_flow(self.registered, self.anchor, action(FlowKind::Learn, 3));
        programs
    }

    fn to_anchor(&self, from: &str) -> Packet {
        let packet = Packet::udp(from, self.anchor).macs(ROUTER_MAC, VM_MAC);
        packet.rtp(1, 160, 9, 8)
    }

    /// What comes from `from` and is let through goes to the gateway.
    fn steered(&self, from: &str) -> XdpRun {
        let packet = self.to_anchor(from).macs(VM_MAC, ROUTER_MAC).ttl(63);
        XdpRun {
            action: XdpAction::Tx,
            frame: packet.between(self.anchor, self.gateway).bytes(),
        }
    }

    /// What is sent to the thin client goes to `to`.
    fn goes_to(&self, programs: &Programs, to: &str) {
        let sent = self.to_anchor(self.gateway);
        let went = sent.clone().macs(VM_MAC, ROUTER_MAC).ttl(63);
        assert_eq!(
            programs.uplink(&sent.bytes()).frame,
            went.between(self.anchor, to).bytes()
        );
    }
}

fn dropped(packet: &Packet) -> XdpRun {
    XdpRun {
        action: XdpAction::Drop,
        frame: packet.bytes(),
    }
}

/// What the daemon has heard of packets to learn from, by their source.
fn heard(programs: &mut Programs, site: &Site, kind: EventKind) -> Vec<String> {
    let events = programs.events();
    let of_kind = events.iter().filter(|event| event.kind == kind as u32);
    of_kind
        .map(|event| {
            assert_eq!(
                (event.call, event.key.to().to_string()),
                (7, site.anchor.to_owned())
            );
            event.key.from().to_string()
        })
        .collect()
}

#[test]
fn what_comes_from_where_it_registered_is_told_of_and_let_no_further() {
    isolated(|| {
        for site in SITES {
            let mut programs = site.unlearned();
            let packet = site.to_anchor(site.nat[0]);
            // Two that come together are told of once.
            for _ in 0..2 {
                assert_eq!(programs.uplink(&packet.bytes()), dropped(&packet));
            }
            assert_eq!(programs.counted(), [(Counter::Unlearned, 2)]);
            let told = heard(&mut programs, &site, EventKind::Unlearned);
            assert_eq!(told, [site.nat[0]]);
            assert_eq!(
                (programs.stats(2).packets, programs.stats(3).packets),
                (0, 0)
            );
            // Whoever is to be told of next waits for 10 ms.
            std::thread::sleep(std::time::Duration::from_millis(11));
            let other = site.to_anchor(site.nat[1]);
            assert_eq!(programs.uplink(&other.bytes()), dropped(&other));
            let told = heard(&mut programs, &site, EventKind::Unlearned);
            assert_eq!(told, [site.nat[1]]);
            site.goes_to(&programs, site.described);
        }
    });
}

/// Strangers are dropped as ever, whatever they send; nothing can be learned from them,
/// and their flood does not hide the thin client's first packet.
#[test]
fn strangers_teach_nothing_and_hide_nothing() {
    isolated(|| {
        for site in SITES {
            let mut programs = site.unlearned();
            for from in site.strangers.iter().cycle().take(100) {
                let packet = site.to_anchor(from);
                assert_eq!(programs.uplink(&packet.bytes()), dropped(&packet));
            }
            let first = site.to_anchor(site.nat[0]);
            assert_eq!(programs.uplink(&first.bytes()), dropped(&first));
            assert_eq!(
                programs.counted(),
                [(Counter::ForeignAtAnchor, 100), (Counter::Unlearned, 1)]
            );
            let events = programs.events();
            let kinds: Vec<u32> = events.iter().map(|event| event.kind).collect();
            assert_eq!(
                kinds,
                [EventKind::Foreign as u32, EventKind::Unlearned as u32]
            );
            assert_eq!(events[1].key, flow_key(site.nat[0], site.anchor));
            site.goes_to(&programs, site.described);
        }
    });
}

/// In mid-call, and when the call has moved: what is not from the one port is dropped,
/// be it a stranger's, of the same NAT, or late from the port before.
#[test]
fn once_learned_no_other_port_gets_through_or_is_told_of() {
    isolated(|| {
        for site in SITES {
            let mut programs = site.unlearned();
            // As the daemon does when it has learned: new flows first.
            site.call(&mut programs, site.nat[0]);
            programs.remove_flow(site.described, site.anchor);
            programs.remove_flow(site.registered, site.anchor);
            let [tc, another, spoofed] = site.nat;
            let [a, b] = site.strangers;
            for from in [another, spoofed, site.described, a, b] {
                let packet = site.to_anchor(from);
                assert_eq!(programs.uplink(&packet.bytes()), dropped(&packet), "{from}");
            }
            assert_eq!(programs.counted(), [(Counter::ForeignAtAnchor, 5)]);
            assert_eq!(
                heard(&mut programs, &site, EventKind::Unlearned),
                [""; 0],
                "nothing to learn"
            );
            assert_eq!(
                programs.uplink(&site.to_anchor(tc).bytes()),
                site.steered(tc)
            );
            site.goes_to(&programs, tc);

            // It has moved to another port of the NAT; the one before is late.
            site.call(&mut programs, another);
            programs.remove_flow(tc, site.anchor);
            let late = site.to_anchor(tc);
            assert_eq!(programs.uplink(&late.bytes()), dropped(&late));
            assert_eq!(
                programs.uplink(&site.to_anchor(another).bytes()),
                site.steered(another)
            );
            site.goes_to(&programs, another);
            assert_eq!(programs.stats(2).packets, 2);
        }
    });
}

/// The port that it describes is let through all the while: there may be no NAT.
#[test]
fn the_described_port_needs_no_learning() {
    isolated(|| {
        for site in SITES {
            let mut programs = site.unlearned();
            assert_eq!(
                programs.uplink(&site.to_anchor(site.described).bytes()),
                site.steered(site.described)
            );
            assert_eq!(programs.counted(), [(Counter::SteeredTx, 1)]);
            assert_eq!(programs.stats(2).packets, 1);
        }
    });
}
