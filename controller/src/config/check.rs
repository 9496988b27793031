//! What belongs together in a configuration: names that are used twice, that
//! refer to nothing, ports and addresses that stand in each other's way.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sidestep_core::engine::{ExpiresConfig, MediaWatchConfig, Network, PathRule, ThinClientConfig};

use sidestep_core::stream::Limits;

use super::fault::Faults;
use super::read::{At, Draft, DraftPath, DraftThinClient, DraftVm};
use crate::door::ConnectionLimits;

use super::{
    Config, DaemonConfig, MediaConfig, RegistrationConfig, SignallingConfig, VmConfig,
    WebSocketPorts,
};

/// IFNAMSIZ less the closing zero.
const INTERFACE_NAME_MAX: usize = 15;
/// Length of `sun_path` less the closing zero.
const SOCKET_PATH_MAX: usize = 107;
/// The host ends of the door; the daemon makes them itself.
const DOOR_INTERFACES: [&str; 2] = ["ssd-vm", "ssd-net"];

/// Checks a draft; the configuration, if nothing in it is missing. Faults may
/// have been found all the same.
pub(super) fn whole(draft: Draft, faults: &mut Faults) -> Option<Config> {
    daemon(&draft, faults);
    interfaces(&draft, faults);
    vms(&draft, faults);
    thin_clients(&draft, faults);
    ports(&draft, faults);
    expires(&draft, faults);
    discard(&draft, faults);
    rules(&draft.paths, faults);
    build(draft)
}

fn daemon(draft: &Draft, faults: &mut Faults) {
    if let Some(at) = &draft.socket {
        let length = at.value.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            let what =
                format!("has {length} bytes; a Unix socket's path may have {SOCKET_PATH_MAX}");
            faults.error(at.line, &at.field, what);
        }
    }
    if let Some(at) = &draft.namespace {
        let name = &at.value;
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !name.chars().all(ok) || name.starts_with('.') || name.len() > 64 {
            let what = format!(
                "{name:?} is not a name for a namespace; use up to 64 letters, digits, - and _"
            );
            faults.error(at.line, &at.field, what);
        }
    }
    if let Some(at) = &draft.log
        && let Err(error) = tracing_subscriber::EnvFilter::try_new(&at.value)
    {
        let what = format!(
            "{:?} is not a log filter: {error}; write error, warn, info, debug or trace",
            at.value
        );
        faults.error(at.line, &at.field, what);
    }
}

fn interfaces(draft: &Draft, faults: &mut Faults) {
    if draft.uplinks.is_empty() {
        let what = "none given: no media flow is counted or steered; name the interfaces that \
                    carry media, as [eth0]";
        faults.warning(draft.uplinks_line, "uplinks", what);
    }
    let taps = draft.vms.iter().filter_map(|vm| vm.tap.as_ref());
    for at in draft.uplinks.iter().chain(taps.clone()) {
        let name = &at.value;
        let length = name.len();
        if length > INTERFACE_NAME_MAX {
            let what = format!(
                "{name:?} is not an interface name: it has {length} characters, Linux allows \
                 {INTERFACE_NAME_MAX}"
            );
            faults.error(at.line, &at.field, what);
        } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
            || matches!(name.as_str(), "." | "..")
        {
            let what = format!("{name:?} is not an interface name; see `ip link` for yours");
            faults.error(at.line, &at.field, what);
        } else if DOOR_INTERFACES.contains(&name.as_str()) {
            let what = format!("{name:?} is the daemon's own interface; name another");
            faults.error(at.line, &at.field, what);
        }
    }
    let every = draft.uplinks.iter().chain(taps).map(|at| (at, &at.value));
    unique(every, "an interface", faults);
}

fn vms(draft: &Draft, faults: &mut Faults) {
    if draft.vms.is_empty() && !faults.has_error_at("vms") {
        let what = "no VM given; name each with name, tap and address";
        faults.error(draft.vms_line, "vms", what);
    }
    let names = draft.vms.iter().filter_map(|vm| vm.name.as_ref());
    unique(names.map(|at| (at, &at.value)), "a name", faults);
    let addresses = draft.vms.iter().filter_map(|vm| vm.address.as_ref());
    for at in addresses.clone() {
        if let Some(kind) = not_a_host(at.value) {
            let what = format!("{} is {kind}; give the VM's own address", at.value);
            faults.error(at.line, &at.field, what);
        }
    }
    unique(addresses.map(|at| (at, &at.value)), "an address", faults);
    let addresses = draft.vms.iter().filter_map(|vm| vm.address6.as_ref());
    for at in addresses.clone() {
        let ip = at.value;
        // fe80::/10: the VM's peers are not on its link.
        if ip.is_loopback()
            || ip.is_multicast()
            || ip.is_unspecified()
            || ip.is_unicast_link_local()
        {
            let what = format!("{ip} is not reached from elsewhere; give the VM's own address");
            faults.error(at.line, &at.field, what);
        }
    }
    unique(addresses.map(|at| (at, &at.value)), "an address", faults);
}

fn thin_clients(draft: &Draft, faults: &mut Faults) {
    let users = draft.thin_clients.iter().filter_map(|tc| tc.user.as_ref());
    unique(users.map(|at| (at, &at.value)), "a user", faults);
    let names = draft.thin_clients.iter().filter_map(|tc| tc.name.as_ref());
    unique(names.map(|at| (at, &at.value)), "a name", faults);

    let names: Vec<&str> = draft.vms.iter().filter_map(vm_name).collect();
    for at in draft.thin_clients.iter().filter_map(|tc| tc.vm.as_ref()) {
        if !names.contains(&at.value.as_str()) {
            let known = if names.is_empty() {
                "none has a name".to_owned()
            } else {
                let unique: BTreeSet<&str> = names.iter().copied().collect();
                let known: Vec<&str> = unique.into_iter().collect();
                format!("known: {}", known.join(", "))
            };
            let what = format!("{:?} is no VM of this file; {known}", at.value);
            faults.error(at.line, &at.field, what);
        }
    }
    for vm in &draft.vms {
        let Some(name) = &vm.name else { continue };
        let mut clients = draft.thin_clients.iter().filter_map(|tc| tc.vm.as_ref());
        if !clients.any(|at| at.value == name.value) {
            let what = format!(
                "no thin client has vm: {}, so all its calls go through the VM",
                name.value
            );
            faults.warning(vm.line, &vm.field, what);
        }
    }
}

fn vm_name(vm: &DraftVm) -> Option<&str> {
    vm.name.as_ref().map(|at| at.value.as_str())
}

fn ports(draft: &Draft, faults: &mut Faults) {
    let gateway = || draft.sip.iter().chain(&draft.h248).chain(&draft.mgcp);
    let all = || {
        let tcp = draft.tls_ports.iter().chain(&draft.websocket);
        gateway().chain(tcp.chain(&draft.websocket_tls))
    };
    unique(all().map(|at| (at, &at.value)), "a port", faults);
    if let Some(registrar) = &draft.registrar
        && let Some(taken) = all().find(|at| at.value == registrar.value)
    {
        let what = format!(
            "{} is also {}; thin clients register at a port of their own, as 5070",
            registrar.value, taken.field
        );
        faults.error(registrar.line, &registrar.field, what);
    }
    let Some(anchors) = &draft.anchor_ports else {
        return;
    };
    let (first, last) = (*anchors.value.start(), *anchors.value.end());
    let mut fault = |what: String| faults.error(anchors.line, &anchors.field, what);
    if first > last {
        fault(format!("{first}-{last} ends before it begins"));
        return;
    }
    if first < 1024 {
        fault(format!("begins at {first}; ports below 1024 are services'"));
    }
    if first % 2 != 0 || last % 2 == 0 {
        fault(format!(
            "must begin with an even port (RTP) and end with an odd one (its RTCP); write {}-{}",
            first.saturating_add(first % 2),
            last | 1
        ));
    }
    for at in gateway().chain(&draft.registrar) {
        if anchors.value.contains(&at.value) {
            fault(format!(
                "{first}-{last} contains {}, which is {}; choose ports apart",
                at.value, at.field
            ));
        }
    }
}

fn expires(draft: &Draft, faults: &mut Faults) {
    let (Some(min), Some(default), Some(max)) = (
        &draft.expires_min,
        &draft.expires_default,
        &draft.expires_max,
    ) else {
        return;
    };
    if min.value > max.value {
        let what = format!("{} is more than max, {}", min.value, max.value);
        faults.error(min.line, &min.field, what);
    } else if !(min.value..=max.value).contains(&default.value) {
        let what = format!(
            "{} is not within min and max, {} to {}",
            default.value, min.value, max.value
        );
        faults.error(default.line, &default.field, what);
    }
}

/// Networks of RFC 5737: nothing answers there.
const DOCUMENTATION: [Network; 3] = [
    Network {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)),
        prefix: 24,
    },
    Network {
        address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)),
        prefix: 24,
    },
    Network {
        address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 0)),
        prefix: 24,
    },
];

fn discard(draft: &Draft, faults: &mut Faults) {
    let Some(at) = &draft.discard else { return };
    let addresses = || draft.vms.iter().filter_map(|vm| vm.address.as_ref());
    if let Some(kind) = not_a_host(at.value) {
        let what = format!("{} is {kind}; leave it out to use 192.0.2.1", at.value);
        faults.error(at.line, &at.field, what);
    } else if let Some(vm) = addresses().find(|vm| vm.value == at.value) {
        let what = format!(
            "{} is the address of a VM ({}); name one where nothing answers, as 192.0.2.1",
            at.value, vm.field
        );
        faults.error(at.line, &at.field, what);
    } else if !DOCUMENTATION.iter().any(|n| n.contains(at.value.into())) {
        let what = format!(
            "{} is not reserved for documentation (RFC 5737), so something may answer there",
            at.value
        );
        faults.warning(at.line, &at.field, what);
    }
}

/// What an address is that no host has; `None` for one that a host may have.
fn not_a_host(address: Ipv4Addr) -> Option<&'static str> {
    if address.octets()[0] == 0 {
        Some("no address of a host")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.octets()[0] >= 240 {
        Some("a broadcast or reserved address")
    } else {
        None
    }
}

fn rules(rules: &[At<DraftPath>], faults: &mut Faults) {
    let any = |network: Option<Network>| network.is_none_or(|network| network.prefix == 0);
    let takes_all = |rule: &DraftPath| any(rule.thin_clients) && any(rule.gateways);
    let Some(first) = rules.iter().position(|at| takes_all(&at.value)) else {
        return;
    };
    for at in &rules[first + 1..] {
        let what = format!(
            "never used: {} before it matches every call",
            rules[first].field
        );
        faults.warning(at.line, &at.field, what);
    }
}

/// Reports what is there a second time.
fn unique<'a, T, K>(
    values: impl Iterator<Item = (&'a At<T>, &'a K)>,
    what: &str,
    faults: &mut Faults,
) where
    T: 'a,
    K: Eq + Hash + std::fmt::Display + 'a,
{
    let mut seen: HashMap<&K, &At<T>> = HashMap::new();
    for (at, key) in values {
        if let Some(first) = seen.get(key) {
            let what = format!(
                "{key} is {what} used twice; it is also {} (line {})",
                first.field, first.line
            );
            faults.error(at.line, &at.field, what);
        } else {
            seen.insert(key, at);
        }
    }
}

fn build(draft: Draft) -> Option<Config> {
    let names: Vec<String> = draft
        .vms
        .iter()
        .filter_map(|vm| vm_name(vm).map(str::to_owned))
        .collect();
    let thin_client = |tc: DraftThinClient| {
        let vm = tc.vm?.value;
        Some(ThinClientConfig {
            user: tc.user?.value,
            vm: names.iter().position(|name| *name == vm)?,
            access: tc.access?,
        })
    };
    let rule = |at: At<DraftPath>| {
        Some(PathRule {
            thin_clients: at.value.thin_clients,
            gateways: at.value.gateways,
            path: at.value.path?,
        })
    };
    Some(Config {
        file: std::path::PathBuf::new(),
        daemon: DaemonConfig {
            socket: draft.socket?.value,
            pins: draft.pins?.value,
            journal: draft.journal?.value,
            namespace: draft.namespace?.value,
            log: draft.log?.value,
            max_flows: draft.max_flows?,
        },
        uplinks: draft.uplinks.into_iter().map(|at| at.value).collect(),
        signalling: SignallingConfig {
            sip: draft.sip.into_iter().map(|at| at.value).collect(),
            h248: draft.h248.into_iter().map(|at| at.value).collect(),
            mgcp: draft.mgcp.into_iter().map(|at| at.value).collect(),
            registrar: draft.registrar?.value,
            websocket: WebSocketPorts {
                plain: draft.websocket.into_iter().map(|at| at.value).collect(),
                tls: draft.websocket_tls.into_iter().map(|at| at.value).collect(),
            },
            tls_ports: draft.tls_ports.into_iter().map(|at| at.value).collect(),
            tls: draft.tls,
            connections: ConnectionLimits {
                all: draft.connections?,
                per_vm: draft.connections_per_vm?,
            },
            messages: Limits {
                message: draft.message_bytes?,
                headers: draft.header_fields?,
            },
        },
        registration: RegistrationConfig {
            realm: draft.realm?.value,
            expires: ExpiresConfig {
                min: draft.expires_min?.value,
                default: draft.expires_default?.value,
                max: draft.expires_max?.value,
            },
            tls: draft.registration_tls,
        },
        vms: draft
            .vms
            .into_iter()
            .map(|vm| {
                Some(VmConfig {
                    name: vm.name?.value,
                    tap: vm.tap?.value,
                    address: vm.address?.value,
                    address6: vm.address6.map(|at| at.value),
                })
            })
            .collect::<Option<_>>()?,
        thin_clients: draft
            .thin_clients
            .into_iter()
            .map(thin_client)
            .collect::<Option<_>>()?,
        media: MediaConfig {
            discard: draft.discard?.value,
            anchor_ports: draft.anchor_ports?.value,
            tc_answer_timeout: Duration::from_millis(draft.tc_answer_timeout_ms?),
            keep_alive: Duration::from_secs(draft.keep_alive_s?),
            watch: MediaWatchConfig {
                verify: Duration::from_secs(draft.verify_s?),
                timeout: Duration::from_secs(draft.timeout_s?),
                action: draft.timeout_action?,
            },
            dscp: draft.dscp?,
            paths: draft.paths.into_iter().map(rule).collect::<Option<_>>()?,
        },
        calls: draft.calls?,
        warnings: Vec::new(),
    })
}
