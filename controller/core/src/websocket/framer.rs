//! The framers of a connection's two ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::frame::{End, Header, Kind, mask, whole};
use super::handshake::Head;
use crate::sip::head_fields;
use crate::sip::identifiers::derive;
use crate::stream::{Framer, Front, Limits, Unframed};

/// A source of masks that nobody can foresee (RFC 6455 §10.3).
#[derive(Debug)]
pub struct Masks {
    key: [u8; 32],
    drawn: AtomicU64,
}

impl Masks {
    /// Of the daemon's seed, which is to be the system's randomness.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            key: derive(seed, "masks"),
            drawn: AtomicU64::new(0),
        }
    }

    fn next(&self) -> [u8; 4] {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(drawn.to_be_bytes());
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        [a, b, c, d]
    }
}

/// Octets of headers that a message's frames may have beyond its own size.
const MOST_OF_HEADERS: usize = 1024;

/// How far the two ends are.
const BEGINS: u8 = 0;
const ASKED: u8 = 1;
const AGREED: u8 = 2;
/// It is none of SIP, or not understood any more: everything passes.
const LEFT_ALONE: u8 = 3;

/// What both ends have to know.
#[derive(Debug)]
struct Shared {
    stage: AtomicU8,
    /// Whether the client's last message, and the server's, was binary.
    binary: [AtomicBool; 2],
    masks: Arc<Masks>,
}

/// Cuts the stream of one end at its frames.
#[derive(Debug)]
pub struct WebSocketFramer {
    end: End,
    limits: Limits,
    shared: Arc<Shared>,
    /// Its handshake is through.
    opened: bool,
    /// Fragments as they came …
    kept: Vec<u8>,
    /// … and what they have carried.
    message: Vec<u8>,
    /// A message has begun: whether it is binary.
    begun: Option<bool>,
    /// Octets still to come of a frame that is left alone.
    skip: usize,
    /// Frames to come of the message that is left alone.
    leaving: bool,
}

impl WebSocketFramer {
    /// Those of a connection: of who made it, and of whom it was made to.
    pub fn pair(limits: Limits, masks: &Arc<Masks>) -> [Self; 2] {
        let shared = Arc::new(Shared {
            stage: AtomicU8::new(BEGINS),
            binary: [AtomicBool::new(false), AtomicBool::new(false)],
            masks: masks.clone(),
        });
        [End::Client, End::Server].map(|end| Self {
            end,
            limits,
            shared: shared.clone(),
            opened: false,
            kept: Vec::new(),
            message: Vec::new(),
            begun: None,
            skip: 0,
            leaving: false,
        })
    }

    fn stage(&self) -> u8 {
        self.shared.stage.load(Ordering::Relaxed)
    }

    fn set_stage(&self, stage: u8) {
        self.shared.stage.store(stage, Ordering::Relaxed);
    }

    fn handshake<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed> {
        let (begin, before, after) = match self.end {
            End::Client => (&b"GET "[..], BEGINS, ASKED),
            End::Server => (&b"HTTP/1.1 "[..], ASKED, AGREED),
        };
        let Some(head) = Head::parse(front, begin)? else {
            return Ok(Front::Incomplete);
        };
        let agreed = match self.end {
            End::Client => head.asks_for_sip(),
            End::Server => head.agrees_to_sip(),
        };
        if !agreed || self.stage() != before {
            return Err(Unframed("no WebSocket of SIP"));
        }
        self.set_stage(after);
        self.opened = true;
        Ok(match self.end {
            End::Client => Front::Untouched {
                length: head.length(),
                bytes: Cow::Owned(head.without_extensions()),
                why: None,
            },
            End::Server => Front::untouched(front, head.length(), None),
        })
    }

    fn frame<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed> {
        if self.stage() != AGREED {
            return Err(Unframed("a WebSocket frame before its handshake"));
        }
        let Some(header) = Header::parse(front, self.end)? else {
            return Ok(Front::Incomplete);
        };
        if header.kind == Kind::Control {
            return Ok(match front.len() < header.frame() {
                true => Front::Incomplete,
                false => Front::untouched(front, header.frame(), None),
            });
        }
        let begins = matches!(header.kind, Kind::Data { .. });
        if begins == (self.leaving || self.begun.is_some()) {
            return Err(Unframed("a WebSocket fragment out of its order"));
        }
        if self.leaving {
            return Ok(self.leave(front, &header, None));
        }
        // Fragments may be empty, and still have to be kept.
        let kept = self.kept.len() + header.frame();
        if self.message.len() + header.payload > self.limits.message
            || kept > 2 * self.limits.message + MOST_OF_HEADERS
        {
            return Ok(self.leave(front, &header, Some("a message over the size limit")));
        }
        let Some(frame) = front.get(..header.frame()) else {
            return Ok(Front::Incomplete);
        };
        if let Kind::Data { binary } = header.kind {
            self.begun = Some(binary);
        }
        self.kept.extend_from_slice(frame);
        let carried = self.message.len();
        self.message
            .extend_from_slice(frame.get(header.length..).unwrap_or_default());
        if let (Some(key), Some(news)) = (header.mask, self.message.get_mut(carried..)) {
            mask(news, key);
        }
        let length = frame.len();
        if !header.last {
            return Ok(Front::Untouched {
                length,
                bytes: Cow::Borrowed(&[]),
                why: None,
            });
        }
        Ok(self.whole_message(length))
    }

    /// The last frame of a message is there.
    fn whole_message<'a>(&mut self, length: usize) -> Front<'a> {
        let (kept, message) = self.take();
        let binary = self.begun.take().unwrap_or_default();
        let why = match head_fields(&message) {
            Some(fields) if fields > self.limits.headers => {
                Some("a message over the limit of headers")
            }
            _ => None,
        };
        // Line ends alone are a keep-alive (RFC 7118 §6).
        if why.is_some() || message.iter().all(|b| matches!(b, b'\r' | b'\n')) {
            return Front::Untouched {
                length,
                bytes: Cow::Owned(kept),
                why,
            };
        }
        self.shared.binary[self.end as usize].store(binary, Ordering::Relaxed);
        Front::Message {
            length,
            message: Cow::Owned(message),
        }
    }

    /// A frame of a message that goes on as it came, with what was kept of it.
    fn leave<'a>(
        &mut self,
        front: &'a [u8],
        header: &Header,
        why: Option<&'static str>,
    ) -> Front<'a> {
        let (mut bytes, _) = self.take();
        self.begun = None;
        self.leaving = !header.last;
        let length = header.frame().min(front.len());
        self.skip = header.frame() - length;
        bytes.extend_from_slice(front.get(..length).unwrap_or(front));
        Front::Untouched {
            length,
            bytes: Cow::Owned(bytes),
            why,
        }
    }

    fn take(&mut self) -> (Vec<u8>, Vec<u8>) {
        let kept = std::mem::take(&mut self.kept);
        (kept, std::mem::take(&mut self.message))
    }
}

impl Framer for WebSocketFramer {
    fn front<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed> {
        if front.is_empty() {
            return Ok(Front::Incomplete);
        }
        if self.skip > 0 {
            let length = self.skip.min(front.len());
            self.skip -= length;
            return Ok(Front::untouched(front, length, None));
        }
        if self.stage() == LEFT_ALONE {
            let (mut bytes, _) = self.take();
            bytes.extend_from_slice(front);
            return Ok(Front::Untouched {
                length: front.len(),
                bytes: Cow::Owned(bytes),
                why: None,
            });
        }
        let found = match self.opened {
            true => self.frame(front),
            false => self.handshake(front),
        };
        if found.is_err() {
            self.set_stage(LEFT_ALONE);
        }
        found
    }

    fn kept(&mut self) -> Vec<u8> {
        self.take().0
    }

    fn is_amid(&self) -> bool {
        self.skip > 0 || self.leaving
    }

    /// As the other end would send it.
    fn wrap(&self, message: Vec<u8>) -> Vec<u8> {
        let key = (self.end == End::Server).then(|| self.shared.masks.next());
        let other = match self.end {
            End::Client => End::Server,
            End::Server => End::Client,
        };
        // Text has to be UTF-8 (RFC 6455 §5.6).
        let binary = self.shared.binary[other as usize].load(Ordering::Relaxed)
            || std::str::from_utf8(&message).is_err();
        whole(message, binary, key)
    }
}
