//! Flows by the command line: a hundred thousand, a map that is full, and what a daemon
//! that was killed has left.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aya::maps::MapData;
use serde_json::{Value, json};
use sidestep_abi::map;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{
    SET_UP, Wires, call_gateway, dial_gateway, expect_reason, phone, steer, stock_client,
    thin_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// Numbers of flows that were added by hand.
const BY_HAND: u64 = 1 << 31;
const MANY: u32 = 100_000;
/// `daemon.max_flows` where nothing else is said.
const MAX_FLOWS: u64 = 131_072;
/// What docs/datapath.md says of the kernel's memory per flow there is room for, octets.
const KERNEL_MEMORY: u64 = 480;
/// And of the daemon's per flow that is there.
const DAEMON_MEMORY: u64 = 1_000;

/// Flows as `flows --json` has them; every other one is steered, by an anchor of its
/// own.
fn flows(count: u32) -> Value {
    let flow = |number: u32| {
        let host = |net: &str| format!("{net}.{}", 1 + number / 1_000);
        let port = |base: u32| base + number % 1_000;
        let (from, to) = (host("10.80.0"), host("10.80.1"));
        let mut flow = json!({
            "from": format!("{from}:{}", port(20_000)),
            "to": format!("{to}:{}", port(30_000)),
        });
        if number % 2 == 1 {
            flow["sent_from"] = json!(format!("{to}:{}", port(32_000)));
            flow["sent_to"] = json!(format!("10.80.2.1:{}", port(40_000)));
        }
        flow
    };
    Value::Array((0..count).map(flow).collect())
}

fn write(lab: &Lab, name: &str, flows: &Value) -> Result<PathBuf> {
    let file = lab.directory().join(name);
    std::fs::write(&file, flows.to_string())?;
    Ok(file)
}

fn in_map(lab: &Lab, sidestep: &Sidestep) -> Result<u64> {
    let status = sidestep.query(lab, "status")?;
    status
        .first()
        .and_then(|row| row["flows"].as_u64())
        .with_context(|| format!("no flows in {status:?}"))
}

/// What the kernel says a pinned map takes, octets.
fn memory_of(lab: &Lab, name: &str) -> Result<u64> {
    let pin = lab
        .pins()
        .join(format!("v{}", sidestep_abi::VERSION))
        .join(name);
    let map = MapData::from_pin(&pin)?;
    let number = map.fd().as_fd().as_raw_fd();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let memory = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    let memory = memory.with_context(|| format!("no memlock in {info}"))?;
    Ok(memory.trim().parse()?)
}

/// What a process has in memory, octets.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = size.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(size.parse::<u64>()? * 1024)
}

#[test]
fn a_hundred_thousand_flows_by_the_command_line() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["daemon"]["max_flows"] = json!(MAX_FLOWS);
        })?;
        let before = resident(sidestep.pid())?;
        let all = flows(MANY);
        let file = write(lab, "flows.json", &all)?.display().to_string();
        let mut at = Instant::now();
        let mut took = |what: &str| {
            println!("{what}: {:.2} s", at.elapsed().as_secs_f64());
            at = Instant::now();
        };

        let said = sidestep.show(lab, &["flows", "add", "--file", &file])?;
        took("added");
        ensure!(said == format!("{MANY} added\n"), "{said}");
        ensure!(in_map(lab, &sidestep)? == u64::from(MANY));

        // The kernel's memory is there from the start, the daemon's grows.
        let names = [
            map::FLOW_BUCKETS,
            map::FLOW_RECORDS,
            map::FLOW_STATS,
            map::ANCHORS,
        ];
        let kernel = names
            .iter()
            .map(|name| memory_of(lab, name))
            .sum::<Result<u64>>()?
            / MAX_FLOWS;
        let daemon = resident(sidestep.pid())?.saturating_sub(before) / u64::from(MANY);
        println!("a flow: {kernel} octets in the kernel, {daemon} in the daemon");
        ensure!(
            kernel <= KERNEL_MEMORY,
            "{kernel} octets a flow in the kernel"
        );
        ensure!(
            daemon <= DAEMON_MEMORY,
            "{daemon} octets a flow in the daemon"
        );

        let rows = sidestep.query(lab, "flows")?;
        took("listed");
        ensure!(rows.len() == MANY as usize, "{} rows", rows.len());
        for (row, flow) in rows.iter().zip(all.as_array().into_iter().flatten()) {
            for field in ["from", "to", "sent_from", "sent_to"] {
                ensure!(row[field] == flow[field], "{row} is not {flow}");
            }
        }
        let table = sidestep.show(lab, &["flows"])?;
        took("shown as tables");
        ensure!(table.lines().count() == (MANY + MANY / 1_000) as usize);

        let (from, to) = ("10.80.0.78:20345", "10.80.1.78:30345");
        let found = sidestep.show(lab, &["flows", "show", from, to, "--json"])?;
        took("found");
        let found: Value = serde_json::from_str(&found)?;
        ensure!(found[0]["sent_to"] == "10.80.2.1:40345", "{found}");
        let none = sidestep.show(lab, &["flows", "show", to, from]);
        ensure!(
            format!("{none:?}").contains("there is no such flow"),
            "{none:?}"
        );
        let twice = sidestep.show(lab, &["flows", "add", from, to]);
        ensure!(format!("{twice:?}").contains("a flow already"), "{twice:?}");

        // What was listed is what can be removed.
        let file = write(lab, "rows.json", &Value::Array(rows))?
            .display()
            .to_string();
        at = Instant::now();
        let said = sidestep.show(lab, &["flows", "remove", "--file", &file])?;
        println!("removed: {:.2} s", at.elapsed().as_secs_f64());
        ensure!(said == format!("{MANY} removed\n"), "{said}");
        ensure!(in_map(lab, &sidestep)? == 0);
        ensure!(sidestep.query(lab, "flows")?.is_empty(), "rows are left");
        Ok(())
    });
}

/// Flows of a list that belong to a call, by their ends.
fn ends_of(rows: &[Value], call: &Value) -> Vec<String> {
    let rows = rows.iter().filter(|row| row["call"] == *call);
    rows.map(|row| format!("{} {}", row["from"], row["to"]))
        .collect()
}

#[test]
fn a_full_map_sends_new_calls_to_their_vms_and_evicts_none() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            steer(config);
            config["daemon"]["max_flows"] = json!(64);
        })?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let _other_tc = stock_client(lab, &sidestep, Site::Tc2, "soft2", Site::Vm2)?;
        let mut gw = Sipp::start(
            lab,
            Site::Gw,
            &Run {
                calls: 3,
                ..Run::new("answer")
            },
        )?;
        let (mut vm, mut other) = (phone(lab, Site::Vm1)?, phone(lab, Site::Vm2)?);
        dial_gateway(&mut vm)?;
        vm.wait_established(1, SET_UP)?;
        let up = sidestep.wait_call(lab, "steered")?;
        let seen = |more: u64| {
            sidestep.wait_for_row(lab, "flows", "media to go on", seconds(8), |row| {
                row["call"] == up["id"]
                    && row["kind"] == "steered"
                    && row["packets"].as_u64() > Some(more)
            })
        };
        seen(20)?;
        let before = ends_of(&sidestep.query(lab, "flows")?, &up["id"]);

        let file = write(lab, "flows.json", &flows(64))?.display().to_string();
        let full = sidestep.show(lab, &["flows", "add", "--file", &file]);
        ensure!(
            format!("{full:?}").contains("the flow map is full"),
            "{full:?}"
        );
        ensure!(in_map(lab, &sidestep)? == 64);

        dial_gateway(&mut other)?;
        other.wait_established(1, SET_UP)?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("limit"))?;
        let rows = sidestep.query(lab, "flows")?;
        ensure!(ends_of(&rows, &up["id"]) == before, "{before:?}: {rows:?}");
        let packets = seen(0)?["packets"].as_u64().unwrap_or(0);
        seen(packets + 50)?;
        other.hang_up()?;

        // With room again the next call is steered.
        let by_hand = rows
            .into_iter()
            .filter(|row| row["call"].as_u64() >= Some(BY_HAND));
        let by_hand = Value::Array(by_hand.collect());
        let file = write(lab, "by-hand.json", &by_hand)?.display().to_string();
        sidestep.show(lab, &["flows", "remove", "--file", &file])?;
        dial_gateway(&mut other)?;
        other.wait_established(2, SET_UP)?;
        let what = "the next call to be steered";
        sidestep.wait_for_row(lab, "calls", what, seconds(10), |row| {
            row["vm"] == "desk-2" && row["state"] == "up" && row["path"] == "steered"
        })?;
        // What a call needs cannot be taken from it.
        let rows = sidestep.query(lab, "flows")?;
        let live = rows.iter().find(|row| row["kind"] == "steered");
        let live = live.context("no steered flow")?;
        let (from, to) = (live["from"].as_str(), live["to"].as_str());
        let words = ["flows", "remove", from.unwrap_or(""), to.unwrap_or("")];
        let refused = sidestep.show(lab, &words);
        ensure!(
            format!("{refused:?}").contains("which has not ended"),
            "{refused:?}"
        );
        vm.hang_up()?;
        other.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// A daemon is killed in a call, and nobody starts it again: the guard that keeps the
/// VM's own media back goes by hand, and the VM is heard.
#[test]
fn what_a_killed_daemon_has_left_goes_by_hand() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        wires.hear_direct()?;
        sidestep.process().kill()?;
        wait_for("the daemon to be gone", seconds(5), || {
            sidestep.query(lab, "status").is_err().then_some(())
        })?;

        let left = sidestep.query(lab, "flows")?;
        let guards: Vec<Value> = left
            .iter()
            .filter(|row| row["kind"] == "guard")
            .cloned()
            .collect();
        ensure!(!guards.is_empty(), "no guard: {left:?}");
        let count = guards.len();
        let file = write(lab, "guards.json", &Value::Array(guards))?
            .display()
            .to_string();
        let said = sidestep.show(lab, &["flows", "remove", "--file", &file])?;
        ensure!(said == format!("{count} removed\n"), "{said}");
        // Its own media, to where it was told to send it, passes the tap again.
        wait_for("the VM's own media past its tap", seconds(8), || {
            wires.nothing_past_tap().is_err().then_some(())
        })?;
        let rest = sidestep.query(lab, "flows")?;
        ensure!(rest.len() == left.len() - count, "{rest:?}");
        ensure!(rest.iter().all(|row| row["kind"] != "guard"), "{rest:?}");
        vm.hang_up()?;
        gw.process().kill()
    });
}
