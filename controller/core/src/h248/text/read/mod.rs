//! From bytes to the model, in one pass: Annex B, construct by construct.
//!
//! Tolerant where senders differ and the meaning is plain (order of parts, case,
//! white space, version 3 constructs in messages of earlier versions); anything
//! else is an error, and the message is forwarded as it came.

mod action;
mod audit;
mod descriptor;
mod event;
mod media;
mod name;
mod service_change;
mod signal;
mod value;

use super::cursor::{Cursor, FEW, Read, SEVERAL};
use super::token::Token;
use crate::digits::number;
use crate::h248::H248Error;
use crate::h248::model::{
    AckRange, Authentication, Body, Message, Octets, Reply, ReplyResult, Request, Segment,
    SegmentReply, Span, Transaction,
};

/// Reads a message.
///
/// # Errors
///
/// Where the bytes do not follow Annex B, or anything but white space follows the
/// message.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, H248Error> {
    Cursor::new(bytes).message().map_err(|error| *error)
}

impl<'a> Cursor<'a> {
    fn message(&mut self) -> Read<Message<'a>> {
        let construct = "megacoMessage";
        self.skip();
        let mut at = self.at();
        let mut word = self.word(construct)?;
        let mut authentication = None;
        if Token::of(word) == Some(Token::Authentication) {
            authentication = Some(self.authentication()?);
            at = self.at();
            word = self.word(construct)?;
        }
        let slash = word.iter().position(|&b| b == b'/');
        let (protocol, version) = word.split_at(slash.unwrap_or(word.len()));
        if Token::of(protocol) != Some(Token::Megaco) {
            return Err(self.error_at(at, construct, "does not begin with MEGACO/ or !/"));
        }
        let version = version.strip_prefix(b"/").and_then(number);
        let version = version
            .filter(|version| (1..=99).contains(version))
            .ok_or_else(|| self.error_at(at, construct, "the version is not 1 to 99"))?;
        self.skip();
        let mid = self.mid()?;
        self.skip();
        let (body, spans) = self.body()?;
        Ok(Message {
            authentication,
            version,
            mid,
            body,
            spans,
        })
    }

    /// `= SecurityParmIndex : SequenceNum : AuthData`, each in hexadecimal.
    fn authentication(&mut self) -> Read<Authentication<'a>> {
        let construct = "authenticationHeader";
        self.equal(construct)?;
        let spi = self.hexadecimal_number(construct)?;
        self.expect(b':', construct, ": is missing")?;
        let sequence = self.hexadecimal_number(construct)?;
        self.expect(b':', construct, ": is missing")?;
        let data = self.hexadecimal(construct)?;
        self.skip();
        Ok(Authentication {
            spi,
            sequence,
            data: Octets::from(data),
        })
    }

    fn hexadecimal_number(&mut self, construct: &'static str) -> Read<u32> {
        let at = self.at();
        let digits = self.hexadecimal(construct)?;
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.error_at(at, construct, "not a number of 32 bits"))
    }

    /// The digits after `0x`.
    fn hexadecimal(&mut self, construct: &'static str) -> Read<&'a [u8]> {
        let at = self.at();
        let word = self.word(construct)?;
        word.strip_prefix(b"0x")
            .or_else(|| word.strip_prefix(b"0X"))
            .filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
            .ok_or_else(|| self.error_at(at, construct, "not hexadecimal"))
    }

    fn body(&mut self) -> Read<(Body<'a>, Vec<Span>)> {
        let mut transactions = Vec::with_capacity(FEW);
        let mut spans = Vec::with_capacity(FEW);
        loop {
            let at = self.at();
            let body = match self.token("messageBody")? {
                Token::Error if transactions.is_empty() => Some(Body::Error(self.error_parts()?)),
                Token::Transaction => {
                    transactions.push(Transaction::Request(self.request()?));
                    None
                }
                Token::Reply => {
                    transactions.push(Transaction::Reply(self.reply()?));
                    None
                }
                Token::Pending => {
                    transactions.push(self.pending()?);
                    None
                }
                Token::ResponseAck => {
                    transactions.push(Transaction::ResponseAck(self.response_ack()?));
                    None
                }
                Token::Segment => {
                    transactions.push(Transaction::Segment(self.segment_reply()?));
                    None
                }
                _ => return Err(self.error_at(at, "messageBody", "not a transaction")),
            };
            let span = self.since(at);
            self.skip();
            match body {
                Some(body) if self.is_at_end() => return Ok((body, spans)),
                Some(_) => return Err(self.error("messageBody", "something follows the message")),
                None => spans.push(span),
            }
            if self.is_at_end() {
                return Ok((Body::Transactions(transactions), spans));
            }
        }
    }

    fn request(&mut self) -> Read<Request<'a>> {
        let construct = "transactionRequest";
        self.equal(construct)?;
        let (id, id_span) = self.spanned_number(construct)?;
        let mut actions = Vec::with_capacity(FEW);
        self.braced(construct, false, |c| {
            actions.push(c.action_request()?);
            Ok(())
        })?;
        Ok(Request {
            id,
            actions,
            id_span,
        })
    }

    fn reply(&mut self) -> Read<Reply<'a>> {
        let construct = "transactionReply";
        self.equal(construct)?;
        let (id, segment, id_span) = self.segmented(construct)?;
        let mut immediate_ack = false;
        let mut error = None;
        let mut actions = Vec::with_capacity(FEW);
        self.braced(construct, false, |c| {
            let at = c.at();
            match c.token(construct)? {
                Token::ImmAckRequired => immediate_ack = true,
                Token::Error => error = Some(c.error_parts()?),
                Token::Context => actions.push(c.action_reply()?),
                _ => return Err(c.error_at(at, construct, "neither Context nor Error")),
            }
            Ok(())
        })?;
        let result = match error {
            Some(error) if actions.is_empty() => ReplyResult::Error(error),
            Some(_) => return Err(self.error(construct, "both Context and Error")),
            None => ReplyResult::Actions(actions),
        };
        Ok(Reply {
            id,
            segment,
            immediate_ack,
            result,
            id_span,
        })
    }

    /// `id [/number [/END]]`.
    fn segmented(&mut self, construct: &'static str) -> Read<(u32, Option<Segment>, Span)> {
        let start = self.at();
        let word = self.word(construct)?;
        let mut parts = word.split(|&b| b == b'/');
        let digits = parts.next().unwrap_or_default();
        let id_span = Span {
            start,
            end: start + digits.len(),
        };
        let wrong = |c: &Self| c.error_at(start, construct, "a number is missing or too large");
        let id = number(digits).ok_or_else(|| wrong(self))?;
        let Some(segment) = parts.next() else {
            return Ok((id, None, id_span));
        };
        let segment = Segment {
            number: number(segment).ok_or_else(|| wrong(self))?,
            complete: match parts.next() {
                None => false,
                Some(end) if Token::of(end) == Some(Token::End) => true,
                Some(_) => return Err(wrong(self)),
            },
        };
        Ok((id, Some(segment), id_span))
    }

    fn segment_reply(&mut self) -> Read<SegmentReply> {
        let construct = "segmentReply";
        self.equal(construct)?;
        let (id, segment, id_span) = self.segmented(construct)?;
        Ok(SegmentReply {
            id,
            segment: segment.ok_or_else(|| self.error(construct, "its number is missing"))?,
            id_span,
        })
    }

    fn pending(&mut self) -> Read<Transaction<'a>> {
        let construct = "transactionPending";
        self.equal(construct)?;
        let (id, id_span) = self.spanned_number(construct)?;
        self.expect(b'{', construct, "{ is missing")?;
        self.expect(b'}', construct, "} is missing")?;
        Ok(Transaction::Pending { id, id_span })
    }

    fn response_ack(&mut self) -> Read<Vec<AckRange>> {
        let construct = "transactionResponseAck";
        let mut ranges = Vec::with_capacity(SEVERAL);
        self.braced(construct, false, |c| {
            let at = c.at();
            let word = c.word(construct)?;
            let (first, last) = match word.iter().position(|&b| b == b'-') {
                None => (number(word), number(word)),
                Some(dash) => {
                    let (first, last) = word.split_at(dash);
                    (number(first), last.get(1..).and_then(number))
                }
            };
            let (Some(first), Some(last)) = (first, last) else {
                return Err(c.error_at(at, construct, "neither an id nor a range of ids"));
            };
            ranges.push(AckRange { first, last });
            Ok(())
        })?;
        Ok(ranges)
    }
}
