//! What is nobody's business here leaves as it came.

use sidestep_core::engine::{Event, Side};

use crate::connection::*;
use crate::scene::{Scene, config, gateway_sdp, sdp, tc_sdp};

/// Every example of RFC 3435's appendix F, of commands and responses, both ways:
/// none of them names the VM's media.
#[test]
fn every_example() {
    for (name, bytes) in crate::mutation::fixtures("mgcp") {
        let mut scene = Scene::registered(config(), Some(&tc_sdp()));
        for side in [Side::Vm, Side::Net] {
            let (src, dst) = match side {
                Side::Vm => (AGENT, GATEWAY),
                Side::Net => (GATEWAY, AGENT),
            };
            if name.ends_with("odd.mgcp") && side == Side::Vm {
                // It does name it.
                continue;
            }
            scene.put(side, src, dst, &bytes);
            let inbox = match side {
                Side::Vm => &mut scene.gateway,
                Side::Net => &mut scene.vm,
            };
            let out = inbox.pop_front().expect("forwarded");
            assert_eq!(out.payload, bytes, "{name}");
            scene.silence();
        }
        assert_eq!(scene.engine.calls(), Vec::new(), "{name}");
    }
}

/// Connections between gateways, and local bridges of two endpoints (§2.3.5).
#[test]
fn connections_that_are_not_the_vms() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let other = sdp("10.71.3.99:4000", "0", 1, "");
    passes_to_gateway(&mut scene, &crcx(1, "sendrecv", &other));
    passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
    passes_to_gateway(&mut scene, &mdcx(2, "sendrecv", &other));
    let bridge =
        format!("CRCX 3 {ENDPOINT} MGCP 1.0\r\nC: 9\r\nM: sendrecv\r\nZ2: aaln/2@gw.example\r\n");
    passes_to_gateway(&mut scene, &bridge);
    let local = gateway_sdp();
    passes_to_vm(
        &mut scene,
        &format!("200 3 OK\r\nI: 1\r\nZ2: aaln/2@gw.example\r\nI2: 2\r\n\r\n{local}\r\n{local}"),
    );
    scene.silence();
    assert_eq!(scene.engine.calls(), Vec::new());
}

/// Rubbish passes and is told of once by peer and kind.
#[test]
fn what_cannot_be_read() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    for rubbish in ["", "\r\n", "INVITE sip:a@b SIP/2.0\r\n\r\n", "CRCX x\r\n"] {
        passes_to_gateway(&mut scene, rubbish);
        passes_to_gateway(&mut scene, rubbish);
        passes_to_vm(&mut scene, rubbish);
    }
    let kinds: Vec<&str> = scene
        .events
        .iter()
        .map(|event| match event {
            Event::Malformed { kind, .. } => *kind,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    let counted: u64 = scene.engine.malformed_counts().map(|(_, n)| n).sum();
    assert_eq!(counted, 12);
}

/// What the VM says oddly is understood, and stays odd where it does not matter.
#[test]
fn an_odd_create() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let odd = "crcx 0000000078  AALN/1@[10.71.3.31]   mgcp 1.0 NCS 1.0\nCallId:ff\nm :SendRecv\nodd line\n\nv=0\nc=IN IP4 10.71.1.11\nm=audio 4000 RTP/AVP 8";
    agent(&mut scene, odd);
    let sent = at_gateway(&mut scene);
    let (head, body) = sent.split_once("\n\n").unwrap();
    assert_eq!(head, odd.split_once("\n\n").unwrap().0);
    assert!(
        body.starts_with("v=0\nc=IN IP4 10.71.2.21\nm=audio 9000 "),
        "{body}"
    );
    gateway(
        &mut scene,
        &format!(
            "200 78 OK\nI: 0a\nZ: aaln/1@[10.71.3.31]\n\n{}",
            gateway_sdp()
        ),
    );
    at_vm(&mut scene);
    // Names in any other case are the same.
    passes_to_gateway(
        &mut scene,
        "DLCX 79 Aaln/1@[10.71.3.31] MGCP 1.0\r\nI: 0A\r\n",
    );
    assert_eq!(scene.call().state, "ending");
}
