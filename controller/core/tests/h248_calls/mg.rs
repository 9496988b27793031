//! The controller in the VM and the gateway outside, which say what a test has them
//! say, around the scene's engine.

use std::ops::{Deref, DerefMut};

use sidestep_core::engine::{EngineConfig, Side};
use sidestep_core::h248::model::Transaction;
use sidestep_core::h248::text;
use sidestep_core::sdp::SessionDescription;
use sidestep_core::sip::{Message, Method};

use super::scene::gateway_tc::{Tc, What, local};
use super::scene::{self, Scene, Ua, is_request};

/// The media gateway controller.
pub const MGC: &str = "10.71.1.11:2944";
/// The media gateway.
pub const MG: &str = "10.71.3.31:2944";

pub struct Control(pub Scene);

impl Deref for Control {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.0
    }
}

impl DerefMut for Control {
    fn deref_mut(&mut self) -> &mut Scene {
        &mut self.0
    }
}

/// A call to a thin client that is a gateway itself, after both have been told each
/// other's address.
pub fn called(tc: Tc) -> Control {
    let mut control = Control(tc.registered());
    control.mgc_says(&add(50003, &vm_sdp()));
    let create = tc.expect(&mut control, What::Create);
    tc.replies(&mut control, &create, Some(&local(9000)));
    assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 8"]);
    control.passes_to_mgc(&added(50003, &mg_sdp()));
    let modify = tc.expect(&mut control, What::Modify);
    assert!(modify.names(8000), "{modify:?}");
    tc.replies(&mut control, &modify, None);
    control
}

/// A session description as a gateway writes it.
pub fn sdp(rtp: &str, formats: &str) -> String {
    let rtp = scene::address(rtp);
    let (ip, port) = (rtp.ip(), rtp.port());
    format!(
        "v=0\no=- {port} 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio {port} RTP/AVP {formats}\n"
    )
}

/// The VM's own.
pub fn vm_sdp() -> String {
    sdp("10.71.1.11:7000", "0 8")
}

/// The gateway's.
pub fn mg_sdp() -> String {
    sdp("10.71.3.31:8000", "0")
}

/// A message of the controller's, of these transactions.
pub fn of_mgc(transactions: &str) -> String {
    format!("MEGACO/1 [10.71.1.11]:2944\n{transactions}\n")
}

/// A message of the gateway's.
pub fn of_mg(transactions: &str) -> String {
    format!("MEGACO/1 [10.71.3.31]:2944\n{transactions}\n")
}

/// Step 504, 604: the other party's termination and an RTP termination, whose far
/// end is `remote`.
pub fn add(id: u32, remote: &str) -> String {
    format!(
        "Transaction = {id} {{\n  Context = $ {{\n    Add = A5555 {{ Media {{ LocalControl {{ \
         Mode = SendReceive }} }} }},\n    Add = $ {{ Media {{ Stream = 1 {{\n      LocalControl {{ \
         Mode = SendReceive, nt/jit=40 }}, ; in ms\n      Local {{\nv=0\nc=IN IP4 $\nm=audio $ \
         RTP/AVP 0 8\n      }},\n      Remote {{\n{remote}      }}\n    }} }} }}\n  }}\n}}"
    )
}

/// Step 505, 605.
pub fn added(id: u32, local: &str) -> String {
    format!(
        "Reply = {id} {{\n  Context = 5000 {{ Add = A5555,\n    Add = A5556 {{ Media {{ Stream = 1 \
         {{ Local {{\n{local}    }} }} }} }}\n  }}\n}}"
    )
}

/// A Modify of the RTP termination's far end.
pub fn modify(id: u32, remote: &str) -> String {
    format!(
        "Transaction = {id} {{ Context = 5000 {{ Modify = A5556 {{ Media {{ Stream = 1 {{ Remote \
         {{\n{remote}}} }} }} }} }} }}"
    )
}

pub fn modified(id: u32) -> String {
    format!("Reply = {id} {{ Context = 5000 {{ Modify = A5556 }} }}")
}

pub fn subtract(id: u32) -> String {
    format!(
        "Transaction = {id} {{ Context = 5000 {{ Subtract = A5555 {{ Audit {{ }} }}, Subtract = \
         A5556 {{ Audit {{ Statistics }} }} }} }}"
    )
}

pub fn subtracted(id: u32) -> String {
    format!(
        "Reply = {id} {{ Context = 5000 {{ Subtract = A5555, Subtract = A5556 {{ Statistics {{ \
         rtp/ps=1245 }} }} }} }}"
    )
}

impl Control {
    /// With a thin client that has registered its media (501, 601).
    pub fn registered(config: EngineConfig) -> Self {
        Self(Scene::registered(config, Some(&scene::tc_sdp())))
    }

    pub fn mgc_says(&mut self, transactions: &str) {
        let message = of_mgc(transactions);
        self.put(Side::Vm, MGC, MG, message);
    }

    pub fn mg_says(&mut self, transactions: &str) {
        let message = of_mg(transactions);
        self.put(Side::Net, MG, MGC, message);
    }

    /// The next message that has come to the gateway.
    pub fn at_mg(&mut self) -> String {
        let datagram = self.gateway.pop_front().expect("nothing for the gateway");
        assert_eq!(
            (datagram.src, datagram.dst),
            (scene::address(MGC), scene::address(MG))
        );
        scene::text(&datagram.payload)
    }

    /// The next message that has come to the controller.
    pub fn at_mgc(&mut self) -> String {
        let datagram = self.vm.pop_front().expect("nothing for the controller");
        assert_eq!(
            (datagram.src, datagram.dst),
            (scene::address(MG), scene::address(MGC))
        );
        scene::text(&datagram.payload)
    }

    /// The gateway gets what the controller says, byte for byte.
    pub fn passes_to_mg(&mut self, transactions: &str) {
        self.mgc_says(transactions);
        assert_eq!(self.at_mg(), of_mgc(transactions));
    }

    /// The controller gets what the gateway says, byte for byte.
    pub fn passes_to_mgc(&mut self, transactions: &str) {
        self.mg_says(transactions);
        assert_eq!(self.at_mgc(), of_mg(transactions));
    }

    /// Steps 504 and 505: the Add and its reply; the message that the gateway got.
    pub fn add(&mut self) -> String {
        self.mgc_says(&add(50003, &vm_sdp()));
        let message = self.at_mg();
        self.passes_to_mgc(&added(50003, &mg_sdp()));
        message
    }

    /// The TC takes what it is told: of the gateway, by INVITE (508, 606).
    pub fn tc_answers(&mut self, tc: &mut Ua, answer: &str) -> Message {
        let invite = self.at_tc();
        is_request(&invite, Method::Invite);
        tc.learn(&invite);
        let ok = tc.response(&invite, 200, answer);
        self.tc_sends(ok);
        is_request(&self.at_tc(), Method::Ack);
        invite
    }

    /// To 516, 614: media flows.
    pub fn up(config: EngineConfig) -> (Self, Ua) {
        let mut control = Self::registered(config);
        let mut tc = Ua::tc();
        control.add();
        control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9000", "0 101", 1, ""));
        control.silence();
        (control, tc)
    }
}

/// Where the audio of every Remote in a message is, and its formats.
pub fn remotes(message: &str) -> Vec<String> {
    audio(message, |stream| stream.remote.as_ref())
}

/// Where the audio of every Local in a message is, and its formats.
pub fn locals(message: &str) -> Vec<String> {
    audio(message, |stream| stream.local.as_ref())
}

fn audio<'m>(
    message: &'m str,
    which: for<'s> fn(
        &'s sidestep_core::h248::model::Stream<'m>,
    ) -> Option<&'s sidestep_core::h248::model::Description<'m>>,
) -> Vec<String> {
    let parsed = text::parse(message.as_bytes()).unwrap_or_else(|e| panic!("{e}: {message}"));
    parsed
        .streams()
        .filter_map(|(_, stream)| which(stream))
        .filter_map(|description| {
            let sdp = SessionDescription::parse(description.alternatives().next()?).ok()?;
            let (index, media) = sdp.audio().ok()?;
            Some(format!(
                "{} {}",
                media.rtp,
                sdp.media()[index].formats.join(" ")
            ))
        })
        .collect()
}

/// The ids of a message's requests.
pub fn requests(message: &str) -> Vec<u32> {
    let parsed = text::parse(message.as_bytes()).unwrap_or_else(|e| panic!("{e}: {message}"));
    parsed
        .transactions()
        .iter()
        .filter_map(|transaction| match transaction {
            Transaction::Request(request) => Some(request.id),
            _ => None,
        })
        .collect()
}
