//! `lab up`, `lab shell vm1`, `lab down`: a lab to walk about in.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use sidestep_tests::lab::{Lab, Site};

/// A site in network namespaces: hypervisor, VMs, thin clients, gateway.
#[derive(Parser)]
#[command(name = "lab")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a lab and says how to get into its boxes.
    Up {
        /// Name of the lab, to have several.
        #[arg(long, default_value = "lab")]
        name: String,
    },
    /// Takes a lab down, and every process in it.
    Down {
        /// Name of the lab, to have several.
        #[arg(long, default_value = "lab")]
        name: String,
    },
    /// Opens a shell in a box of a lab.
    Shell {
        /// hv, vm1, vm2, vm3, tc1, tc2, sw, gw or net.
        #[arg(default_value = "hv")]
        site: String,
        /// Name of the lab.
        #[arg(long, default_value = "lab")]
        name: String,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().action {
        Action::Up { name } => {
            let lab = Lab::up(&name)?;
            println!("lab {name} is up; its boxes:");
            for site in Site::ALL {
                let address = site.endpoint().map(|a| a.to_string()).unwrap_or_default();
                println!(
                    "  {:4} {:12} {}",
                    site.name(),
                    address,
                    lab.namespace(site).name()
                );
            }
            println!(
                "`cargo xtask lab shell vm1` opens a shell in one, `cargo xtask lab down` ends it."
            );
        }
        Action::Down { name } => Lab::down(&name)?,
        Action::Shell { site, name } => {
            let lab = Lab::find(&name)?;
            let Some(site) = Site::ALL.into_iter().find(|s| s.name() == site) else {
                bail!("no box {site}; there are hv, vm1, vm2, vm3, tc1, tc2, sw, gw and net");
            };
            let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
            let error = Command::new("nsenter")
                .arg(format!("--net={}", lab.namespace(site).path().display()))
                .arg(shell)
                .env("PS1", format!("{name}/{}# ", site.name()))
                .exec();
            return Err(error.into());
        }
    }
    Ok(())
}
