//! The configuration file: what it means, and everything that can be wrong
//! with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sidestep::config::{Config, ConfigErrors, load, parse};
use sidestep_core::engine::PathChoice;

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

/// The lines that an operator sees.
fn faults(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a test's folder");
    folder
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/sidestep.yaml")
}

#[test]
fn only_vms_must_be_given() {
    let config = read("vms: [{name: a, tap: tapa, address: 10.0.0.1}]").expect("sound");
    assert_eq!(config.signalling.sip, [5060]);
    assert_eq!(config.signalling.registrar, 5070);
    assert_eq!(config.registration.realm, "sidestep");
    assert_eq!(config.registration.expires.default, 600);
    assert_eq!(config.media.discard.to_string(), "192.0.2.1");
    assert_eq!(config.media.anchor_ports, 40000..=40999);
    assert_eq!(config.media.tc_answer_timeout, Duration::from_secs(4));
    assert_eq!(config.media.keep_alive, Duration::from_secs(5));
    assert_eq!(config.daemon.max_flows, 131_072);
    assert_eq!(
        config.daemon.socket,
        Path::new("/run/sidestep/sidestep.sock")
    );
    let warned: Vec<&str> = config.warnings.iter().map(|w| w.field.as_str()).collect();
    assert_eq!(warned, ["uplinks", "vms[0]"]);
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
    assert_eq!(engine.thin_clients[0].password, "secret");
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

#[test]
fn a_password_is_text_and_not_shown() {
    let config = read(&SOUND.replace("secret", "0123")).expect("sound");
    assert_eq!(config.thin_clients[0].password, "0123");
    assert!(!format!("{config:?}").contains("0123"), "{config:?}");
}

/// Each kind of fault alone: its line, its field and what to do.
#[test]
fn each_fault_names_line_field_and_remedy() {
    let table: &[(&str, &str, &str)] = &[
        // (text added to a sound file or instead of a line of it, fault, what to do)
        (
            "daemon: {pinz: /x}",
            "x.yaml:6: daemon.pinz: unknown key",
            "did you mean pins?",
        ),
        (
            "colour: red",
            "x.yaml:6: colour: unknown key",
            "known here: daemon, uplinks",
        ),
        (
            "vms: []",
            "x.yaml:6: vms: given twice",
            "the first is in line 2",
        ),
        (
            "daemon: {socket: run/x}",
            "x.yaml:6: daemon.socket: \"run/x\" is not an absolute",
            "/",
        ),
        (
            "daemon: {pins: x}",
            "x.yaml:6: daemon.pins: \"x\" is not an absolute path",
            "/",
        ),
        (
            "daemon: {namespace: a/b}",
            "x.yaml:6: daemon.namespace: \"a/b\" is not a name",
            "letters",
        ),
        (
            "daemon: {log: loud=very}",
            "x.yaml:6: daemon.log: \"loud=very\" is not a log",
            "debug",
        ),
        (
            "daemon: {max_flows: many}",
            "x.yaml:6: daemon.max_flows: \"many\" is not",
            "from 64",
        ),
        (
            "daemon: []",
            "x.yaml:6: daemon: is a list",
            "a mapping with socket",
        ),
        (
            "signalling: {sip: 5060}",
            "x.yaml:6: signalling.sip: is a single value",
            "a list",
        ),
        (
            "signalling: {sip: []}",
            "x.yaml:6: signalling.sip: is empty",
            "[5060]",
        ),
        (
            "signalling: {sip: [0]}",
            "x.yaml:6: signalling.sip[0]: \"0\" is not a UDP port",
            "1 to",
        ),
        (
            "signalling: {sip: [1, 1]}",
            "x.yaml:6: signalling.sip[1]: 1 is a port used twice",
            "[0]",
        ),
        (
            "signalling: {registrar: 5060}",
            "x.yaml:6: signalling.registrar: 5060 is also signalling.sip",
            "5070",
        ),
        (
            "registration: {realm: ''}",
            "x.yaml:6: registration.realm: is empty",
            "",
        ),
        (
            "registration: {expires: {min: 3600, max: 60}}",
            "x.yaml:6: registration.expires.min: 3600 is more than max",
            "60",
        ),
        (
            "registration: {expires: {default: 30}}",
            "x.yaml:6: registration.expires.default: 30 is not within",
            "60 to 3600",
        ),
        (
            "media: {discard: nowhere}",
            "x.yaml:6: media.discard: \"nowhere\" is not an IPv4",
            "a.b.c.d",
        ),
        (
            "media: {discard: 0.0.0.0}",
            "x.yaml:6: media.discard: 0.0.0.0 is no address",
            "192.0.2.1",
        ),
        (
            "media: {discard: 10.71.1.11}",
            "x.yaml:6: media.discard: 10.71.1.11 is the address of a VM (vms[0].address)",
            "192.0.2.1",
        ),
        (
            "media: {anchor_ports: 40000}",
            "x.yaml:6: media.anchor_ports: \"40000\" is not a range",
            "40000-40999",
        ),
        (
            "media: {anchor_ports: 40001-40998}",
            "x.yaml:6: media.anchor_ports: must begin with an even",
            "40002-40999",
        ),
        (
            "media: {anchor_ports: 50000-40001}",
            "x.yaml:6: media.anchor_ports: 50000-40001 ends before",
            "",
        ),
        (
            "media: {anchor_ports: 500-999}",
            "x.yaml:6: media.anchor_ports: begins at 500",
            "1024",
        ),
        (
            "media: {anchor_ports: 5000-5069}",
            "x.yaml:6: media.anchor_ports: 5000-5069 contains 5060",
            "signalling.sip",
        ),
        (
            "media: {anchor_ports: 5070-5999}",
            "x.yaml:6: media.anchor_ports: 5070-5999 contains 5070",
            "signalling.registrar",
        ),
        (
            "media: {tc_answer_timeout_ms: 5}",
            "x.yaml:6: media.tc_answer_timeout_ms: \"5\" is not",
            "100 to",
        ),
        (
            "media: {keep_alive_s: 0.5}",
            "x.yaml:6: media.keep_alive_s: \"0.5\" is not",
            "1 to 60",
        ),
        (
            "media: {paths: [{path: straight}]}",
            "x.yaml:6: media.paths[0].path: \"straight\" is not",
            "direct, steered or vm",
        ),
        (
            "media: {paths: [{gateways: 10.0.0.0/8}]}",
            "x.yaml:6: media.paths[0].path: missing",
            "direct, steered or vm",
        ),
        (
            "media: {paths: [{gateways: 10.0.0.0/33, path: vm}]}",
            "x.yaml:6: media.paths[0].gateways: \"10.0.0.0/33\" is not",
            "10.0.0.0/8",
        ),
        (
            "media: {paths: [{gateways: 10.9.0.0/8, path: vm}]}",
            "x.yaml:6: media.paths[0].gateways: \"10.9.0.0/8\"",
            "write 10.0.0.0/8",
        ),
    ];
    for (added, fault, remedy) in table {
        let lines = faults(&format!("{SOUND}{added}\n"));
        assert_eq!(lines.len(), 1, "{added}: {lines:#?}");
        assert!(lines[0].starts_with(fault), "{added}: {}", lines[0]);
        assert!(lines[0].contains(remedy), "{added}: {}", lines[0]);
    }
}

#[test]
fn faults_of_vms_and_thin_clients() {
    let table: &[(&str, &str, &str)] = &[
        // (what of the sound file, by what, fault)
        (
            "10.71.1.11",
            "10.71.1",
            "x.yaml:3: vms[0].address: \"10.71.1\" is not an IPv4 address; write it as a.b.c.d",
        ),
        (
            "10.71.1.11",
            "'fe80::1'",
            "x.yaml:3: vms[0].address: \"fe80::1\" is IPv6",
        ),
        (
            "10.71.1.11",
            "127.0.0.1",
            "x.yaml:3: vms[0].address: 127.0.0.1 is a loopback address",
        ),
        (
            "10.71.1.11",
            "224.0.0.1",
            "x.yaml:3: vms[0].address: 224.0.0.1 is a multicast address",
        ),
        (
            "10.71.1.11}",
            "10.71.1.11, addres: x}",
            "x.yaml:3: vms[0].addres: unknown key; did you mean address?",
        ),
        (
            "name: desk-17, ",
            "",
            "x.yaml:3: vms[0].name: missing; give the VM a name",
        ),
        (
            "tap: tap17, ",
            "",
            "x.yaml:3: vms[0].tap: missing; name the VM's tap",
        ),
        (
            ", address: 10.71.1.11",
            "",
            "x.yaml:3: vms[0].address: missing; give the VM's IPv4",
        ),
        (
            "tap17",
            "a-very-long-interface",
            "x.yaml:3: vms[0].tap: \"a-very-long-interface\" is not an interface name: it has 21",
        ),
        (
            "tap17",
            "'a b'",
            "x.yaml:3: vms[0].tap: \"a b\" is not an interface name",
        ),
        (
            "tap17",
            "ssd-vm",
            "x.yaml:3: vms[0].tap: \"ssd-vm\" is the daemon's own",
        ),
        (
            "tap17",
            "eth0",
            "x.yaml:3: vms[0].tap: eth0 is an interface used twice; it is also uplinks[0] (line 1)",
        ),
        (
            "[eth0]",
            "[eth0, eth0]",
            "x.yaml:1: uplinks[1]: eth0 is an interface used twice",
        ),
        (
            "vm: desk-17",
            "vm: desk-71",
            "x.yaml:5: thin_clients[0].vm: \"desk-71\" is no VM of this file; known: desk-17",
        ),
        (
            "password: secret, ",
            "",
            "x.yaml:5: thin_clients[0].password: missing; give password, or password_file",
        ),
        (
            "password: secret",
            "password: ''",
            "x.yaml:5: thin_clients[0].password: is empty",
        ),
        (
            "password: secret",
            "password: [a]",
            "x.yaml:5: thin_clients[0].password: is a list",
        ),
        (
            "password: secret",
            "password_file: /nowhere",
            "x.yaml:5: thin_clients[0].password_file: /nowhere cannot be read: No such file",
        ),
        (
            "password: secret",
            "password: a, password_file: b",
            "x.yaml:5: thin_clients[0].password_file: given beside password",
        ),
        (
            "password: secret",
            "password: secret, digest: sha1",
            "x.yaml:5: thin_clients[0].digest: \"sha1\" is no digest choice; write any, sha-256 or md5",
        ),
        (
            "{user: tc17, ",
            "{",
            "x.yaml:5: thin_clients[0].user: missing",
        ),
    ];
    for (what, by, fault) in table {
        let lines = faults(&SOUND.replacen(what, by, 1));
        let found = lines.iter().any(|line| line.starts_with(fault));
        assert!(found, "{what} → {by}: {lines:#?}");
    }
    let twice = "vms:\n  - {name: a, tap: t1, address: 10.0.0.1}\n  - {name: a, tap: t1, address: 10.0.0.1}\n\
                 thin_clients:\n  - {user: u, password: p, vm: a}\n  - {user: u, password: p, vm: a}\n";
    let lines = faults(twice);
    for fault in [
        "x.yaml:3: vms[1].name: a is a name used twice; it is also vms[0].name (line 2)",
        "x.yaml:3: vms[1].tap: t1 is an interface used twice; it is also vms[0].tap (line 2)",
        "x.yaml:3: vms[1].address: 10.0.0.1 is an address used twice",
        "x.yaml:6: thin_clients[1].user: u is a user used twice",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(fault)),
            "{lines:#?}"
        );
    }
}

#[test]
fn a_file_that_is_no_configuration() {
    for (text, fault) in [
        ("", "x.yaml:1: vms: no VM given"),
        (
            "- a\n- b\n",
            "x.yaml:1: is a list; write a mapping with daemon",
        ),
        ("vms: [", "x.yaml:2:1: this is not YAML: "),
        ("vms: []\n---\nvms: []\n", "x.yaml:2: a second document"),
        (
            "vms: &v []\nuplinks: *v\n",
            "x.yaml:1:6: anchors, aliases and tags are not used",
        ),
        ("vms: !x []\n", "x.yaml:1:"),
        ("? [a]\n: b\n", "x.yaml:1: a key is a word, not a list"),
    ] {
        let lines = faults(text);
        assert!(lines[0].starts_with(fault), "{text:?}: {lines:#?}");
    }
    let errors = parse(Path::new("x.yaml"), b"vms: []\n# \xff\n").expect_err("not UTF-8");
    assert_eq!(errors.faults[0].line, 2);
    let errors = load(Path::new("/nowhere/x.yaml")).expect_err("not there");
    assert!(
        errors
            .to_string()
            .starts_with("/nowhere/x.yaml: cannot be read: ")
    );
    let deep = "[".repeat(10_000);
    assert!(!faults(&deep).is_empty());
}

#[test]
fn all_faults_come_at_once_in_the_order_of_their_lines() {
    let lines = faults(
        "daemon: {max_flows: x}\nuplinks: nothing\nvms:\n  - {name: a, tap: t, address: 1}\n\
         thin_clients:\n  - {user: u, vm: b}\nmedia: {keep_alive_s: 99, keepalive: 1}\n",
    );
    let places: Vec<&str> = lines
        .iter()
        .map(|line| line.split(':').nth(2).unwrap_or_default().trim())
        .collect();
    assert_eq!(
        places,
        [
            "daemon.max_flows",
            "uplinks",
            "vms[0].address",
            "thin_clients[0].password",
            "thin_clients[0].vm",
            "media.keepalive",
            "media.keep_alive_s",
        ],
        "{lines:#?}"
    );
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
    assert_eq!(config.thin_clients[0].password, "from a file");
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
