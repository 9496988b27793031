//! MGCP with a gateway that nobody here wrote: the VM is a call agent (RFC 3435), the
//! gateway osmo-mgw, which sends back what it hears (ConnectionMode `loopback`).

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::call_agent::{CallAgent, Response};
use sidestep_tests::peers::osmo_mgw::OsmoMgw;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::{
    TC_TONE, VM_TONE, Wires, agree, expect_reason, flow_between, frozen, hear, requests, steer,
    stock_client, thin_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// Any endpoint of the gateway's that is free.
const ANY: &str = "rtpbridge/*@mgw";

/// CreateConnection with the VM's softphone as far end (§2.3.5).
fn create(agent: &mut CallAgent) -> Result<(Response, String, SocketAddrV4)> {
    let rest = format!(
        "C: a1\r\nL: p:20, a:PCMA\r\nM: loopback\r\n\r\n{}",
        agent.own()
    );
    let created = agent.ask("CRCX", ANY, &rest)?;
    ensure!(created.code == 200, "{}", created.text);
    let endpoint = created.endpoint.clone().context("no endpoint")?;
    let rtp = created.rtp.context("no description")?;
    ensure!(*rtp.ip() == Site::Gw.ip(), "{rtp}");
    Ok((created, endpoint, rtp))
}

fn delete(agent: &mut CallAgent, endpoint: &str, connection: &str) -> Result<Response> {
    let deleted = agent.ask("DLCX", endpoint, &format!("C: a1\r\nI: {connection}\r\n"))?;
    ensure!(deleted.code == 250, "{}", deleted.text);
    Ok(deleted)
}

/// The gateway and its thin client hear each other: what the TC plays comes back.
fn hears_itself(wires: &Wires) -> Result<()> {
    hear(&wires.gateway, wires.tc.ip(), Site::Gw.ip(), TC_TONE)?;
    hear(&wires.thin_client, Site::Gw.ip(), wires.tc.ip(), TC_TONE)?;
    Ok(())
}

/// The VM and the gateway do.
fn vm_hears_itself(wires: &Wires) -> Result<()> {
    hear(&wires.gateway, wires.vm.ip(), Site::Gw.ip(), VM_TONE)?;
    hear(&wires.tap, Site::Gw.ip(), wires.vm.ip(), VM_TONE)?;
    Ok(())
}

/// Nothing that Sidestep sent is malformed to tshark's dissector, and there were so
/// many commands of a verb at the gateway.
fn dissected(lab: &Lab, wires: &Wires, verb: &str, count: usize) -> Result<()> {
    let malformed = wires.gateway.dissect(lab, "mgcp && _ws.malformed")?;
    ensure!(malformed.is_empty(), "{malformed:?}");
    let found = wires
        .gateway
        .dissect(lab, &format!("mgcp.req.verb == \"{verb}\""))?;
    ensure!(
        found.len() == count,
        "{count} {verb} were expected: {found:?}"
    );
    Ok(())
}

/// The flow's row, when it has counted every RTP packet that came to the thin client, and
/// how many these were. osmo-mgw begins each connection, and each change of it, with one
/// octet, which is no RTP, and may come before the flow stands.
fn agree_but_for_openings(
    lab: &Lab,
    sidestep: &Sidestep,
    wires: &Wires,
    from: Ipv4Addr,
    to: Ipv4Addr,
) -> Result<(Value, u64)> {
    wait_for("flow and wire to agree", seconds(3), || {
        let flow = flow_between(&sidestep.query(lab, "flows").ok()?, from, to)?;
        let (src, dst) = (flow["from"].as_str()?, flow["to"].as_str()?);
        let trace = wires.thin_client.so_far().ok()?;
        let of_flow = trace
            .datagrams
            .iter()
            .filter(|d| d.src.to_string() == src && d.dst.to_string() == dst);
        let (openings, rtp): (Vec<_>, Vec<_>) = of_flow.partition(|d| d.rtp().is_none());
        let counted = flow["packets"].as_u64()?;
        let (rtp, openings) = (rtp.len() as u64, openings.len() as u64);
        let agree = (rtp..=rtp + openings).contains(&counted) && openings <= 2;
        agree.then_some((flow, rtp))
    })
}

/// The gateway by itself: what agent, softphone and gateway do without Sidestep.
#[test]
fn without_sidestep_the_vm_talks_to_the_gateway() {
    in_lab(|lab| {
        let wires = Wires::start(lab)?;
        let _gateway = OsmoMgw::start(lab, Site::Gw)?;
        let mut agent = CallAgent::start(lab, Site::Vm1, Site::Gw)?;
        let (created, endpoint, rtp) = create(&mut agent)?;
        let _tone = agent.play(lab, Site::Vm1, rtp)?;
        vm_hears_itself(&wires)?;
        let connection = created.connection.context("no connection id")?;
        delete(&mut agent, &endpoint, &connection)?;
        dissected(lab, &wires, "CRCX", 1)
    });
}

/// The thin client has registered address and codecs: the create carries them, every
/// packet is counted, none of the VM's passes its tap, and the gateway's statistics
/// at the end (`P:`) are of the thin client's media.
#[test]
fn a_connection_goes_direct() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let mut gateway = OsmoMgw::start(lab, Site::Gw)?;
        let mut agent = CallAgent::start(lab, Site::Vm1, Site::Gw)?;
        let (created, endpoint, rtp) = create(&mut agent)?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        ensure!(
            call["protocol"] == "mgcp" && call["thin_client"] == "tc1",
            "{call}"
        );
        hears_itself(&wires)?;

        // The VM's softphone sends too: the guard stops all of it.
        let tone = agent.play(lab, Site::Vm1, rtp)?;
        hear(&wires.tap, Site::Vm1.ip(), Site::Gw.ip(), VM_TONE)?;
        wires.nothing_past_tap()?;
        drop(tone);

        let connection = created.connection.context("no connection id")?;
        let modified = agent.ask(
            "MDCX",
            &endpoint,
            &format!(
                "C: a1\r\nI: {connection}\r\nM: loopback\r\n\r\n{}",
                agent.own()
            ),
        )?;
        ensure!(modified.code == 200, "{}", modified.text);
        hears_itself(&wires)?;

        let (received, sent) = frozen(&[tc.process(), gateway.process()], || {
            let (near, far) = (Site::Tc1.ip(), Site::Gw.ip());
            let up = agree(lab, &sidestep, &wires.gateway, near, far)?;
            let (down, sent) = agree_but_for_openings(lab, &sidestep, &wires, far, near)?;
            for flow in [&up, &down] {
                ensure!(
                    flow["path"] == "direct" && flow["call"] == call["id"],
                    "{flow}"
                );
                ensure!(flow["lost"] == 0 && flow["duplicate"] == 0, "{flow}");
            }
            let received = up["packets"].as_u64().context("no packets")?;
            Ok((received, sent))
        })?;
        let deleted = delete(&mut agent, &endpoint, &connection)?;
        let statistics = deleted.statistics.context("no statistics")?;
        let said = sidestep_core::mgcp::value::ConnectionParameters::parse(statistics.as_bytes());
        // The gateway went on for a moment after the flows were looked at, and does not
        // count its openings.
        for (said, counted) in [(said.packets_received, received), (said.packets_sent, sent)] {
            let said = said.context("no packets")?;
            ensure!(
                said >= counted && said < counted + 500,
                "{statistics}: {said} where {counted} were counted"
            );
        }
        wait_over(lab, &sidestep)?;
        dissected(lab, &wires, "CRCX", 1)?;
        dissected(lab, &wires, "MDCX", 1)?;
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

/// A stock softphone as thin client, and a path through an anchor in the kernel: the
/// create waits for the softphone's offer.
#[test]
fn a_connection_is_steered_to_a_stock_softphone() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let _tc = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        let wires = Wires::start(lab)?;
        let _gateway = OsmoMgw::start(lab, Site::Gw)?;
        let mut agent = CallAgent::start(lab, Site::Vm1, Site::Gw)?;
        let (created, endpoint, _) = create(&mut agent)?;
        let call = sidestep.wait_call(lab, "steered")?;
        expect_reason(&call, None)?;
        // Through the VM's own address, which the VM sees nothing of.
        hear(&wires.gateway, Site::Vm1.ip(), Site::Gw.ip(), TC_TONE)?;
        hear(&wires.thin_client, Site::Vm1.ip(), Site::Tc1.ip(), TC_TONE)?;
        let connection = created.connection.context("no connection id")?;
        delete(&mut agent, &endpoint, &connection)?;
        wait_over(lab, &sidestep)?;
        dissected(lab, &wires, "CRCX", 1)
    });
}

/// A thin client that answers from another port than it registered: the gateway hears
/// of it by a ModifyConnection of Sidestep's own, and its response goes no further
/// than Sidestep (step 509).
#[test]
fn a_thin_client_that_answers_from_elsewhere() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |setup| setup.answer_port = Some(21_000))?;
        let wires = Wires::start(lab)?;
        let _gateway = OsmoMgw::start(lab, Site::Gw)?;
        let mut agent = CallAgent::start(lab, Site::Vm1, Site::Gw)?;
        let (created, endpoint, _) = create(&mut agent)?;
        sidestep.wait_call(lab, "direct")?;
        hears_itself(&wires)?;
        dissected(lab, &wires, "MDCX", 1)?;
        let connection = created.connection.context("no connection id")?;
        delete(&mut agent, &endpoint, &connection)?;
        wait_over(lab, &sidestep)
    });
}

/// The thin client refuses: the gateway is told of the VM again, and the call says
/// why.
#[test]
fn a_refusal_goes_back_to_the_vm() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |setup| {
            setup.answer = serde_json::json!({"refuse": 486});
        })?;
        let wires = Wires::start(lab)?;
        let _gateway = OsmoMgw::start(lab, Site::Gw)?;
        let mut agent = CallAgent::start(lab, Site::Vm1, Site::Gw)?;
        let (created, endpoint, rtp) = create(&mut agent)?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("tc-refused"))?;
        let _tone = agent.play(lab, Site::Vm1, rtp)?;
        vm_hears_itself(&wires)?;
        let connection = created.connection.context("no connection id")?;
        delete(&mut agent, &endpoint, &connection)?;
        wait_over(lab, &sidestep)?;
        dissected(lab, &wires, "MDCX", 1)
    });
}

/// Nobody is registered: all goes as without Sidestep, and the call says why.
#[test]
fn without_a_thin_client_all_stays_as_it_was() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let wires = Wires::start(lab)?;
        let _gateway = OsmoMgw::start(lab, Site::Gw)?;
        let mut agent = CallAgent::start(lab, Site::Vm1, Site::Gw)?;
        let (created, endpoint, rtp) = create(&mut agent)?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("tc-not-registered"))?;
        let _tone = agent.play(lab, Site::Vm1, rtp)?;
        vm_hears_itself(&wires)?;
        let connection = created.connection.context("no connection id")?;
        delete(&mut agent, &endpoint, &connection)?;
        wait_over(lab, &sidestep)
    });
}
