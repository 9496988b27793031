//! Registering (RFC 3261 §10.2; steps 301, 401): media in the body, digest
//! credentials (RFC 7616, RFC 8760), refreshed before it ends.

use std::time::Duration;

use sidestep_core::sip::digest::{Login, answer_challenge};
use sidestep_core::sip::{Message, Method, Name, parameter};
use sidestep_core::time::Time;

use crate::config::{Config, Register, Transport};
use crate::report;

use super::{Event, Purpose, UserAgent, token};
use crate::negotiation;

/// First and longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where registering is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// There is no connection.
    Down,
    /// Nothing is under way; the next attempt or refresh is due then.
    Waiting(Time),
    /// A REGISTER is under way.
    Trying,
    /// Removed, or never to be tried again.
    Forgotten,
}

/// The state of the registration.
pub(super) struct Registration {
    state: State,
    call_id: String,
    tag: String,
    cseq: u32,
    /// Seconds to ask for.
    expires: u32,
    /// WWW-Authenticate values of the last challenge, and how often answered.
    challenges: Vec<Vec<u8>>,
    nonce_count: u32,
    /// The REGISTER under way carried credentials.
    answered: bool,
    removing: bool,
    retry: Duration,
    report: report::Registration,
}

impl Registration {
    pub(super) fn new(now: Time, config: &Config) -> Self {
        let expires = config.expires;
        Self {
            state: match config.transport {
                Transport::Udp => State::Waiting(now),
                Transport::Tcp | Transport::Tls { .. } => State::Down,
            },
            call_id: token(),
            tag: token(),
            cseq: 0,
            expires,
            challenges: Vec::new(),
            nonce_count: 0,
            answered: false,
            removing: false,
            retry: RETRY.0,
            report: report::Registration::default(),
        }
    }

    pub(super) fn due(&self, now: Time) -> bool {
        matches!(self.state, State::Waiting(at) if at <= now)
    }

    pub(super) fn next(&self) -> Option<Time> {
        match self.state {
            State::Waiting(at) => Some(at),
            State::Down | State::Trying | State::Forgotten => None,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.report.registered
    }

    /// The connection is there: registers anew.
    pub(super) fn connected(&mut self, now: Time) {
        if self.state == State::Down {
            self.state = State::Waiting(now);
        }
    }

    /// The connection is gone, and the registration with it.
    pub(super) fn disconnected(&mut self) {
        if self.state != State::Forgotten {
            self.state = State::Down;
        }
        self.report.registered = false;
    }

    pub(super) fn forget(&mut self) {
        self.state = State::Forgotten;
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.state == State::Forgotten
    }
}

impl UserAgent {
    /// Sends a REGISTER.
    pub(super) fn register(&mut self, now: Time) {
        let uri = format!("sip:{}", self.config.server);
        let address = format!("<sip:{}@{}>", self.config.user, self.config.server.ip());
        let contact = self.contact();
        let body = match self.config.register {
            Register::None => None,
            Register::Codecs => Some(self.describe()),
            Register::Address => Some(negotiation::address_only(self.config.media.address)),
        };
        let registration = &mut self.registration;
        registration.state = State::Trying;
        registration.cseq += 1;
        let expires = if registration.removing {
            0
        } else {
            registration.expires
        };
        let authorization = if registration.challenges.is_empty() {
            None
        } else {
            registration.nonce_count += 1;
            let login = Login {
                user: &self.config.user,
                password: &self.config.password,
            };
            let challenges = registration.challenges.iter().map(Vec::as_slice);
            answer_challenge(
                challenges,
                login,
                "REGISTER",
                &uri,
                &token(),
                registration.nonce_count,
            )
            .inspect_err(|error| tracing::warn!(%error, "a challenge that cannot be answered"))
            .ok()
        };
        registration.answered = authorization.is_some();
        let from = format!("{address};tag={}", registration.tag);
        let (call_id, cseq) = (registration.call_id.clone(), registration.cseq);
        let removing = registration.removing;
        let server = self.config.server;
        self.send_request(
            now,
            Method::Register,
            uri.as_bytes(),
            server,
            Purpose::Register,
            |request| {
                let mut request = request
                    .header(Name::FROM, from)
                    .header(Name::TO, address)
                    .header(Name::CALL_ID, call_id)
                    .cseq(cseq)
                    .header(Name::CONTACT, contact)
                    .header(Name::EXPIRES, expires.to_string());
                if let Some(authorization) = authorization {
                    request = request.header(Name::AUTHORIZATION, authorization);
                }
                match body {
                    Some(body) if !removing => request.sdp(body),
                    _ => request,
                }
            },
        );
    }

    /// Removes the registration (§10.2.2).
    pub(super) fn unregister(&mut self, now: Time) {
        self.registration.removing = true;
        self.register(now);
    }

    /// A response to the REGISTER.
    pub(super) fn registered(&mut self, now: Time, response: &Message) {
        let Some(status) = response.status().filter(|status| *status >= 200) else {
            return;
        };
        let registration = &mut self.registration;
        registration.report.status = Some(status);
        match status {
            200..=299 if registration.removing => {
                registration.report.registered = false;
                registration.report.expires = None;
                registration.forget();
            }
            200..=299 => {
                let granted = granted(response, &self.config.user).unwrap_or(registration.expires);
                registration.report.registered = true;
                registration.report.expires = Some(granted);
                registration.report.accepted += 1;
                registration.retry = RETRY.0;
                // In time for a retransmission or two.
                let refresh = Duration::from_secs(granted.into()) * 4 / 5;
                registration.state = State::Waiting(now + refresh.max(RETRY.0));
            }
            401 => {
                let stale = response
                    .header(Name::WWW_AUTHENTICATE)
                    .is_some_and(is_stale);
                let again = !registration.answered || stale || registration.nonce_count > 1;
                registration.challenges = response
                    .header_values(Name::WWW_AUTHENTICATE)
                    .map(<[u8]>::to_vec)
                    .collect();
                registration.nonce_count = 0;
                if again && !registration.challenges.is_empty() {
                    self.register(now);
                } else {
                    // The password is wrong; without the challenge the next
                    // attempt starts afresh.
                    registration.challenges.clear();
                    self.registration_failed(now, Some(status));
                }
            }
            423 => {
                let least = response
                    .header(Name::MIN_EXPIRES)
                    .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok())
                    .filter(|least| *least > registration.expires);
                match least {
                    Some(least) => {
                        registration.expires = least;
                        self.register(now);
                    }
                    None => self.registration_failed(now, Some(status)),
                }
            }
            _ => self.registration_failed(now, Some(status)),
        }
        self.tell_registration();
    }

    /// A refusal, or no response at all.
    pub(super) fn registration_failed(&mut self, now: Time, status: Option<u16>) {
        let registration = &mut self.registration;
        tracing::warn!(?status, retry = ?registration.retry, "not registered");
        registration.report.registered = false;
        registration.report.expires = None;
        if registration.removing {
            registration.forget();
        } else if registration.state != State::Down {
            registration.state = State::Waiting(now + registration.retry);
            registration.retry = (registration.retry * 2).min(RETRY.1);
        }
        self.tell_registration();
    }

    pub(super) fn tell_registration(&mut self) {
        let event = Event::Registration(self.registration.report.clone());
        self.events.push_back(event);
    }
}

/// `stale=true` (RFC 7616 §3.3).
fn is_stale(challenge: &[u8]) -> bool {
    let text = String::from_utf8_lossy(challenge).to_ascii_lowercase();
    text.split(',').any(|part| {
        part.trim()
            .strip_prefix("stale=")
            .is_some_and(|value| value.trim_matches('"') == "true")
    })
}

/// Seconds that the registrar granted our contact (§10.2.4).
fn granted(response: &Message, user: &str) -> Option<u32> {
    let mine = format!("sip:{user}@");
    let own = response
        .headers(Name::CONTACT)
        .find(|contact| String::from_utf8_lossy(contact).contains(&mine))
        .and_then(|contact| {
            let parameters = &contact[contact.iter().position(|&byte| byte == b'>')?..];
            std::str::from_utf8(parameter(parameters, "expires")??)
                .ok()?
                .parse()
                .ok()
        });
    own.or_else(|| response.expires())
}
