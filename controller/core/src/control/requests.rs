//! Requests of our own until they are answered: sent again after adaptive timers
//! (RFC 3435 §3.5.3, H.248.1 Annex D.1.3), given up after T-MAX.
//!
//! The time until a reply is estimated per peer: its average (AAD) and average
//! deviation (ADEV), smoothed. A request is repeated after AAD + 4·ADEV, then after
//! twice that, and so on up to [`LONGEST`]. Replies to repeated requests teach
//! nothing: it is not known which of them was answered.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deadlines::Deadlines;
use crate::engine::Datagram;
use crate::time::Time;

/// First repeat to a peer of which nothing is known.
const INITIAL: Duration = Duration::from_millis(500);
/// Shortest time to a repeat.
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest time between two repeats.
const LONGEST: Duration = Duration::from_secs(4);
/// Between two repeats once the peer has said that it works on it (LONGTRAN-TIMER,
/// RFC 3435 §3.5.6).
const PROVISIONAL: Duration = Duration::from_secs(5);
/// T-MAX: how long a request is repeated.
pub const GIVEN_UP: Duration = Duration::from_secs(20);
/// How long one may take that is being worked at.
const GIVEN_UP_PROVISIONAL: Duration = Duration::from_secs(40);
/// T-HIST: how long a transaction is remembered (T-MAX, and a packet's life).
pub const REMEMBERED: Duration = Duration::from_secs(30);
/// Peers whose delays are kept.
const PEERS: usize = 1024;

/// Requests that wait for their replies.
#[derive(Debug, Clone)]
pub struct Requests<K> {
    waiting: BTreeMap<K, Waiting>,
    due: Deadlines<K>,
    delays: HashMap<SocketAddr, Delay>,
}

/// A request that waits for its reply, as it is kept for the next run too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Waiting {
    datagram: Datagram,
    first: Time,
    interval: Duration,
    repeated: bool,
    until: Time,
    /// When it is due again.
    next: Time,
}

/// Delay until a peer's replies.
#[derive(Debug, Clone, Copy)]
struct Delay {
    average: Duration,
    deviation: Duration,
}

/// What has come of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due<K> {
    /// Send this again.
    Repeat(K, Datagram),
    /// Nothing has come in T-MAX.
    Failed(K),
}

impl<K> Default for Requests<K> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            due: Deadlines::default(),
            delays: HashMap::new(),
        }
    }
}

impl<K: Ord + Hash + Clone> Requests<K> {
    /// A request was sent for the first time. Over a reliable transport it is not
    /// repeated.
    pub fn sent(&mut self, now: Time, key: K, datagram: &Datagram) {
        let delay = self.delays.get(&datagram.dst);
        let interval = match delay {
            _ if datagram.transport.is_reliable() => GIVEN_UP,
            None => INITIAL,
            Some(delay) => (delay.average + delay.deviation * 4).clamp(SHORTEST, LONGEST),
        };
        let next = now + interval;
        self.due.set(&key, Some(next));
        let waiting = Waiting {
            next,
            datagram: datagram.clone(),
            first: now,
            interval,
            repeated: false,
            until: now + GIVEN_UP,
        };
        self.waiting.insert(key, waiting);
    }

    /// Its final reply has come. False: nothing was waiting for one.
    pub fn answered(&mut self, now: Time, key: &K) -> bool {
        self.due.set(key, None);
        let Some(waiting) = self.waiting.remove(key) else {
            return false;
        };
        if !waiting.repeated {
            self.learn(waiting.datagram.dst, now - waiting.first);
        }
        true
    }

    /// The peer says that it works on it. False: nothing was waiting.
    pub fn provisional(&mut self, now: Time, key: &K) -> bool {
        let Some(waiting) = self.waiting.get_mut(key) else {
            return false;
        };
        waiting.until = waiting.first + GIVEN_UP_PROVISIONAL;
        waiting.interval = PROVISIONAL;
        // What comes now took as long as the work.
        waiting.repeated = true;
        let next = (now + PROVISIONAL).min(waiting.until);
        waiting.next = next;
        self.due.set(key, Some(next));
        true
    }

    /// A request that waits, to be kept.
    pub fn waiting(&self, key: &K) -> Option<&Waiting> {
        self.waiting.get(key)
    }

    /// Goes on with a request of an earlier run.
    pub fn restore(&mut self, key: K, waiting: Waiting) {
        let next = waiting.next;
        self.due.set(&key, Some(next));
        self.waiting.insert(key, waiting);
    }

    /// Nobody cares for its reply any more.
    pub fn forget(&mut self, key: &K) {
        self.due.set(key, None);
        self.waiting.remove(key);
    }

    /// What is to be done by `now`; until `None`.
    pub fn take_due(&mut self, now: Time) -> Option<Due<K>> {
        let key = self.due.take_due(now)?;
        let waiting = self.waiting.get_mut(&key)?;
        if waiting.until <= now {
            self.waiting.remove(&key);
            return Some(Due::Failed(key));
        }
        waiting.repeated = true;
        if waiting.interval < LONGEST {
            waiting.interval = (waiting.interval * 2).min(LONGEST);
        }
        let next = (now + waiting.interval).min(waiting.until);
        waiting.next = next;
        let datagram = waiting.datagram.clone();
        self.due.set(&key, Some(next));
        Some(Due::Repeat(key, datagram))
    }

    /// Which is due by `now`.
    pub fn peek_due(&self, now: Time) -> Option<&K> {
        self.due
            .peek()
            .filter(|_| self.due.next().is_some_and(|at| at <= now))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Time> {
        self.due.next()
    }

    fn learn(&mut self, peer: SocketAddr, took: Duration) {
        if self.delays.len() >= PEERS && !self.delays.contains_key(&peer) {
            self.delays.clear();
        }
        self.delays
            .entry(peer)
            .and_modify(|delay| {
                let difference = took.abs_diff(delay.average);
                delay.deviation = (delay.deviation * 3 + difference) / 4;
                delay.average = (delay.average * 7 + took) / 8;
            })
            .or_insert(Delay {
                average: took,
                deviation: took / 2,
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ConnectionId, Side, Transport};

    fn at(ms: u64) -> Time {
        Time::from_origin(Duration::from_millis(ms))
    }

    fn datagram(transport: Transport) -> Datagram {
        Datagram {
            side: Side::Net,
            transport,
            src: ([10, 0, 0, 1], 2727).into(),
            dst: ([10, 0, 0, 2], 2427).into(),
            payload: b"MDCX".to_vec(),
        }
    }

    /// When it is repeated, and when it is given up.
    fn run(requests: &mut Requests<u8>) -> (Vec<u64>, u64) {
        let mut repeats = Vec::new();
        loop {
            let now = requests.next().expect("waits");
            let ms = u64::try_from(now.since_origin().as_millis()).unwrap();
            match requests.take_due(now) {
                Some(Due::Repeat(..)) => repeats.push(ms),
                Some(Due::Failed(_)) => return (repeats, ms),
                None => panic!("nothing due at {ms}"),
            }
        }
    }

    #[test]
    fn repeats_double_up_to_four_seconds_and_end_at_t_max() {
        let mut requests = Requests::default();
        requests.sent(at(0), 1, &datagram(Transport::Udp));
        let (repeats, end) = run(&mut requests);
        assert_eq!(repeats, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500]);
        assert_eq!(end, 20_000);
        assert!(!requests.answered(at(20_001), &1));
    }

    #[test]
    fn a_quick_peer_is_asked_again_sooner() {
        let mut requests = Requests::default();
        for key in 0..20u8 {
            let now = u64::from(key) * 1000;
            requests.sent(at(now), key, &datagram(Transport::Udp));
            assert!(requests.answered(at(now + 40), &key));
        }
        requests.sent(at(0), 99, &datagram(Transport::Udp));
        // Never at once: 100 ms at least.
        assert_eq!(requests.next(), Some(at(100)));
        // Answers to repeated requests teach nothing.
        let mut slow = Requests::default();
        slow.sent(at(0), 1, &datagram(Transport::Udp));
        assert!(slow.take_due(at(500)).is_some());
        assert!(slow.answered(at(510), &1));
        slow.sent(at(1000), 2, &datagram(Transport::Udp));
        assert_eq!(slow.next(), Some(at(1500)));
    }

    #[test]
    fn one_that_is_worked_at_is_left_alone_for_long() {
        let mut requests = Requests::default();
        requests.sent(at(0), 1, &datagram(Transport::Udp));
        assert!(requests.provisional(at(100), &1));
        let (repeats, end) = run(&mut requests);
        assert_eq!(repeats[..2], [5100, 10_100]);
        assert_eq!(end, 40_000);
    }

    #[test]
    fn a_stream_needs_no_repeats() {
        let mut requests = Requests::default();
        requests.sent(at(0), 1, &datagram(Transport::Tcp(ConnectionId(7))));
        assert_eq!(run(&mut requests), (vec![], 20_000));
    }
}
