//! H.248 in the neutral words: a transaction's commands are its operations, whatever
//! their contexts; a termination has streams.
//!
//! Where a description has several alternatives, the machine is given the first. What
//! it puts there in a request goes to each, with those of its codecs that the
//! alternative has; in a reply it takes the place of all. What it is given of a Local in a
//! request are the codecs that the gateway may choose from, as MGCP's
//! LocalConnectionOptions give them.

mod again;
mod alternatives;
mod words;

#[cfg(test)]
mod tests;

use super::codec::{Codec, Connection, Message, Unreadable};
use super::message::{At, Dialect, Edit, End, Part, Segment};
use crate::engine::Protocol;
use crate::h248::model::{
    self, AckRange, ActionRequest, Body, CommandKind, ContextProperties, Descriptor, LocalControl,
    MediaDescriptor, Mid, Span, Transaction,
};
use crate::h248::{self, Change, Encoding, Side, local};
use crate::media::Direction;

/// Errors for what a description asks for (H.248.8): unsupported value, unsupported
/// media type.
const FOR_CODECS: [u16; 2] = [449, 515];

/// H.248.1, text and binary.
#[derive(Debug, Clone, Copy)]
pub struct H248;

/// A message of H.248.
#[derive(Debug)]
struct Read {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// Of each part, of each of its operations or outcomes, of each stream: where it
    /// stands.
    places: Vec<Vec<Vec<h248::Place>>>,
}

impl Codec for H248 {
    fn protocol(&self) -> Protocol {
        Protocol::H248
    }

    fn read(&self, bytes: &[u8]) -> Result<Box<dyn Message>, Unreadable> {
        let message = h248::parse(bytes).map_err(|error| Unreadable {
            kind: error.what,
            detail: error.to_string(),
        })?;
        let encoding = encoding_of(bytes);
        let mut parts = Vec::new();
        let mut places = Vec::new();
        for (index, transaction) in message.transactions().iter().enumerate() {
            let (part, of_part) = words::part(&message, encoding, index, transaction);
            parts.push(part);
            places.push(of_part);
        }
        Ok(Box::new(Read {
            bytes: bytes.to_vec(),
            parts,
            places,
        }))
    }

    fn modify(
        &self,
        id: u32,
        connection: &Connection,
        remote: &[u8],
        mode: Option<Direction>,
    ) -> Vec<u8> {
        let control = mode.map(|mode| LocalControl {
            mode: Some(words::stream_mode(mode)),
            ..LocalControl::default()
        });
        let stream = model::Stream {
            id: Some(connection.stream),
            control,
            remote: Some(model::Description {
                octets: remote.into(),
                ..model::Description::default()
            }),
            ..model::Stream::default()
        };
        let media = MediaDescriptor {
            streams: vec![stream],
            ..MediaDescriptor::default()
        };
        let place = &connection.place;
        let action = ActionRequest {
            context: words::context_of(&place.context),
            properties: ContextProperties::default(),
            audit: None,
            commands: vec![model::CommandRequest {
                optional: false,
                wildcard_response: false,
                kind: CommandKind::Modify,
                terminations: vec![words::termination_of(
                    &place.termination,
                    encoding_of(&connection.dialect.0),
                )],
                descriptors: vec![Descriptor::Media(media)],
                span: Span::default(),
            }],
            context_span: Span::default(),
        };
        spoken(
            &connection.dialect,
            Transaction::Request(model::Request {
                id,
                actions: vec![action],
                id_span: Span::default(),
            }),
        )
    }

    fn largest_id(&self) -> u32 {
        u32::MAX
    }

    fn is_for_codecs(&self, code: u16) -> bool {
        FOR_CODECS.contains(&code)
    }

    fn rest(
        &self,
        message: &[u8],
        from: (usize, usize),
        first: (&[u8], usize),
        id: u32,
    ) -> Option<Vec<u8>> {
        again::rest(message, from, first, id)
    }

    fn joined(&self, first: (&[u8], usize), rest: &[(&[u8], usize)], id: u32) -> Option<Vec<u8>> {
        again::joined(first, rest, id)
    }

    fn pending(&self, id: u32, dialect: &Dialect) -> Vec<u8> {
        let id_span = Span::default();
        spoken(dialect, Transaction::Pending { id, id_span })
    }

    fn acknowledge(&self, id: u32, dialect: &Dialect) -> Vec<u8> {
        let range = AckRange {
            first: id,
            last: id,
        };
        spoken(dialect, Transaction::ResponseAck(vec![range]))
    }

    fn acknowledge_segment(&self, id: u32, segment: Segment, dialect: &Dialect) -> Option<Vec<u8>> {
        let acknowledgement = model::SegmentReply {
            id,
            segment: model::Segment {
                number: segment.number,
                complete: segment.last,
            },
            id_span: Span::default(),
        };
        Some(spoken(dialect, Transaction::Segment(acknowledgement)))
    }
}

impl Message for Read {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn edited(&self, edits: &[Edit]) -> Vec<u8> {
        let Ok(message) = h248::parse(&self.bytes) else {
            return self.bytes.clone();
        };
        let changes: Vec<Change> = edits
            .iter()
            .filter_map(|edit| self.change(&message, edit))
            .collect();
        h248::change(&self.bytes, &message, &changes).unwrap_or_else(|| self.bytes.clone())
    }
}

impl Read {
    /// The edit in the words of the codec; `None`: it is of something that is not
    /// there.
    fn change(&self, message: &model::Message<'_>, edit: &Edit) -> Option<Change> {
        let place = |at: &At| {
            let place = self
                .places
                .get(at.part)?
                .get(at.operation)?
                .get(at.stream)?;
            Some((*place, message.stream(*place)?))
        };
        match edit {
            Edit::Description { at, end, sdp } => {
                let (place, stream) = place(at)?;
                let (side, known) = match end {
                    End::Local => (Side::Local, &stream.local),
                    End::Remote => (Side::Remote, &stream.remote),
                };
                // Not half of it: what properties say would stay.
                let known = known.as_ref()?;
                if words::address(known).is_some() {
                    return None;
                }
                let asked = message.transactions().get(at.part);
                let sdp = match asked {
                    Some(Transaction::Request(_)) => alternatives::with(known, sdp),
                    _ => sdp.clone(),
                };
                Some(Change::Description { place, side, sdp })
            }
            Edit::Codecs { at, names } => {
                let (place, stream) = place(at)?;
                let sdp = local::with_codecs(&words::first(stream.local.as_ref()?)?, names)?;
                let side = Side::Local;
                Some(Change::Description { place, side, sdp })
            }
            Edit::Id { part, id } => match message.transactions().get(*part)? {
                Transaction::ResponseAck(_) => None,
                _ => Some(Change::TransactionId {
                    transaction: *part,
                    id: *id,
                }),
            },
            Edit::Drop { part } => {
                message.transactions().get(*part)?;
                Some(Change::Drop { transaction: *part })
            }
        }
    }
}

fn encoding_of(bytes: &[u8]) -> Encoding {
    Encoding::of(bytes).unwrap_or(Encoding::Pretty)
}

/// A transaction of ours, as the dialect's speaker would write it.
fn spoken(dialect: &Dialect, transaction: Transaction<'_>) -> Vec<u8> {
    let (mid, version) = match h248::parse(&dialect.0) {
        Ok(message) => (message.mid.into_owned(), message.version),
        // A dialect is made by `dialect_of`, and reads.
        Err(_) => (Mid::Device("sidestep".into()), 1),
    };
    let message = model::Message {
        authentication: None,
        version,
        mid,
        body: Body::Transactions(vec![transaction]),
        spans: Vec::new(),
    };
    h248::write(&message, encoding_of(&dialect.0))
}

/// How the sender of a message writes: a message of its that says next to nothing.
fn dialect_of(message: &model::Message<'_>, encoding: Encoding) -> Dialect {
    let nothing = model::Message {
        authentication: None,
        version: message.version,
        mid: message.mid.clone(),
        body: Body::Transactions(vec![Transaction::Pending {
            id: 1,
            id_span: Span::default(),
        }]),
        spans: Vec::new(),
    };
    Dialect(h248::write(&nothing, encoding))
}
