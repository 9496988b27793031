//! ServiceChange of either side (H.248.1 §7.2.8), and a gateway that begins anew in
//! the middle of a call.

use sidestep_core::engine::Path;
use sidestep_core::sip::Method;

use super::mg::*;
use super::scene::{config, is_request};

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
    for method in ["HandOff", "Graceful", "X-odd"] {
        control.passes_to_mg(&service_change("ROOT", method).replace("77", "50020"));
        control.passes_to_mgc(&changed("ROOT").replace("77", "50020"));
        control.is("up", Path::Direct, None);
        control.wait(40_000);
    }
    // One that takes the termination out of service ends its call.
    control.passes_to_mg(&service_change("A5556", "Forced").replace("77", "50021"));
    is_request(&control.at_tc(), Method::Bye);
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
