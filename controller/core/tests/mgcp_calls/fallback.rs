//! Whatever fails leaves the call to the VM, and says why.

use sidestep_core::call::Reason;
use sidestep_core::engine::{Event, Path, PathChoice, Side};
use sidestep_core::sip::Method;

use crate::connection::*;
use crate::scene::{
    Scene, Ua, config, config_with, gateway_sdp, is_request, sdp, tc_sdp, text, vm_sdp,
};

/// The gateway has been sent a ModifyConnection of ours with the VM's own media.
fn is_handed_back(scene: &mut Scene, reason: Reason) {
    let own = at_gateway(scene);
    assert!(own.starts_with("MDCX 5000"), "{own}");
    assert_eq!(audio_of(&own), "10.71.1.11:7000 96 0 8 101");
    let id = own.split(' ').nth(1).unwrap().to_owned();
    // It may have come more than once by now.
    scene.gateway.retain(|again| text(&again.payload) != own);
    gateway(scene, &format!("200 {id} OK\r\n"));
    assert!(scene.vm.is_empty(), "the VM hears nothing of it");
    assert!(scene.gateway.is_empty());
    scene.is("up", Path::Vm, Some(reason));
    assert_eq!(
        scene.flow_lines()[..2],
        [
            "gateway->vm 10.71.3.31:8000 > 10.71.1.11:7000 relay",
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 relay",
        ]
    );
}

/// What is decided before anything is sent costs nothing: the command goes as it
/// came.
#[test]
fn before_the_create_has_gone() {
    let table = [
        (Scene::new(config()), Reason::TcNotRegistered),
        (
            Scene::registered(config_with(PathChoice::Vm), Some(&tc_sdp())),
            Reason::Policy,
        ),
    ];
    for (mut scene, reason) in table {
        passes_to_gateway(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
        passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
        scene.is("up", Path::Vm, Some(reason));
        scene.silence();
    }
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    for (id, odd, reason) in [
        (
            1,
            vm_sdp().replace("RTP/AVP", "RTP/SAVP"),
            Reason::MediaEncrypted,
        ),
        (
            2,
            vm_sdp().replace("m=audio 7000 RTP/AVP", "m=image 7000 udptl"),
            Reason::SdpNotUnderstood,
        ),
    ] {
        passes_to_gateway(&mut scene, &crcx(id, "sendrecv", &odd));
        passes_to_vm(&mut scene, &created(id, &gateway_sdp()));
        let last = scene.engine.calls().pop().unwrap();
        assert_eq!((last.path, last.reason), (Path::Vm, Some(reason)));
    }
}

/// A TC that has to offer and does not: the waiting command goes as it came.
#[test]
fn while_the_create_waits() {
    type Answer<'a> = &'a dyn Fn(&mut Scene);
    let answers: [(Answer<'_>, Reason); 4] = [
        (&|_| {}, Reason::TcNoAnswer),
        (
            &|scene| {
                let invite = scene.at_tc();
                scene.tc_sends(Ua::tc().response(&invite, 486, ""));
            },
            Reason::TcRefused,
        ),
        (
            &|scene| {
                let invite = scene.at_tc();
                scene.tc_sends(Ua::tc().response(&invite, 488, ""));
            },
            Reason::NoCommonCodec,
        ),
        (
            &|scene| {
                let now = scene.now;
                scene.engine.shutdown(now);
                scene.drain();
            },
            Reason::Stopping,
        ),
    ];
    for (answer, reason) in answers {
        let mut scene = Scene::registered(config(), None);
        let command = crcx(1, "sendrecv", &vm_sdp());
        agent(&mut scene, &command);
        assert!(scene.gateway.is_empty());
        answer(&mut scene);
        scene.wait(6000);
        assert_eq!(at_gateway(&mut scene), command, "{reason}");
        passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
        scene.is("up", Path::Vm, Some(reason));
    }
}

/// After the gateway was told of the TC: a command of ours tells it of the VM again.
#[test]
fn after_the_create_has_gone() {
    let (mut scene, _, _) = created_call(config());
    scene.wait(6000);
    is_handed_back(&mut scene, Reason::TcNoAnswer);

    let (mut scene, tc, invite) = created_call(config());
    scene.tc_sends(tc.response(&invite, 603, ""));
    is_handed_back(&mut scene, Reason::TcRefused);

    // Codecs of the TC's that the gateway has not.
    let mut scene = Scene::registered(config(), Some(&sdp("10.71.2.21:9000", "18", 1, "")));
    agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
    at_gateway(&mut scene);
    passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
    assert!(scene.tc.is_empty());
    is_handed_back(&mut scene, Reason::NoCommonCodec);
}

/// In a call that is up.
#[test]
fn in_the_call() {
    let (mut scene, mut tc) = up(config());
    scene.tc_sends(tc.request("BYE", ""));
    scene.at_tc();
    is_handed_back(&mut scene, Reason::TcLost);

    let (mut scene, _) = up(config());
    let now = scene.now;
    scene.engine.datapath_refused(now, 1, Reason::Limit);
    scene.drain();
    is_handed_back(&mut scene, Reason::Limit);

    let (mut scene, _) = up(config());
    let now = scene.now;
    scene.engine.shutdown(now);
    scene.drain();
    assert!(scene.engine.is_waiting());
    is_handed_back(&mut scene, Reason::Stopping);
    assert!(!scene.engine.is_waiting());
    is_request(&scene.at_tc(), Method::Bye);
}

/// The gateway refuses the create with the TC's media (534: no codec; another code):
/// it goes again as the VM wrote it, under an id of ours, and the VM hears only of
/// that. Repeats of either side find their way.
#[test]
fn a_create_that_is_refused_goes_again_as_the_vm_wrote_it() {
    for (code, reason) in [(534, Reason::NoCommonCodec), (505, Reason::GatewayRefused)] {
        let mut scene = Scene::registered(config(), Some(&tc_sdp()));
        let command = crcx(1, "sendrecv", &vm_sdp());
        agent(&mut scene, &command);
        at_gateway(&mut scene);
        let refusal = format!("{code} 1 no\r\n");
        gateway(&mut scene, &refusal);
        let again = command.replace("CRCX 1 ", "CRCX 500000000 ");
        assert_eq!(at_gateway(&mut scene), again);
        scene.silence();
        scene.is("setup", Path::Vm, Some(reason));
        // The refusal comes again; the VM asks again.
        gateway(&mut scene, &refusal);
        scene.silence();
        agent(&mut scene, &command);
        assert_eq!(at_gateway(&mut scene), again);
        gateway(&mut scene, "100 500000000 wait\r\n");
        assert_eq!(at_vm(&mut scene), "100 1 wait\r\n");
        for _ in 0..2 {
            gateway(&mut scene, &created(500_000_000, &gateway_sdp()));
            assert_eq!(at_vm(&mut scene), created(1, &gateway_sdp()));
        }
        scene.silence();
        scene.is("up", Path::Vm, Some(reason));
        // What follows names the connection by its name.
        passes_to_gateway(&mut scene, &mdcx(2, "sendrecv", &vm_sdp()));
        passes_to_gateway(&mut scene, &dlcx(3));
        passes_to_vm(&mut scene, "250 3 OK\r\n");
        scene.is("ended", Path::Vm, Some(reason));
    }
}

/// Refused either way: the VM hears what the gateway said to its own words.
#[test]
fn a_create_that_is_refused_twice() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
    at_gateway(&mut scene);
    gateway(&mut scene, "502 1 full\r\n");
    at_gateway(&mut scene);
    gateway(&mut scene, "502 500000000 full\r\n");
    assert_eq!(at_vm(&mut scene), "502 1 full\r\n");
    scene.is("ended", Path::Vm, Some(Reason::GatewayRefused));
    scene.is_clean();
}

/// A change that the gateway refuses in a call that is up changes nothing (§2.3.6).
#[test]
fn a_modify_that_is_refused() {
    let (mut scene, _) = up(config());
    agent(
        &mut scene,
        &mdcx(2, "sendrecv", &sdp("10.71.1.11:7400", "0", 2, "")),
    );
    at_gateway(&mut scene);
    passes_to_vm(&mut scene, "400 2 not now\r\n");
    scene.silence();
    scene.is("up", Path::Direct, None);
    assert_eq!(scene.call().media.vm.unwrap().rtp.port(), 7000);
}

/// The gateway does not answer a command of ours, however often it comes (§3.5.3):
/// the call goes back, as far as that can be said to a gateway that is deaf.
#[test]
fn a_gateway_that_is_deaf_to_us() {
    let (mut scene, tc, invite) = created_call(config());
    scene.tc_sends(tc.response(&invite, 200, &sdp("10.71.2.21:9400", "0 101", 1, "")));
    scene.at_tc();
    let first = at_gateway(&mut scene);
    scene.wait(20_001);
    let sent: Vec<String> = scene.gateway.drain(..).map(|d| text(&d.payload)).collect();
    let (repeats, back): (Vec<_>, Vec<_>) = sent.into_iter().partition(|s| *s == first);
    assert_eq!(repeats.len(), 7);
    assert_eq!(audio_of(&back[0]), "10.71.1.11:7000 96 0 8 101");
    assert!(back[0].starts_with("MDCX 500000001 "), "{}", back[0]);
    scene.wait(25_000);
    scene.is("up", Path::Vm, Some(Reason::GatewayRefused));
}

/// A connection made before Sidestep saw it.
#[test]
fn already_up() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    passes_to_gateway(&mut scene, &mdcx(1, "sendrecv", &vm_sdp()));
    passes_to_vm(&mut scene, "200 1 OK\r\n");
    scene.is("up", Path::Vm, Some(Reason::AlreadyUp));
    passes_to_gateway(&mut scene, &dlcx(2));
    passes_to_vm(&mut scene, "250 2 OK\r\n");
    scene.is("ended", Path::Vm, Some(Reason::AlreadyUp));
}

/// More calls than may be followed, of all or of a VM, pass untouched and say why.
#[test]
fn one_too_many() {
    let mut of_vm = config();
    of_vm.calls.max_per_vm = 1;
    for (config, of_all) in [(config(), true), (of_vm, false)] {
        let mut scene = Scene::registered(config, Some(&tc_sdp()));
        if of_all {
            scene.engine.set_call_limit(1);
        }
        scene.events.clear();
        agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
        at_gateway(&mut scene);
        for id in 2..5 {
            let endpoint = format!("aaln/{id}");
            let more = crcx(id, "sendrecv", &vm_sdp()).replace("aaln/1", &endpoint);
            passes_to_gateway(&mut scene, &more);
            passes_to_vm(&mut scene, &created(id, &gateway_sdp()));
        }
        let limited = |event: &&Event| match event {
            Event::Untouched(view) => view.reason == Some(Reason::Limit) && view.protocol == "mgcp",
            _ => false,
        };
        assert_eq!(scene.events.iter().filter(limited).count(), 3, "{of_all}");
        assert_eq!(scene.engine.calls().len(), 1);
        // Another VM's is another matter where the VM is full.
        let other = vm_sdp().replace("10.71.1.11", "10.71.1.12");
        let command = crcx(9, "sendrecv", &other);
        scene.put(Side::Vm, "10.71.1.12:2727", GATEWAY, &command);
        assert_eq!(text(&scene.gateway.pop_front().unwrap().payload), command);
        assert_eq!(scene.engine.calls().len(), if of_all { 1 } else { 2 });
    }
}

/// A call that is over makes room for another.
#[test]
fn an_ended_call_makes_room() {
    let (mut scene, _) = up(config());
    scene.engine.set_call_limit(1);
    passes_to_gateway(&mut scene, &dlcx(7));
    passes_to_vm(&mut scene, "250 7 OK\r\n");
    scene.is("ended", Path::Direct, None);
    let command = crcx(8, "sendrecv", &vm_sdp());
    agent(&mut scene, &command);
    assert_eq!(at_gateway(&mut scene), with_tc(&command));
    scene.is("setup", Path::Pending, None);
}

/// A delete of a connection whose create still waits: both go, in their order.
#[test]
fn deleted_while_it_waits() {
    let mut scene = Scene::registered(config(), None);
    let create = crcx(1, "sendrecv", &vm_sdp());
    agent(&mut scene, &create);
    let delete = format!("DLCX 2 {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\n");
    agent(&mut scene, &delete);
    assert_eq!(at_gateway(&mut scene), create);
    assert_eq!(at_gateway(&mut scene), delete);
    scene.is("ending", Path::Vm, Some(Reason::TcNoAnswer));
}
