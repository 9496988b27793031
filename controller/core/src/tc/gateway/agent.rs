//! The controller of thin clients that are gateways: registration, legs, and the
//! transactions that carry both.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::client::{Client, Place, Refusal, Stage};
use super::legs::{Legs, Serial};
use super::wire::{Association, Method, NotUnderstood, Question, Reply, Said, Want, Wire};
use super::{Failure, Outcome};
use crate::control::message::Segment;
use crate::control::replies::Replies;
use crate::control::requests::{Due, GIVEN_UP, Requests};
use crate::deadlines::Deadlines;
use crate::engine::{ConnectionId, Datagram, Event, Network, Side, Transport};
use crate::registrar::Binding;
use crate::sip::identifiers::Identifiers;
use crate::tc::{CallProgress, Held, LegId, TcOutput};
use crate::time::Time;

/// How often a thin client that takes calls is asked whether it is there: nothing
/// else ends its registration when it is switched off.
pub(super) const AUDIT: Duration = Duration::from_secs(60);
/// Largest number of a transaction that both protocols have (RFC 3435 §3.2.1.2).
const LARGEST: u32 = 999_999_999;
/// Segments that a reply may have.
const SEGMENTS: usize = 64;
/// Status of a refused registration as SIP would have it.
const FORBIDDEN: u16 = 403;

/// What a transaction of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Leg(Serial),
    Ask(Question),
}

/// A reply of which some segments have come.
#[derive(Debug)]
struct Partial<H> {
    segments: BTreeMap<u16, Reply<H>>,
    /// Number of the last.
    last: Option<u16>,
}

impl<H> Default for Partial<H> {
    fn default() -> Self {
        Self {
            segments: BTreeMap::new(),
            last: None,
        }
    }
}

/// All thin clients of one protocol.
#[derive(Debug)]
pub(in crate::tc) struct Agent<W: Wire> {
    pub(super) wire: W,
    port: u16,
    pub(super) clients: Vec<Client<W::Client>>,
    pub(super) legs: Legs<W::Handle>,
    pub(super) requests: Requests<u32>,
    /// Index of the thin client, and what for.
    pub(super) purposes: BTreeMap<u32, (usize, Purpose)>,
    /// Replies of which some segments have come.
    partial: BTreeMap<u32, Partial<W::Handle>>,
    replies: Replies,
    pub(super) audits: Deadlines<usize>,
    pub(super) last_transaction: u32,
    pub(super) now: Time,
    output: VecDeque<TcOutput>,
}

impl<W: Wire> Agent<W> {
    /// No thin client has registered. Legs and questions come from the VM's
    /// address and `port`.
    pub(in crate::tc) fn new(wire: W, port: u16, answer_timeout: Duration, seed: [u8; 32]) -> Self {
        let mut identifiers = Identifiers::new(seed, W::NAME);
        Self {
            last_transaction: identifiers.below(LARGEST / 2),
            legs: Legs::new(answer_timeout, W::REARMS, identifiers),
            wire,
            port,
            clients: Vec::new(),
            requests: Requests::default(),
            purposes: BTreeMap::new(),
            partial: BTreeMap::new(),
            replies: Replies::default(),
            audits: Deadlines::default(),
            now: Time::ZERO,
            output: VecDeque::new(),
        }
    }

    /// An account, and where it may register from.
    pub(in crate::tc) fn add(
        &mut self,
        user: &str,
        (vm, vm_address): (usize, std::net::Ipv4Addr),
        from: Network,
        protocol: W::Client,
    ) {
        self.clients.push(Client {
            user: user.to_owned(),
            vm,
            vm_address,
            from,
            protocol,
            place: None,
            codecs: Vec::new(),
            stage: Stage::Absent,
        });
    }

    /// Goes on with a binding of an earlier run, and asks at once whether the thin
    /// client is still there.
    pub(in crate::tc) fn resume(&mut self, now: Time, binding: &Binding) {
        let index = self.clients.iter().position(|c| c.user == binding.user);
        let Some((index, client)) = index.and_then(|i| Some((i, self.clients.get_mut(i)?))) else {
            return;
        };
        let resumed = self.wire.resume(&mut client.protocol, &binding.signalling);
        let Some(codecs) = resumed else {
            return;
        };
        client.codecs = codecs;
        // It may be in a call that was not kept.
        if self.legs.standing(index) == 0 {
            self.wire.entangled(&mut client.protocol);
        }
        client.place = Some(Place {
            address: binding.address,
            transport: Transport::Udp,
        });
        client.stage = Stage::Bound {
            since: binding.since,
        };
        self.audits.set(&index, Some(now));
    }

    /// A connection is gone, and with it who has registered by it.
    pub(in crate::tc) fn closed(&mut self, now: Time, connection: ConnectionId) {
        self.now = now;
        self.replies.forget(connection);
        for index in 0..self.clients.len() {
            let place = self.clients.get(index).and_then(|client| client.place);
            if place.is_some_and(|place| place.transport.connection() == Some(connection)) {
                self.lost(index);
            }
        }
    }

    /// How many legs a thin client has that are not over.
    pub(in crate::tc) fn legs_of(&self, user: &str) -> usize {
        let client = self.clients.iter().position(|c| c.user == user);
        client.map_or(0, |client| self.legs.standing(client))
    }

    /// How much is remembered.
    pub(in crate::tc) fn held(&self) -> Held {
        Held {
            legs: self.legs.len(),
            transactions: self.purposes.len().max(self.requests.len()) + self.replies.len(),
        }
    }

    /// Calls a thin client; see [`crate::tc::TcAgent::invite`].
    pub(in crate::tc) fn invite(
        &mut self,
        now: Time,
        leg: LegId,
        to: &Binding,
        offer: Option<&[u8]>,
    ) {
        self.now = now;
        // A binding that has just gone: the leg fails when its command is due.
        let client = self
            .clients
            .iter()
            .position(|client| client.user == to.user);
        self.legs
            .invite(now, leg, client.unwrap_or(usize::MAX), offer);
    }

    /// See [`crate::tc::TcAgent::ack_with`].
    pub(in crate::tc) fn ack_with(&mut self, now: Time, leg: LegId, answer: Option<&[u8]>) {
        self.now = now;
        self.legs.ack(leg, answer);
    }

    /// See [`crate::tc::TcAgent::reinvite`].
    pub(in crate::tc) fn reinvite(&mut self, now: Time, leg: LegId, offer: &[u8]) {
        self.now = now;
        self.legs.offer(leg, offer);
    }

    /// See [`crate::tc::TcAgent::answer_reinvite`].
    pub(in crate::tc) fn answer_reinvite(
        &mut self,
        now: Time,
        leg: LegId,
        answer: Result<&[u8], u16>,
    ) {
        self.now = now;
        self.legs.answer(now, leg, answer);
    }

    /// See [`crate::tc::TcAgent::progress`].
    pub(in crate::tc) fn progress(&mut self, now: Time, leg: LegId, progress: CallProgress) {
        self.now = now;
        self.legs.progress(leg, progress);
    }

    /// See [`crate::tc::TcAgent::bye`].
    pub(in crate::tc) fn bye(&mut self, now: Time, leg: LegId) {
        self.now = now;
        self.legs.bye(leg);
    }

    /// A message has come to the registrar's port.
    ///
    /// # Errors
    ///
    /// It cannot be read; its sender has been told, where the protocol has something
    /// for that.
    pub(in crate::tc) fn handle(
        &mut self,
        now: Time,
        datagram: &Datagram,
    ) -> Result<(), NotUnderstood> {
        self.now = now;
        let read = match self.wire.read(datagram.dst, &datagram.payload) {
            Ok(read) => read,
            Err(mut error) => {
                if let Some(answer) = error.answer.take() {
                    let answer = back(datagram, answer);
                    self.output.push_back(TcOutput::Send(answer));
                }
                return Err(error);
            }
        };
        for said in read.said {
            match said {
                Said::Request {
                    transaction,
                    name,
                    wants,
                    granted,
                    refused,
                } => {
                    // The reply goes before what follows from the request.
                    let before = self.output.len();
                    let known = self.replies.get(now, datagram.src, transaction).cloned();
                    let reply = known.unwrap_or_else(|| {
                        let grant = self.request(&read.association, datagram, &name, &wants);
                        back(datagram, if grant { granted } else { refused })
                    });
                    self.output.insert(before, TcOutput::Send(reply.clone()));
                    self.replies.put(now, datagram.src, transaction, reply);
                }
                Said::Reply {
                    transaction,
                    reply,
                    segment,
                    acknowledgement,
                } => {
                    if let Some(acknowledgement) = acknowledgement {
                        let acknowledgement = back(datagram, acknowledgement);
                        self.output.push_back(TcOutput::Send(acknowledgement));
                    }
                    if !self.is_from(datagram, transaction) {
                        continue;
                    }
                    match self.gather(transaction, segment, reply) {
                        Some(reply) => self.replied(transaction, &reply),
                        // It is there, and not done.
                        None => {
                            self.touch(transaction);
                            self.requests.provisional(now, &transaction);
                        }
                    }
                }
                Said::Pending { transaction } => {
                    if self.is_from(datagram, transaction) {
                        self.touch(transaction);
                        self.requests.provisional(now, &transaction);
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs the timers that have run out by `now`.
    pub(in crate::tc) fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.replies.expire(now);
        self.legs.handle_timeout(now);
        while let Some(due) = self.requests.take_due(now) {
            match due {
                Due::Repeat(transaction, datagram) => {
                    self.touch(transaction);
                    self.output.push_back(TcOutput::Send(datagram));
                }
                Due::Failed(transaction) => {
                    self.partial.remove(&transaction);
                    if let Some((client, _)) = self.purposes.remove(&transaction) {
                        self.lost(client);
                    }
                }
            }
        }
        while let Some(client) = self.audits.take_due(now) {
            if !self.ask(client, Question::Alive) {
                self.lost(client);
            }
        }
    }

    /// When the next timer runs out.
    pub(in crate::tc) fn poll_timeout(&self) -> Option<Time> {
        [
            self.legs.poll_timeout(),
            self.requests.next(),
            self.audits.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram or event.
    pub(in crate::tc) fn poll_output(&mut self) -> Option<TcOutput> {
        while let Some(due) = self.legs.command() {
            let codecs = self.clients.get(due.client).map(|c| c.codecs.clone());
            let ordered = (due.handle.as_ref(), &due.command, due.mute);
            let codecs = codecs.unwrap_or_default();
            let sent = self.send(
                due.client,
                Purpose::Leg(due.leg),
                |wire, client, local, id| wire.command(client, local, id, ordered, &codecs),
            );
            if !sent {
                self.legs.outcome(due.leg, Outcome::Failed(Failure::Gone));
            }
        }
        while let Some((leg, event)) = self.legs.poll_event() {
            self.output.push_back(TcOutput::Event(leg, event));
        }
        self.output.pop_front()
    }

    /// A request of a thin client's; whether it is granted.
    fn request(
        &mut self,
        association: &Association,
        datagram: &Datagram,
        name: &str,
        wants: &[Want],
    ) -> bool {
        let named: Vec<usize> = (0..self.clients.len())
            .filter(|index| {
                let client = self.clients.get(*index);
                client.is_some_and(|client| self.wire.is_named(&client.protocol, name))
            })
            .collect();
        let mut granted = true;
        for want in wants {
            match want {
                Want::Register { method, port } => {
                    granted &= self.register(association, datagram, name, &named, (*method, *port));
                }
                Want::Hook(hook) => {
                    let mut own = named.clone();
                    own.retain(|index| {
                        let client = self.clients.get(*index);
                        client.is_some_and(|client| client.has_sent(datagram))
                    });
                    granted &= !own.is_empty();
                    for index in own {
                        if let Some(client) = self.clients.get_mut(index) {
                            self.wire.hooked(&mut client.protocol, *hook);
                        }
                        self.legs.hook(index, *hook);
                    }
                }
                Want::Nothing => {}
            }
        }
        granted
    }

    fn register(
        &mut self,
        association: &Association,
        datagram: &Datagram,
        name: &str,
        named: &[usize],
        (method, port): (Method, Option<u16>),
    ) -> bool {
        let mut refusal = Some(Refusal::Unknown);
        for index in named {
            let Some(client) = self.clients.get_mut(*index) else {
                continue;
            };
            if let Err(error) = client.admit(datagram.src, datagram.dst) {
                refusal = refusal.map(|_| error);
                continue;
            }
            refusal = None;
            let mut address = datagram.src;
            // By a connection it is asked where it has connected from.
            if !datagram.transport.is_reliable() {
                address.set_port(port.unwrap_or(address.port()));
            }
            let place = Some(Place {
                address,
                transport: datagram.transport,
            });
            client.place = place;
            let was_lost = client.stage == Stage::Absent;
            self.wire.meet(&mut client.protocol, association);
            match method {
                Method::Restart => self.legs.lost(*index),
                Method::Forced => {
                    self.lost(*index);
                    continue;
                }
                Method::Graceful => {
                    self.unbind(*index, Stage::Leaving);
                    continue;
                }
                Method::Disconnected => {}
            }
            self.forget_questions(*index);
            // Its calls have gone on without us; those that went back to their VMs are
            // not to go on there, too.
            let is_lost = method == Method::Disconnected && was_lost;
            if is_lost && self.legs.standing(*index) == 0 {
                self.ask(*index, Question::Release);
            }
            self.ask_next(*index, 0);
        }
        let Some(refusal) = refusal else {
            return true;
        };
        self.output
            .push_back(TcOutput::Note(Event::RegistrationRefused {
                peer: datagram.src,
                user: Some(name.to_owned()),
                status: FORBIDDEN,
                why: refusal.to_string(),
            }));
        false
    }

    /// Asks the question of this index; after the last the thin client takes
    /// calls.
    fn ask_next(&mut self, index: usize, question: usize) {
        if let Some(asked) = W::QUESTIONS.get(question) {
            // What is bound stays so while it is asked again.
            if let Some(client) = self.clients.get_mut(index)
                && !matches!(client.stage, Stage::Bound { .. })
            {
                client.stage = Stage::Asked(question);
            }
            self.ask(index, *asked);
            return;
        }
        self.bind(index);
    }

    /// False: nobody knows where it is.
    fn ask(&mut self, index: usize, question: Question) -> bool {
        self.send(index, Purpose::Ask(question), |wire, client, local, id| {
            wire.question(client, local, id, question)
        })
    }

    /// The thin client takes calls, or goes on taking them.
    fn bind(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let Some(place) = client.place else {
            return;
        };
        let since = match client.stage {
            Stage::Bound { since } => since,
            _ => self.now,
        };
        client.stage = Stage::Bound { since };
        self.audits.set(&index, Some(self.now + AUDIT));
        self.output.push_back(TcOutput::Bound(Binding {
            user: client.user.clone(),
            vm: client.vm,
            vm_address: client.vm_address,
            signalling: self.wire.signalling(&client.protocol, &client.codecs),
            address: place.address,
            transport: place.transport,
            media: None,
            expires: self.now + AUDIT + GIVEN_UP,
            since,
        }));
    }

    fn unbind(&mut self, index: usize, stage: Stage) {
        self.audits.set(&index, None);
        self.forget_questions(index);
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let before = std::mem::replace(&mut client.stage, stage);
        if matches!(before, Stage::Bound { .. }) {
            let user = client.user.clone();
            self.output.push_back(TcOutput::Unbound { user });
        }
    }

    /// The thin client is gone, and its legs with it.
    fn lost(&mut self, index: usize) {
        self.unbind(index, Stage::Absent);
        if let Some(client) = self.clients.get_mut(index) {
            client.place = None;
        }
        self.forget(index, |_| true);
        self.legs.lost(index);
    }

    fn forget_questions(&mut self, index: usize) {
        self.forget(index, |purpose| matches!(purpose, Purpose::Ask(_)));
    }

    fn forget(&mut self, index: usize, which: impl Fn(&Purpose) -> bool) {
        let (requests, partial) = (&mut self.requests, &mut self.partial);
        self.purposes.retain(|transaction, (client, purpose)| {
            let forgotten = *client == index && which(purpose);
            if forgotten {
                requests.forget(transaction);
                partial.remove(transaction);
            }
            !forgotten
        });
    }

    /// What is kept of a transaction has changed.
    fn touch(&mut self, transaction: u32) {
        if let Some((_, Purpose::Leg(leg))) = self.purposes.get(&transaction) {
            self.legs.touch(*leg);
        }
    }

    fn is_from(&self, datagram: &Datagram, transaction: u32) -> bool {
        self.purposes.get(&transaction).is_some_and(|(index, _)| {
            let client = self.clients.get(*index);
            client.is_some_and(|client| client.has_sent(datagram))
        })
    }

    /// A reply, or a segment of one: the whole of it, once it is there.
    fn gather(
        &mut self,
        transaction: u32,
        segment: Option<Segment>,
        reply: Reply<W::Handle>,
    ) -> Option<Reply<W::Handle>> {
        let Some(segment) = segment else {
            return Some(reply);
        };
        let partial = self.partial.entry(transaction).or_default();
        if partial.segments.len() < SEGMENTS {
            partial.segments.entry(segment.number).or_insert(reply);
        }
        if segment.last {
            partial.last = Some(segment.number);
        }
        if partial.last.map(usize::from) != Some(partial.segments.len()) {
            return None;
        }
        let segments = self.partial.remove(&transaction)?.segments;
        Some(segments.into_values().fold(Reply::empty(), Reply::and))
    }

    fn replied(&mut self, transaction: u32, reply: &Reply<W::Handle>) {
        self.requests.answered(self.now, &transaction);
        let Some((index, purpose)) = self.purposes.remove(&transaction) else {
            return;
        };
        match purpose {
            Purpose::Leg(leg) => {
                let outcome = match (reply.error, self.clients.get_mut(index)) {
                    (Some(code), Some(client)) => {
                        Outcome::Failed(self.wire.failure(&mut client.protocol, code))
                    }
                    _ => Outcome::Done {
                        handle: reply.handle.clone(),
                        local: reply.local.clone(),
                    },
                };
                self.legs.outcome(leg, outcome);
            }
            Purpose::Ask(question) => self.answered(index, question, reply),
        }
    }

    fn answered(&mut self, index: usize, question: Question, reply: &Reply<W::Handle>) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if question == Question::Release {
            return;
        }
        if question == Question::Alive {
            return match client.stage {
                // Whatever it says, it is there; who does not know itself is not.
                Stage::Bound { .. } if reply.error.is_none() => self.bind(index),
                _ => self.lost(index),
            };
        }
        if question == Question::Capabilities && reply.error.is_none() {
            client.codecs.clone_from(&reply.codecs);
        }
        if let Err(why) = self.wire.learn(&mut client.protocol, question, reply) {
            let user = Some(client.user.clone());
            let peer = client.place.map(|place| place.address);
            self.lost(index);
            if let Some(peer) = peer {
                self.output
                    .push_back(TcOutput::Note(Event::RegistrationRefused {
                        peer,
                        user,
                        status: FORBIDDEN,
                        why: why.to_owned(),
                    }));
            }
            return;
        }
        let asked = W::QUESTIONS.iter().position(|asked| *asked == question);
        self.ask_next(index, asked.map_or(usize::MAX, |asked| asked + 1));
    }

    /// Sends a request; false where the thin client has not registered.
    fn send(
        &mut self,
        index: usize,
        purpose: Purpose,
        write: impl FnOnce(&mut W, &mut W::Client, SocketAddr, u32) -> Vec<u8>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(index) else {
            return false;
        };
        let Some(place) = client.place else {
            return false;
        };
        self.last_transaction = self.last_transaction % LARGEST + 1;
        let transaction = self.last_transaction;
        let local = SocketAddr::from((client.vm_address, self.port));
        let datagram = Datagram {
            side: Side::Net,
            transport: place.transport,
            src: local,
            dst: place.address,
            payload: write(&mut self.wire, &mut client.protocol, local, transaction),
        };
        self.requests.sent(self.now, transaction, &datagram);
        self.purposes.insert(transaction, (index, purpose));
        self.output.push_back(TcOutput::Send(datagram));
        true
    }
}

/// To where a message came from.
fn back(datagram: &Datagram, payload: Vec<u8>) -> Datagram {
    Datagram {
        side: datagram.side,
        transport: datagram.transport,
        src: datagram.dst,
        dst: datagram.src,
        payload,
    }
}
