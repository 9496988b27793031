//! Audits, and what only they return: packages, statistics (H.248.1 §7.1.12,
//! §7.1.15, §7.1.16).

use serde::Serialize;

use super::name::{ItemName, ParameterName};
use super::value::{Octets, Value};

/// Audit (H.248.1 §7.1.12); empty: nothing is to be returned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AuditDescriptor<'a> {
    /// What is to be returned.
    pub items: Vec<AuditItem<'a>>,
}

/// What is to be returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditItem<'a> {
    /// A whole descriptor.
    Whole(AuditToken),
    /// Some of a descriptor (version 2, `indAudterminationAudit`).
    Part(Selection<'a>),
}

/// A descriptor, by its kind (H.248.1 Annex B `auditItem`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditToken {
    /// Mux.
    Mux,
    /// Modem.
    Modem,
    /// Media.
    Media,
    /// Signals.
    Signals,
    /// EventBuffer.
    EventBuffer,
    /// DigitMap.
    DigitMap,
    /// Statistics.
    Statistics,
    /// Events.
    Events,
    /// ObservedEvents.
    ObservedEvents,
    /// Packages.
    Packages,
}

/// Part of a descriptor, named from the outside inward: `Media{Stream=1{Local}}`
/// is three of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selection<'a> {
    /// Token of Annex B as written, or `package/item`.
    pub name: Octets<'a>,
    /// What follows `=`, `<`, `>` or `#`: an id, or a value that is asked for
    /// (version 3).
    pub value: Option<Value<'a>>,
    /// What is asked for of it; empty: all.
    pub parts: Vec<Selection<'a>>,
}

/// A package that a termination has (H.248.1 §7.1.16).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageVersion<'a> {
    /// Name or number.
    pub name: ParameterName<'a>,
    /// Version, from 1.
    pub version: u16,
}

/// A statistic (H.248.1 §7.1.15).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statistic<'a> {
    /// Package and statistic.
    pub name: ItemName<'a>,
    /// Its value; none where it is asked for.
    pub value: Option<Value<'a>>,
}
