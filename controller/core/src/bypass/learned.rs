//! Where a thin client behind a NAT really sends from, and so where it is sent to: the
//! addresses in its description are of its own network. What is learned, and from whom:
//!
//! - Only at an anchor, and only from the address that the thin client registered from
//!   (it has shown who it is from there); whoever sends from elsewhere moves nothing.
//! - From the first packet, once for each port that it describes: after it nothing is
//!   learned until it describes another port. A packet from the very port that it
//!   described is such a first packet too: then there is no NAT, and nothing to learn.
//! - Never from a packet that is late: what comes from where it sent under an earlier
//!   description is none of the new one's.
//!
//! In: descriptions, and packets that belong to no flow, as the datapath tells of them.
//! Out: the thin client's media as it is on the wire.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::media::Media;
use crate::time::Time;

/// Earlier ports that are remembered, of RTP and of RTCP each.
const FORMER: usize = 8;

/// What is counted so shortly after a description may be the last packet of the one
/// before.
const SETTLES: Duration = Duration::from_millis(10);

/// What is known of one call's thin client.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Learned {
    /// Where it registered from.
    registered_from: Option<IpAddr>,
    rtp: Option<Port>,
    /// `None`: that of RTP serves for both.
    rtcp: Option<Port>,
}

/// A port, as it is described and as it is.
#[derive(Debug, Serialize, Deserialize)]
struct Port {
    described: SocketAddr,
    since: Time,
    /// As its packets have it, once that is learned.
    on_the_wire: Option<SocketAddr>,
    /// What was described before, and where its packets came from.
    former: Vec<(SocketAddr, SocketAddr)>,
}

impl Learned {
    /// The thin client registered from here.
    pub(super) fn registered_from(&mut self, address: IpAddr) {
        self.registered_from = Some(address);
    }

    /// The thin client describes its media so.
    pub(super) fn follow(&mut self, now: Time, tc: &Media) {
        Port::follow(&mut self.rtp, now, Some(tc.rtp));
        let rtcp = (tc.rtcp != tc.rtp).then_some(tc.rtcp);
        Port::follow(&mut self.rtcp, now, rtcp);
    }

    /// Its media as it is on the wire, as far as that is known.
    pub(super) fn on_the_wire(&self, tc: &Media) -> Media {
        let actual = |port: &Option<Port>, described: SocketAddr| match port {
            Some(port) if port.described == described => port.on_the_wire.unwrap_or(described),
            _ => described,
        };
        let rtp = actual(&self.rtp, tc.rtp);
        let rtcp = match tc.rtcp == tc.rtp {
            true => rtp,
            false => actual(&self.rtcp, tc.rtcp),
        };
        Media {
            rtp,
            rtcp,
            ..tc.clone()
        }
    }

    /// Which of RTP (`false`) and RTCP (`true`) can still be learned, and from where.
    pub(super) fn open(&self) -> impl Iterator<Item = (bool, IpAddr)> {
        let ports = [(false, &self.rtp), (true, &self.rtcp)];
        ports.into_iter().filter_map(|(rtcp, port)| {
            let open = port.as_ref().is_some_and(|port| port.on_the_wire.is_none());
            open.then_some((rtcp, self.registered_from?))
        })
    }

    /// A packet has come to the anchor's RTP or RTCP port from `from`, of no flow.
    /// `expected`: when one of the port that is described was last counted. What has
    /// been taken for the described port until now, if this is the first of it.
    pub(super) fn heard(
        &mut self,
        rtcp: bool,
        from: SocketAddr,
        expected: Option<Time>,
    ) -> Option<SocketAddr> {
        if self.registered_from != Some(from.ip()) {
            return None;
        }
        let port = match rtcp {
            false => self.rtp.as_mut(),
            true => self.rtcp.as_mut(),
        }?;
        let is_first = port.on_the_wire.is_none()
            && expected.is_none_or(|at| at < port.since + SETTLES)
            && from != port.described;
        let is_late = port.former.iter().any(|(_, former)| *former == from);
        if !is_first || is_late {
            return None;
        }
        port.on_the_wire = Some(from);
        Some(port.described)
    }
}

impl Port {
    fn follow(port: &mut Option<Self>, now: Time, described: Option<SocketAddr>) {
        let before = port.take();
        *port = described.map(|described| match before {
            Some(before) if before.described == described => before,
            before => Self {
                described,
                since: now,
                on_the_wire: None,
                former: before.map_or_else(Vec::new, |before| before.and_before(described)),
            },
        });
    }

    /// What has been, once `described` is described: that one's own is no former one.
    fn and_before(self, described: SocketAddr) -> Vec<(SocketAddr, SocketAddr)> {
        let mut former = self.former;
        former.push((self.described, self.on_the_wire.unwrap_or(self.described)));
        former.retain(|(former, _)| *former != described);
        if former.len() > FORMER {
            former.remove(0);
        }
        former
    }
}
