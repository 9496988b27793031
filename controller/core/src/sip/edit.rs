//! Single spans of a message changed, everything else as it came.

use std::ops::Range;

use super::header::Name;
use super::message::{Message, Start};
use crate::splice::Splice;

/// Edits of one message; nothing happens to the message itself.
///
/// ```text
/// MessageEdit::new(&message).set_body(sdp).set_cseq(3).finish()
/// ```
///
/// Values must not hold line ends; those that do lose them.
#[derive(Debug, Clone)]
pub struct MessageEdit<'a> {
    message: &'a Message,
    splice: Splice,
    /// Length of the new body.
    body: Option<usize>,
}

impl<'a> MessageEdit<'a> {
    /// No edit yet: [`MessageEdit::finish`] gives the message's own bytes.
    pub fn new(message: &'a Message) -> Self {
        Self {
            message,
            splice: Splice::default(),
            body: None,
        }
    }

    /// Another body. Content-Length follows, in the form in which it stands;
    /// where there is none it is inserted. Content-Type stays: see
    /// [`MessageEdit::set_content_type`].
    #[must_use]
    pub fn set_body(mut self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let span = self.message.body.clone();
        if span.is_empty() {
            self.splice.insert(span.start, body);
        } else {
            self.splice.replace(span, body);
        }
        self.body = Some(body.len());
        self
    }

    /// Another session description where the message has one: as its body, or in
    /// its part of a multipart body, whose other parts stay. A message without
    /// one gets it as its body.
    #[must_use]
    pub fn set_session(mut self, session: impl AsRef<[u8]>) -> Self {
        let session = session.as_ref();
        let body = self.message.body.clone();
        match self.message.session_span() {
            Some(span) if span != body => {
                self.body = Some(body.len() - span.len() + session.len());
                self.splice.replace(span, session);
                self
            }
            Some(_) => self.set_body(session),
            None => self.set_body(session).set_content_type("application/sdp"),
        }
    }

    /// Another Content-Type; inserted where there is none.
    #[must_use]
    pub fn set_content_type(self, value: &str) -> Self {
        self.set_header_value(Name::CONTENT_TYPE, value)
    }

    /// Another number in CSeq; the method stays.
    #[must_use]
    pub fn set_cseq(mut self, number: u32) -> Self {
        // All of them: a message may repeat it, but not contradict itself.
        for field in self.message.fields(Name::CSEQ) {
            let digits = self
                .message
                .text(&field.value)
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            let span = field.value.start..field.value.start + digits;
            self.splice.replace(span, number.to_string());
        }
        self
    }

    /// Another Request-URI; a response stays as it is.
    #[must_use]
    pub fn set_uri(mut self, uri: impl AsRef<[u8]>) -> Self {
        if let Start::Request { uri: span, .. } = &self.message.start {
            self.splice.replace(span.clone(), one_line(uri.as_ref()));
        }
        self
    }

    /// Another value for the first header of this name; its name stays as
    /// written. Where there is none, the header is added after all others.
    #[must_use]
    pub fn set_header_value(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
        let value = one_line(value.as_ref());
        match self.message.field(name) {
            Some(field) if field.value.is_empty() => {
                self.splice
                    .insert(field.value.start, [b" ".as_slice(), &value].concat());
            }
            Some(field) => self.splice.replace(field.value.clone(), value),
            None => return self.append_header(name, value),
        }
        self
    }

    /// A header more, after the last one of `after`; where there is none, after
    /// all others.
    #[must_use]
    pub fn insert_header_after(mut self, after: Name, name: Name, value: impl AsRef<[u8]>) -> Self {
        match self.message.fields(after).last() {
            Some(field) => self.insert_line(field.whole.end, name, value.as_ref()),
            None => return self.append_header(name, value),
        }
        self
    }

    /// A header more, before all others: the place of a new topmost Via, Route
    /// or Record-Route.
    #[must_use]
    pub fn prepend_header(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
        self.insert_line(self.message.start_line.end, name, value.as_ref());
        self
    }

    /// A header more, after all others.
    #[must_use]
    pub fn append_header(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
        self.insert_line(self.end_of_headers(), name, value.as_ref());
        self
    }

    /// Every header of this name goes.
    #[must_use]
    pub fn remove_header(mut self, name: Name) -> Self {
        for field in self.message.fields(name) {
            self.splice.remove(field.whole.clone());
        }
        self
    }

    /// The first element of this list header goes, and its line if it stands
    /// alone: the topmost Via of a response, the Route that was followed.
    #[must_use]
    pub fn remove_first_element(mut self, name: Name) -> Self {
        let Some(field) = self.message.field(name) else {
            return self;
        };
        match self.message.element_spans(field).as_slice() {
            [first, second, ..] => self.splice.remove(first.start..second.start),
            _ => self.splice.remove(field.whole.clone()),
        }
        self
    }

    /// Another first element of this list header, e.g. the topmost Via; the
    /// others of its line stay.
    #[must_use]
    pub fn set_first_element(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
        let field = self.message.field(name);
        match field.and_then(|f| self.message.element_spans(f).into_iter().next()) {
            Some(first) => {
                let value = one_line(value.as_ref());
                self.splice.replace(first, value);
                self
            }
            None => self.set_header_value(name, value),
        }
    }

    /// The edited bytes.
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(length) = self.body {
            self.content_length(length);
        }
        self.splice.apply(&self.message.bytes)
    }

    fn content_length(&mut self, length: usize) {
        let spans: Vec<Range<usize>> = self
            .message
            .fields(Name::CONTENT_LENGTH)
            .map(|field| field.value.clone())
            .collect();
        if spans.is_empty() {
            let value = length.to_string();
            self.insert_line(
                self.end_of_headers(),
                Name::CONTENT_LENGTH,
                value.as_bytes(),
            );
        }
        for span in spans {
            let written = self.message.text(&span);
            let known = std::str::from_utf8(written)
                .ok()
                .and_then(|t| t.parse().ok());
            if known != Some(length) {
                self.splice.replace(span, length.to_string());
            }
        }
    }

    /// Before the empty line.
    fn end_of_headers(&self) -> usize {
        let last = self.message.headers.last();
        last.map_or(self.message.start_line.end, |field| field.whole.end)
    }

    fn insert_line(&mut self, at: usize, name: Name, value: &[u8]) {
        let line = [
            name.as_str().as_bytes(),
            b": ",
            &one_line(value),
            self.message.line_end(),
        ]
        .concat();
        self.splice.insert(at, line);
    }
}

/// A value without line ends: what is written cannot become a second header.
pub(super) fn one_line(value: &[u8]) -> Vec<u8> {
    value
        .iter()
        .map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b })
        .collect()
}
