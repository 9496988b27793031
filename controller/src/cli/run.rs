//! `sidestep run`.

use std::process::ExitCode;

use super::args::RunArgs;
use super::config_check;

/// Checks the configuration, then serves until told to stop.
pub fn run(args: &RunArgs) -> ExitCode {
    if args.check {
        return config_check::check(&args.config);
    }
    let config = match config_check::load(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let _ = config;
    ExitCode::FAILURE
}
