//! Events and digit maps.

use super::super::cursor::{Cursor, FEW, Read};
use super::super::token::Token;
use crate::digits::number;
use crate::h248::model::{
    DigitMap, DigitMapTimers, DigitMapValue, Embedded, EventsDescriptor, NotifyBehaviour,
    ObservedEvent, ObservedEvents, Octets, RequestedEvent, TimeStamp,
};

impl<'a> Cursor<'a> {
    /// Annex B `eventsDescriptor`, whose token has been read.
    pub(super) fn events(&mut self) -> Read<EventsDescriptor<'a>> {
        let construct = "eventsDescriptor";
        let request = Some(self.request_id(construct)?);
        let mut events = Vec::new();
        self.skip();
        if self.peek() == Some(b'{') {
            events = Vec::with_capacity(FEW);
            self.braced(construct, true, |c| {
                events.push(c.requested_event()?);
                Ok(())
            })?;
        }
        Ok(EventsDescriptor { request, events })
    }

    /// `= RequestID`; `*`, as of an audit, is 2³² − 1 (Annex A).
    pub(super) fn request_id(&mut self, construct: &'static str) -> Read<u32> {
        self.equal(construct)?;
        if self.peek() == Some(b'*') {
            self.word(construct)?;
            return Ok(u32::MAX);
        }
        self.number(construct)
    }

    /// Annex B `eventBufferDescriptor`, whose token has been read.
    pub(super) fn event_buffer(&mut self) -> Read<Vec<RequestedEvent<'a>>> {
        let mut events = Vec::with_capacity(FEW);
        self.braced("eventBufferDescriptor", true, |c| {
            events.push(c.requested_event()?);
            Ok(())
        })?;
        Ok(events)
    }

    fn requested_event(&mut self) -> Read<RequestedEvent<'a>> {
        let construct = "requestedEvent";
        let mut event = RequestedEvent::new(self.item_name(construct)?);
        self.skip();
        if self.peek() == Some(b'{') {
            self.braced(construct, true, |c| c.event_parameter(&mut event))?;
        }
        Ok(event)
    }

    fn event_parameter(&mut self, event: &mut RequestedEvent<'a>) -> Read<()> {
        let construct = "eventParameter";
        let name = self.name(construct)?;
        match Token::of(name.as_bytes()) {
            Some(Token::KeepActive) => event.keep_active = true,
            Some(Token::Embed) => event.embedded = Some(Box::new(self.embedded()?)),
            Some(Token::DigitMap) => event.digit_map = Some(self.digit_map()?),
            Some(Token::Stream) => event.stream = Some(self.equal_number(construct)?),
            Some(Token::ImmediateNotify) => event.notify = Some(NotifyBehaviour::Immediate),
            Some(Token::NeverNotify) => event.notify = Some(NotifyBehaviour::Never),
            Some(Token::RegulatedNotify) => {
                self.skip();
                let embedded = if self.peek() == Some(b'{') {
                    Some(Box::new(self.regulated()?))
                } else {
                    None
                };
                event.notify = Some(NotifyBehaviour::Regulated(embedded));
            }
            Some(Token::ResetEventsDescriptor) => event.reset_events = true,
            _ => {
                let parameter = self.parameter(name, construct)?;
                event.parameters.push(parameter);
            }
        }
        Ok(())
    }

    /// Annex B `embedWithSig`, `embedNoSig`, whose token has been read.
    fn embedded(&mut self) -> Read<Embedded<'a>> {
        let construct = "embedWithSig";
        let mut embedded = Embedded::default();
        self.braced(construct, false, |c| {
            let at = c.at();
            match c.token(construct)? {
                Token::Signals => embedded.signals = Some(c.signals()?),
                Token::Events if c.has_value() => embedded.events = Some(c.events()?),
                Token::Events => embedded.events = Some(EventsDescriptor::default()),
                _ => return Err(c.error_at(at, construct, "neither Signals nor Events")),
            }
            Ok(())
        })?;
        Ok(embedded)
    }

    /// `{Embed{…}}` after RegulatedNotify.
    fn regulated(&mut self) -> Read<Embedded<'a>> {
        let construct = "notifyRegulated";
        let mut embedded = Embedded::default();
        self.braced(construct, false, |c| {
            let at = c.at();
            if c.token(construct)? != Token::Embed {
                return Err(c.error_at(at, construct, "Embed is missing"));
            }
            embedded = c.embedded()?;
            Ok(())
        })?;
        Ok(embedded)
    }

    /// Annex B `digitMapDescriptor` or `eventDM`, whose token has been read.
    pub(super) fn digit_map(&mut self) -> Read<DigitMap<'a>> {
        let construct = "digitMapDescriptor";
        let mut map = DigitMap::default();
        // In events Erlang/OTP writes a value without the equal sign.
        self.skip();
        if self.peek() != Some(b'{') {
            self.equal(construct)?;
        }
        if self.peek() != Some(b'{') {
            map.name = Some(self.word(construct)?.into());
            self.skip();
        }
        if self.peek() == Some(b'{') {
            self.take(b'{');
            map.value = Some(self.digit_map_value()?);
        }
        Ok(map)
    }

    /// Annex B `digitMapValue`, after its brace.
    fn digit_map_value(&mut self) -> Read<DigitMapValue<'a>> {
        let construct = "digitMapValue";
        let at = self.at();
        let (octets, _) = self.octet_string(construct)?;
        let mut rest = match &octets.0 {
            std::borrow::Cow::Borrowed(rest) => rest.trim_ascii(),
            std::borrow::Cow::Owned(_) => &[],
        };
        let mut timers = DigitMapTimers::default();
        while let [letter, after @ ..] = rest {
            let Some(after) = after.trim_ascii_start().strip_prefix(b":") else {
                break;
            };
            let wrong = || self.error_at(at, construct, "a timer is not 0 to 99");
            let comma = after.iter().position(|&b| b == b',').ok_or_else(wrong)?;
            let (value, after) = after.split_at(comma);
            let value = number(value.trim_ascii()).filter(|&value: &u8| value <= 99);
            let value = Some(value.ok_or_else(wrong)?);
            match letter.to_ascii_uppercase() {
                b'T' => timers.start = value,
                b'S' => timers.short = value,
                b'L' => timers.long = value,
                b'Z' => timers.duration = value,
                _ => return Err(self.error_at(at, construct, "unknown timer")),
            }
            rest = after.strip_prefix(b",").unwrap_or(after).trim_ascii();
        }
        Ok(DigitMapValue {
            timers,
            body: Octets::from(rest),
        })
    }

    /// Annex B `observedEventsDescriptor`, whose token has been read.
    pub(super) fn observed_events(&mut self) -> Read<ObservedEvents<'a>> {
        let construct = "observedEventsDescriptor";
        let request = self.request_id(construct)?;
        let mut events = Vec::with_capacity(FEW);
        self.braced(construct, false, |c| {
            events.push(c.observed_event()?);
            Ok(())
        })?;
        Ok(ObservedEvents { request, events })
    }

    fn observed_event(&mut self) -> Read<ObservedEvent<'a>> {
        let construct = "observedEvent";
        let at = self.at();
        let word = self.name(construct)?;
        let time = if self.take(b':') {
            let time =
                time_stamp(word).ok_or_else(|| self.error_at(at, construct, "not a time stamp"))?;
            Some(time)
        } else {
            None
        };
        let name = match time {
            Some(_) => self.item_name(construct)?,
            None => super::name::item_of(word)
                .ok_or_else(|| self.error_at(at, construct, "not package/item"))?,
        };
        let mut event = ObservedEvent {
            time,
            name,
            stream: None,
            parameters: Vec::new(),
        };
        self.skip();
        if self.peek() == Some(b'{') {
            self.braced(construct, true, |c| {
                let name = c.name(construct)?;
                if Token::of(name.as_bytes()) == Some(Token::Stream) {
                    event.stream = Some(c.equal_number(construct)?);
                } else {
                    let parameter = c.parameter(name, construct)?;
                    event.parameters.push(parameter);
                }
                Ok(())
            })?;
        }
        Ok(event)
    }
}

/// `yyyymmddThhmmssss`.
pub(super) fn time_stamp(word: &str) -> Option<TimeStamp> {
    let (date, time) = word.split_once(['T', 't'])?;
    if date.len() != 8 || time.len() != 8 {
        return None;
    }
    Some(TimeStamp {
        date: number(date.as_bytes())?,
        time: number(time.as_bytes())?,
    })
}
