//! Thin clients that speak SIP: the user agent toward them (RFC 3261).
//!
//! A leg is an ordinary SIP dialog with an endpoint that nobody had to prepare
//! but by auto-answer; nothing of the VM's or the gateway's signalling shows in
//! it. What comes in and goes out is [`super::TcAgent`]'s, in SIP's words.

mod answers;
mod context;
mod dialog;
mod leg;
mod outside;
mod requests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use self::context::{Context, Incoming, Owned, Purpose, Serial, plain};
use self::leg::{Leg, Stage};
use serde::{Deserialize, Serialize};

use crate::deadlines::Deadlines;
use crate::engine::ConnectionId;
use crate::registrar::Binding;
use crate::sip::identifiers::{Identifiers, derive};
use crate::sip::received::mark_received;
use crate::sip::transaction::{
    Addresses, Alive, Expired, Kept, RequestFate, ResponseFate, Transactions,
};
use crate::sip::{Message, Method};
use crate::tc::{Held, LegId, TcEvent, TcOutput};
use crate::time::Time;

/// All legs with SIP telephones.
#[derive(Debug)]
pub(super) struct Agent {
    registrar_port: u16,
    cx: Context,
    /// Key of the tags of responses that leave no state.
    tag_key: [u8; 32],
    legs: BTreeMap<Serial, Box<Leg>>,
    by_id: BTreeMap<LegId, Serial>,
    by_call_id: HashMap<Box<[u8]>, Serial>,
    /// All legs of a number, also those that are over.
    by_number: BTreeMap<LegId, Vec<Serial>>,
    /// By user name.
    clients: BTreeMap<String, Client>,
    wakes: Deadlines<Serial>,
    next: Serial,
    /// Calls whose legs have changed since [`Self::take_touched`].
    touched: BTreeSet<LegId>,
}

/// Legs of one thin client that are over and still remembered, for what comes late;
/// beyond, the oldest go before their time.
const LINGERING: usize = 1000;

/// The legs of one thin client.
#[derive(Debug, Default)]
struct Client {
    standing: BTreeSet<Serial>,
    /// Those that are over, oldest first.
    lingering: VecDeque<Serial>,
}

/// A leg as it is kept for the next run.
#[derive(Debug, Serialize)]
pub(super) struct LegEntry<'a> {
    leg: &'a Leg,
    transactions: Alive<'a, (Serial, Purpose)>,
}

/// A leg of an earlier run: a [`LegEntry`] read again.
#[derive(Debug, Deserialize)]
pub(super) struct KeptLeg {
    leg: Leg,
    transactions: Kept<(Serial, Purpose)>,
}

/// What is counted up over all legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    next: Serial,
    drawn: u64,
}

impl Agent {
    /// No leg yet. Legs are called from the VM's address and `registrar_port`.
    pub(super) fn new(seed: [u8; 32], registrar_port: u16, answer_timeout: Duration) -> Self {
        Self {
            registrar_port,
            cx: Context {
                answer_timeout,
                identifiers: Identifiers::new(seed, "thin-client legs"),
                transactions: Transactions::default(),
                output: VecDeque::new(),
                owned: BTreeMap::new(),
            },
            tag_key: derive(seed, "thin-client tags"),
            legs: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_call_id: HashMap::new(),
            by_number: BTreeMap::new(),
            clients: BTreeMap::new(),
            wakes: Deadlines::default(),
            next: 0,
            touched: BTreeSet::new(),
        }
    }

    /// Calls whose legs have changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> BTreeSet<LegId> {
        std::mem::take(&mut self.touched)
    }

    /// How many legs a thin client has that are not over.
    pub(super) fn legs_of(&self, user: &str) -> usize {
        self.clients.get(user).map_or(0, |c| c.standing.len())
    }

    /// How much is remembered.
    pub(super) fn held(&self) -> Held {
        let owned = self.cx.owned.values();
        let keys: usize = owned.map(|o| o.clients.len() + o.servers.len()).sum();
        let lingering: usize = self.clients.values().map(|c| c.lingering.len()).sum();
        Held {
            legs: self.legs.len().max(self.by_call_id.len()).max(lingering),
            transactions: self.cx.transactions.len().max(keys),
        }
    }

    /// The legs with this number: the one that stands, and those that are still
    /// ending.
    pub(super) fn entries(&self, number: LegId) -> Vec<LegEntry<'_>> {
        let serials = self.by_number.get(&number).into_iter().flatten();
        serials
            .filter_map(|serial| self.legs.get(serial))
            .map(|leg| {
                let (clients, servers) = match self.cx.owned.get(&leg.serial) {
                    Some(owned) => (owned.clients.as_slice(), owned.servers.as_slice()),
                    None => (&[][..], &[][..]),
                };
                LegEntry {
                    leg,
                    transactions: self.cx.transactions.alive(clients, servers),
                }
            })
            .collect()
    }

    /// Goes on with a leg of an earlier run.
    pub(super) fn restore(&mut self, kept: KeptLeg) {
        let KeptLeg { leg, transactions } = kept;
        let (clients, servers) = self.cx.transactions.restore(transactions);
        self.cx.owned.insert(leg.serial, Owned { clients, servers });
        let serial = leg.serial;
        self.next = self.next.max(serial + 1);
        self.by_id.insert(leg.number, serial);
        self.by_number.entry(leg.number).or_default().push(serial);
        self.by_call_id
            .insert(leg.dialog.call_id.as_bytes().into(), serial);
        self.legs.insert(serial, Box::new(leg));
        self.settle(serial);
    }

    pub(super) fn numbers(&self) -> Numbers {
        Numbers {
            next: self.next,
            drawn: self.cx.identifiers.drawn(),
        }
    }

    pub(super) fn restore_numbers(&mut self, numbers: Numbers) {
        self.next = self.next.max(numbers.next);
        self.cx.identifiers.skip_to(numbers.drawn);
    }

    /// Calls a thin client; without an offer its 2xx brings one (RFC 3725 flow I).
    /// `to`: the binding, and its contact's URI.
    pub(super) fn invite(
        &mut self,
        now: Time,
        leg: LegId,
        to: (&Binding, &[u8]),
        offer: Option<Vec<u8>>,
    ) {
        let serial = self.next;
        self.next += 1;
        let new = Leg::call(
            &mut self.cx,
            now,
            (serial, leg),
            to,
            self.registrar_port,
            offer,
        );
        self.by_id.insert(leg, serial);
        self.by_number.entry(leg).or_default().push(serial);
        self.by_call_id
            .insert(new.dialog.call_id.as_bytes().into(), serial);
        self.legs.insert(serial, Box::new(new));
        self.settle(serial);
    }

    /// Acknowledges the last [`TcEvent::Answered`], with the answer where our
    /// INVITE had no offer.
    pub(super) fn ack_with(&mut self, now: Time, leg: LegId, answer: Option<Vec<u8>>) {
        self.with(leg, |leg, cx| leg.ack(cx, now, answer));
    }

    /// Offers a new session in the dialog; waits for its turn while another offer
    /// is under way, of which only the newest waits.
    pub(super) fn reinvite(&mut self, now: Time, leg: LegId, offer: Vec<u8>) {
        self.with(leg, |leg, cx| leg.reinvite(cx, now, offer));
    }

    /// Answers [`TcEvent::Reinvite`]: with a description, or a status code of 300
    /// to 699. Without a word for 64·T1 (32 s) the agent answers 500.
    pub(super) fn answer_reinvite(&mut self, now: Time, leg: LegId, answer: Result<Vec<u8>, u16>) {
        self.with(leg, |leg, cx| leg.answer(cx, now, answer));
    }

    /// Ends the leg, by CANCEL while it is not answered. No event of it follows;
    /// the number may be used again at once.
    pub(super) fn bye(&mut self, now: Time, leg: LegId) {
        self.with(leg, |leg, cx| leg.bye(cx, now));
    }

    /// A message has come from a thin client to the registrar's port. False: it
    /// was none for this agent (a REGISTER, or a response to nothing).
    pub(super) fn handle_message(&mut self, now: Time, from: Addresses, message: &Message) -> bool {
        let src = from.remote;
        if !message.is_request() {
            return self.response(now, src, message);
        }
        if *message.method() == Method::Register {
            return false;
        }
        let addresses = from.answering(message);
        let serial = self.by_call_id.get(message.call_id()).copied();
        let leg = serial.and_then(|serial| self.legs.get_mut(&serial));
        let Some(leg) = leg.filter(|leg| leg.has(message)) else {
            if let Some(response) = outside::response(&self.tag_key, message, src) {
                self.cx.send(addresses, response);
            }
            return true;
        };
        leg.dialog.heard_by(from);
        if let Some(status) = self.cx.is_flooded(leg, message) {
            let to_tag = leg.dialog.local_tag.clone();
            let request = mark_received(message.clone(), src);
            let response = plain(&request, status, Some(&to_tag)).build();
            self.cx.send(addresses, response);
            return true;
        }
        match self.cx.transactions.request(now, message, addresses) {
            RequestFate::New(key) => {
                self.cx.requested(leg.serial, key.clone());
                let request = mark_received(message.clone(), src);
                leg.request(&mut self.cx, now, src, Incoming { key, request });
            }
            RequestFate::Ack => leg.acknowledged(&mut self.cx, now, message),
            RequestFate::Absorbed | RequestFate::Unmatched => {}
        }
        let serial = leg.serial;
        self.settle(serial);
        true
    }

    /// Bytes have come that [`Message::parse`] refused: 400 where they are a
    /// request that can be answered, else nothing.
    pub(super) fn handle_unparsed(&mut self, from: Addresses, bytes: &[u8]) {
        if let Some((remote, response)) = outside::bad_request(&self.tag_key, from.remote, bytes) {
            let remote = match from.transport.is_reliable() {
                true => from.remote,
                false => remote,
            };
            self.cx.send(Addresses { remote, ..from }, response);
        }
    }

    /// A thin client has registered from there: legs with it by a connection go on by
    /// this one.
    pub(super) fn reached(&mut self, user: &str, from: Addresses) {
        let standing = self.clients.get(user).map(|client| client.standing.clone());
        for serial in standing.unwrap_or_default() {
            if let Some(leg) = self.legs.get_mut(&serial) {
                leg.dialog.heard_by(from);
                self.touched.insert(leg.number);
            }
        }
    }

    /// A connection is gone, and with it the legs by it: nobody can be asked in them
    /// any more.
    pub(super) fn closed(&mut self, now: Time, connection: ConnectionId) {
        let by_it = |leg: &Leg| leg.dialog.addresses.transport.connection() == Some(connection);
        let lost = self.legs.values().filter(|leg| by_it(leg));
        let lost: Vec<Serial> = lost.map(|leg| leg.serial).collect();
        for serial in lost {
            if let Some(leg) = self.legs.get_mut(&serial)
                && !matches!(leg.stage, Stage::Over { .. })
            {
                leg.end(&mut self.cx, now, TcEvent::Lost);
            }
            self.cx.abandon(serial);
            self.settle(serial);
        }
    }

    /// Runs the timers that have run out by `now`.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        for expired in self.cx.transactions.timeout(now) {
            // Without an ACK of a refusal of ours nothing is amiss.
            let Expired::Request((serial, Purpose::Invite(cseq))) = expired else {
                continue;
            };
            if let Some(leg) = self.legs.get_mut(&serial) {
                leg.invite_timed_out(&mut self.cx, now, cseq);
                self.settle(serial);
            }
        }
        while let Some(serial) = self.wakes.take_due(now) {
            let Some(leg) = self.legs.get_mut(&serial) else {
                continue;
            };
            if leg.timeout(&mut self.cx, now) {
                self.forget(serial);
            }
            self.settle(serial);
        }
        self.cx.flush();
    }

    /// When the next timer runs out.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let transactions = self.cx.transactions.next_timeout();
        transactions.into_iter().chain(self.wakes.next()).min()
    }

    /// The next datagram or event.
    pub(super) fn poll_output(&mut self) -> Option<TcOutput> {
        self.cx.output.pop_front()
    }

    fn response(&mut self, now: Time, src: SocketAddr, response: &Message) -> bool {
        let (serial, purpose) = match self.cx.transactions.response(now, response) {
            ResponseFate::Deliver(waiting) => waiting,
            ResponseFate::Absorbed => {
                self.cx.flush();
                return true;
            }
            // A 2xx that has outlived its transaction still has to be
            // acknowledged.
            ResponseFate::Unmatched => match self.late(response) {
                Some(waiting) => waiting,
                None => return false,
            },
        };
        if let (Some(leg), Purpose::Invite(cseq)) = (self.legs.get_mut(&serial), purpose) {
            leg.invite_response(&mut self.cx, now, src, cseq, response);
        }
        self.settle(serial);
        true
    }

    fn late(&self, response: &Message) -> Option<(Serial, Purpose)> {
        let serial = *self.by_call_id.get(response.call_id())?;
        let leg = self.legs.get(&serial)?;
        let (cseq, method) = response.cseq();
        let accepted = matches!(response.status(), Some(200..=299)) && method == Method::Invite;
        let ours = response.from_tag() == Some(leg.dialog.local_tag.as_bytes());
        (accepted && ours).then_some((serial, Purpose::Invite(cseq)))
    }

    fn with(&mut self, leg: LegId, act: impl FnOnce(&mut Leg, &mut Context)) {
        let Some(serial) = self.by_id.get(&leg).copied() else {
            return;
        };
        if let Some(leg) = self.legs.get_mut(&serial) {
            act(leg, &mut self.cx);
        }
        self.settle(serial);
    }

    fn forget(&mut self, serial: Serial) {
        self.cx.owned.remove(&serial);
        let Some(leg) = self.legs.remove(&serial) else {
            return;
        };
        self.touched.insert(leg.number);
        self.by_call_id.remove(leg.dialog.call_id.as_bytes());
        if let Some(client) = self.clients.get_mut(&leg.user) {
            client.standing.remove(&serial);
            client.lingering.retain(|other| *other != serial);
            if client.standing.is_empty() && client.lingering.is_empty() {
                self.clients.remove(&leg.user);
            }
        }
        if let Some(serials) = self.by_number.get_mut(&leg.number) {
            serials.retain(|other| *other != serial);
            if serials.is_empty() {
                self.by_number.remove(&leg.number);
            }
        }
    }

    /// After anything has happened to a leg.
    fn settle(&mut self, serial: Serial) {
        self.cx.flush();
        let Some(leg) = self.legs.get(&serial) else {
            self.wakes.set(&serial, None);
            return;
        };
        self.touched.insert(leg.number);
        self.wakes.set(&serial, leg.wake());
        let is_over = matches!(leg.stage, Stage::Over { .. });
        if is_over && self.by_id.get(&leg.number) == Some(&serial) {
            self.by_id.remove(&leg.number);
        }
        let client = match self.clients.get_mut(&leg.user) {
            Some(client) => client,
            None => self.clients.entry(leg.user.clone()).or_default(),
        };
        if !is_over {
            client.standing.insert(serial);
        } else if client.standing.remove(&serial) || !client.lingering.contains(&serial) {
            client.lingering.push_back(serial);
        }
        if client.lingering.len() > LINGERING
            && let Some(oldest) = client.lingering.pop_front()
        {
            self.cx.abandon(oldest);
            self.forget(oldest);
            self.wakes.set(&oldest, None);
        }
    }
}
