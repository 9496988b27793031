//! Audio at 8,000 Hz mono, 16 bit: encodings, what a call plays and what becomes
//! of what it hears. No sockets, no clock.
//!
//! In: decoded packets with their RTP timestamps. Out: packets' worth of
//! samples to send, a WAV file, level and tone of what came.

pub mod codec;
pub mod g711;
pub mod meter;
pub mod queue;
pub mod recorder;
pub mod source;

#[cfg(feature = "alsa")]
pub mod sound_card;

/// Samples per second of everything in here (RFC 3551 §4.5.14).
pub const SAMPLE_RATE: u32 = 8_000;
