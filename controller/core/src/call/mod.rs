//! Calls: each a machine of three legs (VM, gateway, thin client).
//!
//! In: the messages of one dialog between a VM and a gateway, what becomes of
//! the thin client's leg, time. Out: the same messages (byte for byte where
//! nothing needs change), requests of our own in that dialog, the thin client's
//! leg, flows, events.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `state` | the states, with the step numbers of Fig. 3 and Fig. 4 |
//! | `routing` | which message is whose business |
//! | `vm_offer` | an offer of the VM: Fig. 3, and its re-INVITEs and UPDATEs |
//! | `gateway_offer` | an offer of the gateway: Fig. 4, and its re-INVITEs |
//! | `late_offer` | a call's INVITE without an offer |
//! | `open_offers` | offers that pass beside the exchange under way |
//! | `take_over` | a call that goes through the VM, to the TC |
//! | `codec_trial` | a TC whose codecs are not known (M9) |
//! | `tc_leg` | what is told to the thin client, and what it says |
//! | `fallback` | back to the VM: before the VM has been told, and in the call |
//! | `ending` | CANCEL, BYE, refusals |
//! | `added_request` | requests of our own, their retransmission and ACK |
//! | `transit` | messages on their way through: numbers, repeats |
//! | `keep_alive` | when the VM's media timer is fed |
//! | `media_watch` | whether media is seen both ways, and still comes |
//!
//! What is told of media, paths and flows: [`crate::bypass`].
//!
//! **Never harm a call.** What is not expected in a state is forwarded.

mod added_request;
mod codec_trial;
mod ending;
mod fallback;
mod gateway_offer;
mod heard;
mod keep_alive;
mod late_offer;
mod media_watch;
mod open_offers;
mod routing;
mod state;
mod take_over;
mod tc_leg;
mod transit;
mod vm_offer;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use crate::bypass::Reason;

use serde::{Deserialize, Serialize};

use self::added_request::{AddedRequest, OwnAck, Reissue};
pub(crate) use self::heard::Heard;
use self::open_offers::OpenOffer;
use self::state::{Exchange, Plane, Progress, Stage, TakeOver, TcState};
use self::transit::{Rejections, Repeats, Repetition};
use crate::bypass::described::{Described, Told, Undescribed, VmKey};
use crate::bypass::flows::Anchor;
use crate::bypass::keep_alive::KeepAlive;
use crate::bypass::media_path::MediaPath;
use crate::bypass::media_watch::MediaWatch;
use crate::bypass::trial::Trial;
use crate::bypass::{Context, described, flows};
use crate::engine::{CallMedia, CallView, EngineConfig, Event, Flow, Output, Path, Side};
use crate::media::{Codec, Media};
use crate::occupancy::MayGo;
use crate::sip::Message;
use crate::sip::dialog::Dialog;
use crate::tc::LegId;
use crate::time::Time;

/// How long an ended call stays listed.
const LISTED: Duration = Duration::from_secs(60);
/// How long a call that is hung up, or refused, waits for its last messages.
const LINGER: Duration = Duration::from_secs(32);
/// How long a call may ring: longer than proxies wait (Timer C, RFC 3261 §16.6).
const SETUP: Duration = Duration::from_secs(600);
/// How long the signalling of a call that is up may be silent: then its BYE went
/// another way, or was never sent. Session timers (RFC 4028) are far shorter.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long the TC's offer may wait for the gateway's answer before it gets an
/// inactive one (RFC 3725 §4.2, flow II's problem with flow I).
const OWED: Duration = Duration::from_secs(2);

/// The thin client's leg of a call.
#[derive(Debug, Serialize, Deserialize)]
struct TcLeg {
    state: TcState,
    /// User name of the TC that was taken for this call.
    user: Option<String>,
    /// Its media: registered (301), then as it last described it (305).
    media: Option<Media>,
    /// What it was told of the gateway.
    told: Told,
    /// Its own offer, where it waits for an answer.
    offer: Option<Described>,
}

/// A call. What changes with every message comes first, so that it is one part of what
/// is kept ([`crate::engine::Value`]), between those that stay.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    id: u32,
    #[serde(with = "serde_bytes")]
    call_id: Vec<u8>,
    vm_index: usize,
    vm_address: Ipv4Addr,
    outgoing: bool,
    started: Time,
    progress: Progress,
    plane: Plane,
    /// When the exchange under way is given up.
    exchange_by: Option<Time>,
    last_heard: Time,
    /// What was last reported.
    reported: Option<(Stage, Path, Option<Reason>)>,
    /// The caller has acknowledged the 2xx to its INVITE.
    is_acknowledged: bool,
    /// The callee has said something.
    heard_of: bool,
    exchange: Exchange,
    dialog: Dialog,
    /// What the VM said of its media, last.
    vm: Option<Described>,
    /// What the gateway said, last.
    gateway: Option<Described>,
    tc: TcLeg,
    told_vm: Told,
    told_gateway: Told,
    /// Which stream of the session is bypassed (RFC 3264 §8); known from the first
    /// offer.
    stream: Option<usize>,
    /// What the VM is told as its far end's key, if it wants one.
    vm_key: Option<VmKey>,
    /// Whether the TC begins the DTLS handshake with the gateway; `None`: it is not
    /// said yet.
    #[serde(default)]
    tc_begins: Option<bool>,
    /// Codecs that the TC has refused.
    tries: Vec<Codec>,
    /// Whether both decode, where the TC's codecs are not known beforehand.
    #[serde(default)]
    trial: Option<Box<Trial>>,
    /// How often in a row the TC's answer has brought new media.
    echoes: u8,
    /// Offers that have passed beside the exchange under way.
    open_offers: Vec<OpenOffer>,
    /// The TC's media as the gateway was told it.
    promised: Option<Media>,
    /// The VM's user holds the call.
    vm_holds: bool,
    /// It goes through the VM for now.
    take_over: TakeOver,
    /// The bypass has failed before the call was up: handed back then.
    owed_hand_back: Option<Reason>,
    /// What the datapath has of it.
    media_path: MediaPath,
    added: Vec<AddedRequest>,
    /// 2xx of the gateway's that we have acknowledged.
    own_acks: Vec<OwnAck>,
    reissue: Option<Box<Reissue>>,
    /// A 2xx to the VM that is ours to repeat until its ACK.
    repetition: Option<Box<Repetition>>,
    repeats: Repeats,
    rejections: Rejections,
    keep_alive: Option<KeepAlive>,
    media_watch: Option<MediaWatch>,
    /// The VM refreshes sessions (RFC 4028).
    #[serde(default)]
    vm_has_timer: bool,
    /// It is to do so: what it offers then brings the gateway's media to it.
    #[serde(default)]
    refreshes: bool,
}

impl Call {
    /// The call of an INVITE. `vm`: its index in the configuration.
    pub(crate) fn new(now: Time, id: u32, vm: usize, vm_address: Ipv4Addr, invite: &Heard) -> Self {
        let (vm_signalling, gateway_signalling) = match invite.side {
            Side::Vm => (invite.src, invite.dst),
            Side::Net => (invite.dst, invite.src),
        };
        Self {
            id,
            call_id: invite.message.call_id().to_vec(),
            vm_index: vm,
            vm_address,
            outgoing: invite.side == Side::Vm,
            started: now,
            progress: Progress::Setup,
            plane: Plane::Pending,
            exchange: Exchange::Idle,
            dialog: Dialog::new(
                &invite.message,
                invite.side,
                vm_signalling,
                gateway_signalling,
            ),
            vm: None,
            gateway: None,
            tc: TcLeg {
                state: TcState::Idle,
                user: None,
                media: None,
                told: Told::default(),
                offer: None,
            },
            told_vm: Told::default(),
            told_gateway: Told::default(),
            stream: None,
            vm_key: None,
            tc_begins: None,
            tries: Vec::new(),
            trial: None,
            echoes: 0,
            open_offers: Vec::new(),
            promised: None,
            vm_holds: false,
            take_over: TakeOver::Never,
            owed_hand_back: None,
            is_acknowledged: false,
            media_path: MediaPath::default(),
            heard_of: false,
            added: Vec::new(),
            own_acks: Vec::new(),
            reissue: None,
            repetition: None,
            repeats: Repeats::default(),
            rejections: Rejections::default(),
            keep_alive: None,
            media_watch: None,
            vm_has_timer: false,
            refreshes: false,
            exchange_by: None,
            last_heard: now,
            reported: None,
        }
    }

    /// A call of an earlier run, whose VM now has this index. Its anchor is the
    /// caller's to take again.
    pub(crate) fn restored(self, now: Time, vm: usize) -> Self {
        let mut call = Self {
            vm_index: vm,
            ..self
        };
        if let Some(watch) = &mut call.media_watch {
            watch.adopt(now);
        }
        call
    }

    /// Address of its VM.
    pub(crate) fn vm_address(&self) -> Ipv4Addr {
        self.vm_address
    }

    /// The anchor it has.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        self.media_path.anchor()
    }

    /// The flows that the datapath was told.
    pub(crate) fn flows(&self) -> Option<&[Flow]> {
        self.media_path.flows()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// What its messages are known by: its VM, and their Call-ID.
    pub(crate) fn key(&self) -> (usize, Vec<u8>) {
        (self.vm_index, self.call_id.clone())
    }

    /// Index of its VM.
    pub(crate) fn vm_index(&self) -> usize {
        self.vm_index
    }

    fn is_through_vm(&self) -> bool {
        matches!(self.plane, Plane::Vm(_))
    }

    /// The call began elsewhere or cannot be understood: it passes untouched.
    pub(crate) fn only_watch(&mut self, reason: Reason) {
        self.plane = Plane::Vm(reason);
        if reason == Reason::AlreadyUp {
            self.progress = Progress::Up;
        }
    }

    /// Whether it may go to make room.
    pub(crate) fn may_go(&self) -> Option<MayGo> {
        let ended = matches!(self.progress, Progress::Ended { .. });
        let watched = self.plane == Plane::Vm(Reason::AlreadyUp);
        (ended || watched).then_some(MayGo {
            watched: !ended,
            last_heard: self.last_heard,
        })
    }

    /// It goes before its time.
    pub(crate) fn forget(&mut self, cx: &mut Context<'_>) {
        self.end(cx);
        self.media_path.end(cx, self.id);
        self.progress = Progress::Ended { until: cx.now };
    }

    /// Whether it is over and has been listed long enough.
    pub(crate) fn is_forgotten(&self, now: Time) -> bool {
        matches!(self.progress, Progress::Ended { until } if until <= now)
    }

    /// How many entries are remembered of it.
    pub(crate) fn held(&self) -> usize {
        self.open_offers.len()
            + self.tries.len()
            + self.added.len()
            + self.own_acks.len()
            + self.repeats.len()
            + self.rejections.len()
            + self.dialog.held()
    }

    /// Whether an offer of ours to the VM or the gateway is not answered.
    pub(crate) fn is_waiting(&self) -> bool {
        self.exchange.is_ours()
    }

    fn leg(&self) -> LegId {
        LegId(self.id)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(
            self.progress,
            Progress::Ending { .. } | Progress::Ended { .. }
        )
    }

    /// As it is shown.
    pub(crate) fn view(&self, config: &EngineConfig) -> CallView {
        let (state, path, reason) = self.summary();
        CallView {
            id: self.id,
            call_id: String::from_utf8_lossy(&self.call_id).into_owned(),
            vm: config
                .vms
                .get(self.vm_index)
                .map(|vm| vm.name.clone())
                .unwrap_or_default(),
            thin_client: self.tc.user.clone(),
            gateway: self.dialog.gateway.signalling,
            protocol: "sip",
            direction: if self.outgoing {
                "outgoing"
            } else {
                "incoming"
            },
            state: state.word(),
            path,
            reason,
            started: self.started,
            media_seen: self.media_watch.as_ref().and_then(MediaWatch::state),
            tries: self.tries.iter().map(Codec::to_string).collect(),
            trial: self.trial_outcome(),
            media: CallMedia {
                vm: self.vm.as_ref().map(|vm| vm.media.shown()),
                gateway: self.gateway.as_ref().map(|g| g.media.shown()),
                tc: self.tc.media.as_ref().map(Media::shown),
            },
        }
    }

    fn summary(&self) -> (Stage, Path, Option<Reason>) {
        let state = self.progress.stage();
        match self.plane {
            Plane::Pending => (state, Path::Pending, None),
            Plane::Bypass if self.anchor().is_some() || self.was_steered() => {
                (state, Path::Steered, None)
            }
            Plane::Bypass => (state, Path::Direct, None),
            Plane::Vm(reason) => (state, Path::Vm, Some(reason)),
        }
    }

    /// Whether a call that is over took the steered path: its anchor is free again.
    fn was_steered(&self) -> bool {
        let over = matches!(
            self.progress,
            Progress::Ending { .. } | Progress::Ended { .. }
        );
        over && matches!(self.reported, Some((_, Path::Steered, _)))
    }

    /// Reports state, path and reason where one of them has changed.
    pub(crate) fn report(&mut self, cx: &mut Context<'_>) {
        let summary = self.summary();
        if self.reported != Some(summary) {
            self.reported = Some(summary);
            let view = self.view(cx.config);
            cx.output.push_back(Output::Event(Event::Call(view)));
        }
    }

    /// When it has to be woken.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let keep_alive = self.keep_alive.as_ref().map(KeepAlive::due);
        self.next_change().into_iter().chain(keep_alive).min()
    }

    /// Whether nothing is due by `now` but what keeps the VM's media timer alive.
    pub(crate) fn only_feeds(&self, now: Time) -> bool {
        self.next_change().is_none_or(|at| at > now)
    }

    fn next_change(&self) -> Option<Time> {
        let progress = match self.progress {
            Progress::Ending { until } | Progress::Ended { until } => Some(until),
            _ => Some(self.silent_until()),
        };
        let owed = match self.tc.state {
            TcState::OwedAnswer { by } => Some(by),
            _ => None,
        };
        [
            progress,
            owed,
            self.exchange_by,
            self.media_path.due(),
            self.media_watch.as_ref().and_then(MediaWatch::due),
            self.trial.as_deref().and_then(Trial::due),
            self.repetition.as_deref().map(Repetition::due),
            self.reissue.as_deref().and_then(Reissue::due),
        ]
        .into_iter()
        .chain(self.added.iter().map(AddedRequest::due))
        .flatten()
        .min()
    }

    /// When it is given up if nothing more is heard.
    fn silent_until(&self) -> Time {
        let patience = match self.progress {
            // Its sender has given up (Timer B).
            Progress::Setup if !self.heard_of => LINGER,
            Progress::Setup | Progress::Early => SETUP,
            _ => STALE,
        };
        self.last_heard + patience
    }

    /// Runs what is due by `now`.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.run_added(cx);
        self.run_repetition(cx);
        if let TcState::OwedAnswer { by } = self.tc.state
            && by <= cx.now
        {
            self.answer_tc_inactive(cx);
        }
        if self.exchange_by.is_some_and(|by| by <= cx.now) {
            self.exchange_by = None;
            self.give_up_exchange(cx);
        }
        self.keep_vm_alive(cx);
        self.look_at_media(cx);
        self.media_path.run_due(cx, self.id);
        match self.progress {
            Progress::Setup | Progress::Early | Progress::Up if self.silent_until() <= cx.now => {
                self.end(cx);
            }
            Progress::Ending { until } if until <= cx.now => {
                self.end(cx);
                self.media_path.end(cx, self.id);
                self.repeats.clear();
                self.added.clear();
                self.reissue = None;
                self.repetition = None;
                self.progress = Progress::Ended {
                    until: cx.now + LISTED,
                };
            }
            _ => {}
        }
    }

    // --- descriptions ------------------------------------------------------

    /// The description in a message of VM or gateway, read as an answer.
    fn answer_in(&self, heard: &Heard) -> Option<Result<Described, Undescribed>> {
        heard.sdp().map(|sdp| Described::answer(sdp, self.stream))
    }

    /// What the VM is to be told as the answer to its offer.
    fn answer_vm(
        &mut self,
        cx: &mut Context<'_>,
        offer: &Described,
        gateway: &Described,
    ) -> Option<Vec<u8>> {
        let key = self.key_for_vm(cx);
        let nowhere = cx.config.discard_like(offer.media.rtp.ip());
        let body = described::answer_to_vm(offer, gateway, nowhere, &key)?;
        Some(self.told_vm.say(body))
    }

    fn key_for_vm(&mut self, cx: &mut Context<'_>) -> VmKey {
        let key = &mut self.vm_key;
        key.get_or_insert_with(|| VmKey::draw(cx.identifiers))
            .clone()
    }

    // --- path and flows ---------------------------------------------------

    /// Decides the path for the TC's and the gateway's addresses.
    fn decide(
        &mut self,
        cx: &mut Context<'_>,
        tc: SocketAddr,
        gateway: SocketAddr,
    ) -> Result<(), Reason> {
        let vm = self.vm_index;
        let path = self.media_path.decide(cx, vm, tc.ip(), gateway.ip());
        path.map(|_| ())
    }

    /// Tells the datapath the call's flows, where they have changed. A leg on
    /// hold by a null address keeps the flows that it had.
    fn set_flows(&mut self, cx: &mut Context<'_>) {
        if self.is_over() {
            return;
        }
        let flows = match (self.plane, &self.vm, &self.gateway, &self.tc.media) {
            (Plane::Vm(_), Some(vm), Some(gateway), _) => flows::relayed(&vm.media, &gateway.media),
            (Plane::Pending | Plane::Bypass, vm, Some(gateway), Some(tc)) => {
                let vm = vm.as_ref().zip(self.told_vm.media());
                let guarded = vm.map(|(vm, told)| (&vm.media, told.rtp, told.rtcp));
                let nulls = [Some(&gateway.media), Some(tc), vm.map(|(vm, _)| &vm.media)];
                if nulls.into_iter().flatten().any(Media::is_null_address) {
                    return;
                }
                self.media_path.bypass(cx.now, tc, &gateway.media, guarded)
            }
            _ => return,
        };
        self.media_path.install(cx, self.id, flows);
    }
}

/// Whether a message can begin a call: an INVITE outside any dialog.
pub(crate) fn begins_call(message: &Message) -> bool {
    message.is_request()
        && *message.method() == crate::sip::Method::Invite
        && message.to_tag().is_none()
}
