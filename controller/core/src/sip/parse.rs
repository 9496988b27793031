//! From bytes to spans.

use std::ops::Range;

use super::header::{HeaderField, Name, Via, is_name, split_list, trimmed};
use super::message::{Message, Start};
use super::method::Method;
use super::uri::NameAddr;
use crate::digits::number;

/// Why bytes are no SIP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SipError {
    /// Nothing but line ends or zero bytes: a keep-alive (RFC 5626 §3.5.1).
    #[error("no message: a keep-alive")]
    KeepAlive,
    /// Not SIP, or not to be understood.
    #[error("SIP line {line}, byte {offset}: {what}")]
    Malformed {
        /// Offset from the first byte.
        offset: usize,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong; a text that does not vary with the input.
        what: &'static str,
    },
}

impl SipError {
    /// Where it is wrong.
    pub fn offset(&self) -> usize {
        match self {
            Self::KeepAlive => 0,
            Self::Malformed { offset, .. } => *offset,
        }
    }

    /// What is wrong, in words that do not vary with the input.
    pub fn what(&self) -> &'static str {
        match self {
            Self::KeepAlive => "a keep-alive",
            Self::Malformed { what, .. } => what,
        }
    }
}

impl Message {
    /// Reads the one message of a datagram (RFC 3261 §18.3): the body is as long
    /// as Content-Length says, or the rest of the datagram without one. Bytes
    /// after the body are kept, but are not body.
    ///
    /// # Errors
    ///
    /// [`SipError::KeepAlive`] where there is no message; otherwise where the
    /// start line, a header that every message has (Via, From, To, Call-ID,
    /// CSeq; RFC 3261 §8.1.1) or Content-Length cannot be understood, or the
    /// body is shorter than that.
    pub fn parse(bytes: &[u8]) -> Result<Self, SipError> {
        Reader { bytes }.message()
    }
}

/// What a framer has to know of a message.
pub(super) struct Head {
    /// Header fields.
    pub fields: usize,
    /// Offset of the body.
    pub end: usize,
    /// Content-Length.
    pub content_length: Option<usize>,
}

/// The head of the message that `bytes` begin with; its empty line is there.
pub(super) fn head(bytes: &[u8]) -> Result<Head, SipError> {
    let reader = Reader { bytes };
    let start = reader.line(0).map_or(0, |line| line.whole.end);
    let (headers, end) = reader.headers(start)?;
    Ok(Head {
        fields: headers.len(),
        end,
        content_length: reader.content_length(&headers)?,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
}

/// A line: all of it, and without its line end.
struct RawLine {
    whole: Range<usize>,
    content: Range<usize>,
}

impl<'a> Reader<'a> {
    fn fail(&self, offset: usize, what: &'static str) -> SipError {
        let before = self.bytes.get(..offset).unwrap_or(self.bytes);
        SipError::Malformed {
            offset,
            line: 1 + before.iter().filter(|&&b| b == b'\n').count(),
            what,
        }
    }

    fn text(&self, span: &Range<usize>) -> &'a [u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }

    /// The line at `start`; `None` where no line end follows.
    fn line(&self, start: usize) -> Option<RawLine> {
        let rest = self.bytes.get(start..)?;
        let length = rest.iter().position(|&b| b == b'\n')?;
        let mut end = start + length;
        let whole = start..end + 1;
        if end > start && self.bytes.get(end - 1) == Some(&b'\r') {
            end -= 1;
        }
        Some(RawLine {
            whole,
            content: start..end,
        })
    }

    /// Where the start line begins: line ends before it are skipped (RFC 3261
    /// §7.5), and the zero bytes that some send as a keep-alive.
    fn first(&self) -> Option<usize> {
        self.bytes
            .iter()
            .position(|b| !matches!(b, b'\r' | b'\n' | 0))
    }

    fn message(&self) -> Result<Message, SipError> {
        let first = self.first().ok_or(SipError::KeepAlive)?;
        let start_line = self
            .line(first)
            .ok_or_else(|| self.fail(first, "the start line does not end"))?;
        let start = self.start(&trimmed(self.bytes, start_line.content.clone()))?;
        let (headers, head_end) = self.headers(start_line.whole.end)?;
        let body = self.body(&headers, head_end)?;
        let mut message = Message {
            bytes: self.bytes.to_vec(),
            start,
            start_line: start_line.whole,
            headers,
            head_end,
            body,
            cseq: (0, Method::Ack),
        };
        self.check_mandatory(&mut message)?;
        Ok(message)
    }

    fn start(&self, content: &Range<usize>) -> Result<Start, SipError> {
        let text = self.text(content);
        let bad = |what| self.fail(content.start, what);
        if let Some(prefix) = text.get(..8)
            && prefix.eq_ignore_ascii_case(b"SIP/2.0 ")
        {
            let rest = content.start + 8..content.end;
            let digits = self.text(&rest).get(..3).unwrap_or_default();
            let after = self.text(&rest).get(3);
            let status: u16 = match number(digits) {
                Some(status)
                    if (100..700).contains(&status) && after.is_none_or(|b| *b == b' ') =>
                {
                    status
                }
                _ => return Err(bad("the status code is not 100 to 699")),
            };
            let reason = trimmed(self.bytes, rest.start + 3..rest.end);
            return Ok(Start::Response { status, reason });
        }
        let space = text.iter().position(|&b| b == b' ');
        let version = text.iter().rposition(|&b| b == b' ');
        let (Some(space), Some(version)) = (space, version) else {
            return Err(bad(
                "the start line is neither a request's nor a response's",
            ));
        };
        let written = text.get(version + 1..).unwrap_or_default();
        if !written.eq_ignore_ascii_case(b"SIP/2.0") {
            return Err(bad("the start line does not name SIP/2.0"));
        }
        let method = Method::from_token(text.get(..space).unwrap_or_default())
            .ok_or_else(|| bad("the method is not a token"))?;
        let uri = trimmed(
            self.bytes,
            content.start + space..content.start + version.max(space),
        );
        if uri.is_empty() {
            return Err(bad("the request has no URI"));
        }
        Ok(Start::Request { method, uri })
    }

    /// The header fields from `start`, and where the body begins.
    fn headers(&self, start: usize) -> Result<(Vec<HeaderField>, usize), SipError> {
        let mut headers: Vec<HeaderField> = Vec::new();
        let mut at = start;
        loop {
            let line = self
                .line(at)
                .ok_or_else(|| self.fail(at, "no empty line ends the header"))?;
            at = line.whole.end;
            let content = self.text(&line.content);
            if content.is_empty() {
                break;
            }
            if matches!(content.first(), Some(b' ' | b'\t')) {
                if let Some(folded) = headers.last_mut() {
                    folded.value.end = line.content.end;
                    folded.whole.end = line.whole.end;
                    continue;
                }
                return Err(self.fail(line.content.start, "a fold that continues no header"));
            }
            headers.push(self.field(&line, content));
        }
        for field in &mut headers {
            field.value = trimmed(self.bytes, field.value.clone());
            let value = self.text(&field.value);
            if value.contains(&b'\n') {
                field.unfolded = Some(unfold(value));
            }
        }
        Ok((headers, at))
    }

    fn field(&self, line: &RawLine, content: &[u8]) -> HeaderField {
        let colon = content.iter().position(|&b| b == b':');
        let name = colon.map(|colon| {
            let written = line.content.start..line.content.start + colon;
            trimmed(self.bytes, written)
        });
        let (name, value) = match (name, colon) {
            (Some(name), Some(colon)) if is_name(self.text(&name)) => {
                (name, line.content.start + colon + 1..line.content.end)
            }
            // No header: kept, and never found by name.
            _ => (line.content.start..line.content.start, line.content.clone()),
        };
        HeaderField {
            name,
            value,
            whole: line.whole.clone(),
            unfolded: None,
        }
    }

    fn body(&self, headers: &[HeaderField], start: usize) -> Result<Range<usize>, SipError> {
        let rest = self.bytes.len().saturating_sub(start);
        let length = self.content_length(headers)?.unwrap_or(rest);
        if length > rest {
            let mut fields = headers.iter();
            let field = fields.find(|f| Name::CONTENT_LENGTH.matches(self.text(&f.name)));
            let at = field.map_or(start, |field| field.value.start);
            return Err(self.fail(at, "the body is shorter than its Content-Length"));
        }
        Ok(start..start + length)
    }

    /// Content-Length; more than one must say the same.
    fn content_length(&self, headers: &[HeaderField]) -> Result<Option<usize>, SipError> {
        let mut length = None;
        for field in headers {
            if !Name::CONTENT_LENGTH.matches(self.text(&field.name)) {
                continue;
            }
            let at = field.value.start;
            let number = number(self.text(&field.value))
                .ok_or_else(|| self.fail(at, "Content-Length is not a number"))?;
            if length.is_some_and(|known| known != number) {
                return Err(self.fail(at, "two different Content-Lengths"));
            }
            length = Some(number);
        }
        Ok(length)
    }

    /// A message has one of each of these (RFC 3261 §7.3.1): with two that differ
    /// nobody knows which dialog it belongs to.
    fn check_single(&self, message: &Message) -> Result<(), SipError> {
        for (name, what) in [
            (Name::FROM, "two different From headers"),
            (Name::TO, "two different To headers"),
            (Name::CALL_ID, "two different Call-ID headers"),
            (Name::CSEQ, "two different CSeq headers"),
        ] {
            let first = message.header(name);
            for other in message.fields(name) {
                if Some(message.value(other)) != first {
                    return Err(self.fail(other.whole.start, what));
                }
            }
        }
        Ok(())
    }

    fn check_mandatory(&self, message: &mut Message) -> Result<(), SipError> {
        self.check_single(message)?;
        let end = message.headers.last();
        let end = end.map_or(message.start_line.end, |field| field.whole.end);
        let missing = |what| self.fail(end, what);
        let at = |name| message.field(name).map_or(0, |field| field.value.start);
        let via = message
            .header(Name::VIA)
            .ok_or_else(|| missing("no Via header"))?;
        let top = split_list(via).next().and_then(Via::parse);
        if top.is_none() {
            return Err(self.fail(at(Name::VIA), "the topmost Via cannot be read"));
        }
        for (name, absent, unreadable) in [
            (Name::FROM, "no From header", "From cannot be read"),
            (Name::TO, "no To header", "To cannot be read"),
        ] {
            let value = message.header(name).ok_or_else(|| missing(absent))?;
            if NameAddr::parse(value).is_none() {
                return Err(self.fail(at(name), unreadable));
            }
        }
        if message.header(Name::CALL_ID).is_none_or(<[u8]>::is_empty) {
            return Err(missing("no Call-ID header"));
        }
        let value = message
            .header(Name::CSEQ)
            .ok_or_else(|| missing("no CSeq header"))?;
        let cseq = read_cseq(value)
            .ok_or_else(|| self.fail(at(Name::CSEQ), "CSeq is not a number and a method"))?;
        if let Start::Request { method, .. } = &message.start
            && *method != cseq.1
        {
            return Err(self.fail(at(Name::CSEQ), "CSeq names another method than the request"));
        }
        message.cseq = cseq;
        Ok(())
    }
}

/// `<number> <method>` (RFC 3261 §20.16); the number is below 2³¹ (§8.1.1.5).
fn read_cseq(value: &[u8]) -> Option<(u32, Method)> {
    let space = value.iter().position(u8::is_ascii_whitespace)?;
    let (digits, method) = value.split_at_checked(space)?;
    let number: u32 = number(digits).filter(|n| *n < 1 << 31)?;
    Some((number, Method::from_token(method.trim_ascii())?))
}

/// Each line end with the white space around it becomes one space (RFC 3261
/// §7.3.1).
fn unfold(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (index, line) in value.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(line.trim_ascii());
    }
    out
}
