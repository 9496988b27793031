//! Erlang/OTP's megaco as the other codec: what it writes in each of its encodings
//! decodes here and comes back as it was, and what is written here it reads.
//!
//! The messages are ours (`erlang/corpus.txt`, and terms in `erlang/corpus.escript`);
//! Erlang encodes them when the test runs.

use sidestep_core::h248::binary::{self, ValueForm};
use sidestep_core::h248::model::Message;
use sidestep_core::h248::{self, Change, Encoding, Place, Side, text};
use sidestep_tests::peers::megaco::corpus::{Written, compared, corpus, hex};

fn parsed(written: &Written) -> Message<'_> {
    written.parse().unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn the_corpus_has_every_encoding_of_every_version() {
    let corpus = corpus().unwrap();
    for encoding in [Encoding::Pretty, Encoding::Compact, Encoding::Binary] {
        for version in [1, 2, 3] {
            let count = corpus
                .iter()
                .filter(|message| message.encoding == encoding && message.version == version)
                .count();
            assert!(count >= 30, "{encoding:?}, version {version}: {count}");
        }
    }
    for message in &corpus {
        let told = Encoding::of(&message.bytes);
        assert_eq!(told, Some(message.encoding), "{message}");
    }
}

#[test]
fn every_message_decodes_and_leaves_byte_for_byte_without_a_change() {
    for written in corpus().unwrap() {
        let message = parsed(&written);
        assert_eq!(message.version, written.version, "{written}");
        let unchanged = h248::change(&written.bytes, &message, &[]).unwrap();
        assert_eq!(unchanged, written.bytes, "{written}");
    }
}

/// The forms of session descriptions in our own terms; Erlang has the bare one.
fn form(written: &Written) -> ValueForm {
    match written.name.as_str() {
        "values-in-ia5-strings" | "lines-beside-other-properties" => ValueForm::Ia5String,
        _ => ValueForm::Bare,
    }
}

#[test]
fn what_is_written_from_the_model_says_the_same_to_erlang() {
    let corpus = corpus().unwrap();
    let ours: Vec<_> = corpus
        .iter()
        .filter(|written| written.encoding == Encoding::Binary)
        .map(|written| {
            let ours = binary::write_as(&parsed(written), form(written));
            (
                written,
                ours.unwrap_or_else(|error| panic!("{written}: {error}")),
            )
        })
        .collect();
    let pairs: Vec<_> = ours
        .iter()
        .map(|(written, ours)| (written.version, &written.bytes[..], &ours[..]))
        .collect();
    let verdicts = compared(&pairs).unwrap();
    assert_eq!(verdicts.len(), ours.len());
    for ((written, ours), verdict) in ours.iter().zip(verdicts) {
        let (theirs, ours) = (hex(&written.bytes), hex(ours));
        assert_eq!(verdict, "same", "{written}\ntheirs {theirs}\nours   {ours}");
    }
}

/// What a message says, places left out.
fn meaning(message: &Message<'_>) -> serde_json::Value {
    serde_json::to_value(message).unwrap()
}

#[test]
fn text_written_from_the_model_says_the_same() {
    for written in corpus().unwrap() {
        if written.encoding == Encoding::Binary {
            continue;
        }
        let message = parsed(&written);
        for encoding in [Encoding::Pretty, Encoding::Compact] {
            let ours = text::write(&message, encoding);
            let again = text::parse(&ours).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(meaning(&again), meaning(&message), "{written}");
        }
    }
}

#[test]
fn a_changed_description_is_the_only_change() {
    const OTHER: &[u8] = b"v=0\r\no=- 1 2 IN IP4 10.71.2.21\r\ns=-\r\nc=IN IP4 10.71.2.21\r\n\
        t=0 0\r\nm=audio 20000 RTP/AVP 0 8\r\na=ptime:20\r\n";
    let mut edited = 0;
    let mut pairs = Vec::new();
    for written in corpus().unwrap() {
        let message = parsed(&written);
        for (place, stream) in message.streams() {
            for (side, there) in [(Side::Local, &stream.local), (Side::Remote, &stream.remote)] {
                if there.is_none() {
                    continue;
                }
                let sdp = OTHER.to_vec();
                let changed = h248::change(
                    &written.bytes,
                    &message,
                    &[Change::Description { place, side, sdp }],
                )
                .unwrap_or_else(|| panic!("{written}"));
                let again = Written {
                    bytes: changed,
                    ..written.clone()
                };
                let mut expected = meaning(&message);
                let mut found = meaning(&parsed(&again));
                let new = description(&mut found, place, side).take();
                *description(&mut expected, place, side) = serde_json::Value::Null;
                assert_eq!(found, expected, "{written}");
                let text = new[0]["text"].as_str().unwrap().trim();
                assert_eq!(text.as_bytes(), OTHER.trim_ascii(), "{written}");
                edited += 1;
                if written.encoding == Encoding::Binary {
                    pairs.push((written.version, written.bytes.clone(), again.bytes));
                }
            }
        }
    }
    assert!(edited > 40, "{edited}");
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(version, one, other)| (*version, &one[..], &other[..]))
        .collect();
    for verdict in compared(&pairs).unwrap() {
        assert_eq!(verdict, "different");
    }
}

/// The JSON of a Local or Remote.
fn description(
    message: &mut serde_json::Value,
    place: Place,
    side: Side,
) -> &mut serde_json::Value {
    let transaction = &mut message["body"]["transactions"][place.transaction];
    let transaction = transaction.as_object_mut().unwrap();
    let (kind, transaction) = transaction.iter_mut().next().unwrap();
    let actions = match kind.as_str() {
        "reply" => &mut transaction["result"]["actions"],
        _ => &mut transaction["actions"],
    };
    let command = &mut actions[place.action]["commands"][place.command];
    let stream = &mut command["descriptors"][place.descriptor]["media"]["streams"][place.stream];
    match side {
        Side::Local => &mut stream["local"],
        Side::Remote => &mut stream["remote"],
    }
}
