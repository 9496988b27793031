//! A scene for the call machine: a VM, a gateway and a thin client that say what
//! a test has them say, around an engine with a made-up clock.
//!
//! What the engine sends lies in the inbox of whom it is for until the test
//! takes it; the flows that the datapath would have are kept by call.
#![allow(dead_code)]

pub mod gateway_tc;
pub mod incoming;
pub mod journal;
pub mod outgoing;
pub mod phone;
pub mod ua;
pub mod world;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use sidestep_core::call::Reason;
use sidestep_core::engine::{
    CallPolicy, CallView, Datagram, Datapath, Engine, EngineConfig, Event, ExpiresConfig, Flow,
    FlowKind, Leg, MediaWatchConfig, Network, Output, Path, PathChoice, PathRule, Side,
    ThinClientConfig, Transport, VmConfig,
};
use sidestep_core::registrar::Access;
use sidestep_core::sip::digest::{Login, answer_challenge};
use sidestep_core::sip::{Message, Method, Name};
use sidestep_core::time::Time;

pub use ua::Ua;

pub const VM: &str = "10.71.1.11:5060";
pub const GATEWAY: &str = "10.71.3.31:5060";
pub const TC: &str = "10.71.2.21:5062";
pub const REGISTRAR: &str = "10.71.1.11:5070";

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A session description: where, which `m=` formats, version, further lines.
pub fn sdp(rtp: &str, formats: &str, version: u32, lines: &str) -> String {
    let rtp = address(rtp);
    let rtpmaps: String = formats
        .split(' ')
        .map(|format| match format {
            "0" => "a=rtpmap:0 PCMU/8000\r\n",
            "8" => "a=rtpmap:8 PCMA/8000\r\n",
            "18" => "a=rtpmap:18 G729/8000\r\n",
            "96" => "a=rtpmap:96 opus/48000/2\r\n",
            "101" => "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
            _ => panic!("format {format}"),
        })
        .collect();
    format!(
        "v=0\r\no=- {} {version} IN IP4 {}\r\ns=a session\r\nc=IN IP4 {}\r\nt=0 0\r\n\
         m=audio {} RTP/AVP {formats}\r\n{rtpmaps}{lines}",
        rtp.port(),
        rtp.ip(),
        rtp.ip(),
        rtp.port(),
    )
}

/// The VM's offer, or answer.
pub fn vm_sdp() -> String {
    sdp("10.71.1.11:7000", "96 0 8 101", 1, "")
}

/// The gateway's.
pub fn gateway_sdp() -> String {
    sdp("10.71.3.31:8000", "0 101", 1, "")
}

/// The thin client's.
pub fn tc_sdp() -> String {
    sdp("10.71.2.21:9000", "0 8 101", 1, "")
}

pub fn config() -> EngineConfig {
    EngineConfig {
        vms: vec![
            VmConfig {
                name: "desk-17".into(),
                address: "10.71.1.11".parse().unwrap(),
                address6: None,
            },
            VmConfig {
                name: "desk-18".into(),
                address: "10.71.1.12".parse().unwrap(),
                address6: None,
            },
        ],
        thin_clients: vec![ThinClientConfig {
            user: "tc17".into(),
            vm: 0,
            access: Access::Sip {
                password: "secret".into(),
                digest: None,
            },
        }],
        sip_ports: vec![5060],
        h248_ports: vec![2944, 2945],
        mgcp_ports: vec![2427, 2727],
        registrar_port: 5070,
        realm: "sidestep".into(),
        expires: ExpiresConfig {
            min: 60,
            default: 600,
            max: 3600,
        },
        discard: "192.0.2.1".parse().unwrap(),
        anchor_ports: 40000..=40007,
        paths: Vec::new(),
        tc_answer_timeout: Duration::from_secs(4),
        keep_alive: Duration::from_secs(5),
        // Off: the tests of it turn it on.
        media_watch: MediaWatchConfig::default(),
        calls: CallPolicy::default(),
        first_call: 1,
        seed: [7; 32],
    }
}

/// The same with one rule for all calls.
pub fn config_with(path: PathChoice) -> EngineConfig {
    EngineConfig {
        paths: vec![PathRule {
            thin_clients: None,
            gateways: None::<Network>,
            path,
        }],
        ..config()
    }
}

pub struct Scene {
    pub engine: Engine,
    pub now: Time,
    /// How VM and gateway send.
    pub transport: Transport,
    pub vm: VecDeque<Datagram>,
    pub gateway: VecDeque<Datagram>,
    pub tc: VecDeque<Datagram>,
    /// RTP and RTCP toward the VM.
    pub keep_alive: Vec<Datagram>,
    pub flows: BTreeMap<u32, Vec<Flow>>,
    pub removed: Vec<u32>,
    pub events: Vec<Event>,
    /// All that the engine has put out, where it is wanted.
    pub log: Option<Vec<(Time, Output)>>,
    config: EngineConfig,
    /// Calls of which the engine wants to know what has been counted.
    pub looks: Vec<u32>,
    /// When packets of each leg were counted last.
    seen: Vec<(Leg, Time)>,
    /// All that was put into the engine, where it is wanted.
    pub heard: Option<Vec<Datagram>>,
}

impl Scene {
    pub fn new(config: EngineConfig) -> Self {
        let now = Time::from_origin(Duration::from_secs(1000));
        Self {
            engine: Engine::new(config.clone(), now),
            now,
            transport: Transport::Udp,
            vm: VecDeque::new(),
            gateway: VecDeque::new(),
            tc: VecDeque::new(),
            keep_alive: Vec::new(),
            flows: BTreeMap::new(),
            removed: Vec::new(),
            events: Vec::new(),
            log: None,
            config,
            looks: Vec::new(),
            seen: Vec::new(),
            heard: None,
        }
    }

    /// With a thin client that has registered this body (301, 401).
    pub fn registered(config: EngineConfig, body: Option<&str>) -> Self {
        let mut scene = Self::new(config);
        scene.register(body);
        scene
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            if let Some(log) = &mut self.log {
                log.push((self.now, output.clone()));
            }
            match output {
                Output::Send(datagram) => self.deliver(datagram),
                Output::Datapath(Datapath::Set { call, flows }) => {
                    self.flows.insert(call, flows);
                }
                Output::Datapath(Datapath::Remove { call }) => {
                    self.flows.remove(&call);
                    self.removed.push(call);
                }
                Output::Datapath(Datapath::Look { call }) => self.looks.push(call),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// The engine dies and comes back as one that knows what it had stored.
    pub fn restart(&mut self) {
        let stored: Vec<_> = self
            .engine
            .snapshot()
            .into_iter()
            .filter_map(|entry| Some((entry.key, entry.value?.into_bytes())))
            .collect();
        self.engine = Engine::new(self.config.clone(), self.now);
        let restored = self.engine.restore(self.now, &stored);
        assert_eq!(restored.left_out, 0, "{stored:?}");
    }

    /// Of the one call, packets of these legs have just been counted.
    pub fn tell_seen(&mut self, legs: &[Leg]) {
        let (now, id) = (self.now, self.call().id);
        let mut seen: Vec<_> = self.seen.clone();
        seen.retain(|(leg, _)| !legs.contains(leg));
        seen.extend(legs.iter().map(|leg| (*leg, now)));
        self.seen.clone_from(&seen);
        self.engine.media_seen(now, id, &seen);
        self.drain();
    }

    fn deliver(&mut self, datagram: Datagram) {
        let rtp = datagram.payload.first().is_some_and(|b| b & 0xc0 == 0x80);
        match datagram.side {
            Side::Vm if rtp && !datagram.payload.starts_with(b"SIP") => {
                self.keep_alive.push(datagram);
            }
            Side::Vm => self.vm.push_back(datagram),
            Side::Net if datagram.dst.ip() == address(TC).ip() => self.tc.push_back(datagram),
            Side::Net => self.gateway.push_back(datagram),
        }
    }

    pub fn put(&mut self, side: Side, src: &str, dst: &str, payload: impl AsRef<[u8]>) {
        let transport = match src {
            TC => Transport::Udp,
            _ => self.transport,
        };
        let datagram = Datagram {
            side,
            transport,
            src: address(src),
            dst: address(dst),
            payload: payload.as_ref().to_vec(),
        };
        if let Some(heard) = &mut self.heard {
            heard.push(datagram.clone());
        }
        self.engine.handle_datagram(self.now, datagram);
        self.drain();
    }

    pub fn vm_sends(&mut self, payload: impl AsRef<[u8]>) {
        self.put(Side::Vm, VM, GATEWAY, payload);
    }

    pub fn gateway_sends(&mut self, payload: impl AsRef<[u8]>) {
        self.put(Side::Net, GATEWAY, VM, payload);
    }

    pub fn tc_sends(&mut self, payload: impl AsRef<[u8]>) {
        self.put(Side::Net, TC, REGISTRAR, payload);
    }

    /// Time passes, timer by timer.
    pub fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    #[track_caller]
    fn taken(inbox: &mut VecDeque<Datagram>, who: &str) -> Message {
        let datagram = inbox
            .pop_front()
            .unwrap_or_else(|| panic!("nothing for the {who}"));
        Message::parse(&datagram.payload)
            .unwrap_or_else(|e| panic!("{e}: {}", text(&datagram.payload)))
    }

    #[track_caller]
    pub fn at_vm(&mut self) -> Message {
        Self::taken(&mut self.vm, "VM")
    }

    #[track_caller]
    pub fn at_gateway(&mut self) -> Message {
        Self::taken(&mut self.gateway, "gateway")
    }

    #[track_caller]
    pub fn at_tc(&mut self) -> Message {
        Self::taken(&mut self.tc, "thin client")
    }

    /// Nobody has anything more.
    pub fn silence(&self) {
        for (who, inbox) in [
            ("VM", &self.vm),
            ("gateway", &self.gateway),
            ("thin client", &self.tc),
        ] {
            if let Some(datagram) = inbox.front() {
                panic!("the {who} has {}", text(&datagram.payload));
            }
        }
    }

    /// Step 301, 401.
    pub fn register(&mut self, body: Option<&str>) {
        let request = |cseq: u32, extra: &str| {
            let (kind, body) = match body {
                Some(body) => ("Content-Type: application/sdp\r\n", body),
                None => ("", ""),
            };
            format!(
                "REGISTER sip:10.71.1.11:5070 SIP/2.0\r\nVia: SIP/2.0/UDP {TC};branch=z9hG4bKreg{cseq}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:tc17@10.71.1.11>;tag=reg\r\nTo: <sip:tc17@10.71.1.11>\r\n\
                 Call-ID: register\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:tc17@{TC}>\r\nExpires: 3600\r\n\
                 {extra}{kind}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        self.tc_sends(request(1, ""));
        let challenge = self.at_tc();
        assert_eq!(challenge.status(), Some(401));
        let login = Login {
            user: "tc17",
            password: "secret",
        };
        let credentials = answer_challenge(
            challenge.header_values(Name::WWW_AUTHENTICATE),
            login,
            "REGISTER",
            "sip:10.71.1.11:5070",
            "cnonce",
            1,
        )
        .unwrap();
        self.tc_sends(request(2, &format!("Authorization: {credentials}\r\n")));
        assert_eq!(self.at_tc().status(), Some(200));
        self.events.clear();
    }

    /// The one call.
    pub fn call(&self) -> CallView {
        let mut calls = self.engine.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }

    /// State, path and reason of the one call.
    pub fn is(&self, state: &str, path: Path, reason: Option<Reason>) {
        let call = self.call();
        assert_eq!(
            (call.state, call.path, call.reason),
            (state, path, reason),
            "{call:?}"
        );
    }

    /// The flows of call 1 that packets have, in a line each.
    pub fn flow_lines(&self) -> Vec<String> {
        let flows = self.flows.get(&1).cloned().unwrap_or_default();
        let flows = flows.iter().filter(|flow| flow.kind != FlowKind::Learn);
        flows.map(flow_line).collect()
    }

    /// What call 1 still has to learn, in a line each.
    pub fn unlearned(&self) -> Vec<String> {
        let flows = self.flows.get(&1).cloned().unwrap_or_default();
        let flows = flows.iter().filter(|flow| flow.kind == FlowKind::Learn);
        flows.map(flow_line).collect()
    }

    /// Nothing is left of any call but, for a while, its line in the list.
    pub fn is_clean(&mut self) {
        self.wait(1_000_000);
        assert_eq!(self.engine.calls(), Vec::new());
        assert_eq!(self.engine.anchors_in_use(), 0);
        assert!(self.flows.is_empty(), "{:?}", self.flows);
    }
}

fn flow_line(flow: &Flow) -> String {
    let leg = match flow.leg {
        Leg::GatewayToTc => "gateway->tc",
        Leg::TcToGateway => "tc->gateway",
        Leg::GatewayToVm => "gateway->vm",
        Leg::VmToGateway => "vm->gateway",
    };
    let kind = match flow.kind {
        FlowKind::Direct => "direct".to_owned(),
        FlowKind::Steered { src, dst, .. } => format!("steered {src} > {dst}"),
        FlowKind::Guard => "guard".to_owned(),
        FlowKind::Relay => "relay".to_owned(),
        FlowKind::Learn => "learn".to_owned(),
    };
    let rtcp = if flow.rtcp { " rtcp" } else { "" };
    format!("{leg} {} > {} {kind}{rtcp}", flow.src, flow.dst)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The body as text.
pub fn body(message: &Message) -> String {
    text(message.body())
}

/// Where the body's audio is, and its formats: `10.71.2.21:9000 0 8 101`.
pub fn audio(message: &Message) -> String {
    let sdp = message.sdp().expect("a description").expect("understood");
    let (index, media) = sdp.audio().expect("audio");
    format!("{} {}", media.rtp, sdp.media()[index].formats.join(" "))
}

pub fn is_request(message: &Message, method: Method) {
    assert!(
        message.is_request() && *message.method() == method,
        "not {method}: {}",
        text(message.bytes())
    );
}

pub fn is_response(message: &Message, status: u16, method: Method) {
    assert!(
        message.status() == Some(status) && *message.method() == method,
        "not {status} to {method}: {}",
        text(message.bytes())
    );
}
