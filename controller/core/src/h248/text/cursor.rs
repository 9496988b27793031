//! A place in a text message, and the smallest things that can stand there.

use memchr::memchr;

use super::token::Token;
use crate::digits::number;
use crate::h248::H248Error;
use crate::h248::model::{Octets, Span};

/// How deep constructs may be nested in one another: embedded events, parts of an
/// audit.
const DEPTH: u8 = 16;

/// What lists of large things have room for at first, so that they are nearly always
/// allocated once, and never of a size that is slow to get.
pub(super) const FEW: usize = 2;
/// The same for lists of small things.
pub(super) const SEVERAL: usize = 4;

/// What was read, or why it cannot be; that in a box, so that what can be read is handed
/// on at no cost.
pub(super) type Read<T> = Result<T, Box<H248Error>>;

/// Reads from the left to the right, once.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The same, where all of it is text.
    text: Option<&'a str>,
    at: usize,
    depth: u8,
}

/// Annex B `SafeChar`: what a name, a number or an unquoted value is made of.
static SAFE: [bool; 256] = safe();

const fn safe() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"+-&!_/'?@^`~*$\\()%|.";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether `byte` may stand in an unquoted value.
pub(super) fn is_safe(byte: u8) -> bool {
    SAFE.get(usize::from(byte)).copied().unwrap_or(false)
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            text: std::str::from_utf8(bytes).ok(),
            at: 0,
            depth: 0,
        }
    }

    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[cold]
    pub(super) fn error(&self, construct: &'static str, what: &'static str) -> Box<H248Error> {
        self.error_at(self.at, construct, what)
    }

    #[cold]
    pub(super) fn error_at(
        &self,
        offset: usize,
        construct: &'static str,
        what: &'static str,
    ) -> Box<H248Error> {
        Box::new(H248Error {
            offset,
            construct,
            what,
        })
    }

    /// The next byte.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Annex B `LWSP`: blanks, line ends and comments.
    #[inline(always)]
    pub(super) fn skip(&mut self) {
        if let Some(b'\t' | b'\n' | b'\r' | b' ' | b';') = self.peek() {
            self.skip_some();
        }
    }

    fn skip_some(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b';' => {
                    let rest = self.bytes.get(self.at..).unwrap_or_default();
                    let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    self.at += end.unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// Takes `byte`, with white space before and after it, if it is next.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip();
        if self.peek() != Some(byte) {
            return false;
        }
        self.at += 1;
        self.skip();
        true
    }

    /// Takes `byte`, with white space before and after it.
    #[inline]
    pub(super) fn expect(
        &mut self,
        byte: u8,
        construct: &'static str,
        what: &'static str,
    ) -> Read<()> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.error(construct, what))
        }
    }

    /// One or more `SafeChar`: a token, name, number or value.
    #[inline]
    pub(super) fn word(&mut self, construct: &'static str) -> Read<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&b| !is_safe(b)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error(construct, "a name or token is missing"));
        }
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// A word as text; `SafeChar` is ASCII.
    #[inline]
    pub(super) fn name(&mut self, construct: &'static str) -> Read<&'a str> {
        let at = self.at;
        let word = self.word(construct)?;
        let name = match self.text {
            Some(text) => text.get(at..self.at),
            None => std::str::from_utf8(word).ok(),
        };
        name.ok_or_else(|| self.error_at(at, construct, "not text"))
    }

    /// A token, or an error at it.
    #[inline]
    pub(super) fn token(&mut self, construct: &'static str) -> Read<Token> {
        let at = self.at;
        Token::of(self.word(construct)?)
            .ok_or_else(|| self.error_at(at, construct, "unknown token"))
    }

    /// A decimal number.
    pub(super) fn number<N: TryFrom<u64>>(&mut self, construct: &'static str) -> Read<N> {
        let at = self.at;
        number(self.word(construct)?)
            .ok_or_else(|| self.error_at(at, construct, "a number is missing or too large"))
    }

    /// A decimal number and where it stands.
    pub(super) fn spanned_number(&mut self, construct: &'static str) -> Read<(u32, Span)> {
        let start = self.at;
        let number = self.number(construct)?;
        Ok((number, self.since(start)))
    }

    /// `= token`.
    pub(super) fn equal_token(&mut self, construct: &'static str) -> Read<Token> {
        self.equal(construct)?;
        self.token(construct)
    }

    /// `= number`.
    pub(super) fn equal_number<N: TryFrom<u64>>(&mut self, construct: &'static str) -> Read<N> {
        self.equal(construct)?;
        self.number(construct)
    }

    /// `=`.
    pub(super) fn equal(&mut self, construct: &'static str) -> Read<()> {
        self.expect(b'=', construct, "= is missing")
    }

    /// Annex B `VALUE`: a word or a quoted string, without its quotes.
    pub(super) fn value(&mut self, construct: &'static str) -> Read<Octets<'a>> {
        if self.peek() == Some(b'"') {
            return self.quoted(construct);
        }
        self.word(construct).map(Octets::from)
    }

    /// Annex B `quotedString`, without its quotes.
    pub(super) fn quoted(&mut self, construct: &'static str) -> Read<Octets<'a>> {
        if self.peek() != Some(b'"') {
            return Err(self.error(construct, "a quoted string is missing"));
        }
        self.at += 1;
        self.until(b"\"", construct, "a quoted string does not end")
    }

    /// Everything up to one of `ends`, which is taken too.
    pub(super) fn until(
        &mut self,
        ends: &[u8],
        construct: &'static str,
        what: &'static str,
    ) -> Read<Octets<'a>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|b| ends.contains(b))
            .ok_or_else(|| self.error(construct, what))?;
        self.at += length + 1;
        Ok(Octets::from(rest.get(..length).unwrap_or_default()))
    }

    /// Annex B `octetString`: everything up to a `}` without `\` before it, which
    /// is taken too; and where it stands.
    pub(super) fn octet_string(&mut self, construct: &'static str) -> Read<(Octets<'a>, Span)> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let mut from = 0;
        let length = loop {
            let found = rest
                .get(from..)
                .and_then(|rest| memchr(b'}', rest))
                .map(|at| from + at)
                .ok_or_else(|| self.error(construct, "} is missing"))?;
            if found == 0 || rest.get(found - 1) != Some(&b'\\') {
                break found;
            }
            from = found + 1;
        };
        self.at += length + 1;
        let span = Span {
            start,
            end: start + length,
        };
        Ok((Octets::from(rest.get(..length).unwrap_or_default()), span))
    }

    /// `{ item, item, … }`, perhaps with nothing in it where `empty`; and where
    /// what is between the braces stands.
    pub(super) fn braced(
        &mut self,
        construct: &'static str,
        empty: bool,
        item: impl FnMut(&mut Self) -> Read<()>,
    ) -> Read<Span> {
        self.expect(b'{', construct, "{ is missing")?;
        self.items(b'}', construct, empty, item)
    }

    /// `item, item, …` up to `end`, which is taken too.
    pub(super) fn items(
        &mut self,
        end: u8,
        construct: &'static str,
        empty: bool,
        mut item: impl FnMut(&mut Self) -> Read<()>,
    ) -> Read<Span> {
        if self.depth >= DEPTH {
            return Err(self.error(construct, "nested too deep"));
        }
        self.depth += 1;
        let start = self.at;
        if !(empty && self.peek() == Some(end)) {
            loop {
                item(self)?;
                self.skip();
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
                self.skip();
            }
        }
        self.skip();
        if self.peek() != Some(end) {
            return Err(self.error(construct, "neither , nor the closing bracket"));
        }
        let span = self.since(start);
        self.at += 1;
        self.depth -= 1;
        Ok(span)
    }

    /// From `start` to here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> Span {
        Span {
            start,
            end: self.at,
        }
    }
}
