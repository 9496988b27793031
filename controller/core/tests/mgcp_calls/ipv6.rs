//! Signalling and media over IPv6.

use sidestep_core::engine::{EngineConfig, Path, Side};
use sidestep_core::sip::Method;

use crate::connection::{audio_of, crcx, created, dlcx};
use crate::scene::{Scene, Ua, audio, config, is_request, text, vm_sdp};

const AGENT: &str = "[fd71:1::11]:2727";
const GATEWAY: &str = "[fd71:3::31]:2427";

fn with_ipv6() -> EngineConfig {
    let mut config = config();
    config.vms[0].address6 = Some("fd71:1::11".parse().unwrap());
    config
}

fn sdp6(ip: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- {port} 1 IN IP6 {ip}\r\ns=-\r\nc=IN IP6 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

fn to_gateway(scene: &mut Scene, message: &str) -> String {
    scene.put(Side::Vm, AGENT, GATEWAY, message);
    let datagram = scene.gateway.pop_front().expect("something at the gateway");
    assert_eq!(datagram.src.to_string(), AGENT);
    assert_eq!(datagram.dst.to_string(), GATEWAY);
    text(&datagram.payload)
}

fn passes_to_vm(scene: &mut Scene, message: &str) {
    scene.put(Side::Net, GATEWAY, AGENT, message);
    let datagram = scene.vm.pop_front().expect("something at the VM");
    assert_eq!(datagram.dst.to_string(), AGENT);
    assert_eq!(text(&datagram.payload), message);
}

/// A thin client that registered over IPv4, at the VM's IPv4 address, and has its media
/// over IPv6.
#[test]
fn a_call_over_ipv6_is_bypassed() {
    let mut scene = Scene::registered(with_ipv6(), None);
    let command = crcx(1, "sendrecv", &sdp6("fd71:1::11", 7000));
    scene.put(Side::Vm, AGENT, GATEWAY, &command);
    let invite = scene.at_tc();
    is_request(&invite, Method::Invite);
    scene.tc_sends(Ua::tc().response(&invite, 200, &sdp6("fd71:2::21", 9000)));
    let sent = scene.gateway.pop_front().expect("the create");
    let sent = text(&sent.payload);
    assert_eq!(audio_of(&sent), "[fd71:2::21]:9000 0");
    assert!(sent.contains("c=IN IP6 fd71:2::21\r\n"), "{sent}");
    passes_to_vm(&mut scene, &created(1, &sdp6("fd71:3::31", 8000)));
    assert_eq!(audio(&scene.at_tc()), "[fd71:3::31]:8000 0");
    scene.is("up", Path::Direct, None);
    assert_eq!(
        scene.flow_lines()[..3],
        [
            "gateway->tc [fd71:3::31]:8000 > [fd71:2::21]:9000 direct",
            "tc->gateway [fd71:2::21]:9000 > [fd71:3::31]:8000 direct",
            "vm->gateway [fd71:1::11]:7000 > [fd71:3::31]:8000 guard",
        ]
    );
    let delete = dlcx(9);
    assert_eq!(to_gateway(&mut scene, &delete), delete);
    is_request(&scene.at_tc(), Method::Bye);
    passes_to_vm(&mut scene, "250 9 OK\r\n");
    scene.is("ended", Path::Direct, None);
}

/// Without `address6` nothing over IPv6 is the VM's.
#[test]
fn a_vm_without_ipv6_is_left_alone() {
    let mut scene = Scene::registered(config(), None);
    for media in [sdp6("fd71:1::11", 7000), vm_sdp()] {
        let command = crcx(1, "sendrecv", &media);
        assert_eq!(to_gateway(&mut scene, &command), command);
    }
    scene.silence();
    assert_eq!(scene.engine.calls(), Vec::new());
}
