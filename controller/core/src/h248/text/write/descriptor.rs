//! Descriptors, apart from media, events and signals.

use super::super::token::Token;
use super::output::Output;
use crate::h248::model::{
    AuditItem, AuditToken, Descriptor, ErrorDescriptor, PackageVersion, Selection,
    ServiceChangeAddress, ServiceChangeDescriptor, ServiceChangeMethod, Statistic,
};
use crate::h248::packages::ItemKind;

fn token(audited: AuditToken) -> Token {
    match audited {
        AuditToken::Mux => Token::Mux,
        AuditToken::Modem => Token::Modem,
        AuditToken::Media => Token::Media,
        AuditToken::Signals => Token::Signals,
        AuditToken::EventBuffer => Token::EventBuffer,
        AuditToken::DigitMap => Token::DigitMap,
        AuditToken::Statistics => Token::Statistics,
        AuditToken::Events => Token::Events,
        AuditToken::ObservedEvents => Token::ObservedEvents,
        AuditToken::Packages => Token::Packages,
    }
}

impl Output {
    pub(super) fn descriptor(&mut self, descriptor: &Descriptor<'_>) {
        match descriptor {
            Descriptor::Media(media) => self.media(media),
            Descriptor::Modem(modem) => {
                self.token(Token::Modem);
                self.text("[");
                for (index, kind) in modem.kinds.iter().enumerate() {
                    if index > 0 {
                        self.text(",");
                    }
                    self.bytes(kind);
                }
                self.text("]");
                if !modem.properties.is_empty() {
                    self.open();
                    for property in &modem.properties {
                        self.item();
                        self.property(property);
                    }
                    self.close();
                }
            }
            Descriptor::Mux(mux) => {
                self.token(Token::Mux);
                self.equal();
                self.bytes(&mux.kind);
                self.open();
                for termination in &mux.terminations {
                    self.item();
                    self.termination(termination);
                }
                self.close();
            }
            Descriptor::Events(events) => self.events(events),
            Descriptor::EventBuffer(events) => {
                self.token(Token::EventBuffer);
                if !events.is_empty() {
                    self.open();
                    for event in events {
                        self.item();
                        self.requested_event(event);
                    }
                    self.close();
                }
            }
            Descriptor::Signals(signals) => self.signals(signals),
            Descriptor::Audit(audit) => self.audit(&audit.items),
            Descriptor::ServiceChange(change) => self.service_change(change),
            Descriptor::DigitMap(map) => self.digit_map(map),
            Descriptor::Statistics(statistics) => self.statistics(statistics),
            Descriptor::Packages(packages) => self.packages(packages),
            Descriptor::ObservedEvents(observed) => self.observed_events(observed),
            Descriptor::Error(error) => self.error(error),
            Descriptor::Empty(audited) => self.token(token(*audited)),
        }
    }

    pub(super) fn error(&mut self, error: &ErrorDescriptor<'_>) {
        self.equals_number(Token::Error, error.code.into());
        self.text(if error.text.is_some() { "{" } else { "{}" });
        if let Some(text) = &error.text {
            self.quoted(text);
            self.text("}");
        }
    }

    pub(super) fn audit(&mut self, items: &[AuditItem<'_>]) {
        self.token(Token::Audit);
        self.open();
        for item in items {
            self.item();
            match item {
                AuditItem::Whole(audited) => self.token(token(*audited)),
                AuditItem::Part(selection) => self.selection(selection),
            }
        }
        self.close();
    }

    pub(super) fn selections(&mut self, selections: &[Selection<'_>]) {
        self.open();
        for selection in selections {
            self.item();
            self.selection(selection);
        }
        self.close();
    }

    fn selection(&mut self, selection: &Selection<'_>) {
        self.bytes(&selection.name);
        if let Some(value) = &selection.value {
            self.parameter_value(value);
        }
        if !selection.parts.is_empty() {
            self.selections(&selection.parts);
        }
    }

    /// Of a command, or of a stream (version 3).
    pub(super) fn statistics(&mut self, statistics: &[Statistic<'_>]) {
        self.token(Token::Statistics);
        if statistics.is_empty() {
            return;
        }
        self.open();
        for statistic in statistics {
            self.item();
            self.item_name(ItemKind::Statistic, &statistic.name);
            if let Some(value) = &statistic.value {
                self.parameter_value(value);
            }
        }
        self.close();
    }

    fn packages(&mut self, packages: &[PackageVersion<'_>]) {
        self.token(Token::Packages);
        if packages.is_empty() {
            return;
        }
        self.open();
        for package in packages {
            self.item();
            self.parameter_name(&package.name);
            self.text("-");
            self.number(package.version.into());
        }
        self.close();
    }

    fn service_change(&mut self, change: &ServiceChangeDescriptor<'_>) {
        self.token(Token::Services);
        self.open();
        if let Some(method) = &change.method {
            self.item();
            self.token(Token::Method);
            self.equal();
            match method {
                ServiceChangeMethod::Graceful => self.token(Token::Graceful),
                ServiceChangeMethod::Forced => self.token(Token::Forced),
                ServiceChangeMethod::Restart => self.token(Token::Restart),
                ServiceChangeMethod::Disconnected => self.token(Token::Disconnected),
                ServiceChangeMethod::Handoff => self.token(Token::HandOff),
                ServiceChangeMethod::Failover => self.token(Token::Failover),
                ServiceChangeMethod::Other(name) => self.text(name),
            }
        }
        if let Some(address) = &change.address {
            self.item();
            self.token(Token::ServiceChangeAddress);
            self.equal();
            match address {
                ServiceChangeAddress::Port(port) => self.number((*port).into()),
                ServiceChangeAddress::Mid(mid) => self.mid(mid),
            }
        }
        match change.reason.as_slice() {
            [] => {}
            [reason] => {
                self.item();
                self.token(Token::Reason);
                self.equal();
                // Nearly all have blanks; those without are quoted like them.
                self.quoted(reason);
            }
            reasons => {
                self.item();
                self.token(Token::Reason);
                self.parameter_value(&crate::h248::model::Value::AllOf(reasons.to_vec()));
            }
        }
        if let Some(delay) = change.delay {
            self.item();
            self.equals_number(Token::Delay, delay);
        }
        if let Some(profile) = &change.profile {
            self.item();
            self.token(Token::Profile);
            self.equal();
            self.text(&format!("{}/{}", profile.name, profile.version));
        }
        if let Some(time) = change.time {
            self.item();
            self.text(&time.to_string());
        }
        if let Some(mgc) = &change.mgc_id {
            self.item();
            self.token(Token::MgcIdToTry);
            self.equal();
            self.mid(mgc);
        }
        if let Some(version) = change.version {
            self.item();
            self.equals_number(Token::Version, version.into());
        }
        if let Some(info) = &change.info {
            self.item();
            self.audit(&info.items);
        }
        if change.incomplete {
            self.item();
            self.token(Token::ServiceChangeInc);
        }
        for extension in &change.extensions {
            self.item();
            self.parameter(extension);
        }
        self.close();
    }
}
