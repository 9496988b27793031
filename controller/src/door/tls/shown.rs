//! The certificates that are shown to who connects, and which of them he sees.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use rustls::SignatureScheme;
use rustls::client::{ResolvesClientCert, verify_server_name};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Identity, files};

/// All of them, in the operator's order; at least one.
#[derive(Debug)]
pub(super) struct Shown {
    first: Arc<First>,
    further: Vec<Arc<CertifiedKey>>,
}

/// The first of them.
#[derive(Debug)]
pub(super) struct First(Arc<CertifiedKey>);

/// The choice for one connection.
#[derive(Debug)]
pub(super) struct Choice {
    shown: Arc<Shown>,
    /// Whom it was made to.
    address: IpAddr,
}

impl Shown {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One cannot be read, or there is none.
    pub fn load(identities: &[Identity]) -> Result<Self> {
        let (first, further) = identities
            .split_first()
            .ok_or_else(|| anyhow::anyhow!("there is no certificate to show"))?;
        Ok(Self {
            first: Arc::new(First(files::identity(first)?)),
            further: further.iter().map(files::identity).collect::<Result<_>>()?,
        })
    }

    /// The first, whoever asks.
    pub fn first(&self) -> Arc<First> {
        self.first.clone()
    }

    /// The first that is for whom was asked, and whose key the asker can check; else the
    /// first of all.
    fn choose(&self, name: &ServerName<'_>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let first = &self.first.0;
        let fits = |own: &&Arc<CertifiedKey>| {
            own.key.choose_scheme(schemes).is_some() && is_for(own, name)
        };
        let chosen = std::iter::once(first).chain(&self.further).find(fits);
        chosen.unwrap_or(first).clone()
    }
}

/// Whether a certificate holds this name or address (subjectAltName).
fn is_for(own: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = own.end_entity_cert().map(ParsedCertificate::try_from);
    matches!(parsed, Ok(Ok(parsed)) if verify_server_name(&parsed, name).is_ok())
}

impl Choice {
    pub fn new(shown: Arc<Shown>, address: IpAddr) -> Self {
        Self { shown, address }
    }
}

impl ResolvesServerCert for Choice {
    /// By the name that is asked for (SNI, RFC 6066 §3), else by the address.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().map(ServerName::try_from);
        let name = match named {
            Some(Ok(name)) => name,
            _ => ServerName::from(self.address),
        };
        Some(self.shown.choose(&name, hello.signature_schemes()))
    }
}

impl ResolvesServerCert for First {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl ResolvesClientCert for First {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
