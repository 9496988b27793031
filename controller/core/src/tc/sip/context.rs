//! What all legs share: transactions, identifiers, the way out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::leg::{Leg, Stage};
use crate::engine::{Datagram, Side};
use crate::sip::identifiers::Identifiers;
use crate::sip::transaction::{Addresses, ClientKey, ServerKey, Transactions};
use crate::sip::{Message, Method, Name, ResponseBuilder};
use crate::tc::{LegId, TcEvent, TcOutput};
use crate::time::Time;

/// The methods that a thin client may send to us.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS, INFO, MESSAGE, NOTIFY";

/// A leg, whatever its caller has numbered it: a caller's number may be used
/// again while the dialog before still ends.
pub(super) type Serial = u64;

/// What a request of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// INVITE or re-INVITE of this CSeq number.
    Invite(u32),
    /// CANCEL or BYE: its answer changes nothing.
    End,
}

/// A request of a thin client that waits for its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Incoming {
    pub(super) key: ServerKey,
    /// With `received` and `rport` in its Via.
    pub(super) request: Message,
}

#[derive(Debug)]
pub(super) struct Context {
    pub(super) answer_timeout: Duration,
    pub(super) identifiers: Identifiers,
    pub(super) transactions: Transactions<(Serial, Purpose)>,
    pub(super) output: VecDeque<TcOutput>,
    /// Transactions of each leg.
    pub(super) owned: BTreeMap<Serial, Owned>,
}

/// Keys of a leg's transactions, also of some that are over.
#[derive(Debug, Clone, Default)]
pub(super) struct Owned {
    pub(super) clients: Vec<ClientKey>,
    pub(super) servers: Vec<ServerKey>,
}

/// Keys remembered of a leg before those that are over are looked for.
const OWNED: usize = 16;
/// Transactions of a leg in each direction that are remembered. Beyond, the oldest of
/// ours that is answered goes before its time, and the peer's requests are refused
/// without state.
const TRANSACTIONS: usize = 200;

impl Context {
    /// Sends a request of a leg in a transaction of its own.
    pub(super) fn request(
        &mut self,
        now: Time,
        key: ClientKey,
        addresses: Addresses,
        request: Vec<u8>,
        user: (Serial, Purpose),
    ) {
        let owned = &mut self.owned.entry(user.0).or_default().clients;
        if owned.len() >= OWNED {
            owned.retain(|key| self.transactions.has_client(key));
        }
        if owned.len() >= TRANSACTIONS {
            let answered = |key: &ClientKey| !self.transactions.is_pending(key);
            let oldest = owned.iter().position(answered).unwrap_or(0);
            self.transactions.abandon(&owned.remove(oldest));
        }
        owned.push(key.clone());
        self.transactions.send(now, key, addresses, request, user);
    }

    /// A request of a leg's peer has begun a transaction.
    pub(super) fn requested(&mut self, serial: Serial, key: ServerKey) {
        let owned = &mut self.owned.entry(serial).or_default().servers;
        if owned.len() >= OWNED {
            owned.retain(|key| self.transactions.has_server(key));
        }
        owned.push(key);
    }

    /// Whether a request of a leg's peer is one too many to be remembered: with what
    /// it is answered then, without state. A BYE is heard as long as the leg stands.
    pub(super) fn is_flooded(&mut self, leg: &Leg, request: &Message) -> Option<u16> {
        let owned = &mut self.owned.get_mut(&leg.serial)?.servers;
        if owned.len() < TRANSACTIONS || !self.transactions.would_begin(request) {
            return None;
        }
        owned.retain(|key| self.transactions.has_server(key));
        let is_over = matches!(leg.stage, Stage::Over { .. });
        match request.method() {
            _ if owned.len() < TRANSACTIONS => None,
            Method::Bye if is_over => Some(200),
            Method::Bye => None,
            _ => Some(503),
        }
    }

    /// Forgets the transactions of a leg before their time.
    pub(super) fn abandon(&mut self, serial: Serial) {
        let owned = self.owned.remove(&serial).unwrap_or_default();
        for key in owned.clients {
            self.transactions.abandon(&key);
        }
        for key in owned.servers {
            self.transactions.abandon_server(&key);
        }
    }

    /// Sends outside of the transactions: an ACK, a response without state.
    pub(super) fn send(&mut self, addresses: Addresses, payload: Vec<u8>) {
        self.flush();
        self.output.push_back(datagram(addresses, payload));
    }

    /// Moves what the transactions want sent to the output, in order.
    pub(super) fn flush(&mut self) {
        while let Some((addresses, payload)) = self.transactions.poll_outgoing() {
            self.output.push_back(datagram(addresses, payload));
        }
    }

    /// Tells the caller of a leg, if it still has one.
    pub(super) fn tell(&mut self, leg: Option<LegId>, event: TcEvent) {
        self.flush();
        if let Some(leg) = leg {
            self.output.push_back(TcOutput::Event(leg, event));
        }
    }

    /// Answers a request with a plain status.
    pub(super) fn respond(&mut self, now: Time, incoming: &Incoming, status: u16) {
        let response = plain(&incoming.request, status, None);
        self.transactions
            .respond(now, &incoming.key, status, response.build());
    }
}

/// A response without a body, with what its status demands.
pub(super) fn plain(request: &Message, status: u16, to_tag: Option<&str>) -> ResponseBuilder {
    let response = ResponseBuilder::new(request, status, to_tag);
    match status {
        200 | 405 | 501 => response.typed(rsip::headers::Allow::from(ALLOW)),
        415 => response.typed(rsip::headers::Accept::from("application/sdp")),
        420 => {
            let unknown: Vec<&[u8]> = request.headers(Name::REQUIRE).collect();
            response.header(Name::UNSUPPORTED, unknown.join(b", ".as_slice()))
        }
        _ => response,
    }
}

fn datagram(addresses: Addresses, payload: Vec<u8>) -> TcOutput {
    TcOutput::Send(Datagram {
        side: Side::Net,
        transport: addresses.transport,
        src: addresses.local,
        dst: addresses.remote,
        payload,
    })
}

/// The session description of a message, if it has one that can be read.
pub(super) fn sdp_of(message: &Message) -> Option<Vec<u8>> {
    match message.sdp() {
        Some(Ok(_)) => Some(message.body().to_vec()),
        _ => None,
    }
}
