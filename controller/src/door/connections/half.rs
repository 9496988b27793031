//! One end of a connection: its socket, what came by it, what is to go.

use std::io;
use std::net::{Shutdown, TcpStream};

use nix::sys::epoll::EpollFlags;
use sidestep_core::stream::{Part, Stream};

use super::layer::Layer;

/// What waits for a slow peer, bytes: with so much, nothing more is read of the
/// other end.
pub(super) const HIGH: usize = 256 * 1024;
/// With so much it is given up. Above [`HIGH`] come only messages that the engine
/// makes, or that another connection brought.
const MOST: usize = 1024 * 1024;

/// One end.
pub(super) struct Half {
    pub socket: TcpStream,
    /// Being made.
    connecting: bool,
    /// What encrypts it.
    pub layer: Layer,
    /// What comes, on its way to the other end.
    pub inbound: Stream,
    /// A part that waits until what was handed out before it has come back.
    pub held: Option<Part>,
    outbound: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// Nothing more comes.
    pub read_ended: bool,
    /// Nothing more goes than what waits.
    ending: bool,
    /// Its peer has been told so.
    shut: bool,
}

impl Half {
    pub fn new(socket: TcpStream, connecting: bool, layer: Layer, inbound: Stream) -> Self {
        Self {
            socket,
            connecting,
            layer,
            inbound,
            held: None,
            outbound: Vec::new(),
            written: 0,
            read_ended: false,
            ending: false,
            shut: false,
        }
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.outbound.len() - self.written
    }

    /// Whether what the other end sends is wanted: not while its peer is slower than
    /// that one, nor before it is known whose it is.
    pub fn takes(&self) -> bool {
        self.waiting() < HIGH && self.layer.is_up()
    }

    /// Whether more can be sent by it.
    pub fn is_open(&self) -> bool {
        !self.ending
    }

    /// Nothing comes or goes any more.
    pub fn is_over(&self) -> bool {
        self.read_ended && self.shut
    }

    /// Sends this behind what waits.
    ///
    /// # Errors
    ///
    /// The connection is broken, or its peer takes nothing any more.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if self.waiting() == 0 && !self.connecting && self.layer.is_up() {
            let sent = self.write(rest)?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        if self.waiting() + rest.len() > MOST {
            return Err(io::Error::other("its peer takes nothing any more"));
        }
        self.outbound.extend_from_slice(rest);
        Ok(())
    }

    /// Nothing more will be put.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`].
    pub fn end(&mut self) -> io::Result<()> {
        self.ending = true;
        self.flush()
    }

    /// Writes what waits, as far as there is room.
    ///
    /// # Errors
    ///
    /// The connection is broken, or could not be made.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.connecting {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            match self.socket.peer_addr() {
                Ok(_) => self.connecting = false,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.layer.progress(&mut self.socket)?;
        while self.waiting() > 0 && self.layer.is_up() {
            let outbound = std::mem::take(&mut self.outbound);
            let sent = self.write(outbound.get(self.written..).unwrap_or_default());
            self.outbound = outbound;
            match sent? {
                0 => break,
                sent => self.written += sent,
            }
        }
        if self.waiting() == 0 {
            self.outbound.clear();
            self.outbound.shrink_to(HIGH / 16);
            self.written = 0;
            if self.ending && !self.shut && self.layer.end(&mut self.socket)? {
                self.shut = true;
                self.socket.shutdown(Shutdown::Write)?;
            }
        } else if self.written >= HIGH {
            self.outbound.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// How many bytes there was room for.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.layer.write(&mut self.socket, bytes) {
                Ok(sent) => return Ok(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What has come; `None` when there is nothing at present, nothing when it has
    /// ended.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        if !self.is_up() {
            return Ok(None);
        }
        loop {
            match self.layer.read(&mut self.socket, buffer) {
                Ok(length) => return Ok(Some(buffer.get(..length).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it has shaken hands, where it has to.
    pub fn is_up(&self) -> bool {
        !self.connecting && self.layer.is_up()
    }

    /// What it waits for. `held_up`: the other end takes nothing.
    pub fn interest(&self, held_up: bool) -> EpollFlags {
        let mut interest = EpollFlags::empty();
        let to_read = !self.read_ended && self.is_up() && !held_up && self.held.is_none();
        if to_read || self.layer.is_shaking_hands() {
            interest |= EpollFlags::EPOLLIN;
        }
        let to_write = self.waiting() > 0 && self.layer.is_up();
        if self.connecting || to_write || self.layer.wants_write() {
            interest |= EpollFlags::EPOLLOUT;
        }
        interest
    }
}
