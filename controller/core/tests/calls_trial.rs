//! The address-only variant (claims 9, 10; M9): the codec is found by trying.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::Path;
use sidestep_core::sip::Method;

/// Address only: `*` stands for the formats.
fn address_only() -> String {
    "v=0\r\no=- 1 1 IN IP4 10.71.2.21\r\ns=-\r\nc=IN IP4 10.71.2.21\r\nt=0 0\r\n\
     m=audio 9000 RTP/AVP *\r\n"
        .into()
}

/// The gateway chooses one codec after the other, as it is offered; the TC refuses
/// all but the last.
#[test]
fn the_next_codec_is_tried_until_both_can() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&address_only())));
    // The VM's codecs at the TC's address.
    assert_eq!(audio(&call.invite), "10.71.2.21:9000 96 0 8 101");
    call.gateway.learn(&call.invite);
    let mut request = call.invite.clone();
    let mut tried: Vec<&str> = Vec::new();
    for (round, (format, name, left)) in [
        ("96", "opus/48000/2", "96 0 8 101"),
        ("0", "PCMU/8000", "0 8 101"),
        ("8", "PCMA/8000", "8 101"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(audio(&request), format!("10.71.2.21:9000 {left}"));
        let version = u32::try_from(round).unwrap() + 1;
        let answer = sdp("10.71.3.31:8000", &format!("{format} 101"), version, "");
        call.scene
            .gateway_sends(call.gateway.response(&request, 200, &answer));
        if round > 0 {
            is_request(&call.scene.at_gateway(), Method::Ack);
        }
        let at_tc = call.scene.at_tc();
        is_request(&at_tc, Method::Invite);
        assert_eq!(audio(&at_tc), format!("10.71.3.31:8000 {format} 101"));
        let mut tc = Ua::tc();
        tc.learn(&at_tc);
        if format == "8" {
            let answer = sdp("10.71.2.21:9000", "8 101", 1, "");
            call.scene.tc_sends(tc.response(&at_tc, 200, &answer));
            is_request(&call.scene.at_tc(), Method::Ack);
            break;
        }
        call.scene.tc_sends(tc.response(&at_tc, 488, ""));
        is_request(&call.scene.at_tc(), Method::Ack);
        tried.push(name);
        assert_eq!(call.scene.call().tries, tried);
        assert!(call.scene.vm.is_empty(), "the VM waits for its answer");
        if round == 0 {
            is_request(&call.scene.at_gateway(), Method::Ack);
        }
        request = call.scene.at_gateway();
        is_request(&request, Method::Invite);
    }
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    assert_eq!(audio(&ok), "192.0.2.1:7000 0 101");
    call.vm.learn(&ok);
    // The gateway has its ACK already.
    call.scene.vm_sends(call.vm.request("ACK", ""));
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
    assert_eq!(call.scene.call().tries, ["opus/48000/2", "PCMU/8000"]);
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct"
    );
    // Numbers go on from those of the trial.
    call.scene.vm_sends(call.vm.request("BYE", ""));
    assert_eq!(call.scene.at_gateway().cseq(), (4, Method::Bye));
    call.scene.tc.clear();
    call.scene.is_clean();
}

/// Nothing suits: the call goes back to the VM, and says what was tried.
#[test]
fn when_all_are_tried_the_call_is_the_vms() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&address_only())));
    call.gateway.learn(&call.invite);
    let all = sdp("10.71.3.31:8000", "96 0 8 101", 1, "");
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 200, &all));
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    call.scene.tc_sends(call.tc.response(&at_tc, 488, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let again = call.scene.at_gateway();
    assert_eq!(audio(&again), "10.71.1.11:7000 96 0 8 101");
    call.scene
        .gateway_sends(call.gateway.response(&again, 200, &gateway_sdp()));
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
    assert_eq!(
        call.scene.call().tries,
        ["opus/48000/2", "PCMU/8000", "PCMA/8000"]
    );
}

/// The gateway will not choose another one.
#[test]
fn a_gateway_with_one_codec_only() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&address_only())));
    call.gateway.learn(&call.invite);
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 200, &gateway_sdp()));
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    call.scene.tc_sends(call.tc.response(&at_tc, 488, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let again = call.scene.at_gateway();
    assert_eq!(audio(&again), "10.71.2.21:9000 96 8 101");
    call.scene
        .gateway_sends(call.gateway.response(&again, 488, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let vms = call.scene.at_gateway();
    assert_eq!(audio(&vms), "10.71.1.11:7000 96 0 8 101");
    call.scene
        .gateway_sends(call.gateway.response(&vms, 200, &gateway_sdp()));
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
}

/// The TC finds out in the call that it does not decode: its re-INVITE leaves the
/// codec out, and the gateway is offered what is left.
#[test]
fn a_codec_that_turns_out_not_to_be_decoded() {
    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    let without = sdp("10.71.2.21:9000", "8 101", 2, "");
    call.scene.tc_sends(call.tc.request("INVITE", &without));
    let at_gateway = call.scene.at_gateway();
    assert_eq!(audio(&at_gateway), "10.71.2.21:9000 8 101");
    let answer = sdp("10.71.3.31:8000", "8 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&at_gateway, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let mut ok = call.scene.at_tc();
    if ok.status() == Some(100) {
        ok = call.scene.at_tc();
    }
    assert_eq!(audio(&ok), "10.71.3.31:8000 8 101");
    assert_eq!(call.scene.call().tries, ["PCMU/8000"]);
    call.scene.is("up", Path::Direct, None);
}

/// Early media in a codec that the TC refuses: the trial waits for the answer.
#[test]
fn a_trial_waits_for_the_answer() {
    let mut call = outgoing::called(Scene::registered(config(), Some(&address_only())));
    call.gateway.learn(&call.invite);
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 183, &gateway_sdp()));
    call.scene.at_vm();
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    call.scene.tc_sends(call.tc.response(&at_tc, 488, ""));
    is_request(&call.scene.at_tc(), Method::Ack);
    call.scene.silence();
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 200, &gateway_sdp()));
    let at_tc = call.scene.at_tc();
    let mut tc = Ua::tc();
    tc.learn(&at_tc);
    call.scene.tc_sends(tc.response(&at_tc, 488, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 96 8 101");
}
