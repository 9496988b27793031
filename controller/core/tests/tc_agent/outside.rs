//! What belongs to no dialog.

use sidestep_core::sip::{Message, Name};

use crate::phone::{OFFER, Phone, VM, body};

fn request(method: &str, to_tag: &str, lines: &str) -> String {
    let (lines, body) = lines.split_once("\r\n\r\n").unwrap_or((lines, ""));
    format!(
        "{method} sip:sidestep@{VM} SIP/2.0\r\nVia: SIP/2.0/UDP 10.71.2.22;branch=z9hG4bKo\r\n\
         From: <sip:tc18@10.71.1.11>;tag=x\r\nTo: <sip:sidestep@10.71.1.11>{to_tag}\r\n\
         Call-ID: stray\r\nCSeq: 1 {method}\r\n{lines}\r\n\r\n{body}"
    )
}

#[test]
fn requests_without_a_dialog() {
    let table = [
        ("BYE", ";tag=gone", 481),
        ("INVITE", ";tag=gone", 481),
        ("OPTIONS", ";tag=gone", 481),
        ("INFO", "", 481),
        ("BYE", "", 481),
        ("CANCEL", "", 481),
        ("UPDATE", "", 481),
        ("NOTIFY", "", 481),
        ("PRACK", "", 481),
        ("OPTIONS", "", 200),
        // Calls are made at the VM's phone.
        ("INVITE", "", 403),
        ("MESSAGE", "", 405),
        ("SUBSCRIBE", "", 405),
        ("REFER", "", 405),
        ("PUBLISH", "", 405),
        ("FLY", "", 501),
    ];
    let mut phone = Phone::new();
    for (method, to_tag, status) in table {
        let text = request(method, to_tag, "");
        assert!(phone.deliver(text.as_bytes()));
        let response = phone.got();
        assert_eq!(response.status(), Some(status), "{method} {to_tag}");
        assert!(response.to_tag().is_some());
        if matches!(status, 200 | 405 | 501) {
            assert!(response.header(Name::ALLOW).is_some());
        }
        // The same again: the same bytes; and nothing is kept.
        phone.deliver(text.as_bytes());
        assert_eq!(phone.got(), response);
        assert_eq!(phone.agent.poll_timeout(), None);
    }
    // Nobody answers an ACK.
    assert!(phone.deliver(request("ACK", ";tag=gone", "").as_bytes()));
    assert!(phone.deliver(request("ACK", "", &body(OFFER)).as_bytes()));
    phone.quiet();
    // Registrations are the registrar's, responses to nothing nobody's.
    assert!(!phone.deliver(request("REGISTER", "", "").as_bytes()));
    let stray = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.71.1.11:5070;branch=z9hG4bKssx\r\n\
                 From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: stray\r\n\
                 CSeq: 1 INVITE\r\n\r\n";
    assert!(!phone.deliver(stray.as_bytes()));
    phone.quiet();
}

fn rubbish(phone: &mut Phone, text: &str) -> Option<Message> {
    assert!(Message::parse(text.as_bytes()).is_err(), "it is a message");
    let ends = phone.ends();
    phone.agent.handle_unparsed(ends, text.as_bytes());
    let output = phone.agent.poll_output()?;
    assert_eq!(phone.agent.poll_output(), None);
    let sidestep_core::tc::TcOutput::Send(datagram) = output else {
        panic!("an event");
    };
    assert_eq!(datagram.dst, phone.expected);
    assert_eq!(datagram.src, ends.local);
    let text = String::from_utf8(datagram.payload.clone()).unwrap();
    assert!(text.starts_with("SIP/2.0 400 "), "{text}");
    assert!(text.ends_with("Content-Length: 0\r\n\r\n"), "{text}");
    Some(Message::parse(&datagram.payload).unwrap_or_else(|_| {
        // It lacks what the request lacked.
        Message::parse(request("OPTIONS", "", "").as_bytes()).unwrap()
    }))
}

#[test]
fn rubbish_gets_a_400_where_that_can_be_said() {
    let mut phone = Phone::up();
    let good = request("INVITE", "", "");
    let answered = [
        good.replace("CSeq: 1 INVITE", "CSeq: one INVITE"),
        good.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        good.replace("CSeq: 1 INVITE\r\n", ""),
        good.replace("Call-ID: stray\r\n", ""),
        good.replace("CSeq", "Content-Length: 99\r\nCSeq"),
        good.replace("CSeq", "Content-Length: x\r\nCSeq"),
        good.replace("To:", "\u{0}To").replace("CSeq: 1", "CSeq: -"),
    ];
    for text in &answered {
        let first = rubbish(&mut phone, text);
        assert!(first.is_some(), "{text}");
        assert_eq!(rubbish(&mut phone, text), first, "the same again");
    }
    let response = rubbish(&mut phone, &answered[1]).unwrap();
    assert_eq!(response.header(Name::CALL_ID), Some(&b"stray"[..]));
    assert!(response.to_tag().is_some());

    let silent = [
        "".to_owned(),
        "\r\n\r\n".to_owned(),
        "\0\0\0\0".to_owned(),
        "hello".to_owned(),
        "INVITE".to_owned(),
        good.replace("Via: SIP/2.0/UDP", "Via: HTTP/1.1"),
        good.replace("SIP/2.0\r\nVia", "HTTP/1.1\r\nVia"),
        good.replace("INVITE", "ACK")
            .replace("CSeq: 1 ACK", "CSeq: x"),
        "SIP/2.0 999 No\r\n\r\n".to_owned(),
    ];
    for text in &silent {
        assert_eq!(rubbish(&mut phone, text), None, "{text}");
    }
    // Nothing of it has touched the call.
    assert_eq!(phone.ask("OPTIONS", ""), 200);
    phone.quiet();
}
