//! What was on the wire: tcpdump on an interface, read back as UDP datagrams, messages
//! of SIP in connections, and RTP streams.
//!
//! Everybody is named by IPv4: where the lab has IPv6 beside it ([`crate::lab::six`]),
//! by the IPv4 address of the same box.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Process;
use super::audio::{decode_alaw, decode_ulaw};
use super::segments::Segments;
use crate::lab::{Lab, Site, four};
use crate::packet::checksum_of_udp;
use crate::wait::{seconds, wait_for};

/// tcpdump, running.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Captures IPv4 on an interface of a box; listens when this returns.
    pub fn start(lab: &Lab, site: Site, interface: &str) -> Result<Self> {
        Self::start_of(lab, site, interface, "ip")
    }

    /// The same, of what a filter of tcpdump's picks.
    pub fn start_of(lab: &Lab, site: Site, interface: &str, filter: &str) -> Result<Self> {
        let name = format!("capture-{}-{interface}", site.name());
        let file = lab.directory().join(format!("{name}.pcap"));
        let mut process = Process::start(
            &name,
            lab.directory(),
            lab.command(site, "tcpdump")
                .args(["-Z", "root", "-n", "-U", "-B", "8192", "--immediate-mode"])
                .args(["--time-stamp-precision", "nano", "-i", interface, "-w"])
                .arg(&file)
                .arg(filter),
        )?;
        process.wait_for_text("listening on", seconds(10))?;
        Ok(Self { process, file })
    }

    /// What has been captured so far.
    pub fn so_far(&self) -> Result<Trace> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("reading {}", self.file.display()))?;
        Trace::parse(&bytes)
    }

    /// Waits until the trace so far shows something.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Trace) -> Option<T>,
    ) -> Result<T> {
        wait_for(what, limit, || look(&self.so_far().ok()?))
    }

    /// The packets so far that a display filter of tshark's picks, a line each.
    ///
    /// # Errors
    ///
    /// tshark does not know the filter.
    pub fn dissect(&self, lab: &Lab, filter: &str) -> Result<Vec<String>> {
        let mut tshark = lab.command(Site::Hv, "tshark");
        tshark.args(["-n", "-Y", filter, "-r"]).arg(&self.file);
        let output = tshark.output().context("starting tshark")?;
        let said = String::from_utf8_lossy(&output.stderr);
        // A capture that goes on may end in the middle of a packet.
        if !output.status.success() && !said.contains("cut short") {
            bail!("tshark -Y {filter:?}: {said}");
        }
        let lines = String::from_utf8_lossy(&output.stdout);
        Ok(lines.lines().map(str::to_owned).collect())
    }

    /// Ends the capture; all of it.
    pub fn stop(mut self) -> Result<Trace> {
        self.process.terminate(seconds(5))?;
        self.so_far()
    }
}

/// What was said, in the order of the wire.
#[derive(Debug, Default)]
pub struct Trace {
    /// UDP datagrams, reassembled, and messages of SIP out of connections.
    pub datagrams: Vec<Datagram>,
}

/// A UDP datagram as it was on the wire, or a message out of a connection.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// When its last fragment was captured, since the epoch.
    pub at: Duration,
    /// Source.
    pub src: SocketAddrV4,
    /// Destination.
    pub dst: SocketAddrV4,
    /// UDP payload, or the message.
    pub payload: Vec<u8>,
    /// It came in a connection, over TCP.
    pub connected: bool,
    /// It came over IPv6.
    pub six: bool,
    /// Octets of its IP packets, headers included; of a message, those of its last.
    pub ip_bytes: usize,
    /// IP packets it came in; of a message, 1.
    pub fragments: usize,
    /// Whether its UDP checksum was there and right. A sender that leaves it to
    /// its network card has only part of it in the frame. (Of TCP the kernel sees to it.)
    pub checksum_right: bool,
}

/// An RTP packet (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy)]
pub struct Rtp<'a> {
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Synchronization source.
    pub ssrc: u32,
    /// Payload.
    pub payload: &'a [u8],
}

/// One direction of RTP, summed up.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// Packets.
    pub packets: u64,
    /// Octets of IP packets.
    pub bytes: u64,
    /// Sequence numbers in the order of the wire.
    pub sequences: Vec<u16>,
    /// When each was captured.
    pub times: Vec<Duration>,
    /// Its sources, in the order they appeared.
    pub ssrcs: Vec<u32>,
    /// Its payload types, in the order they appeared.
    pub payload_types: Vec<u8>,
    /// Its audio, where G.711.
    pub audio: Vec<i16>,
}

impl Stream {
    /// Sequence numbers missing between neighbours of the wire.
    pub fn gaps(&self) -> u64 {
        self.sequences
            .windows(2)
            .map(|pair| u64::from(pair[1].wrapping_sub(pair[0])))
            .filter(|step| (2..0x8000).contains(step))
            .map(|step| step - 1)
            .sum()
    }
}

impl Datagram {
    /// The RTP packet in it, if it looks like one and is not RTCP.
    pub fn rtp(&self) -> Option<Rtp<'_>> {
        let p = &self.payload;
        let is_rtp = p.len() >= 12 && p[0] >> 6 == 2 && !(72..=76).contains(&(p[1] & 0x7f));
        // A message out of a connection may begin with anything.
        if self.connected || !is_rtp {
            return None;
        }
        let csrcs = usize::from(p[0] & 15) * 4;
        Some(Rtp {
            payload_type: p[1] & 0x7f,
            sequence: u16::from_be_bytes([p[2], p[3]]),
            ssrc: u32::from_be_bytes([p[8], p[9], p[10], p[11]]),
            payload: p.get(12 + csrcs..)?,
        })
    }

    /// Its payload as text, if it is a SIP message.
    pub fn sip(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.payload);
        let first = text.lines().next()?;
        (first.starts_with("SIP/2.0 ") || first.ends_with(" SIP/2.0")).then(|| text.into_owned())
    }
}

impl Trace {
    /// RTP whose source and destination addresses `picks` wants.
    pub fn rtp(&self, picks: impl Fn(&Datagram) -> bool) -> Stream {
        let mut stream = Stream::default();
        for datagram in self.datagrams.iter().filter(|d| picks(d)) {
            let Some(rtp) = datagram.rtp() else { continue };
            stream.packets += 1;
            stream.bytes += datagram.ip_bytes as u64;
            stream.sequences.push(rtp.sequence);
            stream.times.push(datagram.at);
            if !stream.ssrcs.contains(&rtp.ssrc) {
                stream.ssrcs.push(rtp.ssrc);
            }
            if !stream.payload_types.contains(&rtp.payload_type) {
                stream.payload_types.push(rtp.payload_type);
            }
            let decode = match rtp.payload_type {
                0 => decode_ulaw,
                8 => decode_alaw,
                _ => continue,
            };
            stream
                .audio
                .extend(rtp.payload.iter().map(|&octet| decode(octet)));
        }
        stream
    }

    /// RTP from one address to another, whatever the ports.
    pub fn rtp_between(&self, from: Ipv4Addr, to: Ipv4Addr) -> Stream {
        self.rtp(|d| *d.src.ip() == from && *d.dst.ip() == to)
    }

    /// SIP messages, with their datagrams.
    pub fn sip(&self) -> impl Iterator<Item = (&Datagram, String)> {
        self.datagrams.iter().filter_map(|d| Some((d, d.sip()?)))
    }

    /// Reads a pcap file with nanoseconds of Ethernet frames. A last record that
    /// is not all there yet is left out.
    fn parse(file: &[u8]) -> Result<Self> {
        if file.len() < 24 {
            return Ok(Self::default());
        }
        let word = |at: usize| -> u32 {
            u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]])
        };
        if word(0) != 0xa1b2_3c4d || word(20) != 1 {
            bail!("not a pcap file of Ethernet frames with nanoseconds");
        }
        let mut datagrams = Vec::new();
        let mut pieces: BTreeMap<(u32, u32, u16), Pieces> = BTreeMap::new();
        let mut segments = Segments::default();
        let mut at = 24;
        while at + 16 <= file.len() {
            let time = Duration::new(u64::from(word(at)), word(at + 4));
            let length = word(at + 8) as usize;
            let Some(frame) = file.get(at + 16..at + 16 + length) else {
                break;
            };
            at += 16 + length;
            let Some(packet) = ip_packet(frame) else {
                continue;
            };
            let whole = if packet.offset == 0 && !packet.more {
                Some((packet.data.to_vec(), packet.length, 1))
            } else {
                let key = (packet.src.into(), packet.dst.into(), packet.id);
                let entry = pieces.entry(key).or_default();
                entry.add(&packet);
                let whole = entry.whole();
                if whole.is_some() {
                    pieces.remove(&key);
                }
                whole
            };
            match whole {
                Some((data, ip_bytes, fragments)) if packet.protocol == UDP => {
                    datagrams.extend(udp(time, &packet, &data, ip_bytes, fragments));
                }
                Some((data, ..)) => {
                    datagrams.extend(messages(time, &packet, &data, &mut segments));
                }
                None => {}
            }
        }
        Ok(Self { datagrams })
    }
}

/// IP's numbers of them.
const TCP: u8 = 6;
const UDP: u8 = 17;

struct IpPacket<'a> {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    /// As they are on the wire.
    addresses: (IpAddr, IpAddr),
    protocol: u8,
    id: u16,
    offset: usize,
    more: bool,
    length: usize,
    data: &'a [u8],
}

/// The IP packet of a frame, of UDP or TCP.
fn ip_packet(frame: &[u8]) -> Option<IpPacket<'_>> {
    let ip = frame.get(14..)?;
    let packet = match frame[12..14] {
        [8, 0] => ipv4_packet(ip)?,
        [0x86, 0xdd] => ipv6_packet(ip)?,
        _ => return None,
    };
    [TCP, UDP].contains(&packet.protocol).then_some(packet)
}

fn ipv4_packet(ip: &[u8]) -> Option<IpPacket<'_>> {
    if ip.len() < 20 || ip[0] >> 4 != 4 {
        return None;
    }
    let header = usize::from(ip[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    let src = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
    let dst = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    Some(IpPacket {
        src,
        dst,
        addresses: (src.into(), dst.into()),
        protocol: ip[9],
        id: u16::from_be_bytes([ip[4], ip[5]]),
        offset: usize::from(fragment & 0x1fff) * 8,
        more: fragment & 0x2000 != 0,
        length,
        data: ip.get(header..length)?,
    })
}

/// One of the lab's, without extension headers.
fn ipv6_packet(ip: &[u8]) -> Option<IpPacket<'_>> {
    let address = |at: usize| -> Option<Ipv6Addr> {
        let octets: [u8; 16] = ip.get(at..at + 16)?.try_into().ok()?;
        Some(octets.into())
    };
    let (src, dst) = (address(8)?, address(24)?);
    let length = 40 + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    Some(IpPacket {
        src: four(src)?,
        dst: four(dst)?,
        addresses: (src.into(), dst.into()),
        protocol: ip[6],
        id: 0,
        offset: 0,
        more: false,
        length,
        data: ip.get(40..length)?,
    })
}

/// Fragments of a datagram, by offset.
#[derive(Default)]
struct Pieces {
    parts: BTreeMap<usize, Vec<u8>>,
    end: Option<usize>,
    ip_bytes: usize,
}

impl Pieces {
    fn add(&mut self, packet: &IpPacket<'_>) {
        if !packet.more {
            self.end = Some(packet.offset + packet.data.len());
        }
        self.ip_bytes += packet.length;
        self.parts.insert(packet.offset, packet.data.to_vec());
    }

    fn whole(&self) -> Option<(Vec<u8>, usize, usize)> {
        let mut data = Vec::new();
        for (&offset, part) in &self.parts {
            if offset != data.len() {
                return None;
            }
            data.extend_from_slice(part);
        }
        (Some(data.len()) == self.end).then_some((data, self.ip_bytes, self.parts.len()))
    }
}

fn udp(
    at: Duration,
    packet: &IpPacket<'_>,
    data: &[u8],
    ip_bytes: usize,
    fragments: usize,
) -> Option<Datagram> {
    let header = data.get(..8)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    Some(Datagram {
        at,
        src: SocketAddrV4::new(packet.src, u16::from_be_bytes([header[0], header[1]])),
        dst: SocketAddrV4::new(packet.dst, u16::from_be_bytes([header[2], header[3]])),
        payload: data.get(8..length)?.to_vec(),
        connected: false,
        six: packet.addresses.0.is_ipv6(),
        ip_bytes,
        fragments,
        checksum_right: header[6..8] != [0, 0] && {
            let (src, dst) = packet.addresses;
            checksum_of_udp(src, dst, data.get(..length)?) == 0
        },
    })
}

/// The messages that are whole with a segment.
fn messages(
    at: Duration,
    packet: &IpPacket<'_>,
    segment: &[u8],
    segments: &mut Segments,
) -> Vec<Datagram> {
    let Some(&[a, b, c, d]) = segment.first_chunk() else {
        return Vec::new();
    };
    let src = SocketAddrV4::new(packet.src, u16::from_be_bytes([a, b]));
    let dst = SocketAddrV4::new(packet.dst, u16::from_be_bytes([c, d]));
    let whole = segments.saw(src, dst, segment);
    whole
        .into_iter()
        .map(|payload| Datagram {
            at,
            src,
            dst,
            payload,
            connected: true,
            six: packet.addresses.0.is_ipv6(),
            ip_bytes: packet.length,
            fragments: 1,
            checksum_right: true,
        })
        .collect()
}
