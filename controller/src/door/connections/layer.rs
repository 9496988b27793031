//! What lies between a connection's socket and its stream: nothing, or TLS (RFC 8446).

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::Connection;

/// The layer of one end.
pub(super) enum Layer {
    /// None.
    Plain,
    /// TLS, once it is known whom to ask for: who has connected names it first.
    Awaited,
    /// TLS.
    Tls(Box<Connection>),
}

impl Layer {
    /// Whether the stream can flow.
    pub fn is_up(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Awaited => false,
            Self::Tls(tls) => !tls.is_handshaking(),
        }
    }

    /// Whether it needs what comes, whatever becomes of the stream.
    pub fn is_shaking_hands(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.is_handshaking())
    }

    /// Whether it has something of its own to send.
    pub fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.wants_write())
    }

    /// The name that the peer asked for (SNI, RFC 6066 §3), once its hand is shaken.
    pub fn asked_for(&self) -> Option<&str> {
        match self {
            Self::Tls(tls) => match &**tls {
                Connection::Server(server) => server.server_name(),
                Connection::Client(_) => None,
            },
            _ => None,
        }
    }

    /// Shakes hands, and sends what it has to.
    ///
    /// # Errors
    ///
    /// The peer is not who it should be, speaks no TLS, or is gone.
    pub fn progress(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        let Self::Tls(tls) = self else {
            return Ok(());
        };
        while tls.is_handshaking() {
            send(tls, socket)?;
            match tls.read_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => process(tls, socket)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        send(tls, socket)
    }

    /// As [`Read::read`].
    ///
    /// # Errors
    ///
    /// As of a socket; and what comes is not what the peer has sent.
    pub fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Plain => return socket.read(buffer),
            Self::Awaited => return Err(io::ErrorKind::WouldBlock.into()),
            Self::Tls(tls) => tls,
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Many close without saying so: the end is the end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            tls.read_tls(socket)?;
            process(tls, socket)?;
        }
    }

    /// As [`Write::write`].
    ///
    /// # Errors
    ///
    /// As of a socket.
    pub fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain => socket.write(bytes),
            Self::Awaited => Err(io::ErrorKind::WouldBlock.into()),
            Self::Tls(tls) => {
                send(tls, socket)?;
                if tls.wants_write() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let taken = tls.writer().write(bytes)?;
                send(tls, socket)?;
                Ok(taken)
            }
        }
    }

    /// Says that nothing more is sent. False: not yet said.
    ///
    /// # Errors
    ///
    /// As of a socket.
    pub fn end(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        match self {
            Self::Plain | Self::Awaited => Ok(true),
            Self::Tls(tls) => {
                send(tls, socket)?;
                if !tls.wants_write() {
                    tls.send_close_notify();
                    send(tls, socket)?;
                }
                Ok(!tls.wants_write())
            }
        }
    }
}

/// Understands what has come. What is wrong with it is told to the peer.
fn process(tls: &mut Connection, socket: &mut TcpStream) -> io::Result<()> {
    match tls.process_new_packets() {
        Ok(_) => Ok(()),
        Err(error) => {
            // It may be gone.
            let _ = send(tls, socket);
            Err(io::Error::new(io::ErrorKind::InvalidData, error))
        }
    }
}

fn send(tls: &mut Connection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
