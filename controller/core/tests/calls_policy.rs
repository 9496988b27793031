//! What the operator says of calls: emergency numbers, codecs, how many.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{CallPolicy, CodecPolicy, EngineConfig, Event, Path};
use sidestep_core::sip::Method;

fn config_of(calls: CallPolicy) -> EngineConfig {
    EngineConfig { calls, ..config() }
}

fn emergency(numbers: &[&str]) -> EngineConfig {
    config_of(CallPolicy {
        emergency: numbers.iter().map(|n| (*n).to_owned()).collect(),
        ..CallPolicy::default()
    })
}

fn codecs(prefer: &[&str], forbid: &[&str]) -> EngineConfig {
    let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    config_of(CallPolicy {
        codecs: CodecPolicy {
            prefer: list(prefer),
            forbid: list(forbid),
        },
        ..CallPolicy::default()
    })
}

/// A call for help is never touched, however its number is written.
#[test]
fn a_call_for_help_is_left_as_it_is() {
    let table = [
        ("sip:112@10.71.3.31", true),
        ("sip:1-1.2@10.71.3.31;user=phone", true),
        ("sip:112;phone-context=+49@10.71.3.31", true),
        ("sips:112:secret@10.71.3.31", true),
        ("tel:112", true),
        ("TEL:1(1)2;phone-context=example.com", true),
        ("urn:service:sos", true),
        ("URN:service:sos.police", true),
        ("urn:service:sosx", false),
        ("urn:service:counseling", false),
        ("sip:1120@10.71.3.31", false),
        ("sip:10.71.3.31", false),
        ("sip:desk112@10.71.3.31", false),
        ("tel:911", false),
    ];
    for (uri, help) in table {
        for (config, says) in [(emergency(&["112"]), true), (emergency(&[]), false)] {
            let mut scene = Scene::registered(config, Some(&tc_sdp()));
            let mut vm = Ua::vm();
            vm.target = uri.into();
            vm.remote = "<sip:help@10.71.3.31>".into();
            let sent = vm.request("INVITE", &vm_sdp());
            scene.vm_sends(&sent);
            let at_gateway = text(scene.at_gateway().bytes());
            if help && says {
                assert_eq!(at_gateway, sent, "{uri}");
                scene.is("setup", Path::Vm, Some(Reason::Emergency));
            } else {
                assert_ne!(at_gateway, sent, "{uri}");
            }
        }
    }
    // By To, where a proxy before has changed the Request-URI.
    let mut scene = Scene::registered(emergency(&["112"]), Some(&tc_sdp()));
    let mut vm = Ua::vm();
    vm.remote = "<tel:112>".into();
    let sent = vm.request("INVITE", &vm_sdp());
    scene.vm_sends(&sent);
    assert_eq!(text(scene.at_gateway().bytes()), sent);
    // The VM's own number is none.
    let mut gateway = Ua::gateway();
    gateway.target = "sip:112@10.71.1.11".into();
    let mut scene = Scene::registered(emergency(&["112"]), Some(&tc_sdp()));
    scene.gateway_sends(gateway.request("INVITE", &gateway_sdp()));
    scene.at_vm();
    scene.is("setup", Path::Pending, None);
}

/// The operator's order stands toward the gateway, in offers and answers.
#[test]
fn codecs_are_put_in_order() {
    let scene = Scene::registered(codecs(&["PCMA", "pcmu"], &[]), Some(&tc_sdp()));
    let call = outgoing::called(scene);
    assert_eq!(audio(&call.invite), "10.71.2.21:9000 8 0 101");
    let both = sdp("10.71.3.31:8000", "0 8 101", 1, "");
    let scene = Scene::registered(codecs(&["PCMA"], &[]), Some(&tc_sdp()));
    let mut call = incoming::called_with(scene, &both);
    let at_tc = incoming::answered(&mut call);
    assert_eq!(audio(&at_tc), "10.71.3.31:8000 8 0 101");
    let answer = sdp("10.71.2.21:9000", "8 0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &answer));
    call.scene.at_tc();
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 8 0 101");
}

/// A forbidden codec is heard of by nobody.
#[test]
fn codecs_are_forbidden() {
    let scene = Scene::registered(codecs(&[], &["PCMU/8000"]), Some(&tc_sdp()));
    let mut call = outgoing::called(scene);
    assert_eq!(audio(&call.invite), "10.71.2.21:9000 8 101");
    // The TC names it all the same, in its answer.
    call.gateway.learn(&call.invite);
    let answer = sdp("10.71.3.31:8000", "8 101", 1, "");
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 200, &answer));
    let at_tc = call.scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.31:8000 8 101");
    call.tc.learn(&at_tc);
    call.scene
        .tc_sends(call.tc.response(&at_tc, 200, &tc_sdp()));
    is_request(&call.scene.at_tc(), Method::Ack);
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.is("up", Path::Direct, None);

    // None is left: the call stays with the VM.
    let mut scene = Scene::registered(codecs(&[], &["PCMU", "pcma"]), Some(&tc_sdp()));
    let sent = Ua::vm().request("INVITE", &vm_sdp());
    scene.vm_sends(&sent);
    assert_eq!(text(scene.at_gateway().bytes()), sent);
    scene.is("setup", Path::Vm, Some(Reason::NoCommonCodec));

    // A TC whose codecs are not known: of the VM's, those that are allowed.
    let star = tc_sdp().replace("RTP/AVP 0 8 101", "RTP/AVP *");
    let scene = Scene::registered(codecs(&["PCMA"], &["opus"]), Some(&star));
    let call = outgoing::called(scene);
    assert_eq!(audio(&call.invite), "10.71.2.21:9000 8 0 101");

    // Offered only what is forbidden.
    let scene = Scene::registered(codecs(&[], &["PCMU"]), Some(&tc_sdp()));
    let mut call = incoming::called(scene);
    let answer = call.vm.response(&call.invite, 200, &incoming::vm_answer());
    call.scene.vm_sends(&answer);
    assert_eq!(text(call.scene.at_gateway().bytes()), answer);
    call.scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
}

/// One VM's flood of INVITEs leaves room for another's call, and itself none.
#[test]
fn a_vm_has_so_many_calls_and_no_more() {
    let calls = CallPolicy {
        max_per_vm: 3,
        ..CallPolicy::default()
    };
    let mut scene = Scene::registered(config_of(calls), Some(&tc_sdp()));
    let mut vm = Ua::vm();
    for number in 0..10 {
        vm.call_id = format!("flood-{number}");
        let sent = vm.request("INVITE", &vm_sdp());
        scene.vm_sends(&sent);
        let at_gateway = text(scene.at_gateway().bytes());
        assert_eq!(at_gateway == sent, number >= 3, "{number}");
    }
    assert_eq!(scene.engine.calls().len(), 3);
    let limited = |event: &&Event| match event {
        Event::Untouched(view) => view.reason == Some(Reason::Limit),
        _ => false,
    };
    assert_eq!(scene.events.iter().filter(limited).count(), 7);
    let other = vm.request("INVITE", &vm_sdp());
    scene.put(
        sidestep_core::engine::Side::Vm,
        "10.71.1.12:5060",
        GATEWAY,
        other,
    );
    assert_eq!(scene.engine.calls().len(), 4);
}
