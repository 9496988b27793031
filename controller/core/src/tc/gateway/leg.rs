//! One leg: what is wanted of the gateway, what it has been told, and the one
//! command that is under way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::described::Described;
use super::settings::{Change, Settings};
use super::{Failure, Hook, Outcome};
use crate::media::{Direction, Media};
use crate::sdp::SessionDescription;
use crate::tc::{CallProgress, LegId, TcEvent};
use crate::time::Time;

/// How long until a change of the gateway's is told again to a call that had no
/// time for it (491).
const AGAIN: Duration = Duration::from_secs(1);

/// A command for a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tc) enum Command {
    /// Add (H.248), CRCX (MGCP).
    Create(Settings),
    /// Modify, MDCX or RQNT.
    Modify(Change),
    /// Subtract, DLCX.
    Delete {
        /// Signals are on that have to end with it.
        signals: bool,
    },
}

/// What a command was sent for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Purpose {
    Create,
    /// `offer`: the call machine waits for an answer.
    Modify {
        offer: bool,
        signals: bool,
    },
    Delete,
}

/// A leg; `H` is what the gateway calls it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Leg<H> {
    pub(super) number: LegId,
    /// `None`: its caller has done with it.
    pub(super) id: Option<LegId>,
    /// Index of its thin client.
    #[serde(skip)]
    pub(super) client: usize,
    pub(super) handle: Option<H>,
    created: bool,
    wanted: Settings,
    told: Settings,
    under_way: Option<(Purpose, Settings)>,
    /// The call machine waits for an answer to a new offer.
    offer_due: bool,
    /// The Create had an offer.
    answers: bool,
    local: Described,
    rearm: bool,
    /// The gateway has not the signals: they are not asked for again.
    mute: bool,
    /// When waiting for the first answer ends.
    deadline: Option<Time>,
    /// When a change is told again.
    again: Option<Time>,
}

impl<H: Clone> Leg<H> {
    /// Calls a thin client. `offer` is the other end's description; `None`: the
    /// thin client is to describe itself first.
    pub(super) fn new(
        number: LegId,
        client: usize,
        session: u32,
        offer: Option<&[u8]>,
        deadline: Time,
    ) -> Self {
        let mut wanted = Settings::alone();
        if let Some(media) = offer.and_then(media) {
            wanted.hear(&media);
        }
        Self {
            number,
            id: Some(number),
            client,
            handle: None,
            created: false,
            told: wanted.clone(),
            wanted,
            under_way: None,
            offer_due: false,
            answers: offer.is_some(),
            local: Described::new(session),
            rearm: false,
            mute: false,
            deadline: Some(deadline),
            again: None,
        }
    }

    /// The answer to the gateway's offer.
    pub(super) fn ack(&mut self, answer: Option<&[u8]>) {
        if let Some(media) = answer.and_then(media) {
            self.wanted.hear(&media);
        }
    }

    /// A new offer.
    pub(super) fn offer(&mut self, offer: &[u8]) {
        if let Some(media) = media(offer) {
            self.wanted.hear(&media);
        }
        self.offer_due = true;
    }

    /// What the call machine says to a change of the gateway's. The gateway has
    /// changed already: a call that cannot follow has lost it.
    pub(super) fn answer(&mut self, now: Time, answer: Result<&[u8], u16>) -> Option<TcEvent> {
        match answer {
            Ok(answer) => self.ack(Some(answer)),
            Err(491) => self.again = Some(now + AGAIN),
            Err(_) => return Some(TcEvent::Refused { status: 488 }),
        }
        None
    }

    /// What the thin client's user is to hear.
    pub(super) fn progress(&mut self, progress: CallProgress) {
        self.wanted.progress = progress;
    }

    /// The caller has done with it.
    pub(super) fn over(&mut self) {
        self.id = None;
        self.deadline = None;
        self.again = None;
        self.offer_due = false;
    }

    /// The gateway has lost it: nothing is left to be deleted.
    pub(super) fn forget(&mut self) {
        self.over();
        self.handle = None;
        self.created = true;
        self.under_way = None;
    }

    /// Whether nothing is left of it, here and at the gateway.
    pub(super) fn is_finished(&self) -> bool {
        let open = self.handle.is_some() || self.under_way.is_some();
        self.id.is_none() && !open
    }

    /// Whether the gateway has it, or may have it.
    pub(super) fn is_held(&self) -> bool {
        self.handle.is_some() || self.under_way.is_some()
    }

    /// Whether it waits for its Create to be sent.
    pub(super) fn is_new(&self) -> bool {
        self.id.is_some() && !self.created && self.under_way.is_none()
    }

    /// The command that is due, which now is under way.
    pub(super) fn command(&mut self) -> Option<Command> {
        if self.under_way.is_some() {
            return None;
        }
        let (command, purpose) = match (&self.handle, self.id) {
            (None, None) => return None,
            (None, Some(_)) if self.created => return None,
            (None, Some(_)) => (Command::Create(self.wanted.clone()), Purpose::Create),
            (Some(_), None) => {
                let signals = !self.mute && self.told.progress != CallProgress::Quiet;
                (Command::Delete { signals }, Purpose::Delete)
            }
            (Some(_), Some(_)) => {
                let change = self.change()?;
                let purpose = Purpose::Modify {
                    offer: std::mem::take(&mut self.offer_due),
                    signals: change.progress.is_some() || change.rearm,
                };
                (Command::Modify(change), purpose)
            }
        };
        self.under_way = Some((purpose, self.wanted.clone()));
        Some(command)
    }

    fn change(&mut self) -> Option<Change> {
        if self.mute {
            self.told.progress = self.wanted.progress;
            self.rearm = false;
        }
        let mut change = self.wanted.since(&self.told);
        change.rearm = std::mem::take(&mut self.rearm);
        if self.offer_due && change.remote.is_none() {
            change.remote.clone_from(&self.wanted.remote);
            change.mode = Some(self.wanted.mode);
        }
        (!change.is_empty()).then_some(change)
    }

    /// What has come of the command under way.
    pub(super) fn outcome(&mut self, outcome: Outcome<H>) -> Option<TcEvent> {
        let (purpose, sent) = self.under_way.take()?;
        match outcome {
            Outcome::Done { handle, local } => {
                self.told = sent;
                let changed = local.is_some_and(|local| self.local.hear(local));
                self.done(purpose, handle, changed)
            }
            Outcome::Failed(failure) => self.failed(purpose, failure),
        }
    }

    fn done(&mut self, purpose: Purpose, handle: Option<H>, changed: bool) -> Option<TcEvent> {
        match purpose {
            Purpose::Create => {
                self.created = true;
                self.handle = handle;
                self.deadline = None;
                self.id?;
                // Alone it only listens, which is not what it offers.
                let direction = match self.answers {
                    true => self.told.mode,
                    false => Direction::SendRecv,
                };
                match (self.local.tell(direction), &self.handle) {
                    (Some(sdp), Some(_)) => Some(TcEvent::Answered { sdp }),
                    // Without a description, or a name, it is of no use.
                    _ => Some(self.end(TcEvent::Refused { status: 488 })),
                }
            }
            Purpose::Modify { offer: true, .. } => {
                self.id?;
                let sdp = self.local.tell(self.told.mode)?;
                Some(TcEvent::Answered { sdp })
            }
            Purpose::Modify { .. } if changed && self.id.is_some() => self.tell_change(),
            Purpose::Modify { .. } => None,
            Purpose::Delete => {
                self.handle = None;
                None
            }
        }
    }

    /// Step 503, 509, 607: changed information of the thin client's.
    fn tell_change(&mut self) -> Option<TcEvent> {
        let sdp = self.local.tell(self.told.mode);
        Some(TcEvent::Reinvite { sdp })
    }

    fn failed(&mut self, purpose: Purpose, failure: Failure) -> Option<TcEvent> {
        let status = match failure {
            Failure::Codec => 488,
            Failure::Signals | Failure::Gone | Failure::Again | Failure::Other => 500,
        };
        match (purpose, failure) {
            (Purpose::Create, Failure::Signals) if !self.mute => {
                self.mute = true;
                None
            }
            (Purpose::Create, Failure::Again) => None,
            (Purpose::Create, _) => {
                self.created = true;
                self.id?;
                Some(self.end(TcEvent::Refused { status }))
            }
            (Purpose::Delete, _) => {
                self.handle = None;
                None
            }
            (Purpose::Modify { .. }, Failure::Gone) => {
                self.handle = None;
                self.id?;
                Some(self.end(TcEvent::Lost))
            }
            // The same again without them.
            (Purpose::Modify { offer, signals }, Failure::Signals) if signals => {
                self.mute = true;
                self.offer_due |= offer;
                None
            }
            (Purpose::Modify { offer, .. }, Failure::Again) => {
                self.offer_due |= offer;
                None
            }
            (Purpose::Modify { .. }, _) => {
                self.wanted = self.told.clone();
                self.id?;
                Some(TcEvent::Refused { status })
            }
        }
    }

    /// Whether signals and events may be asked for.
    pub(super) fn is_mute(&self) -> bool {
        self.mute
    }

    /// What the thin client's user did. Signals end by it (H.248.1 §7.1.11,
    /// RFC 3435 §3.3.1).
    pub(super) fn hook(&mut self, hook: Hook, rearm: bool) -> Option<TcEvent> {
        self.rearm = rearm;
        self.told.progress = CallProgress::Quiet;
        if self.wanted.progress == CallProgress::Alerting {
            self.wanted.progress = CallProgress::Quiet;
        }
        self.id?;
        match hook {
            Hook::Off => None,
            Hook::On => Some(self.end(TcEvent::Bye)),
        }
    }

    fn end(&mut self, event: TcEvent) -> TcEvent {
        self.over();
        event
    }

    /// When it has to be woken.
    pub(super) fn wake(&self) -> Option<Time> {
        self.deadline.into_iter().chain(self.again).min()
    }

    /// Runs what is due.
    pub(super) fn timeout(&mut self, now: Time) -> Option<TcEvent> {
        if self.deadline.is_some_and(|at| at <= now) {
            return Some(self.end(TcEvent::NoAnswer));
        }
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            return self.tell_change();
        }
        None
    }
}

/// The one audio stream of a description.
fn media(sdp: &[u8]) -> Option<Media> {
    let sdp = SessionDescription::parse(sdp).ok()?;
    Some(sdp.audio_of_answer().ok()?.1)
}
