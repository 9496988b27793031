//! H.248 with Erlang/OTP's megaco: a media gateway controller in the VM, a gateway
//! outside, real RTP. Fig. 5 and Fig. 6 of the document on real wires, over UDP and TCP,
//! in text and in BER.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use serde_json::json;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::capture::Capture;
use sidestep_tests::peers::megaco::{Form, Megaco, Transport};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::speaker::Speaker;
use sidestep_tests::stage::{
    GATEWAY_TONE, TC_TONE, VM_TONE, Wires, agree, expect_reason, frozen, hear, registrar,
    thin_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// Where the VM's user would receive.
const VM_MEDIA: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 71, 1, 11), 10020);

/// The controller in the first VM, and a gateway that has registered there.
fn association(lab: &Lab, transport: Transport, form: Form) -> Result<(Megaco, Megaco)> {
    let mut controller = Megaco::controller(lab, Site::Vm1, transport, form)?;
    let gateway = Megaco::gateway(lab, Site::Gw, transport, form, Site::Vm1.ip())?;
    controller.wait("service-change")?;
    Ok((controller, gateway))
}

/// The peers by themselves: what the lab, the controller and the gateway do without
/// Sidestep.
#[test]
fn without_sidestep_the_gateway_is_told_of_the_vm() {
    in_lab(|lab| {
        let wires = Wires::start(lab)?;
        let (mut controller, mut gateway) = association(lab, Transport::Udp, Form::Pretty)?;
        let told = controller.add(VM_MEDIA)?;
        let remote = gateway.wait_address("remote")?;
        ensure!(remote == VM_MEDIA, "{remote}");
        let _gw = Speaker::start(lab, Site::Gw, told.port(), remote, GATEWAY_TONE)?;
        let _vm = Speaker::start(lab, Site::Vm1, VM_MEDIA.port(), told, VM_TONE)?;
        wires.hear_through_vm()?;
        controller.ask("subtract", "subtracted").map(drop)
    });
}

/// Messages of a form as tshark has them, over UDP and in TPKT.
fn messages(form: Form) -> &'static str {
    match form {
        Form::Ber => "h248",
        Form::Pretty | Form::Compact => "megaco",
    }
}

/// What tshark's dissectors complain of among the messages from a site.
fn malformed(lab: &Lab, wire: &Capture, from: Site, form: Form) -> Result<Vec<String>> {
    let filter = format!(
        "{} && ip.src == {} && _ws.malformed",
        messages(form),
        from.ip()
    );
    wire.dissect(lab, &filter)
}

/// They complain of nothing that the gateway and the thin client are sent, in the VM's
/// name or by the VM, and of nothing that the VM is sent which they had not complained of
/// as it left the gateway (in BER, of Erlang's reply to an audit).
fn nothing_malformed(lab: &Lab, wires: &Wires, form: Form) -> Result<()> {
    for wire in [&wires.gateway, &wires.thin_client] {
        let sent = malformed(lab, wire, Site::Vm1, form)?;
        ensure!(sent.is_empty(), "{sent:#?}");
    }
    let left = malformed(lab, &wires.gateway, Site::Gw, form)?;
    let came = malformed(lab, &wires.tap, Site::Gw, form)?;
    ensure!(
        came.len() <= left.len(),
        "left the gateway: {left:#?}, came to the VM: {came:#?}"
    );
    Ok(())
}

/// A call from the controller's Add to its Subtract, with all that is to be seen of it.
fn goes_direct(transport: Transport, form: Form) {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut controller, mut gateway) = association(lab, transport, form)?;

        // 504: the gateway is told of the thin client; 505: the controller of the gateway.
        let told = controller.add(VM_MEDIA)?;
        let remote = gateway.wait_address("remote")?;
        ensure!(*remote.ip() == Site::Tc1.ip(), "{remote}");
        ensure!(told == SocketAddrV4::new(Site::Gw.ip(), 6002), "{told}");

        // 516: media.
        let gw = Speaker::start(lab, Site::Gw, told.port(), remote, GATEWAY_TONE)?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        ensure!(
            call["protocol"] == "h248" && call["vm"] == "desk-1" && call["thin_client"] == "tc1",
            "{call}"
        );
        wires.hear_direct()?;
        drop(gw);
        frozen(&[tc.process()], || {
            let (near, far) = (Site::Tc1.ip(), Site::Gw.ip());
            let up = agree(lab, &sidestep, &wires.gateway, near, far)?;
            let down = agree(lab, &sidestep, &wires.thin_client, far, near)?;
            ensure!(up["leg"] == "tc->gateway", "{up}");
            ensure!(down["leg"] == "gateway->tc", "{down}");
            for flow in [up, down] {
                ensure!(flow["lost"] == 0 && flow["payload_type"] == 8, "{flow}");
                ensure!(flow["call"] == call["id"], "{flow}");
            }
            Ok(())
        })?;

        // The VM's own media is stopped at the tap.
        let _vm = Speaker::start(lab, Site::Vm1, VM_MEDIA.port(), told, VM_TONE)?;
        hear(&wires.tap, Site::Vm1.ip(), Site::Gw.ip(), VM_TONE)?;
        wires.nothing_past_tap()?;

        // What the controller asks for is what it has said; a Notify passes.
        let audited = controller.audit()?;
        ensure!(audited == VM_MEDIA, "{audited}");
        gateway.ask("off-hook", "notified")?;
        let event = controller.wait("notify")?;
        ensure!(event == ["al/of"], "{event:?}");

        controller.ask("subtract", "subtracted")?;
        gateway.wait("subtracted")?;
        wait_over(lab, &sidestep)?;

        wait_for("messages on the wire", seconds(5), || {
            let found = wires.gateway.dissect(lab, messages(form)).ok()?;
            (found.len() >= 8).then_some(())
        })?;
        nothing_malformed(lab, &wires, form)
    });
}

#[test]
fn a_call_over_udp_in_pretty_text_goes_direct() {
    goes_direct(Transport::Udp, Form::Pretty);
}

#[test]
fn a_call_over_udp_in_ber_goes_direct() {
    goes_direct(Transport::Udp, Form::Ber);
}

#[test]
fn a_call_over_tcp_in_compact_text_goes_direct() {
    goes_direct(Transport::Tcp, Form::Compact);
}

#[test]
fn a_call_over_tcp_in_ber_goes_direct() {
    goes_direct(Transport::Tcp, Form::Ber);
}

/// Erlang/OTP on all three sides: the thin client is a stock gateway, too.
struct OnAllSides {
    sidestep: Sidestep,
    tc: Megaco,
    wires: Wires,
    controller: Megaco,
    gateway: Megaco,
}

impl OnAllSides {
    fn start(lab: &Lab, form: Form) -> Result<Self> {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            let mid = format!("[{}]:{}", Site::Tc1.ip(), form.port());
            config["thin_clients"][0] = json!({"user": "tc1", "vm": "desk-1",
                "protocol": "h248", "mid": mid, "from": Site::Tc1.ip()});
        })?;
        // 501, 601.
        let registrar = registrar(Site::Vm1);
        let tc = Megaco::thin_client(lab, Site::Tc1, Transport::Udp, form, registrar)?;
        sidestep.wait_registered(lab, "tc1")?;
        let wires = Wires::start(lab)?;
        let (controller, gateway) = association(lab, Transport::Udp, form)?;
        Ok(Self {
            sidestep,
            tc,
            wires,
            controller,
            gateway,
        })
    }

    /// Media between `near`, the thin client's, and `told`, the gateway's (516, 614); then
    /// the end.
    fn talk(
        &mut self,
        lab: &Lab,
        (near, told): (SocketAddrV4, SocketAddrV4),
        (direction, form): (&str, Form),
    ) -> Result<()> {
        let gw = Speaker::start(lab, Site::Gw, told.port(), near, GATEWAY_TONE)?;
        let user = Speaker::start(lab, Site::Tc1, near.port(), told, TC_TONE)?;
        let call = self.sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        ensure!(call["direction"] == direction, "{call}");
        self.wires.hear_direct()?;
        drop((gw, user));
        let (near, far) = (Site::Tc1.ip(), Site::Gw.ip());
        agree(lab, &self.sidestep, &self.wires.gateway, near, far)?;
        agree(lab, &self.sidestep, &self.wires.thin_client, far, near)?;
        self.wires.nothing_past_tap()?;

        self.controller.ask("subtract", "subtracted")?;
        self.tc.wait("subtracted")?;
        wait_over(lab, &self.sidestep)?;
        nothing_malformed(lab, &self.wires, form)
    }
}

fn fig5_on_all_sides(form: Form) {
    in_lab(|lab| {
        let mut all = OnAllSides::start(lab, form)?;
        // 502, 503: the thin client describes itself, and has ringback, since the other
        // party is called. 504, 505: the gateway is told of it.
        let told = all.controller.add(VM_MEDIA)?;
        ensure!(all.tc.wait("signals")? == ["cg/rt"]);
        let near = all.tc.wait_address("local")?;
        let remote = all.gateway.wait_address("remote")?;
        ensure!(remote == near && *near.ip() == Site::Tc1.ip(), "{remote}");
        // 508: of the gateway.
        ensure!(all.tc.wait_address("remote")? == told);
        // 510, 514: who answers ends it.
        all.gateway.ask("off-hook", "notified")?;
        ensure!(all.tc.wait("signals")?.is_empty());
        all.talk(lab, (near, told), ("outgoing", form))
    });
}

fn fig6_on_all_sides(form: Form) {
    in_lab(|lab| {
        let mut all = OnAllSides::start(lab, form)?;
        // 602, 603: somebody calls.
        all.gateway.ask("off-hook", "notified")?;
        ensure!(all.controller.wait("notify")? == ["al/of"]);
        // 604, 605: the gateway is told of the thin client, which has described itself.
        let told = all.controller.accept(VM_MEDIA)?;
        let near = all.tc.wait_address("local")?;
        let remote = all.gateway.wait_address("remote")?;
        ensure!(remote == near && *near.ip() == Site::Tc1.ip(), "{remote}");
        // 606, 607: the thin client of the gateway.
        ensure!(all.tc.wait_address("remote")? == told);
        // 610: who calls hears ringback, and the thin client rings (608).
        all.controller.ask("signal cg/rt", "modified")?;
        ensure!(all.gateway.wait("signals")? == ["cg/rt"]);
        ensure!(all.tc.wait("signals")? == ["al/ri"]);
        // 612: it is answered, and neither hears anything any more.
        all.controller.ask("signal", "modified")?;
        ensure!(all.gateway.wait("signals")?.is_empty());
        ensure!(all.tc.wait("signals")?.is_empty());
        all.talk(lab, (near, told), ("incoming", form))
    });
}

#[test]
fn fig5_with_erlang_on_all_sides_in_text() {
    fig5_on_all_sides(Form::Compact);
}

#[test]
fn fig5_with_erlang_on_all_sides_in_binary() {
    fig5_on_all_sides(Form::Ber);
}

#[test]
fn fig6_with_erlang_on_all_sides_in_text() {
    fig6_on_all_sides(Form::Pretty);
}

#[test]
fn fig6_with_erlang_on_all_sides_in_binary() {
    fig6_on_all_sides(Form::Ber);
}

/// No thin client: the gateway is told of the VM, and the call says why.
#[test]
fn without_a_thin_client_the_call_goes_through_the_vm() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let wires = Wires::start(lab)?;
        let (mut controller, mut gateway) = association(lab, Transport::Udp, Form::Ber)?;
        let told = controller.add(VM_MEDIA)?;
        let remote = gateway.wait_address("remote")?;
        ensure!(remote == VM_MEDIA, "{remote}");
        let _gw = Speaker::start(lab, Site::Gw, told.port(), remote, GATEWAY_TONE)?;
        let _vm = Speaker::start(lab, Site::Vm1, VM_MEDIA.port(), told, VM_TONE)?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("tc-not-registered"))?;
        wires.hear_through_vm()?;
        controller.ask("subtract", "subtracted").map(drop)
    });
}

/// A thin client that unregisters in mid-call: a Modify of Sidestep's own, in the VM's
/// name, tells the gateway of the VM again.
#[test]
fn a_thin_client_that_goes_gives_its_call_back_to_the_vm() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut controller, mut gateway) = association(lab, Transport::Udp, Form::Ber)?;
        let told = controller.add(VM_MEDIA)?;
        let remote = gateway.wait_address("remote")?;
        ensure!(*remote.ip() == Site::Tc1.ip(), "{remote}");
        sidestep.wait_call(lab, "direct")?;

        tc.process().terminate(seconds(5))?;
        let remote = gateway.wait_address("remote")?;
        ensure!(remote == VM_MEDIA, "{remote}");
        let _gw = Speaker::start(lab, Site::Gw, told.port(), remote, GATEWAY_TONE)?;
        let _vm = Speaker::start(lab, Site::Vm1, VM_MEDIA.port(), told, VM_TONE)?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("tc-lost"))?;
        wires.hear_through_vm()?;
        nothing_malformed(lab, &wires, Form::Ber)?;
        controller.ask("subtract", "subtracted").map(drop)
    });
}
