//! Connections: every one between a VM and another is two, one from each to
//! Sidestep, each with the other's real address and port. Those of thin clients to the
//! registrar end here.
//!
//! In: what the two listeners of the namespace accept, bytes. Out: messages, in the
//! order of their connection; bytes that are no messages go through here. Where a request
//! is to go to one whose connection is gone, another is made ([`made`]).
//!
//! Nothing grows without bound. A slow peer's other end is not read; beyond a number
//! of connections, of a VM or in all, the taps are told to let new ones pass. Thin
//! clients' are counted for themselves: the registrar's connections take none of the
//! gateways'.

mod client;
mod clients;
mod half;
mod layer;
mod made;
mod pair;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use sidestep_abi::door::Side as DoorSide;
use sidestep_core::engine::{ConnectionId, Datagram, Side};
use sidestep_core::stream::{Framer, Stream};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::namespace::Namespace;
use super::tls::Server;
use super::{Taken, Tls, links};
use crate::clock::{self, nanoseconds};
use crate::sockets::{self, Accepted, Listener};
use client::Client;
use clients::Clients;
use half::Half;
use layer::Layer;
use pair::{Fate, Pair};

/// Events taken in one turn.
const EVENTS: usize = 256;
/// Connections accepted of each side in one turn.
const ACCEPTS: usize = 64;
/// When no connection could be accepted, the next try is so much later.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Tokens of the listeners: these less the side.
const LISTENERS: u64 = u64::MAX;

/// What finds the messages in connections.
pub struct Framers {
    /// Between a VM and another, by the addresses of who made it and whom it was made
    /// to.
    pub between: Box<dyn Fn(SocketAddr, SocketAddr) -> Option<Framing> + Send>,
    /// In what a thin client sends to the registrar,
    pub of_client: Box<dyn Fn() -> Box<dyn Framer> + Send>,
    /// which has this port.
    pub registrar: u16,
    /// Ports at which Sidestep may make connections in anybody's name.
    pub own_ports: RangeInclusive<u16>,
}

/// What finds the messages of one connection.
pub struct Framing {
    /// In what its maker sends, and in what comes back.
    pub ends: [Box<dyn Framer>; 2],
    /// It is a WebSocket.
    pub is_websocket: bool,
}

/// How many connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub all: usize,
    /// Of one VM.
    pub per_vm: usize,
}

/// What became of connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionCounts {
    /// There now.
    pub open: u64,
    /// Accepted so far.
    pub accepted: u64,
    /// Made for requests whose connection was gone.
    pub made: u64,
    /// Ended by both sides.
    pub ended: u64,
    /// Broken: reset by one side, not to be made to the other, or given up.
    pub broken: u64,
    /// Could not be accepted.
    pub accept_failed: u64,
    /// Messages whose connection was gone, and no other was there.
    pub undeliverable: u64,
}

/// Connections of a VM that are encrypted and pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unread {
    /// How many have begun.
    pub begun: u64,
    /// When something of one came last, ns since the clock's origin.
    pub last_ns: u64,
}

/// All connections.
pub(super) struct Connections {
    epoll: Epoll,
    readable: AsyncFd<OwnedFd>,
    listeners: [Listener; 2],
    pairs: HashMap<u64, Pair>,
    /// Those of thin clients to the registrar.
    clients: Clients,
    /// Those that Sidestep has made.
    made: HashMap<u64, Client>,
    /// How many of its own ports have been used: the next is another.
    ports_used: u16,
    by_ends: HashMap<(SocketAddr, SocketAddr), u64>,
    per_vm: HashMap<IpAddr, usize>,
    /// What passes because it cannot be read, by VM.
    unread: HashMap<IpAddr, Unread>,
    next: u64,
    /// Connections that want a turn.
    waiting: BTreeSet<u64>,
    accept_again: Option<Instant>,
    limits: ConnectionLimits,
    /// VMs at their limit.
    full: HashSet<IpAddr>,
    /// There are as many as there may be.
    all_full: bool,
    /// Of one of these two.
    limits_changed: bool,
    framers: Framers,
    tls: Option<Tls>,
    /// What thin clients are shown.
    tls_of_clients: Option<Server>,
    counts: ConnectionCounts,
    warned: Option<Instant>,
}

impl Connections {
    /// Opens the listeners.
    pub fn open(
        namespace: &Namespace,
        limits: ConnectionLimits,
        framers: Framers,
        (tls, tls_of_clients): (Option<Tls>, Option<Server>),
    ) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll")?;
        let watched = epoll.0.try_clone().context("cannot watch an epoll")?;
        let listener = |side| -> Result<Listener> {
            let (_, device) = links::names(side);
            namespace
                .run(move || Listener::open(device))?
                .with_context(|| format!("cannot listen on {device}"))
        };
        let listeners = [listener(DoorSide::Vm)?, listener(DoorSide::Net)?];
        for (number, listener) in (0..).zip(&listeners) {
            epoll
                .add(listener, listener_event(number))
                .context("cannot poll a listener")?;
        }
        Ok(Self {
            epoll,
            readable: sockets::watched(watched).context("cannot poll connections")?,
            listeners,
            pairs: HashMap::new(),
            clients: Clients::default(),
            made: HashMap::new(),
            ports_used: 0,
            by_ends: HashMap::new(),
            per_vm: HashMap::new(),
            unread: HashMap::new(),
            // Calls of an earlier run still have its numbers.
            next: nanoseconds(clock::now()),
            waiting: BTreeSet::new(),
            accept_again: None,
            limits,
            full: HashSet::new(),
            all_full: false,
            limits_changed: false,
            framers,
            tls,
            tls_of_clients,
            counts: ConnectionCounts::default(),
            warned: None,
        })
    }

    /// The listeners, in the order of the sides.
    pub fn listeners(&self) -> [RawFd; 2] {
        [0, 1].map(|side: usize| self.listeners[side].as_raw_fd())
    }

    /// What became of them.
    pub fn counts(&self) -> ConnectionCounts {
        ConnectionCounts {
            open: (self.pairs.len() + self.made.len() + self.clients.len()) as u64,
            ..self.counts
        }
    }

    /// What of a VM's address passes because it cannot be read.
    pub fn unread(&self, vm: IpAddr) -> Option<Unread> {
        self.unread.get(&vm).copied()
    }

    /// Whether this connection, of a VM's address and another, is one of ours.
    pub fn has(&self, vm: SocketAddr, remote: SocketAddr) -> bool {
        self.by_ends.contains_key(&(vm, remote)) || self.clients.has(vm, remote)
    }

    /// Whether further connections of this VM are to be taken.
    pub fn has_room(&self, vm: IpAddr) -> bool {
        !self.all_full && !self.full.contains(&vm)
    }

    /// Whether [`Self::has_room`] has changed for any VM since the last question.
    pub fn room_changed(&mut self) -> bool {
        std::mem::take(&mut self.limits_changed)
    }

    /// Waits until there is something to do. Cancel safe.
    pub async fn ready(&self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        let accept_again = async {
            match self.accept_again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.readable.readable() => drop(ready?),
            () = accept_again => {}
        }
        Ok(())
    }

    /// Does what can be done at once. Messages that have come are put into `into`;
    /// what the engine makes of them is sent before the next turn.
    pub fn take(&mut self, namespace: &Namespace, into: &mut VecDeque<Taken>) {
        if self.accept_again.is_some_and(|at| at <= Instant::now()) {
            self.accept_again = None;
            self.rearm_listeners();
        }
        for token in self.events() {
            match LISTENERS.checked_sub(token) {
                Some(side @ 0..=1) => self.accept(namespace, side),
                _ => {
                    self.waiting.insert(token / 2);
                }
            }
        }
        for id in std::mem::take(&mut self.waiting) {
            if self.clients.contains(id) {
                self.turn_of_client(id, into);
            } else if self.made.contains_key(&id) {
                self.turn_of_made(id, into);
            } else {
                self.turn(id, into);
            }
        }
    }

    /// Sends a message by its connection, or where that is gone by a later one
    /// between the same two; a request by one that is made for it. A thin client that
    /// connects anew registers anew. `take`: has the taps take the segments of a
    /// connection, of a VM's address and another.
    pub fn send(
        &mut self,
        namespace: &Namespace,
        datagram: &Datagram,
        take: impl FnMut(SocketAddr, SocketAddr) -> Result<()>,
    ) {
        if datagram.side == Side::Net && datagram.src.port() == self.framers.registrar {
            return self.send_to_client(datagram);
        }
        let speaks = |pair: &Pair| pair.speaks(datagram.side);
        let carrier = self
            .carrier(datagram, speaks)
            .or_else(|| self.make(namespace, datagram, take))
            // Its peer has said that it says no more, and may hear all the same.
            .or_else(|| self.carrier(datagram, |_| true));
        let Some(id) = carrier else {
            self.counts.undeliverable += 1;
            tracing::debug!("no connection from {} to {}", datagram.src, datagram.dst);
            return;
        };
        if let Some(pair) = self.pairs.get_mut(&id) {
            pair.send(datagram.side, datagram.payload.clone());
            self.settle(id);
        } else if let Some(made) = self.made.get_mut(&id) {
            made.send(datagram.payload.clone());
            self.settle_made(id);
        }
    }

    /// Resets every connection.
    pub fn reset_all(&mut self) {
        self.pairs.clear();
        self.made.clear();
        self.clients = Clients::default();
        self.by_ends.clear();
        self.per_vm.clear();
        self.waiting.clear();
    }

    /// What a message goes by: `fits` says which of the pairs may do.
    fn carrier(&self, datagram: &Datagram, fits: impl Fn(&Pair) -> bool) -> Option<u64> {
        let ConnectionId(id) = datagram.transport.connection()?;
        let open = |id: &u64| match (self.pairs.get(id), self.made.get(id)) {
            (Some(pair), _) => pair.carries(datagram) && fits(pair),
            (_, Some(made)) => made.carries(datagram),
            _ => false,
        };
        if open(&id) {
            return Some(id);
        }
        let (vm, remote) = match datagram.side {
            Side::Vm => (datagram.dst, datagram.src),
            Side::Net => (datagram.src, datagram.dst),
        };
        let same =
            |ends: &(SocketAddr, SocketAddr)| ends.0.ip() == vm.ip() && ends.1.ip() == remote.ip();
        self.by_ends
            .iter()
            .filter(|(ends, id)| same(ends) && open(id))
            .map(|(_, id)| *id)
            .max()
    }

    fn events(&mut self) -> Vec<u64> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let epoll = &self.epoll;
        let taken = self.readable.try_io(Interest::READABLE, |_| {
            match epoll.wait(&mut events, EpollTimeout::ZERO) {
                // Only an empty list clears the readiness, so none is left behind.
                Ok(0) | Err(Errno::EINTR) => Err(io::ErrorKind::WouldBlock.into()),
                Ok(count) => Ok(count),
                Err(error) => Err(error.into()),
            }
        });
        let count = match taken {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                tracing::error!("connections cannot be polled: {error}");
                0
            }
        };
        events.iter().take(count).map(EpollEvent::data).collect()
    }

    fn accept(&mut self, namespace: &Namespace, number: u64) {
        let side = if number == 0 { Side::Vm } else { Side::Net };
        for _ in 0..ACCEPTS {
            match self.listeners[side as usize].accept() {
                Ok(None) => break,
                Ok(Some(accepted)) => self.begin(namespace, side, accepted),
                Err(error) => {
                    self.counts.accept_failed += 1;
                    tracing::warn!("a connection cannot be accepted: {error}");
                    self.accept_again = Some(Instant::now() + ACCEPT_AGAIN);
                    return;
                }
            }
        }
        self.rearm_listeners();
    }

    fn rearm_listeners(&self) {
        if self.accept_again.is_some() {
            return;
        }
        for (number, listener) in (0..).zip(&self.listeners) {
            if let Err(error) = self.epoll.modify(listener, &mut listener_event(number)) {
                tracing::error!("a listener cannot be polled: {error}");
            }
        }
    }

    /// A thin client has connected to the registrar.
    fn begin_client(&mut self, accepted: Accepted) {
        let Accepted { stream, src, dst } = accepted;
        let Some(silent) = self.clients.make_room(dst.ip(), src.ip()) else {
            // Dropped, it is reset.
            self.counts.broken += 1;
            tracing::debug!("{src} has enough connections to {dst}, or others have");
            return;
        };
        if let Some(silent) = silent {
            self.counts.broken += 1;
            self.clients.remove(silent);
            self.waiting.remove(&silent);
        }
        let inbound = Stream::new(Some((self.framers.of_client)()));
        let half = Half::new(stream, false, Layer::Plain, inbound);
        let id = self.next;
        self.next += 1;
        let event = EpollEvent::new(EpollFlags::EPOLLONESHOT, token(id, Side::Net));
        if let Err(error) = self.epoll.add(&half.socket, event) {
            self.counts.broken += 1;
            tracing::warn!("a connection cannot be polled: {error}");
            return;
        }
        let client = Client::new(ConnectionId(id), (dst, src), half);
        self.clients.insert(id, client);
        self.waiting.insert(id);
    }

    /// A connection has been made by one side: it is made on to the other.
    fn begin(&mut self, namespace: &Namespace, side: Side, accepted: Accepted) {
        self.counts.accepted += 1;
        if side == Side::Net && accepted.dst.port() == self.framers.registrar {
            return self.begin_client(accepted);
        }
        let Accepted { stream, src, dst } = accepted;
        let onward = match side {
            Side::Vm => DoorSide::Net,
            Side::Net => DoorSide::Vm,
        };
        let (_, device) = links::names(onward);
        let made = namespace.run(move || sockets::connect(device, src, dst));
        let made = made.and_then(|made| Ok(made?));
        let onward = match made {
            Ok(onward) => onward,
            Err(error) => {
                // Dropped, the other one is reset.
                self.counts.broken += 1;
                tracing::debug!("no connection from {src} to {dst}: {error:#}");
                return;
            }
        };
        let encrypted = self.tls.as_ref().filter(|tls| tls.is_at(dst.port()));
        let is_unread = encrypted.is_some_and(|tls| !tls.reads_from(side));
        let layers = match encrypted.filter(|_| !is_unread) {
            None => (Layer::Plain, Layer::Plain),
            Some(tls) => match tls.accept(side, dst.ip()) {
                Ok(tls) => (Layer::Tls(Box::new(tls)), Layer::Awaited),
                Err(error) => {
                    self.counts.broken += 1;
                    tracing::error!("no TLS for {src}: {error:#}");
                    return;
                }
            },
        };
        let framing = (self.framers.between)(src, dst).filter(|_| !is_unread);
        let is_websocket = framing.as_ref().is_some_and(|framing| framing.is_websocket);
        let [near, far] = match framing {
            Some(framing) => framing.ends.map(Some),
            None => [None, None],
        };
        let near = Half::new(stream, false, layers.0, Stream::new(near));
        let far = Half::new(onward, true, layers.1, Stream::new(far));
        let (ends, halves) = match side {
            Side::Vm => ((src, dst), [near, far]),
            Side::Net => ((dst, src), [far, near]),
        };
        let id = self.next;
        self.next += 1;
        let mut pair = Pair::new(ConnectionId(id), ends, is_websocket, halves);
        pair.is_unread = is_unread;
        if is_unread {
            self.unread.entry(ends.0.ip()).or_default().begun += 1;
        }
        for side in [Side::Vm, Side::Net] {
            let event = EpollEvent::new(EpollFlags::EPOLLONESHOT, token(id, side));
            if let Err(error) = self.epoll.add(&pair.half(side).socket, event) {
                self.counts.broken += 1;
                tracing::warn!("a connection cannot be polled: {error}");
                return;
            }
        }
        self.pairs.insert(id, pair);
        self.note(id, ends);
    }

    fn turn(&mut self, id: u64, into: &mut VecDeque<Taken>) {
        let Some(pair) = self.pairs.get_mut(&id) else {
            return;
        };
        if pair.is_unread {
            let seen = self.unread.entry(pair.ends.0.ip()).or_default();
            seen.last_ns = nanoseconds(clock::now());
        }
        match pair.turn(self.tls.as_ref(), into) {
            Fate::GoesOn => self.settle(id),
            Fate::Ended => {
                self.counts.ended += 1;
                if let Some(pair) = self.remove(id) {
                    pair.close_in_order();
                }
            }
            Fate::Broken(error) => {
                self.counts.broken += 1;
                if let Some(pair) = self.remove(id) {
                    self.tell_broken(pair.ends, &error);
                }
            }
        }
    }

    fn turn_of_client(&mut self, id: u64, into: &mut VecDeque<Taken>) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        match client.turn(self.tls_of_clients.as_ref(), into) {
            Fate::GoesOn => return self.settle_client(id),
            Fate::Ended => {
                self.counts.ended += 1;
                if let Some(client) = self.clients.remove(id) {
                    client.close_in_order();
                }
            }
            Fate::Broken(error) => {
                self.counts.broken += 1;
                if let Some(client) = self.clients.remove(id) {
                    self.tell_broken(client.ends, &error);
                }
            }
        }
        self.waiting.remove(&id);
        into.push_back(Taken::Closed(ConnectionId(id)));
    }

    fn send_to_client(&mut self, datagram: &Datagram) {
        let id = datagram.transport.connection().map(|id| id.0);
        let client = id.and_then(|id| Some((id, self.clients.get_mut(id)?)));
        let Some((id, client)) = client.filter(|(_, client)| client.ends.1 == datagram.dst) else {
            self.counts.undeliverable += 1;
            tracing::debug!("no connection from {} to {}", datagram.src, datagram.dst);
            return;
        };
        client.send(datagram.payload.clone());
        self.settle_client(id);
    }

    /// Notes what a thin client's connection waits for now.
    fn settle_client(&mut self, id: u64) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if client.wants_turn() {
            self.waiting.insert(id);
        }
        self.wait_for(id, client);
    }

    /// Has the kernel tell of what a connection with one peer waits for.
    fn wait_for(&self, id: u64, client: &Client) {
        let interest = client.interest();
        let mut event = EpollEvent::new(interest | EpollFlags::EPOLLONESHOT, token(id, Side::Net));
        if !interest.is_empty()
            && let Err(error) = self.epoll.modify(&client.half().socket, &mut event)
        {
            tracing::error!("a connection cannot be polled: {error}");
        }
    }

    /// What certificates say against each other is the operator's affair. At most one
    /// line a second.
    fn tell_broken(&mut self, (vm, remote): (SocketAddr, SocketAddr), error: &io::Error) {
        let lately = |at: Instant| at.elapsed() < Duration::from_secs(1);
        if error.kind() == io::ErrorKind::InvalidData && !self.warned.is_some_and(lately) {
            self.warned = Some(Instant::now());
            tracing::warn!("connection of {vm} and {remote} is reset: {error}");
        } else {
            tracing::debug!("connection of {vm} and {remote} is reset: {error}");
        }
    }

    /// Notes what a connection waits for now.
    fn settle(&mut self, id: u64) {
        let Some(pair) = self.pairs.get(&id) else {
            return;
        };
        if pair.wants_turn() {
            self.waiting.insert(id);
        }
        for side in [Side::Vm, Side::Net] {
            let interest = pair.interest(side);
            if interest.is_empty() {
                // Disarmed by its last event, so that nothing wakes for it.
                continue;
            }
            let mut event = EpollEvent::new(interest | EpollFlags::EPOLLONESHOT, token(id, side));
            if let Err(error) = self.epoll.modify(&pair.half(side).socket, &mut event) {
                tracing::error!("a connection cannot be polled: {error}");
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<Pair> {
        let pair = self.pairs.remove(&id)?;
        self.forget(id, pair.ends);
        Some(pair)
    }

    /// A connection of a VM has come about.
    fn note(&mut self, id: u64, ends: (SocketAddr, SocketAddr)) {
        self.by_ends.insert(ends, id);
        *self.per_vm.entry(ends.0.ip()).or_default() += 1;
        self.note_room(ends.0.ip());
        self.waiting.insert(id);
    }

    /// It is gone.
    fn forget(&mut self, id: u64, ends: (SocketAddr, SocketAddr)) {
        self.waiting.remove(&id);
        if self.by_ends.get(&ends) == Some(&id) {
            self.by_ends.remove(&ends);
        }
        let vm = ends.0.ip();
        if let Some(count) = self.per_vm.get_mut(&vm) {
            *count -= 1;
            if *count == 0 {
                self.per_vm.remove(&vm);
            }
        }
        self.note_room(vm);
    }

    /// A limit is reached, or there is clearly room again.
    fn note_room(&mut self, vm: IpAddr) {
        let of_vm = self.per_vm.get(&vm).copied().unwrap_or(0);
        let full = is_full(self.full.contains(&vm), of_vm, self.limits.per_vm);
        let changed = match full {
            true => self.full.insert(vm),
            false => self.full.remove(&vm),
        };
        let all_full = is_full(
            self.all_full,
            self.pairs.len() + self.made.len(),
            self.limits.all,
        );
        if changed || all_full != self.all_full {
            self.all_full = all_full;
            self.limits_changed = true;
        }
    }
}

/// Whether there is no room: from the limit on, until an eighth is free again.
fn is_full(was: bool, count: usize, limit: usize) -> bool {
    let enough = if was { limit - limit / 8 } else { limit };
    count >= enough.max(1)
}

fn token(id: u64, side: Side) -> u64 {
    id * 2 + side as u64
}

fn listener_event(number: u64) -> EpollEvent {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
    EpollEvent::new(flags, LISTENERS - number)
}

#[cfg(test)]
mod tests {
    use super::is_full;

    #[test]
    fn room_is_there_again_when_an_eighth_is_free() {
        let mut full = false;
        let seen: Vec<bool> = [15, 16, 15, 14, 13, 16]
            .into_iter()
            .map(|count| {
                full = is_full(full, count, 16);
                full
            })
            .collect();
        assert_eq!(seen, [false, true, true, true, false, true]);
    }
}
