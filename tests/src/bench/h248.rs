//! What decoding H.248 costs, here and in Erlang/OTP's megaco: the same messages, in
//! the same run, one after the other on one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use sidestep_core::h248::{self, Change, Encoding, Side};

use crate::peers::megaco::corpus::{Written, timed_corpus};

/// How much is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Extent {
    /// ms for each message and decoder.
    pub each_ms: u64,
}

/// One encoding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub encoding: &'static str,
    /// Erlang's decoder.
    pub decoder: &'static str,
    /// Messages that both decode.
    pub messages: usize,
    /// Their octets.
    pub bytes: usize,
    /// ns per message, the mean, here.
    pub ns: f64,
    /// Of those messages that have session descriptions: ns to decode one and give
    /// each of its descriptions another, here.
    pub edit_ns: f64,
    /// MB (10⁶ octets) decoded per second here.
    pub mb_per_s: f64,
    /// ns per message in Erlang.
    pub erlang_ns: f64,
    /// How many times faster.
    pub ratio: f64,
}

/// Measures each encoding, and Erlang's text with both of its scanners.
pub fn measure(extent: Extent) -> Result<Vec<Row>> {
    let each = Duration::from_millis(extent.each_ms);
    let corpus = timed_corpus(each)?;
    let mut rows = Vec::new();
    for (encoding, name) in [
        (Encoding::Pretty, "text, pretty"),
        (Encoding::Compact, "text, compact"),
        (Encoding::Binary, "BER"),
    ] {
        let messages: Vec<&Written> = corpus.iter().filter(|m| m.encoding == encoding).collect();
        let decoders: &[&str] = match encoding {
            Encoding::Binary => &["BER, names left as octets"],
            _ => &["scanner in Erlang", "scanner in C (flex)"],
        };
        let timed = messages.iter().map(|message| decoding(message, each));
        let ours = timed.collect::<Result<Vec<f64>>>()?;
        let edits: Vec<f64> = messages
            .iter()
            .filter_map(|message| editing(message, each))
            .collect();
        for (index, decoder) in decoders.iter().enumerate() {
            let theirs = |message: &Written| message.erlang_ns.get(index).copied().unwrap_or(0);
            let pairs = messages.iter().zip(&ours);
            let both: Vec<_> = pairs.filter(|(message, _)| theirs(message) > 0).collect();
            ensure!(!both.is_empty(), "Erlang decodes none of {name}");
            let count = both.len() as f64;
            let bytes: usize = both.iter().map(|(message, _)| message.bytes.len()).sum();
            let ns = both.iter().map(|(_, ns)| **ns).sum::<f64>() / count;
            let erlang = both.iter().map(|(message, _)| theirs(message) as f64);
            let erlang_ns = erlang.sum::<f64>() / count;
            rows.push(Row {
                encoding: name,
                decoder,
                messages: both.len(),
                bytes,
                ns,
                edit_ns: edits.iter().sum::<f64>() / edits.len().max(1) as f64,
                mb_per_s: bytes as f64 / count / ns * 1000.0,
                erlang_ns,
                ratio: erlang_ns / ns,
            });
        }
    }
    Ok(rows)
}

fn decoding(message: &Written, each: Duration) -> Result<f64> {
    message.parse()?;
    Ok(per_turn(each, || {
        let _ = black_box(h248::parse(black_box(&message.bytes)));
    }))
}

/// `None`: it has no session description.
fn editing(message: &Written, each: Duration) -> Option<f64> {
    let changes = |message: &h248::model::Message<'_>| -> Vec<Change> {
        let sides = message.streams().flat_map(|(place, stream)| {
            let local = stream.local.is_some().then_some((place, Side::Local));
            let remote = stream.remote.is_some().then_some((place, Side::Remote));
            local.into_iter().chain(remote)
        });
        sides
            .map(|(place, side)| Change::Description {
                place,
                side,
                sdp: b"v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\n".to_vec(),
            })
            .collect()
    };
    if changes(&message.parse().ok()?).is_empty() {
        return None;
    }
    Some(per_turn(each, || {
        if let Ok(parsed) = h248::parse(black_box(&message.bytes)) {
            let _ = black_box(h248::change(&message.bytes, &parsed, &changes(&parsed)));
        }
    }))
}

/// ns that `work` takes: turns in growing numbers until one lot takes half of `each`,
/// as the Erlang program does.
pub(super) fn per_turn(each: Duration, mut work: impl FnMut()) -> f64 {
    let mut turns = 1u32;
    loop {
        let started = Instant::now();
        for _ in 0..turns {
            work();
        }
        let took = started.elapsed();
        if took * 2 >= each {
            return took.as_nanos() as f64 / f64::from(turns);
        }
        turns = turns.saturating_mul(2);
    }
}
