//! Session descriptions as text, for the tests of reading and of editing them.

use std::net::SocketAddr;

use sidestep_core::media::Codec;
use sidestep_core::sdp::SessionDescription;

/// A description of `tests/data/sdp`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/sdp/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

pub fn parse(bytes: &[u8]) -> SessionDescription {
    SessionDescription::parse(bytes).unwrap()
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn codec(payload_type: u8, name: &str, clock_rate: u32) -> Codec {
    Codec {
        payload_type,
        name: name.into(),
        clock_rate,
        channels: None,
        fmtp: None,
    }
}

pub fn fmtp(mut codec: Codec, fmtp: &str) -> Codec {
    codec.fmtp = Some(fmtp.into());
    codec
}

/// A description with one audio stream and these lines after `m=`.
pub fn audio_with(session: &str, attributes: &str) -> Vec<u8> {
    format!("v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\n{session}t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n{attributes}").into_bytes()
}

pub const SESSION_C: &str = "c=IN IP4 10.0.0.1\r\n";
