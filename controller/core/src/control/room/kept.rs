//! What of the calls outlives a run.

use std::collections::BTreeSet;

use super::super::kept::{CallEntry, KeptCall};
use super::super::line::{Line, OwnPurpose};
use super::{LineKey, Room};
use crate::bypass::flows::Anchor;
use crate::engine::{Flow, Side};
use crate::time::Time;

impl Room {
    /// Calls of which something has changed since this was asked last.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.touched)
    }

    /// A command of our own has changed.
    pub(super) fn touch_own(&mut self, key: LineKey, id: u32) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        match line.own(id).map(|own| own.purpose) {
            Some(OwnPurpose::Call(call)) => drop(self.touched.insert(call)),
            Some(OwnPurpose::Reissue(vms)) => {
                let transaction = line.transaction(Side::Vm, vms);
                self.touched
                    .extend(transaction.into_iter().flat_map(|of| of.calls()));
            }
            None => {}
        }
    }

    /// A call, to be kept.
    pub(crate) fn entry(&self, id: u32) -> Option<CallEntry<'_>> {
        let call = self.calls.get(&id)?;
        let key = self.lines_of.get(&id)?;
        let line = self.lines.get(key)?.about(id);
        let requests = line
            .own_ids()
            .filter_map(|own| Some((own, self.requests.waiting(&(*key, own))?)))
            .collect();
        Some(CallEntry {
            call,
            vm: call.way.vm.ip(),
            gateway: key.2,
            line,
            requests,
        })
    }

    /// Goes on with a call of an earlier run, whose VM has this index: its number, and
    /// its anchor.
    pub(crate) fn restore(
        &mut self,
        now: Time,
        vm: usize,
        kept: KeptCall,
    ) -> (u32, Option<Anchor>) {
        let call = kept.call.restored(now, vm);
        let id = call.id();
        let key = (call.codec().protocol().name(), vm, kept.gateway);
        let codec = call.codec();
        let line = self.lines.entry(key).or_insert_with(|| Line::new(codec));
        line.restore(kept.line);
        self.expiry.set(&key, line.next_expiry());
        for (own, waiting) in kept.requests {
            self.requests.restore((key, own), waiting);
        }
        let anchor = call.anchor();
        self.due.set(&(vm, id), call.next_timeout());
        self.occupancy.set(id, vm, call.may_go());
        self.lines_of.insert(id, key);
        self.by_line.entry(key).or_default().insert(id);
        self.calls.insert(id, call);
        (id, anchor)
    }

    /// The flows of all calls, as the datapath was told them.
    pub(crate) fn flows(&self) -> impl Iterator<Item = (u32, &[Flow])> {
        let calls = self.calls.iter();
        calls.filter_map(|(id, call)| Some((*id, call.flows()?)))
    }
}
