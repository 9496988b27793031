//! From BER to the model, type by type of H.248.1 Annex A.
//!
//! One function for each type, named after it. What a version does not know is what
//! another's extension: components after those of the module are passed over where
//! they stand, as are alternatives of a descriptor; they stay in the message's bytes,
//! which is what an edit works on. A component out of its order, or one that is
//! missing, is an error, as is a command that is not of the eight: its reply could not
//! be told from others.

mod audit;
mod command;
mod context;
mod event;
mod media;
mod message;
mod name;
mod service_change;
mod value;

use std::borrow::Cow;

use super::ber::{Element, Failure, Reader, Tag};
use crate::h248::model::{Message, Span};

/// A message's octets, all of them.
pub(super) fn message(bytes: &[u8]) -> Result<Message<'_>, Failure> {
    let mut reader = Reader::new(bytes, "MegacoMessage");
    let whole = reader.next()?.filter(|whole| whole.tag == Tag::SEQUENCE);
    let whole = whole.ok_or_else(|| reader.error(0, "not a SEQUENCE"))?;
    let end = whole.whole().end;
    if end != bytes.len() {
        return Err(reader.error(end, "octets after the message"));
    }
    message::megaco_message(&whole)
}

/// Components of a SEQUENCE, in their order.
struct Fields<'a> {
    reader: Reader<'a>,
    /// Where the SEQUENCE begins.
    start: usize,
}

impl<'a> Fields<'a> {
    #[inline(always)]
    fn of(element: &Element<'a>, construct: &'static str) -> Result<Self, Failure> {
        Ok(Self {
            reader: element.children(construct)?,
            start: element.start,
        })
    }

    /// The component `[number]`, if it is the next.
    #[inline(always)]
    fn optional(&mut self, number: u32) -> Result<Option<Element<'a>>, Failure> {
        self.reader.take(Tag::context(number))
    }

    /// The component `[number]`; `missing` says what is wrong without it.
    #[inline(always)]
    fn required(&mut self, number: u32, missing: &'static str) -> Result<Element<'a>, Failure> {
        match self.optional(number)? {
            Some(element) => Ok(element),
            None => Err(self.reader.error(self.start, missing)),
        }
    }

    /// No more components of the `known` ones; extensions may follow.
    #[inline(always)]
    fn end(mut self, known: u32) -> Result<(), Failure> {
        while let Some(element) = self.reader.next()? {
            if let Some(number) = element.tag.alternative()
                && number < known
            {
                return Err(element.error("a component out of its order"));
            }
        }
        Ok(())
    }
}

/// The one element in an explicit tag, as each CHOICE within a SEQUENCE has it
/// (X.680 §31.2.7).
#[inline(always)]
fn chosen<'a>(element: &Element<'a>, construct: &'static str) -> Result<Element<'a>, Failure> {
    let mut reader = element.children(construct)?;
    match (reader.next()?, reader.next()?) {
        (Some(chosen), None) => Ok(chosen),
        (None, _) => Err(element.named(construct).error("no alternative")),
        (_, Some(second)) => Err(second.error("a second alternative")),
    }
}

/// A SEQUENCE OF whose elements have the universal tag `tag`.
fn list<'a, T>(
    element: &Element<'a>,
    construct: &'static str,
    tag: Tag,
    each: impl Fn(&Element<'a>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut reader = element.children(construct)?;
    let mut all = Vec::with_capacity(reader.count());
    while let Some(item) = reader.next()? {
        if item.tag != tag {
            return Err(item.error("an element of another type"));
        }
        all.push(each(&item)?);
    }
    Ok(all)
}

/// A SEQUENCE OF SEQUENCEs.
fn sequences<'a, T>(
    element: &Element<'a>,
    construct: &'static str,
    each: impl Fn(&Element<'a>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    list(element, construct, Tag::SEQUENCE, each)
}

/// IA5String; what is UTF-8 passes.
fn text<'a>(element: &Element<'a>) -> Result<Cow<'a, str>, Failure> {
    match element.octets()? {
        Cow::Borrowed(octets) => std::str::from_utf8(octets).map(Cow::Borrowed).ok(),
        Cow::Owned(octets) => String::from_utf8(octets).map(Cow::Owned).ok(),
    }
    .ok_or_else(|| element.error("a string that is no text"))
}

/// The contents' place.
#[inline]
fn content_span(element: &Element<'_>) -> Span {
    Span {
        start: element.content().start,
        end: element.content().end,
    }
}

/// The whole element's place.
#[inline]
fn whole_span(element: &Element<'_>) -> Span {
    Span {
        start: element.whole().start,
        end: element.whole().end,
    }
}
