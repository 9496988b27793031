//! Values of parameters.

use std::ops::{Range, RangeInclusive};

use serde::Serialize;

use crate::digits::number;
use crate::media::Direction;

/// ConnectionMode (`M`, RFC 3435 §3.2.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionMode {
    /// `sendonly`, `recvonly`, `sendrecv`, `inactive`.
    Media(Direction),
    /// `confrnce`: sends and receives, mixed with the endpoint's others.
    Conference,
    /// `loopback`, `conttest`, `netwloop`, `netwtest`, or an extension's: media is
    /// the test's, not the user's.
    Test(String),
}

impl ConnectionMode {
    /// As written, in any case.
    pub fn parse(written: &[u8]) -> Self {
        match written.to_ascii_lowercase().as_slice() {
            b"sendonly" => Self::Media(Direction::SendOnly),
            b"recvonly" => Self::Media(Direction::RecvOnly),
            b"sendrecv" => Self::Media(Direction::SendRecv),
            b"inactive" => Self::Media(Direction::Inactive),
            b"confrnce" => Self::Conference,
            other => Self::Test(String::from_utf8_lossy(other).into_owned()),
        }
    }

    /// Which way media may go; `None` in a test.
    pub fn direction(&self) -> Option<Direction> {
        match self {
            Self::Media(direction) => Some(*direction),
            Self::Conference => Some(Direction::SendRecv),
            Self::Test(_) => None,
        }
    }

    /// The mode of a direction, as it is written.
    pub const fn name(direction: Direction) -> &'static str {
        match direction {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// RestartMethod (`RM`, §3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartMethod {
    /// `graceful`: out of service when the connections have ended.
    Graceful,
    /// `forced`: out of service, and the connections are gone.
    Forced,
    /// `restart`: in service, without connections.
    Restart,
    /// `disconnected`: the call agent is heard again; connections have stayed.
    Disconnected,
    /// `cancel-graceful`: in service after all.
    CancelGraceful,
    /// An extension's.
    Other(String),
}

impl RestartMethod {
    /// As written, in any case.
    pub fn parse(written: &[u8]) -> Self {
        match written.to_ascii_lowercase().as_slice() {
            b"graceful" => Self::Graceful,
            b"forced" => Self::Forced,
            b"restart" => Self::Restart,
            b"disconnected" => Self::Disconnected,
            b"cancel-graceful" => Self::CancelGraceful,
            other => Self::Other(String::from_utf8_lossy(other).into_owned()),
        }
    }
}

/// The options of LocalConnectionOptions (`L`, §3.2.2.10) or of a capability
/// (`A`): key and value, in order. A comma within quotes divides nothing.
pub fn options(value: &[u8]) -> Vec<(&[u8], &[u8])> {
    let text = |span: Range<usize>| value.get(span).unwrap_or_default();
    let spans = option_spans(value).into_iter();
    spans.map(|(key, of)| (text(key), text(of))).collect()
}

fn option_spans(value: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut quoted = false;
    let mut at = 0;
    let items = value.split(|&b| {
        quoted ^= b == b'"';
        b == b',' && !quoted
    });
    let mut spans = Vec::new();
    for item in items {
        let begin = at;
        at += item.len() + 1;
        let end = begin + item.len();
        let colon = item.iter().position(|&b| b == b':');
        let key = trimmed(value, begin..colon.map_or(end, |colon| begin + colon));
        let of = trimmed(value, colon.map_or(end, |colon| begin + colon + 1)..end);
        if !key.is_empty() {
            spans.push((key, of));
        }
    }
    spans
}

fn trimmed(bytes: &[u8], span: Range<usize>) -> Range<usize> {
    let text = bytes.get(span.clone()).unwrap_or_default();
    let start = span.start + (text.len() - text.trim_ascii_start().len());
    start..start + text.trim_ascii().len()
}

/// Where the codecs of LocalConnectionOptions stand.
fn codecs_span(value: &[u8]) -> Option<Range<usize>> {
    let all = option_spans(value);
    let is_codecs = |key: &Range<usize>| {
        let key = value.get(key.clone()).unwrap_or_default();
        key.eq_ignore_ascii_case(b"a")
    };
    all.into_iter()
        .find(|(key, _)| is_codecs(key))
        .map(|(_, codecs)| codecs)
}

/// The codecs that LocalConnectionOptions allow (`a:PCMU;G729`), most wanted
/// first; `None`: not restricted.
pub fn codecs(options: &[u8]) -> Option<Vec<String>> {
    let names = options.get(codecs_span(options)?).unwrap_or_default();
    let names: Vec<String> = names
        .split(|&b| b == b';')
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned())
        .filter(|name| !name.is_empty())
        .collect();
    (!names.is_empty()).then_some(names)
}

/// LocalConnectionOptions with other codecs; all other options stay as they were.
/// Without an `a:` option, unchanged.
pub fn with_codecs(options: &[u8], names: &[String]) -> Vec<u8> {
    let Some(span) = codecs_span(options) else {
        return options.to_vec();
    };
    let before = options.get(..span.start).unwrap_or_default();
    let after = options.get(span.end..).unwrap_or_default();
    [before, names.join(";").as_bytes(), after].concat()
}

/// ConnectionParameters (`P`, §3.2.2.7): statistics of a connection, from the
/// gateway's view. `None`: not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionParameters {
    /// `PS`: packets sent.
    pub packets_sent: Option<u64>,
    /// `OS`: octets sent.
    pub octets_sent: Option<u64>,
    /// `PR`: packets received.
    pub packets_received: Option<u64>,
    /// `OR`: octets received.
    pub octets_received: Option<u64>,
    /// `PL`: packets lost.
    pub packets_lost: Option<u64>,
    /// `JI`: jitter, ms.
    pub jitter_ms: Option<u64>,
    /// `LA`: latency, ms.
    pub latency_ms: Option<u64>,
}

impl ConnectionParameters {
    /// Reads a value; what is not known is left out.
    pub fn parse(value: &[u8]) -> Self {
        let mut parsed = Self::default();
        for item in value.split(|&b| b == b',') {
            let mut parts = item.splitn(2, |&b| b == b'=');
            let key = parts.next().unwrap_or_default().trim_ascii();
            let number = parts.next().and_then(|v| number(v.trim_ascii()));
            let field = match key.to_ascii_uppercase().as_slice() {
                b"PS" => &mut parsed.packets_sent,
                b"OS" => &mut parsed.octets_sent,
                b"PR" => &mut parsed.packets_received,
                b"OR" => &mut parsed.octets_received,
                b"PL" => &mut parsed.packets_lost,
                b"JI" => &mut parsed.jitter_ms,
                b"LA" => &mut parsed.latency_ms,
                _ => continue,
            };
            *field = number;
        }
        parsed
    }
}

/// The transactions that ResponseAck (`K`, §3.2.2) confirms: `6234-6255, 6257`.
/// What cannot be read is left out.
pub fn acknowledged(value: &[u8]) -> Vec<RangeInclusive<u32>> {
    let items = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    items
        .filter_map(|item| {
            let mut ends = item.splitn(2, |&b| b == b'-').map(<[u8]>::trim_ascii);
            let first = number(ends.next()?)?;
            let last = match ends.next() {
                Some(last) => number(last)?,
                None => first,
            };
            Some(first..=last)
        })
        .collect()
}

/// The names of a list divided by commas, as RequestedInfo (`F`) and PackageList
/// (`PL`) have it, without white space.
pub fn names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let items = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    items.filter(|item| !item.is_empty())
}

/// The events or signals of a list (`R`, `S`, `O`, §3.2.2), as `L/rg`, without their
/// parameters and without the connection that they are for. A comma within parentheses
/// or quotes divides nothing.
pub fn events(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut depth, mut quoted) = (0_usize, false);
    let items = value.split(move |&b| {
        match b {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        b == b',' && depth == 0 && !quoted
    });
    items
        .map(|item| item.split(|b| b"(@".contains(b)).next().unwrap_or_default())
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// The package of an event or signal (`L/hd`, `D/[0-9#*T]`), by its name where
/// RFC 3660 or RFC 3435 has one. `None`: it names no package, or one unknown here.
pub fn package(event: &[u8]) -> Option<&'static str> {
    let slash = event.iter().position(|&b| b == b'/')?;
    package_name(event.get(..slash)?)
}

/// The name of a package (RFC 3660 §2).
pub fn package_name(code: &[u8]) -> Option<&'static str> {
    const PACKAGES: [(&str, &str); 14] = [
        ("G", "Generic Media"),
        ("D", "DTMF"),
        ("T", "Trunk"),
        ("L", "Line"),
        ("H", "Handset Emulation"),
        ("SST", "Supplementary Services Tone"),
        ("DM1", "Digit Map Extension"),
        ("SL", "Signal List"),
        ("FM", "Media Format"),
        ("R", "RTP"),
        ("RES", "Resource Reservation"),
        ("A", "Announcement Server"),
        ("Script", "Script"),
        ("B", "Base"),
    ];
    // Versions are written after a colon (`G:1`, RFC 3435 §2.1.6).
    let code = code.split(|&b| b == b':').next().unwrap_or_default();
    let mut packages = PACKAGES.iter();
    let found = packages.find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(code));
    found.map(|(_, name)| *name)
}
