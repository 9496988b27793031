//! The same in BER: what the machine does is the same, what it writes is binary.

use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, Side};
use sidestep_core::h248::model::{ContextId, Message, Transaction};
use sidestep_core::h248::{self, Encoding, text};
use sidestep_core::sdp::SessionDescription;
use sidestep_core::sip::Method;

use super::mg::*;
use super::scene::{self, Ua, config, is_request};

const MGC_BINARY: &str = "10.71.1.11:2945";
const MG_BINARY: &str = "10.71.3.31:2945";

/// A message of the text form, in BER.
fn binary(message: &str) -> Vec<u8> {
    let bytes = h248::write(&text::parse(message.as_bytes()).unwrap(), Encoding::Binary);
    assert_eq!(Encoding::of(&bytes), Some(Encoding::Binary), "{message}");
    bytes
}

pub fn mgc_says(control: &mut Control, transactions: &str) -> Vec<u8> {
    let bytes = binary(&of_mgc(transactions));
    control.put(Side::Vm, MGC_BINARY, MG_BINARY, &bytes);
    bytes
}

pub fn mg_says(control: &mut Control, transactions: &str) -> Vec<u8> {
    let bytes = binary(&of_mg(transactions));
    control.put(Side::Net, MG_BINARY, MGC_BINARY, &bytes);
    bytes
}

pub fn at_mg(control: &mut Control) -> Vec<u8> {
    control
        .gateway
        .pop_front()
        .expect("for the gateway")
        .payload
}

pub fn at_mgc(control: &mut Control) -> Vec<u8> {
    control.vm.pop_front().expect("for the controller").payload
}

/// Where the audio of each stream's Remote is, and its formats.
fn far_ends(message: &Message<'_>) -> Vec<String> {
    message
        .streams()
        .filter_map(|(_, stream)| {
            let remote = stream.remote.as_ref()?;
            let sdp = SessionDescription::parse(remote.alternatives().next()?).ok()?;
            let (index, media) = sdp.audio().ok()?;
            Some(format!(
                "{} {}",
                media.rtp,
                sdp.media()[index].formats.join(" ")
            ))
        })
        .collect()
}

#[test]
fn fig5_in_binary() {
    let mut control = Control::registered(config());
    let mut tc = Ua::tc();
    // 504.
    let said = mgc_says(&mut control, &add(50003, &vm_sdp()));
    let told = at_mg(&mut control);
    assert_ne!(told, said);
    let add = h248::parse(&told).unwrap();
    assert_eq!(far_ends(&add), ["10.71.2.21:9000 0 8 101"]);
    // 505.
    let said = mg_says(&mut control, &added(50003, &mg_sdp()));
    assert_eq!(at_mgc(&mut control), said);
    // 506, 507.
    let ringing = "Transaction = 50004 { Context = 5000 { Modify = A5555 { Signals { al/ri } } } }";
    let said = mgc_says(&mut control, ringing);
    assert_eq!(at_mg(&mut control), said);
    let said = mg_says(
        &mut control,
        "Reply = 50004 { Context = 5000 { Modify = A5555 } }",
    );
    assert_eq!(at_mgc(&mut control), said);
    // 508, 509: changed information goes to the gateway.
    control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9100", "0 101", 1, ""));
    let ours = at_mg(&mut control);
    let modify = h248::parse(&ours).unwrap();
    assert_eq!(far_ends(&modify), ["10.71.2.21:9100 0 101"]);
    let [Transaction::Request(request)] = modify.transactions() else {
        panic!("{modify:?}")
    };
    let action = &request.actions[0];
    assert_eq!(action.context, ContextId(5000));
    // Its termination is the one that the reply had named.
    let replied = binary(&of_mg(&added(50003, &mg_sdp())));
    let replied = h248::parse(&replied).unwrap();
    let [Transaction::Reply(reply)] = replied.transactions() else {
        panic!("{replied:?}")
    };
    assert_eq!(
        action.commands[0].terminations,
        reply.actions()[0].commands[1].terminations
    );
    mg_says(&mut control, &modified(request.id));
    control.silence();
    control.is("up", Path::Direct, None);
    // The end.
    let said = mgc_says(&mut control, &subtract(50009));
    assert_eq!(at_mg(&mut control), said);
    is_request(&control.at_tc(), Method::Bye);
    let said = mg_says(&mut control, &subtracted(50009));
    assert_eq!(at_mgc(&mut control), said);
    assert_eq!(control.call().state, "ended");
}

#[test]
fn fig6_in_binary() {
    let mut control = Control::registered(config());
    // 602, 603: a call for the TC.
    let calls =
        "Transaction = 10 { Context = - { Notify = A5555 { ObservedEvents = 1 { al/of } } } }";
    let said = mg_says(&mut control, calls);
    assert_eq!(at_mgc(&mut control), said);
    let said = mgc_says(
        &mut control,
        "Reply = 10 { Context = - { Notify = A5555 } }",
    );
    assert_eq!(at_mg(&mut control), said);
    // 604, 605.
    mgc_says(&mut control, &add(50003, &vm_sdp()));
    let told = at_mg(&mut control);
    let told = h248::parse(&told).unwrap();
    assert_eq!(far_ends(&told), ["10.71.2.21:9000 0 8 101"]);
    let said = mg_says(&mut control, &added(50003, &mg_sdp()));
    assert_eq!(at_mgc(&mut control), said);
    assert_eq!(control.call().direction, "incoming");
    // 606, 607.
    let mut tc = Ua::tc();
    let answer = scene::sdp("10.71.2.21:9000", "0 101", 1, "");
    let invite = control.tc_answers(&mut tc, &answer);
    assert_eq!(scene::audio(&invite), "10.71.3.31:8000 0");
    // 610, 611; 612, 613: ringback comes and goes, 614: media flows.
    for (id, signals) in [(50004, "cg/rt"), (50005, "")] {
        let ringback = format!(
            "Transaction = {id} {{ Context = 5000 {{ Modify = A5555 {{ Signals {{ {signals} }} }} }} }}"
        );
        let said = mgc_says(&mut control, &ringback);
        assert_eq!(at_mg(&mut control), said);
        let done = format!("Reply = {id} {{ Context = 5000 {{ Modify = A5555 }} }}");
        let said = mg_says(&mut control, &done);
        assert_eq!(at_mgc(&mut control), said);
    }
    control.silence();
    control.is("up", Path::Direct, None);
}

#[test]
fn a_refusal_in_binary_sends_the_rest_again() {
    let mut control = Control::registered(config());
    mgc_says(&mut control, &add(50003, &vm_sdp()));
    at_mg(&mut control);
    mg_says(
        &mut control,
        "Reply = 50003 { Context = 5000 { Add = A5555, Error = 449 { \"no\" } } }",
    );
    let rest = at_mg(&mut control);
    let rest = h248::parse(&rest).unwrap();
    assert_eq!(far_ends(&rest), ["10.71.1.11:7000 0 8"]);
    let [Transaction::Request(request)] = rest.transactions() else {
        panic!("{rest:?}")
    };
    assert_eq!(request.actions[0].context, ContextId(5000));
    mg_says(
        &mut control,
        &format!(
            "Reply = {} {{ Context = 5000 {{ Add = A5556 }} }}",
            request.id
        ),
    );
    let whole = at_mgc(&mut control);
    let whole = h248::parse(&whole).unwrap();
    let [Transaction::Reply(reply)] = whole.transactions() else {
        panic!("{whole:?}")
    };
    assert_eq!((reply.id, reply.actions()[0].commands.len()), (50003, 2));
    control.is("up", Path::Vm, Some(Reason::NoCommonCodec));
}

#[test]
fn a_gateway_that_begins_anew_in_binary() {
    let (mut control, _) = Control::up(config());
    // Another line: other ports of the same two are the same conversation.
    mg_says(
        &mut control,
        "Transaction = 77 { Context = - { ServiceChange = ROOT { Services { Method = Restart, Reason \
         = \"901 Cold Boot\" } } } }",
    );
    at_mgc(&mut control);
    is_request(&control.at_tc(), Method::Bye);
}
