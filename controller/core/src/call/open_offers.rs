//! Offers that pass while another exchange is under way, or that come where no
//! exchange of the call's own begins: in a PRACK or an early UPDATE (RFC 3262 §5,
//! RFC 3311 §5.1), or in a response to a re-INVITE without one (RFC 3261 §14.1).
//!
//! Where the TC stands for the VM, the gateway hears the TC's media and the VM
//! hears of the gateway's; each answer is in the terms of what was offered.

use serde::{Deserialize, Serialize};

use super::described::Described;
use super::flows::Anchor;
use super::heard::{Heard, Key};
use super::state::{Exchange, Plane, TcState};
use super::tc_leg::Consent;
use super::{Call, Context, Reason};
use crate::engine::Side;
use crate::media::Codec;
use crate::sdp;
use crate::sip::Method;
use crate::sip::dialog::opposite;

/// Offers of a call that wait for their answers at once; more are a fault.
const OPEN: usize = 4;

/// Where an offer is answered (RFC 3264 §4, RFC 3262 §5, RFC 3311 §5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AnsweredIn {
    /// In a response to the request that carried it.
    Response(Key),
    /// In this side's ACK of its INVITE with this number, as it counts.
    Ack(Side, u32),
    /// In this side's PRACK of a response (RSeq) to its INVITE (number).
    Prack(Side, u32, u32),
}

impl AnsweredIn {
    /// Whether a message is the one.
    pub(crate) fn is(&self, heard: &Heard) -> bool {
        let message = &heard.message;
        let (number, method) = message.cseq();
        match self {
            Self::Response(key) => !message.is_request() && heard.key() == *key,
            Self::Ack(side, invite) => {
                message.is_request()
                    && heard.side == *side
                    && method == Method::Ack
                    && number == *invite
            }
            Self::Prack(side, rseq, invite) => {
                message.is_request()
                    && heard.side == *side
                    && method == Method::Prack
                    && heard.rack() == Some((*rseq, *invite))
            }
        }
    }
}

/// An offer that has passed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenOffer {
    by: Side,
    answered_in: AnsweredIn,
    offer: Described,
}

impl Call {
    /// Where the description in a message is answered, if it is an offer.
    pub(super) fn answered_in(&self, heard: &Heard) -> Option<AnsweredIn> {
        let (number, method) = heard.message.cseq();
        let Some(status) = heard.message.status() else {
            let offers = matches!(method, Method::Invite | Method::Update | Method::Prack);
            return offers.then(|| AnsweredIn::Response(heard.key()));
        };
        if method != Method::Invite {
            return None;
        }
        let asked = opposite(heard.side);
        let shift = match asked {
            Side::Vm => &self.dialog.vm.cseq,
            Side::Net => &self.dialog.gateway.cseq,
        };
        let number = shift.inward(number)?;
        match status {
            200..=299 => Some(AnsweredIn::Ack(asked, number)),
            101..=199 => Some(AnsweredIn::Prack(asked, heard.rseq()?, number)),
            _ => None,
        }
    }

    /// The offer that a message answers. It stays open until a final response.
    fn open_offer(&mut self, heard: &Heard) -> Option<(Side, Described)> {
        let at = self
            .open_offers
            .iter()
            .position(|open| open.answered_in.is(heard))?;
        if heard.message.status().is_some_and(|status| status < 200) {
            let open = self.open_offers.get(at)?;
            return Some((open.by, open.offer.clone()));
        }
        let open = self.open_offers.remove(at);
        Some((open.by, open.offer))
    }

    fn note_open(&mut self, heard: &Heard, offer: Described) {
        if let Some(answered_in) = self.answered_in(heard) {
            if self.open_offers.len() >= OPEN {
                self.open_offers.remove(0);
            }
            self.open_offers.push(OpenOffer {
                by: heard.side,
                answered_in,
                offer,
            });
        }
    }

    /// Sends a message on that no exchange of the call's own is about.
    pub(super) fn pass_translated(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        let stands = !self.is_through_vm() && self.promised.is_some() && !self.is_over();
        let answered = self.open_offer(heard);
        let described = self.answer_in(heard);
        let refused = heard.message.status().is_some_and(|status| status >= 300);
        match (stands, described, answered) {
            (true, Some(Ok(described)), Some((Side::Vm, offer))) => {
                self.gateway_answers_open(cx, heard, offer, described);
            }
            (true, Some(Ok(described)), Some((Side::Net, offer))) => {
                self.vm_answers_open(cx, heard, offer, described);
            }
            (true, Some(Ok(described)), None) => self.passes_open(cx, heard, described),
            (true, _, Some((by, _))) if refused => {
                match by {
                    Side::Vm => self.told_gateway.retract(),
                    Side::Net => self.told_vm.retract(),
                }
                self.set_flows(cx);
                self.pass(cx, heard);
            }
            (false, Some(Ok(described)), _) if !self.is_through_vm() => {
                self.note(heard.side, described);
                self.pass(cx, heard);
            }
            _ => self.pass(cx, heard),
        }
    }

    fn note(&mut self, side: Side, described: Described) {
        match side {
            Side::Vm => self.vm = Some(described),
            Side::Net => self.gateway = Some(described),
        }
    }

    /// An offer, or a description whose offer was not seen.
    fn passes_open(&mut self, cx: &mut Context<'_>, heard: &Heard, described: Described) {
        let Some(promised) = self.promised.clone() else {
            return self.pass(cx, heard);
        };
        let offers = self.answered_in(heard).is_some();
        let body = match heard.side {
            Side::Vm => {
                let mut media = Anchor::for_gateway(self.anchor(), &promised);
                if !offers && let Some(gateway) = &self.gateway {
                    media.channel = self.answering(media.channel, &gateway.media.channel);
                }
                self.told_gateway.say(described.with(&media, None))
            }
            Side::Net => {
                // Before the VM can turn there.
                self.guard_ahead(cx, &described.media);
                self.told_vm.say(described.bytes().to_vec())
            }
        };
        if offers {
            self.note_open(heard, described);
        } else {
            self.note(heard.side, described);
            self.set_flows(cx);
        }
        self.pass_with(cx, heard, Some(&body));
    }

    /// The gateway answers what the VM had offered.
    fn gateway_answers_open(
        &mut self,
        cx: &mut Context<'_>,
        heard: &Heard,
        offer: Described,
        gateway: Described,
    ) {
        let body = match self.answer_vm(cx, &offer, &gateway) {
            Some(body) => body,
            None => self.told_vm.say(gateway.bytes().to_vec()),
        };
        self.vm_holds = offer.is_hold();
        self.vm = Some(offer);
        if let Exchange::GatewayAnswers(exchange) = &mut self.exchange {
            exchange.note_early(heard.sender_tag(), false, &gateway);
        }
        self.gateway = Some(gateway);
        self.set_flows(cx);
        self.pass_with(cx, heard, Some(&body));
        self.tell_tc_meanwhile(cx);
    }

    /// The VM answers what the gateway had offered: the answer is the TC's.
    fn vm_answers_open(
        &mut self,
        cx: &mut Context<'_>,
        heard: &Heard,
        offer: Described,
        vm: Described,
    ) {
        let Some(promised) = self.promised.clone() else {
            return self.pass(cx, heard);
        };
        let mut media = Anchor::for_gateway(self.anchor(), &promised);
        if !media.codecs.is_empty() {
            let codecs = sdp::intersect(&offer.media.codecs, &promised.codecs);
            media.codecs = cx.config.calls.codecs.apply(&codecs);
            if media.codecs.iter().all(Codec::is_auxiliary) {
                // The VM has the gateway's real address, and answers for itself.
                self.gateway = Some(offer);
                self.vm = Some(vm);
                self.through_vm(cx, Reason::NoCommonCodec);
                return self.pass(cx, heard);
            }
        }
        media.channel = self.answering(media.channel, &offer.media.channel);
        let body = self.told_gateway.say(vm.with(&media, None));
        if let Exchange::GatewayAnswers(exchange) = &mut self.exchange {
            exchange.note_early(heard.receiver_tag(), false, &offer);
        }
        self.gateway = Some(offer);
        self.vm_holds = vm.is_hold();
        self.vm = Some(vm);
        self.set_flows(cx);
        self.pass_with(cx, heard, Some(&body));
        self.tell_tc_meanwhile(cx);
    }

    /// The TC hears what the gateway said last, where it is in the call already.
    fn tell_tc_meanwhile(&mut self, cx: &mut Context<'_>) {
        if self.plane == Plane::Bypass {
            return self.tell_tc_the_newest(cx);
        }
        if matches!(self.tc.state, TcState::Up)
            && let Consent::Failed(reason) = self.tell_tc(cx)
            && let Exchange::GatewayAnswers(offer) = &mut self.exchange
        {
            offer.fall_back.get_or_insert(reason);
        }
    }
}
