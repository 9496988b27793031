//! One call's media without I/O: what to send at each tick, what to make of
//! each datagram. Times are given as passed since any fixed origin.

use std::net::SocketAddr;
use std::time::Duration;

use crate::audio::SAMPLE_RATE;
use crate::audio::codec::{Decoder, Encoder, Encoding};
use crate::audio::meter::Meter;
use crate::audio::queue::SampleQueue;
use crate::audio::recorder::Recorder;
use crate::audio::source::Source;
use crate::report::{Received, Rtcp, Sent};

use super::reception::{Arrival, Reception};
use super::rtcp::{self, Block, Heard, Report, SenderInfo};
use super::rtp::Header;

/// Mean interval between reports (RFC 3550 §6.2), before randomising.
const REPORT_INTERVAL: f64 = 5.0;
/// Compensates for the mean of the randomised interval (RFC 3550 §6.3.1).
const COMPENSATION: f64 = 1.218_28;

/// The negotiated peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where RTP goes to and the only place it is accepted from.
    pub rtp: SocketAddr,
    /// The same for RTCP.
    pub rtcp: SocketAddr,
    /// Payload types agreed on; the first is the one sent.
    pub formats: Vec<(u8, Encoding)>,
    /// Packet time it asked for, ms.
    pub ptime: Option<u32>,
    /// Whether it wants to hear something (RFC 3264 §6.1; not on hold).
    pub send: bool,
}

/// What a stream plays and where what it hears goes.
pub struct Audio {
    /// Played.
    pub source: Source,
    /// Hears every packet as it comes: echo, loudspeaker.
    pub listener: Option<SampleQueue>,
    /// Hears every packet in its place.
    pub recorder: Option<Recorder>,
}

/// The media of a call.
pub struct Stream {
    cname: String,
    audio: Audio,
    own_ptime: u32,
    peer: Option<Peer>,
    /// Of what is sent now.
    encoder: Option<(Encoding, Box<dyn Encoder>)>,
    /// Of all that has been heard.
    decoders: Vec<(Encoding, Box<dyn Decoder>)>,
    next: Header,
    sent: Sent,
    received: Received,
    reception: Option<Reception>,
    /// RTP clock of the newest packet, Hz.
    clock_rate: u32,
    /// lost, late, duplicate of earlier SSRCs.
    before: (u64, u64, u64),
    meter: Meter,
    rtcp: Rtcp,
    next_report: Option<Duration>,
    sent_at_reports: [u64; 2],
    last_sr: Option<(u32, Duration)>,
    record_error: Option<String>,
    /// Packets in a row that could not be decoded, and the newest one's payload type.
    undecoded: (u32, u8),
}

/// So many in a row, a second's, are no accident.
const UNDECODABLE: u32 = 50;

impl Stream {
    /// A stream that neither sends nor accepts anything until it has a peer.
    /// `ptime` in ms.
    pub fn new(cname: String, ptime: u32, audio: Audio) -> Self {
        Self {
            cname,
            audio,
            own_ptime: ptime,
            peer: None,
            encoder: None,
            decoders: Vec::new(),
            next: Header {
                marker: true,
                payload_type: 0,
                sequence: fastrand::u16(..),
                timestamp: fastrand::u32(..),
                ssrc: fastrand::u32(..),
            },
            sent: Sent::default(),
            received: Received::default(),
            reception: None,
            clock_rate: SAMPLE_RATE,
            before: (0, 0, 0),
            meter: Meter::default(),
            rtcp: Rtcp::default(),
            next_report: None,
            sent_at_reports: [0; 2],
            last_sr: None,
            record_error: None,
            undecoded: (0, 0),
        }
    }

    /// The payload type of what comes, where none of it can be decoded.
    pub fn undecodable(&self) -> Option<u8> {
        let (packets, payload_type) = self.undecoded;
        (packets >= UNDECODABLE).then_some(payload_type)
    }

    /// A stream that stands for none.
    pub(super) fn idle() -> Self {
        let audio = Audio {
            source: Source::Silence,
            listener: None,
            recorder: None,
        };
        Self::new(String::new(), 20, audio)
    }

    /// What an offer or answer said, each time anew.
    pub fn set_peer(&mut self, peer: Peer) {
        self.peer = Some(peer);
        self.undecoded = (0, 0);
    }

    /// Time between packets: what was asked for, as whole frames of the encoding.
    pub fn packet_time(&self) -> Duration {
        Duration::from_millis(self.packet_samples() as u64 * 1_000 / u64::from(SAMPLE_RATE))
    }

    fn packet_samples(&self) -> usize {
        let asked = self.peer.as_ref().and_then(|peer| peer.ptime);
        let usable = asked.filter(|ptime| (10..=60).contains(ptime));
        let samples = usable.unwrap_or(self.own_ptime) as usize * SAMPLE_RATE as usize / 1_000;
        let sent = self.peer.as_ref().and_then(|peer| peer.formats.first());
        sent.map_or(samples, |(_, encoding)| {
            samples.next_multiple_of(encoding.frame())
        })
    }

    /// RTP clock of what is sent, Hz.
    fn own_clock_rate(&self) -> u32 {
        let format = self.peer.as_ref().and_then(|peer| peer.formats.first());
        format.map_or(SAMPLE_RATE, |(_, encoding)| encoding.clock_rate())
    }

    /// What is said in this encoding. An encoding that is new to this call begins
    /// anew, as its hearer will.
    fn encode(&mut self, encoding: Encoding, frame: &[i16]) -> Option<Vec<u8>> {
        if self
            .encoder
            .as_ref()
            .is_none_or(|(now, _)| *now != encoding)
        {
            let encoder = encoding.encoder();
            self.encoder = match encoder {
                Ok(encoder) => Some((encoding, encoder)),
                Err(error) => {
                    tracing::error!(name = encoding.name(), %error, "no encoder");
                    None
                }
            };
        }
        let (_, encoder) = self.encoder.as_mut()?;
        encoder.encode(frame).ok()
    }

    fn decode(&mut self, encoding: Encoding, payload: &[u8]) -> Option<Vec<i16>> {
        let known = self.decoders.iter().position(|(one, _)| *one == encoding);
        let at = match known {
            Some(at) => at,
            None => {
                self.decoders.push((encoding, encoding.decoder().ok()?));
                self.decoders.len() - 1
            }
        };
        let (_, decoder) = self.decoders.get_mut(at)?;
        decoder.decode(payload).ok()
    }

    /// The packet due now; to be called once per [`Self::packet_time`].
    pub fn poll_rtp(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let mut frame = vec![0; self.packet_samples()];
        let timestamp = self.next.timestamp;
        // Time passes on hold too.
        let passed = frame.len() as u32 * (self.own_clock_rate() / SAMPLE_RATE);
        self.next.timestamp = timestamp.wrapping_add(passed);
        let Some(peer) = self.peer.as_ref().filter(|peer| peer.send) else {
            self.next.marker = true;
            return None;
        };
        let &(payload_type, encoding) = peer.formats.first()?;
        let to = peer.rtp;
        self.audio.source.fill(&mut frame);
        let payload = self.encode(encoding, &frame)?;
        let header = Header {
            payload_type,
            timestamp,
            ..self.next
        };
        self.next.marker = false;
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.sent.packets += 1;
        self.sent.bytes += payload.len() as u64;
        Some((to, header.packet(&payload)))
    }

    /// Takes a datagram of the RTP socket.
    pub fn receive_rtp(&mut self, now: Duration, from: SocketAddr, datagram: &[u8]) {
        let Some(peer) = &self.peer else {
            self.received.early += 1;
            return;
        };
        if from != peer.rtp {
            self.received.foreign += 1;
            return;
        }
        let Some((header, payload)) = Header::parse(datagram) else {
            self.received.malformed += 1;
            return;
        };
        // RFC 5761 §4: RTCP types, were they RTP, would be marker and 72 to 76.
        if (72..=76).contains(&header.payload_type) {
            self.hear_report(now, datagram);
            return;
        }
        let encoding = peer
            .formats
            .iter()
            .find(|(payload_type, _)| *payload_type == header.payload_type)
            .map(|&(_, encoding)| encoding);
        let clock_rate = encoding.map_or(SAMPLE_RATE, Encoding::clock_rate);
        self.received.packets += 1;
        self.received.bytes += payload.len() as u64;
        if self
            .reception
            .as_ref()
            .is_some_and(|reception| reception.ssrc != header.ssrc)
        {
            self.forget_source();
        }
        let reception = self
            .reception
            .get_or_insert_with(|| Reception::new(&header));
        let arrival = reception.receive(&header, now, clock_rate);
        self.clock_rate = clock_rate;
        if encoding.is_some() && arrival == Arrival::Duplicate {
            return;
        }
        let samples = encoding.and_then(|encoding| self.decode(encoding, payload));
        let Some(samples) = samples else {
            self.received.undecodable += 1;
            self.undecoded = (self.undecoded.0.saturating_add(1), header.payload_type);
            return;
        };
        self.undecoded = (0, 0);
        self.meter.hear(&samples);
        if let Some(listener) = &self.audio.listener {
            listener.push(&samples);
        }
        if let Some(recorder) = &mut self.audio.recorder {
            let timestamp = header.timestamp / (clock_rate / SAMPLE_RATE);
            let outcome = recorder.hear(timestamp, samples);
            self.note_recording(outcome);
        }
    }

    /// Takes a datagram of the RTCP socket.
    pub fn receive_rtcp(&mut self, now: Duration, from: SocketAddr, datagram: &[u8]) {
        match &self.peer {
            Some(peer) if from == peer.rtcp => self.hear_report(now, datagram),
            Some(_) => self.received.foreign += 1,
            None => self.received.early += 1,
        }
    }

    fn forget_source(&mut self) {
        if let Some(reception) = self.reception.take() {
            self.before.0 += reception.lost();
            self.before.1 += reception.late();
            self.before.2 += reception.duplicate();
            self.received.ssrc_changes += 1;
        }
        if let Some(recorder) = &mut self.audio.recorder {
            let outcome = recorder.restart();
            self.note_recording(outcome);
        }
    }

    fn note_recording(&mut self, outcome: Result<(), hound::Error>) {
        if let Err(error) = outcome {
            self.record_error.get_or_insert(error.to_string());
            self.audio.recorder = None;
        }
    }

    fn hear_report(&mut self, now: Duration, datagram: &[u8]) {
        let Some(heard) = Heard::parse(datagram) else {
            self.received.malformed += 1;
            return;
        };
        self.rtcp.received += 1;
        self.rtcp.bye |= heard.bye;
        if let Some(sender) = heard.sender {
            self.last_sr = Some(((sender.ntp >> 16) as u32, now));
            self.rtcp.peer_packets = Some(sender.packets);
        }
        for block in heard.blocks {
            if block.ssrc != self.next.ssrc {
                continue;
            }
            self.rtcp.peer_lost = Some(block.lost);
            self.rtcp.peer_jitter_ms =
                Some(f64::from(block.jitter) * 1_000.0 / f64::from(self.own_clock_rate()));
            if block.last_sr != 0 {
                // §6.4.1, figure 2: A - LSR - DLSR, in 1/65536 s.
                let arrived = (rtcp::ntp(now) >> 16) as u32;
                let round_trip = arrived
                    .wrapping_sub(block.last_sr)
                    .wrapping_sub(block.delay) as i32;
                self.rtcp.round_trip_ms = Some(f64::from(round_trip.max(0)) / 65.536);
            }
        }
    }

    /// The report due at `now`, if one is.
    pub fn poll_rtcp(&mut self, now: Duration) -> Option<(SocketAddr, Vec<u8>)> {
        self.peer.as_ref()?;
        let spread = (0.5 + fastrand::f64()) / COMPENSATION;
        let interval = |mean: f64| Duration::from_secs_f64(mean * spread);
        match self.next_report {
            // §6.2: half the minimum before the first report.
            None => self.next_report = Some(now + interval(REPORT_INTERVAL / 2.0)),
            Some(due) if due <= now => {
                self.next_report = Some(now + interval(REPORT_INTERVAL));
                return self.report(now, false);
            }
            Some(_) => {}
        }
        None
    }

    /// The last report, with BYE. §6.3.7: not by one who never sent anything.
    pub fn goodbye(&mut self, now: Duration) -> Option<(SocketAddr, Vec<u8>)> {
        if self.sent.packets == 0 && self.rtcp.sent == 0 {
            return None;
        }
        self.report(now, true)
    }

    fn report(&mut self, now: Duration, bye: bool) -> Option<(SocketAddr, Vec<u8>)> {
        let to = self.peer.as_ref()?.rtcp;
        // §6.4: a sender is who sent since the report before the last.
        let sends = self.sent.packets > self.sent_at_reports[0];
        self.sent_at_reports = [self.sent_at_reports[1], self.sent.packets];
        let sender = sends.then(|| SenderInfo {
            // Reports carry this program's own time; only differences count,
            // and no wall clock can step in between.
            ntp: rtcp::ntp(now),
            rtp: self.next.timestamp,
            packets: self.sent.packets as u32,
            octets: self.sent.bytes as u32,
        });
        let last_sr = self.last_sr;
        let block = self.reception.as_mut().map(|reception| Block {
            ssrc: reception.ssrc,
            fraction_lost: reception.fraction_lost(),
            lost: reception.lost().min(0x7F_FFFF) as i32,
            highest: reception.highest(),
            jitter: reception.jitter(),
            last_sr: last_sr.map_or(0, |(ntp, _)| ntp),
            delay: last_sr.map_or(0, |(_, at)| {
                (now.saturating_sub(at).as_secs_f64() * 65_536.0) as u32
            }),
        });
        self.rtcp.sent += 1;
        let packet = Report {
            ssrc: self.next.ssrc,
            sender,
            block,
            cname: &self.cname,
            bye,
        }
        .packet();
        Some((to, packet))
    }

    /// Ends the recording.
    pub fn finish(&mut self) {
        if let Some(recorder) = self.audio.recorder.take() {
            let outcome = recorder.finish();
            self.note_recording(outcome);
        }
    }

    /// What was sent so far.
    pub fn sent(&self) -> Sent {
        Sent {
            ssrc: self.next.ssrc,
            ..self.sent.clone()
        }
    }

    /// What was received so far.
    pub fn received(&self) -> Received {
        let mut received = self.received.clone();
        (received.lost, received.late, received.duplicate) = self.before;
        if let Some(reception) = &self.reception {
            received.lost += reception.lost();
            received.late += reception.late();
            received.duplicate += reception.duplicate();
            received.jitter_ms = reception.jitter_exact() * 1_000.0 / f64::from(self.clock_rate);
            received.ssrc = Some(reception.ssrc);
            received.payload_type = Some(reception.payload_type);
        }
        received.level_dbfs = self.meter.level_dbfs();
        received.tone_hz = self.meter.tone_hz();
        received.record_error.clone_from(&self.record_error);
        received
    }

    /// RTCP both ways so far.
    pub fn rtcp(&self) -> Rtcp {
        self.rtcp.clone()
    }
}

#[cfg(test)]
mod tests;
