//! The daemon dies, is stopped, is replaced: media that is steered goes on, and
//! calls work.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::capture::Capture;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{
    GATEWAY_TONE, SET_UP, TC_TONE, VM_TONE, Wires, call_gateway, dial_gateway, expect_reason,
    gateway, hear, phone, sip, steer, thin_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// RTP packets that the thin client got from its anchor so far.
fn steered_packets(wires: &Wires) -> Result<u64> {
    let trace = wires.thin_client.so_far()?;
    Ok(trace.rtp_between(Site::Vm1.ip(), Site::Tc1.ip()).packets)
}

fn wait_for_packets(wires: &Wires, beyond: u64) -> Result<()> {
    wait_for("steered media to go on", seconds(10), || {
        (steered_packets(wires).ok()? > beyond).then_some(())
    })
}

/// SIGKILL in the middle of a steered call: not one packet is lost, a new call
/// passes untouched within three seconds, and a new daemon takes over.
#[test]
fn killed_daemon_costs_no_packet_and_no_call() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let mut sidestep = Sidestep::start_with(lab, &[], steer)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "steered")?;
        hear(
            &wires.thin_client,
            Site::Vm1.ip(),
            Site::Tc1.ip(),
            GATEWAY_TONE,
        )?;

        sidestep.process().kill()?;
        let passed = time_until_signalling_passes(lab)?;
        ensure!(
            passed <= seconds(3),
            "signalling passes only after {passed:?}"
        );
        let mut other = phone(lab, Site::Vm2)?;
        let far_wire = Capture::start(lab, Site::Tc2, "eth0")?;
        let mut far = Sipp::start(lab, Site::Tc2, &Run::new("answer"))?;
        other.dial(&format!("sip:100@{}", sip(Site::Tc2)))?;
        other.wait_established(1, SET_UP)?;
        hear(&far_wire, Site::Vm2.ip(), Site::Tc2.ip(), VM_TONE)?;
        other.hang_up()?;
        far.finish(seconds(5))?;

        let before = steered_packets(&wires)?;
        wait_for_packets(&wires, before + 100)?;
        // What was counted meanwhile is read from the pins.
        let flows = sidestep.query(lab, "flows")?;
        ensure!(
            flows.iter().any(|f| f["packets"].as_u64() > Some(100)),
            "flows without a daemon: {flows:?}"
        );

        // A new daemon, and the media does not notice that either.
        sidestep.restart(lab, &[])?;
        let before = steered_packets(&wires)?;
        wait_for_packets(&wires, before + 100)?;
        let trace = wires.thin_client.so_far()?;
        let down = trace.rtp_between(Site::Vm1.ip(), Site::Tc1.ip());
        ensure!(down.gaps() == 0, "{} packets lost downward", down.gaps());
        let up = wires
            .gateway
            .so_far()?
            .rtp_between(Site::Vm1.ip(), Site::Gw.ip());
        ensure!(up.gaps() == 0, "{} packets lost upward", up.gaps());
        vm.hang_up()?;
        gw.finish(seconds(5))?;

        // And it serves: thin clients register again, calls are steered again.
        drop(_tc);
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let mut gw = gateway(lab, "answer")?;
        dial_gateway(&mut vm)?;
        vm.wait_established(2, SET_UP)?;
        sidestep.wait_call(lab, "steered")?;
        hear(&wires.gateway, Site::Vm1.ip(), Site::Gw.ip(), TC_TONE)?;
        vm.hang_up()?;
        gw.finish(seconds(5))
    });
}

/// How long it takes from now until a request of a VM reaches its destination.
fn time_until_signalling_passes(lab: &Lab) -> Result<Duration> {
    let started = Instant::now();
    let open = |site: Site| -> Result<UdpSocket> {
        Ok(lab
            .namespace(site)
            .enter(|| UdpSocket::bind("0.0.0.0:5060"))??)
    };
    let (near, far) = (open(Site::Vm2)?, open(Site::Tc2)?);
    far.set_read_timeout(Some(Duration::from_millis(100)))?;
    wait_for("signalling to pass", seconds(6), || {
        near.send_to(b"OPTIONS sip:anyone SIP/2.0\r\n\r\n", sip(Site::Tc2))
            .ok()?;
        far.recv_from(&mut [0; 64]).ok()
    })?;
    Ok(started.elapsed())
}

/// SIGTERM: nothing is left behind, the running call is handed back to the VM,
/// the next one goes through it.
#[test]
fn stopped_daemon_leaves_nothing_behind() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;

        let status = sidestep.terminate()?;
        ensure!(
            status.success(),
            "ended with {status}:\n{}",
            sidestep.process().log()
        );
        nothing_left(lab)?;
        // Handed back: the VM's own audio reaches the gateway.
        hear(&wires.gateway, Site::Vm1.ip(), Site::Gw.ip(), VM_TONE)?;
        vm.hang_up()?;
        gw.process().kill()?;

        let mut gw = gateway(lab, "answer")?;
        dial_gateway(&mut vm)?;
        vm.wait_established(2, SET_UP)?;
        wires.hear_through_vm()?;
        vm.hang_up()?;
        gw.finish(seconds(5))
    });
}

/// No link, no program, no namespace, no pin.
fn nothing_left(lab: &Lab) -> Result<()> {
    ensure!(
        !lab.door_namespace().exists(),
        "the door's namespace is left"
    );
    ensure!(!lab.pins().exists(), "pins are left");
    let links = lab.ip(Site::Hv, "-d link show")?;
    ensure!(!links.contains("ssd-"), "a door's link is left:\n{links}");
    ensure!(
        !links.contains("prog/xdp"),
        "an XDP program is left:\n{links}"
    );
    Ok(())
}

/// SIGTERM with `--keep`: steered media goes on without a daemon, and the next
/// daemon takes the datapath over without losing a packet.
#[test]
fn kept_datapath_goes_on_and_is_taken_over() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let mut sidestep = Sidestep::start_with(lab, &["--keep"], steer)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "steered")?;
        hear(
            &wires.thin_client,
            Site::Vm1.ip(),
            Site::Tc1.ip(),
            GATEWAY_TONE,
        )?;

        let status = sidestep.terminate()?;
        ensure!(status.success(), "ended with {status}");
        let before = steered_packets(&wires)?;
        wait_for_packets(&wires, before + 50)?;
        ensure!(
            !sidestep.query(lab, "flows")?.is_empty(),
            "no flows in the pins"
        );

        sidestep.restart(lab, &[])?;
        let before = steered_packets(&wires)?;
        wait_for_packets(&wires, before + 50)?;
        let trace = wires.thin_client.so_far()?;
        let gaps = trace.rtp_between(Site::Vm1.ip(), Site::Tc1.ip()).gaps();
        ensure!(gaps == 0, "{gaps} packets lost");
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        sidestep.terminate()?;
        nothing_left(lab)
    });
}

/// A daemon of another version, whose maps have another layout, has been killed in
/// a call: its programs are replaced where they are, media loses nothing, and the
/// call is counted again.
#[test]
fn pins_of_another_version_are_taken_over() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        let call = sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        sidestep.process().kill()?;
        let versions = |lab: &Lab| -> Result<Vec<PathBuf>> {
            let entries = std::fs::read_dir(lab.pins())?;
            entries.map(|entry| Ok(entry?.path())).collect()
        };
        let before = versions(lab)?;
        let [own] = before.as_slice() else {
            bail!("one version's pins, not {before:?}");
        };
        std::fs::rename(own, lab.pins().join("v0"))?;

        sidestep.restart(lab, &[])?;
        ensure!(versions(lab)? == before, "{:?}", versions(lab)?);
        let again = sidestep.wait_call(lab, "direct")?;
        ensure!(again["id"] == call["id"], "{call} became {again}");
        for leg in ["gateway->tc", "tc->gateway"] {
            sidestep.wait_for_row(lab, "flows", "media to be counted", seconds(5), |row| {
                row["leg"] == leg && row["packets"].as_u64().is_some_and(|n| n > 20)
            })?;
        }
        let received = [
            (&wires.gateway, Site::Tc1, Site::Gw),
            (&wires.thin_client, Site::Gw, Site::Tc1),
        ];
        for (wire, from, to) in received {
            let gaps = wire.so_far()?.rtp_between(from.ip(), to.ip()).gaps();
            ensure!(gaps == 0, "{gaps} packets lost to {to:?}");
        }
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        sidestep.terminate()?;
        nothing_left(lab)
    });
}

/// Somebody deletes the door in a call: signalling passes untouched at once, the
/// daemon says why and ends, media goes on, and the next daemon knows the call.
#[test]
fn a_door_that_is_gone_lets_signalling_pass() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        let call = sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        lab.ip(Site::Hv, "link del ssd-vm")?;
        let passed = time_until_signalling_passes(lab)?;
        ensure!(
            passed <= seconds(3),
            "signalling passes only after {passed:?}"
        );
        let status = sidestep.process().wait(seconds(5))?;
        ensure!(status.code() == Some(1), "ended with {status}");
        let log = sidestep.process().log();
        ensure!(log.contains("deleted the door"), "{log}");
        sidestep.restart(lab, &[])?;
        let again = sidestep.wait_call(lab, "direct")?;
        ensure!(again["id"] == call["id"], "{call} became {again}");
        let trace = wires.thin_client.so_far()?;
        let gaps = trace.rtp_between(Site::Gw.ip(), Site::Tc1.ip()).gaps();
        ensure!(gaps == 0, "{gaps} packets lost");
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        sidestep.terminate()?;
        nothing_left(lab)
    });
}

/// The daemon's namespace is deleted in a call. While the daemon lives only its name
/// goes, and all goes on; when it is killed the namespace goes, and with it the door:
/// signalling passes, and the media that is steered loses nothing.
#[test]
fn a_door_whose_namespace_is_deleted_lets_signalling_pass() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let mut sidestep = Sidestep::start_with(lab, &[], steer)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "steered")?;
        std::process::Command::new("ip")
            .args(["netns", "del", lab.door_namespace().name()])
            .status()?;
        another_vms_call_is_seen(lab, &sidestep)?;

        sidestep.process().kill()?;
        let passed = time_until_signalling_passes(lab)?;
        ensure!(
            passed <= seconds(3),
            "signalling passes only after {passed:?}"
        );
        let links = lab.ip(Site::Hv, "-o link show")?;
        ensure!(!links.contains("ssd-"), "the door is still there: {links}");
        wait_for_packets(&wires, steered_packets(&wires)? + 50)?;
        let trace = wires.thin_client.so_far()?;
        let gaps = trace.rtp_between(Site::Vm1.ip(), Site::Tc1.ip()).gaps();
        ensure!(gaps == 0, "{gaps} packets lost");
        // The next one makes a new namespace, and knows the call.
        sidestep.restart(lab, &[])?;
        sidestep.wait_call(lab, "steered")?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        sidestep.terminate()?;
        nothing_left(lab)
    });
}

/// What a daemon still does that has lost something: the other VM calls.
fn another_vms_call_is_seen(lab: &Lab, sidestep: &Sidestep) -> Result<()> {
    let mut far = Sipp::start(lab, Site::Tc2, &Run::new("answer"))?;
    let mut other = phone(lab, Site::Vm2)?;
    other.dial(&format!("sip:100@{}", sip(Site::Tc2)))?;
    other.wait_established(1, SET_UP)?;
    sidestep.wait_for_row(lab, "calls", "the other call", seconds(5), |row| {
        row["vm"] == "desk-2" && row["state"] == "up"
    })?;
    other.hang_up()?;
    far.finish(seconds(5))
}

/// A VM goes with all that is in it, its tap too, in a call: its thin client and the
/// gateway go on talking, and other VMs' calls are looked after.
#[test]
fn a_vm_whose_namespace_is_deleted_takes_no_media_with_it() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (_gw, vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        lab.namespace(Site::Vm1).delete();
        drop(vm);
        wait_for("the tap to go", seconds(5), || {
            let links = lab.ip(Site::Hv, "-o link show").ok()?;
            (!links.contains("tap1")).then_some(())
        })?;
        sidestep.wait_for_row(lab, "vms", "the daemon to know", seconds(5), |row| {
            row["name"] == "desk-1" && row["attached"] == false
        })?;
        wires.hear_direct()?;
        let trace = wires.thin_client.so_far()?;
        let gaps = trace.rtp_between(Site::Gw.ip(), Site::Tc1.ip()).gaps();
        ensure!(gaps == 0, "{gaps} packets lost");
        another_vms_call_is_seen(lab, &sidestep)
    });
}

/// A machine is switched off, or loses its card, in a call, and its tap stays without a
/// carrier: a bridge takes nothing from such a port, neither what the VM would send nor what
/// is sent in its name, and gives it nothing. Media goes on, and when the machine is back
/// so does its call.
#[test]
fn a_tap_without_a_carrier_takes_no_media_with_it() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "steered")?;
        wait_for_packets(&wires, steered_packets(&wires)? + 50)?;
        lab.ip(Site::Vm1, "link set eth0 down")?;
        wait_for("the bridge to have closed the port", seconds(5), || {
            let port = lab.namespace(Site::Hv);
            let port = port.run(&["bridge", "link", "show", "dev", "tap1"]).ok()?;
            port.contains("state disabled").then_some(())
        })?;
        wait_for_packets(&wires, steered_packets(&wires)? + 100)?;
        let call = sidestep.wait_call(lab, "steered")?;
        expect_reason(&call, None)?;
        lab.ip(Site::Vm1, "link set eth0 up")?;
        lab.ip(Site::Vm1, "route replace default via 10.71.1.1")?;
        wait_for_packets(&wires, steered_packets(&wires)? + 50)?;
        let trace = wires.thin_client.so_far()?;
        let gaps = trace.rtp_between(Site::Vm1.ip(), Site::Tc1.ip()).gaps();
        ensure!(gaps == 0, "{gaps} packets lost");
        vm.hang_up()?;
        gw.finish(seconds(10))?;
        wait_over(lab, &sidestep)
    });
}

/// A configuration that is wrong is refused before anything is touched.
#[test]
fn wrong_configuration_touches_nothing() {
    in_lab(|lab| {
        let error = Sidestep::start_with(lab, &[], |config| {
            config["vms"][0]["address"] = json!("10.71.1.300");
            config["media"]["discards"] = json!("192.0.2.1");
        })
        .err();
        let said = format!("{:#}", error.ok_or_else(|| anyhow::anyhow!("it started"))?);
        for part in ["10.71.1.300", "discards", "exit status: 2"] {
            ensure!(said.contains(part), "nothing about {part} in:\n{said}");
        }
        nothing_left(lab)
    });
}

/// The daemon starts before its VMs: taps that appear later are taken then.
#[test]
fn tap_that_appears_later_is_taken() {
    in_lab(|lab| {
        lab.remove_tap(Site::Vm1)?;
        let sidestep = Sidestep::start(lab)?;
        lab.restore_tap(Site::Vm1)?;
        sidestep.wait_attached(lab, "tap1")?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "vm")?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}
