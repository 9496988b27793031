//! Why a REGISTER is not granted.

use crate::sdp::{AudioError, SdpError};
use crate::sip::digest::DigestError;

/// A reason, with its status code in [`Refusal::status`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No credentials of this realm yet, or of an algorithm that is not offered.
    #[error("no credentials")]
    Challenge,
    /// Right credentials with a nonce that is too old or not ours.
    #[error("the nonce is stale")]
    Stale,
    /// Right credentials that have been used before.
    #[error("the nonce count was used before")]
    Replayed,
    #[error("credentials: {0}")]
    Credentials(DigestError),
    #[error("the digest URI is not the Request-URI")]
    DigestUri,
    #[error("no such user, or a wrong password")]
    WrongPassword,
    #[error("To names another user than the credentials")]
    OtherUser,
    #[error("the account belongs to another VM")]
    OtherVm,
    #[error("a required extension is not known: {}", .0.join(", "))]
    Extensions(Vec<String>),
    #[error("a Contact cannot be read")]
    Contact,
    #[error("`*` stands with another Contact or without Expires: 0")]
    Wildcard,
    #[error("the Contact's scheme is not SIP, or its transport not the one it came by")]
    ContactScheme,
    #[error("the expiry of {0} s is too brief")]
    TooBrief(u32),
    #[error("the CSeq is not higher than that of the last REGISTER")]
    OutOfOrder,
    #[error("the body is no session description")]
    BodyType,
    #[error("session description: {0}")]
    Sdp(SdpError),
    #[error("session description: {0}")]
    Audio(AudioError),
    #[error("session description: the address is null")]
    NullAddress,
    #[error("session description: no codec is known by its payload type or a=rtpmap")]
    NoCodec,
}

impl Refusal {
    /// Status code (RFC 3261 §21).
    pub(super) const fn status(&self) -> u16 {
        match self {
            Self::Challenge | Self::Stale | Self::Replayed => 401,
            Self::Credentials(_)
            | Self::DigestUri
            | Self::Contact
            | Self::Wildcard
            | Self::Sdp(_) => 400,
            Self::WrongPassword | Self::OtherUser | Self::OtherVm => 403,
            Self::BodyType => 415,
            Self::ContactScheme => 416,
            Self::Extensions(_) => 420,
            Self::TooBrief(_) => 423,
            Self::Audio(_) | Self::NullAddress | Self::NoCodec => 488,
            Self::OutOfOrder => 500,
        }
    }

    /// Whether an operator should hear of it: not of the challenges that belong
    /// to every registration.
    pub(super) const fn is_notable(&self) -> bool {
        !matches!(self, Self::Challenge | Self::Stale)
    }
}
