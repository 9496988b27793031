//! What a media packet carries: RTP and RTCP (RFC 3550), told apart on one port
//! by their second octet (RFC 5761 §4), or something else of the endpoints' own
//! (STUN, DTLS: RFC 7983 §7).

use super::{Datagram, Ip, Udp, Window};
use crate::wide::load_4;

/// RFC 3550 §5.1, the fixed header.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Rtp {
    pub version_flags: u8,
    pub marker_payload_type: u8,
    pub seq_be: u16,
    timestamp_be: u32,
    ssrc_be: u32,
}

impl Rtp {
    /// Its timestamp, in host order.
    #[inline(always)]
    pub fn timestamp(&self) -> u32 {
        // SAFETY: four octets that are there.
        u32::from_be(unsafe { load_4(&raw const self.timestamp_be) })
    }

    /// The marker bit.
    #[inline(always)]
    pub const fn is_marked(&self) -> bool {
        self.marker_payload_type & 0x80 != 0
    }

    /// Its SSRC, in host order.
    #[inline(always)]
    pub fn ssrc(&self) -> u32 {
        // SAFETY: as above.
        u32::from_be(unsafe { load_4(&raw const self.ssrc_be) })
    }
}

/// RFC 3550 §6.4, what all RTCP packets start with.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
struct Rtcp {
    version_flags: u8,
    packet_type: u8,
    length_be: u16,
    ssrc_be: u32,
}

/// RFC 3550 §6.4.1, without report blocks.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct SenderReport {
    header: Rtcp,
    ntp_seconds_be: u32,
    ntp_fraction_be: u32,
    rtp_timestamp_be: u32,
    packets_be: u32,
    octets_be: u32,
}

impl SenderReport {
    /// The middle 32 bits of the NTP timestamp, as `LSR` has it.
    #[inline(always)]
    pub const fn middle_ntp(&self) -> u32 {
        u32::from_be(self.ntp_seconds_be) << 16 | u32::from_be(self.ntp_fraction_be) >> 16
    }
}

/// RFC 3550 §6.4.1, one report block.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct ReportBlock {
    pub ssrc_be: u32,
    pub lost_be: u32,
    pub highest_seq_be: u32,
    pub jitter_be: u32,
    pub lsr_be: u32,
    pub dlsr_be: u32,
}

/// UDP's header, which its length counts.
const HEADER: usize = size_of::<Udp>();

/// Packet types of RTCP: sender report, receiver report (RFC 3550 §12.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// What a media packet carries.
#[derive(Clone, Copy)]
pub enum Payload {
    /// RTP version 2.
    Rtp(*const Rtp),
    /// RTCP, beginning with a sender report, and the first of its blocks.
    SenderReport(*const SenderReport, Option<*const ReportBlock>),
    /// RTCP, beginning with a receiver report that has a block.
    ReceiverReport(*const ReportBlock),
    /// Other RTCP.
    Rtcp,
    /// Neither.
    Other,
}

impl<I: Ip> Datagram<I> {
    /// What it carries. Packet types 192–223 in the second octet are RTCP
    /// (RFC 5761 §4): RTP payload types 64–95 with the marker bit are not used.
    #[inline(always)]
    pub fn payload(&self, window: &Window) -> Payload {
        // With UDP's header.
        let len = u16::from_be(self.udp().len_be) as usize;
        // The shortest RTCP packet is shorter than RTP's header.
        let Some(rtcp) = window.at::<Rtcp>(self.payload_at) else {
            return Payload::Other;
        };
        // SAFETY: `at` checked the bounds.
        let (first, second) = unsafe { ((*rtcp).version_flags, (*rtcp).packet_type) };
        if first >> 6 != 2 || len < HEADER + size_of::<Rtcp>() {
            return Payload::Other;
        }
        if (192..=223).contains(&second) {
            return self.report(window, first & 0x1f, second, len);
        }
        match window.at::<Rtp>(self.payload_at) {
            Some(rtp) if len >= HEADER + size_of::<Rtp>() => Payload::Rtp(rtp),
            _ => Payload::Other,
        }
    }

    /// What RTCP begins with: of a compound packet a report (RFC 3550 §6.1).
    #[inline(always)]
    fn report(&self, window: &Window, blocks: u8, packet_type: u8, len: usize) -> Payload {
        const SR: usize = size_of::<SenderReport>();
        const RR: usize = size_of::<Rtcp>();
        const BLOCK: usize = size_of::<ReportBlock>();
        match packet_type {
            SENDER_REPORT if len >= HEADER + SR => {
                let Some(report) = window.at::<SenderReport>(self.payload_at) else {
                    return Payload::Rtcp;
                };
                let block = if blocks > 0 && len >= HEADER + SR + BLOCK {
                    window.at::<ReportBlock>(self.payload_at + SR)
                } else {
                    None
                };
                Payload::SenderReport(report, block.map(<*mut _>::cast_const))
            }
            RECEIVER_REPORT if blocks > 0 && len >= HEADER + RR + BLOCK => {
                match window.at::<ReportBlock>(self.payload_at + RR) {
                    Some(block) => Payload::ReceiverReport(block),
                    None => Payload::Rtcp,
                }
            }
            _ => Payload::Rtcp,
        }
    }
}
