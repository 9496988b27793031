//! Which protocol a datagram between a VM and a gateway is of: its ports say so.

use serde::Serialize;

use super::{Datagram, EngineConfig};

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
        [datagram.dst.port(), datagram.src.port()]
            .into_iter()
            .find_map(|port| Self::at(config, port))
            .unwrap_or(Self::Sip)
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
