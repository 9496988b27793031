//! A call: one connection of a gateway whose far end is to be the thin client
//! instead of the VM.
//!
//! In: what the VM says of its media in a Remote description, what the gateway
//! replies, what becomes of the thin client's leg, time. Out: the description that
//! takes the VM's place, commands of our own to the gateway, flows, events.
//!
//! Three parties describe themselves, each when it likes. So the call is no list of
//! steps: after whatever has happened, [`Call::settle`] looks at what is still
//! missing and asks for that only: the gateway is told what the TC has become
//! (509, 607), then the TC what the gateway has become (611), until both know.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `vm_command` | what the VM's controller asks of the connection |
//! | `gateway_reply` | what the gateway says to that, and to our own commands |
//! | `tc_leg` | what is told to the thin client, and what it says |
//! | `media_watch` | whether its media goes where it was told to go |
//! | `agreement` | who has to be told what; back to the VM |

mod agreement;
mod gateway_reply;
mod media_watch;
mod tc_leg;
mod vm_command;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::vm_command::Answer;

use self::tc_leg::{TcLeg, TcState};
use super::codec::{Codec, Connection};
use super::message::{Name, Selector};
use crate::bypass::described::{Described, Told};
use crate::bypass::flows::{self, Anchor};
use crate::bypass::keep_alive::KeepAlive;
use crate::bypass::media_path::MediaPath;
use crate::bypass::media_watch::MediaWatch;
use crate::bypass::{Context, Reason};
use crate::engine::{
    CallMedia, CallView, EngineConfig, Event, Flow, Output, Path, PathChoice, Transport,
};
use crate::media::{Direction, Media};
use crate::occupancy::MayGo;
use crate::time::Time;

/// How long an ended call stays listed.
const LISTED: Duration = Duration::from_secs(60);
/// How long a call that is deleted, or begins, waits for its reply.
const LINGER: Duration = Duration::from_secs(32);
/// How long the signalling of a call may be silent: then its delete went another
/// way, or was never sent.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long the TC's offer may wait for the gateway's description before it gets
/// an inactive answer.
const OWED: Duration = Duration::from_secs(2);

/// How far the call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    /// The VM has asked for it.
    Setup,
    /// The gateway has it.
    Up,
    /// Deleted; until then the reply may come.
    Ending { until: Time },
    /// Over; listed until then.
    Ended { until: Time },
}

/// [`Progress`] without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Setup,
    Up,
    Ending,
    Ended,
}

impl Stage {
    /// As `sidestep calls` shows it.
    fn word(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Up => "up",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

/// Which way the media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Plane {
    /// Not decided.
    Pending,
    /// Between TC and gateway.
    Bypass,
    /// Through the VM.
    Vm(Reason),
}

/// What a command of our own is for.
#[derive(Debug, Serialize, Deserialize)]
enum Purpose {
    /// The gateway is to know the TC's new media; where the TC has offered it, it
    /// waits for an answer.
    Media {
        media: Media,
        answer_to: Option<Described>,
    },
    /// The gateway is to send to the VM again.
    Restore(Reason),
}

/// A command of our own that the room is to send.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Modify {
    pub(super) remote: Vec<u8>,
}

/// Where a call's signalling goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Way {
    pub(super) vm: SocketAddr,
    pub(super) gateway: SocketAddr,
    pub(super) transport: Transport,
}

/// A stream of an operation of a transaction of the VM's: how a connection is known
/// until the gateway has named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) transaction: u32,
    pub(super) operation: usize,
    pub(super) stream: usize,
}

/// What was known of a connection before it became a call's.
#[derive(Debug, Clone, Default)]
pub(super) struct Before {
    /// The gateway's own description.
    pub(super) local: Option<Described>,
    /// Which way media may go.
    pub(super) mode: Option<Direction>,
}

/// A call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    id: u32,
    #[serde(with = "super::kept::codec")]
    codec: &'static dyn Codec,
    vm_index: usize,
    pub(super) way: Way,
    pub(super) connection: Connection,
    /// By whom the connection is known while it has no name.
    pub(super) created_by: Option<Asked>,
    /// Whether the gateway's party calls.
    incoming: bool,
    started: Time,
    progress: Progress,
    plane: Plane,
    /// What the VM said of its media, last, and before that.
    vm: Option<Described>,
    /// All of it, where it was several descriptions to choose from.
    vm_alternatives: Vec<Vec<u8>>,
    /// What the gateway said of its own, last.
    gateway: Option<Described>,
    /// Which way media may go, from the gateway's view.
    mode: Direction,
    tc: TcLeg,
    told_gateway: Told,
    /// The TC's media as the gateway was told it.
    promised: Option<Media>,
    /// The same, before the command that is not replied to yet.
    agreed: Option<(Described, Media)>,
    /// Commands of the VM's that are not replied to.
    in_flight: BTreeSet<u32>,
    /// The last of them.
    last: u32,
    /// A command of our own that is not replied to, and whether it is to be sent.
    own: Option<Purpose>,
    outbox: Option<Modify>,
    /// How often the gateway was told again of the TC.
    rounds: u8,
    /// It is to go back to the VM when nothing is in flight.
    falling: Option<Reason>,
    /// What the datapath has of it.
    media_path: MediaPath,
    keep_alive: Option<KeepAlive>,
    media_watch: Option<MediaWatch>,
    /// When the TC's answer is given up.
    answer_by: Option<Time>,
    last_heard: Time,
    /// What was last reported.
    reported: Option<(Stage, Path, Option<Reason>)>,
}

/// What a new call is of.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) id: u32,
    pub(super) codec: &'static dyn Codec,
    pub(super) vm_index: usize,
    pub(super) way: Way,
    pub(super) connection: Connection,
    pub(super) created_by: Option<Asked>,
    pub(super) before: Before,
    /// Whether the gateway's party calls, and not the VM's user.
    pub(super) incoming: bool,
}

impl Call {
    pub(super) fn new(now: Time, of: Beginning) -> Self {
        Self {
            id: of.id,
            codec: of.codec,
            vm_index: of.vm_index,
            way: of.way,
            connection: of.connection,
            created_by: of.created_by,
            incoming: of.incoming,
            started: now,
            progress: if of.created_by.is_some() {
                Progress::Setup
            } else {
                Progress::Up
            },
            plane: Plane::Pending,
            vm: None,
            vm_alternatives: Vec::new(),
            gateway: of.before.local,
            mode: of.before.mode.unwrap_or_default(),
            tc: TcLeg::new(of.id),
            told_gateway: Told::default(),
            promised: None,
            agreed: None,
            in_flight: BTreeSet::new(),
            last: 0,
            own: None,
            outbox: None,
            rounds: 0,
            falling: None,
            media_path: MediaPath::default(),
            keep_alive: None,
            media_watch: None,
            answer_by: None,
            last_heard: now,
            reported: None,
        }
    }

    /// A call of an earlier run, whose VM now has this index. Its anchor is the
    /// caller's to take again.
    pub(super) fn restored(self, now: Time, vm: usize) -> Self {
        let mut call = Self {
            vm_index: vm,
            ..self
        };
        if let Some(watch) = &mut call.media_watch {
            watch.adopt(now);
        }
        call
    }

    /// The anchor it has.
    pub(super) fn anchor(&self) -> Option<Anchor> {
        self.media_path.anchor()
    }

    /// The flows that the datapath was told.
    pub(super) fn flows(&self) -> Option<&[Flow]> {
        self.media_path.flows()
    }

    /// Whether there is nothing to do by `now` but to feed the VM's media timer.
    pub(super) fn only_feeds(&self, now: Time) -> bool {
        let feeds = self.keep_alive.as_ref().map(KeepAlive::due);
        feeds.is_some_and(|at| at <= now) && self.other_timeout().is_none_or(|at| at > now)
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Id of the VM's last command for it.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// The codec of its protocol.
    pub(super) fn codec(&self) -> &'static dyn Codec {
        self.codec
    }

    /// Index of its VM.
    pub(super) fn vm_index(&self) -> usize {
        self.vm_index
    }

    /// It began elsewhere, or is one too many: it passes untouched.
    pub(super) fn only_watch(&mut self, reason: Reason) {
        self.plane = Plane::Vm(reason);
    }

    /// Whether commands of the VM's wait for what the TC says.
    pub(super) fn is_undecided(&self) -> bool {
        self.plane == Plane::Pending && !self.is_over() && self.tc.media.is_none()
    }

    /// Whether a command of our own waits for its reply.
    pub(super) fn is_waiting(&self) -> bool {
        self.own.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(
            self.progress,
            Progress::Ending { .. } | Progress::Ended { .. }
        )
    }

    /// Whether the TC is the gateway's far end.
    pub(super) fn is_bypassed(&self) -> bool {
        self.promised.is_some() && !matches!(self.plane, Plane::Vm(_))
    }

    /// Whether it is over and has been listed long enough.
    pub(super) fn is_forgotten(&self, now: Time) -> bool {
        matches!(self.progress, Progress::Ended { until } if until <= now)
    }

    /// Whether it may go to make room.
    pub(super) fn may_go(&self) -> Option<MayGo> {
        let ended = matches!(self.progress, Progress::Ended { .. });
        let watched = self.plane == Plane::Vm(Reason::AlreadyUp);
        (ended || watched).then_some(MayGo {
            watched: !ended,
            last_heard: self.last_heard,
        })
    }

    /// It goes before its time.
    pub(super) fn forget(&mut self, cx: &mut Context<'_>) {
        self.end(cx);
        self.media_path.end(cx, self.id);
    }

    /// The command that is to be sent, once.
    pub(super) fn take_outbox(&mut self) -> Option<Modify> {
        self.outbox.take()
    }

    /// As it is shown.
    pub(super) fn view(&self, config: &EngineConfig) -> CallView {
        let (state, path, reason) = self.summary();
        let name = |selector: &Selector| {
            let name = selector.one().map(Name::written).unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        };
        CallView {
            id: self.id,
            call_id: name(&self.connection.place.context),
            vm: config
                .vms
                .get(self.vm_index)
                .map(|vm| vm.name.clone())
                .unwrap_or_default(),
            thin_client: self.tc.user.clone(),
            gateway: self.way.gateway,
            protocol: self.codec.protocol().name(),
            direction: match self.incoming {
                true => "incoming",
                false => "outgoing",
            },
            state: state.word(),
            path,
            reason,
            started: self.started,
            media_seen: self.media_watch.as_ref().and_then(MediaWatch::state),
            tries: Vec::new(),
            trial: None,
            media: CallMedia {
                vm: self.vm.as_ref().map(|vm| vm.media.shown()),
                gateway: self.gateway.as_ref().map(|g| g.media.shown()),
                tc: self.tc.media.as_ref().map(Media::shown),
            },
        }
    }

    fn summary(&self) -> (Stage, Path, Option<Reason>) {
        let state = match self.progress {
            Progress::Setup => Stage::Setup,
            Progress::Up => Stage::Up,
            Progress::Ending { .. } => Stage::Ending,
            Progress::Ended { .. } => Stage::Ended,
        };
        match self.plane {
            Plane::Pending => (state, Path::Pending, None),
            Plane::Bypass if self.media_path.anchor().is_some() || self.was_steered() => {
                (state, Path::Steered, None)
            }
            Plane::Bypass => (state, Path::Direct, None),
            Plane::Vm(reason) => (state, Path::Vm, Some(reason)),
        }
    }

    /// Whether a call that is over took the steered path: its anchor is free again.
    fn was_steered(&self) -> bool {
        self.is_over() && matches!(self.reported, Some((_, Path::Steered, _)))
    }

    /// Reports state, path and reason where one of them has changed.
    pub(super) fn report(&mut self, cx: &mut Context<'_>) {
        let summary = self.summary();
        if self.reported != Some(summary) {
            self.reported = Some(summary);
            let view = self.view(cx.config);
            cx.output.push_back(Output::Event(Event::Call(view)));
        }
    }

    /// When it has to be woken.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let feeds = self.keep_alive.as_ref().map(KeepAlive::due);
        self.other_timeout().into_iter().chain(feeds).min()
    }

    /// When it has to be woken for something else than its VM's media timer.
    fn other_timeout(&self) -> Option<Time> {
        let owed = match self.tc.state {
            TcState::OwedAnswer { by } => Some(by),
            _ => None,
        };
        let progress = match self.progress {
            Progress::Ending { until } | Progress::Ended { until } => until,
            Progress::Setup => self.last_heard + LINGER,
            Progress::Up => self.last_heard + STALE,
        };
        [
            Some(progress),
            owed,
            self.answer_by,
            self.media_path.due(),
            self.media_watch.as_ref().and_then(MediaWatch::due),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Runs what is due by `now`.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if let TcState::OwedAnswer { by } = self.tc.state
            && by <= cx.now
            && let Err(reason) = self.tc.answer_inactive(cx)
        {
            self.tc_failed(cx, reason);
        }
        if self.answer_by.is_some_and(|by| by <= cx.now) {
            self.tc_failed(cx, Reason::TcNoAnswer);
        }
        self.keep_vm_alive(cx);
        self.look_at_media(cx);
        self.media_path.run_due(cx, self.id);
        match self.progress {
            Progress::Setup if self.last_heard + LINGER <= cx.now => self.gone(cx),
            Progress::Up if self.last_heard + STALE <= cx.now => self.gone(cx),
            Progress::Ending { until } if until <= cx.now => self.gone(cx),
            _ => {}
        }
    }

    fn keep_vm_alive(&mut self, cx: &mut Context<'_>) {
        let (Some(keep_alive), Some(vm), Some(gateway)) =
            (&mut self.keep_alive, &self.vm, &self.gateway)
        else {
            self.keep_alive = None;
            return;
        };
        let mut media = vm.media.clone();
        let codecs = &gateway.media.codecs;
        if media
            .codecs
            .iter()
            .any(|own| codecs.iter().any(|codec| codec.same_encoding(own)))
        {
            media
                .codecs
                .retain(|own| codecs.iter().any(|codec| codec.same_encoding(own)));
        }
        // What the gateway may not send, the VM does not expect.
        if !matches!(self.mode, Direction::SendRecv | Direction::SendOnly) {
            media.direction = Direction::Inactive;
        }
        let peer = (gateway.media.rtp, gateway.media.rtcp);
        for datagram in keep_alive.run(cx.now, cx.config.keep_alive, &media, peer) {
            cx.send(datagram);
        }
    }

    // --- path and flows ---------------------------------------------------

    /// Decides the path for the TC's address.
    fn decide(&mut self, cx: &mut Context<'_>, tc: SocketAddr) -> Result<(), Reason> {
        let gateway = self.way.gateway.ip();
        let path = self
            .media_path
            .decide(cx, self.vm_index, tc.ip(), gateway)?;
        // Its signalling is of another IP version than its media, and nobody knows of
        // the anchor yet.
        if path == PathChoice::Direct && self.promised.is_none() && self.gateway.is_none() {
            self.media_path.give_back_anchor(cx);
        }
        Ok(())
    }

    /// The TC's media as the gateway is to know it.
    fn tc_for_gateway(&self) -> Option<Media> {
        let tc = self.tc.media.as_ref()?;
        Some(Anchor::for_gateway(self.media_path.anchor(), tc))
    }

    /// Tells the datapath the call's flows, where they have changed. A side on hold
    /// by a null address keeps the flows that it had.
    fn set_flows(&mut self, cx: &mut Context<'_>) {
        if self.is_over() {
            return;
        }
        let (Some(vm), Some(gateway)) = (&self.vm, &self.gateway) else {
            return;
        };
        let flows = match (self.plane, &self.tc.media) {
            (Plane::Vm(_), _) => flows::relayed(&vm.media, &gateway.media),
            (_, tc) => {
                let guarded = (&vm.media, gateway.media.rtp, gateway.media.rtcp);
                let nulls = [Some(&gateway.media), tc.as_ref(), Some(&vm.media)];
                if nulls.into_iter().flatten().any(Media::is_null_address) {
                    return;
                }
                match tc {
                    Some(tc) => self
                        .media_path
                        .bypass(cx.now, tc, &gateway.media, Some(guarded)),
                    None => flows::guards(guarded, &gateway.media),
                }
            }
        };
        self.media_path.install(cx, self.id, flows);
    }

    // --- the end ----------------------------------------------------------

    /// The media is to end; the reply may still come. The flows stay until it has:
    /// without its guard the VM's last packets would go past the tap.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) {
        if self.is_over() {
            return;
        }
        self.own = None;
        self.outbox = None;
        self.falling = None;
        self.answer_by = None;
        self.keep_alive = None;
        self.promised = None;
        self.tc.drop(cx, TcState::Idle);
        let until = cx.now + LINGER;
        self.media_path.go_by(until);
        self.progress = Progress::Ending { until };
    }

    /// The delete was replied to.
    pub(super) fn deleted(&mut self, cx: &mut Context<'_>) {
        if matches!(self.progress, Progress::Ending { .. }) {
            self.media_path.go_soon(cx.now);
            self.progress = Progress::Ended {
                until: cx.now + LISTED,
            };
        }
    }

    /// Nothing is there any more: the gateway has restarted, or nobody has been
    /// heard for long.
    pub(super) fn gone(&mut self, cx: &mut Context<'_>) {
        self.end(cx);
        self.deleted(cx);
    }
}
