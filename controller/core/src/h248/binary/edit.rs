//! From [`Change`]s to edits of a message's octets.

use super::groups;
use super::splice::{self, Edit};
use super::writer::unsigned_octets;
use crate::h248::model::{Message, Span, Transaction};
use crate::h248::{Change, Side};

/// The octets of `message`, changed. `None`: one of the changes names something that
/// is not there, or a session description has a line that Annex C.11 has no property
/// for.
///
/// `bytes` must be those that `message` was read from; no change gives the same
/// bytes. Session descriptions are put into properties of the form that their
/// descriptor's others have; properties that say what they said stay as they came, as
/// do those of other kinds.
pub fn change(bytes: &[u8], message: &Message<'_>, changes: &[Change]) -> Option<Vec<u8>> {
    let mut edits: Vec<Edit> = Vec::with_capacity(changes.len());
    for change in changes {
        let edit = match change {
            Change::Description { place, side, sdp } => {
                let stream = message.stream(*place)?;
                let description = match side {
                    Side::Local => stream.local.as_ref(),
                    Side::Remote => stream.remote.as_ref(),
                }?;
                groups::replace(bytes, description.span, sdp)?
            }
            Change::TransactionId { transaction, id } => {
                let transaction = message.transactions().get(*transaction)?;
                integer(transaction_id(transaction)?, *id)
            }
            Change::Context {
                transaction,
                action,
                context,
            } => {
                let transaction = message.transactions().get(*transaction)?;
                integer(context_id(transaction, *action)?, context.0)
            }
            Change::Drop { transaction } => Edit {
                span: message.spans.get(*transaction)?.range(),
                with: Vec::new(),
            },
        };
        // The last of several changes of one thing stands; what is in a transaction
        // that goes, goes with it.
        let inside = |span: &std::ops::Range<usize>| {
            edit.span.start <= span.start && span.end <= edit.span.end
        };
        edits.retain(|known| !inside(&known.span));
        if !edits
            .iter()
            .any(|known| known.span.start <= edit.span.start && edit.span.end <= known.span.end)
        {
            edits.push(edit);
        }
    }
    splice::apply(bytes, edits)
}

/// Another value of the INTEGER whose contents are at `span`.
fn integer(span: Span, value: u32) -> Edit {
    Edit {
        span: span.range(),
        with: unsigned_octets(value),
    }
}

fn transaction_id(transaction: &Transaction<'_>) -> Option<Span> {
    match transaction {
        Transaction::Request(request) => Some(request.id_span),
        Transaction::Reply(reply) => Some(reply.id_span),
        Transaction::Pending { id_span, .. } => Some(*id_span),
        Transaction::Segment(segment) => Some(segment.id_span),
        Transaction::ResponseAck(_) => None,
    }
}

fn context_id(transaction: &Transaction<'_>, action: usize) -> Option<Span> {
    match transaction {
        Transaction::Request(request) => Some(request.actions.get(action)?.context_span),
        Transaction::Reply(reply) => Some(reply.actions().get(action)?.context_span),
        _ => None,
    }
}
