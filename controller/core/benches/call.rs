//! What a whole call costs the engine, set-up to hang-up, and what its journal adds:
//! `cargo bench -p sidestep-core --bench call`.
//!
//! A call is played once by the parties that the tests have; what they said is then
//! put into fresh engines that draw the same numbers, so that nothing but the engine
//! is timed.

#[path = "../tests/scene/mod.rs"]
mod scene;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use scene::{GATEWAY, Scene, Ua, VM, address, config, gateway_sdp, sdp, tc_sdp, vm_sdp};
use sidestep_core::engine::{Datagram, Engine, Side, Transport};
use sidestep_core::time::Time;

/// The thin client's media is known beforehand (Fig. 3), or it is asked first.
fn calls() -> [(&'static str, Option<String>); 2] {
    [("registered", Some(tc_sdp())), ("offerless", None)]
}

/// What the engine hears of the registration, and then of the call.
fn heard(registers: Option<&str>) -> (Time, Vec<Datagram>, Vec<Datagram>) {
    let mut scene = Scene::new(config());
    let start = scene.now;
    scene.heard = Some(Vec::new());
    scene.register(registers);
    let registration = scene.heard.replace(Vec::new()).unwrap_or_default();
    play(&mut scene, registers.is_none());
    (start, registration, scene.heard.unwrap_or_default())
}

/// The VM calls, talks, and hangs up.
fn play(scene: &mut Scene, asks_first: bool) {
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    let mut answers = |scene: &mut Scene, body: &str| {
        let invite = scene.at_tc();
        tc.learn(&invite);
        scene.tc_sends(tc.response(&invite, 200, body));
    };
    if asks_first {
        answers(scene, &tc_sdp());
    }
    let invite = scene.at_gateway();
    gateway.learn(&invite);
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    if !asks_first {
        answers(scene, &answer);
    }
    scene.at_tc();
    vm.learn(&scene.at_vm());
    scene.vm_sends(vm.request("ACK", ""));
    scene.at_gateway();
    scene.vm_sends(vm.request("BYE", ""));
    let (bye, of_tc) = (scene.at_gateway(), scene.at_tc());
    scene.tc_sends(tc.response(&of_tc, 200, ""));
    scene.gateway_sends(gateway.response(&bye, 200, ""));
    assert_eq!(scene.call().state, "ended");
}

/// What leaves the engine, and what is to be stored before it does.
fn hear(engine: &mut Engine, now: Time, datagrams: Vec<Datagram>) {
    for datagram in datagrams {
        engine.handle_datagram(now, datagram);
        black_box(engine.take_journal());
        while let Some(output) = engine.poll_output() {
            black_box(output);
        }
    }
}

fn whole_calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("call");
    for (name, registers) in calls() {
        let (now, registration, call) = heard(registers.as_deref());
        for (journal, what) in [(false, "without a journal"), (true, "with")] {
            let ready = || {
                let mut engine = Engine::new(config(), now);
                if journal {
                    engine.keep_journal();
                }
                hear(&mut engine, now, registration.clone());
                (engine, call.clone())
            };
            group.bench_function(format!("{name}, {what}"), |b| {
                b.iter_batched(
                    ready,
                    |(mut engine, call)| {
                        hear(&mut engine, now, call);
                        engine
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// An INVITE that comes when a VM has as many calls as it may: it passes as it came, or
/// takes the place of a call that is only watched. What that costs is to be the same
/// however many there are.
fn at_the_limit(c: &mut Criterion) {
    let mut group = c.benchmark_group("invite at the limit");
    for (name, to_tag) in [("passes", ""), ("takes a place", ";tag=old")] {
        for calls in [10, 1_000, 9_000] {
            let mut config = config();
            config.calls.max_per_vm = calls;
            let scene = Scene::registered(config, Some(&tc_sdp()));
            let (mut engine, now) = (scene.engine, scene.now);
            let mut number = 0;
            let mut next = || {
                number += 1;
                let mut vm = Ua::vm();
                vm.call_id = format!("flood-{number}");
                vm.remote += to_tag;
                Datagram {
                    side: Side::Vm,
                    transport: Transport::Udp,
                    src: address(VM),
                    dst: address(GATEWAY),
                    payload: vm.request("INVITE", &vm_sdp()).into_bytes(),
                }
            };
            for _ in 0..calls {
                hear(&mut engine, now, vec![next()]);
            }
            assert_eq!(engine.held().calls, calls);
            group.bench_function(format!("{name}, {calls} calls"), |b| {
                b.iter_batched(
                    &mut next,
                    |invite| hear(&mut engine, now, vec![invite]),
                    BatchSize::SmallInput,
                );
            });
            assert_eq!(engine.held().calls, calls);
        }
    }
    group.finish();
}

criterion_group!(benches, whole_calls, at_the_limit);
criterion_main!(benches);
