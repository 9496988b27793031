//! Signalling and media over IPv6; the thin client has registered over IPv4.

use sidestep_core::engine::{Path, Side};

use super::mg::*;
use super::scene::{self, Scene, Ua, config};

const MGC6: &str = "[fd71:1::11]:2944";
const MG6: &str = "[fd71:3::31]:2944";

fn sdp6(rtp: &str) -> String {
    sdp(rtp, "0").replace("IP4", "IP6")
}

#[test]
fn a_call_over_ipv6_is_bypassed() {
    let mut config = config();
    config.vms[0].address6 = Some("fd71:1::11".parse().unwrap());
    let mut control = Control(Scene::registered(config, None));
    let command = of_mgc(&add(50003, &sdp6("[fd71:1::11]:7000")));
    control.put(Side::Vm, MGC6, MG6, command);
    let invite = control.at_tc();
    let offer = sdp6("[fd71:2::21]:9000");
    control.tc_sends(Ua::tc().response(&invite, 200, &offer));
    let sent = control.gateway.pop_front().expect("the Add");
    assert_eq!(sent.dst, scene::address(MG6));
    let sent = scene::text(&sent.payload);
    assert_eq!(remotes(&sent), ["[fd71:2::21]:9000 0"]);

    let reply = of_mg(&added(50003, &sdp6("[fd71:3::31]:8000")));
    control.put(Side::Net, MG6, MGC6, &reply);
    let heard = control.vm.pop_front().expect("the reply");
    assert_eq!(scene::text(&heard.payload), reply);
    assert_eq!(scene::audio(&control.at_tc()), "[fd71:3::31]:8000 0");
    control.is("up", Path::Direct, None);
    assert_eq!(
        control.flow_lines()[0],
        "gateway->tc [fd71:3::31]:8000 > [fd71:2::21]:9000 direct"
    );
}
