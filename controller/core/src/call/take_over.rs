//! The TC takes over a call that is up and goes through the VM: after a fax, where
//! the VM's media had to be the first, or where the TC was busy with another call
//! (an attended transfer, RFC 5589 §7, or a call that waited).
//!
//! The VM believes the gateway's real address, as in any incoming call, so it
//! hears nothing of this: the TC is called (403), and the gateway gets the TC's
//! media by re-INVITE (as in step 305's second round).

use super::state::{Exchange, Progress, TakeOver, TcOffer, TcState};
use super::tc_leg::Consent;
use super::vm_offer::patience;
use super::{Call, Context};

impl Call {
    /// Calls the TC, if the call waits for it and both sides have audio.
    pub(super) fn take_over(&mut self, cx: &mut Context<'_>) {
        let waits = self.take_over == TakeOver::WithAudio
            && self.is_through_vm()
            && self.progress == Progress::Up;
        let idle = matches!(self.exchange, Exchange::Idle) && self.tc.state == TcState::Idle;
        let (true, true, Some(vm), Some(gateway)) = (waits, idle, &self.vm, &self.gateway) else {
            return;
        };
        if vm.stream() != gateway.stream() {
            return;
        }
        self.stream = Some(vm.stream());
        let (vm, gateway) = (vm.bytes().to_vec(), gateway.clone());
        self.told_gateway.say(vm);
        self.told_vm.say(gateway.bytes().to_vec());
        self.take_over = TakeOver::Never;
        let consent = match self.begin_incoming(cx, &gateway.media) {
            Ok(()) => self.tell_tc(cx),
            Err(reason) => Consent::Failed(reason),
        };
        match consent {
            Consent::Waiting => {
                self.exchange_by = Some(cx.now + patience(cx));
                self.exchange = Exchange::TakesOver;
            }
            Consent::Agreed | Consent::Failed(_) => self.stay_with_vm(cx),
        }
    }

    /// Whether it waits for another call of the TC's to end.
    pub(crate) fn waits_for_tc(&self) -> bool {
        self.take_over == TakeOver::WhenFree
    }

    /// That call has ended.
    pub(crate) fn tc_is_free(&mut self, cx: &mut Context<'_>) {
        if self.waits_for_tc() {
            self.take_over = TakeOver::WithAudio;
            self.take_over(cx);
        }
    }

    /// The TC has answered: the gateway is offered its media.
    pub(super) fn tc_takes_over(&mut self, cx: &mut Context<'_>) {
        self.exchange_by = None;
        match self.tc.media.clone() {
            Some(media) if self.tc_and_gateway_share_speech() => {
                let offer = TcOffer {
                    media,
                    answer_to: None,
                };
                self.tell_gateway_of_tc(cx, offer);
            }
            _ => self.stay_with_vm(cx),
        }
    }

    /// It is not to be: nothing has changed for VM and gateway.
    pub(super) fn stay_with_vm(&mut self, cx: &mut Context<'_>) {
        self.exchange = Exchange::Idle;
        self.exchange_by = None;
        self.drop_tc(cx);
        self.media_path.give_back_anchor(cx);
    }

    /// VM or gateway have something to agree on first.
    pub(super) fn put_off_take_over(&mut self, cx: &mut Context<'_>) {
        if matches!(self.exchange, Exchange::TakesOver) {
            self.stay_with_vm(cx);
            self.take_over = TakeOver::WithAudio;
        }
    }
}
