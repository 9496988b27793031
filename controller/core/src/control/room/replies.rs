//! Replies: to the VM's commands, to the gateway's, to our own.

use super::super::call::{Before, Call};
use super::super::line::{Own, OwnPurpose, Wanted, is_at};
use super::super::message::{At, Edit, End, Kind, Outcome, Part, Reply, Selector, Stream};
use super::{LineKey, Room, Treated, forward, way};
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
        let mut id = reply.id;
        if asker == Side::Vm
            && let Some(own) = line.own(reply.id)
        {
            match own.purpose {
                OwnPurpose::Reissue(vms) => {
                    treated.edits.push(Edit::Id {
                        part: index,
                        id: vms,
                    });
                    id = vms;
                }
                OwnPurpose::Call(call) => {
                    treated.dropped += 1;
                    treated.edits.push(Edit::Drop { part: index });
                    return self.own_reply(cx, key, call, reply);
                }
            }
        }
        let Some(transaction) = line.transaction(asker, id) else {
            return;
        };
        if transaction.reissued.is_some() && id == reply.id {
            // The answer to what the VM was not to hear of.
            treated.dropped += 1;
            treated.edits.push(Edit::Drop { part: index });
            return;
        }
        if let Some(known) = &transaction.reply {
            let edits = known.iter().cloned();
            treated.edits.extend(edits.map(|edit| edit.in_part(index)));
            return;
        }
        let asked = transaction.asked.clone();
        let alone = asked.len() == 1;
        let reissued = transaction.reissued.is_some();
        let mut edits = Vec::new();
        let mut reissue = false;
        let mut results = Results::new(reply);
        for wanted in &asked {
            let result = results.of(wanted);
            match (asker, &wanted.kind) {
                (Side::Vm, Kind::Create | Kind::Modify | Kind::Move) => {
                    let again = alone && wanted.substituted && !reissued;
                    reissue |= self.done(cx, key, (id, wanted), result, again, &mut edits);
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
                    self.audited(key, wanted, (*local, *remote), result, &mut edits);
                }
                _ => {}
            }
        }
        if reissue {
            treated.dropped += 1;
            treated.edits.push(Edit::Drop { part: index });
            return self.reissue(cx, key, id);
        }
        treated
            .edits
            .extend(edits.iter().cloned().map(|edit| edit.in_part(index)));
        if let Some(transaction) = self
            .lines
            .get_mut(&key)
            .and_then(|line| line.transaction(asker, id))
        {
            transaction.reply = Some(edits);
        }
    }

    /// What came of a command that makes or changes a connection. True: it is to be
    /// sent again as the VM wrote it.
    fn done(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        (id, wanted): (u32, &Wanted),
        result: Result<(usize, &Outcome), u16>,
        may_go_again: bool,
        edits: &mut Vec<Edit>,
    ) -> bool {
        let mut again = false;
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
                Ok((operation, outcome)) => {
                    let at = outcome.streams.iter().position(|s| s.id == stream.id);
                    let local = at.and_then(|at| outcome.streams.get(at)?.local.as_deref());
                    call.gateway_replies(cx, id, &outcome.place, local);
                    if let (Some(stream), Some(_)) = (at, local)
                        && let Some(sdp) = call.local_for_vm()
                    {
                        edits.push(Edit::Description {
                            at: At {
                                part: 0,
                                operation,
                                stream,
                            },
                            end: End::Local,
                            sdp,
                        });
                    }
                }
                Err(code) if may_go_again => again |= call.gateway_refuses(cx, id, code),
                Err(_) => call.vm_is_refused(cx, id),
            }
            self.after(cx, *number);
        }
        again
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
        result: Result<(usize, &Outcome), u16>,
        edits: &mut Vec<Edit>,
    ) {
        let Ok((operation, outcome)) = result else {
            return;
        };
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
            let call = self.calls.values().find(|call| {
                call.connection.stream == stream.id
                    && self.lines_of.get(&call.id()) == Some(&key)
                    && is_at(&call.connection.place, &place)
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
        let codec = line.codec;
        let Some(own) = line.own(reply.id) else {
            return;
        };
        if reply.wants_acknowledgement {
            cx.send(Datagram {
                side: Side::Net,
                transport: own.way.transport,
                src: own.way.vm,
                dst: own.way.gateway,
                payload: codec.acknowledge(reply.id, &own.dialect),
            });
        }
        if std::mem::replace(&mut own.answered, true) {
            return;
        }
        self.requests.answered(cx.now, &(key, reply.id));
        let outcome = reply.results.first();
        let error = reply.error.or(outcome.and_then(|outcome| outcome.error));
        let local = outcome.and_then(|outcome| {
            let mut streams = outcome.streams.iter();
            streams.find_map(|stream| stream.local.as_deref())
        });
        if let Some(call) = self.calls.get_mut(&call) {
            match error {
                Some(code) => call.own_replied(cx, Err(Some(code))),
                None => call.own_replied(cx, Ok(local)),
            }
        }
        self.after(cx, call);
    }

    /// A command that names the TC was refused: it goes again as the VM wrote it,
    /// under an id of our own, since the gateway has answered the VM's.
    fn reissue(&mut self, cx: &mut Context<'_>, key: LineKey, id: u32) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        let own = line.own_id();
        let codec = line.codec;
        let Some(transaction) = line.transaction(Side::Vm, id) else {
            return;
        };
        let Some((datagram, part)) = transaction.original.take() else {
            return;
        };
        transaction.edits = vec![Edit::Id { part: 0, id: own }];
        transaction.reissued = Some(own);
        let Ok(message) = codec.read(&datagram.payload) else {
            return;
        };
        let others = (0..message.parts().len()).filter(|index| *index != part);
        let mut edits: Vec<Edit> = others.map(|part| Edit::Drop { part }).collect();
        edits.push(Edit::Id { part, id: own });
        let dialect = match message.parts().get(part) {
            Some(Part::Request(request)) => request.dialect.clone(),
            _ => Default::default(),
        };
        line.note_own(
            cx.now,
            own,
            Own {
                dialect,
                way: way(&datagram),
                purpose: OwnPurpose::Reissue(id),
                answered: false,
            },
        );
        self.expiry.set(&key, line.next_expiry());
        let payload = message.edited(&edits);
        forward(
            cx,
            Datagram {
                payload,
                ..datagram
            },
        );
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
            OwnPurpose::Call(_) => {
                self.requests.provisional(cx.now, &(key, id));
                treated.dropped += 1;
                treated.edits.push(Edit::Drop { part: index });
            }
        }
    }
}

/// The results of a reply, each taken once.
struct Results<'a> {
    reply: &'a Reply,
    taken: Vec<bool>,
}

impl<'a> Results<'a> {
    fn new(reply: &'a Reply) -> Self {
        Self {
            reply,
            taken: vec![false; reply.results.len()],
        }
    }

    /// What came of an operation: the first result not taken that may be its. An
    /// operation without one was not done.
    fn of(&mut self, wanted: &Wanted) -> Result<(usize, &'a Outcome), u16> {
        if let Some(code) = self.reply.error {
            return Err(code);
        }
        let fits = |outcome: &Outcome| match outcome.place.termination.one() {
            Some(name) => {
                wanted.place.termination == Selector::Choose
                    || wanted.place.termination.selects(name)
            }
            None => true,
        };
        let results = self.reply.results.iter().enumerate();
        let free = results.zip(&self.taken).filter(|(_, taken)| !**taken);
        let found = free.map(|(result, _)| result).find(|(_, o)| fits(o));
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
}
