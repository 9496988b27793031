//! What runs here already: a daemon, its door, its pins, its lease.

use std::os::unix::net::UnixStream;
use std::path::Path;

use super::Area;
use super::host::Host;
use crate::config::{Config, DEFAULT_PINS, DEFAULT_SOCKET};

/// The host ends of the door.
const DOOR: [&str; 2] = ["ssd-vm", "ssd-net"];

pub(super) fn examine(config: Option<&Config>, host: &Host, area: &mut Area<'_>) {
    let daemon = config.map(|config| &config.daemon);
    let socket = daemon.map_or(Path::new(DEFAULT_SOCKET), |daemon| &daemon.socket);
    let pins = daemon.map_or(Path::new(DEFAULT_PINS), |daemon| &daemon.pins);
    let namespace = daemon.map_or("sidestep", |daemon| &daemon.namespace);

    let running = UnixStream::connect(socket).is_ok();
    if running {
        area.ok("daemon", format!("answers at {}", socket.display()));
    } else {
        area.ok("daemon", format!("none answers at {}", socket.display()));
    }
    door(running, namespace, host, area);
    pinned(running, pins, area);
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
    let pins = pins.join(format!("v{}", sidestep_abi::VERSION));
    let count = std::fs::read_dir(&pins).map_or(0, |entries| entries.flatten().count());
    let found = format!("{count} entries in {}", pins.display());
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
