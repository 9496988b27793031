//! One call past the VM, watched from all sides.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::TALK;
use super::cost::{Programs, process_time};
use super::delay::Delay;
use super::screen::Screen;
use crate::lab::{Lab, Site};
use crate::peers::Process;
use crate::peers::audio::{RATE, purity};
use crate::peers::baresip::Baresip;
use crate::peers::capture::{Stream, Trace};
use crate::peers::sidestep::Sidestep;
use crate::peers::sipp::{Run, Sipp};
use crate::peers::thin_client::ThinClient;
use crate::stage::{GATEWAY_TONE, SET_UP, TC_TONE, Wires, agree, frozen, gateway, sip};
use crate::wait::{seconds, wait_for};

/// Who calls, seen from the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Fig. 3.
    Outgoing,
    /// Fig. 4.
    Incoming,
}

/// A call to place.
#[derive(Debug)]
pub struct Plan {
    /// Its number in the demo.
    pub number: u32,
    /// Who calls.
    pub direction: Direction,
    /// The VM.
    pub vm: Site,
    /// Its thin client.
    pub tc: Site,
    /// What the thin client is.
    pub party: &'static str,
}

impl Plan {
    /// The call in words.
    pub fn title(&self) -> String {
        match self.direction {
            Direction::Outgoing => format!("{} calls the gateway", self.vm.name()),
            Direction::Incoming => format!("the gateway calls {}", self.vm.name()),
        }
    }
}

/// A thin client of either kind.
#[derive(Debug)]
pub enum Party {
    /// The project's.
    Own(ThinClient),
    /// The stock softphone.
    Stock(Baresip),
}

impl Party {
    fn process(&mut self) -> &mut Process {
        match self {
            Self::Own(client) => client.process(),
            Self::Stock(phone) => phone.process(),
        }
    }
}

/// One direction of the media.
#[derive(Debug)]
pub struct Way {
    /// The flow as the daemon shows it.
    pub flow: Value,
    /// RTP packets on the wire when the flow was read.
    pub on_wire: u64,
    /// The tone that was sent, Hz.
    pub hz: f64,
    /// How much of what arrived in the last second is that tone.
    pub purity: f64,
    /// From end to end.
    pub delay: Option<Delay>,
}

/// What came of a call.
#[derive(Debug)]
pub struct Outcome {
    /// Its title.
    pub title: String,
    /// The thin client.
    pub party: &'static str,
    /// Its row in `sidestep calls`.
    pub call: Value,
    /// Thin client to gateway.
    pub up: Way,
    /// Gateway to thin client.
    pub down: Way,
    /// RTP packets between VM and world, past the tap.
    pub past_tap: u64,
    /// RTP packets that the VM's own softphone sent into its tap.
    pub vm_sent: u64,
    /// RTP packets that the guard dropped.
    pub guarded: u64,
    /// How long media was measured.
    pub measured: Duration,
    /// CPU time of the kernel programs in that time.
    pub programs: Duration,
    /// CPU time of the daemon in that time.
    pub daemon: Duration,
}

/// Places the call and watches it.
pub fn place(
    lab: &Lab,
    sidestep: &Sidestep,
    screen: &Screen,
    plan: &Plan,
    phone: &mut Baresip,
    party: &mut Party,
    programs: &Programs,
) -> Result<Outcome> {
    let step = screen.step(&format!("call {}, {}", plan.number, plan.title()));
    let wires = Wires::around(lab, plan.vm, plan.tc)?;
    let mut gw = match plan.direction {
        Direction::Outgoing => {
            let gw = gateway(lab, "answer")?;
            phone.dial(&format!("sip:100@{}", sip(Site::Gw)))?;
            gw
        }
        Direction::Incoming => {
            let run = Run::new("call").calling(sip(plan.vm));
            let gw = Sipp::start(lab, Site::Gw, &run)?;
            phone.wait_for("CALL_INCOMING", SET_UP)?;
            phone.accept()?;
            gw
        }
    };
    phone.wait_established(1, SET_UP)?;
    let call = sidestep.wait_for_row(lab, "calls", "the call to be up", SET_UP, |row| {
        row["state"] == "up" && row["path"] != "pending"
    })?;

    let before = programs.again()?;
    let daemon_before = process_time(sidestep.pid())?;
    let started = Instant::now();
    let (near, far) = (plan.tc.ip(), Site::Gw.ip());
    wait_for("ten seconds of media", seconds(TALK + 10), || {
        let trace = wires.gateway.so_far().ok()?;
        let up = trace.rtp_between(near, far).packets;
        let down = trace.rtp_between(far, near).packets;
        step.progress(&format!("{up} RTP packets up, {down} down"));
        (up.min(down) >= TALK * 50).then_some(())
    })
    .with_context(|| format!("the call: {call}"))?;
    let measured = started.elapsed();
    let program_time = before.used_since()?;
    let daemon_time = process_time(sidestep.pid())?.saturating_sub(daemon_before);

    let (up, down, guard) = frozen(&[party.process(), gw.process()], || {
        let up = agree(lab, sidestep, &wires.gateway, near, far)?;
        let down = agree(lab, sidestep, &wires.thin_client, far, near)?;
        Ok((up, down, guard_row(lab, sidestep, &call)?))
    })?;
    phone.hang_up()?;
    gw.finish(seconds(5))?;
    crate::stage::wait_over(lab, sidestep)?;

    let (gw_trace, tc_trace) = (wires.gateway.stop()?, wires.thin_client.stop()?);
    let (tap, bridge) = (wires.tap.stop()?, wires.bridge.stop()?);
    let vm = plan.vm.ip();
    let past_tap = bridge
        .rtp(|d| *d.src.ip() == vm || *d.dst.ip() == vm)
        .packets;
    let vm_sent = tap.rtp(|d| *d.src.ip() == vm).packets;
    step.done(&format!(
        "path {}, {:.0} s of G.711 both ways",
        call["path"].as_str().unwrap_or("?"),
        measured.as_secs_f64()
    ));
    let ends = (&gw_trace, &tc_trace);
    Ok(Outcome {
        title: plan.title(),
        party: plan.party,
        up: way(up, (ends.1, ends.0), (near, far), TC_TONE),
        down: way(down, ends, (far, near), GATEWAY_TONE),
        call,
        past_tap,
        vm_sent,
        guarded: guard["packets"].as_u64().unwrap_or(0),
        measured,
        programs: program_time,
        daemon: daemon_time,
    })
}

/// The guard's row of this call, as it stands.
fn guard_row(lab: &Lab, sidestep: &Sidestep, call: &Value) -> Result<Value> {
    let flows = sidestep.query(lab, "flows")?;
    flows
        .into_iter()
        .find(|row| row["call"] == call["id"] && row["kind"] == "guard" && row["rtcp"] == false)
        .context("no guard row")
}

fn way(
    flow: Value,
    (sender, receiver): (&Trace, &Trace),
    (from, to): (std::net::Ipv4Addr, std::net::Ipv4Addr),
    hz: f64,
) -> Way {
    let sent = sender.rtp_between(from, to);
    let received: Stream = receiver.rtp_between(from, to);
    let last = received.audio.rchunks(RATE as usize).next().unwrap_or(&[]);
    Way {
        on_wire: flow["packets"].as_u64().unwrap_or(0),
        flow,
        hz,
        purity: purity(last, hz),
        delay: Delay::between(&sent, &received),
    }
}
