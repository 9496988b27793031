//! `thin-client`: see the library's documentation.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use thin_client::{config, run};
use tracing_subscriber::EnvFilter;

/// A thin client for Sidestep: registers, answers, and exchanges RTP with the
/// media gateway.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Registers and answers calls until SIGTERM or SIGINT.
    Run {
        /// Configuration file, YAML.
        #[arg(long)]
        config: PathBuf,
    },
    /// Checks a configuration file and lists all of its faults.
    Check {
        /// Configuration file, YAML.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Exit status for a configuration that is not usable.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let (path, start) = match Arguments::parse().command {
        Command::Run { config } => (config, true),
        Command::Check { config } => (config, false),
    };
    let config = match config::load(&path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if !start {
        println!("{}: ok", path.display());
        return ExitCode::SUCCESS;
    }
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run::run(config)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thin-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}
