//! `sidestep`: the daemon and its command line in one binary.

use std::process::ExitCode;

/// Messages, calls and entries of the journal are many small pieces of memory, got and
/// given back for each message.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sidestep::cli::main()
}
