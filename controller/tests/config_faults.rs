//! Everything that can be wrong with a configuration file: each fault with its
//! line, its field and what to do, all of them at once.

use std::path::Path;

use sidestep::config::{Config, ConfigErrors, load, parse};

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
            "signalling: {mgcp: [2427, 2944]}",
            "x.yaml:6: signalling.mgcp[1]: 2944 is a port used twice",
            "signalling.h248",
        ),
        (
            "signalling: {h248: [x]}",
            "x.yaml:6: signalling.h248[0]: \"x\" is not a UDP port",
            "1 to",
        ),
        (
            "signalling: {registrar: 2727}",
            "x.yaml:6: signalling.registrar: 2727 is also signalling.mgcp",
            "5070",
        ),
        (
            "media: {anchor_ports: 2700-2799}",
            "x.yaml:6: media.anchor_ports: 2700-2799 contains 2727",
            "signalling.mgcp",
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
            "calls: {emergency: [police]}",
            "x.yaml:6: calls.emergency[0]: \"police\" is not a number",
            "as it is dialled",
        ),
        (
            "calls: {codecs: {forbid: [\"G 729\"]}}",
            "x.yaml:6: calls.codecs.forbid[0]: \"G 729\" is no codec",
            "as in SDP",
        ),
        (
            "media: {timeout_action: shout}",
            "x.yaml:6: media.timeout_action: \"shout\" is no action",
            "report or end",
        ),
        (
            "media: {dscp: 64}",
            "x.yaml:6: media.dscp: \"64\" is no DSCP",
            "0 to 63",
        ),
        (
            "media: {dscp: ef}",
            "x.yaml:6: media.dscp: \"ef\" is no DSCP",
            "keep",
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
            "10.71.1.11, address6: fe80::1",
            "x.yaml:3: vms[0].address6: fe80::1 is not reached from elsewhere",
        ),
        (
            "10.71.1.11",
            "10.71.1.11, address6: 10.71.1.12",
            "x.yaml:3: vms[0].address6: \"10.71.1.12\" is not an IPv6 address; write it as 2001:db8::1",
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
        (
            "password: secret",
            "password: secret, protocol: h323",
            "x.yaml:5: thin_clients[0].protocol: \"h323\" is no protocol; write sip, h248 or mgcp",
        ),
        (
            "password: secret",
            "password: secret, from: 10.0.0.1",
            "x.yaml:5: thin_clients[0].from: is no key of protocol sip, but of h248 and mgcp",
        ),
        (
            "password: secret",
            "protocol: mgcp, endpoint: aaln/1@tc17",
            "x.yaml:5: thin_clients[0].from: missing; give the address or network it registers from",
        ),
        (
            "password: secret",
            "protocol: h248, mid: <tc17>, password: secret, from: 10.0.0.1",
            "x.yaml:5: thin_clients[0].password: is no key of protocol h248, but of sip",
        ),
        (
            "password: secret",
            "protocol: h248, from: 10.0.0.1",
            "x.yaml:5: thin_clients[0].mid: missing; give its message identifier",
        ),
        (
            "password: secret",
            "protocol: mgcp, from: 10.0.0.1",
            "x.yaml:5: thin_clients[0].endpoint: missing; give its endpoint",
        ),
        (
            "password: secret",
            "protocol: mgcp, endpoint: '*@tc17', from: 10.0.0.1",
            "x.yaml:5: thin_clients[0].endpoint: \"*@tc17\" names no endpoint; write it as aaln/1@tc17",
        ),
        (
            "password: secret",
            "protocol: mgcp, endpoint: aaln/1@tc17, from: 10.0.0.1/8",
            "x.yaml:5: thin_clients[0].from: \"10.0.0.1/8\" is an address within a network",
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
