//! Changes: what they are for changes, every other octet stays.

use sidestep_core::h248::model::ContextId;
use sidestep_core::h248::{Change, Place, Side, binary};

use super::fixture::{all, meaning, octets, parse};

fn place(command: usize) -> Place {
    Place {
        transaction: 0,
        action: 0,
        command,
        descriptor: 0,
        stream: 0,
    }
}

fn description(place: Place, side: Side, sdp: &str) -> Change {
    Change::Description {
        place,
        side,
        sdp: sdp.into(),
    }
}

#[test]
fn no_change_gives_the_same_octets() {
    for (name, bytes) in all() {
        let unchanged = binary::change(&bytes, &parse(&bytes), &[]);
        assert_eq!(unchanged.as_deref(), Some(&bytes[..]), "{name}");
    }
}

#[test]
fn the_same_description_gives_the_same_octets() {
    for (name, bytes) in all() {
        let message = parse(&bytes);
        for (place, stream) in message.streams() {
            for (side, there) in [(Side::Local, &stream.local), (Side::Remote, &stream.remote)] {
                let Some(there) = there else { continue };
                let sdp = there.octets.to_vec();
                let same = Change::Description { place, side, sdp };
                let unchanged = binary::change(&bytes, &message, &[same]).unwrap();
                if name == "extensions" {
                    // `propGrps` is written anew, and with it the length that had
                    // more octets than it needed.
                    assert_eq!(meaning(&parse(&unchanged)), meaning(&message));
                    assert_eq!(bytes.len() - unchanged.len(), 2, "{name}");
                } else {
                    assert_eq!(unchanged, bytes, "{name}");
                }
            }
        }
    }
}

/// The octets that two messages begin and end with alike.
fn alike(one: &[u8], other: &[u8]) -> (usize, usize) {
    let same = |(a, b): &(&u8, &u8)| a == b;
    let front = one.iter().zip(other).take_while(same).count();
    let back = one
        .iter()
        .rev()
        .zip(other.iter().rev())
        .take_while(same)
        .count();
    (front, back)
}

#[test]
fn another_address_and_port_touch_their_lines_and_lengths_only() {
    let bytes = octets("add_request");
    let message = parse(&bytes);
    // As long as before, so no length changes either.
    let sdp = "v=0\r\no=- 1 1 IN IP4 10.71.1.11\r\ns=-\r\nc=IN IP4 10.71.2.21\r\nt=0 0\r\n\
               m=audio 20000 RTP/AVP 0 8\r\n";
    let changed = binary::change(
        &bytes,
        &message,
        &[description(place(1), Side::Remote, sdp)],
    );
    let changed = changed.unwrap();
    let different: Vec<_> = (0..bytes.len())
        .filter(|&at| bytes[at] != changed[at])
        .collect();
    let address = bytes
        .windows(15)
        .position(|w| w == b"IN IP4 10.71.1.")
        .unwrap();
    assert_eq!(changed.len(), bytes.len());
    assert!(different.iter().all(|&at| at > address), "{different:?}");
    // `1.11` to `2.21`, twice a digit; `10020` to `20000`, two digits.
    assert_eq!(different.len(), 4, "{different:?}");
}

#[test]
fn other_properties_and_the_form_of_values_stay() {
    let bytes = octets("add_reply");
    let message = parse(&bytes);
    let sdp = "v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 9 RTP/AVP 0\r\na=sendonly\r\n";
    let changed = binary::change(&bytes, &message, &[description(place(1), Side::Local, sdp)]);
    let changed = changed.unwrap();
    // In an IA5String, as the others were.
    let attribute = b"\x04\x0a\x16\x08sendonly";
    assert!(
        changed
            .windows(attribute.len())
            .any(|window| window == attribute)
    );
    let again = parse(&changed);
    let (_, stream) = again.streams().next().unwrap();
    let local = stream.local.as_ref().unwrap();
    assert_eq!(&*local.octets, sdp.as_bytes());
    let (_, before) = message.streams().next().unwrap();
    assert_eq!(local.properties, before.local.as_ref().unwrap().properties);
}

#[test]
fn extensions_stay_around_a_changed_description() {
    let bytes = octets("extensions");
    let message = parse(&bytes);
    let sdp =
        "v=0\r\nc=IN IP4 10.71.1.11\r\nm=audio 4002 RTP/AVP 8\r\na=ptime:20\r\na=sendrecv\r\n";
    let changed = binary::change(
        &bytes,
        &message,
        &[description(place(0), Side::Remote, sdp)],
    );
    let changed = changed.unwrap();
    let count = |octets: &[u8]| {
        octets
            .windows(2)
            .filter(|window| *window == [0xca, 0xfe])
            .count()
    };
    assert_eq!(count(&changed), count(&bytes));
    // The line in segments said the same, the line with two values too.
    let segments = [0x24, 0x15, 4, 7];
    assert!(changed.windows(4).any(|window| window == segments));
    let (_, back) = alike(&bytes, &changed);
    let tail = bytes
        .windows(8)
        .position(|window| window == b"ptime:20")
        .unwrap();
    assert!(back >= bytes.len() - tail, "{back}");
    let (_, stream) = parse(&changed)
        .streams()
        .next()
        .map(|(p, s)| (p, s.clone()))
        .unwrap();
    assert_eq!(&*stream.remote.unwrap().octets, sdp.as_bytes());
}

#[test]
fn more_and_fewer_alternatives() {
    let bytes = octets("add_request");
    let message = parse(&bytes);
    for sdp in [
        "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 18\r\n",
        "v=0\r\nm=audio $ RTP/AVP 0\r\nv=0\r\nm=audio $ RTP/AVP 8\r\nv=0\r\nm=audio $ RTP/AVP 4\r\n",
        "",
    ] {
        let change = description(place(1), Side::Local, sdp);
        let changed = binary::change(&bytes, &message, &[change]).unwrap();
        let again = parse(&changed);
        let (_, stream) = again.streams().next().unwrap();
        assert_eq!(&*stream.local.as_ref().unwrap().octets, sdp.as_bytes());
        assert_eq!(stream.remote.as_ref().unwrap().octets.len(), 92);
    }
}

#[test]
fn ids_and_contexts() {
    let bytes = octets("add_request");
    let message = parse(&bytes);
    for (id, context) in [(1, 0), (200, 0x8000), (u32::MAX, u32::MAX)] {
        let changes = [
            Change::TransactionId { transaction: 0, id },
            Change::Context {
                transaction: 0,
                action: 0,
                context: ContextId(context),
            },
        ];
        let changed = binary::change(&bytes, &message, &changes).unwrap();
        let mut expected = meaning(&message);
        expected["body"]["transactions"][0]["request"]["id"] = id.into();
        let action = &mut expected["body"]["transactions"][0]["request"]["actions"][0];
        action["context"] = ContextId(context).to_string().into();
        assert_eq!(meaning(&parse(&changed)), expected);
    }
}

#[test]
fn a_dropped_transaction_goes_with_all_changes_in_it() {
    let bytes = octets("extensions");
    let message = parse(&bytes);
    let id = Change::TransactionId {
        transaction: 0,
        id: 9,
    };
    let gone = Change::Drop { transaction: 0 };
    let one = binary::change(&bytes, &message, &[id.clone(), gone.clone()]).unwrap();
    let other = binary::change(&bytes, &message, &[gone, id]).unwrap();
    assert_eq!(one, other);
    assert!(parse(&one).transactions().is_empty());
    // The one of an unknown kind is still there.
    assert!(one.windows(5).any(|window| window == [0xa9, 3, 0x80, 1, 0]));
}

#[test]
fn the_last_of_two_changes_of_one_thing_stands() {
    let bytes = octets("add_request");
    let message = parse(&bytes);
    let ids = [3, 4].map(|id| Change::TransactionId { transaction: 0, id });
    let changed = binary::change(&bytes, &message, &ids).unwrap();
    assert_eq!(
        meaning(&parse(&changed))["body"]["transactions"][0]["request"]["id"],
        4
    );
}

#[test]
fn a_change_of_what_is_not_there_is_refused() {
    let bytes = octets("add_request");
    let message = parse(&bytes);
    for change in [
        Change::Drop { transaction: 1 },
        Change::TransactionId {
            transaction: 1,
            id: 1,
        },
        Change::Context {
            transaction: 0,
            action: 1,
            context: ContextId(1),
        },
        description(place(0), Side::Local, "v=0\r\n"),
        description(place(2), Side::Local, "v=0\r\n"),
        description(place(1), Side::Local, "v=0\r\nx=1\r\n"),
        description(place(1), Side::Local, "v=0\r\nno line\r\n"),
    ] {
        assert_eq!(
            binary::change(&bytes, &message, std::slice::from_ref(&change)),
            None,
            "{change:?}"
        );
    }
}
