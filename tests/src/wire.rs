//! Frames on an interface, sent and received as they are (packet(7)): with the tag, too,
//! that the kernel has taken out of a frame and keeps beside it.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, send,
    socket,
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
        switch_on(&socket, PACKET_IGNORE_OUTGOING)?;
        switch_on(&socket, libc::PACKET_AUXDATA)?;
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

    /// Sends a frame of UDP without tags as a sender does that leaves its checksum to a card:
    /// the sum of the pseudo-header stands there ([`crate::packet::Packet::unfinished`]).
    ///
    /// # Errors
    ///
    /// The interface is down, or the frame too long.
    pub fn send_unfinished(&self, frame: &[u8]) -> Result<()> {
        const NEEDS_CHECKSUM: u8 = 1;
        const CHECKSUM: u16 = 6;
        let udp: u16 = match frame.get(12..14) {
            Some([0x08, 0x00]) => 14 + 20,
            _ => 14 + 40,
        };
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("a packet socket (this test needs root)")?;
        switch_on(&socket, libc::PACKET_VNET_HDR)?;
        bind(socket.as_raw_fd(), &link(ifindex(&self.name)?)?)?;
        // A `virtio_net_hdr`: no segmentation, where the sum begins, and where it goes.
        let mut octets = vec![NEEDS_CHECKSUM, 0, 0, 0, 0, 0];
        octets.extend(udp.to_ne_bytes());
        octets.extend(CHECKSUM.to_ne_bytes());
        octets.extend(frame);
        send(socket.as_raw_fd(), &octets, MsgFlags::empty())
            .with_context(|| format!("sending on {}", self.name))?;
        Ok(())
    }

    /// The next IPv4 or IPv6 frame that comes, tagged or not.
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

    /// Such a frame that has come already.
    ///
    /// # Errors
    ///
    /// The interface has gone.
    pub fn waiting(&self) -> Result<Option<Vec<u8>>> {
        loop {
            match receive(self.socket.as_raw_fd()) {
                // Others (ARP) come and go on any interface.
                Ok(frame)
                    if matches!(
                        frame.get(12..14),
                        Some([0x08, 0x00] | [0x86, 0xdd] | [0x81, 0x00] | [0x88, 0xa8])
                    ) =>
                {
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

/// One frame, as it was on the wire.
fn receive(socket: i32) -> nix::Result<Vec<u8>> {
    const CONTROL: usize = 64;
    let mut frame = vec![0u8; 65_536];
    let mut control = [0u64; CONTROL / 8];
    let mut room = libc::iovec {
        iov_base: frame.as_mut_ptr().cast(),
        iov_len: frame.len(),
    };
    // SAFETY: all zero is a message without buffers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut room;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    // SAFETY: the buffers live, and have the lengths given.
    let len = Errno::result(unsafe { libc::recvmsg(socket, &raw mut message, 0) })?;
    frame.truncate(usize::try_from(len).unwrap_or(0));
    // SAFETY: the kernel has filled it in; control messages are read as these functions
    // find them, and one of this kind has a `tpacket_auxdata`.
    let beside = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let found = !header.is_null()
            && (*header).cmsg_level == libc::SOL_PACKET
            && (*header).cmsg_type == libc::PACKET_AUXDATA;
        found.then(|| {
            let data = libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>();
            data.read_unaligned()
        })
    };
    if let Some(beside) = beside
        && beside.tp_status & libc::TP_STATUS_VLAN_VALID != 0
        && frame.len() >= 12
    {
        let tag = [beside.tp_vlan_tpid, beside.tp_vlan_tci].map(u16::to_be_bytes);
        frame.splice(12..12, tag.concat());
    }
    Ok(frame)
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

/// Not in libc for every system.
const PACKET_IGNORE_OUTGOING: i32 = 23;

fn switch_on(socket: &OwnedFd, option: i32) -> Result<()> {
    let on: i32 = 1;
    // SAFETY: an int and its size, on a socket of ours.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            size_of::<i32>() as u32,
        )
    };
    Errno::result(result).context("an option of packet(7)")?;
    Ok(())
}
