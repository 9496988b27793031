//! Fig. 5, H.248, the TC calls: the steps of the gateway's side by their numbers;
//! those of the TC's side (502, 503, 508, 509) in SIP.

use sidestep_core::engine::Path;

use super::mg::*;
use super::scene::{self, Ua, config};

#[test]
fn fig5_steps_501_to_504_the_gateway_is_told_the_tcs_address_and_codecs() {
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    let message = control.at_mg();
    assert_eq!(remotes(&message), ["10.71.2.21:9000 0 8 101"]);
    // All else is as the controller wrote it.
    let before = of_mgc(&add(50003, &vm_sdp()));
    let (head, _) = before.split_once("Remote {").unwrap();
    assert!(message.starts_with(head), "{message}");
    assert!(message.ends_with("    } } }\n  }\n}\n"), "{message}");
    control.is("setup", Path::Pending, None);
    let call = control.call();
    assert_eq!((call.protocol, call.direction), ("h248", "outgoing"));
    // Sent again, it leaves again with the same bytes.
    control.mgc_says(&add(50003, &vm_sdp()));
    assert_eq!(control.at_mg(), message);
    control.silence();
}

#[test]
fn fig5_step_505_the_gateways_reply_is_learned_and_reaches_the_vm() {
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    control.at_mg();
    control.passes_to_mgc(&added(50003, &mg_sdp()));
    // 508: the TC is told of the gateway.
    let invite = control.at_tc();
    assert_eq!(scene::audio(&invite), "10.71.3.31:8000 0");
    control.silence();
}

#[test]
fn fig5_steps_506_507_and_510_to_513_pass_as_they_are() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.passes_to_mg(
        "Transaction = 50004 { Context = 5000 { Modify = A5555 { Signals { al/ri } } } }",
    );
    control.passes_to_mgc("Reply = 50004 { Context = 5000 { Modify = A5555 } }");
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9000", "0 101", 1, ""));
    control.passes_to_mgc(
        "Transaction = 10 { Context = 5000 { Notify = A5555 { ObservedEvents = 1234 { \
         19990729T22020002:al/of{init=false} } } } }",
    );
    control.passes_to_mg("Reply = 10 { Context = 5000 { Notify = A5555 } }");
    control.passes_to_mg(
        "Transaction = 50005 { Context = 5000 { Modify = A5555 { Events = 1235 { al/on { \
         strict=state } }, Signals { } } } }",
    );
    control.passes_to_mgc("Reply = 50005 { Context = 5000 { Modify = A5555 } }");
    control.is("up", Path::Direct, None);
    // 516: media between TC and gateway; the VM's own is guarded.
    assert_eq!(
        control.flow_lines(),
        [
            "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct",
            "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8000 direct",
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 guard",
            "gateway->tc 10.71.3.31:8001 > 10.71.2.21:9001 direct rtcp",
            "tc->gateway 10.71.2.21:9001 > 10.71.3.31:8001 direct rtcp",
            "vm->gateway 10.71.1.11:7001 > 10.71.3.31:8001 guard rtcp",
        ]
    );
    control.silence();
}

#[test]
fn fig5_step_503_information_that_has_changed_before_is_what_504_carries() {
    // A stock softphone has no media registered: it is asked, and the Add waits.
    let mut control = Control(scene::Scene::registered(config(), None));
    control.mgc_says(&add(50003, &vm_sdp()));
    assert!(control.gateway.is_empty());
    let mut tc = Ua::tc();
    let invite = control.at_tc();
    tc.learn(&invite);
    // The controller asks again meanwhile, and is told to be patient.
    control.mgc_says(&add(50003, &vm_sdp()));
    assert!(control.at_mgc().ends_with("Pending = 50003 {}\n"));
    let offer = scene::sdp("10.71.2.21:9200", "8 101", 1, "");
    control.tc_sends(tc.response(&invite, 200, &offer));
    let message = control.at_mg();
    assert_eq!(remotes(&message), ["10.71.2.21:9200 8 101"]);
    control.passes_to_mgc(&added(50003, &sdp("10.71.3.31:8000", "8")));
    let ack = control.at_tc();
    assert_eq!(scene::audio(&ack), "10.71.3.31:8000 8");
    control.is("up", Path::Direct, None);
    control.silence();
}

#[test]
fn fig5_step_509_changed_information_goes_to_the_gateway_by_modify() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let message = control.at_mg();
    assert!(
        message.starts_with("MEGACO/1 [10.71.1.11]:2944\nTransaction = "),
        "{message}"
    );
    assert!(
        message.contains("Context = 5000 {\n    Modify = A5556 {"),
        "{message}"
    );
    assert_eq!(remotes(&message), ["10.71.2.21:9100 0 101"]);
    let [id] = requests(&message)[..] else {
        panic!("{message}")
    };
    assert_ne!(id, 50003);
    // Its reply is not the controller's to hear.
    control.mg_says(&modified(id));
    control.silence();
    control.is("up", Path::Direct, None);
    assert_eq!(
        control.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9100 direct"
    );
    // Nothing more is said, and the controller's own transactions go on.
    control
        .passes_to_mg("Transaction = 50006 { Context = 5000 { Modify = A5555 { Signals { } } } }");
    control.passes_to_mgc("Reply = 50006 { Context = 5000 { Modify = A5555 } }");
    control.silence();
}

#[test]
fn a_modify_of_our_own_is_repeated_until_its_reply_comes() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let message = control.at_mg();
    control.wait(600);
    assert_eq!(control.at_mg(), message);
    let [id] = requests(&message)[..] else {
        panic!("{message}")
    };
    control.mg_says(&modified(id));
    control.wait(10_000);
    control.silence();
}

#[test]
fn the_call_ends_with_the_subtract() {
    let (mut control, _) = Control::up(config());
    control.passes_to_mg(&subtract(50009));
    control.passes_to_mgc(&subtracted(50009));
    let bye = control.at_tc();
    scene::is_request(&bye, sidestep_core::sip::Method::Bye);
    assert_eq!(control.call().state, "ended");
    let mut tc = Ua::tc();
    tc.learn(&bye);
    let ok = tc.response(&bye, 200, "");
    control.tc_sends(ok);
    control.is_clean();
}
