//! The engine: every datagram to the registrar, the thin clients' agent, its
//! call, or straight on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::journal::Journal;
use super::{
    CallView, ClientView, ConnectionId, Datagram, EngineConfig, Event, Leg, Output, Protocol,
    Reception, Side,
};
use crate::bypass::Context;
use crate::bypass::flows::Anchors;
use crate::call::{Call, Heard, Reason, begins_call};
use crate::control::Room;
use crate::deadlines::Deadlines;
use crate::occupancy::Occupancy;
use crate::registrar::Registrar;
use crate::sip::dialog::opposite;
use crate::sip::identifiers::Identifiers;
use crate::sip::transaction::Addresses;
use crate::sip::{Message, Method, ResponseBuilder, SipError};
use crate::tc::{LegId, TcAgent, TcEvent, TcOutput};
use crate::time::Time;

/// Calls that are followed at once; further ones pass untouched.
const CALLS: usize = 10_000;
/// Pairs of peer and fault that are remembered as reported.
const FAULTS: usize = 4096;
/// Call-IDs of INVITEs that could not be parsed.
const NONSENSE: usize = 256;

/// Everything that Sidestep does, but for touching the world.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: EngineConfig,
    pub(super) by_address: HashMap<IpAddr, usize>,
    /// Each apart: a table of them would have much room for calls that are not.
    pub(super) calls: HashMap<u32, Box<Call>>,
    pub(super) by_call_id: HashMap<(usize, Vec<u8>), u32>,
    /// Calls of H.248 and MGCP.
    pub(super) control: Room,
    pub(super) deadlines: Deadlines<u32>,
    /// Calls of each VM, and which may go to make room.
    pub(super) occupancy: Occupancy,
    pub(super) next_call: u32,
    call_limit: usize,
    pub(super) tc: TcAgent,
    pub(super) registrar: Registrar,
    pub(super) anchors: Anchors,
    pub(super) identifiers: Identifiers,
    pub(super) output: VecDeque<Output>,
    /// Faults that have been reported.
    pub(super) faults: HashSet<(SocketAddr, &'static str)>,
    /// Messages that could not be understood, by kind.
    malformed: BTreeMap<&'static str, u64>,
    /// Calls whose INVITE could not be parsed.
    pub(super) nonsense: VecDeque<(usize, Vec<u8>)>,
    /// VMs one of whose calls has just ended.
    freed: Vec<usize>,
    /// Calls, by VM, that wait for another one to end.
    pub(super) waiting: BTreeSet<(usize, u32)>,
    pub(super) stopping: bool,
    /// Where changes are kept for the next run.
    pub(super) journal: Option<Journal>,
}

impl Engine {
    /// No call and no registration yet.
    pub fn new(config: EngineConfig, _now: Time) -> Self {
        let by_address = config
            .vms
            .iter()
            .enumerate()
            .flat_map(|(index, vm)| {
                let both = [Some(vm.address.into()), vm.address6.map(IpAddr::V6)];
                both.into_iter().flatten().map(move |ip| (ip, index))
            })
            .collect();
        let mut tc = TcAgent::new(config.seed, config.registrar_port, config.tc_answer_timeout);
        tc.admit(&config.thin_clients, &config.vms);
        Self {
            by_address,
            calls: HashMap::new(),
            by_call_id: HashMap::new(),
            control: Room::default(),
            deadlines: Deadlines::default(),
            occupancy: Occupancy::default(),
            next_call: config.first_call,
            call_limit: CALLS,
            tc,
            registrar: Registrar::new(
                &config.thin_clients,
                &config.vms,
                &config.realm,
                config.expires,
                config.seed,
            ),
            anchors: Anchors::new(config.anchor_ports.clone()),
            identifiers: Identifiers::new(config.seed, "calls"),
            output: VecDeque::new(),
            faults: HashSet::new(),
            malformed: BTreeMap::new(),
            nonsense: VecDeque::new(),
            freed: Vec::new(),
            waiting: BTreeSet::new(),
            stopping: false,
            journal: None,
            config,
        }
    }

    /// Follows at most so many calls at once; further ones pass untouched with
    /// the reason [`Reason::Limit`].
    pub fn set_call_limit(&mut self, calls: usize) {
        self.call_limit = calls;
    }

    /// A datagram has come through the door.
    pub fn handle_datagram(&mut self, now: Time, datagram: Datagram) {
        let own = match datagram.side {
            Side::Vm => datagram.src,
            Side::Net => datagram.dst,
        };
        let Some(&vm) = self.by_address.get(&own.ip()) else {
            return self.forward(datagram);
        };
        let to_registrar = datagram.side == Side::Net && own.port() == self.config.registrar_port;
        if to_registrar {
            self.at_registrar_port(now, &datagram);
            return self.settle(now);
        }
        match Protocol::of(&self.config, &datagram) {
            Protocol::Sip => {}
            protocol => return self.of_gateway_control(now, vm, protocol, datagram),
        }
        match Message::parse(&datagram.payload) {
            Ok(message) => self.of_call(now, vm, datagram, message),
            Err(SipError::KeepAlive) => self.forward(datagram),
            Err(error) => {
                self.malformed(datagram.src, error.what(), error.to_string());
                self.nonsense(now, vm, &datagram.payload);
                self.forward(datagram);
            }
        }
        self.settle(now);
    }

    /// A message, or all the rest of a connection's stream, is left alone and goes on
    /// past the engine: it is counted by what is wrong with it, and its call says so.
    /// `begin`: what of it was there when that was seen.
    pub fn handle_untouched(&mut self, now: Time, begin: &Datagram, what: &'static str) {
        self.malformed(begin.src, what, what.to_owned());
        let own = match begin.side {
            Side::Vm => begin.src,
            Side::Net => begin.dst,
        };
        let to_registrar = begin.side == Side::Net && own.port() == self.config.registrar_port;
        if let Some(&vm) = self.by_address.get(&own.ip()).filter(|_| !to_registrar) {
            self.nonsense(now, vm, &begin.payload);
        }
        self.settle(now);
    }

    /// A thin client's connection to the registrar's port is gone: who has registered by
    /// it is not there until it registers again.
    pub fn handle_closed(&mut self, now: Time, connection: ConnectionId) {
        self.tc.closed(now, connection);
        let events = self.registrar.closed(connection);
        self.output.extend(events.into_iter().map(Output::Event));
        self.settle(now);
    }

    /// Runs what is due by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.tc.handle_timeout(now);
        for event in self.registrar.expire(now) {
            self.output.push_back(Output::Event(event));
        }
        while let Some(id) = self.deadlines.take_due(now) {
            // What feeds a VM's media timer is not worth writing down.
            let idle = self.calls.get(&id).is_some_and(|call| call.only_feeds(now));
            let touched = self.journal.as_ref().is_some_and(|j| j.is_touched(id));
            self.with_call(now, id, Call::handle_timeout);
            if let Some(journal) = self.journal.as_mut().filter(|_| idle && !touched) {
                journal.pass_over(id);
            }
        }
        while let Some(vm) = self.control.due(now) {
            self.with_control(now, vm, Room::run_due);
        }
        self.settle(now);
    }

    /// When [`Engine::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadlines
            .next()
            .into_iter()
            .chain(self.control.poll_timeout())
            .chain(self.tc.poll_timeout())
            .chain(self.registrar.next_expiry())
            .min()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// The datapath could not do what [`super::Datapath::Set`] asked for.
    pub fn datapath_refused(&mut self, now: Time, call: u32, reason: Reason) {
        self.give_up_bypass(now, call, reason);
        self.settle(now);
    }

    /// Answers [`super::Datapath::Look`]: when a packet, RTP or RTCP, of each leg's
    /// flows was last counted; legs of which none was are left out.
    pub fn media_seen(&mut self, now: Time, call: u32, seen: &[(Leg, Time)]) {
        match self.control.vm_of(call) {
            Some(vm) => self.with_control(now, vm, |control, cx, numbers| {
                control.media_seen(cx, numbers, call, seen);
            }),
            None => self.with_call(now, call, |call, cx| call.media_seen(cx, seen)),
        }
        self.settle(now);
    }

    /// The datapath has met a packet of a [`super::FlowKind::Learn`] flow: to a call's
    /// anchor `at`, from `from`. `expected`: when a packet of the flow that is expected
    /// at this anchor was last counted. True: the thin client, which is behind a NAT,
    /// sends from there, and the call's flows have moved.
    pub fn media_from(
        &mut self,
        now: Time,
        call: u32,
        (at, from): (SocketAddr, SocketAddr),
        expected: Option<Time>,
    ) -> bool {
        let mut moved = false;
        match self.control.vm_of(call) {
            Some(vm) => self.with_control(now, vm, |control, cx, numbers| {
                moved = control.media_from(cx, numbers, call, (at, from), expected);
            }),
            None => self.with_call(now, call, |call, cx| {
                moved = call.media_from(cx, at, from, expected);
            }),
        }
        self.settle(now);
        moved
    }

    /// Answers [`super::Datapath::Look`] as well: what has passed of each leg's RTP, and
    /// what its receiver says of it.
    pub fn media_received(&mut self, now: Time, call: u32, receptions: &[Reception]) {
        self.with_call(now, call, |call, cx| call.media_received(cx, receptions));
        self.settle(now);
    }

    /// Sidestep stops: calls are handed back to their VMs as far as their peers
    /// answer in time, and new ones pass untouched.
    pub fn shutdown(&mut self, now: Time) {
        self.stopping = true;
        let mut calls: Vec<u32> = self.calls.keys().copied().collect();
        calls.extend(self.control.ids());
        calls.sort_unstable();
        for id in calls {
            self.give_up_bypass(now, id, Reason::Stopping);
        }
        self.settle(now);
    }

    fn give_up_bypass(&mut self, now: Time, id: u32, reason: Reason) {
        match self.control.vm_of(id) {
            Some(vm) => self.with_control(now, vm, |control, cx, numbers| {
                control.give_up_bypass(cx, numbers, id, reason);
            }),
            None => self.with_call(now, id, |call, cx| call.give_up_bypass(cx, reason)),
        }
    }

    /// Whether a request of ours in a call waits for its answer: who stops now
    /// leaves an answer without its ACK, and 32 s later the call is hung up.
    pub fn is_waiting(&self) -> bool {
        self.calls.values().any(|call| call.is_waiting()) || self.control.is_waiting()
    }

    /// The calls, oldest first; ended ones for another minute.
    pub fn calls(&self) -> Vec<CallView> {
        let mut views: Vec<CallView> = self
            .calls
            .values()
            .map(|call| call.view(&self.config))
            .chain(self.control.views(&self.config))
            .collect();
        views.sort_by_key(|view| view.id);
        views
    }

    /// The registered thin clients.
    pub fn clients(&self) -> Vec<ClientView> {
        self.registrar.clients()
    }

    /// How many messages could not be understood, by kind; every one of them, also
    /// those that were not reported again.
    pub fn malformed_counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.malformed.iter().map(|(kind, count)| (*kind, *count))
    }

    /// Leaves these anchors (even ports), and no others, to flows that an earlier
    /// run has left in the datapath: no call gets them.
    pub fn leave_anchors(&mut self, anchors: impl IntoIterator<Item = SocketAddr>) {
        self.anchors.leave(anchors.into_iter().collect());
    }

    /// How many pairs of anchor ports are in use.
    pub fn anchors_in_use(&self) -> usize {
        self.anchors.in_use()
    }

    fn forward(&mut self, datagram: Datagram) {
        self.output.push_back(Output::Send(Datagram {
            side: opposite(datagram.side),
            ..datagram
        }));
    }

    /// A message to the registrar's port, in whichever protocol.
    fn at_registrar_port(&mut self, now: Time, datagram: &Datagram) {
        let protocol = Protocol::of_content(&datagram.payload);
        if protocol != Protocol::Sip {
            if let Err(error) = self.tc.handle_gateway(now, protocol, datagram) {
                self.malformed(datagram.src, error.kind, error.detail);
            }
            return;
        }
        match Message::parse(&datagram.payload) {
            Ok(message) => self.sip_at_registrar_port(now, datagram, &message),
            // Nobody but the registrar listens at that port of the VM.
            Err(SipError::KeepAlive) => {}
            Err(error) => {
                self.malformed(datagram.src, error.what(), error.to_string());
                self.tc.handle_unparsed(ends(datagram), &datagram.payload);
            }
        }
    }

    /// A SIP message to the registrar's port: a REGISTER, or of a TC's leg. Another
    /// request has no business here.
    fn sip_at_registrar_port(&mut self, now: Time, datagram: &Datagram, message: &Message) {
        let from = ends(datagram);
        if message.is_request() && *message.method() == Method::Register {
            let outcome = self.registrar.handle(now, from, message);
            if let Some(user) = outcome.bound {
                self.tc.reached(&user, from);
            }
            self.output
                .extend(outcome.events.into_iter().map(Output::Event));
            self.output.extend(outcome.reply.map(Output::Send));
        } else if !self.tc.handle_sip(now, from, message)
            && message.is_request()
            && *message.method() != Method::Ack
        {
            let payload = ResponseBuilder::new(message, 481, Some("sidestep")).build();
            self.output.push_back(Output::Send(Datagram {
                side: Side::Net,
                transport: datagram.transport,
                src: datagram.dst,
                dst: datagram.src,
                payload,
            }));
        }
    }

    /// A message between a VM and its gateway.
    fn of_call(&mut self, now: Time, vm: usize, datagram: Datagram, message: Message) {
        let key = (vm, message.call_id().to_vec());
        let known = self.by_call_id.get(&key).copied();
        let Some(id) = known.or_else(|| self.begin(now, key, &datagram, &message)) else {
            return self.forward(datagram);
        };
        let heard = Heard {
            side: datagram.side,
            transport: datagram.transport,
            src: datagram.src,
            dst: datagram.dst,
            message,
        };
        self.with_call(now, id, |call, cx| call.handle(cx, heard));
    }

    /// A call of an INVITE, or of a response to one that was not seen. `None`:
    /// the message is of no call, or of one too many.
    fn begin(
        &mut self,
        now: Time,
        key: (usize, Vec<u8>),
        datagram: &Datagram,
        message: &Message,
    ) -> Option<u32> {
        let (_, method) = message.cseq();
        // A final refusal, or what follows one, makes no call.
        if method != Method::Invite || message.status().is_some_and(|s| s >= 300) {
            return None;
        }
        let unseen = self.nonsense.iter().position(|known| *known == key);
        let reason = match unseen {
            Some(at) => {
                self.nonsense.remove(at);
                Some(Reason::SipNotUnderstood)
            }
            None => (!begins_call(message)).then_some(Reason::AlreadyUp),
        };
        let vm = self.config.vms.get(key.0)?;
        // The request's view, of a response too.
        let (side, src, dst) = if message.is_request() {
            (datagram.side, datagram.src, datagram.dst)
        } else {
            (opposite(datagram.side), datagram.dst, datagram.src)
        };
        let invite = Heard {
            side,
            transport: datagram.transport,
            src,
            dst,
            message: message.clone(),
        };
        let id = self.next_call;
        self.next_call = self.next_call.wrapping_add(1);
        let mut call = Call::new(now, id, key.0, vm.address, &invite);
        let full = self.is_full() && !self.make_room(now, None)
            || self.is_vm_full(key.0) && !self.make_room(now, Some(key.0));
        if full {
            let view = call.view(&self.config).beyond_the_limit();
            self.output.push_back(Output::Event(Event::Untouched(view)));
            return None;
        }
        if let Some(reason) = reason {
            call.only_watch(reason);
        }
        self.occupancy.set(id, key.0, call.may_go());
        self.by_call_id.insert(key, id);
        self.calls.insert(id, Box::new(call));
        Some(id)
    }

    /// Whether a VM has as many calls as it may.
    pub(super) fn is_vm_full(&self, vm: usize) -> bool {
        let most = self.config.calls.max_per_vm;
        self.occupancy.count_of(vm) + self.control.count_of(vm) >= most
    }

    /// Whether as many calls are followed as may be.
    pub(super) fn is_full(&self) -> bool {
        self.calls.len() + self.control.len() >= self.call_limit
    }

    /// Forgets the call that ended first, if one has, or one that is only watched.
    /// `of`: only of this VM.
    fn make_room(&mut self, now: Time, of: Option<usize>) -> bool {
        let over = self.occupancy.first(of);
        if let Some(id) = over {
            self.with_call(now, id, |call, cx| call.forget(cx));
            self.remove(id);
        }
        over.is_some()
    }

    /// Bytes of a call that could not be parsed. If they have a Call-ID all the
    /// same, their call says so.
    fn nonsense(&mut self, now: Time, vm: usize, bytes: &[u8]) {
        let Some(call_id) = find_call_id(bytes) else {
            return;
        };
        let key = (vm, call_id.to_vec());
        if let Some(&id) = self.by_call_id.get(&key) {
            self.with_call(now, id, Call::heard_nonsense);
        } else if bytes.trim_ascii_start().starts_with(b"INVITE ") && !self.nonsense.contains(&key)
        {
            if self.nonsense.len() >= NONSENSE {
                self.nonsense.pop_front();
            }
            self.nonsense.push_back(key);
        }
    }

    pub(super) fn malformed(&mut self, peer: SocketAddr, kind: &'static str, detail: String) {
        *self.malformed.entry(kind).or_default() += 1;
        if self.faults.contains(&(peer, kind)) {
            return;
        }
        if self.faults.len() >= FAULTS {
            self.faults.clear();
        }
        self.faults.insert((peer, kind));
        self.output
            .push_back(Output::Event(Event::Malformed { peer, kind, detail }));
    }

    /// Does something with a call, and notes what came of it.
    fn with_call(&mut self, now: Time, id: u32, act: impl FnOnce(&mut Call, &mut Context<'_>)) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let mut cx = Context {
            now,
            config: &self.config,
            binding: self.registrar.binding_for_vm(call.vm_index()),
            tc: &mut self.tc,
            anchors: &mut self.anchors,
            identifiers: &mut self.identifiers,
            output: &mut self.output,
            stopping: self.stopping,
        };
        let lasted = !call.is_over();
        act(call, &mut cx);
        if lasted && call.is_over() {
            self.freed.push(call.vm_index());
        }
        if call.waits_for_tc() {
            self.waiting.insert((call.vm_index(), id));
        } else {
            self.waiting.remove(&(call.vm_index(), id));
        }
        call.watch_media(&cx);
        call.report(&mut cx);
        self.deadlines.set(&id, call.next_timeout());
        self.occupancy.set(id, call.vm_index(), call.may_go());
        if let Some(journal) = &mut self.journal {
            journal.touch(id);
        }
        if call.is_forgotten(now) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u32) {
        self.deadlines.set(&id, None);
        self.occupancy.remove(id);
        if let Some(journal) = &mut self.journal {
            journal.touch(id);
        }
        if let Some(call) = self.calls.remove(&id) {
            self.by_call_id.remove(&call.key());
        }
    }

    /// What the thin clients' agent has for the calls, until it has no more.
    pub(super) fn settle(&mut self, now: Time) {
        loop {
            while let Some(output) = self.tc.poll_output() {
                match output {
                    TcOutput::Send(datagram) => self.output.push_back(Output::Send(datagram)),
                    TcOutput::Event(LegId(id), event) => self.tc_event(now, id, event),
                    TcOutput::Bound(binding) => {
                        let event = self.registrar.bind_gateway(binding);
                        self.output.extend(event.map(Output::Event));
                    }
                    TcOutput::Unbound { user } => {
                        let event = self.registrar.unbind_gateway(&user);
                        self.output.extend(event.map(Output::Event));
                    }
                    TcOutput::Note(event) => self.output.push_back(Output::Event(event)),
                }
            }
            let Some(vm) = self.freed.pop() else {
                return;
            };
            self.tc_is_free(now, vm);
        }
    }

    /// A call of this VM has ended: the first that waits for the TC gets it.
    fn tc_is_free(&mut self, now: Time, vm: usize) {
        let first = self.waiting.range((vm, 0)..=(vm, u32::MAX)).next();
        if let Some(&(_, id)) = first {
            self.with_call(now, id, Call::tc_is_free);
        }
    }

    fn tc_event(&mut self, now: Time, id: u32, event: TcEvent) {
        match self.control.vm_of(id) {
            Some(vm) => self.with_control(now, vm, |control, cx, numbers| {
                control.tc_event(cx, numbers, id, event);
            }),
            None => self.with_call(now, id, |call, cx| call.tc_event(cx, event)),
        }
    }
}

/// The two ends that a message at the registrar's port has come between.
fn ends(datagram: &Datagram) -> Addresses {
    Addresses {
        local: datagram.dst,
        remote: datagram.src,
        transport: datagram.transport,
    }
}

/// The value of the first line that looks like a Call-ID header.
fn find_call_id(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|&b| b == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let name = name.trim_ascii();
        let is_call_id = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
        let value = value.get(1..)?.trim_ascii();
        (is_call_id && !value.is_empty()).then_some(value)
    })
}
