//! MGCP on the gateway side: the VM is a call agent (RFC 3435), the thin client
//! takes the place of its softphone in RemoteConnectionDescriptors.

#[path = "../mutation/mod.rs"]
mod mutation;
#[path = "../scene/mod.rs"]
mod scene;

mod changes;
mod connection;
mod fallback;
mod fuzz;
mod ipv6;
mod pairing;
mod passing;
mod restarts;
mod setup;
mod transactions;
