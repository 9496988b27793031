//! The command line: what a person types, and what comes back.
//!
//! Each command is a file here; [`run`] picks one and says how the process ends:
//! 0 done, 1 it did not work (the reason is on standard error), 2 the command
//! line or the configuration is wrong and nothing was touched.

mod args;
mod ask;
mod cell;
mod config_check;
mod decode;
mod doctor;
mod flows;
mod flows_by_hand;
mod list;
mod run;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use list::List;

/// The configuration or the command line is wrong; nothing was touched.
const EXIT_USAGE: u8 = 2;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = Args::parse();
    // Not locked: the daemon logs from its own threads.
    let mut out = io::stdout();
    let done = match &args.command {
        Command::Run(args) => run::run(args),
        Command::Flows(args) => flows::run(args, &mut out),
        Command::Calls(args) => list::run(List::Calls, args, &mut out),
        Command::Clients(args) => list::run(List::Clients, args, &mut out),
        Command::Vms(args) => list::run(List::Vms, args, &mut out),
        Command::Status(args) => list::run(List::Status, args, &mut out),
        Command::Counters(args) => list::run(List::Counters, args, &mut out),
        Command::Config(args) => Ok(config_check::run(args)),
        Command::Doctor(args) => doctor::run(args, &mut out),
        Command::Decode(args) => decode::run(args, &mut out),
    };
    let done = done.and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match done {
        Ok(code) => code,
        // Whoever read has what they wanted: `sidestep flows --watch | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidestep: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
