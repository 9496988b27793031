//! tcx on the taps: signalling goes into the doors, the bypassed VM's own media
//! is dropped, relayed media is counted, what comes to an anchor is steered ([`anchor`]),
//! and everything else passes.
//!
//! A frame that the daemon sent back through a tap carries that tap's mark; it
//! passes once, without it.

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, bpf_redirect, bpf_skb_vlan_pop},
    macros::classifier,
    programs::TcContext,
};
use sidestep_abi::{
    counter::Counter,
    door::{self, Door, MARK, Neighbour, NeighbourKey, PortClass, Side, Tag, Unread, Vm},
    flow::{Address, FlowAction, FlowKind},
};

use crate::{
    anchor, connections, fragments,
    maps::{DOORS, LEASE, NEIGHBOURS, SIGNALLING_PORTS, VMS},
    packet::{
        Content, Ethernet, FiveTuple, Fragment, Frame, Ip, Ipv4, Ipv6, Packet, Parsed, UNTAGGED,
        Window,
    },
    rtp_stats, unread,
    verdict::{self, Handled, Refusal, Verdict},
};

const GUARD: u8 = FlowKind::Guard as u8;
const RELAY: u8 = FlowKind::Relay as u8;
const GATEWAY: u8 = PortClass::Gateway as u8;
const GATEWAY_DATAGRAMS: u8 = PortClass::GatewayDatagrams as u8;
const REGISTRAR: u8 = PortClass::Registrar as u8;
const ENCRYPTED: u8 = PortClass::Encrypted as u8;

/// The chunk that begins an association (RFC 9260 §3.3.2).
const SCTP_INIT: u8 = 1;

/// Key of the neighbour that a VM talked to last.
pub const ANYWHERE: Address = [0; 16];

/// `bpf_redirect` says so when it took the frame.
const TC_ACT_REDIRECT: i64 = 7;

/// tcx ingress: the VM sent this.
#[classifier]
pub fn tap_from_vm(ctx: TcContext) -> i32 {
    verdict::tcx(meet(&ctx, Side::Vm))
}

/// tcx egress: the VM is about to get this.
#[classifier]
pub fn tap_to_vm(ctx: TcContext) -> i32 {
    verdict::tcx(meet(&ctx, Side::Net))
}

#[inline(always)]
fn meet(ctx: &TcContext, side: Side) -> Verdict {
    // SAFETY: fields of the context that every kernel with tcx has.
    let (ifindex, mark) = unsafe {
        let skb = ctx.skb.skb;
        ((*skb).ifindex, (*skb).mark)
    };
    if mark == own_mark(ifindex) {
        ctx.set_mark(0);
        return Err(Refusal::NotOurs);
    }
    let window = Window::of_skb(ctx)?;
    let frame = Frame::of(&window)?;
    match frame.content() {
        Content::Ipv4 => one_after_the_other::<Ipv4>(ctx, side, ifindex),
        Content::Ipv6 => one_after_the_other::<Ipv6>(ctx, side, ifindex),
        // One tag stands beside the frame, not in it: this is a second.
        Content::Tag => Err(Refusal::Tagged),
        Content::Other => Err(Refusal::NotOurs),
    }
}

/// What is in a packet, as far as a first look tells.
enum Look {
    /// What has been dealt with.
    Handled(Handled),
    /// A datagram of signalling, by its ports, or its first fragment.
    Signalling,
    /// A segment of TCP.
    Stream,
    /// A packet of SCTP.
    Association,
    /// A datagram to an anchor.
    Anchored,
    /// An ICMP message.
    Error,
}

/// Several looks, each with the stack for itself.
#[inline(always)]
fn one_after_the_other<I: Ip>(ctx: &TcContext, side: Side, ifindex: u32) -> Verdict {
    match look::<I>(ctx, side, ifindex)? {
        Look::Handled(handled) => Ok(handled),
        Look::Signalling => signalling::<I>(ctx, side, ifindex),
        Look::Stream => stream::<I>(ctx, side, ifindex),
        Look::Association => association::<I>(ctx, side, ifindex),
        Look::Anchored => anchor::meet::<I>(ctx, ifindex),
        Look::Error => anchor::meet_error::<I>(ctx, ifindex),
    }
}

#[inline(never)]
fn look<I: Ip>(ctx: &TcContext, side: Side, ifindex: u32) -> Result<Look, Refusal> {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    if packet.ip().is_tcp() {
        return Ok(Look::Stream);
    }
    if packet.ip().is_sctp() {
        return Ok(Look::Association);
    }
    if matches!(side, Side::Net) && packet.ip().is_icmp() {
        return Ok(Look::Error);
    }
    let parsed = packet.parse(&window)?;
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if parsed.fragment == Fragment::Later {
        return later_fragment(ctx, packet, &parsed, side, now_ns).map(Look::Handled);
    }
    let datagram = packet.udp(&window, &parsed)?;
    let key = datagram.key();
    let action = key.action();
    if matches!(side, Side::Net) && action.is_some_and(anchor::is_for) {
        return Ok(Look::Anchored);
    }
    if let Some(action) = media(action, &key, side, now_ns) {
        if parsed.fragment == Fragment::First {
            return Err(Refusal::MediaFragment);
        }
        let counted = rtp_stats::count(action, &datagram, &window, ifindex);
        rtp_stats::time(counted, || now_ns);
        return Ok(Look::Handled(if action.kind == GUARD {
            Handled::Dropped(Counter::Guarded)
        } else {
            Handled::Passed(Counter::Relayed)
        }));
    }
    if is_signalling(&key, side) {
        return Ok(Look::Signalling);
    }
    match side {
        Side::Vm => Err(Refusal::NotOurs),
        Side::Net => Ok(Look::Anchored),
    }
}

/// The mark of frames that come back through this tap.
#[inline(always)]
pub const fn own_mark(ifindex: u32) -> u32 {
    MARK | (ifindex & 0xffff)
}

/// What is to be done with a packet of media. A guard may stand for every port of
/// the VM's, its key's source port zero: while a softphone rings, nobody knows
/// the port that it will send from. Such a guard holds only while the daemon lives:
/// without it the call is set up through the VM, which is to be heard then.
#[inline(always)]
fn media<K: FiveTuple>(
    action: Option<&'static FlowAction>,
    key: &K,
    side: Side,
    now_ns: u64,
) -> Option<&'static FlowAction> {
    if let Some(action) = action
        && is_for_tap(action, side)
    {
        return Some(action);
    }
    if matches!(side, Side::Net) {
        return None;
    }
    match key.with_any_source_port().action() {
        Some(action) if action.kind == GUARD && is_served(now_ns) => Some(action),
        _ => None,
    }
}

/// Media of the VM's is guarded where the VM sends it, relayed media counted on
/// both ways.
#[inline(always)]
fn is_for_tap(action: &FlowAction, side: Side) -> bool {
    match action.kind {
        GUARD => matches!(side, Side::Vm),
        RELAY => true,
        _ => false,
    }
}

#[inline(always)]
fn is_signalling<K: FiveTuple>(key: &K, side: Side) -> bool {
    match class_of(key.dst_port_be()) {
        GATEWAY | GATEWAY_DATAGRAMS => true,
        REGISTRAR if matches!(side, Side::Net) => true,
        _ => matches!(class_of(key.src_port_be()), GATEWAY | GATEWAY_DATAGRAMS),
    }
}

/// The class of a port, 0 if it has none. (Not an Option: its payload would be
/// read uninitialised, which the verifier refuses.)
#[inline(always)]
fn class_of(port_be: u16) -> u8 {
    // SAFETY: one byte.
    match unsafe { SIGNALLING_PORTS.get(port_be) } {
        Some(class) => *class,
        None => 0,
    }
}

/// A datagram of signalling. (Looked at anew: what was known of it would not fit
/// on one stack with what follows.)
#[inline(never)]
fn signalling<I: Ip>(ctx: &TcContext, side: Side, ifindex: u32) -> Verdict {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    let parsed = packet.parse(&window)?;
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    known_vm(&packet, side, ifindex)?;
    not_for_others(packet.frame)?;
    let door = open_door(side, now_ns)?;
    take(ctx, packet, &parsed, side, door, now_ns)
}

/// A TCP segment: taken if its connection is, or begins (see [`connections`]).
#[inline(never)]
fn stream<I: Ip>(ctx: &TcContext, side: Side, ifindex: u32) -> Verdict {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    let parsed = packet.parse_tcp(&window)?;
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if parsed.fragment == Fragment::Later {
        return later_fragment(ctx, packet, &parsed, side, now_ns);
    }
    let segment = packet.tcp(&window, &parsed)?;
    let (src_port_be, dst_port_be) = (segment.tcp().src_port_be, segment.tcp().dst_port_be);
    let (src_class, dst_class) = (class_of(src_port_be), class_of(dst_port_be));
    let to_registrar = dst_class == REGISTRAR && matches!(side, Side::Net);
    let is_encrypted = dst_class == ENCRYPTED || src_class == ENCRYPTED && dst_class != GATEWAY;
    if is_encrypted && !to_registrar {
        known_vm(&packet, side, ifindex)?;
        let (vm, _) = ends(&packet, side);
        return Err(unread::note(vm, Unread::Encrypted, segment.opens(), now_ns));
    }
    if dst_class != GATEWAY && src_class != GATEWAY && !to_registrar {
        return Err(Refusal::NotOurs);
    }
    let vm = known_vm(&packet, side, ifindex)?;
    not_for_others(packet.frame)?;
    let key = connections::key(&segment, side);
    let door = if segment.opens() {
        match open_door(side, now_ns) {
            Ok(door) => {
                connections::begin(&key, vm, now_ns)?;
                door
            }
            Err(refusal) => {
                // It begins anew, between the two alone.
                connections::forget(&key);
                return Err(refusal);
            }
        }
    } else {
        connections::go_on(&key, now_ns)?;
        door(side)?
    };
    take(ctx, packet, &parsed, side, door, now_ns)
}

/// A packet of SCTP: it passes, and where its ports are those of signalling that is
/// noted.
#[inline(never)]
fn association<I: Ip>(ctx: &TcContext, side: Side, ifindex: u32) -> Verdict {
    let window = Window::of_skb(ctx)?;
    let packet = Frame::of(&window)?.packet::<I>(&window, UNTAGGED)?;
    let parsed = packet.parse_sctp(&window)?;
    if parsed.fragment == Fragment::Later {
        return Err(Refusal::NotOurs);
    }
    let sctp = packet.sctp(&window, &parsed)?;
    let (src_port_be, dst_port_be) = (sctp.src_port_be, sctp.dst_port_be);
    let begins = sctp.chunk == SCTP_INIT;
    let is_signalling = |class: u8| class != 0 && class != REGISTRAR;
    if !is_signalling(class_of(dst_port_be)) && !is_signalling(class_of(src_port_be)) {
        return Err(Refusal::NotOurs);
    }
    known_vm(&packet, side, ifindex)?;
    let (vm, _) = ends(&packet, side);
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    Err(unread::note(vm, Unread::Sctp, begins, now_ns))
}

/// The VM that a packet is of, if it is one of this tap's.
#[inline(always)]
fn known_vm<I: Ip>(packet: &Packet<I>, side: Side, ifindex: u32) -> Result<&'static Vm, Refusal> {
    let (vm, _) = ends(packet, side);
    // SAFETY: two aligned words, written together.
    match unsafe { VMS.get(vm) } {
        Some(vm) if vm.ifindex == ifindex => Ok(vm),
        _ => Err(Refusal::NotOurVm),
    }
}

/// The VM's address and the other one.
#[inline(always)]
fn ends<I: Ip>(packet: &Packet<I>, side: Side) -> (Address, Address) {
    let ip = packet.ip();
    match side {
        Side::Vm => (ip.src(), ip.dst()),
        Side::Net => (ip.dst(), ip.src()),
    }
}

/// Multicast and broadcast are for others too, and nobody's next hop.
#[inline(always)]
pub fn not_for_others(frame: Frame) -> Result<(), Refusal> {
    match (frame.eth().src[0] | frame.eth().dst[0]) & 1 {
        0 => Ok(()),
        _ => Err(Refusal::NotOurs),
    }
}

/// Takes signalling into a door.
#[inline(always)]
fn take<I: Ip>(
    ctx: &TcContext,
    packet: Packet<I>,
    parsed: &Parsed,
    side: Side,
    door: &Door,
    now_ns: u64,
) -> Verdict {
    let (vm, remote) = ends(&packet, side);
    if parsed.fragment == Fragment::First {
        fragments::remember(packet.ip(), parsed, side, now_ns);
    }
    learn(packet.frame.eth(), tag(ctx), side, vm, remote);
    enter(ctx, door)?;
    Ok(Handled::Redirected(match side {
        Side::Vm => Counter::TakenFromVm,
        Side::Net => Counter::TakenToVm,
    }))
}

/// A packet without ports: it follows its first.
#[inline(always)]
fn later_fragment<I: Ip>(
    ctx: &TcContext,
    packet: Packet<I>,
    parsed: &Parsed,
    side: Side,
    now_ns: u64,
) -> Verdict {
    if !fragments::first_was_taken(packet.ip(), parsed, side, now_ns) {
        return Err(Refusal::FragmentUnknown);
    }
    // The first is in the namespace already; the lease and the doors are asked
    // again only because there may be no door left to go through.
    let door = open_door(side, now_ns)?;
    enter(ctx, door)?;
    Ok(Handled::Redirected(Counter::TakenFragment))
}

/// The door of a side, while somebody is behind it.
#[inline(always)]
fn open_door(side: Side, now_ns: u64) -> Result<&'static Door, Refusal> {
    if is_served(now_ns) {
        door(side)
    } else {
        Err(Refusal::LeaseStale)
    }
}

/// Whether the daemon has renewed its lease.
#[inline(always)]
fn is_served(now_ns: u64) -> bool {
    LEASE
        .get(0)
        .is_some_and(|deadline_ns| now_ns < *deadline_ns)
}

/// The door of a side, whether or not anybody is behind it.
#[inline(always)]
fn door(side: Side) -> Result<&'static Door, Refusal> {
    let (Some(vm), Some(net)) = (DOORS.get(Side::Vm as u32), DOORS.get(Side::Net as u32)) else {
        return Err(Refusal::DoorMissing);
    };
    if vm.ifindex == 0 || net.ifindex == 0 {
        return Err(Refusal::DoorMissing);
    }
    Ok(match side {
        Side::Vm => vm,
        Side::Net => net,
    })
}

/// The tag of a frame, which stands beside it.
#[inline(always)]
pub fn tag(ctx: &TcContext) -> Tag {
    let skb = ctx.skb.skb;
    // SAFETY: fields of the context that every kernel with tcx has.
    unsafe {
        if (*skb).vlan_present == 0 {
            return door::UNTAGGED;
        }
        Tag {
            protocol_be: (*skb).vlan_proto as u16,
            control: (*skb).vlan_tci as u16,
        }
    }
}

/// Sends a frame into a door, without its tag: it gets that back on its way out. Its
/// destination becomes the namespace's end, else the stack there would take it for
/// another host's. Pointers into the packet are void afterwards.
#[inline(always)]
fn enter(ctx: &TcContext, door: &Door) -> Result<(), Refusal> {
    // SAFETY: fields of the context, and a helper that takes it.
    unsafe {
        let skb = ctx.skb.skb;
        if (*skb).vlan_present != 0 && bpf_skb_vlan_pop(skb) != 0 {
            return Err(Refusal::KernelRefused);
        }
    }
    let window = Window::of_skb(ctx)?;
    let mut frame = Frame::of(&window)?;
    let src = frame.eth().src;
    frame.set_macs(&door.mac, &src);
    // SAFETY: a helper that takes integers.
    if unsafe { bpf_redirect(door.ifindex, 0) } != TC_ACT_REDIRECT {
        return Err(Refusal::KernelRefused);
    }
    Ok(())
}

/// Keeps the MACs of a taken frame, for the way back. The VM's own choice of a
/// next hop stands; what others send tells of the VM's MAC, and of remotes that
/// the VM does not write to: a thin client at the registrar, whose router may
/// change its MAC.
#[inline(always)]
fn learn(eth: &Ethernet, tag: Tag, side: Side, vm: Address, remote: Address) {
    let (vm_mac, peer_mac) = match side {
        Side::Vm => (eth.src, eth.dst),
        Side::Net => (eth.dst, eth.src),
    };
    for (remote, is_one) in [(remote, true), (ANYWHERE, false)] {
        let key = NeighbourKey { vm, remote };
        // SAFETY: two dozen bytes; a torn read costs one needless write.
        let known = unsafe { NEIGHBOURS.get(key) };
        let seen_mac = match (side, known) {
            (Side::Net, _) if is_one => peer_mac,
            (_, Some(known)) => known.seen_mac,
            _ => [0; 6],
        };
        let learned = match (side, known) {
            (Side::Net, Some(known)) if known.chosen_by_vm != 0 => Neighbour {
                vm_mac,
                seen_mac,
                ..*known
            },
            _ => Neighbour {
                vm_mac,
                peer_mac,
                seen_mac,
                chosen_by_vm: matches!(side, Side::Vm) as u16,
                tag,
            },
        };
        if known.is_some_and(|known| *known == learned) {
            continue;
        }
        // When the map refuses, the next taken frame tries again.
        let _ = NEIGHBOURS.insert(key, learned, 0);
    }
}
