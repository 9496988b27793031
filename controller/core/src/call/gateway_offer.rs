//! An offer of the gateway: the INVITE of an incoming call (Fig. 4), and its
//! re-INVITEs and UPDATEs during any call.

use super::described::{Described, share_speech};
use super::flows::{self, Anchor};
use super::heard::Heard;
use super::open_offers::AnsweredIn;
use super::state::{Exchange, GatewayOffer, Held, Plane, TakeOver};
use super::tc_leg::Consent;
use super::vm_offer::{ANSWER, allowed, patience};
use super::{Call, Context, Reason};
use crate::engine::PathChoice;
use crate::media::{Codec, Media};
use crate::sdp;

impl Call {
    /// Step 402: the gateway's offer goes to the VM as it came.
    pub(super) fn gateway_offers(&mut self, cx: &mut Context<'_>, heard: Heard, initial: bool) {
        let described = match heard.sdp() {
            None if initial => return self.begin_without_offer(cx, &heard),
            None => return self.pass(cx, &heard),
            Some(sdp) => Described::offer(sdp, self.stream).map_err(|error| match error.reason() {
                Reason::NoCommonCodec => Reason::SdpNotUnderstood,
                reason => reason,
            }),
        };
        match described {
            Ok(offer) => {
                let body = self.told_vm.say(offer.bytes().to_vec());
                self.echoes = 0;
                if initial {
                    self.stream = Some(offer.stream());
                    self.gateway = Some(offer.clone());
                    self.guard_unanswered(cx, &offer.media);
                } else {
                    self.guard_ahead(cx, &offer.media);
                }
                self.pass_with(cx, &heard, Some(&body));
                self.exchange_by = (!initial).then_some(cx.now + ANSWER);
                self.exchange = Exchange::VmAnswers(GatewayOffer {
                    key: heard.key(),
                    answered_in: AnsweredIn::Response(heard.key()),
                    offer,
                    initial,
                    fall_back: None,
                });
            }
            Err(reason) => {
                if initial {
                    self.through_vm(cx, reason);
                } else {
                    self.exchange = Exchange::Leaving(heard.key(), reason);
                    self.exchange_by = Some(cx.now + ANSWER);
                }
                self.pass(cx, &heard);
            }
        }
    }

    /// A response of the VM's to the gateway's offer.
    pub(super) fn vm_answers(&mut self, cx: &mut Context<'_>, heard: Heard) {
        let Exchange::VmAnswers(offer) = std::mem::replace(&mut self.exchange, Exchange::Idle)
        else {
            return;
        };
        match heard.message.status().unwrap_or(0) {
            status @ ..=199 => {
                if let Some(sdp) = heard.sdp() {
                    // So that another answer in the 2xx gets a higher version.
                    self.told_gateway.say(sdp.to_vec());
                    if offer.initial {
                        // The VM's early media is meant to be heard.
                        self.media_path.install(cx, self.id, Vec::new());
                        self.vm = Described::answer(sdp, self.stream).ok();
                    }
                }
                self.pass(cx, &heard);
                if offer.initial {
                    self.advance(cx, status);
                }
                self.exchange = Exchange::VmAnswers(offer);
            }
            200..=299 => {
                self.exchange_by = None;
                self.vm_accepts(cx, offer, heard);
            }
            status => {
                self.exchange_by = None;
                self.told_vm.retract();
                if self.plane == Plane::Bypass {
                    self.set_flows(cx);
                }
                self.pass(cx, &heard);
                if offer.initial {
                    self.advance(cx, status);
                } else if let Some(reason) = offer.fall_back {
                    self.hand_back(cx, reason);
                }
            }
        }
    }

    /// The user has answered at the VM's softphone (403).
    fn vm_accepts(&mut self, cx: &mut Context<'_>, offer: GatewayOffer, heard: Heard) {
        let held = Held {
            response: Box::new(heard),
            acknowledged: false,
        };
        let answer = self.answer_in(&held.response);
        let vm = match answer {
            Some(Ok(vm)) => vm,
            Some(Err(error)) => return self.let_vm_answer(cx, &held, error.reason()),
            // It was in a reliable provisional response, and stands until the TC
            // takes over.
            None => {
                if offer.initial && self.vm.is_some() {
                    self.take_over = TakeOver::WithAudio;
                }
                return self.let_vm_answer(cx, &held, Reason::SdpNotUnderstood);
            }
        };
        if vm.media.direction == crate::media::Direction::SendRecv {
            self.vm_holds = false;
        }
        self.vm = Some(vm);
        self.gateway = Some(offer.offer.clone());
        let possible = match (offer.fall_back, offer.initial) {
            (Some(reason), _) => Err(reason),
            (None, true) => self.begin_incoming(cx, &offer.offer.media),
            (None, false) => Ok(()),
        };
        match possible {
            Ok(()) => {
                if offer.initial {
                    self.guard_vm(cx);
                }
                self.consult_tc_for_gateway(cx, offer, held);
            }
            Err(reason) => self.let_vm_answer(cx, &held, reason),
        }
    }

    /// A call that is likely to be bypassed: what the VM's softphone will send the
    /// moment it answers must not get past the tap before its answer gets here.
    fn guard_unanswered(&mut self, cx: &mut Context<'_>, offer: &Media) {
        let Some(binding) = cx.binding.filter(|_| !cx.stopping) else {
            return;
        };
        let tc = binding.media.as_ref().map_or(binding.address, |m| m.rtp);
        let choice = flows::choose(&cx.config.paths, tc.ip(), offer.rtp.ip());
        if choice != PathChoice::Vm {
            let vm = cx.config.vms.get(self.vm_index);
            let flows = vm.map(|vm| flows::guards_of_unanswered(vm, offer));
            self.media_path
                .install(cx, self.id, flows.unwrap_or_default());
        }
    }

    /// The softphone sends from the moment it answers, while the gateway and the
    /// TC have yet to be told: the guard stands first.
    fn guard_vm(&mut self, cx: &mut Context<'_>) {
        if let (Some(vm), Some(gateway), Some(told)) =
            (&self.vm, &self.gateway, self.told_vm.media())
        {
            let vm = (&vm.media, told.rtp, told.rtcp);
            let flows = flows::guards(vm, &gateway.media);
            self.media_path.install(cx, self.id, flows);
        }
    }

    /// The same in mid-call: the softphone may turn to the new offer's address
    /// before its answer is seen here.
    pub(super) fn guard_ahead(&mut self, cx: &mut Context<'_>, offer: &Media) {
        let (Plane::Bypass, Some(vm), Some(flows)) =
            (self.plane, &self.vm, self.media_path.flows())
        else {
            return;
        };
        let mut flows = flows.to_vec();
        let vm = (&vm.media, offer.rtp, offer.rtcp);
        for guard in flows::guards(vm, offer) {
            if !flows.contains(&guard) {
                flows.push(guard);
            }
        }
        self.media_path.install(cx, self.id, flows);
    }

    /// Whether an incoming call can be bypassed.
    pub(super) fn begin_incoming(
        &mut self,
        cx: &mut Context<'_>,
        gateway: &Media,
    ) -> Result<(), Reason> {
        let binding = match (cx.binding, cx.stopping) {
            (Some(binding), false) => binding,
            (None, false) => return Err(Reason::TcNotRegistered),
            (_, true) => return Err(Reason::Stopping),
        };
        self.tc.user = Some(binding.user.clone());
        cx.has_room_for_leg(binding)?;
        self.begin_trial(binding);
        let media = binding.media.as_ref().map(|media| allowed(cx, media));
        self.tc.media = media.transpose()?;
        let tc = binding.media.as_ref().map_or(binding.address, |m| m.rtp);
        self.decide(cx, tc, gateway.rtp)?;
        match &self.tc.media {
            Some(media) if !share_speech(&gateway.codecs, &media.codecs) => {
                Err(Reason::NoCommonCodec)
            }
            _ => Ok(()),
        }
    }

    /// Step 403: the TC hears the gateway's offer, and the VM's answer is held
    /// until the TC has answered (404).
    pub(super) fn consult_tc_for_gateway(
        &mut self,
        cx: &mut Context<'_>,
        offer: GatewayOffer,
        held: Held,
    ) {
        match self.tell_tc(cx) {
            Consent::Agreed => self.answer_gateway(cx, &offer, &held),
            Consent::Waiting => {
                self.exchange_by = Some(cx.now + patience(cx));
                self.exchange = Exchange::TcAnswersGateway(offer, held);
            }
            Consent::Failed(reason) => self.let_vm_answer(cx, &held, reason),
        }
    }

    /// Step 405: the answer to the gateway carries the TC's media, as 404 said
    /// it, with those of its codecs that the gateway offered.
    fn answer_gateway(&mut self, cx: &mut Context<'_>, offer: &GatewayOffer, held: &Held) {
        let (Some(tc), Some(vm)) = (self.tc.media.clone(), self.vm.clone()) else {
            return self.let_vm_answer(cx, held, Reason::TcLost);
        };
        let codecs = sdp::intersect(&offer.offer.media.codecs, &tc.codecs);
        let codecs = cx.config.calls.codecs.apply(&codecs);
        if codecs.iter().all(Codec::is_auxiliary) {
            return self.let_vm_answer(cx, held, Reason::NoCommonCodec);
        }
        if offer.offer.media.channel.security() != tc.channel.security() {
            return self.let_vm_answer(cx, held, Reason::MediaEncrypted);
        }
        let mut media = Media {
            codecs,
            ..Anchor::for_gateway(self.anchor(), &tc)
        };
        media.channel = self.answering(media.channel, &offer.offer.media.channel);
        let body = self.told_gateway.say(vm.with(&media, None));
        self.promised = Some(tc);
        self.plane = Plane::Bypass;
        self.set_flows(cx);
        self.release(cx, held, Some(&body));
        self.begin_keep_alive(cx);
    }

    /// The VM's answer goes to the gateway as it came: the VM believes the
    /// gateway's real address, so this costs nothing.
    pub(super) fn let_vm_answer(&mut self, cx: &mut Context<'_>, held: &Held, reason: Reason) {
        let body = held
            .response
            .sdp()
            .map(|sdp| self.told_gateway.say(sdp.to_vec()));
        self.through_vm(cx, reason);
        self.release(cx, held, body.as_deref());
    }
}
