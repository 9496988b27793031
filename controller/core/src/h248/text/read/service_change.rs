//! ServiceChange.

use std::borrow::Cow;

use super::super::cursor::{Cursor, Read};
use super::super::token::Token;
use super::event::time_stamp;
use super::name::text_of;
use crate::h248::model::{
    Mid, ServiceChangeAddress, ServiceChangeDescriptor, ServiceChangeMethod, ServiceChangeProfile,
};

impl<'a> Cursor<'a> {
    /// Annex B `serviceChangeDescriptor` and `serviceChangeReplyDescriptor`, whose
    /// token has been read.
    pub(super) fn service_change(&mut self) -> Read<ServiceChangeDescriptor<'a>> {
        let mut change = ServiceChangeDescriptor::default();
        self.braced("serviceChangeDescriptor", true, |c| {
            c.service_change_parameter(&mut change)
        })?;
        Ok(change)
    }

    fn service_change_parameter(&mut self, change: &mut ServiceChangeDescriptor<'a>) -> Read<()> {
        let construct = "serviceChangeParm";
        let at = self.at();
        let name = self.name(construct)?;
        match Token::of(name.as_bytes()) {
            Some(Token::Method) => change.method = Some(self.service_change_method()?),
            Some(Token::Reason) => {
                self.equal(construct)?;
                if self.take(b'[') {
                    self.items(b']', construct, false, |c| {
                        change.reason.push(c.value(construct)?);
                        Ok(())
                    })?;
                } else {
                    change.reason.push(self.value(construct)?);
                }
            }
            Some(Token::Delay) => change.delay = Some(self.equal_number(construct)?),
            Some(Token::ServiceChangeAddress) => {
                self.equal(construct)?;
                change.address = Some(match self.mid()? {
                    Mid::Device(name) => match name.parse() {
                        Ok(port) => ServiceChangeAddress::Port(port),
                        Err(_) => ServiceChangeAddress::Mid(Mid::Device(name)),
                    },
                    mid => ServiceChangeAddress::Mid(mid),
                });
            }
            Some(Token::MgcIdToTry) => {
                self.equal(construct)?;
                change.mgc_id = Some(self.mid()?);
            }
            Some(Token::Profile) => change.profile = Some(self.service_change_profile()?),
            Some(Token::Version) => change.version = Some(self.equal_number(construct)?),
            Some(Token::ServiceChangeInc) => change.incomplete = true,
            Some(Token::Audit) => change.info = Some(self.audit_parts(construct)?),
            _ => {
                if let Some(time) = time_stamp(name) {
                    change.time = Some(time);
                } else if self.has_value() {
                    let extension = self.parameter(name, construct)?;
                    change.extensions.push(extension);
                } else {
                    return Err(self.error_at(at, construct, "unknown parameter"));
                }
            }
        }
        Ok(())
    }

    fn service_change_method(&mut self) -> Read<ServiceChangeMethod<'a>> {
        let construct = "serviceChangeMethod";
        self.equal(construct)?;
        let word = self.value(construct)?;
        Ok(match Token::of(&word) {
            Some(Token::Graceful) => ServiceChangeMethod::Graceful,
            Some(Token::Forced) => ServiceChangeMethod::Forced,
            Some(Token::Restart) => ServiceChangeMethod::Restart,
            Some(Token::Disconnected) => ServiceChangeMethod::Disconnected,
            Some(Token::HandOff) => ServiceChangeMethod::Handoff,
            Some(Token::Failover) => ServiceChangeMethod::Failover,
            _ => ServiceChangeMethod::Other(text_of(&word)),
        })
    }

    fn service_change_profile(&mut self) -> Read<ServiceChangeProfile<'a>> {
        let construct = "serviceChangeProfile";
        self.equal(construct)?;
        let at = self.at();
        let profile = self.name(construct)?;
        profile
            .rsplit_once('/')
            .and_then(|(name, version)| {
                Some(ServiceChangeProfile {
                    name: Cow::Borrowed(name),
                    version: version.parse().ok()?,
                })
            })
            .ok_or_else(|| self.error_at(at, construct, "not name/version"))
    }
}
