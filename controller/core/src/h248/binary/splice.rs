//! Editing a binary message: elements or their contents are replaced, the lengths of
//! all that enclose them follow, every other octet leaves as it came.
//!
//! An element whose length changes keeps its identifier octets and the form of its
//! length (indefinite, or as many octets as it had where that is enough), so that
//! a message is written anew only where it must be, unknown extensions included.

use std::ops::Range;

use super::ber::{Element, Reader};
use super::writer::set_length;

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// A whole element, or the contents of one.
    pub(super) span: Range<usize>,
    /// What comes in its place.
    pub(super) with: Vec<u8>,
}

/// The message with `edits` done. Edits must not lie in one another; `None` where one
/// of them does, or is not of an element.
pub(super) fn apply(message: &[u8], mut edits: Vec<Edit>) -> Option<Vec<u8>> {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut copy = Copy {
        message,
        edits: &edits,
    };
    let mut out = Vec::with_capacity(message.len() + 256);
    copy.elements(Reader::new(message, "message"), &mut out)?;
    copy.edits.is_empty().then_some(out)
}

struct Copy<'e> {
    message: &'e [u8],
    /// Those that are not in the copy yet.
    edits: &'e [Edit],
}

impl<'e> Copy<'e> {
    /// The next edit, if it is of `span`.
    fn take(&mut self, span: &Range<usize>) -> Option<&'e Edit> {
        let (edit, rest) = self.edits.split_first()?;
        if edit.span != *span {
            return None;
        }
        self.edits = rest;
        Some(edit)
    }

    fn elements(&mut self, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
        while let Some(element) = reader.next().ok()? {
            self.element(&element, out)?;
        }
        Some(())
    }

    fn element(&mut self, element: &Element<'_>, out: &mut Vec<u8>) -> Option<()> {
        if let Some(edit) = self.take(&element.whole()) {
            out.extend_from_slice(&edit.with);
            return Some(());
        }
        let content = element.content();
        let inside = |edit: &Edit| content.start <= edit.span.start && edit.span.end <= content.end;
        if !self.edits.first().is_some_and(inside) {
            out.extend_from_slice(element.bytes(self.message));
            return Some(());
        }
        out.extend_from_slice(element.identifier(self.message));
        let length_at = out.len();
        let reserved = element.length_octets(self.message);
        out.resize(length_at + reserved, 0x80);
        match self.take(&content) {
            Some(edit) => out.extend_from_slice(&edit.with),
            None => self.elements(element.children(element.construct).ok()?, out)?,
        }
        if element.is_indefinite() {
            out.extend_from_slice(&[0, 0]);
        } else {
            set_length(out, length_at, reserved, reserved);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(message: &[u8], edits: &[(Range<usize>, &[u8])]) -> Option<Vec<u8>> {
        let edits = edits.iter().map(|(span, with)| Edit {
            span: span.clone(),
            with: with.to_vec(),
        });
        apply(message, edits.collect())
    }

    // 30 0b: a0 03 (04 01 61), a1 04 (04 00, 05 00)
    const MESSAGE: &[u8] = &[0x30, 11, 0xa0, 3, 4, 1, 0x61, 0xa1, 4, 4, 0, 5, 0];

    #[test]
    fn nothing_changes_without_an_edit() {
        assert_eq!(edited(MESSAGE, &[]).unwrap(), MESSAGE);
    }

    #[test]
    fn contents_are_replaced_and_lengths_follow() {
        assert_eq!(
            edited(MESSAGE, &[(4..7, &[4, 2, 7, 8])]).unwrap(),
            [0x30, 12, 0xa0, 4, 4, 2, 7, 8, 0xa1, 4, 4, 0, 5, 0]
        );
        assert_eq!(
            edited(MESSAGE, &[(6..7, b"xyz")]).unwrap()[..9],
            [0x30, 13, 0xa0, 5, 4, 3, b'x', b'y', b'z']
        );
    }

    #[test]
    fn whole_elements_are_replaced_and_removed() {
        assert_eq!(
            edited(MESSAGE, &[(9..11, b""), (6..7, b""), (11..13, &[1, 1, 0])]).unwrap(),
            [0x30, 9, 0xa0, 2, 4, 0, 0xa1, 3, 1, 1, 0]
        );
        assert_eq!(
            edited(MESSAGE, &[(2..7, b"")]).unwrap(),
            [0x30, 6, 0xa1, 4, 4, 0, 5, 0]
        );
    }

    #[test]
    fn forms_of_lengths_stay() {
        let message = [0x30, 0x80, 0xa0, 0x82, 0, 3, 4, 1, 0x61, 0, 0];
        assert_eq!(
            edited(&message, &[(8..9, b"ab")]).unwrap(),
            [0x30, 0x80, 0xa0, 0x82, 0, 4, 4, 2, b'a', b'b', 0, 0]
        );
        let long = vec![b'z'; 200];
        assert_eq!(
            edited(MESSAGE, &[(6..7, &long)]).unwrap()[..10],
            [0x30, 0x81, 212, 0xa0, 0x81, 203, 4, 0x81, 200, b'z']
        );
    }

    #[test]
    fn an_edit_of_no_element_or_within_another_is_refused() {
        for spans in [
            &[(3, 7)][..],
            &[(90, 91)],
            &[(5, 6)],
            &[(4, 7), (6, 7)],
            &[(2, 7), (2, 7)],
        ] {
            let edits: Vec<_> = spans
                .iter()
                .map(|&(start, end)| (start..end, &b""[..]))
                .collect();
            assert_eq!(edited(MESSAGE, &edits), None, "{spans:?}");
        }
    }
}
