//! A flow that is given another address while its packets come: each packet goes to the
//! old one or to the new one, whole; its counters go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sidestep_abi::flow::FlowAction;
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{Programs, XdpAction, isolated, steer};

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];

/// Packets at least, and at least so many to either address.
const PACKETS: u64 = 20_000;
const EITHER: u64 = 500;

/// A flow, and where it is sent to before and after; all differ in every octet that can.
struct Moving {
    from: &'static str,
    anchor: &'static str,
    to: [&'static str; 2],
}

/// RTP and RTCP of one call, as the daemon moves them: one after the other.
const FLOWS: [[Moving; 2]; 2] = [
    [
        Moving {
            from: "10.71.3.31:30000",
            anchor: "10.71.1.11:40000",
            to: ["10.71.2.21:20000", "172.16.99.140:61111"],
        },
        Moving {
            from: "10.71.3.31:30001",
            anchor: "10.71.1.11:40001",
            to: ["192.0.2.7:5005", "198.51.100.9:33333"],
        },
    ],
    [
        Moving {
            from: "[2001:db8:3::31]:30000",
            anchor: "[2001:db8:1::11]:40000",
            to: ["[2001:db8:2::21]:20000", "[fd77:9999:1:2:3:4:5:6]:61111"],
        },
        Moving {
            from: "[2001:db8:3::31]:30001",
            anchor: "[2001:db8:1::11]:40001",
            to: ["[2001:db8:5::7]:5005", "[fd22:8888::abcd:1]:33333"],
        },
    ],
];

impl Moving {
    fn action(&self, stats: u32, place: usize) -> FlowAction {
        steer(stats, self.anchor, self.to[place], VM_MAC)
    }

    fn came(&self) -> Packet {
        let packet = Packet::udp(self.from, self.anchor).macs(ROUTER_MAC, VM_MAC);
        packet.rtp(1, 160, 9, 8)
    }

    fn went(&self, place: usize) -> Vec<u8> {
        let packet = self.came().macs(VM_MAC, ROUTER_MAC).ttl(63);
        packet.between(self.anchor, self.to[place]).bytes()
    }
}

#[test]
fn each_packet_goes_to_the_old_address_or_the_new_one_and_is_whole() {
    isolated(|| {
        for flows in FLOWS {
            let mut programs = Programs::load();
            for (stats, flow) in (1..).zip(&flows) {
                programs.set_flow(flow.from, flow.anchor, flow.action(stats, 0));
            }
            let mut writer = programs.flow_writer();
            let done = AtomicBool::new(false);
            let mut seen = [[0u64; 2]; 2];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for place in [1, 0].into_iter().cycle() {
                        for (stats, flow) in (1..).zip(&flows) {
                            writer.replace(flow.from, flow.anchor, flow.action(stats, place));
                            // As the daemon does between two replacements.
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                });
                let came = flows.each_ref().map(|flow| flow.came().bytes());
                let went = flows.each_ref().map(|flow| [flow.went(0), flow.went(1)]);
                let enough = |seen: &[[u64; 2]; 2]| {
                    let all: u64 = seen.iter().flatten().sum();
                    all >= PACKETS && seen.iter().flatten().all(|seen| *seen >= EITHER)
                };
                // Bounded all the same.
                for _ in 0..50 * PACKETS {
                    for flow in 0..2 {
                        let run = programs.uplink(&came[flow]);
                        let place = went[flow].iter().position(|went| *went == run.frame);
                        let Some(place) = place.filter(|_| run.action == XdpAction::Tx) else {
                            done.store(true, Ordering::Relaxed);
                            panic!("neither here nor there: {run:02x?}");
                        };
                        seen[flow][place] += 1;
                    }
                    if enough(&seen) {
                        break;
                    }
                }
                done.store(true, Ordering::Relaxed);
                assert!(enough(&seen), "{seen:?}");
            });
            // Nothing is missing from the counters, whichever way it went.
            for (stats, seen) in (1..).zip(seen) {
                assert_eq!(programs.stats(stats).packets, seen.iter().sum::<u64>());
            }
        }
    });
}
