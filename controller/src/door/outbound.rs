//! Sending from addresses that are not ours. What fits into a packet of IPv4 leaves
//! by one socket per side, whatever its source. What has to be cut, or goes over IPv6,
//! has a transparent socket of that source, kept for its next.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use sidestep_abi::door::Side;
use sidestep_core::engine::{self, Datagram};

use super::links;
use super::namespace::Namespace;
use crate::sockets::{self, PacketSender, Sender};

/// Sockets kept, one of each source.
const SOCKETS: usize = 8192;
/// Datagrams that wait for room in a send buffer.
const BACKLOG: usize = 4096;
/// How long a waiting datagram rests.
const RETRY: Duration = Duration::from_millis(2);

/// Time between two lines about refused datagrams.
const WARN: Duration = Duration::from_secs(1);

type Source = (engine::Side, SocketAddr);

/// The sending half of the door.
pub(super) struct Outbound {
    /// Of the side of the VMs, and of the other.
    packets: [PacketSender; 2],
    /// The largest payload that fits into a packet.
    room: usize,
    sockets: HashMap<Source, Kept>,
    backlog: VecDeque<Datagram>,
    uses: u64,
    counts: SendCounts,
    warned: Option<Instant>,
}

struct Kept {
    sender: Sender,
    last_use: u64,
}

/// What became of datagrams on their way out.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendCounts {
    /// Handed to the kernel.
    pub sent: u64,
    /// Had to wait for room in a send buffer.
    pub delayed: u64,
    /// Lost: the kernel had no memory for them (ENOBUFS).
    pub no_buffers: u64,
    /// Lost: too many were waiting.
    pub backlog_full: u64,
    /// Lost: refused by the kernel for another reason.
    pub refused: u64,
}

impl Outbound {
    /// Opens what sends packets of up to `mtu` octets.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn open(namespace: &Namespace, mtu: u32) -> Result<Self> {
        let open = |side| -> Result<PacketSender> {
            let (_, device) = links::names(side);
            namespace
                .run(move || PacketSender::open(device))?
                .with_context(|| format!("cannot open a socket to send by {device}"))
        };
        let mut outbound = Self {
            packets: [open(Side::Vm)?, open(Side::Net)?],
            room: 0,
            sockets: HashMap::new(),
            backlog: VecDeque::new(),
            uses: 0,
            counts: SendCounts::default(),
            warned: None,
        };
        outbound.set_mtu(mtu);
        Ok(outbound)
    }

    /// From now on packets have up to `mtu` octets.
    pub fn set_mtu(&mut self, mtu: u32) {
        self.room = (mtu as usize).saturating_sub(sockets::HEADERS);
    }

    pub fn counts(&self) -> SendCounts {
        self.counts
    }

    /// Sends, or has the datagram wait behind those that wait.
    pub fn send(&mut self, namespace: &Namespace, datagram: &Datagram) {
        if self.packet_of(datagram).is_none()
            && let Err(error) = self.socket(namespace, datagram)
        {
            self.counts.refused += 1;
            self.warn(datagram, &format!("{error:#}"));
            return;
        }
        if !self.backlog.is_empty() || !self.try_send(datagram) {
            self.counts.delayed += 1;
            if self.backlog.len() == BACKLOG {
                self.counts.backlog_full += 1;
                return;
            }
            self.backlog.push_back(datagram.clone());
        }
    }

    /// Tries those that wait, in their order.
    pub fn flush(&mut self) {
        while let Some(datagram) = self.backlog.pop_front() {
            if !self.try_send(&datagram) {
                self.backlog.push_front(datagram);
                return;
            }
        }
    }

    /// Ends when those that wait should be tried; never while none waits.
    pub async fn retry(&self) {
        if self.backlog.is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(RETRY).await;
    }

    /// False: no room at present. Everything else is settled here.
    fn try_send(&mut self, datagram: &Datagram) -> bool {
        let sent = match self.packet_of(datagram) {
            Some((src, dst)) => {
                let [vm, net] = &mut self.packets;
                let packets = match datagram.side {
                    engine::Side::Vm => vm,
                    engine::Side::Net => net,
                };
                packets.send(src, dst, &datagram.payload)
            }
            None => {
                self.uses += 1;
                let Some(kept) = self.sockets.get_mut(&source(datagram)) else {
                    // Its socket made room for others while it waited.
                    self.counts.refused += 1;
                    return true;
                };
                kept.last_use = self.uses;
                kept.sender.send(datagram.dst, &datagram.payload)
            }
        };
        match sent {
            Ok(()) => self.counts.sent += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                self.counts.no_buffers += 1;
            }
            Err(error) => {
                self.counts.refused += 1;
                self.warn(datagram, &error.to_string());
            }
        }
        true
    }

    /// At most one line a second: what is refused is refused again and again.
    fn warn(&mut self, datagram: &Datagram, why: &str) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARN) {
            self.warned = Some(Instant::now());
            tracing::warn!("not sent from {} to {}: {why}", datagram.src, datagram.dst);
        }
    }

    /// Its two addresses, where it leaves as one packet.
    fn packet_of(&self, datagram: &Datagram) -> Option<(SocketAddrV4, SocketAddrV4)> {
        match (datagram.src, datagram.dst) {
            (SocketAddr::V4(src), SocketAddr::V4(dst)) => {
                (datagram.payload.len() <= self.room).then_some((src, dst))
            }
            _ => None,
        }
    }

    /// Has a socket for it.
    fn socket(&mut self, namespace: &Namespace, datagram: &Datagram) -> Result<()> {
        let source = source(datagram);
        if self.sockets.contains_key(&source) {
            return Ok(());
        }
        if self.sockets.len() >= SOCKETS {
            self.forget_oldest();
        }
        let (side, address) = source;
        let (_, device) = links::names(match side {
            engine::Side::Vm => Side::Vm,
            engine::Side::Net => Side::Net,
        });
        let sender = namespace.run(move || Sender::open(device, address))??;
        let kept = Kept {
            sender,
            last_use: self.uses,
        };
        self.sockets.insert(source, kept);
        Ok(())
    }

    /// Closes the quarter used longest ago.
    fn forget_oldest(&mut self) {
        let mut uses: Vec<u64> = self.sockets.values().map(|kept| kept.last_use).collect();
        let (_, limit, _) = uses.select_nth_unstable(SOCKETS / 4);
        let limit = *limit;
        self.sockets.retain(|_, kept| kept.last_use > limit);
    }
}

fn source(datagram: &Datagram) -> Source {
    (datagram.side, datagram.src)
}
