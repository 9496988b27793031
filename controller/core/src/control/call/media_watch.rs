//! The watch over the call's media ([`crate::bypass::media_watch`]): what is watched,
//! and what is done about it.
//!
//! Whether the other party has answered is not in these messages: a gateway whose
//! party's telephone rings need not send. So its silence proves nothing; that of a
//! thin client, which has answered, does. A call whose media has stopped is told; to
//! end it is the VM's controller's to do.

use std::net::SocketAddr;

use super::{Call, Plane, Progress};
use crate::bypass::described::Described;
use crate::bypass::media_watch::{Judgement, MediaWatch, Watched, may_be_silent};
use crate::bypass::{Context, Reason};
use crate::engine::{Datapath, Event, Leg, Output};
use crate::media::{Direction, Media};
use crate::time::Time;

impl Call {
    /// Follows what the call's media is now; after every change of the call.
    pub(in crate::control) fn watch_media(&mut self, cx: &Context<'_>) {
        if self.progress != Progress::Up {
            if let Some(watch) = &mut self.media_watch {
                watch.rest();
            }
            return;
        }
        // While an answer is under way nothing is settled.
        if !self.in_flight.is_empty() || self.own.is_some() {
            return;
        }
        let bypassed = self.plane == Plane::Bypass;
        let held = self.mode != Direction::SendRecv
            || self.vm.as_ref().is_some_and(Described::is_hold)
            || self.plane == Plane::Pending;
        let sides: Vec<Option<&Media>> = vec![
            self.gateway.as_ref().map(|gateway| &gateway.media),
            self.tc.media.as_ref().filter(|_| bypassed),
        ];
        let watched = Watched::new(self.media_path.flows(), held, sides);
        let before = self.media_watch.take();
        self.media_watch =
            MediaWatch::follow(cx.now, &cx.config.media_watch, before, watched, bypassed);
    }

    /// Asks what has been counted, when it is due.
    pub(super) fn look_at_media(&mut self, cx: &mut Context<'_>) {
        let watch = self.media_watch.as_mut();
        if watch.is_some_and(|watch| watch.wants_look(cx.now)) {
            let call = self.id;
            cx.output
                .push_back(Output::Datapath(Datapath::Look { call }));
        }
    }

    /// A packet of none of the call's flows has come to its anchor (see
    /// [`crate::bypass`]); true: its TC sends from there.
    pub(in crate::control) fn media_from(
        &mut self,
        cx: &mut Context<'_>,
        at: SocketAddr,
        from: SocketAddr,
        expected: Option<Time>,
    ) -> bool {
        !self.is_over() && self.media_path.heard(cx, self.id, at, from, expected)
    }

    /// What has been counted: when a packet of a leg was last seen.
    pub(in crate::control) fn media_seen(&mut self, cx: &mut Context<'_>, seen: &[(Leg, Time)]) {
        if self.is_over() {
            return;
        }
        let relayed = matches!(self.plane, Plane::Vm(_));
        let silent = may_be_silent(self.gateway.as_ref(), self.tc.media.as_ref(), None);
        let Some(watch) = &mut self.media_watch else {
            return;
        };
        let silent = silent.with_a_resting_gateway();
        match watch.seen(cx.now, &cx.config.media_watch, seen, relayed, silent) {
            Judgement::Fine => {}
            Judgement::NotBothWays if self.plane == Plane::Bypass => {
                self.fall_back(cx, Reason::NoMediaSeen);
            }
            Judgement::NotBothWays => {}
            Judgement::Vanished => self.gone(cx),
            Judgement::Stopped(silent) => {
                let call = self.view(cx.config);
                cx.output.push_back(Output::Event(Event::MediaTimeout {
                    call,
                    silent,
                    ends: false,
                }));
            }
        }
    }
}
