//! The user agent toward thin clients (RFC 3261): the call's third leg.
//!
//! What comes in: what the call machine wants of a leg ([`TcAgent::invite`],
//! [`TcAgent::ack_with`], [`TcAgent::reinvite`], [`TcAgent::answer_reinvite`],
//! [`TcAgent::bye`]), what thin clients send to the registrar's port, and time.
//! What goes out: datagrams, and what has become of each leg.
//!
//! ```text
//!            invite ─► Answered ─► ack_with
//! any time:  reinvite ─► Answered ─► ack_with          (ours)
//!            Reinvite ─► answer_reinvite               (the thin client's)
//! end:       bye, or Bye, Lost; before the first Answered: Refused, NoAnswer
//! ```
//!
//! A leg is an ordinary SIP dialog with an endpoint that nobody had to prepare
//! but by auto-answer; nothing of the VM's or the gateway's signalling shows in
//! it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::Datagram;
use crate::registrar::Binding;
pub use crate::sip::BRANCH_PREFIX;
use crate::sip::Message;
use crate::sip::identifiers::Identifiers;
use crate::time::Time;

/// A leg, by the number of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u32);

/// What comes out of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcOutput {
    /// Send this datagram.
    Send(Datagram),
    /// Something has become of a leg.
    Event(LegId, TcEvent),
}

/// What has become of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcEvent {
    /// The thin client rings or says that it works on it; once.
    Ringing,
    /// Our INVITE or re-INVITE was answered: its session description (step 305,
    /// 404). [`TcAgent::ack_with`] is due. Also the answer that came with the
    /// ACK of the thin client's re-INVITE without a description; then nothing is
    /// due.
    Answered {
        /// The answer; the offer, where ours had none.
        sdp: Vec<u8>,
    },
    /// The thin client's re-INVITE or UPDATE: [`TcAgent::answer_reinvite`] is due.
    Reinvite {
        /// Its offer; `None`: it wants ours.
        sdp: Option<Vec<u8>>,
    },
    /// Our INVITE was refused, and the leg is over; or our re-INVITE was, and the
    /// leg goes on with the session it had.
    Refused {
        /// Status code of the answer.
        status: u16,
    },
    /// Our INVITE was not answered in time, and the leg is over.
    NoAnswer,
    /// The thin client hung up; the leg is over.
    Bye,
    /// The thin client has lost the dialog or does not answer in it; the leg is
    /// over.
    Lost,
}

/// All thin-client legs.
#[derive(Debug)]
pub struct TcAgent {
    registrar_port: u16,
    answer_timeout: Duration,
    identifiers: Identifiers,
    output: VecDeque<TcOutput>,
}

impl TcAgent {
    /// No leg yet. Legs are called from the VM's address and `registrar_port`.
    pub fn new(seed: [u8; 32], registrar_port: u16, answer_timeout: Duration) -> Self {
        Self {
            registrar_port,
            answer_timeout,
            identifiers: Identifiers::new(seed, "thin-client legs"),
            output: VecDeque::new(),
        }
    }

    /// Calls a thin client; without an offer its 2xx brings one (RFC 3725 flow I).
    pub fn invite(&mut self, _now: Time, _leg: LegId, _to: &Binding, _offer: Option<Vec<u8>>) {}

    /// Acknowledges the last [`TcEvent::Answered`], with the answer where our
    /// INVITE had no offer.
    pub fn ack_with(&mut self, _now: Time, _leg: LegId, _answer: Option<Vec<u8>>) {}

    /// Offers a new session in the dialog; waits for its turn while another offer
    /// is under way, of which only the newest waits.
    pub fn reinvite(&mut self, _now: Time, _leg: LegId, _offer: Vec<u8>) {}

    /// Answers [`TcEvent::Reinvite`]: with a description, or a status code of 300
    /// to 699.
    pub fn answer_reinvite(&mut self, _now: Time, _leg: LegId, _answer: Result<Vec<u8>, u16>) {}

    /// Ends the leg, by CANCEL while it is not answered. No event of it follows;
    /// the number may be used again at once.
    pub fn bye(&mut self, _now: Time, _leg: LegId) {}

    /// A message has come from a thin client to the registrar's port. False: it
    /// was none for this agent (a REGISTER, or a response to nothing).
    pub fn handle_datagram(
        &mut self,
        _now: Time,
        _src: SocketAddr,
        _dst: SocketAddr,
        _message: &Message,
    ) -> bool {
        false
    }

    /// Bytes have come that [`Message::parse`] refused: 400 where they are a
    /// request that can be answered, else nothing.
    pub fn handle_unparsed(
        &mut self,
        _now: Time,
        _src: SocketAddr,
        _dst: SocketAddr,
        _bytes: &[u8],
    ) {
    }

    /// Runs the timers that have run out by `now`.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// When the next timer runs out.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// The next datagram or event.
    pub fn poll_output(&mut self) -> Option<TcOutput> {
        self.output.pop_front()
    }
}
