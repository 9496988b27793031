//! A thin client that registers.

use std::net::SocketAddr;
use std::time::Duration;

use sidestep_core::engine::{
    ClientView, Event, ExpiresConfig, ThinClientConfig, Transport, VmConfig,
};
use sidestep_core::registrar::{Access, Registrar};
use sidestep_core::sip::digest::{Algorithm, Login, answer_challenge};
use sidestep_core::sip::transaction::Addresses;
use sidestep_core::sip::{Message, Name};
use sidestep_core::time::Time;

pub const VM: &str = "10.71.1.11:5070";
pub const OTHER_VM: &str = "10.71.1.12:5070";
pub const TC: &str = "10.71.2.21:5062";
pub const CONTACT: &str = "<sip:tc17@10.71.2.21:5062>";

pub fn at(s: u64) -> Time {
    Time::from_origin(Duration::from_secs(s))
}

/// `tc17`, `spare` and `stock` (MD5 alone) belong to the first VM, `tc18` to the
/// other.
pub fn registrar() -> Registrar {
    registrar_with_seed([7; 32])
}

pub fn registrar_with_seed(seed: [u8; 32]) -> Registrar {
    let account = |user: &str, vm| ThinClientConfig {
        user: user.into(),
        vm,
        access: Access::Sip {
            password: format!("secret of {user}"),
            digest: None,
        },
    };
    let vm = |name: &str, address: &str| VmConfig {
        name: name.into(),
        address: address.parse().unwrap(),
        address6: None,
    };
    Registrar::new(
        &[
            account("tc17", 0),
            account("tc18", 1),
            account("spare", 0),
            ThinClientConfig {
                access: Access::Sip {
                    password: "secret of stock".into(),
                    digest: Some(Algorithm::Md5),
                },
                ..account("stock", 0)
            },
        ],
        &[vm("desk-17", "10.71.1.11"), vm("desk-18", "10.71.1.12")],
        "sidestep",
        ExpiresConfig {
            min: 60,
            default: 600,
            max: 3600,
        },
        seed,
    )
}

pub struct Client {
    pub user: &'static str,
    pub password: String,
    pub source: SocketAddr,
    pub vm: SocketAddr,
    pub call_id: String,
    pub cseq: u32,
    /// The challenges last received, and how often they were answered.
    pub challenges: Vec<Vec<u8>>,
    pub nc: u32,
}

/// What came back, and what the operator hears.
pub struct Reply {
    pub status: u16,
    pub message: Message,
    pub to: SocketAddr,
    pub events: Vec<Event>,
}

impl Reply {
    pub fn header(&self, name: Name) -> String {
        let value = self.message.header(name).unwrap_or_default();
        String::from_utf8(value.to_vec()).unwrap()
    }

    pub fn challenges(&self) -> Vec<Vec<u8>> {
        let values = self.message.header_values(Name::WWW_AUTHENTICATE);
        values.map(<[u8]>::to_vec).collect()
    }

    pub fn clients(&self) -> Vec<&ClientView> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Client(view) => Some(view),
                _ => None,
            })
            .collect()
    }

    pub fn refusals(&self) -> Vec<(Option<&str>, u16)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::RegistrationRefused { user, status, .. } => Some((user.as_deref(), *status)),
                _ => None,
            })
            .collect()
    }
}

pub fn deliver(registrar: &mut Registrar, now: Time, src: &str, dst: &str, bytes: &[u8]) -> Reply {
    let message = Message::parse(bytes).expect("a message");
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let from = Addresses {
        local: dst,
        remote: src,
        transport: Transport::Udp,
    };
    let outcome = registrar.handle(now, from, &message);
    let reply = outcome.reply.expect("a reply");
    assert_eq!((reply.src, reply.transport), (dst, Transport::Udp));
    let message = Message::parse(&reply.payload).expect("a response");
    Reply {
        status: message.status().expect("a response"),
        message,
        to: reply.dst,
        events: outcome.events,
    }
}

impl Client {
    pub fn new(user: &'static str) -> Self {
        Self {
            user,
            password: format!("secret of {user}"),
            source: TC.parse().unwrap(),
            vm: VM.parse().unwrap(),
            call_id: "c1@tc".into(),
            cseq: 0,
            challenges: Vec::new(),
            nc: 0,
        }
    }

    /// The Authorization line, if there is a challenge to answer.
    fn authorization(&mut self) -> String {
        if self.challenges.is_empty() {
            return String::new();
        }
        self.nc += 1;
        let login = Login {
            user: self.user,
            password: &self.password,
        };
        let uri = format!("sip:{}", self.vm);
        let challenges = self.challenges.iter().map(Vec::as_slice);
        let value = answer_challenge(challenges, login, "REGISTER", &uri, "abc", self.nc);
        format!("Authorization: {}\r\n", value.expect("an answer"))
    }

    /// The next request; `lines` are its other headers, after an empty line a body.
    pub fn request(&mut self, lines: &str) -> Vec<u8> {
        self.cseq += 1;
        let authorization = self.authorization();
        let (lines, body) = lines.split_once("\r\n\r\n").unwrap_or((lines, ""));
        let lines = match lines.trim_end() {
            "" => String::new(),
            lines => format!("{lines}\r\n"),
        };
        format!(
            "REGISTER sip:{vm} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {src};branch=z9hG4bK{id}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{host}>;tag=a\r\nTo: <sip:{user}@{host}>\r\n\
             Call-ID: {id}\r\nCSeq: {cseq} REGISTER\r\n{authorization}{lines}\
             Content-Length: {length}\r\n\r\n{body}",
            vm = self.vm,
            src = self.source,
            id = self.call_id,
            cseq = self.cseq,
            user = self.user,
            host = self.vm.ip(),
            length = body.len(),
        )
        .into_bytes()
    }

    pub fn send(&mut self, registrar: &mut Registrar, now: Time, lines: &str) -> Reply {
        let bytes = self.request(lines);
        let (src, dst) = (self.source.to_string(), self.vm.to_string());
        let reply = deliver(registrar, now, &src, &dst, &bytes);
        if reply.status == 401 {
            self.challenges = reply.challenges();
            self.nc = 0;
        }
        reply
    }

    /// With the challenge in between where it comes.
    pub fn register(&mut self, registrar: &mut Registrar, now: Time, lines: &str) -> Reply {
        let reply = self.send(registrar, now, lines);
        if reply.status != 401 {
            return reply;
        }
        assert_eq!(reply.events, vec![], "a challenge is nothing to tell");
        self.send(registrar, now, lines)
    }
}

pub fn contact(tail: &str) -> String {
    format!("Contact: {CONTACT}{tail}\r\n")
}

pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.71.2.21\r\ns=-\r\nc=IN IP4 10.71.2.21\r\nt=0 0\r\n";

pub fn with_sdp(media: &str) -> String {
    format!("Contact: {CONTACT}\r\nContent-Type: application/sdp\r\n\r\n{SDP}{media}\r\n")
}
