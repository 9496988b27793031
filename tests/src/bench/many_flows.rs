//! Packets of many flows by one sender, each flow in its turn, so that nothing
//! that a path keeps per flow is in a cache because the last packet was of it too.
//!
//! In: how many flows, where they begin and end. Out: what sending cost, how many
//! came and how long they were on their way. Sources are written into the packets
//! (a raw socket): a socket for each of 100,000 flows would measure sockets.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, setsockopt,
    socket, sockopt,
};
use nix::time::ClockId;
use thin_client::media::rtp::Header;

use crate::lab::Namespace;
use crate::rtp::{
    COLLECT, LINGER, PCMU, clock, payload, quantile, receive_stamped, sent_at, sleep_until,
};

/// Flows that have one address: so many ports.
const PORTS_OF_AN_ADDRESS: u32 = 1_000;
/// Flows that one socket receives.
const FLOWS_OF_A_SOCKET: u32 = 20_000;
/// Room for what waits at a receiver, octets.
const WAITING: usize = 8 << 20;
const HEADERS: usize = 28;

/// Where a flow begins: addresses from 10.71.2.100 on, in the office.
pub fn source(flow: u32) -> SocketAddrV4 {
    let host = 100 + flow / PORTS_OF_AN_ADDRESS;
    SocketAddrV4::new(
        Ipv4Addr::new(10, 71, 2, host as u8),
        (20_000 + flow % PORTS_OF_AN_ADDRESS) as u16,
    )
}

/// Where it ends, at the far address. A port is shared by flows that have different
/// anchors.
pub fn sink(far: Ipv4Addr, flow: u32) -> SocketAddrV4 {
    SocketAddrV4::new(far, (30_000 + flow / FLOWS_OF_A_SOCKET) as u16)
}

/// Its anchor's port.
pub fn anchor(host: Ipv4Addr, flow: u32) -> SocketAddrV4 {
    SocketAddrV4::new(host, (40_000 + flow % FLOWS_OF_A_SOCKET) as u16)
}

/// One direction of RTP in many flows.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Where packets are sent.
    pub near: Namespace,
    /// Where they arrive.
    pub far: Namespace,
    /// The far address.
    pub far_ip: Ipv4Addr,
    /// Where each flow's packets are sent to.
    pub to: Vec<SocketAddrV4>,
    /// Packets per second, of all flows together.
    pub rate: u32,
    /// Packets of all flows together; rounded up to whole rounds of the flows.
    pub packets: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Swept {
    /// Packets sent.
    pub sent: u64,
    /// CPU time within the sending calls.
    pub sending: Duration,
    /// One-way delays, sorted.
    delays: Vec<Duration>,
}

impl Swept {
    /// Packets that never arrived.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.delays.len() as u64)
    }

    /// The delay that this fraction of the packets did not exceed; zero where
    /// none arrived.
    pub fn delay(&self, fraction: f64) -> Duration {
        quantile(&self.delays, fraction)
    }
}

impl Sweep {
    /// Sends it all and waits for the last packets.
    pub fn run(&self) -> Result<Swept> {
        let far = self.far_ip;
        let last = self.to.len() as u32 - 1;
        let sinks = self.far.enter(move || -> Result<Vec<UdpSocket>> {
            (0..=last / FLOWS_OF_A_SOCKET)
                .map(|number| listen(sink(far, number * FLOWS_OF_A_SOCKET)))
                .collect()
        })??;
        let raw = self.near.enter(|| {
            let flags = SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw)
        })??;
        let done = AtomicBool::new(false);
        let (sent, heard) = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| receive(&sinks, &done));
            let sender = scope.spawn(|| self.send(&raw));
            let sent = sender.join();
            done.store(true, Ordering::Relaxed);
            (sent, receiver.join())
        });
        let (sent, sending) = sent.ok().context("the sender panicked")??;
        let mut delays = heard.ok().context("the receiver panicked")??;
        delays.sort_unstable();
        Ok(Swept {
            sent,
            sending,
            delays,
        })
    }

    fn send(&self, raw: &OwnedFd) -> Result<(u64, Duration)> {
        let interval = Duration::from_nanos(1_000_000_000 / u64::from(self.rate));
        let rounds = self.packets.div_ceil(self.to.len() as u64);
        let mut due = clock(ClockId::CLOCK_MONOTONIC)?;
        let mut cpu = Duration::ZERO;
        for round in 0..rounds {
            for (flow, to) in self.to.iter().enumerate() {
                let header = Header {
                    marker: false,
                    payload_type: PCMU,
                    sequence: round as u16,
                    timestamp: (round as u32).wrapping_mul(160),
                    ssrc: 0xBE00_0000 | flow as u32,
                };
                sleep_until(due)?;
                due += interval;
                let rtp = header.packet(&payload(clock(ClockId::CLOCK_REALTIME)?));
                let packet = datagram(source(flow as u32), *to, &rtp);
                let to = SockaddrIn::from(*to);
                let before = clock(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
                let sent = sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty());
                cpu += clock(ClockId::CLOCK_THREAD_CPUTIME_ID)? - before;
                ensure!(sent.context("sending")? == packet.len(), "a packet was cut");
            }
        }
        Ok((rounds * self.to.len() as u64, cpu))
    }
}

fn listen(at: SocketAddrV4) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(at).with_context(|| format!("binding to {at}"))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &WAITING)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// An IPv4 packet of UDP; the kernel fills the IP header's checksum in.
fn datagram(src: SocketAddrV4, dst: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let udp_len = (8 + payload.len()) as u16;
    let mut packet = Vec::with_capacity(HEADERS + payload.len());
    packet.extend([0x45, 0]);
    packet.extend((20 + udp_len).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(src.ip().octets());
    packet.extend(dst.ip().octets());
    packet.extend(src.port().to_be_bytes());
    packet.extend(dst.port().to_be_bytes());
    packet.extend(udp_len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    // The pseudo-header is addresses, protocol and length (RFC 768).
    let sum = packet[12..]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum::<u32>()
        + 17
        + u32::from(udp_len);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[26..28].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    packet
}

/// Takes what arrives until the sender is done and the last packets had their time.
fn receive(sinks: &[UdpSocket], done: &AtomicBool) -> Result<Vec<Duration>> {
    let mut delays = Vec::new();
    let mut until = None;
    loop {
        let now = clock(ClockId::CLOCK_MONOTONIC)?;
        if until.is_none() && done.load(Ordering::Relaxed) {
            until = Some(now + LINGER);
        }
        for sink in sinks {
            drain(sink, &mut delays)?;
        }
        if until.is_some_and(|until| now >= until) {
            return Ok(delays);
        }
        sleep_until(now + COLLECT)?;
    }
}

fn drain(sink: &UdpSocket, delays: &mut Vec<Duration>) -> Result<()> {
    let mut datagram = [0; 512];
    while let Some((length, arrived)) = receive_stamped(sink, &mut datagram)? {
        let sent = Header::parse(&datagram[..length]).and_then(|(_, payload)| sent_at(payload));
        delays.extend(sent.map(|sent| arrived.saturating_sub(sent)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_hundred_thousand_flows_are_as_many_five_tuples() {
        let (host, far) = (Ipv4Addr::new(10, 71, 5, 2), Ipv4Addr::new(10, 71, 3, 31));
        let sent: HashSet<_> = (0..100_000)
            .map(|flow| (source(flow), anchor(host, flow)))
            .collect();
        assert_eq!(sent.len(), 100_000);
        // As a translator sends them on.
        let kept: HashSet<_> = (0..100_000)
            .map(|flow| (anchor(host, flow), sink(far, flow)))
            .collect();
        assert_eq!(kept.len(), 100_000);
    }

    #[test]
    fn a_datagram_has_the_checksum_of_rfc_768() {
        let packet = datagram(source(0), source(1), &[1, 2, 3]);
        let mut sum = 17 + 11u32;
        for pair in packet[12..].chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        let sum = (sum & 0xffff) + (sum >> 16);
        assert_eq!(sum, 0xffff);
    }
}
