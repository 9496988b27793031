//! A thin client's phone, and the wire between it and the agent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sidestep_core::engine::{Side, Transport};
use sidestep_core::registrar::{Binding, Signalling, SipContact};
use sidestep_core::sip::transaction::Addresses;
use sidestep_core::sip::{Message, Method, Name, ResponseBuilder};
use sidestep_core::tc::{LegId, TcAgent, TcEvent, TcOutput};
use sidestep_core::time::Time;

pub const VM: &str = "10.71.1.11:5070";
pub const TC: &str = "10.71.2.22:5060";
pub const LEG: LegId = LegId(7);
pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.71.3.31\r\ns=-\r\nc=IN IP4 10.71.3.31\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";
pub const ANSWER: &str = "v=0\r\no=- 9 9 IN IP4 10.71.2.22\r\ns=-\r\nc=IN IP4 10.71.2.22\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n";

pub fn binding() -> Binding {
    Binding {
        user: "tc18".into(),
        vm: 0,
        vm_address: "10.71.1.11".parse().unwrap(),
        signalling: Signalling::Sip(SipContact {
            uri: b"sip:tc18-0x55d0c8@10.71.2.22:5060".to_vec(),
            call_id: b"r".to_vec(),
            cseq: 1,
        }),
        address: TC.parse().unwrap(),
        transport: Transport::Udp,
        media: None,
        expires: Time::from_origin(Duration::from_secs(600)),
        since: Time::ZERO,
    }
}

pub fn answered() -> TcEvent {
    TcEvent::Answered { sdp: ANSWER.into() }
}

pub struct Phone {
    pub agent: TcAgent,
    pub now: Time,
    /// What the agent sent and nobody has looked at.
    pub sent: VecDeque<Message>,
    pub events: VecDeque<TcEvent>,
    /// Where this phone sends from.
    pub source: SocketAddr,
    /// How it sends, and is sent to.
    pub transport: Transport,
    /// Where the agent is expected to send to.
    pub expected: SocketAddr,
    /// The INVITE that made the call.
    invite: Option<Message>,
    cseq: u32,
    branch: u32,
}

impl Phone {
    pub fn new() -> Self {
        Self::with_seed(3)
    }

    pub fn with_seed(seed: u8) -> Self {
        Self {
            agent: TcAgent::new([seed; 32], 5070, Duration::from_secs(4)),
            now: Time::from_origin(Duration::from_secs(1000)),
            sent: VecDeque::new(),
            events: VecDeque::new(),
            source: TC.parse().unwrap(),
            transport: Transport::Udp,
            expected: TC.parse().unwrap(),
            invite: None,
            cseq: 100,
            branch: 0,
        }
    }

    /// Takes what the agent has put out.
    pub fn pump(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                TcOutput::Bound(_) | TcOutput::Unbound { .. } | TcOutput::Note(_) => {
                    panic!("{output:?} of a SIP telephone")
                }
                TcOutput::Send(datagram) => {
                    assert_eq!(datagram.side, Side::Net);
                    assert_eq!(datagram.src, VM.parse().unwrap());
                    assert_eq!(datagram.dst, self.expected);
                    assert_eq!(datagram.transport, self.transport);
                    let message = Message::parse(&datagram.payload).expect("a message");
                    self.sent.push_back(message);
                }
                TcOutput::Event(leg, event) => {
                    assert_eq!(leg, LEG);
                    self.events.push_back(event);
                }
            }
        }
    }

    /// The next message the agent sent.
    pub fn got(&mut self) -> Message {
        self.pump();
        self.sent.pop_front().expect("the agent sent a message")
    }

    /// The next message, which is a request of this method.
    pub fn got_request(&mut self, method: Method) -> Message {
        let message = self.got();
        assert!(message.is_request(), "status {:?}", message.status());
        assert_eq!(*message.method(), method);
        message
    }

    /// The next message, which is a response.
    pub fn got_status(&mut self) -> u16 {
        let message = self.got();
        message.status().expect("a response")
    }

    pub fn event(&mut self) -> Option<TcEvent> {
        self.pump();
        self.events.pop_front()
    }

    /// Nothing is sent and nothing is told.
    pub fn quiet(&mut self) {
        self.pump();
        let sent: Vec<String> = self
            .sent
            .iter()
            .map(|message| String::from_utf8_lossy(message.bytes()).into_owned())
            .collect();
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
        }
        self.now = end;
        self.pump();
    }

    /// What it sends has come between these.
    pub fn ends(&self) -> Addresses {
        Addresses {
            local: VM.parse().unwrap(),
            remote: self.source,
            transport: self.transport,
        }
    }

    pub fn deliver(&mut self, bytes: &[u8]) -> bool {
        let message = Message::parse(bytes).expect("a message");
        self.agent.handle_sip(self.now, self.ends(), &message)
    }

    /// Calls, with or without an offer, and returns the INVITE.
    pub fn call(&mut self, offer: Option<&str>) -> Message {
        let offer = offer.map(|offer| offer.as_bytes().to_vec());
        let binding = Binding {
            address: self.expected,
            transport: self.transport,
            ..binding()
        };
        self.agent.invite(self.now, LEG, &binding, offer);
        let invite = self.got_request(Method::Invite);
        self.invite = Some(invite.clone());
        invite
    }

    /// A response of the phone, with its contact and its tag.
    pub fn answer_with(&self, request: &Message, status: u16) -> ResponseBuilder {
        ResponseBuilder::new(request, status, Some("phone"))
            .header(Name::CONTACT, "<sip:tc18-0x55d0c8@10.71.2.22:5060>")
    }

    pub fn answer(&mut self, request: &Message, status: u16, sdp: Option<&str>) {
        let mut response = self.answer_with(request, status);
        if let Some(sdp) = sdp {
            response = response.sdp(sdp);
        }
        assert!(self.deliver(&response.build()), "the response was taken");
    }

    /// A call that stands.
    pub fn up() -> Self {
        Self::new().stands()
    }

    /// This phone with a call that stands.
    pub fn stands(mut self) -> Self {
        let phone = &mut self;
        let invite = phone.call(Some(OFFER));
        phone.answer(&invite, 200, Some(ANSWER));
        assert_eq!(phone.event(), Some(answered()));
        phone.agent.ack_with(phone.now, LEG, None);
        phone.got_request(Method::Ack);
        phone.quiet();
        self
    }

    /// A request of the phone in the dialog; `lines` are more headers, after an
    /// empty line a body.
    pub fn request(&mut self, method: &str, lines: &str) -> Vec<u8> {
        self.cseq += 1;
        self.request_numbered(method, self.cseq, lines)
    }

    pub fn request_numbered(&mut self, method: &str, cseq: u32, lines: &str) -> Vec<u8> {
        self.branch += 1;
        let invite = self.invite.as_ref().expect("a call");
        let text = |name| String::from_utf8(invite.header(name).unwrap().to_vec()).unwrap();
        let (lines, body) = lines.split_once("\r\n\r\n").unwrap_or((lines, ""));
        let lines = match lines.trim_end() {
            "" => String::new(),
            lines => format!("{lines}\r\n"),
        };
        format!(
            "{method} sip:sidestep@{VM} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {};branch=z9hG4bKp{};rport\r\nMax-Forwards: 70\r\n\
             From: {};tag=phone\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{lines}\
             Content-Length: {}\r\n\r\n{body}",
            self.source,
            self.branch,
            text(Name::TO),
            text(Name::FROM),
            text(Name::CALL_ID),
            body.len(),
        )
        .into_bytes()
    }

    /// Sends a request in the dialog and returns the status answered.
    pub fn ask(&mut self, method: &str, lines: &str) -> u16 {
        let bytes = self.request(method, lines);
        assert!(self.deliver(&bytes));
        self.got_status()
    }
}

/// Headers and body of an offer or answer.
pub fn body(sdp: &str) -> String {
    format!("Content-Type: application/sdp\r\n\r\n{sdp}")
}
