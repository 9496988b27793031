//! What changes in a call and how it ends: each leg learns of it, whoever does it.

use anyhow::ensure;
use serde_json::json;
use sidestep_tests::lab::{Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{
    SET_UP, Wires, call_gateway, dial_gateway, expect_reason, gateway, phone, requests,
    stock_client, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// Step 305 with changed information: the thin client answers with another port
/// than it registered, and the gateway is told (M10).
#[test]
fn changed_media_is_signalled_to_the_gateway() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |setup| setup.answer_port = Some(21_000))?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        let trace = wires.gateway.so_far()?;
        let invites = requests(&trace, "INVITE", Site::Vm1.ip(), Site::Gw.ip());
        ensure!(invites == 2, "{invites} INVITE to the gateway");
        let last = trace
            .datagrams
            .iter()
            .rfind(|d| *d.dst.ip() == Site::Tc1.ip() && d.rtp().is_some());
        ensure!(
            last.is_some_and(|d| d.dst.port() == 21_000),
            "the gateway sends to {:?}",
            last.map(|d| d.dst)
        );
        // The VM's softphone has heard of none of it, and its BYE still fits.
        ensure!(
            requests(
                &wires.tap.so_far()?,
                "INVITE",
                Site::Gw.ip(),
                Site::Vm1.ip()
            ) == 0,
            "the VM was told"
        );
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// Ends of calls: each leg learns of it, whoever ends it and however early.
#[test]
fn every_way_a_call_ends_ends_all_of_it() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut tc = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        let mut vm = phone(lab, Site::Vm1)?;

        // The gateway refuses.
        let mut gw = gateway(lab, "busy")?;
        dial_gateway(&mut vm)?;
        let closed = vm.wait_for("CALL_CLOSED", SET_UP)?;
        ensure!(
            closed["param"].as_str().is_some_and(|p| p.contains("486")),
            "{closed}"
        );
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;

        // The caller gives up while it rings.
        let mut gw = gateway(lab, "ring")?;
        dial_gateway(&mut vm)?;
        vm.wait_for("CALL_RINGING", SET_UP)?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;

        // The gateway hangs up.
        let run = Run {
            options: &["-d", "700"],
            ..Run::new("answer_hangup")
        };
        let mut gw = Sipp::start(lab, Site::Gw, &run)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;

        // The thin client hangs up.
        let mut gw = gateway(lab, "answer")?;
        dial_gateway(&mut vm)?;
        vm.wait_established(2, SET_UP)?;
        sidestep.wait_call(lab, "direct")?;
        tc.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;

        sidestep_tests::wait::wait_for("four closed calls", seconds(5), || {
            (vm.count("CALL_CLOSED") == 4).then_some(())
        })
    });
}

/// A 200 that the gateway sends again is acknowledged again, and nothing else
/// happens twice.
#[test]
fn retransmitted_answer_is_acknowledged_again() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        // SIPp by itself takes the second ACK for one sent twice: -nr.
        let run = Run {
            options: &["-nr"],
            ..Run::new("answer_again")
        };
        let mut gw = Sipp::start(lab, Site::Gw, &run)?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        let (vm_ip, tc_ip) = (Site::Vm1.ip(), Site::Tc1.ip());
        let invites = requests(&wires.thin_client.so_far()?, "INVITE", vm_ip, tc_ip);
        ensure!(invites == 1, "{invites} INVITE to the thin client");
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// The thin client moves during the call (its own re-INVITE): the gateway is
/// told, and media follows.
#[test]
fn thin_client_that_moves_takes_the_media_with_it() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |setup| {
            setup.reinvite = Some((1500, 22_000))
        })?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        wires
            .thin_client
            .wait_for("RTP to the new port", SET_UP, |trace| {
                let moved = trace.rtp(|d| *d.src.ip() == Site::Gw.ip() && d.dst.port() == 22_000);
                (moved.packets >= 50).then_some(())
            })?;
        wires.hear_direct()?;
        let moved = sidestep.wait_for_row(lab, "flows", "the moved flow", SET_UP, |row| {
            row["leg"] == "gateway->tc" && row["to"] == "10.71.2.21:22000"
        })?;
        ensure!(moved["state"] == "live", "{moved}");
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// Hold and resume at the VM's softphone: its re-INVITEs reach the gateway with
/// the thin client's media, and the call stays past the VM.
#[test]
fn hold_and_resume_reach_gateway_and_thin_client() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        for (hold, direction) in [(true, "a=sendonly"), (false, "a=sendrecv")] {
            vm.hold(hold)?;
            let what = format!("{direction} to the gateway");
            wires.gateway.wait_for(&what, SET_UP, |trace| {
                let offers = trace.sip().filter(|(d, text)| {
                    *d.dst.ip() == Site::Gw.ip() && text.starts_with("INVITE ")
                });
                let (_, last) = offers.last()?;
                let moved = last.contains("c=IN IP4 10.71.2.21");
                (last.contains(direction) && moved).then_some(())
            })?;
        }
        wires.hear_direct()?;
        wires.nothing_past_tap()?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// The gateway changes its port, and nothing else, in the middle of the call:
/// the thin client is told (M11), and the VM's softphone answers for itself.
#[test]
fn gateway_that_moves_is_followed() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let run = Run {
            options: &["-d", "1000"],
            ..Run::new("answer_moves")
        };
        let mut gw = Sipp::start(lab, Site::Gw, &run)?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "direct")?;
        wires
            .gateway
            .wait_for("RTP to the new port", SET_UP, |trace| {
                let moved = trace.rtp(|d| *d.src.ip() == Site::Tc1.ip() && d.dst.port() == 6100);
                (moved.packets >= 50).then_some(())
            })?;
        sidestep.wait_for_row(lab, "flows", "the moved flow", SET_UP, |row| {
            row["to"] == "10.71.3.31:6100" && row["packets"].as_u64() > Some(0)
        })?;
        wires.nothing_past_tap()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// A thin client of which only the address is known (M9), and a gateway that says one
/// codec and sends another: the thin client reports that it decodes nothing, the gateway
/// is asked for another codec, and then it hears the tone.
#[test]
fn what_is_not_decoded_is_reported_and_another_codec_tried() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let tc = thin_client(lab, &sidestep, |setup| setup.register = "address")?;
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer_other")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_for_row(lab, "calls", "another codec", seconds(10), |row| {
            row["tries"] == json!(["PCMU/8000"]) && row["trial"] != "trying"
        })?;
        tc.wait_for("the tone", seconds(5), |report| {
            let call = &report["calls"][0];
            (call["codec"] == "PCMA" && call["tone_hz"] == 440).then_some(())
        })?;
        wires.nothing_past_tap()?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}
