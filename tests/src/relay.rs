//! What a VM does to media when Sidestep is off: it relays every packet.
//!
//! In: the four addresses of each call. Out: packets from one side to the
//! other, in one of two ways ([`Kind`]). It runs on a thread whose sockets are
//! in the VM's namespace; there is no virtual machine around it, so what leaving
//! and entering one costs is not in what it costs here.

use std::collections::VecDeque;
use std::fmt;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::time::{ClockId, clock_gettime};
use thin_client::audio::g711::Law;
use thin_client::media::rtp::Header;

use crate::lab::Namespace;

/// Period of an audio device.
const TICK: Duration = Duration::from_millis(20);
/// Most frames that wait for the audio device; beyond it the oldest goes.
const WAITING: usize = 5;
/// How soon a relay notices that it is to stop.
const STOP: Duration = Duration::from_millis(50);
/// Largest datagram relayed, octets.
const DATAGRAM: usize = 2_048;

/// How the VM relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each datagram goes out by the other socket, unread and at once: the
    /// kindest a relay in user space can be.
    Datagrams,
    /// As a softphone does: G.711 is decoded, waits for the next tick of an
    /// audio device (one of 20 ms, so 10 ms on average; no jitter buffer beyond
    /// that), is encoded again and leaves under another SSRC. Sequence number
    /// and timestamp stay those of the audio.
    Audio,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Datagrams => "bare UDP relay",
            Self::Audio => "G.711 decoded and encoded again",
        })
    }
}

/// One side of a relayed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The relay's own address.
    pub local: SocketAddrV4,
    /// The peer's; nothing else is heard.
    pub peer: SocketAddrV4,
}

/// A relay at work; dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    relayed: AtomicU64,
    cpu_ns: AtomicU64,
}

/// One direction of a call.
struct Way {
    from: UdpSocket,
    to: UdpSocket,
    /// Decoded audio that waits for the device.
    frames: VecDeque<(Header, Law, Vec<i16>)>,
    ssrc: u32,
}

impl Relay {
    /// Relays these calls in a namespace until it is dropped.
    pub fn start(namespace: &Namespace, kind: Kind, calls: &[(End, End)]) -> Result<Self> {
        let calls = calls.to_vec();
        let ways = namespace.enter(move || open(&calls))??;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
        for (index, way) in ways.iter().enumerate() {
            epoll
                .add(
                    &way.from,
                    EpollEvent::new(EpollFlags::EPOLLIN, index as u64),
                )
                .context("epoll")?;
        }
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("relay".into())
                .spawn(move || relay(&shared, kind, &epoll, ways))
                .context("starting the relay")?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Packets relayed so far, both ways.
    pub fn relayed(&self) -> u64 {
        self.shared.relayed.load(Ordering::Relaxed)
    }

    /// Ends it; the CPU time its thread used, and packets relayed.
    pub fn finish(mut self) -> Result<(Duration, u64)> {
        self.stop()?;
        let cpu = Duration::from_nanos(self.shared.cpu_ns.load(Ordering::Relaxed));
        Ok((cpu, self.relayed()))
    }

    fn stop(&mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            ensure!(thread.join().is_ok(), "the relay panicked");
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Whoever wants to know that it panicked calls `finish`.
        let _ = self.stop();
    }
}

/// The sockets, connected so that the kernel sorts out foreign packets.
fn open(calls: &[(End, End)]) -> Result<Vec<Way>> {
    let socket = |end: &End| -> Result<UdpSocket> {
        let socket = UdpSocket::bind(end.local)
            .with_context(|| format!("binding the relay to {}", end.local))?;
        socket.connect(end.peer)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let mut ways = Vec::with_capacity(calls.len() * 2);
    for (index, (near, far)) in calls.iter().enumerate() {
        let (near, far) = (socket(near)?, socket(far)?);
        for (side, (from, to)) in [(near.try_clone()?, far.try_clone()?), (far, near)]
            .into_iter()
            .enumerate()
        {
            ways.push(Way {
                from,
                to,
                frames: VecDeque::new(),
                ssrc: 0x5EA7_0000 | (index * 2 + side) as u32,
            });
        }
    }
    Ok(ways)
}

fn relay(shared: &Shared, kind: Kind, epoll: &Epoll, mut ways: Vec<Way>) {
    let mut events = vec![EpollEvent::empty(); 64];
    let mut tick = Instant::now() + TICK;
    while !shared.stop.load(Ordering::Relaxed) {
        let wait = match kind {
            Kind::Datagrams => STOP,
            Kind::Audio => tick.saturating_duration_since(Instant::now()),
        };
        // Whole milliseconds, rounded up: a tick early would be a busy wait.
        let milliseconds = u16::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u16::MAX);
        let count = match epoll.wait(&mut events, EpollTimeout::from(milliseconds)) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(error) => panic!("epoll: {error}"),
        };
        for event in &events[..count] {
            receive(shared, kind, &mut ways[event.data() as usize]);
        }
        if kind == Kind::Audio && Instant::now() >= tick {
            tick += TICK;
            for way in &mut ways {
                play(shared, way);
            }
        }
    }
    let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into);
    shared
        .cpu_ns
        .store(cpu.as_nanos() as u64, Ordering::Relaxed);
}

/// Takes all that waits at one socket. Errors of a send or a receive are ICMP's
/// word about an earlier packet: a peer that is not there yet, or any more.
fn receive(shared: &Shared, kind: Kind, way: &mut Way) {
    let mut datagram = [0; DATAGRAM];
    while let Ok(length) = way.from.recv(&mut datagram) {
        let datagram = &datagram[..length];
        let decoded = Header::parse(datagram).and_then(|(header, payload)| {
            let law = Law::from_payload_type(header.payload_type)?;
            Some((header, law, payload))
        });
        match (kind, decoded) {
            (Kind::Audio, Some((header, law, payload))) => {
                let samples = payload.iter().map(|&code| law.decode(code)).collect();
                if way.frames.len() == WAITING {
                    way.frames.pop_front();
                }
                way.frames.push_back((header, law, samples));
            }
            _ => {
                if way.to.send(datagram).is_ok() {
                    shared.relayed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// What an audio device does with one direction at each tick.
fn play(shared: &Shared, way: &mut Way) {
    let Some((header, law, samples)) = way.frames.pop_front() else {
        return;
    };
    let payload: Vec<u8> = samples.iter().map(|&sample| law.encode(sample)).collect();
    let header = Header {
        ssrc: way.ssrc,
        ..header
    };
    if way.to.send(&header.packet(&payload)).is_ok() {
        shared.relayed.fetch_add(1, Ordering::Relaxed);
    }
}
