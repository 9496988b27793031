//! What each target holds true, whatever the bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sidestep_core::engine::{
    CallPolicy, Datagram, Engine, EngineConfig, ExpiresConfig, MediaWatchConfig, Output, Side,
    ThinClientConfig, Transport, VmConfig,
};
use sidestep_core::h248::{self, Change, Side as Described};
use sidestep_core::mgcp::{Packet, PacketEdit, Parameter};
use sidestep_core::registrar::Access;
use sidestep_core::sdp::{AudioReplacement, SessionDescription};
use sidestep_core::sip::digest::{Login, answer_challenge};
use sidestep_core::sip::{Message, MessageEdit, Name, SipFramer};
use sidestep_core::stream::{Limits, Part, Stream};
use sidestep_core::time::Time;
use sidestep_core::websocket::{Masks, WebSocketFramer};

/// An edit that changes nothing gives the same bytes; one that changes the body
/// changes nothing but it and Content-Length; what was read is read again.
pub fn message(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    assert_eq!(MessageEdit::new(&message).finish(), bytes);
    for name in [Name::VIA, Name::CONTACT, Name::ROUTE] {
        let _ = message.headers(name).count();
    }
    let _ = (message.contact_uri(), message.top_via(), message.expires());
    let edited = MessageEdit::new(&message)
        .set_session(b"v=0\r\n")
        .set_cseq(7)
        .finish();
    let again = Message::parse(&edited).expect("still a message");
    assert_eq!(again.cseq().0, 7);
    let headers = |message: &Message| {
        let kept = message
            .all_headers()
            .filter(|(name, _)| {
                let changed = [Name::CONTENT_LENGTH, Name::CONTENT_TYPE, Name::CSEQ];
                !changed.iter().any(|changed| changed.matches(name))
            })
            .map(|(name, value)| (name.to_vec(), value.to_vec()));
        kept.collect::<Vec<_>>()
    };
    assert_eq!(headers(&message), headers(&again));
    if let Some(session) = message.session() {
        sdp(session);
    }
}

/// An H.248 message, text or BER: a change of nothing gives the same bytes; with other
/// session descriptions it is still a message, of as many transactions.
pub fn h248(bytes: &[u8]) {
    let Ok(message) = h248::parse(bytes) else {
        return;
    };
    let same = h248::change(bytes, &message, &[]);
    assert_eq!(same.as_deref(), Some(bytes));
    for (place, stream) in message.streams() {
        let sides = [
            (Described::Local, &stream.local),
            (Described::Remote, &stream.remote),
        ];
        for (side, _) in sides.into_iter().filter(|(_, there)| there.is_some()) {
            let sdp = b"v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\n".to_vec();
            let change = Change::Description { place, side, sdp };
            let changed = h248::change(bytes, &message, &[change]).expect("it is there");
            let again = h248::parse(&changed).expect("still a message");
            assert_eq!(again.transactions().len(), message.transactions().len());
        }
    }
}

/// A description with other media is a description, and its stream is where it
/// was told to be.
pub fn sdp(bytes: &[u8]) {
    let Ok(sdp) = SessionDescription::parse(bytes) else {
        return;
    };
    assert_eq!(sdp.bytes(), bytes);
    let to: SocketAddr = ([10, 71, 2, 21], 20000).into();
    for index in 0..sdp.media().len() {
        let replacement = AudioReplacement {
            replace_null: true,
            ..AudioReplacement::address(to)
        };
        let edited = sdp.replace_audio(index, &replacement);
        let again = SessionDescription::parse(&edited).expect("still a description");
        assert_eq!(again.media().len(), sdp.media().len());
        let stream = &again.media()[index];
        assert_eq!(stream.port, to.port());
        assert_eq!(
            stream.connection.as_ref().and_then(|c| c.ip()),
            Some(to.ip())
        );
    }
    if let Ok((index, media)) = sdp.movable_audio(None) {
        let replacement = AudioReplacement::media(&media);
        let edited = sdp.replace_audio(index, &replacement);
        let again = SessionDescription::parse(&edited).expect("still a description");
        let again = again.movable_audio(Some(index)).expect("still movable").1;
        assert_eq!((again.rtp, again.direction), (media.rtp, media.direction));
        assert_eq!(again.channel.is_secure(), media.channel.is_secure());
    }
}

/// All parts together are the stream, and they are the same parts wherever it is
/// cut.
pub fn framer(bytes: &[u8]) {
    let parts = |segment: usize| {
        let framer = Box::new(SipFramer::new(Limits::default()));
        let mut stream = Stream::new(Some(framer));
        let mut messages = Vec::new();
        let mut all = Vec::new();
        for segment in bytes.chunks(segment) {
            stream.push(segment);
            while let Some(part) = stream.next_part() {
                match part {
                    Part::Message(bytes) => {
                        all.extend_from_slice(&bytes);
                        messages.push(bytes);
                    }
                    Part::Untouched { bytes, .. } => all.extend_from_slice(&bytes),
                }
            }
        }
        assert!(bytes.starts_with(&all));
        messages
    };
    let whole = parts(bytes.len().max(1));
    assert_eq!(whole, parts(1));
    assert_eq!(whole, parts(7));
}

/// What a client sends in a WebSocket, behind a handshake that the server agrees to:
/// octets are not lost, and it does not matter where the stream is cut.
pub fn websocket(bytes: &[u8]) {
    let parts = |segment: usize| {
        let masks = Arc::new(Masks::new([1; 32]));
        let [client, server] = WebSocketFramer::pair(Limits::default(), &masks)
            .map(|framer| Stream::new(Some(Box::new(framer))));
        let (mut client, mut server) = (client, server);
        client.push(
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        );
        server.push(
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        );
        while client.next_part().is_some() || server.next_part().is_some() {}
        let (mut messages, mut untouched) = (Vec::new(), Vec::new());
        for segment in bytes.chunks(segment) {
            client.push(segment);
            while let Some(part) = client.next_part() {
                match part {
                    Part::Message(bytes) => messages.push(bytes),
                    Part::Untouched { bytes, .. } => untouched.extend(bytes),
                }
            }
        }
        if let Some(Part::Untouched { bytes, .. }) = client.end() {
            untouched.extend(bytes);
        }
        if messages.is_empty() {
            assert_eq!(untouched.len(), bytes.len());
        }
        (messages, untouched)
    };
    let whole = parts(bytes.len().max(1));
    assert_eq!(whole, parts(1));
    assert_eq!(whole, parts(7));
}

/// A datagram of MGCP: a change of nothing gives the same bytes; one that changes ids,
/// connection modes and descriptions is still as many messages. Then a call agent, its
/// gateway and the thin client say what is divided by lines of three dashes, the agent
/// where no `gateway` or `tc` stands before it.
pub fn mgcp(bytes: &[u8]) {
    let mut bench = Bench::new(&format!(
        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{REGISTERED}",
        REGISTERED.len()
    ));
    let (agent, gateway) = (address("10.71.1.11:2727"), address("10.71.3.31:2427"));
    for part in lines_apart(bytes, b"---") {
        let from = |who: &[u8]| part.strip_prefix(who);
        let (side, src, dst, payload) = if let Some(payload) = from(b"gateway\n") {
            (Side::Net, gateway, agent, payload)
        } else if let Some(payload) = from(b"tc\n") {
            (Side::Net, address(TC), address(REGISTRAR), payload)
        } else {
            (Side::Vm, agent, gateway, part)
        };
        mgcp_packet(payload);
        bench.says(side, src, dst, payload);
        bench.waits(Duration::from_millis(300));
    }
    bench.ends();
}

/// What a thin client registers as its media.
const REGISTERED: &str = "v=0\r\no=- 1 1 IN IP4 10.71.2.21\r\ns=-\r\nc=IN IP4 10.71.2.21\r\n\
    t=0 0\r\nm=audio 9000 RTP/AVP 0 8\r\n";

fn mgcp_packet(bytes: &[u8]) {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    assert_eq!(PacketEdit::new(&packet).finish(), bytes);
    let mut edit = PacketEdit::new(&packet);
    for (index, message) in packet.messages().enumerate() {
        edit.transaction(index, 7);
        edit.parameter(index, Parameter::CONNECTION_MODE, b"inactive");
        for description in 0..message.descriptions().len() {
            edit.description(index, description, REGISTERED.as_bytes());
        }
    }
    let again = Packet::parse(&edit.finish()).expect("still a datagram");
    assert_eq!(again.messages().len(), packet.messages().len());
    for (message, before) in again.messages().zip(packet.messages()) {
        assert_eq!(message.transaction(), 7);
        assert_eq!(message.parameters().count(), before.parameters().count());
        assert_eq!(message.descriptions().len(), before.descriptions().len());
        if before.parameter(Parameter::CONNECTION_MODE).is_some() {
            let mode = message.parameter(Parameter::CONNECTION_MODE);
            assert_eq!(mode, Some(&b"inactive"[..]));
        }
    }
}

/// What stands between lines that are just this.
fn lines_apart<'a>(bytes: &'a [u8], line: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    for whole in bytes.split_inclusive(|&b| b == b'\n') {
        if whole.strip_suffix(b"\n") == Some(line) {
            parts.push(&bytes[start..at]);
            start = at + whole.len();
        }
        at += whole.len();
    }
    parts.push(&bytes[start..]);
    parts
}

/// Datagrams, each after a byte that says whose it is. What no part of the engine
/// wants goes on; time passes, and nothing is left.
pub fn engine(bytes: &[u8]) {
    let mut bench = Bench::new("Content-Length: 0\r\n\r\n");
    let (vm, gateway) = (address("10.71.1.11:5060"), address("10.71.3.31:5060"));
    for part in bytes.split(|&b| b == 0) {
        let Some((who, payload)) = part.split_first() else {
            continue;
        };
        let (side, src, dst) = match who % 3 {
            0 => (Side::Vm, vm, gateway),
            1 => (Side::Net, gateway, vm),
            _ => (Side::Net, address(TC), address(REGISTRAR)),
        };
        bench.says(side, src, dst, payload);
        bench.waits(Duration::from_millis(u64::from(*who) * 4));
    }
    bench.ends();
}

const TC: &str = "10.71.2.21:5062";
const REGISTRAR: &str = "10.71.1.11:5070";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// An engine with a thin client that is registered.
struct Bench {
    engine: Engine,
    now: Time,
}

impl Bench {
    /// `body`: of its REGISTER, with the header lines that are about it.
    fn new(body: &str) -> Self {
        let now = Time::from_origin(Duration::from_secs(1));
        let engine = Engine::new(config(), now);
        let mut bench = Self { engine, now };
        let challenge = bench.registers(1, "", body).expect("a challenge");
        let login = Login {
            user: "tc",
            password: "secret",
        };
        let asked = challenge.header_values(Name::WWW_AUTHENTICATE);
        let uri = "sip:10.71.1.11:5070";
        let answer = answer_challenge(asked, login, "REGISTER", uri, "cnonce", 1);
        let answer = answer.expect("a challenge that can be answered");
        bench.registers(2, &format!("Authorization: {answer}\r\n"), body);
        bench
    }

    fn registers(&mut self, number: u32, authorization: &str, body: &str) -> Option<Message> {
        let payload = format!(
            "REGISTER sip:10.71.1.11:5070 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 10.71.2.21:5062;branch=z9hG4bKr{number}\r\n\
             From: <sip:tc@10.71.1.11>;tag=r\r\nTo: <sip:tc@10.71.1.11>\r\nCall-ID: r\r\n\
             CSeq: {number} REGISTER\r\nContact: <sip:tc@10.71.2.21:5062>\r\n\
             {authorization}{body}"
        );
        let (src, dst) = (address(TC), address(REGISTRAR));
        self.says(Side::Net, src, dst, payload.as_bytes());
        std::iter::from_fn(|| self.engine.poll_output()).find_map(|output| match output {
            Output::Send(datagram) => Message::parse(&datagram.payload).ok(),
            _ => None,
        })
    }

    fn says(&mut self, side: Side, src: SocketAddr, dst: SocketAddr, payload: &[u8]) {
        let datagram = Datagram {
            side,
            transport: Transport::Udp,
            src,
            dst,
            payload: payload.to_vec(),
        };
        self.engine.handle_datagram(self.now, datagram);
    }

    /// Takes what the engine has to say, before and after this time.
    fn waits(&mut self, time: Duration) {
        while self.engine.poll_output().is_some() {}
        self.now = self.now + time;
        self.engine.handle_timeout(self.now);
        while self.engine.poll_output().is_some() {}
    }

    /// Whatever has begun comes to its end.
    fn ends(mut self) {
        for _ in 0..100_000 {
            let Some(next) = self.engine.poll_timeout() else {
                break;
            };
            self.now = self.now.max(next);
            self.waits(Duration::ZERO);
        }
        let next = self.engine.poll_timeout();
        assert_eq!(next, None, "something goes on for ever");
        assert!(self.engine.calls().is_empty());
        assert_eq!(self.engine.anchors_in_use(), 0);
    }
}

fn config() -> EngineConfig {
    EngineConfig {
        vms: vec![VmConfig {
            name: "desk".into(),
            address: [10, 71, 1, 11].into(),
            address6: None,
        }],
        thin_clients: vec![ThinClientConfig {
            user: "tc".into(),
            vm: 0,
            access: Access::Sip {
                password: "secret".into(),
                digest: None,
            },
        }],
        sip_ports: vec![5060],
        h248_ports: Vec::new(),
        mgcp_ports: vec![2427, 2727],
        registrar_port: 5070,
        realm: "sidestep".into(),
        expires: ExpiresConfig {
            min: 60,
            default: 600,
            max: 3600,
        },
        discard: [192, 0, 2, 1].into(),
        anchor_ports: 40000..=40007,
        paths: Vec::new(),
        tc_answer_timeout: Duration::from_secs(4),
        keep_alive: Duration::from_secs(5),
        media_watch: MediaWatchConfig::default(),
        calls: CallPolicy::default(),
        first_call: 1,
        seed: [7; 32],
    }
}
