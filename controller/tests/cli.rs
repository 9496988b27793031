//! The command line as people and scripts meet it: exit codes, field names,
//! tables, and what is said when there is no daemon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sidestep::admin::rows::{
    CallRow, ClientRow, CounterRow, FlowRow, LegsRow, MediaRow, UnreadRow, VmRow,
};
use sidestep_core::call::Reason;

/// Fields that scripts may count on, in the README's order.
const FLOW_FIELDS: &str = "call path leg from to packets bytes lost late reordered duplicate \
                           jitter_ms ssrc payload_type ssrc_changes payload_type_changes \
                           talk_spurts gaps longest_gap_ms remote_lost remote_loss_percent \
                           remote_jitter_ms round_trip_ms mos moves moved first_seen last_seen";
const CALL_FIELDS: &str =
    "id vm thin_client gateway protocol state path reason started media_seen tries trial";
const VM_FIELDS: &str = "name tap attached address address6 thin_clients calls unread";
const CLIENT_FIELDS: &str = "name vm protocol address media codecs expires";

fn flow(leg: &str, packets: u64) -> FlowRow {
    FlowRow {
        call: 7,
        path: "direct".into(),
        leg: leg.into(),
        kind: "direct".into(),
        rtcp: false,
        from: "10.71.3.31:30000".into(),
        to: "10.71.2.21:20000".into(),
        sent_from: None,
        sent_to: None,
        packets,
        bytes: packets * 200,
        lost: 1,
        late: 0,
        reordered: 0,
        duplicate: 0,
        jitter_ms: 0.25,
        ssrc: Some(0xdead_beef),
        payload_type: Some(8),
        ssrc_changes: 0,
        payload_type_changes: 0,
        talk_spurts: 1,
        gaps: 0,
        longest_gap_ms: 0,
        remote_lost: None,
        remote_loss_percent: None,
        remote_jitter_ms: None,
        round_trip_ms: Some(12.5),
        mos: Some(4.3),
        mos_scale: Some("narrowband".to_owned()),
        moves: 0,
        moved: None,
        first_seen: Some("2026-01-02T03:04:05Z".into()),
        last_seen: None,
        state: "live".into(),
    }
}

fn call(id: u32, path: &str, reason: Option<Reason>) -> CallRow {
    CallRow {
        id,
        vm: "desk-17".into(),
        thin_client: Some("tc17".into()),
        gateway: "10.71.3.31:5060".into(),
        protocol: "sip".into(),
        state: "up".into(),
        path: path.into(),
        reason: reason.map(|reason| reason.code().into()),
        started: "2026-01-02T03:04:05Z".into(),
        direction: "outgoing".into(),
        call_id: "a84b4c76e66710".into(),
        media_seen: Some("both-ways".into()),
        tries: vec!["G729/8000".into()],
        trial: Some("decoded".into()),
        media: LegsRow {
            vm: Some(MediaRow {
                rtp: "10.71.1.11:4000".into(),
                rtcp: "10.71.1.11:4001".into(),
                codecs: vec!["PCMU/8000".into()],
            }),
            ..LegsRow::default()
        },
    }
}

fn client() -> ClientRow {
    ClientRow {
        name: "tc17".into(),
        vm: "desk-17".into(),
        protocol: "sip".into(),
        address: "10.71.2.21:5062".into(),
        media: Some("10.71.2.21:20000".into()),
        codecs: vec!["PCMU/8000".into(), "PCMA/8000".into()],
        expires: "2126-01-02T03:04:05Z".into(),
    }
}

fn vm() -> VmRow {
    VmRow {
        name: "desk-17".into(),
        tap: "tap17".into(),
        attached: true,
        address: "10.71.1.11".into(),
        address6: None,
        thin_clients: vec!["tc17".into()],
        calls: 2,
        unread: vec![UnreadRow {
            reason: Reason::SignallingEncrypted.code().into(),
            begun: 3,
            last_seen: "2026-01-02T03:04:05Z".into(),
        }],
    }
}

/// What stands for the daemon: answers each question with `answer`'s rows.
fn daemon(name: &str, answer: impl Fn(&str) -> Value + Send + 'static) -> PathBuf {
    let socket = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut question = String::new();
            let mut reader = BufReader::new(&stream);
            if reader.read_line(&mut question).is_err() {
                continue;
            }
            let question: Value = serde_json::from_str(&question).unwrap_or_default();
            let answer = answer(question["get"].as_str().unwrap_or_default());
            let _ = (&stream).write_all(format!("{answer}\n").as_bytes());
        }
    });
    socket
}

fn rows(question: &str) -> Value {
    match question {
        "flows" => json!({"ok": [flow("gateway->tc", 1500), flow("tc->gateway", 1499)]}),
        "calls" => {
            json!({"ok": [call(7, "direct", None), call(8, "vm", Some(Reason::TcNoAnswer))]})
        }
        "clients" => json!({"ok": [client()]}),
        "vms" => {
            json!({"ok": [vm(), VmRow { name: "desk-18".into(), unread: Vec::new(), ..vm() }]})
        }
        "counters" => json!({"ok": [
            CounterRow { name: "guarded".into(), value: 12_345 },
            CounterRow { name: "not-rtp".into(), value: 0 },
        ]}),
        "status" => {
            json!({"ok": [{"version": "0.1.0", "door": {"namespace": "sidestep"}, "interfaces": [
                {"name": "tap17", "role": "tap", "vms": ["desk-17"], "ifindex": 9, "mode": "tcx", "bridged": true, "error": null},
            ]}]})
        }
        other => json!({"error": format!("no list {other:?}")}),
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestep"));
    command.args(args).stdin(Stdio::null());
    command
}

fn sidestep(args: &[&str]) -> Output {
    command(args).output().expect("sidestep runs")
}

fn ask(socket: &Path, args: &[&str]) -> String {
    let socket = socket.to_str().expect("UTF-8");
    let output = sidestep(&[args, &["--socket", socket]].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn json_lists_have_the_promised_fields() {
    let socket = daemon("fields.sock", rows);
    for (list, fields) in [
        ("flows", FLOW_FIELDS),
        ("calls", CALL_FIELDS),
        ("clients", CLIENT_FIELDS),
        ("vms", VM_FIELDS),
    ] {
        let text = ask(&socket, &[list, "--json"]);
        let array: Vec<Value> = serde_json::from_str(&text).expect("one JSON array");
        assert!(!array.is_empty(), "{list}");
        for row in array {
            for field in fields.split_whitespace() {
                assert!(row.get(field).is_some(), "{list}: {field} is not in {row}");
            }
        }
    }
}

#[test]
fn a_vm_whose_signalling_is_not_read_says_why() {
    let socket = daemon("vms.sock", rows);
    let vms = ask(&socket, &["vms"]);
    let lines: Vec<&str> = vms.lines().collect();
    assert!(lines[1].contains("signalling-encrypted"), "{vms}");
    assert!(!lines[2].contains("signalling"), "{vms}");
    let explained = format!(
        "\nsignalling-encrypted: {}\n",
        Reason::SignallingEncrypted.meaning()
    );
    assert!(vms.contains(&explained), "{vms}");
}

#[test]
fn tables_align_and_explain_reasons() {
    let socket = daemon("tables.sock", rows);
    let calls = ask(&socket, &["calls"]);
    let lines: Vec<&str> = calls.lines().collect();
    assert!(lines[0].starts_with("ID  VM"), "{calls}");
    let path = lines[0].find("PATH").expect("a column");
    assert_eq!(&lines[1][path..path + 6], "direct", "{calls}");
    assert_eq!(&lines[2][path..path + 2], "vm", "{calls}");
    assert!(calls.contains("\ntc-no-answer: The thin client did not answer in time.\n"));
    assert!(
        !calls.contains('\x1b'),
        "no colour where there is no terminal"
    );

    let flows = ask(&socket, &["flows"]);
    for text in ["gateway->tc", "1,500", "deadbeef", "10.71.3.31:30000"] {
        assert!(flows.contains(text), "{text}: {flows}");
    }
    let clients = ask(&socket, &["clients"]);
    assert!(clients.contains("PCMU/8000, PCMA/8000"), "{clients}");
    let counters = ask(&socket, &["counters"]);
    assert!(
        counters.contains("guarded  12,345\n(1 more stand at 0"),
        "{counters}"
    );
    let status = ask(&socket, &["status"]);
    assert!(status.contains("version  0.1.0"), "{status}");
    assert!(status.contains("tap17      tap   desk-17"), "{status}");
}

#[test]
fn empty_lists_say_so_and_stay_arrays() {
    let socket = daemon("empty.sock", |_| json!({"ok": []}));
    assert_eq!(ask(&socket, &["calls"]), "no calls\n");
    assert_eq!(ask(&socket, &["flows"]), "no flows\n");
    assert_eq!(ask(&socket, &["clients"]), "no thin client is registered\n");
    assert_eq!(ask(&socket, &["calls", "--json"]), "[]\n");
}

#[test]
fn without_a_daemon_it_is_said_what_to_do() {
    for list in ["calls", "clients", "status", "counters"] {
        let output = sidestep(&[list, "--socket", "/nowhere/sidestep.sock"]);
        assert_eq!(output.status.code(), Some(1), "{list}");
        let said = said(&output);
        assert!(
            said.contains("no daemon answers at /nowhere/sidestep.sock")
                && said.contains("sidestep run --config FILE"),
            "{list}: {said}"
        );
    }
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    let socket = daemon("refuses.sock", |_| json!({"error": "not now"}));
    let socket = socket.to_str().expect("UTF-8");
    let output = sidestep(&["calls", "--socket", socket]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not now"), "{}", said(&output));
    let odd = daemon("odd.sock", |_| json!([1]));
    let output = sidestep(&["calls", "--socket", odd.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_configuration_tells_where_the_daemon_is() {
    let socket = daemon("named.sock", rows);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("named.yaml");
    let text = format!(
        "daemon: {{socket: {}}}\nvms: [{{name: a, tap: t, address: 10.0.0.1}}]\n",
        socket.display()
    );
    fs::write(&file, text).expect("written");
    let output = sidestep(&["clients", "--config", file.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "", "who only asks is not warned");
}

/// `flows --watch`, ended when dropped.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watch_prints_an_array_a_line_until_interrupted() {
    let socket = daemon("watch.sock", rows);
    let socket = socket.to_str().expect("UTF-8");
    let args = [
        "flows",
        "--watch",
        "--json",
        "--interval",
        "0.1",
        "--socket",
        socket,
    ];
    let child = command(&args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut watch = Watch(child);
    let mut lines = BufReader::new(watch.0.stdout.take().expect("piped")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("UTF-8");
        let array: Vec<Value> = serde_json::from_str(&line).expect("one array");
        assert_eq!(array.len(), 2);
    }
    let pid = Pid::from_raw(watch.0.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGINT).expect("interrupted");
    assert!(watch.0.wait().expect("ends").success());
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let socket = daemon("pipe.sock", rows);
    let socket = socket.to_str().expect("UTF-8");
    let args = [
        "flows",
        "--watch",
        "--json",
        "--interval",
        "0.1",
        "--socket",
        socket,
    ];
    let mut command = command(&args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = Watch(command.spawn().expect("starts"));
    drop(watch.0.stdout.take());
    assert!(watch.0.wait().expect("ends").success());
    let mut said = String::new();
    let mut stderr = watch.0.stderr.take().expect("piped");
    stderr.read_to_string(&mut said).expect("UTF-8");
    assert_eq!(said, "");
}

#[test]
fn exit_codes_of_configuration_and_usage() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let good = folder.join("good.yaml");
    fs::write(&good, "vms: [{name: a, tap: t, address: 10.0.0.1}]\n").expect("written");
    let bad = folder.join("bad.yaml");
    fs::write(&bad, "vms: [{name: a, tap: t, address: 10.0.0}]\nx: 1\n").expect("written");
    let (good, bad) = (good.to_str().expect("UTF-8"), bad.to_str().expect("UTF-8"));
    for (args, code) in [
        (vec!["config", "check", good], 0),
        (vec!["run", "--check", "--config", good], 0),
        (vec!["config", "check", bad], 2),
        (vec!["run", "--check", "--config", bad], 2),
        (vec!["run", "--config", bad], 2),
        (vec!["doctor", "--config", bad], 2),
        (vec!["calls", "--config", bad], 2),
        (vec!["run"], 2),
        (vec!["flows", "--interval", "0"], 2),
        (vec!["calling"], 2),
        (vec!["--help"], 0),
        (vec!["flows", "--help"], 0),
    ] {
        let output = sidestep(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    }
    let output = sidestep(&["run", "--config", bad]);
    let lines: Vec<String> = said(&output).lines().map(str::to_owned).collect();
    assert!(
        lines[0].starts_with(&format!("{bad}:1: vms[0].address: ")),
        "{lines:#?}"
    );
    assert!(
        lines[1].starts_with(&format!("{bad}:2: x: unknown key")),
        "{lines:#?}"
    );
    assert_eq!(
        lines[2],
        "sidestep: 2 errors in the configuration; nothing was touched"
    );
}

#[test]
fn doctor_prints_one_array_and_fails_with_a_fail() {
    let output = sidestep(&["doctor", "--json"]);
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("one JSON array");
    let mut fails = 0;
    for finding in &findings {
        for field in ["area", "subject", "result", "found", "todo"] {
            assert!(finding.get(field).is_some(), "{field} is not in {finding}");
        }
        let result = finding["result"].as_str().expect("a word");
        assert!(["ok", "warn", "fail"].contains(&result), "{finding}");
        assert_eq!(result == "ok", finding["todo"].is_null(), "{finding}");
        fails += usize::from(result == "fail");
    }
    assert!(findings.iter().any(|f| f["area"] == "kernel"));
    assert_eq!(output.status.code(), Some(i32::from(fails > 0)));
}

/// In a network namespace of its own, so it takes root.
#[test]
fn doctor_sees_how_interfaces_and_addresses_are() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("doctor.yaml");
    let text = "\
daemon: {socket: /nowhere/doctor.sock, namespace: doctor-test}
uplinks: [switch, trunk, gone]
vms:
  - {name: bridged, tap: tap1, address: 10.9.1.11}
  - {name: on-host, tap: tap2, address: 10.9.2.1}
  - {name: stopped, tap: tap3, address: 10.9.3.11}
  - {name: nowhere, tap: tap4, address: 10.9.4.11}
media: {discard: 10.9.2.77}
";
    fs::write(&file, text).expect("written");
    let script = format!(
        "ip link add switch type bridge && ip link set switch up
         ip link add trunk type veth peer name far0 && ip link set trunk master switch up
         ip link add tap1 type veth peer name far1 && ip link set tap1 mtu 9000 master switch up
         ip link add tap2 type veth peer name far2 && ip link set tap2 up
         ip address add 10.9.2.1/24 dev tap2
         ip link add tap4 type veth peer name far4 && ip link set tap4 up
         exec {} doctor --json --config {}",
        env!("CARGO_BIN_EXE_sidestep"),
        file.display()
    );
    let output = Command::new("unshare")
        .args(["--net", "sh", "-ec", &script])
        .output()
        .expect("unshare runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("one JSON array");
    for (subject, result, found) in [
        ("switch", "warn", "is a bridge itself"),
        (
            "trunk",
            "ok",
            "port of switch, MTU 1500, veth: XDP in the driver",
        ),
        ("gone", "warn", "this uplink is not there"),
        ("tap1", "ok", "tap of bridged, port of switch, MTU 9000"),
        ("tap1", "warn", "its MTU 9000 is more than an uplink's 1500"),
        ("tap2", "ok", "tap of on-host, routed (10.9.2.1/24)"),
        ("tap3", "ok", "tap of stopped is not there yet"),
        (
            "tap4",
            "warn",
            "tap of nowhere is on no bridge, and no route leads to it",
        ),
        (
            "on-host",
            "fail",
            "10.9.2.1 is an address of this host (tap2)",
        ),
        ("discard", "warn", "10.9.2.77 is in the network of tap2"),
        ("daemon", "ok", "none answers at /nowhere/doctor.sock"),
        ("door", "ok", "not there"),
    ] {
        let there = findings.iter().any(|finding| {
            let text = |field: &str| finding[field].as_str().unwrap_or_default();
            text("subject") == subject && text("result") == result && text("found").contains(found)
        });
        assert!(there, "{subject}: {result}: {found}: {findings:#?}");
    }
}

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    fs::read_to_string(path).expect("the README")
}

#[test]
fn the_readme_lists_every_reason() {
    let readme = readme();
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.code(), reason.meaning());
        assert!(readme.contains(&row), "the README has no line {row}");
    }
}

#[test]
fn the_readme_lists_every_field() {
    let readme = readme();
    let flow = json!(flow("gateway->tc", 1));
    let call = json!(call(1, "direct", None));
    let client = json!(client());
    for row in [flow, call, client, json!(vm())] {
        for field in row.as_object().expect("a row is an object").keys() {
            let cell = format!("| `{field}` |");
            assert!(readme.contains(&cell), "the README has no line {cell}");
        }
    }
}

#[test]
fn the_readme_names_every_command_in_its_help() {
    let help = sidestep(&["--help"]);
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    for command in [
        "run", "flows", "calls", "clients", "vms", "status", "counters", "doctor", "decode",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
        assert!(
            readme().contains(&format!("sidestep {command}")),
            "{command}"
        );
    }
}
