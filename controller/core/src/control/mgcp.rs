//! MGCP in the neutral words: a command is a transaction of one operation, a
//! connection has one stream.

use super::codec::{Codec, Connection, Message, Unreadable};
use super::message::{
    Dialect, Edit, End, Kind, Name, Operation, Outcome, Part, Place, Reply, Request, Restart,
    Selector, Stream,
};
use crate::engine::Protocol;
use crate::media::Direction;
use crate::mgcp::value::{self, ConnectionMode, RestartMethod};
use crate::mgcp::{
    self, CommandBuilder, EndpointName, Packet, PacketEdit, Parameter, ResponseBuilder, StartLine,
    Verb,
};

/// The stream of a connection.
const STREAM: u16 = 1;
/// Codec negotiation failure (RFC 3435 §2.4).
const CODEC_NEGOTIATION_FAILURE: u16 = 534;

/// MGCP (RFC 3435).
#[derive(Debug, Clone, Copy)]
pub struct Mgcp;

/// A datagram of MGCP.
#[derive(Debug)]
struct Datagram {
    packet: Packet,
    parts: Vec<Part>,
}

impl Codec for Mgcp {
    fn protocol(&self) -> Protocol {
        Protocol::Mgcp
    }

    fn read(&self, bytes: &[u8]) -> Result<Box<dyn Message>, Unreadable> {
        let packet = Packet::parse(bytes).map_err(|error| Unreadable {
            kind: error.what,
            detail: error.to_string(),
        })?;
        let parts = packet.messages().map(|message| part(&message)).collect();
        Ok(Box::new(Datagram { packet, parts }))
    }

    fn modify(
        &self,
        id: u32,
        connection: &Connection,
        remote: &[u8],
        mode: Option<Direction>,
    ) -> Vec<u8> {
        let place = &connection.place;
        let name = |selector: &Selector| -> Vec<u8> {
            selector
                .one()
                .map(Name::written)
                .unwrap_or_default()
                .to_vec()
        };
        let command = CommandBuilder::new(
            &Verb::ModifyConnection,
            id,
            &name(&place.termination),
            &connection.dialect.0,
        )
        .parameter(Parameter::CALL_ID, name(&place.context))
        .parameter(Parameter::CONNECTION_ID, name(&place.connection));
        let command = match mode {
            Some(mode) => command.parameter(Parameter::CONNECTION_MODE, ConnectionMode::name(mode)),
            None => command,
        };
        command.description(remote).build()
    }

    fn largest_id(&self) -> u32 {
        999_999_999
    }

    fn is_for_codecs(&self, code: u16) -> bool {
        code == CODEC_NEGOTIATION_FAILURE
    }

    fn pending(&self, id: u32, _dialect: &Dialect) -> Vec<u8> {
        ResponseBuilder::new(100, id).build()
    }

    fn acknowledge(&self, id: u32, _dialect: &Dialect) -> Vec<u8> {
        ResponseBuilder::new(0, id).build()
    }
}

impl Message for Datagram {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn edited(&self, edits: &[Edit]) -> Vec<u8> {
        let mut edit = PacketEdit::new(&self.packet);
        for change in edits {
            match change {
                // An audit's single description is given as Local.
                Edit::Description { at, end, sdp } => match end {
                    End::Local => edit.description(at.part, 0, sdp),
                    End::Remote => {
                        let index =
                            usize::from(matches!(self.parts.get(at.part), Some(Part::Reply(_))));
                        edit.description(at.part, index, sdp);
                    }
                },
                Edit::Codecs { at, names } => {
                    let message = self.packet.messages().nth(at.part);
                    let options =
                        message.and_then(|m| m.parameter(Parameter::LOCAL_CONNECTION_OPTIONS));
                    if let Some(options) = options {
                        let options = value::with_codecs(options, names);
                        edit.parameter(at.part, Parameter::LOCAL_CONNECTION_OPTIONS, &options);
                    }
                }
                Edit::Id { part, id } => edit.transaction(*part, *id),
                Edit::Drop { part } => edit.remove(*part),
            }
        }
        edit.finish()
    }
}

fn part(message: &mgcp::Message<'_>) -> Part {
    let id = message.transaction();
    match message.start() {
        StartLine::Command {
            verb,
            endpoint,
            version,
        } => Part::Request(Request {
            id,
            dialect: Dialect(version.to_vec()),
            signed: false,
            operations: vec![operation(message, verb, &endpoint)],
        }),
        StartLine::Response { code, .. } => match code {
            100..=199 => Part::Pending(id),
            200.. => Part::Reply(reply(message, code)),
            _ => Part::Other,
        },
    }
}

fn operation(message: &mgcp::Message<'_>, verb: &Verb, endpoint: &EndpointName<'_>) -> Operation {
    let connection = message.parameter(Parameter::CONNECTION_ID);
    let place = Place {
        termination: termination(endpoint),
        connection: match verb {
            Verb::CreateConnection => Selector::Choose,
            _ => connection.map_or(Selector::Absent, identifier),
        },
        context: message
            .parameter(Parameter::CALL_ID)
            .map_or(Selector::Absent, identifier),
    };
    let kind = match verb {
        Verb::CreateConnection => Kind::Create,
        Verb::ModifyConnection => Kind::Modify,
        Verb::DeleteConnection => Kind::Delete,
        Verb::AuditConnection => {
            let asked = message.parameter(Parameter::REQUESTED_INFO).unwrap_or(b"");
            let asks = |what: Parameter| value::names(asked).any(|name| what.matches(name));
            Kind::Audit {
                local: asks(Parameter::LOCAL_DESCRIPTOR),
                remote: asks(Parameter::REMOTE_DESCRIPTOR),
            }
        }
        Verb::AuditEndpoint => Kind::Audit {
            local: false,
            remote: false,
        },
        Verb::Notify => Kind::Notify,
        Verb::RestartInProgress => Kind::Restart(restart(message)),
        Verb::EndpointConfiguration
        | Verb::NotificationRequest
        | Verb::Message
        | Verb::Other(_) => Kind::Other,
    };
    let streams = match kind {
        Kind::Create | Kind::Modify => vec![Stream {
            id: STREAM,
            mode: message
                .parameter(Parameter::CONNECTION_MODE)
                .and_then(|mode| ConnectionMode::parse(mode).direction()),
            local: None,
            remote: message.descriptions().next().map(<[u8]>::to_vec),
            alternatives: Vec::new(),
            codecs: message
                .parameter(Parameter::LOCAL_CONNECTION_OPTIONS)
                .and_then(value::codecs),
        }],
        _ => Vec::new(),
    };
    Operation {
        kind,
        place,
        streams,
        rings: rings(message, verb),
        waits: message
            .parameter(Parameter::SIGNAL_REQUESTS)
            .is_some_and(|signals| value::events(signals).any(is_ringback)),
    }
}

/// Whether a telephone is to ring (506), or no longer (512; 510: it has answered). A
/// request for notification without signals stops those there are (RFC 3435 §2.3.3).
fn rings(message: &mgcp::Message<'_>, verb: &Verb) -> Option<bool> {
    if *verb == Verb::Notify {
        let observed = message.parameter(Parameter::OBSERVED_EVENTS)?;
        let answers = value::events(observed).any(|event| is_of_line(event, &[b"hd"]));
        return answers.then_some(false);
    }
    let requests = *verb == Verb::NotificationRequest
        || message.parameter(Parameter::REQUEST_IDENTIFIER).is_some();
    let signals = match message.parameter(Parameter::SIGNAL_REQUESTS) {
        None if requests => return Some(false),
        signals => signals?,
    };
    if signals.is_empty() {
        return Some(false);
    }
    let rings = value::events(signals).any(|signal| is_of_line(signal, &RINGING));
    rings.then_some(true)
}

/// Ringback, of the Generic Media package (610).
fn is_ringback(event: &[u8]) -> bool {
    event.eq_ignore_ascii_case(b"G/rt")
}

/// Ringing and distinctive ringing (RFC 3660 §2.4).
const RINGING: [&[u8]; 9] = [
    b"rg", b"r0", b"r1", b"r2", b"r3", b"r4", b"r5", b"r6", b"r7",
];

/// The Line package's; it is a line's own, which may go without saying.
fn is_of_line(event: &[u8], names: &[&[u8]]) -> bool {
    let mut parts = event.rsplitn(2, |&b| b == b'/');
    let name = parts.next().unwrap_or_default();
    parts.next().is_none_or(|p| p.eq_ignore_ascii_case(b"L"))
        && names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn restart(message: &mgcp::Message<'_>) -> Restart {
    // Without a method it is an ordinary restart.
    let method = message.parameter(Parameter::RESTART_METHOD);
    match method.map(RestartMethod::parse) {
        None | Some(RestartMethod::Restart) => Restart::Restart,
        Some(RestartMethod::Forced) => Restart::Forced,
        Some(RestartMethod::Graceful) => Restart::Graceful,
        Some(RestartMethod::Disconnected) => Restart::Disconnected,
        Some(RestartMethod::CancelGraceful | RestartMethod::Other(_)) => Restart::Other,
    }
}

fn reply(message: &mgcp::Message<'_>, code: u16) -> Reply {
    let mut descriptions = message.descriptions().map(<[u8]>::to_vec);
    let local = descriptions.next();
    // Of a local bridge it is the other connection's own (RFC 3435 §2.3.5).
    let bridged = message.parameter(Parameter::SECOND_CONNECTION_ID).is_some();
    let remote = descriptions.next().filter(|_| !bridged);
    let streams = match (&local, &remote) {
        (None, None) => Vec::new(),
        _ => vec![Stream {
            id: STREAM,
            local,
            remote,
            ..Stream::default()
        }],
    };
    let acknowledgement = message.parameter(Parameter::RESPONSE_ACK);
    let place = Place {
        termination: message
            .parameter(Parameter::SPECIFIC_ENDPOINT_ID)
            .map_or(Selector::Absent, |name| {
                termination(&EndpointName::new(name))
            }),
        connection: message
            .parameter(Parameter::CONNECTION_ID)
            .map_or(Selector::Absent, identifier),
        context: Selector::Absent,
    };
    Reply {
        id: message.transaction(),
        signed: false,
        segment: None,
        wants_acknowledgement: acknowledgement.is_some_and(<[u8]>::is_empty),
        error: None,
        results: vec![Outcome {
            place,
            streams,
            error: (code >= 300).then_some(code),
        }],
    }
}

/// Endpoint names are the same in any case (RFC 3435 §3.2.1.3).
fn termination(endpoint: &EndpointName<'_>) -> Selector {
    if endpoint.is_any() {
        return Selector::Choose;
    }
    if !endpoint.is_all() {
        return Selector::One(Name::any_case(endpoint.written));
    }
    let written = endpoint.written.to_ascii_lowercase();
    let wild = |b: &u8| matches!(b, b'*' | b'[');
    let local = endpoint.local.len();
    let name = written.get(..local).unwrap_or_default();
    let first = name.iter().position(wild).unwrap_or(local);
    let last = name
        .iter()
        .rposition(|b| matches!(b, b'*' | b']'))
        .map_or(local, |last| last + 1);
    Selector::All {
        prefix: written.get(..first).unwrap_or_default().to_vec(),
        suffix: written.get(last.max(first)..).unwrap_or_default().to_vec(),
    }
}

/// Call and connection ids are hexadecimal: the same in any case. `*` and `$` are
/// wildcards.
fn identifier(written: &[u8]) -> Selector {
    match written {
        b"" => Selector::Absent,
        b"*" => Selector::EVERY,
        b"$" => Selector::Choose,
        one => Selector::One(Name::any_case(one)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Box<dyn Message> {
        Mgcp.read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_create_and_its_reply() {
        let message = read(
            "CRCX 7 AALN/1@GW MGCP 1.0 NCS 1.0\r\nC: a1\r\nM: recvonly\r\nL: a:PCMU;G729\r\n\r\nv=0\r\n",
        );
        let [Part::Request(request)] = message.parts() else {
            panic!("{message:?}");
        };
        assert_eq!(request.id, 7);
        assert_eq!(request.dialect.0, b"MGCP 1.0 NCS 1.0");
        let [operation] = &request.operations[..] else {
            panic!("{request:?}");
        };
        assert_eq!(operation.kind, Kind::Create);
        assert_eq!(
            operation.place,
            Place {
                termination: Selector::One(Name::any_case(b"aaln/1@gw")),
                connection: Selector::Choose,
                context: Selector::One(Name::any_case(b"A1")),
            }
        );
        let stream = &operation.streams[0];
        assert_eq!(stream.mode, Some(Direction::RecvOnly));
        assert_eq!(stream.remote.as_deref(), Some(&b"v=0\r\n"[..]));
        assert_eq!(
            stream.codecs,
            Some(vec!["PCMU".to_owned(), "G729".to_owned()])
        );

        let message = read("200 7 OK\r\nK:\r\nI: f1\r\nZ: aaln/1@gw\r\n\r\nv=0\r\na=x\r\n");
        let [Part::Reply(reply)] = message.parts() else {
            panic!("{message:?}");
        };
        assert!(reply.wants_acknowledgement);
        let outcome = &reply.results[0];
        assert_eq!(outcome.error, None);
        assert_eq!(
            outcome.place.connection,
            Selector::One(Name::any_case(b"F1"))
        );
        assert_eq!(
            outcome.streams[0].local.as_deref(),
            Some(&b"v=0\r\na=x\r\n"[..])
        );
        assert_eq!(outcome.streams[0].remote, None);
    }

    #[test]
    fn ringing_by_signals_and_events() {
        for (lines, rings) in [
            ("RQNT 1 e@g MGCP 1.0\r\nX: 1\r\nS: L/rg\r\n", Some(true)),
            (
                "RQNT 1 e@g MGCP 1.0\r\nX: 1\r\nS: l/ci(\"a,b\",1),l/R2(to=9)\r\n",
                Some(true),
            ),
            ("MDCX 1 e@g MGCP 1.0\r\nI: 1\r\nS: rg\r\n", Some(true)),
            ("RQNT 1 e@g MGCP 1.0\r\nX: 1\r\nS: G/rt\r\n", None),
            ("RQNT 1 e@g MGCP 1.0\r\nX: 1\r\nS: X/ci(L/rg,rg)\r\n", None),
            ("RQNT 1 e@g MGCP 1.0\r\nX: 1\r\nR: L/hu\r\n", Some(false)),
            ("MDCX 1 e@g MGCP 1.0\r\nI: 1\r\nX: 2\r\nS:\r\n", Some(false)),
            ("MDCX 1 e@g MGCP 1.0\r\nI: 1\r\n", None),
            ("NTFY 1 e@g MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n", Some(false)),
            ("NTFY 1 e@g MGCP 1.0\r\nX: 1\r\nO: L/hu\r\n", None),
        ] {
            let message = read(lines);
            let [Part::Request(request)] = message.parts() else {
                panic!("{message:?}");
            };
            assert_eq!(request.operations[0].rings, rings, "{lines}");
        }
    }

    #[test]
    fn wildcards_of_endpoints() {
        for (written, selected, other) in [
            ("*@gw", "aaln/1@gw", "aaln/1@other"),
            ("aaln/*@gw", "aaln/2@gw", "ds/2@gw"),
            ("ds/e1-[1-4]/3@gw", "ds/e1-2/3@gw", "ds/e2-2/3@gw"),
            ("AALN/1@gw", "aaln/1@gw", "aaln/11@gw"),
        ] {
            let selector = termination(&EndpointName::new(written.as_bytes()));
            assert!(
                selector.selects(&Name::any_case(selected.as_bytes())),
                "{selector:?}"
            );
            assert!(
                !selector.selects(&Name::any_case(other.as_bytes())),
                "{selector:?}"
            );
        }
    }
}
