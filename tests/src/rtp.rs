//! RTP flows that measure their own one-way delay: every packet carries the
//! time at which it was sent, and the kernel stamps it when it arrives.
//!
//! In: the four addresses of each call. Out: how many packets went and came,
//! how long they were on their way, and what sending them cost. One
//! thread sends, spread evenly over the time; one takes what has arrived every
//! few milliseconds, so that the receiver's own wake-ups are in nobody's delay.

use std::io::IoSliceMut;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::cmsg_space;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use thin_client::media::reception::{Arrival, Reception};
use thin_client::media::rtp::Header;

use crate::lab::Namespace;

/// Octets of G.711 in a packet of 20 ms.
pub(crate) const PAYLOAD: usize = 160;
/// Digits of a timestamp in a payload.
const DIGITS: usize = 16;
/// How often arrivals are taken off the sockets.
pub(crate) const COLLECT: Duration = Duration::from_millis(4);
/// How long the last packets are waited for.
pub(crate) const LINGER: Duration = Duration::from_millis(200);
/// Payload type: PCMU.
pub(crate) const PCMU: u8 = 0;

/// One end of a call: where it is, and where it sends to. It hears everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its own address.
    pub local: SocketAddrV4,
    /// Where its packets go.
    pub remote: SocketAddrV4,
}

/// Calls with RTP both ways.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the near ends are.
    pub near: Namespace,
    /// Where the far ends are.
    pub far: Namespace,
    /// The ends of each call: near, far.
    pub calls: Vec<(End, End)>,
    /// Packets per second of each direction of each call.
    pub rate: u32,
    /// How long packets are sent.
    pub duration: Duration,
}

/// What came of a load.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Packets sent, both ways.
    pub sent: u64,
    /// Packets that arrived, each counted once.
    pub received: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// CPU time within the sending calls: the kernel carries a packet there as
    /// far as the next program's socket. What pacing and receiving cost is not
    /// in it.
    pub sending: Duration,
    /// One-way delays, sorted.
    delays: Vec<Duration>,
}

impl Measured {
    /// Packets that never arrived.
    pub fn lost(&self) -> u64 {
        self.sent - self.received
    }

    /// The delay that this fraction of the packets did not exceed; zero where
    /// none arrived.
    pub fn delay(&self, fraction: f64) -> Duration {
        quantile(&self.delays, fraction)
    }
}

impl Load {
    /// Packets per second, both ways.
    pub fn packets_per_second(&self) -> u64 {
        self.calls.len() as u64 * 2 * u64::from(self.rate)
    }

    /// Sends it all and waits for the last packets.
    pub fn run(&self) -> Result<Measured> {
        let open_all = |namespace: &Namespace, ends: Vec<End>| -> Result<Vec<UdpSocket>> {
            namespace.enter(move || ends.iter().map(open).collect())?
        };
        let near_ends = self.calls.iter().map(|call| call.0).collect();
        let far_ends = self.calls.iter().map(|call| call.1).collect();
        let near = open_all(&self.near, near_ends)?;
        let far = open_all(&self.far, far_ends)?;
        // Near before far: a translator on the way learns a call from the near
        // end, whose packets it translates.
        let flows = near.into_iter().zip(far).zip(&self.calls);
        let mut senders = Vec::with_capacity(self.calls.len() * 2);
        let mut receivers = Vec::with_capacity(self.calls.len() * 2);
        for ((near, far), call) in flows {
            for (socket, end) in [(near, call.0), (far, call.1)] {
                receivers.push(Receiver {
                    socket: socket.try_clone()?,
                    reception: None,
                });
                senders.push(Sender::new(socket, end.remote, senders.len()));
            }
        }
        let done = AtomicBool::new(false);
        let interval = Duration::from_nanos(1_000_000_000 / self.packets_per_second());
        let (sent, heard) = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| receive(&mut receivers, &done));
            let sender = scope.spawn(|| send(&mut senders, interval, self.duration));
            let sent = sender.join();
            done.store(true, Ordering::Relaxed);
            (sent, receiver.join())
        });
        let (sent, sending) = sent.ok().context("the sender panicked")??;
        let (mut delays, duplicates) = heard.ok().context("the receiver panicked")??;
        delays.sort_unstable();
        Ok(Measured {
            sent,
            received: delays.len() as u64,
            duplicates,
            sending,
            delays,
        })
    }
}

fn open(end: &End) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(end.local).with_context(|| format!("binding to {}", end.local))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A clock's time.
pub(crate) fn clock(id: ClockId) -> Result<Duration> {
    Ok(clock_gettime(id)?.into())
}

/// Of sorted times the one that this fraction does not exceed; zero where there is
/// none.
pub(crate) fn quantile(sorted: &[Duration], fraction: f64) -> Duration {
    let at = (sorted.len() as f64 * fraction) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(at.min(last)).copied().unwrap_or_default()
}

/// One end, sending.
struct Sender {
    socket: UdpSocket,
    to: SocketAddrV4,
    next: Header,
}

impl Sender {
    fn new(socket: UdpSocket, to: SocketAddrV4, index: usize) -> Self {
        let next = Header {
            marker: false,
            payload_type: PCMU,
            sequence: 0,
            timestamp: 0,
            ssrc: 0xBE00_0000 | index as u32,
        };
        Self { socket, to, next }
    }

    /// Sends the next packet; the CPU time it took.
    fn send(&mut self) -> Result<Duration> {
        let packet = self.next.packet(&payload(clock(ClockId::CLOCK_REALTIME)?));
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.next.timestamp = self.next.timestamp.wrapping_add(PAYLOAD as u32);
        let before = clock(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let sent = self.socket.send_to(&packet, self.to);
        let after = clock(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        match sent {
            // ICMP's word about an earlier packet; this one has not gone.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            sent => ensure!(sent? == packet.len(), "a packet was cut"),
        }
        Ok(after - before)
    }
}

/// A payload that says when it was sent. Every octet is a µ-law code that
/// decoding and encoding gives back as it was.
pub(crate) fn payload(now: Duration) -> [u8; PAYLOAD] {
    let nanoseconds = now.as_nanos() as u64;
    let mut payload = [0xFF; PAYLOAD];
    for (digit, octet) in payload.iter_mut().take(DIGITS).enumerate() {
        *octet = 0x80 | (nanoseconds >> (4 * digit)) as u8 & 0x0F;
    }
    payload
}

/// When a payload was sent; `None` where it is none of ours.
pub(crate) fn sent_at(payload: &[u8]) -> Option<Duration> {
    if payload.len() != PAYLOAD {
        return None;
    }
    let digits = payload.first_chunk::<DIGITS>()?;
    let nanoseconds = digits
        .iter()
        .enumerate()
        .map(|(digit, octet)| u64::from(octet & 0x0F) << (4 * digit))
        .sum();
    Some(Duration::from_nanos(nanoseconds))
}

/// Sends one packet after the other from each of the sockets in turn, at even
/// times; how many, and the CPU time of it.
fn send(senders: &mut [Sender], interval: Duration, duration: Duration) -> Result<(u64, Duration)> {
    let start = clock(ClockId::CLOCK_MONOTONIC)?;
    // Whole rounds, so that every flow has the same number of packets.
    let rounds = duration.as_nanos() / interval.as_nanos() / senders.len() as u128;
    let mut due = start;
    let mut cpu = Duration::ZERO;
    for _ in 0..rounds {
        for sender in &mut *senders {
            sleep_until(due)?;
            cpu += sender.send()?;
            due += interval;
        }
    }
    let sent = rounds as u64 * senders.len() as u64;
    Ok((sent, cpu))
}

/// Sleeps until a time of CLOCK_MONOTONIC.
pub(crate) fn sleep_until(deadline: Duration) -> Result<()> {
    let until = TimeSpec::from(deadline);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    loop {
        match clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until) {
            Err(nix::Error::EINTR) => {}
            slept => return Ok(slept.map(drop)?),
        }
    }
}

/// One end, receiving.
struct Receiver {
    socket: UdpSocket,
    reception: Option<Reception>,
}

/// Takes what arrives until the sender is done and the last packets had their
/// time: delays, duplicates.
fn receive(receivers: &mut [Receiver], done: &AtomicBool) -> Result<(Vec<Duration>, u64)> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, receiver) in receivers.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        epoll.add(&receiver.socket, event)?;
    }
    let mut ready = vec![EpollEvent::empty(); receivers.len()];
    let (mut delays, mut duplicates) = (Vec::new(), 0);
    let mut until = None;
    loop {
        let now = clock(ClockId::CLOCK_MONOTONIC)?;
        if until.is_none() && done.load(Ordering::Relaxed) {
            until = Some(now + LINGER);
        }
        let count = epoll.wait(&mut ready, EpollTimeout::ZERO)?;
        for event in &ready[..count] {
            let receiver = &mut receivers[event.data() as usize];
            receiver.drain(now, &mut delays, &mut duplicates)?;
        }
        if until.is_some_and(|until| now >= until) {
            return Ok((delays, duplicates));
        }
        sleep_until(now + COLLECT)?;
    }
}

/// The next datagram that waits at a socket with SO_TIMESTAMPNS: its length, and when
/// the kernel got it. `None`: none waits.
pub(crate) fn receive_stamped(
    socket: &UdpSocket,
    datagram: &mut [u8],
) -> Result<Option<(usize, Duration)>> {
    let mut control = cmsg_space!(TimeSpec);
    loop {
        let mut buffers = [IoSliceMut::new(datagram)];
        let flags = MsgFlags::empty();
        let fd = socket.as_raw_fd();
        match recvmsg::<SockaddrIn>(fd, &mut buffers, Some(&mut control), flags) {
            Ok(message) => {
                let stamp = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp.into()),
                    _ => None,
                });
                let arrived = stamp.context("a packet without a timestamp")?;
                return Ok(Some((message.bytes, arrived)));
            }
            Err(nix::Error::EAGAIN) => return Ok(None),
            // ECONNREFUSED is ICMP's word about an earlier packet.
            Err(nix::Error::ECONNREFUSED | nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("receiving"),
        }
    }
}

impl Receiver {
    fn drain(
        &mut self,
        now: Duration,
        delays: &mut Vec<Duration>,
        duplicates: &mut u64,
    ) -> Result<()> {
        let mut datagram = [0; 512];
        while let Some((length, arrived)) = receive_stamped(&self.socket, &mut datagram)? {
            let Some((header, payload)) = Header::parse(&datagram[..length]) else {
                continue;
            };
            let Some(sent) = sent_at(payload) else {
                continue;
            };
            let reception = self
                .reception
                .get_or_insert_with(|| Reception::new(&header));
            match reception.receive(&header, now, 8_000) {
                Arrival::Duplicate => *duplicates += 1,
                Arrival::InOrder | Arrival::Late => delays.push(arrived.saturating_sub(sent)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use thin_client::audio::g711::Law;

    use super::*;

    #[test]
    fn the_time_in_a_payload_survives_decoding_and_encoding() {
        let time = Duration::from_nanos(0x0123_4567_89AB_CDEF);
        let relayed: Vec<u8> = payload(time)
            .iter()
            .map(|&code| Law::Mu.encode(Law::Mu.decode(code)))
            .collect();
        assert_eq!(sent_at(&relayed), Some(time));
        assert_eq!(sent_at(&relayed[1..]), None);
    }
}
