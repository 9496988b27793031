//! Media and its parts, Modem, Mux (H.248.1 §7.1.2 to §7.1.8, Annex A).

use super::audit::statistics_descriptor;
use super::{Written, optional_boolean, property_parm, refuse, sequences, tag, termination_id};
use crate::h248::binary::ber::Tag;
use crate::h248::binary::groups;
use crate::h248::binary::words::{MODEMS, MUXES, SERVICE_STATES, STREAM_MODES, number, place};
use crate::h248::binary::writer::Writer;
use crate::h248::model::{
    BufferControl, Description, LocalControl, MediaDescriptor, ModemDescriptor, MuxDescriptor,
    Stream, TerminationState,
};

pub(super) fn media_descriptor(w: &mut Writer, at: u32, media: &MediaDescriptor<'_>) -> Written {
    w.try_constructed(tag(at), |w| {
        if let Some(state) = &media.state {
            w.try_constructed(tag(0), |w| termination_state(w, state))?;
        }
        match media.streams.as_slice() {
            [] => Ok(()),
            [stream @ Stream { id: None, .. }] => w.try_constructed(tag(1), |w| {
                w.try_constructed(tag(0), |w| stream_parms(w, stream))
            }),
            streams => w.try_constructed(tag(1), |w| sequences(w, 1, streams, stream_descriptor)),
        }
    })
}

fn stream_descriptor(w: &mut Writer, stream: &Stream<'_>) -> Written {
    let Some(id) = stream.id else {
        return refuse("StreamDescriptor", "one of several streams without an id");
    };
    w.unsigned(tag(0), id);
    w.try_constructed(tag(1), |w| stream_parms(w, stream))
}

fn stream_parms(w: &mut Writer, stream: &Stream<'_>) -> Written {
    if let Some(control) = &stream.control {
        w.try_constructed(tag(0), |w| local_control(w, control))?;
    }
    for (number, description) in [(1, &stream.local), (2, &stream.remote)] {
        if let Some(description) = description {
            w.try_constructed(tag(number), |w| local_remote_descriptor(w, description))?;
        }
    }
    match &stream.statistics {
        Some(statistics) => statistics_descriptor(w, 3, statistics),
        None => Ok(()),
    }
}

fn local_control(w: &mut Writer, control: &LocalControl<'_>) -> Written {
    if let Some(mode) = control.mode {
        w.unsigned(tag(0), place(STREAM_MODES, mode));
    }
    optional_boolean(w, 1, control.reserve_value);
    optional_boolean(w, 2, control.reserve_group);
    sequences(w, 3, &control.properties, property_parm)
}

fn local_remote_descriptor(w: &mut Writer, description: &Description<'_>) -> Written {
    let mut properties = Writer::default();
    super::elements(&mut properties, &description.properties, property_parm)?;
    let properties = properties.finish();
    w.try_constructed(tag(0), |w| {
        let form = w.value_form();
        groups::write(w, description, &properties, form)
            .or_else(|what| refuse("LocalRemoteDescriptor", what))
    })
}

fn termination_state(w: &mut Writer, state: &TerminationState<'_>) -> Written {
    sequences(w, 0, &state.properties, property_parm)?;
    if let Some(buffer) = state.buffer {
        let number = match buffer {
            BufferControl::Off => 0u32,
            BufferControl::LockStep => 1,
        };
        w.unsigned(tag(1), number);
    }
    if let Some(state) = state.service_state {
        w.unsigned(tag(2), place(SERVICE_STATES, state));
    }
    Ok(())
}

pub(super) fn modem_descriptor(w: &mut Writer, at: u32, modem: &ModemDescriptor<'_>) -> Written {
    w.try_constructed(tag(at), |w| {
        w.try_constructed(tag(0), |w| {
            modem.kinds.iter().try_for_each(|kind| {
                let Some(kind) = number(MODEMS, kind) else {
                    return refuse("ModemType", "a word of no known number");
                };
                w.unsigned(Tag::ENUMERATED, kind);
                Ok(())
            })
        })?;
        sequences(w, 1, &modem.properties, property_parm)
    })
}

pub(super) fn mux_descriptor(w: &mut Writer, at: u32, mux: &MuxDescriptor<'_>) -> Written {
    w.try_constructed(tag(at), |w| {
        let Some(kind) = number(MUXES, &mux.kind) else {
            return refuse("MuxType", "a word of no known number");
        };
        w.unsigned(tag(0), kind);
        sequences(w, 1, &mux.terminations, termination_id)
    })
}
