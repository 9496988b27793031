//! The daemon's side of the table: the only one that writes.
//!
//! Buckets are mapped into memory, since a slot has to be written at once, which no
//! system call promises. Records are written by system calls, before the slot that
//! points to them.

extern crate std;

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::string::{String, ToString};
use std::time::{Duration, Instant};
use std::vec::Vec;

use aya::maps::{Array, Map, MapData, MapError};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{
    Bucket, FlowRecord, GONE, LAST, RecordKey, SLOTS, TableShape, buckets, is_elsewhere, partner,
    record_of, slot, tag, tag_of,
};
use crate::flow::{FlowAction, FlowKey};

/// A program has done with a record long before this: it takes less than a microsecond.
const READ: Duration = Duration::from_millis(1);

/// Why the table does not take a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no room for it.
    Full,
    /// The kernel does not do it.
    Kernel(String),
}

impl core::fmt::Display for Refused {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full => to.write_str("the flow table is full"),
            Self::Kernel(error) => write!(to, "the kernel refused: {error}"),
        }
    }
}

impl core::error::Error for Refused {}

/// The maps of the table.
pub struct Maps {
    /// [`crate::map::FLOW_BUCKETS`].
    pub buckets: Map,
    /// [`crate::map::FLOW_RECORDS`].
    pub records: Map,
    /// [`crate::map::FLOW_SHAPE`].
    pub shape: Map,
}

/// The table, to be read and written. One at a time writes.
pub struct Writer {
    buckets: Mapped,
    records: Array<MapData, FlowRecord>,
    shape: TableShape,
    /// Records that nothing points to, and never did.
    fresh: Vec<u32>,
    /// Records that nothing points to any more, and since when; the longest ago first.
    resting: VecDeque<(u32, Instant)>,
}

impl TableShape {
    /// Of a new table with room for so many flows.
    pub fn new(flows: u32) -> Self {
        Self {
            seed: RandomState::new().hash_one(flows),
            mask: buckets(flows) - 1,
            reserved: 0,
        }
    }

    /// Of the table whose map this is; `None`: it is a new one's.
    ///
    /// # Errors
    ///
    /// It is another map, or the kernel refuses.
    pub fn kept(map: Map) -> Result<Option<Self>, MapError> {
        let shape = Array::<_, Self>::try_from(map)?.get(&0, 0)?;
        Ok((shape != Self::default()).then_some(shape))
    }

    /// Keeps it for those who come later.
    ///
    /// # Errors
    ///
    /// As [`Self::kept`].
    pub fn keep(self, map: &mut Map) -> Result<(), MapError> {
        Array::<_, Self>::try_from(map)?.set(0, self, 0)
    }
}

/// Where a flow is.
struct Place {
    bucket: u32,
    slot: usize,
    record: u32,
}

impl Writer {
    /// Takes the maps, with the flows that are in them.
    ///
    /// # Errors
    ///
    /// They are not the maps of a table, or the kernel refuses.
    pub fn of(maps: Maps) -> Result<Self, MapError> {
        let buckets = Mapped::of(maps.buckets)?;
        let records = Array::<_, FlowRecord>::try_from(maps.records)?;
        let shape = Array::<_, TableShape>::try_from(maps.shape)?.get(&0, 0)?;
        if shape.mask.checked_add(1) != Some(buckets.len()) {
            return Err(MapError::OutOfBounds {
                index: shape.mask,
                max_entries: buckets.len(),
            });
        }
        let used: HashSet<u32> = buckets
            .taken()
            .map(|(_, _, slot)| record_of(slot))
            .collect();
        let fresh = (0..records.len()).rev();
        Ok(Self {
            fresh: fresh.filter(|record| !used.contains(record)).collect(),
            resting: VecDeque::new(),
            buckets,
            records,
            shape,
        })
    }

    /// The flows in it.
    ///
    /// # Errors
    ///
    /// A record cannot be read.
    pub fn flows(&self) -> impl Iterator<Item = Result<(FlowKey, FlowAction), MapError>> {
        self.buckets.taken().map(|(_, _, slot)| {
            let record = self.records.get(&record_of(slot), 0)?;
            Ok(((&record.key).into(), record.action))
        })
    }

    /// Slots that are not zero: of flows, and what they have left in last slots.
    pub fn slots_taken(&self) -> usize {
        let buckets = 0..self.buckets.len();
        let slots = buckets.flat_map(|bucket| self.buckets.of_one(bucket));
        slots.filter(|slot| *slot != 0).count()
    }

    /// What is done with a flow; `None`: it is not there.
    ///
    /// # Errors
    ///
    /// Its record cannot be read.
    pub fn get(&self, key: &FlowKey) -> Result<Option<FlowAction>, MapError> {
        let key = RecordKey::from(key);
        let Some(place) = self.find(&key)? else {
            return Ok(None);
        };
        Ok(Some(self.records.get(&place.record, 0)?.action))
    }

    /// Puts a flow in, or in the place of the one that is there.
    ///
    /// # Errors
    ///
    /// There is no room, or the kernel refuses; what was there stays.
    pub fn put(&mut self, key: &FlowKey, action: &FlowAction) -> Result<(), Refused> {
        let key = RecordKey::from(key);
        let hash = key.hash(&self.shape);
        let there = self.find(&key).map_err(refused)?;
        let (bucket, at) = match &there {
            Some(place) => (place.bucket, place.slot),
            None => self.room(self.shape.bucket(hash), tag(hash))?,
        };
        let record = self.free_record().ok_or(Refused::Full)?;
        let flow = FlowRecord {
            key,
            action: *action,
            reserved: 0,
        };
        if let Err(error) = self.records.set(record, flow, 0) {
            self.fresh.push(record);
            return Err(refused(error));
        }
        let elsewhere = bucket != self.shape.bucket(hash);
        self.buckets
            .write(bucket, at, slot(hash, record, elsewhere));
        if let Some(place) = there {
            self.rest(place.record);
        }
        Ok(())
    }

    /// Takes a flow out; `false`: it is not there.
    ///
    /// # Errors
    ///
    /// Its record cannot be read.
    pub fn remove(&mut self, key: &FlowKey) -> Result<bool, MapError> {
        let Some(place) = self.find(&RecordKey::from(key))? else {
            return Ok(false);
        };
        let was = self.buckets.read(place.bucket, place.slot);
        let others = place.slot == LAST && self.has_others(place.bucket);
        let now = if others { GONE } else { 0 };
        self.buckets.write(place.bucket, place.slot, now);
        let home = partner(place.bucket);
        if is_elsewhere(was) && self.buckets.read(home, LAST) == GONE && !self.has_others(home) {
            self.buckets.write(home, LAST, 0);
        }
        self.rest(place.record);
        Ok(true)
    }

    /// Whether the partner of a bucket has what found no room in it.
    fn has_others(&self, bucket: u32) -> bool {
        self.buckets.of_one(partner(bucket)).any(is_elsewhere)
    }

    fn find(&self, key: &RecordKey) -> Result<Option<Place>, MapError> {
        let hash = key.hash(&self.shape);
        let bucket = self.shape.bucket(hash);
        for bucket in [bucket, partner(bucket)] {
            let slots = self.buckets.of_one(bucket);
            for (slot, value) in slots.enumerate().filter(|(_, v)| tag_of(*v) == tag(hash)) {
                let record = record_of(value);
                if self.records.get(&record, 0)?.key == *key {
                    return Ok(Some(Place {
                        bucket,
                        slot,
                        record,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// A free slot. A tag that is there already is another flow's: a program compares
    /// one record only, so the second of them has no room. (Of 2^31.)
    fn room(&self, bucket: u32, tag: u32) -> Result<(u32, usize), Refused> {
        let both = [bucket, partner(bucket)];
        let mut slots = both.into_iter().flat_map(|b| self.buckets.of_one(b));
        if slots.any(|slot| tag_of(slot) == tag) {
            return Err(Refused::Full);
        }
        let is_free = |slot: u64| slot == 0 || slot == GONE;
        both.into_iter()
            .find_map(|bucket| Some((bucket, self.buckets.of_one(bucket).position(is_free)?)))
            .ok_or(Refused::Full)
    }

    fn free_record(&mut self) -> Option<u32> {
        match self.resting.front() {
            Some((_, since)) if since.elapsed() >= READ => {}
            Some((_, since)) if self.fresh.is_empty() => {
                std::thread::sleep(READ.saturating_sub(since.elapsed()));
            }
            _ => return self.fresh.pop(),
        }
        self.resting.pop_front().map(|(record, _)| record)
    }

    fn rest(&mut self, record: u32) {
        self.resting.push_back((record, Instant::now()));
    }
}

fn refused(error: MapError) -> Refused {
    Refused::Kernel(error.to_string())
}

/// The buckets, in this process's memory too.
struct Mapped {
    slots: NonNull<AtomicU64>,
    octets: NonZeroUsize,
    buckets: u32,
}

// SAFETY: what the pointer leads to is shared with the kernel anyway, and made of atomics.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn of(map: Map) -> Result<Self, MapError> {
        let Map::Array(map) = map else {
            return Err(MapError::InvalidMapType { map_type: 0 });
        };
        let info = map.info()?;
        let buckets = info.max_entries();
        let size = info.value_size() as usize;
        if buckets < 2 || !buckets.is_power_of_two() || size != size_of::<Bucket>() {
            return Err(MapError::InvalidValueSize {
                size,
                expected: size_of::<Bucket>(),
            });
        }
        let octets = NonZeroUsize::MIN.saturating_add(buckets as usize * size - 1);
        // SAFETY: a new mapping, of an array that the kernel lets be mapped whole.
        let start = unsafe {
            mmap(
                None,
                octets,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map.fd(),
                0,
            )
        };
        Ok(Self {
            slots: start.map_err(io::Error::from)?.cast(),
            octets,
            buckets,
        })
    }

    fn len(&self) -> u32 {
        self.buckets
    }

    fn at(&self, bucket: u32, slot: usize) -> &AtomicU64 {
        let index = (bucket as usize % self.buckets as usize) * SLOTS + slot % SLOTS;
        // SAFETY: within the mapping, which is there as long as `self`; aligned to pages,
        // and everything in it is of 64 bits.
        unsafe { self.slots.add(index).as_ref() }
    }

    fn read(&self, bucket: u32, slot: usize) -> u64 {
        self.at(bucket, slot).load(Ordering::Acquire)
    }

    /// After whatever was written before it.
    fn write(&self, bucket: u32, slot: usize, value: u64) {
        self.at(bucket, slot).store(value, Ordering::Release);
    }

    fn of_one(&self, bucket: u32) -> impl Iterator<Item = u64> {
        (0..SLOTS).map(move |slot| self.read(bucket, slot))
    }

    /// Slots with a flow in them: bucket, place, value.
    fn taken(&self) -> impl Iterator<Item = (u32, usize, u64)> {
        let all = (0..self.buckets).flat_map(|bucket| (0..SLOTS).map(move |slot| (bucket, slot)));
        all.map(|(bucket, slot)| (bucket, slot, self.read(bucket, slot)))
            .filter(|(_, _, value)| *value != 0 && *value != GONE)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping of `of`, whose only user goes.
        let _ = unsafe { munmap(self.slots.cast(), self.octets.get()) };
    }
}
