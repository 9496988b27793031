//! What runs here already: a daemon, its door, its pins, its lease.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Area;
use super::host::Host;
use super::interfaces;
use crate::admin::client::{self, AskError, Row};
use crate::config::{Config, DEFAULT_PINS, DEFAULT_SOCKET};

/// The host ends of the door.
const DOOR: [&str; 2] = ["ssd-vm", "ssd-net"];

pub(super) fn examine(config: Option<&Config>, host: &Host, area: &mut Area<'_>) {
    let daemon = config.map(|config| &config.daemon);
    let socket = daemon.map_or(Path::new(DEFAULT_SOCKET), |daemon| &daemon.socket);
    let pins = daemon.map_or(Path::new(DEFAULT_PINS), |daemon| &daemon.pins);
    let namespace = daemon.map_or("sidestep", |daemon| &daemon.namespace);

    let running = match client::rows(socket, "status") {
        Ok(status) => {
            area.ok("daemon", format!("answers at {}", socket.display()));
            for status in &status {
                told(status, host, area);
            }
            true
        }
        Err(AskError::NotRunning(_)) => {
            area.ok("daemon", format!("none answers at {}", socket.display()));
            false
        }
        Err(error) => {
            area.fail(
                "daemon",
                error.to_string(),
                "look at its log, then restart it",
            );
            true
        }
    };
    door(running, namespace, host, area);
    pinned(running, pins, area);
    if !running && pinned_in(&links_of(pins)) == 0 {
        let uplinks = config.map_or(&[][..], |config| &config.uplinks);
        foreign_xdp(uplinks, host, area);
    }
}

/// An interface takes one XDP program, and nothing of Sidestep's is here.
fn foreign_xdp(uplinks: &[String], host: &Host, area: &mut Area<'_>) {
    for name in uplinks {
        if host.link(name).is_some_and(|link| link.xdp.is_some()) {
            area.fail(
                name,
                "another XDP program is on this uplink; there is room for one",
                format!("see `bpftool net show dev {name}`; ip link set dev {name} xdp off"),
            );
        }
    }
}

/// Where this version's maps are pinned.
fn maps_of(pins: &Path) -> PathBuf {
    pins.join(format!("v{}", sidestep_abi::VERSION))
}

/// Where its links are.
fn links_of(pins: &Path) -> PathBuf {
    maps_of(pins).join("links")
}

/// What a running daemon says of itself.
fn told(status: &Row, host: &Host, area: &mut Area<'_>) {
    match status.get("lease_ms").and_then(Value::as_u64) {
        Some(0) => area.fail(
            "lease",
            "has run out: the daemon is too slow to renew it, and calls pass untouched",
            "look at the load of this host, then at the daemon's log",
        ),
        Some(left) => area.ok("lease", format!("fresh, {left} ms left")),
        None => {}
    }
    let all = status.get("interfaces").cloned().unwrap_or_default();
    for interface in client::objects(all).unwrap_or_default() {
        let text = |field| interface.get(field).and_then(Value::as_str);
        let (Some(name), Some(role)) = (text("name"), text("role")) else {
            continue;
        };
        match (text("error"), text("mode")) {
            (Some(error), _) => area.fail(
                name,
                format!("nothing is attached to this {role}: {error}"),
                "mend that; the daemon tries again when the interface changes",
            ),
            (None, Some("generic")) => area.warn(
                name,
                format!(
                    "{role}, attached (generic), at a higher cost per packet: {}",
                    interfaces::why_generic(host.link(name))
                ),
                "a driver with XDP of its own, if the load asks for it",
            ),
            (None, Some(mode)) => area.ok(name, format!("{role}, attached ({mode})")),
            (None, None) => area.ok(name, format!("{role}, not there yet")),
        }
    }
}

fn door(running: bool, namespace: &str, host: &Host, area: &mut Area<'_>) {
    let missing: Vec<&str> = DOOR
        .into_iter()
        .filter(|name| host.link(name).is_none_or(|link| !link.is_up()))
        .collect();
    let there = Path::new("/run/netns").join(namespace).exists();
    match (running, missing.as_slice()) {
        (true, []) => area.ok("door", "ssd-vm and ssd-net are up"),
        (true, missing) => area.fail(
            "door",
            format!(
                "{} is not up; signalling passes untouched",
                missing.join(" and ")
            ),
            "restart the daemon",
        ),
        (false, missing) if there || missing.len() < DOOR.len() => area.warn(
            "door",
            format!("left by a daemon that was killed (namespace {namespace})"),
            format!("the next `sidestep run` takes it over; or ip netns del {namespace}"),
        ),
        (false, _) => area.ok("door", "not there, as it should be without a daemon"),
    }
}

fn pinned(running: bool, pins: &Path, area: &mut Area<'_>) {
    let links = pinned_in(&links_of(pins));
    let pins = maps_of(pins);
    let maps = pinned_in(&pins);
    let count = maps + links;
    let found = format!("{maps} maps and {links} links in {}", pins.display());
    match (running, count) {
        (true, 0) => area.warn(
            "pins",
            format!("{}: nothing is pinned, though a daemon runs", pins.display()),
            "is it another daemon's configuration? pass the running one's with --config",
        ),
        (true, _) => area.ok("pins", found),
        (false, 0) => area.ok("pins", format!("nothing pinned in {}", pins.display())),
        (false, _) => area.warn(
            "pins",
            format!("{found}: a datapath without its daemon; steered media goes on, new calls pass untouched"),
            format!("the next `sidestep run` adopts it; to end it, rm -r {}", pins.display()),
        ),
    }
}

/// Objects pinned in a directory, those below it not counted.
fn pinned_in(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let pinned = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_dir());
    entries.filter(pinned).count()
}
