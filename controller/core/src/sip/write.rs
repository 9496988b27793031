//! Messages of our own.

use super::edit::one_line;
use super::header::Name;
use super::message::Message;
use super::method::Method;

/// The headers and body of a message being written.
#[derive(Debug, Clone, Default)]
struct Parts {
    headers: Vec<u8>,
    body: Option<(String, Vec<u8>)>,
}

impl Parts {
    fn header(&mut self, name: &str, value: &[u8]) {
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(b": ");
        self.headers.extend_from_slice(&one_line(value));
        self.headers.extend_from_slice(b"\r\n");
    }

    fn finish(mut self, start_line: Vec<u8>) -> Vec<u8> {
        let body = self.body.take();
        if let Some((content_type, _)) = &body {
            self.header(Name::CONTENT_TYPE.as_str(), content_type.as_bytes());
        }
        let body = body.map(|(_, body)| body).unwrap_or_default();
        // Mandatory over streams, and over UDP it keeps the body whole
        // (RFC 3261 §18.3).
        let length = body.len().to_string();
        self.header(Name::CONTENT_LENGTH.as_str(), length.as_bytes());
        let start_line = one_line(&start_line);
        [
            &start_line,
            b"\r\n".as_slice(),
            &self.headers,
            b"\r\n",
            &body,
        ]
        .concat()
    }
}

macro_rules! shared_setters {
    () => {
        /// A header, in the order of the calls. Line ends in the value become
        /// spaces.
        #[must_use]
        pub fn header(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
            self.parts.header(name.as_str(), value.as_ref());
            self
        }

        /// A header written by rsip's typed form.
        #[must_use]
        pub fn typed(mut self, header: impl Into<rsip::Header>) -> Self {
            let line = header.into().to_string();
            if let Some((name, value)) = line.split_once(':') {
                self.parts.header(name.trim(), value.trim().as_bytes());
            }
            self
        }

        /// The body and its Content-Type.
        #[must_use]
        pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
            self.parts.body = Some((content_type.to_owned(), body.into()));
            self
        }

        /// A session description as body.
        #[must_use]
        pub fn sdp(self, sdp: impl Into<Vec<u8>>) -> Self {
            self.body("application/sdp", sdp)
        }
    };
}

/// A request of our own (RFC 3261 §8.1.1). The caller gives the headers;
/// Content-Type and Content-Length follow from the body.
#[derive(Debug, Clone)]
pub struct RequestBuilder {
    start_line: Vec<u8>,
    method: Method,
    parts: Parts,
}

impl RequestBuilder {
    /// A request to this Request-URI.
    pub fn new(method: Method, uri: impl AsRef<[u8]>) -> Self {
        let start_line = [method.as_str().as_bytes(), b" ", uri.as_ref(), b" SIP/2.0"].concat();
        Self {
            start_line,
            method,
            parts: Parts::default(),
        }
    }

    /// Via over UDP, asking for `rport` (RFC 3581).
    #[must_use]
    pub fn via(self, sent_by: impl std::fmt::Display, branch: &str) -> Self {
        self.via_over("UDP", sent_by, branch)
    }

    /// Via over this transport (`UDP`, `TCP`, `TLS`, …), asking for `rport`.
    #[must_use]
    pub fn via_over(self, transport: &str, sent_by: impl std::fmt::Display, branch: &str) -> Self {
        let value = format!("SIP/2.0/{transport} {sent_by};branch={branch};rport");
        self.header(Name::VIA, value)
    }

    /// Max-Forwards, 70 (RFC 3261 §8.1.1.6).
    #[must_use]
    pub fn max_forwards(self) -> Self {
        self.typed(rsip::headers::MaxForwards::from(70))
    }

    /// CSeq with this request's method.
    #[must_use]
    pub fn cseq(self, number: u32) -> Self {
        let value = format!("{number} {}", self.method);
        self.header(Name::CSEQ, value)
    }

    shared_setters!();

    /// The request's bytes.
    pub fn build(self) -> Vec<u8> {
        self.parts.finish(self.start_line)
    }
}

/// A response of our own to a request (RFC 3261 §8.2.6).
#[derive(Debug, Clone)]
pub struct ResponseBuilder {
    start_line: Vec<u8>,
    parts: Parts,
}

impl ResponseBuilder {
    /// A response with the request's Vias, From, To, Call-ID and CSeq as they
    /// came, and, where it makes a dialog, its Record-Routes (RFC 3261 §12.1.1).
    ///
    /// To gets `to_tag` unless it has a tag already or the status is 100
    /// (§8.2.6.2).
    pub fn new(request: &Message, status: u16, to_tag: Option<&str>) -> Self {
        let mut parts = Parts::default();
        for value in request.header_values(Name::VIA) {
            parts.header(Name::VIA.as_str(), value);
        }
        let makes_dialog = *request.method() == Method::Invite && (101..300).contains(&status);
        if makes_dialog {
            for value in request.header_values(Name::RECORD_ROUTE) {
                parts.header(Name::RECORD_ROUTE.as_str(), value);
            }
        }
        let from = request.header(Name::FROM).unwrap_or_default();
        parts.header(Name::FROM.as_str(), from);
        let mut to = request.header(Name::TO).unwrap_or_default().to_vec();
        if let Some(tag) = to_tag.filter(|_| request.to_tag().is_none() && status != 100) {
            to.extend_from_slice(b";tag=");
            to.extend_from_slice(tag.as_bytes());
        }
        parts.header(Name::TO.as_str(), &to);
        parts.header(Name::CALL_ID.as_str(), request.call_id());
        let cseq = request.header(Name::CSEQ).unwrap_or_default();
        parts.header(Name::CSEQ.as_str(), cseq);
        Self {
            start_line: format!("SIP/2.0 {status} {}", reason_phrase(status)).into_bytes(),
            parts,
        }
    }

    shared_setters!();

    /// The response's bytes.
    pub fn build(self) -> Vec<u8> {
        self.parts.finish(self.start_line)
    }
}

/// The reason phrase of a status code (RFC 3261 §21 and its updates).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        606 => "Not Acceptable",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Client Error",
            5 => "Server Error",
            _ => "Global Failure",
        },
    }
}
