//! Back to the VM: before the VM has heard of an answer, or during the call.

use super::heard::Heard;
use super::state::{Exchange, Held, Plane, Progress, TcState, VmOffer};
use super::{Call, Context, Reason};
use crate::engine::Side;

impl Call {
    /// The TC's leg has failed, or the bypass is not to be.
    pub(crate) fn tc_failed(&mut self, cx: &mut Context<'_>, reason: Reason) {
        self.drop_tc(cx);
        self.tc.state = TcState::Gone(reason);
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            // Nothing has been promised yet: it costs nothing.
            Exchange::TcOffers(offer) => {
                self.leave_to_vm(cx, &offer.request, reason);
            }
            Exchange::TcAnswersLate(_, held) => self.let_late_offer(cx, &held, reason),
            Exchange::TakesOver => self.stay_with_vm(cx),
            Exchange::Offerless(_) => self.through_vm(cx, reason),
            Exchange::TcAnswers(offer, held) => self.take_back(cx, offer, held, reason),
            Exchange::TcAnswersGateway(_, held) => self.let_vm_answer(cx, &held, reason),
            // The answer that is awaited decides.
            Exchange::GatewayAnswers(mut offer) => {
                offer.fall_back.get_or_insert(reason);
                self.exchange = Exchange::GatewayAnswers(offer);
            }
            Exchange::GatewayAnswersAgain(mut offer, held) => {
                offer.fall_back.get_or_insert(reason);
                self.exchange = Exchange::GatewayAnswersAgain(offer, held);
            }
            Exchange::VmAnswers(mut offer) => {
                offer.fall_back.get_or_insert(reason);
                self.exchange = Exchange::VmAnswers(offer);
            }
            Exchange::Idle if self.plane == Plane::Bypass => self.hand_back(cx, reason),
            other => self.exchange = other,
        }
    }

    /// The answer that an exchange waits for has not come in time.
    pub(super) fn give_up_exchange(&mut self, cx: &mut Context<'_>) {
        let fall_back = match &self.exchange {
            Exchange::TcOffers(_)
            | Exchange::TcAnswers(..)
            | Exchange::TcAnswersGateway(..)
            | Exchange::TcAnswersLate(..)
            | Exchange::TakesOver => {
                return self.tc_failed(cx, Reason::TcNoAnswer);
            }
            // A re-INVITE or UPDATE whose sender has given up.
            Exchange::GatewayAnswers(offer) => offer.fall_back,
            Exchange::VmAnswers(offer) => offer.fall_back,
            Exchange::Leaving(..) => None,
            _ => return,
        };
        self.exchange = Exchange::Idle;
        if let Some(reason) = fall_back {
            self.hand_back(cx, reason);
        }
    }

    /// The gateway has accepted the TC's media, but the TC will not do: the
    /// gateway is acknowledged in the VM's name and offered what the VM offered.
    pub(super) fn take_back(
        &mut self,
        cx: &mut Context<'_>,
        offer: VmOffer,
        mut held: Held,
        reason: Reason,
    ) {
        self.drop_tc(cx);
        self.tc.state = TcState::Gone(reason);
        self.exchange_by = None;
        if !offer.initial && self.progress != Progress::Up {
            // An early UPDATE: nothing can be offered before the call is up.
            self.owed_hand_back.get_or_insert(reason);
            return self.commit(cx, &offer, held);
        }
        self.acknowledge(cx, &mut held);
        let body = self.told_gateway.say(offer.offer.bytes().to_vec());
        self.vm = Some(offer.offer.clone());
        self.offer_to(cx, Side::Net, body);
        self.exchange = Exchange::GatewayTakesVm(offer, held, reason);
    }

    /// A call that is up goes back to the VM: the gateway is offered the VM's
    /// media, then the VM the gateway's.
    pub(super) fn hand_back(&mut self, cx: &mut Context<'_>, reason: Reason) {
        if self.progress != Progress::Up || !self.is_acknowledged {
            // A re-INVITE has to wait for the INVITE's end (RFC 3261 §14.1), and who
            // has not got its ACK takes it for a mistake.
            self.owed_hand_back.get_or_insert(reason);
            return;
        }
        let Some(vm) = &self.vm else {
            return self.through_vm(cx, reason);
        };
        let body = self.told_gateway.say(vm.bytes().to_vec());
        self.offer_to(cx, Side::Net, body);
        self.exchange = Exchange::HandBackToVm(reason);
    }

    /// What had to wait until the call was up.
    pub(super) fn hand_back_what_is_owed(&mut self, cx: &mut Context<'_>) {
        if let Some(reason) = self.owed_hand_back.take()
            && self.plane == Plane::Bypass
            && matches!(self.exchange, Exchange::Idle)
        {
            self.hand_back(cx, reason);
        }
    }

    /// The datapath will not have the call's flows, or Sidestep stops.
    pub(crate) fn give_up_bypass(&mut self, cx: &mut Context<'_>, reason: Reason) {
        if self.is_over() || self.is_through_vm() {
            return;
        }
        // The TC stays until the gateway has answered.
        match &mut self.exchange {
            Exchange::Idle if self.plane == Plane::Bypass => self.hand_back(cx, reason),
            Exchange::GatewayAnswers(offer) | Exchange::GatewayAnswersAgain(offer, _) => {
                offer.fall_back.get_or_insert(reason);
            }
            Exchange::VmAnswers(offer) => {
                offer.fall_back.get_or_insert(reason);
            }
            _ => self.tc_failed(cx, reason),
        }
    }

    /// Our own offer has been answered.
    pub(super) fn own_offer_answered(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        let answer = self.answer_in(heard);
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::GatewayAnswersAgain(offer, held) => match answer {
                Some(Ok(gateway)) => {
                    self.gateway = Some(gateway);
                    self.consult_tc(cx, offer, held);
                }
                Some(Err(error)) => self.take_back(cx, offer, held, error.reason()),
                None => self.take_back(cx, offer, held, Reason::SdpNotUnderstood),
            },
            Exchange::GatewayTakesVm(offer, held, reason) => {
                self.gateway = answer.and_then(Result::ok);
                self.through_vm(cx, reason);
                if offer.is_answered(&held.response) {
                    self.release(cx, &held, None);
                    return self.tell_vm_of_gateway(cx);
                }
                let body = heard.sdp().map(|sdp| self.told_vm.say(sdp.to_vec()));
                self.release(cx, &held, body.as_deref());
            }
            Exchange::GatewayAnswersTc(offer) => {
                self.gateway_knows_tc(cx, offer, answer.and_then(Result::ok));
            }
            Exchange::HandBackToVm(reason) => {
                if let Some(Ok(gateway)) = answer {
                    self.gateway = Some(gateway);
                }
                self.through_vm(cx, reason);
                self.tell_vm_of_gateway(cx);
            }
            Exchange::VmTakesGateway => {
                if let Some(Ok(vm)) = answer {
                    self.vm = Some(vm);
                }
                self.set_flows(cx);
            }
            other => self.exchange = other,
        }
    }

    /// The gateway would not have the VM's media, as where it wants credentials, which
    /// only the VM has; and the TC is gone. What can be done without the gateway is
    /// done: the VM sends to it, so that one that learns where media comes from sends
    /// back there; and the VM is asked to refresh the session (RFC 4028), with its own
    /// offer and credentials, after which all is as it should be. So it is after
    /// whatever the VM offers next.
    fn leave_gateway_to_vm(&mut self, cx: &mut Context<'_>) {
        self.through_vm(cx, Reason::HandBackRefused);
        self.ask_for_refresh(cx);
    }

    /// The VM is told the gateway's media again, and asked to refresh the session.
    pub(super) fn ask_for_refresh(&mut self, cx: &mut Context<'_>) {
        let refused = self.plane == Plane::Vm(Reason::HandBackRefused) && !self.refreshes;
        let idle = matches!(self.exchange, Exchange::Idle) && self.progress == Progress::Up;
        let Some(gateway) = self.gateway.as_ref().filter(|_| refused && idle) else {
            return;
        };
        let body = match self.told_vm.last() {
            Some(told) => told.next(&gateway.media),
            None => gateway.bytes().to_vec(),
        };
        let body = self.told_vm.say(body);
        self.offer_to_refresh(cx, body);
        self.exchange = Exchange::VmTakesGateway;
    }

    /// The VM, which may believe that its media goes nowhere, hears where.
    fn tell_vm_of_gateway(&mut self, cx: &mut Context<'_>) {
        let (Some(told), Some(gateway)) = (self.told_vm.last(), &self.gateway) else {
            return;
        };
        if told.media.rtp == gateway.media.rtp && told.media.codecs == gateway.media.codecs {
            return;
        }
        let body = told.next(&gateway.media);
        let body = self.told_vm.say(body);
        self.offer_to(cx, Side::Vm, body);
        self.exchange = Exchange::VmTakesGateway;
    }

    /// Our own offer has been refused, or nothing came.
    pub(super) fn own_offer_refused(&mut self, cx: &mut Context<'_>, status: u16) {
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::GatewayAnswersAgain(offer, held) => {
                let reason = match status {
                    415 | 488 | 606 => Reason::NoCommonCodec,
                    _ => Reason::GatewayRefused,
                };
                let reason = offer.fall_back.unwrap_or(reason);
                self.take_back(cx, offer, held, reason);
            }
            // Nothing better is left than what the gateway said first.
            Exchange::GatewayTakesVm(_, held, _) => {
                let body = held
                    .response
                    .sdp()
                    .map(|sdp| self.told_vm.say(sdp.to_vec()));
                self.through_vm(cx, Reason::HandBackRefused);
                self.release(cx, &held, body.as_deref());
            }
            Exchange::GatewayAnswersTc(offer) => self.gateway_knows_tc(cx, offer, None),
            // A bypass that works is better than none.
            Exchange::HandBackToVm(_) => match self.tc.state {
                TcState::Idle | TcState::Gone(_) => self.leave_gateway_to_vm(cx),
                _ => {}
            },
            Exchange::VmTakesGateway => {}
            other => self.exchange = other,
        }
    }
}
