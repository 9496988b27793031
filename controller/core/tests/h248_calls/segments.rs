//! Replies in segments (H.248.1 version 3, §8.2.5): each goes its way, its results are of
//! the operations whose turn it is, and whoever is asked for an acknowledgement gives it.

use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, Side};
use sidestep_core::h248::{self, Encoding, text};

use super::mg::*;
use super::scene::{self, Ua, config};

/// The reply to an Add as segments of one action each, in which the gateway describes
/// itself so.
fn segments(local: &str) -> [String; 3] {
    let add = format!("Add = A5556 {{ Media {{ Stream = 1 {{ Local {{\n{local}}} }} }} }}");
    [
        "Reply = 50003/1 { Context = 5000 { Add = A5555 } }".into(),
        format!("Reply = 50003/2 {{ Context = 5000 {{ {add} }} }}"),
        "Reply = 50003/3/END { Context = 5000 { Modify = A5555 } }".into(),
    ]
}

/// An Add of three commands.
fn asked() -> Control {
    let mut control = Control::registered(config());
    let modify = ", Modify = A5555 { Events = 7 { al/on } }\n  }\n}";
    let add = add(50003, &vm_sdp()).replace("\n  }\n}", modify);
    control.mgc_says(&add);
    assert_eq!(remotes(&control.at_mg()), ["10.71.2.21:9000 0 8 101"]);
    control
}

fn ends_direct(control: &mut Control) {
    let mut tc = Ua::tc();
    let answer = scene::sdp("10.71.2.21:9000", "0 101", 1, "");
    let invite = control.tc_answers(&mut tc, &answer);
    assert_eq!(scene::audio(&invite), "10.71.3.31:8000 0");
    control.silence();
    control.is("up", Path::Direct, None);
}

#[test]
fn the_gateways_media_is_learned_from_the_segment_in_which_it_stands() {
    let mut control = asked();
    for (number, segment) in segments(&mg_sdp()).iter().enumerate() {
        control.passes_to_mgc(segment);
        // The controller acknowledges each.
        control.passes_to_mg(&format!("Segment = 50003/{}", number + 1));
    }
    ends_direct(&mut control);
}

#[test]
fn it_is_rewritten_there() {
    let mut control = asked();
    let [first, second, third] = segments(&sdp("10.71.3.31:8000", "0 18"));
    control.passes_to_mgc(&first);
    control.mg_says(&second);
    let told = control.at_mgc();
    assert_eq!(locals(&told), ["10.71.3.31:8000 0"]);
    control.passes_to_mgc(&third);
    // What comes again leaves again in the same bytes.
    control.mg_says(&second);
    assert_eq!(control.at_mgc(), told);
    control.passes_to_mgc(&first);
    control.passes_to_mgc(&third);
}

#[test]
fn segments_that_overtake_others_wait_for_them() {
    for order in [[1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1]] {
        let mut control = asked();
        let segments = segments(&mg_sdp());
        let mut came = Vec::new();
        for index in order {
            control.mg_says(&segments[index]);
            // Sent again while it waits: it waits once.
            control.mg_says(&segments[index]);
            while !control.vm.is_empty() {
                came.push(control.at_mgc());
            }
        }
        came.dedup();
        let inward: Vec<String> = segments.iter().map(|segment| of_mg(segment)).collect();
        came.retain(|segment| inward.contains(segment));
        let mut first = came.clone();
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 3, "{order:?}: {came:?}");
        let at = |index: usize| came.iter().position(|one| *one == inward[index]);
        assert!(at(0) < at(1) && at(1) < at(2), "{order:?}: {came:?}");
        ends_direct(&mut control);
    }
}

#[test]
fn a_segment_that_is_lost_keeps_the_others_only_until_it_comes_again() {
    let mut control = asked();
    let [first, second, third] = segments(&mg_sdp());
    control.mg_says(&second);
    control.mg_says(&third);
    assert!(control.vm.is_empty());
    control.wait(2_000);
    control.mg_says(&first);
    for segment in [&first, &second, &third] {
        assert_eq!(control.at_mgc(), of_mg(segment));
    }
    ends_direct(&mut control);
}

#[test]
fn what_a_message_has_beside_a_segment_that_waits_goes_at_once() {
    let mut control = asked();
    let [first, second, third] = segments(&mg_sdp());
    control.mg_says(&format!("{second} Pending = 99 {{ }}"));
    assert_eq!(control.at_mgc(), of_mg(" Pending = 99 { }"));
    control.mg_says(&first);
    assert_eq!(control.at_mgc(), of_mg(&first));
    let alone = control.at_mgc();
    assert!(
        alone.contains("50003/2") && !alone.contains("99"),
        "{alone}"
    );
    control.passes_to_mgc(&third);
    ends_direct(&mut control);
}

#[test]
fn a_command_whose_reply_is_divided() {
    let mut control = asked();
    let video = "v=0\nc=IN IP4 10.71.3.31\nm=video 8010 RTP/AVP 34\n";
    let stream = |id: u16, local: &str| {
        format!("Add = A5556 {{ Media {{ Stream = {id} {{ Local {{\n{local}}} }} }} }}")
    };
    control.passes_to_mgc(&format!(
        "Reply = 50003/1 {{ Context = 5000 {{ Add = A5555, {} }} }}",
        stream(2, video)
    ));
    control.silence();
    control.passes_to_mgc(&format!(
        "Reply = 50003/2/END {{ Context = 5000 {{ {}, Modify = A5555 }} }}",
        stream(1, &mg_sdp())
    ));
    ends_direct(&mut control);
}

#[test]
fn several_contexts_each_in_a_segment_of_its_own() {
    let mut control = Control::registered(config());
    let one =
        |remote: &str| format!("Context = $ {{ Add = $ {{ Media {{ Remote {{\n{remote}}} }} }} }}");
    let two = sdp("10.71.1.11:7100", "0 8");
    let (first, second) = (one(&vm_sdp()), one(&two));
    control.mgc_says(&format!("Transaction = 7 {{ {first}, {second} }}"));
    assert_eq!(remotes(&control.at_mg()).len(), 2);
    let reply = |number: &str, context: u32, rtp: &str| {
        let local = sdp(rtp, "0");
        format!(
            "Reply = 7/{number} {{ Context = {context} {{ Add = A{context} {{ Media {{ Local \
             {{\n{local}}} }} }} }} }}"
        )
    };
    control.passes_to_mgc(&reply("1", 5001, "10.71.3.31:8000"));
    assert_eq!(scene::audio(&control.at_tc()), "10.71.3.31:8000 0");
    control.passes_to_mgc(&reply("2/END", 5002, "10.71.3.31:8100"));
    assert_eq!(scene::audio(&control.at_tc()), "10.71.3.31:8100 0");
    let contexts: Vec<String> = control
        .engine
        .calls()
        .into_iter()
        .map(|call| call.call_id)
        .collect();
    assert_eq!(contexts, ["5001", "5002"]);
}

#[test]
fn an_audit_by_wildcards_shows_in_each_segment_what_the_vm_had_said() {
    let (mut control, _) = Control::up(config());
    control
        .passes_to_mg("Transaction = 9 { Context = 5000 { AuditValue = * { Audit { Media } } } }");
    control.passes_to_mgc(
        "Reply = 9/1 { Context = 5000 { AuditValue = A5555 { Media { LocalControl { Mode = \
         SendReceive } } } } }",
    );
    let tc = "v=0\nc=IN IP4 10.71.2.21\nm=audio 9000 RTP/AVP 0 8\n";
    let reply = |remote: &str| {
        format!(
            "Reply = 9/2/END {{ Context = 5000 {{ AuditValue = A5556 {{ Media {{ Stream = 1 {{ \
             Remote {{\n{remote}}} }} }} }} }} }}"
        )
    };
    control.mg_says(&reply(tc));
    assert_eq!(control.at_mgc(), of_mg(&reply(&vm_sdp())));
}

#[test]
fn a_refusal_in_a_later_segment_sends_the_rest_again() {
    let mut control = asked();
    control.passes_to_mgc("Reply = 50003/1 { Context = 5000 { Add = A5555 } }");
    let refusal = "Reply = 50003/2/END { Context = 5000 { Error = 449 { \"no\" } } }";
    control.mg_says(refusal);
    let rest = control.at_mg();
    let [id] = requests(&rest)[..] else {
        panic!("{rest}")
    };
    assert_eq!(remotes(&rest), ["10.71.1.11:7000 0 8"]);
    // The refusal is acknowledged in the controller's name, each time.
    let acknowledged = control.at_mg();
    assert!(
        acknowledged.contains("Segment = 50003/2/END"),
        "{acknowledged}"
    );
    control.mg_says(refusal);
    assert_eq!(control.at_mg(), acknowledged);
    control.silence();
    // What came of the rest is the last segment; itself in segments, in any order.
    let local = mg_sdp();
    let last = format!("Reply = {id}/2/END {{ Context = 5000 {{ Modify = A5555 }} }}");
    let first = format!(
        "Reply = {id}/1 {{ Context = 5000 {{ Add = A5556 {{ Media {{ Stream = 1 {{ Local \
         {{\n{local}}} }} }} }} }} }}"
    );
    for (segment, number) in [(&last, "2/END"), (&first, "1")] {
        assert!(control.vm.is_empty());
        control.mg_says(segment);
        let acknowledged = control.at_mg();
        let expected = format!("Segment = {id}/{number}");
        assert!(acknowledged.contains(&expected), "{acknowledged}");
    }
    let whole = control.at_mgc();
    assert!(whole.contains("Reply = 50003/2/END {"), "{whole}");
    assert_eq!(locals(&whole), ["10.71.3.31:8000 0"]);
    assert!(whole.contains("Modify = A5555"), "{whole}");
    control.is("up", Path::Vm, Some(Reason::NoCommonCodec));
    control.silence();
}

#[test]
fn the_reply_to_a_command_of_our_own_may_come_in_segments() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    control.add();
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let ours = requests(&control.at_mg())[0];
    let changed = sdp("10.71.3.31:8200", "0");
    for (number, result) in [
        (
            "2/END",
            format!("Modify = A5556 {{ Media {{ Stream = 1 {{ Local {{\n{changed}}} }} }} }}"),
        ),
        ("1", "Modify = A5556".into()),
    ] {
        assert!(control.tc.is_empty());
        control.mg_says(&format!(
            "Reply = {ours}/{number} {{ Context = 5000 {{ {result} }} }}"
        ));
        let acknowledged = control.at_mg();
        let expected = format!("Segment = {ours}/{number}");
        assert!(acknowledged.contains(&expected), "{acknowledged}");
    }
    assert!(control.vm.is_empty());
    // 611.
    let answer = scene::sdp("10.71.2.21:9100", "0 101", 2, "");
    let invite = control.tc_answers(&mut tc, &answer);
    assert_eq!(scene::audio(&invite), "10.71.3.31:8200 0");
    control.wait(30_000);
    control.silence();
}

#[test]
fn a_reply_that_never_ends_leaves_nothing_behind() {
    let mut control = asked();
    let [first, second, _] = segments(&mg_sdp());
    control.passes_to_mgc(&first);
    control.passes_to_mgc(&second);
    for number in 4..200 {
        control.mg_says(&format!(
            "Reply = 50003/{number} {{ Context = 5000 {{ Add = x }} }}"
        ));
    }
    control.vm.clear();
    ends_direct(&mut control);
    control.wait(60_000);
    control.passes_to_mg(&subtract(50009));
    control.passes_to_mgc(&subtracted(50009));
    control.at_tc();
    control.is_clean();
}

#[test]
fn segments_in_binary() {
    let mut control = Control::registered(config());
    let binary = |message: String| {
        let message = message.replace("MEGACO/1", "MEGACO/3");
        let bytes = h248::write(&text::parse(message.as_bytes()).unwrap(), Encoding::Binary);
        assert!(!bytes.is_empty(), "{message}");
        bytes
    };
    let add = binary(of_mgc(&add(50003, &vm_sdp())));
    control.put(Side::Vm, MGC, MG, &add);
    let told = control.gateway.pop_front().expect("for the gateway");
    assert_ne!(told.payload, add);
    let [first, second, _] = segments(&mg_sdp());
    for segment in [first, second.replace("50003/2", "50003/2/END")] {
        let segment = binary(of_mg(&segment));
        control.put(Side::Net, MG, MGC, &segment);
        let came = control.vm.pop_front().expect("for the controller");
        assert_eq!(came.payload, segment);
    }
    ends_direct(&mut control);
}
