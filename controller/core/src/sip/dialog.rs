//! The dialog between a VM and a gateway (RFC 3261 §12), as one that stands
//! between them has to know it: tags, targets, the route, and where the sequence
//! numbers of the two sides have been shifted by requests of our own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Message, Method, Name, NameAddr, RequestBuilder, SipUri};
use crate::engine::{Datagram, Side, Transport};

/// Steps that are remembered of a side's numbers. What was sent before the oldest is
/// not sent again.
const STEPS: usize = 64;

/// The offset of a number that the peer never sees: with it none is below 2^31 (§8.1.1.5).
const NEVER: u32 = 1 << 31;

/// How the CSeq numbers of one side's requests are shifted (RFC 3261 §12.2.1.1:
/// numbers rise strictly). Each request of our own takes a number; every later
/// one of the side that it seems to come from moves up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CseqShift {
    /// Highest number the side has used itself.
    last: Option<u32>,
    /// Numbers up to this are of requests of ours from before the side sent any.
    before: u32,
    /// From this number of the side's own on, it is shifted by so much (modulo 2^32:
    /// a side may begin high after requests of ours that began at 1); rising.
    steps: Vec<(u32, u32)>,
}

impl CseqShift {
    /// The side has sent a request with `number`.
    pub fn saw(&mut self, number: u32) {
        if self.last.is_none() && self.before > 0 {
            // Its first follows ours without a gap, whatever it begins at.
            let next = self.before.saturating_add(1);
            self.push(number, next.wrapping_sub(number));
        }
        self.last = Some(self.last.map_or(number, |last| last.max(number)));
    }

    /// What the peer sees for the side's own `number`.
    pub fn outward(&self, number: u32) -> u32 {
        if self.last.is_none() && self.before > 0 {
            return self.before.saturating_add(1);
        }
        number.wrapping_add(self.offset_at(number))
    }

    /// What the side itself sent for the `number` that its peer saw; `None`
    /// where that was a request of ours.
    pub fn inward(&self, number: u32) -> Option<u32> {
        if number <= self.before {
            return None;
        }
        let mut bound = u32::MAX;
        for &(first, offset) in self.steps.iter().rev() {
            let own = number.wrapping_sub(offset);
            // Numbers are below 2^31 (§8.1.1.5): more is less than nothing.
            if own >= first && own <= i32::MAX as u32 {
                return (own < bound).then_some(own);
            }
            bound = first;
        }
        (number < bound).then_some(number)
    }

    /// The side's request with `number` ends here, as what crosses a request of ours
    /// does (§14.1): its next has the number that this one would have had.
    pub fn swallow(&mut self, number: u32) {
        self.saw(number);
        if self.last != Some(number) || self.steps.contains(&(number, NEVER)) {
            return;
        }
        let offset = self.offset_at(number).wrapping_sub(1);
        self.push(number, NEVER);
        self.push(number.saturating_add(1), offset);
    }

    /// Takes the next number for a request of ours, after all that the side has
    /// sent.
    pub fn take(&mut self) -> u32 {
        match self.last {
            Some(last) => {
                let offset = self.offset_at(last.saturating_add(1));
                self.push(last.saturating_add(1), offset.wrapping_add(1));
                last.wrapping_add(offset).wrapping_add(1)
            }
            // The side has sent nothing yet: ours begin at 1.
            None => {
                self.before = self.before.saturating_add(1);
                self.before
            }
        }
    }

    /// The side's own `number` is sent once more in another request: takes the
    /// next number for it, so that `number` now means that one.
    pub fn again(&mut self, number: u32) -> u32 {
        let offset = self.offset_at(number).wrapping_add(1);
        self.push(number, offset);
        number.wrapping_add(offset)
    }

    fn offset_at(&self, number: u32) -> u32 {
        self.steps
            .iter()
            .rev()
            .find(|(first, offset)| *first <= number && *offset != NEVER)
            .map_or(0, |(_, offset)| *offset)
    }

    fn push(&mut self, first: u32, offset: u32) {
        match self.steps.last_mut() {
            Some(last) if last.0 == first => last.1 = offset,
            _ => {
                if self.steps.len() >= STEPS {
                    self.steps.remove(0);
                }
                self.steps.push((first, offset));
            }
        }
    }
}

/// One end of a dialog.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Party {
    /// Its From or To, with its tag once it has one.
    #[serde(with = "serde_bytes")]
    pub identity: Vec<u8>,
    /// Its tag.
    #[serde(with = "serde_bytes")]
    pub tag: Option<Vec<u8>>,
    /// Its remote target: URI of its Contact (§12.1, §12.2.1.2).
    #[serde(with = "serde_bytes")]
    pub target: Option<Vec<u8>>,
    /// Its Contact as written.
    #[serde(with = "serde_bytes")]
    pub contact: Option<Vec<u8>>,
    /// Where its signalling was seen.
    pub signalling: SocketAddr,
    /// How its last message came: the other's go to where it sends to, by the
    /// same connection (RFC 3261 §18.1.1, RFC 5923).
    pub transport: Option<Transport>,
    /// Shift of its requests' numbers.
    pub cseq: CseqShift,
}

impl Party {
    fn new(signalling: SocketAddr) -> Self {
        Self {
            identity: Vec::new(),
            tag: None,
            target: None,
            contact: None,
            signalling,
            transport: None,
            cseq: CseqShift::default(),
        }
    }

    fn identify(&mut self, identity: Option<&[u8]>, tag: Option<&[u8]>) {
        if let Some(identity) = identity
            && (tag.is_some() || self.tag.is_none())
        {
            self.identity = identity.to_vec();
            self.tag = tag.map(<[u8]>::to_vec);
        }
    }

    fn retarget(&mut self, message: &Message) {
        if let Some(uri) = message.contact_uri() {
            self.target = Some(uri.to_vec());
            self.contact = message.header(Name::CONTACT).map(<[u8]>::to_vec);
        }
    }
}

/// The dialog of a call, from the VM's tap.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dialog {
    #[serde(with = "serde_bytes")]
    call_id: Vec<u8>,
    /// The VM.
    pub vm: Party,
    /// The gateway, or whoever the VM talks with.
    pub gateway: Party,
    /// Route of the VM's requests (§12.1.1, §12.1.2).
    route: Vec<Vec<u8>>,
    /// A 2xx has named the gateway's tag for good.
    confirmed: bool,
}

impl Dialog {
    /// The dialog that an INVITE from `side` may make. `vm` and `gateway`: their
    /// signalling addresses.
    pub fn new(invite: &Message, side: Side, vm: SocketAddr, gateway: SocketAddr) -> Self {
        let mut dialog = Self {
            call_id: invite.call_id().to_vec(),
            vm: Party::new(vm),
            gateway: Party::new(gateway),
            route: Vec::new(),
            confirmed: false,
        };
        if side == Side::Net {
            dialog.route = record_route(invite);
        }
        dialog.learn_request(invite, side);
        dialog
    }

    /// The caller's INVITE comes again outside any dialog: what the callee said
    /// before is void, and it may be another one. Numbers go on.
    pub fn begin_again(&mut self, invite: &Message, side: Side, src: SocketAddr, dst: SocketAddr) {
        let caller = self.party(side);
        caller.signalling = src;
        let callee = self.party(opposite(side));
        callee.signalling = dst;
        callee.tag = None;
        callee.target = None;
        callee.contact = None;
        self.confirmed = false;
        self.route = match side {
            Side::Vm => Vec::new(),
            Side::Net => record_route(invite),
        };
        self.learn_request(invite, side);
    }

    /// How many entries are remembered of it.
    pub(crate) fn held(&self) -> usize {
        self.vm.cseq.steps.len() + self.gateway.cseq.steps.len() + self.route.len()
    }

    /// A message has come from `side` over `transport`.
    pub fn learn_transport(&mut self, side: Side, transport: Transport) {
        self.party(side).transport = Some(transport);
    }

    fn party(&mut self, side: Side) -> &mut Party {
        match side {
            Side::Vm => &mut self.vm,
            Side::Net => &mut self.gateway,
        }
    }

    /// A request has come from `side`.
    pub fn learn_request(&mut self, request: &Message, side: Side) {
        let (number, method) = request.cseq();
        let sender = self.party(side);
        sender.identify(request.header(Name::FROM), request.from_tag());
        if !matches!(method, Method::Ack | Method::Cancel) {
            sender.cseq.saw(number);
        }
        if matches!(method, Method::Invite | Method::Update) {
            sender.retarget(request);
        }
        let receiver = self.party(opposite(side));
        receiver.identify(request.header(Name::TO), request.to_tag());
    }

    /// A request of `side` has been answered here, and does not go on.
    pub fn swallow(&mut self, request: &Message, side: Side) {
        self.party(side).cseq.swallow(request.cseq().0);
    }

    /// A response to a request of the other side's has come from `side`.
    pub fn learn_response(&mut self, response: &Message, side: Side) {
        let status = response.status().unwrap_or(0);
        let (_, method) = response.cseq();
        if !matches!(method, Method::Invite | Method::Update) || !(101..300).contains(&status) {
            return;
        }
        if !self.confirmed && method == Method::Invite {
            self.party(side)
                .identify(response.header(Name::TO), response.to_tag());
            if side == Side::Net {
                self.route = record_route(response);
                self.route.reverse();
            }
            self.confirmed = status >= 200;
        }
        self.party(side).retarget(response);
    }

    /// Whether a message belongs to this dialog and not to another one of the
    /// same Call-ID (another branch of a fork).
    pub fn has(&self, message: &Message, side: Side) -> bool {
        let (sender, receiver) = match (message.is_request(), side) {
            (true, Side::Vm) | (false, Side::Net) => (&self.vm, &self.gateway),
            (true, Side::Net) | (false, Side::Vm) => (&self.gateway, &self.vm),
        };
        let same = |party: &Party, tag: Option<&[u8]>| {
            !self.confirmed || tag.is_none() || party.tag.as_deref() == tag
        };
        same(sender, message.from_tag()) && same(receiver, message.to_tag())
    }

    /// A request in the dialog (§12.2.1.1) toward `side`, as if from the other
    /// one; with its addresses.
    pub fn request(&self, toward: Side, own: &OwnRequest<'_>) -> Datagram {
        let (from, to) = match toward {
            Side::Net => (&self.vm, &self.gateway),
            Side::Vm => (&self.gateway, &self.vm),
        };
        let transport = self.way(toward);
        let target = to.target.as_deref().unwrap_or_default();
        let mut route: &[Vec<u8>] = match toward {
            Side::Net => &self.route,
            // The proxies' work is done where the VM gets a message.
            Side::Vm => &[],
        };
        let mut uri = target;
        let mut last = None;
        // A strict router at first (§12.2.1.1, §16.12.1.1).
        if let Some((first, rest)) = route.split_first()
            && let Some(address) = NameAddr::parse(first)
            && !has_parameter(address.uri, "lr")
        {
            uri = address.uri;
            route = rest;
            last = Some([b"<", target, b">"].concat());
        }
        let mut builder = RequestBuilder::new(own.method.clone(), uri)
            .via_over(transport.name(), from.signalling, own.branch)
            .max_forwards()
            .header(Name::FROM, &from.identity)
            .header(Name::TO, &to.identity)
            .header(Name::CALL_ID, &self.call_id)
            .cseq(own.number);
        for route in route.iter().chain(&last) {
            builder = builder.header(Name::ROUTE, route);
        }
        if let Some(contact) = from.contact.as_ref().filter(|_| *own.method != Method::Bye) {
            builder = builder.header(Name::CONTACT, contact);
        }
        if own.to_be_refreshed {
            builder = builder
                .header(Name::SUPPORTED, "timer")
                .header(Name::SESSION_EXPIRES, "90;refresher=uas");
        }
        if let Some(body) = own.body {
            builder = builder.sdp(body);
        }
        let mut datagram = Datagram {
            side: toward,
            transport,
            src: from.signalling,
            dst: to.signalling,
            payload: builder.build(),
        };
        datagram.dst = match transport {
            Transport::Udp => self.next_hop(toward, to),
            _ => self.takes_connections_at(&datagram),
        };
        datagram
    }

    /// Where a request would be sent should the connection that it goes by be gone: to
    /// where it goes, at the port that the first route or its receiver's target names
    /// (RFC 3261 §18.1.1). Who has connected itself does not listen where it came from.
    pub fn takes_connections_at(&self, request: &Datagram) -> SocketAddr {
        let Datagram {
            side,
            transport,
            dst,
            ..
        } = *request;
        let to = match side {
            Side::Net => &self.gateway,
            Side::Vm => &self.vm,
        };
        let port = match transport {
            Transport::Udp => return dst,
            Transport::Tls(_) | Transport::Wss(_) => 5061,
            Transport::Tcp(_) | Transport::Ws(_) => 5060,
        };
        self.named(side, to, &transport.name().to_ascii_lowercase(), port)
            .filter(|named| named.ip() == dst.ip())
            .unwrap_or(dst)
    }

    /// How requests toward `side` go: as those of the party they seem to come
    /// from; before it has said anything, as those of the one they go to.
    pub fn way(&self, toward: Side) -> Transport {
        let (from, to) = match toward {
            Side::Net => (&self.vm, &self.gateway),
            Side::Vm => (&self.gateway, &self.vm),
        };
        from.transport.unwrap_or(to.transport.unwrap_or_default())
    }

    /// Where requests toward `side` are sent over UDP: what the first route or the target
    /// says, where that is an address; else where the peer's signalling was seen.
    fn next_hop(&self, toward: Side, to: &Party) -> SocketAddr {
        self.named(toward, to, "udp", 5060)
            .filter(|named| named.is_ipv4())
            .filter(|named| toward == Side::Net || named.ip() == to.signalling.ip())
            .unwrap_or(to.signalling)
    }

    /// What the first route, or the target, of requests toward `side` names, where that is
    /// an address and of this transport.
    fn named(&self, toward: Side, to: &Party, transport: &str, port: u16) -> Option<SocketAddr> {
        let uri = match (toward, self.route.first()) {
            (Side::Net, Some(route)) => NameAddr::parse(route).map(|address| address.uri),
            _ => to.target.as_deref(),
        }?;
        let this = format!("transport={transport}");
        if has_parameter(uri, "transport") && !has_parameter(uri, &this) {
            return None;
        }
        let uri = SipUri::parse(uri)?;
        Some(SocketAddr::new(uri.ip()?, uri.port.unwrap_or(port)))
    }
}

/// What is particular to a request of our own.
#[derive(Debug)]
pub struct OwnRequest<'a> {
    /// Method.
    pub method: &'a Method,
    /// Branch of its Via.
    pub branch: &'a str,
    /// Number of its CSeq.
    pub number: u32,
    /// Session description.
    pub body: Option<&'a [u8]>,
    /// Its receiver is to refresh the session, as soon as may be (RFC 4028 §7.1: 90 s is
    /// the shortest interval, of which half may pass).
    pub to_be_refreshed: bool,
}

/// The other side.
pub fn opposite(side: Side) -> Side {
    match side {
        Side::Vm => Side::Net,
        Side::Net => Side::Vm,
    }
}

fn record_route(message: &Message) -> Vec<Vec<u8>> {
    message
        .headers(Name::RECORD_ROUTE)
        .map(<[u8]>::to_vec)
        .collect()
}

/// Whether a URI has a parameter that begins so.
fn has_parameter(uri: &[u8], begin: &str) -> bool {
    uri.split(|&b| b == b';').skip(1).any(|parameter| {
        let name = parameter.get(..begin.len()).unwrap_or_default();
        let ends = matches!(parameter.get(begin.len()), None | Some(b'=' | b'?'));
        ends && name.eq_ignore_ascii_case(begin.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_over_our_own_requests() {
        let mut shift = CseqShift::default();
        shift.saw(5);
        assert_eq!((shift.outward(5), shift.inward(5)), (5, Some(5)));
        assert_eq!((shift.take(), shift.take()), (6, 7));
        assert_eq!(shift.outward(5), 5);
        assert_eq!(shift.outward(6), 8);
        assert_eq!((shift.inward(6), shift.inward(7)), (None, None));
        assert_eq!((shift.inward(5), shift.inward(8)), (Some(5), Some(6)));
        shift.saw(9);
        assert_eq!(shift.take(), 12);
        assert_eq!((shift.outward(9), shift.outward(10)), (11, 13));
        assert_eq!((shift.inward(12), shift.inward(13)), (None, Some(10)));
    }

    #[test]
    fn what_ends_here_leaves_no_gap() {
        let mut shift = CseqShift::default();
        shift.saw(5);
        shift.swallow(6);
        // It comes again, and is no further one.
        shift.swallow(6);
        assert_eq!((shift.outward(5), shift.outward(7)), (5, 6));
        assert_eq!((shift.inward(5), shift.inward(6)), (Some(5), Some(7)));
        assert_eq!(shift.take(), 6);
        assert_eq!((shift.outward(7), shift.inward(7)), (7, Some(7)));
        assert_eq!(shift.inward(6), None);
        shift.saw(7);
        assert_eq!(shift.take(), 8);
        shift.swallow(8);
        shift.swallow(9);
        assert_eq!((shift.outward(10), shift.inward(9)), (9, Some(10)));
        // Nothing has gone before it: the next is the first.
        let mut shift = CseqShift::default();
        assert_eq!(shift.take(), 1);
        shift.swallow(30);
        shift.saw(31);
        assert_eq!((shift.outward(31), shift.inward(2)), (2, Some(31)));
    }

    #[test]
    fn the_first_of_a_side_follows_ours_wherever_it_begins() {
        for first in [0, 1, 21, 2_000_000_000] {
            let mut shift = CseqShift::default();
            assert_eq!((shift.take(), shift.take()), (1, 2));
            shift.saw(first);
            assert_eq!((shift.outward(first), shift.outward(first + 1)), (3, 4));
            assert_eq!((shift.inward(1), shift.inward(2)), (None, None));
            assert_eq!(shift.inward(3), Some(first));
            assert_eq!(shift.take(), 4, "{first}");
            assert_eq!(shift.outward(first + 1), 5);
            assert_eq!((shift.inward(4), shift.inward(5)), (None, Some(first + 1)));
            assert_eq!((shift.outward(first), shift.inward(3)), (3, Some(first)));
        }
    }

    #[test]
    fn a_request_sent_again_takes_its_numbers_with_it() {
        let mut shift = CseqShift::default();
        shift.saw(1);
        assert_eq!(shift.again(1), 2);
        assert_eq!((shift.outward(1), shift.outward(2)), (2, 3));
        assert_eq!((shift.inward(1), shift.inward(2)), (None, Some(1)));
    }
}
