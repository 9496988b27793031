//! Media that is not seen where it should be, and media that stops.

use std::time::Duration;

use sidestep_core::call::Reason;
use sidestep_core::engine::{
    EngineConfig, Event, Leg, MediaSeen, MediaWatchConfig, Path, PathChoice, TimeoutAction,
};

use super::mg::*;
use super::scene::{config, config_with};

fn watched(path: PathChoice) -> EngineConfig {
    EngineConfig {
        media_watch: MediaWatchConfig {
            verify: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            action: TimeoutAction::Report,
        },
        ..config_with(path)
    }
}

/// A call that is up for 5 s, of which then these legs have been seen.
fn seen(path: PathChoice, legs: &[Leg]) -> Control {
    let (mut control, _) = Control::up(watched(path));
    assert_eq!(control.call().media_seen, Some(MediaSeen::Waiting));
    control.wait(5_000);
    assert_eq!(control.looks, [1]);
    tell(&mut control, legs);
    control
}

fn tell(control: &mut Control, legs: &[Leg]) {
    let now = control.now;
    let legs: Vec<_> = legs.iter().map(|leg| (*leg, now)).collect();
    control.engine.media_seen(now, 1, &legs);
    control.drain();
}

#[test]
fn a_gateway_may_rest_but_a_thin_client_may_not() {
    use Leg::{GatewayToTc, TcToGateway};
    use MediaSeen::{BothWays, NotBothWays, OffHost};
    use PathChoice::{Direct, Steered};
    for (path, legs, expected) in [
        (Direct, &[GatewayToTc, TcToGateway][..], BothWays),
        (Direct, &[TcToGateway], BothWays),
        (Direct, &[], OffHost),
        (Direct, &[GatewayToTc], NotBothWays),
        (Steered, &[TcToGateway], BothWays),
        (Steered, &[], NotBothWays),
    ] {
        let mut control = seen(path, legs);
        if expected != NotBothWays {
            assert_eq!(
                control.call().media_seen,
                Some(expected),
                "{path:?} {legs:?}"
            );
            control.silence();
            continue;
        }
        // The gateway is told of the VM again.
        let back = control.at_mg();
        assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"], "{path:?} {legs:?}");
        control.mg_says(&modified(requests(&back)[0]));
        control.is("up", Path::Vm, Some(Reason::NoMediaSeen));
    }
}

#[test]
fn media_that_stops_is_told() {
    let mut control = seen(PathChoice::Direct, &[Leg::GatewayToTc, Leg::TcToGateway]);
    let last = control.now;
    control.events.clear();
    control.wait(31_000);
    assert!(control.looks.len() > 1);
    let now = control.now;
    let legs = [(Leg::GatewayToTc, last), (Leg::TcToGateway, last)];
    control.engine.media_seen(now, 1, &legs);
    control.drain();
    let told = control.events.iter().any(|event| {
        matches!(event, Event::MediaTimeout { ends: false, silent, .. } if silent.as_secs() == 31)
    });
    assert!(told, "{:?}", control.events);
    assert_eq!(control.call().media_seen, Some(MediaSeen::TimedOut));
    control.silence();
}

#[test]
fn what_is_not_to_go_both_ways_is_not_judged() {
    let (mut control, _) = Control::up(watched(PathChoice::Steered));
    control.passes_to_mg(
        "Transaction = 9 { Context = 5000 { Modify = A5556 { Media { Stream = 1 { LocalControl { \
         Mode = ReceiveOnly } } } } } }",
    );
    control.passes_to_mgc(&modified(9));
    control.wait(4_000);
    assert_eq!(control.call().media_seen, None);
    // Without a watch nothing is asked.
    let (mut control, _) = Control::up(config());
    control.wait(100_000);
    assert!(control.looks.is_empty());
    assert_eq!(control.call().media_seen, None);
}
