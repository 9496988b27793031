//! Many calls from fixed seeds, over a network that loses, repeats, reorders and
//! spoils: never a panic, never a foreign message lost, never anything left.

mod scene;

use scene::world::play;

/// Nothing is lost on the way: every call is answered or refused.
#[test]
fn a_good_network_completes_every_call() {
    let mut up = 0;
    for seed in 0..150 {
        let mut world = play(seed, 0, 0, 0);
        world.wait(40_000);
        let caller = if seed % 4 < 2 {
            &world.vm
        } else {
            &world.gateway
        };
        assert!(
            caller.established || caller.over,
            "seed {seed}: {:?}",
            world.scene.engine.calls()
        );
        assert_eq!(world.into, world.out, "seed {seed}");
        up += u32::from(world.media_meets(seed));
        world.finish(seed);
    }
    assert!(up > 50, "only {up} calls were still up");
}

#[test]
fn a_bad_network_leaves_nothing_and_loses_nothing() {
    for seed in 0..150 {
        let mut world = play(seed, 15, 15, 0);
        world.wait(70_000);
        assert_eq!(world.into, world.out, "seed {seed}");
        world.media_meets(seed);
        world.finish(seed);
    }
}

/// Spoilt bytes: no panic, nothing left.
#[test]
fn spoilt_messages_leave_nothing() {
    for seed in 0..150 {
        let mut world = play(seed, 5, 10, 20);
        world.wait(70_000);
        world.finish(seed);
    }
}
