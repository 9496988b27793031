//! What the programs say of their own accord: rare events and log lines. What one of
//! them may teach the daemon goes to it; the rest is for the operator to read.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use sidestep_abi::counter::{Event, EventKind};
use sidestep_abi::flow::FlowKey;
use sidestep_abi::map;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::maps::take;
use crate::sockets;

/// Events logged in one second; the rest of it is only counted.
const PER_SECOND: u32 = 20;

/// A packet at an anchor from where its call's thin client registered, but from a port
/// that it has not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlearned {
    /// The call.
    pub call: u32,
    /// The anchor.
    pub at: SocketAddr,
    /// Where it came from.
    pub from: SocketAddr,
}

/// Logs the programs' events until the task is dropped; tells `unlearned` of packets to
/// learn from.
///
/// # Errors
///
/// The maps are not there or cannot be polled.
pub fn follow(
    ebpf: &mut Ebpf,
    unlearned: mpsc::Sender<Unlearned>,
) -> Result<impl Future<Output = ()> + use<>> {
    let events: RingBuf<MapData> = take(ebpf, map::EVENTS)?;
    let ready = sockets::watched(events.as_fd().try_clone_to_owned()?)
        .context("cannot poll the programs' events")?;
    let lines = match EbpfLogger::init(ebpf) {
        Ok(logger) => {
            let ready = sockets::watched(logger.as_fd().try_clone_to_owned()?)?;
            Some((ready, logger))
        }
        Err(error) => {
            tracing::debug!("the programs write no log: {error}");
            None
        }
    };
    let log_lines = async move {
        let Some((ready, mut lines)) = lines else {
            return std::future::pending().await;
        };
        loop {
            let mut ready = ready.readable().await?;
            // Before the look, so that what comes during it wakes again.
            ready.clear_ready();
            lines.flush();
        }
    };
    Ok(async move {
        let ended: io::Result<()> = tokio::select! {
            ended = read_events(ready, events, unlearned) => ended,
            ended = log_lines => ended,
        };
        if let Err(error) = ended {
            tracing::warn!("no more events of the programs: {error}");
        }
    })
}

async fn read_events(
    ready: AsyncFd<OwnedFd>,
    mut events: RingBuf<MapData>,
    unlearned: mpsc::Sender<Unlearned>,
) -> io::Result<()> {
    let mut rate = Rate::new(Instant::now());
    loop {
        ready.readable().await?.clear_ready();
        while let Some(bytes) = events.next() {
            let Some(event) = parse(&bytes) else {
                continue;
            };
            if event.kind == EventKind::Unlearned as u32 {
                // While the daemon has too much to do, the next packet tells it again.
                let _ = unlearned.try_send(Unlearned {
                    call: event.call,
                    at: event.key.to(),
                    from: event.key.from(),
                });
                continue;
            }
            let allowed = rate.allow(Instant::now());
            if let Some(suppressed) = rate.take_suppressed() {
                tracing::info!("{suppressed} more events of the programs");
            }
            if allowed {
                log_event(&event);
            }
        }
    }
}

fn log_event(event: &Event) {
    let (from, to) = (event.key.from(), event.key.to());
    let call = event.call;
    const FIRST: u32 = EventKind::FirstPacket as u32;
    const SSRC: u32 = EventKind::SsrcChanged as u32;
    const FOREIGN: u32 = EventKind::Foreign as u32;
    match event.kind {
        FIRST => tracing::info!("call {call}: first media from {from} to {to}"),
        SSRC => tracing::info!(
            "call {call}: SSRC of {from} to {to} is now {:#010x}",
            event.detail
        ),
        FOREIGN => {
            tracing::warn!("call {call}: dropped media of a stranger, from {from} to {to}");
        }
        kind => tracing::debug!("event {kind} of the programs, from {from} to {to}"),
    }
}

fn parse(bytes: &[u8]) -> Option<Event> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    Some(Event {
        at_ns: u64_at(0)?,
        call: u32_at(8)?,
        kind: u32_at(12)?,
        key: FlowKey {
            src: *bytes.get(16..)?.first_chunk()?,
            dst: *bytes.get(32..)?.first_chunk()?,
            src_port_be: u16_at(48)?,
            dst_port_be: u16_at(50)?,
        },
        ifindex: u32_at(52)?,
        detail: u32_at(56)?,
        reserved: u32_at(60)?,
    })
}

/// At most so many a second.
struct Rate {
    since: Instant,
    used: u32,
    suppressed: u32,
    told: Option<u32>,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            used: 0,
            suppressed: 0,
            told: None,
        }
    }

    fn allow(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            self.told = (self.suppressed > 0).then_some(self.suppressed);
            (self.since, self.used, self.suppressed) = (now, 0, 0);
        }
        if self.used < PER_SECOND {
            self.used += 1;
            return true;
        }
        self.suppressed += 1;
        false
    }

    /// How many the second before was spared.
    fn take_suppressed(&mut self) -> Option<u32> {
        self.told.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_the_programs_write_it() {
        let mut bytes = vec![0; size_of::<Event>()];
        bytes[8..12].copy_from_slice(&5u32.to_ne_bytes());
        bytes[12..16].copy_from_slice(&2u32.to_ne_bytes());
        bytes[50..52].copy_from_slice(&4000u16.to_be_bytes());
        bytes[56..60].copy_from_slice(&0xabcdu32.to_ne_bytes());
        let event = parse(&bytes).unwrap();
        assert_eq!((event.call, event.kind, event.detail), (5, 2, 0xabcd));
        assert_eq!(event.key.to().port(), 4000);
        assert_eq!(parse(&bytes[..63]), None);
    }

    #[test]
    fn a_flood_is_logged_in_part_and_told_afterwards() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let logged = (0..100).filter(|_| rate.allow(start)).count();
        assert_eq!(logged, 20);
        assert_eq!(rate.take_suppressed(), None);
        assert!(rate.allow(start + Duration::from_secs(1)));
        assert_eq!(rate.take_suppressed(), Some(80));
        assert_eq!(rate.take_suppressed(), None);
    }
}
