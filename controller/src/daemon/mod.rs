//! The daemon: check, load, door, attach, serve, drain.
//!
//! In: a checked configuration, signals. Out: calls that take the path they
//! should. One task owns the core and everything that it acts upon; what else
//! runs only feeds it.

mod interfaces;
mod privileges;
mod queries;
mod serve;
mod telling;

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sidestep_core::engine::{Engine, Protocol, Restored, ThinClientFramer};
use sidestep_core::websocket::{Masks, WebSocketFramer};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use crate::admin::Server;
use crate::clock;
use crate::config::Config;
use crate::datapath::{Datapath, Unlearned, VmAddresses};
use crate::door::{Door, Framers, Framing, Tls, tls};
use crate::journal::Journal;
use crate::watch::Changes;
use interfaces::Interfaces;
use serve::{Daemon, Inbox};
use telling::Telling;

/// Requests of the admin socket that may wait.
const QUERIES: usize = 16;
/// Packets to learn from that may wait.
const TO_LEARN: usize = 256;
/// Flows that a call takes at most: both ways, RTP and RTCP, as much of the bypassed
/// VM's own, and what waits for the thin client's first packets.
const FLOWS_OF_A_CALL: usize = 10;
/// Open files wanted: a socket per source that datagrams are sent from.
const OPEN_FILES: u64 = 65_536;

/// Runs the daemon until SIGTERM or SIGINT. With `keep`, programs and maps stay
/// behind: steered media goes on, signalling passes untouched.
///
/// # Errors
///
/// What is needed is not there, or the kernel refuses it. What had been set up
/// is taken down again.
pub fn run(config: Config, keep: bool) -> Result<()> {
    start_log(&config.daemon.log)?;
    // One thread: the core is one, and programs are attached to interfaces of
    // the namespace that a thread is in.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(live(config, keep))
}

async fn live(config: Config, keep: bool) -> Result<()> {
    check()?;
    let seed = seed()?;
    let mut stop = Stop::listen()?;
    let server = Server::listen(&config.daemon.socket).await?;

    let mut datapath = Datapath::load(&config.daemon.pins, config.daemon.max_flows, clock::now())?;
    let mut interfaces = Interfaces::of(&config);
    let (unlearned, to_learn) = mpsc::channel(TO_LEARN);
    let opened = open(&config, &mut datapath, &mut interfaces, seed, unlearned);
    let (door, changes, events) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            datapath.abandon(&interfaces.names());
            return Err(error);
        }
    };
    let (ask, queries) = mpsc::channel(QUERIES);
    let beside = [tokio::spawn(server.serve(ask)), tokio::spawn(events)];
    let (journal, engine) = engine(&config, &mut datapath, seed);
    if let Err(error) = privileges::keep_what_serving_needs(datapath.unmounts()) {
        tracing::error!("what serving does not need could not be given up: {error:#}");
    }
    let mut daemon = Daemon {
        started: clock::now(),
        inbox: Inbox::new(changes, queries, to_learn),
        telling: Telling::default(),
        config,
        engine,
        datapath,
        door,
        interfaces,
        journal,
    };
    tracing::info!("serving");
    let served = daemon.serve(&mut stop).await;

    tracing::info!("stopping");
    // With `keep`, calls stay where they are: the datapath goes on carrying them.
    if served.is_ok() && !keep {
        daemon.drain(&mut stop).await;
    }
    // What cannot be served any more is as after a crash: the next run goes on with it.
    daemon.close(keep || served.is_err());
    for task in beside {
        task.abort();
        // Aborted on purpose.
        let _ = task.await;
    }
    served
}

/// Door and interfaces; from here on signalling is taken once the lease runs.
fn open(
    config: &Config,
    datapath: &mut Datapath,
    interfaces: &mut Interfaces,
    seed: [u8; 32],
    unlearned: mpsc::Sender<Unlearned>,
) -> Result<(Door, Changes, impl Future<Output = ()> + use<>)> {
    datapath.configure(
        &config.signalling.port_classes(),
        &config.vms.iter().map(VmAddresses::of).collect::<Vec<_>>(),
        &interfaces.names(),
        config.media.dscp,
    )?;
    let tls = config.signalling.tls.as_ref().map(Tls::load).transpose()?;
    let of_clients = config.registration.tls.as_ref().map(tls::Server::load);
    let mut door = Door::open(
        &config.daemon.namespace,
        config.signalling.connections,
        framers(config, seed),
        tls,
        of_clients.transpose()?,
    )?;
    datapath.open_door(&door)?;
    // Listening first: what changes while the list is read is not missed.
    let changes = Changes::listen().context("cannot watch interfaces")?;
    interfaces.reconcile(datapath, &mut door);
    interfaces.all_attached()?;
    Ok((door, changes, datapath.follow_events(unlearned)?))
}

/// What finds the messages in a connection: its ports say which protocol it is of.
fn framers(config: &Config, seed: [u8; 32]) -> Framers {
    let limits = config.signalling.messages;
    let tls = config.signalling.tls.clone();
    let encrypted = move |port| tls.as_ref().is_some_and(|tls| tls.ports.contains(&port));
    let websocket = config.signalling.websocket.clone();
    let masks = Arc::new(Masks::new(seed));
    let registrar = config.signalling.registrar;
    let own_ports = config.media.anchor_ports.clone();
    let config = config.engine([0; 32], 0);
    let between = move |src: SocketAddr, dst: SocketAddr| {
        if websocket.has(dst.port()) {
            let [maker, other] = WebSocketFramer::pair(limits, &masks);
            return Some(Framing {
                ends: [Box::new(maker), Box::new(other)],
                is_websocket: true,
            });
        }
        let protocol = match encrypted(dst.port()) {
            true => Protocol::Sip,
            false => Protocol::between(&config, src.port(), dst.port())?,
        };
        Some(Framing {
            ends: [protocol.framer(limits)?, protocol.framer(limits)?],
            is_websocket: false,
        })
    };
    Framers {
        between: Box::new(between),
        of_client: Box::new(move || Box::new(ThinClientFramer::new(limits))),
        registrar,
        own_ports,
    }
}

/// The core, with the calls of an earlier run.
fn engine(config: &Config, datapath: &mut Datapath, seed: [u8; 32]) -> (Option<Journal>, Engine) {
    let now = clock::now();
    let mut engine = Engine::new(config.engine(seed, datapath.first_call()), now);
    let (_, max_flows) = datapath.fill();
    engine.set_call_limit(max_flows as usize / FLOWS_OF_A_CALL);
    let journal = match Journal::open(&config.daemon.journal) {
        Ok((journal, left)) => {
            let restored = engine.restore(now, &left);
            if restored != Restored::default() {
                tracing::info!(
                    "{} calls and {} registrations of an earlier run go on, {} cannot",
                    restored.calls,
                    restored.clients,
                    restored.left_out
                );
            }
            engine.keep_journal();
            engine.renew_flows();
            Some(journal)
        }
        Err(error) => {
            tracing::error!("calls will not be known after a crash: {error:#}");
            None
        }
    };
    let live: Vec<u32> = engine.calls().iter().map(|call| call.id).collect();
    datapath.collect(&live, now);
    engine.leave_anchors(datapath.anchors_of_others(&live));
    (journal, engine)
}

fn seed() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut seed))
        .context("cannot read /dev/urandom")?;
    Ok(seed)
}

fn start_log(filter: &str) -> Result<()> {
    // What the loader says of each relocation is wanted only by name.
    let filter = match filter.contains("aya") {
        true => filter.to_owned(),
        false => format!("{filter},aya=info,aya_obj=info"),
    };
    let filter = EnvFilter::try_new(filter).context("daemon.log is no log filter")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

fn check() -> Result<()> {
    privileges::check()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the file limit")?;
    let wanted = OPEN_FILES.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).context("cannot raise the file limit")
}

/// SIGTERM, SIGINT, and SIGHUP of a terminal that closes.
struct Stop {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate()).context("cannot catch SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot catch SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("cannot catch SIGHUP")?,
        })
    }

    /// Ends at the next signal. Cancel safe.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
