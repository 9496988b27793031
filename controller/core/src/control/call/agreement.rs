//! Who has to be told what, until all agree; and back to the VM.

use std::time::Duration;

use super::tc_leg::{Consent, Said, TcState};
use super::{Call, Modify, Plane, Purpose};
use crate::bypass::described::{Described, has_changed, share_speech};
use crate::bypass::flows::Anchor;
use crate::bypass::keep_alive::KeepAlive;
use crate::bypass::{Context, Reason};
use crate::media::{Direction, Media};
use crate::tc::TcEvent;

/// How often the gateway is told again of a TC that changes, before the call is
/// left as it then stands.
const ROUNDS: u8 = 2;

impl Call {
    /// What the TC is to be told of the gateway: which way media may go is the
    /// mode's to say, and the gateway's. While the VM's user holds the call, the
    /// TC's microphone is not to be heard.
    pub(super) fn gateway_for_tc(&self) -> Option<Media> {
        let gateway = self.gateway.as_ref()?;
        let mut media = Anchor::for_tc(self.media_path.anchor(), &gateway.media);
        let held = self.vm.as_ref().is_some_and(Described::is_hold);
        media.direction = if held {
            Direction::Inactive
        } else {
            both(self.mode, media.direction)
        };
        Some(media)
    }

    /// Looks at what is missing for the TC and the gateway to agree, and asks for
    /// it. Does nothing while an answer is under way that may change it.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        let busy = !self.in_flight.is_empty() || self.own.is_some();
        if self.is_over() || matches!(self.plane, Plane::Vm(_)) || busy {
            return;
        }
        if let Some(reason) = self.falling {
            return self.fall_back(cx, reason);
        }
        let (Some(gateway), Some(tc), Some(promised)) =
            (&self.gateway, self.tc.media.clone(), &self.promised)
        else {
            return;
        };
        if !share_speech(&gateway.media.codecs, &tc.codecs) {
            return self.fall_back(cx, Reason::NoCommonCodec);
        }
        // 305, 503, 509, 607: changed information goes to the gateway.
        if self.rounds < ROUNDS && has_changed(promised, &gateway.media.codecs, &tc) {
            self.rounds += 1;
            return self.tell_gateway(cx, tc, None);
        }
        // 505, 611: what the gateway says goes to the TC.
        self.set_flows(cx);
        let Some(media) = self.gateway_for_tc() else {
            return;
        };
        match self.tc.tell(cx, &media) {
            Consent::Agreed => self.commit(cx),
            Consent::Waiting => {
                let by = cx.now + patience(cx);
                self.answer_by.get_or_insert(by);
            }
            Consent::Failed(reason) => self.fall_back(cx, reason),
        }
    }

    /// All agree.
    fn commit(&mut self, cx: &mut Context<'_>) {
        self.answer_by = None;
        self.rounds = 0;
        self.plane = Plane::Bypass;
        self.set_flows(cx);
        if self.keep_alive.is_none() {
            self.keep_alive = Some(KeepAlive::start(cx.now, cx.identifiers.below(u32::MAX)));
        }
    }

    /// A command of our own tells the gateway other media of the TC's.
    fn tell_gateway(&mut self, cx: &mut Context<'_>, media: Media, answer_to: Option<Described>) {
        let Some(vm) = &self.vm else {
            return;
        };
        let held = vm.is_hold();
        let direction = answer_to
            .as_ref()
            .filter(|_| !held)
            .map(|offer| offer.media.direction);
        let body = vm.with(
            &Anchor::for_gateway(self.media_path.anchor(), &media),
            direction,
        );
        self.ask(cx, body, Purpose::Media { media, answer_to });
    }

    fn ask(&mut self, cx: &mut Context<'_>, remote: Vec<u8>, purpose: Purpose) {
        self.last_heard = cx.now;
        let remote = self.told_gateway.say(remote);
        self.outbox = Some(Modify { remote });
        self.own = Some(purpose);
    }

    /// Something has become of the TC's leg.
    pub(in crate::control) fn tc_event(&mut self, cx: &mut Context<'_>, event: TcEvent) {
        if self.is_over() {
            return;
        }
        match self.tc.hears(cx, event) {
            Said::Nothing => {}
            Said::Described => self.tc_describes(cx),
            Said::Offers(offer) => self.tc_offers(cx, offer),
            Said::Failed(reason) => self.tc_failed(cx, reason),
        }
    }

    /// Steps 503, 607: what the TC says of itself.
    fn tc_describes(&mut self, cx: &mut Context<'_>) {
        self.answer_by = None;
        let Some(rtp) = self.tc.media.as_ref().map(|media| media.rtp) else {
            return;
        };
        // It may be elsewhere than where it registered from.
        match self.decide(cx, rtp) {
            Ok(()) => self.settle(cx),
            Err(reason) => self.tc_failed(cx, reason),
        }
    }

    /// Step 509 and later: the TC wants other media.
    fn tc_offers(&mut self, cx: &mut Context<'_>, offer: Described) {
        let busy = !self.in_flight.is_empty() || self.own.is_some();
        let (Some(promised), Some(gateway)) = (&self.promised, &self.gateway) else {
            return self.tc.not_now(cx);
        };
        if busy || self.plane != Plane::Bypass {
            return self.tc.not_now(cx);
        }
        let before = self.tc.media.as_ref().map(|tc| tc.direction);
        let media = offer.media.clone();
        if has_changed(promised, &gateway.media.codecs, &media) || before != Some(media.direction) {
            return self.tell_gateway(cx, media, Some(offer));
        }
        self.tc.media = Some(media);
        let gateway = self.gateway_for_tc();
        self.tc.answer_offer(cx, offer, gateway.as_ref());
    }

    /// The TC's leg has failed, or will not be.
    pub(super) fn tc_failed(&mut self, cx: &mut Context<'_>, reason: Reason) {
        self.tc.drop(cx, TcState::Gone(reason));
        self.fall_back(cx, reason);
    }

    /// Back to the VM. Before the gateway was told of the TC that costs nothing;
    /// then it is told of the VM again, as soon as it has answered what it was
    /// asked.
    pub(super) fn fall_back(&mut self, cx: &mut Context<'_>, reason: Reason) {
        self.answer_by = None;
        if self.is_over() || matches!(self.plane, Plane::Vm(_)) {
            return;
        }
        if self.promised.is_none() {
            return self.through_vm(cx, reason);
        }
        if !self.in_flight.is_empty() || self.own.is_some() {
            self.falling.get_or_insert(reason);
            return;
        }
        self.falling = None;
        let Some(body) = self.vm_as_it_said() else {
            return self.through_vm(cx, reason);
        };
        self.ask(cx, body, Purpose::Restore(reason));
    }

    /// The VM says something that cannot be bypassed: it goes as it is, and with it
    /// the call.
    pub(super) fn take_back(&mut self, cx: &mut Context<'_>, reason: Reason) {
        self.own = None;
        self.outbox = None;
        self.through_vm(cx, reason);
    }

    /// The datapath will not have the call's flows, or Sidestep stops.
    pub(in crate::control) fn give_up_bypass(&mut self, cx: &mut Context<'_>, reason: Reason) {
        if !matches!(self.own, Some(Purpose::Restore(_))) {
            self.fall_back(cx, reason);
        }
    }

    /// From here on the media goes through the VM.
    pub(super) fn through_vm(&mut self, cx: &mut Context<'_>, reason: Reason) {
        self.plane = Plane::Vm(reason);
        self.answer_by = None;
        self.falling = None;
        self.keep_alive = None;
        self.promised = None;
        self.tc.drop(cx, TcState::Gone(reason));
        self.set_flows(cx);
        self.media_path.give_back_anchor(cx);
    }
}

/// What two directions of the same describer allow.
fn both(one: Direction, other: Direction) -> Direction {
    let sends = |d| matches!(d, Direction::SendRecv | Direction::SendOnly);
    let receives = |d| matches!(d, Direction::SendRecv | Direction::RecvOnly);
    match (sends(one) && sends(other), receives(one) && receives(other)) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

/// How long the TC may take, with some grace for its agent's own timer.
pub(super) fn patience(cx: &Context<'_>) -> Duration {
    cx.config.tc_answer_timeout + Duration::from_secs(1)
}
