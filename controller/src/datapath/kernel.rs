//! The flow maps of the kernel.

use std::collections::HashSet;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use nix::errno::Errno;
use sidestep_abi::flow::{AnchorKey, FlowAction, FlowKey, FlowStats};
use sidestep_abi::map;
use sidestep_abi::table::writer::{self, Writer};
use sidestep_core::media::Encodings;

use super::maps::{take, take_any};
use super::table::{FlowMaps, Installed, Refused};

/// Flows, their statistics and their anchors.
pub struct KernelMaps {
    flows: Writer,
    stats: Array<MapData, FlowStats>,
    anchors: HashMap<MapData, AnchorKey, u32>,
}

impl KernelMaps {
    /// Takes them out of a loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            flows: flows(|name| take_any(ebpf, name))?,
            stats: take(ebpf, map::FLOW_STATS)?,
            anchors: take(ebpf, map::ANCHORS)?,
        })
    }

    /// What is in them; anchors that no flow has any more go.
    pub fn installed(&mut self) -> Result<Vec<Installed>> {
        let capacity = self.capacity();
        let mut installed = Vec::new();
        let mut anchored = HashSet::new();
        for flow in self.flows.flows() {
            let (key, action) = flow.context("cannot read the flow table")?;
            if action.stats < capacity {
                anchored.insert(AnchorKey::new(key.to()));
                installed.push(Installed {
                    key,
                    action,
                    encodings: Encodings::default(),
                });
            }
        }
        let stray: Vec<AnchorKey> = self
            .anchors
            .keys()
            .filter_map(Result::ok)
            .filter(|anchor| !anchored.contains(anchor))
            .collect();
        for anchor in stray {
            self.remove_anchor(&anchor);
        }
        Ok(installed)
    }

    /// Flows there is room for.
    pub fn capacity(&self) -> u32 {
        self.stats.len()
    }
}

impl FlowMaps for KernelMaps {
    fn put_flow(&mut self, key: &FlowKey, action: &FlowAction) -> Result<(), Refused> {
        self.flows
            .put(key, action)
            .map_err(|refused| match refused {
                writer::Refused::Full => Refused::Full,
                writer::Refused::Kernel(error) => Refused::Kernel(error),
            })
    }

    fn remove_flow(&mut self, key: &FlowKey) {
        removed(self.flows.remove(key).map(drop), "flow");
    }

    fn put_anchor(&mut self, key: &AnchorKey, call: u32) -> Result<(), Refused> {
        self.anchors.insert(key, call, 0).map_err(refused)
    }

    fn remove_anchor(&mut self, key: &AnchorKey) {
        removed(self.anchors.remove(key), "anchor");
    }

    fn clear_stats(&mut self, index: u32) -> Result<(), Refused> {
        self.stats
            .set(index, FlowStats::default(), 0)
            .map_err(refused)
    }

    fn stats(&self, index: u32) -> FlowStats {
        self.stats.get(&index, 0).unwrap_or_default()
    }
}

/// The flow table, of maps that `map` has.
pub fn flows(mut map: impl FnMut(&str) -> Result<Map>) -> Result<Writer> {
    let maps = writer::Maps {
        buckets: map(map::FLOW_BUCKETS)?,
        records: map(map::FLOW_RECORDS)?,
        shape: map(map::FLOW_SHAPE)?,
    };
    Writer::of(maps).context("cannot read the flow table")
}

fn refused(error: MapError) -> Refused {
    match error {
        MapError::SyscallError(error)
            if [Errno::E2BIG, Errno::ENOSPC]
                .map(|full| Some(full as i32))
                .contains(&error.io_error.raw_os_error()) =>
        {
            Refused::Full
        }
        MapError::OutOfBounds { .. } => Refused::Full,
        error => Refused::Kernel(error.to_string()),
    }
}

fn removed(outcome: Result<(), MapError>, what: &str) {
    match outcome {
        Ok(()) | Err(MapError::KeyNotFound) => {}
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
        Err(error) => tracing::error!("a {what} stays in its map: {error}"),
    }
}
