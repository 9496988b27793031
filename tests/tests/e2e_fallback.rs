//! Whatever stands in the way of a bypass, the call is set up through the VM as
//! if Sidestep were not there, and says why.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::peers::thin_client::{Setup, ThinClient};
use sidestep_tests::stage::{
    SET_UP, Wires, dial_gateway, expect_reason, gateway, invite, phone, sip, stock_client,
    thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// One row: what stands in the way, and what `sidestep calls` says of it.
struct Case {
    /// What it is about.
    what: &'static str,
    /// The thin client, if one registers.
    thin_client: Option<fn(&mut Setup<'_>)>,
    /// The gateway's scenario for the outgoing call.
    gateway: &'static str,
    /// Reason of the outgoing call.
    outgoing: &'static str,
    /// Reason of the incoming call; `None`: not tried.
    incoming: Option<&'static str>,
}

const CASES: [Case; 5] = [
    Case {
        what: "no thin client is registered",
        thin_client: None,
        gateway: "answer",
        outgoing: "tc-not-registered",
        incoming: Some("tc-not-registered"),
    },
    Case {
        what: "the thin client refuses",
        thin_client: Some(|setup| setup.answer = json!({"refuse": 486})),
        gateway: "answer",
        outgoing: "tc-refused",
        incoming: Some("tc-refused"),
    },
    Case {
        what: "the thin client is silent",
        thin_client: Some(|setup| setup.answer = json!("silent")),
        gateway: "answer",
        outgoing: "tc-no-answer",
        incoming: Some("tc-no-answer"),
    },
    Case {
        what: "the thin client that offers first is silent",
        thin_client: Some(|setup| {
            setup.answer = json!("silent");
            setup.register = "none";
        }),
        gateway: "answer",
        outgoing: "tc-no-answer",
        incoming: None,
    },
    Case {
        what: "the gateway has no codec of the thin client",
        thin_client: Some(|setup| setup.codecs = &["PCMU"]),
        gateway: "refuse_codecs",
        outgoing: "no-common-codec",
        incoming: None,
    },
];

#[test]
fn call_goes_through_the_vm_and_says_why() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        for case in &CASES {
            let client = case
                .thin_client
                .map(|change| thin_client(lab, &sidestep, change))
                .transpose()?;
            outgoing(lab, &sidestep, case.gateway, case.outgoing).context(case.what)?;
            if let Some(reason) = case.incoming {
                incoming(lab, &sidestep, reason).context(case.what)?;
            }
            if let Some(client) = client {
                leave(lab, &sidestep, client).context(case.what)?;
            }
        }
        Ok(())
    });
}

/// The thin client goes, and unregisters.
fn leave(lab: &Lab, sidestep: &Sidestep, mut client: ThinClient) -> Result<()> {
    client.process().terminate(seconds(5))?;
    sidestep_tests::wait::wait_for("the thin client to unregister", seconds(5), || {
        sidestep
            .query(lab, "clients")
            .ok()?
            .is_empty()
            .then_some(())
    })
}

fn outgoing(lab: &Lab, sidestep: &Sidestep, scenario: &str, reason: &str) -> Result<()> {
    let wires = Wires::start(lab)?;
    let mut gw = gateway(lab, scenario)?;
    let mut vm = phone(lab, Site::Vm1)?;
    dial_gateway(&mut vm)?;
    vm.wait_established(1, SET_UP)?;
    let call = sidestep.wait_call(lab, "vm")?;
    expect_reason(&call, Some(reason))?;
    ensure!(call["direction"] != "incoming", "{call}");
    wires.hear_through_vm()?;
    relayed_is_counted(lab, sidestep, &call)?;
    vm.hang_up()?;
    gw.finish(seconds(5))?;
    wait_over(lab, sidestep)
}

fn incoming(lab: &Lab, sidestep: &Sidestep, reason: &str) -> Result<()> {
    let wires = Wires::start(lab)?;
    let mut vm = phone(lab, Site::Vm1)?;
    let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
    vm.wait_for("CALL_INCOMING", SET_UP)?;
    vm.accept()?;
    let call = sidestep.wait_call(lab, "vm")?;
    expect_reason(&call, Some(reason))?;
    wires.hear_through_vm()?;
    vm.hang_up()?;
    gw.finish(seconds(5))?;
    wait_over(lab, sidestep)
}

/// Media of a call on the `vm` path is counted at the tap, both ways.
fn relayed_is_counted(lab: &Lab, sidestep: &Sidestep, call: &Value) -> Result<()> {
    for leg in ["vm->gateway", "gateway->vm"] {
        sidestep.wait_for_row(
            lab,
            "flows",
            "relayed media to be counted",
            seconds(3),
            |row| {
                row["call"] == call["id"]
                    && row["leg"] == leg
                    && row["packets"].as_u64().is_some_and(|packets| packets > 20)
            },
        )?;
    }
    Ok(())
}

/// A rule of the configuration wants the call through the VM.
#[test]
fn policy_sends_the_call_through_the_vm() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["media"]["paths"] = json!([{"gateways": "10.71.3.0/24", "path": "vm"}]);
        })?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        outgoing(lab, &sidestep, "answer", "policy")?;
        incoming(lab, &sidestep, "policy")
    });
}

/// A session description that cannot be parsed goes byte for byte, and so does
/// the call.
#[test]
fn session_description_that_makes_no_sense_is_left_alone() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let run = Run {
            keys: &[("sdp_line", "m=image nowhere")],
            options: &["-d", "1500"],
            ..Run::new("call_hangup").calling(sip(Site::Gw))
        };
        let mut vm = Sipp::start(lab, Site::Vm1, &run)?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("sdp-not-understood"))?;
        vm.finish(seconds(10))?;
        gw.finish(seconds(5))?;
        let sent = invite(&wires.tap, Site::Vm1, Site::Gw)?.payload;
        let arrived = invite(&wires.gateway, Site::Vm1, Site::Gw)?.payload;
        ensure!(
            sent == arrived,
            "changed on its way:\n{}\n{}",
            String::from_utf8_lossy(&sent),
            String::from_utf8_lossy(&arrived)
        );
        wait_over(lab, &sidestep)
    });
}
