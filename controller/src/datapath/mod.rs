//! The kernel's part, seen from the daemon: programs, links, maps.
//!
//! In: which interfaces and VMs there are, which flows each call wants. Out:
//! programs attached and pinned, maps filled, flows read back as rows. The only
//! room that attaches programs or writes maps.

mod by_hand;
mod events;
mod kernel;
mod links;
mod maps;
mod object;
mod quality;
mod readout;
mod table;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use aya::Ebpf;
use sidestep_abi::door::{Neighbour, PortClass};
use sidestep_abi::flow::{
    self, AT_TAP, FLOW_DSCP, FLOW_RTCP, FlowAction, FlowKey, FlowKind, FlowLeg,
};
use sidestep_core::engine::{self, Flow, Leg, Reception};
use sidestep_core::time::Time;
use tokio::sync::mpsc;

use crate::admin::rows::FlowRow;
use crate::clock::{Wall, nanoseconds};
use crate::config::{Dscp, VmConfig};
use crate::door::Door;
pub use by_hand::{ByHand, NotByHand, PinnedFlows};
pub use events::Unlearned;
use kernel::KernelMaps;
use links::Attached;
pub use links::{Mode, Role};
pub use maps::Maps;
use object::Pins;
pub use readout::flows_from_pins;
pub use table::Refused;
use table::{FlowTable, Installed};

/// Flows of a call that has ended are shown for this long.
const ENDED_SHOWN: Duration = Duration::from_secs(60);
/// At most so many of them.
const ENDED_KEPT: usize = 4096;
/// Flows that are listed before the daemon has its other work done.
const AT_A_TIME: usize = 500;
/// Guards of such flows go when bypassed media was not seen for so long.
const GUARD_IDLE: Duration = Duration::from_secs(5);
/// Flows that no call claims and that carry nothing go after this.
const UNCLAIMED_IDLE: Duration = Duration::from_secs(60);

/// The addresses of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmAddresses {
    /// That by which it is known here.
    pub v4: Ipv4Addr,
    /// The other.
    pub v6: Option<Ipv6Addr>,
}

impl VmAddresses {
    /// Those that a configuration gives.
    pub fn of(vm: &VmConfig) -> Self {
        Self {
            v4: vm.address,
            v6: vm.address6,
        }
    }

    /// One or both.
    pub fn all(self) -> impl Iterator<Item = IpAddr> {
        [Some(IpAddr::V4(self.v4)), self.v6.map(IpAddr::V6)]
            .into_iter()
            .flatten()
    }
}

/// Everything loaded and attached.
pub struct Datapath {
    /// Maps of taps, door and lease.
    pub maps: Maps,
    flows: FlowTable<KernelMaps>,
    capacity: u32,
    first_call: u32,
    vms: Vec<VmAddresses>,
    dscp: Dscp,
    /// MACs that the steered flows of each VM have.
    macs: HashMap<Ipv4Addr, [u8; 6]>,
    ended: VecDeque<(Time, FlowRow)>,
    /// Pins of an earlier run were there.
    adopted: bool,
    started: Time,
    attached: Attached,
    ebpf: Ebpf,
    pins: Pins,
}

impl Datapath {
    /// Loads programs and maps; what an earlier run has pinned is taken over.
    ///
    /// # Errors
    ///
    /// Another daemon uses the pins, or the kernel refuses.
    pub fn load(pins: &Path, max_flows: u32, now: Time) -> Result<Self> {
        let pins = Pins::hold(pins)?;
        let adopted = !pins.links().is_empty();
        let mut ebpf = match object::load(&pins, max_flows) {
            Ok(ebpf) => ebpf,
            Err(error) => {
                if !adopted {
                    pins.remove();
                }
                return Err(error);
            }
        };
        pins.take_over_other_versions();
        let maps = Maps::take(&mut ebpf)?;
        let mut kernel = KernelMaps::take(&mut ebpf)?;
        let installed = kernel.installed()?;
        let capacity = kernel.capacity();
        let calls = installed.iter().map(|flow| flow.action.call);
        let calls = calls.filter(|call| !by_hand::is_by_hand(*call));
        let first_call = calls.max().map_or(1, |highest| highest.saturating_add(1));
        if !installed.is_empty() {
            tracing::info!("{} flows of an earlier run go on", installed.len());
        }
        Ok(Self {
            maps,
            flows: FlowTable::adopt(kernel, installed, capacity),
            capacity,
            first_call,
            vms: Vec::new(),
            dscp: Dscp::Keep,
            macs: HashMap::new(),
            ended: VecDeque::new(),
            adopted,
            started: now,
            attached: Attached::default(),
            ebpf,
            pins,
        })
    }

    /// A task that logs what the programs say, and hands on what is to be learned.
    ///
    /// # Errors
    ///
    /// Called twice, or outside a runtime.
    pub fn follow_events(
        &mut self,
        unlearned: mpsc::Sender<Unlearned>,
    ) -> Result<impl Future<Output = ()> + use<>> {
        events::follow(&mut self.ebpf, unlearned)
    }

    /// Number for the first call: above those whose flows are still there.
    pub fn first_call(&self) -> u32 {
        self.first_call
    }

    /// Tells the programs the ports and the VMs, and forgets what only an earlier
    /// configuration had. Flows from now on have packets of this `dscp`. No signalling is taken until the door is open and the
    /// lease runs.
    ///
    /// # Errors
    ///
    /// A map is full.
    pub fn configure(
        &mut self,
        ports: &[(u16, PortClass)],
        vms: &[VmAddresses],
        interfaces: &[&str],
        dscp: Dscp,
    ) -> Result<()> {
        self.maps.end_lease()?;
        self.dscp = dscp;
        self.maps.set_signalling_ports(ports)?;
        self.vms = vms.to_vec();
        let addresses: Vec<IpAddr> = vms.iter().flat_map(|vm| vm.all()).collect();
        self.maps.keep_vms(&addresses)?;
        Attached::forget_others(&self.pins, interfaces);
        Ok(())
    }

    /// Attaches the programs of the door and tells the tap programs of it.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn open_door(&mut self, door: &Door) -> Result<()> {
        self.maps
            .set_door_sockets(door.sockets(), door.listeners())?;
        for end in &door.ends {
            self.maps.set_inner_link(end.side, end.inner_index)?;
        }
        let hosts = door.ends.map(|end| end.host);
        self.attached
            .attach_door(&mut self.ebpf, &self.pins, &hosts, &door.namespace()?)?;
        for end in &door.ends {
            self.maps
                .set_door(end.side, Some((end.host_index, end.inner_mac)))?;
        }
        Ok(())
    }

    /// Signalling passes untouched from now on; the door's programs go.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn close_door(&mut self, door: &Door) -> Result<()> {
        self.maps.end_lease()?;
        for end in &door.ends {
            self.maps.set_door(end.side, None)?;
        }
        self.attached.detach_door(&self.pins);
        Ok(())
    }

    /// Attaches an interface that is there.
    ///
    /// # Errors
    ///
    /// The kernel refuses; nothing of it is attached then.
    pub fn attach(&mut self, interface: &str, role: Role) -> Result<Mode> {
        self.attached
            .attach(&mut self.ebpf, &self.pins, interface, role)
    }

    /// Detaches an interface, or forgets one that has gone.
    pub fn detach(&mut self, interface: &str) {
        self.attached.detach(&self.pins, interface);
    }

    /// Makes the flows of a call so. `is_bridged`: whether a VM is on a switch.
    ///
    /// # Errors
    ///
    /// Not all could be installed; those of before stand.
    pub fn apply(
        &mut self,
        change: &engine::Datapath,
        is_bridged: impl Fn(Ipv4Addr) -> bool,
        now: Time,
    ) -> Result<(), Refused> {
        match change {
            engine::Datapath::Set { call, flows } => {
                let wanted = flows
                    .iter()
                    .map(|flow| self.installable(flow, &is_bridged, now))
                    .collect::<Result<Vec<_>, _>>()?;
                self.flows.set(*call, &wanted)
            }
            engine::Datapath::Remove { call } => {
                self.end(*call, now);
                Ok(())
            }
            engine::Datapath::Look { .. } => Ok(()),
        }
    }

    /// When a packet of each leg of a call was last counted; legs of which none
    /// was are left out.
    pub fn last_seen(&self, call: u32) -> Vec<(Leg, Time)> {
        let seen = self.flows.last_seen(call).filter(|(_, ns)| *ns != 0);
        seen.filter_map(|(flow, ns)| {
            Some((
                leg(flow.action.leg)?,
                Time::from_origin(Duration::from_nanos(ns)),
            ))
        })
        .collect()
    }

    /// When a packet of a call's steered flow from its thin client to this anchor was
    /// last counted. (The gateway may send to the same one.)
    pub fn last_seen_at(&self, call: u32, anchor: SocketAddr) -> Option<Time> {
        let is_of_tc = |flow: &Installed| {
            let action = &flow.action;
            action.kind == FlowKind::Steered as u8 && action.leg == FlowLeg::TcToGateway as u8
        };
        let seen = self.flows.last_seen(call);
        let seen = seen.filter(|(flow, ns)| *ns != 0 && flow.key.to() == anchor && is_of_tc(flow));
        let last = seen.map(|(_, ns)| ns).max()?;
        Some(Time::from_origin(Duration::from_nanos(last)))
    }

    /// What has passed of each leg's RTP of a call that goes to its thin client, and
    /// what its receiver says of it.
    pub fn receptions(&self, call: u32) -> Vec<Reception> {
        let flows: Vec<_> = self.flows.flows_of(call).collect();
        [Leg::GatewayToTc, Leg::TcToGateway]
            .into_iter()
            .filter_map(|way| {
                let of = |way: Leg| {
                    let flows = flows.iter();
                    flows
                        .filter(move |(flow, _)| leg(flow.action.leg) == Some(way))
                        .map(|(flow, stats)| (flow.action.flags & FLOW_RTCP != 0, stats))
                };
                let back = match way {
                    Leg::GatewayToTc => Leg::TcToGateway,
                    _ => Leg::GatewayToTc,
                };
                let (_, sent) = of(way).find(|(rtcp, _)| !rtcp)?;
                // On a port of its own, or on RTP's (RFC 5761).
                let back = of(back).map(|(_, stats)| stats);
                Some(quality::reception(way, sent, back))
            })
            .collect()
    }

    /// Gives steered flows the MAC that a VM has now, if it is another than at the
    /// last call.
    pub fn refresh_mac(&mut self, vm: VmAddresses, is_bridged: bool) {
        let mac = match is_bridged {
            true => self.mac_of(vm),
            false => Some([0; 6]),
        };
        let Some(mac) = mac else { return };
        if self.macs.get(&vm.v4) == Some(&mac) {
            return;
        }
        for address in vm.all() {
            if let Err(error) = self.flows.set_mac(flow::address(address), mac) {
                tracing::error!("steered flows of {address} keep its former MAC: {error}");
                return;
            }
        }
        self.macs.insert(vm.v4, mac);
    }

    /// The MAC of a VM, as its frames have it.
    fn mac_of(&self, vm: VmAddresses) -> Option<[u8; 6]> {
        vm.all().find_map(|address| self.maps.vm_mac(address))
    }

    /// Removes flows that no call of `live` claims and that carry nothing; of their
    /// guards those first whose call's bypassed media has stopped, or never came:
    /// a VM that nobody stands for any more is to be heard.
    pub fn collect(&mut self, live: &[u32], now: Time) {
        while let Some((at, _)) = self.ended.front()
            && now - *at > ENDED_SHOWN
        {
            self.ended.pop_front();
        }
        let live: HashSet<u32> = live.iter().copied().collect();
        let others = |call| !live.contains(&call) && !by_hand::is_by_hand(call);
        for (call, last_ns) in self.flows.calls(others) {
            let lately = nanoseconds(now).saturating_sub(GUARD_IDLE.as_nanos() as u64);
            if self.flows.release(call, lately) {
                tracing::info!("call {call} of an earlier run: its VM is guarded no more");
            }
            let last = last_ns.max(nanoseconds(self.started));
            let idle = Duration::from_nanos(nanoseconds(now).saturating_sub(last));
            if idle > UNCLAIMED_IDLE {
                tracing::info!("call {call}: its flows of an earlier run have ended");
                self.end(call, now);
            }
        }
    }

    /// Anchors of flows whose calls are none of `live`: an earlier run has left
    /// them.
    pub fn anchors_of_others(&self, live: &[u32]) -> impl Iterator<Item = SocketAddr> {
        self.flows.anchors_but_of(live.iter().copied().collect())
    }

    /// Flows of the calls behind `after`, some hundred at a time; behind the last
    /// those of calls that ended a short while ago. And what to go on behind.
    pub fn rows(&self, after: Option<u32>) -> (Vec<FlowRow>, Option<u32>) {
        let (flows, next) = self.flows.flows(after, AT_A_TIME);
        let mut rows = readout::rows(&flows, &Wall::now(), "live");
        if next.is_none() {
            rows.extend(self.ended.iter().map(|(_, row)| row.clone()));
        }
        (rows, next)
    }

    /// Whether a file system of its own goes with the pins.
    pub fn unmounts(&self) -> bool {
        self.pins.mounted()
    }

    /// Flows in the map, and how many there is room for.
    pub fn fill(&self) -> (usize, u32) {
        (self.flows.len(), self.capacity)
    }

    /// The start has failed: what an earlier run had left stays so, else nothing
    /// stays.
    pub fn abandon(self, interfaces: &[&str]) {
        let keep = self.adopted;
        self.unload(interfaces, keep);
    }

    /// Detaches everything and removes the pins; or, with `keep`, leaves links
    /// and maps as they are.
    pub fn unload(mut self, interfaces: &[&str], keep: bool) {
        if keep {
            return;
        }
        for interface in interfaces {
            self.detach(interface);
        }
        self.pins.remove();
    }

    fn end(&mut self, call: u32, now: Time) {
        let last = self.flows.remove(call);
        for row in readout::rows(&last, &Wall::now(), "ended") {
            if self.ended.len() == ENDED_KEPT {
                self.ended.pop_front();
            }
            self.ended.push_back((now, row));
        }
    }

    fn installable(
        &self,
        flow: &Flow,
        is_bridged: impl Fn(Ipv4Addr) -> bool,
        now: Time,
    ) -> Result<Installed, Refused> {
        let key = FlowKey::new(flow.src, flow.dst);
        let mut action = FlowAction {
            stats: 0,
            call: 0,
            kind: match flow.kind {
                engine::FlowKind::Direct => FlowKind::Direct,
                engine::FlowKind::Guard => FlowKind::Guard,
                engine::FlowKind::Relay => FlowKind::Relay,
                engine::FlowKind::Steered { .. } => FlowKind::Steered,
                engine::FlowKind::Learn => FlowKind::Learn,
            } as u8,
            leg: match flow.leg {
                Leg::GatewayToTc => FlowLeg::GatewayToTc,
                Leg::TcToGateway => FlowLeg::TcToGateway,
                Leg::GatewayToVm => FlowLeg::GatewayToVm,
                Leg::VmToGateway => FlowLeg::VmToGateway,
            } as u8,
            flags: if flow.rtcp { FLOW_RTCP } else { 0 },
            clock_rate: flow.clock_rate,
            moved_ns: nanoseconds(now),
            ..FlowAction::default()
        };
        let crosses = matches!(
            flow.kind,
            engine::FlowKind::Direct | engine::FlowKind::Steered { .. }
        );
        if let Dscp::Set(dscp) = self.dscp
            && crosses
        {
            action.flags |= FLOW_DSCP;
            action.dscp = dscp;
        }
        if let engine::FlowKind::Steered { src, dst, vm } = flow.kind {
            action.rewrite(&key, src, dst);
            if is_bridged(vm) {
                let known = self.vms.iter().find(|known| known.v4 == vm);
                let mac = known.and_then(|known| self.mac_of(*known));
                action.anchor_mac = mac.ok_or(Refused::NoMac)?;
            }
            if self.is_for_tap(flow, src, dst) {
                action.anchor_mac = AT_TAP;
            }
        }
        Ok(Installed {
            key,
            action,
            encodings: flow.encodings,
        })
    }
}

impl Datapath {
    /// Whether no uplink is to steer a flow that arrives for the VM and leaves from `src`
    /// to `dst`: it leaves by another next hop than it came by, where an uplink would send
    /// it back to the one that it came from, or for another VM of this host.
    fn is_for_tap(&self, flow: &Flow, src: SocketAddr, dst: SocketAddr) -> bool {
        let came_by = self.maps.next_hop(flow.dst.ip(), flow.src.ip());
        let Some(leaves_by) = self.maps.next_hop(src.ip(), dst.ip()) else {
            return false;
        };
        let is_vm = |ip: IpAddr| self.vms.iter().any(|vm| vm.all().any(|its| its == ip));
        is_vm(dst.ip()) || came_by.is_some_and(|came_by| !is_same_hop(&came_by, &leaves_by))
    }
}

/// Whether a frame that goes back to where those of `one` come from gets to the `other`.
fn is_same_hop(one: &Neighbour, other: &Neighbour) -> bool {
    one.seen_mac == other.seen_mac && one.seen_mac != [0; 6] || one.peer_mac == other.peer_mac
}

/// A leg as the core has it.
fn leg(leg: u8) -> Option<Leg> {
    const GATEWAY_TO_TC: u8 = FlowLeg::GatewayToTc as u8;
    const TC_TO_GATEWAY: u8 = FlowLeg::TcToGateway as u8;
    const GATEWAY_TO_VM: u8 = FlowLeg::GatewayToVm as u8;
    const VM_TO_GATEWAY: u8 = FlowLeg::VmToGateway as u8;
    match leg {
        GATEWAY_TO_TC => Some(Leg::GatewayToTc),
        TC_TO_GATEWAY => Some(Leg::TcToGateway),
        GATEWAY_TO_VM => Some(Leg::GatewayToVm),
        VM_TO_GATEWAY => Some(Leg::VmToGateway),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sidestep_abi::door::UNTAGGED;

    use super::*;

    #[test]
    fn two_routers_with_one_address_are_one_next_hop() {
        let hop = |peer_mac: u8, seen_mac: u8| Neighbour {
            vm_mac: [1; 6],
            peer_mac: [peer_mac; 6],
            seen_mac: [seen_mac; 6],
            chosen_by_vm: 1,
            tag: UNTAGGED,
        };
        let (shared, router, other, host, unseen) = (2, 3, 4, 5, 0);
        for (one, another, same) in [
            (hop(router, router), hop(router, router), true),
            // What the VM chose, and what has only been seen.
            (hop(router, router), hop(shared, router), true),
            // Each router sends by its own, the VM to both.
            (hop(shared, other), hop(shared, router), true),
            (hop(router, unseen), hop(router, router), true),
            // On the VM's own network.
            (hop(router, router), hop(host, host), false),
            (hop(shared, router), hop(host, host), false),
            (hop(shared, unseen), hop(host, unseen), false),
        ] {
            assert_eq!(is_same_hop(&one, &another), same, "{one:?} {another:?}");
            assert_eq!(is_same_hop(&another, &one), same, "{one:?} {another:?}");
        }
    }
}
