//! Any message at any time: no panic, and nothing is kept from its receiver but what
//! waits for a thin client or was for us. Seeds are fixed.

use sidestep_core::engine::Side;

use crate::connection::*;
use crate::mutation::{Random, fixtures, mutate};
use crate::scene::{Scene, Ua, config, sdp, tc_sdp, vm_sdp};

#[test]
fn any_message_at_any_time() {
    let mut random = Random(0x0606_1964);
    let examples = fixtures("mgcp");
    for _ in 0..300 {
        let stock = random.below(2) == 0;
        let body = tc_sdp();
        let mut scene = Scene::registered(config(), (!stock).then_some(body.as_str()));
        for _ in 0..40 {
            step(&mut random, &mut scene, &examples);
        }
        // Whatever happened, it ends.
        scene.wait(90_000_000);
        scene.is_clean();
    }
}

fn step(random: &mut Random, scene: &mut Scene, examples: &[(String, Vec<u8>)]) {
    let id = random.below(6) as u32 + 1;
    let mode = ["sendrecv", "inactive", "recvonly", "loopback"][random.below(4)];
    let far = [
        vm_sdp(),
        sdp("10.71.1.11:7400", "0 8", 2, ""),
        sdp("0.0.0.0:7000", "0", 3, ""),
        sdp("10.71.3.99:4000", "0", 1, ""),
        vm_sdp().replace("RTP/AVP", "RTP/SAVP"),
        String::new(),
    ];
    let far = &far[random.below(far.len())];
    let local = sdp(
        ["10.71.3.31:8000", "10.71.3.31:8400"][random.below(2)],
        ["0 101", "8", "18"][random.below(3)],
        id,
        "",
    );
    let ours = 500_000_000 + random.below(4) as u32;
    let (side, message) = match random.below(12) {
        0 | 1 => (Side::Vm, crcx(id, mode, far)),
        2 | 3 => (Side::Vm, mdcx(id, mode, far)),
        4 => (Side::Vm, dlcx(id)),
        5 | 6 => (Side::Net, created(id, &local)),
        7 => (
            Side::Net,
            format!("{} {id} x\r\n", [100, 200, 534, 515, 0][random.below(5)]),
        ),
        8 => (Side::Net, created(ours, &local)),
        9 => (Side::Net, format!("RSIP {id} *@gw.example MGCP 1.0\r\n")),
        10 => {
            let (_, bytes) = &examples[random.below(examples.len())];
            (Side::Vm, String::from_utf8_lossy(bytes).into_owned())
        }
        _ => (
            Side::Net,
            format!("200 {ours} x\r\n.\r\n200 {id} y\r\n\r\n{local}"),
        ),
    };
    let bytes = match random.below(4) {
        0 => mutate(random, message.as_bytes()),
        _ => message.into_bytes(),
    };
    let (src, dst) = match side {
        Side::Vm => (AGENT, GATEWAY),
        Side::Net => (GATEWAY, AGENT),
    };
    scene.put(side, src, dst, bytes);
    while let Some(datagram) = scene.tc.pop_front() {
        answer(random, scene, &datagram.payload);
    }
    scene.vm.clear();
    scene.gateway.clear();
    scene.keep_alive.clear();
    if random.below(5) == 0 {
        scene.wait(random.below(8000) as u64);
        scene.gateway.clear();
    }
}

/// The TC takes its INVITEs, mostly.
fn answer(random: &mut Random, scene: &mut Scene, bytes: &[u8]) {
    let Ok(message) = sidestep_core::sip::Message::parse(bytes) else {
        return;
    };
    if !message.is_request() || message.method().to_string() == "ACK" || random.below(6) == 0 {
        return;
    }
    let status = [200, 200, 200, 486, 488][random.below(5)];
    let body = sdp(
        ["10.71.2.21:9000", "10.71.2.21:9400"][random.below(2)],
        ["0 8 101", "8", "18"][random.below(3)],
        random.below(9) as u32,
        "",
    );
    let body = if message.method().to_string() == "INVITE" && status == 200 {
        body
    } else {
        String::new()
    };
    let mut tc = Ua::tc();
    tc.learn(&message);
    let response = tc.response(&message, status, &body);
    scene.tc_sends(response);
}
