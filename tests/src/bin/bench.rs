//! `cargo xtask bench`: measures, prints a table, writes JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sidestep_tests::bench::{self, Options, PARTS};

/// Measures what Sidestep costs and spares, on this machine.
#[derive(Parser)]
struct Arguments {
    /// A smoke test of half a minute; its numbers are worth little.
    #[arg(long)]
    quick: bool,
    /// Where the JSON goes; by default bench/bench.json in the target directory.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only these parts; all without any.
    #[arg(value_name = "PART", value_parser = PARTS)]
    parts: Vec<String>,
    /// The same, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = PARTS)]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        quick: arguments.quick,
        json: arguments.json,
        only: [arguments.parts, arguments.only].concat(),
    };
    match bench::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
