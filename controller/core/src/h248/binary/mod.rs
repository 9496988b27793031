//! The binary encoding of H.248.1 Annex A: ASN.1 BER.
//!
//! In: a message's octets. Out: what they say ([`parse`], into the model that text
//! has too), the same octets with some things changed ([`change`]), or a message of
//! our own ([`write`]).
//!
//! Versions 1, 2 and 3 are read by one reader: each module is the one before it with
//! extensions. What none of them knows stays in the octets, and an edit copies it: it
//! replaces contents by their place, rewrites the lengths of what encloses them, and
//! leaves all else byte for byte.
//!
//! The BER is read and written here, and not by a general ASN.1 crate. rasn, which is
//! the best kept of them, tells neither where an element stands nor at which offset
//! an error is, refuses a SEQUENCE with an extension that its module does not know
//! (which is how a newer version looks to an older one), and copies every string: an
//! edit would have to write all anew from a copy with less in it. What of BER the
//! module needs is small; Erlang/OTP's encoder and decoder and tshark hold it to
//! account in tests.

mod ber;
mod edit;
mod groups;
mod read;
mod splice;
mod words;
mod write;
mod writer;

use super::H248Error;
use super::model::Message;

pub use edit::change;
pub use write::WriteError;

/// Reads a message.
///
/// # Errors
///
/// [`H248Error`] where the octets are not BER, are nested too deep, or are not a
/// MegacoMessage of Annex A with what its types ask for; nothing may follow it.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, H248Error> {
    read::message(bytes).map_err(|failure| *failure)
}

/// A message of our own, its session descriptions in values that hold an IA5String.
///
/// # Errors
///
/// [`WriteError`] where binary has no way to say it: a name that is in no package of
/// Annex E, a path that is longer than eight octets, an extension of the text
/// encoding, descriptors that the command cannot have.
pub fn write(message: &Message<'_>) -> Result<Vec<u8>, WriteError> {
    write_as(message, ValueForm::Ia5String)
}

/// The same, its session descriptions in values of this form.
///
/// # Errors
///
/// As [`write`].
pub fn write_as(message: &Message<'_>, form: ValueForm) -> Result<Vec<u8>, WriteError> {
    write::message(message, form)
}

/// How the text of a session description's line stands in its value, an octet
/// string. Annex C.11 says "string"; both of the first two are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    /// As it is (Erlang/OTP).
    Bare,
    /// In BER of an IA5String (tshark reads no other).
    Ia5String,
    /// In BER of a UTF8String.
    Utf8String,
    /// In BER of an octet string.
    OctetString,
}
