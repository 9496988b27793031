//! Transactions in the neutral words, and the names of those words in H.248.

use super::super::message::{
    Kind, Name, Operation, Outcome, Part, Place, Reply, Request, Restart, Segment, Selector, Stream,
};
use std::net::{IpAddr, Ipv4Addr};

use super::alternatives::end_line;
use super::dialect_of;
use crate::digits::number;
use crate::h248::model::{
    self, AuditItem, AuditToken, Authentication, CommandKind, ContextId, Descriptor, ItemName,
    Octets, ReplyResult, ServiceChangeMethod, Signal, SignalParameter, StreamMode, TerminationId,
    Transaction, Value,
};
use crate::h248::packages::{self, ItemKind};
use crate::h248::{self, Encoding, local};
use crate::media::Direction;
use crate::sdp::SessionDescription;

/// Properties of Annex C.6 that say where media goes.
const IPV4: u16 = 0x6001;
const IPV6: u16 = 0x6002;
const PORT: u16 = 0x6003;

/// Stream of what stands directly in Media (H.248.1 §7.1.4).
pub(super) const STREAM: u16 = 1;

/// A transaction, and where the streams of its operations or outcomes stand.
pub(super) fn part(
    message: &model::Message<'_>,
    encoding: Encoding,
    transaction: usize,
    of: &Transaction<'_>,
) -> (Part, Vec<Vec<h248::Place>>) {
    let authentication = message.authentication.as_ref();
    let signed = authentication.is_some_and(Authentication::is_in_use);
    let mut places = Vec::new();
    let mut place = |action, command, descriptors: &[Descriptor<'_>], asked| {
        let place = h248::Place {
            transaction,
            action,
            command,
            descriptor: 0,
            stream: 0,
        };
        let (streams, of_streams) = streams(place, descriptors, asked);
        places.push(of_streams);
        streams
    };
    let part = match of {
        Transaction::Request(request) => {
            let mut operations = Vec::new();
            for (a, action) in request.actions.iter().enumerate() {
                for (c, command) in action.commands.iter().enumerate() {
                    let streams = place(a, c, &command.descriptors, true);
                    operations.push(operation(action.context, command, streams));
                }
            }
            Part::Request(Request {
                id: request.id,
                dialect: dialect_of(message, encoding),
                signed,
                operations,
            })
        }
        Transaction::Reply(reply) => {
            let mut results = Vec::new();
            for (a, action) in reply.actions().iter().enumerate() {
                for (c, command) in action.commands.iter().enumerate() {
                    let streams = place(a, c, &command.descriptors, false);
                    results.push(outcome(action.context, command, streams));
                }
                // The command after the last reply has failed, or all of the action.
                if let Some(error) = &action.error {
                    place(a, action.commands.len(), &[], false);
                    results.push(Outcome {
                        place: Place {
                            context: context(action.context),
                            ..Place::default()
                        },
                        streams: Vec::new(),
                        error: Some(error.code),
                    });
                }
            }
            Part::Reply(Reply {
                id: reply.id,
                signed,
                segment: reply.segment.map(|segment| Segment {
                    number: segment.number,
                    last: segment.complete,
                }),
                wants_acknowledgement: reply.immediate_ack,
                error: match &reply.result {
                    ReplyResult::Error(error) => Some(error.code),
                    ReplyResult::Actions(_) => None,
                },
                results,
            })
        }
        Transaction::Pending { id, .. } => Part::Pending(*id),
        Transaction::ResponseAck(_) | Transaction::Segment(_) => Part::Other,
    };
    (part, places)
}

fn operation(
    context_id: ContextId,
    command: &model::CommandRequest<'_>,
    streams: Vec<Stream>,
) -> Operation {
    let kind = kind(command);
    let asks = !matches!(
        kind,
        Kind::Create | Kind::Modify | Kind::Move | Kind::Delete
    );
    Operation {
        kind,
        place: Place {
            termination: terminations(&command.terminations, matches!(kind, Kind::Restart(_))),
            connection: Selector::Absent,
            // Who asks in the null context, asks wherever the termination may be.
            context: match context_id {
                ContextId::NULL if asks => Selector::Absent,
                id => context(id),
            },
        },
        streams,
        rings: rings(&command.descriptors),
        waits: waits(&command.descriptors),
    }
}

/// Whether ringback is to be heard (610).
fn waits(descriptors: &[Descriptor<'_>]) -> bool {
    let is_ringback =
        |signal: &Signal<'_>| packages::is(&signal.name, ItemKind::Signal, "cg", "rt");
    descriptors.iter().any(|descriptor| match descriptor {
        Descriptor::Signals(signals) => signals.signals.iter().any(|signal| match signal {
            SignalParameter::Signal(signal) => is_ringback(signal),
            SignalParameter::List { signals, .. } => signals.iter().any(is_ringback),
        }),
        _ => false,
    })
}

/// Whether a telephone is to ring (506), or no longer (512; 510: it has answered).
fn rings(descriptors: &[Descriptor<'_>]) -> Option<bool> {
    let is_ringing = |signal: &Signal<'_>| packages::is(&signal.name, ItemKind::Signal, "al", "ri");
    descriptors.iter().find_map(|descriptor| match descriptor {
        Descriptor::Signals(signals) if signals.signals.is_empty() => Some(false),
        Descriptor::Signals(signals) => {
            let mut signals = signals.signals.iter();
            let rings = signals.any(|signal| match signal {
                SignalParameter::Signal(signal) => is_ringing(signal),
                SignalParameter::List { signals, .. } => signals.iter().any(is_ringing),
            });
            rings.then_some(true)
        }
        Descriptor::ObservedEvents(observed) => {
            let mut events = observed.events.iter();
            let answers =
                events.any(|event| packages::is(&event.name, ItemKind::Event, "al", "of"));
            answers.then_some(false)
        }
        _ => None,
    })
}

fn kind(command: &model::CommandRequest<'_>) -> Kind {
    match command.kind {
        CommandKind::Add => Kind::Create,
        CommandKind::Modify => Kind::Modify,
        CommandKind::Subtract => Kind::Delete,
        CommandKind::Move => Kind::Move,
        CommandKind::AuditValue => {
            let media = asks_for_media(&command.descriptors);
            Kind::Audit {
                local: media,
                remote: media,
            }
        }
        // What a termination could do is no description of what it does.
        CommandKind::AuditCapabilities => Kind::Audit {
            local: false,
            remote: false,
        },
        CommandKind::Notify => Kind::Notify,
        CommandKind::ServiceChange => Kind::Restart(restart(&command.descriptors)),
    }
}

/// Whether an audit asks for Media or some of it.
fn asks_for_media(descriptors: &[Descriptor<'_>]) -> bool {
    descriptors
        .iter()
        .filter_map(|descriptor| match descriptor {
            Descriptor::Audit(audit) => Some(&audit.items),
            _ => None,
        })
        .flatten()
        .any(|item| match item {
            AuditItem::Whole(token) => *token == AuditToken::Media,
            AuditItem::Part(part) => {
                part.name.eq_ignore_ascii_case(b"Media") || part.name.eq_ignore_ascii_case(b"M")
            }
        })
}

fn restart(descriptors: &[Descriptor<'_>]) -> Restart {
    let method = descriptors.iter().find_map(|descriptor| match descriptor {
        Descriptor::ServiceChange(change) => change.method.as_ref(),
        _ => None,
    });
    match method {
        Some(ServiceChangeMethod::Restart) => Restart::Restart,
        Some(ServiceChangeMethod::Forced) => Restart::Forced,
        Some(ServiceChangeMethod::Graceful) => Restart::Graceful,
        Some(ServiceChangeMethod::Disconnected) => Restart::Disconnected,
        Some(
            ServiceChangeMethod::Handoff
            | ServiceChangeMethod::Failover
            | ServiceChangeMethod::Other(_),
        )
        | None => Restart::Other,
    }
}

fn outcome(
    context_id: ContextId,
    command: &model::CommandReply<'_>,
    streams: Vec<Stream>,
) -> Outcome {
    let error = command
        .descriptors
        .iter()
        .find_map(|descriptor| match descriptor {
            Descriptor::Error(error) => Some(error.code),
            _ => None,
        });
    let termination = match command.of_context {
        true => Selector::Absent,
        false => terminations(&command.terminations, false),
    };
    Outcome {
        place: Place {
            termination,
            connection: Selector::Absent,
            context: match context_id {
                ContextId::NULL => Selector::Absent,
                id => context(id),
            },
        },
        streams,
        // An error within a Notify is about the notification (§7.2.7).
        error: error.filter(|_| command.kind != CommandKind::Notify),
    }
}

/// The streams of a command's Media, and where they stand.
fn streams(
    of: h248::Place,
    descriptors: &[Descriptor<'_>],
    asked: bool,
) -> (Vec<Stream>, Vec<h248::Place>) {
    let mut streams = Vec::new();
    let mut places = Vec::new();
    for (descriptor, found) in descriptors.iter().enumerate() {
        let Descriptor::Media(media) = found else {
            continue;
        };
        for (stream, found) in media.streams.iter().enumerate() {
            places.push(h248::Place {
                descriptor,
                stream,
                ..of
            });
            let local = found.local.as_ref().and_then(told);
            streams.push(Stream {
                id: found.id.unwrap_or(STREAM),
                mode: found
                    .control
                    .as_ref()
                    .and_then(|c| c.mode)
                    .and_then(direction),
                codecs: found.local.as_ref().filter(|_| asked).and_then(choice),
                local,
                remote: found.remote.as_ref().and_then(told),
                alternatives: found.remote.as_ref().map(several).unwrap_or_default(),
            });
        }
    }
    (streams, places)
}

/// What the machine is told of a description.
fn told(description: &model::Description<'_>) -> Option<Vec<u8>> {
    let Some(address) = address(description) else {
        return first(description);
    };
    // Whose it is can be seen; what else it says is in no words that could be changed:
    // a session without a stream. One with lines as well names both addresses.
    let mut sdp = format!("v=0\r\nc=IN IP{} {address}\r\n", version(address)).into_bytes();
    let lines = first(description);
    let also = lines.and_then(|lines| SessionDescription::parse(&lines).ok());
    let own = also.iter().filter_map(SessionDescription::connection);
    let streams = also.iter().flat_map(|sdp| sdp.media());
    let of_streams = streams.filter_map(|media| media.connection.as_ref());
    for address in own.chain(of_streams).filter_map(|c| c.ip()) {
        let stream = format!("m=x 9 - -\r\nc=IN IP{} {address}\r\n", version(address));
        sdp.extend(stream.into_bytes());
    }
    Some(sdp)
}

fn version(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// The address that a description of binary has in properties of Annex C.6 (IPv4,
/// IPv6), beside or in place of a session description. One whose port alone stands
/// there has an unspecified one.
pub(super) fn address(description: &model::Description<'_>) -> Option<IpAddr> {
    let mut port = None;
    for property in &description.properties {
        let ItemName::Number { package: 0, item } = property.name else {
            continue;
        };
        let Value::Equal(value) = &property.value else {
            continue;
        };
        // Bare, or in an OCTET STRING.
        let octets = match &value[..] {
            [4, length, octets @ ..] if usize::from(*length) == octets.len() => octets,
            octets => octets,
        };
        match item {
            IPV4 => {
                if let Ok(octets) = <[u8; 4]>::try_from(octets) {
                    return Some(octets.into());
                }
            }
            IPV6 => {
                if let Ok(octets) = <[u8; 16]>::try_from(octets) {
                    return Some(octets.into());
                }
            }
            PORT => port = Some(Ipv4Addr::UNSPECIFIED.into()),
            _ => {}
        }
    }
    port
}

/// The first alternative of a description.
pub(super) fn first(description: &model::Description<'_>) -> Option<Vec<u8>> {
    let unescaped = plain(description);
    unescaped.alternatives().next().map(<[u8]>::to_vec)
}

/// The octets of a description without escapes.
pub(super) fn plain<'a>(description: &'a model::Description<'_>) -> model::Description<'a> {
    model::Description {
        octets: Octets(description.unescaped()),
        ..model::Description::default()
    }
}

/// The alternatives of a description, where there are several.
fn several(description: &model::Description<'_>) -> Vec<Vec<u8>> {
    let plain = plain(description);
    let mut all: Vec<Vec<u8>> = plain.alternatives().map(<[u8]>::to_vec).collect();
    if all.len() < 2 {
        return Vec::new();
    }
    all.iter_mut().for_each(end_line);
    all
}

/// The codecs that a gateway may choose from, in all alternatives of a Local; any
/// (`None`) where one of them leaves that open.
fn choice(description: &model::Description<'_>) -> Option<Vec<String>> {
    let plain = plain(description);
    let mut names = Vec::new();
    for alternative in plain.alternatives() {
        names.extend(local::codecs(alternative)?);
    }
    (!names.is_empty()).then_some(names)
}

fn direction(mode: StreamMode) -> Option<Direction> {
    match mode {
        StreamMode::SendReceive => Some(Direction::SendRecv),
        StreamMode::SendOnly => Some(Direction::SendOnly),
        StreamMode::ReceiveOnly => Some(Direction::RecvOnly),
        StreamMode::Inactive => Some(Direction::Inactive),
        StreamMode::Loopback => None,
    }
}

pub(super) fn stream_mode(direction: Direction) -> StreamMode {
    match direction {
        Direction::SendRecv => StreamMode::SendReceive,
        Direction::SendOnly => StreamMode::SendOnly,
        Direction::RecvOnly => StreamMode::ReceiveOnly,
        Direction::Inactive => StreamMode::Inactive,
    }
}

fn context(id: ContextId) -> Selector {
    match id {
        ContextId::CHOOSE => Selector::Choose,
        ContextId::ALL => Selector::EVERY,
        id => Selector::One(Name::exact(id.to_string().as_bytes())),
    }
}

pub(super) fn context_of(selector: &Selector) -> ContextId {
    let id = selector.one().and_then(|name| number(name.written()));
    id.map_or(ContextId::NULL, ContextId)
}

/// The terminations of a command. ROOT stands for all of the gateway's where it
/// comes into or goes out of service.
fn terminations(ids: &[TerminationId<'_>], of_service: bool) -> Selector {
    let [id] = ids else {
        // Several at once (version 3): whichever they are, all may be meant.
        return Selector::EVERY;
    };
    match id {
        TerminationId::Root if of_service => Selector::EVERY,
        TerminationId::All => Selector::EVERY,
        id if id.is_choose() => Selector::Choose,
        TerminationId::Path(path) if id.is_wildcard() => {
            let path = path.to_ascii_lowercase();
            let first = path.find('*').unwrap_or(path.len());
            let last = path.rfind('*').map_or(path.len(), |at| at + 1);
            Selector::All {
                prefix: path.as_bytes().get(..first).unwrap_or_default().to_vec(),
                suffix: path.as_bytes().get(last..).unwrap_or_default().to_vec(),
            }
        }
        TerminationId::Octets {
            wildcards,
            id: octets,
        } if id.is_wildcard() => {
            // The highest bit from which on anything goes, counted from the last
            // octet's lowest; what stands in the octets above it is fixed.
            let bit = wildcards.iter().map(|w| w & 0x3f).max().unwrap_or(0);
            let fixed = octets.len().saturating_sub(usize::from(bit) / 8 + 1);
            let fixed = TerminationId::Octets {
                wildcards: (&[][..]).into(),
                id: octets.get(..fixed).unwrap_or_default().into(),
            };
            Selector::All {
                prefix: fixed.to_string().into_bytes(),
                suffix: Vec::new(),
            }
        }
        // Annex B does not tell cases apart; hexadecimal octets have one.
        id => Selector::One(Name::any_case(id.to_string().as_bytes())),
    }
}

pub(super) fn termination_of(selector: &Selector, encoding: Encoding) -> TerminationId<'static> {
    let Some(name) = selector.one() else {
        return TerminationId::Root;
    };
    let text = String::from_utf8_lossy(name.written()).into_owned();
    if text.eq_ignore_ascii_case("ROOT") {
        return TerminationId::Root;
    }
    if encoding != Encoding::Binary {
        return TerminationId::Path(text.into());
    }
    let octet = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    let id: Vec<u8> = name.written().chunks(2).filter_map(octet).collect();
    TerminationId::Octets {
        wildcards: Vec::new().into(),
        id: id.into(),
    }
}
