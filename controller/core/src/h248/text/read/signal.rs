//! Signals.

use super::super::cursor::{Cursor, FEW, Read};
use super::super::token::Token;
use super::name::item_of;
use crate::h248::model::{
    NotifyCompletion, Signal, SignalDirection, SignalParameter, SignalType, SignalsDescriptor,
};

impl<'a> Cursor<'a> {
    /// Annex B `signalsDescriptor`, whose token has been read.
    pub(super) fn signals(&mut self) -> Read<SignalsDescriptor<'a>> {
        let construct = "signalsDescriptor";
        self.skip();
        if self.peek() != Some(b'{') {
            return Ok(SignalsDescriptor::default());
        }
        let mut signals = Vec::with_capacity(FEW);
        self.braced(construct, true, |c| {
            let at = c.at();
            let name = c.name(construct)?;
            if Token::of(name.as_bytes()) != Some(Token::SignalList) {
                signals.push(SignalParameter::Signal(c.signal(name, at)?));
                return Ok(());
            }
            let id = c.equal_number("signalList")?;
            let mut list = Vec::with_capacity(FEW);
            c.braced("signalList", false, |c| {
                let at = c.at();
                let name = c.name("signalList")?;
                list.push(c.signal(name, at)?);
                Ok(())
            })?;
            signals.push(SignalParameter::List { id, signals: list });
            Ok(())
        })?;
        Ok(SignalsDescriptor { signals })
    }

    /// Annex B `signalRequest`, whose name has been read.
    fn signal(&mut self, name: &'a str, at: usize) -> Read<Signal<'a>> {
        let construct = "signalRequest";
        let name = item_of(name).ok_or_else(|| self.error_at(at, construct, "not package/item"))?;
        let mut signal = Signal::new(name);
        self.skip();
        if self.peek() == Some(b'{') {
            self.braced(construct, true, |c| c.signal_parameter(&mut signal))?;
        }
        Ok(signal)
    }

    fn signal_parameter(&mut self, signal: &mut Signal<'a>) -> Read<()> {
        let construct = "sigParameter";
        let at = self.at();
        let name = self.name(construct)?;
        match Token::of(name.as_bytes()) {
            Some(Token::Stream) => signal.stream = Some(self.equal_number(construct)?),
            Some(Token::SignalType) => {
                signal.kind = Some(match self.equal_token(construct)? {
                    Token::OnOff => SignalType::OnOff,
                    Token::TimeOut => SignalType::TimeOut,
                    Token::Brief => SignalType::Brief,
                    _ => return Err(self.error_at(at, construct, "unknown type")),
                });
            }
            Some(Token::Duration) => signal.duration = Some(self.equal_number(construct)?),
            Some(Token::NotifyCompletion) => {
                signal.notify_completion = Some(self.notify_completion()?);
            }
            Some(Token::KeepActive) => signal.keep_active = true,
            Some(Token::Direction) => {
                signal.direction = Some(match self.equal_token(construct)? {
                    Token::Internal => SignalDirection::Internal,
                    Token::External => SignalDirection::External,
                    Token::Both => SignalDirection::Both,
                    _ => return Err(self.error_at(at, construct, "unknown direction")),
                });
            }
            Some(Token::RequestId) => signal.request = Some(self.request_id(construct)?),
            Some(Token::Intersignal) => {
                signal.intersignal_delay = Some(self.equal_number(construct)?);
            }
            _ => {
                let parameter = self.parameter(name, construct)?;
                signal.parameters.push(parameter);
            }
        }
        Ok(())
    }

    fn notify_completion(&mut self) -> Read<NotifyCompletion> {
        let construct = "notifyCompletion";
        let mut told = NotifyCompletion::default();
        self.equal(construct)?;
        self.braced(construct, false, |c| {
            let at = c.at();
            match c.token(construct)? {
                Token::TimeOut => told.timeout = true,
                Token::IntByEvent => told.interrupted_by_event = true,
                Token::IntBySigDescr => told.interrupted_by_signals = true,
                Token::OtherReason => told.other = true,
                Token::Iteration => told.iteration = true,
                _ => return Err(c.error_at(at, construct, "unknown reason")),
            }
            Ok(())
        })?;
        Ok(told)
    }
}
