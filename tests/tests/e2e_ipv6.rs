//! Signalling over IPv6 through the door, of a VM that has both versions.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use anyhow::{Context, Result, ensure};
use sidestep_tests::connection::{Ends, accept, cross, message};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::wait::{seconds, wait_for};

const VM: Ipv6Addr = Ipv6Addr::new(0xfd71, 1, 0, 0, 0, 0, 0, 0x11);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd71, 3, 0, 0, 0, 0, 0, 0x31);

fn at(address: Ipv6Addr) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(address), 5060)
}

/// The lab's first VM, its gateway and the router between them get IPv6.
fn add_ipv6(lab: &Lab) -> Result<()> {
    for (site, interface, address) in [
        (Site::Net, "vms", "fd71:1::1".parse::<Ipv6Addr>()?),
        (Site::Net, "dmz", "fd71:3::1".parse()?),
        (Site::Vm1, "eth0", VM),
        (Site::Gw, "eth0", GATEWAY),
    ] {
        lab.namespace(site).sysctl(&[
            ("ipv6/conf/all/disable_ipv6", "0"),
            (&format!("ipv6/conf/{interface}/disable_ipv6"), "0"),
            (&format!("ipv6/conf/{interface}/accept_dad"), "0"),
        ])?;
        // What asks for neighbours asks from a local address.
        lab.ip(site, &format!("link set {interface} addrgenmode eui64"))?;
        lab.ip(site, &format!("link set {interface} down"))?;
        lab.ip(site, &format!("link set {interface} up"))?;
        lab.ip(
            site,
            &format!("-6 addr add {address}/64 dev {interface} nodad"),
        )?;
    }
    lab.namespace(Site::Net)
        .sysctl(&[("ipv6/conf/all/forwarding", "1")])?;
    // Down and up again, the interfaces have lost their routes.
    for (site, router, router6) in [
        (Site::Vm1, "10.71.1.1", "fd71:1::1"),
        (Site::Gw, "10.71.3.1", "fd71:3::1"),
    ] {
        lab.ip(site, &format!("route replace default via {router}"))?;
        lab.ip(site, &format!("-6 route replace default via {router6}"))?;
    }
    lab.ip(Site::Net, "route replace 10.71.4.0/24 via 10.71.5.2")?;
    Ok(())
}

fn start(lab: &Lab) -> Result<Sidestep> {
    add_ipv6(lab)?;
    Sidestep::start_with(lab, &[], |config| {
        config["vms"][0]["address6"] = VM.to_string().into();
    })
}

/// Datagrams in both directions, one of them larger than the MTU.
#[test]
fn datagrams_arrive_byte_for_byte() {
    in_lab(|lab| {
        let sidestep = start(lab)?;
        let open = |site: Site| -> Result<UdpSocket> {
            let socket = lab
                .namespace(site)
                .enter(|| UdpSocket::bind("[::]:5060"))??;
            socket.set_read_timeout(Some(seconds(3)))?;
            Ok(socket)
        };
        let (near, far) = (open(Site::Vm1)?, open(Site::Gw)?);
        for body in [10, 4_000] {
            let sent = message("six", body);
            for (from, to, src, dst) in [(&near, &far, VM, GATEWAY), (&far, &near, GATEWAY, VM)] {
                from.send_to(&sent, at(dst))?;
                let mut buffer = vec![0; 65_536];
                let (length, peer) = to
                    .recv_from(&mut buffer)
                    .with_context(|| format!("{body} octets to {dst}"))?;
                ensure!(buffer[..length] == sent, "{body} octets were changed");
                ensure!(peer == at(src), "it came from {peer}");
            }
        }
        let received = sidestep.counter(lab, "daemon-received")?;
        ensure!(received == 4, "{received} messages were read");
        Ok(())
    });
}

/// Connections in both directions, and IPv4 beside them.
#[test]
fn streams_arrive_as_they_were_sent() {
    in_lab(|lab| {
        let sidestep = start(lab)?;
        let stream: Vec<u8> = (0..4).flat_map(|_| message("six", 40_000)).collect();
        for (from, to, src, dst) in [
            (Site::Vm1, Site::Gw, VM, GATEWAY),
            (Site::Gw, Site::Vm1, GATEWAY, VM),
        ] {
            let listener = lab
                .namespace(to)
                .enter(|| TcpListener::bind("[::]:5060"))??;
            listener.set_nonblocking(true)?;
            let caller = lab
                .namespace(from)
                .enter(move || TcpStream::connect_timeout(&at(dst), seconds(5)))??;
            let (called, peer) = accept(&listener)?;
            ensure!(peer.ip() == IpAddr::V6(src), "{peer} is not {src}");
            let mut ends = Ends { caller, called };
            cross(&mut ends.caller, &mut ends.called, &stream, 9_000)?;
            cross(&mut ends.called, &mut ends.caller, &stream, 9_000)?;
        }
        let mut four = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut four.caller, &mut four.called, &stream, 9_000)?;
        wait_for("three connections", seconds(5), || {
            let accepted = sidestep.counter(lab, "daemon-connections-accepted").ok()?;
            (accepted == 3).then_some(())
        })
    });
}
