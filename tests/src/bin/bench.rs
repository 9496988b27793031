//! `cargo xtask bench`: measures, prints a table, writes JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sidestep_tests::bench::{self, Options};

/// Measures what Sidestep costs and spares, on this machine.
#[derive(Parser)]
struct Arguments {
    /// A smoke test of half a minute; its numbers are worth little.
    #[arg(long)]
    quick: bool,
    /// Where the JSON goes; by default bench/bench.json in the target directory.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only these parts: xdp, relaying, call-setup, call-cost, h248.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        quick: arguments.quick,
        json: arguments.json,
        only: arguments.only,
    };
    match bench::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
