//! Message identifiers, contexts, terminations, package items.

use std::borrow::Cow;
use std::net::IpAddr;

use super::super::cursor::{Cursor, Read, SEVERAL};
use crate::digits::number;
use crate::h248::model::{ContextId, ItemName, Mid, Octets, Span, TerminationId};

impl<'a> Cursor<'a> {
    /// Annex B `mId`.
    pub(super) fn mid(&mut self) -> Read<Mid<'a>> {
        let construct = "mId";
        let start = self.at();
        match self.peek() {
            Some(b'[') => {
                self.take(b'[');
                let host = self.until(b"]", construct, "] is missing")?;
                let address = std::str::from_utf8(&host)
                    .ok()
                    .and_then(|host| {
                        let address = host.parse::<IpAddr>();
                        address.or_else(|_| host.trim().parse()).ok()
                    })
                    .ok_or_else(|| self.error_at(start, construct, "not an IP address"))?;
                let port = self.port()?;
                Ok(Mid::Ip { address, port })
            }
            Some(b'<') => {
                self.take(b'<');
                let name = self.name(construct)?;
                self.skip();
                if self.peek() != Some(b'>') {
                    return Err(self.error(construct, "> is missing"));
                }
                self.until(b">", construct, "> is missing")?;
                let port = self.port()?;
                Ok(Mid::Domain {
                    name: Cow::Borrowed(name),
                    port,
                })
            }
            _ => {
                let name = self.name(construct)?;
                if name.eq_ignore_ascii_case("MTP") && self.take(b'{') {
                    return self.mtp(start);
                }
                Ok(Mid::Device(Cow::Borrowed(name)))
            }
        }
    }

    /// `MTP{…}`, after its brace.
    fn mtp(&mut self, start: usize) -> Read<Mid<'a>> {
        let construct = "mtpAddress";
        let digits = self.name(construct)?;
        self.skip();
        if self.peek() != Some(b'}') {
            return Err(self.error(construct, "} is missing"));
        }
        self.until(b"}", construct, "} is missing")?;
        let address = u32::from_str_radix(digits, 16).ok();
        let length = u8::try_from(digits.len()).ok();
        match (address, length) {
            (Some(address), Some(digits @ 4..=8)) => Ok(Mid::Mtp { address, digits }),
            _ => Err(self.error_at(start, construct, "not 4 to 8 hexadecimal digits")),
        }
    }

    /// `: port`, if there is one.
    fn port(&mut self) -> Read<Option<u16>> {
        if self.peek() != Some(b':') {
            return Ok(None);
        }
        self.take(b':');
        self.number("portNumber").map(Some)
    }

    /// Annex B `ContextID`, and where it stands.
    pub(super) fn context_id(&mut self) -> Read<(ContextId, Span)> {
        let construct = "ContextID";
        let start = self.at();
        let context = match self.word(construct)? {
            b"-" => ContextId::NULL,
            b"$" => ContextId::CHOOSE,
            b"*" => ContextId::ALL,
            digits => number(digits)
                .map(ContextId)
                .ok_or_else(|| self.error_at(start, construct, "not a context id"))?,
        };
        Ok((context, self.since(start)))
    }

    /// Annex B `TerminationID`.
    pub(super) fn termination_id(&mut self) -> Read<TerminationId<'a>> {
        Ok(match self.name("TerminationID")? {
            "$" => TerminationId::Choose,
            "*" => TerminationId::All,
            name if name.eq_ignore_ascii_case("ROOT") => TerminationId::Root,
            name => TerminationId::Path(Cow::Borrowed(name)),
        })
    }

    /// `= TerminationID`, or in version 3 `= [TerminationID, …]`.
    pub(super) fn termination_ids(&mut self) -> Read<Vec<TerminationId<'a>>> {
        self.equal("TerminationID")?;
        if !self.take(b'[') {
            return Ok(vec![self.termination_id()?]);
        }
        let mut terminations = Vec::with_capacity(SEVERAL);
        self.items(b']', "termIDList", false, |c| {
            terminations.push(c.termination_id()?);
            Ok(())
        })?;
        Ok(terminations)
    }

    /// `{TerminationID, …}`.
    pub(super) fn termination_list(&mut self) -> Read<Vec<TerminationId<'a>>> {
        let mut terminations = Vec::with_capacity(SEVERAL);
        self.braced("terminationIDList", false, |c| {
            terminations.push(c.termination_id()?);
            Ok(())
        })?;
        Ok(terminations)
    }

    /// Annex B `pkgdName`.
    pub(super) fn item_name(&mut self, construct: &'static str) -> Read<ItemName<'a>> {
        let at = self.at();
        let name = self.name(construct)?;
        item_of(name).ok_or_else(|| self.error_at(at, construct, "not package/item"))
    }
}

/// `package/item`, if `name` is one.
pub(super) fn item_of(name: &str) -> Option<ItemName<'_>> {
    let (package, item) = name.split_once('/')?;
    (!package.is_empty() && !item.is_empty()).then_some(ItemName::text(package, item))
}

/// Octets that were read as a word, as text.
pub(super) fn text_of<'a>(octets: &Octets<'a>) -> Cow<'a, str> {
    match &octets.0 {
        Cow::Borrowed(octets) => String::from_utf8_lossy(octets),
        Cow::Owned(octets) => Cow::Owned(String::from_utf8_lossy(octets).into_owned()),
    }
}
