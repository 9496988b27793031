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
    assert_eq!(control.call().direction, "incoming");
    // 605: the gateway's.
    control.passes_to_mgc(&added(50003, &mg_sdp()));
    // 606.
    assert_eq!(scene::audio(&control.at_tc()), "10.71.3.31:8000 0");
    control.silence();
}

#[test]
fn who_has_picked_up_without_being_called_calls() {
    let ringing = |add: String| add.replace("Add = A5555 { ", "Add = A5555 { Signals { al/ri }, ");
    let picks_up = |control: &mut Control, context: &str| {
        let call = CALL.replace("Context = -", &format!("Context = {context}"));
        control.passes_to_mgc(&call);
        control.passes_to_mg(&format!(
            "Reply = 10 {{ Context = {context} {{ Notify = A5555 }} }}"
        ));
    };
    let direction = |control: &mut Control, add: &str| {
        control.mgc_says(add);
        control.at_mg();
        let calls = control.engine.calls();
        calls.last().map(|call| call.direction)
    };
    // Nobody has: 502 and on.
    let mut control = Control::registered(config());
    assert_eq!(
        direction(&mut control, &add(1, &vm_sdp())),
        Some("outgoing")
    );
    // Who is rung is called, whatever was before.
    let mut control = Control::registered(config());
    picks_up(&mut control, "-");
    let add_ringing = ringing(add(1, &vm_sdp()));
    assert_eq!(direction(&mut control, &add_ringing), Some("outgoing"));
    // Who answers a call does not call, nor does who has called before and is gone.
    let (mut control, _) = Control::up(config());
    picks_up(&mut control, "5000");
    control.passes_to_mg(&subtract(50009));
    control.passes_to_mgc(&subtracted(50009));
    assert_eq!(
        direction(&mut control, &add(1, &vm_sdp())),
        Some("outgoing")
    );
    let mut control = Control::registered(config());
    picks_up(&mut control, "-");
    assert_eq!(
        direction(&mut control, &add(1, &vm_sdp())),
        Some("incoming")
    );
    control.passes_to_mgc(&added(1, &mg_sdp()));
    control.passes_to_mg(&subtract(50009));
    control.passes_to_mgc(&subtracted(50009));
    assert_eq!(
        direction(&mut control, &add(2, &vm_sdp())),
        Some("outgoing")
    );
    // Nor who answers before there is anything to talk by.
    let mut control = Control::registered(config());
    control
        .passes_to_mg("Transaction = 7 { Context = - { Modify = A5555 { Signals { al/ri } } } }");
    control.passes_to_mgc("Reply = 7 { Context = - { Modify = A5555 } }");
    picks_up(&mut control, "-");
    assert_eq!(
        direction(&mut control, &add(1, &vm_sdp())),
        Some("outgoing")
    );
    // Another's telephone says nothing.
    let mut control = Control::registered(config());
    picks_up(&mut control, "-");
    let other = add(1, &vm_sdp()).replace("A5555", "A7777");
    assert_eq!(direction(&mut control, &other), Some("outgoing"));
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
