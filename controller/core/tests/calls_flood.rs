//! Floods: however many messages come, what is remembered has a bound, and when they
//! have stopped it all goes.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{CallPolicy, EngineConfig, Held, Path, Side};
use sidestep_core::sip::Method;

/// Messages of a flood after which what is remembered must not grow any more: more
/// than any bound.
const FILLED: usize = 4_400;
/// Messages that come then.
const MORE: usize = 1_000;

fn small() -> EngineConfig {
    EngineConfig {
        calls: CallPolicy {
            max_per_vm: 40,
            max_per_thin_client: 20,
            ..CallPolicy::default()
        },
        anchor_ports: 40000..=40999,
        ..config()
    }
}

fn forget_inboxes(scene: &mut Scene) {
    scene.vm.clear();
    scene.gateway.clear();
    scene.tc.clear();
    scene.events.clear();
    scene.keep_alive.clear();
    scene.removed.clear();
}

/// Has `flood` say its n-th word, one a millisecond. What is remembered in the second
/// part is never more than in the first; when all is quiet it is what it was before.
fn is_bounded(name: &str, mut scene: Scene, most: usize, mut flood: impl FnMut(&mut Scene, usize)) {
    let before = scene.engine.held();
    let mut peak = Held::default().total();
    for n in 0..FILLED + MORE {
        flood(&mut scene, n);
        scene.wait(1);
        forget_inboxes(&mut scene);
        let held = scene.engine.held();
        if n < FILLED {
            peak = peak.max(held.total());
        } else {
            assert!(held.total() <= peak, "{name}, {n}: {held:?} of {peak}");
        }
    }
    let held = scene.engine.held();
    assert!(peak <= most, "{name}: {peak}, {held:?}");
    scene.wait(90_000_000);
    scene.engine.handle_timeout(scene.now);
    let left = Held {
        faults: 0,
        registrar: 0,
        ..scene.engine.held()
    };
    assert_eq!(left, Held::default(), "{name}: when it is over");
    assert!(scene.engine.held().registrar <= before.registrar, "{name}");
}

fn numbered(mut ua: Ua, n: usize) -> Ua {
    ua.call_id = format!("flood-{n}@test");
    ua.tag = format!("tag{n}");
    ua
}

fn registered() -> Scene {
    Scene::registered(small(), Some(&tc_sdp()))
}

/// An address of the network, the n-th.
fn somebody(n: usize, port: u16) -> String {
    format!("10.{}.{}.{}:{port}", 80 + n / 65536, n / 256 % 256, n % 256)
}

/// INVITEs of calls that nobody answers, from either side; those beyond the limit
/// pass as they came.
#[test]
fn invites() {
    let body = vm_sdp();
    is_bounded("of the VM", registered(), 250, |scene, n| {
        let sent = numbered(Ua::vm(), n).request("INVITE", &body);
        scene.vm_sends(&sent);
        let at_gateway = text(scene.at_gateway().bytes());
        assert!(at_gateway != sent || n >= 40, "{n}");
    });
    is_bounded("of the network", registered(), 250, |scene, n| {
        let sent = numbered(Ua::gateway(), n).request("INVITE", &body);
        scene.put(Side::Net, &somebody(n, 5060), VM, &sent);
        assert_eq!(text(scene.at_vm().bytes()), sent);
    });
    is_bounded("that cannot be read", registered(), 6_000, |scene, n| {
        let sent = format!("INVITE sip:a SIP/2.0\r\nCall-ID: bad-{n}\r\nCSeq: x\r\n\r\n");
        scene.put(Side::Net, &somebody(n, 5060), VM, &sent);
        assert_eq!(text(&scene.vm[0].payload), sent);
    });
    is_bounded("of the middle of calls", registered(), 250, |scene, n| {
        let mut gateway = numbered(Ua::gateway(), n);
        gateway.remote += ";tag=old";
        scene.gateway_sends(gateway.request("INVITE", &body));
    });
}

/// Calls that come up and end, one after the other, and one Call-ID that is called
/// with again and again: the TC is asked each time and never answers.
#[test]
fn calls_that_end() {
    for same in [false, true] {
        let scene = Scene::registered(small(), None);
        let mut vm = Ua::vm();
        let most = 40 * 12 + 1_100 + 3_500;
        is_bounded("that end", scene, most, |scene, n| {
            if !same {
                vm = numbered(Ua::vm(), n);
            }
            vm.remote = format!("<sip:peer@{GATEWAY}>");
            scene.vm_sends(vm.request("INVITE", &vm_sdp()));
            let cancel = vm.request("CANCEL", "");
            scene.vm_sends(&cancel);
            let invite = scene.at_gateway();
            let gateway = Ua::gateway();
            scene.gateway_sends(gateway.response(&invite, 487, ""));
            let refusal = scene.vm.pop_back().expect("a refusal");
            let refusal = sidestep_core::sip::Message::parse(&refusal.payload).unwrap();
            scene.vm_sends(vm.ack_refusal(&refusal));
        });
    }
}

/// The registrar's port: REGISTERs without credentials, what has no business there,
/// what is no SIP.
#[test]
fn at_the_registrar() {
    let line = |method: &str, n: usize| {
        format!(
            "{method} sip:10.71.1.11 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKf{n}\r\n\
             From: <sip:tc17@10.71.1.11>;tag=f{n}\r\nTo: <sip:tc17@10.71.1.11>\r\n\
             Call-ID: f{n}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:a@10.80.0.1>\r\n\
             Content-Length: 0\r\n\r\n",
            somebody(n, 5060)
        )
    };
    for method in ["REGISTER", "OPTIONS", "INVITE", "BYE", "FROBNICATE"] {
        is_bounded(method, registered(), 1_100, |scene, n| {
            scene.put(Side::Net, &somebody(n, 5060), REGISTRAR, line(method, n));
        });
    }
    is_bounded("nonsense", registered(), 4_200, |scene, n| {
        scene.put(Side::Net, &somebody(n, 5060), REGISTRAR, format!("{n}?"));
    });
    for word in [
        "RSIP 1 aaln/1@x MGCP 1.0\r\nRM: restart\r\n",
        "MEGACO/1 [1.2.3.4]\nT=1{C=-{SC=ROOT{SV{MT=RS,RE=\"901\"}}}}",
    ] {
        is_bounded(word, registered(), 4_200, |scene, n| {
            scene.put(Side::Net, &somebody(n, 2427), REGISTRAR, word);
        });
    }
}

/// A thin client that floods its own dialog: what is too much is refused without
/// state, and its BYE is heard all the same.
#[test]
fn in_a_thin_clients_dialog() {
    let call = outgoing::up(small());
    let mut tc = call.tc;
    let mut scene = call.scene;
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for n in 0..FILLED {
        let method = ["OPTIONS", "INFO", "MESSAGE"][n % 3];
        scene.tc_sends(tc.request(method, ""));
        let status = scene.at_tc().status().expect("a response");
        *statuses.entry(status).or_default() += 1;
        assert!(scene.engine.held().transactions < 450);
    }
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200, &503]);
    scene.tc_sends(tc.request("BYE", ""));
    is_response(&scene.at_tc(), 200, Method::Bye);
    is_request(&scene.at_gateway(), Method::Bye);
    for _ in 0..FILLED {
        scene.tc_sends(tc.request("BYE", ""));
        assert_eq!(scene.at_tc().status(), Some(200));
    }
    assert!(scene.engine.held().transactions < 450);
}

/// Either end of a call changes its media without end: requests of our own are
/// remembered only as long as they are needed.
#[test]
fn changes_without_end() {
    let call = outgoing::up(small());
    let (mut tc, mut gateway, mut vm) = (call.tc, call.gateway, call.vm);
    gateway.learn(&call.invite);
    is_bounded_call("the TC's", call.scene, |scene, n| {
        // So that the numbers of our own requests are new steps of the VM's.
        scene.vm_sends(vm.request("INFO", ""));
        let version = u32::try_from(n).unwrap() + 2;
        let media = format!("10.71.2.21:{}", 9_000 + n % 1_000 * 2);
        scene.tc_sends(tc.request("INVITE", &sdp(&media, "0 101", version, "")));
        while let Some(datagram) = scene.gateway.pop_front() {
            let ours = sidestep_core::sip::Message::parse(&datagram.payload).unwrap();
            if *ours.method() == Method::Invite {
                let answer = sdp("10.71.3.31:8000", "0 101", version, "");
                scene.gateway_sends(gateway.response(&ours, 200, &answer));
            }
        }
        scene.tc_sends(tc.request("ACK", ""));
        assert_eq!(scene.call().media.tc.unwrap().rtp.to_string(), media);
    });
    let call = outgoing::up(small());
    let (tc, mut vm) = (call.tc, call.vm);
    let mut gateway = call.gateway;
    gateway.learn(&call.invite);
    let answers = |scene: &mut Scene, tc: &Ua| {
        while let Some(datagram) = scene.tc.pop_front() {
            let ours = sidestep_core::sip::Message::parse(&datagram.payload).unwrap();
            if *ours.method() == Method::Invite {
                let answer = sdp("10.71.2.21:9000", "0 101", 2, "");
                scene.tc_sends(tc.response(&ours, 200, &answer));
            }
        }
    };
    is_bounded_call("the gateway's", call.scene, |scene, n| {
        let version = u32::try_from(n).unwrap() + 2;
        let media = format!("10.71.3.31:{}", 8_000 + n % 1_000 * 2);
        scene.gateway_sends(gateway.request("INVITE", &sdp(&media, "0 101", version, "")));
        let invite = scene.at_vm();
        let answer = sdp("10.71.1.11:7000", "0 101", version, "");
        scene.vm_sends(vm.response(&invite, 200, &answer));
        answers(scene, &tc);
        scene.gateway_sends(gateway.request("ACK", ""));
        if n % 2 == 0 {
            scene.vm_sends(vm.request("INFO", ""));
        }
        assert_eq!(scene.call().media.gateway.unwrap().rtp.to_string(), media);
    });
}

fn is_bounded_call(name: &str, mut scene: Scene, mut act: impl FnMut(&mut Scene, usize)) {
    for n in 0..1_000 {
        act(&mut scene, n);
        forget_inboxes(&mut scene);
        scene.wait(200);
        let held = scene.engine.held();
        assert!(held.of_calls < 120, "{name}, {n}: {held:?}");
        assert!(held.total() < 500, "{name}, {n}: {held:?}");
    }
    scene.is("up", Path::Direct, None);
}

/// Gateway control: many gateways, and one with many transactions.
#[test]
fn of_gateway_control() {
    let mgcp = |n: usize| format!("NTFY {} aaln/{n} MGCP 1.0\r\nX: 1\r\nO: hu\r\n", n + 1);
    let h248 = |n: usize| {
        format!(
            "MEGACO/1 [10.80.0.1] \nT={}{{C=-{{SC=ROOT{{SV{{MT=RS,RE=\"901\"}}}}}}}}",
            n + 1
        )
    };
    let agent = "10.71.1.11:2727";
    is_bounded("MGCP gateways", registered(), 1_000, |scene, n| {
        scene.put(Side::Net, &somebody(n, 2427), agent, mgcp(n));
        assert_eq!(text(&scene.vm[0].payload), mgcp(n));
    });
    is_bounded("H.248 gateways", registered(), 1_000, |scene, n| {
        scene.put(Side::Net, &somebody(n, 2944), "10.71.1.11:2944", h248(n));
    });
    is_bounded("transactions", registered(), 4_200, |scene, n| {
        scene.put(Side::Net, "10.71.3.31:2427", agent, mgcp(n));
        assert_eq!(text(&scene.vm[0].payload), mgcp(n));
    });
}

/// What is of no call leaves nothing.
#[test]
fn of_no_call() {
    for method in ["OPTIONS", "SUBSCRIBE", "MESSAGE", "BYE", "FROBNICATE"] {
        is_bounded(method, registered(), 10, |scene, n| {
            scene.vm_sends(numbered(Ua::vm(), n).request(method, ""));
        });
    }
}

/// A thin client has so many legs; further calls pass with the reason `limit`, and one
/// that ends makes room.
#[test]
fn a_thin_client_has_so_many_legs_and_no_more() {
    for body in [None, Some(tc_sdp())] {
        let mut scene = Scene::registered(small(), body.as_deref());
        for n in 0..25 {
            let mut vm = numbered(Ua::vm(), n);
            let sent = vm.request("INVITE", &vm_sdp());
            scene.vm_sends(&sent);
            if body.is_none() {
                // Asked for its offer, or left alone.
                assert_eq!(scene.tc.is_empty(), n >= 20, "{n}");
                assert_eq!(scene.gateway.is_empty(), n < 20, "{n}");
            } else {
                let invite = scene.at_gateway();
                let answer = numbered(Ua::gateway(), n).response(&invite, 200, &gateway_sdp());
                scene.gateway_sends(answer);
                assert_eq!(scene.tc.is_empty(), n >= 20, "{n}");
            }
            scene.tc.clear();
            scene.gateway.clear();
            scene.vm.clear();
        }
        let calls = scene.engine.calls();
        let limited = calls.iter().filter(|c| c.reason == Some(Reason::Limit));
        assert_eq!(limited.count(), 5);
        // The first hangs up.
        let mut vm = numbered(Ua::vm(), 0);
        scene.vm_sends(vm.request("BYE", ""));
        scene.tc.clear();
        let mut gateway = numbered(Ua::gateway(), 99);
        scene.gateway_sends(gateway.request("INVITE", &gateway_sdp()));
        let invite = scene.vm.pop_back().expect("an INVITE");
        let invite = sidestep_core::sip::Message::parse(&invite.payload).unwrap();
        scene.vm_sends(Ua::vm().response(&invite, 200, &incoming::vm_answer()));
        is_request(&scene.at_tc(), Method::Invite);
    }
}
