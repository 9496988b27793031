//! A connection of which Sidestep itself is the other end: a thin client's to the
//! registrar, or one that it has made in a party's name ([`super::made`]).
//!
//! In: bytes. Out: messages for the engine, in their order, and once that it is gone;
//! the answers go back by the same connection. A thin client that does not read its
//! answers is not read meanwhile.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use nix::sys::epoll::EpollFlags;
use sidestep_core::engine::{ConnectionId, Datagram, Side, Transport};
use sidestep_core::stream::Part;

use super::super::Taken;
use super::super::tls::Server;
use super::half::Half;
use super::layer::Layer;
use super::pair::Fate;
use crate::sockets;

/// Bytes read before others have their turn.
const BUDGET: usize = 64 * 1024;
/// Two line ends ask whether we are there, one says so (RFC 5626 §3.5.1).
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";
/// The content type of a TLS handshake's records.
const HANDSHAKE: u8 = 22;

/// A connection with one peer.
pub(super) struct Client {
    id: ConnectionId,
    /// The VM's address and the other: those of registrar and thin client, or of the
    /// peer and whom Sidestep stands for.
    pub ends: (SocketAddr, SocketAddr),
    /// Where the peer is.
    side: Side,
    /// Whom the peer speaks to, by the address that the core knows.
    known_as: SocketAddr,
    half: Half,
    /// Nothing has come yet that says whether it is encrypted.
    undecided: bool,
    /// It has said something that is a message.
    has_spoken: bool,
    /// Messages were handed out in this turn.
    handed: bool,
    /// Something has to be done in the next turn, come what may.
    again: bool,
    broken: Option<io::Error>,
}

impl Client {
    /// A thin client's. `ends`: the registrar's address and the thin client's.
    pub fn new(id: ConnectionId, ends: (SocketAddr, SocketAddr), half: Half) -> Self {
        Self {
            id,
            ends,
            side: Side::Net,
            known_as: ends.0,
            half,
            undecided: true,
            has_spoken: false,
            handed: false,
            again: false,
            broken: None,
        }
    }

    /// One that is made toward this side, in the name of whom the core knows by
    /// `known_as`.
    pub fn made(
        id: ConnectionId,
        ends: (SocketAddr, SocketAddr),
        (side, known_as): (Side, SocketAddr),
        half: Half,
    ) -> Self {
        Self {
            side,
            known_as,
            undecided: false,
            ..Self::new(id, ends, half)
        }
    }

    /// Whether a message can go out by it, as it is to.
    pub fn carries(&self, message: &Datagram) -> bool {
        let is_same =
            std::mem::discriminant(&self.transport()) == std::mem::discriminant(&message.transport);
        is_same && message.side == self.side && self.broken.is_none() && !self.half.read_ended
    }

    /// Its socket, and what is to be sent by it.
    pub fn half(&self) -> &Half {
        &self.half
    }

    /// Whether it has said something that is a message.
    pub fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Whether it wants another turn without being asked.
    pub fn wants_turn(&self) -> bool {
        self.again
    }

    /// What it waits for.
    pub fn interest(&self) -> EpollFlags {
        self.half.interest(!self.half.takes())
    }

    /// Reads what has come and writes what waits. What was handed out in the turn
    /// before has been answered, as far as it is answered at once.
    pub fn turn(&mut self, tls: Option<&Server>, into: &mut VecDeque<Taken>) -> Fate {
        self.again = false;
        self.handed = false;
        if let Some(error) = self.broken.take() {
            return Fate::Broken(error);
        }
        let done = self.decide(tls).and_then(|()| self.half.flush());
        let done = done.and_then(|()| self.pull(into));
        if let Err(error) = done {
            self.break_off(error);
        }
        // What the engine makes of the last messages goes first.
        match self.broken.take() {
            None if !self.half.read_ended => Fate::GoesOn,
            broken if self.handed => {
                self.again = true;
                self.broken = broken;
                Fate::GoesOn
            }
            Some(error) => Fate::Broken(error),
            None => Fate::Ended,
        }
    }

    /// One port serves all: what begins with a record of a TLS handshake (RFC 8446 §5.1)
    /// is encrypted, and no message begins so.
    fn decide(&mut self, tls: Option<&Server>) -> io::Result<()> {
        let Some(tls) = tls.filter(|_| self.undecided) else {
            self.undecided = false;
            return Ok(());
        };
        let mut first = [0];
        match self.half.socket.peek(&mut first) {
            Ok(1) if first == [HANDSHAKE] => {
                let accepted = tls.accept(self.ends.0.ip()).map_err(io::Error::other)?;
                self.half.layer = Layer::Tls(Box::new(accepted));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        self.undecided = false;
        Ok(())
    }

    /// Sends a message.
    pub fn send(&mut self, message: Vec<u8>) {
        let message = self.half.inbound.wrap(message);
        self.put(&message);
    }

    /// Closes it as connections are closed.
    pub fn close_in_order(self) {
        sockets::close_in_order(self.half.socket);
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Err(error) = self.half.put(bytes) {
            self.break_off(error);
        }
    }

    fn break_off(&mut self, error: io::Error) {
        self.again = true;
        self.broken.get_or_insert(error);
    }

    fn pull(&mut self, into: &mut VecDeque<Taken>) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let mut read = 0;
        while self.half.takes() && !self.undecided {
            if let Some(part) = self.half.inbound.next_part() {
                self.bring(part, into)?;
            } else if self.half.read_ended {
                return Ok(());
            } else if read >= BUDGET {
                // What TLS has decrypted already wakes nobody.
                self.again = true;
                return Ok(());
            } else {
                match self.half.read(&mut buffer)? {
                    None => return Ok(()),
                    Some([]) => self.half.read_ended = true,
                    Some(bytes) => {
                        read += bytes.len();
                        self.half.inbound.push(bytes);
                    }
                }
            }
        }
        Ok(())
    }

    /// What is no message is nobody's: a line end, or what is too large.
    fn bring(&mut self, part: Part, into: &mut VecDeque<Taken>) -> io::Result<()> {
        match part {
            Part::Message(message) => {
                self.has_spoken = true;
                self.handed = true;
                into.push_back(Taken::Message(self.datagram(message)));
            }
            Part::Untouched { bytes, why: None } => {
                if bytes.starts_with(PING) {
                    self.put(PONG);
                }
            }
            Part::Untouched {
                bytes,
                why: Some(what),
            } => {
                let begin = self.datagram(bytes);
                into.push_back(Taken::Untouched { begin, what });
                if self.half.inbound.is_untouched() {
                    return Err(io::Error::other(what));
                }
            }
        }
        Ok(())
    }

    /// A message, as if it had come to whom Sidestep stands for.
    fn datagram(&self, payload: Vec<u8>) -> Datagram {
        Datagram {
            side: self.side,
            transport: self.transport(),
            src: match self.side {
                Side::Vm => self.ends.0,
                Side::Net => self.ends.1,
            },
            dst: self.known_as,
            payload,
        }
    }

    fn transport(&self) -> Transport {
        match self.half.layer {
            Layer::Tls(_) => Transport::Tls(self.id),
            Layer::Plain | Layer::Awaited => Transport::Tcp(self.id),
        }
    }
}
