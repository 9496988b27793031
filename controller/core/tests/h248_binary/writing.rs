//! Messages of our own.

use sidestep_core::h248::binary::{self, ValueForm};
use sidestep_core::h248::text;

use super::fixture::{all, from_hex, meaning, parse};

#[test]
fn what_was_read_is_written_with_the_same_meaning() {
    for (name, bytes) in all() {
        let message = parse(&bytes);
        for form in [
            ValueForm::Bare,
            ValueForm::Ia5String,
            ValueForm::Utf8String,
            ValueForm::OctetString,
        ] {
            let written = binary::write_as(&message, form).unwrap();
            assert_eq!(meaning(&parse(&written)), meaning(&message), "{name}");
        }
    }
}

#[test]
fn a_message_of_ours_octet_by_octet() {
    let read = text::parse(
        b"MEGACO/1 [10.71.1.11] Transaction = 5 { Context = 7 { Modify = line1 { Signals { al/ri } } } }",
    );
    let written = binary::write(&read.unwrap()).unwrap();
    let expected = from_hex(
        "30 42 a1 40
           80 01 01                              # version
           a1 08 a0 06 80 04 0a 47 01 0b         # mId
           a2 31 a1 2f a0 2d                     # messageBody, transactions, request
             80 01 05                            # transactionId
             a1 28 30 26                         # actions
               80 01 07                          # contextId
               a3 21 30 1f a0 1d a2 1b           # commandRequests, command, modReq
                 a0 0b 30 09 a0 00 81 05 6c 69 6e 65 31
                 a1 0c a5 0a a0 08               # descriptors, Signals
                   80 04 00 09 00 02             # signalName al/ri
                   a6 00                         # sigParList
        ",
    );
    assert_eq!(written, expected);
}

#[test]
fn session_descriptions_are_groups_of_ia5_strings_unless_asked_otherwise() {
    let read = text::parse(
        b"MEGACO/1 [10.71.1.11] Transaction = 5 { Context = 7 { Modify = line1 { Media { \
          Remote {\nv=0\nc=IN IP4 $\n} } } } }",
    );
    let message = read.unwrap();
    for (written, value) in [
        (binary::write(&message), &b"\x04\x0a\x16\x08IN IP4 $"[..]),
        (
            binary::write_as(&message, ValueForm::Bare),
            b"\x04\x08IN IP4 $",
        ),
    ] {
        let written = written.unwrap();
        let parm = [&[0x80, 4, 0, 0, 0xb0, 8, 0xa1, value.len() as u8], value].concat();
        assert!(written.windows(parm.len()).any(|window| window == parm));
        let again = parse(&written);
        let (_, stream) = again.streams().next().unwrap();
        let remote = stream.remote.as_ref().unwrap();
        assert_eq!(&*remote.octets, b"v=0\r\nc=IN IP4 $\r\n");
    }
}

#[test]
fn a_brace_is_escaped_in_text_only() {
    let read = text::parse(
        b"MEGACO/1 [10.71.1.11] Transaction = 5 { Context = 7 { Modify = line1 { Media { \
          Remote {\nv=0\na=x:{\\}\n} } } } }",
    );
    let message = read.unwrap();
    let written = binary::write(&message).unwrap();
    assert!(written.windows(4).any(|window| window == b"x:{}"));
    let again = parse(&written);
    let (_, stream) = again.streams().next().unwrap();
    let remote = stream.remote.as_ref().unwrap();
    assert_eq!(&*remote.octets, b"v=0\r\na=x:{\\}\r\n");
    assert_eq!(remote.unescaped().as_ref(), b"v=0\r\na=x:{}\r\n");
    assert_eq!(binary::write(&again).unwrap(), written);
}

#[test]
fn what_binary_cannot_say_is_refused() {
    for (body, construct) in [
        (
            "Modify = a/very/long/name { Signals { al/ri } }",
            "TerminationID",
        ),
        ("Modify = line/* { Signals { al/ri } }", "TerminationID"),
        ("Modify = line1 { Signals { xpkg/sig } }", "Signal"),
        (
            "Modify = line1 { Events = 1 { al/of { strict = state } } }",
            "Parameter",
        ),
        (
            "ServiceChange = ROOT { Services { Method = \"X-new\", Reason = \"1\" } }",
            "ServiceChangeMethod",
        ),
    ] {
        let message =
            format!("MEGACO/1 [10.71.1.11] Transaction = 5 {{ Context = 7 {{ {body} }} }}");
        let message = text::parse(message.as_bytes()).unwrap_or_else(|e| panic!("{body}: {e}"));
        let error = binary::write(&message).unwrap_err();
        assert_eq!(error.construct, construct, "{body}: {error}");
    }
}
