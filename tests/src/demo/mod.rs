//! The demo: two calls past the VM, and the same call through it.
//!
//! It builds a lab, starts `sidestep run` with `config/lab.yaml`, places an
//! outgoing and an incoming call with stock peers, measures, stops Sidestep,
//! places the call twice more with a relay in the VM carrying the media, and
//! ends with a table and a verdict.

mod baseline;
mod call;
mod cost;
mod delay;
mod outcome;
mod report;
mod screen;

use anyhow::{Result, ensure};

use crate::lab::{Lab, Site};
use crate::peers::sidestep::Sidestep;
use crate::peers::thin_client::{self, ThinClient};
use crate::relay::Kind;
use crate::stage::{phone, registrar, stock_client};

use call::{Direction, Party, Plan};
use outcome::Checks;
use screen::Screen;

/// Seconds of media in each call.
const TALK: u64 = 10;

/// Runs the demo; whether everything is as it should be.
pub fn run() -> Result<bool> {
    let screen = Screen::new();
    screen.title("Sidestep: two calls whose RTP never touches the VM");

    let step = screen.step("the lab: hypervisor, three VMs, two thin clients, gateway, router");
    let lab = Lab::new()?;
    step.done(&format!("{} network namespaces", Site::ALL.len()));

    let step = screen.step("sidestep run --config config/lab.yaml");
    let known = cost::Programs::loaded()?;
    let statistics = cost::Statistics::enable()?;
    let mut sidestep = Sidestep::start(&lab)?;
    let programs = cost::Programs::loaded()?.since(&known);
    step.done(&format!("{} kernel programs attached", programs.count()));

    let step = screen.step("thin clients register: address and codecs (tc1), nothing (soft2)");
    let setup = thin_client::Setup::new("tc1", registrar(Site::Vm1));
    let tc1 = ThinClient::start(&lab, Site::Tc1, &setup)?;
    sidestep.wait_registered(&lab, "tc1")?;
    let tc2 = stock_client(&lab, &sidestep, Site::Tc2, "soft2", Site::Vm2)?;
    step.done("thin-client and baresip 1.0.0, both with digest authentication");
    screen.quote(&sidestep.show(&lab, &["clients"])?);

    let mut checks = Checks::default();
    let mut phone1 = phone(&lab, Site::Vm1)?;
    let plan = Plan {
        number: 1,
        direction: Direction::Outgoing,
        vm: Site::Vm1,
        tc: Site::Tc1,
        party: "thin-client, registered with address and codecs",
    };
    let first = call::place(
        &lab,
        &sidestep,
        &screen,
        &plan,
        &mut phone1,
        &mut Party::Own(tc1),
        &programs,
    )?;
    checks.of_call(&plan, &first);

    let mut phone2 = phone(&lab, Site::Vm2)?;
    let plan = Plan {
        number: 2,
        direction: Direction::Incoming,
        vm: Site::Vm2,
        tc: Site::Tc2,
        party: "baresip 1.0.0 with auto-answer, asked for its offer",
    };
    let second = call::place(
        &lab,
        &sidestep,
        &screen,
        &plan,
        &mut phone2,
        &mut Party::Stock(tc2),
        &programs,
    )?;
    checks.of_call(&plan, &second);
    screen.quote(&sidestep.show(&lab, &["calls"])?);

    let step = screen.step("Sidestep stops (SIGTERM); from here on everything goes through the VM");
    let status = sidestep.terminate()?;
    ensure!(status.success(), "sidestep ended with {status}");
    drop((statistics, phone1, phone2));
    step.done("door, namespace and programs are gone");

    let relays = [Kind::Datagrams, Kind::Audio]
        .into_iter()
        .map(|kind| baseline::place(&lab, &screen, kind))
        .collect::<Result<Vec<_>>>()?;
    for relay in &relays {
        checks.of_relay(relay, &first);
    }

    report::print(&screen, &[first, second], &relays);
    Ok(checks.conclude(&screen))
}
