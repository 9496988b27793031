//! CPU time: of processes, from the scheduler; of kernel programs, from the
//! kernel's own statistics.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

/// While this lives, the kernel measures its programs.
#[derive(Debug)]
pub struct Statistics {
    _fd: OwnedFd,
}

impl Statistics {
    /// Starts measuring.
    pub fn enable() -> Result<Self> {
        let fd = enable_stats(Stats::RunTime).context("switching on BPF statistics")?;
        Ok(Self { _fd: fd })
    }
}

/// A set of kernel programs, with what each has come to: ns and runs, by id.
#[derive(Debug, Clone, Default)]
pub struct Programs(BTreeMap<u32, (u64, u64)>);

impl Programs {
    /// All that are loaded now.
    pub fn loaded() -> Result<Self> {
        let mut programs = BTreeMap::new();
        for info in loaded_programs() {
            // One that goes while we look is none of ours.
            let Ok(info) = info else { continue };
            let Ok(fd) = info.fd() else { continue };
            let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
            let text = std::fs::read_to_string(path)?;
            let field = |name: &str| -> u64 {
                text.lines()
                    .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
                    .unwrap_or(0)
            };
            programs.insert(info.id(), (field("run_time_ns:"), field("run_cnt:")));
        }
        Ok(Self(programs))
    }

    /// Those that were not loaded then.
    pub fn since(mut self, earlier: &Self) -> Self {
        self.0.retain(|id, _| !earlier.0.contains_key(id));
        self
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// CPU time they have used since `self` was taken.
    pub fn used_since(&self) -> Result<Duration> {
        let now = Self::loaded()?;
        let used = self
            .0
            .iter()
            .filter_map(|(id, (before, _))| Some(now.0.get(id)?.0.saturating_sub(*before)))
            .sum();
        Ok(Duration::from_nanos(used))
    }

    /// The same programs as they stand now.
    pub fn again(&self) -> Result<Self> {
        let mut now = Self::loaded()?;
        now.0.retain(|id, _| self.0.contains_key(id));
        Ok(now)
    }
}

/// CPU time of a process's threads so far.
pub fn process_time(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let nanoseconds: u64 = text
            .split_whitespace()
            .next()
            .context("an empty schedstat")?
            .parse()?;
        total += nanoseconds;
    }
    Ok(Duration::from_nanos(total))
}
