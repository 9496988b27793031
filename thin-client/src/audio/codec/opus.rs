//! Opus, by libopus: which takes and gives 8 kHz as well as any other rate.

use std::ffi::c_int;
use std::ptr::NonNull;

use super::{CodecError, Decoder, Encoder};
use crate::audio::SAMPLE_RATE;

/// `OPUS_APPLICATION_VOIP`.
const VOIP: c_int = 2048;
/// Longest packet, octets (RFC 6716 §3.2.1).
const PACKET: usize = 1_275;
/// Longest packet, samples: 120 ms (RFC 6716 §2.1.4).
const SAMPLES: usize = 960;

#[repr(C)]
struct RawEncoder {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawDecoder {
    _opaque: [u8; 0],
}

#[link(name = "opus")]
unsafe extern "C" {
    fn opus_encoder_create(
        rate: i32,
        channels: c_int,
        application: c_int,
        error: *mut c_int,
    ) -> *mut RawEncoder;
    fn opus_encode(
        encoder: *mut RawEncoder,
        samples: *const i16,
        count: c_int,
        packet: *mut u8,
        size: i32,
    ) -> i32;
    fn opus_encoder_destroy(encoder: *mut RawEncoder);
    fn opus_decoder_create(rate: i32, channels: c_int, error: *mut c_int) -> *mut RawDecoder;
    fn opus_decode(
        decoder: *mut RawDecoder,
        packet: *const u8,
        length: i32,
        samples: *mut i16,
        count: c_int,
        correct: c_int,
    ) -> c_int;
    fn opus_decoder_destroy(decoder: *mut RawDecoder);
}

pub(super) struct OpusEncoder(NonNull<RawEncoder>);

// SAFETY: libopus keeps all of an encoder's state behind its pointer, which only
// this value has.
unsafe impl Send for OpusEncoder {}

impl OpusEncoder {
    pub(super) fn new() -> Result<Self, CodecError> {
        let mut error = 0;
        // SAFETY: `error` lives through the call; the rest are numbers.
        let raw = unsafe { opus_encoder_create(SAMPLE_RATE as i32, 1, VOIP, &raw mut error) };
        NonNull::new(raw).map(Self).ok_or(CodecError(error))
    }
}

impl Encoder for OpusEncoder {
    fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, CodecError> {
        let mut packet = vec![0; PACKET];
        // SAFETY: one channel, so as many samples are read as `samples` has; at
        // most as many octets are written as `packet` has.
        let length = unsafe {
            opus_encode(
                self.0.as_ptr(),
                samples.as_ptr(),
                samples.len() as c_int,
                packet.as_mut_ptr(),
                PACKET as i32,
            )
        };
        packet.truncate(usize::try_from(length).map_err(|_| CodecError(length))?);
        Ok(packet)
    }
}

impl Drop for OpusEncoder {
    fn drop(&mut self) {
        // SAFETY: it came from opus_encoder_create and is used no more.
        unsafe { opus_encoder_destroy(self.0.as_ptr()) }
    }
}

pub(super) struct OpusDecoder(NonNull<RawDecoder>);

// SAFETY: as for the encoder.
unsafe impl Send for OpusDecoder {}

impl OpusDecoder {
    pub(super) fn new() -> Result<Self, CodecError> {
        let mut error = 0;
        // SAFETY: `error` lives through the call; the rest are numbers.
        let raw = unsafe { opus_decoder_create(SAMPLE_RATE as i32, 1, &raw mut error) };
        NonNull::new(raw).map(Self).ok_or(CodecError(error))
    }
}

impl Decoder for OpusDecoder {
    fn decode(&mut self, payload: &[u8]) -> Result<Vec<i16>, CodecError> {
        let mut samples = vec![0; SAMPLES];
        // SAFETY: `payload.len()` octets are read; at most SAMPLES samples of one
        // channel are written.
        let count = unsafe {
            opus_decode(
                self.0.as_ptr(),
                payload.as_ptr(),
                payload.len() as i32,
                samples.as_mut_ptr(),
                SAMPLES as c_int,
                0,
            )
        };
        samples.truncate(usize::try_from(count).map_err(|_| CodecError(count))?);
        Ok(samples)
    }
}

impl Drop for OpusDecoder {
    fn drop(&mut self) {
        // SAFETY: it came from opus_decoder_create and is used no more.
        unsafe { opus_decoder_destroy(self.0.as_ptr()) }
    }
}
