//! The gateway refuses the TC's codecs, and the VM's own INVITE goes out.

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::Path;
use sidestep_core::sip::Method;

/// What the gateway answers to the VM's own offer.
fn real_answer() -> String {
    sdp("10.71.3.31:8000", "8 101", 2, "")
}

/// The gateway refuses the TC's codecs: the VM's own INVITE goes out, and to the
/// VM it is one transaction.
#[test]
fn refused_codecs_bring_the_vms_own_invite() {
    for status in [415, 488, 606] {
        let scene = Scene::registered(config(), Some(&tc_sdp()));
        let mut call = outgoing::called(scene);
        let refusal = call.gateway.response(&call.invite, status, "");
        call.scene.gateway_sends(&refusal);
        let ack = call.scene.at_gateway();
        is_request(&ack, Method::Ack);
        assert_eq!(ack.top_via().branch, call.invite.top_via().branch);
        assert_eq!(ack.to_tag(), Some(b"gwtag".as_slice()));
        let again = call.scene.at_gateway();
        is_request(&again, Method::Invite);
        assert_eq!(again.cseq().0, 2);
        assert_eq!(body(&again), vm_sdp());
        assert_ne!(again.top_via().branch, call.invite.top_via().branch);
        assert_eq!(again.to_tag(), None);
        call.scene.silence();
        // The refusal comes again: so does its ACK, and nothing else.
        call.scene.gateway_sends(&refusal);
        assert_eq!(call.scene.at_gateway().bytes(), ack.bytes());
        // The VM sends again: the new INVITE is ours to repeat.
        let mut same = Ua::vm();
        call.scene.vm_sends(same.request("INVITE", &vm_sdp()));
        call.scene.silence();
        call.scene.wait(500);
        assert_eq!(call.scene.at_gateway().bytes(), again.bytes());
        // What follows is the VM's transaction.
        let reliable = "Require: 100rel\r\nRSeq: 1\r\n";
        let ringing = call.gateway.response_with(&again, 180, reliable, "");
        call.scene.gateway_sends(ringing);
        let ringing = call.scene.at_vm();
        assert_eq!(ringing.cseq().0, 1);
        assert_eq!(ringing.top_via().branch, call.invite.top_via().branch);
        call.scene.wait(5_000);
        call.scene.silence();
        call.vm.learn(&ringing);
        let prack = call.vm.request_with("PRACK", "RAck: 1 1 INVITE\r\n", "");
        call.scene.vm_sends(prack);
        let prack = call.scene.at_gateway();
        assert_eq!(prack.cseq().0, 3);
        assert_eq!(
            prack.header(sidestep_core::sip::Name::RACK),
            Some(b"1 2 INVITE".as_slice())
        );
        call.scene
            .gateway_sends(call.gateway.response(&prack, 200, ""));
        assert_eq!(call.scene.at_vm().cseq().0, 2);
        let ok = call.gateway.response(&again, 200, &real_answer());
        call.scene.gateway_sends(ok);
        let ok = call.scene.at_vm();
        assert_eq!(ok.cseq().0, 1);
        assert_eq!(body(&ok), real_answer());
        call.scene.is("up", Path::Vm, Some(Reason::NoCommonCodec));
        let mut ack = call.vm.clone();
        ack.cseq = 1;
        call.scene.vm_sends(ack.request("ACK", ""));
        let ack = call.scene.at_gateway();
        assert_eq!(ack.cseq().0, 2);
        assert_eq!(call.scene.flow_lines().len(), 4);
        call.scene.vm_sends(call.vm.request("BYE", ""));
        let bye = call.scene.at_gateway();
        assert_eq!(bye.cseq().0, 4);
        call.scene
            .gateway_sends(call.gateway.response(&bye, 200, ""));
        assert_eq!(call.scene.at_vm().cseq().0, 3);
        call.scene.is_clean();
    }
}

/// The VM cancels the INVITE that went out again, and its refusal is the VM's.
#[test]
fn a_reissued_invite_can_be_cancelled() {
    let scene = Scene::registered(config(), Some(&tc_sdp()));
    let mut call = outgoing::called(scene);
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 488, ""));
    call.scene.at_gateway();
    let again = call.scene.at_gateway();
    call.scene
        .gateway_sends(call.gateway.response(&again, 180, ""));
    call.scene.at_vm();
    call.scene.vm_sends(call.vm.request("CANCEL", ""));
    let cancel = call.scene.at_gateway();
    is_request(&cancel, Method::Cancel);
    assert_eq!(cancel.top_via().branch, again.top_via().branch);
    assert_eq!(cancel.cseq().0, 2);
    call.scene
        .gateway_sends(call.gateway.response(&cancel, 200, ""));
    is_response(&call.scene.at_vm(), 200, Method::Cancel);
    call.scene
        .gateway_sends(call.gateway.response(&again, 487, ""));
    let terminated = call.scene.at_vm();
    is_response(&terminated, 487, Method::Invite);
    assert_eq!(terminated.cseq().0, 1);
    call.scene.vm_sends(call.vm.ack_refusal(&terminated));
    let ack = call.scene.at_gateway();
    assert_eq!(ack.top_via().branch, again.top_via().branch);
    assert_eq!(ack.cseq().0, 2);
    call.scene.silence();
    call.scene.is_clean();
}
