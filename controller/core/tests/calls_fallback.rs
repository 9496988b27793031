//! Back to the VM: every reason, from every leg, in every phase.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{EngineConfig, Event, Path, PathChoice};
use sidestep_core::sip::Method;

/// What the gateway answers to the VM's own offer.
fn real_answer() -> String {
    sdp("10.71.3.31:8000", "8 101", 2, "")
}

/// The VM's INVITE passes as it came, and so does all that follows.
fn passes_untouched(scene: Scene, offer: &str, reason: Reason) {
    let mut scene = scene;
    let (mut vm, mut gateway) = (Ua::vm(), Ua::gateway());
    let invite = vm.request("INVITE", offer);
    scene.vm_sends(&invite);
    let at_gateway = scene.at_gateway();
    assert_eq!(text(at_gateway.bytes()), invite);
    gateway.learn(&at_gateway);
    scene.is("setup", Path::Vm, Some(reason));
    let ok = gateway.response(&at_gateway, 200, &real_answer());
    scene.gateway_sends(&ok);
    let at_vm = scene.at_vm();
    assert_eq!(text(at_vm.bytes()), ok);
    vm.learn(&at_vm);
    for request in [
        vm.request("ACK", ""),
        vm.request("INFO", ""),
        vm.request("BYE", ""),
    ] {
        scene.vm_sends(&request);
        assert_eq!(text(scene.at_gateway().bytes()), request);
    }
    scene.silence();
    scene.is_clean();
}

#[test]
fn what_cannot_be_bypassed_passes_untouched() {
    let registered = |config: EngineConfig| Scene::registered(config, Some(&tc_sdp()));
    passes_untouched(Scene::new(config()), &vm_sdp(), Reason::TcNotRegistered);
    passes_untouched(
        registered(config_with(PathChoice::Vm)),
        &vm_sdp(),
        Reason::Policy,
    );
    let mut full = config_with(PathChoice::Steered);
    full.anchor_ports = 40001..=40002;
    passes_untouched(registered(full), &vm_sdp(), Reason::NoAnchorPort);
    for offer in [
        String::new(),
        "v=0\r\nthis is no description\r\n".into(),
        sdp("10.71.1.11:0", "0", 1, ""),
        vm_sdp() + "m=audio 7002 RTP/AVP 0\r\n",
        vm_sdp().replace("RTP/AVP", "RTP/SAVP"),
        vm_sdp() + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
        vm_sdp().replace("m=audio", "m=video"),
        vm_sdp().replace("IN IP4 10.71.1.11", "IN IP6 2001:db8::1"),
    ] {
        passes_untouched(registered(config()), &offer, Reason::SdpNotUnderstood);
    }
    let mut stopping = registered(config());
    stopping.engine.shutdown(stopping.now);
    passes_untouched(stopping, &vm_sdp(), Reason::Stopping);
}

/// Offerless: nothing has been promised, so the VM's INVITE goes as it came.
#[test]
fn an_offerless_tc_that_fails_costs_nothing() {
    type Failure = fn(&mut Scene, &Ua, &sidestep_core::sip::Message);
    let table: [(Failure, Reason); 5] = [
        (
            |scene, tc, invite| scene.tc_sends(tc.response(invite, 486, "")),
            Reason::TcRefused,
        ),
        (
            |scene, tc, invite| scene.tc_sends(tc.response(invite, 488, "")),
            Reason::NoCommonCodec,
        ),
        (|scene, _, _| scene.wait(4_000), Reason::TcNoAnswer),
        (
            |scene, tc, invite| scene.tc_sends(tc.response(invite, 200, "")),
            Reason::NoCommonCodec,
        ),
        (
            |scene, tc, invite| {
                let encrypted = tc_sdp().replace("RTP/AVP", "RTP/SAVP");
                scene.tc_sends(tc.response(invite, 200, &encrypted));
            },
            Reason::TcRefused,
        ),
    ];
    for (fail, reason) in table {
        let mut scene = Scene::registered(config(), None);
        let (mut vm, mut tc) = (Ua::vm(), Ua::tc());
        let sent = vm.request("INVITE", &vm_sdp());
        scene.vm_sends(&sent);
        let invite = scene.at_tc();
        tc.learn(&invite);
        fail(&mut scene, &tc, &invite);
        assert_eq!(text(scene.at_gateway().bytes()), sent, "{reason}");
        scene.is("setup", Path::Vm, Some(reason));
        scene.is_clean();
    }
}

/// Registered: the TC fails when the gateway has answered, or before.
#[test]
fn a_registered_tc_that_fails_is_taken_back() {
    type Failure = fn(&mut outgoing::Outgoing, &sidestep_core::sip::Message);
    let table: [(&str, Failure, Reason); 6] = [
        (
            "refuses",
            |call, invite| call.scene.tc_sends(call.tc.response(invite, 603, "")),
            Reason::TcRefused,
        ),
        (
            "codecs",
            |call, invite| call.scene.tc_sends(call.tc.response(invite, 415, "")),
            Reason::NoCommonCodec,
        ),
        (
            "silent",
            |call, _| call.scene.wait(4_000),
            Reason::TcNoAnswer,
        ),
        (
            "hangs up",
            |call, invite| {
                // It answers, but with a codec that nobody offered.
                let other = sdp("10.71.2.21:9000", "18", 1, "");
                call.scene.tc_sends(call.tc.response(invite, 200, &other));
            },
            Reason::NoCommonCodec,
        ),
        (
            "nonsense",
            |call, invite| call.scene.tc_sends(call.tc.response(invite, 200, "v=1")),
            Reason::TcRefused,
        ),
        (
            "the datapath will not",
            |call, _| {
                let now = call.scene.now;
                call.scene
                    .engine
                    .datapath_refused(now, 1, Reason::DatapathRefused);
                call.scene.drain();
            },
            Reason::DatapathRefused,
        ),
    ];
    for early in [false, true] {
        for (name, fail, reason) in table {
            let scene = Scene::registered(config(), Some(&tc_sdp()));
            let mut call = outgoing::called(scene);
            if early {
                // The TC fails while the gateway rings.
                let progress = call.gateway.response(&call.invite, 183, &gateway_sdp());
                call.scene.gateway_sends(progress);
                let invite = call.scene.at_tc();
                call.tc.learn(&invite);
                is_response(&call.scene.at_vm(), 183, Method::Invite);
                fail(&mut call, &invite);
                assert!(call.scene.gateway.is_empty(), "{name}");
                let ok = call.gateway.response(&call.invite, 200, &gateway_sdp());
                call.scene.gateway_sends(ok);
            } else {
                let invite = outgoing::answered(&mut call);
                fail(&mut call, &invite);
            }
            is_request(&call.scene.at_gateway(), Method::Ack);
            let again = call.scene.at_gateway();
            is_request(&again, Method::Invite);
            assert_eq!(audio(&again), "10.71.1.11:7000 96 0 8 101", "{name}");
            let ok = call.gateway.response(&again, 200, &real_answer());
            call.scene.gateway_sends(ok);
            is_request(&call.scene.at_gateway(), Method::Ack);
            let ok = call.scene.at_vm();
            is_response(&ok, 200, Method::Invite);
            assert_eq!(audio(&ok), "10.71.3.31:8000 8 101", "{name}");
            call.scene.is("up", Path::Vm, Some(reason));
            assert!(call.scene.flow_lines()[0].ends_with("relay"), "{name}");
            call.vm.learn(&ok);
            call.scene.vm_sends(call.vm.request("ACK", ""));
            call.scene.vm_sends(call.vm.request("BYE", ""));
            call.scene.is_clean();
        }
    }
}

/// The gateway will not take the VM's media either, or says nothing: what it
/// said first is all there is.
#[test]
fn a_refused_fallback_still_completes_the_call() {
    for silent in [false, true] {
        let scene = Scene::registered(config(), Some(&tc_sdp()));
        let mut call = outgoing::called(scene);
        let invite = outgoing::answered(&mut call);
        call.scene.tc_sends(call.tc.response(&invite, 486, ""));
        call.scene.at_tc();
        is_request(&call.scene.at_gateway(), Method::Ack);
        let again = call.scene.at_gateway();
        if silent {
            call.scene.wait(32_000);
            // Timer A: after 0.5, 1, 2, 4, 8 and 16 s.
            for _ in 0..6 {
                assert_eq!(call.scene.at_gateway().bytes(), again.bytes());
            }
        } else {
            call.scene
                .gateway_sends(call.gateway.response(&again, 500, ""));
            let ack = call.scene.at_gateway();
            is_request(&ack, Method::Ack);
            assert_eq!(ack.top_via().branch, again.top_via().branch);
        }
        let ok = call.scene.at_vm();
        is_response(&ok, 200, Method::Invite);
        assert_eq!(audio(&ok), "10.71.3.31:8000 0 101");
        call.scene.is("up", Path::Vm, Some(Reason::TcRefused));
    }
}

/// 305 differs from 301, and the gateway will not have it.
#[test]
fn a_gateway_that_refuses_changed_media_gets_the_vms() {
    for (status, reason) in [
        (500, Reason::GatewayRefused),
        (488, Reason::NoCommonCodec),
        (603, Reason::GatewayRefused),
    ] {
        let scene = Scene::registered(config(), Some(&tc_sdp()));
        let mut call = outgoing::called(scene);
        let invite = outgoing::answered(&mut call);
        let changed = sdp("10.71.2.21:9100", "0 101", 1, "");
        call.scene
            .tc_sends(call.tc.response(&invite, 200, &changed));
        call.scene.at_tc();
        call.scene.at_gateway();
        let again = call.scene.at_gateway();
        call.scene
            .gateway_sends(call.gateway.response(&again, status, ""));
        is_request(&call.scene.at_gateway(), Method::Ack);
        let vms = call.scene.at_gateway();
        is_request(&vms, Method::Invite);
        assert_eq!(vms.cseq().0, 3);
        assert_eq!(audio(&vms), "10.71.1.11:7000 96 0 8 101");
        is_request(&call.scene.at_tc(), Method::Bye);
        call.scene
            .gateway_sends(call.gateway.response(&vms, 200, &real_answer()));
        is_request(&call.scene.at_gateway(), Method::Ack);
        assert_eq!(audio(&call.scene.at_vm()), "10.71.3.31:8000 8 101");
        call.scene.is("up", Path::Vm, Some(reason));
    }
}

/// The gateway refuses the TC's codecs: the VM's own INVITE goes out, and to the
/// VM it is one transaction.
#[test]
fn refused_codecs_bring_the_vms_own_invite() {
    for status in [415, 488, 606] {
        let scene = Scene::registered(config(), Some(&tc_sdp()));
        let mut call = outgoing::called(scene);
        let refusal = call.gateway.response(&call.invite, status, "");
        call.scene.gateway_sends(&refusal);
        let ack = call.scene.at_gateway();
        is_request(&ack, Method::Ack);
        assert_eq!(ack.top_via().branch, call.invite.top_via().branch);
        assert_eq!(ack.to_tag(), Some(b"gwtag".as_slice()));
        let again = call.scene.at_gateway();
        is_request(&again, Method::Invite);
        assert_eq!(again.cseq().0, 2);
        assert_eq!(body(&again), vm_sdp());
        assert_ne!(again.top_via().branch, call.invite.top_via().branch);
        assert_eq!(again.to_tag(), None);
        call.scene.silence();
        // The refusal comes again: so does its ACK, and nothing else.
        call.scene.gateway_sends(&refusal);
        assert_eq!(call.scene.at_gateway().bytes(), ack.bytes());
        // The VM sends again: the new INVITE is ours to repeat.
        let mut same = Ua::vm();
        call.scene.vm_sends(same.request("INVITE", &vm_sdp()));
        call.scene.silence();
        call.scene.wait(500);
        assert_eq!(call.scene.at_gateway().bytes(), again.bytes());
        // What follows is the VM's transaction.
        let reliable = "Require: 100rel\r\nRSeq: 1\r\n";
        let ringing = call.gateway.response_with(&again, 180, reliable, "");
        call.scene.gateway_sends(ringing);
        let ringing = call.scene.at_vm();
        assert_eq!(ringing.cseq().0, 1);
        assert_eq!(ringing.top_via().branch, call.invite.top_via().branch);
        call.scene.wait(5_000);
        call.scene.silence();
        call.vm.learn(&ringing);
        let prack = call.vm.request_with("PRACK", "RAck: 1 1 INVITE\r\n", "");
        call.scene.vm_sends(prack);
        let prack = call.scene.at_gateway();
        assert_eq!(prack.cseq().0, 3);
        assert_eq!(
            prack.header(sidestep_core::sip::Name::RACK),
            Some(b"1 2 INVITE".as_slice())
        );
        call.scene
            .gateway_sends(call.gateway.response(&prack, 200, ""));
        assert_eq!(call.scene.at_vm().cseq().0, 2);
        let ok = call.gateway.response(&again, 200, &real_answer());
        call.scene.gateway_sends(ok);
        let ok = call.scene.at_vm();
        assert_eq!(ok.cseq().0, 1);
        assert_eq!(body(&ok), real_answer());
        call.scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
        let mut ack = call.vm.clone();
        ack.cseq = 1;
        call.scene.vm_sends(ack.request("ACK", ""));
        let ack = call.scene.at_gateway();
        assert_eq!(ack.cseq().0, 2);
        assert_eq!(call.scene.flow_lines().len(), 4);
        call.scene.vm_sends(call.vm.request("BYE", ""));
        let bye = call.scene.at_gateway();
        assert_eq!(bye.cseq().0, 4);
        call.scene
            .gateway_sends(call.gateway.response(&bye, 200, ""));
        assert_eq!(call.scene.at_vm().cseq().0, 3);
        call.scene.is_clean();
    }
}

/// The VM cancels the INVITE that went out again, and its refusal is the VM's.
#[test]
fn a_reissued_invite_can_be_cancelled() {
    let scene = Scene::registered(config(), Some(&tc_sdp()));
    let mut call = outgoing::called(scene);
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 488, ""));
    call.scene.at_gateway();
    let again = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&again, 180, ""));
    call.scene.at_vm();
    call.scene.vm_sends(call.vm.request("CANCEL", ""));
    let cancel = call.scene.at_gateway();
    is_request(&cancel, Method::Cancel);
    assert_eq!(cancel.top_via().branch, again.top_via().branch);
    assert_eq!(cancel.cseq().0, 2);
    call.scene
        .gateway_sends(call.gateway.response(&cancel, 200, ""));
    is_response(&call.scene.at_vm(), 200, Method::Cancel);
    call.scene
        .gateway_sends(call.gateway.response(&again, 487, ""));
    let terminated = call.scene.at_vm();
    is_response(&terminated, 487, Method::Invite);
    assert_eq!(terminated.cseq().0, 1);
    call.scene.vm_sends(call.vm.ack_refusal(&terminated));
    let ack = call.scene.at_gateway();
    assert_eq!(ack.top_via().branch, again.top_via().branch);
    assert_eq!(ack.cseq().0, 2);
    call.scene.silence();
    call.scene.is_clean();
}

/// A gateway that took the TC's offer but answers with something else.
#[test]
fn an_answer_that_does_not_suit_is_taken_back() {
    for (answer, reason) in [
        (sdp("10.71.3.31:8000", "18", 1, ""), Reason::NoCommonCodec),
        (sdp("10.71.3.31:0", "0", 1, ""), Reason::NoCommonCodec),
        ("v=0\r\nwhat".into(), Reason::SdpNotUnderstood),
        (String::new(), Reason::SdpNotUnderstood),
    ] {
        let scene = Scene::registered(config(), Some(&tc_sdp()));
        let mut call = outgoing::called(scene);
        let ok = call.gateway.response(&call.invite, 200, &answer);
        call.scene.gateway_sends(ok);
        is_request(&call.scene.at_gateway(), Method::Ack);
        let again = call.scene.at_gateway();
        assert_eq!(audio(&again), "10.71.1.11:7000 96 0 8 101");
        call.scene
            .gateway_sends(call.gateway.response(&again, 200, &real_answer()));
        call.scene.at_gateway();
        is_response(&call.scene.at_vm(), 200, Method::Invite);
        assert!(call.scene.tc.is_empty());
        call.scene.is("up", Path::Vm, Some(reason));
    }
}

/// A call that is up goes back: first the gateway hears of the VM, then the VM
/// of the gateway.
#[test]
fn a_call_that_is_up_is_handed_back() {
    type Cause = fn(&mut outgoing::Outgoing);
    let table: [(Cause, Reason); 3] = [
        (
            |call| {
                call.scene.engine.shutdown(call.scene.now);
                call.scene.drain();
            },
            Reason::Stopping,
        ),
        (
            |call| {
                let now = call.scene.now;
                call.scene.engine.datapath_refused(now, 1, Reason::Limit);
                call.scene.drain();
            },
            Reason::Limit,
        ),
        (
            |call| {
                let now = call.scene.now;
                call.scene
                    .engine
                    .datapath_refused(now, 1, Reason::DatapathRefused);
                call.scene.drain();
            },
            Reason::DatapathRefused,
        ),
    ];
    for (cause, reason) in table {
        let mut call = outgoing::up(config());
        cause(&mut call);
        let to_gateway = call.scene.at_gateway();
        is_request(&to_gateway, Method::Invite);
        assert_eq!(audio(&to_gateway), "10.71.1.11:7000 96 0 8 101");
        call.scene.silence();
        call.scene
            .gateway_sends(call.gateway.response(&to_gateway, 200, &real_answer()));
        is_request(&call.scene.at_gateway(), Method::Ack);
        // Only now the TC may go.
        is_request(&call.scene.at_tc(), Method::Bye);
        let to_vm = call.scene.at_vm();
        is_request(&to_vm, Method::Invite);
        assert_eq!(audio(&to_vm), "10.71.3.31:8000 8 101");
        call.scene.is("up", Path::Vm, Some(reason));
        let answer = sdp("10.71.1.11:7000", "8 101", 2, "");
        call.scene.vm_sends(call.vm.response(&to_vm, 200, &answer));
        is_request(&call.scene.at_vm(), Method::Ack);
        call.scene.silence();
        assert_eq!(
            call.scene.flow_lines()[0],
            "gateway->vm 10.71.3.31:8000 > 10.71.1.11:7000 relay"
        );
        call.scene.vm_sends(call.vm.request("BYE", ""));
        call.scene.is_clean();
    }
}

/// The gateway will not have the VM's media: a bypass that works is better than
/// a call that does not.
#[test]
fn a_refused_hand_back_leaves_the_call_where_it_is() {
    let mut call = outgoing::up(config());
    let flows = call.scene.flow_lines();
    let now = call.scene.now;
    call.scene
        .engine
        .datapath_refused(now, 1, Reason::DatapathRefused);
    call.scene.drain();
    let to_gateway = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 500, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
    assert_eq!(call.scene.flow_lines(), flows);
    call.scene.vm_sends(call.vm.request("BYE", ""));
    call.scene.is_clean();
}

/// An incoming call's VM knows the gateway's real address already.
#[test]
fn an_incoming_call_is_handed_back_by_one_offer() {
    let mut call = incoming::up(config());
    call.scene.engine.shutdown(call.scene.now);
    call.scene.drain();
    let to_gateway = call.scene.at_gateway();
    is_request(&to_gateway, Method::Invite);
    assert_eq!(audio(&to_gateway), "10.71.1.11:7000 0 101");
    // As the callee's request: its own number, the caller as To.
    assert_eq!(to_gateway.cseq().0, 1);
    assert_eq!(to_gateway.to_tag(), Some(b"gwtag".as_slice()));
    assert_eq!(to_gateway.from_tag(), Some(b"vmtag".as_slice()));
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 200, &gateway_sdp()));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.tc.clear();
    call.scene.silence();
    call.scene.is("up", Path::Vm, Some(Reason::Stopping));
    // The VM's own first request comes after ours.
    call.scene.vm_sends(call.vm.request("BYE", ""));
    assert!(call.scene.at_gateway().cseq().0 > 1);
    call.scene.is_clean();
}

/// The TC's leg is lost when it no longer answers in its dialog.
#[test]
fn a_tc_that_is_lost_during_the_call_hands_it_back() {
    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    let moved = sdp("10.71.3.31:8200", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.request("INVITE", &moved));
    let invite = call.scene.at_vm();
    let answer = sdp("10.71.1.11:7000", "0 101", 2, "");
    let sent = call.vm.response(&invite, 200, &answer);
    call.scene.vm_sends(&sent);
    let reinvite = call.scene.at_tc();
    is_request(&reinvite, Method::Invite);
    call.scene.silence();
    call.scene.tc_sends(call.tc.response(&reinvite, 481, ""));
    // The VM knows the gateway's new address from its own offer, so its answer
    // goes out, with a higher version than the TC's description had.
    let ok = call.scene.at_gateway();
    is_response(&ok, 200, Method::Invite);
    assert_eq!(audio(&ok), "10.71.1.11:7000 0 101");
    call.scene.is("up", Path::Vm, Some(Reason::TcLost));
}

#[test]
fn a_call_that_began_earlier_is_watched_only() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, gateway) = (Ua::vm(), Ua::gateway());
    vm.remote += ";tag=gwtag";
    let invite = vm.request("INVITE", &vm_sdp());
    scene.vm_sends(&invite);
    let at_gateway = scene.at_gateway();
    assert_eq!(text(at_gateway.bytes()), invite);
    let ok = gateway.response(&at_gateway, 200, &gateway_sdp());
    scene.gateway_sends(&ok);
    assert_eq!(text(scene.at_vm().bytes()), ok);
    scene.is("up", Path::Vm, Some(Reason::AlreadyUp));
    assert_eq!(scene.flow_lines().len(), 4);
    scene.vm_sends(vm.request("BYE", ""));
    scene.is_clean();
}

#[test]
fn a_call_whose_invite_cannot_be_parsed_says_so() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, gateway) = (Ua::vm(), Ua::gateway());
    let good = vm.request("INVITE", &vm_sdp());
    let bad = good.replace("CSeq: 1 INVITE", "CSeq: one INVITE");
    scene.vm_sends(&bad);
    let datagram = scene.gateway.pop_front().unwrap();
    assert_eq!(text(&datagram.payload), bad);
    assert!(matches!(scene.events[..], [Event::Malformed { .. }]));
    // A lenient gateway answers.
    let invite = sidestep_core::sip::Message::parse(good.as_bytes()).unwrap();
    let ok = gateway.response(&invite, 200, &gateway_sdp());
    scene.gateway_sends(&ok);
    assert_eq!(text(scene.at_vm().bytes()), ok);
    scene.is("up", Path::Vm, Some(Reason::SipNotUnderstood));
}

#[test]
fn nonsense_during_set_up_takes_the_bypass_back() {
    let scene = Scene::registered(config(), Some(&tc_sdp()));
    let mut call = outgoing::called(scene);
    let bad = call
        .gateway
        .response(&call.invite, 180, "")
        .replace("CSeq: 1", "CSeq: ?");
    call.scene.gateway_sends(&bad);
    let datagram = call.scene.vm.pop_front().unwrap();
    assert_eq!(text(&datagram.payload), bad);
    let ok = call.gateway.response(&call.invite, 200, &gateway_sdp());
    call.scene.gateway_sends(ok);
    is_request(&call.scene.at_gateway(), Method::Ack);
    let again = call.scene.at_gateway();
    assert_eq!(audio(&again), "10.71.1.11:7000 96 0 8 101");
    call.scene
        .gateway_sends(call.gateway.response(&again, 200, &real_answer()));
    call.scene.at_gateway();
    call.scene.at_vm();
    call.scene
        .is("up", Path::Vm, Some(Reason::SipNotUnderstood));
}

#[test]
fn more_calls_than_can_be_followed_pass() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    scene.engine.set_call_limit(1);
    let mut first = Ua::vm();
    scene.vm_sends(first.request("INVITE", &vm_sdp()));
    scene.at_gateway();
    let mut second = Ua::vm();
    second.call_id = "call-2@test".into();
    let invite = second.request("INVITE", &vm_sdp());
    scene.events.clear();
    scene.vm_sends(&invite);
    assert_eq!(text(scene.at_gateway().bytes()), invite);
    let [Event::Call(view)] = &scene.events[..] else {
        panic!("{:?}", scene.events);
    };
    assert_eq!((view.path, view.reason), (Path::Vm, Some(Reason::Limit)));
    assert_eq!(scene.engine.calls().len(), 1);
    // When the first is over there is room.
    scene.vm_sends(first.request("BYE", ""));
    let bye = scene.at_gateway();
    scene.gateway_sends(Ua::gateway().response(&bye, 200, ""));
    scene.at_vm();
    second.call_id = "call-3@test".into();
    scene.vm_sends(second.request("INVITE", &vm_sdp()));
    assert_eq!(audio(&scene.at_gateway()), "10.71.2.21:9000 0 8 101");
    assert_eq!(scene.engine.calls().len(), 1);
}
