//! What a message of gateway control says, in the words of no protocol, and what
//! may be changed in it.

use serde::{Deserialize, Serialize};

use crate::media::Direction;

/// One of the transactions of a message, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A transaction's request.
    Request(Request),
    /// Its final reply.
    Reply(Reply),
    /// The transaction is being worked at (H.248.1 §8.2.3, RFC 3435 §3.5.6).
    Pending(u32),
    /// What the machine has no part in: acknowledgements of replies, errors of a
    /// whole message. It passes.
    Other,
}

/// A transaction's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id, unique among those of its sender.
    pub id: u32,
    /// How its sender writes.
    pub dialect: Dialect,
    /// Its message carries a proof of who wrote it, which a change would spoil (H.248.1
    /// §10.2).
    pub signed: bool,
    /// What it asks for. None: something that the machine has no part in.
    pub operations: Vec<Operation>,
}

/// How the sender of a message writes, so that a command of our own in its name is
/// written alike. Opaque to the machine. MGCP: what follows the endpoint name
/// (`MGCP 1.0 NCS 1.0`). H.248: version, encoding and message identifier.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dialect(#[serde(with = "serde_bytes")] pub Vec<u8>);

/// A command, at one place or at all that a wildcard names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What is to be done.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// The streams that it names, with what it says of each. MGCP: at most one,
    /// number 1. H.248: also a stream that only LocalControl is given for;
    /// without StreamDescriptors number 1 (H.248.1 §7.1.8).
    pub streams: Vec<Stream>,
    /// Whether the party at the place is called: its telephone is to ring (true), or
    /// no longer is, since it has answered or is not to be bothered (false). `None`:
    /// not said.
    pub rings: Option<bool>,
    /// Whether the party at the place hears ringback: the VM's user is called.
    pub waits: bool,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A new connection, a termination that comes into a context.
    Create,
    /// Changes at one that is there.
    Modify,
    /// A termination goes from its context into the one of the operation's place.
    Move,
    /// It ends; also one that the gateway itself ends.
    Delete,
    /// Asks for what is there. MGCP: which descriptions are asked for.
    Audit {
        /// The Local description.
        local: bool,
        /// The Remote description.
        remote: bool,
    },
    /// Something has happened at a termination.
    Notify,
    /// A gateway, or terminations of it, go out of or come into service.
    Restart(Restart),
    /// Anything else: signals, events, extensions.
    Other,
}

/// Method of a restart (RFC 3435 §2.3.12, H.248.1 §7.2.8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// In service (again): nothing of before is there any more.
    Restart,
    /// Out of service now: its connections are gone.
    Forced,
    /// Out of service soon: its connections are left to end.
    Graceful,
    /// Contact was lost and is back: its connections have stayed.
    Disconnected,
    /// Everything else, as a hand-off: its connections stay.
    Other,
}

/// A name of a termination, connection or context: compared by its key, written as
/// its owner wrote it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Name {
    #[serde(with = "serde_bytes")]
    key: Vec<u8>,
    #[serde(with = "serde_bytes")]
    written: Vec<u8>,
}

impl Name {
    /// A name of exact bytes.
    pub fn exact(name: &[u8]) -> Self {
        Self {
            key: name.to_vec(),
            written: name.to_vec(),
        }
    }

    /// A name that is the same in any case.
    pub fn any_case(name: &[u8]) -> Self {
        Self {
            key: name.to_ascii_lowercase(),
            written: name.to_vec(),
        }
    }

    /// What it is compared by.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// As it was written.
    pub fn written(&self) -> &[u8] {
        &self.written
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Name {}

/// Where an operation is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// H.248: TerminationID; MGCP: endpoint name.
    pub termination: Selector,
    /// MGCP: ConnectionId. H.248: [`Selector::Absent`].
    pub connection: Selector,
    /// H.248: ContextID; MGCP: CallId.
    pub context: Selector,
}

/// One name, or several.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Selector {
    /// Not given: in a request, whichever the rest of the place names; in a reply,
    /// as in the request.
    #[default]
    Absent,
    /// This one.
    One(Name),
    /// One of the gateway's choice (`$`); which, its reply says.
    Choose,
    /// All whose keys begin and end so (`*`): `aaln/*` is `aaln/` and nothing.
    All {
        /// What stands before the first wildcard.
        #[serde(with = "serde_bytes")]
        prefix: Vec<u8>,
        /// What stands after the last.
        #[serde(with = "serde_bytes")]
        suffix: Vec<u8>,
    },
}

impl Selector {
    /// All there are.
    pub const EVERY: Self = Self::All {
        prefix: Vec::new(),
        suffix: Vec::new(),
    };

    /// The name, if it is one.
    pub fn one(&self) -> Option<&Name> {
        match self {
            Self::One(name) => Some(name),
            _ => None,
        }
    }

    /// Whether `name` is among those that it selects.
    pub fn selects(&self, name: &Name) -> bool {
        match self {
            Self::Absent => true,
            Self::One(one) => one == name,
            Self::Choose => false,
            Self::All { prefix, suffix } => {
                name.key.len() >= prefix.len() + suffix.len()
                    && name.key.starts_with(prefix)
                    && name.key.ends_with(suffix)
            }
        }
    }
}

/// What is said of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stream {
    /// H.248: StreamID; MGCP: 1.
    pub id: u16,
    /// Which way media may go, from the gateway's view. `None`: not said, or a
    /// mode of tests.
    pub mode: Option<Direction>,
    /// The gateway's own description, as SDP. In a request of H.248 it may hold
    /// wildcards.
    #[serde(with = "serde_bytes")]
    pub local: Option<Vec<u8>>,
    /// The far end's description, as SDP.
    #[serde(with = "serde_bytes")]
    pub remote: Option<Vec<u8>>,
    /// Where the far end has several descriptions to choose from (H.248.1 §7.1.8), all
    /// of them; `remote` is the first.
    pub alternatives: Vec<Vec<u8>>,
    /// MGCP: the codecs that the request allows beside its descriptions
    /// (LocalConnectionOptions, `a:`), by their names.
    pub codecs: Option<Vec<String>>,
}

/// A transaction's final reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The transaction's id.
    pub id: u32,
    /// Its message carries a proof of who wrote it, which a change would spoil.
    pub signed: bool,
    /// Which segment of the reply this is, where it comes in several.
    pub segment: Option<Segment>,
    /// Its sender wants to hear that it has come (RFC 3435 §3.5.6, H.248.1
    /// §8.2.3).
    pub wants_acknowledgement: bool,
    /// Error code of the whole transaction; none of it was done.
    pub error: Option<u16>,
    /// What came of the operations, in their order; there may be several of one,
    /// where it had wildcards.
    pub results: Vec<Outcome>,
}

/// A segment of a reply (H.248.1 version 3, §8.2.5): results of some of the
/// operations, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Number, from 1.
    pub number: u16,
    /// Whether it is the last.
    pub last: bool,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Where it was done, as far as the reply says so.
    pub place: Place,
    /// Descriptions that it brings. Where an audit of MGCP brings one description
    /// only, it is given as `local`, whichever was asked for.
    pub streams: Vec<Stream>,
    /// Error code of this operation.
    pub error: Option<u16>,
}

/// Which stream of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Index of the [`Part`].
    pub part: usize,
    /// Index of the [`Operation`] or [`Outcome`].
    pub operation: usize,
    /// Index in its streams.
    pub stream: usize,
}

/// Which description of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The gateway's own.
    Local,
    /// The far end's.
    Remote,
}

/// A change of a message; all other bytes stay (in binary encodings: all other
/// values).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// Another description in the place of one that is there.
    Description {
        /// Whose.
        at: At,
        /// Which.
        end: End,
        /// The new one.
        #[serde(with = "serde_bytes")]
        sdp: Vec<u8>,
    },
    /// Other codecs in the place of [`Stream::codecs`], where those are given.
    Codecs {
        /// Whose.
        at: At,
        /// Their names.
        names: Vec<String>,
    },
    /// Another transaction id.
    Id {
        /// Index of the [`Part`], a request or a reply.
        part: usize,
        /// The new id.
        id: u32,
    },
    /// The part at this index is left out: it was for us. Where nothing is left,
    /// nothing is sent.
    Drop {
        /// Index of the [`Part`].
        part: usize,
    },
}

impl Edit {
    /// Index of the part that it is in.
    pub fn part(&self) -> usize {
        match self {
            Self::Description { at, .. } | Self::Codecs { at, .. } => at.part,
            Self::Id { part, .. } | Self::Drop { part } => *part,
        }
    }

    /// The same change in another part.
    #[must_use]
    pub fn in_part(mut self, index: usize) -> Self {
        match &mut self {
            Self::Description { at, .. } | Self::Codecs { at, .. } => at.part = index,
            Self::Id { part, .. } | Self::Drop { part } => *part = index,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_selects_what_begins_and_ends_so() {
        let all = |prefix: &str, suffix: &str| Selector::All {
            prefix: prefix.into(),
            suffix: suffix.into(),
        };
        for (selector, name, selected) in [
            (Selector::Absent, "aaln/1@gw", true),
            (
                Selector::One(Name::any_case(b"AALN/1@gw")),
                "aaln/1@gw",
                true,
            ),
            (
                Selector::One(Name::any_case(b"AALN/1@gw")),
                "aaln/11@gw",
                false,
            ),
            (Selector::Choose, "aaln/1@gw", false),
            (Selector::EVERY, "aaln/1@gw", true),
            (all("aaln/", "@gw"), "aaln/1@gw", true),
            (all("aaln/", "@gw"), "ds/1@gw", false),
            (all("aaln/", "@gw"), "aaln/1@other", false),
            // Prefix and suffix do not share bytes.
            (all("aa", "aa"), "aaa", false),
        ] {
            assert_eq!(
                selector.selects(&Name::any_case(name.as_bytes())),
                selected,
                "{selector:?}"
            );
        }
    }
}
