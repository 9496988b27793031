//! Words of Annex B for enumerations that the model leaves in words.

use std::borrow::Cow;

use crate::h248::model::{AuditToken, Octets, ServiceState, StreamMode};

/// ModemType, by its number.
pub(super) const MODEMS: &[&str] = &[
    "V18",
    "V22",
    "V22bis",
    "V32",
    "V32bis",
    "V34",
    "V90",
    "V91",
    "synchISDN",
];

/// MuxType, by its number.
pub(super) const MUXES: &[&str] = &["H221", "H223", "H226", "V76", "Nx64"];

/// The word of a number; of one that is not known, `X-` and the number, as Annex B
/// writes extensions.
pub(super) fn word<'a>(words: &[&'static str], number: u32) -> Octets<'a> {
    let known = usize::try_from(number).ok().and_then(|at| words.get(at));
    match known {
        Some(word) => Octets(Cow::Borrowed(word.as_bytes())),
        None => format!("X-{number}").into(),
    }
}

/// The number of a word.
pub(super) fn number(words: &[&str], word: &[u8]) -> Option<u32> {
    let known = words
        .iter()
        .position(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    match known {
        Some(at) => u32::try_from(at).ok(),
        None => std::str::from_utf8(word.strip_prefix(b"X-")?)
            .ok()?
            .parse()
            .ok(),
    }
}

/// Audit tokens by their bit in `auditToken`.
pub(super) const AUDIT_TOKENS: &[AuditToken] = &[
    AuditToken::Mux,
    AuditToken::Modem,
    AuditToken::Media,
    AuditToken::Events,
    AuditToken::Signals,
    AuditToken::DigitMap,
    AuditToken::Statistics,
    AuditToken::ObservedEvents,
    AuditToken::Packages,
    AuditToken::EventBuffer,
];

/// StreamMode, by its number, with its word.
pub(super) const STREAM_MODES: &[(StreamMode, &str)] = &[
    (StreamMode::SendOnly, "SendOnly"),
    (StreamMode::ReceiveOnly, "ReceiveOnly"),
    (StreamMode::SendReceive, "SendReceive"),
    (StreamMode::Inactive, "Inactive"),
    (StreamMode::Loopback, "Loopback"),
];

/// ServiceState, by its number, with its word.
pub(super) const SERVICE_STATES: &[(ServiceState, &str)] = &[
    (ServiceState::Test, "Test"),
    (ServiceState::OutOfService, "OutOfService"),
    (ServiceState::InService, "InService"),
];

/// The number of a value: its place in `known`.
pub(super) fn place<T: PartialEq>(known: &[(T, &str)], value: T) -> u32 {
    let at = known.iter().position(|(known, _)| *known == value);
    at.and_then(|at| u32::try_from(at).ok()).unwrap_or_default()
}

/// The number of a value's word.
pub(super) fn place_of_word<T>(known: &[(T, &str)], word: &[u8]) -> Option<u32> {
    let at = known
        .iter()
        .position(|(_, known)| word.eq_ignore_ascii_case(known.as_bytes()));
    at.and_then(|at| u32::try_from(at).ok())
}
