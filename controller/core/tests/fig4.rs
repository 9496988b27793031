//! Fig. 4, step by step: the thin client is called, by SIP.

mod scene;

use scene::incoming::{Incoming, answered, called, called_with, up, vm_answer};
use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::{Message, Method};

#[test]
fn fig4_step_401_the_registration_is_that_of_301() {
    let scene = Scene::registered(config(), Some(&tc_sdp()));
    assert_eq!(scene.engine.clients()[0].vm, "desk-17");
}

#[test]
fn fig4_step_402_the_gateways_invite_reaches_the_vm_as_it_came() {
    let call = called(Scene::registered(config(), Some(&tc_sdp())));
    assert_eq!(text(call.invite.bytes()), call.sent);
    call.scene.silence();
    call.scene.is("setup", Path::Pending, None);
    // Whichever port the softphone will send from, the moment it answers.
    assert_eq!(
        call.scene.flow_lines(),
        [
            "vm->gateway 10.71.1.11:0 > 10.71.3.31:8000 guard",
            "vm->gateway 10.71.1.11:0 > 10.71.3.31:8001 guard rtcp",
        ]
    );
}

#[test]
fn a_vm_whose_early_media_is_to_be_heard_is_not_guarded() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let early = call.vm.response(&call.invite, 183, &vm_answer());
    call.scene.vm_sends(early);
    call.scene.at_gateway();
    assert!(call.scene.flow_lines().is_empty());
    answered(&mut call);
    assert_eq!(
        call.scene.flow_lines()[0],
        "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard"
    );
}

#[test]
fn a_call_that_goes_through_the_vm_is_not_guarded() {
    for scene in [
        Scene::new(config()),
        Scene::registered(config_with(PathChoice::Vm), Some(&tc_sdp())),
    ] {
        let call = called(scene);
        assert!(call.scene.flow_lines().is_empty());
    }
}

#[test]
fn fig4_step_403_the_vms_answer_is_held_and_the_tc_invited() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    call.scene.vm_sends(call.vm.response(&call.invite, 180, ""));
    is_response(&call.scene.at_gateway(), 180, Method::Invite);
    call.scene.is("early", Path::Pending, None);
    let invite = answered(&mut call);
    assert_eq!(audio(&invite), "10.71.3.31:8000 0 101");
    // The softphone sends as soon as it has answered: its guard stands already.
    assert_eq!(
        call.scene.flow_lines(),
        [
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard",
            "vm->gateway 10.71.1.11:7001 > 10.71.3.31:8001 guard rtcp",
        ]
    );
    // The VM repeats its answer, and it is still held.
    call.scene
        .vm_sends(call.vm.response(&call.invite, 200, &vm_answer()));
    call.scene.silence();
}

#[test]
fn fig4_step_404_and_405_the_tcs_answer_becomes_the_gateways() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let invite = answered(&mut call);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    let ok = call.scene.at_gateway();
    is_response(&ok, 200, Method::Invite);
    assert_eq!(audio(&ok), "10.71.2.21:9000 0 101");
    assert!(text(ok.bytes()).contains("X-Odd:   kept  as it is\r\n"));
    call.scene.silence();
    // The VM repeats its answer: the gateway gets the same bytes.
    call.scene
        .vm_sends(call.vm.response(&call.invite, 200, &vm_answer()));
    assert_eq!(call.scene.at_gateway().bytes(), ok.bytes());
    call.scene.is("up", Path::Direct, None);
}

#[test]
fn fig4_step_404_changed_information_is_what_405_carries() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let invite = answered(&mut call);
    let answer = sdp("10.71.2.21:9100", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    call.scene.at_tc();
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9100 0 101");
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9100 direct"
    );
}

/// The TC's own codecs in the answer are those that the gateway offered, with
/// the gateway's payload types.
#[test]
fn fig4_step_405_codecs_are_those_that_the_gateway_offered() {
    let offer = sdp("10.71.3.31:8000", "18 8 101", 1, "");
    let mut call = called_with(Scene::registered(config(), Some(&tc_sdp())), &offer);
    let answer = sdp("10.71.1.11:7000", "18 101", 1, "");
    call.scene
        .vm_sends(call.vm.response(&call.invite, 200, &answer));
    let invite = call.scene.at_tc();
    assert_eq!(audio(&invite), "10.71.3.31:8000 18 8 101");
    call.tc.learn(&invite);
    let answer = sdp("10.71.2.21:9000", "8 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    call.scene.at_tc();
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 8 101");
}

#[test]
fn fig4_step_406_media_goes_between_tc_and_gateway() {
    let mut call = up(config());
    assert_eq!(
        call.scene.flow_lines(),
        [
            "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct",
            "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8000 direct",
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard",
            "gateway->tc 10.71.3.31:8001 > 10.71.2.21:9001 direct rtcp",
            "tc->gateway 10.71.2.21:9001 > 10.71.3.31:8001 direct rtcp",
            "vm->gateway 10.71.1.11:7001 > 10.71.3.31:8001 guard rtcp",
        ]
    );
    // The keep-alive comes from where the VM believes the gateway to be.
    call.scene.wait(0);
    assert_eq!(call.scene.keep_alive[0].src, address("10.71.3.31:8000"));
    // The VM hangs up.
    call.scene.vm_sends(call.vm.request("BYE", ""));
    let bye = call.scene.at_gateway();
    is_request(&call.scene.at_tc(), Method::Bye);
    call.scene
        .gateway_sends(call.gateway.response(&bye, 200, ""));
    is_response(&call.scene.at_vm(), 200, Method::Bye);
    call.scene.is("ended", Path::Direct, None);
    call.scene.is_clean();
}

#[test]
fn fig4_step_406_steered_media_goes_through_the_anchor() {
    let mut call = up(config_with(PathChoice::Steered));
    call.scene.is("up", Path::Steered, None);
    assert_eq!(
        call.scene.flow_lines()[..3],
        [
            "gateway->tc 10.71.3.31:8000 > 10.71.1.11:40000 steered 10.71.1.11:40000 > 10.71.2.21:9000",
            "tc->gateway 10.71.2.21:9000 > 10.71.1.11:40000 steered 10.71.1.11:40000 > 10.71.3.31:8000",
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard",
        ]
    );
    call.scene.gateway_sends(call.gateway.request("BYE", ""));
    call.scene.is_clean();
}

#[test]
fn fig4_step_403_a_stock_tc_is_invited_like_one_with_media() {
    let mut call = called(Scene::registered(config(), None));
    let invite = answered(&mut call);
    assert_eq!(audio(&invite), "10.71.3.31:8000 0 101");
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    call.scene.at_tc();
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 0 101");
    call.scene.is("up", Path::Direct, None);
}

/// Whatever becomes of the TC, the VM's answer goes out as it came: this costs
/// nothing.
#[test]
fn fig4_step_404_failures_let_the_vms_answer_pass() {
    type Failure = fn(&mut Incoming, &Message);
    let table: [(&str, Failure, Reason); 6] = [
        (
            "refused",
            |call, invite| call.scene.tc_sends(call.tc.response(invite, 486, "")),
            Reason::TcRefused,
        ),
        (
            "codecs",
            |call, invite| call.scene.tc_sends(call.tc.response(invite, 488, "")),
            Reason::NoCommonCodec,
        ),
        (
            "silent",
            |call, _| call.scene.wait(4_000),
            Reason::TcNoAnswer,
        ),
        (
            "rings only",
            |call, invite| {
                call.scene.tc_sends(call.tc.response(invite, 180, ""));
                call.scene.wait(4_000);
            },
            Reason::TcNoAnswer,
        ),
        (
            "no audio",
            |call, invite| {
                let none = sdp("10.71.2.21:0", "0", 1, "");
                call.scene.tc_sends(call.tc.response(invite, 200, &none));
            },
            Reason::TcRefused,
        ),
        (
            "another codec than was offered",
            |call, invite| {
                let other = sdp("10.71.2.21:9000", "18", 1, "");
                call.scene.tc_sends(call.tc.response(invite, 200, &other));
            },
            Reason::NoCommonCodec,
        ),
    ];
    for (name, fail, reason) in table {
        let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
        let invite = answered(&mut call);
        let sent = call.vm.response(&call.invite, 200, &vm_answer());
        fail(&mut call, &invite);
        let ok = call.scene.at_gateway();
        assert_eq!(text(ok.bytes()), sent, "{name}");
        call.scene.is("up", Path::Vm, Some(reason));
        assert_eq!(call.scene.flow_lines().len(), 4, "{name}");
        assert!(call.scene.flow_lines()[0].ends_with("relay"), "{name}");
        call.gateway.learn(&ok);
        call.scene.gateway_sends(call.gateway.request("ACK", ""));
        is_request(&call.scene.at_vm(), Method::Ack);
        call.scene.gateway_sends(call.gateway.request("BYE", ""));
        let bye = call.scene.at_vm();
        call.scene.vm_sends(call.vm.response(&bye, 200, ""));
        is_response(&call.scene.at_gateway(), 200, Method::Bye);
        call.scene.is_clean();
    }
}

#[test]
fn fig4_early_media_of_the_vm_passes_and_the_answer_gets_a_higher_version() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let early = call.vm.response(&call.invite, 183, &vm_answer());
    call.scene.vm_sends(&early);
    assert_eq!(text(call.scene.at_gateway().bytes()), early);
    let invite = answered(&mut call);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    let ok = call.scene.at_gateway();
    assert_eq!(audio(&ok), "10.71.2.21:9000 0 101");
    assert!(
        body(&ok).starts_with("v=0\r\no=- 7000 2 IN IP4"),
        "{}",
        body(&ok)
    );
}
