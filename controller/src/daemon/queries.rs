//! Answers to the admin socket.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::serve::Daemon;
use crate::admin::rows::{CounterRow, DoorRow, StatusRow};
use crate::admin::{List, view};
use crate::clock::{self, Wall, nanoseconds};

impl Daemon {
    /// The rows of a list.
    pub(super) fn rows(&self, list: List) -> Vec<Value> {
        let wall = Wall::now();
        match list {
            List::Flows => values(self.datapath.rows()),
            List::Calls => {
                let calls = self.engine.calls();
                values(calls.iter().map(|call| view::call(call, &wall)))
            }
            List::Clients => {
                let clients = self.engine.clients();
                values(clients.iter().map(|client| view::client(client, &wall)))
            }
            List::Status => values([self.status(&wall)]),
            List::Counters => values(self.counters()),
        }
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

fn values<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<Value> {
    let values = rows.into_iter().map(serde_json::to_value);
    // Rows are strings, numbers and lists of them: they always have a value.
    values.filter_map(Result::ok).collect()
}
