//! The handshake (RFC 6455 §4, RFC 7118 §4): a request of HTTP and its answer.

use crate::stream::Unframed;

/// Octets that one may have; browsers send cookies along.
const LONGEST: usize = 32 * 1024;

/// The subprotocol (RFC 7118 §4.1).
const SIP: &[u8] = b"sip";

/// The head of a request or an answer, whole.
pub(super) struct Head<'a> {
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// The one at the front of a stream, which begins with `begin`; `None`: not all of
    /// it is there.
    ///
    /// # Errors
    ///
    /// It is none, or is too long for one.
    pub fn parse(front: &'a [u8], begin: &[u8]) -> Result<Option<Self>, Unframed> {
        let there = front.len().min(begin.len());
        if front.get(..there) != begin.get(..there) {
            return Err(Unframed("what comes is no WebSocket handshake"));
        }
        match front.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => Ok(Some(Self {
                bytes: front.get(..at + 4).unwrap_or(front),
            })),
            None if front.len() > LONGEST => Err(Unframed("a WebSocket handshake too long")),
            None => Ok(None),
        }
    }

    /// Its octets, with the empty line.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// A client asks for SIP over WebSocket.
    pub fn asks_for_sip(&self) -> bool {
        self.names(b"Upgrade", b"websocket") && self.names(b"Sec-WebSocket-Protocol", SIP)
    }

    /// A server agrees to it, and to no extension.
    pub fn agrees_to_sip(&self) -> bool {
        self.bytes.starts_with(b"HTTP/1.1 101")
            && self.names(b"Upgrade", b"websocket")
            && self.names(b"Sec-WebSocket-Protocol", SIP)
            && self.values(EXTENSIONS).next().is_none()
    }

    /// The same without an offer of extensions.
    pub fn without_extensions(&self) -> Vec<u8> {
        let mut left_out = false;
        let lines = self.bytes.split_inclusive(|b| *b == b'\n');
        let stays = lines.filter(|line| {
            // What is folded goes with its line (RFC 7230 §3.2.4).
            let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
            if !(left_out && is_folded) {
                left_out = field(line).is_some_and(|(name, _)| is_same(name, EXTENSIONS));
            }
            !left_out
        });
        stays.flatten().copied().collect()
    }

    /// Whether a field's list of tokens has this one.
    fn names(&self, name: &[u8], token: &[u8]) -> bool {
        let tokens = self
            .values(name)
            .flat_map(|value| value.split(|b| *b == b','));
        tokens.map(<[u8]>::trim_ascii).any(|t| is_same(t, token))
    }

    fn values(&self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.bytes.split(|b| *b == b'\n').skip(1).filter_map(field);
        fields.filter_map(move |(found, value)| is_same(found, name).then_some(value))
    }
}

const EXTENSIONS: &[u8] = b"Sec-WebSocket-Extensions";

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((name, value.get(1..)?.trim_ascii()))
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}
