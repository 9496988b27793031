//! Thin clients that are media gateways, of which the agent is the controller: the
//! thin client's side of Fig. 5 and Fig. 6, step by step, for each protocol.

mod bench;
mod connection;
mod h248;
mod mgcp;
