//! Several fields of a packet in one load or store.
//!
//! Fields of a packet stand at even addresses, those of eight octets hardly ever
//! at a multiple of eight. The compiler would put such a load together from
//! pieces; worse, a map key stored in pieces makes the kernel's hash wait until
//! they have left the store buffer. Every machine with XDP worth the name loads
//! them at once, and the verifier knows where one does not.
//!
//! Octets stay in the order of the packet: what is loaded here is compared,
//! added up (RFC 1071 §2.B) or stored, never computed with.

use core::arch::asm;

/// Eight octets.
///
/// # Safety
///
/// They are within bounds, as the verifier will see.
#[inline(always)]
pub unsafe fn load_8<T>(from: *const T) -> u64 {
    let value;
    // SAFETY: reads only, within bounds by the caller's word.
    unsafe {
        asm!("{} = *(u64 *)({} + 0)", out(reg) value, in(reg) from,
            options(readonly, nostack, preserves_flags));
    }
    value
}

/// Four octets.
///
/// # Safety
///
/// As for [`load_8`].
#[inline(always)]
pub unsafe fn load_4<T>(from: *const T) -> u32 {
    let value: u64;
    // SAFETY: reads only, within bounds by the caller's word.
    unsafe {
        asm!("{} = *(u32 *)({} + 0)", out(reg) value, in(reg) from,
            options(readonly, nostack, preserves_flags));
    }
    value as u32
}

/// Six octets, as [`first_6`] has them.
///
/// # Safety
///
/// As for [`load_8`].
#[inline(always)]
pub unsafe fn load_6(from: *const [u8; 6]) -> u64 {
    // SAFETY: as the caller says.
    unsafe {
        let [a, b, c, d] = load_4(from).to_ne_bytes();
        let [e, f] = from.cast::<u16>().add(2).read().to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
    }
}

/// Eight octets.
///
/// # Safety
///
/// As for [`load_8`], and nothing else refers to them meanwhile.
#[inline(always)]
pub unsafe fn store_8<T>(to: *mut T, value: u64) {
    // SAFETY: writes eight octets, within bounds by the caller's word.
    unsafe {
        asm!("*(u64 *)({} + 0) = {}", in(reg) to, in(reg) value,
            options(nostack, preserves_flags));
    }
}

/// Four octets.
///
/// # Safety
///
/// As for [`store_8`].
#[inline(always)]
pub unsafe fn store_4<T>(to: *mut T, value: u32) {
    // SAFETY: writes four octets, within bounds by the caller's word.
    unsafe {
        asm!("*(u32 *)({} + 0) = {}", in(reg) to, in(reg) u64::from(value),
            options(nostack, preserves_flags));
    }
}

/// Of eight octets the first six, then two of zero: a MAC.
#[inline(always)]
pub const fn first_6(octets: u64) -> u64 {
    octets & u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])
}

/// The same, but the compiler does not know: a bound that it would leave out stays
/// for the verifier.
#[inline(always)]
pub fn opaque(value: usize) -> usize {
    let mut value = value;
    // SAFETY: moves a register to itself. (An empty line would have no instruction
    // to have its place in the line information.)
    unsafe {
        asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags));
    }
    value
}
