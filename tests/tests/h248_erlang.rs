//! Erlang/OTP's megaco as the other codec: what it writes in each of its encodings
//! decodes here and comes back as it was, and what is written here it reads.
//!
//! The messages are ours (`erlang/corpus.txt`, and terms in `erlang/corpus.escript`);
//! Erlang encodes them when the test runs.

use std::io::Write;
use std::process::{Command, Stdio};

use sidestep_core::h248::binary::{self, ValueForm};
use sidestep_core::h248::model::Message;
use sidestep_core::h248::{Change, Encoding, H248Error, Side, text};

/// A message that Erlang wrote.
struct Written {
    name: String,
    version: u8,
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Written {
    fn parse(&self) -> Result<Message<'_>, H248Error> {
        match self.encoding {
            Encoding::Binary => binary::parse(&self.bytes),
            Encoding::Pretty | Encoding::Compact => text::parse(&self.bytes),
        }
    }

    fn parsed(&self) -> Message<'_> {
        self.parse()
            .unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    fn change(&self, message: &Message<'_>, changes: &[Change]) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Binary => binary::change(&self.bytes, message, changes),
            Encoding::Pretty | Encoding::Compact => text::change(&self.bytes, message, changes),
        }
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            version,
            encoding,
            ..
        } = self;
        write!(f, "{name}, version {version}, {encoding:?}")
    }
}

fn escript(arguments: &[&str]) -> Command {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/erlang");
    let mut command = Command::new("escript");
    command.arg("corpus.escript").args(arguments);
    command.current_dir(folder);
    command
}

/// Every message in every encoding that Erlang has for it.
fn corpus() -> Vec<Written> {
    let output = escript(&["encode", "corpus.txt"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut all = Vec::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.splitn(5, ' ').collect();
        let &[name, version, encoding, hex, ..] = fields.as_slice() else {
            panic!("{line}");
        };
        if hex == "-" {
            assert_eq!(fields.last(), Some(&"\"not in Annex A\""), "{line}");
            continue;
        }
        all.push(Written {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            encoding: match encoding {
                "pretty" => Encoding::Pretty,
                "compact" => Encoding::Compact,
                _ => Encoding::Binary,
            },
            bytes: octets(hex),
        });
    }
    all
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    pairs
        .map(|pair| u8::from_str_radix(&pair, 16).unwrap())
        .collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What Erlang says of each pair of BER messages: `same`, `different`, `unreadable`.
fn compared(pairs: &[(u8, &[u8], &[u8])]) -> Vec<String> {
    let mut child = escript(&["compare"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String = pairs
        .iter()
        .map(|(version, one, other)| format!("{version} {} {}\n", hex(one), hex(other)))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    answers.lines().map(str::to_owned).collect()
}

#[test]
fn the_corpus_has_every_encoding_of_every_version() {
    let corpus = corpus();
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
    for written in corpus() {
        let message = written.parsed();
        assert_eq!(message.version, written.version, "{written}");
        let unchanged = written.change(&message, &[]).unwrap();
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
    let corpus = corpus();
    let ours: Vec<_> = corpus
        .iter()
        .filter(|written| written.encoding == Encoding::Binary)
        .map(|written| {
            let ours = binary::write_as(&written.parsed(), form(written));
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
    let verdicts = compared(&pairs);
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
    for written in corpus() {
        if written.encoding == Encoding::Binary {
            continue;
        }
        let message = written.parsed();
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
    for written in corpus() {
        let message = written.parsed();
        for (place, stream) in message.streams() {
            for (side, there) in [(Side::Local, &stream.local), (Side::Remote, &stream.remote)] {
                if there.is_none() {
                    continue;
                }
                let sdp = OTHER.to_vec();
                let changed = written
                    .change(&message, &[Change::Description { place, side, sdp }])
                    .unwrap_or_else(|| panic!("{written}"));
                let again = Written {
                    bytes: changed,
                    name: written.name.clone(),
                    ..written
                };
                let mut expected = meaning(&message);
                let mut found = meaning(&again.parsed());
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
    for verdict in compared(&pairs) {
        assert_eq!(verdict, "different");
    }
}

/// The JSON of a Local or Remote.
fn description(
    message: &mut serde_json::Value,
    place: sidestep_core::h248::Place,
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
