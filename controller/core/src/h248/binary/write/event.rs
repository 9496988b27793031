//! Events, signals and digit maps (H.248.1 §7.1.9 to §7.1.11, §7.1.14, §7.1.17,
//! Annex A).

use super::{
    Written, optional_u16, optional_u32, parameter, pkgd_name, refuse, sequences, tag,
    time_notation,
};
use crate::h248::binary::writer::Writer;
use crate::h248::model::{
    DigitMap, DigitMapValue, Embedded, EventsDescriptor, NotifyBehaviour, NotifyCompletion,
    ObservedEvent, ObservedEvents, RequestedEvent, Signal, SignalDirection, SignalParameter,
    SignalType, SignalsDescriptor,
};
use crate::h248::packages::ItemKind;

pub(super) fn events_descriptor(w: &mut Writer, at: u32, events: &EventsDescriptor<'_>) -> Written {
    w.try_constructed(tag(at), |w| {
        optional_u32(w, 0, events.request);
        sequences(w, 1, &events.events, |w, event| {
            requested_event(w, event, false)
        })
    })
}

fn second_events_descriptor(w: &mut Writer, at: u32, events: &EventsDescriptor<'_>) -> Written {
    w.try_constructed(tag(at), |w| {
        optional_u32(w, 0, events.request);
        sequences(w, 1, &events.events, |w, event| {
            requested_event(w, event, true)
        })
    })
}

/// RequestedEvent, or SecondRequestedEvent where `second`.
fn requested_event(w: &mut Writer, event: &RequestedEvent<'_>, second: bool) -> Written {
    pkgd_name(w, "RequestedEvent", ItemKind::Event, &event.name)?;
    optional_u16(w, 1, event.stream);
    let action = event.keep_active
        || event.digit_map.is_some()
        || event.embedded.is_some()
        || event.notify.is_some()
        || event.reset_events;
    if action {
        w.try_constructed(tag(2), |w| requested_actions(w, event, second))?;
    }
    sequences(w, 3, &event.parameters, parameter)
}

fn requested_actions(w: &mut Writer, event: &RequestedEvent<'_>, second: bool) -> Written {
    if event.keep_active {
        w.boolean(tag(0), true);
    }
    if let Some(map) = &event.digit_map {
        w.try_constructed(tag(1), |w| match (&map.name, &map.value) {
            (Some(name), None) => {
                w.primitive(tag(0), name);
                Ok(())
            }
            (None, Some(value)) => {
                digit_map_value(w, 1, value);
                Ok(())
            }
            _ => refuse("EventDM", "not either a name or a value"),
        })?;
    }
    let nothing = Embedded::default();
    let embedded = event.embedded.as_deref().unwrap_or(&nothing);
    // SecondRequestedActions has no events, and one number less from there on.
    let less = u32::from(second);
    match &embedded.events {
        Some(_) if second => {
            return refuse(
                "SecondRequestedActions",
                "events embedded in embedded events",
            );
        }
        Some(events) => second_events_descriptor(w, 2, events)?,
        None => {}
    }
    if let Some(signals) = &embedded.signals {
        signals_descriptor(w, 3 - less, signals)?;
    }
    if let Some(notify) = &event.notify {
        w.try_constructed(tag(4 - less), |w| notify_behaviour(w, notify))?;
    }
    w.flag(tag(5 - less), event.reset_events);
    Ok(())
}

fn notify_behaviour(w: &mut Writer, behaviour: &NotifyBehaviour<'_>) -> Written {
    match behaviour {
        NotifyBehaviour::Immediate => w.flag(tag(0), true),
        NotifyBehaviour::Never => w.flag(tag(2), true),
        NotifyBehaviour::Regulated(embedded) => {
            return w.try_constructed(tag(1), |w| {
                let Some(embedded) = embedded else {
                    return Ok(());
                };
                if let Some(events) = &embedded.events {
                    second_events_descriptor(w, 0, events)?;
                }
                match &embedded.signals {
                    Some(signals) => signals_descriptor(w, 1, signals),
                    None => Ok(()),
                }
            });
        }
    }
    Ok(())
}

pub(super) fn event_buffer(w: &mut Writer, at: u32, events: &[RequestedEvent<'_>]) -> Written {
    sequences(w, at, events, |w, event| {
        pkgd_name(w, "EventSpec", ItemKind::Event, &event.name)?;
        optional_u16(w, 1, event.stream);
        sequences(w, 2, &event.parameters, parameter)
    })
}

pub(super) fn observed_events(w: &mut Writer, at: u32, events: &ObservedEvents<'_>) -> Written {
    w.try_constructed(tag(at), |w| {
        w.unsigned(tag(0), events.request);
        sequences(w, 1, &events.events, observed_event)
    })
}

fn observed_event(w: &mut Writer, event: &ObservedEvent<'_>) -> Written {
    pkgd_name(w, "ObservedEvent", ItemKind::Event, &event.name)?;
    optional_u16(w, 1, event.stream);
    sequences(w, 2, &event.parameters, parameter)?;
    if let Some(time) = event.time {
        time_notation(w, 3, time);
    }
    Ok(())
}

pub(super) fn digit_map_descriptor(w: &mut Writer, at: u32, map: &DigitMap<'_>) -> Written {
    w.constructed(tag(at), |w| {
        if let Some(name) = &map.name {
            w.primitive(tag(0), name);
        }
        if let Some(value) = &map.value {
            digit_map_value(w, 1, value);
        }
    });
    match &map.name {
        Some(name) if name.len() != 2 => refuse("DigitMapName", "a name of other than two octets"),
        _ => Ok(()),
    }
}

fn digit_map_value(w: &mut Writer, at: u32, value: &DigitMapValue<'_>) {
    let timers = &value.timers;
    w.constructed(tag(at), |w| {
        let before = [(0, timers.start), (1, timers.short), (2, timers.long)];
        for (number, timer) in before {
            optional_u32(w, number, timer.map(u32::from));
        }
        w.primitive(tag(3), &value.body);
        optional_u32(w, 4, timers.duration.map(u32::from));
    });
}

pub(super) fn signals_descriptor(
    w: &mut Writer,
    at: u32,
    signals: &SignalsDescriptor<'_>,
) -> Written {
    w.try_constructed(tag(at), |w| {
        signals.signals.iter().try_for_each(|one| match one {
            SignalParameter::Signal(one) => w.try_constructed(tag(0), |w| signal(w, one)),
            SignalParameter::List { id, signals } => w.try_constructed(tag(1), |w| {
                w.unsigned(tag(0), *id);
                sequences(w, 1, signals, signal)
            }),
        })
    })
}

fn signal(w: &mut Writer, signal: &Signal<'_>) -> Written {
    pkgd_name(w, "Signal", ItemKind::Signal, &signal.name)?;
    optional_u16(w, 1, signal.stream);
    if let Some(kind) = signal.kind {
        let number = match kind {
            SignalType::Brief => 0u32,
            SignalType::OnOff => 1,
            SignalType::TimeOut => 2,
        };
        w.unsigned(tag(2), number);
    }
    optional_u16(w, 3, signal.duration);
    if let Some(completion) = signal.notify_completion {
        w.bits(tag(4), completion_bits(completion));
    }
    if signal.keep_active {
        w.boolean(tag(5), true);
    }
    sequences(w, 6, &signal.parameters, parameter)?;
    if let Some(direction) = signal.direction {
        let number = match direction {
            SignalDirection::Internal => 0u32,
            SignalDirection::External => 1,
            SignalDirection::Both => 3,
        };
        w.unsigned(tag(7), number);
    }
    optional_u32(w, 8, signal.request);
    optional_u16(w, 9, signal.intersignal_delay);
    Ok(())
}

fn completion_bits(completion: NotifyCompletion) -> u32 {
    let bits = [
        completion.timeout,
        completion.interrupted_by_event,
        completion.interrupted_by_signals,
        completion.other,
        completion.iteration,
    ];
    let set = bits.iter().enumerate().filter(|(_, set)| **set);
    set.fold(0, |all, (bit, _)| all | 1 << bit)
}
