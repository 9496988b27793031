//! What a bypass is made of, whichever protocol the VM and its gateway speak.
//!
//! In: what the VM, the gateway and the thin client say of their media. Out: what
//! each is told of the others', the path with its reason, the flows that the
//! datapath is to know, and the packets that keep the VM's softphone content. The
//! machines of [`crate::call`] (SIP) and [`crate::control`] (H.248, MGCP) decide
//! when; nothing here knows their messages.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `described` | descriptions of media, and `o=` versions that rise when they must |
//! | `flows` | paths, anchor ports, flows |
//! | `keep_alive` | the VM's media timer |
//! | `learned` | where a thin client behind a NAT sends from |
//! | `media_path` | the anchor and flows of one call, and when they go |
//! | `media_watch` | whether media is seen both ways, and still comes |
//! | `reason` | the closed list of reasons |
//! | `trial` | whether both ends decode what they are sent |

pub(crate) mod described;
pub(crate) mod flows;
pub(crate) mod keep_alive;
mod learned;
pub(crate) mod media_path;
pub(crate) mod media_watch;
pub mod reason;
pub(crate) mod trial;

use std::collections::VecDeque;

pub use reason::Reason;

use self::flows::Anchors;
use crate::engine::{Datagram, EngineConfig, Output};
use crate::registrar::Binding;
use crate::sip::identifiers::Identifiers;
use crate::tc::TcAgent;
use crate::time::Time;

/// What a call works with.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a EngineConfig,
    pub(crate) binding: Option<&'a Binding>,
    pub(crate) tc: &'a mut TcAgent,
    pub(crate) anchors: &'a mut Anchors,
    pub(crate) identifiers: &'a mut Identifiers,
    pub(crate) output: &'a mut VecDeque<Output>,
    /// Sidestep is stopping: nothing new is bypassed.
    pub(crate) stopping: bool,
}

impl Context<'_> {
    /// Whether a thin client may have one more leg.
    ///
    /// # Errors
    ///
    /// It has as many as it may.
    pub(crate) fn has_room_for_leg(&self, binding: &Binding) -> Result<(), Reason> {
        if self.tc.legs_of(&binding.user) < self.config.calls.max_per_thin_client {
            Ok(())
        } else {
            Err(Reason::Limit)
        }
    }

    pub(crate) fn send(&mut self, datagram: Datagram) {
        self.output.push_back(Output::Send(datagram));
    }
}
