//! An end of RTP without signalling: it sends a tone, and takes what comes.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use thin_client::media::rtp::Header;

use super::audio::tone_alaw;
use crate::lab::{Lab, Site};

/// Octets of G.711 in a packet of 20 ms.
const PAYLOAD: usize = 160;
/// Payload type: PCMA.
const PCMA: u8 = 8;

/// Sends a tone as PCMA until it is dropped.
#[derive(Debug)]
pub struct Speaker {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    /// From `port` at a site to `remote`.
    pub fn start(lab: &Lab, site: Site, port: u16, remote: SocketAddrV4, hz: f64) -> Result<Self> {
        Self::from(lab, site, SocketAddrV4::new(site.ip(), port), remote, hz)
    }

    /// From another address of a site's.
    pub fn from(
        lab: &Lab,
        site: Site,
        local: SocketAddrV4,
        remote: SocketAddrV4,
        hz: f64,
    ) -> Result<Self> {
        let bound = lab
            .namespace(site)
            .enter(move || UdpSocket::bind(local))?
            .with_context(|| format!("binding to {local}"))?;
        bound.set_nonblocking(true)?;
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let thread = std::thread::spawn(move || speak(&bound, remote, hz, &stop));
        Ok(Self {
            done,
            thread: Some(thread),
        })
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn speak(socket: &UdpSocket, remote: SocketAddrV4, hz: f64, done: &AtomicBool) {
    // Whole periods: the tone has no seam where it begins anew.
    let tone = tone_alaw(hz);
    let mut header = Header {
        marker: true,
        payload_type: PCMA,
        sequence: 1,
        timestamp: 0,
        ssrc: 0x5EA1_0000 | u32::from(remote.port()),
    };
    let mut samples = tone.iter().copied().cycle();
    let mut due = Instant::now();
    let mut heard = [0; 1500];
    while !done.load(Ordering::Relaxed) {
        let payload: Vec<u8> = samples.by_ref().take(PAYLOAD).collect();
        // What ICMP says of earlier packets is none of an RTP sender's business.
        let _ = socket.send_to(&header.packet(&payload), remote);
        while socket.recv(&mut heard).is_ok() {}
        header.marker = false;
        header.sequence = header.sequence.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(PAYLOAD as u32);
        due += Duration::from_millis(20);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
