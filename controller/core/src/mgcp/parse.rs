//! From bytes to spans. Tolerant: only what Sidestep must understand can be wrong;
//! every other line is kept as it is.

use std::ops::Range;

use super::message::{Field, Id, Packet, Spans, Start};
use super::verb::Verb;
use crate::digits::number;

/// Why bytes are no MGCP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MGCP line {line}, byte {offset}: {what}")]
pub struct MgcpError {
    /// Offset from the datagram's first byte.
    pub offset: usize,
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong; a text that does not vary with the input.
    pub what: &'static str,
}

/// The largest transaction id (RFC 3435 §3.2.1.2).
const LARGEST_TRANSACTION: u32 = 999_999_999;

impl Packet {
    /// Reads the messages of a datagram: the first, and those that follow it after
    /// lines of a single dot (RFC 3435 §3.5.5).
    ///
    /// # Errors
    ///
    /// Where a start line cannot be understood, or there is none at all. Then
    /// nothing of the datagram is: who reads one message and not another would
    /// answer some transactions twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, MgcpError> {
        let reader = Reader { bytes };
        let mut messages = Vec::new();
        let mut at = 0;
        while let Some((message, next)) = reader.message(at)? {
            messages.push(message);
            at = next;
        }
        if messages.is_empty() {
            return Err(reader.fail(0, "no message"));
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            messages,
        })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

/// A line: all of it, and without its line end.
struct Line {
    whole: Range<usize>,
    content: Range<usize>,
}

impl<'a> Reader<'a> {
    fn fail(&self, offset: usize, what: &'static str) -> MgcpError {
        let before = self.bytes.get(..offset).unwrap_or(self.bytes);
        MgcpError {
            offset,
            line: 1 + before.iter().filter(|&&b| b == b'\n').count(),
            what,
        }
    }

    fn text(&self, span: &Range<usize>) -> &'a [u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }

    /// The line at `start`; the last one need not end. `None`: no byte is left.
    fn line(&self, start: usize) -> Option<Line> {
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|&b| b == b'\n');
        let whole = start..start + length.map_or(rest.len(), |length| length + 1);
        let mut content = start..start + length.unwrap_or(rest.len());
        if self.text(&content).ends_with(b"\r") {
            content.end -= 1;
        }
        Some(Line { whole, content })
    }

    /// Without white space at its ends; the zero bytes that some end a datagram
    /// with count as such.
    fn trimmed(&self, span: Range<usize>) -> Range<usize> {
        let text = self.text(&span);
        let blank = |b: &&u8| matches!(b, b' ' | b'\t' | b'\r' | 0);
        let front = text.iter().take_while(blank).count();
        let back = text.iter().rev().take_while(blank).count();
        let start = span.start + front;
        start..(span.end - back.min(span.end - span.start)).max(start)
    }

    fn is_blank(&self, line: &Line) -> bool {
        self.trimmed(line.content.clone()).is_empty()
    }

    fn is_dot(&self, line: &Line) -> bool {
        self.text(&self.trimmed(line.content.clone())) == b"."
    }

    /// The message whose first line is the next that is not empty, and where the
    /// one after it may begin.
    fn message(&self, from: usize) -> Result<Option<(Spans, usize)>, MgcpError> {
        let mut at = from;
        let first = loop {
            let Some(line) = self.line(at) else {
                return Ok(None);
            };
            at = line.whole.end;
            if !self.is_blank(&line) {
                break line;
            }
        };
        let begin = first.whole.start;
        let start = self.start(&self.trimmed(first.content))?;
        let mut fields = Vec::new();
        let mut bodies: Vec<Range<usize>> = Vec::new();
        // In the header; then whether a description goes on.
        let mut header = true;
        let mut open = false;
        let mut end = at;
        while let Some(line) = self.line(at) {
            at = line.whole.end;
            if self.is_dot(&line) {
                break;
            }
            end = at;
            if self.is_blank(&line) {
                header = false;
                open = false;
            } else if header {
                fields.push(self.field(&line.content));
            } else if open && let Some(body) = bodies.last_mut() {
                body.end = line.whole.end;
            } else {
                bodies.push(line.whole);
                open = true;
            }
        }
        let spans = Spans {
            whole: begin..end,
            start,
            fields,
            bodies,
        };
        Ok(Some((spans, at)))
    }

    /// The words of a line, by white space.
    fn words(&self, content: &Range<usize>) -> Vec<Range<usize>> {
        let mut words = Vec::new();
        let mut at = content.start;
        for word in self.text(content).split(|&b| b == b' ' || b == b'\t') {
            if !word.is_empty() {
                words.push(at..at + word.len());
            }
            at += word.len() + 1;
        }
        words
    }

    fn start(&self, content: &Range<usize>) -> Result<Start, MgcpError> {
        let words = self.words(content);
        let first = words.first().cloned().unwrap_or(content.clone());
        let text = self.text(&first);
        if text.first().is_some_and(u8::is_ascii_digit) {
            return self.response(content, &words);
        }
        let verb = Verb::from_token(text).ok_or_else(|| {
            let what = "the first line has neither a verb nor a response code";
            self.fail(first.start, what)
        })?;
        let transaction = self.transaction(words.get(1), content.end)?;
        let endpoint = words
            .get(2)
            .cloned()
            .ok_or_else(|| self.fail(content.end, "the command has no endpoint name"))?;
        let version = match words.get(3) {
            Some(word) if self.text(word).eq_ignore_ascii_case(b"MGCP") => word.start..content.end,
            Some(word) => return Err(self.fail(word.start, "the command does not name MGCP")),
            None => return Err(self.fail(content.end, "the command does not name MGCP")),
        };
        let numbered = words.get(4).is_some_and(|word| {
            let text = self.text(word);
            let mut parts = text.splitn(2, |&b| b == b'.');
            let digits = |part: Option<&[u8]>| {
                part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
            };
            digits(parts.next()) && digits(parts.next())
        });
        if !numbered {
            return Err(self.fail(version.start, "the command has no version of MGCP"));
        }
        Ok(Start::Command {
            verb,
            transaction,
            endpoint,
            version,
        })
    }

    fn response(&self, content: &Range<usize>, words: &[Range<usize>]) -> Result<Start, MgcpError> {
        let code = words.first().cloned().unwrap_or(content.clone());
        let code: u16 = match self.text(&code) {
            digits @ [_, _, _] => number(digits),
            _ => None,
        }
        .ok_or_else(|| self.fail(content.start, "the response code is not three digits"))?;
        let transaction = self.transaction(words.get(1), content.end)?;
        let mut rest = words.get(2);
        let package = rest
            .filter(|word| self.text(word).starts_with(b"/"))
            .map(|word| word.start + 1..word.end);
        if package.is_some() {
            rest = words.get(3);
        }
        let phrase = rest.map_or(content.end, |word| word.start)..content.end;
        Ok(Start::Response {
            code,
            transaction,
            package,
            phrase,
        })
    }

    /// One to nine digits; more than that with leading zeros do no harm.
    fn transaction(&self, word: Option<&Range<usize>>, otherwise: usize) -> Result<Id, MgcpError> {
        let what = "the transaction id is not a number of up to nine digits";
        let at = word.map_or(otherwise, |word| word.start);
        word.and_then(|word| {
            let number = number::<u32>(self.text(word))?;
            let span = word.clone();
            (number <= LARGEST_TRANSACTION).then_some(Id { number, span })
        })
        .ok_or_else(|| self.fail(at, what))
    }

    fn field(&self, content: &Range<usize>) -> Field {
        let text = self.text(content);
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'/' | b'_');
        let colon = text.iter().position(|&b| b == b':');
        let name = colon.map(|colon| self.trimmed(content.start..content.start + colon));
        match (name, colon) {
            (Some(name), Some(colon))
                if !name.is_empty() && self.text(&name).iter().all(is_name) =>
            {
                Field {
                    name,
                    value: self.trimmed(content.start + colon + 1..content.end),
                }
            }
            // No parameter: kept, and never found by name.
            _ => Field {
                name: content.start..content.start,
                value: self.trimmed(content.clone()),
            },
        }
    }
}
