//! An incoming call (Fig. 4) brought to where a test begins.

use sidestep_core::engine::EngineConfig;
use sidestep_core::sip::{Message, Method};

use super::{Scene, Ua, gateway_sdp, is_request, is_response, sdp, tc_sdp};

/// An incoming call; all that is needed to go on.
pub struct Incoming {
    pub scene: Scene,
    pub vm: Ua,
    pub gateway: Ua,
    pub tc: Ua,
    /// As it left the gateway.
    pub sent: String,
    /// At the VM.
    pub invite: Message,
}

/// 401 and 402.
pub fn called_with(scene: Scene, offer: &str) -> Incoming {
    let mut gateway = Ua::gateway();
    let sent = gateway.request("INVITE", offer);
    let mut call = Incoming {
        scene,
        vm: Ua::vm(),
        gateway,
        tc: Ua::tc(),
        invite: Message::parse(sent.as_bytes()).unwrap(),
        sent,
    };
    let sent = call.sent.clone();
    call.scene.gateway_sends(&sent);
    call.invite = call.scene.at_vm();
    call.vm.learn(&call.invite);
    call
}

pub fn called(scene: Scene) -> Incoming {
    called_with(scene, &gateway_sdp())
}

/// What the VM answers.
pub fn vm_answer() -> String {
    sdp("10.71.1.11:7000", "0 101", 1, "")
}

/// 403: the INVITE at the TC.
pub fn answered(call: &mut Incoming) -> Message {
    call.scene
        .vm_sends(call.vm.response(&call.invite, 200, &vm_answer()));
    let invite = call.scene.at_tc();
    is_request(&invite, Method::Invite);
    call.tc.learn(&invite);
    invite
}

/// To 406.
pub fn up(config: EngineConfig) -> Incoming {
    let mut call = called(Scene::registered(config, Some(&tc_sdp())));
    let invite = answered(&mut call);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(call.tc.response(&invite, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    let ok = call.scene.at_gateway();
    is_response(&ok, 200, Method::Invite);
    call.gateway.learn(&ok);
    call.scene.gateway_sends(call.gateway.request("ACK", ""));
    is_request(&call.scene.at_vm(), Method::Ack);
    call.scene.silence();
    call
}
