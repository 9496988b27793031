//! ServiceChange of either side (H.248.1 §7.2.8), and a gateway that begins anew in
//! the middle of a call.

use sidestep_core::engine::{Path, Side};
use sidestep_core::sip::Method;

use super::mg::*;
use super::scene::{self, Ua, config, is_request};

fn service_change(termination: &str, method: &str) -> String {
    format!(
        "Transaction = 77 {{ Context = - {{ ServiceChange = {termination} {{ Services {{ Method = \
         {method}, Reason = \"900 Service Restored\", Version = 1 }} }} }} }}"
    )
}

fn changed(termination: &str) -> String {
    format!(
        "Reply = 77 {{ Context = - {{ ServiceChange = {termination} {{ Services {{ Version = 1 }} }} }} }}"
    )
}

#[test]
fn a_gateway_that_begins_anew_has_no_call_any_more() {
    for (termination, method) in [
        ("ROOT", "Restart"),
        ("ROOT", "Forced"),
        ("*", "Restart"),
        ("A55*", "Forced"),
        ("a5556", "Forced"),
    ] {
        let (mut control, _) = Control::up(config());
        control.passes_to_mgc(&service_change(termination, method));
        is_request(&control.at_tc(), Method::Bye);
        assert_eq!(control.call().state, "ended", "{termination} {method}");
        control.passes_to_mg(&changed(termination));
    }
}

#[test]
fn calls_survive_what_leaves_them() {
    for (termination, method) in [
        ("ROOT", "Graceful"),
        ("ROOT", "Disconnected"),
        ("ROOT", "HandOff"),
        ("ROOT", "Failover"),
        ("A4444", "Forced"),
        ("B*", "Forced"),
    ] {
        let (mut control, _) = Control::up(config());
        control.passes_to_mgc(&service_change(termination, method));
        control.passes_to_mg(&changed(termination));
        control.silence();
        control.is("up", Path::Direct, None);
        // It ends as ever.
        control.passes_to_mg(&subtract(50009));
        control.passes_to_mgc(&subtracted(50009));
        is_request(&control.at_tc(), Method::Bye);
    }
}

#[test]
fn the_controllers_own_service_changes_pass() {
    let (mut control, _) = Control::up(config());
    for method in ["HandOff", "Graceful", "Disconnected", "Failover", "X-odd"] {
        control.passes_to_mg(&service_change("ROOT", method).replace("77", "50020"));
        control.passes_to_mgc(&changed("ROOT").replace("77", "50020"));
        control.is("up", Path::Direct, None);
        control.wait(40_000);
    }
    // One that takes the termination out of service ends its call.
    control.passes_to_mg(&service_change("A5556", "Forced").replace("77", "50021"));
    is_request(&control.at_tc(), Method::Bye);
    // As does a controller that begins anew.
    for (termination, method) in [("ROOT", "Restart"), ("ROOT", "Forced"), ("*", "Restart")] {
        let (mut control, _) = Control::up(config());
        control.passes_to_mg(&service_change(termination, method));
        is_request(&control.at_tc(), Method::Bye);
        control.passes_to_mgc(&changed(termination));
        control.silence();
        assert_eq!(control.call().state, "ended", "{termination} {method}");
    }
}

#[test]
fn a_gateway_that_has_begun_anew_takes_calls_again() {
    let (mut control, _) = Control::up(config());
    control.passes_to_mgc(&service_change("ROOT", "Restart"));
    is_request(&control.at_tc(), Method::Bye);
    control.passes_to_mg(&changed("ROOT"));
    // What is left of before is nobody's.
    control.passes_to_mg(&subtract(50008));
    control.passes_to_mgc("Reply = 50008 { Context = 5000 { Error = 411 { \"context?\" } } }");
    control.silence();
    control.wait(40_000);
    control.tc.clear();
    // The same names again.
    control.mgc_says(&add(50009, &vm_sdp()));
    assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 8 101"]);
    control.passes_to_mgc(&added(50009, &mg_sdp()));
    let mut tc = Ua::tc();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9000", "0 101", 1, ""));
    let states: Vec<(&str, Path)> = control
        .engine
        .calls()
        .iter()
        .map(|call| (call.state, call.path))
        .collect();
    assert_eq!(states, [("ended", Path::Direct), ("up", Path::Direct)]);
}

#[test]
fn a_gateway_that_is_asked_at_another_port() {
    // As in Appendix I: its ServiceChangeAddress is honoured by who hears it, and what
    // goes there is the same conversation.
    let mut config = config();
    config.h248_ports.push(55555);
    let mut control = Control::registered(config);
    control.passes_to_mgc(
        "Transaction = 9998 { Context = - { ServiceChange = ROOT { Services { Method = Restart, \
         ServiceChangeAddress = 55555 } } } }",
    );
    control.passes_to_mg(
        "Reply = 9998 { Context = - { ServiceChange = ROOT { Services { ServiceChangeAddress = \
         [10.71.1.11]:55555 } } } }",
    );
    const MG: &str = "10.71.3.31:55555";
    const MGC: &str = "10.71.1.11:55555";
    control.put(Side::Vm, MGC, MG, of_mgc(&add(50003, &vm_sdp())));
    let told = control.gateway.pop_front().expect("for the gateway");
    assert_eq!(
        (told.src, told.dst),
        (scene::address(MGC), scene::address(MG))
    );
    assert_eq!(
        remotes(&scene::text(&told.payload)),
        ["10.71.2.21:9000 0 8 101"]
    );
    control.put(Side::Net, MG, MGC, of_mg(&added(50003, &mg_sdp())));
    control.vm.pop_front().expect("for the controller");
    let mut tc = Ua::tc();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    // Our own goes there, too.
    let ours = control.gateway.pop_front().expect("for the gateway");
    assert_eq!(
        (ours.src, ours.dst),
        (scene::address(MGC), scene::address(MG))
    );
    let done = modified(requests(&scene::text(&ours.payload))[0]);
    control.put(Side::Net, MG, MGC, of_mg(&done));
    control.is("up", Path::Direct, None);
    control.silence();
}

#[test]
fn a_gateway_registers_as_without_sidestep() {
    let mut control = Control::registered(config());
    control.passes_to_mgc(
        "Transaction = 9998 { Context = - { ServiceChange = ROOT { Services { Method = Restart, \
         ServiceChangeAddress = 55555, Profile = ResGW/1 } } } }",
    );
    control.passes_to_mg(
        "Reply = 9998 { Context = - { ServiceChange = ROOT { Services { ServiceChangeAddress = \
         55555, Profile = ResGW/1 } } } }",
    );
    control.passes_to_mg(
        "Transaction = 5 { Context = - { AuditCapability = * { Audit { Media } } } }",
    );
    control.silence();
    assert!(control.engine.calls().is_empty());
}
