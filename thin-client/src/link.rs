//! What signalling travels by: datagrams, or a connection to the server that is made
//! again whenever it ends.
//!
//! In: messages to send. Out: messages that have come, and whether the connection is
//! there.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use sidestep_core::h248::TpktFramer;
use sidestep_core::sip::SipFramer;
use sidestep_core::stream::{Limits, Part, Stream};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Config, Speaks, Transport};

/// Largest datagram, octets.
const DATAGRAM: usize = 65_535;
/// First and longest wait before the connection is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How long the server may take to read a message.
const SEND: Duration = Duration::from_secs(5);

/// What has happened.
#[derive(Debug)]
pub enum Heard {
    /// A message has come, from this address.
    Message(SocketAddr, Vec<u8>),
    /// The connection is there.
    Connected,
    /// It is gone.
    Disconnected,
}

/// The way of signalling.
#[derive(Debug)]
pub enum Link {
    /// Datagrams.
    Udp(UdpSocket),
    /// A connection.
    Tcp(Box<Connection>),
}

/// A connection to the server.
#[derive(Debug)]
pub struct Connection {
    local: SocketAddr,
    server: SocketAddr,
    state: State,
    /// Wait after the next failure.
    retry: Duration,
    /// H.248, in TPKT; else SIP.
    in_packets: bool,
    inbound: Stream,
}

#[derive(Debug)]
enum State {
    Waiting(Instant),
    Making(JoinHandle<io::Result<TcpStream>>),
    Up(TcpStream),
    /// It broke while something was sent.
    Broken,
}

impl Link {
    /// Binds the socket; a connection is made by [`Self::hear`].
    ///
    /// # Errors
    ///
    /// The address is none of this host's, or taken.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Ok(match config.transport {
            Transport::Udp => Self::Udp(
                UdpSocket::bind(config.bind)
                    .await
                    .with_context(|| format!("bind: {}", config.bind))?,
            ),
            Transport::Tcp => Self::Tcp(Box::new(Connection {
                // The port of the connection before may still be taken.
                local: SocketAddr::new(config.bind.ip(), 0),
                server: config.server,
                state: State::Waiting(Instant::now()),
                retry: RETRY.0,
                in_packets: config.speaks != Speaks::Sip,
                inbound: stream(config.speaks != Speaks::Sip),
            })),
        })
    }

    /// Waits for what happens next. Cancel safe.
    pub async fn hear(&mut self) -> Heard {
        match self {
            Self::Udp(socket) => {
                let mut datagram = vec![0; DATAGRAM];
                loop {
                    match socket.recv_from(&mut datagram).await {
                        Ok((length, from)) => {
                            datagram.truncate(length);
                            return Heard::Message(from, datagram);
                        }
                        // An ICMP error about something sent earlier.
                        Err(error) => tracing::debug!(%error, "signalling socket"),
                    }
                }
            }
            Self::Tcp(connection) => connection.hear().await,
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, to: SocketAddr, message: Vec<u8>) {
        let sent = match self {
            Self::Udp(socket) => socket.send_to(&message, to).await.map(drop),
            Self::Tcp(connection) => connection.send(message).await,
        };
        if let Err(error) = sent {
            tracing::warn!(%to, %error, "not sent");
        }
    }
}

impl Connection {
    async fn hear(&mut self) -> Heard {
        loop {
            match &mut self.state {
                State::Waiting(at) => {
                    sleep_until(*at).await;
                    let made = tokio::spawn(connect(self.local, self.server));
                    self.state = State::Making(made);
                }
                State::Making(made) => match made.await {
                    Ok(Ok(socket)) => {
                        self.inbound = stream(self.in_packets);
                        self.retry = RETRY.0;
                        self.state = State::Up(socket);
                        return Heard::Connected;
                    }
                    failed => {
                        tracing::warn!(server = %self.server, ?failed, "not connected");
                        self.rest();
                    }
                },
                State::Up(socket) => {
                    match self.inbound.next_part() {
                        Some(Part::Message(message)) => {
                            return Heard::Message(self.server, message);
                        }
                        // What is no message is nobody's.
                        Some(Part::Untouched { .. }) => continue,
                        None => {}
                    }
                    let mut bytes = [0; 16 * 1024];
                    let read = match socket.readable().await {
                        Ok(()) => socket.try_read(&mut bytes),
                        Err(error) => Err(error),
                    };
                    match read {
                        Ok(length @ 1..) => {
                            self.inbound.push(bytes.get(..length).unwrap_or_default());
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Ok(0) | Err(_) => self.state = State::Broken,
                    }
                }
                State::Broken => {
                    self.rest();
                    return Heard::Disconnected;
                }
            }
        }
    }

    /// The next try is later, and the one after that later still.
    fn rest(&mut self) {
        self.state = State::Waiting(Instant::now() + self.retry);
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        let State::Up(socket) = &mut self.state else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let message = self.inbound.wrap(message);
        let sent = timeout(SEND, socket.write_all(&message)).await;
        let sent = sent.unwrap_or_else(|late| Err(late.into()));
        if sent.is_err() {
            self.state = State::Broken;
        }
        sent
    }
}

fn stream(in_packets: bool) -> Stream {
    let limits = Limits::default();
    Stream::new(Some(match in_packets {
        true => Box::new(TpktFramer::new(limits)),
        false => Box::new(SipFramer::new(limits)),
    }))
}

async fn connect(local: SocketAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = match local {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.bind(local)?;
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
