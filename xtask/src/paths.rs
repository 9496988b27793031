//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one folder below the root")
}

/// Cargo's target directory, as the environment says, else `target`.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Tools that set-up built for this checkout.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The kernel of the lab's virtual machine, as its package has it.
pub fn guest_kernel() -> PathBuf {
    tools().join("guest-kernel")
}

/// Where the kernel crate is built.
pub fn ebpf_target() -> PathBuf {
    target().join("bpf")
}

/// The eBPF object, where the controller's build script looks for it.
pub fn ebpf_object() -> PathBuf {
    target().join("ebpf/sidestep.bpf.o")
}

/// A binary that hosts and thin clients run.
pub fn product(name: &str) -> PathBuf {
    target().join("product").join(name)
}

/// A binary of the release build.
pub fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}
