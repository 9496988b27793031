//! Thin clients that speak H.248 or MGCP, with stock peers around them: a SIP
//! softphone in the VM, a SIP gateway, and real RTP between gateway and thin client.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::Process;
use sidestep_tests::peers::megaco::{Form, Megaco, Transport};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::peers::speaker::Speaker;
use sidestep_tests::peers::thin_client::ThinClient;
use sidestep_tests::stage::{
    SET_UP, TC_TONE, Wires, agree, call_gateway, dial_gateway, expect_reason, frozen, gateway,
    phone, registrar, sip, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// The daemon's account, and the thin client's own keys.
fn h248(encoding: &str) -> (Value, Value) {
    (
        json!({"user": "tc1", "vm": "desk-1", "protocol": "h248", "mid": "<tc1>",
               "from": Site::Tc1.ip()}),
        json!({"protocol": "h248", "mid": "<tc1>", "encoding": encoding}),
    )
}

fn mgcp() -> (Value, Value) {
    (
        json!({"user": "tc1", "vm": "desk-1", "protocol": "mgcp", "endpoint": "aaln/1@tc1",
               "from": Site::Tc1.ip()}),
        json!({"protocol": "mgcp", "endpoint": "aaln/1@tc1"}),
    )
}

fn start(lab: &Lab, (account, keys): (Value, Value)) -> Result<(Sidestep, ThinClient)> {
    let protocol = account["protocol"].clone();
    let sidestep = Sidestep::start_with(lab, &[], |config| {
        config["thin_clients"][0] = account;
    })?;
    let tc = thin_client(lab, &sidestep, |setup| setup.gateway = Some(keys))?;
    let client = sidestep.wait_registered(lab, "tc1")?;
    ensure!(client["protocol"] == protocol, "{client}");
    ensure!(
        client["codecs"] == json!(["PCMU/8000", "PCMA/8000"]),
        "{client}"
    );
    Ok((sidestep, tc))
}

/// The call is direct, and thin client and gateway hear each other.
fn heard(lab: &Lab, sidestep: &Sidestep, wires: &Wires) -> Result<()> {
    let call = sidestep.wait_call(lab, "direct")?;
    expect_reason(&call, None)?;
    ensure!(
        call["thin_client"] == "tc1" && call["protocol"] == "sip",
        "{call}"
    );
    wires.hear_direct()
}

/// What is on the wires is what was counted, and none of it went through the VM, while
/// the senders are still.
fn counted(lab: &Lab, sidestep: &Sidestep, wires: &Wires, senders: &[&Process]) -> Result<()> {
    frozen(senders, || {
        let (near, far) = (Site::Tc1.ip(), Site::Gw.ip());
        agree(lab, sidestep, &wires.gateway, near, far)?;
        agree(lab, sidestep, &wires.thin_client, far, near)
    })?;
    wires.nothing_past_tap()
}

fn talk(
    lab: &Lab,
    sidestep: &Sidestep,
    wires: &Wires,
    tc: &mut ThinClient,
    gw: &mut Sipp,
) -> Result<()> {
    heard(lab, sidestep, wires)?;
    counted(lab, sidestep, wires, &[tc.process(), gw.process()])
}

/// Fig. 5 at the thin client, Fig. 3 at the gateway.
fn outgoing(form: (Value, Value)) {
    in_lab(|lab| {
        let (sidestep, mut tc) = start(lab, form.clone())?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        talk(lab, &sidestep, &wires, &mut tc, &mut gw)?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        tc.wait_for("the end of the call", seconds(5), |report| {
            (report["calls"][0]["state"] == "ended").then_some(())
        })
    });
}

/// Fig. 6 at the thin client, Fig. 4 at the gateway.
fn incoming(form: (Value, Value)) {
    in_lab(|lab| {
        let (sidestep, mut tc) = start(lab, form.clone())?;
        let wires = Wires::start(lab)?;
        let mut vm = phone(lab, Site::Vm1)?;
        let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
        vm.wait_for("CALL_INCOMING", SET_UP)?;
        vm.accept()?;
        talk(lab, &sidestep, &wires, &mut tc, &mut gw)?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

#[test]
fn fig5_with_an_mgcp_thin_client() {
    outgoing(mgcp());
}

#[test]
fn fig5_with_an_h248_thin_client_in_text() {
    outgoing(h248("text"));
}

#[test]
fn fig5_with_an_h248_thin_client_in_binary() {
    outgoing(h248("binary"));
}

#[test]
fn fig6_with_an_mgcp_thin_client() {
    incoming(mgcp());
}

#[test]
fn fig6_with_an_h248_thin_client_in_text() {
    incoming(h248("text"));
}

/// Erlang/OTP's megaco as the thin client, with RTP of the lab's.
fn stock(lab: &Lab, transport: Transport, form: Form) -> Result<(Sidestep, Megaco)> {
    let sidestep = Sidestep::start_with(lab, &[], |config| {
        let mid = format!("[{}]:{}", Site::Tc1.ip(), form.port());
        config["thin_clients"][0] = json!({"user": "tc1", "vm": "desk-1", "protocol": "h248",
            "mid": mid, "from": Site::Tc1.ip()});
    })?;
    let tc = Megaco::thin_client(lab, Site::Tc1, transport, form, registrar(Site::Vm1))?;
    // 501: ServiceChange, AuditValue, AuditCapabilities.
    let client = sidestep.wait_registered(lab, "tc1")?;
    ensure!(
        client["protocol"] == "h248" && client["codecs"] == json!(["PCMA/8000"]),
        "{client}"
    );
    Ok((sidestep, tc))
}

/// Fig. 5 with a stock gateway as thin client, Fig. 3 at the gateway.
fn outgoing_with_a_stock_gateway(transport: Transport, form: Form) {
    in_lab(|lab| {
        let (sidestep, mut tc) = stock(lab, transport, form)?;
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        // 502, 503: where it receives. 508: of the gateway.
        let local = tc.wait_address("local")?;
        let remote = tc.wait_address("remote")?;
        ensure!(*remote.ip() == Site::Gw.ip(), "{remote}");
        let speaker = Speaker::start(lab, Site::Tc1, local.port(), remote, TC_TONE)?;
        vm.wait_established(1, SET_UP)?;
        heard(lab, &sidestep, &wires)?;
        drop(speaker);
        counted(lab, &sidestep, &wires, &[gw.process()])?;
        vm.hang_up()?;
        tc.wait("subtracted")?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// Fig. 6 with a stock gateway as thin client, Fig. 4 at the gateway; its user hangs up.
fn incoming_with_a_stock_gateway(transport: Transport, form: Form) {
    in_lab(|lab| {
        let (sidestep, mut tc) = stock(lab, transport, form)?;
        let wires = Wires::start(lab)?;
        let mut vm = phone(lab, Site::Vm1)?;
        let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
        vm.wait_for("CALL_INCOMING", SET_UP)?;
        vm.accept()?;
        // 606, 607.
        let remote = tc.wait_address("remote")?;
        ensure!(*remote.ip() == Site::Gw.ip(), "{remote}");
        let local = tc.wait_address("local")?;
        let speaker = Speaker::start(lab, Site::Tc1, local.port(), remote, TC_TONE)?;
        heard(lab, &sidestep, &wires)?;
        drop(speaker);
        counted(lab, &sidestep, &wires, &[gw.process()])?;
        // The Subtract may come before the reply to its Notify.
        tc.ask("on-hook", "subtracted")?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

#[test]
fn fig5_with_erlang_as_thin_client_in_text() {
    outgoing_with_a_stock_gateway(Transport::Udp, Form::Pretty);
}

#[test]
fn fig5_with_erlang_as_thin_client_in_binary() {
    outgoing_with_a_stock_gateway(Transport::Udp, Form::Ber);
}

#[test]
fn fig6_with_erlang_as_thin_client_in_text() {
    incoming_with_a_stock_gateway(Transport::Udp, Form::Compact);
}

#[test]
fn fig6_with_erlang_as_thin_client_in_binary() {
    incoming_with_a_stock_gateway(Transport::Udp, Form::Ber);
}

#[test]
fn fig5_with_erlang_as_thin_client_over_tcp_in_text() {
    outgoing_with_a_stock_gateway(Transport::Tcp, Form::Compact);
}

#[test]
fn fig5_with_erlang_as_thin_client_over_tcp_in_binary() {
    outgoing_with_a_stock_gateway(Transport::Tcp, Form::Ber);
}

#[test]
fn fig6_with_erlang_as_thin_client_over_tcp_in_text() {
    incoming_with_a_stock_gateway(Transport::Tcp, Form::Pretty);
}

#[test]
fn fig6_with_erlang_as_thin_client_over_tcp_in_binary() {
    incoming_with_a_stock_gateway(Transport::Tcp, Form::Ber);
}

/// A connection says at once what silence says after a minute.
#[test]
fn a_thin_client_whose_connection_is_gone_gives_its_call_back_to_the_vm() {
    in_lab(|lab| {
        let (account, mut keys) = h248("binary");
        keys["transport"] = json!("tcp");
        let (sidestep, mut tc) = start(lab, (account, keys))?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        talk(lab, &sidestep, &wires, &mut tc, &mut gw)?;
        tc.process().kill()?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("tc-lost"))?;
        ensure!(call["state"] == "up", "{call}");
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}
