//! What a thin client speaks with, whatever the protocol: datagrams and time in;
//! datagrams, and what becomes of registration, call and media ([`Event`]), out.

use std::net::SocketAddr;

use sidestep_core::time::Time;

use crate::config::{Config, Speaks, Transport};
use crate::gateway::h248::{self, H248};
use crate::gateway::mgcp::Mgcp;
use crate::gateway::{Gateway, Protocol};
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
    /// H.248 or MGCP.
    Gateway(Box<Gateway>),
}

impl Agent {
    /// Registers with the first [`Self::handle_timeout`].
    pub fn new(config: Config, now: Time) -> Self {
        let protocol: Box<dyn Protocol> = match config.speaks.clone() {
            Speaks::Sip => return Self::Sip(Box::new(UserAgent::new(config, now))),
            Speaks::H248 {
                mid,
                termination,
                binary,
            } => {
                let from = config.server.to_string();
                let voice = h248::Form {
                    binary,
                    reliable: config.transport != Transport::Udp,
                };
                Box::new(H248::new(mid, &termination, voice, from))
            }
            Speaks::Mgcp { endpoint } => Box::new(Mgcp::new(endpoint, config.server, config.bind)),
        };
        Self::Gateway(Box::new(Gateway::new(config, now, protocol)))
    }

    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        match self {
            Self::Sip(agent) => agent.handle_datagram(now, from, datagram),
            Self::Gateway(agent) => agent.handle_datagram(now, from, datagram),
        }
    }

    /// The connection to the server is there.
    pub fn connected(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.connected(now),
            Self::Gateway(agent) => agent.connected(now),
        }
    }

    /// The connection to the server is gone.
    pub fn disconnected(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.disconnected(),
            Self::Gateway(agent) => agent.disconnected(now),
        }
    }

    /// Runs what is due by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.handle_timeout(now),
            Self::Gateway(agent) => agent.handle_timeout(now),
        }
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Sip(agent) => agent.poll_timeout(),
            Self::Gateway(agent) => agent.poll_timeout(),
        }
    }

    /// The next datagram to send, and where to.
    pub fn poll_output(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        match self {
            Self::Sip(agent) => agent.poll_output(),
            Self::Gateway(agent) => agent.poll_output(),
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Sip(agent) => agent.poll_event(),
            Self::Gateway(agent) => agent.poll_event(),
        }
    }

    /// Ends the call and the registration.
    pub fn stop(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.stop(now),
            Self::Gateway(agent) => agent.stop(now),
        }
    }

    /// There can be no media where the last [`Event::Media`] or
    /// [`Event::Answered`] wants it.
    pub fn media_failed(&mut self, now: Time) {
        match self {
            Self::Sip(agent) => agent.media_failed(now),
            Self::Gateway(agent) => agent.media_failed(now),
        }
    }

    /// Nothing of what comes can be decoded; it is of this payload type. A gateway has
    /// no word for that.
    pub fn undecodable(&mut self, now: Time, payload_type: u8) {
        if let Self::Sip(agent) = self {
            agent.undecodable(now, payload_type);
        }
    }

    /// Whether stopping is done, or has taken long enough.
    pub fn is_stopped(&self, now: Time) -> bool {
        match self {
            Self::Sip(agent) => agent.is_stopped(now),
            Self::Gateway(agent) => agent.is_stopped(now),
        }
    }
}
