//! What the daemon's sockets need of the kernel beyond the ordinary: to receive
//! what was meant for anyone, to send from any address, to be waited for. The one
//! module of the controller with `unsafe`.

#![allow(unsafe_code)]

mod packet;
mod stream;

use std::ffi::{OsString, c_char, c_int, c_void};
use std::io::{self, IoSliceMut};
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6,
    SockaddrStorage, bind, recvmsg, sendto, setsockopt, socket, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use packet::{HEADERS, PacketSender};
pub use stream::{Accepted, Listener, close_in_order, connect};

/// Receive buffer asked for, octets; the kernel doubles it. A burst of ten
/// thousand ordinary messages.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Send buffer asked for, octets.
const SEND_BUFFER: usize = 1 << 20;
/// The largest UDP payload there is.
pub const MAX_PAYLOAD: usize = 65_535;

/// The socket that receives everything of one side.
pub struct Receiver {
    fd: OwnedFd,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

/// A datagram as it was received.
pub struct Received<'a> {
    /// Who sent it.
    pub src: SocketAddr,
    /// Whom it was meant for.
    pub dst: SocketAddr,
    /// Its payload.
    pub payload: &'a [u8],
    /// Datagrams that the socket's full buffer has cost so far.
    pub dropped: u32,
}

impl Receiver {
    /// Opens it on the device of this thread's namespace.
    pub fn open(device: &str) -> io::Result<Self> {
        let family = both_versions();
        let fd = transparent(device, SockType::Datagram, family)?;
        setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        setsockopt(&fd, sockopt::Ipv4OrigDstAddr, &true)?;
        setsockopt(&fd, sockopt::RxqOvfl, &1)?;
        // Port 0: which packets come is for the namespace's program to say.
        let any: IpAddr = if family == AddressFamily::Inet6 {
            setsockopt(&fd, sockopt::Ipv6OrigDstAddr, &true)?;
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        bind(
            fd.as_raw_fd(),
            &SockaddrStorage::from(SocketAddr::new(any, 0)),
        )?;
        Ok(Self {
            fd,
            buffer: vec![0; MAX_PAYLOAD],
            control: nix::cmsg_space!(libc::sockaddr_in6, libc::sockaddr_in, u32),
        })
    }

    /// Takes the next datagram; `None` when there is none at present.
    ///
    /// # Errors
    ///
    /// What `recvmsg` says, and a datagram without its destination.
    pub fn receive(&mut self) -> io::Result<Option<Received<'_>>> {
        let (length, src, dst, dropped) = {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let message = match recvmsg::<SockaddrStorage>(
                self.fd.as_raw_fd(),
                &mut parts,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let mut dst = None;
            let mut dropped = 0;
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::Ipv4OrigDstAddr(address) => {
                        dst = Some(SocketAddr::V4(SockaddrIn::from(address).into()));
                    }
                    ControlMessageOwned::Ipv6OrigDstAddr(address) => {
                        dst = Some(SocketAddr::V6(SockaddrIn6::from(address).into()));
                    }
                    ControlMessageOwned::RxqOvfl(count) => dropped = count,
                    _ => {}
                }
            }
            let src = message.address.as_ref().and_then(address);
            (message.bytes, src, dst.map(canonical), dropped)
        };
        let (Some(src), Some(dst)) = (src, dst) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a datagram came without its addresses",
            ));
        };
        Ok(Some(Received {
            src,
            dst,
            payload: &self.buffer[..length],
            dropped,
        }))
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A socket that sends from one address, whoever owns it.
pub struct Sender {
    fd: OwnedFd,
}

impl Sender {
    /// Opens it on the device of this thread's namespace.
    pub fn open(device: &str, source: SocketAddr) -> io::Result<Self> {
        let fd = transparent(device, SockType::Datagram, family_of(&source))?;
        setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(source))?;
        Ok(Self { fd })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// What `sendto` says; [`io::ErrorKind::WouldBlock`] when the send buffer is
    /// full.
    pub fn send(&self, destination: SocketAddr, payload: &[u8]) -> io::Result<()> {
        sendto(
            self.fd.as_raw_fd(),
            payload,
            &SockaddrStorage::from(destination),
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(())
    }
}

/// A descriptor whose readability the runtime watches.
pub fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, and the same, until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// A socket of IPv6 takes IPv4, too; where the kernel has no IPv6, one of IPv4.
fn both_versions() -> AddressFamily {
    match Path::new("/proc/sys/net/ipv6").exists() {
        true => AddressFamily::Inet6,
        false => AddressFamily::Inet,
    }
}

fn family_of(address: &SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// An address as it is on the wire: IPv4 is IPv4 in a socket of IPv6, too.
fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in();
    let v6 = storage.as_sockaddr_in6();
    v4.map(|v4| SocketAddr::V4((*v4).into()))
        .or_else(|| v6.map(|v6| SocketAddr::V6((*v6).into())))
        .map(canonical)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn transparent(device: &str, kind: SockType, family: AddressFamily) -> io::Result<OwnedFd> {
    let fd = socket(
        family,
        kind,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::IpTransparent, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &OsString::from(device))?;
    fragment_freely(&fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
        fragment_freely(&fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)?;
    }
    Ok(fd)
}

/// IP_PMTUDISC_DONT: the kernel fragments what is larger than the route's MTU,
/// as it would for the VM.
fn fragment_freely(fd: &OwnedFd, level: c_int, option: c_int) -> io::Result<()> {
    const { assert!(libc::IP_PMTUDISC_DONT == libc::IPV6_PMTUDISC_DONT) };
    let value: c_int = libc::IP_PMTUDISC_DONT;
    // SAFETY: `fd` is an open socket; the option's value is a c_int that lives
    // through the call, and its size is given.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    Errno::result(done)?;
    Ok(())
}

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_STXCSUM: u32 = 0x17;

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// Has a device of this thread's namespace complete checksums before frames
/// leave it (`ethtool -K DEVICE tx off`).
pub fn checksum_offload_off(device: &str) -> io::Result<()> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut value = EthtoolValue {
        cmd: ETHTOOL_STXCSUM,
        data: 0,
    };
    let mut name = [0 as c_char; libc::IFNAMSIZ];
    if device.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(device.bytes()) {
        *to = from as c_char;
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: (&raw mut value).cast::<c_char>(),
        },
    };
    // SAFETY: `fd` is an open socket; `request` is an ifreq whose data points to
    // an ethtool_value; both live through the call.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL as _, &raw const request) };
    Errno::result(done)?;
    Ok(())
}
