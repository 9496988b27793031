//! All legs with the thin clients of one protocol.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::leg::{Command, Leg};
use super::{Hook, Outcome};
use crate::deadlines::Deadlines;
use crate::sip::identifiers::Identifiers;
use crate::tc::{CallProgress, LegId, TcEvent};
use crate::time::Time;

/// A leg, whatever its caller has numbered it: a caller's number may be used
/// again while the leg before still ends.
pub(in crate::tc) type Serial = u64;

/// A command that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tc) struct Due<H> {
    /// Which leg's.
    pub(in crate::tc) leg: Serial,
    /// Index of its thin client.
    pub(in crate::tc) client: usize,
    /// What the gateway calls the leg; `None` for a Create.
    pub(in crate::tc) handle: Option<H>,
    /// The command.
    pub(in crate::tc) command: Command,
    /// Without signals and events, which the gateway has not.
    pub(in crate::tc) mute: bool,
}

/// All legs.
#[derive(Debug)]
pub(in crate::tc) struct Legs<H> {
    answer_timeout: Duration,
    /// Whether events are to be asked for again when one has happened.
    rearms: bool,
    identifiers: Identifiers,
    legs: BTreeMap<Serial, Leg<H>>,
    by_id: BTreeMap<LegId, Serial>,
    /// All legs of a number, also those that still end.
    by_number: BTreeMap<LegId, BTreeSet<Serial>>,
    by_client: BTreeMap<usize, BTreeSet<Serial>>,
    /// Legs that may have a command due.
    due: BTreeSet<Serial>,
    wakes: Deadlines<Serial>,
    next: Serial,
    events: VecDeque<(LegId, TcEvent)>,
    /// Calls whose legs have changed since [`Self::take_touched`].
    touched: BTreeSet<LegId>,
}

impl<H: Clone> Legs<H> {
    /// No leg yet. `rearms`: events have to be asked for again when one has
    /// happened.
    pub(in crate::tc) fn new(
        answer_timeout: Duration,
        rearms: bool,
        identifiers: Identifiers,
    ) -> Self {
        Self {
            answer_timeout,
            rearms,
            identifiers,
            legs: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_number: BTreeMap::new(),
            by_client: BTreeMap::new(),
            due: BTreeSet::new(),
            wakes: Deadlines::default(),
            next: 0,
            events: VecDeque::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Calls a thin client.
    pub(in crate::tc) fn invite(
        &mut self,
        now: Time,
        id: LegId,
        client: usize,
        offer: Option<&[u8]>,
    ) {
        let serial = self.next;
        self.next += 1;
        let session = self.identifiers.below(u32::MAX);
        let leg = Leg::new(id, client, session, offer, now + self.answer_timeout);
        self.by_id.insert(id, serial);
        self.insert(serial, leg);
    }

    fn insert(&mut self, serial: Serial, leg: Leg<H>) {
        let number = self.by_number.entry(leg.number).or_default();
        number.insert(serial);
        self.by_client.entry(leg.client).or_default().insert(serial);
        self.legs.insert(serial, leg);
        self.settle(serial, None);
    }

    // --- what outlives a run ------------------------------------------------

    /// Calls whose legs have changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> BTreeSet<LegId> {
        std::mem::take(&mut self.touched)
    }

    /// Something that is kept with a leg has changed.
    pub(super) fn touch(&mut self, serial: Serial) {
        self.touched
            .extend(self.legs.get(&serial).map(|leg| leg.number));
    }

    /// The legs of a number: the one that stands, and those that still end.
    pub(super) fn entries(&self, number: LegId) -> impl Iterator<Item = (Serial, &Leg<H>)> {
        let serials = self.by_number.get(&number).into_iter().flatten();
        serials.filter_map(|serial| Some((*serial, self.legs.get(serial)?)))
    }

    /// Goes on with a leg of an earlier run. Without its thin client (its index) it is
    /// lost.
    pub(super) fn restore(&mut self, serial: Serial, client: Option<usize>, mut leg: Leg<H>) {
        self.next = self.next.max(serial + 1);
        leg.client = client.unwrap_or(usize::MAX);
        if leg.id.is_some() {
            self.by_id.insert(leg.number, serial);
        }
        self.insert(serial, leg);
        if client.is_none() {
            self.lost(usize::MAX);
        }
    }

    /// What is counted up.
    pub(super) fn numbers(&self) -> (Serial, u64) {
        (self.next, self.identifiers.drawn())
    }

    pub(super) fn restore_numbers(&mut self, (next, drawn): (Serial, u64)) {
        self.next = self.next.max(next);
        self.identifiers.skip_to(drawn);
    }

    /// How many there are, those that still end among them.
    pub(in crate::tc) fn len(&self) -> usize {
        self.legs.len()
    }

    /// How many of a thin client (its index) are not over.
    pub(in crate::tc) fn standing(&self, client: usize) -> usize {
        self.of(client)
            .filter_map(|serial| self.legs.get(&serial))
            .filter(|leg| leg.id.is_some())
            .count()
    }

    /// The answer to the thin client's offer.
    pub(in crate::tc) fn ack(&mut self, id: LegId, answer: Option<&[u8]>) {
        self.with(id, |leg| {
            leg.ack(answer);
            None
        });
    }

    /// A new offer.
    pub(in crate::tc) fn offer(&mut self, id: LegId, offer: &[u8]) {
        self.with(id, |leg| {
            leg.offer(offer);
            None
        });
    }

    /// What the call machine says to a change of the thin client's.
    pub(in crate::tc) fn answer(&mut self, now: Time, id: LegId, answer: Result<&[u8], u16>) {
        self.with(id, |leg| leg.answer(now, answer));
    }

    /// How far the call is.
    pub(in crate::tc) fn progress(&mut self, id: LegId, progress: CallProgress) {
        self.with(id, |leg| {
            leg.progress(progress);
            None
        });
    }

    /// The caller has done with the leg.
    pub(in crate::tc) fn bye(&mut self, id: LegId) {
        self.with(id, |leg| {
            leg.over();
            None
        });
    }

    /// The next command that is due; it is under way from now on. A thin client's
    /// new leg waits until its former one is deleted: it has one telephone.
    pub(in crate::tc) fn command(&mut self) -> Option<Due<H>> {
        for serial in self.due.clone() {
            let Some(leg) = self.legs.get(&serial) else {
                self.due.remove(&serial);
                continue;
            };
            if leg.is_new() && self.is_taken(leg.client) {
                continue;
            }
            self.due.remove(&serial);
            let Some(leg) = self.legs.get_mut(&serial) else {
                continue;
            };
            if let Some(command) = leg.command() {
                self.touched.insert(leg.number);
                return Some(Due {
                    leg: serial,
                    client: leg.client,
                    handle: leg.handle.clone(),
                    mute: leg.is_mute(),
                    command,
                });
            }
        }
        None
    }

    /// Whether a leg of this thin client is yet to be deleted.
    fn is_taken(&self, client: usize) -> bool {
        let legs = self.of(client);
        legs.filter_map(|serial| self.legs.get(&serial))
            .any(|leg| leg.id.is_none() && leg.is_held())
    }

    /// What has come of a leg's command.
    pub(in crate::tc) fn outcome(&mut self, serial: Serial, outcome: Outcome<H>) {
        let event = self
            .legs
            .get_mut(&serial)
            .and_then(|leg| leg.outcome(outcome));
        self.settle(serial, event);
    }

    /// What a thin client's user did: in every leg that it has, since it has one
    /// telephone.
    pub(in crate::tc) fn hook(&mut self, client: usize, hook: Hook) {
        let rearms = self.rearms;
        for serial in self.of(client).collect::<Vec<_>>() {
            let event = self
                .legs
                .get_mut(&serial)
                .and_then(|leg| leg.hook(hook, rearms));
            self.settle(serial, event);
        }
    }

    /// A thin client has restarted, or does not answer any more: it has no leg.
    pub(in crate::tc) fn lost(&mut self, client: usize) {
        for serial in self.of(client).collect::<Vec<_>>() {
            if let Some(leg) = self.legs.get_mut(&serial) {
                leg.forget();
            }
            self.settle(serial, Some(TcEvent::Lost));
        }
    }

    /// Runs the timers that have run out by `now`.
    pub(in crate::tc) fn handle_timeout(&mut self, now: Time) {
        while let Some(serial) = self.wakes.take_due(now) {
            let event = self.legs.get_mut(&serial).and_then(|leg| leg.timeout(now));
            self.settle(serial, event);
        }
    }

    /// When the next timer runs out.
    pub(in crate::tc) fn poll_timeout(&self) -> Option<Time> {
        self.wakes.next()
    }

    /// The next event.
    pub(in crate::tc) fn poll_event(&mut self) -> Option<(LegId, TcEvent)> {
        self.events.pop_front()
    }

    fn of(&self, client: usize) -> impl Iterator<Item = Serial> + use<'_, H> {
        self.by_client.get(&client).into_iter().flatten().copied()
    }

    fn with(&mut self, id: LegId, act: impl FnOnce(&mut Leg<H>) -> Option<TcEvent>) {
        let Some(serial) = self.by_id.get(&id).copied() else {
            return;
        };
        let event = self.legs.get_mut(&serial).and_then(act);
        self.settle(serial, event);
    }

    /// After anything has happened to a leg.
    fn settle(&mut self, serial: Serial, event: Option<TcEvent>) {
        let Some(leg) = self.legs.get(&serial) else {
            return;
        };
        let number = leg.number;
        self.touched.insert(number);
        let current = self.by_id.get(&number) == Some(&serial);
        if let Some(event) = event.filter(|_| current) {
            self.events.push_back((number, event));
        }
        if leg.id.is_none() && current {
            self.by_id.remove(&number);
        }
        self.wakes.set(&serial, leg.wake());
        self.due.insert(serial);
        if leg.is_finished() {
            let client = leg.client;
            self.wakes.set(&serial, None);
            self.due.remove(&serial);
            self.legs.remove(&serial);
            if let Some(legs) = self.by_client.get_mut(&client) {
                legs.remove(&serial);
            }
            if let Some(legs) = self.by_number.get_mut(&number) {
                legs.remove(&serial);
                if legs.is_empty() {
                    self.by_number.remove(&number);
                }
            }
        }
    }
}
