//! Replies of late, so that a repeated request is done once and answered with the
//! same bytes (at-most-once: RFC 3435 §3.5.1, H.248.1 Annex D.1.2).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::requests::REMEMBERED;
use crate::engine::{ConnectionId, Datagram};
use crate::time::Time;

/// How many are kept; beyond, the oldest go.
const CAPACITY: usize = 4096;

/// Replies of the last T-HIST, by who asked and the number of the transaction.
#[derive(Debug, Default)]
pub struct Replies {
    replies: BTreeMap<(SocketAddr, u32), Datagram>,
    order: VecDeque<(Time, (SocketAddr, u32))>,
}

impl Replies {
    /// The reply to a request that has come before.
    pub fn get(&mut self, now: Time, from: SocketAddr, transaction: u32) -> Option<&Datagram> {
        self.expire(now);
        self.replies.get(&(from, transaction))
    }

    /// Forgets those of a connection that is gone: what comes by another is new.
    pub fn forget(&mut self, connection: ConnectionId) {
        let is_its = |reply: &Datagram| reply.transport.connection() == Some(connection);
        self.replies.retain(|_, reply| !is_its(reply));
        let replies = &self.replies;
        self.order.retain(|(_, key)| replies.contains_key(key));
    }

    /// Forgets what is older than T-HIST.
    pub fn expire(&mut self, now: Time) {
        while let Some((at, key)) = self.order.front().copied()
            && at + REMEMBERED <= now
        {
            self.order.pop_front();
            self.replies.remove(&key);
        }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Keeps the reply to a request that has none yet.
    pub fn put(&mut self, now: Time, from: SocketAddr, transaction: u32, reply: Datagram) {
        let key = (from, transaction);
        while self.order.len() >= CAPACITY
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.replies.remove(&oldest);
        }
        if self.replies.insert(key, reply).is_none() {
            self.order.push_back((now, key));
        }
    }
}
