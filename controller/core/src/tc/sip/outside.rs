//! Requests that belong to no dialog, and bytes that are no message: answered
//! without keeping anything (RFC 3261 §8.2.7), so that whoever sends them costs
//! no memory. The same bytes get the same answer.

use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};

use super::context::plain;
use super::requests::status_of;
use crate::sip::digest::hex;
use crate::sip::received::{mark_received, mark_via, reply_to};
use crate::sip::{Message, Method, Name, Via, split_list};

/// The response to a request that is none of any leg; none to an ACK.
pub(super) fn response(key: &[u8; 32], request: &Message, source: SocketAddr) -> Option<Vec<u8>> {
    let status = match (request.method(), request.to_tag()) {
        (Method::Ack, _) => return None,
        (_, Some(_)) => 481,
        (Method::Options, None) => 200,
        // The user's phone is the one in the VM (M12): nobody is to be called
        // here.
        (Method::Invite, None) => 403,
        (Method::Message, None) => 405,
        (Method::Info | Method::Notify | Method::Bye | Method::Cancel | Method::Update, None) => {
            481
        }
        (method, None) => status_of(method),
    };
    let tag = tag(key, request.bytes());
    let request = mark_received(request.clone(), source);
    Some(plain(&request, status, Some(&tag)).build())
}

/// The 400 to bytes that are nearly a request: its start line can be read, and
/// its topmost Via, which says where to. What else a response takes from the
/// request is copied as far as it is there.
pub(super) fn bad_request(
    key: &[u8; 32],
    source: SocketAddr,
    bytes: &[u8],
) -> Option<(SocketAddr, Vec<u8>)> {
    let mut lines = bytes
        .split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.is_empty());
    let mut words = lines.next()?.split(|&b| b == b' ');
    let method = Method::from_token(words.next()?)?;
    if method == Method::Ack || !words.next_back()?.eq_ignore_ascii_case(b"SIP/2.0") {
        return None;
    }
    let headers = headers(lines.take_while(|line| !line.is_empty()));
    let via = headers.iter().find(|(name, _)| *name == Name::VIA)?;
    let top = split_list(&via.1).next()?;
    let remote = reply_to(&Via::parse(top)?, source);
    let marked = mark_via(top, source).unwrap_or_else(|| top.to_vec());

    let mut response = b"SIP/2.0 400 Bad Request\r\n".to_vec();
    let mut line = |name: Name, value: &[u8]| {
        response.extend_from_slice(name.as_str().as_bytes());
        response.extend_from_slice(b": ");
        response.extend(
            value
                .iter()
                .map(|b| if b.is_ascii_control() { b' ' } else { *b }),
        );
        response.extend_from_slice(b"\r\n");
    };
    line(Name::VIA, &marked);
    for more in split_list(&via.1).skip(1) {
        line(Name::VIA, more);
    }
    let mut vias = 0;
    for (name, value) in &headers {
        if *name == Name::VIA {
            vias += 1;
            if vias > 1 {
                line(*name, value);
            }
        } else if *name == Name::TO && !value.windows(5).any(|w| w.eq_ignore_ascii_case(b";tag=")) {
            let tagged = [value.as_slice(), b";tag=", tag(key, bytes).as_bytes()].concat();
            line(*name, &tagged);
        } else {
            line(*name, value);
        }
    }
    line(Name::CONTENT_LENGTH, b"0");
    response.extend_from_slice(b"\r\n");
    Some((remote, response))
}

/// The headers that a response repeats, unfolded.
fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<(Name, Vec<u8>)> {
    const REPEATED: [Name; 5] = [Name::VIA, Name::FROM, Name::TO, Name::CALL_ID, Name::CSEQ];
    let mut headers: Vec<(Option<Name>, Vec<u8>)> = Vec::new();
    for line in lines {
        match (line, headers.last_mut()) {
            ([b' ' | b'\t', ..], Some((_, value))) => {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            _ => {
                let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
                let (name, value) = line.split_at(colon);
                let name = REPEATED
                    .into_iter()
                    .find(|known| known.matches(name.trim_ascii_end()));
                let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
                headers.push((name, value.to_vec()));
            }
        }
    }
    headers
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value)))
        .collect()
}

/// A tag that the same bytes get again.
fn tag(key: &[u8; 32], bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(bytes);
    hex(&hash.finalize()[..12])
}
