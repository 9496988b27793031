//! Changes by splice: what they do not name leaves byte for byte.

use crate::h248::change::{Change, Side};
use crate::h248::model::{Message, Octets, Span, Transaction};
use crate::splice::Splice;

/// The bytes of `message`, changed. `None`: one of the changes names something
/// that is not there.
///
/// `bytes` must be those that `message` was read from; no change gives the same
/// bytes. Only white space of a dropped transaction is left. White space around a description stays, and its `}` are escaped.
pub fn change(bytes: &[u8], message: &Message<'_>, changes: &[Change]) -> Option<Vec<u8>> {
    let mut splice = Splice::default();
    for change in changes {
        match change {
            Change::Description { place, side, sdp } => {
                let stream = message.stream(*place)?;
                let description = match side {
                    Side::Local => stream.local.as_ref(),
                    Side::Remote => stream.remote.as_ref(),
                }?;
                let sdp = escaped(sdp.trim_ascii());
                splice.replace(trimmed(description.span, &description.octets).range(), sdp);
            }
            Change::TransactionId { transaction, id } => {
                let span = match message.transactions().get(*transaction)? {
                    Transaction::Request(request) => request.id_span,
                    Transaction::Reply(reply) => reply.id_span,
                    Transaction::Pending { id_span, .. } => *id_span,
                    Transaction::Segment(segment) => segment.id_span,
                    Transaction::ResponseAck(_) => return None,
                };
                splice.replace(span.range(), id.to_string());
            }
            Change::Context {
                transaction,
                action,
                context,
            } => {
                let span = match message.transactions().get(*transaction)? {
                    Transaction::Request(request) => request.actions.get(*action)?.context_span,
                    Transaction::Reply(reply) => reply.actions().get(*action)?.context_span,
                    _ => return None,
                };
                splice.replace(span.range(), context.to_string());
            }
            Change::Drop { transaction } => {
                splice.remove(message.spans.get(*transaction)?.range());
            }
        }
    }
    Some(splice.apply(bytes))
}

/// The span without the white space at both its ends; where there is nothing
/// else, where it begins.
fn trimmed(span: Span, octets: &Octets<'_>) -> Span {
    let before = octets.len() - octets.trim_ascii_start().len();
    let length = octets.trim_ascii().len();
    let start = span.start + if length == 0 { 0 } else { before };
    Span {
        start,
        end: start + length,
    }
}

/// `}` as an octet string writes it.
pub(in crate::h248) fn escaped(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    for &octet in octets {
        if octet == b'}' {
            out.push(b'\\');
        }
        out.push(octet);
    }
    out
}
