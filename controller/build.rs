//! Puts the object file of the kernel programs where `include_bytes!` finds it.
//!
//! Looked for in `SIDESTEP_EBPF_OBJECT`, then at `ebpf/sidestep.bpf.o` in the
//! target directory, where `cargo xtask build` leaves it.

use std::env;
use std::path::{Path, PathBuf};

const ENV: &str = "SIDESTEP_EBPF_OBJECT";
const IN_TARGET: &str = "ebpf/sidestep.bpf.o";

fn main() {
    println!("cargo::rerun-if-env-changed={ENV}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = match find(&out) {
        Ok(object) => object,
        Err(what) => {
            println!("cargo::error={what}");
            return;
        }
    };
    println!("cargo::rerun-if-changed={}", object.display());
    if let Err(error) = std::fs::copy(&object, out.join("sidestep.bpf.o")) {
        println!(
            "cargo::error={} cannot be copied: {error}",
            object.display()
        );
    }
}

fn find(out: &Path) -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(ENV).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!(
                "{ENV} names {}, which is not there",
                path.display()
            ))
        };
    }
    out.ancestors()
        .map(|directory| directory.join(IN_TARGET))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            format!(
                "the kernel programs are not built: run `cargo xtask build`, or set {ENV} to the object file"
            )
        })
}
