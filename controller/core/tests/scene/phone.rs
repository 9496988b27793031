//! A phone that does by itself what RFC 3261 asks of it: it repeats, answers,
//! acknowledges, gives up. What it decides comes from a fixed seed.

use std::collections::HashMap;
use std::time::Duration;

use sidestep_core::sdp::SessionDescription;
use sidestep_core::sip::{Message, Method};
use sidestep_core::time::Time;

use super::{Ua, sdp, text};

/// A small generator of numbers (xorshift64*).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Something that is sent again until it is answered.
struct Repeat {
    /// Branch and method of a request; CSeq number of a 2xx to an INVITE.
    what: (String, Method),
    bytes: String,
    next: Time,
    interval: Duration,
    until: Time,
}

pub struct Phone {
    pub ua: Ua,
    /// Where its media is.
    ip: &'static str,
    port: u16,
    /// Port that its re-INVITE under way offers.
    offered: u16,
    /// Where it sends its media to.
    pub peer: Option<String>,
    formats: &'static str,
    version: u32,
    pub dice: Dice,
    /// In 100 INVITEs, so many are refused,
    pub refuses: u64,
    /// re-INVITEs too.
    pub refuses_later: bool,
    pub established: bool,
    pub over: bool,
    repeats: Vec<Repeat>,
    answered: HashMap<(String, Method), String>,
    acks: HashMap<(u32, String), String>,
    own_invite: bool,
    /// In 100 INVITEs, so many have no offer.
    pub late: u64,
    own_offer: bool,
    /// Highest CSeq number of the other side (RFC 3261 §12.2.2).
    heard: u32,
}

impl Phone {
    pub fn new(ua: Ua, ip: &'static str, formats: &'static str, dice: Dice) -> Self {
        Self {
            ua,
            ip,
            port: 7000,
            offered: 7000,
            peer: None,
            formats,
            version: 0,
            dice,
            refuses: 0,
            refuses_later: false,
            established: false,
            over: false,
            repeats: Vec::new(),
            answered: HashMap::new(),
            acks: HashMap::new(),
            own_invite: false,
            late: 0,
            own_offer: true,
            heard: 0,
        }
    }

    /// Whether an INVITE of its own, or its answer to one, is under way
    /// (RFC 3261 §14.1).
    pub fn waits(&self) -> bool {
        let acknowledged = |r: &Repeat| r.what.1 != Method::Ack;
        self.own_invite || !self.repeats.iter().all(acknowledged)
    }

    /// Where its media is to be sent.
    pub fn own(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    fn describe(&mut self, port: u16, formats: &str) -> String {
        self.version += 1;
        let lines = ["", "", "", "a=sendonly\r\n", "a=inactive\r\n"];
        let line = lines[usize::try_from(self.dice.below(5)).unwrap()];
        sdp(&format!("{}:{port}", self.ip), formats, self.version, line)
    }

    fn repeat(&mut self, now: Time, what: (String, Method), bytes: String) -> String {
        let interval = Duration::from_millis(500);
        self.repeats.push(Repeat {
            what,
            bytes: bytes.clone(),
            next: now + interval,
            interval,
            until: now + interval * 64,
        });
        bytes
    }

    /// An INVITE or re-INVITE, perhaps with other media than before.
    pub fn invite(&mut self, now: Time) -> String {
        self.offered = if self.dice.percent(50) {
            self.port + 10
        } else {
            self.port
        };
        self.own_offer = !self.dice.percent(self.late);
        let body = if self.own_offer {
            self.describe(self.offered, self.formats)
        } else {
            self.offered = self.port;
            String::new()
        };
        let bytes = self.ua.request("INVITE", &body);
        self.own_invite = true;
        self.repeat(now, (self.ua.branch.clone(), Method::Invite), bytes)
    }

    pub fn request(&mut self, now: Time, method: Method, extra: &str) -> String {
        let bytes = self.ua.request_with(method.as_str(), extra, "");
        self.repeat(now, (self.ua.branch.clone(), method), bytes)
    }

    pub fn bye(&mut self, now: Time) -> String {
        self.over = true;
        self.request(now, Method::Bye, "")
    }

    /// When it has something to repeat.
    pub fn next(&self) -> Option<Time> {
        self.repeats.iter().map(|repeat| repeat.next).min()
    }

    pub fn tick(&mut self, now: Time) -> Vec<String> {
        let mut out = Vec::new();
        let mut given_up = Vec::new();
        self.repeats.retain_mut(|repeat| {
            if repeat.next > now {
                return true;
            }
            repeat.interval = (repeat.interval * 2).min(Duration::from_secs(4));
            repeat.next = now + repeat.interval;
            let goes_on = now < repeat.until;
            if goes_on {
                out.push(repeat.bytes.clone());
            } else {
                given_up.push(repeat.what.1.clone());
            }
            goes_on
        });
        for method in given_up {
            match method {
                // A 2xx that nobody acknowledged (RFC 3261 §13.3.1.4).
                Method::Ack if !self.over => out.push(self.bye(now)),
                Method::Invite => {
                    self.own_invite = false;
                    self.over |= !self.established;
                }
                _ => {}
            }
        }
        out
    }

    pub fn handle(&mut self, now: Time, bytes: &[u8]) -> Vec<String> {
        let Ok(message) = Message::parse(bytes) else {
            return Vec::new();
        };
        if message.is_request() {
            self.request_came(now, &message)
        } else {
            self.response_came(&message)
        }
    }

    fn request_came(&mut self, now: Time, request: &Message) -> Vec<String> {
        let method = request.method().clone();
        let branch = text(request.top_via().branch.unwrap_or_default());
        let number = request.cseq().0;
        if method == Method::Ack {
            self.repeats
                .retain(|r| r.what != (number.to_string(), Method::Ack));
            // The answer to an offer of its own in the 2xx.
            if let Some(Ok(answer)) = request.sdp()
                && let Ok((_, media)) = answer.audio()
            {
                self.peer = Some(media.rtp.to_string());
            }
            return Vec::new();
        }
        if let Some(response) = self.answered.get(&(branch.clone(), method.clone())) {
            return vec![response.clone()];
        }
        let newest = self.heard.max(number);
        let mut out = Vec::new();
        let response = match method {
            Method::Invite if self.over && request.to_tag().is_some() => {
                self.ua.response(request, 481, "")
            }
            _ if number < self.heard => self.ua.response(request, 500, ""),
            Method::Invite if self.waits() => self.ua.response(request, 491, ""),
            Method::Invite
                if (self.refuses_later || !self.established) && self.dice.percent(self.refuses) =>
            {
                let status = [486, 488, 603][usize::try_from(self.dice.below(3)).unwrap()];
                self.ua.response(request, status, "")
            }
            Method::Invite => {
                self.ua.learn(request);
                if self.dice.percent(40) {
                    out.push(self.ua.response(request, 180, ""));
                }
                match self.answer(request) {
                    Some(body) => {
                        if !self.established && self.dice.percent(30) {
                            out.push(self.ua.response(request, 183, &body));
                        }
                        self.established = true;
                        let ok = self.ua.response(request, 200, &body);
                        self.repeat(now, (number.to_string(), Method::Ack), ok)
                    }
                    None => self.ua.response(request, 488, ""),
                }
            }
            Method::Bye => {
                self.over = true;
                self.ua.response(request, 200, "")
            }
            _ => self.ua.response(request, 200, ""),
        };
        self.heard = newest;
        self.answered.insert((branch, method), response.clone());
        out.push(response);
        out
    }

    /// An answer with one codec of the offer; an offer, where there is none.
    fn answer(&mut self, request: &Message) -> Option<String> {
        let Some(Ok(offer)) = request.sdp() else {
            return Some(self.describe(self.port, self.formats));
        };
        self.answer_to(&offer)
    }

    fn answer_to(&mut self, offer: &SessionDescription) -> Option<String> {
        let (index, media) = offer.audio().ok()?;
        let offered = &offer.media()[index].formats;
        let own = self.formats.split(' ');
        let format = own.clone().find(|f| offered.iter().any(|o| o == f))?;
        let format = format.to_owned();
        self.peer = Some(media.rtp.to_string());
        Some(self.describe(self.port, &format))
    }

    fn response_came(&mut self, response: &Message) -> Vec<String> {
        let status = response.status().unwrap_or(0);
        let method = response.method().clone();
        let branch = text(response.top_via().branch.unwrap_or_default());
        let key = (branch, method.clone());
        let waited = self.repeats.iter().any(|r| r.what == key);
        if status >= 200 || method == Method::Invite {
            self.repeats.retain(|r| r.what != key);
        }
        if method != Method::Invite || status < 200 {
            return Vec::new();
        }
        let number = response.cseq().0;
        let tag = text(response.to_tag().unwrap_or_default());
        if let Some(ack) = self.acks.get(&(number, tag.clone())) {
            return vec![ack.clone()];
        }
        let ack = if status < 300 {
            self.own_invite = false;
            self.port = self.offered;
            if let Some(Ok(answer)) = response.sdp()
                && let Ok((_, media)) = answer.audio()
            {
                self.peer = Some(media.rtp.to_string());
            }
            if !self.over {
                self.established = true;
            }
            self.ua.learn(response);
            let mut ua = self.ua.clone();
            ua.cseq = number;
            ua.branch = format!("{}ack{number}", self.ua.branch);
            let answer = match (self.own_offer, response.sdp()) {
                (false, Some(Ok(offer))) => self.answer_to(&offer).unwrap_or_default(),
                _ => String::new(),
            };
            ua.request_with("ACK", "", &answer)
        } else {
            if waited || self.own_invite {
                self.own_invite = false;
                self.over |= !self.established;
            }
            let mut ua = self.ua.clone();
            ua.cseq = number;
            ua.branch = key.0;
            ua.ack_refusal(response)
        };
        self.acks.insert((number, tag), ack.clone());
        vec![ack]
    }
}
