//! Installing what is missing: idempotent, the ordinary way first.
//!
//! The eBPF toolchain needs two things that rustup's stable lacks:
//!
//! - **rust-src**: `rustup component add rust-src`; without rustup's servers,
//!   Debian's package of exactly this compiler's version, from a newer suite of
//!   the mirror that apt already uses. It is unpacked, not installed, and the
//!   machine's apt configuration stays as it is.
//! - **bpf-linker**: one that is on the PATH and works with this compiler; else
//!   built against the LLVM that this rustc itself ships (a plain
//!   `cargo install` wants a newer LLVM than that).

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::cargo;
use crate::{paths, step};

/// The release of bpf-linker that this rustc's LLVM 22 takes.
const BPF_LINKER: &str = "0.13.0";

/// Suite of Debian that carries rust-src for current compilers.
const RUST_SRC_SUITE: &str = "trixie-backports";

/// Programs that tests, demo and bench talk to, and the Debian package of each.
const PEERS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("sipp", "sip-tester"),
    ("baresip", "baresip-core"),
    ("linphonec", "linphone-cli"),
    ("kamailio", "kamailio"),
    ("rtpengine", "rtpengine-daemon"),
    ("osmo-mgw", "osmo-mgw"),
    ("escript", "erlang-megaco"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("nft", "nftables"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
];

/// Modules of Kamailio's that Debian has in packages of their own, and those packages.
const KAMAILIO_MODULES: &[(&str, &str)] = &[
    ("tls.so", "kamailio-tls-modules"),
    ("websocket.so", "kamailio-websocket-modules"),
];

/// Debian's package that depends on its newest kernel for virtual machines.
const GUEST_KERNEL: &str = "linux-image-cloud-amd64";

/// Libraries that the thin client's encodings want, as pkg-config names them, and
/// the Debian package of each. Only its tests are built with them.
const LIBRARIES: &[(&str, &str)] = &[
    ("libavcodec", "libavcodec-dev"),
    ("libbcg729", "libbcg729-dev"),
    ("opus", "libopus-dev"),
];

/// What finds and compiles against them.
const BUILD_TOOLS: &[(&str, &str)] = &[("cc", "gcc"), ("pkg-config", "pkg-config")];

/// PATH with the tools of this checkout first.
pub fn path_with_tools() -> OsString {
    let mut dirs = vec![paths::tools().join("bin")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    dirs.extend(std::env::split_paths(&path));
    std::env::join_paths(dirs).unwrap_or(path)
}

/// rust-src and bpf-linker.
pub fn toolchain() -> Result<()> {
    let rustc = Rustc::ask()?;
    rust_src(&rustc)?;
    bpf_linker(&rustc)
}

/// Stock softphones, gateways and capture tools.
pub fn peers() -> Result<()> {
    let programs = PEERS.iter().filter(|(program, _)| !on_system_path(program));
    let modules = KAMAILIO_MODULES.iter();
    let modules = modules.filter(|(module, _)| !has_kamailio_module(module));
    let missing = programs.chain(modules);
    install(missing.map(|(_, package)| *package).collect())?;
    guest_kernel()
}

/// The kernel of the lab's virtual machine: Debian's for clouds, which has drivers
/// for little else. Unpacked below the tools, not installed: it is no kernel of
/// this machine.
fn guest_kernel() -> Result<()> {
    let place = paths::guest_kernel();
    if place.join("boot").is_dir() {
        return Ok(());
    }
    let by_hand = || {
        format!(
            "the lab's virtual machine has no kernel: unpack Debian's {GUEST_KERNEL} at {}",
            place.display()
        )
    };
    if !step::on_path("apt-get") {
        bail!("{}", by_hand());
    }
    step::say("fetching the kernel of the lab's virtual machine (27 MB)");
    let work = paths::tools().join("guest-kernel-package");
    fs::create_dir_all(&work)?;
    let depends = || {
        step::run_quietly(Command::new("apt-cache").args(["depends", GUEST_KERNEL]))
            .ok()?
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
    };
    let package = match depends() {
        Some(package) => package,
        None => {
            apt_get(&["update", "-q"])?;
            depends().with_context(by_hand)?
        }
    };
    step::run_quietly(
        Command::new("apt-get")
            .args(["-o", "APT::Sandbox::User=root", "download", &package])
            .current_dir(&work),
    )
    .with_context(by_hand)?;
    let file = only_package(&work)?;
    let unpacked = work.join("unpacked");
    step::run_quietly(Command::new("dpkg").arg("-x").arg(&file).arg(&unpacked))?;
    fs::rename(&unpacked, &place)?;
    fs::remove_dir_all(&work)?;
    Ok(())
}

/// The one package in a directory.
fn only_package(directory: &Path) -> Result<PathBuf> {
    fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .context("apt-get downloaded no package")
}

/// What the thin client's encodings are built with.
pub fn encodings() -> Result<()> {
    let tools = BUILD_TOOLS
        .iter()
        .filter(|(program, _)| !on_system_path(program));
    let libraries = LIBRARIES
        .iter()
        .filter(|(library, _)| !has_library(library));
    let missing = tools.chain(libraries);
    install(missing.map(|(_, package)| *package).collect())
}

fn install(missing: Vec<&str>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !step::on_path("apt-get") {
        bail!("missing: {list} (Debian's names); install them with this system's package manager");
    }
    if !step::is_root() {
        bail!("missing: {list}; install them: apt-get install {list}");
    }
    step::say(&format!("installing {list} (may take minutes)"));
    apt_get(&["update", "-q"])?;
    let mut install = vec!["install", "-q", "-y", "--no-install-recommends"];
    install.extend(&missing);
    apt_get(&install)
}

/// Programs that Debian keeps in sbin count even where the PATH leaves it out.
fn on_system_path(program: &str) -> bool {
    step::on_path(program)
        || ["/usr/sbin", "/sbin"]
            .iter()
            .any(|dir| Path::new(dir).join(program).is_file())
}

/// Whether a module is where Kamailio looks for it: below the libraries of this machine's
/// architecture (`/usr/lib/x86_64-linux-gnu`), or of all.
fn has_kamailio_module(name: &str) -> bool {
    let libraries = Path::new("/usr/lib");
    let below = fs::read_dir(libraries).into_iter().flatten().flatten();
    let places = below.map(|entry| entry.path());
    let mut places = places.chain([libraries.to_owned()]);
    places.any(|place| place.join("kamailio/modules").join(name).is_file())
}

fn has_library(name: &str) -> bool {
    let found = Command::new("pkg-config").args(["--exists", name]).status();
    found.is_ok_and(|status| status.success())
}

fn apt_get(args: &[&str]) -> Result<()> {
    step::run_quietly(
        Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .map(drop)
}

/// What the compiler says of itself.
struct Rustc {
    sysroot: PathBuf,
    release: String,
}

impl Rustc {
    fn ask() -> Result<Self> {
        let mut sysroot = Command::new("rustc");
        sysroot
            .args(["--print", "sysroot"])
            .current_dir(paths::root());
        let mut version = Command::new("rustc");
        version.arg("-vV").current_dir(paths::root());
        let sysroot = PathBuf::from(step::run_quietly(&mut sysroot)?);
        let release = step::run_quietly(&mut version)?
            .lines()
            .find_map(|line| line.strip_prefix("release: "))
            .context("`rustc -vV` names no release")?
            .to_owned();
        Ok(Self { sysroot, release })
    }

    fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust/library")
    }
}

fn rust_src(rustc: &Rustc) -> Result<()> {
    if rustc.library().join("core/src/lib.rs").is_file() {
        return Ok(());
    }
    step::say("installing rust-src with rustup");
    let ordinary = step::run_quietly(
        Command::new("rustup")
            .args(["component", "add", "rust-src"])
            .env("RUST_BACKTRACE", "0")
            .current_dir(paths::root()),
    );
    if ordinary.is_ok() && rustc.library().is_dir() {
        return Ok(());
    }
    step::say("rustup cannot; taking Debian's package of the same version");
    rust_src_from_debian(rustc).with_context(|| {
        format!(
            "rust-src for rustc {} is missing: rustup could not add it and neither could apt. \
             Put its `library` folder at {}",
            rustc.release,
            rustc.library().display()
        )
    })
}

fn rust_src_from_debian(rustc: &Rustc) -> Result<()> {
    let work = paths::tools().join("rust-src");
    for dir in ["lists/partial", "cache/archives/partial", "unpacked"] {
        fs::create_dir_all(work.join(dir))?;
    }
    let mirror = debian_mirror()?;
    let sources = work.join("sources.list");
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(
        &sources,
        format!("deb [signed-by={keyring}] {mirror} {RUST_SRC_SUITE} main\n"),
    )?;
    let apt = |args: &[&str]| {
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let mut command = Command::new("apt-get");
        command.current_dir(&work);
        for option in [
            option("Dir::Etc::SourceList", &sources),
            option("Dir::Etc::SourceParts", Path::new("/dev/null")),
            option("Dir::State::Lists", &work.join("lists")),
            option("Dir::Cache", &work.join("cache")),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        step::run_quietly(command.args(args))
    };
    apt(&["update"])?;
    apt(&["download", &format!("rust-src={}*", rustc.release)])?;
    let package = only_package(&work)?;
    step::run_quietly(
        Command::new("dpkg")
            .arg("-x")
            .arg(&package)
            .arg(work.join("unpacked")),
    )?;
    let library = work.join(format!("unpacked/usr/src/rustc-{}/library", rustc.release));
    let home = rustc.library();
    let parent = home.parent().context("the library folder has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    step::run_quietly(Command::new("cp").arg("-r").arg(&library).arg(parent))?;
    fs::remove_dir_all(&work)?;
    Ok(())
}

/// The mirror that apt takes Debian itself from. apt knows it once it has read its
/// lists, which a new machine may not have yet.
fn debian_mirror() -> Result<String> {
    if let Some(mirror) = listed_mirror()? {
        return Ok(mirror);
    }
    step::say("apt has no package lists yet: apt-get update");
    apt_get(&["update", "-q"])?;
    listed_mirror()?.context("apt knows no Debian mirror (is this Debian?)")
}

fn listed_mirror() -> Result<Option<String>> {
    let targets = step::run_quietly(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(REPO_URI)",
    ]))?;
    let mut mirrors = targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian "))
        .filter(|uri| !uri.contains("security"));
    Ok(mirrors.next().map(str::to_owned))
}

fn bpf_linker(rustc: &Rustc) -> Result<()> {
    if linker_works() {
        return Ok(());
    }
    step::say("building bpf-linker against rustc's own LLVM (about a minute)");
    let lib = rustc.sysroot.join("lib");
    let llvm = fs::read_dir(&lib)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| is_versioned_llvm(path))
        .with_context(|| format!("{} has no libLLVM.so.*", lib.display()))?;
    let prefix = paths::tools().join("llvm");
    fs::create_dir_all(prefix.join("lib"))?;
    let link = prefix.join("lib/libLLVM.so");
    if fs::symlink_metadata(&link).is_ok() {
        fs::remove_file(&link)?;
    }
    symlink(&llvm, &link)?;
    step::run(
        cargo()
            .args([
                "install",
                "bpf-linker",
                "--version",
                BPF_LINKER,
                "--locked",
                "--force",
            ])
            .args(["--no-default-features", "--features", "llvm-22"])
            .arg("--root")
            .arg(paths::tools())
            .arg("--target-dir")
            .arg(paths::tools().join("build"))
            .env("LLVM_PREFIX", &prefix)
            .env(
                "RUSTFLAGS",
                format!("-C link-arg=-Wl,-rpath,{}", lib.display()),
            ),
    )?;
    fs::remove_dir_all(paths::tools().join("build"))?;
    if linker_works() {
        return Ok(());
    }
    bail!(
        "bpf-linker {BPF_LINKER} was built but does not link for rustc {}; \
         put one that does on the PATH (cargo install bpf-linker)",
        rustc.release
    );
}

fn is_versioned_llvm(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so."))
}

/// Whether bpf-linker reads what this compiler writes: another LLVM's may not.
fn linker_works() -> bool {
    let dir = paths::tools().join("probe");
    if fs::create_dir_all(&dir).is_err() {
        return false;
    }
    let source = dir.join("probe.rs");
    if fs::write(&source, "#![feature(no_core)]\n#![no_core]\n#![no_main]\n").is_err() {
        return false;
    }
    step::run_quietly(
        Command::new("rustc")
            .args([
                "--target",
                "bpfel-unknown-none",
                "--crate-type",
                "cdylib",
                "-o",
            ])
            .arg(dir.join("probe.o"))
            .arg(&source)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("PATH", path_with_tools())
            .current_dir(paths::root()),
    )
    .is_ok()
}
