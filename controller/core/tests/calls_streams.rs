//! Several streams in a description, what they share (BUNDLE), and how they are
//! found (ICE) and protected (SRTP).

mod scene;

use scene::*;
use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, PathChoice};
use sidestep_core::sip::{Message, Method};

/// Brings an outgoing call of this offer and this answer to where the VM hears of
/// it; returns what the gateway, the TC and the VM were told.
fn call_of(scene: Scene, offer: &str, answer: &str) -> (outgoing::Outgoing, [String; 3]) {
    let mut call = outgoing::Outgoing {
        scene,
        vm: Ua::vm(),
        gateway: Ua::gateway(),
        tc: Ua::tc(),
        invite: Message::parse(Ua::vm().request("INVITE", "").as_bytes()).unwrap(),
    };
    call.scene.vm_sends(call.vm.request("INVITE", offer));
    call.invite = call.scene.at_gateway();
    call.gateway.learn(&call.invite);
    call.scene
        .gateway_sends(call.gateway.response(&call.invite, 200, answer));
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    let rtcp = if body(&call.invite).contains(TC_RTCP) {
        TC_RTCP
    } else {
        ""
    };
    let tc = sdp("10.71.2.21:9000", "0 101", 1, rtcp);
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);
    let ok = call.scene.at_vm();
    is_response(&ok, 200, Method::Invite);
    call.vm.learn(&ok);
    call.scene.vm_sends(call.vm.request("ACK", ""));
    is_request(&call.scene.at_gateway(), Method::Ack);
    call.scene.silence();
    call.scene.is("up", Path::Direct, None);
    let told = [body(&call.invite), body(&at_tc), body(&ok)];
    (call, told)
}

/// The TC's RTCP where it is not beside its RTP.
const TC_RTCP: &str = "a=rtcp:9555\r\n";

fn registered() -> Scene {
    Scene::registered(config(), Some(&tc_sdp()))
}

/// The `m=` lines of a description.
fn streams(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("m=")).collect()
}

/// Voice goes to the TC; the picture stays between VM and gateway, whose answer
/// about it the VM hears as it is.
#[test]
fn audio_and_video() {
    let video = |port: u16| format!("m=video {port} RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n");
    let offer = vm_sdp() + &video(7002);
    let answer = gateway_sdp() + &video(8002);
    let (call, [at_gateway, at_tc, at_vm]) = call_of(registered(), &offer, &answer);
    assert_eq!(
        streams(&at_gateway),
        ["m=audio 9000 RTP/AVP 0 8 101", "m=video 7002 RTP/AVP 97"]
    );
    assert!(at_gateway.contains("c=IN IP4 10.71.1.11\r\nt="));
    assert!(at_gateway.contains("101\r\nc=IN IP4 10.71.2.21\r\n"));
    assert_eq!(streams(&at_tc), ["m=audio 8000 RTP/AVP 0 101"]);
    assert_eq!(
        streams(&at_vm),
        ["m=audio 7000 RTP/AVP 0 101", "m=video 8002 RTP/AVP 97"]
    );
    assert!(at_vm.contains("c=IN IP4 10.71.3.31\r\nt="));
    assert!(at_vm.contains("101\r\nc=IN IP4 192.0.2.1\r\n"));
    assert_eq!(
        call.scene.flow_lines()[0],
        "gateway->tc 10.71.3.31:8000 > 10.71.2.21:9000 direct"
    );
}

/// Of two audio streams the first that can be moved is moved, however they are
/// answered, and the other is the VM's own.
#[test]
fn two_audio_streams() {
    let secure = "m=audio 7002 RTP/SAVP 0\r\na=crypto:1 UNKNOWN inline:vmkey\r\n";
    let head = |text: &str| text.replace("m=audio 7000", &format!("{secure}m=audio 7000"));
    let offer = head(&vm_sdp());
    let answer = gateway_sdp().replace("m=audio 8000", "m=audio 0 RTP/SAVP 0\r\nm=audio 8000");
    let scene = registered();
    // The first has a key of no known suite, which nobody could answer for the
    // VM; a description is taken by its first stream.
    let mut left = registered();
    let sent = Ua::vm().request("INVITE", &offer);
    left.vm_sends(&sent);
    assert_eq!(text(left.at_gateway().bytes()), sent);
    left.is("setup", Path::Vm, Some(Reason::MediaEncrypted));
    // With a transport that is not taken at all it is passed over.
    let offer = offer.replace("RTP/SAVP 0", "UDP/TLS/RTP/SAVP 0");
    let answer = answer.replace("RTP/SAVP", "UDP/TLS/RTP/SAVP");
    let (_, [at_gateway, _, at_vm]) = call_of(scene, &offer, &answer);
    assert_eq!(
        streams(&at_gateway),
        [
            "m=audio 7002 UDP/TLS/RTP/SAVP 0",
            "m=audio 9000 RTP/AVP 0 8 101"
        ]
    );
    assert_eq!(
        streams(&at_vm),
        ["m=audio 0 UDP/TLS/RTP/SAVP 0", "m=audio 7000 RTP/AVP 0 101"]
    );

    // The gateway takes the other one: it is the VM's own.
    let mut call = outgoing::called(registered());
    let mut vm = Ua::vm();
    vm.call_id = "other@test".into();
    call.scene.vm_sends(vm.request("INVITE", &offer));
    let invite = call.scene.at_gateway();
    let other = gateway_sdp().replace(
        "m=audio 8000 RTP/AVP 0 101",
        "m=audio 8002 UDP/TLS/RTP/SAVP 0",
    ) + "m=audio 0 RTP/AVP 0\r\n";
    let ok = call.gateway.response(&invite, 200, &other);
    call.scene.gateway_sends(&ok);
    assert_eq!(text(call.scene.at_vm().bytes()), ok);
    let calls = call.scene.engine.calls();
    assert_eq!(
        (calls[1].path, calls[1].reason),
        (Path::Vm, Some(Reason::SdpNotUnderstood))
    );
}

/// In the call: a stream more, and one less; then the voice itself goes.
#[test]
fn streams_come_and_go() {
    let (mut call, _) = call_of(registered(), &vm_sdp(), &gateway_sdp());
    let video = |port: u16| format!("m=video {port} RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n");
    for (version, port) in [(2, 7002), (3, 0)] {
        let offer = sdp("10.71.1.11:7000", "96 0 8 101", version, "") + &video(port);
        call.scene.vm_sends(call.vm.request("INVITE", &offer));
        let invite = call.scene.at_gateway();
        assert_eq!(
            streams(&body(&invite)),
            [
                "m=audio 9000 RTP/AVP 0 101".to_owned(),
                format!("m=video {port} RTP/AVP 97"),
            ]
        );
        let answered = if port == 0 { 0 } else { 8002 };
        let answer = sdp("10.71.3.31:8000", "0 101", version, "") + &video(answered);
        call.scene
            .gateway_sends(call.gateway.response(&invite, 200, &answer));
        let ok = call.scene.at_vm();
        assert_eq!(
            streams(&body(&ok)),
            [
                "m=audio 7000 RTP/AVP 0 101".to_owned(),
                format!("m=video {answered} RTP/AVP 97"),
            ]
        );
        call.scene.vm_sends(call.vm.request("ACK", ""));
        call.scene.at_gateway();
        call.scene.silence();
    }
    // The gateway takes the voice away (port 0) and is let.
    let gone = sdp("10.71.3.31:8000", "0 101", 4, "").replace("audio 8000", "audio 0");
    let sent = call
        .gateway
        .request("INVITE", &(gone.clone() + &video(8002)));
    call.scene.gateway_sends(&sent);
    let invite = call.scene.at_vm();
    assert_eq!(text(invite.bytes()), sent);
    let answer = sdp("10.71.1.11:7000", "0", 4, "").replace("audio 7000", "audio 0");
    let ok = call.vm.response(&invite, 200, &(answer + &video(7002)));
    call.scene.vm_sends(&ok);
    assert_eq!(text(call.scene.at_gateway().bytes()), ok);
    call.scene
        .is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
}

/// A bundle (RFC 9143) is left by the stream that goes elsewhere; one whose
/// streams share a port is left alone.
#[test]
fn a_bundle_is_left() {
    let bundled = |text: &str, video: u16, only: &str| {
        text.replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE a v\r\n")
            + "a=mid:a\r\na=rtcp-mux\r\n"
            + &format!("m=video {video} RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=mid:v\r\n{only}")
    };
    let offer = bundled(&vm_sdp(), 7002, "");
    let answer = gateway_sdp() + "a=mid:a\r\nm=video 8002 RTP/AVP 97\r\na=mid:v\r\n";
    let (_, [at_gateway, _, at_vm]) = call_of(registered(), &offer, &answer);
    assert!(!at_gateway.contains("BUNDLE"), "{at_gateway}");
    assert!(!at_gateway.contains("rtcp-mux"));
    assert!(at_gateway.contains("a=mid:a\r\n"));
    assert!(!at_vm.contains("BUNDLE"));
    for shared in [
        bundled(&vm_sdp(), 7000, ""),
        bundled(&vm_sdp(), 0, "a=bundle-only\r\n"),
    ] {
        let mut scene = registered();
        let sent = Ua::vm().request("INVITE", &shared);
        scene.vm_sends(&sent);
        assert_eq!(text(scene.at_gateway().bytes()), sent);
        scene.is("setup", Path::Vm, Some(Reason::SdpNotUnderstood));
    }
}

/// RTCP at a port of its own (RFC 3605), and multiplexed where the gateway agrees
/// with a TC that wants it (RFC 5761).
#[test]
fn rtcp_elsewhere() {
    let registered = sdp("10.71.2.21:9000", "0 8 101", 2, TC_RTCP);
    let scene = Scene::registered(config(), Some(&registered));
    let (call, [at_gateway, at_tc, _]) = call_of(
        scene,
        &(vm_sdp() + "a=rtcp:7777\r\n"),
        &(gateway_sdp() + "a=rtcp:8555 IN IP4 10.71.3.32\r\n"),
    );
    assert!(at_gateway.contains("a=rtcp:9555\r\n"), "{at_gateway}");
    assert!(
        at_tc.contains("a=rtcp:8555 IN IP4 10.71.3.32\r\n"),
        "{at_tc}"
    );
    assert!(
        call.scene
            .flow_lines()
            .contains(&"gateway->tc 10.71.3.32:8555 > 10.71.2.21:9555 direct rtcp".into()),
        "{:?}",
        call.scene.flow_lines()
    );
}

/// RTCP on RTP's port, where the gateway agrees with a TC that wants it (RFC 5761
/// §5.1.1); the VM has its own.
#[test]
fn rtcp_on_one_port() {
    for agreed in [true, false] {
        let mut scene = Scene::registered(config(), None);
        let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
        scene.vm_sends(vm.request("INVITE", &vm_sdp()));
        let at_tc = scene.at_tc();
        tc.learn(&at_tc);
        let mux = tc_sdp() + "a=rtcp-mux\r\n" + "a=rtcp:9000\r\n";
        scene.tc_sends(tc.response(&at_tc, 200, &mux));
        let invite = scene.at_gateway();
        assert!(
            body(&invite).contains("a=rtcp-mux\r\n"),
            "{}",
            body(&invite)
        );
        gateway.learn(&invite);
        let line = if agreed { "a=rtcp-mux\r\n" } else { "" };
        let answer = gateway_sdp() + line;
        scene.gateway_sends(gateway.response(&invite, 200, &answer));
        let ack = body(&scene.at_tc());
        assert_eq!(ack.contains("a=rtcp-mux\r\n"), agreed, "{ack}");
        let ok = body(&scene.at_vm());
        assert!(!ok.contains("rtcp-mux"), "{ok}");
        let rtcp: Vec<_> = scene
            .flow_lines()
            .into_iter()
            .filter(|line| line.starts_with("gateway->tc") && line.ends_with("rtcp"))
            .collect();
        let beside = ["gateway->tc 10.71.3.31:8001 > 10.71.2.21:9000 direct rtcp"];
        assert_eq!(rtcp, if agreed { &[] as &[&str] } else { &beside });
    }
}

const VM_KEY: &str = "inline:VM00000000000000000000000000000000000000";
const TC_KEY: &str = "inline:TC00000000000000000000000000000000000000";
const GATEWAY_KEY: &str = "inline:GW00000000000000000000000000000000000000";

fn secure(sdp: &str, tag: u8, key: &str) -> String {
    sdp.replace("RTP/AVP", "RTP/SAVP")
        + &format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 {key}\r\n")
}

/// SRTP with keys in the descriptions (RFC 4568), the VM calls: gateway and TC
/// have each other's keys, and the VM one that opens nothing.
#[test]
fn srtp_of_an_outgoing_call() {
    // What was registered once has no key for this call: the TC is asked.
    let secured = secure(&tc_sdp(), 1, TC_KEY);
    for body_of_register in [Some(tc_sdp()), Some(secured), None] {
        let mut scene = Scene::registered(config(), body_of_register.as_deref());
        let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
        let offer = secure(&vm_sdp(), 4, VM_KEY);
        scene.vm_sends(vm.request("INVITE", &offer));
        let at_tc = scene.at_tc();
        assert_eq!(body(&at_tc), "");
        tc.learn(&at_tc);
        scene.tc_sends(tc.response(&at_tc, 200, &secure(&tc_sdp(), 1, TC_KEY)));
        let invite = scene.at_gateway();
        let told = body(&invite);
        assert_eq!(streams(&told), ["m=audio 9000 RTP/SAVP 0 8 101"]);
        assert!(told.contains(TC_KEY) && !told.contains(VM_KEY), "{told}");
        gateway.learn(&invite);
        let answer = secure(&gateway_sdp(), 1, GATEWAY_KEY);
        scene.gateway_sends(gateway.response(&invite, 200, &answer));
        let ack = scene.at_tc();
        is_request(&ack, Method::Ack);
        assert!(body(&ack).contains(&format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 {GATEWAY_KEY}")));
        let ok = scene.at_vm();
        let told = body(&ok);
        assert_eq!(streams(&told), ["m=audio 7000 RTP/SAVP 0 101"]);
        assert!(told.contains("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:"));
        assert!(
            !told.contains(GATEWAY_KEY) && !told.contains(TC_KEY),
            "{told}"
        );
        scene.is("up", Path::Direct, None);
        // Nobody reads a key where people look.
        let shown = format!("{:?} {:?}", scene.engine.calls(), scene.events);
        let json = serde_json::to_string(&scene.call().media.tc).unwrap();
        for key in [VM_KEY, TC_KEY, GATEWAY_KEY] {
            assert!(!shown.contains(key) && !json.contains(key), "{json}");
        }
        assert!(!format!("{ok:?}{invite:?}").contains("inline:"));
        // Hold, with the keys as they were.
        vm.learn(&ok);
        scene.vm_sends(vm.request("ACK", ""));
        scene.gateway.clear();
        let hold = sdp("10.71.1.11:7000", "96 0 8 101", 2, "a=sendonly\r\n");
        scene.vm_sends(vm.request("INVITE", &secure(&hold, 4, VM_KEY)));
        let told = body(&scene.at_gateway());
        assert!(told.contains(TC_KEY) && !told.contains(VM_KEY), "{told}");
    }
}

/// The gateway calls: its offer, with its key, goes to the TC, whose key answers.
#[test]
fn srtp_of_an_incoming_call() {
    let offer = secure(&gateway_sdp(), 1, GATEWAY_KEY);
    let mut call = incoming::called_with(registered(), &offer);
    let answer = secure(&incoming::vm_answer(), 1, VM_KEY);
    call.scene
        .vm_sends(call.vm.response(&call.invite, 200, &answer));
    let at_tc = call.scene.at_tc();
    assert_eq!(streams(&body(&at_tc)), ["m=audio 8000 RTP/SAVP 0 101"]);
    assert!(body(&at_tc).contains(GATEWAY_KEY));
    call.tc.learn(&at_tc);
    let tc = secure(&sdp("10.71.2.21:9000", "0 101", 1, ""), 1, TC_KEY);
    call.scene.tc_sends(call.tc.response(&at_tc, 200, &tc));
    is_request(&call.scene.at_tc(), Method::Ack);
    let told = body(&call.scene.at_gateway());
    assert!(told.contains(TC_KEY) && !told.contains(VM_KEY), "{told}");
    assert_eq!(streams(&told), ["m=audio 9000 RTP/SAVP 0 101"]);
    call.scene.is("up", Path::Direct, None);
}

/// A TC without SRTP never makes a call plain that would be encrypted.
#[test]
fn nothing_is_decrypted_for_a_tcs_sake() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut tc) = (Ua::vm(), Ua::tc());
    let sent = vm.request("INVITE", &secure(&vm_sdp(), 1, VM_KEY));
    scene.vm_sends(&sent);
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.tc_sends(tc.response(&at_tc, 200, &tc_sdp()));
    assert_eq!(text(scene.at_gateway().bytes()), sent);
    scene.is("setup", Path::Vm, Some(Reason::MediaEncrypted));

    let offer = secure(&gateway_sdp(), 1, GATEWAY_KEY);
    let mut call = incoming::called_with(registered(), &offer);
    let answer = call.vm.response(
        &call.invite,
        200,
        &secure(&incoming::vm_answer(), 1, VM_KEY),
    );
    call.scene.vm_sends(&answer);
    let at_tc = call.scene.at_tc();
    call.tc.learn(&at_tc);
    call.scene.tc_sends(call.tc.response(&at_tc, 488, ""));
    assert_eq!(text(call.scene.at_gateway().bytes()), answer);
    call.scene.is("up", Path::Vm, Some(Reason::MediaEncrypted));
}

/// A TC that wants SRTP where the VM does not: the gateway is offered it, and the
/// VM hears nothing of it.
#[test]
fn a_tc_may_encrypt_what_the_vm_would_not() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &vm_sdp()));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.tc_sends(tc.response(&at_tc, 200, &secure(&tc_sdp(), 1, TC_KEY)));
    let invite = scene.at_gateway();
    gateway.learn(&invite);
    assert_eq!(streams(&body(&invite)), ["m=audio 9000 RTP/SAVP 0 8 101"]);
    let answer = secure(&gateway_sdp(), 1, GATEWAY_KEY);
    scene.gateway_sends(gateway.response(&invite, 200, &answer));
    assert!(body(&scene.at_tc()).contains(GATEWAY_KEY));
    let told = body(&scene.at_vm());
    assert_eq!(streams(&told), ["m=audio 7000 RTP/AVP 0 101"]);
    assert!(!told.contains("crypto"), "{told}");
}

/// Two ends that answer each key with a new one do not do so for ever.
#[test]
fn keys_that_change_with_every_answer_come_to_an_end() {
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    scene.vm_sends(vm.request("INVITE", &secure(&vm_sdp(), 1, VM_KEY)));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    scene.tc_sends(tc.response(&at_tc, 200, &secure(&tc_sdp(), 1, TC_KEY)));
    let invite = scene.at_gateway();
    gateway.learn(&invite);
    let key = |who: &str, n: u32| format!("inline:{who}{n:038}");
    let answer = |n| secure(&sdp("10.71.3.31:8000", "0 101", n, ""), 1, &key("GW", n));
    scene.gateway_sends(gateway.response(&invite, 200, &answer(1)));
    scene.at_tc();
    vm.learn(&scene.at_vm());
    scene.vm_sends(vm.request("ACK", ""));
    scene.gateway.clear();
    // The VM holds; gateway and TC answer with a new key each time.
    let hold = sdp("10.71.1.11:7000", "96 0 8 101", 2, "a=sendonly\r\n");
    scene.vm_sends(vm.request("INVITE", &secure(&hold, 1, VM_KEY)));
    for n in 3..40 {
        while let Some(datagram) = scene.tc.pop_front() {
            let message = Message::parse(&datagram.payload).unwrap();
            if message.is_request() && *message.method() == Method::Invite {
                let answer = secure(&sdp("10.71.2.21:9000", "0 101", n, ""), 1, &key("TC", n));
                scene.tc_sends(tc.response(&message, 200, &answer));
            }
        }
        while let Some(datagram) = scene.gateway.pop_front() {
            let message = Message::parse(&datagram.payload).unwrap();
            if message.is_request() && *message.method() == Method::Invite {
                scene.gateway_sends(gateway.response(&message, 200, &answer(n)));
            }
        }
    }
    scene.is("up", Path::Vm, Some(Reason::TcRefused));
}

const CANDIDATES: &str = "a=ice-ufrag:UF\r\na=ice-pwd:0123456789012345678901\r\n\
                          a=candidate:1 1 UDP 2130706431 AT PORT typ host\r\n";

fn with_ice(text: &str, rtp: &str) -> String {
    let (ip, port) = rtp.split_once(':').unwrap();
    text.to_owned()
        + &CANDIDATES
            .replace("AT", ip)
            .replace("PORT", port)
            .replace("UF", port)
}

/// ICE (RFC 8839): the TC's candidates reach the gateway and the gateway's the
/// TC; the VM's reach nobody. Steered, there are none: the anchor is the only way.
#[test]
fn candidates_are_the_tcs() {
    for path in [PathChoice::Direct, PathChoice::Steered] {
        let mut scene = Scene::registered(config_with(path), None);
        let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
        let lite = |text: String| text.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
        let session = vm_sdp().replace("t=0 0\r\n", "t=0 0\r\na=ice-options:ice2\r\n");
        let offer = with_ice(&session, "10.71.1.11:7000");
        scene.vm_sends(vm.request("INVITE", &offer));
        let at_tc = scene.at_tc();
        tc.learn(&at_tc);
        let tc_offer = with_ice(&tc_sdp(), "10.71.2.21:9000");
        scene.tc_sends(tc.response(&at_tc, 200, &tc_offer));
        let invite = scene.at_gateway();
        gateway.learn(&invite);
        let told = body(&invite);
        assert!(
            !told.contains("10.71.1.11 7000") && !told.contains("ice-options"),
            "{told}"
        );
        let direct = path == PathChoice::Direct;
        assert_eq!(told.contains("10.71.2.21 9000 typ host"), direct, "{told}");
        assert_eq!(told.contains("a=ice-ufrag:9000"), direct);
        let answer = if direct {
            lite(with_ice(&gateway_sdp(), "10.71.3.31:8000"))
        } else {
            gateway_sdp()
        };
        scene.gateway_sends(gateway.response(&invite, 200, &answer));
        let told = body(&scene.at_tc());
        assert_eq!(told.contains("10.71.3.31 8000 typ host"), direct, "{told}");
        assert_eq!(told.contains("a=ice-lite"), direct, "{told}");
        let told = body(&scene.at_vm());
        assert!(
            !told.contains("candidate") && !told.contains("ice-"),
            "{told}"
        );
    }
}

/// Payload types and event types that differ from leg to leg: each hears numbers
/// that it can use (RFC 3264 §6.1, RFC 4733).
#[test]
fn payload_types_differ_per_leg() {
    let events = |text: String, number: u8| text.replace("101", &number.to_string());
    let mut scene = Scene::registered(config(), None);
    let (mut vm, mut gateway, mut tc) = (Ua::vm(), Ua::gateway(), Ua::tc());
    let offer = events(vm_sdp(), 97) + "a=maxptime:20\r\n";
    scene.vm_sends(vm.request("INVITE", &offer));
    let at_tc = scene.at_tc();
    tc.learn(&at_tc);
    let offered = events(tc_sdp(), 120) + "a=ptime:30\r\na=maxptime:60\r\n";
    scene.tc_sends(tc.response(&at_tc, 200, &offered));
    let invite = scene.at_gateway();
    gateway.learn(&invite);
    assert_eq!(audio(&invite), "10.71.2.21:9000 0 8 120");
    assert!(body(&invite).contains("a=rtpmap:120 telephone-event/8000\r\na=fmtp:120 0-15\r\n"));
    assert!(body(&invite).contains("a=ptime:30\r\n"));
    // The VM's own is not the TC's.
    assert_eq!(body(&invite).matches("a=maxptime:").count(), 1);
    assert!(body(&invite).contains("a=maxptime:60\r\n"));
    let answer = events(gateway_sdp(), 120) + "a=ptime:30\r\na=maxptime:40\r\n";
    scene.gateway_sends(gateway.response(&invite, 200, &answer));
    let ack = scene.at_tc();
    assert_eq!(audio(&ack), "10.71.3.31:8000 0 120");
    assert!(body(&ack).contains("a=ptime:30\r\na=maxptime:40\r\n"));
    assert_eq!(audio(&scene.at_vm()), "192.0.2.1:7000 0 97");
}
