//! CPU time, from the scheduler's own count in ns, and memory of a process.
//!
//! A packet's way through the kernel is paid by the thread that sends it, within
//! the sending call, or by ksoftirqd where that is behind. So the cost of a path
//! is what the sending calls, the relay and the ksoftirqd threads used; other
//! programs on the machine are not in it. Where the kernel accounts softirqs
//! apart from threads, its count of those, of the whole machine, is added.

use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time of all threads of a process so far.
pub fn process(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        total += on_cpu_ns(&task?.path().join("schedstat"))?;
    }
    Ok(Duration::from_nanos(total))
}

/// CPU time of a process and its children so far.
pub fn family(pid: u32) -> Result<Duration> {
    let mut total = process(pid)?;
    for child in children(pid)? {
        total += process(child)?;
    }
    Ok(total)
}

/// The processes that this one has started.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{parent}/task"))? {
        let list = std::fs::read_to_string(entry?.path().join("children"))?;
        found.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Ok(found)
}

/// Resident memory of a process that is its own, not shared, octets.
pub fn memory(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .with_context(|| format!("no RssAnon in the status of process {pid}"))
}

/// CPU time of the kernel's softirq threads so far, and, where it is `apart`,
/// of softirqs on every CPU.
pub fn softirqs(apart: bool) -> Result<Duration> {
    let mut total = 0;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            total += on_cpu_ns(&path.join("schedstat"))?;
        }
    }
    if apart {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("an empty /proc/stat")?;
        let ticks: u64 = line
            .split_whitespace()
            // cpu user nice system idle iowait irq softirq
            .skip(6)
            .take(2)
            .filter_map(|number| number.parse::<u64>().ok())
            .sum();
        // USER_HZ is 100 on every architecture that this runs on.
        total += ticks * 10_000_000;
    }
    Ok(Duration::from_nanos(total))
}

/// The first field of a schedstat: ns on a CPU.
fn on_cpu_ns(path: &std::path::Path) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{} cannot be read", path.display()))
}
