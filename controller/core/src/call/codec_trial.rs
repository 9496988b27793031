//! The document's address-only variant (claims 9, 10; M9): a thin client's codecs
//! are not known, so the gateway's choice is tried. What the thin client refuses is
//! offered the gateway no more, until both can.
//!
//! ```text
//! 302  INVITE ─► VM's codecs at the TC's address      gateway chooses A (303)
//! 304  INVITE with A ─► TC                            ◄─ 488: not A
//! 302  re-INVITE without A ─►                         gateway chooses B
//! 304  INVITE with B ─► TC                            ◄─ 200 (305)
//! ```
//!
//! What turns out in the call that is not decoded, the gateway is offered no more
//! either. There are four ways to find out: a re-INVITE of the thin client's without
//! the codec ([`super::tc_leg`]); its 488 to ours; its report, an INFO
//! ([`TcEvent::Undecodable`](crate::tc::TcEvent::Undecodable)); RTCP of either end that
//! says that nothing is received ([`crate::bypass::trial`]).

use super::flows::Anchor;
use super::state::{Exchange, Plane, Progress, TcOffer, TcState};
use super::vm_offer::allowed;
use super::{Call, Context, Reason};
use crate::bypass::trial::{Trial, Verdict};
use crate::engine::{Reception, Side, TrialOutcome};
use crate::media::{Codec, Media};
use crate::registrar::Binding;
use crate::sdp;
use crate::time::Time;

/// Codecs that a call remembers as refused: there are not as many.
const TRIES: usize = 64;

impl Call {
    /// The TC refuses what the gateway has chosen. False: there is nothing else to
    /// try.
    pub(super) fn try_next_codec(&mut self, cx: &mut Context<'_>) -> bool {
        if self.tc.state == TcState::Asked && self.trial.is_some() {
            // The leg goes on with the session that it had.
            self.tc.state = TcState::Up;
            self.tc.told.retract();
            self.note_refused(&[]);
            return self.try_another(cx);
        }
        let invited = self.tc.state == TcState::Invited { offerless: false };
        let Some(promised) = self.promised.clone().filter(|tc| tc.codecs.is_empty()) else {
            return false;
        };
        if !invited {
            return false;
        }
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::TcAnswers(offer, mut held) => {
                self.note_refused(&[]);
                let left = self.untried(cx, &offer.offer.media);
                if left.iter().all(Codec::is_auxiliary) {
                    self.exchange = Exchange::TcAnswers(offer, held);
                    return false;
                }
                // Its leg is over; it is called anew with the next.
                self.tc.state = TcState::Idle;
                self.exchange_by = None;
                self.acknowledge(cx, &mut held);
                let media = Media {
                    codecs: left,
                    ..Anchor::for_gateway(self.anchor(), &promised)
                };
                let body = self.told_gateway.say(offer.offer.with(&media, None));
                self.offer_to(cx, Side::Net, body);
                self.exchange = Exchange::GatewayAnswersAgain(offer, held);
                true
            }
            // Early media: the gateway cannot be asked again before it answers.
            Exchange::GatewayAnswers(offer) => {
                self.tc.state = TcState::Idle;
                self.exchange = Exchange::GatewayAnswers(offer);
                true
            }
            other => {
                self.exchange = other;
                false
            }
        }
    }

    /// A thin client's codecs are not known: from here on they are tried.
    pub(super) fn begin_trial(&mut self, binding: &Binding) {
        let address_only = binding.media.as_ref().is_some_and(|m| m.codecs.is_empty());
        if address_only && self.trial.is_none() {
            self.trial = Some(Box::new(Trial::new()));
        }
    }

    /// What is tried now; after every change of the call.
    pub(super) fn watch_trial(&mut self, now: Time) {
        let codec = self.codec_in_use();
        let is_over = self.is_over();
        if let Some(trial) = &mut self.trial {
            if is_over {
                return trial.rest();
            }
            trial.follow(now, codec.as_ref());
        }
    }

    /// The codec that both ends have agreed on, while the TC stands for the VM.
    /// Encrypted, RTCP says nothing that could be read.
    fn codec_in_use(&self) -> Option<Codec> {
        let (gateway, tc) = (self.gateway.as_ref()?, self.tc.media.as_ref()?);
        let settled = self.progress == Progress::Up
            && self.plane == Plane::Bypass
            && matches!(self.exchange, Exchange::Idle)
            && self.tc.state == TcState::Up;
        let plain = !gateway.media.channel.is_secure() && !tc.channel.is_secure();
        let common = sdp::intersect(&gateway.media.codecs, &tc.codecs);
        let speech = common.into_iter().find(|codec| !codec.is_auxiliary());
        speech.filter(|_| settled && plain)
    }

    /// What has come of the tries.
    pub(super) fn trial_outcome(&self) -> Option<TrialOutcome> {
        if self.trial.is_none() && self.tries.is_empty() {
            return None;
        }
        let decoded = self.trial.as_deref().is_some_and(Trial::is_decoded);
        Some(match self.plane {
            Plane::Vm(Reason::NoCommonCodec) => TrialOutcome::NoneLeft,
            Plane::Vm(_) => return None,
            _ if decoded => TrialOutcome::Decoded,
            Plane::Bypass if self.is_over() => TrialOutcome::Agreed,
            Plane::Bypass if self.exchange.is_ours() => TrialOutcome::Trying,
            Plane::Bypass if self.tc.state == TcState::Up => TrialOutcome::Agreed,
            _ => TrialOutcome::Trying,
        })
    }

    /// What has been counted: what passed, and what its receivers say of it.
    pub(crate) fn media_received(&mut self, cx: &mut Context<'_>, receptions: &[Reception]) {
        let verdict = self.trial.as_mut().map(|trial| trial.hear(receptions));
        if let Some(Verdict::Deaf(payload_type)) = verdict {
            self.not_decoded(cx, payload_type);
        }
    }

    /// It has turned out that one side gets nothing out of what the other sends it.
    /// During an exchange that is not heeded: its sender will say so again.
    pub(super) fn not_decoded(&mut self, cx: &mut Context<'_>, payload_type: Option<u8>) {
        let settled = self.progress == Progress::Up
            && self.plane == Plane::Bypass
            && matches!(self.exchange, Exchange::Idle)
            && self.tc.state == TcState::Up;
        if !settled {
            return;
        }
        self.note_undecoded(payload_type);
        if !self.try_another(cx) {
            self.tc_failed(cx, Reason::NoCommonCodec);
        }
    }

    /// The codec of a payload type, as either has described it; where it is none of
    /// theirs, what they have agreed on.
    fn note_undecoded(&mut self, payload_type: Option<u8>) {
        let described = [
            self.tc.media.as_ref(),
            self.gateway.as_ref().map(|g| &g.media),
        ];
        let codec = described
            .into_iter()
            .flatten()
            .flat_map(|media| media.codecs.iter())
            .find(|codec| Some(codec.payload_type) == payload_type && !codec.is_auxiliary())
            .cloned()
            .or_else(|| self.codec_in_use());
        let Some(codec) = codec else {
            return self.note_refused(&[]);
        };
        let known = self.tries.iter().any(|tried| tried.same_encoding(&codec));
        if !known && self.tries.len() < TRIES {
            self.tries.push(codec);
        }
    }

    /// Offers the gateway what is left, in the call. False: nothing is.
    fn try_another(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(vm), Some(promised), Some(tc)) = (&self.vm, &self.promised, &self.tc.media)
        else {
            return false;
        };
        let mut offer = promised.clone();
        if offer.codecs.is_empty() {
            // All that VM and gateway have named; numbers must not be used twice.
            offer.codecs.clone_from(&vm.media.codecs);
            for codec in self.gateway.iter().flat_map(|g| g.media.codecs.iter()) {
                let clashes = |other: &Codec| {
                    other.same_encoding(codec) || other.payload_type == codec.payload_type
                };
                if !offer.codecs.iter().any(clashes) {
                    offer.codecs.push(codec.clone());
                }
            }
        }
        let left = self.untried(cx, &offer);
        if left.iter().all(Codec::is_auxiliary) {
            return false;
        }
        let media = Media {
            codecs: left,
            ..tc.clone()
        };
        let offer = TcOffer {
            media,
            answer_to: None,
        };
        self.tell_gateway_of_tc(cx, offer);
        true
    }

    /// What the gateway has chosen, but for what is `taken`, has been tried.
    pub(super) fn note_refused(&mut self, taken: &[Codec]) {
        let chosen = self.gateway.iter().flat_map(|g| g.media.codecs.iter());
        for codec in chosen.filter(|codec| !codec.is_auxiliary()) {
            let is = |other: &Codec| other.same_encoding(codec);
            let room = self.tries.len() < TRIES;
            if room && !taken.iter().any(is) && !self.tries.iter().any(is) {
                self.tries.push(codec.clone());
            }
        }
    }

    fn untried(&self, cx: &Context<'_>, offer: &Media) -> Vec<Codec> {
        let tried = |codec: &Codec| self.tries.iter().any(|t| t.same_encoding(codec));
        let codecs = allowed(cx, offer).map(|media| media.codecs);
        let mut left = codecs.unwrap_or_default();
        left.retain(|codec| codec.is_auxiliary() || !tried(codec));
        left
    }
}
