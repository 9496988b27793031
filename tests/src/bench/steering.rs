//! Sidestep's own program on the lab's uplink, with flows that steer; what the
//! daemon does, without the daemon.

use std::net::SocketAddrV4;

use anyhow::{Context, Result};
use aya::programs::{Xdp, XdpMode};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sidestep_abi::program;

use crate::lab::{Lab, Site};
use crate::program::{Programs, ifindex, steer, typed};

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
/// calls by FIB lookup. It goes when the value is dropped.
pub fn steer_calls(lab: &Lab, uplink: &'static str, calls: &[Anchored]) -> Result<Programs> {
    let mac = mac_of(lab, uplink)?;
    let calls = calls.to_vec();
    lab.namespace(Site::Hv).enter(move || -> Result<Programs> {
        private_pins()?;
        let room = calls.len() as u32 * 2;
        let mut programs = Programs::load_sized(room.next_power_of_two().max(64), None);
        let ifindex = ifindex(uplink)?;
        programs.set_uplink(ifindex, mac);
        for (index, call) in calls.iter().enumerate() {
            let anchor = call.anchor.to_string();
            let (near, far) = (call.near.to_string(), call.far.to_string());
            for (way, (from, to)) in [(&near, &far), (&far, &near)].into_iter().enumerate() {
                let action = steer((index * 2 + way) as u32, &anchor, to, [0; 6]);
                programs.set_flow(from, &anchor, action);
            }
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
