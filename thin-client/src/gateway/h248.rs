//! The gateway's side of H.248 (H.248.1), text or binary: ServiceChange and Notify
//! of ours, and what a controller may ask.

use sidestep_core::h248::model::{
    ActionReply, ActionRequest, CommandKind, CommandReply, CommandRequest, ContextId,
    ContextProperties, Description, Descriptor, ErrorDescriptor, ItemName, MediaDescriptor, Mid,
    ObservedEvent, ObservedEvents, Octets, ReplyResult, ServiceChangeDescriptor,
    ServiceChangeMethod, SignalParameter, Span, Stream, StreamMode, TerminationId, Transaction,
};
use sidestep_core::h248::packages::{self, ItemKind};
use sidestep_core::h248::transaction::{Association, Expired, Incoming, Voice};
use sidestep_core::h248::{self, Encoding, local};
use sidestep_core::media::Codec;
use sidestep_core::sdp::codec_named;
use sidestep_core::time::Time;

use super::telephone::{Hook, Refusal, Telephone, Wish};
use super::{News, Protocol, Service};

/// What a request of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    ServiceChange,
    Notify,
}

/// How a gateway speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// BER instead of text.
    pub(crate) binary: bool,
    /// By a connection: nothing is sent twice (Annex D.2).
    pub(crate) reliable: bool,
}

/// H.248.
pub(crate) struct H248 {
    association: Association<Purpose>,
    reliable: bool,
    telephone: TerminationId<'static>,
    rtp: TerminationId<'static>,
    /// The context of the call, where there is one.
    context: Option<ContextId>,
    last_context: u32,
    /// Request id of the events that are asked for.
    events: Option<u32>,
    from: String,
}

impl H248 {
    pub(crate) fn new(mid: Mid<'static>, termination: &str, form: Form, from: String) -> Self {
        let Form { binary, reliable } = form;
        let name = |text: &str, number: u8| match binary {
            false => TerminationId::Path(text.to_owned().into()),
            true => TerminationId::Octets {
                wildcards: Vec::new().into(),
                id: vec![0, 0, 0, number].into(),
            },
        };
        let voice = Voice {
            mid,
            version: 1,
            encoding: match binary {
                true => Encoding::Binary,
                false => Encoding::Pretty,
            },
        };
        Self {
            association: Association::new(voice, reliable, first_id()),
            reliable,
            telephone: name(termination, 1),
            rtp: name("rtp/1", 2),
            context: None,
            last_context: fastrand::u32(1..1 << 20),
            events: None,
            from,
        }
    }

    fn request(
        &mut self,
        now: Time,
        purpose: Purpose,
        (context, kind): (ContextId, CommandKind),
        termination: TerminationId<'_>,
        descriptor: Descriptor<'_>,
    ) {
        let command = CommandRequest {
            optional: false,
            wildcard_response: false,
            kind,
            terminations: vec![termination],
            descriptors: vec![descriptor],
            span: Span::default(),
        };
        let action = ActionRequest {
            context,
            properties: ContextProperties::default(),
            audit: None,
            commands: vec![command],
            context_span: Span::default(),
        };
        self.association.request(now, vec![action], purpose);
    }

    /// Does the actions of a request; `None`: it is not even to be answered.
    fn serve<'a>(
        &mut self,
        now: Time,
        actions: &[ActionRequest<'a>],
        telephone: &mut Telephone,
    ) -> Option<ReplyResult<'a>> {
        let mut replies = Vec::new();
        for action in actions {
            let context = match action.context {
                ContextId::CHOOSE => {
                    self.last_context += 1;
                    ContextId(self.last_context)
                }
                other => other,
            };
            let mut reply = ActionReply {
                context,
                error: None,
                properties: ContextProperties::default(),
                commands: Vec::new(),
                context_span: Span::default(),
            };
            for command in &action.commands {
                match self.command(now, context, command, telephone) {
                    Ok(done) => reply.commands.extend(done),
                    Err(Refusal::Silent) => return None,
                    Err(_) if command.optional => {}
                    Err(refusal) => {
                        reply.error = Some(error(refusal));
                        replies.push(reply);
                        return Some(ReplyResult::Actions(replies));
                    }
                }
            }
            replies.push(reply);
        }
        Some(ReplyResult::Actions(replies))
    }

    fn command<'a>(
        &mut self,
        now: Time,
        context: ContextId,
        command: &CommandRequest<'a>,
        telephone: &mut Telephone,
    ) -> Result<Vec<CommandReply<'a>>, Refusal> {
        let named = command.terminations.first();
        let named = named.cloned().unwrap_or(TerminationId::Root);
        let is_telephone = named == self.telephone;
        let reply = |termination: TerminationId<'a>, descriptors| CommandReply {
            kind: command.kind,
            terminations: vec![termination],
            of_context: false,
            descriptors,
            span: Span::default(),
        };
        match command.kind {
            CommandKind::Add if is_telephone => {
                if self.context.is_some() {
                    return Err(Refusal::Busy);
                }
                self.context = Some(context);
                self.hear(now, command, telephone);
                Ok(vec![reply(named, Vec::new())])
            }
            CommandKind::Add if named.is_choose() => {
                let call = context.to_string();
                let asked = Asked::of(command);
                let outcome = telephone.create(now, call, self.from.clone(), asked.wish());
                if outcome.is_err() {
                    self.context = None;
                }
                let local = vec![described(outcome?)];
                Ok(vec![reply(self.rtp.clone(), local)])
            }
            CommandKind::Modify if is_telephone => {
                self.hear(now, command, telephone);
                Ok(vec![reply(named, Vec::new())])
            }
            CommandKind::Modify if named == self.rtp && self.context == Some(context) => {
                let asked = Asked::of(command);
                let local = vec![described(telephone.modify(asked.wish())?)];
                Ok(vec![reply(named, local)])
            }
            CommandKind::Subtract if self.context.is_some() => {
                if !is_telephone {
                    telephone.delete();
                }
                if !(is_telephone && telephone.is_connected()) {
                    self.context = None;
                    self.events = None;
                }
                Ok(vec![reply(named, Vec::new())])
            }
            CommandKind::AuditValue if named.is_wildcard() => Ok(vec![
                reply(TerminationId::Root, Vec::new()),
                reply(self.telephone.clone(), Vec::new()),
            ]),
            CommandKind::AuditCapabilities => {
                let codecs = telephone.capabilities();
                let local = vec![described(capabilities(&codecs))];
                Ok(vec![reply(self.telephone.clone(), local)])
            }
            CommandKind::AuditValue | CommandKind::ServiceChange => {
                Ok(vec![reply(named, Vec::new())])
            }
            _ => Err(Refusal::Unknown),
        }
    }

    /// Events and signals of the telephone's termination.
    fn hear(&mut self, now: Time, command: &CommandRequest<'_>, telephone: &mut Telephone) {
        for descriptor in &command.descriptors {
            match descriptor {
                Descriptor::Events(events) => self.events = events.request,
                Descriptor::Signals(signals) => {
                    let rings = signals.signals.iter().any(|signal| match signal {
                        SignalParameter::Signal(signal) => {
                            packages::is(&signal.name, ItemKind::Signal, "al", "ri")
                        }
                        SignalParameter::List { .. } => false,
                    });
                    telephone.ring(now, rings);
                }
                _ => {}
            }
        }
    }
}

/// Transactions of another connection, or of a run before, have other ids.
fn first_id() -> u32 {
    fastrand::u32(1..1 << 31)
}

/// What a command says of the media.
#[derive(Default)]
struct Asked {
    remote: Option<Vec<u8>>,
    codecs: Vec<Codec>,
    sends: Option<bool>,
}

impl Asked {
    fn of(command: &CommandRequest<'_>) -> Self {
        let mut asked = Self::default();
        for descriptor in &command.descriptors {
            let Descriptor::Media(media) = descriptor else {
                continue;
            };
            for stream in &media.streams {
                if let Some(mode) = stream.control.as_ref().and_then(|control| control.mode) {
                    let sends = matches!(mode, StreamMode::SendReceive | StreamMode::SendOnly);
                    asked.sends = Some(sends);
                }
                let first = |description: &Description<'_>| {
                    let plain = Description {
                        octets: Octets::from(description.unescaped().into_owned()),
                        ..Description::default()
                    };
                    plain.alternatives().next().map(<[u8]>::to_vec)
                };
                if let Some(local) = stream.local.as_ref().and_then(first) {
                    let names = local::codecs(&local).unwrap_or_default();
                    asked.codecs = names.iter().map(|name| codec_named(name)).collect();
                }
                asked.remote = stream.remote.as_ref().and_then(first).or(asked.remote);
            }
        }
        asked
    }

    fn wish(&self) -> Wish<'_> {
        Wish {
            remote: self.remote.as_deref(),
            codecs: &self.codecs,
            sends: self.sends,
        }
    }
}

fn described(sdp: Vec<u8>) -> Descriptor<'static> {
    Descriptor::Media(MediaDescriptor {
        streams: vec![Stream {
            id: Some(1),
            local: Some(Description {
                octets: Octets::from(sdp),
                ..Description::default()
            }),
            ..Stream::default()
        }],
        ..MediaDescriptor::default()
    })
}

/// What this gateway can choose from.
fn capabilities(codecs: &[Codec]) -> Vec<u8> {
    let mut media = "m=audio $ RTP/AVP".to_owned();
    let mut maps = String::new();
    for codec in codecs {
        media += &format!(" {}", codec.payload_type);
        maps += &format!("a=rtpmap:{} {codec}\r\n", codec.payload_type);
    }
    format!("v=0\r\nc=IN IP4 $\r\n{media}\r\n{maps}").into_bytes()
}

/// H.248.8.
fn error(refusal: Refusal) -> ErrorDescriptor<'static> {
    let code = match refusal {
        Refusal::Busy => 433,
        Refusal::Unknown => 430,
        Refusal::Codec => 515,
        Refusal::Configured | Refusal::Silent => 510,
    };
    ErrorDescriptor { code, text: None }
}

impl Protocol for H248 {
    fn handle(&mut self, now: Time, datagram: &[u8], telephone: &mut Telephone) -> Vec<News> {
        let message = match h248::parse(datagram) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "not understood");
                return Vec::new();
            }
        };
        let mut news = Vec::new();
        for incoming in self.association.handle(now, &message) {
            match incoming {
                Incoming::Request { id, index } => {
                    let Some(Transaction::Request(request)) = message.transactions().get(index)
                    else {
                        continue;
                    };
                    if let Some(result) = self.serve(now, &request.actions, telephone) {
                        self.association.reply(now, id, result);
                    }
                }
                Incoming::Reply {
                    user: Purpose::ServiceChange,
                    index,
                    complete: true,
                } => {
                    let refused = match message.transactions().get(index) {
                        Some(Transaction::Reply(reply)) => match &reply.result {
                            ReplyResult::Error(error) => Some(error.code),
                            ReplyResult::Actions(actions) => actions
                                .iter()
                                .find_map(|action| action.error.as_ref())
                                .map(|error| error.code),
                        },
                        _ => None,
                    };
                    news.push(match refused {
                        Some(code) => News::Refused(Some(code)),
                        None => News::Registered,
                    });
                }
                Incoming::Reply { .. } | Incoming::Pending { .. } => {}
            }
        }
        news
    }

    fn handle_timeout(&mut self, now: Time) -> Vec<News> {
        let expired = self.association.handle_timeout(now);
        let failed = expired
            .into_iter()
            .filter(|expired| *expired == Expired::Request(Purpose::ServiceChange));
        failed.map(|_| News::Refused(None)).collect()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.association.next_timeout()
    }

    fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.association.poll_outgoing()
    }

    fn disconnected(&mut self) {
        let voice = self.association.voice().clone();
        self.association = Association::new(voice, self.reliable, first_id());
    }

    fn register(&mut self, now: Time, service: Service) {
        let (method, reason) = match service {
            Service::Restart => (ServiceChangeMethod::Restart, "901 Cold Boot"),
            Service::Disconnected => (ServiceChangeMethod::Disconnected, "900 Service Restored"),
            Service::Forced => (
                ServiceChangeMethod::Forced,
                "905 Termination Taken Out of Service",
            ),
        };
        let change = ServiceChangeDescriptor {
            method: Some(method),
            reason: vec![Octets::from(reason)],
            ..ServiceChangeDescriptor::default()
        };
        self.request(
            now,
            Purpose::ServiceChange,
            (ContextId::NULL, CommandKind::ServiceChange),
            TerminationId::Root,
            Descriptor::ServiceChange(Box::new(change)),
        );
    }

    fn notify(&mut self, now: Time, hook: Hook) -> bool {
        let (Some(request), Some(context)) = (self.events, self.context) else {
            return false;
        };
        let item = match hook {
            Hook::Off => "of",
            Hook::On => "on",
        };
        let observed = ObservedEvents {
            request,
            events: vec![ObservedEvent {
                time: None,
                name: ItemName::text("al", item),
                stream: None,
                parameters: Vec::new(),
            }],
        };
        let termination = self.telephone.clone();
        self.request(
            now,
            Purpose::Notify,
            (context, CommandKind::Notify),
            termination,
            Descriptor::ObservedEvents(observed),
        );
        true
    }
}
