//! The thin client's leg: what it is told of the gateway, and what it says.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::OWED;
use crate::bypass::described::{Described, Told};
use crate::bypass::{Context, Reason};
use crate::media::{Channel, Direction, Media};
use crate::sdp::{self, Answerer};
use crate::tc::{LegId, TcEvent};
use crate::time::Time;

/// How the leg stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TcState {
    /// Not invited.
    Idle,
    /// Invited, with an offer or without one.
    Invited {
        /// Without: the TC is to offer.
        offerless: bool,
    },
    /// It has offered; our answer is due by then at the latest.
    OwedAnswer { by: Time },
    /// Nothing is open.
    Up,
    /// It has been offered something else than before.
    Asked,
    /// Failed or hung up.
    Gone(Reason),
}

/// Whether the TC knows, and takes, what it was to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// It does.
    Agreed,
    /// It has been told and has not answered.
    Waiting,
    /// It has failed.
    Failed(Reason),
}

/// What an event of the leg means.
#[derive(Debug)]
pub(super) enum Said {
    /// Nothing for the call.
    Nothing,
    /// [`TcLeg::media`] is what it says of itself now.
    Described,
    /// It offers other media, and waits for [`TcLeg::answer_offer`].
    Offers(Described),
    /// It has failed, or will not.
    Failed(Reason),
}

/// The leg.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TcLeg {
    id: LegId,
    pub(super) state: TcState,
    /// User name of the TC that was taken for this call.
    pub(super) user: Option<String>,
    /// Its media: registered, then as it last described it.
    pub(super) media: Option<Media>,
    told: Told,
    /// The gateway's media as it was to know it last; what it was told may have
    /// fewer codecs.
    knows: Option<Media>,
    /// Its own offer, where it waits for an answer.
    offer: Option<Described>,
}

impl TcLeg {
    /// Which it is.
    pub(super) fn id(&self) -> LegId {
        self.id
    }

    pub(super) fn new(call: u32) -> Self {
        Self {
            id: LegId(call),
            state: TcState::Idle,
            user: None,
            media: None,
            told: Told::default(),
            knows: None,
            offer: None,
        }
    }

    /// Invites it to offer (RFC 3725 flow I; step 502).
    pub(super) fn ask_for_offer(&mut self, cx: &mut Context<'_>) {
        if let Some(binding) = cx.binding {
            cx.tc.invite(cx.now, self.id, binding, None);
            self.state = TcState::Invited { offerless: true };
        }
    }

    /// Tells it the gateway's media (508, 606, 611), if it does not know.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, media: &Media) -> Consent {
        match self.state {
            TcState::Idle => {
                let Some(binding) = cx.binding else {
                    return Consent::Failed(Reason::TcNotRegistered);
                };
                if let Err(reason) = cx.has_room_for_leg(binding) {
                    return Consent::Failed(reason);
                }
                self.told = Told::default();
                self.knows = Some(media.clone());
                let session = u64::from(cx.identifiers.below(u32::MAX));
                let offer = self.told.say(sdp::describe(media, session, 1));
                cx.tc.invite(cx.now, self.id, binding, Some(offer));
                self.state = TcState::Invited { offerless: false };
                Consent::Waiting
            }
            TcState::Invited { .. } | TcState::Asked => Consent::Waiting,
            TcState::OwedAnswer { .. } => match self.answer(cx, media) {
                Some(answer) => {
                    cx.tc.ack_with(cx.now, self.id, Some(answer));
                    self.state = TcState::Up;
                    Consent::Agreed
                }
                None => Consent::Failed(Reason::NoCommonCodec),
            },
            TcState::Up if self.knows.as_ref() == Some(media) => Consent::Agreed,
            TcState::Up => match self.told.last().map(|told| told.next(media)) {
                Some(offer) => {
                    self.knows = Some(media.clone());
                    let offer = self.told.say(offer);
                    cx.tc.reinvite(cx.now, self.id, offer);
                    self.state = TcState::Asked;
                    Consent::Waiting
                }
                None => Consent::Failed(Reason::TcLost),
            },
            TcState::Gone(reason) => Consent::Failed(reason),
        }
    }

    /// An answer to its offer with this media; `None`: no codec in common.
    fn answer(&mut self, cx: &mut Context<'_>, media: &Media) -> Option<Vec<u8>> {
        let offer = self.offer.as_ref()?;
        let (session, version) = match self.told.last().and_then(Described::origin) {
            Some((id, version)) => (id.parse().ok()?, version.saturating_add(1)),
            None => (u64::from(cx.identifiers.below(u32::MAX)), 1),
        };
        let answerer = Answerer {
            rtp: media.rtp,
            rtcp: Some(media.rtcp),
            codecs: (!media.codecs.is_empty()).then_some(&media.codecs),
            events: false,
            direction: media.direction,
            ptime: media.ptime,
            maxptime: media.maxptime,
            session_id: session,
            version,
        };
        let answer = sdp::answer_with(&offer.sdp().ok()?, &answerer, &media.channel).ok()?;
        self.knows = Some(media.clone());
        Some(self.told.say(answer))
    }

    /// The gateway lets its offer wait: it gets an inactive answer, and the real
    /// one later.
    pub(super) fn answer_inactive(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        let like = self.media.as_ref().map(|media| media.rtp.ip());
        let discard = cx
            .config
            .discard_like(like.unwrap_or(cx.config.discard.into()));
        let inactive = Media {
            rtp: SocketAddr::new(discard, 9),
            rtcp: SocketAddr::new(discard, 10),
            codecs: Vec::new(),
            ptime: None,
            maxptime: None,
            direction: Direction::Inactive,
            channel: Channel::default(),
        };
        let answer = self.answer(cx, &inactive).ok_or(Reason::TcRefused)?;
        cx.tc.ack_with(cx.now, self.id, Some(answer));
        self.state = TcState::Up;
        Ok(())
    }

    /// Answers [`Said::Offers`] with the gateway's media; `None`: it is refused.
    pub(super) fn answer_offer(
        &mut self,
        cx: &mut Context<'_>,
        offer: Described,
        media: Option<&Media>,
    ) {
        self.offer = Some(offer);
        let answer = media.and_then(|media| self.answer(cx, media));
        cx.tc.answer_reinvite(cx.now, self.id, answer.ok_or(488));
    }

    /// Its offer comes at the wrong time (RFC 3261 §14.1).
    pub(super) fn not_now(&self, cx: &mut Context<'_>) {
        cx.tc.answer_reinvite(cx.now, self.id, Err(491));
    }

    /// Something has become of the leg.
    pub(super) fn hears(&mut self, cx: &mut Context<'_>, event: TcEvent) -> Said {
        if matches!(self.state, TcState::Idle | TcState::Gone(_)) {
            return Said::Nothing;
        }
        match event {
            TcEvent::Ringing | TcEvent::Undecodable { .. } => Said::Nothing,
            TcEvent::Answered { sdp } => self.described(cx, &sdp),
            TcEvent::Reinvite { sdp: Some(sdp) } => match Described::offer(&sdp, None) {
                Ok(offer) => Said::Offers(offer),
                Err(_) => {
                    cx.tc.answer_reinvite(cx.now, self.id, Err(488));
                    Said::Nothing
                }
            },
            TcEvent::Reinvite { sdp: None } => {
                let told = self.told.last();
                let ours = told.map(|told| told.bytes().to_vec()).ok_or(500);
                cx.tc.answer_reinvite(cx.now, self.id, ours);
                Said::Nothing
            }
            TcEvent::Refused {
                status: 415 | 488 | 606,
            } => Said::Failed(Reason::NoCommonCodec),
            TcEvent::Refused { .. } => Said::Failed(Reason::TcRefused),
            TcEvent::NoAnswer => Said::Failed(Reason::TcNoAnswer),
            TcEvent::Bye if self.state == TcState::Up => Said::Failed(Reason::TcLost),
            TcEvent::Bye => Said::Failed(Reason::TcRefused),
            TcEvent::Lost => Said::Failed(Reason::TcLost),
        }
    }

    /// Its offer or its answer has come.
    fn described(&mut self, cx: &mut Context<'_>, sdp: &[u8]) -> Said {
        let offers = self.state == TcState::Invited { offerless: true };
        if !offers && self.state != TcState::Up {
            cx.tc.ack_with(cx.now, self.id, None);
        }
        let described = if offers {
            Described::offer(sdp, None)
        } else {
            Described::answer(sdp, None)
        };
        let Ok(described) = described else {
            return Said::Failed(Reason::TcRefused);
        };
        self.media = Some(described.media.clone());
        if offers {
            self.state = TcState::OwedAnswer { by: cx.now + OWED };
            self.offer = Some(described);
        } else {
            self.state = TcState::Up;
        }
        Said::Described
    }

    /// It ends, if there is one.
    pub(super) fn drop(&mut self, cx: &mut Context<'_>, state: TcState) {
        if !matches!(self.state, TcState::Idle | TcState::Gone(_)) {
            cx.tc.bye(cx.now, self.id);
        }
        self.state = state;
        self.offer = None;
    }

    /// Whether it has failed.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, TcState::Gone(_))
    }
}
