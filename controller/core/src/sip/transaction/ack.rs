//! The ACK that a client transaction sends itself (RFC 3261 §17.1.1.3).

use crate::sip::{Message, Method, Name, RequestBuilder};

/// The ACK of a 3xx to 6xx: Request-URI, topmost Via, Route, From, Call-ID and
/// CSeq number of the INVITE, To of the response. Empty where `invite` is none.
pub fn ack_of_failure(invite: &[u8], response: &Message) -> Vec<u8> {
    let Ok(invite) = Message::parse(invite) else {
        return Vec::new();
    };
    let mut ack = RequestBuilder::new(Method::Ack, invite.uri().unwrap_or_default());
    let top_via = invite.headers(Name::VIA).next();
    ack = ack
        .header(Name::VIA, top_via.unwrap_or_default())
        .max_forwards();
    for route in invite.header_values(Name::ROUTE) {
        ack = ack.header(Name::ROUTE, route);
    }
    ack.header(Name::FROM, invite.header(Name::FROM).unwrap_or_default())
        .header(Name::TO, response.header(Name::TO).unwrap_or_default())
        .header(Name::CALL_ID, invite.call_id())
        .cseq(invite.cseq().0)
        .build()
}
