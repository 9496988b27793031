//! The configuration file (M1: a thin client knows its media address, ports and
//! codecs before it registers).
//!
//! In: YAML. Out: [`Config`], or every fault at once, each with the key it is
//! about; unknown keys are faults.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::{Mapping, Value};
use sidestep_core::h248::model::Mid;

use crate::audio::codec::Encoding;
use crate::audio::g711::Law;

/// Longest delay taken, ms.
const DAY_MS: u64 = 86_400_000;

/// All that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigErrors {
    path: PathBuf,
    faults: Vec<String>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {fault}", self.path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The VM's address and the registrar's port.
    pub server: SocketAddr,
    /// User name, also of the digest.
    pub user: String,
    /// Password of the digest; empty where there is none (H.248, MGCP).
    pub password: String,
    /// Protocol.
    pub speaks: Speaks,
    /// What its messages travel by.
    pub transport: Transport,
    /// Local signalling address; of a connection only the IP address.
    pub bind: SocketAddr,
    /// Local media.
    pub media: Media,
    /// What the registration says.
    pub register: Register,
    /// Seconds asked for.
    pub expires: u32,
    /// What becomes of a call.
    pub answer: Answer,
    /// Port that answers name in place of the registered one (step 305's
    /// changed information).
    pub answer_port: Option<u16>,
    /// After being answered so long, a call is offered anew with this media
    /// port (M10 in mid-call).
    pub reinvite: Option<(Duration, u16)>,
    /// After being answered so long, a call is hung up.
    pub hangup_after: Option<Duration>,
    /// What is played.
    pub play: Play,
    /// WAV file of what was heard; the last call's.
    pub record: Option<PathBuf>,
    /// JSON report.
    pub report: Option<PathBuf>,
}

/// What signalling travels by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// A TCP connection to the server, made again whenever it ends.
    Tcp,
    /// The same, encrypted.
    Tls {
        /// PEM file of the authorities that vouch for the server, by its address.
        trust: PathBuf,
    },
}

/// What it speaks with its controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// SIP.
    Sip,
    /// H.248, as a gateway.
    H248 {
        /// Its message identifier.
        mid: Mid<'static>,
        /// Its telephone.
        termination: String,
        /// BER instead of text.
        binary: bool,
    },
    /// MGCP, as a gateway.
    Mgcp {
        /// Its telephone.
        endpoint: String,
    },
}

/// Local media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Where RTP is received; RTCP on the next port.
    pub address: SocketAddr,
    /// In order of preference.
    pub codecs: Vec<Encoding>,
    /// ms per packet, where the peer asks for nothing else.
    pub ptime: u32,
}

/// M2's variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Media address and codecs.
    Codecs,
    /// Media address only.
    Address,
    /// Nothing about media, as a stock telephone.
    None,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Rings so long, then is answered.
    After(Duration),
    /// Is refused with this status.
    Refuse(u16),
    /// Gets no response at all.
    Silent,
}

/// What is played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Play {
    /// Nothing but silence.
    Silence,
    /// A sine, Hz.
    Tone(u32),
    /// A file, over and over.
    Wav(PathBuf),
    /// What is heard.
    Echo,
    /// The microphone; what is heard goes to the loudspeaker. ALSA's device name.
    SoundCard(String),
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let fail = |fault: String| ConfigErrors {
        path: path.to_owned(),
        faults: vec![fault],
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    parse(&text).map_err(|faults| ConfigErrors {
        path: path.to_owned(),
        faults,
    })
}

/// Checks a text; every fault is `key: what is wrong with it`.
pub fn parse(text: &str) -> Result<Config, Vec<String>> {
    let value = serde_yaml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let mut faults = Vec::new();
    let mut root = Section::new("", value, &mut faults);
    let server = root.parsed(&mut faults, "server", "address:port of the registrar");
    let user = root.text(&mut faults, "user");
    let protocol = root.choice(&mut faults, "protocol", &["sip", "h248", "mgcp"]);
    let password = match protocol {
        Some(1 | 2) => Some(String::new()),
        _ => root.text(&mut faults, "password"),
    };
    let bind: Option<SocketAddr> =
        root.parsed(&mut faults, "bind", "local address:port for signalling");
    let speaks = match protocol {
        Some(1) => bind.map(|bind| h248(&mut root, bind, &mut faults)),
        Some(2) => root
            .text(&mut faults, "endpoint")
            .map(|endpoint| Speaks::Mgcp { endpoint }),
        _ => Some(Speaks::Sip),
    };
    let transport = match root.choice(&mut faults, "transport", &["udp", "tcp", "tls"]) {
        Some(1) => Some(Transport::Tcp),
        Some(2) => {
            let trust = root.text(&mut faults, "trust");
            trust.map(|trust| Transport::Tls {
                trust: trust.into(),
            })
        }
        _ => Some(Transport::Udp),
    };
    if transport != Some(Transport::Udp) && protocol == Some(2) {
        faults.push("transport: MGCP goes by udp only".into());
    }
    let media = match root.take("media") {
        Some(value) => media(value, &mut faults),
        None => {
            faults.push("media: missing".into());
            None
        }
    };
    let register = match root.choice(&mut faults, "register", &["codecs", "address", "none"]) {
        Some(1) => Register::Address,
        Some(2) => Register::None,
        _ => Register::Codecs,
    };
    let expires = root
        .number(&mut faults, "expires", 1..=86_400)
        .unwrap_or(600) as u32;
    let answer = answer(root.take("answer"), &mut faults);
    let answer_port = root.take("answer_media").and_then(|value| {
        let mut section = Section::new("answer_media.", value, &mut faults);
        let port = section.number(&mut faults, "port", 1_024..=65_534);
        section.finish(&mut faults);
        port.map(|port| port as u16)
    });
    let reinvite = root.take("reinvite").and_then(|value| {
        let mut section = Section::new("reinvite.", value, &mut faults);
        let after = section.number(&mut faults, "after_ms", 1..=DAY_MS);
        let port = section.number(&mut faults, "port", 1_024..=65_534);
        section.finish(&mut faults);
        Some((Duration::from_millis(after?), port? as u16))
    });
    if reinvite.is_some() && matches!(protocol, Some(1 | 2)) {
        faults.push("reinvite: a gateway cannot offer anything by itself".into());
    }
    let hangup_after = root
        .number(&mut faults, "hangup_after_ms", 1..=DAY_MS)
        .map(Duration::from_millis);
    let play = play(root.take("play"), &mut faults);
    let record = root
        .take("record")
        .and_then(|value| path(value, "record", &mut faults));
    let report = root
        .take("report")
        .and_then(|value| path(value, "report", &mut faults));
    root.finish(&mut faults);
    if let (Some(bind), Some(media)) = (bind, &media)
        && bind.ip() == media.address.ip()
        && (bind.port() == media.address.port() || bind.port() == media.address.port() + 1)
    {
        faults.push("bind: the port is also one of media's (RTP, and RTCP on the next)".into());
    }
    let speaks = speaks.zip(transport);
    match (server, user, password.zip(speaks), bind, media, play) {
        (
            Some(server),
            Some(user),
            Some((password, (speaks, transport))),
            Some(bind),
            Some(media),
            Some(play),
        ) if faults.is_empty() => Ok(Config {
            server,
            user,
            password,
            speaks,
            transport,
            bind,
            media,
            register,
            expires,
            answer,
            answer_port,
            reinvite,
            hangup_after,
            play,
            record,
            report,
        }),
        _ => Err(faults),
    }
}

/// Keys of an H.248 gateway. Its name is its address, unless it is given another.
fn h248(root: &mut Section, bind: SocketAddr, faults: &mut Vec<String>) -> Speaks {
    let mut text = |key: &str, default: &str| match root.take(key) {
        None => default.to_owned(),
        Some(Value::String(text)) if !text.is_empty() => text,
        Some(other) => {
            faults.push(format!("{key}: {} is not a text", shown(&other)));
            default.to_owned()
        }
    };
    let mid = text("mid", "");
    let termination = text("termination", "tel/1");
    let binary = root.choice(faults, "encoding", &["text", "binary"]) == Some(1);
    let mid = match mid
        .strip_prefix('<')
        .and_then(|name| name.strip_suffix('>'))
    {
        _ if mid.is_empty() => Mid::Ip {
            address: bind.ip(),
            port: Some(bind.port()),
        },
        Some(name) => Mid::Domain {
            name: name.to_owned().into(),
            port: None,
        },
        None => Mid::Device(mid.into()),
    };
    Speaks::H248 {
        mid,
        termination,
        binary,
    }
}

fn media(value: Value, faults: &mut Vec<String>) -> Option<Media> {
    let mut section = Section::new("media.", value, faults);
    let address = section.parsed::<std::net::IpAddr>(faults, "address", "local IP address");
    if address.is_some_and(|address| address.is_unspecified() || address.is_multicast()) {
        faults.push("media.address: must be an address that others can send to".into());
    }
    // RTCP needs the next port.
    let port = section.number(faults, "port", 1_024..=65_534);
    if port.is_none() && !faults.iter().any(|fault| fault.starts_with("media.port")) {
        faults.push("media.port: missing".into());
    }
    if port.is_some_and(|port| port % 2 == 1) {
        faults.push("media.port: must be even (RTCP takes the next; RFC 3550 §11)".into());
    }
    let ptime = section.number(faults, "ptime", 10..=60).unwrap_or(20) as u32;
    if !ptime.is_multiple_of(10) {
        faults.push("media.ptime: must be a multiple of 10 ms".into());
    }
    let mut codecs = Vec::new();
    match section.take("codecs") {
        None => codecs = [Law::Mu, Law::A].map(Encoding::G711).to_vec(),
        Some(Value::Sequence(names)) if !names.is_empty() => {
            for name in names {
                match name.as_str().and_then(Encoding::from_name) {
                    Some(encoding) if codecs.contains(&encoding) => {
                        faults.push(format!("media.codecs: {} is there twice", encoding.name()));
                    }
                    Some(encoding) if !encoding.is_built() => faults.push(format!(
                        "media.codecs: {}: this build lacks the feature `{}`",
                        encoding.name(),
                        encoding.feature().unwrap_or_default()
                    )),
                    Some(encoding) => codecs.push(encoding),
                    None => faults.push(format!(
                        "media.codecs: {} is not one of {}",
                        shown(&name),
                        Encoding::ALL.map(Encoding::name).join(", ")
                    )),
                }
            }
        }
        Some(_) => faults.push("media.codecs: must be a list such as [PCMU, PCMA]".into()),
    }
    section.finish(faults);
    Some(Media {
        address: SocketAddr::new(address?, port? as u16),
        codecs,
        ptime,
    })
}

fn answer(value: Option<Value>, faults: &mut Vec<String>) -> Answer {
    let at_once = Answer::After(Duration::ZERO);
    match value {
        None => at_once,
        Some(Value::String(name)) if name == "auto" => at_once,
        Some(Value::String(name)) if name == "silent" => Answer::Silent,
        Some(value @ Value::Mapping(_)) => {
            let mut section = Section::new("answer.", value, faults);
            let delay = section.number(faults, "delay_ms", 0..=180_000);
            let refuse = section.number(faults, "refuse", 300..=699);
            section.finish(faults);
            match (delay, refuse) {
                (_, Some(status)) => Answer::Refuse(status as u16),
                (delay, None) => Answer::After(Duration::from_millis(delay.unwrap_or(0))),
            }
        }
        Some(other) => {
            faults.push(format!(
                "answer: {} is none of auto, silent, {{delay_ms: N}}, {{refuse: STATUS}}",
                shown(&other)
            ));
            at_once
        }
    }
}

fn play(value: Option<Value>, faults: &mut Vec<String>) -> Option<Play> {
    match value {
        None => Some(Play::Silence),
        Some(Value::String(name)) if name == "silence" => Some(Play::Silence),
        Some(Value::String(name)) if name == "echo" => Some(Play::Echo),
        Some(value @ Value::Mapping(_)) => {
            let mut section = Section::new("play.", value, faults);
            let tone = section.number(faults, "tone", 50..=3_900);
            let wav = section
                .take("wav")
                .and_then(|value| path(value, "play.wav", faults));
            let card = section.take("sound_card").map(|value| shown(&value));
            section.finish(faults);
            if card.is_some() && !cfg!(feature = "alsa") {
                faults.push("play.sound_card: this build lacks the feature `alsa`".into());
            }
            match (tone, wav, card) {
                (Some(tone), None, None) => Some(Play::Tone(tone as u32)),
                (None, Some(wav), None) => Some(Play::Wav(wav)),
                (None, None, Some(card)) => Some(Play::SoundCard(card)),
                _ => {
                    faults.push("play: must be one of tone, wav, sound_card".into());
                    None
                }
            }
        }
        Some(other) => {
            faults.push(format!(
                "play: {} is none of silence, echo, {{tone: HZ}}, {{wav: FILE}}, {{sound_card: DEVICE}}",
                shown(&other)
            ));
            None
        }
    }
}

fn path(value: Value, key: &str, faults: &mut Vec<String>) -> Option<PathBuf> {
    match value {
        Value::String(path) if !path.is_empty() => Some(path.into()),
        _ => {
            faults.push(format!("{key}: must be a file name"));
            None
        }
    }
}

/// A value as a person wrote it, or nearly.
fn shown(value: &Value) -> String {
    let text = serde_yaml::to_string(value).unwrap_or_default();
    text.trim_end().to_owned()
}

/// A mapping whose keys are taken one by one; what is left is unknown.
struct Section {
    prefix: &'static str,
    mapping: Mapping,
}

impl Section {
    fn new(prefix: &'static str, value: Value, faults: &mut Vec<String>) -> Self {
        let mapping = match value {
            Value::Mapping(mapping) => mapping,
            other => {
                let key = prefix.trim_end_matches('.');
                let at = if key.is_empty() { "the file" } else { key };
                faults.push(format!("{at}: must be a mapping, not {}", shown(&other)));
                Mapping::new()
            }
        };
        Self { prefix, mapping }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.mapping.shift_remove(key)
    }

    fn parsed<T: std::str::FromStr>(
        &mut self,
        faults: &mut Vec<String>,
        key: &str,
        what: &str,
    ) -> Option<T> {
        let text = self.text(faults, key)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            faults.push(format!("{}{key}: {text} is not a {what}", self.prefix));
        }
        parsed
    }

    fn text(&mut self, faults: &mut Vec<String>, key: &str) -> Option<String> {
        let (fault, prefix) = match self.take(key) {
            Some(Value::String(text)) if !text.is_empty() => return Some(text),
            // A password or a user of digits only.
            Some(Value::Number(number)) => return Some(number.to_string()),
            Some(_) => ("must be a text", self.prefix),
            None => ("missing", self.prefix),
        };
        faults.push(format!("{prefix}{key}: {fault}"));
        None
    }

    fn number(
        &mut self,
        faults: &mut Vec<String>,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.take(key)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            faults.push(format!(
                "{}{key}: {} is not a number from {} to {}",
                self.prefix,
                shown(&value),
                range.start(),
                range.end()
            ));
        }
        number
    }

    fn choice(&mut self, faults: &mut Vec<String>, key: &str, names: &[&str]) -> Option<usize> {
        let value = self.take(key)?;
        let chosen = names.iter().position(|name| value.as_str() == Some(name));
        if chosen.is_none() {
            let names = names.join(", ");
            faults.push(format!(
                "{}{key}: {} is none of {names}",
                self.prefix,
                shown(&value)
            ));
        }
        chosen
    }

    fn finish(self, faults: &mut Vec<String>) {
        for key in self.mapping.keys() {
            faults.push(format!("{}{}: unknown key", self.prefix, shown(key)));
        }
    }
}

#[cfg(test)]
mod tests;
