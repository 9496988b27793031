//! The words of that conversation: configuration, datagrams, flows, views.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::CallPolicy;
use crate::call::Reason;
use crate::media::{Codec, Encodings, Media};
use crate::registrar::Access;
use crate::time::Time;

/// Which side of a VM a datagram is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Between the VM and its tap: the VM sent it, or is to get it.
    Vm,
    /// Between the tap and the network: others sent it to the VM's address, or
    /// are to get it as if the VM had sent it.
    Net,
}

/// A connection between a VM and another, by the number that the daemon gave it;
/// a number is never given twice. Sidestep stands in its middle: it has two ends,
/// one on each [`Side`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// How a message travels (RFC 3261 §18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Transport {
    /// As a UDP datagram of its own.
    #[default]
    Udp,
    /// In the stream of this connection, at its end on the message's side. Where
    /// the connection is gone, a later one between the same two serves.
    Tcp(ConnectionId),
    /// The same, in a connection that is encrypted on both sides of Sidestep.
    Tls(ConnectionId),
    /// In a WebSocket (RFC 7118), as by TCP.
    Ws(ConnectionId),
    /// In a WebSocket that is encrypted on both sides of Sidestep.
    Wss(ConnectionId),
}

impl Transport {
    /// Whether nothing is lost or repeated on the way, so that nothing has to be
    /// sent again (RFC 3261 §17.1.1.2).
    pub fn is_reliable(self) -> bool {
        self.connection().is_some()
    }

    /// The connection, if it is one.
    pub fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Udp => None,
            Self::Tcp(id) | Self::Tls(id) | Self::Ws(id) | Self::Wss(id) => Some(id),
        }
    }

    /// As the `sent-protocol` of a Via names it (RFC 3261 §20.42).
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp(_) => "TCP",
            Self::Tls(_) => "TLS",
            Self::Ws(_) => "WS",
            Self::Wss(_) => "WSS",
        }
    }
}

/// One message of signalling, in or out, with the addresses it has on the wire:
/// a UDP datagram, or what the framer cut out of a connection's stream.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagram {
    /// Where it came in or is to go out.
    pub side: Side,
    /// How it came, or is to go.
    pub transport: Transport,
    /// Source. Out: the daemon sends from this address, whoever owns it.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
    /// The UDP payload, or the message.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

impl fmt::Debug for Datagram {
    /// With the payload's first line only: the rest may hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.payload.split(|&b| b == b'\n').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default());
        f.debug_struct("Datagram")
            .field("side", &self.side)
            .field("transport", &self.transport)
            .field("src", &self.src)
            .field("dst", &self.dst)
            .field("line", &line.trim_end())
            .field("length", &self.payload.len())
            .finish()
    }
}

/// Everything the core has to know from the configuration.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The VMs.
    pub vms: Vec<VmConfig>,
    /// The accounts that may register.
    pub thin_clients: Vec<ThinClientConfig>,
    /// UDP ports that carry SIP between VMs and gateways.
    pub sip_ports: Vec<u16>,
    /// UDP ports that carry H.248 between VMs and gateways (IANA: 2944 for text,
    /// 2945 for binary).
    pub h248_ports: Vec<u16>,
    /// UDP ports that carry MGCP between VMs and gateways (IANA: 2427 of the
    /// gateway, 2727 of the call agent).
    pub mgcp_ports: Vec<u16>,
    /// Port of the registrar, UDP and TCP, at each VM's own address.
    pub registrar_port: u16,
    /// Realm of the registrar's challenges.
    pub realm: String,
    /// Bounds of a registration's expiry, s.
    pub expires: ExpiresConfig,
    /// Address that a bypassed VM is told to send its media to. Nothing must
    /// answer there (default 192.0.2.1, RFC 5737).
    pub discard: Ipv4Addr,
    /// Ports at the VM's address for steered media; even RTP, odd RTCP.
    pub anchor_ports: std::ops::RangeInclusive<u16>,
    /// First rule that matches decides; none: `PathChoice::Direct`.
    pub paths: Vec<PathRule>,
    /// How long a TC may take to answer before the call goes through the VM.
    pub tc_answer_timeout: Duration,
    /// Interval of the keep-alive RTP and RTCP toward a bypassed VM.
    pub keep_alive: Duration,
    /// How the media of calls is watched.
    pub media_watch: MediaWatchConfig,
    /// Which calls are left alone, and which codecs the others use.
    pub calls: CallPolicy,
    /// Number of the first call (flows of an earlier run keep theirs).
    pub first_call: u32,
    /// Seed of branches, tags, SSRCs and nonces. From the system's randomness in
    /// the daemon, fixed in tests.
    pub seed: [u8; 32],
}

/// How the media of calls is watched, where it crosses this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaWatchConfig {
    /// Media of a bypassed call must be seen both ways within this time, or the
    /// call goes back to its VM. Zero: it is taken on trust.
    pub verify: Duration,
    /// Media that went both ways has stopped when nothing was seen for so long.
    /// Zero: that is not watched.
    pub timeout: Duration,
    /// What is done then.
    pub action: TimeoutAction,
}

/// What is done with a call whose media has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeoutAction {
    /// The operator is told.
    #[default]
    Report,
    /// And the call is hung up, toward both sides.
    End,
}

impl EngineConfig {
    /// The discard address of the same IP version as `other`: of IPv6, one of the
    /// prefix that is meant for it (RFC 6666).
    pub fn discard_like(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => self.discard.into(),
            IpAddr::V6(_) => Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1).into(),
        }
    }
}

/// A VM.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// Its name in the configuration.
    pub name: String,
    /// Its IPv4 address; every signalling datagram is matched to a VM by it, or by
    /// the other.
    pub address: Ipv4Addr,
    /// Its IPv6 address, where it has one.
    pub address6: Option<Ipv6Addr>,
}

impl VmConfig {
    /// Its address of the same IP version as `other`.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        match other {
            IpAddr::V4(_) => Some(self.address.into()),
            IpAddr::V6(_) => self.address6.map(IpAddr::V6),
        }
    }
}

/// A thin client's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinClientConfig {
    /// User name, by which calls and clients show it; for SIP that of the
    /// address-of-record and of the digest, too.
    pub user: String,
    /// The VM whose media it takes over; the index in [`EngineConfig::vms`].
    pub vm: usize,
    /// What it speaks, and how it shows who it is.
    pub access: Access,
}

/// Bounds of a registration's expiry, s.
#[derive(Debug, Clone, Copy)]
pub struct ExpiresConfig {
    /// Below: 423 Interval Too Brief.
    pub min: u32,
    /// Where the TC names none.
    pub default: u32,
    /// Above: shortened to it.
    pub max: u32,
}

/// Which calls take which path.
#[derive(Debug, Clone)]
pub struct PathRule {
    /// Thin clients' media addresses; `None`: any.
    pub thin_clients: Option<Network>,
    /// Gateways' media addresses; `None`: any.
    pub gateways: Option<Network>,
    /// The path.
    pub path: PathChoice,
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its address, host bits zero.
    pub address: IpAddr,
    /// Prefix length, 0 to 32 (IPv4) or 128 (IPv6).
    pub prefix: u8,
}

impl Network {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        // Of both versions as numbers, aligned to the left.
        let (bits, own) = match (address, self.address) {
            (IpAddr::V4(address), IpAddr::V4(own)) => (
                u128::from(u32::from(address)) << 96,
                u128::from(u32::from(own)) << 96,
            ),
            (IpAddr::V6(address), IpAddr::V6(own)) => (address.into(), own.into()),
            _ => return false,
        };
        let mask = u128::MAX
            .checked_shl(128 - u32::from(self.prefix.min(128)))
            .unwrap_or(0);
        bits & mask == own & mask
    }
}

/// What the operator wants for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathChoice {
    /// TC and gateway reach each other.
    Direct,
    /// They do not: through an anchor at the VM's address.
    Steered,
    /// Through the VM, reason `policy`.
    Vm,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "events are rare, and moved once")]
pub enum Output {
    /// Send this datagram.
    Send(Datagram),
    /// Make the datapath so.
    Datapath(Datapath),
    /// Tell the operator.
    Event(Event),
}

/// An action on the flow maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datapath {
    /// The call's flows are now these; others of this call go. A flow that stays
    /// (same leg, same RTP or RTCP) keeps its counters.
    Set {
        /// Number of the call.
        call: u32,
        /// All its flows.
        flows: Vec<Flow>,
    },
    /// The call is over.
    Remove {
        /// Number of the call.
        call: u32,
    },
    /// Changes nothing: say by [`super::Engine::media_seen`] and
    /// [`super::Engine::media_received`] what has been counted.
    Look {
        /// Number of the call.
        call: u32,
    },
}

/// A media flow in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// Which way.
    pub leg: Leg,
    /// Source on the wire, where the program sees it.
    pub src: SocketAddr,
    /// Destination on the wire, where the program sees it; of the same IP version.
    pub dst: SocketAddr,
    /// What is done with it.
    pub kind: FlowKind,
    /// RTCP (true) or RTP.
    pub rtcp: bool,
    /// RTP clock rate, Hz.
    pub clock_rate: u32,
    /// What its payload types stand for.
    #[serde(default)]
    pub encodings: Encodings,
}

/// What is done with a flow's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowKind {
    /// Counted on the uplink.
    Direct,
    /// Rewritten on the uplink to these addresses, which may be of the other IP
    /// version. `vm` is the VM whose addresses the anchors are at.
    Steered {
        /// New source: the anchor.
        src: SocketAddr,
        /// New destination.
        dst: SocketAddr,
        /// IPv4 address of the VM.
        vm: Ipv4Addr,
    },
    /// The bypassed VM's own media: counted and dropped at the tap.
    Guard,
    /// Relayed by the VM: counted at the tap.
    Relay,
    /// From an address whose port is not known (it is zero) to an anchor: dropped, and
    /// told of by [`super::Engine::media_from`].
    Learn,
}

/// Which way a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Leg {
    /// Gateway to thin client.
    #[serde(rename = "gateway->tc")]
    GatewayToTc,
    /// Thin client to gateway.
    #[serde(rename = "tc->gateway")]
    TcToGateway,
    /// Gateway to VM (path `vm`).
    #[serde(rename = "gateway->vm")]
    GatewayToVm,
    /// VM to gateway (path `vm`, or guarded).
    #[serde(rename = "vm->gateway")]
    VmToGateway,
}

/// Path that a call's media takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// Not decided yet.
    Pending,
    /// TC ⇄ gateway.
    Direct,
    /// TC ⇄ anchor ⇄ gateway, in the kernel.
    Steered,
    /// Through the VM, as without Sidestep.
    Vm,
}

/// Something the operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A call began, changed state or path, or ended. The daemon logs it.
    Call(CallView),
    /// A call for which there is no room: it passes untouched, and nothing more is
    /// known of it. It is told again whenever it could begin once more.
    Untouched(CallView),
    /// No packet of a call has been seen for some time, though both sides should
    /// send.
    MediaTimeout {
        /// The call.
        call: CallView,
        /// For how long.
        silent: Duration,
        /// It is hung up for that.
        ends: bool,
    },
    /// A thin client's registration changed.
    Client(ClientView),
    /// A message that was forwarded byte for byte because it could not be
    /// understood; reported once per peer and kind.
    Malformed {
        /// Who sent it.
        peer: SocketAddr,
        /// What is wrong, in a few words that do not vary with the message.
        kind: &'static str,
        /// What exactly, and where.
        detail: String,
    },
    /// A REGISTER was refused.
    RegistrationRefused {
        /// Who sent it.
        peer: SocketAddr,
        /// The account it named, if any.
        user: Option<String>,
        /// Status code answered.
        status: u16,
        /// Why, in words.
        why: String,
    },
}

/// A call, as `sidestep calls` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallView {
    /// Number of the call.
    pub id: u32,
    /// Its Call-ID on the VM's side.
    pub call_id: String,
    /// Name of the VM.
    pub vm: String,
    /// User name of the thin client, where one is bound.
    pub thin_client: Option<String>,
    /// Where the gateway's signalling is.
    pub gateway: SocketAddr,
    /// Protocol toward the gateway.
    pub protocol: &'static str,
    /// `outgoing` or `incoming`, from the VM's view.
    pub direction: &'static str,
    /// State, in a word: `setup`, `early`, `up`, `ending`, `ended`, or `untouched`
    /// where it is not followed.
    pub state: &'static str,
    /// Path.
    pub path: Path,
    /// Why this path. `None` while pending, and for the path that was wanted.
    pub reason: Option<Reason>,
    /// When it began.
    pub started: Time,
    /// Whether its media was seen on this host; `None`: not to be judged (on hold,
    /// not bypassed, not up yet).
    pub media_seen: Option<MediaSeen>,
    /// Codecs that the thin client has refused, in the order in which they were
    /// tried.
    pub tries: Vec<String>,
    /// What came of that; `None`: nothing had to be tried.
    pub trial: Option<TrialOutcome>,
    /// Media of each leg, where known (`vm`, `gateway`, `tc`).
    pub media: CallMedia,
}

impl CallView {
    /// As it is told when there is no room for it.
    pub(crate) fn beyond_the_limit(self) -> Self {
        Self {
            state: "untouched",
            path: Path::Vm,
            reason: Some(Reason::Limit),
            ..self
        }
    }
}

/// What has passed of one direction's RTP, and what its receiver says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reception {
    /// Which way the RTP goes.
    pub leg: Leg,
    /// RTP packets that have passed.
    pub passed: u64,
    /// Payload type of the last one.
    pub payload_type: Option<u8>,
    /// RTCP packets that its receiver has sent.
    pub rtcp: u32,
    /// The last report block (RFC 3550 §6.4.1) among them.
    pub report: Option<ReceiverReport>,
}

/// A report block, as far as it says whether anything is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Lost of the interval before it, in 1/256.
    pub fraction_lost: u8,
    /// Extended highest sequence number received.
    pub highest: u32,
}

/// What has come of trying codecs, where a thin client's are not known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialOutcome {
    /// None is agreed yet.
    Trying,
    /// One is agreed; no report says yet that it is received.
    Agreed,
    /// The thin client's reports say that it is received.
    Decoded,
    /// None was left: the VM has the call.
    NoneLeft,
}

/// What is known of a call's media by its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaSeen {
    /// The time to see it both ways is not over.
    Waiting,
    /// It was seen both ways.
    BothWays,
    /// It does not cross this host, so nothing can be said of it.
    OffHost,
    /// It was not seen both ways.
    NotBothWays,
    /// It was, and has stopped.
    TimedOut,
}

/// Media of a call's legs, as last described by each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallMedia {
    /// The VM's own.
    pub vm: Option<Media>,
    /// The gateway's.
    pub gateway: Option<Media>,
    /// The thin client's.
    pub tc: Option<Media>,
}

/// A registered thin client, as `sidestep clients` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientView {
    /// User name.
    pub name: String,
    /// Name of its VM.
    pub vm: String,
    /// Protocol: `sip`, `h248` or `mgcp`.
    pub protocol: &'static str,
    /// Where its signalling is.
    pub address: SocketAddr,
    /// Its media, where it registered any.
    pub media: Option<Media>,
    /// Codecs that it registered, or that an audit told.
    pub codecs: Vec<Codec>,
    /// When the registration ends.
    pub expires: Time,
    /// False: it has just gone (expired or removed).
    pub registered: bool,
}
