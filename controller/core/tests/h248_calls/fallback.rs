//! What goes wrong ends with the VM's own media, and the call says why.

use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::Method;

use super::mg::*;
use super::scene::{self, Scene, Ua, config, config_with, is_request};

#[test]
fn without_a_thin_client_everything_passes_byte_for_byte() {
    for (mut control, reason) in [
        (Control(Scene::new(config())), Reason::TcNotRegistered),
        (
            Control::registered(config_with(PathChoice::Vm)),
            Reason::Policy,
        ),
    ] {
        control.passes_to_mg(&add(50003, &vm_sdp()));
        control.passes_to_mgc(&added(50003, &mg_sdp()));
        control.passes_to_mg(&modify(50004, &vm_sdp()));
        control.passes_to_mgc(&modified(50004));
        control.is("up", Path::Vm, Some(reason));
        control.passes_to_mg(&subtract(50005));
        control.passes_to_mgc(&subtracted(50005));
        control.silence();
        control.is_clean();
    }
}

/// An Add of the RTP termination alone.
fn add_rtp(id: u32, remote: &str) -> String {
    format!(
        "Transaction = {id} {{ Context = $ {{ Add = $ {{ Media {{ Remote {{\n{remote}}} }} }} }} }}"
    )
}

#[test]
fn a_gateway_that_refuses_the_tcs_media_is_asked_for_the_vms() {
    for (code, reason) in [
        (449, Reason::NoCommonCodec),
        (515, Reason::NoCommonCodec),
        (510, Reason::GatewayRefused),
    ] {
        let mut control = Control::registered(config());
        control.mgc_says(&add_rtp(7, &vm_sdp()));
        assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 8 101"]);
        control.mg_says(&format!(
            "Reply = 7 {{ Context = $ {{ Error = {code} {{ \"no\" }} }} }}"
        ));
        // The Add goes again as the VM wrote it, under an id of our own.
        let again = control.at_mg();
        let [id] = requests(&again)[..] else {
            panic!("{again}")
        };
        assert_eq!(again, of_mgc(&add_rtp(id, &vm_sdp())), "{code}");
        control.mg_says(&format!("Reply = {id} {{ Context = 5 {{ Add = A5556 }} }}"));
        assert_eq!(
            control.at_mgc(),
            of_mg("Reply = 7 { Context = 5 { Add = A5556 } }"),
            "the VM hears of the second only"
        );
        control.is("up", Path::Vm, Some(reason));
        control.silence();
    }
}

#[test]
fn where_one_command_of_several_is_refused_the_rest_goes_again() {
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    let sent = control.at_mg();
    let refusal = "Reply = 50003 { Context = 5000 { Add = A5555, Error = 449 { \"no\" } } }";
    control.mg_says(refusal);
    let rest = control.at_mg();
    let [id] = requests(&rest)[..] else {
        panic!("{rest}")
    };
    // In the context that the first command made, with the VM's own media.
    assert!(rest.contains("Context = 5000 {\n    Add = $ {"), "{rest}");
    assert!(!rest.contains("A5555"), "{rest}");
    assert_eq!(remotes(&rest), ["10.71.1.11:7000 0 8"]);
    // The controller asks again: so is the gateway, and the refusal is not heard.
    control.mgc_says(&add(50003, &vm_sdp()));
    assert_eq!(control.at_mg(), rest);
    assert_ne!(sent, rest);
    control.mg_says(refusal);
    control.silence();
    // The reply to both is the reply to the whole.
    let local = mg_sdp();
    let reply = format!(
        "Reply = {id} {{ ImmAckRequired, Context = 5000 {{ Add = A5556 {{ Media {{ Stream = 1 {{ \
         Local {{\n{local}}} }} }} }} }} }}"
    );
    control.mg_says(&reply);
    assert!(
        control
            .at_mg()
            .contains(&format!("TransactionResponseAck {{\n  {id}\n}}"))
    );
    let whole = control.at_mgc();
    assert!(
        whole.contains("Reply = 50003 {\n  Context = 5000 {\n    Add = A5555,\n    Add = A5556 {"),
        "{whole}"
    );
    assert_eq!(locals(&whole), ["10.71.3.31:8000 0"]);
    control.mg_says(&reply);
    control.at_mg();
    assert_eq!(control.at_mgc(), whole);
    control.is("up", Path::Vm, Some(Reason::NoCommonCodec));
    control.passes_to_mg(&subtract(50009));
    control.passes_to_mgc(&subtracted(50009));
    control.silence();
    control.is_clean();
}

#[test]
fn the_vm_hears_what_is_refused_for_another_reason_than_the_tc() {
    // The other party's termination, which has nothing of the TC's.
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    control.at_mg();
    control.passes_to_mgc("Reply = 50003 { Context = $ { Error = 430 { \"A5555?\" } } }");
    control.silence();
    assert_eq!(control.call().state, "ended");
}

#[test]
fn where_the_rest_is_refused_as_well_the_vm_hears_it() {
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    control.at_mg();
    control.mg_says("Reply = 50003 { Context = 5000 { Add = A5555, Error = 510 { \"no\" } } }");
    let rest = requests(&control.at_mg())[0];
    control.mg_says(&format!(
        "Reply = {rest} {{ Context = 5000 {{ Error = 510 {{ \"never\" }} }} }}"
    ));
    let whole = control.at_mgc();
    assert!(whole.contains("Reply = 50003 {"), "{whole}");
    assert!(
        whole.contains("Add = A5555,\n    Error = 510{\"never\"}"),
        "{whole}"
    );
    control.silence();
    assert_eq!(control.call().state, "ended");
}

#[test]
fn no_codec_in_common() {
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    control.at_mg();
    // G.729 only, though it was not asked for.
    control.mg_says(&added(50003, &sdp("10.71.3.31:8000", "18")));
    // The VM is told a codec of its own.
    assert_eq!(locals(&control.at_mgc()), ["10.71.3.31:8000 0"]);
    let back = control.at_mg();
    assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
    control.mg_says(&modified(requests(&back)[0]));
    control.is("up", Path::Vm, Some(Reason::NoCommonCodec));
    control.silence();
}

#[test]
fn a_gateway_that_says_nothing_of_its_own_media() {
    for reply in [
        "Reply = 50003 { Context = 5000 { Add = A5555, Add = A5556 } }",
        // The only segment.
        "Reply = 50003/1/END { Context = 5000 { Add = A5555, Add = A5556 } }",
    ] {
        let mut control = Control::registered(config());
        control.mgc_says(&add(50003, &vm_sdp()));
        control.at_mg();
        control.passes_to_mgc(reply);
        let back = control.at_mg();
        assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
        control.mg_says(&modified(requests(&back)[0]));
        control.is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
        control.silence();
    }
}

#[test]
fn calls_that_are_up_are_handed_back_when_sidestep_stops() {
    let (mut control, _) = Control::up(config());
    let now = control.now;
    control.engine.shutdown(now);
    control.drain();
    assert!(control.engine.is_waiting());
    let back = control.at_mg();
    assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
    control.mg_says(&modified(requests(&back)[0]));
    is_request(&control.at_tc(), Method::Bye);
    assert!(!control.engine.is_waiting());
    control.is("up", Path::Vm, Some(Reason::Stopping));
}

#[test]
fn a_call_from_before_is_left_to_the_vm() {
    let mut control = Control::registered(config());
    control.passes_to_mg(&modify(50010, &vm_sdp()));
    control.passes_to_mgc(&modified(50010));
    control.is("up", Path::Vm, Some(Reason::AlreadyUp));
}

#[test]
fn a_tc_that_refuses() {
    let mut control = Control::registered(config());
    control.add();
    let invite = control.at_tc();
    let busy = Ua::tc().response(&invite, 486, "");
    control.tc_sends(busy);
    is_request(&control.at_tc(), Method::Ack);
    let back = control.at_mg();
    assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
    control.mg_says(&modified(requests(&back)[0]));
    control.is("up", Path::Vm, Some(Reason::TcRefused));
    control.silence();
}

#[test]
fn a_tc_that_does_not_answer() {
    let mut control = Control::registered(config());
    control.add();
    control.wait(6_000);
    let back = control.at_mg();
    assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
    control.mg_says(&modified(requests(&back)[0]));
    control.is("up", Path::Vm, Some(Reason::TcNoAnswer));
}

#[test]
fn a_tc_that_is_gone_in_mid_call() {
    let (mut control, mut tc) = Control::up(config());
    let bye = tc.request("BYE", "");
    control.tc_sends(bye);
    control.at_tc();
    let back = control.at_mg();
    assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
    // Its reply never comes: it is repeated, then given up; the call is the VM's.
    let mut repeats = 0;
    for _ in 0..60 {
        control.wait(1_000);
        while let Some(datagram) = control.gateway.pop_front() {
            assert_eq!(scene::text(&datagram.payload), back);
            repeats += 1;
        }
    }
    assert!((4..12).contains(&repeats), "{repeats}");
    control.is("up", Path::Vm, Some(Reason::TcLost));
}

#[test]
fn a_gateway_that_refuses_what_509_tells_it() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let ours = control.at_mg();
    control.mg_says(&format!(
        "Reply = {} {{ Error = 500 {{ \"internal\" }} }}",
        requests(&ours)[0]
    ));
    let back = control.at_mg();
    assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
    control.mg_says(&modified(requests(&back)[0]));
    is_request(&control.at_tc(), Method::Bye);
    control.is("up", Path::Vm, Some(Reason::GatewayRefused));
}

#[test]
fn a_gateway_that_never_replies_to_the_add() {
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    control.at_mg();
    control.wait(60_000);
    control.silence();
    // Nothing was promised, and nothing is left.
    control.is_clean();
}

#[test]
fn a_gateway_that_never_replies_to_what_509_tells_it() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let ours = control.at_mg();
    let mut seen = Vec::new();
    for _ in 0..60 {
        control.wait(1_000);
        while let Some(datagram) = control.gateway.pop_front() {
            seen.push(scene::text(&datagram.payload));
        }
    }
    // It is repeated, given up, and the VM's own said instead.
    assert!(
        seen.iter().filter(|said| **said == ours).count() > 3,
        "{seen:?}"
    );
    let last = seen.last().unwrap();
    assert_eq!(remotes(last), ["10.71.1.11:7000 0 8"]);
    is_request(&control.at_tc(), Method::Bye);
    control.is("up", Path::Vm, Some(Reason::GatewayRefused));
}
