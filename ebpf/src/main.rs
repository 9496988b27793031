//! Sidestep's kernel programs.
//!
//! | program | where | what comes in | what goes out |
//! | --- | --- | --- | --- |
//! | [`tap_from_vm`](tap::tap_from_vm) | tcx ingress of a tap | frames the VM sent | signalling into the Vm door; guarded media dropped; the rest as it came |
//! | [`tap_to_vm`](tap::tap_to_vm) | tcx egress of a tap | frames for the VM | signalling into the Net door; what is at an anchor rewritten and sent on; the rest as it came |
//! | [`door_out`](door::door_out) | tcx ingress of both doors' host ends | frames from the daemon's namespace | through the VM's tap, with the MACs that taken frames had |
//! | [`door_socket`](door::door_socket) | sk_lookup of that namespace | datagrams, whatever their port | the one socket of their side |
//! | [`uplink`](uplink::uplink) | XDP of an uplink | everything | media flows counted, forwarded or rewritten; the rest as it came |
//!
//! What these programs share with the daemon (maps, keys, counters) is
//! `sidestep-abi`. What becomes of a packet that a program refuses is decided in
//! one place, [`verdict`].

#![no_std]
#![no_main]
// For single loads of unaligned fields, see `wide`.
#![feature(asm_experimental_arch)]

mod anchor;
mod connections;
mod counters;
mod cross;
mod cross_errors;
mod door;
mod errors;
mod events;
mod flows;
mod fragments;
mod maps;
mod packet;
mod rewrite;
mod rtp_stats;
mod strangers;
mod tap;
mod unread;
mod uplink;
mod verdict;
mod vlan;
mod wide;

/// `bpf_fib_lookup` is offered to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Nothing here can panic: the linker drops this function, and a test looks for it.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
