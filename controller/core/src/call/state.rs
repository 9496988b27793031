//! The states of a call. Step numbers are those of the document's Fig. 3 (3xx)
//! and Fig. 4 (4xx).

use serde::{Deserialize, Serialize};

use super::Reason;
use super::described::Described;
use super::heard::{Heard, Key};
use super::open_offers::AnsweredIn;
use crate::media::Media;
use crate::time::Time;

/// How far the call is, as both peers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// An INVITE has come.
    Setup,
    /// It rings, or early media flows.
    Early,
    /// It has been answered.
    Up,
    /// Refused, cancelled or hung up; until then its messages may come again.
    Ending { until: Time },
    /// Over; listed until then.
    Ended { until: Time },
}

/// [`Progress`] without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Setup,
    Early,
    Up,
    Ending,
    Ended,
}

impl Progress {
    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Setup => Stage::Setup,
            Self::Early => Stage::Early,
            Self::Up => Stage::Up,
            Self::Ending { .. } => Stage::Ending,
            Self::Ended { .. } => Stage::Ended,
        }
    }
}

impl Stage {
    /// As `sidestep calls` shows it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Early => "early",
            Self::Up => "up",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

/// Which way the media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Plane {
    /// Not decided.
    Pending,
    /// Between TC and gateway.
    Bypass,
    /// Through the VM.
    Vm(Reason),
}

/// Whether the TC takes over a call that goes through the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum TakeOver {
    /// It does not.
    #[default]
    Never,
    /// When VM and gateway both have audio, and the call is up.
    WithAudio,
    /// The same, when another call of the TC's has ended.
    WhenFree,
}

/// What is wanted of the exchange of offer and answer that is under way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Exchange {
    /// None is.
    Idle,
    /// The caller's INVITE has no offer; the callee's is awaited.
    Offerless(Key),
    /// The VM's INVITE waits for the TC's offer (RFC 3725 flow I, before 302).
    TcOffers(VmOffer),
    /// The VM's offer has gone out with the TC's media (302); the gateway's
    /// answer (303) is awaited.
    GatewayAnswers(VmOffer),
    /// The gateway's answer is held, the TC told (304); its answer (305) is
    /// awaited.
    TcAnswers(VmOffer, Held),
    /// 305 was not what 301 said: the gateway is offered again (302) what the
    /// TC has now; its answer (303) is awaited.
    GatewayAnswersAgain(VmOffer, Held),
    /// The TC failed: the gateway is offered the VM's own media; its answer is
    /// awaited.
    GatewayTakesVm(VmOffer, Held, Reason),
    /// The gateway's offer is with the VM (402); the VM's answer is awaited.
    VmAnswers(GatewayOffer),
    /// The VM's answer is held, the TC told (403); its answer (404) is awaited.
    TcAnswersGateway(GatewayOffer, Held),
    /// The gateway's offer, in its response, is held, the TC told (304); its
    /// answer (305) is awaited.
    TcAnswersLate(GatewayOffer, Held),
    /// A call that goes through the VM is to go to the TC, which has been called.
    TakesOver,
    /// The TC's media has changed in the call: the gateway is offered it.
    GatewayAnswersTc(TcOffer),
    /// An offer that cannot be bypassed (fax, encryption) has gone on as it came;
    /// if it is accepted, the call goes through the VM.
    Leaving(Key, Reason),
    /// The call is handed back to the VM: the gateway is offered the VM's media.
    HandBackToVm(Reason),
    /// The same: the VM is offered the gateway's media.
    VmTakesGateway,
}

/// An offer of the VM, with the message that carried it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VmOffer {
    /// A request; the 2xx to an INVITE that had no offer.
    pub(crate) request: Box<Heard>,
    pub(crate) answered_in: AnsweredIn,
    /// What the VM offered, in its own words.
    pub(crate) offer: Described,
    /// Whether it begins the call.
    pub(crate) initial: bool,
    /// The TC has failed since: fall back when the gateway has answered.
    pub(crate) fall_back: Option<Reason>,
    /// How often 302 has been done again.
    pub(crate) rounds: u8,
    /// What each branch of a fork has said in provisional responses, by its tag.
    pub(crate) early: Vec<Early>,
}

/// A description in a provisional response, or an early UPDATE's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Early {
    #[serde(with = "serde_bytes")]
    tag: Option<Vec<u8>>,
    pub(crate) gateway: Described,
    /// It was sent reliably, so that it is the answer (RFC 3262 §5) and what the
    /// 2xx says is ignored.
    pub(crate) reliable: bool,
}

impl VmOffer {
    /// Branches of a fork whose early media is remembered.
    const BRANCHES: usize = 16;

    pub(crate) fn new(
        request: Heard,
        offer: Described,
        answered_in: AnsweredIn,
        initial: bool,
    ) -> Self {
        Self {
            request: Box::new(request),
            answered_in,
            offer,
            initial,
            fall_back: None,
            rounds: 0,
            early: Vec::new(),
        }
    }

    /// A branch, by its tag, has described its media; `reliable`: in a response
    /// that is sent reliably.
    pub(crate) fn note_early(&mut self, tag: Option<&[u8]>, reliable: bool, gateway: &Described) {
        let known = self.early.iter().position(|e| e.tag.as_deref() == tag);
        let before = known.map(|at| self.early.remove(at));
        if self.early.len() >= Self::BRANCHES {
            self.early.remove(0);
        }
        self.early.push(Early {
            tag: tag.map(<[u8]>::to_vec),
            gateway: gateway.clone(),
            reliable: reliable || before.is_some_and(|early| early.reliable),
        });
    }

    /// What the branch of a final response has said before.
    pub(crate) fn early_of(&self, heard: &Heard) -> Option<&Early> {
        let tag = heard.sender_tag();
        self.early.iter().find(|e| e.tag.as_deref() == tag)
    }

    /// Whether the VM has its answer already, from a reliable provisional
    /// response of the branch that has sent `heard`.
    pub(crate) fn is_answered(&self, heard: &Heard) -> bool {
        self.early_of(heard).is_some_and(|early| early.reliable)
    }
}

/// An offer of the gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GatewayOffer {
    /// Transaction of the message that carried it.
    pub(crate) key: Key,
    pub(crate) answered_in: AnsweredIn,
    pub(crate) offer: Described,
    /// Whether it begins the call.
    pub(crate) initial: bool,
    /// The TC has failed since: the VM's answer passes untouched.
    pub(crate) fall_back: Option<Reason>,
}

/// A final response with an answer, kept back until the TC has agreed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) response: Box<Heard>,
    /// We have acknowledged it to the gateway: the VM's ACK will be absorbed,
    /// and repeating it to the VM is ours.
    pub(crate) acknowledged: bool,
}

/// New media of the TC during the call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TcOffer {
    pub(crate) media: Media,
    /// The TC's own offer, which waits for its answer; `None`: it has answered
    /// one of ours with other media than before.
    pub(crate) answer_to: Option<Described>,
}

/// The TC's leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TcState {
    /// Not invited.
    Idle,
    /// INVITE sent, with an offer (304, 403) or without one.
    Invited {
        /// Without: the TC is to offer.
        offerless: bool,
    },
    /// It has offered; an ACK with our answer is due by then at the latest.
    OwedAnswer { by: Time },
    /// In a dialog, nothing open.
    Up,
    /// Re-INVITE sent.
    Asked,
    /// Failed or hung up.
    Gone(Reason),
}

impl Exchange {
    /// Whether it waits for an answer to an offer of our own, so that a new one
    /// from either side would glare (RFC 3261 §14.1).
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::GatewayAnswersAgain(..)
            | Self::GatewayTakesVm(..)
            | Self::GatewayAnswersTc(_)
            | Self::HandBackToVm(_)
            | Self::VmTakesGateway => true,
            Self::Idle
            | Self::Offerless(_)
            | Self::TcAnswersLate(..)
            | Self::TakesOver
            | Self::TcOffers(_)
            | Self::GatewayAnswers(_)
            | Self::TcAnswers(..)
            | Self::VmAnswers(_)
            | Self::TcAnswersGateway(..)
            | Self::Leaving(..) => false,
        }
    }
}
