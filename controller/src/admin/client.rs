//! The other end of the socket: one question, one line of JSON each way.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;

/// One row, by field name: what a daemon of another version says more, or less,
/// is shown as it is.
pub type Row = Map<String, Value>;

/// A daemon that takes longer than this is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there was no answer, and what to do.
#[derive(Debug, Error)]
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
}

/// The rows of one of the lists of the daemon at `socket`.
///
/// # Errors
///
/// Nobody answers there, or not with rows.
pub fn rows(socket: &Path, list: &str) -> Result<Vec<Row>, AskError> {
    let answer = exchange(socket, list).map_err(|error| explain(socket, &error))?;
    parse(&answer).map_err(|error| match error {
        Answer::Refused(what) => AskError::Refused(what),
        Answer::Odd(what) => broken(socket, what),
    })
}

fn exchange(socket: &Path, list: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = serde_json::json!({ "get": list });
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

fn explain(socket: &Path, error: &io::Error) -> AskError {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, WouldBlock};
    match error.kind() {
        NotFound | ConnectionRefused => AskError::NotRunning(socket.to_owned()),
        PermissionDenied => AskError::Forbidden(socket.to_owned()),
        WouldBlock => broken(
            socket,
            format!("nothing came within {} s", PATIENCE.as_secs()),
        ),
        _ => broken(socket, error.to_string()),
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
    Odd(String),
}

/// `{"ok":[{…},…]}` or `{"error":"…"}`.
fn parse(answer: &str) -> Result<Vec<Row>, Answer> {
    if answer.trim().is_empty() {
        return Err(Answer::Odd("it closed the connection".to_owned()));
    }
    let answer: Value = serde_json::from_str(answer)
        .map_err(|error| Answer::Odd(format!("its answer is no JSON ({error})")))?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(Answer::Refused(error.to_owned()));
    }
    match answer.get("ok") {
        Some(value) => objects(value.clone()).map_err(Answer::Odd),
        None => Err(Answer::Odd(
            "its answer has neither ok nor error".to_owned(),
        )),
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
        assert_eq!(
            parse("{\"ok\":[{\"id\":1},{\"id\":2}]}\n")
                .ok()
                .map(|r| r.len()),
            Some(2)
        );
        assert_eq!(
            parse("{\"ok\":{\"pid\":1}}\n").ok().map(|r| r.len()),
            Some(1)
        );
        assert!(matches!(parse("{\"error\":\"no\"}"), Err(Answer::Refused(what)) if what == "no"));
        for odd in ["", "{", "{}", "{\"ok\":[1]}"] {
            assert!(matches!(parse(odd), Err(Answer::Odd(_))), "{odd}");
        }
    }
}
