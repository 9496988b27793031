//! Thin clients that are gateways by a connection (H.248.1 Annex D.2): what goes to
//! them goes by it, and when it is gone they are.

use sidestep_core::engine::{ConnectionId, Transport};
use sidestep_core::tc::TcEvent;

use super::bench::*;
use super::h248::*;

const FIRST: ConnectionId = ConnectionId(7);
const SECOND: ConnectionId = ConnectionId(8);
/// What it says when it has found us again.
const DISCONNECTED: &str = "MEGACO/1 [10.71.2.21]:2944 Transaction = 9998 {\n Context = - {\n  \
                            ServiceChange = ROOT { Services { Method = Disconnected, \
                            Reason = 900, Version = 1 } } } }";

fn connected() -> Bench {
    let mut bench = bench();
    bench.source = address("10.71.2.21:40001");
    bench.transport = Transport::Tcp(FIRST);
    register(&mut bench);
    bench
}

/// In a call.
fn in_a_call() -> Bench {
    let mut bench = connected();
    bench.invite(Some(GATEWAY));
    let (add, _) = got(&mut bench);
    reply(&mut bench, add, &added(LOCAL));
    bench.answered();
    bench.quiet();
    bench
}

/// The port that it names in its ServiceChange is where it would listen.
#[test]
fn it_is_asked_by_the_connection_that_it_registered_by() {
    let bench = connected();
    let bound = bench.bound.as_ref().expect("registered");
    assert_eq!(bound.address, address("10.71.2.21:40001"));
    assert_eq!(bound.transport, Transport::Tcp(FIRST));
    let mut bench = in_a_call();
    bench.agent.bye(bench.now, LEG);
    expect(&mut bench, SUBTRACT);
}

#[test]
fn nothing_is_sent_twice_by_a_connection() {
    let mut bench = connected();
    bench.invite(None);
    got(&mut bench);
    bench.wait(3_900);
    bench.quiet();
    bench.wait(200);
    assert_eq!(bench.event(), Some(TcEvent::NoAnswer));
    bench.wait(15_800);
    bench.quiet();
    assert!(bench.bound.is_some());
    bench.wait(200);
    assert!(bench.bound.is_none());
}

#[test]
fn who_speaks_by_another_way_is_not_heard() {
    for other in [Transport::Udp, Transport::Tcp(SECOND)] {
        let mut bench = connected();
        bench.invite(None);
        let (add, _) = got(&mut bench);
        bench.transport = other;
        reply(&mut bench, add, &added(LOCAL));
        bench.quiet();
        bench.transport = Transport::Tcp(FIRST);
        reply(&mut bench, add, &added(LOCAL));
        bench.answered();
    }
}

#[test]
fn its_calls_are_lost_with_its_connection() {
    let mut bench = in_a_call();
    bench.agent.closed(bench.now, SECOND);
    bench.quiet();
    bench.agent.closed(bench.now, FIRST);
    assert_eq!(bench.event(), Some(TcEvent::Lost));
    assert!(bench.bound.is_none());
    // Nothing can be said to it, and nothing is to be.
    bench.wait(100_000);
    bench.quiet();
}

/// It goes on with its call, which here is over: it is to let go of it, before it
/// sends to the gateway beside the VM for long.
#[test]
fn who_comes_back_lets_go_of_what_has_been_lost() {
    let mut bench = in_a_call();
    bench.agent.closed(bench.now, FIRST);
    assert_eq!(bench.event(), Some(TcEvent::Lost));
    bench.transport = Transport::Tcp(SECOND);
    // With the number of a request of before, from the same port.
    bench.hear(DISCONNECTED);
    assert_eq!(said(&mut bench), RESTARTED);
    let release = expect(&mut bench, "C=*{O-W-S=*{AT{}}}");
    let audit = expect(&mut bench, "C=-{AV=*{AT{}}}");
    // There was nothing, or it cannot say it so: no matter.
    reply(&mut bench, release, "C=*{ER=431{}}");
    reply(&mut bench, audit, "C=-{AV=tel/1{}}");
    let (capabilities, _) = got(&mut bench);
    reply(&mut bench, capabilities, "C=-{AC=tel/1{}}");
    bench.quiet();
    assert!(bench.bound.is_some());
}

/// It was here all the time, and has found another way.
#[test]
fn who_has_connected_anew_before_the_old_connection_is_gone_keeps_its_call() {
    let mut bench = in_a_call();
    bench.transport = Transport::Tcp(SECOND);
    bench.source = address("10.71.2.21:40002");
    bench.hear(DISCONNECTED.replace("9998", "10001"));
    assert_eq!(said(&mut bench), RESTARTED.replace("9998", "10001"));
    let audit = expect(&mut bench, "C=-{AV=*{AT{}}}");
    bench.agent.closed(bench.now, FIRST);
    bench.quiet();
    reply(&mut bench, audit, "C=-{AV=tel/1{}}");
    let (capabilities, _) = got(&mut bench);
    reply(&mut bench, capabilities, "C=-{AC=tel/1{}}");
    bench.agent.bye(bench.now, LEG);
    expect(&mut bench, SUBTRACT);
}
