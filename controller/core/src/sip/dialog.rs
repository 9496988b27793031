//! The dialog between a VM and a gateway (RFC 3261 §12), as one that stands
//! between them has to know it: tags, targets, the route, and where the sequence
//! numbers of the two sides have been shifted by requests of our own.

use std::net::{IpAddr, SocketAddr};

/// How the CSeq numbers of one side's requests are shifted (RFC 3261 §12.2.1.1:
/// numbers rise strictly). Each request of our own takes a number; every later
/// one of the side that it seems to come from moves up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CseqShift {
    /// Highest number the side has used itself.
    last: Option<u32>,
    /// From this number of the side's own on, it is shifted by so much; rising.
    steps: Vec<(u32, u32)>,
}

impl CseqShift {
    /// The side has sent a request with `number`.
    pub fn saw(&mut self, number: u32) {
        self.last = Some(self.last.map_or(number, |last| last.max(number)));
    }

    /// Whether any number is shifted.
    pub fn is_shifted(&self) -> bool {
        !self.steps.is_empty()
    }

    /// What the peer sees for the side's own `number`.
    pub fn outward(&self, number: u32) -> u32 {
        number.saturating_add(self.offset_at(number))
    }

    /// What the side itself sent for the `number` that its peer saw; `None`
    /// where that was a request of ours.
    pub fn inward(&self, number: u32) -> Option<u32> {
        let mut bound = u32::MAX;
        for &(first, offset) in self.steps.iter().rev() {
            let own = number.checked_sub(offset);
            if let Some(own) = own.filter(|own| *own >= first) {
                return (own < bound).then_some(own);
            }
            bound = first;
        }
        (number < bound).then_some(number)
    }

    /// Takes the next number for a request of ours, after all that the side has
    /// sent.
    pub fn take(&mut self) -> u32 {
        match self.last {
            Some(last) => {
                let offset = self.offset_at(last.saturating_add(1));
                self.push(last.saturating_add(1), offset.saturating_add(1));
                last.saturating_add(offset).saturating_add(1)
            }
            // The side has sent nothing yet and may begin at 0 (§8.1.1.5): ours
            // is 1 and its first will be at least 2.
            None => {
                let offset = self.offset_at(0).max(1);
                self.push(0, offset.saturating_add(1));
                offset
            }
        }
    }

    /// The side's own `number` is sent once more in another request: takes the
    /// next number for it, so that `number` now means that one.
    pub fn again(&mut self, number: u32) -> u32 {
        let offset = self.offset_at(number).saturating_add(1);
        self.push(number, offset);
        number.saturating_add(offset)
    }

    fn offset_at(&self, number: u32) -> u32 {
        self.steps
            .iter()
            .rev()
            .find(|(first, _)| *first <= number)
            .map_or(0, |(_, offset)| *offset)
    }

    fn push(&mut self, first: u32, offset: u32) {
        match self.steps.last_mut() {
            Some(last) if last.0 == first => last.1 = offset,
            _ => self.steps.push((first, offset)),
        }
    }
}
