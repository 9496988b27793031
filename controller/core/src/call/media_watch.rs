//! Whether media really goes where it was told to go, and whether it still does.
//!
//! In: when a packet of each direction was last counted on this host
//! ([`crate::engine::Engine::media_seen`], asked for by
//! [`Datapath::Look`]). Out: a call handed back to its VM because its media was
//! not seen both ways ([`Reason::NoMediaSeen`]), and calls whose media has
//! stopped.
//!
//! What is judged, and what is not:
//!
//! - Only a session that both sides send in and receive. On hold, or one way
//!   (`sendonly`, `recvonly`, `inactive`, a null address), silence proves nothing.
//! - A *steered* call must be seen both ways: its anchor is on this host.
//! - A *direct* call may not cross this host. It is judged only where one way was
//!   seen here and the other was not; where neither was, it is `off-host`.
//! - A side that may suppress its silence (RFC 3389, G.729 Annex B, G.723.1
//!   Annex A, …) is not judged by what it does not send as long as the other side
//!   is seen. RTCP counts as seen.
//! - Media has stopped (timeout) only where both ways had been seen before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::{Exchange, Plane, Progress};
use super::{Call, Context, Reason};
use crate::bypass::described::Described;
use crate::engine::{Datapath, Event, Flow, FlowKind, Leg, MediaSeen, Output, TimeoutAction};
use crate::media::{Codec, Direction, Media};
use crate::time::Time;

/// One way, and the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct BothWays<T> {
    /// From the gateway.
    down: T,
    /// To the gateway.
    up: T,
}

/// What is watched: a change of it begins a new watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    /// The flows that carry the call's media.
    flows: Vec<Flow>,
    /// Whether both sides send and receive.
    two_way: bool,
}

/// The watch over one call's media.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MediaWatch {
    watched: Watched,
    since: Time,
    /// Since the flows are these: whether each way has carried anything.
    carried: BothWays<bool>,
    state: Option<MediaSeen>,
    look_at: Option<Time>,
}

impl MediaWatch {
    pub(super) fn due(&self) -> Option<Time> {
        self.look_at
    }

    pub(super) fn state(&self) -> Option<MediaSeen> {
        self.state
    }
}

impl Call {
    /// Follows what the call's media is now; after every change of the call.
    pub(crate) fn watch_media(&mut self, cx: &Context<'_>) {
        if self.is_over() || self.progress != Progress::Up {
            if let Some(watch) = &mut self.media_watch {
                watch.look_at = None;
            }
            return;
        }
        // In the midst of an exchange nothing is settled.
        if !matches!(self.exchange, Exchange::Idle) {
            return;
        }
        let watched = self.watched();
        let before = self.media_watch.as_ref().map(|watch| &watch.watched);
        if before == watched.as_ref() {
            return;
        }
        self.media_watch = watched.map(|watched| {
            let same_flows = before.is_some_and(|before| before.flows == watched.flows);
            let before = self.media_watch.as_ref().filter(|_| same_flows);
            let verify = cx.config.media_watch.verify;
            let state = match self.plane {
                Plane::Bypass if watched.two_way && !verify.is_zero() => Some(MediaSeen::Waiting),
                _ => None,
            };
            let wait = match state {
                Some(_) => Some(verify),
                None => timeout(cx).filter(|_| watched.two_way),
            };
            MediaWatch {
                since: cx.now,
                carried: before.map(|before| before.carried).unwrap_or_default(),
                state,
                look_at: wait.map(|wait| cx.now + wait),
                watched,
            }
        });
    }

    /// The flows that carry the media, and whether it is to go both ways.
    fn watched(&self) -> Option<Watched> {
        let flows: Vec<Flow> = self.flows.iter().flatten().copied().collect();
        let flows: Vec<Flow> = flows
            .into_iter()
            .filter(|flow| flow.kind != FlowKind::Guard)
            .collect();
        if flows.is_empty() {
            return None;
        }
        let two_way =
            |media: &Media| media.direction == Direction::SendRecv && !media.is_null_address();
        let sides: Vec<Option<&Media>> = match self.plane {
            Plane::Bypass => vec![
                self.gateway.as_ref().map(|gateway| &gateway.media),
                self.told_gateway.media(),
                self.tc.media.as_ref(),
                self.tc.told.media(),
            ],
            Plane::Vm(_) => vec![
                self.gateway.as_ref().map(|gateway| &gateway.media),
                self.vm.as_ref().map(|vm| &vm.media),
            ],
            Plane::Pending => return None,
        };
        Some(Watched {
            flows,
            two_way: !self.vm_holds && sides.into_iter().flatten().all(two_way),
        })
    }

    /// Asks what has been counted, when it is due.
    pub(super) fn look_at_media(&mut self, cx: &mut Context<'_>) {
        let Some(watch) = &mut self.media_watch else {
            return;
        };
        if watch.look_at.is_some_and(|at| at <= cx.now) {
            // Until the answer comes; it sets the next look itself.
            watch.look_at = Some(cx.now + RETRY);
            let call = self.id;
            cx.output
                .push_back(Output::Datapath(Datapath::Look { call }));
        }
    }

    /// What has been counted: when a packet of a leg was last seen.
    pub(crate) fn media_seen(&mut self, cx: &mut Context<'_>, seen: &[(Leg, Time)]) {
        if self.is_over() || !matches!(self.exchange, Exchange::Idle) {
            return;
        }
        let relayed = self.is_through_vm();
        let may_be_silent = self.may_be_silent();
        let Some(watch) = &mut self.media_watch else {
            return;
        };
        let last = |down: Leg, up: Leg| BothWays {
            down: latest(seen, down, watch.since),
            up: latest(seen, up, watch.since),
        };
        let last = match relayed {
            false => last(Leg::GatewayToTc, Leg::TcToGateway),
            true => last(Leg::GatewayToVm, Leg::VmToGateway),
        };
        watch.carried.down |= last.down.is_some();
        watch.carried.up |= last.up.is_some();
        if watch.state == Some(MediaSeen::Waiting)
            && cx.now >= watch.since + cx.config.media_watch.verify
        {
            let steered = watch
                .watched
                .flows
                .iter()
                .any(|flow| matches!(flow.kind, FlowKind::Steered { .. }));
            watch.state = Some(verdict(last, may_be_silent, steered));
        }
        match watch.state {
            Some(MediaSeen::NotBothWays) => {
                watch.look_at = None;
                if self.plane == Plane::Bypass {
                    self.hand_back(cx, Reason::NoMediaSeen);
                }
            }
            _ => self.time_out(cx, last),
        }
    }

    /// Whether media that went both ways has stopped.
    fn time_out(&mut self, cx: &mut Context<'_>, last: BothWays<Option<Time>>) {
        let Some(watch) = &mut self.media_watch else {
            return;
        };
        if watch.state == Some(MediaSeen::Waiting) {
            watch.look_at = Some(watch.since + cx.config.media_watch.verify);
            return;
        }
        let Some(patience) = timeout(cx).filter(|_| watch.watched.two_way) else {
            watch.look_at = None;
            return;
        };
        let newest = last.down.max(last.up).unwrap_or(watch.since);
        let both = watch.carried.down && watch.carried.up;
        let is_silent = both && newest + patience <= cx.now;
        let was_silent = watch.state == Some(MediaSeen::TimedOut);
        watch.look_at = Some(match is_silent || !both {
            true => cx.now + patience,
            false => newest + patience,
        });
        if both && !is_silent && (was_silent || watch.state == Some(MediaSeen::OffHost)) {
            watch.state = Some(MediaSeen::BothWays);
        }
        if !is_silent || was_silent {
            return;
        }
        watch.state = Some(MediaSeen::TimedOut);
        let silent = cx.now - newest;
        let ends = cx.config.media_watch.action == TimeoutAction::End;
        let call = self.view(cx.config);
        cx.output
            .push_back(Output::Event(Event::MediaTimeout { call, silent, ends }));
        if ends {
            self.hang_up(cx);
        }
    }

    /// Which sides may send nothing while their user is silent.
    fn may_be_silent(&self) -> BothWays<bool> {
        let codecs = |media: Option<&Media>| media.map(|m| m.codecs.clone()).unwrap_or_default();
        let gateway = codecs(self.gateway.as_ref().map(|gateway| &gateway.media));
        let tc = codecs(self.tc.media.as_ref());
        let common = gateway.iter().any(|codec| {
            let others = || tc.iter().filter(|other| other.same_encoding(codec));
            others().any(|other| suppresses_silence(codec, other))
        });
        let says = |described: Option<&Described>| {
            described.is_some_and(|described| {
                let mut lines = described.sdp.bytes().split(|&b| b == b'\n');
                lines.any(|line| line.starts_with(b"a=silenceSupp:on"))
            })
        };
        BothWays {
            down: common || says(self.gateway.as_ref()),
            up: common || says(self.tc.offer.as_ref()),
        }
    }
}

/// How soon a look that was not answered is taken again.
const RETRY: Duration = Duration::from_secs(1);

fn timeout(cx: &Context<'_>) -> Option<Duration> {
    let timeout = cx.config.media_watch.timeout;
    (!timeout.is_zero()).then_some(timeout)
}

fn latest(seen: &[(Leg, Time)], leg: Leg, since: Time) -> Option<Time> {
    seen.iter()
        .filter(|(of, at)| *of == leg && *at >= since)
        .map(|(_, at)| *at)
        .max()
}

/// What a two-way session's packets say when the time to verify it is over.
fn verdict(
    last: BothWays<Option<Time>>,
    may_be_silent: BothWays<bool>,
    steered: bool,
) -> MediaSeen {
    match (last.down.is_some(), last.up.is_some()) {
        (true, true) => MediaSeen::BothWays,
        (true, false) if may_be_silent.up => MediaSeen::BothWays,
        (false, true) if may_be_silent.down => MediaSeen::BothWays,
        (false, false) if !steered => MediaSeen::OffHost,
        _ => MediaSeen::NotBothWays,
    }
}

/// Whether a codec, as two sides describe it, stops while nobody speaks: comfort
/// noise (RFC 3389), G.729 Annex B and G.723.1 Annex A unless a side says no
/// (RFC 4856 §2.1.9, §2.1.14), the AMR family and EVS (RFC 4867), Opus with
/// `usedtx` (RFC 7587 §6.1).
fn suppresses_silence(codec: &Codec, other: &Codec) -> bool {
    let is = |name: &str| codec.name.eq_ignore_ascii_case(name);
    let says = |parameter: &str| {
        [codec, other]
            .into_iter()
            .filter_map(|codec| codec.fmtp.as_deref())
            .any(|fmtp| {
                let mut words = fmtp.split([';', ' ']);
                words.any(|word| word.eq_ignore_ascii_case(parameter))
            })
    };
    match () {
        () if is("CN") || is("AMR") || is("AMR-WB") || is("EVS") => true,
        () if is("G729") => !says("annexb=no"),
        () if is("G723") => !says("annexa=no"),
        () if is("opus") => says("usedtx=1"),
        () => false,
    }
}
