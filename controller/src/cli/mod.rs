//! The command line: what a person types, and what comes back.
//!
//! Each command is a file here; [`run`] picks one and says how the process ends:
//! 0 done, 1 it did not work (the reason is on standard error), 2 the command
//! line or the configuration is wrong and nothing was touched.

mod args;
mod config_check;
mod run;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// The configuration or the command line is wrong; nothing was touched.
const EXIT_USAGE: u8 = 2;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Run(run) => return run::run(&run),
        Command::Config(config) => return config_check::run(&config),
        _ => Ok(ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error: anyhow::Error| {
        eprintln!("sidestep: {error:#}");
        ExitCode::FAILURE
    })
}
