//! Nanoseconds per packet of each path through `uplink`, beside a program that
//! only swaps MACs and returns XDP_TX, in the same run.
//!
//! The kernel runs a program [`REPEAT`] times on one buffer
//! (BPF_PROG_TEST_RUN), so what a run leaves in it comes in again. Every packet
//! here still takes the same path then: steered flows come in pairs of which
//! each makes the other's packet, and the next hop of forwarded ones has the
//! uplink's own MAC. One packet over and over is a duplicate to the statistics,
//! which costs what a new one does.

use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use serde::Serialize;
use sidestep_abi::flow::FlowKind;
use sidestep_abi::program::UPLINK;

use crate::packet::{Mac, Packet};
use crate::program::{
    LO, Programs, XdpAction, action, ifindex, ip, isolated, object_path, steer, sysctl, typed,
};

/// Flows in the map, those measured included.
pub const FLOWS: u32 = 100_000;

/// Packets per run: every one takes one off the TTL. The first few find cold
/// caches, in the bare program as in the others.
const REPEAT: u32 = 250;

const UPLINK_MAC: Mac = [0x02, 0x71, 0x05, 0, 0, 0x02];
const VM_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x11];
const ROUTER_MAC: Mac = [0x02, 0x71, 0x01, 0, 0, 0x01];

const TC: &str = "10.71.2.21:20000";
const GATEWAY: &str = "10.71.3.31:30000";

/// What one path costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathCost {
    /// Which path, in words.
    pub path: &'static str,
    /// What the program returns for it.
    pub action: &'static str,
    /// ns per packet.
    pub ns: f64,
    /// That, divided by the bare program's.
    pub ratio: f64,
}

/// What all paths cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct XdpCosts {
    /// Flows in the map.
    pub flows: u32,
    /// Packets measured per path.
    pub packets: u64,
    /// ns per packet of the bare program.
    pub bare_ns: f64,
    /// Whether the kernel kept statistics of BPF programs meanwhile, for some
    /// other program: two clock readings, tens of ns, on every packet.
    pub kernel_statistics: bool,
    /// Each path of `uplink`.
    pub paths: Vec<PathCost>,
}

/// A packet and the path it takes, every time.
struct Path {
    name: &'static str,
    action: XdpAction,
    frame: Vec<u8>,
}

/// Measures every path `rounds` times, in turn. Takes root, and a machine that
/// does little else. Between runs the kernel waits for its RCU twice, which takes
/// longer than the packets: some 10 ms when idle, several times that when busy.
///
/// # Errors
///
/// The programs are not built, or a packet leaves its path.
pub fn measure(rounds: usize) -> Result<XdpCosts> {
    isolated(|| {
        let mut programs = Programs::load_sized(FLOWS.next_power_of_two(), None);
        let paths = set_up(&mut programs)?;
        let bare = bare()?;
        let swap_macs: &Xdp = bare
            .program("swap_macs")
            .context("the object has no program swap_macs")?
            .try_into()?;
        let uplink: &mut Xdp = typed(&mut programs.ebpf, UPLINK)?;
        let rtp = &paths[0].frame;

        let mut bare_ns = Vec::new();
        let mut path_ns = vec![Vec::new(); paths.len()];
        for _ in 0..rounds {
            bare_ns.push(run(swap_macs, rtp, XdpAction::Tx)?);
            for (path, ns) in paths.iter().zip(&mut path_ns) {
                ns.push(run(uplink, &path.frame, path.action).context(path.name)?);
            }
        }
        // The kernel counts runs only while it keeps statistics.
        let kernel_statistics = swap_macs.info()?.run_count() > 0;
        let bare_ns = interquartile_mean(bare_ns);
        let paths = paths.iter().zip(path_ns).map(|(path, ns)| {
            let ns = interquartile_mean(ns);
            PathCost {
                path: path.name,
                action: match path.action {
                    XdpAction::Tx => "XDP_TX",
                    XdpAction::Redirect => "XDP_REDIRECT",
                    XdpAction::Drop => "XDP_DROP",
                    _ => "XDP_PASS",
                },
                ns,
                ratio: ns / bare_ns,
            }
        });
        Ok(XdpCosts {
            flows: FLOWS,
            packets: u64::from(REPEAT) * rounds as u64,
            bare_ns,
            kernel_statistics,
            paths: paths.collect(),
        })
    })
}

fn bare() -> Result<Ebpf> {
    let mut bare = EbpfLoader::new().load_file(object_path("bare")?)?;
    typed::<Xdp>(&mut bare, "swap_macs")?.load()?;
    Ok(bare)
}

/// Fills the maps; the paths to measure.
fn set_up(programs: &mut Programs) -> Result<Vec<Path>> {
    // A route for everything, to a next hop with the uplink's own MAC.
    ip("link add out0 type veth peer name far0")?;
    ip("link set out0 up")?;
    ip("link set far0 up")?;
    ip("address add 10.71.5.2/24 dev out0")?;
    ip("route add 10.71.0.0/16 via 10.71.5.1")?;
    ip("neigh add 10.71.5.1 lladdr 02:71:05:00:00:02 dev out0 nud permanent")?;
    sysctl("ipv4/ip_forward", "1")?;
    for interface in [LO, ifindex("out0")?] {
        programs.set_uplink(interface, UPLINK_MAC);
    }

    let (bridged, routed, transit) = ("10.71.1.11:40000", "10.71.4.13:40000", "10.71.1.12:40000");
    programs.set_flow(TC, GATEWAY, action(FlowKind::Direct, 0));
    // TC → anchor becomes anchor → gateway, which becomes TC → anchor again.
    programs.set_flow(TC, bridged, steer(1, bridged, GATEWAY, VM_MAC));
    programs.set_flow(bridged, GATEWAY, steer(1, TC, bridged, ROUTER_MAC));
    programs.set_flow(TC, routed, steer(2, routed, GATEWAY, [0; 6]));
    programs.set_flow(routed, GATEWAY, steer(2, TC, routed, [0; 6]));
    programs.set_flow(TC, transit, steer(3, transit, GATEWAY, VM_MAC));
    programs.set_anchor(bridged, 1);
    for number in 6..FLOWS {
        let tc = format!(
            "10.99.{}.{}:{}",
            number >> 8 & 0xff,
            number & 0xff,
            1_024 + (number >> 16)
        );
        programs.set_flow(&tc, GATEWAY, action(FlowKind::Direct, number));
    }

    let path = |name, action, packet: Packet| Path {
        name,
        action,
        frame: packet.ttl(255).bytes(),
    };
    let rtp = |src, dst, dst_mac| {
        Packet::udp4(src, dst)
            .macs(ROUTER_MAC, dst_mac)
            .rtp(1, 160, 0xaa, 8)
    };
    Ok(vec![
        path(
            "steered: rewritten and turned around",
            XdpAction::Tx,
            rtp(TC, bridged, VM_MAC),
        ),
        path(
            "steered: rewritten and forwarded by FIB",
            XdpAction::Redirect,
            rtp(TC, routed, UPLINK_MAC),
        ),
        path(
            "steered: in transit, passed",
            XdpAction::Pass,
            rtp(TC, transit, ROUTER_MAC),
        ),
        path(
            "direct: counted and passed to the bridge",
            XdpAction::Pass,
            rtp(TC, GATEWAY, ROUTER_MAC),
        ),
        path(
            "direct: counted and forwarded by FIB",
            XdpAction::Redirect,
            rtp(TC, GATEWAY, UPLINK_MAC),
        ),
        path(
            "foreign at an anchor: dropped",
            XdpAction::Drop,
            rtp("203.0.113.66:666", bridged, VM_MAC),
        ),
        path(
            "UDP of no flow: passed",
            XdpAction::Pass,
            rtp("203.0.113.66:666", GATEWAY, VM_MAC),
        ),
        path(
            "TCP: passed",
            XdpAction::Pass,
            rtp(TC, GATEWAY, VM_MAC).protocol(6),
        ),
    ])
}

/// ns per packet of one run.
fn run(program: &Xdp, frame: &[u8], action: XdpAction) -> Result<f64> {
    let run = program.test_run(TestRunOptions {
        data_in: Some(frame),
        repeat: REPEAT,
        ..Default::default()
    })?;
    ensure!(
        run.return_value == action as u32,
        "returned {} instead of {action:?}",
        run.return_value
    );
    Ok(run.duration.as_nanos() as f64)
}

/// The mean of the middle half: whole ns in, no interruptions, no lucky runs.
fn interquartile_mean(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = &values[values.len() / 4..values.len() * 3 / 4];
    middle.iter().sum::<f64>() / middle.len() as f64
}
