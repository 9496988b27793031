//! What thin clients ask within a dialog (RFC 3261 §12.2.2, §14.2, §15).

use std::net::SocketAddr;

use super::context::{Context, Incoming, plain, sdp_of};
use super::leg::{Exchange, Leg, Stage};
use crate::sip::transaction::WAIT;
use crate::sip::{Message, Method, Name};
use crate::tc::TcEvent;
use crate::time::Time;

/// RFC 6086 §11.
const INFO_PACKAGE: Name = Name::new("Info-Package");
/// The same: which packages are taken.
pub(super) const RECV_INFO: Name = Name::new("Recv-Info");
/// The package by which a thin client says that it gets nothing out of what it is sent:
/// the body is the payload type, in decimal.
pub(super) const UNDECODABLE: &[u8] = b"undecodable";

impl Leg {
    /// A request that belongs to the dialog and is new; ACKs go to
    /// [`Leg::acknowledged`].
    pub(super) fn request(
        &mut self,
        cx: &mut Context,
        now: Time,
        source: SocketAddr,
        incoming: Incoming,
    ) {
        let request = &incoming.request;
        let (number, method) = request.cseq();
        if method == Method::Cancel {
            self.cancelled(cx, now, &incoming);
            return;
        }
        if !self.dialog.take_remote_cseq(number) {
            cx.respond(now, &incoming, 500);
            return;
        }
        if matches!(self.stage, Stage::Over { .. }) {
            let status = if method == Method::Bye { 200 } else { 481 };
            cx.respond(now, &incoming, status);
            return;
        }
        if request.header(Name::REQUIRE).is_some() {
            cx.respond(now, &incoming, 420);
            return;
        }
        match method {
            Method::Bye => self.hung_up(cx, now, &incoming),
            Method::Invite => self.offered(cx, now, source, incoming),
            Method::Update if !request.body().is_empty() => {
                self.offered(cx, now, source, incoming);
            }
            Method::Update => {
                self.dialog.refresh(request, source);
                self.respond_ok(cx, now, &incoming);
            }
            Method::Info if request.header(INFO_PACKAGE).is_some() => {
                self.informed(cx, now, &incoming);
            }
            method => {
                let status = status_of(&method);
                cx.respond(now, &incoming, status);
            }
        }
    }

    /// An INFO of a package (RFC 6086 §4.2.2): ours, or one that was not asked for.
    fn informed(&mut self, cx: &mut Context, now: Time, incoming: &Incoming) {
        let request = &incoming.request;
        let package = request.header(INFO_PACKAGE).unwrap_or_default();
        let package = package.split(|&b| b == b';').next().unwrap_or_default();
        if !package.trim_ascii().eq_ignore_ascii_case(UNDECODABLE) {
            let response = plain(request, 469, None).header(RECV_INFO, UNDECODABLE);
            let response = response.build();
            return cx.transactions.respond(now, &incoming.key, 469, response);
        }
        let text = std::str::from_utf8(request.body()).unwrap_or_default();
        let Ok(payload_type @ 0..=127) = text.trim().parse::<u8>() else {
            return cx.respond(now, incoming, 400);
        };
        cx.respond(now, incoming, 200);
        cx.tell(self.id, TcEvent::Undecodable { payload_type });
    }

    /// An ACK of the dialog.
    pub(super) fn acknowledged(&mut self, cx: &mut Context, now: Time, ack: &Message) {
        let Exchange::Accepted(accepted) = &self.exchange else {
            return;
        };
        if accepted.incoming.request.cseq().0 != ack.cseq().0 {
            return;
        }
        let our_offer = accepted.incoming.request.body().is_empty();
        self.exchange = Exchange::Idle;
        match (our_offer, sdp_of(ack)) {
            (false, _) => {}
            (true, Some(sdp)) => cx.tell(self.id, TcEvent::Answered { sdp }),
            // An offer of ours without an answer: the session cannot go on
            // (§13.2.2.4).
            (true, None) => {
                self.send_bye(cx, now);
                self.end(cx, now, TcEvent::Lost);
            }
        }
        self.next(cx, now);
    }

    fn hung_up(&mut self, cx: &mut Context, now: Time, incoming: &Incoming) {
        if let Exchange::Asked {
            incoming: asked, ..
        } = &self.exchange
        {
            let asked = asked.clone();
            self.exchange = Exchange::Idle;
            cx.respond(now, &asked, 487);
        }
        cx.respond(now, incoming, 200);
        self.bye_sent = true;
        self.end(cx, now, TcEvent::Bye);
    }

    /// re-INVITE, or UPDATE with a body (RFC 3311).
    fn offered(&mut self, cx: &mut Context, now: Time, source: SocketAddr, incoming: Incoming) {
        let is_invite = *incoming.request.method() == Method::Invite;
        let refusal = match (&self.exchange, incoming.request.sdp()) {
            // Ours is under way (§14.2).
            (Exchange::Inviting(_) | Exchange::Answered { .. }, _) => Some(491),
            // The peer's own before is.
            (Exchange::Asked { .. } | Exchange::Accepted(_), _) => Some(500),
            (Exchange::Idle | Exchange::Glare { .. }, None)
                if !incoming.request.body().is_empty() =>
            {
                Some(415)
            }
            (Exchange::Idle | Exchange::Glare { .. }, Some(Err(_))) => Some(400),
            (Exchange::Idle | Exchange::Glare { .. }, _) => None,
        };
        match refusal {
            Some(500) => {
                let seconds = cx.identifiers.below(11).to_string();
                let response = plain(&incoming.request, 500, None)
                    .typed(rsip::headers::RetryAfter::from(seconds));
                cx.transactions
                    .respond(now, &incoming.key, 500, response.build());
                return;
            }
            Some(status) => {
                cx.respond(now, &incoming, status);
                return;
            }
            None => {}
        }
        if let Exchange::Glare { offer, .. } = &mut self.exchange {
            let offer = std::mem::take(offer);
            self.queued.get_or_insert(offer);
        }
        self.dialog.refresh(&incoming.request, source);
        if is_invite {
            cx.respond(now, &incoming, 100);
        }
        let sdp = sdp_of(&incoming.request);
        self.exchange = Exchange::Asked {
            incoming: Box::new(incoming),
            until: now + WAIT,
        };
        cx.tell(self.id, TcEvent::Reinvite { sdp });
    }

    /// CANCEL of a re-INVITE. It is answered, and the re-INVITE gets the answer
    /// that is on its way: its offer has gone to the other legs already (§9.2
    /// leaves that to us).
    fn cancelled(&mut self, cx: &mut Context, now: Time, incoming: &Incoming) {
        let number = incoming.request.cseq().0;
        let open = match &self.exchange {
            Exchange::Asked {
                incoming: asked, ..
            } => asked.request.cseq() == (number, Method::Invite),
            _ => false,
        };
        cx.respond(now, incoming, if open { 200 } else { 481 });
    }

    fn respond_ok(&mut self, cx: &mut Context, now: Time, incoming: &Incoming) {
        let response =
            plain(&incoming.request, 200, None).header(Name::CONTACT, self.dialog.contact());
        cx.transactions
            .respond(now, &incoming.key, 200, response.build());
    }
}

/// What a method gets that has no part in the session. What a phone may say in a
/// call (digits, text, notifications) is taken and let be.
pub(super) fn status_of(method: &Method) -> u16 {
    match method {
        Method::Options | Method::Info | Method::Message | Method::Notify => 200,
        Method::Prack => 481,
        Method::Refer | Method::Subscribe | Method::Publish | Method::Register => 405,
        _ => 501,
    }
}
