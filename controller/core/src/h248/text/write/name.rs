//! Names and values.

use std::net::IpAddr;

use super::output::Output;
use crate::h248::model::{
    ItemName, Mid, Octets, Parameter, ParameterName, Property, TerminationId, Value,
};
use crate::h248::packages::{self, ItemKind};

impl Output {
    pub(super) fn mid(&mut self, mid: &Mid<'_>) {
        match mid {
            Mid::Ip { address, port } => {
                match address {
                    IpAddr::V4(address) => self.text(&format!("[{address}]")),
                    IpAddr::V6(address) => self.text(&format!("[{address}]")),
                }
                self.port(*port);
            }
            Mid::Domain { name, port } => {
                self.text(&format!("<{name}>"));
                self.port(*port);
            }
            Mid::Device(name) => self.text(name),
            Mid::Mtp { address, digits } => {
                self.text(&format!(
                    "MTP{{{address:0width$X}}}",
                    width = usize::from(*digits)
                ));
            }
        }
    }

    fn port(&mut self, port: Option<u16>) {
        if let Some(port) = port {
            self.text(&format!(":{port}"));
        }
    }

    pub(super) fn termination(&mut self, termination: &TerminationId<'_>) {
        self.text(&termination.to_string());
    }

    /// `= TerminationID`, or of several in brackets.
    pub(super) fn equal_terminations(&mut self, terminations: &[TerminationId<'_>]) {
        self.equal();
        if let [termination] = terminations {
            return self.termination(termination);
        }
        self.text("[");
        for (index, termination) in terminations.iter().enumerate() {
            if index > 0 {
                self.text(",");
            }
            self.termination(termination);
        }
        self.text("]");
    }

    pub(super) fn item_name(&mut self, kind: ItemKind, name: &ItemName<'_>) {
        let name = packages::text_of(kind, name).unwrap_or_else(|| name.clone().into_owned());
        self.text(&name.to_string());
    }

    /// Annex B `parmValue`.
    pub(super) fn parameter_value(&mut self, value: &Value<'_>) {
        match value {
            Value::Equal(value) => {
                self.equal();
                self.value(value);
            }
            Value::Less(value) => self.relation("<", value),
            Value::Greater(value) => self.relation(">", value),
            Value::NotEqual(value) => self.relation("#", value),
            Value::AnyOf(values) => self.values("{", values, "}"),
            Value::AllOf(values) => self.values("[", values, "]"),
            Value::Between(first, last) => {
                self.equal();
                self.text("[");
                self.value(first);
                self.text(":");
                self.value(last);
                self.text("]");
            }
        }
    }

    fn relation(&mut self, relation: &str, value: &Octets<'_>) {
        self.text(relation);
        self.value(value);
    }

    fn values(&mut self, open: &str, values: &[Octets<'_>], close: &str) {
        self.equal();
        self.text(open);
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.text(",");
            }
            self.value(value);
        }
        self.text(close);
    }

    pub(super) fn property(&mut self, property: &Property<'_>) {
        self.item_name(ItemKind::Property, &property.name);
        self.parameter_value(&property.value);
    }

    pub(super) fn parameter(&mut self, parameter: &Parameter<'_>) {
        self.parameter_name(&parameter.name);
        self.parameter_value(&parameter.value);
    }

    pub(super) fn parameter_name(&mut self, name: &ParameterName<'_>) {
        match name {
            ParameterName::Text(name) => self.text(name),
            ParameterName::Number(number) => match packages::by_number(*number) {
                Some(package) => self.text(package.name),
                None => self.text(&name.to_string()),
            },
        }
    }
}
