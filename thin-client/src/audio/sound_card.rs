//! The sound card, through ALSA (feature `alsa`): one thread reads the
//! microphone into a queue, one plays another queue, 20 ms at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use alsa::pcm::{Access, Format, HwParams, PCM};
use alsa::{Direction, ValueOr};

use super::SAMPLE_RATE;
use super::queue::SampleQueue;

/// Samples per transfer: 20 ms.
const PERIOD: usize = 160;
/// What the card buffers, samples.
const BUFFER: alsa::pcm::Frames = 4 * PERIOD as alsa::pcm::Frames;

/// An open card. Dropping it closes it.
pub struct SoundCard {
    /// From the microphone.
    pub microphone: SampleQueue,
    /// To the loudspeaker.
    pub loudspeaker: SampleQueue,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl SoundCard {
    /// Opens both directions of `device`, as ALSA names it (`default`).
    pub fn open(device: &str) -> Result<Self, alsa::Error> {
        let capture = prepare(device, Direction::Capture)?;
        let playback = prepare(device, Direction::Playback)?;
        let mut card = Self {
            microphone: SampleQueue::default(),
            loudspeaker: SampleQueue::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let (queue, stop) = (card.microphone.clone(), Arc::clone(&card.stop));
        card.threads.push(std::thread::spawn(move || {
            let mut period = [0i16; PERIOD];
            transfer(&capture, &stop, |pcm| {
                let read = pcm.io_i16()?.readi(&mut period)?;
                queue.push(&period[..read]);
                Ok(())
            });
        }));
        let (queue, stop) = (card.loudspeaker.clone(), Arc::clone(&card.stop));
        card.threads.push(std::thread::spawn(move || {
            let mut period = [0i16; PERIOD];
            transfer(&playback, &stop, |pcm| {
                queue.pop(&mut period);
                pcm.io_i16()?.writei(&period).map(drop)
            });
        }));
        Ok(card)
    }
}

impl Drop for SoundCard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a sound thread panicked");
            }
        }
    }
}

fn prepare(device: &str, direction: Direction) -> Result<PCM, alsa::Error> {
    let pcm = PCM::new(device, direction, false)?;
    {
        let parameters = HwParams::any(&pcm)?;
        parameters.set_access(Access::RWInterleaved)?;
        parameters.set_format(Format::s16())?;
        parameters.set_channels(1)?;
        parameters.set_rate(SAMPLE_RATE, ValueOr::Nearest)?;
        parameters.set_period_size_near(PERIOD as alsa::pcm::Frames, ValueOr::Nearest)?;
        parameters.set_buffer_size_near(BUFFER)?;
        pcm.hw_params(&parameters)?;
    }
    pcm.prepare()?;
    Ok(pcm)
}

/// One blocking transfer after the other; an overrun or underrun is recovered
/// from, a card that is gone ends it.
fn transfer(pcm: &PCM, stop: &AtomicBool, mut period: impl FnMut(&PCM) -> Result<(), alsa::Error>) {
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = period(pcm)
            && let Err(error) = pcm.try_recover(error, true)
        {
            tracing::error!(%error, "the sound card stopped");
            return;
        }
    }
}
