//! Building: first the kernel programs, then the binaries that embed them.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, setup, step};

/// The target of kernel programs on a little-endian machine.
const BPF_TARGET: &str = "bpfel-unknown-none";

/// The kernel crate has a target of its own, and the core's tests run apart. Named
/// alike in every call, so that no dependency is built once more with other features.
pub const FOR_THE_HOST: [&str; 5] = [
    "--workspace",
    "--exclude",
    "sidestep-ebpf",
    "--exclude",
    "sidestep-core",
];

/// cargo, as the person called it. Every call names the object alike: a build
/// script that sees another environment runs again, and all after it.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(paths::root())
        .env("SIDESTEP_EBPF_OBJECT", paths::ebpf_object());
    command
}

/// cargo for the kernel crate: its core is built from source (the target has
/// none), and bpf-linker makes BTF from the debug information. It has a target
/// directory of its own, since RUSTC_BOOTSTRAP makes build scripts run again.
pub fn cargo_ebpf(verb: &str) -> Command {
    let mut command = cargo();
    command
        .arg(verb)
        .args(["--package", "sidestep-ebpf", "--release"])
        .args(["--target", BPF_TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(paths::ebpf_target())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-C debuginfo=2 -C link-arg=--btf")
        .env("PATH", setup::path_with_tools());
    command
}

/// What a host needs: the object, `sidestep` with the object in it, `thin-client`.
pub fn product() -> Result<()> {
    optimised(&["sidestep", "thin-client"])
}

/// The same, and `bench`, which has parts of the product in itself.
pub fn with_bench() -> Result<()> {
    optimised(&["sidestep", "thin-client", "bench"])
}

/// The same, and lab, demo and soak, built as the tests are.
pub fn with_lab() -> Result<()> {
    product()?;
    step::say("building the lab");
    step::run(
        cargo()
            .args(["build", "--release", "--bins"])
            .args(FOR_THE_HOST),
    )
}

/// The object, and binaries as hosts run them.
fn optimised(binaries: &[&str]) -> Result<()> {
    ebpf()?;
    step::say(&format!("building {}", binaries.join(", ")));
    let mut command = cargo();
    command
        .args(["build", "--profile", "product"])
        .args(FOR_THE_HOST);
    for binary in binaries {
        command.args(["--bin", binary]);
    }
    step::run(&mut command)
}

/// The kernel programs, copied to where the controller's build script looks, and
/// the bare ones of bench and lab beside them.
pub fn ebpf() -> Result<()> {
    step::say("building the kernel programs");
    step::run(&mut cargo_ebpf("build"))?;
    let built = paths::ebpf_target().join(BPF_TARGET).join("release");
    let object = paths::ebpf_object();
    copy_if_changed(
        &built.join("sidestep-ebpf-bare"),
        &object.with_file_name("bare.bpf.o"),
    )?;
    copy_if_changed(&built.join("sidestep-ebpf"), &object)
}

/// Becomes a binary of the tests crate, with the binaries just built.
pub fn run_tests_bin(program: &Path, args: &[String]) -> Result<()> {
    let mut command = Command::new(program);
    step::replace_self(
        with_binaries(&mut command)
            .args(args)
            .current_dir(paths::root()),
    )
}

/// Tells tests where the binaries under test are.
pub fn with_binaries(command: &mut Command) -> &mut Command {
    command
        .env("SIDESTEP_BIN", paths::product("sidestep"))
        .env("THIN_CLIENT_BIN", paths::product("thin-client"))
        .env("SIDESTEP_EBPF_OBJECT", paths::ebpf_object())
        .env("SIDESTEP_GUEST_KERNEL", paths::guest_kernel())
}

/// Keeps the old file, and its time, when nothing changed: what embeds it is
/// then not built again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
