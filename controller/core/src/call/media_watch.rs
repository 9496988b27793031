//! The watch over the call's media ([`crate::bypass::media_watch`]): what is watched,
//! and what is done about it. A call whose media was not seen both ways is handed back
//! to its VM ([`Reason::NoMediaSeen`]); media that has stopped is told, and may end the
//! call.

use std::net::SocketAddr;

use super::state::{Exchange, Plane, Progress};
use super::{Call, Context, Reason};
use crate::bypass::media_watch::{Judgement, MediaWatch, Watched, may_be_silent};
use crate::engine::{Datapath, Event, Leg, Output, TimeoutAction};
use crate::media::Media;
use crate::time::Time;

impl Call {
    /// Follows what the call's media is now; after every change of the call.
    pub(crate) fn watch_media(&mut self, cx: &Context<'_>) {
        self.learn_gateways_setup();
        self.watch_trial(cx.now);
        if self.is_over() || self.progress != Progress::Up {
            if let Some(watch) = &mut self.media_watch {
                watch.rest();
            }
            return;
        }
        // In the midst of an exchange nothing is settled.
        if !matches!(self.exchange, Exchange::Idle) {
            return;
        }
        let watched = self.watched();
        let bypassed = self.plane == Plane::Bypass;
        let before = self.media_watch.take();
        self.media_watch =
            MediaWatch::follow(cx.now, &cx.config.media_watch, before, watched, bypassed);
    }

    /// The flows that carry the media, and whether it is to go both ways.
    fn watched(&self) -> Option<Watched> {
        let sides: Vec<Option<&Media>> = match self.plane {
            Plane::Bypass => vec![
                self.gateway.as_ref().map(|gateway| &gateway.media),
                self.told_gateway.media(),
                self.tc.media.as_ref(),
                self.tc.told.media(),
            ],
            Plane::Vm(_) => vec![
                self.gateway.as_ref().map(|gateway| &gateway.media),
                self.vm.as_ref().map(|vm| &vm.media),
            ],
            Plane::Pending => return None,
        };
        Watched::new(self.media_path.flows(), self.vm_holds, sides)
    }

    /// Asks what has been counted, when it is due.
    pub(super) fn look_at_media(&mut self, cx: &mut Context<'_>) {
        let watch = self.media_watch.as_mut();
        let watch = watch.is_some_and(|watch| watch.wants_look(cx.now));
        let trial = self.trial.as_mut();
        if trial.is_some_and(|trial| trial.wants_look(cx.now)) || watch {
            let call = self.id;
            cx.output
                .push_back(Output::Datapath(Datapath::Look { call }));
        }
    }

    /// A packet of none of the call's flows has come to its anchor (see
    /// [`crate::bypass`]); true: its TC sends from there.
    pub(crate) fn media_from(
        &mut self,
        cx: &mut Context<'_>,
        at: SocketAddr,
        from: SocketAddr,
        expected: Option<Time>,
    ) -> bool {
        !self.is_over() && self.media_path.heard(cx, self.id, at, from, expected)
    }

    /// What has been counted: when a packet of a leg was last seen.
    pub(crate) fn media_seen(&mut self, cx: &mut Context<'_>, seen: &[(Leg, Time)]) {
        if self.is_over() || !matches!(self.exchange, Exchange::Idle) {
            return;
        }
        let relayed = self.is_through_vm();
        let silent = may_be_silent(
            self.gateway.as_ref(),
            self.tc.media.as_ref(),
            self.tc.offer.as_ref(),
        );
        let Some(watch) = &mut self.media_watch else {
            return;
        };
        match watch.seen(cx.now, &cx.config.media_watch, seen, relayed, silent) {
            Judgement::Fine => {}
            Judgement::NotBothWays if self.plane == Plane::Bypass => {
                self.hand_back(cx, Reason::NoMediaSeen);
            }
            Judgement::NotBothWays => {}
            Judgement::Vanished => self.end(cx),
            Judgement::Stopped(silent) => {
                let ends = cx.config.media_watch.action == TimeoutAction::End;
                let call = self.view(cx.config);
                cx.output
                    .push_back(Output::Event(Event::MediaTimeout { call, silent, ends }));
                if ends {
                    self.hang_up(cx);
                }
            }
        }
    }
}
