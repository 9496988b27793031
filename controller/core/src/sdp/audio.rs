//! The audio stream of a description that Sidestep can bypass.

use std::net::SocketAddr;

use super::description::{MediaDescription, SessionDescription};
use crate::media::{Channel, Media, Security};

/// Why a description has no audio stream that Sidestep can bypass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// No `m=audio` line.
    #[error("no audio stream")]
    NoAudio,
    /// Every audio stream has port 0 (RFC 3264 §6).
    #[error("the audio stream is rejected (port 0)")]
    Rejected,
    /// Encrypted in a way that a thin client cannot take over: without keys or
    /// fingerprints, or with several kinds of them (RFC 3830, ZRTP).
    #[error("the audio stream is encrypted")]
    Encrypted,
    /// It shares its port with other streams (RFC 9143).
    #[error("the audio stream is bundled with others")]
    Bundled,
    /// A transport that is not RTP.
    #[error("the audio stream is not RTP")]
    NotRtp,
    /// No `c=` at either level, or a name in it.
    #[error("the audio stream has no address")]
    NoAddress,
    /// A multicast address, or several ports (`m=audio 49170/2`).
    #[error("the audio stream is multicast or layered")]
    Multicast,
}

impl SessionDescription {
    /// The first audio stream that can be bypassed and is not encrypted, and its
    /// index in [`SessionDescription::media`]. A null address (hold) is taken: see
    /// [`Media::is_null_address`].
    ///
    /// RTCP is where it goes without multiplexing: `a=rtcp`, else RTP's port + 1.
    ///
    /// # Errors
    ///
    /// Where there is none: why not the first that is not rejected.
    pub fn audio(&self) -> Result<(usize, Media), AudioError> {
        self.first_audio(|index| {
            let media = self.movable(index)?;
            if media.channel.is_secure() {
                return Err(AudioError::Encrypted);
            }
            Ok(media)
        })
    }

    /// The same for an answer: there `a=rtcp-mux` is agreed, not a wish
    /// (RFC 5761 §5.1.1), so that RTCP goes where RTP goes.
    ///
    /// # Errors
    ///
    /// As [`SessionDescription::audio`].
    pub fn audio_of_answer(&self) -> Result<(usize, Media), AudioError> {
        let (index, media) = self.audio()?;
        Ok((index, self.with_mux_agreed(index, media)))
    }

    /// The first audio stream that can be bypassed, encrypted or not; `stream`:
    /// only this one, which is known from an earlier description of the session
    /// (RFC 3264 §8).
    ///
    /// # Errors
    ///
    /// As [`SessionDescription::audio`].
    pub fn movable_audio(&self, stream: Option<usize>) -> Result<(usize, Media), AudioError> {
        match stream {
            Some(index) => Ok((index, self.movable(index)?)),
            None => self.first_audio(|index| self.movable(index)),
        }
    }

    /// The same for an answer.
    ///
    /// # Errors
    ///
    /// As [`SessionDescription::audio`].
    pub fn movable_audio_of_answer(
        &self,
        stream: Option<usize>,
    ) -> Result<(usize, Media), AudioError> {
        let (index, media) = self.movable_audio(stream)?;
        Ok((index, self.with_mux_agreed(index, media)))
    }

    /// Whether another audio stream than this one is not rejected.
    pub fn has_other_audio(&self, stream: usize) -> bool {
        self.live_audio().any(|index| index != stream)
    }

    fn with_mux_agreed(&self, index: usize, mut media: Media) -> Media {
        if self.media.get(index).is_some_and(|m| m.rtcp_mux) {
            media.rtcp = media.rtp;
        }
        media
    }

    fn live_audio(&self) -> impl Iterator<Item = usize> {
        let live = |m: &MediaDescription| m.is_audio() && m.port != 0;
        let streams = self.media.iter().enumerate();
        streams
            .filter(move |(_, m)| live(m))
            .map(|(index, _)| index)
    }

    fn first_audio(
        &self,
        take: impl Fn(usize) -> Result<Media, AudioError>,
    ) -> Result<(usize, Media), AudioError> {
        let mut why = None;
        for index in self.live_audio() {
            match take(index) {
                Ok(media) => return Ok((index, media)),
                Err(error) => why = why.or(Some(error)),
            }
        }
        let any = self.media.iter().any(MediaDescription::is_audio);
        Err(why.unwrap_or(if any {
            AudioError::Rejected
        } else {
            AudioError::NoAudio
        }))
    }

    fn movable(&self, index: usize) -> Result<Media, AudioError> {
        let stream = self.media.get(index).filter(|m| m.is_audio());
        let stream = stream.ok_or(AudioError::NoAudio)?;
        if stream.port == 0 {
            return Err(AudioError::Rejected);
        }
        let media = stream.audio()?;
        if self.shares_its_port(index, stream) {
            return Err(AudioError::Bundled);
        }
        Ok(media)
    }

    /// Whether another stream of its bundle goes to the same port, or will.
    fn shares_its_port(&self, index: usize, stream: &MediaDescription) -> bool {
        let Some(mid) = &stream.mid else {
            return false;
        };
        let bundles = self.session.bundles.iter().map(|(_, mids)| mids);
        bundles.filter(|mids| mids.contains(mid)).any(|mids| {
            self.media.iter().enumerate().any(|(other, m)| {
                other != index
                    && m.mid.as_ref().is_some_and(|mid| mids.contains(mid))
                    && (m.bundle_only || m.port == stream.port)
            })
        })
    }
}

impl MediaDescription {
    fn is_audio(&self) -> bool {
        self.kind.eq_ignore_ascii_case("audio")
    }

    /// What it says, if it is an RTP stream, plain or with its keys in
    /// its description.
    pub(super) fn audio(&self) -> Result<Media, AudioError> {
        let proto = self.proto.to_ascii_uppercase();
        let channel = self.channel_of(&proto)?;
        let connection = self.connection.as_ref().ok_or(AudioError::NoAddress)?;
        let ip = connection.ip().ok_or(AudioError::NoAddress)?;
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
            maxptime: self.maxptime,
            direction: self.direction,
            channel,
        })
    }

    /// Its keys or fingerprints, as its transport (upper case) has them, and its
    /// candidates. Keys of a stream that is not SRTP are a wish that few understand.
    fn channel_of(&self, proto: &str) -> Result<Channel, AudioError> {
        let mut channel = self.channel.clone();
        let wanted = match proto {
            "RTP/AVP" | "RTP/AVPF" => Security::Plain,
            "RTP/SAVP" | "RTP/SAVPF" => Security::Sdes,
            "UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF" => {
                channel.crypto.clear();
                Security::Dtls
            }
            _ if proto.contains("SAVP") => return Err(AudioError::Encrypted),
            _ => return Err(AudioError::NotRtp),
        };
        if self.section.keyed_elsewhere || channel.security() != wanted {
            return Err(AudioError::Encrypted);
        }
        if wanted != Security::Dtls {
            channel.setup = None;
        }
        Ok(channel)
    }
}
