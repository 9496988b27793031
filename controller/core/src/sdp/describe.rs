//! A fresh description of one audio stream.

use std::net::SocketAddr;

use super::edit::{connection_value, direction_name, rtpmap_value};
use crate::media::{Channel, Codec, Direction, Media, Security};

/// Describes `media`: an offer, or a registration's body. Without codecs the
/// `m=` line has no format, which only a registration may have (the document's
/// address-only variant, step 301).
pub fn describe(media: &Media, session_id: u64, version: u64) -> Vec<u8> {
    let mut out = header(media.rtp, session_id, version, "0 0", &media.channel);
    Stream {
        proto: match media.channel.security() {
            Security::Plain => "RTP/AVP",
            Security::Sdes => "RTP/SAVP",
            Security::Dtls => "UDP/TLS/RTP/SAVP",
        },
        rtp: media.rtp,
        rtcp: Some(media.rtcp),
        rtcp_mux: media.rtcp == media.rtp,
        codecs: &media.codecs,
        ptime: media.ptime,
        maxptime: media.maxptime,
        direction: media.direction,
        channel: &media.channel,
    }
    .write(&mut out);
    out.into_bytes()
}

/// The session level (RFC 8866 §5), with the stream's address and the value of
/// `t=`.
pub(super) fn header(
    address: SocketAddr,
    session_id: u64,
    version: u64,
    time: &str,
    channel: &Channel,
) -> String {
    let connection = connection_value(address);
    let lite = if channel.ice_lite {
        "a=ice-lite\r\n"
    } else {
        ""
    };
    format!(
        "v=0\r\no=- {session_id} {version} {connection}\r\ns=-\r\nc={connection}\r\nt={time}\r\n{lite}"
    )
}

/// One RTP stream to be written.
pub(super) struct Stream<'a> {
    pub proto: &'a str,
    pub rtp: SocketAddr,
    pub rtcp: Option<SocketAddr>,
    pub rtcp_mux: bool,
    pub codecs: &'a [Codec],
    pub ptime: Option<u32>,
    pub maxptime: Option<u32>,
    pub direction: Direction,
    pub channel: &'a Channel,
}

impl Stream<'_> {
    pub(super) fn write(&self, out: &mut String) {
        let port = self.rtp.port();
        let mut text = format!("m=audio {port} {}", self.proto);
        for codec in self.codecs {
            text += &format!(" {}", codec.payload_type);
        }
        text += "\r\n";
        for codec in self.codecs {
            text += &format!("a=rtpmap:{}\r\n", rtpmap_value(codec));
            if let Some(fmtp) = &codec.fmtp {
                text += &format!("a=fmtp:{} {fmtp}\r\n", codec.payload_type);
            }
        }
        if let Some(ptime) = self.ptime {
            text += &format!("a=ptime:{ptime}\r\n");
        }
        if let Some(maxptime) = self.maxptime {
            text += &format!("a=maxptime:{maxptime}\r\n");
        }
        text += &format!("a={}\r\n", direction_name(self.direction));
        if self.rtcp_mux {
            text += "a=rtcp-mux\r\n";
        } else if let Some(rtcp) = self.rtcp {
            if rtcp.ip() != self.rtp.ip() {
                text += &format!("a=rtcp:{} {}\r\n", rtcp.port(), connection_value(rtcp));
            } else if rtcp.port() != port.saturating_add(1) {
                text += &format!("a=rtcp:{}\r\n", rtcp.port());
            }
        }
        for key in &self.channel.crypto {
            text += &format!("a=crypto:{key}\r\n");
        }
        for line in &self.channel.dtls {
            text += &format!("a={line}\r\n");
        }
        if let Some(setup) = self.channel.setup {
            text += &format!("a=setup:{}\r\n", setup.name());
        }
        for line in &self.channel.ice {
            text += &format!("a={line}\r\n");
        }
        out.push_str(&text);
    }
}
