//! `sidestep run`.

use std::process::ExitCode;

use super::args::RunArgs;
use super::config_check;

/// Checks the configuration, then serves until told to stop.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    if args.check {
        return Ok(config_check::check(&args.config));
    }
    let config = match config_check::load(&args.config) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    crate::daemon::run(config, args.keep)?;
    Ok(ExitCode::SUCCESS)
}
