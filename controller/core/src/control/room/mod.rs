//! All calls of gateway control, and the way of each datagram: which of its parts
//! are whose, what is changed in it, whether it has to wait.

mod commands;
mod kept;
mod reissue;
mod replies;
mod segments;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use super::call::{Call, Way};
use super::codec::{Codec, Message, Unreadable};
use super::h248::H248;
use super::line::{Held, Line, Own, OwnPurpose, Transaction};
use super::message::{Edit, Part};
use super::mgcp::Mgcp;
use super::requests::{Due, Requests};
use crate::bypass::{Context, Reason};
use crate::deadlines::Deadlines;
use crate::engine::{CallView, Datagram, EngineConfig, Leg, Protocol, Side};
use crate::occupancy::Occupancy;
use crate::sip::dialog::opposite;
use crate::tc::TcEvent;
use crate::time::Time;

/// A VM (its index) and a gateway, in one protocol. Gateways may send from other
/// ports than they listen at.
type LineKey = (&'static str, usize, IpAddr);

/// Gateways of one VM that are remembered at once; what others say passes untouched.
const LINES: usize = 256;

/// All calls of gateway control.
#[derive(Debug, Default)]
pub(crate) struct Room {
    calls: BTreeMap<u32, Call>,
    /// The line of each call.
    lines_of: HashMap<u32, LineKey>,
    /// The calls of each line.
    by_line: HashMap<LineKey, BTreeSet<u32>>,
    lines: HashMap<LineKey, Line>,
    /// Calls of each VM, and which may go to make room.
    occupancy: Occupancy,
    /// When which call has to be woken, by its VM.
    due: Deadlines<(usize, u32)>,
    /// When which line has something to forget.
    expiry: Deadlines<LineKey>,
    /// Commands of our own that wait for their replies.
    requests: Requests<(LineKey, u32)>,
    /// Calls of which something has changed since [`Room::take_touched`].
    touched: BTreeSet<u32>,
}

/// The numbers of calls, which all protocols share.
pub(crate) struct Numbers<'a> {
    /// The next.
    pub(crate) next: &'a mut u32,
    /// Whether one more call may be followed,
    pub(crate) room: bool,
    /// and of the VM in question.
    pub(crate) room_of_vm: bool,
}

/// What becomes of one part of a datagram.
#[derive(Debug, Default)]
struct Treated {
    edits: Vec<Edit>,
    /// Ids of requests that wait, and the calls that they wait for.
    waiting: Vec<u32>,
    undecided: Vec<u32>,
    /// Requests that go, with what is to be remembered of them.
    going: Vec<(u32, Transaction)>,
    /// How many parts are left out.
    dropped: usize,
    /// Segments of replies whose turn comes after this datagram.
    next: Vec<Datagram>,
}

impl Treated {
    /// The part at this index is left out.
    fn drop(&mut self, index: usize) {
        self.dropped += 1;
        self.edits.push(Edit::Drop { part: index });
    }
}

/// The codec of the protocol of this name.
pub(super) fn codec_named(name: &str) -> Option<&'static dyn Codec> {
    [Protocol::H248, Protocol::Mgcp]
        .into_iter()
        .find(|protocol| protocol.name() == name)
        .and_then(codec)
}

/// The codec of a protocol.
fn codec(protocol: Protocol) -> Option<&'static dyn Codec> {
    match protocol {
        Protocol::Mgcp => Some(&Mgcp),
        Protocol::H248 => Some(&H248),
        Protocol::Sip => None,
    }
}

impl Room {
    /// A datagram between the VM of `cx` and a gateway.
    ///
    /// # Errors
    ///
    /// It could not be read, and has gone on as it came.
    pub(crate) fn handle(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        protocol: Protocol,
        vm: usize,
        datagram: Datagram,
    ) -> Result<(), Unreadable> {
        let Some(codec) = codec(protocol) else {
            forward(cx, datagram);
            return Ok(());
        };
        let gateway = match datagram.side {
            Side::Vm => datagram.dst.ip(),
            Side::Net => datagram.src.ip(),
        };
        let key = (protocol.name(), vm, gateway);
        let message = match codec.read(&datagram.payload) {
            Ok(message) => message,
            Err(error) => {
                forward(cx, datagram);
                return Err(error);
            }
        };
        if !self.lines.contains_key(&key) {
            let of_vm = |line: &&LineKey| line.1 == vm;
            if self.lines.len() >= LINES && self.lines.keys().filter(of_vm).count() >= LINES {
                forward(cx, datagram);
                return Ok(());
            }
            self.lines.insert(key, Line::new(codec));
        }
        self.expire(cx, key);
        self.take(cx, numbers, key, datagram, message.as_ref());
        self.tidy(cx, numbers, key);
        Ok(())
    }

    /// One datagram that was read, from a side or from those that waited, and segments
    /// that had to wait for it.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        key: LineKey,
        datagram: Datagram,
        message: &dyn Message,
    ) {
        for next in self.take_one(cx, numbers, key, datagram, message) {
            self.take_again(cx, numbers, key, next);
        }
    }

    /// A datagram that has waited.
    fn take_again(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        key: LineKey,
        datagram: Datagram,
    ) {
        let message = self
            .lines
            .get(&key)
            .map(|line| line.codec.read(&datagram.payload));
        match message {
            Some(Ok(message)) => self.take(cx, numbers, key, datagram, message.as_ref()),
            _ => forward(cx, datagram),
        }
    }

    fn take_one(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        key: LineKey,
        datagram: Datagram,
        message: &dyn Message,
    ) -> Vec<Datagram> {
        if datagram.side == Side::Vm {
            self.let_go_of_deleted(cx, numbers, key, message);
        }
        let mut treated = Treated::default();
        for (index, part) in message.parts().iter().enumerate() {
            match part {
                Part::Request(request) => {
                    self.request(cx, numbers, key, &datagram, (index, request), &mut treated);
                }
                Part::Reply(reply) => {
                    self.reply(cx, key, &datagram, (index, reply), &mut treated);
                }
                Part::Pending(id) => self.pending(cx, key, &datagram, (index, *id), &mut treated),
                Part::Other => {}
            }
        }
        if !treated.waiting.is_empty() {
            self.hold(cx, key, datagram, message, &treated);
            return treated.next;
        }
        let Some(line) = self.lines.get_mut(&key) else {
            return treated.next;
        };
        for (id, transaction) in treated.going {
            let calls = transaction.asked.iter().flat_map(|wanted| &wanted.calls);
            if datagram.side == Side::Vm {
                for (_, call) in calls {
                    if let Some(call) = self.calls.get_mut(call) {
                        call.sent(cx, id);
                    }
                }
            }
            self.touched.extend(transaction.calls());
            line.note(cx.now, datagram.side, id, transaction);
        }
        self.expiry.set(&key, line.next_expiry());
        if treated.dropped == message.parts().len() {
            return treated.next;
        }
        let signed = message.parts().iter().any(|part| match part {
            Part::Request(request) => request.signed,
            Part::Reply(reply) => reply.signed,
            Part::Pending(_) | Part::Other => false,
        });
        let payload = if treated.edits.is_empty() || signed {
            datagram.payload
        } else {
            message.edited(&treated.edits)
        };
        forward(
            cx,
            Datagram {
                payload,
                ..datagram
            },
        );
        treated.next
    }

    /// A datagram has to wait. Where it comes again meanwhile, its sender hears that
    /// it is being worked at (RFC 3435 §3.5.6).
    fn hold(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        datagram: Datagram,
        message: &dyn Message,
        treated: &Treated,
    ) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        let requests = message.parts().iter().filter_map(|part| match part {
            Part::Request(request) => Some(request),
            _ => None,
        });
        let mut new = false;
        let mut ids = Vec::new();
        for request in requests {
            ids.push(request.id);
            if line.is_held(request.id) {
                cx.send(Datagram {
                    side: Side::Vm,
                    transport: datagram.transport,
                    src: datagram.dst,
                    dst: datagram.src,
                    payload: line.codec.pending(request.id, &request.dialect),
                });
            } else {
                new |= treated.waiting.contains(&request.id);
            }
        }
        let held = Held {
            datagram: datagram.clone(),
            ids,
            calls: treated.undecided.clone(),
        };
        self.touched.extend(&held.calls);
        if new && !line.hold(held) {
            forward(cx, datagram);
        }
    }

    /// Those that waited for a call that has decided, in their order. Each is looked
    /// at anew: its calls know now what they want.
    fn retry(&mut self, cx: &mut Context<'_>, numbers: &mut Numbers<'_>, key: LineKey) {
        while let Some(line) = self.lines.get_mut(&key) {
            let calls = &self.calls;
            let waits = |id: &u32| calls.get(id).is_some_and(Call::is_undecided);
            let ready = line
                .held
                .iter()
                .position(|held| !held.calls.iter().any(waits));
            let Some(held) = ready.and_then(|at| line.held.remove(at)) else {
                return;
            };
            self.touched.extend(&held.calls);
            self.take_again(cx, numbers, key, held.datagram);
        }
    }

    // --- what calls want --------------------------------------------------------

    /// Something was done with a call: its commands go, its timers are set.
    fn after(&mut self, cx: &mut Context<'_>, id: u32) {
        let (Some(call), Some(key)) = (self.calls.get_mut(&id), self.lines_of.get(&id)) else {
            return;
        };
        let key = *key;
        if let Some(modify) = call.take_outbox()
            && let Some(line) = self.lines.get_mut(&key)
        {
            let own = line.own_id(call.last());
            let payload = line
                .codec
                .modify(own, &call.connection, &modify.remote, None);
            let datagram = Datagram {
                side: Side::Net,
                transport: call.way.transport,
                src: call.way.vm,
                dst: call.way.gateway,
                payload,
            };
            let dialect = call.connection.dialect.clone();
            let purpose = OwnPurpose::Call(id);
            line.note_own(cx.now, own, Own::new(dialect, call.way, purpose));
            self.requests.sent(cx.now, (key, own), &datagram);
            self.expiry.set(&key, line.next_expiry());
            cx.send(datagram);
        }
        call.watch_media(cx);
        call.report(cx);
        self.touched.insert(id);
        self.due.set(&(call.vm_index(), id), call.next_timeout());
        self.occupancy.set(id, call.vm_index(), call.may_go());
        if call.is_forgotten(cx.now) {
            self.remove(id);
        }
    }

    /// After whatever came in: those that wait go on, what is empty goes.
    fn tidy(&mut self, cx: &mut Context<'_>, numbers: &mut Numbers<'_>, key: LineKey) {
        self.retry(cx, numbers, key);
        if self.lines.get(&key).is_some_and(Line::is_idle) {
            self.lines.remove(&key);
            self.expiry.set(&key, None);
        }
    }

    fn expire(&mut self, cx: &mut Context<'_>, key: LineKey) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        let unanswered = line.expire(cx.now);
        self.expiry.set(&key, line.next_expiry());
        for (id, transaction) in unanswered {
            for (_, number) in transaction.asked.iter().flat_map(|wanted| &wanted.calls) {
                if let Some(call) = self.calls.get_mut(number) {
                    call.no_reply(cx, id);
                }
                self.after(cx, *number);
            }
        }
    }

    /// The calls of a line, in the order of their numbers.
    fn on(&self, key: LineKey) -> impl Iterator<Item = &Call> {
        let ids = self.by_line.get(&key).into_iter().flatten();
        ids.filter_map(|id| self.calls.get(id))
    }

    fn remove(&mut self, id: u32) {
        self.occupancy.remove(id);
        self.touched.insert(id);
        if let Some(call) = self.calls.remove(&id) {
            self.due.set(&(call.vm_index(), id), None);
        }
        if let Some(key) = self.lines_of.remove(&id)
            && let Some(calls) = self.by_line.get_mut(&key)
        {
            calls.remove(&id);
            if calls.is_empty() {
                self.by_line.remove(&key);
            }
        }
    }

    // --- the engine's -----------------------------------------------------------

    /// The VM of a call, if it is one of these.
    pub(crate) fn vm_of(&self, id: u32) -> Option<usize> {
        self.calls.get(&id).map(Call::vm_index)
    }

    /// Something has become of a thin client's leg.
    pub(crate) fn tc_event(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        id: u32,
        event: TcEvent,
    ) {
        self.with_call(cx, numbers, id, |call, cx| call.tc_event(cx, event));
    }

    /// What has been counted of a call's media.
    pub(crate) fn media_seen(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        id: u32,
        seen: &[(Leg, Time)],
    ) {
        self.with_call(cx, numbers, id, |call, cx| call.media_seen(cx, seen));
    }

    /// A packet of none of a call's flows has come to its anchor; true: its TC sends
    /// from there.
    pub(crate) fn media_from(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        id: u32,
        (at, from): (SocketAddr, SocketAddr),
        expected: Option<Time>,
    ) -> bool {
        let mut moved = false;
        self.with_call(cx, numbers, id, |call, cx| {
            moved = call.media_from(cx, at, from, expected);
        });
        moved
    }

    /// The datapath will not have a call's flows, or Sidestep stops.
    pub(crate) fn give_up_bypass(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        id: u32,
        reason: Reason,
    ) {
        self.with_call(cx, numbers, id, |call, cx| call.give_up_bypass(cx, reason));
    }

    fn with_call(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        id: u32,
        act: impl FnOnce(&mut Call, &mut Context<'_>),
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        act(call, cx);
        self.after(cx, id);
        if let Some(key) = self.lines_of.get(&id).copied() {
            self.tidy(cx, numbers, key);
        }
    }

    /// The VM whose calls have something due by `now`.
    pub(crate) fn due(&self, now: Time) -> Option<usize> {
        if self.due.next().is_some_and(|at| at <= now) {
            return self.due.peek().map(|(vm, _)| *vm);
        }
        let requests = self.requests.peek_due(now).map(|(key, _)| key.1);
        requests.or_else(|| match self.expiry.next() {
            Some(at) if at <= now => self.expiry.peek().map(|key| key.1),
            _ => None,
        })
    }

    /// Runs one thing that is due, of the VM that [`Room::due`] named.
    pub(crate) fn run_due(&mut self, cx: &mut Context<'_>, numbers: &mut Numbers<'_>) {
        if let Some((_, id)) = self.due.take_due(cx.now) {
            // What feeds a VM's media timer is not worth writing down.
            let idle = self
                .calls
                .get(&id)
                .is_some_and(|call| call.only_feeds(cx.now));
            let touched = self.touched.contains(&id);
            self.with_call(cx, numbers, id, Call::handle_timeout);
            if idle && !touched {
                self.touched.remove(&id);
            }
            return;
        }
        if self.requests.peek_due(cx.now).is_some() {
            match self.requests.take_due(cx.now) {
                Some(Due::Repeat((key, id), datagram)) => {
                    self.touch_own(key, id);
                    cx.send(datagram);
                }
                Some(Due::Failed((key, id))) => {
                    let line = self.lines.get_mut(&key);
                    let purpose = line.and_then(|line| line.own(id)).map(|own| own.purpose);
                    if let Some(OwnPurpose::Call(call)) = purpose {
                        self.with_call(cx, numbers, call, |call, cx| {
                            call.own_replied(cx, Err(None));
                        });
                    }
                }
                None => {}
            }
            return;
        }
        if let Some(key) = self.expiry.take_due(cx.now) {
            self.expire(cx, key);
            self.tidy(cx, numbers, key);
        }
    }

    /// When something is due next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        [self.due.next(), self.requests.next(), self.expiry.next()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Numbers of the calls, in order.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.calls.keys().copied().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// How much is remembered of lines: each of them, and what is on it.
    pub(crate) fn held(&self) -> usize {
        let lines: usize = self.lines.values().map(Line::held).sum();
        let calls = self.occupancy.len().abs_diff(self.calls.len());
        self.lines.len() + lines + self.requests.len() + calls
    }

    /// How many there are of a VM.
    pub(crate) fn count_of(&self, vm: usize) -> usize {
        self.occupancy.count_of(vm)
    }

    /// Whether a command of our own waits for its reply.
    pub(crate) fn is_waiting(&self) -> bool {
        self.calls.values().any(Call::is_waiting)
    }

    /// The calls as they are shown.
    pub(crate) fn views(&self, config: &EngineConfig) -> impl Iterator<Item = CallView> {
        self.calls.values().map(|call| call.view(config))
    }
}

fn way(datagram: &Datagram) -> Way {
    Way {
        vm: datagram.src,
        gateway: datagram.dst,
        transport: datagram.transport,
    }
}

fn forward(cx: &mut Context<'_>, datagram: Datagram) {
    let side = opposite(datagram.side);
    cx.send(Datagram { side, ..datagram });
}
