//! The network interfaces of this namespace: what is there now, and word when
//! that changes (rtnetlink, RFC 3549; `RTM_GETLINK`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sockets;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// MAC; zero where it has none of six octets.
    pub mac: [u8; 6],
    /// MTU, octets of IP.
    pub mtu: u32,
    /// Kind of the device it is a port of: `bridge`, `openvswitch`, `vrf`, …
    pub port_of: Option<String>,
    /// How XDP is attached, whoever did it.
    pub xdp: XdpAttached,
    /// The VLAN that it is the host's interface in, where it is one.
    pub vlan: Option<Vlan>,
}

/// A VLAN of an interface (IEEE 802.1Q).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vlan {
    /// Index of the interface below.
    pub below: u32,
    /// Type of the tag: 0x8100 or 0x88a8.
    pub protocol: u16,
    /// Its identifier, 0 to 4095.
    pub id: u16,
}

/// Mode in which an interface runs XDP (linux/if_link.h, `XDP_ATTACHED_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XdpAttached {
    /// Not at all.
    #[default]
    None,
    /// In the driver.
    Driver,
    /// Generic, in the stack.
    Generic,
    /// In the hardware, or in several modes.
    Other,
}

impl Link {
    /// Whether a switch of some kind carries its frames, so that the host's own
    /// routing is not what its neighbour talks to.
    pub fn is_bridged(&self) -> bool {
        self.port_of.as_deref().is_some_and(|kind| kind != "vrf")
    }
}

/// Waits for changes.
pub struct Changes {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

/// `RTMGRP_LINK` of linux/rtnetlink.h.
const GROUP_LINK: u32 = 1;

impl Changes {
    /// Listens in this thread's namespace.
    pub fn listen() -> io::Result<Self> {
        let socket = open(SockFlag::SOCK_NONBLOCK, GROUP_LINK)?;
        Ok(Self {
            socket: sockets::watched(socket)?,
            buffer: vec![0; 65_536],
        })
    }

    /// Ends when some interface has changed, appeared or gone. Cancel safe.
    ///
    /// # Errors
    ///
    /// The socket fails for another reason than news lost, which is news too.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            drop(self.socket.readable_mut().await?);
            let buffer = &mut self.buffer;
            let mut news = false;
            loop {
                let taken = self.socket.try_io_mut(Interest::READABLE, |socket| {
                    Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
                });
                match taken {
                    Ok(_) => news = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                        news = true;
                    }
                    Err(error) => return Err(error),
                }
            }
            if news {
                return Ok(());
            }
        }
    }
}

/// All interfaces of this thread's namespace.
///
/// # Errors
///
/// What the kernel says.
pub fn list() -> io::Result<Vec<Link>> {
    let socket = open(SockFlag::empty(), 0)?;
    sendto(
        socket.as_raw_fd(),
        &get_links(),
        &NetlinkAddr::new(0, 0),
        MsgFlags::empty(),
    )?;
    let mut links = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if parse(&buffer[..length], &mut links)? == Dump::Done {
            return Ok(links);
        }
    }
}

fn open(flags: SockFlag, groups: u32) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | flags,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_XDP_ATTACHED: u16 = 2;
/// Attribute types without their flags (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;

fn get_links() -> [u8; HEADER + LINK_HEADER] {
    let mut request = [0; HEADER + LINK_HEADER];
    let length = (HEADER + LINK_HEADER) as u32;
    request[0..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request
}

#[derive(Debug, PartialEq, Eq)]
enum Dump {
    Goes,
    Done,
}

/// Reads one datagram of a dump.
fn parse(mut bytes: &[u8], links: &mut Vec<Link>) -> io::Result<Dump> {
    while let Some(header) = bytes.first_chunk::<HEADER>() {
        let length = u32_at(header, 0) as usize;
        let Some(body) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match u16::from_ne_bytes([header[4], header[5]]) {
            NLMSG_DONE => return Ok(Dump::Done),
            NLMSG_ERROR => {
                let code = body
                    .first_chunk::<4>()
                    .map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(io::Error::from_raw_os_error(-code));
            }
            RTM_NEWLINK => links.extend(link(body)),
            _ => {}
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(Dump::Goes)
}

fn link(body: &[u8]) -> Option<Link> {
    let mut link = Link {
        index: u32_at(body.first_chunk::<LINK_HEADER>()?, 4),
        ..Link::default()
    };
    let mut below = 0;
    for (kind, value) in attributes(&body[LINK_HEADER..]) {
        match kind {
            IFLA_LINK => {
                below = value
                    .first_chunk()
                    .map_or(0, |index| u32::from_ne_bytes(*index));
            }
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => {
                link.mtu = value
                    .first_chunk()
                    .map_or(0, |mtu| u32::from_ne_bytes(*mtu))
            }
            IFLA_LINKINFO => {
                link.port_of = attributes(value)
                    .find(|(kind, _)| *kind == IFLA_INFO_SLAVE_KIND)
                    .map(|(_, value)| text(value));
                link.vlan = vlan(value);
            }
            IFLA_XDP => {
                link.xdp = attributes(value)
                    .find(|(kind, _)| *kind == IFLA_XDP_ATTACHED)
                    .map_or(XdpAttached::None, |(_, mode)| match mode {
                        [0, ..] | [] => XdpAttached::None,
                        [1, ..] => XdpAttached::Driver,
                        [2, ..] => XdpAttached::Generic,
                        _ => XdpAttached::Other,
                    });
            }
            _ => {}
        }
    }
    if let Some(vlan) = &mut link.vlan {
        vlan.below = below;
    }
    Some(link)
}

/// What is said of a VLAN's interface, but what is below it.
fn vlan(info: &[u8]) -> Option<Vlan> {
    let of = |bytes: &[u8], wanted: u16| {
        let mut all = attributes(bytes);
        let found = all.find(|(kind, _)| *kind == wanted);
        found.map(|(_, value)| value.to_vec())
    };
    if text(&of(info, IFLA_INFO_KIND)?) != "vlan" {
        return None;
    }
    let data = of(info, IFLA_INFO_DATA)?;
    let id = of(&data, IFLA_VLAN_ID)?;
    let protocol = of(&data, IFLA_VLAN_PROTOCOL);
    Some(Vlan {
        below: 0,
        // In network order; the identifier is not.
        protocol: protocol
            .and_then(|value| Some(u16::from_be_bytes(*value.first_chunk()?)))
            .unwrap_or(0x8100),
        id: u16::from_ne_bytes(*id.first_chunk()?),
    })
}

/// The VLANs on these interfaces, which are some of `links`: below up to two tags, outer
/// first, each VLAN's own interface.
pub fn vlans_on<'a>(
    links: &'a [Link],
    uplinks: &'a [u32],
) -> impl Iterator<Item = (u32, Vec<Vlan>, &'a Link)> {
    links.iter().filter_map(|link| {
        let mut tags = vec![link.vlan?];
        loop {
            let below = tags.first()?.below;
            if uplinks.contains(&below) {
                return Some((below, tags, link));
            }
            let next = links.iter().find(|link| link.index == below)?.vlan?;
            if tags.len() == 2 {
                return None;
            }
            tags.insert(0, next);
        }
    })
}

/// Type and value of each attribute; ends at the first that is cut short.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn u32_at(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Netlink pads to four octets.
fn aligned(length: usize) -> usize {
    length.div_ceil(4) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((body.len() + HEADER) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    fn tap() -> Vec<u8> {
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&7u32.to_ne_bytes());
        body.extend(attribute(IFLA_IFNAME, b"tap17\0"));
        body.extend(attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]));
        body.extend(attribute(IFLA_MTU, &1450u32.to_ne_bytes()));
        body.extend(attribute(
            IFLA_LINKINFO | 0x8000,
            &attribute(IFLA_INFO_SLAVE_KIND, b"bridge\0"),
        ));
        body.extend(attribute(IFLA_XDP, &attribute(IFLA_XDP_ATTACHED, &[2])));
        body
    }

    #[test]
    fn a_dump_is_read() {
        let mut links = Vec::new();
        let mut bytes = message(RTM_NEWLINK, &tap());
        assert_eq!(parse(&bytes, &mut links).unwrap(), Dump::Goes);
        bytes = message(NLMSG_DONE, &[0; 4]);
        assert_eq!(parse(&bytes, &mut links).unwrap(), Dump::Done);
        let expected = Link {
            index: 7,
            name: "tap17".to_owned(),
            mac: [2, 0, 0, 0, 0, 9],
            mtu: 1450,
            port_of: Some("bridge".to_owned()),
            xdp: XdpAttached::Generic,
            vlan: None,
        };
        assert_eq!(links, [expected]);
        assert!(links[0].is_bridged());
    }

    /// As the kernel describes `eth0.7.9`, on `eth0.7`, on `eth0`; and others.
    #[test]
    fn vlans_are_read_and_found_on_their_uplinks() {
        let vlan = |index: u32, below: u32, protocol: u16, id: u16| {
            let mut body = vec![0; LINK_HEADER];
            body[4..8].copy_from_slice(&index.to_ne_bytes());
            body.extend(attribute(IFLA_LINK, &below.to_ne_bytes()));
            let data = [
                attribute(IFLA_VLAN_ID, &id.to_ne_bytes()),
                attribute(IFLA_VLAN_PROTOCOL, &protocol.to_be_bytes()),
            ];
            let info = [
                attribute(IFLA_INFO_KIND, b"vlan\0"),
                attribute(IFLA_INFO_DATA | 0x8000, &data.concat()),
            ];
            body.extend(attribute(IFLA_LINKINFO, &info.concat()));
            message(RTM_NEWLINK, &body)
        };
        let mut links = Vec::new();
        let bytes = [
            message(RTM_NEWLINK, &tap()),
            vlan(11, 10, 0x88a8, 7),
            vlan(12, 11, 0x8100, 9),
            vlan(13, 12, 0x8100, 5),
            vlan(14, 99, 0x8100, 5),
        ];
        parse(&bytes.concat(), &mut links).unwrap();
        let found: Vec<_> = vlans_on(&links, &[10])
            .map(|(uplink, tags, link)| {
                let tags: Vec<_> = tags.iter().map(|tag| (tag.protocol, tag.id)).collect();
                (uplink, tags, link.index)
            })
            .collect();
        // Three tags are not looked behind; the last is on another interface.
        assert_eq!(
            found,
            [
                (10, vec![(0x88a8, 7)], 11),
                (10, vec![(0x88a8, 7), (0x8100, 9)], 12)
            ]
        );
    }

    #[test]
    fn a_port_of_a_vrf_is_routed() {
        let link = Link {
            port_of: Some("vrf".to_owned()),
            ..Link::default()
        };
        assert!(!link.is_bridged());
    }

    #[test]
    fn a_message_cut_short_is_an_error_not_a_panic() {
        let whole = message(RTM_NEWLINK, &tap());
        for length in HEADER..whole.len() {
            assert!(
                parse(&whole[..length], &mut Vec::new()).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn the_kernels_error_is_told() {
        let bytes = message(NLMSG_ERROR, &(-1i32).to_ne_bytes());
        let error = parse(&bytes, &mut Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
    }
}
