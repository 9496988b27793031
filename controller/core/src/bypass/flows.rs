//! Which path a call takes, the anchor ports of steered calls, and the flows
//! that the datapath is to know.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::engine::{Flow, FlowKind, Leg, PathChoice, PathRule, VmConfig};
use crate::media::{Codec, Encodings, Media};

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

/// A steered call's pair of ports, the same at each of its VM's addresses: an
/// even one for RTP, the next for RTCP. Each party is told the address of its own
/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchor {
    /// Where the gateway sends to.
    pub(crate) gateway_side: SocketAddr,
    /// Where the TC sends to.
    pub(crate) tc_side: SocketAddr,
    vm: Ipv4Addr,
}

impl Anchor {
    /// `media` of the TC's, as the gateway is offered it.
    pub(crate) fn for_gateway(anchor: Option<Self>, media: &Media) -> Media {
        as_offer(at_anchor(media, anchor.map(|anchor| anchor.gateway_side)))
    }

    /// Whether a port is that of the TC's RTCP (true), or of its RTP (false).
    pub(crate) fn is_rtcp_of_tc(self, at: SocketAddr) -> Option<bool> {
        match at {
            at if at == self.tc_side => Some(false),
            at if at == rtcp_of(self.tc_side) => Some(true),
            _ => None,
        }
    }

    /// `media` of the gateway's, as the TC is offered it.
    pub(crate) fn for_tc(anchor: Option<Self>, media: &Media) -> Media {
        as_offer(at_anchor(media, anchor.map(|anchor| anchor.tc_side)))
    }
}

/// The anchor ports in use, at all VMs.
#[derive(Debug)]
pub(crate) struct Anchors {
    ports: RangeInclusive<u16>,
    taken: HashSet<(Ipv4Addr, u16)>,
    /// Of flows that outlived an earlier run; not to be given to a call.
    foreign: HashSet<SocketAddr>,
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

    /// Takes a pair at `vm`, for a TC and a gateway with these addresses; `None`
    /// where all are in use, or the VM has no address of the one's IP version.
    pub(crate) fn take(&mut self, vm: &VmConfig, tc: IpAddr, gateway: IpAddr) -> Option<Anchor> {
        let tc = vm.address_like(tc)?;
        let gateway = vm.address_like(gateway)?;
        let first = first_even(&self.ports);
        let last = *self.ports.end();
        let pairs = usize::from(last.saturating_sub(first).saturating_add(1) / 2);
        for _ in 0..pairs {
            let port = self.next;
            self.next = match port.checked_add(2) {
                Some(next) if next < last => next,
                _ => first,
            };
            let at = |ip: IpAddr| SocketAddr::new(ip, port);
            let is_foreign = |ip: IpAddr| self.foreign.contains(&at(ip));
            if is_foreign(vm.address.into()) || vm.address6.is_some_and(|v6| is_foreign(v6.into()))
            {
                continue;
            }
            if self.taken.insert((vm.address, port)) {
                return Some(Anchor {
                    gateway_side: at(gateway),
                    tc_side: at(tc),
                    vm: vm.address,
                });
            }
        }
        None
    }

    /// Leaves these pairs, and no others, to the flows of an earlier run.
    pub(crate) fn leave(&mut self, foreign: HashSet<SocketAddr>) {
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
    pub(crate) fn restore(&mut self, anchor: Anchor) {
        self.taken.insert((anchor.vm, anchor.tc_side.port()));
    }

    /// Gives a pair back.
    pub(crate) fn give_back(&mut self, anchor: Anchor) {
        self.taken.remove(&(anchor.vm, anchor.tc_side.port()));
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
fn rtcp_of(anchor: SocketAddr) -> SocketAddr {
    SocketAddr::new(anchor.ip(), anchor.port().saturating_add(1))
}

fn as_offer(media: Media) -> Media {
    Media {
        channel: media.channel.offered(),
        ..media
    }
}

/// `media`, as it is told to the other side of a steered call.
fn at_anchor(media: &Media, anchor: Option<SocketAddr>) -> Media {
    match anchor {
        Some(anchor) if !media.is_null_address() => Media {
            rtp: anchor,
            rtcp: if media.rtcp == media.rtp {
                anchor
            } else {
                rtcp_of(anchor)
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
    anchor: Option<Anchor>,
    vm: Option<(&Media, SocketAddr, SocketAddr)>,
) -> Vec<Flow> {
    let clock_rate = clock_rate(&gateway.codecs, &tc.codecs);
    let (to_tc, to_gateway) = (understood(tc, gateway), understood(gateway, tc));
    let mut flows = Vec::with_capacity(6);
    for rtcp in [false, true] {
        if rtcp && gateway.rtcp == gateway.rtp && tc.rtcp == tc.rtp {
            continue;
        }
        let at = |media: &Media| live(if rtcp { media.rtcp } else { media.rtp });
        if let (Some(tc), Some(gateway)) = (at(tc), at(gateway)) {
            let beside = |anchor: SocketAddr| if rtcp { rtcp_of(anchor) } else { anchor };
            for leg in [Leg::GatewayToTc, Leg::TcToGateway] {
                let (src, dst) = match leg {
                    Leg::GatewayToTc => (gateway, tc),
                    _ => (tc, gateway),
                };
                let encodings = match leg {
                    Leg::GatewayToTc => to_tc,
                    _ => to_gateway,
                };
                let (wire_dst, kind) = match anchor {
                    None => (dst, FlowKind::Direct),
                    Some(anchor) => {
                        let (near, far) = match leg {
                            Leg::GatewayToTc => (anchor.gateway_side, anchor.tc_side),
                            _ => (anchor.tc_side, anchor.gateway_side),
                        };
                        let (src, vm) = (beside(far), anchor.vm);
                        (beside(near), FlowKind::Steered { src, dst, vm })
                    }
                };
                flows.extend(possible(Flow {
                    leg,
                    src,
                    dst: wire_dst,
                    kind,
                    rtcp,
                    clock_rate,
                    encodings,
                }));
            }
        }
        flows.extend(vm.and_then(|vm| guard(vm, rtcp, clock_rate)));
    }
    flows
}

/// What waits for the first packet of a TC whose port is not known for sure: of RTP
/// (`false`) or RTCP (`true`), from this address.
pub(crate) fn unlearned(
    anchor: Anchor,
    open: impl Iterator<Item = (bool, IpAddr)>,
) -> impl Iterator<Item = Flow> {
    open.filter_map(move |(rtcp, from)| {
        possible(Flow {
            leg: Leg::TcToGateway,
            src: SocketAddr::new(from, 0),
            dst: if rtcp {
                rtcp_of(anchor.tc_side)
            } else {
                anchor.tc_side
            },
            kind: FlowKind::Learn,
            rtcp,
            clock_rate: 8_000,
            encodings: Encodings::default(),
        })
    })
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
pub(crate) fn guards_of_unanswered(vm: &VmConfig, offer: &Media) -> Vec<Flow> {
    [(offer.rtp, false), (offer.rtcp, true)]
        .into_iter()
        .filter_map(|(believed, rtcp)| {
            Some(Flow {
                leg: Leg::VmToGateway,
                src: SocketAddr::new(vm.address_like(believed.ip())?, 0),
                dst: live(believed)?,
                kind: FlowKind::Guard,
                rtcp,
                clock_rate: clock_rate(&offer.codecs, &[]),
                encodings: Encodings::default(),
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
    possible(Flow {
        leg: Leg::VmToGateway,
        src: live(src)?,
        dst: live(dst)?,
        kind: FlowKind::Guard,
        rtcp,
        clock_rate,
        encodings: Encodings::default(),
    })
}

/// The flows of a call whose media the VM relays.
pub(crate) fn relayed(vm: &Media, gateway: &Media) -> Vec<Flow> {
    let clock_rate = clock_rate(&gateway.codecs, &vm.codecs);
    let (to_vm, to_gateway) = (understood(vm, gateway), understood(gateway, vm));
    let mut flows = Vec::with_capacity(4);
    for rtcp in [false, true] {
        if rtcp && gateway.rtcp == gateway.rtp && vm.rtcp == vm.rtp {
            continue;
        }
        let at = |media: &Media| live(if rtcp { media.rtcp } else { media.rtp });
        if let (Some(vm), Some(gateway)) = (at(vm), at(gateway)) {
            for (leg, src, dst, encodings) in [
                (Leg::GatewayToVm, gateway, vm, to_vm),
                (Leg::VmToGateway, vm, gateway, to_gateway),
            ] {
                flows.extend(possible(Flow {
                    leg,
                    src,
                    dst,
                    kind: FlowKind::Relay,
                    rtcp,
                    clock_rate,
                    encodings,
                }));
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

/// What payload types stand for where `receiver` hears them: as it says itself
/// (RFC 3264 §5.1), else as `sender` does.
fn understood(receiver: &Media, sender: &Media) -> Encodings {
    Encodings::of(receiver.codecs.iter().chain(&sender.codecs))
}

/// An address that packets can have.
fn live(address: SocketAddr) -> Option<SocketAddr> {
    (!address.ip().is_unspecified() && address.port() != 0).then_some(address)
}

/// A flow that packets can belong to: each has one IP version.
fn possible(flow: Flow) -> Option<Flow> {
    let whole = match flow.kind {
        FlowKind::Steered { src, dst, .. } => src.is_ipv4() == dst.is_ipv4(),
        _ => true,
    };
    (whole && flow.src.is_ipv4() == flow.dst.is_ipv4()).then_some(flow)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::media::{Direction, Encoding};

    fn vm(last: u8, address6: Option<Ipv6Addr>) -> VmConfig {
        VmConfig {
            name: format!("desk-{last}"),
            address: Ipv4Addr::new(10, 0, 0, last),
            address6,
        }
    }

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn port(anchors: &mut Anchors, vm: &VmConfig) -> Option<u16> {
        anchors.take(vm, V4, V4).map(|anchor| anchor.tc_side.port())
    }

    #[test]
    fn anchors_are_even_and_come_back() {
        let vm1 = vm(1, None);
        let mut anchors = Anchors::new(40001..=40006);
        let first = anchors.take(&vm1, V4, V4).unwrap();
        assert_eq!(first.tc_side, "10.0.0.1:40002".parse().unwrap());
        assert_eq!(port(&mut anchors, &vm1), Some(40004));
        // 40006 has no odd port beside it.
        assert_eq!(port(&mut anchors, &vm1), None);
        // Another VM has another address.
        assert!(port(&mut anchors, &vm(2, None)).is_some());
        anchors.give_back(first);
        assert_eq!(port(&mut anchors, &vm1), Some(40002));
        assert_eq!(anchors.in_use(), 3);
    }

    #[test]
    fn anchors_of_an_earlier_runs_flows_are_left_to_them() {
        let vm6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);
        let vm = vm(1, Some(vm6));
        let mut anchors = Anchors::new(40000..=40007);
        anchors.leave(
            [
                SocketAddr::new(vm.address.into(), 40002),
                SocketAddr::new(vm6.into(), 40004),
            ]
            .into(),
        );
        let mut ports = || port(&mut anchors, &vm);
        assert_eq!(
            [ports(), ports(), ports()],
            [Some(40000), Some(40006), None]
        );
        anchors.leave(HashSet::new());
        assert_eq!(port(&mut anchors, &vm), Some(40002));
        assert_eq!(anchors.in_use(), 3);
    }

    #[test]
    fn the_end_of_the_ports_is_the_end() {
        let vm = vm(1, None);
        let mut anchors = Anchors::new(65534..=65535);
        assert_eq!(port(&mut anchors, &vm), Some(65534));
        assert_eq!(port(&mut anchors, &vm), None);
        assert_eq!(port(&mut Anchors::new(65535..=65535), &vm), None);
    }

    fn media(at: &str) -> Media {
        let rtp: SocketAddr = at.parse().unwrap();
        Media {
            rtp,
            rtcp: rtcp_of(rtp),
            codecs: Vec::new(),
            ptime: None,
            maxptime: None,
            direction: Direction::SendRecv,
            channel: Default::default(),
        }
    }

    #[test]
    fn an_anchor_joins_what_has_not_one_ip_version() {
        let (tc, gateway) = (media("[2001:db8::22]:20000"), media("10.71.3.31:30000"));
        // No packet goes from one to the other.
        assert_eq!(bypass(&tc, &gateway, None, None), []);

        let mut anchors = Anchors::new(40000..=40009);
        let (tc_ip, gateway_ip) = (tc.rtp.ip(), gateway.rtp.ip());
        assert_eq!(anchors.take(&vm(1, None), tc_ip, gateway_ip), None);
        let vm6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);
        let anchor = anchors.take(&vm(1, Some(vm6)), tc_ip, gateway_ip);
        let told = (
            Anchor::for_gateway(anchor, &tc).rtp.to_string(),
            Anchor::for_tc(anchor, &gateway).rtcp.to_string(),
        );
        let expected = ("10.0.0.1:40000", "[2001:db8::11]:40001");
        assert_eq!((told.0.as_str(), told.1.as_str()), expected);

        let flows = bypass(&tc, &gateway, anchor, None);
        let words: Vec<String> = flows
            .iter()
            .map(|flow| match flow.kind {
                FlowKind::Steered { src, dst, .. } => {
                    format!("{}>{} as {src}>{dst}", flow.src, flow.dst)
                }
                _ => unreachable!("all are steered"),
            })
            .collect();
        assert_eq!(
            words,
            [
                "10.71.3.31:30000>10.0.0.1:40000 as [2001:db8::11]:40000>[2001:db8::22]:20000",
                "[2001:db8::22]:20000>[2001:db8::11]:40000 as 10.0.0.1:40000>10.71.3.31:30000",
                "10.71.3.31:30001>10.0.0.1:40001 as [2001:db8::11]:40001>[2001:db8::22]:20001",
                "[2001:db8::22]:20001>[2001:db8::11]:40001 as 10.0.0.1:40001>10.71.3.31:30001",
            ]
        );
    }
    /// A number that the two use for different codecs is, each way, what its receiver says.
    #[test]
    fn a_payload_type_is_what_the_receiver_says_it_is() {
        let with = |at: &str, name: &str| {
            let codec = |payload_type, name: &str| Codec {
                payload_type,
                name: name.to_owned(),
                clock_rate: 8_000,
                channels: None,
                fmtp: None,
            };
            Media {
                codecs: vec![codec(96, name), codec(97, "G726-32")],
                ..media(at)
            }
        };
        let tc = with("10.71.2.21:20000", "GSM-EFR");
        let gateway = with("10.71.3.31:30000", "G722");
        let of = |flows: Vec<Flow>| -> Vec<_> {
            let rtp = flows.iter().filter(|flow| !flow.rtcp);
            rtp.map(|flow| (flow.leg, flow.encodings.get(96), flow.encodings.get(97)))
                .collect()
        };
        let g726 = Some(Encoding::G726At32);
        assert_eq!(
            of(bypass(&tc, &gateway, None, None)),
            [
                (Leg::GatewayToTc, Some(Encoding::GsmEfr), g726),
                (Leg::TcToGateway, Some(Encoding::G722), g726),
            ]
        );
        assert_eq!(
            of(relayed(&tc, &gateway)),
            [
                (Leg::GatewayToVm, Some(Encoding::GsmEfr), g726),
                (Leg::VmToGateway, Some(Encoding::G722), g726),
            ]
        );
    }
}
