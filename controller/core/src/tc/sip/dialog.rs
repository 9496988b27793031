//! The dialog with a thin client (RFC 3261 §12), of which we are the caller.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::engine::Transport;
use crate::registrar::{Binding, destination};
use crate::sip::identifiers::Identifiers;
use crate::sip::transaction::Addresses;
use crate::sip::uri::DEFAULT_PORT;
use crate::sip::{Message, Method, Name, NameAddr, RequestBuilder, SipUri};

/// The user part of our own address.
const USER: &str = "sidestep";

/// A dialog; until its first 2xx the half of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dialog {
    pub(super) call_id: String,
    pub(super) local_tag: String,
    /// `None` until a 2xx has come, and of a peer that gives none (RFC 2543).
    #[serde(with = "serde_bytes")]
    pub(super) remote_tag: Option<Vec<u8>>,
    /// Our From, with its tag.
    local: String,
    /// The peer's To, with its tag once there is one.
    #[serde(with = "serde_bytes")]
    remote: Vec<u8>,
    /// Our Contact's URI.
    contact: String,
    /// The peer's Contact: the Request-URI (§12.2.1.1).
    #[serde(with = "serde_bytes")]
    target: Vec<u8>,
    routes: Vec<Vec<u8>>,
    pub(super) addresses: Addresses,
    local_cseq: u32,
    /// Of the peer's last request.
    remote_cseq: Option<u32>,
    /// The registered contact, and where it is reached.
    registered: (Vec<u8>, SocketAddr),
}

impl Dialog {
    /// Before the INVITE: the identity is the VM's, at whose address the thin
    /// client has registered.
    pub(super) fn new(
        (to, contact): (&Binding, &[u8]),
        port: u16,
        identifiers: &mut Identifiers,
    ) -> Self {
        let local_tag = identifiers.token();
        let address = SocketAddr::from((to.vm_address, port));
        Self {
            call_id: format!("{}@{}", identifiers.token(), to.vm_address),
            local: format!("<sip:{USER}@{}>;tag={local_tag}", to.vm_address),
            local_tag,
            remote_tag: None,
            remote: [b"<", contact, b">"].concat(),
            // By a connection it is reached by that, whatever stands there.
            contact: match to.transport {
                Transport::Udp => format!("sip:{USER}@{address}"),
                other => {
                    let transport = other.name().to_ascii_lowercase();
                    format!("sip:{USER}@{address};transport={transport}")
                }
            },
            target: contact.to_vec(),
            routes: Vec::new(),
            addresses: Addresses {
                local: address,
                remote: to.address,
                transport: to.transport,
            },
            local_cseq: 0,
            remote_cseq: None,
            registered: (contact.to_vec(), to.address),
        }
    }

    /// The number of the next request of ours.
    pub(super) fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// Our Contact header's value.
    pub(super) fn contact(&self) -> String {
        format!("<{}>", self.contact)
    }

    /// The URI of our identity.
    pub(super) fn identity(&self) -> String {
        format!("sip:{USER}@{}", self.addresses.local.ip())
    }

    /// A request of ours in the dialog (§12.2.1.1).
    pub(super) fn request(&self, method: Method, cseq: u32, branch: &str) -> RequestBuilder {
        let mut uri = self.target.as_slice();
        let mut routes: Vec<Vec<u8>> = self.routes.clone();
        // A first router that is strict wants to be the Request-URI itself.
        let first = self.routes.first().and_then(|route| NameAddr::parse(route));
        if let Some(first) = first.filter(|first| !is_loose(first.uri)) {
            uri = first.uri;
            routes.remove(0);
            routes.push([b"<", self.target.as_slice(), b">"].concat());
        }
        let mut request = RequestBuilder::new(method, uri)
            .via_over(
                self.addresses.transport.name(),
                self.addresses.local,
                branch,
            )
            .max_forwards();
        for route in &routes {
            request = request.header(Name::ROUTE, route);
        }
        request
            .header(Name::FROM, &self.local)
            .header(Name::TO, &self.remote)
            .header(Name::CALL_ID, &self.call_id)
            .cseq(cseq)
    }

    /// The first 2xx of our INVITE makes the dialog (§12.1.2).
    pub(super) fn establish(&mut self, response: &Message, source: SocketAddr) {
        self.remote_tag = response.to_tag().map(<[u8]>::to_vec);
        if let Some(to) = response.header(Name::TO) {
            self.remote = to.to_vec();
        }
        self.routes = response
            .headers(Name::RECORD_ROUTE)
            .map(<[u8]>::to_vec)
            .collect();
        self.routes.reverse();
        self.refresh(response, source);
    }

    /// A target refresh request of the peer, or the 2xx to one of ours, moves
    /// the target (§12.2.1.2, §12.2.2).
    pub(super) fn refresh(&mut self, message: &Message, source: SocketAddr) {
        let contact = message.contact_uri().filter(|uri| is_request_uri(uri));
        if let Some(contact) = contact {
            self.target = contact.to_vec();
        }
        // By a connection it is the peer who comes to us.
        if self.addresses.transport.is_reliable() {
            return;
        }
        let route = self
            .routes
            .first()
            .and_then(|route| NameAddr::parse(route))
            .and_then(|route| SipUri::parse(route.uri))
            .and_then(|uri| {
                let ip = uri.ip().filter(|ip| ip.is_ipv4() == source.is_ipv4())?;
                Some(SocketAddr::new(ip, uri.port.unwrap_or(DEFAULT_PORT)))
            });
        self.addresses.remote = match (route, SipUri::parse(&self.target)) {
            (Some(route), _) => route,
            (None, Some(target)) if self.is_registered(&target) => self.registered.1,
            (None, Some(target)) => destination(&target, source, None, false),
            (None, None) => source,
        };
    }

    /// The peer has sent something in the dialog by a connection, which may be another
    /// than before.
    pub(super) fn heard_by(&mut self, from: Addresses) {
        if self.addresses.transport.is_reliable() && from.transport.is_reliable() {
            self.addresses = from;
        }
    }

    /// Whether a request belongs to the dialog (§12.2.2). Before our INVITE is
    /// answered the peer's tag is not known and not compared.
    pub(super) fn has(&self, request: &Message, established: bool) -> bool {
        request.call_id() == self.call_id.as_bytes()
            && request.to_tag() == Some(self.local_tag.as_bytes())
            && (!established || request.from_tag() == self.remote_tag.as_deref())
    }

    /// Takes a request's CSeq number; false where it is not higher than the last
    /// (§12.2.2).
    pub(super) fn take_remote_cseq(&mut self, number: u32) -> bool {
        let rises = self.remote_cseq.is_none_or(|last| last < number);
        if rises {
            self.remote_cseq = Some(number);
        }
        rises
    }

    fn is_registered(&self, target: &SipUri<'_>) -> bool {
        SipUri::parse(&self.registered.0).is_some_and(|uri| uri.same_place(target))
    }
}

fn is_loose(uri: &[u8]) -> bool {
    SipUri::parse(uri).is_none_or(|uri| uri.parameter("lr").is_some())
}

/// Whether it may stand in a start line.
fn is_request_uri(uri: &[u8]) -> bool {
    SipUri::parse(uri).is_some() && uri.iter().all(u8::is_ascii_graphic)
}
