use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn file(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("sidestep-journal-{}", std::process::id()));
    let path = directory.join(name);
    for file in [path.clone(), old(&path), path.with_extension("damaged")] {
        let _ = fs::remove_file(file);
    }
    path
}

fn call(id: u32, value: Option<&[u8]>) -> Entry {
    Entry {
        key: Key::Call(id),
        value: value.map(|value| value.to_vec().into()),
    }
}

/// Calls 1 to 9, each by its own batch, most of them changed.
fn filled(path: &Path) {
    let (mut journal, left) = Journal::open_in(path, "boot").unwrap();
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
    assert!(!path.with_extension("damaged").exists());
}

/// What is as it was costs no write.
#[test]
fn what_has_not_changed_is_not_written_again() {
    let path = file("unchanged");
    filled(&path);
    let (mut journal, _) = Journal::open_in(&path, "boot").unwrap();
    let length = fs::metadata(&path).unwrap().len();
    journal
        .store(&[call(5, Some(&[5; 3000])), call(4, None), call(77, None)])
        .unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
}

fn in_parts(id: u32, parts: &[&[u8]]) -> Entry {
    Entry {
        key: Key::Call(id),
        value: Some(parts.iter().copied().collect()),
    }
}

/// Of an entry only what is new of it is written, and all of it is read again.
#[test]
fn a_part_is_written_once() {
    let path = file("parts");
    let (mut journal, _) = Journal::open_in(&path, "boot").unwrap();
    let size = || fs::metadata(&path).unwrap().len();
    let texts: Vec<Vec<u8>> = (1..5).map(|n| vec![n; 1_000]).collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| texts[n].as_slice());
    let turns: [(&[&[u8]], u64); 7] = [
        (&[b"one", a, b, b"x"], 2_004),
        // The first changes, and a text comes between.
        (&[b"two", a, c, b, b"x"], 1_003),
        // They change places; what has gone comes again.
        (&[b"one", b, a, b"x"], 3),
        (&[b"one", b, a, b"x"], 0),
        // The same text twice.
        (&[d, b"y", d, b, d], 1_001),
        (&[], 0),
        (&[a, b], 2_000),
    ];
    let mut expected = Vec::new();
    for (turn, (parts, new)) in turns.into_iter().enumerate() {
        let before = size();
        journal.store(&[in_parts(1, parts)]).unwrap();
        let grown = size() - before;
        // Heads of the batch and of the record, key, and pieces.
        let most = if new == 0 && turn == 3 { 0 } else { new + 70 };
        assert!((new..=most).contains(&grown), "turn {turn}: {grown}");
        expected = parts.concat();
        let (again, left) = Journal::open_in(&path, "boot").unwrap();
        assert_eq!(left, [(Key::Call(1), expected.clone())], "turn {turn}");
        // One that goes on after a restart, now and then.
        if turn % 2 == 1 {
            journal = again;
            journal.store(&[in_parts(1, parts)]).unwrap();
        }
    }
    // What is another call's is not this one's.
    let before = size();
    journal.store(&[in_parts(2, &[a, b])]).unwrap();
    assert!(size() - before > 2_000);
    let (_, left) = Journal::open_in(&path, "boot").unwrap();
    assert_eq!(left[0].1, expected);
    assert_eq!(left[1].1, [a, b].concat());
}

/// One of an earlier version is not misread: it is put aside, and the log says so.
#[test]
fn a_journal_of_another_version_is_put_aside() {
    for head in [
        "sidestep journal 1\nboot\n",
        "sidestep journal 2, entries 1\nboot\n",
    ] {
        let path = file("version");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = [head.as_bytes(), &[0; 40]].concat();
        fs::write(&path, &before).unwrap();
        let reason = Journal::try_open(&path, "boot").err().unwrap().to_string();
        assert_eq!(reason, "it is of another version of Sidestep");
        assert_eq!(Journal::open_in(&path, "boot").unwrap().1, []);
        assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), before);
    }
}

/// A writer that dies does so before its write or in the middle of it: whatever part
/// of the last batch is there.
#[test]
fn a_torn_tail_is_cut() {
    let path = file("torn");
    filled(&path);
    let before = fs::read(&path).unwrap();
    let (mut journal, _) = Journal::open_in(&path, "boot").unwrap();
    let two = [call(10, Some(&[10; 700])), call(11, Some(&[11; 700]))];
    journal.store(&two).unwrap();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    for length in before.len()..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (mut journal, left) = Journal::open_in(&path, "boot").unwrap();
        let known = calls(&left);
        // All of before; the last ones both or neither.
        assert_eq!(known[..8], [1, 2, 3, 5, 6, 7, 8, 9], "{length}");
        let both: &[u32] = if length == whole.len() {
            &[10, 11]
        } else {
            &[]
        };
        assert_eq!(known[8..], *both, "{length}");
        // It goes on where the last whole one ended.
        journal.store(&[call(12, Some(b"x"))]).unwrap();
        drop(journal);
        let (_, left) = Journal::open_in(&path, "boot").unwrap();
        assert_eq!(left.last(), Some(&(Key::Call(12), b"x".to_vec())));
    }
    assert!(!path.with_extension("damaged").exists());
}

/// A file of which no more than its begin was written holds nothing.
#[test]
fn a_journal_that_was_hardly_begun_is_begun_again() {
    let path = file("begun");
    drop(Journal::open_in(&path, "boot").unwrap());
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(Journal::open_in(&path, "boot").unwrap().1, []);
    }
    assert!(!path.with_extension("damaged").exists());
}

/// Whatever the files hold, the daemon has a journal to write to.
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
        let at = (n * 7919) % bytes.len();
        bytes[at] ^= 1 << (n % 8);
        spoilt.push(bytes);
    }
    for bytes in spoilt {
        for spoils in [path.clone(), old(&path)] {
            fs::write(&path, &whole).unwrap();
            fs::write(&spoils, &bytes).unwrap();
            let (mut journal, _) = Journal::open_in(&path, "boot").unwrap();
            journal.store(&[call(1, Some(b"x"))]).unwrap();
            drop(journal);
            let (_, left) = Journal::open_in(&path, "boot").unwrap();
            assert!(left.contains(&(Key::Call(1), b"x".to_vec())));
            let _ = fs::remove_file(old(&path));
        }
    }
}

/// Bits that have turned are not taken for a torn end: nothing of such a file is
/// believed, and it is there to be looked at.
#[test]
fn a_damaged_file_is_put_aside() {
    let path = file("aside");
    filled(&path);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(Journal::open_in(&path, "boot").unwrap().1, []);
    assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bytes);
}

/// The files stay small however much is written, and at any moment a new run finds
/// exactly what is alive.
#[test]
fn what_is_over_is_left_behind() {
    let path = file("long");
    let (mut journal, _) = Journal::open_in(&path, "boot").unwrap();
    let mut alive: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut random = 7_u32;
    let mut draw = move |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    let (mut written, mut largest, mut left_behind) = (0, 0, 0);
    for turn in 0..12_000 {
        let id = draw(300);
        let entry = if draw(4) == 0 {
            alive.remove(&id);
            call(id, None)
        } else {
            // A new text, a short part, and what there was: parts of before.
            let new = vec![draw(256) as u8; draw(9_000) as usize];
            let short = turn.to_string();
            let was = alive.get(&id).map_or(&[][..], Vec::as_slice);
            let (one, other) = was.split_at(was.len().min(2_000) / 2);
            let other = &other[..other.len().min(1_000)];
            let parts = [one, short.as_bytes(), new.as_slice(), other];
            written += parts.concat().len() as u64;
            let entry = in_parts(id, &parts);
            alive.insert(id, parts.concat());
            entry
        };
        let began = old(&path).exists();
        journal.store(&[entry]).unwrap();
        left_behind += u32::from(!began && old(&path).exists());
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        largest = largest.max(size(&path) + size(&old(&path)));
        // Killed, now and then, also between two files.
        if turn % 331 == 0 || (old(&path).exists() && turn % 29 == 0) {
            let (again, left) = Journal::open_in(&path, "boot").unwrap();
            journal = again;
            let mut expected: Vec<Left> = alive
                .iter()
                .map(|(id, value)| (Key::Call(*id), value.clone()))
                .collect();
            expected.sort();
            assert!(left == expected, "turn {turn}");
        }
    }
    assert!(left_behind > 3, "{left_behind} times");
    assert!(written > 3 * largest, "{written} written, {largest} kept");
    assert!(largest < 10 << 20, "{largest}");
}
