//! What a thin client speaks with, whatever the protocol: datagrams and time in;
//! datagrams, and what becomes of registration, call and media ([`Event`]), out.

use std::net::SocketAddr;

use sidestep_core::time::Time;

use crate::config::Config;
use crate::media::stream::Peer;
use crate::report;
use crate::ua::UserAgent;

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A call has come.
    Invited {
        /// Call-ID.
        call_id: String,
        /// Who calls: the URI of From; of a gateway its controller.
        from: String,
    },
    /// It is answered: receive at `local` from now on.
    Answered {
        /// Where RTP is received.
        local: SocketAddr,
    },
    /// What the peer's newest offer or answer says, and where it was told to
    /// send.
    Media {
        /// Where RTP is received.
        local: SocketAddr,
        /// The peer.
        peer: Peer,
    },
    /// The ACK of the first 200 has come.
    Confirmed,
    /// A re-INVITE of the peer was answered.
    Reinvited,
    /// It is over.
    Ended {
        /// As [`report::Call::end_reason`] has it.
        reason: &'static str,
    },
    /// A call that was refused at once; it has no other event.
    Refused {
        /// Call-ID.
        call_id: String,
        /// Who calls: the URI of From; of a gateway its controller.
        from: String,
    },
    /// The registration is another.
    Registration(report::Registration),
}

/// The agent of the configured protocol.
pub enum Agent {
    /// SIP.
    Sip(Box<UserAgent>),
}

impl Agent {
    /// Registers with the first [`Self::handle_timeout`].
    pub fn new(config: Config, now: Time) -> Self {
        Self::Sip(Box::new(UserAgent::new(config, now)))
    }

    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        match self {
            Self::Sip(agent) => agent.handle_datagram(now, from, datagram),
        }
    }

    /// Runs what is due by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.handle_timeout(now),
        }
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Sip(agent) => agent.poll_timeout(),
        }
    }

    /// The next datagram to send, and where to.
    pub fn poll_output(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        match self {
            Self::Sip(agent) => agent.poll_output(),
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Sip(agent) => agent.poll_event(),
        }
    }

    /// Ends the call and the registration.
    pub fn stop(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.stop(now),
        }
    }

    /// There can be no media where the last [`Event::Media`] or
    /// [`Event::Answered`] wants it.
    pub fn media_failed(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.media_failed(now),
        }
    }

    /// Whether stopping is done, or has taken long enough.
    pub fn is_stopped(&self, now: Time) -> bool {
        match self {
            Self::Sip(agent) => agent.is_stopped(now),
        }
    }
}
