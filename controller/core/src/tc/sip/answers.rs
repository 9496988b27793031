//! What thin clients answer to our INVITEs (RFC 3261 §13.2.2, §14.1).

use std::net::SocketAddr;

use super::context::{Context, sdp_of};
use super::leg::{Exchange, Leg, Stage, send_bye};
use crate::sip::Message;
use crate::tc::TcEvent;
use crate::time::Time;

impl Leg {
    /// A response to our INVITE of this CSeq number.
    pub(super) fn invite_response(
        &mut self,
        cx: &mut Context,
        now: Time,
        source: SocketAddr,
        cseq: u32,
        response: &Message,
    ) {
        match response.status() {
            Some(status @ 100..=199) => self.provisional(cx, now, cseq, status),
            Some(200..=299) => self.accepted(cx, now, source, cseq, response),
            Some(status) => self.refused(cx, now, cseq, status),
            None => {}
        }
    }

    fn provisional(&mut self, cx: &mut Context, now: Time, cseq: u32, status: u16) {
        match &mut self.exchange {
            Exchange::Inviting(inviting) if inviting.cseq == cseq => inviting.provisional = true,
            _ => return,
        }
        match self.stage {
            Stage::Calling if status > 100 && !self.rang => {
                self.rang = true;
                cx.tell(self.id, TcEvent::Ringing);
            }
            Stage::Over { .. } => self.cancel(cx, now),
            Stage::Calling | Stage::Up => {}
        }
    }

    fn accepted(
        &mut self,
        cx: &mut Context,
        now: Time,
        source: SocketAddr,
        cseq: u32,
        response: &Message,
    ) {
        let ours = match &self.exchange {
            Exchange::Inviting(inviting) => inviting.cseq == cseq,
            _ => false,
        };
        let known = self.dialog.remote_tag.as_deref() == response.to_tag();
        let first = self.dialog.remote_tag.is_none() && self.acknowledged.is_none();
        if !ours || !(known || first) {
            self.accepted_again(cx, now, source, cseq, response);
            return;
        }
        self.exchange = Exchange::Idle;
        if first {
            self.dialog.establish(response, source);
        } else {
            self.dialog.refresh(response, source);
        }
        match (self.stage, sdp_of(response)) {
            // Cancelled or given up meanwhile: taken, and hung up.
            (Stage::Over { .. }, _) => {
                self.send_ack(cx, cseq, None);
                self.send_bye(cx, now);
            }
            (_, Some(sdp)) => {
                self.exchange = Exchange::Answered { cseq };
                cx.tell(self.id, TcEvent::Answered { sdp });
            }
            (Stage::Calling, None) => {
                self.send_ack(cx, cseq, None);
                self.send_bye(cx, now);
                self.end(cx, now, TcEvent::Refused { status: 488 });
            }
            (Stage::Up, None) => {
                self.send_ack(cx, cseq, None);
                cx.tell(self.id, TcEvent::Refused { status: 488 });
                self.next(cx, now);
            }
        }
    }

    /// A 2xx that is not the first: repeated, or of another fork.
    fn accepted_again(
        &mut self,
        cx: &mut Context,
        now: Time,
        source: SocketAddr,
        cseq: u32,
        response: &Message,
    ) {
        if self.dialog.remote_tag.as_deref() == response.to_tag() {
            if let Some(last) = &self.acknowledged
                && last.cseq == cseq
            {
                cx.send(last.addresses, last.ack.clone());
            }
            return;
        }
        // A second dialog out of one INVITE is not wanted: taken, and hung up
        // (§13.2.2.4).
        let mut fork = self.dialog.clone();
        fork.establish(response, source);
        let branch = cx.identifiers.branch();
        let ack = fork.request(crate::sip::Method::Ack, cseq, &branch).build();
        cx.send(fork.addresses, ack);
        send_bye(cx, now, self.serial, &mut fork);
    }

    fn refused(&mut self, cx: &mut Context, now: Time, cseq: u32, status: u16) {
        let inviting = match &self.exchange {
            Exchange::Inviting(inviting) if inviting.cseq == cseq => inviting.clone(),
            _ => return,
        };
        self.exchange = Exchange::Idle;
        match (self.stage, status) {
            (Stage::Over { .. }, _) => {}
            (Stage::Calling, _) => self.end(cx, now, TcEvent::Refused { status }),
            (Stage::Up, 491) => self.glare(cx, now, inviting),
            // §12.2.1.2: the dialog is gone, or nobody is there.
            (Stage::Up, 408 | 481) => {
                self.send_bye(cx, now);
                self.end(cx, now, TcEvent::Lost);
            }
            (Stage::Up, _) => {
                cx.tell(self.id, TcEvent::Refused { status });
                self.next(cx, now);
            }
        }
    }

    /// Our INVITE of this CSeq number had no final response (timer B).
    pub(super) fn invite_timed_out(&mut self, cx: &mut Context, now: Time, cseq: u32) {
        match &self.exchange {
            Exchange::Inviting(inviting) if inviting.cseq == cseq => {}
            _ => return,
        }
        self.exchange = Exchange::Idle;
        self.unanswered(cx, now);
    }
}
