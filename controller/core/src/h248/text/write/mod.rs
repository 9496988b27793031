//! Messages of our own, in either form of Annex B.

mod command;
mod descriptor;
mod event;
mod media;
mod name;
mod output;

use output::Output;

use super::token::Token;
use crate::h248::Encoding;
use crate::h248::model::{Body, Message, Reply, ReplyResult, Segment, Transaction};

/// `message` as text: long tokens and line ends ([`Encoding::Pretty`]), or short
/// tokens and no space that is not needed (anything else).
///
/// Names in numbers become text where Annex E knows them; what it does not know
/// has no text, and is written as hexadecimal numbers that no gateway will take:
/// build messages from names.
pub fn write(message: &Message<'_>, encoding: Encoding) -> Vec<u8> {
    let mut out = Output::new(encoding == Encoding::Pretty);
    if let Some(authentication) = &message.authentication {
        out.token(Token::Authentication);
        out.equal();
        out.text(&format!(
            "0x{:08X}:0x{:08X}:0x",
            authentication.spi, authentication.sequence
        ));
        out.bytes(&authentication.data);
        out.line();
    }
    out.token(Token::Megaco);
    out.text(&format!("/{} ", message.version));
    out.mid(&message.mid);
    out.separate();
    match &message.body {
        Body::Error(error) => out.error(error),
        Body::Transactions(transactions) => {
            for transaction in transactions {
                out.transaction(transaction);
                out.line();
            }
        }
    }
    out.finish()
}

impl Output {
    fn transaction(&mut self, transaction: &Transaction<'_>) {
        match transaction {
            Transaction::Request(request) => {
                self.token(Token::Transaction);
                self.equal();
                self.number(request.id);
                self.open();
                for action in &request.actions {
                    self.item();
                    self.action_request(action);
                }
                self.close();
            }
            Transaction::Reply(reply) => self.reply(reply),
            Transaction::Pending { id, .. } => {
                self.token(Token::Pending);
                self.equal();
                self.number(*id);
                self.open();
                self.close();
            }
            Transaction::ResponseAck(ranges) => {
                self.token(Token::ResponseAck);
                self.open();
                for range in ranges {
                    self.item();
                    self.number(range.first);
                    if range.last != range.first {
                        self.text("-");
                        self.number(range.last);
                    }
                }
                self.close();
            }
            Transaction::Segment(segment) => {
                self.token(Token::Segment);
                self.equal();
                self.number(segment.id);
                self.segment(segment.segment);
            }
        }
    }

    fn reply(&mut self, reply: &Reply<'_>) {
        self.token(Token::Reply);
        self.equal();
        self.number(reply.id);
        if let Some(segment) = reply.segment {
            self.segment(segment);
        }
        self.open();
        if reply.immediate_ack {
            self.item();
            self.token(Token::ImmAckRequired);
        }
        match &reply.result {
            ReplyResult::Error(error) => {
                self.item();
                self.error(error);
            }
            ReplyResult::Actions(actions) => {
                for action in actions {
                    self.item();
                    self.action_reply(action);
                }
            }
        }
        self.close();
    }

    fn segment(&mut self, segment: Segment) {
        self.text("/");
        self.number(segment.number.into());
        if segment.complete {
            self.text("/");
            self.token(Token::End);
        }
    }
}
