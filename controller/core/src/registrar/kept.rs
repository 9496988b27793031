//! Bindings taken out to be kept, and put in again by the next run.

use serde::{Deserialize, Serialize};

use super::{Binding, Registrar};
use crate::time::Time;

/// What is counted up over all registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    drawn: u64,
    nonces: u32,
}

impl Registrar {
    /// Users whose bindings have changed since this was asked last.
    pub(crate) fn take_touched(&mut self) -> Vec<String> {
        let touched = std::mem::take(&mut self.touched);
        let accounts = touched.iter().filter_map(|at| self.accounts.get(*at));
        accounts.map(|account| account.user.clone()).collect()
    }

    /// Users of all accounts.
    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().map(|account| account.user.as_str())
    }

    /// The binding of a user's account.
    pub(crate) fn binding_of(&self, user: &str) -> Option<&Binding> {
        let account = self.accounts.get(*self.by_user.get(user)?)?;
        account.binding.as_ref()
    }

    /// Goes on with a binding of an earlier run. False: it has ended, as with the
    /// connection that it was made by, or its account is not configured any more, or
    /// for another VM.
    pub(crate) fn restore(&mut self, now: Time, binding: Binding) -> bool {
        let Some(&index) = self.by_user.get(&binding.user) else {
            return false;
        };
        let Some(account) = self.accounts.get_mut(index) else {
            return false;
        };
        let vm = self.vms.get(account.vm);
        let has_ended = binding.expires <= now || binding.transport.is_reliable();
        if has_ended || vm.is_none_or(|vm| vm.address != binding.vm_address) {
            return false;
        }
        self.ends.set(&index, Some(binding.expires));
        account.binding = Some(Binding {
            vm: account.vm,
            ..binding
        });
        true
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            drawn: self.identifiers.drawn(),
            nonces: self.mint.made(),
        }
    }

    pub(crate) fn restore_numbers(&mut self, numbers: Numbers) {
        self.identifiers.skip_to(numbers.drawn);
        self.mint.skip_to(numbers.nonces);
    }
}
