//! Values of properties and parameters (Annex B `parmValue`).

use std::borrow::Cow;

use super::super::cursor::{Cursor, Read, SEVERAL};
use super::name::item_of;
use crate::h248::model::{Parameter, ParameterName, Property, Value};

impl<'a> Cursor<'a> {
    /// Whether a `parmValue` is next.
    pub(super) fn has_value(&mut self) -> bool {
        self.skip();
        matches!(self.peek(), Some(b'=' | b'<' | b'>' | b'#'))
    }

    /// Annex B `parmValue`.
    pub(super) fn parameter_value(&mut self, construct: &'static str) -> Read<Value<'a>> {
        if self.take(b'<') {
            return self.value(construct).map(Value::Less);
        }
        if self.take(b'>') {
            return self.value(construct).map(Value::Greater);
        }
        if self.take(b'#') {
            return self.value(construct).map(Value::NotEqual);
        }
        self.equal(construct)?;
        if self.take(b'{') {
            let mut values = Vec::with_capacity(SEVERAL);
            self.items(b'}', construct, false, |c| {
                values.push(c.value(construct)?);
                Ok(())
            })?;
            return Ok(Value::AnyOf(values));
        }
        if !self.take(b'[') {
            return self.value(construct).map(Value::Equal);
        }
        let first = self.value(construct)?;
        if self.take(b':') {
            let last = self.value(construct)?;
            self.skip();
            if self.peek() != Some(b']') {
                return Err(self.error(construct, "] is missing"));
            }
            self.until(b"]", construct, "] is missing")?;
            return Ok(Value::Between(first, last));
        }
        let mut values = vec![first];
        while self.take(b',') {
            values.push(self.value(construct)?);
        }
        if self.peek() != Some(b']') {
            return Err(self.error(construct, "] is missing"));
        }
        self.until(b"]", construct, "] is missing")?;
        Ok(Value::AllOf(values))
    }

    /// Annex B `propertyParm`, whose name has been read.
    pub(super) fn property(
        &mut self,
        name: &'a str,
        at: usize,
        construct: &'static str,
    ) -> Read<Property<'a>> {
        let name = item_of(name).ok_or_else(|| self.error_at(at, construct, "not package/item"))?;
        Ok(Property {
            name,
            value: self.parameter_value(construct)?,
        })
    }

    /// A parameter of a package's, whose name has been read.
    pub(super) fn parameter(
        &mut self,
        name: &'a str,
        construct: &'static str,
    ) -> Read<Parameter<'a>> {
        Ok(Parameter {
            name: ParameterName::Text(Cow::Borrowed(name)),
            value: self.parameter_value(construct)?,
        })
    }
}
