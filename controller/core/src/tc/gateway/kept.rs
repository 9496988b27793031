//! Legs taken out to be kept, and put in again by the next run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::agent::{Agent, Purpose};
use super::leg::Leg;
use super::legs::Serial;
use super::wire::Wire;
use crate::control::requests::{GIVEN_UP, Waiting};
use crate::tc::LegId;
use crate::time::Time;

/// A leg as it is kept for the next run. Of a reply in segments those that have come
/// are not: its command is given up, as if nothing had come.
#[derive(Debug, Serialize)]
pub(in crate::tc) struct LegEntry<'a, H> {
    serial: Serial,
    /// User name of its thin client.
    user: &'a str,
    leg: &'a Leg<H>,
    /// Its command under way, by its transaction.
    requests: Vec<(u32, &'a Waiting)>,
}

/// A leg of an earlier run: a [`LegEntry`] read again.
#[derive(Debug, Deserialize)]
pub(in crate::tc) struct KeptLeg<H> {
    serial: Serial,
    user: String,
    leg: Leg<H>,
    requests: Vec<(u32, Waiting)>,
}

/// What is counted up over all legs of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::tc) struct Numbers {
    legs: (Serial, u64),
    transaction: u32,
    drawn: u64,
}

impl<W: Wire> Agent<W> {
    /// Calls whose legs have changed since this was asked last.
    pub(in crate::tc) fn take_touched(&mut self) -> BTreeSet<LegId> {
        self.legs.take_touched()
    }

    /// The legs with this number.
    pub(in crate::tc) fn entries(&self, number: LegId) -> Vec<LegEntry<'_, W::Handle>> {
        let legs = self.legs.entries(number);
        legs.filter_map(|(serial, leg)| {
            let client = self.clients.get(leg.client)?;
            let of_leg = |purpose: &Purpose| *purpose == Purpose::Leg(serial);
            // Few are under way at once.
            let requests = self.purposes.iter();
            let requests = requests.filter(|(_, (_, purpose))| of_leg(purpose));
            Some(LegEntry {
                serial,
                user: &client.user,
                leg,
                requests: requests
                    .filter_map(|(id, _)| Some((*id, self.requests.waiting(id)?)))
                    .collect(),
            })
        })
        .collect()
    }

    /// Goes on with a leg of an earlier run. Its thin client has to be heard of soon.
    pub(in crate::tc) fn restore(&mut self, now: Time, kept: KeptLeg<W::Handle>) {
        self.now = now;
        let index = self.clients.iter().position(|c| c.user == kept.user);
        self.legs.restore(kept.serial, index, kept.leg);
        let Some(index) = index else {
            return;
        };
        for (transaction, waiting) in kept.requests {
            let purpose = Purpose::Leg(kept.serial);
            self.purposes.insert(transaction, (index, purpose));
            self.requests.restore(transaction, waiting);
        }
        if self.clients.get(index).is_some_and(|c| c.place.is_none()) {
            self.audits.set(&index, Some(now + GIVEN_UP));
        }
    }

    pub(in crate::tc) fn numbers(&self) -> Numbers {
        Numbers {
            legs: self.legs.numbers(),
            transaction: self.last_transaction,
            drawn: self.wire.drawn(),
        }
    }

    pub(in crate::tc) fn restore_numbers(&mut self, numbers: Numbers) {
        self.legs.restore_numbers(numbers.legs);
        self.wire.skip_to(numbers.drawn);
        if numbers.transaction > 0 {
            self.last_transaction = numbers.transaction;
        }
    }
}
