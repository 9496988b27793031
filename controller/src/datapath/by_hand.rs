//! Flows that no call has: an operator adds, finds and removes them, to try the
//! datapath without a call, and to clear away what a daemon that was killed has left.
//!
//! In: five-tuples, and where a steered one is to be sent. Out: flows in the maps, each
//! under a number of its own that no call gets. They stay until they are removed, or
//! the datapath goes; a call that needs the same five-tuple takes it over.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{HashMap, MapData};
use sidestep_abi::flow::{AnchorKey, FlowKey, FlowKind};
use sidestep_abi::map;
use sidestep_abi::table::writer::Writer;
use sidestep_core::engine::{Flow, FlowKind as Kind, Leg};
use sidestep_core::media::Encodings;

use super::table::{Installed, Refused};
use super::{Datapath, kernel, object, readout};
use crate::admin::rows::{FlowEnds, FlowRow, FlowSpec};
use crate::clock::{self, Wall};

/// Numbers from here on are no calls'.
const BY_HAND: u32 = 1 << 31;
/// Of media whose codec nobody has told (RFC 3551: of most narrow-band ones), Hz.
const CLOCK_RATE: u32 = 8_000;

/// Whether a number is that of a flow which was added by hand.
pub fn is_by_hand(call: u32) -> bool {
    call >= BY_HAND
}

/// Why a flow was not added or removed by hand.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotByHand {
    /// It is there.
    #[error("it is a flow already, of call {0}")]
    Taken(u32),
    /// It is not there.
    #[error("there is no such flow")]
    Unknown,
    /// Somebody talks.
    #[error("it is a flow of call {0}, which has not ended")]
    OfCall(u32),
    /// Nothing could come of it.
    #[error("{0}")]
    Odd(&'static str),
    /// The kernel does not take it.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What the daemon says of the calls and VMs that are there.
pub struct ByHand<'a, B> {
    /// Calls that have not ended.
    pub live: &'a HashSet<u32>,
    /// Whether a VM is on a switch.
    pub is_bridged: B,
}

impl Datapath {
    /// The rows of one five-tuple: RTP, and RTCP if it has come on the same port.
    pub fn find(&self, ends: &FlowEnds) -> Vec<FlowRow> {
        let Some(call) = self.flows.owner(&FlowKey::new(ends.from, ends.to)) else {
            return Vec::new();
        };
        let flows: Vec<_> = self.flows.flows_of(call).map(|(f, s)| (*f, s)).collect();
        let (from, to) = (ends.from.to_string(), ends.to.to_string());
        let mut rows = readout::rows(&flows, &Wall::now(), "live");
        rows.retain(|row| row.from == from && row.to == to);
        rows
    }

    /// Adds a flow: steered where it says what it is sent with, else counted and
    /// passed.
    ///
    /// # Errors
    ///
    /// It is there, nothing could come of it, or the kernel refuses.
    pub fn add_by_hand(
        &mut self,
        spec: &FlowSpec,
        by: &ByHand<'_, impl Fn(Ipv4Addr) -> bool>,
    ) -> Result<(), NotByHand> {
        let kind = kind(spec, |to| self.vm_at(to))?;
        if let Some(call) = self.flows.owner(&FlowKey::new(spec.from, spec.to)) {
            return Err(NotByHand::Taken(call));
        }
        let flow = Flow {
            kind,
            leg: Leg::GatewayToTc,
            rtcp: spec.rtcp,
            src: spec.from,
            dst: spec.to,
            clock_rate: CLOCK_RATE,
            encodings: Encodings::default(),
        };
        let wanted = self.installable(&flow, &by.is_bridged, clock::now())?;
        let last = self.flows.last_call().filter(|last| is_by_hand(*last));
        let number = last.map_or(Some(BY_HAND), |last| last.checked_add(1));
        self.flows.set(number.ok_or(Refused::Full)?, &[wanted])?;
        Ok(())
    }

    /// Removes a flow that was added by hand, or whose call nobody knows any more.
    ///
    /// # Errors
    ///
    /// There is none, or its call has not ended.
    pub fn remove_by_hand(
        &mut self,
        ends: &FlowEnds,
        by: &ByHand<'_, impl Fn(Ipv4Addr) -> bool>,
    ) -> Result<(), NotByHand> {
        let key = FlowKey::new(ends.from, ends.to);
        let call = self.flows.owner(&key).ok_or(NotByHand::Unknown)?;
        if by.live.contains(&call) {
            return Err(NotByHand::OfCall(call));
        }
        let others: Vec<Installed> = self
            .flows
            .flows_of(call)
            .map(|(flow, _)| *flow)
            .filter(|flow| flow.key != key)
            .collect();
        Ok(self.flows.set(call, &others)?)
    }

    /// The VM that has an address.
    fn vm_at(&self, address: IpAddr) -> Option<Ipv4Addr> {
        let vm = self
            .vms
            .iter()
            .find(|vm| vm.all().any(|its| its == address))?;
        Some(vm.v4)
    }
}

fn kind(spec: &FlowSpec, vm_at: impl Fn(IpAddr) -> Option<Ipv4Addr>) -> Result<Kind, NotByHand> {
    let is_media = |at: &SocketAddr| at.port() != 0 && !at.ip().is_unspecified();
    let ends = [Some(spec.from), Some(spec.to), spec.sent_from, spec.sent_to];
    if !ends.iter().flatten().all(is_media) {
        return Err(NotByHand::Odd("an address or a port is zero"));
    }
    if spec.from.is_ipv4() != spec.to.is_ipv4() {
        return Err(NotByHand::Odd("its ends are of two IP versions"));
    }
    match (spec.sent_from, spec.sent_to) {
        (None, None) => Ok(Kind::Direct),
        (Some(src), Some(dst)) if src.is_ipv4() == dst.is_ipv4() => Ok(Kind::Steered {
            src,
            dst,
            vm: vm_at(spec.to.ip()).unwrap_or(Ipv4Addr::UNSPECIFIED),
        }),
        (Some(_), Some(_)) => Err(NotByHand::Odd("it is sent between two IP versions")),
        _ => Err(NotByHand::Odd("sent_from and sent_to go together")),
    }
}

/// The flow maps that are pinned, without a daemon.
pub struct PinnedFlows {
    flows: Writer,
    anchors: HashMap<MapData, AnchorKey, u32>,
    /// Flows that come to each address.
    arriving: std::collections::HashMap<SocketAddr, u32>,
}

impl PinnedFlows {
    /// Those pinned at `pins`.
    ///
    /// # Errors
    ///
    /// No maps of this layout are pinned there.
    pub fn open(pins: &Path) -> Result<Self> {
        let open = |name: &str| object::pinned(pins, name);
        let mut flows = Self {
            flows: kernel::flows(open)?,
            anchors: open(map::ANCHORS)?.try_into()?,
            arriving: std::collections::HashMap::new(),
        };
        for flow in flows.flows.flows() {
            let (key, _) = flow.context("cannot read the flow table")?;
            *flows.arriving.entry(key.to()).or_default() += 1;
        }
        Ok(flows)
    }

    /// Removes a flow; `false`: there is none.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn remove(&mut self, ends: &FlowEnds) -> Result<bool> {
        let key = FlowKey::new(ends.from, ends.to);
        let Some(action) = self.flows.get(&key).context("cannot read the flow table")? else {
            return Ok(false);
        };
        let arriving = self.arriving.entry(key.to()).or_default();
        *arriving = arriving.saturating_sub(1);
        if action.kind == FlowKind::Steered as u8 && *arriving == 0 {
            // The anchor first: a packet to one without a flow would be dropped. And
            // without one there is nothing to remove.
            let _ = self.anchors.remove(&AnchorKey::new(ends.to));
        }
        self.flows
            .remove(&key)
            .context("the flow stays in its table")?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_could_come_of_is_refused() {
        let spec = |from: &str, to: &str, sent: [Option<&str>; 2]| FlowSpec {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            sent_from: sent[0].map(|at| at.parse().unwrap()),
            sent_to: sent[1].map(|at| at.parse().unwrap()),
            rtcp: false,
        };
        let (a, b, six) = ("10.0.0.1:1000", "10.0.0.2:2000", "[2001:db8::1]:1000");
        let vm = Ipv4Addr::new(10, 0, 0, 2);
        let of = |spec: FlowSpec| kind(&spec, |to| (to == IpAddr::V4(vm)).then_some(vm));
        assert_eq!(of(spec(a, b, [None, None])), Ok(Kind::Direct));
        let steered = of(spec(a, b, [Some(six), Some(six)]));
        assert!(matches!(steered, Ok(Kind::Steered { vm: of, .. }) if of == vm));
        for odd in [
            spec(a, six, [None, None]),
            spec(a, b, [Some(a), None]),
            spec(a, b, [Some(a), Some(six)]),
            spec("10.0.0.1:0", b, [None, None]),
            spec("0.0.0.0:1", b, [None, None]),
        ] {
            assert!(matches!(of(odd), Err(NotByHand::Odd(_))), "{odd:?}");
        }
    }
}
