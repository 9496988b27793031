//! Which descriptor it is, and the small ones.

use super::super::cursor::{Cursor, Read};
use super::super::token::Token;
use super::audit::audit_token;
use crate::h248::model::{
    Descriptor, ErrorDescriptor, EventsDescriptor, ModemDescriptor, MuxDescriptor,
    SignalsDescriptor,
};

impl<'a> Cursor<'a> {
    /// A descriptor of a command or reply.
    pub(super) fn descriptor(&mut self, construct: &'static str) -> Read<Descriptor<'a>> {
        let at = self.at();
        let token = self.token(construct)?;
        self.skip();
        let braced = self.peek() == Some(b'{');
        let bare = !braced && !matches!(self.peek(), Some(b'=' | b'['));
        Ok(match token {
            Token::Events if bare => Descriptor::Events(EventsDescriptor::default()),
            Token::Signals if bare => Descriptor::Signals(SignalsDescriptor::default()),
            Token::EventBuffer if bare => Descriptor::EventBuffer(Vec::new()),
            Token::Media if braced => Descriptor::Media(self.media()?),
            Token::Modem if !bare => Descriptor::Modem(self.modem()?),
            Token::Mux if !bare => Descriptor::Mux(self.mux()?),
            Token::Events => Descriptor::Events(self.events()?),
            Token::EventBuffer => Descriptor::EventBuffer(self.event_buffer()?),
            Token::Signals => Descriptor::Signals(self.signals()?),
            Token::Audit => Descriptor::Audit(self.audit_parts("auditDescriptor")?),
            Token::Services => Descriptor::ServiceChange(Box::new(self.service_change()?)),
            Token::DigitMap if !bare => Descriptor::DigitMap(self.digit_map()?),
            Token::Statistics if braced => Descriptor::Statistics(self.statistics()?),
            Token::Packages if braced => Descriptor::Packages(self.packages()?),
            Token::ObservedEvents if !bare => Descriptor::ObservedEvents(self.observed_events()?),
            Token::Error => Descriptor::Error(self.error_parts()?),
            token => match audit_token(token) {
                Some(token) if bare => Descriptor::Empty(token),
                _ => return Err(self.error_at(at, construct, "not a descriptor")),
            },
        })
    }

    /// Annex B `errorDescriptor`, whose token has been read.
    pub(super) fn error_parts(&mut self) -> Read<ErrorDescriptor<'a>> {
        let construct = "errorDescriptor";
        let code = self.equal_number(construct)?;
        self.expect(b'{', construct, "{ is missing")?;
        let text = if self.peek() == Some(b'"') {
            Some(self.quoted(construct)?)
        } else {
            None
        };
        self.skip();
        if self.peek() != Some(b'}') {
            return Err(self.error(construct, "} is missing"));
        }
        self.until(b"}", construct, "} is missing")?;
        Ok(ErrorDescriptor { code, text })
    }

    fn modem(&mut self) -> Read<ModemDescriptor<'a>> {
        let construct = "modemDescriptor";
        let mut modem = ModemDescriptor::default();
        if self.take(b'[') {
            self.items(b']', construct, false, |c| {
                modem.kinds.push(c.word(construct)?.into());
                Ok(())
            })?;
        } else {
            self.equal(construct)?;
            modem.kinds.push(self.word(construct)?.into());
        }
        self.skip();
        if self.peek() == Some(b'{') {
            self.braced(construct, true, |c| {
                let at = c.at();
                let name = c.name(construct)?;
                let property = c.property(name, at, construct)?;
                modem.properties.push(property);
                Ok(())
            })?;
        }
        Ok(modem)
    }

    fn mux(&mut self) -> Read<MuxDescriptor<'a>> {
        let construct = "muxDescriptor";
        self.equal(construct)?;
        Ok(MuxDescriptor {
            kind: self.word(construct)?.into(),
            terminations: self.termination_list()?,
        })
    }
}
