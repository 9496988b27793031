//! One conversation, with all its transactions.

use std::collections::{BTreeMap, VecDeque};

use super::request::{Answered, Due, Request};
use super::served::{Again, Served};
use super::timing::RoundTrip;
use crate::deadlines::Deadlines;
use crate::h248::model::{
    AckRange, ActionRequest, Body, Message, Mid, Reply, ReplyResult, Request as RequestModel,
    Segment, SegmentReply, Span, Transaction,
};
use crate::h248::{self, Encoding};
use crate::time::Time;

/// How we speak: what stands at the head of each message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// Our name (H.248.1 §8.3).
    pub mid: Mid<'static>,
    /// Protocol version, 1 to 3; agreed by ServiceChange (§11.3).
    pub version: u8,
    /// Encoding, always the peer's.
    pub encoding: Encoding,
}

/// What has come, for the user; the rest of a message was dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<U> {
    /// A request that is new; it wants [`Association::reply`].
    Request {
        /// Its id.
        id: u32,
        /// Its index among the message's transactions.
        index: usize,
    },
    /// The reply to a request of ours, with what was given to
    /// [`Association::request`].
    Reply {
        /// The user's own.
        user: U,
        /// Its index among the message's transactions.
        index: usize,
        /// Whether it is whole. False: a segment (version 3), others follow.
        complete: bool,
    },
    /// The peer is working on a request of ours (§8.2.3).
    Pending {
        /// The user's own.
        user: U,
    },
}

/// What has come to its end without the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expired<U> {
    /// No reply to a request of ours within [`LONG_TIMER`](super::LONG_TIMER).
    Request(U),
    /// No acknowledgement of our reply to this request.
    Acknowledgement(u32),
}

/// One conversation between two. `U` is what the user keeps with each of its
/// requests.
#[derive(Debug, Clone)]
pub struct Association<U> {
    voice: Voice,
    reliable: bool,
    next_id: u32,
    round_trip: RoundTrip,
    requests: BTreeMap<u32, Request<U>>,
    served: BTreeMap<u32, Served>,
    deadlines: Deadlines<Key>,
    outgoing: VecDeque<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Request(u32),
    Served(u32),
}

/// Requests of the peer's that are remembered at most; beyond, the oldest ids are
/// forgotten, as if their time were over.
const SERVED: usize = 4096;

impl<U: Clone> Association<U> {
    /// A conversation in which nothing has been said. `reliable`: over TCP.
    /// `first_id` is our first transaction's; after a restart it should be another
    /// one than before.
    pub fn new(voice: Voice, reliable: bool, first_id: u32) -> Self {
        Self {
            voice,
            reliable,
            next_id: first_id.max(1),
            round_trip: RoundTrip::default(),
            requests: BTreeMap::new(),
            served: BTreeMap::new(),
            deadlines: Deadlines::default(),
            outgoing: VecDeque::new(),
        }
    }

    /// How we speak.
    pub fn voice(&self) -> &Voice {
        &self.voice
    }

    /// From now on we speak so.
    pub fn set_voice(&mut self, voice: Voice) {
        self.voice = voice;
    }

    /// Sends a request; returns its id.
    pub fn request(&mut self, now: Time, actions: Vec<ActionRequest<'_>>, user: U) -> u32 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        let message = self.message(Transaction::Request(RequestModel {
            id,
            actions,
            id_span: Span::default(),
        }));
        let first_repeat = (!self.reliable).then(|| self.round_trip.first_repeat());
        let request = Request::new(now, message.clone(), first_repeat, user);
        self.deadlines.set(&Key::Request(id), Some(request.next()));
        self.requests.insert(id, request);
        self.outgoing.push_back(message);
        id
    }

    /// Forgets a request of ours: its reply is not waited for any longer.
    pub fn abandon(&mut self, id: u32) {
        self.requests.remove(&id);
        self.deadlines.set(&Key::Request(id), None);
    }

    /// Answers a request of the peer's. One that is not known, or has its reply,
    /// gets none.
    pub fn reply(&mut self, now: Time, id: u32, result: ReplyResult<'_>) {
        let Some(served) = self.served.get(&id).filter(|s| s.is_executing()) else {
            return;
        };
        let immediate_ack = served.was_pending;
        let reply = self.message(Transaction::Reply(Reply {
            id,
            segment: None,
            immediate_ack,
            result,
            id_span: Span::default(),
        }));
        let repeat = (immediate_ack && !self.reliable).then(|| self.round_trip.first_repeat());
        if let Some(served) = self.served.get_mut(&id) {
            served.replied(now, reply.clone(), repeat);
            let next = served.next();
            self.deadlines.set(&Key::Served(id), next);
        }
        self.outgoing.push_back(reply);
    }

    /// Tells the peer that a request of its is being worked on (§8.2.3); to be said
    /// when it takes longer than the peer was told to expect.
    pub fn pending(&mut self, id: u32) {
        let Some(served) = self.served.get_mut(&id).filter(|s| s.is_executing()) else {
            return;
        };
        served.was_pending = true;
        let message = self.message(Transaction::Pending {
            id,
            id_span: Span::default(),
        });
        self.outgoing.push_back(message);
    }

    /// A message has come. What is returned is the user's business, in the order of
    /// the message; its error, where it carries one, too.
    pub fn handle(&mut self, now: Time, message: &Message<'_>) -> Vec<Incoming<U>> {
        let mut incoming = Vec::new();
        for (index, transaction) in message.transactions().iter().enumerate() {
            match transaction {
                Transaction::Request(request) => {
                    if self.is_new(now, request.id) {
                        incoming.push(Incoming::Request {
                            id: request.id,
                            index,
                        });
                    }
                }
                Transaction::Reply(reply) => {
                    if let Some((user, complete)) = self.replied(now, reply) {
                        incoming.push(Incoming::Reply {
                            user,
                            index,
                            complete,
                        });
                    }
                }
                Transaction::Pending { id, .. } => {
                    if let Some(request) = self.requests.get_mut(id) {
                        request.pending(now);
                        let next = request.next();
                        incoming.push(Incoming::Pending {
                            user: request.user.clone(),
                        });
                        self.deadlines.set(&Key::Request(*id), Some(next));
                    }
                }
                Transaction::ResponseAck(ranges) => self.acknowledged(ranges),
                // Our replies are never segmented.
                Transaction::Segment(_) => {}
            }
        }
        incoming
    }

    /// Runs what is due by `now`.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<Expired<U>> {
        let mut expired = Vec::new();
        while let Some(key) = self.deadlines.take_due(now) {
            match key {
                Key::Request(id) => {
                    let Some(request) = self.requests.get_mut(&id) else {
                        continue;
                    };
                    match request.run(now) {
                        Due::GivesUp => {
                            expired.push(Expired::Request(request.user.clone()));
                            self.requests.remove(&id);
                            continue;
                        }
                        Due::Repeat(message) => self.outgoing.push_back(message.to_vec()),
                        Due::Nothing => {}
                    }
                    let next = request.next();
                    self.deadlines.set(&Key::Request(id), Some(next));
                }
                Key::Served(id) => {
                    let Some(served) = self.served.get_mut(&id) else {
                        continue;
                    };
                    let unacknowledged = served.wants_acknowledgement();
                    let (reply, over) = served.run(now);
                    self.outgoing.extend(reply.map(<[u8]>::to_vec));
                    if over {
                        self.served.remove(&id);
                        if unacknowledged {
                            expired.push(Expired::Acknowledgement(id));
                        }
                        continue;
                    }
                    let next = served.next();
                    self.deadlines.set(&Key::Served(id), next);
                }
            }
        }
        expired
    }

    /// When [`Association::handle_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// The next message to send to the peer.
    pub fn poll_outgoing(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// How many transactions are alive or remembered.
    pub fn len(&self) -> usize {
        self.requests.len() + self.served.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a request has not come before (D.1.1); where it has, it is dealt
    /// with.
    fn is_new(&mut self, now: Time, id: u32) -> bool {
        match self.served.get(&id).map(Served::again) {
            Some(Again::Pending) => {
                self.pending(id);
                false
            }
            Some(Again::Reply(reply)) => {
                self.outgoing.push_back(reply.to_vec());
                false
            }
            Some(Again::Nothing) => false,
            None => {
                if self.served.len() >= SERVED {
                    let oldest = self.served.iter().find(|(_, s)| !s.is_executing());
                    if let Some(id) = oldest.map(|(id, _)| *id) {
                        self.served.remove(&id);
                        self.deadlines.set(&Key::Served(id), None);
                    }
                }
                self.served.insert(id, Served::new(now));
                true
            }
        }
    }

    /// A reply: acknowledged where it asks for that, also when it comes again; for
    /// the user where it is new.
    fn replied(&mut self, now: Time, reply: &Reply<'_>) -> Option<(U, bool)> {
        if let Some(segment) = reply.segment {
            self.acknowledge_segment(reply.id, segment);
        }
        if reply.immediate_ack {
            let message = self.message(Transaction::ResponseAck(vec![AckRange {
                first: reply.id,
                last: reply.id,
            }]));
            self.outgoing.push_back(message);
        }
        let request = self.requests.get_mut(&reply.id)?;
        let user = request.user.clone();
        match request.replied(now, reply.segment) {
            Answered::Whole(delay) => {
                if let Some(delay) = delay {
                    self.round_trip.learn(delay);
                }
                self.abandon(reply.id);
                Some((user, true))
            }
            Answered::Part => {
                let next = request.next();
                self.deadlines.set(&Key::Request(reply.id), Some(next));
                Some((user, false))
            }
            Answered::Again => None,
        }
    }

    fn acknowledge_segment(&mut self, id: u32, segment: Segment) {
        let message = self.message(Transaction::Segment(SegmentReply {
            id,
            segment,
            id_span: Span::default(),
        }));
        self.outgoing.push_back(message);
    }

    fn acknowledged(&mut self, ranges: &[AckRange]) {
        for range in ranges {
            if range.first > range.last {
                continue;
            }
            for (id, served) in self.served.range_mut(range.first..=range.last) {
                served.acknowledged();
                let next = served.next();
                self.deadlines.set(&Key::Served(*id), next);
            }
        }
    }

    fn message(&self, transaction: Transaction<'_>) -> Vec<u8> {
        let message = Message {
            authentication: None,
            version: self.voice.version,
            mid: self.voice.mid.clone(),
            body: Body::Transactions(vec![transaction]),
            spans: Vec::new(),
        };
        h248::write(&message, self.voice.encoding)
    }
}
