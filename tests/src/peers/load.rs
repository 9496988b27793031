//! A bounded load of RTP: numbered packets at a steady rate, so that each can be looked
//! for on the other side.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use thin_client::media::rtp::Header;

use crate::lab::{Lab, Site};

/// Packets a second.
pub const RATE: u64 = 1_000;
/// It ends by itself after so many.
const MOST: u64 = 30_000;
/// Payload type: PCMA.
const PCMA: u8 = 8;

/// Sends until it is stopped.
#[derive(Debug)]
pub struct Load {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Load {
    /// From `port` at a site to `remote`, as this source.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub fn start(
        lab: &Lab,
        site: Site,
        port: u16,
        remote: SocketAddrV4,
        ssrc: u32,
    ) -> Result<Self> {
        let local = SocketAddrV4::new(site.ip(), port);
        let socket = lab
            .namespace(site)
            .enter(move || UdpSocket::bind(local))?
            .with_context(|| format!("binding to {local}"))?;
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let thread = std::thread::spawn(move || send(&socket, remote, ssrc, &stop));
        Ok(Self {
            done,
            thread: Some(thread),
        })
    }

    /// Stops it; how many packets it has sent.
    ///
    /// # Errors
    ///
    /// It has failed.
    pub fn stop(mut self) -> Result<u64> {
        self.done.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a load stops once")?;
        thread.join().map_err(|_| anyhow!("the load has failed"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

fn send(socket: &UdpSocket, remote: SocketAddrV4, ssrc: u32, done: &AtomicBool) -> u64 {
    let begin = Instant::now();
    let mut sent = 0;
    while !done.load(Ordering::Relaxed) && sent < MOST {
        let header = Header {
            marker: false,
            payload_type: PCMA,
            sequence: sent as u16,
            timestamp: sent as u32 * 8,
            ssrc,
        };
        // What does not leave here is missed on the other side.
        let _ = socket.send_to(&header.packet(&[0xd5; 160]), remote);
        sent += 1;
        let due = begin + Duration::from_micros(sent * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}
