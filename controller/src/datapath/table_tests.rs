//! The flow table against maps that can be full.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use sidestep_abi::flow::{
    self, AT_TAP, AnchorKey, FlowAction, FlowKey, FlowKind, FlowLeg, FlowStats,
};
use sidestep_core::media::Encodings;

use super::{FlowMaps, FlowTable, Installed, Refused};

/// Maps in memory; they refuse what goes beyond `room`, and keep the order in
/// which things were done.
#[derive(Default)]
struct Memory {
    flows: HashMap<FlowKey, FlowAction>,
    anchors: HashMap<AnchorKey, u32>,
    stats: HashMap<u32, FlowStats>,
    room: usize,
    anchor_room: usize,
    done: Vec<String>,
}

impl Memory {
    fn with_room(room: usize) -> Self {
        Self {
            room,
            anchor_room: room,
            ..Self::default()
        }
    }
}

impl FlowMaps for Memory {
    fn put_flow(&mut self, key: &FlowKey, action: &FlowAction) -> Result<(), Refused> {
        if !self.flows.contains_key(key) && self.flows.len() == self.room {
            return Err(Refused::Full);
        }
        self.flows.insert(*key, *action);
        self.done.push(format!("+{}", number(key)));
        Ok(())
    }

    fn remove_flow(&mut self, key: &FlowKey) {
        self.flows.remove(key);
        self.done.push(format!("-{}", number(key)));
    }

    fn put_anchor(&mut self, key: &AnchorKey, call: u32) -> Result<(), Refused> {
        if !self.anchors.contains_key(key) && self.anchors.len() == self.anchor_room {
            return Err(Refused::Full);
        }
        self.anchors.insert(*key, call);
        self.done.push("+anchor".to_owned());
        Ok(())
    }

    fn remove_anchor(&mut self, key: &AnchorKey) {
        self.anchors.remove(key);
        self.done.push("-anchor".to_owned());
    }

    fn clear_stats(&mut self, index: u32) -> Result<(), Refused> {
        self.stats.insert(index, FlowStats::default());
        Ok(())
    }

    fn stats(&self, index: u32) -> FlowStats {
        self.stats.get(&index).copied().unwrap_or_default()
    }
}

fn table(room: usize) -> FlowTable<Memory> {
    FlowTable::adopt(Memory::with_room(room), Vec::new(), 64)
}

/// A flow from address `src`, of a leg.
fn flow(src: u32, leg: FlowLeg, kind: FlowKind) -> Installed {
    Installed {
        key: FlowKey::new(
            SocketAddr::new(Ipv4Addr::from(src).into(), 1),
            "0.0.0.7:2".parse().unwrap(),
        ),
        action: FlowAction {
            kind: kind as u8,
            leg: leg as u8,
            clock_rate: 8000,
            ..FlowAction::default()
        },
        encodings: Encodings::default(),
    }
}

/// The address of [`flow`].
fn number(key: &FlowKey) -> u32 {
    let [.., a, b, c, d] = key.src;
    u32::from_be_bytes([a, b, c, d])
}

fn direct(src: u32) -> Installed {
    flow(src, FlowLeg::GatewayToTc, FlowKind::Direct)
}

fn steered(src: u32, leg: FlowLeg) -> Installed {
    flow(src, leg, FlowKind::Steered)
}

fn count(table: &mut FlowTable<Memory>, src: u32, packets: u64) {
    let action = table.maps.flows[&direct(src).key];
    let stats = table.maps.stats.get_mut(&action.stats).unwrap();
    stats.packets += packets;
}

fn packets(table: &FlowTable<Memory>, src: u32) -> u64 {
    let action = table.maps.flows[&direct(src).key];
    table.maps.stats(action.stats).packets
}

#[test]
fn a_flow_that_moves_keeps_its_counters_and_is_never_missing() {
    let mut table = table(8);
    table.set(1, &[direct(10)]).unwrap();
    count(&mut table, 10, 5);
    table.maps.done.clear();
    table.set(1, &[direct(11)]).unwrap();
    assert_eq!(table.maps.done, ["+11", "-10"]);
    assert_eq!(packets(&table, 11), 5);
    assert_eq!(table.len(), 1);
}

/// Its counters go on, and it says that they are of more than one pair of addresses.
#[test]
fn a_flow_that_moves_bears_a_mark() {
    let mut table = table(8);
    let at = |mut flow: Installed, now_ns: u64| {
        flow.action.moved_ns = now_ns;
        flow
    };
    let sent_to = |to: &str, now_ns: u64| {
        let mut flow = steered(11, FlowLeg::GatewayToTc);
        let anchor = "0.0.0.7:2".parse().unwrap();
        flow.action.rewrite(&flow.key, anchor, to.parse().unwrap());
        at(flow, now_ns)
    };
    let table_of = |table: &FlowTable<Memory>| {
        let (flow, _) = table.flows_of(1).next().unwrap();
        (flow.action.moves, flow.action.moved_ns, flow.action.stats)
    };
    let steps = [
        // Its first addresses; the same again; another source.
        (at(direct(10), 100), (0, 0)),
        (at(direct(10), 200), (0, 0)),
        (at(direct(11), 300), (1, 300)),
        // The same key, but steered; to elsewhere; to there still.
        (sent_to("0.0.0.9:4", 400), (2, 400)),
        (sent_to("0.0.0.9:6", 500), (3, 500)),
        (sent_to("0.0.0.9:6", 600), (3, 500)),
    ];
    let mut index = None;
    for (flow, (moves, moved_ns)) in steps {
        table.set(1, &[flow]).unwrap();
        let (is_moves, is_moved_ns, stats) = table_of(&table);
        assert_eq!((is_moves, is_moved_ns), (moves, moved_ns));
        assert_eq!(*index.get_or_insert(stats), stats, "its counters");
    }
    // Another call with the same addresses begins anew.
    table.set(2, &[sent_to("0.0.0.9:6", 700)]).unwrap();
    let (flow, _) = table.flows_of(2).next().unwrap();
    assert_eq!((flow.action.moves, flow.action.moved_ns), (0, 0));
}

/// To the other IP version, too.
#[test]
fn counters_go_on_across_ip_versions() {
    let mut table = table(8);
    table.set(1, &[steered(11, FlowLeg::GatewayToTc)]).unwrap();
    let before = table.flows_of(1).next().unwrap().0.action;
    let mut flow = steered(11, FlowLeg::GatewayToTc);
    let ends = ["[2001:db8::7]:2", "[2001:db8::9]:4"].map(|end| end.parse().unwrap());
    flow.action.rewrite(&flow.key, ends[0], ends[1]);
    table.set(1, &[flow]).unwrap();
    let after = table.flows_of(1).next().unwrap().0.action;
    assert_eq!((after.stats, after.moves), (before.stats, 1));
}

#[test]
fn what_stands_already_is_not_written_again() {
    let mut table = table(8);
    table.set(1, &[direct(10)]).unwrap();
    table.maps.done.clear();
    table.set(1, &[direct(10)]).unwrap();
    assert!(table.maps.done.is_empty());
}

#[test]
fn a_guard_does_not_inherit_what_was_relayed() {
    let mut table = table(8);
    let relay = flow(10, FlowLeg::VmToGateway, FlowKind::Relay);
    table.set(1, &[relay]).unwrap();
    count(&mut table, 10, 5);
    let guard = flow(10, FlowLeg::VmToGateway, FlowKind::Guard);
    table.set(1, &[guard]).unwrap();
    assert_eq!(packets(&table, 10), 0);
}

#[test]
fn a_full_map_leaves_everything_as_it_was() {
    let mut table = table(2);
    table.set(1, &[direct(10)]).unwrap();
    count(&mut table, 10, 5);
    let before = table.maps.flows.clone();
    let more = [
        direct(20),
        flow(21, FlowLeg::TcToGateway, FlowKind::Direct),
        flow(22, FlowLeg::GatewayToVm, FlowKind::Direct),
    ];
    assert_eq!(table.set(1, &more), Err(Refused::Full));
    assert_eq!(table.maps.flows, before);
    assert_eq!(packets(&table, 10), 5);
    assert_eq!(table.set(2, &more[1..]), Err(Refused::Full));
    assert_eq!(table.maps.flows, before);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_refused_anchor_undoes_its_flow() {
    let mut table = table(8);
    table.maps.anchor_room = 0;
    let refused = table.set(1, &[steered(10, FlowLeg::GatewayToTc)]);
    assert_eq!(refused, Err(Refused::Full));
    assert!(table.maps.flows.is_empty());
    assert!(table.calls(|_| true).is_empty());
}

#[test]
fn statistics_run_out_before_the_map_does() {
    let mut table = FlowTable::adopt(Memory::with_room(8), Vec::new(), 1);
    table.set(1, &[direct(10)]).unwrap();
    assert_eq!(table.set(2, &[direct(20)]), Err(Refused::Full));
    table.remove(1);
    table.set(2, &[direct(20)]).unwrap();
}

#[test]
fn an_anchor_is_there_from_after_its_first_flow_to_before_its_last() {
    let mut table = table(8);
    let both = [
        steered(10, FlowLeg::GatewayToTc),
        steered(11, FlowLeg::TcToGateway),
    ];
    table.set(1, &both).unwrap();
    assert_eq!(table.maps.done, ["+10", "+11", "+anchor"]);
    table.maps.done.clear();
    table.set(1, &both[..1]).unwrap();
    assert_eq!(table.maps.done, ["-11"]);
    table.maps.done.clear();
    table.remove(1);
    assert_eq!(table.maps.done, ["-anchor", "-10"]);
    assert!(table.maps.anchors.is_empty());
}

#[test]
fn the_last_statistics_of_a_call_are_returned() {
    let mut table = table(8);
    table.set(1, &[direct(10)]).unwrap();
    count(&mut table, 10, 5);
    let last = table.remove(1);
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].1.packets, 5);
    assert_eq!(table.len(), 0);
    assert!(table.maps.flows.is_empty());
    assert!(table.remove(1).is_empty());
}

#[test]
fn a_five_tuple_belongs_to_the_call_that_asked_last() {
    let mut table = table(8);
    table.set(1, &[direct(10)]).unwrap();
    count(&mut table, 10, 5);
    table.set(2, &[direct(10)]).unwrap();
    assert_eq!(packets(&table, 10), 0);
    assert!(table.remove(1).is_empty());
    assert_eq!(table.maps.flows.len(), 1, "the second call's stays");
    table.remove(2);
    assert!(table.maps.flows.is_empty());
}

#[test]
fn flows_of_an_earlier_run_go_on_and_their_statistics_are_not_given_out() {
    let mut memory = Memory::with_room(8);
    let mut left = steered(10, FlowLeg::GatewayToTc);
    left.action.call = 4;
    left.action.stats = 1;
    memory.flows.insert(left.key, left.action);
    memory.stats.insert(
        1,
        FlowStats {
            packets: 9,
            last_rtp_ns: 77,
            ..FlowStats::default()
        },
    );
    let mut table = FlowTable::adopt(memory, vec![left], 3);
    assert_eq!(table.calls(|_| true), [(4, 77)]);
    assert!(table.calls(|call| call != 4).is_empty());
    table.set(5, &[direct(20)]).unwrap();
    table.set(6, &[direct(30)]).unwrap();
    assert_eq!(table.set(7, &[direct(40)]), Err(Refused::Full));
    assert_eq!(packets(&table, 10), 9);
    table.remove(4);
    table.set(7, &[direct(40)]).unwrap();
}

#[test]
fn anchors_of_an_earlier_runs_flows_are_known_until_they_end() {
    let mut left = steered(10, FlowLeg::GatewayToTc);
    left.action.call = 4;
    left.key.dst = flow::address(Ipv4Addr::new(10, 71, 1, 11).into());
    left.key.dst_port_be = 40_002_u16.to_be();
    let mut rtcp = left;
    rtcp.key.dst_port_be = 40_003_u16.to_be();
    let memory = Memory::with_room(8);
    let mut table = FlowTable::adopt(memory, vec![left, rtcp], 8);
    table.set(5, &[steered(20, FlowLeg::GatewayToTc)]).unwrap();
    let anchors: Vec<String> = table
        .anchors_but_of([5].into())
        .map(|a| a.to_string())
        .collect();
    assert_eq!(anchors, ["10.71.1.11:40002"]);
    table.remove(4);
    assert_eq!(table.anchors_but_of([5].into()).count(), 0);
}

#[test]
fn a_vm_with_a_new_mac_keeps_its_steered_flows() {
    let mut table = table(8);
    table
        .set(1, &[steered(10, FlowLeg::GatewayToTc), direct(11)])
        .unwrap();
    table.set_mac(direct(11).key.dst, [2; 6]).unwrap();
    let steered_flow = table.maps.flows[&steered(10, FlowLeg::GatewayToTc).key];
    assert_eq!(steered_flow.anchor_mac, [2; 6]);
    assert_eq!(table.maps.flows[&direct(11).key].anchor_mac, [0; 6]);

    // What no uplink steers stays so.
    let mut at_tap = steered(12, FlowLeg::TcToGateway);
    at_tap.action.anchor_mac = AT_TAP;
    table.set(2, &[at_tap]).unwrap();
    table.set_mac(at_tap.key.dst, [3; 6]).unwrap();
    assert_eq!(table.maps.flows[&at_tap.key].anchor_mac, AT_TAP);
}

/// The maps give flows back in any order; two guards alike keep their own counts.
#[test]
fn adopted_flows_keep_their_statistics_in_whatever_order_they_come() {
    let guard = |src, stats| {
        let mut guard = flow(src, FlowLeg::VmToGateway, FlowKind::Guard);
        (guard.action.call, guard.action.stats) = (4, stats);
        guard
    };
    let wanted = [guard(10, 0), guard(11, 0)];
    for adopted in [
        vec![guard(10, 5), guard(11, 6)],
        vec![guard(11, 6), guard(10, 5)],
    ] {
        let mut table = FlowTable::adopt(Memory::with_room(8), adopted, 8);
        table.set(4, &wanted).unwrap();
        assert_eq!(table.maps.flows.len(), 0, "nothing had to be written");
        let stats = |table: &FlowTable<Memory>| -> Vec<u32> {
            let flows = table.calls[&4].iter();
            flows.map(|flow| flow.action.stats).collect()
        };
        assert_eq!(stats(&table), [5, 6]);
        // One moves: it is still the one that it was.
        table.set(4, &[guard(20, 0), guard(11, 0)]).unwrap();
        assert_eq!(stats(&table), [5, 6]);
    }
}

/// A call that nobody owns: its guards go when its media has stopped, or was never
/// bypassed; the rest stays.
#[test]
fn a_vm_that_nobody_stands_for_is_released() {
    let of_call = |mut flow: Installed, call, stats| {
        (flow.action.call, flow.action.stats) = (call, stats);
        flow
    };
    let guard = |src| flow(src, FlowLeg::VmToGateway, FlowKind::Guard);
    let left = vec![
        of_call(guard(10), 1, 0),
        of_call(direct(11), 1, 1),
        of_call(guard(12), 2, 2),
    ];
    let mut memory = Memory::with_room(8);
    for flow in &left {
        memory.flows.insert(flow.key, flow.action);
    }
    let seen = FlowStats {
        last_rtp_ns: 100,
        ..FlowStats::default()
    };
    memory.stats.insert(1, seen);
    let mut table = FlowTable::adopt(memory, left, 8);
    assert!(!table.release(1, 100), "its media is still seen");
    assert!(table.release(2, 100), "nothing was ever bypassed");
    assert_eq!(table.maps.flows.len(), 2);
    assert!(table.release(1, 101));
    assert!(!table.release(1, 101), "once");
    assert_eq!(table.maps.flows.len(), 1);
    assert!(table.maps.flows.contains_key(&direct(11).key));
}

/// Whole calls, each once, in the order of their numbers, also where one ends between
/// two looks.
#[test]
fn flows_are_listed_some_at_a_time() {
    let mut table = table(64);
    for call in [7, 3, 9, 5] {
        let flows = [direct(call * 10), direct(call * 10 + 1)];
        table.set(call, &flows).unwrap();
    }
    let look = |table: &FlowTable<Memory>, after, enough| {
        let (flows, next) = table.flows(after, enough);
        let calls: Vec<u32> = flows.iter().map(|(flow, _)| flow.action.call).collect();
        (calls, next)
    };
    assert_eq!(look(&table, None, 3), (vec![3, 3, 5, 5], Some(5)));
    table.remove(5);
    assert_eq!(look(&table, Some(5), 2), (vec![7, 7], Some(7)));
    assert_eq!(look(&table, Some(7), 2), (vec![9, 9], None));
    assert_eq!(look(&table, Some(9), 2), (vec![], None));
    assert_eq!(table.last_call(), Some(9));
    assert_eq!(table.owner(&direct(71).key), Some(7));
    assert_eq!(table.owner(&direct(51).key), None);
}

/// Two VMs of this host talk to each other, one by its thin client: what is sent on for
/// its call is what the other's would count on its way to the VM.
#[test]
fn what_is_only_counted_takes_no_place_of_what_is_sent_on() {
    let mut table = table(8);
    let carried = steered(10, FlowLeg::GatewayToTc);
    let relayed = flow(10, FlowLeg::VmToGateway, FlowKind::Relay);
    let alone = flow(11, FlowLeg::VmToGateway, FlowKind::Relay);
    table.set(2, &[relayed, alone]).unwrap();
    table.set(1, &[carried]).unwrap();
    for _ in 0..2 {
        let installed = table.maps.flows[&carried.key];
        assert_eq!(installed.kind, FlowKind::Steered as u8);
        assert_eq!((installed.call, table.owner(&carried.key)), (1, Some(1)));
        assert_eq!(table.owner(&alone.key), Some(2));
        table.set(2, &[relayed, alone]).unwrap();
    }
    // When it is over there is nothing but to count.
    table.remove(1);
    table.set(2, &[relayed, alone]).unwrap();
    assert_eq!(table.owner(&relayed.key), Some(2));
}
