//! A call between three phones that act at random, from a fixed seed, over a
//! network that loses, repeats, reorders and spoils.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sidestep_core::call::Reason;
use sidestep_core::engine::{Datagram, Path, PathChoice, Side, Transport};
use sidestep_core::sip::Method;
use sidestep_core::time::Time;

use super::phone::{Dice, Phone};
use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Engine,
    Vm,
    Gateway,
    Tc,
}

pub struct World {
    pub scene: Scene,
    pub vm: Phone,
    pub gateway: Phone,
    pub tc: Phone,
    pub dice: Dice,
    /// What is under way, by arrival.
    pub wire: BTreeMap<(Time, u64), (Who, Datagram)>,
    pub sent: u64,
    /// In 100: lost, repeated, spoilt.
    pub loss: u64,
    pub copies: u64,
    pub spoils: u64,
    /// Markers in, and how often they came to the engine and left it.
    pub into: HashMap<String, u32>,
    pub out: HashMap<String, u32>,
    /// After every step the engine is made anew from what it has stored.
    pub restarts: bool,
}

impl World {
    pub fn new(seed: u64, registration: Option<&str>, path: PathChoice) -> Self {
        let dice = Dice::new(seed);
        let mut scene = Scene::new(config_with(path));
        if let Some(body) = registration {
            scene.register((!body.is_empty()).then_some(body));
        }
        let phone = |ua, ip, formats, n: u64| Phone::new(ua, ip, formats, Dice::new(seed * 7 + n));
        Self {
            scene,
            vm: phone(Ua::vm(), "10.71.1.11", "96 0 8 101", 1),
            gateway: phone(Ua::gateway(), "10.71.3.31", "0 8 18 101", 2),
            tc: phone(Ua::tc(), "10.71.2.21", "0 8 101", 3),
            dice,
            wire: BTreeMap::new(),
            sent: 0,
            loss: 0,
            copies: 0,
            spoils: 0,
            into: HashMap::new(),
            out: HashMap::new(),
            restarts: false,
        }
    }

    pub fn put(&mut self, to: Who, mut datagram: Datagram) {
        if self.dice.percent(self.loss) {
            return;
        }
        let copies = if self.dice.percent(self.copies) { 2 } else { 1 };
        for _ in 0..copies {
            if to == Who::Engine && self.dice.percent(self.spoils) {
                let at = usize::try_from(self.dice.below(datagram.payload.len() as u64)).unwrap();
                datagram.payload[at] = u8::try_from(self.dice.below(256)).unwrap();
            }
            let delay = Duration::from_millis(1 + self.dice.below(60));
            self.sent += 1;
            self.wire
                .insert((self.scene.now + delay, self.sent), (to, datagram.clone()));
        }
    }

    pub fn say(&mut self, who: Who, messages: Vec<String>) {
        let (side, src, dst) = match who {
            Who::Vm => (Side::Vm, VM, GATEWAY),
            Who::Gateway => (Side::Net, GATEWAY, VM),
            Who::Tc => (Side::Net, TC, REGISTRAR),
            Who::Engine => return,
        };
        for message in messages {
            let datagram = Datagram {
                side,
                transport: Transport::Udp,
                src: address(src),
                dst: address(dst),
                payload: message.into_bytes(),
            };
            self.put(Who::Engine, datagram);
        }
    }

    pub fn phone(&mut self, who: Who) -> &mut Phone {
        match who {
            Who::Vm => &mut self.vm,
            Who::Gateway => &mut self.gateway,
            _ => &mut self.tc,
        }
    }

    /// What the engine has sent goes on the wire.
    pub fn collect(&mut self) {
        self.scene.drain();
        if self.restarts {
            self.scene.restart();
        }
        for (who, side) in [(Who::Vm, 0), (Who::Gateway, 1), (Who::Tc, 2)] {
            let inbox = match side {
                0 => &mut self.scene.vm,
                1 => &mut self.scene.gateway,
                _ => &mut self.scene.tc,
            };
            for datagram in std::mem::take(inbox) {
                if let Some(marker) = marker(&datagram.payload) {
                    *self.out.entry(marker).or_default() += 1;
                }
                self.put(who, datagram);
            }
        }
    }

    /// Everything until `end`, in the order of time.
    pub fn run(&mut self, end: Time) {
        loop {
            let wire = self.wire.keys().next().map(|(at, _)| *at);
            let phones = [&self.vm, &self.gateway, &self.tc].map(|phone| phone.next());
            let next = phones
                .into_iter()
                .flatten()
                .chain(wire)
                .chain(self.scene.engine.poll_timeout())
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.scene.now = self.scene.now.max(next);
            let now = self.scene.now;
            self.scene.engine.handle_timeout(now);
            self.collect();
            for who in [Who::Vm, Who::Gateway, Who::Tc] {
                let messages = self.phone(who).tick(now);
                self.say(who, messages);
            }
            if let Some(entry) = self.wire.first_entry()
                && entry.key().0 <= now
            {
                let (to, datagram) = entry.remove();
                if to == Who::Engine {
                    if let Some(marker) = marker(&datagram.payload) {
                        *self.into.entry(marker).or_default() += 1;
                    }
                    self.scene.engine.handle_datagram(now, datagram);
                    self.collect();
                } else {
                    let messages = self.phone(to).handle(now, &datagram.payload);
                    self.say(to, messages);
                }
            }
        }
        self.scene.now = end;
    }

    pub fn wait(&mut self, ms: u64) {
        self.run(self.scene.now + Duration::from_millis(ms));
    }

    /// One thing that somebody may do in a call.
    pub fn act(&mut self, step: u64) {
        let now = self.scene.now;
        let who = [Who::Vm, Who::Gateway, Who::Tc][usize::try_from(self.dice.below(3)).unwrap()];
        let choice = self.dice.below(60);
        let phone = self.phone(who);
        if !phone.established || phone.over || phone.waits() {
            return;
        }
        let message = match choice {
            0..=29 => phone.invite(now),
            30..=49 if who != Who::Tc => {
                phone.request(now, Method::Info, &format!("X-Marker: {who:?}{step}\r\n"))
            }
            50 => phone.bye(now),
            51 => {
                self.scene
                    .engine
                    .datapath_refused(now, 1, Reason::DatapathRefused);
                return self.collect();
            }
            _ => return,
        };
        self.say(who, vec![message]);
    }

    /// The media of the call that is up meets: each end sends where the other
    /// listens, or to the anchor.
    pub fn media_meets(&self, seed: u64) -> bool {
        let calls = self.scene.engine.calls();
        let Some(call) = calls.first().filter(|call| call.state == "up") else {
            return false;
        };
        let (vm, gateway, tc) = (&self.vm, &self.gateway, &self.tc);
        // Which of them it is, is the call's affair.
        let is_anchor = |at: &str| {
            let port = at.strip_prefix("10.71.1.11:");
            port.is_some_and(|port| port.starts_with("40"))
        };
        let to = |phone: &Phone| phone.peer.clone().unwrap_or_default();
        let meets = match call.path {
            Path::Direct => to(gateway) == tc.own() && to(tc) == gateway.own(),
            Path::Steered => to(gateway) == to(tc) && is_anchor(&to(tc)),
            Path::Vm => to(gateway) == vm.own() && to(vm) == gateway.own(),
            Path::Pending => false,
        };
        assert!(
            meets,
            "seed {seed}: gateway {} sends to {}, TC {} to {}, VM {} to {}: {call:?}",
            gateway.own(),
            to(gateway),
            tc.own(),
            to(tc),
            vm.own(),
            to(vm)
        );
        true
    }

    /// Both hang up over a network that loses nothing, and nothing is left.
    pub fn finish(&mut self, seed: u64) {
        (self.loss, self.copies, self.spoils) = (0, 0, 0);
        for who in [Who::Vm, Who::Gateway] {
            let now = self.scene.now;
            let phone = self.phone(who);
            if phone.established {
                let bye = phone.bye(now);
                self.say(who, vec![bye]);
            }
        }
        self.wait(120_000);
        self.wait(25 * 3600 * 1000);
        assert_eq!(self.scene.engine.calls(), Vec::new(), "seed {seed}");
        assert_eq!(self.scene.engine.anchors_in_use(), 0, "seed {seed}");
        assert!(self.scene.flows.is_empty(), "seed {seed}");
        let expiry = self.scene.engine.clients().first().map(|c| c.expires);
        assert_eq!(self.scene.engine.poll_timeout(), expiry, "seed {seed}");
    }
}

pub fn marker(payload: &[u8]) -> Option<String> {
    let text = text(payload);
    let line = text.lines().find(|line| line.starts_with("X-Marker: "))?;
    text.starts_with("INFO ").then(|| line.to_owned())
}

pub const REGISTRATIONS: [Option<&str>; 3] = [
    None,
    Some(""),
    Some(
        "v=0\r\no=- 1 1 IN IP4 10.71.2.21\r\ns=-\r\nc=IN IP4 10.71.2.21\r\nt=0 0\r\n\
         m=audio 7000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n",
    ),
];

pub fn play(seed: u64, loss: u64, copies: u64, spoils: u64) -> World {
    prepared(seed, loss, copies, spoils, |_| {})
}

/// The same, with something changed before the first step.
pub fn prepared(
    seed: u64,
    loss: u64,
    copies: u64,
    spoils: u64,
    change: impl FnOnce(&mut World),
) -> World {
    let registration = REGISTRATIONS[usize::try_from(seed % 3).unwrap()];
    let path = if seed.is_multiple_of(2) {
        PathChoice::Direct
    } else {
        PathChoice::Steered
    };
    let mut world = World::new(seed, registration, path);
    (world.loss, world.copies, world.spoils) = (loss, copies, spoils);
    world.tc.refuses = if seed.is_multiple_of(5) { 30 } else { 0 };
    world.tc.refuses_later = true;
    (world.vm.late, world.gateway.late) = (seed % 3 * 15, seed % 3 * 15);
    world.gateway.refuses = if seed.is_multiple_of(7) { 30 } else { 0 };
    change(&mut world);
    let now = world.scene.now;
    if seed % 4 < 2 {
        let invite = world.vm.invite(now);
        world.say(Who::Vm, vec![invite]);
    } else {
        let invite = world.gateway.invite(now);
        world.say(Who::Gateway, vec![invite]);
    }
    for step in 0..12 {
        let pause = 50 + world.dice.below(4_000);
        world.wait(pause);
        world.act(step);
    }
    world
}
