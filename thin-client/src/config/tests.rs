use super::*;
use crate::audio::g711::Law;

const FULL: &str = "\
server: 10.71.1.11:5070
user: tc17
password: secret
bind: 10.71.2.21:5062
media: {address: 10.71.2.21, port: 20000, codecs: [PCMA], ptime: 30}
register: address
expires: 300
answer: {delay_ms: 250}
answer_media: {port: 20100}
reinvite: {after_ms: 900, port: 20200}
hangup_after_ms: 2000
play: {tone: 440}
record: /tmp/heard.wav
report: /tmp/report.json
";

#[test]
fn every_key_arrives() {
    let config = parse(FULL).expect("valid");
    assert_eq!(config.server, "10.71.1.11:5070".parse().expect("address"));
    assert_eq!(config.media.address.to_string(), "10.71.2.21:20000");
    assert_eq!(config.media.codecs, [Encoding::G711(Law::A)]);
    assert_eq!(config.media.ptime, 30);
    assert_eq!(config.register, Register::Address);
    assert_eq!(config.answer, Answer::After(Duration::from_millis(250)));
    assert_eq!(config.answer_port, Some(20_100));
    assert_eq!(config.reinvite, Some((Duration::from_millis(900), 20_200)));
    assert_eq!(config.hangup_after, Some(Duration::from_secs(2)));
    assert_eq!(config.play, Play::Tone(440));
}

#[test]
fn defaults_are_a_telephone_that_answers() {
    let config = parse(
        "{server: '10.0.0.1:5070', user: 17, password: s, bind: '10.0.0.2:5060', \
         media: {address: 10.0.0.2, port: 4000}}",
    )
    .expect("valid");
    assert_eq!(config.user, "17");
    assert_eq!(config.register, Register::Codecs);
    assert_eq!(config.answer, Answer::After(Duration::ZERO));
    assert_eq!(config.media.codecs, [Law::Mu, Law::A].map(Encoding::G711));
    assert_eq!((config.media.ptime, config.expires), (20, 600));
    assert_eq!(config.play, Play::Silence);
}

#[test]
fn sip_and_h248_go_by_connections() {
    let with = |more: &str| {
        parse(&format!(
            "{{server: '10.0.0.1:5070', user: a, bind: '10.0.0.2:2944', \
             media: {{address: 10.0.0.2, port: 4000}}, {more}}}"
        ))
    };
    let trust = "/etc/site.pem".into();
    for (more, transport) in [
        ("", Transport::Udp),
        ("transport: tcp", Transport::Tcp),
        (
            "transport: tls, trust: /etc/site.pem",
            Transport::Tls { trust },
        ),
    ] {
        for protocol in ["password: s, ", "protocol: h248, "] {
            let config = with(&format!("{protocol}{more}"));
            assert_eq!(config.expect("valid").transport, transport);
        }
    }
    for (more, fault) in [
        ("password: s, transport: tls", "trust: missing"),
        ("password: s, trust: /x", "trust: unknown key"),
        (
            "protocol: mgcp, endpoint: aaln/1@a, transport: tcp",
            "transport: MGCP goes by udp only",
        ),
    ] {
        let faults = with(more).expect_err(more);
        assert!(
            faults.len() == 1 && faults[0].starts_with(fault),
            "{faults:?}"
        );
    }
}

#[test]
fn gateways_have_no_password_but_a_name() {
    let rest = "{server: '10.0.0.1:5070', user: a, bind: '10.0.0.2:2944', \
                media: {address: 10.0.0.2, port: 4000}, ";
    for (more, speaks) in [
        (
            "protocol: h248}",
            Speaks::H248 {
                mid: Mid::Ip {
                    address: [10, 0, 0, 2].into(),
                    port: Some(2944),
                },
                termination: "tel/1".into(),
                binary: false,
            },
        ),
        (
            "protocol: h248, mid: <tc17>, termination: line/4, encoding: binary}",
            Speaks::H248 {
                mid: Mid::Domain {
                    name: "tc17".into(),
                    port: None,
                },
                termination: "line/4".into(),
                binary: true,
            },
        ),
        (
            "protocol: mgcp, endpoint: aaln/1@tc17}",
            Speaks::Mgcp {
                endpoint: "aaln/1@tc17".into(),
            },
        ),
    ] {
        let config = parse(&format!("{rest}{more}")).expect("valid");
        assert_eq!(config.speaks, speaks);
    }
    for (more, fault) in [
        ("protocol: mgcp}", "endpoint: missing"),
        (
            "protocol: h323, password: s}",
            "protocol: h323 is none of sip, h248, mgcp",
        ),
        ("protocol: h248, password: s}", "password: unknown key"),
        (
            "protocol: h248, encoding: xer}",
            "encoding: xer is none of text, binary",
        ),
        (
            "protocol: h248, reinvite: {after_ms: 5, port: 5000}}",
            "reinvite: a gateway cannot",
        ),
    ] {
        let faults = parse(&format!("{rest}{more}")).expect_err("invalid");
        assert!(faults.iter().any(|f| f.starts_with(fault)), "{faults:?}");
    }
}

#[test]
fn the_annotated_example_is_valid() {
    parse(include_str!("../../../config/thin-client.yaml")).expect("valid");
}

#[test]
fn all_faults_are_listed_at_once() {
    let faults = parse(
        "{server: here, password: [x], media: {address: 0.0.0.0, port: 4001, codecs: [G728], \
         ptime: 15, colour: red}, answer: {refuse: 200}, play: loud, bind: '1.2.3.4:5060', \
         registr: none}",
    )
    .expect_err("invalid");
    let keys: Vec<&str> = faults
        .iter()
        .map(|fault| fault.split(": ").next().unwrap_or_default())
        .collect();
    assert_eq!(
        keys,
        [
            "server",
            "user",
            "password",
            "media.address",
            "media.port",
            "media.ptime",
            "media.codecs",
            "media.colour",
            "answer.refuse",
            "play",
            "registr"
        ],
        "{faults:#?}"
    );
}

#[test]
fn sip_and_media_do_not_share_a_port() {
    let faults = parse(
        "{server: '10.0.0.1:5070', user: a, password: s, bind: '10.0.0.2:4001', \
         media: {address: 10.0.0.2, port: 4000}}",
    )
    .expect_err("invalid");
    assert!(faults[0].starts_with("bind: "), "{faults:?}");
}
