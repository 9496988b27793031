//! What is nobody's business here leaves as it came.

mod scene;

use scene::*;
use sidestep_core::engine::{Event, Path, Side};
use sidestep_core::sip::Method;

fn passes(scene: &mut Scene, side: Side, bytes: &[u8]) {
    let (src, dst) = match side {
        Side::Vm => (VM, GATEWAY),
        Side::Net => (GATEWAY, VM),
    };
    scene.put(side, src, dst, bytes);
    let inbox = match side {
        Side::Vm => &mut scene.gateway,
        Side::Net => &mut scene.vm,
    };
    let out = inbox.pop_front().expect("forwarded");
    assert_eq!(text(&out.payload), text(bytes));
    assert_eq!((out.src, out.dst), (address(src), address(dst)));
    scene.silence();
}

#[test]
fn messages_of_no_call() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let mut vm = Ua::vm();
    for method in [
        "OPTIONS",
        "REGISTER",
        "SUBSCRIBE",
        "MESSAGE",
        "FROBNICATE",
        "BYE",
        "ACK",
        "UPDATE",
    ] {
        let request = vm.request(method, "");
        passes(&mut scene, Side::Vm, request.as_bytes());
        passes(&mut scene, Side::Net, request.as_bytes());
    }
    // CRLF and STUN keep-alives, nothing at all.
    for bytes in [b"\r\n\r\n".as_slice(), b"\0", b""] {
        passes(&mut scene, Side::Vm, bytes);
        passes(&mut scene, Side::Net, bytes);
    }
    assert_eq!(scene.engine.calls(), Vec::new());
    assert_eq!(scene.events, Vec::new());
}

/// A port says which protocol is spoken there; nothing is looked at as another.
#[test]
fn other_protocols_by_their_ports() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let invite = Ua::vm().request("INVITE", &vm_sdp());
    for (vm, gateway) in [(2727, 2427), (40_123, 2944), (2945, 40_123)] {
        let (vm, gateway) = (format!("10.71.1.11:{vm}"), format!("10.71.3.31:{gateway}"));
        for (side, src, dst) in [(Side::Vm, &vm, &gateway), (Side::Net, &gateway, &vm)] {
            scene.put(side, src, dst, invite.as_bytes());
            let inbox = match side {
                Side::Vm => &mut scene.gateway,
                Side::Net => &mut scene.vm,
            };
            let out = inbox.pop_front().expect("forwarded");
            assert_eq!(text(&out.payload), invite);
            assert_eq!((out.src, out.dst), (address(src), address(dst)));
        }
    }
    scene.silence();
    assert_eq!(scene.engine.calls(), Vec::new());
    // What is told of it is told in the words of the protocol of that port.
    for event in &scene.events {
        assert!(
            matches!(event, Event::Malformed { detail, .. } if !detail.contains("SIP")),
            "{event:?}"
        );
    }
}

#[test]
fn odd_bytes_of_a_call() {
    let mut call = outgoing::up(config());
    let request = call.vm.request("INFO", "");
    let odd = request.replace(
        "X-Odd:   kept  as it is\r\n",
        "s : compact\r\nX-Folded: one\r\n\ttwo\r\nX-Bytes: \u{fc}\r\n",
    );
    call.scene.vm_sends(&odd);
    assert_eq!(text(call.scene.at_gateway().bytes()), odd);
}

/// Who knows no branches (RFC 2543) is told apart by numbers.
#[test]
fn a_vm_without_branches() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let old = |ua: &Ua, request: String| request.replace(&format!(";branch={}", ua.branch), "");
    let request = vm.request("INVITE", &vm_sdp());
    let request = old(&vm, request);
    scene.vm_sends(&request);
    scene.vm_sends(&request);
    let invite = scene.at_gateway();
    assert_eq!(invite.top_via().branch, None);
    assert_eq!(audio(&invite), "10.71.2.21:9000 0 8 101");
    assert_eq!(scene.at_gateway().bytes(), invite.bytes());
    gateway.learn(&invite);
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &answer));
    scene.at_tc();
    let ok = scene.at_vm();
    vm.learn(&ok);
    let ack = vm.request("ACK", "");
    scene.vm_sends(old(&vm, ack));
    is_request(&scene.at_gateway(), Method::Ack);
    let again = vm.request("INVITE", &sdp("10.71.1.11:7000", "96 0 8 101", 2, ""));
    scene.vm_sends(old(&vm, again));
    assert_eq!(audio(&scene.at_gateway()), "10.71.2.21:9000 0 101");
    let bye = vm.request("BYE", "");
    scene.vm_sends(old(&vm, bye));
    is_request(&scene.at_gateway(), Method::Bye);
    is_request(&scene.at_tc(), Method::Bye);
    scene.is_clean();
}

#[test]
fn nonsense_is_reported_once_per_peer_and_kind() {
    let mut scene = Scene::new(config());
    for _ in 0..3 {
        passes(&mut scene, Side::Vm, b"this is not SIP\r\n\r\n");
        passes(
            &mut scene,
            Side::Net,
            b"INVITE sip:x SIP/2.0\r\nVia: nothing\r\n\r\n",
        );
    }
    let peers: Vec<_> = scene
        .events
        .iter()
        .map(|event| match event {
            Event::Malformed { peer, .. } => *peer,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(peers, [address(VM), address(GATEWAY)]);
    // Memory of it is bounded, whoever comes.
    for port in 1..6_000 {
        scene.put(Side::Net, &format!("10.9.9.9:{port}"), VM, "rubbish");
        scene.vm.clear();
    }
}

/// Datagrams that belong to no VM of the configuration.
#[test]
fn other_vms_are_not_ours() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let invite = Ua::vm().request("INVITE", &vm_sdp());
    scene.put(Side::Vm, "10.71.1.99:5060", GATEWAY, &invite);
    assert_eq!(text(scene.at_gateway().bytes()), invite);
    assert_eq!(scene.engine.calls(), Vec::new());
}

/// A call between two VMs of one host is two calls with one Call-ID.
#[test]
fn vm_to_vm_on_one_host() {
    const OTHER: &str = "10.71.1.12:5060";
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut callee, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    callee.here = OTHER;
    let invite = vm.request("INVITE", &vm_sdp());
    scene.put(Side::Vm, VM, OTHER, &invite);
    let at_net = scene.at_gateway();
    assert_eq!(audio(&at_net), "10.71.2.21:9000 0 8 101");
    // Out of one tap, in at the other.
    scene.put(Side::Net, VM, OTHER, at_net.bytes());
    let at_callee = scene.at_vm();
    assert_eq!(at_callee.bytes(), at_net.bytes());
    let ok = callee.response(&at_callee, 200, &sdp("10.71.1.12:8000", "0 101", 1, ""));
    scene.put(Side::Vm, OTHER, VM, &ok);
    let on_wire = scene.at_gateway();
    assert_eq!(text(on_wire.bytes()), ok, "no thin client of the callee's");
    scene.put(Side::Net, OTHER, VM, on_wire.bytes());
    let at_tc = scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.1.12:8000 0 101");
    tc.learn(&at_tc);
    // The TC has changed, so that a request of ours crosses the callee's call.
    let answer = sdp("10.71.2.21:9100", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &answer));
    scene.at_tc();
    let ack = scene.at_gateway();
    scene.put(Side::Net, VM, OTHER, ack.bytes());
    is_request(&scene.at_vm(), Method::Ack);
    let again = scene.at_gateway();
    scene.put(Side::Net, VM, OTHER, again.bytes());
    let at_callee = scene.at_vm();
    assert_eq!(at_callee.bytes(), again.bytes());
    let ok = callee.response(&at_callee, 200, &sdp("10.71.1.12:8000", "0 101", 1, ""));
    scene.put(Side::Vm, OTHER, VM, &ok);
    let on_wire = scene.at_gateway();
    assert_eq!(text(on_wire.bytes()), ok);
    scene.put(Side::Net, OTHER, VM, on_wire.bytes());
    is_request(&scene.at_gateway(), Method::Ack);
    is_response(&scene.at_vm(), 200, Method::Invite);
    let paths: Vec<_> = scene
        .engine
        .calls()
        .iter()
        .map(|c| (c.vm.clone(), c.path))
        .collect();
    assert_eq!(
        paths,
        [
            ("desk-17".to_owned(), Path::Direct),
            ("desk-18".to_owned(), Path::Vm)
        ]
    );
}

/// Many VMs at once: calls of one never touch another's.
#[test]
fn the_same_call_id_at_another_vm_is_another_call() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let invite = Ua::vm().request("INVITE", &vm_sdp());
    scene.vm_sends(&invite);
    assert_eq!(audio(&scene.at_gateway()), "10.71.2.21:9000 0 8 101");
    scene.put(Side::Vm, "10.71.1.12:5060", GATEWAY, &invite);
    assert_eq!(text(scene.at_gateway().bytes()), invite);
    assert_eq!(scene.engine.calls().len(), 2);
}

/// What a thin client sends to the registrar's port never reaches the VM.
#[test]
fn rubbish_of_a_thin_client_is_refused() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let before = scene.engine.clients();
    for method in ["INVITE", "BYE", "FROBNICATE", "MESSAGE"] {
        let mut tc = Ua::tc();
        tc.call_id = "of nothing".into();
        scene.tc_sends(tc.request(method, ""));
        let status = scene.at_tc().status().unwrap();
        assert!((400..600).contains(&status), "{method} {status}");
    }
    scene.tc_sends(
        "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.71.2.21:5062;branch=z9hG4bKx\r\n\r\n",
    );
    scene.tc.clear();
    scene.tc_sends("rubbish");
    scene.silence();
    assert_eq!(scene.engine.clients(), before);
}
