//! `cargo xtask fuzz`: each target of `fuzz/` for a while, with what the tests know
//! as its seeds.
//!
//! libFuzzer wants nothing of a nightly compiler as long as no sanitizer is asked
//! for: the core is safe Rust, so that a panic is what is looked for.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::cargo;
use crate::{paths, step};

/// Targets, and the folders of `controller/core/tests/data` that seed them.
const TARGETS: &[(&str, &[&str])] = &[
    ("message", &["sip", "torture", "torture6"]),
    ("h248", &["h248/appendix_i", "h248/more"]),
    ("mgcp", &["mgcp", "mgcp_calls"]),
    ("sdp", &["sdp"]),
    ("framer", &["sip", "torture", "torture6"]),
    ("websocket", &["websocket"]),
    ("engine", &["sip", "torture", "torture6"]),
];

/// Coverage as libFuzzer reads it.
const INSTRUMENTED: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";

/// Runs each target, or the one named, for so many seconds. What was found before,
/// in `target/fuzz`, is where it goes on.
pub fn run(seconds: u32, only: Option<&str>) -> Result<()> {
    if !step::on_path("c++") {
        bail!("libFuzzer is C++: install a compiler, as Debian's g++");
    }
    if let Some(only) = only.filter(|only| TARGETS.iter().all(|(name, _)| name != only)) {
        let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        bail!("no target {only}; there are {}", known.join(", "));
    }
    step::say("building the fuzz targets");
    let host = host()?;
    let built = paths::target().join("fuzz");
    step::run(
        cargo()
            .current_dir(paths::root().join("fuzz"))
            .args(["build", "--release", "--target", &host, "--target-dir"])
            .arg(&built)
            .env("RUSTFLAGS", INSTRUMENTED),
    )?;
    for (name, seeds) in TARGETS {
        if only.is_some_and(|only| only != *name) {
            continue;
        }
        step::say(&format!("fuzzing {name} for {seconds} s"));
        let corpus = built.join("corpus").join(name);
        fs::create_dir_all(&corpus).with_context(|| format!("{}", corpus.display()))?;
        let seeds = seeds.iter().map(|seed| seeds_in(seed));
        step::run(
            Command::new(built.join(&host).join("release").join(name))
                .current_dir(&built)
                .arg(format!("-max_total_time={seconds}"))
                .args(["-max_len=65536", "-len_control=50", "-timeout=10"])
                .args(["-rss_limit_mb=1024", "-print_final_stats=1"])
                .arg("-verbosity=0")
                .arg(format!("-artifact_prefix={name}-"))
                .arg(&corpus)
                .args(seeds),
        )
        .with_context(|| format!("what broke {name} lies in {}", built.display()))?;
    }
    Ok(())
}

fn seeds_in(folder: &str) -> PathBuf {
    paths::root()
        .join("controller/core/tests/data")
        .join(folder)
}

/// The triple that rustc builds for: named, so that build scripts are not
/// instrumented.
fn host() -> Result<String> {
    let version = step::run_quietly(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}
