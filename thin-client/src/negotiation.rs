//! Offers and answers (RFC 3264) of one audio stream.

use std::net::SocketAddr;

use sidestep_core::media::{Channel, Codec, Direction, Media};
use sidestep_core::sdp::{Answerer, SessionDescription, answer, describe, intersect};

use crate::audio::codec::Encoding;
use crate::media::stream::Peer;

/// This end of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local<'a> {
    /// Where RTP is received.
    pub rtp: SocketAddr,
    /// In order of preference.
    pub codecs: &'a [Encoding],
    /// ms.
    pub ptime: u32,
    /// Of `o=`.
    pub session_id: u64,
    /// Of `o=`; rises with every description that differs.
    pub version: u64,
}

impl Local<'_> {
    fn codecs(&self) -> Vec<Codec> {
        self.codecs
            .iter()
            .map(|encoding| encoding.codec())
            .collect()
    }

    fn rtcp(&self) -> SocketAddr {
        SocketAddr::new(self.rtp.ip(), self.rtp.port() + 1)
    }

    /// An offer, or the description of a registration.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let media = Media {
            rtp: self.rtp,
            rtcp: self.rtcp(),
            codecs: self.codecs(),
            ptime: Some(self.ptime),
            maxptime: None,
            direction: Direction::SendRecv,
            channel: Channel::default(),
        };
        describe(&media, self.session_id, self.version)
    }

    /// The answer to an offer and what it says of the peer; or the status that
    /// refuses it.
    pub(crate) fn answer(&self, offer: &[u8]) -> Result<(Vec<u8>, Peer), u16> {
        let offer = SessionDescription::parse(offer).map_err(|_| 400u16)?;
        let codecs = self.codecs();
        let answerer = Answerer {
            rtp: self.rtp,
            rtcp: None,
            codecs: Some(&codecs),
            events: false,
            direction: Direction::SendRecv,
            ptime: Some(self.ptime),
            maxptime: None,
            session_id: self.session_id,
            version: self.version,
        };
        let answered = answer(&offer, &answerer).map_err(|_| 488u16)?;
        let (_, media) = offer.audio().map_err(|_| 488u16)?;
        let peer = self.peer(&media).ok_or(488u16)?;
        Ok((answered, peer))
    }

    /// What an answer to our offer says; `None` where it leaves us without media.
    pub(crate) fn accept(&self, answered: &[u8]) -> Option<Peer> {
        let answered = SessionDescription::parse(answered).ok()?;
        let (_, media) = answered.audio_of_answer().ok()?;
        self.peer(&media)
    }

    fn peer(&self, media: &Media) -> Option<Peer> {
        // RFC 3264 §6.1: of the offer, its order; either way its numbers are
        // those that the peer understands.
        let formats: Vec<(u8, Encoding)> = intersect(&media.codecs, &self.codecs())
            .iter()
            .filter_map(|codec| Some((codec.payload_type, Encoding::from_name(&codec.name)?)))
            .collect();
        let hears = matches!(media.direction, Direction::SendRecv | Direction::RecvOnly);
        (!formats.is_empty()).then(|| Peer {
            rtp: media.rtp,
            rtcp: media.rtcp,
            formats,
            ptime: media.ptime,
            send: hears && !media.is_null_address(),
        })
    }
}

/// The body of an address-only registration (claim 5): the stream without its
/// formats, for which `*` stands.
pub(crate) fn address_only(rtp: SocketAddr) -> Vec<u8> {
    let (ip, port) = (rtp.ip(), rtp.port());
    let version = if ip.is_ipv6() { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=- 1 1 IN {version} {ip}\r\ns=-\r\nc=IN {version} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP *\r\n"
    )
    .into_bytes()
}
