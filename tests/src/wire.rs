//! Frames on an interface, sent and received as they are (packet(7)).

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recv,
    send, socket,
};

use crate::program::ifindex;

/// How long a frame may take.
const LIMIT: Duration = Duration::from_secs(5);

/// An interface's wire.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    name: String,
}

impl Wire {
    /// Listens from now on; frames that this host sends are not heard.
    ///
    /// # Errors
    ///
    /// No such interface in the thread's namespace, or no right to.
    pub fn open(interface: &str) -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )
        .context("a packet socket (this test needs root)")?;
        ignore_outgoing(&socket)?;
        bind(socket.as_raw_fd(), &link(ifindex(interface)?)?)
            .with_context(|| format!("binding to {interface}"))?;
        Ok(Self {
            socket,
            name: interface.to_owned(),
        })
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// The interface is down, or the frame too long.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
            .with_context(|| format!("sending on {}", self.name))?;
        Ok(())
    }

    /// The next IPv4 frame that comes, tagged or not.
    ///
    /// # Errors
    ///
    /// None comes.
    pub fn next(&self) -> Result<Vec<u8>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(frame) = self.waiting()? {
                return Ok(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no frame on {} within {LIMIT:?}", self.name);
            }
            let mut ready = [PollFd::new(
                std::os::fd::AsFd::as_fd(&self.socket),
                PollFlags::POLLIN,
            )];
            poll(&mut ready, PollTimeout::try_from(left)?)?;
        }
    }

    /// An IPv4 frame that has come already.
    ///
    /// # Errors
    ///
    /// The interface has gone.
    pub fn waiting(&self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; 65_536];
        loop {
            match recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                // Others (ARP, IPv6) come and go on any interface.
                Ok(len) if len >= 14 && matches!(frame[12..14], [0x08, 0x00] | [0x81, 0x00]) => {
                    frame.truncate(len);
                    return Ok(Some(frame));
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => {
                    let error = std::io::Error::from(errno);
                    if error.kind() != ErrorKind::Interrupted {
                        return Err(error).with_context(|| format!("receiving on {}", self.name));
                    }
                }
            }
        }
    }
}

fn link(ifindex: u32) -> Result<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: ifindex.try_into()?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: a whole sockaddr_ll of the family and length it says.
    let link = unsafe {
        LinkAddr::from_raw(
            (&raw const address).cast(),
            Some(size_of::<libc::sockaddr_ll>() as u32),
        )
    };
    link.context("a link-layer address")
}

fn ignore_outgoing(socket: &OwnedFd) -> Result<()> {
    const PACKET_IGNORE_OUTGOING: i32 = 23;
    let on: i32 = 1;
    // SAFETY: an int and its size, on a socket of ours.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of::<i32>() as u32,
        )
    };
    Errno::result(result).context("PACKET_IGNORE_OUTGOING")?;
    Ok(())
}
