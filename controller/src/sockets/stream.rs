//! Connections of others: accepted whoever they were meant for, and made in
//! anybody's name.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, accept4, bind, getpeername,
    getsockname, listen, setsockopt, sockopt,
};

use super::{address, both_versions, family_of, transparent};

/// A peer that has said nothing for so long (s) is asked whether it is there …
const KEEP_ALIVE_IDLE: u32 = 600;
/// … again after so long (s) …
const KEEP_ALIVE_INTERVAL: u32 = 60;
/// … and given up after so many questions: its host is gone for good. A network
/// that is only down comes back before that.
const KEEP_ALIVE_COUNT: u32 = 10;

/// The listeners' port. Which connections come is for the namespace's program to say;
/// but no VM can have its own port bound there, so it is one that nobody connects from
/// (tcpmux, RFC 1078).
const LISTENER_PORT: u16 = 1;

/// The socket that every connection of one side comes to.
pub struct Listener {
    fd: OwnedFd,
}

/// A connection that was meant for another.
pub struct Accepted {
    /// Its socket, not blocking.
    pub stream: TcpStream,
    /// Who made it.
    pub src: SocketAddr,
    /// Whom it was made to.
    pub dst: SocketAddr,
}

impl Listener {
    /// Opens it on the device of this thread's namespace.
    pub fn open(device: &str) -> io::Result<Self> {
        let family = both_versions();
        let fd = transparent(device, SockType::Stream, family)?;
        let any: IpAddr = match family {
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let any = SocketAddr::new(any, LISTENER_PORT);
        bind(fd.as_raw_fd(), &SockaddrStorage::from(any))?;
        listen(&fd, Backlog::MAXCONN)?;
        Ok(Self { fd })
    }

    /// Takes the next connection; `None` when there is none at present.
    ///
    /// # Errors
    ///
    /// What `accept` says, above all that there are no more descriptors. A
    /// connection that is gone already is no error.
    pub fn accept(&self) -> io::Result<Option<Accepted>> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        loop {
            let fd = match accept4(self.fd.as_raw_fd(), flags) {
                // SAFETY: `accept4` has just given this descriptor to us alone.
                Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::ECONNABORTED | Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let ends = (
                getpeername::<SockaddrStorage>(fd.as_raw_fd()),
                getsockname::<SockaddrStorage>(fd.as_raw_fd()),
            );
            let (Ok(src), Ok(dst)) = ends else { continue };
            let (Some(src), Some(dst)) = (address(&src), address(&dst)) else {
                continue;
            };
            set_up(&fd)?;
            return Ok(Some(Accepted {
                stream: TcpStream::from(fd),
                src,
                dst,
            }));
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Begins a connection from one address, whoever owns it, to another, on the device
/// of this thread's namespace. It is there when the socket can be written to.
///
/// # Errors
///
/// What `bind` and `connect` say: above all, that these two addresses have a
/// connection already.
pub fn connect(device: &str, src: SocketAddr, dst: SocketAddr) -> io::Result<TcpStream> {
    let fd = transparent(device, SockType::Stream, family_of(&src))?;
    set_up(&fd)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(src))?;
    match nix::sys::socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(dst)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error.into()),
    }
}

/// Closes a connection that both sides have ended, as connections are closed.
pub fn close_in_order(stream: TcpStream) {
    // Refused: it is reset instead, which its peer no longer sees.
    let _ = setsockopt(&stream, sockopt::Linger, &linger(false));
    drop(stream);
}

fn set_up(fd: &OwnedFd) -> io::Result<()> {
    // Nobody waits for a message to become longer.
    setsockopt(fd, sockopt::TcpNoDelay, &true)?;
    setsockopt(fd, sockopt::KeepAlive, &true)?;
    setsockopt(fd, sockopt::TcpKeepIdle, &KEEP_ALIVE_IDLE)?;
    setsockopt(fd, sockopt::TcpKeepInterval, &KEEP_ALIVE_INTERVAL)?;
    setsockopt(fd, sockopt::TcpKeepCount, &KEEP_ALIVE_COUNT)?;
    // Closed without a word, as when the daemon is killed, it is reset: its peer
    // has to know, and to connect anew.
    setsockopt(fd, sockopt::Linger, &linger(true))?;
    Ok(())
}

/// On, with no time at all: closing resets.
fn linger(on: bool) -> libc::linger {
    libc::linger {
        l_onoff: on.into(),
        l_linger: 0,
    }
}
