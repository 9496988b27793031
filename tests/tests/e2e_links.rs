//! Interfaces as they are: of any MTU, with a card's offloads, with another MAC than
//! before. Signalling crosses them whole, in datagrams and in connections.

use std::net::UdpSocket;

use anyhow::{Context, Result, ensure};
use sidestep_tests::connection::{Ends, cross, message};
use sidestep_tests::lab::{Lab, Site, in_lab, tap};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::sip;
use sidestep_tests::wait::{seconds, wait_for};

/// A large datagram and a long stream, each in both directions.
fn signalling_crosses(lab: &Lab, vm: Site) -> Result<()> {
    let open = |site: Site| -> Result<UdpSocket> {
        let socket = lab
            .namespace(site)
            .enter(|| UdpSocket::bind("0.0.0.0:5060"))??;
        socket.set_read_timeout(Some(seconds(3)))?;
        Ok(socket)
    };
    let large = message("large", 12_000);
    let (near, far) = (open(vm)?, open(Site::Gw)?);
    for (from, to, address) in [(&near, &far, Site::Gw), (&far, &near, vm)] {
        from.send_to(&large, sip(address))?;
        let mut buffer = vec![0; 65_536];
        let (length, _) = to
            .recv_from(&mut buffer)
            .with_context(|| format!("12,000 octets to {}", address.name()))?;
        ensure!(buffer[..length] == large, "a datagram was changed");
    }
    let stream: Vec<u8> = (0..8).flat_map(|_| message("stream", 40_000)).collect();
    for (from, to) in [(vm, Site::Gw), (Site::Gw, vm)] {
        let mut ends = Ends::open(lab, from, to)?;
        cross(&mut ends.caller, &mut ends.called, &stream, 30_000)?;
        cross(&mut ends.called, &mut ends.caller, &stream, 30_000)?;
    }
    Ok(())
}

/// All interfaces of a VM's segment.
fn set_mtu(lab: &Lab, mtu: u32) -> Result<()> {
    for (site, interface) in [
        (Site::Net, "vms"),
        (Site::Hv, "up0"),
        (Site::Hv, "br0"),
        (Site::Hv, tap(Site::Vm1)),
        (Site::Vm1, "eth0"),
        (Site::Hv, tap(Site::Vm2)),
        (Site::Vm2, "eth0"),
        (Site::Hv, tap(Site::Vm3)),
        (Site::Vm3, "eth0"),
    ] {
        lab.ip(site, &format!("link set {interface} mtu {mtu}"))?;
    }
    Ok(())
}

fn door_mtu(lab: &Lab, sidestep: &Sidestep, mtu: u32) -> Result<()> {
    let what = format!("the door's MTU to be {mtu}");
    sidestep
        .wait_for_row(lab, "status", &what, seconds(12), |row| {
            row["door"]["mtu"] == mtu
        })
        .map(drop)
}

/// The door follows the taps' MTU, before and while it is open.
#[test]
fn interfaces_of_any_mtu() {
    in_lab(|lab| {
        set_mtu(lab, 1280)?;
        let sidestep = Sidestep::start(lab)?;
        // XDP in the driver of a veth takes frames of a page, no jumbo frames.
        for mtu in [1280, 1500, 3000] {
            set_mtu(lab, mtu)?;
            door_mtu(lab, &sidestep, mtu)?;
            for vm in [Site::Vm1, Site::Vm3] {
                let what = format!("MTU {mtu}, {}", vm.name());
                signalling_crosses(lab, vm).context(what)?;
            }
        }
        Ok(())
    });
}

/// Jumbo frames, where no uplink's driver has to take them.
#[test]
fn interfaces_of_jumbo_frames() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["uplinks"] = serde_json::json!([]);
        })?;
        // The lab's router listens with XDP there, for steered media.
        lab.ip(Site::Net, "link set dev vms xdp off")?;
        set_mtu(lab, 9000)?;
        door_mtu(lab, &sidestep, 9000)?;
        signalling_crosses(lab, Site::Vm1)
    });
}

/// A VM's card leaves checksums and segmentation to the host, as virtio does: frames
/// of 64 kB whose checksum nobody has made yet.
#[test]
fn frames_that_leave_work_to_the_card() {
    in_lab(|lab| {
        let _sidestep = Sidestep::start(lab)?;
        for (site, interface) in [(Site::Vm1, "eth0"), (Site::Hv, tap(Site::Vm1))] {
            lab.namespace(site).run(&[
                "ethtool", "-K", interface, "tx", "on", "tso", "on", "gso", "on",
            ])?;
        }
        signalling_crosses(lab, Site::Vm1)
    });
}

/// The VM gets another MAC, as when its image is started elsewhere: connections go on,
/// and what others send finds it.
#[test]
fn vm_whose_mac_changes() {
    in_lab(|lab| {
        let _sidestep = Sidestep::start(lab)?;
        let mut ends = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut ends.caller, &mut ends.called, &message("a", 9), 9)?;
        lab.ip(Site::Vm1, "link set eth0 address 02:71:01:00:00:99")?;
        cross(
            &mut ends.caller,
            &mut ends.called,
            &message("b", 9_000),
            900,
        )?;
        cross(
            &mut ends.called,
            &mut ends.caller,
            &message("c", 9_000),
            900,
        )?;
        signalling_crosses(lab, Site::Vm1)
    });
}

/// The tap goes and comes back with the connection still open: it goes on, as it would
/// by itself.
#[test]
fn connection_outlives_its_tap() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut ends = Ends::open(lab, Site::Vm2, Site::Gw)?;
        cross(&mut ends.caller, &mut ends.called, &message("a", 9), 9)?;
        let tap = tap(Site::Vm2);
        lab.ip(Site::Hv, &format!("link set {tap} down"))?;
        lab.ip(Site::Hv, &format!("link set {tap} up"))?;
        sidestep.wait_attached(lab, tap)?;
        wait_for("the bridge's port", seconds(5), || {
            let port = lab.ip(Site::Hv, &format!("link show {tap}")).ok()?;
            port.contains("LOWER_UP").then_some(())
        })?;
        cross(
            &mut ends.caller,
            &mut ends.called,
            &message("b", 9_000),
            900,
        )?;
        cross(
            &mut ends.called,
            &mut ends.caller,
            &message("c", 9_000),
            900,
        )
    });
}
