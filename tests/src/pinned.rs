//! The daemon's pinned maps, from outside: how many entries each has.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData};
use sidestep_abi::door::{
    ConnectionKey, FragmentKey, Neighbour, NeighbourKey, UnreadKey, UnreadSeen, Vm,
};
use sidestep_abi::flow::{Address, AnchorKey, Vlan, VlanKey};
use sidestep_abi::map;
use sidestep_abi::table::Bucket;

use crate::lab::Lab;

/// Maps whose entries are always all there: arrays, and what is no table.
const FIXED: [&str; 9] = [
    map::FLOW_RECORDS,
    map::FLOW_SHAPE,
    map::FLOW_STATS,
    map::DOORS,
    map::DOOR_NS,
    map::DOOR_SOCKETS,
    map::LEASE,
    map::COUNTERS,
    map::EVENTS,
];

/// The number of entries of each map that grows and shrinks, by its name.
///
/// # Errors
///
/// A map is of another type than it is told here, or one is pinned that is not.
pub fn entries(lab: &Lab) -> Result<BTreeMap<String, usize>> {
    let directory = lab.pins().join(format!("v{}", sidestep_abi::VERSION));
    let mut entries = BTreeMap::new();
    for file in std::fs::read_dir(&directory)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if FIXED.contains(&name.as_str()) || !file.file_type()?.is_file() || is_link(&name) {
            continue;
        }
        let count = count(&file.path(), &name).with_context(|| format!("map {name}"))?;
        entries.insert(name, count);
    }
    Ok(entries)
}

/// Links are pinned beside the maps, whose names alone are all in capitals.
fn is_link(name: &str) -> bool {
    name.chars().any(|letter| letter.is_ascii_lowercase())
}

fn count(pin: &Path, name: &str) -> Result<usize> {
    match name {
        map::FLOW_BUCKETS => slots(pin),
        map::ANCHORS => keys::<AnchorKey, u32>(pin),
        map::FOREIGN_SEEN => keys::<AnchorKey, u64>(pin),
        map::UPLINKS => keys::<u32, [u8; 6]>(pin),
        map::VLANS => keys::<VlanKey, Vlan>(pin),
        map::SIGNALLING_PORTS => keys::<u16, u8>(pin),
        map::VMS => keys::<Address, Vm>(pin),
        map::NEIGHBOURS => keys::<NeighbourKey, Neighbour>(pin),
        map::CONNECTIONS => keys::<ConnectionKey, u64>(pin),
        map::UNREAD => keys::<UnreadKey, UnreadSeen>(pin),
        map::FRAGMENTS => keys::<FragmentKey, u64>(pin),
        _ => bail!("its entries are not counted"),
    }
}

/// Slots of the flow table that have something in them.
fn slots(pin: &Path) -> Result<usize> {
    let map = Map::from_map_data(MapData::from_pin(pin)?)?;
    let map: Array<MapData, Slots> = Array::try_from(map)?;
    let taken = |bucket: Slots| bucket.0.iter().filter(|slot| **slot != 0).count();
    map.iter().map(|bucket| Ok(taken(bucket?))).sum()
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Slots(Bucket);

// SAFETY: plain integers.
unsafe impl Pod for Slots {}

fn keys<K: Pod, V: Pod>(pin: &Path) -> Result<usize> {
    let map = Map::from_map_data(MapData::from_pin(pin)?)?;
    let map: HashMap<MapData, K, V> = HashMap::try_from(map)?;
    Ok(map.keys().filter(Result::is_ok).count())
}
