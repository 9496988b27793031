//! osmo-mgw: an MGCP gateway that nobody here wrote, with real RTP between the
//! connections of an endpoint.

use anyhow::Result;

use super::Process;
use crate::lab::{Lab, Site};
use crate::wait::seconds;

/// A gateway, running at a box's address and MGCP's gateway port.
#[derive(Debug)]
pub struct OsmoMgw {
    process: Process,
}

impl OsmoMgw {
    /// Starts it in a box; it takes commands from everyone.
    pub fn start(lab: &Lab, site: Site) -> Result<Self> {
        let config = lab
            .directory()
            .join(format!("osmo-mgw-{}.cfg", site.name()));
        let ip = site.ip();
        std::fs::write(
            &config,
            format!(
                "log stderr\n logging level set-all notice\n\
                 line vty\n bind 127.0.0.1\n\
                 mgcp\n bind ip {ip}\n bind port 2427\n rtp bind-ip {ip}\n \
                 rtp port-range 4002 4100\n number endpoints 8\n"
            ),
        )?;
        let mut process = Process::start(
            &format!("osmo-mgw-{}", site.name()),
            lab.directory(),
            lab.command(site, "osmo-mgw").arg("-c").arg(&config),
        )?;
        process.wait_for_text("Configured for MGCP", seconds(10))?;
        Ok(Self { process })
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
