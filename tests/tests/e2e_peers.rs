//! Other people's software between and at the ends of a call: a record-routing
//! proxy, and a second family of softphone.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use serde_json::json;
use sidestep_tests::certificates::Authority;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::kamailio::{self, Kamailio, Toward};
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
    through_proxy_over(Toward::Udp, "udp");
}

/// The same with TCP between VM and proxy, UDP between proxy and gateway.
#[test]
fn calls_through_a_proxy_over_tcp() {
    through_proxy_over(Toward::Tcp, "tcp");
}

/// The same with TLS between VM and proxy, which connects to the VM itself where it has
/// a call for it, and wants a certificate of the other side whoever connects.
#[test]
fn calls_through_a_proxy_over_tls() {
    in_lab(|lab| {
        let (vm, gw) = (Site::Vm1.ip().to_string(), Site::Gw.ip().to_string());
        let (site, carrier) = (Authority::new()?, Authority::new()?);
        let of_proxy = carrier.issue(&[&gw])?;
        let toward_vm = Toward::Tls {
            own: &of_proxy,
            // Of Sidestep, in the VM's name.
            trusts: &carrier.root,
        };
        let _proxy = proxy(lab, toward_vm)?;
        let of_vm = carrier.issue(&[&vm])?.write(lab, "of-vm")?;
        let mut tls = site.issue(&[&gw])?.write(lab, "shown")?;
        tls["certificates"] = json!([of_vm]);
        tls["trust"] = carrier.write(lab, "carrier")?.into();
        tls["vm_trust"] = site.write(lab, "site")?.into();
        tls["client_certificate"] = of_vm["certificate"].clone();
        tls["client_key"] = of_vm["key"].clone();
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["signalling"]["tls"] = tls;
        })?;
        let own = site.issue(&[&vm])?;
        let setup = baresip::Setup {
            transport: "tls",
            certificate: Some(&own),
            ..baresip::Setup::default()
        };
        let phone = Baresip::start(lab, Site::Vm1, &setup)?;
        through_proxy(lab, &sidestep, phone, &format!("{gw}:5061"))
    });
}

/// Calls of a VM that speaks to the proxy by a transport that needs no certificate.
fn through_proxy_over(toward_vm: Toward<'_>, transport: &str) {
    in_lab(|lab| {
        let _proxy = proxy(lab, toward_vm)?;
        let sidestep = Sidestep::start(lab)?;
        let phone = phone(lab, Site::Vm1)?;
        let at = format!("{};transport={transport}", sip(Site::Gw));
        through_proxy(lab, &sidestep, phone, &at)
    });
}

/// The proxy, on the gateway's box.
fn proxy(lab: &Lab, toward_vm: Toward<'_>) -> Result<Kamailio> {
    let port = if let Toward::Tls { .. } = toward_vm {
        5061
    } else {
        5060
    };
    let setup = kamailio::Setup {
        address: sip(Site::Gw),
        gateway: SocketAddrV4::new(Site::Gw.ip(), BEHIND_PROXY),
        vm: SocketAddrV4::new(Site::Vm1.ip(), port),
        toward_vm,
        rtpengine: None,
    };
    Kamailio::start(lab, Site::Gw, &setup)
}

/// A call of the VM's and one to it, through a proxy before the gateway, which the VM
/// calls at this address.
fn through_proxy(lab: &Lab, sidestep: &Sidestep, mut vm: Baresip, proxy: &str) -> Result<()> {
    let _tc = thin_client(lab, sidestep, |_| {})?;
    let wires = Wires::start(lab)?;
    let mut gw = Sipp::start(lab, Site::Gw, &behind_proxy("answer"))?;
    vm.dial(&format!("sip:100@{proxy}"))?;
    vm.wait_established(1, SET_UP)?;
    let call = sidestep.wait_call(lab, "direct")?;
    expect_reason(&call, None)?;
    wires.hear_direct()?;
    vm.hang_up()?;
    gw.finish(seconds(5))?;
    wait_over(lab, sidestep)?;

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
    wait_over(lab, sidestep)?;
    let byes = requests(&wires.gateway.stop()?, "BYE", Site::Vm1.ip(), Site::Gw.ip());
    // In a connection none crosses as a datagram.
    let expected = if proxy.ends_with("udp") { 2 } else { 0 };
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
