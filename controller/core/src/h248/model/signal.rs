//! Signals (H.248.1 §7.1.11).

use serde::Serialize;

use super::name::ItemName;
use super::value::Parameter;

/// Signals (H.248.1 §7.1.11): what is applied; empty: nothing is any longer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SignalsDescriptor<'a> {
    /// Signals and lists of signals.
    pub signals: Vec<SignalParameter<'a>>,
}

/// A signal, or several one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalParameter<'a> {
    /// One.
    Signal(Signal<'a>),
    /// `SignalList`.
    List {
        /// Id of the list.
        id: u16,
        /// Its signals.
        signals: Vec<Signal<'a>>,
    },
}

/// A signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signal<'a> {
    /// Package and signal.
    pub name: ItemName<'a>,
    /// On which stream; all where not given.
    pub stream: Option<u16>,
    /// How it ends; as the package says where not given.
    pub kind: Option<SignalType>,
    /// How long, in units of 10 ms.
    pub duration: Option<u16>,
    /// When its end is to be told.
    pub notify_completion: Option<NotifyCompletion>,
    /// Goes on when an event happens.
    pub keep_active: bool,
    /// Which way (version 3).
    pub direction: Option<SignalDirection>,
    /// Id that its end is told with (version 3).
    pub request: Option<u32>,
    /// Pause before the next of a list, in units of 10 ms (version 3).
    pub intersignal_delay: Option<u16>,
    /// Its own parameters.
    pub parameters: Vec<Parameter<'a>>,
}

impl<'a> Signal<'a> {
    /// The signal alone.
    pub fn new(name: ItemName<'a>) -> Self {
        Self {
            name,
            stream: None,
            kind: None,
            duration: None,
            notify_completion: None,
            keep_active: false,
            direction: None,
            request: None,
            intersignal_delay: None,
            parameters: Vec::new(),
        }
    }
}

/// How a signal ends (H.248.1 §7.1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalType {
    /// When it is turned off.
    OnOff,
    /// After its duration, or when it is turned off.
    TimeOut,
    /// By itself.
    Brief,
}

/// Which ends of a signal are told (H.248.1 §7.1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct NotifyCompletion {
    /// `TO`: its duration was over.
    pub timeout: bool,
    /// `IBE`: an event ended it.
    pub interrupted_by_event: bool,
    /// `IBS`: a new Signals descriptor ended it.
    pub interrupted_by_signals: bool,
    /// `OR`: anything else.
    pub other: bool,
    /// `IT`: an iteration ended (version 3).
    pub iteration: bool,
}

/// Which way a signal goes (version 3, H.248.1 §7.1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalDirection {
    /// Into the context.
    Internal,
    /// Out of it.
    External,
    /// Both.
    Both,
}
