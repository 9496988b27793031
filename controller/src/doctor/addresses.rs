//! Addresses that stand in each other's way.

use std::net::{IpAddr, Ipv4Addr};

use sidestep_core::engine::Network;

use super::Area;
use super::host::{Host, route_to};
use crate::config::Config;

pub(super) fn examine(config: &Config, host: &Host, area: &mut Area<'_>) {
    let mut apart = true;
    for vm in &config.vms {
        if let Some(link) = host.owner(vm.address) {
            apart = false;
            area.fail(
                &vm.name,
                format!(
                    "{} is an address of this host ({})",
                    vm.address, link.ifname
                ),
                "give the VM an address of its own, or correct vms[].address",
            );
        }
    }
    if apart {
        area.ok("VMs", "no VM's address is the host's");
    }
    discard(config.media.discard, host, area);
}

/// What to do about a discard address (RFC 5737 names the networks).
const OTHER_DISCARD: &str = "choose one where nothing answers, of 192.0.2.0/24, \
    198.51.100.0/24 or 203.0.113.0/24, that no interface of this host is in";

/// Nothing must answer at the discard address; the tap's guard drops what the VM
/// sends there, but an answer on a link nearby would be a mistake all the same.
fn discard(address: Ipv4Addr, host: &Host, area: &mut Area<'_>) {
    let subject = "discard";
    if let Some(link) = host.owner(address) {
        area.fail(
            subject,
            format!("{address} is an address of this host ({})", link.ifname),
            OTHER_DISCARD,
        );
    } else if let Some(link) = neighbour(address, host) {
        area.warn(
            subject,
            format!("{address} is in the network of {link}, so a host there may have it"),
            OTHER_DISCARD,
        );
    } else {
        let by = route_to(address).and_then(|route| route.dev);
        let by = by.map_or("nowhere".to_owned(), |dev| format!("by {dev}"));
        area.ok(
            subject,
            format!("{address} is in no network of this host (routed {by}; the guard drops it at the tap)"),
        );
    }
}

fn neighbour(address: Ipv4Addr, host: &Host) -> Option<&str> {
    let near = |link: &&super::host::Link| {
        link.addresses().any(|a| {
            let network = a.local.parse::<IpAddr>().map(|local| Network {
                address: local,
                prefix: a.prefixlen,
            });
            network.is_ok_and(|network| network.prefix > 0 && network.contains(address.into()))
        })
    };
    host.links
        .iter()
        .find(near)
        .map(|link| link.ifname.as_str())
}
