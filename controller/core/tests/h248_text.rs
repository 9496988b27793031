//! H.248 text (Annex B): what is read, what is written, what is changed.

use std::fs;
use std::path::PathBuf;

use sidestep_core::h248::model::{
    Body, CommandKind, ContextId, Descriptor, Message, Mid, ReplyResult, StreamMode, TerminationId,
    Transaction,
};
use sidestep_core::h248::{Change, Encoding, Place, Side, text};

/// Every message of tests/data/h248, by its path there.
fn messages() -> Vec<(String, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/h248");
    let mut found = Vec::new();
    for folder in ["appendix_i", "more"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((format!("{folder}/{name}"), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    assert_eq!(found.len(), 35);
    found
}

fn message(name: &str) -> Vec<u8> {
    messages()
        .into_iter()
        .find(|(known, _)| known == name)
        .unwrap()
        .1
}

fn parse(bytes: &[u8]) -> Message<'_> {
    text::parse(bytes).unwrap_or_else(|error| {
        let rest = String::from_utf8_lossy(&bytes[error.offset.min(bytes.len())..]);
        panic!(
            "{error}, before {:?}",
            rest.chars().take(40).collect::<String>()
        )
    })
}

/// What a message says, apart from where it says it and from white space around
/// session descriptions.
fn meaning(message: &Message<'_>) -> serde_json::Value {
    serde_json::to_value(message).unwrap()
}

#[test]
fn every_message_survives_being_written_in_both_forms() {
    for (name, bytes) in messages() {
        let first = parse(&bytes);
        for encoding in [Encoding::Pretty, Encoding::Compact] {
            let written = text::write(&first, encoding);
            let again = text::parse(&written).unwrap_or_else(|error| {
                panic!("{name}: {error}\n{}", String::from_utf8_lossy(&written))
            });
            assert_eq!(meaning(&again), meaning(&first), "{name} {encoding:?}");
            assert_eq!(Encoding::of(&written), Some(encoding), "{name}");
        }
    }
}

#[test]
fn no_change_gives_the_same_bytes() {
    for (name, bytes) in messages() {
        let unchanged = text::change(&bytes, &parse(&bytes), &[]);
        assert_eq!(unchanged.as_deref(), Some(bytes.as_slice()), "{name}");
    }
}

#[test]
fn the_call_flow_of_appendix_i_says_what_it_is_to_say() {
    let add = message("appendix_i/13_mgc_add_mg2");
    let add = parse(&add);
    assert_eq!(add.version, 1);
    assert_eq!(
        add.mid,
        Mid::Ip {
            address: "123.123.123.4".parse().unwrap(),
            port: Some(55555)
        }
    );
    let [Transaction::Request(request)] = add.transactions() else {
        panic!("not a request")
    };
    assert_eq!(request.id, 50003);
    let [action] = request.actions.as_slice() else {
        panic!("not one action")
    };
    assert_eq!(action.context, ContextId::CHOOSE);
    let [phone, rtp] = action.commands.as_slice() else {
        panic!("not two commands")
    };
    assert_eq!((phone.kind, rtp.kind), (CommandKind::Add, CommandKind::Add));
    assert_eq!(phone.terminations, [TerminationId::Path("A5555".into())]);
    assert_eq!(rtp.terminations, [TerminationId::Choose]);
    assert!(matches!(
        phone.descriptors.as_slice(),
        [
            Descriptor::Media(_),
            Descriptor::Events(_),
            Descriptor::Signals(_)
        ]
    ));
    let (place, stream) = add.streams().nth(1).unwrap();
    assert_eq!(stream.id, Some(1));
    let control = stream.control.as_ref().unwrap();
    assert_eq!(control.mode, Some(StreamMode::ReceiveOnly));
    assert_eq!(control.properties[0].name.to_string(), "nt/jit");
    assert_eq!(control.properties[0].value.single(), Some(&b"40"[..]));
    assert_eq!(add.stream(place), Some(stream));
    let remote = stream.remote.as_ref().unwrap();
    assert_eq!(
        remote.alternatives().collect::<Vec<_>>(),
        [&b"v=0\nc=IN IP4 124.124.124.222\nm=audio 2222 RTP/AVP 4\na=ptime:30"[..]]
    );
}

#[test]
fn alternatives_begin_with_their_version_lines() {
    let add = message("appendix_i/11_mgc_add");
    let add = parse(&add);
    let (_, stream) = add.streams().next().unwrap();
    let local = stream.local.as_ref().unwrap();
    let alternatives: Vec<_> = local.alternatives().collect();
    assert_eq!(
        alternatives,
        [
            &b"v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 4\na=ptime:30\n"[..],
            b"v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 0"
        ]
    );
}

#[test]
fn every_construct_is_understood() {
    let bytes = message("more/version_3_everything");
    let everything = parse(&bytes);
    let json = meaning(&everything);
    let action = &json["body"]["transactions"][0]["request"]["actions"][0];
    let add = &action["commands"][0];
    for (at, expected) in [
        ("/properties/topology/0/direction", "oneway_both"),
        ("/properties/topology/1/direction", "oneway_external"),
        ("/commands/0/terminations/1", "t/2"),
        ("/commands/0/descriptors/0/modem/kinds/1", "V34"),
        ("/commands/0/descriptors/1/mux/kind", "H221"),
        ("/commands/0/descriptors/2/event_buffer/1/name", "al/on"),
        ("/commands/0/descriptors/3/events/events/0/notify", "never"),
        ("/commands/0/descriptors/5/digit_map/value/body", "(0|1x)"),
        (
            "/commands/0/descriptors/7/media/streams/0/control/mode",
            "loopback",
        ),
        (
            "/commands/0/descriptors/7/media/state/service_state",
            "test",
        ),
        (
            "/commands/2/descriptors/0/observed_events/events/0/time",
            "20260101T10203040",
        ),
        (
            "/commands/3/descriptors/0/service_change/method",
            "graceful",
        ),
        (
            "/commands/5/descriptors/0/service_change/method/other",
            "X-odd",
        ),
    ] {
        assert_eq!(action.pointer(at).unwrap(), expected, "{at}");
    }
    let embedded = &add["descriptors"][3]["events"]["events"][1]["embedded"];
    assert_eq!(embedded["events"]["request"], 18);
    assert_eq!(
        embedded["events"]["events"][1]["digit_map"]["value"]["timers"],
        serde_json::json!({"start": 16, "short": 4, "long": 9, "duration": 2})
    );
    assert_eq!(
        embedded["signals"]["signals"][0]["signal"]["notify_completion"]["iteration"],
        true
    );
    assert_eq!(everything.transactions().len(), 5);
}

#[test]
fn acknowledgements_errors_and_segments() {
    let bytes = message("more/acks_pending_errors");
    let message = parse(&bytes);
    assert_eq!(message.mid, Mid::Device("gateway/1@example.com".into()));
    let [
        Transaction::Pending { id: 7, .. },
        Transaction::ResponseAck(ranges),
        Transaction::Reply(partly),
        Transaction::Reply(failed),
    ] = message.transactions()
    else {
        panic!("{:?}", message.transactions())
    };
    let ranges: Vec<_> = ranges
        .iter()
        .map(|range| (range.first, range.last))
        .collect();
    assert_eq!(ranges, [(1, 1), (3, 9)]);
    assert!(partly.immediate_ack);
    assert_eq!(partly.actions()[0].error.as_ref().unwrap().code, 510);
    assert!(matches!(&failed.result, ReplyResult::Error(error) if error.code == 400));
    let bytes = self::message("more/error_message");
    let error = parse(&bytes);
    assert!(matches!(error.body, Body::Error(error) if error.code == 401));
    assert_eq!(
        error.mid,
        Mid::Mtp {
            address: 0x0a12,
            digits: 4
        }
    );
}

const PLACE: Place = Place {
    transaction: 0,
    action: 0,
    command: 0,
    descriptor: 0,
    stream: 0,
};

#[test]
fn a_change_touches_its_own_bytes_only() {
    let bytes = message("appendix_i/13_mgc_add_mg2");
    let parsed = parse(&bytes);
    let sdp = b"v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\na=x:{}\r\n".to_vec();
    let place = Place {
        command: 1,
        ..PLACE
    };
    let changed = text::change(
        &bytes,
        &parsed,
        &[
            Change::Description {
                place,
                side: Side::Remote,
                sdp: sdp.clone(),
            },
            Change::TransactionId {
                transaction: 0,
                id: 9,
            },
            Change::Context {
                transaction: 0,
                action: 0,
                context: ContextId(77),
            },
        ],
    )
    .unwrap();
    let expected = String::from_utf8(bytes.clone())
        .unwrap()
        .replace("Transaction = 50003", "Transaction = 9")
        .replace("Context = $", "Context = 77")
        .replace(
            "v=0\nc=IN IP4 124.124.124.222\nm=audio 2222 RTP/AVP 4\na=ptime:30\n",
            "v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\na=x:{\\}\n",
        );
    assert_eq!(String::from_utf8(changed.clone()).unwrap(), expected);
    let again = parse(&changed);
    let remote = again.stream(place).unwrap().remote.as_ref().unwrap();
    assert_eq!(remote.unescaped().trim_ascii(), sdp.trim_ascii());
}

#[test]
fn a_transaction_that_was_for_us_goes() {
    let bytes = b"!/1 <x> K{1}T=1{C=1{S=t}} ; ours\nP=2{C=1}";
    let message = parse(bytes);
    let drop = |transaction| Change::Drop { transaction };
    assert_eq!(
        text::change(bytes, &message, &[drop(1)]).unwrap(),
        b"!/1 <x> K{1} ; ours\nP=2{C=1}"
    );
    assert_eq!(
        text::change(bytes, &message, &[drop(0), drop(2)]).unwrap(),
        b"!/1 <x> T=1{C=1{S=t}} ; ours\n"
    );
    assert_eq!(text::change(bytes, &message, &[drop(3)]), None);
}

#[test]
fn what_is_not_there_is_not_changed() {
    let bytes = message("appendix_i/13_mgc_add_mg2");
    let parsed = parse(&bytes);
    for change in [
        Change::Description {
            place: PLACE,
            side: Side::Remote,
            sdp: Vec::new(),
        },
        Change::Description {
            place: Place {
                transaction: 1,
                ..PLACE
            },
            side: Side::Local,
            sdp: Vec::new(),
        },
        Change::TransactionId {
            transaction: 1,
            id: 1,
        },
        Change::Context {
            transaction: 0,
            action: 1,
            context: ContextId::NULL,
        },
    ] {
        assert_eq!(text::change(&bytes, &parsed, &[change]), None);
    }
}

#[test]
fn faults_name_place_and_construct() {
    for (bytes, offset, construct) in [
        ("", 0, "megacoMessage"),
        ("SIP/2.0 200 OK", 0, "megacoMessage"),
        ("MEGACO/0 <x> Error=400{}", 0, "megacoMessage"),
        ("MEGACO/1 [1.2.3] Error=400{}", 9, "mId"),
        ("!/1 <x> ", 8, "messageBody"),
        ("!/1 <x> T=1{C=1{A=t1}} X", 23, "messageBody"),
        ("!/1 <x> T=99999999999{C=-{A=t}}", 10, "transactionRequest"),
        ("!/1 <x> T=1{C=1{A=t1}", 21, "transactionRequest"),
        ("!/1 <x> T=1{C=x{A=t1}}", 14, "ContextID"),
        ("!/1 <x> T=1{C=1{Q=t1}}", 16, "actionRequest"),
        ("!/1 <x> T=1{C=1{A=t1{M{L{v=0\n}}", 31, "commandRequest"),
        ("!/1 <x> T=1{C=1{A=t1{M{L{v=0\n", 25, "localDescriptor"),
        ("!/1 <x> T=1{C=1{A=t1{M{O{MO=XX}}}}}", 28, "streamMode"),
        ("!/1 <x> T=1{C=1{A=t1{E=1{alof}}}}", 25, "requestedEvent"),
        (
            "!/1 <x> P=1{C=1{SC=ROOT{SV{odd}}}}",
            27,
            "serviceChangeParm",
        ),
        (
            "!/1 <x> T=1{C=1{N=t{OE=1{200T1:al/of}}}}",
            25,
            "observedEvent",
        ),
        (
            "!/1 <x> T=1{C=1{S=t{AT{Media{\"}}}}",
            29,
            "indAudterminationAudit",
        ),
    ] {
        let error = text::parse(bytes.as_bytes()).unwrap_err();
        assert_eq!(
            (error.offset, error.construct),
            (offset, construct),
            "{bytes}: {error}"
        );
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = "Media{".repeat(100_000);
    let bytes = format!("!/2 <x> T=1{{C=1{{AV=t{{AT{{{deep}");
    let error = text::parse(bytes.as_bytes()).unwrap_err();
    assert_eq!(error.what, "nested too deep");
}
