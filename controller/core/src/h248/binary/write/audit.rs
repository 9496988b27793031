//! Audits, packages, statistics (H.248.1 §7.1.12, §7.1.15, §7.1.16, Annex A).
//!
//! What is asked of a part of a descriptor is read from Annex B's words in their long
//! form, whatever their case.

use super::{
    Written, item_octets, octet_strings, optional_u16, optional_u32, pkgd_name, refuse, sequences,
    tag, value_and_extra_info,
};
use crate::h248::binary::words::{AUDIT_TOKENS, SERVICE_STATES, STREAM_MODES, place_of_word};
use crate::h248::binary::writer::Writer;
use crate::h248::model::{
    AuditDescriptor, AuditItem, AuditToken, ContextAudit, ItemName, Octets, PackageVersion,
    ParameterName, Selection, Statistic, Value,
};
use crate::h248::packages::{ItemKind, package_number};

pub(super) fn audit_descriptor(w: &mut Writer, at: u32, audit: &AuditDescriptor<'_>) -> Written {
    let whole = audit.items.iter().filter_map(|item| match item {
        AuditItem::Whole(token) => Some(*token),
        AuditItem::Part(_) => None,
    });
    let whole: Vec<_> = whole.collect();
    let parts = audit.items.iter().filter_map(|item| match item {
        AuditItem::Part(selection) => Some(selection),
        AuditItem::Whole(_) => None,
    });
    let parts: Vec<_> = parts.collect();
    w.try_constructed(tag(at), |w| {
        if !whole.is_empty() {
            w.bits(tag(0), token_bits(&whole));
        }
        if parts.is_empty() {
            return Ok(());
        }
        w.try_constructed(tag(1), |w| {
            parts
                .iter()
                .try_for_each(|part| ind_audit_parameter(w, part))
        })
    })
}

fn token_bits(tokens: &[AuditToken]) -> u32 {
    let bits = AUDIT_TOKENS.iter().enumerate();
    let set = bits.filter(|(_, token)| tokens.contains(token));
    set.fold(0, |all, (bit, _)| all | 1 << bit)
}

pub(super) fn empty_descriptors(w: &mut Writer, at: u32, tokens: &[AuditToken]) {
    w.constructed(tag(at), |w| w.bits(tag(0), token_bits(tokens)));
}

fn is(name: &[u8], word: &str) -> bool {
    name.eq_ignore_ascii_case(word.as_bytes())
}

/// The octets of `package/item`, in words or in numbers as the reader gives them.
fn item(kind: ItemKind, name: &[u8]) -> Result<[u8; 4], super::WriteError> {
    const CONSTRUCT: &str = "IndAuditParameter";
    let number = |word: &str| u16::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let parts = std::str::from_utf8(name)
        .ok()
        .and_then(|name| name.split_once('/'));
    let Some((package, item)) = parts else {
        return refuse(CONSTRUCT, "a word where package/item belongs");
    };
    let name = match (number(package), number(item)) {
        (Some(package), Some(item)) => ItemName::Number { package, item },
        _ => ItemName::text(package, item),
    };
    item_octets(CONSTRUCT, kind, &name)
}

fn number_after<T: std::str::FromStr>(selection: &Selection<'_>) -> Option<T> {
    let value = selection.value.as_ref()?.single()?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The value of the part that is this word, as a number.
fn number_of<T: std::str::FromStr>(parts: &[Selection<'_>], word: &str) -> Option<T> {
    let part = parts.iter().find(|part| is(&part.name, word))?;
    number_after(part)
}

fn only<'s, 'a>(parts: &'s [Selection<'a>]) -> Result<&'s Selection<'a>, super::WriteError> {
    match parts {
        [part] => Ok(part),
        _ => refuse("IndAuditParameter", "other than one part"),
    }
}

fn ind_audit_parameter(w: &mut Writer, asked: &Selection<'_>) -> Written {
    let name = &asked.name;
    if is(name, "Media") {
        return w.try_constructed(tag(0), |w| ind_aud_media(w, &asked.parts));
    }
    if is(name, "DigitMap") {
        w.constructed(tag(4), |w| {
            if let Some(Value::Equal(name)) = &asked.value {
                w.primitive(tag(0), name);
            }
        });
        return Ok(());
    }
    let part = only(&asked.parts)?;
    if is(name, "Events") {
        let octets = item(ItemKind::Event, &part.name)?;
        w.constructed(tag(1), |w| {
            optional_u32(w, 0, number_after(asked));
            w.primitive(tag(1), &octets);
            optional_u16(w, 2, number_of(&part.parts, "Stream"));
        });
    } else if is(name, "EventBuffer") {
        let octets = item(ItemKind::Event, &part.name)?;
        w.constructed(tag(2), |w| {
            w.primitive(tag(0), &octets);
            optional_u16(w, 1, number_of(&part.parts, "Stream"));
        });
    } else if is(name, "Signals") {
        return w.try_constructed(tag(3), |w| ind_aud_signals(w, part));
    } else if is(name, "Statistics") {
        let octets = item(ItemKind::Statistic, &part.name)?;
        w.constructed(tag(5), |w| w.primitive(tag(0), &octets));
    } else if is(name, "Packages") {
        let name = std::str::from_utf8(&part.name).ok();
        let parts = name.and_then(|name| name.rsplit_once('-'));
        let numbers = parts.and_then(|(package, version)| {
            let numbered = package.strip_prefix("0x");
            let number = numbered.and_then(|digits| u16::from_str_radix(digits, 16).ok());
            let named = || package_number(&ParameterName::Text(package.into()));
            Some((number.or_else(named)?, version.parse::<u8>().ok()?))
        });
        let Some((package, version)) = numbers else {
            return refuse("IndAudPackagesDescriptor", "a package of no known number");
        };
        w.constructed(tag(6), |w| {
            w.primitive(tag(0), &package.to_be_bytes());
            w.unsigned(tag(1), version);
        });
    } else {
        return refuse(
            "IndAuditParameter",
            "a word that is none of its alternatives",
        );
    }
    Ok(())
}

fn ind_aud_signals(w: &mut Writer, part: &Selection<'_>) -> Written {
    if !is(&part.name, "SignalList") {
        return w.try_constructed(tag(0), |w| ind_aud_signal(w, part));
    }
    let Some(id) = number_after::<u16>(part) else {
        return refuse("IndAudSeqSigList", "no id");
    };
    w.try_constructed(tag(1), |w| {
        w.unsigned(tag(0), id);
        match part.parts.as_slice() {
            [] => Ok(()),
            parts => {
                let signal = only(parts)?;
                w.try_constructed(tag(1), |w| ind_aud_signal(w, signal))
            }
        }
    })
}

fn ind_aud_signal(w: &mut Writer, part: &Selection<'_>) -> Written {
    w.primitive(tag(0), &item(ItemKind::Signal, &part.name)?);
    optional_u16(w, 1, number_of(&part.parts, "Stream"));
    optional_u32(w, 2, number_of(&part.parts, "SPARequestID"));
    Ok(())
}

fn ind_aud_media(w: &mut Writer, parts: &[Selection<'_>]) -> Written {
    let (state, streams): (Vec<_>, Vec<_>) = parts
        .iter()
        .partition(|part| is(&part.name, "TerminationState"));
    if let Some(state) = state.first() {
        w.try_constructed(tag(0), |w| ind_aud_termination_state(w, &state.parts))?;
    }
    let Some(first) = streams.first() else {
        return Ok(());
    };
    if !is(&first.name, "Stream") {
        return w.try_constructed(tag(1), |w| {
            w.try_constructed(tag(0), |w| ind_aud_stream_parms(w, &streams))
        });
    }
    w.try_constructed(tag(1), |w| {
        sequences(w, 1, &streams, |w, stream| {
            let Some(id) = number_after::<u16>(stream) else {
                return refuse("IndAudStreamDescriptor", "no id");
            };
            let parts: Vec<_> = stream.parts.iter().collect();
            w.unsigned(tag(0), id);
            w.try_constructed(tag(1), |w| ind_aud_stream_parms(w, &parts))
        })
    })
}

fn ind_aud_stream_parms(w: &mut Writer, parts: &[&Selection<'_>]) -> Written {
    let words = ["LocalControl", "Local", "Remote", "Statistics"];
    if !parts
        .iter()
        .all(|part| words.iter().any(|word| is(&part.name, word)))
    {
        return refuse("IndAudStreamParms", "a word that is none of its components");
    }
    for (number, word) in (0..).zip(words) {
        let Some(part) = parts.iter().find(|part| is(&part.name, word)) else {
            continue;
        };
        w.try_constructed(tag(number), |w| match number {
            0 => ind_aud_local_control(w, &part.parts),
            3 => {
                let name = item(ItemKind::Statistic, &only(&part.parts)?.name)?;
                w.primitive(tag(0), &name);
                Ok(())
            }
            _ => ind_aud_properties(w, 1, &part.parts.iter().collect::<Vec<_>>()),
        })?;
    }
    Ok(())
}

/// Whether it is a package's property, and not a word of Annex B.
fn is_property(part: &Selection<'_>) -> bool {
    part.name.contains(&b'/')
}

fn ind_aud_properties(w: &mut Writer, at: u32, parts: &[&Selection<'_>]) -> Written {
    sequences(w, at, parts, |w, part| ind_aud_property_parm(w, part))
}

fn ind_aud_property_parm(w: &mut Writer, part: &Selection<'_>) -> Written {
    let name = item(ItemKind::Property, &part.name)?;
    w.primitive(tag(0), &name);
    if let Some(value) = &part.value {
        w.constructed(tag(1), |w| {
            w.primitive(tag(0), &name);
            value_and_extra_info(w, value);
        });
    }
    Ok(())
}

/// Whether one of `parts` is this word without a value; with a value, the word of it.
fn asked<'s>(parts: &'s [Selection<'_>], word: &str) -> (bool, Option<&'s [u8]>) {
    let mut flag = false;
    let mut value = None;
    for part in parts.iter().filter(|part| is(&part.name, word)) {
        match &part.value {
            None => flag = true,
            Some(asked) => value = asked.single(),
        }
    }
    (flag, value)
}

fn ind_aud_local_control(w: &mut Writer, parts: &[Selection<'_>]) -> Written {
    let (mode, selected) = asked(parts, "Mode");
    w.flag(tag(0), mode);
    w.flag(tag(1), asked(parts, "ReservedValue").0);
    w.flag(tag(2), asked(parts, "ReservedGroup").0);
    let properties: Vec<_> = parts.iter().filter(|part| is_property(part)).collect();
    if !properties.is_empty() {
        ind_aud_properties(w, 3, &properties)?;
    }
    optional_u32(
        w,
        4,
        selected.and_then(|word| place_of_word(STREAM_MODES, word)),
    );
    Ok(())
}

fn ind_aud_termination_state(w: &mut Writer, parts: &[Selection<'_>]) -> Written {
    let (state, selected) = asked(parts, "ServiceStates");
    let properties: Vec<_> = parts.iter().filter(|part| is_property(part)).collect();
    ind_aud_properties(w, 0, &properties)?;
    w.flag(tag(1), asked(parts, "Buffer").0);
    w.flag(tag(2), state);
    optional_u32(
        w,
        3,
        selected.and_then(|word| place_of_word(SERVICE_STATES, word)),
    );
    Ok(())
}

pub(super) fn context_attr_audit_request(w: &mut Writer, audit: &ContextAudit<'_>) -> Written {
    fn switch(word: Option<&[u8]>) -> Option<bool> {
        word.map(|word| is(word, "ON"))
    }
    let items = &audit.items;
    let (emergency, select_emergency) = asked(items, "Emergency");
    let (priority, _) = asked(items, "Priority");
    let (ieps, select_ieps) = asked(items, "IEPSCall");
    w.flag(tag(0), asked(items, "Topology").0);
    w.flag(tag(1), emergency);
    w.flag(tag(2), priority);
    w.flag(tag(3), ieps);
    let properties: Vec<_> = items.iter().filter(|part| is_property(part)).collect();
    if !properties.is_empty() {
        ind_aud_properties(w, 4, &properties)?;
    }
    let valued = items.iter().filter(|part| is(&part.name, "Priority"));
    optional_u16(w, 5, valued.filter_map(number_after).next());
    super::optional_boolean(w, 6, switch(select_emergency));
    super::optional_boolean(w, 7, switch(select_ieps));
    let logic = [(0, "ANDLgc"), (1, "ORLgc")];
    for (number, _) in logic.into_iter().filter(|(_, word)| asked(items, word).0) {
        w.constructed(tag(8), |w| w.flag(tag(number), true));
    }
    Ok(())
}

pub(super) fn packages_descriptor(
    w: &mut Writer,
    at: u32,
    packages: &[PackageVersion<'_>],
) -> Written {
    sequences(w, at, packages, |w, package| {
        let Some(number) = package_number(&package.name) else {
            return refuse("PackagesItem", "a package of no known number");
        };
        w.primitive(tag(0), &number.to_be_bytes());
        w.unsigned(tag(1), package.version);
        Ok(())
    })
}

pub(super) fn statistics_descriptor(
    w: &mut Writer,
    at: u32,
    statistics: &[Statistic<'_>],
) -> Written {
    sequences(w, at, statistics, |w, statistic| {
        pkgd_name(
            w,
            "StatisticsParameter",
            ItemKind::Statistic,
            &statistic.name,
        )?;
        let values: Vec<&Octets<'_>> = match &statistic.value {
            None => return Ok(()),
            Some(Value::AllOf(values) | Value::AnyOf(values)) => values.iter().collect(),
            Some(Value::Between(from, to)) => vec![from, to],
            Some(
                Value::Equal(value)
                | Value::Less(value)
                | Value::Greater(value)
                | Value::NotEqual(value),
            ) => vec![value],
        };
        octet_strings(w, 1, &values);
        Ok(())
    })
}
