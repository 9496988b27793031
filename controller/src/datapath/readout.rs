//! Flows as rows, from the daemon's table or straight from the pinned maps.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::Array;
use sidestep_abi::flow::{FLOW_RTCP, FlowKind, FlowLeg, FlowStats};
use sidestep_abi::map;
use sidestep_core::media::{Encoding, Encodings};
use sidestep_core::sdp::static_codec;

use super::quality::{self, Report};
use super::table::Installed;
use super::{kernel, object};
use crate::admin::rows::FlowRow;
use crate::clock::Wall;

/// Rows of `flows`. The path of a guarded flow is that of its call's media. A port
/// that RTP and RTCP share (RFC 5761) has a row of each, once RTCP has come.
pub fn rows(flows: &[(Installed, FlowStats)], wall: &Wall, state: &str) -> Vec<FlowRow> {
    let mut paths: HashMap<u32, &str> = HashMap::new();
    let mut rtcp: HashMap<(u32, u8), &FlowStats> = HashMap::new();
    for (flow, stats) in flows {
        let action = &flow.action;
        if let Some(path) = path(action.kind) {
            paths.insert(action.call, path);
        }
        if stats.rtcp_packets > 0 && action.kind != FlowKind::Guard as u8 {
            rtcp.insert((action.call, action.leg), stats);
        }
    }
    let mut rows = Vec::with_capacity(flows.len());
    // What waits for a first packet is no flow yet.
    let is_flow = |flow: &Installed| flow.action.kind != FlowKind::Learn as u8;
    for (flow, stats) in flows.iter().filter(|(flow, _)| is_flow(flow)) {
        let action = &flow.action;
        let path = paths.get(&action.call).copied().unwrap_or("direct");
        let mut row = row(flow, stats, path, wall, state);
        if !row.rtcp && action.kind != FlowKind::Guard as u8 {
            let sent = rtcp.get(&(action.call, action.leg)).copied();
            let back = rtcp.get(&(action.call, opposite(action.leg)));
            let report = back.and_then(|back| quality::report(sent, back));
            judge(&mut row, flow, stats, report);
        }
        let shared = (!row.rtcp && stats.rtcp_packets > 0).then(|| FlowRow {
            rtcp: true,
            packets: stats.rtcp_packets.into(),
            bytes: stats.rtcp_bytes,
            last_seen: wall.of_nanoseconds(stats.last_other_ns),
            ..self::row(flow, &FlowStats::default(), path, wall, state)
        });
        if shared.is_some() {
            row.packets = stats.packets.saturating_sub(stats.rtcp_packets.into());
            row.bytes = stats.bytes.saturating_sub(stats.rtcp_bytes);
        }
        rows.push(row);
        rows.extend(shared);
    }
    rows
}

/// What RTCP said of a flow's RTP, and how it may have sounded.
fn judge(row: &mut FlowRow, flow: &Installed, stats: &FlowStats, report: Option<Report>) {
    let clock_rate = flow.action.clock_rate;
    if let Some(report) = report {
        row.remote_lost = Some(report.lost);
        row.remote_loss_percent = Some(rounded(report.loss_percent));
        row.round_trip_ms = report.round_trip_ms.map(rounded);
        if clock_rate != 0 {
            let jitter = f64::from(report.jitter) * 1000.0 / f64::from(clock_rate);
            row.remote_jitter_ms = Some(rounded(jitter));
        }
    }
    let encoding = row
        .payload_type
        .and_then(|payload_type| encoding(flow, payload_type));
    if let Some(encoding) = encoding {
        let expected = stats.expected().max(1) as f64;
        let loss_percent = stats.lost() as f64 / expected * 100.0;
        // Of the delay only what RTCP tells: half of the way there and back.
        let delay_ms = row.round_trip_ms.unwrap_or(0.0) / 2.0;
        if let Some(mos) = quality::mos(encoding, loss_percent, delay_ms) {
            row.mos = Some((mos * 100.0).round() / 100.0);
            row.mos_scale = Some(quality::scale(encoding).name().to_owned());
        }
    }
}

/// What a payload type stands for: what was negotiated, else what it always does
/// (RFC 3551 §6).
fn encoding(flow: &Installed, payload_type: u8) -> Option<Encoding> {
    let negotiated = flow.encodings.get(payload_type);
    negotiated.or_else(|| Encoding::of(&static_codec(payload_type)?))
}

/// To thousandths.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The leg that goes the other way.
const fn opposite(leg: u8) -> u8 {
    const GATEWAY_TO_TC: u8 = FlowLeg::GatewayToTc as u8;
    const TC_TO_GATEWAY: u8 = FlowLeg::TcToGateway as u8;
    const GATEWAY_TO_VM: u8 = FlowLeg::GatewayToVm as u8;
    match leg {
        GATEWAY_TO_TC => FlowLeg::TcToGateway as u8,
        TC_TO_GATEWAY => FlowLeg::GatewayToTc as u8,
        GATEWAY_TO_VM => FlowLeg::VmToGateway as u8,
        _ => FlowLeg::GatewayToVm as u8,
    }
}

/// Reads the flows that are pinned at `pins`, without a daemon.
///
/// # Errors
///
/// There are none, or of another layout.
pub fn flows_from_pins(pins: &Path) -> Result<Vec<FlowRow>> {
    let open = |name: &str| object::pinned(pins, name);
    let flows = kernel::flows(open)?;
    let stats: Array<_, FlowStats> = open(map::FLOW_STATS)?.try_into()?;
    let mut found = Vec::new();
    for flow in flows.flows() {
        let (key, action) = flow.context("cannot read the flow table")?;
        let stats = stats.get(&action.stats, 0).unwrap_or_default();
        let flow = Installed {
            key,
            action,
            encodings: Encodings::default(),
        };
        found.push((flow, stats));
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
        reordered: stats.reordered,
        duplicate: stats.duplicate,
        jitter_ms: rounded(stats.jitter_ms(action.clock_rate)),
        ssrc: heard.then_some(stats.ssrc),
        payload_type: heard.then_some(stats.payload_type),
        ssrc_changes: stats.ssrc_changes,
        payload_type_changes: stats.payload_type_changes,
        talk_spurts: stats.talk_spurts,
        gaps: stats.gaps,
        longest_gap_ms: stats.longest_gap_ms,
        remote_lost: None,
        remote_loss_percent: None,
        remote_jitter_ms: None,
        round_trip_ms: None,
        mos: None,
        mos_scale: None,
        moves: action.moves,
        moved: wall.of_nanoseconds(action.moved_ns),
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

#[cfg(test)]
mod tests {
    use sidestep_abi::flow::STATE_REPORT;
    use sidestep_core::media::Codec;

    use sidestep_abi::flow::{FlowAction, FlowKey};

    use super::*;

    fn flow(leg: FlowLeg, from: &str, to: &str) -> Installed {
        Installed {
            key: FlowKey::new(from.parse().unwrap(), to.parse().unwrap()),
            action: FlowAction {
                call: 3,
                kind: FlowKind::Direct as u8,
                leg: leg as u8,
                clock_rate: 8_000,
                ..FlowAction::default()
            },
            encodings: Encodings::default(),
        }
    }

    /// RTP and RTCP on one port both ways; RTCP of each way tells of the other.
    #[test]
    fn a_shared_port_has_a_row_of_each_and_the_reports_facts() {
        let (tc, gateway) = ("[2001:db8::22]:4000", "[2001:db8::31]:6000");
        let there = FlowStats {
            packets: 110,
            bytes: 22_000,
            rtp_packets: 100,
            max_seq: 104,
            base_seq: 0,
            payload_type: 8,
            rtcp_packets: 10,
            rtcp_bytes: 1_000,
            sr_ntp: [0x8000, 0],
            sr_seen: [1_000, 0],
            last_rtp_ns: 5,
            last_other_ns: 4,
            ..FlowStats::default()
        };
        let back = FlowStats {
            packets: 1,
            bytes: 100,
            rtcp_packets: 1,
            rtcp_bytes: 100,
            state: STATE_REPORT,
            report_lost: 26 << 24 | 7,
            report_jitter: 16,
            report_lsr: 0x8000,
            report_seen: 1_000 + 1_221,
            ..FlowStats::default()
        };
        let flows = [
            (flow(FlowLeg::TcToGateway, tc, gateway), there),
            (flow(FlowLeg::GatewayToTc, gateway, tc), back),
        ];
        let rows = rows(&flows, &Wall::now(), "live");
        let counted: Vec<_> = rows
            .iter()
            .map(|row| (row.leg.as_str(), row.rtcp, row.packets, row.bytes))
            .collect();
        assert_eq!(
            counted,
            [
                ("tc->gateway", false, 100, 21_000),
                ("tc->gateway", true, 10, 1_000),
                ("gateway->tc", false, 0, 0),
                ("gateway->tc", true, 1, 100),
            ]
        );
        let row = &rows[0];
        assert_eq!((row.from.as_str(), row.to.as_str()), (tc, gateway));
        assert_eq!((row.lost, row.remote_lost), (5, Some(7)));
        assert_eq!(row.remote_loss_percent, Some(10.156));
        assert_eq!(row.remote_jitter_ms, Some(2.0));
        assert_eq!(row.round_trip_ms, Some(20.005));
        // 4.76 % lost: R = 93.2 - 0.24 - 15.15 = 77.81.
        assert_eq!(row.mos, Some(3.94));
        assert_eq!(row.mos_scale.as_deref(), Some("narrowband"));
        // Nothing has come the other way to be judged.
        assert_eq!((rows[2].mos, rows[2].remote_lost), (None, None));
    }
    /// A dynamic payload type is what was negotiated, a static one what it always is.
    #[test]
    fn speech_is_judged_by_what_was_negotiated() {
        let codec = |payload_type, name: &str, clock_rate| Codec {
            payload_type,
            name: name.to_owned(),
            clock_rate,
            channels: None,
            fmtp: None,
        };
        let codecs = [
            codec(96, "GSM-EFR", 8_000),
            codec(97, "G722", 8_000),
            codec(111, "opus", 48_000),
        ];
        let negotiated = Encodings::of(codecs.iter());
        let judged = |encodings, payload_type| {
            let stats = FlowStats {
                rtp_packets: 100,
                max_seq: 99,
                payload_type,
                ..FlowStats::default()
            };
            let flow = Installed {
                encodings,
                ..flow(FlowLeg::TcToGateway, "10.0.0.1:1", "10.0.0.2:2")
            };
            let rows = rows(&[(flow, stats)], &Wall::now(), "live");
            (rows[0].mos, rows[0].mos_scale.clone())
        };
        for (encodings, payload_type, mos) in [
            (negotiated, 96, Some((4.29, "narrowband"))),
            (negotiated, 97, Some((4.34, "wideband"))),
            (negotiated, 111, None),
            (negotiated, 9, Some((4.34, "wideband"))),
            (negotiated, 8, Some((4.41, "narrowband"))),
            // Without the daemon, or by hand, only numbers that never change are known.
            (Encodings::default(), 9, Some((4.34, "wideband"))),
            (Encodings::default(), 96, None),
        ] {
            let expected = mos.map_or((None, None), |(mos, scale)| {
                (Some(mos), Some(scale.to_owned()))
            });
            assert_eq!(judged(encodings, payload_type), expected, "{payload_type}");
        }
    }
}
