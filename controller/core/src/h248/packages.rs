//! Packages: the two names, text and number, of what Sidestep knows.
//!
//! In: an [`ItemName`] of either form. Out: the known item it names, or its other
//! form. The list is that of H.248.1 Annex E; what is not on it keeps the form it
//! came in.

use super::model::{ItemName, ParameterName};

/// What an item is; the same number may stand for one of each (H.248.1 §12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemKind {
    /// Property.
    Property,
    /// Event.
    Event,
    /// Signal.
    Signal,
    /// Statistic.
    Statistic,
}

/// A package of H.248.1 Annex E.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name in text.
    pub name: &'static str,
    /// Its number in binary.
    pub number: u16,
    /// Its own items; those of the package that it extends are under that one.
    pub items: &'static [(ItemKind, &'static str, u16)],
    /// The package that it extends, whose items are its own as well.
    pub extends: Option<&'static str>,
}

use ItemKind::{Event, Property, Signal, Statistic};

/// The packages of Annex E.
pub const PACKAGES: &[Package] = &[
    // E.1 Generic
    package(
        "g",
        0x0001,
        None,
        &[(Event, "cause", 0x0001), (Event, "sc", 0x0002)],
    ),
    // E.2 Base root
    package(
        "root",
        0x0002,
        None,
        &[
            (Property, "maxNumberOfContexts", 0x0001),
            (Property, "maxTerminationsPerContext", 0x0002),
            (Property, "normalMGExecutionTime", 0x0003),
            (Property, "normalMGCExecutionTime", 0x0004),
            (Property, "MGProvisionalResponseTimerValue", 0x0005),
            (Property, "MGCProvisionalResponseTimerValue", 0x0006),
            (Property, "MGCOriginatedPendingLimit", 0x0007),
            (Property, "MGOriginatedPendingLimit", 0x0008),
        ],
    ),
    // E.3 Tone generator
    package("tonegen", 0x0003, None, &[(Signal, "pt", 0x0001)]),
    // E.4 Tone detection
    package(
        "tonedet",
        0x0004,
        None,
        &[
            (Event, "std", 0x0001),
            (Event, "etd", 0x0002),
            (Event, "ltd", 0x0003),
        ],
    ),
    // E.5 Basic DTMF generator
    package(
        "dg",
        0x0005,
        Some("tonegen"),
        &[
            (Signal, "d0", 0x0010),
            (Signal, "d1", 0x0011),
            (Signal, "d2", 0x0012),
            (Signal, "d3", 0x0013),
            (Signal, "d4", 0x0014),
            (Signal, "d5", 0x0015),
            (Signal, "d6", 0x0016),
            (Signal, "d7", 0x0017),
            (Signal, "d8", 0x0018),
            (Signal, "d9", 0x0019),
            (Signal, "da", 0x001a),
            (Signal, "db", 0x001b),
            (Signal, "dc", 0x001c),
            (Signal, "dd", 0x001d),
            (Signal, "ds", 0x0020),
            (Signal, "do", 0x0021),
        ],
    ),
    // E.6 DTMF detection
    package("dd", 0x0006, Some("tonedet"), &[(Event, "ce", 0x0004)]),
    // E.7 Call progress tones generator
    package(
        "cg",
        0x0007,
        Some("tonegen"),
        &[
            (Signal, "dt", 0x0030),
            (Signal, "rt", 0x0031),
            (Signal, "bt", 0x0032),
            (Signal, "ct", 0x0033),
            (Signal, "sit", 0x0034),
            (Signal, "wt", 0x0035),
            (Signal, "prt", 0x0036),
            (Signal, "cw", 0x0037),
            (Signal, "cr", 0x0038),
        ],
    ),
    // E.8 Call progress tones detection
    package("cd", 0x0008, Some("tonedet"), &[]),
    // E.9 Analog line supervision
    package(
        "al",
        0x0009,
        None,
        &[
            (Signal, "ri", 0x0002),
            (Event, "on", 0x0004),
            (Event, "of", 0x0005),
            (Event, "fl", 0x0006),
        ],
    ),
    // E.10 Basic continuity
    package(
        "ct",
        0x000a,
        None,
        &[
            (Event, "cmp", 0x0005),
            (Signal, "ct", 0x0003),
            (Signal, "rsp", 0x0004),
        ],
    ),
    // E.11 Network
    package(
        "nt",
        0x000b,
        None,
        &[
            (Property, "jit", 0x0007),
            (Event, "netfail", 0x0005),
            (Event, "qualert", 0x0006),
            (Statistic, "dur", 0x0001),
            (Statistic, "os", 0x0002),
            (Statistic, "or", 0x0003),
        ],
    ),
    // E.12 RTP
    package(
        "rtp",
        0x000c,
        Some("nt"),
        &[
            (Event, "pltrans", 0x0001),
            (Statistic, "ps", 0x0004),
            (Statistic, "pr", 0x0005),
            (Statistic, "pl", 0x0006),
            (Statistic, "jit", 0x0007),
            (Statistic, "delay", 0x0008),
        ],
    ),
    // E.13 TDM circuit
    package(
        "tdmc",
        0x000d,
        Some("nt"),
        &[(Property, "ec", 0x0008), (Property, "gain", 0x000a)],
    ),
];

const fn package(
    name: &'static str,
    number: u16,
    extends: Option<&'static str>,
    items: &'static [(ItemKind, &'static str, u16)],
) -> Package {
    Package {
        name,
        number,
        items,
        extends,
    }
}

/// The package of that name, whatever its case.
pub fn by_name(name: &str) -> Option<&'static Package> {
    PACKAGES.iter().find(|p| p.name.eq_ignore_ascii_case(name))
}

/// The package of that number.
pub fn by_number(number: u16) -> Option<&'static Package> {
    PACKAGES.iter().find(|p| p.number == number)
}

impl Package {
    /// Its items and those it has from the package that it extends.
    fn all_items(&self) -> impl Iterator<Item = (ItemKind, &'static str, u16)> {
        let inherited = self.extends.and_then(by_name).map_or(&[][..], |p| p.items);
        self.items.iter().chain(inherited).copied()
    }
}

/// Text and number of "any".
const ANY: (&str, u16) = ("*", 0xffff);

/// The name in numbers, as binary writes it. `None`: not of Annex E.
pub fn number_of(kind: ItemKind, name: &ItemName<'_>) -> Option<(u16, u16)> {
    let (package, item) = match name {
        ItemName::Number { package, item } => return Some((*package, *item)),
        ItemName::Text { package, item } => (package.as_ref(), item.as_ref()),
    };
    if package == ANY.0 {
        return (item == ANY.0).then_some((ANY.1, ANY.1));
    }
    let package = by_name(package)?;
    if item == ANY.0 {
        return Some((package.number, ANY.1));
    }
    package
        .all_items()
        .find(|(known, text, _)| *known == kind && text.eq_ignore_ascii_case(item))
        .map(|(_, _, number)| (package.number, number))
}

/// The name in text. `None`: not of Annex E.
pub fn text_of(kind: ItemKind, name: &ItemName<'_>) -> Option<ItemName<'static>> {
    let (package, item) = match name {
        ItemName::Number { package, item } => (*package, *item),
        ItemName::Text { .. } => return Some(name.clone().into_owned()),
    };
    if package == ANY.1 {
        return (item == ANY.1).then_some(ItemName::ANY);
    }
    let package = by_number(package)?;
    if item == ANY.1 {
        return Some(ItemName::text(package.name, ANY.0));
    }
    package
        .all_items()
        .find(|(known, _, number)| *known == kind && *number == item)
        .map(|(_, text, _)| ItemName::text(package.name, text))
}

/// Whether `name`, in either form, is the item `package/item` of Annex E.
pub fn is(name: &ItemName<'_>, kind: ItemKind, package: &str, item: &str) -> bool {
    match name {
        ItemName::Text {
            package: p,
            item: i,
        } => p.eq_ignore_ascii_case(package) && i.eq_ignore_ascii_case(item),
        ItemName::Number { .. } => {
            text_of(kind, name).is_some_and(|name| name == ItemName::text(package, item))
        }
    }
}

/// Number of a package named in a Packages descriptor. `None`: not of Annex E.
pub fn package_number(name: &ParameterName<'_>) -> Option<u16> {
    match name {
        ParameterName::Number(number) => Some(*number),
        ParameterName::Text(text) => by_name(text).map(|p| p.number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_both_names() {
        for (kind, text, numbers) in [
            (Event, ("al", "of"), (9, 5)),
            (Event, ("al", "on"), (9, 4)),
            (Signal, ("al", "ri"), (9, 2)),
            (Signal, ("cg", "rt"), (7, 0x31)),
            (Signal, ("cg", "prt"), (7, 0x36)),
            (Event, ("dd", "std"), (6, 1)),
            (Event, ("dd", "ce"), (6, 4)),
            (Property, ("nt", "jit"), (11, 7)),
            (Statistic, ("rtp", "jit"), (12, 7)),
            (Statistic, ("rtp", "os"), (12, 2)),
            (Event, ("al", "*"), (9, 0xffff)),
            (Event, ("*", "*"), (0xffff, 0xffff)),
        ] {
            let name = ItemName::text(text.0, text.1);
            let number = ItemName::Number {
                package: numbers.0,
                item: numbers.1,
            };
            assert_eq!(number_of(kind, &name), Some(numbers), "{name}");
            assert_eq!(text_of(kind, &number), Some(name.clone()), "{number}");
            assert!(is(&name, kind, text.0, text.1) && is(&number, kind, text.0, text.1));
        }
        assert_eq!(number_of(Event, &ItemName::text("xal", "of")), None);
        assert_eq!(number_of(Signal, &ItemName::text("al", "of")), None);
        assert!(!is(&ItemName::text("al", "on"), Event, "al", "of"));
    }
}
