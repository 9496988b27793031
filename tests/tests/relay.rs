//! The relays and the RTP load that the demo and the benchmark compare with:
//! both are right before anything is measured with them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use sidestep_tests::lab::Namespace;
use sidestep_tests::relay::{self, Kind, Relay};
use sidestep_tests::rtp::{End, Load, Measured};

const CALLS: u16 = 4;

fn at(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// A namespace of its own that goes with the test.
struct Own(Namespace);

impl Own {
    fn new(name: &str) -> Self {
        let namespace = Namespace::named(format!("ssrelay-{}-{name}", std::process::id()));
        namespace
            .create()
            .expect("a namespace (this test needs root)");
        Self(namespace)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.delete();
    }
}

/// Four calls of one second by way of the relay; what the relay counted.
fn relayed(name: &str, kind: Kind) -> (Measured, u64) {
    let own = Own::new(name);
    let relays: Vec<(relay::End, relay::End)> = (0..CALLS)
        .map(|call| {
            let end = |relay: u16, peer: u16| relay::End {
                local: at(relay + call),
                peer: at(peer + call),
            };
            (end(30_000, 10_000), end(40_000, 20_000))
        })
        .collect();
    let calls = (0..CALLS)
        .map(|call| {
            let end = |local: u16, remote: u16| End {
                local: at(local + call),
                remote: at(remote + call),
            };
            (end(10_000, 30_000), end(20_000, 40_000))
        })
        .collect();
    let relay = Relay::start(&own.0, kind, &relays).expect("a relay");
    let load = Load {
        near: own.0.clone(),
        far: own.0.clone(),
        calls,
        rate: 50,
        duration: Duration::from_secs(1),
    };
    assert_eq!(load.packets_per_second(), 400);
    let measured = load.run().expect("measured");
    let (_, count) = relay.finish().expect("it ran to its end");
    (measured, count)
}

#[test]
fn the_bare_relay_passes_every_packet_at_once() {
    let (measured, count) = relayed("bare", Kind::Datagrams);
    assert_eq!((measured.sent, measured.received), (400, 400));
    assert_eq!((measured.lost(), measured.duplicates, count), (0, 0, 400));
    assert!(
        measured.delay(0.5) < Duration::from_millis(5),
        "{measured:?}"
    );
    assert!(measured.sending > Duration::ZERO);
}

#[test]
fn the_audio_relay_makes_packets_wait_for_its_clock() {
    let (measured, count) = relayed("audio", Kind::Audio);
    assert_eq!((measured.sent, measured.received, count), (400, 400, 400));
    let median = measured.delay(0.5);
    assert!(median > Duration::from_millis(4), "{median:?}");
    assert!(median < Duration::from_millis(21), "{median:?}");
}
