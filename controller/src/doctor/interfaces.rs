//! The configuration's taps and uplinks: there, up, and fit for the programs.

use std::process::{Command, Stdio};

use super::Area;
use super::host::{Host, Link, route_to, sysctl};
use crate::config::{Config, VmConfig};

/// Drivers known to run XDP programs themselves, before an skb is made.
const NATIVE_XDP: [&str; 33] = [
    "atlantic",
    "bnxt_en",
    "bonding",
    "dpaa2-eth",
    "ena",
    "enetc",
    "fec",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "gve",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "netdevsim",
    "nfp",
    "octeontx2-nicpf",
    "qede",
    "sfc",
    "stmmaceth",
    "tun",
    "veth",
    "virtio_net",
    "vmxnet3",
];

pub(super) fn examine(config: &Config, host: &Host, area: &mut Area<'_>) {
    if config.uplinks.is_empty() {
        area.warn(
            "uplinks",
            "none configured, so no media is counted or steered",
            "name the interfaces that carry media under uplinks",
        );
    }
    for name in &config.uplinks {
        match host.link(name) {
            Some(link) => {
                uplink(link, area);
                if config.vms.iter().any(|vm| is_routed(vm, host)) {
                    accepts_anchors(link, area);
                }
            }
            None => area.warn(
                name,
                "this uplink is not there",
                "check its name with `ip link`; it is attached to as soon as it comes",
            ),
        }
    }
    let mtu = config.uplinks.iter().filter_map(|name| host.link(name));
    let mtu = mtu.map(|link| link.mtu).min();
    for vm in &config.vms {
        match host.link(&vm.tap) {
            Some(link) => tap(vm, link, mtu, area),
            None => area.ok(
                &vm.tap,
                format!(
                    "tap of {} is not there yet; attached to when it comes",
                    vm.name
                ),
            ),
        }
    }
}

fn uplink(link: &Link, area: &mut Area<'_>) {
    let name = link.ifname.as_str();
    if !link.is_up() {
        let todo = format!("ip link set {name} up");
        area.warn(name, "this uplink is down", todo);
    }
    let driver = link.driver();
    let runs = driver.as_deref().or(link.kind());
    let found = format!("uplink, {}, MTU {}", way(link), link.mtu);
    match (link.kind(), runs) {
        _ if link.link_type != "ether" => area.fail(
            name,
            format!("{found}: its packets have no Ethernet header, so no media on it is found"),
            "name the interface that carries the tunnel's content outside, or none: calls \
             work without, and are not counted",
        ),
        (Some(kind @ ("bridge" | "openvswitch")), _) => area.warn(
            name,
            format!("is a {kind} itself: it sees only what the host sends and gets"),
            "name the ports that carry media as uplinks, not the switch",
        ),
        (Some("vlan"), _) => area.warn(
            name,
            format!("{found}, a VLAN: XDP runs in generic mode, at a higher cost per packet"),
            "name the interface below it: frames are looked at behind their tags there",
        ),
        (_, Some(driver)) if NATIVE_XDP.contains(&driver) => {
            area.ok(name, format!("{found}, {driver}: XDP in the driver"));
        }
        (_, driver) => area.warn(
            name,
            format!(
                "{found}, {}: not known to run XDP in the driver",
                driver.unwrap_or("no driver to be seen")
            ),
            "it works in generic mode, at a higher cost per packet; `sidestep status` shows the \
             mode in use",
        ),
    }
    if let Some(master) = bond_of(link) {
        area.warn(
            name,
            format!("is part of the bond {master}"),
            format!("name {master} as the uplink: XDP belongs to the bond, not to its parts"),
        );
    }
    if link.kind() == Some("tun") && link.master.is_some() {
        area.warn(
            name,
            "is a machine's tap on a bridge: the machine may leave UDP checksums to a card, \
             which steering at this tap does not always see",
            "name it only where what is behind it has direct calls to be counted: steered ones \
             do not need it",
        );
    }
    offloads(name, area);
}

fn is_routed(vm: &VmConfig, host: &Host) -> bool {
    host.link(&vm.tap).is_some_and(|tap| tap.master.is_none())
}

/// What is steered at a routed VM's anchor and waits for its next hop's MAC, or leaves by no
/// uplink, is given to the stack, and comes from the VM's address by then.
fn accepts_anchors(link: &Link, area: &mut Area<'_>) {
    let name = link.ifname.as_str();
    if link.master.is_none() && filters_strictly(name) {
        area.warn(
            "rp_filter",
            format!(
                "{name} filters strictly, and steered packets that wait for a neighbour come \
                 from a VM's address"
            ),
            format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2"),
        );
    }
}

/// Why the kernel runs an uplink's program in generic mode.
pub(super) fn why_generic(link: Option<&Link>) -> String {
    let Some(link) = link else {
        return "it has gone meanwhile".to_owned();
    };
    let driver = link.driver();
    match driver.as_deref().or(link.kind()) {
        Some(driver) if NATIVE_XDP.contains(&driver) => format!(
            "{driver} runs XDP itself, but refused here, as drivers do for an MTU above a page \
             (also of a veth's other end), for offloads that merge frames, and for too few queues"
        ),
        Some(driver) => format!("{driver} runs no XDP itself"),
        None => "no driver is to be seen that could run it".to_owned(),
    }
}

fn bond_of(link: &Link) -> Option<&str> {
    let master = link.master.as_deref()?;
    let bonding = format!("/sys/class/net/{master}/bonding");
    std::path::Path::new(&bonding).exists().then_some(master)
}

/// Offloads that make one frame of many before XDP sees them.
fn offloads(name: &str, area: &mut Area<'_>) {
    let ethtool = Command::new("ethtool")
        .args(["--show-features", name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    // Without ethtool the kernel still turns LRO off when XDP is attached.
    let Ok(output) = ethtool else { return };
    let features = String::from_utf8_lossy(&output.stdout);
    for feature in merging(&features) {
        area.warn(
            name,
            format!("{feature} is on; some drivers refuse XDP then"),
            format!("ethtool --features {name} {feature} off"),
        );
    }
}

fn merging(features: &str) -> Vec<&'static str> {
    ["large-receive-offload", "rx-gro-hw"]
        .into_iter()
        .filter(|feature| {
            let mut lines = features.lines().map(str::trim);
            lines.any(|line| {
                line.strip_prefix(feature)
                    .is_some_and(|rest| rest.starts_with(": on"))
            })
        })
        .collect()
}

fn tap(vm: &VmConfig, link: &Link, uplink_mtu: Option<u32>, area: &mut Area<'_>) {
    let name = link.ifname.as_str();
    if !link.is_up() {
        let todo = format!("start the VM, or ip link set {name} up");
        area.warn(name, format!("tap of {} is down", vm.name), todo);
    }
    match link.kind() {
        Some("macvtap" | "macvlan" | "ipvlan" | "ipvtap") => area.fail(
            name,
            "is a macvtap or the like: its frames never pass the host's own path",
            "attach the VM by a tap on a bridge, on OVS or with a route",
        ),
        _ if link.master.is_none() && link.addresses().next().is_none() && !routed(vm, link) => {
            area.warn(
                name,
                format!(
                    "tap of {} is on no bridge, and no route leads to it",
                    vm.name
                ),
                format!(
                    "put it on a bridge, or ip route add {} dev {name}",
                    vm.address
                ),
            );
        }
        _ => area.ok(
            name,
            format!("tap of {}, {}, MTU {}", vm.name, way(link), link.mtu),
        ),
    }
    if let Some(mtu) = uplink_mtu.filter(|&mtu| link.mtu > mtu) {
        area.warn(
            name,
            format!("its MTU {} is more than an uplink's {mtu}", link.mtu),
            format!("ip link set {name} mtu {mtu}, and the same in the VM"),
        );
    }
    if link.master.is_none() {
        routing(vm, link, area);
    }
}

fn routed(vm: &VmConfig, link: &Link) -> bool {
    route_to(vm.address).is_some_and(|route| route.dev.as_deref() == Some(&link.ifname))
}

/// A routed VM stands on the host's own forwarding.
fn routing(vm: &VmConfig, link: &Link, area: &mut Area<'_>) {
    let name = link.ifname.as_str();
    if sysctl("ipv4/ip_forward").as_deref() == Some("0") {
        area.warn(
            "ip_forward",
            format!("{} is routed, and the host forwards nothing", vm.name),
            "sysctl -w net.ipv4.ip_forward=1",
        );
    }
    if filters_strictly(name) && !routed(vm, link) {
        area.fail(
            "rp_filter",
            format!(
                "{name} filters strictly, and the route to {} is not by {name}",
                vm.address
            ),
            format!(
                "ip route add {} dev {name}, or sysctl -w net.ipv4.conf.{name}.rp_filter=2",
                vm.address
            ),
        );
    }
}

fn filters_strictly(name: &str) -> bool {
    let filter = |of: &str| -> u8 {
        let value = sysctl(&format!("ipv4/conf/{of}/rp_filter"));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    // The kernel takes the greater of the two; 1 is strict.
    filter("all").max(filter(name)) == 1
}

/// How its frames go on.
fn way(link: &Link) -> String {
    match &link.master {
        Some(master) if master == "ovs-system" => "port of Open vSwitch".to_owned(),
        Some(master) => format!("port of {master}"),
        None => {
            let addresses: Vec<String> = link
                .addresses()
                .map(|a| format!("{}/{}", a.local, a.prefixlen))
                .collect();
            if addresses.is_empty() {
                "routed".to_owned()
            } else {
                format!("routed ({})", addresses.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_that_merge_frames_are_found() {
        let features = "Features for eth0:\nrx-checksumming: on\nlarge-receive-offload: on\n\
                        rx-gro-hw: off [fixed]\ntx-gso-list: off\n";
        assert_eq!(merging(features), ["large-receive-offload"]);
        assert!(merging("large-receive-offload: off [fixed]\n").is_empty());
    }
}
