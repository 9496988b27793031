//! `sidestep calls`, `clients`, `vms`, `status` and `counters`: one list each.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;
use sidestep_core::call::Reason;

use super::args::ListArgs;
use super::ask::Daemon;
use super::cell::{ago, count, plain, until};
use super::table::{Align, Column, render, terminal_width};
use crate::admin::client::{self, Row};

/// A list that the daemon has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `sidestep calls`
    Calls,
    /// `sidestep clients`
    Clients,
    /// `sidestep vms`
    Vms,
    /// `sidestep status`
    Status,
    /// `sidestep counters`
    Counters,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Clients => "clients",
            Self::Vms => "vms",
            Self::Status => "status",
            Self::Counters => "counters",
        }
    }

    fn text(self, rows: &[Row]) -> String {
        let width = terminal_width();
        match self {
            Self::Calls if rows.is_empty() => "no calls\n".to_owned(),
            Self::Calls => render(&CALLS, rows, width) + &reasons(rows),
            Self::Vms => render(&VMS, rows, width) + &reasons(&unread(rows)),
            Self::Clients if rows.is_empty() => "no thin client is registered\n".to_owned(),
            Self::Clients => render(&CLIENTS, rows, width),
            Self::Status => rows.iter().map(status).collect(),
            Self::Counters => counters(rows, width),
        }
    }
}

/// Asks, and prints.
pub fn run(list: List, args: &ListArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let daemon = match Daemon::of(&args.daemon) {
        Ok(daemon) => daemon,
        Err(code) => return Ok(code),
    };
    let rows = daemon.rows(list.name())?;
    let text = if args.json {
        json_array(&rows)
    } else {
        list.text(&rows)
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// One JSON array, a row a line.
pub fn json_array(rows: &[Row]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|row| Value::Object(row.clone()).to_string())
        .collect();
    match rows.as_slice() {
        [] => "[]\n".to_owned(),
        rows => format!("[{}]\n", rows.join(",\n ")),
    }
}

const fn column(title: &'static str, rank: u8, cell: fn(&Row) -> String) -> Column {
    Column {
        title,
        align: Align::Left,
        rank,
        cell,
    }
}

static CALLS: [Column; 12] = [
    Column {
        align: Align::Right,
        ..column("ID", 0, |row| plain(row, "id"))
    },
    column("VM", 0, |row| plain(row, "vm")),
    column("THIN CLIENT", 2, |row| plain(row, "thin_client")),
    column("GATEWAY", 3, |row| plain(row, "gateway")),
    column("PROTOCOL", 6, |row| plain(row, "protocol")),
    column("DIRECTION", 5, |row| plain(row, "direction")),
    column("STATE", 1, |row| plain(row, "state")),
    column("PATH", 0, |row| plain(row, "path")),
    column("REASON", 0, |row| plain(row, "reason")),
    column("CODECS TRIED", 4, tried),
    column("MEDIA SEEN", 5, |row| plain(row, "media_seen")),
    column("STARTED", 4, |row| ago(row, "started")),
];

/// Names of what was tried in vain, and what came of it: `opus PCMU, then decoded`.
fn tried(row: &Row) -> String {
    let tries = row.get("tries").and_then(Value::as_array);
    let names = tries.into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.filter_map(|codec| codec.split('/').next()).collect();
    match (names.is_empty(), row.get("trial").and_then(Value::as_str)) {
        (true, None) => "-".to_owned(),
        (true, Some(outcome)) => outcome.to_owned(),
        (false, None) => names.join(" "),
        (false, Some(outcome)) => format!("{}, then {outcome}", names.join(" ")),
    }
}

static CLIENTS: [Column; 7] = [
    column("NAME", 0, |row| plain(row, "name")),
    column("VM", 0, |row| plain(row, "vm")),
    column("PROTOCOL", 5, |row| plain(row, "protocol")),
    column("ADDRESS", 1, |row| plain(row, "address")),
    column("MEDIA", 2, |row| plain(row, "media")),
    column("CODECS", 3, |row| plain(row, "codecs")),
    column("EXPIRES", 4, |row| until(row, "expires")),
];

static VMS: [Column; 9] = [
    column("VM", 0, |row| plain(row, "name")),
    column("TAP", 2, |row| plain(row, "tap")),
    column("ATTACHED", 3, |row| plain(row, "attached")),
    column("ADDRESS", 1, |row| plain(row, "address")),
    column("ADDRESS6", 5, |row| plain(row, "address6")),
    column("THIN CLIENTS", 1, |row| plain(row, "thin_clients")),
    Column {
        align: Align::Right,
        ..column("CALLS", 2, |row| plain(row, "calls"))
    },
    column("NOT SEEN FOR", 0, |row| {
        let reasons: Vec<String> = unread(std::slice::from_ref(row))
            .iter()
            .map(|unread| plain(unread, "reason"))
            .collect();
        match reasons.as_slice() {
            [] => "-".to_owned(),
            reasons => reasons.join(", "),
        }
    }),
    column("LAST SEEN", 4, |row| {
        let unread = unread(std::slice::from_ref(row));
        unread
            .first()
            .map_or("-".to_owned(), |row| ago(row, "last_seen"))
    }),
];

static INTERFACES: [Column; 7] = [
    column("INTERFACE", 0, |row| plain(row, "name")),
    column("ROLE", 0, |row| plain(row, "role")),
    column("VMS", 1, |row| plain(row, "vms")),
    Column {
        align: Align::Right,
        ..column("INDEX", 3, |row| plain(row, "ifindex"))
    },
    column("ATTACHED", 0, |row| plain(row, "mode")),
    column("WAY", 2, |row| match row.get("bridged") {
        Some(Value::Bool(true)) => "bridged".to_owned(),
        Some(Value::Bool(false)) => "routed".to_owned(),
        _ => "-".to_owned(),
    }),
    column("ERROR", 1, |row| plain(row, "error")),
];

static COUNTERS: [Column; 2] = [
    column("COUNTER", 0, |row| plain(row, "name")),
    Column {
        align: Align::Right,
        ..column("VALUE", 0, |row| count(row, "value"))
    },
];

/// Those that have counted something; how many have not.
fn counters(rows: &[Row], width: Option<usize>) -> String {
    let zero = |row: &Row| row.get("value").and_then(Value::as_u64) == Some(0);
    let (zeros, some): (Vec<Row>, Vec<Row>) = rows.iter().cloned().partition(zero);
    let mut text = String::new();
    if !some.is_empty() {
        text += &render(&COUNTERS, &some, width);
    }
    if !zeros.is_empty() {
        text += &format!("({} more stand at 0; --json has all)\n", zeros.len());
    }
    text
}

/// What of VMs' signalling cannot be read.
fn unread(vms: &[Row]) -> Vec<Row> {
    let lists = vms.iter().filter_map(|row| row.get("unread").cloned());
    lists
        .flat_map(|list| client::objects(list).unwrap_or_default())
        .collect()
}

/// What the codes in the table mean, each once.
fn reasons(rows: &[Row]) -> String {
    let meant = |reason: &&Reason| {
        let code = Some(reason.code());
        rows.iter()
            .any(|row| row.get("reason").and_then(Value::as_str) == code)
    };
    let lines: Vec<String> = Reason::ALL
        .iter()
        .filter(meant)
        .map(|reason| format!("{}: {}\n", reason.code(), reason.meaning()))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{}", lines.concat())
}

/// The daemon: its plain facts one a line, then its interfaces.
fn status(row: &Row) -> String {
    let (lists, facts): (Vec<_>, Vec<_>) = row.iter().partition(|(_, value)| value.is_array());
    let width = facts.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value) in facts {
        let value = match value {
            Value::Object(fields) => fields
                .keys()
                .map(|field| format!("{field} {}", plain(fields, field)))
                .collect::<Vec<_>>()
                .join(", "),
            _ if key == "started" => ago(row, key),
            _ => plain(row, key),
        };
        text += &format!("{:<width$}  {value}\n", key.replace('_', " "));
    }
    for (_, list) in lists {
        let rows = client::objects(list.clone()).unwrap_or_default();
        text += &format!("\n{}", render(&INTERFACES, &rows, terminal_width()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_list_is_one_array() {
        let row = Row::from_iter([("id".to_owned(), Value::from(1))]);
        assert_eq!(json_array(&[]), "[]\n");
        assert_eq!(
            json_array(&[row.clone(), row]),
            "[{\"id\":1},\n {\"id\":1}]\n"
        );
    }

    #[test]
    fn codecs_that_were_tried_are_told_in_short() {
        for (tries, trial, text) in [
            (vec![], None, "-"),
            (vec![], Some("decoded"), "decoded"),
            (
                vec!["opus/48000/2", "PCMU/8000"],
                Some("agreed"),
                "opus PCMU, then agreed",
            ),
            (vec!["G729/8000"], None, "G729"),
        ] {
            let row = Row::from_iter([
                ("tries".to_owned(), Value::from(tries)),
                ("trial".to_owned(), Value::from(trial)),
            ]);
            assert_eq!(tried(&row), text);
        }
    }

    #[test]
    fn each_reason_shown_is_explained_once() {
        let row = |reason: Value| Row::from_iter([("reason".to_owned(), reason)]);
        let rows = [row("policy".into()), row(Value::Null), row("policy".into())];
        let text = reasons(&rows);
        assert_eq!(text.matches("policy: ").count(), 1, "{text}");
        assert_eq!(reasons(&[row(Value::Null)]), "");
    }
}
