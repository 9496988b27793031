//! The gateway against the real controller: Sidestep's own agent for thin clients,
//! in all three forms of its protocols.

use super::*;
use crate::agent::Agent;

use sidestep_core::engine::{
    ConnectionId, Datagram, Network, Protocol as Wire, Side, ThinClientConfig, Transport, VmConfig,
};
use sidestep_core::registrar::{Access, Binding};
use sidestep_core::tc::{CallProgress, LegId, TcAgent, TcEvent, TcOutput};

const VM: &str = "10.71.1.11:5070";
const TC: &str = "10.71.2.21:5062";
const LEG: LegId = LegId(1);
const GATEWAY: &str = "v=0\r\no=- 1 1 IN IP4 10.71.3.31\r\ns=-\r\nc=IN IP4 10.71.3.31\r\n\
                       t=0 0\r\nm=audio 8000 RTP/AVP 8\r\n";

struct World {
    controller: TcAgent,
    client: Agent,
    now: Time,
    bound: Option<Binding>,
    told: VecDeque<TcEvent>,
    events: Vec<Event>,
    transport: Transport,
}

const FORMS: [&str; 3] = [
    "protocol: h248\nmid: <tc17>",
    "protocol: h248\nmid: <tc17>\nencoding: binary",
    "protocol: mgcp\nendpoint: aaln/1@tc17",
];

impl World {
    fn new(form: &str, more: &str) -> Self {
        let from = Network {
            address: [10, 71, 2, 21].into(),
            prefix: 32,
        };
        let access = match form.contains("mgcp") {
            true => Access::Mgcp {
                endpoint: "aaln/1@tc17".into(),
                from,
            },
            false => Access::H248 {
                mid: "<tc17>".into(),
                termination: None,
                from,
            },
        };
        let mut controller = TcAgent::new([7; 32], 5070, Duration::from_secs(4));
        let vm = VmConfig {
            name: "desk-17".into(),
            address: [10, 71, 1, 11].into(),
            address6: None,
        };
        let account = ThinClientConfig {
            user: "tc17".into(),
            vm: 0,
            access,
        };
        controller.admit(&[account], &[vm]);
        let config = crate::config::parse(&format!(
            "server: {VM}\nuser: tc17\nbind: {TC}\n{form}\n\
             media: {{address: 10.71.2.21, port: 20000}}\n{more}\n"
        ))
        .expect("a valid configuration");
        let mut world = Self {
            controller,
            client: Agent::new(config, Time::ZERO),
            now: Time::ZERO,
            bound: None,
            told: VecDeque::new(),
            events: Vec::new(),
            transport: Transport::Udp,
        };
        world.wait(0);
        world
    }

    /// Carries everything to where it goes until nothing moves.
    fn exchange(&mut self) {
        loop {
            let mut moved = false;
            while let Some((to, payload)) = self.client.poll_output() {
                moved = true;
                let datagram = Datagram {
                    side: Side::Net,
                    transport: self.transport,
                    src: TC.parse().expect("an address"),
                    dst: to,
                    payload,
                };
                let wire = Wire::of_content(&datagram.payload);
                self.controller
                    .handle_gateway(self.now, wire, &datagram)
                    .expect("the controller understands it");
            }
            while let Some(output) = self.controller.poll_output() {
                moved = true;
                match output {
                    TcOutput::Send(datagram) => {
                        assert_eq!(datagram.transport, self.transport);
                        let from = datagram.src;
                        self.client
                            .handle_datagram(self.now, from, &datagram.payload);
                    }
                    TcOutput::Event(_, event) => self.told.push_back(event),
                    TcOutput::Bound(binding) => self.bound = Some(binding),
                    TcOutput::Unbound { .. } => self.bound = None,
                    TcOutput::Note(note) => panic!("{note:?}"),
                }
            }
            self.events
                .extend(std::iter::from_fn(|| self.client.poll_event()));
            if !moved {
                return;
            }
        }
    }

    /// A connection is there.
    fn connect(&mut self, connection: ConnectionId) {
        self.transport = Transport::Tcp(connection);
        self.client.connected(self.now);
        self.exchange();
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            self.client.handle_timeout(self.now);
            self.controller.handle_timeout(self.now);
            self.exchange();
            let next = [self.client.poll_timeout(), self.controller.poll_timeout()];
            match next.into_iter().flatten().min() {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
        }
        self.now = end;
    }

    fn invite(&mut self, offer: Option<&str>) {
        let binding = self.bound.clone().expect("registered");
        let offer = offer.map(|offer| offer.as_bytes().to_vec());
        self.controller.invite(self.now, LEG, &binding, offer);
        self.exchange();
    }

    /// The description that the controller was told next.
    fn answered(&mut self) -> String {
        match self.told.pop_front() {
            Some(TcEvent::Answered { sdp } | TcEvent::Reinvite { sdp: Some(sdp) }) => {
                String::from_utf8(sdp).expect("text")
            }
            other => panic!("{other:?}"),
        }
    }

    /// The last that was heard of the other end: where, and whether to send.
    fn peer(&self) -> Option<(SocketAddr, SocketAddr, bool)> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Media { local, peer } => Some((*local, peer.rtp, peer.send)),
            _ => None,
        })
    }

    fn ended(&self) -> Option<&'static str> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { reason } => Some(*reason),
            _ => None,
        })
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 71, 2, 21], port))
}

fn gateway() -> SocketAddr {
    SocketAddr::from(([10, 71, 3, 31], 8_000))
}

#[test]
fn it_registers_tells_its_codecs_and_leaves() {
    for form in FORMS {
        let mut world = World::new(form, "");
        let bound = world.bound.clone().expect("registered");
        let codecs: Vec<String> = bound.codecs().iter().map(ToString::to_string).collect();
        assert_eq!(codecs, ["PCMU/8000", "PCMA/8000"], "{form}");
        // It is asked whether it is there, and is.
        world.wait(200_000);
        assert!(world.bound.is_some());
        let stopped = world.now;
        world.client.stop(stopped);
        world.exchange();
        assert!(world.bound.is_none(), "{form}");
        assert!(world.client.is_stopped(stopped));
    }
}

/// Fig. 5.
#[test]
fn it_describes_itself_first_and_is_told_the_gateway_then() {
    for form in FORMS {
        let mut world = World::new(form, "");
        world.invite(None);
        let offer = world.answered();
        assert!(
            offer.contains("m=audio 20000 RTP/AVP 0 8"),
            "{form}: {offer}"
        );
        assert_eq!(world.peer(), None);
        let now = world.now;
        world.controller.progress(now, LEG, CallProgress::Ringback);
        world.exchange();
        world.controller.progress(now, LEG, CallProgress::Quiet);
        world.controller.ack_with(now, LEG, Some(GATEWAY.into()));
        world.exchange();
        assert_eq!(world.peer(), Some((at(20_000), gateway(), true)), "{form}");
        // Of its codecs one is left: nothing that the gateway has to hear of.
        world.told.clear();
        // On hold.
        let hold = format!("{GATEWAY}a=sendonly\r\n");
        world.controller.reinvite(now, LEG, hold.into());
        world.exchange();
        assert!(world.answered().contains("a=recvonly"), "{form}");
        assert_eq!(world.peer(), Some((at(20_000), gateway(), false)), "{form}");
        world.controller.bye(now, LEG);
        world.exchange();
        assert_eq!(world.ended(), Some("bye"), "{form}");
        // And again: nothing of the first call is in the way.
        world.invite(Some(GATEWAY));
        assert!(
            world.answered().contains("m=audio 20000 RTP/AVP 8"),
            "{form}"
        );
    }
}

/// Step 509 with changed information.
#[test]
fn it_moves_when_it_is_told_the_gateway() {
    for form in FORMS {
        let mut world = World::new(form, "answer_media: {port: 20100}");
        world.invite(None);
        assert!(world.answered().contains("m=audio 20000 "), "{form}");
        let now = world.now;
        world.controller.ack_with(now, LEG, Some(GATEWAY.into()));
        world.exchange();
        assert!(world.answered().contains("m=audio 20100 "), "{form}");
        assert_eq!(world.peer(), Some((at(20_100), gateway(), true)));
    }
}

/// Fig. 6: the bell rings, is answered, and the user hangs up.
#[test]
fn its_user_picks_up_and_hangs_up() {
    for form in FORMS {
        let mut world = World::new(form, "answer: {delay_ms: 300}\nhangup_after_ms: 2000");
        world.invite(Some(GATEWAY));
        let answer = world.answered();
        assert!(
            answer.contains("m=audio 20000 RTP/AVP 8"),
            "{form}: {answer}"
        );
        assert_eq!(world.peer(), Some((at(20_000), gateway(), true)));
        let now = world.now;
        world.controller.progress(now, LEG, CallProgress::Alerting);
        world.wait(1_000);
        assert_eq!(world.told, [], "{form}");
        world.wait(1_500);
        assert_eq!(world.told.pop_front(), Some(TcEvent::Bye), "{form}");
        assert_eq!(world.ended(), Some("hangup"), "{form}");
    }
}

#[test]
fn it_refuses_and_it_is_silent_where_it_is_told_to() {
    for form in FORMS {
        let g729 = GATEWAY.replace("RTP/AVP 8", "RTP/AVP 18");
        for (more, offer, event) in [
            (
                "answer: {refuse: 486}",
                GATEWAY,
                TcEvent::Refused { status: 500 },
            ),
            ("", g729.as_str(), TcEvent::Refused { status: 488 }),
            ("answer: silent", GATEWAY, TcEvent::NoAnswer),
        ] {
            let mut world = World::new(form, more);
            world.invite(Some(offer));
            world.wait(5_000);
            assert_eq!(world.told.pop_front(), Some(event), "{form}, {more}");
        }
    }
}

/// By TCP: the connection goes in a call, which goes on; the controller has given it
/// up, and has it let go when it is back.
#[test]
fn it_connects_anew_and_its_call_goes_on_meanwhile() {
    let connections = [ConnectionId(1), ConnectionId(2)];
    for form in FORMS.iter().filter(|form| form.contains("h248")) {
        let mut world = World::new(form, "transport: tcp");
        assert!(world.bound.is_none(), "{form}: there is no connection yet");
        world.connect(connections[0]);
        assert!(world.bound.is_some(), "{form}");
        world.invite(Some(GATEWAY));
        world.answered();
        let gone = world.now;
        world.controller.closed(gone, connections[0]);
        world.client.disconnected(gone);
        world.exchange();
        assert_eq!(world.told.pop_front(), Some(TcEvent::Lost), "{form}");
        assert!(world.bound.is_none(), "{form}");
        world.wait(5_000);
        assert_eq!(world.ended(), None, "{form}");
        world.connect(connections[1]);
        assert!(world.bound.is_some(), "{form}");
        assert_eq!(world.ended(), Some("bye"), "{form}");
        world.invite(Some(GATEWAY));
        world.answered();
    }
}

/// By TCP or TLS (Annex D.2): whatever is not answered is not asked again.
#[test]
fn by_a_connection_nothing_is_sent_twice() {
    for transport in ["transport: tcp", "transport: tls\ntrust: /etc/site.pem"] {
        for form in FORMS.iter().filter(|form| form.contains("h248")) {
            let mut world = World::new(form, transport);
            world.client.connected(world.now);
            assert!(world.client.poll_output().is_some(), "{form}, {transport}");
            assert!(world.client.poll_output().is_none(), "{form}, {transport}");
            let later = world.now + Duration::from_secs(5);
            world.client.handle_timeout(later);
            assert!(world.client.poll_output().is_none(), "{form}, {transport}");
        }
    }
}
