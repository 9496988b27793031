//! What outlives a run: each call with its legs, each registration, and the
//! numbers that go on.
//!
//! In: nothing but what the engine is. Out: entries, each a key and bytes, that
//! the daemon stores before it does what the engine says ([`Engine::take_journal`])
//! and gives to the next run ([`Engine::restore`]).
//!
//! What an entry holds is a [`Value`]. One that cannot be read is left out: its call
//! goes on as one that was never seen (`already-up`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::value::{Reader, Value};
use super::{Datapath, Engine, Output};
use crate::bypass::flows::Anchor;
use crate::call::Call;
use crate::control;
use crate::registrar::{self, Binding};
use crate::tc::{self, KeptLegs, LegId};
use crate::time::Time;

/// What an entry is about. As text, `calls/7`, `clients/tc17` and `numbers`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Numbers that go on; read first.
    Numbers,
    /// A call, by its number.
    Call(u32),
    /// A registration, by its user.
    Client(String),
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub key: Key,
    /// What is to be kept of it; `None`: nothing any more.
    pub value: Option<Value>,
}

/// What [`Engine::restore`] has made of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Calls that go on.
    pub calls: usize,
    /// Registrations that go on.
    pub clients: usize,
    /// Entries that could not be read, or whose VM or account is not configured
    /// any more.
    pub left_out: usize,
}

/// What has changed since the last look.
#[derive(Debug, Default)]
pub(super) struct Journal {
    calls: BTreeSet<u32>,
    numbers: Option<(u32, tc::Numbers)>,
}

/// A call; its legs follow it.
#[derive(Serialize)]
enum CallEntry<'a> {
    Sip(&'a Call),
    Control(control::CallEntry<'a>),
}

/// A call of an earlier run: a [`CallEntry`] read again.
#[derive(Deserialize)]
enum KeptCall {
    Sip(Box<Call>),
    Control(Box<control::KeptCall>),
}

#[derive(Serialize, Deserialize)]
struct Numbers {
    next_call: u32,
    next_anchor: u16,
    drawn: u64,
    legs: tc::Numbers,
    registrations: registrar::Numbers,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers => f.write_str("numbers"),
            Self::Call(id) => write!(f, "calls/{id}"),
            Self::Client(user) => write!(f, "clients/{user}"),
        }
    }
}

/// A key that is none of this version's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key of the journal")]
pub struct UnknownKey(String);

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let unknown = || UnknownKey(text.to_owned());
        match text.split_once('/') {
            None if text == "numbers" => Ok(Self::Numbers),
            Some(("calls", id)) => id.parse().map(Self::Call).map_err(|_| unknown()),
            Some(("clients", user)) => Ok(Self::Client(user.to_owned())),
            _ => Err(unknown()),
        }
    }
}

impl Journal {
    /// A call has changed.
    pub(super) fn touch(&mut self, call: u32) {
        self.calls.insert(call);
    }

    pub(super) fn is_touched(&self, call: u32) -> bool {
        self.calls.contains(&call)
    }

    /// Its change is not worth an entry.
    pub(super) fn pass_over(&mut self, call: u32) {
        self.calls.remove(&call);
    }
}

impl Engine {
    /// From now on changes are kept for [`Engine::take_journal`].
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// What is to be stored before any output that waits is done: the entries of
    /// what has been touched since the last time, which may be what they were.
    /// Without [`Engine::keep_journal`], none.
    pub fn take_journal(&mut self) -> Vec<Entry> {
        let legs = self.tc.take_touched();
        let control = self.control.take_touched();
        let clients = self.registrar.take_touched();
        let Some(mut journal) = self.journal.take() else {
            return Vec::new();
        };
        journal.calls.extend(legs.into_iter().map(|leg| leg.0));
        journal.calls.extend(control);
        let mut entries = Vec::new();
        let numbers = Some((self.next_call, self.tc.numbers()));
        if journal.numbers != numbers && (!journal.calls.is_empty() || !clients.is_empty()) {
            journal.numbers = numbers;
            entries.push(self.numbers_entry());
        }
        let calls = std::mem::take(&mut journal.calls).into_iter();
        entries.extend(calls.map(|id| self.call_entry(id)));
        entries.extend(clients.into_iter().map(|user| self.client_entry(user)));
        self.journal = Some(journal);
        entries
    }

    /// Everything that outlives a run, as entries.
    pub fn snapshot(&self) -> Vec<Entry> {
        let mut calls: Vec<u32> = self.calls.keys().copied().collect();
        calls.extend(self.control.ids());
        calls.sort_unstable();
        let clients = self.registrar.users().map(str::to_owned);
        [self.numbers_entry()]
            .into_iter()
            .chain(calls.into_iter().map(|id| self.call_entry(id)))
            .chain(clients.map(|user| self.client_entry(user)))
            .filter(|entry| entry.value.is_some())
            .collect()
    }

    /// Goes on with what an earlier run has stored, all in all; to be called
    /// before anything else. Nothing is put out: see [`Engine::renew_flows`].
    pub fn restore(&mut self, now: Time, entries: &[(Key, Vec<u8>)]) -> Restored {
        let mut restored = Restored::default();
        for (key, value) in entries {
            let (count, done) = match key {
                Key::Numbers => (None, self.restore_numbers(value)),
                Key::Call(_) => (Some(&mut restored.calls), self.restore_call(now, value)),
                Key::Client(_) => {
                    let binding = Reader::new(value).next::<Binding>();
                    let done = binding.is_some_and(|binding| {
                        let resumed = self.registrar.restore(now, binding.clone());
                        if resumed {
                            self.tc.resume(now, &binding);
                        }
                        resumed
                    });
                    (Some(&mut restored.clients), done)
                }
            };
            match (done, count) {
                (true, Some(count)) => *count += 1,
                (true, None) => {}
                (false, _) => restored.left_out += 1,
            }
        }
        restored
    }

    /// Tells the datapath the flows of all calls: what an earlier run did last may
    /// not have been done.
    pub fn renew_flows(&mut self) {
        let mut calls: Vec<(u32, Vec<super::Flow>)> = self
            .calls
            .iter()
            .filter_map(|(id, call)| Some((*id, call.flows()?)))
            .chain(self.control.flows())
            .map(|(id, flows)| (id, flows.to_vec()))
            .collect();
        calls.sort_unstable_by_key(|(id, _)| *id);
        for (call, flows) in calls {
            self.output
                .push_back(Output::Datapath(Datapath::Set { call, flows }));
        }
    }

    fn numbers_entry(&self) -> Entry {
        let numbers = Numbers {
            next_call: self.next_call,
            next_anchor: self.anchors.next(),
            drawn: self.identifiers.drawn(),
            legs: self.tc.numbers(),
            registrations: self.registrar.numbers(),
        };
        Entry {
            key: Key::Numbers,
            value: encoded(&numbers),
        }
    }

    fn call_entry(&self, id: u32) -> Entry {
        let call = match self.calls.get(&id) {
            Some(call) => Some(CallEntry::Sip(call)),
            None => self.control.entry(id).map(CallEntry::Control),
        };
        let value = call.and_then(|call| {
            let mut value = Value::default();
            let whole = value.add(&call) && value.add(&self.tc.entries(LegId(id)));
            whole.then_some(value)
        });
        Entry {
            key: Key::Call(id),
            value,
        }
    }

    fn client_entry(&self, user: String) -> Entry {
        let value = self.registrar.binding_of(&user).and_then(encoded);
        Entry {
            key: Key::Client(user),
            value,
        }
    }

    fn restore_numbers(&mut self, value: &[u8]) -> bool {
        let Some(numbers) = Reader::new(value).next::<Numbers>() else {
            return false;
        };
        self.next_call = self.next_call.max(numbers.next_call);
        self.anchors.go_on(numbers.next_anchor);
        self.identifiers.skip_to(numbers.drawn);
        self.tc.restore_numbers(numbers.legs);
        self.registrar.restore_numbers(numbers.registrations);
        true
    }

    fn restore_call(&mut self, now: Time, value: &[u8]) -> bool {
        let mut reader = Reader::new(value);
        let (Some(call), Some(legs)) = (reader.next::<KeptCall>(), reader.next::<KeptLegs>())
        else {
            return false;
        };
        let restored = match call {
            KeptCall::Sip(call) => self.restore_sip(now, *call),
            KeptCall::Control(call) => self.restore_control(now, *call),
        };
        let Some((id, anchor)) = restored else {
            return false;
        };
        self.next_call = self.next_call.max(id.saturating_add(1));
        if let Some(anchor) = anchor {
            self.anchors.restore(anchor);
        }
        self.tc.restore(now, legs);
        true
    }

    fn restore_sip(&mut self, now: Time, call: Call) -> Option<(u32, Option<Anchor>)> {
        let address = call.vm_address().into();
        let vm = *self.by_address.get(&address)?;
        let call = call.restored(now, vm);
        let (id, anchor) = (call.id(), call.anchor());
        self.by_call_id.insert(call.key(), id);
        self.deadlines.set(&id, call.next_timeout());
        self.occupancy.set(id, vm, call.may_go());
        self.calls.insert(id, Box::new(call));
        Some((id, anchor))
    }

    fn restore_control(
        &mut self,
        now: Time,
        call: control::KeptCall,
    ) -> Option<(u32, Option<Anchor>)> {
        let vm = *self.by_address.get(&call.vm_address())?;
        Some(self.control.restore(now, vm, call))
    }
}

fn encoded(kept: &impl Serialize) -> Option<Value> {
    let mut value = Value::default();
    value.add(kept).then_some(value)
}
