//! Which protocol a datagram between a VM and a gateway is of: its ports say so.

use serde::Serialize;

use super::{Datagram, EngineConfig};
use crate::h248::TpktFramer;
use crate::sip::SipFramer;
use crate::stream::{Framer, Limits};

/// A protocol of media control, toward gateways or thin clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// SIP (RFC 3261).
    Sip,
    /// H.248.1, text or binary.
    H248,
    /// MGCP 1.0 (RFC 3435).
    Mgcp,
}

impl Protocol {
    /// Its name in lists, logs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::H248 => "h248",
            Self::Mgcp => "mgcp",
        }
    }

    /// The protocol of a datagram between a VM and a gateway: by its destination's
    /// port, else by its source's. What has neither came through the door for a
    /// port that an earlier configuration had; it is looked at as SIP.
    pub fn of(config: &EngineConfig, datagram: &Datagram) -> Self {
        Self::between(config, datagram.src.port(), datagram.dst.port()).unwrap_or(Self::Sip)
    }

    /// The protocol between two ports: of the destination, else of the source.
    pub fn between(config: &EngineConfig, src: u16, dst: u16) -> Option<Self> {
        Self::at(config, dst).or_else(|| Self::at(config, src))
    }

    /// What finds its messages in the stream of a connection. `None`: they cannot
    /// be found there, and the stream goes on as it is.
    pub fn framer(self, limits: Limits) -> Option<Box<dyn Framer>> {
        match self {
            Self::Sip => Some(Box::new(SipFramer::new(limits))),
            Self::H248 => Some(Box::new(TpktFramer::new(limits))),
            Self::Mgcp => None,
        }
    }

    fn at(config: &EngineConfig, port: u16) -> Option<Self> {
        if config.sip_ports.contains(&port) {
            Some(Self::Sip)
        } else if config.h248_ports.contains(&port) {
            Some(Self::H248)
        } else if config.mgcp_ports.contains(&port) {
            Some(Self::Mgcp)
        } else {
            None
        }
    }
}
