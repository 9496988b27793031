//! Multipart bodies (RFC 2046 §5.1), as far as the session description in one of
//! their parts has to be found; the parts stay as they are.

use std::ops::Range;

use super::header::{Name, parameter};

/// The span, in `body`, of the only part that describes the session. `None`
/// where `content_type` is not `multipart/mixed`, where no part or several
/// describe one, or where the part is encoded.
pub(super) fn session(content_type: &[u8], body: &[u8]) -> Option<Range<usize>> {
    let kind = content_type.split(|&b| b == b';').next()?.trim_ascii();
    if !kind.eq_ignore_ascii_case(b"multipart/mixed") {
        return None;
    }
    let boundary = unquoted(parameter(content_type, "boundary")??);
    let mut sessions = parts(body, boundary)
        .into_iter()
        .filter_map(|part| session_of_part(body, part));
    let only = sessions.next()?;
    sessions.next().is_none().then_some(only)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// The spans between the delimiter lines. The line end before a delimiter is the
/// delimiter's (RFC 2046 §5.1.1), except to a session description: its last line
/// has one.
fn parts(body: &[u8], boundary: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut begin = None;
    let mut at = 0;
    for line in body.split_inclusive(|&b| b == b'\n') {
        let delimiter = line
            .strip_prefix(b"--")
            .and_then(|rest| rest.strip_prefix(boundary))
            .map(<[u8]>::trim_ascii_end);
        let end = match delimiter {
            Some(b"") => false,
            Some(b"--") => true,
            _ => {
                at += line.len();
                continue;
            }
        };
        if let Some(begin) = begin.replace(at + line.len()) {
            parts.push(begin..at);
        }
        if end {
            return parts;
        }
        at += line.len();
    }
    // Without its last delimiter: cut off, and nobody's to edit.
    Vec::new()
}

/// The content of a part, if it is a session description.
fn session_of_part(body: &[u8], part: Range<usize>) -> Option<Range<usize>> {
    const DISPOSITION: Name = Name::new("Content-Disposition");
    const ENCODING: Name = Name::new("Content-Transfer-Encoding");
    let mut at = part.start;
    let mut is_sdp = false;
    for line in body.get(part.clone())?.split_inclusive(|&b| b == b'\n') {
        at += line.len();
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return is_sdp.then_some(at..part.end);
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        let (name, value) = line.split_at_checked(colon)?;
        let value = value.get(1..)?.split(|&b| b == b';').next()?.trim_ascii();
        let is = |what: &[u8]| value.eq_ignore_ascii_case(what);
        if Name::CONTENT_TYPE.matches(name) {
            is_sdp = is(b"application/sdp");
        } else if DISPOSITION.matches(name) && !is(b"session")
            || ENCODING.matches(name) && !(is(b"binary") || is(b"8bit") || is(b"7bit"))
        {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is one, and what it is.
    fn found<'a>(content_type: &str, body: &'a str) -> Option<&'a str> {
        session(content_type.as_bytes(), body.as_bytes()).map(|span| &body[span])
    }

    #[test]
    fn the_part_that_describes_the_session() {
        let mixed = "multipart/mixed; boundary=\"a b\"";
        let two = "--a b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--a b\r\n\
                   Content-Type: application/ISUP\r\n\r\n\u{1}\r\n--a b--\r\n";
        let table = [
            (mixed, two, Some("v=0\r\n")),
            ("multipart/alternative; boundary=\"a b\"", two, None),
            ("multipart/mixed", two, None),
            ("multipart/mixed; boundary=other", two, None),
            (
                mixed,
                "--a b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n",
                None,
            ),
            (
                mixed,
                "--a b\r\nc: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=0\r\n--a b--",
                None,
            ),
            (
                mixed,
                "--a b\r\nc: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--a b--",
                None,
            ),
            (
                mixed,
                "--a b\nc: application/sdp;x=y\nContent-Disposition: session;handling=required\n\nv=0\n--a b--",
                Some("v=0\n"),
            ),
            (
                mixed,
                "--a b\nc: application/sdp\n\nv=0\n--a b\nc: application/sdp\n\nv=0\n--a b--",
                None,
            ),
            (mixed, "", None),
        ];
        for (content_type, body, expected) in table {
            assert_eq!(found(content_type, body), expected, "{body}");
        }
    }
}
