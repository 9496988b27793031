//! A thin client behind a NAT: its description names an address that nobody else knows,
//! and the NAT's ports are its own choice. The anchor learns them, from it alone.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Result, ensure};
use serde_json::Value;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::speaker::Speaker;
use sidestep_tests::peers::thin_client::Setup;
use sidestep_tests::stage::{
    GATEWAY_TONE, SET_UP, TC_TONE, Wires, call_gateway, hear, steer, thin_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// The thin client's address in its own network.
const HOME: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 9);
/// Tone of those who have no business at the anchor, Hz.
const FOREIGN_TONE: f64 = 1_900.0;

/// tc1's box becomes a NAT, with the thin client's network behind it: ports are its own
/// choice.
fn masquerade(lab: &Lab) -> Result<()> {
    lab.ip(Site::Tc1, &format!("addr add {HOME}/32 dev lo"))?;
    lab.namespace(Site::Tc1).run(&[
        "nft",
        "table ip home { chain out { type nat hook postrouting priority srcnat; \
         ip saddr 192.168.7.0/24 ip protocol udp masquerade to :61000-61999 random; }; }",
    ])?;
    Ok(())
}

/// Where the thin client's RTP is thought to come from, once it comes: a port of the
/// NAT's.
fn learned(lab: &Lab, sidestep: &Sidestep, but: &str) -> Result<(String, Value)> {
    let row = sidestep.wait_for_row(lab, "flows", "the port to be learned", SET_UP, |row| {
        let from = row["from"].as_str().unwrap_or_default();
        row["leg"] == "tc->gateway"
            && row["rtcp"] == false
            && from.starts_with("10.71.2.21:61")
            && from != but
            && row["packets"].as_u64() > Some(20)
    })?;
    let from = row["from"].as_str().unwrap_or_default().to_owned();
    Ok((from, row))
}

/// Both hear each other, and nobody else.
fn hear_each_other(wires: &Wires) -> Result<()> {
    let anchor = Site::Vm1.ip();
    hear(&wires.gateway, anchor, Site::Gw.ip(), TC_TONE)?;
    hear(&wires.thin_client, anchor, Site::Tc1.ip(), GATEWAY_TONE)?;
    Ok(())
}

/// Waits until a second of somebody's packets was dropped at the anchor.
fn refused(lab: &Lab, sidestep: &Sidestep, before: u64) -> Result<()> {
    wait_for("packets at the anchor to be dropped", seconds(5), || {
        let dropped = sidestep.counter(lab, "foreign-at-anchor").ok()?;
        (dropped >= before + 50).then_some(())
    })
}

/// Strangers send to the anchor before the first packet, in mid-call and after the thin
/// client has moved; so does the NAT's own address, and, late, the port of before.
#[test]
fn its_port_is_learned_and_nobody_else_moves_the_flow() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        masquerade(lab)?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let anchor = SocketAddrV4::new(Site::Vm1.ip(), 40_000);
        let tc = |setup: &mut Setup<'_>| {
            setup.address = Some(HOME);
            setup.reinvite = Some((8_000, 22_000));
        };
        let _tc = thin_client(lab, &sidestep, tc)?;
        let stranger = || Speaker::start(lab, Site::Tc2, 20_000, anchor, FOREIGN_TONE);
        let wires = Wires::start(lab)?;

        // Before the first packet.
        let early = stranger()?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "steered")?;
        let (first, row) = learned(lab, &sidestep, "")?;
        ensure!(row["to"] == anchor.to_string(), "{row}");
        drop(early);
        hear_each_other(&wires)?;

        // In mid-call, another port of the NAT's.
        let before = sidestep.counter(lab, "foreign-at-anchor")?;
        let hijacker = Speaker::start(lab, Site::Tc1, 20_002, anchor, FOREIGN_TONE)?;
        refused(lab, &sidestep, before)?;
        hear_each_other(&wires)?;
        drop(hijacker);
        let (still, _) = learned(lab, &sidestep, "")?;
        ensure!(still == first, "{still} in place of {first}");

        // It moves: another port behind the NAT, another one before it.
        let meanwhile = stranger()?;
        let (second, _) = learned(lab, &sidestep, &first)?;
        drop(meanwhile);
        hear_each_other(&wires)?;
        // Late: the port of before, as the NAT still knows it.
        let old = SocketAddrV4::new(HOME, 20_000);
        let before = sidestep.counter(lab, "foreign-at-anchor")?;
        let late = Speaker::from(lab, Site::Tc1, old, anchor, FOREIGN_TONE)?;
        refused(lab, &sidestep, before)?;
        hear_each_other(&wires)?;
        drop(late);
        let (still, _) = learned(lab, &sidestep, &first)?;
        ensure!(still == second, "{still} in place of {second}");

        // What strangers sent got nowhere.
        let trace = wires.gateway.so_far()?;
        let ssrcs = trace.rtp_between(*anchor.ip(), Site::Gw.ip()).ssrcs;
        ensure!(
            ssrcs.iter().all(|ssrc| ssrc >> 16 != 0x5EA1),
            "foreign media reached the gateway: {ssrcs:x?}"
        );
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}
