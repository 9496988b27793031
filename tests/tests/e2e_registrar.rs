//! Thin clients that speak SIP and register by TLS: calls go to them by their
//! connection, and who loses it is not there until it registers again.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sidestep_tests::certificates::Authority;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::thin_client::{Setup, ThinClient};
use sidestep_tests::stage::{
    SET_UP, TC_TONE, Wires, call_gateway, expect_reason, registrar, requests, thin_client,
    wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// Sidestep with a certificate for the first VM's address, which an authority of the
/// site's has signed.
fn start(lab: &Lab, site: &Authority) -> Result<Sidestep> {
    start_with(lab, site, |_| {})
}

fn start_with(lab: &Lab, site: &Authority, change: impl FnOnce(&mut Value)) -> Result<Sidestep> {
    let shown = site.issue(&[&Site::Vm1.ip().to_string()])?;
    let tls = shown.write(lab, "registrar")?;
    Sidestep::start_with(lab, &[], |config| {
        config["registration"]["tls"] = tls;
        change(config);
    })
}

/// A call of the first VM's to the gateway, with its media straight to tc1.
fn whole_call(lab: &Lab, sidestep: &Sidestep) -> Result<()> {
    let wires = Wires::start(lab)?;
    let (mut gateway, mut vm) = call_gateway(lab)?;
    expect_reason(&sidestep.wait_call(lab, "direct")?, None)?;
    wires.hear_direct()?;
    vm.hang_up()?;
    gateway.finish(seconds(5))?;
    wires.nothing_past_tap()?;
    wait_over(lab, sidestep)?;
    let tc = wires.thin_client.stop()?;
    for method in ["INVITE", "ACK", "BYE"] {
        let count = requests(&tc, method, Site::Vm1.ip(), Site::Tc1.ip());
        ensure!(count == 0, "{count} {method} by datagrams");
    }
    let registrar = registrar(Site::Vm1);
    let datagrams = tc.datagrams.iter();
    let ours = datagrams.filter(|d| d.src == registrar || d.dst == registrar);
    let count = ours.count();
    ensure!(count == 0, "{count} datagrams of the registrar's");
    Ok(())
}

/// A stock softphone, which is gone with its connection.
#[test]
fn a_stock_softphone_comes_by_tls() {
    in_lab(stock_softphone);
}

fn stock_softphone(lab: &Lab) -> Result<()> {
    let sidestep = start(lab, &Authority::new()?)?;
    let setup = baresip::Setup {
        user: "soft1",
        registrar: Some((registrar(Site::Vm1), "secret")),
        transport: "tls",
        auto_answer: true,
        tone: TC_TONE,
        ..baresip::Setup::default()
    };
    let mut phone = Baresip::start(lab, Site::Tc1, &setup)?;
    phone.wait_registered(seconds(10))?;
    sidestep.wait_registered(lab, "soft1")?;
    whole_call(lab, &sidestep)?;
    phone.process().kill()?;
    wait_for("the registration to end", seconds(5), || {
        let clients = sidestep.query(lab, "clients").ok()?;
        clients.is_empty().then_some(())
    })
}

/// The project's thin client verifies whom it registers at: by the authority that it
/// trusts, and by the registrar's address.
#[test]
fn the_thin_client_over_tls() {
    in_lab(|lab| {
        let site = Authority::new()?;
        let mut sidestep = start(lab, &site)?;
        let by_tls = |trust: String| -> Value { json!({"transport": "tls", "trust": trust}) };
        let stranger = Authority::new()?.write(lab, "stranger")?;
        let mut setup = Setup::new("tc1", registrar(Site::Vm1));
        setup.more = Some(by_tls(stranger));
        let mut refusing = ThinClient::start(lab, Site::Tc1, &setup)?;
        refusing
            .process()
            .wait_for_text("invalid peer certificate", SET_UP)?;
        drop(refusing);
        ensure!(sidestep.query(lab, "clients")?.is_empty());

        let trust = site.write(lab, "site")?;
        let tc = thin_client(lab, &sidestep, |setup| setup.more = Some(by_tls(trust)))?;
        whole_call(lab, &sidestep)?;
        // It comes back by itself.
        sidestep.terminate()?;
        sidestep.restart(lab, &[])?;
        sidestep.wait_registered(lab, "tc1")?;
        drop(tc);
        Ok(())
    });
}

/// The same of H.248, in TPKT as by TCP.
#[test]
fn an_h248_thin_client_over_tls() {
    in_lab(|lab| {
        let site = Authority::new()?;
        let sidestep = start_with(lab, &site, |config| {
            config["thin_clients"][0] = json!({"user": "tc1", "vm": "desk-1",
                "protocol": "h248", "mid": "<tc1>", "from": Site::Tc1.ip()});
        })?;
        let trust = site.write(lab, "site")?;
        let mut tc = thin_client(lab, &sidestep, |setup| {
            setup.gateway = Some(json!({"protocol": "h248", "mid": "<tc1>",
                "encoding": "binary", "transport": "tls", "trust": trust}));
        })?;
        let client = sidestep.wait_registered(lab, "tc1")?;
        ensure!(client["protocol"] == "h248", "{client}");
        whole_call(lab, &sidestep)?;
        tc.process().kill()?;
        wait_for("the registration to end", seconds(5), || {
            let clients = sidestep.query(lab, "clients").ok()?;
            clients.is_empty().then_some(())
        })
    });
}
