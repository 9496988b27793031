//! Mutated messages.

use sidestep_core::engine::Transport;
use sidestep_core::sip::Message;
use sidestep_core::sip::transaction::Addresses;

use crate::client::{Client, TC, VM, at, registrar, with_sdp};

/// A xorshift generator: the same every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const PIECES: [&[u8]; 10] = [
            b"\r\n",
            b"\"",
            b"<",
            b">",
            b";",
            b",",
            b"\0",
            b"=",
            b"99999999999",
            b"\xff\xfe",
        ];
        let at = self.below(bytes.len());
        match self.below(4) {
            0 => bytes[at] = self.below(256) as u8,
            1 => drop(bytes.drain(at..(at + self.below(20)).min(bytes.len() - 1).max(at))),
            2 => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
            _ => {
                let copy = bytes[at..(at + self.below(40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
}

/// Whatever is sent without right credentials, the binding stays; whatever is
/// sent at all, nothing panics and every reply can be read.
#[test]
fn mutated_messages_change_nothing() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    tc.register(&mut registrar, at(0), &with_sdp("m=audio 20000 RTP/AVP 0"));
    let before = registrar.binding_for_vm(0).cloned();
    let mut stranger = Client::new("tc17");
    stranger.password = "guess".into();
    stranger.call_id = "evil".into();
    stranger.challenges = tc.challenges.clone();
    // A replay of right credentials is no better than wrong ones.
    tc.nc = 0;
    tc.call_id = "replay".into();
    let seeds = [
        stranger.request(&with_sdp("m=audio 666 RTP/AVP 0")),
        stranger.request("Contact: *\r\nExpires: 0\r\n"),
        stranger.request("Contact: <sip:evil@10.71.2.99>;expires=0\r\nRequire: x\r\n"),
        tc.request("Contact: <sip:evil@10.71.2.99>\r\n"),
    ];
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let from = Addresses {
        local: VM.parse().unwrap(),
        remote: TC.parse().unwrap(),
        transport: Transport::Udp,
    };
    let mut understood = 0;
    for round in 0..20_000u64 {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            random.mutate(&mut bytes);
        }
        let Ok(message) = Message::parse(&bytes) else {
            continue;
        };
        understood += 1;
        let outcome = registrar.handle(at(1 + round % 200), from, &message);
        if let Some(reply) = outcome.reply {
            let reply = Message::parse(&reply.payload).expect("a reply that can be read");
            assert!(!matches!(reply.status(), Some(200..=299)), "{reply:?}");
        }
        assert_eq!(registrar.binding_for_vm(0), before.as_ref());
    }
    assert!(understood > 3000, "{understood} were understood");
}
