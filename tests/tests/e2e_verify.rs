//! Verified before trusted: a call whose media does not come goes back to its VM;
//! one whose media was seen, or cannot be, is left alone.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::{
    SET_UP, Wires, call_gateway, dial_gateway, expect_reason, gateway, phone, steer, thin_client,
    wait_over,
};
use sidestep_tests::wait::seconds;

/// Drops the RTP and RTCP that the thin client sends, and nothing else.
fn mute(lab: &Lab) -> Result<()> {
    lab.namespace(Site::Tc1).run(&[
        "nft",
        "table ip mute { chain out { type filter hook output priority 0; \
         udp sport 20000-20001 drop; }; }",
    ])?;
    Ok(())
}

fn unmute(lab: &Lab) -> Result<()> {
    lab.namespace(Site::Tc1)
        .run(&["nft", "delete table ip mute"])?;
    Ok(())
}

fn verify_soon(config: &mut Value) {
    config["media"]["verify_s"] = json!(2);
}

/// Waits until the newest call's media has been judged so.
fn judged(lab: &Lab, sidestep: &Sidestep, path: &str, seen: &str) -> Result<()> {
    sidestep.wait_for_row(lab, "calls", "media to be judged", seconds(8), |row| {
        row["state"] == "up" && row["path"] == path && row["media_seen"] == seen
    })?;
    Ok(())
}

#[test]
fn media_that_does_not_come_sends_the_call_back_to_its_vm() {
    in_lab(|lab| {
        for path in ["steered", "direct"] {
            let mut sidestep = Sidestep::start_with(lab, &[], |config| {
                verify_soon(config);
                if path == "steered" {
                    steer(config);
                }
            })?;
            let tc = thin_client(lab, &sidestep, |_| {})?;
            let mut vm = phone(lab, Site::Vm1)?;

            // Both ways: trusted.
            let mut gw = gateway(lab, "answer")?;
            dial_gateway(&mut vm)?;
            vm.wait_established(1, SET_UP)?;
            judged(lab, &sidestep, path, "both-ways")?;
            vm.hang_up()?;
            gw.finish(seconds(5))?;
            wait_over(lab, &sidestep)?;

            // The thin client's voice gets lost on its way: back to the VM.
            mute(lab)?;
            let wires = Wires::start(lab)?;
            let mut gw = gateway(lab, "answer")?;
            dial_gateway(&mut vm)?;
            vm.wait_established(2, SET_UP)?;
            sidestep.wait_call(lab, path)?;
            let call = sidestep.wait_call(lab, "vm")?;
            expect_reason(&call, Some("no-media-seen"))?;
            wires.hear_through_vm()?;
            vm.hang_up()?;
            gw.process().kill()?;
            unmute(lab)?;
            drop((tc, vm));
            sidestep.terminate()?;
        }
        Ok(())
    });
}

/// Nothing of the call crosses an uplink: nothing can be said, nothing is done.
#[test]
fn media_that_does_not_cross_the_host_is_left_alone() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            verify_soon(config);
            config["uplinks"] = json!([]);
        })?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        judged(lab, &sidestep, "direct", "off-host")?;
        wires.hear_direct()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// Both sides fall silent in mid-call: told, and the call is hung up where that
/// is the policy.
#[test]
fn media_that_stops_ends_the_call_where_that_is_the_policy() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            verify_soon(config);
            config["media"]["timeout_s"] = json!(2);
            config["media"]["timeout_action"] = json!("end");
        })?;
        let mut tc = thin_client(lab, &sidestep, |_| {})?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        judged(lab, &sidestep, "direct", "both-ways")?;
        tc.process().kill()?;
        gw.process().kill()?;
        let call = sidestep.wait_for_row(lab, "calls", "the call to end", seconds(8), |row| {
            row["state"] == "ending" || row["state"] == "ended"
        })?;
        ensure!(call["media_seen"] == "timed-out", "{call}");
        vm.wait_for("CALL_CLOSED", seconds(5))?;
        let counters = sidestep.query(lab, "counters")?;
        ensure!(
            counters
                .iter()
                .any(|row| row["name"] == "daemon-media-timeouts" && row["value"] == 1),
            "not counted: {counters:?}"
        );
        Ok(())
    });
}
