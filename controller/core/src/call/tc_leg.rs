//! The thin client's leg: what it is told of the gateway, and what it says.

use std::net::SocketAddr;

use super::described::{Described, Told, has_changed};
use super::flows::Anchor;
use super::state::{Exchange, Plane, Progress, TakeOver, TcOffer, TcState};
use super::vm_offer::allowed;
use super::{Call, Context, OWED, Reason, SETUP};
use crate::engine::Side;
use crate::media::{Channel, Direction, Media, Security, Setup};
use crate::registrar::Binding;
use crate::sdp::{self, Answerer};
use crate::tc::{CallProgress, TcEvent};

/// How often in a row the TC may answer what the gateway says with other media.
const ECHOES: u8 = 3;

/// Whether the TC knows, and takes, what the gateway said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// It does.
    Agreed,
    /// It has been told and has not answered.
    Waiting,
    /// It has failed.
    Failed(Reason),
}

impl Call {
    /// What the TC is to be told of the gateway's media. While the VM's user
    /// holds the call, the TC's microphone is not to be heard.
    fn gateway_for_tc(&self, cx: &Context<'_>) -> Result<Media, Reason> {
        let gateway = self.gateway.as_ref().ok_or(Reason::SdpNotUnderstood)?;
        let mut media = allowed(cx, &Anchor::for_tc(self.anchor(), &gateway.media))?;
        if self.vm_holds {
            media.direction = Direction::Inactive;
        }
        Ok(media)
    }

    /// Tells the TC what the gateway said last (304, 403), if it does not know.
    pub(super) fn tell_tc(&mut self, cx: &mut Context<'_>) -> Consent {
        let media = match self.gateway_for_tc(cx) {
            Ok(media) => media,
            Err(reason) => return Consent::Failed(reason),
        };
        match self.tc.state {
            TcState::Idle => {
                let Some(binding) = cx.binding else {
                    return Consent::Failed(Reason::TcNotRegistered);
                };
                if let Err(reason) = cx.has_room_for_leg(binding) {
                    return Consent::Failed(reason);
                }
                self.tc.told = Told::default();
                let session = u64::from(cx.identifiers.below(u32::MAX));
                let offer = self.tc.told.say(sdp::describe(&media, session, 1));
                cx.tc.invite(cx.now, self.leg(), binding, Some(offer));
                self.tc.state = TcState::Invited { offerless: false };
                Consent::Waiting
            }
            TcState::Invited { .. } | TcState::Asked => Consent::Waiting,
            TcState::OwedAnswer { .. } => match self.answer_for_tc(cx, &media) {
                Some(answer) => {
                    cx.tc.ack_with(cx.now, self.leg(), Some(answer));
                    self.tc.state = TcState::Up;
                    Consent::Agreed
                }
                None => Consent::Failed(Reason::NoCommonCodec),
            },
            TcState::Up if self.tc_knows(&media) => Consent::Agreed,
            TcState::Up => match self.tc.told.last().map(|told| told.next(&media)) {
                Some(offer) => {
                    let offer = self.tc.told.say(offer);
                    cx.tc.reinvite(cx.now, self.leg(), offer);
                    self.tc.state = TcState::Asked;
                    Consent::Waiting
                }
                None => Consent::Failed(Reason::TcLost),
            },
            TcState::Gone(reason) => Consent::Failed(reason),
        }
    }

    /// Whether the TC has been told this, or all of it that it has offered to take: an
    /// answer leaves out what is in the gateway's alone (RFC 3264 §6.1).
    fn tc_knows(&self, media: &Media) -> bool {
        let Some(told) = self.tc.told.media() else {
            return false;
        };
        if same(told, media) {
            return true;
        }
        self.tc.offer.as_ref().is_some_and(|offer| {
            let codecs = sdp::intersect(&offer.media.codecs, &media.codecs);
            let common = Media {
                codecs,
                ..media.clone()
            };
            same(told, &common)
        })
    }

    /// An answer to the TC's offer with this media; `None`: no codec in common.
    fn answer_for_tc(&mut self, cx: &mut Context<'_>, media: &Media) -> Option<Vec<u8>> {
        let offer = self.tc.offer.clone()?;
        let (session, version) = match self.tc.told.last().and_then(Described::origin) {
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
        let offered = offer.media.channel.setup.unwrap_or(Setup::ActPass);
        self.learn_gateways_setup();
        let setup = match (offered, self.tc_begins) {
            (Setup::ActPass, Some(true)) => Setup::Passive,
            (offered, _) => offered.other(),
        };
        let channel = media.channel.clone().with_setup(setup);
        self.tc_begins = Some(setup == Setup::Passive);
        let answer = sdp::answer_with(&offer.sdp().ok()?, &answerer, &channel).ok()?;
        Some(self.tc.told.say(answer))
    }

    /// The gateway lets the TC's offer wait: the TC gets an inactive answer, and
    /// the real one by re-INVITE later.
    pub(super) fn answer_tc_inactive(&mut self, cx: &mut Context<'_>) {
        let like = self.tc.media.as_ref().map(|media| media.rtp.ip());
        let nowhere = cx
            .config
            .discard_like(like.unwrap_or(cx.config.discard.into()));
        let key = self.key_for_vm(cx);
        let inactive = Media {
            rtp: SocketAddr::new(nowhere, 9),
            rtcp: SocketAddr::new(nowhere, 10),
            codecs: Vec::new(),
            ptime: None,
            maxptime: None,
            direction: Direction::Inactive,
            channel: self
                .tc
                .offer
                .as_ref()
                .and_then(|offer| key.answer(&offer.media.channel))
                .unwrap_or_default(),
        };
        match self.answer_for_tc(cx, &inactive) {
            Some(answer) => {
                cx.tc.ack_with(cx.now, self.leg(), Some(answer));
                self.tc.state = TcState::Up;
            }
            None => self.tc_failed(cx, Reason::TcRefused),
        }
    }

    /// After an exchange that the TC has not been part of: it hears the newest.
    pub(super) fn tell_tc_the_newest(&mut self, cx: &mut Context<'_>) {
        if matches!(self.exchange, Exchange::Idle)
            && let Consent::Failed(reason) = self.tell_tc(cx)
        {
            self.hand_back(cx, reason);
        }
    }

    /// The TC's user is to hear that the callee rings, or that it does no more
    /// (steps 508, 514).
    pub(super) fn ring_back(&mut self, cx: &mut Context<'_>, progress: CallProgress) {
        if self.outgoing && !matches!(self.tc.state, TcState::Idle | TcState::Gone(_)) {
            cx.tc.progress(cx.now, self.leg(), progress);
        }
    }

    /// Something has become of the TC's leg.
    pub(crate) fn tc_event(&mut self, cx: &mut Context<'_>, event: TcEvent) {
        if matches!(self.tc.state, TcState::Idle | TcState::Gone(_)) {
            return;
        }
        if self.is_over() {
            // It was to wait for the VM's credentials, and did not.
            if !matches!(event, TcEvent::Ringing | TcEvent::Reinvite { .. }) {
                self.tc.state = TcState::Idle;
                self.tc.offer = None;
            }
            return;
        }
        match event {
            TcEvent::Ringing => {}
            TcEvent::Undecodable { payload_type } => self.not_decoded(cx, Some(payload_type)),
            TcEvent::Answered { sdp } => self.tc_answers(cx, &sdp),
            TcEvent::Reinvite { sdp } => self.tc_offers(cx, sdp.as_deref()),
            TcEvent::Refused {
                status: 415 | 488 | 606,
            } => {
                let encrypted = |gateway: &Described| gateway.media.channel.is_secure();
                let reason = match self.gateway.as_ref().is_some_and(encrypted) {
                    true => Reason::MediaEncrypted,
                    false => Reason::NoCommonCodec,
                };
                if !self.try_next_codec(cx) {
                    self.tc_failed(cx, reason);
                }
            }
            TcEvent::Refused { status } => {
                let new = matches!(self.tc.state, TcState::Invited { .. });
                self.tc_failed(cx, Reason::TcRefused);
                if new && matches!(status, 486 | 600) {
                    self.take_over = TakeOver::WhenFree;
                }
            }
            TcEvent::NoAnswer => self.tc_failed(cx, Reason::TcNoAnswer),
            TcEvent::Bye => self.tc_hangs_up(cx),
            TcEvent::Lost => self.tc_failed(cx, Reason::TcLost),
        }
    }

    /// Step 305 or 404: the TC's description.
    fn tc_answers(&mut self, cx: &mut Context<'_>, sdp: &[u8]) {
        let offers = self.tc.state == TcState::Invited { offerless: true };
        if !offers && self.tc.state != TcState::Up {
            cx.tc.ack_with(cx.now, self.leg(), None);
        }
        let described = if offers {
            Described::offer(sdp, None)
        } else {
            Described::answer(sdp, None)
        };
        let described = match described {
            Ok(described) => described,
            Err(_) => return self.tc_failed(cx, Reason::TcRefused),
        };
        match allowed(cx, &described.media) {
            Ok(media) => self.tc.media = Some(media),
            Err(reason) => return self.tc_failed(cx, reason),
        }
        if offers {
            let soon = cx.binding.is_none_or(Binding::wants_answer_soon);
            let by = cx.now + if soon { OWED } else { SETUP };
            self.tc.state = TcState::OwedAnswer { by };
            let media = described.media.clone();
            self.tc.offer = Some(described);
            return self.tc_has_offered(cx, &media);
        }
        self.tc.state = TcState::Up;
        self.learn_setup(described.media.channel.setup);
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::TcAnswers(offer, held) => {
                self.exchange_by = None;
                self.consult_tc(cx, offer, held);
            }
            Exchange::TcAnswersGateway(offer, held) => {
                self.exchange_by = None;
                self.consult_tc_for_gateway(cx, offer, held);
            }
            Exchange::TcAnswersLate(offer, held) => self.pass_late_offer(cx, offer, &held),
            Exchange::TakesOver => self.tc_takes_over(cx),
            Exchange::Idle if self.plane == Plane::Bypass => self.tc_has_changed(cx),
            // Another branch of a fork may have spoken since.
            Exchange::GatewayAnswers(mut offer) => {
                if offer.fall_back.is_none()
                    && self.gateway.is_some()
                    && let Consent::Failed(reason) = self.tell_tc(cx)
                {
                    offer.fall_back = Some(reason);
                }
                self.exchange = Exchange::GatewayAnswers(offer);
            }
            other => self.exchange = other,
        }
    }

    /// The TC's own offer has come (RFC 3725 flow I): now 302.
    fn tc_has_offered(&mut self, cx: &mut Context<'_>, tc: &Media) {
        let Exchange::TcOffers(offer) = std::mem::replace(&mut self.exchange, Exchange::Idle)
        else {
            return;
        };
        let gateway = self.dialog.gateway.signalling;
        let wanted = offer.offer.media.channel.security();
        let path = if wanted != Security::Plain && tc.channel.security() != wanted {
            Err(Reason::MediaEncrypted)
        } else {
            // Until now it was decided by where it registers from.
            self.media_path.give_back_anchor(cx);
            self.decide(cx, tc.rtp, gateway)
        };
        match path {
            Ok(()) => self.send_offer(cx, offer),
            Err(reason) => {
                self.exchange = Exchange::TcOffers(offer);
                self.tc_failed(cx, reason);
            }
        }
    }

    /// The TC has answered outside an exchange: the gateway hears of it if its
    /// media is not what the gateway was told.
    fn tc_has_changed(&mut self, cx: &mut Context<'_>) {
        let (Some(promised), Some(gateway), Some(tc)) =
            (&self.promised, &self.gateway, &self.tc.media)
        else {
            return;
        };
        if has_changed(promised, &gateway.media.codecs, tc) {
            let media = tc.clone();
            // Two that answer each change with one of their own never end.
            self.echoes = self.echoes.saturating_add(1);
            if self.echoes > ECHOES {
                return self.hand_back(cx, Reason::TcRefused);
            }
            self.tell_gateway_of_tc(
                cx,
                TcOffer {
                    media,
                    answer_to: None,
                },
            );
        } else {
            self.tell_tc_the_newest(cx);
        }
    }

    /// The TC's re-INVITE.
    fn tc_offers(&mut self, cx: &mut Context<'_>, sdp: Option<&[u8]>) {
        let leg = self.leg();
        let idle = matches!(self.exchange, Exchange::Idle) && self.progress == Progress::Up;
        if !idle || self.plane != Plane::Bypass {
            return cx.tc.answer_reinvite(cx.now, leg, Err(491));
        }
        let Some(sdp) = sdp else {
            let told = self.tc.told.last();
            let ours = told.map(|told| told.bytes().to_vec()).ok_or(500);
            return cx.tc.answer_reinvite(cx.now, leg, ours);
        };
        let (Ok(offer), Some(promised), Some(gateway)) =
            (Described::offer(sdp, None), &self.promised, &self.gateway)
        else {
            return cx.tc.answer_reinvite(cx.now, leg, Err(488));
        };
        let Ok(media) = allowed(cx, &offer.media) else {
            return cx.tc.answer_reinvite(cx.now, leg, Err(488));
        };
        let before = self.tc.media.as_ref().map(|tc| tc.direction);
        let changed =
            has_changed(promised, &gateway.media.codecs, &media) || before != Some(media.direction);
        if changed {
            self.note_refused(&media.codecs);
            return self.tell_gateway_of_tc(
                cx,
                TcOffer {
                    media,
                    answer_to: Some(offer),
                },
            );
        }
        self.tc.media = Some(media);
        self.answer_tc(cx, offer);
    }

    /// Answers the TC's re-INVITE with what the gateway said last.
    fn answer_tc(&mut self, cx: &mut Context<'_>, offer: Described) {
        self.tc.offer = Some(offer);
        let answer = self
            .gateway_for_tc(cx)
            .ok()
            .and_then(|media| self.answer_for_tc(cx, &media));
        cx.tc.answer_reinvite(cx.now, self.leg(), answer.ok_or(488));
    }

    /// The TC's channel in an answer to the gateway, whose offer has the other one: who
    /// has begun the handshake goes on to (RFC 8842 §5.3), else the TC begins.
    pub(super) fn answering(&self, tc: Channel, offered: &Channel) -> Channel {
        let setup = match (offered.setup.unwrap_or(Setup::ActPass), self.tc_begins) {
            (Setup::ActPass, Some(false)) => Setup::Passive,
            (offered, _) => offered.other(),
        };
        tc.with_setup(setup)
    }

    /// The same, of what the gateway has said last, where that was an answer.
    pub(super) fn learn_gateways_setup(&mut self) {
        let gateway = self.gateway.as_ref().and_then(|g| g.media.channel.setup);
        self.learn_setup(gateway.filter(|s| *s != Setup::ActPass).map(Setup::other));
    }

    /// The TC has answered: with that it is said who begins the handshake.
    pub(super) fn learn_setup(&mut self, answered: Option<Setup>) {
        match answered {
            Some(Setup::Active) => self.tc_begins = Some(true),
            Some(Setup::Passive) => self.tc_begins = Some(false),
            Some(Setup::ActPass) | None => {}
        }
    }

    /// Offers the gateway new media of the TC's.
    pub(super) fn tell_gateway_of_tc(&mut self, cx: &mut Context<'_>, offer: TcOffer) {
        let Some(vm) = &self.vm else {
            return;
        };
        let direction = (!self.vm_holds).then_some(offer.media.direction);
        self.exchange_by = None;
        let body = vm.with(&Anchor::for_gateway(self.anchor(), &offer.media), direction);
        let body = self.told_gateway.say(body);
        self.offer_to(cx, Side::Net, body);
        self.exchange = Exchange::GatewayAnswersTc(offer);
    }

    /// The gateway has answered that.
    pub(super) fn gateway_knows_tc(
        &mut self,
        cx: &mut Context<'_>,
        offer: TcOffer,
        gateway: Option<Described>,
    ) {
        self.exchange = Exchange::Idle;
        if self.is_through_vm() && gateway.is_none() {
            return self.stay_with_vm(cx);
        }
        if let TcState::Gone(reason) = self.tc.state {
            return self.hand_back(cx, reason);
        }
        match (gateway, offer.answer_to) {
            (Some(gateway), answer_to) => {
                self.gateway = Some(gateway);
                self.promised = Some(offer.media.clone());
                self.tc.media = Some(offer.media);
                if self.is_through_vm() {
                    self.plane = Plane::Bypass;
                    self.begin_keep_alive(cx);
                }
                self.set_flows(cx);
                match answer_to {
                    Some(offer) => self.answer_tc(cx, offer),
                    None => self.tell_tc_the_newest(cx),
                }
            }
            (None, Some(_)) => cx.tc.answer_reinvite(cx.now, self.leg(), Err(488)),
            (None, None) if !self.tries.is_empty() => self.hand_back(cx, Reason::NoCommonCodec),
            (None, None) => self.hand_back(cx, Reason::GatewayRefused),
        }
    }

    /// The TC hung up: in a call that is up it ends the call, as the user meant;
    /// before that the call goes on through the VM.
    fn tc_hangs_up(&mut self, cx: &mut Context<'_>) {
        if self.progress != Progress::Up || self.plane != Plane::Bypass {
            return self.tc_failed(cx, Reason::TcRefused);
        }
        self.tc.state = TcState::Gone(Reason::TcLost);
        self.let_go(cx);
        self.hang_up(cx);
    }

    /// The TC's leg ends, if there is one.
    pub(super) fn drop_tc(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.tc.state, TcState::Idle | TcState::Gone(_)) {
            cx.tc.bye(cx.now, self.leg());
        }
        self.tc.state = TcState::Idle;
        self.tc.offer = None;
    }
}

/// Whether two descriptions of the gateway are the same to the TC.
fn same(one: &Media, other: &Media) -> bool {
    let codecs = |media: &Media| -> Vec<_> {
        let codecs = media.codecs.iter();
        codecs
            .map(|c| (c.payload_type, c.name.to_ascii_lowercase(), c.clock_rate))
            .collect()
    };
    one.rtp == other.rtp
        && one.rtcp == other.rtcp
        && one.direction == other.direction
        && one.channel.is_like(&other.channel)
        && codecs(one) == codecs(other)
}
