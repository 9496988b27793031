//! What has to be true of every commit.

use anyhow::Result;

use crate::build::{FOR_THE_HOST, cargo, cargo_ebpf, with_binaries};
use crate::step;

/// The thin client's features that take libraries in.
const ENCODINGS: &str = "g722,g7231,g729,opus";

/// Formatting and clippy, warnings denied, for host crates and the kernel crate.
pub fn lint() -> Result<()> {
    step::say("formatting");
    step::run(cargo().args(["fmt", "--all", "--check"]))?;
    step::say("clippy: host crates");
    step::run(cargo().args([
        "clippy",
        "--workspace",
        "--exclude",
        "sidestep-ebpf",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    step::say("clippy: the thin client with every encoding");
    step::run(cargo().args([
        "clippy",
        "--package",
        "thin-client",
        "--features",
        ENCODINGS,
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    step::say("clippy: kernel programs");
    step::run(cargo_ebpf("clippy").args(["--", "-D", "warnings"]))
}

/// Every test. The core's run with overflow checks and debug assertions; the
/// others in release mode, as the binaries they drive are.
pub fn test(filter: Option<&str>) -> Result<()> {
    step::say("tests of the core");
    let mut core = cargo();
    core.args(["test", "--package", "sidestep-core"])
        .args(filter);
    step::run(&mut core)?;
    step::say("tests of the thin client with every encoding");
    let mut encodings = cargo();
    encodings
        .args(["test", "--release", "--package", "thin-client"])
        .args(["--features", ENCODINGS])
        .args(filter);
    step::run(&mut encodings)?;
    step::say("tests of the daemon, the thin client, the kernel programs, and end to end");
    let mut rest = cargo();
    // Long as they are, one that fails must not hide what is behind it.
    rest.args(["test", "--release", "--no-fail-fast"])
        .args(FOR_THE_HOST)
        .args(filter)
        // The machine's cores are shared with the labs that the tests make.
        .args(["--", "--test-threads", "2"]);
    step::run(with_binaries(&mut rest))
}
