//! Octets, values, and where something stands in a text message.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};

use serde::{Serialize, Serializer};

use super::name::{ItemName, ParameterName};

/// Where something stands in a message that was read; 0..0 in one of our own. In
/// binary, "between the braces" are an element's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
}

impl Span {
    /// As a range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Octets, lent from the message where possible. They need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Octets<'a>(pub Cow<'a, [u8]>);

impl Octets<'_> {
    /// The same, owned.
    pub fn into_owned(self) -> Octets<'static> {
        Octets(Cow::Owned(self.0.into_owned()))
    }
}

impl Deref for Octets<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> From<&'a [u8]> for Octets<'a> {
    fn from(octets: &'a [u8]) -> Self {
        Self(Cow::Borrowed(octets))
    }
}

impl<'a> From<&'a str> for Octets<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Octets<'_> {
    fn from(octets: Vec<u8>) -> Self {
        Self(Cow::Owned(octets))
    }
}

impl From<String> for Octets<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl fmt::Debug for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Value of a property or parameter (H.248.1 Annex B `parmValue`, Annex A
/// `PropertyParm`).
///
/// Each is the text of the value without quotes. In binary it is the content of
/// the value's octet string as it came, since its type is the package's affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value<'a> {
    /// `= VALUE`.
    Equal(Octets<'a>),
    /// `< VALUE`: relation smallerThan.
    Less(Octets<'a>),
    /// `> VALUE`: relation greaterThan.
    Greater(Octets<'a>),
    /// `# VALUE`: relation unequalTo.
    NotEqual(Octets<'a>),
    /// `= {a,b}`: one of them.
    AnyOf(Vec<Octets<'a>>),
    /// `= [a,b]`: all of them, a list.
    AllOf(Vec<Octets<'a>>),
    /// `= [a:b]`: a range.
    Between(Octets<'a>, Octets<'a>),
}

impl Value<'_> {
    /// The value, where it is a single one.
    pub fn single(&self) -> Option<&[u8]> {
        match self {
            Self::Equal(value) => Some(value),
            _ => None,
        }
    }
}

/// A property (H.248.1 Annex B `propertyParm`), of LocalControl,
/// TerminationState, Modem or a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Property<'a> {
    /// `package/property`.
    pub name: ItemName<'a>,
    /// Its value.
    pub value: Value<'a>,
}

/// A parameter of an event, signal or ServiceChange (H.248.1 Annex B
/// `eventOther`, `sigOther`, `serviceChangeParm` extension).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter<'a> {
    /// Its name within the package.
    pub name: ParameterName<'a>,
    /// Its value.
    pub value: Value<'a>,
}
