//! From the model to BER, type by type of H.248.1 Annex A: the reader's mirror.
//!
//! Names become numbers where they are not already (Annex E); session descriptions
//! become groups of properties (Annex C.11), each value of the form asked for; every
//! other value is written as the octets that it is.

mod audit;
mod command;
mod event;
mod media;
mod message;
mod service_change;

use std::net::IpAddr;

use super::ValueForm;
use super::ber::Tag;
use super::writer::Writer;
use crate::h248::model::{
    ErrorDescriptor, ItemName, Message, Mid, Octets, Parameter, ParameterName, Property,
    TerminationId, TimeStamp, Value,
};
use crate::h248::packages::{ItemKind, number_of};

/// Why a message has no binary form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{construct} has no binary form: {what}")]
pub struct WriteError {
    /// Type of Annex A that was being written.
    pub construct: &'static str,
    /// Why; a text that does not vary with the message.
    pub what: &'static str,
}

type Written = Result<(), WriteError>;

fn refuse<T>(construct: &'static str, what: &'static str) -> Result<T, WriteError> {
    Err(WriteError { construct, what })
}

/// A message's octets.
pub(super) fn message(message: &Message<'_>, form: ValueForm) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::of_values(form);
    message::megaco_message(&mut writer, message)?;
    Ok(writer.finish())
}

const fn tag(number: u32) -> Tag {
    Tag::context(number)
}

fn text(w: &mut Writer, number: u32, text: &str) {
    w.primitive(tag(number), text.as_bytes());
}

fn optional_u16(w: &mut Writer, number: u32, value: Option<u16>) {
    if let Some(value) = value {
        w.unsigned(tag(number), value);
    }
}

fn optional_u32(w: &mut Writer, number: u32, value: Option<u32>) {
    if let Some(value) = value {
        w.unsigned(tag(number), value);
    }
}

fn optional_boolean(w: &mut Writer, number: u32, value: Option<bool>) {
    if let Some(value) = value {
        w.boolean(tag(number), value);
    }
}

/// `[number] SEQUENCE OF`, of SEQUENCEs that `each` fills.
fn sequences<T>(
    w: &mut Writer,
    number: u32,
    all: &[T],
    each: impl Fn(&mut Writer, &T) -> Written,
) -> Written {
    w.try_constructed(tag(number), |w| elements(w, all, each))
}

/// SEQUENCEs that `each` fills.
fn elements<T>(w: &mut Writer, all: &[T], each: impl Fn(&mut Writer, &T) -> Written) -> Written {
    all.iter()
        .try_for_each(|item| w.try_constructed(Tag::SEQUENCE, |w| each(w, item)))
}

/// MId, numbered from `first`.
fn m_id(w: &mut Writer, first: u32, mid: &Mid<'_>) -> Written {
    match mid {
        Mid::Ip { address, port } => {
            let (number, octets) = match address {
                IpAddr::V4(address) => (first, address.octets().to_vec()),
                IpAddr::V6(address) => (first + 1, address.octets().to_vec()),
            };
            w.constructed(tag(number), |w| {
                w.primitive(tag(0), &octets);
                optional_u16(w, 1, *port);
            });
        }
        Mid::Domain { name, port } => w.constructed(tag(first + 2), |w| {
            text(w, 0, name);
            optional_u16(w, 1, *port);
        }),
        Mid::Device(name) => text(w, first + 3, name),
        Mid::Mtp { address, digits } => {
            let octets = address.to_be_bytes();
            let skip = 4usize.saturating_sub(usize::from(*digits).div_ceil(2).max(2));
            w.primitive(tag(first + 4), octets.get(skip..).unwrap_or_default());
        }
    }
    Ok(())
}

/// What a TerminationID holds.
fn termination_id(w: &mut Writer, id: &TerminationId<'_>) -> Written {
    // As many octets as Erlang/OTP's default has, all of them wildcarded
    // (Annex A.1: bit 8 for ALL, bit 7 for this level and those below, 23 for the
    // first of 24 bits).
    const UNSTRUCTURED: &[u8] = &[0; 3];
    const FIRST_AND_BELOW: u8 = 0x40 | 23;
    let (wildcards, id): (&[u8], &[u8]) = match id {
        TerminationId::Root => (&[], &[0xff; 8]),
        TerminationId::Choose => (&[FIRST_AND_BELOW], UNSTRUCTURED),
        TerminationId::All => (&[0x80 | FIRST_AND_BELOW], UNSTRUCTURED),
        TerminationId::Octets { wildcards, id } => (wildcards, id),
        TerminationId::Path(path) if path.contains(['*', '$']) => {
            return refuse("TerminationID", "a wildcard within a path");
        }
        TerminationId::Path(path) => (&[], path.as_bytes()),
    };
    if !(1..=8).contains(&id.len()) {
        return refuse("TerminationID", "an id of other than 1 to 8 octets");
    }
    w.constructed(tag(0), |w| {
        for wildcard in wildcards {
            w.primitive(Tag::OCTETS, &[*wildcard]);
        }
    });
    w.primitive(tag(1), id);
    Ok(())
}

fn item_octets(
    construct: &'static str,
    kind: ItemKind,
    name: &ItemName<'_>,
) -> Result<[u8; 4], WriteError> {
    let Some((package, item)) = number_of(kind, name) else {
        return refuse(construct, "a name of no known number");
    };
    let ([a, b], [c, d]) = (package.to_be_bytes(), item.to_be_bytes());
    Ok([a, b, c, d])
}

fn pkgd_name(
    w: &mut Writer,
    construct: &'static str,
    kind: ItemKind,
    name: &ItemName<'_>,
) -> Written {
    w.primitive(tag(0), &item_octets(construct, kind, name)?);
    Ok(())
}

fn octet_strings(w: &mut Writer, number: u32, values: &[&Octets<'_>]) {
    w.constructed(tag(number), |w| {
        for value in values {
            w.primitive(Tag::OCTETS, value);
        }
    });
}

/// Components 1 and 2 of a property or parameter.
fn value_and_extra_info(w: &mut Writer, value: &Value<'_>) {
    let (values, relation): (Vec<_>, _) = match value {
        Value::Equal(value) => (vec![value], None),
        Value::Greater(value) => (vec![value], Some((0, 0))),
        Value::Less(value) => (vec![value], Some((0, 1))),
        Value::NotEqual(value) => (vec![value], Some((0, 2))),
        Value::Between(from, to) => (vec![from, to], Some((1, 0xff))),
        Value::AllOf(values) => (values.iter().collect(), Some((2, 0xff))),
        Value::AnyOf(values) => (values.iter().collect(), Some((2, 0))),
    };
    octet_strings(w, 1, &values);
    if let Some((number, octet)) = relation {
        w.constructed(tag(2), |w| w.primitive(tag(number), &[octet]));
    }
}

fn property_parm(w: &mut Writer, property: &Property<'_>) -> Written {
    pkgd_name(w, "PropertyParm", ItemKind::Property, &property.name)?;
    value_and_extra_info(w, &property.value);
    Ok(())
}

/// EventParameter, SigParameter.
fn parameter(w: &mut Writer, parameter: &Parameter<'_>) -> Written {
    let ParameterName::Number(number) = parameter.name else {
        return refuse("Parameter", "a name of no known number");
    };
    w.primitive(tag(0), &number.to_be_bytes());
    value_and_extra_info(w, &parameter.value);
    Ok(())
}

fn error_descriptor(w: &mut Writer, number: u32, error: &ErrorDescriptor<'_>) {
    w.constructed(tag(number), |w| {
        w.unsigned(tag(0), error.code);
        if let Some(text) = &error.text {
            w.primitive(tag(1), text);
        }
    });
}

fn time_notation(w: &mut Writer, number: u32, time: TimeStamp) {
    w.constructed(tag(number), |w| {
        text(w, 0, &format!("{:08}", time.date));
        text(w, 1, &format!("{:08}", time.time));
    });
}
