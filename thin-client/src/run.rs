//! Runs the agent and its media: the way of signalling, the clock, signals, and the
//! report.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use sidestep_core::time::Time;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::{Agent, Event};
use crate::audio::queue::SampleQueue;
use crate::audio::recorder::Recorder;
use crate::audio::source::Source;
use crate::config::{Config, Play};
use crate::link::{Heard, Link};
use crate::media::session::{self, Session};
use crate::media::stream::{Audio, Peer, Stream};
use crate::report::{Call, Report, State};

/// How often the report is written.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How many calls the report remembers.
const REPORT_CALLS: usize = 100;

/// Runs until SIGTERM or SIGINT, then hangs up and removes the registration.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut link = Link::open(&config).await?;
    // The media address is taken only during calls; that it can be is known now.
    session::bind(config.media.address)
        .with_context(|| format!("media: {}", config.media.address))?;
    let source = source(&config.play)?;
    tracing::info!(user = config.user, bind = %config.bind, media = %config.media.address, "up");

    let mut client = Client::new(config, source);
    let mut report = tokio::time::interval(REPORT_INTERVAL);
    client.agent.handle_timeout(client.now());
    loop {
        client.drain(&mut link).await;
        let now = client.now();
        if client.agent.is_stopped(now) {
            client.write_report();
            return Ok(());
        }
        let timeout = client
            .agent
            .poll_timeout()
            .map_or(Duration::from_secs(3_600), |at| at.since(now));
        tokio::select! {
            heard = link.hear() => {
                let now = client.now();
                match heard {
                    Heard::Message(from, message) => {
                        client.agent.handle_datagram(now, from, &message);
                    }
                    Heard::Connected => client.agent.connected(now),
                    Heard::Disconnected => client.agent.disconnected(now),
                }
            }
            () = tokio::time::sleep(timeout) => client.agent.handle_timeout(client.now()),
            _ = report.tick() => {
                client.complain();
                client.write_report();
            }
            _ = terminate.recv() => client.agent.stop(client.now()),
            _ = interrupt.recv() => client.agent.stop(client.now()),
        }
    }
}

/// What `play` means, but for the sound card, which is opened with each call.
fn source(play: &Play) -> anyhow::Result<Source> {
    Ok(match play {
        Play::Silence | Play::SoundCard(_) => Source::Silence,
        Play::Tone(hertz) => Source::tone(*hertz),
        Play::Wav(path) => Source::wav(path).context("play.wav")?,
        Play::Echo => Source::Queue(SampleQueue::default()),
    })
}

struct Client {
    config: Config,
    agent: Agent,
    source: Source,
    session: Option<Session>,
    #[cfg(feature = "alsa")]
    card: Option<crate::audio::sound_card::SoundCard>,
    report: Report,
    origin: Instant,
}

/// RFC 3339, UTC.
fn wall_clock() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

impl Client {
    fn new(config: Config, source: Source) -> Self {
        Self {
            agent: Agent::new(config.clone(), Time::ZERO),
            report: Report {
                user: config.user.clone(),
                ..Report::default()
            },
            config,
            source,
            session: None,
            #[cfg(feature = "alsa")]
            card: None,
            origin: Instant::now(),
        }
    }

    fn now(&self) -> Time {
        Time::from_origin(self.origin.elapsed())
    }

    /// Does what the user agent wants.
    async fn drain(&mut self, link: &mut Link) {
        loop {
            let event = self.agent.poll_event();
            let changed = event.is_some();
            if let Some(event) = event {
                self.note(event);
                self.write_report();
            }
            // After the event: media is received before the peer is told where.
            if let Some((to, datagram)) = self.agent.poll_output() {
                link.send(to, datagram).await;
            } else if !changed {
                return;
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Registration(registration) => self.report.registration = registration,
            Event::Invited { call_id, from } => self.begin(call_id, from),
            Event::Refused { call_id, from } => {
                // It stands before the call that goes on, if one does.
                let refused = Call {
                    call_id,
                    from,
                    state: State::Ended,
                    started: wall_clock(),
                    ended: Some(wall_clock()),
                    end_reason: Some("refused".into()),
                    ..Call::default()
                };
                let at = self.report.calls.len() - usize::from(self.is_on_the_phone());
                self.report.calls.insert(at, refused);
            }
            Event::Answered { local } => {
                if let Some(call) = self.report.calls.last_mut() {
                    call.state = State::Answered;
                    call.answered = Some(wall_clock());
                }
                self.receive_at(local);
            }
            Event::Media { local, peer } => {
                self.receive_at(local);
                self.talk_to(peer);
            }
            Event::Confirmed => {
                if let Some(call) = self.report.calls.last_mut() {
                    call.state = State::Active;
                }
            }
            Event::Reinvited => {
                if let Some(call) = self.report.calls.last_mut() {
                    call.reinvites += 1;
                }
            }
            Event::Ended { reason } => self.end(reason),
        }
    }

    fn is_on_the_phone(&self) -> bool {
        self.report
            .calls
            .last()
            .is_some_and(|call| call.state != State::Ended)
    }

    fn begin(&mut self, call_id: String, from: String) {
        tracing::info!(call_id, from, "call");
        if self.report.calls.len() >= REPORT_CALLS {
            self.report.calls.remove(0);
        }
        self.report.calls.push(Call {
            call_id,
            from,
            started: wall_clock(),
            ..Call::default()
        });
    }

    /// Makes sure that RTP is received at `local`.
    fn receive_at(&mut self, local: SocketAddr) {
        let outcome = match &mut self.session {
            Some(session) if session.local() == local => Ok(()),
            Some(session) => session.rebind(local),
            None => self.start_session(local),
        };
        if let Some(call) = self.report.calls.last_mut() {
            call.local = Some(local);
        }
        if let Err(error) = outcome {
            tracing::error!(%local, %error, "no media");
            self.agent.media_failed(self.now());
        }
    }

    fn start_session(&mut self, local: SocketAddr) -> std::io::Result<()> {
        let mut audio = Audio {
            source: self.source.clone(),
            listener: None,
            recorder: None,
        };
        if let Source::Queue(_) = audio.source {
            let queue = SampleQueue::default();
            audio.source = Source::Queue(queue.clone());
            audio.listener = Some(queue);
        }
        #[cfg(feature = "alsa")]
        if let Play::SoundCard(device) = &self.config.play {
            let card =
                crate::audio::sound_card::SoundCard::open(device).map_err(std::io::Error::other)?;
            audio.source = Source::Queue(card.microphone.clone());
            audio.listener = Some(card.loudspeaker.clone());
            self.card = Some(card);
        }
        if let Some(path) = &self.config.record {
            match Recorder::create(path) {
                Ok(recorder) => audio.recorder = Some(recorder),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "no recording");
                }
            }
        }
        let cname = format!("{}@{}", self.config.user, local.ip());
        let stream = Stream::new(cname, self.config.media.ptime, audio);
        self.session = Some(Session::start(local, stream)?);
        Ok(())
    }

    fn talk_to(&mut self, peer: Peer) {
        tracing::info!(peer = %peer.rtp, send = peer.send, "media");
        if let Some(call) = self.report.calls.last_mut() {
            call.peer = Some(peer.rtp);
            call.codec = peer
                .formats
                .first()
                .map(|(_, encoding)| encoding.name().to_owned());
        }
        if let Some(session) = &self.session {
            session.stream().set_peer(peer);
        }
    }

    fn end(&mut self, reason: &str) {
        if let Some(session) = &mut self.session {
            session.stop();
        }
        self.measure();
        self.session = None;
        #[cfg(feature = "alsa")]
        {
            self.card = None;
        }
        if let Some(call) = self.report.calls.last_mut() {
            call.state = State::Ended;
            call.ended = Some(wall_clock());
            call.end_reason = Some(reason.to_owned());
        }
    }

    /// Says so where nothing of what comes can be decoded.
    fn complain(&mut self) {
        let undecodable = self.session.as_ref().and_then(|s| s.stream().undecodable());
        if let Some(payload_type) = undecodable {
            self.agent.undecodable(self.now(), payload_type);
        }
    }

    /// Takes the running media's statistics into the report.
    fn measure(&mut self) {
        if let (Some(session), Some(call)) = (&self.session, self.report.calls.last_mut()) {
            let stream = session.stream();
            call.sent = stream.sent();
            call.received = stream.received();
            call.rtcp = stream.rtcp();
        }
    }

    fn write_report(&mut self) {
        let Some(path) = self.config.report.clone() else {
            return;
        };
        self.measure();
        self.report.written = wall_clock();
        if let Err(error) = self.report.write(&path) {
            tracing::warn!(path = %path.display(), %error, "no report");
        }
    }
}
