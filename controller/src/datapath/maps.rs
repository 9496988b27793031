//! The maps of taps and doors, each with its types. Addresses and ports go in and
//! out in host types; the byte order of the programs ends here.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, SockMap};
use sidestep_abi::counter::Counter;
use sidestep_abi::door::{
    ConnectionKey, DOOR_LISTENERS, Door, LEASE_NS, Neighbour, NeighbourKey, PortClass, Side,
    Unread, UnreadKey, UnreadSeen, VM_CONNECTIONS, Vm,
};
use sidestep_abi::flow::{self, Address, VlanKey};
use sidestep_abi::map;

use crate::watch;

/// What the daemon writes for the tap and door programs, and reads from them.
pub struct Maps {
    uplinks: HashMap<MapData, u32, [u8; 6]>,
    vlans: HashMap<MapData, VlanKey, flow::Vlan>,
    signalling_ports: HashMap<MapData, u16, u8>,
    vms: HashMap<MapData, Address, Vm>,
    neighbours: HashMap<MapData, NeighbourKey, Neighbour>,
    doors: Array<MapData, Door>,
    inner_links: Array<MapData, u32>,
    lease: Array<MapData, u64>,
    counters: PerCpuArray<MapData, u64>,
    door_sockets: SockMap<MapData>,
    connections: HashMap<MapData, ConnectionKey, u64>,
    unread: HashMap<MapData, UnreadKey, UnreadSeen>,
    /// VMs of which no further connections are taken.
    full: HashSet<IpAddr>,
}

/// How long the last segments of a connection that is over may take: longer than the
/// stack behind the door answers them (TIME-WAIT, RFC 9293 §3.4.2: 60 s on Linux).
const CONNECTION_IDLE_NS: u64 = 120_000_000_000;

/// A map of the object, taken out of it.
pub fn take_any(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the object has no map {name}"))
}

/// The same, as what it is.
pub fn take<M>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M: TryFrom<Map, Error = MapError>,
{
    M::try_from(take_any(ebpf, name)?).with_context(|| format!("map {name} is of another type"))
}

impl Maps {
    /// Takes them out of a loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            uplinks: take(ebpf, map::UPLINKS)?,
            vlans: take(ebpf, map::VLANS)?,
            signalling_ports: take(ebpf, map::SIGNALLING_PORTS)?,
            vms: take(ebpf, map::VMS)?,
            neighbours: take(ebpf, map::NEIGHBOURS)?,
            doors: take(ebpf, map::DOORS)?,
            inner_links: take(ebpf, map::DOOR_NS)?,
            lease: take(ebpf, map::LEASE)?,
            counters: take(ebpf, map::COUNTERS)?,
            door_sockets: take(ebpf, map::DOOR_SOCKETS)?,
            connections: take(ebpf, map::CONNECTIONS)?,
            unread: take(ebpf, map::UNREAD)?,
            full: HashSet::new(),
        })
    }

    /// The ports that are signalling, each once, and no others.
    pub fn set_signalling_ports(&mut self, ports: &[(u16, PortClass)]) -> Result<()> {
        for (port, class) in ports {
            self.signalling_ports
                .insert(port.to_be(), *class as u8, 0)
                .with_context(|| format!("cannot have port {port} taken"))?;
        }
        let pinned: Vec<u16> = self
            .signalling_ports
            .keys()
            .filter_map(Result::ok)
            .collect();
        for port in pinned {
            let is_wanted = |(wanted, _): &(u16, PortClass)| wanted.to_be() == port;
            if !ports.iter().any(is_wanted) {
                self.signalling_ports.remove(&port)?;
            }
        }
        Ok(())
    }

    /// VMs that are configured no more are forgotten; the others keep their taps
    /// until [`Self::set_vm`].
    pub fn keep_vms(&mut self, addresses: &[IpAddr]) -> Result<()> {
        let pinned: Vec<Address> = self.vms.keys().filter_map(Result::ok).collect();
        for address in pinned {
            if !addresses.contains(&flow::ip(address)) {
                self.vms.remove(&address)?;
            }
        }
        Ok(())
    }

    /// A VM's tap; `None` while it is not there.
    pub fn set_vm(&mut self, address: IpAddr, tap: Option<u32>) -> Result<()> {
        let vm = Vm {
            ifindex: tap.unwrap_or(0),
            flags: match self.full.contains(&address) {
                true => 0,
                false => VM_CONNECTIONS,
            },
        };
        self.vms
            .insert(flow::address(address), vm, 0)
            .with_context(|| format!("cannot note the tap of {address}"))
    }

    /// Whether further connections of a VM are taken.
    pub fn take_connections(&mut self, address: IpAddr, take: bool) -> Result<()> {
        let changed = match take {
            true => self.full.remove(&address),
            false => self.full.insert(address),
        };
        match self.vms.get(&flow::address(address), 0) {
            Ok(vm) if changed => self.set_vm(address, Some(vm.ifindex)),
            _ => Ok(()),
        }
    }

    /// A connection is made from here, of the VM's address and the other: its segments
    /// are taken from now on. `now_ns`: of CLOCK_MONOTONIC.
    pub fn take_connection(
        &mut self,
        vm: SocketAddr,
        remote: SocketAddr,
        now_ns: u64,
    ) -> Result<()> {
        let key = ConnectionKey {
            vm: flow::address(vm.ip()),
            remote: flow::address(remote.ip()),
            vm_port_be: vm.port().to_be(),
            remote_port_be: remote.port().to_be(),
        };
        self.connections
            .insert(key, now_ns, 0)
            .with_context(|| format!("cannot have segments between {vm} and {remote} taken"))
    }

    /// Forgets connections that are none of ours and of which nothing has come for
    /// a while. `now_ns`: of CLOCK_MONOTONIC; `is_ours`: by the VM's address and the
    /// other.
    pub fn collect_connections(
        &mut self,
        now_ns: u64,
        is_ours: impl Fn(SocketAddr, SocketAddr) -> bool,
    ) {
        let gone: Vec<ConnectionKey> = self
            .connections
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, last_ns)| now_ns.saturating_sub(*last_ns) > CONNECTION_IDLE_NS)
            .map(|(key, _)| key)
            .filter(|key| {
                let at =
                    |address, port_be| SocketAddr::new(flow::ip(address), u16::from_be(port_be));
                let vm = at(key.vm, key.vm_port_be);
                !is_ours(vm, at(key.remote, key.remote_port_be))
            })
            .collect();
        for key in gone {
            // A program may have been faster.
            let _ = self.connections.remove(&key);
        }
    }

    /// The uplinks, by index and MAC, and no others.
    pub fn set_uplinks(&mut self, uplinks: &[(u32, [u8; 6])]) -> Result<()> {
        for (index, mac) in uplinks {
            self.uplinks
                .insert(index, mac, 0)
                .context("cannot note an uplink")?;
        }
        let noted: Vec<u32> = self.uplinks.keys().filter_map(Result::ok).collect();
        for index in noted {
            if !uplinks.iter().any(|(wanted, _)| *wanted == index) {
                self.uplinks.remove(&index)?;
            }
        }
        Ok(())
    }

    /// The VLANs on uplinks, and no others: the uplink, the tags on it (outer first), the
    /// host's interface.
    pub fn set_vlans(&mut self, vlans: &[(u32, Vec<watch::Vlan>, &watch::Link)]) -> Result<()> {
        let mut wanted = HashSet::new();
        for (uplink, on_it, link) in vlans {
            let mut tags = [0; 2];
            for (tag, vlan) in tags.iter_mut().zip(on_it) {
                *tag = flow::vlan_tag(vlan.protocol, vlan.id);
            }
            let key = |ifindex, tags| VlanKey { ifindex, tags };
            let end = |ifindex, tags| flow::Vlan {
                ifindex,
                tags,
                mac: link.mac,
                reserved: 0,
            };
            for (key, end) in [
                (key(*uplink, tags), end(link.index, [0; 2])),
                (key(link.index, [0; 2]), end(*uplink, tags)),
            ] {
                self.vlans
                    .insert(key, end, 0)
                    .with_context(|| format!("cannot note {}", link.name))?;
                wanted.insert(key);
            }
        }
        let noted: Vec<VlanKey> = self.vlans.keys().filter_map(Result::ok).collect();
        for key in noted.iter().filter(|key| !wanted.contains(key)) {
            self.vlans.remove(key)?;
        }
        Ok(())
    }

    /// The door's link of a side; `None`: it is not there.
    pub fn set_door(&mut self, side: Side, link: Option<(u32, [u8; 6])>) -> Result<()> {
        let (ifindex, mac) = link.unwrap_or_default();
        let door = Door {
            ifindex,
            mac,
            reserved: 0,
        };
        self.doors
            .set(side as u32, door, 0)
            .context("cannot note the door")
    }

    /// Interface index of a side's namespace end, in the namespace.
    pub fn set_inner_link(&mut self, side: Side, index: u32) -> Result<()> {
        self.inner_links
            .set(side as u32, index, 0)
            .context("cannot note the namespace's link")
    }

    /// The sockets that receive datagrams and connections, each in the order of
    /// [`Side`].
    pub fn set_door_sockets(&mut self, datagrams: [RawFd; 2], listeners: [RawFd; 2]) -> Result<()> {
        let datagrams = (0..).zip(datagrams);
        for (index, socket) in datagrams.chain((DOOR_LISTENERS..).zip(listeners)) {
            self.door_sockets
                .set(index, &socket, 0)
                .context("cannot give a socket to the namespace's program")?;
        }
        Ok(())
    }

    /// The daemon is alive at `now_ns` (CLOCK_MONOTONIC).
    pub fn renew_lease(&mut self, now_ns: u64) -> Result<()> {
        self.set_lease(now_ns + LEASE_NS)
    }

    /// Signalling passes untouched from now on.
    pub fn end_lease(&mut self) -> Result<()> {
        self.set_lease(0)
    }

    fn set_lease(&mut self, deadline_ns: u64) -> Result<()> {
        self.lease
            .set(0, deadline_ns, 0)
            .context("cannot write the lease")
    }

    /// Deadline of the lease, ns of CLOCK_MONOTONIC.
    pub fn lease(&self) -> u64 {
        self.lease.get(&0, 0).unwrap_or(0)
    }

    /// The VM's MAC, as its frames from this address have it; `None` before the
    /// first.
    pub fn vm_mac(&self, vm: IpAddr) -> Option<[u8; 6]> {
        Some(self.neighbour(vm, [0; 16])?.vm_mac)
    }

    /// By which MACs a VM's address and a far one reach each other; `None`: nothing of
    /// both has been seen.
    pub fn next_hop(&self, vm: IpAddr, remote: IpAddr) -> Option<Neighbour> {
        self.neighbour(vm, flow::address(remote))
    }

    fn neighbour(&self, vm: IpAddr, remote: Address) -> Option<Neighbour> {
        let vm = flow::address(vm);
        let key = NeighbourKey { vm, remote };
        self.neighbours.get(&key, 0).ok()
    }

    /// Signalling of these addresses that passed because it cannot be read: why, how
    /// many connections have begun, and when anything was seen last (ns of
    /// CLOCK_MONOTONIC).
    pub fn unread(&self, vm: impl Iterator<Item = IpAddr>) -> Vec<(Unread, UnreadSeen)> {
        let keys = vm.flat_map(|vm| {
            let vm = flow::address(vm);
            Unread::ALL.map(|why| {
                (
                    why,
                    UnreadKey {
                        vm,
                        why: why as u32,
                    },
                )
            })
        });
        keys.filter_map(|(why, key)| Some((why, self.unread.get(&key, 0).ok()?)))
            .collect()
    }

    /// What the programs have counted, over all CPUs.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        Counter::ALL
            .iter()
            .map(|counter| {
                let value = self.counters.get(&(*counter as u32), 0);
                let sum = value.map_or(0, |value| value.iter().sum());
                (counter.name(), sum)
            })
            .collect()
    }
}
