//! SIPp: the media gateway, and whatever else has to say exact things in SIP.
//!
//! Its scenarios are in `tests/scenarios`. Audio is `rtp_stream` of A-law files
//! from the directory it runs in; what it received is seen in a capture.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Process, audio};
use crate::lab::{Lab, Site};

/// Tone that gateways play, Hz.
pub const GATEWAY_TONE: f64 = 440.0;

/// Keywords of the scenarios, with what they usually are.
const KEYS: [(&str, &str); 3] = [
    // The RTP port that `call_relayed` gives out, which is another program's.
    ("relay_port", "0"),
    // The Subject: as long as a test needs the INVITE to be.
    ("padding", "lab"),
    // A line in the session description, well-formed or not.
    ("sdp_line", "a=sendrecv"),
];

/// How to run SIPp.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// Name of a file in `tests/scenarios`, or the lab's directory, without `.xml`.
    pub scenario: &'a str,
    /// Where to call; `None`: it waits to be called.
    pub remote: Option<SocketAddr>,
    /// Its own address, for signalling and media; `None`: its box's.
    pub address: Option<IpAddr>,
    /// Its own SIP port.
    pub port: u16,
    /// Calls until it ends.
    pub calls: u32,
    /// Calls a second, where it is the one who calls.
    pub rate: u32,
    /// The user part it calls (`[service]`).
    pub service: &'a str,
    /// Keywords of the scenario (`[name]`), of [`KEYS`].
    pub keys: &'a [(&'a str, &'a str)],
    /// Further options.
    pub options: &'a [&'a str],
}

impl<'a> Run<'a> {
    /// One call on port 5060: waits to be called.
    pub const fn new(scenario: &'a str) -> Self {
        Self {
            scenario,
            remote: None,
            address: None,
            port: 5060,
            calls: 1,
            rate: 1,
            service: "desk",
            keys: &[],
            options: &[],
        }
    }

    /// The same, calling this address.
    pub const fn calling(self, remote: SocketAddrV4) -> Self {
        Self {
            remote: Some(SocketAddr::V4(remote)),
            ..self
        }
    }
}

/// Where a scenario of [`silent`] describes its media: not at a port that SIPp takes.
pub const SILENT_PORT: u16 = 6_050;

/// Makes a scenario of `tests/scenarios` one that leaves its media to somebody else; its
/// name, for [`Run::new`].
///
/// # Errors
///
/// There is none of this name.
pub fn silent(lab: &Lab, scenario: &str) -> Result<String> {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let text = std::fs::read_to_string(scenarios.join(format!("{scenario}.xml")))
        .with_context(|| format!("no scenario {scenario}"))?;
    let port = SILENT_PORT.to_string();
    let silent: String = text
        .lines()
        .filter(|line| !line.contains("rtp_stream="))
        .map(|line| line.replace("[rtpstream_audio_port]", &port) + "\n")
        .collect();
    let name = format!("silent_{scenario}");
    std::fs::write(lab.directory().join(format!("{name}.xml")), silent)?;
    Ok(name)
}

/// [`Run::calls`] of a SIPp that takes every call until it is stopped.
pub const NO_LIMIT: u32 = 10_000_000;

/// SIPp, running.
#[derive(Debug)]
pub struct Sipp {
    process: Process,
    name: String,
    directory: PathBuf,
}

impl Sipp {
    /// Starts it in a box; listening when this returns.
    pub fn start(lab: &Lab, site: Site, run: &Run<'_>) -> Result<Self> {
        let name = format!("sipp-{}-{}-{}", site.name(), run.port, run.scenario);
        let directory = lab.directory().to_owned();
        let tone = directory.join("tone.al");
        if !tone.exists() {
            std::fs::write(&tone, audio::tone_alaw(GATEWAY_TONE))?;
        }
        let file = format!("{}.xml", run.scenario);
        let mut scenario = directory.join(&file);
        if !scenario.is_file() {
            scenario = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("scenarios")
                .join(file);
        }
        if !scenario.is_file() {
            bail!("no scenario {}", scenario.display());
        }
        let address = run.address.unwrap_or(site.ip().into()).to_string();
        let mut command = lab.command(site, "sipp");
        command
            .current_dir(&directory)
            .arg("-sf")
            .arg(scenario)
            .args(["-i", &address, "-mi", &address])
            .args(["-p", &run.port.to_string()])
            .args(["-m", &run.calls.to_string(), "-r", &run.rate.to_string()])
            .args(["-s", run.service, "-nostdin", "-trace_err", "-trace_msg"])
            .args(["-trace_logs", "-log_file", &format!("{name}.said")])
            .args(["-error_file", &format!("{name}.errors")])
            .args(["-message_file", &format!("{name}.messages")])
            .args(run.options);
        for (key, usual) in KEYS {
            let given = run.keys.iter().find(|(name, _)| *name == key);
            command.args(["-key", key, given.map_or(usual, |(_, value)| value)]);
        }
        if let Some(remote) = run.remote {
            command.arg(remote.to_string());
        }
        let process = Process::start(&name, &directory, &mut command)?;
        let mut sipp = Self {
            process,
            name,
            directory,
        };
        if run.remote.is_none() {
            sipp.wait_until_bound(lab, site, run.port)?;
        }
        Ok(sipp)
    }

    fn wait_until_bound(&mut self, lab: &Lab, site: Site, port: u16) -> Result<()> {
        let pattern = format!(":{port:04X}");
        // In the kernel's tables: of TCP a socket that listens (`-t t1`), of UDP one that
        // is bound to nobody.
        let is_it = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let (own, _, state) = (words.next(), words.next(), words.next());
            own.is_some_and(|own| own.ends_with(&pattern)) && matches!(state, Some("0A" | "07"))
        };
        let space = lab.namespace(site);
        crate::wait::try_wait_for("SIPp to listen", Duration::from_secs(5), || {
            if let Some(status) = self.process.ended() {
                bail!("SIPp ended ({status}): {}", self.complaints());
            }
            for table in ["udp", "tcp", "udp6", "tcp6"] {
                let table = format!("/proc/thread-self/net/{table}");
                let sockets = space.enter(move || std::fs::read_to_string(table))??;
                if sockets.lines().any(is_it) {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })
    }

    /// Waits until all its calls are over; an error if any failed.
    pub fn finish(&mut self, limit: Duration) -> Result<()> {
        let status = self
            .process
            .wait(limit)
            .with_context(|| format!("{}: {}", self.name, self.complaints()))?;
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, self.complaints());
        }
        Ok(())
    }

    /// What it complained of.
    pub fn complaints(&self) -> String {
        self.file("errors")
    }

    /// The messages it sent and received.
    pub fn messages(&self) -> String {
        self.file("messages")
    }

    /// What its scenario logged.
    pub fn said(&self) -> String {
        self.file("said")
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn file(&self, kind: &str) -> String {
        let path = self.directory.join(format!("{}.{kind}", self.name));
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }
}
