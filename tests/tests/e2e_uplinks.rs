//! Which interfaces can be uplinks, and in which mode the kernel runs the program
//! there: the matrix of docs/datapath.md, found by making one of each kind.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::{
    GATEWAY_TONE, TC_TONE, Wires, call_gateway, hear, steer, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// A kind of interface, as it may be an uplink.
struct Kind {
    name: &'static str,
    /// How `ip` makes one.
    made: &'static str,
    /// The mode that `status` shows.
    mode: &'static str,
    /// What `doctor` says of it while the daemon runs: how it is, and a word of why.
    said: &'static [(&'static str, &'static str)],
}

/// Kernels are built without some of them. Those are left out, and no others.
const OPTIONAL: [&str; 4] = ["u-bond", "u-vlan", "u-macvlan", "u-vxlan"];

const KINDS: [Kind; 8] = [
    Kind {
        name: "u-veth",
        made: "link add u-veth type veth peer name u-peer",
        mode: "driver",
        said: &[
            ("ok", "veth: XDP in the driver"),
            ("ok", "attached (driver)"),
        ],
    },
    Kind {
        name: "u-tap",
        made: "tuntap add dev u-tap mode tap",
        mode: "driver",
        said: &[
            ("ok", "tun: XDP in the driver"),
            ("ok", "attached (driver)"),
        ],
    },
    Kind {
        name: "u-bond",
        made: "link add u-bond type bond mode active-backup",
        mode: "driver",
        said: &[("ok", "attached (driver)")],
    },
    Kind {
        name: "u-vlan",
        made: "link add link u-peer name u-vlan type vlan id 5",
        mode: "generic",
        said: &[("warn", "a VLAN"), ("warn", "vlan runs no XDP itself")],
    },
    Kind {
        name: "u-macvlan",
        made: "link add link u-peer name u-macvlan type macvlan",
        mode: "generic",
        said: &[("warn", "macvlan runs no XDP itself")],
    },
    Kind {
        name: "u-vxlan",
        made: "link add u-vxlan type vxlan id 7 remote 10.71.5.1 dstport 4789",
        mode: "generic",
        said: &[("warn", "vxlan runs no XDP itself")],
    },
    Kind {
        name: "u-bridge",
        made: "link add u-bridge type bridge",
        mode: "generic",
        said: &[
            ("warn", "is a bridge itself"),
            ("warn", "bridge runs no XDP itself"),
        ],
    },
    Kind {
        name: "u-tun",
        made: "tuntap add dev u-tun mode tun",
        mode: "generic",
        said: &[("fail", "no Ethernet header")],
    },
];

/// What `doctor` finds, whether or not it says that something is wrong.
fn doctor(lab: &Lab, sidestep: &Sidestep) -> Result<Vec<Value>> {
    let output = sidestep.command(lab, &["doctor", "--json"]).output()?;
    serde_json::from_slice(&output.stdout).context("doctor's JSON")
}

/// Whether `doctor` said of a subject that it is so, in these words.
fn says(findings: &[Value], subject: &str, result: &str, words: &str) -> bool {
    findings.iter().any(|finding| {
        finding["subject"] == subject
            && finding["result"] == result
            && finding["found"]
                .as_str()
                .is_some_and(|found| found.contains(words))
    })
}

#[test]
fn every_kind_of_interface_gets_its_mode_and_doctor_says_why() {
    in_lab(|lab| {
        let mut made = Vec::new();
        for kind in &KINDS {
            let outcome = lab
                .ip(Site::Hv, kind.made)
                .and_then(|_| lab.ip(Site::Hv, &format!("link set {} up", kind.name)));
            match outcome {
                Ok(_) => made.push(kind),
                Err(error) if OPTIONAL.contains(&kind.name) => {
                    println!("{}: not on this kernel: {error:#}", kind.name);
                }
                Err(error) => return Err(error.context(kind.name)),
            }
        }
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["uplinks"] = made.iter().map(|kind| kind.name).collect();
        })?;
        let status = sidestep.query(lab, "status")?;
        let findings = doctor(lab, &sidestep)?;
        let interfaces = status[0]["interfaces"].as_array();
        for kind in made {
            let interface = interfaces
                .and_then(|all| all.iter().find(|interface| interface["name"] == kind.name))
                .with_context(|| format!("no {}: {status:?}", kind.name))?;
            println!("{}: {}", kind.name, interface["mode"]);
            ensure!(interface["mode"] == kind.mode, "{interface}");
            for (result, words) in kind.said {
                ensure!(
                    says(&findings, kind.name, result, words),
                    "not {result} with {words:?} of {}: {findings:#?}",
                    kind.name
                );
            }
        }
        Ok(())
    });
}

/// What steering would stumble over is told of before it does.
#[test]
fn doctor_tells_of_what_steering_stumbles_over() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            if let Some(uplinks) = config["uplinks"].as_array_mut() {
                uplinks.push(json!("u-tap"));
            }
        })?;
        lab.namespace(Site::Hv).ip_batch(
            "tuntap add dev u-tap mode tap\n\
             link set u-tap up\n",
        )?;
        let told = |subject: &str, words: &str| -> Result<bool> {
            Ok(says(&doctor(lab, &sidestep)?, subject, "warn", words))
        };
        let (checksums, filter) = ("leave UDP checksums to a card", "up3 filters strictly");
        ensure!(!told("u-tap", checksums)? && !told("rp_filter", filter)?);
        lab.ip(Site::Hv, "link set u-tap master br0")?;
        lab.namespace(Site::Hv)
            .sysctl(&[("ipv4/conf/up3/rp_filter", "1")])?;
        ensure!(told("u-tap", checksums)? && told("rp_filter", filter)?);
        // A port of a bridge filters nothing.
        ensure!(!told("rp_filter", "up0")?);
        Ok(())
    });
}

/// Where no driver takes the program, since the far ends have jumbo frames, the stack
/// runs it: media is steered and counted all the same.
#[test]
fn a_call_is_steered_in_generic_mode() {
    in_lab(|lab| {
        for (site, interface) in [
            (Site::Net, "vms"),
            (Site::Switch, "trunk"),
            (Site::Net, "office"),
            (Site::Net, "routed"),
        ] {
            lab.ip(site, &format!("link set {interface} mtu 9000"))?;
        }
        lab.block_thin_clients()?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let status = sidestep.query(lab, "status")?;
        for interface in status[0]["interfaces"].as_array().into_iter().flatten() {
            let mode = match interface["role"] == "uplink" {
                true => json!("generic"),
                false => json!("tcx"),
            };
            ensure!(interface["mode"] == mode, "{interface}");
        }
        let why = "veth runs XDP itself, but refused here";
        let findings = doctor(lab, &sidestep)?;
        ensure!(says(&findings, "up0", "warn", why), "{findings:#?}");

        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "steered")?;
        let (anchor, tc, far) = (Site::Vm1.ip(), Site::Tc1.ip(), Site::Gw.ip());
        hear(&wires.thin_client, anchor, tc, GATEWAY_TONE)?;
        hear(&wires.gateway, anchor, far, TC_TONE)?;
        for leg in ["gateway->tc", "tc->gateway"] {
            let what = format!("{leg} to be counted");
            let row = sidestep.wait_for_row(lab, "flows", &what, seconds(5), |row| {
                row["leg"] == leg && row["kind"] == "steered" && row["packets"].as_u64() > Some(50)
            })?;
            ensure!(row["lost"] == 0, "{row}");
        }
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}
