//! As much of a SIP URI (RFC 3261 §19.1) and of a name-addr (§20.10) as routing
//! to a thin client needs. Spans of what came; nothing is rewritten.

use std::net::IpAddr;

pub(crate) use crate::digits::number;

/// Default port of SIP over UDP.
pub const DEFAULT_PORT: u16 = 5060;

/// The parts of a `sip:` or `sips:` URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// `sips:`.
    pub secure: bool,
    /// User, with its password if there is one; escapes as written.
    pub user: Option<&'a [u8]>,
    /// Host as written, an IPv6 address without its brackets.
    pub host: &'a [u8],
    /// Port, where written.
    pub port: Option<u16>,
    /// URI parameters, without the first semicolon.
    pub parameters: &'a [u8],
}

impl<'a> SipUri<'a> {
    /// Reads a URI. `None`: not `sip:` or `sips:`, or no host, or a port that is
    /// none.
    pub fn parse(uri: &'a [u8]) -> Option<Self> {
        let colon = uri.iter().position(|&b| b == b':')?;
        let (scheme, rest) = (&uri[..colon], &uri[colon + 1..]);
        let secure = scheme.eq_ignore_ascii_case(b"sips");
        if !secure && !scheme.eq_ignore_ascii_case(b"sip") {
            return None;
        }
        let rest = until(rest, b"?").0;
        // A user may contain ';' (§25.1), so the user ends at the last '@'.
        let (user, rest) = match rest.iter().rposition(|&b| b == b'@') {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (host_port, parameters) = until(rest, b";");
        let (host, port) = host_and_port(host_port)?;
        Some(Self {
            secure,
            user,
            host,
            port,
            parameters,
        })
    }

    /// The host as an address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        std::str::from_utf8(self.host).ok()?.parse().ok()
    }

    /// A URI parameter: `Some(None)` where it stands without a value.
    pub fn parameter(&self, name: &str) -> Option<Option<&'a [u8]>> {
        let parameter = self.parameters.split(|&b| b == b';').find(|parameter| {
            until(parameter, b"=")
                .0
                .eq_ignore_ascii_case(name.as_bytes())
        })?;
        let equals = parameter.iter().position(|&b| b == b'=');
        Some(equals.map(|at| &parameter[at + 1..]))
    }

    /// Whether both lead to the same user at the same place: user, host without
    /// case, and port; parameters do not count.
    pub fn same_place(&self, other: &Self) -> bool {
        let port = |uri: &Self| uri.port.unwrap_or(DEFAULT_PORT);
        self.user == other.user
            && self.host.eq_ignore_ascii_case(other.host)
            && port(self) == port(other)
    }
}

/// `host[:port]`, the brackets of an IPv6 address taken off.
fn host_and_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, rest) = match text {
        [b'[', inner @ ..] => {
            let end = inner.iter().position(|&b| b == b']')?;
            (&inner[..end], &inner[end + 1..])
        }
        _ => {
            let end = text.iter().position(|&b| b == b':').unwrap_or(text.len());
            text.split_at(end)
        }
    };
    let named = host
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b".-_:%".contains(b));
    if host.is_empty() || !named {
        return None;
    }
    match rest {
        [] => Some((host, None)),
        [b':', digits @ ..] => Some((host, Some(number(digits)?))),
        _ => None,
    }
}

/// What is before the first of `ends`, and what is after it.
fn until<'a>(text: &'a [u8], ends: &[u8]) -> (&'a [u8], &'a [u8]) {
    match text.iter().position(|b| ends.contains(b)) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// A name-addr or addr-spec with its header parameters: one value of Contact,
/// From, To, Route or Record-Route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The URI, without angle brackets.
    pub uri: &'a [u8],
    /// Header parameters, without the first semicolon.
    pub parameters: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value. `None`: a quote or bracket is not closed, or no URI.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let mut rest = value;
        if let [b'"', quoted @ ..] = rest {
            rest = after_quote(quoted)?;
        }
        let (uri, parameters) = match rest.iter().position(|&b| b == b'<') {
            Some(open) => {
                let inner = &rest[open + 1..];
                let close = inner.iter().position(|&b| b == b'>')?;
                let tail = inner[close + 1..].trim_ascii_start();
                let parameters = match tail {
                    [] => tail,
                    [b';', parameters @ ..] => parameters,
                    _ => return None,
                };
                (&inner[..close], parameters)
            }
            // Without brackets the parameters are the header's (§20).
            None => until(rest, b";"),
        };
        let uri = uri.trim_ascii();
        (!uri.is_empty()).then_some(Self { uri, parameters })
    }

    /// The value of a header parameter; empty where it has none.
    pub fn parameter(&self, name: &str) -> Option<&'a [u8]> {
        self.parameters
            .split(|&b| b == b';')
            .map(|parameter| until(parameter, b"="))
            .find(|(key, _)| key.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.trim_ascii())
    }
}

fn after_quote(quoted: &[u8]) -> Option<&[u8]> {
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'"' => return Some(&quoted[at + 1..]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_stock_phones() {
        let uri = SipUri::parse(b"sip:tc18-0x55d0c8@10.71.2.22:5060").unwrap();
        assert_eq!(uri.user, Some(&b"tc18-0x55d0c8"[..]));
        assert_eq!(uri.ip(), Some([10, 71, 2, 22].into()));
        assert_eq!(uri.port, Some(5060));
        let uri = SipUri::parse(b"SIPS:a;b@[2001:db8::1];transport=udp;ob?x=y@z").unwrap();
        assert!(uri.secure && uri.parameter("ob") == Some(None) && uri.parameter("lr").is_none());
        assert_eq!(uri.parameter("Transport"), Some(Some(&b"udp"[..])));
        assert_eq!(uri.ip(), "2001:db8::1".parse().ok());
        let bare = SipUri::parse(b"sip:TC.example;lr").unwrap();
        assert_eq!((bare.user, bare.port), (None, None));
        assert!(bare.same_place(&SipUri::parse(b"sip:tc.EXAMPLE:5060").unwrap()));
        for bad in [
            "",
            "tel:+1",
            "sip:",
            "sip:a@",
            "sip:h:x",
            "sip:h:99999",
            "sip:[::1",
            "sip:a b",
        ] {
            assert_eq!(SipUri::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn name_addrs() {
        let quoted =
            NameAddr::parse(br#" "a \" <b>;x" <sip:u@h;p=1> ; expires = 5;q=0.5"#).unwrap();
        assert_eq!(quoted.uri, b"sip:u@h;p=1");
        assert_eq!(quoted.parameter("Expires"), Some(&b"5"[..]));
        let bare = NameAddr::parse(b"sip:u@h;expires=0").unwrap();
        assert_eq!(bare.uri, b"sip:u@h");
        assert_eq!(bare.parameter("expires"), Some(&b"0"[..]));
        for bad in ["", "<>", "<sip:u@h", "\"a <sip:u@h>", "<sip:u@h> x"] {
            assert_eq!(NameAddr::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
