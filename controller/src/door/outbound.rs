//! Sending from addresses that are not ours: one transparent socket per side
//! and source, kept for the next datagram of that source.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use sidestep_abi::door::Side;
use sidestep_core::engine::{self, Datagram};

use super::links;
use super::namespace::Namespace;
use crate::sockets::Sender;

/// Sockets kept; a call in progress takes up to four sources.
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
    pub fn new() -> Self {
        Self {
            sockets: HashMap::new(),
            backlog: VecDeque::new(),
            uses: 0,
            counts: SendCounts::default(),
            warned: None,
        }
    }

    pub fn counts(&self) -> SendCounts {
        self.counts
    }

    /// Sends, or has the datagram wait behind those that wait.
    pub fn send(&mut self, namespace: &Namespace, datagram: &Datagram) {
        if let Err(error) = self.open(namespace, datagram) {
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
        self.uses += 1;
        let Some(kept) = self.sockets.get_mut(&source(datagram)) else {
            // Its socket made room for others while it waited.
            self.counts.refused += 1;
            return true;
        };
        kept.last_use = self.uses;
        match kept.sender.send(datagram.dst, &datagram.payload) {
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

    fn open(&mut self, namespace: &Namespace, datagram: &Datagram) -> Result<()> {
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
