//! `signalling.tls`: what it takes to look into encrypted signalling.

use std::path::Path;

use super::fault::Faults;
use super::fields::Fields;
use super::read::At;
use crate::door::{Tls, TlsConfig};

/// Its keys.
pub(super) const KEYS: [&str; 6] = [
    "ports",
    "certificate",
    "key",
    "trust",
    "client_certificate",
    "client_key",
];

/// Reads the section. `None`: it has no certificates, or is faulty, and reported.
/// `folder`: where relative paths start from; then its ports, of SIP itself and in WebSockets.
pub(super) fn read(
    tls: &Fields<'_>,
    folder: &Path,
    (own, websocket): (&[At<u16>], &[At<u16>]),
    faults: &mut Faults,
) -> Option<TlsConfig> {
    let mut files = KEYS.iter().filter(|key| **key != "ports");
    if files.all(|key| tls.get(key).is_none()) {
        return None;
    }
    let mut file = |key: &str, hint: &str| {
        let at = tls.text(key, hint, faults)?;
        Some(folder.join(at.value))
    };
    let certificate = file("certificate", "the file of the chain that VMs are shown");
    let key = file("key", "the file of its private key");
    let trust = file(
        "trust",
        "the file of the authorities that vouch for gateways",
    );
    let client = match (tls.get("client_certificate"), tls.get("client_key")) {
        (None, None) => Some(None),
        _ => {
            let certificate = file("client_certificate", "the file of the chain of client_key");
            let key = file("client_key", "the file of client_certificate's private key");
            certificate.zip(key).map(Some)
        }
    };
    let config = TlsConfig {
        ports: own.iter().chain(websocket).map(|at| at.value).collect(),
        certificate: certificate?,
        key: key?,
        trust: trust?,
        client: client?,
    };
    if let Err(error) = Tls::load(&config) {
        faults.error(tls.line(), tls.path(), format!("{error:#}"));
        return None;
    }
    Some(config)
}
