//! The registrar for thin clients (RFC 3261 §10; steps 101, 301, 401).
//!
//! What comes in: the accounts and VMs of the configuration, REGISTER requests,
//! time. What goes out: responses, bindings, and events of what changed.

mod binding;
mod nonce;

use std::net::SocketAddr;

pub use binding::{Binding, destination};

use crate::engine::{ClientView, Datagram, Event, ExpiresConfig, ThinClientConfig, VmConfig};
use crate::sip::Message;
use crate::time::Time;

/// What becomes of a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The response.
    pub reply: Option<Datagram>,
    /// [`Event::Client`] and [`Event::RegistrationRefused`].
    pub events: Vec<Event>,
}

/// The registrar of all VMs.
#[derive(Debug)]
pub struct Registrar {
    bindings: Vec<Binding>,
}

impl Registrar {
    /// No binding yet.
    pub fn new(
        _accounts: &[ThinClientConfig],
        _vms: &[VmConfig],
        _realm: &str,
        _expires: ExpiresConfig,
        _seed: [u8; 32],
    ) -> Self {
        Self {
            bindings: Vec::new(),
        }
    }

    /// A REGISTER has come to a VM's address.
    pub fn handle(
        &mut self,
        _now: Time,
        _src: SocketAddr,
        _dst: SocketAddr,
        _request: &Message,
    ) -> Outcome {
        Outcome::default()
    }

    /// The thin client that takes the calls of a VM: of several the one that
    /// bound last.
    pub fn binding_for_vm(&self, vm: usize) -> Option<&Binding> {
        self.bindings
            .iter()
            .filter(|binding| binding.vm == vm)
            .max_by_key(|binding| binding.since)
    }

    /// Removes the bindings that have ended by `now`.
    pub fn expire(&mut self, _now: Time) -> Vec<Event> {
        Vec::new()
    }

    /// When the next binding ends.
    pub fn next_expiry(&self) -> Option<Time> {
        self.bindings.iter().map(|binding| binding.expires).min()
    }

    /// The bindings, as `sidestep clients` shows them.
    pub fn clients(&self) -> Vec<ClientView> {
        Vec::new()
    }
}
