//! What holds of any input: no panic, no edit no change, and an edit changes
//! only what it is for. Seeds are fixed, so a failure comes again.

mod mutation;

use mutation::{Random, TELLING, fixtures, mutate};
use sidestep_core::decode::{MessageView, SdpView, rewrite_media};
use sidestep_core::media::{Channel, Codec, Direction};
use sidestep_core::sdp::{Answerer, AudioReplacement, SessionDescription, answer, static_codec};
use sidestep_core::sip::{Message, MessageEdit, Name, ResponseBuilder, SipFramer};
use sidestep_core::stream::{Limits, Part, Stream};

/// The keys of a softphone's SRTP.
fn keyed() -> Channel {
    let sdp = SessionDescription::parse(
        b"v=0\nc=IN IP4 10.9.8.7\nm=audio 4 RTP/SAVP 0\na=crypto:1 SUITE inline:key\n",
    );
    sdp.unwrap().movable_audio(None).unwrap().1.channel
}

fn certified() -> Channel {
    let sdp = SessionDescription::parse(
        b"v=0\nc=IN IP4 10.9.8.7\nm=audio 4 UDP/TLS/RTP/SAVP 0\na=fingerprint:sha-1 AA\na=setup:active\n",
    );
    sdp.unwrap().movable_audio(None).unwrap().1.channel
}

fn replacement(random: &mut Random) -> AudioReplacement {
    let codecs: Vec<Codec> = (0..random.below(4))
        .filter_map(|_| static_codec(random.below(20) as u8))
        .collect();
    let maybe = |random: &mut Random| random.below(2) == 0;
    AudioReplacement {
        rtp: ([10, 9, 8, 7], 20000).into(),
        rtcp: maybe(random).then(|| {
            (
                [10, 9, 8, random.below(3) as u8 + 6],
                20000 + random.below(3) as u16,
            )
                .into()
        }),
        rtcp_mux: [None, Some(true), Some(false)][random.below(3)],
        codecs: maybe(random).then_some(codecs),
        ptime: maybe(random).then_some(30),
        maxptime: [None, Some(None), Some(Some(40))][random.below(3)],
        channel: [
            None,
            Some(Channel::default()),
            Some(keyed()),
            Some(certified()),
        ][random.below(4)]
        .clone(),
        direction: maybe(random).then_some(Direction::SendOnly),
        origin_version: maybe(random).then(|| random.next()),
        replace_null: maybe(random),
    }
}

fn read_sdp(random: &mut Random, bytes: &[u8]) -> bool {
    let Ok(sdp) = SessionDescription::parse(bytes) else {
        return false;
    };
    assert_eq!(sdp.bytes(), bytes);
    let _ = SdpView::new(&sdp);
    let edited = sdp.replace_audio(random.below(sdp.media().len() + 1), &replacement(random));
    let again = SessionDescription::parse(&edited)
        .unwrap_or_else(|e| panic!("{e}: {}", edited.escape_ascii()));
    assert_eq!(again.media().len(), sdp.media().len());
    let answerer = Answerer {
        rtp: ([192, 0, 2, 1], 4000).into(),
        rtcp: None,
        codecs: None,
        events: true,
        direction: Direction::SendRecv,
        ptime: None,
        maxptime: None,
        session_id: 1,
        version: 1,
    };
    if let Ok(answer) = answer(&sdp, &answerer) {
        let answer = SessionDescription::parse(&answer).expect("an answer reads");
        assert_eq!(answer.media().len(), sdp.media().len());
        let (index, _) = sdp.audio().expect("answered");
        for (at, media) in answer.media().iter().enumerate() {
            assert_eq!(media.port != 0, at == index);
            // By number: an offer may write `00`.
            let number = |format: &String| format.parse::<u8>().map_err(|_| format.clone());
            let offered: Vec<_> = sdp.media()[at].formats.iter().map(number).collect();
            assert!(
                media
                    .formats
                    .iter()
                    .all(|format| offered.contains(&number(format)))
            );
        }
    }
    true
}

fn read_sip(bytes: &[u8]) -> bool {
    let framer = SipFramer::new(Limits::default());
    let mut stream = Stream::new(Some(Box::new(framer)));
    stream.push(bytes);
    let mut parts = Vec::new();
    while let Some(Part::Message(part) | Part::Untouched { bytes: part, .. }) = stream.next_part() {
        assert!(!part.is_empty());
        parts.extend(part);
    }
    assert!(bytes.starts_with(&parts));
    let Ok(message) = Message::parse(bytes) else {
        return false;
    };
    assert_eq!(MessageEdit::new(&message).finish(), bytes);
    let _ = MessageView::new(&message);
    let response = ResponseBuilder::new(&message, 200, Some("tag")).build();
    assert!(!response.is_empty());
    let edited = MessageEdit::new(&message)
        .set_body("body")
        .set_cseq(5)
        .set_first_element(Name::CONTACT, "<sip:x@y>")
        .finish();
    let again = Message::parse(&edited).expect("an edited message reads again");
    assert_eq!((again.body(), again.cseq().0), (&b"body"[..], 5));
    assert_eq!(again.trailing(), message.trailing());
    assert_eq!(again.call_id(), message.call_id());
    let _ = MessageEdit::new(&message)
        .remove_first_element(Name::VIA)
        .remove_header(Name::FROM)
        .set_uri("x")
        .finish();
    true
}

#[test]
fn every_prefix_of_every_fixture() {
    let mut random = Random(0x51de_57e9);
    for (name, bytes) in fixtures("sdp") {
        assert!(read_sdp(&mut random, &bytes), "{name}");
        for end in 0..bytes.len() {
            read_sdp(&mut random, &bytes[..end]);
        }
    }
    for directory in ["sip", "torture", "torture6"] {
        for (_, bytes) in fixtures(directory) {
            for end in 0..bytes.len() {
                read_sip(&bytes[..end]);
                let _ = rewrite_media(&bytes[..end], ([1, 2, 3, 4], 5).into());
            }
        }
    }
}

#[test]
fn mutations_never_panic_and_often_read() {
    let mut random = Random(0xfeed_f00d);
    let (sdps, mut sips) = (fixtures("sdp"), fixtures("sip"));
    sips.extend(fixtures("torture"));
    sips.extend(fixtures("torture6"));
    let (mut read, mut rounds) = (0, 0);
    for _ in 0..400 {
        for (_, original) in &sdps {
            let bytes = mutate(&mut random, original);
            read += usize::from(read_sdp(&mut random, &bytes));
            rounds += 1;
        }
        for (_, original) in &sips {
            let bytes = mutate(&mut random, original);
            read += usize::from(read_sip(&bytes));
            rounds += 1;
        }
    }
    // Otherwise the mutations are too wild to reach the editing at all.
    assert!(read * 10 > rounds, "{read} of {rounds}");
}

#[test]
fn noise_never_panics() {
    let mut random = Random(77);
    for _ in 0..20_000 {
        let length = random.below(120);
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| TELLING[random.below(TELLING.len())])
            .collect();
        read_sip(&bytes);
        bytes.splice(0..0, *b"v=0\nm=audio 4 RTP/AVP 0\n");
        read_sdp(&mut random, &bytes);
    }
}

/// Lines of a description that an edit of the stream `index` is not for.
fn untouchable(bytes: &[u8], index: usize) -> Vec<Vec<u8>> {
    const MINE: &[&str] = &[
        "m=",
        "c=",
        "a=rtpmap:",
        "a=fmtp:",
        "a=rtcp-fb:",
        "a=rtcp:",
        "a=rtcp-mux",
        "a=ptime:",
        "a=maxptime:",
        "a=sendrecv",
        "a=sendonly",
        "a=recvonly",
        "a=inactive",
        "a=candidate:",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=end-of-candidates",
        "a=crypto:",
        "a=fingerprint:",
        "a=setup:",
        "a=tls-id:",
    ];
    let mut stream = None;
    let mut kept = Vec::new();
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b"m=") {
            stream = Some(stream.map_or(0, |s| s + 1));
        }
        let mine = stream == Some(index) && MINE.iter().any(|m| line.starts_with(m.as_bytes()));
        // The session's address may be the stream's, and the stream leaves its
        // bundle.
        let session = [b"c=".as_slice(), b"o=", b"a=group:BUNDLE", b"a=ice-options"];
        let session = stream.is_none() && session.iter().any(|s| line.starts_with(s));
        if !mine && !session {
            kept.push(line.trim_ascii_end().to_vec());
        }
    }
    kept
}

#[test]
fn an_edit_changes_only_what_it_is_for() {
    let mut random = Random(0xc0de);
    for _ in 0..300 {
        for (name, bytes) in fixtures("sdp") {
            let sdp = SessionDescription::parse(&bytes).unwrap();
            let index = random.below(sdp.media().len());
            let replacement = replacement(&mut random);
            let edited = sdp.replace_audio(index, &replacement);
            assert_eq!(
                untouchable(&edited, index),
                untouchable(&bytes, index),
                "{name} {replacement:?}"
            );
            let again = SessionDescription::parse(&edited).unwrap();
            for (at, (old, new)) in sdp.media().iter().zip(again.media()).enumerate() {
                if at != index {
                    // The address of another live stream is its own affair.
                    assert!(
                        old.port == 0 || old.connection == new.connection,
                        "{name} {replacement:?}"
                    );
                    continue;
                }
                assert_eq!(new.port, replacement.rtp.port());
                let null = old.connection.as_ref().is_some_and(|c| c.is_null());
                let ip = new.connection.as_ref().and_then(|c| c.ip()).unwrap();
                let live = !null || replacement.replace_null;
                assert_eq!(
                    ip,
                    if live {
                        replacement.rtp.ip()
                    } else {
                        [0, 0, 0, 0].into()
                    }
                );
                let codecs = replacement.codecs.as_deref().filter(|c| !c.is_empty());
                if let Some(codecs) = codecs {
                    let mut wanted = codecs.to_vec();
                    let mut seen = Vec::new();
                    wanted.retain(|c| {
                        !seen.contains(&c.payload_type) && {
                            seen.push(c.payload_type);
                            true
                        }
                    });
                    assert_eq!(new.codecs(), wanted, "{name}");
                }
                if let Some(direction) = replacement.direction {
                    assert_eq!(new.direction, direction);
                }
                if let Some(maxptime) = replacement.maxptime {
                    assert_eq!(new.maxptime, maxptime);
                }
            }
        }
    }
}
