//! What signalling travels by: datagrams, or a connection to the server that is made
//! again whenever it ends.
//!
//! In: messages to send. Out: messages that have come, and whether the connection is
//! there.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sidestep_core::h248::TpktFramer;
use sidestep_core::sip::SipFramer;
use sidestep_core::stream::{Framer, Limits, Part, Stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::config::{Config, Speaks, Transport};

/// Largest datagram, octets.
const DATAGRAM: usize = 65_535;
/// First and longest wait before the connection is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
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
    tls: Option<Arc<ClientConfig>>,
    speaks_sip: bool,
    state: State,
    /// Wait after the next failure.
    retry: Duration,
    inbound: Stream,
}

/// A connection's octets, in the clear or out of TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

enum State {
    Waiting(Instant),
    Making(JoinHandle<io::Result<Box<dyn Wire>>>),
    Up(Box<dyn Wire>),
    /// It broke while something was sent.
    Broken,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Waiting(_) => "Waiting",
            Self::Making(_) => "Making",
            Self::Up(_) => "Up",
            Self::Broken => "Broken",
        })
    }
}

impl Link {
    /// Binds the socket; a connection is made by [`Self::hear`].
    ///
    /// # Errors
    ///
    /// The address is none of this host's, or taken; there is nobody to trust.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let tls = match &config.transport {
            Transport::Tls { trust } => Some(trusting(trust)?),
            Transport::Udp | Transport::Tcp => None,
        };
        let speaks_sip = config.speaks == Speaks::Sip;
        Ok(match config.transport {
            Transport::Udp => Self::Udp(
                UdpSocket::bind(config.bind)
                    .await
                    .with_context(|| format!("bind: {}", config.bind))?,
            ),
            Transport::Tcp | Transport::Tls { .. } => Self::Tcp(Box::new(Connection {
                // The port of the connection before may still be taken.
                local: SocketAddr::new(config.bind.ip(), 0),
                server: config.server,
                tls,
                speaks_sip,
                state: State::Waiting(Instant::now()),
                retry: RETRY.0,
                inbound: stream(speaks_sip),
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
                    let made = connect(self.local, self.server, self.tls.clone());
                    let made = tokio::spawn(async { timeout(CONNECT, made).await? });
                    self.state = State::Making(made);
                }
                State::Making(made) => match made.await {
                    Ok(Ok(socket)) => {
                        self.inbound = stream(self.speaks_sip);
                        self.retry = RETRY.0;
                        self.state = State::Up(socket);
                        return Heard::Connected;
                    }
                    Ok(Err(error)) => {
                        tracing::warn!(server = %self.server, %error, "not connected");
                        self.rest();
                    }
                    Err(error) => {
                        tracing::warn!(server = %self.server, %error, "not connected");
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
                    match socket.read(&mut bytes).await {
                        Ok(length @ 1..) => {
                            self.inbound.push(bytes.get(..length).unwrap_or_default());
                        }
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
        let all = async {
            socket.write_all(&message).await?;
            socket.flush().await
        };
        let sent = timeout(SEND, all).await;
        let sent = sent.unwrap_or_else(|late| Err(late.into()));
        if sent.is_err() {
            self.state = State::Broken;
        }
        sent
    }
}

fn stream(speaks_sip: bool) -> Stream {
    let framer: Box<dyn Framer> = match speaks_sip {
        true => Box::new(SipFramer::new(Limits::default())),
        false => Box::new(TpktFramer::new(Limits::default())),
    };
    Stream::new(Some(framer))
}

/// Trusts the authorities of a file.
fn trusting(file: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("trust: {}", file.display()))?;
    for certificate in certificates {
        let added = roots.add(certificate);
        added.with_context(|| format!("trust: {}", file.display()))?;
    }
    anyhow::ensure!(
        !roots.is_empty(),
        "trust: {} holds no certificate",
        file.display()
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn connect(
    local: SocketAddr,
    server: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
) -> io::Result<Box<dyn Wire>> {
    let socket = match local {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.bind(local)?;
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(match tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::from(server.ip());
            Box::new(TlsConnector::from(tls).connect(name, stream).await?)
        }
    })
}
