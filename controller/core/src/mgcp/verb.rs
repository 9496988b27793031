//! Verbs (RFC 3435 §3.2.1.1).

use std::fmt;

/// What a command wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `EPCF`, EndpointConfiguration (§2.3.2).
    EndpointConfiguration,
    /// `CRCX`, CreateConnection (§2.3.5).
    CreateConnection,
    /// `MDCX`, ModifyConnection (§2.3.6).
    ModifyConnection,
    /// `DLCX`, DeleteConnection, of either side (§2.3.7 to §2.3.9).
    DeleteConnection,
    /// `RQNT`, NotificationRequest (§2.3.3).
    NotificationRequest,
    /// `NTFY`, Notify (§2.3.4).
    Notify,
    /// `AUEP`, AuditEndpoint (§2.3.10).
    AuditEndpoint,
    /// `AUCX`, AuditConnection (§2.3.11).
    AuditConnection,
    /// `RSIP`, RestartInProgress (§2.3.12).
    RestartInProgress,
    /// `MESG`, Message: an extension of RFC 3435, known to dissectors and some
    /// gateways.
    Message,
    /// Another one, of a letter and three letters or digits; in upper case.
    Other(String),
}

const KNOWN: [(&str, Verb); 10] = [
    ("EPCF", Verb::EndpointConfiguration),
    ("CRCX", Verb::CreateConnection),
    ("MDCX", Verb::ModifyConnection),
    ("DLCX", Verb::DeleteConnection),
    ("RQNT", Verb::NotificationRequest),
    ("NTFY", Verb::Notify),
    ("AUEP", Verb::AuditEndpoint),
    ("AUCX", Verb::AuditConnection),
    ("RSIP", Verb::RestartInProgress),
    ("MESG", Verb::Message),
];

impl Verb {
    /// A verb as written, in any case. `None`: not a letter with three letters or
    /// digits.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        let [first, rest @ ..] = token else {
            return None;
        };
        let verb = first.is_ascii_alphabetic() && rest.iter().all(u8::is_ascii_alphanumeric);
        if !verb || rest.len() != 3 {
            return None;
        }
        let mut known = KNOWN.iter();
        let found = known.find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(token));
        Some(match found {
            Some((_, verb)) => verb.clone(),
            None => Self::Other(String::from_utf8_lossy(token).to_ascii_uppercase()),
        })
    }

    /// Its four letters.
    pub fn code(&self) -> &str {
        match self {
            Self::Other(code) => code,
            known => KNOWN
                .iter()
                .find(|(_, verb)| verb == known)
                .map_or("", |(code, _)| code),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
