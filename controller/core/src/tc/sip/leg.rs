//! One leg: its state, and what its caller wants of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::context::{ALLOW, Context, Incoming, Purpose, Serial};
use super::dialog::Dialog;
use super::requests::{RECV_INFO, UNDECODABLE};
use crate::registrar::Binding;
use crate::sip::transaction::{Addresses, ClientKey, T1, T2, WAIT, cancel_of};
use crate::sip::{Message, Method, Name, ResponseBuilder};
use crate::tc::{LegId, TcEvent};
use crate::time::Time;

/// How often a re-INVITE that met a 491 is sent again.
const GLARE_TRIES: u32 = 5;

/// Where a leg stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Our first INVITE is not acknowledged yet.
    Calling,
    /// The dialog stands.
    Up,
    /// It is over for its caller; late messages are dealt with for 64·T1 more.
    Over {
        /// When the leg is forgotten.
        until: Time,
    },
}

/// The offer/answer exchange that is under way: one at a time (RFC 3264 §4).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Exchange {
    /// None.
    Idle,
    /// Our INVITE is not answered.
    Inviting(Inviting),
    /// Our INVITE's 2xx has come; the caller's word is awaited.
    Answered {
        /// CSeq number of the INVITE.
        cseq: u32,
    },
    /// Our re-INVITE met one of the peer's (491); it is sent again at a time
    /// (§14.1).
    Glare {
        offer: Vec<u8>,
        at: Time,
        tries: u32,
    },
    /// The peer's re-INVITE or UPDATE awaits the caller's answer.
    Asked {
        incoming: Box<Incoming>,
        /// When the peer is told that there is none.
        until: Time,
    },
    /// Our 2xx to the peer's re-INVITE awaits its ACK.
    Accepted(Accepted),
}

/// An INVITE of ours that is not answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Inviting {
    pub(super) key: ClientKey,
    pub(super) branch: String,
    pub(super) cseq: u32,
    /// The bytes, for its CANCEL.
    #[serde(with = "serde_bytes")]
    pub(super) sent: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(super) offer: Option<Vec<u8>>,
    /// When waiting ends.
    pub(super) deadline: Time,
    /// A provisional response has come, so that it may be cancelled (§9.1).
    pub(super) provisional: bool,
    pub(super) cancelled: bool,
    /// How often this offer met a 491.
    pub(super) tries: u32,
}

/// A 2xx of ours, repeated until its ACK comes (§13.3.1.4).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) incoming: Box<Incoming>,
    #[serde(with = "serde_bytes")]
    pub(super) response: Vec<u8>,
    pub(super) interval: Duration,
    pub(super) again: Time,
    /// 64·T1 after the first.
    pub(super) until: Time,
}

/// The ACK of the last 2xx, for when that comes again (§13.2.2.4).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Acknowledged {
    pub(super) cseq: u32,
    #[serde(with = "serde_bytes")]
    pub(super) ack: Vec<u8>,
    pub(super) addresses: Addresses,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Leg {
    pub(super) serial: Serial,
    /// What its caller has numbered it.
    pub(super) number: LegId,
    /// User name of its thin client.
    pub(super) user: String,
    /// `None`: its caller has done with it.
    pub(super) id: Option<LegId>,
    pub(super) stage: Stage,
    pub(super) rang: bool,
    pub(super) bye_sent: bool,
    pub(super) exchange: Exchange,
    /// The newest offer that waits for its turn.
    #[serde(with = "serde_bytes")]
    pub(super) queued: Option<Vec<u8>>,
    pub(super) acknowledged: Option<Acknowledged>,
    pub(super) dialog: Dialog,
}

impl Leg {
    /// Calls a thin client.
    pub(super) fn call(
        cx: &mut Context,
        now: Time,
        (serial, number): (Serial, LegId),
        to: (&Binding, &[u8]),
        port: u16,
        offer: Option<Vec<u8>>,
    ) -> Self {
        let mut leg = Self {
            serial,
            number,
            user: to.0.user.clone(),
            id: Some(number),
            dialog: Dialog::new(to, port, &mut cx.identifiers),
            stage: Stage::Calling,
            exchange: Exchange::Idle,
            queued: None,
            acknowledged: None,
            rang: false,
            bye_sent: false,
        };
        leg.send_invite(cx, now, offer, 0);
        leg
    }

    /// Acknowledges the 2xx of our INVITE.
    pub(super) fn ack(&mut self, cx: &mut Context, now: Time, answer: Option<Vec<u8>>) {
        let Exchange::Answered { cseq } = self.exchange else {
            return;
        };
        self.send_ack(cx, cseq, answer);
        self.exchange = Exchange::Idle;
        if self.stage == Stage::Calling {
            self.stage = Stage::Up;
        }
        self.next(cx, now);
    }

    /// Offers a new session, now or when its turn comes.
    pub(super) fn reinvite(&mut self, cx: &mut Context, now: Time, offer: Vec<u8>) {
        match &mut self.exchange {
            Exchange::Glare { offer: waiting, .. } => *waiting = offer,
            _ => {
                self.queued = Some(offer);
                self.next(cx, now);
            }
        }
    }

    /// Answers the peer's offer.
    pub(super) fn answer(&mut self, cx: &mut Context, now: Time, answer: Result<Vec<u8>, u16>) {
        let Exchange::Asked { incoming, .. } = &self.exchange else {
            return;
        };
        let incoming = incoming.clone();
        self.exchange = Exchange::Idle;
        match answer {
            Ok(sdp) => {
                let response = ResponseBuilder::new(&incoming.request, 200, None)
                    .header(Name::CONTACT, self.dialog.contact())
                    .typed(rsip::headers::Allow::from(ALLOW))
                    .sdp(sdp)
                    .build();
                cx.transactions
                    .respond(now, &incoming.key, 200, response.clone());
                if *incoming.request.method() == Method::Invite {
                    self.exchange = Exchange::Accepted(Accepted {
                        incoming,
                        response,
                        interval: T1,
                        again: now + T1,
                        until: now + WAIT,
                    });
                }
            }
            Err(status) => {
                let status = if (300..700).contains(&status) {
                    status
                } else {
                    488
                };
                cx.respond(now, &incoming, status);
            }
        }
        self.next(cx, now);
    }

    /// Ends the leg for its caller: CANCEL, or BYE.
    pub(super) fn bye(&mut self, cx: &mut Context, now: Time) {
        match self.exchange.clone() {
            Exchange::Answered { cseq } => {
                self.send_ack(cx, cseq, None);
                self.exchange = Exchange::Idle;
            }
            // §15.1.2: requests that are pending get a 487.
            Exchange::Asked { incoming, .. } => {
                cx.respond(now, &incoming, 487);
                self.exchange = Exchange::Idle;
            }
            Exchange::Glare { .. } | Exchange::Accepted(_) => self.exchange = Exchange::Idle,
            Exchange::Idle | Exchange::Inviting(_) => {}
        }
        let calling = self.stage == Stage::Calling;
        self.over(now);
        match self.exchange {
            Exchange::Inviting(_) if calling => self.cancel(cx, now),
            _ => self.send_bye(cx, now),
        }
    }

    /// Nothing more is told of the leg, and nothing more is asked.
    pub(super) fn over(&mut self, now: Time) {
        self.id = None;
        self.queued = None;
        self.stage = Stage::Over { until: now + WAIT };
    }

    /// Tells the caller the last of the leg.
    pub(super) fn end(&mut self, cx: &mut Context, now: Time, event: TcEvent) {
        cx.tell(self.id, event);
        self.over(now);
    }

    /// The next offer, if it is its turn.
    pub(super) fn next(&mut self, cx: &mut Context, now: Time) {
        if self.stage == Stage::Up
            && matches!(self.exchange, Exchange::Idle)
            && let Some(offer) = self.queued.take()
        {
            self.send_invite(cx, now, Some(offer), 0);
        }
    }

    /// INVITE or re-INVITE.
    pub(super) fn send_invite(
        &mut self,
        cx: &mut Context,
        now: Time,
        offer: Option<Vec<u8>>,
        tries: u32,
    ) {
        let cseq = self.dialog.next_cseq();
        let branch = cx.identifiers.branch();
        let mut request = self
            .dialog
            .request(Method::Invite, cseq, &branch)
            .header(Name::CONTACT, self.dialog.contact())
            .typed(rsip::headers::Allow::from(ALLOW));
        if self.stage == Stage::Calling {
            // The three ways in which phones are asked to answer by themselves.
            let identity = self.dialog.identity();
            request = request
                .typed(rsip::headers::CallInfo::from(format!(
                    "<{identity}>;answer-after=0"
                )))
                .typed(rsip::headers::AlertInfo::from(format!(
                    "<{identity}>;info=alert-autoanswer;delay=0"
                )))
                .header(Name::new("Answer-Mode"), "Auto")
                .header(RECV_INFO, UNDECODABLE);
        }
        if let Some(offer) = &offer {
            request = request.sdp(offer.as_slice());
        }
        let sent = request.build();
        let key = ClientKey::new(&branch, &Method::Invite);
        cx.request(
            now,
            key.clone(),
            self.dialog.addresses,
            sent.clone(),
            (self.serial, Purpose::Invite(cseq)),
        );
        self.exchange = Exchange::Inviting(Inviting {
            key,
            branch,
            cseq,
            sent,
            offer,
            deadline: now + cx.answer_timeout,
            provisional: false,
            cancelled: false,
            tries,
        });
    }

    /// ACK of a 2xx: a request of its own, outside of transactions (§13.2.2.4).
    pub(super) fn send_ack(&mut self, cx: &mut Context, cseq: u32, answer: Option<Vec<u8>>) {
        let branch = cx.identifiers.branch();
        let mut request = self.dialog.request(Method::Ack, cseq, &branch);
        if let Some(answer) = answer {
            request = request.sdp(answer);
        }
        let ack = request.build();
        let addresses = self.dialog.addresses;
        cx.send(addresses, ack.clone());
        self.acknowledged = Some(Acknowledged {
            cseq,
            ack,
            addresses,
        });
    }

    /// BYE, once.
    pub(super) fn send_bye(&mut self, cx: &mut Context, now: Time) {
        if !self.bye_sent {
            self.bye_sent = true;
            send_bye(cx, now, self.serial, &mut self.dialog);
        }
    }

    /// CANCEL of our INVITE as soon as it may be sent, once (§9.1).
    pub(super) fn cancel(&mut self, cx: &mut Context, now: Time) {
        let Exchange::Inviting(inviting) = &mut self.exchange else {
            return;
        };
        if !inviting.provisional || inviting.cancelled {
            return;
        }
        inviting.cancelled = true;
        cx.request(
            now,
            ClientKey::new(&inviting.branch, &Method::Cancel),
            self.dialog.addresses,
            cancel_of(&inviting.sent),
            (self.serial, Purpose::End),
        );
    }

    /// Our re-INVITE met the peer's: again after 2.1 to 4 s, since the Call-ID is
    /// ours (§14.1).
    pub(super) fn glare(&mut self, cx: &mut Context, now: Time, inviting: Inviting) {
        let tries = inviting.tries + 1;
        match inviting.offer {
            Some(offer) if tries <= GLARE_TRIES => {
                let wait = 2100 + 10 * u64::from(cx.identifiers.below(191));
                self.exchange = Exchange::Glare {
                    offer: self.queued.take().unwrap_or(offer),
                    at: now + Duration::from_millis(wait),
                    tries,
                };
            }
            _ => {
                self.exchange = Exchange::Idle;
                cx.tell(self.id, TcEvent::Refused { status: 491 });
                self.next(cx, now);
            }
        }
    }

    /// When the leg has to be woken.
    pub(super) fn wake(&self) -> Option<Time> {
        if let Stage::Over { until } = self.stage {
            return Some(until);
        }
        match &self.exchange {
            Exchange::Inviting(inviting) => Some(inviting.deadline),
            Exchange::Glare { at, .. } => Some(*at),
            Exchange::Accepted(accepted) => Some(accepted.again.min(accepted.until)),
            Exchange::Asked { until, .. } => Some(*until),
            Exchange::Idle | Exchange::Answered { .. } => None,
        }
    }

    /// Runs what is due. True: the leg is to be forgotten.
    pub(super) fn timeout(&mut self, cx: &mut Context, now: Time) -> bool {
        if let Stage::Over { until } = self.stage {
            if until > now {
                return false;
            }
            if let Exchange::Inviting(inviting) = &self.exchange {
                cx.transactions.abandon(&inviting.key);
            }
            return true;
        }
        match &mut self.exchange {
            Exchange::Inviting(inviting) if inviting.deadline <= now => self.unanswered(cx, now),
            Exchange::Glare { offer, at, tries } if *at <= now => {
                let (offer, tries) = (std::mem::take(offer), *tries);
                self.send_invite(cx, now, Some(offer), tries);
            }
            Exchange::Asked { until, .. } if *until <= now => self.answer(cx, now, Err(500)),
            Exchange::Accepted(accepted) if accepted.until <= now => {
                self.exchange = Exchange::Idle;
                self.send_bye(cx, now);
                self.end(cx, now, TcEvent::Lost);
            }
            Exchange::Accepted(accepted) if accepted.again <= now => {
                accepted.interval = (accepted.interval * 2).min(T2);
                accepted.again = now + accepted.interval;
                let (key, response) = (&accepted.incoming.key, accepted.response.clone());
                cx.transactions.respond(now, key, 200, response);
            }
            _ => {}
        }
        false
    }

    /// Our INVITE is not answered in time.
    pub(super) fn unanswered(&mut self, cx: &mut Context, now: Time) {
        match self.stage {
            Stage::Calling => {
                self.cancel(cx, now);
                self.end(cx, now, TcEvent::NoAnswer);
            }
            Stage::Up => {
                self.cancel(cx, now);
                self.send_bye(cx, now);
                self.end(cx, now, TcEvent::Lost);
            }
            Stage::Over { .. } => {}
        }
    }

    /// Whether a request of the peer belongs to this leg's dialog.
    pub(super) fn has(&self, request: &Message) -> bool {
        let established = self.dialog.remote_tag.is_some() || self.acknowledged.is_some();
        self.dialog.has(request, established)
    }
}

/// BYE in a dialog.
pub(super) fn send_bye(cx: &mut Context, now: Time, serial: Serial, dialog: &mut Dialog) {
    let cseq = dialog.next_cseq();
    let branch = cx.identifiers.branch();
    let bye = dialog.request(Method::Bye, cseq, &branch).build();
    cx.request(
        now,
        ClientKey::new(&branch, &Method::Bye),
        dialog.addresses,
        bye,
        (serial, Purpose::End),
    );
}
