//! Writes what was heard to a WAV file: packets are placed by their RTP
//! timestamps, so what was lost is silence of the right length.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use super::SAMPLE_RATE;

/// How far behind the newest packet the file is written, samples: 100 ms for
/// late packets to find their place.
const DEPTH: i64 = 800;
/// A jump of the timestamps beyond this is a new beginning, not a loss: 10 s.
const JUMP: i64 = 80_000;

/// The jitter buffer and the file behind it.
pub struct Recorder {
    writer: hound::WavWriter<BufWriter<File>>,
    /// Packets not yet written, by their place in the file.
    waiting: BTreeMap<i64, Vec<i16>>,
    /// Samples written.
    written: i64,
    /// The newest packet: RTP timestamp and place.
    newest: Option<(u32, i64)>,
}

impl Recorder {
    /// Starts the file, replacing one that is there.
    pub fn create(path: &Path) -> Result<Self, hound::Error> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        Ok(Self {
            writer: hound::WavWriter::create(path, spec)?,
            waiting: BTreeMap::new(),
            written: 0,
            newest: None,
        })
    }

    /// Takes one packet. `timestamp` is its RTP timestamp; a packet whose place
    /// has been written already is too late and dropped.
    pub fn hear(&mut self, timestamp: u32, samples: Vec<i16>) -> Result<(), hound::Error> {
        let place = match self.newest {
            None => self.written,
            Some((before, place)) => {
                let step = i64::from(timestamp.wrapping_sub(before) as i32);
                if step.abs() > JUMP {
                    self.flush(i64::MAX)?;
                    self.written
                } else {
                    place + step
                }
            }
        };
        if self.newest.is_none_or(|(_, newest)| place >= newest) {
            self.newest = Some((timestamp, place));
        }
        if place >= self.written {
            self.waiting.insert(place, samples);
        }
        let newest = self.newest.map_or(0, |(_, place)| place);
        self.flush(newest - DEPTH)
    }

    /// A new source (SSRC): its timestamps have another origin.
    pub fn restart(&mut self) -> Result<(), hound::Error> {
        self.flush(i64::MAX)?;
        self.newest = None;
        Ok(())
    }

    /// Writes the packets placed before `until`, with silence between them.
    fn flush(&mut self, until: i64) -> Result<(), hound::Error> {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() >= until {
                break;
            }
            let (place, samples) = entry.remove_entry();
            for _ in self.written..place {
                self.writer.write_sample(0i16)?;
            }
            // Packets that overlap (a sender that changes ptime): the first wins.
            let skip = usize::try_from(self.written - place).unwrap_or(0);
            for &sample in samples.iter().skip(skip) {
                self.writer.write_sample(sample)?;
            }
            self.written = self.written.max(place + samples.len() as i64);
        }
        Ok(())
    }

    /// Writes the rest and the file's header.
    pub fn finish(mut self) -> Result<(), hound::Error> {
        self.flush(i64::MAX)?;
        self.writer.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str, hear: impl FnOnce(&mut Recorder)) -> Vec<i16> {
        let path = std::env::temp_dir().join(format!("thin-client-{}-{name}", std::process::id()));
        let mut recorder = Recorder::create(&path).expect("temporary file");
        hear(&mut recorder);
        recorder.finish().expect("finished");
        let samples = hound::WavReader::open(&path)
            .expect("a WAV file")
            .into_samples()
            .collect::<Result<_, _>>()
            .expect("samples");
        std::fs::remove_file(&path).expect("removed");
        samples
    }

    #[test]
    fn a_loss_is_silence_and_a_late_packet_finds_its_place() {
        let samples = recorded("loss", |recorder| {
            let start = u32::MAX - 100;
            for (packet, value) in [(0, 1), (2, 3), (1, 2), (4, 5)] {
                recorder
                    .hear(start.wrapping_add(packet * 80), vec![value; 80])
                    .expect("heard");
            }
        });
        let firsts: Vec<i16> = samples.chunks(80).map(|chunk| chunk[0]).collect();
        assert_eq!(firsts, [1, 2, 3, 0, 5]);
    }

    #[test]
    fn a_packet_after_its_time_is_dropped() {
        let samples = recorded("late", |recorder| {
            for packet in [0, 2, 20, 1] {
                recorder
                    .hear(packet * 80, vec![packet as i16 + 1; 80])
                    .expect("heard");
            }
        });
        assert_eq!(samples.len(), 21 * 80);
        assert_eq!(samples[80], 0);
    }

    #[test]
    fn another_source_goes_on_where_the_first_stopped() {
        let samples = recorded("restart", |recorder| {
            recorder.hear(1_000, vec![1; 80]).expect("heard");
            recorder.restart().expect("restarted");
            recorder.hear(77, vec![2; 80]).expect("heard");
            recorder.hear(157, vec![3; 80]).expect("heard");
        });
        let firsts: Vec<i16> = samples.chunks(80).map(|chunk| chunk[0]).collect();
        assert_eq!(firsts, [1, 2, 3]);
    }
}
