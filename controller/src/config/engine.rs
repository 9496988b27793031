//! What the core has to know of a configuration.

use sidestep_core::engine::{self, EngineConfig};

use super::Config;

impl Config {
    /// The core's part of this configuration.
    ///
    /// `seed`: from the system's randomness; `first_call`: above the number of
    /// any call whose flows are still pinned.
    pub fn engine(&self, seed: [u8; 32], first_call: u32) -> EngineConfig {
        EngineConfig {
            vms: self
                .vms
                .iter()
                .map(|vm| engine::VmConfig {
                    name: vm.name.clone(),
                    address: vm.address,
                    address6: vm.address6,
                })
                .collect(),
            thin_clients: self.thin_clients.clone(),
            sip_ports: self.signalling.sip.clone(),
            h248_ports: self.signalling.h248.clone(),
            mgcp_ports: self.signalling.mgcp.clone(),
            registrar_port: self.signalling.registrar,
            realm: self.registration.realm.clone(),
            expires: self.registration.expires,
            discard: self.media.discard,
            anchor_ports: self.media.anchor_ports.clone(),
            paths: self.media.paths.clone(),
            tc_answer_timeout: self.media.tc_answer_timeout,
            keep_alive: self.media.keep_alive,
            media_watch: self.media.watch,
            calls: self.calls.clone(),
            first_call,
            seed,
        }
    }
}
