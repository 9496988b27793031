//! The path of one call's media as the datapath has it: the anchor it takes, the
//! flows that are installed, and when they go. Calls of every protocol own one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::flows::{self, Anchor};
use super::learned::Learned;
use super::{Context, Reason};
use crate::engine::{Datapath, Flow, FlowKind, Leg, Output, PathChoice};
use crate::media::Media;
use crate::time::Time;

/// How long the flows of a call stay after its end was answered: a softphone stops
/// sending when it has heard of it, not before.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Anchor and flows of a call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct MediaPath {
    anchor: Option<Anchor>,
    /// Where the TC's packets come from.
    #[serde(default)]
    learned: Learned,
    /// What the datapath was told, if anything.
    flows: Option<Vec<Flow>>,
    /// When the flows of a call that is over go.
    until: Option<Time>,
}

impl MediaPath {
    /// The anchor, where it has one.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// The flows that the datapath was told.
    pub(crate) fn flows(&self) -> Option<&[Flow]> {
        self.flows.as_deref()
    }

    /// When [`MediaPath::run_due`] has something to do.
    pub(crate) fn due(&self) -> Option<Time> {
        self.until
    }

    /// Decides the path between the TC's and the gateway's addresses, and takes an
    /// anchor at the call's VM (its index) where it is steered. Where the two have
    /// not one IP version, nothing but an anchor joins them.
    pub(crate) fn decide(
        &mut self,
        cx: &mut Context<'_>,
        vm: usize,
        tc: IpAddr,
        gateway: IpAddr,
    ) -> Result<PathChoice, Reason> {
        if let Some(binding) = cx.binding {
            self.learned.registered_from(binding.address.ip());
        }
        match flows::choose(&cx.config.paths, tc, gateway) {
            PathChoice::Vm => Err(Reason::Policy),
            PathChoice::Direct if tc.is_ipv4() == gateway.is_ipv4() => Ok(PathChoice::Direct),
            PathChoice::Direct | PathChoice::Steered => {
                if self.anchor.is_none() {
                    let vm = cx.config.vms.get(vm);
                    let anchor = vm.and_then(|vm| cx.anchors.take(vm, tc, gateway));
                    self.anchor = Some(anchor.ok_or(Reason::NoAnchorPort)?);
                }
                Ok(PathChoice::Steered)
            }
        }
    }

    /// The flows of a call whose media goes between TC and gateway, which describe it
    /// so. `vm` is the VM's media and where it believes to send to.
    pub(crate) fn bypass(
        &mut self,
        now: Time,
        tc: &Media,
        gateway: &Media,
        vm: Option<(&Media, SocketAddr, SocketAddr)>,
    ) -> Vec<Flow> {
        let Some(anchor) = self.anchor else {
            return flows::bypass(tc, gateway, None, vm);
        };
        self.learned.follow(now, tc);
        let tc = self.learned.on_the_wire(tc);
        let mut flows = flows::bypass(&tc, gateway, Some(anchor), vm);
        flows.extend(flows::unlearned(anchor, self.learned.open()));
        flows
    }

    /// A packet has come to the anchor's port `at` from `from`, which is none of the
    /// call's flows; `expected`: when one of the flow that is expected there was last
    /// counted. True: that is where the TC sends from, and its flows have moved.
    pub(crate) fn heard(
        &mut self,
        cx: &mut Context<'_>,
        call: u32,
        at: SocketAddr,
        from: SocketAddr,
        expected: Option<Time>,
    ) -> bool {
        let (Some(anchor), Some(mut flows)) = (self.anchor, self.flows.clone()) else {
            return false;
        };
        let Some(rtcp) = anchor.is_rtcp_of_tc(at) else {
            return false;
        };
        let Some(described) = self.learned.heard(rtcp, from, expected) else {
            return false;
        };
        flows.retain(|flow| flow.kind != FlowKind::Learn || flow.rtcp != rtcp);
        for flow in flows.iter_mut().filter(|flow| flow.rtcp == rtcp) {
            match (flow.leg, &mut flow.kind) {
                (Leg::TcToGateway, _) if flow.src == described => flow.src = from,
                (Leg::GatewayToTc, FlowKind::Steered { dst, .. }) if *dst == described => {
                    *dst = from;
                }
                _ => {}
            }
        }
        self.install(cx, call, flows);
        true
    }

    /// Tells the datapath the flows of a call (its number), where they have changed.
    pub(crate) fn install(&mut self, cx: &mut Context<'_>, call: u32, flows: Vec<Flow>) {
        if self.flows.as_deref().unwrap_or_default() != flows {
            self.flows = Some(flows.clone());
            cx.output
                .push_back(Output::Datapath(Datapath::Set { call, flows }));
        }
    }

    /// The call is over: its flows go at this time at the latest.
    pub(crate) fn go_by(&mut self, time: Time) {
        self.until.get_or_insert(time);
    }

    /// The end of the call was answered: its flows go soon.
    pub(crate) fn go_soon(&mut self, now: Time) {
        self.until = Some(now + AFTERMATH);
    }

    /// The call is not over after all.
    pub(crate) fn stay(&mut self) {
        self.until = None;
    }

    /// Takes the flows away if that is due by now.
    pub(crate) fn run_due(&mut self, cx: &mut Context<'_>, call: u32) {
        if self.until.is_some_and(|until| until <= cx.now) {
            self.end(cx, call);
        }
    }

    /// The media of a call that is over has stopped.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, call: u32) {
        self.until = None;
        if self.flows.take().is_some() {
            cx.output
                .push_back(Output::Datapath(Datapath::Remove { call }));
        }
        self.give_back_anchor(cx);
    }

    /// The media takes no anchor any more.
    pub(crate) fn give_back_anchor(&mut self, cx: &mut Context<'_>) {
        if let Some(anchor) = self.anchor.take() {
            cx.anchors.give_back(anchor);
        }
    }
}
