//! What the end-to-end suites and the demo do in every lab: start the daemon,
//! register a thin client, listen on the wires, and say whether media went
//! where it should.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::lab::{Lab, Site, tap};
use crate::peers::audio::{RATE, purity};
use crate::peers::baresip::{self, Baresip};
use crate::peers::capture::{Capture, Datagram, Stream, Trace};
use crate::peers::sidestep::Sidestep;
use crate::peers::sipp::{Run, Sipp};
use crate::peers::thin_client::{self, ThinClient};
use crate::peers::{Process, audio};
use crate::wait::{seconds, wait_for};

/// Tone that the VM's softphone plays, Hz.
pub const VM_TONE: f64 = 1000.0;
/// Tone that the thin client plays, Hz.
pub const TC_TONE: f64 = 700.0;
/// Tone that the gateway plays, Hz.
pub const GATEWAY_TONE: f64 = crate::peers::sipp::GATEWAY_TONE;

/// How pure a tone has to be to count as heard.
const PURE: f64 = 0.9;

/// The SIP address of an endpoint.
pub fn sip(site: Site) -> SocketAddrV4 {
    SocketAddrV4::new(site.ip(), 5060)
}

/// Where the thin client of a VM registers.
pub fn registrar(vm: Site) -> SocketAddrV4 {
    SocketAddrV4::new(vm.ip(), 5070)
}

/// The gateway, waiting for one call.
pub fn gateway(lab: &Lab, scenario: &str) -> Result<Sipp> {
    Sipp::start(lab, Site::Gw, &Run::new(scenario))
}

/// The softphone in a VM.
pub fn phone(lab: &Lab, vm: Site) -> Result<Baresip> {
    Baresip::start(lab, vm, &baresip::Setup::default())
}

/// Has a softphone call the gateway.
pub fn dial_gateway(phone: &mut Baresip) -> Result<()> {
    phone.dial(&format!("sip:100@{}", sip(Site::Gw)))
}

/// A call of the first VM's softphone to the gateway that is up at both.
pub fn call_gateway(lab: &Lab) -> Result<(Sipp, Baresip)> {
    let gateway = gateway(lab, "answer")?;
    let mut phone = phone(lab, Site::Vm1)?;
    dial_gateway(&mut phone)?;
    phone.wait_established(1, SET_UP)?;
    Ok((gateway, phone))
}

/// The project's thin client at tc1, registered for the first VM.
pub fn thin_client(
    lab: &Lab,
    sidestep: &Sidestep,
    change: impl FnOnce(&mut thin_client::Setup<'_>),
) -> Result<ThinClient> {
    let mut setup = thin_client::Setup::new("tc1", registrar(Site::Vm1));
    change(&mut setup);
    let client = ThinClient::start(lab, Site::Tc1, &setup)?;
    sidestep.wait_registered(lab, "tc1")?;
    Ok(client)
}

/// A stock softphone that answers by itself, registered as a VM's thin client.
pub fn stock_client(
    lab: &Lab,
    sidestep: &Sidestep,
    site: Site,
    user: &str,
    vm: Site,
) -> Result<Baresip> {
    stock_client_with(lab, sidestep, site, (user, vm), |_| {})
}

/// The same, set up otherwise.
pub fn stock_client_with(
    lab: &Lab,
    sidestep: &Sidestep,
    site: Site,
    (user, vm): (&str, Site),
    change: impl FnOnce(&mut baresip::Setup<'_>),
) -> Result<Baresip> {
    let mut setup = baresip::Setup {
        user,
        registrar: Some((registrar(vm), "secret")),
        auto_answer: true,
        tone: TC_TONE,
        ..baresip::Setup::default()
    };
    change(&mut setup);
    let mut phone = Baresip::start(lab, site, &setup)?;
    phone.wait_registered(seconds(10))?;
    sidestep.wait_registered(lab, user)?;
    Ok(phone)
}

/// Captures around one call of a VM and its thin client.
#[derive(Debug)]
pub struct Wires {
    /// The VM.
    pub vm: Site,
    /// Its thin client.
    pub tc: Site,
    /// The gateway's interface.
    pub gateway: Capture,
    /// The thin client's interface.
    pub thin_client: Capture,
    /// The VM's tap on the host: also what the guard is about to drop.
    pub tap: Capture,
    /// The bridge's other port, toward the world: what got past the tap.
    pub bridge: Capture,
}

impl Wires {
    /// Listens around the first VM and tc1.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::around(lab, Site::Vm1, Site::Tc1)
    }

    /// Listens around a bridged VM and a thin client.
    pub fn around(lab: &Lab, vm: Site, tc: Site) -> Result<Self> {
        Ok(Self {
            vm,
            tc,
            gateway: Capture::start(lab, Site::Gw, "eth0")?,
            thin_client: Capture::start(lab, tc, "eth0")?,
            tap: Capture::start(lab, Site::Hv, tap(vm))?,
            bridge: Capture::start(lab, Site::Hv, "up0")?,
        })
    }

    /// Waits until thin client and gateway hear each other directly.
    pub fn hear_direct(&self) -> Result<()> {
        hear(&self.gateway, self.tc.ip(), Site::Gw.ip(), TC_TONE)?;
        hear(&self.thin_client, Site::Gw.ip(), self.tc.ip(), GATEWAY_TONE)?;
        Ok(())
    }

    /// Waits until VM and gateway hear each other.
    pub fn hear_through_vm(&self) -> Result<()> {
        hear(&self.gateway, self.vm.ip(), Site::Gw.ip(), VM_TONE)?;
        hear(&self.tap, Site::Gw.ip(), self.vm.ip(), GATEWAY_TONE)?;
        Ok(())
    }

    /// An error if any RTP went through between VM and world, either way.
    pub fn nothing_past_tap(&self) -> Result<()> {
        let vm = self.vm.ip();
        let trace = self.bridge.so_far()?;
        let past: Vec<String> = trace
            .datagrams
            .iter()
            .filter(|d| (*d.src.ip() == vm || *d.dst.ip() == vm) && d.rtp().is_some())
            .map(|d| format!("{:.6} {} > {}", d.at.as_secs_f64() % 60.0, d.src, d.dst))
            .collect();
        ensure!(
            past.is_empty(),
            "{} RTP packets passed the tap:\n{}",
            past.len(),
            past.join("\n")
        );
        Ok(())
    }
}

/// Waits until the last second of RTP from one address to another carries a
/// tone.
pub fn hear(wire: &Capture, from: Ipv4Addr, to: Ipv4Addr, hz: f64) -> Result<Stream> {
    let what = format!("{hz} Hz from {from} to {to}");
    let heard = wire.wait_for(&what, seconds(8), |trace| {
        let stream = trace.rtp_between(from, to);
        let second = stream.audio.rchunks(RATE as usize).next()?;
        (second.len() == RATE as usize && purity(second, hz) > PURE).then_some(stream)
    });
    heard.with_context(|| {
        let stream = wire.so_far().unwrap_or_default().rtp_between(from, to);
        let last = stream.audio.rchunks(RATE as usize).next().unwrap_or(&[]);
        format!(
            "{} packets, payload types {:?}, purity of the last second {:.2}",
            stream.packets,
            stream.payload_types,
            audio::purity(last, hz)
        )
    })
}

/// Stops these processes for as long as `look` takes, so that what they sent
/// can be compared with what was counted.
pub fn frozen<T>(processes: &[&Process], look: impl FnOnce() -> Result<T>) -> Result<T> {
    for process in processes {
        process.signal(Signal::SIGSTOP)?;
    }
    let seen = look();
    for process in processes {
        process.signal(Signal::SIGCONT)?;
    }
    seen
}

/// Waits until a capture agrees with the daemon's flow row for `from` → `to` in
/// packets and octets; the senders are frozen meanwhile. Returns the row.
pub fn agree(
    lab: &Lab,
    sidestep: &Sidestep,
    wire: &Capture,
    from: Ipv4Addr,
    to: Ipv4Addr,
) -> Result<Value> {
    let mut last = (0, 0, Value::Null);
    wait_for("flows and wire to agree", seconds(3), || {
        let flow = flow_between(&sidestep.query(lab, "flows").ok()?, from, to)?;
        // A softphone may send as soon as it has answered, before the daemon has
        // its answer: what came before the flow stood is not the flow's.
        let first = flow["first_seen"].as_str().and_then(time_of_day)?;
        let stream = wire
            .so_far()
            .ok()?
            .rtp(|d| *d.src.ip() == from && *d.dst.ip() == to && !is_before(d.at, first));
        last = (stream.packets, stream.bytes, flow.clone());
        (flow["packets"] == stream.packets && flow["bytes"] == stream.bytes).then_some(flow)
    })
    .with_context(|| {
        format!(
            "on the wire from {from} to {to}: {} packets, {} octets; counted: {}",
            last.0, last.1, last.2
        )
    })
}

/// The time of day of an RFC 3339 time in UTC.
fn time_of_day(text: &str) -> Option<Duration> {
    let mut parts = text.strip_suffix('Z')?.split_once('T')?.1.splitn(3, ':');
    let mut part = || parts.next()?.parse::<f64>().ok();
    Duration::try_from_secs_f64(part()? * 3600.0 + part()? * 60.0 + part()?).ok()
}

/// Whether a packet captured at `at` came clearly before `first`, a time of day:
/// by more than the rounding of either, and less than the time between packets.
fn is_before(at: Duration, first: Duration) -> bool {
    const DAY: f64 = 86_400.0;
    let ahead = (first.as_secs_f64() - at.as_secs_f64() % DAY + DAY) % DAY;
    (0.005..DAY / 2.0).contains(&ahead)
}

/// The row of the live RTP flow between these addresses, as it is on the wire.
pub fn flow_between(flows: &[Value], from: Ipv4Addr, to: Ipv4Addr) -> Option<Value> {
    let is = |row: &Value, field: &str, address: Ipv4Addr| {
        row[field]
            .as_str()
            .and_then(|text| text.parse::<SocketAddrV4>().ok())
            .is_some_and(|socket| *socket.ip() == address)
    };
    flows
        .iter()
        .find(|row| {
            row["rtcp"] == false
                && row["state"] == "live"
                && is(row, "from", from)
                && is(row, "to", to)
        })
        .cloned()
}

/// Waits until every call has ended, and its flows are out of the kernel.
pub fn wait_over(lab: &Lab, sidestep: &Sidestep) -> Result<()> {
    for list in ["calls", "flows"] {
        let mut last = Vec::new();
        wait_for("everything to end", seconds(5), || {
            last = sidestep.query(lab, list).ok()?;
            let over = |row: &Value| row["state"] == "ended" || row["state"] == "untouched";
            last.iter().all(over).then_some(())
        })
        .with_context(|| format!("sidestep {list}: {}", Value::Array(last.clone())))?;
    }
    Ok(())
}

/// What is expected of the newest call.
pub fn expect_reason(call: &Value, reason: Option<&str>) -> Result<()> {
    ensure!(
        call["reason"].as_str() == reason,
        "reason {} where {reason:?} was expected: {call}",
        call["reason"]
    );
    Ok(())
}

/// How many SIP requests of a method went from one address to another as datagrams.
pub fn requests(trace: &Trace, method: &str, from: Ipv4Addr, to: Ipv4Addr) -> usize {
    let start = format!("{method} ");
    trace
        .sip()
        .filter(|(d, text)| *d.src.ip() == from && *d.dst.ip() == to && text.starts_with(&start))
        .filter(|(d, _)| !d.connected)
        .count()
}

/// A limit that a call's set-up never comes near.
pub const SET_UP: Duration = Duration::from_secs(8);

/// A configuration with all media by an anchor.
pub fn steer(config: &mut Value) {
    config["media"]["paths"] = json!([{"path": "steered"}]);
}

/// The datagram of the first INVITE from one endpoint to another, whole.
///
/// # Errors
///
/// None has come within 5 s.
pub fn invite(wire: &Capture, from: Site, to: Site) -> Result<Datagram> {
    wire.wait_for("an INVITE", seconds(5), |trace| {
        let found = trace.sip().find(|(d, text)| {
            *d.src.ip() == from.ip() && *d.dst.ip() == to.ip() && text.starts_with("INVITE ")
        });
        found.map(|(datagram, _)| datagram.clone())
    })
}
