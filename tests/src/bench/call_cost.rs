//! What a call costs whoever moves its media: CPU time from INVITE to the end of
//! its BYE, and memory while it is up. Sidestep beside Kamailio with rtpengine,
//! which do the same to the session descriptions at an address of their own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::call_setup::{answering, call, place};
use super::cpu;
use super::rtpengine::{self, Rtpengine};
use crate::lab::{Lab, Site};
use crate::peers::desk::{self, Registered};
use crate::peers::kamailio::{self, Kamailio, Toward};
use crate::peers::sidestep::Sidestep;
use crate::peers::sipp::{Run, Sipp};
use crate::stage::{SET_UP, sip};
use crate::wait::{seconds, wait_for};

/// The hypervisor host's own address, for those who need one.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 71, 5, 2);
/// Slower than this and SIPp's INVITEs are repeated: RFC 3261's T1.
const T1: Duration = Duration::from_millis(500);

/// How much is measured.
#[derive(Debug, Clone, Serialize)]
pub struct Extent {
    /// Calls a second while CPU time is measured.
    pub rate: u32,
    /// How many of them in a round.
    pub calls: u32,
    /// Rounds; the median counts.
    pub rounds: usize,
    /// Calls a second tried for the highest, rising, 3 s each.
    pub rates: Vec<u32>,
    /// Calls that are up at once while memory is measured.
    pub at_once: u32,
}

impl Extent {
    /// A smoke test.
    pub fn quick() -> Self {
        Self {
            rate: 20,
            calls: 20,
            rounds: 1,
            rates: Vec::new(),
            at_once: 50,
        }
    }

    /// Enough for numbers.
    pub fn full() -> Self {
        Self {
            rate: 100,
            calls: 500,
            rounds: 3,
            rates: vec![200, 400, 800],
            at_once: 1_000,
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Costs {
    /// How it was measured.
    pub method: String,
    /// How much.
    pub extent: Extent,
    /// Each way.
    pub rows: Vec<Row>,
    /// Memory that the daemon took on for each call that was up, octets.
    pub memory_per_call: u64,
    /// Calls that were up at once then.
    pub calls_at_once: u32,
}

/// One way of moving a call's media.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `sidestep`, `sidestep-tcp`, `sidestep-no-journal`, `kamailio` or `kamailio-tcp`.
    pub way: &'static str,
    /// In words.
    pub title: &'static str,
    /// CPU time of all its processes, ms.
    pub cpu_ms_per_call: f64,
    /// Highest rate tried at which no call failed and, over UDP, 99 of 100 were set up
    /// within 500 ms; 0: none, or not tried.
    pub calls_per_second: u32,
    /// Whether that was the highest tried.
    pub not_the_limit: bool,
}

/// How VM and gateway signal, and whether the rate is driven up.
#[derive(Debug, Clone, Copy)]
struct Way {
    id: &'static str,
    title: &'static str,
    tcp: bool,
    rates: bool,
}

impl Way {
    /// SIPp's options for it: over TCP all calls share a connection.
    fn options(self) -> &'static [&'static str] {
        if self.tcp { &["-t", "t1"] } else { &[] }
    }

    fn gateway(self) -> Run<'static> {
        Run {
            options: self.options(),
            ..answering()
        }
    }
}

/// Measures both, and the memory.
pub fn measure(extent: Extent, progress: impl Fn(&str)) -> Result<Costs> {
    let way = |id, title, tcp, rates| Way {
        id,
        title,
        tcp,
        rates,
    };
    let (by_us, by_kamailio) = ("through Sidestep", "through Kamailio and rtpengine");
    let rows = vec![
        by_sidestep(
            &extent,
            way("sidestep", "Sidestep, UDP", false, true),
            &progress,
        )
        .context(by_us)?,
        by_proxy(
            &extent,
            way(
                "kamailio",
                "Kamailio with rtpengine in user space, UDP",
                false,
                true,
            ),
            &progress,
        )
        .context(by_kamailio)?,
        by_sidestep(
            &extent,
            way("sidestep-tcp", "Sidestep, TCP", true, true),
            &progress,
        )
        .context(by_us)?,
        by_proxy(
            &extent,
            way(
                "kamailio-tcp",
                "Kamailio with rtpengine in user space, TCP",
                true,
                true,
            ),
            &progress,
        )
        .context(by_kamailio)?,
        by_sidestep(
            &extent,
            way(
                "sidestep-no-journal",
                "Sidestep without its journal, UDP",
                false,
                false,
            ),
            &progress,
        )
        .context(by_us)?,
    ];
    progress(&format!("memory of {} calls at once", extent.at_once));
    let memory_per_call = memory_per_call(extent.at_once).context("memory per call")?;
    let method = format!(
        "SIPp in the VM calls SIPp at the gateway, {} times {} calls, {} a second, each ended \
         after 200 ms, no media; the median of the rounds. TCP: one connection for all calls. \
         Sidestep: its thin client (UDP) is asked for its offer first, so a call is two dialogs; \
         path direct, flows in the kernel's \
         maps. Kamailio: record-routing, rtpengine in user space gives each call its ports; one \
         dialog. CPU: ns that the scheduler counted for the processes. Memory: RssAnon with the \
         calls up, less before.",
        extent.rounds, extent.calls, extent.rate
    );
    Ok(Costs {
        method,
        calls_at_once: extent.at_once,
        extent,
        rows,
        memory_per_call,
    })
}

fn by_sidestep(extent: &Extent, way: Way, progress: &impl Fn(&str)) -> Result<Row> {
    let lab = Lab::new()?;
    let sidestep = Sidestep::start_with(&lab, &[], |config| {
        many_flows(config);
        if way.id == "sidestep-no-journal" {
            // Where no directory can be made: the daemon says so, and goes on without.
            config["daemon"]["journal"] = "/proc/no/journal".into();
        }
    })?;
    let _gateway = Sipp::start(&lab, Site::Gw, &way.gateway())?;
    let _thin_client = desk::answer(&lab, &sidestep, Registered::Nothing, "load_answer")?;
    let pid = sidestep.pid();
    let row = run(&lab, way, extent, &[], progress, || cpu::family(pid))?;
    let calls = sidestep.query(&lab, "calls")?;
    let direct = calls.iter().filter(|call| call["path"] == "direct").count();
    ensure!(
        direct * 100 >= calls.len() * 99 && direct > 0,
        "{direct} of {} calls took path direct",
        calls.len()
    );
    Ok(row)
}

fn by_proxy(extent: &Extent, way: Way, progress: &impl Fn(&str)) -> Result<Row> {
    let lab = Lab::new()?;
    let engine = Rtpengine::start(&lab, HOST)?;
    let proxy = SocketAddrV4::new(HOST, 5_060);
    let setup = kamailio::Setup {
        address: proxy,
        gateway: sip(Site::Gw),
        vm: sip(Site::Vm1),
        toward_vm: match way.tcp {
            true => Toward::Tcp,
            false => Toward::Udp,
        },
        rtpengine: Some(SocketAddrV4::new(HOST, rtpengine::CONTROL)),
    };
    let kamailio = match way.tcp {
        true => Kamailio::start_over_tcp(&lab, Site::Hv, &setup)?,
        false => Kamailio::start(&lab, Site::Hv, &setup)?,
    };
    let _gateway = Sipp::start(&lab, Site::Gw, &way.gateway())?;
    let (relay, proxy_pid) = (engine.pid(), kamailio.pid());
    let by_proxy = proxy.to_string();
    run(&lab, way, extent, &["-rsa", &by_proxy], progress, || {
        Ok(cpu::family(proxy_pid)? + cpu::family(relay)?)
    })
}

/// CPU time of calls, and the highest rate.
fn run(
    lab: &Lab,
    way: Way,
    extent: &Extent,
    options: &[&str],
    progress: &impl Fn(&str),
    cpu_time: impl Fn() -> Result<Duration>,
) -> Result<Row> {
    let options = [way.options(), options].concat();
    progress(&format!(
        "{}: {} × {} calls, {} a second",
        way.title, extent.rounds, extent.calls, extent.rate
    ));
    let mut costs = Vec::with_capacity(extent.rounds);
    for _ in 0..extent.rounds {
        let before = cpu_time()?;
        call(lab, extent.rate, extent.calls, &options)?;
        costs.push((cpu_time()? - before).as_secs_f64() * 1e3 / f64::from(extent.calls));
    }
    costs.sort_by(f64::total_cmp);
    let mut best = 0;
    let rates = extent.rates.iter().filter(|_| way.rates);
    for &rate in rates {
        progress(&format!("{}: {rate} calls a second", way.title));
        let fast = match way.tcp {
            // The capture reads datagrams.
            true => call(lab, rate, rate * 3, &options).is_ok(),
            false => place(lab, rate, rate * 3, &options)
                .is_ok_and(|times| super::call_setup::at(&times, 0.99) < T1),
        };
        match fast {
            true => best = rate,
            false => break,
        }
    }
    Ok(Row {
        way: way.id,
        title: way.title,
        cpu_ms_per_call: costs.get(costs.len() / 2).copied().unwrap_or_default(),
        calls_per_second: best,
        not_the_limit: best != 0 && extent.rates.last() == Some(&best),
    })
}

/// What the daemon takes on for each of so many calls that are up.
fn memory_per_call(at_once: u32) -> Result<u64> {
    let lab = Lab::new()?;
    let sidestep = Sidestep::start_with(&lab, &[], many_flows)?;
    let _gateway = Sipp::start(&lab, Site::Gw, &answering())?;
    let _thin_client = desk::answer(&lab, &sidestep, Registered::Nothing, "load_answer")?;
    // What the first calls take that stays: buffers, tables.
    place(&lab, 20, 20, &[])?;
    let before = cpu::memory(sidestep.pid())?;
    let run = Run {
        calls: at_once,
        rate: 100,
        options: &["-d", "60000"],
        ..Run::new("load_call").calling(sip(Site::Gw))
    };
    let _calls = Sipp::start(&lab, Site::Vm1, &run)?;
    let limit = seconds(u64::from(at_once / 100)) + SET_UP;
    wait_for("all calls to be up", limit, || {
        let calls = sidestep.query(&lab, "calls").ok()?;
        let up = calls
            .iter()
            .filter(|call| call["state"] == "up" && call["path"] == "direct")
            .count();
        (up == at_once as usize).then_some(())
    })?;
    let after = cpu::memory(sidestep.pid())?;
    Ok(after.saturating_sub(before) / u64::from(at_once))
}

/// Room for every call and its flows.
fn many_flows(config: &mut serde_json::Value) {
    config["daemon"]["max_flows"] = 131_072.into();
    config["calls"] = serde_json::json!({"max_per_vm": 10_000, "max_per_thin_client": 10_000});
}
