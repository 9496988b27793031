//! A test in a lab of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use anyhow::Result;

use super::Lab;

/// Lines of each log that a failed test shows.
const TAIL: usize = 120;

/// Runs a test in a new lab. When it fails, what every peer logged is printed
/// before the lab goes.
///
/// # Panics
/// When the lab cannot be made, or the test fails.
pub fn in_lab(test: impl FnOnce(&Lab) -> Result<()>) {
    let lab = Lab::new().unwrap_or_else(|error| panic!("{error:#}"));
    match catch_unwind(AssertUnwindSafe(|| test(&lab))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            show_logs(&lab);
            panic!("{error:#}");
        }
        Err(panic) => {
            show_logs(&lab);
            resume_unwind(panic);
        }
    }
}

/// Prints the ends of the logs in the lab's directory.
fn show_logs(lab: &Lab) {
    let mut files: Vec<_> = std::fs::read_dir(lab.directory())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let text = ["log", "errors", "messages", "said", "json"];
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What SIPp prints is its screen; what it means is in its other files.
            path.extension()
                .is_some_and(|e| text.iter().any(|t| e == *t))
                && !(name.starts_with("sipp-") && name.ends_with(".log"))
        })
        .collect();
    files.sort();
    for file in files {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let shown = lines.len().saturating_sub(TAIL);
        println!("──── {} ({} lines)", file.display(), lines.len());
        for line in &lines[shown..] {
            println!("{line}");
        }
    }
}
