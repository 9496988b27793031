//! Media and its parts, Modem, Mux (H.248.1 §7.1.2 to §7.1.8, Annex A).

use super::audit::statistics_parameter;
use super::name::termination_id;
use super::value::property_parm;
use super::{Fields, chosen, content_span, list, sequences};
use crate::h248::binary::ber::{Element, Failure, Tag};
use crate::h248::binary::groups;
use crate::h248::binary::words::{MODEMS, MUXES, SERVICE_STATES, STREAM_MODES, word};
use crate::h248::model::{
    BufferControl, Description, LocalControl, MediaDescriptor, ModemDescriptor, MuxDescriptor,
    Octets, ServiceState, Statistic, Stream, StreamMode, TerminationState,
};
use crate::h248::text;

pub(super) fn media_descriptor<'a>(element: &Element<'a>) -> Result<MediaDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, "MediaDescriptor")?;
    let state = fields.optional(0)?;
    let streams = fields.optional(1)?;
    fields.end(2)?;
    let streams = match streams {
        None => Vec::new(),
        Some(streams) => {
            let streams = chosen(&streams, "streams")?;
            match streams.tag.alternative() {
                Some(0) => vec![stream_parms(&streams, None)?],
                Some(1) => sequences(&streams, "multiStream", stream_descriptor)?,
                _ => return Err(streams.error("an unknown alternative")),
            }
        }
    };
    Ok(MediaDescriptor {
        state: state.as_ref().map(termination_state).transpose()?,
        streams,
        span: content_span(element),
    })
}

fn stream_descriptor<'a>(element: &Element<'a>) -> Result<Stream<'a>, Failure> {
    let mut fields = Fields::of(element, "StreamDescriptor")?;
    let id = fields.required(0, "no streamID")?.u16()?;
    let parameters = fields.required(1, "no streamParms")?;
    fields.end(2)?;
    stream_parms(&parameters, Some(id))
}

fn stream_parms<'a>(element: &Element<'a>, id: Option<u16>) -> Result<Stream<'a>, Failure> {
    let mut fields = Fields::of(element, "StreamParms")?;
    let control = fields.optional(0)?;
    let local = fields.optional(1)?;
    let remote = fields.optional(2)?;
    let statistics = fields.optional(3)?;
    fields.end(4)?;
    Ok(Stream {
        id,
        control: control.as_ref().map(local_control).transpose()?,
        local: local.as_ref().map(local_remote_descriptor).transpose()?,
        remote: remote.as_ref().map(local_remote_descriptor).transpose()?,
        statistics: statistics.as_ref().map(statistics_of_stream).transpose()?,
        span: content_span(element),
    })
}

fn statistics_of_stream<'a>(element: &Element<'a>) -> Result<Vec<Statistic<'a>>, Failure> {
    sequences(element, "StatisticsDescriptor", statistics_parameter)
}

fn local_control<'a>(element: &Element<'a>) -> Result<LocalControl<'a>, Failure> {
    let mut fields = Fields::of(element, "LocalControlDescriptor")?;
    let mode = fields.optional(0)?;
    let reserve_value = fields.optional(1)?;
    let reserve_group = fields.optional(2)?;
    let properties = fields.required(3, "no propertyParms")?;
    fields.end(4)?;
    Ok(LocalControl {
        mode: mode.as_ref().map(stream_mode).transpose()?,
        reserve_group: reserve_group.map(|flag| flag.boolean()).transpose()?,
        reserve_value: reserve_value.map(|flag| flag.boolean()).transpose()?,
        properties: sequences(&properties, "propertyParms", property_parm)?,
        span: content_span(element),
    })
}

pub(super) fn stream_mode(element: &Element<'_>) -> Result<StreamMode, Failure> {
    enumerated(element, STREAM_MODES, "an unknown stream mode")
}

/// The value of a number that is its place in `known`.
fn enumerated<T: Copy>(
    element: &Element<'_>,
    known: &[(T, &str)],
    unknown: &'static str,
) -> Result<T, Failure> {
    let at = usize::try_from(element.u32()?).ok();
    let value = at.and_then(|at| known.get(at));
    value
        .map(|(value, _)| *value)
        .ok_or_else(|| element.error(unknown))
}

/// LocalRemoteDescriptor: groups of properties, of which those of a session
/// description (Annex C.11) make its text.
fn local_remote_descriptor<'a>(element: &Element<'a>) -> Result<Description<'a>, Failure> {
    let mut fields = Fields::of(element, "LocalRemoteDescriptor")?;
    let groups = fields.required(0, "no propGrps")?;
    fields.end(1)?;
    // Names and lengths take more than what a line has beside its text.
    let mut octets = Vec::with_capacity(element.content().len());
    let mut properties = Vec::new();
    let mut reader = groups.children("propGrps")?;
    while let Some(group) = reader.next()? {
        let mut parms = group.children("PropertyGroup")?;
        while let Some(parm) = parms.next()? {
            if groups::write_lines(&parm, &mut octets)?.is_none() {
                properties.push(property_parm(&parm)?);
            }
        }
    }
    // The model has the octets as text would: `}` escaped.
    if octets.contains(&b'}') {
        octets = text::escaped(&octets);
    }
    Ok(Description {
        octets: Octets(octets.into()),
        properties,
        span: content_span(element),
    })
}

fn termination_state<'a>(element: &Element<'a>) -> Result<TerminationState<'a>, Failure> {
    let mut fields = Fields::of(element, "TerminationStateDescriptor")?;
    let properties = fields.required(0, "no propertyParms")?;
    let buffer = fields.optional(1)?;
    let service_state_value = fields.optional(2)?;
    fields.end(3)?;
    Ok(TerminationState {
        service_state: service_state_value
            .as_ref()
            .map(service_state)
            .transpose()?,
        buffer: buffer.as_ref().map(event_buffer_control).transpose()?,
        properties: sequences(&properties, "propertyParms", property_parm)?,
    })
}

pub(super) fn service_state(element: &Element<'_>) -> Result<ServiceState, Failure> {
    enumerated(element, SERVICE_STATES, "an unknown service state")
}

fn event_buffer_control(element: &Element<'_>) -> Result<BufferControl, Failure> {
    Ok(match element.u32()? {
        0 => BufferControl::Off,
        1 => BufferControl::LockStep,
        _ => return Err(element.error("an unknown event buffer control")),
    })
}

pub(super) fn modem_descriptor<'a>(element: &Element<'a>) -> Result<ModemDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, "ModemDescriptor")?;
    let kinds = fields.required(0, "no mtl")?;
    let properties = fields.required(1, "no mpl")?;
    fields.optional(2)?;
    fields.end(3)?;
    Ok(ModemDescriptor {
        kinds: list(&kinds, "ModemType", Tag::ENUMERATED, |kind| {
            Ok(word(MODEMS, kind.u32()?))
        })?,
        properties: sequences(&properties, "mpl", property_parm)?,
    })
}

pub(super) fn mux_descriptor<'a>(element: &Element<'a>) -> Result<MuxDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, "MuxDescriptor")?;
    let kind = fields.required(0, "no muxType")?;
    let terminations = fields.required(1, "no termList")?;
    fields.optional(2)?;
    fields.end(3)?;
    Ok(MuxDescriptor {
        kind: word(MUXES, kind.u32()?),
        terminations: sequences(&terminations, "termList", termination_id)?,
    })
}
