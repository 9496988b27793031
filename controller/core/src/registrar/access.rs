//! What a thin client speaks, and how it shows who it is.

use std::fmt;

use crate::engine::Network;
use crate::sip::digest::Algorithm;

/// Protocol of an account, and what makes a registration its own.
///
/// SIP has a secret. H.248 and MGCP have none that their gateways carry (IPsec
/// apart, H.248.1 §10, RFC 3435 §5): whoever can send from `from` with the right
/// name is the thin client. So `from` is to be as narrow as the network allows,
/// and a network whose hosts may forge each other's addresses is no place for
/// these two.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// SIP with digest authentication.
    Sip {
        /// Secret of the digest (RFC 7616, RFC 3261 §22).
        password: String,
        /// The one digest algorithm it is challenged with. `None`: SHA-256 and
        /// MD5, in this order (RFC 8760 §2.4); but there are softphones that
        /// give up at a challenge they do not know (baresip 1.0).
        digest: Option<Algorithm>,
    },
    /// H.248: the thin client is a media gateway, and Sidestep its controller.
    H248 {
        /// Its message identifier as text has it: `[10.71.2.22]:2944`, `<tc18>`,
        /// `tc18` (H.248.1 Annex B `mId`). Compared without case.
        mid: String,
        /// Its physical termination; `None`: the first that an audit shows.
        termination: Option<String>,
        /// Where it may register from.
        from: Network,
    },
    /// MGCP: the thin client is a media gateway, and Sidestep its call agent.
    Mgcp {
        /// Its endpoint: `aaln/1@tc18` (RFC 3435 §2.1.2). Compared without case.
        endpoint: String,
        /// Where it may register from.
        from: Network,
    },
}

/// Without the secret.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip { digest, .. } => f
                .debug_struct("Sip")
                .field("password", &"…")
                .field("digest", digest)
                .finish(),
            Self::H248 {
                mid,
                termination,
                from,
            } => f
                .debug_struct("H248")
                .field("mid", mid)
                .field("termination", termination)
                .field("from", from)
                .finish(),
            Self::Mgcp { endpoint, from } => f
                .debug_struct("Mgcp")
                .field("endpoint", endpoint)
                .field("from", from)
                .finish(),
        }
    }
}
