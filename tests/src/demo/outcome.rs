//! What has to be so for the demo to have worked.

use super::baseline::Relayed;
use super::call::{Outcome, Plan, Way};
use super::screen::Screen;
use crate::relay::Kind;

/// What was expected, and whether it was so.
#[derive(Debug, Default)]
pub struct Checks {
    failed: Vec<String>,
    passed: usize,
}

impl Checks {
    fn expect(&mut self, right: bool, what: impl FnOnce() -> String) {
        if right {
            self.passed += 1;
        } else {
            self.failed.push(what());
        }
    }

    /// A call past the VM.
    pub fn of_call(&mut self, plan: &Plan, outcome: &Outcome) {
        let call = format!("call {}", plan.number);
        let path = &outcome.call["path"];
        self.expect(path == "direct", || {
            format!("{call}: path {path}, not direct")
        });
        let reason = &outcome.call["reason"];
        self.expect(reason.is_null(), || format!("{call}: reason {reason}"));
        let past = outcome.past_tap;
        self.expect(past == 0, || {
            format!("{call}: {past} RTP packets past the tap")
        });
        let (sent, guarded) = (outcome.vm_sent, outcome.guarded);
        self.expect(sent > 0 && guarded > 0, || {
            format!("{call}: the VM sent {sent} RTP packets, the guard counted {guarded}")
        });
        self.of_way(&format!("{call}, to the gateway"), &outcome.up);
        self.of_way(&format!("{call}, to the thin client"), &outcome.down);
    }

    fn of_way(&mut self, which: &str, way: &Way) {
        let (counted, wire) = (way.flow["packets"].as_u64(), way.on_wire);
        self.expect(counted == Some(wire) && wire > 0, || {
            format!("{which}: {counted:?} packets counted, {wire} on the wire")
        });
        let lost = &way.flow["lost"];
        self.expect(lost == 0, || format!("{which}: {lost} packets lost"));
        let (hz, purity) = (way.hz, way.purity);
        self.expect(purity > 0.9, || {
            format!("{which}: the {hz} Hz tone is {purity:.2} of what arrived")
        });
        self.expect(way.delay.is_some(), || {
            format!("{which}: no delay measured")
        });
    }

    /// A call through the VM: it has to work, or it compares with nothing; and
    /// one that handles audio takes longer than no VM at all.
    pub fn of_relay(&mut self, relayed: &Relayed, past: &Outcome) {
        if relayed.kind == Kind::Audio {
            let medians = [(past.up.delay, relayed.up), (past.down.delay, relayed.down)];
            for (with, without) in medians {
                let (with, without) = (with.map(|d| d.median), without.map(|d| d.median));
                self.expect(with < without, || {
                    format!("one-way delay {with:?} with Sidestep, {without:?} without")
                });
            }
        }
        let kind = relayed.kind;
        for (way, purity, delay) in [
            ("up", relayed.purity_up, relayed.up),
            ("down", relayed.purity_down, relayed.down),
        ] {
            self.expect(purity > 0.9, || format!("{kind}, {way}: tone {purity:.2}"));
            self.expect(delay.is_some(), || {
                format!("{kind}, {way}: no delay measured")
            });
        }
        let past = relayed.past_tap;
        self.expect(past > 0, || format!("{kind}: no RTP past the tap"));
    }

    /// Prints the verdict; whether all was as it should be.
    pub fn conclude(&self, screen: &Screen) -> bool {
        let right = self.failed.is_empty();
        if right {
            let text = format!("✓ all {} checks hold", self.passed);
            screen.line(&screen.verdict(true, &text));
        } else {
            let all = self.passed + self.failed.len();
            let text = format!("✗ {} of {all} checks failed:", self.failed.len());
            screen.line(&screen.verdict(false, &text));
            for failure in &self.failed {
                screen.line(&format!("    {failure}"));
            }
        }
        right
    }
}
