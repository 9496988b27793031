//! CANCEL, refusals, BYE, forks: how calls end, and what comes late.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::{Message, Method};

#[test]
fn a_ringing_call_is_cancelled() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 183, &gateway_sdp()));
    let at_tc = call.scene.at_tc();
    is_response(&call.scene.at_vm(), 183, Method::Invite);
    let cancel = call.vm.request("CANCEL", "");
    call.scene.vm_sends(&cancel);
    let at_gateway = call.scene.at_gateway();
    assert_eq!(text(at_gateway.bytes()), cancel);
    call.scene
        .gateway_sends(call.gateway.response(&at_gateway, 200, ""));
    is_response(&call.scene.at_vm(), 200, Method::Cancel);
    call.scene.tc_sends(call.tc.response(&at_tc, 180, ""));
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 487, ""));
    let terminated = call.scene.at_vm();
    is_response(&terminated, 487, Method::Invite);
    is_request(&call.scene.at_tc(), Method::Cancel);
    let ack = call.vm.ack_refusal(&terminated);
    call.scene.vm_sends(&ack);
    assert_eq!(text(call.scene.at_gateway().bytes()), ack);
    call.scene.is("ended", Path::Pending, None);
    call.scene.wait(1000);
    assert_eq!(call.scene.removed, [1]);
    call.scene.tc.clear();
    call.scene.is_clean();
}

/// The VM cancels while its INVITE still waits for the TC: the INVITE goes
/// first.
#[test]
fn a_cancel_never_overtakes_its_invite() {
    let mut scene = Scene::registered(config(), None);
    let mut vm = Ua::vm();
    let invite = vm.request("INVITE", &vm_sdp());
    scene.vm_sends(&invite);
    is_request(&scene.at_tc(), Method::Invite);
    let cancel = vm.request("CANCEL", "");
    scene.vm_sends(&cancel);
    assert_eq!(text(scene.at_gateway().bytes()), invite);
    assert_eq!(text(scene.at_gateway().bytes()), cancel);
}

/// The CANCEL crosses the gateway's answer, which is held: it goes first, so
/// that the VM can hang up.
#[test]
fn a_cancel_lets_the_held_answer_go() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    outgoing::answered(&mut call);
    call.scene.vm_sends(call.vm.request("CANCEL", ""));
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    is_request(&call.scene.at_gateway(), Method::Cancel);
    call.vm.learn(&ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.vm_sends(call.vm.request("BYE", ""));
    is_request(&call.scene.at_gateway(), Method::Bye);
    call.scene.tc.clear();
    call.scene.is_clean();
}

#[test]
fn an_incoming_call_is_cancelled() {
    for held in [false, true] {
        let mut call = incoming::called(Scene::registered(config(), Some(&tc_sdp())));
        let answer = call.vm.response(&call.invite, 200, &incoming::vm_answer());
        if held {
            incoming::answered(&mut call);
        }
        let cancel = call.gateway.request("CANCEL", "");
        call.scene.gateway_sends(&cancel);
        if held {
            assert_eq!(text(call.scene.at_gateway().bytes()), answer);
        }
        let at_vm = call.scene.at_vm();
        assert_eq!(text(at_vm.bytes()), cancel);
        call.scene.vm_sends(call.vm.response(&at_vm, 200, ""));
        is_response(&call.scene.at_gateway(), 200, Method::Cancel);
        if held {
            call.scene.gateway_sends(call.gateway.request("BYE", ""));
        } else {
            call.scene.vm_sends(call.vm.response(&call.invite, 487, ""));
            is_response(&call.scene.at_gateway(), 487, Method::Invite);
            call.scene.is("ending", Path::Pending, None);
        }
        call.scene.is_clean();
    }
}

#[test]
fn refusals_reach_the_caller_as_they_came() {
    for status in [302, 404, 480, 486, 500, 503, 603] {
        let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
        let refusal = call.gateway.response(&call.invite, status, "");
        call.scene.gateway_sends(&refusal);
        let at_vm = call.scene.at_vm();
        assert_eq!(text(at_vm.bytes()), refusal);
        call.scene.vm_sends(call.vm.ack_refusal(&at_vm));
        is_request(&call.scene.at_gateway(), Method::Ack);
        call.scene.silence();
        call.scene.is_clean();

        let mut call = incoming::called(Scene::registered(config(), Some(&tc_sdp())));
        let refusal = call.vm.response(&call.invite, status, "");
        call.scene.vm_sends(&refusal);
        let at_gateway = call.scene.at_gateway();
        assert_eq!(text(at_gateway.bytes()), refusal);
        call.scene
            .gateway_sends(call.gateway.ack_refusal(&at_gateway));
        is_request(&call.scene.at_vm(), Method::Ack);
        call.scene.silence();
        call.scene.is_clean();
    }
}

/// A gateway that wants credentials (RFC 3261 §22): the call comes again, and a
/// TC that has offered its media has waited.
#[test]
fn a_challenged_call_comes_again() {
    for body in [Some(tc_sdp()), None] {
        let mut scene = Scene::registered(config(), body.as_deref());
        let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
        scene.vm_sends(vm.request("INVITE", &vm_sdp()));
        let mut at_tc = None;
        if body.is_none() {
            let invite = scene.at_tc();
            tc.learn(&invite);
            scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
            at_tc = Some(invite);
        }
        let invite = scene.at_gateway();
        scene.gateway_sends(gateway.response(&invite, 407, ""));
        let challenge = scene.at_vm();
        is_response(&challenge, 407, Method::Invite);
        scene.vm_sends(vm.ack_refusal(&challenge));
        is_request(&scene.at_gateway(), Method::Ack);
        let extra = "Proxy-Authorization: Digest username=\"vm\"\r\n";
        scene.vm_sends(vm.request_with("INVITE", extra, &vm_sdp()));
        if at_tc.is_none() {
            // Asked now: what it would say later could not be told the gateway.
            let invite = scene.at_tc();
            tc.learn(&invite);
            scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
        }
        let invite = scene.at_gateway();
        assert_eq!(audio(&invite), "10.71.2.21:9000 0 8 101");
        assert_eq!(invite.cseq().0, 2);
        gateway.tag = "second".into();
        scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
        let ack = scene.at_tc();
        is_request(&ack, Method::Ack);
        assert_eq!(audio(&ack), "10.71.3.31:8000 0 101");
        let ok = scene.at_vm();
        is_response(&ok, 200, Method::Invite);
        scene.is("up", Path::Direct, None);
        vm.learn(&ok);
        scene.vm_sends(vm.request("ACK", ""));
        scene.vm_sends(vm.request("BYE", ""));
        scene.is_clean();
    }
}

/// A TC that waits for a call which never comes again is let go.
#[test]
fn a_challenged_call_that_does_not_come_again_ends() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_tc();
    tc.learn(&invite);
    scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
    let invite = scene.at_gateway();
    scene.gateway_sends(gateway.response(&invite, 401, ""));
    scene.at_vm();
    scene.wait(40_000);
    is_request(&scene.at_tc(), Method::Ack);
    is_request(&scene.at_tc(), Method::Bye);
    scene.is_clean();
}

/// Two gateways answer one INVITE: the second one's messages pass untouched, and
/// do not end the first one's call.
#[test]
fn a_second_answer_of_a_fork_passes() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    let at_tc = outgoing::answered(&mut call);
    let mut other = Ua::gateway();
    other.tag = "other".into();
    let second = other.response(&call.invite, 200, &sdp("10.71.3.32:8000", "0", 1, ""));
    // While the first is held, so is the second; its sender repeats it.
    call.scene.gateway_sends(&second);
    call.scene.silence();
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &answer));
    call.scene.at_tc();
    let first = call.scene.at_vm();
    assert_eq!(first.to_tag(), Some(b"gwtag".as_slice()));
    call.scene.gateway_sends(&second);
    let at_vm = call.scene.at_vm();
    assert_eq!(text(at_vm.bytes()), second);
    // The VM acknowledges both and hangs up the second (RFC 3261 §13.2.2.4).
    let mut to_other = call.vm.clone();
    to_other.learn(&at_vm);
    call.vm.learn(&first);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    call.scene.at_gateway();
    for request in [to_other.request("ACK", ""), to_other.request("BYE", "")] {
        call.scene.vm_sends(&request);
        assert_eq!(text(call.scene.at_gateway().bytes()), request);
    }
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
}

/// The BYE comes while the answer is held.
#[test]
fn a_bye_lets_the_held_answer_go() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    outgoing::answered(&mut call);
    call.gateway.learn(&call.invite);
    call.scene.gateway_sends(call.gateway.request("BYE", ""));
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    is_request(&call.scene.at_vm(), Method::Bye);
    call.scene.is_clean();

    let mut call = incoming::called(Scene::registered(config(), Some(&tc_sdp())));
    incoming::answered(&mut call);
    call.scene.vm_sends(call.vm.request("BYE", ""));
    is_response(&call.scene.at_gateway(), 200, Method::Invite);
    is_request(&call.scene.at_gateway(), Method::Bye);
    call.scene.is_clean();
}

/// The TC fails while the gateway is asked again: what it answers decides.
#[test]
fn a_tc_that_goes_during_302_again() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    let at_tc = outgoing::answered(&mut call);
    let changed = sdp("10.71.2.21:9100", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &changed));
    call.scene.at_tc();
    is_request(&call.scene.at_gateway(), Method::Ack);
    let again = call.scene.at_gateway();
    call.scene.tc_sends(call.tc.request("BYE", ""));
    call.scene.at_tc();
    call.scene.silence();
    call.scene
        .gateway_sends(call.gateway.response(&again, 200, &gateway_sdp()));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let vms = call.scene.at_gateway();
    assert_eq!(audio(&vms), "10.71.1.11:7000 96 0 8 101");
    call.scene
        .gateway_sends(call.gateway.response(&vms, 200, &gateway_sdp()));
    is_request(&call.scene.at_gateway(), Method::Ack);
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.is("up", Path::Vm, Some(Reason::TcRefused));
}

/// Everything comes twice, and every copy gets the same bytes.
#[test]
fn repeated_messages_get_identical_bytes() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let twice_at_gateway = |scene: &mut Scene, sent: &str| -> Message {
        scene.vm_sends(sent);
        scene.vm_sends(sent);
        let first = scene.at_gateway();
        assert_eq!(first.bytes(), scene.at_gateway().bytes());
        first
    };
    let invite = twice_at_gateway(&mut scene, &vm.request("INVITE", &vm_sdp()));
    gateway.learn(&invite);
    let early = gateway.response(&invite, 183, &gateway_sdp());
    scene.gateway_sends(&early);
    scene.gateway_sends(&early);
    let first = scene.at_vm();
    assert_eq!(first.bytes(), scene.at_vm().bytes());
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let answer = tc.response(&at_tc, 200, &sdp("10.71.2.21:9100", "0 101", 1, ""));
    scene.tc_sends(&answer);
    scene.tc_sends(&answer);
    assert_eq!(scene.at_tc().bytes(), scene.at_tc().bytes());
    let ok = gateway.response(&invite, 200, &gateway_sdp());
    scene.gateway_sends(&ok);
    // The TC has changed (305).
    let ack = scene.at_gateway();
    scene.gateway_sends(&ok);
    let again = scene.at_gateway();
    assert_eq!(scene.at_gateway().bytes(), ack.bytes());
    let second = gateway.response(&again, 200, &gateway_sdp());
    scene.gateway_sends(&second);
    scene.gateway_sends(&second);
    assert_eq!(scene.at_gateway().bytes(), scene.at_gateway().bytes());
    let ok = scene.at_vm();
    scene.silence();
    vm.learn(&ok);
    let ack = vm.request("ACK", "");
    scene.vm_sends(&ack);
    scene.vm_sends(&ack);
    scene.silence();
    let bye = twice_at_gateway(&mut scene, &vm.request("BYE", ""));
    let ok = gateway.response(&bye, 200, "");
    scene.gateway_sends(&ok);
    scene.gateway_sends(&ok);
    assert_eq!(scene.at_vm().bytes(), scene.at_vm().bytes());
    scene.is_clean();
}

/// Reordered on the way: a provisional response after its 2xx says nothing any
/// more, and a re-INVITE after the BYE begins nothing.
#[test]
fn what_comes_too_late_changes_nothing() {
    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    let late = call.gateway.response(&call.invite, 183, &gateway_sdp());
    call.scene.gateway_sends(&late);
    assert_eq!(text(call.scene.at_vm().bytes()), late);
    // The VM still believes the discard address, and would have to be told.
    call.scene.engine.shutdown(call.scene.now);
    call.scene.drain();
    let to_gateway = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 200, &gateway_sdp()));
    is_request(&call.scene.at_gateway(), Method::Ack);
    is_request(&call.scene.at_vm(), Method::Invite);
    call.scene.tc.clear();
    call.scene.vm.clear();

    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    let late = call.gateway.request("INVITE", &gateway_sdp());
    call.scene.vm_sends(call.vm.request("BYE", ""));
    is_request(&call.scene.at_gateway(), Method::Bye);
    is_request(&call.scene.at_tc(), Method::Bye);
    call.scene.gateway_sends(&late);
    let at_vm = call.scene.at_vm();
    assert_eq!(text(at_vm.bytes()), late);
    let ok = call.vm.response(&at_vm, 200, &vm_sdp());
    call.scene.vm_sends(&ok);
    assert_eq!(text(call.scene.at_gateway().bytes()), ok);
    call.scene.silence();
    call.scene.is_clean();
}

/// A softphone sends until it has heard of the BYE, and often a packet more: the
/// guard goes after that, whoever hangs up.
#[test]
fn the_guard_outlives_the_call() {
    for who in ["VM", "gateway", "thin client"] {
        let mut call = outgoing::up(config_with(PathChoice::Steered));
        call.gateway.learn(&call.invite);
        let flows = call.scene.flow_lines();
        assert!(flows.iter().any(|flow| flow.ends_with("guard")));
        match who {
            "VM" => {
                call.scene.vm_sends(call.vm.request("BYE", ""));
                let bye = call.scene.at_gateway();
                assert_eq!(call.scene.flow_lines(), flows, "{who}");
                call.scene
                    .gateway_sends(call.gateway.response(&bye, 200, ""));
            }
            "gateway" => {
                call.scene.gateway_sends(call.gateway.request("BYE", ""));
                let bye = call.scene.at_vm();
                assert_eq!(call.scene.flow_lines(), flows, "{who}");
                call.scene.vm_sends(call.vm.response(&bye, 200, ""));
            }
            _ => {
                call.scene.tc_sends(call.tc.request("BYE", ""));
                let (to_vm, to_gateway) = (call.scene.at_vm(), call.scene.at_gateway());
                let ok = call.gateway.response(&to_gateway, 200, "");
                call.scene.gateway_sends(ok);
                assert_eq!(call.scene.flow_lines(), flows, "{who}");
                call.scene.vm_sends(call.vm.response(&to_vm, 200, ""));
            }
        }
        call.scene.is("ended", Path::Steered, None);
        assert_eq!(call.scene.flow_lines(), flows, "{who}");
        assert_eq!(call.scene.engine.anchors_in_use(), 1, "{who}");
        call.scene.wait(1000);
        assert!(call.scene.flows.is_empty(), "{who}");
        assert_eq!(call.scene.engine.anchors_in_use(), 0, "{who}");
        call.scene.is_clean();
    }
}

/// A BYE that nobody answers keeps nothing for ever.
#[test]
fn flows_go_without_an_answer_to_the_bye() {
    let mut call = outgoing::up(config());
    call.scene.vm_sends(call.vm.request("BYE", ""));
    call.scene.wait(31_000);
    assert!(!call.scene.flows.is_empty());
    call.scene.wait(1000);
    assert!(call.scene.flows.is_empty());
    call.scene.is("ended", Path::Direct, None);
}
