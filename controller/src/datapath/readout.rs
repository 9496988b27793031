//! Flows as rows, from the daemon's table or straight from the pinned maps.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError};
use sidestep_abi::flow::{FLOW_RTCP, FlowAction, FlowKey, FlowKey4, FlowKind, FlowLeg, FlowStats};
use sidestep_abi::map;

use super::object;
use super::table::Installed;
use crate::admin::rows::FlowRow;
use crate::clock::Wall;

/// Rows of `flows`. The path of a guarded flow is that of its call's media.
pub fn rows(flows: &[(Installed, FlowStats)], wall: &Wall, state: &str) -> Vec<FlowRow> {
    let mut paths: HashMap<u32, &str> = HashMap::new();
    for (flow, _) in flows {
        if let Some(path) = path(flow.action.kind) {
            paths.insert(flow.action.call, path);
        }
    }
    flows
        .iter()
        .map(|(flow, stats)| {
            let path = paths.get(&flow.action.call).copied().unwrap_or("direct");
            row(flow, stats, path, wall, state)
        })
        .collect()
}

/// Reads the flows that are pinned at `pins`, without a daemon.
///
/// # Errors
///
/// There are none, or of another layout.
pub fn flows_from_pins(pins: &Path) -> Result<Vec<FlowRow>> {
    let directory = object::versioned(pins);
    let open = |name: &str| -> Result<Map> {
        let path = directory.join(name);
        let data = MapData::from_pin(&path)
            .with_context(|| format!("no flow map is pinned at {}", path.display()))?;
        Ok(Map::from_map_data(data)?)
    };
    let flows4: BpfHashMap<_, FlowKey4, FlowAction> = open(map::FLOWS4)?.try_into()?;
    let flows6: BpfHashMap<_, FlowKey, FlowAction> = open(map::FLOWS6)?.try_into()?;
    let stats: Array<_, FlowStats> = open(map::FLOW_STATS)?.try_into()?;
    let mut found = Vec::new();
    let flows4 = flows4.iter().map(|entry| {
        let (key, action) = entry?;
        Ok::<_, MapError>((key.into(), action))
    });
    for entry in flows4.chain(flows6.iter()) {
        let (key, action) = entry.context("cannot read the flow map")?;
        let stats = stats.get(&action.stats, 0).unwrap_or_default();
        found.push((Installed { key, action }, stats));
    }
    found.sort_by_key(|(flow, _)| (flow.action.call, flow.action.leg, flow.action.flags));
    Ok(rows(&found, &Wall::now(), "live"))
}

fn row(flow: &Installed, stats: &FlowStats, path: &str, wall: &Wall, state: &str) -> FlowRow {
    let action = &flow.action;
    let steered = action.kind == FlowKind::Steered as u8;
    let sent = steered.then(|| action.rewritten());
    let heard = stats.rtp_packets > 0;
    FlowRow {
        call: action.call,
        path: path.to_owned(),
        leg: leg(action.leg).to_owned(),
        kind: kind(action.kind).to_owned(),
        rtcp: action.flags & FLOW_RTCP != 0,
        from: flow.key.from().to_string(),
        to: flow.key.to().to_string(),
        sent_from: sent.map(|(src, _)| src.to_string()),
        sent_to: sent.map(|(_, dst)| dst.to_string()),
        packets: stats.packets,
        bytes: stats.bytes,
        lost: stats.lost(),
        late: stats.late,
        duplicate: stats.duplicate,
        jitter_ms: (stats.jitter_ms(action.clock_rate) * 1000.0).round() / 1000.0,
        ssrc: heard.then_some(stats.ssrc),
        payload_type: heard.then_some(stats.payload_type),
        first_seen: wall.of_nanoseconds(stats.first_seen_ns),
        last_seen: wall.of_nanoseconds(stats.last_seen_ns()),
        state: state.to_owned(),
    }
}

fn path(kind: u8) -> Option<&'static str> {
    const DIRECT: u8 = FlowKind::Direct as u8;
    const STEERED: u8 = FlowKind::Steered as u8;
    const RELAY: u8 = FlowKind::Relay as u8;
    match kind {
        DIRECT => Some("direct"),
        STEERED => Some("steered"),
        RELAY => Some("vm"),
        _ => None,
    }
}

fn kind(kind: u8) -> &'static str {
    const GUARD: u8 = FlowKind::Guard as u8;
    const RELAY: u8 = FlowKind::Relay as u8;
    match kind {
        GUARD => "guard",
        RELAY => "relay",
        kind => path(kind).unwrap_or("unknown"),
    }
}

fn leg(leg: u8) -> &'static str {
    const GATEWAY_TO_TC: u8 = FlowLeg::GatewayToTc as u8;
    const TC_TO_GATEWAY: u8 = FlowLeg::TcToGateway as u8;
    const GATEWAY_TO_VM: u8 = FlowLeg::GatewayToVm as u8;
    const VM_TO_GATEWAY: u8 = FlowLeg::VmToGateway as u8;
    match leg {
        GATEWAY_TO_TC => "gateway->tc",
        TC_TO_GATEWAY => "tc->gateway",
        GATEWAY_TO_VM => "gateway->vm",
        VM_TO_GATEWAY => "vm->gateway",
        _ => "unknown",
    }
}
