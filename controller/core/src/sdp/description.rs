//! What a session description says, and where in its bytes it says it.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::media::{Channel, Direction};

/// A session description (RFC 8866): its bytes, and the span of every line.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionDescription {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: Vec<Line>,
    pub(super) origin: Option<Origin>,
    pub(super) session: Section,
    pub(super) media: Vec<MediaDescription>,
}

/// As its bytes.
impl Serialize for SessionDescription {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

/// From its bytes, which must parse.
impl<'de> Deserialize<'de> for SessionDescription {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        Self::parse(&bytes).map_err(D::Error::custom)
    }
}

/// One line, as spans of the description's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The letter before `=`; 0 for a line of another form, which is kept.
    pub(super) kind: u8,
    /// With its line end.
    pub(super) whole: Range<usize>,
    /// After `=`, without the line end.
    pub(super) value: Range<usize>,
}

/// The lines of the session level or of one media description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Indexes into [`SessionDescription::lines`].
    pub(super) lines: Range<usize>,
    /// `c=` lines: index of the line, and what it says.
    pub(super) connections: Vec<(usize, Connection)>,
    /// Direction attributes: index of the line, and what it says.
    pub(super) directions: Vec<(usize, Direction)>,
    /// `a=ptime`, ms.
    pub(super) ptime: Option<u32>,
    /// `a=maxptime`, ms.
    pub(super) maxptime: Option<u32>,
    /// `a=crypto`, `a=fingerprint` or `a=key-mgmt` is there.
    pub(super) encrypted: bool,
    /// `a=key-mgmt` is there.
    pub(super) keyed_elsewhere: bool,
    /// `a=ice-ufrag` or `a=candidate` is there.
    pub(super) ice: bool,
    /// `a=group:BUNDLE` (RFC 9143): index of the line, and the streams' `mid`s.
    pub(super) bundles: Vec<(usize, Vec<String>)>,
    pub(super) channel: Channel,
}

/// The `o=` line (RFC 8866 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// User name; `-` where the host has none.
    pub username: String,
    /// Session id: digits, as written.
    pub sess_id: String,
    /// Session version; rises with every change of the description.
    pub sess_version: u64,
    /// Address type: `IP4`, `IP6`.
    pub address_type: String,
    /// Address of the host that made the session, as written.
    pub address: String,
    pub(super) version_span: Range<usize>,
}

/// A `c=` line (RFC 8866 §5.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Where media is to be sent.
    pub address: ConnectionAddress,
    /// Time to live of an IPv4 multicast address.
    pub ttl: Option<u8>,
    /// Number of consecutive multicast addresses, where written.
    pub count: Option<u32>,
}

impl Connection {
    /// The address, if it is one and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.address {
            ConnectionAddress::Ip(ip) => Some(ip),
            ConnectionAddress::Name(_) => None,
        }
    }

    /// On hold in the old form (RFC 2543 §B.5): `0.0.0.0` or `::`.
    pub fn is_null(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

/// Address of a `c=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionAddress {
    /// An address.
    Ip(IpAddr),
    /// A host name, or an address of a network type that is not `IN`.
    Name(String),
}

/// `a=rtpmap` (RFC 8866 §6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name as written.
    pub name: String,
    /// Clock rate, Hz.
    pub clock_rate: u32,
    /// Channels, where written.
    pub channels: Option<u8>,
}

/// `a=rtcp` (RFC 3605 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcpAttribute {
    /// Port of RTCP.
    pub port: u16,
    /// Its address, where it differs from that of RTP.
    pub address: Option<IpAddr>,
}

/// A media description: an `m=` line and what belongs to it (RFC 8866 §5.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDescription {
    /// `audio`, `video`, `image`, ….
    pub kind: String,
    /// Port; 0: rejected or ended (RFC 3264 §6, §8.2).
    pub port: u16,
    /// Number of consecutive port pairs (`m=audio 49170/2`); 1 where not written.
    pub port_count: u32,
    /// `RTP/AVP`, `RTP/SAVP`, `udptl`, ….
    pub proto: String,
    /// Formats as written; for RTP, payload types.
    pub formats: Vec<String>,
    /// Its `c=`, or else the session level's.
    pub connection: Option<Connection>,
    /// Direction: its own attribute, else the session level's, else `sendrecv`.
    pub direction: Direction,
    /// `a=rtcp`.
    pub rtcp: Option<RtcpAttribute>,
    /// `a=rtcp-mux` (RFC 5761) is there: in an offer a wish, in an answer agreed.
    pub rtcp_mux: bool,
    /// `a=rtpmap`, in order.
    pub rtpmaps: Vec<RtpMap>,
    /// `a=fmtp`: payload type and parameters as written.
    pub fmtps: Vec<(u8, String)>,
    /// `a=ptime`, ms.
    pub ptime: Option<u32>,
    /// `a=maxptime`, ms.
    pub maxptime: Option<u32>,
    /// Keys or fingerprints of encrypted media at either level (`a=crypto`,
    /// `a=fingerprint`, `a=key-mgmt`).
    pub encrypted: bool,
    /// ICE attributes at either level (RFC 8839).
    pub ice: bool,
    /// Its keys and candidates.
    pub(super) channel: Channel,
    /// `a=mid` (RFC 5888).
    pub(super) mid: Option<String>,
    /// `a=bundle-only` (RFC 9143 §6).
    pub(super) bundle_only: bool,
    pub(super) section: Section,
    pub(super) port_span: Range<usize>,
    pub(super) proto_span: Range<usize>,
    /// From the first format to the last; empty, at the end, where there is none.
    pub(super) formats_span: Range<usize>,
}

impl MediaDescription {
    /// On hold, in any of the three forms: `sendonly`, `inactive`, or a null
    /// address (RFC 3264 §8.4).
    pub fn is_hold(&self) -> bool {
        matches!(self.direction, Direction::SendOnly | Direction::Inactive)
            || self.connection.as_ref().is_some_and(Connection::is_null)
    }

    /// Whether `c=` is its own and not the session level's.
    pub fn has_own_connection(&self) -> bool {
        !self.section.connections.is_empty()
    }
}

impl fmt::Debug for SessionDescription {
    /// Without its bytes, which may hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionDescription")
            .field("bytes", &self.bytes.len())
            .field("origin", &self.origin)
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}

impl SessionDescription {
    /// The bytes, as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The `o=` line; `None` where the describer left it out.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The media descriptions in order; a stream is known by its index
    /// (RFC 3264 §8).
    pub fn media(&self) -> &[MediaDescription] {
        &self.media
    }

    /// The session level's `c=`.
    pub fn connection(&self) -> Option<&Connection> {
        self.session.connections.first().map(|(_, c)| c)
    }

    /// Whether any live audio is on hold; a fresh description's is not.
    pub fn is_hold(&self) -> bool {
        self.media
            .iter()
            .any(|m| m.kind == "audio" && m.port != 0 && m.is_hold())
    }

    /// The line end that the describer writes: of the first line that has one.
    pub(super) fn line_end(&self) -> &'static [u8] {
        match self.bytes.iter().position(|&b| b == b'\n') {
            Some(at) if at == 0 || self.bytes.get(at - 1) != Some(&b'\r') => b"\n",
            _ => b"\r\n",
        }
    }

    /// Bytes of a span of this description.
    pub(super) fn text(&self, span: &Range<usize>) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }
}
