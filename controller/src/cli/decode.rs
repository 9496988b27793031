//! `sidestep decode`: one message as JSON, or as it would leave.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use sidestep_core::decode::{
    MessageView, PacketView, RewriteError, SdpView, rewrite_media, rewrite_mgcp,
};
use sidestep_core::h248::{self, H248Error};
use sidestep_core::mgcp::{MgcpError, Packet};
use sidestep_core::sdp::{SdpError, SessionDescription};
use sidestep_core::sip::{Message, SipError};

use super::args::{DecodeArgs, Protocol};

/// Larger than any datagram, and than any session description.
const LARGEST: u64 = 1 << 20;

/// Decodes one message.
pub fn run(args: &DecodeArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if args.binary && args.protocol != Protocol::H248 {
        eprintln!("sidestep: --binary goes with --protocol h248 only");
        return Ok(ExitCode::from(2));
    }
    let (name, bytes) = input(args.file.as_deref())?;
    if args.binary
        && let Err(error) = h248::binary::parse(&bytes)
    {
        return Ok(refused(&name, &error.into()));
    }
    let decoded = match args.media {
        Some(media) => rewritten(args.protocol, &bytes, media),
        None => json(args.protocol, &bytes),
    };
    match decoded {
        Ok(text) => {
            out.write_all(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => Ok(refused(&name, &refusal)),
    }
}

fn refused(name: &str, refusal: &Refusal) -> ExitCode {
    eprintln!("{name}: {}", refusal.0);
    eprintln!("sidestep: the daemon would forward this as it came, byte for byte");
    ExitCode::FAILURE
}

/// Why there is nothing to print.
struct Refusal(String);

impl From<SipError> for Refusal {
    fn from(error: SipError) -> Self {
        Self(format!("not a SIP message: {error}"))
    }
}

impl From<MgcpError> for Refusal {
    fn from(error: MgcpError) -> Self {
        Self(format!("not MGCP: {error}"))
    }
}

impl From<SdpError> for Refusal {
    fn from(error: SdpError) -> Self {
        Self(format!("not a session description: {error}"))
    }
}

impl From<H248Error> for Refusal {
    fn from(error: H248Error) -> Self {
        Self(format!("not an H.248 message: {error}"))
    }
}

impl From<RewriteError> for Refusal {
    fn from(error: RewriteError) -> Self {
        match error {
            RewriteError::Sip(error) => error.into(),
            RewriteError::Mgcp(error) => error.into(),
            RewriteError::Sdp(error) => error.into(),
            RewriteError::H248(error) => error.into(),
            other => Self(other.to_string()),
        }
    }
}

fn json(protocol: Protocol, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let text = match protocol {
        Protocol::Sip => serde_json::to_string_pretty(&MessageView::new(&Message::parse(bytes)?)),
        Protocol::Mgcp => serde_json::to_string_pretty(&PacketView::new(&Packet::parse(bytes)?)),
        Protocol::Sdp => {
            serde_json::to_string_pretty(&SdpView::new(&SessionDescription::parse(bytes)?))
        }
        Protocol::H248 => serde_json::to_string_pretty(&h248::parse(bytes)?),
    };
    let text = text.map_err(|error| Refusal(error.to_string()))?;
    Ok((text + "\n").into_bytes())
}

fn rewritten(
    protocol: Protocol,
    bytes: &[u8],
    media: std::net::SocketAddr,
) -> Result<Vec<u8>, Refusal> {
    // `rewrite_media` tells the two apart by their first bytes; whoever named
    // one is told what keeps the input from being that one.
    match protocol {
        Protocol::Sip => drop(Message::parse(bytes)?),
        Protocol::Mgcp => return Ok(rewrite_mgcp(bytes, media)?),
        Protocol::Sdp => drop(SessionDescription::parse(bytes)?),
        Protocol::H248 => return Ok(h248::rewrite_media(bytes, media)?),
    }
    Ok(rewrite_media(bytes, media)?)
}

fn input(file: Option<&Path>) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let name = match file {
        Some(path) if path != Path::new("-") => {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).with_context(|| name.clone())?;
            file.take(LARGEST)
                .read_to_end(&mut bytes)
                .with_context(|| name.clone())?;
            name
        }
        _ => {
            let read = std::io::stdin()
                .lock()
                .take(LARGEST)
                .read_to_end(&mut bytes);
            read.context("standard input")?;
            "standard input".to_owned()
        }
    };
    Ok((name, bytes))
}
