//! Connections that Sidestep makes in a party's name: a request is to go to one whose
//! connection is gone, as a user agent would open another toward its peer's target
//! (RFC 3261 §18.1.1).
//!
//! They have a peer and no other end: what the peer says is the core's affair, and goes
//! on, where it is to, by whatever connection the party has. They come from one of the
//! ports that Sidestep has at everybody's address (`media.anchor_ports`), since those that
//! the party uses itself are not known; where it uses the very port toward the very peer
//! at the same time, its own connection is reset, and it tries another. The taps are told
//! before the first segment goes out: what comes back is taken, like that of any other.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use sidestep_abi::door::Side as DoorSide;
use sidestep_core::engine::{ConnectionId, Datagram, Side, Transport};
use sidestep_core::sip::Message;
use sidestep_core::stream::Stream;

use super::super::namespace::Namespace;
use super::super::{Taken, links};
use super::client::Client;
use super::half::Half;
use super::layer::Layer;
use super::pair::Fate;
use super::{Connections, token};
use crate::sockets;

/// Ports that are tried for one connection.
const TRIES: u16 = 8;

impl Connections {
    /// Makes a connection for a request within a dialog; its number. `None`: it is no
    /// such request, or none can be made.
    pub(super) fn make(
        &mut self,
        namespace: &Namespace,
        datagram: &Datagram,
        take: impl FnMut(SocketAddr, SocketAddr) -> Result<()>,
    ) -> Option<u64> {
        let message = Message::parse(&datagram.payload).ok()?;
        if !message.is_request() || message.to_tag().is_none() {
            return None;
        }
        match self.connect(namespace, datagram, take) {
            Ok(id) => Some(id),
            Err(error) => {
                let Datagram { src, dst, .. } = datagram;
                tracing::debug!("no connection can be made from {src} to {dst}: {error:#}");
                None
            }
        }
    }

    fn connect(
        &mut self,
        namespace: &Namespace,
        datagram: &Datagram,
        mut take: impl FnMut(SocketAddr, SocketAddr) -> Result<()>,
    ) -> Result<u64> {
        let (toward, dst) = (datagram.side, datagram.dst);
        let (onward, maker) = match toward {
            Side::Vm => (DoorSide::Vm, Side::Net),
            Side::Net => (DoorSide::Net, Side::Vm),
        };
        let ends = |own: SocketAddr| match toward {
            Side::Vm => (dst, own),
            Side::Net => (own, dst),
        };
        let (vm, _) = ends(datagram.src);
        ensure!(self.has_room(vm.ip()), "the VM has as many as it may");
        let encrypted = self.tls.as_ref().filter(|tls| tls.is_at(dst.port()));
        let layer = match (datagram.transport, encrypted) {
            (Transport::Tcp(_), None) => Layer::Plain,
            (Transport::Tls(_), Some(tls)) if tls.reads_from(maker) => {
                Layer::Tls(Box::new(tls.connect(toward, None, dst.ip())?))
            }
            _ => bail!("that port is of another transport"),
        };
        let (_, device) = links::names(onward);
        for _ in 0..TRIES {
            let own = SocketAddr::new(datagram.src.ip(), self.next_port());
            let (vm, remote) = ends(own);
            // Only what the taps know to be signalling comes back.
            let framing = (self.framers.between)(own, dst);
            let Some(framing) = framing.filter(|framing| !framing.is_websocket) else {
                bail!("that port is none of SIP's");
            };
            if self.by_ends.contains_key(&(vm, remote)) {
                continue;
            }
            take(vm, remote)?;
            match namespace.run(move || sockets::connect(device, own, dst))? {
                Ok(socket) => {
                    let [_, of_peer] = framing.ends;
                    let half = Half::new(socket, true, layer, Stream::new(Some(of_peer)));
                    return self.hold(datagram, (vm, remote), half);
                }
                Err(error) if is_in_use(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("no port is free");
    }

    /// A port of Sidestep's, each time the next.
    fn next_port(&mut self) -> u16 {
        let ports = &self.framers.own_ports;
        let count = u16::try_from(ports.len()).unwrap_or(u16::MAX).max(1);
        let port = ports.start() + self.ports_used % count;
        self.ports_used = (self.ports_used + 1) % count;
        port
    }

    fn hold(
        &mut self,
        datagram: &Datagram,
        ends: (SocketAddr, SocketAddr),
        half: Half,
    ) -> Result<u64> {
        let id = self.next;
        self.next += 1;
        let event = EpollEvent::new(EpollFlags::EPOLLONESHOT, token(id, Side::Net));
        self.epoll.add(&half.socket, event)?;
        let whose = (datagram.side, datagram.src);
        self.made
            .insert(id, Client::made(ConnectionId(id), ends, whose, half));
        self.note(id, ends);
        self.counts.made += 1;
        Ok(id)
    }

    pub(super) fn turn_of_made(&mut self, id: u64, into: &mut VecDeque<Taken>) {
        let Some(made) = self.made.get_mut(&id) else {
            return;
        };
        let fate = made.turn(None, into);
        if matches!(fate, Fate::GoesOn) {
            return self.settle_made(id);
        }
        let Some(made) = self.made.remove(&id) else {
            return;
        };
        self.forget(id, made.ends);
        match fate {
            Fate::Broken(error) => {
                self.counts.broken += 1;
                self.tell_broken(made.ends, &error);
            }
            Fate::GoesOn | Fate::Ended => {
                self.counts.ended += 1;
                made.close_in_order();
            }
        }
    }

    /// Notes what one waits for now.
    pub(super) fn settle_made(&mut self, id: u64) {
        let Some(made) = self.made.get(&id) else {
            return;
        };
        if made.wants_turn() {
            self.waiting.insert(id);
        }
        self.wait_for(id, made);
    }
}

/// The two ends have a connection, or had one a moment ago.
fn is_in_use(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::AddrInUse, io::ErrorKind::AddrNotAvailable];
    kinds.contains(&error.kind())
}
