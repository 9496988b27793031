//! The agent with a made-up clock, and the wire between it and a thin client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sidestep_core::engine::{
    Datagram, Event, Network, Protocol, Side, ThinClientConfig, Transport, VmConfig,
};
use sidestep_core::registrar::{Access, Binding};
use sidestep_core::tc::{LegId, TcAgent, TcEvent, TcOutput};
use sidestep_core::time::Time;

pub const VM: &str = "10.71.1.11:5070";
pub const OTHER_VM: &str = "10.71.1.12:5070";
pub const TC: &str = "10.71.2.21:2427";
pub const LEG: LegId = LegId(7);

/// What the gateway says of itself: an offer or an answer to the thin client.
pub const GATEWAY: &str = "v=0\r\no=- 1 1 IN IP4 10.71.3.31\r\ns=-\r\nc=IN IP4 10.71.3.31\r\n\
                           t=0 0\r\nm=audio 8000 RTP/AVP 0 18\r\na=sendrecv\r\n";
/// What the thin client says of itself, as gateways do: no more than is needed.
pub const LOCAL: &str = "v=0\r\nc=IN IP4 10.71.2.21\r\nm=audio 9000 RTP/AVP 0 8\r\n";
pub const MOVED: &str = "v=0\r\nc=IN IP4 10.71.2.21\r\nm=audio 9100 RTP/AVP 0 8\r\n";

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub struct Bench {
    pub agent: TcAgent,
    pub now: Time,
    pub sent: VecDeque<Datagram>,
    pub events: VecDeque<TcEvent>,
    pub bound: Option<Binding>,
    pub notes: Vec<Event>,
    /// Protocol, and where the thin client sends from.
    pub protocol: Protocol,
    pub source: SocketAddr,
    pub transport: Transport,
}

impl Bench {
    pub fn new(protocol: Protocol, access: Access, seed: u8) -> Self {
        let vm = |name: &str, address: &str| VmConfig {
            name: name.into(),
            address: address.parse().unwrap(),
            address6: None,
        };
        let mut agent = TcAgent::new([seed; 32], 5070, Duration::from_secs(4));
        let account = ThinClientConfig {
            user: "tc17".into(),
            vm: 0,
            access,
        };
        agent.admit(
            &[account],
            &[vm("desk-17", "10.71.1.11"), vm("desk-18", "10.71.1.12")],
        );
        Self {
            agent,
            now: Time::from_origin(Duration::from_secs(1000)),
            sent: VecDeque::new(),
            events: VecDeque::new(),
            bound: None,
            notes: Vec::new(),
            protocol,
            source: address(TC),
            transport: Transport::Udp,
        }
    }

    /// Takes what the agent has put out.
    pub fn pump(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                TcOutput::Send(datagram) => self.sent.push_back(datagram),
                TcOutput::Event(leg, event) => {
                    assert_eq!(leg, LEG);
                    self.events.push_back(event);
                }
                TcOutput::Bound(binding) => self.bound = Some(binding),
                TcOutput::Unbound { user } => {
                    assert_eq!(user, "tc17");
                    self.bound = None;
                }
                TcOutput::Note(event) => self.notes.push(event),
            }
        }
    }

    /// The thin client sends.
    pub fn hear_at(&mut self, dst: &str, payload: impl AsRef<[u8]>) {
        let datagram = Datagram {
            side: Side::Net,
            transport: self.transport,
            src: self.source,
            dst: address(dst),
            payload: payload.as_ref().to_vec(),
        };
        // What cannot be read is the engine's to report.
        let _ = self
            .agent
            .handle_gateway(self.now, self.protocol, &datagram);
        self.pump();
    }

    pub fn hear(&mut self, payload: impl AsRef<[u8]>) {
        self.hear_at(VM, payload);
    }

    /// The next message to the thin client.
    pub fn got(&mut self) -> Vec<u8> {
        self.pump();
        let datagram = self.sent.pop_front().expect("the agent sent something");
        assert_eq!(
            (datagram.side, datagram.src, datagram.dst),
            (Side::Net, address(VM), self.source)
        );
        assert_eq!(datagram.transport, self.transport);
        datagram.payload
    }

    pub fn event(&mut self) -> Option<TcEvent> {
        self.pump();
        self.events.pop_front()
    }

    /// The next event's description, which is an answer.
    pub fn answered(&mut self) -> String {
        match self.event() {
            Some(TcEvent::Answered { sdp }) => text(&sdp),
            other => panic!("{other:?}"),
        }
    }

    /// The next event's description, which the thin client has changed.
    pub fn changed(&mut self) -> String {
        match self.event() {
            Some(TcEvent::Reinvite { sdp: Some(sdp) }) => text(&sdp),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is sent and nothing is told.
    pub fn quiet(&mut self) {
        self.pump();
        let sent: Vec<String> = self.sent.iter().map(|d| text(&d.payload)).collect();
        assert_eq!(sent, [""; 0]);
        assert_eq!(self.events, []);
    }

    /// Lets time pass, timer by timer.
    pub fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(next) = self.agent.poll_timeout().filter(|next| *next <= end) {
            assert!(next >= self.now, "a timer in the past");
            self.now = next;
            self.agent.handle_timeout(next);
            self.pump();
        }
        self.now = end;
    }

    pub fn invite(&mut self, offer: Option<&str>) {
        let binding = self.bound.clone().expect("registered");
        let offer = offer.map(|offer| offer.as_bytes().to_vec());
        self.agent.invite(self.now, LEG, &binding, offer);
    }
}

/// Where the accounts may register from.
pub fn office() -> Network {
    Network {
        address: "10.71.2.0".parse().unwrap(),
        prefix: 24,
    }
}

/// The `m=` line and direction of a description, in short.
pub fn audio(sdp: &str) -> String {
    let lines = sdp.lines().filter(|line| {
        line.starts_with("m=")
            || line.starts_with("c=")
            || line.starts_with("a=send")
            || line.starts_with("a=recv")
            || line.starts_with("a=inactive")
    });
    lines.collect::<Vec<_>>().join(" ")
}
