//! What an operator reads in the log, and counts of what went wrong.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use sidestep_core::call::Reason;
use sidestep_core::engine::{CallView, ClientView, Event, Path};
use sidestep_core::time::Time;

/// Calls that are listed though nobody follows them, at once; the oldest go.
const UNTOUCHED: usize = 256;
/// For how long.
const LISTED: Duration = Duration::from_secs(60);

/// Keeps what has been said of each call, so that a line means a change.
#[derive(Default)]
pub struct Telling {
    calls: HashMap<u32, Said>,
    counts: BTreeMap<String, u64>,
    /// Calls for which there was no room, the newest last.
    untouched: VecDeque<CallView>,
    /// When it was said last, of a VM, that it has such calls.
    said_of_vm: HashMap<String, Time>,
}

type Said = (&'static str, Path, Option<Reason>);

impl Telling {
    /// Logs and counts an event of the core.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Call(call) => self.call(call),
            Event::Untouched(call) => self.untouched(call),
            Event::MediaTimeout { call, silent, ends } => {
                self.count("media-timeouts");
                let end = if *ends { "; it is hung up" } else { "" };
                tracing::warn!(
                    "call {} {}: no media for {} s{end}",
                    call.id,
                    call.vm,
                    silent.as_secs()
                );
            }
            Event::Client(client) => tell_client(client),
            Event::Malformed { peer, kind, detail } => {
                tracing::warn!(
                    "{peer} sends malformed messages ({kind}), forwarded as they come: {detail}"
                );
            }
            Event::RegistrationRefused {
                peer,
                user,
                status,
                why,
            } => {
                self.count(&format!("register-{status}"));
                let user = user.as_deref().unwrap_or("nobody");
                tracing::info!("registration of {user} from {peer} refused ({status}): {why}");
            }
        }
    }

    /// One more of these.
    pub fn count(&mut self, name: &str) {
        *self.counts.entry(name.to_owned()).or_default() += 1;
    }

    /// What has been counted, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
    }

    /// Calls of the last minute for which there was no room, oldest first.
    pub fn untouched_calls(&self, now: Time) -> impl Iterator<Item = &CallView> {
        let recent = move |call: &&CallView| now < call.started + LISTED;
        self.untouched.iter().filter(recent)
    }

    /// A call that passes untouched, once. Of a flood of them the log says that there
    /// is one.
    fn untouched(&mut self, call: &CallView) {
        let same = |known: &CallView| known.vm == call.vm && known.call_id == call.call_id;
        if self.untouched.iter().rev().any(same) {
            return;
        }
        let now = call.started;
        while self.untouched.len() >= UNTOUCHED
            || (self.untouched.front()).is_some_and(|oldest| oldest.started + LISTED <= now)
        {
            self.untouched.pop_front();
        }
        self.untouched.push_back(call.clone());
        self.count("calls-untouched");
        let silent = |last: &Time| now < *last + LISTED;
        if self.said_of_vm.get(&call.vm).is_some_and(silent) {
            return;
        }
        self.said_of_vm.insert(call.vm.clone(), now);
        tracing::warn!(
            "{} has more calls than can be followed: those beyond pass untouched \
             (counter daemon-calls-untouched)",
            call.vm
        );
    }

    fn call(&mut self, call: &CallView) {
        let said = (call.state, call.path, call.reason);
        let before = match call.state {
            "ended" => self.calls.remove(&call.id),
            _ => self.calls.insert(call.id, said),
        };
        if before == Some(said) {
            return;
        }
        let path = match call.path {
            Path::Pending => "pending",
            Path::Direct => "direct",
            Path::Steered => "steered",
            Path::Vm => "vm",
        };
        let reason = call.reason.map_or("", Reason::code);
        let space = if reason.is_empty() { "" } else { " " };
        // What a call has come to is news; that it is being set up, or is ringing, is not.
        let is_news = call.state == "ended"
            || before.is_some_and(|(_, path, reason)| (path, reason) != (call.path, call.reason));
        let line = format_args!(
            "call {} {} {} {}, {}: path {path}{space}{reason}",
            call.id,
            call.vm,
            match call.direction {
                "incoming" => "from",
                _ => "to",
            },
            call.gateway,
            call.state,
        );
        match is_news {
            true => tracing::info!("{line}"),
            false => tracing::debug!("{line}"),
        }
    }
}

fn tell_client(client: &ClientView) {
    let ClientView {
        name, vm, address, ..
    } = client;
    if !client.registered {
        tracing::info!("thin client {name} of {vm} is registered no more");
        return;
    }
    match &client.media {
        Some(media) => {
            tracing::info!(
                "thin client {name} of {vm} registered from {address}, media {}",
                media.rtp
            );
        }
        None => tracing::info!("thin client {name} of {vm} registered from {address}"),
    }
}
