//! Messages in a TCP stream: TPKT (RFC 1006 §6), as H.248.1 Annex D.2 has it, for
//! text as well as for binary.
//!
//! ```text
//!  version 3 | reserved 0 | length, 2 octets, with these four | message
//! ```

use crate::stream::{Framer, Front, Limits, Unframed};

/// Octets of a packet's header.
const HEADER: usize = 4;

/// Cuts a stream at its packets' lengths.
#[derive(Debug, Clone)]
pub struct TpktFramer {
    limits: Limits,
    /// Octets still to come of a packet that is left alone.
    skip: usize,
}

impl TpktFramer {
    /// At the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, skip: 0 }
    }

    fn skipped<'a>(&mut self, front: &'a [u8], why: Option<&'static str>) -> Front<'a> {
        let length = self.skip.min(front.len());
        self.skip -= length;
        Front::untouched(front, length, why)
    }
}

impl Framer for TpktFramer {
    fn is_amid(&self) -> bool {
        self.skip > 0
    }

    fn front<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed> {
        if self.skip > 0 && !front.is_empty() {
            return Ok(self.skipped(front, None));
        }
        // What is not TPKT must not wait for more.
        match front {
            [] | [3] => return Ok(Front::Incomplete),
            [3, 0, ..] => {}
            _ => return Err(Unframed("what comes is not TPKT")),
        }
        let [_, _, high, low, ..] = front else {
            return Ok(Front::Incomplete);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length < HEADER {
            return Err(Unframed("a TPKT is shorter than its header"));
        }
        if length - HEADER > self.limits.message {
            self.skip = length;
            return Ok(self.skipped(front, Some("a message over the size limit")));
        }
        if front.len() < length {
            return Ok(Front::Incomplete);
        }
        Ok(Front::message(front, length, HEADER..length))
    }

    /// A message that no packet can hold (over 65,531 octets) is not sent: a wrong
    /// length would spoil all that comes after it.
    fn wrap(&self, message: Vec<u8>) -> Vec<u8> {
        let Ok(length) = u16::try_from(message.len() + HEADER) else {
            return Vec::new();
        };
        let [high, low] = length.to_be_bytes();
        let mut packet = vec![3, 0, high, low];
        packet.extend(message);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Part, Stream};

    fn stream(message: usize) -> Stream {
        let limits = Limits {
            message,
            ..Limits::default()
        };
        Stream::new(Some(Box::new(TpktFramer::new(limits))))
    }

    #[test]
    fn messages_come_out_wherever_segments_end() {
        let messages: [&[u8]; 3] = [b"!/1 <x> P=1{C=1}", b"", b"\x30\x03\x02\x01\x07"];
        let sent: Vec<u8> = messages
            .iter()
            .flat_map(|message| stream(100).wrap(message.to_vec()))
            .collect();
        for segment in 1..=sent.len() {
            let mut stream = stream(100);
            let mut came = Vec::new();
            for bytes in sent.chunks(segment) {
                stream.push(bytes);
                came.extend(std::iter::from_fn(|| stream.next_part()));
            }
            let expected = messages.map(|message| Part::Message(message.to_vec()));
            assert_eq!(came, expected, "segments of {segment}");
        }
    }

    #[test]
    fn what_is_too_large_goes_on_as_it_is() {
        let large = stream(4).wrap(b"12345".to_vec());
        let small = stream(4).wrap(b"1234".to_vec());
        let mut stream = stream(4);
        stream.push(&large[..6]);
        let part = stream.next_part();
        assert_eq!(
            part,
            Some(Part::Untouched {
                bytes: large[..6].to_vec(),
                why: Some("a message over the size limit")
            })
        );
        stream.push(&large[6..]);
        stream.push(&small);
        assert_eq!(
            stream.next_part(),
            Some(Part::Untouched {
                bytes: large[6..].to_vec(),
                why: None
            })
        );
        assert_eq!(stream.next_part(), Some(Part::Message(b"1234".to_vec())));
    }

    #[test]
    fn a_stream_of_something_else_is_left_alone() {
        for other in [&b"MEGACO/1"[..], b"\x03\x01", b"\x03\x00\x00\x03"] {
            let mut stream = stream(100);
            stream.push(other);
            assert!(matches!(
                stream.next_part(),
                Some(Part::Untouched { why: Some(_), .. })
            ));
            assert!(stream.is_untouched());
        }
        assert!(stream(100).wrap(vec![0; 65_532]).is_empty());
        assert_eq!(stream(100).wrap(vec![0; 65_531]).len(), 65_535);
    }
}
