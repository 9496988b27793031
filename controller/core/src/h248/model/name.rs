//! Names: of those who send messages, of contexts, terminations and package items.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

/// Message identifier: the sender's name (H.248.1 §8.3, Annex B `mId`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mid<'a> {
    /// `[192.0.2.1]:2944`.
    Ip {
        /// The address.
        address: IpAddr,
        /// Its port, where given.
        port: Option<u16>,
    },
    /// `<mgc.example.com>:2944`.
    Domain {
        /// The name.
        name: Cow<'a, str>,
        /// Its port, where given.
        port: Option<u16>,
    },
    /// A device name, `gw1` or `rack/1@example.com`.
    Device(Cow<'a, str>),
    /// `MTP{…}`: an MTP address of 2 to 4 octets, as a number, and how many
    /// hexadecimal digits it was written with.
    Mtp {
        /// Point code and network indicator.
        address: u32,
        /// Hexadecimal digits, 4 to 8.
        digits: u8,
    },
}

impl Mid<'_> {
    /// The same, owned.
    pub fn into_owned(self) -> Mid<'static> {
        match self {
            Self::Ip { address, port } => Mid::Ip { address, port },
            Self::Domain { name, port } => Mid::Domain {
                name: Cow::Owned(name.into_owned()),
                port,
            },
            Self::Device(name) => Mid::Device(Cow::Owned(name.into_owned())),
            Self::Mtp { address, digits } => Mid::Mtp { address, digits },
        }
    }
}

/// A context (H.248.1 §6.1): 0 is the null context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextId(pub u32);

impl ContextId {
    /// `-`: terminations that are in no context.
    pub const NULL: Self = Self(0);
    /// `$`: the gateway is to make a new one.
    pub const CHOOSE: Self = Self(0xffff_fffe);
    /// `*`: all.
    pub const ALL: Self = Self(0xffff_ffff);

    /// Whether it names one context.
    pub fn is_specific(self) -> bool {
        !matches!(self, Self::NULL | Self::CHOOSE | Self::ALL)
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NULL => f.write_str("-"),
            Self::CHOOSE => f.write_str("$"),
            Self::ALL => f.write_str("*"),
            Self(id) => write!(f, "{id}"),
        }
    }
}

impl Serialize for ContextId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A termination (H.248.1 §6.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TerminationId<'a> {
    /// `ROOT`: the gateway itself; in binary, eight octets of 0xff.
    Root,
    /// `$`: the gateway is to choose.
    Choose,
    /// `*`: all.
    All,
    /// Text: a path, perhaps with `*` or `$` in it (`line/*`).
    Path(Cow<'a, str>),
    /// Binary: an id of 1 to 8 octets, and its wildcard octets (Annex A.1: 0x80
    /// set is `*`, clear `$`; 0x40 whether all levels below too; the rest from
    /// which bit on).
    Octets {
        /// One octet for each wildcarded level; empty: no wildcard.
        wildcards: Cow<'a, [u8]>,
        /// The id.
        id: Cow<'a, [u8]>,
    },
}

impl TerminationId<'_> {
    /// Whether the gateway is to choose it, or some of it (`$`).
    pub fn is_choose(&self) -> bool {
        match self {
            Self::Choose => true,
            Self::Path(path) => path.contains('$'),
            Self::Octets { wildcards, .. } => wildcards.iter().any(|w| w & 0x80 == 0),
            Self::Root | Self::All => false,
        }
    }

    /// Whether it may stand for several (`*`).
    pub fn is_wildcard(&self) -> bool {
        match self {
            Self::All => true,
            Self::Path(path) => path.contains('*'),
            Self::Octets { wildcards, .. } => wildcards.iter().any(|w| w & 0x80 != 0),
            Self::Root | Self::Choose => false,
        }
    }

    /// Whether it names one termination of the gateway's, for certain.
    pub fn is_specific(&self) -> bool {
        *self != Self::Root && !self.is_choose() && !self.is_wildcard()
    }

    /// The same, owned.
    pub fn into_owned(self) -> TerminationId<'static> {
        match self {
            Self::Root => TerminationId::Root,
            Self::Choose => TerminationId::Choose,
            Self::All => TerminationId::All,
            Self::Path(path) => TerminationId::Path(Cow::Owned(path.into_owned())),
            Self::Octets { wildcards, id } => TerminationId::Octets {
                wildcards: Cow::Owned(wildcards.into_owned()),
                id: Cow::Owned(id.into_owned()),
            },
        }
    }
}

/// As in text; an octet id in hexadecimal, after its wildcards and a colon.
impl fmt::Display for TerminationId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("ROOT"),
            Self::Choose => f.write_str("$"),
            Self::All => f.write_str("*"),
            Self::Path(path) => f.write_str(path),
            Self::Octets { wildcards, id } => {
                for wildcard in wildcards.iter() {
                    write!(f, "{wildcard:02x}:")?;
                }
                id.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl Serialize for TerminationId<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Name of an event, signal, property or statistic: package and item
/// (H.248.1 §6.2.3, Annex B `pkgdName`).
///
/// [`crate::h248::packages`] translates between the two forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemName<'a> {
    /// Text: `al/of`; `*` is any.
    Text {
        /// Package, `*`: any.
        package: Cow<'a, str>,
        /// Item, `*`: any.
        item: Cow<'a, str>,
    },
    /// Binary: two numbers; 0xffff is any.
    Number {
        /// Package.
        package: u16,
        /// Item.
        item: u16,
    },
}

impl<'a> ItemName<'a> {
    /// `*/*`: any item of any package.
    pub const ANY: Self = Self::Text {
        package: Cow::Borrowed("*"),
        item: Cow::Borrowed("*"),
    };

    /// `package/item`.
    pub const fn text(package: &'a str, item: &'a str) -> Self {
        Self::Text {
            package: Cow::Borrowed(package),
            item: Cow::Borrowed(item),
        }
    }

    /// The same, owned.
    pub fn into_owned(self) -> ItemName<'static> {
        match self {
            Self::Text { package, item } => ItemName::Text {
                package: Cow::Owned(package.into_owned()),
                item: Cow::Owned(item.into_owned()),
            },
            Self::Number { package, item } => ItemName::Number { package, item },
        }
    }
}

impl fmt::Display for ItemName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { package, item } => write!(f, "{package}/{item}"),
            Self::Number { package, item } => write!(f, "0x{package:04x}/0x{item:04x}"),
        }
    }
}

impl Serialize for ItemName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Name of a parameter within its package.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParameterName<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Binary.
    Number(u16),
}

impl fmt::Display for ParameterName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(name) => f.write_str(name),
            Self::Number(number) => write!(f, "0x{number:04x}"),
        }
    }
}

impl Serialize for ParameterName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
