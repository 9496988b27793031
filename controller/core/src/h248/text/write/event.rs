//! Events, digit maps and signals.

use super::super::token::Token;
use super::output::Output;
use crate::h248::model::{
    DigitMap, Embedded, EventsDescriptor, NotifyBehaviour, NotifyCompletion, ObservedEvents,
    RequestedEvent, Signal, SignalDirection, SignalParameter, SignalType, SignalsDescriptor,
};
use crate::h248::packages::ItemKind;

impl Output {
    pub(super) fn events(&mut self, events: &EventsDescriptor<'_>) {
        self.token(Token::Events);
        let Some(request) = events.request else {
            return;
        };
        self.equal();
        self.request_id(request);
        if events.events.is_empty() {
            return;
        }
        self.open();
        for event in &events.events {
            self.item();
            self.requested_event(event);
        }
        self.close();
    }

    fn request_id(&mut self, request: u32) {
        if request == u32::MAX {
            self.text("*");
        } else {
            self.number(request);
        }
    }

    pub(super) fn requested_event(&mut self, event: &RequestedEvent<'_>) {
        self.item_name(ItemKind::Event, &event.name);
        if *event == RequestedEvent::new(event.name.clone()) {
            return;
        }
        self.open();
        if let Some(stream) = event.stream {
            self.item();
            self.equals_number(Token::Stream, stream.into());
        }
        if event.keep_active {
            self.item();
            self.token(Token::KeepActive);
        }
        match &event.notify {
            None => {}
            Some(NotifyBehaviour::Immediate) => {
                self.item();
                self.token(Token::ImmediateNotify);
            }
            Some(NotifyBehaviour::Never) => {
                self.item();
                self.token(Token::NeverNotify);
            }
            Some(NotifyBehaviour::Regulated(embedded)) => {
                self.item();
                self.token(Token::RegulatedNotify);
                if let Some(embedded) = embedded {
                    self.open();
                    self.item();
                    self.embedded(embedded);
                    self.close();
                }
            }
        }
        if event.reset_events {
            self.item();
            self.token(Token::ResetEventsDescriptor);
        }
        if let Some(map) = &event.digit_map {
            self.item();
            self.digit_map(map);
        }
        if let Some(embedded) = &event.embedded {
            self.item();
            self.embedded(embedded);
        }
        for parameter in &event.parameters {
            self.item();
            self.parameter(parameter);
        }
        self.close();
    }

    fn embedded(&mut self, embedded: &Embedded<'_>) {
        self.token(Token::Embed);
        self.open();
        if let Some(signals) = &embedded.signals {
            self.item();
            self.signals(signals);
        }
        if let Some(events) = &embedded.events {
            self.item();
            self.events(events);
        }
        self.close();
    }

    pub(super) fn digit_map(&mut self, map: &DigitMap<'_>) {
        self.token(Token::DigitMap);
        self.equal();
        if let Some(name) = &map.name {
            self.bytes(name);
        }
        if let Some(value) = &map.value {
            self.text("{");
            let timers = value.timers;
            for (letter, timer) in [
                ("T", timers.start),
                ("S", timers.short),
                ("L", timers.long),
                ("Z", timers.duration),
            ] {
                if let Some(timer) = timer {
                    self.text(&format!("{letter}:{timer},"));
                }
            }
            self.bytes(&value.body);
            self.text("}");
        }
    }

    pub(super) fn observed_events(&mut self, observed: &ObservedEvents<'_>) {
        self.token(Token::ObservedEvents);
        self.equal();
        self.request_id(observed.request);
        self.open();
        for event in &observed.events {
            self.item();
            if let Some(time) = event.time {
                self.text(&format!("{time}:"));
            }
            self.item_name(ItemKind::Event, &event.name);
            if event.stream.is_none() && event.parameters.is_empty() {
                continue;
            }
            self.open();
            if let Some(stream) = event.stream {
                self.item();
                self.equals_number(Token::Stream, stream.into());
            }
            for parameter in &event.parameters {
                self.item();
                self.parameter(parameter);
            }
            self.close();
        }
        self.close();
    }

    /// Without signals the token stands alone: so the syntax as corrected has it, and
    /// Erlang/OTP reads no other; before, empty brackets stood there.
    pub(super) fn signals(&mut self, signals: &SignalsDescriptor<'_>) {
        self.token(Token::Signals);
        if signals.signals.is_empty() {
            return;
        }
        self.open();
        for signal in &signals.signals {
            self.item();
            match signal {
                SignalParameter::Signal(signal) => self.signal(signal),
                SignalParameter::List { id, signals } => {
                    self.equals_number(Token::SignalList, (*id).into());
                    self.open();
                    for signal in signals {
                        self.item();
                        self.signal(signal);
                    }
                    self.close();
                }
            }
        }
        self.close();
    }

    fn signal(&mut self, signal: &Signal<'_>) {
        self.item_name(ItemKind::Signal, &signal.name);
        if *signal == Signal::new(signal.name.clone()) {
            return;
        }
        self.open();
        let numbers = [
            (Token::Stream, signal.stream),
            (Token::Duration, signal.duration),
            (Token::Intersignal, signal.intersignal_delay),
        ];
        for (token, number) in numbers {
            if let Some(number) = number {
                self.item();
                self.equals_number(token, number.into());
            }
        }
        if let Some(kind) = signal.kind {
            self.item();
            self.equals(
                Token::SignalType,
                match kind {
                    SignalType::OnOff => Token::OnOff,
                    SignalType::TimeOut => Token::TimeOut,
                    SignalType::Brief => Token::Brief,
                },
            );
        }
        if let Some(told) = signal.notify_completion {
            self.item();
            self.notify_completion(told);
        }
        if signal.keep_active {
            self.item();
            self.token(Token::KeepActive);
        }
        if let Some(direction) = signal.direction {
            self.item();
            self.equals(
                Token::Direction,
                match direction {
                    SignalDirection::Internal => Token::Internal,
                    SignalDirection::External => Token::External,
                    SignalDirection::Both => Token::Both,
                },
            );
        }
        if let Some(request) = signal.request {
            self.item();
            self.token(Token::RequestId);
            self.equal();
            self.request_id(request);
        }
        for parameter in &signal.parameters {
            self.item();
            self.parameter(parameter);
        }
        self.close();
    }

    fn notify_completion(&mut self, told: NotifyCompletion) {
        self.token(Token::NotifyCompletion);
        self.equal();
        self.open();
        for (token, told) in [
            (Token::TimeOut, told.timeout),
            (Token::IntByEvent, told.interrupted_by_event),
            (Token::IntBySigDescr, told.interrupted_by_signals),
            (Token::OtherReason, told.other),
            (Token::Iteration, told.iteration),
        ] {
            if told {
                self.item();
                self.token(token);
            }
        }
        self.close();
    }
}
