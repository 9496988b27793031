//! What the call machine says about media: an address, codecs, a direction.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A codec as SDP names it (RFC 8866 §6.6; static numbers: RFC 3551 §6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Codec {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name as written; compared without case.
    pub name: String,
    /// RTP clock rate, Hz.
    pub clock_rate: u32,
    /// Encoding parameters: for audio, the channels, where written.
    pub channels: Option<u8>,
    /// Format parameters (`a=fmtp`) as written.
    pub fmtp: Option<String>,
}

impl Codec {
    /// Whether both name the same encoding: name without case, clock rate and
    /// channels; payload type and format parameters do not count.
    pub fn same_encoding(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate == other.clock_rate
            && self.channels.unwrap_or(1) == other.channels.unwrap_or(1)
    }

    /// Whether it carries something else than speech: events (RFC 4733), comfort
    /// noise (RFC 3389). Such a codec alone does not make a call.
    pub fn is_auxiliary(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event") || self.name.eq_ignore_ascii_case("CN")
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.clock_rate)?;
        match self.channels {
            Some(channels) if channels > 1 => write!(f, "/{channels}"),
            _ => Ok(()),
        }
    }
}

/// Direction attribute (RFC 8866 §6.7), from the describer's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Sends and receives; what no attribute means.
    #[default]
    SendRecv,
    /// Sends only.
    SendOnly,
    /// Receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// One endpoint's audio, as far as Sidestep has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where RTP is to be sent.
    pub rtp: SocketAddr,
    /// Where RTCP is to be sent: `a=rtcp` (RFC 3605), else RTP's port + 1; the
    /// same as `rtp` where both sides multiplex (RFC 5761).
    pub rtcp: SocketAddr,
    /// In order of preference. Empty: not known (address-only registration).
    pub codecs: Vec<Codec>,
    /// Packet time, ms, where given.
    pub ptime: Option<u32>,
    /// Direction.
    pub direction: Direction,
}

impl Media {
    /// On hold in the old form (RFC 2543): the address is 0.0.0.0 or `::`. It
    /// must never become a live address.
    pub fn is_null_address(&self) -> bool {
        self.rtp.ip().is_unspecified()
    }
}
