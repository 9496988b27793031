//! Actions, commands and what they carry (H.248.1 §6.1, §7).

use serde::Serialize;

use super::audit::{AuditDescriptor, AuditToken, PackageVersion, Selection, Statistic};
use super::event::{DigitMap, EventsDescriptor, ObservedEvents, RequestedEvent};
use super::media::{MediaDescriptor, ModemDescriptor, MuxDescriptor};
use super::name::{ContextId, TerminationId};
use super::service_change::ServiceChangeDescriptor;
use super::signal::SignalsDescriptor;
use super::value::{Octets, Property, Span};

/// The commands of a request for one context (H.248.1 §8.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionRequest<'a> {
    /// The context.
    pub context: ContextId,
    /// What is to become of the context itself.
    pub properties: ContextProperties<'a>,
    /// What is asked of the context itself.
    pub audit: Option<ContextAudit<'a>>,
    /// Commands, done in this order.
    pub commands: Vec<CommandRequest<'a>>,
    /// Where the context's id stands.
    #[serde(skip)]
    pub context_span: Span,
}

/// The replies to an action (H.248.1 §8.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionReply<'a> {
    /// The context; where the request said CHOOSE, the one that was made.
    pub context: ContextId,
    /// Why the action, or the command after the last reply, failed.
    pub error: Option<ErrorDescriptor<'a>>,
    /// What the context is like, where that was asked for.
    pub properties: ContextProperties<'a>,
    /// Replies to the commands, in their order.
    pub commands: Vec<CommandReply<'a>>,
    /// Where the context's id stands.
    #[serde(skip)]
    pub context_span: Span,
}

/// Properties of a context (H.248.1 §6.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ContextProperties<'a> {
    /// Topology (§7.1.18): who hears whom.
    pub topology: Vec<TopologyTriple<'a>>,
    /// Priority, 0 (lowest) to 15.
    pub priority: Option<u16>,
    /// Emergency call; `Some(false)` takes it back (version 3).
    pub emergency: Option<bool>,
    /// International emergency preference scheme (version 3).
    pub ieps: Option<bool>,
    /// Context ids listed (version 3, `ContextList`).
    pub contexts: Vec<ContextId>,
    /// Properties that packages define (version 3, `ContextAttr`).
    pub attributes: Vec<Property<'a>>,
}

impl ContextProperties<'_> {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is asked of a context (H.248.1 Annex B `contextAudit`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ContextAudit<'a> {
    /// What is to be told, by the names of Annex B (`Topology`, `Priority`, …)
    /// or of package properties; version 3 also selects by value.
    pub items: Vec<Selection<'a>>,
}

/// Who hears whom in a context (H.248.1 §7.1.18).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopologyTriple<'a> {
    /// From.
    pub from: TerminationId<'a>,
    /// To.
    pub to: TerminationId<'a>,
    /// Which way.
    pub direction: TopologyDirection,
    /// Of which stream; all where not given (version 2).
    pub stream: Option<u16>,
}

/// Which way media goes between two terminations (H.248.1 §7.1.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TopologyDirection {
    /// Both ways.
    Bothway,
    /// Neither way.
    Isolate,
    /// From the first to the second.
    Oneway,
    /// What leaves the first outward also goes to the second (version 3).
    OnewayExternal,
    /// All that passes the first also goes to the second (version 3).
    OnewayBoth,
}

/// The commands (H.248.1 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Add (§7.2.1).
    Add,
    /// Modify (§7.2.2).
    Modify,
    /// Subtract (§7.2.3).
    Subtract,
    /// Move (§7.2.4).
    Move,
    /// AuditValue (§7.2.5).
    AuditValue,
    /// AuditCapabilities (§7.2.6).
    AuditCapabilities,
    /// Notify (§7.2.7).
    Notify,
    /// ServiceChange (§7.2.8).
    ServiceChange,
}

/// A command (H.248.1 §7.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandRequest<'a> {
    /// `O-`: the transaction goes on where this fails (§8.2.1).
    pub optional: bool,
    /// `W-`: one reply for all that a wildcard stands for (§6.2.2).
    pub wildcard_response: bool,
    /// Which one.
    pub kind: CommandKind,
    /// On which terminations: one, in version 3 perhaps several.
    pub terminations: Vec<TerminationId<'a>>,
    /// What it carries, in order.
    pub descriptors: Vec<Descriptor<'a>>,
    /// Where the whole command stands, `O-` and `W-` included.
    #[serde(skip)]
    pub span: Span,
}

/// The reply to a command (H.248.1 §7.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandReply<'a> {
    /// To which one.
    pub kind: CommandKind,
    /// The terminations; in an audit of a context, all that are in it.
    pub terminations: Vec<TerminationId<'a>>,
    /// Whether it lists a context's terminations (`AuditValue=Context{…}`).
    pub of_context: bool,
    /// What it carries, in order.
    pub descriptors: Vec<Descriptor<'a>>,
    /// Where the whole reply stands.
    #[serde(skip)]
    pub span: Span,
}

/// What a command or its reply carries (H.248.1 §7.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Descriptor<'a> {
    /// Media (§7.1.4).
    Media(MediaDescriptor<'a>),
    /// Modem (§7.1.2; no longer used in version 3).
    Modem(ModemDescriptor<'a>),
    /// Multiplex (§7.1.3).
    Mux(MuxDescriptor<'a>),
    /// Events (§7.1.9).
    Events(EventsDescriptor<'a>),
    /// EventBuffer (§7.1.10).
    EventBuffer(Vec<RequestedEvent<'a>>),
    /// Signals (§7.1.11).
    Signals(SignalsDescriptor<'a>),
    /// Audit (§7.1.12).
    Audit(AuditDescriptor<'a>),
    /// ServiceChange (§7.1.13).
    ServiceChange(Box<ServiceChangeDescriptor<'a>>),
    /// DigitMap (§7.1.14).
    DigitMap(DigitMap<'a>),
    /// Statistics (§7.1.15).
    Statistics(Vec<Statistic<'a>>),
    /// Packages (§7.1.16).
    Packages(Vec<PackageVersion<'a>>),
    /// ObservedEvents (§7.1.17).
    ObservedEvents(ObservedEvents<'a>),
    /// Error (§7.1.19).
    Error(ErrorDescriptor<'a>),
    /// A descriptor that was asked for and is empty (Annex B `auditReturnItem`).
    Empty(AuditToken),
}

/// Error (H.248.1 §7.1.19; codes: H.248.8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorDescriptor<'a> {
    /// Code, `430` (unknown termination) and the like.
    pub code: u16,
    /// In words, where given.
    pub text: Option<Octets<'a>>,
}
