use super::*;
use crate::audio::g711::Law;

const MS: Duration = Duration::from_millis(1);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn stream(tone: u32) -> Stream {
    let audio = Audio {
        source: Source::tone(tone),
        listener: None,
        recorder: None,
    };
    Stream::new("tc@test".into(), 20, audio)
}

fn peer(port: u16) -> Peer {
    Peer {
        rtp: address(port),
        rtcp: address(port + 1),
        formats: vec![(8, Encoding::G711(Law::A)), (0, Encoding::G711(Law::Mu))],
        ptime: None,
        send: true,
    }
}

/// Both ends of a call; `a` at port 100, `b` at 200.
fn pair() -> (Stream, Stream) {
    let (mut a, mut b) = (stream(440), stream(1_000));
    a.set_peer(peer(200));
    b.set_peer(peer(100));
    (a, b)
}

#[test]
fn two_streams_hear_each_others_tone_without_loss_or_jitter() {
    let (mut a, mut b) = pair();
    for tick in 0..100 {
        let now = MS * 20 * tick;
        let (to, packet) = a.poll_rtp().expect("a packet per tick");
        assert_eq!(to, address(200));
        b.receive_rtp(now, address(100), &packet);
        let (_, packet) = b.poll_rtp().expect("a packet per tick");
        a.receive_rtp(now, address(200), &packet);
    }
    let heard = a.received();
    assert_eq!((heard.packets, heard.bytes, heard.lost), (100, 16_000, 0));
    assert_eq!(heard.tone_hz, Some(1_000));
    assert_eq!(heard.jitter_ms, 0.0);
    assert_eq!(heard.payload_type, Some(8));
    assert_eq!(heard.ssrc, Some(b.sent().ssrc));
    // A sine of amplitude 10,000.
    let level = heard.level_dbfs.expect("heard");
    assert!((level + 13.3).abs() < 0.2, "{level}");
    assert_eq!(b.received().tone_hz, Some(440));
}

#[test]
fn only_the_negotiated_peer_is_heard() {
    let (mut a, mut b) = pair();
    let (_, packet) = a.poll_rtp().expect("a packet");
    b.receive_rtp(MS, address(102), &packet);
    b.receive_rtcp(MS, address(100), &packet);
    b.receive_rtp(MS, address(100), b"not RTP at all");
    let heard = b.received();
    assert_eq!((heard.packets, heard.foreign, heard.malformed), (0, 2, 1));
    let mut waiting = stream(440);
    waiting.receive_rtp(MS, address(100), &packet);
    assert_eq!(waiting.received().early, 1);
}

#[test]
fn hold_sends_nothing_and_time_goes_on() {
    let mut a = stream(440);
    a.set_peer(peer(200));
    let header = |stream: &mut Stream| {
        let (_, packet) = stream.poll_rtp().expect("a packet");
        Header::parse(&packet).expect("RTP").0
    };
    let first = header(&mut a);
    assert!(first.marker);
    assert!(!header(&mut a).marker);
    a.set_peer(Peer {
        send: false,
        ..peer(200)
    });
    assert_eq!(a.poll_rtp(), None);
    a.set_peer(peer(300));
    let after = header(&mut a);
    assert!(after.marker);
    assert_eq!(after.sequence, first.sequence.wrapping_add(2));
    assert_eq!(after.timestamp, first.timestamp.wrapping_add(3 * 160));
}

#[test]
fn the_peers_packet_time_and_codec_are_used() {
    let mut a = stream(440);
    a.set_peer(Peer {
        formats: vec![(96, Encoding::G711(Law::Mu))],
        ptime: Some(30),
        ..peer(200)
    });
    assert_eq!(a.packet_time(), MS * 30);
    let (_, packet) = a.poll_rtp().expect("a packet");
    assert_eq!(packet.len(), 12 + 240);
    assert_eq!(packet[1] & 0x7F, 96);
    a.set_peer(Peer {
        ptime: Some(200),
        ..peer(200)
    });
    assert_eq!(a.packet_time(), MS * 20);
}

#[test]
fn another_source_is_noticed_and_its_losses_are_added() {
    let (mut a, mut b) = pair();
    let mut send = |from: &mut Stream, lose: bool| {
        let (_, packet) = from.poll_rtp().expect("a packet");
        if !lose {
            b.receive_rtp(MS, address(100), &packet);
        }
    };
    for lose in [false, true, false] {
        send(&mut a, lose);
    }
    let mut other = stream(440);
    other.set_peer(peer(200));
    for lose in [false, true, true, false] {
        send(&mut other, lose);
    }
    let heard = b.received();
    assert_eq!((heard.lost, heard.ssrc_changes), (3, 1));
}

#[test]
fn reports_tell_loss_and_round_trip_and_the_last_says_bye() {
    let (mut a, mut b) = pair();
    let mut reports = Vec::new();
    let mut now = Duration::ZERO;
    while reports.len() < 2 {
        let (_, packet) = a.poll_rtp().expect("a packet");
        if now != MS * 40 {
            b.receive_rtp(now, address(100), &packet);
        }
        reports.extend(a.poll_rtcp(now));
        now += MS * 20;
        assert!(now < Duration::from_secs(20), "no reports");
    }
    // RFC 3550 §6.2, §6.3.1: randomised about 2.5 s and 5 s.
    assert!(now > Duration::from_secs(3), "{now:?}");
    let (to, report) = &reports[1];
    assert_eq!(*to, address(201));
    b.receive_rtcp(now + MS * 5, address(101), report);
    let (_, answer) = b.report(now + MS * 105, false).expect("b has a peer");
    a.receive_rtcp(now + MS * 110, address(201), &answer);
    assert_eq!(b.rtcp().peer_packets, Some((now.as_millis() / 20) as u32));
    let seen = a.rtcp();
    assert_eq!(seen.peer_lost, Some(1));
    // The report was made one tick before `now`: 20 + 5 there, 5 back.
    let round_trip = seen.round_trip_ms.expect("measured");
    assert!((round_trip - 30.0).abs() < 0.1, "{round_trip}");
    let (_, last) = a.goodbye(now).expect("it has sent");
    b.receive_rtcp(now, address(101), &last);
    assert!(b.rtcp().bye);
    assert_eq!(stream(440).goodbye(now), None);
}

#[test]
fn echo_gives_back_the_tone() {
    let queue = SampleQueue::default();
    let mut echo = Stream::new(
        "echo".into(),
        20,
        Audio {
            source: Source::Queue(queue.clone()),
            listener: Some(queue),
            recorder: None,
        },
    );
    echo.set_peer(peer(100));
    let mut a = stream(440);
    a.set_peer(peer(200));
    for tick in 0..50 {
        let now = MS * 20 * tick;
        let (_, packet) = a.poll_rtp().expect("a packet");
        echo.receive_rtp(now, address(100), &packet);
        let (_, packet) = echo.poll_rtp().expect("a packet");
        a.receive_rtp(now, address(200), &packet);
    }
    assert_eq!(a.received().tone_hz, Some(440));
}

/// A second of what cannot be decoded is told; one packet that can be ends it.
#[test]
fn what_cannot_be_decoded_is_noticed() {
    let (mut a, mut b) = pair();
    let mut packet = |payload_type: u8| {
        let (_, mut packet) = a.poll_rtp().expect("a packet per tick");
        packet[1] = packet[1] & 0x80 | payload_type;
        packet
    };
    for tick in 0..49 {
        b.receive_rtp(MS * 20 * tick, address(100), &packet(18));
        assert_eq!(b.undecodable(), None);
    }
    b.receive_rtp(MS * 980, address(100), &packet(18));
    assert_eq!(b.undecodable(), Some(18));
    b.receive_rtp(MS * 1_000, address(100), &packet(8));
    assert_eq!(b.undecodable(), None);
    for tick in 51..101 {
        b.receive_rtp(MS * 20 * tick, address(100), &packet(18));
    }
    assert_eq!(b.undecodable(), Some(18));
    // What is agreed anew is judged anew.
    b.set_peer(peer(100));
    assert_eq!(b.undecodable(), None);
}
