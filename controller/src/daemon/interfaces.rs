//! Taps and uplinks that come and go: programs, maps and the door's MTU follow.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};

use crate::admin::rows::InterfaceRow;
use crate::config::Config;
use crate::datapath::{Datapath, Mode, Role, VmAddresses};
use crate::door::{DEFAULT_MTU, Door};
use crate::watch::{self, Link, XdpAttached};

/// The interfaces of the configuration.
pub struct Interfaces {
    all: Vec<Interface>,
}

struct Interface {
    name: String,
    role: Role,
    vms: Vec<(String, VmAddresses)>,
    /// As last seen with programs attached.
    attached: Option<Link>,
    /// Why it is there without them.
    error: Option<String>,
}

impl Interfaces {
    /// Those that a configuration names.
    pub fn of(config: &Config) -> Self {
        let mut all: Vec<Interface> = Vec::new();
        for vm in &config.vms {
            let behind = (vm.name.clone(), VmAddresses::of(vm));
            match all.iter_mut().find(|tap| tap.name == vm.tap) {
                Some(tap) => tap.vms.push(behind),
                None => all.push(Interface::new(&vm.tap, Role::Tap, vec![behind])),
            }
        }
        for uplink in &config.uplinks {
            all.push(Interface::new(uplink, Role::Uplink, Vec::new()));
        }
        Self { all }
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.all
            .iter()
            .map(|interface| interface.name.as_str())
            .collect()
    }

    /// Whether an interface is there, with the programs on it.
    pub fn is_attached(&self, name: &str) -> bool {
        let named = |interface: &&Interface| interface.name == name;
        let interface = self.all.iter().find(named);
        interface.is_some_and(|interface| interface.attached.is_some())
    }

    /// Whether a VM is on a switch of this host, rather than routed by it.
    pub fn is_bridged(&self, vm: Ipv4Addr) -> bool {
        let tap = self.all.iter().find(|interface| {
            interface
                .vms
                .iter()
                .any(|(_, addresses)| addresses.v4 == vm)
        });
        tap.and_then(|tap| tap.attached.as_ref())
            .is_some_and(Link::is_bridged)
    }

    /// Compares what is there with what is attached, and attaches, detaches and
    /// notes accordingly. What fails is logged, shown by `status`, and tried
    /// again at the next call.
    pub fn reconcile(&mut self, datapath: &mut Datapath, door: &mut Door) {
        let mut links = match watch::list() {
            Ok(links) => links,
            Err(error) => {
                tracing::error!("cannot list interfaces: {error}");
                return;
            }
        };
        let mut changed = false;
        for interface in &mut self.all {
            let link = links.iter().find(|link| link.name == interface.name);
            changed |= interface.follow(link, datapath);
        }
        if changed {
            // Only now is it known in which mode XDP runs.
            if let Ok(now) = watch::list() {
                links = now;
            }
        }
        for interface in &mut self.all {
            interface.refresh(&links);
        }
        self.tell(datapath, door, &links);
        self.refresh_macs(datapath);
    }

    /// Lets steered flows follow VMs whose MAC, or attachment, has changed.
    pub fn refresh_macs(&self, datapath: &mut Datapath) {
        for interface in &self.all {
            if let Some(link) = &interface.attached {
                for (_, vm) in &interface.vms {
                    datapath.refresh_mac(*vm, link.is_bridged());
                }
            }
        }
    }

    /// Tells the taps of which VMs further connections are to be taken.
    pub fn tell_room(&self, datapath: &mut Datapath, has_room: impl Fn(Ipv4Addr) -> bool) {
        for (_, vm) in self.all.iter().flat_map(|interface| &interface.vms) {
            for address in vm.all() {
                let take = has_room(vm.v4);
                if let Err(error) = datapath.maps.take_connections(address, take) {
                    tracing::error!("{error:#}");
                }
            }
        }
    }

    /// # Errors
    ///
    /// An interface is there, but the kernel does not let programs be attached.
    pub fn all_attached(&self) -> Result<()> {
        for interface in &self.all {
            if let Some(error) = &interface.error {
                bail!("{}: {error}", interface.name);
            }
        }
        Ok(())
    }

    /// For `status`.
    pub fn rows(&self) -> Vec<InterfaceRow> {
        self.all.iter().map(Interface::row).collect()
    }

    /// Uplinks and the VLANs on them to their maps, the smallest MTU of all taps to the
    /// door.
    fn tell(&self, datapath: &mut Datapath, door: &mut Door, links: &[Link]) {
        let of = |role| {
            let all = self
                .all
                .iter()
                .filter(move |interface| interface.role == role);
            all.filter_map(|interface| interface.attached.as_ref())
        };
        let uplinks: Vec<_> = of(Role::Uplink)
            .map(|link| (link.index, link.mac))
            .collect();
        if let Err(error) = datapath.maps.set_uplinks(&uplinks) {
            tracing::error!("{error:#}");
        }
        let indices: Vec<u32> = uplinks.iter().map(|(index, _)| *index).collect();
        let vlans: Vec<_> = watch::vlans_on(links, &indices).collect();
        if let Err(error) = datapath.maps.set_vlans(&vlans) {
            tracing::error!("{error:#}");
        }
        let mtu = of(Role::Tap).map(|link| link.mtu).min();
        if let Err(error) = door.set_mtu(mtu.unwrap_or(DEFAULT_MTU)) {
            tracing::error!("{error:#}");
        }
    }
}

impl Interface {
    fn new(name: &str, role: Role, vms: Vec<(String, VmAddresses)>) -> Self {
        Self {
            name: name.to_owned(),
            role,
            vms,
            attached: None,
            error: None,
        }
    }

    /// True: programs have been attached.
    fn follow(&mut self, link: Option<&Link>, datapath: &mut Datapath) -> bool {
        let before = self.attached.as_ref().map(|link| link.index);
        if before.is_some() && before == link.map(|link| link.index) {
            return false;
        }
        if before.is_some() {
            datapath.detach(&self.name);
            self.attached = None;
            tracing::warn!("{} has gone", self.name);
        }
        let Some(link) = link else {
            if before.is_none() {
                tracing::debug!("{} is not there", self.name);
            }
            self.error = None;
            self.note_tap(datapath);
            return false;
        };
        match datapath.attach(&self.name, self.role) {
            Ok(mode) => {
                tracing::info!("{}: attached ({})", self.name, described(mode));
                self.attached = Some(link.clone());
                self.error = None;
            }
            Err(error) => {
                let error = format!("{error:#}");
                if self.error.as_ref() != Some(&error) {
                    tracing::error!("{}: not attached: {error}", self.name);
                }
                self.error = Some(error);
            }
        }
        self.note_tap(datapath);
        self.attached.is_some()
    }

    /// Takes over what has changed of an interface that is still the same.
    fn refresh(&mut self, links: &[Link]) {
        let Some(attached) = &mut self.attached else {
            return;
        };
        let Some(link) = links.iter().find(|link| link.index == attached.index) else {
            return;
        };
        attached.clone_from(link);
    }

    fn note_tap(&self, datapath: &mut Datapath) {
        let index = self.attached.as_ref().map(|link| link.index);
        for (_, addresses) in &self.vms {
            for address in addresses.all() {
                if let Err(error) = datapath.maps.set_vm(address, index) {
                    tracing::error!("{error:#}");
                }
            }
        }
    }

    fn row(&self) -> InterfaceRow {
        let attached = self.attached.as_ref();
        InterfaceRow {
            name: self.name.clone(),
            role: match self.role {
                Role::Tap => "tap",
                Role::Uplink => "uplink",
            }
            .to_owned(),
            vms: self.vms.iter().map(|(name, _)| name.clone()).collect(),
            ifindex: attached.map(|link| link.index),
            mode: attached.map(|link| self.mode(link).to_owned()),
            bridged: match self.role {
                Role::Tap => attached.map(Link::is_bridged),
                Role::Uplink => None,
            },
            error: self.error.clone(),
        }
    }

    fn mode(&self, link: &Link) -> &'static str {
        match (self.role, link.xdp) {
            (Role::Tap, _) => "tcx",
            (Role::Uplink, XdpAttached::Driver) => "driver",
            (Role::Uplink, XdpAttached::Generic) => "generic",
            (Role::Uplink, XdpAttached::Other) => "other",
            (Role::Uplink, XdpAttached::None) => "none",
        }
    }
}

fn described(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcx => "tcx",
        Mode::Driver => "XDP in the driver",
        Mode::Generic => "generic XDP",
        Mode::Adopted => "XDP link of an earlier run, with the new program",
    }
}
