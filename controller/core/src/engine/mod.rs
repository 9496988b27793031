//! The face of the core: what the daemon puts in and takes out.
//!
//! ```text
//! datagram, timer, datapath's refusal ──► Engine ──► datagrams, datapath actions, events
//! ```
//!
//! The daemon calls [`Engine::handle_datagram`] and [`Engine::handle_timeout`],
//! then drains [`Engine::poll_output`] and sleeps until [`Engine::poll_timeout`].

mod api;
mod dispatch;
mod gateway_control;
mod held;
mod journal;
mod policy;
mod protocol;
mod value;

pub use api::{
    CallMedia, CallView, ClientView, ConnectionId, Datagram, Datapath, EngineConfig, Event,
    ExpiresConfig, Flow, FlowKind, Leg, MediaSeen, MediaWatchConfig, Network, Output, Path,
    PathChoice, PathRule, ReceiverReport, Reception, Side, ThinClientConfig, TimeoutAction,
    Transport, TrialOutcome, VmConfig,
};
pub use dispatch::Engine;
pub use held::Held;
pub use journal::{Entry, Key, Restored, UnknownKey};
pub use policy::{CallPolicy, CodecPolicy};
pub use protocol::{Protocol, ThinClientFramer};
pub use value::{FORMAT, Value};
