//! Audits, and what only they return.

use std::borrow::Cow;

use super::super::cursor::{Cursor, Read, SEVERAL};
use super::super::token::Token;
use crate::h248::model::{
    AuditItem, AuditToken, Octets, PackageVersion, ParameterName, Selection, Statistic,
};

pub(super) fn audit_token(token: Token) -> Option<AuditToken> {
    Some(match token {
        Token::Mux => AuditToken::Mux,
        Token::Modem => AuditToken::Modem,
        Token::Media => AuditToken::Media,
        Token::Signals => AuditToken::Signals,
        Token::EventBuffer => AuditToken::EventBuffer,
        Token::DigitMap => AuditToken::DigitMap,
        Token::Statistics => AuditToken::Statistics,
        Token::Events => AuditToken::Events,
        Token::ObservedEvents => AuditToken::ObservedEvents,
        Token::Packages => AuditToken::Packages,
        _ => return None,
    })
}

impl<'a> Cursor<'a> {
    /// Annex B `auditItem`, or what version 2 puts there.
    pub(super) fn audit_item(&mut self) -> Read<AuditItem<'a>> {
        let selection = self.selection()?;
        let whole = selection.value.is_none() && selection.parts.is_empty();
        match Token::of(&selection.name).and_then(audit_token) {
            Some(token) if whole => Ok(AuditItem::Whole(token)),
            _ => Ok(AuditItem::Part(selection)),
        }
    }

    /// `{ selection, … }`.
    pub(super) fn selections(&mut self, construct: &'static str) -> Read<Vec<Selection<'a>>> {
        let mut parts = Vec::with_capacity(SEVERAL);
        self.braced(construct, true, |c| {
            parts.push(c.selection()?);
            Ok(())
        })?;
        Ok(parts)
    }

    fn selection(&mut self) -> Read<Selection<'a>> {
        let construct = "indAudterminationAudit";
        let name = Octets::from(self.word(construct)?);
        let value = if self.has_value() {
            Some(self.parameter_value(construct)?)
        } else {
            None
        };
        self.skip();
        let parts = if self.peek() == Some(b'{') {
            self.selections(construct)?
        } else {
            Vec::new()
        };
        Ok(Selection { name, value, parts })
    }

    /// `{ name-version, … }`.
    pub(super) fn packages(&mut self) -> Read<Vec<PackageVersion<'a>>> {
        let construct = "packagesDescriptor";
        let mut packages = Vec::with_capacity(SEVERAL);
        self.braced(construct, true, |c| {
            let at = c.at();
            let name = c.name(construct)?;
            let (name, version) = name
                .rsplit_once('-')
                .and_then(|(name, version)| Some((name, version.parse().ok()?)))
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| c.error_at(at, construct, "not package-version"))?;
            packages.push(PackageVersion {
                name: ParameterName::Text(Cow::Borrowed(name)),
                version,
            });
            Ok(())
        })?;
        Ok(packages)
    }

    /// `{ statistic = value, … }`; nothing at all where they are asked for.
    pub(super) fn statistics(&mut self) -> Read<Vec<Statistic<'a>>> {
        let construct = "statisticsDescriptor";
        self.skip();
        if self.peek() != Some(b'{') {
            return Ok(Vec::new());
        }
        let mut statistics = Vec::with_capacity(SEVERAL);
        self.braced(construct, true, |c| {
            let name = c.item_name(construct)?;
            let value = if c.has_value() {
                Some(c.parameter_value(construct)?)
            } else {
                None
            };
            statistics.push(Statistic { name, value });
            Ok(())
        })?;
        Ok(statistics)
    }
}
