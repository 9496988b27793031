//! Properties, parameters and their values (H.248.1 Annex A PropertyParm,
//! EventParameter, SigParameter), and errors.

use super::name::{name, pkgd_name};
use super::{Fields, chosen, list};
use crate::h248::binary::ber::{Element, Failure, Tag};
use crate::h248::model::{ErrorDescriptor, Octets, Parameter, Property, Value};

pub(super) fn error_descriptor<'a>(element: &Element<'a>) -> Result<ErrorDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, "ErrorDescriptor")?;
    let code = fields.required(0, "no errorCode")?.u16()?;
    let text = fields.optional(1)?;
    fields.end(2)?;
    let text = text.map(|text| text.octets()).transpose()?;
    Ok(ErrorDescriptor {
        code,
        text: text.map(Octets),
    })
}

/// SEQUENCE OF OCTET STRING.
pub(super) fn octet_strings<'a>(element: &Element<'a>) -> Result<Vec<Octets<'a>>, Failure> {
    list(element, "Value", Tag::OCTETS, |octets| {
        octets.octets().map(Octets)
    })
}

pub(super) fn property_parm<'a>(element: &Element<'a>) -> Result<Property<'a>, Failure> {
    let mut fields = Fields::of(element, "PropertyParm")?;
    let name = pkgd_name(&fields.required(0, "no name")?)?;
    let value = value_and_extra_info(&mut fields)?;
    fields.end(3)?;
    Ok(Property { name, value })
}

/// EventParameter and SigParameter, which are the same.
pub(super) fn parameter<'a>(element: &Element<'a>) -> Result<Parameter<'a>, Failure> {
    let mut fields = Fields::of(element, "Parameter")?;
    let name = name(&fields.required(0, "no name")?)?;
    let value = value_and_extra_info(&mut fields)?;
    fields.end(3)?;
    Ok(Parameter { name, value })
}

/// Components 1 and 2 of a property or parameter.
fn value_and_extra_info<'a>(fields: &mut Fields<'a>) -> Result<Value<'a>, Failure> {
    let value = fields.required(1, "no value")?;
    let Some(extra) = fields.optional(2)? else {
        return plain_value(&value);
    };
    let values = octet_strings(&value)?;
    let extra = chosen(&extra, "extraInfo")?;
    let one = |values: Vec<Octets<'a>>| match <[_; 1]>::try_from(values) {
        Ok([value]) => Ok(value),
        Err(_) => Err(extra.error("a relation to other than one value")),
    };
    match extra.tag.alternative() {
        Some(0) => match extra.u32()? {
            0 => one(values).map(Value::Greater),
            1 => one(values).map(Value::Less),
            2 => one(values).map(Value::NotEqual),
            _ => Err(extra.error("an unknown relation")),
        },
        Some(1) if extra.boolean()? => match <[_; 2]>::try_from(values) {
            Ok([from, to]) => Ok(Value::Between(from, to)),
            Err(_) => Err(extra.error("a range of other than two values")),
        },
        Some(1) => Ok(plain(values)),
        Some(2) if extra.boolean()? => Ok(Value::AllOf(values)),
        Some(2) => Ok(Value::AnyOf(values)),
        _ => Err(extra.error("an unknown alternative")),
    }
}

/// A Value without a word about what it is.
pub(super) fn plain_value<'a>(element: &Element<'a>) -> Result<Value<'a>, Failure> {
    // One, nearly always.
    let mut reader = element.children("Value")?;
    if let Some(only) = reader.take(Tag::OCTETS)?
        && reader.next()?.is_none()
    {
        return Ok(Value::Equal(Octets(only.octets()?)));
    }
    Ok(plain(octet_strings(element)?))
}

/// Several values, or none.
fn plain(values: Vec<Octets<'_>>) -> Value<'_> {
    match <[_; 1]>::try_from(values) {
        Ok([value]) => Value::Equal(value),
        Err(values) => Value::AllOf(values),
    }
}
