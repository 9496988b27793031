//! What the VM's controller asks of the connection.

use super::{Before, Call, Plane, Purpose};
use crate::bypass::described::{Described, share_speech};
use crate::bypass::{Context, Reason};
use crate::media::Direction;
use crate::tc::CallProgress;

/// What becomes of a Remote description of the VM's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Answer {
    /// It goes to the gateway as it is.
    Pass,
    /// The TC's takes its place.
    Replace {
        /// The description.
        sdp: Vec<u8>,
        /// Codecs that the command must allow, where it names some and the TC has
        /// none of them.
        codecs: Option<Vec<String>>,
    },
    /// The command waits until the TC has described itself.
    Wait,
}

impl Call {
    /// A command of the VM's names the VM's own media as the far end (504, 604).
    /// `allowed`: the codecs that it restricts the gateway to. May come again with
    /// the same words after it has waited.
    pub(in crate::control) fn vm_describes(
        &mut self,
        cx: &mut Context<'_>,
        vm: Described,
        mode: Option<Direction>,
        allowed: Option<&[String]>,
    ) -> Answer {
        self.last_heard = cx.now;
        if !matches!(self.plane, Plane::Vm(_)) && vm.is_answerable().is_err() && !vm.is_hold() {
            // Nothing that a TC could take.
            self.take_back(cx, Reason::SdpNotUnderstood);
        }
        let before = self.vm.replace(vm);
        self.mode = mode.unwrap_or(self.mode);
        if let Plane::Vm(_) = self.plane {
            self.set_flows(cx);
            return Answer::Pass;
        }
        if self.falling.is_some() || matches!(self.own, Some(Purpose::Restore(_))) {
            // It is on its way back to the VM.
            return Answer::Pass;
        }
        if self.tc.media.is_none()
            && self.answer_by.is_none()
            && let Err(reason) = self.begin(cx)
        {
            self.through_vm(cx, reason);
            return Answer::Pass;
        }
        if self.is_undecided() {
            return Answer::Wait;
        }
        if let (Some(before), Some(promised)) = (before, &self.promised) {
            self.agreed = Some((before, promised.clone()));
        }
        match self.substitute() {
            Some(sdp) => Answer::Replace {
                sdp,
                codecs: allowed.and_then(|allowed| self.other_codecs(allowed)),
            },
            None => Answer::Pass,
        }
    }

    /// Is it to be bypassed, and how is the TC's media known? Where it is not, the
    /// TC is asked: with the gateway's description where that is known already,
    /// else for an offer of its own (RFC 3725 flow I).
    fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        if cx.stopping {
            return Err(Reason::Stopping);
        }
        let binding = cx.binding.ok_or(Reason::TcNotRegistered)?;
        self.tc.user = Some(binding.user.clone());
        cx.has_room_for_leg(binding)?;
        let registered = binding.media.clone();
        let tc = registered.as_ref().map_or(binding.address, |m| m.rtp);
        self.decide(cx, tc)?;
        if let Some(media) = registered {
            self.tc.media = Some(media);
            return Ok(());
        }
        match self.gateway_for_tc() {
            Some(gateway) => {
                self.tc.tell(cx, &gateway);
            }
            None => self.tc.ask_for_offer(cx),
        }
        self.answer_by = Some(cx.now + super::agreement::patience(cx));
        Ok(())
    }

    /// The VM's description with the TC's media.
    fn substitute(&mut self) -> Option<Vec<u8>> {
        let tc = self.tc.media.clone()?;
        let media = self.tc_for_gateway()?;
        let body = self.vm.as_ref()?.with(&media, None);
        self.promised = Some(tc);
        Some(self.told_gateway.say(body))
    }

    /// Names of the TC's codecs, where none of the allowed is among them.
    fn other_codecs(&self, allowed: &[String]) -> Option<Vec<String>> {
        let codecs = &self.tc.media.as_ref()?.codecs;
        let mut speech = codecs.iter().filter(|codec| !codec.is_auxiliary());
        let shared = speech.clone().any(|codec| {
            allowed
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&codec.name))
        });
        if shared || speech.next().is_none() {
            return None;
        }
        let names = codecs.iter().map(|codec| codec.name.clone());
        Some(names.collect())
    }

    /// All that it said with [`Self::vm_describes`], where that was several
    /// descriptions to choose from.
    pub(in crate::control) fn vm_says_alternatives(&mut self, said: &[Vec<u8>]) {
        self.vm_alternatives = said.to_vec();
    }

    /// The other party is called (506), or has answered or is let alone (510, 512): the
    /// TC's user hears it ring (508), or no longer (514).
    /// Where the other party hears ringback (610), the TC's user is called: its
    /// telephone rings (608), until that ends (612).
    pub(in crate::control) fn progresses(&mut self, cx: &mut Context<'_>, progress: CallProgress) {
        if self.is_over() || matches!(self.plane, Plane::Vm(_)) {
            return;
        }
        cx.tc.progress(cx.now, self.tc.id(), progress);
    }

    /// A command of the VM's changes the mode alone.
    pub(in crate::control) fn vm_sets_mode(&mut self, cx: &mut Context<'_>, mode: Direction) {
        self.last_heard = cx.now;
        self.mode = mode;
    }

    /// A command of the VM's describes the VM's media in a way that cannot be
    /// bypassed (fax, encryption): it goes as it is, and with it the call.
    pub(in crate::control) fn vm_is_odd(&mut self, cx: &mut Context<'_>, reason: Reason) {
        self.last_heard = cx.now;
        if !matches!(self.plane, Plane::Vm(_)) {
            self.take_back(cx, reason);
        }
    }

    /// What is known of the connection, for when it is no call's any more.
    pub(in crate::control) fn before(&self) -> Before {
        Before {
            local: self.gateway.clone(),
            mode: Some(self.mode),
        }
    }

    /// A command of the VM's names another far end than the VM, or one that cannot
    /// be understood: it is no media of the VM's any more.
    pub(in crate::control) fn vm_turns_away(&mut self, cx: &mut Context<'_>) {
        self.end(cx);
        self.deleted(cx);
    }

    /// A command of the VM's went to the gateway; its reply will be told.
    pub(in crate::control) fn sent(&mut self, cx: &mut Context<'_>, transaction: u32) {
        self.last_heard = cx.now;
        self.in_flight.insert(transaction);
        self.last = transaction;
    }

    /// What the gateway's own description is to say to a VM that has fewer codecs:
    /// the codecs of both; if there are none, one of the VM's, since its media is
    /// not used (RFC 3264 §6.1). `None`: it will do as it is.
    pub(in crate::control) fn local_for_vm(&self) -> Option<Vec<u8>> {
        let (vm, gateway) = (self.vm.as_ref()?, self.gateway.as_ref()?);
        if !self.is_bypassed() || vm.media.codecs.is_empty() {
            return None;
        }
        let mut of_vm = vm.media.codecs.clone();
        for other in self.vm_alternatives.iter().skip(1) {
            let other = Described::offer(other, None).ok();
            of_vm.extend(
                other
                    .into_iter()
                    .flat_map(|other| other.media.codecs.clone()),
            );
        }
        let known = |codec: &&crate::media::Codec| of_vm.iter().any(|own| own.same_encoding(codec));
        let mut codecs: Vec<_> = gateway.media.codecs.iter().filter(known).cloned().collect();
        if codecs.len() == gateway.media.codecs.len() {
            return None;
        }
        if !share_speech(&gateway.media.codecs, &of_vm) {
            let mut own = vm.media.codecs.iter();
            codecs.extend(own.find(|codec| !codec.is_auxiliary()).cloned());
        }
        let media = crate::media::Media {
            codecs,
            ..gateway.media.clone()
        };
        Some(gateway.with(&media, None))
    }

    /// The VM's Remote description in its own words, as an audit of it is to show.
    pub(in crate::control) fn remote_for_vm(&self) -> Option<Vec<u8>> {
        self.vm_as_it_said().filter(|_| self.is_bypassed())
    }

    /// The VM's media in its own words: all that the gateway may choose from.
    pub(super) fn vm_as_it_said(&self) -> Option<Vec<u8>> {
        let vm = self.vm.as_ref()?;
        Some(match self.vm_alternatives.as_slice() {
            [] => vm.bytes().to_vec(),
            several => several.concat(),
        })
    }
}
