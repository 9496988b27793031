//! `sidestep decode`: what people and scripts get of a trace.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A SIP INVITE with what a rewriting must leave alone: compact and folded
/// headers, an unknown header, a `tel:` URI, bytes that are no UTF-8, a video
/// stream.
const INVITE_HEAD: &[u8] = b"INVITE tel:+4930123456;phone-context=x SIP/2.0\r\n\
v: SIP/2.0/UDP 10.71.1.11:5060;branch=z9hG4bK1;rport\r\n\
Max-Forwards:   70\r\n\
f: \"Al\xedce\" <sip:alice@10.71.1.11>;tag=1\r\n\
t: <tel:+4930123456>\r\n\
i: a84b4c76e66710\r\n\
CSeq: 314159 INVITE\r\n\
X-Odd: one,\r\n  two\r\n\
m: <sip:alice@10.71.1.11:5060>\r\n\
c: application/sdp\r\n";

const SDP: &str = "v=0\r\n\
o=alice 2890844526 2890844526 IN IP4 10.71.1.11\r\n\
s=-\r\n\
c=IN IP4 10.71.1.11\r\n\
t=0 0\r\n\
m=audio 49170 RTP/AVP 0 8 101\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\n\
a=x-unknown:kept\r\n";

fn invite() -> Vec<u8> {
    let mut message = INVITE_HEAD.to_vec();
    message.extend_from_slice(format!("l: {}\r\n\r\n{SDP}", SDP.len()).as_bytes());
    message
}

fn sidestep(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidestep"))
        .arg("decode")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sidestep starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A process that has decided already need not read.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("sidestep ends")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn a_sip_message_becomes_json() {
    let view = json(&sidestep(&["--protocol", "sip"], &invite()));
    assert_eq!(view["kind"], "request");
    assert_eq!(view["method"], "INVITE");
    assert_eq!(view["uri"], "tel:+4930123456;phone-context=x");
    assert_eq!(view["call_id"], "a84b4c76e66710");
    assert_eq!(view["cseq"], 314_159);
    assert_eq!(view["from"]["tag"], "1");
    assert_eq!(view["vias"][0]["branch"], "z9hG4bK1");
    assert_eq!(view["sdp"]["media"][0]["port"], 49170);
    assert_eq!(view["sdp"]["audio"]["rtp"], "10.71.1.11:49170");
    let headers = view["headers"].as_array().expect("a list");
    let odd = headers.iter().find(|h| h["name"] == "X-Odd").expect("kept");
    assert_eq!(odd["value"], "one, two");
}

#[test]
fn a_session_description_becomes_json() {
    let view = json(&sidestep(&["--protocol", "sdp", "-"], SDP.as_bytes()));
    assert_eq!(view["connection"]["address"], "10.71.1.11");
    assert_eq!(view["audio"]["rtcp"], "10.71.1.11:49171");
    let names: Vec<&str> = view["media"][0]["codecs"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|codec| codec["name"].as_str())
        .collect();
    assert_eq!(names, ["PCMU", "PCMA", "telephone-event"]);
}

#[test]
fn with_media_only_the_audio_and_the_length_change() {
    let input = file("invite.sip", &invite());
    let input = input.to_str().expect("UTF-8");
    let output = sidestep(
        &["--protocol", "sip", "--media", "10.71.2.21:20000", input],
        b"",
    );
    assert!(output.status.success(), "{output:?}");

    let sdp = SDP
        .replace("c=IN IP4 10.71.1.11", "c=IN IP4 10.71.2.21")
        .replace("m=audio 49170", "m=audio 20000");
    let mut expected = INVITE_HEAD.to_vec();
    expected.extend_from_slice(format!("l: {}\r\n\r\n{sdp}", sdp.len()).as_bytes());
    assert_eq!(text(&output.stdout), text(&expected));
    assert_eq!(output.stdout, expected);

    let output = sidestep(
        &["--protocol", "sdp", "--media", "10.71.2.21:20000"],
        SDP.as_bytes(),
    );
    assert_eq!(text(&output.stdout), sdp);
}

#[test]
fn what_the_daemon_would_leave_alone_is_said_and_not_printed() {
    let encrypted = SDP.replace("RTP/AVP", "RTP/SAVP");
    let video = SDP.replace("m=audio", "m=video");
    let no_body = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                   To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let media = ["--media", "10.0.0.1:4000"];
    let table: [(&str, &str, &[&str], &str); 6] = [
        ("sip", "HELLO\r\n\r\n", &[], "not a SIP message: SIP line 1"),
        ("sdp", "hello", &[], "not a session description: SDP line 1"),
        ("sdp", no_body, &media, "not a session description"),
        ("sip", no_body, &media, "no session description"),
        ("sdp", &encrypted, &media, "left alone: "),
        ("sdp", &video, &media, "left alone: "),
    ];
    for (protocol, input, more, why) in table {
        let args: Vec<&str> = ["--protocol", protocol]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let output = sidestep(&args, input.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{input}");
        assert!(output.stdout.is_empty(), "{input}");
        let said = text(&output.stderr);
        assert!(
            said.starts_with("standard input: ") && said.contains(why),
            "{input}: {said}"
        );
    }
}

#[test]
fn usage_errors_end_with_2_and_files_that_are_not_there_with_1() {
    assert_eq!(
        sidestep(&["--protocol", "smtp"], b"").status.code(),
        Some(2)
    );
    let output = sidestep(&["--protocol", "sip", "--media", "10.0.0.1"], b"");
    assert_eq!(output.status.code(), Some(2));
    let output = sidestep(&["--protocol", "sip", "/nowhere/invite.sip"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/invite.sip: No such file"));
}

/// Two messages of one datagram; with `--media`, only the description's address
/// is another.
#[test]
fn mgcp() {
    let datagram = "200 12 OK\r\n.\r\nMDCX 13 aaln/1@gw MGCP 1.0\r\nC: a\r\nI: 1\r\nX+odd:  kept\r\n\r\n\
                    v=0\r\nc=IN IP4 10.71.1.11\r\nm=audio 4000 RTP/AVP 0\r\n";
    let shown = json(&sidestep(&["--protocol", "mgcp"], datagram.as_bytes()));
    let messages = &shown["messages"];
    assert_eq!(messages[0]["code"], 200);
    assert_eq!(messages[1]["verb"], "MDCX");
    assert_eq!(messages[1]["parameters"][0]["name"], "CallId");
    let audio = &messages[1]["descriptions"][0]["sdp"]["audio"];
    assert_eq!(audio["rtp"], "10.71.1.11:4000");

    let args = ["--protocol", "mgcp", "--media", "10.71.2.21:9000"];
    let moved = sidestep(&args, datagram.as_bytes());
    assert!(moved.status.success(), "{moved:?}");
    let expected = datagram
        .replace("10.71.1.11", "10.71.2.21")
        .replace("4000", "9000");
    assert_eq!(String::from_utf8(moved.stdout).expect("text"), expected);

    let refused = sidestep(&["--protocol", "mgcp"], b"CRCX 1 a@b SIP/2.0\r\n");
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8(refused.stderr).expect("text");
    assert!(
        why.contains("MGCP line 1, byte 11: the command does not name MGCP"),
        "{why}"
    );
}

/// An Add whose second termination is told the far end's media, in the compact
/// form, with a comment and a brace in it.
const ADD: &str = "!/1 [10.71.1.11]:2944 T=7{C=${A=a/1,A=${M{O{MO=SR},L{\nv=0\nc=IN IP4 $\n\
m=audio $ RTP/AVP 0\n},R{\nv=0\nc=IN IP4 10.71.1.11\nm=audio 49170 RTP/AVP 0\na=x:\\}\n}}}}} ; end\n";

#[test]
fn an_h248_message_becomes_json() {
    let view = json(&sidestep(&["--protocol", "h248"], ADD.as_bytes()));
    assert_eq!(view["version"], 1);
    assert_eq!(view["mid"]["ip"]["address"], "10.71.1.11");
    let request = &view["body"]["transactions"][0]["request"];
    assert_eq!(request["id"], 7);
    let action = &request["actions"][0];
    assert_eq!(action["context"], "$");
    let add = &action["commands"][1];
    assert_eq!(add["kind"], "add");
    assert_eq!(add["terminations"][0], "$");
    let stream = &add["descriptors"][0]["media"]["streams"][0];
    assert_eq!(stream["control"]["mode"], "send_receive");
    assert!(stream["local"][0]["sdp_error"].is_string());
    let remote = &stream["remote"][0]["sdp"];
    assert_eq!(remote["audio"]["rtp"], "10.71.1.11:49170");
}

#[test]
fn with_media_only_the_far_ends_audio_of_h248_changes() {
    let media = ["--protocol", "h248", "--media", "10.71.2.21:20000"];
    let output = sidestep(&media, ADD.as_bytes());
    let expected = ADD
        .replace("c=IN IP4 10.71.1.11", "c=IN IP4 10.71.2.21")
        .replace("m=audio 49170", "m=audio 20000");
    assert_eq!(text(&output.stdout), expected);

    // What a gateway answers is its Local; a Remote there is only repeated.
    let reply = ADD.replace("T=7{", "P=7{").replace('$', "4");
    let reply = reply.replace("IN IP4 4", "IN IP4 10.71.3.31");
    let expected = reply
        .replace("c=IN IP4 10.71.3.31", "c=IN IP4 10.71.2.21")
        .replace("m=audio 4 ", "m=audio 20000 ");
    assert_eq!(text(&sidestep(&media, reply.as_bytes()).stdout), expected);

    for (input, why) in [
        ("!/1 <x> T=1{C=1{A=t}}", "no session description"),
        (
            "!/1 <x> T=1{C=1{A=t}",
            "not an H.248 message: H.248 transactionRequest, byte 20",
        ),
        (
            &ADD.replace("RTP/AVP 0\na=x", "RTP/SAVP 0\na=x"),
            "left alone: ",
        ),
    ] {
        let output = sidestep(&media, input.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{input}");
        assert!(output.stdout.is_empty(), "{input}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
}

/// A fixture of the core, octets in hexadecimal with comments.
fn octets(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("core/tests/data/h248/binary").join(name);
    let text = fs::read_to_string(path).expect("a fixture");
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_whitespace)
        .map(|octet| u8::from_str_radix(octet, 16).expect("hexadecimal"))
        .collect()
}

#[test]
fn binary_h248_is_told_by_its_content() {
    let add = octets("add_request.hex");
    let view = json(&sidestep(&["--protocol", "h248"], &add));
    assert_eq!(
        view,
        json(&sidestep(&["--protocol", "h248", "--binary"], &add))
    );
    let add = &view["body"]["transactions"][0]["request"]["actions"][0]["commands"][1];
    let stream = &add["descriptors"][0]["media"]["streams"][0];
    assert_eq!(stream["control"]["mode"], "send_receive");
    let remote = &stream["remote"][0]["sdp"];
    assert_eq!(remote["audio"]["rtp"], "10.71.1.11:10020");
}

#[test]
fn with_media_only_the_far_ends_audio_of_binary_h248_changes() {
    let add = octets("add_request.hex");
    // As long as what was there, so that all other octets are the same.
    let media = ["--protocol", "h248", "--media", "10.71.2.21:20000"];
    let output = sidestep(&media, &add);
    assert!(output.status.success(), "{output:?}");
    let replaced = |from: &[u8], to: &[u8], octets: Vec<u8>| {
        let at = octets.windows(from.len()).rposition(|part| part == from);
        let mut octets = octets;
        octets[at.expect("there")..][..from.len()].copy_from_slice(to);
        octets
    };
    let expected = replaced(b"IN IP4 10.71.1.11", b"IN IP4 10.71.2.21", add);
    let expected = replaced(b"audio 10020", b"audio 20000", expected);
    assert_eq!(output.stdout, expected);
}

#[test]
fn what_is_no_ber_is_refused_with_its_place() {
    for (args, input, why, code) in [
        (
            &["--protocol", "h248", "--binary"][..],
            ADD.as_bytes(),
            "not an H.248 message: H.248 MegacoMessage, byte 0: ",
            1,
        ),
        (
            &["--protocol", "h248"],
            b"\x30\x05\xa1\x03\x80\x01\x01",
            "not an H.248 message: H.248 Message, byte 2: no mId",
            1,
        ),
        (
            &["--protocol", "sip", "--binary"],
            b"\x30\x00",
            "--binary goes with --protocol h248 only",
            2,
        ),
    ] {
        let output = sidestep(args, input);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(
            output.stdout.is_empty() && text(&output.stderr).contains(why),
            "{output:?}"
        );
    }
}
