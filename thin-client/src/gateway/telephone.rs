//! The one telephone behind a gateway: a connection to the network, a bell, and
//! a user who picks up and hangs up.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sidestep_core::media::Codec;
use sidestep_core::time::Time;

use crate::agent::Event;
use crate::audio::codec::Encoding;
use crate::config::{Answer, Config};
use crate::media::stream::Peer;
use crate::negotiation::Local;

/// What the user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Picked up.
    Off,
    /// Hung up.
    On,
}

/// Why a connection cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is one.
    Busy,
    /// There is none.
    Unknown,
    /// No codec in common, or the description cannot be read.
    Codec,
    /// `answer: {refuse: STATUS}`.
    Configured,
    /// `answer: silent`: not even an answer.
    Silent,
}

/// What is wanted of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    /// The other end's description.
    pub(super) remote: Option<&'a [u8]>,
    /// Codecs that may be used; empty: all.
    pub(super) codecs: &'a [Codec],
    /// Whether media is to be sent; `None`: as before.
    pub(super) sends: Option<bool>,
}

struct Connection {
    rtp: SocketAddr,
    codecs: Vec<Encoding>,
    session_id: u64,
    version: u64,
    sends: bool,
    peer: Option<Peer>,
    confirmed: bool,
    hung_up: bool,
}

/// The telephone.
pub(crate) struct Telephone {
    config: Config,
    connection: Option<Connection>,
    pick_up_at: Option<Time>,
    hang_up_at: Option<Time>,
    hooks: VecDeque<Hook>,
    events: VecDeque<Event>,
}

impl Telephone {
    /// On the hook.
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            connection: None,
            pick_up_at: None,
            hang_up_at: None,
            hooks: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// What it can do, as a description (H.248.1 §7.2.6, RFC 3435 §2.3.11).
    pub(super) fn capabilities(&self) -> Vec<Codec> {
        let codecs = self.config.media.codecs.iter();
        codecs.map(|encoding| encoding.codec()).collect()
    }

    /// A connection (Add, CRCX): its description.
    pub(super) fn create(
        &mut self,
        now: Time,
        call_id: String,
        from: String,
        wish: Wish<'_>,
    ) -> Result<Vec<u8>, Refusal> {
        match self.config.answer {
            Answer::Silent => return Err(Refusal::Silent),
            Answer::Refuse(_) => {
                self.events.push_back(Event::Refused { call_id, from });
                return Err(Refusal::Configured);
            }
            Answer::After(_) if self.connection.is_some() => return Err(Refusal::Busy),
            Answer::After(_) => {}
        }
        let allowed = |encoding: &Encoding| {
            let named = |codec: &Codec| codec.name.eq_ignore_ascii_case(encoding.name());
            wish.codecs.is_empty() || wish.codecs.iter().any(named)
        };
        let codecs = self.config.media.codecs.iter().copied();
        let codecs: Vec<_> = codecs.filter(allowed).collect();
        if codecs.is_empty() {
            return Err(Refusal::Codec);
        }
        self.connection = Some(Connection {
            rtp: self.config.media.address,
            codecs,
            session_id: fastrand::u64(1..1 << 62),
            version: 1,
            sends: wish.sends.unwrap_or(true),
            peer: None,
            confirmed: false,
            hung_up: false,
        });
        let before = self.events.len();
        self.events.push_back(Event::Invited { call_id, from });
        let local = self.config.media.address;
        self.events.push_back(Event::Answered { local });
        self.hang_up_at = self.config.hangup_after.map(|after| now + after);
        match self.connect(wish) {
            Ok(description) => Ok(description),
            Err(refusal) => {
                self.connection = None;
                self.hang_up_at = None;
                self.events.truncate(before);
                Err(refusal)
            }
        }
    }

    /// Changes the connection (Modify, MDCX): its description.
    pub(super) fn modify(&mut self, wish: Wish<'_>) -> Result<Vec<u8>, Refusal> {
        let connection = self.connection.as_mut().ok_or(Refusal::Unknown)?;
        let sent = connection.sends;
        connection.sends = wish.sends.unwrap_or(sent);
        let outcome = self.connect(wish);
        if let (Err(_), Some(connection)) = (&outcome, &mut self.connection) {
            connection.sends = sent;
        }
        outcome
    }

    /// Takes what the other end is, and describes this one.
    fn connect(&mut self, wish: Wish<'_>) -> Result<Vec<u8>, Refusal> {
        let answer_port = self.config.answer_port;
        let ptime = self.config.media.ptime;
        let connection = self.connection.as_mut().ok_or(Refusal::Unknown)?;
        let mut rtp = connection.rtp;
        if let (Some(port), Some(_)) = (answer_port, wish.remote) {
            rtp.set_port(port);
        }
        connection.version += u64::from(rtp != connection.rtp);
        let local = Local {
            rtp,
            codecs: &connection.codecs,
            ptime,
            session_id: connection.session_id,
            version: connection.version,
        };
        let description = match wish.remote {
            None => local.describe(),
            Some(remote) => {
                let (description, peer) = local.answer(remote).map_err(|_| Refusal::Codec)?;
                connection.peer = Some(peer);
                description
            }
        };
        connection.rtp = rtp;
        if let Some(peer) = &connection.peer {
            let peer = Peer {
                send: peer.send && connection.sends,
                ..peer.clone()
            };
            self.events.push_back(Event::Media { local: rtp, peer });
            if connection.sends && !std::mem::replace(&mut connection.confirmed, true) {
                self.events.push_back(Event::Confirmed);
            } else if wish.remote.is_some() {
                self.events.push_back(Event::Reinvited);
            }
        }
        Ok(description)
    }

    /// The connection goes (Subtract, DLCX); false: there was none.
    pub(super) fn delete(&mut self) -> bool {
        let reason = match &self.connection {
            Some(Connection { hung_up: true, .. }) => "hangup",
            _ => "bye",
        };
        self.end(reason)
    }

    /// Whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The connection is over for this reason; false: there was none.
    pub(super) fn end(&mut self, reason: &'static str) -> bool {
        self.pick_up_at = None;
        self.hang_up_at = None;
        let ended = self.connection.take().is_some();
        if ended {
            self.events.push_back(Event::Ended { reason });
        }
        ended
    }

    /// The bell rings, or does no more (al/ri, L/rg).
    pub(super) fn ring(&mut self, now: Time, rings: bool) {
        self.pick_up_at = match self.config.answer {
            Answer::After(delay) if rings => Some(self.pick_up_at.unwrap_or(now + delay)),
            _ => None,
        };
    }

    /// What the user does by `now`.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.pick_up_at.is_some_and(|at| at <= now) {
            self.pick_up_at = None;
            self.hooks.push_back(Hook::Off);
        }
        if self.hang_up_at.is_some_and(|at| at <= now) {
            self.hang_up_at = None;
            self.hang_up();
        }
    }

    /// The user hangs up, or there can be no media.
    pub(super) fn hang_up(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.hung_up = true;
            self.hooks.push_back(Hook::On);
        }
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.pick_up_at.into_iter().chain(self.hang_up_at).min()
    }

    /// What the user did next.
    pub(super) fn poll_hook(&mut self) -> Option<Hook> {
        self.hooks.pop_front()
    }

    /// The next event.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
