//! Events, signals and digit maps (H.248.1 §7.1.9 to §7.1.11, §7.1.14, §7.1.17,
//! Annex A).

use super::name::pkgd_name;
use super::value::parameter;
use super::{Fields, chosen, sequences};
use crate::h248::binary::ber::{Element, Failure};
use crate::h248::model::{
    DigitMap, DigitMapTimers, DigitMapValue, Embedded, EventsDescriptor, NotifyBehaviour,
    NotifyCompletion, ObservedEvent, ObservedEvents, Octets, RequestedEvent, Signal,
    SignalDirection, SignalParameter, SignalType, SignalsDescriptor, TimeStamp,
};

/// EventsDescriptor, and SecondEventsDescriptor, which differs in what an event's
/// action may be.
pub(super) fn events_descriptor<'a>(
    element: &Element<'a>,
) -> Result<EventsDescriptor<'a>, Failure> {
    events(element, "EventsDescriptor", requested_actions)
}

fn second_events_descriptor<'a>(element: &Element<'a>) -> Result<EventsDescriptor<'a>, Failure> {
    events(element, "SecondEventsDescriptor", second_requested_actions)
}

type Actions<'a> = fn(&Element<'a>, &mut RequestedEvent<'a>) -> Result<(), Failure>;

fn events<'a>(
    element: &Element<'a>,
    construct: &'static str,
    actions: Actions<'a>,
) -> Result<EventsDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, construct)?;
    let request = fields.optional(0)?;
    let events = fields.required(1, "no eventList")?;
    fields.end(2)?;
    Ok(EventsDescriptor {
        request: request.map(|request| request.u32()).transpose()?,
        events: sequences(&events, "eventList", |event| {
            requested_event(event, actions)
        })?,
    })
}

fn requested_event<'a>(
    element: &Element<'a>,
    actions: Actions<'a>,
) -> Result<RequestedEvent<'a>, Failure> {
    let mut fields = Fields::of(element, "RequestedEvent")?;
    let name = pkgd_name(&fields.required(0, "no pkgdName")?)?;
    let stream = fields.optional(1)?;
    let action = fields.optional(2)?;
    let parameters = fields.required(3, "no evParList")?;
    fields.end(4)?;
    let mut event = RequestedEvent::new(name);
    event.stream = stream.map(|stream| stream.u16()).transpose()?;
    event.parameters = sequences(&parameters, "evParList", parameter)?;
    if let Some(action) = action {
        actions(&action, &mut event)?;
    }
    Ok(event)
}

fn requested_actions<'a>(
    element: &Element<'a>,
    event: &mut RequestedEvent<'a>,
) -> Result<(), Failure> {
    let mut fields = Fields::of(element, "RequestedActions")?;
    keep_active_and_digit_map(&mut fields, event)?;
    let events = fields.optional(2)?;
    let signals = fields.optional(3)?;
    let notify = fields.optional(4)?;
    event.reset_events = fields.optional(5)?.is_some();
    fields.end(6)?;
    event.notify = notify.as_ref().map(notify_behaviour).transpose()?;
    event.embedded = embedded(signals.as_ref(), events.as_ref())?;
    Ok(())
}

fn second_requested_actions<'a>(
    element: &Element<'a>,
    event: &mut RequestedEvent<'a>,
) -> Result<(), Failure> {
    let mut fields = Fields::of(element, "SecondRequestedActions")?;
    keep_active_and_digit_map(&mut fields, event)?;
    let signals = fields.optional(2)?;
    let notify = fields.optional(3)?;
    event.reset_events = fields.optional(4)?.is_some();
    fields.end(5)?;
    event.notify = notify.as_ref().map(notify_behaviour).transpose()?;
    event.embedded = embedded(signals.as_ref(), None)?;
    Ok(())
}

/// Components 0 and 1 of either kind of actions.
fn keep_active_and_digit_map<'a>(
    fields: &mut Fields<'a>,
    event: &mut RequestedEvent<'a>,
) -> Result<(), Failure> {
    let keep_active = fields.optional(0)?.map(|flag| flag.boolean()).transpose()?;
    event.keep_active = keep_active.unwrap_or_default();
    let Some(digit_map) = fields.optional(1)? else {
        return Ok(());
    };
    let digit_map = chosen(&digit_map, "EventDM")?;
    event.digit_map = Some(match digit_map.tag.alternative() {
        Some(0) => DigitMap {
            name: Some(Octets(digit_map.octets()?)),
            value: None,
        },
        Some(1) => DigitMap {
            name: None,
            value: Some(digit_map_value(&digit_map)?),
        },
        _ => return Err(digit_map.error("an unknown alternative")),
    });
    Ok(())
}

fn embedded<'a>(
    signals: Option<&Element<'a>>,
    events: Option<&Element<'a>>,
) -> Result<Option<Box<Embedded<'a>>>, Failure> {
    if signals.is_none() && events.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(Embedded {
        signals: signals.map(signals_descriptor).transpose()?,
        events: events.map(second_events_descriptor).transpose()?,
    })))
}

fn notify_behaviour<'a>(element: &Element<'a>) -> Result<NotifyBehaviour<'a>, Failure> {
    let behaviour = chosen(element, "NotifyBehaviour")?;
    match behaviour.tag.alternative() {
        Some(0) => Ok(NotifyBehaviour::Immediate),
        Some(1) => {
            let mut fields = Fields::of(&behaviour, "RegulatedEmbeddedDescriptor")?;
            let events = fields.optional(0)?;
            let signals = fields.optional(1)?;
            fields.end(2)?;
            let embedded = embedded(signals.as_ref(), events.as_ref())?;
            Ok(NotifyBehaviour::Regulated(embedded))
        }
        Some(2) => Ok(NotifyBehaviour::Never),
        _ => Err(behaviour.error("an unknown alternative")),
    }
}

/// An event of EventBuffer.
pub(super) fn event_spec<'a>(element: &Element<'a>) -> Result<RequestedEvent<'a>, Failure> {
    let mut fields = Fields::of(element, "EventSpec")?;
    let name = pkgd_name(&fields.required(0, "no eventName")?)?;
    let stream = fields.optional(1)?;
    let parameters = fields.required(2, "no eventParList")?;
    fields.end(3)?;
    let mut event = RequestedEvent::new(name);
    event.stream = stream.map(|stream| stream.u16()).transpose()?;
    event.parameters = sequences(&parameters, "eventParList", parameter)?;
    Ok(event)
}

pub(super) fn observed_events_descriptor<'a>(
    element: &Element<'a>,
) -> Result<ObservedEvents<'a>, Failure> {
    let mut fields = Fields::of(element, "ObservedEventsDescriptor")?;
    let request = fields.required(0, "no requestId")?.u32()?;
    let events = fields.required(1, "no observedEventLst")?;
    fields.end(2)?;
    Ok(ObservedEvents {
        request,
        events: sequences(&events, "observedEventLst", observed_event)?,
    })
}

fn observed_event<'a>(element: &Element<'a>) -> Result<ObservedEvent<'a>, Failure> {
    let mut fields = Fields::of(element, "ObservedEvent")?;
    let name = pkgd_name(&fields.required(0, "no eventName")?)?;
    let stream = fields.optional(1)?;
    let parameters = fields.required(2, "no eventParList")?;
    let time = fields.optional(3)?;
    fields.end(4)?;
    Ok(ObservedEvent {
        time: time.as_ref().map(time_notation).transpose()?,
        name,
        stream: stream.map(|stream| stream.u16()).transpose()?,
        parameters: sequences(&parameters, "eventParList", parameter)?,
    })
}

pub(super) fn time_notation(element: &Element<'_>) -> Result<TimeStamp, Failure> {
    let digits = |element: Element<'_>| {
        let octets: [u8; 8] = element.array()?;
        octets.iter().try_fold(0, |number, octet| match octet {
            b'0'..=b'9' => Ok(number * 10 + u32::from(octet - b'0')),
            _ => Err(element.error("other than eight digits")),
        })
    };
    let mut fields = Fields::of(element, "TimeNotation")?;
    let date = digits(fields.required(0, "no date")?)?;
    let time = digits(fields.required(1, "no time")?)?;
    fields.end(2)?;
    Ok(TimeStamp { date, time })
}

pub(super) fn digit_map_descriptor<'a>(element: &Element<'a>) -> Result<DigitMap<'a>, Failure> {
    let mut fields = Fields::of(element, "DigitMapDescriptor")?;
    let name = fields.optional(0)?;
    let value = fields.optional(1)?;
    fields.end(2)?;
    Ok(DigitMap {
        name: name.map(|name| name.octets().map(Octets)).transpose()?,
        value: value.as_ref().map(digit_map_value).transpose()?,
    })
}

fn digit_map_value<'a>(element: &Element<'a>) -> Result<DigitMapValue<'a>, Failure> {
    fn timer(fields: &mut Fields<'_>, number: u32) -> Result<Option<u8>, Failure> {
        fields
            .optional(number)?
            .map(|timer| timer.u8(99))
            .transpose()
    }
    let mut fields = Fields::of(element, "DigitMapValue")?;
    let start = timer(&mut fields, 0)?;
    let short = timer(&mut fields, 1)?;
    let long = timer(&mut fields, 2)?;
    let body = fields.required(3, "no digitMapBody")?.octets()?;
    let duration = timer(&mut fields, 4)?;
    fields.end(5)?;
    Ok(DigitMapValue {
        timers: DigitMapTimers {
            start,
            short,
            long,
            duration,
        },
        body: Octets(body),
    })
}

pub(super) fn signals_descriptor<'a>(
    element: &Element<'a>,
) -> Result<SignalsDescriptor<'a>, Failure> {
    let mut reader = element.children("SignalRequest")?;
    let mut signals = Vec::with_capacity(reader.count());
    while let Some(item) = reader.next()? {
        signals.push(match item.tag.alternative() {
            Some(0) => SignalParameter::Signal(signal(&item)?),
            Some(1) => {
                let mut fields = Fields::of(&item, "SeqSigList")?;
                let id = fields.required(0, "no id")?.u16()?;
                let list = fields.required(1, "no signalList")?;
                fields.end(2)?;
                SignalParameter::List {
                    id,
                    signals: sequences(&list, "signalList", signal)?,
                }
            }
            Some(_) => continue,
            None => return Err(item.error("not a signal")),
        });
    }
    Ok(SignalsDescriptor { signals })
}

fn signal<'a>(element: &Element<'a>) -> Result<Signal<'a>, Failure> {
    let mut fields = Fields::of(element, "Signal")?;
    let name = pkgd_name(&fields.required(0, "no signalName")?)?;
    let stream = fields.optional(1)?;
    let kind = fields.optional(2)?;
    let duration = fields.optional(3)?;
    let completion = fields.optional(4)?;
    let keep_active = fields.optional(5)?;
    let parameters = fields.required(6, "no sigParList")?;
    let direction = fields.optional(7)?;
    let request = fields.optional(8)?;
    let delay = fields.optional(9)?;
    fields.end(10)?;
    let keep_active = keep_active.map(|flag| flag.boolean()).transpose()?;
    Ok(Signal {
        name,
        stream: stream.map(|stream| stream.u16()).transpose()?,
        kind: kind.as_ref().map(signal_type).transpose()?,
        duration: duration.map(|duration| duration.u16()).transpose()?,
        notify_completion: completion.as_ref().map(notify_completion).transpose()?,
        keep_active: keep_active.unwrap_or_default(),
        direction: direction.as_ref().map(signal_direction).transpose()?,
        request: request.map(|request| request.u32()).transpose()?,
        intersignal_delay: delay.map(|delay| delay.u16()).transpose()?,
        parameters: sequences(&parameters, "sigParList", parameter)?,
    })
}

fn signal_type(element: &Element<'_>) -> Result<SignalType, Failure> {
    Ok(match element.u32()? {
        0 => SignalType::Brief,
        1 => SignalType::OnOff,
        2 => SignalType::TimeOut,
        _ => return Err(element.error("an unknown signal type")),
    })
}

fn notify_completion(element: &Element<'_>) -> Result<NotifyCompletion, Failure> {
    let bits = element.bits()?;
    Ok(NotifyCompletion {
        timeout: bits & 1 != 0,
        interrupted_by_event: bits & 2 != 0,
        interrupted_by_signals: bits & 4 != 0,
        other: bits & 8 != 0,
        iteration: bits & 16 != 0,
    })
}

fn signal_direction(element: &Element<'_>) -> Result<SignalDirection, Failure> {
    Ok(match element.u32()? {
        0 => SignalDirection::Internal,
        1 => SignalDirection::External,
        3 => SignalDirection::Both,
        _ => return Err(element.error("an unknown signal direction")),
    })
}
