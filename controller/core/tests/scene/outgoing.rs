//! An outgoing call (Fig. 3) brought to where a test begins.

use sidestep_core::engine::EngineConfig;
use sidestep_core::sip::{Message, Method};

use super::{Scene, Ua, gateway_sdp, is_request, is_response, sdp, tc_sdp, vm_sdp};

/// A call up to the gateway's answer; all that is needed to go on.
pub struct Outgoing {
    pub scene: Scene,
    pub vm: Ua,
    pub gateway: Ua,
    pub tc: Ua,
    /// At the gateway.
    pub invite: Message,
}

/// 301 and 302.
pub fn called(scene: Scene) -> Outgoing {
    let mut call = Outgoing {
        scene,
        vm: Ua::vm(),
        gateway: Ua::gateway(),
        tc: Ua::tc(),
        invite: Message::parse(Ua::vm().request("INVITE", "").as_bytes()).unwrap(),
    };
    call.scene.vm_sends(call.vm.request("INVITE", &vm_sdp()));
    call.invite = call.scene.at_gateway();
    call
}

/// 303 and 304: the INVITE at the TC.
pub fn answered(call: &mut Outgoing) -> Message {
    let ok = call.gateway.response(&call.invite, 200, &gateway_sdp());
    call.gateway.learn(&call.invite);
    call.scene.gateway_sends(ok);
    let invite = call.scene.at_tc();
    is_request(&invite, Method::Invite);
    call.tc.learn(&invite);
    invite
}

/// To 306.
pub fn up(config: EngineConfig) -> Outgoing {
    let mut call = called(Scene::registered(config, Some(&tc_sdp())));
    let invite = answered(&mut call);
    let ok = call
        .tc
        .response(&invite, 200, &sdp("10.71.2.21:9000", "0 101", 1, ""));
    call.scene.tc_sends(ok);
    is_request(&call.scene.at_tc(), Method::Ack);
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    call.vm.learn(&ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    call
}
