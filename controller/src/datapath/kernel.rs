//! The flow maps of the kernel.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use nix::errno::Errno;
use sidestep_abi::flow::{AnchorKey, FlowAction, FlowKey, FlowKey4, FlowStats};
use sidestep_abi::map;
use sidestep_core::media::Encodings;

use super::maps::take;
use super::table::{FlowMaps, Installed, Refused};

/// A program has done with an entry long before this: it takes less than a microsecond.
const READ: Duration = Duration::from_millis(1);

/// Flows that are not there are inserted (`BPF_NOEXIST`), those that are there replaced
/// (`BPF_EXIST`).
const NEW: u64 = 1;
const THERE: u64 = 2;

/// Flows, their statistics and their anchors.
pub struct KernelMaps {
    /// When a flow was last replaced.
    replaced: Option<Instant>,
    flows4: HashMap<MapData, FlowKey4, FlowAction>,
    flows6: HashMap<MapData, FlowKey, FlowAction>,
    stats: Array<MapData, FlowStats>,
    anchors: HashMap<MapData, AnchorKey, u32>,
}

impl KernelMaps {
    /// Takes them out of a loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            replaced: None,
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

    fn insert(&mut self, key: &FlowKey, action: &FlowAction, flags: u64) -> Result<(), MapError> {
        match key.ipv4() {
            Some(key) => self.flows4.insert(key, action, flags),
            None => self.flows6.insert(key, action, flags),
        }
    }

    /// Flows there is room for.
    pub fn capacity(&self) -> u32 {
        self.stats.len()
    }
}

impl FlowMaps for KernelMaps {
    /// A program that meets a flow while it is replaced reads the old action or the new
    /// one, as a whole: the kernel puts another entry into the place of the old one. But
    /// the old one's memory is what the next replacement is written into, without regard
    /// for programs on other CPUs that may still read it; so that waits.
    fn put_flow(&mut self, key: &FlowKey, action: &FlowAction) -> Result<(), Refused> {
        match self.insert(key, action, NEW) {
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(Errno::EEXIST as i32) => {}
            outcome => return outcome.map_err(refused),
        }
        if let Some(replaced) = self.replaced {
            std::thread::sleep(READ.saturating_sub(replaced.elapsed()));
        }
        let outcome = self.insert(key, action, THERE);
        self.replaced = Some(Instant::now());
        outcome.map_err(refused)
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
