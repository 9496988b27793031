//! What each party is told about the others' media, and that `o=` versions rise
//! when, and only when, what is told changes (RFC 3264 §8).

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use crate::media::{Codec, Direction, Media};
use crate::sdp::{self, AudioError, AudioReplacement, SdpError, SessionDescription};

/// A description with one audio stream that can be bypassed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) sdp: SessionDescription,
    index: usize,
    pub(crate) media: Media,
}

/// Why a body is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undescribed {
    #[error(transparent)]
    Sdp(#[from] SdpError),
    #[error(transparent)]
    Audio(#[from] AudioError),
}

impl Undescribed {
    /// What the call says: a rejected stream means that no codec suited.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Audio(AudioError::Rejected) => Reason::NoCommonCodec,
            _ => Reason::SdpNotUnderstood,
        }
    }
}

impl Described {
    /// Reads an offer.
    pub(crate) fn offer(body: &[u8]) -> Result<Self, Undescribed> {
        let sdp = SessionDescription::parse(body)?;
        let (index, media) = sdp.audio()?;
        Ok(Self { sdp, index, media })
    }

    /// Reads an answer.
    pub(crate) fn answer(body: &[u8]) -> Result<Self, Undescribed> {
        let sdp = SessionDescription::parse(body)?;
        let (index, media) = sdp.audio_of_answer()?;
        Ok(Self { sdp, index, media })
    }

    /// The same description with other media: its address, and its codecs if it
    /// has any. A stream on hold by a null address stays so.
    pub(crate) fn with(&self, media: &Media, direction: Option<Direction>) -> Vec<u8> {
        let replacement = AudioReplacement {
            direction,
            ..AudioReplacement::media(media)
        };
        self.sdp.replace_audio(self.index, &replacement)
    }

    /// The next description of a session that we describe ourselves: here a null
    /// address of before is not kept, and the direction is the media's.
    pub(crate) fn next(&self, media: &Media) -> Vec<u8> {
        let replacement = AudioReplacement {
            direction: Some(media.direction),
            origin_version: self.version().map(|version| version.saturating_add(1)),
            replace_null: true,
            ..AudioReplacement::media(media)
        };
        self.sdp.replace_audio(self.index, &replacement)
    }

    /// Whether it names a codec that carries speech, and that is known here.
    pub(crate) fn carries_speech(&self) -> bool {
        self.media.codecs.iter().any(|codec| !codec.is_auxiliary())
    }

    /// Whether its user holds the call (RFC 3264 §8.4).
    pub(crate) fn is_hold(&self) -> bool {
        self.media.is_null_address()
            || matches!(
                self.media.direction,
                Direction::SendOnly | Direction::Inactive
            )
    }

    /// Session version of `o=`.
    pub(crate) fn version(&self) -> Option<u64> {
        self.sdp.origin().map(|origin| origin.sess_version)
    }

    fn session(&self) -> Option<&str> {
        self.sdp.origin().map(|origin| origin.sess_id.as_str())
    }
}

/// What one party has been told in a session, last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    last: Option<Described>,
    /// What was told before that.
    before: Option<Media>,
    /// The last was an offer, and refused: what was before stands.
    retracted: bool,
}

impl Told {
    /// What was told last.
    pub(crate) fn last(&self) -> Option<&Described> {
        self.last.as_ref()
    }

    /// The media that it goes by.
    pub(crate) fn media(&self) -> Option<&Media> {
        match (self.retracted, &self.before) {
            (true, Some(before)) => Some(before),
            _ => self.last.as_ref().map(|described| &described.media),
        }
    }

    /// It has refused what it was offered last (RFC 3261 §14.1: the session stays
    /// as it was).
    pub(crate) fn retract(&mut self) {
        self.retracted = true;
    }

    fn set(&mut self, new: Described) {
        self.before = self.media().cloned();
        self.retracted = false;
        self.last = Some(new);
    }

    /// Tells `body`: as it is, or with a session version above the last one if
    /// something else had that version already.
    pub(crate) fn say(&mut self, body: Vec<u8>) -> Vec<u8> {
        let Ok(new) = Described::answer(&body) else {
            return body;
        };
        let Some(last) = self
            .last
            .as_ref()
            .filter(|last| last.session() == new.session())
        else {
            self.set(new);
            return body;
        };
        let (Some(told), Some(version)) = (last.version(), new.version()) else {
            self.set(new);
            return body;
        };
        if told < version || last.sdp.bytes() == body {
            self.set(new);
            return body;
        }
        if new.sdp.with_version(told) == last.sdp.bytes() {
            let bytes = last.sdp.bytes().to_vec();
            self.set(last.clone());
            return bytes;
        }
        let raised = new.sdp.with_version(told.saturating_add(1));
        if let Ok(raised) = Described::answer(&raised) {
            self.set(raised);
        }
        raised
    }
}

/// The answer that a bypassed VM gets to its offer: the gateway's, but the audio
/// goes to the discard address, and its codecs are such as the VM offered
/// (RFC 3264 §6.1). What the gateway chose is taken where the VM offered it, but
/// G.711 first: nobody will hear it, so the cheapest will do. Other streams and
/// attributes (preconditions, RFC 3312) are the gateway's own. `None`: the VM's
/// offer has no codec that carries speech.
pub(crate) fn answer_to_vm(
    offer: &Described,
    gateway: &Described,
    discard: Ipv4Addr,
) -> Option<Vec<u8>> {
    let offered = || offer.media.codecs.iter().filter(|c| !c.is_auxiliary());
    let speech = offered()
        .find(|c| {
            ["PCMU", "PCMA"]
                .iter()
                .any(|n| c.name.eq_ignore_ascii_case(n))
        })
        .or_else(|| offered().find(|c| gateway.media.codecs.iter().any(|g| g.same_encoding(c))))
        .or_else(|| offered().next())?;
    let events = |c: &&Codec| c.name.eq_ignore_ascii_case("telephone-event");
    let mut codecs = vec![speech.clone()];
    codecs.extend(offer.media.codecs.iter().filter(events).cloned());
    let replacement = AudioReplacement {
        rtcp_mux: Some(false),
        direction: Some(sdp::answered(
            offer.media.direction,
            gateway.media.direction,
        )),
        ..AudioReplacement::address(SocketAddr::new(discard.into(), offer.media.rtp.port()))
            .codecs(codecs)
    };
    Some(gateway.sdp.replace_audio(gateway.index, &replacement))
}

/// Whether two codec lists share one that carries speech. A list that is not
/// known shares all.
pub(crate) fn share_speech(one: &[Codec], other: &[Codec]) -> bool {
    one.is_empty()
        || other.is_empty()
        || sdp::intersect(one, other).iter().any(|c| !c.is_auxiliary())
}

/// Whether a TC that was promised to the gateway as `promised`, and that answers
/// the gateway's `chosen` codecs with `answered`, has changed (step 305): another
/// address, or a codec gone that was promised and that the gateway may send.
pub(crate) fn has_changed(promised: &Media, chosen: &[Codec], answered: &Media) -> bool {
    let is_promised = |codec: &Codec| {
        promised.codecs.is_empty() || promised.codecs.iter().any(|p| p.same_encoding(codec))
    };
    promised.rtp != answered.rtp
        || promised.rtcp != answered.rtcp
        || chosen
            .iter()
            .filter(|codec| !codec.is_auxiliary() && is_promised(codec))
            .any(|codec| !answered.codecs.iter().any(|a| a.same_encoding(codec)))
}
