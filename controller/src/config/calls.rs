//! `calls`: which are left alone, which codecs the others use.

use sidestep_core::engine::{CallPolicy, CodecPolicy};

use super::fault::Faults;
use super::fields::{Fields, List};

/// Emergency numbers of many countries. One that is an extension of the site does
/// no harm here: calls to it go through the VM.
pub(super) const EMERGENCY: [&str; 7] = ["112", "911", "999", "000", "110", "118", "119"];

/// Reads the section; `None` where something in it is faulty, and reported.
pub(super) fn read(root: &Fields<'_>, faults: &mut Faults) -> Option<CallPolicy> {
    let calls = root.section(
        "calls",
        &["emergency", "codecs", "max_per_vm", "max_per_thin_client"],
        faults,
    );
    let codecs = calls.section("codecs", &["prefer", "forbid"], faults);
    let default = CallPolicy::default();
    Some(CallPolicy {
        emergency: match calls.list("emergency", faults) {
            List::Absent => EMERGENCY.map(str::to_owned).to_vec(),
            List::Faulty => return None,
            List::Items(items) => {
                let numbers = items.iter().map(|item| {
                    let at = item.text(faults)?;
                    let dialled = |c: char| c.is_ascii_digit() || "+*#".contains(c);
                    if !at.value.chars().all(dialled) {
                        let what = format!("{:?} is not a number as it is dialled", at.value);
                        faults.error(at.line, &at.field, what);
                        return None;
                    }
                    Some(at.value)
                });
                numbers.collect::<Option<_>>()?
            }
        },
        codecs: CodecPolicy {
            prefer: names(&codecs, "prefer", faults)?,
            forbid: names(&codecs, "forbid", faults)?,
        },
        max_per_vm: most(&calls, "max_per_vm", default.max_per_vm, faults)?,
        max_per_thin_client: most(
            &calls,
            "max_per_thin_client",
            default.max_per_thin_client,
            faults,
        )?,
    })
}

/// A limit of calls.
fn most(calls: &Fields<'_>, key: &str, default: usize, faults: &mut Faults) -> Option<usize> {
    let most = calls.number_or(key, default, 1..=10_000, "a number of calls", faults)?;
    Some(most.value)
}

/// A list of codecs, as `PCMU` or `L16/16000`.
fn names(codecs: &Fields<'_>, key: &str, faults: &mut Faults) -> Option<Vec<String>> {
    let items = codecs.list(key, faults).items();
    let names = items.iter().map(|item| {
        let at = item.text(faults)?;
        let (name, rate) = at.value.split_once('/').unwrap_or((&at.value, "8000"));
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(ok) || rate.parse::<u32>().is_err() {
            let what = format!(
                "{:?} is no codec; write its name as in SDP, as PCMU or L16/16000",
                at.value
            );
            faults.error(at.line, &at.field, what);
            return None;
        }
        Some(at.value)
    });
    names.collect()
}
