//! What an H.248 message says, whatever its encoding.
//!
//! Both codecs fill the same types, and write them. Nothing is copied from a
//! text message; a binary one lends what its BER holds. What the Recommendation
//! lets stand for "any" is spelled out: [`ContextId::CHOOSE`],
//! [`TerminationId::Choose`], [`ItemName::ANY`].
//!
//! Everything serialises for people (`sidestep decode`): field names are stable,
//! bytes that are not UTF-8 show as U+FFFD, nothing is read back.

mod audit;
mod command;
mod event;
mod media;
mod message;
mod name;
mod service_change;
mod signal;
mod streams;
mod value;

pub use audit::{AuditDescriptor, AuditItem, AuditToken, PackageVersion, Selection, Statistic};
pub use command::{
    ActionReply, ActionRequest, CommandKind, CommandReply, CommandRequest, ContextAudit,
    ContextProperties, Descriptor, ErrorDescriptor, TopologyDirection, TopologyTriple,
};
pub use event::{
    DigitMap, DigitMapTimers, DigitMapValue, Embedded, EventsDescriptor, NotifyBehaviour,
    ObservedEvent, ObservedEvents, RequestedEvent, TimeStamp,
};
pub use media::{
    BufferControl, Description, LocalControl, MediaDescriptor, ModemDescriptor, MuxDescriptor,
    ServiceState, Stream, StreamMode, TerminationState,
};
pub use message::{
    AckRange, Authentication, Body, Message, Reply, ReplyResult, Request, Segment, SegmentReply,
    Transaction,
};
pub use name::{ContextId, ItemName, Mid, ParameterName, TerminationId};
pub use service_change::{
    ServiceChangeAddress, ServiceChangeDescriptor, ServiceChangeMethod, ServiceChangeProfile,
};
pub use signal::{
    NotifyCompletion, Signal, SignalDirection, SignalParameter, SignalType, SignalsDescriptor,
};
pub use value::{Octets, Parameter, Property, Span, Value};
