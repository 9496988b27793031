//! SIP over TLS: read where the operator has supplied what it takes, and passed as it
//! is where not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::StreamOwned;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use serde_json::{Value, json};
use sidestep_tests::certificates::{Authority, Identity};
use sidestep_tests::connection::{accept, connect, listen, message};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::Process;
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::{
    GATEWAY_TONE, SET_UP, TC_TONE, Wires, agree, expect_reason, frozen, hear, thin_client,
    wait_over,
};
use sidestep_tests::wait::seconds;

const NAME: &str = "gw.example.net";
const ADDRESS: &str = "10.71.3.31";
const DESK: &str = "desk-1.example.net";
const DESK_ADDRESS: &str = "10.71.1.11";
const TLS: u16 = 5061;

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
        self.sidestep_with(lab, json!({}))
    }

    /// The same, with more of it.
    fn sidestep_with(&self, lab: &Lab, more: Value) -> Result<Sidestep> {
        self.sidestep_on(lab, more, "direct")
    }

    /// The same, with all media on this path.
    fn sidestep_on(&self, lab: &Lab, more: Value, path: &str) -> Result<Sidestep> {
        let shown = self.site.issue(&[NAME, ADDRESS])?;
        let client = self.site.issue(&[DESK])?;
        let client = client.write(lab, "client")?;
        let mut tls = shown.write(lab, "shown")?;
        let further = json!({
            "trust": self.carrier.write(lab, "carrier")?,
            "client_certificate": client["certificate"],
            "client_key": client["key"],
        });
        let further = further.as_object().into_iter().flatten();
        for (key, value) in further.chain(more.as_object().into_iter().flatten()) {
            tls[key] = value.clone();
        }
        Sidestep::start_with(lab, &[], |config| {
            config["signalling"]["tls"] = tls;
            config["media"]["paths"] = json!([{"path": path}]);
        })
    }

    /// Who is called asks his callers for a certificate of the site.
    fn asking(&self, identity: &Identity) -> Result<Arc<ServerConfig>> {
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

type Caller = StreamOwned<ClientConnection, TcpStream>;
type Called = StreamOwned<ServerConnection, TcpStream>;

/// Who calls whom, trusting one authority, by a name or an address.
struct Ask<'a> {
    from: Site,
    to: Site,
    trusts: &'a Authority,
    asks_for: &'static str,
    own: Option<&'a Identity>,
}

impl Ask<'_> {
    /// Its end.
    fn connect(&self, lab: &Lab) -> Result<Caller> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.trusts.roots()?);
        let config = match self.own {
            None => config.with_no_client_auth(),
            Some(own) => config.with_client_auth_cert(own.chain()?, own.key()?)?,
        };
        let name = ServerName::try_from(self.asks_for)?;
        let tls = ClientConnection::new(Arc::new(config), name)?;
        let socket = connect(lab, self.from, SocketAddrV4::new(self.to.ip(), TLS))?;
        socket.set_read_timeout(Some(seconds(5)))?;
        Ok(StreamOwned::new(tls, socket))
    }
}

/// A VM's end, which trusts one authority and asks for a name or an address.
fn caller(lab: &Lab, trusts: &Authority, asks_for: &'static str) -> Result<Caller> {
    let ask = Ask {
        from: Site::Vm1,
        to: Site::Gw,
        trusts,
        asks_for,
        own: None,
    };
    ask.connect(lab)
}

fn called(socket: TcpStream, config: Arc<ServerConfig>) -> Result<Called> {
    socket.set_read_timeout(Some(seconds(5)))?;
    let tls = ServerConnection::new(config)?;
    Ok(StreamOwned::new(tls, socket))
}

/// One that asks nobody for a certificate.
fn plain(identity: &Identity) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain()?, identity.key()?)?;
    Ok(Arc::new(config))
}

/// What came of a message and its answer.
struct Crossed {
    /// Name that the called was asked for.
    name: Option<String>,
    /// Whom it has seen.
    peer: SocketAddr,
}

/// A message goes from who calls to whom he calls, and another comes back.
fn cross(mut caller: Caller, listener: &TcpListener, config: Arc<ServerConfig>) -> Result<Crossed> {
    let (socket, peer) = accept(listener)?;
    let called = called(socket, config)?;
    let (request, response) = (message("to", 1_000), message("fro", 2_000));
    let (expected, answered) = (request.clone(), response.clone());
    let called = std::thread::spawn(move || answer(called, &expected, &answered));
    caller.write_all(&request)?;
    caller.flush()?;
    let mut got = Vec::new();
    caller.read_to_end(&mut got).context("at the caller")?;
    ensure!(got == response, "{} bytes of the answer", got.len());
    let (name, _) = called.join().expect("no panic")?;
    Ok(Crossed { name, peer })
}

/// Nothing of what is sent is heard at the other end, and the sender hears of it.
fn expect_refused(
    mut caller: Caller,
    listener: &TcpListener,
    config: Arc<ServerConfig>,
) -> Result<()> {
    let (socket, _) = accept(listener)?;
    let mut called = called(socket, config)?;
    let called = std::thread::spawn(move || called.read(&mut [0; 100]));
    // It may hear of it while it still writes, or by a word of TLS.
    let heard = caller
        .write_all(&message("secret", 100))
        .and_then(|()| caller.read(&mut [0; 100]));
    ensure!(heard.is_err(), "{heard:?}");
    let got = called.join().expect("no panic");
    ensure!(got.is_err(), "it got {got:?}");
    Ok(())
}

/// One message is answered with another: the name that was asked for, and whether a
/// certificate was shown.
fn answer(mut stream: Called, expected: &[u8], answer: &[u8]) -> Result<(Option<String>, bool)> {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).context("at the called")?;
    ensure!(got == expected, "changed on its way");
    stream.write_all(answer)?;
    stream.flush()?;
    let name = stream.conn.server_name().map(str::to_owned);
    let shown = stream.conn.peer_certificates();
    let shown = shown.is_some_and(|chain| !chain.is_empty());
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok((name, shown))
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
            let listener = listen(lab, Site::Gw, TLS)?;
            let mut vm = caller(lab, &trust.site, asks_for)?;
            let (socket, peer) = accept(&listener)?;
            ensure!(peer == vm.sock.local_addr()?, "{peer} is not the VM");
            let gateway = called(socket, trust.asking(&trust.gateway)?)?;
            let (expected, answered) = (both.clone(), response.clone());
            let gateway = std::thread::spawn(move || answer(gateway, &expected, &answered));
            vm.write_all(&both)?;
            vm.flush()?;
            let mut got = Vec::new();
            vm.read_to_end(&mut got).context("at the VM")?;
            ensure!(got == response, "{} bytes of the answer", got.len());
            let (seen, shown) = gateway.join().expect("no panic")?;
            ensure!(seen.as_deref() == name, "asked for {seen:?}");
            ensure!(shown, "no certificate in the VM's name");
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
        let listener = listen(lab, Site::Gw, TLS)?;
        let mut vm = caller(lab, &trust.site, NAME)?;
        let (socket, _) = accept(&listener)?;
        let mut gateway = called(socket, trust.asking(&stranger)?)?;
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

/// Where a gateway connects to a VM, each sees a certificate it trusts: the gateway one
/// of the operator's for the VM, and the VM one for the gateway.
#[test]
fn tls_opened_toward_a_vm_is_read_as_well() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let desk = trust.carrier.issue(&[DESK, DESK_ADDRESS])?;
        let more = json!({
            "certificates": [desk.write(lab, "desk")?],
            "vm_trust": trust.site.write(lab, "site")?,
        });
        let sidestep = trust.sidestep_with(lab, more)?;
        let own = trust.site.issue(&[DESK, DESK_ADDRESS])?;
        let listener = listen(lab, Site::Vm1, TLS)?;
        for (asks_for, name) in [(DESK, Some(DESK)), (DESK_ADDRESS, None)] {
            let ask = Ask {
                from: Site::Gw,
                to: Site::Vm1,
                trusts: &trust.carrier,
                asks_for,
                own: None,
            };
            let caller = ask.connect(lab)?;
            let gateway = caller.sock.local_addr()?;
            // The VM asks for a certificate, and takes only the site's.
            let crossed = cross(caller, &listener, trust.asking(&own)?)?;
            ensure!(
                crossed.name.as_deref() == name,
                "asked for {:?}",
                crossed.name
            );
            ensure!(
                crossed.peer == gateway,
                "{} is not the gateway",
                crossed.peer
            );
        }
        let received = sidestep.counter(lab, "daemon-received")?;
        ensure!(received == 4, "{received} messages were read");
        Ok(())
    });
}

/// A VM whose certificate is none of those authorities' hears nothing, unless its tap
/// is to vouch for it.
#[test]
fn a_vm_is_trusted_by_authorities_or_by_its_tap() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let stranger = Authority::new()?.issue(&["another.example.net"])?;
        let listener = listen(lab, Site::Vm1, TLS)?;
        let site = trust.site.write(lab, "site")?;
        for (vm_trust, trusted) in [(site.as_str(), false), ("tap", true)] {
            let sidestep = trust.sidestep_with(lab, json!({"vm_trust": vm_trust}))?;
            let ask = Ask {
                from: Site::Gw,
                to: Site::Vm1,
                trusts: &trust.site,
                // What it is shown is the first, which is for the gateway.
                asks_for: NAME,
                own: None,
            };
            let caller = ask.connect(lab)?;
            match trusted {
                true => drop(cross(caller, &listener, plain(&stranger)?)?),
                false => expect_refused(caller, &listener, plain(&stranger)?)?,
            }
            let received = sidestep.counter(lab, "daemon-received")?;
            ensure!(received == 2 * u64::from(trusted), "{received} were read");
        }
        Ok(())
    });
}

/// The certificate is the one that holds the name or the address that is asked for;
/// else the first, which then is refused like any wrong one.
#[test]
fn the_certificate_is_that_of_whom_is_asked_for() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let mut certificates = Vec::new();
        for name in ["one.example.net", ADDRESS, "*.two.example.net"] {
            let own = trust.site.issue(&[name])?;
            certificates.push(own.write(lab, &format!("own-{}", certificates.len()))?);
        }
        // None stands by itself: the list is enough.
        let more = json!({"certificates": certificates, "certificate": null, "key": null});
        let _sidestep = trust.sidestep_with(lab, more)?;
        let _listener = listen(lab, Site::Gw, TLS)?;
        for (asks_for, known) in [
            ("one.example.net", true),
            (ADDRESS, true),
            ("a.two.example.net", true),
            ("three.example.net", false),
        ] {
            let mut vm = caller(lab, &trust.site, asks_for)?;
            let shaken = vm.conn.complete_io(&mut vm.sock);
            ensure!(shaken.is_ok() == known, "{asks_for}: {shaken:?}");
        }
        Ok(())
    });
}

/// Who connects, from either side, has to show a certificate of those authorities,
/// where the operator says so.
#[test]
fn who_shows_no_certificate_is_refused() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let more = json!({
            "vm_trust": "tap",
            "ask_vms": trust.site.write(lab, "ask-vms")?,
            "ask_gateways": trust.carrier.write(lab, "ask-gateways")?,
        });
        let mut sidestep = trust.sidestep_with(lab, more)?;
        let (desk, gateway) = (trust.site.issue(&[DESK])?, &trust.gateway);
        for (from, to, own, is_taken) in [
            (Site::Vm1, Site::Gw, None, false),
            (Site::Vm1, Site::Gw, Some(gateway), false),
            (Site::Vm1, Site::Gw, Some(&desk), true),
            (Site::Gw, Site::Vm1, None, false),
            (Site::Gw, Site::Vm1, Some(&desk), false),
            (Site::Gw, Site::Vm1, Some(gateway), true),
        ] {
            let listener = listen(lab, to, TLS)?;
            let asks_for = NAME;
            let trusts = &trust.site;
            let ask = Ask {
                from,
                to,
                trusts,
                asks_for,
                own,
            };
            let caller = ask.connect(lab)?;
            match is_taken {
                true => drop(cross(caller, &listener, plain(gateway)?)?),
                false => expect_refused(caller, &listener, plain(gateway)?)?,
            }
        }
        ensure!(sidestep.counter(lab, "daemon-received")? == 4);
        let log = sidestep.process().log();
        ensure!(log.contains("sent no certificates"), "{log}");
        Ok(())
    });
}

/// Without `vm_trust`, TLS that others open toward a VM is between the two alone, and
/// the operator can see why what comes by it is not seen.
#[test]
fn tls_opened_toward_a_vm_passes_without_its_trust() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let sidestep = trust.sidestep(lab)?;
        let own = Authority::new()?;
        let listener = listen(lab, Site::Vm1, TLS)?;
        let ask = Ask {
            from: Site::Gw,
            to: Site::Vm1,
            trusts: &own,
            asks_for: DESK,
            own: None,
        };
        let caller = ask.connect(lab)?;
        cross(caller, &listener, plain(&own.issue(&[DESK])?)?)?;
        ensure!(sidestep.counter(lab, "daemon-received")? == 0);
        let row = sidestep.wait_for_row(lab, "vms", "desk-1", seconds(5), |row| {
            row["name"] == "desk-1"
        })?;
        let seen = &row["unread"][0];
        ensure!(
            seen["reason"] == "signalling-encrypted" && seen["begun"] == 1,
            "{row}"
        );
        Ok(())
    });
}

/// Without the operator's certificates TLS is between VM and gateway alone.
#[test]
fn otherwise_tls_passes_as_it_is() {
    in_lab(|lab| {
        let trust = Trust::new()?;
        let sidestep = Sidestep::start(lab)?;
        let listener = listen(lab, Site::Gw, TLS)?;
        // It trusts the carrier, and nobody else.
        let mut vm = caller(lab, &trust.carrier, NAME)?;
        let (socket, _) = accept(&listener)?;
        let mut gateway = called(socket, plain(&trust.gateway)?)?;
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

/// baresip in the VM and baresip as the gateway, over TLS alone, each with its own
/// certificate; the gateway answers by itself.
struct Phones {
    sidestep: Sidestep,
    vm: Baresip,
    gateway: Baresip,
}

impl Phones {
    fn start(lab: &Lab, path: &str) -> Result<Self> {
        let trust = Trust::new()?;
        let more = json!({
            "certificates": [trust.carrier.issue(&[DESK_ADDRESS])?.write(lab, "desk")?],
            "vm_trust": trust.site.write(lab, "site")?,
        });
        let sidestep = trust.sidestep_on(lab, more, path)?;
        let desk = trust.site.issue(&[DESK_ADDRESS])?;
        let over_tls = |own| baresip::Setup {
            transport: "tls",
            certificate: Some(own),
            ..baresip::Setup::default()
        };
        let vm = Baresip::start(lab, Site::Vm1, &over_tls(&desk))?;
        let gateway = baresip::Setup {
            user: "100",
            auto_answer: true,
            tone: GATEWAY_TONE,
            ..over_tls(&trust.gateway)
        };
        let gateway = Baresip::start(lab, Site::Gw, &gateway)?;
        Ok(Self {
            sidestep,
            vm,
            gateway,
        })
    }

    /// A call of the VM's, which the gateway ends by a connection of its own, and one of
    /// the gateway's, which the VM ends: `hear` looks at each.
    fn calls(
        &mut self,
        lab: &Lab,
        path: &str,
        mut hear: impl FnMut(&Sidestep, [&Process; 2]) -> Result<()>,
    ) -> Result<()> {
        let mut tc = thin_client(lab, &self.sidestep, |_| {})?;
        self.vm.dial(&format!("sip:100@{ADDRESS}:{TLS}"))?;
        self.vm.wait_established(1, SET_UP)?;
        expect_reason(&self.sidestep.wait_call(lab, path)?, None)?;
        hear(&self.sidestep, [tc.process(), self.gateway.process()])?;
        self.gateway.hang_up()?;
        self.vm.wait_for("CALL_CLOSED", SET_UP)?;
        wait_over(lab, &self.sidestep)?;

        self.gateway
            .dial(&format!("sip:desk@{DESK_ADDRESS}:{TLS}"))?;
        self.vm.wait_for("CALL_INCOMING", SET_UP)?;
        self.vm.accept()?;
        self.vm.wait_established(2, SET_UP)?;
        expect_reason(&self.sidestep.wait_call(lab, path)?, None)?;
        hear(&self.sidestep, [tc.process(), self.gateway.process()])?;
        self.vm.hang_up()?;
        wait_over(lab, &self.sidestep)?;
        let opened = self.sidestep.counter(lab, "daemon-connections-accepted")?;
        ensure!(opened >= 2, "{opened} connections");
        Ok(())
    }
}

/// Figures 3 and 4 over TLS between stock softphones, with media that goes straight.
#[test]
fn calls_over_tls_go_direct() {
    in_lab(|lab| {
        let mut phones = Phones::start(lab, "direct")?;
        let wires = Wires::start(lab)?;
        phones.calls(lab, "direct", |sidestep, senders| {
            wires.hear_direct()?;
            let (tc, gateway) = (Site::Tc1.ip(), Site::Gw.ip());
            frozen(&senders, || {
                agree(lab, sidestep, &wires.gateway, tc, gateway)?;
                agree(lab, sidestep, &wires.thin_client, gateway, tc).map(drop)
            })
        })?;
        wires.nothing_past_tap()?;
        let sip = wires.gateway.so_far()?.sip().count();
        ensure!(sip == 0, "{sip} messages in the clear");
        Ok(())
    });
}

/// The same where only an anchor at the VM's address joins the two.
#[test]
fn calls_over_tls_are_steered() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        let mut phones = Phones::start(lab, "steered")?;
        let wires = Wires::start(lab)?;
        let anchor = Site::Vm1.ip();
        phones.calls(lab, "steered", |sidestep, senders| {
            hear(&wires.gateway, anchor, Site::Gw.ip(), TC_TONE)?;
            hear(&wires.thin_client, anchor, Site::Tc1.ip(), GATEWAY_TONE)?;
            frozen(&senders, || {
                agree(lab, sidestep, &wires.thin_client, Site::Tc1.ip(), anchor)?;
                agree(lab, sidestep, &wires.gateway, Site::Gw.ip(), anchor).map(drop)
            })
        })
    });
}
