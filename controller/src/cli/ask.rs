//! Asking the daemon over its Unix socket: one line of JSON each way.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::args::DaemonArgs;
use super::config_check;
use super::table::Row;
use crate::config::{DEFAULT_PINS, DEFAULT_SOCKET};

/// A daemon that takes longer than this is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the daemon and its maps are.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Its socket.
    pub socket: PathBuf,
    /// Its pins.
    pub pins: PathBuf,
}

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

impl Daemon {
    /// The daemon that the options name; a faulty configuration ends the process.
    pub fn of(args: &DaemonArgs) -> Result<Self, ExitCode> {
        let mut daemon = Self {
            socket: DEFAULT_SOCKET.into(),
            pins: DEFAULT_PINS.into(),
        };
        if let Some(file) = &args.config {
            let config = config_check::load(file)?;
            daemon.socket = config.daemon.socket;
            daemon.pins = config.daemon.pins;
        }
        if let Some(socket) = &args.socket {
            daemon.socket.clone_from(socket);
        }
        Ok(daemon)
    }

    /// The rows of one of its lists.
    pub fn rows(&self, list: &str) -> Result<Vec<Row>, AskError> {
        let answer = self.exchange(list).map_err(|error| self.explain(&error))?;
        rows(&answer).map_err(|error| match error {
            Answer::Refused(what) => AskError::Refused(what),
            Answer::Odd(what) => self.broken(what),
        })
    }

    fn exchange(&self, list: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = serde_json::json!({ "get": list });
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    }

    fn explain(&self, error: &io::Error) -> AskError {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, WouldBlock};
        match error.kind() {
            NotFound | ConnectionRefused => AskError::NotRunning(self.socket.clone()),
            PermissionDenied => AskError::Forbidden(self.socket.clone()),
            WouldBlock => self.broken(format!("nothing came within {} s", PATIENCE.as_secs())),
            _ => self.broken(error.to_string()),
        }
    }

    fn broken(&self, what: String) -> AskError {
        AskError::Broken {
            socket: self.socket.clone(),
            what,
        }
    }
}

enum Answer {
    Refused(String),
    Odd(String),
}

/// `{"ok":[{…},…]}` or `{"error":"…"}`.
fn rows(answer: &str) -> Result<Vec<Row>, Answer> {
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
            rows("{\"ok\":[{\"id\":1},{\"id\":2}]}\n")
                .ok()
                .map(|r| r.len()),
            Some(2)
        );
        assert_eq!(
            rows("{\"ok\":{\"pid\":1}}\n").ok().map(|r| r.len()),
            Some(1)
        );
        assert!(matches!(rows("{\"error\":\"no\"}"), Err(Answer::Refused(what)) if what == "no"));
        for odd in ["", "{", "{}", "{\"ok\":[1]}"] {
            assert!(matches!(rows(odd), Err(Answer::Odd(_))), "{odd}");
        }
    }
}
