//! Several streams, contexts, transactions; moves, wildcards, audits; what cannot be
//! read.

use sidestep_core::engine::{ConnectionId, Event, Path, PathChoice, Transport};
use sidestep_core::sip::Method;

use super::mg::*;
use super::scene::{self, Ua, config, config_with, is_request};

#[test]
fn of_several_streams_the_audio_is_the_tcs() {
    let mut control = Control::registered(config());
    let video = "v=0\nc=IN IP4 10.71.1.11\nm=video 7010 RTP/AVP 34\n";
    let add = format!(
        "Transaction = 7 {{ Context = $ {{ Add = $ {{ Media {{ TerminationState {{ Buffer = OFF }}, \
         Stream = 1 {{ LocalControl {{ Mode = SendReceive }}, Remote {{\n{}}} }}, Stream = 2 {{ \
         LocalControl {{ Mode = SendReceive }}, Remote {{\n{video}}} }} }} }} }} }}",
        vm_sdp()
    );
    control.mgc_says(&add);
    let message = control.at_mg();
    assert_eq!(remotes(&message), ["10.71.2.21:9000 0 8 101"]);
    assert!(message.contains(video), "{message}");
    control.mg_says(&format!(
        "Reply = 7 {{ Context = 5000 {{ Add = A5556 {{ Media {{ Stream = 1 {{ Local {{\n{}}} }}, \
         Stream = 2 {{ Local {{\nv=0\nc=IN IP4 10.71.3.31\nm=video 8010 RTP/AVP 34\n}} }} }} }} }} }}",
        mg_sdp()
    ));
    control.at_mgc();
    let mut tc = Ua::tc();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9000", "0 101", 1, ""));
    control.silence();
    let calls = control.engine.calls();
    assert!(
        calls.iter().any(|call| call.path == Path::Direct),
        "{calls:?}"
    );
}

#[test]
fn several_contexts_in_one_transaction() {
    let mut control = Control::registered(config());
    let other = sdp("10.71.9.9:5000", "0");
    let one = |remote: &str| format!("Add = $ {{ Media {{ Remote {{\n{remote}}} }} }}");
    control.mgc_says(&format!(
        "Transaction = 7 {{ Context = 9 {{ Modify = x {{ Signals {{ }} }} }}, Context = $ {{ {}, {} \
         }}, Context = 10 {{ Subtract = y }} }}",
        one(&other),
        one(&vm_sdp())
    ));
    // Only what names the VM is the TC's.
    assert_eq!(
        remotes(&control.at_mg()),
        ["10.71.9.9:5000 0", "10.71.2.21:9000 0 8 101"]
    );
    let local = |name: &str, sdp: &str| format!("Add = {name} {{ Media {{ Local {{\n{sdp}}} }} }}");
    control.passes_to_mgc(&format!(
        "Reply = 7 {{ Context = 9 {{ Modify = x }}, Context = 5000 {{ {}, {} }}, Context = 10 {{ \
         Subtract = y }} }}",
        local("A1", &sdp("10.71.3.31:8100", "0")),
        local("A5556", &mg_sdp())
    ));
    assert_eq!(scene::audio(&control.at_tc()), "10.71.3.31:8000 0");
    control.silence();
}

#[test]
fn a_moved_termination_is_still_the_calls() {
    let (mut control, _) = Control::up(config());
    control.passes_to_mg("Transaction = 8 { Context = 5001 { Move = A5556 } }");
    control.passes_to_mgc("Reply = 8 { Context = 5001 { Move = A5556 } }");
    control.is("up", Path::Direct, None);
    // The old context is subtracted from; the call is not in it any more.
    control.passes_to_mg("Transaction = 9 { Context = 5000 { Subtract = * } }");
    control.passes_to_mgc("Reply = 9 { Context = 5000 { Subtract = A5555 } }");
    control.is("up", Path::Direct, None);
    // In its new context it is told the VM's media again: the TC's.
    control.mgc_says(&modify(10, &vm_sdp()).replace("5000", "5001"));
    assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 101"]);
    control.passes_to_mgc(&modified(10).replace("5000", "5001"));
    control.passes_to_mg("Transaction = 11 { Context = 5001 { W-Subtract = * } }");
    is_request(&control.at_tc(), Method::Bye);
}

#[test]
fn wildcards_that_name_the_call_end_it() {
    for (context, command) in [
        ("5000", "Subtract = *"),
        ("5000", "W-Subtract = A5*"),
        ("*", "W-Subtract = *"),
        ("*", "Subtract = A5556"),
    ] {
        let (mut control, _) = Control::up(config());
        control.passes_to_mg(&format!(
            "Transaction = 9 {{ Context = {context} {{ {command} }} }}"
        ));
        is_request(&control.at_tc(), Method::Bye);
        control
            .passes_to_mgc("Reply = 9 { Context = 5000 { Subtract = A5555, Subtract = A5556 } }");
        assert_eq!(control.call().state, "ended", "{context} {command}");
    }
    for (context, command) in [("4999", "Subtract = *"), ("5000", "Subtract = B*")] {
        let (mut control, _) = Control::up(config());
        control.passes_to_mg(&format!(
            "Transaction = 9 {{ Context = {context} {{ {command} }} }}"
        ));
        control.silence();
        control.is("up", Path::Direct, None);
    }
}

#[test]
fn a_wildcard_that_means_one_call_is_that_calls() {
    let vm = vm_sdp();
    for (command, reply) in [
        ("Modify = *", "Modify = A5555, Modify = A5556"),
        ("Modify = A5*", "Modify = A5556"),
        ("W-Modify = *", "Modify = *"),
    ] {
        let (mut control, _) = Control::up(config());
        let media = format!("Media {{ Stream = 1 {{ Remote {{\n{vm}}} }} }}");
        control.mgc_says(&format!(
            "Transaction = 9 {{ Context = 5000 {{ {command} {{ {media} }} }} }}"
        ));
        assert_eq!(
            remotes(&control.at_mg()),
            ["10.71.2.21:9000 0 101"],
            "{command}"
        );
        control.passes_to_mgc(&format!("Reply = 9 {{ Context = 5000 {{ {reply} }} }}"));
        control.silence();
        control.is("up", Path::Direct, None);
        // It is still its termination's.
        control.passes_to_mg("Transaction = 10 { Context = 5000 { Subtract = A5556 } }");
        is_request(&control.at_tc(), Method::Bye);
    }
}

#[test]
fn a_wildcard_that_means_several_calls_takes_them_back() {
    let (mut control, _) = Control::up(config());
    control.mgc_says(&add(50010, &sdp("10.71.1.11:7100", "0 8")).replace("A5555", "A6666"));
    control.at_mg();
    let second = added(50010, &sdp("10.71.3.31:8100", "0"));
    control.passes_to_mgc(&second.replace("A5555", "A6666").replace("A5556", "A6667"));
    control.at_tc();
    let media = format!("Media {{ Remote {{\n{}}} }}", vm_sdp());
    control.passes_to_mg(&format!(
        "Transaction = 9 {{ Context = * {{ W-Modify = * {{ {media} }} }} }}"
    ));
    control.passes_to_mgc("Reply = 9 { Context = * { Modify = * } }");
    let calls = control.engine.calls();
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!((call.path, call.state), (Path::Vm, "up"), "{call:?}");
    }
}

#[test]
fn a_mode_by_wildcards_is_every_calls() {
    let (mut control, mut tc) = Control::up(config());
    control.passes_to_mg(
        "Transaction = 9 { Context = 5000 { Modify = * { Media { LocalControl { Mode = Inactive } } \
         } } }",
    );
    control.passes_to_mgc("Reply = 9 { Context = 5000 { Modify = A5555, Modify = A5556 } }");
    // The thin client is not to be heard.
    let answer = scene::sdp("10.71.2.21:9000", "0 101", 2, "a=inactive\r\n");
    let invite = control.tc_answers(&mut tc, &answer);
    assert!(scene::body(&invite).contains("a=inactive"));
    control.is("up", Path::Direct, None);
}

#[test]
fn terminations_that_move_by_wildcards_take_their_call_along() {
    for reply in ["Move = A5555, Move = A5556", "Move = *"] {
        let (mut control, _) = Control::up(config());
        control.passes_to_mg("Transaction = 8 { Context = 5001 { Move = A5* } }");
        control.passes_to_mgc(&format!("Reply = 8 {{ Context = 5001 {{ {reply} }} }}"));
        assert_eq!(control.call().call_id, "5001", "{reply}");
        control.passes_to_mg("Transaction = 9 { Context = 5000 { Subtract = * } }");
        control.silence();
        control.is("up", Path::Direct, None);
        control.passes_to_mg("Transaction = 10 { Context = 5001 { Subtract = A5556 } }");
        is_request(&control.at_tc(), Method::Bye);
    }
}

fn audit_reply(id: u32, context: &str, termination: &str, remote: &str) -> String {
    format!(
        "Reply = {id} {{ Context = {context} {{ AuditValue = A5555 {{ Media {{ LocalControl {{ Mode \
         = SendReceive }} }} }}, AuditValue = {termination} {{ Media {{ Stream = 1 {{ Local {{\n{}}}, \
         Remote {{\n{remote}}} }} }} }} }} }}",
        mg_sdp()
    )
}

#[test]
fn an_audit_shows_the_vm_what_the_vm_had_said() {
    let tc = "v=0\nc=IN IP4 10.71.2.21\nm=audio 9000 RTP/AVP 0 8\n";
    for (context, command) in [
        (
            "5000",
            "AuditValue = A5555 { Audit { Media } }, AuditValue = A5556 { Audit { Media } }",
        ),
        ("5000", "AuditValue = * { Audit { Media } }"),
        (
            "*",
            "AuditValue = A* { Audit { Media { Stream = 1 { Remote } } } }",
        ),
    ] {
        let (mut control, _) = Control::up(config());
        control.passes_to_mg(&format!(
            "Transaction = 9 {{ Context = {context} {{ {command} }} }}"
        ));
        control.mg_says(&audit_reply(9, "5000", "A5556", tc));
        let message = control.at_mgc();
        assert_eq!(remotes(&message), ["10.71.1.11:7000 0 8"], "{command}");
        assert_eq!(message, of_mg(&audit_reply(9, "5000", "A5556", &vm_sdp())));
    }
    // Another termination's is another's.
    let (mut control, _) = Control::up(config());
    control
        .passes_to_mg("Transaction = 9 { Context = 5000 { AuditValue = * { Audit { Media } } } }");
    control.passes_to_mgc(&audit_reply(9, "5000", "A9", tc));
}

#[test]
fn replies_of_both_kinds_in_one_message() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let ours = requests(&control.at_mg())[0];
    control.passes_to_mg("Transaction = 8 { Context = 5000 { Modify = A5555 { Signals { } } } }");
    let theirs = "Reply = 8 { Context = 5000 { Modify = A5555 } }";
    control.mg_says(&format!("{} {theirs} Pending = 99 {{ }}", modified(ours)));
    // Ours is left out.
    assert_eq!(
        control.at_mgc(),
        of_mg(&format!(" {theirs} Pending = 99 {{ }}"))
    );
    control.is("up", Path::Direct, None);
}

#[test]
fn pending_of_the_gateway_reaches_the_vm_and_keeps_ours_waiting() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.mgc_says(&add(50003, &vm_sdp()));
    control.at_mg();
    control.passes_to_mgc("Pending = 50003 { }");
    control.passes_to_mgc(
        &added(50003, &mg_sdp()).replace("{\n  Context", "{ ImmAckRequired,\n  Context"),
    );
    control.passes_to_mg("TransactionResponseAck { 50003 }");
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let ours = requests(&control.at_mg())[0];
    control.mg_says(&format!("Pending = {ours} {{ }}"));
    control.wait(3_000);
    control.silence();
    // A reply that wants it is acknowledged in the controller's name.
    control.mg_says(&modified(ours).replace("{ Context", "{ ImmAckRequired, Context"));
    let acknowledgement = control.at_mg();
    assert!(
        acknowledgement.contains(&format!("TransactionResponseAck {{\n  {ours}\n}}")),
        "{acknowledgement}"
    );
    control.silence();
    control.is("up", Path::Direct, None);
}

#[test]
fn what_cannot_be_read_passes_and_is_counted() {
    let (mut control, _) = Control::up(config());
    control.events.clear();
    for message in [
        "Transaction = 9 { Context = 5000 { Modify = A5556 { Media",
        "hello",
    ] {
        control.passes_to_mg(message);
        control.passes_to_mgc(message);
    }
    let kinds: Vec<&str> = control
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Malformed { kind, .. } => Some(*kind),
            _ => None,
        })
        .collect();
    // Once for each sender and kind.
    assert_eq!(
        kinds,
        [
            "neither , nor the closing bracket",
            "neither , nor the closing bracket",
            "unknown token",
            "unknown token"
        ]
    );
    control.is("up", Path::Direct, None);
}

#[test]
fn a_vm_that_holds_and_comes_back() {
    let (mut control, mut tc) = Control::up(config());
    let hold = vm_sdp() + "a=inactive\n";
    control.mgc_says(&modify(8, &hold));
    let message = control.at_mg();
    assert!(message.contains("a=inactive"), "{message}");
    assert_eq!(remotes(&message), ["10.71.2.21:9000 0 101"]);
    control.passes_to_mgc(&modified(8));
    let invite = control.tc_answers(
        &mut tc,
        &scene::sdp("10.71.2.21:9000", "0 101", 2, "a=inactive\r\n"),
    );
    assert!(scene::body(&invite).contains("a=inactive"));
    control.mgc_says(&modify(9, &vm_sdp()));
    control.at_mg();
    control.passes_to_mgc(&modified(9));
    let invite = control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9000", "0 101", 3, ""));
    assert!(!scene::body(&invite).contains("a=inactive"));
    control.is("up", Path::Direct, None);
}

#[test]
fn over_tcp_ours_goes_in_the_vms_connection_and_is_not_repeated() {
    let mut control = Control::registered(config());
    let connection = Transport::Tcp(ConnectionId(7));
    control.transport = connection;
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    control.wait(5_000);
    assert_eq!(control.gateway.len(), 1);
    assert_eq!(control.gateway[0].transport, connection);
    let ours = requests(&control.at_mg())[0];
    control.mg_says(&modified(ours));
    control.is("up", Path::Direct, None);
    control.silence();
}

#[test]
fn through_an_anchor_both_are_told_the_vms_address() {
    let mut control = Control::registered(config_with(PathChoice::Steered));
    let mut tc = Ua::tc();
    let message = control.add();
    assert_eq!(remotes(&message), ["10.71.1.11:40000 0 8 101"]);
    let answer = scene::sdp("10.71.2.21:9000", "0 101", 1, "");
    let invite = control.tc_answers(&mut tc, &answer);
    assert_eq!(scene::audio(&invite), "10.71.1.11:40000 0");
    control.is("up", Path::Steered, None);
    assert_eq!(
        control.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.1.11:40000 steered 10.71.1.11:40000 > 10.71.2.21:9000"
    );
    // An audit shows the VM's own here, too.
    control.passes_to_mg(
        "Transaction = 9 { Context = 5000 { AuditValue = A5556 { Audit { Media } } } }",
    );
    let anchor = "v=0\nc=IN IP4 10.71.1.11\nm=audio 40000 RTP/AVP 0 8 101\n";
    control.mg_says(&audit_reply(9, "5000", "A5556", anchor));
    assert_eq!(remotes(&control.at_mgc()), ["10.71.1.11:7000 0 8"]);
    control.passes_to_mg(&subtract(50009));
    control.passes_to_mgc(&subtracted(50009));
    control.at_tc();
    control.is_clean();
}
