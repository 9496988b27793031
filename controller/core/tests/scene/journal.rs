//! What a daemon would have on its disk.

use std::collections::BTreeMap;

use sidestep_core::engine::{Engine, Entry, Key};

/// Entries as they came, newest wins.
#[derive(Debug, Default)]
pub struct Stored(BTreeMap<String, Vec<u8>>);

impl Stored {
    pub fn take_from(&mut self, engine: &mut Engine) {
        for entry in engine.take_journal() {
            self.put(entry);
        }
    }

    pub fn put(&mut self, entry: Entry) {
        match entry.value {
            Some(value) => self.0.insert(entry.key.to_string(), value.into_bytes()),
            None => self.0.remove(&entry.key.to_string()),
        };
    }

    pub fn entries(&self) -> Vec<(Key, Vec<u8>)> {
        let read = |(key, value): (&String, &Vec<u8>)| (key.parse().unwrap(), value.clone());
        self.0.iter().map(read).collect()
    }

    pub fn calls(&self) -> BTreeMap<&str, &[u8]> {
        let entries = self
            .0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        entries
            .filter(|(key, _)| key.starts_with("calls/"))
            .collect()
    }

    /// What has been stored bit by bit, as the daemon does it, is what there is.
    pub fn is_whole(&mut self, engine: &mut Engine) {
        self.take_from(engine);
        let mut whole = Self::default();
        for entry in engine.snapshot() {
            whole.put(entry);
        }
        assert_eq!(self.calls(), whole.calls());
    }
}
