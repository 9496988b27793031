//! Mutated messages of a phone.

use sidestep_core::sip::{Message, Method, Name};
use sidestep_core::tc::{TcEvent, TcOutput};

use crate::phone::{ANSWER, LEG, OFFER, Phone, body};

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
        const PIECES: [&[u8]; 8] = [
            b"\r\n",
            b"\"",
            b"<",
            b";",
            b",",
            b"\0",
            b"4294967295",
            b"\xff",
        ];
        let at = self.below(bytes.len());
        match self.below(3) {
            0 => bytes[at] = self.below(256) as u8,
            1 => drop(bytes.drain(at..(at + self.below(20)).min(bytes.len() - 1).max(at))),
            _ => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
        }
    }
}

/// Whatever comes, nothing panics, and what goes out can be read.
#[test]
fn mutated_messages_do_no_harm() {
    let mut random = Random(0x1d0_5eed);
    let mut told = 0;
    for round in 0..400 {
        let mut phone = Phone::up();
        phone.agent.reinvite(phone.now, LEG, OFFER.into());
        let ours = phone.got_request(Method::Invite);
        let seeds = [
            phone.answer_with(&ours, 200).sdp(ANSWER).build(),
            phone.answer_with(&ours, 491).build(),
            phone.answer_with(&ours, 180).build(),
            phone
                .answer_with(&ours, 200)
                .header(Name::RECORD_ROUTE, "<sip:10.9.9.1;lr>")
                .build(),
            phone.request("INVITE", &body(OFFER)),
            phone.request("UPDATE", &body(OFFER)),
            phone.request("INFO", ""),
            phone.request("CANCEL", ""),
            phone.request("ACK", &body(ANSWER)),
            phone.request("BYE", ""),
        ];
        for _ in 0..50 {
            let mut bytes = seeds[random.below(seeds.len())].clone();
            for _ in 0..=random.below(3) {
                random.mutate(&mut bytes);
            }
            let ends = phone.ends();
            match Message::parse(&bytes) {
                Ok(message) => {
                    phone.agent.handle_sip(phone.now, ends, &message);
                }
                Err(_) => phone.agent.handle_unparsed(ends, &bytes),
            }
            match random.below(6) {
                0 => phone.agent.ack_with(phone.now, LEG, None),
                1 => phone
                    .agent
                    .answer_reinvite(phone.now, LEG, Ok(ANSWER.into())),
                2 => phone.agent.reinvite(phone.now, LEG, OFFER.into()),
                _ => {}
            }
            phone.now = phone.now + std::time::Duration::from_millis(random.below(700) as u64);
            phone.agent.handle_timeout(phone.now);
            while let Some(output) = phone.agent.poll_output() {
                match output {
                    TcOutput::Bound(_) | TcOutput::Unbound { .. } | TcOutput::Note(_) => {}
                    TcOutput::Event(_, event) => {
                        told += 1;
                        assert_ne!(event, TcEvent::NoAnswer);
                    }
                    // A 400 repeats what it answers, faults and all.
                    TcOutput::Send(datagram) if datagram.payload.starts_with(b"SIP/2.0 400") => {}
                    TcOutput::Send(datagram) => {
                        let read = Message::parse(&datagram.payload);
                        assert!(read.is_ok(), "round {round}: {read:?}");
                    }
                }
            }
        }
        phone.agent.bye(phone.now, LEG);
        while let Some(next) = phone.agent.poll_timeout() {
            phone.agent.handle_timeout(next);
        }
    }
    assert!(told > 400, "{told} events");
}
