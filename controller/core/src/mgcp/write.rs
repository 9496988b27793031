//! Messages of our own.

use super::parameter::Parameter;
use super::verb::Verb;

/// What a response code means (RFC 3435 §2.4), for its phrase.
pub fn response_text(code: u16) -> &'static str {
    match code {
        0 => "Acknowledged",
        100 => "In progress",
        101 => "Queued",
        200 => "OK",
        250 => "Deleted",
        400 => "Transient error",
        401 => "Off-hook already",
        402 => "On-hook already",
        403 => "No resources now",
        404 => "No bandwidth now",
        405 => "Endpoint is restarting",
        406 => "Timeout",
        407 => "Aborted",
        409 => "Overload",
        410 => "No endpoint available",
        500 => "No such endpoint",
        501 => "Endpoint not ready",
        502 => "No resources",
        503 => "All-of wildcard too complicated",
        504 => "No such command",
        505 => "Remote descriptor not supported",
        506 => "Not possible now",
        507 => "Not supported",
        510 => "Protocol error",
        511 => "Unrecognized extension",
        514 => "Announcement cannot be sent",
        515 => "No such connection",
        516 => "No such call",
        517 => "Mode not supported",
        518 => "Package not supported",
        522 => "No such event or signal",
        524 => "Local connection options inconsistent",
        527 => "Missing remote descriptor",
        528 => "Incompatible version",
        534 => "Codec negotiation failed",
        538 => "Event or signal parameter error",
        539 => "Unsupported parameter",
        541 => "Invalid local connection options",
        _ => "Failed",
    }
}

/// A command of our own.
#[derive(Debug, Clone)]
pub struct CommandBuilder {
    head: Vec<u8>,
    bodies: Vec<Vec<u8>>,
}

impl CommandBuilder {
    /// `version`: `MGCP 1.0`, with a profile where the peer speaks one.
    pub fn new(verb: &Verb, transaction: u32, endpoint: &[u8], version: &[u8]) -> Self {
        let mut head = format!("{verb} {transaction} ").into_bytes();
        head.extend_from_slice(endpoint);
        head.push(b' ');
        head.extend_from_slice(version);
        head.extend_from_slice(b"\r\n");
        Self {
            head,
            bodies: Vec::new(),
        }
    }

    /// With a parameter.
    #[must_use]
    pub fn parameter(mut self, name: Parameter, value: impl AsRef<[u8]>) -> Self {
        append(&mut self.head, name, value.as_ref());
        self
    }

    /// With a session description, which ends with a line end.
    #[must_use]
    pub fn description(mut self, sdp: impl Into<Vec<u8>>) -> Self {
        self.bodies.push(sdp.into());
        self
    }

    /// The datagram.
    pub fn build(self) -> Vec<u8> {
        finish(self.head, &self.bodies)
    }
}

/// A response of our own.
#[derive(Debug, Clone)]
pub struct ResponseBuilder {
    head: Vec<u8>,
    bodies: Vec<Vec<u8>>,
}

impl ResponseBuilder {
    /// `code`: 0 to 999.
    pub fn new(code: u16, transaction: u32) -> Self {
        let head = format!("{code:03} {transaction} {}\r\n", response_text(code));
        Self {
            head: head.into_bytes(),
            bodies: Vec::new(),
        }
    }

    /// With a parameter.
    #[must_use]
    pub fn parameter(mut self, name: Parameter, value: impl AsRef<[u8]>) -> Self {
        append(&mut self.head, name, value.as_ref());
        self
    }

    /// With a session description, which ends with a line end.
    #[must_use]
    pub fn description(mut self, sdp: impl Into<Vec<u8>>) -> Self {
        self.bodies.push(sdp.into());
        self
    }

    /// The datagram.
    pub fn build(self) -> Vec<u8> {
        finish(self.head, &self.bodies)
    }
}

fn append(head: &mut Vec<u8>, name: Parameter, value: &[u8]) {
    head.extend_from_slice(name.code().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

fn finish(mut head: Vec<u8>, bodies: &[Vec<u8>]) -> Vec<u8> {
    for body in bodies {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(body);
    }
    head
}
