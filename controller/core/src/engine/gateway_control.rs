//! The engine's part in calls of H.248 and MGCP: their room gets what it works with.

use super::{Datagram, Engine, Protocol};
use crate::bypass::Context;
use crate::control::{Numbers, Room};
use crate::time::Time;

impl Engine {
    /// A message of H.248 or MGCP.
    pub(super) fn of_gateway_control(
        &mut self,
        now: Time,
        vm: usize,
        protocol: Protocol,
        datagram: Datagram,
    ) {
        let peer = datagram.src;
        let mut unreadable = None;
        self.with_control(now, vm, |control, cx, numbers| {
            unreadable = control.handle(cx, numbers, protocol, vm, datagram).err();
        });
        if let Some(error) = unreadable {
            self.malformed(peer, error.kind, error.detail);
        }
        self.settle(now);
    }

    /// Does something in the room of gateway control, for a VM.
    pub(super) fn with_control(
        &mut self,
        now: Time,
        vm: usize,
        act: impl FnOnce(&mut Room, &mut Context<'_>, &mut Numbers<'_>),
    ) {
        let mut numbers = Numbers {
            room: !self.is_full(),
            room_of_vm: !self.is_vm_full(vm),
            next: &mut self.next_call,
        };
        let mut cx = Context {
            now,
            config: &self.config,
            binding: self.registrar.binding_for_vm(vm),
            tc: &mut self.tc,
            anchors: &mut self.anchors,
            identifiers: &mut self.identifiers,
            output: &mut self.output,
            stopping: self.stopping,
        };
        act(&mut self.control, &mut cx, &mut numbers);
    }
}
