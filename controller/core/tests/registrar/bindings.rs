//! What a registration binds, for how long, and where calls go.

use sidestep_core::engine::Event;
use sidestep_core::sip::Name;
use sidestep_core::sip::digest::{Algorithm, Challenge, Credentials, Login};

use crate::client::{CONTACT, Client, TC, VM, at, contact, deliver, registrar};

#[test]
fn a_thin_client_registers_step_301() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    let challenge = tc.send(&mut registrar, at(1), &contact(""));
    assert_eq!(challenge.status, 401);
    assert_eq!(challenge.to, TC.parse().unwrap());
    assert_eq!(registrar.clients(), vec![]);
    // RFC 8760 §2.4: one header per algorithm, the better one first.
    let offered: Vec<Challenge> = tc
        .challenges
        .iter()
        .map(|value| Challenge::parse(value).expect("a challenge"))
        .collect();
    let algorithms: Vec<Algorithm> = offered.iter().map(|c| c.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    for challenge in &offered {
        assert!(challenge.qop_auth && !challenge.stale);
        assert_eq!(challenge.realm, "sidestep");
    }

    let ok = tc.send(&mut registrar, at(2), &contact(""));
    assert_eq!(ok.status, 200);
    assert_eq!(ok.header(Name::CONTACT), format!("{CONTACT};expires=600"));
    assert!(ok.message.to_tag().is_some());
    let view = ok.clients()[0];
    assert_eq!((view.name.as_str(), view.vm.as_str()), ("tc17", "desk-17"));
    assert!(view.registered && view.media.is_none());
    let binding = registrar.binding_for_vm(0).expect("a binding");
    assert_eq!(binding.sip().unwrap().uri, b"sip:tc17@10.71.2.21:5062");
    assert_eq!(binding.address, TC.parse().unwrap());
    assert_eq!(binding.expires, at(602));
    assert_eq!(registrar.binding_for_vm(1), None);
}

/// Credentials and headers as baresip writes them.
#[test]
fn baresip_registers() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.send(&mut registrar, at(0), "");
    let challenge = Challenge::parse(&tc.challenges[1]).unwrap();
    let uri = "sip:10.71.1.11:5070";
    let login = Login {
        user: "tc17",
        password: "secret of tc17",
    };
    let answered = challenge.answer(login, "REGISTER", uri, "7b0b7c5a9d0f4d3e", 1);
    let Credentials {
        response, nonce, ..
    } = &answered;
    let request = format!(
        "REGISTER {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.71.2.22:5060;branch=z9hG4bK2f5b4e4c6a4f0e6d;rport\r\n\
         Contact: <sip:tc17-0x55d0c8a9f2a0@10.71.2.22:5060>;expires=600\r\n\
         Max-Forwards: 70\r\nTo: <sip:tc17@10.71.1.11:5070>\r\n\
         From: <sip:tc17@10.71.1.11:5070>;tag=d0b2a3c4e5f60718\r\nCall-ID: 1b2c3d4e5f\r\n\
         CSeq: 40242 REGISTER\r\nUser-Agent: baresip v1.0.0 (x86_64/linux)\r\n\
         Authorization: Digest username=\"tc17\", realm=\"sidestep\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{response}\", cnonce=\"7b0b7c5a9d0f4d3e\", qop=auth, \
         nc=00000001, algorithm=MD5\r\n\
         Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,SUBSCRIBE,INFO,MESSAGE,UPDATE,REFER\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let source = "10.71.2.22:5060";
    let reply = deliver(&mut registrar, at(0), source, VM, request.as_bytes());
    assert_eq!(reply.status, 200);
    let bound = registrar.binding_for_vm(0).unwrap();
    assert_eq!(
        bound.sip().unwrap().uri,
        b"sip:tc17-0x55d0c8a9f2a0@10.71.2.22:5060"
    );
    assert_eq!(bound.address, source.parse().unwrap());
}

#[test]
fn expiry_has_bounds() {
    let table = [
        // lines, status, what the Contact of the 200 says
        (contact(""), 200, "600"),
        (contact(";expires=100"), 200, "100"),
        (contact("\r\nExpires: 90"), 200, "90"),
        (contact(";expires=120\r\nExpires: 90"), 200, "120"),
        (contact(";expires=100000"), 200, "3600"),
        (contact(";expires=99999999999999"), 200, "600"),
        (contact(";expires=soon"), 200, "600"),
        (contact(";expires=60"), 200, "60"),
        (contact(";expires=59"), 423, ""),
        (contact("\r\nExpires: 1"), 423, ""),
    ];
    for (lines, status, seconds) in table {
        let mut registrar = registrar();
        let reply = Client::new("tc17").register(&mut registrar, at(1), &lines);
        assert_eq!(reply.status, status, "{lines}");
        if status == 200 {
            let expected = format!("{CONTACT};expires={seconds}");
            assert_eq!(reply.header(Name::CONTACT), expected);
        } else {
            assert_eq!(reply.header(Name::MIN_EXPIRES), "60");
            assert_eq!(registrar.clients(), vec![]);
        }
    }
}

#[test]
fn a_binding_ends_unless_refreshed() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.register(&mut registrar, at(0), &contact(";expires=100"));
    assert_eq!(registrar.next_expiry(), Some(at(100)));
    let refreshed = tc.send(&mut registrar, at(60), &contact(";expires=100"));
    assert_eq!(refreshed.status, 200);
    assert_eq!(refreshed.events, vec![], "a refresh is nothing to tell");
    assert_eq!(registrar.expire(at(159)), vec![]);
    assert!(registrar.binding_for_vm(0).is_some());
    let events = registrar.expire(at(160));
    assert!(
        matches!(&events[..], [Event::Client(view)] if !view.registered && view.name == "tc17")
    );
    assert_eq!(registrar.binding_for_vm(0), None);
    assert_eq!(registrar.next_expiry(), None);
}

#[test]
fn removal() {
    let removals = [
        "Contact: *\r\nExpires: 0\r\n".to_owned(),
        contact(";expires=0"),
        contact("\r\nExpires: 0"),
        // Parameters of the URI do not make another contact.
        "Contact: <sip:tc17@10.71.2.21:5062;ob>;expires=0\r\n".to_owned(),
    ];
    for lines in removals {
        let mut registrar = registrar();
        let mut tc = Client::new("tc17");
        tc.register(&mut registrar, at(0), &contact(""));
        let reply = tc.send(&mut registrar, at(1), &lines);
        assert_eq!(reply.status, 200, "{lines}");
        assert_eq!(reply.message.header(Name::CONTACT), None);
        assert!(matches!(reply.clients()[..], [view] if !view.registered));
        assert_eq!(registrar.binding_for_vm(0), None);
        assert_eq!(registrar.next_expiry(), None);
    }
    let kept = [
        ("Contact: *\r\n".to_owned(), 400),
        ("Contact: *\r\nExpires: 60\r\n".to_owned(), 400),
        (format!("Contact: *, {CONTACT}\r\nExpires: 0\r\n"), 400),
        // A contact that is not bound any longer.
        (
            "Contact: <sip:tc17@10.71.2.21:5099>;expires=0\r\n".to_owned(),
            200,
        ),
    ];
    for (lines, status) in kept {
        let mut registrar = registrar();
        let mut tc = Client::new("tc17");
        tc.register(&mut registrar, at(0), &contact(""));
        assert_eq!(tc.send(&mut registrar, at(1), &lines).status, status);
        assert!(registrar.binding_for_vm(0).is_some(), "{lines}");
    }
}

#[test]
fn the_newest_contact_wins() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.register(&mut registrar, at(0), &contact(""));
    let elsewhere = "Contact: <sip:tc17@10.71.2.21:5099>\r\n";
    let moved = tc.send(&mut registrar, at(1), elsewhere);
    assert_eq!(moved.clients().len(), 1);
    assert_eq!(
        registrar.binding_for_vm(0).unwrap().sip().unwrap().uri,
        b"sip:tc17@10.71.2.21:5099"
    );
    assert_eq!(registrar.clients().len(), 1);
    // A query tells what is bound.
    let query = tc.send(&mut registrar, at(11), "");
    assert_eq!(
        query.header(Name::CONTACT),
        "<sip:tc17@10.71.2.21:5099>;expires=590"
    );
    // The old contact goes in the same breath as the new one comes.
    let lines = format!("Contact: <sip:tc17@10.71.2.21:5099>;expires=0, {CONTACT};expires=70\r\n");
    assert_eq!(tc.send(&mut registrar, at(12), &lines).status, 200);
    assert_eq!(
        registrar.binding_for_vm(0).unwrap().sip().unwrap().uri,
        b"sip:tc17@10.71.2.21:5062"
    );
}

#[test]
fn of_two_accounts_the_one_that_bound_last_gets_the_calls() {
    let mut registrar = registrar();
    let mut first = Client::new("tc17");
    let mut second = Client::new("spare");
    first.register(&mut registrar, at(0), &contact(""));
    let spare = "Contact: <sip:spare@10.71.2.21:5064>\r\n";
    second.register(&mut registrar, at(5), spare);
    // A refresh does not take the calls back.
    first.send(&mut registrar, at(10), &contact(""));
    assert_eq!(registrar.binding_for_vm(0).unwrap().user, "spare");
    second.send(&mut registrar, at(11), "Contact: *\r\nExpires: 0\r\n");
    assert_eq!(registrar.binding_for_vm(0).unwrap().user, "tc17");
}

#[test]
fn a_cseq_that_does_not_rise_changes_nothing() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.register(&mut registrar, at(0), &contact(""));
    let before = registrar.binding_for_vm(0).cloned();
    for cseq in [0, 1] {
        for lines in [
            "Contact: <sip:tc17@10.71.2.99>\r\n",
            "Contact: *\r\nExpires: 0\r\n",
        ] {
            tc.cseq = cseq;
            let reply = tc.send(&mut registrar, at(1), lines);
            assert_eq!((reply.status, reply.refusals().len()), (500, 1));
        }
    }
    assert_eq!(registrar.binding_for_vm(0).cloned(), before);
    // A client that has started again has a new Call-ID.
    tc.call_id = "c2".into();
    tc.cseq = 0;
    let elsewhere = "Contact: <sip:tc17@10.71.2.21:5063>\r\n";
    assert_eq!(tc.send(&mut registrar, at(2), elsewhere).status, 200);
}

#[test]
fn contacts_that_cannot_be_called_are_refused() {
    let table = [
        ("<sips:tc17@10.71.2.21>", 416),
        ("<tel:+4930>", 416),
        ("<sip:tc17@10.71.2.21;transport=tcp>", 416),
        ("<sip:tc17@10.71.2.21;transport=UDP>", 200),
        ("<sip:tc17@>", 400),
        ("<sip:tc17@10.71.2.21:99999>", 400),
        ("<sip:tc17@10.71.2.21", 400),
        ("<sip:a b@10.71.2.21>", 400),
        // What stock phones write.
        ("<sip:tc17-0x55d0c8@10.71.2.22:5060>", 200),
        (
            "\"TC, 17\" <sip:tc17@10.71.2.21;gr=urn:uuid:1>;+sip.instance=\"<urn:uuid:1>\";reg-id=1",
            200,
        ),
        ("sip:tc17@10.71.2.21;expires=70", 200),
    ];
    for (value, status) in table {
        let mut registrar = registrar();
        let lines = format!("Contact: {value}\r\n");
        let reply = Client::new("tc17").register(&mut registrar, at(0), &lines);
        assert_eq!(reply.status, status, "{value}");
        assert_eq!(registrar.clients().len(), usize::from(status == 200));
    }
}

#[test]
fn extensions_are_declined_politely() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    let lines = contact("\r\nSupported: path, outbound, gruu\r\nPath: <sip:p;lr>");
    assert_eq!(tc.register(&mut registrar, at(0), &lines).status, 200);
    let reply = tc.send(
        &mut registrar,
        at(0),
        &contact("\r\nRequire: outbound, foo"),
    );
    assert_eq!(reply.status, 420);
    assert_eq!(reply.header(Name::UNSUPPORTED), "outbound, foo");
}

#[test]
fn responses_and_calls_find_a_client_behind_a_nat() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    for _ in 0..2 {
        let request = String::from_utf8(tc.request(&contact(""))).unwrap();
        // It is 192.168.0.9 to itself.
        let request = request.replace("10.71.2.21:5062", "192.168.0.9:5062");
        let source = "10.9.9.9:41000";
        let reply = deliver(&mut registrar, at(0), source, VM, request.as_bytes());
        assert_eq!(reply.to, source.parse().unwrap());
        let via = reply.header(Name::VIA);
        assert!(via.contains(";received=10.9.9.9;rport=41000"), "{via}");
        tc.challenges = reply.challenges();
    }
    let binding = registrar.binding_for_vm(0).unwrap();
    assert_eq!(binding.address, "10.9.9.9:41000".parse().unwrap());
    assert_eq!(binding.sip().unwrap().uri, b"sip:tc17@192.168.0.9:5062");
}
