//! `sidestep config check FILE`, and what `run` does before anything else.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::EXIT_USAGE;
use super::args::{ConfigArgs, ConfigCommand};
use crate::config::{self, Config};

/// Does what was asked of a configuration file.
pub fn run(args: &ConfigArgs) -> ExitCode {
    match &args.command {
        ConfigCommand::Check { file } => check(file),
    }
}

/// Checks a file and says what it would do.
pub fn check(file: &Path) -> ExitCode {
    match load(file) {
        Ok(config) => {
            let line = format!("{}: ok, {}\n", file.display(), summary(&config));
            // Whoever does not read it has the exit code.
            let _ = std::io::stdout().write_all(line.as_bytes());
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Loads a file; its warnings and faults go to standard error.
pub fn load(file: &Path) -> Result<Config, ExitCode> {
    let config = load_quietly(file)?;
    for warning in &config.warnings {
        eprintln!("warning: {}", config::located(file, warning));
    }
    Ok(config)
}

/// As [`load`], for who only wants to find the daemon: warnings are not said.
pub fn load_quietly(file: &Path) -> Result<Config, ExitCode> {
    match config::load(file) {
        Ok(config) => Ok(config),
        Err(errors) => {
            eprintln!("{errors}");
            let n = errors.faults.len();
            let s = if n == 1 { "" } else { "s" };
            eprintln!("sidestep: {n} error{s} in the configuration; nothing was touched");
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
}

fn summary(config: &Config) -> String {
    let count = |n: usize, one: &str| {
        let s = if n == 1 { "" } else { "s" };
        format!("{n} {one}{s}")
    };
    [
        count(config.vms.len(), "VM"),
        count(config.thin_clients.len(), "thin client"),
        count(config.uplinks.len(), "uplink"),
        count(config.media.paths.len(), "path rule"),
    ]
    .join(", ")
}
