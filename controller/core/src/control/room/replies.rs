//! Replies: to the VM's commands, to the gateway's, to our own.

use std::collections::BTreeSet;

use super::super::call::{Before, Call};
use super::super::codec::Codec;
use super::super::line::{Own, OwnPurpose, Wanted, is_at};
use super::super::message::{At, Edit, End, Kind, Outcome, Reply, Selector, Stream};
use super::reissue::refused;
use super::segments::{alone, is_part, put_together};
use super::{LineKey, Room, Treated};
use crate::bypass::Context;
use crate::bypass::described::Described;
use crate::engine::{Datagram, Side};
use crate::sip::dialog::opposite;

impl Room {
    pub(super) fn reply(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        datagram: &Datagram,
        (index, reply): (usize, &Reply),
        treated: &mut Treated,
    ) {
        let asker = opposite(datagram.side);
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        let codec = line.codec;
        let mut id = reply.id;
        if asker == Side::Vm
            && let Some(own) = line.own(reply.id)
        {
            // What the VM acknowledges is of another id, if it is anything.
            acknowledge(cx, codec, own, reply);
            if let OwnPurpose::Call(call) = own.purpose {
                self.touched.insert(call);
            }
            match own.purpose {
                OwnPurpose::Reissue(vms) => {
                    let known = line.transaction(asker, vms);
                    if let Some(first) = known.and_then(|known| known.first.clone()) {
                        treated.drop(index);
                        let own = line.own(reply.id);
                        let whole =
                            own.and_then(|own| own.gather(reply.segment, (datagram, index)));
                        if let Some(rest) = whole {
                            self.join(cx, key, vms, first, &rest);
                        }
                        return;
                    }
                    treated.edits.push(Edit::Id {
                        part: index,
                        id: vms,
                    });
                    id = vms;
                }
                OwnPurpose::Call(call) => {
                    treated.drop(index);
                    if let Some(whole) = own.gather(reply.segment, (datagram, index)) {
                        let reply = put_together(codec, reply, &whole);
                        self.own_reply(cx, key, call, &reply);
                    } else {
                        self.requests.provisional(cx.now, &(key, reply.id));
                    }
                    return;
                }
            }
        }
        let Some(transaction) = line.transaction(asker, id) else {
            return;
        };
        let number = reply.segment.map_or(0, |segment| segment.number);
        if id == reply.id && transaction.refused == Some(number) {
            // The answer to what the VM was not to hear of, again.
            let reissued = transaction.reissued.as_ref().map(|(own, _)| *own);
            treated.drop(index);
            return self.take_in(cx, key, reissued, reply);
        }
        self.conclude(cx, key, (asker, id), (datagram, index, reply), treated);
    }

    /// A segment that the VM does not get is acknowledged in its name, or it would come
    /// for ever. `reissued`: the id of our own under which its transaction went again.
    fn take_in(&mut self, cx: &mut Context<'_>, key: LineKey, reissued: Option<u32>, of: &Reply) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        let codec = line.codec;
        if let Some(own) = reissued.and_then(|id| line.own(id))
            && of.segment.is_some()
        {
            acknowledge(cx, codec, own, of);
        }
    }

    /// The reply to a transaction, by who asked and its id: the part `index` of
    /// `datagram`, or of what was joined of two.
    pub(super) fn conclude(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        (asker, id): (Side, u32),
        (datagram, index, reply): (&Datagram, usize, &Reply),
        treated: &mut Treated,
    ) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        let codec = line.codec;
        let Some(transaction) = line.transaction(asker, id) else {
            return;
        };
        if let Some(known) = transaction.replied.before(reply.segment) {
            let edits = known.iter().cloned();
            treated.edits.extend(edits.map(|edit| edit.in_part(index)));
            return;
        }
        if let Some(segment) = reply.segment
            && transaction.replied.is_early(reply.segment)
        {
            // Which operation its results are of, those before it say.
            if let Some(alone) = alone(codec, datagram, index)
                && transaction.replied.keep(segment, alone)
            {
                treated.drop(index);
            }
            return;
        }
        self.touched.extend(transaction.calls());
        let asked = transaction.asked.clone();
        let mut replied = transaction.replied.clone();
        if asker == Side::Vm
            && transaction.reissued.is_none()
            && let Some(refused) = refused(&asked, &replied, reply)
            && self.reissue(cx, key, id, refused, (datagram, index, reply.segment))
        {
            treated.drop(index);
            let line = self.lines.get_mut(&key);
            let transaction = line.and_then(|line| line.transaction(asker, id));
            let reissued = transaction.and_then(|transaction| transaction.reissued.as_ref());
            let reissued = reissued.map(|(own, _)| *own);
            return self.take_in(cx, key, reissued, reply);
        }
        let last = reply.segment.is_none_or(|segment| segment.last);
        let nothing = Outcome::default();
        let mut edits = Vec::new();
        let mut results = Results::new(reply);
        for (at, wanted) in asked.iter().enumerate() {
            if replied.done.contains(&at) {
                continue;
            }
            let mut result = results.of(&replied.named(at, wanted));
            if let Err(0) = result
                && replied.named.contains_key(&at)
            {
                // It was done, and that was all that there is to say of it.
                result = Ok((usize::MAX, &nothing));
            }
            match result {
                Ok((_, outcome)) if !last && is_part(wanted, outcome) => {
                    let name = outcome.place.termination.one().cloned();
                    replied.named.extend(name.map(|name| (at, name)));
                    continue;
                }
                // Its turn comes.
                Err(0) if !last => continue,
                _ => {}
            }
            let of_many = matches!(wanted.kind, Kind::Audit { .. })
                && matches!(wanted.place.termination, Selector::All { .. });
            if last || !of_many {
                replied.done.insert(at);
            }
            match (asker, &wanted.kind) {
                (Side::Vm, Kind::Modify | Kind::Move)
                    if matches!(wanted.place.termination, Selector::All { .. }) =>
                {
                    self.done_by_wildcards(cx, key, (id, wanted), reply, &mut edits);
                }
                (Side::Vm, Kind::Create | Kind::Modify | Kind::Move) => {
                    let result = (result, reply.signed);
                    self.done(cx, key, (id, wanted), result, &mut edits);
                }
                (_, Kind::Delete) => {
                    for (_, call) in &wanted.calls {
                        if let Some(call) = self.calls.get_mut(call) {
                            call.deleted(cx);
                        }
                        self.after(cx, *call);
                    }
                }
                (Side::Vm, Kind::Audit { local, remote }) => {
                    let all = match wanted.place.termination {
                        Selector::All { .. } => results.all_of(wanted),
                        _ => result.into_iter().collect(),
                    };
                    for result in all {
                        self.audited(key, wanted, (*local, *remote), result, &mut edits);
                    }
                }
                _ => {}
            }
        }
        treated
            .edits
            .extend(edits.iter().cloned().map(|edit| edit.in_part(index)));
        if let Some(transaction) = self
            .lines
            .get_mut(&key)
            .and_then(|line| line.transaction(asker, id))
        {
            transaction.replied.done = replied.done;
            transaction.replied.named = replied.named;
            let next = transaction.replied.looked_at(reply.segment, edits);
            treated.next.extend(next);
        }
    }

    /// What came of a command that makes or changes a connection.
    fn done(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        (id, wanted): (u32, &Wanted),
        (result, signed): (Result<(usize, &Outcome), u16>, bool),
        edits: &mut Vec<Edit>,
    ) {
        for (index, stream) in wanted.streams.iter().enumerate() {
            let found = wanted.calls.iter().find(|(at, _)| *at == index);
            let Some((_, number)) = found else {
                if let Ok((_, outcome)) = result {
                    self.know(key, wanted, stream, outcome);
                }
                continue;
            };
            let Some(call) = self.calls.get_mut(number) else {
                continue;
            };
            match result {
                Ok(done) => edits.extend(learned(cx, call, id, done, signed)),
                Err(_) => call.vm_is_refused(cx, id),
            }
            self.after(cx, *number);
        }
        // Calls whose streams the command did not speak of.
        let beyond = wanted.streams.len();
        for (_, number) in wanted.calls.iter().filter(|(at, _)| *at >= beyond) {
            if let Some(call) = self.calls.get_mut(number) {
                match result {
                    Ok(done) => edits.extend(learned(cx, call, id, done, signed)),
                    Err(_) => call.vm_is_refused(cx, id),
                }
            }
            self.after(cx, *number);
        }
    }

    /// What came of a command that named its terminations by wildcards: each has its own
    /// result, or all have one.
    fn done_by_wildcards(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        (id, wanted): (u32, &Wanted),
        reply: &Reply,
        edits: &mut Vec<Edit>,
    ) {
        let mut all = Outcome::default();
        if let Some(first) = reply.results.first() {
            all.place.context = first.place.context.clone();
        }
        let calls: BTreeSet<u32> = wanted.calls.iter().map(|(_, call)| *call).collect();
        for number in calls {
            if self.lines_of.get(&number) != Some(&key) {
                continue;
            }
            let Some(call) = self.calls.get_mut(&number) else {
                continue;
            };
            let name = &call.connection.place.termination;
            let mut results = reply.results.iter().enumerate();
            let own = results.find(|(_, outcome)| outcome.place.termination == *name);
            let done = own.unwrap_or((usize::MAX, &all));
            match reply.error.or(done.1.error) {
                None => edits.extend(learned(cx, call, id, done, reply.signed)),
                Some(_) => call.vm_is_refused(cx, id),
            }
            self.after(cx, number);
        }
    }

    /// A connection that is no call's was made or changed.
    fn know(&mut self, key: LineKey, wanted: &Wanted, stream: &Stream, outcome: &Outcome) {
        let mut place = wanted.place.clone();
        for (asked, said) in [
            (&mut place.termination, &outcome.place.termination),
            (&mut place.connection, &outcome.place.connection),
            (&mut place.context, &outcome.place.context),
        ] {
            if said.one().is_some() {
                *asked = said.clone();
            }
        }
        if place.connection == Selector::Choose {
            // The reply gives no name; it cannot be spoken of later.
            return;
        }
        let mut streams = outcome.streams.iter();
        let local = streams
            .find(|said| said.id == stream.id)
            .and_then(|said| said.local.as_deref());
        let before = Before {
            local: local.and_then(|sdp| Described::answer(sdp, None).ok()),
            mode: stream.mode,
        };
        if let Some(line) = self.lines.get_mut(&key) {
            line.know(place, stream.id, before);
        }
    }

    /// An audit shows the VM what the VM had said.
    fn audited(
        &mut self,
        key: LineKey,
        wanted: &Wanted,
        (local, remote): (bool, bool),
        (operation, outcome): (usize, &Outcome),
        edits: &mut Vec<Edit>,
    ) {
        for (index, stream) in outcome.streams.iter().enumerate() {
            let end = match (&stream.local, &stream.remote) {
                (_, Some(_)) => End::Remote,
                (Some(_), None) if remote && !local => End::Local,
                _ => continue,
            };
            let mut place = wanted.place.clone();
            if outcome.place.termination.one().is_some() {
                place.termination = outcome.place.termination.clone();
            }
            let call = self.on(key).find(|call| {
                call.connection.stream == stream.id && is_at(&call.connection.place, &place)
            });
            if let Some(sdp) = call.and_then(Call::remote_for_vm) {
                let at = At {
                    part: 0,
                    operation,
                    stream: index,
                };
                edits.push(Edit::Description { at, end, sdp });
            }
        }
    }

    /// A reply to a command of our own; it may come more than once.
    fn own_reply(&mut self, cx: &mut Context<'_>, key: LineKey, call: u32, reply: &Reply) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        let Some(own) = line.own(reply.id) else {
            return;
        };
        if std::mem::replace(&mut own.answered, true) {
            return;
        }
        self.requests.answered(cx.now, &(key, reply.id));
        let mut results = reply.results.iter();
        let error = reply
            .error
            .or_else(|| results.find_map(|outcome| outcome.error));
        let mut streams = reply.results.iter().flat_map(|outcome| &outcome.streams);
        let local = streams.find_map(|stream| stream.local.as_deref());
        if let Some(call) = self.calls.get_mut(&call) {
            match error {
                Some(code) => call.own_replied(cx, Err(Some(code))),
                None => call.own_replied(cx, Ok(local)),
            }
        }
        self.after(cx, call);
    }

    /// Somebody works at a transaction.
    pub(super) fn pending(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        datagram: &Datagram,
        (index, id): (usize, u32),
        treated: &mut Treated,
    ) {
        let line = self.lines.get_mut(&key);
        let Some(own) = line.and_then(|line| line.own(id)) else {
            return;
        };
        if datagram.side != Side::Net {
            return;
        }
        match own.purpose {
            OwnPurpose::Reissue(vms) => treated.edits.push(Edit::Id {
                part: index,
                id: vms,
            }),
            OwnPurpose::Call(call) => {
                self.touched.insert(call);
                self.requests.provisional(cx.now, &(key, id));
                treated.drop(index);
            }
        }
    }
}

/// What a reply to a command of our own asks to hear.
fn acknowledge(cx: &mut Context<'_>, codec: &dyn Codec, own: &Own, reply: &Reply) {
    let segment = reply
        .segment
        .and_then(|segment| codec.acknowledge_segment(reply.id, segment, &own.dialect));
    let whole = reply
        .wants_acknowledgement
        .then(|| codec.acknowledge(reply.id, &own.dialect));
    for payload in segment.into_iter().chain(whole) {
        cx.send(Datagram {
            side: Side::Net,
            transport: own.way.transport,
            src: own.way.vm,
            dst: own.way.gateway,
            payload,
        });
    }
}

/// A call learns what the gateway has done for it; what the VM is to be told
/// instead of the gateway's own description.
fn learned(
    cx: &mut Context<'_>,
    call: &mut Call,
    id: u32,
    (operation, outcome): (usize, &Outcome),
    signed: bool,
) -> Option<Edit> {
    if signed {
        call.gateway_signs();
    }
    let mut streams = outcome.streams.iter();
    let stream = streams.position(|said| said.id == call.connection.stream);
    let local = stream.and_then(|at| outcome.streams.get(at)?.local.as_deref());
    call.gateway_replies(cx, id, &outcome.place, local);
    local?;
    let at = At {
        part: 0,
        operation,
        stream: stream?,
    };
    Some(Edit::Description {
        at,
        end: End::Local,
        sdp: call.local_for_vm()?,
    })
}

/// The results of a reply, each taken once.
pub(super) struct Results<'a> {
    reply: &'a Reply,
    taken: Vec<bool>,
}

impl<'a> Results<'a> {
    pub(super) fn new(reply: &'a Reply) -> Self {
        Self {
            reply,
            taken: vec![false; reply.results.len()],
        }
    }

    /// What came of an operation: the first result not taken that may be its. An
    /// operation without one was not done.
    pub(super) fn of(&mut self, wanted: &Wanted) -> Result<(usize, &'a Outcome), u16> {
        if let Some(code) = self.reply.error {
            return Err(code);
        }
        let results = self.reply.results.iter().enumerate();
        let free = results.zip(&self.taken).filter(|(_, taken)| !**taken);
        let found = free
            .map(|(result, _)| result)
            .find(|(_, outcome)| fits(wanted, outcome));
        let Some((index, outcome)) = found else {
            // H.248.1 §8.2.1: what follows a command that failed is not done.
            return Err(0);
        };
        if let Some(taken) = self.taken.get_mut(index) {
            *taken = true;
        }
        match outcome.error {
            Some(code) => Err(code),
            None => Ok((index, outcome)),
        }
    }

    /// All that may be an operation's with wildcards, also those that are taken:
    /// where it ends and the next begins, a reply does not say.
    fn all_of(&self, wanted: &Wanted) -> Vec<(usize, &'a Outcome)> {
        let results = self.reply.results.iter().enumerate();
        results
            .filter(|(_, outcome)| outcome.error.is_none() && fits(wanted, outcome))
            .collect()
    }
}

/// Whether a result may be an operation's.
fn fits(wanted: &Wanted, outcome: &Outcome) -> bool {
    match outcome.place.termination.one() {
        Some(name) => {
            wanted.place.termination == Selector::Choose || wanted.place.termination.selects(name)
        }
        None => true,
    }
}
