//! BER (X.690), written: definite lengths in their shortest form, as Erlang/OTP and
//! most others write.

use super::ValueForm;
use super::ber::Tag;

/// Elements, one after the other.
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
    value_form: ValueForm,
}

impl Default for Writer {
    fn default() -> Self {
        Self::of_values(ValueForm::Bare)
    }
}

impl Writer {
    /// With this form for the values of session descriptions.
    pub(super) fn of_values(value_form: ValueForm) -> Self {
        Self {
            out: Vec::new(),
            value_form,
        }
    }

    /// The form for the values of session descriptions.
    pub(super) fn value_form(&self) -> ValueForm {
        self.value_form
    }

    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// A value.
    pub(super) fn primitive(&mut self, tag: Tag, content: &[u8]) {
        tag.write(false, &mut self.out);
        write_length(content.len(), 0, &mut self.out);
        self.out.extend_from_slice(content);
    }

    /// An element of the elements that `inside` writes.
    pub(super) fn constructed(&mut self, tag: Tag, inside: impl FnOnce(&mut Self)) {
        let length_at = self.begin(tag);
        inside(self);
        self.end(length_at);
    }

    /// The same, where `inside` may fail; what was written is of no use then.
    pub(super) fn try_constructed<E>(
        &mut self,
        tag: Tag,
        inside: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let length_at = self.begin(tag);
        inside(self)?;
        self.end(length_at);
        Ok(())
    }

    /// Returns where the length will be.
    fn begin(&mut self, tag: Tag) -> usize {
        tag.write(true, &mut self.out);
        self.out.push(0);
        self.out.len() - 1
    }

    fn end(&mut self, length_at: usize) {
        set_length(&mut self.out, length_at, 1, 0);
    }

    /// Elements that are BER already.
    pub(super) fn raw(&mut self, elements: &[u8]) {
        self.out.extend_from_slice(elements);
    }

    /// INTEGER or ENUMERATED.
    pub(super) fn unsigned(&mut self, tag: Tag, value: impl Into<u32>) {
        self.primitive(tag, &unsigned_octets(value.into()));
    }

    /// BOOLEAN.
    pub(super) fn boolean(&mut self, tag: Tag, value: bool) {
        self.primitive(tag, &[if value { 0xff } else { 0 }]);
    }

    /// NULL, if `there`.
    pub(super) fn flag(&mut self, tag: Tag, there: bool) {
        if there {
            self.primitive(tag, &[]);
        }
    }

    /// BIT STRING of named bits: trailing zeros are left out (X.680 §22.7).
    pub(super) fn bits(&mut self, tag: Tag, bits: u32) {
        let count = (u32::BITS - bits.leading_zeros()) as usize;
        let mut octets = vec![0u8; 1 + count.div_ceil(8)];
        for bit in (0..count).filter(|bit| bits & (1 << bit) != 0) {
            if let Some(octet) = octets.get_mut(1 + bit / 8) {
                *octet |= 0x80 >> (bit % 8);
            }
        }
        if let Some(unused) = octets.first_mut() {
            *unused = (count.div_ceil(8) * 8 - count) as u8;
        }
        self.primitive(tag, &octets);
    }
}

impl Tag {
    /// Identifier octets.
    fn write(self, constructed: bool, out: &mut Vec<u8>) {
        let (class, number) = self.parts();
        let first = class << 6 | if constructed { 0x20 } else { 0 };
        if number < 0x1f {
            out.push(first | number as u8);
            return;
        }
        out.push(first | 0x1f);
        let groups = (u32::BITS - number.leading_zeros()).div_ceil(7);
        for group in (0..groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            out.push(((number >> (7 * group)) & 0x7f) as u8 | more);
        }
    }
}

/// Contents of an INTEGER that is not negative (X.690 §8.3).
pub(super) fn unsigned_octets(value: u32) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let zeros = octets.iter().take(3).take_while(|&&octet| octet == 0);
    let octets = octets.get(zeros.count()..).unwrap_or_default();
    let mut out = Vec::with_capacity(5);
    // A first bit would make it negative.
    if octets.first().is_some_and(|first| first & 0x80 != 0) {
        out.push(0);
    }
    out.extend_from_slice(octets);
    out
}

/// Gives what is in `out` after the `reserved` octets at `at` its length there, in the
/// shortest form of at least `octets` octets.
pub(super) fn set_length(out: &mut Vec<u8>, at: usize, reserved: usize, octets: usize) {
    let length = out.len() - at - reserved;
    let mut form = Vec::new();
    match out.get_mut(at..at + reserved) {
        Some([octet]) if length < 0x80 => *octet = length as u8,
        Some(place) => {
            write_length(length, octets, &mut form);
            if form.len() == place.len() {
                place.copy_from_slice(&form);
            } else {
                out.splice(at..at + reserved, form);
            }
        }
        None => {}
    }
}

/// Length octets: the shortest form that has at least `octets` of them.
pub(super) fn write_length(length: usize, octets: usize, out: &mut Vec<u8>) {
    if length < 0x80 && octets <= 1 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let needed = bytes.len() - bytes.iter().take_while(|&&byte| byte == 0).count();
    // As many octets as it had, of which the first says how many follow.
    let count = needed.max(octets.saturating_sub(1)).max(1);
    out.push(0x80 | count as u8);
    for index in (0..count).rev() {
        out.push(if index < bytes.len() {
            (length >> (8 * index)) as u8
        } else {
            0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h248::binary::ber::Reader;

    #[test]
    fn what_is_written_is_read() {
        for value in [0, 1, 127, 128, 255, 256, 65_535, 8_388_608, u32::MAX] {
            let mut writer = Writer::default();
            writer.unsigned(Tag::INTEGER, value);
            let bytes = writer.finish();
            let element = Reader::new(&bytes, "test").next().unwrap().unwrap();
            assert_eq!(element.u32(), Ok(value));
        }
        for bits in [0, 1, 0b11, 0x80, 0x100, 0x3ff] {
            let mut writer = Writer::default();
            writer.bits(Tag::context(0), bits);
            let bytes = writer.finish();
            let element = Reader::new(&bytes, "test").next().unwrap().unwrap();
            assert_eq!(element.bits(), Ok(bits));
        }
        for (number, size) in [(0, 1), (30, 1), (31, 2), (127, 2), (128, 3), (20_000, 4)] {
            for length in [0, 1, 127, 128, 255, 256, 70_000] {
                let mut writer = Writer::default();
                let tag = Tag::context(number);
                writer.constructed(tag, |w| w.raw(&vec![0; length]));
                let bytes = writer.finish();
                let element = Reader::new(&bytes, "test").next().unwrap().unwrap();
                assert_eq!((element.tag, element.content().len()), (tag, length));
                assert_eq!(element.tag.alternative(), Some(number));
                assert_eq!(element.identifier(&bytes).len(), size);
            }
        }
    }

    #[test]
    fn a_length_keeps_the_form_it_had() {
        for (length, octets, expected) in [
            (5, 0, &[5][..]),
            (5, 1, &[5]),
            (5, 2, &[0x81, 5]),
            (5, 4, &[0x83, 0, 0, 5]),
            (300, 1, &[0x82, 1, 44]),
            (300, 3, &[0x82, 1, 44]),
        ] {
            let mut out = Vec::new();
            write_length(length, octets, &mut out);
            assert_eq!(out, expected);
        }
    }
}
