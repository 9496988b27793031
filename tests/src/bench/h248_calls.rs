//! What Sidestep does to H.248 calls: Erlang/OTP's megaco in the VM makes and ends
//! contexts at Erlang's megaco outside, the same without Sidestep, through it with the
//! media left to the VM, and through it with the media moved to a thin client.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::lab::{Lab, Site};
use crate::peers::desk::{self, Registered};
use crate::peers::megaco::{Form, Megaco, Transport};
use crate::peers::sidestep::Sidestep;

/// Where the VM's user would receive.
const VM_MEDIA: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 71, 1, 11), 10020);

/// How much is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Extent {
    /// Calls of a measurement.
    pub calls: u32,
    /// How many are open at once, where calls a second are measured.
    pub at_once: u32,
    /// Rounds; of each number the median counts.
    pub rounds: usize,
}

/// What is between controller and gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Without,
    Vm,
    Direct,
}

impl Way {
    const ALL: [Self; 3] = [Self::Without, Self::Vm, Self::Direct];

    fn id(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Vm => "vm",
            Self::Direct => "direct",
        }
    }
}

/// One way, in one encoding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `without`, `vm` (through Sidestep, no thin client) or `direct` (with one).
    pub way: &'static str,
    /// `text` or `ber`.
    pub encoding: &'static str,
    /// ms of a call when one follows the other: Add to its Reply, Subtract to its.
    pub call_ms: f64,
    /// Calls a second, several at once.
    pub calls_per_second: f64,
    /// Of those without Sidestep, %.
    pub of_without_percent: f64,
}

/// Measures each way in each encoding, over UDP, in a lab of its own.
pub fn measure(extent: Extent, progress: impl Fn(&str)) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (form, encoding) in [(Form::Compact, "text"), (Form::Ber, "ber")] {
        let mut without = None;
        for way in Way::ALL {
            progress(&format!(
                "{}, {encoding}: {} × 2 × {} calls",
                way.id(),
                extent.rounds,
                extent.calls
            ));
            let (call_ms, calls_per_second) =
                one(way, form, extent).with_context(|| format!("{} in {encoding}", way.id()))?;
            let base = *without.get_or_insert(calls_per_second);
            rows.push(Row {
                way: way.id(),
                encoding,
                call_ms,
                calls_per_second,
                of_without_percent: 100.0 * calls_per_second / base,
            });
        }
    }
    Ok(rows)
}

/// ms of a call by itself, and calls a second of several at once.
fn one(way: Way, form: Form, extent: Extent) -> Result<(f64, f64)> {
    let lab = Lab::new()?;
    let sidestep = match way {
        Way::Without => None,
        Way::Vm | Way::Direct => Some(Sidestep::start(&lab)?),
    };
    let _thin_client = match (way, &sidestep) {
        (Way::Direct, Some(sidestep)) => Some(desk::answer(
            &lab,
            sidestep,
            Registered::Codecs,
            "load_answer_registered",
        )?),
        _ => None,
    };
    let mut controller = Megaco::controller(&lab, Site::Vm1, Transport::Udp, form)?;
    let mut gateway = Megaco::gateway(&lab, Site::Gw, Transport::Udp, form, Site::Vm1.ip())?;
    controller.wait("service-change")?;
    // PCMU, which the thin client has.
    for peer in [&mut controller, &mut gateway] {
        peer.ask("formats 0", "formats")?;
    }

    // Erlang loads its code with the first calls.
    controller.calls(extent.calls.min(50), 1, VM_MEDIA)?;
    let mut alone = Vec::new();
    let mut together = Vec::new();
    for _ in 0..extent.rounds {
        let took = controller.calls(extent.calls, 1, VM_MEDIA)?;
        alone.push(took.as_secs_f64() * 1e3 / f64::from(extent.calls));
        let took = controller.calls(extent.calls, extent.at_once, VM_MEDIA)?;
        together.push(f64::from(extent.calls) / took.as_secs_f64());
    }
    if let Some(sidestep) = &sidestep {
        let expected = match way {
            Way::Direct => None,
            Way::Vm | Way::Without => Some("tc-not-registered"),
        };
        let calls = sidestep.query(&lab, "calls")?;
        ensure!(!calls.is_empty(), "Sidestep has seen no call");
        for call in calls {
            ensure!(call["reason"].as_str() == expected, "{call}");
        }
    }
    Ok((median(alone), median(together)))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
