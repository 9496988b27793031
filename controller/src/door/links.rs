//! The door's two veth pairs, and how the namespace routes.
//!
//! Everything that enters the namespace is local, whatever its destination, and
//! leaves by the device the socket is bound to, whatever its source. Nothing is
//! resolved: the frames' MACs are `door_out`'s business.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sidestep_abi::door::Side;

use super::namespace::Namespace;
use crate::sockets;

/// Host end and namespace end of a side's veth pair.
pub const fn names(side: Side) -> (&'static str, &'static str) {
    match side {
        Side::Vm => ("ssd-vm", "vm"),
        Side::Net => ("ssd-net", "net"),
    }
}

/// Frames of any size come in; what goes out is cut by the routes' MTU.
const LINK_MTU: u32 = 65_535;

/// Makes both pairs, with routes that fragment at `mtu`.
pub fn create(namespace: &Namespace, name: &str, mtu: u32) -> Result<()> {
    remove();
    let (host_vm, vm) = names(Side::Vm);
    let (host_net, net) = names(Side::Net);
    namespace.run(quiet_defaults)?;
    for (host, inner) in [(host_vm, vm), (host_net, net)] {
        ip(&format!(
            "link add {host} mtu {LINK_MTU} type veth peer name {inner} mtu {LINK_MTU} netns {name}\n"
        ))?;
        // The host has no business on these links.
        sysctl(&format!("ipv6/conf/{host}/disable_ipv6"), "1");
        sysctl(&format!("ipv4/conf/{host}/rp_filter"), "0");
        ip(&format!("link set {host} arp off up\n"))?;
    }
    let inside = format!(
        "link set lo up\n\
         link set {vm} arp off up\n\
         link set {net} arp off up\n\
         rule add iif {vm} lookup 100\n\
         rule add iif {net} lookup 100\n\
         route add local 0.0.0.0/0 dev lo table 100\n\
         {}",
        routes(mtu)
    );
    namespace.run(move || -> Result<()> {
        for inner in [vm, net] {
            sysctl(&format!("ipv4/conf/{inner}/rp_filter"), "0");
            // Frames leave complete: a tap may hand them to anything.
            sockets::checksum_offload_off(inner)
                .with_context(|| format!("cannot turn off checksum offload on {inner}"))?;
        }
        ip(&inside)?;
        match has_ipv6() {
            true => ip6(&inside_v6(mtu)),
            false => Ok(()),
        }
    })?
}

/// The same routing for IPv6.
fn inside_v6(mtu: u32) -> String {
    let [vm, net] = [Side::Vm, Side::Net].map(|side| names(side).1);
    format!(
        "rule add iif {vm} lookup 100\n\
         rule add iif {net} lookup 100\n\
         route add local ::/0 dev lo table 100\n\
         {}",
        routes_v6(mtu)
    )
}

/// Changes the MTU of the routes.
pub fn set_mtu(namespace: &Namespace, mtu: u32) -> Result<()> {
    namespace.run(move || {
        ip(&routes(mtu))?;
        match has_ipv6() {
            true => ip6(&routes_v6(mtu)),
            false => Ok(()),
        }
    })?
}

/// Removes the host ends, and the namespace's with them. Links that are not
/// there are no error.
pub fn remove() {
    for side in [Side::Vm, Side::Net] {
        let (host, _) = names(side);
        if nix::net::if_::if_nametoindex(host).is_ok()
            && let Err(error) = ip(&format!("link del {host}\n"))
        {
            tracing::warn!("door link {host} stays behind: {error:#}");
        }
    }
}

fn routes(mtu: u32) -> String {
    let (_, vm) = names(Side::Vm);
    let (_, net) = names(Side::Net);
    format!(
        "route replace default dev {net} mtu lock {mtu}\n\
         route replace default dev {vm} metric 2 mtu lock {mtu}\n"
    )
}

fn routes_v6(mtu: u32) -> String {
    let [vm, net] = [Side::Vm, Side::Net].map(|side| names(side).1);
    // Below that there is no IPv6 (RFC 8200 §5).
    let mtu = mtu.max(1280);
    format!(
        "route replace ::/0 dev {net} metric 1 mtu lock {mtu}\n\
         route replace ::/0 dev {vm} metric 2 mtu lock {mtu}\n"
    )
}

fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Before any link is there, so that none ever has other settings.
fn quiet_defaults() {
    for name in ["all", "default"] {
        sysctl(&format!("ipv4/conf/{name}/rp_filter"), "0");
        // Nothing is said by itself: no address, no question for routers.
        for (setting, value) in [
            ("disable_ipv6", "0"),
            ("accept_ra", "0"),
            ("accept_dad", "0"),
            ("router_solicitations", "0"),
            ("addr_gen_mode", "1"),
        ] {
            sysctl(&format!("ipv6/conf/{name}/{setting}"), value);
        }
    }
    sysctl("ipv4/ip_forward", "0");
    // Who is not there after half a minute is not there: the other side is told.
    sysctl("ipv4/tcp_syn_retries", "4");
    // A router's word of a smaller MTU (ICMPv6) goes to the VM, not here.
    sysctl("ipv4/tcp_mtu_probing", "1");
    // A VM that uses a port again soon gets a connection again.
    sysctl("ipv4/tcp_tw_reuse", "1");
}

/// A setting of this thread's namespace. One the kernel does not have (no IPv6)
/// needs no setting.
fn sysctl(name: &str, value: &str) {
    let path = Path::new("/proc/sys/net").join(name);
    if let Err(error) = std::fs::write(&path, value) {
        tracing::debug!("{} not set to {value}: {error}", path.display());
    }
}

/// Runs `ip -batch` in this thread's namespace.
fn ip(batch: &str) -> Result<()> {
    run(&["-batch", "-"], batch)
}

/// The same for IPv6.
fn ip6(batch: &str) -> Result<()> {
    run(&["-6", "-batch", "-"], batch)
}

fn run(options: &[&str], batch: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `ip` (iproute2)")?;
    child
        .stdin
        .take()
        .context("`ip` has no standard input")?
        .write_all(batch.as_bytes())
        .context("cannot write to `ip`")?;
    let output = child.wait_with_output().context("cannot wait for `ip`")?;
    if !output.status.success() {
        bail!(
            "`ip -batch` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
