//! The messages of RFC 4475 and RFC 5118 on their way between a VM and a gateway:
//! none is lost, none is altered but where an offer gets other media, and nothing
//! is left of them.

mod scene;

use scene::*;
use sidestep_core::engine::Side;
use sidestep_core::sip::{Message, Name};

fn messages() -> Vec<(String, Vec<u8>)> {
    let mut messages = Vec::new();
    for directory in ["torture", "torture6"] {
        let path = format!("{}/tests/data/{directory}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            messages.push((name, std::fs::read(&path).unwrap()));
        }
    }
    messages.sort();
    messages
}

/// The headers but Content-Length, and the body's lines that are not about its
/// audio's address and codecs.
fn kept(message: &Message) -> (Vec<(String, String)>, Vec<String>) {
    let headers = message
        .all_headers()
        .filter(|(name, _)| !Name::CONTENT_LENGTH.matches(name))
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    let lines = body(message);
    let lines = lines
        .lines()
        .filter(|line| !["c=", "m=audio", "a="].iter().any(|p| line.starts_with(p)))
        .map(str::to_owned)
        .collect();
    (headers, lines)
}

#[test]
fn every_torture_message_goes_its_way() {
    let all = messages();
    assert_eq!(all.len(), 49 + 11);
    let mut changed = Vec::new();
    for (name, sent) in &all {
        for side in [Side::Vm, Side::Net] {
            let mut scene = Scene::registered(config(), Some(&tc_sdp()));
            let (src, dst) = match side {
                Side::Vm => (VM, GATEWAY),
                Side::Net => (GATEWAY, VM),
            };
            scene.put(side, src, dst, sent);
            let inbox = match side {
                Side::Vm => &mut scene.gateway,
                Side::Net => &mut scene.vm,
            };
            let out = inbox
                .pop_front()
                .unwrap_or_else(|| panic!("{name} is lost"));
            assert_eq!((out.src, out.dst), (address(src), address(dst)), "{name}");
            if out.payload != *sent {
                let (before, after) = (Message::parse(sent), Message::parse(&out.payload));
                let (before, after) = (before.unwrap(), after.unwrap());
                assert_eq!(kept(&before), kept(&after), "{name}");
                assert_eq!(audio(&after), "10.71.2.21:9000 0 8 101", "{name}");
                changed.push(name.as_str());
            }
            assert!(scene.tc.is_empty(), "{name}: {:?}", scene.tc);
            scene.silence();
            // A 2xx to nothing that was seen is watched for a day.
            scene.wait(25 * 3600 * 1000);
            scene.is_clean();
        }
    }
    // INVITEs of the VM's whose offer can be bypassed, and no other message.
    assert_eq!(
        changed,
        [
            "badinv01",
            "esc01",
            "inv2543",
            "ipv4-mapped-ipv6",
            "ipv6-in-sdp",
            "longreq",
            "mult-ip-in-sdp",
            "sdp01"
        ],
        "they alone get the thin client's media"
    );
}
