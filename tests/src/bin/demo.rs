//! `demo`: two calls past the VM, and a table. See [`sidestep_tests::demo`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match sidestep_tests::demo::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
