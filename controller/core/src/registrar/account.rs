//! An account, and the credentials that a request brings for one.

use super::access::Access;
use super::binding::Binding;
use super::nonce::UsedNonces;
use super::refusal::Refusal;
use crate::engine::ThinClientConfig;
use crate::sip::digest::{Algorithm, Credentials, DigestError};
use crate::sip::{Message, Name, SipUri};

/// An account of the configuration with what is known of it.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: String,
    /// `None`: it has no secret, since it does not speak SIP.
    pub(super) password: Option<String>,
    pub(super) vm: usize,
    pub(super) digest: Option<Algorithm>,
    pub(super) used: UsedNonces,
    pub(super) binding: Option<Binding>,
}

impl Account {
    pub(super) fn new(config: ThinClientConfig) -> Self {
        let (password, digest) = match config.access {
            Access::Sip { password, digest } => (Some(password), digest),
            Access::H248 { .. } | Access::Mgcp { .. } => (None, None),
        };
        Self {
            user: config.user,
            password,
            vm: config.vm,
            digest,
            used: UsedNonces::default(),
            binding: None,
        }
    }
}

/// The credentials for this realm (RFC 3261 §22.2): of several Authorization
/// headers the first that is for it.
pub(super) fn credentials(request: &Message, realm: &str) -> Result<Credentials, Refusal> {
    let mut fault = Refusal::Challenge;
    for value in request.header_values(Name::AUTHORIZATION) {
        match Credentials::parse(value) {
            Ok(credentials) if credentials.realm == realm => {
                let request_uri = request.uri().unwrap_or_default();
                return if same_uri(credentials.uri.as_bytes(), request_uri) {
                    Ok(credentials)
                } else {
                    Err(Refusal::DigestUri)
                };
            }
            // Of another realm, scheme or algorithm: as if it were not there.
            Ok(_) | Err(DigestError::NotDigest | DigestError::Unsupported) => {}
            Err(error) => fault = Refusal::Credentials(error),
        }
    }
    Err(fault)
}

/// RFC 7616 §3.4.6: the digest is good for its own URI only, which may be written
/// in another way. For a REGISTER it is the registrar's host that counts, and
/// the port where both name one.
fn same_uri(digest: &[u8], request: &[u8]) -> bool {
    digest == request
        || match (SipUri::parse(digest), SipUri::parse(request)) {
            (Some(digest), Some(request)) => {
                digest.host.eq_ignore_ascii_case(request.host)
                    && (digest.port == request.port
                        || digest.port.is_none()
                        || request.port.is_none())
            }
            _ => false,
        }
}

/// Takes the escapes off (§25.1 `escaped`); one that is none stays as it is.
pub(super) fn unescape(text: &[u8]) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| byte == b'%');
        let escaped = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(value) => {
                plain.push(value);
                rest = &tail[2..];
            }
            None => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
