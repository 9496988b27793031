//! From bytes to spans. Tolerant: only what Sidestep must understand can be
//! wrong; every other line is kept as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::description::{
    Connection, ConnectionAddress, Line, MediaDescription, Origin, RtcpAttribute, RtpMap, Section,
    SessionDescription,
};
use crate::digits::number;
use crate::media::{Channel, Direction, Setup};

/// Why bytes are no session description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SDP line {line}, byte {offset}: {what}")]
pub struct SdpError {
    /// Offset from the description's first byte.
    pub offset: usize,
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong; a text that does not vary with the input.
    pub what: &'static str,
}

impl SessionDescription {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// Where the first line is not `v=`, or an `o=`, `c=` or `m=` line cannot be
    /// understood. Unknown and misplaced lines are kept, not refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        let lines = split_lines(bytes);
        let fail = |index: usize, at: usize, what| SdpError {
            offset: at,
            line: index + 1,
            what,
        };
        if lines.first().is_none_or(|line| line.kind != b'v') {
            return Err(fail(0, 0, "does not begin with v="));
        }
        let mut origin = None;
        let mut session = Section::default();
        let mut media: Vec<MediaDescription> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let start = line.value.start;
            let value = bytes.get(line.value.clone()).unwrap_or_default();
            let at = |what| fail(index, start, what);
            if line.kind == b'm' {
                let mut description = parse_media(value, start).map_err(at)?;
                description.section.lines = index..index + 1;
                media.push(description);
                continue;
            }
            match media.last_mut() {
                Some(current) => {
                    current.section.lines.end = index + 1;
                    current.section.read(index, line.kind, value).map_err(at)?;
                    if line.kind == b'a' {
                        current.read_attribute(value);
                    }
                }
                None => {
                    session.lines.end = index + 1;
                    session.read(index, line.kind, value).map_err(at)?;
                    if line.kind == b'o' && origin.is_none() {
                        origin = Some(parse_origin(value, start).map_err(at)?);
                    }
                }
            }
        }
        for description in &mut media {
            description.inherit(&session);
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            lines,
            origin,
            session,
            media,
        })
    }
}

/// Every byte belongs to exactly one line.
fn split_lines(bytes: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    for whole in bytes.split_inclusive(|&b| b == b'\n') {
        let end = start + whole.len();
        let mut content = whole;
        if let Some(rest) = content.strip_suffix(b"\n") {
            content = rest.strip_suffix(b"\r").unwrap_or(rest);
        }
        let (kind, value) = match content {
            [letter, b'=', ..] if letter.is_ascii_alphabetic() => {
                (*letter, start + 2..start + content.len())
            }
            _ => (0, start..start + content.len()),
        };
        lines.push(Line {
            kind,
            whole: start..end,
            value,
        });
        start = end;
    }
    lines
}

/// A field of a line: its text, and where it begins within the line.
fn fields(value: &[u8]) -> Vec<(usize, &[u8])> {
    let mut found = Vec::new();
    let mut start = 0;
    for field in value.split(|&b| b == b' ' || b == b'\t') {
        if !field.is_empty() {
            found.push((start, field));
        }
        start += field.len() + 1;
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `o=<username> <sess-id> <sess-version> <nettype> <addrtype> <address>`. Read
/// from the right, since describers write user names with spaces.
fn parse_origin(value: &[u8], start: usize) -> Result<Origin, &'static str> {
    let fields = fields(value);
    let [user @ .., id, version, _net, address_type, address] = fields.as_slice() else {
        return Err("o= has fewer than six fields");
    };
    let (Some(first), Some(last)) = (user.first(), user.last()) else {
        return Err("o= has fewer than six fields");
    };
    let user = value.get(first.0..last.0 + last.1.len());
    Ok(Origin {
        username: text(user.unwrap_or_default()),
        sess_id: text(id.1),
        sess_version: number(version.1).ok_or("session version of o= is not a 64-bit number")?,
        address_type: text(address_type.1),
        address: text(address.1),
        version_span: start + version.0..start + version.0 + version.1.len(),
    })
}

/// `c=<nettype> <addrtype> <address>[/<ttl>][/<count>]`.
fn parse_connection(value: &[u8]) -> Result<Connection, &'static str> {
    let fields = fields(value);
    let [(_, net), (_, family), (_, address)] = fields.as_slice() else {
        return Err("c= does not have three fields");
    };
    let mut parts = address.split(|&b| b == b'/');
    let host = parts.next().unwrap_or_default();
    let numbers: Vec<&[u8]> = parts.collect();
    let name = || ConnectionAddress::Name(text(host));
    if !net.eq_ignore_ascii_case(b"IN") {
        return Ok(Connection {
            address: ConnectionAddress::Name(text(address)),
            ttl: None,
            count: None,
        });
    }
    let host_text = std::str::from_utf8(host).map_err(|_| "address of c= is not text")?;
    if host.is_empty() {
        return Err("c= has no address");
    }
    let v4 = family.eq_ignore_ascii_case(b"IP4");
    if !v4 && !family.eq_ignore_ascii_case(b"IP6") {
        return Err("address type of c= is neither IP4 nor IP6");
    }
    let address = if v4 {
        match host_text.parse::<Ipv4Addr>() {
            Ok(ip) => ConnectionAddress::Ip(IpAddr::V4(ip)),
            Err(_) if host.iter().all(|b| b.is_ascii_digit() || *b == b'.') => {
                return Err("address of c= is not an IPv4 address");
            }
            Err(_) => name(),
        }
    } else {
        match host_text.parse::<Ipv6Addr>() {
            Ok(ip) => ConnectionAddress::Ip(IpAddr::V6(ip)),
            Err(_) if host.contains(&b':') => {
                return Err("address of c= is not an IPv6 address");
            }
            Err(_) => name(),
        }
    };
    // IPv4 multicast writes /ttl[/count], IPv6 multicast /count (RFC 8866 §5.7).
    let (ttl, count) = match (v4, numbers.as_slice()) {
        (_, []) => (None, None),
        (true, [ttl]) => (Some(*ttl), None),
        (true, [ttl, count]) => (Some(*ttl), Some(*count)),
        (false, [count]) => (None, Some(*count)),
        _ => return Err("c= has too many numbers after its address"),
    };
    Ok(Connection {
        address,
        ttl: ttl
            .map(|ttl| number(ttl).ok_or("time to live of c= is not 0 to 255"))
            .transpose()?,
        count: count
            .map(|count| number(count).ok_or("number of addresses of c= is not a number"))
            .transpose()?,
    })
}

/// `m=<media> <port>[/<count>] <proto> <fmt> …`. No format at all is taken: a
/// thin client that registers its address only has none to give.
fn parse_media(value: &[u8], start: usize) -> Result<MediaDescription, &'static str> {
    let fields = fields(value);
    let [
        (_, kind),
        (port_at, port_field),
        (proto_at, proto),
        formats @ ..,
    ] = fields.as_slice()
    else {
        return Err("m= has fewer than three fields");
    };
    let mut port_parts = port_field.splitn(2, |&b| b == b'/');
    let port = number(port_parts.next().unwrap_or_default())
        .ok_or("port of m= is not a number of 0 to 65535")?;
    let port_count = match port_parts.next() {
        None => 1,
        Some(count) => number(count).ok_or("port count of m= is not a number")?,
    };
    let end_of_proto = start + proto_at + proto.len();
    let formats_span = match (formats.first(), formats.last()) {
        (Some(first), Some(last)) => start + first.0..start + last.0 + last.1.len(),
        _ => end_of_proto..end_of_proto,
    };
    Ok(MediaDescription {
        kind: text(kind),
        port,
        port_count,
        proto: text(proto),
        formats: formats.iter().map(|(_, format)| text(format)).collect(),
        connection: None,
        direction: Direction::default(),
        rtcp: None,
        rtcp_mux: false,
        rtpmaps: Vec::new(),
        fmtps: Vec::new(),
        ptime: None,
        maxptime: None,
        encrypted: false,
        ice: false,
        section: Section::default(),
        channel: Channel::default(),
        mid: None,
        bundle_only: false,
        port_span: span(start, *port_at, port_field),
        proto_span: span(start, *proto_at, proto),
        formats_span,
    })
}

fn span(start: usize, at: usize, field: &[u8]) -> Range<usize> {
    start + at..start + at + field.len()
}

/// Name and value of an attribute (RFC 8866 §5.13).
pub(super) fn attribute(value: &[u8]) -> (&[u8], &[u8]) {
    match value.iter().position(|&b| b == b':') {
        Some(colon) => (
            value.get(..colon).unwrap_or_default(),
            value.get(colon + 1..).unwrap_or_default(),
        ),
        None => (value.trim_ascii_end(), &[]),
    }
}

/// The payload type that an `rtpmap`, `fmtp` or `rtcp-fb` attribute begins with.
pub(super) fn payload_type(value: &[u8]) -> Option<(u8, &[u8])> {
    let value = value.trim_ascii_start();
    let end = value
        .iter()
        .position(|b| b.is_ascii_whitespace())
        .unwrap_or(value.len());
    let (digits, rest) = value.split_at_checked(end)?;
    let payload_type = number(digits).filter(|&p: &u8| p < 128)?;
    Some((payload_type, rest.trim_ascii()))
}

pub(super) fn direction(name: &[u8]) -> Option<Direction> {
    match name {
        b"sendrecv" => Some(Direction::SendRecv),
        b"sendonly" => Some(Direction::SendOnly),
        b"recvonly" => Some(Direction::RecvOnly),
        b"inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// `<payload type> <encoding>/<clock rate>[/<channels>]`.
pub(super) fn rtpmap(value: &[u8]) -> Option<RtpMap> {
    let (payload_type, rest) = payload_type(value)?;
    let mut parts = rest.split(|&b| b == b'/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let clock_rate = number(parts.next()?.trim_ascii())?;
    let channels = parts.next().and_then(|c| number(c.trim_ascii()));
    Some(RtpMap {
        payload_type,
        name: text(name),
        clock_rate,
        channels,
    })
}

/// `<port>[ <nettype> <addrtype> <address>]`.
fn rtcp(value: &[u8]) -> Option<RtcpAttribute> {
    let fields = fields(value);
    let (_, port) = fields.first()?;
    let address = match fields.get(3) {
        Some((_, address)) => Some(std::str::from_utf8(address).ok()?.parse().ok()?),
        None => None,
    };
    Some(RtcpAttribute {
        port: number(port)?,
        address,
    })
}

impl Section {
    fn read(&mut self, index: usize, kind: u8, value: &[u8]) -> Result<(), &'static str> {
        if kind == b'c' {
            self.connections.push((index, parse_connection(value)?));
        }
        if kind != b'a' {
            return Ok(());
        }
        let (name, rest) = attribute(value);
        match name {
            b"ptime" => self.ptime = self.ptime.or(packet_time(rest)),
            b"maxptime" => self.maxptime = self.maxptime.or(packet_time(rest)),
            b"crypto" => {
                self.encrypted = true;
                self.channel.crypto.push(text(rest.trim_ascii()));
            }
            b"fingerprint" | b"tls-id" => {
                self.encrypted |= name == b"fingerprint";
                self.channel.dtls.push(text(value.trim_ascii_end()));
            }
            b"setup" => self.channel.setup = self.channel.setup.or(Setup::of(rest)),
            b"key-mgmt" => (self.encrypted, self.keyed_elsewhere) = (true, true),
            b"ice-lite" => self.channel.ice_lite = true,
            name if is_ice(name) => {
                self.ice |= matches!(name, b"ice-ufrag" | b"candidate");
                self.channel.ice.push(text(value.trim_ascii_end()));
            }
            b"group" => {
                let mut words = rest
                    .split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty());
                if words.next() == Some(b"BUNDLE".as_slice()) {
                    self.bundles.push((index, words.map(text).collect()));
                }
            }
            _ => {
                if let Some(direction) = direction(name) {
                    self.directions.push((index, direction));
                }
            }
        }
        Ok(())
    }
}

/// The attributes of RFC 8839 that are about one endpoint's candidates.
pub(super) fn is_ice(name: &[u8]) -> bool {
    matches!(
        name,
        b"candidate"
            | b"remote-candidates"
            | b"end-of-candidates"
            | b"ice-ufrag"
            | b"ice-pwd"
            | b"ice-options"
            | b"ice-pacing"
            | b"ice-mismatch"
    )
}

fn is_fingerprint(line: &str) -> bool {
    line.starts_with("fingerprint:")
}

/// The attributes that are about one endpoint's DTLS association.
pub(super) fn is_dtls(name: &[u8]) -> bool {
    matches!(name, b"fingerprint" | b"tls-id" | b"setup" | b"connection")
}

/// Some describers write fractions (`a=ptime:22.5`): whole milliseconds count.
fn packet_time(value: &[u8]) -> Option<u32> {
    number(value.trim_ascii().split(|&b| b == b'.').next()?)
}

impl MediaDescription {
    fn read_attribute(&mut self, value: &[u8]) {
        let (name, rest) = attribute(value);
        match name {
            b"rtpmap" => self.rtpmaps.extend(rtpmap(rest)),
            b"fmtp" => self
                .fmtps
                .extend(payload_type(rest).map(|(p, parameters)| (p, text(parameters)))),
            b"rtcp" => self.rtcp = self.rtcp.or(rtcp(rest)),
            b"rtcp-mux" => self.rtcp_mux = true,
            b"mid" => self.mid = self.mid.take().or_else(|| Some(text(rest.trim_ascii()))),
            b"bundle-only" => self.bundle_only = true,
            _ => {}
        }
    }

    /// What the session level says holds where the media level is silent.
    fn inherit(&mut self, session: &Section) {
        let own = &self.section;
        let connections = own.connections.first().or(session.connections.first());
        self.connection = connections.map(|(_, connection)| connection.clone());
        let directions = own.directions.first().or(session.directions.first());
        self.direction = directions.map(|(_, d)| *d).unwrap_or_default();
        self.ptime = own.ptime.or(session.ptime);
        self.maxptime = own.maxptime.or(session.maxptime);
        self.encrypted = own.encrypted || session.encrypted;
        self.ice = own.ice || session.ice;
        self.channel = own.channel.clone();
        self.channel.ice_lite |= session.channel.ice_lite;
        if self.ice {
            let name = |line: &str| line.split(':').next().map(str::to_owned);
            for line in session.channel.ice.iter().rev() {
                if !own.channel.ice.iter().any(|own| name(own) == name(line)) {
                    self.channel.ice.insert(0, line.clone());
                }
            }
        } else {
            self.channel.ice.clear();
        }
        // RFC 8122 §5: what the media level has takes the session level's place.
        let has_fingerprint = |channel: &Channel| channel.dtls.iter().any(|l| is_fingerprint(l));
        if !has_fingerprint(&own.channel) {
            let session = session.channel.dtls.iter();
            let inherited = session.filter(|line| is_fingerprint(line)).cloned();
            self.channel.dtls.splice(0..0, inherited);
        }
        if !has_fingerprint(&self.channel) {
            self.channel.dtls.clear();
        }
        self.channel.setup = own.channel.setup.or(session.channel.setup);
        self.section.keyed_elsewhere |= session.keyed_elsewhere;
    }
}
