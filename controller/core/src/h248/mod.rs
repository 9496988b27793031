//! H.248.1 (Megaco), versions 1 to 3, without loss.
//!
//! In: the bytes of a message, text (Annex B) or binary (Annex A). Out: what they
//! say ([`model::Message`], the same for both encodings), the same bytes with
//! some things changed ([`Change`]), or a message of our own.
//!
//! Both are edited by splice: what has no reason to change leaves as it came.
//! What cannot be read is an [`H248Error`] with offset and construct, and its
//! bytes are forwarded as they are.
//!
//! Which encoding a message has shows in its first byte: a BER SEQUENCE begins
//! with 0x30, a text with white space, a comment, `M` (`MEGACO`), `!` or `A`
//! (`Authentication`, `AU`); see [`Encoding::of`].

pub mod binary;
pub mod change;
pub mod local;
pub mod model;
pub mod packages;
mod rewrite;
pub mod text;
mod tpkt;
pub mod transaction;

pub use change::{Change, Place, Side};
pub use rewrite::rewrite_media;
pub use tpkt::TpktFramer;

use model::Message;
use serde::{Deserialize, Serialize};

/// Port of text messages over UDP and TCP (H.248.1 Annex D).
pub const TEXT_PORT: u16 = 2944;
/// Port of binary messages over UDP and TCP (H.248.1 Annex D).
pub const BINARY_PORT: u16 = 2945;

/// How a message is written (H.248.1 §8.3: never mixed in one association).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Text, long tokens and line ends (Annex B).
    Pretty,
    /// Text, short tokens and no spaces (Annex B).
    Compact,
    /// ASN.1 BER (Annex A).
    Binary,
}

impl Encoding {
    /// The encoding of a message, by its first bytes. `None`: none of them.
    pub fn of(message: &[u8]) -> Option<Self> {
        if message.first() == Some(&0x30) {
            return Some(Self::Binary);
        }
        let mut rest = message.trim_ascii_start();
        while rest.first() == Some(&b';') {
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'))?;
            rest = rest.get(end..)?.trim_ascii_start();
        }
        let begins = |token: &[u8]| {
            rest.get(..token.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(token))
        };
        if begins(b"!/") || begins(b"AU=") {
            Some(Self::Compact)
        } else if begins(b"MEGACO") || begins(b"AU") {
            Some(Self::Pretty)
        } else {
            None
        }
    }
}

/// Reads a message of either encoding.
///
/// # Errors
///
/// Where the bytes follow neither.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, H248Error> {
    match Encoding::of(bytes) {
        Some(Encoding::Binary) => binary::parse(bytes),
        _ => text::parse(bytes),
    }
}

/// The bytes of `message`, changed. `None`: one of the changes names something
/// that is not there, or cannot be written in the message's encoding.
///
/// `bytes` must be those that `message` was read from.
pub fn change(bytes: &[u8], message: &Message<'_>, changes: &[Change]) -> Option<Vec<u8>> {
    match Encoding::of(bytes) {
        Some(Encoding::Binary) => binary::change(bytes, message, changes),
        _ => text::change(bytes, message, changes),
    }
}

/// `message` in an encoding. Empty, and not to be sent, where binary has no way to
/// say it; [`binary::write`] tells why.
pub fn write(message: &Message<'_>, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Binary => binary::write(message).unwrap_or_default(),
        Encoding::Pretty | Encoding::Compact => text::write(message, encoding),
    }
}

/// Why bytes are no H.248 message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("H.248 {construct}, byte {offset}: {what}")]
pub struct H248Error {
    /// Offset from the message's first byte.
    pub offset: usize,
    /// The innermost construct that was being read, by its name in the
    /// Recommendation (`mediaDescriptor`, `transactionReply`).
    pub construct: &'static str,
    /// What is wrong; a text that does not vary with the input.
    pub what: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_encoding() {
        for (bytes, encoding) in [
            (b"\x30\x20\xa1".as_slice(), Some(Encoding::Binary)),
            (b"MEGACO/1 [1.2.3.4]", Some(Encoding::Pretty)),
            (b"; a comment\r\n megaco/3 <x>", Some(Encoding::Pretty)),
            (b"Authentication=0x1", Some(Encoding::Pretty)),
            (b"!/1 [1.2.3.4]", Some(Encoding::Compact)),
            (b"AU=0x0:0x0", Some(Encoding::Compact)),
            (b"INVITE sip:x SIP/2.0", None),
            (b"", None),
            (b";", None),
        ] {
            assert_eq!(Encoding::of(bytes), encoding, "{bytes:?}");
        }
    }
}
