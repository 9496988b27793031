//! The daemon dies and comes back in a call of MGCP: the next one goes on as if nothing
//! had been.

use sidestep_core::engine::{Output, Path};
use sidestep_core::sip::Method;
use sidestep_core::time::Time;

use crate::connection::*;
use crate::scene::journal::Stored;
use crate::scene::{Scene, Ua, config, gateway_sdp, is_request, sdp, tc_sdp, vm_sdp};

/// A call; before each step the engine is made anew, or what it has stored is compared
/// with what there is.
fn story(restarts: bool) -> Vec<(Time, Output)> {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    scene.log = Some(Vec::new());
    scene.engine.keep_journal();
    let mut stored = Stored::default();
    let mut step = |scene: &mut Scene| match restarts {
        true => scene.restart(),
        false => stored.is_whole(&mut scene.engine),
    };
    let mut tc = Ua::tc();
    let command = crcx(1, "sendrecv", &vm_sdp());
    agent(&mut scene, &command);
    assert_eq!(at_gateway(&mut scene), with_tc(&command));
    step(&mut scene);
    passes_to_vm(&mut scene, &created(1, &gateway_sdp()));
    step(&mut scene);
    let invite = scene.at_tc();
    tc.learn(&invite);
    let answer = sdp("10.71.2.21:9100", "0 101", 1, "");
    scene.tc_sends(tc.response(&invite, 200, &answer));
    is_request(&scene.at_tc(), Method::Ack);
    step(&mut scene);
    // Our own MDCX.
    let ours = at_gateway(&mut scene);
    let id = ours.split(' ').nth(1).unwrap().to_owned();
    step(&mut scene);
    gateway(&mut scene, &format!("200 {id} OK\r\n"));
    step(&mut scene);
    scene.wait(100);
    scene.is("up", Path::Direct, None);
    passes_to_gateway(&mut scene, &mdcx(2, "recvonly", ""));
    step(&mut scene);
    passes_to_vm(&mut scene, "200 2 OK\r\n");
    step(&mut scene);
    passes_to_gateway(&mut scene, &dlcx(3));
    step(&mut scene);
    passes_to_vm(&mut scene, "250 3 OK\r\n");
    step(&mut scene);
    scene.wait(70_000);
    assert_eq!(scene.engine.calls(), []);
    scene.log.take().unwrap()
}

#[test]
fn an_engine_made_anew_at_every_step_says_the_same() {
    let told = story(false);
    let again = story(true);
    for (one, other) in told.iter().zip(&again) {
        assert_eq!(one, other);
    }
    assert_eq!(told.len(), again.len());
}
