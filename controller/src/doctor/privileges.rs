//! What this process may do, and the tool it needs.

use super::Area;

/// Capabilities by their numbers in <linux/capability.h>, and what each is for.
const NEEDED: [(u8, &str, &str); 4] = [
    (12, "CAP_NET_ADMIN", "links, routes and transparent sockets"),
    (13, "CAP_NET_RAW", "sockets bound to a device"),
    (21, "CAP_SYS_ADMIN", "the network namespace"),
    (39, "CAP_BPF", "maps and programs"),
];

pub(super) fn examine(area: &mut Area<'_>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match effective(&status) {
        Some(set) => capabilities(set, area),
        None => area.warn(
            "capabilities",
            "/proc/self/status does not say them",
            "make sure that Sidestep runs as root",
        ),
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn capabilities(set: u64, area: &mut Area<'_>) {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(number, ..)| set & (1 << number) == 0)
        .collect();
    if missing.is_empty() {
        let names: Vec<&str> = NEEDED.iter().map(|(_, name, _)| *name).collect();
        area.ok("capabilities", names.join(", "));
    }
    for (_, name, purpose) in missing {
        area.fail(
            name,
            format!("missing; it is needed for {purpose}"),
            "run as root, or give the service this capability",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Finding, Outcome, Report};

    fn of(set: u64) -> Vec<Finding> {
        let mut report = Report::default();
        capabilities(set, &mut report.area("privileges"));
        report.findings
    }

    #[test]
    fn each_missing_capability_is_named() {
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n";
        assert_eq!(effective(status), Some(0x1ff_ffff_ffff));
        assert_eq!(of(0x1ff_ffff_ffff).len(), 1);
        let missing = of(1 << 12 | 1 << 13);
        let subjects: Vec<_> = missing.iter().map(|f| f.subject.as_str()).collect();
        assert_eq!(subjects, ["CAP_SYS_ADMIN", "CAP_BPF"]);
        assert!(
            missing
                .iter()
                .all(|f| f.result == Outcome::Fail && f.todo.is_some())
        );
    }
}
