//! What decoding and editing an H.248 message costs, per encoding:
//! `cargo bench -p sidestep-core`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidestep_core::h248::model::Message;
use sidestep_core::h248::{Change, Encoding, Side, binary, text};

/// Messages of Appendix I: an Add with two alternatives' worth of media, a Modify
/// with the far end's media, a reply to an audit.
const MESSAGES: &[(&str, &str)] = &[
    (
        "add",
        include_str!("../tests/data/h248/appendix_i/13_mgc_add_mg2.txt"),
    ),
    (
        "modify",
        include_str!("../tests/data/h248/appendix_i/15_mgc_modify_mg1_ringback.txt"),
    ),
    (
        "audit",
        include_str!("../tests/data/h248/appendix_i/24_mg2_audit_reply.txt"),
    ),
];

/// Every Remote of the message gets another session description.
fn changes(message: &Message<'_>) -> Vec<Change> {
    message
        .streams()
        .filter(|(_, stream)| stream.remote.is_some())
        .map(|(place, _)| Change::Description {
            place,
            side: Side::Remote,
            sdp: b"v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\n".to_vec(),
        })
        .collect()
}

/// Every Local and Remote of the message gets another session description.
fn described(message: &Message<'_>) -> Vec<Change> {
    let of = |side| {
        move |place| Change::Description {
            place,
            side,
            sdp: b"v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\n".to_vec(),
        }
    };
    let locals = message
        .streams()
        .filter(|(_, stream)| stream.local.is_some());
    let remotes = message
        .streams()
        .filter(|(_, stream)| stream.remote.is_some());
    let locals = locals.map(|(place, _)| of(Side::Local)(place));
    locals
        .chain(remotes.map(|(place, _)| of(Side::Remote)(place)))
        .collect()
}

fn text_messages(c: &mut Criterion) {
    for (name, message) in MESSAGES {
        let pretty = text::write(&parsed(message.as_bytes()), Encoding::Pretty);
        let compact = text::write(&parsed(message.as_bytes()), Encoding::Compact);
        for (form, bytes) in [("pretty", pretty), ("compact", compact)] {
            let mut group = c.benchmark_group(format!("text/{form}/{name}"));
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function("decode", |b| b.iter(|| parsed(black_box(&bytes))));
            group.bench_function("edit", |b| {
                b.iter(|| {
                    let message = parsed(black_box(&bytes));
                    text::change(&bytes, &message, &changes(&message))
                });
            });
            let message = parsed(&bytes);
            let encoding = if form == "pretty" {
                Encoding::Pretty
            } else {
                Encoding::Compact
            };
            group.bench_function("encode", |b| {
                b.iter(|| text::write(black_box(&message), encoding));
            });
            group.finish();
        }
    }
}

/// Fixtures in BER, octets in hexadecimal with comments: an Add with a Remote, a reply
/// with a Local.
const BINARY: &[(&str, &str)] = &[
    (
        "add",
        include_str!("../tests/data/h248/binary/add_request.hex"),
    ),
    (
        "reply",
        include_str!("../tests/data/h248/binary/add_reply.hex"),
    ),
];

fn octets(fixture: &str) -> Vec<u8> {
    fixture
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_whitespace)
        .map(|octet| u8::from_str_radix(octet, 16).expect("fixtures are in hexadecimal"))
        .collect()
}

fn binary_messages(c: &mut Criterion) {
    for (name, fixture) in BINARY {
        let bytes = octets(fixture);
        let mut group = c.benchmark_group(format!("binary/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("decode", |b| b.iter(|| binary::parse(black_box(&bytes))));
        group.bench_function("edit", |b| {
            b.iter(|| {
                let message = binary::parse(black_box(&bytes));
                let message = message.expect("a fixture can be read");
                binary::change(&bytes, &message, &described(&message))
            });
        });
        let message = binary::parse(&bytes).expect("a fixture can be read");
        group.bench_function("encode", |b| b.iter(|| binary::write(black_box(&message))));
        group.finish();
    }
}

fn parsed(bytes: &[u8]) -> Message<'_> {
    match text::parse(bytes) {
        Ok(message) => message,
        Err(error) => panic!("a fixture cannot be read: {error}"),
    }
}

criterion_group!(benches, text_messages, binary_messages);
criterion_main!(benches);
