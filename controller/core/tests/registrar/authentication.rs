//! Who may register.

use sidestep_core::sip::Name;
use sidestep_core::sip::digest::{Algorithm, Challenge};

use crate::client::{
    Client, OTHER_VM, TC, VM, at, contact, deliver, registrar, registrar_with_seed,
};

#[test]
fn either_algorithm_and_no_qop_are_taken() {
    for form in ["SHA-256", "MD5", "RFC 2617 without qop"] {
        let mut registrar = registrar();
        let mut tc = Client::new("tc17");
        tc.send(&mut registrar, at(1), &contact(""));
        match form {
            "SHA-256" => tc.challenges.truncate(1),
            "MD5" => tc.challenges = tc.challenges.split_off(1),
            _ => {
                let plain = String::from_utf8(tc.challenges[1].clone()).unwrap();
                tc.challenges = vec![plain.replace(", qop=\"auth\"", "").into_bytes()];
            }
        }
        let ok = tc.send(&mut registrar, at(1), &contact(""));
        assert_eq!(ok.status, 200, "{form}");
    }
}

/// A softphone that gives up at a challenge for SHA-256 sees none.
#[test]
fn account_with_one_algorithm_sees_no_other() {
    let mut registrar = registrar();
    let mut stock = Client::new("stock");
    stock.send(&mut registrar, at(1), &contact(""));
    let offered: Vec<Algorithm> = stock
        .challenges
        .iter()
        .map(|value| Challenge::parse(value).unwrap().algorithm)
        .collect();
    assert_eq!(offered, [Algorithm::Md5]);

    // Nor is another taken that it was not challenged with.
    let ours = std::mem::take(&mut stock.challenges);
    let text = String::from_utf8(ours[0].clone()).unwrap();
    stock.challenges = vec![text.replace("MD5", "SHA-256").into_bytes()];
    let refused = stock.send(&mut registrar, at(1), &contact(""));
    assert_eq!(refused.status, 401);

    stock.challenges = ours;
    assert_eq!(stock.send(&mut registrar, at(1), &contact("")).status, 200);
}

#[test]
fn wrong_credentials_change_nothing() {
    let mut registrar = registrar();
    Client::new("tc17").register(&mut registrar, at(1), &contact(""));
    let before = registrar.binding_for_vm(0).cloned();
    let elsewhere = "Contact: <sip:evil@10.71.2.99>\r\n";

    let mut guesser = Client::new("tc17");
    guesser.password = "guess".into();
    guesser.call_id = "c2".into();
    let refused = guesser.register(&mut registrar, at(2), elsewhere);
    assert_eq!(refused.status, 403);
    assert_eq!(refused.refusals(), [(Some("tc17"), 403)]);

    // Nobody learns which users there are.
    let mut nobody = Client::new("nobody");
    let unknown = nobody.register(&mut registrar, at(2), elsewhere);
    assert_eq!(unknown.status, 403);
    assert_eq!(unknown.header(Name::WARNING), refused.header(Name::WARNING));

    // Right credentials in another user's name.
    let mut other = Client::new("spare");
    other.send(&mut registrar, at(2), elsewhere);
    let bytes = String::from_utf8(other.request(elsewhere)).unwrap();
    let bytes = bytes.replace("To: <sip:spare@", "To: <sip:tc17@");
    let refused = deliver(&mut registrar, at(2), TC, VM, bytes.as_bytes());
    assert_eq!(refused.status, 403);

    // None at all, or of other realms and schemes; removal, too.
    for (index, lines) in [
        elsewhere,
        "Contact: *\r\nExpires: 0\r\n",
        "Authorization: Basic dGMxNw==\r\nContact: <sip:evil@10.71.2.99>\r\n",
        "Authorization: Digest username=\"tc17\", realm=\"x\", nonce=\"n\", uri=\"u\", \
         response=\"\"\r\nContact: <sip:evil@10.71.2.99>\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut stranger = Client::new("tc17");
        stranger.call_id = format!("c3-{index}");
        assert_eq!(stranger.send(&mut registrar, at(3), lines).status, 401);
    }
    // Credentials that cannot be read.
    let mut broken = Client::new("tc17");
    broken.call_id = "c5".into();
    let lines = format!("Authorization: Digest username\r\n{elsewhere}");
    assert_eq!(broken.send(&mut registrar, at(3), &lines).status, 400);
    assert_eq!(registrar.binding_for_vm(0).cloned(), before);
}

#[test]
fn an_account_registers_at_its_own_vm_only() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.vm = OTHER_VM.parse().unwrap();
    let refused = tc.register(&mut registrar, at(1), &contact(""));
    assert_eq!(refused.status, 403);
    assert_eq!(refused.refusals(), [(Some("tc17"), 403)]);
    assert_eq!(registrar.clients(), vec![]);
    let mut right = Client::new("tc18");
    right.vm = OTHER_VM.parse().unwrap();
    assert_eq!(
        right.register(&mut registrar, at(1), &contact("")).status,
        200
    );
    assert_eq!(registrar.binding_for_vm(1).unwrap().user, "tc18");
}

#[test]
fn credentials_are_good_for_their_uri() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.send(&mut registrar, at(1), &contact(""));
    // The digest is for sip:10.71.1.11:5070.
    let table = [
        ("sip:10.71.1.99:5070", 400),
        ("sip:10.71.1.11:5080", 400),
        ("tel:+4930", 400),
        ("sip:10.71.1.11", 200),
        ("sip:10.71.1.11:5070;transport=udp", 200),
        ("sip:sidestep@10.71.1.11:5070", 200),
    ];
    for (uri, status) in table {
        let request = String::from_utf8(tc.request(&contact(""))).unwrap();
        let request = request.replace("REGISTER sip:10.71.1.11:5070", &format!("REGISTER {uri}"));
        let reply = deliver(&mut registrar, at(1), TC, VM, request.as_bytes());
        assert_eq!(reply.status, status, "{uri}");
    }
}

#[test]
fn nonces_grow_stale_and_counts_are_used_once() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    assert_eq!(tc.register(&mut registrar, at(1), &contact("")).status, 200);
    // The same nonce with the next count.
    let ok = tc.send(&mut registrar, at(100), &contact(""));
    assert_eq!((ok.status, tc.nc), (200, 2));

    // A replay: the same count in another request.
    tc.nc = 1;
    let replayed = tc.send(&mut registrar, at(101), &contact(""));
    assert_eq!(replayed.status, 401);
    assert_eq!(replayed.refusals(), [(Some("tc17"), 401)]);
    assert_eq!(tc.send(&mut registrar, at(102), &contact("")).status, 200);

    // Five minutes later the nonce is stale; the client need not ask its user.
    let stale = tc.send(&mut registrar, at(500), &contact(""));
    assert_eq!((stale.status, stale.events.len()), (401, 0));
    assert!(Challenge::parse(&tc.challenges[0]).unwrap().stale);
    assert_eq!(tc.send(&mut registrar, at(501), &contact("")).status, 200);

    // That of another run of the daemon is stale, too.
    let mut other = registrar_with_seed([8; 32]);
    assert_eq!(tc.send(&mut other, at(502), &contact("")).status, 401);
    assert!(Challenge::parse(&tc.challenges[0]).unwrap().stale);
    assert_eq!(tc.send(&mut other, at(502), &contact("")).status, 200);
}

#[test]
fn a_retransmission_gets_the_same_bytes() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.send(&mut registrar, at(1), &contact(""));
    let request = tc.request(&contact(""));
    let first = deliver(&mut registrar, at(1), TC, VM, &request);
    let again = deliver(&mut registrar, at(5), TC, VM, &request);
    assert_eq!(first.status, 200);
    assert_eq!(again.message, first.message);
    assert_eq!(again.events, vec![]);
    // From elsewhere it is a replay, and so it is after timer J.
    let other = deliver(&mut registrar, at(5), "10.71.2.99:5062", VM, &request);
    assert_eq!(other.status, 401);
    let late = deliver(&mut registrar, at(40), TC, VM, &request);
    assert_eq!(late.status, 401);
    assert_eq!(registrar.binding_for_vm(0).unwrap().address.to_string(), TC);
}

#[test]
fn escaped_users_are_the_same_users() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.send(&mut registrar, at(0), &contact(""));
    let request = String::from_utf8(tc.request(&contact(""))).unwrap();
    let request = request.replace("To: <sip:tc17@", "To: <sip:%74c17@");
    let reply = deliver(&mut registrar, at(0), TC, VM, request.as_bytes());
    assert_eq!(reply.status, 200);
}
