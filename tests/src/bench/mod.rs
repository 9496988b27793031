//! The benchmark: what Sidestep's programs cost, what carrying media costs by
//! every path, what interception adds to a call's set-up.
//!
//! In: how long it may take. Out: a table for people, and the same as JSON with
//! the machine named. Numbers of one run are for comparing with each other;
//! those of two machines, or of two runs, are not.

mod call_cost;
mod call_setup;
mod cpu;
mod curve;
mod datapath;
mod h248;
mod h248_calls;
mod machine;
mod many_flows;
mod relaying;
mod rtpengine;
mod sip;
mod steering;
mod table;
mod test_run;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

pub use cpu::memory;
use machine::Machine;
use table::Table;

/// What can be measured by itself.
pub const PARTS: [&str; 8] = [
    "xdp",
    "datapath",
    "relaying",
    "call-setup",
    "call-cost",
    "sip",
    "h248",
    "h248-calls",
];

/// What to measure, and where to put it.
#[derive(Debug, Clone)]
pub struct Options {
    /// A smoke test: everything once and shortly; the numbers are worth little.
    pub quick: bool,
    /// Where the JSON goes; `None`: `bench/bench.json` in the target directory.
    pub json: Option<PathBuf>,
    /// Only these parts, by the names in the JSON; empty: all.
    pub only: Vec<String>,
}

/// Everything, as the JSON has it.
#[derive(Debug, Serialize)]
struct Results {
    machine: Machine,
    quick: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    xdp: Option<test_run::XdpCosts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datapath: Option<Datapath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relaying: Option<Relaying>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_setup: Option<CallSetup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_cost: Option<call_cost::Costs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sip: Option<Reading>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h248: Option<Decoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h248_calls: Option<H248Calls>,
    /// Seconds that it all took.
    took_s: f64,
}

#[derive(Debug, Serialize)]
struct Datapath {
    method: String,
    extent: datapath::Extent,
    rows: Vec<datapath::Row>,
    aims: Vec<datapath::Aim>,
}

#[derive(Debug, Serialize)]
struct Relaying {
    method: String,
    extent: relaying::Extent,
    rows: Vec<relaying::Row>,
}

#[derive(Debug, Serialize)]
struct CallSetup {
    method: String,
    extent: call_setup::Extent,
    rows: Vec<call_setup::Row>,
}

#[derive(Debug, Serialize)]
struct Reading {
    method: String,
    extent: sip::Extent,
    rows: Vec<sip::Row>,
}

#[derive(Debug, Serialize)]
struct Decoding {
    method: String,
    extent: h248::Extent,
    rows: Vec<h248::Row>,
}

#[derive(Debug, Serialize)]
struct H248Calls {
    method: String,
    extent: h248_calls::Extent,
    rows: Vec<h248_calls::Row>,
}

/// Measures, prints, writes.
pub fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    let preferred = prefer_this_process();
    let machine = Machine::look()?;
    println!("Machine: {}", machine.describe());
    if !machine.is_quiet() {
        println!(
            "Not quiet: {:.0} % of the CPUs were busy before anything was measured.",
            machine.busy_before_percent
        );
    }
    if let Err(error) = preferred {
        println!("Measured at ordinary priority: {error:#}");
    }
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|o| o == part);
    let xdp = wanted("xdp").then(|| xdp(options.quick)).transpose()?;
    let plot = json_path(options)?.with_file_name("datapath.svg");
    let datapath = wanted("datapath")
        .then(|| datapath(options.quick, &machine, &plot))
        .transpose()?;
    let relaying = wanted("relaying")
        .then(|| relaying(options.quick, &machine))
        .transpose()?;
    let call_setup = wanted("call-setup")
        .then(|| call_setup(options.quick))
        .transpose()?;
    let call_cost = wanted("call-cost")
        .then(|| call_cost(options.quick))
        .transpose()?;
    let sip = wanted("sip").then(|| reading(options.quick)).transpose()?;
    let h248 = wanted("h248")
        .then(|| decoding(options.quick))
        .transpose()?;
    let h248_calls = wanted("h248-calls")
        .then(|| h248_calls(options.quick))
        .transpose()?;
    let results = Results {
        machine,
        quick: options.quick,
        xdp,
        datapath,
        relaying,
        call_setup,
        call_cost,
        sip,
        h248,
        h248_calls,
        took_s: started.elapsed().as_secs_f64(),
    };
    let path = json_path(options)?;
    write(&results, &path)?;
    println!(
        "\n{:.0} s in all; as JSON: {}",
        results.took_s,
        path.display()
    );
    Ok(())
}

/// This process, and what it starts, before other programs on the machine: at
/// nice -20.
fn prefer_this_process() -> Result<()> {
    let pid = std::process::id().to_string();
    let output = std::process::Command::new("renice")
        .args(["-n", "-20", "-p", &pid])
        .output()
        .context("renice")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "renice: {}", said.trim());
    Ok(())
}

/// What one packet costs the programs.
fn xdp(quick: bool) -> Result<test_run::XdpCosts> {
    println!("  … XDP paths under BPF_PROG_TEST_RUN");
    let costs = test_run::measure(if quick { 10 } else { 100 })?;
    let mut table = Table::new(&["XDP path", "returns", "ns/packet", "× bare"]);
    let mut row = |path: &str, action: &str, ns: f64, ratio: f64| {
        table.row(&[
            path.to_owned(),
            action.to_owned(),
            format!("{ns:.0}"),
            format!("{ratio:.2}"),
        ]);
    };
    row("bare: MACs swapped", "XDP_TX", costs.bare_ns, 1.0);
    for cost in &costs.paths {
        row(cost.path, cost.action, cost.ns, cost.ratio);
    }
    println!("\n{table}");
    table::print_wrapped(&format!(
        "BPF_PROG_TEST_RUN, {} flows in the map, {} packets of each path, paths in turn; the \
         mean of the middle half.\n",
        costs.flows, costs.packets
    ));
    if costs.kernel_statistics {
        println!(
            "Another program had the kernel keep BPF statistics, which cost every packet tens of \
             ns: these ratios flatter. Measure again without it.\n"
        );
    }
    Ok(costs)
}

/// What carrying media costs over the number of flows, as a table and as a curve.
fn datapath(quick: bool, machine: &Machine, plot: &Path) -> Result<Datapath> {
    let extent = if quick {
        datapath::Extent {
            flows: vec![1, 1_000],
            rate: 5_000,
            packets: 2_000,
            rounds: 1,
        }
    } else {
        datapath::Extent {
            flows: vec![1, 100, 1_000, 10_000, 100_000],
            rate: 10_000,
            packets: 20_000,
            rounds: 3,
        }
    };
    let apart = machine.irq_time_apart.unwrap_or(false);
    let rows = datapath::measure(&extent, apart, |doing| println!("  … {doing}"))?;
    let method = format!(
        "{} IP packets of {} octets a second, of all flows together, each flow in its turn, one \
         way; {} or one of each flow, {} rounds, paths in turn, the median of the rounds. CPU: ns \
         that the scheduler counted within the sending calls, where the kernel carries a packet \
         as far as the next program's socket, and for relay and ksoftirqd threads. Host: beyond \
         the detour's of the same round, in which the host's interface turns each packet around \
         untouched (XDP); packets per second and core: of a core that does nothing but that. \
         Delay: from just before the sending call to the kernel's receive timestamp; added: \
         beyond the straight path's. Interfaces are veth pairs, where XDP has to copy each packet \
         first. rtpengine and the relay open ports for both ends of each flow: one address has \
         enough for 10,000, and where a process may have fewer files, rows are missing.",
        extent.rate,
        datapath::PACKET,
        extent.packets,
        extent.rounds
    );
    let mut table = Table::new(&[
        "carried by",
        "flows",
        "CPU ns/pkt",
        "host",
        "pkt/s/core",
        "delay µs, p50",
        "p99",
        "p99.9",
        "added, p50",
        "p99",
        "p99.9",
        "lost",
    ]);
    for row in &rows {
        let based = matches!(
            row.path,
            datapath::Path::Straight | datapath::Path::TurnedAround
        );
        let mut cells = vec![
            row.path.title().to_owned(),
            row.flows.to_string(),
            format!("{:.0}", row.cpu_ns),
        ];
        if based {
            cells.extend(["–".to_owned(), "–".to_owned()]);
        } else {
            cells.push(format!("{:+.0}", row.host_cpu_ns));
            let rate = row.packets_per_second_per_core;
            cells.push(rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}")));
        }
        cells.extend(row.delay_us.map(|us| format!("{us:.1}")));
        if row.path == datapath::Path::Straight {
            cells.extend([0; 3].map(|_| "–".to_owned()));
        } else {
            cells.extend(row.added_delay_us.map(|us| format!("{us:+.1}")));
        }
        cells.push(format!("{} of {}", row.lost, row.packets));
        table.row(&cells);
    }
    println!("\n{table}");
    table::print_wrapped(&method);
    let aims = datapath::aims(&rows);
    for aim in &aims {
        let met = if aim.met { "met" } else { "missed" };
        println!("Aim {met}: {}: {}.", aim.aim, aim.measured);
    }
    if let Some(directory) = plot.parent() {
        std::fs::create_dir_all(directory)?;
    }
    curve::draw(&rows, &machine.describe(), plot)?;
    println!("The curve: {}\n", plot.display());
    Ok(Datapath {
        method,
        extent,
        rows,
        aims,
    })
}

fn relaying(quick: bool, machine: &Machine) -> Result<Relaying> {
    let extent = if quick {
        relaying::Extent {
            calls: 10,
            seconds: 1,
            rounds: 1,
        }
    } else {
        relaying::Extent {
            calls: 50,
            seconds: 4,
            rounds: 3,
        }
    };
    let apart = machine.irq_time_apart.unwrap_or(false);
    let rows = relaying::measure(extent, apart, |doing| println!("  … {doing}"))?;
    let method = format!(
        "{} calls at a time, 50 packets of 172 octets per second each way, {} s by each path, \
         paths in turn, {} rounds, the median of the rounds. CPU: ns that the scheduler counted \
         within the sending calls, where the kernel carries a packet as far as the next \
         program's socket, and for relay and ksoftirqd threads{}; added: less the straight path's of the same round. Delay: from just \
         before the sending call (a timestamp in the payload) to the kernel's receive timestamp. \
         The VM is a network namespace behind a tap-like veth: what leaving and entering a \
         virtual machine costs comes on top. Interfaces are veth pairs, where XDP has to copy \
         each packet first, which a real network card spares it.",
        extent.calls,
        extent.seconds,
        extent.rounds,
        match machine.irq_time_apart {
            Some(false) => "",
            Some(true) => ", and softirqs on all CPUs, which this kernel counts apart",
            None => " (whether this kernel counts softirqs apart is not known)",
        }
    );
    let mut table = Table::new(&[
        "carrying media",
        "CPU µs/pkt",
        "added",
        "delay µs, median",
        "p99",
        "added, median",
        "p99",
        "lost",
    ]);
    for row in &rows {
        let base = row.path == "straight";
        let added = |number: f64| {
            if base {
                "–".to_owned()
            } else {
                format!("{number:+.1}")
            }
        };
        table.row(&[
            row.title.clone(),
            format!("{:.2}", row.cpu_us_per_packet),
            if base {
                "–".to_owned()
            } else {
                format!("{:+.2}", row.added_cpu_us_per_packet)
            },
            format!("{:.1}", row.delay_median_us),
            format!("{:.1}", row.delay_p99_us),
            added(row.added_delay_median_us),
            added(row.added_delay_p99_us),
            format!("{} of {}", row.lost, row.packets),
        ]);
    }
    println!("\n{table}");
    table::print_wrapped(&method);
    Ok(Relaying {
        method,
        extent,
        rows,
    })
}

fn call_setup(quick: bool) -> Result<CallSetup> {
    let extent = if quick {
        call_setup::Extent {
            rate: 20,
            calls: 20,
            rounds: 1,
            rates: Vec::new(),
        }
    } else {
        call_setup::Extent {
            rate: 50,
            calls: 200,
            rounds: 3,
            rates: vec![100, 200, 400, 800],
        }
    };
    let rows = call_setup::measure(&extent, |doing| println!("  … {doing}"))?;
    let mut method = format!(
        "SIPp in the VM calls SIPp at the gateway, {} times {} calls, {} a second, each ended after \
         200 ms; the same scenario each time, no media; of each number the median of the rounds. \
         Set-up: INVITE to 200 on the VM's interface. SIPp, its logs and the capture run on the \
         same CPUs.",
        extent.rounds, extent.calls, extent.rate
    );
    if !extent.rates.is_empty() {
        method += &format!(
            " Calls a second: the highest of {:?} at which no call failed and 99 of 100 were set \
             up within 500 ms.",
            extent.rates
        );
    }
    let mut table = Table::new(&[
        "call set-up",
        "median ms",
        "p99",
        "added, median",
        "p99",
        "calls/s",
    ]);
    for row in &rows {
        let added = |number: f64| match row.way {
            "without" => "–".to_owned(),
            _ => format!("{number:+.2}"),
        };
        table.row(&[
            row.title.to_owned(),
            format!("{:.2}", row.setup_median_ms),
            format!("{:.2}", row.setup_p99_ms),
            added(row.added_median_ms),
            added(row.added_p99_ms),
            match (row.calls_per_second, row.not_the_limit) {
                _ if extent.rates.is_empty() => "–".to_owned(),
                (rate, true) => format!("{rate} or more"),
                (rate, false) => rate.to_string(),
            },
        ]);
    }
    println!("\n{table}");
    table::print_wrapped(&method);
    Ok(CallSetup {
        method,
        extent,
        rows,
    })
}

fn reading(quick: bool) -> Result<Reading> {
    println!("  … reading and changing SIP");
    let extent = sip::Extent {
        each_ms: if quick { 2 } else { 200 },
    };
    let rows = sip::measure(extent)?;
    let mut table = Table::new(&["SIP", "octets", "read, ns", "MB/s", "and changed, ns"]);
    for row in &rows {
        table.row(&[
            row.message.to_owned(),
            row.bytes.to_string(),
            format!("{:.0}", row.ns),
            format!("{:.0}", row.mb_per_s),
            format!("{:.0}", row.edit_ns),
        ]);
    }
    let method = format!(
        "Each message over and over for {} ms on one thread. Changed: read, its session \
         description read, and both written with the audio at another address.",
        extent.each_ms
    );
    println!("\n{table}");
    table::print_wrapped(&method);
    Ok(Reading {
        method,
        extent,
        rows,
    })
}

fn decoding(quick: bool) -> Result<Decoding> {
    println!("  … decoding H.248, here and in Erlang");
    let extent = h248::Extent {
        each_ms: if quick { 2 } else { 40 },
    };
    let rows = h248::measure(extent)?;
    let mut table = Table::new(&[
        "decoding H.248",
        "ns/message",
        "MB/s",
        "and changing it, ns",
        "Erlang ns/message",
        "× faster",
    ]);
    for row in &rows {
        table.row(&[
            format!("{}; Erlang: {}", row.encoding, row.decoder),
            format!("{:.0}", row.ns),
            format!("{:.0}", row.mb_per_s),
            format!("{:.0}", row.edit_ns),
            format!("{:.0}", row.erlang_ns),
            format!("{:.1}", row.ratio),
        ]);
    }
    let method = format!(
        "The messages of the tests' corpus (versions 1 to 3) that both decode, {} to {} of each \
         encoding, as Erlang/OTP's encoders write them; the mean over the messages. Each is \
         decoded over and over for {} ms by either, on one thread, Erlang's code compiled. \
         Changing: decoded, and every Local and Remote given another session description; of \
         those messages that have one.",
        rows.iter().map(|row| row.messages).min().unwrap_or(0),
        rows.iter().map(|row| row.messages).max().unwrap_or(0),
        extent.each_ms
    );
    println!("\n{table}");
    table::print_wrapped(&method);
    Ok(Decoding {
        method,
        extent,
        rows,
    })
}

fn h248_calls(quick: bool) -> Result<H248Calls> {
    let extent = h248_calls::Extent {
        calls: if quick { 50 } else { 1000 },
        at_once: 10,
        rounds: if quick { 1 } else { 3 },
    };
    let rows = h248_calls::measure(extent, |doing| println!("  … {doing}"))?;
    let method = format!(
        "Erlang/OTP's megaco in the VM makes a context of a line and an RTP termination at \
         Erlang's megaco outside (Add), and ends it (Subtract), over UDP, without media: {} times \
         {} calls one after the other, and {} at once; of each number the median of the rounds. \
         Erlang runs on the same CPUs, and takes most of them.",
        extent.rounds, extent.calls, extent.at_once
    );
    let mut table = Table::new(&["H.248 calls", "ms each", "calls/s", "of without, %"]);
    for row in &rows {
        table.row(&[
            format!("{}, {}", row.way, row.encoding),
            format!("{:.2}", row.call_ms),
            format!("{:.0}", row.calls_per_second),
            format!("{:.0}", row.of_without_percent),
        ]);
    }
    println!("\n{table}");
    table::print_wrapped(&method);
    Ok(H248Calls {
        method,
        extent,
        rows,
    })
}

fn call_cost(quick: bool) -> Result<call_cost::Costs> {
    let extent = if quick {
        call_cost::Extent::quick()
    } else {
        call_cost::Extent::full()
    };
    let costs = call_cost::measure(extent, |doing| println!("  … {doing}"))?;
    let mut table = Table::new(&["calls with media moved by", "CPU ms/call", "calls/s"]);
    for row in &costs.rows {
        table.row(&[
            row.title.to_owned(),
            format!("{:.2}", row.cpu_ms_per_call),
            match (row.calls_per_second, row.not_the_limit) {
                (0, false) => "–".to_owned(),
                (rate, true) => format!("{rate} or more"),
                (rate, false) => rate.to_string(),
            },
        ]);
    }
    println!("\n{table}");
    table::print_wrapped(&costs.method);
    println!(
        "\nMemory of the daemon: {:.1} KiB per call that is up ({} calls at once).",
        costs.memory_per_call as f64 / 1024.0,
        costs.calls_at_once
    );
    Ok(costs)
}

/// Where the JSON goes.
fn json_path(options: &Options) -> Result<PathBuf> {
    match &options.json {
        Some(path) => Ok(path.clone()),
        None => default_path(),
    }
}

/// `bench/bench.json` beside the profile's directory that this runs from.
fn default_path() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program
        .parent()
        .and_then(Path::parent)
        .context("this program is in no target directory; say --json FILE")?;
    Ok(target.join("bench/bench.json"))
}

fn write(results: &Results, path: &Path) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making {}", directory.display()))?;
    }
    std::fs::write(path, serde_json::to_vec_pretty(results)?)
        .with_context(|| format!("writing {}", path.display()))
}
