//! A stream with sockets, a clock and two threads: one sends at absolute
//! deadlines of CLOCK_MONOTONIC, so that 20 ms stay 20 ms however long a packet
//! takes to make; one receives, so that a packet's arrival is when it came.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use super::stream::Stream;

/// Largest datagram taken, octets.
const DATAGRAM: usize = 2_048;
/// So far behind its deadlines a sender does not catch up but starts anew.
const GIVE_UP: Duration = Duration::from_millis(500);

struct Shared {
    stream: Mutex<Stream>,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    stop: AtomicBool,
}

impl Shared {
    fn stream(&self) -> MutexGuard<'_, Stream> {
        // Its counters are valid whatever a panicking thread left.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running media of a call. Dropping it ends it.
pub struct Session {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Closed to wake the receiver.
    wake: Option<UnixStream>,
    local: SocketAddr,
}

/// The sockets of one media address: RTP, and RTCP on the next port.
pub fn bind(local: SocketAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = UdpSocket::bind(local)?;
    let mut next = rtp.local_addr()?;
    next.set_port(
        next.port()
            .checked_add(1)
            .ok_or(io::ErrorKind::InvalidInput)?,
    );
    let rtcp = UdpSocket::bind(next)?;
    for socket in [&rtp, &rtcp] {
        socket.set_nonblocking(true)?;
    }
    Ok((rtp, rtcp))
}

impl Session {
    /// Binds `local` and starts the threads.
    pub fn start(local: SocketAddr, stream: Stream) -> io::Result<Self> {
        Self::with_sockets(bind(local)?, stream)
    }

    fn with_sockets((rtp, rtcp): (UdpSocket, UdpSocket), stream: Stream) -> io::Result<Self> {
        let local = rtp.local_addr()?;
        let shared = Arc::new(Shared {
            stream: Mutex::new(stream),
            rtp,
            rtcp,
            stop: AtomicBool::new(false),
        });
        let (wake, woken) = UnixStream::pair()?;
        let sender = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("rtp-send".into())
                .spawn(move || send(&shared))?
        };
        // From here on dropping `session` ends the sender too.
        let mut session = Self {
            shared: Arc::clone(&shared),
            threads: vec![sender],
            wake: Some(wake),
            local,
        };
        session.threads.push(
            std::thread::Builder::new()
                .name("rtp-receive".into())
                .spawn(move || receive(&shared, &woken))?,
        );
        Ok(session)
    }

    /// Where RTP is received.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The stream, between its packets; to be let go at once.
    pub fn stream(&self) -> MutexGuard<'_, Stream> {
        self.shared.stream()
    }

    /// Says BYE, ends the threads and the recording; the stream's statistics
    /// are final then. Takes at most one packet time.
    pub fn stop(&mut self) {
        self.halt();
        let goodbye = self.stream().goodbye(monotonic());
        transmit(&self.shared.rtcp, goodbye);
        self.stream().finish();
    }

    /// Goes on at another address, with the same stream.
    pub fn rebind(&mut self, local: SocketAddr) -> io::Result<()> {
        let sockets = bind(local)?;
        self.halt();
        // The threads have ended, so their clones of it are gone.
        let stream = std::mem::replace(&mut *self.stream(), Stream::idle());
        *self = Self::with_sockets(sockets, stream)?;
        Ok(())
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a media thread panicked");
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop();
        }
    }
}

/// CLOCK_MONOTONIC; it cannot fail on Linux with a valid clock.
fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

fn sleep_until(deadline: Duration) {
    let until = TimeSpec::nanoseconds(deadline.as_nanos() as i64);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    // EINTR: the deadline is absolute, so just go on sleeping.
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until) == Err(nix::Error::EINTR) {}
}

/// An unreachable peer is the peer's affair; RTP goes on.
fn transmit(socket: &UdpSocket, due: Option<(SocketAddr, Vec<u8>)>) {
    if let Some((to, packet)) = due
        && let Err(error) = socket.send_to(&packet, to)
    {
        tracing::debug!(%to, %error, "not sent");
    }
}

fn send(shared: &Shared) {
    let mut deadline = monotonic();
    while !shared.stop.load(Ordering::Relaxed) {
        let (rtp, rtcp, packet_time) = {
            let mut stream = shared.stream();
            let rtp = stream.poll_rtp();
            (rtp, stream.poll_rtcp(deadline), stream.packet_time())
        };
        transmit(&shared.rtp, rtp);
        transmit(&shared.rtcp, rtcp);
        deadline += packet_time;
        let now = monotonic();
        if now > deadline + GIVE_UP {
            tracing::warn!(behind = ?(now - deadline), "fell behind; pacing starts anew");
            deadline = now;
        }
        sleep_until(deadline);
    }
}

fn receive(shared: &Shared, woken: &UnixStream) {
    let mut datagram = [0; DATAGRAM];
    loop {
        let mut descriptors = [
            PollFd::new(shared.rtp.as_fd(), PollFlags::POLLIN),
            PollFd::new(shared.rtcp.as_fd(), PollFlags::POLLIN),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "waiting for RTP failed; receiving ends");
                return;
            }
        }
        while let Ok((length, from)) = shared.rtp.recv_from(&mut datagram) {
            let now = monotonic();
            shared.stream().receive_rtp(now, from, &datagram[..length]);
        }
        while let Ok((length, from)) = shared.rtcp.recv_from(&mut datagram) {
            let now = monotonic();
            shared.stream().receive_rtcp(now, from, &datagram[..length]);
        }
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
    }
}
