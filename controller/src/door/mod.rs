//! The door: the way of signalling between the VMs' taps and the daemon.
//!
//! In: frames that the tap programs redirect to the host ends of two veth pairs.
//! Their other ends lie in a network namespace of the daemon's own, where the
//! kernel's stack reassembles them and hands them to one transparent socket per
//! side, and where it terminates TCP. Out: datagrams from any source address, and
//! messages in connections, by the side they belong to.
//!
//! - [`Side::Vm`]: frames the VM sent come in, frames for the VM go out;
//! - [`Side::Net`]: frames others sent to the VM come in, frames as if from the
//!   VM go out.

mod connections;
mod links;
mod namespace;
mod outbound;
pub mod tls;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::fcntl::Flock;
use nix::net::if_::if_nametoindex;
use sidestep_abi::door::Side;
use sidestep_core::engine;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sockets::{self, Receiver};
use crate::watch;
use connections::Connections;
pub use connections::{ConnectionCounts, ConnectionLimits, Framers, Framing, Unread};
use namespace::Namespace;
use outbound::Outbound;
pub use outbound::SendCounts;
pub use tls::{Tls, TlsConfig};

/// MTU of the routes while no tap is there.
pub const DEFAULT_MTU: u32 = 1500;
/// Below this, IPv4 cannot work (RFC 791).
const MIN_MTU: u32 = 576;

/// An open door.
pub struct Door {
    /// The two ends of each side.
    pub ends: [End; 2],
    outbound: Outbound,
    inbound: [Inbound; 2],
    connections: Connections,
    mtu: u32,
    namespace: Namespace,
    /// The door's links have fixed names: one daemon per host namespace.
    _host: Flock<File>,
}

/// What has come in.
pub enum Taken {
    /// A message.
    Message(engine::Datagram),
    /// A message in a connection, or all its rest, is left alone; it goes on without
    /// the engine.
    Untouched {
        /// What of it was there when that was seen.
        begin: engine::Datagram,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A thin client's connection to the registrar is gone.
    Closed(engine::ConnectionId),
}

/// One veth pair.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// Its side.
    pub side: Side,
    /// Name of the host end.
    pub host: &'static str,
    /// Interface index of the host end.
    pub host_index: u32,
    /// Interface index of the namespace end, in the namespace.
    pub inner_index: u32,
    /// MAC of the namespace end.
    pub inner_mac: [u8; 6],
}

struct Inbound {
    side: engine::Side,
    socket: Receiver,
    readable: AsyncFd<OwnedFd>,
    dropped: u32,
    failed: u64,
}

impl Door {
    /// Builds namespace, links and sockets; what a killed daemon has left of
    /// them goes first. No packet comes in before the programs know the door.
    ///
    /// # Errors
    ///
    /// The kernel or `ip` refuses, or the namespace's name belongs to another.
    pub fn open(
        name: &str,
        limits: ConnectionLimits,
        framers: Framers,
        tls: Option<Tls>,
        of_clients: Option<tls::Server>,
    ) -> Result<Self> {
        let host = namespace::hold_own()?;
        let inner_names = [Side::Vm, Side::Net].map(|side| links::names(side).1);
        let namespace = Namespace::create(name, &inner_names)?;
        links::create(&namespace, name, DEFAULT_MTU).context("cannot make the door's links")?;
        let inner = namespace.run(watch::list)?.context("cannot list links")?;
        let end = |side| -> Result<End> {
            let (host, inner_name) = links::names(side);
            let link = inner
                .iter()
                .find(|link| link.name == inner_name)
                .with_context(|| format!("{inner_name} is not in the namespace"))?;
            Ok(End {
                side,
                host,
                host_index: if_nametoindex(host).with_context(|| format!("{host} has gone"))?,
                inner_index: link.index,
                inner_mac: link.mac,
            })
        };
        let ends = [end(Side::Vm)?, end(Side::Net)?];
        let inbound = [
            Inbound::open(&namespace, Side::Vm)?,
            Inbound::open(&namespace, Side::Net)?,
        ];
        let outbound = Outbound::open(&namespace, DEFAULT_MTU)?;
        let connections = Connections::open(&namespace, limits, framers, (tls, of_clients))?;
        Ok(Self {
            ends,
            connections,
            outbound,
            inbound,
            mtu: DEFAULT_MTU,
            namespace,
            _host: host,
        })
    }

    /// Whether the links are still there. Where that cannot be told, they are.
    pub fn stands(&self) -> bool {
        let Ok(links) = watch::list() else {
            return true;
        };
        let is_there = |end: &End| links.iter().any(|link| link.index == end.host_index);
        self.ends.iter().all(is_there)
    }

    /// The namespace, to attach `sk_lookup` to.
    ///
    /// # Errors
    ///
    /// Somebody has removed it.
    pub fn namespace(&self) -> Result<File> {
        self.namespace.file()
    }

    /// The receiving sockets, in the order of [`Side`].
    pub fn sockets(&self) -> [RawFd; 2] {
        [
            self.inbound[0].socket.as_raw_fd(),
            self.inbound[1].socket.as_raw_fd(),
        ]
    }

    /// The listeners of connections, in the order of [`Side`].
    pub fn listeners(&self) -> [RawFd; 2] {
        self.connections.listeners()
    }

    /// MTU at which datagrams are fragmented.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Fragments at `mtu` from now on.
    ///
    /// # Errors
    ///
    /// `ip` refuses.
    pub fn set_mtu(&mut self, mtu: u32) -> Result<()> {
        let mtu = mtu.max(MIN_MTU);
        if mtu != self.mtu {
            links::set_mtu(&self.namespace, mtu)
                .with_context(|| format!("cannot set the door's MTU to {mtu}"))?;
            self.outbound.set_mtu(mtu);
            self.mtu = mtu;
        }
        Ok(())
    }

    /// Waits until something has come in, or a delayed datagram may be tried
    /// again. Cancel safe.
    ///
    /// # Errors
    ///
    /// The reactor is gone.
    pub async fn ready(&self) -> io::Result<()> {
        let [vm, net] = &self.inbound;
        tokio::select! {
            ready = vm.readable.readable() => drop(ready?),
            ready = net.readable.readable() => drop(ready?),
            ready = self.connections.ready() => ready?,
            () = self.outbound.retry() => {}
        }
        Ok(())
    }

    /// Takes what has come in, at most `limit` datagrams of each side, and tries
    /// again to send what was delayed. What the engine makes of it all is to be sent
    /// before the next call.
    pub fn take(&mut self, limit: usize, into: &mut VecDeque<Taken>) {
        self.outbound.flush();
        self.connections.take(&self.namespace, into);
        for inbound in &mut self.inbound {
            inbound.take(limit, into);
        }
    }

    /// Sends a message out by its side. `take`: has the taps take the segments of a
    /// connection, of a VM's address and another, that is made for it.
    pub fn send(
        &mut self,
        datagram: &engine::Datagram,
        take: impl FnMut(SocketAddr, SocketAddr) -> Result<()>,
    ) {
        match datagram.transport {
            engine::Transport::Udp => self.outbound.send(&self.namespace, datagram),
            _ => self.connections.send(&self.namespace, datagram, take),
        }
    }

    /// Encrypted connections of a VM's address that go through here and pass.
    pub fn unread(&self, vm: IpAddr) -> Option<Unread> {
        self.connections.unread(vm)
    }

    /// Whether a connection, of a VM's address and another, is one of ours.
    pub fn has_connection(&self, vm: SocketAddr, remote: SocketAddr) -> bool {
        self.connections.has(vm, remote)
    }

    /// Whether further connections of this VM are to be taken.
    pub fn has_room(&self, vm: IpAddr) -> bool {
        self.connections.has_room(vm)
    }

    /// Whether [`Self::has_room`] has changed for any VM since the last question.
    pub fn room_changed(&mut self) -> bool {
        self.connections.room_changed()
    }

    /// Resets every connection: both sides are to know, and to connect anew.
    pub fn reset_connections(&mut self) {
        self.connections.reset_all();
    }

    /// What became of datagrams.
    pub fn counts(&self) -> DoorCounts {
        DoorCounts {
            sent: self.outbound.counts(),
            connections: self.connections.counts(),
            receive_buffer_full: self
                .inbound
                .iter()
                .map(|side| u64::from(side.dropped))
                .sum(),
            receive_failed: self.inbound.iter().map(|side| side.failed).sum(),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        links::remove();
    }
}

/// What became of datagrams and connections at the door's sockets.
#[derive(Debug, Clone, Copy)]
pub struct DoorCounts {
    /// On the way out.
    pub sent: SendCounts,
    /// Connections.
    pub connections: ConnectionCounts,
    /// Lost on the way in: the daemon was slower than its receive buffer.
    pub receive_buffer_full: u64,
    /// Lost on the way in: `recvmsg` failed.
    pub receive_failed: u64,
}

impl Inbound {
    fn open(namespace: &Namespace, side: Side) -> Result<Self> {
        let (_, device) = links::names(side);
        let socket = namespace
            .run(move || Receiver::open(device))?
            .with_context(|| format!("cannot open the socket of {device}"))?;
        Ok(Self {
            side: match side {
                Side::Vm => engine::Side::Vm,
                Side::Net => engine::Side::Net,
            },
            readable: sockets::watched(socket.as_fd().try_clone_to_owned()?)
                .context("cannot poll the door's socket")?,
            socket,
            dropped: 0,
            failed: 0,
        })
    }

    fn take(&mut self, limit: usize, into: &mut VecDeque<Taken>) {
        for _ in 0..limit {
            // Only an empty socket clears the readiness, so none is left behind.
            let socket = &mut self.socket;
            let taken = self.readable.try_io(Interest::READABLE, |_| {
                let received = socket.receive()?;
                received.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            match taken {
                Ok(received) => {
                    self.dropped = received.dropped;
                    into.push_back(Taken::Message(engine::Datagram {
                        side: self.side,
                        transport: engine::Transport::Udp,
                        src: received.src,
                        dst: received.dst,
                        payload: received.payload.to_vec(),
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.failed += 1;
                    tracing::debug!("receiving by the door: {error}");
                }
            }
        }
    }
}
