//! How messages are matched to transactions (RFC 3261 §17.1.3, §17.2.3).

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sip::{Message, Method, Name};

/// The begin of the branches that RFC 3261 makes unique (§8.1.1.7).
const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// What a client transaction is known by: branch of the topmost Via and method
/// of CSeq (§17.1.3). It stands in several tables, and is there once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(Arc<Client>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Client {
    #[serde(with = "serde_bytes")]
    branch: Box<[u8]>,
    method: Box<str>,
}

impl Serialize for ClientKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::new(Client::deserialize(deserializer)?)))
    }
}

impl ClientKey {
    /// Of a request that is about to be sent.
    pub fn new(branch: &str, method: &Method) -> Self {
        Self::of(branch.as_bytes(), method)
    }

    /// Of the request that this message answers; `None` where its Via has no
    /// branch.
    pub fn of_response(response: &Message) -> Option<Self> {
        Some(Self::of(response.top_via().branch?, response.method()))
    }

    fn of(branch: &[u8], method: &Method) -> Self {
        Self(Arc::new(Client {
            branch: branch.into(),
            method: method.as_str().into(),
        }))
    }

    /// Whether it is an INVITE's.
    pub fn is_invite(&self) -> bool {
        *self.0.method == *Method::Invite.as_str()
    }
}

/// What a server transaction is known by. An ACK has the key of the INVITE whose
/// refusal it acknowledges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServerKey {
    /// The branch has RFC 3261's cookie (§17.2.3).
    Branch {
        /// Of the topmost Via.
        #[serde(with = "serde_bytes")]
        branch: Vec<u8>,
        /// Of the topmost Via, in lower case.
        #[serde(with = "serde_bytes")]
        sent_by: Vec<u8>,
        /// Method, of an ACK: INVITE.
        method: String,
    },
    /// It has not: what RFC 2543 matches by. The To tag, which an ACK takes from
    /// the response, is left out: the rest tells two INVITEs apart already.
    Rfc2543 {
        /// Request-URI.
        #[serde(with = "serde_bytes")]
        uri: Vec<u8>,
        /// From tag.
        #[serde(with = "serde_bytes")]
        from_tag: Vec<u8>,
        /// Call-ID.
        #[serde(with = "serde_bytes")]
        call_id: Vec<u8>,
        /// CSeq number.
        cseq: u32,
        /// Topmost Via, as written.
        #[serde(with = "serde_bytes")]
        via: Vec<u8>,
        /// Method, of an ACK: INVITE.
        method: String,
    },
}

impl ServerKey {
    /// Of a request; `None` of a response.
    pub fn of_request(request: &Message) -> Option<Self> {
        let method = match request.method() {
            Method::Ack => Method::Invite,
            method => method.clone(),
        };
        Self::with_method(request, &method)
    }

    /// Of the INVITE that a CANCEL is for (§9.2: matched as if its method were
    /// the other's).
    pub fn cancelled_by(cancel: &Message) -> Option<Self> {
        Self::with_method(cancel, &Method::Invite)
    }

    fn with_method(request: &Message, method: &Method) -> Option<Self> {
        let uri = request.uri()?;
        let method = method.as_str().to_owned();
        let via = request.top_via();
        Some(match via.branch {
            Some(branch) if branch.starts_with(MAGIC_COOKIE) => Self::Branch {
                branch: branch.to_vec(),
                sent_by: via.sent_by.to_ascii_lowercase(),
                method,
            },
            _ => Self::Rfc2543 {
                uri: uri.to_vec(),
                from_tag: request.from_tag().unwrap_or_default().to_vec(),
                call_id: request.call_id().to_vec(),
                cseq: request.cseq().0,
                via: request
                    .headers(Name::VIA)
                    .next()
                    .unwrap_or_default()
                    .to_vec(),
                method,
            },
        })
    }

    /// Whether it is an INVITE's.
    pub fn is_invite(&self) -> bool {
        let (Self::Branch { method, .. } | Self::Rfc2543 { method, .. }) = self;
        method == Method::Invite.as_str()
    }
}
