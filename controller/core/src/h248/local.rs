//! A Local that leaves something to the gateway (`$`, H.248.1 §7.1.8), as far as
//! its codecs go.

use std::net::{Ipv4Addr, SocketAddr};

use crate::media::Codec;
use crate::sdp::{AudioReplacement, SessionDescription, static_codec};

/// What stands for `$` while the description is looked at.
const PORT: u16 = 9;
const ADDRESS: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Payload types below are fixed (RFC 3551 §6).
const DYNAMIC: u8 = 96;

/// Names of the codecs that a gateway may choose from; `None`: any, or the
/// description leaves no address open and is none to choose from.
pub fn codecs(sdp: &[u8]) -> Option<Vec<String>> {
    let (_, media) = open(sdp)?.audio().ok()?;
    let names: Vec<String> = media.codecs.into_iter().map(|codec| codec.name).collect();
    (!names.is_empty()).then_some(names)
}

/// The description with other codecs to choose from; `None`: it is none to choose
/// from. A codec that it has keeps its payload type; of the others, those that have
/// a fixed one (RFC 3551 §6) come in.
pub fn with_codecs(sdp: &[u8], names: &[String]) -> Option<Vec<u8>> {
    let open = open(sdp)?;
    let (index, media) = open.audio().ok()?;
    let mut chosen: Vec<Codec> = Vec::new();
    for name in names {
        let is = |codec: &Codec| codec.name.eq_ignore_ascii_case(name);
        let own = media.codecs.iter().find(|codec| is(codec)).cloned();
        let fixed = || (0..DYNAMIC).filter_map(static_codec).find(&is);
        chosen.extend(own.or_else(fixed));
    }
    if chosen.is_empty() {
        return None;
    }
    let with = AudioReplacement {
        rtcp: Some(media.rtcp),
        ..AudioReplacement::address(SocketAddr::new(ADDRESS.into(), media.rtp.port()))
            .codecs(chosen)
    };
    let replaced = open.replace_audio(index, &with);
    let mut out = Vec::with_capacity(replaced.len());
    let original: Vec<&[u8]> = lines(sdp).collect();
    for line in lines(&replaced) {
        // Back to `$` where it was: the m= line of audio, and the c= lines.
        let restored = original.iter().find(|o| filled(o).as_deref() == Some(line));
        match restored {
            Some(original) => out.extend_from_slice(original),
            None if line.starts_with(b"m=audio ") => out.extend(choosing(line)),
            None => out.extend_from_slice(line),
        }
    }
    Some(out)
}

/// The description, if it leaves the port open, with something in the place of
/// each `$`.
fn open(sdp: &[u8]) -> Option<SessionDescription> {
    let mut out = Vec::with_capacity(sdp.len() + 16);
    let mut any = false;
    for line in lines(sdp) {
        match filled(line) {
            Some(filled) => {
                any = true;
                out.extend(filled);
            }
            None => out.extend_from_slice(line),
        }
    }
    if !any {
        return None;
    }
    SessionDescription::parse(&out).ok()
}

/// Lines with their ends.
fn lines(sdp: &[u8]) -> impl Iterator<Item = &[u8]> {
    sdp.split_inclusive(|&b| b == b'\n')
}

/// A line with something in the place of its `$`; `None`: it has none.
fn filled(line: &[u8]) -> Option<Vec<u8>> {
    let with: &[u8] = match line {
        [b'm', b'=', ..] => b"9",
        [b'c', b'=', ..] => b"0.0.0.0",
        _ => return None,
    };
    let at = line.windows(2).position(|pair| pair == b" $")? + 1;
    let (before, after) = line.split_at_checked(at)?;
    Some([before, with, after.get(1..)?].concat())
}

/// An `m=` line with its port left open.
fn choosing(line: &[u8]) -> Vec<u8> {
    let port = format!(" {PORT} ");
    match line.windows(port.len()).position(|w| w == port.as_bytes()) {
        Some(at) => {
            let (before, after) = line.split_at(at);
            [before, b" $ ", after.get(port.len()..).unwrap_or_default()].concat()
        }
        None => line.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_may_choose_from() {
        for (sdp, expected) in [
            (
                "v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 0 8\n",
                Some("PCMU PCMA"),
            ),
            (
                "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 97\r\na=rtpmap:97 iLBC/8000\r\n",
                Some("iLBC"),
            ),
            ("v=0\nc=IN IP4 $\nm=audio $ RTP/AVP $\n", None),
            ("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n", None),
            ("v=0\nc=IN IP4 $\nm=video $ RTP/AVP 34\n", None),
            ("", None),
        ] {
            let names = codecs(sdp.as_bytes()).map(|names| names.join(" "));
            assert_eq!(names.as_deref(), expected, "{sdp}");
        }
    }

    #[test]
    fn other_codecs_leave_the_rest_open() {
        let names = ["PCMA".to_owned(), "G729".to_owned(), "opus".to_owned()];
        for (sdp, expected) in [
            (
                "v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 0\na=ptime:30\n",
                "v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 8 18\na=ptime:30\n\
                 a=rtpmap:8 PCMA/8000\na=rtpmap:18 G729/8000\n",
            ),
            (
                "v=0\r\nm=audio $ RTP/AVP 0 98\r\na=rtpmap:98 G729/8000\r\nc=IN IP4 $\r\n",
                "v=0\r\nm=audio $ RTP/AVP 8 98\r\na=rtpmap:8 PCMA/8000\r\n\
                 a=rtpmap:98 G729/8000\r\nc=IN IP4 $\r\n",
            ),
        ] {
            let changed = with_codecs(sdp.as_bytes(), &names).unwrap();
            assert_eq!(String::from_utf8(changed).unwrap(), expected, "{sdp}");
        }
        assert_eq!(
            with_codecs(b"v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 0\n", &names[2..]),
            None
        );
    }
}
