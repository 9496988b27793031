//! The SIP user agent of a thin client (RFC 3261), without I/O.
//!
//! In: datagrams, time, the wish to stop. Out: datagrams, and what becomes of
//! registration, call and media ([`Event`]). One call at a time; a second one
//! is busy.

mod call;
mod registration;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sidestep_core::engine::{ConnectionId, Transport};
use sidestep_core::sip::transaction::{
    Addresses, ClientKey, Expired, RequestFate, ResponseFate, ServerKey, Transactions,
};
use sidestep_core::sip::{Message, Method, Name, RequestBuilder, ResponseBuilder};
use sidestep_core::time::Time;

use crate::agent::Event;
use crate::config::{self, Answer, Config};

use call::Call;
use registration::Registration;

/// What it answers to who asks (RFC 3261 §11.2).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE";

/// What an outstanding request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Register,
    Reinvite,
    Report,
    Bye,
}

/// The user agent.
pub struct UserAgent {
    config: Config,
    /// Of the connection that there is, or is to be, all are one.
    transport: Transport,
    transactions: Transactions<Purpose>,
    registration: Registration,
    call: Option<Call>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    stopping: Option<Time>,
}

/// Longest that stopping waits for answers.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// A random token: tag, branch, Call-ID, cnonce (RFC 3261 §19.3: 32 bits at least).
fn token() -> String {
    format!("{:016x}", fastrand::u64(..))
}

impl UserAgent {
    /// Registers with the first [`Self::handle_timeout`].
    pub fn new(config: Config, now: Time) -> Self {
        Self {
            transport: match config.transport {
                config::Transport::Udp => Transport::Udp,
                config::Transport::Tcp => Transport::Tcp(ConnectionId(0)),
                config::Transport::Tls { .. } => Transport::Tls(ConnectionId(0)),
            },
            registration: Registration::new(now, &config),
            config,
            transactions: Transactions::default(),
            call: None,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            stopping: None,
        }
    }

    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        // RFC 5626 §4.4.1: keep-alives of nothing but line ends.
        if datagram.iter().all(|byte| b"\r\n\0".contains(byte)) {
            return;
        }
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%from, %error, "not understood");
                return;
            }
        };
        if message.is_request() {
            self.request(now, from, &message);
        } else if let ResponseFate::Deliver(purpose) = self.transactions.response(now, &message) {
            match purpose {
                Purpose::Register => self.registered(now, &message),
                Purpose::Reinvite => self.reinvite_answered(now, &message),
                // The call is over whatever the answer (§15.1.1); what is to come of a
                // report comes as a re-INVITE.
                Purpose::Bye | Purpose::Report => {}
            }
        }
        self.collect();
    }

    /// Runs what is due by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        for expired in self.transactions.timeout(now) {
            match expired {
                Expired::Request(Purpose::Register) => self.registration_failed(now, None),
                Expired::Request(Purpose::Reinvite) => self.hang_up(now, "no-answer"),
                Expired::Request(Purpose::Bye | Purpose::Report) | Expired::Ack(_) => {}
            }
        }
        if self.registration.due(now) {
            self.register(now);
        }
        self.call_timeout(now);
        self.collect();
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        [
            self.transactions.next_timeout(),
            self.registration.next(),
            self.call.as_ref().and_then(Call::next),
            self.stopping,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram to send, and where to.
    pub fn poll_output(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Hangs up and removes the registration.
    pub fn stop(&mut self, now: Time) {
        self.stopping = Some(now + STOP_WAIT);
        self.hang_up(now, "stopped");
        if self.registration.is_registered() {
            self.unregister(now);
        } else {
            self.registration.forget();
        }
        self.collect();
    }

    /// There can be no media where the last [`Event::Media`] or
    /// [`Event::Answered`] wants it.
    pub fn media_failed(&mut self, now: Time) {
        self.hang_up(now, "no-media");
        self.collect();
    }

    /// Nothing of what comes can be decoded; it is of this payload type.
    pub fn undecodable(&mut self, now: Time, payload_type: u8) {
        self.report_undecodable(now, payload_type);
        self.collect();
    }

    /// Whether stopping is done, or has taken long enough.
    pub fn is_stopped(&self, now: Time) -> bool {
        self.stopping
            .is_some_and(|until| now >= until || self.registration.is_forgotten())
    }

    /// Moves what the transactions want sent to the output.
    fn collect(&mut self) {
        while let Some((addresses, bytes)) = self.transactions.poll_outgoing() {
            self.outgoing.push_back((addresses.remote, bytes));
        }
    }

    fn addresses(&self, remote: SocketAddr) -> Addresses {
        Addresses {
            local: self.config.bind,
            remote,
            transport: self.transport,
        }
    }

    fn contact(&self) -> String {
        let by = match self.transport {
            Transport::Udp => "",
            Transport::Tls(_) => ";transport=tls",
            _ => ";transport=tcp",
        };
        format!("<sip:{}@{}{by}>", self.config.user, self.config.bind)
    }

    /// The connection to the registrar is there.
    pub fn connected(&mut self, now: Time) {
        self.registration.connected(now);
        self.handle_timeout(now);
    }

    /// The connection to the registrar is gone. A call goes on meanwhile.
    pub fn disconnected(&mut self) {
        self.registration.disconnected();
        self.tell_registration();
        self.outgoing.clear();
    }

    /// Sends a request in a transaction of its own.
    fn send_request(
        &mut self,
        now: Time,
        method: Method,
        uri: &[u8],
        to: SocketAddr,
        purpose: Purpose,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) {
        let branch = format!("z9hG4bK{}", token());
        let key = ClientKey::new(&branch, &method);
        let builder = RequestBuilder::new(method, uri)
            .via_over(self.transport.name(), self.config.bind, &branch)
            .max_forwards();
        let request = fill(builder)
            .header(Name::USER_AGENT, "thin-client")
            .build();
        let addresses = self.addresses(to);
        self.transactions
            .send(now, key, addresses, request, purpose);
    }

    fn request(&mut self, now: Time, from: SocketAddr, request: &Message) {
        if self.is_to_be_ignored(request) {
            return;
        }
        // RFC 3261 §18.2.2, RFC 3581 §4.
        let via = request.top_via();
        let reply_to = match (via.rport, via.port) {
            (None, port) => SocketAddr::new(from.ip(), port.unwrap_or(5060)),
            _ => from,
        };
        let addresses = self.addresses(reply_to);
        match self.transactions.request(now, request, addresses) {
            RequestFate::New(key) => self.new_request(now, from, request, &key),
            RequestFate::Ack => self.acknowledged(now, request),
            RequestFate::Absorbed | RequestFate::Unmatched => {}
        }
    }

    /// `answer: silent`: such a telephone does not even say that it rings.
    fn is_to_be_ignored(&self, request: &Message) -> bool {
        self.config.answer == Answer::Silent
            && matches!(request.method(), Method::Invite | Method::Cancel)
    }

    fn new_request(&mut self, now: Time, from: SocketAddr, request: &Message, key: &ServerKey) {
        if let Some(unsupported) = request.headers(Name::REQUIRE).next()
            && *request.method() != Method::Cancel
        {
            let unsupported = unsupported.to_vec();
            self.respond_with(now, key, request, 420, |response| {
                response.header(Name::UNSUPPORTED, unsupported)
            });
            return;
        }
        let in_dialog = self.call.as_ref().is_some_and(|call| call.matches(request));
        match (request.method(), in_dialog) {
            (Method::Invite, true) => self.reinvited(now, from, request, key),
            (Method::Invite, false) if request.to_tag().is_none() => {
                self.invited(now, from, request, key);
            }
            (Method::Cancel, _) => self.cancelled(now, request, key),
            (Method::Bye, true) => {
                self.respond(now, key, request, 200);
                self.end_call("bye");
            }
            (Method::Options, _) => {
                let description = self.describe();
                self.respond_with(now, key, request, 200, |response| {
                    response
                        .header(Name::ALLOW, ALLOW)
                        .header(Name::new("Accept"), "application/sdp")
                        .sdp(description)
                });
            }
            (Method::Info, true) | (Method::Message, _) => self.respond(now, key, request, 200),
            (Method::Invite | Method::Bye | Method::Info, _) => {
                self.respond(now, key, request, 481);
            }
            _ => self.respond_with(now, key, request, 405, |response| {
                response.header(Name::ALLOW, ALLOW)
            }),
        }
    }

    fn respond(&mut self, now: Time, key: &ServerKey, request: &Message, status: u16) {
        self.respond_with(now, key, request, status, |response| response);
    }

    fn respond_with(
        &mut self,
        now: Time,
        key: &ServerKey,
        request: &Message,
        status: u16,
        fill: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) {
        let tag = match &self.call {
            Some(call) if call.has_call_id(request) => call.local_tag().to_owned(),
            _ => token(),
        };
        let response = fill(ResponseBuilder::new(request, status, Some(&tag))).build();
        self.transactions.respond(now, key, status, response);
    }
}

#[cfg(test)]
mod tests;
