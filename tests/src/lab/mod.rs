//! The lab: a site in network namespaces.
//!
//! ```text
//!                        hv (the hypervisor host)
//!   vm1 ── tap1 ┐
//!               br0 ── up0 ── 10.71.1.1 ┐
//!   vm2 ── tap2 ┘                       │
//!   vm3 ── tap3 (routed) ─ up3 ─ 10.71.5.1 ── net ── 10.71.3.1 ── gw
//!                                       │
//!   tc1 ┐                               │
//!       sw ── up1 ── br1 ── up2 ── 10.71.2.1 ┘
//!   tc2 ┘
//! ```
//!
//! Every box is a namespace of its own, every segment a subnet of its own, as
//! at a real site: thin clients in an office network whose trunk crosses the
//! host, VMs on a bridge that has no address, one VM routed by the host, the
//! gateway behind the site's router `net`. A lab is unique to its owner and
//! goes, with every process in it, when it is dropped; labs whose owner died
//! are swept when the next one is made.

mod ipv6;
mod machine;
mod namespace;
mod scene;
mod sweep;
mod topology;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

pub use ipv6::{four, six};
pub use machine::{Guest, Machine};
pub use namespace::Namespace;
pub use scene::in_lab;
pub use sweep::sweep;
pub use topology::tap;

/// What every lab's namespaces, pins and directories begin with.
const PREFIX: &str = "sslab";

/// A box of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    /// The hypervisor host.
    Hv,
    /// A VM on the bridge, 10.71.1.11.
    Vm1,
    /// A VM on the bridge, 10.71.1.12.
    Vm2,
    /// A VM that the host routes for, 10.71.4.13.
    Vm3,
    /// A thin client, 10.71.2.21.
    Tc1,
    /// A thin client, 10.71.2.22.
    Tc2,
    /// The office switch between the thin clients and the host.
    Switch,
    /// The media gateway, 10.71.3.31.
    Gw,
    /// The site's router.
    Net,
}

impl Site {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Hv,
        Self::Vm1,
        Self::Vm2,
        Self::Vm3,
        Self::Tc1,
        Self::Tc2,
        Self::Switch,
        Self::Gw,
        Self::Net,
    ];

    /// Its name, as the last part of its namespace's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hv => "hv",
            Self::Vm1 => "vm1",
            Self::Vm2 => "vm2",
            Self::Vm3 => "vm3",
            Self::Tc1 => "tc1",
            Self::Tc2 => "tc2",
            Self::Switch => "sw",
            Self::Gw => "gw",
            Self::Net => "net",
        }
    }

    /// Address of an endpoint's `eth0`; `None` for what is not an endpoint.
    pub const fn endpoint(self) -> Option<Ipv4Addr> {
        match self {
            Self::Vm1 => Some(Ipv4Addr::new(10, 71, 1, 11)),
            Self::Vm2 => Some(Ipv4Addr::new(10, 71, 1, 12)),
            Self::Vm3 => Some(Ipv4Addr::new(10, 71, 4, 13)),
            Self::Tc1 => Some(Ipv4Addr::new(10, 71, 2, 21)),
            Self::Tc2 => Some(Ipv4Addr::new(10, 71, 2, 22)),
            Self::Gw => Some(Ipv4Addr::new(10, 71, 3, 31)),
            Self::Hv | Self::Switch | Self::Net => None,
        }
    }

    /// Address of an endpoint.
    ///
    /// # Panics
    /// For a box that is no endpoint.
    pub fn ip(self) -> Ipv4Addr {
        self.endpoint().expect("only endpoints have one address")
    }
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    name: String,
    directory: PathBuf,
    /// Whether Drop takes it down.
    owned: bool,
}

impl Lab {
    /// Makes a lab that lives as long as the value.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep::sweep();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{count}", std::process::id());
        Self::build(name, true)
    }

    /// Makes the lab `name`, which stays until [`Lab::down`].
    pub fn up(name: &str) -> Result<Self> {
        check_name(name)?;
        Self::build(format!("{PREFIX}-{name}"), false)
    }

    /// The lab `name`, made by [`Lab::up`] earlier.
    pub fn find(name: &str) -> Result<Self> {
        check_name(name)?;
        let lab = Self {
            name: format!("{PREFIX}-{name}"),
            directory: directory_of(&format!("{PREFIX}-{name}")),
            owned: false,
        };
        if !lab.namespace(Site::Hv).exists() {
            bail!("there is no lab {name}; `lab up {name}` makes it");
        }
        Ok(lab)
    }

    /// Takes the lab `name` down, and every process in it.
    pub fn down(name: &str) -> Result<()> {
        check_name(name)?;
        sweep::remove(&format!("{PREFIX}-{name}"));
        Ok(())
    }

    fn build(name: String, owned: bool) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab needs root: it makes network namespaces");
        }
        let directory = directory_of(&name);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let lab = Self {
            name,
            directory,
            owned,
        };
        if lab.namespace(Site::Hv).exists() {
            bail!("lab {} is up already", lab.name);
        }
        match topology::build(&lab) {
            Ok(()) => Ok(lab),
            Err(error) => {
                sweep::remove(&lab.name);
                Err(error.context("making the lab"))
            }
        }
    }

    /// Its name, unique on the machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory for files of this lab; gone when it is dropped.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The namespace of a box.
    pub fn namespace(&self, site: Site) -> Namespace {
        Namespace::named(format!("{}-{}", self.name, site.name()))
    }

    /// Name for the daemon's own namespace in this lab.
    pub fn door_namespace(&self) -> Namespace {
        Namespace::named(format!("{}-door", self.name))
    }

    /// Where the daemon pins in this lab.
    pub fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf").join(&self.name)
    }

    /// A command to run in a box. It dies with the thread that starts it.
    pub fn command(&self, site: Site, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.namespace(site).command(program)
    }

    /// Runs `ip` with these words in a box.
    pub fn ip(&self, site: Site, words: &str) -> Result<String> {
        self.namespace(site).ip(words)
    }

    /// Makes the router drop what thin clients and gateway send each other:
    /// only the VMs' networks are reachable for both.
    pub fn block_thin_clients(&self) -> Result<()> {
        let net = self.namespace(Site::Net);
        net.ip("rule add from 10.71.2.0/24 to 10.71.3.0/24 priority 100 blackhole")?;
        net.ip("rule add from 10.71.3.0/24 to 10.71.2.0/24 priority 100 blackhole")?;
        Ok(())
    }

    /// Deletes a bridged VM's tap, as its shutdown does.
    pub fn remove_tap(&self, vm: Site) -> Result<()> {
        self.ip(Site::Hv, &format!("link del {}", topology::tap(vm)))?;
        Ok(())
    }

    /// Makes a bridged VM's tap anew, as its restart does.
    pub fn restore_tap(&self, vm: Site) -> Result<()> {
        topology::attach_vm(self, vm)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned {
            sweep::remove(&self.name);
        }
    }
}

fn directory_of(name: &str) -> PathBuf {
    directories().join(name)
}

/// Where the labs' directories are: in memory where there is such a place, so
/// that a busy disk holds up neither peers nor captures.
fn directories() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= 20
        && name.chars().all(|c| c.is_ascii_alphanumeric())
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !fits {
        bail!("a lab's name is a letter and up to 19 letters and digits, not {name:?}");
    }
    Ok(())
}
