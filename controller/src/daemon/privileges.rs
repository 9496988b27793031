//! What the daemon may do: all that it has been given while it sets up, what
//! serving needs afterwards.
//!
//! Capabilities belong to threads. The one that serves, and so meets every byte
//! from outside, keeps [`SERVING`] for good: nothing that it runs gets more. The
//! namespace's thread, which makes sockets and nothing else, keeps CAP_SYS_ADMIN
//! besides, since the namespace's name is a mount that goes at the end.

use anyhow::{Result, bail};
use caps::{CapSet, Capability, CapsHashSet};

/// What setting up needs: links, routes and programs; sockets bound to a device;
/// the namespace (`unshare`, `setns`, `mount`); maps and programs.
const SETTING_UP: [Capability; 4] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_BPF,
];

/// What serving needs: programs attached to taps that appear and transparent
/// sockets; sockets bound to a device; ports below 1024, which a peer may have;
/// maps.
const SERVING: [Capability; 4] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_BPF,
];

/// # Errors
///
/// Something that setting up needs is not there.
pub fn check() -> Result<()> {
    let effective = caps::read(None, CapSet::Effective)?;
    let missing: Vec<String> = SETTING_UP
        .iter()
        .filter(|needed| !effective.contains(needed))
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "sidestep run lacks {}: it attaches kernel programs and makes a network namespace; run it \
         as root, or give the service these capabilities",
        missing.join(", ")
    );
}

/// From here on this thread can only serve. With `unmounts` it keeps
/// CAP_SYS_ADMIN, for a file system of its own that goes at the end.
///
/// # Errors
///
/// The kernel refuses.
pub fn keep_what_serving_needs(unmounts: bool) -> Result<()> {
    let mut kept: CapsHashSet = SERVING.into_iter().collect();
    if unmounts {
        kept.insert(Capability::CAP_SYS_ADMIN);
    }
    let permitted = caps::read(None, CapSet::Permitted)?;
    // Dropping from the bounding set is itself a privilege, and goes first.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding)? {
            if !kept.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    let kept: CapsHashSet = kept.intersection(&permitted).copied().collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(())
}
