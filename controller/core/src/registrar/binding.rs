//! A thin client's binding, and where calls to it are sent.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::engine::Transport;
use crate::h248::Encoding;
use crate::media::{Codec, Media};
use crate::sip::SipUri;
use crate::sip::uri::DEFAULT_PORT;
use crate::time::Time;

/// A registered thin client: what a call to it needs (RFC 3261 §10; step 301).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The account's user name.
    pub user: String,
    /// Its VM: the index in the configuration's list.
    pub vm: usize,
    /// That VM's address, which is the registrar's.
    pub vm_address: Ipv4Addr,
    /// Protocol, and what is to be known in it.
    pub signalling: Signalling,
    /// Where requests to it are sent; for SIP see [`destination`].
    pub address: SocketAddr,
    /// How they travel. A binding by a connection ends with it.
    #[serde(default)]
    pub transport: Transport,
    /// Its media, where it registered any; no codecs: address only.
    pub media: Option<Media>,
    /// When the binding ends.
    pub expires: Time,
    /// When it was first bound where it is: of two accounts of one VM the later
    /// one gets the calls.
    pub since: Time,
}

/// What a thin client speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signalling {
    /// SIP (RFC 3261).
    Sip(SipContact),
    /// MGCP (RFC 3435).
    Mgcp {
        /// Its endpoint.
        endpoint: String,
        /// What it can decode, as an audit told; empty: not known.
        codecs: Vec<Codec>,
    },
    /// H.248.
    H248 {
        /// Its message identifier, as text.
        mid: String,
        /// Its physical termination, as text.
        termination: String,
        /// How it writes.
        encoding: Encoding,
        /// Version of the protocol that was agreed.
        version: u8,
        /// What it can decode, as an audit told; empty: not known.
        codecs: Vec<Codec>,
    },
}

/// What a REGISTER has bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipContact {
    /// The URI of the Contact, as it came: the Request-URI of calls.
    #[serde(with = "serde_bytes")]
    pub uri: Vec<u8>,
    /// Call-ID of its last REGISTER (§10.3).
    #[serde(with = "serde_bytes")]
    pub call_id: Vec<u8>,
    /// CSeq number of its last REGISTER.
    pub cseq: u32,
}

impl Signalling {
    /// Its name, as `sidestep clients` shows it.
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Sip(_) => "sip",
            Self::Mgcp { .. } => "mgcp",
            Self::H248 { .. } => "h248",
        }
    }
}

impl Binding {
    /// What a REGISTER has bound; `None` where it was another protocol's.
    pub fn sip(&self) -> Option<&SipContact> {
        match &self.signalling {
            Signalling::Sip(contact) => Some(contact),
            Signalling::Mgcp { .. } | Signalling::H248 { .. } => None,
        }
    }

    /// What it can decode, as far as it is known before a call.
    pub fn codecs(&self) -> &[Codec] {
        match (&self.media, &self.signalling) {
            (Some(media), _) => &media.codecs,
            (None, Signalling::Mgcp { codecs, .. } | Signalling::H248 { codecs, .. }) => codecs,
            (None, Signalling::Sip(_)) => &[],
        }
    }

    /// Whether an offer of its own has to be answered soon, since it waits for
    /// nothing but that. A gateway that has described itself waits for anything.
    pub fn wants_answer_soon(&self) -> bool {
        self.sip().is_some()
    }
}

/// Where to send requests for a contact that was announced from `source`, in a
/// message whose top Via says `sent_by` (host and port, where they are
/// addresses) and has `rport` or not.
///
/// Always the address that the announcement came from: a contact elsewhere,
/// or a name, or an address before a NAT, cannot be asked to be called, so nobody
/// is made to send INVITEs to a third party. The port is the source's too,
/// unless the contact names another at that same address and the client did not
/// ask by `rport` (RFC 3581) to be answered where it sends from.
pub fn destination(
    contact: &SipUri<'_>,
    source: SocketAddr,
    sent_by: Option<SocketAddr>,
    rport: bool,
) -> SocketAddr {
    let named = contact
        .ip()
        .map(|ip| SocketAddr::new(ip, contact.port.unwrap_or(DEFAULT_PORT)));
    match named {
        Some(named) if named.ip() == source.ip() => {
            let behind_nat = rport && sent_by == Some(named);
            if behind_nat { source } else { named }
        }
        _ => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_go_where_the_registration_came_from() {
        let table = [
            // contact, source, sent-by, rport, expected
            (
                "sip:t@10.1.1.2:5062",
                "10.1.1.2:5062",
                Some("10.1.1.2:5062"),
                true,
                "10.1.1.2:5062",
            ),
            (
                "sip:t@10.1.1.2",
                "10.1.1.2:5060",
                None,
                false,
                "10.1.1.2:5060",
            ),
            // Behind a NAT that changes address and port, or the port only.
            (
                "sip:t@192.168.0.9:5060",
                "10.1.1.2:40001",
                Some("192.168.0.9:5060"),
                true,
                "10.1.1.2:40001",
            ),
            (
                "sip:t@10.1.1.2:5060",
                "10.1.1.2:40001",
                Some("10.1.1.2:5060"),
                true,
                "10.1.1.2:40001",
            ),
            // Sends from another port than it listens at.
            (
                "sip:t@10.1.1.2:5060",
                "10.1.1.2:40001",
                Some("10.1.1.2:5060"),
                false,
                "10.1.1.2:5060",
            ),
            (
                "sip:t@10.1.1.2:5080",
                "10.1.1.2:40001",
                Some("10.1.1.2:40001"),
                true,
                "10.1.1.2:5080",
            ),
            // Names and third parties.
            (
                "sip:t@tc.example",
                "10.1.1.2:5060",
                None,
                false,
                "10.1.1.2:5060",
            ),
            (
                "sip:t@10.9.9.9:7",
                "10.1.1.2:5060",
                None,
                false,
                "10.1.1.2:5060",
            ),
        ];
        for (contact, source, sent_by, rport, expected) in table {
            let uri = SipUri::parse(contact.as_bytes()).unwrap();
            let sent_by = sent_by.map(|address| address.parse().unwrap());
            assert_eq!(
                destination(&uri, source.parse().unwrap(), sent_by, rport),
                expected.parse().unwrap(),
                "{contact} from {source}"
            );
        }
    }
}
