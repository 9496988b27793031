//! What reading a SIP message and changing its session description cost:
//! `cargo bench -p sidestep-core --bench sip`; beside the other measurements in
//! `cargo xtask bench --only sip`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidestep_core::sdp::{AudioReplacement, SessionDescription};
use sidestep_core::sip::{Message, MessageEdit};

/// An INVITE of a softphone, one in compact form with folded lines, one with a part of
/// ISUP, and the longest of RFC 4475.
const MESSAGES: &[(&str, &[u8])] = &[
    ("invite", include_bytes!("../tests/data/sip/invite.sip")),
    (
        "compact and folded",
        include_bytes!("../tests/data/sip/compact_folded.sip"),
    ),
    (
        "multipart",
        include_bytes!("../tests/data/sip/multipart.sip"),
    ),
    ("long", include_bytes!("../tests/data/torture/longreq.sip")),
];

/// The message with its audio at another address; as it is where it has none.
fn moved(message: &Message) -> Vec<u8> {
    let edit = MessageEdit::new(message);
    let Some(session) = message.session() else {
        return edit.finish();
    };
    let Ok(sdp) = SessionDescription::parse(session) else {
        return edit.finish();
    };
    let there = AudioReplacement::address(([192, 0, 2, 7], 4000).into());
    match sdp.audio() {
        Ok((index, _)) => edit.set_session(sdp.replace_audio(index, &there)).finish(),
        Err(_) => edit.finish(),
    }
}

fn messages(c: &mut Criterion) {
    for (name, bytes) in MESSAGES {
        let mut group = c.benchmark_group(format!("sip/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("parse", |b| b.iter(|| Message::parse(black_box(bytes))));
        group.bench_function("parse and edit", |b| {
            b.iter(|| Message::parse(black_box(bytes)).map(|message| moved(&message)));
        });
        group.finish();
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
