//! Which protocol a datagram between a VM and a gateway is of: its ports say so.

use serde::Serialize;

use super::{Datagram, EngineConfig};
use crate::h248::{Encoding, TpktFramer};
use crate::sip::SipFramer;
use crate::stream::{Framer, Front, Limits, Unframed};

/// A protocol of media control, toward gateways or thin clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// SIP (RFC 3261).
    Sip,
    /// H.248.1, text or binary.
    H248,
    /// MGCP 1.0 (RFC 3435).
    Mgcp,
}

impl Protocol {
    /// Its name in lists, logs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::H248 => "h248",
            Self::Mgcp => "mgcp",
        }
    }

    /// The protocol of a datagram between a VM and a gateway: by its destination's
    /// port, else by its source's. What has neither came through the door for a
    /// port that an earlier configuration had; it is looked at as SIP.
    pub fn of(config: &EngineConfig, datagram: &Datagram) -> Self {
        Self::between(config, datagram.src.port(), datagram.dst.port()).unwrap_or(Self::Sip)
    }

    /// The protocol between two ports: of the destination, else of the source.
    pub fn between(config: &EngineConfig, src: u16, dst: u16) -> Option<Self> {
        Self::at(config, dst).or_else(|| Self::at(config, src))
    }

    /// What finds its messages in the stream of a connection. `None`: they cannot
    /// be found there, and the stream goes on as it is.
    pub fn framer(self, limits: Limits) -> Option<Box<dyn Framer>> {
        match self {
            Self::Sip => Some(Box::new(SipFramer::new(limits))),
            Self::H248 => Some(Box::new(TpktFramer::new(limits))),
            Self::Mgcp => None,
        }
    }

    /// The protocol of a message at the registrar's port, where thin clients of all
    /// of them come: the message itself says so. What is none of the others is
    /// looked at as SIP.
    pub fn of_content(bytes: &[u8]) -> Self {
        let line = bytes.trim_ascii_start();
        let line = line.split(|b| matches!(b, b'\r' | b'\n')).next();
        let mut words = line.unwrap_or_default().split(|&b| b == b' ' || b == b'\t');
        let (first, second) = (words.next(), words.next());
        let is_number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        // A verb of four, or a code of three, and the number of a transaction.
        let begins = first.is_some_and(|word| match word.len() {
            4 => word.iter().all(u8::is_ascii_alphanumeric),
            3 => is_number(word),
            _ => false,
        });
        if begins && second.is_some_and(is_number) {
            Self::Mgcp
        } else if Encoding::of(bytes).is_some() {
            Self::H248
        } else {
            Self::Sip
        }
    }

    fn at(config: &EngineConfig, port: u16) -> Option<Self> {
        if config.sip_ports.contains(&port) {
            Some(Self::Sip)
        } else if config.h248_ports.contains(&port) {
            Some(Self::H248)
        } else if config.mgcp_ports.contains(&port) {
            Some(Self::Mgcp)
        } else {
            None
        }
    }
}

/// What finds the messages in a thin client's connection to the registrar's port: its
/// first octet says whether it is H.248, in TPKT, or SIP.
#[derive(Debug)]
pub struct ThinClientFramer {
    limits: Limits,
    /// Once the first octet is there.
    framer: Option<Box<dyn Framer>>,
}

impl ThinClientFramer {
    /// At the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            framer: None,
        }
    }
}

impl Framer for ThinClientFramer {
    fn front<'a>(&mut self, front: &'a [u8]) -> Result<Front<'a>, Unframed> {
        let Some(first) = front.first() else {
            return Ok(Front::Incomplete);
        };
        let limits = self.limits;
        let begin = || -> Box<dyn Framer> {
            match first {
                // The version of TPKT (RFC 1006 §6).
                3 => Box::new(TpktFramer::new(limits)),
                _ => Box::new(SipFramer::new(limits)),
            }
        };
        self.framer.get_or_insert_with(begin).front(front)
    }

    fn kept(&mut self) -> Vec<u8> {
        self.framer.as_mut().map_or_else(Vec::new, |f| f.kept())
    }

    fn is_amid(&self) -> bool {
        self.framer.as_ref().is_some_and(|f| f.is_amid())
    }

    fn wrap(&self, message: Vec<u8>) -> Vec<u8> {
        match &self.framer {
            Some(framer) => framer.wrap(message),
            None => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Part, Stream};

    #[test]
    fn a_connection_to_the_registrar_is_of_what_comes_first() {
        let h248 = b"!/1 <tc17> T=1{C=-{SC=ROOT{SV{MT=RS}}}}".as_slice();
        let sip = b"REGISTER sip:10.71.1.11 SIP/2.0\r\nl: 0\r\n\r\n".as_slice();
        let tpkt = |message: &[u8]| TpktFramer::new(Limits::default()).wrap(message.to_vec());
        for (sent, message, framed) in [
            (tpkt(h248), h248, tpkt(b"reply")),
            (sip.to_vec(), sip, b"reply".to_vec()),
        ] {
            let framer = ThinClientFramer::new(Limits::default());
            let mut stream = Stream::new(Some(Box::new(framer)));
            let mut came = Vec::new();
            for octet in [sent.clone(), sent].concat() {
                stream.push(&[octet]);
                came.extend(stream.next_part());
            }
            let message = Part::Message(message.to_vec());
            assert_eq!(came, [message.clone(), message]);
            assert_eq!(stream.wrap(b"reply".to_vec()), framed);
        }
        // MGCP has no stream (RFC 3435 §3.5.3), nor has H.248 without TPKT.
        for other in [
            b"RSIP 1 *@tc17 MGCP 1.0\n".as_slice(),
            h248,
            b"\x16\x03\x01",
        ] {
            let framer = ThinClientFramer::new(Limits::default());
            let mut stream = Stream::new(Some(Box::new(framer)));
            stream.push(other);
            stream.push(b"\n");
            assert!(matches!(
                stream.next_part(),
                Some(Part::Untouched { why: Some(_), .. })
            ));
            assert!(stream.is_untouched());
        }
    }

    #[test]
    fn what_comes_to_the_registrar_says_what_it_is() {
        for (bytes, protocol) in [
            (
                b"REGISTER sip:10.0.0.1 SIP/2.0\r\n".as_slice(),
                Protocol::Sip,
            ),
            (b"INFO sip:10.0.0.1 SIP/2.0\r\n", Protocol::Sip),
            (b"SIP/2.0 200 OK\r\n", Protocol::Sip),
            (b"RSIP 1200 *@tc17 MGCP 1.0\r\n", Protocol::Mgcp),
            (b"auep 7 aaln/1@tc17 MGCP 1.0\n", Protocol::Mgcp),
            (b"200 1200 OK\r\n", Protocol::Mgcp),
            (b"000 1200", Protocol::Mgcp),
            (b"MEGACO/1 [10.0.0.1]:2944\n", Protocol::H248),
            (b"!/1 <tc17> T=1{", Protocol::H248),
            (b"AU=0x0:0x0:0x0 !/1 <tc17>", Protocol::H248),
            (b"\x30\x2a\xa1\x28", Protocol::H248),
            (b"\r\n\r\n", Protocol::Sip),
            (b"", Protocol::Sip),
        ] {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(Protocol::of_content(bytes), protocol, "{text:?}");
        }
    }
}
