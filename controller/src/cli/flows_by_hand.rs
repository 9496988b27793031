//! `sidestep flows show`, `add` and `remove`: single flows, or those of a file.
//!
//! A file goes to the daemon in portions, so that it serves calls between them; whoever
//! waits for more than two seconds is told how far it is.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::args::{DaemonArgs, ListArgs, WhichArgs};
use super::ask::Daemon;
use super::flows::{Printer, pinned, stopped};
use crate::admin::client::{AskError, Connection};
use crate::admin::rows::{FlowEnds, FlowSpec};
use crate::datapath::PinnedFlows;

/// Flows that are given to the daemon at once.
const PORTION: usize = 500;
/// Who waits longer is told how far it is, and again so much later.
const SILENT: Duration = Duration::from_secs(2);

/// Shows one flow.
pub fn show(ends: FlowEnds, args: &ListArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let daemon = match Daemon::of(&args.daemon) {
        Ok(daemon) => daemon,
        Err(code) => return Ok(code),
    };
    let mut rows = Vec::new();
    match daemon.connect() {
        Ok(mut connection) => connection.ask(&json!({ "find": ends }), &mut |row| {
            rows.push(row);
            Ok(())
        })?,
        Err(error @ AskError::NotRunning(_)) => {
            let Ok(all) = pinned(&daemon) else {
                return Err(error.into());
            };
            eprintln!("{}", stopped(&daemon));
            let (from, to) = (ends.from.to_string(), ends.to.to_string());
            let is = |row: &crate::admin::client::Row, field: &str, at: &str| {
                row.get(field).and_then(serde_json::Value::as_str) == Some(at)
            };
            rows.extend(
                all.into_iter()
                    .filter(|row| is(row, "from", &from) && is(row, "to", &to)),
            );
        }
        Err(error) => return Err(error.into()),
    }
    let found = !rows.is_empty();
    if !found {
        eprintln!(
            "sidestep: {} > {}: there is no such flow",
            ends.from, ends.to
        );
    }
    if found || args.json {
        let mut printer = Printer::new(args.json, out);
        for row in rows {
            printer.row(row)?;
        }
        printer.end()?;
    }
    Ok(match found {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Adds flows.
pub fn add(
    which: &WhichArgs,
    sent: (Option<SocketAddr>, Option<SocketAddr>),
    daemon: &DaemonArgs,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let daemon = match Daemon::of(daemon) {
        Ok(daemon) => daemon,
        Err(code) => return Ok(code),
    };
    let flows: Vec<FlowSpec> = match ends(which) {
        Some(FlowEnds { from, to }) => vec![FlowSpec {
            from,
            to,
            sent_from: sent.0,
            sent_to: sent.1,
            rtcp: false,
        }],
        None => of_file(which.file.as_deref())?,
    };
    let mut connection = daemon.connect()?;
    let count = in_portions(&flows, "added", |portion| {
        tell(&mut connection, "add", portion)
    })?;
    writeln!(out, "{count} added")?;
    Ok(ExitCode::SUCCESS)
}

/// Removes flows; without a daemon from the pinned maps, whosever they were.
pub fn remove(
    which: &WhichArgs,
    daemon: &DaemonArgs,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let daemon = match Daemon::of(daemon) {
        Ok(daemon) => daemon,
        Err(code) => return Ok(code),
    };
    let flows: Vec<FlowEnds> = match ends(which) {
        Some(ends) => vec![ends],
        None => of_file(which.file.as_deref())?,
    };
    let count = match daemon.connect() {
        Ok(mut connection) => in_portions(&flows, "removed", |portion| {
            tell(&mut connection, "remove", portion)
        })?,
        Err(AskError::NotRunning(_)) => {
            eprintln!("{}", stopped(&daemon));
            let mut pinned = PinnedFlows::open(&daemon.pins)?;
            in_portions(&flows, "removed", |portion| {
                for ends in portion {
                    if !pinned.remove(ends)? {
                        bail!("{} > {}: there is no such flow", ends.from, ends.to);
                    }
                }
                Ok(())
            })?
        }
        Err(error) => return Err(error.into()),
    };
    writeln!(out, "{count} removed")?;
    Ok(ExitCode::SUCCESS)
}

fn ends(which: &WhichArgs) -> Option<FlowEnds> {
    Some(FlowEnds {
        from: which.from?,
        to: which.to?,
    })
}

fn of_file<F: DeserializeOwned>(file: Option<&Path>) -> anyhow::Result<Vec<F>> {
    let mut text = Vec::new();
    let name = match file {
        Some(path) if path != Path::new("-") => {
            text = std::fs::read(path).with_context(|| path.display().to_string())?;
            path.display().to_string()
        }
        _ => {
            let read = io::stdin().lock().read_to_end(&mut text);
            read.context("standard input")?;
            "standard input".to_owned()
        }
    };
    serde_json::from_slice(&text)
        .with_context(|| format!("{name} is no JSON array of flows as `flows --json` prints it"))
}

fn tell<F: Serialize>(connection: &mut Connection, what: &str, flows: &[F]) -> anyhow::Result<()> {
    Ok(connection.ask(&json!({ what: flows }), &mut |_| Ok(()))?)
}

/// Works through `flows` portion by portion; how many there were.
fn in_portions<F>(
    flows: &[F],
    done: &str,
    mut work: impl FnMut(&[F]) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut last = Instant::now();
    let mut count = 0;
    for portion in flows.chunks(PORTION) {
        work(portion).with_context(|| match count {
            0 => format!("not all were {done}"),
            count => format!("the first {count} were {done}, not all of the others"),
        })?;
        count += portion.len();
        if last.elapsed() > SILENT {
            last = Instant::now();
            eprintln!("{count} of {} {done}", flows.len());
        }
    }
    Ok(count)
}
