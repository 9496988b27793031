//! What is remembered between a VM and one gateway: transactions in T-HIST, so that
//! what comes again leaves again with the same bytes and does nothing twice;
//! datagrams that wait for a thin client; connections that are no call's.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::{Before, Way};
use super::codec::Codec;
use super::message::{Dialect, Edit, Kind, Name, Place, Segment, Selector, Stream};
use super::requests::REMEMBERED;
use crate::engine::{Datagram, Side};
use crate::time::Time;

/// Connections that are no call's and are remembered.
const CONNECTIONS: usize = 4096;
/// Transactions that are remembered at once; beyond, the oldest go before their time.
const TRANSACTIONS: usize = 4096;
/// Datagrams that may wait at once.
const HELD: usize = 256;
/// How long who has picked up may take to dial, and who is rung to answer.
const DIALLING: Duration = Duration::from_secs(300);
/// Segments of a reply that may wait for those before them, or for the last.
const SEGMENTS: usize = 64;

/// A VM and one gateway.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) codec: &'static dyn Codec,
    /// By the side that asked, and the id.
    transactions: HashMap<(Side, u32), Transaction>,
    /// When which may be forgotten.
    expiry: VecDeque<(Time, Side, u32)>,
    /// Those of each call, oldest first.
    by_call: HashMap<u32, Vec<(Time, Side, u32)>>,
    /// Our own commands in the VM's name, answered or not.
    own: BTreeMap<u32, Own>,
    own_expiry: VecDeque<(Time, u32)>,
    pub(super) held: VecDeque<Held>,
    connections: VecDeque<Known>,
    users: VecDeque<User>,
}

/// A transaction that has gone its way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Transaction {
    /// Changes of its request, as if it were the first part of a datagram.
    pub(super) edits: Vec<Edit>,
    pub(super) replied: Replied,
    pub(super) asked: Vec<Wanted>,
    /// The request as it came, where it may have to go again without changes: its
    /// datagram, and its part in it.
    pub(super) original: Option<(Datagram, usize)>,
    /// It, or what was left of it, has gone again under this id of our own, in these
    /// bytes.
    pub(super) reissued: Option<(u32, Vec<u8>)>,
    /// The reply to what was not left, and its part in its message.
    pub(super) first: Option<(Vec<u8>, usize)>,
    /// Number of the segment in which it was refused; 0: of the reply in one piece.
    pub(super) refused: Option<u16>,
}

/// What has come of the reply to a transaction.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Replied {
    /// Changes of its segments, by their numbers; of a reply in one piece under 0.
    pub(super) edits: BTreeMap<u16, Vec<Edit>>,
    /// The last segment has come.
    pub(super) complete: bool,
    /// Indexes of the operations of which is known what came.
    pub(super) done: BTreeSet<usize>,
    /// Of the others, terminations of which a segment has said a part.
    pub(super) named: BTreeMap<usize, Name>,
    /// Segments that came before their turn, alone in their datagrams.
    early: BTreeMap<u16, Datagram>,
}

impl Replied {
    /// What has been changed in this reply, or segment of one, when it came before.
    pub(super) fn before(&self, segment: Option<Segment>) -> Option<&[Edit]> {
        let number = segment.map_or(0, |segment| segment.number);
        self.edits.get(&number).map(Vec::as_slice)
    }

    /// Whether others have to come before this segment.
    pub(super) fn is_early(&self, segment: Option<Segment>) -> bool {
        let next = self.edits.last_key_value().map_or(1, |(last, _)| last + 1);
        segment.is_some_and(|segment| segment.number > next)
    }

    /// Keeps a segment until its turn. False: too many wait.
    pub(super) fn keep(&mut self, segment: Segment, datagram: Datagram) -> bool {
        let room = self.early.len() < SEGMENTS || self.early.contains_key(&segment.number);
        if room {
            self.early.insert(segment.number, datagram);
        }
        room
    }

    /// A reply, or a segment of one, has been looked at; the next, if it has come
    /// already.
    pub(super) fn looked_at(
        &mut self,
        segment: Option<Segment>,
        edits: Vec<Edit>,
    ) -> Option<Datagram> {
        let number = segment.map_or(0, |segment| segment.number);
        self.edits.insert(number, edits);
        self.complete |= segment.is_none_or(|segment| segment.last);
        self.early.remove(&number.checked_add(1)?)
    }

    /// An operation, whose termination has a name by what came of it so far.
    pub(super) fn named(&self, index: usize, wanted: &Wanted) -> Wanted {
        let mut wanted = wanted.clone();
        if let Some(name) = self.named.get(&index) {
            wanted.place.termination = Selector::One(name.clone());
        }
        wanted
    }
}

/// An operation of a transaction, for the time when its reply comes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) streams: Vec<Stream>,
    /// The calls of its streams.
    pub(super) calls: Vec<(usize, u32)>,
    /// Whether the TC stands in it for the VM.
    pub(super) substituted: bool,
}

/// A command of our own in the VM's name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Own {
    pub(super) dialect: Dialect,
    pub(super) way: Way,
    pub(super) purpose: OwnPurpose,
    pub(super) answered: bool,
    segments: BTreeMap<u16, (Datagram, usize)>,
    last_segment: Option<u16>,
}

impl Own {
    pub(super) fn new(dialect: Dialect, way: Way, purpose: OwnPurpose) -> Self {
        Self {
            dialect,
            way,
            purpose,
            answered: false,
            segments: BTreeMap::new(),
            last_segment: None,
        }
    }

    /// Its reply, or a segment of it, has come as the part `index` of a datagram: all
    /// segments in their order, once they are there.
    pub(super) fn gather(
        &mut self,
        segment: Option<Segment>,
        (datagram, index): (&Datagram, usize),
    ) -> Option<Vec<(Datagram, usize)>> {
        let Some(segment) = segment else {
            return Some(vec![(datagram.clone(), index)]);
        };
        if self.segments.len() < SEGMENTS {
            self.segments
                .insert(segment.number, (datagram.clone(), index));
        }
        if segment.last {
            self.last_segment = Some(segment.number);
        }
        let all = self.last_segment.map(usize::from) == Some(self.segments.len());
        all.then(|| self.segments.values().cloned().collect())
    }
}

/// What it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OwnPurpose {
    /// A call's.
    Call(u32),
    /// A command of the VM's that goes again; its replies are the VM's.
    Reissue(u32),
}

/// A datagram that waits for thin clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) datagram: Datagram,
    /// Ids of its requests.
    pub(super) ids: Vec<u32>,
    /// The calls that it waits for.
    pub(super) calls: Vec<u32>,
}

/// A user of the gateway's, who is in no call.
#[derive(Debug, Clone)]
struct User {
    /// The termination.
    name: Name,
    /// Has picked up without being rung; false: is rung.
    calls: bool,
    /// How long that says who calls.
    until: Time,
}

/// A connection that is no call's.
#[derive(Debug, Clone)]
struct Known {
    place: Place,
    stream: u16,
    before: Before,
}

/// What is remembered about one call, to be kept.
#[derive(Debug, Serialize)]
pub(super) struct About<'a> {
    transactions: Vec<(Time, Side, u32, &'a Transaction)>,
    own: Vec<(Time, u32, &'a Own)>,
    held: Vec<&'a Held>,
}

/// [`About`] read again.
#[derive(Debug, Deserialize)]
pub(super) struct KeptAbout {
    transactions: Vec<(Time, Side, u32, Transaction)>,
    own: Vec<(Time, u32, Own)>,
    held: Vec<Held>,
}

impl About<'_> {
    /// Ids of the commands of our own.
    pub(super) fn own_ids(&self) -> impl Iterator<Item = u32> {
        self.own.iter().map(|(_, id, _)| *id)
    }
}

impl Transaction {
    /// The calls that it is about.
    pub(super) fn calls(&self) -> impl Iterator<Item = u32> {
        let calls = self.asked.iter().flat_map(|wanted| &wanted.calls);
        calls.map(|(_, call)| *call)
    }
}

impl Line {
    pub(super) fn new(codec: &'static dyn Codec) -> Self {
        Self {
            codec,
            transactions: HashMap::new(),
            expiry: VecDeque::new(),
            by_call: HashMap::new(),
            own: BTreeMap::new(),
            own_expiry: VecDeque::new(),
            held: VecDeque::new(),
            connections: VecDeque::new(),
            users: VecDeque::new(),
        }
    }

    /// Whether nothing is remembered.
    pub(super) fn is_idle(&self) -> bool {
        self.transactions.is_empty()
            && self.own.is_empty()
            && self.held.is_empty()
            && self.connections.is_empty()
            && self.users.is_empty()
    }

    /// How much is remembered.
    pub(super) fn held(&self) -> usize {
        self.expiry.len() + self.own_expiry.len() + self.held.len() + self.connections.len()
    }

    // --- transactions -----------------------------------------------------

    pub(super) fn transaction(&mut self, asker: Side, id: u32) -> Option<&mut Transaction> {
        self.transactions.get_mut(&(asker, id))
    }

    /// A request has gone its way.
    pub(super) fn note(&mut self, now: Time, asker: Side, id: u32, transaction: Transaction) {
        let until = now + REMEMBERED;
        self.find_by_call(until, (asker, id), &transaction);
        self.transactions.insert((asker, id), transaction);
        self.expiry.push_back((until, asker, id));
    }

    fn find_by_call(&mut self, until: Time, (asker, id): (Side, u32), of: &Transaction) {
        for call in of.calls() {
            let known = self.by_call.entry(call).or_default();
            if !known.contains(&(until, asker, id)) {
                known.push((until, asker, id));
            }
        }
    }

    /// Forgets what is old; what the VM asked and was never replied to is returned.
    pub(super) fn expire(&mut self, now: Time) -> Vec<(u32, Transaction)> {
        let mut unanswered = Vec::new();
        while let Some((at, asker, id)) = self.expiry.front().copied() {
            if at > now && self.expiry.len() <= TRANSACTIONS {
                break;
            }
            self.expiry.pop_front();
            let old = self.transactions.remove(&(asker, id));
            for call in old.iter().flat_map(Transaction::calls) {
                if let Some(known) = self.by_call.get_mut(&call) {
                    known.retain(|known| *known != (at, asker, id));
                    if known.is_empty() {
                        self.by_call.remove(&call);
                    }
                }
            }
            // While it is remembered, its id is no new one's.
            if let Some(old) = old
                && !old.replied.complete
                && asker == Side::Vm
            {
                unanswered.push((id, old));
            }
        }
        while let Some((at, id)) = self.own_expiry.front().copied() {
            if at > now && self.own_expiry.len() <= TRANSACTIONS {
                break;
            }
            self.own_expiry.pop_front();
            self.own.remove(&id);
        }
        while self.users.pop_front_if(|user| user.until <= now).is_some() {}
        unanswered
    }

    /// When something will be old.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        let transactions = self.expiry.front().map(|(at, ..)| *at);
        let own = self.own_expiry.front().map(|(at, _)| *at);
        let users = self.users.front().map(|user| user.until);
        [transactions, own, users].into_iter().flatten().min()
    }

    // --- commands of our own ----------------------------------------------

    /// An id for a command of our own: half of all ids away from the VM's last for the
    /// same call, and none that is remembered. Who counts up, as every sender does,
    /// needs that many transactions to come near it.
    pub(super) fn own_id(&self, last: u32) -> u32 {
        let largest = self.codec.largest_id();
        let mut id = last;
        let mut step = largest / 2;
        loop {
            // 1 to the largest, around the end.
            let room = largest - id.min(largest);
            id = if step <= room { id + step } else { step - room };
            if !self.own.contains_key(&id) && !self.transactions.contains_key(&(Side::Vm, id)) {
                return id;
            }
            step = 1;
        }
    }

    pub(super) fn note_own(&mut self, now: Time, id: u32, own: Own) {
        self.own.insert(id, own);
        self.own_expiry.push_back((now + REMEMBERED * 2, id));
    }

    pub(super) fn own(&mut self, id: u32) -> Option<&mut Own> {
        self.own.get_mut(&id)
    }

    // --- what outlives a run ----------------------------------------------

    /// All that is about a call.
    pub(super) fn about(&self, call: u32) -> About<'_> {
        let known = self.by_call.get(&call).into_iter().flatten();
        let transactions: Vec<_> = known
            .filter_map(|(until, asker, id)| {
                let transaction = self.transactions.get(&(*asker, *id))?;
                Some((*until, *asker, *id, transaction))
            })
            .collect();
        let is_own = |own: &Own| match own.purpose {
            OwnPurpose::Call(of) => of == call,
            OwnPurpose::Reissue(of) => transactions
                .iter()
                .any(|(_, asker, id, _)| *asker == Side::Vm && *id == of),
        };
        let own = self.own_expiry.iter().filter_map(|(until, id)| {
            let own = self.own.get(id).filter(|own| is_own(own))?;
            Some((*until, *id, own))
        });
        let held = self.held.iter().filter(|held| held.calls.contains(&call));
        About {
            own: own.collect(),
            held: held.collect(),
            transactions,
        }
    }

    /// Goes on with what an earlier run knew of a call; what several calls share comes
    /// with each of them.
    pub(super) fn restore(&mut self, kept: KeptAbout) {
        for (until, asker, id, transaction) in kept.transactions {
            self.find_by_call(until, (asker, id), &transaction);
            if self.transactions.insert((asker, id), transaction).is_none() {
                let at = self.expiry.partition_point(|(other, ..)| *other <= until);
                self.expiry.insert(at, (until, asker, id));
            }
        }
        for (until, id, own) in kept.own {
            if self.own.insert(id, own).is_none() {
                let at = self
                    .own_expiry
                    .partition_point(|(other, _)| *other <= until);
                self.own_expiry.insert(at, (until, id));
            }
        }
        for held in kept.held {
            if !held.ids.iter().all(|id| self.is_held(*id)) {
                self.held.push_back(held);
            }
        }
    }

    // --- datagrams that wait ----------------------------------------------

    pub(super) fn is_held(&self, id: u32) -> bool {
        self.held.iter().any(|held| held.ids.contains(&id))
    }

    /// False: too many wait.
    pub(super) fn hold(&mut self, held: Held) -> bool {
        let room = self.held.len() < HELD;
        if room {
            self.held.push_back(held);
        }
        room
    }

    // --- connections that are no call's -----------------------------------

    /// The gateway has made or changed a connection that is no call's.
    pub(super) fn know(&mut self, place: Place, stream: u16, before: Before) {
        let known = self
            .connections
            .iter_mut()
            .find(|known| known.stream == stream && is_at(&known.place, &place));
        match known {
            Some(known) => {
                known.before.local = before.local.or(known.before.local.take());
                known.before.mode = before.mode.or(known.before.mode);
            }
            None => {
                if self.connections.len() >= CONNECTIONS {
                    self.connections.pop_front();
                }
                self.connections.push_back(Known {
                    place,
                    stream,
                    before,
                });
            }
        }
    }

    /// A connection becomes a call's.
    pub(super) fn take_known(&mut self, place: &Place, stream: u16) -> Option<(Place, Before)> {
        let at = self
            .connections
            .iter()
            .position(|known| known.stream == stream && is_at(&known.place, place))?;
        let known = self.connections.remove(at)?;
        Some((known.place, known.before))
    }

    /// Connections have ended.
    pub(super) fn forget_connections(&mut self, at: &Place) {
        self.connections.retain(|known| !selects(at, &known.place));
        self.forget_users(&at.termination);
    }

    // --- who calls --------------------------------------------------------

    /// A user of the gateway's has picked up, and is in no call: who was rung answers,
    /// who was not calls (602).
    pub(super) fn picks_up(&mut self, now: Time, termination: &Name) {
        let before = self.users.iter().position(|user| user.name == *termination);
        let before = before.and_then(|at| self.users.remove(at));
        let rung = before.is_some_and(|user| !user.calls);
        if !rung {
            self.note_user(now, termination, true);
        }
    }

    /// A user of the gateway's is called.
    pub(super) fn is_rung(&mut self, now: Time, terminations: &Selector) {
        self.forget_users(terminations);
        if let Some(name) = terminations.one() {
            self.note_user(now, name, false);
        }
    }

    fn note_user(&mut self, now: Time, name: &Name, calls: bool) {
        if self.users.len() >= CONNECTIONS {
            self.users.pop_front();
        }
        self.users.push_back(User {
            name: name.clone(),
            calls,
            until: now + DIALLING,
        });
    }

    fn forget_users(&mut self, terminations: &Selector) {
        self.users.retain(|user| !terminations.selects(&user.name));
    }

    /// Whether a termination's user calls.
    pub(super) fn is_calling(&self, termination: &Selector) -> bool {
        let name = termination.one();
        let mut calling = self.users.iter().filter(|user| user.calls);
        name.is_some_and(|name| calling.any(|user| user.name == *name))
    }
}

/// Whether a place that a request names is that of a connection: named exactly.
pub(super) fn is_at(known: &Place, named: &Place) -> bool {
    let same = |known: &Selector, named: &Selector| match (known.one(), named.one()) {
        (Some(known), Some(named)) => known == named,
        // MGCP names a connection by its id, H.248 has none.
        (None, None) => true,
        _ => false,
    };
    named.termination.one().is_some()
        && same(&known.termination, &named.termination)
        && same(&known.connection, &named.connection)
}

/// Whether a place that a request names, with wildcards or not, has a connection in
/// it.
pub(super) fn selects(named: &Place, known: &Place) -> bool {
    let has = |named: &Selector, known: &Selector| match known.one() {
        Some(known) => named.selects(known),
        None => !matches!(named, Selector::One(_)),
    };
    has(&named.termination, &known.termination)
        && has(&named.connection, &known.connection)
        && has(&named.context, &known.context)
}
