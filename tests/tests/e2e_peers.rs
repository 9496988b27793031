//! Other people's software between and at the ends of a call: a record-routing
//! proxy, and a second family of softphone.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::kamailio::{self, Kamailio};
use sidestep_tests::peers::linphone::Linphone;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{
    SET_UP, VM_TONE, Wires, expect_reason, gateway, phone, requests, sip, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// Kamailio stays in the dialog by Record-Route: ACK and BYE take the route set
/// through it, in calls of either side, and media goes direct all the same.
#[test]
fn calls_through_a_record_routing_proxy() {
    in_lab(|lab| through_proxy(lab, false));
}

/// The same with TCP between VM and proxy, UDP between proxy and gateway.
#[test]
fn calls_through_a_proxy_over_tcp() {
    in_lab(|lab| through_proxy(lab, true));
}

/// A call of the VM's and one to it, through a proxy before the gateway.
fn through_proxy(lab: &Lab, tcp: bool) -> Result<()> {
    let setup = kamailio::Setup {
        address: sip(Site::Gw),
        gateway: SocketAddrV4::new(Site::Gw.ip(), BEHIND_PROXY),
        vm: sip(Site::Vm1),
        tcp,
        rtpengine: None,
    };
    let _proxy = Kamailio::start(lab, Site::Gw, &setup)?;
    let sidestep = Sidestep::start(lab)?;
    let _tc = thin_client(lab, &sidestep, |_| {})?;
    let wires = Wires::start(lab)?;
    let mut vm = phone(lab, Site::Vm1)?;
    let mut gw = Sipp::start(lab, Site::Gw, &behind_proxy("answer"))?;
    let transport = if tcp { "tcp" } else { "udp" };
    vm.dial(&format!("sip:100@{};transport={transport}", sip(Site::Gw)))?;
    vm.wait_established(1, SET_UP)?;
    let call = sidestep.wait_call(lab, "direct")?;
    expect_reason(&call, None)?;
    wires.hear_direct()?;
    vm.hang_up()?;
    gw.finish(seconds(5))?;
    wait_over(lab, &sidestep)?;

    let calling = behind_proxy("call").calling(sip(Site::Gw));
    let mut gw = Sipp::start(lab, Site::Gw, &calling)?;
    vm.wait_for("CALL_INCOMING", SET_UP)?;
    vm.accept()?;
    vm.wait_established(2, SET_UP)?;
    sidestep.wait_call(lab, "direct")?;
    wires.hear_direct()?;
    vm.hang_up()?;
    gw.finish(seconds(5))?;
    wires.nothing_past_tap()?;
    wait_over(lab, &sidestep)?;
    let byes = requests(&wires.gateway.stop()?, "BYE", Site::Vm1.ip(), Site::Gw.ip());
    // Over TCP none crosses as a datagram.
    let expected = if tcp { 0 } else { 2 };
    ensure!(byes == expected, "{byes} BYE of the VM at the proxy by UDP");
    Ok(())
}

/// Port of a gateway that has a proxy before it, on the same box.
const BEHIND_PROXY: u16 = 5080;

/// That gateway.
fn behind_proxy(scenario: &'static str) -> Run<'static> {
    Run {
        port: BEHIND_PROXY,
        ..Run::new(scenario)
    }
}

/// linphone in the VM calls, and is called.
#[test]
fn linphone_in_the_vm() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let mut vm = Linphone::start(lab, Site::Vm1, VM_TONE)?;
        let mut gw = gateway(lab, "answer")?;
        vm.dial(&format!("sip:100@{}", sip(Site::Gw)))?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        wires.hear_direct()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;

        let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
        vm.wait_for_text("Receiving new incoming call")?;
        vm.accept()?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wires.nothing_past_tap()?;
        wait_over(lab, &sidestep)
    });
}
