use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use super::*;

fn file(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("sidestep-journal-{}", std::process::id()));
    let path = directory.join(name);
    let _ = fs::remove_file(&path);
    path
}

fn call(id: u32, value: Option<&[u8]>) -> Entry {
    Entry {
        key: Key::Call(id),
        value: value.map(<[u8]>::to_vec),
    }
}

/// Calls 1 to 9, each by its own transaction, most of them changed.
fn filled(path: &Path) {
    let (journal, left) = Journal::open_in(path, "boot").unwrap();
    assert_eq!(left, []);
    for id in 1..10 {
        journal.store(&[call(id, Some(&[0; 2000]))]).unwrap();
        let value = vec![id as u8; 3000];
        journal.store(&[call(id, Some(&value))]).unwrap();
    }
    journal.store(&[call(4, None)]).unwrap();
}

fn calls(left: &[Left]) -> Vec<u32> {
    let id = |(key, _): &Left| match key {
        Key::Call(id) => *id,
        other => panic!("{other}"),
    };
    left.iter().map(id).collect()
}

#[test]
fn what_was_stored_is_there_again_and_nobody_else_can_read_it() {
    let path = file("again");
    filled(&path);
    let (_, left) = Journal::open_in(&path, "boot").unwrap();
    assert_eq!(calls(&left), [1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(left[3].1, [5; 3000]);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_boot_begins_anew() {
    let path = file("boots");
    filled(&path);
    assert_eq!(Journal::open_in(&path, "next").unwrap().1, []);
    assert_eq!(Journal::open_in(&path, "boot").unwrap().1, []);
}

/// A writer that dies does so between two writes or in the middle of one: what the
/// file then holds is tried for every write of a transaction.
#[test]
fn a_torn_tail_is_cut() {
    let path = file("torn");
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let writes = writes_of_one_more(&path);
    assert!(writes.len() > 2, "{} writes", writes.len());
    let mut seen = Vec::new();
    for (at, (_, data)) in writes.iter().enumerate() {
        for part in [0, data.len() / 2, data.len()] {
            let mut bytes = whole.clone();
            for (offset, data) in &writes[..at] {
                put(&mut bytes, *offset, data);
            }
            put(&mut bytes, writes[at].0, &data[..part]);
            fs::write(&path, &bytes).unwrap();
            let (journal, left) = Journal::open_in(&path, "boot").unwrap();
            let known = calls(&left);
            // All of before; the last one wholly or not at all.
            assert_eq!(known[..8], [1, 2, 3, 5, 6, 7, 8, 9], "write {at}, {part}");
            if let Some((_, value)) = left.get(8) {
                assert_eq!(*value, [10; 3000]);
            }
            seen.push(left.len());
            journal.store(&[call(11, Some(b"x"))]).unwrap();
        }
    }
    assert_eq!(seen.first(), Some(&8));
    assert_eq!(seen.last(), Some(&9));
    assert!(!path.with_extension("damaged").exists());
}

/// Whatever the file holds, the daemon has a journal to write to.
#[test]
fn damage_is_never_fatal() {
    let path = file("damage");
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let mut spoilt: Vec<Vec<u8>> = (0..8)
        .map(|n| whole[..whole.len() * n / 8].to_vec())
        .collect();
    spoilt.push(b"no journal at all".repeat(1000));
    for n in 0..200 {
        let mut bytes = whole.clone();
        let at = (n * 7919) % bytes.len().min(40_000);
        bytes[at] ^= 1 << (n % 8);
        spoilt.push(bytes);
    }
    for bytes in spoilt {
        fs::write(&path, &bytes).unwrap();
        let (journal, _) = Journal::open_in(&path, "boot").unwrap();
        journal.store(&[call(1, Some(b"x"))]).unwrap();
        drop(journal);
        let (_, left) = Journal::open_in(&path, "boot").unwrap();
        assert!(left.contains(&(Key::Call(1), b"x".to_vec())));
    }
}

/// What a writer writes, in order: where, and what; a new length is a write of
/// nothing at its end.
type Writes = Vec<(u64, Vec<u8>)>;

#[derive(Debug)]
struct Watched(JournalFile, Arc<Mutex<Writes>>);

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.lock().unwrap().push((len, Vec::new()));
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.1.lock().unwrap().push((offset, data.to_vec()));
        self.0.write(offset, data)
    }
}

/// The writes from opening a filled journal to its death after one more entry.
fn writes_of_one_more(path: &Path) -> Writes {
    let writes = Arc::new(Mutex::new(Vec::new()));
    let file = Watched(JournalFile::open(path).unwrap(), writes.clone());
    let (store, _) = open_store(file, "boot").unwrap();
    let path = path.to_owned();
    let journal = Journal { store, path };
    journal.store(&[call(10, Some(&[10; 3000]))]).unwrap();
    let writes = writes.lock().unwrap().clone();
    // Killed: it closes nothing.
    std::mem::forget(journal);
    writes
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}
