//! What the journal keeps of a thing, as octets.
//!
//! In: what is to be kept. Out: postcard, which names and describes nothing, since most
//! of what a turn of a call costs its journal is to write it all down; and where in it
//! the seams are: texts of messages are parts of their own, and what stands between
//! them is. Whoever stores a value again has to store only those parts that are new.
//!
//! Octets that say nothing of what they are can only be read by who knows it:
//! [`FORMAT`] is the same where the types that are kept are. Whoever stores values
//! stores it with them, and gives no others back.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// What values can be read: a digest of the definitions of all types that may be kept,
/// which the build makes.
pub const FORMAT: &str = env!("SIDESTEP_KEPT_TYPES");

/// Texts of so many octets are parts of their own.
const TEXT: usize = 64;
/// Octets of an ordinary call's value, to begin with.
const ROOM: usize = 6 << 10;
/// Seams of an ordinary call's value, to begin with.
const SEAMS: usize = 40;

/// Octets that are kept, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Value {
    bytes: Vec<u8>,
    /// Where a part ends and another begins, rising.
    seams: Vec<usize>,
}

impl Value {
    /// All its octets.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All its octets.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its parts, none of them empty: one after the other they are all its octets.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let begins = [0].into_iter().chain(self.seams.iter().copied());
        let ends = self.seams.iter().copied().chain([self.bytes.len()]);
        let parts = begins.zip(ends).map(|(begin, end)| &self.bytes[begin..end]);
        parts.filter(|part| !part.is_empty())
    }

    /// Adds something, as a part of its own, or several. False cannot be: everything
    /// kept has a length that is known.
    pub(super) fn add(&mut self, kept: &impl Serialize) -> bool {
        if self.bytes.is_empty() {
            self.bytes.reserve(ROOM);
            self.seams.reserve(SEAMS);
        }
        self.seam();
        postcard::serialize_with_flavor(kept, Parts(self)).is_ok()
    }

    fn seam(&mut self) {
        if self.seams.last() != Some(&self.bytes.len()) && !self.bytes.is_empty() {
            self.seams.push(self.bytes.len());
        }
    }
}

/// In one part.
impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        let seams = Vec::new();
        Self { bytes, seams }
    }
}

/// One after the other, each a part.
impl<'a> FromIterator<&'a [u8]> for Value {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(parts: I) -> Self {
        let mut value = Self::default();
        for part in parts {
            value.seam();
            value.bytes.extend_from_slice(part);
        }
        value
    }
}

/// A value, for the serializer, which writes a text at once.
struct Parts<'a>(&'a mut Value);

impl Flavor for Parts<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, octet: u8) -> postcard::Result<()> {
        self.0.bytes.push(octet);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, some: &[u8]) -> postcard::Result<()> {
        if some.len() < TEXT {
            self.0.bytes.extend_from_slice(some);
        } else {
            self.0.seam();
            self.0.bytes.extend_from_slice(some);
            self.0.seam();
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads what was added, one after the other.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next; `None`: it cannot be read.
    pub(super) fn next<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let (read, rest) = postcard::take_from_bytes(self.0).ok()?;
        self.0 = rest;
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use serde_bytes::Bytes;

    use super::*;

    /// Two values that differ in one place have all other parts in common.
    #[test]
    fn what_changes_beside_a_text_leaves_the_text_a_part() {
        let value = |number: u32| {
            let mut value = Value::default();
            let (one, other) = ([b'a'; 300], [b'b'; 64]);
            assert!(value.add(&(number, Bytes::new(&one), "short", Bytes::new(&other))));
            assert!(value.add(&"another"));
            value
        };
        let (before, after) = (value(1), value(70_000));
        let parts = |value: &Value| value.parts().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (one, other) = (parts(&before), parts(&after));
        assert_eq!((one.len(), one.concat()), (5, before.bytes().to_vec()));
        assert_eq!(other.concat(), after.bytes());
        assert_ne!(one[0], other[0]);
        assert_eq!(one[1..], other[1..]);
        let mut reader = Reader::new(after.bytes());
        let read = reader.next::<(u32, serde_bytes::ByteBuf, String, serde_bytes::ByteBuf)>();
        assert_eq!(read.unwrap().0, 70_000);
        assert_eq!(reader.next::<String>().as_deref(), Some("another"));
        assert_eq!(reader.next::<String>(), None);
    }

    #[test]
    fn octets_are_one_part() {
        let value = Value::from(vec![7; 500]);
        assert_eq!(value.parts().count(), 1);
        assert_eq!(Value::default().parts().count(), 0);
    }
}
