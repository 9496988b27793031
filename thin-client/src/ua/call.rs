//! The one call (RFC 3261 §12 to §15; steps 304/305, 403/404): answered here,
//! offered anew and ended by either side.

use std::net::SocketAddr;
use std::time::Duration;

use sidestep_core::sip::transaction::{ServerKey, T1, T2};
use sidestep_core::sip::{Message, Method, Name, RequestBuilder};
use sidestep_core::time::Time;

use crate::config::Answer;

use super::{ALLOW, Event, Purpose, UserAgent, token};
use crate::negotiation::Local;

/// How long a 200 is repeated before the call is given up (§13.3.1.4: 64*T1).
const ACK_WAIT: Duration = Duration::from_secs(32);

/// Where the call is.
enum Phase {
    /// The INVITE waits for its final response.
    Ringing {
        invite: Box<Message>,
        key: ServerKey,
        answer_at: Time,
    },
    /// Answered.
    Up,
}

/// A 200 that is repeated until its ACK comes (§13.3.1.4).
struct Unacknowledged {
    cseq: u32,
    response: Vec<u8>,
    to: SocketAddr,
    repeat_at: Time,
    interval: Duration,
    give_up_at: Time,
    /// It carries an offer, so the ACK carries the answer.
    offers: bool,
}

/// The call and its dialog.
pub(super) struct Call {
    phase: Phase,
    call_id: Vec<u8>,
    local_tag: String,
    remote_tag: Vec<u8>,
    /// To and From of our requests: the INVITE's, exchanged, with tags.
    local: Vec<u8>,
    remote: Vec<u8>,
    target: Vec<u8>,
    routes: Vec<Vec<u8>>,
    /// Where the peer's requests come from, and ours go to.
    peer: SocketAddr,
    local_cseq: u32,
    remote_cseq: u32,
    unacknowledged: Option<Unacknowledged>,
    confirmed: bool,
    session_id: u64,
    version: u64,
    /// Where RTP is received, as told last.
    rtp: SocketAddr,
    /// Our re-INVITE is under way and offers this.
    offered_rtp: Option<SocketAddr>,
    /// The ACK of our re-INVITE's 2xx, sent again with each repetition.
    ack: Vec<u8>,
    reinvite_at: Option<Time>,
    hang_up_at: Option<Time>,
    /// The peer takes our reports (RFC 6086 §5.2.2).
    takes_reports: bool,
    /// What was reported since the media was agreed last.
    reported: Option<u8>,
}

/// Header and package of the report that nothing can be decoded.
const RECV_INFO: Name = Name::new("Recv-Info");
const INFO_PACKAGE: Name = Name::new("Info-Package");
const UNDECODABLE: &str = "undecodable";

impl Call {
    pub(super) fn has_call_id(&self, request: &Message) -> bool {
        self.call_id == request.call_id()
    }

    /// Whether a request belongs to the dialog (§12.2.2).
    pub(super) fn matches(&self, request: &Message) -> bool {
        self.has_call_id(request)
            && request.to_tag() == Some(self.local_tag.as_bytes())
            && request.from_tag().unwrap_or_default() == self.remote_tag
    }

    pub(super) fn local_tag(&self) -> &str {
        &self.local_tag
    }

    pub(super) fn next(&self) -> Option<Time> {
        let answer_at = match &self.phase {
            Phase::Ringing { answer_at, .. } => Some(*answer_at),
            Phase::Up => None,
        };
        let unacknowledged = self.unacknowledged.as_ref();
        [
            answer_at,
            unacknowledged.map(|waiting| waiting.repeat_at.min(waiting.give_up_at)),
            self.reinvite_at,
            self.hang_up_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl UserAgent {
    fn local_at(&self, rtp: SocketAddr, session_id: u64, version: u64) -> Local<'_> {
        Local {
            rtp,
            codecs: &self.config.media.codecs,
            ptime: self.config.media.ptime,
            session_id,
            version,
        }
    }

    /// The configured media (steps 301, 401; §11.2).
    pub(super) fn describe(&self) -> Vec<u8> {
        self.local_at(self.config.media.address, 1, 1).describe()
    }

    /// An INVITE outside of any dialog.
    pub(super) fn invited(
        &mut self,
        now: Time,
        from: SocketAddr,
        invite: &Message,
        key: &ServerKey,
    ) {
        let status = match self.config.answer {
            _ if self.call.is_some() || self.stopping.is_some() => Some(486),
            Answer::Refuse(status) => Some(status),
            _ if !invite.body().is_empty() && !invite.is_sdp() => Some(415),
            _ => None,
        };
        let call_id = String::from_utf8_lossy(invite.call_id()).into_owned();
        let caller = String::from_utf8_lossy(invite.from_uri()).into_owned();
        if let Some(status) = status {
            self.respond(now, key, invite, status);
            self.events.push_back(Event::Refused {
                call_id,
                from: caller,
            });
            return;
        }
        let delay = match self.config.answer {
            Answer::After(delay) => delay,
            Answer::Refuse(_) | Answer::Silent => Duration::ZERO,
        };
        let media = self.config.media.address;
        let port = self.config.answer_port.unwrap_or(media.port());
        let local_tag = token();
        let mut local = invite.header(Name::TO).unwrap_or_default().to_vec();
        local.extend(format!(";tag={local_tag}").into_bytes());
        self.call = Some(Call {
            phase: Phase::Ringing {
                invite: Box::new(invite.clone()),
                key: key.clone(),
                answer_at: now + delay,
            },
            call_id: invite.call_id().to_vec(),
            local_tag,
            remote_tag: invite.from_tag().unwrap_or_default().to_vec(),
            local,
            remote: invite.header(Name::FROM).unwrap_or_default().to_vec(),
            target: target(invite),
            routes: invite
                .headers(Name::RECORD_ROUTE)
                .map(<[u8]>::to_vec)
                .collect(),
            peer: from,
            local_cseq: 0,
            remote_cseq: invite.cseq().0,
            unacknowledged: None,
            confirmed: false,
            session_id: fastrand::u64(1..1 << 62),
            version: 1,
            rtp: SocketAddr::new(media.ip(), port),
            offered_rtp: None,
            ack: Vec::new(),
            reinvite_at: None,
            hang_up_at: None,
            takes_reports: invite
                .headers(RECV_INFO)
                .flat_map(|list| list.split(|&b| b == b','))
                .any(|package| {
                    package
                        .trim_ascii()
                        .eq_ignore_ascii_case(UNDECODABLE.as_bytes())
                }),
            reported: None,
        });
        self.events.push_back(Event::Invited {
            call_id,
            from: caller,
        });
        if delay.is_zero() {
            self.answer_call(now);
        } else {
            let contact = self.contact();
            self.respond_with(now, key, invite, 180, |response| {
                response.header(Name::CONTACT, contact)
            });
        }
    }

    /// The telephone is picked up (305, 404).
    fn answer_call(&mut self, now: Time) {
        let Some(call) = &mut self.call else { return };
        let Phase::Ringing { invite, key, .. } = std::mem::replace(&mut call.phase, Phase::Up)
        else {
            return;
        };
        let (hang_up, reinvite) = (self.config.hangup_after, self.config.reinvite);
        call.hang_up_at = hang_up.map(|after| now + after);
        call.reinvite_at = reinvite.map(|(after, _)| now + after);
        let local = call.rtp;
        if self.accept(now, &invite, &key) {
            self.events.push_back(Event::Answered { local });
        } else {
            self.end_call("unacceptable");
        }
    }

    /// Answers an INVITE of the dialog with a 200: an answer to its offer, or an
    /// offer. False: it was refused.
    fn accept(&mut self, now: Time, invite: &Message, key: &ServerKey) -> bool {
        let Some(call) = &self.call else { return false };
        let rtp = call.rtp;
        let local = self.local_at(rtp, call.session_id, call.version);
        let (offers, description, peer) = if invite.body().is_empty() {
            (true, Ok(local.describe()), None)
        } else {
            match local.answer(invite.body()) {
                Ok((description, peer)) => (false, Ok(description), Some(peer)),
                Err(status) => (false, Err(status), None),
            }
        };
        let description = match description {
            Ok(description) => description,
            Err(status) => {
                self.respond(now, key, invite, status);
                return false;
            }
        };
        let contact = self.contact();
        let mut repeated = Vec::new();
        self.respond_with(now, key, invite, 200, |response| {
            let response = response
                .header(Name::CONTACT, contact)
                .header(Name::ALLOW, ALLOW)
                .sdp(description);
            repeated = response.clone().build();
            response
        });
        if let Some(call) = &mut self.call {
            call.version += 1;
            call.reported = None;
            call.unacknowledged = Some(Unacknowledged {
                cseq: invite.cseq().0,
                response: repeated,
                to: call.peer,
                repeat_at: now + T1,
                interval: T1,
                give_up_at: now + ACK_WAIT,
                offers,
            });
        }
        if let Some(peer) = peer {
            self.events.push_back(Event::Media { local: rtp, peer });
        }
        true
    }

    /// A re-INVITE (§14.2).
    pub(super) fn reinvited(
        &mut self,
        now: Time,
        from: SocketAddr,
        invite: &Message,
        key: &ServerKey,
    ) {
        let Some(call) = &mut self.call else { return };
        let status = match &call.phase {
            _ if invite.cseq().0 <= call.remote_cseq => Some(500),
            Phase::Ringing { .. } => Some(500),
            Phase::Up if call.offered_rtp.is_some() => Some(491),
            Phase::Up if call.unacknowledged.is_some() => Some(491),
            Phase::Up => None,
        };
        if let Some(status) = status {
            self.respond(now, key, invite, status);
            return;
        }
        call.remote_cseq = invite.cseq().0;
        call.peer = from;
        call.target = target(invite);
        if self.accept(now, invite, key) {
            self.events.push_back(Event::Reinvited);
        }
    }

    /// An ACK that no transaction took.
    pub(super) fn acknowledged(&mut self, now: Time, ack: &Message) {
        let Some(call) = self.call.as_mut().filter(|call| call.matches(ack)) else {
            return;
        };
        let Some(waiting) = call
            .unacknowledged
            .take_if(|waiting| waiting.cseq == ack.cseq().0)
        else {
            return;
        };
        if !std::mem::replace(&mut call.confirmed, true) {
            self.events.push_back(Event::Confirmed);
        }
        if waiting.offers {
            self.answered(now, ack.body());
        }
    }

    /// The answer to our offer has come, in an ACK or a 200.
    fn answered(&mut self, now: Time, answered: &[u8]) {
        let Some(call) = &mut self.call else { return };
        call.reported = None;
        if let Some(offered) = call.offered_rtp.take() {
            call.rtp = offered;
        }
        let rtp = call.rtp;
        let (session_id, version) = (call.session_id, call.version);
        match self.local_at(rtp, session_id, version).accept(answered) {
            Some(peer) => self.events.push_back(Event::Media { local: rtp, peer }),
            // §13.2.2.4: an answer that cannot be had ends the call.
            None => self.hang_up(now, "unacceptable"),
        }
    }

    /// A CANCEL (§9.2).
    pub(super) fn cancelled(&mut self, now: Time, cancel: &Message, key: &ServerKey) {
        let cancelled = ServerKey::cancelled_by(cancel);
        let ringing = match &self.call {
            Some(Call {
                phase: Phase::Ringing { invite, key, .. },
                ..
            }) if cancelled.as_ref() == Some(key) => Some((invite.clone(), key.clone())),
            _ => None,
        };
        let known = self
            .call
            .as_ref()
            .is_some_and(|call| call.has_call_id(cancel));
        self.respond(now, key, cancel, if known { 200 } else { 481 });
        if let Some((invite, key)) = ringing {
            self.respond(now, &key, &invite, 487);
            self.end_call("cancel");
        }
    }

    /// What the call has to do by `now`.
    pub(super) fn call_timeout(&mut self, now: Time) {
        let Some(call) = &mut self.call else { return };
        if matches!(call.phase, Phase::Ringing { answer_at, .. } if answer_at <= now) {
            self.answer_call(now);
            return;
        }
        if let Some(waiting) = &mut call.unacknowledged {
            if waiting.give_up_at <= now {
                self.hang_up(now, "no-ack");
                return;
            }
            if waiting.repeat_at <= now {
                waiting.interval = (waiting.interval * 2).min(T2);
                waiting.repeat_at = now + waiting.interval;
                let repeated = (waiting.to, waiting.response.clone());
                self.outgoing.push_back(repeated);
            }
        }
        if call.hang_up_at.is_some_and(|at| at <= now) {
            self.hang_up(now, "hangup");
            return;
        }
        if call.reinvite_at.is_some_and(|at| at <= now) {
            self.reinvite(now);
        }
    }

    /// Offers the call anew, with the configured other port.
    fn reinvite(&mut self, now: Time) {
        let reinvite = self.config.reinvite;
        let Some((call, (_, port))) = self.call.as_mut().zip(reinvite) else {
            return;
        };
        if call.unacknowledged.is_some() || !call.confirmed {
            call.reinvite_at = Some(now + T1);
            return;
        }
        call.reinvite_at = None;
        let rtp = SocketAddr::new(call.rtp.ip(), port);
        call.offered_rtp = Some(rtp);
        call.version += 1;
        let (session_id, version) = (call.session_id, call.version);
        let description = self.local_at(rtp, session_id, version).describe();
        let contact = self.contact();
        self.dialog_request(now, Method::Invite, Purpose::Reinvite, |request| {
            request
                .header(Name::CONTACT, contact)
                .header(Name::ALLOW, ALLOW)
                .sdp(description)
        });
    }

    /// Reports that nothing of what comes can be decoded, once for what is agreed (M9).
    pub(super) fn report_undecodable(&mut self, now: Time, payload_type: u8) {
        let Some(call) = &mut self.call else { return };
        let known = call.reported == Some(payload_type);
        if !call.takes_reports || !call.confirmed || known {
            return;
        }
        call.reported = Some(payload_type);
        self.dialog_request(now, Method::Info, Purpose::Report, |request| {
            request
                .header(INFO_PACKAGE, UNDECODABLE)
                .body("text/plain", payload_type.to_string())
        });
    }

    /// A response to our re-INVITE.
    pub(super) fn reinvite_answered(&mut self, now: Time, response: &Message) {
        let Some(call) = &mut self.call else { return };
        match response.status().unwrap_or_default() {
            100..=199 => {}
            200..=299 => {
                let first = call.offered_rtp.is_some();
                if first {
                    call.target = target(response);
                    let cseq = response.cseq().0;
                    let ack = RequestBuilder::new(Method::Ack, &call.target)
                        .via_over(
                            self.transport.name(),
                            self.config.bind,
                            &format!("z9hG4bK{}", token()),
                        )
                        .max_forwards();
                    call.ack = call.in_dialog(ack, cseq).build();
                }
                self.outgoing.push_back((call.peer, call.ack.clone()));
                if first {
                    self.answered(now, response.body());
                }
            }
            // §14.1: not ours is the Call-ID, so 0 to 2 s.
            491 => {
                call.offered_rtp = None;
                call.reinvite_at = Some(now + Duration::from_millis(fastrand::u64(0..2_000)));
            }
            // §12.2.1.2: the peer has no such dialog, or is gone.
            408 | 481 => self.hang_up(now, "no-answer"),
            // The call stands as it was.
            _ => call.offered_rtp = None,
        }
    }

    /// Ends the call: BYE, or a refusal while it rings.
    pub(super) fn hang_up(&mut self, now: Time, reason: &'static str) {
        let Some(call) = &self.call else { return };
        match &call.phase {
            Phase::Ringing { invite, key, .. } => {
                let (invite, key) = (invite.clone(), key.clone());
                self.respond(now, &key, &invite, 480);
            }
            Phase::Up => {
                self.dialog_request(now, Method::Bye, Purpose::Bye, |request| request);
            }
        }
        self.end_call(reason);
    }

    pub(super) fn end_call(&mut self, reason: &'static str) {
        if let Some(call) = self.call.take() {
            let call_id = String::from_utf8_lossy(&call.call_id).into_owned();
            tracing::info!(call_id, reason, "call ended");
            self.events.push_back(Event::Ended { reason });
        }
    }

    fn dialog_request(
        &mut self,
        now: Time,
        method: Method,
        purpose: Purpose,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) {
        let Some(mut call) = self.call.take() else {
            return;
        };
        call.local_cseq += 1;
        self.send_request(now, method, &call.target, call.peer, purpose, |request| {
            fill(call.in_dialog(request, call.local_cseq))
        });
        self.call = Some(call);
    }
}

impl Call {
    /// The headers of a request in the dialog (§12.2.1.1).
    fn in_dialog(&self, request: RequestBuilder, cseq: u32) -> RequestBuilder {
        let mut request = request
            .header(Name::FROM, &self.local)
            .header(Name::TO, &self.remote)
            .header(Name::CALL_ID, &self.call_id)
            .cseq(cseq);
        for route in &self.routes {
            request = request.header(Name::ROUTE, route);
        }
        request
    }
}

/// The remote target: the Contact, or who sent it where there is none.
fn target(message: &Message) -> Vec<u8> {
    message
        .contact_uri()
        .unwrap_or_else(|| message.from_uri())
        .to_vec()
}
