//! Answers to the admin socket.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sidestep_abi::door::{Unread, UnreadSeen};
use sidestep_core::call::Reason;
use sidestep_core::time::Time;

use super::serve::Daemon;
use crate::admin::rows::{CounterRow, DoorRow, StatusRow, UnreadRow, VmRow};
use crate::admin::{Ask, List, Part, view};
use crate::clock::{self, Wall, nanoseconds};
use crate::config::VmConfig;
use crate::datapath::{ByHand, Datapath, VmAddresses};
use crate::door;

type Bridged<'a> = Box<dyn Fn(Ipv4Addr) -> bool + 'a>;
type Hands<'a> = ByHand<'a, Bridged<'a>>;

impl Daemon {
    /// Does what is asked, or says why not.
    pub(super) fn answer(&mut self, ask: Ask) -> Result<Part, String> {
        match ask {
            Ask::Rows { list, after } => Ok(self.part(list, after)),
            Ask::Find(ends) => Ok(whole(values(self.datapath.find(&ends)))),
            Ask::Add(flows) => self.by_hand("added", &flows, |datapath, flow, by| {
                let outcome = datapath.add_by_hand(flow, by);
                outcome.map_err(|error| format!("{} > {}: {error}", flow.from, flow.to))
            }),
            Ask::Remove(flows) => self.by_hand("removed", &flows, |datapath, flow, by| {
                let outcome = datapath.remove_by_hand(flow, by);
                outcome.map_err(|error| format!("{} > {}: {error}", flow.from, flow.to))
            }),
        }
    }

    /// Does something with flow after flow; at the first that it cannot be done with,
    /// it says how many were done.
    fn by_hand<F>(
        &mut self,
        done: &str,
        flows: &[F],
        mut work: impl FnMut(&mut Datapath, &F, &Hands<'_>) -> Result<(), String>,
    ) -> Result<Part, String> {
        let calls = self.engine.calls();
        let live = calls.iter().filter(|call| call.state != "ended");
        let live: HashSet<u32> = live.map(|call| call.id).collect();
        let interfaces = &self.interfaces;
        let is_bridged: Bridged<'_> = Box::new(|vm| interfaces.is_bridged(vm));
        let by = ByHand {
            live: &live,
            is_bridged,
        };
        for (count, flow) in flows.iter().enumerate() {
            work(&mut self.datapath, flow, &by)
                .map_err(|why| format!("{why} ({count} before it were {done})"))?;
        }
        Ok(whole(vec![json!({ done: flows.len() })]))
    }

    /// The rows of a list, or of a long one some.
    fn part(&self, list: List, after: Option<u32>) -> Part {
        let wall = Wall::now();
        whole(match list {
            List::Flows => {
                let (rows, next) = self.datapath.rows(after);
                let rows = values(rows);
                return Part { rows, next };
            }
            List::Calls => {
                let mut calls = self.engine.calls();
                calls.extend(self.telling.untouched_calls(clock::now()).cloned());
                calls.sort_by_key(|call| call.id);
                values(calls.iter().map(|call| view::call(call, &wall)))
            }
            List::Clients => {
                let clients = self.engine.clients();
                values(clients.iter().map(|client| view::client(client, &wall)))
            }
            List::Vms => values(self.vms(&wall)),
            List::Status => values([self.status(&wall)]),
            List::Counters => values(self.counters()),
        })
    }

    fn vms(&self, wall: &Wall) -> Vec<VmRow> {
        let (calls, clients) = (self.engine.calls(), self.engine.clients());
        let row = |vm: &VmConfig| VmRow {
            name: vm.name.clone(),
            tap: vm.tap.clone(),
            attached: self.interfaces.is_attached(&vm.tap),
            address: vm.address.to_string(),
            address6: vm.address6.map(|address| address.to_string()),
            thin_clients: clients
                .iter()
                .filter(|client| client.vm == vm.name)
                .map(|client| client.name.clone())
                .collect(),
            calls: calls
                .iter()
                .filter(|call| call.vm == vm.name && call.state != "ended")
                .count(),
            unread: self.unread(vm, wall),
        };
        self.config.vms.iter().map(row).collect()
    }

    /// What of a VM's signalling passes because it cannot be read; of both its
    /// addresses together.
    fn unread(&self, vm: &VmConfig, wall: &Wall) -> Vec<UnreadRow> {
        let mut seen = self.datapath.maps.unread(VmAddresses::of(vm).all());
        let at_door = VmAddresses::of(vm).all();
        let at_door = at_door.filter_map(|address| self.door.unread(address));
        seen.extend(at_door.map(|door::Unread { begun, last_ns }| {
            (Unread::Encrypted, UnreadSeen { begun, last_ns })
        }));
        let row = |why: Unread| {
            let seen = seen.iter().filter(|(of, _)| *of == why);
            let (begun, last_ns) = seen.fold((0, 0), |(begun, last_ns), (_, seen)| {
                (begun + seen.begun, last_ns.max(seen.last_ns))
            });
            let reason = match why {
                Unread::Encrypted => Reason::SignallingEncrypted,
                Unread::Sctp => Reason::SignallingSctp,
            };
            (last_ns != 0).then(|| UnreadRow {
                reason: reason.code().to_owned(),
                begun,
                last_seen: wall.rfc3339(Time::from_origin(Duration::from_nanos(last_ns))),
            })
        };
        Unread::ALL.into_iter().filter_map(row).collect()
    }

    fn status(&self, wall: &Wall) -> StatusRow {
        let now = clock::now();
        let calls = self.engine.calls();
        let (flows, max_flows) = self.datapath.fill();
        let lease = self.datapath.maps.lease();
        let lease = Duration::from_nanos(lease.saturating_sub(nanoseconds(now)));
        StatusRow {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: sidestep_abi::VERSION,
            pid: std::process::id(),
            started: wall.rfc3339(self.started),
            uptime_s: (now - self.started).as_secs(),
            config: self.config.file.display().to_string(),
            pins: self.config.daemon.pins.display().to_string(),
            interfaces: self.interfaces.rows(),
            door: DoorRow {
                namespace: self.config.daemon.namespace.clone(),
                links: self
                    .door
                    .ends
                    .iter()
                    .map(|end| end.host.to_owned())
                    .collect(),
                mtu: self.door.mtu(),
            },
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            calls: calls.iter().filter(|call| call.state != "ended").count(),
            clients: self.engine.clients().len(),
            flows,
            max_flows,
            held: self.engine.held(),
        }
    }

    fn counters(&self) -> Vec<CounterRow> {
        let row = |(name, value): (&str, u64)| CounterRow {
            name: name.to_owned(),
            value,
        };
        let own = |(name, value): (&str, u64)| CounterRow {
            name: format!("daemon-{name}"),
            value,
        };
        let door = self.door.counts();
        let sockets = [
            ("received", self.inbox.received),
            ("receive-buffer-full", door.receive_buffer_full),
            ("receive-failed", door.receive_failed),
            ("sent", door.sent.sent),
            ("send-delayed", door.sent.delayed),
            ("send-no-buffers", door.sent.no_buffers),
            ("send-backlog-full", door.sent.backlog_full),
            ("send-refused", door.sent.refused),
            ("connections-open", door.connections.open),
            ("connections-accepted", door.connections.accepted),
            ("connections-made", door.connections.made),
            ("connections-ended", door.connections.ended),
            ("connections-broken", door.connections.broken),
            ("connections-accept-failed", door.connections.accept_failed),
            ("connections-undeliverable", door.connections.undeliverable),
        ];
        let malformed = self
            .engine
            .malformed_counts()
            .map(|(kind, value)| CounterRow {
                name: format!("daemon-malformed-{}", kind.replace(' ', "-")),
                value,
            });
        let programs = self.datapath.maps.counters();
        programs
            .into_iter()
            .map(row)
            .chain(sockets.into_iter().map(own))
            .chain(self.telling.counts().map(own))
            .chain(malformed)
            .collect()
    }
}

fn whole(rows: Vec<Value>) -> Part {
    Part { rows, next: None }
}

fn values<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<Value> {
    let values = rows.into_iter().map(serde_json::to_value);
    // Rows are strings, numbers and lists of them: they always have a value.
    values.filter_map(Result::ok).collect()
}
