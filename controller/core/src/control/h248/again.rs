//! A transaction of which one command was refused (H.248.1 §8.2.1: what follows it
//! is not done): what is left of it as a transaction of its own, and the reply to
//! both as one.

use crate::h248::model::{
    ActionReply, ActionRequest, Body, CommandReply, ContextId, ContextProperties, Descriptor,
    Message, Reply, ReplyResult, Request, Segment, Span, Transaction,
};
use crate::h248::{self, Encoding};

/// What is left of the request `part` of a message from its command `from` on, under
/// another id, and in the context that `first`, the reply `index` of a message, says
/// was made for what came before.
pub(super) fn rest(
    message: &[u8],
    (part, from): (usize, usize),
    (first, index): (&[u8], usize),
    id: u32,
) -> Option<Vec<u8>> {
    let encoding = Encoding::of(message)?;
    let message = h248::parse(message).ok()?;
    let first = h248::parse(first).ok()?;
    let Transaction::Request(request) = message.transactions().get(part)? else {
        return None;
    };
    let Transaction::Reply(reply) = first.transactions().get(index)? else {
        return None;
    };
    let mut actions = Vec::new();
    let mut before = from;
    for action in &request.actions {
        if before >= action.commands.len() {
            before -= action.commands.len();
            continue;
        }
        let mut action: ActionRequest<'_> = action.clone();
        if before > 0 {
            // What was asked of the context itself is done.
            action.properties = ContextProperties::default();
            action.audit = None;
            action.commands.drain(..before);
            if action.context == ContextId::CHOOSE {
                // The refusal is in the last action that the reply speaks of.
                let made = reply.actions().last().map(|made| made.context);
                action.context = made.filter(|made| made.is_specific())?;
            }
            before = 0;
        }
        actions.push(action);
    }
    if actions.is_empty() {
        return None;
    }
    let request = Transaction::Request(Request {
        id,
        actions,
        id_span: Span::default(),
    });
    written(&alone(&message, request), encoding)
}

/// The reply `index` of `first` without its refusal, and with what the replies `rest`,
/// each by its index in its message, say of what was left; under the id `id`.
pub(super) fn joined(
    (first, index): (&[u8], usize),
    rest: &[(&[u8], usize)],
    id: u32,
) -> Option<Vec<u8>> {
    let encoding = Encoding::of(first)?;
    let first = h248::parse(first).ok()?;
    let Transaction::Reply(before) = first.transactions().get(index)? else {
        return None;
    };
    let mut actions: Vec<ActionReply<'_>> = before.actions().to_vec();
    let last = actions.last_mut()?;
    if last.error.take().is_none() {
        last.commands.pop_if(|command| has_error(command));
    }
    for (message, at) in rest {
        let message = h248::parse(message).ok()?;
        let Transaction::Reply(after) = message.transactions().get(*at)? else {
            return None;
        };
        let last = actions.last_mut()?;
        match &after.result {
            ReplyResult::Error(error) => last.error = Some(error.clone()),
            ReplyResult::Actions(more) => {
                let mut more = more.iter().cloned();
                // In the same context the same action goes on.
                match more.next() {
                    Some(next) if next.context == last.context => {
                        last.commands.extend(next.commands);
                        last.error = next.error;
                    }
                    Some(next) if last.commands.is_empty() => *last = next,
                    Some(next) => actions.push(next),
                    None => {}
                }
                actions.extend(more);
            }
        }
    }
    let reply = Transaction::Reply(Reply {
        id,
        // What came before it the VM has.
        segment: before.segment.map(|segment| Segment {
            complete: true,
            ..segment
        }),
        // Ours to acknowledge: its id is.
        immediate_ack: false,
        result: ReplyResult::Actions(actions),
        id_span: Span::default(),
    });
    written(&alone(&first, reply), encoding)
}

/// Binary has no way to say some things.
fn written(message: &Message<'_>, encoding: Encoding) -> Option<Vec<u8>> {
    Some(h248::write(message, encoding)).filter(|bytes| !bytes.is_empty())
}

fn has_error(command: &CommandReply<'_>) -> bool {
    let mut descriptors = command.descriptors.iter();
    descriptors.any(|descriptor| matches!(descriptor, Descriptor::Error(_)))
}

/// A message of one transaction, as the sender of another would write it.
fn alone<'a>(of: &Message<'a>, transaction: Transaction<'a>) -> Message<'a> {
    Message {
        authentication: None,
        version: of.version,
        mid: of.mid.clone(),
        body: Body::Transactions(vec![transaction]),
        spans: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Option<Vec<u8>>) -> String {
        String::from_utf8(bytes.unwrap())
            .unwrap()
            .trim_end()
            .to_owned()
    }

    #[test]
    fn what_is_left_goes_to_the_context_that_was_made() {
        let message = "!/1 <c> K{1} T=7{C=3{S=x},C=${PR=2,A=a,A=${M{O{MO=SR}}},MF=b},C=4{S=y}}";
        for (from, reply, expected) in [
            (
                0,
                "P=7{C=3{ER=500{}}}",
                "!/1 <c> T=9{C=3{S=x},C=${PR=2,A=a,A=${M{O{MO=SR}}},MF=b},C=4{S=y}}",
            ),
            (
                1,
                "P=7{C=3{S=x},C=${ER=500{}}}",
                "!/1 <c> T=9{C=${PR=2,A=a,A=${M{O{MO=SR}}},MF=b},C=4{S=y}}",
            ),
            (
                2,
                "P=7{C=3{S=x},C=50{A=a,ER=500{}}}",
                "!/1 <c> T=9{C=50{A=${M{O{MO=SR}}},MF=b},C=4{S=y}}",
            ),
            (
                4,
                "P=7{C=3{S=x},C=50{A=a,A=r,MF=b},C=4{ER=1{}}}",
                "!/1 <c> T=9{C=4{S=y}}",
            ),
        ] {
            let reply = format!("!/1 <g> {reply}");
            let rest = rest(message.as_bytes(), (1, from), (reply.as_bytes(), 0), 9);
            assert_eq!(text(rest), expected);
        }
        // Nobody knows in which.
        let reply = b"!/1 <g> P=7{C=3{S=x},C=${ER=500{}}}";
        assert_eq!(rest(message.as_bytes(), (1, 2), (reply, 0), 9), None);
        assert_eq!(rest(message.as_bytes(), (1, 9), (reply, 0), 9), None);
    }

    #[test]
    fn both_replies_read_as_one() {
        for (first, second, expected) in [
            (
                "P=7{C=50{A=a,ER=449{}}}",
                "P=9{C=50{A=r,MF=b},C=4{S=y}}",
                "P=7{C=50{A=a,A=r,MF=b},C=4{S=y}}",
            ),
            (
                "P=7{C=50{A=a,A=r{ER=449{}}}}",
                "P=9{IA,C=50{A=r}}",
                "P=7{C=50{A=a,A=r}}",
            ),
            (
                "P=7{C=50{A=a},C=${ER=449{}}}",
                "P=9{C=51{A=r}}",
                "P=7{C=50{A=a},C=51{A=r}}",
            ),
            (
                "P=7{C=50{A=a,ER=449{}}}",
                "P=9{C=50{ER=510{}}}",
                "P=7{C=50{A=a,ER=510{}}}",
            ),
            (
                "P=7{C=50{A=a,ER=449{}}}",
                "P=9{ER=510{}}",
                "P=7{C=50{A=a,ER=510{}}}",
            ),
        ] {
            let first = format!("!/1 <g> {first}");
            let second = format!("!/1 <g> PN=3{{}} {second}");
            let joined = joined((first.as_bytes(), 0), &[(second.as_bytes(), 1)], 7);
            assert_eq!(text(joined), format!("!/1 <g> {expected}"));
        }
    }

    #[test]
    fn a_segment_that_refused_becomes_the_last() {
        let first = b"!/3 <g> P=7/2{C=50{A=a,ER=449{}}}";
        let rest = ["P=9/1{C=50{A=r}}", "P=9/2/END{C=50{MF=b},C=4{S=y}}"];
        let rest = rest.map(|reply| format!("!/3 <g> {reply}"));
        let rest: Vec<_> = rest.iter().map(|reply| (reply.as_bytes(), 0)).collect();
        assert_eq!(
            text(joined((first, 0), &rest, 7)),
            "!/3 <g> P=7/2/&{C=50{A=a,A=r,MF=b},C=4{S=y}}"
        );
    }
}
