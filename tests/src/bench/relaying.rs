//! What it costs to carry media, and how long it takes: the same calls by
//! every path, in one lab, in turn.
//!
//! Thin client and gateway send each other RTP. Straight on, packets cross the
//! office's trunk and the site's router. Every other path is the same plus a
//! detour from the router to the hypervisor host and back, where the packet is
//! routed, translated, steered, or relayed by a program on the host or in a VM.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::cpu;
use super::rtpengine::Rtpengine;
use super::steering::{Anchored, steer_calls};
use crate::lab::{Lab, Site};
use crate::relay::{self, Kind, Relay};
use crate::rtp::{End, Load, Measured};
use crate::wait::{seconds, wait_for};

/// The host's address toward the router; what there is on the host is there.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 71, 5, 2);
/// The router on the same wire.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 71, 5, 1);
/// The host's uplink with that address.
pub const UPLINK: &str = "up3";
/// Packets per second of one direction of a call.
const RATE: u32 = 50;
/// First ports: thin client, gateway, anchor or relay toward either.
const PORTS: [u16; 4] = [20_000, 30_000, 40_000, 41_000];

/// How much is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Extent {
    /// Calls at a time.
    pub calls: u16,
    /// Seconds of media, by each path and round.
    pub seconds: u64,
    /// Times that each path has its turn.
    pub rounds: usize,
}

/// A path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// No detour: what sending costs itself.
    Straight,
    /// Detour: the host's kernel routes.
    Routed,
    /// Detour: the host's kernel routes and translates (nftables).
    Translated,
    /// Detour: Sidestep's XDP program rewrites and redirects.
    Steered,
    /// Detour: rtpengine on the host.
    Rtpengine,
    /// Detour and tap: a relay in the VM.
    Vm(Kind),
}

impl Path {
    const ALL: [Self; 7] = [
        Self::Straight,
        Self::Routed,
        Self::Translated,
        Self::Steered,
        Self::Rtpengine,
        Self::Vm(Kind::Datagrams),
        Self::Vm(Kind::Audio),
    ];

    /// Its name in the JSON.
    fn id(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::Routed => "kernel-routing",
            Self::Translated => "kernel-nat",
            Self::Steered => "steered",
            Self::Rtpengine => "rtpengine",
            Self::Vm(Kind::Datagrams) => "vm-relay",
            Self::Vm(Kind::Audio) => "vm-audio",
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Straight => f.write_str("straight on (baseline)"),
            Self::Routed => f.write_str("host: kernel routing"),
            Self::Translated => f.write_str("host: kernel NAT (nftables)"),
            Self::Steered => f.write_str("host: Sidestep, steered (XDP)"),
            Self::Rtpengine => f.write_str("host: rtpengine, user space"),
            Self::Vm(kind) => write!(f, "VM: {kind}"),
        }
    }
}

/// What a path came to: of the rounds, the median of each number.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub path: &'static str,
    /// Its name for people.
    pub title: String,
    /// CPU time per packet, the sending call included, µs.
    pub cpu_us_per_packet: f64,
    /// The same beyond the baseline of the same round, µs.
    pub added_cpu_us_per_packet: f64,
    /// One-way delay, µs.
    pub delay_median_us: f64,
    /// The same.
    pub delay_p99_us: f64,
    /// Beyond the baseline of the same round, µs.
    pub added_delay_median_us: f64,
    /// The same.
    pub added_delay_p99_us: f64,
    /// Packets sent, over all rounds.
    pub packets: u64,
    /// Packets lost, over all rounds.
    pub lost: u64,
}

/// One round of one path.
#[derive(Debug, Clone, Copy)]
struct Turn {
    cpu_us: f64,
    median_us: f64,
    p99_us: f64,
    packets: u64,
    lost: u64,
}

/// Measures every path; `progress` is told what is being done.
pub fn measure(extent: Extent, irq_time_apart: bool, progress: impl Fn(&str)) -> Result<Vec<Row>> {
    let lab = Lab::new()?;
    prepare(&lab)?;
    let mut rounds = Vec::with_capacity(extent.rounds);
    for round in 1..=extent.rounds {
        let mut turns = Vec::with_capacity(Path::ALL.len());
        for path in Path::ALL {
            progress(&format!("round {round} of {}: {path}", extent.rounds));
            let turn = Bench {
                lab: &lab,
                extent,
                irq_time_apart,
            }
            .turn(path)
            .with_context(|| path.to_string())?;
            turns.push(turn);
        }
        rounds.push(turns);
    }
    Ok(Path::ALL
        .into_iter()
        .enumerate()
        .map(|(index, path)| row(path, index, &rounds))
        .collect())
}

fn row(path: Path, index: usize, rounds: &[Vec<Turn>]) -> Row {
    let median = |number: &dyn Fn(&Turn, &Turn) -> f64| {
        let mut numbers: Vec<f64> = rounds
            .iter()
            .map(|turns| number(&turns[index], &turns[0]))
            .collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    Row {
        path: path.id(),
        title: path.to_string(),
        cpu_us_per_packet: median(&|turn, _| turn.cpu_us),
        added_cpu_us_per_packet: median(&|turn, base| turn.cpu_us - base.cpu_us),
        delay_median_us: median(&|turn, _| turn.median_us),
        delay_p99_us: median(&|turn, _| turn.p99_us),
        added_delay_median_us: median(&|turn, base| turn.median_us - base.median_us),
        added_delay_p99_us: median(&|turn, base| turn.p99_us - base.p99_us),
        packets: rounds.iter().map(|turns| turns[index].packets).sum(),
        lost: rounds.iter().map(|turns| turns[index].lost).sum(),
    }
}

/// Neighbours are known before anything is measured, and a router does not tell
/// its neighbour of a shorter way.
pub fn prepare(lab: &Lab) -> Result<()> {
    for site in [Site::Hv, Site::Net] {
        lab.namespace(site).sysctl(&[
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
        ])?;
    }
    for interface in [(Site::Hv, UPLINK), (Site::Net, "routed")] {
        let key = format!("ipv4/conf/{}/send_redirects", interface.1);
        lab.namespace(interface.0).sysctl(&[(&key, "0")])?;
    }
    // Anything sent there makes the host ask who it is.
    let hv = lab.namespace(Site::Hv);
    hv.enter(|| UdpSocket::bind((HOST, 0))?.send_to(&[0], (ROUTER, 9)))??;
    let neighbour = format!("neigh show to {ROUTER} dev {UPLINK}");
    wait_for("the router to say where it is", seconds(5), || {
        let known = hv.ip(&neighbour).ok()?;
        known.contains("lladdr").then_some(())
    })
}

/// Sends what the router forwards between office and gateway by way of the host
/// (`add`), or no longer (`del`).
pub fn detour(lab: &Lab, verb: &str) -> Result<()> {
    lab.namespace(Site::Net).ip_batch(&format!(
        "route {verb} default via {HOST} table 50\n\
         rule {verb} iif office to 10.71.3.0/24 lookup 50 priority 50\n\
         rule {verb} iif dmz to 10.71.2.0/24 lookup 50 priority 51\n"
    ))
}

struct Bench<'a> {
    lab: &'a Lab,
    extent: Extent,
    irq_time_apart: bool,
}

/// Address and port of a call's end.
fn at(ip: Ipv4Addr, ports: usize, call: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip, PORTS[ports] + 2 * call)
}

fn near(call: u16) -> SocketAddrV4 {
    at(Site::Tc1.ip(), 0, call)
}

fn far(call: u16) -> SocketAddrV4 {
    at(Site::Gw.ip(), 1, call)
}

impl Bench<'_> {
    fn calls(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.extent.calls
    }

    /// The load when each end of a call sends to where this says.
    fn load(&self, by: impl Fn(u16) -> (SocketAddrV4, SocketAddrV4)) -> Load {
        let call = |call| {
            let (near_sends_to, far_sends_to) = by(call);
            let near = End {
                local: near(call),
                remote: near_sends_to,
            };
            let far = End {
                local: far(call),
                remote: far_sends_to,
            };
            (near, far)
        };
        Load {
            near: self.lab.namespace(Site::Tc1),
            far: self.lab.namespace(Site::Gw),
            calls: self.calls().map(call).collect(),
            rate: RATE,
            duration: Duration::from_secs(self.extent.seconds),
        }
    }

    /// Sets a path up, measures it, and takes it down.
    fn turn(&self, path: Path) -> Result<Turn> {
        let anchor = |call| at(HOST, 2, call);
        let to_anchor = |call| (anchor(call), anchor(call));
        match path {
            Path::Straight => {
                let load = self.load(|call| (far(call), near(call)));
                self.run(&load, |load| Ok((load.run()?, Duration::ZERO)))
            }
            Path::Routed => {
                let load = self.load(|call| (far(call), near(call)));
                detour(self.lab, "add")?;
                let turn = self.run(&load, |load| Ok((load.run()?, Duration::ZERO)));
                detour(self.lab, "del")?;
                turn
            }
            Path::Translated => {
                let load = self.load(to_anchor);
                let hv = self.lab.namespace(Site::Hv);
                hv.run(&["nft", &self.translation(anchor)])?;
                let turn = self.run(&load, |load| Ok((load.run()?, Duration::ZERO)));
                hv.run(&["nft", "delete table ip bench"])?;
                turn
            }
            Path::Steered => {
                let load = self.load(to_anchor);
                let calls: Vec<Anchored> = self
                    .calls()
                    .map(|call| Anchored {
                        anchor: anchor(call),
                        near: near(call),
                        far: far(call),
                    })
                    .collect();
                let mut programs = steer_calls(self.lab, UPLINK, &calls)?;
                let turn = self
                    .run(&load, |load| Ok((load.run()?, Duration::ZERO)))
                    .with_context(|| format!("counted: {:?}", programs.counted()))?;
                let counted: u64 = (0..u32::from(self.extent.calls) * 2)
                    .map(|flow| programs.stats(flow).packets)
                    .sum();
                ensure!(
                    counted >= turn.packets - turn.lost,
                    "{counted} packets were steered of {} that arrived",
                    turn.packets - turn.lost
                );
                Ok(turn)
            }
            Path::Rtpengine => {
                let mut engine = Rtpengine::start(self.lab, HOST)?;
                let by = self
                    .calls()
                    .map(|call| engine.call(call.into(), near(call), far(call)))
                    .collect::<Result<Vec<_>>>()?;
                let load = self.load(|call| by[usize::from(call)]);
                let pid = engine.pid();
                self.run(&load, |load| {
                    let before = cpu::process(pid)?;
                    let measured = load.run()?;
                    Ok((measured, cpu::process(pid)?.saturating_sub(before)))
                })
            }
            Path::Vm(kind) => {
                let vm = Site::Vm3.ip();
                let load = self.load(|call| (at(vm, 2, call), at(vm, 3, call)));
                let end = |local, peer| relay::End { local, peer };
                let calls: Vec<_> = self
                    .calls()
                    .map(|call| {
                        let toward_near = end(at(vm, 2, call), near(call));
                        (toward_near, end(at(vm, 3, call), far(call)))
                    })
                    .collect();
                let space = self.lab.namespace(Site::Vm3);
                self.run(&load, |load| {
                    let relay = Relay::start(&space, kind, &calls)?;
                    let measured = load.run()?;
                    let (cpu, relayed) = relay.finish()?;
                    ensure!(
                        relayed >= measured.received,
                        "{relayed} packets relayed, {} received",
                        measured.received
                    );
                    Ok((measured, cpu))
                })
            }
        }
    }

    /// Half a second that is not counted, then the measurement. `work` gives
    /// what came of the load and what others than sender and kernel threads
    /// used.
    fn run(
        &self,
        load: &Load,
        work: impl Fn(&Load) -> Result<(Measured, Duration)>,
    ) -> Result<Turn> {
        let warm_up = Load {
            duration: Duration::from_millis(500),
            ..load.clone()
        };
        work(&warm_up)?;
        let before = cpu::softirqs(self.irq_time_apart)?;
        let (measured, relay) = work(load)?;
        let softirqs = cpu::softirqs(self.irq_time_apart)?.saturating_sub(before);
        // A few are a result; many mean that something else was measured.
        ensure!(
            measured.lost() * 10 <= measured.sent,
            "{} of {} packets were lost",
            measured.lost(),
            measured.sent
        );
        let cpu = measured.sending + relay + softirqs;
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        Ok(Turn {
            cpu_us: us(cpu) / measured.sent as f64,
            median_us: us(measured.delay(0.5)),
            p99_us: us(measured.delay(0.99)),
            packets: measured.sent,
            lost: measured.lost(),
        })
    }

    /// Rules that do with conntrack what steering does: what a thin client
    /// sends to its anchor goes to its gateway, and from the anchor; answers
    /// follow.
    fn translation(&self, anchor: impl Fn(u16) -> SocketAddrV4) -> String {
        let there: Vec<String> = self
            .calls()
            .map(|call| {
                let far = far(call);
                format!("{} : {} . {}", anchor(call).port(), far.ip(), far.port())
            })
            .collect();
        let back: Vec<String> = self
            .calls()
            .map(|call| {
                let anchor = anchor(call);
                format!("{} : {} . {}", far(call).port(), anchor.ip(), anchor.port())
            })
            .collect();
        format!(
            "table ip bench {{\n\
             chain pre {{ type nat hook prerouting priority dstnat;\n\
             ip saddr {} udp dport {}-{} dnat ip to udp dport map {{ {} }}\n}}\n\
             chain post {{ type nat hook postrouting priority srcnat;\n\
             ip saddr {} snat ip to udp dport map {{ {} }}\n}}\n}}",
            Site::Tc1.ip(),
            PORTS[2],
            PORTS[2] + 2 * self.extent.calls,
            there.join(", "),
            Site::Tc1.ip(),
            back.join(", "),
        )
    }
}
