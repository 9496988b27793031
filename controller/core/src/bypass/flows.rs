//! Which path a call takes, the anchor ports of steered calls, and the flows
//! that the datapath is to know.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;

use crate::engine::{Flow, FlowKind, Leg, PathChoice, PathRule};
use crate::media::{Codec, Media};

/// Decides the path by the first rule that matches both addresses.
pub(crate) fn choose(rules: &[PathRule], tc: IpAddr, gateway: IpAddr) -> PathChoice {
    rules
        .iter()
        .find(|rule| {
            rule.thin_clients.is_none_or(|net| net.contains(tc))
                && rule.gateways.is_none_or(|net| net.contains(gateway))
        })
        .map_or(PathChoice::Direct, |rule| rule.path)
}

/// The anchor ports in use, at all VMs' addresses: an even one for RTP, the next
/// for RTCP.
#[derive(Debug)]
pub(crate) struct Anchors {
    ports: RangeInclusive<u16>,
    taken: HashSet<SocketAddrV4>,
    /// Of flows that outlived an earlier run; not to be given to a call.
    foreign: HashSet<SocketAddrV4>,
    /// Where the next search begins, so that a port rests before it serves again.
    next: u16,
}

impl Anchors {
    pub(crate) fn new(ports: RangeInclusive<u16>) -> Self {
        let next = first_even(&ports);
        Self {
            ports,
            taken: HashSet::new(),
            foreign: HashSet::new(),
            next,
        }
    }

    /// Takes a pair at `vm`; `None` where all are in use.
    pub(crate) fn take(&mut self, vm: Ipv4Addr) -> Option<SocketAddrV4> {
        let first = first_even(&self.ports);
        let last = *self.ports.end();
        let pairs = usize::from(last.saturating_sub(first).saturating_add(1) / 2);
        for _ in 0..pairs {
            let port = self.next;
            self.next = match port.checked_add(2) {
                Some(next) if next < last => next,
                _ => first,
            };
            let anchor = SocketAddrV4::new(vm, port);
            if !self.foreign.contains(&anchor) && self.taken.insert(anchor) {
                return Some(anchor);
            }
        }
        None
    }

    /// Leaves these pairs, and no others, to the flows of an earlier run.
    pub(crate) fn leave(&mut self, foreign: HashSet<SocketAddrV4>) {
        self.foreign = foreign;
    }

    /// Where the next search begins.
    pub(crate) fn next(&self) -> u16 {
        self.next
    }

    /// Goes on searching where an earlier run would have.
    pub(crate) fn go_on(&mut self, next: u16) {
        if self.ports.contains(&next) {
            self.next = first_even(&(next..=next));
        }
    }

    /// A call of an earlier run has this pair.
    pub(crate) fn restore(&mut self, anchor: SocketAddrV4) {
        self.taken.insert(anchor);
    }

    /// Gives a pair back.
    pub(crate) fn give_back(&mut self, anchor: SocketAddrV4) {
        self.taken.remove(&anchor);
    }

    /// How many pairs are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.taken.len()
    }
}

fn first_even(ports: &RangeInclusive<u16>) -> u16 {
    ports.start().saturating_add(ports.start() % 2)
}

/// RTCP's port beside an anchor's RTP port.
pub(crate) fn rtcp_of(anchor: SocketAddrV4) -> SocketAddrV4 {
    SocketAddrV4::new(*anchor.ip(), anchor.port().saturating_add(1))
}

/// `media`, as it is told to the other side of a steered call.
pub(crate) fn at_anchor(media: &Media, anchor: Option<SocketAddrV4>) -> Media {
    match anchor {
        Some(anchor) if !media.is_null_address() => Media {
            rtp: anchor.into(),
            rtcp: if media.rtcp == media.rtp {
                anchor.into()
            } else {
                rtcp_of(anchor).into()
            },
            channel: media.channel.without_ice(),
            ..media.clone()
        },
        _ => media.clone(),
    }
}

/// The flows of a call whose media goes between TC and gateway: straight, or
/// through `anchor`. `vm` is the VM's media and where it believes to send to.
pub(crate) fn bypass(
    tc: &Media,
    gateway: &Media,
    anchor: Option<SocketAddrV4>,
    vm: Option<(&Media, SocketAddr, SocketAddr)>,
) -> Vec<Flow> {
    let clock_rate = clock_rate(&gateway.codecs, &tc.codecs);
    let mut flows = Vec::with_capacity(6);
    for rtcp in [false, true] {
        if rtcp && gateway.rtcp == gateway.rtp && tc.rtcp == tc.rtp {
            continue;
        }
        let at = |media: &Media| v4(if rtcp { media.rtcp } else { media.rtp });
        if let (Some(tc), Some(gateway)) = (at(tc), at(gateway)) {
            for (leg, src, dst) in [
                (Leg::GatewayToTc, gateway, tc),
                (Leg::TcToGateway, tc, gateway),
            ] {
                let (wire_dst, kind) = match anchor {
                    None => (dst, FlowKind::Direct),
                    Some(anchor) => {
                        let at = if rtcp { rtcp_of(anchor) } else { anchor };
                        let vm = *anchor.ip();
                        (at, FlowKind::Steered { src: at, dst, vm })
                    }
                };
                flows.push(Flow {
                    leg,
                    src,
                    dst: wire_dst,
                    kind,
                    rtcp,
                    clock_rate,
                });
            }
        }
        flows.extend(vm.and_then(|vm| guard(vm, rtcp, clock_rate)));
    }
    flows
}

/// What stops the VM's own media, before anything is known of the TC's: the
/// softphone may send as soon as it has answered. `vm` is its media and where it
/// believes to send to.
pub(crate) fn guards(vm: (&Media, SocketAddr, SocketAddr), gateway: &Media) -> Vec<Flow> {
    let clock_rate = clock_rate(&gateway.codecs, &vm.0.codecs);
    let both = [false, true];
    both.into_iter()
        .filter_map(|rtcp| guard(vm, rtcp, clock_rate))
        .collect()
}

/// The same before the VM has answered: it has the offer, so where it will send
/// is known, but not from which of its ports (zero: all of them).
pub(crate) fn guards_of_unanswered(vm: Ipv4Addr, offer: &Media) -> Vec<Flow> {
    [(offer.rtp, false), (offer.rtcp, true)]
        .into_iter()
        .filter_map(|(believed, rtcp)| {
            Some(Flow {
                leg: Leg::VmToGateway,
                src: SocketAddrV4::new(vm, 0),
                dst: v4(believed)?,
                kind: FlowKind::Guard,
                rtcp,
                clock_rate: clock_rate(&offer.codecs, &[]),
            })
        })
        .collect()
}

fn guard(
    (media, believed, believed_rtcp): (&Media, SocketAddr, SocketAddr),
    rtcp: bool,
    clock_rate: u32,
) -> Option<Flow> {
    let (src, dst) = if rtcp {
        (media.rtcp, believed_rtcp)
    } else {
        (media.rtp, believed)
    };
    Some(Flow {
        leg: Leg::VmToGateway,
        src: v4(src)?,
        dst: v4(dst)?,
        kind: FlowKind::Guard,
        rtcp,
        clock_rate,
    })
}

/// The flows of a call whose media the VM relays.
pub(crate) fn relayed(vm: &Media, gateway: &Media) -> Vec<Flow> {
    let clock_rate = clock_rate(&gateway.codecs, &vm.codecs);
    let mut flows = Vec::with_capacity(4);
    for rtcp in [false, true] {
        if rtcp && gateway.rtcp == gateway.rtp && vm.rtcp == vm.rtp {
            continue;
        }
        let at = |media: &Media| v4(if rtcp { media.rtcp } else { media.rtp });
        if let (Some(vm), Some(gateway)) = (at(vm), at(gateway)) {
            for (leg, src, dst) in [
                (Leg::GatewayToVm, gateway, vm),
                (Leg::VmToGateway, vm, gateway),
            ] {
                flows.push(Flow {
                    leg,
                    src,
                    dst,
                    kind: FlowKind::Relay,
                    rtcp,
                    clock_rate,
                });
            }
        }
    }
    flows
}

/// Clock rate of the codec that both have and `first` likes best; 8 kHz where
/// nothing is known.
fn clock_rate(first: &[Codec], second: &[Codec]) -> u32 {
    first
        .iter()
        .find(|codec| !codec.is_auxiliary() && second.iter().any(|o| o.same_encoding(codec)))
        .or_else(|| first.iter().find(|codec| !codec.is_auxiliary()))
        .map_or(8000, |codec| codec.clock_rate)
}

/// An address that packets can have.
fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(v4) if !v4.ip().is_unspecified() && v4.port() != 0 => Some(v4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_even_and_come_back() {
        let vm = Ipv4Addr::new(10, 0, 0, 1);
        let mut anchors = Anchors::new(40001..=40006);
        let taken: Vec<u16> = std::iter::from_fn(|| anchors.take(vm))
            .map(|anchor| anchor.port())
            .collect();
        // 40006 has no odd port beside it.
        assert_eq!(taken, [40002, 40004]);
        // Another VM has another address.
        assert!(anchors.take(Ipv4Addr::new(10, 0, 0, 2)).is_some());
        anchors.give_back(SocketAddrV4::new(vm, 40002));
        assert_eq!(anchors.take(vm).map(|anchor| anchor.port()), Some(40002));
        assert_eq!(anchors.in_use(), 3);
    }

    #[test]
    fn anchors_of_an_earlier_runs_flows_are_left_to_them() {
        let vm = Ipv4Addr::new(10, 0, 0, 1);
        let mut anchors = Anchors::new(40000..=40005);
        anchors.leave([SocketAddrV4::new(vm, 40002)].into());
        let mut ports = || anchors.take(vm).map(|anchor| anchor.port());
        assert_eq!(
            [ports(), ports(), ports()],
            [Some(40000), Some(40004), None]
        );
        anchors.leave(HashSet::new());
        assert_eq!(anchors.take(vm).map(|anchor| anchor.port()), Some(40002));
        assert_eq!(anchors.in_use(), 3);
    }

    #[test]
    fn the_end_of_the_ports_is_the_end() {
        let vm = Ipv4Addr::new(10, 0, 0, 1);
        let mut anchors = Anchors::new(65534..=65535);
        assert_eq!(anchors.take(vm).map(|anchor| anchor.port()), Some(65534));
        assert_eq!(anchors.take(vm), None);
        assert_eq!(Anchors::new(65535..=65535).take(vm), None);
    }
}
