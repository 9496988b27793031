//! The kernel: its version, and the parts of BPF that the programs stand on.

use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::Area;

/// tcx, the youngest thing needed: attachment that others' programs do not
/// displace, and links that can be pinned and updated.
const OLDEST: (u32, u32) = (6, 6);

pub(super) fn examine(area: &mut Area<'_>) {
    version(area);
    btf(area);
    features(area);
    jit(area);
}

fn version(area: &mut Area<'_>) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let needs = format!("{}.{}", OLDEST.0, OLDEST.1);
    match parse_release(release) {
        Some(version) if version >= OLDEST => {
            area.ok(
                "version",
                format!("{release}, has tcx ({needs}) and what is older"),
            );
        }
        Some(_) => area.fail(
            "version",
            format!("{release} has no tcx, which attaches the programs to taps"),
            format!(
                "boot Linux {needs} or later (Debian 12: linux-image-amd64 of bookworm-backports)"
            ),
        ),
        None => area.warn(
            "version",
            format!("{release:?} is no version that could be read"),
            format!("make sure that it is Linux {needs} or later"),
        ),
    }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf(area: &mut Area<'_>) {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        area.ok("BTF", "/sys/kernel/btf/vmlinux");
    } else {
        area.warn(
            "BTF",
            "no /sys/kernel/btf/vmlinux",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y; most distributions' have it",
        );
    }
}

/// Asks the kernel itself, since distributions carry features back and leave
/// others out.
fn features(area: &mut Area<'_>) {
    let programs = [
        ("XDP", ProgramType::Xdp, "CONFIG_BPF_SYSCALL and CONFIG_NET"),
        ("tcx", ProgramType::SchedClassifier, "CONFIG_NET_XGRESS"),
        (
            "sk_lookup",
            ProgramType::SkLookup,
            "CONFIG_BPF_SYSCALL and CONFIG_INET",
        ),
    ];
    let maps = [
        ("ring buffer", MapType::RingBuf),
        ("hash map", MapType::Hash),
        ("LRU hash map", MapType::LruHash),
        ("socket map", MapType::SockMap),
    ];
    let mut there = Vec::new();
    for (name, program, needs) in programs {
        match is_program_supported(program) {
            Ok(true) => there.push(name),
            Ok(false) => area.fail(
                name,
                "this kernel does not load such programs",
                format!("boot a kernel with {needs}"),
            ),
            Err(error) => return unprobed(area, &error),
        }
    }
    for (name, map) in maps {
        match is_map_supported(map) {
            Ok(true) => there.push(name),
            Ok(false) => area.fail(
                name,
                "this kernel has no such maps",
                "boot a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET",
            ),
            Err(error) => return unprobed(area, &error),
        }
    }
    area.ok("BPF", there.join(", "));
}

fn unprobed(area: &mut Area<'_>, error: &dyn std::error::Error) {
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        what = format!("{what}: {inner}");
        cause = inner.source();
    }
    area.fail(
        "BPF",
        format!("the bpf system call does not work for this user: {what}"),
        "run as root, outside of containers and of seccomp filters that forbid bpf(2)",
    );
}

fn jit(area: &mut Area<'_>) {
    match super::host::sysctl("core/bpf_jit_enable").as_deref() {
        Some("1" | "2") => area.ok("JIT", "programs are compiled"),
        Some(_) => area.warn(
            "JIT",
            "programs are interpreted, which takes several times longer per packet",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        // Not to be seen inside a network namespace, or always on.
        None => {}
    }
}

/// Where maps and links are pinned.
pub(super) fn bpf_file_system(pins: &Path, area: &mut Area<'_>) {
    // The directory itself comes with the daemon.
    let there = pins.ancestors().find(|path| path.exists());
    let there = there.unwrap_or(Path::new("/"));
    let subject = "BPF file system";
    match statfs(there) {
        Ok(fs) if fs.filesystem_type() == BPF_FS_MAGIC => {
            area.ok(subject, format!("mounted above {}", pins.display()));
        }
        Ok(_) => area.ok(
            subject,
            format!(
                "none above {} yet; `sidestep run` mounts one",
                pins.display()
            ),
        ),
        Err(error) => area.warn(
            subject,
            format!("{} cannot be looked at: {error}", there.display()),
            "run as root",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_read() {
        for (release, version) in [
            ("6.18.5", Some((6, 18))),
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.15.0-91-generic", Some((5, 15))),
            ("7.0-rc1", Some((7, 0))),
            ("unknown", None),
        ] {
            assert_eq!(parse_release(release), version, "{release}");
        }
    }
}
