//! The host's links, addresses and routes, as `ip -json` tells them.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What `ip` knows of this host's network.
pub struct Host {
    /// Every link of this namespace.
    pub links: Vec<Link>,
}

/// A link, as `ip -json -details address` describes it; what is not needed here
/// is left out.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Link {
    /// Its name.
    pub ifname: String,
    /// `UP`, `LOWER_UP`, …
    #[serde(default)]
    pub flags: Vec<String>,
    /// MTU.
    #[serde(default)]
    pub mtu: u32,
    /// Bridge, bond or OVS datapath that it is a port of.
    #[serde(default)]
    pub master: Option<String>,
    /// `ether`, `none` (packets without a header before IP's), …
    #[serde(default)]
    pub link_type: String,
    /// What kind of link, for those that the kernel makes up.
    #[serde(default)]
    pub linkinfo: Option<LinkInfo>,
    /// The XDP program on it.
    #[serde(default)]
    pub xdp: Option<serde_json::Value>,
    /// Its addresses.
    #[serde(default)]
    pub addr_info: Vec<Address>,
}

/// Kind of a link.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct LinkInfo {
    /// `bridge`, `veth`, `tun`, `vlan`, `bond`, `openvswitch`, …
    #[serde(default)]
    pub info_kind: Option<String>,
}

/// An address of a link.
#[derive(Debug, Clone, Deserialize)]
pub struct Address {
    /// `inet` or `inet6`.
    #[serde(default)]
    pub family: String,
    /// The address.
    #[serde(default)]
    pub local: String,
    /// Prefix length.
    #[serde(default)]
    pub prefixlen: u8,
}

/// A route, as `ip -json route get` finds it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Route {
    /// The link it leaves by.
    #[serde(default)]
    pub dev: Option<String>,
}

impl Host {
    /// Asks `ip`.
    pub fn look() -> Result<Self> {
        let links: Vec<Link> = ip(&["-details", "address", "show"])?;
        Ok(Self { links })
    }

    /// A link by its name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.ifname == name)
    }

    /// The link that has `address`.
    pub fn owner(&self, address: Ipv4Addr) -> Option<&Link> {
        let address = address.to_string();
        let has = |link: &&Link| link.addr_info.iter().any(|a| a.local == address);
        self.links.iter().find(has)
    }
}

impl Link {
    /// Whether it is set up.
    pub fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    /// Its kind, where the kernel made it up.
    pub fn kind(&self) -> Option<&str> {
        self.linkinfo.as_ref()?.info_kind.as_deref()
    }

    /// Its IPv4 addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addr_info.iter().filter(|a| a.family == "inet")
    }

    /// Name of its driver, where hardware or a hypervisor stands behind it.
    pub fn driver(&self) -> Option<String> {
        let driver = format!("/sys/class/net/{}/device/driver", self.ifname);
        let target = std::fs::read_link(driver).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// The route to `address`; `None` where there is none.
pub fn route_to(address: Ipv4Addr) -> Option<Route> {
    let routes: Vec<Route> = ip(&["route", "get", &address.to_string()]).ok()?;
    routes.into_iter().next()
}

/// A sysctl of the network, by its path below `/proc/sys/net`.
pub fn sysctl(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?;
    Some(text.trim().to_owned())
}

fn ip<T: DeserializeOwned>(args: &[&str]) -> Result<T> {
    let output = Command::new("ip")
        .arg("-json")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("cannot be started")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("does not write JSON as expected")
}
