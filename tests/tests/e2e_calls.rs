//! Calls with stock peers, from the dialled number to the last packet: Fig. 3
//! and Fig. 4 of the document on real wires.

use anyhow::{Result, ensure};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::capture::Capture;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{
    GATEWAY_TONE, SET_UP, TC_TONE, VM_TONE, Wires, agree, call_gateway, dial_gateway,
    expect_reason, frozen, gateway, hear, phone, requests, sip, steer, stock_client,
    stock_client_with, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// The peers by themselves: what the lab and its softphones do without Sidestep.
#[test]
fn without_sidestep_the_vm_talks_to_the_gateway() {
    in_lab(|lab| {
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
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
        let (mut gw, mut vm) = call_gateway(lab)?;
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
        let (wires, mut gw) = called_directly(lab, &sidestep, &mut vm, &mut tc)?;
        wires.nothing_past_tap()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        tc.wait_for("CALL_CLOSED", seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// The same by TCP (RFC 3261 §18). When its connection is gone its call is the VM's.
#[test]
fn a_stock_softphone_comes_by_tcp() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut vm = phone(lab, Site::Vm1)?;
        let of = ("soft1", Site::Vm1);
        let mut tc = stock_client_with(lab, &sidestep, Site::Tc1, of, |setup| {
            setup.transport = "tcp"
        })?;
        let (_wires, mut gw) = called_directly(lab, &sidestep, &mut vm, &mut tc)?;
        tc.process().kill()?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("tc-lost"))?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// A call of the gateway's to the VM that goes direct to a stock softphone, with packets
/// and octets counted as they are on the wire.
fn called_directly(
    lab: &Lab,
    sidestep: &Sidestep,
    vm: &mut Baresip,
    tc: &mut Baresip,
) -> Result<(Wires, Sipp)> {
    let wires = Wires::start(lab)?;
    let mut gw = Sipp::start(lab, Site::Gw, &Run::new("call").calling(sip(Site::Vm1)))?;
    vm.wait_for("CALL_INCOMING", SET_UP)?;
    vm.accept()?;
    let call = sidestep.wait_call(lab, "direct")?;
    expect_reason(&call, None)?;
    wires.hear_direct()?;
    frozen(&[tc.process(), gw.process()], || {
        let (near, far) = (Site::Tc1.ip(), Site::Gw.ip());
        agree(lab, sidestep, &wires.gateway, near, far)?;
        agree(lab, sidestep, &wires.thin_client, far, near)
    })?;
    Ok((wires, gw))
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
        let (mut gw, mut vm) = call_gateway(lab)?;
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
