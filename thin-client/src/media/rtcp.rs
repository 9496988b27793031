//! RTCP compound packets (RFC 3550 §6): sender and receiver reports, the CNAME
//! and BYE; the parts of a peer's that the thin client has a use for.

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// Seconds between the NTP era's start and 1970 (RFC 5905 §6).
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;

/// NTP timestamp, 32.32 bits (RFC 3550 §4), of a time since 1970.
pub fn ntp(since_1970: std::time::Duration) -> u64 {
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    since_1970.as_secs().wrapping_add(NTP_UNIX_SECONDS) << 32 | fraction
}

/// The sender's part of an SR (§6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// When it was sent, NTP 32.32.
    pub ntp: u64,
    /// The same moment in RTP timestamp units.
    pub rtp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Octets of payload sent.
    pub octets: u32,
}

/// A reception report block (§6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The source it is about.
    pub ssrc: u32,
    /// Fraction lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning, 24 bits, signed.
    pub lost: i32,
    /// Extended highest sequence number.
    pub highest: u32,
    /// Jitter, timestamp units.
    pub jitter: u32,
    /// Middle of the last SR's NTP timestamp; 0: none.
    pub last_sr: u32,
    /// Since that SR, in 1/65536 s.
    pub delay: u32,
}

/// A compound packet to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Who reports.
    pub ssrc: u32,
    /// Present where RTP was sent since the report before the last one.
    pub sender: Option<SenderInfo>,
    /// Present where RTP was received.
    pub block: Option<Block>,
    /// Canonical name (§6.5.1), at most 255 octets.
    pub cname: &'a str,
    /// Ends with a BYE (§6.6).
    pub bye: bool,
}

impl Report<'_> {
    /// The compound packet (§6.1).
    pub fn packet(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(96);
        let kind = match self.sender {
            Some(_) => SENDER_REPORT,
            None => RECEIVER_REPORT,
        };
        part(&mut packet, kind, u8::from(self.block.is_some()), |body| {
            body.extend(self.ssrc.to_be_bytes());
            if let Some(sender) = self.sender {
                body.extend(sender.ntp.to_be_bytes());
                body.extend(sender.rtp.to_be_bytes());
                body.extend(sender.packets.to_be_bytes());
                body.extend(sender.octets.to_be_bytes());
            }
            if let Some(block) = self.block {
                body.extend(block.ssrc.to_be_bytes());
                let lost = block.lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
                body.extend((u32::from(block.fraction_lost) << 24 | lost).to_be_bytes());
                body.extend(block.highest.to_be_bytes());
                body.extend(block.jitter.to_be_bytes());
                body.extend(block.last_sr.to_be_bytes());
                body.extend(block.delay.to_be_bytes());
            }
        });
        part(&mut packet, DESCRIPTION, 1, |body| {
            let cname = &self.cname.as_bytes()[..self.cname.len().min(255)];
            body.extend(self.ssrc.to_be_bytes());
            body.extend([1, cname.len() as u8]);
            body.extend(cname);
            // The chunk ends with at least one null octet, on a word.
            body.push(0);
            body.resize(body.len().next_multiple_of(4), 0);
        });
        if self.bye {
            part(&mut packet, GOODBYE, 1, |body| {
                body.extend(self.ssrc.to_be_bytes());
            });
        }
        packet
    }
}

/// Appends one packet of the compound; `count` is the header's five bits.
fn part(packet: &mut Vec<u8>, kind: u8, count: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::with_capacity(64);
    body(&mut content);
    let words = (content.len() / 4) as u16;
    packet.extend([0x80 | count, kind]);
    packet.extend(words.to_be_bytes());
    packet.extend(content);
}

/// What a peer's compound packet says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Its SSRC.
    pub ssrc: u32,
    /// From an SR.
    pub sender: Option<SenderInfo>,
    /// Its report blocks, about whomever.
    pub blocks: Vec<Block>,
    /// It said BYE.
    pub bye: bool,
}

impl Heard {
    /// Reads a compound packet; `None` where it fails the checks of A.2.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let mut heard = Self::default();
        let mut rest = packet;
        while !rest.is_empty() {
            let header = rest.first_chunk::<4>()?;
            let length = (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1) * 4;
            let (this, next) = rest.split_at_checked(length)?;
            let first = rest.len() == packet.len();
            let is_report = matches!(header[1], SENDER_REPORT | RECEIVER_REPORT);
            if header[0] >> 6 != 2 || first && !is_report {
                return None;
            }
            let word = |at: usize| -> Option<u32> {
                Some(u32::from_be_bytes(*this.get(at * 4..)?.first_chunk()?))
            };
            match header[1] {
                SENDER_REPORT | RECEIVER_REPORT => {
                    heard.ssrc = word(1)?;
                    let mut at = 2;
                    if header[1] == SENDER_REPORT {
                        heard.sender = Some(SenderInfo {
                            ntp: u64::from(word(2)?) << 32 | u64::from(word(3)?),
                            rtp: word(4)?,
                            packets: word(5)?,
                            octets: word(6)?,
                        });
                        at = 7;
                    }
                    for _ in 0..header[0] & 0x1F {
                        heard.blocks.push(Block {
                            ssrc: word(at)?,
                            fraction_lost: (word(at + 1)? >> 24) as u8,
                            // 24 bits, sign extended.
                            lost: (word(at + 1)? << 8) as i32 >> 8,
                            highest: word(at + 2)?,
                            jitter: word(at + 3)?,
                            last_sr: word(at + 4)?,
                            delay: word(at + 5)?,
                        });
                        at += 6;
                    }
                }
                GOODBYE => heard.bye = true,
                _ => {}
            }
            rest = next;
        }
        (!packet.is_empty()).then_some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: SenderInfo = SenderInfo {
        ntp: 0x0102_0304_0506_0708,
        rtp: 9,
        packets: 10,
        octets: 1_600,
    };
    const BLOCK: Block = Block {
        ssrc: 0xAABB_CCDD,
        fraction_lost: 64,
        lost: -2,
        highest: 0x1_0005,
        jitter: 3,
        last_sr: 0x0304_0506,
        delay: 65_536,
    };

    #[test]
    fn what_is_written_is_read() {
        for (sender, block, bye) in [
            (Some(SENDER), Some(BLOCK), true),
            (Some(SENDER), None, false),
            (None, Some(BLOCK), false),
            (None, None, true),
        ] {
            let packet = Report {
                ssrc: 5,
                sender,
                block,
                cname: "tc17@10.71.2.21",
                bye,
            }
            .packet();
            assert_eq!(packet.len() % 4, 0);
            let heard = Heard::parse(&packet).expect("a compound packet");
            let expected = Heard {
                ssrc: 5,
                sender,
                blocks: block.into_iter().collect(),
                bye,
            };
            assert_eq!(heard, expected);
        }
    }

    #[test]
    fn the_description_ends_with_a_null_on_a_word() {
        let packet = Report {
            ssrc: 5,
            sender: None,
            block: None,
            cname: "ab",
            bye: false,
        }
        .packet();
        assert_eq!(
            packet[8..],
            [0x81, 202, 0, 3, 0, 0, 0, 5, 1, 2, b'a', b'b', 0, 0, 0, 0]
        );
    }

    #[test]
    fn what_is_not_a_compound_packet_is_refused() {
        let good = Report {
            ssrc: 5,
            sender: None,
            block: Some(BLOCK),
            cname: "x",
            bye: false,
        }
        .packet();
        assert_eq!(Heard::parse(&[]), None);
        assert_eq!(Heard::parse(&good[..good.len() - 1]), None);
        let mut description_first = good.clone();
        description_first[1] = DESCRIPTION;
        assert_eq!(Heard::parse(&description_first), None);
        let mut too_many_blocks = good;
        too_many_blocks[0] = 0x82;
        assert_eq!(Heard::parse(&too_many_blocks), None);
    }

    #[test]
    fn ntp_counts_from_1900() {
        let time = std::time::Duration::new(1, 500_000_000);
        assert_eq!(ntp(time), (2_208_988_801 << 32) | 0x8000_0000);
    }
}
