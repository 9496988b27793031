//! Sockets of another process, as it has set them up.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use nix::sys::socket::{SockaddrStorage, getpeername};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Its sockets that are connected to one of these addresses.
///
/// # Errors
///
/// There is no such process, or it is not ours to look into.
pub fn connected(pid: u32, to: &[Ipv4Addr]) -> Result<Vec<OwnedFd>> {
    let number = Pid::from_raw(pid.try_into()?).context("no process has this number")?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may be closed by now.
        let Ok(socket) = pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()) else {
            continue;
        };
        let Ok(peer) = getpeername::<SockaddrStorage>(std::os::fd::AsRawFd::as_raw_fd(&socket))
        else {
            continue;
        };
        let v4 = peer.as_sockaddr_in().map(|peer| peer.ip());
        let v6 = peer.as_sockaddr_in6().map(|peer| peer.ip());
        let ip = v4.or_else(|| v6.and_then(|ip| ip.to_ipv4_mapped()));
        if ip.is_some_and(|ip| to.contains(&ip)) {
            sockets.push(socket);
        }
    }
    Ok(sockets)
}
