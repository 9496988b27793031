//! The other end of the socket: one question, one line of JSON each way.

use std::fmt;
use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// One row, by field name: what a daemon of another version says more, or less,
/// is shown as it is.
pub type Row = Map<String, Value>;

/// A daemon that takes longer than this is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there was no answer, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no daemon answers at {}; start one with `sidestep run --config FILE`, or say where it is \
         with --config FILE or --socket PATH",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket is not for this user.
    #[error("{} is not open to this user; run the command as root", .0.display())]
    Forbidden(PathBuf),
    /// It listens, but does not answer as it should.
    #[error("the daemon at {} did not answer: {what}; see its log", .socket.display())]
    Broken {
        /// Its socket.
        socket: PathBuf,
        /// What happened.
        what: String,
    },
    /// It answered that it cannot.
    #[error("the daemon answered: {0}")]
    Refused(String),
    /// The asker could not do with a row what it wanted.
    #[error(transparent)]
    Row(io::Error),
}

/// A daemon that answers.
pub struct Connection {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Connects to the daemon at `socket`.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or not to this user.
    pub fn open(socket: &Path) -> Result<Self, AskError> {
        let connect = || -> io::Result<UnixStream> {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        Ok(Self {
            socket: socket.to_owned(),
            stream: BufReader::new(connect().map_err(|error| explain(socket, error.kind()))?),
        })
    }

    /// Asks, and has `each` row as it comes: of a long list there is never more than
    /// one row here. What `each` cannot do ends it, as [`AskError::Row`].
    ///
    /// # Errors
    ///
    /// The daemon does not answer, or not with rows.
    pub fn ask(
        &mut self,
        request: &Value,
        each: &mut dyn FnMut(Row) -> io::Result<()>,
    ) -> Result<(), AskError> {
        let sent = self
            .stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes());
        sent.map_err(|error| explain(&self.socket, error.kind()))?;
        read(&mut self.stream, each).map_err(|error| match error {
            Answer::Refused(what) => AskError::Refused(what),
            Answer::Row(error) => AskError::Row(error),
            Answer::Broken(kind) => explain(&self.socket, kind),
            Answer::Odd(what) => broken(&self.socket, what),
        })
    }
}

/// The rows of one of the lists of the daemon at `socket`.
///
/// # Errors
///
/// Nobody answers there, or not with rows.
pub fn rows(socket: &Path, list: &str) -> Result<Vec<Row>, AskError> {
    let mut rows = Vec::new();
    let request = serde_json::json!({ "get": list });
    Connection::open(socket)?.ask(&request, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn explain(socket: &Path, kind: io::ErrorKind) -> AskError {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, WouldBlock};
    match kind {
        NotFound | ConnectionRefused => AskError::NotRunning(socket.to_owned()),
        PermissionDenied => AskError::Forbidden(socket.to_owned()),
        WouldBlock => broken(
            socket,
            format!("nothing came within {} s", PATIENCE.as_secs()),
        ),
        kind => broken(socket, kind.to_string()),
    }
}

fn broken(socket: &Path, what: String) -> AskError {
    AskError::Broken {
        socket: socket.to_owned(),
        what,
    }
}

enum Answer {
    Refused(String),
    Row(io::Error),
    Broken(io::ErrorKind),
    Odd(String),
}

/// `{"ok":[{…},…]}` or `{"error":"…"}`; an object that is alone is one row.
fn read(from: impl io::Read, each: &mut dyn FnMut(Row) -> io::Result<()>) -> Result<(), Answer> {
    let mut refused = None;
    let mut stopped = None;
    let mut answer = serde_json::Deserializer::from_reader(from);
    let outcome = answer.deserialize_map(AnswerVisitor {
        each,
        refused: &mut refused,
        stopped: &mut stopped,
    });
    match (refused, stopped, outcome) {
        (Some(what), ..) => Err(Answer::Refused(what)),
        (_, Some(error), _) => Err(Answer::Row(error)),
        (_, _, Ok(())) => Ok(()),
        (_, _, Err(error)) => Err(match error.io_error_kind() {
            Some(kind) => Answer::Broken(kind),
            None if error.is_eof() => Answer::Odd("it closed the connection".to_owned()),
            None => Answer::Odd(format!("its answer is not as it should be ({error})")),
        }),
    }
}

struct AnswerVisitor<'a> {
    each: &'a mut dyn FnMut(Row) -> io::Result<()>,
    refused: &'a mut Option<String>,
    stopped: &'a mut Option<io::Error>,
}

impl<'de> Visitor<'de> for AnswerVisitor<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("ok or error")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<String>()?.as_deref() {
            Some("ok") => map.next_value_seed(RowsVisitor {
                each: self.each,
                stopped: self.stopped,
            })?,
            Some("error") => *self.refused = Some(map.next_value()?),
            _ => return Err(A::Error::custom("it has neither ok nor error")),
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

struct RowsVisitor<'a> {
    each: &'a mut dyn FnMut(Row) -> io::Result<()>,
    stopped: &'a mut Option<io::Error>,
}

impl RowsVisitor<'_> {
    fn row<E: Error>(&mut self, row: Row) -> Result<(), E> {
        (self.each)(row).map_err(|error| {
            *self.stopped = Some(error);
            E::custom("stopped")
        })
    }
}

impl<'de> DeserializeSeed<'de> for RowsVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowsVisitor<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element()? {
            self.row(row)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        self.row(Row::deserialize(MapAccessDeserializer::new(map))?)
    }
}

/// An array of objects; a lone object is one row.
pub fn objects(value: Value) -> Result<Vec<Row>, String> {
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    items
        .into_iter()
        .map(|item| match item {
            Value::Object(row) => Ok(row),
            other => Err(format!("a row is no object: {other}")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_rows_or_a_reason() {
        let parse = |answer: &str| {
            let mut rows = 0;
            let outcome = read(answer.as_bytes(), &mut |_| {
                rows += 1;
                Ok(())
            });
            outcome.map(|()| rows)
        };
        for (answer, rows) in [
            ("{\"ok\":[{\"id\":1},{\"id\":2}]}\n", 2),
            ("{\"ok\":{\"pid\":1}}\n", 1),
            ("{\"ok\":[]}\n", 0),
        ] {
            assert_eq!(parse(answer).ok(), Some(rows), "{answer}");
        }
        assert!(matches!(parse("{\"error\":\"no\"}"), Err(Answer::Refused(what)) if what == "no"));
        for odd in ["", "{", "{}", "{\"ok\":[1]}", "{\"ok\":[{}", "flows"] {
            assert!(matches!(parse(odd), Err(Answer::Odd(_))), "{odd}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_used_ends_it() {
        let answer = b"{\"ok\":[{\"id\":1},{\"id\":2}]}\n";
        let outcome = read(&answer[..], &mut |_| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(
            matches!(outcome, Err(Answer::Row(error)) if error.kind() == io::ErrorKind::BrokenPipe)
        );
    }
}
