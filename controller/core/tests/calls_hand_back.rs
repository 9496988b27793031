//! A call that is up, back to the VM.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::Path;
use sidestep_core::sip::{Message, Method, Name};

/// What the gateway answers to the VM's own offer.
fn real_answer() -> String {
    sdp("10.71.3.31:8000", "8 101", 2, "")
}

/// A call that is up goes back: first the gateway hears of the VM, then the VM
/// of the gateway.
#[test]
fn a_call_that_is_up_is_handed_back() {
    type Cause = fn(&mut outgoing::Outgoing);
    let table: [(Cause, Reason); 3] = [
        (
            |call| {
                call.scene.engine.shutdown(call.scene.now);
                call.scene.drain();
            },
            Reason::Stopping,
        ),
        (
            |call| {
                let now = call.scene.now;
                call.scene.engine.datapath_refused(now, 1, Reason::Limit);
                call.scene.drain();
            },
            Reason::Limit,
        ),
        (
            |call| {
                let now = call.scene.now;
                call.scene
                    .engine
                    .datapath_refused(now, 1, Reason::DatapathRefused);
                call.scene.drain();
            },
            Reason::DatapathRefused,
        ),
    ];
    for (cause, reason) in table {
        let mut call = outgoing::up(config());
        cause(&mut call);
        let to_gateway = call.scene.at_gateway();
        is_request(&to_gateway, Method::Invite);
        assert_eq!(audio(&to_gateway), "10.71.1.11:7000 96 0 8 101");
        call.scene.silence();
        call.scene
            .gateway_sends(call.gateway.response(&to_gateway, 200, &real_answer()));
        is_request(&call.scene.at_gateway(), Method::Ack);
        // Only now the TC may go.
        is_request(&call.scene.at_tc(), Method::Bye);
        let to_vm = call.scene.at_vm();
        is_request(&to_vm, Method::Invite);
        assert_eq!(audio(&to_vm), "10.71.3.31:8000 8 101");
        call.scene.is("up", Path::Vm, Some(reason));
        let answer = sdp("10.71.1.11:7000", "8 101", 2, "");
        call.scene.vm_sends(call.vm.response(&to_vm, 200, &answer));
        is_request(&call.scene.at_vm(), Method::Ack);
        call.scene.silence();
        assert_eq!(
            call.scene.flow_lines()[0],
            "gateway->vm 10.71.3.31:8000 > 10.71.1.11:7000 relay"
        );
        call.scene.vm_sends(call.vm.request("BYE", ""));
        call.scene.is_clean();
    }
}

/// The gateway will not have the VM's media: a bypass that works is better than
/// a call that does not.
#[test]
fn a_refused_hand_back_leaves_the_call_where_it_is() {
    let mut call = outgoing::up(config());
    let flows = call.scene.flow_lines();
    let now = call.scene.now;
    call.scene
        .engine
        .datapath_refused(now, 1, Reason::DatapathRefused);
    call.scene.drain();
    let to_gateway = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 500, ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
    assert_eq!(call.scene.flow_lines(), flows);
    call.scene.vm_sends(call.vm.request("BYE", ""));
    call.scene.is_clean();
}

/// An incoming call's VM knows the gateway's real address already.
#[test]
fn an_incoming_call_is_handed_back_by_one_offer() {
    let mut call = incoming::up(config());
    call.scene.engine.shutdown(call.scene.now);
    call.scene.drain();
    let to_gateway = call.scene.at_gateway();
    is_request(&to_gateway, Method::Invite);
    assert_eq!(audio(&to_gateway), "10.71.1.11:7000 0 101");
    // As the callee's request: its own number, the caller as To.
    assert_eq!(to_gateway.cseq().0, 1);
    assert_eq!(to_gateway.to_tag(), Some(b"gwtag".as_slice()));
    assert_eq!(to_gateway.from_tag(), Some(b"vmtag".as_slice()));
    call.scene
        .gateway_sends(call.gateway.response(&to_gateway, 200, &gateway_sdp()));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.tc.clear();
    call.scene.silence();
    call.scene.is("up", Path::Vm, Some(Reason::Stopping));
    // The VM's own first request comes after ours.
    call.scene.vm_sends(call.vm.request("BYE", ""));
    assert!(call.scene.at_gateway().cseq().0 > 1);
    call.scene.is_clean();
}

/// The TC is gone, and the gateway wants credentials for the request that would bring
/// its media to the VM. The VM sends to the gateway, and refreshes the session itself:
/// with its own offer, and with its credentials, the call is whole.
#[test]
fn a_challenged_hand_back_waits_for_the_vm() {
    for timer in ["Supported: 100rel, timer\r\n", ""] {
        let mut call = outgoing::Outgoing {
            scene: Scene::registered(config(), Some(&tc_sdp())),
            vm: Ua::vm(),
            gateway: Ua::gateway(),
            tc: Ua::tc(),
            invite: Message::parse(Ua::vm().request("INVITE", "").as_bytes()).unwrap(),
        };
        let invite = call.vm.request_with("INVITE", timer, &vm_sdp());
        call.scene.vm_sends(invite);
        call.invite = call.scene.at_gateway();
        let at_tc = outgoing::answered(&mut call);
        let answer = sdp("10.71.2.21:9000", "0 101", 1, "");
        call.scene.tc_sends(call.tc.response(&at_tc, 200, &answer));
        is_request(&call.scene.at_tc(), Method::Ack);
        call.vm.learn(&call.scene.at_vm());
        call.scene.vm_sends(call.vm.request("ACK", ""));
        is_request(&call.scene.at_gateway(), Method::Ack);
        // The TC refreshes, and is not heard of again: no ACK comes.
        call.scene.tc_sends(call.tc.request("INVITE", &answer));
        call.scene.wait(33_000);
        call.scene.tc.clear();
        let to_gateway = call.scene.at_gateway();
        assert_eq!(audio(&to_gateway), "10.71.1.11:7000 96 0 8 101");
        // Repeated meanwhile.
        call.scene.gateway.clear();
        let challenge = "WWW-Authenticate: Digest realm=\"gw\", nonce=\"n\"\r\n";
        let refusal = call.gateway.response_with(&to_gateway, 401, challenge, "");
        call.scene.gateway_sends(refusal);
        is_request(&call.scene.at_gateway(), Method::Ack);

        let to_vm = call.scene.at_vm();
        is_request(&to_vm, Method::Invite);
        assert_eq!(audio(&to_vm), "10.71.3.31:8000 0 101");
        let refresh = to_vm.header(Name::SESSION_EXPIRES).map(text);
        let asked = (!timer.is_empty()).then(|| "90;refresher=uas".to_owned());
        assert_eq!(refresh, asked);
        let answer = sdp("10.71.1.11:7000", "0 101", 2, "");
        call.scene.vm_sends(call.vm.response(&to_vm, 200, &answer));
        is_request(&call.scene.at_vm(), Method::Ack);
        call.scene.silence();
        call.scene.is("up", Path::Vm, Some(Reason::HandBackRefused));
        assert_eq!(
            call.scene.flow_lines()[1],
            "vm->gateway 10.71.1.11:7000 > 10.71.3.31:8000 relay"
        );
        // The VM's refresh: challenged, and with credentials.
        let offer = sdp("10.71.1.11:7000", "0 101", 3, "");
        for (credentials, status) in [
            ("", 401),
            ("Authorization: Digest username=\"vm\"\r\n", 200),
        ] {
            let sent = call.vm.request_with("INVITE", credentials, &offer);
            call.scene.vm_sends(&sent);
            let at_gateway = call.scene.at_gateway();
            assert_eq!(audio(&at_gateway), "10.71.1.11:7000 0 101");
            let body = if status == 200 {
                real_answer()
            } else {
                String::new()
            };
            call.scene
                .gateway_sends(call.gateway.response(&at_gateway, status, &body));
            let answer = call.scene.at_vm();
            is_response(&answer, status, Method::Invite);
            let ack = match status {
                200 => call.vm.request("ACK", ""),
                _ => call.vm.ack_refusal(&answer),
            };
            call.scene.vm_sends(ack);
            is_request(&call.scene.at_gateway(), Method::Ack);
        }
        call.scene.silence();
        assert_eq!(
            call.scene.flow_lines()[0],
            "gateway->vm 10.71.3.31:8000 > 10.71.1.11:7000 relay"
        );
        call.scene.vm_sends(call.vm.request("BYE", ""));
        call.scene.is_clean();
    }
}
