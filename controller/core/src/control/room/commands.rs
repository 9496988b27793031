//! Requests: which calls they are of, and what is changed in them.

use std::net::IpAddr;

use super::super::call::{Answer, Asked, Before, Beginning, Call};
use super::super::codec::{Connection, Message};
use super::super::line::{Transaction, Wanted, is_at, selects};
use super::super::message::{
    At, Edit, End, Kind, Operation, Part, Request, Restart, Selector, Stream,
};
use super::{LineKey, Numbers, Room, Treated, way};
use crate::bypass::described::Described;
use crate::bypass::{Context, Reason};
use crate::engine::{Datagram, Event, Output, Side, VmConfig};
use crate::sdp::SessionDescription;
use crate::tc::CallProgress;

impl Room {
    pub(super) fn request(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        key: LineKey,
        datagram: &Datagram,
        (index, request): (usize, &Request),
        treated: &mut Treated,
    ) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        if let Some(known) = line.transaction(datagram.side, request.id) {
            // It comes again, and goes again as it went.
            if let Some((_, payload)) = &known.reissued {
                let payload = payload.clone();
                let datagram = datagram.clone();
                super::forward(
                    cx,
                    Datagram {
                        payload,
                        ..datagram
                    },
                );
                treated.drop(index);
                return;
            }
            let edits = known.edits.iter().cloned();
            treated.edits.extend(edits.map(|edit| edit.in_part(index)));
            return;
        }
        let mut transaction = Transaction::default();
        let mut waits = false;
        for (at, operation) in request.operations.iter().enumerate() {
            let mut wanted = Wanted {
                kind: operation.kind,
                place: operation.place.clone(),
                streams: operation.streams.clone(),
                calls: Vec::new(),
                substituted: false,
            };
            match (operation.kind, datagram.side) {
                (Kind::Create | Kind::Modify | Kind::Move, Side::Vm) => {
                    for stream in 0..operation.streams.len() {
                        let asked = Asked {
                            transaction: request.id,
                            operation: at,
                            stream,
                        };
                        let asks = Asks {
                            key,
                            datagram,
                            request,
                            operation,
                            asked,
                        };
                        let answer = self.stream(cx, numbers, &asks, &mut wanted);
                        let at = At {
                            part: 0,
                            operation: at,
                            stream,
                        };
                        match answer {
                            Answer::Pass => {}
                            Answer::Wait => waits = true,
                            Answer::Replace { sdp, codecs } => {
                                wanted.substituted = true;
                                transaction.edits.push(Edit::Description {
                                    at,
                                    end: End::Remote,
                                    sdp,
                                });
                                let codecs = codecs.map(|names| Edit::Codecs { at, names });
                                transaction.edits.extend(codecs);
                            }
                        }
                    }
                    if operation.kind != Kind::Create {
                        self.others(key, &mut wanted);
                    }
                }
                (Kind::Delete, _) => self.delete(cx, key, &mut wanted),
                (Kind::Restart(Restart::Restart | Restart::Forced), _) => {
                    self.restart(cx, key, &wanted);
                }
                _ => {}
            }
            transaction.asked.push(wanted);
        }
        for operation in &request.operations {
            let asked = &transaction.asked;
            if operation.waits {
                self.progresses(cx, key, operation, CallProgress::Alerting, asked);
            }
            if let Some(rings) = operation.rings {
                let progress = match rings {
                    true => CallProgress::Ringback,
                    false => CallProgress::Quiet,
                };
                let of_call = self.progresses(cx, key, operation, progress, asked);
                if let Some(line) = self.lines.get_mut(&key) {
                    match (operation.kind, operation.place.termination.one()) {
                        (Kind::Notify, Some(name)) if !of_call => line.picks_up(cx.now, name),
                        _ if rings => line.is_rung(cx.now, &operation.place.termination),
                        _ => {}
                    }
                }
            }
        }
        if waits {
            let calls = transaction.asked.iter().flat_map(|wanted| &wanted.calls);
            treated.undecided.extend(calls.map(|(_, call)| call));
            treated.waiting.push(request.id);
            return;
        }
        if transaction.asked.iter().any(|wanted| wanted.substituted) {
            transaction.original = Some((datagram.clone(), index));
        }
        let edits = transaction.edits.iter().cloned();
        treated.edits.extend(edits.map(|edit| edit.in_part(index)));
        treated.going.push((request.id, transaction));
    }

    /// The party at a place is called, or no longer: its context's calls hear of it;
    /// those of this transaction where the context is yet to be made, and of the
    /// place where none is named (MGCP's RQNT and NTFY). False: there are none.
    fn progresses(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        operation: &Operation,
        progress: CallProgress,
        asked: &[Wanted],
    ) -> bool {
        let of_context = |call: &&mut Call| match operation.place.context.one() {
            Some(_) => call.connection.place.context == operation.place.context,
            None if operation.place.context == Selector::Absent => {
                selects(&operation.place, &call.connection.place)
            }
            None => {
                let mut calls = asked.iter().flat_map(|wanted| &wanted.calls);
                calls.any(|(_, id)| *id == call.id())
            }
        };
        let lines_of = &self.lines_of;
        let of_line = |call: &&mut Call| lines_of.get(&call.id()) == Some(&key);
        let mut any = false;
        for call in self.calls.values_mut().filter(of_line).filter(of_context) {
            any |= !call.is_over();
            call.progresses(cx, progress);
        }
        any
    }

    /// One stream of a command of the VM's that makes or changes a connection.
    fn stream(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        asks: &Asks<'_>,
        wanted: &mut Wanted,
    ) -> Answer {
        let Some(stream) = asks.operation.streams.get(asks.asked.stream) else {
            return Answer::Pass;
        };
        let vm = cx.config.vms.get(asks.key.1);
        let known = match self.meant_by_wildcards(asks, stream)[..] {
            [] => self.call_of(asks, stream),
            [one] => Some(one),
            // Each would need media of its own.
            ref several => {
                for id in several {
                    if let Some(call) = self.calls.get_mut(id) {
                        match (&stream.remote, stream.mode) {
                            (Some(_), _) => call.vm_is_odd(cx, Reason::SdpNotUnderstood),
                            (None, Some(mode)) => call.vm_sets_mode(cx, mode),
                            (None, None) => {}
                        }
                    }
                    self.after(cx, *id);
                }
                return Answer::Pass;
            }
        };
        let remote = stream.remote.as_deref().map(|sdp| match remote(sdp, vm) {
            // It cannot be changed, nor could a command of our own be signed.
            Far::Vm(_) | Far::Nowhere(_) if asks.request.signed => {
                Far::VmOddly(Reason::SignallingAuthenticated)
            }
            far => far,
        });
        let id = match (known, &remote) {
            (Some(id), _) => id,
            (None, Some(Far::Vm(_) | Far::VmOddly(_))) => {
                match self.begin(cx, numbers, asks, stream) {
                    Some(id) => id,
                    None => return Answer::Pass,
                }
            }
            (None, _) => return Answer::Pass,
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return Answer::Pass;
        };
        wanted.calls.push((asks.asked.stream, id));
        call.connection.dialect = asks.request.dialect.clone();
        call.way = way(asks.datagram);
        let answer = match remote {
            None => {
                if let Some(mode) = stream.mode {
                    call.vm_sets_mode(cx, mode);
                }
                if call.is_undecided() {
                    Answer::Wait
                } else {
                    Answer::Pass
                }
            }
            Some(Far::Vm(described) | Far::Nowhere(described)) => {
                call.vm_says_alternatives(&stream.alternatives);
                call.vm_describes(cx, *described, stream.mode, stream.codecs.as_deref())
            }
            Some(Far::VmOddly(reason)) => {
                call.vm_is_odd(cx, reason);
                Answer::Pass
            }
            Some(Far::Other) => {
                let (place, before) = (call.connection.place.clone(), call.before());
                call.vm_turns_away(cx);
                wanted.calls.pop();
                if let Some(line) = self.lines.get_mut(&asks.key) {
                    line.know(place, stream.id, before);
                }
                Answer::Pass
            }
        };
        self.after(cx, id);
        answer
    }

    /// Calls at the place of a command that says nothing of their streams: its reply
    /// may, and a termination that moves takes them along.
    fn others(&self, key: LineKey, wanted: &mut Wanted) {
        let here = self.on(key).filter(|call| {
            !call.is_over()
                && call.created_by.is_none()
                && match wanted.place.termination {
                    Selector::All { .. } if wanted.kind == Kind::Move => {
                        let known = &call.connection.place.termination;
                        known
                            .one()
                            .is_some_and(|name| wanted.place.termination.selects(name))
                    }
                    Selector::All { .. } => selects(&wanted.place, &call.connection.place),
                    _ => is_at(&call.connection.place, &wanted.place),
                }
        });
        let others: Vec<u32> = here
            .map(Call::id)
            .filter(|id| !wanted.calls.iter().any(|(_, known)| known == id))
            .collect();
        let beyond = wanted.streams.len();
        wanted
            .calls
            .extend(others.into_iter().map(|id| (beyond, id)));
    }

    /// The calls of a stream of a command that names its terminations by wildcards.
    fn meant_by_wildcards(&self, asks: &Asks<'_>, stream: &Stream) -> Vec<u32> {
        let operation = asks.operation;
        if operation.kind == Kind::Create
            || !matches!(operation.place.termination, Selector::All { .. })
        {
            return Vec::new();
        }
        let meant = self.on(asks.key).filter(|call| {
            !call.is_over()
                && call.created_by.is_none()
                && call.connection.stream == stream.id
                && match operation.kind {
                    // Its place is where they go to.
                    Kind::Move => {
                        let known = &call.connection.place.termination;
                        known
                            .one()
                            .is_some_and(|name| operation.place.termination.selects(name))
                    }
                    _ => selects(&operation.place, &call.connection.place),
                }
        });
        meant.map(Call::id).collect()
    }

    /// The call of a stream of a command.
    fn call_of(&self, asks: &Asks<'_>, stream: &Stream) -> Option<u32> {
        let operation = asks.operation;
        let mut calls = self
            .on(asks.key)
            .filter(|call| !call.is_over() && call.connection.stream == stream.id);
        let found = calls.find(|call| match call.created_by {
            Some(by) => by == asks.asked,
            None => {
                operation.kind != Kind::Create && is_at(&call.connection.place, &operation.place)
            }
        });
        found.map(Call::id)
    }

    /// A new call; `None`: one too many.
    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        asks: &Asks<'_>,
        stream: &Stream,
    ) -> Option<u32> {
        let creates = asks.operation.kind == Kind::Create;
        let line = self.lines.get_mut(&asks.key)?;
        let known = match creates {
            true => None,
            false => line.take_known(&asks.operation.place, stream.id),
        };
        let unseen = !creates && known.is_none();
        // Step 602: who is in its context has picked up, and is not rung.
        let of_context = |operation: &&Operation| {
            operation.place.context == asks.operation.place.context && operation.rings != Some(true)
        };
        let mut beside = asks.request.operations.iter().filter(of_context);
        let incoming = beside.any(|operation| line.is_calling(&operation.place.termination));
        let (place, before) =
            known.unwrap_or_else(|| (asks.operation.place.clone(), Before::default()));
        let id = *numbers.next;
        *numbers.next = numbers.next.wrapping_add(1);
        let mut call = Call::new(
            cx.now,
            Beginning {
                id,
                codec: line.codec,
                vm_index: asks.key.1,
                way: way(asks.datagram),
                connection: Connection {
                    dialect: asks.request.dialect.clone(),
                    place,
                    stream: stream.id,
                },
                created_by: creates.then_some(asks.asked),
                before,
                incoming,
            },
        );
        let vm = asks.key.1;
        let full = !numbers.room && !self.make_room(cx, None)
            || !numbers.room_of_vm && !self.make_room(cx, Some(vm));
        if full {
            let view = call.view(cx.config).beyond_the_limit();
            cx.output.push_back(Output::Event(Event::Untouched(view)));
            return None;
        }
        if unseen {
            call.only_watch(Reason::AlreadyUp);
        }
        self.occupancy.set(id, vm, call.may_go());
        self.calls.insert(id, call);
        self.lines_of.insert(id, asks.key);
        self.by_line.entry(asks.key).or_default().insert(id);
        Some(id)
    }

    /// Forgets the call (of this VM, if one is named) that ended first, if one has, or
    /// one that is only watched.
    fn make_room(&mut self, cx: &mut Context<'_>, vm: Option<usize>) -> bool {
        let over = self.occupancy.first(vm);
        if let Some(id) = over {
            if let Some(call) = self.calls.get_mut(&id) {
                call.forget(cx);
            }
            self.remove(id);
        }
        over.is_some()
    }

    /// Connections end, by either side.
    fn delete(&mut self, cx: &mut Context<'_>, key: LineKey, wanted: &mut Wanted) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.forget_connections(&wanted.place);
        }
        for id in self.selected(key, wanted) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.end(cx);
                wanted.calls.push((0, id));
            }
            self.after(cx, id);
        }
    }

    /// A gateway, or some of its terminations, begins anew.
    fn restart(&mut self, cx: &mut Context<'_>, key: LineKey, wanted: &Wanted) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.forget_connections(&wanted.place);
        }
        for id in self.selected(key, wanted) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.gone(cx);
            }
            self.after(cx, id);
        }
    }

    /// The live calls at a place.
    fn selected(&self, key: LineKey, wanted: &Wanted) -> Vec<u32> {
        let here = self
            .on(key)
            .filter(|call| !call.is_over() && selects(&wanted.place, &call.connection.place));
        here.map(Call::id).collect()
    }

    /// A delete is about to go: commands that wait for the same connection go
    /// before it, as they came.
    pub(super) fn let_go_of_deleted(
        &mut self,
        cx: &mut Context<'_>,
        numbers: &mut Numbers<'_>,
        key: LineKey,
        message: &dyn Message,
    ) {
        let operations = message.parts().iter().flat_map(|part| match part {
            Part::Request(request) => request.operations.as_slice(),
            _ => &[],
        });
        let mut released = false;
        for operation in operations.filter(|operation| operation.kind == Kind::Delete) {
            let undecided: Vec<u32> = self
                .on(key)
                .filter(|call| {
                    call.is_undecided() && selects(&operation.place, &call.connection.place)
                })
                .map(Call::id)
                .collect();
            for id in undecided {
                released = true;
                if let Some(call) = self.calls.get_mut(&id) {
                    call.give_up_bypass(cx, Reason::TcNoAnswer);
                }
                self.after(cx, id);
            }
        }
        if released {
            self.retry(cx, numbers, key);
        }
    }
}

/// A stream of a command of the VM's.
struct Asks<'a> {
    key: LineKey,
    datagram: &'a Datagram,
    request: &'a Request,
    operation: &'a Operation,
    asked: Asked,
}

/// Whose a Remote description is.
#[derive(Debug)]
enum Far {
    /// The VM's.
    Vm(Box<Described>),
    /// The VM's, but with nothing in it that can be bypassed.
    VmOddly(Reason),
    /// On hold by a null address (RFC 2543): whose it is, it does not say.
    Nowhere(Box<Described>),
    /// Another's.
    Other,
}

fn remote(sdp: &[u8], vm: Option<&VmConfig>) -> Far {
    let is_vm = |ip: IpAddr| vm.is_some_and(|vm| vm.address_like(ip) == Some(ip));
    match Described::offer(sdp, None) {
        Ok(described) if described.media.is_null_address() => Far::Nowhere(Box::new(described)),
        Ok(described) if is_vm(described.media.rtp.ip()) && described.media.channel.is_secure() => {
            Far::VmOddly(Reason::MediaEncrypted)
        }
        Ok(described) if is_vm(described.media.rtp.ip()) => Far::Vm(Box::new(described)),
        Ok(_) => Far::Other,
        Err(error) => {
            let names_vm = SessionDescription::parse(sdp).is_ok_and(|sdp| {
                let own = sdp.connection().into_iter();
                let streams = sdp.media().iter().filter_map(|m| m.connection.as_ref());
                own.chain(streams).any(|c| c.ip().is_some_and(is_vm))
            });
            if names_vm {
                Far::VmOddly(error.reason())
            } else {
                Far::Other
            }
        }
    }
}
