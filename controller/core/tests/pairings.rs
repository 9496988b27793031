//! Any protocol toward the thin client with SIP toward the gateway: the VM's SIP
//! calls of Fig. 3 and Fig. 4, whose thin client speaks H.248 or MGCP and goes
//! through the steps of Fig. 5 and Fig. 6. Every test runs with both.

mod scene;

use scene::gateway_tc::*;
use scene::*;
use sidestep_core::bypass::Reason;
use sidestep_core::engine::Path;
use sidestep_core::sip::{Message, Method};

/// What the gateway answers: one of the codecs that it was offered.
fn gateway_answer() -> String {
    sdp("10.71.3.31:8000", "0", 1, "")
}

/// An outgoing call.
struct Outgoing {
    scene: Scene,
    vm: Ua,
    gateway: Ua,
    invite: Message,
}

/// 502 to 504: the thin client describes itself, and the gateway hears of it.
fn called(tc: Tc) -> Outgoing {
    let mut scene = tc.registered();
    let mut vm = Ua::vm();
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let create = tc.expect(&mut scene, What::Create);
    assert!(
        !create.names(8000),
        "nothing of the gateway is known: {create:?}"
    );
    assert!(
        scene.gateway.is_empty(),
        "not before the thin client's media is known"
    );
    tc.replies(&mut scene, &create, Some(&local(9000)));
    let invite = scene.at_gateway();
    is_request(&invite, Method::Invite);
    assert_eq!(audio(&invite), "10.71.2.21:9000 0 8");
    Outgoing {
        scene,
        vm,
        gateway: Ua::gateway(),
        invite,
    }
}

impl Outgoing {
    fn gateway_answers(&mut self, status: u16, sdp: &str) {
        let response = self.gateway.response(&self.invite, status, sdp);
        self.gateway.learn(&self.invite);
        self.scene.gateway_sends(response);
    }

    /// The VM has its 200, and acknowledges it.
    fn vm_is_up(&mut self) {
        let ok = self.scene.at_vm();
        is_response(&ok, 200, Method::Invite);
        self.vm.learn(&ok);
        self.scene.vm_sends(self.vm.request("ACK", ""));
        is_request(&self.scene.at_gateway(), Method::Ack);
    }
}

/// To 516.
fn up(tc: Tc) -> Outgoing {
    let mut call = called(tc);
    call.gateway_answers(200, &gateway_answer());
    let modify = tc.expect(&mut call.scene, What::Modify);
    assert!(modify.names(8000), "{modify:?}");
    tc.replies(&mut call.scene, &modify, None);
    call.vm_is_up();
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
    call
}

#[test]
fn fig5_the_thin_client_calls() {
    for tc in BOTH {
        let mut call = called(tc);
        // 508, as far as it is known: the callee rings.
        call.gateway_answers(180, "");
        is_response(&call.scene.at_vm(), 180, Method::Invite);
        let ringback = tc.expect(&mut call.scene, What::Modify);
        assert_eq!(tc.signal(&ringback), Some("ringback"), "{tc:?}");
        tc.replies(&mut call.scene, &ringback, None);
        // A gateway has all the time of the world: no inactive answer meanwhile.
        call.scene.wait(10_000);
        call.scene.silence();
        // 505 and 510; 508 and 514.
        call.gateway_answers(200, &gateway_answer());
        let modify = tc.expect(&mut call.scene, What::Modify);
        assert!(modify.names(8000), "{modify:?}");
        assert_eq!(tc.signal(&modify), Some("quiet"), "{tc:?}");
        tc.replies(&mut call.scene, &modify, None);
        call.vm_is_up();
        call.scene.silence();
        // 516.
        call.scene.is("up", Path::Direct, None);
        assert_eq!(
            call.scene.flow_lines()[..2],
            [
                "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct",
                "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8000 direct",
            ]
        );
        // The end.
        let bye = call.vm.request("BYE", "");
        call.scene.vm_sends(bye);
        let bye = call.scene.at_gateway();
        is_request(&bye, Method::Bye);
        let delete = tc.expect(&mut call.scene, What::Delete);
        tc.replies(&mut call.scene, &delete, None);
        let ok = call.gateway.response(&bye, 200, "");
        call.scene.gateway_sends(ok);
        call.scene.at_vm();
        call.scene.silence();
    }
}

/// 183 with media: what the gateway plays is heard, and no ringback of ours.
#[test]
fn fig5_early_media_reaches_the_thin_client() {
    for tc in BOTH {
        let mut call = called(tc);
        call.gateway_answers(183, &gateway_answer());
        is_response(&call.scene.at_vm(), 183, Method::Invite);
        let modify = tc.expect(&mut call.scene, What::Modify);
        assert!(modify.names(8000), "{modify:?}");
        assert_eq!(tc.signal(&modify), None, "{tc:?}");
        tc.replies(&mut call.scene, &modify, None);
        call.gateway_answers(200, &gateway_answer());
        call.vm_is_up();
        call.scene.silence();
        call.scene.is("up", Path::Direct, None);
    }
}

/// 509 with changed information goes to the gateway, by re-INVITE.
#[test]
fn fig5_step_509_changed_information_reaches_the_gateway() {
    for tc in BOTH {
        let mut call = called(tc);
        call.gateway_answers(200, &gateway_answer());
        let modify = tc.expect(&mut call.scene, What::Modify);
        call.vm_is_up();
        tc.replies(&mut call.scene, &modify, Some(&local(9100)));
        let reinvite = call.scene.at_gateway();
        is_request(&reinvite, Method::Invite);
        assert_eq!(audio(&reinvite), "10.71.2.21:9100 0 8");
        let ok = call.gateway.response(&reinvite, 200, &gateway_answer());
        call.scene.gateway_sends(ok);
        is_request(&call.scene.at_gateway(), Method::Ack);
        call.scene.silence();
        call.scene.is("up", Path::Direct, None);
        assert_eq!(
            call.scene.flow_lines()[0],
            "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9100 direct"
        );
    }
}

/// The gateway moves in mid-call: 611, seen from the thin client.
#[test]
fn a_gateway_that_moves_is_followed() {
    for tc in BOTH {
        let mut call = up(tc);
        call.gateway.remote = format!("<sip:vm@{VM}>;tag=vmtag");
        let moved = sdp("10.71.3.31:8100", "0 101", 2, "");
        let reinvite = call.gateway.request("INVITE", &moved);
        call.scene.gateway_sends(reinvite);
        let at_vm = call.scene.at_vm();
        let answer = sdp("10.71.1.11:7000", "0 101", 2, "");
        let ok = call.vm.response(&at_vm, 200, &answer);
        call.scene.vm_sends(ok);
        let modify = tc.expect(&mut call.scene, What::Modify);
        assert!(modify.names(8100), "{modify:?}");
        assert!(
            call.scene.gateway.is_empty(),
            "its answer waits for the thin client"
        );
        tc.replies(&mut call.scene, &modify, None);
        let ok = call.scene.at_gateway();
        is_response(&ok, 200, Method::Invite);
        assert!(
            audio(&ok).starts_with("10.71.2.21:9000 0"),
            "{}",
            audio(&ok)
        );
        call.scene.silence();
        call.scene.is("up", Path::Direct, None);
    }
}

/// An incoming call up to 606: what the thin client is asked.
fn answered(tc: Tc) -> (Scene, Ua, Ua, Message, Asked) {
    let mut scene = tc.registered();
    let mut gateway = Ua::gateway();
    scene.gateway_sends(gateway.request("INVITE", &gateway_sdp()));
    let invite = scene.at_vm();
    let mut vm = Ua::vm();
    vm.learn(&invite);
    scene.vm_sends(vm.response(&invite, 180, ""));
    is_response(&scene.at_gateway(), 180, Method::Invite);
    let answer = sdp("10.71.1.11:7000", "0 101", 1, "");
    scene.vm_sends(vm.response(&invite, 200, &answer));
    let create = tc.expect(&mut scene, What::Create);
    assert!(create.names(8000), "{create:?}");
    (scene, vm, gateway, invite, create)
}

/// Fig. 6; 607 may be anything.
#[test]
fn fig6_the_thin_client_is_called() {
    for tc in BOTH {
        for port in [9000, 9100] {
            let (mut scene, _, mut gateway, _, create) = answered(tc);
            assert!(scene.gateway.is_empty(), "not before 607");
            tc.replies(&mut scene, &create, Some(&local(port)));
            let ok = scene.at_gateway();
            is_response(&ok, 200, Method::Invite);
            assert_eq!(audio(&ok), format!("10.71.2.21:{port} 0"), "{tc:?}");
            gateway.learn(&ok);
            scene.gateway_sends(gateway.request("ACK", ""));
            is_request(&scene.at_vm(), Method::Ack);
            scene.silence();
            scene.is("up", Path::Direct, None);
            // The user hangs up at the thin client.
            tc.hangs_up(&mut scene);
            is_request(&scene.at_gateway(), Method::Bye);
            is_request(&scene.at_vm(), Method::Bye);
            tc.expect(&mut scene, What::Delete);
        }
    }
}

#[test]
fn a_thin_client_without_a_codec_leaves_the_call_to_the_vm() {
    for tc in BOTH {
        let (mut scene, _, _, _, create) = answered(tc);
        tc.refuses(&mut scene, &create);
        let ok = scene.at_gateway();
        assert_eq!(audio(&ok), "10.71.1.11:7000 0 101");
        scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
        scene.silence();
    }
}

#[test]
fn a_thin_client_that_does_not_answer_leaves_the_call_to_the_vm() {
    for tc in BOTH {
        let mut scene = tc.registered();
        let invite = Ua::vm().request("INVITE", &vm_sdp());
        scene.vm_sends(&invite);
        tc.expect(&mut scene, What::Create);
        scene.wait(4_000);
        assert_eq!(text(scene.at_gateway().bytes()), invite);
        scene.is("setup", Path::Vm, Some(Reason::TcNoAnswer));
        // It is there after all: what it made is taken down again.
        let late = tc.asked(&mut scene);
        tc.replies(&mut scene, &late, Some(&local(9000)));
        scene.tc.retain(|d| {
            let repeated = text(&d.payload);
            !repeated.contains("CRCX") && !repeated.contains("A=tel/1") && !repeated.contains("Add")
        });
        tc.expect(&mut scene, What::Delete);
    }
}

#[test]
fn one_that_restarts_in_mid_call_hands_it_back_to_the_vm() {
    for tc in BOTH {
        let mut call = up(tc);
        match tc {
            Tc::H248 => call
                .scene
                .tc_sends("!/1 <tc17> T=60{C=-{SC=ROOT{SV{MT=RS,RE=901}}}}"),
            Tc::Mgcp => call
                .scene
                .tc_sends("RSIP 60 aaln/1@tc17 MGCP 1.0\r\nRM: restart\r\n"),
        }
        let reinvite = call.scene.at_gateway();
        is_request(&reinvite, Method::Invite);
        assert!(audio(&reinvite).starts_with("10.71.1.11:7000"));
        let ok = call.gateway.response(&reinvite, 200, &gateway_answer());
        call.scene.gateway_sends(ok);
        is_request(&call.scene.at_gateway(), Method::Ack);
        call.scene.is("up", Path::Vm, Some(Reason::TcLost));
    }
}

#[test]
fn one_that_is_not_registered_leaves_the_call_to_the_vm() {
    for tc in BOTH {
        let mut scene = Scene::new(tc.config());
        let invite = Ua::vm().request("INVITE", &vm_sdp());
        scene.vm_sends(&invite);
        assert_eq!(text(scene.at_gateway().bytes()), invite);
        scene.is("setup", Path::Vm, Some(Reason::TcNotRegistered));
    }
}
