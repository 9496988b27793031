//! Whole IPv4 packets, each with the source that it is to have: one socket sends for
//! everybody.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

use etherparse::err::ValueTooBigError;
use etherparse::{IpNumber, Ipv4Header, UdpHeader};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, setsockopt,
    socket, sockopt,
};

use super::SEND_BUFFER;

/// Octets of the headers of IPv4, without options, and of UDP.
pub const HEADERS: usize = 28;
/// What the kernel gives others' packets, too (RFC 1700).
const TIME_TO_LIVE: u8 = 64;

/// A socket that sends UDP from any IPv4 address and port.
pub struct PacketSender {
    fd: OwnedFd,
    packet: Vec<u8>,
}

impl PacketSender {
    /// Opens it on the device of this thread's namespace.
    pub fn open(device: &str) -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::Raw,
        )?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(device))?;
        setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER)?;
        Ok(Self {
            fd,
            packet: Vec::new(),
        })
    }

    /// Sends one datagram; the kernel cuts it nowhere, so it has to fit the way's MTU.
    ///
    /// # Errors
    ///
    /// What `sendto` says; [`io::ErrorKind::WouldBlock`] when the send buffer is full.
    pub fn send(
        &mut self,
        source: SocketAddrV4,
        destination: SocketAddrV4,
        payload: &[u8],
    ) -> io::Result<()> {
        let packet = &mut self.packet;
        packet.clear();
        headers(source, destination, payload, packet)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        packet.extend_from_slice(payload);
        sendto(
            self.fd.as_raw_fd(),
            packet,
            &SockaddrIn::from(destination),
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(())
    }
}

/// The headers of a datagram. Its number, and the first header's checksum, are the
/// kernel's to fill in (raw(7)).
fn headers(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), ValueTooBigError<usize>> {
    let length = UdpHeader::LEN + payload.len();
    // No more than 65,535, so that what is longer is refused and not cut.
    let mut ip = Ipv4Header::new(
        u16::try_from(length).unwrap_or(u16::MAX),
        TIME_TO_LIVE,
        IpNumber::UDP,
        source.ip().octets(),
        destination.ip().octets(),
    )
    .map_err(|error| ValueTooBigError {
        actual: length,
        max_allowed: usize::from(error.max_allowed),
        value_type: error.value_type,
    })?;
    // As from any socket of this daemon: whoever forwards it may cut it.
    ip.dont_fragment = false;
    let udp = UdpHeader::with_ipv4_checksum(source.port(), destination.port(), &ip, payload)?;
    into.extend_from_slice(&ip.to_bytes());
    into.extend_from_slice(&udp.to_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_whose_and_whom_for() {
        let mut packet = Vec::new();
        let (src, dst) = ("192.0.2.1:6004", "10.71.1.11:6005");
        headers(
            src.parse().unwrap(),
            dst.parse().unwrap(),
            b"OPTIONS",
            &mut packet,
        )
        .unwrap();
        packet.extend_from_slice(b"OPTIONS");
        let sliced = etherparse::SlicedPacket::from_ip(&packet).unwrap();
        let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else {
            panic!("no IPv4");
        };
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else {
            panic!("no UDP");
        };
        let header = ip.header();
        assert_eq!(
            format!("{}:{}", header.source_addr(), udp.source_port()),
            src
        );
        assert_eq!(
            format!("{}:{}", header.destination_addr(), udp.destination_port()),
            dst
        );
        assert!(!header.dont_fragment());
        assert_eq!((header.ttl(), udp.payload()), (64, b"OPTIONS".as_slice()));
        // The sum over pseudo-header, header and payload is all ones (RFC 768).
        let words = [
            &packet[12..20],
            &[0, 17, 0, udp.length() as u8],
            &packet[20..],
            &[0],
        ]
        .concat();
        let sum: u32 = words
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
            .sum();
        assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
    }

    #[test]
    fn what_no_packet_holds_is_refused() {
        let any = "10.0.0.1:1".parse().unwrap();
        let mut packet = Vec::new();
        assert!(headers(any, any, &vec![0; 65_535], &mut packet).is_err());
    }
}
