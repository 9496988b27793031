//! What else lays hands on bridged frames and on SIP.

use std::path::Path;

use super::Area;
use super::host::{Host, sysctl};
use crate::config::Config;

pub(super) fn examine(config: &Config, host: &Host, area: &mut Area<'_>) {
    let bridged = config.vms.iter().any(|vm| {
        let link = host.link(&vm.tap);
        link.is_some_and(|link| link.master.is_some())
    });
    if bridged && sysctl("bridge/bridge-nf-call-iptables").as_deref() == Some("1") {
        area.warn(
            "bridge-nf-call-iptables",
            "bridged frames go through this host's IP firewall; a rule or NAT there may take \
             signalling and media",
            "sysctl -w net.bridge.bridge-nf-call-iptables=0, unless the firewall is meant to",
        );
    }
    if Path::new("/sys/module/nf_nat_sip").exists() {
        area.warn(
            "nf_nat_sip",
            "the kernel's own SIP helper is loaded and may rewrite the same messages",
            "modprobe -r nf_nat_sip nf_conntrack_sip",
        );
    }
}
