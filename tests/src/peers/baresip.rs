//! baresip: the stock softphone, in the VM or at the thin client's desk.
//!
//! Driven over its `ctrl_tcp` module: JSON in netstrings, commands in, events
//! out. Its audio comes from and goes to WAV files.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Process, audio};
use crate::certificates::Identity;
use crate::lab::{Lab, Site};
use crate::wait::{seconds, try_wait_for, wait_for};

/// Port of its control connection, on the loopback of its box.
const CONTROL_PORT: u16 = 4444;

/// How a softphone is set up.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// User name of its account.
    pub user: &'a str,
    /// Where it registers and with what password; `None`: it does not.
    pub registrar: Option<(SocketAddrV4, &'a str)>,
    /// Its SIP port; over TLS, the next one.
    pub port: u16,
    /// How it speaks SIP: `udp`, `tcp` or `tls`.
    pub transport: &'a str,
    /// Its certificate, where it has one.
    pub certificate: Option<&'a Identity>,
    /// Its IPv6 address, if that is the only one it is to use.
    pub address6: Option<Ipv6Addr>,
    /// Whether it answers by itself.
    pub auto_answer: bool,
    /// Codecs, as its account lists them.
    pub codecs: &'a str,
    /// Tone it plays, Hz.
    pub tone: f64,
    /// Seconds without RTP after which it hangs up; 0: never.
    pub rtp_timeout: u32,
    /// First port of its RTP.
    pub rtp_port: u16,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            user: "desk",
            registrar: None,
            port: 5060,
            transport: "udp",
            certificate: None,
            address6: None,
            auto_answer: false,
            codecs: "PCMU/8000,PCMA/8000",
            tone: 1000.0,
            rtp_timeout: 0,
            rtp_port: 10_000,
        }
    }
}

/// A softphone, running.
#[derive(Debug)]
pub struct Baresip {
    process: Process,
    control: TcpStream,
    events: Arc<Mutex<Vec<Value>>>,
    heard: PathBuf,
}

impl Baresip {
    /// Starts it in a box, ready to be told what to do.
    pub fn start(lab: &Lab, site: Site, setup: &Setup<'_>) -> Result<Self> {
        let directory = lab.directory().join(format!("baresip-{}", site.name()));
        std::fs::create_dir_all(&directory)?;
        let play = directory.join("play.wav");
        let heard = directory.join("heard.wav");
        audio::write_tone_wav(&play, setup.tone, 30)?;
        let template = include_str!("baresip.conf");
        let address = setup.address6.map_or(site.ip().into(), IpAddr::V6);
        let listen = SocketAddr::new(address, setup.port);
        let mut config = template
            .replace("@LISTEN@", &listen.to_string())
            .replace("@PLAY@", &play.display().to_string())
            .replace("@HEARD@", &heard.display().to_string())
            .replace("@RTP_FIRST@", &setup.rtp_port.to_string())
            .replace("@RTP_LAST@", &(setup.rtp_port + 99).to_string())
            .replace("@RTP_TIMEOUT@", &setup.rtp_timeout.to_string())
            .replace("@CONTROL_PORT@", &CONTROL_PORT.to_string());
        if let Some(own) = setup.certificate {
            let file = directory.join("own.pem");
            std::fs::write(&file, format!("{}{}", own.certificate, own.key))?;
            config += &format!("sip_certificate {}\n", file.display());
        }
        std::fs::write(directory.join("config"), config)?;
        std::fs::write(directory.join("accounts"), account(address, setup))?;
        std::fs::write(directory.join("contacts"), "")?;

        let name = format!("baresip-{}", site.name());
        let mut process = Process::start(
            &name,
            lab.directory(),
            lab.command(site, "baresip")
                .arg("-f")
                .arg(&directory)
                .args(["-v", if setup.address6.is_some() { "-6" } else { "-4" }]),
        )?;
        process.wait_for_text("baresip is ready", seconds(10))?;
        let control = lab
            .namespace(site)
            .enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, CONTROL_PORT)))?
            .context("connecting to baresip's control port")?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let (stream, sink) = (control.try_clone()?, Arc::clone(&events));
        std::thread::Builder::new()
            .name(name)
            .spawn(move || read_events(stream, &sink))?;
        Ok(Self {
            process,
            control,
            events,
            heard,
        })
    }

    /// Dials a URI.
    pub fn dial(&mut self, uri: &str) -> Result<()> {
        self.tell("dial", uri)
    }

    /// Answers the call that rings.
    pub fn accept(&mut self) -> Result<()> {
        self.tell("accept", "")
    }

    /// Hangs up.
    pub fn hang_up(&mut self) -> Result<()> {
        self.tell("hangup", "")
    }

    /// Puts the call on hold, or takes it back.
    pub fn hold(&mut self, on: bool) -> Result<()> {
        self.tell(if on { "hold" } else { "resume" }, "")
    }

    fn tell(&mut self, command: &str, params: &str) -> Result<()> {
        let message = json!({"command": command, "params": params, "token": "lab"}).to_string();
        self.control
            .write_all(format!("{}:{message},", message.len()).as_bytes())
            .with_context(|| format!("telling baresip to {command}"))
    }

    /// How many events of this type there have been (`CALL_ESTABLISHED`, …).
    pub fn count(&self, kind: &str) -> usize {
        self.events()
            .iter()
            .filter(|event| event["type"] == kind)
            .count()
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until there has been an event of this type.
    pub fn wait_for(&mut self, kind: &str, limit: Duration) -> Result<Value> {
        let what = format!("baresip's event {kind}");
        try_wait_for(&what, limit, || {
            let found = self
                .events()
                .into_iter()
                .find(|event| event["type"] == kind);
            if found.is_none() && self.process.ended().is_some() {
                bail!("baresip ended before {kind}:\n{}", self.process.log());
            }
            Ok(found)
        })
    }

    /// Waits until its `nth` call is up (the first is 1).
    pub fn wait_established(&mut self, nth: usize, limit: Duration) -> Result<()> {
        let what = format!("call {nth} of baresip to be established");
        wait_for(&what, limit, || {
            (self.count("CALL_ESTABLISHED") >= nth).then_some(())
        })
    }

    /// Waits until its registration succeeded.
    pub fn wait_registered(&mut self, limit: Duration) -> Result<()> {
        // Its event may come before the control connection: the log has it.
        self.process.wait_for_text(" 200 OK () [1 binding]", limit)
    }

    /// The WAV file with what it heard.
    pub fn heard(&self) -> &std::path::Path {
        &self.heard
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn account(address: IpAddr, setup: &Setup<'_>) -> String {
    let (user, transport) = (setup.user, setup.transport);
    let mut account = match (setup.registrar, address) {
        (Some((registrar, password)), _) => format!(
            "<sip:{user}@{registrar};transport={transport}>;auth_user={user};\
             auth_pass={password};regint=600"
        ),
        (None, IpAddr::V4(v4)) => format!("<sip:{user}@{v4};transport={transport}>;regint=0"),
        (None, IpAddr::V6(v6)) => format!("<sip:{user}@[{v6}];transport={transport}>;regint=0"),
    };
    account.push_str(&format!(";audio_codecs={}", setup.codecs));
    if setup.auto_answer {
        account.push_str(";answermode=auto");
    }
    account.push('\n');
    account
}

/// Reads netstrings until the connection ends.
fn read_events(mut stream: TcpStream, events: &Mutex<Vec<Value>>) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        buffer.extend_from_slice(&chunk[..count]);
        while let Some((message, used)) = netstring(&buffer) {
            if let Ok(event) = serde_json::from_slice(message) {
                events
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            }
            buffer.drain(..used);
        }
    }
}

/// The first netstring of a buffer, and the octets it takes.
fn netstring(buffer: &[u8]) -> Option<(&[u8], usize)> {
    let colon = buffer.iter().position(|&octet| octet == b':')?;
    let length: usize = std::str::from_utf8(&buffer[..colon])
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let end = colon + 1 + length;
    (buffer.len() > end).then(|| (&buffer[colon + 1..end], end + 1))
}
