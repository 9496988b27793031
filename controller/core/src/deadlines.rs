//! Who has to be woken when: one deadline per key, found in logarithmic time.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::time::Time;

/// Deadlines by key. Equal times run in the order of the keys, so that a run is
/// the same every time.
#[derive(Debug, Clone)]
pub(crate) struct Deadlines<K> {
    by_time: BTreeSet<(Time, K)>,
    by_key: HashMap<K, Time>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: HashMap::new(),
        }
    }
}

impl<K: Ord + Hash + Clone> Deadlines<K> {
    /// Sets, moves or (`None`) clears the deadline of `key`.
    pub(crate) fn set(&mut self, key: &K, at: Option<Time>) {
        if self.by_key.get(key).copied() == at {
            return;
        }
        if let Some(old) = self.by_key.remove(key) {
            self.by_time.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.by_key.insert(key.clone(), at);
            self.by_time.insert((at, key.clone()));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Whose deadline is the first.
    pub(crate) fn peek(&self) -> Option<&K> {
        self.by_time.first().map(|(_, key)| key)
    }

    /// The first deadline.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the first key whose deadline has passed by `now`.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<K> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(s: u64) -> Time {
        Time::from_origin(Duration::from_secs(s))
    }

    #[test]
    fn a_moved_deadline_is_met_once() {
        let mut deadlines = Deadlines::default();
        deadlines.set(&"a", Some(at(1)));
        deadlines.set(&"b", Some(at(2)));
        deadlines.set(&"a", Some(at(3)));
        deadlines.set(&"c", Some(at(2)));
        deadlines.set(&"c", None);
        assert_eq!(deadlines.next(), Some(at(2)));
        assert_eq!(deadlines.take_due(at(1)), None);
        assert_eq!(deadlines.take_due(at(9)), Some("b"));
        assert_eq!(deadlines.take_due(at(9)), Some("a"));
        assert_eq!(deadlines.take_due(at(9)), None);
        assert_eq!(deadlines.next(), None);
    }
}
