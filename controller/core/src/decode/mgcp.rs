//! MGCP as JSON, and as it would leave.

use std::net::SocketAddr;

use serde::Serialize;

use super::{HeaderView, RewriteError, SdpView, text};
use crate::mgcp::value::{self, ConnectionParameters};
use crate::mgcp::{Packet, PacketEdit, Parameter, StartLine};
use crate::sdp::SessionDescription;

/// A datagram of MGCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PacketView {
    /// Its messages: one, or several piggybacked.
    pub messages: Vec<MgcpView>,
}

/// A command or a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MgcpView {
    /// `command` or `response`.
    pub kind: &'static str,
    /// Verb; null in a response.
    pub verb: Option<String>,
    /// Response code; null in a command.
    pub code: Option<u16>,
    /// Package of the response code, where it names one.
    pub package: Option<String>,
    /// Phrase of a response.
    pub phrase: Option<String>,
    /// Transaction id.
    pub transaction: u32,
    /// Endpoint name as written; null in a response.
    pub endpoint: Option<String>,
    /// `MGCP 1.0` and a profile; null in a response.
    pub version: Option<String>,
    /// Every parameter in order, by its name in full; an empty name is a line that
    /// is no parameter.
    pub parameters: Vec<HeaderView>,
    /// ConnectionMode.
    pub mode: Option<String>,
    /// LocalConnectionOptions, one by one.
    pub options: Vec<HeaderView>,
    /// ConnectionParameters.
    pub statistics: Option<ConnectionParameters>,
    /// Transactions that ResponseAck confirms: first and last of each range.
    pub acknowledged: Vec<(u32, u32)>,
    /// Packages that events and signals are of (RFC 3660), each once.
    pub packages: Vec<&'static str>,
    /// Session descriptions, in order.
    pub descriptions: Vec<DescriptionView>,
}

/// A session description in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DescriptionView {
    /// What it says; null where it cannot be read.
    pub sdp: Option<SdpView>,
    /// Why it cannot be read.
    pub sdp_error: Option<String>,
}

impl PacketView {
    /// The view of a datagram.
    pub fn new(packet: &Packet) -> Self {
        Self {
            messages: packet.messages().map(|m| MgcpView::new(&m)).collect(),
        }
    }
}

impl MgcpView {
    fn new(message: &crate::mgcp::Message<'_>) -> Self {
        let mut view = Self {
            kind: "command",
            verb: None,
            code: None,
            package: None,
            phrase: None,
            transaction: message.transaction(),
            endpoint: None,
            version: None,
            parameters: message
                .parameters()
                .map(|(name, value)| HeaderView {
                    name: text(Parameter::long_form(name)),
                    value: text(value),
                })
                .collect(),
            mode: message.parameter(Parameter::CONNECTION_MODE).map(text),
            options: Vec::new(),
            statistics: message
                .parameter(Parameter::CONNECTION_PARAMETERS)
                .map(ConnectionParameters::parse),
            acknowledged: Vec::new(),
            packages: Vec::new(),
            descriptions: message.descriptions().map(DescriptionView::new).collect(),
        };
        match message.start() {
            StartLine::Command {
                verb,
                endpoint,
                version,
            } => {
                view.verb = Some(verb.to_string());
                view.endpoint = Some(text(endpoint.written));
                view.version = Some(text(version));
            }
            StartLine::Response {
                code,
                package,
                phrase,
            } => {
                view.kind = "response";
                view.code = Some(code);
                view.package = package.map(text);
                view.phrase = Some(text(phrase));
            }
        }
        if let Some(options) = message.parameter(Parameter::LOCAL_CONNECTION_OPTIONS) {
            let options = value::options(options).into_iter();
            view.options = options
                .map(|(key, value)| HeaderView {
                    name: text(key),
                    value: text(value),
                })
                .collect();
        }
        if let Some(ranges) = message.parameter(Parameter::RESPONSE_ACK) {
            let ranges = value::acknowledged(ranges).into_iter();
            view.acknowledged = ranges.map(|range| (*range.start(), *range.end())).collect();
        }
        for parameter in [
            Parameter::REQUESTED_EVENTS,
            Parameter::SIGNAL_REQUESTS,
            Parameter::OBSERVED_EVENTS,
            Parameter::DETECT_EVENTS,
        ] {
            let events = message.parameter(parameter).unwrap_or_default();
            for package in value::names(events).filter_map(value::package) {
                if !view.packages.contains(&package) {
                    view.packages.push(package);
                }
            }
        }
        view
    }
}

impl DescriptionView {
    fn new(bytes: &[u8]) -> Self {
        match SessionDescription::parse(bytes) {
            Ok(sdp) => Self {
                sdp: Some(SdpView::new(&sdp)),
                sdp_error: None,
            },
            Err(error) => Self {
                sdp: None,
                sdp_error: Some(error.to_string()),
            },
        }
    }
}

/// The datagram as it would leave with `media` as the audio's address in the first
/// description of every message that has one.
///
/// # Errors
///
/// Where Sidestep would leave one of them alone; nothing is rewritten then.
pub fn rewrite_mgcp(bytes: &[u8], media: SocketAddr) -> Result<Vec<u8>, RewriteError> {
    let packet = Packet::parse(bytes)?;
    let mut edit = PacketEdit::new(&packet);
    let mut found = false;
    for (index, message) in packet.messages().enumerate() {
        if let Some(description) = message.descriptions().next() {
            let sdp = SessionDescription::parse(description)?;
            edit.description(index, 0, &super::rewrite_sdp(&sdp, media)?);
            found = true;
        }
    }
    if !found {
        return Err(RewriteError::NoSdp);
    }
    Ok(edit.finish())
}
