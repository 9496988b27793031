//! YAML with the line of every value.
//!
//! Scalars stay text: what a field makes of `0123` or `on` is the field's
//! affair, so a password is never read as a number. Anchors, aliases and tags
//! are refused; a configuration does not need them, and an error in an alias
//! has two places.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::fault::Faults;

/// Deeper nesting than any configuration has; bounds the recursion.
const MAX_DEPTH: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Line, from 1.
    pub line: usize,
    /// What it is.
    pub value: Value,
}

/// What a value is, as written.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar, as text.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; keys may repeat here.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Line, from 1.
    pub line: usize,
    /// Its text.
    pub name: String,
}

impl Value {
    /// What it is, in words for an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads one document; `None` when it is not YAML, and `faults` says where.
pub(super) fn parse(text: &[u8], faults: &mut Faults) -> Option<Node> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + text[..error.valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            faults.syntax(line, None, "is not UTF-8; save the file as UTF-8");
            return None;
        }
    };
    let mut reader = Reader {
        parser: Parser::new_from_str(text.trim_start_matches('\u{feff}')),
        faults,
    };
    reader.document()
}

struct Reader<'a, 'f> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    faults: &'f mut Faults,
}

impl<'a> Reader<'a, '_> {
    /// The next event; `None` at the end and after a fault of the YAML.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        match self.parser.next_event()? {
            Ok(event) => Some(event),
            Err(error) => {
                let at = error.marker();
                let what = format!("this is not YAML: {}", error.info());
                self.faults.syntax(at.line(), Some(at.col() + 1), what);
                None
            }
        }
    }

    fn document(&mut self) -> Option<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(_) if root.is_some() => {
                    let what = "a second document; a configuration is one";
                    self.faults.syntax(span.start.line(), None, what);
                    return None;
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                // An empty file is an empty document.
                Event::StreamEnd => {
                    return Some(root.unwrap_or(Node {
                        line: 1,
                        value: Value::Null,
                    }));
                }
                _ => return None,
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Option<Node> {
        let line = span.start.line();
        if depth > MAX_DEPTH {
            self.faults.syntax(line, None, "nested too deeply");
            return None;
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 || tag || matches!(event, Event::Alias(_)) {
            let what = "anchors, aliases and tags are not used here; write the value out";
            self.faults.syntax(line, Some(span.start.col() + 1), what);
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..)
                if matches!(&*text, "" | "~" | "null" | "Null" | "NULL") =>
            {
                Value::Null
            }
            Event::Scalar(text, ..) => Value::Scalar(text.into_owned()),
            Event::Alias(_) => Value::Null,
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Map(self.map(depth)?),
            _ => return None,
        };
        Some(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Option<Vec<(Key, Node)>> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Some(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let mut value = self.node(event, span, depth + 1)?;
            if matches!(value.value, Value::Null) {
                // An absent value has no place of its own.
                value.line = key.line;
            }
            match key.value {
                Value::Scalar(name) => entries.push((
                    Key {
                        line: key.line,
                        name,
                    },
                    value,
                )),
                other => {
                    let what = format!("a key is a word, not {}", other.kind());
                    self.faults.syntax(key.line, None, what);
                }
            }
        }
    }
}
