//! The same datagram with single spans changed.

use std::collections::BTreeSet;

use super::message::Packet;
use super::parameter::Parameter;
use crate::splice::Splice;

/// Changes of a datagram; what none of them concerns leaves as it came. Messages,
/// descriptions and parameters that are not there change nothing.
#[derive(Debug)]
pub struct PacketEdit<'a> {
    packet: &'a Packet,
    splice: Splice,
    removed: BTreeSet<usize>,
}

impl<'a> PacketEdit<'a> {
    /// No change yet.
    pub fn new(packet: &'a Packet) -> Self {
        Self {
            packet,
            splice: Splice::default(),
            removed: BTreeSet::new(),
        }
    }

    /// Another session description in the place of one of a message's.
    pub fn description(&mut self, message: usize, description: usize, sdp: &[u8]) {
        let messages = &self.packet.messages;
        let body = messages
            .get(message)
            .and_then(|m| m.bodies.get(description));
        if let Some(span) = body
            && self.packet.text(span) != sdp
        {
            self.splice.replace(span.clone(), sdp);
        }
    }

    /// Another value of the first parameter of this name.
    pub fn parameter(&mut self, message: usize, name: Parameter, value: &[u8]) {
        let messages = &self.packet.messages;
        let field = messages
            .get(message)
            .and_then(|m| m.find(self.packet, name));
        if let Some(field) = field
            && self.packet.text(&field.value) != value
        {
            if field.value.is_empty() {
                self.splice.insert(field.value.start, value);
            } else {
                self.splice.replace(field.value.clone(), value);
            }
        }
    }

    /// Another transaction id.
    pub fn transaction(&mut self, message: usize, id: u32) {
        if let Some(spans) = self.packet.messages.get(message)
            && spans.id().number != id
        {
            self.splice.replace(spans.id().span.clone(), id.to_string());
        }
    }

    /// Leaves a message out, with the line of a dot that divides it from another.
    pub fn remove(&mut self, message: usize) {
        self.removed.insert(message);
    }

    /// The changed datagram; empty where every message is left out.
    pub fn finish(mut self) -> Vec<u8> {
        let messages = self.packet.messages.iter().enumerate();
        let (gone, kept): (Vec<_>, Vec<_>) =
            messages.partition(|(index, _)| self.removed.contains(index));
        for (index, message) in gone {
            let span = match kept.iter().find(|(other, _)| *other > index) {
                Some((_, next)) => message.whole.start..next.whole.start,
                // After the last that stays: the dot before it goes.
                None => {
                    let start = kept.last().map_or(0, |(_, before)| before.whole.end);
                    start..self.packet.bytes.len()
                }
            };
            self.splice.remove(span);
        }
        self.splice.apply(&self.packet.bytes)
    }
}
