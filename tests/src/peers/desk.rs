//! A thin client that takes any number of calls at once: the project's own user
//! agent registers, and SIPp answers at its address.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sidestep_core::time::Time;
use thin_client::agent::Event;
use thin_client::ua::UserAgent;

use super::sidestep::Sidestep;
use super::sipp::{NO_LIMIT, Run, Sipp};
use crate::lab::{Lab, Site};
use crate::stage::registrar;
use crate::wait::seconds;

/// Where it is reached, on its box.
pub const PORT: u16 = 5_062;

/// What it registers of its media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// None, as a stock telephone.
    Nothing,
    /// Its address (port 20000) alone.
    Address,
    /// Address and codec (PCMU), as in step 301.
    Codecs,
}

/// Registers the first VM's thin client tc1, and has it answer every call by this
/// scenario.
pub fn answer(
    lab: &Lab,
    sidestep: &Sidestep,
    registered: Registered,
    scenario: &str,
) -> Result<Sipp> {
    register(lab, registered, Site::Tc1.ip().into())?;
    sidestep.wait_registered(lab, "tc1")?;
    let run = Run {
        port: PORT,
        calls: NO_LIMIT,
        ..Run::new(scenario)
    };
    Sipp::start(lab, Site::Tc1, &run)
}

/// Registers for an hour, with media at this address, and leaves the port to who answers
/// there.
///
/// # Errors
///
/// It is not registered within ten seconds.
pub fn register(lab: &Lab, registered: Registered, media: IpAddr) -> Result<()> {
    let own = SocketAddrV4::new(Site::Tc1.ip(), PORT);
    let register = match registered {
        Registered::Nothing => "none",
        Registered::Address => "address",
        Registered::Codecs => "codecs",
    };
    let config = thin_client::config::parse(&format!(
        "server: {}\nuser: tc1\npassword: secret\nbind: {own}\nregister: {register}\nexpires: 3600\n\
         media: {{address: \"{media}\", port: 20000, codecs: [PCMU]}}\n",
        registrar(Site::Vm1),
    ))
    .map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let socket = lab
        .namespace(Site::Tc1)
        .enter(move || UdpSocket::bind(own))??;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let origin = Instant::now();
    let mut agent = UserAgent::new(config, Time::ZERO);
    let mut datagram = [0; 4_096];
    while origin.elapsed() < seconds(10) {
        let now = Time::from_origin(origin.elapsed());
        agent.handle_timeout(now);
        while let Some((to, bytes)) = agent.poll_output() {
            socket.send_to(&bytes, to)?;
        }
        while let Some(event) = agent.poll_event() {
            if matches!(event, Event::Registration(state) if state.registered) {
                return Ok(());
            }
        }
        // A timeout is as good as nothing received.
        if let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let from: SocketAddr = from;
            let now = Time::from_origin(origin.elapsed());
            agent.handle_datagram(now, from, &datagram[..length]);
        }
    }
    bail!("the thin client could not register")
}
