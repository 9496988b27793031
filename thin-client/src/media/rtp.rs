//! RTP packets (RFC 3550 §5.1).

/// Octets of a header without CSRCs or extension.
pub const HEADER_LEN: usize = 12;

/// What a header says, CSRCs and extension left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// First packet after a pause (RFC 3551 §4.1).
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Counts packets.
    pub sequence: u16,
    /// Counts samples.
    pub timestamp: u32,
    /// The sender.
    pub ssrc: u32,
}

impl Header {
    /// The packet with this header and that payload.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER_LEN + payload.len());
        packet.push(0x80);
        packet.push(u8::from(self.marker) << 7 | self.payload_type & 0x7F);
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        packet
    }

    /// Header and payload (padding removed); `None` where it is not RTP.
    pub fn parse(packet: &[u8]) -> Option<(Self, &[u8])> {
        let fixed = packet.first_chunk::<HEADER_LEN>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let header = Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7F,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        let mut payload = packet.get(HEADER_LEN + usize::from(fixed[0] & 0x0F) * 4..)?;
        if fixed[0] & 0x10 != 0 {
            let extension = payload.first_chunk::<4>()?;
            let words = u16::from_be_bytes([extension[2], extension[3]]);
            payload = payload.get(4 + usize::from(words) * 4..)?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            if padding == 0 {
                return None;
            }
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some((header, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 8,
        sequence: 0x1234,
        timestamp: 0x5678_9ABC,
        ssrc: 0xDEAD_BEEF,
    };

    #[test]
    fn a_packet_has_the_octets_of_the_rfc() {
        let packet = HEADER.packet(b"ab");
        assert_eq!(
            packet,
            [
                0x80, 0x88, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xAD, 0xBE, 0xEF, b'a', b'b'
            ]
        );
        assert_eq!(Header::parse(&packet), Some((HEADER, &b"ab"[..])));
    }

    #[test]
    fn csrcs_extension_and_padding_are_stepped_over() {
        let mut packet = HEADER.packet(&[]);
        packet[0] = 0x80 | 0x20 | 0x10 | 2;
        packet.extend([0; 8]); // two CSRCs
        packet.extend([0, 0, 0, 1, 9, 9, 9, 9]); // one word of extension
        packet.extend(b"xy");
        packet.extend([0, 0, 3]); // three octets of padding
        assert_eq!(Header::parse(&packet), Some((HEADER, &b"xy"[..])));
    }

    #[test]
    fn what_is_not_rtp_is_refused() {
        let good = HEADER.packet(b"a");
        for (what, at, value) in [
            ("version 1", 0, 0x40),
            ("CSRCs beyond the end", 0, 0x8F),
            ("an extension beyond the end", 0, 0x90),
            ("padding of more than there is", 0, 0xA0),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Header::parse(&bad), None, "{what}");
        }
        assert_eq!(Header::parse(&good[..11]), None);
    }
}
