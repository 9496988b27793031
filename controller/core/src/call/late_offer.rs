//! INVITEs that begin a call without an offer (RFC 3261 §13.2.1): the callee
//! offers in its answer, and the caller answers in its ACK; in a reliable
//! provisional response and its PRACK (RFC 3262 §5).
//!
//! ```text
//! VM calls:      INVITE ─►            ◄─ 200 gateway's offer, held
//!                                        304, 305: the TC is asked
//!                ◄─ 200               ACK with the VM's answer ─► the TC's (302)
//! gateway calls: ◄─ INVITE            200 with the VM's offer ─► the TC's (405)
//!                ◄─ ACK, the gateway's answer; the TC hears it (403)
//! ```
//!
//! In the first nothing has been promised before the TC has agreed; in the
//! second a TC that fails later is left as in any call that is up.

use super::described::Described;
use super::flows::{self, Anchor};
use super::heard::Heard;
use super::state::{Exchange, GatewayOffer, Held, Plane, TakeOver, VmOffer};
use super::tc_leg::Consent;
use super::vm_offer::patience;
use super::{Call, Context, Reason};
use crate::engine::Side;
use crate::media::Codec;
use crate::sdp;
use crate::sip::Method;

impl Call {
    /// The caller's INVITE has no offer. It goes on as it came.
    pub(super) fn begin_without_offer(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        // A body that is not understood may well be an offer.
        let possible = match (cx.binding, cx.stopping) {
            _ if !heard.message.body().is_empty() => Err(Reason::SdpNotUnderstood),
            (_, true) => Err(Reason::Stopping),
            (None, false) => Err(Reason::TcNotRegistered),
            (Some(_), false) => Ok(()),
        };
        match possible {
            Ok(()) => self.exchange = Exchange::Offerless(heard.key()),
            Err(reason) => self.through_vm(cx, reason),
        }
        self.pass(cx, heard);
    }

    /// A response of the callee's to it.
    pub(super) fn callee_offers(&mut self, cx: &mut Context<'_>, heard: Heard) {
        let status = heard.message.status().unwrap_or(0);
        let offers = self.answered_in(&heard).is_some();
        let Some(sdp) = heard.sdp().filter(|_| offers) else {
            if heard.is_success() {
                self.through_vm(cx, Reason::SdpNotUnderstood);
            }
            self.pass(cx, &heard);
            return self.advance(cx, status);
        };
        let offer = Described::offer(sdp, None);
        self.stream = offer.as_ref().ok().map(Described::stream);
        match offer {
            Ok(offer) if heard.side == Side::Net => self.gateway_offers_late(cx, offer, heard),
            // What the VM offers before its user has answered is its own early
            // media; the TC takes over when the call is up.
            Ok(offer) if status < 200 => {
                self.vm = Some(offer);
                self.take_over = TakeOver::WithAudio;
                self.through_vm(cx, Reason::SdpNotUnderstood);
                self.pass(cx, &heard);
                self.advance(cx, status);
            }
            Ok(offer) => self.vm_offers_late(cx, offer, heard),
            Err(error) => {
                self.through_vm(cx, error.reason());
                self.pass(cx, &heard);
                self.advance(cx, status);
            }
        }
    }

    /// The VM, called, offers in its 2xx: the gateway gets the TC's media.
    fn vm_offers_late(&mut self, cx: &mut Context<'_>, offer: Described, heard: Heard) {
        let Some(answered_in) = self.answered_in(&heard) else {
            return self.pass(cx, &heard);
        };
        let offer = VmOffer::new(heard, offer, answered_in, true);
        match offer.offer.is_answerable() {
            Ok(()) => self.begin_outgoing(cx, offer),
            Err(reason) => self.leave_to_vm(cx, &offer.request, reason),
        }
    }

    /// The gateway's answer to that, in its ACK.
    pub(super) fn gateway_acknowledges(
        &mut self,
        cx: &mut Context<'_>,
        offer: VmOffer,
        heard: &Heard,
    ) {
        let answer = self.answer_in(heard);
        let gateway = match answer {
            Some(Ok(gateway)) => gateway,
            other => {
                // The gateway has the TC's media and has not taken it.
                let reason = match other {
                    Some(Err(error)) => error.reason(),
                    _ => Reason::SdpNotUnderstood,
                };
                self.vm = Some(offer.offer);
                self.plane = Plane::Bypass;
                self.pass(cx, heard);
                return self.hand_back(cx, offer.fall_back.unwrap_or(reason));
            }
        };
        let body = self.answer_vm(cx, &offer.offer, &gateway);
        self.vm_holds = offer.offer.is_hold();
        self.vm = Some(offer.offer);
        self.gateway = Some(gateway);
        self.plane = Plane::Bypass;
        self.set_flows(cx);
        self.pass_with(cx, heard, body.as_deref());
        self.begin_keep_alive(cx);
        match offer.fall_back {
            Some(reason) => self.hand_back(cx, reason),
            None if !self.tc_and_gateway_share_speech() => {
                self.hand_back(cx, Reason::NoCommonCodec);
            }
            None => self.tell_tc_the_newest(cx),
        }
    }

    /// The gateway, called, offers: its response is held until the TC agrees.
    fn gateway_offers_late(&mut self, cx: &mut Context<'_>, offer: Described, heard: Heard) {
        let Some(answered_in) = self.answered_in(&heard) else {
            return self.pass(cx, &heard);
        };
        let key = heard.key();
        let held = Held {
            response: Box::new(heard),
            acknowledged: false,
        };
        let possible = self.begin_incoming(cx, &offer.media);
        self.gateway = Some(offer.clone());
        let consent = match possible {
            Ok(()) => self.tell_tc(cx),
            Err(reason) => Consent::Failed(reason),
        };
        let offer = GatewayOffer {
            key,
            answered_in,
            offer,
            initial: true,
            fall_back: None,
        };
        match consent {
            Consent::Agreed => self.pass_late_offer(cx, offer, &held),
            Consent::Waiting => {
                self.exchange_by = Some(cx.now + patience(cx));
                self.exchange = Exchange::TcAnswersLate(offer, held);
            }
            Consent::Failed(reason) => self.let_late_offer(cx, &held, reason),
        }
    }

    /// The TC has agreed: the VM hears the gateway's offer.
    pub(super) fn pass_late_offer(
        &mut self,
        cx: &mut Context<'_>,
        offer: GatewayOffer,
        held: &Held,
    ) {
        self.exchange_by = None;
        let tc = match self.tell_tc(cx) {
            Consent::Agreed => self.tc.media.clone(),
            Consent::Waiting => {
                self.exchange_by = Some(cx.now + patience(cx));
                self.exchange = Exchange::TcAnswersLate(
                    offer,
                    Held {
                        response: held.response.clone(),
                        acknowledged: false,
                    },
                );
                return;
            }
            Consent::Failed(reason) => return self.let_late_offer(cx, held, reason),
        };
        let Some(tc) = tc.filter(|_| self.tc_and_gateway_share_speech()) else {
            return self.let_late_offer(cx, held, Reason::NoCommonCodec);
        };
        if tc.channel.security() != offer.offer.media.channel.security() {
            return self.let_late_offer(cx, held, Reason::MediaEncrypted);
        }
        self.promised = Some(tc);
        let body = self.told_vm.say(offer.offer.bytes().to_vec());
        // What the VM's softphone sends the moment it has the offer.
        let vm = cx.config.vms.get(self.vm_index);
        let guards = vm.map(|vm| flows::guards_of_unanswered(vm, &offer.offer.media));
        self.media_path
            .install(cx, self.id, guards.unwrap_or_default());
        self.exchange = Exchange::VmAnswers(offer);
        self.pass_with(cx, &held.response, Some(&body));
        self.advance(cx, held.response.message.status().unwrap_or(0));
    }

    /// The held offer goes to the VM, and the call with it.
    pub(super) fn let_late_offer(&mut self, cx: &mut Context<'_>, held: &Held, reason: Reason) {
        self.through_vm(cx, reason);
        self.pass(cx, &held.response);
        self.advance(cx, held.response.message.status().unwrap_or(0));
    }

    /// The VM's answer to that, in its ACK or PRACK: the TC's goes out.
    pub(super) fn vm_acknowledges(
        &mut self,
        cx: &mut Context<'_>,
        offer: &GatewayOffer,
        heard: &Heard,
    ) {
        let answer = self.answer_in(heard);
        let (vm, tc) = match (answer, offer.fall_back, self.promised.clone()) {
            (Some(Ok(vm)), None, Some(tc)) => (vm, tc),
            // The VM has the gateway's real address: its own answer will do.
            (answer, fall_back, _) => {
                let mut reason = fall_back.unwrap_or(Reason::TcLost);
                match answer {
                    Some(Ok(vm)) => self.vm = Some(vm),
                    Some(Err(error)) => reason = error.reason(),
                    None => reason = Reason::SdpNotUnderstood,
                }
                self.through_vm(cx, reason);
                return self.pass(cx, heard);
            }
        };
        let mut media = Anchor::for_gateway(self.anchor(), &tc);
        let codecs = sdp::intersect(&offer.offer.media.codecs, &tc.codecs);
        media.codecs = cx.config.calls.codecs.apply(&codecs);
        if media.codecs.iter().all(Codec::is_auxiliary) {
            self.vm = Some(vm);
            self.through_vm(cx, Reason::NoCommonCodec);
            return self.pass(cx, heard);
        }
        media.channel = self.answering(media.channel, &offer.offer.media.channel);
        let body = self.told_gateway.say(vm.with(&media, None));
        self.vm_holds = vm.is_hold();
        self.vm = Some(vm);
        self.plane = Plane::Bypass;
        self.set_flows(cx);
        self.pass_with(cx, heard, Some(&body));
        self.begin_keep_alive(cx);
        self.tell_tc_the_newest(cx);
    }

    /// An ACK or PRACK that answers the offer of the exchange under way. False:
    /// it does not.
    pub(super) fn answers_late_offer(&mut self, cx: &mut Context<'_>, heard: &Heard) -> bool {
        let ours = match &self.exchange {
            Exchange::GatewayAnswers(offer) => offer.answered_in.is(heard),
            Exchange::VmAnswers(offer) => offer.answered_in.is(heard),
            _ => false,
        };
        if !ours || !matches!(heard.message.method(), Method::Ack | Method::Prack) {
            return false;
        }
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::GatewayAnswers(offer) => self.gateway_acknowledges(cx, offer, heard),
            Exchange::VmAnswers(offer) => self.vm_acknowledges(cx, &offer, heard),
            other => self.exchange = other,
        }
        true
    }
}
