//! The header of a frame (RFC 6455 §5.2).

use crate::stream::Unframed;

/// Whose frames: a client's are masked, a server's are not (§5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Who made the connection.
    Client,
    /// Whom it was made to.
    Server,
}

/// What a frame is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A further fragment of a message.
    Continuation,
    /// A message, or its first fragment; as binary data or as text.
    Data {
        /// Binary.
        binary: bool,
    },
    /// Close, ping or pong: between any two frames (§5.5).
    Control,
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// What the frame is of.
    pub kind: Kind,
    /// The last of its message.
    pub last: bool,
    /// Octets of the header itself.
    pub length: usize,
    /// Octets of what follows it.
    pub payload: usize,
    /// What that is masked with.
    pub mask: Option<[u8; 4]>,
}

/// Octets that a control frame may carry (§5.5).
const MOST_OF_CONTROL: usize = 125;

impl Header {
    /// The header at the front of a stream; `None`: not all of it is there.
    ///
    /// # Errors
    ///
    /// It breaks the rules of RFC 6455, or is of an extension that nobody agreed to.
    pub fn parse(front: &[u8], from: End) -> Result<Option<Self>, Unframed> {
        let [first, second, rest @ ..] = front else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Unframed("a WebSocket frame of an extension"));
        }
        let last = first & 0x80 != 0;
        let kind = match first & 0x0f {
            0 => Kind::Continuation,
            1 => Kind::Data { binary: false },
            2 => Kind::Data { binary: true },
            8..=10 => Kind::Control,
            _ => return Err(Unframed("a WebSocket frame of no known kind")),
        };
        let masked = second & 0x80 != 0;
        if masked != (from == End::Client) {
            return Err(Unframed("a WebSocket frame masked as the other end's"));
        }
        let (extended, payload) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (2, u64::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (8, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            length => (0, u64::from(length)),
        };
        let payload = usize::try_from(payload)
            .ok()
            .filter(|payload| *payload <= usize::MAX / 4)
            .ok_or(Unframed("a WebSocket frame of no possible length"))?;
        if kind == Kind::Control && (!last || payload > MOST_OF_CONTROL) {
            return Err(Unframed("a WebSocket control frame in fragments"));
        }
        let mask = match rest.get(extended..).and_then(<[u8]>::first_chunk::<4>) {
            _ if !masked => None,
            Some(mask) => Some(*mask),
            None => return Ok(None),
        };
        Ok(Some(Self {
            kind,
            last,
            length: 2 + extended + if masked { 4 } else { 0 },
            payload,
            mask,
        }))
    }

    /// Octets of the whole frame.
    pub fn frame(&self) -> usize {
        self.length + self.payload
    }
}

/// What was masked, or is to be (§5.3): the same operation.
pub(super) fn mask(payload: &mut [u8], mask: [u8; 4]) {
    for (octet, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *octet ^= key;
    }
}

/// A message as one frame; masked where a client seems to send it.
pub(super) fn whole(mut payload: Vec<u8>, binary: bool, key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![0x80 | if binary { 2 } else { 1 }];
    let masked = if key.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => frame.push(masked | length as u8),
        length @ 126..=0xffff => {
            frame.push(masked | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        frame.extend(key);
        mask(&mut payload, key);
    }
    frame.extend(payload);
    frame
}
