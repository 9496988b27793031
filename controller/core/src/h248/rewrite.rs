//! A message as it would leave with other media: what `sidestep decode --media`
//! shows. The call machine decides for each description; here all that it could
//! touch are touched.

use std::net::SocketAddr;

use super::change::{Change, Side};
use super::model::{Description, Transaction};
use crate::decode::RewriteError;
use crate::sdp::{AudioReplacement, SessionDescription};

/// The message with `media` as the address of every audio stream that one peer is
/// told of the other: in requests each Remote, in replies each Local. RTCP follows
/// to `media`'s port + 1. All else is that of the original; so are descriptions
/// that Sidestep would leave alone (no audio, `$` in them, encrypted).
///
/// # Errors
///
/// Where it is no message, or nothing in it would be changed.
pub fn rewrite_media(bytes: &[u8], media: SocketAddr) -> Result<Vec<u8>, RewriteError> {
    let message = super::parse(bytes)?;
    let with = AudioReplacement::address(media);
    let mut why = RewriteError::NoSdp;
    let mut changes = Vec::new();
    for (place, stream) in message.streams() {
        let (side, description) = match message.transactions().get(place.transaction) {
            Some(Transaction::Request(_)) => (Side::Remote, &stream.remote),
            _ => (Side::Local, &stream.local),
        };
        let Some(description) = description else {
            continue;
        };
        match replace_audio(description, &with) {
            Ok(sdp) => changes.push(Change::Description { place, side, sdp }),
            Err(error) => why = error,
        }
    }
    if changes.is_empty() {
        return Err(why);
    }
    super::change(bytes, &message, &changes).ok_or(why)
}

/// Each alternative of a description with other audio; those that cannot have it
/// stay as they are.
fn replace_audio(
    description: &Description<'_>,
    with: &AudioReplacement,
) -> Result<Vec<u8>, RewriteError> {
    let unescaped = Description {
        octets: description.unescaped().into_owned().into(),
        ..Description::default()
    };
    let mut out = Vec::with_capacity(unescaped.octets.len() + 16);
    let mut why = Some(RewriteError::NoSdp);
    for alternative in unescaped.alternatives() {
        let replaced = SessionDescription::parse(alternative)
            .map_err(RewriteError::from)
            .and_then(|sdp| {
                let (index, _) = sdp.audio()?;
                Ok(sdp.replace_audio(index, with))
            });
        match replaced {
            Ok(sdp) => {
                why = None;
                out.extend_from_slice(&sdp);
            }
            Err(error) => {
                why = why.map(|_| error);
                out.extend_from_slice(alternative);
            }
        }
    }
    why.map_or(Ok(out), Err)
}
