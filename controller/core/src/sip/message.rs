//! A message: its bytes, and where in them everything stands.

use std::fmt;
use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::header::{HeaderField, Name, Via, list_spans, split_list};
pub use super::method::Method;
use super::multipart;
use super::uri::NameAddr;
use crate::digits::number;
use crate::sdp::{SdpError, SessionDescription};

/// A SIP message that could be understood; see [`Message::parse`].
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) start: Start,
    pub(super) start_line: Range<usize>,
    pub(super) headers: Vec<HeaderField>,
    /// After the empty line.
    pub(super) head_end: usize,
    pub(super) body: Range<usize>,
    pub(super) cseq: (u32, Method),
}

/// As its bytes.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

/// From its bytes, which must parse.
impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        Self::parse(&bytes).map_err(D::Error::custom)
    }
}

impl fmt::Debug for Message {
    /// Without its bytes, which may hold keys and credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = String::from_utf8_lossy(self.text(&self.start_line));
        f.debug_struct("Message")
            .field("start_line", &line.trim_end())
            .field("cseq", &self.cseq)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: Method, uri: Range<usize> },
    Response { status: u16, reason: Range<usize> },
}

/// The start line (RFC 3261 §7.1, §7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Of a request.
    Request {
        /// The method.
        method: Method,
        /// The Request-URI as written.
        uri: &'a [u8],
    },
    /// Of a response.
    Response {
        /// Status code, 100 to 699.
        status: u16,
        /// Reason phrase as written.
        reason: &'a [u8],
    },
}

impl Message {
    /// The bytes, as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The start line.
    pub fn start(&self) -> StartLine<'_> {
        match &self.start {
            Start::Request { method, uri } => StartLine::Request {
                method: method.clone(),
                uri: self.text(uri),
            },
            Start::Response { status, reason } => StartLine::Response {
                status: *status,
                reason: self.text(reason),
            },
        }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The request's method; of a response, that of the request it answers
    /// (CSeq).
    pub fn method(&self) -> &Method {
        &self.cseq.1
    }

    /// The Request-URI as written, of a request.
    pub fn uri(&self) -> Option<&[u8]> {
        match &self.start {
            Start::Request { uri, .. } => Some(self.text(uri)),
            Start::Response { .. } => None,
        }
    }

    /// The status code, of a response.
    pub fn status(&self) -> Option<u16> {
        match &self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(*status),
        }
    }

    /// The value of the first header of this name, in one line.
    pub fn header(&self, name: Name) -> Option<&[u8]> {
        self.field(name).map(|field| self.value(field))
    }

    /// The elements of all headers of this name, in order, split at commas
    /// (RFC 3261 §7.3.1). For names whose values are lists: Via, Route,
    /// Record-Route, Contact, Require, Supported, ….
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.fields(name)
            .flat_map(|field| split_list(self.value(field)))
    }

    /// The values of all headers of this name, in order, not split: for names
    /// whose values have commas of their own (Authorization).
    pub fn header_values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.fields(name).map(|field| self.value(field))
    }

    /// Every header: name as written, and value in one line. A line that is no
    /// header has an empty name.
    pub fn all_headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers
            .iter()
            .map(|field| (self.text(&field.name), self.value(field)))
    }

    /// Call-ID.
    pub fn call_id(&self) -> &[u8] {
        self.header(Name::CALL_ID).unwrap_or_default()
    }

    /// CSeq: number and method.
    pub fn cseq(&self) -> (u32, Method) {
        self.cseq.clone()
    }

    /// `tag` of From.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.tag(Name::FROM)
    }

    /// `tag` of To.
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.tag(Name::TO)
    }

    /// URI of From, as written.
    pub fn from_uri(&self) -> &[u8] {
        self.address(Name::FROM).map_or(&[], |address| address.uri)
    }

    /// URI of To, as written.
    pub fn to_uri(&self) -> &[u8] {
        self.address(Name::TO).map_or(&[], |address| address.uri)
    }

    /// The topmost Via.
    pub fn top_via(&self) -> Via<'_> {
        const NONE: Via<'static> = Via {
            transport: b"UDP",
            sent_by: b"",
            host: b"",
            port: None,
            branch: None,
            received: None,
            rport: None,
        };
        // `parse` has refused a message whose topmost Via cannot be read.
        self.vias().next().unwrap_or(NONE)
    }

    /// The Vias that can be read, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Via<'_>> {
        self.headers(Name::VIA).filter_map(Via::parse)
    }

    /// URI of the first Contact, as written; `*` where that is what it says.
    pub fn contact_uri(&self) -> Option<&[u8]> {
        let contact = self.headers(Name::CONTACT).next()?;
        NameAddr::parse(contact).map(|address| address.uri)
    }

    /// The body; empty where there is none.
    pub fn body(&self) -> &[u8] {
        self.text(&self.body)
    }

    /// Offset of the body's first byte.
    pub fn body_offset(&self) -> usize {
        self.body.start
    }

    /// Bytes that came after the body in the same datagram.
    pub fn trailing(&self) -> &[u8] {
        self.bytes.get(self.body.end..).unwrap_or_default()
    }

    /// Content-Type without parameters, as written.
    pub fn content_type(&self) -> Option<&[u8]> {
        let value = self.header(Name::CONTENT_TYPE)?;
        value.split(|&b| b == b';').next().map(<[u8]>::trim_ascii)
    }

    /// Whether the whole body describes the session, plainly encoded. A multipart
    /// body does not: it is left whole. Nor does one of another disposition, e.g.
    /// `early-session` (RFC 3959 §4).
    pub fn is_sdp(&self) -> bool {
        const DISPOSITION: Name = Name::new("Content-Disposition");
        let is = |name, what: &[u8]| {
            let value = self.header(name)?;
            let value = value.split(|&b| b == b';').next()?;
            Some(value.trim_ascii().eq_ignore_ascii_case(what))
        };
        !self.body.is_empty()
            && is(Name::CONTENT_TYPE, b"application/sdp") == Some(true)
            && is(Name::CONTENT_ENCODING, b"identity") != Some(false)
            && is(DISPOSITION, b"session") != Some(false)
    }

    /// The body as a session description, if it is one.
    pub fn sdp(&self) -> Option<Result<SessionDescription, SdpError>> {
        self.is_sdp()
            .then(|| SessionDescription::parse(self.body()))
    }

    /// The session description that the message carries: its body, or the one
    /// part of a `multipart/mixed` body that describes the session (RFC 5621
    /// §3.1). The other parts (ISUP, PIDF-LO, …) are nobody's business here.
    pub fn session(&self) -> Option<&[u8]> {
        self.session_span().map(|span| self.text(&span))
    }

    pub(super) fn session_span(&self) -> Option<Range<usize>> {
        if self.is_sdp() {
            return Some(self.body.clone());
        }
        let kind = self.header(Name::CONTENT_TYPE)?;
        let plain = self.header(Name::CONTENT_ENCODING).is_none();
        multipart::session(kind, self.body())
            .filter(|_| plain)
            .map(|part| self.body.start + part.start..self.body.start + part.end)
    }

    /// `Expires`, s, if it can be read.
    pub fn expires(&self) -> Option<u32> {
        number(self.header(Name::EXPIRES)?)
    }

    /// Whether Require names this option tag.
    pub fn requires(&self, option: &str) -> bool {
        self.lists(Name::REQUIRE, option)
    }

    /// Whether Supported names this option tag.
    pub fn supports(&self, option: &str) -> bool {
        self.lists(Name::SUPPORTED, option)
    }

    fn lists(&self, name: Name, token: &str) -> bool {
        self.headers(name)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    fn tag(&self, name: Name) -> Option<&[u8]> {
        self.address(name)?
            .parameter("tag")
            .filter(|tag| !tag.is_empty())
    }

    fn address(&self, name: Name) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(name)?)
    }

    pub(super) fn field(&self, name: Name) -> Option<&HeaderField> {
        self.fields(name).next()
    }

    pub(super) fn fields(&self, name: Name) -> impl Iterator<Item = &HeaderField> {
        self.headers
            .iter()
            .filter(move |field| name.matches(self.text(&field.name)))
    }

    /// Spans of a list header's elements, where no fold separates them from what
    /// is written.
    pub(super) fn element_spans(&self, field: &HeaderField) -> Vec<Range<usize>> {
        list_spans(self.text(&field.value))
            .map(|span| field.value.start + span.start..field.value.start + span.end)
            .collect()
    }

    pub(super) fn value<'a>(&'a self, field: &'a HeaderField) -> &'a [u8] {
        match &field.unfolded {
            Some(unfolded) => unfolded,
            None => self.text(&field.value),
        }
    }

    pub(super) fn text(&self, span: &Range<usize>) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }

    /// The line end that the sender writes: of the start line.
    pub(super) fn line_end(&self) -> &'static [u8] {
        if self.text(&self.start_line).ends_with(b"\r\n") {
            b"\r\n"
        } else {
            b"\n"
        }
    }
}
