//! Editing by splice: spans of the original bytes are replaced, all others leave
//! as they came. Both codecs (SDP, SIP) change messages in this way only.

use std::ops::Range;

/// A list of replacements over bytes that stay as they are until
/// [`Splice::apply`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Splice {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Splice {
    /// Replaces `span`; a second replacement of the same, non-empty span takes
    /// the place of the first.
    pub(crate) fn replace(&mut self, span: Range<usize>, with: impl Into<Vec<u8>>) {
        let with = with.into();
        if !span.is_empty()
            && let Some((_, old)) = self.edits.iter_mut().find(|(known, _)| *known == span)
        {
            *old = with;
            return;
        }
        self.edits.push((span, with));
    }

    /// Inserts before the byte at `offset`; several insertions at one place come
    /// out in the order in which they were made.
    pub(crate) fn insert(&mut self, offset: usize, with: impl Into<Vec<u8>>) {
        self.edits.push((offset..offset, with.into()));
    }

    /// Removes `span`.
    pub(crate) fn remove(&mut self, span: Range<usize>) {
        self.replace(span, Vec::new());
    }

    /// The edited bytes. A replacement inside one made further to the left is
    /// dropped, as is one beyond the end: neither can be meant.
    pub(crate) fn apply(mut self, original: &[u8]) -> Vec<u8> {
        // Stable: insertions at one place keep their order, and stand before a
        // replacement that begins there.
        self.edits
            .sort_by_key(|(span, _)| (span.start, !span.is_empty()));
        let mut out = Vec::with_capacity(original.len() + 256);
        let mut done = 0;
        for (span, with) in &self.edits {
            if span.start < done || span.end < span.start {
                continue;
            }
            let Some(kept) = original.get(done..span.start) else {
                continue;
            };
            if span.end > original.len() {
                continue;
            }
            out.extend_from_slice(kept);
            out.extend_from_slice(with);
            done = span.end;
        }
        out.extend_from_slice(original.get(done..).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_inserts_and_removes_in_any_order() {
        let mut splice = Splice::default();
        splice.replace(6..9, "xyz!");
        splice.insert(0, "<");
        splice.remove(3..4);
        splice.insert(6, "1");
        splice.insert(6, "2");
        splice.insert(9, ">");
        assert_eq!(splice.apply(b"abcdefghi"), b"<abcef12xyz!>");
    }

    #[test]
    fn the_last_replacement_of_a_span_stands() {
        let mut splice = Splice::default();
        splice.replace(1..2, "1");
        splice.replace(1..2, "2");
        assert_eq!(splice.apply(b"abc"), b"a2c");
    }

    #[test]
    fn overlaps_and_spans_beyond_the_end_are_dropped() {
        let mut splice = Splice::default();
        splice.replace(0..4, "-");
        splice.replace(2..5, "no");
        splice.replace(5..99, "no");
        splice.insert(77, "no");
        assert_eq!(splice.apply(b"abcdef"), b"-ef");
    }
}
