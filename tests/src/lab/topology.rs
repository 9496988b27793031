//! The wires of the lab, as drawn in [`super`].

use anyhow::{Context, Result};

use super::namespace::run;
use super::{Lab, Site};
use crate::program::object_path;

/// Name of a VM's tap on the host.
///
/// # Panics
/// For a box that is no VM.
pub fn tap(vm: Site) -> &'static str {
    match vm {
        Site::Vm1 => "tap1",
        Site::Vm2 => "tap2",
        Site::Vm3 => "tap3",
        _ => panic!("{} is no VM", vm.name()),
    }
}

pub(super) fn build(lab: &Lab) -> Result<()> {
    for site in Site::ALL {
        lab.namespace(site).create()?;
    }
    for site in [Site::Hv, Site::Net] {
        lab.namespace(site).sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
        ])?;
    }
    // Bridges: the VMs' and the one that the office's trunk crosses. Neither
    // has an address.
    lab.namespace(Site::Hv).ip_batch(
        "link add br0 type bridge forward_delay 0 mcast_snooping 0\n\
         link add br1 type bridge forward_delay 0 mcast_snooping 0\n\
         link set br0 up\n\
         link set br1 up\n",
    )?;
    lab.namespace(Site::Switch).ip_batch(
        "link add br2 type bridge forward_delay 0 mcast_snooping 0\n\
         link set br2 up\n",
    )?;
    for vm in [Site::Vm1, Site::Vm2, Site::Vm3] {
        attach_vm(lab, vm)?;
    }

    wire(lab, (Site::Hv, "up0"), (Site::Net, "vms"))?;
    wire(lab, (Site::Hv, "up1"), (Site::Switch, "trunk"))?;
    wire(lab, (Site::Hv, "up2"), (Site::Net, "office"))?;
    wire(lab, (Site::Hv, "up3"), (Site::Net, "routed"))?;
    wire(lab, (Site::Switch, "p1"), (Site::Tc1, "eth0"))?;
    wire(lab, (Site::Switch, "p2"), (Site::Tc2, "eth0"))?;
    wire(lab, (Site::Gw, "eth0"), (Site::Net, "dmz"))?;
    // What XDP turns around (steered media at a bridged VM's anchor) arrives at
    // the other end of a veth only if a program listens there.
    for (site, interface) in [(Site::Net, "vms"), (Site::Switch, "trunk")] {
        let pass = object_path("bare")?;
        lab.ip(
            site,
            &format!(
                "link set dev {interface} xdp obj {} program pass",
                pass.display()
            ),
        )?;
    }

    lab.namespace(Site::Hv).ip_batch(
        "link set up0 master br0\n\
         link set up1 master br1\n\
         link set up2 master br1\n\
         addr add 10.71.5.2/24 dev up3\n\
         route add default via 10.71.5.1\n",
    )?;
    lab.namespace(Site::Switch).ip_batch(
        "link set trunk master br2\n\
         link set p1 master br2\n\
         link set p2 master br2\n",
    )?;
    lab.namespace(Site::Net).ip_batch(
        "addr add 10.71.1.1/24 dev vms\n\
         addr add 10.71.2.1/24 dev office\n\
         addr add 10.71.3.1/24 dev dmz\n\
         addr add 10.71.5.1/24 dev routed\n\
         route add 10.71.4.0/24 via 10.71.5.2\n",
    )?;
    for endpoint in [Site::Tc1, Site::Tc2, Site::Gw] {
        address(lab, endpoint)?;
    }
    Ok(())
}

/// Wires a VM to its tap: on the bridge, or routed.
pub(super) fn attach_vm(lab: &Lab, vm: Site) -> Result<()> {
    let tap = tap(vm);
    wire(lab, (Site::Hv, tap), (vm, "eth0"))?;
    let attachment = if vm == Site::Vm3 {
        format!("addr add 10.71.4.1/24 dev {tap}")
    } else {
        format!("link set {tap} master br0")
    };
    lab.ip(Site::Hv, &attachment)?;
    address(lab, vm)
}

/// Gives an endpoint its address and default route.
fn address(lab: &Lab, endpoint: Site) -> Result<()> {
    let [a, b, c, _] = endpoint.ip().octets();
    lab.namespace(endpoint).ip_batch(&format!(
        "addr add {}/24 dev eth0\nroute add default via {a}.{b}.{c}.1\n",
        endpoint.ip()
    ))
}

/// A cable between two boxes. Frames on it are complete (no checksum left to
/// the hardware, no super-frames), as on a real one; and GRO is on, because a
/// veth takes XDP frames only from a peer that polls.
fn wire(lab: &Lab, a: (Site, &str), b: (Site, &str)) -> Result<()> {
    let (space_a, space_b) = (lab.namespace(a.0), lab.namespace(b.0));
    run(std::process::Command::new("ip").args([
        "link",
        "add",
        a.1,
        "netns",
        space_a.name(),
        "type",
        "veth",
        "peer",
        "name",
        b.1,
        "netns",
        space_b.name(),
    ]))
    .with_context(|| format!("wiring {} to {}", a.1, b.1))?;
    let ends = [(&space_a, a.1), (&space_b, b.1)];
    for (space, interface) in ends {
        space.run(&[
            "ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "on",
        ])?;
    }
    // Not before both poll: an end that comes up learns then whether frames can
    // be redirected to its peer, and never again.
    for (space, interface) in ends {
        space
            .ip_batch(&format!(
                "link set {interface} addrgenmode none\nlink set {interface} up\n"
            ))
            .with_context(|| format!("setting {interface} up"))?;
    }
    Ok(())
}
