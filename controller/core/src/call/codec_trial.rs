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
//! A thin client that finds out later that it does not decode says so by a
//! re-INVITE without the codec ([`super::tc_leg`]).

use super::flows::Anchor;
use super::state::{Exchange, TcState};
use super::vm_offer::allowed;
use super::{Call, Context};
use crate::engine::Side;
use crate::media::{Codec, Media};

/// Codecs that a call remembers as refused: there are not as many.
const TRIES: usize = 64;

impl Call {
    /// The TC refuses what the gateway has chosen. False: there is nothing else to
    /// try.
    pub(super) fn try_next_codec(&mut self, cx: &mut Context<'_>) -> bool {
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
