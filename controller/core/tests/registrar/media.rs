//! What media a registration describes (claims 5 and 9).

use crate::client::{CONTACT, Client, SDP, at, contact, registrar, with_sdp};

#[test]
fn media_is_registered_in_three_ways() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    // Address and codecs (claim 5).
    let body = "m=audio 20000 RTP/AVP 8 0 96\r\na=rtpmap:96 opus/48000/2\r\na=ptime:20";
    let ok = tc.register(&mut registrar, at(0), &with_sdp(body));
    assert_eq!(ok.status, 200);
    let media = registrar.binding_for_vm(0).unwrap().media.clone().unwrap();
    assert_eq!(media.rtp, "10.71.2.21:20000".parse().unwrap());
    assert_eq!(media.rtcp, "10.71.2.21:20001".parse().unwrap());
    let names: Vec<String> = media.codecs.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["PCMA/8000", "PCMU/8000", "opus/48000/2"]);
    assert_eq!(ok.clients()[0].media.as_ref(), Some(&media));

    // The address only (claim 9).
    let address_only = with_sdp("m=audio 20002 RTP/AVP *");
    let ok = tc.send(&mut registrar, at(1), &address_only);
    assert_eq!(ok.status, 200);
    assert_eq!(ok.clients().len(), 1, "changed media is worth telling");
    let media = registrar.binding_for_vm(0).unwrap().media.clone().unwrap();
    assert_eq!(media.rtp, "10.71.2.21:20002".parse().unwrap());
    assert_eq!(media.codecs, vec![]);

    // None, as a stock phone does.
    assert_eq!(tc.send(&mut registrar, at(2), &contact("")).status, 200);
    assert_eq!(registrar.binding_for_vm(0).unwrap().media, None);
}

#[test]
fn media_that_cannot_be_taken_changes_nothing() {
    let typed = |content_type: &str, body: &str| {
        format!("Contact: {CONTACT}\r\nContent-Type: {content_type}\r\n\r\n{body}")
    };
    let null_address = SDP.replace("c=IN IP4 10.71.2.21", "c=IN IP4 0.0.0.0");
    let null_address = format!("{null_address}m=audio 20000 RTP/AVP 0\r\n");
    let table = [
        (with_sdp("m=audio 0 RTP/AVP 0"), 488),
        (with_sdp("m=video 20000 RTP/AVP 31"), 488),
        (with_sdp("m=audio 20000 RTP/SAVP 0"), 488),
        (with_sdp("m=audio 20000 RTP/AVP 97"), 488),
        (typed("application/sdp", &null_address), 488),
        (with_sdp("m=audio x RTP/AVP 0"), 400),
        (typed("application/sdp", "hello"), 400),
        (typed("text/plain", "hello"), 415),
    ];
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.register(&mut registrar, at(0), &with_sdp("m=audio 20000 RTP/AVP 0"));
    let before = registrar.binding_for_vm(0).cloned();
    for (lines, status) in table {
        let reply = tc.send(&mut registrar, at(1), &lines);
        assert_eq!(reply.status, status, "{lines}");
        assert_eq!(reply.refusals(), [(Some("tc17"), status)]);
        assert_eq!(registrar.binding_for_vm(0).cloned(), before, "{lines}");
    }
}
