//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `probe` gives something; an error naming `what` when `limit` has
/// passed.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    try_wait_for(what, limit, || Ok(probe()))
}

/// The same with a probe that may fail, which ends the wait.
pub fn try_wait_for<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {:.1} s in vain for: {what}", limit.as_secs_f64());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Seconds, for limits.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
