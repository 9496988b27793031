//! `sidestep`: the daemon and its command line in one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    sidestep::cli::main()
}
