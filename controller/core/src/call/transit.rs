//! Messages on their way through: the numbers that requests of our own have
//! shifted, and the same bytes for the same message (RFC 3261 §17).

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::heard::{Heard, Key};
use super::{Call, Context};
use crate::engine::{Datagram, Side};
use crate::sip::transaction::{T1, T2};
use crate::sip::{Message, MessageEdit, Method, Name, ResponseBuilder};
use crate::time::Time;

/// What of a call can still come again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Repeats {
    changed: VecDeque<Changed>,
    /// Requests with an offer, so that a repeated one begins nothing; with their
    /// number, for those who send no branch (RFC 2543).
    requests: VecDeque<(Key, u32)>,
}

/// A message that was changed.
#[derive(Debug, Serialize, Deserialize)]
struct Changed {
    /// What it was, hashed.
    came: u64,
    /// What it became.
    #[serde(with = "serde_bytes")]
    left: Vec<u8>,
}

impl Repeats {
    const KEPT: usize = 12;

    fn key(heard: &Heard) -> u64 {
        let mut hasher = DefaultHasher::new();
        (heard.side, heard.src, heard.dst, heard.message.bytes()).hash(&mut hasher);
        hasher.finish()
    }

    fn keep(&mut self, heard: &Heard, sent: Vec<u8>) {
        if self.changed.len() >= Self::KEPT {
            self.changed.pop_front();
        }
        self.changed.push_back(Changed {
            came: Self::key(heard),
            left: sent,
        });
    }

    /// What went out for this very message before.
    fn find(&self, heard: &Heard) -> Option<&Vec<u8>> {
        let key = Self::key(heard);
        let found = self.changed.iter().find(|changed| changed.came == key);
        found.map(|changed| &changed.left)
    }

    /// Whether a request comes for the first time.
    pub(super) fn is_new(&mut self, heard: &Heard) -> bool {
        let (number, _) = heard.message.cseq();
        let key = (heard.key(), number);
        if self.requests.contains(&key) {
            return false;
        }
        if self.requests.len() >= Self::KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(key);
        true
    }

    pub(super) fn len(&self) -> usize {
        self.changed.len() + self.requests.len()
    }

    pub(super) fn clear(&mut self) {
        self.changed.clear();
    }
}

/// Requests that we have rejected, with what they were answered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rejections(VecDeque<(Side, Vec<u8>, Vec<u8>)>);

impl Rejections {
    const KEPT: usize = 8;

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn find(&self, heard: &Heard) -> Option<&Vec<u8>> {
        let cancels = *heard.message.method() == Method::Cancel;
        self.0
            .iter()
            .filter(|(_, branch, _)| !branch.is_empty() && !cancels)
            .find(|(side, branch, _)| *side == heard.side && branch == heard.branch())
            .map(|(.., response)| response)
    }
}

/// A 2xx to the VM whose retransmission is ours, since the gateway has its ACK
/// already (RFC 3261 §13.3.1.4).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Repetition {
    datagram: Datagram,
    /// CSeq number of the INVITE, as the VM counts.
    number: u32,
    next: Time,
    interval: Duration,
    until: Time,
}

impl Repetition {
    pub(super) fn due(&self) -> Time {
        self.next
    }
}

impl Call {
    /// Sends a message on as it is, but for shifted numbers.
    pub(super) fn pass(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        self.pass_with(cx, heard, None);
    }

    /// Sends a message on, with another body where one is given. Returns what
    /// was sent.
    pub(super) fn pass_with(
        &mut self,
        cx: &mut Context<'_>,
        heard: &Heard,
        body: Option<&[u8]>,
    ) -> Datagram {
        let bytes = self.rewritten(heard, body);
        if body.is_some() {
            self.repeats.keep(heard, bytes.clone());
        }
        let mut datagram = heard.onward(bytes);
        if heard.message.is_request() {
            datagram.dst = self.dialog.takes_connections_at(&datagram);
        }
        cx.send(datagram.clone());
        datagram
    }

    /// The bytes with which a message leaves.
    fn rewritten(&self, heard: &Heard, body: Option<&[u8]>) -> Vec<u8> {
        let message = &heard.message;
        let mut edit = MessageEdit::new(message);
        if let Some(number) = self.shifted(heard) {
            edit = edit.set_cseq(number);
        }
        if let Some(rack) = self.shifted_rack(heard) {
            edit = edit.set_header_value(Name::RACK, rack);
        }
        if let Some(body) = body.filter(|body| Some(*body) != message.session()) {
            edit = edit.set_session(body);
        }
        let bytes = edit.finish();
        match &self.reissue {
            Some(reissue) => reissue.outward(heard, bytes),
            None => bytes,
        }
    }

    /// The CSeq number with which a message leaves, where it is another one.
    fn shifted(&self, heard: &Heard) -> Option<u32> {
        let (number, _) = heard.message.cseq();
        let shift = match (heard.message.is_request(), heard.side) {
            (true, Side::Vm) | (false, Side::Net) => &self.dialog.vm.cseq,
            (true, Side::Net) | (false, Side::Vm) => &self.dialog.gateway.cseq,
        };
        let shifted = if heard.message.is_request() {
            shift.outward(number)
        } else {
            shift.inward(number)?
        };
        (shifted != number).then_some(shifted)
    }

    /// RAck names the CSeq of the INVITE (RFC 3262 §7.2).
    fn shifted_rack(&self, heard: &Heard) -> Option<String> {
        let (sequence, number) = heard.rack()?;
        let shift = match heard.side {
            Side::Vm => &self.dialog.vm.cseq,
            Side::Net => &self.dialog.gateway.cseq,
        };
        let shifted = shift.outward(number);
        (shifted != number).then(|| format!("{sequence} {shifted} INVITE"))
    }

    /// Answers a message that has come before as it was answered then. True:
    /// nothing more is to be done.
    pub(super) fn is_repeat(&mut self, cx: &mut Context<'_>, heard: &Heard) -> bool {
        if heard.message.is_request()
            && let Some(response) = self.rejections.find(heard)
        {
            // Its ACK ends here, as the rejection began here.
            if *heard.message.method() != Method::Ack {
                let datagram = reply(heard, response.clone());
                cx.send(datagram);
            }
            return true;
        }
        if let Some(sent) = self.repeats.find(heard) {
            let datagram = heard.onward(sent.clone());
            cx.send(datagram);
            return true;
        }
        false
    }

    /// Answers a request in its peer's name.
    pub(super) fn reject(&mut self, cx: &mut Context<'_>, heard: &Heard, status: u16) {
        let response = ResponseBuilder::new(&heard.message, status, None).build();
        let kept = &mut self.rejections.0;
        if kept.len() >= Rejections::KEPT {
            kept.pop_front();
        }
        kept.push_back((heard.side, heard.branch().to_vec(), response.clone()));
        self.dialog.swallow(&heard.message, heard.side);
        cx.send(reply(heard, response));
    }

    /// Repeats a 2xx to the VM until its ACK with `number`.
    pub(super) fn repeat_until_ack(&mut self, now: Time, datagram: Datagram, number: u32) {
        self.repetition = Some(Box::new(Repetition {
            datagram,
            number,
            next: now + T1,
            interval: T1,
            until: now + T1 * 64,
        }));
    }

    pub(super) fn run_repetition(&mut self, cx: &mut Context<'_>) {
        let Some(repetition) = &mut self.repetition else {
            return;
        };
        if repetition.until <= cx.now {
            // The VM is not there any more (§13.3.1.4).
            self.repetition = None;
            if !self.is_over() {
                self.hang_up(cx);
            }
        } else if repetition.next <= cx.now {
            repetition.interval = (repetition.interval * 2).min(T2);
            repetition.next = cx.now + repetition.interval;
            let datagram = repetition.datagram.clone();
            cx.send(datagram);
        }
    }

    /// The VM has acknowledged the 2xx to its INVITE with `number`.
    pub(super) fn stop_repetition(&mut self, number: u32) {
        if self.repetition.as_ref().is_some_and(|r| r.number == number) {
            self.repetition = None;
        }
    }
}

/// A response to a request that has come, to where it came from (RFC 3261
/// §18.2.2, RFC 3581).
fn reply(heard: &Heard, payload: Vec<u8>) -> Datagram {
    let via = heard.message.top_via();
    let mut dst = heard.src;
    if via.rport.is_none() {
        dst.set_port(via.port.unwrap_or(5060));
    }
    Datagram {
        side: heard.side,
        transport: heard.transport,
        src: heard.dst,
        dst,
        payload,
    }
}

/// `bytes` with the first `from` replaced.
pub(super) fn replace_first(bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let found = bytes.windows(from.len().max(1)).position(|w| w == from);
    match found {
        Some(at) => {
            let (before, rest) = bytes.split_at(at);
            let after = rest.get(from.len()..).unwrap_or_default();
            [before, to, after].concat()
        }
        None => bytes,
    }
}

/// A message read again after such a replacement; the old one where that fails.
pub(super) fn reread(message: &Message, bytes: &[u8]) -> Message {
    Message::parse(bytes).unwrap_or_else(|_| message.clone())
}
