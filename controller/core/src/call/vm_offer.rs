//! An offer of the VM: the INVITE of an outgoing call (Fig. 3), and its
//! re-INVITEs and UPDATEs during any call.

use std::time::Duration;

use super::described::{Described, has_changed, share_speech};
use super::flows::Anchor;
use super::heard::Heard;
use super::open_offers::AnsweredIn;
use super::state::{Exchange, Held, Plane, Progress, TcState, VmOffer};
use super::tc_leg::Consent;
use super::{Call, Context, Reason};
use crate::bypass::keep_alive::KeepAlive;
use crate::engine::Side;
use crate::media::{Codec, Media};
use crate::sdp::SessionDescription;
use crate::sip::Name;
use crate::tc::CallProgress;

/// How long the answer to an offer in a call may take: as long as its sender
/// waits (Timers B and F, RFC 3261 §17.1).
pub(super) const ANSWER: Duration = Duration::from_secs(32);
/// How often 302 is done again before the call is set up as it then stands.
const ROUNDS: u8 = 2;

impl Call {
    /// The VM's INVITE, re-INVITE or UPDATE (before 302).
    pub(super) fn vm_offers(&mut self, cx: &mut Context<'_>, heard: Heard, initial: bool) {
        let described = match heard.sdp() {
            None if initial => return self.begin_without_offer(cx, &heard),
            // A session refresh or a request for the gateway's offer.
            None => return self.pass(cx, &heard),
            Some(sdp) => match Described::offer(sdp, self.stream) {
                Ok(offer) => offer.is_answerable().map(|()| offer),
                Err(error) => Err(match error.reason() {
                    Reason::NoCommonCodec => Reason::SdpNotUnderstood,
                    reason => reason,
                }),
            },
        };
        let offer = match described {
            Ok(offer) => offer,
            Err(reason) if initial => return self.leave_to_vm(cx, &heard, reason),
            Err(reason) => {
                self.exchange = Exchange::Leaving(heard.key(), reason);
                self.exchange_by = Some(cx.now + ANSWER);
                return self.pass(cx, &heard);
            }
        };
        self.stream = Some(offer.stream());
        self.echoes = 0;
        let answered_in = AnsweredIn::Response(heard.key());
        let offer = VmOffer::new(heard, offer, answered_in, initial);
        if initial {
            self.begin_outgoing(cx, offer);
        } else {
            self.send_offer(cx, offer);
        }
    }

    /// An INVITE outside any dialog: is it to be bypassed, and how is the TC's
    /// media known?
    ///
    /// The path is decided here, by the gateway's signalling address, since its
    /// media's is not known yet; it stays when that turns out to match another
    /// rule, since changing it would cost a re-INVITE in every such call.
    pub(super) fn begin_outgoing(&mut self, cx: &mut Context<'_>, offer: VmOffer) {
        self.vm = Some(offer.offer.clone());
        let gateway = self.dialog.gateway.signalling;
        let binding = match (cx.binding, cx.stopping) {
            (Some(binding), false) => binding,
            (None, false) => return self.leave_to_vm(cx, &offer.request, Reason::TcNotRegistered),
            (_, true) => return self.leave_to_vm(cx, &offer.request, Reason::Stopping),
        };
        self.tc.user = Some(binding.user.clone());
        // The VM was challenged, or redirected, and the TC waits already.
        if matches!(self.tc.state, TcState::OwedAnswer { .. } | TcState::Up) {
            return self.send_offer(cx, offer);
        }
        let tc = binding.media.as_ref().map_or(binding.address, |m| m.rtp);
        let room = cx.has_room_for_leg(binding);
        if let Err(reason) = room.and_then(|()| self.decide(cx, tc, gateway)) {
            return self.leave_to_vm(cx, &offer.request, reason);
        }
        self.begin_trial(binding);
        // What it registered once has no key for this call. And where the gateway
        // asks for credentials, which only the VM has, nothing must be left to be
        // told it later (305).
        let ask = offer.offer.media.channel.is_secure() || has_credentials(&offer.request);
        match binding.media.as_ref().filter(|_| !ask) {
            // Registered with its media (301).
            Some(media) => {
                let Ok(media) = allowed(cx, media) else {
                    return self.leave_to_vm(cx, &offer.request, Reason::NoCommonCodec);
                };
                self.tc.media = Some(media);
                self.tc.state = TcState::Idle;
                self.send_offer(cx, offer);
            }
            None => {
                cx.tc.invite(cx.now, self.leg(), binding, None);
                self.tc.state = TcState::Invited { offerless: true };
                self.exchange_by = Some(cx.now + patience(cx));
                self.exchange = Exchange::TcOffers(offer);
            }
        }
    }

    /// Step 302: the VM's request goes to the gateway with the TC's media.
    pub(super) fn send_offer(&mut self, cx: &mut Context<'_>, offer: VmOffer) {
        let Some(tc) = self.tc.media.clone() else {
            return self.leave_to_vm(cx, &offer.request, Reason::TcLost);
        };
        let mut media = Anchor::for_gateway(self.anchor(), &tc);
        if media.codecs.is_empty() && !cx.config.calls.codecs.is_silent() {
            // Its codecs are not known: the VM's, as far as they may be used.
            let Ok(allowed) = allowed(cx, &offer.offer.media) else {
                return self.leave_to_vm(cx, &offer.request, Reason::NoCommonCodec);
            };
            media.codecs = allowed.codecs;
        }
        let body = offer.offer.with(&media, None);
        let body = self.told_gateway.say(body);
        self.promised = Some(tc);
        self.exchange_by = (!offer.initial).then_some(cx.now + ANSWER);
        self.pass_with(cx, &offer.request, Some(&body));
        if let Some(status) = offer.request.message.status() {
            self.advance(cx, status);
        }
        self.exchange = Exchange::GatewayAnswers(offer);
    }

    /// The VM's offer goes as it came.
    pub(super) fn leave_to_vm(&mut self, cx: &mut Context<'_>, request: &Heard, reason: Reason) {
        self.through_vm(cx, reason);
        self.pass(cx, request);
        if let Some(status) = request.message.status() {
            self.advance(cx, status);
        }
    }

    /// A response of the gateway's to the VM's offer (303).
    pub(super) fn gateway_answers(&mut self, cx: &mut Context<'_>, heard: Heard) {
        let Exchange::GatewayAnswers(mut offer) =
            std::mem::replace(&mut self.exchange, Exchange::Idle)
        else {
            return;
        };
        match heard.message.status().unwrap_or(0) {
            status @ ..=199 => {
                if offer.initial && status == 180 {
                    self.ring_back(cx, CallProgress::Ringback);
                }
                self.gateway_rings(cx, &mut offer, &heard);
                if offer.initial {
                    self.advance(cx, status);
                }
                self.exchange = Exchange::GatewayAnswers(offer);
            }
            200..=299 => self.gateway_accepts(
                cx,
                offer,
                Held {
                    response: Box::new(heard),
                    acknowledged: false,
                },
            ),
            status => self.gateway_refuses(cx, offer, &heard, status),
        }
    }

    /// A provisional response; with a session description it is early media, and
    /// the TC hears it (304).
    fn gateway_rings(&mut self, cx: &mut Context<'_>, offer: &mut VmOffer, heard: &Heard) {
        let early = self.answer_in(heard).and_then(Result::ok);
        let Some(gateway) = early else {
            self.pass(cx, heard);
            return;
        };
        offer.note_early(heard.sender_tag(), heard.rseq().is_some(), &gateway);
        self.gateway = Some(gateway.clone());
        // What the gateway plays is to be heard instead of our ringback.
        self.ring_back(cx, CallProgress::Quiet);
        if offer.fall_back.is_none() {
            self.set_flows(cx);
            if let Consent::Failed(reason) = self.tell_tc(cx) {
                offer.fall_back = Some(reason);
            }
        }
        let body = self.answer_vm(cx, &offer.offer, &gateway);
        // The guard too, before the VM knows where to send.
        self.set_flows(cx);
        self.pass_with(cx, heard, body.as_deref());
    }

    /// Step 303: the gateway's media and codecs.
    fn gateway_accepts(&mut self, cx: &mut Context<'_>, offer: VmOffer, held: Held) {
        if let Some(reason) = offer.fall_back {
            return self.take_back(cx, offer, held, reason);
        }
        let early = offer.early_of(&held.response);
        let gateway = match (held.response.sdp(), early) {
            // The answer came in a reliable provisional response (RFC 3262 §5).
            (_, Some(early)) if early.reliable => Ok(early.gateway.clone()),
            (Some(sdp), _) => Described::answer(sdp, self.stream).map_err(|error| error.reason()),
            (None, Some(early)) => Ok(early.gateway.clone()),
            (None, None) => Err(Reason::SdpNotUnderstood),
        };
        match gateway {
            Ok(gateway) => {
                self.gateway = Some(gateway);
                self.consult_tc(cx, offer, held);
            }
            // It has chosen another audio stream, which is the VM's own.
            Err(_) if self.chooses_another(&held) => {
                self.through_vm(cx, Reason::SdpNotUnderstood);
                self.release(cx, &held, None);
            }
            Err(reason) => self.take_back(cx, offer, held, reason),
        }
    }

    /// Whether the gateway has rejected the stream that is to be bypassed, and
    /// taken another one.
    fn chooses_another(&self, held: &Held) -> bool {
        let sdp = held.response.sdp().map(SessionDescription::parse);
        match (sdp, self.stream) {
            (Some(Ok(sdp)), Some(stream)) => {
                let rejected = sdp.media().get(stream).is_some_and(|m| m.port == 0);
                rejected && sdp.has_other_audio(stream)
            }
            _ => false,
        }
    }

    /// Step 304: the TC is told what the gateway said, and the gateway's answer
    /// is held until it agrees (305).
    pub(super) fn consult_tc(&mut self, cx: &mut Context<'_>, offer: VmOffer, held: Held) {
        if let Some(reason) = offer.fall_back {
            return self.take_back(cx, offer, held, reason);
        }
        self.vm = Some(offer.offer.clone());
        self.vm_holds = offer.offer.is_hold();
        if !self.tc_and_gateway_share_speech() {
            return self.take_back(cx, offer, held, Reason::NoCommonCodec);
        }
        self.set_flows(cx);
        self.ring_back(cx, CallProgress::Quiet);
        match self.tell_tc(cx) {
            Consent::Agreed => self.tc_agrees(cx, offer, held),
            Consent::Waiting => {
                self.exchange_by = Some(cx.now + patience(cx));
                self.exchange = Exchange::TcAnswers(offer, held);
            }
            Consent::Failed(reason) => self.take_back(cx, offer, held, reason),
        }
    }

    pub(super) fn tc_and_gateway_share_speech(&self) -> bool {
        match (&self.tc.media, &self.gateway) {
            (Some(tc), Some(gateway)) => share_speech(&gateway.media.codecs, &tc.codecs),
            _ => false,
        }
    }

    /// Step 305: the TC's answer. Where it differs from 301, 302 to 304 are done
    /// again with what it says now.
    fn tc_agrees(&mut self, cx: &mut Context<'_>, mut offer: VmOffer, mut held: Held) {
        let (Some(promised), Some(tc), Some(gateway)) =
            (&self.promised, self.tc.media.clone(), &self.gateway)
        else {
            return self.take_back(cx, offer, held, Reason::TcLost);
        };
        let early = !offer.initial && self.progress != Progress::Up;
        if offer.rounds >= ROUNDS && !promised.channel.covers(&tc.channel) {
            // Each answers the other's new key with a new one.
            return self.take_back(cx, offer, held, Reason::TcRefused);
        }
        if early || offer.rounds >= ROUNDS || !has_changed(promised, &gateway.media.codecs, &tc) {
            return self.commit(cx, &offer, held);
        }
        offer.rounds += 1;
        self.acknowledge(cx, &mut held);
        let body = offer
            .offer
            .with(&Anchor::for_gateway(self.anchor(), &tc), None);
        let body = self.told_gateway.say(body);
        self.promised = Some(tc);
        self.exchange_by = None;
        self.offer_to(cx, Side::Net, body);
        self.exchange = Exchange::GatewayAnswersAgain(offer, held);
    }

    /// All agree: the flows of 306, and the VM hears that it was answered.
    pub(super) fn commit(&mut self, cx: &mut Context<'_>, offer: &VmOffer, held: Held) {
        self.plane = Plane::Bypass;
        let body = match (self.gateway.clone(), held.response.sdp()) {
            (Some(gateway), Some(_)) => self.answer_vm(cx, &offer.offer, &gateway),
            _ => None,
        };
        self.set_flows(cx);
        self.release(cx, &held, body.as_deref());
        self.begin_keep_alive(cx);
    }

    pub(super) fn begin_keep_alive(&mut self, cx: &mut Context<'_>) {
        if self.keep_alive.is_none() {
            self.keep_alive = Some(KeepAlive::start(cx.now, cx.identifiers.below(u32::MAX)));
        }
    }

    /// The held answer goes to the VM; where the gateway has its ACK already,
    /// repeating it is ours.
    pub(super) fn release(&mut self, cx: &mut Context<'_>, held: &Held, body: Option<&[u8]>) {
        self.exchange = Exchange::Idle;
        self.exchange_by = None;
        let datagram = self.pass_with(cx, &held.response, body);
        if held.acknowledged {
            let (number, _) = held.response.message.cseq();
            let number = self.dialog.vm.cseq.inward(number).unwrap_or(number);
            self.repeat_until_ack(cx.now, datagram, number);
        }
        self.advance(cx, 200);
    }

    /// A final refusal. One for the TC's codecs is not the VM's business: its
    /// INVITE goes again as it came.
    fn gateway_refuses(
        &mut self,
        cx: &mut Context<'_>,
        offer: VmOffer,
        heard: &Heard,
        status: u16,
    ) {
        self.exchange_by = None;
        let for_codecs = matches!(status, 415 | 488 | 606);
        if for_codecs && offer.initial && !offer.request.branch().is_empty() {
            let reason = offer.fall_back.unwrap_or(Reason::NoCommonCodec);
            self.through_vm(cx, reason);
            return self.reissue(cx, &offer, heard);
        }
        self.pass(cx, heard);
        if offer.initial {
            self.advance(cx, status);
        } else if let Some(reason) = offer.fall_back {
            self.hand_back(cx, reason);
        }
    }
}

/// Whether a request answers a challenge (RFC 3261 §22).
fn has_credentials(request: &Heard) -> bool {
    const PROXY: Name = Name::new("Proxy-Authorization");
    [Name::AUTHORIZATION, PROXY]
        .into_iter()
        .any(|name| request.message.header(name).is_some())
}

/// Media with the codecs that the operator allows, in the operator's order. A list
/// that is not known stays so.
///
/// # Errors
///
/// Where none is left that carries speech.
pub(super) fn allowed(cx: &Context<'_>, media: &Media) -> Result<Media, Reason> {
    let codecs = cx.config.calls.codecs.apply(&media.codecs);
    if !media.codecs.is_empty() && codecs.iter().all(Codec::is_auxiliary) {
        return Err(Reason::NoCommonCodec);
    }
    Ok(Media {
        codecs,
        ..media.clone()
    })
}

/// How long the TC may take, with some grace for its agent's own timer.
pub(super) fn patience(cx: &Context<'_>) -> Duration {
    cx.config.tc_answer_timeout + Duration::from_secs(1)
}
