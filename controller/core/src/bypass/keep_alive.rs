//! The sparse RTP and RTCP that keep a bypassed VM's softphone from hanging up
//! because no media comes (its RTP timeout).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{Datagram, Side, Transport};
use crate::media::{Codec, Direction, Media};
use crate::time::Time;

/// Samples in a packet: 20 ms at 8 kHz.
const SAMPLES: usize = 160;

/// The stream that one VM is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeepAlive {
    next: Time,
    began: Time,
    ssrc: u32,
    sequence: u16,
    packets: u32,
    octets: u32,
}

impl KeepAlive {
    /// The first packet is due at once.
    pub(crate) fn start(now: Time, ssrc: u32) -> Self {
        Self {
            next: now,
            began: now,
            ssrc,
            sequence: 0,
            packets: 0,
            octets: 0,
        }
    }

    /// When the next packets are due.
    pub(crate) fn due(&self) -> Time {
        self.next
    }

    /// Nothing is sent this time.
    pub(crate) fn put_off(&mut self, now: Time, interval: Duration) {
        if now >= self.next {
            self.next = now + interval.max(Duration::from_millis(100));
        }
    }

    /// What is due by `now`, for the VM that described itself as `vm` and
    /// believes its peer's RTP and RTCP to be at `peer`.
    pub(crate) fn run(
        &mut self,
        now: Time,
        interval: Duration,
        vm: &Media,
        peer: (SocketAddr, SocketAddr),
    ) -> Vec<Datagram> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + interval.max(Duration::from_millis(100));
        if vm.is_null_address() {
            return Vec::new();
        }
        let mut datagrams = Vec::with_capacity(2);
        let receives = matches!(vm.direction, Direction::SendRecv | Direction::RecvOnly);
        let codec = vm.codecs.iter().find(|codec| !codec.is_auxiliary());
        if let Some(codec) = codec.filter(|_| receives) {
            let comfort = vm.codecs.iter().find(|codec| is_comfort_noise(codec));
            datagrams.push(to_vm(peer.0, vm.rtp, self.rtp(now, codec, comfort)));
        }
        datagrams.push(to_vm(peer.1, vm.rtcp, self.sender_report(now, codec)));
        datagrams
    }

    /// One RTP packet of silence (RFC 3550 §5.1).
    fn rtp(&mut self, now: Time, codec: &Codec, comfort: Option<&Codec>) -> Vec<u8> {
        let (payload_type, payload) = match comfort {
            // RFC 3389 §3: the noise level alone, at its lowest.
            Some(comfort) => (comfort.payload_type, vec![127]),
            None => (codec.payload_type, silence(codec)),
        };
        let mut packet = vec![0x80, payload_type & 0x7f];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp(now, codec.clock_rate).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self
            .octets
            .wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        packet.extend(payload);
        packet
    }

    /// SR and SDES with a CNAME (RFC 3550 §6.1, §6.4.1, §6.5). Its time counts
    /// from the stream's start: the core knows no wall clock.
    fn sender_report(&self, now: Time, codec: Option<&Codec>) -> Vec<u8> {
        let elapsed = now.since(self.began);
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        let mut packet = vec![0x80, 200, 0, 6];
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(u32::try_from(elapsed.as_secs()).unwrap_or(0).to_be_bytes());
        packet.extend(u32::try_from(fraction).unwrap_or(0).to_be_bytes());
        let rate = codec.map_or(8000, |codec| codec.clock_rate);
        packet.extend(self.timestamp(now, rate).to_be_bytes());
        packet.extend(self.packets.to_be_bytes());
        packet.extend(self.octets.to_be_bytes());
        let name = b"sidestep";
        // SSRC, type, length, eight characters, end and padding: five words.
        packet.extend([0x81, 202, 0, 4]);
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend([1, 8]);
        packet.extend(name);
        packet.extend([0, 0]);
        packet
    }

    fn timestamp(&self, now: Time, rate: u32) -> u32 {
        let samples = now.since(self.began).as_millis() * u128::from(rate) / 1000;
        // RTP timestamps wrap (RFC 3550 §5.1).
        (samples & u128::from(u32::MAX)) as u32
    }
}

fn is_comfort_noise(codec: &Codec) -> bool {
    codec.name.eq_ignore_ascii_case("CN")
}

/// A packet of silence; empty for a codec whose silence is not known here, which
/// still is a packet that a media timer counts.
fn silence(codec: &Codec) -> Vec<u8> {
    // G.711's zero (ITU-T G.711, tables 1a and 2a).
    if codec.name.eq_ignore_ascii_case("PCMU") {
        vec![0xff; SAMPLES]
    } else if codec.name.eq_ignore_ascii_case("PCMA") {
        vec![0xd5; SAMPLES]
    } else {
        Vec::new()
    }
}

fn to_vm(src: SocketAddr, dst: SocketAddr, payload: Vec<u8>) -> Datagram {
    Datagram {
        side: Side::Vm,
        transport: Transport::Udp,
        src,
        dst,
        payload,
    }
}
