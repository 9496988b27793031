//! What `flows`, `calls`, `clients`, `vms`, `status` and `counters` answer: the rows'
//! field names are a promise to scripts.
//!
//! Times are RFC 3339 in UTC. What is not known is `null`, never a made-up value.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sidestep_core::engine::Held;

/// A media flow in one direction, as counted where it crosses this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowRow {
    /// Number of its call.
    pub call: u32,
    /// Path: `direct`, `steered` or `vm`.
    pub path: String,
    /// `gateway->tc`, `tc->gateway`, `gateway->vm` or `vm->gateway`.
    pub leg: String,
    /// What the kernel does: `direct`, `steered`, `guard` (counted and dropped)
    /// or `relay` (counted at the tap).
    pub kind: String,
    /// RTCP (true) or RTP.
    pub rtcp: bool,
    /// Source on the wire.
    pub from: String,
    /// Destination on the wire.
    pub to: String,
    /// Steered: source it leaves with.
    pub sent_from: Option<String>,
    /// Steered: destination it leaves with.
    pub sent_to: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Octets of IP.
    pub bytes: u64,
    /// RTP packets lost before this host (RFC 3550 A.3).
    pub lost: u64,
    /// RTP packets that came after a later one.
    pub late: u64,
    /// Times the order was broken.
    pub reordered: u32,
    /// RTP packets seen twice.
    pub duplicate: u64,
    /// Jitter (RFC 3550 A.8), ms.
    pub jitter_ms: f64,
    /// SSRC; `null` before the first RTP packet, and for RTCP.
    pub ssrc: Option<u32>,
    /// RTP payload type, the same way.
    pub payload_type: Option<u8>,
    /// Times the SSRC changed.
    pub ssrc_changes: u32,
    /// Times the payload type changed.
    pub payload_type_changes: u32,
    /// Talk-spurts begun (marker bit).
    pub talk_spurts: u32,
    /// Gaps longer than 100 ms within a talk-spurt.
    pub gaps: u32,
    /// The longest of them, ms.
    pub longest_gap_ms: u32,
    /// What the receiver's last RTCP report says of these RTP packets: lost since
    /// it began.
    pub remote_lost: Option<i32>,
    /// Lost in the interval before that report, %.
    pub remote_loss_percent: Option<f64>,
    /// Its jitter, ms.
    pub remote_jitter_ms: Option<f64>,
    /// From this host to the receiver and back, by RTCP, ms.
    pub round_trip_ms: Option<f64>,
    /// Mean opinion score (ITU-T G.107, G.107.1), 1 to 4.5; `null` where the codec, or
    /// what loss does to it, is not known to them.
    pub mos: Option<f64>,
    /// Which of the two: `narrowband`, `wideband`.
    pub mos_scale: Option<String>,
    /// How often its addresses have changed while its counters went on.
    pub moves: u32,
    /// When they last have.
    pub moved: Option<String>,
    /// Time of the first packet.
    pub first_seen: Option<String>,
    /// Time of the last packet.
    pub last_seen: Option<String>,
    /// `live`, or `ended` for a minute after the call.
    pub state: String,
}

/// Which flow is meant: its five-tuple, the protocol being UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEnds {
    /// Source on the wire.
    pub from: SocketAddr,
    /// Destination on the wire.
    pub to: SocketAddr,
}

/// A flow to be added by hand. The fields are [`FlowRow`]'s; others of a row are
/// ignored, so that rows that were listed can be added again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSpec {
    /// Source on the wire.
    pub from: SocketAddr,
    /// Destination on the wire; of a steered flow its anchor.
    pub to: SocketAddr,
    /// Steered: source it leaves with.
    #[serde(default)]
    pub sent_from: Option<SocketAddr>,
    /// Steered: destination it leaves with.
    #[serde(default)]
    pub sent_to: Option<SocketAddr>,
    /// RTCP (true) or RTP.
    #[serde(default)]
    pub rtcp: bool,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRow {
    /// Its number.
    pub id: u32,
    /// Its VM.
    pub vm: String,
    /// User name of the thin client bound to the VM.
    pub thin_client: Option<String>,
    /// The gateway's signalling address.
    pub gateway: String,
    /// Protocol toward the gateway: `sip`.
    pub protocol: String,
    /// `setup`, `early`, `up`, `ending` or `ended`.
    pub state: String,
    /// `pending`, `direct`, `steered` or `vm`.
    pub path: String,
    /// Code of the reason for this path, where it is not the wanted one.
    pub reason: Option<String>,
    /// When it began.
    pub started: String,
    /// What is known of its media by its packets: `waiting`, `both-ways`, `off-host`,
    /// `not-both-ways` or `timed-out`.
    pub media_seen: Option<String>,
    /// Codecs that were tried and not decoded, in the order in which they were tried.
    pub tries: Vec<String>,
    /// What came of that: `trying`, `agreed`, `decoded` or `none-left`.
    pub trial: Option<String>,
    /// `outgoing` or `incoming`, from the VM.
    pub direction: String,
    /// Call-ID on the VM's side.
    pub call_id: String,
    /// The legs' media, as last described.
    pub media: LegsRow,
}

/// Media of a call's legs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LegsRow {
    /// The VM's own.
    pub vm: Option<MediaRow>,
    /// The gateway's.
    pub gateway: Option<MediaRow>,
    /// The thin client's.
    pub tc: Option<MediaRow>,
}

/// Media of one leg.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaRow {
    /// Where RTP is to be sent.
    pub rtp: String,
    /// Where RTCP is to be sent.
    pub rtcp: String,
    /// Codecs in order of preference.
    pub codecs: Vec<String>,
}

/// A registered thin client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientRow {
    /// User name.
    pub name: String,
    /// Its VM.
    pub vm: String,
    /// Protocol: `sip`, `h248` or `mgcp`.
    pub protocol: String,
    /// Its signalling address.
    pub address: String,
    /// Where it takes RTP, if it registered that.
    pub media: Option<String>,
    /// Codecs it registered, or told when it was asked.
    pub codecs: Vec<String>,
    /// When its registration ends.
    pub expires: String,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmRow {
    /// Its name.
    pub name: String,
    /// Its tap.
    pub tap: String,
    /// Whether the tap is there, with the programs on it.
    pub attached: bool,
    /// Its IPv4 address.
    pub address: String,
    /// Its IPv6 address, if it has one that takes part in calls.
    pub address6: Option<String>,
    /// User names of its registered thin clients.
    pub thin_clients: Vec<String>,
    /// Its calls that have not ended.
    pub calls: usize,
    /// Its signalling that cannot be read.
    pub unread: Vec<UnreadRow>,
}

/// Signalling of a VM's that passes because it cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnreadRow {
    /// Code of the reason.
    pub reason: String,
    /// Connections that have begun.
    pub begun: u64,
    /// When anything of them was seen last.
    pub last_seen: String,
}

/// The daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusRow {
    /// Version of the program.
    pub version: String,
    /// Version of the maps' layout.
    pub abi: u32,
    /// Process.
    pub pid: u32,
    /// Since when it runs.
    pub started: String,
    /// For how long it has run, s.
    pub uptime_s: u64,
    /// Configuration file.
    pub config: String,
    /// Directory of the pins.
    pub pins: String,
    /// Taps and uplinks of the configuration.
    pub interfaces: Vec<InterfaceRow>,
    /// The door.
    pub door: DoorRow,
    /// Time left of the lease, ms; it is renewed every 500 ms.
    pub lease_ms: u64,
    /// Calls that have not ended.
    pub calls: usize,
    /// Registered thin clients.
    pub clients: usize,
    /// Flows in the map.
    pub flows: usize,
    /// Room for flows.
    pub max_flows: u32,
    /// How much is remembered, entry by entry.
    #[serde(default)]
    pub held: Held,
}

/// A tap or an uplink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InterfaceRow {
    /// Its name.
    pub name: String,
    /// `tap` or `uplink`.
    pub role: String,
    /// VMs behind a tap.
    pub vms: Vec<String>,
    /// Interface index; `null` while it is not there.
    pub ifindex: Option<u32>,
    /// `tcx`, `driver` or `generic`; `null` while nothing is attached.
    pub mode: Option<String>,
    /// Whether a switch carries its frames (a tap's only).
    pub bridged: Option<bool>,
    /// Why nothing is attached.
    pub error: Option<String>,
}

/// The door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoorRow {
    /// Its network namespace.
    pub namespace: String,
    /// Host ends of its links.
    pub links: Vec<String>,
    /// MTU at which datagrams are fragmented.
    pub mtu: u32,
}

/// One counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Its name; those of the programs as `sidestep-abi` has them, those of the
    /// daemon with `daemon-` before.
    pub name: String,
    /// What it has come to.
    pub value: u64,
}
