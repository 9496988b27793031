//! The table of flows: what programs find in it, however full its buckets are.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};

use sidestep_abi::counter::Counter;
use sidestep_abi::flow::{FlowKey, FlowKind};
use sidestep_abi::table::writer::Refused;
use sidestep_abi::table::{RecordKey, SLOTS, TableShape, partner};
use sidestep_tests::packet::{Mac, Packet};
use sidestep_tests::program::{FLOWS, Programs, XdpAction, action, isolated};

const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];

/// A five-tuple of either version, one for each number.
fn flow(number: u32) -> (String, String) {
    let [_, high, middle, low] = number.to_be_bytes();
    if number.is_multiple_of(2) {
        let from = format!("10.{high}.{middle}.{low}:20000");
        (from, "10.71.3.31:30000".to_owned())
    } else {
        let address = Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number));
        let from = SocketAddr::from((address, 20_000)).to_string();
        (from, "[2001:db8:3::31]:30000".to_owned())
    }
}

fn bucket(shape: &TableShape, (from, to): &(String, String)) -> u32 {
    let key = FlowKey::new(from.parse().unwrap(), to.parse().unwrap());
    shape.bucket(RecordKey::from(&key).hash(shape))
}

/// Flows that belong to one bucket.
fn of_bucket(shape: &TableShape, wanted: u32) -> impl Iterator<Item = (String, String)> {
    let all = (0..).map(flow);
    all.filter(move |flow| bucket(shape, flow) == wanted)
}

/// Whether the program finds it.
fn is_found(programs: &mut Programs, (from, to): &(String, String)) -> bool {
    let packet = Packet::udp(from, to).macs(ROUTER_MAC, VM_MAC);
    let run = programs.uplink(&packet.rtp(1, 160, 9, 8).bytes());
    assert_eq!(run.action, XdpAction::Pass);
    programs.counted() == [(Counter::DirectPassed, 1)]
}

fn put(programs: &mut Programs, (from, to): &(String, String)) -> Result<(), Refused> {
    programs.try_flow(from, to, action(FlowKind::Direct, 1))
}

#[test]
fn what_finds_no_room_in_its_bucket_is_found_in_the_other() {
    isolated(|| {
        let mut programs = Programs::load();
        let shape = programs.shape();
        let flows: Vec<_> = of_bucket(&shape, 6).take(2 * SLOTS + 1).collect();
        let neighbour = of_bucket(&shape, partner(6)).next().unwrap();
        let (one_too_many, rest) = flows.split_last().unwrap();
        let (home, elsewhere) = rest.split_at(SLOTS);
        for flow in rest {
            assert_eq!(put(&mut programs, flow), Ok(()));
        }
        assert_eq!(put(&mut programs, one_too_many), Err(Refused::Full));
        assert_eq!(put(&mut programs, &neighbour), Err(Refused::Full));
        for flow in rest {
            assert!(is_found(&mut programs, flow), "{flow:?}");
        }
        assert!(!is_found(&mut programs, one_too_many));
        assert!(!is_found(&mut programs, &neighbour));

        // Those in the other bucket stay found when their own has room again.
        for (from, to) in home {
            programs.remove_flow(from, to);
        }
        for flow in home {
            assert!(!is_found(&mut programs, flow), "{flow:?}");
        }
        for flow in elsewhere {
            assert!(is_found(&mut programs, flow), "{flow:?}");
        }
        // And what belongs there has room in this one meanwhile.
        assert_eq!(put(&mut programs, &neighbour), Ok(()));
        for (from, to) in elsewhere {
            programs.remove_flow(from, to);
        }
        assert!(is_found(&mut programs, &neighbour));
        programs.remove_flow(&neighbour.0, &neighbour.1);
        assert_eq!(programs.slots_taken(), 0);
    });
}

#[test]
fn flows_come_and_go_and_are_found_while_they_are_there() {
    isolated(|| {
        // A quarter of the buckets that as many flows get: they are full at times.
        let mut programs = Programs::load();
        let shape = programs.shape();
        let candidates: Vec<_> = (0..)
            .map(flow)
            .filter(|flow| bucket(&shape, flow) < FLOWS / 16)
            .take(200)
            .collect();
        let mut random = fastrand::Rng::with_seed(0x51de);
        let mut there = BTreeSet::new();
        let mut refused = 0;
        for _ in 0..4_000 {
            let flow = &candidates[random.usize(..candidates.len())];
            if there.remove(flow) {
                programs.remove_flow(&flow.0, &flow.1);
            } else if there.len() < FLOWS as usize / 2 {
                match put(&mut programs, flow) {
                    Ok(()) => drop(there.insert(flow)),
                    Err(_) => refused += 1,
                }
            }
            let asked = &candidates[random.usize(..candidates.len())];
            let found = is_found(&mut programs, asked);
            assert_eq!(found, there.contains(asked), "{asked:?}");
        }
        for flow in &there {
            assert!(is_found(&mut programs, flow), "{flow:?}");
            programs.remove_flow(&flow.0, &flow.1);
        }
        assert_eq!(programs.slots_taken(), 0, "{refused} were refused");
    });
}
