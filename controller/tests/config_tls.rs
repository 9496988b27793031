//! `signalling.tls`: what stands in its files is looked at with the rest of the
//! configuration, and every fault is told at once.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use sidestep::config::{Config, ConfigErrors, parse};
use sidestep::door::tls::VmTrust;

const SOUND: &str = "\
uplinks: [eth0]
vms:
  - {name: desk-17, tap: tap17, address: 10.71.1.11}
thin_clients:
  - {user: tc17, password: secret, vm: desk-17}
signalling:
  tls:
";

/// A directory with `a.pem` and its key `a.key`, the same of `b`, and a file that is no
/// PEM.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&place).expect("a directory");
        for name in ["a", "b"] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![format!("{name}.example.net")]);
            let certificate = params.and_then(|params| params.self_signed(&key));
            let write = |end: &str, text: String| {
                fs::write(place.join(format!("{name}.{end}")), text).expect("a file");
            };
            write("pem", certificate.expect("a certificate").pem());
            write("key", key.serialize_pem());
        }
        fs::write(place.join("text"), "no PEM at all\n").expect("a file");
        Self(place)
    }

    /// A configuration beside them, whose `signalling.tls` has these lines.
    fn read(&self, lines: &[&str]) -> Result<Config, ConfigErrors> {
        let lines = lines.iter().map(|line| format!("    {line}\n"));
        let text = SOUND.to_owned() + &lines.collect::<String>();
        parse(&self.0.join("x.yaml"), text.as_bytes())
    }

    /// Line, field and words of every fault.
    fn faults(&self, lines: &[&str]) -> Vec<(usize, String, String)> {
        let errors = self.read(lines).expect_err("faults");
        let faults = errors.faults.into_iter();
        let faults = faults.map(|fault| (fault.line, fault.field, fault.what));
        faults.collect()
    }
}

#[test]
fn every_fault_of_every_file_is_told_at_once() {
    let files = Files::new("tls-faults");
    let faults = files.faults(&[
        "certificate: nowhere.pem",
        "key: text",
        "certificates:",
        "  - {certificate: a.pem, key: b.key}",
        "  - {certificate: a.key, key: a.key}",
        "  - {certificate: a.pem}",
        "  - {certificate: a.pem, key: a.key, chain: a.pem}",
        "trust: text",
        "client_key: b.key",
        "vm_trust: elsewhere.pem",
        "ask_vms: b.key",
        "ask_gateways: [a.pem]",
    ]);
    let expected = [
        (8, "certificate", "nowhere.pem cannot be read as PEM"),
        (9, "key", "text holds no private key in PEM"),
        (11, "certificates[0].key", "b.key is not the key of"),
        (
            12,
            "certificates[1].certificate",
            "a.key holds no certificate",
        ),
        (
            13,
            "certificates[2].key",
            "missing; the file of its private key",
        ),
        (14, "certificates[3].chain", "unknown key"),
        (15, "trust", "text holds no certificate"),
        (
            8,
            "client_certificate",
            "missing; the file of the chain of client_key",
        ),
        (17, "vm_trust", "elsewhere.pem cannot be read as PEM"),
        (18, "ask_vms", "b.key holds no certificate"),
        (19, "ask_gateways", "is a list; write a single value"),
    ];
    for (line, key, words) in expected {
        let field = format!("signalling.tls.{key}");
        let found = faults.iter().any(|(at, of, what)| {
            (*at, of.as_str()) == (line, field.as_str()) && what.contains(words)
        });
        assert!(found, "{line} {field} {words}: {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn what_is_missing_and_what_is_of_no_use() {
    let files = Files::new("tls-missing");
    for (lines, line, field, words) in [
        (
            &["certificate: a.pem", "trust: b.pem"][..],
            8,
            "key",
            "missing",
        ),
        (&["trust: b.pem"], 8, "certificate", "missing"),
        (&["certificate: a.pem", "key: a.key"], 8, "trust", "missing"),
        (
            &["certificates: []", "trust: b.pem"],
            8,
            "certificates",
            "is empty",
        ),
        (
            &[
                "certificate: a.pem",
                "key: a.key",
                "trust: b.pem",
                "ask_gateways: b.pem",
            ],
            11,
            "ask_gateways",
            "of no use without vm_trust",
        ),
    ] {
        let faults = files.faults(lines);
        let field = format!("signalling.tls.{field}");
        let first = faults.iter().find(|(_, of, _)| *of == field);
        let (at, _, what) = first.unwrap_or_else(|| panic!("{lines:?}: {faults:#?}"));
        assert!(
            *at == line && what.contains(words),
            "{lines:?}: {faults:#?}"
        );
    }
}

#[test]
fn certificates_in_their_order_and_who_vouches_for_vms() {
    let files = Files::new("tls-sound");
    for (vm_trust, expected) in [
        ("tap", VmTrust::Tap),
        ("./tap", VmTrust::Authorities(files.0.join("./tap"))),
        ("b.pem", VmTrust::Authorities(files.0.join("b.pem"))),
    ] {
        fs::copy(files.0.join("b.pem"), files.0.join("tap")).expect("a file of that name");
        let vm_trust = format!("vm_trust: {vm_trust}");
        let config = files.read(&[
            "certificate: a.pem",
            "key: a.key",
            "certificates: [{certificate: b.pem, key: b.key}]",
            "trust: b.pem",
            &vm_trust,
            "ask_gateways: a.pem",
        ]);
        let tls = config.expect("sound").signalling.tls.expect("its files");
        let shown: Vec<&Path> = tls
            .shown
            .iter()
            .map(|own| own.certificate.as_path())
            .collect();
        assert_eq!(shown, [files.0.join("a.pem"), files.0.join("b.pem")]);
        assert_eq!(tls.vm_trust, Some(expected));
        assert_eq!(tls.ask_vms, None);
        assert_eq!(tls.ask_gateways, Some(files.0.join("a.pem")));
    }
}

#[test]
fn the_registrars_own_files() {
    let files = Files::new("tls-registrar");
    let read = |lines: &str| {
        let text = SOUND.replace(
            "signalling:\n  tls:\n",
            &format!("registration:\n  tls: {lines}\n"),
        );
        parse(&files.0.join("x.yaml"), text.as_bytes())
    };
    let config = read("{certificate: a.pem, key: a.key, ask: b.pem}").expect("sound");
    let tls = config.registration.tls.expect("its files");
    assert_eq!(tls.shown.len(), 1);
    assert_eq!(tls.ask, Some(files.0.join("b.pem")));
    let errors = read("{certificate: a.pem, key: b.key, ask: text}").expect_err("faults");
    let fields = errors
        .faults
        .iter()
        .map(|fault| (fault.line, fault.field.as_str()));
    let fields: Vec<_> = fields.collect();
    let expected = [(7, "registration.tls.key"), (7, "registration.tls.ask")];
    assert_eq!(fields, expected, "{errors}");
}
