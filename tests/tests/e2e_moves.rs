//! A re-INVITE gives a flow another end while packets come by the thousand: each goes
//! to the old end or to the new one, none of the new stream is lost, and the counters go
//! on with a mark.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::capture::{Capture, Datagram};
use sidestep_tests::peers::load::Load;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, SILENT_PORT, Sipp, silent};
use sidestep_tests::stage::{SET_UP, dial_gateway, phone, steer, thin_client, wait_over};
use sidestep_tests::wait::{seconds, wait_for};

/// Where the gateway describes its media, at first and after it has moved.
const GATEWAY_PORTS: [u16; 2] = [SILENT_PORT, 6_100];
/// Sources of what it sends from there.
const SSRCS: [u32; 2] = [0x0a0a_0a0a, 0x0b0b_0b0b];

fn anchor() -> SocketAddrV4 {
    SocketAddrV4::new(Site::Vm1.ip(), 40_000)
}

/// A gateway that answers and moves by a re-INVITE after `ms`, but leaves its media to
/// somebody else.
fn gateway(lab: &Lab, scenario: &str, ms: &str) -> Result<Sipp> {
    let name = silent(lab, scenario)?;
    let options = ["-d", ms];
    let run = Run {
        options: &options,
        ..Run::new(&name)
    };
    Sipp::start(lab, Site::Gw, &run)
}

/// What came of a source, in the order of the wire.
fn came(wire: &Capture, ssrc: u32) -> Result<Vec<Datagram>> {
    let trace = wire.so_far()?;
    let of_source = |d: &Datagram| d.rtp().is_some_and(|rtp| rtp.ssrc == ssrc);
    Ok(trace.datagrams.into_iter().filter(of_source).collect())
}

/// All that was sent has come, in order, whole.
fn all_came(datagrams: &[Datagram], sent: u64) -> Result<()> {
    let sequence = |d: &Datagram| d.rtp().map(|rtp| rtp.sequence);
    let numbers: Vec<u16> = datagrams.iter().filter_map(sequence).collect();
    let missing: Vec<u16> = (0..sent)
        .map(|number| number as u16)
        .filter(|number| !numbers.contains(number))
        .collect();
    ensure!(
        missing.is_empty(),
        "of {sent} packets {missing:?} are missing"
    );
    ensure!(numbers.len() as u64 == sent, "some came twice");
    ensure!(datagrams.iter().all(|d| d.checksum_right), "not whole");
    Ok(())
}

/// Waits until a capture has the last of what was sent.
fn wait_for_last(wire: &Capture, ssrc: u32, sent: u64) -> Result<Vec<Datagram>> {
    let last = (sent - 1) as u16;
    wait_for("the last packet", seconds(5), || {
        let datagrams = came(wire, ssrc).ok()?;
        let has_come = |d: &Datagram| d.rtp().is_some_and(|rtp| rtp.sequence == last);
        datagrams.iter().any(has_come).then_some(datagrams)
    })
}

fn row(sidestep: &Sidestep, lab: &Lab, leg: &str) -> Result<Value> {
    let rows = sidestep.query(lab, "flows")?;
    let found = rows
        .into_iter()
        .find(|row| row["leg"] == leg && row["rtcp"] == false && row["kind"] == "steered");
    found.with_context(|| format!("no steered flow {leg}"))
}

#[test]
fn the_gateway_moves_under_load() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let near = Capture::start(lab, Site::Tc1, "eth0")?;
        let far = Capture::start(lab, Site::Gw, "eth0")?;
        let mut gw = gateway(lab, "answer_moves", "3000")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "steered")?;
        let load = Load::start(lab, Site::Gw, GATEWAY_PORTS[0], anchor(), SSRCS[0])?;
        // The new stream begins when the re-INVITE is through.
        far.wait_for("the gateway's ACK", seconds(10), |trace| {
            let mut sip = trace.sip();
            sip.any(|(d, text)| *d.src.ip() == Site::Gw.ip() && text.starts_with("ACK "))
                .then_some(())
        })?;
        let moved = Load::start(lab, Site::Gw, GATEWAY_PORTS[1], anchor(), SSRCS[1])?;
        load.stop()?;
        std::thread::sleep(seconds(1));
        let sent = moved.stop()?;
        let new = wait_for_last(&near, SSRCS[1], sent)?;
        all_came(&new, sent)?;
        let old = came(&near, SSRCS[0])?;
        ensure!(old.len() > 500, "{} packets of the old stream", old.len());
        let to_tc = SocketAddrV4::new(Site::Tc1.ip(), 20_000);
        ensure!(
            old.iter()
                .chain(&new)
                .all(|d| (d.src, d.dst) == (anchor(), to_tc)),
            "a packet went astray"
        );

        let down = row(&sidestep, lab, "gateway->tc")?;
        ensure!(down["from"] == "10.71.3.31:6100", "{down}");
        ensure!(down["moves"] == 1 && down["moved"].is_string(), "{down}");
        ensure!(down["ssrc_changes"] == 1, "{down}");
        let all = old.len() + new.len();
        ensure!(
            down["packets"].as_u64() == Some(all as u64),
            "{all}: {down}"
        );

        // The other way, packets left for the old port, then for the new one, and none
        // was lost in between.
        let up = row(&sidestep, lab, "tc->gateway")?;
        ensure!(up["moves"] == 1 && up["lost"] == 0, "{up}");
        let trace = far.so_far()?;
        let up: Vec<Datagram> = trace
            .datagrams
            .into_iter()
            .filter(|d| *d.src.ip() == *anchor().ip() && d.rtp().is_some())
            .collect();
        let ports: Vec<u16> = up.iter().map(|d| d.dst.port()).collect();
        let [first, second] = GATEWAY_PORTS;
        let turn = ports.iter().position(|port| *port == second);
        let turn = turn.context("nothing went to the new port")?;
        ensure!(
            ports[..turn].iter().all(|port| *port == first)
                && ports[turn..].iter().all(|port| *port == second),
            "to and fro: {ports:?}"
        );
        let sequences: Vec<u16> = up
            .iter()
            .filter_map(|d| d.rtp().map(|rtp| rtp.sequence))
            .collect();
        let gaps = sequences
            .windows(2)
            .filter(|w| w[1] != w[0].wrapping_add(1));
        ensure!(gaps.count() == 0, "{sequences:?}");
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

#[test]
fn the_thin_client_moves_under_load() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let _tc = thin_client(lab, &sidestep, |setup| {
            setup.reinvite = Some((3_000, 22_000));
        })?;
        let near = Capture::start(lab, Site::Tc1, "eth0")?;
        let mut gw = gateway(lab, "answer", "0")?;
        let mut vm = phone(lab, Site::Vm1)?;
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        sidestep.wait_call(lab, "steered")?;
        let load = Load::start(lab, Site::Gw, GATEWAY_PORTS[0], anchor(), SSRCS[0])?;
        let what = "the thin client to have moved";
        sidestep.wait_for_row(lab, "flows", what, seconds(15), |row| {
            row["leg"] == "gateway->tc" && row["sent_to"] == "10.71.2.21:22000"
        })?;
        std::thread::sleep(seconds(1));
        let sent = load.stop()?;
        let all = wait_for_last(&near, SSRCS[0], sent)?;
        all_came(&all, sent)?;
        ensure!(
            all.iter().all(|d| d.src == anchor()),
            "a packet went astray"
        );
        let ports: Vec<u16> = all.iter().map(|d| d.dst.port()).collect();
        let turn = ports.iter().position(|port| *port == 22_000);
        let turn = turn.context("nothing went to the new port")?;
        ensure!(
            turn > 500
                && ports[..turn].iter().all(|port| *port == 20_000)
                && ports[turn..].iter().all(|port| *port == 22_000),
            "to and fro: {ports:?}"
        );
        let down = row(&sidestep, lab, "gateway->tc")?;
        ensure!(down["moves"] == 1 && down["lost"] == 0, "{down}");
        ensure!(down["packets"].as_u64() == Some(sent), "{sent}: {down}");
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}
