//! What an operator supplies so that encrypted signalling can be read: a certificate
//! that VMs accept in their gateways' place, and what makes a gateway trusted.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};

/// Where the operator has put it. Files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Ports of gateways to which VMs connect with TLS.
    pub ports: Vec<u16>,
    /// Certificate chain shown to VMs, for whatever gateway they ask for.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of authorities that vouch for gateways.
    pub trust: PathBuf,
    /// Certificate chain and key shown to gateways that ask for one, in the VMs' name.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The same, read.
pub struct Tls {
    ports: Vec<u16>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One cannot be read, or holds nothing of what it should; a key is not that of
    /// its certificate.
    pub fn load(config: &TlsConfig) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates(&config.certificate)?, key(&config.key)?)
            .with_context(|| {
                let (certificate, key) = (config.certificate.display(), config.key.display());
                format!("{key} is not the key of {certificate}")
            })?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&config.trust)? {
            roots
                .add(root)
                .with_context(|| format!("{} cannot be trusted", config.trust.display()))?;
        }
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let client = match &config.client {
            None => client.with_no_client_auth(),
            Some((chain, own_key)) => client
                .with_client_auth_cert(certificates(chain)?, key(own_key)?)
                .with_context(|| {
                    format!(
                        "{} is not the key of {}",
                        own_key.display(),
                        chain.display()
                    )
                })?,
        };
        Ok(Self {
            ports: config.ports.clone(),
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }

    /// Whether connections to this port are encrypted.
    pub fn is_at(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// The end toward a VM that has connected.
    ///
    /// # Errors
    ///
    /// Memory.
    pub fn accept(&self) -> Result<Connection> {
        Ok(ServerConnection::new(self.server.clone())?.into())
    }

    /// The end toward the gateway that the VM has asked for by this name, or by its
    /// address alone.
    ///
    /// # Errors
    ///
    /// The name is none.
    pub fn connect(&self, asked_for: Option<&str>, address: IpAddr) -> Result<Connection> {
        let name = match asked_for {
            Some(name) => ServerName::try_from(name.to_owned())?,
            None => ServerName::from(address),
        };
        Ok(ClientConnection::new(self.client.clone(), name)?.into())
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("{} cannot be read as PEM", file.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate", file.display());
    }
    Ok(chain)
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file)
        .with_context(|| format!("{} holds no private key in PEM", file.display()))
}
