//! Thin clients that speak MGCP (RFC 3435): Sidestep is their call agent.
//!
//! In: what the legs want, and the datagrams of the thin clients. Out: CRCX, MDCX,
//! DLCX, RQNT and AUEP, and what the responses and RSIP and NTFY say.
//!
//! A registration is an RSIP that names the account's endpoint, itself or by a
//! wildcard. It is answered, then AUEP asks for the codecs (M2).
//!
//! | what a leg wants | command |
//! | --- | --- |
//! | create | CRCX: `M: recvonly` until the other end is known (else 527) |
//! | the other end, another mode | MDCX |
//! | ringing, ringback, quiet | `S: L/rg`, `S: G/rt`, `S:` in either, or in an RQNT |
//! | delete | DLCX |
//!
//! Off-hook and on-hook (`L/hd`, `L/hu`) are asked for with each connection and
//! after each notification, which a request has one of (§4.4.1). A gateway with a
//! hook refuses the event that it is in already (401, 402; RFC 3660 §2.4) and is
//! then asked for the other alone; one without these packages (518, 522, and 539
//! of those who know no `R:`) is asked without any.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::CallProgress;
use super::gateway::{
    Association, Change, Command, Failure, Hook, Method, NotUnderstood, Question, Read, Reply,
    Said, Settings, Want, Wire,
};
use crate::media::{Codec, Media};
use crate::mgcp::value::{ConnectionMode, RestartMethod, names, options};
use crate::mgcp::{
    CommandBuilder, EndpointName, Message, Packet, Parameter, ResponseBuilder, StartLine, Verb,
};
use crate::registrar::Signalling;
use crate::sdp::{codec_named, describe};
use crate::sip::identifiers::Identifiers;

const VERSION: &[u8] = b"MGCP 1.0";

/// MGCP.
#[derive(Debug)]
pub(super) struct Mgcp {
    /// Of all names that we give calls: they are never those of an earlier run.
    prefix: u32,
    identifiers: Identifiers,
}

/// What is remembered of a thin client.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: String,
    events: Events,
}

/// The events that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Events {
    /// Both; nothing is known of its hook.
    Both,
    /// It is on the hook.
    OffHook,
    /// It is off the hook.
    OnHook,
}

/// What a gateway calls a connection, with our name of its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Connection {
    call: String,
    id: String,
}

impl Mgcp {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let mut identifiers = Identifiers::new(seed, "MGCP names");
        Self {
            prefix: identifiers.below(u32::MAX),
            identifiers,
        }
    }
}

impl Client {
    /// The account of this endpoint.
    pub(super) fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            events: Events::Both,
        }
    }
}

impl Wire for Mgcp {
    type Handle = Connection;
    type Client = Client;

    const NAME: &'static str = "mgcp";
    const REARMS: bool = true;
    const QUESTIONS: &'static [Question] = &[Question::Capabilities];

    fn read(&self, _local: SocketAddr, bytes: &[u8]) -> Result<Read<Connection>, NotUnderstood> {
        let packet = Packet::parse(bytes).map_err(|error| NotUnderstood {
            kind: error.what,
            detail: error.to_string(),
            answer: None,
        })?;
        Ok(Read {
            association: Association::default(),
            said: packet.messages().filter_map(|m| self.said(m)).collect(),
        })
    }

    fn is_named(&self, client: &Client, name: &str) -> bool {
        let (own, said) = (
            EndpointName::new(client.endpoint.as_bytes()),
            EndpointName::new(name.as_bytes()),
        );
        let mut terms = own.terms();
        let mut matches = own.domain.eq_ignore_ascii_case(said.domain);
        for term in said.terms() {
            // A last `*` stands for all that follows it (RFC 3435 §2.1.2).
            if term == b"*" {
                return matches;
            }
            matches &= terms
                .next()
                .is_some_and(|own| own.eq_ignore_ascii_case(term));
        }
        matches && terms.next().is_none()
    }

    fn meet(&self, client: &mut Client, _association: &Association) {
        client.events = Events::Both;
    }

    fn learn(
        &self,
        _client: &mut Client,
        _question: Question,
        _reply: &Reply<Connection>,
    ) -> Result<(), &'static str> {
        Ok(())
    }

    fn command(
        &mut self,
        client: &mut Client,
        local: SocketAddr,
        transaction: u32,
        (handle, command, mute): (Option<&Connection>, &Command, bool),
        codecs: &[Codec],
    ) -> Vec<u8> {
        let endpoint = client.endpoint.as_bytes();
        let begin = |verb| CommandBuilder::new(&verb, transaction, endpoint, VERSION);
        let named = |message: CommandBuilder| match handle {
            Some(connection) => message
                .parameter(Parameter::CALL_ID, &connection.call)
                .parameter(Parameter::CONNECTION_ID, &connection.id),
            None => message,
        };
        match command {
            Command::Create(settings) => {
                let call = self.call_name(transaction);
                let message = begin(Verb::CreateConnection)
                    .parameter(Parameter::CALL_ID, call)
                    .parameter(
                        Parameter::LOCAL_CONNECTION_OPTIONS,
                        allowed(settings, codecs),
                    )
                    .parameter(
                        Parameter::CONNECTION_MODE,
                        ConnectionMode::name(settings.mode),
                    );
                let message = match mute {
                    true => message,
                    false => self.ask_for_events(
                        message.parameter(Parameter::NOTIFIED_ENTITY, entity(local)),
                        client.events,
                        settings.progress,
                    ),
                };
                with_description(message, settings.remote.as_ref()).build()
            }
            Command::Modify(Change {
                remote: None,
                mode: None,
                progress,
                ..
            }) => {
                let message = begin(Verb::NotificationRequest)
                    .parameter(Parameter::NOTIFIED_ENTITY, entity(local));
                let progress = progress.unwrap_or(CallProgress::Quiet);
                self.ask_for_events(message, client.events, progress)
                    .build()
            }
            Command::Modify(change) => {
                let mut message = named(begin(Verb::ModifyConnection));
                if let Some(mode) = change.mode {
                    let mode = ConnectionMode::name(mode);
                    message = message.parameter(Parameter::CONNECTION_MODE, mode);
                }
                if change.progress.is_some() || change.rearm {
                    let progress = change.progress.unwrap_or(CallProgress::Quiet);
                    message = self.ask_for_events(message, client.events, progress);
                }
                with_description(message, change.remote.as_ref()).build()
            }
            Command::Delete { signals } => {
                let message = named(begin(Verb::DeleteConnection));
                match signals {
                    true => self
                        .ask_for_events(message, client.events, CallProgress::Quiet)
                        .build(),
                    false => message.build(),
                }
            }
        }
    }

    fn question(
        &mut self,
        client: &mut Client,
        _local: SocketAddr,
        transaction: u32,
        question: Question,
    ) -> Vec<u8> {
        let endpoint = client.endpoint.as_bytes();
        let audit = CommandBuilder::new(&Verb::AuditEndpoint, transaction, endpoint, VERSION);
        match question {
            Question::Capabilities => audit.parameter(Parameter::REQUESTED_INFO, "A").build(),
            Question::Terminations | Question::Alive => audit.build(),
            // All connections of the endpoint (§2.3.9).
            Question::Release => {
                let delete = Verb::DeleteConnection;
                CommandBuilder::new(&delete, transaction, endpoint, VERSION).build()
            }
        }
    }

    fn failure(&self, client: &mut Client, code: u16) -> Failure {
        match code {
            // Off-hook, or on-hook, already.
            401 if client.events == Events::Both => {
                client.events = Events::OnHook;
                Failure::Again
            }
            402 if client.events == Events::Both => {
                client.events = Events::OffHook;
                Failure::Again
            }
            505 | 506 | 509 | 524 | 534 | 541 => Failure::Codec,
            401 | 402 | 512 | 513 | 518 | 522 | 523 | 538 | 539 => Failure::Signals,
            500 | 515 | 516 => Failure::Gone,
            _ => Failure::Other,
        }
    }

    fn hooked(&self, client: &mut Client, hook: Hook) {
        client.events = match hook {
            Hook::Off => Events::OnHook,
            Hook::On => Events::OffHook,
        };
    }

    fn resume(&self, client: &mut Client, signalling: &Signalling) -> Option<Vec<Codec>> {
        match signalling {
            Signalling::Mgcp { endpoint, codecs } if *endpoint == client.endpoint => {
                Some(codecs.clone())
            }
            _ => None,
        }
    }

    fn drawn(&self) -> u64 {
        self.identifiers.drawn()
    }

    fn skip_to(&mut self, drawn: u64) {
        self.identifiers.skip_to(drawn);
    }

    fn signalling(&self, client: &Client, codecs: &[Codec]) -> Signalling {
        Signalling::Mgcp {
            endpoint: client.endpoint.clone(),
            codecs: codecs.to_vec(),
        }
    }
}

impl Mgcp {
    /// The name of the call that a CRCX of this number begins: hexadecimal digits
    /// (§2.1.4).
    fn call_name(&self, transaction: u32) -> String {
        format!("{:08X}{transaction:08X}", self.prefix)
    }

    /// Asks for events, and has the user hear this.
    fn ask_for_events(
        &mut self,
        message: CommandBuilder,
        events: Events,
        progress: CallProgress,
    ) -> CommandBuilder {
        let request = format!("{:X}", self.identifiers.below(u32::MAX));
        let events = match events {
            Events::Both => "L/hd(N), L/hu(N)",
            Events::OffHook => "L/hd(N)",
            Events::OnHook => "L/hu(N)",
        };
        let signal = match progress {
            CallProgress::Alerting => "L/rg",
            CallProgress::Ringback => "G/rt",
            CallProgress::Quiet => "",
        };
        message
            .parameter(Parameter::REQUEST_IDENTIFIER, request)
            .parameter(Parameter::REQUESTED_EVENTS, events)
            .parameter(Parameter::SIGNAL_REQUESTS, signal)
    }

    /// What one message says; nothing, of an acknowledgement (000).
    fn said(&self, message: Message<'_>) -> Option<Said<Connection>> {
        let transaction = message.transaction();
        match message.start() {
            StartLine::Command { verb, endpoint, .. } => {
                let name = String::from_utf8_lossy(endpoint.written).into_owned();
                let reply = |code| ResponseBuilder::new(code, transaction).build();
                let (wants, granted) = match verb {
                    Verb::RestartInProgress => (vec![register(message)], reply(200)),
                    Verb::Notify => (hooks(message), reply(200)),
                    // A connection that the gateway has given up (§2.3.8).
                    Verb::DeleteConnection => (vec![Want::Hook(Hook::On)], reply(250)),
                    _ => (vec![Want::Nothing], reply(504)),
                };
                Some(Said::Request {
                    transaction,
                    name,
                    wants,
                    granted,
                    refused: reply(500),
                })
            }
            StartLine::Response { code: ..=99, .. } => None,
            StartLine::Response { code: ..=199, .. } => Some(Said::Pending { transaction }),
            StartLine::Response { code, .. } => {
                let wants_ack = message
                    .parameter(Parameter::RESPONSE_ACK)
                    .is_some_and(<[u8]>::is_empty);
                Some(Said::Reply {
                    transaction,
                    reply: self.reply(message, code),
                    segment: None,
                    acknowledgement: wants_ack
                        .then(|| ResponseBuilder::new(0, transaction).build()),
                })
            }
        }
    }

    fn reply(&self, message: Message<'_>, code: u16) -> Reply<Connection> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Reply {
            error: (code >= 300).then_some(code),
            handle: message
                .parameter(Parameter::CONNECTION_ID)
                .map(|id| Connection {
                    call: self.call_name(message.transaction()),
                    id: text(id),
                }),
            local: message.descriptions().next().map(<[u8]>::to_vec),
            codecs: capabilities(message),
            terminations: Vec::new(),
        }
    }
}

/// Who is to be notified (§2.1.4 `NotifiedEntity`): we, where the thin client
/// registered.
fn entity(local: SocketAddr) -> String {
    format!("sidestep@[{}]:{}", local.ip(), local.port())
}

/// LocalConnectionOptions: the codecs that both ends have, most wanted first; what
/// the other end has, or what this one has, where only one is known.
fn allowed(settings: &Settings, codecs: &[Codec]) -> String {
    let remote = settings.remote.as_ref();
    let wanted = remote.map_or(codecs, |remote| &remote.codecs);
    let both =
        |codec: &&Codec| codecs.is_empty() || codecs.iter().any(|own| own.same_encoding(codec));
    let names: Vec<&str> = wanted
        .iter()
        .filter(both)
        .map(|codec| codec.name.as_str())
        .collect();
    let ptime = remote.and_then(|remote| remote.ptime);
    let mut options = Vec::new();
    if let Some(ptime) = ptime {
        options.push(format!("p:{ptime}"));
    }
    if !names.is_empty() {
        options.push(format!("a:{}", names.join(";")));
    }
    options.join(", ")
}

fn with_description(message: CommandBuilder, remote: Option<&Media>) -> CommandBuilder {
    match remote {
        Some(media) => message.description(describe(media, 1, 1)),
        None => message,
    }
}

fn register(message: Message<'_>) -> Want {
    let method = message.parameter(Parameter::RESTART_METHOD);
    let method = match method.map(RestartMethod::parse) {
        Some(RestartMethod::Forced) => Method::Forced,
        Some(RestartMethod::Graceful) => Method::Graceful,
        Some(RestartMethod::Disconnected | RestartMethod::CancelGraceful) => Method::Disconnected,
        Some(RestartMethod::Restart | RestartMethod::Other(_)) | None => Method::Restart,
    };
    Want::Register { method, port: None }
}

fn hooks(message: Message<'_>) -> Vec<Want> {
    let observed = message.parameter(Parameter::OBSERVED_EVENTS);
    names(observed.unwrap_or_default())
        .map(|event| {
            let event = event.split(|&b| b == b'(').next().unwrap_or_default();
            match event.trim_ascii().to_ascii_lowercase().as_slice() {
                b"l/hd" | b"h/hd" | b"hd" => Want::Hook(Hook::Off),
                b"l/hu" | b"h/hu" | b"hu" => Want::Hook(Hook::On),
                _ => Want::Nothing,
            }
        })
        .collect()
}

/// The codecs of every `A:` line (§2.3.10, §3.2.2.3).
fn capabilities(message: Message<'_>) -> Vec<Codec> {
    let lines = message
        .parameters()
        .filter(|(name, _)| Parameter::CAPABILITIES.matches(name));
    let mut codecs: Vec<Codec> = Vec::new();
    for (_, line) in lines {
        for (key, value) in options(line) {
            if !key.eq_ignore_ascii_case(b"a") {
                continue;
            }
            for name in value.split(|&b| b == b';') {
                let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
                let codec = codec_named(&name);
                if !codecs.iter().any(|known| known.same_encoding(&codec)) {
                    codecs.push(codec);
                }
            }
        }
    }
    codecs
}
