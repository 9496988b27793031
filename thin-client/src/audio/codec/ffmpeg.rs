//! G.722 and G.723.1, by FFmpeg's libavcodec; see `ffmpeg.c` for why there is C.

use std::ffi::c_int;
use std::ptr::NonNull;

use super::{CodecError, Decoder, Encoder};

/// Longest payload and longest frame asked for: 60 ms at 16 kHz.
const LONGEST: usize = 960;

#[repr(C)]
struct Raw {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn sidestep_codec_open(g722: c_int, encode: c_int) -> *mut Raw;
    fn sidestep_codec_encode(
        codec: *mut Raw,
        samples: *const i16,
        count: c_int,
        out: *mut u8,
        size: c_int,
    ) -> c_int;
    fn sidestep_codec_decode(
        codec: *mut Raw,
        octets: *const u8,
        length: c_int,
        out: *mut i16,
        size: c_int,
    ) -> c_int;
    fn sidestep_codec_close(codec: *mut Raw);
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Encode,
    Decode,
}

struct Library(NonNull<Raw>);

// SAFETY: all of a codec's state lies behind its pointer, which only this value
// has.
unsafe impl Send for Library {}

impl Library {
    fn open(g722: bool, way: Way) -> Result<Self, CodecError> {
        // SAFETY: numbers only.
        let raw = unsafe { sidestep_codec_open(g722.into(), (way == Way::Encode).into()) };
        NonNull::new(raw).map(Self).ok_or(CodecError(-1))
    }

    /// One frame.
    fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, CodecError> {
        let mut out = vec![0; LONGEST];
        // SAFETY: as many samples are read as `samples` has; at most LONGEST
        // octets are written.
        let length = unsafe {
            sidestep_codec_encode(
                self.0.as_ptr(),
                samples.as_ptr(),
                samples.len() as c_int,
                out.as_mut_ptr(),
                LONGEST as c_int,
            )
        };
        out.truncate(usize::try_from(length).map_err(|_| CodecError(length))?);
        Ok(out)
    }

    /// One frame.
    fn decode(&mut self, octets: &[u8]) -> Result<Vec<i16>, CodecError> {
        let mut out = vec![0; 2 * LONGEST];
        // SAFETY: as many octets are read as `octets` has; at most 2 * LONGEST
        // samples are written.
        let count = unsafe {
            sidestep_codec_decode(
                self.0.as_ptr(),
                octets.as_ptr(),
                octets.len() as c_int,
                out.as_mut_ptr(),
                2 * LONGEST as c_int,
            )
        };
        out.truncate(usize::try_from(count).map_err(|_| CodecError(count))?);
        Ok(out)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: it came from sidestep_codec_open and is used no more.
        unsafe { sidestep_codec_close(self.0.as_ptr()) }
    }
}

/// G.722: 16 kHz inside.
#[cfg(feature = "g722")]
pub(super) struct G722 {
    library: Library,
    rate: super::resample::Resampler,
}

#[cfg(feature = "g722")]
impl G722 {
    pub(super) fn new(way: Way) -> Result<Self, CodecError> {
        Ok(Self {
            library: Library::open(true, way)?,
            rate: super::resample::Resampler::default(),
        })
    }
}

#[cfg(feature = "g722")]
impl Encoder for G722 {
    fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, CodecError> {
        let wide = self.rate.double(samples);
        let mut payload = Vec::with_capacity(samples.len());
        for frame in wide.chunks(160) {
            payload.extend(self.library.encode(frame)?);
        }
        Ok(payload)
    }
}

#[cfg(feature = "g722")]
impl Decoder for G722 {
    fn decode(&mut self, payload: &[u8]) -> Result<Vec<i16>, CodecError> {
        let mut samples = Vec::with_capacity(payload.len());
        for octets in payload.chunks(80) {
            let wide = self.library.decode(octets)?;
            samples.extend(self.rate.halve(&wide));
        }
        Ok(samples)
    }
}

/// G.723.1: frames of 30 ms.
#[cfg(feature = "g7231")]
pub(super) struct G7231(Library);

#[cfg(feature = "g7231")]
impl G7231 {
    pub(super) fn new(way: Way) -> Result<Self, CodecError> {
        Library::open(false, way).map(Self)
    }
}

#[cfg(feature = "g7231")]
impl Encoder for G7231 {
    fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, CodecError> {
        let mut payload = Vec::new();
        for frame in samples.chunks_exact(240) {
            payload.extend(self.0.encode(frame)?);
        }
        Ok(payload)
    }
}

#[cfg(feature = "g7231")]
impl Decoder for G7231 {
    fn decode(&mut self, payload: &[u8]) -> Result<Vec<i16>, CodecError> {
        let mut samples = Vec::new();
        let mut rest = payload;
        while let Some(first) = rest.first() {
            // RFC 3551 §4.5.3: the two lowest bits tell the kind of frame.
            let length = match first & 3 {
                0 => 24,
                1 => 20,
                2 => 4,
                _ => 1,
            };
            let (frame, after) = rest.split_at_checked(length).ok_or(CodecError(-1))?;
            samples.extend(self.0.decode(frame)?);
            rest = after;
        }
        Ok(samples)
    }
}
