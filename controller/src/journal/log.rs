//! One file of the journal: batches of records, one after the other.
//!
//! ```text
//! file:   "sidestep journal 1\n", boot\n, batch …
//! batch:  u32 length of what follows the checksum, u64 xxh3 of it, record …
//! record: u16 length of the key, u32 length of the value (or ABSENT), key, value
//! ```
//!
//! All numbers little-endian. A batch is there wholly or not at all: one that the
//! end of the file cuts is what a writer that died has left, and is cut off. Bytes
//! that do not fit their checksum are damage.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use xxhash_rust::xxh3::xxh3_64;

/// What every journal begins with; the number is the format's.
const MAGIC: &str = "sidestep journal 1\n";
/// Length of a batch, and its checksum.
const BATCH_HEAD: usize = 12;
/// Length of a key, and of a value.
const RECORD_HEAD: usize = 6;
/// Instead of the value's length: the key has none any more.
const ABSENT: u32 = u32::MAX;

/// A file that is written at its end.
pub(super) struct Log {
    file: File,
    /// Octets that are in it.
    length: u64,
}

/// A record that was read.
pub(super) struct Record {
    pub key: String,
    /// `None`: removed.
    pub value: Option<Vec<u8>>,
    /// Where in the file the value stands.
    pub at: u64,
}

/// Records on their way into the file.
pub(super) struct Batch {
    bytes: Vec<u8>,
}

impl Log {
    /// Begins a file, for its owner only.
    pub fn begin(path: &Path, boot: &str) -> Result<Self> {
        let mut log = Self::at(path, true)?;
        let head = [MAGIC, boot, "\n"].concat();
        log.write(head.as_bytes())?;
        Ok(log)
    }

    /// Opens a file that is there; with its records, in their order. `None`: it is of
    /// another boot.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is damaged.
    pub fn open(path: &Path, boot: &str) -> Result<Option<(Self, Vec<Record>)>> {
        let mut log = Self::at(path, false)?;
        let bytes = std::fs::read(path)
            .with_context(|| format!("cannot read the journal {}", path.display()))?;
        let head = [MAGIC, boot, "\n"].concat();
        if !bytes.starts_with(head.as_bytes()) {
            // A writer that died at once has left the begin of one.
            let torn = head.as_bytes().starts_with(&bytes);
            ensure!(
                torn || bytes.starts_with(MAGIC.as_bytes()),
                "it is no journal of this version"
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
        Ok(Some((log, records)))
    }

    fn at(path: &Path, anew: bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(anew).truncate(anew);
        // SIP messages are in it.
        let file = options.mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot open the journal {}", path.display()))?;
        Ok(Self { file, length: 0 })
    }

    /// Octets in the file.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// A value that stands in the file.
    pub fn value(&self, at: u64, length: u32) -> Result<Vec<u8>> {
        let mut value = vec![0; length as usize];
        self.file.read_exact_at(&mut value, at)?;
        Ok(value)
    }

    /// Writes a batch at the end; where the file's batches begin then, to which
    /// [`Batch::value`]'s offsets are relative.
    pub fn append(&mut self, batch: Batch) -> Result<u64> {
        let start = self.length;
        self.write(&batch.finish()?)?;
        Ok(start)
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
    /// No record yet; with room for records of so many octets.
    pub fn new(room: usize) -> Self {
        let mut bytes = Vec::with_capacity(BATCH_HEAD + room);
        bytes.resize(BATCH_HEAD, 0);
        Self { bytes }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == BATCH_HEAD
    }

    /// Its octets so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Another record; where in the batch its value stands. `None`: longer than the
    /// format has room for.
    pub fn record(&mut self, key: &str, value: Option<&[u8]>) -> Option<u64> {
        let key_length = u16::try_from(key.len()).ok()?;
        let length = match value {
            Some(value) => u32::try_from(value.len()).ok().filter(|l| *l != ABSENT)?,
            None => ABSENT,
        };
        self.bytes.extend_from_slice(&key_length.to_le_bytes());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(key.as_bytes());
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(value.unwrap_or_default());
        Some(at)
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
        let Some((record, end)) = read_record(records, read) else {
            bail!("a record at octet {} does not end", start + read);
        };
        into.push(Record {
            at: record.at + start as u64,
            ..record
        });
        read = end;
    }
    Ok(Some(start + length))
}

/// The record at `at`, its own place relative to the same, and where it ends.
fn read_record(records: &[u8], at: usize) -> Option<(Record, usize)> {
    let (head, rest) = records.get(at..)?.split_first_chunk::<RECORD_HEAD>()?;
    let (key_length, length) = head.split_at(2);
    let key_length = usize::from(u16::from_le_bytes(key_length.try_into().ok()?));
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let (key, rest) = rest.split_at_checked(key_length)?;
    let value = match length {
        ABSENT => None,
        length => Some(rest.get(..length as usize)?.to_vec()),
    };
    let begin = at + RECORD_HEAD + key_length;
    let end = begin + value.as_ref().map_or(0, Vec::len);
    let record = Record {
        key: String::from_utf8_lossy(key).into_owned(),
        value,
        at: begin as u64,
    };
    Some((record, end))
}
