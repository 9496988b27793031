//! Whether what an end of calls gets is right by its numbers, as a user agent that is
//! strict would see it: no gap, no repeat, no answer to what it never asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sidestep_core::sip::{Message, Method, Name};

use super::capture::{Datagram, Trace};

/// What one has said in one direction: requests by Call-ID and its tag.
type Asker = (Vec<u8>, Vec<u8>);

/// What is known of whoever asks.
#[derive(Debug, Default)]
struct Asked {
    /// The number of its last request.
    last: Option<u32>,
    /// Its requests, to tell what comes again, however late, from what has their number.
    said: BTreeSet<Vec<u8>>,
    /// The numbers of its INVITEs.
    invites: BTreeSet<u32>,
}

/// Looks at all that `end` got from `peer`:
///
/// - each request of a dialog has the number after the one before (RFC 3261 §12.2.1.1);
///   the same number again is the same message, octet for octet, and over UDP;
/// - ACK and CANCEL have the number of an INVITE that came (§17.1.1.3, §9.1);
/// - RAck names an INVITE that came, and a response to it that was reliable (RFC 3262
///   §7.2);
/// - each response is to a request that `end` has sent, by branch and CSeq (§17.1.3).
///
/// # Errors
///
/// What is wrong first.
pub fn are_right(trace: &Trace, end: Ipv4Addr, peer: Ipv4Addr) -> Result<()> {
    let mut asked: BTreeMap<Asker, Asked> = BTreeMap::new();
    let mut own = BTreeSet::new();
    let mut reliable = BTreeSet::new();
    for (datagram, text) in trace.sip() {
        let from_peer = match (*datagram.src.ip(), *datagram.dst.ip()) {
            ends if ends == (peer, end) => true,
            ends if ends == (end, peer) => false,
            _ => continue,
        };
        let message = Message::parse(&datagram.payload)
            .map_err(|error| anyhow!("{error:?}"))
            .with_context(|| text.clone())?;
        let (number, method) = message.cseq();
        let branch = message.top_via().branch.unwrap_or_default().to_vec();
        let transaction = (
            message.call_id().to_vec(),
            branch,
            number,
            method.as_str().to_owned(),
        );
        let right = match (from_peer, message.is_request()) {
            (true, true) => {
                let tag = message.from_tag().unwrap_or_default().to_vec();
                let asker = asked.entry((message.call_id().to_vec(), tag)).or_default();
                asker
                    .asks(datagram, number, &method)
                    .and_then(|()| acknowledges(&message, asker, &reliable))
            }
            (true, false) if own.contains(&transaction) => Ok(()),
            (true, false) => Err(anyhow!("{number} {method:?} was never asked")),
            (false, true) => {
                own.insert(transaction);
                Ok(())
            }
            (false, false) => {
                if let Some(rseq) = message.header(Name::RSEQ) {
                    reliable.insert((String::from_utf8_lossy(rseq).into_owned(), number));
                }
                Ok(())
            }
        };
        right.with_context(|| format!("from {peer}: {text}"))?;
    }
    Ok(())
}

impl Asked {
    fn asks(&mut self, datagram: &Datagram, number: u32, method: &Method) -> Result<()> {
        if matches!(method, Method::Ack | Method::Cancel) {
            ensure!(
                self.invites.contains(&number),
                "of {number}, where the INVITEs were {:?}",
                self.invites
            );
            return Ok(());
        }
        if !self.said.insert(datagram.payload.clone()) {
            ensure!(!datagram.connected, "{number} comes twice by a connection");
            return Ok(());
        }
        if let Some(last) = self.last {
            ensure!(number == last + 1, "{number} after {last}");
        }
        self.last = Some(number);
        if *method == Method::Invite {
            self.invites.insert(number);
        }
        Ok(())
    }
}

fn acknowledges(
    request: &Message,
    asker: &Asked,
    reliable: &BTreeSet<(String, u32)>,
) -> Result<()> {
    let Some(rack) = request.header(Name::RACK) else {
        return Ok(());
    };
    let rack = String::from_utf8_lossy(rack).into_owned();
    let words: Vec<&str> = rack.split_whitespace().collect();
    let [rseq, number, "INVITE"] = words[..] else {
        bail!("RAck: {rack}");
    };
    let number: u32 = number.parse()?;
    ensure!(asker.invites.contains(&number), "RAck: {rack}: no INVITE");
    ensure!(
        reliable.contains(&(rseq.to_owned(), number)),
        "RAck: {rack}: of {reliable:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;
    use std::time::Duration;

    use super::*;

    const END: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 71, 3, 31), 5060);
    const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 71, 1, 11), 5060);

    /// `> ` before what the end gets, `< ` before what it says; the rest is first line,
    /// branch, CSeq and further headers.
    fn trace(lines: &[(&str, &str, &str, &str)]) -> Trace {
        let datagram = |&(first, branch, cseq, more): &(&str, &str, &str, &str)| {
            let (mark, first) = first.split_at(2);
            let (src, dst) = match mark {
                "> " => (PEER, END),
                _ => (END, PEER),
            };
            let payload = format!(
                "{first}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{branch}\r\nFrom: <sip:a@b>;tag=1\r\n\
                 To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n"
            );
            Datagram {
                at: Duration::ZERO,
                src,
                dst,
                payload: payload.into_bytes(),
                connected: false,
                six: false,
                ip_bytes: 0,
                fragments: 1,
                checksum_right: true,
            }
        };
        Trace {
            datagrams: lines.iter().map(datagram).collect(),
        }
    }

    #[test]
    fn what_is_wrong_is_seen() {
        let invite = ("> INVITE sip:c@d SIP/2.0", "a", "7 INVITE", "");
        let reliable = ("< SIP/2.0 183 Said", "a", "7 INVITE", "RSeq: 5\r\n");
        let bye = |cseq| ("> BYE sip:c@d SIP/2.0", "b", cseq, "");
        let prack = |rack| ("> PRACK sip:c@d SIP/2.0", "c", "8 PRACK", rack);
        for (right, lines) in [
            (true, vec![invite, invite, reliable, bye("8 BYE")]),
            (false, vec![invite, bye("9 BYE")]),
            (false, vec![invite, bye("7 BYE")]),
            (false, vec![invite, bye("6 BYE")]),
            (
                true,
                vec![invite, ("> ACK sip:c@d SIP/2.0", "d", "7 ACK", "")],
            ),
            (
                false,
                vec![invite, ("> ACK sip:c@d SIP/2.0", "d", "6 ACK", "")],
            ),
            (true, vec![invite, reliable, prack("RAck: 5 7 INVITE\r\n")]),
            (false, vec![invite, reliable, prack("RAck: 5 6 INVITE\r\n")]),
            (false, vec![invite, reliable, prack("RAck: 6 7 INVITE\r\n")]),
            (
                true,
                vec![
                    ("< BYE sip:a@b SIP/2.0", "e", "3 BYE", ""),
                    ("> SIP/2.0 200 Said", "e", "3 BYE", ""),
                ],
            ),
            (
                false,
                vec![
                    ("< BYE sip:a@b SIP/2.0", "e", "3 BYE", ""),
                    ("> SIP/2.0 200 Said", "e", "4 BYE", ""),
                ],
            ),
        ] {
            let seen = are_right(&trace(&lines), *END.ip(), *PEER.ip());
            assert_eq!(seen.is_ok(), right, "{lines:?}: {seen:?}");
        }
    }
}
