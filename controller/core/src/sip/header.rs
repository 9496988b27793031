//! Header fields: names, lists, parameters, and the fields read most.

use std::ops::Range;

use memchr::{memchr, memchr2, memchr3};

use super::method::is_token_byte;
use crate::digits::number;

/// A header's name: its long form, and its compact form if it has one
/// (RFC 3261 §7.3.3). Compared without case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    long: &'static str,
    compact: Option<u8>,
}

macro_rules! names {
    ($($constant:ident = $long:literal $(, $compact:literal)?;)*) => {
        impl Name {
            $(
                #[doc = concat!("`", $long, "`.")]
                pub const $constant: Self = Self { long: $long, compact: names!(@ $($compact)?) };
            )*

            /// Those with a compact form.
            const COMPACT: &'static [Self] = &[$(Self::$constant,)*];
        }
    };
    (@ $compact:literal) => { Some($compact) };
    (@) => { None };
}

names! {
    ACCEPT_CONTACT = "Accept-Contact", b'a';
    ALLOW_EVENTS = "Allow-Events", b'u';
    CALL_ID = "Call-ID", b'i';
    CONTACT = "Contact", b'm';
    CONTENT_ENCODING = "Content-Encoding", b'e';
    CONTENT_LENGTH = "Content-Length", b'l';
    CONTENT_TYPE = "Content-Type", b'c';
    EVENT = "Event", b'o';
    FROM = "From", b'f';
    IDENTITY = "Identity", b'y';
    REFERRED_BY = "Referred-By", b'b';
    REFER_TO = "Refer-To", b'r';
    REJECT_CONTACT = "Reject-Contact", b'j';
    REQUEST_DISPOSITION = "Request-Disposition", b'd';
    SESSION_EXPIRES = "Session-Expires", b'x';
    SUBJECT = "Subject", b's';
    SUPPORTED = "Supported", b'k';
    TO = "To", b't';
    VIA = "Via", b'v';
    ALLOW = "Allow";
    AUTHORIZATION = "Authorization";
    CSEQ = "CSeq";
    EXPIRES = "Expires";
    MAX_FORWARDS = "Max-Forwards";
    MIN_EXPIRES = "Min-Expires";
    PROXY_REQUIRE = "Proxy-Require";
    RACK = "RAck";
    RECORD_ROUTE = "Record-Route";
    REPLACES = "Replaces";
    REQUIRE = "Require";
    RETRY_AFTER = "Retry-After";
    ROUTE = "Route";
    RSEQ = "RSeq";
    UNSUPPORTED = "Unsupported";
    USER_AGENT = "User-Agent";
    WARNING = "Warning";
    WWW_AUTHENTICATE = "WWW-Authenticate";
}

impl Name {
    /// A name that has no constant here.
    pub const fn new(long: &'static str) -> Self {
        Self {
            long,
            compact: None,
        }
    }

    /// The long form.
    pub const fn as_str(self) -> &'static str {
        self.long
    }

    /// Whether `written` is this name, in either form.
    pub fn matches(self, written: &[u8]) -> bool {
        match (self.compact, written) {
            (Some(compact), [letter]) => letter.eq_ignore_ascii_case(&compact),
            _ => written.eq_ignore_ascii_case(self.long.as_bytes()),
        }
    }

    /// The long form of a compact name; the name itself where it is none.
    pub fn long_form(written: &[u8]) -> &[u8] {
        let known = Self::COMPACT
            .iter()
            .find(|name| name.compact.is_some() && name.matches(written));
        known.map_or(written, |name| name.long.as_bytes())
    }
}

/// One header field of a message, as spans of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// The name as written; empty for a line that is no header and is kept.
    pub(super) name: Range<usize>,
    /// From after the colon's white space to before the line end, with folds.
    pub(super) value: Range<usize>,
    /// With name and line ends.
    pub(super) whole: Range<usize>,
    /// The value in one line, where it was folded (RFC 3261 §7.3.1).
    pub(super) unfolded: Option<Vec<u8>>,
}

/// The elements of a comma-separated list (RFC 3261 §7.3.1), with their offsets.
/// Commas in quoted strings and within `<…>` do not separate.
pub(super) fn list_spans(value: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let rest = value.get(start..)?;
        let length = element(rest, b',', Some((b'<', b'>')));
        next = (length < rest.len()).then_some(start + length + 1);
        Some(trimmed(value, start..start + length))
    })
    .filter(|span| !span.is_empty())
}

/// The elements of a comma-separated list.
pub fn split_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    list_spans(value).filter_map(move |span| value.get(span))
}

/// The length of the first element of `rest`: up to a `separator` that stands neither
/// in a quoted string nor between `brackets`.
fn element(rest: &[u8], separator: u8, brackets: Option<(u8, u8)>) -> usize {
    // Without brackets, what is found already.
    let (open, close) = brackets.unwrap_or((separator, separator));
    let mut at = 0;
    while let Some(found) = memchr3(separator, b'"', open, rest.get(at..).unwrap_or_default()) {
        at += found;
        let byte = rest.get(at).copied();
        if byte == Some(separator) {
            return at;
        }
        let inner = rest.get(at + 1..).unwrap_or_default();
        let length = match byte {
            Some(b'"') => quoted(inner),
            _ => memchr(close, inner),
        };
        let Some(length) = length else {
            break;
        };
        at += length + 2;
    }
    rest.len()
}

/// The length of what stands between a quote and the next that ends it.
fn quoted(inner: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', inner.get(at..)?)?;
        if inner.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// `span` without white space at its ends.
pub(super) fn trimmed(bytes: &[u8], span: Range<usize>) -> Range<usize> {
    let text = bytes.get(span.clone()).unwrap_or_default();
    let start = span.start + (text.len() - text.trim_ascii_start().len());
    start..start + text.trim_ascii().len()
}

/// Elements separated by `;`, quoted strings whole. The first is what stands
/// before the first `;`.
pub(super) fn semicolons(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut next = Some(value);
    std::iter::from_fn(move || {
        let rest = next?;
        let (part, after) = rest.split_at_checked(element(rest, b';', None))?;
        next = after.get(1..);
        Some(part.trim_ascii())
    })
}

/// A parameter of a list of `;name=value` parameters that follows the first
/// element of `value` (RFC 3261 §7.3.1): `Some(None)` where it stands without a
/// value. For a `name-addr` pass what follows its `>`.
pub fn parameter<'a>(value: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    semicolons(value).skip(1).find_map(|part| {
        let (key, value) = key_value(part);
        key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    })
}

pub(super) fn key_value(part: &[u8]) -> (&[u8], Option<&[u8]>) {
    match part.iter().position(|&b| b == b'=') {
        Some(equals) => (
            part.get(..equals).unwrap_or_default().trim_ascii(),
            part.get(equals + 1..).map(<[u8]>::trim_ascii),
        ),
        None => (part, None),
    }
}

/// One element of a Via (RFC 3261 §20.42).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, ….
    pub transport: &'a [u8],
    /// Host and port as written.
    pub sent_by: &'a [u8],
    /// Host of `sent_by`, an IPv6 address without brackets.
    pub host: &'a [u8],
    /// Port of `sent_by`.
    pub port: Option<u16>,
    /// `branch`.
    pub branch: Option<&'a [u8]>,
    /// `received`.
    pub received: Option<&'a [u8]>,
    /// `rport` (RFC 3581): `Some(None)` asks for it.
    pub rport: Option<Option<u16>>,
}

impl<'a> Via<'a> {
    /// Reads one element; `None` where it is no Via.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut parts = semicolons(value);
        let first = parts.next()?;
        // SIP/2.0/UDP host, with white space allowed around each slash.
        let mut slashes = first.splitn(3, |&b| b == b'/');
        let (protocol, version) = (slashes.next()?.trim_ascii(), slashes.next()?.trim_ascii());
        if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return None;
        }
        let rest = slashes.next()?.trim_ascii();
        let space = rest.iter().position(u8::is_ascii_whitespace)?;
        let (transport, sent_by) = rest.split_at_checked(space)?;
        let sent_by = sent_by.trim_ascii();
        if transport.is_empty() || sent_by.is_empty() {
            return None;
        }
        let (host, port) = host_port(sent_by)?;
        let mut via = Self {
            transport,
            sent_by,
            host,
            port,
            branch: None,
            received: None,
            rport: None,
        };
        // Of two of a name, the first.
        let (mut branch, mut received) = (None, None);
        for (key, value) in parts.map(key_value) {
            if key.eq_ignore_ascii_case(b"branch") {
                branch = branch.or(Some(value));
            } else if key.eq_ignore_ascii_case(b"received") {
                received = received.or(Some(value));
            } else if key.eq_ignore_ascii_case(b"rport") {
                via.rport = via.rport.or(Some(value.and_then(number)));
            }
        }
        via.branch = branch.flatten();
        via.received = received.flatten();
        Some(via)
    }
}

/// Splits `host[:port]`; brackets of an IPv6 address come off. `None` where the
/// port is none.
pub(super) fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, rest) = match text.strip_prefix(b"[") {
        Some(inner) => {
            let end = inner.iter().position(|&b| b == b']')?;
            (inner.get(..end)?, inner.get(end + 1..)?)
        }
        None => {
            let end = text.iter().position(|&b| b == b':').unwrap_or(text.len());
            text.split_at_checked(end)?
        }
    };
    let rest = rest.trim_ascii();
    let port = match rest.strip_prefix(b":") {
        Some(digits) => Some(number(digits.trim_ascii())?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((host.trim_ascii(), port))
}

/// Whether `name` may be a header's name.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| is_token_byte(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_elements() {
        for (value, elements) in [
            ("a, b ,c", vec!["a", "b", "c"]),
            ("a,, ,b,", vec!["a", "b"]),
            (r#""a,b" <sip:x,y>, c"#, vec![r#""a,b" <sip:x,y>"#, "c"]),
            (r#""a\",b" <x>, c"#, vec![r#""a\",b" <x>"#, "c"]),
            (r#"<a"b>, "c"#, vec![r#"<a"b>"#, r#""c"#]),
            (r#""a<", b>, c"#, vec![r#""a<""#, "b>", "c"]),
            (r#""a, b\"#, vec![r#""a, b\"#]),
            ("<a, b", vec!["<a, b"]),
            ("", vec![]),
        ] {
            let found: Vec<_> = split_list(value.as_bytes()).collect();
            let elements: Vec<_> = elements.iter().map(|e| e.as_bytes()).collect();
            assert_eq!(found, elements, "{value}");
        }
    }

    #[test]
    fn what_separates_parameters() {
        for (value, parts) in [
            ("a;b = 1 ;c", vec!["a", "b = 1", "c"]),
            (r#"a;b="x;y";c"#, vec!["a", r#"b="x;y""#, "c"]),
            (r#"a;b="x\";y";c"#, vec!["a", r#"b="x\";y""#, "c"]),
            ("a;b=<x;y", vec!["a", "b=<x", "y"]),
            (r#"a;"b;c"#, vec!["a", r#""b;c"#]),
            ("a;", vec!["a", ""]),
            ("", vec![""]),
        ] {
            let found: Vec<_> = semicolons(value.as_bytes()).collect();
            let parts: Vec<_> = parts.iter().map(|p| p.as_bytes()).collect();
            assert_eq!(found, parts, "{value}");
        }
    }
}
