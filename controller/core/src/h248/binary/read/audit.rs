//! Audits, packages, statistics (H.248.1 §7.1.12, §7.1.15, §7.1.16, Annex A).
//!
//! What is asked of a part of a descriptor (IndAudParameter, version 2) becomes the
//! words that Annex B has for it.

use super::media::{service_state, stream_mode};
use super::name::{name, pkgd_name};
use super::value::{plain_value, property_parm};
use super::{Fields, chosen, sequences};
use crate::h248::binary::ber::{Element, Failure};
use crate::h248::binary::words::{AUDIT_TOKENS, SERVICE_STATES, STREAM_MODES};
use crate::h248::model::{
    AuditDescriptor, AuditItem, AuditToken, ItemName, Octets, PackageVersion, ParameterName,
    Selection, Statistic, Value,
};
use crate::h248::packages::{ItemKind, by_number, text_of};

pub(super) fn audit_descriptor<'a>(element: &Element<'a>) -> Result<AuditDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, "AuditDescriptor")?;
    let tokens = fields.optional(0)?;
    let parts = fields.optional(1)?;
    fields.end(2)?;
    let mut items = Vec::new();
    if let Some(tokens) = tokens {
        items.extend(audit_tokens(&tokens)?.into_iter().map(AuditItem::Whole));
    }
    if let Some(parts) = parts {
        let mut reader = parts.children("IndAuditParameter")?;
        while let Some(part) = reader.next()? {
            items.extend(ind_audit_parameter(&part)?.map(AuditItem::Part));
        }
    }
    Ok(AuditDescriptor { items })
}

fn audit_tokens(element: &Element<'_>) -> Result<Vec<AuditToken>, Failure> {
    let bits = element.bits()?;
    let tokens = AUDIT_TOKENS.iter().enumerate();
    let set = tokens.filter(|(bit, _)| bits & (1 << bit) != 0);
    Ok(set.map(|(_, token)| *token).collect())
}

/// `emptyDescriptors` of a TerminationAudit.
pub(super) fn empty_descriptors(element: &Element<'_>) -> Result<Vec<AuditToken>, Failure> {
    let mut fields = Fields::of(element, "AuditDescriptor")?;
    let tokens = fields.optional(0)?;
    tokens.as_ref().map_or(Ok(Vec::new()), audit_tokens)
}

/// A word of Annex B.
pub(super) fn token<'a>(word: &'static str) -> Selection<'a> {
    of(word, Vec::new())
}

fn of<'a>(word: impl Into<Octets<'a>>, parts: Vec<Selection<'a>>) -> Selection<'a> {
    Selection {
        name: word.into(),
        value: None,
        parts,
    }
}

fn equal<'a>(word: &'static str, value: impl ToString) -> Selection<'a> {
    Selection {
        value: Some(Value::Equal(value.to_string().into())),
        ..token(word)
    }
}

/// A package's item by its name in text, or by its numbers where it has none.
fn item<'a>(kind: ItemKind, name: ItemName<'_>) -> Selection<'a> {
    let name = text_of(kind, &name).unwrap_or_else(|| name.into_owned());
    of(name.to_string(), Vec::new())
}

fn ind_audit_parameter<'a>(element: &Element<'a>) -> Result<Option<Selection<'a>>, Failure> {
    match element.tag.alternative() {
        Some(0) => ind_aud_media(element),
        Some(1) => ind_aud_events(element),
        Some(2) => ind_aud_event_buffer(element),
        Some(3) => ind_aud_signals(&chosen(element, "IndAudSignalsDescriptor")?),
        Some(4) => ind_aud_digit_map(element),
        Some(5) => ind_aud_statistics(element).map(|one| of("Statistics", vec![one])),
        Some(6) => ind_aud_packages(element),
        Some(_) => return Ok(None),
        None => Err(element.error("not an IndAuditParameter")),
    }
    .map(Some)
}

fn ind_aud_events<'a>(element: &Element<'a>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudEventsDescriptor")?;
    let request = fields.optional(0)?;
    let name = pkgd_name(&fields.required(1, "no pkgdName")?)?;
    let stream = fields.optional(2)?;
    fields.end(3)?;
    let mut event = item(ItemKind::Event, name);
    if let Some(stream) = stream {
        event.parts.push(equal("Stream", stream.u16()?));
    }
    let events = match request {
        Some(request) => equal("Events", request.u32()?),
        None => token("Events"),
    };
    Ok(Selection {
        parts: vec![event],
        ..events
    })
}

fn ind_aud_event_buffer<'a>(element: &Element<'a>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudEventBufferDescriptor")?;
    let name = pkgd_name(&fields.required(0, "no eventName")?)?;
    let stream = fields.optional(1)?;
    fields.end(2)?;
    let mut event = item(ItemKind::Event, name);
    if let Some(stream) = stream {
        event.parts.push(equal("Stream", stream.u16()?));
    }
    Ok(of("EventBuffer", vec![event]))
}

fn ind_aud_digit_map<'a>(element: &Element<'a>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudDigitMapDescriptor")?;
    let name = fields.optional(0)?;
    fields.end(1)?;
    let name = name.map(|name| name.octets()).transpose()?;
    Ok(Selection {
        value: name.map(|name| Value::Equal(Octets(name))),
        ..token("DigitMap")
    })
}

fn ind_aud_packages<'a>(element: &Element<'_>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudPackagesDescriptor")?;
    let name = name(&fields.required(0, "no packageName")?)?;
    let version = fields.required(1, "no packageVersion")?.u8(99)?;
    fields.end(2)?;
    let known = match name {
        ParameterName::Number(number) => by_number(number),
        ParameterName::Text(_) => None,
    };
    let word = known.map_or_else(|| name.to_string(), |known| known.name.to_owned());
    let package = of(format!("{word}-{version}"), Vec::new());
    Ok(of("Packages", vec![package]))
}

fn ind_aud_statistics<'a>(element: &Element<'_>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudStatisticsDescriptor")?;
    let name = pkgd_name(&fields.required(0, "no statName")?)?;
    fields.end(1)?;
    Ok(item(ItemKind::Statistic, name))
}

fn ind_aud_signals<'a>(element: &Element<'_>) -> Result<Selection<'a>, Failure> {
    match element.tag.alternative() {
        Some(0) => Ok(of("Signals", vec![ind_aud_signal(element)?])),
        Some(1) => {
            let mut fields = Fields::of(element, "IndAudSeqSigList")?;
            let id = fields.required(0, "no id")?.u16()?;
            let signal = fields.optional(1)?;
            fields.end(2)?;
            let signal = signal.as_ref().map(ind_aud_signal).transpose()?;
            let list = Selection {
                parts: signal.into_iter().collect(),
                ..equal("SignalList", id)
            };
            Ok(of("Signals", vec![list]))
        }
        _ => Err(element.error("an unknown alternative")),
    }
}

fn ind_aud_signal<'a>(element: &Element<'_>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudSignal")?;
    let name = pkgd_name(&fields.required(0, "no signalName")?)?;
    let mut signal = item(ItemKind::Signal, name);
    if let Some(stream) = fields.optional(1)? {
        signal.parts.push(equal("Stream", stream.u16()?));
    }
    if let Some(request) = fields.optional(2)? {
        signal.parts.push(equal("SPARequestID", request.u32()?));
    }
    fields.end(3)?;
    Ok(signal)
}

fn ind_aud_media<'a>(element: &Element<'a>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudMediaDescriptor")?;
    let state = fields.optional(0)?;
    let streams = fields.optional(1)?;
    fields.end(2)?;
    let mut parts = Vec::new();
    if let Some(state) = state {
        let asked = ind_aud_termination_state(&state)?;
        parts.push(of("TerminationState", asked));
    }
    if let Some(streams) = streams {
        let streams = chosen(&streams, "streams")?;
        match streams.tag.alternative() {
            Some(0) => parts.extend(ind_aud_stream_parms(&streams)?),
            Some(1) => parts.extend(sequences(&streams, "multiStream", ind_aud_stream)?),
            _ => return Err(streams.error("an unknown alternative")),
        }
    }
    Ok(of("Media", parts))
}

fn ind_aud_stream<'a>(element: &Element<'a>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudStreamDescriptor")?;
    let id = fields.required(0, "no streamID")?.u16()?;
    let parameters = fields.required(1, "no streamParms")?;
    fields.end(2)?;
    Ok(Selection {
        parts: ind_aud_stream_parms(&parameters)?,
        ..equal("Stream", id)
    })
}

fn ind_aud_stream_parms<'a>(element: &Element<'a>) -> Result<Vec<Selection<'a>>, Failure> {
    let mut fields = Fields::of(element, "IndAudStreamParms")?;
    let mut parts = Vec::new();
    if let Some(control) = fields.optional(0)? {
        parts.push(of("LocalControl", ind_aud_local_control(&control)?));
    }
    for (number, word) in [(1, "Local"), (2, "Remote")] {
        if let Some(description) = fields.optional(number)? {
            let mut inside = Fields::of(&description, "IndAudLocalRemoteDescriptor")?;
            // propGroupID: which alternative; Annex B has no word for it.
            inside.optional(0)?;
            let group = inside.required(1, "no propGrps")?;
            inside.end(2)?;
            let properties = sequences(&group, "propGrps", ind_aud_property_parm)?;
            parts.push(of(word, properties));
        }
    }
    if let Some(statistics) = fields.optional(3)? {
        parts.push(of("Statistics", vec![ind_aud_statistics(&statistics)?]));
    }
    fields.end(4)?;
    Ok(parts)
}

fn ind_aud_local_control<'a>(element: &Element<'a>) -> Result<Vec<Selection<'a>>, Failure> {
    let mut fields = Fields::of(element, "IndAudLocalControlDescriptor")?;
    let mut parts = Vec::new();
    for (number, word) in [(0, "Mode"), (1, "ReservedValue"), (2, "ReservedGroup")] {
        if fields.optional(number)?.is_some() {
            parts.push(token(word));
        }
    }
    if let Some(properties) = fields.optional(3)? {
        let properties = sequences(&properties, "propertyParms", ind_aud_property_parm)?;
        parts.extend(properties);
    }
    if let Some(mode) = fields.optional(4)? {
        let mode = stream_mode(&mode)?;
        let word = STREAM_MODES.iter().find(|(known, _)| *known == mode);
        parts.extend(word.map(|(_, word)| equal("Mode", word)));
    }
    fields.end(5)?;
    Ok(parts)
}

fn ind_aud_termination_state<'a>(element: &Element<'a>) -> Result<Vec<Selection<'a>>, Failure> {
    let mut fields = Fields::of(element, "IndAudTerminationStateDescriptor")?;
    let properties = fields.required(0, "no propertyParms")?;
    let mut parts = sequences(&properties, "propertyParms", ind_aud_property_parm)?;
    for (number, word) in [(1, "Buffer"), (2, "ServiceStates")] {
        if fields.optional(number)?.is_some() {
            parts.push(token(word));
        }
    }
    if let Some(state) = fields.optional(3)? {
        let state = service_state(&state)?;
        let word = SERVICE_STATES.iter().find(|(known, _)| *known == state);
        parts.extend(word.map(|(_, word)| equal("ServiceStates", word)));
    }
    fields.end(4)?;
    Ok(parts)
}

pub(super) fn ind_aud_property_parm<'a>(element: &Element<'a>) -> Result<Selection<'a>, Failure> {
    let mut fields = Fields::of(element, "IndAudPropertyParm")?;
    let name = pkgd_name(&fields.required(0, "no name")?)?;
    let asked = fields.optional(1)?;
    fields.end(2)?;
    let asked = asked.as_ref().map(property_parm).transpose()?;
    Ok(Selection {
        value: asked.map(|property| property.value),
        ..item(ItemKind::Property, name)
    })
}

pub(super) fn packages_item<'a>(element: &Element<'_>) -> Result<PackageVersion<'a>, Failure> {
    let mut fields = Fields::of(element, "PackagesItem")?;
    let name = name(&fields.required(0, "no packageName")?)?;
    let version = fields.required(1, "no packageVersion")?.u16()?;
    fields.end(2)?;
    Ok(PackageVersion { name, version })
}

pub(super) fn statistics_parameter<'a>(element: &Element<'a>) -> Result<Statistic<'a>, Failure> {
    let mut fields = Fields::of(element, "StatisticsParameter")?;
    let name = pkgd_name(&fields.required(0, "no statName")?)?;
    let value = fields.optional(1)?;
    fields.end(2)?;
    Ok(Statistic {
        name,
        value: value.as_ref().map(plain_value).transpose()?,
    })
}
