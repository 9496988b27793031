//! The daemon dies and comes back: the engine goes on with what it had stored, as
//! if nothing had been.

mod scene;

use std::time::Duration;

use scene::journal::Stored;
use scene::outgoing::{Outgoing, up};
use scene::world::{World, prepared};
use scene::*;
use sidestep_core::engine::{
    Engine, EngineConfig, Key, Leg, MediaWatchConfig, Output, Path, PathChoice, Restored,
};
use sidestep_core::sip::Method;
use sidestep_core::time::Time;

fn all_said(seed: u64, loss: u64, copies: u64, restarts: bool) -> Vec<(Time, Output)> {
    let watch = |world: &mut World| {
        world.scene.log = Some(Vec::new());
        world.restarts = restarts;
    };
    let mut world = prepared(seed, loss, copies, 0, watch);
    world.wait(70_000);
    world.finish(seed);
    world.scene.log.take().unwrap_or_default()
}

/// Random calls: an engine that is made anew from its journal after every single
/// step says, to the byte and the millisecond, what one says that never dies.
#[test]
fn an_engine_made_anew_at_every_step_says_the_same() {
    for seed in 0..16 {
        let (loss, copies) = if seed < 8 { (0, 0) } else { (15, 15) };
        let told = all_said(seed, loss, copies, false);
        let again = all_said(seed, loss, copies, true);
        for (one, other) in told.iter().zip(&again) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(told.len(), again.len(), "seed {seed}");
    }
}

/// The changes add up to the whole: what is stored bit by bit, as the daemon does
/// it, shows the same calls and registrations.
#[test]
fn stored_changes_add_up_to_the_whole() {
    for seed in 0..60 {
        let mut stored = Stored::default();
        let mut world = prepared(seed, 10, 10, 0, |world| {
            // What was registered before is stored too.
            world.scene.engine.keep_journal();
        });
        let mut most = 0;
        for _ in 0..100 {
            world.wait(1_000);
            stored.take_from(&mut world.scene.engine);
            let now = world.scene.now;
            let mut engine = Engine::new(config(), now);
            let restored = engine.restore(now, &stored.entries());
            assert_eq!(restored.left_out, 0, "seed {seed}");
            assert_eq!(engine.calls(), world.scene.engine.calls(), "seed {seed}");
            most = most.max(restored.calls);
        }
        world.finish(seed);
        stored.take_from(&mut world.scene.engine);
        assert_eq!(stored.calls().len(), 0, "seed {seed}");
        assert!(most > 0, "seed {seed}: no call was ever stored");
    }
}

/// Up, restarted, then everything a call may need: hold, a move of the thin
/// client's, the hand-back at a stop, the end.
#[test]
fn a_call_goes_on_after_a_restart() {
    for path in [PathChoice::Direct, PathChoice::Steered] {
        let mut call = up(config_with(path));
        let flows = call.scene.flows.clone();
        call.scene.restart();
        let taken = match path {
            PathChoice::Steered => Path::Steered,
            _ => Path::Direct,
        };
        call.scene.is("up", taken, None);
        assert_eq!(call.scene.engine.clients().len(), 1);
        // The datapath is told again what it should have.
        call.scene.engine.renew_flows();
        call.scene.drain();
        assert_eq!(call.scene.flows, flows);
        // The thin client moves (M10): the gateway hears of it, with a number of
        // our own.
        let offer = sdp("10.71.2.21:9100", "0 8 101", 2, "");
        call.scene.tc_sends(call.tc.request("INVITE", &offer));
        is_response(&call.scene.at_tc(), 100, Method::Invite);
        let invite = call.scene.at_gateway();
        is_request(&invite, Method::Invite);
        call.scene.restart();
        let answer = sdp("10.71.3.31:8000", "0 101", 2, "");
        call.scene
            .gateway_sends(call.gateway.response(&invite, 200, &answer));
        is_request(&call.scene.at_gateway(), Method::Ack);
        is_response(&call.scene.at_tc(), 200, Method::Invite);
        call.scene.tc_sends(call.tc.request("ACK", ""));
        call.scene.restart();
        // The VM's BYE has a number above that, and reaches both.
        let number = invite.cseq().0;
        call.scene.vm_sends(call.vm.request("BYE", ""));
        let bye = call.scene.at_gateway();
        is_request(&bye, Method::Bye);
        assert_eq!(bye.cseq().0, number + 1);
        is_request(&call.scene.at_tc(), Method::Bye);
    }
}

/// What cannot go on is left out, and the rest goes on.
#[test]
fn what_is_not_configured_or_not_readable_is_left_out() {
    let call = up(config());
    let now = call.scene.now;
    let stored: Vec<(Key, Vec<u8>)> = call
        .scene
        .engine
        .snapshot()
        .into_iter()
        .filter_map(|entry| Some((entry.key, entry.value?.into_bytes())))
        .collect();
    let restore = |config: EngineConfig, stored: &[(Key, Vec<u8>)]| {
        let mut engine = Engine::new(config, now);
        let restored = engine.restore(now, stored);
        let calls = engine.calls().len();
        assert_eq!(
            (calls, engine.clients().len()),
            (restored.calls, restored.clients)
        );
        restored
    };
    let outcome = |calls, clients, left_out| Restored {
        calls,
        clients,
        left_out,
    };
    assert_eq!(restore(config(), &stored), outcome(1, 1, 0));
    // The VM is not configured any more, or is the second one now.
    let mut other = config();
    other.vms.remove(0);
    other.thin_clients.clear();
    assert_eq!(restore(other, &stored), outcome(0, 0, 2));
    let mut moved = config();
    moved.vms.swap(0, 1);
    moved.thin_clients[0].vm = 1;
    assert_eq!(restore(moved, &stored), outcome(1, 1, 0));
    // Every entry cut short, and spoilt bytes.
    for cut in 0..200 {
        let short: Vec<_> = stored
            .iter()
            .map(|(key, value)| (key.clone(), value[..value.len() * cut / 200].to_vec()))
            .collect();
        assert_eq!(restore(config(), &short).left_out, stored.len());
        let mut spoilt = stored.clone();
        for (_, value) in &mut spoilt {
            let at = value.len() * cut / 200;
            value[at] ^= 0x55;
        }
        restore(config(), &spoilt);
    }
    assert_eq!(
        "calls/x".parse::<Key>().unwrap_err().to_string(),
        "\"calls/x\" is no key of the journal"
    );
}

/// A call of an earlier run whose media was seen both ways; what is seen of it
/// afterwards, or nothing.
fn taken_over(legs: &[Leg]) -> Outgoing {
    let mut call = up(EngineConfig {
        media_watch: MediaWatchConfig {
            verify: Duration::from_secs(5),
            ..MediaWatchConfig::default()
        },
        ..config()
    });
    let both = [Leg::GatewayToTc, Leg::TcToGateway];
    call.scene.wait(5_000);
    call.scene.tell_seen(&both);
    call.scene.wait(60_000);
    call.scene.restart();
    call.scene.wait(60_000);
    call.scene.tell_seen(legs);
    call.scene.wait(61_000);
    call.scene.tell_seen(&[]);
    call
}

/// Its BYE came while nobody was there to hear it: the thin client is told, and nobody
/// else.
#[test]
fn a_call_that_has_ended_meanwhile_is_ended() {
    let mut call = taken_over(&[]);
    call.scene.is("ending", Path::Direct, None);
    is_request(&call.scene.at_tc(), Method::Bye);
    call.scene.silence();
    call.scene.wait(32_000);
    call.scene.is("ended", Path::Direct, None);
    assert!(call.scene.flows.is_empty());
}

#[test]
fn a_call_that_is_seen_again_goes_on() {
    for leg in [Leg::GatewayToTc, Leg::TcToGateway] {
        let mut call = taken_over(&[leg]);
        call.scene.wait(600_000);
        call.scene.is("up", Path::Direct, None);
        call.scene.silence();
    }
}
