//! Session descriptions: what is read, what is answered.

mod sdp_text;

use sidestep_core::media::{Channel, Codec, Direction, Media};
use sidestep_core::sdp::{
    AnswerError, Answerer, AudioError, ConnectionAddress, SessionDescription, answer, describe,
    intersect,
};

use sdp_text::{SESSION_C, addr, audio_with, codec, fixture, fmtp, parse};

#[test]
fn reads_a_softphones_offer() {
    let sdp = parse(&fixture("softphone"));
    let origin = sdp.origin().unwrap();
    assert_eq!(
        (origin.sess_id.as_str(), origin.sess_version),
        ("2890844526", 7)
    );
    let (index, media) = sdp.audio().unwrap();
    assert_eq!(index, 0);
    assert_eq!(media.rtp, addr("10.71.1.11:4000"));
    assert_eq!(media.rtcp, addr("10.71.1.11:4001"));
    assert_eq!(media.ptime, Some(20));
    let names: Vec<String> = media.codecs.iter().map(Codec::to_string).collect();
    assert_eq!(
        names,
        [
            "PCMU/8000",
            "PCMA/8000",
            "G722/8000",
            "telephone-event/8000"
        ]
    );
    assert_eq!(media.codecs[3].fmtp.as_deref(), Some("0-15"));
    assert!(media.codecs[3].is_auxiliary());
}

#[test]
fn reads_static_payload_types_without_rtpmap() {
    let (_, media) = parse(&fixture("static")).audio().unwrap();
    assert_eq!(
        media.codecs,
        [
            codec(8, "PCMA", 8000),
            codec(0, "PCMU", 8000),
            codec(18, "G729", 8000)
        ]
    );
    assert_eq!(media.rtcp.port(), 6001);
    // A dynamic type that nothing explains, a number that is no payload type and
    // a repetition are left out.
    let text = String::from_utf8(audio_with(SESSION_C, "")).unwrap();
    let odd = parse(text.replace("AVP 0", "AVP 96 200 x 0 0").as_bytes());
    assert_eq!(odd.audio().unwrap().1.codecs, [codec(0, "PCMU", 8000)]);
}

#[test]
fn the_session_level_holds_where_a_stream_is_silent() {
    let sdp = parse(&fixture("several"));
    assert_eq!(sdp.origin().unwrap().sess_version, u64::MAX);
    let media = sdp.media();
    assert_eq!(media.len(), 4);
    assert_eq!(media[0].direction, Direction::SendOnly);
    assert_eq!(media[1].direction, Direction::RecvOnly);
    assert!(!media[0].has_own_connection() && media[2].has_own_connection());
    assert_eq!(
        media[0].connection.as_ref().unwrap().ip(),
        Some(addr("10.71.1.11:1").ip())
    );
    assert_eq!(
        media[2].connection.as_ref().unwrap().ip(),
        Some(addr("10.71.1.12:1").ip())
    );
    assert_eq!(media[3].formats, ["t38"]);
}

#[test]
fn reads_multicast_port_counts_and_names_with_spaces() {
    let sdp = parse(&fixture("media_level"));
    assert_eq!(sdp.origin().unwrap().username, "user with spaces");
    let first = &sdp.media()[0];
    assert_eq!(
        (first.port, first.port_count, first.maxptime),
        (49170, 2, Some(40))
    );
    let connection = first.connection.as_ref().unwrap();
    assert_eq!((connection.ttl, connection.count), (Some(127), Some(3)));
    // The first is multicast; the second can be bypassed.
    assert_eq!(sdp.audio().unwrap().0, 1);
    let name = parse(&audio_with("c=IN IP4 phone.example.com\r\n", ""));
    let connection = name.connection().unwrap();
    assert_eq!(
        connection.address,
        ConnectionAddress::Name("phone.example.com".into())
    );
}

#[test]
fn hold_in_all_its_forms() {
    for (session, attributes, hold) in [
        (SESSION_C, "", false),
        (SESSION_C, "a=sendrecv\r\n", false),
        (SESSION_C, "a=recvonly\r\n", false),
        (SESSION_C, "a=sendonly\r\n", true),
        (SESSION_C, "a=inactive\r\n", true),
        ("c=IN IP4 10.0.0.1\r\na=inactive\r\n", "", true),
        (
            "c=IN IP4 10.0.0.1\r\na=inactive\r\n",
            "a=sendrecv\r\n",
            false,
        ),
        ("c=IN IP4 0.0.0.0\r\n", "", true),
        (SESSION_C, "c=IN IP4 0.0.0.0\r\n", true),
        ("c=IN IP4 0.0.0.0\r\n", "c=IN IP4 10.0.0.1\r\n", false),
    ] {
        let sdp = parse(&audio_with(session, attributes));
        assert_eq!(sdp.media()[0].is_hold(), hold, "{session}{attributes}");
        assert_eq!(sdp.is_hold(), hold);
    }
    assert!(
        parse(&fixture("hold_null"))
            .audio()
            .unwrap()
            .1
            .is_null_address()
    );
}

#[test]
fn rtcp_attribute_and_multiplexing() {
    for (attributes, offered, answered) in [
        ("", "10.0.0.1:4001", "10.0.0.1:4001"),
        ("a=rtcp:5000\r\n", "10.0.0.1:5000", "10.0.0.1:5000"),
        (
            "a=rtcp:5000 IN IP4 10.0.0.2\r\n",
            "10.0.0.2:5000",
            "10.0.0.2:5000",
        ),
        ("a=rtcp-mux\r\n", "10.0.0.1:4001", "10.0.0.1:4000"),
        ("a=rtcp:rubbish\r\n", "10.0.0.1:4001", "10.0.0.1:4001"),
    ] {
        let sdp = parse(&audio_with(SESSION_C, attributes));
        assert_eq!(sdp.audio().unwrap().1.rtcp, addr(offered), "{attributes}");
        assert_eq!(
            sdp.audio_of_answer().unwrap().1.rtcp,
            addr(answered),
            "{attributes}"
        );
    }
}

#[test]
fn audio_that_is_left_alone() {
    use AudioError::*;
    let plain = String::from_utf8(audio_with(SESSION_C, "")).unwrap();
    for (from, to, error) in [
        ("m=audio", "m=video", NoAudio),
        ("audio 4000", "audio 0", Rejected),
        ("RTP/AVP", "RTP/SAVP", Encrypted),
        ("RTP/AVP", "UDP/TLS/RTP/SAVPF", Encrypted),
        ("t=0 0", "t=0 0\r\na=fingerprint:sha-256 AA:BB", Encrypted),
        ("RTP/AVP 0", "RTP/AVP 0\r\na=crypto:1 x inline:y", Encrypted),
        ("RTP/AVP", "TCP/MRCPv2", NotRtp),
        (SESSION_C, "", NoAddress),
        ("IP4 10.0.0.1\r\nt", "IP4 phone.example.com\r\nt", NoAddress),
        ("c=IN IP4 10.0.0.1", "c=IN IP4 233.252.0.1/1", Multicast),
        ("audio 4000", "audio 4000/2", Multicast),
        (
            "t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
            "t=0 0\r\na=group:BUNDLE a v\r\nm=video 4000 RTP/AVP 96\r\na=mid:v\r\n\
             m=audio 4000 RTP/AVP 0\r\na=mid:a\r\n",
            Bundled,
        ),
    ] {
        assert!(plain.contains(from), "{from}");
        let sdp = parse(plain.replacen(from, to, 1).as_bytes());
        assert_eq!(sdp.audio().unwrap_err(), error, "{to}");
    }
    assert_eq!(parse(&fixture("srtp")).audio().unwrap_err(), Encrypted);
    let (_, ipv6) = parse(&fixture("ipv6")).audio().unwrap();
    assert!(ipv6.rtp.is_ipv6(), "{}", ipv6.rtp);
    // A rejected stream beside a live one is none.
    let one_rejected = plain.replace("m=audio", "m=audio 0 RTP/SAVP 0\r\nm=audio");
    assert_eq!(parse(one_rejected.as_bytes()).audio().unwrap().0, 1);
}

#[test]
fn errors_say_where() {
    for (text, offset, line, what) in [
        ("", 0, 1, "does not begin with v="),
        ("o=- 1 1 IN IP4 1.1.1.1\r\n", 0, 1, "does not begin with v="),
        ("v=0\r\no=- 1 1\r\n", 7, 2, "o= has fewer than six fields"),
        (
            "v=0\no=- 1 -1 IN IP4 h\n",
            6,
            2,
            "session version of o= is not a 64-bit number",
        ),
        (
            "v=0\no=- 1 18446744073709551616 IN IP4 h\n",
            6,
            2,
            "session version of o= is not a 64-bit number",
        ),
        ("v=0\r\nc=IN IP4\r\n", 7, 2, "c= does not have three fields"),
        (
            "v=0\r\nc=IN IP4 1.2.3.999\r\n",
            7,
            2,
            "address of c= is not an IPv4 address",
        ),
        (
            "v=0\r\nc=IN IP6 ::g\r\n",
            7,
            2,
            "address of c= is not an IPv6 address",
        ),
        (
            "v=0\r\nc=IN IP5 1.2.3.4\r\n",
            7,
            2,
            "address type of c= is neither IP4 nor IP6",
        ),
        (
            "v=0\r\nc=IN IP4 224.1.1.1/999\r\n",
            7,
            2,
            "time to live of c= is not 0 to 255",
        ),
        (
            "v=0\r\n\r\nm=audio x RTP/AVP 0\r\n",
            9,
            3,
            "port of m= is not a number of 0 to 65535",
        ),
        (
            "v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
            7,
            2,
            "port of m= is not a number of 0 to 65535",
        ),
        (
            "v=0\r\nm=audio +5 RTP/AVP 0\r\n",
            7,
            2,
            "port of m= is not a number of 0 to 65535",
        ),
        (
            "v=0\r\nm=audio 5/x RTP/AVP 0\r\n",
            7,
            2,
            "port count of m= is not a number",
        ),
        (
            "v=0\r\nm=audio 5\r\n",
            7,
            2,
            "m= has fewer than three fields",
        ),
    ] {
        let error = SessionDescription::parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            (error.offset, error.line, error.what),
            (offset, line, what),
            "{text:?}"
        );
    }
}

fn answerer(codecs: Option<&[Codec]>) -> Answerer<'_> {
    Answerer {
        rtp: addr("192.0.2.1:4000"),
        rtcp: None,
        codecs,
        events: false,
        direction: Direction::SendRecv,
        ptime: None,
        maxptime: None,
        session_id: 1,
        version: 2,
    }
}

#[test]
fn answers_every_stream_of_the_offer() {
    let offer = parse(&fixture("several"));
    let text = String::from_utf8(answer(&offer, &answerer(None)).unwrap()).unwrap();
    assert_eq!(
        text,
        "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=recvonly\r\n\
         m=video 0 RTP/AVP 96\r\nm=application 0 TCP/BFCP *\r\nm=image 0 udptl t38\r\n"
    );
}

#[test]
fn the_times_of_an_answer_are_the_offers() {
    let offer = String::from_utf8(fixture("static")).unwrap();
    let offer = offer.replace("t=0 0", "t=3034423619 3042462419");
    let answer = answer(&parse(offer.as_bytes()), &answerer(None)).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("\r\nt=3034423619 3042462419\r\n"));
}

#[test]
fn answers_with_the_offers_payload_types() {
    let offer = parse(&fixture("softphone"));
    let supported = [
        codec(120, "telephone-event", 8000),
        codec(99, "g722", 8000),
        codec(8, "PCMA", 8000),
        codec(3, "GSM", 8000),
    ];
    let (_, media) = parse(&answer(&offer, &answerer(Some(&supported))).unwrap())
        .audio()
        .unwrap();
    let types: Vec<u8> = media.codecs.iter().map(|c| c.payload_type).collect();
    assert_eq!(types, [8, 9, 101]);
    // Telephone events, where they are taken without being in the list.
    let only_pcma = [codec(8, "PCMA", 8000)];
    for (events, expected) in [(false, vec![8]), (true, vec![8, 101])] {
        let answerer = Answerer {
            events,
            ..answerer(Some(&only_pcma))
        };
        let (_, media) = parse(&answer(&offer, &answerer).unwrap()).audio().unwrap();
        let types: Vec<u8> = media.codecs.iter().map(|c| c.payload_type).collect();
        assert_eq!(types, expected);
    }
    // Events alone make no call.
    let none = [codec(3, "GSM", 8000), codec(101, "telephone-event", 8000)];
    assert_eq!(
        answer(&offer, &answerer(Some(&none))),
        Err(AnswerError::NoCommonCodec)
    );
    let error = answer(&parse(&fixture("srtp")), &answerer(None)).unwrap_err();
    assert_eq!(error, AnswerError::Audio(AudioError::Encrypted));
}

#[test]
fn the_direction_of_an_answer_mirrors_the_offers() {
    use Direction::*;
    for (offered, wanted, expected) in [
        ("sendrecv", SendRecv, SendRecv),
        ("sendonly", SendRecv, RecvOnly),
        ("recvonly", SendRecv, SendOnly),
        ("inactive", SendRecv, Inactive),
        ("sendrecv", SendOnly, SendOnly),
        ("sendonly", SendOnly, Inactive),
        ("recvonly", RecvOnly, Inactive),
        ("sendrecv", Inactive, Inactive),
    ] {
        let offer = parse(&audio_with(SESSION_C, &format!("a={offered}\r\n")));
        let answerer = Answerer {
            direction: wanted,
            ..answerer(None)
        };
        let (_, media) = parse(&answer(&offer, &answerer).unwrap()).audio().unwrap();
        assert_eq!(media.direction, expected, "{offered} {wanted:?}");
    }
}

#[test]
fn an_answer_multiplexes_only_what_is_offered() {
    for (attributes, expected) in [("a=rtcp-mux\r\n", true), ("", false)] {
        let offer = parse(&audio_with(SESSION_C, attributes));
        let answerer = Answerer {
            rtcp: Some(addr("192.0.2.1:4000")),
            ..answerer(None)
        };
        let answer = parse(&answer(&offer, &answerer).unwrap());
        assert_eq!(answer.media()[0].rtcp_mux, expected);
    }
}

#[test]
fn a_description_says_what_it_was_made_of() {
    let full = Media {
        rtp: addr("10.71.2.21:20000"),
        rtcp: addr("10.71.2.22:20005"),
        codecs: vec![
            fmtp(codec(18, "G729", 8000), "annexb=no"),
            Codec {
                channels: Some(2),
                ..codec(111, "opus", 48000)
            },
        ],
        ptime: Some(20),
        maxptime: None,
        direction: Direction::Inactive,
        channel: Channel::default(),
    };
    assert_eq!(parse(&describe(&full, 1, 1)).audio().unwrap().1, full);
    // The address-only registration (claims 5, 9).
    let address_only = Media {
        codecs: Vec::new(),
        rtcp: addr("10.71.2.21:20001"),
        ..full.clone()
    };
    assert_eq!(
        parse(&describe(&address_only, 1, 1)).audio().unwrap().1,
        address_only
    );
    let multiplexed = Media {
        rtcp: full.rtp,
        ..full
    };
    assert_eq!(
        parse(&describe(&multiplexed, 1, 1))
            .audio_of_answer()
            .unwrap()
            .1,
        multiplexed
    );
}

#[test]
fn intersections_are_honest() {
    let g729 = |f: Option<&str>| Codec {
        fmtp: f.map(Into::into),
        ..codec(18, "G729", 8000)
    };
    let amr = |p: u8, f: &str| fmtp(codec(p, "AMR", 8000), f);
    let fmtp_of = |codecs: Vec<Codec>| {
        codecs
            .into_iter()
            .map(|c| (c.payload_type, c.fmtp))
            .collect::<Vec<_>>()
    };
    for (offer, own, expected) in [
        (
            vec![codec(0, "PCMU", 8000)],
            vec![codec(0, "PCMA", 8000)],
            vec![],
        ),
        (
            vec![codec(96, "L16", 8000)],
            vec![codec(96, "L16", 16000)],
            vec![],
        ),
        (vec![g729(None)], vec![g729(None)], vec![(18, None)]),
        (
            vec![g729(Some("annexb=no"))],
            vec![g729(None)],
            vec![(18, Some("annexb=no".into()))],
        ),
        (
            vec![g729(None)],
            vec![g729(Some("annexb=no"))],
            vec![(18, Some("annexb=no".into()))],
        ),
        (
            vec![g729(Some("annexb=no"))],
            vec![g729(Some("annexb=yes"))],
            vec![(18, Some("annexb=no".into()))],
        ),
        (
            vec![
                amr(96, "octet-align=0"),
                amr(97, "mode-set=7; octet-align=1"),
            ],
            vec![amr(120, "octet-align=1")],
            vec![(97, Some("octet-align=1;mode-set=7".into()))],
        ),
        (
            vec![amr(96, "mode-set=0,2"), amr(97, "mode-set=2, 0,7")],
            vec![amr(120, "mode-set=7,0,2")],
            vec![(97, Some("mode-set=2, 0,7".into()))],
        ),
        (
            vec![fmtp(codec(4, "G723", 8000), "annexa=no;bitrate=5.3")],
            vec![fmtp(codec(4, "G723", 8000), "bitrate=6.3")],
            vec![(4, Some("bitrate=6.3;annexa=no".into()))],
        ),
        (
            vec![fmtp(codec(96, "opus", 48000), "useinbandfec=1;stereo=0")],
            vec![fmtp(codec(111, "opus", 48000), "maxaveragebitrate=20000")],
            vec![(96, Some("maxaveragebitrate=20000".into()))],
        ),
    ] {
        assert_eq!(
            fmtp_of(intersect(&offer, &own)),
            expected,
            "{offer:?} {own:?}"
        );
    }
}
