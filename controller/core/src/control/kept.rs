//! Calls of gateway control taken out to be kept, and put in again by the next run:
//! each with what its line remembers of it, so that what comes again is known, and what
//! is replied to is learned.
//!
//! Not kept: connections that are no call's, and who has picked up. A call that begins
//! by a Modify of such a connection after a restart is one whose beginning was not seen.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::line::{About, KeptAbout};
use super::requests::Waiting;

/// A call as it is kept.
#[derive(Debug, Serialize)]
pub(crate) struct CallEntry<'a> {
    pub(super) call: &'a Call,
    /// The VM's address, by which it is found again, and the gateway's.
    pub(super) vm: IpAddr,
    pub(super) gateway: IpAddr,
    pub(super) line: About<'a>,
    /// Commands of our own that wait for their replies, by their ids.
    pub(super) requests: Vec<(u32, &'a Waiting)>,
}

/// A call of an earlier run: [`CallEntry`] read again.
#[derive(Debug, Deserialize)]
pub(crate) struct KeptCall {
    pub(super) call: Call,
    pub(super) vm: IpAddr,
    pub(super) gateway: IpAddr,
    pub(super) line: KeptAbout,
    pub(super) requests: Vec<(u32, Waiting)>,
}

impl KeptCall {
    /// An address of its VM.
    pub(crate) fn vm_address(&self) -> IpAddr {
        self.vm
    }
}

/// A codec is kept by its protocol's name.
pub(super) mod codec {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::control::codec::Codec;
    use crate::control::room;

    pub(in crate::control) fn serialize<S: Serializer>(
        codec: &&'static dyn Codec,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        codec.protocol().name().serialize(serializer)
    }

    pub(in crate::control) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'static dyn Codec, D::Error> {
        let name = String::deserialize(deserializer)?;
        room::codec_named(&name)
            .ok_or_else(|| de::Error::custom(format!("{name} is no protocol of gateway control")))
    }
}
