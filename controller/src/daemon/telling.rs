//! What an operator reads in the log, and counts of what went wrong.

use std::collections::{BTreeMap, HashMap};

use sidestep_core::call::Reason;
use sidestep_core::engine::{CallView, ClientView, Event, Path};

/// Keeps what has been said of each call, so that a line means a change.
#[derive(Default)]
pub struct Telling {
    calls: HashMap<u32, Said>,
    counts: BTreeMap<String, u64>,
}

type Said = (&'static str, Path, Option<Reason>);

impl Telling {
    /// Logs and counts an event of the core.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Call(call) => self.call(call),
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
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    "call {} {} {} {}, {}: path {path}{space}{reason}",
                    call.id,
                    call.vm,
                    match call.direction {
                        "incoming" => "from",
                        _ => "to",
                    },
                    call.gateway,
                    call.state,
                )
            };
        }
        match is_news {
            true => tell!(info),
            false => tell!(debug),
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
