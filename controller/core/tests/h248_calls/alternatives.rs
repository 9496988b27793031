//! Several alternatives in a description, separated by `v=` (H.248.1 §7.1.8).

use sidestep_core::engine::Path;
use sidestep_core::h248::model::Description;
use sidestep_core::h248::{self, Encoding, text};
use sidestep_core::sdp::SessionDescription;

use super::binary;
use super::mg::*;
use super::scene::{self, Ua, config};

/// Address and formats of every alternative of every Remote.
fn all_remotes(message: &str) -> Vec<String> {
    let parsed = text::parse(message.as_bytes()).unwrap_or_else(|e| panic!("{e}: {message}"));
    let remotes = parsed
        .streams()
        .filter_map(|(_, stream)| stream.remote.as_ref());
    let all = |description: &Description<'_>| -> Vec<String> {
        let audio = |alternative: &[u8]| {
            let sdp = SessionDescription::parse(alternative).unwrap();
            let (index, media) = sdp.audio().unwrap();
            let formats = sdp.media()[index].formats.join(" ");
            format!("{} {formats}", media.rtp)
        };
        description.alternatives().map(audio).collect()
    };
    remotes.flat_map(all).collect()
}

fn alternatives(ports_and_formats: &[(u16, &str)]) -> String {
    ports_and_formats
        .iter()
        .map(|(port, formats)| sdp(&format!("10.71.1.11:{port}"), formats))
        .collect()
}

#[test]
fn every_alternative_of_the_far_end_is_the_tcs() {
    for (said, told) in [
        (&[(7000, "0"), (7000, "8")][..], &["0 8 101", "8"][..]),
        (&[(7000, "0"), (7002, "18"), (7004, "8")], &["0 8 101", "8"]),
        // The most wanted is none of the TC's.
        (&[(7000, "4"), (7000, "0")], &["0 8 101", "0"]),
        (&[(7000, "0"), (7000, "4")], &["0 8 101"]),
    ] {
        let mut control = Control::registered(config());
        let vm = alternatives(said);
        control.mgc_says(&add(50003, &vm));
        let message = control.at_mg();
        let expected: Vec<String> = told
            .iter()
            .map(|formats| format!("10.71.2.21:9000 {formats}"))
            .collect();
        assert_eq!(all_remotes(&message), expected, "{message}");
        assert!(!message.contains("c=IN IP4 10.71.1.11"), "{message}");
        // The one that the gateway has chosen is learned.
        control.passes_to_mgc(&added(50003, &mg_sdp()));
        let mut tc = Ua::tc();
        let answer = scene::sdp("10.71.2.21:9000", "0 101", 1, "");
        let invite = control.tc_answers(&mut tc, &answer);
        assert_eq!(scene::audio(&invite), "10.71.3.31:8000 0");
        control.is("up", Path::Direct, None);
        // An audit shows all that the VM had said.
        control.passes_to_mg(
            "Transaction = 9 { Context = 5000 { AuditValue = A5556 { Audit { Media } } } }",
        );
        let reply = |remote: &str| {
            format!(
                "Reply = 9 {{ Context = 5000 {{ AuditValue = A5556 {{ Media {{ Stream = 1 {{ \
                 Remote {{\n{remote}}} }} }} }} }} }}"
            )
        };
        control.mg_says(&reply("v=0\nc=IN IP4 10.71.2.21\nm=audio 9000 RTP/AVP 0\n"));
        assert_eq!(control.at_mgc(), of_mg(&reply(&vm)));
    }
}

#[test]
fn what_the_gateway_may_choose_from_are_the_codecs_of_all_alternatives() {
    let choices = |formats: &[&str]| -> String {
        let one = |formats: &&str| format!("v=0\nc=IN IP4 $\nm=audio $ RTP/AVP {formats}\n");
        formats.iter().map(one).collect()
    };
    for (offered, changed) in [
        // The TC has one of them.
        (&["4", "0"][..], None),
        (&["0", "4"], None),
        // Open in one.
        (&["4", "$"], None),
        // It has none: its own take the place of all.
        (&["4", "18"], Some("RTP/AVP 0 8\n")),
    ] {
        let mut control = Control::registered(config());
        let local = choices(offered);
        let add = add(50003, &vm_sdp()).replace(&choices(&["0 8"]), &local);
        assert!(add.contains(&local));
        control.mgc_says(&add);
        let message = control.at_mg();
        assert_eq!(message.contains(&local), changed.is_none(), "{message}");
        if let Some(changed) = changed {
            assert!(message.contains(changed), "{message}");
        }
        assert_eq!(remotes(&message), ["10.71.2.21:9000 0 8 101"]);
    }
}

/// What the VM had given the gateway to choose from it has again, in either encoding.
#[test]
fn all_alternatives_of_the_vm_come_back_with_the_call() {
    let vm = alternatives(&[(7000, "0"), (7002, "18"), (7004, "8")]);
    let (add, added) = (add(50003, &vm), added(50003, &mg_sdp()));
    for encoding in [Encoding::Pretty, Encoding::Binary] {
        let mut control = Control::registered(config());
        if encoding == Encoding::Binary {
            binary::mgc_says(&mut control, &add);
            binary::mg_says(&mut control, &added);
        } else {
            control.mgc_says(&add);
            control.mg_says(&added);
        }
        control.gateway.clear();
        let mut tc = Ua::tc();
        control.tc_answers(&mut tc, &scene::sdp("10.71.2.21:9000", "0 101", 1, ""));
        control.is("up", Path::Direct, None);
        let now = control.now;
        control.engine.shutdown(now);
        control.drain();
        let modify = control
            .gateway
            .pop_front()
            .expect("for the gateway")
            .payload;
        assert_eq!(
            Encoding::of(&modify) == Some(Encoding::Binary),
            encoding == Encoding::Binary
        );
        let modify = h248::write(&h248::parse(&modify).unwrap(), Encoding::Pretty);
        assert_eq!(
            all_remotes(&scene::text(&modify)),
            [
                "10.71.1.11:7000 0",
                "10.71.1.11:7002 18",
                "10.71.1.11:7004 8"
            ]
        );
    }
}
