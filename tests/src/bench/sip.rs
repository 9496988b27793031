//! What reading a SIP message, and giving its session description another address,
//! cost on one thread.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use sidestep_core::sdp::{AudioReplacement, SessionDescription};
use sidestep_core::sip::{Message, MessageEdit};

use super::h248::per_turn;

/// How much is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Extent {
    /// ms for each message, read and changed.
    pub each_ms: u64,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub message: &'static str,
    /// Its octets.
    pub bytes: usize,
    /// ns to read it.
    pub ns: f64,
    /// MB (10⁶ octets) read per second.
    pub mb_per_s: f64,
    /// ns to read it and its description, and to write it with the audio elsewhere.
    pub edit_ns: f64,
}

const MESSAGES: &[(&str, &[u8])] = &[
    (
        "INVITE of a softphone",
        include_bytes!("../../../controller/core/tests/data/sip/invite.sip"),
    ),
    (
        "INVITE, compact, folded",
        include_bytes!("../../../controller/core/tests/data/sip/compact_folded.sip"),
    ),
    (
        "INVITE with ISUP beside",
        include_bytes!("../../../controller/core/tests/data/sip/multipart.sip"),
    ),
];

/// Measures each message.
pub fn measure(extent: Extent) -> Result<Vec<Row>> {
    let each = Duration::from_millis(extent.each_ms);
    let row = |(name, bytes): &(&'static str, &'static [u8])| {
        moved(bytes).with_context(|| format!("{name} has no audio"))?;
        let ns = per_turn(each, || {
            let _ = black_box(Message::parse(black_box(bytes)));
        });
        let edit_ns = per_turn(each, || {
            black_box(moved(black_box(bytes)));
        });
        Ok(Row {
            message: name,
            bytes: bytes.len(),
            ns,
            mb_per_s: bytes.len() as f64 / ns * 1000.0,
            edit_ns,
        })
    };
    MESSAGES.iter().map(row).collect()
}

/// The message with its audio at another address.
fn moved(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(bytes).ok()?;
    let sdp = SessionDescription::parse(message.session()?).ok()?;
    let (index, _) = sdp.audio().ok()?;
    let there = AudioReplacement::address(([192, 0, 2, 7], 4000).into());
    let session = sdp.replace_audio(index, &there);
    Some(MessageEdit::new(&message).set_session(session).finish())
}
