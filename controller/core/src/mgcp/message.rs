//! What a datagram says, and where in its bytes it says it.

use std::ops::Range;

use super::endpoint::EndpointName;
use super::parameter::Parameter;
use super::verb::Verb;

/// A datagram: one message, or several piggybacked (RFC 3435 §3.5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) messages: Vec<Spans>,
}

/// One message, as spans of the datagram's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spans {
    /// From its first line to before the line with the dot.
    pub(super) whole: Range<usize>,
    pub(super) start: Start,
    pub(super) fields: Vec<Field>,
    /// Session descriptions, with their line ends.
    pub(super) bodies: Vec<Range<usize>>,
}

/// A start line, as spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Command {
        verb: Verb,
        transaction: Id,
        endpoint: Range<usize>,
        version: Range<usize>,
    },
    Response {
        code: u16,
        transaction: Id,
        package: Option<Range<usize>>,
        phrase: Range<usize>,
    },
}

/// A transaction id, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) number: u32,
    pub(super) span: Range<usize>,
}

/// A parameter line, as spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Empty for a line that is no parameter.
    pub(super) name: Range<usize>,
    /// Without white space around it.
    pub(super) value: Range<usize>,
}

/// A message's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A command (§3.2.1).
    Command {
        /// What it wants.
        verb: &'a Verb,
        /// Of which endpoint.
        endpoint: EndpointName<'a>,
        /// `MGCP 1.0` and a profile, as written.
        version: &'a [u8],
    },
    /// A response (§3.3).
    Response {
        /// 0 to 99: acknowledgement of a response; 100 to 199: provisional; 200 to
        /// 299: done; 400 to 499: for the time being not done; 500 to 599: not
        /// done; 800 to 899: not done, in the words of a package.
        code: u16,
        /// The package of an 8xx code.
        package: Option<&'a [u8]>,
        /// For people; may be empty.
        phrase: &'a [u8],
    },
}

/// One of a datagram's messages.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub(super) packet: &'a Packet,
    pub(super) spans: &'a Spans,
}

impl Packet {
    /// The bytes, as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its messages, in order; at least one.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        self.messages.iter().map(|spans| Message {
            packet: self,
            spans,
        })
    }

    pub(super) fn text(&self, span: &Range<usize>) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }
}

impl<'a> Message<'a> {
    /// Its transaction id, 1 to 999,999,999 (§3.2.1.2); the 0 of an error response
    /// to something that had none is kept.
    pub fn transaction(&self) -> u32 {
        self.spans.id().number
    }

    /// Its first line.
    pub fn start(&self) -> StartLine<'a> {
        match &self.spans.start {
            Start::Command {
                verb,
                endpoint,
                version,
                ..
            } => StartLine::Command {
                verb,
                endpoint: EndpointName::new(self.packet.text(endpoint)),
                version: self.packet.text(version),
            },
            Start::Response {
                code,
                package,
                phrase,
                ..
            } => StartLine::Response {
                code: *code,
                package: package.as_ref().map(|span| self.packet.text(span)),
                phrase: self.packet.text(phrase),
            },
        }
    }

    /// Value of the first parameter of this name; empty where it has none.
    pub fn parameter(&self, name: Parameter) -> Option<&'a [u8]> {
        let field = self.spans.find(self.packet, name)?;
        Some(self.packet.text(&field.value))
    }

    /// All parameters in order, names as written; the name is empty for a line
    /// that is no parameter.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let packet = self.packet;
        let fields = self.spans.fields.iter();
        fields.map(|field| (packet.text(&field.name), packet.text(&field.value)))
    }

    /// Its session descriptions: the RemoteConnectionDescriptor of a command, the
    /// LocalConnectionDescriptor of a response; of an audit's response the Local
    /// before the Remote, as far as they were asked for (§3.4). The bytes may be
    /// anything that no empty line divides.
    pub fn descriptions(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let packet = self.packet;
        self.spans.bodies.iter().map(|span| packet.text(span))
    }
}

impl Spans {
    pub(super) fn id(&self) -> &Id {
        match &self.start {
            Start::Command { transaction, .. } | Start::Response { transaction, .. } => transaction,
        }
    }

    pub(super) fn find(&self, packet: &Packet, name: Parameter) -> Option<&Field> {
        let mut fields = self.fields.iter();
        fields.find(|field| name.matches(packet.text(&field.name)))
    }
}
