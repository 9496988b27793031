//! Telling people and scripts what the daemon knows, over a Unix socket.
//!
//! In: one line of JSON, `{"get":"flows"|"calls"|"clients"|"vms"|"status"|"counters"}`,
//! or of flows by hand: `{"find":{…}}`, `{"add":[{…},…]}`, `{"remove":[{…},…]}`.
//! Out: one line, `{"ok":[…]}` with the rows of [`rows`], or `{"error":"…"}`. A
//! connection may ask again and again.

pub mod client;
pub mod rows;
mod server;
pub mod view;

pub use server::{Ask, List, Part, Query, Server};
