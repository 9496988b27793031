//! Segments of replies (H.248.1 version 3, §8.2.5).

use super::super::codec::Codec;
use super::super::line::Wanted;
use super::super::message::{Edit, Kind, Outcome, Part, Reply};
use crate::engine::Datagram;

/// The part `index` of a datagram, with nothing beside it.
pub(super) fn alone(codec: &dyn Codec, datagram: &Datagram, index: usize) -> Option<Datagram> {
    let message = codec.read(&datagram.payload).ok()?;
    let others = (0..message.parts().len()).filter(|part| *part != index);
    let edits: Vec<Edit> = others.map(|part| Edit::Drop { part }).collect();
    Some(Datagram {
        payload: message.edited(&edits),
        ..datagram.clone()
    })
}

/// A reply whose segments, in their order, are these parts of datagrams.
pub(super) fn put_together(
    codec: &dyn Codec,
    last: &Reply,
    segments: &[(Datagram, usize)],
) -> Reply {
    if last.segment.is_none() {
        return last.clone();
    }
    let mut whole = Reply {
        results: Vec::new(),
        ..last.clone()
    };
    for (datagram, index) in segments {
        let Ok(message) = codec.read(&datagram.payload) else {
            continue;
        };
        if let Some(Part::Reply(segment)) = message.parts().get(*index) {
            whole.error = whole.error.or(segment.error);
            whole.results.extend(segment.results.iter().cloned());
        }
    }
    whole
}

/// Whether more may come of an operation than a segment that is not the last says: the
/// gateway's own description, which the call needs.
pub(super) fn is_part(wanted: &Wanted, outcome: &Outcome) -> bool {
    let described = |id: u16| {
        let mut streams = outcome.streams.iter();
        streams.any(|stream| stream.id == id && stream.local.is_some())
    };
    let mut of_calls = wanted
        .calls
        .iter()
        .filter_map(|(at, _)| wanted.streams.get(*at));
    wanted.kind == Kind::Create && of_calls.any(|stream| !described(stream.id))
}
