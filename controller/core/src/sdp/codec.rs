//! Codecs: static payload types, what a stream offers, what two have in common.

use super::description::MediaDescription;
use crate::digits::number;
use crate::media::Codec;

/// Audio payload types with a fixed meaning (RFC 3551 §6, table 4).
const STATIC: &[(u8, &str, u32, Option<u8>)] = &[
    (0, "PCMU", 8000, None),
    (3, "GSM", 8000, None),
    (4, "G723", 8000, None),
    (5, "DVI4", 8000, None),
    (6, "DVI4", 16000, None),
    (7, "LPC", 8000, None),
    (8, "PCMA", 8000, None),
    (9, "G722", 8000, None),
    (10, "L16", 44100, Some(2)),
    (11, "L16", 44100, None),
    (12, "QCELP", 8000, None),
    (13, "CN", 8000, None),
    (14, "MPA", 90000, None),
    (15, "G728", 8000, None),
    (16, "DVI4", 11025, None),
    (17, "DVI4", 22050, None),
    (18, "G729", 8000, None),
];

/// The codec that an audio payload type means without an `a=rtpmap` (RFC 3551
/// §6).
pub fn static_codec(payload_type: u8) -> Option<Codec> {
    STATIC
        .iter()
        .find(|(known, ..)| *known == payload_type)
        .map(|(_, name, clock_rate, channels)| Codec {
            payload_type,
            name: (*name).to_owned(),
            clock_rate: *clock_rate,
            channels: *channels,
            fmtp: None,
        })
}

/// The codec of an encoding name alone, as MGCP names them (RFC 3435 §2.1.5): with
/// its static payload type, or a dynamic one that the name is often given.
pub fn codec_named(name: &str) -> Codec {
    let mut fixed = STATIC.iter();
    let fixed = fixed.find(|(_, known, ..)| known.eq_ignore_ascii_case(name));
    if let Some(codec) = fixed.and_then(|(payload_type, ..)| static_codec(*payload_type)) {
        return codec;
    }
    let (payload_type, clock_rate, channels) = match name.to_ascii_lowercase().as_str() {
        "telephone-event" => (101, 8000, None),
        "opus" => (96, 48_000, Some(2)),
        "amr-wb" => (98, 16_000, None),
        _ => (97, 8000, None),
    };
    Codec {
        payload_type,
        name: name.to_owned(),
        clock_rate,
        channels,
        fmtp: None,
    }
}

impl MediaDescription {
    /// The codecs of an RTP stream in its order. A payload type that nothing
    /// explains, or that comes again, is left out.
    pub fn codecs(&self) -> Vec<Codec> {
        let mut codecs: Vec<Codec> = Vec::new();
        for format in &self.formats {
            let Some(payload_type) = number::<u8>(format.as_bytes()).filter(|p| *p < 128) else {
                continue;
            };
            if codecs.iter().any(|c| c.payload_type == payload_type) {
                continue;
            }
            let Some(mut codec) = self
                .mapped(payload_type)
                .or_else(|| static_codec(payload_type))
            else {
                continue;
            };
            let mut fmtps = self.fmtps.iter();
            codec.fmtp = fmtps
                .find(|(p, _)| *p == payload_type)
                .map(|(_, parameters)| parameters.clone());
            codecs.push(codec);
        }
        codecs
    }

    /// What `a=rtpmap` says of a payload type.
    fn mapped(&self, payload_type: u8) -> Option<Codec> {
        let mut maps = self.rtpmaps.iter();
        let map = maps.find(|map| map.payload_type == payload_type)?;
        Some(Codec {
            payload_type,
            name: map.name.clone(),
            clock_rate: map.clock_rate,
            channels: map.channels,
            fmtp: None,
        })
    }
}

/// The codecs of `offer` that `supported` has too: in the offer's order and with
/// its payload types (RFC 3264 §6.1), with the format parameters of `supported`,
/// which are the answerer's to give.
///
/// Parameters count where two forms of a codec cannot be decoded by each other:
/// `octet-align` and `mode-set` of AMR (RFC 4867 §8.3.1), `bitrate` of G.722.1
/// (RFC 5577 §4). A mode set that is offered is the answer's too. `annexb=no` of
/// G.729 from either side holds for both (RFC 7261), as do `annexa=no` of G.723.1
/// (RFC 4856 §2.1.4) and iLBC's 30 ms `mode` (RFC 3952 §5). What an endpoint says
/// of itself alone stays its own: G.723.1's `bitrate`, all of Opus (RFC 7587 §7.1).
pub fn intersect(offer: &[Codec], supported: &[Codec]) -> Vec<Codec> {
    offer
        .iter()
        .filter_map(|offered| {
            let own = supported
                .iter()
                .find(|own| own.same_encoding(offered) && decodable(offered, own))?;
            Some(Codec {
                payload_type: offered.payload_type,
                name: offered.name.clone(),
                clock_rate: offered.clock_rate,
                channels: offered.channels,
                fmtp: answered_fmtp(offered, own),
            })
        })
        .collect()
}

/// Value of one parameter of an `a=fmtp`, e.g. `no` of `annexb=no`.
fn parameter<'a>(codec: &'a Codec, name: &str) -> Option<&'a str> {
    codec.fmtp.as_deref()?.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then_some(value.trim())
    })
}

fn named(codec: &Codec, name: &str) -> bool {
    codec.name.eq_ignore_ascii_case(name)
}

fn decodable(offered: &Codec, own: &Codec) -> bool {
    if named(own, "AMR") || named(own, "AMR-WB") {
        let aligned = |codec| parameter(codec, "octet-align").unwrap_or("0") == "1";
        let modes = |codec| {
            parameter(codec, "mode-set").map(|set: &str| {
                let mut modes: Vec<&str> = set.split(',').map(str::trim).collect();
                modes.sort_unstable();
                modes
            })
        };
        let suits = match (modes(offered), modes(own)) {
            (Some(offered), Some(own)) => offered == own,
            _ => true,
        };
        return suits && aligned(offered) == aligned(own);
    }
    if named(own, "G7221") {
        return parameter(offered, "bitrate") == parameter(own, "bitrate");
    }
    true
}

/// The answerer's parameters, with what the offer asks of both.
fn answered_fmtp(offered: &Codec, own: &Codec) -> Option<String> {
    let mode_set = parameter(offered, "mode-set");
    let (name, value) = if named(own, "G729") {
        ("annexb", "no")
    } else if named(own, "G723") {
        ("annexa", "no")
    } else if let (true, Some(modes)) = (named(own, "AMR") || named(own, "AMR-WB"), mode_set) {
        ("mode-set", modes)
    } else if named(own, "iLBC") {
        ("mode", "30")
    } else {
        return own.fmtp.clone();
    };
    let asked = parameter(offered, name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    if !asked {
        return own.fmtp.clone();
    }
    let fmtp = own.fmtp.as_deref().unwrap_or_default();
    let mut kept: Vec<&str> = fmtp
        .split(';')
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .filter(|p| {
            let key = p.split_once('=').map_or(*p, |(key, _)| key.trim());
            !key.eq_ignore_ascii_case(name)
        })
        .collect();
    let asked = format!("{name}={value}");
    kept.push(&asked);
    Some(kept.join(";"))
}
