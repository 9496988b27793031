//! What the operator says of media packets themselves.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::{call_gateway, steer, thin_client, wait_over};
use sidestep_tests::wait::{seconds, wait_for};

/// Counts RTP that arrives somewhere, by whether it is marked EF (46).
fn watch_marks(lab: &Lab, site: Site) -> Result<()> {
    lab.namespace(site).run(&[
        "nft",
        "table ip marks { chain in { type filter hook input priority 0; \
         udp length 180 ip dscp ef counter; udp length 180 ip dscp != ef counter; }; }",
    ])?;
    Ok(())
}

/// Packets that came marked, and others.
fn marks(lab: &Lab, site: Site) -> Result<(u64, u64)> {
    let list = lab
        .namespace(site)
        .run(&["nft", "list", "table", "ip", "marks"])?;
    let mut counted = list.lines().filter_map(|line| {
        let (_, rest) = line.split_once("counter packets ")?;
        rest.split(' ').next()?.parse().ok()
    });
    let mut next = || counted.next().with_context(|| list.clone());
    Ok((next()?, next()?))
}

/// With `media.dscp` both directions of a bypassed call arrive marked, whatever
/// their senders set, and unharmed.
#[test]
fn media_is_marked_as_the_operator_says() {
    in_lab(|lab| {
        for site in [Site::Tc1, Site::Gw] {
            watch_marks(lab, site)?;
        }
        for path in ["direct", "steered"] {
            let mut sidestep = Sidestep::start_with(lab, &[], |config| {
                config["media"]["dscp"] = json!(46);
                if path == "steered" {
                    steer(config);
                }
            })?;
            let tc = thin_client(lab, &sidestep, |_| {})?;
            let (mut gw, mut vm) = call_gateway(lab)?;
            sidestep.wait_call(lab, path)?;
            for site in [Site::Tc1, Site::Gw] {
                let (before, _) = marks(lab, site)?;
                wait_for("fifty marked packets", seconds(5), || {
                    let (now, _) = marks(lab, site).ok()?;
                    (now >= before + 50).then_some(())
                })?;
                let (_, others) = marks(lab, site)?;
                ensure!(others == 0, "{others} packets without the mark, {path}");
            }
            vm.hang_up()?;
            gw.finish(seconds(5))?;
            wait_over(lab, &sidestep)?;
            drop((tc, vm));
            sidestep.terminate()?;
        }
        Ok(())
    });
}
