//! Whether media really goes where it was told to go, and whether it still does.
//!
//! In: the flows that carry a call's media, and when a packet of each direction was
//! last counted on this host ([`crate::engine::Engine::media_seen`], asked for by
//! [`crate::engine::Datapath::Look`]). Out: what that says of the call
//! ([`Judgement`]); what is done about it is its machine's affair.
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
//! - A call that was taken over from an earlier run may have ended while nobody was
//!   there to hear of it. It has where its media had gone both ways, and nothing of it,
//!   RTP or RTCP, is seen for [`PROOF`] afterwards.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::described::Described;
use crate::engine::{Flow, FlowKind, Leg, MediaSeen, MediaWatchConfig};
use crate::media::{Codec, Direction, Media};
use crate::time::Time;

/// One way, and the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct BothWays<T> {
    /// From the gateway.
    down: T,
    /// To the gateway.
    up: T,
}

impl BothWays<bool> {
    /// The gateway's silence proves nothing.
    pub(crate) fn with_a_resting_gateway(self) -> Self {
        Self { down: true, ..self }
    }
}

/// What is watched: a change of it begins a new watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// The flows that carry the call's media, hashed.
    flows: u64,
    /// Whether one of them is steered.
    steered: bool,
    /// Whether both sides send and receive.
    two_way: bool,
}

impl Watched {
    /// Of a call with these flows, whose `sides` are what each has said last. `None`:
    /// it has no media.
    pub(crate) fn new<'a>(
        flows: Option<&[Flow]>,
        held: bool,
        sides: impl IntoIterator<Item = Option<&'a Media>>,
    ) -> Option<Self> {
        let flows = flows.unwrap_or_default().iter().copied();
        let carries = |flow: &Flow| !matches!(flow.kind, FlowKind::Guard | FlowKind::Learn);
        let mut hasher = DefaultHasher::new();
        let (mut some, mut steered) = (false, false);
        for flow in flows.filter(carries) {
            flow.hash(&mut hasher);
            some = true;
            steered |= matches!(flow.kind, FlowKind::Steered { .. });
        }
        if !some {
            return None;
        }
        let two_way =
            |media: &Media| media.direction == Direction::SendRecv && !media.is_null_address();
        let two_way = !held && sides.into_iter().flatten().all(two_way);
        Some(Self {
            flows: hasher.finish(),
            steered,
            two_way,
        })
    }
}

/// What was counted says of a call's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Nothing against it.
    Fine,
    /// It was not seen both ways in time.
    NotBothWays,
    /// It went both ways, and has stopped for so long.
    Stopped(Duration),
    /// The call was taken over from an earlier run, and nothing of its media was seen
    /// since.
    Vanished,
}

/// The watch over one call's media.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MediaWatch {
    watched: Watched,
    since: Time,
    /// Since the flows are these: whether each way has carried anything.
    carried: BothWays<bool>,
    state: Option<MediaSeen>,
    look_at: Option<Time>,
    /// When the call was taken over from an earlier run, until something of its media
    /// is seen.
    #[serde(skip)]
    adopted: Option<Time>,
}

/// How long nothing may be seen of a call that was taken over.
pub(crate) const PROOF: Duration = Duration::from_secs(120);

/// How soon a look that was not answered is taken again.
const RETRY: Duration = Duration::from_secs(1);

impl MediaWatch {
    /// When to look.
    pub(crate) fn due(&self) -> Option<Time> {
        self.look_at
    }

    /// What is known.
    pub(crate) fn state(&self) -> Option<MediaSeen> {
        self.state
    }

    /// The call was taken over from an earlier run. Where its media has gone both ways,
    /// it is to be seen again.
    pub(crate) fn adopt(&mut self, now: Time) {
        if self.watched.two_way && self.carried.down && self.carried.up {
            self.adopted = Some(now);
            let by = now + PROOF;
            self.look_at = Some(self.look_at.map_or(by, |at| at.min(by)));
        }
    }

    /// The watch over what the media is now, after every change of the call;
    /// `bypassed`: it is to be verified.
    pub(crate) fn follow(
        now: Time,
        config: &MediaWatchConfig,
        before: Option<Self>,
        watched: Option<Watched>,
        bypassed: bool,
    ) -> Option<Self> {
        if before.as_ref().map(|watch| &watch.watched) == watched.as_ref() {
            return before;
        }
        let watched = watched?;
        let before = before.filter(|before| before.watched.flows == watched.flows);
        let state = match bypassed && watched.two_way && !config.verify.is_zero() {
            true => Some(MediaSeen::Waiting),
            false => None,
        };
        let wait = match state {
            Some(_) => Some(config.verify),
            None => timeout(config).filter(|_| watched.two_way),
        };
        Some(Self {
            since: now,
            carried: before.map(|before| before.carried).unwrap_or_default(),
            state,
            look_at: wait.map(|wait| now + wait),
            watched,
            adopted: None,
        })
    }

    /// The call is over: nothing is looked at any more.
    pub(crate) fn rest(&mut self) {
        self.look_at = None;
    }

    /// Whether it is to be asked what has been counted.
    pub(crate) fn wants_look(&mut self, now: Time) -> bool {
        let due = self.look_at.is_some_and(|at| at <= now);
        if due {
            // Until the answer comes; it sets the next look itself.
            self.look_at = Some(now + RETRY);
        }
        due
    }

    /// What has been counted: when a packet of a leg was last seen. `relayed`: the
    /// media goes through the VM.
    pub(crate) fn seen(
        &mut self,
        now: Time,
        config: &MediaWatchConfig,
        seen: &[(Leg, Time)],
        relayed: bool,
        may_be_silent: BothWays<bool>,
    ) -> Judgement {
        let last = |down: Leg, up: Leg| BothWays {
            down: latest(seen, down, self.since),
            up: latest(seen, up, self.since),
        };
        let last = match relayed {
            false => last(Leg::GatewayToTc, Leg::TcToGateway),
            true => last(Leg::GatewayToVm, Leg::VmToGateway),
        };
        self.carried.down |= last.down.is_some();
        self.carried.up |= last.up.is_some();
        if self.state == Some(MediaSeen::Waiting) && now >= self.since + config.verify {
            self.state = Some(verdict(last, may_be_silent, self.watched.steered));
        }
        let has_vanished = self.has_vanished(now, last);
        match self.state {
            Some(MediaSeen::NotBothWays) => {
                self.look_at = None;
                Judgement::NotBothWays
            }
            _ if has_vanished => {
                self.look_at = None;
                Judgement::Vanished
            }
            _ => {
                let judgement = self.time_out(now, config, last);
                if let Some(adopted) = self.adopted {
                    let by = adopted + PROOF;
                    self.look_at = Some(self.look_at.map_or(by, |at| at.min(by)));
                }
                judgement
            }
        }
    }

    /// Whether nothing was seen of a call for long since it was taken over.
    fn has_vanished(&mut self, now: Time, last: BothWays<Option<Time>>) -> bool {
        let Some(adopted) = self.adopted else {
            return false;
        };
        if last.down.max(last.up).is_some_and(|seen| seen > adopted) {
            self.adopted = None;
        }
        self.adopted.is_some() && adopted + PROOF <= now
    }

    /// Whether media that went both ways has stopped.
    fn time_out(
        &mut self,
        now: Time,
        config: &MediaWatchConfig,
        last: BothWays<Option<Time>>,
    ) -> Judgement {
        if self.state == Some(MediaSeen::Waiting) {
            self.look_at = Some(self.since + config.verify);
            return Judgement::Fine;
        }
        let Some(patience) = timeout(config).filter(|_| self.watched.two_way) else {
            self.look_at = None;
            return Judgement::Fine;
        };
        let newest = last.down.max(last.up).unwrap_or(self.since);
        let both = self.carried.down && self.carried.up;
        let is_silent = both && newest + patience <= now;
        let was_silent = self.state == Some(MediaSeen::TimedOut);
        self.look_at = Some(match is_silent || !both {
            true => now + patience,
            false => newest + patience,
        });
        if both && !is_silent && (was_silent || self.state == Some(MediaSeen::OffHost)) {
            self.state = Some(MediaSeen::BothWays);
        }
        if !is_silent || was_silent {
            return Judgement::Fine;
        }
        self.state = Some(MediaSeen::TimedOut);
        Judgement::Stopped(now - newest)
    }
}

/// Which sides may send nothing while their user is silent: by what the gateway and
/// the TC have said of their codecs, and each in its description.
pub(crate) fn may_be_silent(
    gateway: Option<&Described>,
    tc: Option<&Media>,
    tc_said: Option<&Described>,
) -> BothWays<bool> {
    let codecs = |media: Option<&Media>| media.map(|m| m.codecs.clone()).unwrap_or_default();
    let tc = codecs(tc);
    let common = codecs(gateway.map(|gateway| &gateway.media))
        .iter()
        .any(|codec| {
            let others = || tc.iter().filter(|other| other.same_encoding(codec));
            others().any(|other| suppresses_silence(codec, other))
        });
    let says = |described: Option<&Described>| {
        described.is_some_and(|described| {
            let mut lines = described.bytes().split(|&b| b == b'\n');
            lines.any(|line| line.starts_with(b"a=silenceSupp:on"))
        })
    };
    BothWays {
        down: common || says(gateway),
        up: common || says(tc_said),
    }
}

fn timeout(config: &MediaWatchConfig) -> Option<Duration> {
    (!config.timeout.is_zero()).then_some(config.timeout)
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
