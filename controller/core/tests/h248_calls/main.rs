//! Calls whose VM is a media gateway controller, with a gateway of H.248 outside
//! and a thin client of SIP: what each of them is told.

mod alternatives;
mod binary;
mod fallback;
mod fig5;
mod fig6;
mod ipv6;
mod media;
mod mg;
#[path = "../mutation/mod.rs"]
mod mutation;
mod mutations;
mod pairing;
mod restarts;
#[path = "../scene/mod.rs"]
mod scene;
mod segments;
mod service;
mod untouched;
mod unusual;
