//! The project's own thin client, running in a box.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Process, own_program};
use crate::lab::{Lab, Site};
use crate::wait::wait_for;

/// How a thin client is set up.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// User name of its account.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
    /// The registrar: its VM's address.
    pub server: SocketAddrV4,
    /// What it registers: `codecs`, `address` or `none`.
    pub register: &'a str,
    /// Codecs it has.
    pub codecs: &'a [&'a str],
    /// What it does when called, as its configuration says it.
    pub answer: Value,
    /// Tone it plays, Hz.
    pub tone: u32,
    /// Address that it has, where it is not its box's: that of a network behind a NAT.
    pub address: Option<Ipv4Addr>,
    /// Address of its RTP; `None`: its box's.
    pub media_address: Option<IpAddr>,
    /// Port of its RTP.
    pub media_port: u16,
    /// Port it answers with in place of the registered one.
    pub answer_port: Option<u16>,
    /// After so many ms of a call it offers this media port.
    pub reinvite: Option<(u64, u16)>,
    /// Further keys of its configuration.
    pub more: Option<Value>,
    /// What makes it an H.248 or MGCP gateway: keys of its configuration, which then
    /// has no password.
    pub gateway: Option<Value>,
}

impl<'a> Setup<'a> {
    /// A thin client that registers address and codecs and answers at once.
    pub fn new(user: &'a str, server: SocketAddrV4) -> Self {
        Self {
            user,
            password: "secret",
            server,
            register: "codecs",
            codecs: &["PCMU", "PCMA"],
            answer: json!("auto"),
            tone: 700,
            address: None,
            media_address: None,
            media_port: 20_000,
            answer_port: None,
            reinvite: None,
            more: None,
            gateway: None,
        }
    }
}

/// A thin client, running.
#[derive(Debug)]
pub struct ThinClient {
    process: Process,
    report: PathBuf,
}

impl ThinClient {
    /// Starts it in a box. Whether it is registered, the daemon says.
    pub fn start(lab: &Lab, site: Site, setup: &Setup<'_>) -> Result<Self> {
        let name = format!("thin-client-{}", site.name());
        let config = lab.directory().join(format!("{name}.yaml"));
        let report = lab.directory().join(format!("{name}.json"));
        let address = setup.address.unwrap_or(site.ip());
        let mut content = json!({
            "server": setup.server,
            "user": setup.user,
            "password": setup.password,
            "bind": format!("{address}:5062"),
            "media": {
                "address": setup.media_address.unwrap_or(address.into()),
                "port": setup.media_port,
                "codecs": setup.codecs,
                "ptime": 20,
            },
            "register": setup.register,
            "expires": 600,
            "answer": setup.answer,
            "play": {"tone": setup.tone},
            "report": report,
        });
        if let Some(port) = setup.answer_port {
            content["answer_media"] = json!({"port": port});
        }
        if let Some((after_ms, port)) = setup.reinvite {
            content["reinvite"] = json!({"after_ms": after_ms, "port": port});
        }
        if let (Some(Value::Object(keys)), Some(content)) =
            (&setup.gateway, content.as_object_mut())
        {
            content.remove("password");
            content.extend(keys.clone());
        }
        if let (Some(Value::Object(keys)), Some(content)) = (&setup.more, content.as_object_mut()) {
            content.extend(keys.clone());
        }
        std::fs::write(&config, serde_yaml::to_string(&content)?)?;
        let program = own_program("THIN_CLIENT_BIN", "thin-client")?;
        let process = Process::start(
            &name,
            lab.directory(),
            lab.command(site, program)
                .arg("run")
                .arg("--config")
                .arg(&config),
        )?;
        Ok(Self { process, report })
    }

    /// Waits until it has its sockets: its first report is there.
    pub fn wait_listening(&self) -> Result<()> {
        wait_for("the thin client to start", Duration::from_secs(5), || {
            self.report()
        })
        .map(drop)
    }

    /// Its report as it stands; `None` before the first.
    pub fn report(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(&self.report).ok()?).ok()
    }

    /// Waits until its report shows something.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        look: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        wait_for(what, limit, || look(&self.report()?))
            .with_context(|| format!("the thin client's report: {:?}", self.report()))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
