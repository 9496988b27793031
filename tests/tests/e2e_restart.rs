//! The daemon is killed during calls and comes back: it knows each of them again,
//! goes on signalling for it, and media notices nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::capture::Capture;
use sidestep_tests::peers::desk::{self, Registered};
use sidestep_tests::peers::megaco::{Form, Megaco, Transport};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::peers::speaker::Speaker;
use sidestep_tests::rtp::{End, Load};
use sidestep_tests::stage::{
    GATEWAY_TONE, TC_TONE, Wires, call_gateway, hear, registrar, requests, sip, steer, thin_client,
    wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// The calls that are up, by number: what must be the same before and after.
fn up(sidestep: &Sidestep, lab: &Lab) -> Result<BTreeMap<u64, [Value; 4]>> {
    let calls = sidestep.query(lab, "calls")?;
    let up = calls.into_iter().filter(|call| call["state"] == "up");
    up.map(|call| {
        let id = call["id"].as_u64().context("a call without a number")?;
        let mut same = ["call_id", "path", "reason", "started"].map(|field| call[field].clone());
        // To the second: each process puts its own clock against the wall's, and some
        // microseconds may make another millisecond.
        if let [.., Value::String(started)] = &mut same {
            started.truncate("2026-11-24T11:39:30".len());
        }
        Ok((id, same))
    })
    .collect()
}

fn wait_up(sidestep: &Sidestep, lab: &Lab, calls: usize) -> Result<BTreeMap<u64, [Value; 4]>> {
    let what = format!("{calls} calls to be up");
    wait_for(&what, seconds(20), || {
        let up = up(sidestep, lab).ok()?;
        (up.len() == calls && up.values().all(|call| call[1] != "pending")).then_some(up)
    })
}

/// The ends of each call's RTP, as the kernel's flows have them.
fn ends(sidestep: &Sidestep, lab: &Lab) -> Result<Vec<(End, End)>> {
    let flows = sidestep.query(lab, "flows")?;
    let way = |leg: &str| -> Result<BTreeMap<u64, End>> {
        let rows = flows.iter().filter(|row| row["leg"] == leg);
        let rows = rows.filter(|row| row["rtcp"] == false && row["state"] == "live");
        rows.map(|row| {
            let address = |field: &str| -> Result<SocketAddrV4> {
                Ok(row[field].as_str().context("no address")?.parse()?)
            };
            let end = End {
                local: address("from")?,
                remote: address("to")?,
            };
            Ok((row["call"].as_u64().context("no call")?, end))
        })
        .collect()
    };
    let (near, mut far) = (way("tc->gateway")?, way("gateway->tc")?);
    let both = near.into_iter();
    both.map(|(call, near)| Ok((near, far.remove(&call).context("one way only")?)))
        .collect()
}

/// Kills the daemon again and again while calls are up and their media runs.
fn known_again(lab: &Lab, calls: u32, kills: u32, path: &str) -> Result<()> {
    let mut sidestep = Sidestep::start_with(lab, &[], |config| {
        config["media"]["anchor_ports"] = json!("40000-40999");
        // Media begins when all calls are up.
        config["media"]["verify_s"] = json!(0);
        if path == "steered" {
            steer(config);
        }
    })?;
    let _tc = desk::answer(lab, &sidestep, Registered::Nothing, "load_answer")?;
    let wire = Capture::start(lab, Site::Tc1, "eth0")?;
    let gateway = Run {
        calls,
        ..Run::new("load_answer")
    };
    let mut gw = Sipp::start(lab, Site::Gw, &gateway)?;
    let media = seconds(2 * u64::from(kills) + 2);
    let length = (media + seconds(12)).as_millis().to_string();
    let run = Run {
        calls,
        rate: 10,
        options: &["-d", &length, "-l", "100"],
        ..Run::new("load_call").calling(sip(Site::Gw))
    };
    let mut caller = Sipp::start(lab, Site::Vm1, &run)?;
    let before = wait_up(&sidestep, lab, calls as usize)?;
    ensure!(before.values().all(|call| call[1] == path), "{before:?}");

    let load = Load {
        near: lab.namespace(Site::Tc1),
        far: lab.namespace(Site::Gw),
        calls: ends(&sidestep, lab)?,
        rate: 50,
        duration: media,
    };
    ensure!(load.calls.len() == calls as usize, "{:?}", load.calls);
    let talk = std::thread::spawn(move || load.run());
    for kill in 0..kills {
        sidestep.process().kill()?;
        sidestep.restart(lab, &[])?;
        let after = up(&sidestep, lab)?;
        ensure!(after == before, "kill {kill}: {before:?}, then {after:?}");
        let clients = sidestep.query(lab, "clients")?;
        ensure!(clients.len() == 1, "kill {kill}: {clients:?}");
    }
    let Ok(talked) = talk.join() else {
        bail!("the media's thread panicked");
    };
    let talked = talked?;
    ensure!(
        talked.lost() == 0,
        "{} of {} lost",
        talked.lost(),
        talked.sent
    );
    // What the kernel counted meanwhile is all there.
    let flows = sidestep.query(lab, "flows")?;
    let counted: u64 = flows
        .iter()
        .filter(|row| row["rtcp"] == false && row["kind"] == path)
        .filter_map(|row| row["packets"].as_u64())
        .sum();
    ensure!(
        counted == talked.sent,
        "{counted} of {} counted",
        talked.sent
    );

    // The VM's BYEs reach the gateway, and by the daemon the thin client.
    caller.finish(seconds(40))?;
    gw.finish(seconds(10))?;
    wait_over(lab, &sidestep)?;
    let trace = wire.stop()?;
    let byes: BTreeSet<String> = trace
        .sip()
        .filter(|(d, text)| *d.dst.ip() == Site::Tc1.ip() && text.starts_with("BYE "))
        .filter_map(|(_, text)| Some(text.split_once("Call-ID: ")?.1.lines().next()?.to_owned()))
        .collect();
    ensure!(byes.len() == calls as usize, "BYEs for {byes:?}");
    Ok(())
}

/// The daemon is killed again and again while calls are set up: whatever of their
/// messages it had, or took with it, every one of them comes up and ends.
#[test]
fn calls_that_are_set_up_while_the_daemon_dies_come_up() {
    const CALLS: u32 = 40;
    in_lab(|lab| {
        let mut sidestep = Sidestep::start_with(lab, &[], |config| {
            // They have no media.
            config["media"]["verify_s"] = json!(0);
        })?;
        let _tc = desk::answer(lab, &sidestep, Registered::Nothing, "load_answer")?;
        let gateway = Run {
            calls: CALLS,
            ..Run::new("load_answer")
        };
        let mut gw = Sipp::start(lab, Site::Gw, &gateway)?;
        let run = Run {
            calls: CALLS,
            rate: 10,
            options: &["-d", "5000", "-l", "100"],
            ..Run::new("load_call").calling(sip(Site::Gw))
        };
        let mut caller = Sipp::start(lab, Site::Vm1, &run)?;
        for kill in 1..=3 {
            wait_for("some more calls", seconds(20), || {
                let calls = sidestep.query(lab, "calls").ok()?;
                (calls.len() >= 8 * kill).then_some(())
            })?;
            sidestep.process().kill()?;
            sidestep.restart(lab, &[])?;
        }
        caller.finish(seconds(40))?;
        gw.finish(seconds(10))?;
        wait_over(lab, &sidestep)
    });
}

#[test]
fn ten_calls_are_known_after_every_kill() {
    in_lab(|lab| known_again(lab, 10, 5, "direct"));
}

#[test]
fn fifty_steered_calls_are_known_after_every_kill() {
    in_lab(|lab| known_again(lab, 50, 5, "steered"));
}

/// What was promised to a call before the kill is kept after it: hold and resume,
/// the thin client that moves, and the hang-up.
#[test]
fn a_call_is_signalled_for_after_a_restart() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        // It moves after 8 s of the call: the gateway is told by a request of
        // Sidestep's own.
        let _tc = thin_client(lab, &sidestep, |setup| {
            setup.reinvite = Some((8_000, 21_000));
        })?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        let call = sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;

        sidestep.process().kill()?;
        sidestep.restart(lab, &[])?;
        let again = sidestep.wait_call(lab, "direct")?;
        ensure!(again["id"] == call["id"], "{call} became {again}");
        wires
            .gateway
            .wait_for("the thin client's new port", seconds(15), |trace| {
                let moved = trace.datagrams.iter().rev().take(50);
                let mut moved = moved.filter(|d| d.src.port() == 21_000 && d.rtp().is_some());
                moved.next().map(drop)
            })?;
        let invites = requests(
            &wires.gateway.so_far()?,
            "INVITE",
            Site::Vm1.ip(),
            Site::Gw.ip(),
        );
        ensure!(invites == 2, "{invites} INVITE to the gateway");
        hear(&wires.gateway, Site::Tc1.ip(), Site::Gw.ip(), TC_TONE)?;

        // Killed again, after a request of our own: the VM's numbers still fit.
        sidestep.process().kill()?;
        sidestep.restart(lab, &[])?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        let byes = requests(
            &wires.thin_client.so_far()?,
            "BYE",
            Site::Vm1.ip(),
            Site::Tc1.ip(),
        );
        ensure!(byes >= 1, "no BYE to the thin client");
        let bye = wires.gateway.so_far()?;
        let bye = bye.sip().find(|(_, text)| text.starts_with("BYE "));
        let (_, bye) = bye.context("no BYE to the gateway")?;
        ensure!(bye.contains("CSeq: ") && !bye.contains("CSeq: 2 "), "{bye}");
        Ok(())
    });
}

/// A thin client by TCP loses its connection with the daemon. Its call goes on, and ends
/// by the connection that it makes anew.
#[test]
fn a_thin_client_by_tcp_is_reached_again_after_a_restart() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let tc = thin_client(lab, &sidestep, |setup| {
            setup.more = Some(json!({"transport": "tcp"}));
        })?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        let before = wait_up(&sidestep, lab, 1)?;
        sidestep.process().kill()?;
        sidestep.restart(lab, &[])?;
        sidestep.wait_registered(lab, "tc1")?;
        ensure!(up(&sidestep, lab)? == before);
        wires.hear_direct()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        tc.wait_for("the end of the call", seconds(5), |report| {
            let call = &report["calls"][0];
            (call["state"] == "ended" && call["end_reason"] == "bye").then_some(())
        })
    });
}

/// A journal that cannot be read costs the calls their place on the list, and
/// nothing else: media goes on, the VM's hang-up reaches the gateway.
#[test]
fn a_spoilt_journal_is_put_aside() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        sidestep.process().kill()?;
        let journal = lab.directory().join("journal");
        std::fs::write(&journal, b"this is no journal".repeat(1_000))?;
        sidestep.restart(lab, &[])?;
        ensure!(journal.with_extension("damaged").exists());
        ensure!(sidestep.query(lab, "calls")?.is_empty());
        wires.hear_direct()?;
        vm.hang_up()?;
        gw.finish(seconds(5))
    });
}

/// The same for a call of a media gateway controller, with a thin client that is a
/// gateway, too: after each kill the VM's Modify is the thin client's, and at last the
/// stop gives the call back.
#[test]
fn a_gateway_controllers_call_is_signalled_for_after_a_restart() {
    let of_vm = |port| SocketAddrV4::new(Site::Vm1.ip(), port);
    in_lab(|lab| {
        let form = Form::Ber;
        let mut sidestep = Sidestep::start_with(lab, &[], |config| {
            let mid = format!("[{}]:{}", Site::Tc1.ip(), form.port());
            config["thin_clients"][0] = json!({"user": "tc1", "vm": "desk-1",
                "protocol": "h248", "mid": mid, "from": Site::Tc1.ip()});
        })?;
        let at = registrar(Site::Vm1);
        let mut tc = Megaco::thin_client(lab, Site::Tc1, Transport::Udp, form, at)?;
        sidestep.wait_registered(lab, "tc1")?;
        let wires = Wires::start(lab)?;
        let mut controller = Megaco::controller(lab, Site::Vm1, Transport::Udp, form)?;
        let mut gateway = Megaco::gateway(lab, Site::Gw, Transport::Udp, form, Site::Vm1.ip())?;
        controller.wait("service-change")?;
        let told = controller.add(of_vm(10_020))?;
        let near = tc.wait_address("local")?;
        ensure!(gateway.wait_address("remote")? == near);
        ensure!(tc.wait_address("remote")? == told);
        let _gw = Speaker::start(lab, Site::Gw, told.port(), near, GATEWAY_TONE)?;
        let _tc = Speaker::start(lab, Site::Tc1, near.port(), told, TC_TONE)?;
        let before = wait_up(&sidestep, lab, 1)?;
        wires.hear_direct()?;

        for port in [10_022, 10_024] {
            sidestep.process().kill()?;
            sidestep.restart(lab, &[])?;
            let after = up(&sidestep, lab)?;
            ensure!(after == before, "{before:?}, then {after:?}");
            controller.ask(&format!("remote {} {port}", Site::Vm1.ip()), "modified")?;
            let remote = gateway.wait_address("remote")?;
            ensure!(remote == near, "{remote}");
            ensure!(controller.audit()? == of_vm(port));
            wires.hear_direct()?;
        }
        // Its leg is known, too: it is ended by its own name.
        sidestep.terminate()?;
        ensure!(gateway.wait_address("remote")? == of_vm(10_024));
        tc.wait("subtracted").map(drop)
    });
}
