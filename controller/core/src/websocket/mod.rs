//! SIP over WebSocket (RFC 7118): messages in the frames of a connection (RFC 6455).
//!
//! In: the two streams of a connection, through the [`Framer`]s of its two ends, as
//! [`Stream`](crate::stream::Stream) asks them. Out: the handshake, one message of SIP
//! for each message of WebSocket (RFC 7118 §5), control frames as they came.
//!
//! **Only connections whose two sides agree on the subprotocol `sip`** are read.
//! Whatever else comes to such a port passes byte for byte: other HTTP, other
//! subprotocols, a handshake in which an extension is agreed to. So that none is, the
//! client's offer of extensions (compression, RFC 7692) is left out of its request; all
//! else of the handshake is as it was. What passes a limit, or breaks the rules of RFC
//! 6455, goes on as it came.
//!
//! A message that came in fragments goes on in one frame (RFC 6455 §5.4 lets an
//! intermediary do that), text as text and binary as binary; frames toward the server
//! get masks of Sidestep's own (§5.3).
//!
//! Why not a crate: those that are well kept (`tungstenite`, `fastwebsockets`,
//! `soketto`) are endpoints. They answer pings and closes themselves, give out what a
//! frame held and not how it stood, and refuse what they do not like; here both ends
//! are somebody else's, and bytes have to pass. `tungstenite` is what the end-to-end
//! tests hold this against.

mod frame;
mod framer;
mod handshake;

pub use framer::{Masks, WebSocketFramer};
