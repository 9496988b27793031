//! Fig. 3, step by step: the thin client calls, by SIP.

mod scene;

use scene::outgoing::{answered, called, up};
use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::Method;

#[test]
fn fig3_step_301_the_tc_registers_address_and_codecs() {
    let scene = Scene::registered(config(), Some(&tc_sdp()));
    let clients = scene.engine.clients();
    assert_eq!(clients.len(), 1);
    let media = clients[0].media.as_ref().unwrap();
    assert_eq!(media.rtp, address("10.71.2.21:9000"));
    let codecs: Vec<_> = media.codecs.iter().map(|c| c.to_string()).collect();
    assert_eq!(codecs, ["PCMU/8000", "PCMA/8000", "telephone-event/8000"]);
}

#[test]
fn fig3_step_302_invite_carries_the_tcs_media() {
    let call = called(Scene::registered(config(), Some(&tc_sdp())));
    assert_eq!(audio(&call.invite), "10.71.2.21:9000 0 8 101");
    // And nothing else is touched.
    let mut vm = Ua::vm();
    let sent = vm.request("INVITE", &vm_sdp());
    let head = |text: &str| text.split("\r\n\r\n").next().unwrap().to_owned();
    let length = |text: &str| {
        let head = head(text);
        head.lines()
            .filter(|line| !line.starts_with("Content-Length"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(length(&text(call.invite.bytes())), length(&sent));
    assert!(body(&call.invite).contains("s=a session"));
    call.scene.silence();
    call.scene.is("setup", Path::Pending, None);
}

#[test]
fn fig3_step_303_the_gateways_answer_is_held_until_the_tc_has_agreed() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    answered(&mut call);
    call.scene.silence();
    // It comes again, and is still held.
    let again = call.gateway.response(&call.invite, 200, &gateway_sdp());
    call.scene.gateway_sends(again);
    call.scene.silence();
}

#[test]
fn fig3_step_304_the_tc_is_invited_with_the_gateways_media() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let invite = answered(&mut call);
    assert_eq!(audio(&invite), "10.71.3.31:8000 0 101");
}

#[test]
fn fig3_step_305_the_tcs_answer_releases_the_gateways() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let invite = answered(&mut call);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    // The VM hears an address where nothing answers, its own port, and codecs
    // that it offered itself.
    assert_eq!(audio(&ok), "192.0.2.1:7000 0 101");
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
}

#[test]
fn fig3_step_305_changed_address_does_302_to_304_again() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let invite = answered(&mut call);
    // Another port than it registered.
    let answer = sdp("10.71.2.21:9100", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    // The gateway's first answer is acknowledged in the VM's name, and 302 comes
    // again within the dialog.
    let ack = call.scene.at_gateway();
    is_request(&ack, Method::Ack);
    assert_eq!(ack.cseq().0, 1);
    let again = call.scene.at_gateway();
    is_request(&again, Method::Invite);
    assert_eq!(again.cseq().0, 2);
    assert_eq!(audio(&again), "10.71.2.21:9100 0 101");
    assert!(body(&again).starts_with("v=0\r\no=- 7000 2 IN IP4"));
    assert_eq!(again.to_tag(), Some(b"gwtag".as_slice()));
    call.scene.silence();
    // 303 again, the same: the TC need not hear it.
    let ok = call.gateway.response(&again, 200, &gateway_sdp());
    call.scene.gateway_sends(&ok);
    let ack = call.scene.at_gateway();
    is_request(&ack, Method::Ack);
    assert_eq!(ack.cseq().0, 2);
    let released = call.scene.at_vm();
    is_response(&released, 200, Method::Invite);
    assert_eq!(released.cseq().0, 1);
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9100 direct"
    );

    // The gateway has its ACK, so repeating the 200 to the VM is ours.
    call.scene.wait(500);
    assert_eq!(call.scene.at_vm().bytes(), released.bytes());
    call.vm.learn(&released);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    call.scene.wait(10_000);
    call.scene.silence();
    // A 200 that comes again is acknowledged again.
    call.scene.gateway_sends(&ok);
    assert_eq!(call.scene.at_gateway().bytes(), ack.bytes());

    // Later requests of the VM come after ours; their answers as if not.
    call.scene.vm_sends(call.vm.request("BYE", ""));
    let bye = call.scene.at_gateway();
    is_request(&bye, Method::Bye);
    assert_eq!(bye.cseq().0, 3);
    is_request(&call.scene.at_tc(), Method::Bye);
    call.scene
        .gateway_sends(call.gateway.response(&bye, 200, ""));
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Bye);
    assert_eq!(ok.cseq().0, 2);
    call.scene.is_clean();
}

#[test]
fn fig3_step_305_changed_and_the_gateway_changes_too() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let invite = answered(&mut call);
    let answer = sdp("10.71.2.21:9100", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    call.scene.at_tc();
    call.scene.at_gateway();
    let again = call.scene.at_gateway();
    let moved = sdp("10.71.3.31:8200", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&again, 200, &moved));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let reinvite = call.scene.at_tc();
    is_request(&reinvite, Method::Invite);
    assert_eq!(audio(&reinvite), "10.71.3.31:8200 0 101");
    call.scene.silence();
    call.scene
        .tc_sends(call.tc.response(&reinvite, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.is("up", Path::Direct, None);
}

#[test]
fn fig3_step_306_media_goes_between_tc_and_gateway() {
    let mut call = up(config());
    assert_eq!(
        call.scene.flow_lines(),
        [
            "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct",
            "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8000 direct",
            "vm->gateway 10.71.1.11:7000 > 192.0.2.1:7000 guard",
            "gateway->tc 10.71.3.31:8001 > 10.71.2.21:9001 direct rtcp",
            "tc->gateway 10.71.2.21:9001 > 10.71.3.31:8001 direct rtcp",
            "vm->gateway 10.71.1.11:7001 > 192.0.2.1:7001 guard rtcp",
        ]
    );
    // The gateway hangs up.
    call.gateway.learn(&call.invite);
    call.scene.gateway_sends(call.gateway.request("BYE", ""));
    let bye = call.scene.at_vm();
    is_request(&bye, Method::Bye);
    is_request(&call.scene.at_tc(), Method::Bye);
    call.scene.is("ending", Path::Direct, None);
    call.scene.vm_sends(call.vm.response(&bye, 200, ""));
    is_response(&call.scene.at_gateway(), 200, Method::Bye);
    call.scene.is("ended", Path::Direct, None);
    call.scene.wait(1000);
    assert_eq!(call.scene.removed, [1]);
    call.scene.is_clean();
}

#[test]
fn fig3_step_306_steered_media_goes_through_the_anchor() {
    let call = up(config_with(PathChoice::Steered));
    assert_eq!(audio(&call.invite), "10.71.1.11:40000 0 8 101");
    call.scene.is("up", Path::Steered, None);
    assert_eq!(
        call.scene.flow_lines(),
        [
            "gateway->tc 10.71.3.31:8000 > 10.71.1.11:40000 steered 10.71.1.11:40000 > 10.71.2.21:9000",
            "tc->gateway 10.71.2.21:9000 > 10.71.1.11:40000 steered 10.71.1.11:40000 > 10.71.3.31:8000",
            "vm->gateway 10.71.1.11:7000 > 192.0.2.1:7000 guard",
            "gateway->tc 10.71.3.31:8001 > 10.71.1.11:40001 steered 10.71.1.11:40001 > 10.71.2.21:9001",
            "tc->gateway 10.71.2.21:9001 > 10.71.1.11:40001 steered 10.71.1.11:40001 > 10.71.3.31:8001",
            "vm->gateway 10.71.1.11:7001 > 192.0.2.1:7001 guard rtcp",
        ]
        .map(|line| if line.contains("001 >") && !line.ends_with("rtcp") { format!("{line} rtcp") } else { line.to_owned() })
    );
}

/// 301 without media: the TC offers first (RFC 3725 flow I).
#[test]
fn fig3_offerless_the_tc_offers_and_the_gateways_answer_is_its_answer() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let sent = vm.request("INVITE", &vm_sdp());
    scene.vm_sends(&sent);
    let invite = scene.at_tc();
    is_request(&invite, Method::Invite);
    assert!(invite.body().is_empty());
    tc.learn(&invite);
    // The VM sends again, and still waits.
    scene.vm_sends(&sent);
    scene.silence();
    scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
    let invite = scene.at_gateway();
    assert_eq!(audio(&invite), "10.71.2.21:9000 0 8 101");
    scene.silence();
    scene.gateway_sends(gateway.response(&invite, 180, ""));
    is_response(&scene.at_vm(), 180, Method::Invite);
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    let ack = scene.at_tc();
    is_request(&ack, Method::Ack);
    assert_eq!(audio(&ack), "10.71.3.31:8000 0 101");
    let ok = scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    scene.silence();
    scene.is("up", Path::Direct, None);
}

#[test]
fn fig3_offerless_a_ringing_gateway_leaves_the_tc_inactive_meanwhile() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_tc();
    tc.learn(&invite);
    scene.tc_sends(tc.response(&invite, 200, &tc_sdp()));
    let invite = scene.at_gateway();
    scene.gateway_sends(gateway.response(&invite, 180, ""));
    scene.at_vm();
    scene.wait(2_000);
    let ack = scene.at_tc();
    is_request(&ack, Method::Ack);
    assert!(body(&ack).contains("a=inactive"), "{}", body(&ack));
    scene.wait(20_000);
    scene.silence();
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    let reinvite = scene.at_tc();
    is_request(&reinvite, Method::Invite);
    assert_eq!(audio(&reinvite), "10.71.3.31:8000 0 101");
    assert!(body(&reinvite).contains("a=sendrecv"));
    scene.silence();
    let answer = sdp("10.71.2.21:9000", "0 101", 2, "");
    scene.tc_sends(tc.response(&reinvite, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    is_response(&scene.at_vm(), 200, Method::Invite);
    scene.silence();
    scene.is("up", Path::Direct, None);
}

/// 301 with an address alone: the VM's codecs stand.
#[test]
fn fig3_address_only_the_vms_codecs_stand_with_the_tcs_address() {
    let registration = "v=0\r\no=- 1 1 IN IP4 10.71.2.21\r\ns=-\r\nc=IN IP4 10.71.2.21\r\nt=0 0\r\nm=audio 9000 RTP/AVP *\r\n";
    let mut call = called(Scene::registered(config(), Some(registration)));
    assert_eq!(audio(&call.invite), "10.71.2.21:9000 96 0 8 101");
    let invite = answered(&mut call);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.is("up", Path::Direct, None);
}

#[test]
fn fig3_step_303_early_media_reaches_the_tc_before_the_answer() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let progress = call.gateway.response(&call.invite, 183, &gateway_sdp());
    call.scene.gateway_sends(progress);
    let invite = call.scene.at_tc();
    assert_eq!(audio(&invite), "10.71.3.31:8000 0 101");
    let progress = call.scene.at_vm();
    is_response(&progress, 183, Method::Invite);
    assert_eq!(audio(&progress), "192.0.2.1:7000 0 101");
    assert_eq!(call.scene.flow_lines().len(), 6);
    call.tc.learn(&invite);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    call.scene.silence();
    // The answer says the same, so nobody need be asked.
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 200, &gateway_sdp()));
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    assert_eq!(body(&ok), body(&progress));
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
}

#[test]
fn fig3_the_vm_is_kept_alive() {
    let mut call = up(config());
    call.scene.keep_alive.clear();
    call.scene.wait(10_000);
    // RTP and RTCP, every 5 s, from where the VM believes its peer to be.
    let lines: Vec<String> = call
        .scene
        .keep_alive
        .iter()
        .map(|d| format!("{} > {} {}", d.src, d.dst, d.payload[1]))
        .collect();
    assert_eq!(
        lines,
        [
            // At once, after 5 s and after 10.
            "192.0.2.1:7000 > 10.71.1.11:7000 0",
            "192.0.2.1:7001 > 10.71.1.11:7001 200",
            "192.0.2.1:7000 > 10.71.1.11:7000 0",
            "192.0.2.1:7001 > 10.71.1.11:7001 200",
            "192.0.2.1:7000 > 10.71.1.11:7000 0",
            "192.0.2.1:7001 > 10.71.1.11:7001 200",
        ]
    );
}

/// The TC fails between 304 and 305: the gateway is told the VM's media, and the
/// VM the gateway's.
#[test]
fn fig3_step_305_a_tc_that_refuses_falls_back_to_the_vm() {
    let mut call = called(Scene::registered(config(), Some(&tc_sdp())));
    let invite = answered(&mut call);
    call.scene.tc_sends(call.tc.response(&invite, 486, ""));
    is_request(&call.scene.at_tc(), Method::Ack);
    let ack = call.scene.at_gateway();
    is_request(&ack, Method::Ack);
    let again = call.scene.at_gateway();
    is_request(&again, Method::Invite);
    assert_eq!(audio(&again), "10.71.1.11:7000 96 0 8 101");
    assert!(body(&again).starts_with("v=0\r\no=- 7000 2 IN IP4"));
    let real = sdp("10.71.3.31:8000", "8 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&again, 200, &real));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    assert_eq!(ok.cseq().0, 1);
    assert_eq!(body(&ok), real);
    call.scene.silence();
    call.scene.is("up", Path::Vm, Some(Reason::TcRefused));
    assert_eq!(
        call.scene.flow_lines(),
        [
            "gateway->vm 10.71.3.31:8000 > 10.71.1.11:7000 relay",
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 relay",
            "gateway->vm 10.71.3.31:8001 > 10.71.1.11:7001 relay rtcp",
            "vm->gateway 10.71.1.11:7001 > 10.71.3.31:8001 relay rtcp",
        ]
    );
    call.vm.learn(&ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    call.scene.silence();
    call.scene.vm_sends(call.vm.request("BYE", ""));
    let bye = call.scene.at_gateway();
    assert_eq!(bye.cseq().0, 3);
    call.scene
        .gateway_sends(call.gateway.response(&bye, 200, ""));
    assert_eq!(call.scene.at_vm().cseq().0, 2);
    call.scene.is_clean();
}
