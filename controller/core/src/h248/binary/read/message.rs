//! Messages and transactions (H.248.1 §8, Annex A).

use super::command::{action_reply, action_request};
use super::name::m_id;
use super::value::error_descriptor;
use super::{Fields, chosen, content_span, sequences, whole_span};
use crate::h248::binary::ber::{Element, Failure};
use crate::h248::model::{
    AckRange, Authentication, Body, Message, Reply, ReplyResult, Request, Segment, SegmentReply,
    Span, Transaction,
};

pub(super) fn megaco_message<'a>(element: &Element<'a>) -> Result<Message<'a>, Failure> {
    let mut fields = Fields::of(element, "MegacoMessage")?;
    let authentication = fields.optional(0)?;
    let mess = fields.required(1, "no mess")?;
    fields.end(2)?;
    let authentication = authentication.as_ref().map(authentication_header);
    let authentication = authentication.transpose()?;

    let mut fields = Fields::of(&mess, "Message")?;
    let version = fields.required(0, "no version")?.u8(99)?;
    let mid = m_id(&chosen(&fields.required(1, "no mId")?, "MId")?)?;
    let body = chosen(&fields.required(2, "no messageBody")?, "messageBody")?;
    fields.end(3)?;
    let mut spans = Vec::new();
    let body = match body.tag.alternative() {
        Some(0) => Body::Error(error_descriptor(&body)?),
        Some(1) => Body::Transactions(transactions(&body, &mut spans)?),
        _ => return Err(body.error("an unknown alternative")),
    };
    Ok(Message {
        authentication,
        version,
        mid,
        body,
        spans,
    })
}

fn authentication_header<'a>(element: &Element<'a>) -> Result<Authentication<'a>, Failure> {
    let mut fields = Fields::of(element, "AuthenticationHeader")?;
    let spi = fields.required(0, "no secParmIndex")?.array()?;
    let sequence = fields.required(1, "no seqNum")?.array()?;
    let data = fields.required(2, "no ad")?.octets()?;
    fields.end(3)?;
    let mut hexadecimal = String::with_capacity(data.len() * 2);
    for octet in data.iter() {
        for digit in [octet >> 4, octet & 0xf] {
            hexadecimal.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    Ok(Authentication {
        spi: u32::from_be_bytes(spi),
        sequence: u32::from_be_bytes(sequence),
        data: hexadecimal.into(),
    })
}

/// Transactions of a kind that is not known are passed over.
fn transactions<'a>(
    element: &Element<'a>,
    spans: &mut Vec<Span>,
) -> Result<Vec<Transaction<'a>>, Failure> {
    let mut reader = element.children("transactions")?;
    let mut all = Vec::with_capacity(reader.count());
    while let Some(item) = reader.next()? {
        all.push(match item.tag.alternative() {
            Some(0) => Transaction::Request(transaction_request(&item)?),
            Some(1) => transaction_pending(&item)?,
            Some(2) => Transaction::Reply(transaction_reply(&item)?),
            Some(3) => Transaction::ResponseAck(sequences(
                &item,
                "TransactionResponseAck",
                transaction_ack,
            )?),
            Some(4) => Transaction::Segment(segment_reply(&item)?),
            Some(_) => continue,
            None => return Err(item.error("not a Transaction")),
        });
        spans.push(whole_span(&item));
    }
    Ok(all)
}

fn transaction_request<'a>(element: &Element<'a>) -> Result<Request<'a>, Failure> {
    let mut fields = Fields::of(element, "TransactionRequest")?;
    let id = fields.required(0, "no transactionId")?;
    let actions = fields.required(1, "no actions")?;
    fields.end(2)?;
    Ok(Request {
        id: id.u32()?,
        actions: sequences(&actions, "actions", action_request)?,
        id_span: content_span(&id),
    })
}

fn transaction_pending<'a>(element: &Element<'a>) -> Result<Transaction<'a>, Failure> {
    let mut fields = Fields::of(element, "TransactionPending")?;
    let id = fields.required(0, "no transactionId")?;
    fields.end(1)?;
    Ok(Transaction::Pending {
        id: id.u32()?,
        id_span: content_span(&id),
    })
}

fn transaction_reply<'a>(element: &Element<'a>) -> Result<Reply<'a>, Failure> {
    let mut fields = Fields::of(element, "TransactionReply")?;
    let id = fields.required(0, "no transactionId")?;
    let immediate_ack = fields.optional(1)?;
    let result = fields.required(2, "no transactionResult")?;
    let result = chosen(&result, "transactionResult")?;
    let number = fields.optional(3)?;
    let complete = fields.optional(4)?;
    fields.end(5)?;
    let result = match result.tag.alternative() {
        Some(0) => ReplyResult::Error(error_descriptor(&result)?),
        Some(1) => ReplyResult::Actions(sequences(&result, "actionReplies", action_reply)?),
        _ => return Err(result.error("an unknown alternative")),
    };
    let segment = match number {
        Some(number) => Some(Segment {
            number: number.u16()?,
            complete: complete.is_some(),
        }),
        None => None,
    };
    Ok(Reply {
        id: id.u32()?,
        segment,
        immediate_ack: immediate_ack.is_some(),
        result,
        id_span: content_span(&id),
    })
}

fn transaction_ack(element: &Element<'_>) -> Result<AckRange, Failure> {
    let mut fields = Fields::of(element, "TransactionAck")?;
    let first = fields.required(0, "no firstAck")?.u32()?;
    let last = fields.optional(1)?;
    fields.end(2)?;
    Ok(AckRange {
        first,
        last: last.map_or(Ok(first), |last| last.u32())?,
    })
}

fn segment_reply(element: &Element<'_>) -> Result<SegmentReply, Failure> {
    let mut fields = Fields::of(element, "SegmentReply")?;
    let id = fields.required(0, "no transactionId")?;
    let number = fields.required(1, "no segmentNumber")?.u16()?;
    let complete = fields.optional(2)?.is_some();
    fields.end(3)?;
    Ok(SegmentReply {
        id: id.u32()?,
        segment: Segment { number, complete },
        id_span: content_span(&id),
    })
}
