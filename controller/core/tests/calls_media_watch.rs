//! Verified before trusted, and media that stops.

mod scene;

use std::time::Duration;

use scene::outgoing::{Outgoing, up};
use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{
    EngineConfig, Event, Leg, MediaSeen, MediaWatchConfig, Path, PathChoice, TimeoutAction,
};
use sidestep_core::sip::Method;

const DOWN: Leg = Leg::GatewayToTc;
const UP: Leg = Leg::TcToGateway;

fn watching(path: PathChoice, verify: u64, timeout: u64, action: TimeoutAction) -> EngineConfig {
    EngineConfig {
        media_watch: MediaWatchConfig {
            verify: Duration::from_secs(verify),
            timeout: Duration::from_secs(timeout),
            action,
        },
        ..config_with(path)
    }
}

/// Time passes, second by second, while packets of these legs are counted.
fn talk(scene: &mut Scene, seconds: u64, legs: &[Leg]) {
    let mut last = Vec::new();
    for _ in 0..seconds {
        last = legs.iter().map(|leg| (*leg, scene.now)).collect();
        scene.wait(1000);
        answer_looks(scene, &last);
    }
    answer_looks(scene, &last);
}

fn answer_looks(scene: &mut Scene, seen: &[(Leg, sidestep_core::time::Time)]) {
    for call in std::mem::take(&mut scene.looks) {
        scene.engine.media_seen(scene.now, call, seen);
        scene.drain();
    }
}

fn seen(call: &Outgoing) -> Option<MediaSeen> {
    call.scene.call().media_seen
}

/// What was counted in the time to verify, and what becomes of the call.
#[test]
fn media_is_verified_before_it_is_trusted() {
    use MediaSeen::{BothWays, OffHost};
    use PathChoice::{Direct, Steered};
    // None: the call goes back to its VM.
    let table: [(PathChoice, &[Leg], Option<MediaSeen>); 8] = [
        (Steered, &[DOWN, UP], Some(BothWays)),
        (Steered, &[DOWN], None),
        (Steered, &[UP], None),
        (Steered, &[], None),
        (Direct, &[DOWN, UP], Some(BothWays)),
        (Direct, &[DOWN], None),
        (Direct, &[UP], None),
        (Direct, &[], Some(OffHost)),
    ];
    for (path, counted, outcome) in table {
        let what = format!("{path:?}, counted {counted:?}");
        let mut call = up(watching(path, 10, 0, TimeoutAction::Report));
        assert_eq!(seen(&call), Some(MediaSeen::Waiting), "{what}");
        talk(&mut call.scene, 10, counted);
        let taken = match path {
            PathChoice::Steered => Path::Steered,
            _ => Path::Direct,
        };
        match outcome {
            Some(state) => {
                assert_eq!(seen(&call), Some(state), "{what}");
                call.scene.silence();
                call.scene.is("up", taken, None);
            }
            None => goes_back(&mut call, &what),
        }
    }
}

/// The gateway is offered the VM's media, the VM the gateway's.
fn goes_back(call: &mut Outgoing, what: &str) {
    let invite = call.scene.at_gateway();
    is_request(&invite, Method::Invite);
    assert!(audio(&invite).starts_with("10.71.1.11:7000 "), "{what}");
    let answer = sdp("10.71.3.31:8000", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.response(&invite, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    let invite = call.scene.at_vm();
    assert!(audio(&invite).starts_with("10.71.3.31:8000"), "{what}");
    call.scene.is("up", Path::Vm, Some(Reason::NoMediaSeen));
}

#[test]
fn a_gateway_that_refuses_the_hand_back_keeps_the_bypass_and_is_asked_once() {
    let mut call = up(watching(PathChoice::Steered, 10, 60, TimeoutAction::End));
    talk(&mut call.scene, 10, &[DOWN]);
    let invite = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&invite, 488, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    talk(&mut call.scene, 100, &[DOWN]);
    call.scene.silence();
    call.scene.is("up", Path::Steered, None);
    assert_eq!(seen(&call), Some(MediaSeen::NotBothWays));
}

/// Off: nothing is asked, nothing is judged.
#[test]
fn nothing_is_watched_when_it_is_turned_off() {
    let mut call = up(watching(PathChoice::Steered, 0, 0, TimeoutAction::End));
    talk(&mut call.scene, 100, &[]);
    assert!(call.scene.looks.is_empty());
    call.scene.silence();
    call.scene.is("up", Path::Steered, None);
    assert_eq!(seen(&call), None);
}

/// A session that is not two-way is not judged, and judged again when it is.
#[test]
fn hold_and_one_way_sessions_are_no_failures() {
    for (hold, answer) in [
        ("a=sendonly\r\n", "a=recvonly\r\n"),
        ("a=inactive\r\n", "a=inactive\r\n"),
        ("a=recvonly\r\n", "a=sendonly\r\n"),
    ] {
        let mut call = up(watching(PathChoice::Steered, 10, 30, TimeoutAction::End));
        // Before the time is over the VM's user holds, or the session is one-way.
        talk(&mut call.scene, 5, &[DOWN, UP]);
        reinvite(&mut call, 2, hold, answer);
        talk(&mut call.scene, 200, &[]);
        call.scene.silence();
        call.scene.is("up", Path::Steered, None);
        assert_eq!(seen(&call), None, "{hold}");
        reinvite(&mut call, 3, "", "");
        assert_eq!(seen(&call), Some(MediaSeen::Waiting), "{hold}");
        talk(&mut call.scene, 10, &[DOWN]);
        goes_back(&mut call, hold);
    }
}

/// The VM offers again with this direction; all agree.
fn reinvite(call: &mut Outgoing, version: u32, offered: &str, answered: &str) {
    let offer = sdp("10.71.1.11:7000", "96 0 8 101", version, offered);
    call.scene.vm_sends(call.vm.request("INVITE", &offer));
    let invite = call.scene.at_gateway();
    let answer = sdp("10.71.3.31:8000", "0 101", version, answered);
    call.scene
        .gateway_sends(call.gateway.response(&invite, 200, &answer));
    if let Some(offer) = call.scene.tc.front() {
        let offer = sidestep_core::sip::Message::parse(&offer.payload).unwrap();
        if offer.is_request() && *offer.method() == Method::Invite {
            call.scene.tc.pop_front();
            // The TC mirrors the direction that it is offered.
            let direction = ["sendonly", "recvonly", "inactive"]
                .into_iter()
                .find(|direction| body(&offer).contains(&format!("a={direction}")));
            let line = match direction {
                Some("sendonly") => "a=recvonly\r\n",
                Some("recvonly") => "a=sendonly\r\n",
                Some(_) => "a=inactive\r\n",
                None => "",
            };
            let ok = call
                .tc
                .response(&offer, 200, &sdp("10.71.2.21:9000", "0 101", version, line));
            call.scene.tc_sends(ok);
            is_request(&call.scene.at_tc(), Method::Ack);
        }
    }
    is_response(&call.scene.at_vm(), 200, Method::Invite);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
}

/// A side that may suppress its silence is not missed while the other is heard.
#[test]
fn suppressed_silence_is_no_failure() {
    let table: [(&str, &str, &[Leg], bool); 6] = [
        // G.729 has Annex B unless a side says no.
        ("18 101", "", &[DOWN], true),
        ("18 101", "", &[UP], true),
        ("18 101", "", &[], false),
        ("18 101", "a=fmtp:18 annexb=no\r\n", &[DOWN], false),
        ("0 101", "a=silenceSupp:on - - - -\r\n", &[UP], true),
        ("0 101", "a=silenceSupp:on - - - -\r\n", &[DOWN], false),
    ];
    for (formats, lines, counted, trusted) in table {
        let mut call = scene::outgoing::called(Scene::registered(
            watching(PathChoice::Steered, 10, 0, TimeoutAction::Report),
            Some(&sdp("10.71.2.21:9000", formats, 1, "")),
        ));
        let answer = sdp("10.71.3.31:8000", formats, 1, lines);
        call.gateway.learn(&call.invite);
        call.scene
            .gateway_sends(call.gateway.response(&call.invite, 200, &answer));
        let invite = call.scene.at_tc();
        call.tc.learn(&invite);
        let ok = call
            .tc
            .response(&invite, 200, &sdp("10.71.2.21:9000", formats, 1, ""));
        call.scene.tc_sends(ok);
        let ok = call.scene.at_vm();
        call.vm.learn(&ok);
        call.scene.vm_sends(call.vm.request("ACK", ""));
        call.scene.at_gateway();
        talk(&mut call.scene, 10, counted);
        let what = format!("{formats} {lines}{counted:?}");
        if trusted {
            call.scene.is("up", Path::Steered, None);
        } else {
            assert_eq!(seen(&call), Some(MediaSeen::NotBothWays), "{what}");
        }
    }
}

/// Both ways, then nothing: told once, and ended where the policy says so.
#[test]
fn media_that_stops_is_reported_and_may_end_the_call() {
    for action in [TimeoutAction::Report, TimeoutAction::End] {
        let mut call = up(watching(PathChoice::Direct, 10, 30, action));
        talk(&mut call.scene, 15, &[DOWN, UP]);
        call.scene.events.clear();
        // One side's silence is not the call's.
        talk(&mut call.scene, 60, &[UP]);
        assert_eq!(seen(&call), Some(MediaSeen::BothWays));
        let last = (UP, call.scene.now);
        for _ in 0..61 {
            call.scene.wait(1000);
            answer_looks(&mut call.scene, &[last]);
        }
        let told: Vec<(Duration, bool)> = call
            .scene
            .events
            .iter()
            .filter_map(|event| match event {
                Event::MediaTimeout { silent, ends, .. } => Some((*silent, *ends)),
                _ => None,
            })
            .collect();
        let ends = action == TimeoutAction::End;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].1, ends);
        assert!(told[0].0 >= Duration::from_secs(30), "{told:?}");
        if ends {
            is_request(&call.scene.at_gateway(), Method::Bye);
            is_request(&call.scene.at_vm(), Method::Bye);
            is_request(&call.scene.at_tc(), Method::Bye);
            call.scene.is("ending", Path::Direct, None);
            assert_eq!(seen(&call), Some(MediaSeen::TimedOut));
        } else {
            call.scene.silence();
            call.scene.is("up", Path::Direct, None);
            assert_eq!(seen(&call), Some(MediaSeen::TimedOut));
            talk(&mut call.scene, 60, &[DOWN, UP]);
            assert_eq!(seen(&call), Some(MediaSeen::BothWays));
        }
    }
}

/// Where nothing was ever seen, nothing has stopped.
#[test]
fn media_that_was_never_seen_does_not_time_out() {
    let mut call = up(watching(PathChoice::Direct, 10, 30, TimeoutAction::End));
    talk(&mut call.scene, 300, &[]);
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
    assert_eq!(seen(&call), Some(MediaSeen::OffHost));
    // It may begin to cross this host later.
    talk(&mut call.scene, 60, &[DOWN, UP]);
    assert_eq!(seen(&call), Some(MediaSeen::BothWays));
}

/// The gateway moves: what was seen before proves nothing about the new address.
#[test]
fn a_move_is_verified_again() {
    let mut call = up(watching(PathChoice::Steered, 10, 0, TimeoutAction::Report));
    talk(&mut call.scene, 10, &[DOWN, UP]);
    assert_eq!(seen(&call), Some(MediaSeen::BothWays));
    let before = [(DOWN, call.scene.now), (UP, call.scene.now)];
    call.scene.wait(10);
    let offer = sdp("10.71.3.31:8010", "0 101", 2, "");
    call.scene
        .gateway_sends(call.gateway.request("INVITE", &offer));
    let invite = call.scene.at_vm();
    let answer = sdp("10.71.1.11:7000", "0 101", 2, "");
    call.scene.vm_sends(call.vm.response(&invite, 200, &answer));
    // The TC sends to the anchor as before.
    is_response(&call.scene.at_gateway(), 200, Method::Invite);
    call.scene.gateway_sends(call.gateway.request("ACK", ""));
    call.scene.at_vm();
    assert_eq!(seen(&call), Some(MediaSeen::Waiting));
    call.scene.wait(10_000);
    answer_looks(&mut call.scene, &before);
    goes_back(&mut call, "moved");
}
