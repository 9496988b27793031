//! SIP over TLS: read where the operator has supplied what it takes, and passed as it
//! is where not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::StreamOwned;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use serde_json::json;
use sidestep_tests::certificates::{Authority, Identity};
use sidestep_tests::connection::{accept, connect, listen, message};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::wait::seconds;

const NAME: &str = "gw.example.net";
const ADDRESS: &str = "10.71.3.31";

/// Who vouches for whom: the site for what VMs are shown, the carrier for the gateway.
struct Trust {
    site: Authority,
    carrier: Authority,
    gateway: Identity,
}

impl Trust {
    fn new() -> Result<Self> {
        let carrier = Authority::new()?;
        Ok(Self {
            site: Authority::new()?,
            gateway: carrier.issue(&[NAME, ADDRESS])?,
            carrier,
        })
    }

    /// Sidestep with what the operator supplies.
    fn sidestep(&self, lab: &Lab) -> Result<Sidestep> {
        let shown = self.site.issue(&[NAME, ADDRESS])?;
        let client = self.site.issue(&["desk-1.example.net"])?;
        let file = |name: &str, text: &str| -> Result<String> {
            let path = lab.directory().join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let tls = json!({
            "certificate": file("shown.pem", &shown.certificate)?,
            "key": file("shown.key", &shown.key)?,
            "trust": file("carrier.pem", &self.carrier.root)?,
            "client_certificate": file("client.pem", &client.certificate)?,
            "client_key": file("client.key", &client.key)?,
        });
        Sidestep::start_with(lab, &[], |config| config["signalling"]["tls"] = tls)
    }

    /// The gateway asks its callers for a certificate of the site.
    fn gateway(&self, identity: &Identity) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.site.roots()?);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain()?, identity.key()?)?;
        Ok(Arc::new(config))
    }
}

type Vm = StreamOwned<ClientConnection, TcpStream>;
type Gateway = StreamOwned<ServerConnection, TcpStream>;

/// A VM's end, which trusts one authority and asks for a name or an address.
fn caller(lab: &Lab, trusts: &Authority, asks_for: &'static str) -> Result<Vm> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusts.roots()?)
        .with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(asks_for)?)?;
    let gateway = SocketAddrV4::new(Site::Gw.ip(), 5061);
    let socket = connect(lab, Site::Vm1, gateway)?;
    socket.set_read_timeout(Some(seconds(5)))?;
    Ok(StreamOwned::new(tls, socket))
}

fn called(socket: TcpStream, config: Arc<ServerConfig>) -> Result<Gateway> {
    socket.set_read_timeout(Some(seconds(5)))?;
    let tls = ServerConnection::new(config)?;
    Ok(StreamOwned::new(tls, socket))
}

/// The gateway answers one message with another, and tells the name it was asked for.
fn answer(mut stream: Gateway, expected: &[u8], answer: &[u8]) -> Result<Option<String>> {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).context("at the gateway")?;
    ensure!(got == expected, "changed on its way");
    stream.write_all(answer)?;
    stream.flush()?;
    let name = stream.conn.server_name().map(str::to_owned);
    ensure!(
        stream
            .conn
            .peer_certificates()
            .is_some_and(|chain| !chain.is_empty()),
        "no certificate in the VM's name"
    );
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(name)
}

/// The VM sees a certificate of the site's, the gateway one of the site's in the VM's
/// name and the name that the VM has asked for; the messages are read in between.
#[test]
fn messages_are_read_between_two_tls_connections() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let sidestep = trust.sidestep(lab)?;
        // A message that needs more than one record, and an answer larger than what is
        // decrypted at once.
        let (request, response) = (message("to", 40_000), message("fro", 60_000));
        let both = [request.clone(), message("two", 5)].concat();
        for (asks_for, name) in [(NAME, Some(NAME)), (ADDRESS, None)] {
            let listener = listen(lab, Site::Gw, 5061)?;
            let mut vm = caller(lab, &trust.site, asks_for)?;
            let (socket, peer) = accept(&listener)?;
            ensure!(peer == vm.sock.local_addr()?, "{peer} is not the VM");
            let gateway = called(socket, trust.gateway(&trust.gateway)?)?;
            let (expected, answered) = (both.clone(), response.clone());
            let gateway = std::thread::spawn(move || answer(gateway, &expected, &answered));
            vm.write_all(&both)?;
            vm.flush()?;
            let mut got = Vec::new();
            vm.read_to_end(&mut got).context("at the VM")?;
            ensure!(got == response, "{} bytes of the answer", got.len());
            let seen = gateway.join().expect("no panic")?;
            ensure!(seen.as_deref() == name, "asked for {seen:?}");
        }
        // Two messages of the VM's and one of the gateway's, each time.
        let received = sidestep.counter(lab, "daemon-received")?;
        ensure!(received == 6, "{received} messages were read");
        Ok(())
    });
}

/// A gateway that nobody vouches for gets nothing of what the VM sends, and the VM
/// hears of it.
#[test]
fn gateway_that_is_not_trusted_hears_nothing() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let mut sidestep = trust.sidestep(lab)?;
        let stranger = Authority::new()?.issue(&[NAME])?;
        let listener = listen(lab, Site::Gw, 5061)?;
        let mut vm = caller(lab, &trust.site, NAME)?;
        let (socket, _) = accept(&listener)?;
        let mut gateway = called(socket, trust.gateway(&stranger)?)?;
        let gateway = std::thread::spawn(move || gateway.read(&mut [0; 100]));
        // It may hear of it while it still writes.
        let heard = vm
            .write_all(&message("secret", 100))
            .and_then(|()| vm.read(&mut [0; 100]));
        let heard = heard.map_err(|error| error.kind());
        ensure!(
            matches!(
                heard,
                Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
            ),
            "{heard:?}"
        );
        let got = gateway.join().expect("no panic");
        ensure!(got.is_err(), "the gateway got {got:?}");
        let log = sidestep.process().log();
        ensure!(log.contains("invalid peer certificate"), "{log}");
        Ok(())
    });
}

/// Without the operator's certificates TLS is between VM and gateway alone, and so it
/// is where others connect to the VM.
#[test]
fn otherwise_tls_passes_as_it_is() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let sidestep = Sidestep::start(lab)?;
        let provider = Arc::new(ring::default_provider());
        let gateway = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(trust.gateway.chain()?, trust.gateway.key()?)?;
        let listener = listen(lab, Site::Gw, 5061)?;
        // It trusts the carrier, and nobody else.
        let mut vm = caller(lab, &trust.carrier, NAME)?;
        let (socket, _) = accept(&listener)?;
        let mut gateway = called(socket, Arc::new(gateway))?;
        let sent = message("through", 1_000);
        let expected = sent.clone();
        let gateway = std::thread::spawn(move || -> Result<()> {
            let mut got = vec![0; expected.len()];
            gateway.read_exact(&mut got)?;
            ensure!(got == expected);
            Ok(())
        });
        vm.write_all(&sent)?;
        vm.flush()?;
        gateway.join().expect("no panic")?;
        ensure!(sidestep.counter(lab, "daemon-connections-accepted")? == 0);
        // And the operator can see why this VM's calls are not seen.
        ensure!(sidestep.counter(lab, "signalling-encrypted")? == 1);
        let vms = sidestep.query(lab, "vms")?;
        let unread = |name: &str| {
            let vm = vms.iter().find(|vm| vm["name"] == name);
            vm.map(|vm| vm["unread"].clone()).unwrap_or_default()
        };
        let seen = &unread("desk-1")[0];
        ensure!(
            seen["reason"] == "signalling-encrypted" && seen["begun"] == 1,
            "{vms:?}"
        );
        ensure!(unread("desk-2") == json!([]), "{vms:?}");
        Ok(())
    });
}
