//! Events: asked for, buffered, observed; digit maps (H.248.1 §7.1.9, §7.1.10,
//! §7.1.14, §7.1.17).

use std::fmt;

use serde::{Serialize, Serializer};

use super::name::ItemName;
use super::signal::SignalsDescriptor;
use super::value::{Octets, Parameter};

/// Events (H.248.1 §7.1.9).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EventsDescriptor<'a> {
    /// Request id; `None`: no events at all are wanted any longer.
    pub request: Option<u32>,
    /// The events.
    pub events: Vec<RequestedEvent<'a>>,
}

/// An event that is to be detected; in EventBuffer, one that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestedEvent<'a> {
    /// Package and event.
    pub name: ItemName<'a>,
    /// On which stream; all where not given.
    pub stream: Option<u16>,
    /// `KeepActive`: signals go on when it happens.
    pub keep_active: bool,
    /// How it is told (version 3).
    pub notify: Option<NotifyBehaviour<'a>>,
    /// `ResetEventsDescriptor` (version 3).
    pub reset_events: bool,
    /// Digit map, by name or value.
    pub digit_map: Option<DigitMap<'a>>,
    /// What is done at once when it happens.
    pub embedded: Option<Box<Embedded<'a>>>,
    /// Its own parameters.
    pub parameters: Vec<Parameter<'a>>,
}

impl<'a> RequestedEvent<'a> {
    /// The event alone.
    pub fn new(name: ItemName<'a>) -> Self {
        Self {
            name,
            stream: None,
            keep_active: false,
            notify: None,
            reset_events: false,
            digit_map: None,
            embedded: None,
            parameters: Vec::new(),
        }
    }
}

/// What is done at once when an event happens (H.248.1 §7.1.9 `Embed`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Embedded<'a> {
    /// Signals that take the place of those before.
    pub signals: Option<SignalsDescriptor<'a>>,
    /// Events that take the place of those before.
    pub events: Option<EventsDescriptor<'a>>,
}

/// How an event is told (version 3, H.248.1 §7.1.9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyBehaviour<'a> {
    /// At once.
    Immediate,
    /// As regulated; with what is done then, if anything.
    Regulated(Option<Box<Embedded<'a>>>),
    /// Never.
    Never,
}

/// DigitMap (H.248.1 §7.1.14): by name, by value, or a value that is given a
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DigitMap<'a> {
    /// Name.
    pub name: Option<Octets<'a>>,
    /// Value.
    pub value: Option<DigitMapValue<'a>>,
}

/// Value of a digit map.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DigitMapValue<'a> {
    /// Its timers.
    pub timers: DigitMapTimers,
    /// `(0|00|[1-7]xxx|…)`, as written.
    pub body: Octets<'a>,
}

/// Timers of a digit map, 0 to 99; T, S and L in seconds, Z in 100 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DigitMapTimers {
    /// `T`: start.
    pub start: Option<u8>,
    /// `S`: short.
    pub short: Option<u8>,
    /// `L`: long.
    pub long: Option<u8>,
    /// `Z`: duration (version 2).
    pub duration: Option<u8>,
}

/// ObservedEvents (H.248.1 §7.1.17).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ObservedEvents<'a> {
    /// Request id of the Events descriptor that they answer.
    pub request: u32,
    /// What happened, in order.
    pub events: Vec<ObservedEvent<'a>>,
}

/// An event that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObservedEvent<'a> {
    /// When.
    pub time: Option<TimeStamp>,
    /// Package and event.
    pub name: ItemName<'a>,
    /// On which stream.
    pub stream: Option<u16>,
    /// Its own parameters.
    pub parameters: Vec<Parameter<'a>>,
}

/// A point of time, UTC: `yyyymmdd` and `hhmmssss`, the last two digits
/// hundredths (H.248.1 Annex B `TimeStamp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimeStamp {
    /// `yyyymmdd` as a number, at most 8 digits.
    pub date: u32,
    /// `hhmmssss` as a number, at most 8 digits.
    pub time: u32,
}

impl fmt::Display for TimeStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}T{:08}", self.date, self.time)
    }
}

impl Serialize for TimeStamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
