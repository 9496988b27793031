//! Other media in a session description: what an edit changes, and what it
//! leaves.

mod sdp_text;

use sidestep_core::media::{Channel, Direction, Media};
use sidestep_core::sdp::{AudioReplacement, static_codec};

use sdp_text::{SESSION_C, addr, audio_with, codec, fixture, fmtp, parse};

/// The original with these texts replaced, each of which must be there once.
fn expect(original: &[u8], changes: &[(&str, &str)]) -> String {
    let mut text = String::from_utf8(original.to_vec()).unwrap();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
        text = text.replace(from, to);
    }
    text
}

#[test]
fn the_address_alone() {
    for name in ["softphone", "static", "no_final_eol", "junk_lf"] {
        let bytes = fixture(name);
        let sdp = parse(&bytes);
        let (index, old) = sdp.audio().unwrap();
        let edited = sdp.replace_audio(index, &AudioReplacement::address(addr("10.71.2.21:20000")));
        let text = String::from_utf8(bytes.clone()).unwrap();
        let connection = format!("c=IN IP4 {}", old.rtp.ip());
        let mut changes = vec![(connection.as_str(), "c=IN IP4 10.71.2.21")];
        let port = format!("m=audio {}", old.rtp.port());
        changes.push((&port, "m=audio 20000"));
        if text.contains("a=rtcp:4001") {
            changes.push(("a=rtcp:4001", "a=rtcp:20001"));
        }
        assert_eq!(String::from_utf8(edited).unwrap(), expect(&bytes, &changes));
    }
}

#[test]
fn the_same_media_changes_nothing() {
    for name in [
        "softphone",
        "static",
        "several",
        "hold_null",
        "junk_lf",
        "no_final_eol",
    ] {
        let bytes = fixture(name);
        let sdp = parse(&bytes);
        let (index, media) = sdp.audio().unwrap();
        let mut same = AudioReplacement::media(&media).direction(media.direction);
        same.rtcp_mux = None;
        same.origin_version = sdp.origin().map(|o| o.sess_version);
        assert_eq!(sdp.replace_audio(index, &same), bytes, "{name}");
        assert_eq!(sdp.replace_audio(99, &same), bytes, "no such stream");
    }
}

#[test]
fn codecs_address_version_and_direction() {
    let bytes = fixture("softphone");
    let sdp = parse(&bytes);
    let media = Media {
        rtp: addr("10.71.2.21:20000"),
        rtcp: addr("10.71.2.21:20001"),
        codecs: vec![
            codec(8, "PCMA", 8000),
            fmtp(codec(18, "G729", 8000), "annexb=no"),
            codec(97, "telephone-event", 8000),
        ],
        ptime: Some(30),
        maxptime: None,
        direction: Direction::SendRecv,
        channel: Channel::default(),
    };
    let replacement = AudioReplacement::media(&media)
        .version(8)
        .direction(Direction::SendOnly);
    let edited = String::from_utf8(sdp.replace_audio(0, &replacement)).unwrap();
    let expected = expect(
        &bytes,
        &[
            ("c=IN IP4 10.71.1.11", "c=IN IP4 10.71.2.21"),
            ("2890844526 7", "2890844526 8"),
            ("4000 RTP/AVP 0 8 9 101", "20000 RTP/AVP 8 18 97"),
            // The new lines stand where the first old one stood; PCMA's stays.
            (
                "a=rtpmap:0 PCMU/8000\r\n",
                "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:97 telephone-event/8000\r\n",
            ),
            (
                "a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
                "",
            ),
            ("a=rtcp:4001", "a=rtcp:20001"),
            ("a=sendrecv", "a=sendonly"),
            ("a=ptime:20", "a=ptime:30"),
        ],
    );
    assert_eq!(edited, expected);
    let (_, again) = parse(edited.as_bytes()).audio().unwrap();
    assert_eq!(
        again,
        Media {
            direction: Direction::SendOnly,
            ..media
        }
    );
}

#[test]
fn static_types_without_rtpmap_stay_without() {
    let bytes = fixture("static");
    let sdp = parse(&bytes);
    let replacement = AudioReplacement::address(addr("10.71.3.31:6000"))
        .codecs(vec![static_codec(0).unwrap(), static_codec(9).unwrap()]);
    let edited = String::from_utf8(sdp.replace_audio(0, &replacement)).unwrap();
    let expected = expect(
        &bytes,
        &[(
            "RTP/AVP 8 0 18\r\n",
            "RTP/AVP 0 9\r\na=rtpmap:9 G722/8000\r\n",
        )],
    );
    assert_eq!(edited, expected);
}

#[test]
fn a_payload_type_with_another_meaning_gets_another_rtpmap() {
    let bytes = audio_with(
        SESSION_C,
        "a=rtpmap:97 speex/8000\r\na=fmtp:97 mode=any\r\na=x\r\n",
    );
    let bytes = String::from_utf8(bytes)
        .unwrap()
        .replace("AVP 0", "AVP 97 0");
    let sdp = parse(bytes.as_bytes());
    let replacement =
        AudioReplacement::address(addr("10.0.0.1:4000")).codecs(vec![codec(97, "iLBC", 8000)]);
    let edited = String::from_utf8(sdp.replace_audio(0, &replacement)).unwrap();
    let expected = expect(
        bytes.as_bytes(),
        &[
            ("AVP 97 0", "AVP 97"),
            (
                "a=rtpmap:97 speex/8000\r\na=fmtp:97 mode=any\r\n",
                "a=rtpmap:97 iLBC/8000\r\n",
            ),
        ],
    );
    assert_eq!(edited, expected);
}

#[test]
fn no_codecs_leave_the_formats() {
    let bytes = fixture("softphone");
    let media = Media {
        codecs: Vec::new(),
        ..parse(&bytes).audio().unwrap().1
    };
    let replacement = AudioReplacement::media(&media);
    assert_eq!(replacement.codecs, None);
    assert_eq!(
        parse(&bytes).replace_audio(0, &replacement.codecs(Vec::new())),
        bytes
    );
}

#[test]
fn a_shared_session_address_stays_and_the_stream_gets_its_own() {
    let bytes = fixture("several");
    let sdp = parse(&bytes);
    let edited = sdp.replace_audio(0, &AudioReplacement::address(addr("10.71.2.21:20000")));
    let expected = expect(
        &bytes,
        &[
            ("m=audio 4000", "m=audio 20000"),
            ("i=the voice\r\n", "i=the voice\r\nc=IN IP4 10.71.2.21\r\n"),
        ],
    );
    assert_eq!(String::from_utf8(edited).unwrap(), expected);
    // Once the others have their own, or are rejected, it is not shared.
    let alone = String::from_utf8(bytes)
        .unwrap()
        .replace("m=video 4002", "m=video 0");
    let edited = parse(alone.as_bytes())
        .replace_audio(0, &AudioReplacement::address(addr("10.71.2.21:4000")));
    let expected = expect(
        alone.as_bytes(),
        &[("10.71.1.11\r\nb=AS", "10.71.2.21\r\nb=AS")],
    );
    assert_eq!(String::from_utf8(edited).unwrap(), expected);
}

#[test]
fn an_own_address_is_replaced_in_place_with_its_layers() {
    let bytes = fixture("media_level");
    let sdp = parse(&bytes);
    let edited = sdp.replace_audio(0, &AudioReplacement::address(addr("10.71.2.21:20000")));
    let expected = expect(
        &bytes,
        &[
            ("m=audio 49170/2", "m=audio 20000"),
            ("c=IN IP4 233.252.0.1/127/3", "c=IN IP4 10.71.2.21"),
        ],
    );
    assert_eq!(String::from_utf8(edited).unwrap(), expected);
    let layers = audio_with("", "c=IN IP4 233.252.0.1/1\r\nc=IN IP4 233.252.0.2/1\r\n");
    let edited = parse(&layers).replace_audio(0, &AudioReplacement::address(addr("10.0.0.9:4000")));
    let expected = expect(
        &layers,
        &[(
            "c=IN IP4 233.252.0.1/1\r\nc=IN IP4 233.252.0.2/1\r\n",
            "c=IN IP4 10.0.0.9\r\n",
        )],
    );
    assert_eq!(String::from_utf8(edited).unwrap(), expected);
}

#[test]
fn a_description_without_any_address_gets_one() {
    for (bytes, expected) in [
        (
            audio_with("", ""),
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.9\r\n",
        ),
        (
            audio_with("", "").strip_suffix(b"\r\n").unwrap().to_vec(),
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.9",
        ),
    ] {
        let edited =
            parse(&bytes).replace_audio(0, &AudioReplacement::address(addr("10.0.0.9:4000")));
        let text = String::from_utf8(edited).unwrap();
        assert_eq!(text.split_once("t=0 0\r\n").unwrap().1, expected);
    }
}

#[test]
fn a_null_address_never_becomes_live() {
    let bytes = fixture("hold_null");
    let sdp = parse(&bytes);
    let live = AudioReplacement {
        rtcp: Some(addr("10.71.2.99:7777")),
        ..AudioReplacement::address(addr("10.71.2.21:20000"))
    };
    let edited = sdp.replace_audio(0, &live);
    assert!(parse(&edited).audio().unwrap().1.is_null_address());
    let expected = expect(&bytes, &[("m=audio 4000", "m=audio 20000")]);
    assert_eq!(String::from_utf8(edited).unwrap(), expected);
    // At media level, under a live session level.
    let own = audio_with(
        SESSION_C,
        "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 10.0.0.1\r\n",
    );
    let edited = String::from_utf8(parse(&own).replace_audio(0, &live)).unwrap();
    let expected = expect(
        &own,
        &[
            ("audio 4000", "audio 20000"),
            ("a=rtcp:9 IN IP4 10.0.0.1", "a=rtcp:7777"),
        ],
    );
    assert_eq!(edited, expected);
    // Only where it is meant.
    let meant = AudioReplacement {
        replace_null: true,
        rtcp: None,
        ..live
    };
    let edited = sdp.replace_audio(0, &meant);
    assert_eq!(
        parse(&edited).audio().unwrap().1.rtp,
        addr("10.71.2.21:20000")
    );
    // And a live one goes on hold as asked.
    let hold = AudioReplacement::address(addr("0.0.0.0:4000"));
    let edited = parse(&fixture("softphone")).replace_audio(0, &hold);
    assert!(parse(&edited).audio().unwrap().1.is_null_address());
}

#[test]
fn ice_of_the_stream_goes_and_of_others_stays() {
    let bytes = fixture("ice");
    let sdp = parse(&bytes);
    let edited = sdp.replace_audio(
        0,
        &AudioReplacement {
            rtcp: Some(addr("198.51.100.9:20001")),
            rtcp_mux: Some(false),
            codecs: Some(vec![codec(0, "PCMU", 8000)]),
            ..AudioReplacement::address(addr("198.51.100.9:20000"))
        },
    );
    let text = String::from_utf8(edited).unwrap();
    let (audio, video) = text.split_once("m=video").unwrap();
    assert!(video.contains("a=candidate:1 1 UDP 2130706431 198.51.100.1 4002 typ host\r\n"));
    let (_, audio) = audio.split_once("m=audio").unwrap();
    assert_eq!(
        audio,
        " 20000 RTP/AVPF 0\r\nc=IN IP4 198.51.100.9\r\na=rtcp:20001\r\na=mid:0\r\na=rtcp-fb:* nack\r\na=rtpmap:0 PCMU/8000\r\n"
    );
}

#[test]
fn rtcp_follows() {
    let new = addr("10.0.0.9:5000");
    for (attributes, rtcp, mux, expected) in [
        ("", None, None, ""),
        ("", Some("10.0.0.9:5001"), Some(false), ""),
        ("", Some("10.0.0.9:5009"), None, "a=rtcp:5009\r\n"),
        (
            "",
            Some("10.0.0.8:5001"),
            None,
            "a=rtcp:5001 IN IP4 10.0.0.8\r\n",
        ),
        ("a=rtcp:4001\r\n", None, None, "a=rtcp:5001\r\n"),
        (
            "a=rtcp:4001 IN IP4 10.0.0.1\r\n",
            None,
            None,
            "a=rtcp:5001\r\n",
        ),
        // One that says so already stays as it is written.
        (
            "a=rtcp:5001 IN IP4 10.0.0.9\r\n",
            None,
            None,
            "a=rtcp:5001 IN IP4 10.0.0.9\r\n",
        ),
        ("a=rtcp-mux\r\n", None, None, "a=rtcp-mux\r\n"),
        ("a=rtcp-mux\r\n", None, Some(false), ""),
        ("", Some("10.0.0.9:5000"), Some(true), "a=rtcp-mux\r\n"),
    ] {
        let bytes = audio_with(SESSION_C, attributes);
        let replacement = AudioReplacement {
            rtcp: rtcp.map(addr),
            rtcp_mux: mux,
            ..AudioReplacement::address(new)
        };
        let edited = String::from_utf8(parse(&bytes).replace_audio(0, &replacement)).unwrap();
        let (_, tail) = edited.split_once("RTP/AVP 0\r\n").unwrap();
        assert_eq!(tail, expected, "{attributes:?} {rtcp:?} {mux:?}");
    }
}

#[test]
fn a_direction_is_inserted_where_only_the_session_had_one() {
    let bytes = fixture("several");
    let replacement =
        AudioReplacement::address(addr("10.71.1.11:4000")).direction(Direction::SendRecv);
    let edited = String::from_utf8(parse(&bytes).replace_audio(0, &replacement)).unwrap();
    let expected = expect(
        &bytes,
        &[(
            "a=rtpmap:0 PCMU/8000\r\n",
            "a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n",
        )],
    );
    assert_eq!(edited, expected);
}

#[test]
fn only_the_version_given_is_written() {
    let bytes = fixture("several");
    let sdp = parse(&bytes);
    let replacement = AudioReplacement::address(addr("10.71.1.11:4000"));
    assert_eq!(sdp.replace_audio(0, &replacement), bytes);
    let edited = sdp.replace_audio(0, &replacement.version(1));
    let expected = expect(&bytes, &[("18446744073709551615", "1")]);
    assert_eq!(String::from_utf8(edited).unwrap(), expected);
    assert_eq!(sdp.with_version(1), expected.as_bytes());
    assert_eq!(sdp.with_version(u64::MAX), bytes);
    // ICE of a description whose media does not change stays.
    let ice = fixture("ice");
    let expected = expect(&ice, &[("o=- 8 9 ", "o=- 8 10 ")]);
    assert_eq!(parse(&ice).with_version(10), expected.as_bytes());
}
