//! The same call with Sidestep off: a relay in the VM carries the RTP, as a
//! softphone with a remote-desktop channel does.
//!
//! SIPp is the VM's side of the signalling, once toward the gateway and once
//! toward the thin client, and gives both the relay's addresses.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::TALK;
use super::delay::Delay;
use super::screen::Screen;
use crate::lab::{Lab, Site};
use crate::peers::audio::{RATE, purity};
use crate::peers::sipp::{Run, Sipp};
use crate::peers::thin_client::{self, ThinClient};
use crate::relay::{End, Kind, Relay};
use crate::stage::{GATEWAY_TONE, TC_TONE, Wires, gateway, registrar, sip};
use crate::wait::{seconds, wait_for};

/// Port of the relay toward the gateway, at the VM's address.
const TOWARD_GATEWAY: u16 = 30_000;
/// Port of the relay toward the thin client.
const TOWARD_CLIENT: u16 = 30_002;
/// Port that SIPp's first call plays and receives RTP on.
const GATEWAY_RTP: u16 = 6_000;
/// Port of the thin client's RTP.
const CLIENT_RTP: u16 = 20_000;
/// Port of the thin client's SIP.
const CLIENT_SIP: u16 = 5_062;

/// What came of a relayed call.
#[derive(Debug)]
pub struct Relayed {
    /// How the VM relayed.
    pub kind: Kind,
    /// Delay from thin client to gateway.
    pub up: Option<Delay>,
    /// Delay from gateway to thin client.
    pub down: Option<Delay>,
    /// Purity of the thin client's tone at the gateway.
    pub purity_up: f64,
    /// Purity of the gateway's tone at the thin client.
    pub purity_down: f64,
    /// RTP packets between VM and world.
    pub past_tap: u64,
    /// CPU time of the relay.
    pub cpu: Duration,
    /// In how long.
    pub measured: Duration,
}

/// Places the call through the VM.
pub fn place(lab: &Lab, screen: &Screen, kind: Kind) -> Result<Relayed> {
    let step = screen.step(&format!("the same call through the VM: {kind}"));
    let wires = Wires::around(lab, Site::Vm1, Site::Tc1)?;
    let setup = thin_client::Setup {
        register: "none",
        ..thin_client::Setup::new("tc1", registrar(Site::Vm1))
    };
    let mut client = ThinClient::start(lab, Site::Tc1, &setup)?;
    client.wait_listening()?;
    let at = |site: Site, port| SocketAddrV4::new(site.ip(), port);
    let relay = Relay::start(
        &lab.namespace(Site::Vm1),
        kind,
        &[(
            End {
                local: at(Site::Vm1, TOWARD_CLIENT),
                peer: at(Site::Tc1, CLIENT_RTP),
            },
            End {
                local: at(Site::Vm1, TOWARD_GATEWAY),
                peer: at(Site::Gw, GATEWAY_RTP),
            },
        )],
    )?;
    let started = Instant::now();

    let mut gw = gateway(lab, "answer")?;
    let length = (TALK * 1000 + 500).to_string();
    let call = |to: SocketAddrV4, own: u16, rtp: u16| {
        let rtp = rtp.to_string();
        let keys = [("relay_port", rtp.as_str())];
        let run = Run {
            port: own,
            keys: &keys,
            options: &["-d", &length],
            service: "tc1",
            ..Run::new("call_relayed").calling(to)
        };
        Sipp::start(lab, Site::Vm1, &run)
    };
    let mut toward_gateway = call(sip(Site::Gw), 5060, TOWARD_GATEWAY)?;
    let mut toward_client = call(at(Site::Tc1, CLIENT_SIP), 5061, TOWARD_CLIENT)?;

    let (vm, tc, far) = (Site::Vm1.ip(), Site::Tc1.ip(), Site::Gw.ip());
    wait_for("ten seconds of relayed media", seconds(TALK + 10), || {
        let up = wires.gateway.so_far().ok()?.rtp_between(vm, far).packets;
        let down = wires.thin_client.so_far().ok()?.rtp_between(vm, tc).packets;
        step.progress(&format!("{up} RTP packets up, {down} down"));
        (up.min(down) >= TALK * 50 - 25).then_some(())
    })?;
    let measured = started.elapsed();
    let (cpu, relayed) = relay.finish()?;
    toward_gateway.finish(seconds(5))?;
    toward_client.finish(seconds(5))?;
    gw.finish(seconds(5))?;
    client.process().terminate(seconds(5))?;

    let (at_gw, at_tc) = (wires.gateway.stop()?, wires.thin_client.stop()?);
    let (arrived_up, arrived_down) = (at_gw.rtp_between(vm, far), at_tc.rtp_between(vm, tc));
    let past_tap = wires
        .bridge
        .stop()?
        .rtp(|d| *d.src.ip() == vm || *d.dst.ip() == vm)
        .packets;
    step.done(&format!("{relayed} packets relayed"));
    let pure = |audio: &[i16], hz| purity(audio.rchunks(RATE as usize).next().unwrap_or(&[]), hz);
    Ok(Relayed {
        kind,
        up: Delay::between(&at_tc.rtp_between(tc, vm), &arrived_up),
        down: Delay::between(&at_gw.rtp_between(far, vm), &arrived_down),
        purity_up: pure(&arrived_up.audio, TC_TONE),
        purity_down: pure(&arrived_down.audio, GATEWAY_TONE),
        past_tap,
        cpu,
        measured,
    })
}

/// What a relay does, for the person who compares.
pub const fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Datagrams => {
            "each datagram goes out again unread; the kindest a relay in the VM can be"
        }
        Kind::Audio => "held for the 20 ms tick of an audio device, as a softphone does",
    }
}
