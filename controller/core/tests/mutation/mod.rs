//! Bytes that are almost messages, the same every time.
#![allow(dead_code)]

/// xorshift64*: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// The files of a folder of test data, by name.
pub fn fixtures(directory: &str) -> Vec<(String, Vec<u8>)> {
    let path = format!("{}/tests/data/{directory}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Bytes that parsers look at.
pub const TELLING: &[u8] = b"\r\n\0 \t:;,=/<>\"\\@[]0123456789vocmaSIP\x7f\x80\xff";

/// The same bytes with a few cuts, doublings and odd bytes.
pub fn mutate(random: &mut Random, original: &[u8]) -> Vec<u8> {
    mutate_with(random, original, TELLING)
}

/// The same, with bytes that another parser looks at.
pub fn mutate_with(random: &mut Random, original: &[u8], telling: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, telling[random.below(telling.len())]),
            2 if at < bytes.len() => bytes[at] = telling[random.below(telling.len())],
            3 => {
                let end = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + random.below(40)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
        }
    }
    bytes
}
