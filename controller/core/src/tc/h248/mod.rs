//! Thin clients that speak H.248 (H.248.1, text or binary): Sidestep is their media
//! gateway controller.
//!
//! In: what the legs want, and the messages of the thin clients. Out: Add, Modify,
//! Subtract and audits, and what Replies, ServiceChange and Notify say.
//!
//! A registration is a ServiceChange of ROOT from a gateway with the account's
//! message identifier (501, 601). It is answered; then AuditValue asks for its
//! terminations and AuditCapabilities for its codecs (M2).
//!
//! | what a leg wants | transaction |
//! | --- | --- |
//! | create (502, 606) | Context `$`: Add of the telephone's termination, which tells al/of and al/on; Add of `$`, the RTP termination, with what it may choose in Local, and with Remote where that is known |
//! | the other end, another mode (508) | Modify of the RTP termination |
//! | ringing, ringback, quiet (608, 508, 514) | Modify of the telephone's: Signals with al/ri, cg/rt, nothing |
//! | delete | Subtract of both |
//!
//! What one go asks for is one transaction: in 508 two Modify. A gateway without
//! these packages (440, 451, 452, 512, 513) is asked again without them, one whose
//! telephone is in another context already (433) to take it out of there first.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `said` | what thin clients say |
//! | `words` | what they are asked |

mod said;
mod words;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use self::said::{mid_text, proposed_version, replied, requested};
use self::words::{action, created, media, mode_of, ordered, remote, signals, stream};
use super::CallProgress;
use super::gateway::{
    Association, Command, Failure, Hook, NotUnderstood, Question, Read, Reply, Said, Wire,
};
use crate::h248::model::{
    ActionRequest, AuditDescriptor, AuditItem, AuditToken, Body, CommandKind, CommandRequest,
    ContextId, Descriptor, EventsDescriptor, ItemName, LocalControl, Message, Mid, Request,
    RequestedEvent, Span, Stream, StreamMode, TerminationId, Transaction,
};
use crate::h248::{self, Encoding};
use crate::media::Codec;
use crate::registrar::Signalling;
use crate::sip::identifiers::Identifiers;

/// Newest version of the protocol that is agreed to.
const VERSION: u8 = 3;

/// H.248.
#[derive(Debug)]
pub(super) struct H248 {
    identifiers: Identifiers,
}

/// What is remembered of a thin client.
#[derive(Debug)]
pub(super) struct Client {
    mid: String,
    /// As the configuration names it.
    configured: Option<String>,
    termination: Option<TerminationId<'static>>,
    encoding: Encoding,
    version: u8,
    /// Its telephone may be in a context that we know nothing of (433).
    entangled: bool,
    /// That has been tried.
    untangled: bool,
}

/// A context, and its RTP termination.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "KeptContext", into = "KeptContext")]
pub(super) struct Context {
    id: ContextId,
    rtp: TerminationId<'static>,
}

/// The same as it is kept: a termination by its text.
#[derive(Serialize, Deserialize)]
struct KeptContext {
    id: u32,
    rtp: String,
    binary: bool,
}

impl From<Context> for KeptContext {
    fn from(context: Context) -> Self {
        Self {
            id: context.id.0,
            rtp: context.rtp.to_string(),
            binary: matches!(context.rtp, TerminationId::Octets { .. }),
        }
    }
}

impl TryFrom<KeptContext> for Context {
    type Error = &'static str;

    fn try_from(kept: KeptContext) -> Result<Self, Self::Error> {
        let encoding = match kept.binary {
            true => Encoding::Binary,
            false => Encoding::Pretty,
        };
        let rtp = termination_of(&kept.rtp, encoding).ok_or("no termination in hexadecimal")?;
        Ok(Self {
            id: ContextId(kept.id),
            rtp,
        })
    }
}

impl H248 {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            identifiers: Identifiers::new(seed, "H.248 requests"),
        }
    }
}

impl Client {
    /// The account of this gateway.
    pub(super) fn new(mid: &str, termination: Option<&str>) -> Self {
        Self {
            mid: mid.to_owned(),
            configured: termination.map(str::to_owned),
            termination: None,
            encoding: Encoding::Pretty,
            version: 1,
            entangled: false,
            untangled: false,
        }
    }

    fn request(&self, local: SocketAddr, id: u32, actions: Vec<ActionRequest<'_>>) -> Vec<u8> {
        let voice = Voice {
            local,
            version: self.version,
            encoding: self.encoding,
        };
        voice.say(Transaction::Request(Request {
            id,
            actions,
            id_span: Span::default(),
        }))
    }
}

impl Wire for H248 {
    type Handle = Context;
    type Client = Client;

    const NAME: &'static str = "h248";
    const REARMS: bool = false;
    const QUESTIONS: &'static [Question] = &[Question::Terminations, Question::Capabilities];

    fn read(&self, local: SocketAddr, bytes: &[u8]) -> Result<Read<Context>, NotUnderstood> {
        let encoding = Encoding::of(bytes).unwrap_or(Encoding::Pretty);
        let message = h248::parse(bytes).map_err(|error| NotUnderstood {
            kind: error.what,
            detail: error.to_string(),
            answer: None,
        })?;
        let name = mid_text(&message.mid);
        let version = message
            .transactions()
            .iter()
            .filter_map(proposed_version)
            .next()
            .unwrap_or(message.version)
            .clamp(1, VERSION);
        let voice = Voice {
            local,
            version,
            encoding,
        };
        let said = message
            .transactions()
            .iter()
            .filter_map(|transaction| match transaction {
                Transaction::Request(request) => Some(requested(request, &name, &voice)),
                Transaction::Reply(reply) => Some(replied(reply, &voice)),
                Transaction::Pending { id, .. } => Some(Said::Pending { transaction: *id }),
                Transaction::ResponseAck(_) | Transaction::Segment(_) => None,
            })
            .collect();
        Ok(Read {
            association: Association {
                encoding: Some(encoding),
                version,
            },
            said,
        })
    }

    fn is_named(&self, client: &Client, name: &str) -> bool {
        client.mid.eq_ignore_ascii_case(name)
    }

    fn meet(&self, client: &mut Client, association: &Association) {
        client.encoding = association.encoding.unwrap_or(client.encoding);
        client.version = association.version;
    }

    fn learn(
        &self,
        client: &mut Client,
        question: Question,
        reply: &Reply<Context>,
    ) -> Result<(), &'static str> {
        if question != Question::Terminations {
            return Ok(());
        }
        let configured = client.configured.as_deref();
        let mut named = reply.terminations.iter();
        let found = named.find(|termination| {
            let is_configured = |name: &str| termination.to_string().eq_ignore_ascii_case(name);
            configured.is_none_or(is_configured)
        });
        client.termination = match (found, configured) {
            (Some(found), _) => Some(found.clone()),
            // It keeps its terminations to itself: what the operator says holds.
            (None, name) => name.and_then(|name| termination_of(name, client.encoding)),
        };
        if client.termination.is_none() {
            return Err("it has no termination for a telephone");
        }
        Ok(())
    }

    fn command(
        &mut self,
        client: &mut Client,
        local: SocketAddr,
        transaction: u32,
        (handle, command, mute): (Option<&Context>, &Command, bool),
        codecs: &[Codec],
    ) -> Vec<u8> {
        let telephone = client.termination.clone().unwrap_or(TerminationId::Root);
        let (context, commands) = match (command, handle) {
            (Command::Create(settings), _) => {
                let mut descriptors = vec![stream(LocalControl {
                    mode: Some(StreamMode::SendReceive),
                    ..LocalControl::default()
                })];
                if !mute {
                    descriptors.push(self.events());
                    if settings.progress != CallProgress::Quiet {
                        descriptors.push(signals(settings.progress));
                    }
                }
                let rtp = Descriptor::Media(created(settings, codecs));
                let commands = vec![
                    ordered(CommandKind::Add, telephone, descriptors),
                    ordered(CommandKind::Add, TerminationId::Choose, vec![rtp]),
                ];
                (ContextId::CHOOSE, commands)
            }
            (Command::Modify(change), Some(context)) => {
                let mut commands = Vec::new();
                if let Some(progress) = change.progress {
                    let signals = vec![signals(progress)];
                    commands.push(ordered(CommandKind::Modify, telephone, signals));
                }
                if change.mode.is_some() || change.remote.is_some() {
                    let media = Descriptor::Media(media(Stream {
                        id: Some(1),
                        control: change.mode.map(|mode| LocalControl {
                            mode: Some(mode_of(mode)),
                            ..LocalControl::default()
                        }),
                        remote: change.remote.as_ref().map(remote),
                        ..Stream::default()
                    }));
                    let rtp = context.rtp.clone();
                    commands.push(ordered(CommandKind::Modify, rtp, vec![media]));
                }
                (context.id, commands)
            }
            (Command::Delete { signals: on }, Some(context)) => {
                let mut commands = Vec::new();
                if *on {
                    let quiet = vec![signals(CallProgress::Quiet)];
                    commands.push(ordered(CommandKind::Modify, telephone.clone(), quiet));
                }
                // No statistics are wanted (§7.2.3).
                for termination in [telephone, context.rtp.clone()] {
                    let nothing = vec![Descriptor::Audit(AuditDescriptor::default())];
                    commands.push(ordered(CommandKind::Subtract, termination, nothing));
                }
                (context.id, commands)
            }
            // Neither is ever due without a context.
            (Command::Modify(_) | Command::Delete { .. }, None) => (ContextId::NULL, Vec::new()),
        };
        let mut actions = vec![action(context, commands)];
        if matches!(command, Command::Create(_)) {
            client.untangled = client.entangled;
        }
        if matches!(command, Command::Create(_)) && std::mem::take(&mut client.entangled) {
            // Out of wherever it is; where it is nowhere the rest goes on all the
            // same (§8.2.1, optional).
            let telephone = client.termination.clone().unwrap_or(TerminationId::Root);
            let nothing = vec![Descriptor::Audit(AuditDescriptor::default())];
            let subtract = CommandRequest {
                optional: true,
                ..ordered(CommandKind::Subtract, telephone, nothing)
            };
            actions.insert(0, action(ContextId::ALL, vec![subtract]));
        }
        client.request(local, transaction, actions)
    }

    fn question(
        &mut self,
        client: &mut Client,
        local: SocketAddr,
        transaction: u32,
        question: Question,
    ) -> Vec<u8> {
        let (kind, termination, items) = match question {
            Question::Terminations => (CommandKind::AuditValue, TerminationId::All, Vec::new()),
            Question::Capabilities => (
                CommandKind::AuditCapabilities,
                TerminationId::All,
                vec![AuditItem::Whole(AuditToken::Media)],
            ),
            Question::Alive => (CommandKind::AuditValue, TerminationId::Root, Vec::new()),
            Question::Release => (CommandKind::Subtract, TerminationId::All, Vec::new()),
        };
        let audit = vec![Descriptor::Audit(AuditDescriptor { items })];
        let release = question == Question::Release;
        let command = CommandRequest {
            // There may be none (§8.2.1), or many.
            optional: release,
            wildcard_response: release,
            ..ordered(kind, termination, audit)
        };
        let context = match release {
            true => ContextId::ALL,
            false => ContextId::NULL,
        };
        let actions = vec![action(context, vec![command])];
        client.request(local, transaction, actions)
    }

    fn failure(&self, client: &mut Client, code: u16) -> Failure {
        match code {
            // The termination is in a context already.
            433 if !client.untangled => {
                client.entangled = true;
                Failure::Again
            }
            449 | 515 => Failure::Codec,
            440 | 444 | 451 | 452 | 457 | 512 | 513 => Failure::Signals,
            411 | 430 | 431 => Failure::Gone,
            _ => Failure::Other,
        }
    }

    fn hooked(&self, _client: &mut Client, _hook: Hook) {}

    fn resume(&self, client: &mut Client, signalling: &Signalling) -> Option<Vec<Codec>> {
        let Signalling::H248 {
            mid,
            termination,
            encoding,
            version,
            codecs,
        } = signalling
        else {
            return None;
        };
        if *mid != client.mid {
            return None;
        }
        client.encoding = *encoding;
        client.version = *version;
        client.termination = Some(termination_of(termination, *encoding)?);
        Some(codecs.clone())
    }

    fn entangled(&self, client: &mut Client) {
        client.entangled = true;
    }

    fn drawn(&self) -> u64 {
        self.identifiers.drawn()
    }

    fn skip_to(&mut self, drawn: u64) {
        self.identifiers.skip_to(drawn);
    }

    fn signalling(&self, client: &Client, codecs: &[Codec]) -> Signalling {
        let termination = client.termination.as_ref().map(ToString::to_string);
        Signalling::H248 {
            mid: client.mid.clone(),
            termination: termination.unwrap_or_default(),
            encoding: client.encoding,
            version: client.version,
            codecs: codecs.to_vec(),
        }
    }
}

/// A termination by its text: in binary, the hexadecimal digits of its octets.
fn termination_of(text: &str, encoding: Encoding) -> Option<TerminationId<'static>> {
    if encoding != Encoding::Binary {
        return Some(TerminationId::Path(text.to_owned().into()));
    }
    let octets = text.as_bytes().chunks(2).map(|digits| {
        let digits = std::str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    let id: Vec<u8> = octets.collect::<Option<_>>()?;
    Some(TerminationId::Octets {
        wildcards: Vec::new().into(),
        id: id.into(),
    })
}

impl H248 {
    /// Off-hook and on-hook (Annex E.9); told until the termination is subtracted.
    fn events(&mut self) -> Descriptor<'static> {
        let event = |item| RequestedEvent::new(ItemName::text("al", item));
        Descriptor::Events(EventsDescriptor {
            request: Some(self.identifiers.below(u32::MAX)),
            events: vec![event("of"), event("on")],
        })
    }
}

/// How we speak to one thin client.
#[derive(Debug, Clone, Copy)]
struct Voice {
    local: SocketAddr,
    version: u8,
    encoding: Encoding,
}

impl Voice {
    fn say(&self, transaction: Transaction<'_>) -> Vec<u8> {
        let message = Message {
            authentication: None,
            version: self.version,
            mid: Mid::Ip {
                address: self.local.ip(),
                port: Some(self.local.port()),
            },
            body: Body::Transactions(vec![transaction]),
            spans: Vec::new(),
        };
        h248::write(&message, self.encoding)
    }
}
