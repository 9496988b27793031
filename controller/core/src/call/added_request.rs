//! Requests of our own in the VM's dialog: sent, repeated (RFC 3261 §17.1),
//! acknowledged, tried again after a glare (§14.1). Their responses end here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::heard::{Heard, Key};
use super::state::{Held, VmOffer};
use super::transit::{replace_first, reread};
use super::{Call, Context};
use crate::engine::{Datagram, Side};
use crate::sip::dialog::OwnRequest;
use crate::sip::transaction::{ClientTransaction, Effect};
use crate::sip::{Message, MessageEdit, Method, Name, RequestBuilder};
use crate::time::Time;

/// 2xx that we have acknowledged and that may come again.
const OWN_ACKS: usize = 8;
/// Requests of our own that are remembered: one at a time is under way, but for BYEs;
/// the others are there to be acknowledged again, and the oldest go.
const ADDED: usize = 16;
/// How often a re-INVITE is tried again after a 491.
const TRIES: u8 = 8;

/// A request of our own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AddedRequest {
    toward: Side,
    method: Method,
    branch: String,
    number: u32,
    datagram: Datagram,
    transaction: ClientTransaction,
    /// Of a 2xx to our INVITE.
    ack: Option<Datagram>,
    /// Its offer, for another try.
    offer: Option<Vec<u8>>,
    /// It glared: tried again then.
    retry: Option<Time>,
    tries: u8,
}

impl AddedRequest {
    pub(super) fn due(&self) -> Option<Time> {
        self.transaction
            .timers()
            .next()
            .into_iter()
            .chain(self.retry)
            .min()
    }
}

/// Our ACK of a 2xx to an INVITE of the VM's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OwnAck {
    key: Key,
    tag: Option<Vec<u8>>,
    /// The INVITE's number as the VM counts.
    vm_number: u32,
    datagram: Datagram,
}

/// The VM's INVITE, sent once more with the VM's own offer after the gateway
/// refused the TC's codecs. To the VM it stays one transaction.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reissue {
    vm_branch: Vec<u8>,
    branch: String,
    datagram: Datagram,
    /// Until a response comes.
    transaction: Option<ClientTransaction>,
    /// Of the refusal.
    ack: Datagram,
}

impl Reissue {
    pub(super) fn due(&self) -> Option<Time> {
        self.transaction.as_ref()?.timers().next()
    }

    /// A message of the VM's transaction, as the gateway knows it.
    pub(super) fn outward(&self, heard: &Heard, bytes: Vec<u8>) -> Vec<u8> {
        if heard.message.is_request() && heard.side == Side::Vm && heard.branch() == self.vm_branch
        {
            replace_first(bytes, &self.vm_branch, self.branch.as_bytes())
        } else {
            bytes
        }
    }
}

impl Call {
    /// Offers `body` in the dialog by a re-INVITE toward `side`.
    pub(super) fn offer_to(&mut self, cx: &mut Context<'_>, toward: Side, body: Vec<u8>) {
        self.add_request(cx, toward, Method::Invite, Some(body), 0);
    }

    /// Offers the VM `body`, and asks it to refresh the session itself.
    pub(super) fn offer_to_refresh(&mut self, cx: &mut Context<'_>, body: Vec<u8>) {
        self.refreshes = true;
        self.offer_to(cx, Side::Vm, body);
    }

    /// Hangs up toward `side`.
    pub(super) fn bye_to(&mut self, cx: &mut Context<'_>, toward: Side) {
        self.add_request(cx, toward, Method::Bye, None, 0);
    }

    fn add_request(
        &mut self,
        cx: &mut Context<'_>,
        toward: Side,
        method: Method,
        offer: Option<Vec<u8>>,
        tries: u8,
    ) {
        let number = match toward {
            Side::Net => self.dialog.vm.cseq.take(),
            Side::Vm => self.dialog.gateway.cseq.take(),
        };
        let branch = cx.identifiers.branch();
        let asks = self.refreshes && self.vm_has_timer;
        let to_be_refreshed = asks && toward == Side::Vm && method == Method::Invite;
        let datagram = self.dialog.request(
            toward,
            &OwnRequest {
                method: &method,
                branch: &branch,
                number,
                body: offer.as_deref(),
                to_be_refreshed,
            },
        );
        let (transaction, effects) = ClientTransaction::start(
            cx.now,
            &method,
            datagram.payload.clone(),
            datagram.transport.is_reliable(),
        );
        send_effects(cx, &datagram, &effects);
        if self.added.len() >= ADDED {
            let done = |a: &AddedRequest| !a.transaction.is_pending() && a.retry.is_none();
            let oldest = self.added.iter().position(done).unwrap_or(0);
            self.added.remove(oldest);
        }
        self.added.push(AddedRequest {
            toward,
            method,
            branch,
            number,
            datagram,
            transaction,
            ack: None,
            offer,
            retry: None,
            tries,
        });
    }

    /// Whether this is a response to a request of ours, by its branch; it goes no
    /// further.
    pub(super) fn added_response(&mut self, cx: &mut Context<'_>, heard: &Heard) -> bool {
        if heard.message.is_request() {
            return false;
        }
        let status = heard.message.status().unwrap_or(0);
        let (_, method) = heard.message.cseq();
        let Some(at) = self
            .added
            .iter()
            .position(|a| a.branch.as_bytes() == heard.branch() && a.method == method)
        else {
            return false;
        };
        self.dialog.learn_response(&heard.message, heard.side);
        let latest = self.added.iter().skip(at + 1).all(|a| a.method != method);
        let dialog = &self.dialog;
        let Some(added) = self.added.get_mut(at) else {
            return false;
        };
        if let Some(ack) = added.ack.clone().filter(|_| heard.is_success()) {
            cx.send(ack);
            return true;
        }
        let refusal = OwnRequest {
            method: &Method::Ack,
            branch: &added.branch,
            number: added.number,
            body: None,
            to_be_refreshed: false,
        };
        let toward = added.toward;
        let effects = added
            .transaction
            .response(cx.now, status, || dialog.request(toward, &refusal).payload);
        send_effects(cx, &added.datagram, &effects);
        if status < 200 || !effects.contains(&Effect::Deliver) {
            return true;
        }
        if method != Method::Invite {
            self.own_bye_answered(cx);
            return true;
        }
        if heard.is_success() {
            let ack = dialog.request(
                toward,
                &OwnRequest {
                    branch: &cx.identifiers.branch(),
                    ..refusal
                },
            );
            added.ack = Some(ack.clone());
            cx.send(ack);
            if latest {
                self.own_offer_answered(cx, heard);
            }
        } else if status == 491 && added.tries < TRIES {
            // §14.1: who made the Call-ID waits longer.
            let owner = self.outgoing == (toward == Side::Net);
            let least = if owner { 2100 } else { 0 };
            let wait = 10 * u64::from(cx.identifiers.below(191)) + least;
            added.retry = Some(cx.now + Duration::from_millis(wait));
        } else if latest {
            self.own_offer_refused(cx, status);
        }
        true
    }

    /// When both sides have answered our BYEs the call is over.
    fn own_bye_answered(&mut self, cx: &mut Context<'_>) {
        let open = |a: &AddedRequest| a.method == Method::Bye && a.transaction.is_pending();
        if !self.added.iter().any(open) {
            self.hung_up(cx);
        }
    }

    /// Runs the timers of our own requests.
    pub(super) fn run_added(&mut self, cx: &mut Context<'_>) {
        let mut retries = Vec::new();
        let mut lost = false;
        for added in &mut self.added {
            let effects = added.transaction.timeout(cx.now);
            send_effects(cx, &added.datagram, &effects);
            lost |= effects.contains(&Effect::TimedOut) && added.method == Method::Invite;
            if added.retry.is_some_and(|at| at <= cx.now) {
                added.retry = None;
                retries.push((added.toward, added.offer.clone(), added.tries + 1));
            }
        }
        self.added
            .retain(|added| !added.transaction.is_terminated() || added.retry.is_some());
        for (toward, offer, tries) in retries {
            if self.exchange.is_ours() {
                self.add_request(cx, toward, Method::Invite, offer, tries);
            }
        }
        if lost {
            self.own_offer_refused(cx, 408);
        }
        if let Some(reissue) = &mut self.reissue
            && let Some(transaction) = &mut reissue.transaction
        {
            let effects = transaction.timeout(cx.now);
            send_effects(cx, &reissue.datagram, &effects);
            if effects.contains(&Effect::TimedOut) {
                reissue.transaction = None;
            }
        }
    }

    /// Acknowledges a held 2xx to the VM's INVITE in the VM's name.
    pub(super) fn acknowledge(&mut self, cx: &mut Context<'_>, held: &mut Held) {
        let message = &held.response.message;
        let (number, method) = message.cseq();
        if held.acknowledged || method != Method::Invite {
            return;
        }
        held.acknowledged = true;
        let datagram = self.dialog.request(
            Side::Net,
            &OwnRequest {
                method: &Method::Ack,
                branch: &cx.identifiers.branch(),
                number,
                body: None,
                to_be_refreshed: false,
            },
        );
        if self.own_acks.len() >= OWN_ACKS {
            self.own_acks.remove(0);
        }
        self.own_acks.push(OwnAck {
            key: held.response.key(),
            tag: message.to_tag().map(<[u8]>::to_vec),
            vm_number: self.dialog.vm.cseq.inward(number).unwrap_or(number),
            datagram: datagram.clone(),
        });
        cx.send(datagram);
    }

    /// Absorbs what belongs to a transaction that we have ended ourselves: a
    /// repeated 2xx gets our ACK again, the VM's own ACK ends here, and so does
    /// the VM's repeated INVITE while its reissue is ours to repeat.
    pub(super) fn is_settled(&mut self, cx: &mut Context<'_>, heard: &Heard) -> bool {
        let message = &heard.message;
        let (number, method) = message.cseq();
        if !message.is_request() && heard.side == Side::Net {
            let key = heard.key();
            let ours = self.own_acks.iter().find(|ack| {
                heard.is_success() && ack.key == key && ack.tag.as_deref() == message.to_tag()
            });
            if let Some(ack) = ours {
                cx.send(ack.datagram.clone());
                return true;
            }
        }
        if message.is_request() && heard.side == Side::Vm && method == Method::Ack {
            let ours = self
                .own_acks
                .iter()
                .any(|ack| ack.vm_number == number && ack.tag.as_deref() == message.to_tag());
            if ours {
                self.stop_repetition(number);
                self.ask_for_refresh(cx);
                return true;
            }
        }
        let Some(reissue) = &self.reissue else {
            return false;
        };
        if heard.branch() != reissue.vm_branch || method != Method::Invite {
            return false;
        }
        match (message.is_request(), heard.side) {
            (true, Side::Vm) => true,
            // The refusal, repeated: what comes for the reissue has been given
            // the VM's branch already, but has its own number.
            (false, Side::Net) if self.dialog.vm.cseq.inward(number).is_none() => {
                if message.status().is_some_and(|status| status >= 300) {
                    cx.send(reissue.ack.clone());
                }
                true
            }
            _ => false,
        }
    }

    /// Acknowledges the gateway's refusal and sends the VM's INVITE once more,
    /// with the VM's own offer (RFC 3261 §8.1.3.5).
    pub(super) fn reissue(&mut self, cx: &mut Context<'_>, offer: &VmOffer, refusal: &Heard) {
        let request = &offer.request;
        let (number, _) = request.message.cseq();
        let (refused, _) = refusal.message.cseq();
        let branch = cx.identifiers.branch();
        let vm_branch = request.branch().to_vec();
        let again = self.dialog.vm.cseq.again(number);
        let bytes = MessageEdit::new(&request.message).set_cseq(again).finish();
        let datagram = request.onward(replace_first(bytes, &vm_branch, branch.as_bytes()));
        let ack = request.onward(ack_of_refusal(&request.message, &refusal.message, refused));
        let (transaction, effects) = ClientTransaction::start(
            cx.now,
            &Method::Invite,
            datagram.payload.clone(),
            datagram.transport.is_reliable(),
        );
        cx.send(ack.clone());
        send_effects(cx, &datagram, &effects);
        self.reissue = Some(Box::new(Reissue {
            vm_branch,
            branch,
            datagram,
            transaction: Some(transaction),
            ack,
        }));
    }

    /// A response to the reissued INVITE, as the VM knows its transaction.
    pub(super) fn in_vms_transaction(&mut self, heard: Heard) -> Heard {
        let Some(reissue) = &mut self.reissue else {
            return heard;
        };
        let ours = reissue.branch.as_bytes();
        if heard.message.is_request() || heard.side != Side::Net || heard.branch() != ours {
            return heard;
        }
        reissue.transaction = None;
        let bytes = replace_first(heard.message.bytes().to_vec(), ours, &reissue.vm_branch);
        Heard {
            message: reread(&heard.message, &bytes),
            ..heard
        }
    }
}

fn send_effects(cx: &mut Context<'_>, like: &Datagram, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Send(payload) = effect {
            cx.send(Datagram {
                payload: payload.clone(),
                ..like.clone()
            });
        }
    }
}

/// The ACK of a 3xx to 6xx (RFC 3261 §17.1.1.3).
fn ack_of_refusal(request: &Message, refusal: &Message, number: u32) -> Vec<u8> {
    let first = |name| request.headers(name).next().unwrap_or_default();
    let header = |message: &Message, name| message.header(name).unwrap_or_default().to_vec();
    let mut builder = RequestBuilder::new(Method::Ack, request.uri().unwrap_or_default())
        .header(Name::VIA, first(Name::VIA))
        .max_forwards()
        .header(Name::FROM, header(request, Name::FROM))
        .header(Name::TO, header(refusal, Name::TO))
        .header(Name::CALL_ID, request.call_id())
        .cseq(number);
    for route in request.header_values(Name::ROUTE) {
        builder = builder.header(Name::ROUTE, route);
    }
    builder.build()
}
