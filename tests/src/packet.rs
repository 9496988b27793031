//! The one builder of frames, of both IP versions: readable where it is used, right
//! in every length and checksum unless told otherwise.
//!
//! ```
//! use sidestep_tests::packet::Packet;
//! let frame = Packet::udp4("10.0.0.1:4000", "10.0.0.2:5000")
//!     .ttl(3)
//!     .rtp(1, 160, 0x1234_5678, 0)
//!     .bytes();
//! assert_eq!(frame.len(), 14 + 20 + 8 + 12 + 160);
//! ```

use std::net::{IpAddr, SocketAddr};

/// A MAC address.
pub type Mac = [u8; 6];

/// Where frames come from unless told otherwise.
pub const SRC_MAC: Mac = [0x02, 0, 0, 0, 0, 0x01];
/// Where they go to unless told otherwise.
pub const DST_MAC: Mac = [0x02, 0, 0, 0, 0, 0x02];

/// Extended highest sequence number in report blocks.
pub const HIGHEST: u32 = 0x1_00cc;

/// DF, in the field of flags and fragment offset (RFC 791 §3.1).
const DONT_FRAGMENT: u16 = 0x4000;
/// MF, likewise.
const MORE_FRAGMENTS: u16 = 0x2000;

/// How a UDP checksum is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UdpChecksum {
    /// As RFC 768 says.
    Right,
    /// None: zero.
    None,
    /// This, whatever it should be.
    Forced(u16),
}

/// An Ethernet frame with IP, most often UDP, in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    src_mac: Mac,
    dst_mac: Mac,
    /// Outer tag first: TPID, then identifier.
    tags: Vec<(u16, u16)>,
    /// Another than IP's version would have.
    ethertype: Option<u16>,
    src: SocketAddr,
    dst: SocketAddr,
    tos: u8,
    ttl: u8,
    id: u16,
    flags_offset: u16,
    protocol: u8,
    options: Vec<u8>,
    checksum: UdpChecksum,
    payload: Vec<u8>,
    /// TCP with these flags in place of UDP.
    tcp: Option<u8>,
    /// What follows the IP header, where that is not to be made.
    raw: Option<Vec<u8>>,
}

fn address(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no address and port"))
}

impl Packet {
    /// A UDP datagram between `address:port`s, with no payload yet.
    pub fn udp(src: &str, dst: &str) -> Self {
        Self {
            src_mac: SRC_MAC,
            dst_mac: DST_MAC,
            tags: Vec::new(),
            ethertype: None,
            src: address(src),
            dst: address(dst),
            tos: 0,
            ttl: 64,
            id: 0x1234,
            flags_offset: DONT_FRAGMENT,
            protocol: 17,
            options: Vec::new(),
            checksum: UdpChecksum::Right,
            payload: Vec::new(),
            tcp: None,
            raw: None,
        }
    }

    /// A TCP segment (RFC 9293 §3.1) with these flags, without options.
    pub fn tcp4(src: &str, dst: &str, flags: u8) -> Self {
        Self {
            protocol: 6,
            tcp: Some(flags),
            ..Self::udp4(src, dst)
        }
    }

    /// A datagram between IPv4 addresses, as its name says.
    pub fn udp4(src: &str, dst: &str) -> Self {
        let packet = Self::udp(src, dst);
        assert!(packet.src.is_ipv4(), "{src} is not IPv4");
        packet
    }

    /// Other addresses and ports; the IP version is theirs.
    pub fn between(mut self, src: &str, dst: &str) -> Self {
        (self.src, self.dst) = (address(src), address(dst));
        self
    }

    /// The MACs, source first.
    pub fn macs(mut self, src: Mac, dst: Mac) -> Self {
        (self.src_mac, self.dst_mac) = (src, dst);
        self
    }

    /// An 802.1Q tag in the frame, inside those of before.
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((0x8100, id));
        self
    }

    /// An 802.1ad tag (QinQ's outer), likewise.
    pub fn service_vlan(mut self, id: u16) -> Self {
        self.tags.push((0x88a8, id));
        self
    }

    /// Another ethertype; what follows stays as it is.
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// IP time to live, or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// IP type of service (DSCP and ECN), or traffic class.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// IP identification.
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Another IP protocol (or next header); the UDP header stays where it is.
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// IP options, a multiple of four octets.
    pub fn options(mut self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4) && options.len() <= 40);
        self.options = options.to_vec();
        self
    }

    /// An IPv6 extension header of eight octets before the UDP header, by its
    /// number.
    pub fn extension(mut self, number: u8) -> Self {
        let mut octets = vec![self.protocol, 0, 1, 4, 0, 0, 0, 0];
        octets.extend(self.ip_payload());
        self.raw = Some(octets);
        self.protocol(number)
    }

    /// A fragment: where its payload starts in the datagram's, in octets, and
    /// whether more follow. One that does not start at zero has no UDP header.
    pub fn fragment(mut self, offset: usize, more: bool) -> Self {
        assert!(offset.is_multiple_of(8) && offset < 65_536);
        let more = if more { MORE_FRAGMENTS } else { 0 };
        self.flags_offset = (offset / 8) as u16 | more;
        self
    }

    /// The sender made no UDP checksum.
    pub fn no_udp_checksum(mut self) -> Self {
        self.checksum = UdpChecksum::None;
        self
    }

    /// This UDP checksum, right or not.
    pub fn udp_checksum(mut self, checksum: u16) -> Self {
        self.checksum = UdpChecksum::Forced(checksum);
        self
    }

    /// As a sender leaves it whose card is to make the UDP checksum: the sum of the
    /// pseudo-header stands there (Linux's CHECKSUM_PARTIAL).
    pub fn unfinished(self) -> Self {
        let sum = self.pseudo_sum();
        self.udp_checksum(sum)
    }

    /// The sum of the pseudo-header (RFC 768, RFC 8200 §8.1).
    pub fn pseudo_sum(&self) -> u16 {
        // Of a datagram of which there is nothing but its length.
        !checksum_over(self.src.ip(), self.dst.ip(), self.ip_payload().len(), &[])
    }

    /// Any payload.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// 20 ms of G.711 in RTP (RFC 3550 §5.1), every octet 0xd5.
    pub fn rtp(self, seq: u16, timestamp: u32, ssrc: u32, payload_type: u8) -> Self {
        let mut rtp = vec![0x80, payload_type];
        rtp.extend(seq.to_be_bytes());
        rtp.extend(timestamp.to_be_bytes());
        rtp.extend(ssrc.to_be_bytes());
        rtp.resize(12 + 160, 0xd5);
        self.payload(&rtp)
    }

    /// An RTCP sender report with one report block (RFC 3550 §6.4.1), whose highest
    /// sequence number is [`HIGHEST`]. `ntp` is
    /// seconds and fraction; the block: fraction and cumulative number lost,
    /// jitter, LSR, DLSR.
    pub fn sender_report(self, ssrc: u32, ntp: (u32, u32), block: [u32; 4]) -> Self {
        let mut rtcp = vec![0x81, 200, 0, 12];
        rtcp.extend(ssrc.to_be_bytes());
        for word in [
            ntp.0, ntp.1, 0, 0, 0, 0xbb, block[0], HIGHEST, block[1], block[2], block[3],
        ] {
            rtcp.extend(word.to_be_bytes());
        }
        self.payload(&rtcp)
    }

    /// An RTCP receiver report with one block (RFC 3550 §6.4.2), as above.
    pub fn receiver_report(self, ssrc: u32, block: [u32; 4]) -> Self {
        let mut rtcp = vec![0x81, 201, 0, 7];
        rtcp.extend(ssrc.to_be_bytes());
        for word in [0xbb, block[0], HIGHEST, block[1], block[2], block[3]] {
            rtcp.extend(word.to_be_bytes());
        }
        self.payload(&rtcp)
    }

    /// An RTCP packet without reports: 200 is a sender's, 201 a receiver's
    /// (RFC 3550 §6.4).
    pub fn rtcp(self, packet_type: u8, ssrc: u32) -> Self {
        let octets: usize = if packet_type == 200 { 28 } else { 8 };
        let mut rtcp = vec![0x80, packet_type, 0, (octets / 4 - 1) as u8];
        rtcp.extend(ssrc.to_be_bytes());
        rtcp.resize(octets, 0);
        self.payload(&rtcp)
    }

    /// An ICMP error between these addresses, about `packet` (RFC 792; RFC 4443): its
    /// type and code, the four octets after the checksum, and of the packet as much
    /// as fits into 576 octets.
    pub fn error(src: &str, dst: &str, kind: (u8, u8), rest: u32, packet: &Self) -> Self {
        let mut error = Self::udp(src, dst);
        let (protocol, pseudo) = match (error.src.ip(), error.dst.ip()) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => (58, [src.octets(), dst.octets()].concat()),
            _ => (1, Vec::new()),
        };
        let mut about = [packet.ip_header(), packet.ip_payload()].concat();
        about.truncate(500);
        let mut icmp = vec![kind.0, kind.1, 0, 0];
        icmp.extend(rest.to_be_bytes());
        icmp.extend(about);
        let mut summed = pseudo;
        if protocol == 58 {
            summed.extend((icmp.len() as u32).to_be_bytes());
            summed.extend([0, 0, 0, 58]);
        }
        summed.extend(&icmp);
        let checksum = checksum(&summed);
        icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
        error.raw = Some(icmp);
        error.protocol(protocol)
    }

    /// This datagram in fragments, none longer than `mtu` octets as an IP packet.
    pub fn fragments(&self, mtu: usize) -> Vec<Self> {
        let headers = if self.src.is_ipv4() { 20 } else { 48 };
        let room = (mtu - headers) / 8 * 8;
        let datagram = self.ip_payload();
        let pieces = datagram.len().div_ceil(room);
        (0..pieces)
            .map(|piece| {
                let at = piece * room;
                let octets = &datagram[at..datagram.len().min(at + room)];
                let fragment = self.clone().fragment(at, piece + 1 < pieces);
                Self {
                    raw: Some(octets.to_vec()),
                    ..fragment
                }
            })
            .collect()
    }

    /// Octets of the IP packet.
    pub fn ip_len(&self) -> usize {
        self.ip_header().len() + self.ip_payload().len()
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.dst_mac);
        frame.extend(self.src_mac);
        for (tpid, id) in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        let ip = if self.src.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend(self.ethertype.unwrap_or(ip).to_be_bytes());
        frame.extend(self.ip_header());
        frame.extend(self.ip_payload());
        frame
    }

    fn ip_header(&self) -> Vec<u8> {
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4_header(src.octets(), dst.octets()),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6_header(src.octets(), dst.octets()),
            _ => panic!("{} and {} have not one IP version", self.src, self.dst),
        }
    }

    fn ipv4_header(&self, src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
        let len = 20 + self.options.len() + self.ip_payload().len();
        let mut header = vec![0x45 + (self.options.len() / 4) as u8, self.tos];
        header.extend((len as u16).to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.flags_offset.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(src);
        header.extend(dst);
        header.extend(&self.options);
        let checksum = checksum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    /// Its checksum is not made: nobody here looks at it.
    fn segment(&self, flags: u8) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.src.port().to_be_bytes());
        tcp.extend(self.dst.port().to_be_bytes());
        tcp.extend(1_000_000u32.to_be_bytes());
        tcp.extend(2_000_000u32.to_be_bytes());
        tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(&self.payload);
        tcp
    }

    /// With a fragment header, where it is a fragment.
    fn ipv6_header(&self, src: [u8; 16], dst: [u8; 16]) -> Vec<u8> {
        let is_fragment = self.flags_offset & !DONT_FRAGMENT != 0;
        let extension = if is_fragment { 8 } else { 0 };
        let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        header.extend(((extension + self.ip_payload().len()) as u16).to_be_bytes());
        header.extend([if is_fragment { 44 } else { self.protocol }, self.ttl]);
        header.extend(src);
        header.extend(dst);
        if is_fragment {
            let more = u16::from(self.flags_offset & MORE_FRAGMENTS != 0);
            let offset = (self.flags_offset & 0x1fff) << 3;
            header.extend([self.protocol, 0]);
            header.extend((offset | more).to_be_bytes());
            header.extend(u32::from(self.id).to_be_bytes());
        }
        header
    }

    fn ip_payload(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        if self.flags_offset & 0x1fff != 0 {
            return self.payload.clone();
        }
        if let Some(flags) = self.tcp {
            return self.segment(flags);
        }
        let len = (8 + self.payload.len()) as u16;
        let mut udp = Vec::new();
        udp.extend(self.src.port().to_be_bytes());
        udp.extend(self.dst.port().to_be_bytes());
        udp.extend(len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(&self.payload);
        let checksum = match self.checksum {
            UdpChecksum::None => 0,
            UdpChecksum::Forced(checksum) => checksum,
            UdpChecksum::Right => match checksum_of_udp(self.src.ip(), self.dst.ip(), &udp) {
                0 => 0xffff,
                checksum => checksum,
            },
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        udp
    }
}

/// The Internet checksum (RFC 1071), from scratch.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Both pseudo-headers (RFC 768, RFC 8200 §8.1) come to this.
pub fn checksum_of_udp(src: IpAddr, dst: IpAddr, udp: &[u8]) -> u16 {
    checksum_over(src, dst, udp.len(), udp)
}

fn checksum_over(src: IpAddr, dst: IpAddr, len: usize, octets: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    for ip in [src, dst] {
        match ip {
            IpAddr::V4(v4) => pseudo.extend(v4.octets()),
            IpAddr::V6(v6) => pseudo.extend(v6.octets()),
        }
    }
    pseudo.extend([0, 17]);
    pseudo.extend((len as u16).to_be_bytes());
    pseudo.extend(octets);
    checksum(&pseudo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_another_hand_is_built_octet_for_octet() {
        // Both checksums were worked out apart from this file.
        let frame = Packet::udp4("10.0.0.1:53", "10.0.0.2:40000")
            .macs([1; 6], [2; 6])
            .id(0)
            .payload(b"hi")
            .bytes();
        let expected = [
            &[2u8; 6][..],
            &[1; 6],
            &[0x08, 0x00],
            &[0x45, 0, 0, 30, 0, 0, 0x40, 0, 64, 17],
            &[0x26, 0xcd],
            &[10, 0, 0, 1, 10, 0, 0, 2],
            &[0, 53, 0x9c, 0x40, 0, 10],
            &[0xe6, 0xf8],
            b"hi",
        ]
        .concat();
        assert_eq!(frame, expected);
    }

    #[test]
    fn fragments_add_up_to_their_datagram() {
        let whole = Packet::udp4("192.0.2.1:1", "192.0.2.2:2").payload(&[7; 4_000]);
        let fragments = whole.fragments(1_500);
        let lengths: Vec<_> = fragments.iter().map(Packet::ip_len).collect();
        assert_eq!(lengths, [1_500, 1_500, 20 + 4_008 - 2 * 1_480]);
        let octets: Vec<u8> = fragments.iter().flat_map(Packet::ip_payload).collect();
        assert_eq!(octets, whole.ip_payload());
        let flags: Vec<_> = fragments.iter().map(|f| f.flags_offset).collect();
        assert_eq!(flags, [MORE_FRAGMENTS, MORE_FRAGMENTS | 185, 370]);
    }

    #[test]
    fn checksums_add_up_to_all_ones() {
        let packet = Packet::udp4("192.0.2.1:1", "198.51.100.7:65535").rtp(7, 8, 9, 8);
        assert_eq!(checksum(&packet.ip_header()), 0);
        let udp = packet.ip_payload();
        assert_eq!(checksum_of_udp(packet.src.ip(), packet.dst.ip(), &udp), 0);
    }
}
