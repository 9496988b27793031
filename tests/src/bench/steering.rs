//! Sidestep's own program on the lab's uplink, with flows that steer; what the
//! daemon does, without the daemon.

use std::net::SocketAddrV4;

use anyhow::{Context, Result};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sidestep_abi::program;

use crate::lab::{Lab, Site};
use crate::program::{Programs, ifindex, object_path, steer, typed};

/// Has an uplink of the host turn around whatever it gets, natively: what the way to
/// the host and back costs without anything that is done there. It goes when the
/// value is dropped.
pub fn turn_around(lab: &Lab, uplink: &'static str) -> Result<Ebpf> {
    lab.namespace(Site::Hv).enter(move || -> Result<Ebpf> {
        let mut bare = EbpfLoader::new().load_file(object_path("bare")?)?;
        let xdp: &mut Xdp = typed(&mut bare, "redirect_back")?;
        xdp.load()?;
        xdp.attach(uplink, XdpMode::Driver)
            .with_context(|| format!("attaching to {uplink}"))?;
        Ok(bare)
    })?
}

/// A call at an anchor: the anchor, and the two that use it.
#[derive(Debug, Clone, Copy)]
pub struct Anchored {
    /// Where both send to.
    pub anchor: SocketAddrV4,
    /// One.
    pub near: SocketAddrV4,
    /// The other.
    pub far: SocketAddrV4,
}

/// Attaches the program to an uplink of the host, natively, and steers these
/// calls by FIB lookup, both ways. It goes when the value is dropped.
pub fn steer_calls(lab: &Lab, uplink: &'static str, calls: &[Anchored]) -> Result<Programs> {
    let ways = calls.iter().flat_map(|call| {
        let way = |from, to| (from, call.anchor, to);
        [way(call.near, call.far), way(call.far, call.near)]
    });
    steer_ways(lab, uplink, ways.collect())
}

/// The same of single directions: what comes from the first to the second (an
/// anchor) goes from there to the third. Statistics are by their order.
pub fn steer_ways(
    lab: &Lab,
    uplink: &'static str,
    ways: Vec<(SocketAddrV4, SocketAddrV4, SocketAddrV4)>,
) -> Result<Programs> {
    let mac = mac_of(lab, uplink)?;
    lab.namespace(Site::Hv).enter(move || -> Result<Programs> {
        private_pins()?;
        let room = (ways.len() as u32).next_power_of_two();
        let mut programs = Programs::load_sized(room.max(64), None);
        let ifindex = ifindex(uplink)?;
        programs.set_uplink(ifindex, mac);
        for (index, (from, anchor, to)) in ways.iter().enumerate() {
            let anchor = anchor.to_string();
            let action = steer(index as u32, &anchor, &to.to_string(), [0; 6]);
            programs.set_flow(&from.to_string(), &anchor, action);
        }
        let xdp: &mut Xdp = typed(&mut programs.ebpf, program::UPLINK)?;
        xdp.attach(uplink, XdpMode::Driver)
            .with_context(|| format!("attaching to {uplink}"))?;
        Ok(programs)
    })?
}

/// Pins of this thread where no other process sees them.
fn private_pins() -> Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("unshare")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("making mounts private")?;
    let bpf = Some("bpf");
    mount(bpf, "/sys/fs/bpf", bpf, MsFlags::empty(), NONE).context("a BPF file system")
}

fn mac_of(lab: &Lab, interface: &str) -> Result<[u8; 6]> {
    let link = lab.ip(Site::Hv, &format!("-o link show {interface}"))?;
    let text = link
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .with_context(|| format!("no MAC in {link:?}"))?;
    let octets: Vec<u8> = text
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).context("a MAC"))
        .collect::<Result<_>>()?;
    octets.try_into().ok().context("six octets")
}
