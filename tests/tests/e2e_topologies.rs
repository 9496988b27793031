//! Thin client and gateway where they are seldom thought of: behind other taps of the
//! same host.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sidestep_tests::lab::{Guest, Lab, Machine, Site, in_lab, tap};
use sidestep_tests::peers::audio;
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::capture::{Capture, Trace};
use sidestep_tests::peers::load::Load;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, SILENT_PORT, Sipp, silent};
use sidestep_tests::peers::thin_client::{Setup, ThinClient};
use sidestep_tests::stage::{
    GATEWAY_TONE, SET_UP, TC_TONE, VM_TONE, call_gateway, expect_reason, hear, phone, registrar,
    requests, sip, steer, stock_client, thin_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// The second VM is not one whose calls are looked after; who is where does not matter.
fn others_tap(config: &mut Value) {
    for (list, field) in [("vms", "name"), ("thin_clients", "vm")] {
        if let Some(rows) = config[list].as_array_mut() {
            rows.retain(|row| row[field] != "desk-2");
        }
    }
    config["media"]["paths"] = json!([{"path": "direct"}]);
}

/// The same, with media by anchors.
fn others_tap_steered(config: &mut Value) {
    others_tap(config);
    steer(config);
}

/// Has what is behind the second VM's tap leave checksums to a card that is not there.
fn leave_checksums(lab: &Lab) -> Result<()> {
    for (site, interface) in [(Site::Vm2, "eth0"), (Site::Hv, tap(Site::Vm2))] {
        lab.namespace(site)
            .run(&["ethtool", "-K", interface, "tx", "on"])?;
    }
    Ok(())
}

/// Source of a load.
const SSRC: u32 = 0x0c0c_0c0c;

/// The call's media is counted both ways where it crosses an uplink.
fn counted(lab: &Lab, sidestep: &Sidestep, kind: &str) -> Result<()> {
    for leg in ["gateway->tc", "tc->gateway"] {
        let what = format!("{leg} to be counted");
        sidestep.wait_for_row(lab, "flows", &what, seconds(5), |row| {
            row["leg"] == leg && row["kind"] == kind && row["packets"].as_u64() > Some(50)
        })?;
    }
    Ok(())
}

/// What came of a sender on a wire: how many packets, and how many of them whole.
fn whole(wire: &Capture, from: Site) -> Result<(usize, usize)> {
    let trace = wire.so_far()?;
    let rtp = trace.datagrams.iter();
    let rtp = rtp.filter(|d| *d.src.ip() == from.ip() && d.rtp().is_some());
    let (all, right): (Vec<bool>, Vec<bool>) = rtp.map(|d| (true, d.checksum_right)).unzip();
    Ok((all.len(), right.into_iter().filter(|right| *right).count()))
}

/// A sender leaves its checksums to a card, and at the far end of its media all are right.
fn finished_on_the_way(left: (&Capture, Site), arrives: (&Capture, Site)) -> Result<()> {
    let (sent, complete) = whole(left.0, left.1)?;
    ensure!(
        complete < sent,
        "its card computes checksums itself: this proves nothing"
    );
    let (came, right) = whole(arrives.0, arrives.1)?;
    ensure!(came > 50 && right == came, "{right} of {came} are right");
    Ok(())
}

/// The bridge still knows each VM where it is.
fn bridge_is_not_misled(lab: &Lab) -> Result<()> {
    let known = lab
        .namespace(Site::Hv)
        .run(&["bridge", "fdb", "show", "br", "br0"])?;
    let mac = lab.ip(Site::Vm1, "-o link show eth0")?;
    let mac = mac
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .context("a MAC")?;
    let at: Vec<&str> = known
        .lines()
        .filter(|line| line.starts_with(mac) && !line.contains("permanent"))
        .collect();
    let tap = format!(" dev {} ", tap(Site::Vm1));
    ensure!(
        at.len() == 1 && at[0].contains(&tap),
        "{mac} is at {at:?}:\n{known}"
    );
    Ok(())
}

/// The gateway is a real virtual machine on the same bridge as the caller's, whose card
/// leaves checksums to the host.
#[test]
fn the_gateway_is_a_real_vm_of_this_host() {
    the_gateway_is_a_machine("direct", others_tap);
}

/// No frame of the gateway's crosses an uplink on its way to the anchor.
#[test]
fn the_gateway_of_a_steered_call_is_a_real_vm_of_this_host() {
    the_gateway_is_a_machine("steered", others_tap_steered);
}

fn the_gateway_is_a_machine(path: &str, change: fn(&mut Value)) {
    in_lab(|lab| {
        Machine::wire(lab, Site::Vm2)?;
        let sidestep = Sidestep::start_with(lab, &[], change)?;
        let tone = audio::tone_alaw(GATEWAY_TONE);
        let at = Site::Vm2.ip();
        let script = format!(
            "sipp -sf /answer.xml -i {at} -mi {at} -p 5060 -m 1 -nostdin -key relay_port 0 \
             -key padding machine -key sdp_line a=sendrecv >/dev/null 2>/tmp/errors\n\
             echo guest: sipp ended with $?\n\
             cat /tmp/errors"
        );
        let guest = Guest {
            programs: &["sipp"],
            files: &[
                ("/answer.xml", include_bytes!("../scenarios/answer.xml")),
                ("/tmp/tone.al", &tone),
            ],
            script: &script,
        };
        let mut gateway = Machine::start(lab, Site::Vm2, &guest)?;
        let far = Capture::start(lab, Site::Hv, tap(Site::Vm2))?;
        let near = Capture::start(lab, Site::Tc1, "eth0")?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let mut vm = phone(lab, Site::Vm1)?;
        vm.dial(&format!("sip:100@{}", sip(Site::Vm2)))?;
        vm.wait_established(1, SET_UP)?;
        let call = sidestep.wait_call(lab, path)?;
        expect_reason(&call, None)?;
        // As whom the two see each other.
        let [as_gateway, as_tc] = match path {
            "steered" => [Site::Vm1, Site::Vm1],
            _ => [Site::Vm2, Site::Tc1],
        };
        hear(&near, as_gateway.ip(), Site::Tc1.ip(), GATEWAY_TONE)?;
        hear(&far, as_tc.ip(), Site::Vm2.ip(), TC_TONE)?;
        counted(lab, &sidestep, path)?;
        finished_on_the_way((&far, Site::Vm2), (&near, as_gateway))?;
        bridge_is_not_misled(lab)?;
        vm.hang_up()?;
        gateway
            .process()
            .wait_for_text("guest: sipp ended with 0", seconds(20))?;
        wait_over(lab, &sidestep)
    });
}

/// The thin client is behind the tap of another VM: a desktop within a desktop.
#[test]
fn the_thin_client_is_behind_another_tap() {
    the_thin_client_is_on_this_host("direct", others_tap);
}

#[test]
fn the_thin_client_of_a_steered_call_is_behind_another_tap() {
    the_thin_client_is_on_this_host("steered", others_tap_steered);
}

fn the_thin_client_is_on_this_host(path: &str, change: fn(&mut Value)) {
    in_lab(|lab| {
        leave_checksums(lab)?;
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            change(config);
            // An uplink sees what comes in by it: this is where the thin client's does.
            if let Some(uplinks) = config["uplinks"].as_array_mut() {
                uplinks.push(json!(tap(Site::Vm2)));
            }
        })?;
        let far = Capture::start(lab, Site::Gw, "eth0")?;
        let near = Capture::start(lab, Site::Hv, tap(Site::Vm2))?;
        let setup = Setup::new("tc1", registrar(Site::Vm1));
        let _tc = ThinClient::start(lab, Site::Vm2, &setup)?;
        sidestep.wait_registered(lab, "tc1")?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        let call = sidestep.wait_call(lab, path)?;
        expect_reason(&call, None)?;
        let [as_gateway, as_tc] = match path {
            "steered" => [Site::Vm1, Site::Vm1],
            _ => [Site::Gw, Site::Vm2],
        };
        hear(&far, as_tc.ip(), Site::Gw.ip(), TC_TONE)?;
        hear(&near, as_gateway.ip(), Site::Vm2.ip(), GATEWAY_TONE)?;
        counted(lab, &sidestep, path)?;
        finished_on_the_way((&near, Site::Vm2), (&far, as_tc))?;
        bridge_is_not_misled(lab)?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// Caller and gateway are both behind interfaces that the host routes between, and the
/// gateway leaves its checksums to a card. Its interface is an uplink or is none.
fn the_host_routes_for_the_gateway_too(path: &str, is_uplink: bool) {
    in_lab(|lab| {
        leave_checksums(lab)?;
        let near = tap(Site::Vm2);
        lab.ip(Site::Hv, &format!("link set {near} nomaster"))?;
        lab.ip(Site::Hv, &format!("addr add 10.71.1.254/24 dev {near}"))?;
        lab.ip(Site::Vm2, "route replace default via 10.71.1.254")?;
        lab.ip(Site::Net, "route add 10.71.1.12/32 via 10.71.5.2")?;
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            others_tap(config);
            config["media"]["paths"] = json!([{"path": path}]);
            if is_uplink && let Some(uplinks) = config["uplinks"].as_array_mut() {
                uplinks.push(json!(near));
            }
        })?;
        let mut vm = phone(lab, Site::Vm3)?;
        let _tc = stock_client(lab, &sidestep, Site::Tc1, "soft3", Site::Vm3)?;
        let mut gw = Sipp::start(lab, Site::Vm2, &Run::new("answer"))?;
        let far = Capture::start(lab, Site::Tc1, "eth0")?;
        let near = Capture::start(lab, Site::Vm2, "eth0")?;
        vm.dial(&format!("sip:100@{}", sip(Site::Vm2)))?;
        vm.wait_established(1, SET_UP)?;
        let call = sidestep.wait_call(lab, path)?;
        expect_reason(&call, None)?;
        let [as_gateway, as_tc] = match path {
            "steered" => [Site::Vm3, Site::Vm3],
            _ => [Site::Vm2, Site::Tc1],
        };
        hear(&far, as_gateway.ip(), Site::Tc1.ip(), GATEWAY_TONE)?;
        hear(&near, as_tc.ip(), Site::Vm2.ip(), TC_TONE)?;
        counted(lab, &sidestep, path)?;
        finished_on_the_way((&near, Site::Vm2), (&far, as_gateway))?;
        let counts = |name: &str| sidestep.counter(lab, name);
        ensure!(
            (counts("checksum-unfinished")? > 50) == is_uplink,
            "where it is an uplink, its frames are the stack's to send on"
        );
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

#[test]
fn a_steered_call_is_routed_between_two_taps() {
    the_host_routes_for_the_gateway_too("steered", false);
}

#[test]
fn a_steered_call_is_routed_between_two_taps_of_which_one_is_an_uplink() {
    the_host_routes_for_the_gateway_too("steered", true);
}

#[test]
fn a_direct_call_is_routed_for_a_gateway_whose_tap_is_an_uplink() {
    the_host_routes_for_the_gateway_too("direct", true);
}

/// Both ends are VMs that are looked after, of which one has its thin client: the other's
/// call goes through its VM, and what would be counted there takes nothing from the first.
#[test]
fn a_steered_call_to_another_vm_that_is_looked_after() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let near = Capture::start(lab, Site::Tc1, "eth0")?;
        let far = Capture::start(lab, Site::Hv, tap(Site::Vm2))?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let mut called = Baresip::start(
            lab,
            Site::Vm2,
            &baresip::Setup {
                auto_answer: true,
                ..baresip::Setup::default()
            },
        )?;
        let mut vm = phone(lab, Site::Vm1)?;
        vm.dial(&format!("sip:desk@{}", sip(Site::Vm2)))?;
        vm.wait_established(1, SET_UP)?;
        called.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "steered")?;
        let through = sidestep.wait_call(lab, "vm")?;
        expect_reason(&through, Some("tc-not-registered"))?;
        hear(&near, Site::Vm1.ip(), Site::Tc1.ip(), VM_TONE)?;
        hear(&far, Site::Vm1.ip(), Site::Vm2.ip(), TC_TONE)?;
        counted(lab, &sidestep, "steered")?;
        // The one called offers anew: its own call is the last to hear the answer.
        for (nth, on) in [(1, true), (2, false)] {
            called.hold(on)?;
            far.wait_for("an offer to be answered", seconds(5), |trace| {
                let acknowledged = requests(trace, "ACK", Site::Vm2.ip(), Site::Vm1.ip());
                (acknowledged >= nth).then_some(())
            })?;
        }
        for (wire, to) in [(&near, Site::Tc1), (&far, Site::Vm2)] {
            let so_far = |trace: &Trace| trace.rtp_between(Site::Vm1.ip(), to.ip()).packets;
            let before = so_far(&wire.so_far()?);
            wire.wait_for("media to go on", seconds(5), |trace| {
                (so_far(trace) > before + 60).then_some(())
            })?;
        }
        hear(&near, Site::Vm1.ip(), Site::Tc1.ip(), VM_TONE)?;
        hear(&far, Site::Vm1.ip(), Site::Vm2.ip(), TC_TONE)?;
        vm.hang_up()?;
        wait_over(lab, &sidestep)
    });
}

/// A next hop's MAC is forgotten in mid-call, again and again: the stack takes the
/// packets that the program passes it, asks once, and none is lost.
#[test]
fn a_neighbour_is_missing_and_no_packet_is_lost() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let mut vm = phone(lab, Site::Vm3)?;
        let _tc = stock_client(lab, &sidestep, Site::Tc1, "soft3", Site::Vm3)?;
        // It answers, and leaves its media to the load.
        let name = silent(lab, "answer")?;
        let mut gw = Sipp::start(lab, Site::Gw, &Run::new(&name))?;
        vm.dial(&format!("sip:100@{}", sip(Site::Gw)))?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "steered")?;
        let near = Capture::start(lab, Site::Tc1, "eth0")?;
        let flow = sidestep.wait_for_row(lab, "flows", "its anchor", seconds(5), |row| {
            row["leg"] == "gateway->tc" && row["rtcp"] == false
        })?;
        let anchor = flow["to"].as_str().context("an address")?;
        let anchor: SocketAddrV4 = anchor.parse()?;
        ensure!(*anchor.ip() == Site::Vm3.ip(), "{flow}");
        let load = Load::start(lab, Site::Gw, SILENT_PORT, anchor, SSRC)?;
        let before = sidestep.counter(lab, "fib-passed")?;
        for flushed in 1..=5 {
            lab.ip(Site::Hv, "neigh flush dev up3")?;
            wait_for("packets to go by the stack", seconds(5), || {
                let passed = sidestep.counter(lab, "fib-passed").ok()?;
                (passed >= before + flushed).then_some(())
            })?;
            // And by the program again.
            let forwarded = sidestep.counter(lab, "steered-forwarded")?;
            wait_for("the neighbour to be known", seconds(5), || {
                let now = sidestep.counter(lab, "steered-forwarded").ok()?;
                (now > forwarded + 50).then_some(())
            })?;
        }
        let sent = load.stop()?;
        let came = wait_for("every packet", seconds(5), || {
            let stream = near.so_far().ok()?.rtp(|d| d.src == anchor);
            (stream.packets >= sent).then_some(stream)
        })?;
        // Some wait for the neighbour while others are faster; none comes twice.
        let mut numbers = came.sequences;
        numbers.sort_unstable();
        numbers.dedup();
        ensure!(
            came.packets == sent && numbers.len() as u64 == sent,
            "{} of {sent}, {} different",
            came.packets,
            numbers.len()
        );
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}
