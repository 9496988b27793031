//! Kamailio: the record-routing proxy that stands between VM and gateway at many
//! sites; with rtpengine also what rewrites session descriptions there.

use std::net::SocketAddrV4;

use anyhow::Result;

use super::Process;
use crate::certificates::Identity;
use crate::lab::{Lab, Site};
use crate::wait::seconds;

/// Who is on which side of a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddrV4,
    /// What comes from here goes to the VM, everything else comes here.
    pub gateway: SocketAddrV4,
    /// The VM.
    pub vm: SocketAddrV4,
    /// How the VM is called, and calls.
    pub toward_vm: Toward<'a>,
    /// Control address of the rtpengine that relays the media; `None`: media is
    /// not its affair.
    pub rtpengine: Option<SocketAddrV4>,
}

/// How a proxy and the VM speak.
#[derive(Debug, Clone, Copy)]
pub enum Toward<'a> {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS, at the proxy's port 5061, with certificates on both sides whoever connects.
    Tls {
        /// The proxy's.
        own: &'a Identity,
        /// Authorities of the other side's, in PEM.
        trusts: &'a str,
    },
    /// WebSocket (RFC 7118), at this port of the proxy's; the VM has to register.
    WebSocket(u16),
}

impl Toward<'_> {
    fn transport(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls { .. } => "tls",
            Self::WebSocket(_) => "ws",
        }
    }
}

/// What its TLS module wants to know, of either side of a connection.
const TLS_CONFIG: &str = "\
[@SIDE@:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
certificate = @OWN@
private_key = @KEY@
ca_list = @TRUSTS@
";

/// A proxy, running.
#[derive(Debug)]
pub struct Kamailio {
    process: Process,
}

impl Kamailio {
    /// Starts it in a box. Every dialog stays with it (Record-Route, RFC 3261
    /// §16.6).
    pub fn start(lab: &Lab, site: Site, setup: &Setup<'_>) -> Result<Self> {
        Self::start_toward(lab, site, setup, "udp")
    }

    /// The same; the gateway is called over TCP, too.
    pub fn start_over_tcp(lab: &Lab, site: Site, setup: &Setup<'_>) -> Result<Self> {
        Self::start_toward(lab, site, setup, "tcp")
    }

    fn start_toward(lab: &Lab, site: Site, setup: &Setup<'_>, gateway: &str) -> Result<Self> {
        let directory = lab.directory().join(format!("kamailio-{}", site.name()));
        std::fs::create_dir_all(&directory)?;
        let rtpengine = setup.rtpengine.map(|at| at.to_string());
        let config = include_str!("kamailio.cfg")
            .replace("@ADDRESS@", &setup.address.ip().to_string())
            .replace("@PORT@", &setup.address.port().to_string())
            .replace("@GATEWAY_IP@", &setup.gateway.ip().to_string())
            .replace("@GATEWAY_PORT@", &setup.gateway.port().to_string())
            .replace("@GATEWAY_TRANSPORT@", gateway)
            .replace("@VM@", &setup.vm.to_string())
            .replace("@TRANSPORT@", setup.toward_vm.transport())
            .replace(
                "@TLS_CONFIG@",
                &directory.join("tls.cfg").display().to_string(),
            )
            .replace("@RTPENGINE@", rtpengine.as_deref().unwrap_or_default());
        let file = directory.join("kamailio.cfg");
        std::fs::write(&file, config)?;
        let mut command = lab.command(site, "kamailio");
        // -DD: in the foreground, so that it dies with its lab.
        command
            .arg("-f")
            .arg(&file)
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"])
            .arg(&directory);
        if setup.rtpengine.is_some() {
            command.args(["-A", "WITH_RTPENGINE"]);
        }
        match setup.toward_vm {
            Toward::Udp | Toward::Tcp => {}
            Toward::Tls { own, trusts } => {
                let write = |name: &str, text: &str| -> Result<String> {
                    let path = directory.join(name);
                    std::fs::write(&path, text)?;
                    Ok(path.display().to_string())
                };
                let side = TLS_CONFIG
                    .replace("@OWN@", &write("own.pem", &own.certificate)?)
                    .replace("@KEY@", &write("own.key", &own.key)?)
                    .replace("@TRUSTS@", &write("trusts.pem", trusts)?);
                let sides = ["server", "client"].map(|name| side.replace("@SIDE@", name));
                write("tls.cfg", &sides.concat())?;
                command.args(["-A", "WITH_TLS"]);
            }
            Toward::WebSocket(port) => {
                command.args(["-A", "WITH_WEBSOCKET", "-A"]);
                command.arg(format!("WEBSOCKET_PORT={port}"));
            }
        }
        let name = format!("kamailio-{}", site.name());
        let mut process = Process::start(&name, lab.directory(), &mut command)?;
        process.wait_for_text("Listening on", seconds(10))?;
        Ok(Self { process })
    }

    /// Its first process; the others are that one's children.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
