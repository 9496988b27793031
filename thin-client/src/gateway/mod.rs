//! A thin client that is a media gateway: H.248 (`protocol: h248`) or MGCP
//! (`protocol: mgcp`), with one telephone.
//!
//! In: messages of its controller, whether there is a connection to it (TCP), time.
//! Out: messages, and what becomes of registration, call and media. [`Gateway`] does what
//! both have in common; the protocols ([`h248`], [`mgcp`]) read, write and keep
//! transactions.
//!
//! The telephone's user is the configuration's: `answer` picks up when the bell
//! rings, `hangup_after_ms` hangs up.

pub(crate) mod h248;
pub(crate) mod mgcp;
mod telephone;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sidestep_core::time::Time;

use crate::agent::Event;
use crate::config::{Config, Transport};
use crate::report;

use telephone::{Hook, Telephone};

/// First and longest wait after a registration that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Longest that stopping waits for an answer.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// What a protocol does for its gateway.
pub(crate) trait Protocol {
    /// Takes a datagram of the controller's.
    fn handle(&mut self, now: Time, datagram: &[u8], telephone: &mut Telephone) -> Vec<News>;

    /// Runs what is due.
    fn handle_timeout(&mut self, now: Time) -> Vec<News>;

    /// When that is to be next.
    fn poll_timeout(&self) -> Option<Time>;

    /// The next datagram for the controller.
    fn poll_output(&mut self) -> Option<Vec<u8>>;

    /// Goes into service, or out of it.
    fn register(&mut self, now: Time, service: Service);

    /// The connection is gone: nothing that was asked is answered any more.
    fn disconnected(&mut self);

    /// Tells what the user did, where that was asked for; false: it has to wait.
    fn notify(&mut self, now: Time, hook: Hook) -> bool;
}

/// How a gateway comes and goes (H.248.1 §7.2.8, RFC 3435 §2.3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// In service, and nothing is left of before.
    Restart,
    /// In service again, and its calls are still there.
    Disconnected,
    /// Out of service.
    Forced,
}

/// What came of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It was accepted.
    Registered,
    /// It was not, with this code; `None`: no answer.
    Refused(Option<u16>),
}

/// Where the registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is no connection.
    Down,
    Waiting(Time),
    Trying,
    Registered,
    Leaving {
        until: Time,
    },
    Gone,
}

/// The gateway.
pub struct Gateway {
    server: SocketAddr,
    telephone: Telephone,
    protocol: Box<dyn Protocol>,
    stage: Stage,
    retry: Duration,
    report: report::Registration,
    waiting: VecDeque<Hook>,
    outgoing: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Gateway {
    pub(crate) fn new(config: Config, now: Time, protocol: Box<dyn Protocol>) -> Self {
        Self {
            server: config.server,
            stage: match config.transport {
                Transport::Udp => Stage::Waiting(now),
                Transport::Tcp | Transport::Tls { .. } => Stage::Down,
            },
            telephone: Telephone::new(config),
            protocol,
            retry: RETRY.0,
            report: report::Registration::default(),
            waiting: VecDeque::new(),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A datagram has come; only the controller is listened to.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        if from.ip() != self.server.ip() {
            tracing::warn!(%from, "not the controller");
            return;
        }
        let news = self.protocol.handle(now, datagram, &mut self.telephone);
        self.hear(now, &news);
        self.collect(now);
    }

    /// The connection to the controller is there.
    pub fn connected(&mut self, now: Time) {
        if self.stage == Stage::Down {
            self.stage = Stage::Waiting(now);
        }
        self.handle_timeout(now);
    }

    /// The connection to the controller is gone. A call goes on meanwhile.
    pub fn disconnected(&mut self, now: Time) {
        self.protocol.disconnected();
        self.outgoing.clear();
        self.stage = match self.stage {
            Stage::Leaving { .. } | Stage::Gone => Stage::Gone,
            _ => Stage::Down,
        };
        self.report.registered = false;
        let event = Event::Registration(self.report.clone());
        self.events.push_back(event);
        self.collect(now);
    }

    /// Runs what is due by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        let news = self.protocol.handle_timeout(now);
        self.hear(now, &news);
        if matches!(self.stage, Stage::Waiting(at) if at <= now) {
            self.stage = Stage::Trying;
            let service = match self.telephone.is_connected() {
                true => Service::Disconnected,
                false => Service::Restart,
            };
            self.protocol.register(now, service);
        }
        self.telephone.handle_timeout(now);
        self.collect(now);
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let stage = match self.stage {
            Stage::Waiting(at) | Stage::Leaving { until: at } => Some(at),
            Stage::Down | Stage::Trying | Stage::Registered | Stage::Gone => None,
        };
        [
            stage,
            self.protocol.poll_timeout(),
            self.telephone.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram to send, and where to.
    pub fn poll_output(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let datagram = self.outgoing.pop_front()?;
        Some((self.server, datagram))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Goes out of service.
    pub fn stop(&mut self, now: Time) {
        self.telephone.end("stopped");
        match self.stage {
            Stage::Registered => {
                self.protocol.register(now, Service::Forced);
                let until = now + STOP_WAIT;
                self.stage = Stage::Leaving { until };
            }
            _ => self.stage = Stage::Gone,
        }
        self.collect(now);
    }

    /// There can be no media: the user hangs up.
    pub fn media_failed(&mut self, now: Time) {
        self.telephone.hang_up();
        self.collect(now);
    }

    /// Whether stopping is done, or has taken long enough.
    pub fn is_stopped(&self, now: Time) -> bool {
        match self.stage {
            Stage::Gone => true,
            Stage::Leaving { until } => until <= now,
            _ => false,
        }
    }

    fn hear(&mut self, now: Time, news: &[News]) {
        for news in news {
            if let Stage::Leaving { .. } = self.stage {
                self.stage = Stage::Gone;
                self.report.registered = false;
            } else if *news == News::Registered {
                self.stage = Stage::Registered;
                self.retry = RETRY.0;
                self.report.registered = true;
                self.report.status = Some(200);
                self.report.accepted += 1;
            } else if let News::Refused(code) = news {
                tracing::warn!(?code, retry = ?self.retry, "not registered");
                self.report.registered = false;
                self.report.status = code.or(self.report.status);
                self.stage = Stage::Waiting(now + self.retry);
                self.retry = (self.retry * 2).min(RETRY.1);
            }
            let event = Event::Registration(self.report.clone());
            self.events.push_back(event);
        }
    }

    /// Tells what the user did, and moves on what there is to send and to tell.
    fn collect(&mut self, now: Time) {
        while let Some(hook) = self.telephone.poll_hook() {
            self.waiting.push_back(hook);
        }
        while self.stage != Stage::Down
            && let Some(hook) = self.waiting.front()
            && self.protocol.notify(now, *hook)
        {
            self.waiting.pop_front();
        }
        if !self.telephone.is_connected() {
            self.waiting.clear();
        }
        while let Some(event) = self.telephone.poll_event() {
            self.events.push_back(event);
        }
        while let Some(datagram) = self.protocol.poll_output() {
            self.outgoing.push_back(datagram);
        }
    }
}

/// The codecs of this build as a gateway tells them.
fn codec_names(telephone: &Telephone) -> Vec<String> {
    let codecs = telephone.capabilities();
    codecs.into_iter().map(|codec| codec.name).collect()
}

#[cfg(test)]
mod tests;
