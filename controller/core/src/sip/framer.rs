//! Where in a byte stream a SIP message ends (RFC 3261 §18.3, §20.14).

use crate::sip::SipError;
use crate::sip::parse::head;
use crate::stream::{Framer, Front, Limits, Unframed};

/// Cuts a stream at its Content-Lengths. It looks at every byte once, however
/// small the segments are that bring them.
#[derive(Debug, Clone)]
pub struct SipFramer {
    limits: Limits,
    /// Bytes at the front that hold no end of a header.
    scanned: usize,
    /// The first line is there, and is one of SIP.
    is_sip: bool,
    /// Length of the message at the front, once its header is there.
    whole: Option<usize>,
    /// Bytes still to come of a message that is left alone.
    skip: usize,
}

impl SipFramer {
    /// At the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            scanned: 0,
            is_sip: false,
            whole: None,
            skip: 0,
        }
    }

    /// Refuses what cannot be SIP, as far as the first line is there: something
    /// else (TLS, HTTP, binary) must not wait for an empty line.
    fn check_first_line(&mut self, front: &[u8]) -> Result<(), Unframed> {
        if self.is_sip {
            return Ok(());
        }
        let news = front.get(self.scanned..).unwrap_or_default();
        let end = news.iter().position(|&b| b == b'\n');
        let control = |b: &u8| *b < b' ' && !matches!(b, b'\t' | b'\r');
        let news = news.get(..end.unwrap_or(news.len())).unwrap_or(news);
        if news.iter().any(control) {
            return Err(Unframed("what comes is not SIP"));
        }
        if let Some(end) = end {
            let line = front.get(..self.scanned + end).unwrap_or(front);
            if !line.windows(4).any(|w| w.eq_ignore_ascii_case(b"SIP/")) {
                return Err(Unframed("what comes is not SIP"));
            }
            self.is_sip = true;
        }
        Ok(())
    }

    /// At the end of a message.
    fn begin_anew(&mut self) {
        self.scanned = 0;
        self.is_sip = false;
        self.whole = None;
    }

    /// Length of the message at the front, whose header ends there.
    fn measure<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed> {
        let head = head(front).map_err(unframed)?;
        let length = head
            .content_length
            .ok_or(Unframed("no Content-Length header in a stream"))?;
        let whole = head
            .end
            .checked_add(length)
            .ok_or(Unframed("Content-Length is not a number"))?;
        let too_much = if whole > self.limits.message {
            Some("a message over the size limit")
        } else if head.fields > self.limits.headers {
            Some("a message over the limit of headers")
        } else {
            None
        };
        Ok(match too_much {
            Some(why) => {
                self.skip = whole;
                self.skipped(front, Some(why))
            }
            None => {
                self.whole = Some(whole);
                Front::Incomplete
            }
        })
    }

    fn skipped<'a>(&mut self, front: &'a [u8], why: Option<&'static str>) -> Front<'a> {
        let length = self.skip.min(front.len());
        self.skip -= length;
        self.begin_anew();
        Front::untouched(front, length, why)
    }
}

impl Framer for SipFramer {
    fn is_amid(&self) -> bool {
        self.skip > 0
    }

    fn front<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed> {
        if front.is_empty() {
            return Ok(Front::Incomplete);
        }
        if self.skip > 0 {
            return Ok(self.skipped(front, None));
        }
        if self.whole.is_none() {
            // Line ends between messages are somebody's keep-alive (RFC 5626
            // §3.5.1): they do not wait for a message (§7.5).
            let empty = front
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n' | 0))
                .count();
            if empty > 0 {
                return Ok(Front::untouched(front, empty, None));
            }
            self.check_first_line(front)?;
            match header_end(front, self.scanned) {
                Some(end) => {
                    // What comes after the header is not looked at.
                    let front = front.get(..end).unwrap_or(front);
                    let found = self.measure(front)?;
                    if found != Front::Incomplete {
                        return Ok(found);
                    }
                }
                None if front.len() > self.limits.message => {
                    return Err(Unframed("the header is too long"));
                }
                None => {
                    self.scanned = front.len();
                    return Ok(Front::Incomplete);
                }
            }
        }
        match self.whole {
            Some(whole) if whole <= front.len() => {
                self.begin_anew();
                Ok(Front::message(front, whole, 0..whole))
            }
            _ => Ok(Front::Incomplete),
        }
    }
}

/// Header fields of a message whose header is there.
pub(crate) fn head_fields(message: &[u8]) -> Option<usize> {
    let end = header_end(message, 0)?;
    Some(head(message.get(..end)?).ok()?.fields)
}

fn unframed(error: SipError) -> Unframed {
    Unframed(error.what())
}

/// Where the header ends, after its empty line; the first `scanned` bytes are
/// known to have no such end.
fn header_end(front: &[u8], scanned: usize) -> Option<usize> {
    let from = scanned.saturating_sub(2);
    let mut at = from;
    while let Some(found) = front.get(at..)?.iter().position(|&b| b == b'\n') {
        at += found + 1;
        match front.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}
