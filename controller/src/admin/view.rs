//! The core's views as rows.

use serde::Serialize;
use sidestep_core::engine::{CallView, ClientView};
use sidestep_core::media::{Codec, Media};

use super::rows::{CallRow, ClientRow, LegsRow, MediaRow};
use crate::clock::Wall;

/// A call as a row.
pub fn call(view: &CallView, wall: &Wall) -> CallRow {
    CallRow {
        id: view.id,
        vm: view.vm.clone(),
        thin_client: view.thin_client.clone(),
        gateway: view.gateway.to_string(),
        protocol: view.protocol.to_owned(),
        state: view.state.to_owned(),
        path: name(&view.path),
        reason: view.reason.map(|reason| reason.code().to_owned()),
        started: wall.rfc3339(view.started),
        media_seen: view.media_seen.as_ref().map(name),
        tries: view.tries.clone(),
        trial: view.trial.as_ref().map(name),
        direction: view.direction.to_owned(),
        call_id: view.call_id.clone(),
        media: LegsRow {
            vm: view.media.vm.as_ref().map(media),
            gateway: view.media.gateway.as_ref().map(media),
            tc: view.media.tc.as_ref().map(media),
        },
    }
}

/// A registered thin client as a row.
pub fn client(view: &ClientView, wall: &Wall) -> ClientRow {
    ClientRow {
        name: view.name.clone(),
        vm: view.vm.clone(),
        protocol: view.protocol.to_owned(),
        address: view.address.to_string(),
        media: view.media.as_ref().map(|media| media.rtp.to_string()),
        codecs: codecs(&view.codecs),
        expires: wall.rfc3339(view.expires),
    }
}

fn media(media: &Media) -> MediaRow {
    MediaRow {
        rtp: media.rtp.to_string(),
        rtcp: media.rtcp.to_string(),
        codecs: codecs(&media.codecs),
    }
}

fn codecs(codecs: &[Codec]) -> Vec<String> {
    codecs.iter().map(ToString::to_string).collect()
}

/// The name that a value has in JSON.
pub(super) fn name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
