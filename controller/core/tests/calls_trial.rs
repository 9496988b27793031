//! The address-only variant (claims 9, 10; M9): the codec is found by trying.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Leg, Path, ReceiverReport, Reception, TrialOutcome};
use sidestep_core::sip::{Message, Method, Name};

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

/// An address-only TC whose call is up with PCMU.
fn up_with_pcmu() -> outgoing::Outgoing {
    let mut call = outgoing::called(Scene::registered(config(), Some(&address_only())));
    let at_tc = outgoing::answered(&mut call);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    let ok = call.scene.at_vm();
    call.vm.learn(&ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    assert_eq!(call.scene.call().trial, Some(TrialOutcome::Agreed));
    call
}

/// The gateway is offered what is left and chooses; the TC hears of it.
fn next_is(call: &mut outgoing::Outgoing, left: &str, chosen: &str, version: u32) -> Message {
    let offer = call.scene.at_gateway();
    is_request(&offer, Method::Invite);
    assert_eq!(audio(&offer), format!("10.71.2.21:9000 {left}"));
    let answer = sdp("10.71.3.31:8000", chosen, version, "");
    call.scene
        .gateway_sends(call.gateway.response(&offer, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let at_tc = call.scene.at_tc();
    is_request(&at_tc, Method::Invite);
    assert_eq!(audio(&at_tc), format!("10.71.3.31:8000 {chosen}"));
    assert!(call.scene.vm.is_empty(), "the VM hears nothing of it");
    at_tc
}

fn tc_takes(call: &mut outgoing::Outgoing, at_tc: &Message, format: &str, version: u32) {
    let answer = sdp("10.71.2.21:9000", format, version, "");
    call.scene.tc_sends(call.tc.response(at_tc, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    call.scene.silence();
}

/// The TC says by INFO that it gets nothing out of what it is sent.
#[test]
fn a_thin_client_reports_what_it_does_not_decode() {
    let mut call = up_with_pcmu();
    let report = |payload_type: &str| format!("Info-Package: undecodable\r\nX: {payload_type}\r\n");
    // What is not understood is refused (RFC 6086 §4.2.2), and changes nothing.
    let other = call
        .tc
        .request_with("INFO", "Info-Package: weather\r\n", "0");
    call.scene.tc_sends(other);
    let refusal = call.scene.at_tc();
    assert_eq!(refusal.status(), Some(469));
    assert_eq!(
        refusal.header(Name::new("Recv-Info")),
        Some(b"undecodable".as_slice())
    );
    for nonsense in ["x", "128", "-1"] {
        let info = call.tc.request_with("INFO", &report(nonsense), nonsense);
        call.scene.tc_sends(info);
        assert_eq!(call.scene.at_tc().status(), Some(400), "{nonsense}");
    }
    call.scene.silence();

    let info = call.tc.request_with("INFO", &report("0"), "0\r\n");
    call.scene.tc_sends(info);
    assert_eq!(call.scene.at_tc().status(), Some(200));
    assert_eq!(call.scene.call().trial, Some(TrialOutcome::Trying));
    let at_tc = next_is(&mut call, "96 8 101", "8 101", 2);
    tc_takes(&mut call, &at_tc, "8 101", 2);
    call.scene.is("up", Path::Direct, None);
    let view = call.scene.call();
    assert_eq!(view.tries, ["PCMU/8000"]);
    assert_eq!(view.trial, Some(TrialOutcome::Agreed));
}

/// A registered codec list is tried no other way: the report counts there too.
#[test]
fn a_report_counts_in_any_call() {
    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    assert_eq!(call.scene.call().trial, None);
    let info = call
        .tc
        .request_with("INFO", "Info-Package: undecodable\r\n", "0");
    call.scene.tc_sends(info);
    assert_eq!(call.scene.at_tc().status(), Some(200));
    let at_tc = next_is(&mut call, "8 101", "8 101", 2);
    tc_takes(&mut call, &at_tc, "8 101", 2);
    assert_eq!(call.scene.call().tries, ["PCMU/8000"]);
}

/// So much of the gateway's media has passed, and the TC has sent so many RTCP
/// packets, the last with this report.
fn reports(scene: &mut Scene, passed: u64, rtcp: u32, report: Option<ReceiverReport>) {
    let now = scene.now;
    let reception = |leg, report| Reception {
        leg,
        passed,
        payload_type: Some(0),
        rtcp,
        report,
    };
    let gateways = ReceiverReport {
        fraction_lost: 0,
        highest: u32::try_from(passed).unwrap(),
    };
    let receptions = [
        reception(Leg::GatewayToTc, report),
        reception(Leg::TcToGateway, Some(gateways)),
    ];
    scene.engine.media_received(now, 1, &receptions);
    scene.drain();
}

/// A stock TC's RTCP says that nothing of what passes is received: the next codec is
/// tried, and when that is received the trial is over.
#[test]
fn rtcp_says_that_nothing_is_received() {
    let mut call = up_with_pcmu();
    call.scene.wait(2_000);
    assert_eq!(call.scene.looks, [1]);
    reports(&mut call.scene, 100, 0, None);
    call.scene.wait(5_000);
    reports(&mut call.scene, 350, 1, None);
    call.scene.silence();
    call.scene.wait(5_000);
    reports(&mut call.scene, 600, 2, None);
    let at_tc = next_is(&mut call, "96 8 101", "8 101", 2);
    tc_takes(&mut call, &at_tc, "8 101", 2);
    let got = |highest| {
        Some(ReceiverReport {
            fraction_lost: 0,
            highest,
        })
    };
    reports(&mut call.scene, 700, 3, got(90));
    call.scene.wait(5_000);
    reports(&mut call.scene, 950, 4, got(340));
    call.scene.is("up", Path::Direct, None);
    let view = call.scene.call();
    assert_eq!(
        (view.tries, view.trial),
        (vec!["PCMU/8000".into()], Some(TrialOutcome::Decoded))
    );
    call.scene.looks.clear();
    call.scene.wait(60_000);
    assert_eq!(call.scene.looks, [0; 0]);
    // Once it is known that both decode, silence is another matter.
    reports(&mut call.scene, 2_000, 6, got(340));
    reports(&mut call.scene, 3_000, 7, got(340));
    call.scene.silence();
}

/// In a call whose codecs both have told, RTCP is not the codec's affair.
#[test]
fn rtcp_is_heeded_in_a_trial_only() {
    let mut call = outgoing::up(config());
    for n in 0..10 {
        call.scene.wait(5_000);
        reports(&mut call.scene, u64::from(n) * 250, n, None);
    }
    call.scene.silence();
    assert_eq!(call.scene.looks, [0; 0]);
}

/// One codec after the other, each refused in another way, until none is left: the
/// call is the VM's.
#[test]
fn every_way_of_not_decoding_until_none_is_left() {
    let mut call = up_with_pcmu();
    for (passed, rtcp) in [(0, 0), (250, 1), (500, 2)] {
        reports(&mut call.scene, passed, rtcp, None);
    }
    // By 488.
    let at_tc = next_is(&mut call, "96 8 101", "96 101", 2);
    call.scene.tc_sends(call.tc.response(&at_tc, 488, ""));
    is_request(&call.scene.at_tc(), Method::Ack);
    let at_tc = next_is(&mut call, "8 101", "8 101", 3);
    tc_takes(&mut call, &at_tc, "8 101", 3);
    let info = call
        .tc
        .request_with("INFO", "Info-Package: undecodable\r\n", "8");
    call.scene.tc_sends(info);
    assert_eq!(call.scene.at_tc().status(), Some(200));
    is_request(&call.scene.at_tc(), Method::Bye);
    let back = call.scene.at_gateway();
    assert_eq!(audio(&back), "10.71.1.11:7000 96 0 8 101");
    let answer = sdp("10.71.3.31:8000", "0 101", 4, "");
    call.scene
        .gateway_sends(call.gateway.response(&back, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let view = call.scene.call();
    assert_eq!(view.tries, ["PCMU/8000", "opus/48000/2", "PCMA/8000"]);
    assert_eq!(view.trial, Some(TrialOutcome::NoneLeft));
    call.scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
    // The VM hears where the gateway is now.
    assert_eq!(audio(&call.scene.at_vm()), "10.71.3.31:8000 0 101");
}

/// A gateway that will have no other: back to the VM.
#[test]
fn a_gateway_that_has_no_other_codec_in_the_call() {
    let mut call = up_with_pcmu();
    let info = call
        .tc
        .request_with("INFO", "Info-Package: undecodable\r\n", "0");
    call.scene.tc_sends(info);
    call.scene.at_tc();
    let offer = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&offer, 488, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let back = call.scene.at_gateway();
    assert_eq!(audio(&back), "10.71.1.11:7000 96 0 8 101");
    call.scene
        .gateway_sends(call.gateway.response(&back, 200, &gateway_sdp()));
    call.scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
}

/// The gateway calls, with several codecs; what the TC has chosen is not decoded.
#[test]
fn a_trial_in_an_incoming_call() {
    let offer = sdp("10.71.3.31:8000", "0 8 18 101", 1, "");
    let scene = Scene::registered(config(), Some(&address_only()));
    let mut call = incoming::called_with(scene, &offer);
    let at_tc = incoming::answered(&mut call);
    assert_eq!(audio(&at_tc), "10.71.3.31:8000 0 8 18 101");
    let answer = sdp("10.71.2.21:9000", "18 0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &answer));
    call.scene.at_tc();
    let ok = call.scene.at_gateway();
    assert_eq!(audio(&ok), "10.71.2.21:9000 0 18 101");
    call.gateway.learn(&ok);
    call.scene.gateway_sends(call.gateway.request("ACK", ""));
    call.scene.at_vm();
    let info = call
        .tc
        .request_with("INFO", "Info-Package: undecodable\r\n", "18");
    call.scene.tc_sends(info);
    assert_eq!(call.scene.at_tc().status(), Some(200));
    // Of those that it has named.
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9000 0 101");
    assert_eq!(call.scene.call().tries, ["G729/8000"]);
}
