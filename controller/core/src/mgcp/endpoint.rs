//! Endpoint names (RFC 3435 §2.1.2, §3.2.1.3).

use std::net::IpAddr;

/// `local/name@domain`, read without loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointName<'a> {
    /// All of it.
    pub written: &'a [u8],
    /// Terms with `/` between them; `*` and `$` are wildcards.
    pub local: &'a [u8],
    /// Where the endpoint is; empty where the name has no `@`.
    pub domain: &'a [u8],
}

/// The domain of an endpoint name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain<'a> {
    /// A host name.
    Name(&'a [u8]),
    /// An address in brackets.
    Ip(IpAddr),
}

impl<'a> EndpointName<'a> {
    /// Divides a name at its last `@`: domains have none.
    pub fn new(written: &'a [u8]) -> Self {
        match written.iter().rposition(|&b| b == b'@') {
            Some(at) => Self {
                written,
                local: written.get(..at).unwrap_or_default(),
                domain: written.get(at + 1..).unwrap_or_default(),
            },
            None => Self {
                written,
                local: written,
                domain: b"",
            },
        }
    }

    /// The terms of the local name, from the left.
    pub fn terms(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.local.split(|&b| b == b'/')
    }

    /// Whether it stands for any one endpoint (`$`, §2.1.2): the gateway chooses.
    pub fn is_any(&self) -> bool {
        self.terms().any(|term| term == b"$")
    }

    /// Whether it stands for all endpoints of a kind (`*`). Terms with ranges
    /// (`ds/e1-[1-4]`, RFC 3991) are wildcards too.
    pub fn is_all(&self) -> bool {
        self.local.iter().any(|b| matches!(b, b'*' | b'['))
    }

    /// Its domain, without a port.
    pub fn domain(&self) -> Domain<'a> {
        let bracketed = self
            .domain
            .strip_prefix(b"[")
            .and_then(|rest| rest.split(|&b| b == b']').next());
        let ip = bracketed
            .and_then(|ip| std::str::from_utf8(ip).ok())
            .and_then(|ip| ip.parse().ok());
        match ip {
            Some(ip) => Domain::Ip(ip),
            None => Domain::Name(self.domain),
        }
    }
}
