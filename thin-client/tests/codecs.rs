//! What was decoded is what was said: every encoding of this build carries known
//! speech-like signals from one stream to another, and each correlates with what
//! went in, and with nothing else.
//!
//! `cargo xtask test` runs this with all encodings built in.

use std::net::SocketAddr;
use std::time::Duration;

use thin_client::audio::codec::Encoding;
use thin_client::audio::queue::SampleQueue;
use thin_client::audio::source::Source;
use thin_client::media::stream::{Audio, Peer, Stream};

const RATE: usize = 8_000;
/// Longest delay of an encoding and its filters, samples.
const DELAY: usize = 480;

/// A voiced sound: pulses at a pitch that wavers, through three resonances, loud
/// and soft by syllables. Wholly determined by `voice`.
fn speech(voice: u32, length: usize) -> Vec<i16> {
    let pitch = 95.0 + 23.0 * f64::from(voice);
    let formants = [
        (480.0 + 60.0 * f64::from(voice), 0.97),
        (1_400.0 - 110.0 * f64::from(voice), 0.95),
        (2_500.0, 0.90),
    ];
    let mut phase = 0.0;
    let mut state = [[0.0; 2]; 3];
    let raw: Vec<f64> = (0..length)
        .map(|at| {
            let t = at as f64 / RATE as f64;
            phase += pitch * (1.0 + 0.1 * (4.3 * t + f64::from(voice)).sin()) / RATE as f64;
            let mut sample = 0.0;
            if phase >= 1.0 {
                phase -= 1.0;
                sample = 1.0;
            }
            for ((hertz, radius), [one, two]) in formants.iter().zip(&mut state) {
                let turn = std::f64::consts::TAU * hertz / RATE as f64;
                let out = sample + 2.0 * radius * turn.cos() * *one - radius * radius * *two;
                *two = *one;
                *one = out;
                sample = out;
            }
            sample * (0.6 + 0.4 * (std::f64::consts::TAU * 2.6 * t).sin())
        })
        .collect();
    let peak = raw
        .iter()
        .fold(0.0, |peak: f64, sample| peak.max(sample.abs()));
    raw.iter()
        .map(|sample| (sample / peak * 12_000.0).round() as i16)
        .collect()
}

/// Correlation of what was heard with what was said, at the best delay: 1 is the
/// same but for loudness.
fn correlation(said: &[i16], heard: &[i16]) -> f64 {
    let product = |a: &[i16], b: &[i16]| -> f64 {
        let sum: i64 = a
            .iter()
            .zip(b)
            .map(|(&a, &b)| i64::from(a) * i64::from(b))
            .sum();
        sum as f64
    };
    let length = said.len() - DELAY;
    let said = &said[..length];
    (0..DELAY)
        .map(|delay| {
            let heard = &heard[delay..delay + length];
            let energy = product(said, said) * product(heard, heard);
            product(said, heard) / energy.sqrt().max(1.0)
        })
        .fold(0.0, f64::max)
}

/// One stream says `said` to another; what that hears.
fn carry(encoding: Encoding, ptime: u32, said: &[i16]) -> (Vec<i16>, Stream) {
    let here = SocketAddr::from(([10, 0, 0, 1], 4_000));
    let audio = |source, listener| Audio {
        source,
        listener,
        recorder: None,
    };
    let (mouth, ear) = (SampleQueue::default(), SampleQueue::default());
    let peer = Peer {
        rtp: here,
        rtcp: here,
        formats: vec![(encoding.payload_type(), encoding)],
        ptime: Some(ptime),
        send: true,
    };
    let mut from = Stream::new(
        "from".into(),
        ptime,
        audio(Source::Queue(mouth.clone()), None),
    );
    let mut to = Stream::new(
        "to".into(),
        ptime,
        audio(Source::Silence, Some(ear.clone())),
    );
    from.set_peer(peer.clone());
    to.set_peer(peer);
    let mut now = Duration::ZERO;
    let mut heard = Vec::new();
    for words in said.chunks(from.packet_time().as_millis() as usize * RATE / 1_000) {
        mouth.push(words);
        let (_, packet) = from.poll_rtp().expect("a packet");
        to.receive_rtp(now, here, &packet);
        now += from.packet_time();
        let mut frame = vec![0; words.len()];
        ear.pop(&mut frame);
        heard.extend(frame);
    }
    (heard, to)
}

#[test]
fn what_was_decoded_is_what_was_said() {
    let built: Vec<Encoding> = Encoding::ALL
        .into_iter()
        .filter(|encoding| encoding.is_built())
        .collect();
    let said: Vec<Vec<i16>> = (0..3).map(|voice| speech(voice, RATE)).collect();
    for encoding in built {
        let name = encoding.name();
        // Waveform coders keep the wave; the others what a listener needs of it.
        let enough = match encoding {
            Encoding::G711(_) => 0.999,
            Encoding::G722 => 0.98,
            Encoding::Opus => 0.9,
            Encoding::G729 => 0.8,
            Encoding::G7231 => 0.75,
        };
        let runs = [(20, 0), (20, 1), (20, 2), (30, 0), (60, 1)];
        for (ptime, voice) in runs {
            let said: &[i16] = &said[voice];
            let (heard, stream) = carry(encoding, ptime, said);
            let received = stream.received();
            assert_eq!(
                (received.undecodable, received.lost, received.malformed),
                (0, 0, 0),
                "{name} at {ptime} ms"
            );
            let own = correlation(said, &heard);
            println!("{name}, {ptime} ms, voice {voice}: {own:.3}");
            assert!(own > enough, "{name}, {ptime} ms, voice {voice}: {own:.3}");
        }
    }
}

/// The measure tells voices apart, or the test above would prove nothing.
#[test]
fn another_voice_is_another_signal() {
    let voices: Vec<Vec<i16>> = (0..3).map(|voice| speech(voice, RATE)).collect();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let across = correlation(&voices[a], &voices[b]);
        assert!(across < 0.5, "voices {a} and {b}: {across:.3}");
    }
}
