//! Calls with stock peers, from the dialled number to the last packet: Fig. 3
//! and Fig. 4 of the document on real wires.

use anyhow::{Result, ensure};
use serde_json::json;
use sidestep_tests::lab::{Site, in_lab};
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::capture::Capture;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{
    GATEWAY_TONE, SET_UP, TC_TONE, VM_TONE, Wires, agree, expect_reason, frozen, gateway, hear,
    phone, requests, sip, stock_client, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

fn dial_gateway(phone: &mut Baresip) -> Result<()> {
    phone.dial(&format!("sip:100@{}", sip(Site::Gw)))
}

/// The peers by themselves: what the lab and its softphones do without Sidestep.
#[test]
fn without_sidestep_the_vm_talks_to_the_gateway() {
    in_lab(|lab| {
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        wires.hear_through_vm()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;

        let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
        vm.wait_for("CALL_INCOMING", SET_UP)?;
        vm.accept()?;
        vm.wait_established(2, SET_UP)?;
        vm.hang_up()?;
        gw.finish(seconds(5))
    });
}

/// Fig. 3 with the document's registration (address and codecs): media goes
/// thin client ⇄ gateway, every packet is counted, none passes the VM's tap.
#[test]
fn outgoing_call_goes_direct() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        ensure!(
            call["vm"] == "desk-1" && call["thin_client"] == "tc1",
            "{call}"
        );
        wires.hear_direct()?;

        frozen(&[tc.process(), gw.process()], || {
            let (near, far) = (Site::Tc1.ip(), Site::Gw.ip());
            let up = agree(lab, &sidestep, &wires.gateway, near, far)?;
            let down = agree(lab, &sidestep, &wires.thin_client, far, near)?;
            ensure!(up["leg"] == "tc->gateway", "{up}");
            ensure!(down["leg"] == "gateway->tc", "{down}");
            for flow in [up, down] {
                ensure!(
                    flow["path"] == "direct" && flow["call"] == call["id"],
                    "{flow}"
                );
                ensure!(flow["lost"] == 0 && flow["duplicate"] == 0, "{flow}");
                ensure!(flow["payload_type"] == 8, "{flow}");
            }
            Ok(())
        })?;

        // The VM's softphone sends its own audio: the guard stops all of it.
        hear(&wires.tap, Site::Vm1.ip(), DISCARD, VM_TONE)?;
        wires.nothing_past_tap()?;

        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        let byes = requests(
            &wires.thin_client.stop()?,
            "BYE",
            Site::Vm1.ip(),
            Site::Tc1.ip(),
        );
        ensure!(byes == 1, "{byes} BYE to the thin client");
        Ok(())
    });
}

/// Address of the lab's configuration that a bypassed VM is told to send to.
const DISCARD: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 0, 2, 1);

/// Fig. 4, and the thin client is a softphone that nobody here wrote: it
/// registers no media, so its own offer comes first (RFC 3725).
#[test]
fn incoming_call_goes_direct_to_a_stock_softphone() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut vm = phone(lab, Site::Vm1)?;
        let mut tc = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        let wires = Wires::start(lab)?;
        let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
        vm.wait_for("CALL_INCOMING", SET_UP)?;
        vm.accept()?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        wires.hear_direct()?;
        frozen(&[tc.process(), gw.process()], || {
            let (near, far) = (Site::Tc1.ip(), Site::Gw.ip());
            agree(lab, &sidestep, &wires.gateway, near, far)?;
            agree(lab, &sidestep, &wires.thin_client, far, near)
        })?;
        wires.nothing_past_tap()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        tc.wait_for("CALL_CLOSED", seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// Outgoing with the stock softphone, and incoming with the project's: the other
/// two of the four combinations.
#[test]
fn either_thin_client_serves_either_direction() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut vm = phone(lab, Site::Vm1)?;
        let wires = Wires::start(lab)?;
        let tc = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        let mut gw = gateway(lab, "answer")?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        drop((tc, wires));

        let wires = Wires::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |setup| setup.register = "address")?;
        let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
        vm.wait_for("CALL_INCOMING", SET_UP)?;
        vm.accept()?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        wires.nothing_past_tap()?;
        vm.hang_up()?;
        gw.finish(seconds(5))
    });
}

/// Thin client and gateway do not reach each other, only the VM's address is
/// routable for both: an anchor there, turned around in the kernel.
#[test]
fn unreachable_thin_client_is_steered() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let mut tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "steered")?;
        let anchor = Site::Vm1.ip();
        hear(&wires.gateway, anchor, Site::Gw.ip(), TC_TONE)?;
        let down = hear(&wires.thin_client, anchor, Site::Tc1.ip(), GATEWAY_TONE)?;
        ensure!(down.gaps() == 0, "{} packets lost", down.gaps());
        frozen(&[tc.process(), gw.process()], || {
            // As it comes to the anchor, so before it is rewritten.
            agree(lab, &sidestep, &wires.thin_client, Site::Tc1.ip(), anchor)?;
            agree(lab, &sidestep, &wires.gateway, Site::Gw.ip(), anchor)
        })?;
        let tap = wires.tap.so_far()?;
        ensure!(
            tap.rtp_between(Site::Gw.ip(), anchor).packets == 0
                && tap.rtp_between(Site::Tc1.ip(), anchor).packets == 0,
            "steered media reached the tap"
        );

        // A stranger at the anchor gets nothing through, and is counted.
        let port = down_port(&wires.gateway)?;
        let before = sidestep.counter(lab, "foreign-at-anchor")?;
        lab.namespace(Site::Tc2).enter(move || -> Result<()> {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..5 {
                socket.send_to(&[0x80; 172], (Site::Vm1.ip(), port))?;
            }
            Ok(())
        })??;
        sidestep_tests::wait::wait_for("the foreigners to be counted", seconds(3), || {
            (sidestep.counter(lab, "foreign-at-anchor").ok()? == before + 5).then_some(())
        })?;
        let tap = wires.tap.so_far()?;
        ensure!(
            tap.rtp_between(Site::Tc2.ip(), anchor).packets == 0,
            "a foreign packet reached the VM"
        );
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// All media by an anchor.
fn steer(config: &mut serde_json::Value) {
    config["media"]["paths"] = json!([{"path": "steered"}]);
}

/// The anchor port that the gateway sends its RTP to.
fn down_port(wire: &Capture) -> Result<u16> {
    wire.wait_for("RTP to the anchor", seconds(3), |trace| {
        let datagram = trace
            .datagrams
            .iter()
            .find(|d| *d.dst.ip() == Site::Vm1.ip() && d.rtp().is_some())?;
        Some(datagram.dst.port())
    })
}

/// Step 305 with changed information: the thin client answers with another port
/// than it registered, and the gateway is told (M10).
#[test]
fn changed_media_is_signalled_to_the_gateway() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |setup| setup.answer_port = Some(21_000))?;
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
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

/// Early media (183), then the answer.
#[test]
fn early_media_reaches_the_thin_client() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let run = Run {
            options: &["-d", "2500"],
            ..Run::new("answer_early")
        };
        let mut gw = Sipp::start(lab, Site::Gw, &run)?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        hear(
            &wires.thin_client,
            Site::Gw.ip(),
            Site::Tc1.ip(),
            GATEWAY_TONE,
        )?;
        ensure!(vm.count("CALL_ESTABLISHED") == 0, "answered before 200");
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
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

/// A softphone that hangs up after three seconds without RTP stays up: the
/// daemon keeps its timer alive.
#[test]
fn softphone_with_an_rtp_timeout_stays_up() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let setup = baresip::Setup {
            rtp_timeout: 3,
            ..baresip::Setup::default()
        };
        let mut vm = Baresip::start(lab, Site::Vm1, &setup)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "direct")?;
        // Seven seconds of media.
        wires
            .gateway
            .wait_for("a long call", seconds(15), |trace| {
                let stream = trace.rtp_between(Site::Tc1.ip(), Site::Gw.ip());
                (stream.packets > 350).then_some(())
            })?;
        ensure!(vm.count("CALL_CLOSED") == 0, "the softphone hung up");
        let kept = wires.tap.so_far()?.rtp_between(DISCARD, Site::Vm1.ip());
        ensure!(kept.packets > 0, "no keep-alive on the tap");
        wires.nothing_past_tap()?;
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
        let mut gw = gateway(lab, "answer")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
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
        let mut gw = gateway(lab, "answer")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
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

/// A VM that the host routes for: its anchor is turned around by the host's
/// routes, not by its bridge; called, and by a stock softphone's offer.
#[test]
fn routed_vm_is_steered_too() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let wires = Wires::start(lab)?;
        let mut vm = phone(lab, Site::Vm3)?;
        let mut tc = stock_client(lab, &sidestep, Site::Tc1, "soft3", Site::Vm3)?;
        let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm3)))?;
        vm.wait_for("CALL_INCOMING", SET_UP)?;
        vm.accept()?;
        sidestep.wait_call(lab, "steered")?;
        let anchor = Site::Vm3.ip();
        hear(&wires.gateway, anchor, Site::Gw.ip(), TC_TONE)?;
        let down = hear(&wires.thin_client, anchor, Site::Tc1.ip(), GATEWAY_TONE)?;
        ensure!(down.gaps() == 0, "{} packets lost", down.gaps());
        frozen(&[tc.process(), gw.process()], || {
            agree(lab, &sidestep, &wires.thin_client, Site::Tc1.ip(), anchor)?;
            agree(lab, &sidestep, &wires.gateway, Site::Gw.ip(), anchor)
        })?;
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
