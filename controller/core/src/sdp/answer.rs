//! A valid answer to an offer (RFC 3264 §6).

use std::net::SocketAddr;

use super::audio::AudioError;
use super::codec::intersect;
use super::describe::{Stream, header};
use super::description::SessionDescription;
use crate::media::{Channel, Codec, Direction};

/// What the answerer is and takes.
#[derive(Debug, Clone)]
pub struct Answerer<'a> {
    /// Where RTP is to be sent.
    pub rtp: SocketAddr,
    /// Where RTCP is to be sent. `None`: RTP's port + 1. The same as `rtp`:
    /// multiplexed, if the offer has `a=rtcp-mux` (RFC 5761 §5.1.1).
    pub rtcp: Option<SocketAddr>,
    /// Codecs it takes. `None`: all that are offered.
    pub codecs: Option<&'a [Codec]>,
    /// Takes telephone events (RFC 4733) if they are offered, whether `codecs`
    /// has them or not.
    pub events: bool,
    /// What it would like to do; the offer bounds it (RFC 3264 §6.1).
    pub direction: Direction,
    /// `a=ptime`, ms.
    pub ptime: Option<u32>,
    /// `a=maxptime`, ms.
    pub maxptime: Option<u32>,
    /// Session id of its `o=`.
    pub session_id: u64,
    /// Session version of its `o=`.
    pub version: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The offer has no stream to accept.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// No codec that carries speech is common to both.
    #[error("no codec in common")]
    NoCommonCodec,
}

/// Answers `offer`: its audio stream accepted with the offered payload types,
/// every other stream rejected (port 0), the same number of `m=` lines in the
/// same order (RFC 3264 §6).
///
/// # Errors
///
/// Where the offer has no audio stream that Sidestep takes, or none of its
/// codecs is taken.
pub fn answer(offer: &SessionDescription, answerer: &Answerer<'_>) -> Result<Vec<u8>, AnswerError> {
    answer_with(offer, answerer, &Channel::default())
}

/// The same, with the answerer's keys and candidates.
///
/// # Errors
///
/// The same; and where one of both is encrypted and the other is not.
pub fn answer_with(
    offer: &SessionDescription,
    answerer: &Answerer<'_>,
    channel: &Channel,
) -> Result<Vec<u8>, AnswerError> {
    let (index, media) = offer.movable_audio(None)?;
    if media.channel.security() != channel.security() {
        return Err(AnswerError::Audio(AudioError::Encrypted));
    }
    let no_channel = Channel::default();
    let channel = if media.channel.has_ice() || channel.is_secure() {
        channel
    } else {
        &no_channel
    };
    let codecs = match answerer.codecs {
        None => media.codecs,
        Some(supported) => {
            let mut taken = intersect(&media.codecs, supported);
            if answerer.events {
                let events = |c: &&Codec| c.name.eq_ignore_ascii_case("telephone-event");
                for event in media.codecs.iter().filter(events) {
                    if !taken.iter().any(|c| c.payload_type == event.payload_type) {
                        taken.push(event.clone());
                    }
                }
            }
            taken
        }
    };
    if codecs.iter().all(Codec::is_auxiliary) {
        return Err(AnswerError::NoCommonCodec);
    }
    let offered_mux = offer.media.get(index).is_some_and(|m| m.rtcp_mux);
    // The times of an answer are the offer's (RFC 3264 §6).
    let times = offer.lines.iter().find(|line| line.kind == b't');
    let times = times.and_then(|line| std::str::from_utf8(offer.text(&line.value)).ok());
    let mut out = header(
        answerer.rtp,
        answerer.session_id,
        answerer.version,
        times.unwrap_or("0 0"),
        channel,
    );
    for (at, description) in offer.media.iter().enumerate() {
        if at == index {
            let stream = Stream {
                proto: &description.proto,
                rtp: answerer.rtp,
                rtcp: answerer.rtcp,
                rtcp_mux: offered_mux && answerer.rtcp == Some(answerer.rtp),
                codecs: &codecs,
                ptime: answerer.ptime,
                maxptime: answerer.maxptime,
                direction: answered(media.direction, answerer.direction),
                channel,
            };
            stream.write(&mut out);
        } else {
            // A rejected stream repeats its formats; their meaning is gone
            // (RFC 3264 §6).
            out.push_str(&format!("m={} 0 {}", description.kind, description.proto));
            for format in &description.formats {
                out.push(' ');
                out.push_str(format);
            }
            out.push_str("\r\n");
        }
    }
    Ok(out.into_bytes())
}

/// The direction of an answer (RFC 3264 §6.1): the mirror of what is offered, of
/// which the answerer takes what it `wants`.
pub(crate) fn answered(offered: Direction, wants: Direction) -> Direction {
    let sends = |d| matches!(d, Direction::SendRecv | Direction::SendOnly);
    let receives = |d| matches!(d, Direction::SendRecv | Direction::RecvOnly);
    match (
        sends(wants) && receives(offered),
        receives(wants) && sends(offered),
    ) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}
