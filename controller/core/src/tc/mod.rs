//! The thin client's leg of a call, whatever protocol the thin client speaks.
//!
//! What comes in: what the call machine wants of a leg ([`TcAgent::invite`],
//! [`TcAgent::ack_with`], [`TcAgent::reinvite`], [`TcAgent::answer_reinvite`],
//! [`TcAgent::progress`], [`TcAgent::bye`]), what thin clients send to the
//! registrar's port, and time. What goes out: datagrams, and what has become of
//! each leg.
//!
//! ```text
//!            invite ─► Answered ─► ack_with
//! any time:  reinvite ─► Answered ─► ack_with          (ours)
//!            Reinvite ─► answer_reinvite               (the thin client's)
//!            progress                                  (what its user hears)
//! end:       bye, or Bye, Lost; before the first Answered: Refused, NoAnswer
//! ```
//!
//! Descriptions are SDP in every protocol, offer and answer as RFC 3264 has
//! them; [`Binding::signalling`] says which protocol it is:
//!
//! | here | SIP | H.248 | MGCP |
//! | --- | --- | --- | --- |
//! | `invite` with an offer | INVITE | Add with Remote (606) | CRCX with a description |
//! | `invite` without one | INVITE without a body | Add without Remote (502) | CRCX without one |
//! | `Answered` | 200 | Reply with Local (503, 607) | its response |
//! | `ack_with` an answer | ACK | Modify with Remote (508) | MDCX |
//! | `reinvite` | re-INVITE | Modify with Remote | MDCX |
//! | `Reinvite` | the peer's re-INVITE | a Reply with another Local (509) | a response with another description |
//! | `progress` | nothing | signals cg/rt, al/ri (508, 514, 608) | G/rt, L/rg |
//! | `bye` | BYE, CANCEL | Subtract | DLCX |
//! | `Bye` | the peer's BYE | Notify of al/on | NTFY of L/hu |
//! | `Lost` | 481, no answer | ServiceChange, no reply | RSIP, no response |

mod gateway;
mod h248;
mod mgcp;
mod sip;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::gateway::NotUnderstood;
use crate::engine::{ConnectionId, Datagram, Event, Protocol, ThinClientConfig, VmConfig};
use crate::registrar::{Access, Binding, Signalling};
pub use crate::sip::BRANCH_PREFIX;
use crate::sip::Message;
use crate::sip::transaction::Addresses;
use crate::time::Time;

/// A leg, by the number of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LegId(pub u32);

/// What comes out of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "bindings are rare, and moved once"
)]
pub enum TcOutput {
    /// Send this datagram.
    Send(Datagram),
    /// Something has become of a leg.
    Event(LegId, TcEvent),
    /// A thin client that does not speak SIP takes calls, or goes on doing so.
    Bound(Binding),
    /// Such a thin client takes none any more.
    Unbound {
        /// User name.
        user: String,
    },
    /// For the operator.
    Note(Event),
}

/// What has become of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcEvent {
    /// The thin client rings or says that it works on it; once.
    Ringing,
    /// Our offer, or the wish for one, was answered: the thin client's session
    /// description (step 305, 404, 503, 607). [`TcAgent::ack_with`] is due. Also
    /// the answer that came late to a re-INVITE of the thin client's that had no
    /// description; then nothing is due.
    Answered {
        /// The answer; the offer, where ours had none.
        sdp: Vec<u8>,
    },
    /// The thin client offers other media (step 509 with changed information):
    /// [`TcAgent::answer_reinvite`] is due.
    Reinvite {
        /// Its offer; `None`: it wants ours.
        sdp: Option<Vec<u8>>,
    },
    /// The thin client has said that it gets nothing out of packets of this payload
    /// type (`docs/sip.md`, "Info package").
    Undecodable {
        /// Payload type of what it was sent.
        payload_type: u8,
    },
    /// Our first offer was refused, and the leg is over; or a later one was, and
    /// the leg goes on with the session it had.
    Refused {
        /// Status code as SIP has them: 488 where no codec suits.
        status: u16,
    },
    /// Our first offer was not answered in time, and the leg is over.
    NoAnswer,
    /// The thin client hung up; the leg is over.
    Bye,
    /// The thin client has lost the leg, or does not answer in it; the leg is
    /// over.
    Lost,
}

/// How far the call is with its other party: what the thin client's user is to
/// hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallProgress {
    /// The user is called: the telephone rings (step 608).
    Alerting,
    /// The called party rings: ringback (step 508).
    Ringback,
    /// Neither any more (steps 514, 612).
    Quiet,
}

/// The legs of one call, as they are kept for the next run.
#[derive(Debug, Serialize)]
pub(crate) struct LegEntries<'a> {
    sip: Vec<sip::LegEntry<'a>>,
    h248: Vec<gateway::LegEntry<'a, h248::Context>>,
    mgcp: Vec<gateway::LegEntry<'a, mgcp::Connection>>,
}

/// The legs of one call of an earlier run: [`LegEntries`] read again.
#[derive(Debug, Deserialize)]
pub(crate) struct KeptLegs {
    sip: Vec<sip::KeptLeg>,
    #[serde(default)]
    h248: Vec<gateway::KeptLeg<h248::Context>>,
    #[serde(default)]
    mgcp: Vec<gateway::KeptLeg<mgcp::Connection>>,
}

/// What is counted up over all legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    sip: sip::Numbers,
    #[serde(default)]
    h248: gateway::Numbers,
    #[serde(default)]
    mgcp: gateway::Numbers,
}

/// How much of the thin clients is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// Legs, with what of each still ends.
    pub(crate) legs: usize,
    /// Transactions, and answers for when a request comes again.
    pub(crate) transactions: usize,
}

/// All thin-client legs.
#[derive(Debug)]
pub struct TcAgent {
    sip: sip::Agent,
    h248: gateway::Agent<h248::H248>,
    mgcp: gateway::Agent<mgcp::Mgcp>,
}

impl TcAgent {
    /// No leg yet. Legs are called from the VM's address and `port`, the
    /// registrar's.
    pub fn new(seed: [u8; 32], port: u16, answer_timeout: Duration) -> Self {
        Self {
            sip: sip::Agent::new(seed, port, answer_timeout),
            h248: gateway::Agent::new(h248::H248::new(seed), port, answer_timeout, seed),
            mgcp: gateway::Agent::new(mgcp::Mgcp::new(seed), port, answer_timeout, seed),
        }
    }

    /// Lets these accounts register, as far as they do not speak SIP, which has a
    /// registrar of its own.
    pub fn admit(&mut self, accounts: &[ThinClientConfig], vms: &[VmConfig]) {
        for account in accounts {
            let Some(vm) = vms.get(account.vm) else {
                continue;
            };
            let vm = (account.vm, vm.address);
            match &account.access {
                Access::Sip { .. } => {}
                Access::H248 {
                    mid,
                    termination,
                    from,
                } => {
                    let client = h248::Client::new(mid, termination.as_deref());
                    self.h248.add(&account.user, vm, *from, client);
                }
                Access::Mgcp { endpoint, from } => {
                    let client = mgcp::Client::new(endpoint);
                    self.mgcp.add(&account.user, vm, *from, client);
                }
            }
        }
    }

    /// Calls a thin client; without an offer its answer brings one (RFC 3725 flow
    /// I). A leg that has this number is ended first.
    pub fn invite(&mut self, now: Time, leg: LegId, to: &Binding, offer: Option<Vec<u8>>) {
        self.bye(now, leg);
        match &to.signalling {
            Signalling::Sip(contact) => self.sip.invite(now, leg, (to, &contact.uri), offer),
            Signalling::Mgcp { .. } => self.mgcp.invite(now, leg, to, offer.as_deref()),
            Signalling::H248 { .. } => self.h248.invite(now, leg, to, offer.as_deref()),
        }
    }

    /// Acknowledges the last [`TcEvent::Answered`], with the answer where our
    /// invitation had no offer.
    pub fn ack_with(&mut self, now: Time, leg: LegId, answer: Option<Vec<u8>>) {
        self.h248.ack_with(now, leg, answer.as_deref());
        self.mgcp.ack_with(now, leg, answer.as_deref());
        self.sip.ack_with(now, leg, answer);
    }

    /// Offers a new session in the leg; waits for its turn while another offer
    /// is under way, of which only the newest waits.
    pub fn reinvite(&mut self, now: Time, leg: LegId, offer: Vec<u8>) {
        self.h248.reinvite(now, leg, &offer);
        self.mgcp.reinvite(now, leg, &offer);
        self.sip.reinvite(now, leg, offer);
    }

    /// Answers [`TcEvent::Reinvite`]: with a description, or a status code of 300
    /// to 699. Without a word for 64·T1 (32 s) the agent answers 500.
    pub fn answer_reinvite(&mut self, now: Time, leg: LegId, answer: Result<Vec<u8>, u16>) {
        let told = answer.as_deref().map_err(|status| *status);
        self.h248.answer_reinvite(now, leg, told);
        self.mgcp.answer_reinvite(now, leg, told);
        self.sip.answer_reinvite(now, leg, answer);
    }

    /// Tells how far the call is. A SIP telephone needs no telling: it answers
    /// at once, and makes its own tones.
    pub fn progress(&mut self, now: Time, leg: LegId, progress: CallProgress) {
        self.h248.progress(now, leg, progress);
        self.mgcp.progress(now, leg, progress);
    }

    /// Ends the leg, answered or not. No event of it follows; the number may be
    /// used again at once.
    pub fn bye(&mut self, now: Time, leg: LegId) {
        self.h248.bye(now, leg);
        self.mgcp.bye(now, leg);
        self.sip.bye(now, leg);
    }

    /// A SIP message has come from a thin client to the registrar's port. False:
    /// it was none for this agent (a REGISTER, or a response to nothing).
    pub fn handle_sip(&mut self, now: Time, from: Addresses, message: &Message) -> bool {
        self.sip.handle_message(now, from, message)
    }

    /// A message of another protocol has come to the registrar's port: of a
    /// registration, or of a leg.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn handle_gateway(
        &mut self,
        now: Time,
        protocol: Protocol,
        datagram: &Datagram,
    ) -> Result<(), NotUnderstood> {
        match protocol {
            Protocol::Mgcp => self.mgcp.handle(now, datagram),
            Protocol::H248 => self.h248.handle(now, datagram),
            Protocol::Sip => Ok(()),
        }
    }

    /// A user's thin client has registered from there by SIP: by a connection it is
    /// reached by that in its legs, too (RFC 5626 §5.3).
    pub fn reached(&mut self, user: &str, from: Addresses) {
        self.sip.reached(user, from);
    }

    /// A connection to the registrar's port is gone: who has registered by it is not
    /// there until it registers again.
    pub fn closed(&mut self, now: Time, connection: ConnectionId) {
        self.sip.closed(now, connection);
        self.h248.closed(now, connection);
        self.mgcp.closed(now, connection);
    }

    /// Bytes have come that [`Message::parse`] refused: 400 where they are a
    /// request that can be answered, else nothing.
    pub fn handle_unparsed(&mut self, from: Addresses, bytes: &[u8]) {
        self.sip.handle_unparsed(from, bytes);
    }

    /// How many legs a thin client, by its user name, has that are not over.
    pub(crate) fn legs_of(&self, user: &str) -> usize {
        self.sip.legs_of(user) + self.h248.legs_of(user) + self.mgcp.legs_of(user)
    }

    /// How many legs, those that are over and still end among them, transactions and
    /// answers are remembered.
    pub(crate) fn held(&self) -> Held {
        let mut held = self.sip.held();
        for other in [self.h248.held(), self.mgcp.held()] {
            held.legs += other.legs;
            held.transactions += other.transactions;
        }
        held
    }

    /// Calls whose legs have changed since this was asked last.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<LegId> {
        let mut touched = self.sip.take_touched();
        touched.append(&mut self.h248.take_touched());
        touched.append(&mut self.mgcp.take_touched());
        touched
    }

    /// A call's legs, to be kept.
    pub(crate) fn entries(&self, leg: LegId) -> LegEntries<'_> {
        LegEntries {
            sip: self.sip.entries(leg),
            h248: self.h248.entries(leg),
            mgcp: self.mgcp.entries(leg),
        }
    }

    /// Goes on with a call's legs of an earlier run.
    pub(crate) fn restore(&mut self, now: Time, kept: KeptLegs) {
        for leg in kept.sip {
            self.sip.restore(leg);
        }
        for leg in kept.h248 {
            self.h248.restore(now, leg);
        }
        for leg in kept.mgcp {
            self.mgcp.restore(now, leg);
        }
    }

    /// Goes on with a binding of an earlier run.
    pub(crate) fn resume(&mut self, now: Time, binding: &Binding) {
        self.h248.resume(now, binding);
        self.mgcp.resume(now, binding);
    }

    /// What is counted up over all legs.
    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            sip: self.sip.numbers(),
            h248: self.h248.numbers(),
            mgcp: self.mgcp.numbers(),
        }
    }

    pub(crate) fn restore_numbers(&mut self, numbers: Numbers) {
        self.sip.restore_numbers(numbers.sip);
        self.h248.restore_numbers(numbers.h248);
        self.mgcp.restore_numbers(numbers.mgcp);
    }

    /// Runs the timers that have run out by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.sip.handle_timeout(now);
        self.h248.handle_timeout(now);
        self.mgcp.handle_timeout(now);
    }

    /// When the next timer runs out.
    pub fn poll_timeout(&self) -> Option<Time> {
        [
            self.sip.poll_timeout(),
            self.h248.poll_timeout(),
            self.mgcp.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram or event.
    pub fn poll_output(&mut self) -> Option<TcOutput> {
        let sip = self.sip.poll_output();
        let h248 = sip.or_else(|| self.h248.poll_output());
        h248.or_else(|| self.mgcp.poll_output())
    }
}
