//! The systemd unit, as systemd itself judges it.

use std::path::Path;
use std::process::Command;

/// Exposure above which the test fails, in tenths: what the unit had when it was
/// written. There are no mounts of the service's own in it, and network and BPF
/// are what it is for.
const EXPOSURE: &str = "47";

/// Where systemd is: no directive that it does not know, and no more exposure than
/// before.
#[test]
fn the_unit_gives_no_more_than_before() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/sidestep.service");
    let analyze = |words: &[&str]| {
        Command::new("systemd-analyze")
            .args(words)
            .arg(&unit)
            .output()
    };
    let Ok(judged) = analyze(&["security", "--offline=true", "--threshold", EXPOSURE]) else {
        println!("no systemd-analyze here: nothing to ask");
        return;
    };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        judged.status.success(),
        "{}{}",
        said(&judged.stdout),
        said(&judged.stderr)
    );
    // It also looks for the program, which is not installed where tests run.
    let verified = analyze(&["verify", "--man=no"]).expect("it was there just now");
    let complaints: Vec<String> = said(&verified.stderr)
        .lines()
        .filter(|line| line.contains("sidestep.service") && !line.contains("not executable"))
        .map(str::to_owned)
        .collect();
    assert_eq!(complaints, Vec::<String>::new());
}
