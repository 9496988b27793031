//! What thin clients say: their requests, with the replies to them, and their replies to
//! ours.

use super::super::gateway::{Hook, Method, Reply, Said, Want};
use super::{Context, Voice};
use crate::control::message::Segment;
use crate::h248::local;
use crate::h248::model::{
    AckRange, ActionReply, CommandKind, CommandReply, CommandRequest, ContextId, ContextProperties,
    Description, Descriptor, ErrorDescriptor, Mid, Octets, Reply as ReplyModel, ReplyResult,
    Request, SegmentReply, ServiceChangeAddress, ServiceChangeDescriptor, ServiceChangeMethod,
    Span, TerminationId, Transaction,
};
use crate::h248::packages::{self, ItemKind};
use crate::media::Codec;
use crate::sdp::{SessionDescription, codec_named};

/// Unauthorized (H.248.8).
const UNAUTHORIZED: u16 = 402;
/// Unsupported or unknown command (H.248.8).
const UNKNOWN_COMMAND: u16 = 443;

/// A message identifier as text has it (Annex B `mId`).
pub(super) fn mid_text(mid: &Mid<'_>) -> String {
    let with_port = |name: String, port: &Option<u16>| match port {
        Some(port) => format!("{name}:{port}"),
        None => name,
    };
    match mid {
        Mid::Ip { address, port } => with_port(format!("[{address}]"), port),
        Mid::Domain { name, port } => with_port(format!("<{name}>"), port),
        Mid::Device(name) => name.to_string(),
        Mid::Mtp { address, digits } => {
            format!("MTP{{{address:0digits$X}}}", digits = usize::from(*digits))
        }
    }
}

/// The version that a ServiceChange proposes (§11.3).
pub(super) fn proposed_version(transaction: &Transaction<'_>) -> Option<u8> {
    let Transaction::Request(request) = transaction else {
        return None;
    };
    let commands = request.actions.iter().flat_map(|action| &action.commands);
    commands
        .flat_map(|command| &command.descriptors)
        .find_map(|descriptor| match descriptor {
            Descriptor::ServiceChange(change) => change.version,
            _ => None,
        })
}

/// A request of a thin client's, and both of its replies.
pub(super) fn requested(request: &Request<'_>, name: &str, voice: &Voice) -> Said<Context> {
    let mut wants = Vec::new();
    let mut actions = Vec::new();
    for action in &request.actions {
        let mut commands = Vec::new();
        for command in &action.commands {
            commands.push(served(command, voice.version, &mut wants));
        }
        actions.push(ActionReply {
            context: action.context,
            error: None,
            properties: ContextProperties::default(),
            commands,
            context_span: Span::default(),
        });
    }
    let reply = |result| {
        voice.say(Transaction::Reply(ReplyModel {
            id: request.id,
            segment: None,
            immediate_ack: false,
            result,
            id_span: Span::default(),
        }))
    };
    Said::Request {
        transaction: request.id,
        name: name.to_owned(),
        wants,
        granted: reply(ReplyResult::Actions(actions)),
        refused: reply(ReplyResult::Error(error(UNAUTHORIZED))),
    }
}

fn error(code: u16) -> ErrorDescriptor<'static> {
    ErrorDescriptor { code, text: None }
}

/// What a command wants, and its reply.
fn served<'a>(
    command: &CommandRequest<'a>,
    version: u8,
    wants: &mut Vec<Want>,
) -> CommandReply<'a> {
    let mut descriptors = Vec::new();
    match command.kind {
        CommandKind::ServiceChange => {
            let root = command.terminations.contains(&TerminationId::Root);
            for descriptor in &command.descriptors {
                let Descriptor::ServiceChange(change) = descriptor else {
                    continue;
                };
                if root {
                    wants.push(register(change));
                }
                if change.version.is_some() {
                    descriptors.push(Descriptor::ServiceChange(Box::new(
                        ServiceChangeDescriptor {
                            version: Some(version),
                            ..ServiceChangeDescriptor::default()
                        },
                    )));
                }
            }
        }
        CommandKind::Notify => {
            for descriptor in &command.descriptors {
                let Descriptor::ObservedEvents(observed) = descriptor else {
                    continue;
                };
                for event in &observed.events {
                    let is = |item| packages::is(&event.name, ItemKind::Event, "al", item);
                    if is("of") {
                        wants.push(Want::Hook(Hook::Off));
                    } else if is("on") {
                        wants.push(Want::Hook(Hook::On));
                    }
                }
            }
        }
        _ => descriptors.push(Descriptor::Error(error(UNKNOWN_COMMAND))),
    }
    CommandReply {
        kind: command.kind,
        terminations: command.terminations.clone(),
        of_context: false,
        descriptors,
        span: Span::default(),
    }
}

fn register(change: &ServiceChangeDescriptor<'_>) -> Want {
    let method = match &change.method {
        Some(ServiceChangeMethod::Graceful) => Method::Graceful,
        Some(ServiceChangeMethod::Forced) => Method::Forced,
        Some(
            ServiceChangeMethod::Disconnected
            | ServiceChangeMethod::Handoff
            | ServiceChangeMethod::Failover,
        ) => Method::Disconnected,
        Some(ServiceChangeMethod::Restart | ServiceChangeMethod::Other(_)) | None => {
            Method::Restart
        }
    };
    // Another host is not believed: nobody is made to call a third party.
    let port = match &change.address {
        Some(ServiceChangeAddress::Port(port)) => Some(*port),
        Some(ServiceChangeAddress::Mid(_)) | None => None,
    };
    Want::Register { method, port }
}

/// A reply of a thin client's.
pub(super) fn replied(reply: &ReplyModel<'_>, voice: &Voice) -> Said<Context> {
    let mut told = Reply::empty();
    if let ReplyResult::Error(error) = &reply.result {
        told.error = Some(error.code);
    }
    for action in reply.actions() {
        if let Some(error) = &action.error {
            told.error.get_or_insert(error.code);
        }
        for command in &action.commands {
            hear(&mut told, action.context, command);
        }
    }
    let whole = || {
        voice.say(Transaction::ResponseAck(vec![AckRange {
            first: reply.id,
            last: reply.id,
        }]))
    };
    let of_segment = |segment| {
        voice.say(Transaction::Segment(SegmentReply {
            id: reply.id,
            segment,
            id_span: Span::default(),
        }))
    };
    Said::Reply {
        transaction: reply.id,
        reply: told,
        segment: reply.segment.map(|segment| Segment {
            number: segment.number,
            last: segment.complete,
        }),
        acknowledgement: match reply.segment {
            Some(segment) => Some(of_segment(segment)),
            None => reply.immediate_ack.then(whole),
        },
    }
}

/// What the reply to one command adds.
fn hear(told: &mut Reply<Context>, context: ContextId, command: &CommandReply<'_>) {
    let specific = command.terminations.iter().filter(|t| t.is_specific());
    told.terminations
        .extend(specific.map(|t| t.clone().into_owned()));
    for descriptor in &command.descriptors {
        match descriptor {
            Descriptor::Error(error) => {
                told.error.get_or_insert(error.code);
            }
            Descriptor::Media(media) => {
                for stream in &media.streams {
                    let Some(local) = &stream.local else {
                        continue;
                    };
                    hear_local(told, local);
                    if command.kind == CommandKind::Add
                        && let Some(rtp) = command.terminations.first()
                    {
                        told.handle = Some(Context {
                            id: context,
                            rtp: rtp.clone().into_owned(),
                        });
                    }
                }
            }
            _ => {}
        }
    }
}

fn hear_local(told: &mut Reply<Context>, local: &Description<'_>) {
    let plain = Description {
        octets: Octets(local.unescaped()),
        ..Description::default()
    };
    for alternative in plain.alternatives() {
        for codec in codecs_of(alternative) {
            if !told.codecs.iter().any(|known| known.same_encoding(&codec)) {
                told.codecs.push(codec);
            }
        }
        told.local.get_or_insert_with(|| alternative.to_vec());
    }
}

/// The codecs of a description, whether it leaves something open (`$`) or not.
fn codecs_of(sdp: &[u8]) -> Vec<Codec> {
    if let Some(names) = local::codecs(sdp) {
        return names.iter().map(|name| codec_named(name)).collect();
    }
    let described = SessionDescription::parse(sdp).ok();
    let audio = described.and_then(|sdp| Some(sdp.audio_of_answer().ok()?.1));
    audio.map(|media| media.codecs).unwrap_or_default()
}
