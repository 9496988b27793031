//! Which message is whose business.

use super::described::Described;
use super::heard::Heard;
use super::state::{Exchange, Plane, Progress, TakeOver, TcState};
use super::{Call, Context, Reason};
use crate::engine::Side;
use crate::sip::dialog::opposite;
use crate::sip::{Method, Name};

impl Call {
    /// A message of the call's Call-ID has come.
    pub(crate) fn handle(&mut self, cx: &mut Context<'_>, heard: Heard) {
        self.last_heard = cx.now;
        self.dialog.learn_transport(heard.side, heard.transport);
        self.heard_of |= heard.side != self.caller();
        self.learn_timer(&heard);
        let heard = self.in_vms_transaction(heard);
        if self.added_response(cx, &heard) {
            return;
        }
        if self.is_settled(cx, &heard) || self.is_repeat(cx, &heard) {
            return;
        }
        if !self.dialog.has(&heard.message, heard.side) {
            return self.other_dialog(cx, &heard);
        }
        if heard.message.is_request() {
            self.dialog.learn_request(&heard.message, heard.side);
            self.request(cx, heard);
        } else {
            self.dialog.learn_response(&heard.message, heard.side);
            self.response(cx, heard);
        }
    }

    /// Whether the VM refreshes sessions, as it says where it speaks of them.
    fn learn_timer(&mut self, heard: &Heard) {
        let is_invite = heard.message.cseq().1 == Method::Invite;
        if heard.side == Side::Vm && is_invite && !self.vm_has_timer {
            let supported = heard.message.headers(Name::SUPPORTED);
            self.vm_has_timer = supported
                .flat_map(|list| list.split(|&b| b == b','))
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"timer"));
        }
    }

    /// Another dialog of the same Call-ID: the INVITE was forked, and its other
    /// branches pass. While the first 2xx is held the others wait: their senders
    /// repeat them until they are acknowledged (RFC 3261 §13.3.1.4).
    fn other_dialog(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        let held = match &self.exchange {
            Exchange::TcAnswers(offer, _)
            | Exchange::GatewayAnswersAgain(offer, _)
            | Exchange::GatewayTakesVm(offer, _, _) => offer.initial,
            Exchange::TcAnswersLate(..) => true,
            _ => false,
        };
        if !(held && heard.is_success() && *heard.message.method() == Method::Invite) {
            self.pass(cx, heard);
        }
    }

    fn request(&mut self, cx: &mut Context<'_>, heard: Heard) {
        match heard.message.method() {
            Method::Invite | Method::Update => self.offer_request(cx, heard),
            Method::Ack => self.ack(cx, &heard),
            Method::Cancel => self.cancel(cx, &heard),
            Method::Bye => self.bye(cx, &heard),
            Method::Prack if self.answers_late_offer(cx, &heard) => {}
            _ => {
                self.observe(cx, &heard);
                self.pass_translated(cx, &heard);
            }
        }
    }

    fn offer_request(&mut self, cx: &mut Context<'_>, heard: Heard) {
        let initial = heard.message.to_tag().is_none();
        if !self.repeats.is_new(&heard) {
            let waits = match &self.exchange {
                Exchange::TcOffers(offer) => offer.request.key() == heard.key(),
                _ => false,
            };
            if !waits {
                self.pass(cx, &heard);
            }
            return;
        }
        if self.is_over() && !initial {
            return self.pass(cx, &heard);
        }
        let callers = self.outgoing == (heard.side == Side::Vm);
        match self.plane {
            Plane::Vm(_) => {
                if initial && callers && self.is_over() {
                    self.begin_again(&heard);
                }
                if self.exchange.is_ours() {
                    return self.reject(cx, &heard, 491);
                }
                self.put_off_take_over(cx);
                self.observe(cx, &heard);
                self.pass(cx, &heard);
            }
            // The same call found its way here twice.
            _ if initial && (!callers || *heard.message.method() != Method::Invite) => {
                self.pass(cx, &heard);
            }
            _ if initial => {
                self.begin_again(&heard);
                if cx.config.calls.is_emergency(&heard.message, self.outgoing) {
                    self.through_vm(cx, Reason::Emergency);
                    return self.pass(cx, &heard);
                }
                match heard.side {
                    Side::Vm => self.vm_offers(cx, heard, true),
                    Side::Net => self.gateway_offers(cx, heard, true),
                }
            }
            _ if self.exchange.is_ours() => self.reject(cx, &heard, 491),
            Plane::Bypass if matches!(self.exchange, Exchange::Idle) => match heard.side {
                Side::Vm => self.vm_offers(cx, heard, false),
                Side::Net => self.gateway_offers(cx, heard, false),
            },
            _ => self.pass_translated(cx, &heard),
        }
    }

    /// The caller's INVITE: the first, or one with credentials (RFC 3261 §22.2),
    /// to where it was redirected (§8.1.3.4), or of a Call-ID that serves twice.
    fn begin_again(&mut self, heard: &Heard) {
        if self.is_over() {
            self.gateway = None;
            self.vm_holds = false;
            if !self.is_through_vm() {
                self.plane = Plane::Pending;
            }
        }
        self.stream = None;
        self.dialog
            .begin_again(&heard.message, heard.side, heard.src, heard.dst);
        self.progress = Progress::Setup;
        self.media_path.stay();
    }

    fn response(&mut self, cx: &mut Context<'_>, heard: Heard) {
        let key = heard.key();
        match &self.exchange {
            Exchange::Offerless(invite) if *invite == key => self.callee_offers(cx, heard),
            Exchange::GatewayAnswers(offer) if offer.answered_in.is(&heard) => {
                self.gateway_answers(cx, heard);
            }
            // The VM's 2xx, which waits for the TC's offer.
            Exchange::TcOffers(offer) if offer.request.key() == key => {}
            Exchange::TcAnswersLate(offer, _) if offer.key == key => {}
            Exchange::TcAnswers(offer, _)
            | Exchange::GatewayAnswersAgain(offer, _)
            | Exchange::GatewayTakesVm(offer, _, _)
                if offer.request.key() == key =>
            {
                // The held 2xx again, or a provisional one that it has overtaken.
            }
            Exchange::VmAnswers(offer) if offer.answered_in.is(&heard) => {
                self.vm_answers(cx, heard);
            }
            Exchange::TcAnswersGateway(offer, _) if offer.key == key => {}
            Exchange::Leaving(offer, reason) if *offer == key => {
                let reason = *reason;
                match heard.message.status().unwrap_or(0) {
                    ..=199 => {}
                    200..=299 => {
                        self.through_vm(cx, reason);
                        self.take_over = TakeOver::WithAudio;
                    }
                    _ => self.exchange = Exchange::Idle,
                }
                self.observe(cx, &heard);
                self.pass(cx, &heard);
            }
            _ => self.other_response(cx, &heard),
        }
    }

    fn other_response(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        let status = heard.message.status().unwrap_or(0);
        match heard.message.method() {
            Method::Invite if opposite(heard.side) == self.caller() => {
                self.observe(cx, heard);
                if status < 200 {
                    // Overtaken by its 2xx: nobody heeds it any more.
                    self.pass(cx, heard);
                } else {
                    self.pass_translated(cx, heard);
                }
                self.advance(cx, status);
            }
            Method::Bye if status >= 200 && self.is_over() => {
                self.pass(cx, heard);
                self.hung_up(cx);
            }
            _ => {
                self.observe(cx, heard);
                self.pass_translated(cx, heard);
            }
        }
    }

    /// An ACK. One with a session description answers the offer of a 2xx
    /// (RFC 3264 §4; the other side asked by an INVITE without one).
    fn ack(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        let (number, _) = heard.message.cseq();
        if heard.side == Side::Vm {
            self.stop_repetition(number);
        }
        if !self.answers_late_offer(cx, heard) {
            self.observe(cx, heard);
            self.pass_translated(cx, heard);
        }
        if heard.side == self.caller() && self.progress == Progress::Up {
            self.is_acknowledged = true;
            self.hand_back_what_is_owed(cx);
        }
        self.take_over(cx);
        // Of a refusal: the last message of a call that never was.
        if heard.side == self.caller() && self.tc.state == TcState::Idle {
            self.hung_up(cx);
        }
    }

    /// The side that calls.
    pub(super) fn caller(&self) -> Side {
        if self.outgoing { Side::Vm } else { Side::Net }
    }

    /// The caller's INVITE has been answered with `status`, and it knows.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, status: u16) {
        let setup = matches!(self.progress, Progress::Setup | Progress::Early);
        match status {
            101..=199 if setup => self.progress = Progress::Early,
            200..=299 if setup => self.progress = Progress::Up,
            300.. if setup => self.refused(cx, status),
            _ => {}
        }
    }

    /// Notes what a call that goes through the VM says of its media, and counts
    /// the flows.
    fn observe(&mut self, cx: &mut Context<'_>, heard: &Heard) {
        if !matches!(self.plane, Plane::Vm(_)) || self.is_over() {
            return;
        }
        let Some(sdp) = heard.sdp() else {
            return;
        };
        // Without audio (a fax) there is nothing to count.
        let described = Described::answer(sdp, None).ok();
        match heard.side {
            Side::Vm => self.vm = described,
            Side::Net => self.gateway = described,
        }
        if self.vm.is_none() || self.gateway.is_none() {
            self.media_path.install(cx, self.id, Vec::new());
        }
        self.set_flows(cx);
    }

    /// From here on the call goes through the VM.
    pub(super) fn through_vm(&mut self, cx: &mut Context<'_>, reason: Reason) {
        self.plane = Plane::Vm(reason);
        self.exchange = Exchange::Idle;
        self.exchange_by = None;
        self.keep_alive = None;
        self.promised = None;
        self.drop_tc(cx);
        if self.vm.is_some() && self.gateway.is_some() {
            self.set_flows(cx);
        } else {
            self.media_path.install(cx, self.id, Vec::new());
        }
        self.media_path.give_back_anchor(cx);
    }

    /// A message of the call could not be parsed, and has gone its way.
    pub(crate) fn heard_nonsense(&mut self, cx: &mut Context<'_>) {
        if self.plane == Plane::Pending && !self.is_over() {
            self.tc_failed(cx, Reason::SipNotUnderstood);
        }
    }
}
