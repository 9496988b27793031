//! Session descriptions in groups of properties (H.248.1 Annex C.11).
//!
//! Each alternative is a group, each line of it a property whose item is the line's
//! letter and whose value is what follows `=`. Two forms of the value are met: the
//! text itself (Erlang/OTP), and BER of a string that holds the text (others, and
//! tshark). Either is read; what is changed is written in the form that its group
//! has. A value of several lines, and several values of one property, are read as
//! lines too.

use super::ValueForm;
use super::ber::{Element, Failure, Reader, Tag};
use super::splice::Edit;
use super::writer::Writer;
use crate::h248::model::{Description, Octets, Span};

/// Letters of the lines, in the order of their items from 0xb001 (Annex C.11).
const LETTERS: &[u8; 15] = b"vosiuepcbzkatrm";
const FIRST: u16 = 0xb001;

/// The letter of a property that is a line of a session description.
fn letter(item: u16) -> Option<u8> {
    let at = usize::from(item.checked_sub(FIRST)?);
    LETTERS.get(at).copied()
}

/// The name of the property that is a line with this letter.
fn line_name(letter: u8) -> Option<[u8; 4]> {
    let at = LETTERS.iter().position(|&known| known == letter)?;
    let [high, low] = (FIRST + u16::try_from(at).ok()?).to_be_bytes();
    Some([0, 0, high, low])
}

/// The text of a value, and how it stands in its octets.
fn text_of(value: &[u8]) -> (&[u8], ValueForm) {
    string_in(value).unwrap_or((value, ValueForm::Bare))
}

/// The text of a value that is BER of a string, and of nothing else.
fn string_in(value: &[u8]) -> Option<(&[u8], ValueForm)> {
    // None of these octets begins a line of text.
    let form = match value.first()? {
        0x04 => ValueForm::OctetString,
        0x0c => ValueForm::Utf8String,
        0x16 => ValueForm::Ia5String,
        _ => return None,
    };
    let element = Reader::new(value, "Value").next().ok()??;
    (element.whole().end == value.len()).then(|| (element.content_bytes(), form))
}

/// The octets of a value with this text.
fn octets_of(text: &[u8], form: ValueForm) -> Vec<u8> {
    let tag = match form {
        ValueForm::Bare => return text.to_vec(),
        ValueForm::OctetString => Tag::OCTETS,
        ValueForm::Utf8String => Tag::UTF8,
        ValueForm::Ia5String => Tag::IA5,
    };
    let mut writer = Writer::default();
    writer.primitive(tag, text);
    writer.finish()
}

/// Appends the lines of a PropertyParm, if it is one of a session description; the form
/// of its first value.
///
/// # Errors
///
/// Where it is no PropertyParm.
pub(super) fn write_lines(
    parm: &Element<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<ValueForm>, Failure> {
    if let Some((letter, value)) = short_line(parm) {
        let (text, form) = text_of(value);
        write_line_of(letter, text, out);
        return Ok(Some(form));
    }
    let mut fields = parm.children("PropertyParm")?;
    let (Some(name), Some(values)) = (fields.take(Tag::context(0))?, fields.take(Tag::context(1))?)
    else {
        return Ok(None);
    };
    let letter = match name.content_bytes() {
        [0, 0, high, low] => letter(u16::from_be_bytes([*high, *low])),
        _ => None,
    };
    let Some(letter) = letter else {
        return Ok(None);
    };
    let mut form = None;
    let mut values = values.children("Value")?;
    while let Some(value) = values.take(Tag::OCTETS)? {
        let value = value.octets()?;
        let (text, in_form) = text_of(&value);
        form = form.or(Some(in_form));
        write_line_of(letter, text, out);
    }
    if let Some(other) = values.next()? {
        return Err(other.error("an element of another type"));
    }
    // What may follow, `extraInfo` and extensions, is of no consequence here.
    while fields.next()?.is_some() {}
    Ok(Some(form.unwrap_or(ValueForm::Bare)))
}

/// Letter and value of a PropertyParm as nearly all are: a name, one value, nothing
/// else, no length of more than one octet. What is not so takes the long way.
fn short_line<'a>(parm: &Element<'a>) -> Option<(u8, &'a [u8])> {
    let [
        0x80,
        4,
        0,
        0,
        high,
        low,
        0xa1,
        values,
        0x04,
        length,
        value @ ..,
    ] = parm.content_bytes()
    else {
        return None;
    };
    let (values, length) = (usize::from(*values), usize::from(*length));
    let only = parm.is_constructed()
        && length < 0x80
        && length == value.len()
        && values < 0x80
        && values == length + 2;
    only.then_some((letter(u16::from_be_bytes([*high, *low]))?, value))
}

fn write_line_of(letter: u8, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[letter, b'=']);
    out.extend_from_slice(text);
    if !text.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
}

/// One property of a group, as it came.
struct Came<'a> {
    bytes: &'a [u8],
    /// The lines it makes.
    lines: Vec<u8>,
    /// How many; none: it is of another kind.
    count: usize,
    used: bool,
}

impl Came<'_> {
    /// Whether it makes the next of these lines, and nothing in the new description
    /// is it yet.
    fn makes(&self, lines: &[Line<'_>]) -> bool {
        let Some(lines) = lines.get(..self.count) else {
            return false;
        };
        let mut rest = self.lines.as_slice();
        let next = |line: &Line<'_>| {
            let after = rest.strip_prefix(&[line.letter, b'=']);
            let after = after.and_then(|after| after.strip_prefix(line.text));
            let after = after.map(|after| after.strip_prefix(b"\r").unwrap_or(after));
            match after.and_then(|after| after.strip_prefix(b"\n")) {
                Some(after) => rest = after,
                None => return false,
            }
            true
        };
        !self.used && self.count > 0 && lines.iter().all(next) && rest.is_empty()
    }
}

/// The edit that puts these session descriptions in the place of those in the
/// LocalRemoteDescriptor whose contents are at `span`; `None` where one of their lines
/// has no property.
///
/// Properties that make the same lines as before stay as they came, as do those that
/// are no lines.
pub(super) fn replace(message: &[u8], span: Span, sdp: &[u8]) -> Option<Edit> {
    let mut inside = Reader::within(message, span.range(), "LocalRemoteDescriptor");
    let groups = inside.take(Tag::context(0)).ok()??;
    let mut came = Vec::new();
    let mut form = None;
    let mut reader = groups.children("propGrps").ok()?;
    while let Some(group) = reader.next().ok()? {
        let mut all = Vec::new();
        let mut parms = group.children("PropertyGroup").ok()?;
        while let Some(parm) = parms.next().ok()? {
            let mut lines = Vec::new();
            form = form.or(write_lines(&parm, &mut lines).ok()?);
            all.push(Came {
                bytes: parm.bytes(message),
                count: lines.iter().filter(|&&octet| octet == b'\n').count(),
                lines,
                used: false,
            });
        }
        came.push(all);
    }
    let description = Description {
        octets: Octets::from(sdp),
        ..Description::default()
    };
    let mut writer = Writer::default();
    let mut came = came.into_iter();
    for alternative in description.alternatives() {
        let lines = lines_of(alternative).ok()?;
        let group = came.next().unwrap_or_default();
        write_group(&mut writer, &lines, group, form.unwrap_or(ValueForm::Bare));
    }
    Some(Edit {
        span: groups.content(),
        with: writer.finish(),
    })
}

/// A line of a session description.
struct Line<'a> {
    letter: u8,
    name: [u8; 4],
    text: &'a [u8],
}

fn lines_of(sdp: &[u8]) -> Result<Vec<Line<'_>>, &'static str> {
    let mut lines = Vec::new();
    for line in sdp.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line {
            [letter, b'=', text @ ..] => lines.push(Line {
                letter: *letter,
                name: line_name(*letter).ok_or("a line of an unknown letter")?,
                text,
            }),
            _ if line.trim_ascii().is_empty() => {}
            _ => return Err("a line that is no `letter=value`"),
        }
    }
    Ok(lines)
}

/// A group of these lines; `came`: the properties of the group in whose place it
/// comes.
fn write_group(writer: &mut Writer, lines: &[Line<'_>], mut came: Vec<Came<'_>>, form: ValueForm) {
    writer.constructed(Tag::SEQUENCE, |group| {
        let mut rest = lines;
        while let Some(line) = rest.first() {
            let same = came.iter_mut().find(|came| came.makes(rest));
            let count = match same {
                Some(same) => {
                    same.used = true;
                    group.raw(same.bytes);
                    same.count
                }
                None => {
                    write_line(group, line, form);
                    1
                }
            };
            rest = rest.get(count..).unwrap_or_default();
        }
        for other in came.iter().filter(|came| came.count == 0) {
            group.raw(other.bytes);
        }
    });
}

fn write_line(group: &mut Writer, line: &Line<'_>, form: ValueForm) {
    group.constructed(Tag::SEQUENCE, |parm| {
        parm.primitive(Tag::context(0), &line.name);
        parm.constructed(Tag::context(1), |values| {
            values.primitive(Tag::OCTETS, &octets_of(line.text, form));
        });
    });
}

/// The groups of a description of our own; what is no line stands before the lines of
/// the first.
pub(super) fn write(
    writer: &mut Writer,
    description: &Description<'_>,
    properties: &[u8],
    form: ValueForm,
) -> Result<(), &'static str> {
    let mut before = properties;
    let octets = description.unescaped();
    let description = Description {
        octets: Octets(octets),
        ..Description::default()
    };
    for alternative in description.alternatives() {
        let lines = lines_of(alternative)?;
        writer.constructed(Tag::SEQUENCE, |group| {
            group.raw(std::mem::take(&mut before));
            for line in &lines {
                write_line(group, line, form);
            }
        });
    }
    if !before.is_empty() {
        writer.constructed(Tag::SEQUENCE, |group| group.raw(before));
    }
    Ok(())
}
