//! Encodings of speech: G.711 by itself, the others by libraries that a build
//! takes in by feature.
//!
//! In: 8 kHz samples, or the payload of a packet. Out: the other of the two. Each
//! direction of a call has an [`Encoder`] or [`Decoder`] of its own, since most
//! encodings remember what came before.
//!
//! | encoding | feature | library (Debian) |
//! | --- | --- | --- |
//! | PCMU, PCMA | always | none |
//! | G722 | `g722` | FFmpeg (`libavcodec-dev`), LGPL-2.1+ |
//! | G723 | `g7231` | FFmpeg (`libavcodec-dev`), LGPL-2.1+ |
//! | G729 | `g729` | bcg729 (`libbcg729-dev`), **GPL-3+**: a build with it is under the GPL |
//! | opus | `opus` | libopus (`libopus-dev`), BSD |

#[cfg(any(feature = "g722", feature = "g7231"))]
mod ffmpeg;
#[cfg(feature = "g729")]
mod g729;
#[cfg(feature = "opus")]
mod opus;
#[cfg(feature = "g722")]
mod resample;

use sidestep_core::media::Codec;

use super::SAMPLE_RATE;
use super::g711::Law;

/// An encoding of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// G.711 µ-law or A-law.
    G711(Law),
    /// G.722, 64 kbit/s.
    G722,
    /// G.723.1; 6.3 kbit/s is sent, both rates are heard.
    G7231,
    /// G.729, without silence suppression when sent.
    G729,
    /// Opus (RFC 6716, RFC 7587), narrow band.
    Opus,
}

/// A library that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the codec library failed with {0}")]
pub struct CodecError(pub i32);

/// Samples to payloads.
pub trait Encoder: Send {
    /// One packet's payload; `samples` are a multiple of
    /// [`Encoding::frame`].
    fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, CodecError>;
}

/// Payloads to samples.
pub trait Decoder: Send {
    /// What one packet says.
    fn decode(&mut self, payload: &[u8]) -> Result<Vec<i16>, CodecError>;
}

impl Encoding {
    /// All that this program knows, in no particular order.
    pub const ALL: [Self; 6] = [
        Self::G711(Law::Mu),
        Self::G711(Law::A),
        Self::G722,
        Self::G7231,
        Self::G729,
        Self::Opus,
    ];

    /// Its name in SDP (RFC 3551 §6, RFC 7587 §7).
    pub fn name(self) -> &'static str {
        match self {
            Self::G711(law) => law.name(),
            Self::G722 => "G722",
            Self::G7231 => "G723",
            Self::G729 => "G729",
            Self::Opus => "opus",
        }
    }

    /// The encoding of this name, without regard to case.
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |encoding: &Self| encoding.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named)
    }

    /// The feature that a build needs for it; `None`: every build has it.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::G711(_) => None,
            Self::G722 => Some("g722"),
            Self::G7231 => Some("g7231"),
            Self::G729 => Some("g729"),
            Self::Opus => Some("opus"),
        }
    }

    /// Whether this build has it.
    pub fn is_built(self) -> bool {
        match self {
            Self::G711(_) => true,
            Self::G722 => cfg!(feature = "g722"),
            Self::G7231 => cfg!(feature = "g7231"),
            Self::G729 => cfg!(feature = "g729"),
            Self::Opus => cfg!(feature = "opus"),
        }
    }

    /// Payload type: the static one (RFC 3551 §6), or one that this program
    /// offers.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::G711(law) => law.payload_type(),
            Self::G722 => 9,
            Self::G7231 => 4,
            Self::G729 => 18,
            Self::Opus => 96,
        }
    }

    /// Clock of its RTP timestamps, Hz (G.722: RFC 3551 §4.5.2; Opus: RFC 7587
    /// §4.1).
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            _ => SAMPLE_RATE,
        }
    }

    /// Samples (at 8 kHz) of the shortest payload; every payload holds a
    /// multiple. G.722 and G.711 have no frames of their own, so that 10 ms are
    /// taken.
    pub fn frame(self) -> usize {
        match self {
            Self::G711(_) | Self::G722 | Self::G729 => 80,
            Self::G7231 => 240,
            Self::Opus => 160,
        }
    }

    /// As SDP has it.
    pub fn codec(self) -> Codec {
        Codec {
            payload_type: self.payload_type(),
            name: self.name().to_owned(),
            clock_rate: self.clock_rate(),
            channels: (self == Self::Opus).then_some(2),
            fmtp: None,
        }
    }

    /// A fresh encoder.
    ///
    /// # Errors
    ///
    /// The library does not give one, or this build has it not.
    pub fn encoder(self) -> Result<Box<dyn Encoder>, CodecError> {
        match self {
            Self::G711(law) => Ok(Box::new(law)),
            #[cfg(feature = "g722")]
            Self::G722 => Ok(Box::new(ffmpeg::G722::new(ffmpeg::Way::Encode)?)),
            #[cfg(feature = "g7231")]
            Self::G7231 => Ok(Box::new(ffmpeg::G7231::new(ffmpeg::Way::Encode)?)),
            #[cfg(feature = "g729")]
            Self::G729 => Ok(Box::new(g729::G729Encoder::new()?)),
            #[cfg(feature = "opus")]
            Self::Opus => Ok(Box::new(opus::OpusEncoder::new()?)),
            #[allow(
                unreachable_patterns,
                reason = "a build with all features has none left"
            )]
            _ => Err(NOT_BUILT),
        }
    }

    /// A fresh decoder.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder`].
    pub fn decoder(self) -> Result<Box<dyn Decoder>, CodecError> {
        match self {
            Self::G711(law) => Ok(Box::new(law)),
            #[cfg(feature = "g722")]
            Self::G722 => Ok(Box::new(ffmpeg::G722::new(ffmpeg::Way::Decode)?)),
            #[cfg(feature = "g7231")]
            Self::G7231 => Ok(Box::new(ffmpeg::G7231::new(ffmpeg::Way::Decode)?)),
            #[cfg(feature = "g729")]
            Self::G729 => Ok(Box::new(g729::G729Decoder::new()?)),
            #[cfg(feature = "opus")]
            Self::Opus => Ok(Box::new(opus::OpusDecoder::new()?)),
            #[allow(
                unreachable_patterns,
                reason = "a build with all features has none left"
            )]
            _ => Err(NOT_BUILT),
        }
    }
}

/// This build has not the encoding; the configuration has said so before.
#[allow(dead_code, reason = "a build with all features has none left")]
const NOT_BUILT: CodecError = CodecError(0);

impl Encoder for Law {
    fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, CodecError> {
        Ok(samples
            .iter()
            .map(|&sample| Law::encode(*self, sample))
            .collect())
    }
}

impl Decoder for Law {
    fn decode(&mut self, payload: &[u8]) -> Result<Vec<i16>, CodecError> {
        Ok(payload
            .iter()
            .map(|&code| Law::decode(*self, code))
            .collect())
    }
}
