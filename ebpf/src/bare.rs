//! Programs that do next to nothing, for benches and labs; no part of Sidestep.

#![no_std]
#![no_main]

use aya_ebpf::{bindings::xdp_action, helpers::bpf_redirect, macros::xdp, programs::XdpContext};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The least that a program that sends packets back has to do, beside which
/// `uplink` is measured.
#[xdp]
pub fn swap_macs(ctx: XdpContext) -> xdp_action::Type {
    if swap(&ctx) {
        xdp_action::XDP_TX
    } else {
        xdp_action::XDP_PASS
    }
}

/// The same by `bpf_redirect`, which a veth takes from any peer: what the way to an
/// uplink and back costs. Who asks for the host's address (ARP) gets an answer: else the
/// sender knows no way there after some seconds.
#[xdp]
pub fn redirect_back(ctx: XdpContext) -> xdp_action::Type {
    if !is_arp(&ctx) && swap(&ctx) {
        // SAFETY: a helper that takes integers.
        unsafe { bpf_redirect(ctx.ingress_ifindex() as u32, 0) as xdp_action::Type }
    } else {
        xdp_action::XDP_PASS
    }
}

#[inline(always)]
fn is_arp(ctx: &XdpContext) -> bool {
    let (data, data_end) = (ctx.data(), ctx.data_end());
    // SAFETY: fourteen octets are there.
    data + 14 <= data_end && unsafe { *((data + 12) as *const u16) } == 0x0806u16.to_be()
}

#[inline(always)]
fn swap(ctx: &XdpContext) -> bool {
    let (data, data_end) = (ctx.data(), ctx.data_end());
    if data + 12 > data_end {
        return false;
    }
    // Frames begin at even addresses: two octets at a time.
    let macs = data as *mut [[u16; 3]; 2];
    // SAFETY: twelve octets are there.
    unsafe {
        let [dst, src] = *macs;
        *macs = [src, dst];
    }
    true
}

/// A veth takes frames that XDP sends (`XDP_TX`) only from a peer that has a
/// program itself.
#[xdp]
pub fn pass(_ctx: XdpContext) -> xdp_action::Type {
    xdp_action::XDP_PASS
}

/// Nothing here can panic: the linker drops this function.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
