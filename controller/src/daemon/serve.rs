//! The one task that owns the core: datagrams, timers, interfaces and questions
//! come in, and what the core says is done, in its order.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sidestep_core::call::Reason;
use sidestep_core::engine::{self, Engine, Output};
use sidestep_core::time::Time;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Stop;
use super::interfaces::Interfaces;
use super::telling::Telling;
use crate::admin::Query;
use crate::clock::{self, nanoseconds};
use crate::config::Config;
use crate::datapath::{Datapath, Refused, Unlearned};
use crate::door::{Door, Taken};
use crate::journal::Journal;
use crate::watch::Changes;

/// Datagrams taken of each side before anything else has its turn.
const BURST: usize = 64;
/// Datagrams handled before what the core says is stored and done.
const AT_ONCE: usize = 16;
/// The lease is renewed so often, by this task only: a daemon that hangs loses it.
const LEASE: Duration = Duration::from_millis(500);
/// Leftovers are looked for so often.
const COLLECT: Duration = Duration::from_secs(10);
/// How long calls may take to be handed back to their VMs.
const DRAIN: Duration = Duration::from_secs(2);
/// Timers run so late at most, if nothing else wakes the daemon before: those of many
/// calls together. The shortest there are have half a second (RFC 3261's T1).
const TOGETHER: Duration = Duration::from_millis(10);
/// How far ahead a sleep goes when the core wants nothing.
const NEVER: Duration = Duration::from_secs(3600);

/// The daemon at work.
pub(super) struct Daemon {
    pub config: Config,
    pub engine: Engine,
    pub datapath: Datapath,
    pub door: Door,
    pub interfaces: Interfaces,
    pub telling: Telling,
    pub inbox: Inbox,
    /// `None`: it could not be opened, or written any more.
    pub journal: Option<Journal>,
    pub started: Time,
}

/// What waits for the daemon.
pub(super) struct Inbox {
    changes: Changes,
    queries: mpsc::Receiver<Query>,
    to_learn: mpsc::Receiver<Unlearned>,
    taken: VecDeque<Taken>,
    /// Messages received so far.
    pub received: u64,
    lease_renewed: Option<Time>,
}

impl Inbox {
    /// Nothing has come yet.
    pub fn new(
        changes: Changes,
        queries: mpsc::Receiver<Query>,
        to_learn: mpsc::Receiver<Unlearned>,
    ) -> Self {
        Self {
            changes,
            queries,
            to_learn,
            taken: VecDeque::new(),
            received: 0,
            lease_renewed: None,
        }
    }
}

impl Daemon {
    /// Serves until a signal.
    ///
    /// # Errors
    ///
    /// The reactor or the watch of interfaces fails, or the door is gone: nothing
    /// could be served any more.
    pub async fn serve(&mut self, stop: &mut Stop) -> Result<()> {
        let mut lease = interval(LEASE);
        lease.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut collect = interval(COLLECT);
        collect.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.turn();
            let wake = self.wake();
            tokio::select! {
                () = stop.asked() => return Ok(()),
                ready = self.door.ready() => ready.context("the door cannot be polled")?,
                () = sleep_until(wake) => {}
                // The turn renews the lease.
                _ = lease.tick() => self.interfaces.refresh_macs(&mut self.datapath),
                _ = collect.tick() => self.collect(),
                changed = self.inbox.changes.changed() => {
                    changed.context("interfaces cannot be watched")?;
                    self.interfaces.reconcile(&mut self.datapath, &mut self.door);
                    ensure!(
                        self.door.stands(),
                        "somebody has deleted the door's links; start anew to have them again"
                    );
                }
                Some(met) = self.inbox.to_learn.recv() => self.learn(met),
                Some(query) = self.inbox.queries.recv() => {
                    let answer = self.answer(query.ask);
                    // Whoever asked may have gone.
                    let _ = query.answer.send(answer);
                }
            }
        }
    }

    /// Hands calls back to their VMs, as far as they take part in time. A second
    /// signal cuts it short.
    pub async fn drain(&mut self, stop: &mut Stop) {
        self.engine.shutdown(clock::now());
        let end = Instant::now() + DRAIN;
        loop {
            self.turn();
            if !self.engine.is_waiting() {
                return;
            }
            let wake = self.wake().min(end).min(Instant::now() + LEASE);
            tokio::select! {
                () = stop.asked() => return,
                ready = self.door.ready() => {
                    if ready.is_err() {
                        return;
                    }
                }
                () = sleep_until(wake) => {}
            }
            if Instant::now() >= end {
                tracing::warn!("some calls were not handed back to their VMs in time");
                return;
            }
        }
    }

    /// Takes everything down; with `keep`, all but the door and the sockets.
    pub fn close(self, keep: bool) {
        let (mut datapath, mut door) = (self.datapath, self.door);
        // From here on new connections pass; those that are taken hear of the end
        // while there is still a way out.
        if let Err(error) = datapath.maps.end_lease() {
            tracing::error!("{error:#}");
        }
        door.reset_connections();
        if let Err(error) = datapath.close_door(&door) {
            tracing::error!("{error:#}");
        }
        datapath.unload(&self.interfaces.names(), keep);
        drop(door);
    }

    /// Everything that can be done at once.
    fn turn(&mut self) {
        self.renew_lease();
        self.door.take(BURST, &mut self.inbox.taken);
        while !self.inbox.taken.is_empty() {
            let some = self.inbox.taken.len().min(AT_ONCE);
            for taken in self.inbox.taken.drain(..some) {
                let now = clock::now();
                match taken {
                    Taken::Message(message) => {
                        self.inbox.received += 1;
                        self.engine.handle_datagram(now, message);
                    }
                    Taken::Untouched { begin, what } => {
                        self.engine.handle_untouched(now, &begin, what);
                    }
                    Taken::Closed(connection) => self.engine.handle_closed(now, connection),
                }
            }
            self.act();
        }
        if self.door.room_changed() {
            self.interfaces
                .tell_room(&mut self.datapath, |vm| self.door.has_room(vm.into()));
        }
        let now = clock::now();
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        self.act();
    }

    /// Does what the core says, in its order.
    fn act(&mut self) {
        self.store();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(datagram) => self.send(&datagram),
                Output::Datapath(change) => {
                    if self.change(&change) {
                        self.store();
                    }
                }
                Output::Event(event) => self.telling.event(&event),
            }
        }
    }

    fn send(&mut self, datagram: &engine::Datagram) {
        let maps = &mut self.datapath.maps;
        self.door.send(datagram, |vm, remote| {
            maps.take_connection(vm, remote, nanoseconds(clock::now()))
        });
    }

    /// Keeps what the next run is to know, before anything follows from it.
    fn store(&mut self) {
        let entries = self.engine.take_journal();
        let Some(journal) = self.journal.as_mut().filter(|_| !entries.is_empty()) else {
            return;
        };
        if let Err(error) = journal.store(&entries) {
            tracing::error!("calls will not be known after a crash: {error:#}");
            self.telling.count("journal-failed");
            self.journal = None;
        }
    }

    /// Changes the datapath, or looks at it. True: the core has been told something.
    fn change(&mut self, change: &engine::Datapath) -> bool {
        let now = clock::now();
        if let engine::Datapath::Look { call } = change {
            let seen = self.datapath.last_seen(*call);
            self.engine.media_seen(now, *call, &seen);
            let receptions = self.datapath.receptions(*call);
            self.engine.media_received(now, *call, &receptions);
            return true;
        }
        let interfaces = &self.interfaces;
        let applied = self
            .datapath
            .apply(change, |vm| interfaces.is_bridged(vm), now);
        let (Err(refused), engine::Datapath::Set { call, .. }) = (applied, change) else {
            return false;
        };
        tracing::warn!("call {call}: flows not installed: {refused}");
        self.telling.count("flows-refused");
        let reason = match refused {
            Refused::Full => Reason::Limit,
            Refused::NoMac | Refused::Kernel(_) => Reason::DatapathRefused,
        };
        self.engine.datapath_refused(now, *call, reason);
        true
    }

    /// A packet may show where a thin client behind a NAT sends from.
    fn learn(&mut self, met: Unlearned) {
        let Unlearned { call, at, from } = met;
        let expected = self.datapath.last_seen_at(call, at);
        if self
            .engine
            .media_from(clock::now(), call, (at, from), expected)
        {
            self.telling.count("ports-learned");
            tracing::info!("call {call}: its thin client, behind a NAT, sends to {at} from {from}");
        }
    }

    fn renew_lease(&mut self) {
        let now = clock::now();
        if self
            .inbox
            .lease_renewed
            .is_some_and(|at| now - at < LEASE / 2)
        {
            return;
        }
        match self.datapath.maps.renew_lease(nanoseconds(now)) {
            Ok(()) => self.inbox.lease_renewed = Some(now),
            Err(error) => tracing::error!("{error:#}"),
        }
    }

    fn collect(&mut self) {
        let live: Vec<u32> = self.engine.calls().iter().map(|call| call.id).collect();
        self.datapath.collect(&live, clock::now());
        let door = &self.door;
        self.datapath
            .maps
            .collect_connections(nanoseconds(clock::now()), |vm, remote| {
                door.has_connection(vm, remote)
            });
        self.engine
            .leave_anchors(self.datapath.anchors_of_others(&live));
        // Also tries again what could not be attached.
        self.interfaces
            .reconcile(&mut self.datapath, &mut self.door);
    }

    /// When the core wants to be woken.
    fn wake(&self) -> Instant {
        let now = clock::now();
        let next = self.engine.poll_timeout();
        Instant::now() + next.map_or(NEVER, |at| (at - now).max(TOGETHER))
    }
}
