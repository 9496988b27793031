//! What peers seldom do, and what must not go wrong then: guards that come too
//! late, a thin client that goes while nobody asks, INVITEs that nobody answers,
//! strangers' messages.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Datagram, Datapath, FlowKind, Output, Path, Side, Transport};
use sidestep_core::sip::Method;

/// What comes out for a message, in its order.
fn outputs(scene: &mut Scene, side: Side, payload: &str) -> Vec<Output> {
    let (src, dst) = match side {
        Side::Vm => (VM, GATEWAY),
        Side::Net => (GATEWAY, VM),
    };
    let datagram = Datagram {
        side,
        transport: Transport::Udp,
        src: address(src),
        dst: address(dst),
        payload: payload.as_bytes().to_vec(),
    };
    scene.engine.handle_datagram(scene.now, datagram);
    std::iter::from_fn(|| scene.engine.poll_output()).collect()
}

/// The VM is told nothing before its guard stands.
fn guarded_first(outputs: &[Output], to: &str) {
    let told = outputs
        .iter()
        .position(|output| matches!(output, Output::Send(d) if d.side == Side::Vm))
        .expect("something for the VM");
    let guard = outputs.iter().position(|output| match output {
        Output::Datapath(Datapath::Set { flows, .. }) => flows
            .iter()
            .any(|f| f.kind == FlowKind::Guard && f.dst.to_string() == to),
        _ => false,
    });
    assert!(guard.expect("a guard") < told, "{outputs:?}");
}

#[test]
fn early_media_is_guarded_before_the_vm_hears_of_it() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    let early = call.gateway.response(&call.invite, 183, &gateway_sdp());
    let outputs = outputs(&mut call.scene, Side::Net, &early);
    guarded_first(&outputs, "192.0.2.1:7000");
}

/// The VM asks for the gateway's offer, and hears its real address.
#[test]
fn an_address_that_passes_is_guarded_before_the_vm_hears_of_it() {
    let mut call = outgoing::up(config());
    call.scene.vm_sends(call.vm.request("INVITE", ""));
    let invite = call.scene.at_gateway();
    let offer = sdp("10.71.3.31:8200", "0 101", 2, "");
    let ok = call.gateway.response(&invite, 200, &offer);
    let outputs = outputs(&mut call.scene, Side::Net, &ok);
    guarded_first(&outputs, "10.71.3.31:8200");
}

/// The TC offers, the gateway challenges the VM, and the TC hangs up before the
/// INVITE comes again: it goes through the VM.
#[test]
fn a_tc_that_goes_while_the_vm_looks_for_its_password() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_tc();
    tc.learn(&invite);
    scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
    let invite = scene.at_gateway();
    scene.wait(3000);
    is_request(&scene.at_tc(), Method::Ack);
    scene.gateway_sends(gateway.response(&invite, 407, ""));
    let challenge = scene.at_vm();
    scene.vm_sends(vm.ack_refusal(&challenge));
    scene.at_gateway();
    scene.tc_sends(tc.request("BYE", ""));
    is_response(&scene.at_tc(), 200, Method::Bye);
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    // Called again, since it is registered still.
    is_request(&scene.at_tc(), Method::Invite);
    scene.tc.clear();
    scene.gateway.clear();
    scene.wait(6000);
    is_request(&scene.at_gateway(), Method::Invite);
    scene.is("setup", Path::Vm, Some(Reason::TcNoAnswer));
}

/// Nothing could be answered to the VM's offer: it goes as it came.
#[test]
fn an_offer_without_speech_is_left_alone() {
    for formats in ["101", "96"] {
        let mut scene = Scene::registered(config(), Some(&tc_sdp()));
        let offer = sdp("10.71.1.11:7000", formats, 1, "");
        let offer = offer.replace("a=rtpmap:96 opus/48000/2\r\n", "");
        let invite = Ua::vm().request("INVITE", &offer);
        scene.vm_sends(&invite);
        assert_eq!(text(scene.at_gateway().bytes()), invite);
        scene.is("setup", Path::Vm, Some(Reason::SdpNotUnderstood));
    }
}

/// The gateway is dead: when the VM has given up, nobody keeps the TC waiting.
#[test]
fn an_invite_that_nobody_answers_is_forgotten() {
    for incoming in [false, true] {
        let mut scene = Scene::registered(config(), None);
        if incoming {
            scene.gateway_sends(Ua::gateway().request("INVITE", &gateway_sdp()));
        } else {
            scene.vm_sends(Ua::vm().request("INVITE", &vm_sdp()));
            let invite = scene.at_tc();
            let mut tc = Ua::tc();
            tc.learn(&invite);
            scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
        }
        scene.wait(41_000);
        scene.is("ending", Path::Pending, None);
        if !incoming {
            is_request(&scene.at_tc(), Method::Ack);
            is_request(&scene.at_tc(), Method::Bye);
        }
        scene.is_clean();
    }
}

/// One that rings may ring on.
#[test]
fn an_invite_that_rings_is_not() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 100, ""));
    call.scene.wait(300_000);
    call.scene.is("setup", Path::Pending, None);
}

/// Whoever sends responses to no INVITE fills no table with them.
#[test]
fn strangers_responses_leave_room_for_calls() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    scene.engine.set_call_limit(4);
    let mut stranger = Ua::vm();
    for number in 0..8 {
        stranger.call_id = format!("strange-{number}");
        let invite = stranger.request("INVITE", "");
        let invite = sidestep_core::sip::Message::parse(invite.as_bytes()).unwrap();
        scene.gateway_sends(Ua::gateway().response(&invite, 200, &gateway_sdp()));
    }
    scene.vm.clear();
    let call = outgoing::called(scene);
    assert_eq!(audio(&call.invite), "10.71.2.21:9000 0 8 101");
}

/// Redirected (302): the call that comes again is with another gateway, and what
/// we ask of our own goes there.
#[test]
fn a_redirected_call_is_with_the_new_gateway() {
    const OTHER: &str = "10.71.3.32:5060";
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway) = (Ua::vm(), Ua::gateway());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_gateway();
    let route = "Record-Route: <sip:10.71.3.31:5060;lr>\r\n";
    scene.gateway_sends(gateway.response_with(&invite, 180, route, ""));
    scene.at_vm();
    scene.gateway_sends(gateway.response(&invite, 302, ""));
    let moved = scene.at_vm();
    scene.vm_sends(vm.ack_refusal(&moved));
    scene.at_gateway();

    (gateway.here, gateway.tag) = (OTHER, "other".into());
    scene.put(Side::Vm, VM, OTHER, vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_gateway();
    assert_eq!(audio(&invite), "10.71.2.21:9000 0 8 101");
    // Rings without a Contact.
    let rings = gateway.response(&invite, 180, "");
    let rings = rings.replace("Contact: <sip:gw@10.71.3.32:5060>\r\n", "");
    scene.put(Side::Net, OTHER, VM, rings);
    scene.at_vm();
    let ok = gateway.response(&invite, 200, &gateway_sdp());
    scene.put(Side::Net, OTHER, VM, ok);
    assert_eq!(scene.call().gateway, address(OTHER));
    let mut tc = Ua::tc();
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.tc_sends(tc.response(&at_tc, 486, ""));
    scene.at_tc();
    for _ in 0..2 {
        let sent = scene.gateway.pop_front().unwrap();
        assert_eq!(sent.dst, address(OTHER), "{}", text(&sent.payload));
        assert!(!text(&sent.payload).contains("Route:"));
        assert!(text(&sent.payload).contains(";tag=other"));
    }
}

/// A call that was hung up comes again with its Call-ID and tag.
#[test]
fn a_call_id_that_is_used_again() {
    let mut call = outgoing::up(config());
    call.scene.vm_sends(call.vm.request("BYE", ""));
    let bye = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&bye, 200, ""));
    is_response(&call.scene.at_vm(), 200, Method::Bye);
    call.scene.tc.clear();
    call.vm.remote = "<sip:peer@10.71.3.31:5060>".into();
    call.scene.vm_sends(call.vm.request("INVITE", &vm_sdp()));
    call.invite = call.scene.at_gateway();
    call.gateway.tag = "again".into();
    call.tc = Ua::tc();
    outgoing::answered(&mut call);
    call.scene.silence();
}

/// The VM has gone while its call went back to it: neither side keeps a call that
/// the other does not have (RFC 3261 §13.3.1.4).
#[test]
fn an_answer_that_the_vm_never_acknowledges_ends_the_call() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&tc_sdp())));
    let at_tc = outgoing::answered(&mut call);
    call.scene.tc_sends(call.tc.response(&at_tc, 486, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let again = call.scene.at_gateway();
    is_request(&again, Method::Invite);
    let ok = call.gateway.response(&again, 200, &gateway_sdp());
    call.scene.gateway_sends(ok);
    is_request(&call.scene.at_gateway(), Method::Ack);
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.is("up", Path::Vm, Some(Reason::TcRefused));
    call.scene.wait(33_000);
    is_request(&call.scene.at_gateway(), Method::Bye);
    let to_vm = call.scene.vm.pop_back().unwrap();
    assert!(to_vm.payload.starts_with(b"BYE "));
    call.scene.is("ending", Path::Vm, Some(Reason::TcRefused));
    call.scene.tc.clear();
    call.scene.is_clean();
}

/// Whoever stops when the gateway has taken the VM's media, but before the VM has
/// heard of the gateway's, leaves the VM with an answer that nobody acknowledges.
#[test]
fn a_hand_back_lasts_until_the_vm_has_answered() {
    let mut call = outgoing::up(config());
    assert!(!call.scene.engine.is_waiting());
    call.scene.engine.shutdown(call.scene.now);
    call.scene.drain();
    assert!(call.scene.engine.is_waiting());
    let to_gateway = call.scene.at_gateway();
    let answer = sdp("10.71.3.31:8000", "8 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 200, &answer));
    call.scene.is("up", Path::Vm, Some(Reason::Stopping));
    let to_vm = call.scene.at_vm();
    is_request(&to_vm, Method::Invite);
    assert!(call.scene.engine.is_waiting(), "the VM has not answered");
    call.scene
        .vm_sends(call.vm.response(&to_vm, 200, &vm_sdp()));
    is_request(&call.scene.at_vm(), Method::Ack);
    assert!(!call.scene.engine.is_waiting());
}
