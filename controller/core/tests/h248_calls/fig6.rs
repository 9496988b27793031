//! Fig. 6, H.248, the TC is called: the steps of the gateway's side by their
//! numbers; those of the TC's side (606 to 609) in SIP.

use sidestep_core::engine::Path;
use sidestep_core::sip::Method;

use super::mg::*;
use super::scene::{self, Ua, config, is_request};

const CALL: &str = "Transaction = 10 { Context = - { Notify = A5555 { ObservedEvents = 1 { \
                    20260101T10000000:al/of } } } }";

#[test]
fn fig6_steps_601_to_605() {
    let mut control = Control::registered(config());
    // 602, 603: a call for the TC.
    control.passes_to_mgc(CALL);
    control.passes_to_mg("Reply = 10 { Context = - { Notify = A5555 } }");
    // 604: the caller's termination and RTP, with the TC's address and codecs.
    control.mgc_says(&add(50003, &vm_sdp()));
    assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 8 101"]);
    // 605: the gateway's.
    control.passes_to_mgc(&added(50003, &mg_sdp()));
    // 606.
    assert_eq!(scene::audio(&control.at_tc()), "10.71.3.31:8000 0");
    control.silence();
}

#[test]
fn fig6_steps_607_and_610_changed_information_goes_to_the_gateway() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    // 607.
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9300", "0", 1, ""));
    let message = control.at_mg();
    assert_eq!(remotes(&message), ["10.71.2.21:9300 0"]);
    let [id] = requests(&message)[..] else {
        panic!("{message}")
    };
    // 610: the controller's ringback goes as it is, beside ours.
    control.passes_to_mg(
        "Transaction = 50004 { Context = 5000 { Modify = A5555 { Signals { cg/rt } } } }",
    );
    control.passes_to_mgc("Reply = 50004 { Context = 5000 { Modify = A5555 } }");
    control.mg_says(&modified(id));
    control.silence();
    control.is("up", Path::Direct, None);
    assert_eq!(
        control.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9300 direct"
    );
}

#[test]
fn fig6_step_610_the_controllers_own_modify_carries_the_changed_information() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9300", "0", 1, ""));
    let ours = control.at_mg();
    let [id] = requests(&ours)[..] else {
        panic!("{ours}")
    };
    control.mg_says(&modified(id));
    // With the VM's media in it, as a controller that says it again would.
    control.mgc_says(&modify(50004, &vm_sdp()));
    assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9300 0"]);
    control.passes_to_mgc(&modified(50004));
    control.silence();
}

#[test]
fn fig6_step_611_the_gateways_changed_information_goes_to_the_tc() {
    let (mut control, mut tc) = Control::up(config());
    control.passes_to_mg(
        "Transaction = 50004 { Context = 5000 { Modify = A5556 { Signals { cg/rt } } } }",
    );
    let changed = sdp("10.71.3.31:8200", "0");
    control.passes_to_mgc(&format!(
        "Reply = 50004 {{ Context = 5000 {{ Modify = A5556 {{ Media {{ Stream = 1 {{ Local \
         {{\n{changed}}} }} }} }} }} }}"
    ));
    let invite = control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9000", "0 101", 1, ""));
    assert_eq!(scene::audio(&invite), "10.71.3.31:8200 0");
    control.silence();
    assert_eq!(
        control.flow_lines()[0],
        "gateway->tc 10.71.3.31:8200 > 10.71.2.21:9000 direct"
    );
}

#[test]
fn fig6_steps_612_to_614_the_ringback_stops_and_media_flows() {
    let (mut control, _) = Control::up(config());
    control
        .passes_to_mg("Transaction = 50005 { Context = 5000 { Modify = A5555 { Signals { } } } }");
    control.passes_to_mgc("Reply = 50005 { Context = 5000 { Modify = A5555 } }");
    control.is("up", Path::Direct, None);
    assert_eq!(control.flow_lines().len(), 6);
    // The gateway's party hangs up: Notify, Subtract.
    control.passes_to_mgc(
        "Transaction = 11 { Context = 5000 { Notify = A5555 { ObservedEvents = 1 { al/on } } } }",
    );
    control.passes_to_mg("Reply = 11 { Context = 5000 { Notify = A5555 } }");
    control.passes_to_mg(&subtract(50006));
    control.passes_to_mgc(&subtracted(50006));
    is_request(&control.at_tc(), Method::Bye);
}
