//! CANCEL, BYE, refusals: how a call ends.

use super::heard::Heard;
use super::state::{Exchange, Progress, TakeOver, TcState};
use super::{Call, Context, LINGER, LISTED, Reason};
use crate::engine::Side;

impl Call {
    /// A CANCEL of either side (RFC 3261 §9). What is held back goes first, so
    /// that both know what there is to cancel.
    pub(super) fn cancel(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        self.let_go(cx);
        self.pass(cx, heard);
    }

    /// A BYE of either side.
    pub(super) fn bye(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        self.let_go(cx);
        self.pass(cx, heard);
        self.end(cx);
    }

    /// A BYE to both sides, each as from the other.
    pub(super) fn hang_up(&mut self, cx: &mut Context<'_>) {
        self.bye_to(cx, Side::Net);
        self.bye_to(cx, Side::Vm);
        self.end(cx);
    }

    /// Whatever is held back for the TC's sake goes on.
    pub(super) fn let_go(&mut self, cx: &mut Context<'_>) {
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::TcOffers(offer) => {
                self.leave_to_vm(cx, &offer.request, Reason::TcNoAnswer);
            }
            Exchange::TcAnswersLate(_, held) => {
                self.let_late_offer(cx, &held, Reason::TcNoAnswer);
            }
            Exchange::TakesOver => self.stay_with_vm(cx),
            Exchange::TcAnswers(offer, held) | Exchange::GatewayAnswersAgain(offer, held) => {
                let body = match (self.gateway.clone(), held.response.sdp()) {
                    (Some(gateway), Some(_)) => self.answer_vm(cx, &offer.offer, &gateway),
                    _ => None,
                };
                self.through_vm(cx, Reason::TcNoAnswer);
                self.release(cx, &held, body.as_deref());
            }
            Exchange::GatewayTakesVm(_, held, reason) => {
                self.through_vm(cx, reason);
                self.release(cx, &held, None);
            }
            Exchange::TcAnswersGateway(_, held) => {
                self.let_vm_answer(cx, &held, Reason::TcNoAnswer);
            }
            other => self.exchange = other,
        }
    }

    /// The call was refused or cancelled, and the caller knows. After a challenge
    /// it comes again with credentials (RFC 3261 §22), and a TC that has offered
    /// its media waits for that.
    pub(super) fn refused(&mut self, cx: &mut Context<'_>, status: u16) {
        let challenged = matches!(status, 401 | 407 | 422);
        if challenged && matches!(self.tc.state, TcState::OwedAnswer { .. } | TcState::Up) {
            self.progress = Progress::Ending {
                until: cx.now + LINGER,
            };
        } else {
            self.end(cx);
        }
    }

    /// The media is to end; messages may still come. The flows stay until it has:
    /// without its guard the VM's last packets would go past the tap.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) {
        self.exchange = Exchange::Idle;
        self.exchange_by = None;
        self.keep_alive = None;
        self.promised = None;
        self.open_offers.clear();
        self.owed_hand_back = None;
        self.take_over = TakeOver::Never;
        self.drop_tc(cx);
        self.media_path.go_by(cx.now + LINGER);
        if !self.is_over() {
            self.progress = Progress::Ending {
                until: cx.now + LINGER,
            };
        }
    }

    /// The BYE has been answered.
    pub(super) fn hung_up(&mut self, cx: &mut Context<'_>) {
        if matches!(self.progress, Progress::Ending { .. }) {
            self.media_path.go_soon(cx.now);
            self.progress = Progress::Ended {
                until: cx.now + LISTED,
            };
        }
    }
}
