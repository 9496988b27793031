//! IPv6 beside the lab's IPv4: everybody's address is the other one, written anew.
//! 10.71.2.21 is fd71:2::21.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::{Lab, Site};

/// What all addresses of the lab begin with.
const LAB: u16 = 0xfd71;

/// Endpoints that get an address, and the router's link to each.
const ENDPOINTS: [Site; 4] = [Site::Vm1, Site::Tc1, Site::Tc2, Site::Gw];
const LINKS: [(&str, u16); 3] = [("vms", 1), ("office", 2), ("dmz", 3)];

impl Site {
    /// Its IPv6 address, once the lab has that ([`Lab::add_ipv6`]).
    ///
    /// # Panics
    /// For a box that is no endpoint.
    pub fn ip6(self) -> Ipv6Addr {
        six(self.ip())
    }
}

impl Lab {
    /// Gives IPv6 to the first VM, the thin clients, the gateway and the router between
    /// them.
    ///
    /// # Errors
    ///
    /// `ip` or a sysctl refuses.
    pub fn add_ipv6(&self) -> Result<()> {
        let router = |network| Ipv6Addr::new(LAB, network, 0, 0, 0, 0, 0, 1);
        let links = LINKS.map(|(interface, network)| (Site::Net, interface, router(network)));
        let endpoints = ENDPOINTS.map(|site| (site, "eth0", site.ip6()));
        for (number, (site, interface, address)) in links.into_iter().chain(endpoints).enumerate() {
            self.namespace(site).sysctl(&[
                ("ipv6/conf/all/disable_ipv6", "0"),
                (&format!("ipv6/conf/{interface}/disable_ipv6"), "0"),
                (&format!("ipv6/conf/{interface}/accept_dad"), "0"),
            ])?;
            // What asks for neighbours asks from a local address.
            for address in [format!("fe80::{:x}", number + 1), address.to_string()] {
                self.ip(
                    site,
                    &format!("-6 addr add {address}/64 dev {interface} nodad"),
                )?;
            }
        }
        self.namespace(Site::Net)
            .sysctl(&[("ipv6/conf/all/forwarding", "1")])?;
        for site in ENDPOINTS {
            let [_, network, ..] = site.ip6().segments();
            let via = router(network);
            self.ip(site, &format!("-6 route replace default via {via}"))?;
        }
        Ok(())
    }
}

/// The IPv6 address beside one of the lab's IPv4: its digits stay the same.
pub fn six(four: Ipv4Addr) -> Ipv6Addr {
    let [_, _, network, host] = four.octets();
    let digits = |n: u8| u16::from(n) / 10 * 16 + u16::from(n) % 10;
    Ipv6Addr::new(LAB, digits(network), 0, 0, 0, 0, 0, digits(host))
}

/// The IPv4 address beside one of the lab's IPv6; `None`: it is none of the lab's.
pub fn four(six: Ipv6Addr) -> Option<Ipv4Addr> {
    let [LAB, network, 0, 0, 0, 0, 0, host] = six.segments() else {
        return None;
    };
    let number = |digits: u16| u8::try_from(digits / 16 * 10 + digits % 16).ok();
    Some(Ipv4Addr::new(10, 71, number(network)?, number(host)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_one_beside_it() {
        for site in ENDPOINTS {
            assert_eq!(four(site.ip6()), Some(site.ip()));
        }
        assert_eq!(Site::Tc1.ip6().to_string(), "fd71:2::21");
        assert_eq!(four("fe80::1".parse().unwrap()), None);
    }
}
