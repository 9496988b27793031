//! Transactions of H.248.1 (§8.2, Annex D.1): those that Sidestep begins, and those
//! that it answers.
//!
//! What comes in: actions to be done by the peer, replies to what it asked,
//! messages that have come, time. What goes out: messages to send, in order
//! ([`Association::poll_outgoing`]), and what the user has to be told. Who the user
//! is does not matter: a gateway's controller, a controller's gateway.
//!
//! An [`Association`] is one conversation between two (§11): it chooses transaction
//! ids, measures the round trip, and keeps what Annex D.1 wants kept:
//!
//! | of | states | timers |
//! | --- | --- | --- |
//! | a request of ours | sent, pending (§8.2.3), over | repeat, give up |
//! | a request of the peer's | being done, replied, replied and to be acknowledged, over | repeat, forget |
//!
//! - **Repeats** (D.1.3): the first after the measured round trip and four times its
//!   deviation, each further one after twice as long, up to [`LONGEST_REPEAT`]. The
//!   round trip is learned from exchanges that were not repeated.
//! - **At most once** (D.1.1): a request that comes again is answered with the same
//!   octets, for [`LONG_TIMER`]; one that is still being done, with Pending.
//! - **Three-way handshake** (D.1.2): a reply after Pending asks for its
//!   acknowledgement (`ImmAckRequired`) and is repeated until it has come; a reply
//!   that asks for it is acknowledged at once, each time it comes.
//!
//! Over TCP nothing is repeated; all else holds there, too.

mod association;
mod request;
mod served;
mod timing;

pub use association::{Association, Expired, Incoming, Voice};
pub use timing::{FIRST_REPEAT, LONG_TIMER, LONGEST_REPEAT};
