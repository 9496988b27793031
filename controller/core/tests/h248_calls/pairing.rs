//! The VM is the controller of an H.248 gateway, Sidestep that of a thin client which is
//! a gateway, too: of H.248 (Fig. 5 by its numbers) or of MGCP. With SIP are the other
//! tests here.

use sidestep_core::engine::{EngineConfig, Network, Path, Side};
use sidestep_core::h248::{Encoding, text};
use sidestep_core::registrar::Access;

use super::mg::*;
use super::scene::gateway_tc::{BOTH, What};
use super::scene::{self, REGISTRAR, Scene, config};

const TC_GATEWAY: &str = "10.71.2.21:2944";

fn both_ends() -> EngineConfig {
    let mut config = config();
    config.thin_clients[0].access = Access::H248 {
        mid: "[10.71.2.21]:2944".into(),
        termination: None,
        from: Network {
            address: "10.71.2.0".parse().unwrap(),
            prefix: 24,
        },
    };
    config
}

fn tc_says(control: &mut Control, transaction: &str) {
    let message = format!("!/1 [10.71.2.21]:2944 {transaction}");
    control.put(Side::Net, TC_GATEWAY, REGISTRAR, message);
}

/// The next message to the thin client, in compact form.
fn at_tc(control: &mut Control) -> String {
    let datagram = control.tc.pop_front().expect("nothing for the thin client");
    let message = text::parse(&datagram.payload).unwrap();
    scene::text(&text::write(&message, Encoding::Compact))
}

/// The thin client replies to the next request with these actions.
fn tc_replies(control: &mut Control, actions: &str) -> String {
    let request = at_tc(control);
    let id = requests(&request)[0];
    tc_says(control, &format!("P={id}{{{actions}}}"));
    request
}

#[test]
fn fig5_from_501_to_516_with_h248_at_both_ends() {
    let mut control = Control(Scene::new(both_ends()));
    // 501: registration, terminations, codecs.
    tc_says(&mut control, "T=9998{C=-{SC=ROOT{SV{MT=RS,V=1}}}}");
    assert!(at_tc(&mut control).contains("P=9998{"));
    tc_replies(&mut control, "C=-{AV=ROOT{},AV=tel/1{}}");
    tc_replies(
        &mut control,
        "C=-{AC=tel/1{M{ST=1{L{v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 0 8\n}}}}}",
    );
    assert_eq!(control.engine.clients()[0].protocol, "h248");
    // 502, 503: the VM's controller sets up its call; the thin client's new context.
    control.mgc_says(&add(50003, &vm_sdp()));
    let local = sdp("10.71.2.21:9000", "0 8");
    let request = tc_replies(
        &mut control,
        &format!("C=2000{{A=tel/1,A=rtp/7{{M{{ST=1{{L{{{local}}}}}}}}}}}"),
    );
    assert!(request.contains("C=${A=tel/1"), "{request}");
    // 504, 505.
    let message = control.at_mg();
    assert_eq!(remotes(&message), ["10.71.2.21:9000 0 8"]);
    control.passes_to_mgc(&added(50003, &mg_sdp()));
    // 506, 507: the called party rings.
    control.passes_to_mg(
        "Transaction = 50004 { Context = 5000 { Modify = A5555 { Signals { al/ri } } } }",
    );
    control.passes_to_mgc("Reply = 50004 { Context = 5000 { Modify = A5555 } }");
    // 508: the gateway's media, then ringback, since 506 came after 505.
    let moved = sdp("10.71.2.21:9100", "0");
    let request = tc_replies(
        &mut control,
        &format!("C=2000{{MF=rtp/7{{M{{ST=1{{L{{{moved}}}}}}}}}}}"),
    );
    assert_eq!(remotes(&request), ["10.71.3.31:8000 0"]);
    let request = tc_replies(&mut control, "C=2000{MF=tel/1}");
    assert!(request.contains("MF=tel/1{SG{cg/rt}}"), "{request}");
    // 509: changed information goes to the gateway.
    let ours = control.at_mg();
    assert_eq!(remotes(&ours), ["10.71.2.21:9100 0"]);
    control.mg_says(&modified(requests(&ours)[0]));
    // 510, 511: the called party answers.
    control.passes_to_mgc(
        "Transaction = 10 { Context = 5000 { Notify = A5555 { ObservedEvents = 1 { al/of } } } }",
    );
    control.passes_to_mg("Reply = 10 { Context = 5000 { Notify = A5555 } }");
    // 514, 515: no ringback any more.
    let request = tc_replies(&mut control, "C=2000{MF=tel/1}");
    assert!(request.contains("MF=tel/1{SG}"), "{request}");
    // 512, 513.
    control.passes_to_mg(
        "Transaction = 50005 { Context = 5000 { Modify = A5555 { Events = 1235 { al/on }, Signals { } } } }",
    );
    control.passes_to_mgc("Reply = 50005 { Context = 5000 { Modify = A5555 } }");
    control.silence();
    // 516.
    control.is("up", Path::Direct, None);
    assert_eq!(
        control.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9100 direct"
    );
    // The end.
    control.passes_to_mg(&subtract(50009));
    control.passes_to_mgc(&subtracted(50009));
    assert!(at_tc(&mut control).contains("S=rtp/7"));
}

#[test]
fn fig6_steps_606_to_612_ringback_at_the_gateway_is_ringing_at_the_thin_client() {
    for tc in BOTH {
        // 606, 607.
        let mut control = called(tc);
        // 610, 611: the caller hears ringback; 608, 609: the called rings.
        control.passes_to_mg(
            "Transaction = 50004 { Context = 5000 { Modify = A5555 { Signals { cg/rt } } } }",
        );
        let ringing = tc.expect(&mut control, What::Modify);
        assert_eq!(tc.signal(&ringing), Some("ringing"), "{ringing:?}");
        tc.replies(&mut control, &ringing, None);
        control.passes_to_mgc("Reply = 50004 { Context = 5000 { Modify = A5555 } }");
        // 612, 613: it has been answered.
        control.passes_to_mg(
            "Transaction = 50005 { Context = 5000 { Modify = A5555 { Signals { } } } }",
        );
        let quiet = tc.expect(&mut control, What::Modify);
        assert_eq!(tc.signal(&quiet), Some("quiet"), "{quiet:?}");
        tc.replies(&mut control, &quiet, None);
        control.passes_to_mgc("Reply = 50005 { Context = 5000 { Modify = A5555 } }");
        // 614.
        control.silence();
        control.is("up", Path::Direct, None);
    }
}

#[test]
fn a_thin_client_of_either_protocol_is_called_and_let_go() {
    for tc in BOTH {
        let mut control = called(tc);
        control.silence();
        control.is("up", Path::Direct, None);

        control.passes_to_mg(&subtract(50009));
        let delete = tc.expect(&mut control, What::Delete);
        tc.replies(&mut control, &delete, None);
        control.passes_to_mgc(&subtracted(50009));
        control.is("ended", Path::Direct, None);
    }
}
