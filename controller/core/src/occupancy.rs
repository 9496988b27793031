//! How many calls there are of each VM, and which may go to make room for another:
//! known without looking at the calls, so that a flood of them costs the same call by
//! call however many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::time::Time;

/// A call that may go before its time. The least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MayGo {
    /// It is up and only watched; one that has ended, and is only listed, goes before.
    pub(crate) watched: bool,
    /// When anything was heard of it last.
    pub(crate) last_heard: Time,
}

/// Calls by VM, and those that may go in the order in which they do.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    calls: HashMap<u32, (usize, Option<MayGo>)>,
    of_vm: BTreeMap<usize, OfVm>,
    leaving: BTreeSet<(MayGo, u32)>,
}

#[derive(Debug, Default)]
struct OfVm {
    calls: usize,
    leaving: BTreeSet<(MayGo, u32)>,
}

impl Occupancy {
    /// A call of this VM has come, or something has been done with it.
    pub(crate) fn set(&mut self, id: u32, vm: usize, may_go: Option<MayGo>) {
        if self.calls.get(&id) == Some(&(vm, may_go)) {
            return;
        }
        self.remove(id);
        self.calls.insert(id, (vm, may_go));
        let of_vm = self.of_vm.entry(vm).or_default();
        of_vm.calls += 1;
        if let Some(may_go) = may_go {
            of_vm.leaving.insert((may_go, id));
            self.leaving.insert((may_go, id));
        }
    }

    /// A call is gone.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some((vm, may_go)) = self.calls.remove(&id) else {
            return;
        };
        if let Some(may_go) = may_go {
            self.leaving.remove(&(may_go, id));
        }
        if let Some(of_vm) = self.of_vm.get_mut(&vm) {
            of_vm.calls -= 1;
            if let Some(may_go) = may_go {
                of_vm.leaving.remove(&(may_go, id));
            }
            if of_vm.calls == 0 {
                self.of_vm.remove(&vm);
            }
        }
    }

    /// How many calls a VM has.
    pub(crate) fn count_of(&self, vm: usize) -> usize {
        self.of_vm.get(&vm).map_or(0, |of_vm| of_vm.calls)
    }

    /// The call that goes first to make room, of all or of one VM.
    pub(crate) fn first(&self, vm: Option<usize>) -> Option<u32> {
        let leaving = match vm {
            Some(vm) => &self.of_vm.get(&vm)?.leaving,
            None => &self.leaving,
        };
        leaving.first().map(|(_, id)| *id)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.calls.len().max(self.leaving.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn may_go(watched: bool, s: u64) -> Option<MayGo> {
        Some(MayGo {
            watched,
            last_heard: Time::from_origin(Duration::from_secs(s)),
        })
    }

    /// What has ended goes before what is watched, what was heard long ago before the
    /// rest, and of a VM only what is its own.
    #[test]
    fn who_goes_first() {
        let mut occupancy = Occupancy::default();
        let calls = [
            (1, 0, may_go(true, 1)),
            (2, 0, may_go(false, 9)),
            (3, 0, may_go(false, 8)),
            (4, 1, may_go(false, 7)),
            (5, 1, None),
        ];
        for (id, vm, may_go) in calls {
            occupancy.set(id, vm, may_go);
        }
        assert_eq!((occupancy.count_of(0), occupancy.count_of(1)), (3, 2));
        let mut went = Vec::new();
        while let Some(id) = occupancy.first(Some(0)) {
            went.push(id);
            occupancy.remove(id);
        }
        assert_eq!(went, [3, 2, 1]);
        assert_eq!((occupancy.first(None), occupancy.count_of(0)), (Some(4), 0));
        // It is heard of again.
        occupancy.set(4, 1, None);
        assert_eq!((occupancy.first(None), occupancy.count_of(1)), (None, 2));
        occupancy.remove(4);
        occupancy.remove(5);
        assert_eq!(occupancy.len(), 0);
    }
}
