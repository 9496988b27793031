//! `cargo xtask`: everything a person does in this repository.
//!
//! Each command does what it needs first: `demo` and `test` install what is
//! missing, build, and then do their work.

mod build;
mod ci;
mod fuzz;
mod paths;
mod setup;
mod step;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Set up, build, run, test and show Sidestep",
    version
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need and this machine lacks.
    ///
    /// The eBPF toolchain always (rust-src, bpf-linker); with --peers also the
    /// programs that tests, demo and bench talk to (sipp, baresip, …), which
    /// takes root and a Debian-like system.
    Setup {
        /// Also the stock softphones, gateways and capture tools.
        #[arg(long)]
        peers: bool,
    },
    /// Build the kernel programs and the two binaries, in release mode.
    ///
    /// Leaves target/product/sidestep, self-contained, with the eBPF object in it.
    Build,
    /// Build all, then run `sidestep run` with the arguments given.
    ///
    /// Example: cargo xtask run -- --config config/sidestep.yaml
    Run {
        /// Arguments for `sidestep run`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The lab of network namespaces: up, down, or a shell in one of its hosts.
    Lab {
        /// up | down | shell HOST
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<String>,
    },
    /// Place two calls in the lab and show their flows; fails if they are not as they should be.
    Demo {
        /// Arguments for the demo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run every test: unit, kernel programs, end to end. Takes root.
    Test {
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Measure, and print a table; writes JSON too. Takes root and an idle machine.
    Bench {
        /// Arguments for the bench, such as --quick.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Place calls for minutes on end, holds and re-INVITEs mixed in; fails if anything stays behind.
    ///
    /// Ten minutes of 50 calls by default; takes root.
    Soak {
        /// Arguments for the soak, such as --seconds 60.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Fuzz what reads foreign bytes: message, sdp, framer, engine; 60 s each.
    ///
    /// Fails at the first input that breaks one.
    Fuzz {
        /// How long each runs, s.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Only this one.
        target: Option<String>,
    },
    /// Formatting, clippy on host and kernel crates with warnings denied, then every test.
    Ci {
        /// Formatting and clippy only.
        #[arg(long)]
        lint_only: bool,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup { peers } => {
            setup::toolchain()?;
            if peers {
                setup::peers()?;
                setup::encodings()?;
            }
            step::say("set up");
            Ok(())
        }
        Command::Build => {
            setup::toolchain()?;
            build::product()?;
            step::say(&format!("built {}", paths::product("sidestep").display()));
            Ok(())
        }
        Command::Run { args } => {
            setup::toolchain()?;
            build::product()?;
            let mut sidestep = std::process::Command::new(paths::product("sidestep"));
            step::replace_self(sidestep.arg("run").args(args))
        }
        Command::Lab { args } => {
            // The lab alone needs no peer and no kernel program, but its crate
            // is built against the daemon's, which embeds them.
            setup::toolchain()?;
            build::with_lab()?;
            build::run_tests_bin(&paths::release("lab"), &args)
        }
        Command::Demo { args } => {
            step::needs_root("cargo xtask demo")?;
            setup::toolchain()?;
            setup::peers()?;
            build::with_lab()?;
            build::run_tests_bin(&paths::release("demo"), &args)
        }
        Command::Bench { args } => {
            step::needs_root("cargo xtask bench")?;
            setup::toolchain()?;
            setup::peers()?;
            build::with_bench()?;
            build::run_tests_bin(&paths::product("bench"), &args)
        }
        Command::Soak { args } => {
            step::needs_root("cargo xtask soak")?;
            setup::toolchain()?;
            setup::peers()?;
            build::with_lab()?;
            build::run_tests_bin(&paths::release("soak"), &args)
        }
        Command::Test { filter } => test(filter.as_deref()),
        Command::Fuzz { seconds, target } => fuzz::run(seconds, target.as_deref()),
        Command::Ci { lint_only } => {
            setup::toolchain()?;
            setup::encodings()?;
            build::ebpf()?;
            ci::lint()?;
            if lint_only { Ok(()) } else { test(None) }
        }
    }
}

fn test(filter: Option<&str>) -> Result<()> {
    step::needs_root("cargo xtask test")?;
    setup::toolchain()?;
    setup::peers()?;
    setup::encodings()?;
    build::with_lab()?;
    ci::test(filter)
}
