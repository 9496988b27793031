//! What the numbers were measured on.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// CPU model as the kernel names it.
    pub cpu: String,
    /// CPUs online.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Virtual machine or hardware, as far as the CPU says.
    pub virtualised: bool,
    /// How busy its CPUs were before anything was measured, %.
    pub busy_before_percent: f64,
    /// Whether the kernel accounts softirq time apart from the thread that it
    /// interrupts. `None`: its configuration is not to be had.
    pub irq_time_apart: Option<bool>,
}

/// Busier than this before a run, and its numbers say so.
const QUIET_PERCENT: f64 = 10.0;

impl Machine {
    /// Looks at it; takes a second.
    pub fn look() -> Result<Self> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let field = |name: &str| {
            cpuinfo
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .split_once(':')
                        .map(|(_, value)| value)
                })
                .map(|value| value.trim().to_owned())
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Self {
            cpu: field("model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism()?.get(),
            virtualised: field("flags")
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            busy_before_percent: busy_percent(Duration::from_secs(1))?,
            irq_time_apart: irq_time_apart(kernel.trim()),
            kernel: kernel.trim().to_owned(),
        })
    }

    /// Whether nothing else of weight was running.
    pub fn is_quiet(&self) -> bool {
        self.busy_before_percent < QUIET_PERCENT
    }

    /// In one line.
    pub fn describe(&self) -> String {
        format!(
            "{}, {} CPUs{}, Linux {}",
            self.cpu,
            self.cores,
            if self.virtualised { " (virtual)" } else { "" },
            self.kernel
        )
    }
}

/// Part of the machine's CPU time that was not idle.
fn busy_percent(during: Duration) -> Result<f64> {
    let before = ticks()?;
    // The measurement is of this span of time; there is nothing to wait for.
    std::thread::sleep(during);
    let after = ticks()?;
    let total = after.0.saturating_sub(before.0).max(1);
    let idle = after.1.saturating_sub(before.1);
    Ok(100.0 * (1.0 - idle as f64 / total as f64))
}

/// All ticks, and idle ones (idle and iowait; proc(5)).
fn ticks() -> Result<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("an empty /proc/stat")?;
    let numbers: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(|number| number.parse().context("/proc/stat"))
        .collect::<Result<_>>()?;
    // The last two, guest and guest_nice, are in user and nice already.
    let total = numbers.iter().take(8).sum();
    let idle = numbers.iter().skip(3).take(2).sum();
    Ok((total, idle))
}

/// CONFIG_IRQ_TIME_ACCOUNTING of the running kernel.
fn irq_time_apart(kernel: &str) -> Option<bool> {
    let config = std::process::Command::new("zcat")
        .arg("/proc/config.gz")
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .or_else(|| std::fs::read_to_string(format!("/boot/config-{kernel}")).ok())?;
    Some(
        config
            .lines()
            .any(|line| line == "CONFIG_IRQ_TIME_ACCOUNTING=y"),
    )
}
