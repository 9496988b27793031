//! The configuration file: what it means, what is only warned of.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sidestep::config::{Config, ConfigErrors, Dscp, load, parse};
use sidestep_abi::door::PortClass;
use sidestep_core::engine::{CodecPolicy, Network, PathChoice, TimeoutAction};
use sidestep_core::registrar::Access;

/// A configuration that is sound; tests add to it or change a line.
const SOUND: &str = "\
uplinks: [eth0]
vms:
  - {name: desk-17, tap: tap17, address: 10.71.1.11}
thin_clients:
  - {user: tc17, password: secret, vm: desk-17}
";

fn read(text: &str) -> Result<Config, ConfigErrors> {
    parse(Path::new("x.yaml"), text.as_bytes())
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a test's folder");
    folder
}

fn sip(password: &str) -> Access {
    Access::Sip {
        password: password.into(),
        digest: None,
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/sidestep.yaml")
}

#[test]
fn only_vms_must_be_given() {
    let config = read("vms: [{name: a, tap: tapa, address: 10.0.0.1}]").expect("sound");
    assert_eq!(config.signalling.sip, [5060]);
    assert_eq!(config.signalling.h248, [2944, 2945]);
    assert_eq!(config.signalling.mgcp, [2427, 2727]);
    assert_eq!(config.signalling.registrar, 5070);
    assert_eq!(config.registration.realm, "sidestep");
    assert_eq!(config.registration.expires.default, 600);
    assert_eq!(config.media.discard.to_string(), "192.0.2.1");
    assert_eq!(config.media.anchor_ports, 40000..=40999);
    assert_eq!(config.media.tc_answer_timeout, Duration::from_secs(4));
    assert_eq!(config.media.keep_alive, Duration::from_secs(5));
    assert_eq!(config.media.watch.verify, Duration::from_secs(10));
    assert_eq!(config.media.watch.timeout, Duration::from_secs(60));
    assert_eq!(config.media.watch.action, TimeoutAction::Report);
    assert_eq!(config.media.dscp, Dscp::Keep);
    assert!(config.calls.emergency.contains(&"112".to_owned()));
    assert_eq!(config.calls.codecs, CodecPolicy::default());
    assert_eq!(config.calls.max_per_vm, 1000);
    assert_eq!(config.calls.max_per_thin_client, 1000);
    assert_eq!(config.daemon.max_flows, 131_072);
    assert_eq!(
        config.daemon.socket,
        Path::new("/run/sidestep/sidestep.sock")
    );
    let warned: Vec<&str> = config.warnings.iter().map(|w| w.field.as_str()).collect();
    assert_eq!(warned, ["uplinks", "vms[0]"]);
}

/// Which calls are left alone, and which codecs the others use.
#[test]
fn calls_and_their_codecs() {
    let text = format!(
        "{SOUND}calls: {{emergency: [112, \"000\"], codecs: {{prefer: [opus, L16/16000], \
         forbid: [G729]}}, max_per_vm: 50, max_per_thin_client: 2}}\n"
    );
    let core = read(&text).expect("sound").engine([0; 32], 1);
    assert_eq!(core.calls.emergency, ["112", "000"]);
    assert_eq!(core.calls.codecs.prefer, ["opus", "L16/16000"]);
    assert_eq!(core.calls.codecs.forbid, ["G729"]);
    assert_eq!(core.calls.max_per_vm, 50);
    assert_eq!(core.calls.max_per_thin_client, 2);
    let none = format!("{SOUND}calls: {{emergency: []}}\n");
    assert_eq!(read(&none).expect("sound").calls.emergency, [""; 0]);
}

/// An empty list leaves a protocol alone, and no port of it is taken.
#[test]
fn protocols_by_ports() {
    let text = format!(
        "{SOUND}signalling: {{sip: [5060, 5062], h248: [], mgcp: [2427], \
         websocket: {{ports: [8080], tls_ports: [8443]}}}}\n"
    );
    let config = read(&text).expect("sound");
    assert_eq!(
        config.signalling.port_classes(),
        [
            (5060, PortClass::Gateway),
            (5062, PortClass::Gateway),
            (8080, PortClass::Gateway),
            (2427, PortClass::GatewayDatagrams),
            (5061, PortClass::Encrypted),
            (8443, PortClass::Encrypted),
            (5070, PortClass::Registrar),
        ]
    );
    let limits = config.signalling.connections;
    assert_eq!((limits.all, limits.per_vm), (4096, 256));
    let limits = config.signalling.messages;
    assert_eq!((limits.message, limits.headers), (65_536, 256));
    let core = config.engine([0; 32], 1);
    assert_eq!(core.sip_ports, [5060, 5062]);
    assert_eq!(core.h248_ports, [0; 0]);
    assert_eq!(core.mgcp_ports, [2427]);
}

#[test]
fn the_example_is_sound_and_its_comments_are_the_defaults() {
    let text = fs::read_to_string(example()).expect("the example");
    let short = read(&text).expect("the example is sound");
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_yaml(rest) => rest,
            _ => line,
        })
        .collect();
    let full = read(&uncommented.join("\n")).expect("the example with its comments");
    assert_eq!(full.daemon, short.daemon);
    assert_eq!(full.signalling, short.signalling);
    assert_eq!(
        format!("{:?}", full.registration),
        format!("{:?}", short.registration)
    );
    assert_eq!(full.media.discard, short.media.discard);
    assert_eq!(full.media.anchor_ports, short.media.anchor_ports);
    assert_eq!(full.media.tc_answer_timeout, short.media.tc_answer_timeout);
    assert_eq!(full.media.keep_alive, short.media.keep_alive);
    assert_eq!(full.media.watch, short.media.watch);
    assert_eq!(short.media.paths.len(), 0);
    assert_eq!(full.media.paths.len(), 2);
}

/// `  key: …` or `  - …`, and no sentence.
fn is_yaml(text: &str) -> bool {
    let text = text.trim_start();
    let key = text.split(':').next().unwrap_or_default();
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    text.starts_with("- {") || (text.contains(':') && !key.is_empty() && key.chars().all(word))
}

#[test]
fn what_the_core_gets() {
    let text = format!(
        "{SOUND}media:\n  paths:\n    - {{thin_clients: 10.2.0.0/16, gateways: 192.168.7.7, path: steered}}\n    - {{path: vm}}\n"
    );
    let engine = read(&text).expect("sound").engine([7; 32], 42);
    assert_eq!(engine.vms[0].name, "desk-17");
    assert_eq!(engine.thin_clients[0].access, sip("secret"));
    assert_eq!(engine.thin_clients[0].vm, 0);
    assert_eq!((engine.first_call, engine.seed), (42, [7; 32]));
    let rule = &engine.paths[0];
    assert_eq!(rule.path, PathChoice::Steered);
    let networks = [rule.thin_clients, rule.gateways].map(|network| {
        let network = network.expect("given");
        (network.address.to_string(), network.prefix)
    });
    assert_eq!(
        networks,
        [("10.2.0.0".to_owned(), 16), ("192.168.7.7".to_owned(), 32)]
    );
    assert!(engine.paths[1].thin_clients.is_none());
}

/// H.248 and MGCP have no secret: a name, and where it may come from.
#[test]
fn thin_clients_of_every_protocol() {
    let text = format!(
        "{SOUND}  - {{user: tc18, protocol: h248, mid: '[10.71.2.22]:2944', from: 10.71.2.22, vm: desk-17}}\n\
         \x20 - {{user: tc19, protocol: h248, mid: <tc19>, termination: tel/1, from: 10.71.2.0/24, vm: desk-17}}\n\
         \x20 - {{user: tc20, protocol: mgcp, endpoint: aaln/1@tc20, from: 10.71.2.0/24, vm: desk-17}}\n"
    );
    let network = |address: &str, prefix| Network {
        address: address.parse().expect("an address"),
        prefix,
    };
    let access: Vec<Access> = read(&text)
        .expect("sound")
        .engine([0; 32], 1)
        .thin_clients
        .into_iter()
        .map(|client| client.access)
        .collect();
    assert_eq!(
        access,
        [
            sip("secret"),
            Access::H248 {
                mid: "[10.71.2.22]:2944".into(),
                termination: None,
                from: network("10.71.2.22", 32),
            },
            Access::H248 {
                mid: "<tc19>".into(),
                termination: Some("tel/1".into()),
                from: network("10.71.2.0", 24),
            },
            Access::Mgcp {
                endpoint: "aaln/1@tc20".into(),
                from: network("10.71.2.0", 24),
            },
        ]
    );
}

#[test]
fn a_password_is_text_and_not_shown() {
    let config = read(&SOUND.replace("secret", "0123")).expect("sound");
    assert_eq!(config.thin_clients[0].access, sip("0123"));
    assert!(!format!("{config:?}").contains("0123"), "{config:?}");
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let text = format!(
        "{}media:\n  discard: 10.9.9.9\n  paths:\n    - {{path: direct}}\n    - {{gateways: 10.0.0.0/8, path: vm}}\n",
        SOUND.replace("[eth0]", "[]")
    );
    let config = read(&text).expect("warnings only");
    let warned: Vec<(usize, &str)> = config
        .warnings
        .iter()
        .map(|w| (w.line, w.field.as_str()))
        .collect();
    assert_eq!(
        warned,
        [(1, "uplinks"), (7, "media.discard"), (10, "media.paths[1]")]
    );
}

#[test]
fn a_password_file_is_found_beside_the_configuration() {
    let folder = folder("password-file");
    let secret = folder.join("tc17.secret");
    fs::write(&secret, "from a file\nsecond line\n").expect("written");
    let file = folder.join("sidestep.yaml");
    fs::write(
        &file,
        SOUND.replace("password: secret", "password_file: tc17.secret"),
    )
    .expect("written");

    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("mode");
    let config = load(&file).expect("sound");
    assert_eq!(config.thin_clients[0].access, sip("from a file"));
    assert_eq!(config.warnings, []);

    fs::set_permissions(&secret, Permissions::from_mode(0o644)).expect("mode");
    let config = load(&file).expect("sound");
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].what.contains("chmod 600"),
        "{:?}",
        config.warnings
    );

    fs::write(&secret, "\n").expect("written");
    let errors = load(&file).expect_err("no password");
    assert!(
        errors.to_string().contains("no password in its first line"),
        "{errors}"
    );
}

#[test]
fn passwords_that_everyone_can_read_are_warned_of() {
    let file = folder("inline-password").join("sidestep.yaml");
    fs::write(&file, SOUND).expect("written");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("mode");
    assert_eq!(load(&file).expect("sound").warnings.len(), 1);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("mode");
    assert_eq!(load(&file).expect("sound").warnings, []);
}
