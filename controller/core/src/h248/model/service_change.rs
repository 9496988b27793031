//! ServiceChange (H.248.1 §7.1.13, §7.2.8).

use std::borrow::Cow;

use serde::Serialize;

use super::audit::AuditDescriptor;
use super::event::TimeStamp;
use super::name::Mid;
use super::value::{Octets, Parameter};

/// ServiceChange, of a request or a reply (H.248.1 §7.1.13).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ServiceChangeDescriptor<'a> {
    /// Method; only in requests.
    pub method: Option<ServiceChangeMethod<'a>>,
    /// Reason, `901 Cold Boot` and the like; in version 3 perhaps several words.
    pub reason: Vec<Octets<'a>>,
    /// Delay, s.
    pub delay: Option<u32>,
    /// Where messages are to go from now on.
    pub address: Option<ServiceChangeAddress<'a>>,
    /// Profile.
    pub profile: Option<ServiceChangeProfile<'a>>,
    /// When it happened.
    pub time: Option<TimeStamp>,
    /// The controller that is to be tried.
    pub mgc_id: Option<Mid<'a>>,
    /// Protocol version, proposed or agreed.
    pub version: Option<u8>,
    /// Descriptors that the change is about (version 2).
    pub info: Option<AuditDescriptor<'a>>,
    /// More changes are to follow (version 3).
    pub incomplete: bool,
    /// Extensions (`X-…`).
    pub extensions: Vec<Parameter<'a>>,
}

/// Method of a ServiceChange (H.248.1 §7.2.8.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceChangeMethod<'a> {
    /// Will go out of service after the delay; calls may end.
    Graceful,
    /// Is out of service; calls are lost.
    Forced,
    /// Will be in service after the delay; whatever was is forgotten.
    Restart,
    /// Association lost and found again; whatever was still is.
    Disconnected,
    /// The controller hands over to another.
    Handoff,
    /// The gateway's other half takes over.
    Failover,
    /// An extension (`X-…`).
    Other(Cow<'a, str>),
}

/// Where messages are to go from now on (H.248.1 §7.2.8.1.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceChangeAddress<'a> {
    /// Another port of the same address.
    Port(u16),
    /// Another address.
    Mid(Mid<'a>),
}

/// Profile (H.248.1 §7.2.8.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ServiceChangeProfile<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// Version, 1 to 99.
    pub version: u8,
}
