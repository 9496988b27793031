//! The gateway's side of MGCP (RFC 3435): RSIP and NTFY of ours, and what a call
//! agent may ask.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sidestep_core::control::replies::Replies;
use sidestep_core::control::requests::{Due, Requests};
use sidestep_core::engine::{Datagram, Side, Transport};
use sidestep_core::media::Direction;
use sidestep_core::mgcp::value::{ConnectionMode, codecs, names};
use sidestep_core::mgcp::{
    CommandBuilder, Message, Packet, Parameter, ResponseBuilder, StartLine, Verb,
};
use sidestep_core::sdp::codec_named;
use sidestep_core::time::Time;

use super::telephone::{Hook, Refusal, Telephone, Wish};
use super::{News, Protocol, Service, codec_names};

const VERSION: &[u8] = b"MGCP 1.0";
/// The only connection's name.
const CONNECTION: &str = "1";

/// MGCP.
pub(crate) struct Mgcp {
    endpoint: String,
    server: SocketAddr,
    local: SocketAddr,
    last: u32,
    requests: Requests<u32>,
    /// The RSIP that is under way.
    restart: Option<u32>,
    replies: Replies,
    /// Name of the last request for events, and the events that are still wanted.
    request: String,
    wanted: Vec<Hook>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Mgcp {
    pub(crate) fn new(endpoint: String, server: SocketAddr, local: SocketAddr) -> Self {
        Self {
            endpoint,
            server,
            local,
            last: fastrand::u32(1..500_000_000),
            requests: Requests::default(),
            restart: None,
            replies: Replies::default(),
            request: "0".into(),
            wanted: Vec::new(),
            outgoing: VecDeque::new(),
        }
    }

    fn datagram(&self, payload: Vec<u8>) -> Datagram {
        Datagram {
            side: Side::Net,
            transport: Transport::Udp,
            src: self.local,
            dst: self.server,
            payload,
        }
    }

    /// A command of ours, sent until it is answered.
    fn send(
        &mut self,
        now: Time,
        verb: &Verb,
        fill: impl FnOnce(CommandBuilder) -> CommandBuilder,
    ) -> u32 {
        self.last += 1;
        let command = CommandBuilder::new(verb, self.last, self.endpoint.as_bytes(), VERSION);
        let datagram = self.datagram(fill(command).build());
        self.requests.sent(now, self.last, &datagram);
        self.outgoing.push_back(datagram.payload);
        self.last
    }

    fn command(
        &mut self,
        now: Time,
        message: Message<'_>,
        verb: &Verb,
        telephone: &mut Telephone,
    ) -> Option<Vec<u8>> {
        let id = message.transaction();
        let reply = |code| ResponseBuilder::new(code, id);
        let answered = match verb {
            Verb::CreateConnection => {
                let call = message.parameter(Parameter::CALL_ID).unwrap_or_default();
                let call = String::from_utf8_lossy(call).into_owned();
                let options = message.parameter(Parameter::LOCAL_CONNECTION_OPTIONS);
                let named = options.and_then(codecs).unwrap_or_default();
                let allowed: Vec<_> = named.iter().map(|name| codec_named(name)).collect();
                let wish = Wish {
                    codecs: &allowed,
                    ..wish(message)
                };
                telephone
                    .create(now, call, self.server.to_string(), wish)
                    .map(|sdp| {
                        reply(200)
                            .parameter(Parameter::CONNECTION_ID, CONNECTION)
                            .description(sdp)
                    })
            }
            Verb::ModifyConnection => telephone
                .modify(wish(message))
                .map(|sdp| reply(200).description(sdp)),
            Verb::DeleteConnection if telephone.delete() => Ok(reply(250)),
            Verb::DeleteConnection => Err(Refusal::Unknown),
            Verb::NotificationRequest => Ok(reply(200)),
            Verb::AuditEndpoint => {
                let asked = message.parameter(Parameter::REQUESTED_INFO);
                let capabilities = names(asked.unwrap_or_default()).any(|name| name == b"A");
                let codecs = codec_names(telephone).join(";");
                let all = "m:sendrecv;sendonly;recvonly;inactive";
                Ok(match capabilities {
                    true => reply(200).parameter(
                        Parameter::CAPABILITIES,
                        format!("a:{codecs}, p:10-60, v:L;G, {all}"),
                    ),
                    false => reply(200),
                })
            }
            _ => return Some(reply(504).build()),
        };
        match answered {
            Ok(answered) => {
                self.ask_for_events(now, message, telephone);
                Some(answered.build())
            }
            Err(refusal) => Some(reply(code(refusal)?).build()),
        }
    }

    /// RequestedEvents and SignalRequests, of whichever command.
    fn ask_for_events(&mut self, now: Time, message: Message<'_>, telephone: &mut Telephone) {
        let Some(request) = message.parameter(Parameter::REQUEST_IDENTIFIER) else {
            return;
        };
        self.request = String::from_utf8_lossy(request).into_owned();
        let list = |name| {
            let value = message.parameter(name).unwrap_or_default();
            String::from_utf8_lossy(value).to_ascii_lowercase()
        };
        let events = list(Parameter::REQUESTED_EVENTS);
        let wants = |(name, hook): (&str, Hook)| events.contains(name).then_some(hook);
        self.wanted = [("l/hd", Hook::Off), ("l/hu", Hook::On)]
            .into_iter()
            .filter_map(wants)
            .collect();
        telephone.ring(now, list(Parameter::SIGNAL_REQUESTS).contains("l/rg"));
    }
}

/// Connection mode and RemoteConnectionDescriptor.
fn wish(message: Message<'_>) -> Wish<'_> {
    let mode = message.parameter(Parameter::CONNECTION_MODE);
    let mode = mode.and_then(|mode| ConnectionMode::parse(mode).direction());
    Wish {
        remote: message.descriptions().next(),
        codecs: &[],
        sends: mode.map(|mode| matches!(mode, Direction::SendRecv | Direction::SendOnly)),
    }
}

/// The response code that says so; `None`: no response at all.
fn code(refusal: Refusal) -> Option<u16> {
    match refusal {
        Refusal::Busy | Refusal::Configured => Some(502),
        Refusal::Unknown => Some(515),
        Refusal::Codec => Some(534),
        Refusal::Silent => None,
    }
}

impl Protocol for Mgcp {
    fn handle(&mut self, now: Time, datagram: &[u8], telephone: &mut Telephone) -> Vec<News> {
        let packet = match Packet::parse(datagram) {
            Ok(packet) => packet,
            Err(error) => {
                tracing::warn!(%error, "not understood");
                return Vec::new();
            }
        };
        let mut news = Vec::new();
        for message in packet.messages() {
            let id = message.transaction();
            match message.start() {
                StartLine::Command { verb, .. } => {
                    let known = self.replies.get(now, self.server, id);
                    let reply = known.map(|reply| reply.payload.clone());
                    let reply = reply.or_else(|| self.command(now, message, verb, telephone));
                    if let Some(reply) = reply {
                        let kept = self.datagram(reply.clone());
                        self.replies.put(now, self.server, id, kept);
                        self.outgoing.push_back(reply);
                    }
                }
                StartLine::Response { code: ..=99, .. } => {}
                StartLine::Response { code: ..=199, .. } => {
                    self.requests.provisional(now, &id);
                }
                StartLine::Response { code, .. } => {
                    self.requests.answered(now, &id);
                    if self.restart.take_if(|restart| *restart == id).is_some() {
                        news.push(match code {
                            200..=299 => News::Registered,
                            code => News::Refused(Some(code)),
                        });
                    }
                }
            }
        }
        news
    }

    fn handle_timeout(&mut self, now: Time) -> Vec<News> {
        let mut news = Vec::new();
        while let Some(due) = self.requests.take_due(now) {
            match due {
                Due::Repeat(_, datagram) => self.outgoing.push_back(datagram.payload),
                Due::Failed(id) => {
                    if self.restart.take_if(|restart| *restart == id).is_some() {
                        news.push(News::Refused(None));
                    }
                }
            }
        }
        news
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.requests.next()
    }

    fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    fn register(&mut self, now: Time, service: Service) {
        let method = match service {
            Service::Restart => "restart",
            Service::Disconnected => "disconnected",
            Service::Forced => "forced",
        };
        let id = self.send(now, &Verb::RestartInProgress, |rsip| {
            rsip.parameter(Parameter::RESTART_METHOD, method)
        });
        self.restart = Some(id);
    }

    /// It has none (§3.5.3).
    fn disconnected(&mut self) {}

    /// One notification for each request (§4.4.1).
    fn notify(&mut self, now: Time, hook: Hook) -> bool {
        if !self.wanted.contains(&hook) {
            return false;
        }
        self.wanted.clear();
        let event = match hook {
            Hook::Off => "L/hd",
            Hook::On => "L/hu",
        };
        let request = self.request.clone();
        self.send(now, &Verb::Notify, |ntfy| {
            ntfy.parameter(Parameter::REQUEST_IDENTIFIER, request)
                .parameter(Parameter::OBSERVED_EVENTS, event)
        });
        true
    }
}
