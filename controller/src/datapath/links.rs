//! Attaching, and only here: which program is on which interface, and what of it
//! outlives the daemon.
//!
//! Links of taps and uplinks are pinned. A link that an earlier run has pinned is
//! taken over by giving it the new program, which the kernel does atomically: no
//! packet meets neither or both. Those of the door's host ends are pinned too, so
//! that connections which a daemon's death resets hear of it; the next daemon makes
//! other doors, and the kernel drops these links with theirs.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, SkLookup, TcAttachType, Xdp, XdpMode,
};
use nix::errno::Errno;
use sidestep_abi::program;

use super::object::{Pins, typed};

/// Programs attached to interfaces of the configuration.
#[derive(Default)]
pub struct Attached {
    /// By name of the pin. Dropping one closes it; only unpinning detaches.
    links: BTreeMap<String, FdLink>,
    /// Those of the door.
    door: Vec<FdLink>,
}

/// What an interface is to Sidestep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A VM's tap: two tcx programs.
    Tap,
    /// An uplink: XDP.
    Uplink,
}

/// How an interface's programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// tcx, on the socket buffer.
    Tcx,
    /// XDP in the driver.
    Driver,
    /// XDP in the stack: works, but slower.
    Generic,
    /// XDP link of an earlier run, in whatever mode that chose.
    Adopted,
}

/// Pins of an interface, by its role.
const TAP_HALVES: [(&str, &str, TcAttachType); 2] = [
    ("from", program::TAP_FROM_VM, TcAttachType::Ingress),
    ("to", program::TAP_TO_VM, TcAttachType::Egress),
];

/// Pins of the door's host ends.
const DOOR_HALF: &str = "door";

/// Names in a BPF file system have no dots, those of interfaces no colons.
fn pin_name(interface: &str, half: &str) -> String {
    format!("{half}:{}", interface.replace('.', ":"))
}

fn interface_of(pin: &str) -> String {
    let interface = pin.split_once(':').map_or("", |(_, interface)| interface);
    interface.replace(':', ".")
}

impl Attached {
    /// Attaches an interface, or takes over the links that are pinned for it.
    ///
    /// # Errors
    ///
    /// The kernel refuses; nothing new of this interface is attached then.
    pub fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        pins: &Pins,
        interface: &str,
        role: Role,
    ) -> Result<Mode> {
        let attached = match role {
            Role::Tap => self.attach_tap(ebpf, pins, interface),
            Role::Uplink => self.attach_uplink(ebpf, pins, interface),
        };
        if attached.is_err() {
            self.detach(pins, interface);
        }
        attached
    }

    /// Detaches an interface and removes its pins; one that has gone has been
    /// detached by the kernel.
    pub fn detach(&mut self, pins: &Pins, interface: &str) {
        for half in ["from", "to", "xdp"] {
            let name = pin_name(interface, half);
            self.links.remove(&name);
            unpin(pins, &name);
        }
    }

    /// Removes pinned links of interfaces other than these: an earlier
    /// configuration had them.
    pub fn forget_others(pins: &Pins, interfaces: &[&str]) {
        for name in pins.links() {
            if name.starts_with(DOOR_HALF) {
                unpin(pins, &name);
                continue;
            }
            let interface = interface_of(&name);
            if !interfaces.contains(&interface.as_str()) {
                tracing::info!("detaching {interface}: it is not configured any more");
                unpin(pins, &name);
            }
        }
    }

    /// Attaches the programs of the door: one on the host ends, one in the
    /// namespace.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attach_door(
        &mut self,
        ebpf: &mut Ebpf,
        pins: &Pins,
        hosts: &[&str],
        namespace: &File,
    ) -> Result<()> {
        let lookup: &mut SkLookup = typed(ebpf, program::DOOR_SOCKET)?;
        let id = lookup
            .attach(namespace)
            .context("cannot attach to the door's namespace")?;
        self.door.push(lookup.take_link(id)?.into());
        let out: &mut SchedClassifier = typed(ebpf, program::DOOR_OUT)?;
        for host in hosts {
            let link = tcx(out, host, TcAttachType::Ingress)
                .with_context(|| format!("cannot attach to {host}"))?;
            let pin = pin_name(host, DOOR_HALF);
            unpin(pins, &pin);
            self.door.push(pinned(pins, &pin, link)?);
        }
        Ok(())
    }

    /// Detaches the door's programs.
    pub fn detach_door(&mut self, pins: &Pins) {
        self.door.clear();
        for name in pins.links() {
            if name.starts_with(DOOR_HALF) {
                unpin(pins, &name);
            }
        }
    }

    fn attach_tap(&mut self, ebpf: &mut Ebpf, pins: &Pins, interface: &str) -> Result<Mode> {
        for (half, name, direction) in TAP_HALVES {
            let classifier: &mut SchedClassifier = typed(ebpf, name)?;
            let pin = pin_name(interface, half);
            let adopted = adopt(pins, &pin, |link| {
                let id = classifier.attach_to_link(SchedClassifierLink::try_from(link)?)?;
                Ok(classifier.take_link(id)?.try_into()?)
            });
            let link = match adopted {
                Some(link) => link,
                None => {
                    let link = tcx(classifier, interface, direction)
                        .context("cannot attach by tcx (Linux 6.6 or later)")?;
                    pinned(pins, &pin, link)?
                }
            };
            self.links.insert(pin, link);
        }
        Ok(Mode::Tcx)
    }

    fn attach_uplink(&mut self, ebpf: &mut Ebpf, pins: &Pins, interface: &str) -> Result<Mode> {
        let xdp: &mut Xdp = typed(ebpf, program::UPLINK)?;
        let pin = pin_name(interface, "xdp");
        let adopted = adopt(pins, &pin, |link| {
            let id = xdp.attach_to_link(XdpLink::try_from(link)?)?;
            Ok(xdp.take_link(id)?.try_into()?)
        });
        let (link, mode) = match adopted {
            Some(link) => (link, Mode::Adopted),
            None => {
                let (link, mode) = native_or_generic(xdp, interface)?;
                (pinned(pins, &pin, link)?, mode)
            }
        };
        self.links.insert(pin, link);
        Ok(mode)
    }
}

/// Gives a pinned link its new program. `None`: there is none, or it is dead
/// (its interface has gone), and its pin goes.
fn adopt(pins: &Pins, name: &str, update: impl FnOnce(FdLink) -> Result<FdLink>) -> Option<FdLink> {
    let path = pins.link(name);
    if !path.exists() {
        return None;
    }
    let updated = PinnedLink::from_pin(&path)
        .map_err(anyhow::Error::from)
        .and_then(|link| update(link.into()));
    match updated {
        Ok(link) => Some(link),
        Err(error) => {
            tracing::debug!("link {name} of an earlier run is replaced: {error:#}");
            unpin(pins, name);
            None
        }
    }
}

fn unpin(pins: &Pins, name: &str) {
    let path = pins.link(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("{} stays pinned: {error}", path.display());
        }
        _ => {}
    }
}

fn pinned(pins: &Pins, name: &str, link: FdLink) -> Result<FdLink> {
    let path = pins.link(name);
    let link = link
        .pin(&path)
        .with_context(|| format!("cannot pin {}", path.display()))?;
    Ok(link.into())
}

fn tcx(
    classifier: &mut SchedClassifier,
    interface: &str,
    direction: TcAttachType,
) -> Result<FdLink> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = classifier.attach_with_options(interface, direction, options)?;
    Ok(classifier.take_link(id)?.try_into()?)
}

fn native_or_generic(xdp: &mut Xdp, interface: &str) -> Result<(FdLink, Mode)> {
    let (id, mode) = match xdp.attach(interface, XdpMode::Driver) {
        Ok(id) => (id, Mode::Driver),
        Err(error)
            if [Errno::EBUSY, Errno::EEXIST]
                .map(|busy| Some(busy as i32))
                .contains(&errno(&error)) =>
        {
            bail!(
                "{interface} runs another XDP program: detach it (`ip link set dev {interface} xdp off`)"
            );
        }
        Err(error) => {
            tracing::warn!(
                "{interface}: the driver takes no XDP ({error}); the slower generic mode is used"
            );
            (xdp.attach(interface, XdpMode::Skb)?, Mode::Generic)
        }
    };
    let link = FdLink::try_from(xdp.take_link(id)?).with_context(|| {
        format!(
            "{interface} was attached by netlink, which cannot be pinned: this kernel is too old \
             (`ip link set dev {interface} xdp off` detaches it)"
        )
    })?;
    Ok((link, mode))
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_names_its_interface_even_with_dots() {
        let pin = pin_name("eth0.100", "xdp");
        assert!(!pin.contains('.'));
        assert_eq!(interface_of(&pin), "eth0.100");
    }
}
