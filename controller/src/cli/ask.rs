//! Which daemon is meant, and what it says.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::DaemonArgs;
use super::config_check;
use crate::admin::client::{self, AskError, Connection, Row};
use crate::config::{DEFAULT_PINS, DEFAULT_SOCKET};

/// Where the daemon and its maps are.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Its socket.
    pub socket: PathBuf,
    /// Its pins.
    pub pins: PathBuf,
}

impl Daemon {
    /// The daemon that the options name; a faulty configuration ends the process.
    pub fn of(args: &DaemonArgs) -> Result<Self, ExitCode> {
        let mut daemon = Self {
            socket: DEFAULT_SOCKET.into(),
            pins: DEFAULT_PINS.into(),
        };
        if let Some(file) = &args.config {
            let config = config_check::load_quietly(file)?;
            daemon.socket = config.daemon.socket;
            daemon.pins = config.daemon.pins;
        }
        if let Some(socket) = &args.socket {
            daemon.socket.clone_from(socket);
        }
        Ok(daemon)
    }

    /// A connection to it, for several questions.
    pub fn connect(&self) -> Result<Connection, AskError> {
        Connection::open(&self.socket)
    }

    /// The rows of one of its lists.
    pub fn rows(&self, list: &str) -> Result<Vec<Row>, AskError> {
        client::rows(&self.socket, list)
    }
}
