//! BER (X.690) as far as H.248.1 Annex A uses it: elements with their places in the
//! message, and the primitive values in them.
//!
//! Every element knows where it stands and what it is part of, so that an error can
//! say so and an edit can replace it and leave the rest. Nothing is copied unless a
//! string came in segments (X.690 §8.7.3). Depth is bounded ([`DEEPEST`]), lengths
//! are held against what encloses them, and no integer is read that does not fit.

use std::borrow::Cow;
use std::ops::Range;

use crate::h248::H248Error;

/// Deepest nesting that is read. A parameter of a signal embedded in an event
/// embedded in an event (H.248.1 §7.1.9) is some 30 deep; from version 3 on the
/// module has a loop (RegulatedEmbeddedDescriptor), and no bound of its own.
pub(super) const DEEPEST: u8 = 48;

/// Elements that a list has room for at first, however many there are.
const ROOM: usize = 16;

/// Class and number of an element (X.690 §8.1.2): the identifier octet without its
/// bit for constructed; where the number is 31 or more, [`HIGH`], the class and 28 bits
/// of number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u32);

const CONTEXT: u32 = 0x80;
const HIGH: u32 = 1 << 31;

impl Tag {
    /// SEQUENCE and SEQUENCE OF.
    pub(super) const SEQUENCE: Self = Self(16);
    /// OCTET STRING.
    pub(super) const OCTETS: Self = Self(4);
    /// INTEGER.
    pub(super) const INTEGER: Self = Self(2);
    /// ENUMERATED.
    pub(super) const ENUMERATED: Self = Self(10);
    /// UTF8String.
    pub(super) const UTF8: Self = Self(12);
    /// IA5String.
    pub(super) const IA5: Self = Self(22);
    /// End of contents (X.690 §8.1.5).
    const END: Self = Self(0);

    /// `[number]`, as AUTOMATIC TAGS gives it.
    pub(super) const fn context(number: u32) -> Self {
        Self::of(CONTEXT, number)
    }

    /// Of this class, its bits in the place that they have in the identifier.
    const fn of(class: u32, number: u32) -> Self {
        if number < 0x1f {
            Self(class | number)
        } else {
            Self(HIGH | class << 22 | number)
        }
    }

    /// Of an identifier of one octet.
    #[inline(always)]
    const fn short(identifier: u8) -> Self {
        Self((identifier & !0x20) as u32)
    }

    /// Class (0 to 3) and number.
    #[inline(always)]
    pub(super) const fn parts(self) -> (u8, u32) {
        if self.0 & HIGH == 0 {
            (self.0 as u8 >> 6, self.0 & 0x1f)
        } else {
            ((self.0 >> 28) as u8 & 3, self.0 & ((1 << 28) - 1))
        }
    }

    /// Its number, if it is `[number]`.
    #[inline(always)]
    pub(super) const fn alternative(self) -> Option<u32> {
        match self.parts() {
            (2, number) => Some(number),
            _ => None,
        }
    }
}

/// Why something cannot be read; in a box, so that what can be read is handed on at no
/// cost.
pub(super) type Failure = Box<H248Error>;

/// Its arguments are plain values: a reader or an element that had to be lent to this
/// would have to be in memory wherever anything can fail, which is everywhere.
#[cold]
#[inline(never)]
fn failure(offset: usize, construct: &'static str, what: &'static str) -> Failure {
    Box::new(H248Error {
        offset,
        construct,
        what,
    })
}

/// One element: identifier, length, contents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    contents: &'a [u8],
    /// Offset of its first octet.
    pub(super) start: usize,
    /// How many octets identifier and length took.
    header: usize,
    /// Its tag.
    pub(super) tag: Tag,
    constructed: bool,
    /// The length was not given: an end-of-contents element follows the contents.
    indefinite: bool,
    depth: u8,
    /// What it is read as, or what it was found in.
    pub(super) construct: &'static str,
}

/// Elements one after the other.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    /// What has not been read.
    rest: &'a [u8],
    /// Offset after its last octet.
    end: usize,
    depth: u8,
    construct: &'static str,
}

impl<'a> Reader<'a> {
    /// Over a whole message.
    pub(super) fn new(message: &'a [u8], construct: &'static str) -> Self {
        Self {
            rest: message,
            end: message.len(),
            depth: DEEPEST,
            construct,
        }
    }

    /// Over the contents at `range`, which hold whole elements.
    pub(super) fn within(message: &'a [u8], range: Range<usize>, construct: &'static str) -> Self {
        let end = range.end.min(message.len());
        Self {
            rest: message.get(range.start..end).unwrap_or_default(),
            end,
            ..Self::new(message, construct)
        }
    }

    /// Offset of what is read next.
    #[inline(always)]
    fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    /// How many elements there are, as far as their lengths tell at a glance: what a
    /// list is to have room for.
    #[inline]
    pub(super) fn count(&self) -> usize {
        let mut count = 0;
        let mut rest = self.rest;
        while let [_, length, after @ ..] = rest {
            count += 1;
            if count == ROOM {
                break;
            }
            match after.get(usize::from(*length)..) {
                Some(next) if *length < 0x80 => rest = next,
                _ => break,
            }
        }
        count
    }

    /// An error about what is at `offset`.
    #[inline(always)]
    pub(super) fn error(&self, offset: usize, what: &'static str) -> Failure {
        failure(offset, self.construct, what)
    }

    fn byte(&self, at: usize) -> Result<u8, Failure> {
        match self.rest.get(at.wrapping_sub(self.at())) {
            Some(&byte) => Ok(byte),
            None => Err(self.error(at, "ends inside an element")),
        }
    }

    /// Identifier octets (X.690 §8.1.2); the offset after them.
    fn identifier(&self, mut at: usize) -> Result<(Tag, bool, usize), Failure> {
        let first = self.byte(at)?;
        at += 1;
        let class = u32::from(first & 0xc0);
        let constructed = first & 0x20 != 0;
        let mut number = u32::from(first & 0x1f);
        if number == 0x1f {
            number = 0;
            loop {
                let byte = self.byte(at)?;
                at += 1;
                if number >> 21 != 0 {
                    return Err(self.error(at - 1, "tag number beyond 28 bits"));
                }
                number = number << 7 | u32::from(byte & 0x7f);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        Ok((Tag::of(class, number), constructed, at))
    }

    /// Length octets (X.690 §8.1.3), `None` for the indefinite form; the offset
    /// after them.
    fn length(&self, at: usize) -> Result<(Option<usize>, usize), Failure> {
        let first = self.byte(at)?;
        match first {
            0..=0x7f => Ok((Some(usize::from(first)), at + 1)),
            0x80 => Ok((None, at + 1)),
            _ => {
                let octets = usize::from(first & 0x7f);
                let mut length = 0usize;
                for index in 0..octets {
                    if length >> 24 != 0 {
                        return Err(self.error(at, "length beyond 32 bits"));
                    }
                    length = length << 8 | usize::from(self.byte(at + 1 + index)?);
                }
                Ok((Some(length), at + 1 + octets))
            }
        }
    }

    /// The next element; `None` at the end.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, Failure> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        match self.short() {
            Some(element) => Ok(Some(element)),
            None => {
                let element = self.clone().next_of_any_form()?;
                let octets = element.whole().len();
                self.rest = self.rest.get(octets..).unwrap_or_default();
                Ok(Some(element))
            }
        }
    }

    /// The next element, if it is as nearly all are: a tag of one octet, a length of
    /// one to three.
    #[inline(always)]
    fn short(&mut self) -> Option<Element<'a>> {
        let (identifier, length, header, after) = match self.rest {
            [identifier, length @ ..=0x7f, after @ ..] => {
                (*identifier, usize::from(*length), 2, after)
            }
            [identifier, 0x81, length, after @ ..] => (*identifier, usize::from(*length), 3, after),
            [identifier, 0x82, high, low, after @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                (*identifier, length, 4, after)
            }
            _ => return None,
        };
        if identifier == 0 || identifier & 0x1f == 0x1f {
            return None;
        }
        let start = self.at();
        let (contents, rest) = after.split_at_checked(length)?;
        self.rest = rest;
        Some(Element {
            contents,
            start,
            header,
            tag: Tag::short(identifier),
            constructed: identifier & 0x20 != 0,
            indefinite: false,
            depth: self.depth,
            construct: self.construct,
        })
    }

    #[cold]
    #[inline(never)]
    fn next_of_any_form(self) -> Result<Element<'a>, Failure> {
        let start = self.at();
        let (tag, constructed, at) = self.identifier(start)?;
        let (length, content) = self.length(at)?;
        if tag == Tag::END {
            return Err(self.error(start, "end of contents that nothing began"));
        }
        let end = match length {
            Some(length) => {
                let end = content.checked_add(length).filter(|&end| end <= self.end);
                end.ok_or_else(|| self.error(start, "longer than what encloses it"))?
            }
            None if !constructed => {
                return Err(self.error(start, "indefinite length of a primitive element"));
            }
            None => self.end_of_contents(content, self.depth)?,
        };
        Ok(Element {
            contents: self
                .rest
                .get(content - start..end - start)
                .unwrap_or_default(),
            start,
            header: content - start,
            tag,
            constructed,
            indefinite: length.is_none(),
            depth: self.depth,
            construct: self.construct,
        })
    }

    /// Where contents of indefinite length that begin at `at` end.
    fn end_of_contents(&self, mut at: usize, depth: u8) -> Result<usize, Failure> {
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| self.error(at, "nested too deep"))?;
        loop {
            let (tag, constructed, after) = self.identifier(at)?;
            let (length, after) = self.length(after)?;
            match length {
                Some(0) if tag == Tag::END && !constructed => return Ok(at),
                Some(length) => {
                    let end = after.checked_add(length).filter(|&end| end <= self.end);
                    at = end.ok_or_else(|| self.error(at, "longer than what encloses it"))?;
                }
                None if constructed => at = self.end_of_contents(after, depth)? + 2,
                None => {
                    return Err(self.error(at, "indefinite length of a primitive element"));
                }
            }
        }
    }

    /// Tag of the next element.
    #[cold]
    #[inline(never)]
    fn tag(self) -> Result<Tag, Failure> {
        let (tag, ..) = self.identifier(self.at())?;
        Ok(tag)
    }

    /// The next element, if it has this tag.
    #[inline(always)]
    pub(super) fn take(&mut self, tag: Tag) -> Result<Option<Element<'a>>, Failure> {
        let Some(&first) = self.rest.first() else {
            return Ok(None);
        };
        if Tag::short(first) == tag || first & 0x1f == 0x1f && self.clone().tag()? == tag {
            self.next()
        } else {
            Ok(None)
        }
    }
}

impl<'a> Element<'a> {
    /// An error about it.
    #[inline(always)]
    pub(super) fn error(&self, what: &'static str) -> Failure {
        failure(self.start, self.construct, what)
    }

    /// The same, read as `construct`.
    #[inline]
    pub(super) fn named(mut self, construct: &'static str) -> Self {
        self.construct = construct;
        self
    }

    /// Where it is, identifier, length and end of contents included.
    #[inline]
    pub(super) fn whole(&self) -> Range<usize> {
        let after = if self.indefinite { 2 } else { 0 };
        self.start..self.content().end + after
    }

    /// Where its contents are.
    #[inline]
    pub(super) fn content(&self) -> Range<usize> {
        let start = self.start + self.header;
        start..start + self.contents.len()
    }

    /// Its octets in the message that it is of, all of them.
    pub(super) fn bytes<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        message.get(self.whole()).unwrap_or_default()
    }

    /// Its contents' octets.
    #[inline]
    pub(super) fn content_bytes(&self) -> &'a [u8] {
        self.contents
    }

    /// Identifier octets, as they came.
    pub(super) fn identifier<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        let octets = self.bytes(message);
        let long = octets.first().is_some_and(|first| first & 0x1f == 0x1f);
        let more = octets.iter().skip(1).take_while(|&&byte| byte & 0x80 != 0);
        let end = if long { more.count() + 2 } else { 1 };
        octets.get(..end).unwrap_or_default()
    }

    /// Whether elements are its contents.
    pub(super) fn is_constructed(&self) -> bool {
        self.constructed
    }

    /// Whether it has the indefinite form.
    pub(super) fn is_indefinite(&self) -> bool {
        self.indefinite
    }

    /// Number of octets that its length took.
    pub(super) fn length_octets(&self, message: &[u8]) -> usize {
        self.header - self.identifier(message).len()
    }

    /// The elements in it, read as parts of `construct`.
    #[inline(always)]
    pub(super) fn children(&self, construct: &'static str) -> Result<Reader<'a>, Failure> {
        if !self.constructed {
            return Err(self.error("a value where elements belong"));
        }
        let depth = self.depth.checked_sub(1);
        Ok(Reader {
            rest: self.contents,
            end: self.content().end,
            depth: depth.ok_or_else(|| self.error("nested too deep"))?,
            construct,
        })
    }

    #[inline]
    fn primitive(&self) -> Result<&'a [u8], Failure> {
        if self.constructed {
            return Err(self.error("elements where a value belongs"));
        }
        Ok(self.content_bytes())
    }

    /// OCTET STRING, IA5String and the like (X.690 §8.7, §8.21).
    #[inline]
    pub(super) fn octets(&self) -> Result<Cow<'a, [u8]>, Failure> {
        if !self.constructed {
            return Ok(Cow::Borrowed(self.content_bytes()));
        }
        self.segments().map(Cow::Owned)
    }

    /// The octets of a string that came in segments (X.690 §8.7.3).
    #[cold]
    fn segments(self) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        let mut segments = self.children(self.construct)?;
        while let Some(segment) = segments.next()? {
            whole.extend_from_slice(&segment.octets()?);
        }
        Ok(whole)
    }

    /// An OCTET STRING of exactly `N` octets.
    #[inline]
    pub(super) fn array<const N: usize>(&self) -> Result<[u8; N], Failure> {
        let octets = self.octets()?;
        <[u8; N]>::try_from(octets.as_ref())
            .map_err(|_| self.error("an octet string of wrong size"))
    }

    /// INTEGER or ENUMERATED of 0 to `largest`.
    #[inline]
    pub(super) fn unsigned(&self, largest: u32) -> Result<u32, Failure> {
        let octets = self.primitive()?;
        let Some(&first) = octets.first() else {
            return Err(self.error("an integer without octets"));
        };
        if first & 0x80 != 0 {
            return Err(self.error("a negative integer"));
        }
        let mut value = 0u32;
        for &octet in octets {
            if value >> 24 != 0 {
                return Err(self.error("an integer out of range"));
            }
            value = value << 8 | u32::from(octet);
        }
        if value > largest {
            return Err(self.error("an integer out of range"));
        }
        Ok(value)
    }

    /// INTEGER of 0 to 65,535.
    #[inline]
    pub(super) fn u16(&self) -> Result<u16, Failure> {
        let value = self.unsigned(u32::from(u16::MAX))?;
        u16::try_from(value).map_err(|_| self.error("an integer out of range"))
    }

    /// INTEGER of 0 to 4,294,967,295.
    #[inline]
    pub(super) fn u32(&self) -> Result<u32, Failure> {
        self.unsigned(u32::MAX)
    }

    /// INTEGER or ENUMERATED of 0 to `largest`, at most 255.
    #[inline]
    pub(super) fn u8(&self, largest: u8) -> Result<u8, Failure> {
        let value = self.unsigned(u32::from(largest))?;
        u8::try_from(value).map_err(|_| self.error("an integer out of range"))
    }

    /// BOOLEAN (X.690 §8.2).
    #[inline]
    pub(super) fn boolean(&self) -> Result<bool, Failure> {
        match self.primitive()? {
            [value] => Ok(*value != 0),
            _ => Err(self.error("a boolean that is not one octet")),
        }
    }

    /// BIT STRING (X.690 §8.6): its first 32 bits, bit 0 being the lowest.
    pub(super) fn bits(&self) -> Result<u32, Failure> {
        let octets = self.primitive()?;
        let (unused, octets) = match octets.split_first() {
            Some((&unused, octets)) if unused < 8 && (unused == 0 || !octets.is_empty()) => {
                (unused, octets)
            }
            _ => return Err(self.error("a bit string without a count of unused bits")),
        };
        let count = octets.len() * 8 - usize::from(unused);
        let mut bits = 0u32;
        for bit in 0..count.min(32) {
            let octet = octets.get(bit / 8).copied().unwrap_or_default();
            if octet & (0x80 >> (bit % 8)) != 0 {
                bits |= 1 << bit;
            }
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(bytes: &[u8]) -> Result<Element<'_>, Failure> {
        Reader::new(bytes, "test").next().map(|e| e.expect("one"))
    }

    #[test]
    fn forms_of_tags_and_lengths() {
        for (bytes, tag, content) in [
            (&[0x30, 0][..], Tag::SEQUENCE, 2..2),
            (&[0x04, 1, 9], Tag::OCTETS, 2..3),
            (&[0x04, 0x81, 1, 9], Tag::OCTETS, 3..4),
            (&[0x04, 0x84, 0, 0, 0, 1, 9], Tag::OCTETS, 6..7),
            (&[0x9f, 0x81, 0x00, 1, 9], Tag::context(128), 4..5),
            (&[0x9f, 0x80, 0x1e, 1, 9], Tag::context(30), 4..5),
            (
                &[0x9f, 0xff, 0xff, 0xff, 0x7f, 0],
                Tag::context((1 << 28) - 1),
                6..6,
            ),
            (&[0x04, 0x82, 0, 1, 9], Tag::OCTETS, 4..5),
            (&[0xa3, 0x80, 0x80, 0, 0, 0], Tag::context(3), 2..4),
            (&[0xa3, 0x80, 0xa0, 0x80, 0, 0, 0, 0], Tag::context(3), 2..6),
        ] {
            let element = only(bytes).unwrap();
            assert_eq!(
                (element.tag, &element.content()),
                (tag, &content),
                "{bytes:02x?}"
            );
            assert_eq!(element.whole(), 0..bytes.len());
            let taken = Reader::new(bytes, "test").take(tag).unwrap().unwrap();
            assert_eq!((taken.tag, taken.content()), (tag, content));
            assert_eq!(taken.tag.alternative(), tag.alternative());
            let other = Reader::new(bytes, "test").take(Tag::context(0)).unwrap();
            assert!(other.is_none());
        }
    }

    #[test]
    fn what_is_refused_and_where() {
        for (bytes, offset, what) in [
            (&[0x30][..], 1, "ends inside an element"),
            (&[0x30, 2, 1], 0, "longer than what encloses it"),
            (&[0x30, 0x85, 1, 0, 0, 0, 0], 1, "length beyond 32 bits"),
            (
                &[0x04, 0x80, 0, 0],
                0,
                "indefinite length of a primitive element",
            ),
            (&[0xa0, 0x80, 0x80, 1], 2, "longer than what encloses it"),
            (&[0xa0, 0x80], 2, "ends inside an element"),
            (&[0x00, 0x00], 0, "end of contents that nothing began"),
            (
                &[0xbf, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
                5,
                "tag number beyond 28 bits",
            ),
        ] {
            let error = only(bytes).unwrap_err();
            assert_eq!((error.offset, error.what), (offset, what), "{bytes:02x?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let mut definite = vec![0x30, 0];
        for _ in 0..DEEPEST {
            let mut outer = vec![0x30, 0x82];
            outer.extend(u16::try_from(definite.len()).unwrap().to_be_bytes());
            outer.extend(&definite);
            definite = outer;
        }
        let mut reader = Reader::new(&definite, "test");
        let mut depth = 0;
        let error = loop {
            let element = reader.next().unwrap().expect("one more");
            match element.children("test") {
                Ok(children) => reader = children,
                Err(error) => break error,
            }
            depth += 1;
        };
        assert_eq!((depth, error.what), (DEEPEST, "nested too deep"));

        let indefinite = [0x30, 0x80].repeat(100_000);
        assert_eq!(only(&indefinite).unwrap_err().what, "nested too deep");
    }

    #[test]
    fn values() {
        assert_eq!(only(&[2, 1, 5]).unwrap().unsigned(5), Ok(5));
        assert_eq!(
            only(&[2, 5, 0, 255, 255, 255, 255]).unwrap().u32(),
            Ok(u32::MAX)
        );
        assert_eq!(
            only(&[2, 1, 6]).unwrap().unsigned(5).unwrap_err().what,
            "an integer out of range"
        );
        assert_eq!(
            only(&[2, 1, 0x80]).unwrap().u32().unwrap_err().what,
            "a negative integer"
        );
        assert_eq!(
            only(&[2, 6, 0, 1, 0, 0, 0, 0])
                .unwrap()
                .u32()
                .unwrap_err()
                .what,
            "an integer out of range"
        );
        assert_eq!(only(&[1, 1, 0xff]).unwrap().boolean(), Ok(true));
        assert_eq!(only(&[3, 2, 5, 0b0110_0000]).unwrap().bits(), Ok(0b110));
        assert_eq!(only(&[3, 1, 0]).unwrap().bits(), Ok(0));
        assert!(only(&[3, 1, 1]).unwrap().bits().is_err());
        assert!(only(&[3, 0]).unwrap().bits().is_err());
        // In segments (X.690 §8.7.3.2).
        let segments = [0x24, 0x80, 4, 1, 7, 4, 2, 8, 9, 0, 0];
        assert_eq!(
            only(&segments).unwrap().octets().unwrap().as_ref(),
            [7, 8, 9]
        );
    }
}
