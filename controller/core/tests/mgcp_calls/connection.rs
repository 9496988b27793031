//! A connection of a gateway brought to where a test begins.

use sidestep_core::engine::{EngineConfig, Side};
use sidestep_core::sip::{Message, Method};

use crate::scene::{Scene, Ua, gateway_sdp, is_request, sdp, tc_sdp, text, vm_sdp};

pub const AGENT: &str = "10.71.1.11:2727";
pub const GATEWAY: &str = "10.71.3.31:2427";
pub const ENDPOINT: &str = "aaln/1@gw.example";

/// The VM's call agent says this to the gateway.
pub fn agent(scene: &mut Scene, message: &str) {
    scene.put(Side::Vm, AGENT, GATEWAY, message);
}

/// The gateway says this to the VM.
pub fn gateway(scene: &mut Scene, message: &str) {
    scene.put(Side::Net, GATEWAY, AGENT, message);
}

/// What has come to the gateway, as if from the call agent.
pub fn at_gateway(scene: &mut Scene) -> String {
    let datagram = scene.gateway.pop_front().expect("nothing at the gateway");
    assert_eq!(datagram.src.to_string(), AGENT);
    assert_eq!(datagram.dst.to_string(), GATEWAY);
    text(&datagram.payload)
}

/// What has come to the VM, as if from the gateway.
pub fn at_vm(scene: &mut Scene) -> String {
    let datagram = scene.vm.pop_front().expect("nothing at the VM");
    assert_eq!(datagram.src.to_string(), GATEWAY);
    assert_eq!(datagram.dst.to_string(), AGENT);
    text(&datagram.payload)
}

/// The agent says it, and exactly that comes to the gateway.
pub fn passes_to_gateway(scene: &mut Scene, message: &str) {
    agent(scene, message);
    assert_eq!(at_gateway(scene), message);
}

/// The gateway says it, and exactly that comes to the VM.
pub fn passes_to_vm(scene: &mut Scene, message: &str) {
    gateway(scene, message);
    assert_eq!(at_vm(scene), message);
}

pub fn crcx(id: u32, mode: &str, sdp: &str) -> String {
    let body = if sdp.is_empty() {
        String::new()
    } else {
        format!("\r\n{sdp}")
    };
    format!(
        "CRCX {id} {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\nL: p:20, a:PCMU;PCMA\r\nX-Odd:   kept\r\nM: {mode}\r\n{body}"
    )
}

pub fn mdcx(id: u32, mode: &str, sdp: &str) -> String {
    let body = if sdp.is_empty() {
        String::new()
    } else {
        format!("\r\n{sdp}")
    };
    format!("MDCX {id} {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\nI: F1\r\nM: {mode}\r\n{body}")
}

pub fn dlcx(id: u32) -> String {
    format!("DLCX {id} {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\nI: F1\r\n")
}

/// The gateway's reply to a CRCX.
pub fn created(id: u32, sdp: &str) -> String {
    format!("200 {id} OK\r\nI: F1\r\n\r\n{sdp}")
}

/// What the VM said, with the TC's media in its place: all else as it was.
pub fn with_tc(message: &str) -> String {
    let (head, _) = message.split_once("v=0").expect("a description");
    let tc = tc_sdp();
    let (_, media) = tc.split_once("m=audio").unwrap();
    format!(
        "{head}v=0\r\no=- 7000 1 IN IP4 10.71.1.11\r\ns=a session\r\nc=IN IP4 10.71.2.21\r\nt=0 0\r\n\
         m=audio{media}"
    )
}

/// A call with a TC that has registered its media, up to its INVITE.
pub fn created_call(config: EngineConfig) -> (Scene, Ua, Message) {
    let mut scene = Scene::registered(config, Some(&tc_sdp()));
    agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
    at_gateway(&mut scene);
    gateway(&mut scene, &created(1, &gateway_sdp()));
    at_vm(&mut scene);
    let invite = scene.at_tc();
    is_request(&invite, Method::Invite);
    let mut tc = Ua::tc();
    tc.learn(&invite);
    (scene, tc, invite)
}

/// The same, up.
pub fn up(config: EngineConfig) -> (Scene, Ua) {
    let (mut scene, tc, invite) = created_call(config);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(tc.response(&invite, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    scene.silence();
    (scene, tc)
}

/// Where the audio of a message's description is, and its formats.
pub fn audio_of(message: &str) -> String {
    let at = message.find("v=0").expect("a description");
    let sdp = sidestep_core::sdp::SessionDescription::parse(&message.as_bytes()[at..]).unwrap();
    let (index, media) = sdp.audio().unwrap();
    format!("{} {}", media.rtp, sdp.media()[index].formats.join(" "))
}
