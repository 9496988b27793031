//! The soak: calls for minutes on end, holds and re-INVITEs mixed in, and then a
//! look whether anything has stayed behind.
//!
//! In: how many calls at once, and for how long. Out: what was seen on the way,
//! and an error if a call failed, took another path, or left a map entry, a
//! timer or a file behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{Lab, Site};
use crate::peers::desk::{self, Registered};
use crate::peers::sidestep::Sidestep;
use crate::peers::sipp::{NO_LIMIT, Run, Sipp};
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

/// How long, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Calls that are up at once.
    pub calls: u32,
    /// For so long.
    pub length: Duration,
}

/// What a daemon holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    calls: u64,
    flows: u64,
    files: usize,
}

impl Held {
    fn of(lab: &Lab, sidestep: &Sidestep) -> Result<Self> {
        let rows = sidestep.query(lab, "status")?;
        let status = rows.first().context("no status")?;
        let number = |field: &str| {
            status[field]
                .as_u64()
                .with_context(|| format!("no {field} in {status}"))
        };
        Ok(Self {
            calls: sidestep.query(lab, "calls")?.len() as u64,
            flows: number("flows")?,
            files: std::fs::read_dir(format!("/proc/{}/fd", sidestep.pid()))?.count(),
        })
    }
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
    let empty = Held::of(&lab, &sidestep)?;
    // The sockets that a first call opens are kept for the next.
    let first = Run {
        options: &["-d", "200"],
        ..Run::new("load_call").calling(sip(Site::Gw))
    };
    Sipp::start(&lab, Site::Vm1, &first)?.finish(seconds(10))?;
    let before = Held {
        files: Held::of(&lab, &sidestep)?.files,
        ..empty
    };
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
    let mut last = None;
    wait_for("the daemon to hold no more than before", FORGOTTEN, || {
        let now = Held::of(&lab, &sidestep).ok()?;
        last = Some(now.clone());
        (now == before).then_some(())
    })
    .with_context(|| format!("before: {before:?}; now: {last:?}"))?;
    let grown = crate::bench::memory(sidestep.pid())?.saturating_sub(memory_before);
    println!(
        "{calls} calls, none failed; {} times a call was looked at, always direct; at the end {} \
         flows, {} calls, {} files as at the start; memory {} KiB above the start",
        seen,
        before.flows,
        before.calls,
        before.files,
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
