//! The flows of each call: what the core wants against what is in the maps.
//!
//! New flows are in before old ones go, so that media never falls between; a
//! change that cannot be made wholly is undone. A flow that stays what it is
//! (leg, RTP or RTCP, and on the same kind of interface) keeps its counters when
//! its addresses change, and bears a mark of that: how often, and when last.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound;

use sidestep_abi::flow::{
    AT_TAP, Address, AnchorKey, FLOW_RTCP, FlowAction, FlowKey, FlowKind, FlowStats,
};
use sidestep_core::media::Encodings;

/// The maps that hold flows; the kernel's, or a test's.
pub trait FlowMaps {
    /// Inserts or replaces a flow.
    fn put_flow(&mut self, key: &FlowKey, action: &FlowAction) -> Result<(), Refused>;
    /// Removes a flow, if it is there.
    fn remove_flow(&mut self, key: &FlowKey);
    /// Inserts or replaces an anchor.
    fn put_anchor(&mut self, key: &AnchorKey, call: u32) -> Result<(), Refused>;
    /// Removes an anchor, if it is there.
    fn remove_anchor(&mut self, key: &AnchorKey);
    /// Sets statistics to nothing.
    fn clear_stats(&mut self, index: u32) -> Result<(), Refused>;
    /// Reads statistics.
    fn stats(&self, index: u32) -> FlowStats;
}

/// Why a call's flows could not be installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A map or the statistics have no room.
    #[error("the flow map is full")]
    Full,
    /// No frame of the VM has been seen, so its MAC is not known.
    #[error("the VM's MAC is not known")]
    NoMac,
    /// The kernel refused otherwise.
    #[error("the kernel refused: {0}")]
    Kernel(String),
}

/// A flow as it stands in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// Its five-tuple.
    pub key: FlowKey,
    /// What is done with it.
    pub action: FlowAction,
    /// What its payload types stand for, where the daemon has been told.
    pub encodings: Encodings,
}

/// What makes a flow the same one after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    media: (u8, bool, Place),
    /// Among several alike, in the core's order.
    ordinal: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Uplink,
    Guard,
    Relay,
    Learn,
}

/// All flows, by call.
pub struct FlowTable<M> {
    maps: M,
    calls: BTreeMap<u32, Vec<Installed>>,
    owners: HashMap<FlowKey, u32>,
    anchors: HashMap<AnchorKey, u32>,
    /// Indices given back, the longest ago first: a program may still be writing
    /// to the latest.
    free: VecDeque<u32>,
    next: u32,
    capacity: u32,
}

impl<M: FlowMaps> FlowTable<M> {
    /// Takes over `installed`, the flows that are in the maps already; there is
    /// room for `capacity`.
    pub fn adopt(maps: M, installed: Vec<Installed>, capacity: u32) -> Self {
        let used: HashSet<u32> = installed.iter().map(|flow| flow.action.stats).collect();
        let next = used.iter().max().map_or(0, |highest| highest + 1);
        let mut table = Self {
            maps,
            calls: BTreeMap::new(),
            owners: HashMap::new(),
            anchors: HashMap::new(),
            free: (0..next).filter(|index| !used.contains(index)).collect(),
            next,
            capacity,
        };
        for flow in installed {
            table.owners.insert(flow.key, flow.action.call);
            if is_steered(&flow) {
                table
                    .anchors
                    .insert(AnchorKey::new(flow.key.to()), flow.action.call);
            }
            table.calls.entry(flow.action.call).or_default().push(flow);
        }
        table
    }

    /// Makes `wanted` the flows of `call`. Their `stats`, `call` and `moves` are set
    /// here; `moved_ns` is to be now.
    ///
    /// # Errors
    ///
    /// Not all could be installed; those of before stand.
    pub fn set(&mut self, call: u32, wanted: &[Installed]) -> Result<(), Refused> {
        let old = self.calls.get(&call).cloned().unwrap_or_default();
        let carried = |flow: &&Installed| !self.is_carried_for_another(call, flow);
        let wanted: Vec<Installed> = wanted.iter().filter(carried).copied().collect();
        let wanted = wanted.as_slice();
        let mut fresh = Vec::new();
        let new = match self.number(call, wanted, &old, &mut fresh) {
            Ok(new) => new,
            Err(refused) => {
                self.free.extend(fresh);
                return Err(refused);
            }
        };
        let mut undo = Vec::new();
        if let Err(refused) = self.install(&new, &mut undo) {
            for step in undo.into_iter().rev() {
                self.revert(step);
            }
            self.free.extend(fresh);
            return Err(refused);
        }
        self.remove_except(&old, &new);
        let kept: HashSet<u32> = new.iter().map(|flow| flow.action.stats).collect();
        let gone = old.iter().map(|flow| flow.action.stats);
        self.free.extend(gone.filter(|index| !kept.contains(index)));
        for flow in &new {
            self.take_over(call, &flow.key);
        }
        if new.is_empty() {
            self.calls.remove(&call);
        } else {
            self.calls.insert(call, new);
        }
        Ok(())
    }

    /// Removes all flows of `call`; they are returned with their last
    /// statistics.
    pub fn remove(&mut self, call: u32) -> Vec<(Installed, FlowStats)> {
        let old = self.calls.remove(&call).unwrap_or_default();
        self.remove_except(&old, &[]);
        let last = old
            .into_iter()
            .map(|flow| (flow, self.maps.stats(flow.action.stats)))
            .collect::<Vec<_>>();
        self.free
            .extend(last.iter().map(|(flow, _)| flow.action.stats));
        last
    }

    /// Flows of the calls behind `after`, in the order of the calls' numbers, with
    /// their statistics: of whole calls, `enough` of them or a few more. And the last
    /// of these calls, if others follow.
    pub fn flows(
        &self,
        after: Option<u32>,
        enough: usize,
    ) -> (Vec<(Installed, FlowStats)>, Option<u32>) {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut calls = self.calls.range((begin, Bound::Unbounded)).peekable();
        let mut flows = Vec::new();
        let mut last = after;
        while flows.len() < enough
            && let Some((call, of_call)) = calls.next()
        {
            let begin = flows.len();
            flows.extend(
                of_call
                    .iter()
                    .map(|flow| (*flow, self.maps.stats(flow.action.stats))),
            );
            flows[begin..].sort_by_key(|(flow, _)| {
                let action = &flow.action;
                (action.leg, action.flags, action.stats)
            });
            last = Some(*call);
        }
        (flows, last.filter(|_| calls.peek().is_some()))
    }

    /// The call that a five-tuple belongs to.
    pub fn owner(&self, key: &FlowKey) -> Option<u32> {
        self.owners.get(key).copied()
    }

    /// The highest number of a call that has flows.
    pub fn last_call(&self) -> Option<u32> {
        self.calls.last_key_value().map(|(call, _)| *call)
    }

    /// Flows of `call`, with the time of their last packet (ns of CLOCK_MONOTONIC;
    /// 0: none).
    pub fn last_seen(&self, call: u32) -> impl Iterator<Item = (&Installed, u64)> {
        let flows = self.calls.get(&call).into_iter().flatten();
        flows.map(|flow| (flow, self.maps.stats(flow.action.stats).last_seen_ns()))
    }

    /// Flows of `call`, with their statistics.
    pub fn flows_of(&self, call: u32) -> impl Iterator<Item = (&Installed, FlowStats)> {
        let flows = self.calls.get(&call).into_iter().flatten();
        flows.map(|flow| (flow, self.maps.stats(flow.action.stats)))
    }

    /// Flows in the map.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Anchors' RTP ports of all calls but these.
    pub fn anchors_but_of(&self, calls: HashSet<u32>) -> impl Iterator<Item = SocketAddr> {
        self.anchors
            .iter()
            .filter(move |(_, owner)| !calls.contains(owner))
            .map(|(anchor, _)| anchor.at())
            .filter(|anchor| anchor.port() % 2 == 0)
    }

    /// Calls that have flows and are `wanted`, with the time of their last packet (ns
    /// of CLOCK_MONOTONIC; 0: none).
    pub fn calls(&self, wanted: impl Fn(u32) -> bool) -> Vec<(u32, u64)> {
        let last = |flows: &Vec<Installed>| {
            let stats = flows.iter().map(|flow| self.maps.stats(flow.action.stats));
            stats.map(|stats| stats.last_seen_ns()).max().unwrap_or(0)
        };
        self.calls
            .iter()
            .filter(|(call, _)| wanted(**call))
            .map(|(call, flows)| (*call, last(flows)))
            .collect()
    }

    /// Removes the guards of `call`, if it has any, unless its bypassed media was
    /// seen at `since_ns` or later.
    pub fn release(&mut self, call: u32, since_ns: u64) -> bool {
        let Some(flows) = self.calls.get(&call).cloned() else {
            return false;
        };
        let (guards, others): (Vec<Installed>, Vec<Installed>) = flows
            .into_iter()
            .partition(|flow| place(flow) == Place::Guard);
        let last = others
            .iter()
            .map(|flow| self.maps.stats(flow.action.stats).last_seen_ns());
        if guards.is_empty() || last.max().is_some_and(|last| last >= since_ns) {
            return false;
        }
        self.set(call, &others).is_ok()
    }

    /// Gives a VM's steered flows its new MAC.
    pub fn set_mac(&mut self, vm: Address, mac: [u8; 6]) -> Result<(), Refused> {
        for flow in self.calls.values_mut().flatten() {
            let action = &mut flow.action;
            let steered = action.kind == FlowKind::Steered as u8;
            let stays = [mac, AT_TAP].contains(&action.anchor_mac);
            if steered && flow.key.dst == vm && !stays {
                action.anchor_mac = mac;
                self.maps.put_flow(&flow.key, action)?;
            }
        }
        Ok(())
    }

    /// Gives each wanted flow its statistics.
    fn number(
        &mut self,
        call: u32,
        wanted: &[Installed],
        old: &[Installed],
        fresh: &mut Vec<u32>,
    ) -> Result<Vec<Installed>, Refused> {
        let same = |one: &Installed, other: &Installed| {
            let of = |flow: &Installed| (flow.key, kind_of_media(flow));
            of(one) == of(other)
        };
        let moved = |these: &[Installed], others: &[Installed]| -> Vec<Installed> {
            let is_new = |flow: &&Installed| !others.iter().any(|other| same(flow, other));
            these.iter().filter(is_new).copied().collect()
        };
        let (gone, come) = (moved(old, wanted), moved(wanted, old));
        let before: HashMap<Identity, &Installed> = identities(&gone).zip(&gone).collect();
        let mut come = identities(&come);
        let mut new = Vec::with_capacity(wanted.len());
        for flow in wanted {
            let stays = old.iter().find(|before| same(before, flow));
            let before = match stays {
                Some(before) => Some(before),
                None => come.next().and_then(|id| before.get(&id).copied()),
            };
            let mut flow = *flow;
            flow.action.call = call;
            match before {
                Some(before) => go_on(&mut flow, before),
                None => {
                    let index = self.allocate()?;
                    fresh.push(index);
                    self.maps.clear_stats(index)?;
                    (flow.action.stats, flow.action.moves) = (index, 0);
                    flow.action.moved_ns = 0;
                }
            }
            new.push(flow);
        }
        Ok(new)
    }

    fn allocate(&mut self) -> Result<u32, Refused> {
        // The never used first: an index rests as long as possible.
        if self.next < self.capacity {
            self.next += 1;
            return Ok(self.next - 1);
        }
        self.free.pop_front().ok_or(Refused::Full)
    }

    fn install(&mut self, new: &[Installed], undo: &mut Vec<Undo>) -> Result<(), Refused> {
        for flow in new {
            let before = self.at(&flow.key);
            if before == Some(flow.action) {
                continue;
            }
            self.maps.put_flow(&flow.key, &flow.action)?;
            undo.push(Undo::Flow(flow.key, before));
        }
        for flow in new.iter().filter(|flow| is_steered(flow)) {
            let anchor = AnchorKey::new(flow.key.to());
            let before = self.anchors.get(&anchor).copied();
            if before != Some(flow.action.call) {
                self.maps.put_anchor(&anchor, flow.action.call)?;
                self.anchors.insert(anchor, flow.action.call);
                undo.push(Undo::Anchor(anchor, before));
            }
        }
        Ok(())
    }

    fn revert(&mut self, step: Undo) {
        let reverted = match step {
            Undo::Flow(key, Some(action)) => self.maps.put_flow(&key, &action),
            Undo::Flow(key, None) => {
                self.maps.remove_flow(&key);
                Ok(())
            }
            Undo::Anchor(key, Some(call)) => {
                self.anchors.insert(key, call);
                self.maps.put_anchor(&key, call)
            }
            Undo::Anchor(key, None) => {
                self.anchors.remove(&key);
                self.maps.remove_anchor(&key);
                Ok(())
            }
        };
        if let Err(error) = reverted {
            tracing::error!("a flow's former state cannot be restored: {error}");
        }
    }

    /// Removes those of `old` that `new` has not. Anchors go first: a packet to
    /// an anchor without a flow would be dropped as foreign.
    fn remove_except(&mut self, old: &[Installed], new: &[Installed]) {
        let anchors: HashSet<AnchorKey> = new
            .iter()
            .filter(|flow| is_steered(flow))
            .map(|flow| AnchorKey::new(flow.key.to()))
            .collect();
        let keys: HashSet<FlowKey> = new.iter().map(|flow| flow.key).collect();
        for flow in old.iter().filter(|flow| is_steered(flow)) {
            let anchor = AnchorKey::new(flow.key.to());
            let ours = self.anchors.get(&anchor) == Some(&flow.action.call);
            if ours && !anchors.contains(&anchor) {
                self.maps.remove_anchor(&anchor);
                self.anchors.remove(&anchor);
            }
        }
        for flow in old {
            let ours = self.owners.get(&flow.key) == Some(&flow.action.call);
            if ours && !keys.contains(&flow.key) {
                self.maps.remove_flow(&flow.key);
                self.owners.remove(&flow.key);
            }
        }
    }

    /// Whether a flow is only to be counted on its way to a VM, and another call, of a VM
    /// of this host that talks to this one, has it sent on: that goes before.
    fn is_carried_for_another(&self, call: u32, flow: &Installed) -> bool {
        if place(flow) != Place::Relay {
            return false;
        }
        let owner = self.owners.get(&flow.key).filter(|owner| **owner != call);
        let flows = owner.and_then(|owner| self.calls.get(owner));
        let mut flows = flows.into_iter().flatten();
        flows.any(|other| other.key == flow.key && place(other) == Place::Uplink)
    }

    /// A five-tuple belongs to the call that asked for it last.
    fn take_over(&mut self, call: u32, key: &FlowKey) {
        let Some(former) = self.owners.insert(*key, call) else {
            return;
        };
        if former == call {
            return;
        }
        if let Some(flows) = self.calls.get_mut(&former) {
            let free = &mut self.free;
            flows.retain(|flow| {
                if flow.key == *key {
                    free.push_back(flow.action.stats);
                }
                flow.key != *key
            });
            if flows.is_empty() {
                self.calls.remove(&former);
            }
        }
    }

    fn at(&self, key: &FlowKey) -> Option<FlowAction> {
        let call = self.owners.get(key)?;
        let flow = self.calls.get(call)?.iter().find(|flow| flow.key == *key);
        flow.map(|flow| flow.action)
    }
}

/// Gives a flow the counters of what it was before, with a mark where it was elsewhere.
fn go_on(flow: &mut Installed, before: &Installed) {
    let is = |flow: &Installed| (flow.key, flow.action.kind, flow.action.rewritten());
    let moved = is(flow) != is(before);
    flow.action.stats = before.action.stats;
    flow.action.moves = before.action.moves.saturating_add(moved.into());
    if !moved {
        flow.action.moved_ns = before.action.moved_ns;
    }
}

enum Undo {
    Flow(FlowKey, Option<FlowAction>),
    Anchor(AnchorKey, Option<u32>),
}

fn place(flow: &Installed) -> Place {
    match flow.action.kind {
        kind if kind == FlowKind::Guard as u8 => Place::Guard,
        kind if kind == FlowKind::Relay as u8 => Place::Relay,
        kind if kind == FlowKind::Learn as u8 => Place::Learn,
        _ => Place::Uplink,
    }
}

fn is_steered(flow: &Installed) -> bool {
    flow.action.kind == FlowKind::Steered as u8
}

/// Leg, whether it is RTCP, and where it is met.
fn kind_of_media(flow: &Installed) -> (u8, bool, Place) {
    let action = &flow.action;
    (action.leg, action.flags & FLOW_RTCP != 0, place(flow))
}

fn identities(flows: &[Installed]) -> impl Iterator<Item = Identity> {
    let mut alike: HashMap<(u8, bool, Place), usize> = HashMap::new();
    flows.iter().map(move |flow| {
        let media = kind_of_media(flow);
        let count = alike.entry(media).or_default();
        let ordinal = *count;
        *count += 1;
        Identity { media, ordinal }
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
