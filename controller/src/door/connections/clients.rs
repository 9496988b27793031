//! The thin clients' connections, and how many there may be.
//!
//! Anybody who reaches a VM reaches its registrar. So each address may have a few
//! connections to it, and all together some: then a new one takes the place of the
//! oldest that has never said a message, and where all have, it is reset.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::client::Client;

/// Connections to the registrar of one VM.
const OF_VM: usize = 64;
/// Of these, from one address.
const OF_ADDRESS: usize = 8;

/// All of them, by their numbers.
#[derive(Default)]
pub(super) struct Clients {
    clients: HashMap<u64, Client>,
    /// By the VM's address, oldest first.
    by_vm: HashMap<IpAddr, Vec<u64>>,
}

impl Clients {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether a connection is one of these.
    pub fn contains(&self, id: u64) -> bool {
        self.clients.contains_key(&id)
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<&Client> {
        self.clients.get(&id)
    }

    /// One of them.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// Whether there is one between these two: the registrar and a thin client.
    pub fn has(&self, registrar: SocketAddr, client: SocketAddr) -> bool {
        self.of(registrar.ip())
            .any(|known| known.ends == (registrar, client))
    }

    /// Whether `client` may have one more to the registrar of `vm`, and which has to go
    /// for it. `None`: there is no room.
    pub fn make_room(&self, vm: IpAddr, client: IpAddr) -> Option<Option<u64>> {
        let all = self.by_vm.get(&vm).map_or(&[][..], Vec::as_slice);
        let is_own = |id: &&u64| self.get(**id).is_some_and(|c| c.ends.1.ip() == client);
        let is_silent = |id: &&u64| self.get(**id).is_some_and(|c| !c.has_spoken());
        if all.iter().filter(is_own).count() >= OF_ADDRESS {
            return all.iter().filter(is_own).find(is_silent).copied().map(Some);
        }
        match all.len() < OF_VM {
            true => Some(None),
            false => all.iter().find(is_silent).copied().map(Some),
        }
    }

    /// One more.
    pub fn insert(&mut self, id: u64, client: Client) {
        let vm = client.ends.0.ip();
        self.by_vm.entry(vm).or_default().push(id);
        self.clients.insert(id, client);
    }

    /// One less.
    pub fn remove(&mut self, id: u64) -> Option<Client> {
        let client = self.clients.remove(&id)?;
        let vm = client.ends.0.ip();
        if let Some(ids) = self.by_vm.get_mut(&vm) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_vm.remove(&vm);
            }
        }
        Some(client)
    }

    fn of(&self, vm: IpAddr) -> impl Iterator<Item = &Client> {
        let ids = self.by_vm.get(&vm).into_iter().flatten();
        ids.filter_map(|id| self.clients.get(id))
    }
}
