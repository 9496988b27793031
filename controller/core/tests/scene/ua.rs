//! A user agent as far as a test wants one: it writes requests and responses of
//! one dialog, and decides nothing.

use sidestep_core::sip::{Message, Name};

use super::{GATEWAY, REGISTRAR, TC, VM, text};

#[derive(Debug, Clone)]
pub struct Ua {
    /// Its user, e.g. `vm`.
    pub user: &'static str,
    /// Where it is.
    pub here: &'static str,
    /// Whom it talks with.
    pub there: &'static str,
    pub call_id: String,
    pub tag: String,
    /// From or To of the other side, once known.
    pub remote: String,
    /// Request-URI of requests in the dialog.
    pub target: String,
    pub cseq: u32,
    /// Via branch of the last request.
    pub branch: String,
    sent: u32,
}

impl Ua {
    fn new(user: &'static str, here: &'static str, there: &'static str, call_id: &str) -> Self {
        Self {
            user,
            here,
            there,
            call_id: call_id.into(),
            tag: format!("{user}tag"),
            remote: format!("<sip:peer@{there}>"),
            target: format!("sip:peer@{there}"),
            cseq: 0,
            branch: String::new(),
            sent: 0,
        }
    }

    pub fn vm() -> Self {
        Self::new("vm", VM, GATEWAY, "call-1@test")
    }

    pub fn gateway() -> Self {
        Self::new("gw", GATEWAY, VM, "call-1@test")
    }

    /// The thin client; it learns its dialog from the INVITE.
    pub fn tc() -> Self {
        Self::new("tc", TC, REGISTRAR, "")
    }

    /// The other side's identity, target and Call-ID, from a message of the
    /// dialog.
    pub fn learn(&mut self, message: &Message) {
        let name = if message.is_request() {
            Name::FROM
        } else {
            Name::TO
        };
        self.remote = text(message.header(name).unwrap());
        self.call_id = text(message.call_id());
        if let Some(uri) = message.contact_uri() {
            self.target = text(uri);
        }
    }

    /// A request; a body is a session description. `extra`: header lines.
    pub fn request_with(&mut self, method: &str, extra: &str, body: &str) -> String {
        if method != "ACK" && method != "CANCEL" {
            self.cseq += 1;
        }
        if method != "CANCEL" {
            self.sent += 1;
            self.branch = format!("z9hG4bK{}{}", self.user, self.sent);
        }
        self.write(method, extra, body)
    }

    pub fn request(&mut self, method: &str, body: &str) -> String {
        self.request_with(method, "", body)
    }

    /// The ACK of a refusal: of the same transaction (RFC 3261 §17.1.1.3).
    pub fn ack_refusal(&self, refusal: &Message) -> String {
        let mut ua = self.clone();
        ua.remote = text(refusal.header(Name::TO).unwrap());
        ua.write("ACK", "", "")
    }

    fn write(&self, method: &str, extra: &str, body: &str) -> String {
        let Self {
            user,
            here,
            call_id,
            tag,
            remote,
            target,
            cseq,
            branch,
            ..
        } = self;
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch={branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{here}>;tag={tag}\r\nTo: {remote}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{user}@{here}>\r\n\
             X-Odd:   kept  as it is\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// A response to a request; a body is a session description.
    pub fn response_with(&self, request: &Message, status: u16, extra: &str, body: &str) -> String {
        let mut lines = String::new();
        for value in request.header_values(Name::VIA) {
            lines += &format!("Via: {}\r\n", text(value));
        }
        for value in request.header_values(Name::RECORD_ROUTE) {
            lines += &format!("Record-Route: {}\r\n", text(value));
        }
        let mut to = text(request.header(Name::TO).unwrap());
        if request.to_tag().is_none() && status > 100 {
            to += &format!(";tag={}", self.tag);
        }
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "SIP/2.0 {status} as said\r\n{lines}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:{}@{}>\r\nX-Odd:   kept  as it is\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            text(request.header(Name::FROM).unwrap()),
            text(request.call_id()),
            text(request.header(Name::CSEQ).unwrap()),
            self.user,
            self.here,
            body.len()
        )
    }

    pub fn response(&self, request: &Message, status: u16, body: &str) -> String {
        self.response_with(request, status, "", body)
    }
}
