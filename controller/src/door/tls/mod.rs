//! What an operator supplies so that encrypted signalling can be read: certificates
//! that are accepted in the place of whom they were asked for, and what makes those
//! trusted.
//!
//! In: [`TlsConfig`], the places of PEM files. Out: [`Tls`], which makes the two ends
//! of a connection: toward who has connected, and on toward whom he asked for.

mod by_tap;
pub mod files;
mod shown;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use sidestep_core::engine::Side;

use by_tap::ByTap;
use shown::{Choice, Shown};

/// Where the operator has put it. Files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Ports to which one connects with TLS.
    pub ports: Vec<u16>,
    /// Shown to whoever connects: the first that is for whom he asked, else the first
    /// of all.
    pub shown: Vec<Identity>,
    /// Certificates of authorities that vouch for gateways.
    pub trust: PathBuf,
    /// Shown to gateways that ask for a certificate, in the VMs' name.
    pub client: Option<Identity>,
    /// What vouches for VMs. `None`: TLS that is opened toward them is not read.
    pub vm_trust: Option<VmTrust>,
    /// Authorities one of which must have signed a certificate of a VM that connects.
    /// `None`: it is not asked for one.
    pub ask_vms: Option<PathBuf>,
    /// The same of who connects to a VM.
    pub ask_gateways: Option<PathBuf>,
}

/// What a thin client is shown that connects to the registrar. Files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarTlsConfig {
    /// As [`TlsConfig::shown`].
    pub shown: Vec<Identity>,
    /// Authorities one of which must have signed a thin client's own certificate.
    /// `None`: it is not asked for one.
    pub ask: Option<PathBuf>,
}

/// A certificate chain, its own certificate first, and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The chain's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// What vouches for a VM that is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmTrust {
    /// Its tap: what is sent there reaches nobody else, whatever certificate comes back.
    Tap,
    /// Authorities, with their certificates in this file.
    Authorities(PathBuf),
}

/// The same, read.
pub struct Tls {
    ports: Vec<u16>,
    /// Toward who has connected, by his side.
    servers: [Server; 2],
    /// Toward gateways.
    gateways: Arc<ClientConfig>,
    /// Toward VMs.
    vms: Option<Arc<ClientConfig>>,
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
        let shown = Arc::new(Shown::load(&config.shown)?);
        let gateways = client(&provider)?.with_root_certificates(files::roots(&config.trust)?);
        let gateways = match &config.client {
            None => gateways.with_no_client_auth(),
            Some(own) => gateways.with_client_auth_cert(
                files::certificates(&own.certificate)?,
                files::key(&own.key)?,
            )?,
        };
        let vms = config.vm_trust.as_ref();
        let vms = vms.map(|trust| toward_vms(&provider, trust, &shown));
        Ok(Self {
            ports: config.ports.clone(),
            servers: [
                Server::new(&provider, config.ask_vms.as_ref(), &shown)?,
                Server::new(&provider, config.ask_gateways.as_ref(), &shown)?,
            ],
            gateways: Arc::new(gateways),
            vms: vms.transpose()?,
        })
    }

    /// Whether connections to this port are encrypted.
    pub fn is_at(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Whether those that this side opens can be read.
    pub fn reads_from(&self, side: Side) -> bool {
        side == Side::Vm || self.vms.is_some()
    }

    /// The end toward who has connected, from this side, to this address.
    ///
    /// # Errors
    ///
    /// Memory.
    pub fn accept(&self, side: Side, address: IpAddr) -> Result<Connection> {
        self.servers[side as usize].accept(address)
    }

    /// The end toward whom the other has asked for, on this side, by this name, or by
    /// its address alone.
    ///
    /// # Errors
    ///
    /// The name is none.
    pub fn connect(
        &self,
        toward: Side,
        asked_for: Option<&str>,
        address: IpAddr,
    ) -> Result<Connection> {
        let name = match asked_for {
            Some(name) => ServerName::try_from(name.to_owned())?,
            None => ServerName::from(address),
        };
        let config = match (toward, &self.vms) {
            (Side::Vm, Some(vms)) => vms,
            _ => &self.gateways,
        };
        Ok(ClientConnection::new(config.clone(), name)?.into())
    }
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn client(provider: &Arc<CryptoProvider>) -> Result<ClientBuilder> {
    let builder = ClientConfig::builder_with_provider(provider.clone());
    Ok(builder.with_safe_default_protocol_versions()?)
}

/// A VM that asks for a certificate gets the one that VMs are shown anyhow: it holds
/// the gateways' names.
fn toward_vms(
    provider: &Arc<CryptoProvider>,
    trust: &VmTrust,
    shown: &Shown,
) -> Result<Arc<ClientConfig>> {
    let builder = client(provider)?;
    let builder = match trust {
        VmTrust::Authorities(file) => builder.with_root_certificates(files::roots(file)?),
        VmTrust::Tap => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ByTap::new(provider))),
    };
    let mut config = builder.with_client_cert_resolver(shown.first());
    // Several VMs may be asked for by one name.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The end toward who connects.
pub struct Server {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

impl Server {
    /// Reads the registrar's files.
    ///
    /// # Errors
    ///
    /// As [`Tls::load`].
    pub fn load(config: &RegistrarTlsConfig) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let shown = Arc::new(Shown::load(&config.shown)?);
        Self::new(&provider, config.ask.as_ref(), &shown)
    }

    /// `ask`: the authorities whose certificates are asked for.
    fn new(
        provider: &Arc<CryptoProvider>,
        ask: Option<&PathBuf>,
        shown: &Arc<Shown>,
    ) -> Result<Self> {
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match ask {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(files::roots(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        Ok(Self {
            config: Arc::new(builder.with_cert_resolver(shown.first())),
            shown: shown.clone(),
        })
    }

    /// One connection's, which was made to this address.
    ///
    /// # Errors
    ///
    /// Memory.
    pub fn accept(&self, address: IpAddr) -> Result<Connection> {
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::new(Choice::new(self.shown.clone(), address));
        Ok(ServerConnection::new(Arc::new(config))?.into())
    }
}
