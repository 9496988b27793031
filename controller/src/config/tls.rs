//! `signalling.tls` and `registration.tls`: what it takes to look into encrypted
//! signalling, and to have thin clients come by it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::fault::Faults;
use super::fields::{Fields, List};
use super::read::At;
use crate::door::tls::{Identity, RegistrarTlsConfig, TlsConfig, VmTrust, files};

/// Its keys.
pub(super) const KEYS: [&str; 10] = [
    "ports",
    "certificate",
    "key",
    "certificates",
    "trust",
    "client_certificate",
    "client_key",
    "vm_trust",
    "ask_vms",
    "ask_gateways",
];

/// Keys of the registrar's section.
pub(super) const REGISTRATION_KEYS: [&str; 4] = ["certificate", "key", "certificates", "ask"];

/// Of `vm_trust`: no file, but the tap vouches.
const BY_TAP: &str = "tap";

/// Reads the section. `None`: it has no certificates, or is faulty, and reported.
/// `folder`: where relative paths start from; then its ports, of SIP itself and in WebSockets.
pub(super) fn read(
    tls: &Fields<'_>,
    folder: &Path,
    (own, websocket): (&[At<u16>], &[At<u16>]),
    faults: &mut Faults,
) -> Option<TlsConfig> {
    let mut given = KEYS.iter().filter(|key| **key != "ports");
    if given.all(|key| tls.get(key).is_none()) {
        return None;
    }
    let has = |key: &str| tls.get(key).is_some();
    let shown = shown(tls, folder, faults);
    let trust = file(
        tls,
        "trust",
        "the file of the authorities that vouch for gateways",
        folder,
        faults,
    )
    .and_then(|at| sound(at, files::roots, faults));
    let client = (has("client_certificate") || has("client_key")).then(|| {
        let hints = [
            "the file of the chain of client_key",
            "the file of client_certificate's private key",
        ];
        let keys = ["client_certificate", "client_key"];
        identity(tls, keys, hints, folder, faults)
    });
    let vm_trust = has("vm_trust").then(|| vm_trust(tls, folder, faults));
    let mut ask = |key: &str| {
        has(key).then(|| {
            let at = file(tls, key, "", folder, faults)?;
            sound(at, files::roots, faults)
        })
    };
    let (ask_vms, ask_gateways) = (ask("ask_vms"), ask("ask_gateways"));
    if ask_gateways.is_some() && vm_trust.is_none() {
        let what = "is of no use without vm_trust: TLS opened toward VMs is not read";
        faults.error(
            tls.line_of("ask_gateways"),
            &tls.path_of("ask_gateways"),
            what,
        );
    }
    Some(TlsConfig {
        ports: own.iter().chain(websocket).map(|at| at.value).collect(),
        shown: shown?,
        trust: trust?,
        client: whole(client)?,
        vm_trust: whole(vm_trust)?,
        ask_vms: whole(ask_vms)?,
        ask_gateways: whole(ask_gateways)?,
    })
}

/// Reads the registrar's section. `None`: it is not there, or faulty, and reported.
pub(super) fn read_registration(
    tls: &Fields<'_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<RegistrarTlsConfig> {
    if REGISTRATION_KEYS.iter().all(|key| tls.get(key).is_none()) {
        return None;
    }
    let shown = shown(tls, folder, faults);
    let ask = tls.get("ask").map(|_| {
        let at = file(tls, "ask", "", folder, faults)?;
        sound(at, files::roots, faults)
    });
    Some(RegistrarTlsConfig {
        shown: shown?,
        ask: whole(ask)?,
    })
}

/// Everything that is shown to who connects: the first may stand by itself, or all of
/// them in the list.
fn shown(tls: &Fields<'_>, folder: &Path, faults: &mut Faults) -> Option<Vec<Identity>> {
    let has = |key: &str| tls.get(key).is_some();
    let single = has("certificate") || has("key") || !has("certificates");
    let first = single.then(|| {
        let hints = [
            "the file of the chain that who connects is shown",
            "the file of its private key",
        ];
        identity(tls, ["certificate", "key"], hints, folder, faults)
    });
    let further = further(tls, folder, faults);
    let first = match first {
        Some(first) => vec![first?],
        None => Vec::new(),
    };
    Some(first.into_iter().chain(further?).collect())
}

/// What need not be there, but is sound where it is.
fn whole<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(faulty_or_not) => faulty_or_not.map(Some),
    }
}

/// The list of further certificates.
fn further(tls: &Fields<'_>, folder: &Path, faults: &mut Faults) -> Option<Vec<Identity>> {
    let items = match tls.list("certificates", faults) {
        List::Absent => return Some(Vec::new()),
        List::Faulty => return None,
        List::Items(items) => items,
    };
    if items.is_empty() {
        let (line, field) = (tls.line_of("certificates"), tls.path_of("certificates"));
        faults.error(line, &field, "is empty; give certificate and key of each");
        return None;
    }
    let hints = [
        "the file of a chain that who connects is shown",
        "the file of its private key",
    ];
    let mut all = Vec::new();
    for item in items {
        let fields = item.mapping(&["certificate", "key"], faults);
        all.push(identity(
            &fields,
            ["certificate", "key"],
            hints,
            folder,
            faults,
        ));
    }
    all.into_iter().collect()
}

fn vm_trust(tls: &Fields<'_>, folder: &Path, faults: &mut Faults) -> Option<VmTrust> {
    if tls.text("vm_trust", "", faults)?.value == BY_TAP {
        return Some(VmTrust::Tap);
    }
    let at = file(tls, "vm_trust", "", folder, faults)?;
    sound(at, files::roots, faults).map(VmTrust::Authorities)
}

/// A chain and its key, each sound, and of each other.
fn identity(
    fields: &Fields<'_>,
    [certificate, key]: [&str; 2],
    [of_certificate, of_key]: [&str; 2],
    folder: &Path,
    faults: &mut Faults,
) -> Option<Identity> {
    let chain = file(fields, certificate, of_certificate, folder, faults)
        .and_then(|at| sound(at, files::certificates, faults));
    let key = file(fields, key, of_key, folder, faults);
    let place = key.clone();
    let key = key.and_then(|at| sound(at, files::key, faults));
    let both = Identity {
        certificate: chain?,
        key: key?,
    };
    let fits = |_: &Path| files::identity(&both);
    sound(place?, fits, faults)?;
    Some(both)
}

/// Where a key says that a file is.
fn file(
    fields: &Fields<'_>,
    key: &str,
    hint: &str,
    folder: &Path,
    faults: &mut Faults,
) -> Option<At<PathBuf>> {
    let at = fields.text(key, hint, faults)?;
    Some(At {
        value: folder.join(&at.value),
        line: at.line,
        field: at.field,
    })
}

/// A file that can be read for what it is; else that is reported.
fn sound<T>(
    at: At<PathBuf>,
    read: impl FnOnce(&Path) -> Result<T>,
    faults: &mut Faults,
) -> Option<PathBuf> {
    match read(&at.value) {
        Ok(_) => Some(at.value),
        Err(error) => {
            faults.error(at.line, &at.field, format!("{error:#}"));
            None
        }
    }
}
