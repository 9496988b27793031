//! What BER is read as, and what is refused, where and why.

use sidestep_core::h248::binary;
use sidestep_core::h248::model::{
    CommandKind, ContextId, Descriptor, ItemName, Mid, StreamMode, TerminationId, Transaction,
};
use sidestep_core::h248::packages::{ItemKind, is};

use super::fixture::{octets, parse};

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn an_add_is_read_to_its_session_descriptions() {
    let bytes = octets("add_request");
    let message = parse(&bytes);
    assert_eq!(message.version, 1);
    let mid = Mid::Ip {
        address: [10, 71, 1, 11].into(),
        port: Some(2945),
    };
    assert_eq!(message.mid, mid);
    let [Transaction::Request(request)] = message.transactions() else {
        panic!("{message:?}");
    };
    assert_eq!((request.id, request.actions.len()), (7, 1));
    assert_eq!(request.actions[0].context, ContextId::CHOOSE);
    let [line, rtp] = request.actions[0].commands.as_slice() else {
        panic!("{request:?}");
    };
    assert_eq!((line.kind, line.optional), (CommandKind::Add, false));
    let [Descriptor::Signals(signals)] = line.descriptors.as_slice() else {
        panic!("{line:?}");
    };
    let sidestep_core::h248::model::SignalParameter::Signal(ring) = &signals.signals[0] else {
        panic!("{signals:?}");
    };
    assert!(is(&ring.name, ItemKind::Signal, "al", "ri"));

    assert!(rtp.optional && rtp.terminations[0].is_choose());
    let (_, stream) = message.streams().next().unwrap();
    assert_eq!(stream.id, Some(1));
    let control = stream.control.as_ref().unwrap();
    assert_eq!(control.mode, Some(StreamMode::SendReceive));
    let jitter = ItemName::Number {
        package: 0x0b,
        item: 7,
    };
    assert_eq!(control.properties[0].name, jitter);
    assert_eq!(control.properties[0].value.single(), Some(&b"40"[..]));
    let local = stream.local.as_ref().unwrap();
    let alternatives: Vec<_> = local.alternatives().map(text).collect();
    assert_eq!(
        alternatives,
        [
            "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 0\r\n",
            "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 8",
        ]
    );
    let remote = stream.remote.as_ref().unwrap();
    assert!(text(&remote.octets).contains("m=audio 10020 RTP/AVP 0 8\r\n"));
}

#[test]
fn strings_in_values_are_text_and_other_properties_stand_apart() {
    let bytes = octets("add_reply");
    let message = parse(&bytes);
    let [Transaction::Reply(reply)] = message.transactions() else {
        panic!("{message:?}");
    };
    assert!(reply.immediate_ack);
    let (place, stream) = message.streams().next().unwrap();
    assert_eq!((place.command, place.descriptor, stream.id), (1, 0, None));
    let local = stream.local.as_ref().unwrap();
    assert_eq!(
        text(&local.octets),
        "v=0\r\no=- 1 1 IN IP4 10.71.3.31\r\ns=-\r\nc=IN IP4 10.71.3.31\r\nt=0 0\r\n\
         m=audio 6000 RTP/AVP 0 8\r\n"
    );
    let [media] = local.properties.as_slice() else {
        panic!("{local:?}");
    };
    assert_eq!(media.value.single(), Some(&[0x0a, 1, 0][..]));
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let bytes = octets("extensions");
    let message = parse(&bytes);
    assert_eq!(message.version, 4);
    // The transaction and the descriptor of unknown kinds are not there.
    let [Transaction::Request(request)] = message.transactions() else {
        panic!("{message:?}");
    };
    assert_eq!(request.id, 200);
    let command = &request.actions[0].commands[0];
    let id = TerminationId::Octets {
        wildcards: (&[][..]).into(),
        id: (&[0, 1, 1][..]).into(),
    };
    assert_eq!(command.terminations, [id]);
    assert_eq!(command.descriptors.len(), 1);
    let (_, stream) = message.streams().next().unwrap();
    let remote = stream.remote.as_ref().unwrap();
    assert_eq!(
        text(&remote.octets),
        "v=0\r\nc=IN IP4 10.71.1.11\r\nm=audio 4000 RTP/AVP 8\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

#[test]
fn an_error_names_offset_and_construct() {
    let good = octets("add_request");
    let with = |at: usize, octet: u8| {
        let mut bytes = good.clone();
        bytes[at] = octet;
        bytes
    };
    let find = |octets: &[u8]| {
        let mut windows = good.windows(octets.len());
        windows.position(|window| window == octets).unwrap()
    };
    let version = find(&[0x80, 1, 1]);
    let address = find(&[0x80, 4, 10, 71]);
    let transaction = find(&[0x80, 1, 7]);
    let mode = find(&[0x80, 1, 2, 0xa3]);
    for (bytes, offset, construct, what) in [
        (vec![], 0, "MegacoMessage", "not a SEQUENCE"),
        (
            b"MEGACO/1 x".to_vec(),
            0,
            "MegacoMessage",
            "longer than what encloses it",
        ),
        (
            [&good[..], &[0]].concat(),
            good.len(),
            "MegacoMessage",
            "octets after the message",
        ),
        (
            good[..good.len() - 1].to_vec(),
            0,
            "MegacoMessage",
            "longer than what encloses it",
        ),
        (
            with(version + 2, 100),
            version,
            "Message",
            "an integer out of range",
        ),
        (with(version, 0x81), 4, "Message", "no version"),
        (
            with(address + 1, 3),
            address,
            "IP4Address",
            "an octet string of wrong size",
        ),
        (
            with(transaction + 2, 0x87),
            transaction,
            "TransactionRequest",
            "a negative integer",
        ),
        (
            with(mode + 2, 5),
            mode,
            "LocalControlDescriptor",
            "an unknown stream mode",
        ),
        (
            with(version, 0xa0),
            version,
            "Message",
            "elements where a value belongs",
        ),
    ] {
        let error = binary::parse(&bytes).unwrap_err();
        assert_eq!(
            (error.offset, error.construct, error.what),
            (offset, construct, what),
            "{error}"
        );
        assert!(error.to_string().contains(construct), "{error}");
    }
}

#[test]
fn a_command_of_an_unknown_kind_is_refused() {
    let mut bytes = octets("add_request");
    // The first `addReq`, in its `command`.
    let command = [0xa0, 0x1b, 0xa0, 0x19];
    let at = bytes
        .windows(4)
        .position(|window| window == command)
        .unwrap();
    bytes[at + 2] = 0xa8;
    let error = binary::parse(&bytes).unwrap_err();
    assert_eq!((error.offset, error.construct), (at + 2, "Command"));
    assert_eq!(error.what, "an unknown command");
}
