//! The flow maps of the kernel.

use std::collections::HashSet;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use nix::errno::Errno;
use sidestep_abi::flow::{AnchorKey, FlowAction, FlowKey, FlowKey4, FlowStats};
use sidestep_abi::map;

use super::maps::take;
use super::table::{FlowMaps, Installed, Refused};

/// Flows, their statistics and their anchors.
pub struct KernelMaps {
    flows4: HashMap<MapData, FlowKey4, FlowAction>,
    flows6: HashMap<MapData, FlowKey, FlowAction>,
    stats: Array<MapData, FlowStats>,
    anchors: HashMap<MapData, AnchorKey, u32>,
}

impl KernelMaps {
    /// Takes them out of a loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            flows4: take(ebpf, map::FLOWS4)?,
            flows6: take(ebpf, map::FLOWS6)?,
            stats: take(ebpf, map::FLOW_STATS)?,
            anchors: take(ebpf, map::ANCHORS)?,
        })
    }

    /// What is in them; anchors that no flow has any more go.
    pub fn installed(&mut self) -> Result<Vec<Installed>> {
        let capacity = self.capacity();
        let mut installed = Vec::new();
        let mut anchored = HashSet::new();
        let flows4 = self.flows4.iter().map(|entry| {
            let (key, action) = entry?;
            Ok::<_, MapError>((key.into(), action))
        });
        for entry in flows4.chain(self.flows6.iter()) {
            let (key, action): (FlowKey, FlowAction) = entry.context("cannot read the flow map")?;
            if action.stats < capacity {
                anchored.insert(AnchorKey::new(key.to()));
                installed.push(Installed { key, action });
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
        match key.ipv4() {
            Some(key) => self.flows4.insert(key, action, 0),
            None => self.flows6.insert(key, action, 0),
        }
        .map_err(refused)
    }

    fn remove_flow(&mut self, key: &FlowKey) {
        let outcome = match key.ipv4() {
            Some(key) => self.flows4.remove(&key),
            None => self.flows6.remove(key),
        };
        removed(outcome, "flow");
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
