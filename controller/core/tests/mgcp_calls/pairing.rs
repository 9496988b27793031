//! The VM is the gateway's call agent; the thin client is a gateway itself, of H.248 or
//! MGCP. Every test runs with both; with SIP are the other tests here.

use sidestep_core::bypass::Reason;
use sidestep_core::engine::Path;

use crate::connection::*;
use crate::scene::gateway_tc::{Asked, BOTH, Tc, What, local};
use crate::scene::{Scene, config, sdp, tc_sdp, vm_sdp};

fn gateway_media(port: u16) -> String {
    sdp(&format!("10.71.3.31:{port}"), "0", 1, "")
}

/// 502, 503: what the thin client is asked before the create goes.
fn called(tc: Tc) -> (Scene, Asked) {
    let mut scene = tc.registered();
    agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
    assert!(scene.gateway.is_empty(), "not before 503");
    let create = tc.expect(&mut scene, What::Create);
    assert!(!create.names(7000), "the VM's media: {create:?}");
    (scene, create)
}

/// To 505: the gateway has the thin client's media, and has said its own.
fn created_with(tc: Tc) -> (Scene, Asked) {
    let (mut scene, create) = called(tc);
    tc.replies(&mut scene, &create, Some(&local(9000)));
    assert_eq!(audio_of(&at_gateway(&mut scene)), "10.71.2.21:9000 0 8");
    passes_to_vm(&mut scene, &created(1, &gateway_media(8000)));
    let modify = tc.expect(&mut scene, What::Modify);
    assert!(modify.names(8000), "{modify:?}");
    (scene, modify)
}

fn up_with(tc: Tc) -> Scene {
    let (mut scene, modify) = created_with(tc);
    tc.replies(&mut scene, &modify, None);
    scene.silence();
    scene.is("up", Path::Direct, None);
    scene
}

#[test]
fn set_up_and_deleted_by_the_agent() {
    for tc in BOTH {
        let mut scene = up_with(tc);
        assert_eq!(
            scene.flow_lines()[..2],
            [
                "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct",
                "tc->gateway 10.71.2.21:9000 > 10.71.3.31:8000 direct",
            ]
        );
        passes_to_gateway(&mut scene, &dlcx(9));
        let delete = tc.expect(&mut scene, What::Delete);
        tc.replies(&mut scene, &delete, None);
        passes_to_vm(&mut scene, "250 9 OK\r\nP: PS=10, OS=1600\r\n");
        scene.silence();
        scene.is("ended", Path::Direct, None);
    }
}

#[test]
fn deleted_by_the_gateway() {
    for tc in BOTH {
        let mut scene = up_with(tc);
        let command = format!("DLCX 70 {ENDPOINT} MGCP 1.0\r\nC: A3c4\r\nI: F1\r\nE: 900 x\r\n");
        passes_to_vm(&mut scene, &command);
        tc.expect(&mut scene, What::Delete);
        passes_to_gateway(&mut scene, "250 70 OK\r\n");
        scene.is("ended", Path::Direct, None);
    }
}

/// 506, 508; 510, 514: the telephone at the gateway rings, and is answered or let be.
#[test]
fn ringing_at_the_gateway_is_ringback_at_the_thin_client() {
    let answered = format!("NTFY 71 {ENDPOINT} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n");
    let let_be = format!("RQNT 6 {ENDPOINT} MGCP 1.0\r\nX: 6\r\nR: L/hu(N)\r\n");
    for tc in BOTH {
        for (by_gateway, quiet) in [(true, &answered), (false, &let_be)] {
            let mut scene = up_with(tc);
            passes_to_gateway(
                &mut scene,
                &format!("RQNT 5 {ENDPOINT} MGCP 1.0\r\nX: 5\r\nR: L/hd(N)\r\nS: L/rg\r\n"),
            );
            let ringback = tc.expect(&mut scene, What::Modify);
            assert_eq!(tc.signal(&ringback), Some("ringback"), "{ringback:?}");
            tc.replies(&mut scene, &ringback, None);
            passes_to_vm(&mut scene, "200 5 OK\r\n");
            // Another telephone's is none of this call's.
            passes_to_gateway(
                &mut scene,
                "RQNT 7 aaln/2@gw.example MGCP 1.0\r\nX: 7\r\nS:\r\n",
            );
            scene.silence();
            match by_gateway {
                true => passes_to_vm(&mut scene, quiet),
                false => passes_to_gateway(&mut scene, quiet),
            }
            let stop = tc.expect(&mut scene, What::Modify);
            assert_eq!(tc.signal(&stop), Some("quiet"), "{stop:?}");
            tc.replies(&mut scene, &stop, None);
            scene.silence();
        }
    }
}

/// 602: who picks up without being rung calls.
#[test]
fn who_calls_is_known_by_who_picks_up() {
    for (rung, direction) in [(false, "incoming"), (true, "outgoing")] {
        let mut scene = Scene::registered(config(), Some(&tc_sdp()));
        if rung {
            passes_to_gateway(
                &mut scene,
                &format!("RQNT 5 {ENDPOINT} MGCP 1.0\r\nX: 5\r\nR: L/hd(N)\r\nS: L/rg\r\n"),
            );
            passes_to_vm(&mut scene, "200 5 OK\r\n");
        }
        passes_to_vm(
            &mut scene,
            &format!("NTFY 71 {ENDPOINT} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n"),
        );
        passes_to_gateway(&mut scene, "200 71 OK\r\n");
        agent(&mut scene, &crcx(1, "sendrecv", &vm_sdp()));
        assert_eq!(scene.call().direction, direction);
    }
}

/// Ringing asked for together with the connection: ringback is asked for once.
#[test]
fn ringing_with_the_create() {
    for tc in BOTH {
        let mut scene = tc.registered();
        let command = crcx(1, "sendrecv", &vm_sdp()).replace("M: ", "X: 5\r\nS: L/rg\r\nM: ");
        agent(&mut scene, &command);
        let create = tc.expect(&mut scene, What::Create);
        tc.replies(&mut scene, &create, Some(&local(9000)));
        assert!(at_gateway(&mut scene).contains("S: L/rg\r\n"));
        let mut heard = Vec::from_iter(tc.signal(&create));
        passes_to_vm(&mut scene, &created(1, &gateway_media(8000)));
        while !scene.tc.is_empty() {
            let asked = tc.expect(&mut scene, What::Modify);
            heard.extend(tc.signal(&asked));
            tc.replies(&mut scene, &asked, None);
        }
        assert_eq!(heard, ["ringback"], "{tc:?}");
        scene.is("up", Path::Direct, None);
    }
}

/// 509: the thin client's changed information is an MDCX of ours; 611: the gateway's
/// goes to the thin client.
#[test]
fn either_side_moves() {
    for tc in BOTH {
        let (mut scene, modify) = created_with(tc);
        tc.replies(&mut scene, &modify, Some(&local(9100)));
        let own = at_gateway(&mut scene);
        assert!(own.starts_with("MDCX 500000000 "), "{own}");
        assert!(audio_of(&own).starts_with("10.71.2.21:9100 0"), "{own}");
        let moved = gateway_media(8100);
        gateway(&mut scene, &format!("200 500000000 OK\r\n\r\n{moved}"));
        assert!(scene.vm.is_empty(), "the VM hears nothing of it");
        let modify = tc.expect(&mut scene, What::Modify);
        assert!(modify.names(8100), "{modify:?}");
        tc.replies(&mut scene, &modify, None);
        scene.silence();
        assert_eq!(
            scene.flow_lines()[0],
            "gateway->tc 10.71.3.31:8100 > 10.71.2.21:9100 direct"
        );
    }
}

/// What fails before the create has gone costs nothing.
#[test]
fn a_thin_client_that_cannot_leaves_the_create_as_it_was() {
    let command = crcx(1, "sendrecv", &vm_sdp());
    for tc in BOTH {
        let (mut scene, create) = called(tc);
        tc.refuses(&mut scene, &create);
        assert_eq!(at_gateway(&mut scene), command);
        scene.is("setup", Path::Vm, Some(Reason::NoCommonCodec));

        let (mut scene, _) = called(tc);
        scene.wait(u64::try_from(config().tc_answer_timeout.as_millis()).unwrap());
        assert_eq!(at_gateway(&mut scene), command);
        scene.is("setup", Path::Vm, Some(Reason::TcNoAnswer));

        let mut scene = Scene::new(tc.config());
        passes_to_gateway(&mut scene, &command);
        scene.is("setup", Path::Vm, Some(Reason::TcNotRegistered));
    }
}

/// In a call that is up: it restarts, or its user hangs up there.
#[test]
fn a_thin_client_that_goes_gives_the_call_back() {
    for tc in BOTH {
        for restarts in [true, false] {
            let mut scene = up_with(tc);
            match (restarts, tc) {
                (false, _) => tc.hangs_up(&mut scene),
                (true, Tc::H248) => {
                    scene.tc_sends("!/1 <tc17> T=60{C=-{SC=ROOT{SV{MT=RS,RE=901}}}}");
                }
                (true, Tc::Mgcp) => {
                    scene.tc_sends("RSIP 60 aaln/1@tc17 MGCP 1.0\r\nRM: restart\r\n");
                }
            }
            let own = at_gateway(&mut scene);
            assert!(own.starts_with("MDCX 500000000 "), "{own}");
            assert!(audio_of(&own).starts_with("10.71.1.11:7000 "), "{own}");
            gateway(&mut scene, "200 500000000 OK\r\n");
            assert!(scene.vm.is_empty());
            scene.is("up", Path::Vm, Some(Reason::TcLost));
        }
    }
}
