//! Session descriptions (RFC 8866), without loss.
//!
//! In: the bytes of a description. Out: what they say
//! ([`SessionDescription`], [`MediaDescription`], [`SessionDescription::audio`]),
//! the same bytes with other media spliced in
//! ([`SessionDescription::replace_audio`]), an answer to them ([`answer`],
//! RFC 3264) or a fresh description ([`describe`]).
//!
//! Nothing is ever written anew that has no reason to change: line ends, order,
//! unknown lines and odd bytes stay.

mod answer;
mod audio;
mod codec;
mod describe;
mod description;
mod edit;
mod parse;

pub(crate) use answer::answered;
pub use answer::{AnswerError, Answerer, answer, answer_with};
pub use audio::AudioError;
pub use codec::{codec_named, intersect, static_codec};
pub use describe::describe;
pub use description::{
    Connection, ConnectionAddress, MediaDescription, Origin, RtcpAttribute, RtpMap,
    SessionDescription,
};
pub use edit::AudioReplacement;
pub use parse::SdpError;
