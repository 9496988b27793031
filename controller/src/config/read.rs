//! From YAML to a draft: every field by its name and type.
//!
//! What cannot be read is reported and left out, so that the rest is still
//! looked at. The fields of each mapping are named here and nowhere else.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use sidestep_core::engine::{CallPolicy, Network, PathChoice, TimeoutAction};
use sidestep_core::registrar::Access;

use super::fault::Faults;
use super::fields::{Fields, List};
use super::yaml::Node;
use crate::door::TlsConfig;
use crate::door::tls::RegistrarTlsConfig;

use super::{DEFAULT_JOURNAL, DEFAULT_PINS, DEFAULT_SOCKET, Dscp};

/// A value with its place, for what [`super::check`] has to say about it.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    /// Line, from 1.
    pub line: usize,
    /// Field path.
    pub field: String,
    /// The value.
    pub value: T,
}

/// A configuration as far as it could be read. `None`: missing or faulty, and
/// reported.
#[derive(Debug)]
pub(super) struct Draft {
    pub socket: Option<At<PathBuf>>,
    pub pins: Option<At<PathBuf>>,
    pub journal: Option<At<PathBuf>>,
    pub namespace: Option<At<String>>,
    pub log: Option<At<String>>,
    pub max_flows: Option<u32>,
    pub uplinks: Vec<At<String>>,
    pub sip: Vec<At<u16>>,
    pub h248: Vec<At<u16>>,
    pub mgcp: Vec<At<u16>>,
    pub websocket: Vec<At<u16>>,
    pub websocket_tls: Vec<At<u16>>,
    pub tls_ports: Vec<At<u16>>,
    pub tls: Option<TlsConfig>,
    pub connections: Option<usize>,
    pub connections_per_vm: Option<usize>,
    pub message_bytes: Option<usize>,
    pub header_fields: Option<usize>,
    pub registrar: Option<At<u16>>,
    pub realm: Option<At<String>>,
    pub registration_tls: Option<RegistrarTlsConfig>,
    pub expires_min: Option<At<u32>>,
    pub expires_default: Option<At<u32>>,
    pub expires_max: Option<At<u32>>,
    pub vms: Vec<DraftVm>,
    pub thin_clients: Vec<DraftThinClient>,
    pub discard: Option<At<Ipv4Addr>>,
    pub anchor_ports: Option<At<RangeInclusive<u16>>>,
    pub tc_answer_timeout_ms: Option<u64>,
    pub keep_alive_s: Option<u64>,
    pub verify_s: Option<u64>,
    pub timeout_s: Option<u64>,
    pub timeout_action: Option<TimeoutAction>,
    pub dscp: Option<Dscp>,
    pub paths: Vec<At<DraftPath>>,
    pub calls: Option<CallPolicy>,
    /// Line of `vms` and of `uplinks`, for what is said of them as a whole.
    pub vms_line: usize,
    pub uplinks_line: usize,
}

#[derive(Debug)]
pub(super) struct DraftVm {
    pub line: usize,
    pub field: String,
    pub name: Option<At<String>>,
    pub tap: Option<At<String>>,
    pub address: Option<At<Ipv4Addr>>,
    pub address6: Option<At<Ipv6Addr>>,
}

#[derive(Debug)]
pub(super) struct DraftThinClient {
    pub user: Option<At<String>>,
    pub vm: Option<At<String>>,
    pub access: Option<Access>,
    /// `mid` or `endpoint`, in small letters.
    pub name: Option<At<String>>,
}

#[derive(Debug, Clone)]
pub(super) struct DraftPath {
    pub thin_clients: Option<Network>,
    pub gateways: Option<Network>,
    pub path: Option<PathChoice>,
}

/// Reads the whole document. `file` is where relative paths start from.
pub(super) fn file(root: &Node, file: &Path, faults: &mut Faults) -> Draft {
    let root = Fields::of_document(
        root,
        &[
            "daemon",
            "uplinks",
            "signalling",
            "registration",
            "vms",
            "thin_clients",
            "media",
            "calls",
        ],
        faults,
    );
    let daemon = root.section(
        "daemon",
        &["socket", "pins", "journal", "namespace", "log", "max_flows"],
        faults,
    );
    let signalling = root.section(
        "signalling",
        &[
            "sip",
            "h248",
            "mgcp",
            "registrar",
            "connections",
            "tls",
            "websocket",
        ],
        faults,
    );
    let connections = signalling.section(
        "connections",
        &["limit", "limit_per_vm", "message_bytes", "header_fields"],
        faults,
    );
    let tls = signalling.section("tls", &super::tls::KEYS, faults);
    let websocket = signalling.section("websocket", &["ports", "tls_ports"], faults);
    let registration = root.section("registration", &["realm", "expires", "tls"], faults);
    let registration_tls = registration.section("tls", &super::tls::REGISTRATION_KEYS, faults);
    let expires = registration.section("expires", &["min", "default", "max"], faults);
    let media = root.section(
        "media",
        &[
            "discard",
            "anchor_ports",
            "tc_answer_timeout_ms",
            "keep_alive_s",
            "verify_s",
            "timeout_s",
            "timeout_action",
            "dscp",
            "paths",
        ],
        faults,
    );
    let folder = file.parent().unwrap_or(Path::new("."));

    let sip = ports(&signalling, "sip", &[5060], faults);
    if sip.is_empty() && !faults.has_error_at(&signalling.path_of("sip")) {
        let what = "is empty; name the UDP ports of your gateways and VMs, as [5060]";
        faults.error(signalling.line_of("sip"), &signalling.path_of("sip"), what);
    }

    let h248 = ports(&signalling, "h248", &[2944, 2945], faults);
    let mgcp = ports(&signalling, "mgcp", &[2427, 2727], faults);
    let registrar = signalling.number_or("registrar", 5070, 1..=65535, "a UDP port", faults);
    let websocket_tls = ports(&websocket, "tls_ports", &[], faults);
    let websocket = ports(&websocket, "ports", &[], faults);
    let mut tls_ports = ports(&tls, "ports", &[5061], faults);
    if tls.get("ports").is_none() {
        let others = || {
            let others = sip.iter().chain(&h248).chain(&mgcp).chain(&registrar);
            others.chain(&websocket).chain(&websocket_tls)
        };
        tls_ports.retain(|tls| others().all(|other| other.value != tls.value));
    }

    Draft {
        socket: daemon.path_or("socket", DEFAULT_SOCKET, faults),
        pins: daemon.path_or("pins", DEFAULT_PINS, faults),
        journal: daemon.path_or("journal", DEFAULT_JOURNAL, faults),
        namespace: daemon.text_or("namespace", "sidestep", faults),
        log: daemon.text_or("log", "info", faults),
        max_flows: daemon
            .number_or(
                "max_flows",
                131_072,
                64..=8_388_608,
                "a number of flows",
                faults,
            )
            .map(|at| at.value),
        uplinks: root
            .list("uplinks", faults)
            .items()
            .iter()
            .filter_map(|item| item.text(faults))
            .collect(),
        sip,
        h248,
        mgcp,
        tls: super::tls::read(&tls, folder, (&tls_ports, &websocket_tls), faults),
        websocket,
        websocket_tls,
        tls_ports,
        connections: connections
            .number_or("limit", 4096, 1..=30_000, CONNECTIONS, faults)
            .map(|at| at.value),
        connections_per_vm: connections
            .number_or("limit_per_vm", 256, 1..=30_000, CONNECTIONS, faults)
            .map(|at| at.value),
        message_bytes: connections
            .number_or(
                "message_bytes",
                65_536,
                1_024..=1_048_576,
                "a number of bytes",
                faults,
            )
            .map(|at| at.value),
        header_fields: connections
            .number_or(
                "header_fields",
                256,
                16..=65_536,
                "a number of header fields",
                faults,
            )
            .map(|at| at.value),
        registrar,
        realm: registration.text_or("realm", "sidestep", faults),
        registration_tls: super::tls::read_registration(&registration_tls, folder, faults),
        expires_min: expires.number_or("min", 60, 1..=3600, SECONDS, faults),
        expires_default: expires.number_or("default", 600, 1..=604_800, SECONDS, faults),
        expires_max: expires.number_or("max", 3600, 1..=604_800, SECONDS, faults),
        vms: vms(&root, faults),
        thin_clients: super::thin_clients::read(&root, folder, faults),
        discard: media.address_or("discard", Ipv4Addr::new(192, 0, 2, 1), faults),
        anchor_ports: media.port_range_or("anchor_ports", 40000..=40999, faults),
        tc_answer_timeout_ms: media
            .number_or(
                "tc_answer_timeout_ms",
                4000,
                100..=30_000,
                "a number of milliseconds",
                faults,
            )
            .map(|at| at.value),
        keep_alive_s: media
            .number_or("keep_alive_s", 5, 1..=60, SECONDS, faults)
            .map(|at| at.value),
        verify_s: media
            .number_or("verify_s", 10, 0..=600, SECONDS, faults)
            .map(|at| at.value),
        timeout_s: media
            .number_or("timeout_s", 60, 0..=86_400, SECONDS, faults)
            .map(|at| at.value),
        timeout_action: media
            .text_or("timeout_action", "report", faults)
            .and_then(|at| timeout_action(&at, faults)),
        dscp: media
            .text_or("dscp", "keep", faults)
            .and_then(|at| dscp(&at, faults)),
        paths: paths(&media, faults),
        calls: super::calls::read(&root, faults),
        vms_line: root.line_of("vms"),
        uplinks_line: root.line_of("uplinks"),
    }
}

const SECONDS: &str = "a number of seconds";
const CONNECTIONS: &str = "a number of connections";

/// A list of ports, which may be empty.
pub(super) fn ports(
    section: &Fields<'_>,
    key: &str,
    default: &[u16],
    faults: &mut Faults,
) -> Vec<At<u16>> {
    let by_default = |&port: &u16| At {
        line: section.line(),
        field: section.path_of(key),
        value: port,
    };
    match section.list(key, faults) {
        List::Absent => default.iter().map(by_default).collect(),
        List::Faulty => Vec::new(),
        List::Items(items) => items
            .iter()
            .filter_map(|item| item.number(1..=65535, "a UDP port", faults))
            .collect(),
    }
}

fn vms(root: &Fields<'_>, faults: &mut Faults) -> Vec<DraftVm> {
    let mut vms = Vec::new();
    for item in root.list("vms", faults).items() {
        let vm = item.mapping(&["name", "tap", "address", "address6"], faults);
        vms.push(DraftVm {
            line: vm.line(),
            field: vm.path().to_owned(),
            name: vm.text("name", "give the VM a name, as desk-17", faults),
            tap: vm.text("tap", "name the VM's tap interface on this host", faults),
            address: vm.address("address", "give the VM's IPv4 address", faults),
            address6: vm.address6("address6", faults),
        });
    }
    vms
}

fn timeout_action(at: &At<String>, faults: &mut Faults) -> Option<TimeoutAction> {
    match at.value.as_str() {
        "report" => Some(TimeoutAction::Report),
        "end" => Some(TimeoutAction::End),
        other => {
            let what = format!("{other:?} is no action; write report or end");
            faults.error(at.line, &at.field, what);
            None
        }
    }
}

fn dscp(at: &At<String>, faults: &mut Faults) -> Option<Dscp> {
    if at.value == "keep" {
        return Some(Dscp::Keep);
    }
    match at.value.parse() {
        Ok(dscp @ 0..=63) => Some(Dscp::Set(dscp)),
        _ => {
            let what = format!(
                "{:?} is no DSCP; write keep or a number from 0 to 63",
                at.value
            );
            faults.error(at.line, &at.field, what);
            None
        }
    }
}

fn paths(media: &Fields<'_>, faults: &mut Faults) -> Vec<At<DraftPath>> {
    let mut rules = Vec::new();
    for item in media.list("paths", faults).items() {
        let rule = item.mapping(&["thin_clients", "gateways", "path"], faults);
        let path = rule.text("path", "write direct, steered or vm", faults);
        rules.push(At {
            line: rule.line(),
            field: rule.path().to_owned(),
            value: DraftPath {
                thin_clients: rule.network("thin_clients", faults),
                gateways: rule.network("gateways", faults),
                path: path.and_then(|at| path_choice(&at, faults)),
            },
        });
    }
    rules
}

fn path_choice(at: &At<String>, faults: &mut Faults) -> Option<PathChoice> {
    match at.value.as_str() {
        "direct" => Some(PathChoice::Direct),
        "steered" => Some(PathChoice::Steered),
        "vm" => Some(PathChoice::Vm),
        other => {
            let what = format!("{other:?} is not a path; write direct, steered or vm");
            faults.error(at.line, &at.field, what);
            None
        }
    }
}
