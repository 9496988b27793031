//! The configuration file.
//!
//! In: a YAML file. Out: a [`Config`] that is sound in itself, or every fault of
//! the file at once, each with its line and field path ([`ConfigErrors`]).
//! Nothing here looks at interfaces: VMs come and go, and their taps with them.
//!
//! The file is read in three steps: [`yaml`] keeps the position of every value,
//! [`read`] turns values into types, [`check`] looks at what belongs together.
//! Every step goes on after a fault, so that an operator mends a file once.

mod calls;
mod check;
mod engine;
mod fault;
mod fields;
mod read;
mod secret;
mod thin_clients;
mod tls;
mod yaml;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sidestep_abi::door::PortClass;
use sidestep_core::engine::{
    CallPolicy, ExpiresConfig, MediaWatchConfig, PathRule, ThinClientConfig,
};

use sidestep_core::stream::Limits;

use crate::door::tls::RegistrarTlsConfig;
use crate::door::{ConnectionLimits, TlsConfig};
pub use fault::{ConfigErrors, Fault, located};

/// Where the daemon listens for its command line unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/sidestep/sidestep.sock";
/// Where maps and links are pinned unless told otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/sidestep";

/// Where what the next run is to know is kept unless told otherwise.
pub const DEFAULT_JOURNAL: &str = "/run/sidestep/journal";

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The daemon's own things.
    pub daemon: DaemonConfig,
    /// Interfaces toward the world, on which media flows are counted and
    /// steered. Empty: nothing is.
    pub uplinks: Vec<String>,
    /// Signalling ports.
    pub signalling: SignallingConfig,
    /// The registrar for thin clients.
    pub registration: RegistrationConfig,
    /// The VMs, at least one.
    pub vms: Vec<VmConfig>,
    /// Accounts of the thin clients.
    pub thin_clients: Vec<ThinClientConfig>,
    /// What happens to media.
    pub media: MediaConfig,
    /// Which calls are left alone, and which codecs the others use.
    pub calls: CallPolicy,
    /// What is allowed but hardly meant; for the operator to read.
    pub warnings: Vec<Fault>,
}

/// The daemon's own things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Unix socket of the command line.
    pub socket: PathBuf,
    /// Directory in a BPF file system for maps and links.
    pub pins: PathBuf,
    /// File of what the next run is to know.
    pub journal: PathBuf,
    /// Name of the network namespace behind the door; the veth ends on the host
    /// are named after the door, not after it.
    pub namespace: String,
    /// Log filter, as `tracing_subscriber::EnvFilter` reads it.
    pub log: String,
    /// Size of the flow map. A call takes up to eight flows.
    pub max_flows: u32,
}

/// Signalling ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignallingConfig {
    /// UDP ports that carry SIP between VMs and gateways; at least one.
    pub sip: Vec<u16>,
    /// UDP ports that carry H.248 between VMs and gateways. Empty: H.248 is left
    /// alone.
    pub h248: Vec<u16>,
    /// UDP ports that carry MGCP between VMs and gateways. Empty: MGCP is left
    /// alone.
    pub mgcp: Vec<u16>,
    /// Port of the registrar, UDP and TCP, at each VM's own address.
    pub registrar: u16,
    /// TCP ports of gateways to which VMs connect with TLS. Empty: none are known.
    pub tls_ports: Vec<u16>,
    /// TCP ports of SIP over WebSocket.
    pub websocket: WebSocketPorts,
    /// What it takes to look into encrypted SIP. `None`: it passes, and is noted.
    pub tls: Option<TlsConfig>,
    /// How many connections are taken.
    pub connections: ConnectionLimits,
    /// Which messages of a connection are looked at.
    pub messages: Limits,
}

/// TCP ports of SIP over WebSocket, to which one side connects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebSocketPorts {
    /// In the clear (`ws`).
    pub plain: Vec<u16>,
    /// With TLS (`wss`).
    pub tls: Vec<u16>,
}

impl WebSocketPorts {
    /// Whether a port is one of them.
    pub fn has(&self, port: u16) -> bool {
        self.plain.contains(&port) || self.tls.contains(&port)
    }
}

impl SignallingConfig {
    /// Every port of signalling, once, and what the taps do with it.
    pub fn port_classes(&self) -> Vec<(u16, PortClass)> {
        let encrypted = match self.tls {
            Some(_) => PortClass::Gateway,
            None => PortClass::Encrypted,
        };
        let plain = self.sip.iter().chain(&self.h248);
        let plain = plain.chain(&self.websocket.plain);
        let plain = plain.map(|port| (*port, PortClass::Gateway));
        // RFC 3435 §3.5.3: MGCP is carried by UDP.
        let datagrams = self.mgcp.iter();
        let datagrams = datagrams.map(|port| (*port, PortClass::GatewayDatagrams));
        let encrypted_ports = self.tls_ports.iter().chain(&self.websocket.tls);
        let encrypted = encrypted_ports.map(|port| (*port, encrypted));
        let registrar = [(self.registrar, PortClass::Registrar)];
        plain
            .chain(datagrams)
            .chain(encrypted)
            .chain(registrar)
            .collect()
    }
}

/// The registrar for thin clients.
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// Realm of its challenges.
    pub realm: String,
    /// Bounds of a registration's expiry, s.
    pub expires: ExpiresConfig,
    /// What it takes to come by TLS. `None`: nobody can.
    pub tls: Option<RegistrarTlsConfig>,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmConfig {
    /// Its name, as calls and clients show it.
    pub name: String,
    /// Its tap; need not exist yet.
    pub tap: String,
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, if it has one that takes part in calls.
    pub address6: Option<Ipv6Addr>,
}

/// What happens to media.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Address that a bypassed VM is told to send its media to.
    pub discard: Ipv4Addr,
    /// Ports at the VM's address for steered media; the first is even.
    pub anchor_ports: RangeInclusive<u16>,
    /// How long a TC may take to answer before the call goes through the VM.
    pub tc_answer_timeout: Duration,
    /// Interval of keep-alive toward a bypassed VM.
    pub keep_alive: Duration,
    /// How it is watched.
    pub watch: MediaWatchConfig,
    /// What its packets are marked with where this host sends them on.
    pub dscp: Dscp,
    /// First rule that matches decides; none: direct.
    pub paths: Vec<PathRule>,
}

/// Differentiated services code point (RFC 2474 §3) of media that crosses an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dscp {
    /// As its sender marked it.
    #[default]
    Keep,
    /// This one, 0 to 63; the two bits of ECN stay (RFC 3168 §5).
    Set(u8),
}

/// Reads and checks a configuration file.
///
/// # Errors
///
/// Every fault of the file, in the order of their lines; also when the file
/// cannot be read at all. Nothing of the system has been touched.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("cannot be read: {error}");
            return Err(ConfigErrors::new(path, vec![Fault::of_file(what)]));
        }
    };
    let mut config = parse(path, &text)?;
    let mut accounts = text.split(|&byte| byte == b'\n');
    let inline = |line: &[u8]| line.windows(9).any(|word| word == b"password:");
    if accounts.any(inline) && secret::world_readable(path) {
        let what = format!(
            "it holds passwords and everyone on this host can read it; chmod 600 {}",
            path.display()
        );
        config.warnings.push(Fault::of_file(what));
    }
    Ok(config)
}

/// As [`load`], from the bytes of a file. `path` stands in messages and is where
/// a relative `password_file` starts from.
///
/// # Errors
///
/// As [`load`].
pub fn parse(path: &Path, text: &[u8]) -> Result<Config, ConfigErrors> {
    let mut faults = fault::Faults::default();
    let root = yaml::parse(text, &mut faults);
    let config = root.and_then(|root| {
        let draft = read::file(&root, path, &mut faults);
        check::whole(draft, &mut faults)
    });
    faults.finish(path, config)
}
