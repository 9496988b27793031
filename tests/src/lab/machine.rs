//! A real virtual machine in the place of a VM's namespace: QEMU's emulation, a
//! virtio-net card whose offloads are on, and a tap with vnet headers, which a
//! veth is not.
//!
//! The guest is Debian's cloud kernel with an initial RAM disk made here: busybox,
//! the programs and files of the test, and a script that is its first process.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::namespace::run;
use super::{Lab, Site, tap};
use crate::peers::Process;
use crate::wait::seconds;

/// What a virtio-net card on PCI takes, in the order of their needs.
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// Where programs of the guest find their description of the console.
const TERMINAL: &str = "/lib/terminfo/l/linux";

/// What the guest has and does.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// Programs of this machine; the libraries they need come with them.
    pub programs: &'a [&'a str],
    /// Files: where in the guest's root, and what is in them.
    pub files: &'a [(&'a str, &'a [u8])],
    /// Shell commands, run when its network is up; then it powers off.
    pub script: &'a str,
}

/// A running machine. It ends with its value.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    console: ChildStdin,
}

impl Machine {
    /// Puts a tap for a machine in the place of a bridged VM's veth.
    pub fn wire(lab: &Lab, vm: Site) -> Result<()> {
        lab.remove_tap(vm)?;
        let tap = tap(vm);
        lab.namespace(Site::Hv).ip_batch(&format!(
            "tuntap add dev {tap} mode tap vnet_hdr\n\
             link set {tap} addrgenmode none\n\
             link set {tap} master br0\n\
             link set {tap} up\n"
        ))
    }

    /// Starts one behind the tap of [`Machine::wire`], with the address of that VM;
    /// its network is up when this returns.
    ///
    /// # Errors
    ///
    /// QEMU or the kernel is not there (`cargo xtask setup --peers`), or the guest
    /// does not come up within a minute.
    pub fn start(lab: &Lab, vm: Site, guest: &Guest<'_>) -> Result<Self> {
        let directory = lab.directory().join(format!("machine-{}", vm.name()));
        let root = directory.join("root");
        let kernel = Kernel::find()?;
        furnish(&root, &kernel, guest)?;
        write(&root.join("init"), init(vm, guest.script).as_bytes(), 0o755)?;
        let disk = directory.join("initrd");
        pack(&root, &disk)?;

        let tap = tap(vm);
        let mut command = lab.command(Site::Hv, "qemu-system-x86_64");
        command
            .args([
                "-accel",
                "tcg",
                "-m",
                "256",
                "-nodefaults",
                "-no-user-config",
            ])
            .args(["-display", "none", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&disk)
            .args(["-append", "console=ttyS0 panic=-1 quiet"])
            .arg("-netdev")
            .arg(format!(
                "tap,id=net,ifname={tap},script=no,downscript=no,vhost=off"
            ))
            .args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        let name = format!("machine-{}", vm.name());
        let (mut process, console) =
            Process::start_with_input(&name, lab.directory(), &mut command)?;
        process.wait_for_text(UP, seconds(60))?;
        Ok(Self { process, console })
    }

    /// Types a line at the guest's console, which its script may `read`.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.console, "{line}")
            .and_then(|()| self.console.flush())
            .context("the guest's console")
    }

    /// The machine's process; what its log has is the guest's console.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// What the console says when the guest's network is up.
const UP: &str = "guest: network is up";

/// The guest's first process.
fn init(vm: Site, script: &str) -> String {
    let modules: Vec<&str> = MODULES.iter().map(|module| file_name(module)).collect();
    let [a, b, c, _] = vm.ip().octets();
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devtmpfs dev /dev\n\
         for module in {}; do insmod /lib/modules/$module.ko; done\n\
         ip link set lo up\n\
         ip addr add {}/24 dev eth0\n\
         ip link set eth0 up\n\
         ip route add default via {a}.{b}.{c}.1\n\
         export TERM=linux\n\
         echo {UP}\n\
         cd /tmp\n\
         {script}\n\
         poweroff -f\n",
        modules.join(" "),
        vm.ip()
    )
}

/// The guest's kernel, unpacked by `cargo xtask setup --peers`.
struct Kernel {
    image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    fn find() -> Result<Self> {
        let place = std::env::var_os("SIDESTEP_GUEST_KERNEL")
            .context("SIDESTEP_GUEST_KERNEL is not set: run this by cargo xtask test")?;
        let place = PathBuf::from(place);
        let image = only_entry(&place.join("boot"), "vmlinuz-")?;
        let modules = only_entry(&place.join("lib/modules"), "")?;
        Ok(Self { image, modules })
    }
}

/// The entry of a directory whose name begins so.
fn only_entry(directory: &Path, begins: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(directory).with_context(|| {
        format!(
            "{} cannot be read; cargo xtask setup --peers fetches the guest's kernel",
            directory.display()
        )
    })?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| file_name(&path.to_string_lossy()).starts_with(begins))
        .with_context(|| format!("nothing named {begins}… in {}", directory.display()))
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Puts everything into the guest's root but its first process.
fn furnish(root: &Path, kernel: &Kernel, guest: &Guest<'_>) -> Result<()> {
    for directory in ["bin", "dev", "proc", "sys", "tmp"] {
        std::fs::create_dir_all(root.join(directory))?;
    }
    copy(Path::new("/bin/busybox"), root, "bin/busybox")?;
    for module in MODULES {
        let from = kernel.modules.join(format!("kernel/{module}.ko"));
        copy(
            &from,
            root,
            &format!("lib/modules/{}.ko", file_name(module)),
        )?;
    }
    copy(Path::new(TERMINAL), root, TERMINAL)?;
    let mut libraries = BTreeSet::new();
    for program in guest.programs {
        let path = run(Command::new("which").arg(program))
            .with_context(|| format!("the guest's {program} is not on this machine"))?;
        let path = path.trim();
        copy(Path::new(path), root, path)?;
        let needs = run(Command::new("ldd").arg(path))?;
        let needs = needs
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        libraries.extend(needs.map(str::to_owned));
    }
    for library in libraries {
        copy(Path::new(&library), root, &library)?;
    }
    for (path, contents) in guest.files {
        write(&root.join(path.trim_start_matches('/')), contents, 0o644)?;
    }
    Ok(())
}

fn copy(from: &Path, root: &Path, to: &str) -> Result<()> {
    let to = root.join(to.trim_start_matches('/'));
    std::fs::create_dir_all(to.parent().context("a path without a parent")?)?;
    std::fs::copy(from, &to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

fn write(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    std::fs::create_dir_all(path.parent().context("a path without a parent")?)?;
    std::fs::write(path, contents).with_context(|| format!("writing {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// The initial RAM disk: a cpio archive, as the kernel takes it.
fn pack(root: &Path, disk: &Path) -> Result<()> {
    let find = Command::new("find")
        .arg(".")
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting find")?;
    let listing = find.wait_with_output()?;
    ensure!(listing.status.success(), "find: {}", listing.status);
    let list = disk.with_extension("list");
    std::fs::write(&list, &listing.stdout)?;
    let status = Command::new("busybox")
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(root)
        .stdin(std::fs::File::open(&list)?)
        .stdout(std::fs::File::create(disk)?)
        .stderr(Stdio::null())
        .status()
        .context("starting busybox")?;
    if !status.success() {
        bail!("busybox cpio: {status}");
    }
    Ok(())
}
