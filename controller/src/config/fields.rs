//! Fields of a mapping, read by name and type.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use sidestep_core::engine::Network;

use super::fault::Faults;
use super::read::At;
use super::yaml::{Key, Node, Value};

/// A mapping, its keys known to be in its list, and where it stands.
pub(super) struct Fields<'n> {
    entries: &'n [(Key, Node)],
    path: String,
    line: usize,
    /// It could not be read at all; what is missing in it is not said as well.
    faulty: bool,
}

/// A list field.
pub(super) enum List<'n> {
    /// The field is not there.
    Absent,
    /// It is no list, and reported.
    Faulty,
    /// Its items.
    Items(Vec<Item<'n>>),
}

impl<'n> List<'n> {
    /// The items; none where the list is absent or faulty.
    pub fn items(self) -> Vec<Item<'n>> {
        match self {
            List::Items(items) => items,
            List::Absent | List::Faulty => Vec::new(),
        }
    }
}

/// A value and its field path.
pub(super) struct Item<'n> {
    node: &'n Node,
    path: String,
}

impl<'n> Fields<'n> {
    /// The document itself.
    pub fn of_document(node: &'n Node, known: &[&str], faults: &mut Faults) -> Self {
        let path = String::new();
        Self::of(&Item { node, path }, known, faults)
    }

    fn of(item: &Item<'n>, known: &[&str], faults: &mut Faults) -> Self {
        let mut fields = Self {
            entries: &[],
            path: item.path.clone(),
            line: item.node.line,
            faulty: false,
        };
        match &item.node.value {
            Value::Null => {}
            Value::Map(entries) => fields.entries = entries,
            other => {
                let what = format!(
                    "is {}; write a mapping with {}",
                    other.kind(),
                    known.join(", ")
                );
                faults.error(item.node.line, &item.path, what);
                fields.faulty = true;
            }
        }
        for (i, (key, _)) in fields.entries.iter().enumerate() {
            let path = fields.path_of(&key.name);
            let earlier = fields.entries[..i].iter().find(|(k, _)| k.name == key.name);
            if !known.contains(&key.name.as_str()) {
                let what = format!("unknown key; {}", instead(&key.name, known));
                faults.error(key.line, &path, what);
            } else if let Some((first, _)) = earlier {
                let what = format!("given twice; the first is in line {}", first.line);
                faults.error(key.line, &path, what);
            }
        }
        fields
    }

    /// Its field path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its line.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Field path of one of its keys.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Line of one of its keys; its own where the key is absent.
    pub fn line_of(&self, name: &str) -> usize {
        let entry = self.entries.iter().find(|(key, _)| key.name == name);
        entry.map_or(self.line, |(key, _)| key.line)
    }

    /// A key's value; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<Item<'n>> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        if matches!(node.value, Value::Null) {
            return None;
        }
        let path = self.path_of(name);
        Some(Item { node, path })
    }

    /// A key's value; it is reported where absent, with what to do.
    fn required(&self, name: &str, hint: &str, faults: &mut Faults) -> Option<Item<'n>> {
        let item = self.get(name);
        if item.is_none() && !self.faulty {
            let what = format!("missing; {hint}");
            faults.error(self.line_of(name), &self.path_of(name), what);
        }
        item
    }

    /// A mapping in it; empty where absent.
    pub fn section(&self, name: &str, known: &[&str], faults: &mut Faults) -> Fields<'n> {
        match self.get(name) {
            Some(item) => Self::of(&item, known, faults),
            None => Self {
                entries: &[],
                path: self.path_of(name),
                line: self.line_of(name),
                faulty: false,
            },
        }
    }

    /// A list in it.
    pub fn list(&self, name: &str, faults: &mut Faults) -> List<'n> {
        let Some(item) = self.get(name) else {
            return List::Absent;
        };
        let Value::List(nodes) = &item.node.value else {
            let what = format!("is {}; write a list", item.node.value.kind());
            faults.error(item.node.line, &item.path, what);
            return List::Faulty;
        };
        let items = nodes.iter().enumerate().map(|(i, node)| Item {
            node,
            path: format!("{}[{i}]", item.path),
        });
        List::Items(items.collect())
    }

    /// A text that must be there.
    pub fn text(&self, name: &str, hint: &str, faults: &mut Faults) -> Option<At<String>> {
        self.required(name, hint, faults)?.text(faults)
    }

    /// A text, or what stands for it where it is absent.
    pub fn text_or(&self, name: &str, default: &str, faults: &mut Faults) -> Option<At<String>> {
        match self.get(name) {
            Some(item) => item.text(faults),
            None => Some(self.at(name, default.to_owned())),
        }
    }

    /// An absolute path.
    pub fn path_or(&self, name: &str, default: &str, faults: &mut Faults) -> Option<At<PathBuf>> {
        let at = self.text_or(name, default, faults)?;
        let path = PathBuf::from(&at.value);
        if !path.is_absolute() {
            let what = format!("{:?} is not an absolute path; begin it with /", at.value);
            faults.error(at.line, &at.field, what);
            return None;
        }
        Some(At {
            line: at.line,
            field: at.field,
            value: path,
        })
    }

    /// A number in `range`, or the default.
    pub fn number_or<T>(
        &self,
        name: &str,
        default: T,
        range: RangeInclusive<u64>,
        what: &str,
        faults: &mut Faults,
    ) -> Option<At<T>>
    where
        T: TryFrom<u64>,
    {
        match self.get(name) {
            Some(item) => item.number(range, what, faults),
            None => Some(self.at(name, default)),
        }
    }

    /// An IPv4 address that must be there.
    pub fn address(&self, name: &str, hint: &str, faults: &mut Faults) -> Option<At<Ipv4Addr>> {
        self.required(name, hint, faults)?.address(faults)
    }

    /// An IPv4 address, or the default.
    pub fn address_or(
        &self,
        name: &str,
        default: Ipv4Addr,
        faults: &mut Faults,
    ) -> Option<At<Ipv4Addr>> {
        match self.get(name) {
            Some(item) => item.address(faults),
            None => Some(self.at(name, default)),
        }
    }

    /// An IPv6 address, where there is one.
    pub fn address6(&self, name: &str, faults: &mut Faults) -> Option<At<Ipv6Addr>> {
        let at = self.get(name)?.text(faults)?;
        match at.value.parse() {
            Ok(address) => Some(self.at(name, address)),
            Err(_) => {
                let what = format!(
                    "{:?} is not an IPv6 address; write it as 2001:db8::1",
                    at.value
                );
                faults.error(at.line, &at.field, what);
                None
            }
        }
    }

    /// A range of ports, as `40000-40999`, or the default.
    pub fn port_range_or(
        &self,
        name: &str,
        default: RangeInclusive<u16>,
        faults: &mut Faults,
    ) -> Option<At<RangeInclusive<u16>>> {
        let Some(item) = self.get(name) else {
            return Some(self.at(name, default));
        };
        let at = item.text(faults)?;
        let ports = at.value.split_once('-').and_then(|(first, last)| {
            let first = first.trim().parse::<u16>().ok()?;
            Some(first..=last.trim().parse::<u16>().ok()?)
        });
        if ports.is_none() {
            let what = format!(
                "{:?} is not a range of ports; write it as 40000-40999",
                at.value
            );
            faults.error(at.line, &at.field, what);
        }
        ports.map(|value| At {
            line: at.line,
            field: at.field,
            value,
        })
    }

    /// A network, as `10.0.0.0/8` or `2001:db8::/32`; a bare address is one host.
    pub fn network(&self, name: &str, faults: &mut Faults) -> Option<Network> {
        let at = self.get(name)?.text(faults)?;
        match network(&at.value) {
            Ok(network) => Some(network),
            Err(what) => {
                faults.error(at.line, &at.field, what);
                None
            }
        }
    }

    fn at<T>(&self, name: &str, value: T) -> At<T> {
        At {
            line: self.line_of(name),
            field: self.path_of(name),
            value,
        }
    }
}

impl<'n> Item<'n> {
    /// It as a mapping with these keys.
    pub fn mapping(&self, known: &[&str], faults: &mut Faults) -> Fields<'n> {
        Fields::of(self, known, faults)
    }

    /// It as text; an empty one is a fault.
    pub fn text(&self, faults: &mut Faults) -> Option<At<String>> {
        match &self.node.value {
            Value::Scalar(text) if !text.is_empty() => Some(self.at(text.clone())),
            Value::Scalar(_) => {
                faults.error(self.node.line, &self.path, "is empty");
                None
            }
            other => {
                let what = format!("is {}; write a single value", other.kind());
                faults.error(self.node.line, &self.path, what);
                None
            }
        }
    }

    /// It as a number in `range`; `what` says which kind of number.
    pub fn number<T>(
        &self,
        range: RangeInclusive<u64>,
        what: impl Display,
        faults: &mut Faults,
    ) -> Option<At<T>>
    where
        T: TryFrom<u64>,
    {
        let at = self.text(faults)?;
        let number = at.value.parse::<u64>().ok();
        let number = number.filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let what = format!(
                "{:?} is not {what}; write one from {} to {}",
                at.value,
                range.start(),
                range.end()
            );
            faults.error(at.line, &at.field, what);
        }
        number.map(|number| self.at(number))
    }

    fn address(&self, faults: &mut Faults) -> Option<At<Ipv4Addr>> {
        let at = self.text(faults)?;
        match at.value.parse() {
            Ok(address) => Some(self.at(address)),
            Err(_) => {
                let why = if at.value.parse::<std::net::Ipv6Addr>().is_ok() {
                    "is IPv6; give the IPv4 address"
                } else {
                    "is not an IPv4 address; write it as a.b.c.d"
                };
                let what = format!("{:?} {why}", at.value);
                faults.error(at.line, &at.field, what);
                None
            }
        }
    }

    fn at<T>(&self, value: T) -> At<T> {
        At {
            line: self.node.line,
            field: self.path.clone(),
            value,
        }
    }
}

fn network(text: &str) -> Result<Network, String> {
    let fault = || format!("{text:?} is not a network; write it as 10.0.0.0/8 or 2001:db8::/32");
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| fault())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => longest,
        Some(Ok(prefix)) if prefix <= longest => prefix,
        Some(_) => return Err(fault()),
    };
    let host = u32::from(longest - prefix);
    let base = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    };
    if base != address {
        return Err(format!(
            "{text:?} is an address within a network; write {base}/{prefix}"
        ));
    }
    Ok(Network { address, prefix })
}

/// What to write instead of an unknown key.
fn instead(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|&candidate| (strsim::osa_distance(name, candidate), candidate))
        .min();
    match near {
        Some((distance, candidate)) if distance <= 2 && distance < candidate.len() => {
            format!("did you mean {candidate}?")
        }
        _ => format!("known here: {}", known.join(", ")),
    }
}
