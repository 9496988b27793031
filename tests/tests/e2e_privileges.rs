//! The daemon may do what it needs and no more, and what is its own is nobody
//! else's.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::{Wires, call_gateway, thin_client, wait_over};
use sidestep_tests::wait::seconds;

/// Numbers in <linux/capability.h>.
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;
const BPF: u64 = 1 << 39;
const SERVING: u64 = NET_BIND_SERVICE | NET_ADMIN | NET_RAW | BPF;

/// A set of capabilities of each thread, by the thread's name.
fn capabilities(pid: u32, set: &str) -> Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        };
        let name = field("Name").context("a thread without a name")?;
        let set = field(set).context("no such set")?;
        threads.insert(name.to_owned(), u64::from_str_radix(set, 16)?);
    }
    Ok(threads)
}

/// A call, and a tap that goes and comes back: what a daemon does when it serves.
fn serves(lab: &Lab, sidestep: &Sidestep) -> Result<()> {
    let _tc = thin_client(lab, sidestep, |_| {})?;
    lab.remove_tap(Site::Vm1)?;
    lab.restore_tap(Site::Vm1)?;
    sidestep.wait_attached(lab, "tap1")?;
    let wires = Wires::start(lab)?;
    let (mut gw, mut vm) = call_gateway(lab)?;
    sidestep.wait_call(lab, "direct")?;
    wires.hear_direct()?;
    vm.hang_up()?;
    gw.finish(seconds(5))?;
    wait_over(lab, sidestep)
}

fn gone(lab: &Lab) -> Result<()> {
    ensure!(!lab.door_namespace().exists(), "the namespace is left");
    ensure!(!lab.pins().exists(), "pins are left");
    Ok(())
}

#[test]
fn serving_keeps_no_more_than_it_needs() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            let threads = capabilities(sidestep.pid(), set)?;
            for (thread, has) in &threads {
                // Makes sockets in the namespace, and takes its name away at the end.
                if thread == "door" {
                    ensure!(has & SYS_ADMIN != 0, "{set} of {thread}: {has:x}");
                } else {
                    ensure!(*has == SERVING, "{set} of {thread}: {has:x}");
                }
            }
            ensure!(threads.len() >= 2, "{threads:?}");
        }
        serves(lab, &sidestep)?;
        let status = sidestep.terminate()?;
        ensure!(status.success(), "ended with {status}");
        gone(lab)
    });
}

/// What the unit gives the service is enough from the start to the end.
#[test]
fn the_units_capabilities_are_enough() {
    in_lab(|lab| {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/sidestep.service");
        let unit = std::fs::read_to_string(unit)?;
        let given = unit
            .lines()
            .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
            .context("the unit has no CapabilityBoundingSet")?;
        let bounds: Vec<String> = given
            .split(' ')
            .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect();
        let bounds = format!("-all,{}", bounds.join(","));
        let wrapper = ["setpriv", "--bounding-set", &bounds, "--no-new-privs"];
        let mut sidestep = Sidestep::start_by(lab, &wrapper)?;
        serves(lab, &sidestep)?;
        let status = sidestep.terminate()?;
        ensure!(status.success(), "ended with {status}");
        gone(lab)
    });
}

/// Without one of them it says which, and touches nothing.
#[test]
fn a_missing_capability_is_named() {
    in_lab(|lab| {
        let wrapper = ["setpriv", "--bounding-set", "-bpf"];
        let error = Sidestep::start_by(lab, &wrapper).err();
        let said = format!("{:#}", error.context("it started")?);
        ensure!(said.contains("lacks CAP_BPF"), "{said}");
        gone(lab)
    });
}

#[test]
fn socket_journal_and_pins_are_nobody_elses() {
    in_lab(|lab| {
        let _sidestep = Sidestep::start(lab)?;
        let pins = lab.pins();
        let mut paths = vec![
            (lab.directory().join("sidestep.sock"), 0o660),
            (lab.directory().join("journal"), 0o600),
            (pins.clone(), 0o750),
        ];
        for version in std::fs::read_dir(&pins)? {
            let version = version?.path();
            paths.push((version.join("links"), 0o750));
            for pin in std::fs::read_dir(&version)? {
                let pin = pin?;
                if pin.file_type()?.is_file() {
                    paths.push((pin.path(), 0o600));
                }
            }
            paths.push((version, 0o750));
        }
        ensure!(paths.len() > 10, "{paths:?}");
        for (path, mode) in paths {
            let about = std::fs::metadata(&path)?;
            let found = about.permissions().mode() & 0o777;
            ensure!(
                found == mode && about.uid() == 0,
                "{}: mode {found:o} of {}",
                path.display(),
                about.uid()
            );
        }
        Ok(())
    });
}
