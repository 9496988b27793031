//! `thin_clients`: who may take over which VM's media, and how each shows who
//! it is.

use std::path::Path;

use sidestep_core::registrar::Access;
use sidestep_core::sip::digest::Algorithm;

use super::fault::Faults;
use super::fields::Fields;
use super::read::{At, DraftThinClient};

/// Every key of an entry, with the protocols that have it.
const KEYS: [(&str, &[&str]); 10] = [
    ("user", &["sip", "h248", "mgcp"]),
    ("vm", &["sip", "h248", "mgcp"]),
    ("protocol", &["sip", "h248", "mgcp"]),
    ("password", &["sip"]),
    ("password_file", &["sip"]),
    ("digest", &["sip"]),
    ("mid", &["h248"]),
    ("termination", &["h248"]),
    ("endpoint", &["mgcp"]),
    ("from", &["h248", "mgcp"]),
];

/// Reads the list. `folder`: where a relative `password_file` starts from.
pub(super) fn read(root: &Fields<'_>, folder: &Path, faults: &mut Faults) -> Vec<DraftThinClient> {
    let known = KEYS.map(|(key, _)| key);
    let mut clients = Vec::new();
    for item in root.list("thin_clients", faults).items() {
        let client = item.mapping(&known, faults);
        let user = client.text("user", "name the user it registers as", faults);
        let vm = client.text("vm", "name the VM whose media it takes over", faults);
        let protocol = client
            .text_or("protocol", "sip", faults)
            .and_then(|at| protocol(at, faults));
        for (key, owners) in KEYS {
            if let (Some(protocol), Some(_)) = (protocol, client.get(key))
                && !owners.contains(&protocol)
            {
                let what = format!(
                    "is no key of protocol {protocol}, but of {}",
                    owners.join(" and ")
                );
                faults.error(client.line_of(key), &client.path_of(key), what);
            }
        }
        let mut name = None;
        let access = protocol.and_then(|protocol| match protocol {
            "h248" => h248(&client, &mut name, faults),
            "mgcp" => mgcp(&client, &mut name, faults),
            _ => sip(&client, folder, faults),
        });
        clients.push(DraftThinClient {
            user,
            vm,
            access,
            name,
        });
    }
    clients
}

fn protocol(at: At<String>, faults: &mut Faults) -> Option<&'static str> {
    let known = ["sip", "h248", "mgcp"];
    let found = known.into_iter().find(|known| *known == at.value);
    if found.is_none() {
        let what = format!("{:?} is no protocol; write sip, h248 or mgcp", at.value);
        faults.error(at.line, &at.field, what);
    }
    found
}

fn sip(client: &Fields<'_>, folder: &Path, faults: &mut Faults) -> Option<Access> {
    let digest = client.text_or("digest", "any", faults);
    let digest = digest.and_then(|at| digest_choice(&at, faults));
    Some(Access::Sip {
        password: super::secret::password(client, folder, faults)?,
        digest,
    })
}

/// `any`, or the one algorithm of a softphone that stumbles over the other.
fn digest_choice(at: &At<String>, faults: &mut Faults) -> Option<Algorithm> {
    match at.value.as_str() {
        "any" => None,
        "sha-256" => Some(Algorithm::Sha256),
        "md5" => Some(Algorithm::Md5),
        other => {
            let what = format!("{other:?} is no digest choice; write any, sha-256 or md5");
            faults.error(at.line, &at.field, what);
            None
        }
    }
}

fn h248(client: &Fields<'_>, name: &mut Option<At<String>>, faults: &mut Faults) -> Option<Access> {
    let hint = "give its message identifier, as \"[10.71.2.21]:2944\" or \"<tc17>\"";
    let mid = client.text("mid", hint, faults);
    let termination = client
        .get("termination")
        .and_then(|item| item.text(faults))
        .map(|at| at.value);
    let from = from(client, faults);
    *name = mid.as_ref().map(small);
    Some(Access::H248 {
        mid: mid?.value,
        termination,
        from: from?,
    })
}

fn mgcp(client: &Fields<'_>, name: &mut Option<At<String>>, faults: &mut Faults) -> Option<Access> {
    let hint = "give its endpoint, as aaln/1@tc17";
    let endpoint = client.text("endpoint", hint, faults).filter(|at| {
        let parts = at.value.split_once('@');
        let named = parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !local.contains(['*', '$'])
        });
        if !named {
            let what = format!("{:?} names no endpoint; write it as aaln/1@tc17", at.value);
            faults.error(at.line, &at.field, what);
        }
        named
    });
    let from = from(client, faults);
    *name = endpoint.as_ref().map(small);
    Some(Access::Mgcp {
        endpoint: endpoint?.value,
        from: from?,
    })
}

/// Where it may register from: all that keeps others out, so it must be given.
fn from(client: &Fields<'_>, faults: &mut Faults) -> Option<sidestep_core::engine::Network> {
    let hint = "give the address or network it registers from, as 10.71.2.21: this protocol \
                has no password";
    client.text("from", hint, faults)?;
    client.network("from", faults)
}

fn small(at: &At<String>) -> At<String> {
    At {
        value: at.value.to_lowercase(),
        ..at.clone()
    }
}
