//! The requests that are made from an INVITE: the ACK of its refusal, which the
//! client transaction sends itself, and its CANCEL.

use crate::sip::{Message, Method, Name, RequestBuilder};

/// The ACK of a 3xx to 6xx (RFC 3261 §17.1.1.3): To of the response, all else of
/// the INVITE. Empty where `invite` is none.
pub fn ack_of_failure(invite: &[u8], response: &Message) -> Vec<u8> {
    let to = response.header(Name::TO).unwrap_or_default();
    Message::parse(invite).map_or(Vec::new(), |invite| like(&invite, Method::Ack, to))
}

/// The CANCEL of an INVITE (§9.1). To be sent once a provisional response has
/// come; it has the INVITE's branch and a transaction of its own. Empty where
/// `invite` is none.
pub fn cancel_of(invite: &[u8]) -> Vec<u8> {
    Message::parse(invite).map_or(Vec::new(), |invite| {
        let to = invite.header(Name::TO).unwrap_or_default();
        like(&invite, Method::Cancel, to)
    })
}

/// Request-URI, topmost Via, Route, From, Call-ID and CSeq number of the INVITE.
fn like(invite: &Message, method: Method, to: &[u8]) -> Vec<u8> {
    let top_via = invite.headers(Name::VIA).next();
    let mut request = RequestBuilder::new(method, invite.uri().unwrap_or_default())
        .header(Name::VIA, top_via.unwrap_or_default())
        .max_forwards();
    for route in invite.header_values(Name::ROUTE) {
        request = request.header(Name::ROUTE, route);
    }
    request
        .header(Name::FROM, invite.header(Name::FROM).unwrap_or_default())
        .header(Name::TO, to)
        .header(Name::CALL_ID, invite.call_id())
        .cseq(invite.cseq().0)
        .build()
}
