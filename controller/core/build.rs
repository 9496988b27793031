//! A digest of the definitions of all types that can be written down, for the journal:
//! what one build has written is read by another only where they are the same.

use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=src");
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files)?;
    files.sort();
    let mut digest = Digest::new();
    for file in files {
        for line in definitions(&std::fs::read_to_string(file)?) {
            digest.add(&line);
        }
    }
    println!("cargo:rustc-env=SIDESTEP_KEPT_TYPES={:016x}", digest.0);
    Ok(())
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The lines of the items that serde knows, derived or written out, without comments.
fn definitions(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    // The item's indentation, while one is read.
    let mut within: Option<String> = None;
    for line in source.lines() {
        let text = line.trim();
        let indentation = || line[..line.len() - line.trim_start().len()].to_owned();
        // One that goes on in the next line may name it there.
        let derived =
            text.starts_with("#[derive(") && (text.contains("erialize") || !text.contains(')'));
        let written = text.starts_with("impl") && text.contains("erialize");
        if within.is_none() && (derived || written) {
            within = Some(indentation());
        }
        let Some(begin) = &within else {
            continue;
        };
        if !text.starts_with("//") {
            found.push(text.to_owned());
        }
        let ends = text == "}" || text.ends_with(';') || text.ends_with("{}");
        if ends && indentation() == *begin {
            within = None;
        }
    }
    found
}

/// FNV-1a of 64 bits.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, line: &str) {
        for octet in line.bytes().chain([b'\n']) {
            self.0 = (self.0 ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
