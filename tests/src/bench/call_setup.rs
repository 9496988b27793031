//! What interception adds to a call's set-up: the same SIPp scenario without
//! Sidestep, through it with the media left to the VM, and through it with the
//! media moved to a thin client that is asked first or has registered its media.
//!
//! Set-up is from the caller's INVITE to the first 200 for it, as they pass the
//! VM's interface.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::lab::{Lab, Site};
use crate::peers::capture::{Capture, Trace};
use crate::peers::desk::{self, Registered};
use crate::peers::sidestep::Sidestep;
use crate::peers::sipp::{NO_LIMIT, Run, Sipp};
use crate::stage::sip;
use crate::wait::seconds;

/// Slower than this and SIPp's INVITEs are repeated: RFC 3261's T1.
const T1: Duration = Duration::from_millis(500);

/// How much is measured.
#[derive(Debug, Clone, Serialize)]
pub struct Extent {
    /// Calls a second while delay is measured.
    pub rate: u32,
    /// How many of them in a round.
    pub calls: u32,
    /// Rounds; of each number the median counts, so that one moment in which
    /// the machine had other things to do does not decide.
    pub rounds: usize,
    /// Calls a second tried for the highest, rising, 3 s each.
    pub rates: Vec<u32>,
}

/// What is between caller and gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Without,
    Vm,
    Offerless,
    Registered,
}

impl Way {
    const ALL: [Self; 4] = [Self::Without, Self::Vm, Self::Offerless, Self::Registered];

    fn id(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Vm => "vm",
            Self::Offerless => "offerless",
            Self::Registered => "registered",
        }
    }

    /// The path that its calls take.
    fn path(self) -> &'static str {
        match self {
            Self::Without => "",
            Self::Vm => "vm",
            Self::Offerless | Self::Registered => "direct",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Without => "without Sidestep",
            Self::Vm => "through Sidestep, no thin client (path vm)",
            Self::Offerless => "through Sidestep, thin client asked first (path direct)",
            Self::Registered => "through Sidestep, thin client's media registered (path direct)",
        }
    }
}

/// What came of one way.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// `without`, `vm`, `offerless` or `registered`.
    pub way: &'static str,
    /// In words.
    pub title: &'static str,
    /// Calls whose set-up was timed, in all rounds.
    pub calls: usize,
    /// Half of the calls were set up in this time, ms.
    pub setup_median_ms: f64,
    /// 99 of 100 were, ms.
    pub setup_p99_ms: f64,
    /// Beyond the same without Sidestep, ms.
    pub added_median_ms: f64,
    /// Beyond the same without Sidestep, ms.
    pub added_p99_ms: f64,
    /// Highest rate tried, calls a second, at which no call failed and 99 of
    /// 100 were set up before their INVITE would have been repeated; 0: none.
    pub calls_per_second: u32,
    /// Whether that was the highest rate tried, so that it may be higher.
    pub not_the_limit: bool,
}

/// Measures each way in a lab of its own.
pub fn measure(extent: &Extent, progress: impl Fn(&str)) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for way in Way::ALL {
        let mut row = measure_way(way, extent, &progress).with_context(|| way.title())?;
        if let Some(base) = rows.first() {
            row.added_median_ms = row.setup_median_ms - base.setup_median_ms;
            row.added_p99_ms = row.setup_p99_ms - base.setup_p99_ms;
        }
        rows.push(row);
    }
    Ok(rows)
}

fn measure_way(way: Way, extent: &Extent, progress: &impl Fn(&str)) -> Result<Row> {
    let lab = Lab::new()?;
    let sidestep = match way {
        Way::Without => None,
        Way::Vm | Way::Offerless | Way::Registered => Some(Sidestep::start(&lab)?),
    };
    let _gateway = Sipp::start(&lab, Site::Gw, &answering())?;
    let thin_client = match (way, &sidestep) {
        (Way::Offerless, Some(sidestep)) => Some(desk::answer(
            &lab,
            sidestep,
            Registered::Nothing,
            "load_answer",
        )?),
        (Way::Registered, Some(sidestep)) => Some(desk::answer(
            &lab,
            sidestep,
            Registered::Codecs,
            "load_answer_registered",
        )?),
        _ => None,
    };

    progress(&format!(
        "{}: {} × {} calls, {} a second",
        way.title(),
        extent.rounds,
        extent.calls,
        extent.rate
    ));
    let rounds = (0..extent.rounds)
        .map(|_| place(&lab, extent.rate, extent.calls, &[]))
        .collect::<Result<Vec<_>>>()?;
    if let Some(sidestep) = &sidestep {
        let calls = sidestep.query(&lab, "calls")?;
        let right = calls
            .iter()
            .filter(|call| call["path"] == way.path())
            .count();
        ensure!(
            right * 100 >= calls.len() * 99 && right > 0,
            "{right} of {} calls took path {}; the last: {}",
            calls.len(),
            way.path(),
            calls.last().map(ToString::to_string).unwrap_or_default()
        );
    }
    let mut best = 0;
    for &rate in &extent.rates {
        progress(&format!("{}: {rate} calls a second", way.title()));
        match place(&lab, rate, rate * 3, &[]) {
            Ok(times) if at(&times, 0.99) < T1 => best = rate,
            _ => break,
        }
    }
    drop(thin_client);
    let median_ms = |fraction: f64| {
        let mut of_rounds: Vec<Duration> = rounds.iter().map(|r| at(r, fraction)).collect();
        of_rounds.sort_unstable();
        at(&of_rounds, 0.5).as_secs_f64() * 1e3
    };
    Ok(Row {
        way: way.id(),
        title: way.title(),
        calls: rounds.iter().map(Vec::len).sum(),
        setup_median_ms: median_ms(0.5),
        setup_p99_ms: median_ms(0.99),
        added_median_ms: 0.0,
        added_p99_ms: 0.0,
        calls_per_second: best,
        not_the_limit: extent.rates.last() == Some(&best),
    })
}

/// The gateway, answering every call.
pub(super) fn answering() -> Run<'static> {
    Run {
        calls: NO_LIMIT,
        ..Run::new("load_answer")
    }
}

/// Places calls from the VM to the gateway, each 200 ms long; their set-up times,
/// sorted. An error if one failed.
pub(super) fn place(lab: &Lab, rate: u32, calls: u32, options: &[&str]) -> Result<Vec<Duration>> {
    let capture = Capture::start(lab, Site::Vm1, "eth0")?;
    call(lab, rate, calls, options)?;
    let trace = capture.stop()?;
    let times = setup_times(&trace, *sip(Site::Vm1).ip());
    ensure!(
        times.len() == calls as usize,
        "{} of {calls} calls were seen to be set up",
        times.len()
    );
    Ok(times)
}

/// The same calls without their times, and so without a capture, whose work would be
/// charged to who sends.
pub(super) fn call(lab: &Lab, rate: u32, calls: u32, options: &[&str]) -> Result<()> {
    let options = [&["-d", "200"], options].concat();
    let run = Run {
        calls,
        rate,
        options: &options,
        ..Run::new("load_call").calling(sip(Site::Gw))
    };
    let expected = seconds(u64::from(calls / rate));
    Sipp::start(lab, Site::Vm1, &run)?.finish(expected + seconds(10))
}

/// First INVITE to first 200 of each call of this caller, sorted.
fn setup_times(trace: &Trace, caller: std::net::Ipv4Addr) -> Vec<Duration> {
    let mut invited: HashMap<String, Duration> = HashMap::new();
    let mut times = Vec::new();
    for (datagram, text) in trace.sip() {
        let header = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let Some(call_id) = header("Call-ID:") else {
            continue;
        };
        if *datagram.src.ip() == caller && text.starts_with("INVITE ") {
            invited.entry(call_id.to_owned()).or_insert(datagram.at);
        } else if text.starts_with("SIP/2.0 200 ")
            && header("CSeq:").is_some_and(|cseq| cseq.ends_with("INVITE"))
            && let Some(at) = invited.get_mut(call_id)
            && let Some(took) = datagram
                .at
                .checked_sub(std::mem::replace(at, Duration::MAX))
        {
            times.push(took);
        }
    }
    times.sort_unstable();
    times
}

/// The time that this fraction did not exceed.
pub(super) fn at(times: &[Duration], fraction: f64) -> Duration {
    let index = (times.len() as f64 * fraction) as usize;
    let last = times.len().saturating_sub(1);
    times.get(index.min(last)).copied().unwrap_or_default()
}
