//! SIP in the TCP segments of a capture: what each direction of a connection has said,
//! cut into messages (RFC 3261 §18.3).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;

const SYN: u8 = 2;

/// Every direction of every connection that began within the capture.
#[derive(Debug, Default)]
pub(super) struct Segments {
    ways: HashMap<(SocketAddrV4, SocketAddrV4), Way>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Way {
    /// Sequence number of the octet that comes next.
    next: u32,
    /// What came before its turn.
    early: BTreeMap<u32, Vec<u8>>,
    /// What is no whole message yet.
    rest: Vec<u8>,
}

impl Segments {
    /// A segment has been seen; the messages that are whole with it.
    pub fn saw(&mut self, src: SocketAddrV4, dst: SocketAddrV4, segment: &[u8]) -> Vec<Vec<u8>> {
        let Some(header) = segment.get(..20) else {
            return Vec::new();
        };
        let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let data = segment.get(usize::from(header[12] >> 4) * 4..);
        if header[13] & SYN != 0 {
            let way = Way {
                next: sequence.wrapping_add(1),
                ..Way::default()
            };
            self.ways.insert((src, dst), way);
            return Vec::new();
        }
        let way = self.ways.get_mut(&(src, dst));
        way.zip(data)
            .map(|(way, data)| way.saw(sequence, data))
            .unwrap_or_default()
    }
}

impl Way {
    fn saw(&mut self, sequence: u32, data: &[u8]) -> Vec<Vec<u8>> {
        if !data.is_empty() {
            self.early.insert(sequence, data.to_vec());
        }
        while let Some((sequence, data)) = self.due() {
            let skipped = self.next.wrapping_sub(sequence) as usize;
            let new = data.get(skipped..).unwrap_or_default();
            self.rest.extend_from_slice(new);
            self.next = self.next.wrapping_add(new.len() as u32);
        }
        let mut messages = Vec::new();
        while let Some(message) = self.message() {
            messages.push(message);
        }
        messages
    }

    /// What begins at the octet that comes next, or before it: it comes again.
    fn due(&mut self) -> Option<(u32, Vec<u8>)> {
        let is_due = |sequence: &u32| self.next.wrapping_sub(*sequence) <= i32::MAX as u32;
        let sequence = self.early.keys().copied().find(|s| is_due(s))?;
        self.early.remove_entry(&sequence)
    }

    /// The next message, if it is whole. Keep-alives before it are none.
    fn message(&mut self) -> Option<Vec<u8>> {
        let begin = self.rest.iter().position(|b| !b"\r\n".contains(b))?;
        let said = &self.rest[begin..];
        let head = said.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&said[..head]);
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = ["content-length", "l"].contains(&&*name.trim().to_ascii_lowercase());
            value.trim().parse::<usize>().ok().filter(|_| is_length)
        });
        let end = begin + head + length.unwrap_or(0);
        let message = self.rest.get(begin..end)?.to_vec();
        self.rest.drain(..end);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, flags: u8, data: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
        (segment[12], segment[13]) = (5 << 4, flags);
        segment.extend_from_slice(data);
        segment
    }

    /// Out of order, twice, cut anywhere, over the end of the sequence numbers.
    #[test]
    fn messages_are_whole_however_they_came() {
        let (a, b) = ("10.71.1.11:5060", "10.71.3.31:5060");
        let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
        let one = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        let two = b"SIP/2.0 200 OK\r\nl: 0\r\n\r\n".to_vec();
        let said = [&b"\r\n\r\n"[..], &one, &two].concat();
        let first = u32::MAX - 9;
        let at = |n: usize| first.wrapping_add(1).wrapping_add(n as u32);
        let mut segments = Segments::default();
        let mut got = segments.saw(a, b, &segment(7, 0, &said));
        got.extend(segments.saw(a, b, &segment(first, SYN, b"")));
        for (from, to) in [(20, 40), (0, 12), (0, 20), (10, 30), (40, said.len())] {
            got.extend(segments.saw(a, b, &segment(at(from), 0, &said[from..to])));
        }
        assert_eq!(got, [one, two]);
    }
}
