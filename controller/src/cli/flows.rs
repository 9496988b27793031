//! `sidestep flows`: media flows, once or again and again.
//!
//! Without a daemon the pinned maps are read, and a line on standard error says
//! so: what they hold was counted by the kernel, daemon or not.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::args::{FlowsArgs, FlowsCommand, ListArgs};
use super::ask::Daemon;
use super::cell::{ago, count, decimal, octets, plain, ssrc};
use super::flows_by_hand;
use super::table::{Align, Column, render, terminal_height, terminal_width};
use crate::admin::client::{AskError, Row, objects};
use crate::admin::rows::FlowEnds;

/// Field that `--watch` adds for itself: packets a second since the last look.
const RATE: &str = "rate";

/// Flows of a long list that are one table.
const TABLE: usize = 1_000;

/// Shows the flows, or does with them what is asked.
pub fn run(args: &FlowsArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(FlowsCommand::List(args)) => return list(args, out),
        Some(FlowsCommand::Show { from, to, list }) => {
            let (from, to) = (*from, *to);
            return flows_by_hand::show(FlowEnds { from, to }, list, out);
        }
        Some(FlowsCommand::Add {
            which,
            sent_from,
            sent_to,
            daemon,
        }) => return flows_by_hand::add(which, (*sent_from, *sent_to), daemon, out),
        Some(FlowsCommand::Remove { which, daemon }) => {
            return flows_by_hand::remove(which, daemon, out);
        }
        None if !args.watch => return list(&args.list, out),
        None => {}
    }
    let daemon = match Daemon::of(&args.list.daemon) {
        Ok(daemon) => daemon,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    runtime.block_on(watch(args, &daemon, out))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the flows once.
fn list(args: &ListArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let daemon = match Daemon::of(&args.daemon) {
        Ok(daemon) => daemon,
        Err(code) => return Ok(code),
    };
    let mut printer = Printer::new(args.json, out);
    match daemon.connect() {
        Ok(mut connection) => {
            let request = json!({ "get": "flows" });
            connection.ask(&request, &mut |row| printer.row(row))?;
        }
        Err(error @ AskError::NotRunning(_)) => {
            let Ok(rows) = pinned(&daemon) else {
                return Err(error.into());
            };
            eprintln!("{}", stopped(&daemon));
            for row in rows {
                printer.row(row)?;
            }
        }
        Err(error) => return Err(error.into()),
    }
    printer.end()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints rows as they come: JSON row by row, tables of so many rows each.
pub(super) struct Printer<'a, W> {
    json: bool,
    out: &'a mut W,
    waiting: Vec<Row>,
    printed: bool,
}

impl<'a, W: Write> Printer<'a, W> {
    /// Nothing is printed yet.
    pub fn new(json: bool, out: &'a mut W) -> Self {
        Self {
            json,
            out,
            waiting: Vec::new(),
            printed: false,
        }
    }

    /// Prints a row, or keeps it for the next table.
    pub fn row(&mut self, row: Row) -> io::Result<()> {
        if self.json {
            let before = if self.printed { ",\n " } else { "[" };
            self.printed = true;
            return write!(self.out, "{before}{}", Value::Object(row));
        }
        self.waiting.push(row);
        match self.waiting.len() {
            TABLE => self.table(),
            _ => Ok(()),
        }
    }

    fn table(&mut self) -> io::Result<()> {
        let text = table(&self.waiting, false);
        self.waiting.clear();
        self.printed = true;
        self.out.write_all(text.as_bytes())
    }

    /// No rows follow.
    pub fn end(mut self) -> io::Result<()> {
        match (self.json, self.printed) {
            (true, true) => self.out.write_all(b"]\n"),
            (true, false) => self.out.write_all(b"[]\n"),
            (false, true) if self.waiting.is_empty() => Ok(()),
            (false, _) => self.table(),
        }
    }
}

/// Where rows came from.
enum Source {
    Daemon,
    Pins,
}

fn read(daemon: &Daemon) -> anyhow::Result<(Vec<Row>, Source)> {
    match daemon.rows("flows") {
        Ok(rows) => Ok((rows, Source::Daemon)),
        Err(error @ AskError::NotRunning(_)) => {
            let Ok(rows) = pinned(daemon) else {
                return Err(error.into());
            };
            Ok((rows, Source::Pins))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is pinned, without a daemon.
pub(super) fn pinned(daemon: &Daemon) -> anyhow::Result<Vec<Row>> {
    let rows = crate::datapath::flows_from_pins(&daemon.pins)?;
    objects(serde_json::to_value(rows)?).map_err(anyhow::Error::msg)
}

pub(super) fn stopped(daemon: &Daemon) -> String {
    format!(
        "no daemon answers; these are the maps pinned in {}",
        daemon.pins.display()
    )
}

async fn watch(args: &FlowsArgs, daemon: &Daemon, out: &mut impl Write) -> anyhow::Result<()> {
    let mut rates = Rates::default();
    let mut look = tokio::time::interval(Duration::from_secs_f64(args.interval));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = &mut interrupted => return Ok(()),
        }
        let (mut rows, source) = read(daemon)?;
        let text = if args.list.json {
            Value::Array(rows.into_iter().map(Value::Object).collect()).to_string() + "\n"
        } else {
            rates.add(&mut rows, Instant::now());
            let mut text = table(&rows, true);
            if let Source::Pins = source {
                text += &format!("({})\n", stopped(daemon));
            }
            frame(&text)
        };
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
}

/// On a terminal over the last frame, and no higher than it; else one after the
/// other.
fn frame(text: &str) -> String {
    let Some(height) = terminal_height() else {
        return format!("{text}\n");
    };
    let total = text.lines().count();
    let room = if total < height {
        total
    } else {
        height.saturating_sub(2)
    };
    // Home; each line clears its rest, the end clears what is below.
    let mut frame = "\x1b[H".to_owned();
    for line in text.lines().take(room) {
        frame += &format!("{line}\x1b[K\n");
    }
    if room < total {
        frame += &format!("({} more lines)\x1b[K", total - room);
    }
    frame + "\x1b[J"
}

fn table(rows: &[Row], rates: bool) -> String {
    if rows.is_empty() {
        return "no flows\n".to_owned();
    }
    let columns: Vec<Column> = COLUMNS
        .iter()
        .filter(|column| rates || column.title != "PKT/S")
        .map(|column| Column { ..*column })
        .collect();
    render(&columns, rows, terminal_width())
}

const fn left(title: &'static str, rank: u8, cell: fn(&Row) -> String) -> Column {
    Column {
        title,
        align: Align::Left,
        rank,
        cell,
    }
}

const fn right(title: &'static str, rank: u8, cell: fn(&Row) -> String) -> Column {
    Column {
        title,
        align: Align::Right,
        rank,
        cell,
    }
}

static COLUMNS: [Column; 23] = [
    right("CALL", 0, |row| plain(row, "call")),
    left("PATH", 0, |row| plain(row, "path")),
    left("LEG", 0, |row| plain(row, "leg")),
    left("KIND", 3, |row| plain(row, "kind")),
    left("FROM", 2, |row| plain(row, "from")),
    left("TO", 2, |row| plain(row, "to")),
    right("PACKETS", 0, |row| count(row, "packets")),
    right("PKT/S", 1, |row| decimal(row, RATE)),
    right("BYTES", 3, |row| octets(row, "bytes")),
    right("LOST", 0, |row| of_rtp(row, count, "lost")),
    right("LATE", 5, |row| of_rtp(row, count, "late")),
    right("DUP", 6, |row| of_rtp(row, count, "duplicate")),
    right("JITTER MS", 1, |row| of_rtp(row, decimal, "jitter_ms")),
    right("GAPS", 6, |row| of_rtp(row, count, "gaps")),
    right("RTT MS", 5, |row| of_rtp(row, decimal, "round_trip_ms")),
    right("FAR LOSS %", 7, |row| {
        of_rtp(row, decimal, "remote_loss_percent")
    }),
    right("MOS", 4, |row| of_rtp(row, decimal, "mos")),
    right("SSRC", 8, |row| ssrc(row, "ssrc")),
    right("PT", 1, payload_type),
    right("MOVES", 5, |row| count(row, "moves")),
    left("FIRST SEEN", 9, |row| ago(row, "first_seen")),
    left("STATE", 4, |row| plain(row, "state")),
    left("LAST SEEN", 4, |row| ago(row, "last_seen")),
];

fn is_rtcp(row: &Row) -> bool {
    row.get("rtcp").and_then(Value::as_bool) == Some(true)
}

/// A value that is measured on RTP only.
fn of_rtp(row: &Row, cell: fn(&Row, &str) -> String, field: &str) -> String {
    if is_rtcp(row) {
        return cell(&Row::new(), field);
    }
    cell(row, field)
}

/// RTCP has no payload type of media; the column says so.
fn payload_type(row: &Row) -> String {
    if is_rtcp(row) {
        return "rtcp".to_owned();
    }
    plain(row, "payload_type")
}

/// Packets of each flow at the last look.
#[derive(Default)]
struct Rates {
    last: HashMap<String, u64>,
    at: Option<Instant>,
}

impl Rates {
    fn add(&mut self, rows: &mut [Row], now: Instant) {
        let span = self.at.map(|at| now.duration_since(at).as_secs_f64());
        let mut seen = HashMap::new();
        for row in rows {
            let key = ["call", "leg", "from", "to", "rtcp"].map(|field| plain(row, field));
            let key = key.join(" ");
            let packets = row.get("packets").and_then(Value::as_u64).unwrap_or(0);
            if let (Some(span), Some(&before)) = (span, self.last.get(&key))
                && span > 0.0
            {
                let rate = packets.saturating_sub(before) as f64 / span;
                row.insert(RATE.to_owned(), rate.into());
            }
            seen.insert(key, packets);
        }
        self.last = seen;
        self.at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As one array that is put together, and as tables that have their headings.
    #[test]
    fn rows_are_printed_as_they_come() {
        let print = |json: bool, rows: usize| {
            let mut out = Vec::new();
            let mut printer = Printer::new(json, &mut out);
            for number in 0..rows {
                let row = Row::from_iter([("call".to_owned(), Value::from(number))]);
                printer.row(row).unwrap();
            }
            printer.end().unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print(true, 0), "[]\n");
        assert_eq!(print(true, 2), "[{\"call\":0},\n {\"call\":1}]\n");
        assert_eq!(print(false, 0), "no flows\n");
        for (rows, tables) in [(1, 1), (TABLE, 1), (TABLE + 1, 2)] {
            let text = print(false, rows);
            assert_eq!(text.matches("CALL").count(), tables, "{rows} rows");
            assert_eq!(text.lines().count(), rows + tables, "{rows} rows");
        }
    }

    #[test]
    fn a_rate_is_packets_since_the_last_look() {
        let flow = |packets: u64| {
            vec![Row::from_iter([
                ("call".to_owned(), Value::from(1)),
                ("packets".to_owned(), Value::from(packets)),
            ])]
        };
        let start = Instant::now();
        let mut rates = Rates::default();
        let mut rows = flow(100);
        rates.add(&mut rows, start);
        assert_eq!(rows[0].get(RATE), None);
        let mut rows = flow(200);
        rates.add(&mut rows, start + Duration::from_secs(2));
        assert_eq!(rows[0].get(RATE).and_then(Value::as_f64), Some(50.0));
        // A flow whose counters began anew has no negative rate.
        let mut rows = flow(5);
        rates.add(&mut rows, start + Duration::from_secs(3));
        assert_eq!(rows[0].get(RATE).and_then(Value::as_f64), Some(0.0));
    }
}
