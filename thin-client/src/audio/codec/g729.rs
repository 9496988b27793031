//! G.729, by bcg729. **GPL-3 or later**: so is a program that is built with it.

use std::ptr::NonNull;

use super::{CodecError, Decoder, Encoder};

/// Samples of a frame.
const FRAME: usize = 80;
/// Octets of a frame of speech.
const SPEECH: usize = 10;
/// Octets of a frame of comfort noise (Annex B), the last of its packet.
const NOISE: usize = 2;

#[repr(C)]
struct RawEncoder {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawDecoder {
    _opaque: [u8; 0],
}

#[link(name = "bcg729")]
unsafe extern "C" {
    fn initBcg729EncoderChannel(vad: u8) -> *mut RawEncoder;
    fn bcg729Encoder(encoder: *mut RawEncoder, samples: *const i16, bits: *mut u8, length: *mut u8);
    fn closeBcg729EncoderChannel(encoder: *mut RawEncoder);
    fn initBcg729DecoderChannel() -> *mut RawDecoder;
    fn bcg729Decoder(
        decoder: *mut RawDecoder,
        bits: *const u8,
        length: u8,
        erased: u8,
        noise: u8,
        rfc3389: u8,
        samples: *mut i16,
    );
    fn closeBcg729DecoderChannel(decoder: *mut RawDecoder);
}

pub(super) struct G729Encoder(NonNull<RawEncoder>);

// SAFETY: bcg729 keeps all of a channel's state behind its pointer, which only
// this value has.
unsafe impl Send for G729Encoder {}

impl G729Encoder {
    pub(super) fn new() -> Result<Self, CodecError> {
        // SAFETY: no conditions.
        let raw = unsafe { initBcg729EncoderChannel(0) };
        NonNull::new(raw).map(Self).ok_or(CodecError(-1))
    }
}

impl Encoder for G729Encoder {
    fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, CodecError> {
        let mut payload = Vec::with_capacity(samples.len() / FRAME * SPEECH);
        for frame in samples.chunks_exact(FRAME) {
            let mut bits = [0; SPEECH];
            let mut length = 0;
            // SAFETY: FRAME samples are read, at most SPEECH octets written.
            unsafe {
                bcg729Encoder(
                    self.0.as_ptr(),
                    frame.as_ptr(),
                    bits.as_mut_ptr(),
                    &raw mut length,
                );
            }
            payload.extend(bits.iter().take(length.into()));
        }
        Ok(payload)
    }
}

impl Drop for G729Encoder {
    fn drop(&mut self) {
        // SAFETY: it came from initBcg729EncoderChannel and is used no more.
        unsafe { closeBcg729EncoderChannel(self.0.as_ptr()) }
    }
}

pub(super) struct G729Decoder(NonNull<RawDecoder>);

// SAFETY: as for the encoder.
unsafe impl Send for G729Decoder {}

impl G729Decoder {
    pub(super) fn new() -> Result<Self, CodecError> {
        // SAFETY: no conditions.
        let raw = unsafe { initBcg729DecoderChannel() };
        NonNull::new(raw).map(Self).ok_or(CodecError(-1))
    }
}

impl Decoder for G729Decoder {
    fn decode(&mut self, payload: &[u8]) -> Result<Vec<i16>, CodecError> {
        let mut samples = Vec::with_capacity(payload.len() / SPEECH * FRAME);
        for frame in payload.chunks(SPEECH) {
            let noise = match frame.len() {
                SPEECH => false,
                NOISE => true,
                _ => return Err(CodecError(-1)),
            };
            let mut signal = [0; FRAME];
            // SAFETY: as many octets are read as `frame` has, FRAME samples
            // written.
            unsafe {
                bcg729Decoder(
                    self.0.as_ptr(),
                    frame.as_ptr(),
                    frame.len() as u8,
                    0,
                    noise.into(),
                    0,
                    signal.as_mut_ptr(),
                );
            }
            samples.extend(signal);
        }
        Ok(samples)
    }
}

impl Drop for G729Decoder {
    fn drop(&mut self) {
        // SAFETY: it came from initBcg729DecoderChannel and is used no more.
        unsafe { closeBcg729DecoderChannel(self.0.as_ptr()) }
    }
}
