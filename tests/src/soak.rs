//! The soak: calls for minutes on end, holds and re-INVITEs mixed in, and then a
//! look whether anything has stayed behind.
//!
//! In: how many calls at once, and for how long. Out: what was seen on the way,
//! and an error if a call failed, took another path, or left a map entry, a
//! timer or a file behind, or memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sidestep_abi::map;

use crate::lab::{Lab, Site};
use crate::peers::desk::{self, Registered};
use crate::peers::sidestep::Sidestep;
use crate::peers::sipp::{NO_LIMIT, Run, Sipp};
use crate::pinned;
use crate::stage::sip;
use crate::wait::{seconds, wait_for};

/// Mean length of a call of the scenario, s.
const CALL: u32 = 16;
/// How often it looks whether the calls are over.
const LOOK: Duration = Duration::from_millis(500);
/// How often what happens is told.
const TELL: Duration = Duration::from_secs(30);
/// An ended call lingers for 32 s (64·T1) and is listed for a minute more.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Memory that may stay with the daemon, octets: tables and buffers that have grown to
/// what so many calls need do not shrink.
const MEMORY: u64 = 4 << 20;

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Calls that are up at once.
    pub calls: u32,
    /// For so long.
    pub length: Duration,
}

/// What a daemon holds: rows, entries of its core and of its maps by name, files.
type Held = BTreeMap<String, u64>;

fn held(lab: &Lab, sidestep: &Sidestep) -> Result<Held> {
    let rows = sidestep.query(lab, "status")?;
    let status = rows.first().context("no status")?;
    let core = status["held"].as_object();
    let core = core.with_context(|| format!("nothing held in {status}"))?;
    let mut held = Held::new();
    for (name, count) in core {
        let count = count.as_u64().with_context(|| format!("{name}: {count}"))?;
        held.insert(format!("held {name}"), count);
    }
    for (name, count) in pinned::entries(lab)? {
        held.insert(format!("map {name}"), count as u64);
    }
    let flows = status["flows"].as_u64();
    held.insert("flows".into(), flows.context("no flows")?);
    held.insert("calls".into(), sidestep.query(lab, "calls")?.len() as u64);
    let files = std::fs::read_dir(format!("/proc/{}/fd", sidestep.pid()))?;
    held.insert("files".into(), files.count() as u64);
    Ok(held)
}

/// What there is more of than before: name, before, now.
fn left_behind(before: &Held, now: &Held) -> Vec<(String, u64, u64)> {
    let all = now.iter().map(|(name, now)| {
        let before = before.get(name).copied().unwrap_or_default();
        (name.clone(), before, *now)
    });
    all.filter(|(_, before, now)| now > before).collect()
}

/// Runs it.
///
/// # Errors
///
/// A call failed, or something stayed behind.
pub fn run(extent: Extent) -> Result<()> {
    let lab = Lab::new()?;
    let sidestep = Sidestep::start_with(&lab, &[], |config| {
        config["daemon"]["max_flows"] = 131_072.into();
    })?;
    let gateway = Run {
        calls: NO_LIMIT,
        ..Run::new("answer")
    };
    let _gateway = Sipp::start(&lab, Site::Gw, &gateway)?;
    let _thin_client = desk::answer(&lab, &sidestep, Registered::Nothing, "answer")?;
    let empty = held(&lab, &sidestep)?;
    // The sockets that a first call opens are kept for the next, and whose frames were
    // seen is remembered.
    let first = Run {
        options: &["-d", "200"],
        ..Run::new("load_call").calling(sip(Site::Gw))
    };
    Sipp::start(&lab, Site::Vm1, &first)?.finish(seconds(10))?;
    let mut before = empty;
    for (name, count) in held(&lab, &sidestep)? {
        let kept = ["files".to_owned(), format!("map {}", map::NEIGHBOURS)];
        if kept.contains(&name) {
            before.insert(name, count);
        }
    }
    let memory_before = crate::bench::memory(sidestep.pid())?;

    let rounds = u32::try_from(extent.length.as_secs())?.div_ceil(CALL);
    let calls = extent.calls * rounds.max(1);
    let at_once = extent.calls.to_string();
    let run = Run {
        calls,
        rate: extent.calls.div_ceil(CALL).max(1),
        options: &["-l", &at_once],
        ..Run::new("soak_call").calling(sip(Site::Gw))
    };
    println!(
        "{calls} calls, {at_once} at once, for about {} min",
        extent.length.as_secs().div_ceil(60)
    );
    let mut caller = Sipp::start(&lab, Site::Vm1, &run)?;
    let seen = watch(&lab, &sidestep, &mut caller, extent)?;
    caller.finish(seconds(1))?;
    println!("all calls are over; waiting until they are forgotten (up to 2 min)");
    let mut last = Vec::new();
    wait_for("the daemon to hold no more than before", FORGOTTEN, || {
        let now = held(&lab, &sidestep).ok()?;
        last = left_behind(&before, &now);
        last.is_empty().then_some(())
    })
    .with_context(|| format!("name, before, now: {last:?}"))?;
    let grown = crate::bench::memory(sidestep.pid())?.saturating_sub(memory_before);
    println!(
        "{calls} calls, none failed; {seen} times a call was looked at, always direct; memory {} \
         KiB above the start; no more than at the start:",
        grown / 1024
    );
    for (name, count) in &before {
        println!("  {name}: {count}");
    }
    ensure!(
        grown <= MEMORY,
        "the daemon has {} KiB more than at the start",
        grown / 1024
    );
    Ok(())
}

/// Watches the calls until the caller has placed them all; how often a call was
/// seen up.
fn watch(lab: &Lab, sidestep: &Sidestep, caller: &mut Sipp, extent: Extent) -> Result<usize> {
    let started = Instant::now();
    let limit = extent.length * 2 + seconds(120);
    let mut told = started;
    let mut seen = 0;
    loop {
        if caller.process().ended().is_some() {
            break;
        }
        if started.elapsed() > limit {
            bail!("the calls are not over after {} s", limit.as_secs());
        }
        std::thread::sleep(LOOK);
        if told.elapsed() < TELL {
            continue;
        }
        told = Instant::now();
        let calls = sidestep.query(lab, "calls")?;
        let up: Vec<&Value> = calls.iter().filter(|call| call["state"] == "up").collect();
        let astray = up.iter().find(|call| call["path"] != "direct");
        if let Some(call) = astray {
            bail!("a call is not direct: {call}");
        }
        seen += up.len();
        println!(
            "{:>4} s: {} calls up, {} listed",
            started.elapsed().as_secs(),
            up.len(),
            calls.len()
        );
    }
    ensure!(
        seen > 0 || extent.length < TELL,
        "no call was ever seen to be up"
    );
    Ok(seen)
}
