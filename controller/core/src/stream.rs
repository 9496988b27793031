//! Byte streams of connections, cut into messages.
//!
//! In: bytes as they come, in segments of any length. Out: [`Part`]s, which put
//! together again are the stream: messages for the engine, and bytes that are left
//! alone. Where a message ends is its protocol's [`Framer`] to say.
//!
//! **Never harm a call.** A message that is too large goes on as it is. A stream
//! that cannot be divided any more goes on as it is to its end.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;

/// What a message may have at most to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message.
    pub message: usize,
    /// Header fields of a SIP message.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 65_536,
            headers: 256,
        }
    }
}

/// What stands at the front of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Front<'a> {
    /// A message: so many bytes.
    Message {
        /// Bytes that it, or the end of it, takes in the stream.
        length: usize,
        /// The message, without what only frames it.
        message: Cow<'a, [u8]>,
    },
    /// So many bytes of no message, or of one that is left alone.
    Untouched {
        /// How many; at least one.
        length: usize,
        /// What goes on: these bytes; none while the framer keeps them (see
        /// [`Framer::kept`]); with them, those that it has kept so far.
        bytes: Cow<'a, [u8]>,
        /// Why, where it begins a message that is left alone.
        why: Option<&'static str>,
    },
    /// Not enough to say.
    Incomplete,
}

impl<'a> Front<'a> {
    /// A message that takes the first `length` bytes of `front`, and is these of them.
    pub fn message(front: &'a [u8], length: usize, message: Range<usize>) -> Self {
        Self::Message {
            length,
            message: Cow::Borrowed(front.get(message).unwrap_or_default()),
        }
    }

    /// The first `length` bytes of `front`, which go on as they are.
    pub fn untouched(front: &'a [u8], length: usize, why: Option<&'static str>) -> Self {
        Self::Untouched {
            length,
            bytes: Cow::Borrowed(front.get(..length).unwrap_or(front)),
            why,
        }
    }
}

/// A stream cannot be divided: what is wrong, in words that do not vary with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unframed(pub &'static str);

/// A protocol's way to put messages into a stream.
pub trait Framer: Debug + Send {
    /// Looks at the front of a stream. What it says stands there is taken away
    /// before it is asked again; until then the front only grows.
    ///
    /// # Errors
    ///
    /// The stream cannot be divided, from its present front on.
    fn front<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed>;

    /// What the framer has taken of a message and not given out: it goes on as it is
    /// where the stream ends, or cannot be divided, before the message does.
    fn kept(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether the front is amid a message that is left alone: nothing else can go
    /// the same way before its end.
    fn is_amid(&self) -> bool {
        false
    }

    /// A message as it stands in a stream.
    fn wrap(&self, message: Vec<u8>) -> Vec<u8> {
        message
    }
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A message.
    Message(Vec<u8>),
    /// Bytes that go on as they are.
    Untouched {
        /// The bytes.
        bytes: Vec<u8>,
        /// Why, where a message that is left alone, or all the rest, begins here.
        why: Option<&'static str>,
    },
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Stream {
    framer: Option<Box<dyn Framer>>,
    /// All that comes is left alone.
    untouched: bool,
    buffer: Vec<u8>,
    /// Where the front is in the buffer.
    start: usize,
}

impl Stream {
    /// A stream whose messages `framer` finds; without one, everything that comes
    /// is left alone.
    pub fn new(framer: Option<Box<dyn Framer>>) -> Self {
        Self {
            untouched: framer.is_none(),
            framer,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait for more.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether everything is left alone from here on.
    pub fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// Whether what has come ends amid a message that is left alone: nothing else
    /// can go the same way before the rest of it.
    pub fn is_amid(&self) -> bool {
        !self.untouched && self.framer.as_ref().is_some_and(|framer| framer.is_amid())
    }

    /// The next part, if it is there.
    pub fn next_part(&mut self) -> Option<Part> {
        loop {
            let front = self.buffer.get(self.start..).unwrap_or_default();
            let Some(framer) = self.framer.as_mut().filter(|_| !self.untouched) else {
                return self.rest(None);
            };
            match framer.front(front) {
                Ok(Front::Incomplete) => return None,
                Ok(Front::Message { length, message }) => {
                    let part = message.into_owned();
                    self.start += length.min(front.len());
                    return Some(Part::Message(part));
                }
                Ok(Front::Untouched { length, bytes, why }) => {
                    let bytes = bytes.into_owned();
                    self.start += length.min(front.len());
                    if !bytes.is_empty() {
                        return Some(Part::Untouched { bytes, why });
                    }
                }
                Err(Unframed(why)) => {
                    self.untouched = true;
                    return self.rest(Some(why));
                }
            }
        }
    }

    /// The stream ends here: what still waited goes on as it is.
    pub fn end(&mut self) -> Option<Part> {
        self.untouched = true;
        self.rest(None)
    }

    fn rest(&mut self, why: Option<&'static str>) -> Option<Part> {
        let kept = self.framer.as_mut().map(|framer| framer.kept());
        let mut bytes = kept.unwrap_or_default();
        bytes.extend(self.buffer.drain(..).skip(self.start));
        self.start = 0;
        (!bytes.is_empty()).then_some(Part::Untouched { bytes, why })
    }

    /// A message as it stands in the stream the other way.
    pub fn wrap(&self, message: Vec<u8>) -> Vec<u8> {
        match &self.framer {
            Some(framer) => framer.wrap(message),
            None => message,
        }
    }
}
