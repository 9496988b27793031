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
        "v=0\r\nthis is no description\r\n".into(),
        sdp("10.71.1.11:0", "0", 1, ""),
        vm_sdp().replace("m=audio", "m=video"),
    ] {
        passes_untouched(registered(config()), &offer, Reason::SdpNotUnderstood);
    }
    for offer in [
        vm_sdp().replace("RTP/AVP", "RTP/SAVP"),
        vm_sdp().replace("RTP/AVP", "UDP/TLS/RTP/SAVPF") + "a=setup:actpass\r\n",
        vm_sdp().replace("RTP/AVP", "UDP/TLS/RTP/SAVP")
            + "a=fingerprint:sha-256 AA:BB\r\na=key-mgmt:mikey x\r\n",
        vm_sdp() + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
        vm_sdp().replace("RTP/AVP", "RTP/SAVP") + "a=crypto:1 UNKNOWN_SUITE inline:x\r\n",
    ] {
        passes_untouched(registered(config()), &offer, Reason::MediaEncrypted);
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

/// A stock thin client, asked first: the datapath has no room when the gateway has
/// answered. The gateway hears of the VM's media once it has its ACK, not before.
#[test]
fn a_call_is_handed_back_when_its_answer_is_acknowledged() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut tc) = (Ua::vm(), Ua::tc());
    let mut gateway = Ua::gateway();
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_tc();
    tc.learn(&invite);
    scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
    let invite = scene.at_gateway();
    gateway.learn(&invite);
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    let now = scene.now;
    scene.engine.datapath_refused(now, 1, Reason::Limit);
    scene.drain();
    let ok = scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    assert!(scene.gateway.is_empty(), "before its ACK");
    vm.learn(&ok);
    scene.vm_sends(vm.request("ACK", ""));
    is_request(&scene.at_gateway(), Method::Ack);
    let again = scene.at_gateway();
    is_request(&again, Method::Invite);
    assert_eq!(audio(&again), "10.71.1.11:7000 96 0 8 101");
    scene.gateway_sends(gateway.response(&again, 200, &real_answer()));
    is_request(&scene.at_gateway(), Method::Ack);
    scene.is("up", Path::Vm, Some(Reason::Limit));
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
        call.scene.is("up", Path::Vm, Some(Reason::HandBackRefused));
        // The VM is asked to offer its media itself.
        call.vm.learn(&ok);
        call.scene.vm_sends(call.vm.request("ACK", ""));
        let asked = call.scene.at_vm();
        is_request(&asked, Method::Invite);
        assert_eq!(audio(&asked), "10.71.3.31:8000 0 101");
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
    let [Event::Untouched(view)] = &scene.events[..] else {
        panic!("{:?}", scene.events);
    };
    assert_eq!(
        (view.state, view.path, view.reason),
        ("untouched", Path::Vm, Some(Reason::Limit))
    );
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
