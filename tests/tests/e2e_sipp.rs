//! The rows of `docs/sip.md`, played by SIPp at both ends through the daemon and its
//! kernel programs: each file of `tests/data/sipp` is a call (`peers::ladder`).
//!
//! Beside what the ladders themselves check, of each call: its path and reason; that
//! the numbers of all that VM, gateways and thin client get are right (`peers::numbers`:
//! CSeq, RAck, what is answered); that a description which the gateway gets of a call
//! past the VM is nowhere the VM's; what the thin client hears; and, of what is to go
//! untouched, that it goes byte for byte.
//!
//! All are played over UDP and IPv4; those that say so (`over:`) over TCP and over IPv6,
//! too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sidestep_tests::lab::{Lab, Site, in_lab, six};
use sidestep_tests::peers::capture::{Capture, Datagram, Trace};
use sidestep_tests::peers::desk::{self, Registered};
use sidestep_tests::peers::ladder::Ladder;
use sidestep_tests::peers::numbers;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{thin_client, wait_over};
use sidestep_tests::wait::{seconds, wait_for};

/// RTP packets each way that a call with `rtp: yes` has at least.
const TALK: u64 = 15;

fn data() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sipp")
}

/// How VM and gateways speak with each other. A thin client's signalling is UDP over
/// IPv4 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Udp,
    Tcp,
    /// UDP, and the thin client's media, too.
    Ipv6,
}

impl Over {
    /// As ladders name it.
    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Ipv6 => "ipv6",
        }
    }

    fn address(self, site: Site) -> IpAddr {
        match self {
            Self::Ipv6 => site.ip6().into(),
            _ => site.ip().into(),
        }
    }

    /// Where its ends are told to speak so.
    fn option(self) -> &'static str {
        match self {
            Self::Tcp => "t1",
            _ => "u1",
        }
    }

    fn plays(self, ladder: &Ladder) -> bool {
        let over = ladder.fact("over").unwrap_or_default();
        self == Self::Udp || over.split(' ').any(|over| over == self.name())
    }
}

/// Where everybody's messages are seen.
struct Wires {
    vm: Capture,
    gateway: Capture,
    tc: Capture,
    second: Capture,
}

/// What was on the wires before a call.
struct Before {
    vm: usize,
    gateway: usize,
    tc: usize,
    second: usize,
}

/// Where the second gateway is.
const SECOND: Site = Site::Tc2;
/// The port of the VM's other line.
const SECOND_LINE: u16 = 5064;

impl Wires {
    fn start(lab: &Lab) -> Result<Self> {
        let start = |site| Capture::start_of(lab, site, "eth0", "ip or ip6");
        Ok(Self {
            vm: start(Site::Vm1)?,
            gateway: start(Site::Gw)?,
            tc: start(Site::Tc1)?,
            second: start(SECOND)?,
        })
    }

    /// What has been seen until now, and nothing of it later: what is sent last is seen
    /// last.
    fn now(&self, lab: &Lab) -> Result<Before> {
        let wires = [
            (&self.vm, Site::Vm1),
            (&self.gateway, Site::Gw),
            (&self.tc, Site::Tc1),
            (&self.second, SECOND),
        ];
        // The ports of marks come again after a while.
        static MARKS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("so far {}", MARKS.fetch_add(1, Ordering::Relaxed));
        let mut seen = [0; 4];
        for ((wire, site), seen) in wires.into_iter().zip(&mut seen) {
            let [a, b, c, _] = site.ip().octets();
            let router = SocketAddrV4::new([a, b, c, 1].into(), 9);
            let bytes = mark.clone().into_bytes();
            lab.namespace(site).enter(move || {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                socket.send_to(&bytes, router)?;
                Ok::<_, anyhow::Error>(())
            })??;
            *seen = wire.wait_for("what was sent to be seen", seconds(5), |trace| {
                let marked = |d: &Datagram| d.payload == mark.as_bytes();
                trace.datagrams.iter().position(marked)
            })?;
        }
        let [vm, gateway, tc, second] = seen;
        Ok(Before {
            vm,
            gateway,
            tc,
            second,
        })
    }
}

/// What has been seen since, but for what comes again late of an earlier call.
fn since(wire: &Capture, before: usize) -> Result<Trace> {
    let mut trace = wire.so_far()?;
    let call = |datagram: &Datagram| header(&datagram.sip()?, "Call-ID");
    let earlier: BTreeSet<String> = trace
        .datagrams
        .drain(..before)
        .filter_map(|d| call(&d))
        .collect();
    trace
        .datagrams
        .retain(|datagram| call(datagram).is_none_or(|id| !earlier.contains(&id)));
    Ok(trace)
}

/// What a ladder wants to find when it begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Setting {
    tc: Tc,
    /// What the daemon's configuration says besides.
    config: String,
}

/// The thin client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tc {
    /// The project's own, registered with address and codecs.
    Own,
    /// The same, registered with its address only; it has PCMA.
    AddressOnly,
    /// SIPp, too: it moves, is busy, is slow. It has registered no media, so its offer
    /// comes first.
    Sipp,
    /// The same, registered with its address only.
    SippWithAddress,
    /// The same, registered with address and codecs.
    SippWithCodecs,
}

impl Setting {
    fn of(ladder: &Ladder) -> Result<Self> {
        let tc = match (ladder.has("tc"), ladder.fact("registered")) {
            (false, None) => Tc::Own,
            (false, Some("address")) => Tc::AddressOnly,
            (true, None) => Tc::Sipp,
            (true, Some("address")) => Tc::SippWithAddress,
            (true, Some("codecs")) => Tc::SippWithCodecs,
            (_, Some(other)) => bail!("{}: registered: {other}", ladder.name),
        };
        let config = ladder.fact("config").unwrap_or_default().to_owned();
        Ok(Self { tc, config })
    }

    fn configure(&self, config: &mut Value, over: Over) -> Result<()> {
        config["calls"] = json!({"emergency": ["112"]});
        match over {
            Over::Udp => {}
            // Who is called is known by its port, in a connection.
            Over::Tcp => config["signalling"]["sip"] = json!([5060, SECOND_LINE]),
            Over::Ipv6 => config["vms"][0]["address6"] = json!(Site::Vm1.ip6()),
        }
        if !self.config.is_empty() {
            merge(config, serde_json::from_str(&self.config)?);
        }
        Ok(())
    }
}

/// Puts what one says in its place in the other.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[test]
fn with_a_thin_client() {
    play_all(Over::Udp, |setting| {
        setting.tc == Tc::Own && setting.config.is_empty()
    });
}

#[test]
fn with_a_thin_client_of_sipp() {
    let sipp = |tc| !matches!(tc, Tc::Own | Tc::AddressOnly);
    play_all(Over::Udp, |setting| {
        sipp(setting.tc) && setting.config.is_empty()
    });
}

#[test]
fn with_a_thin_client_that_says_its_address_only() {
    play_all(Over::Udp, |setting| {
        setting.tc == Tc::AddressOnly && setting.config.is_empty()
    });
}

#[test]
fn as_the_operator_says() {
    play_all(Over::Udp, |setting| !setting.config.is_empty());
}

#[test]
fn over_tcp() {
    play_all(Over::Tcp, |_| true);
}

#[test]
fn over_ipv6() {
    play_all(Over::Ipv6, |_| true);
}

/// Plays the ladders of these settings, each with a daemon of its own, and tells of all
/// that went wrong.
fn play_all(over: Over, wanted: impl Fn(&Setting) -> bool) {
    in_lab(|lab| {
        let only = std::env::var("LADDER").unwrap_or_default();
        let mut by_setting: BTreeMap<Setting, Vec<Ladder>> = BTreeMap::new();
        for ladder in Ladder::read_all(&data())? {
            let setting = Setting::of(&ladder)?;
            if over.plays(&ladder) && wanted(&setting) && ladder.name.contains(&only) {
                by_setting.entry(setting).or_default().push(ladder);
            }
        }
        let mut wrong = Vec::new();
        if over == Over::Ipv6 {
            lab.add_ipv6()?;
        }
        let wires = Wires::start(lab)?;
        for (setting, ladders) in by_setting {
            let mut fault = Ok(());
            let mut sidestep = Sidestep::start_with(lab, &[], |config| {
                fault = setting.configure(config, over);
            })?;
            fault.with_context(|| format!("{setting:?}"))?;
            let media = over.address(Site::Tc1);
            let own = |register, codecs| {
                let started = thin_client(lab, &sidestep, |setup| {
                    setup.media_address = Some(media);
                    (setup.register, setup.codecs) = (register, codecs);
                });
                started.map(Some)
            };
            let registers = |what| desk::register(lab, what, media).map(|()| None);
            let _tc = match setting.tc {
                Tc::Own => own("codecs", &["PCMU", "PCMA"][..])?,
                Tc::AddressOnly => own("address", &["PCMA"])?,
                Tc::Sipp => registers(Registered::Nothing)?,
                Tc::SippWithAddress => registers(Registered::Address)?,
                Tc::SippWithCodecs => registers(Registered::Codecs)?,
            };
            for ladder in ladders {
                let ladder = match over {
                    Over::Ipv6 => ladder.over_ipv6(),
                    _ => ladder,
                };
                let began = std::time::Instant::now();
                let played = play(lab, &sidestep, &wires, over, &ladder);
                println!("{:28} {:.1} s", ladder.name, began.elapsed().as_secs_f64());
                if let Err(error) = played {
                    wrong.push(format!("{}: {error:#}", ladder.name));
                }
            }
            if wrong.is_empty() {
                wait_over(lab, &sidestep)?;
            }
            sidestep.terminate()?;
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        Ok(())
    });
}

/// Reports of the thin client's (RFC 3550 §6.4.2) that say of nothing that it has come,
/// while it is there.
struct Deaf {
    done: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Deaf {
    /// A receiver report without a block, in which the sender is 7.
    const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 7];

    /// `gateway`: where it takes RTCP.
    fn start(lab: &Lab, gateway: SocketAddrV4) -> Result<Self> {
        let own = SocketAddrV4::new(Site::Tc1.ip(), 20_001);
        let socket = lab
            .namespace(Site::Tc1)
            .enter(move || UdpSocket::bind(own))??;
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // Where nobody listens yet, ICMP says so.
                let _ = socket.send_to(&Self::REPORT, gateway);
                std::thread::park_timeout(Duration::from_millis(500));
            }
        });
        Ok(Self {
            done,
            thread: Some(thread),
        })
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn play(lab: &Lab, sidestep: &Sidestep, wires: &Wires, over: Over, ladder: &Ladder) -> Result<()> {
    let before = wires.now(lab)?;
    let calls = ladder.fact("tc-calls").unwrap_or("1").parse()?;
    let _deaf = match ladder.fact("rtcp") {
        Some("deaf") => Some(Deaf::start(lab, SocketAddrV4::new(Site::Gw.ip(), 6_001))?),
        _ => None,
    };
    let start = |end: &str, site: Site, remote: (Site, u16), port: u16| -> Result<Sipp> {
        let scenario = format!("{}-{end}", ladder.name);
        let file = lab.directory().join(format!("{scenario}.xml"));
        std::fs::write(file, ladder.scenario(end)?)?;
        let over = if end == "tc" { Over::Udp } else { over };
        let (to, to_port) = remote;
        let run = Run {
            port,
            address: Some(over.address(site)),
            remote: ladder
                .calls(end)
                .then(|| SocketAddr::new(over.address(to), to_port)),
            calls: if end == "tc" { calls } else { 1 },
            // The first call comes after the first part of a second that one is due in.
            rate: 50,
            service: ladder.fact("calls").unwrap_or("desk"),
            options: &["-timeout", "12s", "-timeout_error", "-t", over.option()],
            ..Run::new(&scenario)
        };
        Sipp::start(lab, site, &run)
    };
    let mut called = Vec::new();
    if ladder.has("tc") {
        called.push(start("tc", Site::Tc1, (Site::Vm1, 5060), desk::PORT)?);
    }
    let mut ends = vec![
        ("vm", Site::Vm1, (Site::Gw, 5060), 5060),
        ("gateway", Site::Gw, (Site::Vm1, 5060), 5060),
    ];
    if ladder.has("vm2") {
        ends.push(("vm2", Site::Vm1, (SECOND, 5060), SECOND_LINE));
        ends.push(("gateway2", SECOND, (Site::Vm1, SECOND_LINE), 5060));
    }
    // Who is called waits first.
    ends.sort_by_key(|(end, ..)| ladder.calls(end));
    for (end, site, remote, port) in ends {
        called.push(start(end, site, remote, port)?);
    }
    let mut failed = Vec::new();
    for sipp in called.iter_mut().rev() {
        if let Err(error) = sipp.finish(seconds(14)) {
            failed.push(format!("{error:#}"));
        }
    }
    drop(called);
    if !failed.is_empty() {
        let of_tc = since(&wires.tc, before.tc)?;
        let of_tc: Vec<String> = of_tc.sip().map(|(_, text)| text).collect();
        bail!(
            "{}\nthe thin client:\n{}",
            failed.join("\n"),
            of_tc.join("\n")
        );
    }
    in_time(seconds(5), || listed(lab, sidestep, wires, &before, ladder))?;
    in_time(seconds(2), || check(wires, &before, over, ladder))
}

/// Waits until it is so; else, what is wrong with it.
fn in_time(limit: Duration, look: impl Fn() -> Result<()>) -> Result<()> {
    let mut last = None;
    wait_for("all to be as expected", limit, || {
        last = look().err();
        last.is_none().then_some(())
    })
    .map_err(|waited| last.unwrap_or(waited))
}

/// What the daemon says of the calls.
fn listed(
    lab: &Lab,
    sidestep: &Sidestep,
    wires: &Wires,
    before: &Before,
    ladder: &Ladder,
) -> Result<()> {
    let trace = since(&wires.vm, before.vm)?;
    let calls = sidestep.query(lab, "calls")?;
    let of = |site: Site, path: &str, reason: &str| -> Result<()> {
        let (_, first) = trace
            .sip()
            .find(|(d, _)| [*d.src.ip(), *d.dst.ip()].contains(&site.ip()))
            .with_context(|| format!("nothing between the VM and {}", site.name()))?;
        let id = header(&first, "Call-ID").context("no Call-ID")?;
        let call = calls.iter().find(|call| call["call_id"] == id);
        let (path, reason) = (ladder.fact(path), ladder.fact(reason));
        let Some(call) = call else {
            ensure!(path == Some("none"), "no call {id} in {calls:?}");
            return Ok(());
        };
        ensure!(
            call["path"].as_str() == path && call["reason"].as_str() == reason,
            "path {path:?} and reason {reason:?} were expected: {call}"
        );
        let over = call["state"] == "ended" || call["state"] == "untouched";
        ensure!(over, "it has not ended: {call}");
        Ok(())
    };
    of(Site::Gw, "path", "reason")?;
    if ladder.has("vm2") {
        of(SECOND, "path2", "reason2").context("the second call")?;
    }
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
fn check(wires: &Wires, before: &Before, over: Over, ladder: &Ladder) -> Result<()> {
    let (vm, gateway) = (Site::Vm1.ip(), Site::Gw.ip());
    let at_gateway = since(&wires.gateway, before.gateway)?;
    let at_vm = since(&wires.vm, before.vm)?;
    let at_tc = since(&wires.tc, before.tc)?;
    let at_second = since(&wires.second, before.second)?;
    for (end, trace, peers) in [
        (gateway, &at_gateway, &[vm][..]),
        (SECOND.ip(), &at_second, &[vm]),
        (vm, &at_vm, &[gateway, SECOND.ip()]),
        (Site::Tc1.ip(), &at_tc, &[vm]),
    ] {
        for &peer in peers {
            numbers::are_right(trace, end, peer).with_context(|| format!("at {end}"))?;
        }
    }
    for (datagram, text) in at_gateway.sip().chain(at_second.sip()) {
        let as_it_should = (over == Over::Tcp, over == Over::Ipv6);
        ensure!(
            (datagram.connected, datagram.six) == as_it_should,
            "not over {}: {text}",
            over.name()
        );
    }
    if ladder.fact("untouched").is_some() {
        for (from, to) in [(vm, gateway), (gateway, vm)] {
            let (sent, got) = (between(&at_vm, from, to), between(&at_gateway, from, to));
            ensure!(
                !sent.is_empty() && sent == got,
                "from {from} to {to}, at the VM:\n{}\nat the gateway:\n{}",
                sent.join("\n"),
                got.join("\n")
            );
        }
    }
    if ladder.fact("media").is_none() {
        for (wire, path) in [(&at_gateway, "path"), (&at_second, "path2")] {
            if ladder.fact(path) == Some("direct") {
                nothing_of_the_vm(wire)?;
            }
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

/// What was said, in order.
fn between(trace: &Trace, from: Ipv4Addr, to: Ipv4Addr) -> Vec<String> {
    let said = trace.sip();
    let said = said.filter(|(d, _)| *d.src.ip() == from && *d.dst.ip() == to);
    said.map(|(_, text)| text).collect()
}

/// No description that the VM's side gives a gateway names the VM's media.
fn nothing_of_the_vm(trace: &Trace) -> Result<()> {
    let vm = Site::Vm1.ip();
    let descriptions = trace
        .sip()
        .filter(|(datagram, text)| *datagram.src.ip() == vm && text.contains("\r\nm=audio"));
    for (_, text) in descriptions {
        let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let ports = ["m=audio 7000 ", "m=audio 7400 "];
        ensure!(
            !ports.iter().any(|port| body.contains(port))
                && !body.contains(&format!("c=IN IP4 {vm}"))
                && !body.contains(&format!("c=IN IP6 {}", six(vm))),
            "a gateway was told of the VM's media:\n{text}"
        );
    }
    Ok(())
}

/// `docs/sip.md` names every ladder, and no other, in its list and in the row that it plays.
#[test]
fn every_ladder_is_in_the_tables() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sip.md");
    let text = std::fs::read_to_string(docs)?;
    let (rows, section) = text
        .split_once("\n## End to end\n")
        .context("no section End to end")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let listed: BTreeMap<&str, &str> = section
        .lines()
        .filter_map(|line| {
            let over = line.trim_end_matches(" |").rsplit(" | ").next()?;
            Some((line.strip_prefix("| `")?.split('`').next()?, over))
        })
        .collect();
    let named: BTreeSet<&str> = listed.keys().copied().collect();
    let ladders = Ladder::read_all(&data())?;
    let played: BTreeSet<&str> = ladders.iter().map(|ladder| ladder.name.as_str()).collect();
    ensure!(
        named == played,
        "only in docs/sip.md: {:?}; only in tests/data/sipp: {:?}",
        named.difference(&played).collect::<Vec<_>>(),
        played.difference(&named).collect::<Vec<_>>()
    );
    let of_rows: BTreeSet<&str> = rows
        .lines()
        .filter_map(|line| line.trim_end_matches(" |").rsplit(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let in_no_row: Vec<_> = played.difference(&of_rows).collect();
    ensure!(in_no_row.is_empty(), "in no row: {in_no_row:?}");
    for ladder in &ladders {
        let over = match ladder.fact("over").unwrap_or_default() {
            "" => "-",
            "tcp" => "TCP",
            "ipv6" => "IPv6",
            "tcp ipv6" => "TCP, IPv6",
            other => bail!("{}: over: {other}", ladder.name),
        };
        let said = listed.get(ladder.name.as_str());
        ensure!(said == Some(&over), "{}: {over}, and {said:?}", ladder.name);
    }
    Ok(())
}
