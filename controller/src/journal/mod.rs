//! What the core wants kept from one run to the next: calls, legs, registrations.
//!
//! In: the core's entries, before anything that they lead to is done. Out: at the
//! next start, the newest entry of each key.
//!
//! **What it survives.** The daemon's death at any moment: an entry is in the
//! file (in the kernel's hands, by `write`) before the datagrams that follow from
//! it leave. Nothing is forced to the disk (no fsync), since calls, flows and
//! addresses do not outlive the kernel either: the journal of another boot is
//! thrown away, and `/run` is the place for it. A transaction that was cut in the
//! middle is undone by the store; a file that cannot be used at all is put aside
//! and a new one begun, which costs the calls their place on the list and nothing
//! else.
//!
//! The store is redb: a tree that never overwrites what it still points to, with
//! checksums.

mod file;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use sidestep_core::engine::{Entry, Key};

use self::file::JournalFile;

/// What is kept, by the text of its key.
const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");
/// Whose it is.
const ABOUT: TableDefinition<&str, &str> = TableDefinition::new("about");
/// Of [`ABOUT`]: the boot that the entries belong to.
const BOOT: &str = "boot";
/// Memory for pages that have been read, octets.
const CACHE: usize = 4 << 20;

/// The journal, open.
pub struct Journal {
    store: Database,
    path: PathBuf,
}

/// An entry as an earlier run left it.
pub type Left = (Key, Vec<u8>);

impl Journal {
    /// Opens the journal at `path`, or begins it; with what an earlier run of this
    /// boot has left.
    ///
    /// # Errors
    ///
    /// The file cannot be made, here or after the old one was put aside.
    pub fn open(path: &Path) -> Result<(Self, Vec<Left>)> {
        Self::open_in(path, &boot()?)
    }

    fn open_in(path: &Path, boot: &str) -> Result<(Self, Vec<Left>)> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        match Self::try_open(path, boot) {
            Ok(opened) => Ok(opened),
            Err(error) if path.exists() => {
                let aside = path.with_extension("damaged");
                tracing::error!(
                    "the journal {} cannot be used and is begun anew; the old one is {}: {error:#}",
                    path.display(),
                    aside.display()
                );
                std::fs::rename(path, &aside)
                    .with_context(|| format!("cannot put {} aside", path.display()))?;
                Self::try_open(path, boot)
            }
            Err(error) => Err(error),
        }
    }

    fn try_open(path: &Path, boot: &str) -> Result<(Self, Vec<Left>)> {
        let (store, left) = open_store(JournalFile::open(path)?, boot)?;
        let path = path.to_owned();
        Ok((Self { store, path }, left))
    }

    /// Stores entries, all or none.
    ///
    /// # Errors
    ///
    /// The file cannot be written: no room, or the file system has gone.
    pub fn store(&self, entries: &[Entry]) -> Result<()> {
        let transaction = self.store.begin_write()?;
        {
            let mut table = transaction.open_table(ENTRIES)?;
            for Entry { key, value } in entries {
                let key = key.to_string();
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice())?,
                    None => table.remove(key.as_str())?,
                };
            }
        }
        transaction
            .commit()
            .with_context(|| format!("cannot write the journal {}", self.path.display()))
    }
}

fn open_store(file: impl StorageBackend, boot: &str) -> Result<(Database, Vec<Left>)> {
    // The store checks what it reads, but a spoilt file may still trip it up.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let store = Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(file)?;
        let left = read(&store, boot)?;
        anyhow::Ok((store, left))
    }));
    opened.unwrap_or_else(|panic| bail!("its store says: {}", words(panic.as_ref())))
}

/// The entries, where they are of this boot; else the table is emptied.
fn read(store: &Database, boot: &str) -> Result<Vec<Left>> {
    let transaction = store.begin_write()?;
    let same = {
        let mut about = transaction.open_table(ABOUT)?;
        let before = about.insert(BOOT, boot)?;
        before.is_some_and(|before| before.value() == boot)
    };
    if !same {
        transaction.delete_table(ENTRIES)?;
    }
    transaction.open_table(ENTRIES)?;
    transaction.commit()?;
    let mut left = Vec::new();
    let table = store.begin_read()?.open_table(ENTRIES)?;
    for entry in table.iter()? {
        let (key, value) = entry?;
        match key.value().parse::<Key>() {
            Ok(key) => left.push((key, value.value().to_vec())),
            Err(error) => tracing::warn!("the journal has something unknown: {error}"),
        }
    }
    // Numbers are to be known before any call is.
    left.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(left)
}

/// What is the same until the kernel starts anew.
fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let boot = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(boot.trim().to_owned())
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("nothing")
}

#[cfg(test)]
mod tests;
