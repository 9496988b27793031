//! What the gateway says: to the VM's commands, and to our own.

use super::{Call, Plane, Progress, Purpose};
use crate::bypass::described::Described;
use crate::bypass::{Context, Reason};
use crate::control::message::Place;

impl Call {
    /// The gateway has done what a command of the VM's asked for (505, 605).
    /// `local`: its own description, where the reply has one.
    pub(in crate::control) fn gateway_replies(
        &mut self,
        cx: &mut Context<'_>,
        transaction: u32,
        place: &Place,
        local: Option<&[u8]>,
    ) {
        self.last_heard = cx.now;
        self.in_flight.remove(&transaction);
        self.created_by = None;
        self.named(place);
        self.agreed = None;
        if self.progress == Progress::Setup {
            self.progress = Progress::Up;
        }
        self.hear_gateway(local);
        if self.gateway.is_none() && self.promised.is_some() && self.in_flight.is_empty() {
            // It has the TC's media, and says nothing of its own: the TC could not be
            // told where to send.
            self.falling.get_or_insert(Reason::SdpNotUnderstood);
        }
        self.set_flows(cx);
        self.settle(cx);
    }

    /// The gateway signs what it says: it is left alone, and so is the call.
    pub(in crate::control) fn gateway_signs(&mut self) {
        if self.promised.is_some() {
            self.falling.get_or_insert(Reason::SignallingAuthenticated);
        }
    }

    /// What the reply calls a connection is its name from now on.
    fn named(&mut self, place: &Place) {
        let own = &mut self.connection.place;
        for (known, said) in [
            (&mut own.termination, &place.termination),
            (&mut own.connection, &place.connection),
            (&mut own.context, &place.context),
        ] {
            if said.one().is_some() {
                *known = said.clone();
            }
        }
    }

    /// The gateway's own description. One that cannot be understood sends the call
    /// back to the VM.
    fn hear_gateway(&mut self, local: Option<&[u8]>) {
        match local.map(|sdp| Described::answer(sdp, None)) {
            None => {}
            Some(Ok(gateway)) => {
                // Nobody has given the TC a key for it.
                if gateway.media.channel.is_secure() {
                    self.falling.get_or_insert(Reason::MediaEncrypted);
                }
                self.gateway = Some(gateway);
            }
            Some(Err(error)) => {
                self.falling.get_or_insert(error.reason());
            }
        }
    }

    /// The gateway has refused a command of the VM's that names the TC. True: the
    /// command is to be sent again as the VM wrote it, since nothing stands yet.
    pub(in crate::control) fn gateway_refuses(
        &mut self,
        cx: &mut Context<'_>,
        transaction: u32,
        code: u16,
    ) -> bool {
        self.last_heard = cx.now;
        self.in_flight.remove(&transaction);
        if self.is_over() || matches!(self.plane, Plane::Vm(_)) {
            return false;
        }
        if let Some((vm, promised)) = self.agreed.take() {
            // What was before stands.
            self.vm = Some(vm);
            self.promised = Some(promised);
            self.settle(cx);
            return false;
        }
        let for_codecs = self.codec.is_for_codecs(code);
        let reason = self.falling.unwrap_or(match for_codecs {
            true => Reason::NoCommonCodec,
            false => Reason::GatewayRefused,
        });
        self.through_vm(cx, reason);
        true
    }

    /// The gateway has refused a command of the VM's as the VM wrote it.
    pub(in crate::control) fn vm_is_refused(&mut self, cx: &mut Context<'_>, transaction: u32) {
        self.last_heard = cx.now;
        self.in_flight.remove(&transaction);
        if self.progress == Progress::Setup && self.in_flight.is_empty() {
            self.gone(cx);
        } else {
            self.settle(cx);
        }
    }

    /// A command of the VM's was never replied to.
    pub(in crate::control) fn no_reply(&mut self, cx: &mut Context<'_>, transaction: u32) {
        if self.in_flight.remove(&transaction) {
            self.settle(cx);
        }
    }

    /// The gateway has replied to a command of our own; `Err`: it refused, or did
    /// not reply.
    pub(in crate::control) fn own_replied(
        &mut self,
        cx: &mut Context<'_>,
        reply: Result<Option<&[u8]>, Option<u16>>,
    ) {
        let Some(purpose) = self.own.take() else {
            return;
        };
        match (purpose, reply) {
            (Purpose::Media { media, answer_to }, Ok(local)) => {
                self.promised = Some(media.clone());
                self.tc.media = Some(media);
                self.hear_gateway(local);
                self.set_flows(cx);
                if let Some(offer) = answer_to {
                    let gateway = self.gateway_for_tc();
                    self.tc.answer_offer(cx, offer, gateway.as_ref());
                }
                self.settle(cx);
            }
            (Purpose::Media { answer_to, .. }, Err(_)) => match answer_to {
                // It keeps what it had.
                Some(offer) => self.tc.answer_offer(cx, offer, None),
                None => self.fall_back(cx, Reason::GatewayRefused),
            },
            (Purpose::Restore(reason), Ok(local)) => {
                if let Some(Ok(gateway)) = local.map(|sdp| Described::answer(sdp, None)) {
                    self.gateway = Some(gateway);
                }
                self.through_vm(cx, reason);
            }
            (Purpose::Restore(reason), Err(_)) => {
                // A bypass that works is better than none.
                if self.tc.is_gone() || self.plane == Plane::Pending {
                    self.through_vm(cx, reason);
                }
            }
        }
    }
}
