//! What each way of carrying media costs per packet, over the number of flows.
//!
//! One sender, a bounded rate, every flow in its turn ([`Sweep`]). Straight on,
//! packets cross the office's trunk and the site's router. Every other path is the
//! same with a detour from the router to the hypervisor host and back. What the
//! detour costs by itself is a path of its own: the host's interface turns packets
//! around untouched. What a path costs beyond that is what the host does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use super::cpu;
use super::many_flows::{Sweep, Swept, anchor, sink, source};
use super::relaying::{HOST, UPLINK, detour, prepare};
use super::rtpengine::Rtpengine;
use super::steering::{steer_ways, turn_around};
use crate::lab::{Lab, Site};
use crate::relay::{self, Kind, Relay};

/// Most flows that a program with a port of its own for either end of each can
/// have at one address.
const MOST_WITH_PORTS: u32 = 10_000;
/// Files that rtpengine and the relay open for each flow, and others.
const FILES_OF_A_FLOW: u64 = 4;
const OTHER_FILES: u64 = 500;
/// Times that a turn which has lost packets is tried.
const TRIES: u32 = 3;
/// Differences below this are not of the paths, ns.
const NOISE_NS: f64 = 100.0;
/// Octets of the IP packets.
pub const PACKET: u32 = 200;

/// How much is measured.
#[derive(Debug, Clone, Serialize)]
pub struct Extent {
    /// Numbers of flows.
    pub flows: Vec<u32>,
    /// Packets per second, of all flows together.
    pub rate: u32,
    /// Packets by each path, at least; and at least one of each flow.
    pub packets: u64,
    /// Times that each path has its turn.
    pub rounds: usize,
}

/// A way of carrying media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// No detour.
    Straight,
    /// The detour, and nothing done at its end.
    TurnedAround,
    /// The host's kernel routes.
    KernelRouting,
    /// The host's kernel routes and translates (nftables, conntrack).
    KernelNat,
    /// Sidestep's XDP program rewrites and redirects.
    Steered,
    /// rtpengine on the host.
    Rtpengine,
    /// A bare relay in the VM.
    VmRelay,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Straight,
        Self::TurnedAround,
        Self::KernelRouting,
        Self::KernelNat,
        Self::Steered,
        Self::Rtpengine,
        Self::VmRelay,
    ];

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Straight => "straight on (baseline)",
            Self::TurnedAround => "detour alone, turned around",
            Self::KernelRouting => "kernel routing",
            Self::KernelNat => "kernel NAT (nftables)",
            Self::Steered => "Sidestep, steered",
            Self::Rtpengine => "rtpengine, user space",
            Self::VmRelay => "bare UDP relay in the VM",
        }
    }

    /// Whether it opens ports for each flow.
    const fn opens_ports(self) -> bool {
        matches!(self, Self::Rtpengine | Self::VmRelay)
    }
}

/// What a path came to with a number of flows: of the rounds, the median of each
/// number.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The path.
    pub path: Path,
    /// Flows.
    pub flows: u32,
    /// CPU time per packet, the sending call included, ns.
    pub cpu_ns: f64,
    /// The same beyond the straight path's of the same round, ns.
    pub added_cpu_ns: f64,
    /// What the host does: beyond the detour's of the same round, ns.
    pub host_cpu_ns: f64,
    /// Packets per second of one core that does nothing else than that; `None`: the
    /// host's part is lost in the noise.
    pub packets_per_second_per_core: Option<f64>,
    /// One-way delay, µs: median, p99, p99.9.
    pub delay_us: [f64; 3],
    /// The same beyond the straight path's.
    pub added_delay_us: [f64; 3],
    /// Packets sent, over all rounds.
    pub packets: u64,
    /// Packets lost, over all rounds.
    pub lost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    cpu_ns: f64,
    delay_us: [f64; 3],
    packets: u64,
    lost: u64,
}

/// Measures every path that holds so many flows; `progress` is told what is being
/// done.
///
/// # Errors
///
/// The lab cannot be built, or a path loses more than a hundredth of its packets.
pub fn measure(extent: &Extent, irq_time_apart: bool, progress: impl Fn(&str)) -> Result<Vec<Row>> {
    let with_ports = flows_with_ports()?;
    let lab = Lab::new()?;
    prepare(&lab)?;
    let mut rows = Vec::new();
    for &flows in &extent.flows {
        let mut rounds: Vec<BTreeMap<Path, Turn>> = Vec::new();
        for round in 1..=extent.rounds {
            let mut turns = BTreeMap::new();
            for path in Path::ALL
                .into_iter()
                .filter(|path| !path.opens_ports() || flows <= with_ports)
            {
                let title = path.title();
                progress(&format!(
                    "{flows} flows, round {round} of {}: {title}",
                    extent.rounds
                ));
                let bench = Bench {
                    lab: &lab,
                    extent,
                    irq_time_apart,
                    flows,
                };
                let turn = bench.turn(path);
                turns.insert(
                    path,
                    turn.with_context(|| format!("{title}, {flows} flows"))?,
                );
            }
            rounds.push(turns);
        }
        rows.extend(
            Path::ALL
                .into_iter()
                .filter_map(|path| row(path, flows, &rounds)),
        );
    }
    Ok(rows)
}

fn row(path: Path, flows: u32, rounds: &[BTreeMap<Path, Turn>]) -> Option<Row> {
    let of = |round: &BTreeMap<Path, Turn>, path| round.get(&path).copied();
    let median = |number: &dyn Fn(&BTreeMap<Path, Turn>) -> Option<f64>| {
        let mut numbers: Vec<f64> = rounds.iter().filter_map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied()
    };
    let beyond = |base: Path, number: &dyn Fn(&Turn) -> f64| {
        median(&|round| Some(number(&of(round, path)?) - number(&of(round, base)?)))
    };
    let host_cpu_ns = beyond(Path::TurnedAround, &|turn| turn.cpu_ns)?;
    let mut delay_us = [0.0; 3];
    let mut added_delay_us = [0.0; 3];
    for at in 0..3 {
        delay_us[at] = median(&|round| Some(of(round, path)?.delay_us[at]))?;
        added_delay_us[at] = beyond(Path::Straight, &|turn| turn.delay_us[at])?;
    }
    Some(Row {
        path,
        flows,
        cpu_ns: median(&|round| Some(of(round, path)?.cpu_ns))?,
        added_cpu_ns: beyond(Path::Straight, &|turn| turn.cpu_ns)?,
        host_cpu_ns,
        packets_per_second_per_core: (host_cpu_ns >= NOISE_NS).then(|| 1e9 / host_cpu_ns),
        delay_us,
        added_delay_us,
        packets: rounds
            .iter()
            .filter_map(|round| Some(of(round, path)?.packets))
            .sum(),
        lost: rounds
            .iter()
            .filter_map(|round| Some(of(round, path)?.lost))
            .sum(),
    })
}

/// As many open files as may be, where the shell allows fewer; how many flows a
/// program can have that opens four files for each, of those that one address has
/// ports for.
fn flows_with_ports() -> Result<u32> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = u64::from(MOST_WITH_PORTS) * FILES_OF_A_FLOW + OTHER_FILES;
    // To raise the hard limit takes CAP_SYS_RESOURCE, which not every root has.
    let allowed = match setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted.max(hard)) {
        Ok(()) => wanted,
        Err(_) => hard,
    };
    setrlimit(Resource::RLIMIT_NOFILE, allowed, allowed.max(hard))?;
    let flows = allowed.saturating_sub(OTHER_FILES) / FILES_OF_A_FLOW;
    Ok(MOST_WITH_PORTS.min(flows as u32))
}

struct Bench<'a> {
    lab: &'a Lab,
    extent: &'a Extent,
    irq_time_apart: bool,
    flows: u32,
}

impl Bench<'_> {
    /// The load, with packets sent to where this says.
    fn sweep(&self, to: Vec<std::net::SocketAddrV4>) -> Sweep {
        Sweep {
            near: self.lab.namespace(Site::Tc1),
            far: self.lab.namespace(Site::Gw),
            far_ip: Site::Gw.ip(),
            to,
            rate: self.extent.rate,
            packets: self.extent.packets,
        }
    }

    fn to_gateway(&self) -> Sweep {
        self.sweep(
            (0..self.flows)
                .map(|flow| sink(Site::Gw.ip(), flow))
                .collect(),
        )
    }

    fn to_anchors(&self) -> Sweep {
        self.sweep((0..self.flows).map(|flow| anchor(HOST, flow)).collect())
    }

    /// Sets a path up, measures it, and takes it down.
    fn turn(&self, path: Path) -> Result<Turn> {
        let alone = |sweep: &Sweep| Ok((sweep.run()?, Duration::ZERO));
        match path {
            Path::Straight => self.run(self.to_gateway(), alone),
            Path::TurnedAround => {
                let _turning = turn_around(self.lab, UPLINK)?;
                detour(self.lab, "add")?;
                let turn = self.run(self.to_gateway(), alone);
                detour(self.lab, "del")?;
                turn
            }
            Path::KernelRouting => {
                detour(self.lab, "add")?;
                let turn = self.run(self.to_gateway(), alone);
                detour(self.lab, "del")?;
                turn
            }
            Path::KernelNat => {
                let hv = self.lab.namespace(Site::Hv);
                let rules = self.lab.directory().join("many.nft");
                std::fs::write(&rules, self.translation())?;
                hv.run(&["nft", "-f", &rules.to_string_lossy()])?;
                let turn = self.run(self.to_anchors(), alone);
                hv.run(&["nft", "delete table ip bench"])?;
                turn
            }
            Path::Steered => {
                let ways = (0..self.flows)
                    .map(|flow| (source(flow), anchor(HOST, flow), sink(Site::Gw.ip(), flow)));
                let mut programs = steer_ways(self.lab, UPLINK, ways.collect())?;
                let turn = self.run(self.to_anchors(), alone)?;
                let counted: u64 = (0..self.flows)
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
                let to = (0..self.flows)
                    .map(|flow| {
                        let far = sink(Site::Gw.ip(), flow);
                        Ok(engine.call(flow as usize, source(flow), far)?.0)
                    })
                    .collect::<Result<Vec<_>>>()?;
                let pid = engine.pid();
                self.run(self.sweep(to), |sweep| {
                    let before = cpu::process(pid)?;
                    let swept = sweep.run()?;
                    Ok((swept, cpu::process(pid)?.saturating_sub(before)))
                })
            }
            Path::VmRelay => {
                let vm = Site::Vm3.ip();
                let near = |flow: u32| std::net::SocketAddrV4::new(vm, (10_000 + flow) as u16);
                let far = |flow: u32| std::net::SocketAddrV4::new(vm, (30_000 + flow) as u16);
                let end = |local, peer| relay::End { local, peer };
                let calls: Vec<_> = (0..self.flows)
                    .map(|flow| {
                        let toward_near = end(near(flow), source(flow));
                        (toward_near, end(far(flow), sink(Site::Gw.ip(), flow)))
                    })
                    .collect();
                let space = self.lab.namespace(Site::Vm3);
                self.run(self.sweep((0..self.flows).map(near).collect()), |sweep| {
                    let relay = Relay::start(&space, Kind::Datagrams, &calls)?;
                    let swept = sweep.run()?;
                    let (cpu, _) = relay.finish()?;
                    Ok((swept, cpu))
                })
            }
        }
    }

    /// One round of the flows that is not counted, then the measurement. `work` gives
    /// what came of the load and what others than sender and kernel threads used.
    fn run(
        &self,
        sweep: Sweep,
        work: impl Fn(&Sweep) -> Result<(Swept, Duration)>,
    ) -> Result<Turn> {
        let warm_up = Sweep {
            packets: u64::from(self.flows.max(1_000)),
            ..sweep.clone()
        };
        work(&warm_up)?;
        let mut tries = 0;
        let (swept, relay, softirqs) = loop {
            let before = cpu::softirqs(self.irq_time_apart)?;
            let (swept, relay) = work(&sweep)?;
            let softirqs = cpu::softirqs(self.irq_time_apart)?.saturating_sub(before);
            tries += 1;
            // A few lost are a result; many mean that something else was measured: a CPU
            // that the machine's host took away for a moment, once.
            if swept.lost() * 100 <= swept.sent {
                break (swept, relay, softirqs);
            }
            ensure!(
                tries < TRIES,
                "{} of {} packets were lost, the last of {TRIES} times",
                swept.lost(),
                swept.sent
            );
        };
        let cpu = swept.sending + relay + softirqs;
        let us = |fraction| swept.delay(fraction).as_secs_f64() * 1e6;
        Ok(Turn {
            cpu_ns: cpu.as_secs_f64() * 1e9 / swept.sent as f64,
            delay_us: [us(0.5), us(0.99), us(0.999)],
            packets: swept.sent,
            lost: swept.lost(),
        })
    }

    /// Rules that do with conntrack what steering does.
    fn translation(&self) -> String {
        let map = |to: &dyn Fn(u32) -> std::net::SocketAddrV4| {
            let entry = |flow| {
                let (from, to) = (source(flow), to(flow));
                let (from_ip, from_port, ip, port) = (from.ip(), from.port(), to.ip(), to.port());
                format!("{from_ip} . {from_port} : {ip} . {port}")
            };
            (0..self.flows).map(entry).collect::<Vec<_>>().join(",\n")
        };
        let office = Ipv4Addr::new(10, 71, 2, 0);
        format!(
            "table ip bench {{\n\
             chain pre {{ type nat hook prerouting priority dstnat;\n\
             ip saddr {office}/24 meta l4proto udp dnat ip to ip saddr . udp sport map {{ {} }}\n}}\n\
             chain post {{ type nat hook postrouting priority srcnat;\n\
             ip saddr {office}/24 meta l4proto udp snat ip to ip saddr . udp sport map {{ {} }}\n}}\n}}\n",
            map(&|flow| sink(Site::Gw.ip(), flow)),
            map(&|flow| anchor(HOST, flow)),
        )
    }
}

/// An aim of the design and what was measured of it.
#[derive(Debug, Clone, Serialize)]
pub struct Aim {
    /// What was wanted.
    pub aim: &'static str,
    /// What there is, in the same words.
    pub measured: String,
    /// Whether that is what was wanted.
    pub met: bool,
}

/// The aims that these rows are about; those whose rows are missing are left out.
pub fn aims(rows: &[Row]) -> Vec<Aim> {
    let find = |path, flows| {
        rows.iter()
            .find(|row| row.path == path && row.flows == flows)
    };
    let most_common = rows
        .iter()
        .filter(|row| row.path == Path::Rtpengine)
        .map(|row| row.flows)
        .max();
    let mut aims = Vec::new();
    if let Some(flows) = most_common
        && let (Some(steered), Some(other)) =
            (find(Path::Steered, flows), find(Path::Rtpengine, flows))
    {
        let ratio = other.host_cpu_ns / steered.host_cpu_ns;
        aims.push(Aim {
            aim: "at least 10 times rtpengine's packets per second and core",
            measured: format!("{ratio:.1} times, with {flows} flows"),
            met: ratio >= 10.0,
        });
    }
    if let (Some(few), Some(many)) = (find(Path::Steered, 100), find(Path::Steered, 100_000)) {
        let change = (many.cpu_ns / few.cpu_ns - 1.0) * 100.0;
        aims.push(Aim {
            aim: "cost per packet within 15 % from 100 to 100,000 flows",
            measured: format!("{change:+.1} %"),
            met: change.abs() <= 15.0,
        });
    }
    if let (Some(steered), Some(routed)) =
        (find(Path::Steered, 100), find(Path::KernelRouting, 100))
    {
        let (ours, theirs) = (steered.added_delay_us[1], routed.added_delay_us[1]);
        aims.push(Aim {
            aim: "added p99 delay below plain kernel forwarding's",
            measured: format!("{ours:.1} µs beside {theirs:.1} µs, with 100 flows"),
            met: ours < theirs,
        });
    }
    aims
}
