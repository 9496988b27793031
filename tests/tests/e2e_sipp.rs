//! The rows of `docs/sip.md`, played by SIPp at both ends through the daemon and its
//! kernel programs: each file of `tests/data/sipp` is a call (`peers::ladder`).
//!
//! Beside what the ladders themselves check, of each call: its path and reason, that
//! both ends' numbers rise by one (RFC 3261 §12.2.1.1), that a description which the
//! gateway gets of a call past the VM is nowhere the VM's, and what the thin client hears.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sidestep_core::sip::Message;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::capture::{Capture, Trace};
use sidestep_tests::peers::desk::{self, Registered};
use sidestep_tests::peers::ladder::Ladder;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{sip, thin_client, wait_over};
use sidestep_tests::wait::{seconds, wait_for};

/// RTP packets each way that a call with `rtp: yes` has at least.
const TALK: u64 = 15;

fn data() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sipp")
}

/// Where everybody's messages are seen.
struct Wires {
    vm: Capture,
    gateway: Capture,
    tc: Capture,
}

/// What was on the wires before a call.
struct Before {
    vm: usize,
    gateway: usize,
    tc: usize,
}

impl Wires {
    fn start(lab: &Lab) -> Result<Self> {
        Ok(Self {
            vm: Capture::start(lab, Site::Vm1, "eth0")?,
            gateway: Capture::start(lab, Site::Gw, "eth0")?,
            tc: Capture::start(lab, Site::Tc1, "eth0")?,
        })
    }

    fn now(&self) -> Result<Before> {
        Ok(Before {
            vm: self.vm.so_far()?.datagrams.len(),
            gateway: self.gateway.so_far()?.datagrams.len(),
            tc: self.tc.so_far()?.datagrams.len(),
        })
    }
}

fn since(wire: &Capture, before: usize) -> Result<Trace> {
    let mut trace = wire.so_far()?;
    trace.datagrams.drain(..before);
    Ok(trace)
}

/// Ladders whose thin client is the project's own, registered with address and codecs.
#[test]
fn with_a_thin_client() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], configure)?;
        let wires = Wires::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        play_all(lab, &sidestep, &wires, |ladder| !ladder.has("tc"))
    });
}

/// Ladders whose thin client is SIPp, too: it moves, is busy, is slow. It has registered
/// no media, so its offer comes first.
#[test]
fn with_a_thin_client_of_sipp() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], configure)?;
        let wires = Wires::start(lab)?;
        desk::register(lab, Registered::Nothing)?;
        let wanted = |ladder: &Ladder| ladder.has("tc") && ladder.fact("registered").is_none();
        play_all(lab, &sidestep, &wires, wanted)?;
        desk::register(lab, Registered::Codecs)?;
        let wanted = |ladder: &Ladder| ladder.has("tc") && ladder.fact("registered").is_some();
        play_all(lab, &sidestep, &wires, wanted)
    });
}

fn configure(config: &mut Value) {
    config["calls"] = json!({"emergency": ["112"]});
}

/// Plays these, and tells of all that went wrong.
fn play_all(
    lab: &Lab,
    sidestep: &Sidestep,
    wires: &Wires,
    wanted: impl Fn(&Ladder) -> bool,
) -> Result<()> {
    let only = std::env::var("LADDER").unwrap_or_default();
    let mut wrong = Vec::new();
    for ladder in Ladder::read_all(&data())? {
        if !wanted(&ladder) || !ladder.name.contains(&only) {
            continue;
        }
        let began = std::time::Instant::now();
        let played = play(lab, sidestep, wires, &ladder);
        println!("{:28} {:.1} s", ladder.name, began.elapsed().as_secs_f64());
        if let Err(error) = played {
            wrong.push(format!("{}: {error:#}", ladder.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

fn play(lab: &Lab, sidestep: &Sidestep, wires: &Wires, ladder: &Ladder) -> Result<()> {
    let before = wires.now()?;
    let start = |end: &str, site: Site, remote: Site, port: u16| -> Result<Sipp> {
        let scenario = format!("{}-{end}", ladder.name);
        let file = lab.directory().join(format!("{scenario}.xml"));
        std::fs::write(file, ladder.scenario(end)?)?;
        let mut run = Run {
            port,
            service: ladder.fact("calls").unwrap_or("desk"),
            options: &["-timeout", "12s", "-timeout_error"],
            ..Run::new(&scenario)
        };
        if ladder.calls(end) {
            run = run.calling(sip(remote));
        }
        Sipp::start(lab, site, &run)
    };
    let mut called = Vec::new();
    if ladder.has("tc") {
        called.push(start("tc", Site::Tc1, Site::Vm1, desk::PORT)?);
    }
    let mut ends = [
        ("vm", Site::Vm1, Site::Gw),
        ("gateway", Site::Gw, Site::Vm1),
    ];
    // Who is called waits first.
    ends.sort_by_key(|(end, ..)| ladder.calls(end));
    for (end, site, remote) in ends {
        called.push(start(end, site, remote, 5060)?);
    }
    let mut failed = Vec::new();
    for sipp in called.iter_mut().rev() {
        if let Err(error) = sipp.finish(seconds(14)) {
            failed.push(format!("{error:#}"));
        }
    }
    drop(called);
    if !failed.is_empty() {
        let _ = wait_over(lab, sidestep);
        bail!("{}", failed.join("\n"));
    }
    wait_over(lab, sidestep)?;
    listed(lab, sidestep, wires, &before, ladder)?;
    let mut last = None;
    wait_for("the wires to be as expected", seconds(2), || {
        let seen = check(wires, &before, ladder);
        let ok = seen.is_ok();
        last = seen.err();
        ok.then_some(())
    })
    .map_err(|waited| last.unwrap_or(waited))
}

/// What the daemon says of the call.
fn listed(
    lab: &Lab,
    sidestep: &Sidestep,
    wires: &Wires,
    before: &Before,
    ladder: &Ladder,
) -> Result<()> {
    let trace = since(&wires.vm, before.vm)?;
    let (_, invite) = trace
        .sip()
        .find(|(_, text)| text.starts_with("INVITE "))
        .context("no INVITE at the VM")?;
    let id = header(&invite, "Call-ID").context("no Call-ID")?;
    let calls = sidestep.query(lab, "calls")?;
    let call = calls
        .iter()
        .find(|call| call["call_id"] == id)
        .with_context(|| format!("no call {id} in {calls:?}"))?;
    let (path, reason) = (ladder.fact("path"), ladder.fact("reason"));
    ensure!(
        call["path"].as_str() == path && call["reason"].as_str() == reason,
        "path {path:?} and reason {reason:?} were expected: {call}"
    );
    Ok(())
}

fn header(message: &str, name: &str) -> Option<String> {
    message.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// What was on the wires.
fn check(wires: &Wires, before: &Before, ladder: &Ladder) -> Result<()> {
    let (vm, gateway) = (Site::Vm1.ip(), Site::Gw.ip());
    let at_gateway = since(&wires.gateway, before.gateway)?;
    let at_vm = since(&wires.vm, before.vm)?;
    let at_tc = since(&wires.tc, before.tc)?;
    numbers_rise(&at_gateway, vm).context("at the gateway")?;
    numbers_rise(&at_vm, gateway).context("at the VM")?;
    if ladder.fact("path") == Some("direct") && ladder.fact("media").is_none() {
        let descriptions = at_gateway
            .sip()
            .filter(|(datagram, text)| *datagram.src.ip() == vm && text.contains("\r\nm=audio"));
        for (_, text) in descriptions {
            let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            ensure!(
                !body.contains("m=audio 7000 ") && !body.contains(&format!("c=IN IP4 {vm}")),
                "the gateway was told of the VM's media:\n{text}"
            );
        }
    }
    if let Some(hears) = ladder.fact("hears") {
        let mut seen = BTreeSet::new();
        let said: Vec<String> = at_tc
            .sip()
            .filter(|(datagram, text)| *datagram.src.ip() == vm && !text.starts_with("SIP/2.0"))
            // What comes again is heard once.
            .filter(|(datagram, _)| seen.insert(datagram.payload.clone()))
            .map(|(_, text)| text.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        let hears = if hears == "nothing" { "" } else { hears };
        ensure!(
            said.join(" ") == hears,
            "the thin client was to hear {hears:?}, and heard {said:?}"
        );
    }
    if ladder.fact("rtp").is_some() {
        let tc = Site::Tc1.ip();
        let up = at_gateway.rtp_between(tc, gateway).packets;
        let down = at_tc.rtp_between(gateway, tc).packets;
        ensure!(
            up >= TALK && down >= TALK,
            "{up} RTP packets from the thin client, {down} to it"
        );
    }
    Ok(())
}

/// The requests of a call from one side have numbers that rise by one; ACK and CANCEL
/// have those of their INVITE.
fn numbers_rise(trace: &Trace, from: std::net::Ipv4Addr) -> Result<()> {
    let mut last: Option<u32> = None;
    for (datagram, text) in trace.sip() {
        if *datagram.src.ip() != from || text.starts_with("SIP/2.0") {
            continue;
        }
        let message = Message::parse(&datagram.payload)
            .map_err(|error| anyhow::anyhow!("{error:?}: {text}"))?;
        drop(message);
        let cseq = header(&text, "CSeq").context("no CSeq")?;
        let (number, method) = cseq.split_once(' ').context("CSeq")?;
        let number: u32 = number.parse()?;
        match last {
            None => last = Some(number),
            Some(_) if ["ACK", "CANCEL"].contains(&method) => {}
            Some(before) if number == before + 1 => last = Some(number),
            // The same message again.
            Some(before) => ensure!(number == before, "{cseq} after {before}"),
        }
    }
    Ok(())
}

/// `docs/sip.md` names every ladder, and no other.
#[test]
fn every_ladder_is_in_the_tables() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sip.md");
    let text = std::fs::read_to_string(docs)?;
    let (_, section) = text
        .split_once("\n## End to end\n")
        .context("no section End to end")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let named: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let ladders = Ladder::read_all(&data())?;
    let played: BTreeSet<&str> = ladders.iter().map(|ladder| ladder.name.as_str()).collect();
    ensure!(
        named == played,
        "only in docs/sip.md: {:?}; only in tests/data/sipp: {:?}",
        named.difference(&played).collect::<Vec<_>>(),
        played.difference(&named).collect::<Vec<_>>()
    );
    Ok(())
}
