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
//!
//! An entry comes in parts ([`Value`]), and of each turn of a call most of them are
//! what they were: texts of messages above all. A part that stands in the file already,
//! in the entry of the same key or twice in this one, is named by its place and not
//! written again. A part is known by its hash (64 bits) and its length among the few of
//! its own key.
//!
//! What the log has too much is left behind bit by bit: when it has grown to
//! several times what is alive, it becomes `journal.old`, a new one is begun, and
//! with each batch some of what is still alive in the old one is written into the
//! new one, wholly, until the old one can go. No single batch takes long, and the two
//! files together stay within a few times what is alive, and [`SMALL`].

mod log;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sidestep_core::engine::{Entry, Key, Value};
use xxhash_rust::xxh3::xxh3_64;

use self::log::{Batch, Contents, Log, Piece};

/// A log is left behind when it is longer than what is alive, so many times …
const GROWTH: u64 = 4;
/// … and longer than this, octets.
const SMALL: u64 = 4 << 20;
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

/// Where a value is: its parts.
#[derive(Debug, Clone)]
struct Place {
    in_old: bool,
    parts: Box<[Part]>,
}

/// A part of a value that is in a file.
#[derive(Debug, Clone, Copy)]
struct Part {
    hash: u64,
    piece: Piece,
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
        let mut pieces: HashMap<Key, (bool, Vec<Piece>)> = HashMap::new();
        let mut read = |contents: &mut Contents, in_old| {
            for record in std::mem::take(&mut contents.records) {
                let key = match record.key.parse::<Key>() {
                    Ok(key) => key,
                    Err(error) => {
                        tracing::warn!("the journal has something unknown: {error}");
                        continue;
                    }
                };
                match record.pieces {
                    Some(of_value) => drop(pieces.insert(key, (in_old, of_value))),
                    None => drop(pieces.remove(&key)),
                }
            }
        };
        let split = |(log, mut contents): (Log, Contents),
                     in_old,
                     read: &mut dyn FnMut(&mut Contents, bool)| {
            read(&mut contents, in_old);
            (log, contents.bytes)
        };
        let before = before.map(|opened| split(opened, true, &mut read));
        let now = now.map(|opened| split(opened, false, &mut read));
        let (before, bytes_before) = before.unzip();
        let (now, bytes_now) = now.unzip();
        let log = match now {
            Some(log) => log,
            None => Log::begin(path, boot)?,
        };
        let mut places = HashMap::with_capacity(pieces.len());
        let mut left = Vec::with_capacity(pieces.len());
        for (key, (in_old, pieces)) in pieces {
            let bytes = if in_old { &bytes_before } else { &bytes_now };
            let bytes = bytes.as_deref().unwrap_or_default();
            let texts: Option<Vec<&[u8]>> = pieces.iter().map(|piece| piece.of(bytes)).collect();
            let texts = texts.context("an entry is not in the file")?;
            let parts = pieces.iter().zip(&texts).map(|(piece, text)| Part {
                hash: xxh3_64(text),
                piece: *piece,
            });
            let parts = parts.collect();
            left.push((key.clone(), texts.concat()));
            places.insert(key, Place { in_old, parts });
        }
        // Numbers are to be known before any call is.
        left.sort_by(|(one, _), (other, _)| one.cmp(other));
        let in_old = |(key, place): (&Key, &Place)| place.in_old.then(|| key.clone());
        let journal = Self {
            path: path.to_owned(),
            boot: boot.to_owned(),
            log,
            old: before.map(|log| Old {
                log,
                left: places.iter().filter_map(in_old).collect(),
            }),
            alive: places.values().map(Place::length).sum(),
            places,
        };
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
        let mut batch = self.log.batch();
        let mut stored = Vec::with_capacity(entries.len());
        for Entry { key, value } in entries {
            let before = self.places.get(key);
            let place = match (value, before) {
                (Some(value), before) => match Place::write(&mut batch, key, value, before)? {
                    Some(place) => Some(place),
                    None => continue,
                },
                (None, Some(_)) => {
                    batch.remove(&key.to_string())?;
                    None
                }
                (None, None) => continue,
            };
            stored.push((key.clone(), place));
        }
        if batch.is_empty() {
            return self.log.append(batch);
        }
        self.take_along(&mut batch, &mut stored)?;
        self.log.append(batch)?;
        for (key, place) in stored {
            let before = match place {
                Some(place) => {
                    self.alive += place.length();
                    self.places.insert(key, place)
                }
                None => self.places.remove(&key),
            };
            self.alive -= before.as_ref().map_or(0, Place::length);
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
            let Some(place) = place.filter(|_| !now) else {
                continue;
            };
            let mut record = batch.record(&key.to_string())?;
            let mut parts = Vec::with_capacity(place.parts.len());
            for part in &place.parts {
                let piece = record.new_octets(&old.log.read(part.piece)?)?;
                parts.push(Part { piece, ..*part });
            }
            record.done()?;
            stored.push((key, Some(Place::new(parts))));
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
    fn new(parts: Vec<Part>) -> Self {
        Self {
            in_old: false,
            parts: parts.into_boxed_slice(),
        }
    }

    /// Octets of the value.
    fn length(&self) -> u64 {
        let lengths = self.parts.iter().map(|part| u64::from(part.piece.length));
        lengths.sum()
    }

    /// Adds a value to a batch, as far as its parts are not in the file; where it is
    /// then. `None`: it is what it was before.
    fn write(
        batch: &mut Batch,
        key: &Key,
        value: &Value,
        before: Option<&Self>,
    ) -> Result<Option<Self>> {
        let is = |part: &Part, hash: u64, text: &[u8]| {
            part.hash == hash && part.piece.length as usize == text.len()
        };
        let hashed = value.parts().map(|text| (xxh3_64(text), text));
        let hashed: Vec<(u64, &[u8])> = hashed.collect();
        let known = before.map_or(&[][..], |before| &before.parts);
        let mut both = known.iter().zip(&hashed);
        if before.is_some()
            && known.len() == hashed.len()
            && both.all(|(part, (hash, text))| is(part, *hash, text))
        {
            return Ok(None);
        }
        // What stands in the log of before goes with it.
        let known = before
            .filter(|before| !before.in_old)
            .map_or(&[][..], |_| known);
        let mut record = batch.record(&key.to_string())?;
        let mut parts: Vec<Part> = Vec::with_capacity(hashed.len());
        let mut next = 0;
        for (hash, text) in hashed {
            // Mostly they follow each other as they did.
            let (passed, ahead) = known.split_at(next);
            let found = ahead.iter().position(|part| is(part, hash, text));
            let same = match found {
                Some(skipped) => {
                    next += skipped + 1;
                    ahead.get(skipped)
                }
                None => passed
                    .iter()
                    .chain(&parts)
                    .find(|part| is(part, hash, text)),
            };
            let piece = match same {
                Some(part) => {
                    record.old_octets(part.piece);
                    part.piece
                }
                None => record.new_octets(text)?,
            };
            parts.push(Part { hash, piece });
        }
        record.done()?;
        Ok(Some(Self::new(parts)))
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
