//! What a server does with a request's topmost Via, and where its response goes
//! (RFC 3261 §18.2, RFC 3581 §4).

use std::net::SocketAddr;

use super::header::{key_value, semicolons};
use super::uri::DEFAULT_PORT;
use super::{Message, MessageEdit, Name, Via};

/// The request with `received` and `rport` in its topmost Via, where its sender
/// has another address than it says or asks for `rport`.
pub fn mark_received(request: Message, source: SocketAddr) -> Message {
    let written = request.headers(Name::VIA).next();
    let Some(marked) = written.and_then(|via| mark_via(via, source)) else {
        return request;
    };
    let bytes = MessageEdit::new(&request)
        .set_first_element(Name::VIA, marked)
        .finish();
    Message::parse(&bytes).unwrap_or(request)
}

/// The topmost Via with `received` and `rport`; `None` where it needs neither.
pub(crate) fn mark_via(written: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let via = Via::parse(written)?;
    let told_true = ip(via.host) == Some(source.ip());
    if told_true && via.rport.is_none() {
        return None;
    }
    let mut marked: Vec<u8> = Vec::new();
    for part in semicolons(written) {
        let (key, _) = key_value(part);
        let ours = key.eq_ignore_ascii_case(b"received") || key.eq_ignore_ascii_case(b"rport");
        if marked.is_empty() {
            marked.extend_from_slice(part);
        } else if !ours {
            marked.push(b';');
            marked.extend_from_slice(part);
        }
    }
    marked.extend_from_slice(format!(";received={}", source.ip()).as_bytes());
    if via.rport.is_some() {
        marked.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
    }
    Some(marked)
}

/// Where the response to a request goes that came from `source`: back to it
/// where the client asked for that (`rport`), else to the port of its Via at the
/// address it came from.
pub fn reply_address(request: &Message, source: SocketAddr) -> SocketAddr {
    reply_to(&request.top_via(), source)
}

pub(crate) fn reply_to(via: &Via<'_>, source: SocketAddr) -> SocketAddr {
    match via.rport {
        Some(_) => source,
        None => SocketAddr::new(source.ip(), via.port.unwrap_or(DEFAULT_PORT)),
    }
}

/// The address and port that the topmost Via says, where it is an address.
pub fn sent_by(request: &Message) -> Option<SocketAddr> {
    let via = request.top_via();
    Some(SocketAddr::new(
        ip(via.host)?,
        via.port.unwrap_or(DEFAULT_PORT),
    ))
}

fn ip(host: &[u8]) -> Option<std::net::IpAddr> {
    std::str::from_utf8(host).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vias_are_marked_and_responses_find_their_way() {
        let table = [
            // Via as sent, Via as answered, where to; it came from 10.0.0.9:4000
            (
                "10.0.0.9:5062;branch=z9hG4bK1",
                "10.0.0.9:5062;branch=z9hG4bK1",
                "10.0.0.9:5062",
            ),
            (
                "10.0.0.9;branch=z9hG4bK1",
                "10.0.0.9;branch=z9hG4bK1",
                "10.0.0.9:5060",
            ),
            (
                "192.168.1.1:5062;rport;branch=z9hG4bK1",
                "192.168.1.1:5062;branch=z9hG4bK1;received=10.0.0.9;rport=4000",
                "10.0.0.9:4000",
            ),
            (
                "tc.example:5062;branch=z9hG4bK1",
                "tc.example:5062;branch=z9hG4bK1;received=10.0.0.9",
                "10.0.0.9:5062",
            ),
            (
                "h;received=1.1.1.1;rport=9;branch=z9hG4bK1",
                "h;branch=z9hG4bK1;received=10.0.0.9;rport=4000",
                "10.0.0.9:4000",
            ),
        ];
        for (sent, answered, to) in table {
            let text = format!(
                "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {sent}, SIP/2.0/UDP x;branch=y\r\n\
                 From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
            );
            let source = "10.0.0.9:4000".parse().unwrap();
            let marked = mark_received(Message::parse(text.as_bytes()).unwrap(), source);
            let vias: Vec<_> = marked.headers(Name::VIA).collect();
            let expected = format!("SIP/2.0/UDP {answered}");
            assert_eq!(String::from_utf8_lossy(vias[0]), expected);
            assert_eq!(vias[1], b"SIP/2.0/UDP x;branch=y");
            assert_eq!(
                reply_address(&marked, source),
                to.parse().unwrap(),
                "{sent}"
            );
        }
    }
}
