//! Erlang/OTP's megaco: as a media gateway controller, as a media gateway, and as a thin
//! client that is one, with our program on its engine (`erlang/megaco.escript`), and as
//! the other codec ([`corpus`]).

pub mod corpus;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Process;
use crate::lab::{Lab, Site};
use crate::wait::{seconds, try_wait_for};

/// What H.248 travels by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP with TPKT.
    Tcp,
}

/// How Erlang writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text, long tokens.
    Pretty,
    /// Text, short tokens.
    Compact,
    /// BER.
    Ber,
}

impl Form {
    /// The port for it, of either end.
    pub fn port(self) -> u16 {
        match self {
            Self::Pretty | Self::Compact => 2944,
            Self::Ber => 2945,
        }
    }
}

/// A controller, a gateway, or a thin client that is one.
#[derive(Debug)]
pub struct Megaco {
    process: Process,
    input: ChildStdin,
    /// Lines of its log that have been seen.
    seen: usize,
}

impl Megaco {
    /// A controller, listening.
    pub fn controller(lab: &Lab, site: Site, transport: Transport, form: Form) -> Result<Self> {
        let mut controller = Self::start(lab, site, "mgc", transport, form, &[])?;
        controller.wait("listening")?;
        Ok(controller)
    }

    /// A gateway, registered at the controller at `controller`.
    pub fn gateway(
        lab: &Lab,
        site: Site,
        transport: Transport,
        form: Form,
        controller: Ipv4Addr,
    ) -> Result<Self> {
        let controller = controller.to_string();
        let mut gateway = Self::start(lab, site, "mg", transport, form, &[controller])?;
        gateway.wait("registered")?;
        Ok(gateway)
    }

    /// A thin client, registered at its VM's `registrar`.
    pub fn thin_client(
        lab: &Lab,
        site: Site,
        transport: Transport,
        form: Form,
        registrar: SocketAddrV4,
    ) -> Result<Self> {
        let at = [registrar.ip().to_string(), registrar.port().to_string()];
        let mut client = Self::start(lab, site, "tc", transport, form, &at)?;
        client.wait("registered")?;
        Ok(client)
    }

    fn start(
        lab: &Lab,
        site: Site,
        role: &str,
        transport: Transport,
        form: Form,
        controller: &[String],
    ) -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/erlang/megaco.escript");
        let mut command = lab.command(site, "escript");
        command.args([script, role, &site.ip().to_string()]);
        command.arg(match transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        });
        command.arg(match form {
            Form::Pretty => "pretty",
            Form::Compact => "compact",
            Form::Ber => "ber",
        });
        command.args(controller);
        let name = format!("megaco-{role}-{}", site.name());
        let (process, input) = Process::start_with_input(&name, lab.directory(), &mut command)?;
        Ok(Self {
            process,
            input,
            seen: 0,
        })
    }

    /// Waits until it tells something new that begins with `word`; the words after
    /// that.
    pub fn wait(&mut self, word: &str) -> Result<Vec<String>> {
        let what = format!("megaco to tell {word}");
        let (seen, words) = try_wait_for(&what, seconds(15), || {
            let log = self.process.log();
            // What has no line end yet is not told.
            let told = log.rsplit_once('\n').map_or("", |(told, _)| told);
            for (at, line) in told.lines().enumerate().skip(self.seen) {
                let mut words = line.split_whitespace().map(str::to_owned);
                if words.next().as_deref() == Some(word) {
                    return Ok(Some((at + 1, words.collect())));
                }
            }
            if let Some(status) = self.process.ended() {
                anyhow::bail!("megaco ended ({status})");
            }
            Ok(None)
        })
        .with_context(|| self.process.log())?;
        self.seen = seen;
        Ok(words)
    }

    /// Gives it a command, and waits for its answer, which begins with `word`.
    pub fn ask(&mut self, command: &str, word: &str) -> Result<Vec<String>> {
        writeln!(self.input, "{command}")?;
        self.wait(word)
    }

    /// An address and port that it told.
    pub fn wait_address(&mut self, word: &str) -> Result<SocketAddrV4> {
        address(&self.wait(word)?)
    }

    /// The controller makes a context of a line and an RTP termination that sends to
    /// `remote`; where the gateway receives, as far as the controller is told.
    pub fn add(&mut self, remote: SocketAddrV4) -> Result<SocketAddrV4> {
        self.make("add", remote)
    }

    /// The same for a line whose user calls.
    pub fn accept(&mut self, remote: SocketAddrV4) -> Result<SocketAddrV4> {
        self.make("accept", remote)
    }

    fn make(&mut self, how: &str, remote: SocketAddrV4) -> Result<SocketAddrV4> {
        let command = format!("{how} {} {}", remote.ip(), remote.port());
        let told = self.ask(&command, "added")?;
        address(told.get(1..).unwrap_or_default())
    }

    /// So many times [`Self::add`] and the end of its context, some at once; how long it
    /// took.
    pub fn calls(&mut self, count: u32, at_once: u32, remote: SocketAddrV4) -> Result<Duration> {
        let (ip, port) = (remote.ip(), remote.port());
        let told = self.ask(&format!("calls {count} {at_once} {ip} {port}"), "calls")?;
        let took = told.get(1).context("no time")?.parse()?;
        Ok(Duration::from_micros(took))
    }

    /// The Remote that the gateway tells the controller when asked.
    pub fn audit(&mut self) -> Result<SocketAddrV4> {
        address(&self.ask("audit", "audit")?)
    }
}

fn address(words: &[String]) -> Result<SocketAddrV4> {
    let text = words.join(":");
    text.parse()
        .with_context(|| format!("{text:?} is no address"))
}
