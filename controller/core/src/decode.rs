//! Messages as people see them: what `sidestep decode` prints.
//!
//! In: one SIP message or session description. Out: a view to be serialised
//! ([`MessageView`], [`SdpView`]), or the same bytes with another media address
//! ([`rewrite_media`]), by the path that the engine takes. An H.248 message is its
//! own view ([`crate::h248::model`]); [`crate::h248::rewrite_media`] rewrites it.
//!
//! The views' field names are stable. Bytes that are not UTF-8 show as U+FFFD;
//! nothing is read back from a view.

mod mgcp;

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

pub use mgcp::{DescriptionView, MgcpView, PacketView, rewrite_mgcp};

use crate::h248::H248Error;
use crate::media::{Codec, Direction, Media};
use crate::sdp::{
    AudioError, AudioReplacement, Connection, ConnectionAddress, MediaDescription, SdpError,
    SessionDescription,
};
use crate::sip::{Message, MessageEdit, Name, NameAddr, SipError, StartLine, Via};

/// A SIP message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageView {
    /// `request` or `response`.
    pub kind: &'static str,
    /// The request's method; of a response, that of CSeq.
    pub method: String,
    /// Request-URI as written; null in a response.
    pub uri: Option<String>,
    /// Status code; null in a request.
    pub status: Option<u16>,
    /// Reason phrase; null in a request.
    pub reason: Option<String>,
    /// Call-ID.
    pub call_id: String,
    /// CSeq's number.
    pub cseq: u32,
    /// From.
    pub from: AddressView,
    /// To.
    pub to: AddressView,
    /// Vias, topmost first.
    pub vias: Vec<ViaView>,
    /// Contacts.
    pub contacts: Vec<AddressView>,
    /// Routes, topmost first.
    pub routes: Vec<AddressView>,
    /// Record-Routes, topmost first.
    pub record_routes: Vec<AddressView>,
    /// Every header in order, also those above.
    pub headers: Vec<HeaderView>,
    /// Content-Type with its parameters.
    pub content_type: Option<String>,
    /// Offset of the body's first byte.
    pub body_offset: usize,
    /// Length of the body, bytes.
    pub body_length: usize,
    /// Bytes after the body, which belong to no message.
    pub trailing_length: usize,
    /// The body, if it is a session description that can be read.
    pub sdp: Option<SdpView>,
    /// Why it cannot be read, if it is one.
    pub sdp_error: Option<String>,
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderView {
    /// Long name where it was written compact, else as written; empty for a line
    /// that is no header.
    pub name: String,
    /// Value in one line.
    pub value: String,
}

/// An address (From, To, Contact, Route, Record-Route).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressView {
    /// URI as written.
    pub uri: String,
    /// `tag`; null where there is none.
    pub tag: Option<String>,
}

/// A Via.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViaView {
    /// `UDP`, `TCP`, ….
    pub transport: String,
    /// Host and port as written.
    pub sent_by: String,
    /// `branch`.
    pub branch: Option<String>,
    /// `received`.
    pub received: Option<String>,
    /// `rport`, where it has a value.
    pub rport: Option<u16>,
}

/// A session description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SdpView {
    /// `o=`; null where there is none.
    pub origin: Option<OriginView>,
    /// The session level's `c=`; null where there is none.
    pub connection: Option<ConnectionView>,
    /// The streams in order.
    pub media: Vec<MediaView>,
    /// The stream that Sidestep can bypass; null where there is none.
    pub audio: Option<AudioView>,
    /// Why there is none; null where there is one.
    pub audio_error: Option<String>,
}

/// `o=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OriginView {
    /// User name.
    pub username: String,
    /// Session id.
    pub sess_id: String,
    /// Session version.
    pub sess_version: u64,
    /// Address as written.
    pub address: String,
}

/// `c=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    /// Address or name.
    pub address: String,
    /// Time to live of a multicast address.
    pub ttl: Option<u8>,
    /// Number of multicast addresses.
    pub count: Option<u32>,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MediaView {
    /// `audio`, `video`, ….
    pub kind: String,
    /// Port; 0 is a rejected stream.
    pub port: u16,
    /// Number of port pairs.
    pub port_count: u32,
    /// Transport, `RTP/AVP`, ….
    pub proto: String,
    /// Formats as written.
    pub formats: Vec<String>,
    /// `c=`, its own or the session level's.
    pub connection: Option<ConnectionView>,
    /// Whether `c=` is the session level's.
    pub connection_inherited: bool,
    /// Direction, its own, the session level's or the default.
    pub direction: Direction,
    /// On hold, in any of its three forms.
    pub hold: bool,
    /// Port of `a=rtcp`.
    pub rtcp_port: Option<u16>,
    /// Address of `a=rtcp`, where it has one.
    pub rtcp_address: Option<IpAddr>,
    /// `a=rtcp-mux` is there.
    pub rtcp_mux: bool,
    /// Codecs, in order of preference.
    pub codecs: Vec<Codec>,
    /// `a=ptime`, ms.
    pub ptime: Option<u32>,
    /// `a=maxptime`, ms.
    pub maxptime: Option<u32>,
    /// Keys or fingerprints are there.
    pub encrypted: bool,
    /// ICE attributes are there.
    pub ice: bool,
}

/// The stream that Sidestep can bypass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AudioView {
    /// Its index in `media`.
    pub index: usize,
    /// Its media.
    #[serde(flatten)]
    pub media: Media,
}

/// Why a message does not get another media address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// Neither SIP nor a session description.
    #[error(transparent)]
    Sip(#[from] SipError),
    /// Not H.248.
    #[error(transparent)]
    H248(#[from] H248Error),
    /// Not MGCP.
    #[error(transparent)]
    Mgcp(#[from] crate::mgcp::MgcpError),
    /// Its body is no session description, or it has none.
    #[error("the message has no session description as its body")]
    NoSdp,
    /// The session description cannot be understood.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// Sidestep would leave it alone.
    #[error("left alone: {0}")]
    Audio(#[from] AudioError),
}

/// The message as it would leave with `media` as its audio's address: a SIP
/// message with a session description as body, or a bare session description.
/// RTCP follows to `media`'s port + 1. All other bytes are those of the original;
/// a null address (hold) stays null.
///
/// # Errors
///
/// Where Sidestep would leave the message alone; nothing is rewritten then.
pub fn rewrite_media(bytes: &[u8], media: SocketAddr) -> Result<Vec<u8>, RewriteError> {
    if bytes.starts_with(b"v=") {
        return rewrite_sdp(&SessionDescription::parse(bytes)?, media);
    }
    let message = Message::parse(bytes)?;
    let sdp = message.sdp().ok_or(RewriteError::NoSdp)??;
    let body = rewrite_sdp(&sdp, media)?;
    Ok(MessageEdit::new(&message).set_body(body).finish())
}

fn rewrite_sdp(sdp: &SessionDescription, media: SocketAddr) -> Result<Vec<u8>, RewriteError> {
    let (index, _) = sdp.audio()?;
    Ok(sdp.replace_audio(index, &AudioReplacement::address(media)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl MessageView {
    /// The view of a message.
    pub fn new(message: &Message) -> Self {
        let (cseq, method) = message.cseq();
        let (kind, uri, status, reason) = match message.start() {
            StartLine::Request { uri, .. } => ("request", Some(text(uri)), None, None),
            StartLine::Response { status, reason } => {
                ("response", None, Some(status), Some(text(reason)))
            }
        };
        let (sdp, sdp_error) = match message.sdp() {
            None => (None, None),
            Some(Ok(sdp)) => (Some(SdpView::new(&sdp)), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        let addresses = |name| message.headers(name).filter_map(AddressView::new).collect();
        let address = |name| {
            let value = message.header(name).and_then(AddressView::new);
            // `Message::parse` has read both From and To.
            value.unwrap_or(AddressView {
                uri: String::new(),
                tag: None,
            })
        };
        Self {
            kind,
            method: method.to_string(),
            uri,
            status,
            reason,
            call_id: text(message.call_id()),
            cseq,
            from: address(Name::FROM),
            to: address(Name::TO),
            vias: message.vias().map(ViaView::new).collect(),
            contacts: addresses(Name::CONTACT),
            routes: addresses(Name::ROUTE),
            record_routes: addresses(Name::RECORD_ROUTE),
            headers: message
                .all_headers()
                .map(|(name, value)| HeaderView {
                    name: text(Name::long_form(name)),
                    value: text(value),
                })
                .collect(),
            content_type: message.header(Name::CONTENT_TYPE).map(text),
            body_offset: message.body_offset(),
            body_length: message.body().len(),
            trailing_length: message.trailing().len(),
            sdp,
            sdp_error,
        }
    }
}

impl AddressView {
    fn new(value: &[u8]) -> Option<Self> {
        let address = NameAddr::parse(value)?;
        Some(Self {
            uri: text(address.uri),
            tag: address.parameter("tag").map(text),
        })
    }
}

impl ViaView {
    fn new(via: Via<'_>) -> Self {
        Self {
            transport: text(via.transport),
            sent_by: text(via.sent_by),
            branch: via.branch.map(text),
            received: via.received.map(text),
            rport: via.rport.flatten(),
        }
    }
}

impl SdpView {
    /// The view of a session description.
    pub fn new(sdp: &SessionDescription) -> Self {
        let (audio, audio_error) = match sdp.audio() {
            Ok((index, media)) => (Some(AudioView { index, media }), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            origin: sdp.origin().map(|origin| OriginView {
                username: origin.username.clone(),
                sess_id: origin.sess_id.clone(),
                sess_version: origin.sess_version,
                address: origin.address.clone(),
            }),
            connection: sdp.connection().map(ConnectionView::new),
            media: sdp.media().iter().map(MediaView::new).collect(),
            audio,
            audio_error,
        }
    }
}

impl ConnectionView {
    fn new(connection: &Connection) -> Self {
        Self {
            address: match &connection.address {
                ConnectionAddress::Ip(ip) => ip.to_string(),
                ConnectionAddress::Name(name) => name.clone(),
            },
            ttl: connection.ttl,
            count: connection.count,
        }
    }
}

impl MediaView {
    fn new(media: &MediaDescription) -> Self {
        Self {
            kind: media.kind.clone(),
            port: media.port,
            port_count: media.port_count,
            proto: media.proto.clone(),
            formats: media.formats.clone(),
            connection: media.connection.as_ref().map(ConnectionView::new),
            connection_inherited: media.connection.is_some() && !media.has_own_connection(),
            direction: media.direction,
            hold: media.is_hold(),
            rtcp_port: media.rtcp.map(|rtcp| rtcp.port),
            rtcp_address: media.rtcp.and_then(|rtcp| rtcp.address),
            rtcp_mux: media.rtcp_mux,
            codecs: media.codecs(),
            ptime: media.ptime,
            maxptime: media.maxptime,
            encrypted: media.encrypted,
            ice: media.ice,
        }
    }
}
