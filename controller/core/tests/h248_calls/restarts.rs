//! The daemon dies and comes back in calls of H.248: the next one knows them, and goes on
//! as if nothing had been.

use std::time::Duration;

use sidestep_core::call::Reason;
use sidestep_core::engine::{
    EngineConfig, Leg, MediaWatchConfig, Output, Path, PathChoice, Restored,
};
use sidestep_core::sip::Method;
use sidestep_core::time::Time;

use super::mg::*;
use super::scene::gateway_tc::{self, BOTH, What, local};
use super::scene::journal::Stored;
use super::scene::{self, Scene, Ua, config, config_with, is_request, is_response};

/// A call with all that may come between; before each step the engine is made anew, or
/// what it has stored is compared with what there is. All that it has put out.
fn story(path: PathChoice, restarts: bool) -> Vec<(Time, Output)> {
    let mut control = Control::registered(config_with(path));
    control.log = Some(Vec::new());
    control.engine.keep_journal();
    let mut stored = Stored::default();
    let mut step = |control: &mut Control| match restarts {
        true => control.restart(),
        false => stored.is_whole(&mut control.0.engine),
    };
    let mut tc = Ua::tc();
    control.mgc_says(&add(50003, &vm_sdp()));
    let told = control.at_mg();
    step(&mut control);
    // It comes again, and goes again as it went.
    control.mgc_says(&add(50003, &vm_sdp()));
    assert_eq!(control.at_mg(), told);
    step(&mut control);
    control.passes_to_mgc(&added(50003, &mg_sdp()));
    step(&mut control);
    // The thin client has moved (509): our own Modify, and again, since nobody answers.
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    step(&mut control);
    let ours = control.at_mg();
    control.wait(600);
    assert_eq!(control.at_mg(), ours);
    if restarts {
        step(&mut control);
    }
    control.mg_says(&modified(requests(&ours)[0]));
    step(&mut control);
    control.wait(100);
    control.is("up", shown(path), None);
    // It moves once more, in its own request.
    control.tc_sends(tc.request("INVITE", &scene::sdp("10.71.2.21:9200", "0 101", 2, "")));
    is_response(&control.at_tc(), 100, Method::Invite);
    step(&mut control);
    let ours = control.at_mg();
    control.mg_says(&modified(requests(&ours)[0]));
    step(&mut control);
    is_response(&control.at_tc(), 200, Method::Invite);
    control.tc_sends(tc.request("ACK", ""));
    step(&mut control);
    // The VM's user has another port.
    control.mgc_says(&modify(50004, &sdp("10.71.1.11:7002", "0 8")));
    assert!(!control.at_mg().contains("10.71.1.11:7002"));
    step(&mut control);
    control.passes_to_mgc(&modified(50004));
    step(&mut control);
    control.passes_to_mg(&subtract(50005));
    is_request(&control.at_tc(), Method::Bye);
    step(&mut control);
    control.passes_to_mgc(&subtracted(50005));
    step(&mut control);
    control.wait(70_000);
    assert_eq!(control.engine.calls(), []);
    assert_eq!(control.engine.anchors_in_use(), 0);
    assert!(control.flows.is_empty());
    control.log.take().unwrap()
}

fn shown(path: PathChoice) -> Path {
    match path {
        PathChoice::Steered => Path::Steered,
        _ => Path::Direct,
    }
}

#[test]
fn an_engine_made_anew_at_every_step_says_the_same() {
    for path in [PathChoice::Direct, PathChoice::Steered] {
        let told = story(path, false);
        let again = story(path, true);
        for (one, other) in told.iter().zip(&again) {
            assert_eq!(one, other, "{path:?}");
        }
        assert_eq!(told.len(), again.len(), "{path:?}");
    }
}

/// Up, and taken over: the datapath is told its flows again, and the call goes back to
/// its VM as any.
#[test]
fn a_call_that_was_taken_over_goes_back_to_its_vm() {
    let (mut control, _) = Control::up(config());
    let flows = control.flows.clone();
    control.restart();
    control.engine.renew_flows();
    control.drain();
    assert_eq!(control.flows, flows);
    control.is("up", Path::Direct, None);
    let now = control.now;
    control.engine.shutdown(now);
    control.drain();
    let ours = control.at_mg();
    assert_eq!(remotes(&ours), ["10.71.1.11:7000 0 8"]);
    control.restart();
    control.mg_says(&modified(requests(&ours)[0]));
    control.is("up", Path::Vm, Some(Reason::Stopping));
    is_request(&control.at_tc(), Method::Bye);
}

/// A command that waits for the thin client's offer goes when that is there.
#[test]
fn what_waits_for_the_thin_client_still_waits() {
    let mut control = Control(Scene::registered(config(), None));
    control.mgc_says(&add(50003, &vm_sdp()));
    let invite = control.at_tc();
    control.restart();
    // The VM asks again: somebody works at it.
    control.mgc_says(&add(50003, &vm_sdp()));
    assert!(control.at_mgc().contains("Pending"));
    control.restart();
    let mut tc = Ua::tc();
    tc.learn(&invite);
    control.tc_sends(tc.response(&invite, 200, &scene::tc_sdp()));
    assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 8 101"]);
    assert_eq!(control.engine.calls().len(), 1);
}

/// With a thin client that is a gateway, too: its leg goes on, and ends.
#[test]
fn legs_with_thin_clients_that_are_gateways_go_on() {
    for tc in BOTH {
        let mut control = Control(tc.registered());
        control.mgc_says(&add(50003, &vm_sdp()));
        let create = tc.expect(&mut control, What::Create);
        control.restart();
        is_asked_whether_it_is_there(tc, &mut control);
        // It is asked again, as by the run before, and what it has done is heard.
        control.wait(150);
        let again = tc.expect(&mut control, What::Create);
        assert_eq!(again.text, create.text);
        control.silence();
        tc.replies(&mut control, &create, Some(&local(9000)));
        control.restart();
        is_asked_whether_it_is_there(tc, &mut control);
        assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 8"]);
        control.passes_to_mgc(&added(50003, &mg_sdp()));
        let modify = tc.expect(&mut control, What::Modify);
        assert!(modify.names(8000), "{modify:?}");
        tc.replies(&mut control, &modify, None);
        control.restart();
        is_asked_whether_it_is_there(tc, &mut control);
        control.is("up", Path::Direct, None);
        control.passes_to_mg(&subtract(50005));
        // By the name that it had given it before.
        let delete = tc.expect(&mut control, What::Delete);
        let named = delete.text.contains("C=9{") || delete.text.contains("I: 1A");
        assert!(named, "{delete:?}");
        tc.replies(&mut control, &delete, None);
        control.passes_to_mgc(&subtracted(50005));
        control.silence();
    }
}

#[track_caller]
fn is_asked_whether_it_is_there(tc: gateway_tc::Tc, control: &mut Control) {
    control.wait(0);
    let audit = tc.expect(control, What::Modify);
    let audits = audit.text.contains("AV=ROOT") || audit.text.starts_with("AUEP");
    assert!(audits, "{audit:?}");
    tc.is_there(control, &audit);
}

/// A thin client that does not know of its call any more says so when it registers.
#[test]
fn a_thin_client_that_has_begun_anew_meanwhile_has_lost_its_call() {
    for tc in BOTH {
        let mut control = called(tc);
        control.restart();
        is_asked_whether_it_is_there(tc, &mut control);
        tc.registers_again(&mut control);
        let ours = control.at_mg();
        assert_eq!(remotes(&ours), ["10.71.1.11:7000 0 8"], "{tc:?}");
        control.mg_says(&modified(requests(&ours)[0]));
        control.is("up", Path::Vm, Some(Reason::TcLost));
    }
}

/// Its Subtract came while nobody was there to hear it.
#[test]
fn a_call_that_has_ended_meanwhile_is_ended() {
    for seen in [true, false] {
        let (mut control, _) = Control::up(EngineConfig {
            media_watch: MediaWatchConfig {
                verify: Duration::from_secs(5),
                ..MediaWatchConfig::default()
            },
            ..config()
        });
        control.wait(5_000);
        control.tell_seen(&[Leg::GatewayToTc, Leg::TcToGateway]);
        control.restart();
        control.wait(60_000);
        control.tell_seen(if seen { &[Leg::TcToGateway] } else { &[] });
        control.wait(61_000);
        control.tell_seen(&[]);
        if seen {
            control.wait(600_000);
            control.is("up", Path::Direct, None);
            continue;
        }
        control.is("ended", Path::Direct, None);
        is_request(&control.at_tc(), Method::Bye);
        // The gateway and the VM hear nothing of it.
        assert!(control.gateway.is_empty() && control.vm.is_empty());
    }
}

/// What cannot be read is left out, and its account or VM may be gone.
#[test]
fn entries_that_are_spoilt_or_not_configured_are_left_out() {
    let (control, _) = Control::up(config());
    let mut stored = Stored::default();
    for entry in control.engine.snapshot() {
        stored.put(entry);
    }
    let now = control.now;
    let restore = |config: EngineConfig, entries: &[_]| -> Restored {
        let mut engine = sidestep_core::engine::Engine::new(config, now);
        let restored = engine.restore(now, entries);
        assert_eq!(engine.calls().len(), restored.calls);
        restored
    };
    let entries = stored.entries();
    assert_eq!(restore(config(), &entries).calls, 1);
    let mut other = config();
    other.vms.remove(0);
    other.thin_clients.clear();
    assert_eq!(restore(other, &entries).calls, 0);
    for cut in 0..200 {
        let mut spoilt = entries.clone();
        for (_, value) in &mut spoilt {
            let at = value.len() * cut / 200;
            value[at] ^= 0x55;
        }
        restore(config(), &spoilt);
        let short = |value: &[u8]| value[..value.len() * cut / 200].to_vec();
        let short: Vec<_> = entries.iter().map(|(k, v)| (k.clone(), short(v))).collect();
        assert_eq!(restore(config(), &short).calls, 0);
    }
}
