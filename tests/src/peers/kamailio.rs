//! Kamailio: the record-routing proxy that stands between VM and gateway at many
//! sites.

use std::net::SocketAddrV4;

use anyhow::Result;

use super::Process;
use crate::lab::{Lab, Site};
use crate::wait::seconds;

/// Port of the gateway behind the proxy, on the same box.
pub const GATEWAY_PORT: u16 = 5080;

/// A proxy, running.
#[derive(Debug)]
pub struct Kamailio {
    process: Process,
}

impl Kamailio {
    /// Starts it at a box's port 5060: what comes from the gateway at
    /// [`GATEWAY_PORT`] of the same box goes to `vm`, everything else to the
    /// gateway; every dialog stays with it (Record-Route, RFC 3261 §16.6).
    pub fn start(lab: &Lab, site: Site, vm: SocketAddrV4) -> Result<Self> {
        let directory = lab.directory().join(format!("kamailio-{}", site.name()));
        std::fs::create_dir_all(&directory)?;
        let config = include_str!("kamailio.cfg")
            .replace("@ADDRESS@", &site.ip().to_string())
            .replace("@PORT@", "5060")
            .replace("@GATEWAY_IP@", &site.ip().to_string())
            .replace("@GATEWAY_PORT@", &GATEWAY_PORT.to_string())
            .replace("@VM@", &vm.to_string())
            .replace("@TRANSPORT@", "");
        let file = directory.join("kamailio.cfg");
        std::fs::write(&file, config)?;
        let mut process = Process::start(
            &format!("kamailio-{}", site.name()),
            lab.directory(),
            // -DD: in the foreground, so that it dies with its lab.
            lab.command(site, "kamailio")
                .arg("-f")
                .arg(&file)
                .args(["-DD", "-E", "-m", "32", "-M", "4", "-Y"])
                .arg(&directory),
        )?;
        process.wait_for_text("Listening on", seconds(10))?;
        Ok(Self { process })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
