//! Stands in for the core's engine: everything goes through as it came.
use sidestep_core::call::Reason;
use sidestep_core::engine::*;
use sidestep_core::time::Time;
use std::collections::VecDeque;

pub struct Engine(VecDeque<Output>);
impl Engine {
    pub fn new(_: EngineConfig, _: Time) -> Self {
        Self(VecDeque::new())
    }
    pub fn handle_datagram(&mut self, _: Time, mut d: Datagram) {
        d.side = match d.side {
            Side::Vm => Side::Net,
            Side::Net => Side::Vm,
        };
        self.0.push_back(Output::Send(d));
    }
    pub fn handle_timeout(&mut self, _: Time) {}
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }
    pub fn poll_output(&mut self) -> Option<Output> {
        self.0.pop_front()
    }
    pub fn datapath_refused(&mut self, _: Time, _: u32, _: Reason) {}
    pub fn calls(&self) -> Vec<CallView> {
        Vec::new()
    }
    pub fn clients(&self) -> Vec<ClientView> {
        Vec::new()
    }
    pub fn shutdown(&mut self, _: Time) {}
}
