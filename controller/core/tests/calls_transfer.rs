//! Transfers (RFC 5589), calls made by a third party (RFC 3725), and what else is
//! said in a call that is nobody's business here.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::Path;
use sidestep_core::sip::{Message, Method, Name};

/// A message of the VM's, at the gateway as it came.
fn passes_out(scene: &mut Scene, sent: &str) -> Message {
    scene.vm_sends(sent);
    let at_gateway = scene.at_gateway();
    assert_eq!(text(at_gateway.bytes()), sent);
    at_gateway
}

/// The gateway's, at the VM.
fn passes_in(scene: &mut Scene, sent: &str) -> Message {
    scene.gateway_sends(sent);
    let at_vm = scene.at_vm();
    assert_eq!(text(at_vm.bytes()), sent);
    at_vm
}

fn outgoing_up() -> outgoing::Outgoing {
    let mut call = outgoing::up(config());
    call.gateway.learn(&call.invite);
    call
}

/// The VM refers the gateway elsewhere: REFER, its NOTIFYs and the BYE are theirs,
/// and the TC is let go with the call.
#[test]
fn a_blind_transfer_by_the_vm() {
    let mut call = outgoing_up();
    let refer = call
        .vm
        .request_with("REFER", "Refer-To: <sip:200@10.71.3.31>\r\n", "");
    let refer = passes_out(&mut call.scene, &refer);
    let accepted = call.gateway.response(&refer, 202, "");
    passes_in(&mut call.scene, &accepted);
    let event = "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n";
    let notify = call.gateway.request_with("NOTIFY", event, "");
    let notify = passes_in(&mut call.scene, &notify);
    let ok = call.vm.response(&notify, 200, "");
    passes_out(&mut call.scene, &ok);
    call.scene.is("up", Path::Direct, None);
    call.scene.vm_sends(call.vm.request("BYE", ""));
    is_request(&call.scene.at_gateway(), Method::Bye);
    is_request(&call.scene.at_tc(), Method::Bye);
    call.scene.is_clean();
}

/// The gateway refers the VM: the VM's new INVITE is a call like any other.
#[test]
fn a_blind_transfer_by_the_gateway() {
    let mut call = outgoing_up();
    let refer = call
        .gateway
        .request_with("REFER", "Refer-To: <sip:200@10.71.3.31>\r\n", "");
    let refer = passes_in(&mut call.scene, &refer);
    let accepted = call.vm.response(&refer, 202, "");
    passes_out(&mut call.scene, &accepted);
    let mut vm = Ua::vm();
    (vm.call_id, vm.tag) = ("call-2@test".into(), "vm2".into());
    let referred = "Referred-By: <sip:gw@10.71.3.31>\r\n";
    call.scene
        .vm_sends(vm.request_with("INVITE", referred, &vm_sdp()));
    let invite = call.scene.at_gateway();
    assert_eq!(audio(&invite), "10.71.2.21:9000 0 8 101");
    assert_eq!(
        invite.header(Name::REFERRED_BY),
        Some(b"<sip:gw@10.71.3.31>".as_slice())
    );
}

/// Attended: the gateway's INVITE replaces (RFC 3891) the VM's call. The TC has
/// one line: it is busy until the old call has ended, and then takes the new one.
#[test]
fn an_attended_transfer_goes_to_the_tc_when_it_is_free() {
    let mut call = outgoing_up();
    let (mut gateway, mut vm) = (Ua::gateway(), Ua::vm());
    (gateway.call_id, gateway.tag) = ("call-2@test".into(), "gw2".into());
    (vm.call_id, vm.tag) = ("call-2@test".into(), "vm2".into());
    let replaces = "Replaces: call-1@test;to-tag=vmtag;from-tag=gwtag\r\n";
    let offer = sdp("10.71.3.40:8800", "0 101", 1, "");
    let sent = gateway.request_with("INVITE", replaces, &offer);
    let invite = passes_in(&mut call.scene, &sent);
    vm.learn(&invite);
    let ok = vm.response(&invite, 200, &incoming::vm_answer());
    call.scene.vm_sends(&ok);
    let at_tc = call.scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.40:8800 0 101");
    let mut tc = Ua::tc();
    tc.learn(&at_tc);
    call.scene.tc_sends(tc.response(&at_tc, 486, ""));
    is_request(&call.scene.at_tc(), Method::Ack);
    // Nobody waits for it: the new call is the VM's meanwhile.
    let at_gateway = call.scene.at_gateway();
    assert_eq!(text(at_gateway.bytes()), ok);
    gateway.learn(&at_gateway);
    let ack = gateway.request("ACK", "");
    passes_in(&mut call.scene, &ack);
    call.scene.silence();
    // The VM hangs the replaced call up.
    call.scene.vm_sends(call.vm.request("BYE", ""));
    is_request(&call.scene.at_gateway(), Method::Bye);
    let bye = call.scene.at_tc();
    is_request(&bye, Method::Bye);
    assert_eq!(text(bye.call_id()), call.tc.call_id);
    let at_tc = call.scene.at_tc();
    is_request(&at_tc, Method::Invite);
    assert_eq!(audio(&at_tc), "10.71.3.40:8800 0 101");
    tc.learn(&at_tc);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    call.scene.tc_sends(tc.response(&at_tc, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    let taken = call.scene.at_gateway();
    assert_eq!(audio(&taken), "10.71.2.21:9000 0 101");
    let answer = sdp("10.71.3.40:8800", "0 101", 2, "");
    call.scene
        .gateway_sends(gateway.response(&taken, 200, &answer));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    let paths: Vec<_> = call
        .scene
        .engine
        .calls()
        .iter()
        .map(|call| (call.state, call.path, call.reason))
        .collect();
    assert_eq!(
        paths,
        [("ending", Path::Direct, None), ("up", Path::Direct, None)]
    );
}

/// A TC with several lines, or a second call while the first is held: each call
/// has its own leg.
#[test]
fn two_calls_of_one_tc() {
    let mut call = outgoing_up();
    let mut gateway = Ua::gateway();
    (gateway.call_id, gateway.tag) = ("call-2@test".into(), "gw2".into());
    let sent = gateway.request("INVITE", &sdp("10.71.3.40:8800", "0 101", 1, ""));
    let invite = passes_in(&mut call.scene, &sent);
    let vm = Ua::vm();
    call.scene
        .vm_sends(vm.response(&invite, 200, &incoming::vm_answer()));
    let at_tc = call.scene.at_tc();
    let mut tc = Ua::tc();
    tc.learn(&at_tc);
    let answer = sdp("10.71.2.21:9200", "0 101", 1, "");
    call.scene.tc_sends(tc.response(&at_tc, 200, &answer));
    is_request(&call.scene.at_tc(), Method::Ack);
    assert_eq!(audio(&call.scene.at_gateway()), "10.71.2.21:9200 0 101");
    assert!(
        call.scene
            .engine
            .calls()
            .iter()
            .all(|c| c.path == Path::Direct)
    );
}

/// Digits, text, subscriptions, what nobody knows: as they came, both ways, and
/// the call is what it was.
#[test]
fn what_is_said_in_a_call_passes() {
    let mut call = outgoing_up();
    let table = [
        ("INFO", "Content-Type: application/dtmf-relay\r\n"),
        ("MESSAGE", "Content-Type: text/plain\r\n"),
        ("SUBSCRIBE", "Event: dialog\r\n"),
        ("NOTIFY", "Event: dialog\r\nSubscription-State: active\r\n"),
        ("OPTIONS", "Accept: application/sdp\r\n"),
        ("PUBLISH", "Event: presence\r\n"),
        ("FROBNICATE", "Odd: yes\r\n"),
    ];
    for (method, headers) in table {
        let sent = call.vm.request_with(method, headers, "");
        let request = passes_out(&mut call.scene, &sent);
        let ok = call.gateway.response(&request, 200, "");
        passes_in(&mut call.scene, &ok);
        let sent = call.gateway.request_with(method, headers, "");
        let request = passes_in(&mut call.scene, &sent);
        let refusal = call.vm.response(&request, 501, "");
        passes_out(&mut call.scene, &refusal);
    }
    // An answer to OPTIONS describes what the VM could do, not this call.
    let options = call.gateway.request("OPTIONS", "");
    let request = passes_in(&mut call.scene, &options);
    let capabilities = call.vm.response(&request, 200, &vm_sdp());
    passes_out(&mut call.scene, &capabilities);
    call.scene.is("up", Path::Direct, None);
    call.scene.silence();
    let flows = call.scene.flow_lines();
    assert_eq!(
        flows[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct"
    );
}

/// What identifies a phone to its proxies (GRUU, RFC 5627; outbound, RFC 5626;
/// Path; rport) is theirs, also in requests of our own.
#[test]
fn contacts_keep_their_parameters() {
    const CONTACT: &str = "<sip:vm@10.71.1.11:5060;gr=urn:uuid:f81d4fae;ob>\
                           ;+sip.instance=\"<urn:uuid:f81d4fae>\";reg-id=1";
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let sent = vm.request_with("INVITE", "Supported: gruu, outbound\r\n", &vm_sdp());
    let sent = sent.replace("<sip:vm@10.71.1.11:5060>\r\nX", &format!("{CONTACT}\r\nX"));
    scene.vm_sends(&sent);
    let invite = scene.at_gateway();
    assert_eq!(invite.header(Name::CONTACT).map(text), Some(CONTACT.into()));
    assert_eq!(invite.top_via().rport, Some(None));
    gateway.learn(&invite);
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let changed = sdp("10.71.2.21:9100", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &changed));
    is_request(&scene.at_gateway(), Method::Ack);
    let ours = scene.at_gateway();
    assert_eq!(ours.header(Name::CONTACT).map(text), Some(CONTACT.into()));
}

/// A strict router (RFC 3261 §16.12.1.1) is the Request-URI of our own requests,
/// and the target the last Route.
#[test]
fn strict_routers_are_served() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let invite = scene.at_gateway();
    gateway.learn(&invite);
    let routes = "Record-Route: <sip:10.71.3.99;lr>, <sip:10.71.3.98>\r\n";
    scene.gateway_sends(gateway.response_with(&invite, 200, routes, &gateway_sdp()));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let changed = sdp("10.71.2.21:9100", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &changed));
    for _ in 0..2 {
        assert_eq!(
            scene.gateway.front().unwrap().dst,
            address("10.71.3.98:5060")
        );
        let message = scene.at_gateway();
        assert_eq!(message.uri(), Some(b"sip:10.71.3.98".as_slice()));
        let routes: Vec<_> = message.headers(Name::ROUTE).map(text).collect();
        assert_eq!(routes, ["<sip:10.71.3.99;lr>", "<sip:gw@10.71.3.31:5060>"]);
    }
}

/// A gateway that challenges requests of our own (401, 407): the VM's password is
/// the VM's, so they count as refused, and nobody is left with half a session.
#[test]
fn a_challenge_to_an_added_request() {
    for status in [401, 407] {
        // The TC moves: it is told no, and stays where it was.
        let mut call = outgoing_up();
        let moved = sdp("10.71.2.21:9400", "0 101", 2, "");
        call.scene.tc_sends(call.tc.request("INVITE", &moved));
        let ours = call.scene.at_gateway();
        let challenge = "Proxy-Authenticate: Digest realm=\"gw\", nonce=\"n\"\r\n";
        call.scene
            .gateway_sends(call.gateway.response_with(&ours, status, challenge, ""));
        is_request(&call.scene.at_gateway(), Method::Ack);
        let mut refusal = call.scene.at_tc();
        if refusal.status() == Some(100) {
            refusal = call.scene.at_tc();
        }
        is_response(&refusal, 488, Method::Invite);
        assert!(call.scene.vm.is_empty(), "the VM hears nothing of it");
        call.scene.is("up", Path::Direct, None);
        // The VM's next request has a number that the gateway has not seen.
        call.scene.vm_sends(call.vm.request("BYE", ""));
        assert_eq!(call.scene.at_gateway().cseq(), (3, Method::Bye));
    }
    // Where the gateway wants credentials from the first, the TC is asked before
    // anything is promised, so that its answer brings no re-INVITE.
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let credentials = "Authorization: Digest username=\"vm\"\r\n";
    scene.vm_sends(vm.request_with("INVITE", credentials, &vm_sdp()));
    let at_tc = scene.at_tc();
    assert_eq!(body(&at_tc), "");
    tc.learn(&at_tc);
    let now = sdp("10.71.2.21:9100", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &now));
    let invite = scene.at_gateway();
    assert_eq!(audio(&invite), "10.71.2.21:9100 0 101");
    gateway.learn(&invite);
    scene.gateway_sends(gateway.response(&invite, 200, &gateway_sdp()));
    is_request(&scene.at_tc(), Method::Ack);
    is_response(&scene.at_vm(), 200, Method::Invite);
    scene.silence();
}

/// Session timers (RFC 4028): too short an interval (422) brings the call again,
/// and refreshes by either side keep it, for hours.
#[test]
fn session_timers() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway) = (Ua::vm(), Ua::gateway());
    let timer = |s: u32| format!("Supported: timer\r\nSession-Expires: {s}\r\n");
    scene.vm_sends(vm.request_with("INVITE", &timer(30), &vm_sdp()));
    let invite = scene.at_gateway();
    let short = gateway.response_with(&invite, 422, "Min-SE: 90\r\n", "");
    let at_vm = passes_in(&mut scene, &short);
    scene.vm_sends(vm.ack_refusal(&at_vm));
    is_request(&scene.at_gateway(), Method::Ack);
    vm.remote = format!("<sip:peer@{GATEWAY}>");
    scene.vm_sends(vm.request_with("INVITE", &timer(90), &vm_sdp()));
    let invite = scene.at_gateway();
    assert_eq!(audio(&invite), "10.71.2.21:9000 0 8 101");
    gateway.learn(&invite);
    let refresher = "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    scene.gateway_sends(gateway.response_with(&invite, 200, refresher, &gateway_sdp()));
    let mut tc = Ua::tc();
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
    scene.tc_sends(tc.response(&at_tc, 200, &answer));
    scene.at_tc();
    let ok = scene.at_vm();
    assert!(text(ok.bytes()).contains(refresher));
    vm.learn(&ok);
    scene.vm_sends(vm.request("ACK", ""));
    scene.gateway.clear();
    for hour in 0..30 {
        scene.wait(3_600_000 - 1);
        scene.keep_alive.clear();
        if hour % 2 == 0 {
            let update = vm.request_with("UPDATE", &timer(90), "");
            let update = passes_out(&mut scene, &update);
            let ok = gateway.response_with(&update, 200, refresher, "");
            passes_in(&mut scene, &ok);
        } else {
            let update = gateway.request_with("UPDATE", &timer(90), "");
            let update = passes_in(&mut scene, &update);
            let ok = vm.response_with(&update, 200, refresher, "");
            passes_out(&mut scene, &ok);
        }
        scene.silence();
        scene.is("up", Path::Direct, None);
    }
}

/// A third party calls the VM and then gives it a peer (RFC 3725 flow I): offer in
/// the VM's 200, a held answer in the ACK, then a re-INVITE with the peer's media.
#[test]
fn a_third_party_makes_the_call() {
    let mut scene = Scene::registered(config(), Some(&tc_sdp()));
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.gateway_sends(gateway.request("INVITE", ""));
    let invite = scene.at_vm();
    vm.learn(&invite);
    scene.vm_sends(vm.response(&invite, 200, &vm_sdp()));
    let ok = scene.at_gateway();
    assert_eq!(audio(&ok), "10.71.2.21:9000 0 8 101");
    gateway.learn(&ok);
    let nowhere =
        sdp("10.71.3.31:8000", "0", 1, "").replace("c=IN IP4 10.71.3.31", "c=IN IP4 0.0.0.0");
    scene.gateway_sends(gateway.request("ACK", &nowhere));
    let ack = scene.at_vm();
    assert!(body(&ack).contains("c=IN IP4 0.0.0.0"), "{}", body(&ack));
    let at_tc = scene.at_tc();
    assert!(body(&at_tc).contains("c=IN IP4 0.0.0.0"));
    tc.learn(&at_tc);
    let held = sdp("10.71.2.21:9000", "0", 1, "a=recvonly\r\n");
    scene.tc_sends(tc.response(&at_tc, 200, &held));
    is_request(&scene.at_tc(), Method::Ack);
    scene.silence();
    // Nothing comes from nowhere.
    scene.wait(20_000);
    assert_eq!(scene.keep_alive, Vec::new());

    let peer = sdp("10.71.3.77:8700", "0 101", 2, "");
    scene.gateway_sends(gateway.request("INVITE", &peer));
    let invite = scene.at_vm();
    let answer = sdp("10.71.1.11:7000", "0 101", 2, "");
    scene.vm_sends(vm.response(&invite, 200, &answer));
    let at_tc = scene.at_tc();
    assert_eq!(audio(&at_tc), "10.71.3.77:8700 0 101");
    let live = sdp("10.71.2.21:9000", "0 101", 2, "");
    scene.tc_sends(tc.response(&at_tc, 200, &live));
    is_request(&scene.at_tc(), Method::Ack);
    assert_eq!(audio(&scene.at_gateway()), "10.71.2.21:9000 0 101");
    assert_eq!(
        scene.flow_lines()[..2],
        [
            "gateway->tc 10.71.3.77:8700 > 10.71.2.21:9000 direct",
            "tc->gateway 10.71.2.21:9000 > 10.71.3.77:8700 direct",
        ]
    );
    assert_eq!(scene.call().reason, None::<Reason>);
}
