//! VLANs of the host's own: a frame behind tags is addressed to the interface in that
//! VLAN, and leaves by another with that one's tags, or none. The host's routes are
//! between these interfaces; frames cross the uplinks below them.
//!
//! In: a frame behind up to two tags. Out: which interface it is for; the frame with
//! other MACs and tags.

use aya_ebpf::programs::XdpContext;
use sidestep_abi::flow::VlanKey;

use crate::{
    cross::grow,
    maps::VLANS,
    packet::{Frame, Mac, UNTAGGED, Window},
    verdict::Refusal,
    wide::{load_4, opaque, store_4},
};

/// Octets of a tag.
const TAG: usize = 4;

/// MACs and two tags, at most: an IP header is longer than what they take.
const LONGEST: usize = UNTAGGED + 2 * TAG;

/// What a frame leaves with.
pub struct Leaves {
    pub dst: Mac,
    pub src: Mac,
    /// Outer first; zero: none.
    pub tags: [u32; 2],
    pub ethertype_be: u16,
}

/// The host's interface that a frame behind tags is addressed to; 0: none.
#[inline(never)]
pub fn addressed_to(ctx: &XdpContext, l3: usize) -> u32 {
    let ctx = &XdpContext::new(opaque(ctx.ctx as usize) as *mut _);
    let window = Window::of_xdp(ctx);
    let (Ok(frame), Some(start)) = (Frame::of(&window), window.at::<[u8; LONGEST]>(0)) else {
        return 0;
    };
    // Without priority and drop eligibility.
    let vlan = u32::from_ne_bytes([0xff, 0xff, 0x0f, 0xff]);
    // SAFETY: `at` checked the bounds.
    let tag = |at: usize| unsafe { load_4(start.cast::<u8>().add(at)) } & vlan;
    let key = VlanKey {
        ifindex: ctx.ingress_ifindex() as u32,
        tags: [
            tag(UNTAGGED - 2),
            if l3 > UNTAGGED + TAG {
                tag(UNTAGGED - 2 + TAG)
            } else {
                0
            },
        ],
    };
    // SAFETY: written as a whole by the daemon, when an interface appears.
    match unsafe { VLANS.get(key) } {
        Some(vlan) if frame.eth().dst == vlan.mac => vlan.ifindex,
        _ => 0,
    }
}

/// Gives a frame whose IP begins at `l3` other MACs and tags.
#[inline(never)]
pub fn leave(ctx: &XdpContext, l3: usize, leaves: &Leaves) -> Result<(), Refusal> {
    let ctx = &XdpContext::new(opaque(ctx.ctx as usize) as *mut _);
    let [outer, inner] = leaves.tags;
    let tags = TAG * ((outer != 0) as usize + (inner != 0) as usize);
    let later = l3 as i32 - (UNTAGGED + tags) as i32;
    if later != 0 {
        grow(ctx, later)?;
    }
    let window = Window::of_xdp(ctx);
    let (Ok(mut frame), Some(start)) = (Frame::of(&window), window.at::<[u16; LONGEST / 2]>(0))
    else {
        return Err(Refusal::Truncated);
    };
    frame.set_macs(&leaves.dst, &leaves.src);
    // SAFETY: `at` checked the bounds; a tag is two words.
    unsafe {
        let mut words = start.cast::<u16>().add(6);
        if outer != 0 {
            store_4(words, outer);
            words = words.add(2);
            if inner != 0 {
                store_4(words, inner);
                words = words.add(2);
            }
        }
        words.write(leaves.ethertype_be);
    }
    Ok(())
}
