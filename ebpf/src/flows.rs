//! Finding a flow by its five-tuple, see [`sidestep_abi::table`]: without a call, as far
//! as the kernel has read the program.

use core::ptr::read_volatile;

use sidestep_abi::{
    flow::FlowAction,
    table::{
        Bucket, FlowRecord, Hash, LAST, RecordKey, SLOTS, TableShape, partner, record_of, tag,
    },
};

use crate::maps::{FLOW_BUCKETS, FLOW_RECORDS};

/// How five-tuples hash; the loader puts here what `FLOW_SHAPE` has, as a constant.
#[unsafe(no_mangle)]
static TABLE_SHAPE: TableShape = TableShape {
    seed: 0,
    mask: 0,
    reserved: 0,
};

/// A five-tuple as the table is asked for it.
pub trait Asked {
    /// Its hash.
    fn hash(&self, shape: &TableShape) -> Hash;

    /// Whether a record is of it.
    fn is(&self, key: &RecordKey) -> bool;
}

/// What is to be done with a flow, in a frame of its own: what is around has less to
/// keep on the stack.
#[inline(never)]
pub fn action_apart<A: Asked>(asked: &A) -> Option<&'static FlowAction> {
    action(asked)
}

/// What is to be done with a flow.
#[inline(always)]
pub fn action<A: Asked>(asked: &A) -> Option<&'static FlowAction> {
    // SAFETY: a value of this type. The compiler must not take what it finds there for
    // what the loader puts there.
    let shape = unsafe { read_volatile(&raw const TABLE_SHAPE) };
    let hash = asked.hash(&shape);
    let home = shape.bucket(hash);
    let bucket = FLOW_BUCKETS.get(home)?;
    let found = match find(bucket, hash) {
        NONE if tag_at(bucket, LAST) == 0 => return None,
        NONE => in_the_partner(home, hash),
        found => found,
    };
    if found == NONE {
        return None;
    }
    let record: &FlowRecord = FLOW_RECORDS.get(record_of(found as u64))?;
    asked.is(&record.key).then_some(&record.action)
}

/// No slot's lower half: so many records there are not.
const NONE: u32 = u32::MAX;

/// What found no room where it belongs.
#[inline(never)]
fn in_the_partner(home: u32, hash: Hash) -> u32 {
    match FLOW_BUCKETS.get(partner(home)) {
        Some(bucket) => find(bucket, hash),
        None => NONE,
    }
}

/// The lower half of the slot with the tag. (If the daemon writes the slot between one
/// half and the other, the record is that of a flow which has just gone or come.)
#[inline(always)]
fn find(bucket: &Bucket, hash: Hash) -> u32 {
    let mut at = 0;
    while at < SLOTS {
        if tag_at(bucket, at) == tag(hash) {
            return half(bucket, at, !TAG_HALF & 1);
        }
        at += 1;
    }
    NONE
}

#[inline(always)]
fn tag_at(bucket: &Bucket, at: usize) -> u32 {
    half(bucket, at, TAG_HALF)
}

/// Which half of a slot, in the order of memory, is the upper one.
const TAG_HALF: usize = cfg!(target_endian = "little") as usize;

/// Half a slot, read once: the daemon may write it at any time.
#[inline(always)]
fn half(bucket: &Bucket, at: usize, half: usize) -> u32 {
    // SAFETY: within the bucket, since `at` is below its length wherever it is called,
    // and `half` is 0 or 1.
    unsafe { read_volatile(bucket.as_ptr().cast::<u32>().add(2 * at + half)) }
}
