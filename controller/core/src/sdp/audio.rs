//! The one audio stream of a description that Sidestep can bypass.

use std::net::SocketAddr;

use super::description::{MediaDescription, SessionDescription};
use crate::media::Media;

/// Why a description has no audio stream that Sidestep can bypass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// No `m=audio` line.
    #[error("no audio stream")]
    NoAudio,
    /// More than one that is not rejected.
    #[error("more than one audio stream")]
    SeveralAudio,
    /// Every audio stream has port 0 (RFC 3264 §6).
    #[error("the audio stream is rejected (port 0)")]
    Rejected,
    /// Not plain RTP: SRTP, DTLS, or keys in the description.
    #[error("the audio stream is encrypted")]
    Encrypted,
    /// A transport that is not RTP.
    #[error("the audio stream is not RTP")]
    NotRtp,
    /// No `c=` at either level, or a name in it.
    #[error("the audio stream has no address")]
    NoAddress,
    /// An IPv6 address; the datapath takes IPv4.
    #[error("the audio stream's address is not IPv4")]
    NotIp4,
    /// A multicast address, or several ports (`m=audio 49170/2`).
    #[error("the audio stream is multicast or layered")]
    Multicast,
}

impl SessionDescription {
    /// The audio stream that can be bypassed, and its index in
    /// [`SessionDescription::media`]. A null address (hold) is taken: see
    /// [`Media::is_null_address`].
    ///
    /// RTCP is where it goes without multiplexing: `a=rtcp`, else RTP's port + 1.
    ///
    /// # Errors
    ///
    /// Where there is none, or several.
    pub fn audio(&self) -> Result<(usize, Media), AudioError> {
        let index = self.audio_index()?;
        let description = self.media.get(index).ok_or(AudioError::NoAudio)?;
        Ok((index, description.audio()?))
    }

    /// The same for an answer: there `a=rtcp-mux` is agreed, not a wish
    /// (RFC 5761 §5.1.1), so that RTCP goes where RTP goes.
    ///
    /// # Errors
    ///
    /// As [`SessionDescription::audio`].
    pub fn audio_of_answer(&self) -> Result<(usize, Media), AudioError> {
        let (index, mut media) = self.audio()?;
        if self.media.get(index).is_some_and(|m| m.rtcp_mux) {
            media.rtcp = media.rtp;
        }
        Ok((index, media))
    }

    /// The index of the only audio stream with a port.
    pub(super) fn audio_index(&self) -> Result<usize, AudioError> {
        let audio = || {
            self.media
                .iter()
                .enumerate()
                .filter(|(_, m)| m.kind.eq_ignore_ascii_case("audio"))
        };
        let mut live = audio().filter(|(_, m)| m.port != 0);
        match (live.next(), live.next()) {
            (Some((index, _)), None) => Ok(index),
            (Some(_), Some(_)) => Err(AudioError::SeveralAudio),
            (None, _) if audio().next().is_some() => Err(AudioError::Rejected),
            (None, _) => Err(AudioError::NoAudio),
        }
    }
}

impl MediaDescription {
    /// What it says, if it is an RTP stream over IPv4 that is not encrypted.
    pub(super) fn audio(&self) -> Result<Media, AudioError> {
        let proto = self.proto.to_ascii_uppercase();
        if self.encrypted || proto.contains("SAVP") {
            return Err(AudioError::Encrypted);
        }
        if proto != "RTP/AVP" && proto != "RTP/AVPF" {
            return Err(AudioError::NotRtp);
        }
        let connection = self.connection.as_ref().ok_or(AudioError::NoAddress)?;
        let ip = connection.ip().ok_or(AudioError::NoAddress)?;
        if !ip.is_ipv4() {
            return Err(AudioError::NotIp4);
        }
        if ip.is_multicast() || self.port_count > 1 {
            return Err(AudioError::Multicast);
        }
        let rtcp = match self.rtcp {
            Some(rtcp) => SocketAddr::new(rtcp.address.unwrap_or(ip), rtcp.port),
            None => SocketAddr::new(ip, self.port.saturating_add(1)),
        };
        Ok(Media {
            rtp: SocketAddr::new(ip, self.port),
            rtcp,
            codecs: self.codecs(),
            ptime: self.ptime,
            direction: self.direction,
        })
    }
}
