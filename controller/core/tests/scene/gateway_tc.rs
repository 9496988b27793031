//! A thin client that is a gateway, of H.248 or MGCP: what it is asked, and what it says.

use sidestep_core::engine::{EngineConfig, ThinClientConfig};
use sidestep_core::h248::{self, Encoding};
use sidestep_core::mgcp::{Packet, StartLine, Verb};
use sidestep_core::registrar::Access;

use super::{REGISTRAR, Scene, TC, address, config, text};

/// Where the thin client's media is, as gateways say it.
pub fn local(port: u16) -> String {
    format!("v=0\r\nc=IN IP4 10.71.2.21\r\nm=audio {port} RTP/AVP 0 8\r\n")
}

/// What a thin client is asked.
#[derive(Debug, PartialEq)]
pub enum What {
    Create,
    Modify,
    Delete,
}

#[derive(Debug)]
pub struct Asked {
    pub what: What,
    pub id: u32,
    /// Whole, as text.
    pub text: String,
}

impl Asked {
    /// Whether it names the gateway's media port.
    pub fn names(&self, port: u16) -> bool {
        self.text.contains(&format!("m=audio {port} "))
    }
}

/// A thin client that is a gateway.
#[derive(Debug, Clone, Copy)]
pub enum Tc {
    H248,
    Mgcp,
}

pub const BOTH: [Tc; 2] = [Tc::H248, Tc::Mgcp];

impl Tc {
    pub fn config(self) -> EngineConfig {
        let from = "10.71.2.0/24";
        let (address, prefix) = from.split_once('/').unwrap();
        let from = sidestep_core::engine::Network {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        };
        let access = match self {
            Self::H248 => Access::H248 {
                mid: "<tc17>".into(),
                termination: None,
                from,
            },
            Self::Mgcp => Access::Mgcp {
                endpoint: "aaln/1@tc17".into(),
                from,
            },
        };
        EngineConfig {
            thin_clients: vec![ThinClientConfig {
                user: "tc17".into(),
                vm: 0,
                access,
            }],
            ..config()
        }
    }

    /// 501, 601.
    pub fn registered(self) -> Scene {
        let mut scene = Scene::new(self.config());
        match self {
            Self::H248 => {
                scene.tc_sends("!/1 <tc17> T=1{C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=1}}}}");
                assert!(text(&raw(&mut scene)).contains("SC=ROOT"));
                for answer in [
                    "AV=tel/1{}".to_owned(),
                    format!(
                        "AC=tel/1{{M{{ST=1{{L{{{}}}}}}}}}",
                        local(0)
                            .replace("0 RTP", "$ RTP")
                            .replace("10.71.2.21", "$")
                    ),
                ] {
                    let id = h248_id(&raw(&mut scene));
                    scene.tc_sends(format!("!/1 <tc17> P={id}{{C=-{{{answer}}}}}"));
                }
            }
            Self::Mgcp => {
                scene.tc_sends("RSIP 1 aaln/1@tc17 MGCP 1.0\r\nRM: restart\r\n");
                assert_eq!(text(&raw(&mut scene)), "200 1 OK\r\n");
                let audit = Packet::parse(&raw(&mut scene)).unwrap();
                let id = audit.messages().next().unwrap().transaction();
                scene.tc_sends(format!("200 {id} OK\r\nA: a:PCMU;PCMA, m:sendrecv\r\n"));
            }
        }
        let clients = scene.engine.clients();
        let codecs: Vec<String> = clients[0].codecs.iter().map(ToString::to_string).collect();
        assert_eq!((clients.len(), clients[0].protocol), (1, self.name()));
        assert_eq!(codecs, ["PCMU/8000", "PCMA/8000"]);
        scene.silence();
        scene.events.clear();
        scene
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::H248 => "h248",
            Self::Mgcp => "mgcp",
        }
    }

    /// The next thing that it is asked.
    #[track_caller]
    pub fn asked(self, scene: &mut Scene) -> Asked {
        let bytes = raw(scene);
        match self {
            Self::H248 => {
                let message = h248::parse(&bytes).expect("H.248");
                let text = text(&h248::write(&message, Encoding::Compact));
                let what = match () {
                    () if text.contains("A=tel/1") => What::Create,
                    () if text.contains("S=tel/1{") => What::Delete,
                    () => What::Modify,
                };
                let id = h248_id(&bytes);
                Asked { what, id, text }
            }
            Self::Mgcp => {
                let packet = Packet::parse(&bytes).expect("MGCP");
                let message = packet.messages().next().unwrap();
                let StartLine::Command { verb, .. } = message.start() else {
                    panic!("a command, not {}", text(&bytes));
                };
                let what = match verb {
                    Verb::CreateConnection => What::Create,
                    Verb::DeleteConnection => What::Delete,
                    _ => What::Modify,
                };
                let id = message.transaction();
                Asked {
                    what,
                    id,
                    text: text(&bytes),
                }
            }
        }
    }

    #[track_caller]
    pub fn expect(self, scene: &mut Scene, what: What) -> Asked {
        let asked = self.asked(scene);
        assert_eq!(asked.what, what, "{asked:?}");
        asked
    }

    /// It has done what it was asked; what it says of itself, where it does.
    pub fn replies(self, scene: &mut Scene, asked: &Asked, sdp: Option<&str>) {
        let id = asked.id;
        let reply = match (self, &asked.what) {
            (Self::H248, What::Create) => {
                let sdp = sdp.unwrap_or_default();
                format!("!/1 <tc17> P={id}{{C=9{{A=tel/1,A=rtp/1{{M{{ST=1{{L{{{sdp}}}}}}}}}}}}}")
            }
            (Self::H248, What::Modify) => match sdp {
                Some(sdp) => {
                    format!("!/1 <tc17> P={id}{{C=9{{MF=rtp/1{{M{{ST=1{{L{{{sdp}}}}}}}}}}}}}")
                }
                None => format!("!/1 <tc17> P={id}{{C=9{{MF=rtp/1}}}}"),
            },
            (Self::H248, What::Delete) => {
                format!("!/1 <tc17> P={id}{{C=9{{S=tel/1,S=rtp/1}}}}")
            }
            (Self::Mgcp, What::Delete) => format!("250 {id} Deleted\r\n"),
            (Self::Mgcp, _) => {
                let sdp = sdp.map(|sdp| format!("\r\n{sdp}")).unwrap_or_default();
                format!("200 {id} OK\r\nI: 1A\r\n{sdp}")
            }
        };
        scene.tc_sends(reply);
    }

    /// It answers an audit.
    pub fn is_there(self, scene: &mut Scene, asked: &Asked) {
        let id = asked.id;
        scene.tc_sends(match self {
            Self::H248 => format!("!/1 <tc17> P={id}{{C=-{{AV=ROOT}}}}"),
            Self::Mgcp => format!("200 {id} OK\r\n"),
        });
    }

    /// It begins anew; its questions wait.
    pub fn registers_again(self, scene: &mut Scene) {
        scene.tc_sends(match self {
            Self::H248 => "!/1 <tc17> T=77{C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=1}}}}",
            Self::Mgcp => "RSIP 77 aaln/1@tc17 MGCP 1.0\r\nRM: restart\r\n",
        });
    }

    /// It has no codec for that.
    pub fn refuses(self, scene: &mut Scene, asked: &Asked) {
        let id = asked.id;
        scene.tc_sends(match self {
            Self::H248 => format!("!/1 <tc17> P={id}{{C=${{ER=515{{}}}}}}"),
            Self::Mgcp => format!("534 {id} Codec negotiation failed\r\n"),
        });
    }

    pub fn hangs_up(self, scene: &mut Scene) {
        match self {
            Self::H248 => scene.tc_sends("!/1 <tc17> T=50{C=9{N=tel/1{OE=1{al/on}}}}"),
            Self::Mgcp => scene.tc_sends("NTFY 50 aaln/1@tc17 MGCP 1.0\r\nX: 1\r\nO: L/hu\r\n"),
        }
        let reply = text(&raw(scene));
        assert!(reply.contains("50"), "{reply}");
    }

    /// What it is asked has this signal, or none.
    pub fn signal(self, asked: &Asked) -> Option<&'static str> {
        let signals = [
            ("ringback", "cg/rt", "S: G/rt"),
            ("ringing", "al/ri", "S: L/rg"),
            ("quiet", "{SG}", "S: \r\n"),
        ];
        let found = signals.into_iter().find(|(_, h248, mgcp)| match self {
            Self::H248 => asked.text.contains(h248),
            Self::Mgcp => asked.text.contains(mgcp),
        });
        found.map(|(name, ..)| name)
    }
}

/// The bytes of what has come to the thin client.
pub fn raw(scene: &mut Scene) -> Vec<u8> {
    let datagram = scene.tc.pop_front().expect("something for the thin client");
    assert_eq!(
        (datagram.src, datagram.dst),
        (address(REGISTRAR), address(TC))
    );
    datagram.payload
}

fn h248_id(bytes: &[u8]) -> u32 {
    let message = h248::parse(bytes).expect("H.248");
    match message.transactions() {
        [h248::model::Transaction::Request(request)] => request.id,
        other => panic!("{other:?}"),
    }
}
