//! Certificates of a test's own.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::lab::Lab;

/// An authority, in PEM.
pub struct Authority {
    /// Its own certificate.
    pub root: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        // Apart from whom it signs for: who signs himself is nobody's (RFC 5280 §6.1).
        params.distinguished_name = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { root, issuer })
    }

    /// Signs for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone())?;
        params.distinguished_name = named(names.first().map_or("nobody", String::as_str));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Its own certificate as a file of a lab's; the path.
    pub fn write(&self, lab: &Lab, name: &str) -> Result<String> {
        file(lab, &format!("{name}.pem"), &self.root)
    }

    /// As the only one that is trusted.
    pub fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.as_bytes())?)?;
        Ok(roots)
    }
}

impl Identity {
    /// It as two files of a lab's; their paths, as keys of a configuration.
    pub fn write(&self, lab: &Lab, name: &str) -> Result<Value> {
        Ok(json!({
            "certificate": file(lab, &format!("{name}.pem"), &self.certificate)?,
            "key": file(lab, &format!("{name}.key"), &self.key)?,
        }))
    }

    /// The certificate, for rustls.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        Ok(vec![CertificateDer::from_pem_slice(
            self.certificate.as_bytes(),
        )?])
    }

    /// The key, for rustls.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>> {
        Ok(PrivateKeyDer::from_pem_slice(self.key.as_bytes())?)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn file(lab: &Lab, name: &str, text: &str) -> Result<String> {
    let path = lab.directory().join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}
