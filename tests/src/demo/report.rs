//! The tables at the end.

use std::time::Duration;

use super::baseline::{Relayed, what};
use super::call::{Outcome, Way};
use super::delay::Delay;
use super::screen::Screen;

/// Prints what was seen.
pub fn print(screen: &Screen, calls: &[Outcome], relays: &[Relayed]) {
    screen.title("What the kernel counted");
    flows(screen, calls);
    tap(screen, calls);
    screen.title("The same call with Sidestep off, where the VM carries the RTP");
    comparison(screen, calls, relays);
}

fn flows(screen: &Screen, calls: &[Outcome]) {
    let mut table = Table::new(&[
        "call", "path", "flow", "packets", "bytes", "lost", "late", "dup", "jitter", "heard",
    ]);
    for (number, call) in calls.iter().enumerate() {
        for way in [&call.up, &call.down] {
            table.row(vec![
                (number + 1).to_string(),
                text(&way.flow["path"]),
                text(&way.flow["leg"]).replace("->", " → "),
                thousands(&way.flow["packets"]),
                thousands(&way.flow["bytes"]),
                way.flow["lost"].to_string(),
                way.flow["late"].to_string(),
                way.flow["duplicate"].to_string(),
                format!("{:.2} ms", way.flow["jitter_ms"].as_f64().unwrap_or(0.0)),
                heard(way),
            ]);
        }
    }
    table.print(screen);
    for (number, call) in calls.iter().enumerate() {
        screen.line(&format!(
            "  call {}: {}; thin client: {}",
            number + 1,
            call.title,
            call.party
        ));
    }
}

fn heard(way: &Way) -> String {
    format!("{} Hz, {:.0} % pure", way.hz, way.purity * 100.0)
}

fn tap(screen: &Screen, calls: &[Outcome]) {
    screen.line("");
    for (number, call) in calls.iter().enumerate() {
        let verdict = screen.verdict(call.past_tap == 0, &call.past_tap.to_string());
        screen.line(&format!(
            "  call {}: RTP packets past the VM's tap: {verdict}  \
             (the softphone in the VM sent {} of its own; the guard dropped them)",
            number + 1,
            call.vm_sent,
        ));
    }
}

fn comparison(screen: &Screen, calls: &[Outcome], relays: &[Relayed]) {
    let mut head = vec!["".to_owned(), "Sidestep".to_owned()];
    head.extend(relays.iter().map(|relay| relay.kind.to_string()));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut table = Table::new(&head);
    let first = &calls[0];
    type Pick<T> = (fn(&Outcome) -> T, fn(&Relayed) -> T);
    let delays: [(&str, Pick<Option<Delay>>); 2] = [
        ("gateway → thin client", (|c| c.down.delay, |r| r.down)),
        ("thin client → gateway", (|c| c.up.delay, |r| r.up)),
    ];
    for (way, (of_call, of_relay)) in delays {
        for (name, part) in [
            ("median", (|d: Delay| d.median) as fn(Delay) -> Duration),
            ("p99", |d| d.p99),
        ] {
            let mut row = vec![
                format!("one-way delay, {way}, {name}"),
                milliseconds(of_call(first).map(part)),
            ];
            row.extend(relays.iter().map(|r| milliseconds(of_relay(r).map(part))));
            table.row(row);
        }
    }
    let mut row = vec![
        "RTP packets past the VM's tap".to_owned(),
        first.past_tap.to_string(),
    ];
    row.extend(relays.iter().map(|relay| relay.past_tap.to_string()));
    table.row(row);
    let mut row = vec![
        "CPU in the VM for media".to_owned(),
        share(Duration::ZERO, first.measured),
    ];
    row.extend(relays.iter().map(|relay| share(relay.cpu, relay.measured)));
    table.row(row);
    let host = first.programs + first.daemon;
    let mut row = vec![
        "CPU on the host for media".to_owned(),
        share(host, first.measured),
    ];
    row.extend(relays.iter().map(|_| "(bridge only)".to_owned()));
    table.row(row);
    table.print(screen);
    for relay in relays {
        screen.line(&format!("  “{}”: {}", relay.kind, what(relay.kind)));
    }
    screen.line(
        "  Delay: from the sender's interface to the receiver's; the network in between is this\n  \
         machine. CPU: time per second of call; in the VM, the relay's alone (what its softphone\n  \
         spends on a stream of its own is the same in all three, and guarded by Sidestep).",
    );
    screen.line(&format!(
        "  On the host, call 1: kernel programs {:.2} ms/s; daemon, with keep-alive and the\n  \
         questions this demo asked it, {:.2} ms/s.\n",
        per_second(first.programs, first.measured) / 1e3,
        per_second(first.daemon, first.measured) / 1e3,
    ));
}

fn per_second(used: Duration, measured: Duration) -> f64 {
    used.as_secs_f64() * 1e6 / measured.as_secs_f64().max(1e-9)
}

fn share(used: Duration, measured: Duration) -> String {
    if used.is_zero() {
        return "0".to_owned();
    }
    format!("{:.2} ms/s", per_second(used, measured) / 1e3)
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or("–".to_owned(), |time| {
        format!("{:.3} ms", time.as_secs_f64() * 1e3)
    })
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or("–").to_owned()
}

fn thousands(value: &serde_json::Value) -> String {
    let digits = value.as_u64().unwrap_or(0).to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Columns as wide as their widest cell; numbers to the right.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()],
        }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn print(&self, screen: &Screen) {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| {
                    let numeric = number > 0
                        && column > 0
                        && cell.starts_with(|c: char| c.is_ascii_digit())
                        && !cell.contains("pure");
                    if numeric || (number == 0 && column > 2 && columns > 5) {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:<width$}")
                    }
                })
                .collect();
            let line = cells.join("  ");
            if number == 0 {
                screen.line(&format!("  {}", screen.bold(line.trim_end())));
                screen.line(&format!("  {}", rule.join("──")));
            } else {
                screen.line(&format!("  {}", line.trim_end()));
            }
        }
    }
}
