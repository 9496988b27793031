//! One daemon per door: names that only one process may use at a time.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Where it is noted who has a name.
const DIRECTORY: &str = "/run/sidestep";

/// A name, held until dropped or dead.
pub struct Held {
    path: PathBuf,
    file: Flock<File>,
}

impl Held {
    /// The name of a network namespace for the door.
    ///
    /// # Errors
    ///
    /// Another daemon has it.
    pub fn namespace(name: &str) -> Result<Self> {
        Self::take(
            &format!("door-{name}"),
            &format!("the namespace {name}: choose another daemon.namespace"),
        )
    }

    /// This thread's network namespace, in which the door's links have fixed
    /// names.
    ///
    /// # Errors
    ///
    /// Another daemon serves it.
    pub fn host() -> Result<Self> {
        let inode = std::fs::metadata("/proc/thread-self/ns/net")
            .context("cannot look at the own network namespace")?
            .ino();
        Self::take(
            &format!("host-{inode}"),
            "this host's interfaces: stop it first",
        )
    }

    fn take(name: &str, what: &str) -> Result<Self> {
        std::fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
        let path = Path::new(DIRECTORY).join(format!("{name}.lock"));
        loop {
            let file =
                File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EAGAIN)) => bail!("another sidestep has {what}"),
                Err((_, error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            };
            let held = Self {
                path: path.clone(),
                file,
            };
            if held.is_current() {
                return Ok(held);
            }
            // The one before removed the file between our opening and locking it.
        }
    }

    fn is_current(&self) -> bool {
        let inode = |data: std::io::Result<std::fs::Metadata>| data.map(|data| data.ino()).ok();
        inode(self.file.metadata()) == inode(std::fs::metadata(&self.path))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Still locked: whoever opened it meanwhile sees that it is not the file
        // any more. What is another's already stays.
        if self.is_current() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_processs_until_it_lets_go() {
        let name = format!("test-{}", std::process::id());
        let held = Held::namespace(&name).unwrap();
        assert!(Held::namespace(&name).is_err());
        let path = held.path.clone();
        assert!(path.exists());
        drop(held);
        assert!(!path.exists());
        drop(Held::namespace(&name).unwrap());
    }
}
