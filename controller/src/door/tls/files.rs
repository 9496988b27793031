//! PEM files, read.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Identity;

/// A chain of certificates.
///
/// # Errors
///
/// The file cannot be read, or holds none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("{} cannot be read as PEM", file.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate", file.display());
    }
    Ok(chain)
}

/// A private key.
///
/// # Errors
///
/// The file cannot be read, or holds none.
pub fn key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file)
        .with_context(|| format!("{} holds no private key in PEM", file.display()))
}

/// Authorities.
///
/// # Errors
///
/// The file cannot be read, or holds no certificate, or one that is broken.
pub fn roots(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in certificates(file)? {
        roots
            .add(root)
            .with_context(|| format!("{} cannot be trusted", file.display()))?;
    }
    Ok(roots)
}

/// A chain with its key.
///
/// # Errors
///
/// One of the two cannot be read, or the key is another's.
pub fn identity(files: &Identity) -> Result<Arc<CertifiedKey>> {
    let (chain, own_key) = (certificates(&files.certificate)?, key(&files.key)?);
    let own = CertifiedKey::from_der(chain, own_key, &ring::default_provider());
    Ok(Arc::new(own.with_context(|| {
        let (key, certificate) = (files.key.display(), files.certificate.display());
        format!("{key} is not the key of {certificate}")
    })?))
}
