//! A call agent in a VM, and the softphone of its user: no packaged one is known.
//! It says what a test has it say, repeats itself until it is answered (RFC 3435
//! §3.5), and plays a tone to where it is told.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sidestep_core::mgcp::{Message, Packet, Parameter, StartLine};
use sidestep_core::sdp::SessionDescription;
use thin_client::audio::g711::Law;
use thin_client::media::rtp::Header;

use super::audio::RATE;
use crate::lab::{Lab, Site};
use crate::stage::VM_TONE;
use crate::wait::{seconds, try_wait_for};

/// How long it waits before it says the same again.
const REPEAT: Duration = Duration::from_millis(400);

/// A call agent.
#[derive(Debug)]
pub struct CallAgent {
    socket: UdpSocket,
    gateway: SocketAddrV4,
    media: SocketAddrV4,
    next: u32,
}

/// What a gateway has replied.
#[derive(Debug)]
pub struct Response {
    /// Response code.
    pub code: u16,
    /// ConnectionId.
    pub connection: Option<String>,
    /// SpecificEndPointId.
    pub endpoint: Option<String>,
    /// ConnectionParameters.
    pub statistics: Option<String>,
    /// Where the first description's audio is.
    pub rtp: Option<SocketAddrV4>,
    /// All of it.
    pub text: String,
}

impl CallAgent {
    /// An agent at a VM's address and MGCP's agent port.
    pub fn start(lab: &Lab, vm: Site, gateway: Site) -> Result<Self> {
        let address = SocketAddrV4::new(vm.ip(), 2727);
        let socket = lab
            .namespace(vm)
            .enter(move || UdpSocket::bind(address))??;
        socket.set_read_timeout(Some(REPEAT))?;
        Ok(Self {
            socket,
            gateway: SocketAddrV4::new(gateway.ip(), 2427),
            media: SocketAddrV4::new(vm.ip(), 7000),
            next: 1000,
        })
    }

    /// The description of its user's softphone: G.711, A-law.
    pub fn own(&self) -> String {
        let (ip, port) = (self.media.ip(), self.media.port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
        )
    }

    /// A command, and its final response. `rest`: parameter lines, then perhaps an
    /// empty line and a description.
    pub fn ask(&mut self, verb: &str, endpoint: &str, rest: &str) -> Result<Response> {
        self.next += 1;
        let id = self.next;
        let command = format!("{verb} {id} {endpoint} MGCP 1.0\r\n{rest}");
        let mut buffer = [0; 8192];
        try_wait_for(&format!("a response to {command:?}"), seconds(8), || {
            self.socket.send_to(command.as_bytes(), self.gateway)?;
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else {
                return Ok(None);
            };
            ensure!(from == self.gateway.into(), "a datagram from {from}");
            let packet = Packet::parse(&buffer[..length])?;
            let responses = packet.messages().filter(|m| m.transaction() == id);
            let mut last = responses
                .filter_map(|message| Response::of(&message))
                .last();
            Ok(last.take_if(|response| response.code >= 200))
        })
    }

    /// Plays a tone to `to`, from the softphone's port, until the result is
    /// dropped.
    pub fn play(&self, lab: &Lab, vm: Site, to: SocketAddrV4) -> Result<Tone> {
        let from = self.media;
        let socket = lab.namespace(vm).enter(move || UdpSocket::bind(from))??;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("softphone".to_owned())
            .spawn(move || play(&socket, to, &stopped))
            .context("starting a thread")?;
        Ok(Tone {
            stop,
            thread: Some(thread),
        })
    }
}

impl Response {
    fn of(message: &Message<'_>) -> Option<Self> {
        let StartLine::Response { code, .. } = message.start() else {
            return None;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let descriptions: Vec<String> = message.descriptions().map(text).collect();
        let rtp = message.descriptions().next().and_then(|sdp| {
            let sdp = SessionDescription::parse(sdp).ok()?;
            match sdp.audio().ok()?.1.rtp {
                std::net::SocketAddr::V4(rtp) => Some(rtp),
                std::net::SocketAddr::V6(_) => None,
            }
        });
        Some(Self {
            code,
            connection: message.parameter(Parameter::CONNECTION_ID).map(text),
            endpoint: message.parameter(Parameter::SPECIFIC_ENDPOINT_ID).map(text),
            statistics: message
                .parameter(Parameter::CONNECTION_PARAMETERS)
                .map(text),
            rtp,
            text: format!("{code} {descriptions:?}"),
        })
    }
}

/// A tone that is played; dropping it ends it.
#[derive(Debug)]
pub struct Tone {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Tone {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A packet of 20 ms every 20 ms, by the clock.
fn play(socket: &UdpSocket, to: SocketAddrV4, stop: &AtomicBool) {
    const SAMPLES: u32 = 160;
    let begin = std::time::Instant::now();
    let mut sequence = 0_u16;
    while !stop.load(Ordering::Relaxed) {
        let first = u32::from(sequence) * SAMPLES;
        let payload: Vec<u8> = (first..first + SAMPLES)
            .map(|sample| {
                let phase = f64::from(sample) * VM_TONE * std::f64::consts::TAU / f64::from(RATE);
                Law::A.encode((phase.sin() * 8000.0) as i16)
            })
            .collect();
        let header = Header {
            payload_type: 8,
            marker: sequence == 0,
            sequence,
            timestamp: first,
            ssrc: 0x5050_0001,
        };
        // Nobody may listen any more.
        let _ = socket.send_to(&header.packet(&payload), to);
        sequence = sequence.wrapping_add(1);
        let due = Duration::from_millis(20) * u32::from(sequence);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
}
