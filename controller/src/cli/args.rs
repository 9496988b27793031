//! What can be typed: the commands, their options and their help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Takes virtual desktops out of their own media path.
///
/// A softphone in a virtual machine places a call; its RTP then goes straight
/// between the thin client on the desk and the media gateway. `sidestep run` is
/// the daemon on the hypervisor host; the other commands show what it does.
#[derive(Debug, Parser)]
#[command(name = "sidestep", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Start with:
  sidestep doctor --config /etc/sidestep/sidestep.yaml   is this host ready?
  sidestep run --config /etc/sidestep/sidestep.yaml      serve until SIGTERM
  sidestep calls                                         which path, and why";

const CALLS_EXAMPLES: &str = "\
A call that is not on the path wanted for it has a reason; the table explains
those it shows, the README lists all. Calls that have ended stay for a minute.

Examples:
  sidestep calls
  sidestep calls --json | jq -r '.[] | select(.path == \"vm\") | .reason' | sort | uniq -c";

const CLIENTS_EXAMPLES: &str = "\
A client without media has registered as a stock softphone does, and is asked for
its offer when a call comes.

Examples:
  sidestep clients
  sidestep clients --json | jq -r '.[].name'";

const VMS_EXAMPLES: &str = "\
A VM whose signalling cannot be read (TLS without the certificates for it, SCTP) has
a reason: its calls go through it, and `sidestep calls` does not know them.

Examples:
  sidestep vms
  sidestep vms --json | jq -r '.[] | select(.unread != []) | .name'";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: intercept signalling, steer and count media, until SIGTERM or SIGINT
    Run(RunArgs),
    /// Show the media flows and what the kernel has counted of them
    Flows(Box<FlowsArgs>),
    /// Show the calls, the path of each and the reason for it
    #[command(after_long_help = CALLS_EXAMPLES)]
    Calls(ListArgs),
    /// Show the registered thin clients
    #[command(after_long_help = CLIENTS_EXAMPLES)]
    Clients(ListArgs),
    /// Show the VMs: thin clients, calls, and why calls of one are not seen
    #[command(after_long_help = VMS_EXAMPLES)]
    Vms(ListArgs),
    /// Show the daemon: version, since when, interfaces, numbers
    Status(ListArgs),
    /// Show what the kernel programs and the daemon have counted
    Counters(ListArgs),
    /// Say whether this host can run Sidestep, and what to do where it cannot
    Doctor(DoctorArgs),
    /// Parse one message (SIP, H.248) or session description and print it as JSON
    Decode(DecodeArgs),
    /// Check a configuration file
    Config(ConfigArgs),
}

/// `sidestep run`
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "\
The configuration is checked wholly before anything is touched; all faults are
listed at once and the exit code is 2.

On SIGTERM or SIGINT the programs are detached, the door and its namespace go,
and calls use the VM again, as if Sidestep had never been there. With --keep the
datapath stays: media that is already steered goes on being steered and counted,
and `sidestep flows` still reads it.

Examples:
  sidestep run --config /etc/sidestep/sidestep.yaml
  sidestep run --config sidestep.yaml --check    only check the file
  sidestep run --config sidestep.yaml --keep     replace the daemon during calls")]
pub struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Check the configuration and end
    #[arg(long)]
    pub check: bool,
    /// Leave the datapath pinned and running at the end
    #[arg(long, conflicts_with = "check")]
    pub keep: bool,
}

/// How to find the daemon.
#[derive(Debug, Clone, ClapArgs)]
pub struct DaemonArgs {
    /// Unix socket of the daemon [default: the configuration's, else
    /// /run/sidestep/sidestep.sock]
    #[arg(long, value_name = "PATH", env = "SIDESTEP_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Configuration file of the daemon, to find its socket and its maps
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A command that lists rows.
#[derive(Debug, ClapArgs)]
pub struct ListArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Print one JSON array; the README documents its fields
    #[arg(long)]
    pub json: bool,
}

/// `sidestep flows`
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = "\
Works with the daemon stopped too: the pinned maps are read then. A long list is
printed as it comes, some hundred flows at a time.

Flows can be added by hand, to try the datapath without a call; they stay until they
are removed. What belongs to a call that has not ended cannot be removed.

Examples:
  sidestep flows
  sidestep flows show 10.71.3.31:6000 10.71.2.22:10038
  sidestep flows add 10.71.3.31:6000 10.71.2.22:10038
  sidestep flows --json | jq '[.[] | select(.kind == \"guard\")]' | sidestep flows remove --file -
  sidestep flows --watch
  sidestep flows --watch --interval 5 --json | jq -c '.[] | {call, leg, packets, lost}'")]
pub struct FlowsArgs {
    #[command(subcommand)]
    pub command: Option<FlowsCommand>,
    #[command(flatten)]
    pub list: ListArgs,
    /// Show again and again, until Ctrl-C; with --json one array a line
    #[arg(long)]
    pub watch: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, requires = "watch", value_parser = interval)]
    pub interval: f64,
}

/// What can be done with flows.
#[derive(Debug, Subcommand)]
pub enum FlowsCommand {
    /// Show all flows, as `sidestep flows` does
    List(ListArgs),
    /// Show one flow
    Show {
        /// Source on the wire, ADDR:PORT
        from: SocketAddr,
        /// Destination on the wire
        to: SocketAddr,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Add flows by hand: counted and passed, or steered
    Add {
        #[command(flatten)]
        which: WhichArgs,
        /// Steer it: the source that it leaves with
        #[arg(
            long,
            value_name = "ADDR:PORT",
            requires = "sent_to",
            conflicts_with = "file"
        )]
        sent_from: Option<SocketAddr>,
        /// Steer it: the destination that it leaves with
        #[arg(
            long,
            value_name = "ADDR:PORT",
            requires = "sent_from",
            conflicts_with = "file"
        )]
        sent_to: Option<SocketAddr>,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Remove flows that were added by hand, or that a daemon which was killed has left
    Remove {
        #[command(flatten)]
        which: WhichArgs,
        #[command(flatten)]
        daemon: DaemonArgs,
    },
}

/// Which flows: one, or those of a file.
#[derive(Debug, ClapArgs)]
pub struct WhichArgs {
    /// Source on the wire, ADDR:PORT
    #[arg(requires = "to", required_unless_present = "file")]
    pub from: Option<SocketAddr>,
    /// Destination on the wire
    pub to: Option<SocketAddr>,
    /// A JSON array of flows, as `flows --json` prints it; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    pub file: Option<PathBuf>,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("write seconds from 0.1 to 3600".to_owned()),
    }
}

/// `sidestep doctor`
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "\
Each line is ok, warn or fail, and says what to do. Nothing is changed. The exit
code is 1 where a line is fail.

Examples:
  sidestep doctor                                 kernel and privileges
  sidestep doctor --config sidestep.yaml          and this configuration on this host
  sidestep doctor --config sidestep.yaml --json | jq '.[] | select(.result != \"ok\")'")]
pub struct DoctorArgs {
    /// Configuration file to look at this host with
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
}

/// `sidestep decode`
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "\
With --media the message is printed as it would leave Sidestep with that media
address: every byte that has no reason to change is the one that came in. This
is how to find out what Sidestep does to a trace.

Examples:
  sidestep decode --protocol sip invite.txt
  sidestep decode --protocol sdp --media 10.71.2.21:20000 offer.sdp
  sidestep decode --protocol h248 add.txt
  sidestep decode --protocol h248 --binary add.ber
  sidestep decode --protocol sip --media 10.71.2.21:20000 invite.txt | diff invite.txt -")]
pub struct DecodeArgs {
    /// What the input is
    #[arg(long, value_enum)]
    pub protocol: Protocol,
    /// Print the message with its audio moved to this address instead
    #[arg(long, value_name = "ADDR:PORT")]
    pub media: Option<SocketAddr>,
    /// H.248: the input is BER, whatever its first byte says
    #[arg(long)]
    pub binary: bool,
    /// The message; `-` or nothing: standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// A protocol that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// One SIP message, as one datagram carries it (RFC 3261)
    Sip,
    /// One datagram of MGCP, with what is piggybacked in it (RFC 3435)
    Mgcp,
    /// A session description (RFC 8866)
    Sdp,
    /// One H.248.1 message, text or binary
    H248,
}

/// `sidestep config`
#[derive(Debug, ClapArgs)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with a configuration file.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a file: every fault with its line and field; exit code 2 if any
    Check {
        /// Configuration file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
