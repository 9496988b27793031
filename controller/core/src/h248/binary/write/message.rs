//! Messages and transactions (H.248.1 §8, Annex A).

use super::command::{action_reply, action_request};
use super::{Written, error_descriptor, m_id, optional_u16, refuse, sequences, tag};
use crate::h248::binary::ber::Tag;
use crate::h248::binary::writer::Writer;
use crate::h248::model::{
    Authentication, Body, Message, Reply, ReplyResult, Request, SegmentReply, Transaction,
};

pub(super) fn megaco_message(w: &mut Writer, message: &Message<'_>) -> Written {
    w.try_constructed(Tag::SEQUENCE, |w| {
        if let Some(authentication) = &message.authentication {
            authentication_header(w, authentication)?;
        }
        w.try_constructed(tag(1), |w| {
            w.unsigned(tag(0), message.version);
            w.try_constructed(tag(1), |w| m_id(w, 0, &message.mid))?;
            w.try_constructed(tag(2), |w| match &message.body {
                Body::Error(error) => {
                    error_descriptor(w, 0, error);
                    Ok(())
                }
                Body::Transactions(all) => w.try_constructed(tag(1), |w| {
                    all.iter().try_for_each(|one| transaction(w, one))
                }),
            })
        })
    })
}

fn authentication_header(w: &mut Writer, authentication: &Authentication<'_>) -> Written {
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    let octets = authentication.data.chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    });
    let Some(octets) = octets.collect::<Option<Vec<u8>>>() else {
        return refuse("AuthData", "other than pairs of hexadecimal digits");
    };
    w.constructed(tag(0), |w| {
        w.primitive(tag(0), &authentication.spi.to_be_bytes());
        w.primitive(tag(1), &authentication.sequence.to_be_bytes());
        w.primitive(tag(2), &octets);
    });
    Ok(())
}

fn transaction(w: &mut Writer, transaction: &Transaction<'_>) -> Written {
    match transaction {
        Transaction::Request(request) => {
            w.try_constructed(tag(0), |w| transaction_request(w, request))
        }
        Transaction::Pending { id, .. } => {
            w.constructed(tag(1), |w| w.unsigned(tag(0), *id));
            Ok(())
        }
        Transaction::Reply(reply) => w.try_constructed(tag(2), |w| transaction_reply(w, reply)),
        Transaction::ResponseAck(ranges) => sequences(w, 3, ranges, |w, range| {
            w.unsigned(tag(0), range.first);
            if range.last != range.first {
                w.unsigned(tag(1), range.last);
            }
            Ok(())
        }),
        Transaction::Segment(segment) => {
            segment_reply(w, segment);
            Ok(())
        }
    }
}

fn transaction_request(w: &mut Writer, request: &Request<'_>) -> Written {
    w.unsigned(tag(0), request.id);
    sequences(w, 1, &request.actions, action_request)
}

fn transaction_reply(w: &mut Writer, reply: &Reply<'_>) -> Written {
    w.unsigned(tag(0), reply.id);
    w.flag(tag(1), reply.immediate_ack);
    w.try_constructed(tag(2), |w| match &reply.result {
        ReplyResult::Error(error) => {
            error_descriptor(w, 0, error);
            Ok(())
        }
        ReplyResult::Actions(actions) => sequences(w, 1, actions, action_reply),
    })?;
    optional_u16(w, 3, reply.segment.map(|segment| segment.number));
    w.flag(
        tag(4),
        reply.segment.is_some_and(|segment| segment.complete),
    );
    Ok(())
}

fn segment_reply(w: &mut Writer, segment: &SegmentReply) {
    w.constructed(tag(4), |w| {
        w.unsigned(tag(0), segment.id);
        w.unsigned(tag(1), segment.segment.number);
        w.flag(tag(2), segment.segment.complete);
    });
}
