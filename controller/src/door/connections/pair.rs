//! A connection with Sidestep in its middle: two ends, and what goes from one to
//! the other.
//!
//! Messages go by way of the engine; everything else goes straight from end to end,
//! but never past a message that the engine still has. A half-close goes on when all
//! that came before it has; a reset goes on at once.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use sidestep_core::engine::{ConnectionId, Datagram, Side, Transport};
use sidestep_core::stream::Part;

use super::super::{Taken, Tls};
use super::half::Half;
use super::layer::Layer;
use crate::sockets;

/// Messages that may wait for an end.
const WAITING: usize = 64;

/// Bytes read of an end before others have their turn.
const BUDGET: usize = 64 * 1024;

/// Both ends of a connection.
pub(super) struct Pair {
    id: ConnectionId,
    /// The VM's address and port, and the other's.
    pub ends: (SocketAddr, SocketAddr),
    is_websocket: bool,
    /// It is encrypted between the two, and passes.
    pub is_unread: bool,
    halves: [Half; 2],
    /// Messages for an end that must not stand amid one that is left alone.
    waiting: [Vec<Vec<u8>>; 2],
    /// Messages of this end were handed out in this turn.
    handed: [bool; 2],
    /// Something has to be done in the next turn, come what may.
    again: bool,
    broken: Option<io::Error>,
}

/// What becomes of it.
pub(super) enum Fate {
    /// It goes on.
    GoesOn,
    /// Both sides have ended it.
    Ended,
    /// It is broken; both sides are to know.
    Broken(io::Error),
}

impl Pair {
    /// `ends`: the VM's address and the other's.
    pub fn new(
        id: ConnectionId,
        ends: (SocketAddr, SocketAddr),
        is_websocket: bool,
        halves: [Half; 2],
    ) -> Self {
        Self {
            id,
            ends,
            is_websocket,
            is_unread: false,
            waiting: [Vec::new(), Vec::new()],
            halves,
            handed: [false; 2],
            again: false,
            broken: None,
        }
    }

    /// The end on a side.
    pub fn half(&self, side: Side) -> &Half {
        &self.halves[side as usize]
    }

    /// Whether it wants another turn without being asked.
    pub fn wants_turn(&self) -> bool {
        self.again
    }

    /// Whether a message can still go out by it, as it is to.
    pub fn carries(&self, message: &Datagram) -> bool {
        let is_same =
            std::mem::discriminant(&self.transport()) == std::mem::discriminant(&message.transport);
        is_same && self.broken.is_none() && self.half(message.side).is_open()
    }

    /// Whether the end on this side still says something: one that does not has closed,
    /// as a rule.
    pub fn speaks(&self, side: Side) -> bool {
        !self.half(side).read_ended
    }

    /// What an end waits for.
    pub fn interest(&self, side: Side) -> nix::sys::epoll::EpollFlags {
        let other = &self.halves[1 - side as usize];
        self.half(side).interest(!other.takes())
    }

    /// Reads what has come and writes what waits. What was handed out in the turn
    /// before has come back.
    pub fn turn(&mut self, tls: Option<&Tls>, into: &mut VecDeque<Taken>) -> Fate {
        self.again = false;
        self.handed = [false; 2];
        if let Some(error) = self.broken.take() {
            return Fate::Broken(error);
        }
        // All writing first: what an end has no more room for is not read at the other,
        // and only waiting for room wakes it.
        let mut done = self.halves.iter_mut().try_for_each(Half::flush);
        done = done.and_then(|()| self.ask_on(tls));
        for side in [Side::Vm, Side::Net] {
            done = done.and_then(|()| self.pull(side, into));
        }
        if let Err(error) = done {
            self.break_off(error);
        }
        match self.broken.take() {
            // What the engine makes of the last messages goes first.
            Some(error) if self.handed.contains(&true) => {
                self.again = true;
                self.broken = Some(error);
                Fate::GoesOn
            }
            Some(error) => Fate::Broken(error),
            None if self.halves.iter().all(Half::is_over) => Fate::Ended,
            None => Fate::GoesOn,
        }
    }

    /// Who has connected has said by his handshake whom he asks for: that one is asked.
    fn ask_on(&mut self, tls: Option<&Tls>) -> io::Result<()> {
        let [vm, net] = &mut self.halves;
        let (maker, other, toward, address) = match (&vm.layer, &net.layer) {
            (_, Layer::Awaited) => (vm, net, Side::Net, self.ends.1.ip()),
            (Layer::Awaited, _) => (net, vm, Side::Vm, self.ends.0.ip()),
            _ => return Ok(()),
        };
        let Some(tls) = tls.filter(|_| maker.is_up()) else {
            return Ok(());
        };
        let connection = tls
            .connect(toward, maker.layer.asked_for(), address)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        other.layer = Layer::Tls(Box::new(connection));
        other.flush()
    }

    /// Sends a message out by an end.
    pub fn send(&mut self, side: Side, message: Vec<u8>) {
        if self.halves[1 - side as usize].inbound.is_amid() {
            let waiting = &mut self.waiting[side as usize];
            if waiting.len() < WAITING {
                waiting.push(message);
            }
            return;
        }
        let half = &mut self.halves[side as usize];
        let message = half.inbound.wrap(message);
        if let Err(error) = half.put(&message) {
            self.break_off(error);
        }
    }

    /// Sends what has waited for the end of a message that is left alone.
    fn send_waiting(&mut self, side: Side) {
        if self.waiting[side as usize].is_empty()
            || self.halves[1 - side as usize].inbound.is_amid()
        {
            return;
        }
        for message in std::mem::take(&mut self.waiting[side as usize]) {
            self.send(side, message);
        }
    }

    /// Closes both ends as connections are closed.
    pub fn close_in_order(self) {
        for half in self.halves {
            sockets::close_in_order(half.socket);
        }
    }

    fn break_off(&mut self, error: io::Error) {
        self.again = true;
        self.broken.get_or_insert(error);
    }

    /// Brings on what comes by one end.
    fn pull(&mut self, side: Side, into: &mut VecDeque<Taken>) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let mut read = 0;
        loop {
            let other = &mut self.halves[1 - side as usize];
            if !other.takes() {
                return Ok(());
            }
            let half = &mut self.halves[side as usize];
            if let Some(part) = half.held.take().or_else(|| half.inbound.next_part()) {
                if !self.bring(side, part, into)? {
                    return Ok(());
                }
            } else if half.read_ended {
                return self.pull_end(side);
            } else if read >= BUDGET {
                // What TLS has decrypted already wakes nobody.
                self.again = true;
                return Ok(());
            } else {
                match half.read(&mut buffer)? {
                    None => return Ok(()),
                    Some([]) => half.read_ended = true,
                    Some(bytes) => {
                        read += bytes.len();
                        half.inbound.push(bytes);
                    }
                }
            }
        }
    }

    /// Brings on a part. False: it has to wait.
    fn bring(&mut self, side: Side, part: Part, into: &mut VecDeque<Taken>) -> io::Result<bool> {
        match part {
            Part::Message(message) => {
                self.handed[side as usize] = true;
                into.push_back(Taken::Message(self.datagram(side, message)));
            }
            part if self.handed[side as usize] => {
                self.halves[side as usize].held = Some(part);
                self.again = true;
                return Ok(false);
            }
            Part::Untouched { bytes, why } => {
                self.halves[1 - side as usize].put(&bytes)?;
                self.send_waiting(match side {
                    Side::Vm => Side::Net,
                    Side::Net => Side::Vm,
                });
                if let Some(what) = why {
                    let begin = self.datagram(side, bytes);
                    into.push_back(Taken::Untouched { begin, what });
                }
            }
        }
        Ok(true)
    }

    /// Nothing more comes by one end.
    fn pull_end(&mut self, side: Side) -> io::Result<()> {
        if self.handed[side as usize] {
            self.again = true;
            return Ok(());
        }
        let rest = self.halves[side as usize].inbound.end();
        let other = &mut self.halves[1 - side as usize];
        if let Some(Part::Untouched { bytes, .. }) = rest {
            other.put(&bytes)?;
        }
        if other.is_open() {
            other.end()?;
        }
        Ok(())
    }

    /// A message, with the addresses it has on the wire.
    fn datagram(&self, side: Side, payload: Vec<u8>) -> Datagram {
        let (vm, remote) = self.ends;
        let (src, dst) = match side {
            Side::Vm => (vm, remote),
            Side::Net => (remote, vm),
        };
        Datagram {
            side,
            transport: self.transport(),
            src,
            dst,
            payload,
        }
    }

    fn transport(&self) -> Transport {
        let encrypted = !matches!(self.half(Side::Vm).layer, Layer::Plain);
        match (encrypted, self.is_websocket) {
            (false, false) => Transport::Tcp(self.id),
            (true, false) => Transport::Tls(self.id),
            (false, true) => Transport::Ws(self.id),
            (true, true) => Transport::Wss(self.id),
        }
    }
}
