//! Before the call is up: reliable provisional responses (RFC 3262), UPDATE
//! (RFC 3311), preconditions (RFC 3312), and the branches of a fork.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::Path;
use sidestep_core::sip::{Message, Method, Name};

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\n";

/// The answer has come in a reliable 183, the TC has agreed, and the VM's PRACK
/// has been answered.
fn progressed(answer: &str) -> outgoing::Outgoing {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    call.gateway.learn(&call.invite);
    let progress = call
        .gateway
        .response_with(&call.invite, 183, RELIABLE, answer);
    call.scene.gateway_sends(progress);
    let at_vm = call.scene.at_vm();
    assert_eq!(audio(&at_vm), "192.0.2.1:7000 0 101");
    call.vm.learn(&at_vm);
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    let tc = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);
    let prack = call.vm.request_with("PRACK", "RAck: 1 1 INVITE\r\n", "");
    call.scene.vm_sends(&prack);
    let prack = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&prack, 200, ""));
    is_response(&call.scene.at_vm(), 200, Method::Prack);
    call.scene.silence();
    call
}

/// The 200 without a description, its ACK, and the call is the TC's.
fn answers(call: &mut outgoing::Outgoing) {
    let ok = call.gateway.response(&call.invite, 200, "");
    call.scene.gateway_sends(&ok);
    let at_vm = call.scene.at_vm();
    assert_eq!(text(at_vm.bytes()), ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
}

#[test]
fn the_answer_in_a_reliable_183_and_none_in_the_200() {
    let mut call = progressed(&gateway_sdp());
    answers(&mut call);
}

/// Preconditions are the two ends' own (RFC 3312 §5): they pass in both
/// directions, and so does the UPDATE that says they are met.
#[test]
fn preconditions_and_the_update_that_meets_them() {
    let wanted = "a=curr:qos local none\r\na=curr:qos remote none\r\n\
                  a=des:qos mandatory local sendrecv\r\na=des:qos mandatory remote sendrecv\r\n";
    let met = wanted.replace("local none", "local sendrecv");
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    call.gateway.learn(&call.invite);
    let answer = sdp("10.71.3.31:8000", "0 101", 1, wanted);
    let progress = call
        .gateway
        .response_with(&call.invite, 183, RELIABLE, &answer);
    call.scene.gateway_sends(progress);
    let at_vm = call.scene.at_vm();
    assert!(body(&at_vm).ends_with(wanted), "{}", body(&at_vm));
    call.vm.learn(&at_vm);
    let at_tc = call.scene.at_tc();
    assert!(!body(&at_tc).contains("qos"));
    call.tc.learn(&at_tc);
    let tc = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    call.scene.at_tc();

    let offer = sdp("10.71.1.11:7000", "96 0 8 101", 2, &met);
    let update = call.vm.request("UPDATE", &offer);
    call.scene.vm_sends(&update);
    let at_gateway = call.scene.at_gateway();
    assert_eq!(audio(&at_gateway), "10.71.2.21:9000 0 8 101");
    assert!(body(&at_gateway).contains(&met));
    // The answer is in the terms of the VM's offer: nothing that it did not offer.
    let answer = sdp("10.71.3.31:8002", "8 101", 2, &met);
    call.scene
        .gateway_sends(call.gateway.response(&at_gateway, 200, &answer));
    let at_vm = call.scene.at_vm();
    is_response(&at_vm, 200, Method::Update);
    assert_eq!(audio(&at_vm), "192.0.2.1:7000 0 101");
    assert!(body(&at_vm).contains(&met));
    // The TC hears where the gateway is now.
    let at_tc = call.scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.31:8002 8 101");
    let tc = sdp("10.71.2.21:9000", "8 101", 2, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);
    answers(&mut call);
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8002 > 10.71.2.21:9000 direct"
    );
}

/// The gateway's early UPDATE: the VM hears it, the VM's answer is the TC's.
#[test]
fn an_early_update_of_the_gateway() {
    let mut call = progressed(&gateway_sdp());
    let offer = sdp("10.71.3.31:8004", "8 18 101", 2, "");
    let update = call.gateway.request("UPDATE", &offer);
    call.scene.gateway_sends(&update);
    let at_vm = call.scene.at_vm();
    assert_eq!(text(at_vm.bytes()), update);
    call.scene.silence();
    let answer = sdp("10.71.1.11:7000", "8 101", 2, "");
    call.scene.vm_sends(call.vm.response(&at_vm, 200, &answer));
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 8 101");
    let at_tc = call.scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.31:8004 8 18 101");
    let tc = sdp("10.71.2.21:9000", "8 101", 2, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);
    answers(&mut call);
    // One that the VM refuses changes nothing.
    let refused = sdp("10.71.3.31:8006", "8 101", 3, "");
    call.scene
        .gateway_sends(call.gateway.request("UPDATE", &refused));
    let at_vm = call.scene.at_vm();
    call.scene.vm_sends(call.vm.response(&at_vm, 488, ""));
    is_response(&call.scene.at_gateway(), 488, Method::Update);
    call.scene.silence();
    assert!(
        call.scene
            .flow_lines()
            .contains(&"vm->gateway 10.71.1.11:7000 > 10.71.3.31:8004 guard".into()),
        "{:?}",
        call.scene.flow_lines()
    );
}

/// A PRACK may offer anew, and its 200 answers (RFC 3262 §5).
#[test]
fn an_offer_in_a_prack() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    call.gateway.learn(&call.invite);
    let progress = call
        .gateway
        .response_with(&call.invite, 183, RELIABLE, &gateway_sdp());
    call.scene.gateway_sends(progress);
    call.vm.learn(&call.scene.at_vm());
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    let tc = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    call.scene.at_tc();
    let offer = sdp("10.71.1.11:7010", "8 101", 2, "");
    let prack = call
        .vm
        .request_with("PRACK", "RAck: 1 1 INVITE\r\n", &offer);
    call.scene.vm_sends(prack);
    let prack = call.scene.at_gateway();
    assert_eq!(audio(&prack), "10.71.2.21:9000 0 8 101");
    let answer = sdp("10.71.3.31:8000", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&prack, 200, &answer));
    let at_vm = call.scene.at_vm();
    is_response(&at_vm, 200, Method::Prack);
    assert_eq!(audio(&at_vm), "192.0.2.1:7010 8 101");
    answers(&mut call);
}

/// The TC fails after the VM has had its answer in a reliable 183: what the 200
/// says would be ignored, so the VM is told by re-INVITE.
#[test]
fn a_tc_that_fails_after_a_reliable_answer() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    call.gateway.learn(&call.invite);
    let progress = call
        .gateway
        .response_with(&call.invite, 183, RELIABLE, &gateway_sdp());
    call.scene.gateway_sends(progress);
    call.vm.learn(&call.scene.at_vm());
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    call.scene.tc_sends(call.tc.response(&at_tc, 486, ""));
    call.scene.tc.clear();
    let ok = call.gateway.response(&call.invite, 200, "");
    call.scene.gateway_sends(&ok);
    is_request(&call.scene.at_gateway(), Method::Ack);
    let to_gateway = call.scene.at_gateway();
    assert_eq!(audio(&to_gateway), "10.71.1.11:7000 96 0 8 101");
    let real = sdp("10.71.3.31:8000", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 200, &real));
    is_request(&call.scene.at_gateway(), Method::Ack);
    assert_eq!(text(call.scene.at_vm().bytes()), ok);
    let to_vm = call.scene.at_vm();
    is_request(&to_vm, Method::Invite);
    assert_eq!(audio(&to_vm), "10.71.3.31:8000 0 101");
    call.scene.is("up", Path::Vm, Some(Reason::TcRefused));
}

/// A fork (RFC 3261 §13.2.2): several 18x with media of their own, and the 200 of
/// the one that spoke first.
#[test]
fn early_media_of_several_branches() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    let mut other = Ua::gateway();
    other.tag = "other".into();
    let first = sdp("10.71.3.31:8000", "0 101", 1, "");
    let progress = call
        .gateway
        .response_with(&call.invite, 183, RELIABLE, &first);
    call.scene.gateway_sends(progress);
    let at_vm = call.scene.at_vm();
    assert_eq!(at_vm.to_tag(), Some(b"gwtag".as_slice()));
    let at_tc = call.scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.31:8000 0 101");
    call.tc.learn(&at_tc);

    // The other speaks before the TC has answered; the TC hears it then.
    let second = sdp("10.71.3.32:8100", "8 101", 1, "");
    let progress = other.response(&call.invite, 183, &second);
    call.scene.gateway_sends(progress);
    let at_vm = call.scene.at_vm();
    assert_eq!(at_vm.to_tag(), Some(b"other".as_slice()));
    assert_eq!(audio(&at_vm), "192.0.2.1:7000 0 101");
    let tc = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);
    let at_tc = call.scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.32:8100 8 101");
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.32:8100 > 10.71.2.21:9000 direct"
    );
    let tc = sdp("10.71.2.21:9000", "0 8 101", 2, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);

    // The first answers, without saying again where it is.
    call.gateway.learn(&call.invite);
    let ok = call.gateway.response(&call.invite, 200, "");
    call.scene.gateway_sends(&ok);
    let at_tc = call.scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.31:8000 0 101");
    let tc = sdp("10.71.2.21:9000", "0 8 101", 3, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);
    assert_eq!(text(call.scene.at_vm().bytes()), ok);
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct"
    );
    // The other answers too: the VM takes it, and hangs it up (§13.2.2.4).
    let late = other.response(&call.invite, 200, &second);
    call.scene.gateway_sends(&late);
    assert_eq!(text(call.scene.at_vm().bytes()), late);
    let mut vm = call.vm.clone();
    vm.remote = format!("<sip:peer@{GATEWAY}>;tag=other");
    for method in ["ACK", "BYE"] {
        let sent = vm.request(method, "");
        call.scene.vm_sends(&sent);
        assert_eq!(text(call.scene.at_gateway().bytes()), sent);
    }
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
}

/// After requests of our own every number that the VM names is shifted: in CSeq,
/// and in RAck, which names the INVITE's (RFC 3262 §7.2).
#[test]
fn rack_follows_the_shift_of_cseq() {
    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    let moved = sdp("10.71.2.21:9400", "0 101", 2, "");
    call.scene.tc_sends(call.tc.request("INVITE", &moved));
    let ours = call.scene.at_gateway();
    assert_eq!(ours.cseq(), (2, Method::Invite));
    call.scene
        .gateway_sends(call.gateway.response(&ours, 200, &gateway_sdp()));
    call.scene.gateway.clear();
    call.scene.tc.clear();
    call.scene.vm_sends(call.vm.request("INVITE", &vm_sdp()));
    let invite = call.scene.at_gateway();
    assert_eq!(invite.cseq(), (3, Method::Invite));
    let ringing = call
        .gateway
        .response_with(&invite, 180, "Require: 100rel\r\nRSeq: 5\r\n", "");
    call.scene.gateway_sends(ringing);
    assert_eq!(call.scene.at_vm().cseq(), (2, Method::Invite));
    let prack = call.vm.request_with("PRACK", "RAck: 5 2 INVITE\r\n", "");
    call.scene.vm_sends(prack);
    let prack = call.scene.at_gateway();
    assert_eq!(prack.cseq(), (4, Method::Prack));
    assert_eq!(
        prack.header(Name::RACK),
        Some(b"5 3 INVITE".as_slice()),
        "{}",
        text(prack.bytes())
    );
    call.scene
        .gateway_sends(call.gateway.response(&prack, 200, ""));
    assert_eq!(call.scene.at_vm().cseq(), (3, Method::Prack));
}

/// Parts beside the session description (ISUP, a location, RFC 5621) leave whole.
#[test]
fn a_multipart_body_keeps_its_other_parts() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let location = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\"><m=audio/></presence>";
    let whole = |sdp: &str| {
        format!(
            "--edge\r\nContent-Type: application/pidf+xml\r\nContent-ID: <here@test>\r\n\r\n\
             {location}\r\n--edge\r\nContent-Type: application/sdp\r\n\r\n{sdp}--edge\r\n\
             Content-Type: application/ISUP;version=itu-t92+\r\nContent-Disposition: signal\r\n\r\n\
             \u{1}\u{2}\r\n--edge--\r\n"
        )
    };
    let mut vm = Ua::vm();
    let sent = vm.request("INVITE", &whole(&vm_sdp()));
    let mixed = "Content-Type: multipart/mixed;boundary=edge\r\n";
    let sent = sent.replace(
        "Content-Type: application/sdp\r\nContent-Length",
        &format!("{mixed}Content-Length"),
    );
    scene.vm_sends(&sent);
    let at_gateway = scene.at_gateway();
    let inner = at_gateway.session().expect("a description").to_vec();
    assert_eq!(body(&at_gateway), whole(&text(&inner)));
    let media = sidestep_core::sdp::SessionDescription::parse(&inner).unwrap();
    assert_eq!(media.audio().unwrap().1.rtp, address("10.71.2.21:9000"));
    let length = at_gateway.header(Name::CONTENT_LENGTH).map(text);
    assert_eq!(length, Some(at_gateway.body().len().to_string()));
    let reread = Message::parse(at_gateway.bytes()).unwrap();
    assert_eq!(reread.trailing(), b"");
}
