//! The JSON report: what this client's registration and calls came to. The
//! field names are an interface; tests read it with these types.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The whole report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// User name.
    pub user: String,
    /// When it was written, RFC 3339.
    pub written: String,
    /// The registration.
    pub registration: Registration,
    /// Calls, oldest first; the last 100.
    pub calls: Vec<Call>,
}

/// The state of the registration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Accepted and not yet expired.
    pub registered: bool,
    /// Last final response to a REGISTER; `null`: none came yet.
    pub status: Option<u16>,
    /// Seconds granted.
    pub expires: Option<u32>,
    /// REGISTER requests that were accepted.
    pub accepted: u64,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not answered yet.
    #[default]
    Ringing,
    /// Answered, and the ACK has not come yet.
    Answered,
    /// Up.
    Active,
    /// Over.
    Ended,
}

/// One call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Call-ID.
    pub call_id: String,
    /// How far it is.
    pub state: State,
    /// Who calls: the URI of From.
    pub from: String,
    /// Encoding sent: `PCMU`, `PCMA`, `G722`, ….
    pub codec: Option<String>,
    /// Where this client receives RTP.
    pub local: Option<SocketAddr>,
    /// Where the peer receives RTP.
    pub peer: Option<SocketAddr>,
    /// Received and by what quality.
    #[serde(flatten)]
    pub received: Received,
    /// Sent.
    pub sent: Sent,
    /// RTCP both ways.
    pub rtcp: Rtcp,
    /// re-INVITEs of the peer that were answered.
    pub reinvites: u32,
    /// When the INVITE came, RFC 3339.
    pub started: String,
    /// When it was answered.
    pub answered: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// Why: `bye`, `hangup`, `cancel`, `refused`, `no-ack`, `no-answer`,
    /// `no-media`, `unacceptable`, `stopped`.
    pub end_reason: Option<String>,
}

/// RTP received from the negotiated peer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// Packets.
    pub packets: u64,
    /// Octets of payload.
    pub bytes: u64,
    /// Expected and never seen (RFC 3550 A.3).
    pub lost: u64,
    /// New, but after a later one.
    pub late: u64,
    /// Seen before.
    pub duplicate: u64,
    /// From elsewhere than the negotiated peer; not counted above.
    pub foreign: u64,
    /// Before a peer was negotiated; not counted above.
    pub early: u64,
    /// Neither RTP nor RTCP.
    pub malformed: u64,
    /// With a payload type that was not agreed on, or not to be decoded.
    pub undecodable: u64,
    /// Interarrival jitter (RFC 3550 A.8).
    pub jitter_ms: f64,
    /// Current source.
    pub ssrc: Option<u32>,
    /// Times it changed.
    pub ssrc_changes: u32,
    /// Newest packet's.
    pub payload_type: Option<u8>,
    /// RMS of all that was heard, dB relative to full scale.
    pub level_dbfs: Option<f64>,
    /// The tone that makes up most of the last 100 ms, to 10 Hz.
    pub tone_hz: Option<u32>,
    /// Why the recording stopped.
    pub record_error: Option<String>,
}

/// RTP sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// Octets of payload.
    pub bytes: u64,
    /// This client's source identifier.
    pub ssrc: u32,
}

/// RTCP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rtcp {
    /// Compound packets sent.
    pub sent: u64,
    /// Compound packets received.
    pub received: u64,
    /// The peer said BYE.
    pub bye: bool,
    /// Packets that the peer says it sent.
    pub peer_packets: Option<u32>,
    /// Packets of ours that the peer misses.
    pub peer_lost: Option<i32>,
    /// Jitter of ours that the peer sees.
    pub peer_jitter_ms: Option<f64>,
    /// Round trip by RFC 3550 §6.4.1.
    pub round_trip_ms: Option<f64>,
}

impl Report {
    /// Writes it, whole or not at all: readers never see half a report.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        std::fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&partial, path)
    }
}
