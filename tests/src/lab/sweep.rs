//! Taking labs down, also those whose owner died before it could.

use std::path::Path;

use super::{Namespace, PREFIX, directories, directory_of};

/// Takes down every lab whose owner's process is gone. Labs made by name
/// (`lab up`) have no owner and stay.
pub fn sweep() {
    for lab in labs() {
        let owner = lab
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').nth(1))
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&lab);
        }
    }
}

/// Takes one lab down: its processes, namespaces, pins and files.
pub(super) fn remove(lab: &str) {
    let own = format!("{lab}-");
    for name in entries("/run/netns") {
        if name.starts_with(&own) {
            Namespace::named(name).delete();
        }
    }
    // Pins hold links and maps; the kernel frees them with the files.
    let _ = std::fs::remove_dir_all(Path::new("/sys/fs/bpf").join(lab));
    let _ = std::fs::remove_dir_all(directory_of(lab));
}

/// Names of the labs that left anything.
fn labs() -> Vec<String> {
    let prefix = format!("{PREFIX}-");
    let mut labs: Vec<String> = entries("/run/netns")
        .into_iter()
        .filter_map(|name| name.rsplit_once('-').map(|(lab, _)| lab.to_owned()))
        .chain(entries("/sys/fs/bpf"))
        .chain(entries(&directories().to_string_lossy()))
        .filter(|name| name.starts_with(&prefix))
        .collect();
    labs.sort();
    labs.dedup();
    labs
}

fn entries(directory: &str) -> Vec<String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}
