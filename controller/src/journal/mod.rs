//! What the core wants kept from one run to the next: calls, legs, registrations.
//!
//! In: the core's entries, before anything that they lead to is done. Out: at the
//! next start, the newest entry of each key.
//!
//! **What it survives.** The daemon's death at any moment: an entry is in the
//! file (in the kernel's hands, by `write`) before the datagrams that follow from
//! it leave. Nothing is forced to the disk (no fsync), since calls, flows and
//! addresses do not outlive the kernel either: the journal of another boot is
//! thrown away, and `/run` is the place for it. A batch that was cut in the
//! middle is cut off; a file that is damaged otherwise is put aside and a new one
//! begun, which costs the calls their place on the list and nothing else.
//!
//! **How.** A log: what is stored at once is one `write` at the end of one file. A
//! tree on the disk (redb was here before) makes of each entry some ten pages and
//! as many calls of the kernel, for a memory that lasts no longer than `/run` does.
//! What the log has too much is left behind bit by bit: when it has grown to
//! several times what is alive, it becomes `journal.old`, a new one is begun, and
//! with each batch some of what is still alive in the old one is written into the
//! new one, until the old one can go. No single batch takes long, and the two files
//! together stay within a few times what is alive, and [`SMALL`].

mod log;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sidestep_core::engine::{Entry, Key};
use xxhash_rust::xxh3::xxh3_64;

use self::log::{Batch, Log};

/// A log is left behind when it is longer than what is alive, so many times …
const GROWTH: u64 = 4;
/// … and longer than this, octets.
const SMALL: u64 = 4 << 20;
/// Octets of an ordinary key and of a record's head.
const KEY: usize = 32;
/// Octets that a batch takes along from the log that is left behind, at least.
const TAKEN_ALONG: usize = 32 << 10;

/// The journal, open.
pub struct Journal {
    path: PathBuf,
    boot: String,
    log: Log,
    /// The log of before, while something in it is alive.
    old: Option<Old>,
    /// Where the newest entry of each key is.
    places: HashMap<Key, Place>,
    /// Octets of these entries.
    alive: u64,
}

struct Old {
    log: Log,
    /// What may still be in it.
    left: Vec<Key>,
}

/// Where a value is.
#[derive(Debug, Clone, Copy)]
struct Place {
    in_old: bool,
    at: u64,
    length: u32,
    hash: u64,
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
            Err(error) if path.exists() || old(path).exists() => {
                let aside = path.with_extension("damaged");
                tracing::error!(
                    "the journal {} cannot be used and is begun anew; the old one is {}: {error:#}",
                    path.display(),
                    aside.display()
                );
                // Which of the two it was does not matter: neither says all.
                for file in [old(path), path.to_owned()] {
                    if file.exists() {
                        std::fs::rename(&file, &aside)
                            .with_context(|| format!("cannot put {} aside", file.display()))?;
                    }
                }
                Self::try_open(path, boot)
            }
            Err(error) => Err(error),
        }
    }

    fn try_open(path: &Path, boot: &str) -> Result<(Self, Vec<Left>)> {
        let open = |path: &Path| match path.exists() {
            true => Log::open(path, boot),
            false => Ok(None),
        };
        let (before, now) = (open(&old(path))?, open(path)?);
        if before.is_none() {
            remove_old(path)?;
        }
        let mut values: HashMap<Key, (Place, Vec<u8>)> = HashMap::new();
        let mut read = |records: Vec<log::Record>, in_old| {
            for record in records {
                let key = match record.key.parse::<Key>() {
                    Ok(key) => key,
                    Err(error) => {
                        tracing::warn!("the journal has something unknown: {error}");
                        continue;
                    }
                };
                match record.value {
                    Some(value) => {
                        let place = Place::of(in_old, record.at, &value);
                        values.insert(key, (place, value));
                    }
                    None => drop(values.remove(&key)),
                }
            }
        };
        let before = before.map(|(log, records)| {
            read(records, true);
            log
        });
        let log = match now {
            Some((log, records)) => {
                read(records, false);
                log
            }
            None => Log::begin(path, boot)?,
        };
        let places: HashMap<Key, Place> = values
            .iter()
            .map(|(key, (place, _))| (key.clone(), *place))
            .collect();
        let in_old = |(key, place): (&Key, &Place)| place.in_old.then(|| key.clone());
        let journal = Self {
            path: path.to_owned(),
            boot: boot.to_owned(),
            log,
            old: before.map(|log| Old {
                log,
                left: places.iter().filter_map(in_old).collect(),
            }),
            alive: places.values().map(|place| u64::from(place.length)).sum(),
            places,
        };
        let mut left: Vec<Left> = values
            .into_iter()
            .map(|(key, (_, value))| (key, value))
            .collect();
        // Numbers are to be known before any call is.
        left.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok((journal, left))
    }

    /// Stores entries, all or none. What is stored already costs nothing.
    ///
    /// # Errors
    ///
    /// The file cannot be written: no room, or the file system has gone. Then it is
    /// of no use any more, and is emptied as far as that can be done: what it says
    /// would be of the past.
    pub fn store(&mut self, entries: &[Entry]) -> Result<()> {
        self.append(entries).map_err(|error| {
            // The first error says it all.
            let _ = self.log.void();
            let _ = std::fs::remove_file(old(&self.path));
            error.context(format!("cannot write the journal {}", self.path.display()))
        })
    }

    fn append(&mut self, entries: &[Entry]) -> Result<()> {
        let values = entries.iter().filter_map(|entry| entry.value.as_ref());
        let mut batch = Batch::new(values.map(|value| value.len() + KEY).sum());
        let mut stored = Vec::with_capacity(entries.len());
        for Entry { key, value } in entries {
            let place = value.as_ref().map(|value| Place::of(false, 0, value));
            let before = self.places.get(key);
            let same = match (&place, before) {
                (Some(place), Some(before)) => place.is_same(before),
                (None, None) => true,
                _ => false,
            };
            if same {
                continue;
            }
            let at = batch
                .record(&key.to_string(), value.as_deref())
                .context("an entry of more than 4 GiB")?;
            stored.push((key.clone(), place.map(|place| Place { at, ..place })));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.take_along(&mut batch, &mut stored)?;
        let start = self.log.append(batch)?;
        for (key, place) in stored {
            let length = |place: &Place| u64::from(place.length);
            let before = match place {
                Some(place) => {
                    self.alive += length(&place);
                    let at = place.at + start;
                    self.places.insert(key, Place { at, ..place })
                }
                None => self.places.remove(&key),
            };
            self.alive -= before.as_ref().map_or(0, length);
        }
        self.leave_behind()
    }

    /// Adds some of what is alive in the log of before.
    fn take_along(
        &mut self,
        batch: &mut Batch,
        stored: &mut Vec<(Key, Option<Place>)>,
    ) -> Result<()> {
        let Some(old) = &mut self.old else {
            return Ok(());
        };
        let enough = batch.len() * 2 + TAKEN_ALONG;
        while batch.len() < enough {
            let Some(key) = old.left.pop() else {
                break;
            };
            let place = self.places.get(&key).filter(|place| place.in_old);
            let now = stored.iter().any(|(new, _)| *new == key);
            let Some(place) = place.filter(|_| !now).copied() else {
                continue;
            };
            let value = old.log.value(place.at, place.length)?;
            let at = batch
                .record(&key.to_string(), Some(&value))
                .context("an entry of more than 4 GiB")?;
            let place = Place {
                in_old: false,
                at,
                ..place
            };
            stored.push((key, Some(place)));
        }
        Ok(())
    }

    /// Lets the log of before go when nothing in it is alive; begins a new log when
    /// the one there is has become too long.
    fn leave_behind(&mut self) -> Result<()> {
        match &self.old {
            Some(before) if before.left.is_empty() => {
                self.old = None;
                remove_old(&self.path)
            }
            None if self.log.len() > SMALL.max(GROWTH * self.alive) => {
                std::fs::rename(&self.path, old(&self.path))
                    .context("cannot put the journal's first part aside")?;
                let new = Log::begin(&self.path, &self.boot)?;
                let log = std::mem::replace(&mut self.log, new);
                for place in self.places.values_mut() {
                    place.in_old = true;
                }
                let left = self.places.keys().cloned().collect();
                self.old = Some(Old { log, left });
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Place {
    fn of(in_old: bool, at: u64, value: &[u8]) -> Self {
        Self {
            in_old,
            at,
            // Longer ones are refused where they are written.
            length: u32::try_from(value.len()).unwrap_or(u32::MAX),
            hash: xxh3_64(value),
        }
    }

    /// Whether the same value is there.
    fn is_same(&self, other: &Self) -> bool {
        (self.length, self.hash) == (other.length, other.hash)
    }
}

/// Where the log of before is.
fn old(path: &Path) -> PathBuf {
    path.with_extension("old")
}

fn remove_old(path: &Path) -> Result<()> {
    match std::fs::remove_file(old(path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", old(path).display()))
        }
        _ => Ok(()),
    }
}

/// What is the same until the kernel starts anew.
fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let boot = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(boot.trim().to_owned())
}

#[cfg(test)]
mod tests;
