//! `soak`: calls for minutes on end. See [`sidestep_tests::soak`].

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sidestep_tests::soak::{self, Extent};

/// Places calls for minutes on end, and looks whether anything stays behind.
#[derive(Parser)]
struct Arguments {
    /// Calls that are up at once, 1 to 500.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    calls: u32,
    /// For so many seconds, 10 to 7200.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..=7200))]
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let extent = Extent {
        calls: arguments.calls,
        length: Duration::from_secs(arguments.seconds),
    };
    match soak::run(extent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}
