//! What happens in a call that is up: offers of all three, glare, numbers.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::{Message, Method, Name};

/// An outgoing call with the gateway's side of the dialog known.
fn outgoing_up() -> outgoing::Outgoing {
    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    call
}

/// The VM holds: the gateway is told, and the TC's microphone falls silent.
#[test]
fn the_vm_holds_and_resumes() {
    for hold in [
        sdp("10.71.1.11:7000", "96 0 8 101", 2, "a=sendonly\r\n"),
        sdp("10.71.1.11:7000", "96 0 8 101", 2, "a=inactive\r\n"),
        sdp("10.71.1.11:7000", "96 0 8 101", 2, "")
            .replace("c=IN IP4 10.71.1.11", "c=IN IP4 0.0.0.0"),
    ] {
        let mut call = outgoing_up();
        let flows = call.scene.flow_lines();
        call.scene.vm_sends(call.vm.request("INVITE", &hold));
        let invite = call.scene.at_gateway();
        is_request(&invite, Method::Invite);
        if hold.contains("0.0.0.0") {
            // Never a live address.
            assert!(body(&invite).contains("c=IN IP4 0.0.0.0"));
            assert!(!body(&invite).contains("c=IN IP4 10.71.2.21"));
        } else {
            assert_eq!(audio(&invite), "10.71.2.21:9000 0 101");
        }
        let held = sdp("10.71.3.31:8000", "0 101", 2, "a=recvonly\r\n");
        call.scene
            .gateway_sends(call.gateway.response(&invite, 200, &held));
        let reinvite = call.scene.at_tc();
        assert!(
            body(&reinvite).contains("a=inactive"),
            "{}",
            body(&reinvite)
        );
        let inactive = sdp("10.71.2.21:9000", "0 101", 2, "a=inactive\r\n");
        call.scene
            .tc_sends(call.tc.response(&reinvite, 200, &inactive));
        is_request(&call.scene.at_tc(), Method::Ack);
        let ok = call.scene.at_vm();
        is_response(&ok, 200, Method::Invite);
        assert!(audio(&ok).starts_with("192.0.2.1:7000 0"));
        call.scene.vm_sends(call.vm.request("ACK", ""));
        is_request(&call.scene.at_gateway(), Method::Ack);
        call.scene.silence();
        assert_eq!(call.scene.flow_lines(), flows);

        let resume = sdp("10.71.1.11:7000", "96 0 8 101", 3, "");
        call.scene.vm_sends(call.vm.request("INVITE", &resume));
        let invite = call.scene.at_gateway();
        assert_eq!(audio(&invite), "10.71.2.21:9000 0 101");
        let live = sdp("10.71.3.31:8000", "0 101", 3, "");
        call.scene
            .gateway_sends(call.gateway.response(&invite, 200, &live));
        let reinvite = call.scene.at_tc();
        assert!(body(&reinvite).contains("a=sendrecv"));
        let live = sdp("10.71.2.21:9000", "0 101", 3, "");
        call.scene.tc_sends(call.tc.response(&reinvite, 200, &live));
        is_request(&call.scene.at_tc(), Method::Ack);
        is_response(&call.scene.at_vm(), 200, Method::Invite);
        call.scene.silence();
        call.scene.is("up", Path::Direct, None);
    }
}

/// The same description again: nobody is asked, and no version rises.
#[test]
fn a_session_refresh_asks_nobody() {
    let mut call = outgoing_up();
    for method in ["INVITE", "UPDATE"] {
        call.scene.vm_sends(call.vm.request(method, &vm_sdp()));
        let request = call.scene.at_gateway();
        assert_eq!(audio(&request), "10.71.2.21:9000 0 101");
        call.scene
            .gateway_sends(call.gateway.response(&request, 200, &gateway_sdp()));
        let ok = call.scene.at_vm();
        assert_eq!(audio(&ok), "192.0.2.1:7000 0 101");
        if method == "INVITE" {
            call.scene.vm_sends(call.vm.request("ACK", ""));
            call.scene.at_gateway();
        }
        call.scene.silence();
    }
    // Without a description (RFC 4028): as it came.
    let update = call.vm.request("UPDATE", "");
    call.scene.vm_sends(&update);
    assert_eq!(text(call.scene.at_gateway().bytes()), update);
    // And the gateway's.
    call.scene
        .gateway_sends(call.gateway.request("INVITE", &gateway_sdp()));
    let invite = call.scene.at_vm();
    let answer = sdp("10.71.1.11:7000", "0 101", 1, "");
    call.scene.vm_sends(call.vm.response(&invite, 200, &answer));
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 0 101");
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
}

/// The same where the TC has offered, and the gateway has listed more than that
/// (RFC 3264 §6.1): what the TC cannot do is no news to it.
#[test]
fn a_refresh_asks_nobody_where_the_tc_has_offered() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.tc_sends(tc.response(&at_tc, 200, &sdp("10.71.2.21:9000", "0", 1, "")));
    for version in 1..4 {
        let invite = scene.at_gateway();
        gateway.learn(&invite);
        let answer = sdp("10.71.3.31:8000", "0 8 101", version, "");
        scene.gateway_sends(gateway.response(&invite, 200, &answer));
        if version == 1 {
            assert_eq!(audio(&scene.at_tc()), "10.71.3.31:8000 0");
        }
        vm.learn(&scene.at_vm());
        scene.vm_sends(vm.request("ACK", ""));
        is_request(&scene.at_gateway(), Method::Ack);
        scene.silence();
        scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    }
    scene.is("up", Path::Direct, None);
}

/// What crosses a request of our own is refused here (491), and its number is the next
/// request's: no peer sees a gap.
#[test]
fn a_request_that_is_refused_here_leaves_no_gap() {
    let mut call = outgoing_up();
    call.scene.gateway_sends(call.gateway.request("INFO", ""));
    let info = call.scene.at_vm().cseq().0;
    let moved = sdp("10.71.2.21:9400", "0 101", 2, "");
    call.scene.tc_sends(call.tc.request("INVITE", &moved));
    let ours = call.scene.at_gateway();
    assert_eq!(ours.cseq().0, 2);
    for _ in 0..2 {
        call.scene.vm_sends(call.vm.request("INVITE", &vm_sdp()));
        let refusal = call.scene.at_vm();
        is_response(&refusal, 491, Method::Invite);
        call.scene.vm_sends(call.vm.ack_refusal(&refusal));
        call.scene
            .gateway_sends(call.gateway.request("INVITE", &gateway_sdp()));
        is_response(&call.scene.at_gateway(), 491, Method::Invite);
    }
    call.scene
        .gateway_sends(call.gateway.response(&ours, 200, &gateway_sdp()));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.vm_sends(call.vm.request("INFO", ""));
    assert_eq!(call.scene.at_gateway().cseq(), (3, Method::Info));
    call.scene.gateway_sends(call.gateway.request("INFO", ""));
    assert_eq!(call.scene.at_vm().cseq(), (info + 1, Method::Info));
}

/// Another address and another codec of the VM's, whose media is not used: between TC
/// and gateway all stays as it was, and the VM gets an answer in its terms.
#[test]
fn the_vm_moves() {
    for method in ["INVITE", "UPDATE"] {
        let mut call = outgoing_up();
        let flows = call.scene.flow_lines();
        let moved = sdp("10.71.1.11:7010", "8 101", 2, "");
        call.scene.vm_sends(call.vm.request(method, &moved));
        let request = call.scene.at_gateway();
        assert_eq!(audio(&request), "10.71.2.21:9000 0 101");
        call.scene
            .gateway_sends(call.gateway.response(&request, 200, &gateway_sdp()));
        assert_eq!(audio(&call.scene.at_vm()), "192.0.2.1:7010 8 101");
        if method == "INVITE" {
            call.scene.vm_sends(call.vm.request("ACK", ""));
            is_request(&call.scene.at_gateway(), Method::Ack);
        }
        call.scene.silence();
        assert_eq!(call.scene.flow_lines()[..2], flows[..2]);
        call.scene.is("up", Path::Direct, None);
    }
}

/// Step 611's rule in SIP: what the gateway changes, the TC hears (M11).
#[test]
fn the_gateway_moves() {
    for method in ["INVITE", "UPDATE"] {
        let mut call = outgoing_up();
        let moved = sdp("10.71.3.31:8200", "8 0 101", 2, "");
        let sent = call.gateway.request(method, &moved);
        call.scene.gateway_sends(&sent);
        let request = call.scene.at_vm();
        assert_eq!(text(request.bytes()), sent);
        // The softphone may turn to the new address before it answers.
        let ahead = "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8200 guard".to_owned();
        assert!(call.scene.flow_lines().contains(&ahead));
        let answer = sdp("10.71.1.11:7000", "8 101", 2, "");
        let ok = call.vm.response(&request, 200, &answer);
        call.scene.vm_sends(&ok);
        let reinvite = call.scene.at_tc();
        assert_eq!(audio(&reinvite), "10.71.3.31:8200 8 0 101");
        // Meanwhile everything comes again.
        call.scene.vm_sends(&ok);
        call.scene.silence();
        call.scene.gateway_sends(&sent);
        assert_eq!(text(call.scene.at_vm().bytes()), sent);
        let tc = sdp("10.71.2.21:9000", "8 0 101", 2, "");
        call.scene.tc_sends(call.tc.response(&reinvite, 200, &tc));
        is_request(&call.scene.at_tc(), Method::Ack);
        let at_gateway = call.scene.at_gateway();
        assert_eq!(audio(&at_gateway), "10.71.2.21:9000 8 0 101");
        call.scene.vm_sends(&ok);
        assert_eq!(call.scene.at_gateway().bytes(), at_gateway.bytes());
        call.scene.silence();
        assert_eq!(
            call.scene.flow_lines()[..3],
            [
                "gateway->tc 10.71.3.31:8200 > 10.71.2.21:9000 direct",
                "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8200 direct",
                // The VM believes the gateway's offer, which it got as it came.
                "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8200 guard",
            ]
        );
    }
}

/// Only the port of the answer changes.
#[test]
fn an_answer_that_changes_only_the_port_is_seen() {
    let mut call = outgoing_up();
    let again = sdp("10.71.1.11:7000", "96 0 8 101", 2, "");
    call.scene.vm_sends(call.vm.request("INVITE", &again));
    let invite = call.scene.at_gateway();
    let moved = sdp("10.71.3.31:8002", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&invite, 200, &moved));
    let reinvite = call.scene.at_tc();
    assert_eq!(audio(&reinvite), "10.71.3.31:8002 0 101");
    let tc = sdp("10.71.2.21:9000", "0 101", 2, "");
    call.scene.tc_sends(call.tc.response(&reinvite, 200, &tc));
    call.scene.at_tc();
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8002 > 10.71.2.21:9000 direct"
    );
}

/// Offers in the 2xx, answers in the ACK (RFC 3264 §4, RFC 3261 §13.2.1).
#[test]
fn delayed_offers_of_either_side() {
    // The gateway asks.
    let mut call = outgoing_up();
    let sent = call.gateway.request("INVITE", "");
    call.scene.gateway_sends(&sent);
    let invite = call.scene.at_vm();
    assert_eq!(text(invite.bytes()), sent);
    let offer = sdp("10.71.1.11:7000", "96 0 8 101", 2, "");
    call.scene.vm_sends(call.vm.response(&invite, 200, &offer));
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 0 8 101");
    let moved = sdp("10.71.3.31:8200", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.request("ACK", &moved));
    is_request(&call.scene.at_vm(), Method::Ack);
    let reinvite = call.scene.at_tc();
    assert_eq!(audio(&reinvite), "10.71.3.31:8200 0 101");
    let tc = sdp("10.71.2.21:9000", "0 101", 2, "");
    call.scene.tc_sends(call.tc.response(&reinvite, 200, &tc));
    call.scene.at_tc();
    call.scene.silence();

    // The VM asks.
    call.scene.vm_sends(call.vm.request("INVITE", ""));
    let invite = call.scene.at_gateway();
    let offer = sdp("10.71.3.31:8400", "8 0 101", 3, "");
    call.scene
        .gateway_sends(call.gateway.response(&invite, 200, &offer));
    assert_eq!(audio(&call.scene.at_vm()), "10.71.3.31:8400 8 0 101");
    let answer = sdp("10.71.1.11:7000", "8 101", 3, "");
    call.scene.vm_sends(call.vm.request("ACK", &answer));
    let ack = call.scene.at_gateway();
    is_request(&ack, Method::Ack);
    assert_eq!(audio(&ack), "10.71.2.21:9000 8 0 101");
    let reinvite = call.scene.at_tc();
    assert_eq!(audio(&reinvite), "10.71.3.31:8400 8 0 101");
    call.scene.is("up", Path::Direct, None);
}

/// The TC moves by its own re-INVITE: the gateway hears of it, then the TC is
/// answered.
#[test]
fn the_tc_moves() {
    let mut call = outgoing_up();
    let moved = sdp("10.71.2.21:9400", "0 101", 2, "");
    let reinvite = Message::parse(call.tc.request("INVITE", &moved).as_bytes()).unwrap();
    call.scene.tc_sends(reinvite.bytes());
    let at_gateway = call.scene.at_gateway();
    is_request(&at_gateway, Method::Invite);
    assert_eq!(audio(&at_gateway), "10.71.2.21:9400 0 101");
    assert_eq!(at_gateway.cseq().0, 2);
    let answer = sdp("10.71.3.31:8600", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&at_gateway, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let mut ok = call.scene.at_tc();
    if ok.status() == Some(100) {
        ok = call.scene.at_tc();
    }
    is_response(&ok, 200, Method::Invite);
    assert_eq!(audio(&ok), "10.71.3.31:8600 0 101");
    call.scene.tc_sends(call.tc.request("ACK", ""));
    call.scene.silence();
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8600 > 10.71.2.21:9400 direct"
    );
    // The VM's next request comes after ours.
    let info = call.vm.request("INFO", "");
    call.scene.vm_sends(&info);
    let at_gateway = call.scene.at_gateway();
    assert_eq!(at_gateway.cseq(), (3, Method::Info));
    assert_eq!(
        text(at_gateway.bytes()),
        info.replace("CSeq: 2 INFO", "CSeq: 3 INFO")
    );
    call.scene
        .gateway_sends(call.gateway.response(&at_gateway, 200, ""));
    assert_eq!(call.scene.at_vm().cseq().0, 2);
}

/// The same media again, or none: the TC is answered at once.
#[test]
fn the_tc_refreshes() {
    let mut call = outgoing_up();
    let same = sdp("10.71.2.21:9000", "0 8 101", 2, "");
    for offer in [same.as_str(), ""] {
        let reinvite = call.tc.request("INVITE", offer);
        call.scene.tc_sends(reinvite);
        let mut ok = call.scene.at_tc();
        if ok.status() == Some(100) {
            ok = call.scene.at_tc();
        }
        is_response(&ok, 200, Method::Invite);
        assert_eq!(audio(&ok), "10.71.3.31:8000 0 101");
        let answer = if offer.is_empty() { same.as_str() } else { "" };
        call.scene.tc_sends(call.tc.request("ACK", answer));
        call.scene.silence();
    }
}

/// The gateway will not have the TC's new media: the TC hears so, and goes on.
#[test]
fn the_tc_moves_and_the_gateway_refuses() {
    let mut call = outgoing_up();
    let moved = sdp("10.71.2.21:9400", "0 101", 2, "");
    call.scene.tc_sends(call.tc.request("INVITE", &moved));
    let at_gateway = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&at_gateway, 500, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let mut refusal = call.scene.at_tc();
    if refusal.status() == Some(100) {
        refusal = call.scene.at_tc();
    }
    is_response(&refusal, 488, Method::Invite);
    call.scene.is("up", Path::Direct, None);
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct"
    );
}

/// Our re-INVITE meets one of the other side's (RFC 3261 §14.1).
#[test]
fn glare() {
    let mut call = outgoing_up();
    let moved = sdp("10.71.2.21:9400", "0 101", 2, "");
    call.scene.tc_sends(call.tc.request("INVITE", &moved));
    let ours = call.scene.at_gateway();
    // The gateway's own gets 491 in the VM's name, every time it comes, and its
    // ACK goes no further.
    let theirs = call.gateway.request("INVITE", &gateway_sdp());
    call.scene.gateway_sends(&theirs);
    let pending = call.scene.at_gateway();
    is_response(&pending, 491, Method::Invite);
    call.scene.gateway_sends(&theirs);
    assert_eq!(call.scene.at_gateway().bytes(), pending.bytes());
    call.scene.gateway_sends(call.gateway.ack_refusal(&pending));
    assert!(call.scene.vm.is_empty());
    // So does the VM's.
    call.scene.vm_sends(call.vm.request("INVITE", &vm_sdp()));
    is_response(&call.scene.at_vm(), 491, Method::Invite);
    // The gateway refuses ours for the same reason: ours comes again.
    call.scene
        .gateway_sends(call.gateway.response(&ours, 491, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.tc.clear();
    call.scene.silence();
    call.scene.wait(2_050);
    assert!(call.scene.gateway.is_empty());
    call.scene.wait(2_000);
    let again = call.scene.at_gateway();
    is_request(&again, Method::Invite);
    assert!(again.cseq().0 > ours.cseq().0);
    assert_eq!(body(&again), body(&ours));
    call.scene.gateway.clear();
    call.scene
        .gateway_sends(call.gateway.response(&again, 200, &gateway_sdp()));
    is_request(&call.scene.at_gateway(), Method::Ack);
    is_response(&call.scene.at_tc(), 200, Method::Invite);
    call.scene.is("up", Path::Direct, None);
}

#[test]
fn the_tc_hangs_up_and_both_sides_hear() {
    let mut call = outgoing_up();
    call.scene.tc_sends(call.tc.request("BYE", ""));
    is_response(&call.scene.at_tc(), 200, Method::Bye);
    let to_gateway = call.scene.at_gateway();
    is_request(&to_gateway, Method::Bye);
    assert_eq!(to_gateway.cseq().0, 2);
    assert_eq!(to_gateway.from_tag(), Some(b"vmtag".as_slice()));
    assert_eq!(to_gateway.uri(), Some(b"sip:gw@10.71.3.31:5060".as_slice()));
    let to_vm = call.scene.at_vm();
    is_request(&to_vm, Method::Bye);
    assert_eq!(to_vm.from_tag(), Some(b"gwtag".as_slice()));
    assert_eq!(to_vm.uri(), Some(b"sip:vm@10.71.1.11:5060".as_slice()));
    call.scene.is("ending", Path::Direct, None);
    // Timer E.
    call.scene.wait(500);
    assert_eq!(call.scene.at_gateway().bytes(), to_gateway.bytes());
    assert_eq!(call.scene.at_vm().bytes(), to_vm.bytes());
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 200, ""));
    call.scene.vm_sends(call.vm.response(&to_vm, 200, ""));
    call.scene.silence();
    call.scene.is("ended", Path::Direct, None);
    call.scene.is_clean();
}

/// Fax: an offer without audio goes on as it came, and the call with it.
#[test]
fn an_offer_that_cannot_be_bypassed_leaves_when_it_is_accepted() {
    let fax = "v=0\r\no=- 7000 2 IN IP4 10.71.1.11\r\ns=-\r\nc=IN IP4 10.71.1.11\r\nt=0 0\r\nm=image 7100 udptl t38\r\n";
    for accepted in [false, true] {
        for by_vm in [false, true] {
            let mut call = outgoing_up();
            let (sent, request) = if by_vm {
                let sent = call.vm.request("INVITE", fax);
                call.scene.vm_sends(&sent);
                (sent, call.scene.at_gateway())
            } else {
                let sent = call.gateway.request("INVITE", fax);
                call.scene.gateway_sends(&sent);
                (sent, call.scene.at_vm())
            };
            assert_eq!(text(request.bytes()), sent);
            let (status, answer) = if accepted { (200, fax) } else { (488, "") };
            let at_caller = if by_vm {
                call.scene
                    .gateway_sends(call.gateway.response(&request, status, answer));
                call.scene.at_vm()
            } else {
                call.scene
                    .vm_sends(call.vm.response(&request, status, answer));
                call.scene.at_gateway()
            };
            assert_eq!(body(&at_caller), answer);
            if accepted {
                call.scene
                    .is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
                is_request(&call.scene.at_tc(), Method::Bye);
            } else {
                call.scene.is("up", Path::Direct, None);
                call.scene.silence();
            }
        }
    }
}

/// After the fax there is speech again: the TC takes over by re-INVITE.
#[test]
fn a_call_returns_to_the_tc_after_a_fax() {
    for by_vm in [false, true] {
        let mut call = outgoing_up();
        let fax = |ip: &str| {
            format!(
                "v=0\r\no=- 7000 2 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=image 7100 udptl t38\r\n"
            )
        };
        let speech = |version| {
            (
                sdp("10.71.1.11:7000", "0 101", version, ""),
                sdp("10.71.3.31:8000", "0 101", version, ""),
            )
        };
        for (of_vm, of_gateway) in [(fax("10.71.1.11"), fax("10.71.3.31")), speech(3)] {
            if by_vm {
                call.scene.vm_sends(call.vm.request("INVITE", &of_vm));
                let invite = call.scene.at_gateway();
                assert_eq!(body(&invite), of_vm);
                let ok = call.gateway.response(&invite, 200, &of_gateway);
                call.scene.gateway_sends(ok);
                assert_eq!(body(&call.scene.at_vm()), of_gateway);
                call.scene.vm_sends(call.vm.request("ACK", ""));
                is_request(&call.scene.at_gateway(), Method::Ack);
            } else {
                let offer = call.gateway.request("INVITE", &of_gateway);
                call.scene.gateway_sends(offer);
                let invite = call.scene.at_vm();
                assert_eq!(body(&invite), of_gateway);
                call.scene.vm_sends(call.vm.response(&invite, 200, &of_vm));
                assert_eq!(body(&call.scene.at_gateway()), of_vm);
                call.scene.gateway_sends(call.gateway.request("ACK", ""));
                is_request(&call.scene.at_vm(), Method::Ack);
            }
            call.scene
                .is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
            if of_vm.contains("t38") {
                is_request(&call.scene.at_tc(), Method::Bye);
                call.scene.silence();
                assert_eq!(call.scene.flow_lines(), Vec::<String>::new());
            }
        }
        let at_tc = call.scene.at_tc();
        is_request(&at_tc, Method::Invite);
        assert_eq!(audio(&at_tc), "10.71.3.31:8000 0 101");
        let mut tc = Ua::tc();
        tc.learn(&at_tc);
        let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
        call.scene.tc_sends(tc.response(&at_tc, 200, &answer));
        is_request(&call.scene.at_tc(), Method::Ack);
        let taken = call.scene.at_gateway();
        assert_eq!(audio(&taken), "10.71.2.21:9000 0 101");
        let ok = sdp("10.71.3.31:8000", "0 101", 4, "");
        call.scene
            .gateway_sends(call.gateway.response(&taken, 200, &ok));
        is_request(&call.scene.at_gateway(), Method::Ack);
        call.scene.silence();
        call.scene.is("up", Path::Direct, None);
        assert_eq!(
            call.scene.flow_lines()[2],
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard"
        );
    }
}

/// What stands in the way of a return leaves the call as it is.
#[test]
fn a_return_that_fails_leaves_the_call_with_the_vm() {
    for refused_by_tc in [true, false] {
        let mut call = outgoing_up();
        let fax = "v=0\r\no=- 7000 2 IN IP4 10.71.1.11\r\ns=-\r\nc=IN IP4 10.71.1.11\r\nt=0 0\r\nm=image 7100 udptl t38\r\n";
        for (of_vm, of_gateway) in [
            (fax.to_owned(), fax.to_owned()),
            (
                sdp("10.71.1.11:7000", "0", 3, ""),
                sdp("10.71.3.31:8000", "0", 3, ""),
            ),
        ] {
            call.scene.vm_sends(call.vm.request("INVITE", &of_vm));
            let invite = call.scene.at_gateway();
            call.scene
                .gateway_sends(call.gateway.response(&invite, 200, &of_gateway));
            call.scene.at_vm();
            call.scene.vm_sends(call.vm.request("ACK", ""));
            call.scene.at_gateway();
        }
        let at_tc = call.scene.tc.pop_back().unwrap();
        let at_tc = Message::parse(&at_tc.payload).unwrap();
        let mut tc = Ua::tc();
        tc.learn(&at_tc);
        if refused_by_tc {
            call.scene.tc_sends(tc.response(&at_tc, 486, ""));
        } else {
            let answer = sdp("10.71.2.21:9000", "0", 1, "");
            call.scene.tc_sends(tc.response(&at_tc, 200, &answer));
            let taken = call.scene.at_gateway();
            call.scene
                .gateway_sends(call.gateway.response(&taken, 407, ""));
            is_request(&call.scene.at_gateway(), Method::Ack);
        }
        assert!(call.scene.gateway.is_empty() && call.scene.vm.is_empty());
        call.scene
            .is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
        assert_eq!(
            call.scene.flow_lines()[0],
            "gateway->vm 10.71.3.31:8000 > 10.71.1.11:7000 relay"
        );
        call.scene.tc.clear();
        call.scene.vm_sends(call.vm.request("BYE", ""));
        call.scene.is_clean();
    }
}

/// The route and the targets of our own requests (RFC 3261 §12.2.1.1).
#[test]
fn our_requests_take_the_dialogs_route() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_gateway();
    gateway.learn(&invite);
    let routes = "Record-Route: <sip:10.71.3.99;lr>, <sip:10.71.3.31;lr>\r\n";
    let ok = gateway.response_with(&invite, 200, routes, &gateway_sdp());
    scene.gateway_sends(ok);
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let changed = sdp("10.71.2.21:9100", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &changed));
    for _ in 0..2 {
        let datagram = scene.gateway.front().unwrap().clone();
        assert_eq!(datagram.dst, address("10.71.3.31:5060"));
        assert_eq!(datagram.src, address(VM));
        let message = scene.at_gateway();
        let routes: Vec<_> = message.headers(Name::ROUTE).map(text).collect();
        assert_eq!(routes, ["<sip:10.71.3.31;lr>", "<sip:10.71.3.99;lr>"]);
        assert_eq!(message.uri(), Some(b"sip:gw@10.71.3.31:5060".as_slice()));
    }
}

/// The gateway holds in all three forms, and resumes: the VM and the TC hear it as it
/// is, and the answer has the TC's media.
#[test]
fn the_gateway_holds_and_resumes() {
    let mut call = outgoing_up();
    let live = |version| sdp("10.71.3.31:8000", "0 101", version, "");
    let null = live(4).replace("c=IN IP4 10.71.3.31", "c=IN IP4 0.0.0.0");
    for (version, offer, word, answers) in [
        (
            2,
            live(2) + "a=sendonly\r\n",
            "a=sendonly",
            "a=recvonly\r\n",
        ),
        (
            3,
            live(3) + "a=inactive\r\n",
            "a=inactive",
            "a=inactive\r\n",
        ),
        (4, null, "c=IN IP4 0.0.0.0", ""),
        (5, live(5), "10.71.3.31", ""),
    ] {
        let sent = call.gateway.request("INVITE", &offer);
        call.scene.gateway_sends(&sent);
        let at_vm = call.scene.at_vm();
        assert_eq!(text(at_vm.bytes()), sent);
        let answer = sdp("10.71.1.11:7000", "0 101", version, answers);
        call.scene.vm_sends(call.vm.response(&at_vm, 200, &answer));
        let at_tc = call.scene.at_tc();
        assert!(body(&at_tc).contains(word), "{}", body(&at_tc));
        let tc = sdp("10.71.2.21:9000", "0 101", version, answers);
        call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
        is_request(&call.scene.at_tc(), Method::Ack);
        let ok = call.scene.at_gateway();
        assert_eq!(audio(&ok), "10.71.2.21:9000 0 101");
        assert!(body(&ok).contains(answers), "{}", body(&ok));
        call.scene.gateway_sends(call.gateway.request("ACK", ""));
        call.scene.at_vm();
        call.scene.silence();
        call.scene.is("up", Path::Direct, None);
        let flows = call.scene.flow_lines();
        assert_eq!(
            flows[0],
            "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct"
        );
    }
}

#[test]
fn a_steered_call_keeps_its_anchor_through_changes() {
    let mut call = incoming::up(config_with(PathChoice::Steered));
    let hold = sdp("10.71.3.31:8000", "0 101", 2, "a=sendonly\r\n");
    call.scene
        .gateway_sends(call.gateway.request("INVITE", &hold));
    let invite = call.scene.at_vm();
    let answer = sdp("10.71.1.11:7000", "0 101", 2, "a=recvonly\r\n");
    call.scene.vm_sends(call.vm.response(&invite, 200, &answer));
    let reinvite = call.scene.at_tc();
    assert_eq!(audio(&reinvite), "10.71.1.11:40000 0 101");
    assert!(body(&reinvite).contains("a=sendonly"));
    let tc = sdp("10.71.2.21:9000", "0 101", 2, "a=recvonly\r\n");
    call.scene.tc_sends(call.tc.response(&reinvite, 200, &tc));
    call.scene.at_tc();
    let ok = call.scene.at_gateway();
    assert_eq!(audio(&ok), "10.71.1.11:40000 0 101");
    assert!(body(&ok).contains("a=recvonly"));
    call.scene.is("up", Path::Steered, None);
    assert_eq!(call.scene.engine.anchors_in_use(), 1);
    call.scene.vm_sends(call.vm.request("BYE", ""));
    call.scene.is_clean();
}
