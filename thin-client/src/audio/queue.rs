//! Samples handed from one thread to another, bounded so that delay is too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most that waits, samples: 200 ms. Beyond it the oldest go.
const LIMIT: usize = 1_600;

/// A queue of samples; clones are the same queue.
#[derive(Debug, Clone, Default)]
pub struct SampleQueue(Arc<Mutex<VecDeque<i16>>>);

impl SampleQueue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<i16>> {
        // Samples are valid whatever a panicking thread left.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds samples.
    pub fn push(&self, samples: &[i16]) {
        let mut waiting = self.lock();
        waiting.extend(samples);
        let excess = waiting.len().saturating_sub(LIMIT);
        waiting.drain(..excess);
    }

    /// Takes as many as fit; silence where there are none.
    pub fn pop(&self, frame: &mut [i16]) {
        let mut waiting = self.lock();
        for sample in frame {
            *sample = waiting.pop_front().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_back_what_it_was_given_and_never_lags_far() {
        let queue = SampleQueue::default();
        queue.push(&[1, 2, 3]);
        let mut frame = [9; 4];
        queue.pop(&mut frame);
        assert_eq!(frame, [1, 2, 3, 0]);
        queue.push(&[7; 5_000]);
        let mut frame = [0; LIMIT + 1];
        queue.pop(&mut frame);
        assert_eq!(frame[LIMIT - 1..], [7, 0]);
    }
}
