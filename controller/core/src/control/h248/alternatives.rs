//! Descriptions with several alternatives (H.248.1 §7.1.8): from a `v=` line to the next,
//! most wanted first.

use super::words;
use crate::h248::model::Description;
use crate::media::{Codec, Media};
use crate::sdp::{AudioReplacement, SessionDescription};

/// A description with `first` in the place of its first alternative, and the same media
/// in each of the others. One that has no codec of it, or cannot be read, goes: its old
/// media must not be chosen.
pub(super) fn with(known: &Description<'_>, first: &[u8]) -> Vec<u8> {
    let mut out = first.to_vec();
    let known = words::plain(known);
    let mut others = known.alternatives().skip(1).peekable();
    if others.peek().is_none() {
        return out;
    }
    let Some(media) = audio(first) else {
        return out;
    };
    end_line(&mut out);
    let mut said = vec![out.clone()];
    for mut other in others.filter_map(|other| replaced(other, &media)) {
        end_line(&mut other);
        if !said.contains(&other) {
            out.extend_from_slice(&other);
            said.push(other);
        }
    }
    out
}

/// The last line ends as those before it do.
pub(super) fn end_line(sdp: &mut Vec<u8>) {
    if !sdp.ends_with(b"\n") {
        let end: &[u8] = if sdp.contains(&b'\r') { b"\r\n" } else { b"\n" };
        sdp.extend_from_slice(end);
    }
}

fn audio(sdp: &[u8]) -> Option<Media> {
    let sdp = SessionDescription::parse(sdp).ok()?;
    Some(sdp.audio_of_answer().ok()?.1)
}

/// An alternative with other media, as far as it has codecs of it.
fn replaced(alternative: &[u8], media: &Media) -> Option<Vec<u8>> {
    let sdp = SessionDescription::parse(alternative).ok()?;
    let (index, own) = sdp.audio_of_answer().ok()?;
    let has = |codec: &&Codec| own.codecs.iter().any(|own| own.same_encoding(codec));
    let codecs: Vec<Codec> = media.codecs.iter().filter(has).cloned().collect();
    if codecs.iter().all(Codec::is_auxiliary) {
        return None;
    }
    let media = Media {
        codecs,
        ..media.clone()
    };
    let with = AudioReplacement {
        // How it packs and which way it goes is each alternative's own.
        ptime: None,
        maxptime: None,
        ..AudioReplacement::media(&media)
    };
    Some(sdp.replace_audio(index, &with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alternative_gets_the_media_that_it_can_have() {
        let one = |port: u16, formats: &str| {
            format!("v=0\r\nc=IN IP4 10.71.1.11\r\nm=audio {port} RTP/AVP {formats}\r\n")
        };
        let first = "v=0\r\nc=IN IP4 10.71.2.21\r\nm=audio 9000 RTP/AVP 0 8\r\n";
        let second = first.replace("0 8", "8");
        let both = format!("{first}{second}");
        for (known, expected) in [
            (one(7000, "0"), first),
            (one(7000, "18") + &one(7000, "8"), &both),
            (one(7000, "0") + &one(7002, "18"), first),
            // Said twice.
            (one(7000, "0") + &one(7002, "8") + &one(7004, "8"), &both),
            // What leaves its codec open is in no words that could be kept.
            (one(7000, "0") + &one(7002, "$"), first),
            (
                one(7000, "0") + "v=0\r\nc=IN IP4 10.71.1.11\r\nm=video 7002 RTP/AVP 34\r\n",
                first,
            ),
        ] {
            let known = Description {
                octets: known.as_str().into(),
                ..Description::default()
            };
            let with = with(&known, first.as_bytes());
            assert_eq!(String::from_utf8(with).unwrap(), expected, "{known:?}");
        }
    }
}
