//! One file of the journal: batches of records, one after the other.
//!
//! ```text
//! file:   "sidestep journal 2, entries F\n", boot\n, batch …
//! batch:  u32 length of what follows the checksum, u64 xxh3 of it, record …
//! record: u16 length of the key, u16 number of pieces (or ABSENT), u32 length of the
//!         new octets, key, new octets, piece …
//! piece:  u32 where it stands in the file, u32 length
//! ```
//!
//! All numbers little-endian; F is the core's [`FORMAT`]. A record's value is its
//! pieces, one after the other. They stand among its own new octets, or before them in
//! the file, where an earlier record has left them. A batch is there wholly or not at
//! all: one that the end of the file cuts is what a writer that died has left, and is
//! cut off. Bytes that do not fit their checksum are damage.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sidestep_core::engine::FORMAT;
use xxhash_rust::xxh3::xxh3_64;

/// What every journal begins with; the number is the format's.
const MAGIC: &str = "sidestep journal 2, entries ";
/// What the journals of all versions begin with.
const ANY: &str = "sidestep journal ";
/// Octets of a batch for which there is always room, once one has had so many.
const ROOM: usize = 64 << 10;
/// Length of a batch, and its checksum.
const BATCH_HEAD: usize = 12;
/// Length of a key, number of pieces, and length of the new octets.
const RECORD_HEAD: usize = 8;
/// Instead of the number of pieces: the key has no value any more.
const ABSENT: u16 = u16::MAX;
/// Where a piece stands, and its length.
const PIECE: usize = 8;

/// A file that is written at its end.
pub(super) struct Log {
    file: File,
    /// Octets that are in it.
    length: u64,
    /// Room for the next batch, which the last one had.
    room: Vec<u8>,
}

/// What was in a file that was opened.
pub(super) struct Contents {
    /// All its octets.
    pub bytes: Vec<u8>,
    /// In their order.
    pub records: Vec<Record>,
}

/// A record that was read.
pub(super) struct Record {
    pub key: String,
    /// Of its value; `None`: removed.
    pub pieces: Option<Vec<Piece>>,
}

/// Octets in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub at: u32,
    pub length: u32,
}

/// Records on their way into the file.
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where it will stand in the file.
    start: u64,
}

/// The one record of a batch that is being made.
pub(super) struct Making<'a> {
    batch: &'a mut Batch,
    /// Where it begins in the batch.
    begin: usize,
    pieces: Vec<Piece>,
}

impl Log {
    /// Begins a file, for its owner only.
    pub fn begin(path: &Path, boot: &str) -> Result<Self> {
        let mut log = Self::at(path, true)?;
        log.write(head(boot).as_bytes())?;
        Ok(log)
    }

    /// Opens a file that is there; with what is in it. `None`: it is of another boot.
    ///
    /// # Errors
    ///
    /// It cannot be read, is damaged, or is of another version.
    pub fn open(path: &Path, boot: &str) -> Result<Option<(Self, Contents)>> {
        let mut log = Self::at(path, false)?;
        let bytes = std::fs::read(path)
            .with_context(|| format!("cannot read the journal {}", path.display()))?;
        let head = head(boot);
        if !bytes.starts_with(head.as_bytes()) {
            // A writer that died at once has left the begin of one.
            let torn = head.as_bytes().starts_with(&bytes);
            let same = self::head("");
            ensure!(
                torn || bytes.starts_with(same.trim_end().as_bytes()),
                "{}",
                match bytes.starts_with(ANY.as_bytes()) {
                    true => "it is of another version of Sidestep",
                    false => "it is no journal",
                }
            );
            return Ok(None);
        }
        let mut records = Vec::new();
        let mut at = head.len();
        while let Some(end) = read_batch(&bytes, at, &mut records)? {
            at = end;
        }
        log.length = at as u64;
        if at < bytes.len() {
            log.file.set_len(log.length).context("cannot cut it")?;
        }
        Ok(Some((log, Contents { bytes, records })))
    }

    fn at(path: &Path, anew: bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(anew).truncate(anew);
        // SIP messages are in it.
        let file = options.mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot open the journal {}", path.display()))?;
        Ok(Self {
            file,
            length: 0,
            room: Vec::new(),
        })
    }

    /// Octets in the file.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Octets that stand in the file.
    pub fn read(&self, piece: Piece) -> Result<Vec<u8>> {
        let mut value = vec![0; piece.length as usize];
        self.file.read_exact_at(&mut value, piece.at.into())?;
        Ok(value)
    }

    /// A batch for this file, with no record yet.
    pub fn batch(&mut self) -> Batch {
        let mut bytes = std::mem::take(&mut self.room);
        bytes.clear();
        bytes.resize(BATCH_HEAD, 0);
        Batch {
            bytes,
            start: self.length,
        }
    }

    /// Writes a batch at the end, if it has a record.
    pub fn append(&mut self, batch: Batch) -> Result<()> {
        let mut bytes = match batch.is_empty() {
            true => batch.bytes,
            false => {
                let bytes = batch.finish()?;
                self.write(&bytes)?;
                bytes
            }
        };
        bytes.clear();
        bytes.shrink_to(ROOM);
        self.room = bytes;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Nothing in it is true any more.
    pub fn void(&self) -> Result<()> {
        Ok(self.file.set_len(0)?)
    }
}

impl Batch {
    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == BATCH_HEAD
    }

    /// Its octets so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Another record, that `key` has no value any more.
    ///
    /// # Errors
    ///
    /// The key is longer than the format has room for.
    pub fn remove(&mut self, key: &str) -> Result<()> {
        let begin = self.bytes.len();
        self.begin(key)?;
        self.set_head(begin, ABSENT, 0);
        Ok(())
    }

    /// Another record; its value's pieces are to be added.
    ///
    /// # Errors
    ///
    /// The key is longer than the format has room for.
    pub fn record(&mut self, key: &str) -> Result<Making<'_>> {
        let begin = self.bytes.len();
        self.begin(key)?;
        Ok(Making {
            batch: self,
            begin,
            pieces: Vec::with_capacity(16),
        })
    }

    fn begin(&mut self, key: &str) -> Result<()> {
        let length = u16::try_from(key.len()).context("a key of more than 64 KiB")?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&[0; RECORD_HEAD - 2]);
        self.bytes.extend_from_slice(key.as_bytes());
        Ok(())
    }

    fn set_head(&mut self, begin: usize, pieces: u16, new: u32) {
        if let Some(head) = self.bytes.get_mut(begin + 2..begin + RECORD_HEAD) {
            let (to_pieces, to_new) = head.split_at_mut(2);
            to_pieces.copy_from_slice(&pieces.to_le_bytes());
            to_new.copy_from_slice(&new.to_le_bytes());
        }
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        let (head, records) = self
            .bytes
            .split_first_chunk_mut::<BATCH_HEAD>()
            .context("a batch without its head")?;
        let length = u32::try_from(records.len()).context("too much at once")?;
        let (to_length, to_sum) = head.split_at_mut(4);
        to_length.copy_from_slice(&length.to_le_bytes());
        to_sum.copy_from_slice(&xxh3_64(records).to_le_bytes());
        Ok(self.bytes)
    }
}

impl Making<'_> {
    /// Octets that follow.
    ///
    /// # Errors
    ///
    /// The file has more than 4 GiB.
    pub fn new_octets(&mut self, some: &[u8]) -> Result<Piece> {
        let at = self.batch.start + self.batch.bytes.len() as u64;
        u32::try_from(at + some.len() as u64).context("more than 4 GiB")?;
        let piece = Piece {
            at: u32::try_from(at)?,
            length: u32::try_from(some.len())?,
        };
        self.batch.bytes.extend_from_slice(some);
        self.old_octets(piece);
        Ok(piece)
    }

    /// Octets that follow, and stand in the file or earlier in this record.
    pub fn old_octets(&mut self, piece: Piece) {
        match self.pieces.last_mut() {
            Some(last) if last.at + last.length == piece.at => last.length += piece.length,
            _ => self.pieces.push(piece),
        }
    }

    /// The record is whole.
    ///
    /// # Errors
    ///
    /// It has more pieces than the format has room for.
    pub fn done(self) -> Result<()> {
        let Self {
            batch,
            begin,
            pieces,
        } = self;
        let count = u16::try_from(pieces.len()).ok().filter(|n| *n != ABSENT);
        let count = count.context("a value of too many pieces")?;
        let key = batch.bytes.get(begin..begin + 2).unwrap_or(&[0, 0]);
        let key = usize::from(u16::from_le_bytes(key.try_into()?));
        let new = batch.bytes.len() - begin - RECORD_HEAD - key;
        batch.set_head(begin, count, u32::try_from(new)?);
        for piece in pieces {
            batch.bytes.extend_from_slice(&piece.at.to_le_bytes());
            batch.bytes.extend_from_slice(&piece.length.to_le_bytes());
        }
        Ok(())
    }
}

impl Piece {
    /// Its octets in a file's.
    pub fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        let end = u64::from(self.at) + u64::from(self.length);
        bytes.get(self.at as usize..usize::try_from(end).ok()?)
    }
}

fn head(boot: &str) -> String {
    format!("{MAGIC}{FORMAT}\n{boot}\n")
}

/// Reads the batch at `at`; where it ends. `None`: no whole one is there.
fn read_batch(bytes: &[u8], at: usize, into: &mut Vec<Record>) -> Result<Option<usize>> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((head, rest)) = rest.split_first_chunk::<BATCH_HEAD>() else {
        return Ok(None);
    };
    let (length, sum) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into()?) as usize;
    let Some(records) = rest.get(..length) else {
        return Ok(None);
    };
    ensure!(
        xxh3_64(records) == u64::from_le_bytes(sum.try_into()?),
        "the batch at octet {at} is damaged"
    );
    let start = at + BATCH_HEAD;
    let mut read = 0;
    while read < length {
        let Some((record, end)) = read_record(records, read, start) else {
            bail!("the record at octet {} is none", start + read);
        };
        into.push(record);
        read = end;
    }
    Ok(Some(start + length))
}

/// The record at `at`, where it ends. `start`: where the batch's records stand in the
/// file.
fn read_record(records: &[u8], at: usize, start: usize) -> Option<(Record, usize)> {
    let (head, rest) = records.get(at..)?.split_first_chunk::<RECORD_HEAD>()?;
    let two = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let key_length = usize::from(two(0)?);
    let count = two(2)?;
    let new = u32::from_le_bytes(head.get(4..)?.try_into().ok()?) as usize;
    let (key, rest) = rest.split_at_checked(key_length)?;
    let key = String::from_utf8_lossy(key).into_owned();
    let begin = at + RECORD_HEAD + key_length;
    if count == ABSENT {
        return Some((Record { key, pieces: None }, begin));
    }
    let table = rest.get(new..new + usize::from(count) * PIECE)?;
    let known = start + begin + new;
    let pieces = table.chunks_exact(PIECE).map(|piece| {
        let (at, length) = piece.split_at(4);
        let at = u32::from_le_bytes(at.try_into().ok()?);
        let length = u32::from_le_bytes(length.try_into().ok()?);
        let end = u64::from(at) + u64::from(length);
        (end <= known as u64).then_some(Piece { at, length })
    });
    let record = Record {
        key,
        pieces: Some(pieces.collect::<Option<_>>()?),
    };
    Some((record, begin + new + table.len()))
}
