//! What the machine is given of H.248, and what it may do with it.

use super::super::message::{Kind, Name, Reply, Request, Restart, Selector};
use super::words::STREAM;
use super::*;

fn read(text: &str) -> Box<dyn Message> {
    H248.read(text.as_bytes()).unwrap()
}

fn one(name: &str) -> Selector {
    Selector::One(Name::any_case(name.as_bytes()))
}

fn request(message: &dyn Message) -> &Request {
    match message.parts() {
        [Part::Request(request)] => request,
        other => panic!("{other:?}"),
    }
}

fn reply(message: &dyn Message) -> &Reply {
    match message.parts() {
        [Part::Reply(reply)] => reply,
        other => panic!("{other:?}"),
    }
}

const ADD: &str = "MEGACO/1 [10.0.0.1]:2944\nTransaction = 7 { Context = $ {\n\
    Add = A/1 { Media { LocalControl { Mode = SendReceive } } },\n\
    Add = $ { Media { Stream = 1 { LocalControl { Mode = ReceiveOnly },\n\
    Local {\nv=0\nc=IN IP4 $\nm=audio $ RTP/AVP 0\nv=0\nc=IN IP4 $\nm=audio $ RTP/AVP 4\n},\n\
    Remote {\nv=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\n} },\n\
    Stream = 2 { LocalControl { Mode = Inactive } } } } },\n\
    Context = 5 { W-Subtract = rtp/* { Audit { } }, Move = R/9, AuditValue = r/1 { Audit { Media } } } }\n";

#[test]
fn a_request_of_several_contexts_commands_and_streams() {
    let message = read(ADD);
    let request = request(&*message);
    assert_eq!(request.id, 7);
    let kinds: Vec<Kind> = request.operations.iter().map(|o| o.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Create,
            Kind::Create,
            Kind::Delete,
            Kind::Move,
            Kind::Audit {
                local: true,
                remote: true
            }
        ]
    );
    let places: Vec<(Selector, Selector)> = request
        .operations
        .iter()
        .map(|o| (o.place.termination.clone(), o.place.context.clone()))
        .collect();
    let all = Selector::All {
        prefix: b"rtp/".to_vec(),
        suffix: Vec::new(),
    };
    assert_eq!(
        places,
        [
            (one("a/1"), Selector::Choose),
            (Selector::Choose, Selector::Choose),
            (all, one("5")),
            (one("r/9"), one("5")),
            (one("r/1"), one("5")),
        ]
    );
    assert_eq!(request.operations[0].streams[0].id, STREAM);
    let [first, second] = &request.operations[1].streams[..] else {
        panic!("{request:?}")
    };
    assert_eq!((first.id, first.mode), (1, Some(Direction::RecvOnly)));
    assert_eq!((second.id, second.mode), (2, Some(Direction::Inactive)));
    assert_eq!(
        first.codecs.as_deref(),
        Some(&["PCMU".to_owned(), "G723".to_owned()][..])
    );
    assert_eq!(
        first.remote.as_deref().map(<[u8]>::trim_ascii_end),
        Some(&b"v=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0"[..])
    );
}

#[test]
fn edits_change_what_they_are_of() {
    let message = read(ADD);
    assert_eq!(message.edited(&[]), ADD.as_bytes());
    let at = At {
        part: 0,
        operation: 1,
        stream: 0,
    };
    let sdp = b"v=0\nc=IN IP4 10.0.0.9\nm=audio 9000 RTP/AVP 8\n".to_vec();
    let edits = [
        Edit::Description {
            at,
            end: End::Remote,
            sdp,
        },
        Edit::Codecs {
            at,
            names: vec!["PCMA".to_owned()],
        },
        Edit::Id { part: 0, id: 70 },
    ];
    let expected = ADD
        .replace("Transaction = 7 ", "Transaction = 70 ")
        .replace(
            "c=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0",
            "c=IN IP4 10.0.0.9\nm=audio 9000 RTP/AVP 8",
        )
        .replace(
            "m=audio $ RTP/AVP 0\nv=0\nc=IN IP4 $\nm=audio $ RTP/AVP 4\n",
            "m=audio $ RTP/AVP 8\na=rtpmap:8 PCMA/8000\n",
        );
    let edited = message.edited(&edits);
    assert_eq!(String::from_utf8(edited).unwrap(), expected);

    // What is not there changes nothing.
    let nowhere = At { operation: 9, ..at };
    let edits = [
        Edit::Description {
            at: nowhere,
            end: End::Local,
            sdp: Vec::new(),
        },
        Edit::Description {
            at: At { stream: 1, ..at },
            end: End::Remote,
            sdp: Vec::new(),
        },
        Edit::Drop { part: 3 },
    ];
    assert_eq!(message.edited(&edits), ADD.as_bytes());
}

#[test]
fn replies_errors_and_what_passes() {
    let message = read(
        "!/1 <g> P=7{IA,C=12{A=A/1,A=R/1{M{ST=1{L{v=0\nc=IN IP4 10.0.0.2\nm=audio 6000 RTP/AVP 0\n}}}},\
         S=x{ER=430{}},ER=442{\"no\"}}}",
    );
    let reply = reply(&*message);
    assert!(reply.wants_acknowledgement && reply.error.is_none());
    let [phone, rtp, refused, failed] = &reply.results[..] else {
        panic!("{reply:?}")
    };
    assert_eq!(phone.place.termination, one("a/1"));
    assert_eq!(
        (&rtp.place.termination, &rtp.place.context),
        (&one("r/1"), &one("12"))
    );
    assert!(rtp.streams[0].local.is_some() && rtp.streams[0].codecs.is_none());
    assert_eq!((refused.error, failed.error), (Some(430), Some(442)));

    let whole = read("!/1 <g> P=7{ER=402{}}");
    assert!(matches!(whole.parts(), [Part::Reply(reply)] if reply.error == Some(402)));
    let passing = read("!/1 <g> PN=3{} K{1-2}");
    assert_eq!(passing.parts(), [Part::Pending(3), Part::Other]);
    assert_eq!(passing.edited(&[Edit::Drop { part: 0 }]), b"!/1 <g> K{1-2}");
    assert!(read("!/1 <g> ER=401{}").parts().is_empty());
    let segments = read("!/3 <g> P=7/2/&{C=1{A=x}} P=7/1{C=1{A=x}} SM=7/1");
    let [Part::Reply(second), Part::Reply(first), Part::Other] = segments.parts() else {
        panic!("{segments:?}")
    };
    let segment = |number, last| Some(Segment { number, last });
    assert_eq!(
        (second.segment, first.segment),
        (segment(2, true), segment(1, false))
    );
    let error = H248.read(b"!/1 <g> T=1{C=1{A=$}").unwrap_err();
    assert_eq!(error.kind, "neither , nor the closing bracket");
}

#[test]
fn restarts_of_all_and_of_some() {
    for (method, restart) in [
        ("RS", Restart::Restart),
        ("FO", Restart::Forced),
        ("GR", Restart::Graceful),
        ("DC", Restart::Disconnected),
        ("HO", Restart::Other),
        ("FL", Restart::Other),
        ("X-odd", Restart::Other),
    ] {
        let text = format!("!/1 <g> T=1{{C=-{{SC=ROOT{{SV{{MT={method},RE=\"900\"}}}}}}}}");
        let message = read(&text);
        let [operation] = &request(&*message).operations[..] else {
            panic!("{message:?}")
        };
        assert_eq!(operation.kind, Kind::Restart(restart), "{method}");
        assert_eq!(operation.place.termination, Selector::EVERY);
        assert_eq!(operation.place.context, Selector::Absent);
    }
    let some = read("!/1 <g> T=1{C=-{SC=rtp/*{SV{MT=FO}}}}");
    let place = &request(&*some).operations[0].place;
    assert!(place.termination.selects(&Name::any_case(b"RTP/3")));
    assert!(!place.termination.selects(&Name::any_case(b"line/3")));
}

#[test]
fn commands_of_our_own_are_written_as_the_vm_writes() {
    for (head, form) in [
        ("!/2 [10.0.0.1]:2944 ", "compact"),
        ("MEGACO/2 [10.0.0.1]:2944\n", "pretty"),
    ] {
        let message = read(&format!("{head}Transaction=7{{Context=5{{Modify=R/1}}}}"));
        let request = request(&*message);
        let connection = Connection {
            dialect: request.dialect.clone(),
            place: request.operations[0].place.clone(),
            stream: 1,
        };
        let remote = b"v=0\nc=IN IP4 10.0.0.9\nm=audio 9000 RTP/AVP 8\n";
        let modify = H248.modify(9, &connection, remote, Some(Direction::SendRecv));
        let text = String::from_utf8(modify).unwrap();
        assert!(text.starts_with(head), "{form}: {text}");
        let again = read(&text);
        let modify = self::request(&*again);
        assert_eq!((modify.id, &modify.dialect), (9, &request.dialect));
        let [operation] = &modify.operations[..] else {
            panic!("{text}")
        };
        assert_eq!(operation.kind, Kind::Modify);
        assert_eq!(operation.place, connection.place);
        assert!(text.contains("R/1"), "{text}");
        assert_eq!(operation.streams[0].mode, Some(Direction::SendRecv));
        assert_eq!(
            operation.streams[0]
                .remote
                .as_deref()
                .map(<[u8]>::trim_ascii_end),
            Some(remote.trim_ascii_end())
        );
        let pending = read(&String::from_utf8(H248.pending(4, &request.dialect)).unwrap());
        assert_eq!(pending.parts(), [Part::Pending(4)]);
        let acknowledgement = H248.acknowledge(4, &request.dialect);
        let text = String::from_utf8(acknowledgement).unwrap();
        assert_eq!(read(&text).parts(), [Part::Other]);
        assert!(text.starts_with(head), "{text}");
    }
}
