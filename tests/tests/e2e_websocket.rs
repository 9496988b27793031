//! SIP over WebSocket (RFC 7118), in the clear and with TLS, between two ends that are
//! tungstenite's.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use sidestep_tests::certificates::Authority;
use sidestep_tests::connection::{Ends, accept, connect, cross, listen};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::speaker::Speaker;
use sidestep_tests::stage::{GATEWAY_TONE, Wires, expect_reason, thin_client, wait_over};
use sidestep_tests::wait::seconds;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::{ClientRequestBuilder, Message, WebSocket};

/// Where gateways listen, in the clear and with TLS.
const WS: u16 = 5062;
const WSS: u16 = 5063;
/// Where the gateway has its media.
const MEDIA: u16 = 6000;

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

type Socket = WebSocket<Box<dyn Wire>>;

/// A site with both ports, and who vouches for VMs' gateways.
struct Stage {
    sidestep: Sidestep,
    authority: Authority,
}

impl Stage {
    fn new(lab: &Lab) -> Result<Self> {
        let authority = Authority::new()?;
        let shown = authority.issue(&[&Site::Gw.ip().to_string()])?;
        let file = |name: &str, text: &str| -> Result<String> {
            let path = lab.directory().join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let tls = json!({
            "certificate": file("shown.pem", &shown.certificate)?,
            "key": file("shown.key", &shown.key)?,
            "trust": file("trust.pem", &authority.root)?,
        });
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["signalling"]["tls"] = tls;
            config["signalling"]["websocket"] = json!({"ports": [WS], "tls_ports": [WSS]});
        })?;
        Ok(Self {
            sidestep,
            authority,
        })
    }

    /// The VM has connected to the gateway: the ends of both.
    fn connect(&self, lab: &Lab, port: u16) -> Result<(Socket, Socket)> {
        let listener = listen(lab, Site::Gw, port)?;
        let stream = connect(lab, Site::Vm1, SocketAddrV4::new(Site::Gw.ip(), port))?;
        let (called, _) = accept(&listener)?;
        for end in [&stream, &called] {
            end.set_read_timeout(Some(seconds(5)))?;
        }
        let provider = || Arc::new(ring::default_provider());
        let server = match port {
            WSS => {
                let own = self.authority.issue(&[&Site::Gw.ip().to_string()])?;
                let config = ServerConfig::builder_with_provider(provider())
                    .with_safe_default_protocol_versions()?
                    .with_no_client_auth()
                    .with_single_cert(own.chain()?, own.key()?)?;
                let tls = ServerConnection::new(Arc::new(config))?;
                Box::new(StreamOwned::new(tls, called)) as Box<dyn Wire>
            }
            _ => Box::new(called),
        };
        let server = std::thread::spawn(move || -> Result<Socket> {
            // It would agree to any extension that it knows; tungstenite knows none.
            #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
            let agree =
                |asked: &Request, mut answer: Response| -> Result<Response, ErrorResponse> {
                    let offered = asked.headers().get("Sec-WebSocket-Extensions");
                    assert!(offered.is_none(), "an offer came through: {offered:?}");
                    let sip = "sip".parse().expect("a value of a header");
                    answer.headers_mut().insert("Sec-WebSocket-Protocol", sip);
                    Ok(answer)
                };
            tungstenite::accept_hdr(server, agree).map_err(|error| anyhow::anyhow!("{error}"))
        });
        let client = match port {
            WSS => {
                let config = ClientConfig::builder_with_provider(provider())
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(self.authority.roots()?)
                    .with_no_client_auth();
                let name = ServerName::from(std::net::IpAddr::from(Site::Gw.ip()));
                let tls = ClientConnection::new(Arc::new(config), name)?;
                Box::new(StreamOwned::new(tls, stream)) as Box<dyn Wire>
            }
            _ => Box::new(stream),
        };
        let scheme = if port == WSS { "wss" } else { "ws" };
        let uri = format!("{scheme}://{}:{port}/", Site::Gw.ip()).parse()?;
        let request = ClientRequestBuilder::new(uri)
            .with_header("Sec-WebSocket-Extensions", "permessage-deflate")
            .with_sub_protocol("sip");
        let (client, _) = tungstenite::client(request, client)
            .map_err(|error| anyhow::anyhow!("at the VM: {error}"))?;
        let server = server.join().expect("no panic").context("at the gateway")?;
        Ok((client, server))
    }
}

/// The next message of SIP; pings are answered meanwhile.
fn next(socket: &mut Socket) -> Result<String> {
    loop {
        match socket.read()? {
            Message::Text(text) => return Ok(text.to_string()),
            Message::Ping(_) | Message::Pong(_) => {}
            other => bail!("{other:?}"),
        }
    }
}

/// A message of the one dialog there is; what `begin`s it, and a body.
fn message(begin: &str, cseq: &str, more: &str, body: &str) -> Message {
    let (vm, gw) = (Site::Vm1.ip(), Site::Gw.ip());
    let to_tag = if cseq == "1 INVITE" && !begin.starts_with("SIP/2.0") {
        ""
    } else {
        ";tag=gw"
    };
    let content = match body {
        "" => String::new(),
        _ => "Content-Type: application/sdp\r\n".to_owned(),
    };
    let branch = cseq.replace(' ', "");
    Message::text(format!(
        "{begin}\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:desk@{vm}>;tag=vm\r\nTo: <sip:100@{gw}>{to_tag}\r\n\
         Call-ID: over-websocket\r\nCSeq: {cseq}\r\n{more}{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn sdp(address: impl std::fmt::Display, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
}

/// Where a message wants its audio.
fn media_of(message: &str) -> Result<SocketAddrV4> {
    let after = |begin: &str| {
        let found = message.lines().find_map(|line| line.strip_prefix(begin));
        found.with_context(|| format!("no {begin} in {message}"))
    };
    let port = after("m=audio ")?.split(' ').next().unwrap_or_default();
    Ok(SocketAddrV4::new(
        after("c=IN IP4 ")?.parse()?,
        port.parse()?,
    ))
}

/// INVITE to BYE: the gateway sees the thin client's media, and hears it.
fn whole_call(lab: &Lab, stage: &Stage, port: u16) -> Result<()> {
    let wires = Wires::start(lab)?;
    let (mut vm, mut gw) = stage.connect(lab, port)?;
    let (vm_ip, gw_ip) = (Site::Vm1.ip(), Site::Gw.ip());
    let contact = "Contact: <sip:desk@df7jal23ls0d.invalid;transport=ws>\r\n";
    let target = format!("sip:100@{gw_ip}");
    vm.send(message(
        &format!("INVITE {target} SIP/2.0"),
        "1 INVITE",
        contact,
        &sdp(vm_ip, 30_000),
    ))?;
    let invite = next(&mut gw)?;
    let tc = media_of(&invite)?;
    ensure!(*tc.ip() == Site::Tc1.ip(), "{invite}");
    ensure!(
        invite.contains("df7jal23ls0d.invalid;transport=ws"),
        "{invite}"
    );
    // The server asks whether the client is there, by a frame of its own.
    gw.send(Message::Ping(b"there?".to_vec().into()))?;
    let own = format!("Contact: <sip:{gw_ip}:{port};transport=ws>\r\n");
    gw.send(message(
        "SIP/2.0 200 OK",
        "1 INVITE",
        &own,
        &sdp(gw_ip, MEDIA),
    ))?;
    let ok = next(&mut vm)?;
    ensure!(
        ok.starts_with("SIP/2.0 200") && media_of(&ok)?.ip() != &gw_ip,
        "{ok}"
    );
    vm.send(message(&format!("ACK {target} SIP/2.0"), "1 ACK", "", ""))?;
    ensure!(next(&mut gw)?.starts_with("ACK "));
    let call = stage.sidestep.wait_call(lab, "direct")?;
    expect_reason(&call, None)?;
    let _speaker = Speaker::start(lab, Site::Gw, MEDIA, tc, GATEWAY_TONE)?;
    wires.hear_direct()?;
    vm.send(message(&format!("BYE {target} SIP/2.0"), "2 BYE", "", ""))?;
    ensure!(next(&mut gw)?.starts_with("BYE "));
    gw.send(message("SIP/2.0 200 OK", "2 BYE", "", ""))?;
    ensure!(next(&mut vm)?.starts_with("SIP/2.0 200"));
    wires.nothing_past_tap()?;
    wait_over(lab, &stage.sidestep)
}

#[test]
fn a_call_over_websocket_goes_direct() {
    in_lab(|lab| {
        let stage = Stage::new(lab)?;
        let _tc = thin_client(lab, &stage.sidestep, |_| {})?;
        whole_call(lab, &stage, WS)
    });
}

#[test]
fn a_call_over_websocket_with_tls_goes_direct() {
    in_lab(|lab| {
        let stage = Stage::new(lab)?;
        let _tc = thin_client(lab, &stage.sidestep, |_| {})?;
        whole_call(lab, &stage, WSS)
    });
}

/// Other HTTP on the same port, and what is none.
#[test]
fn what_is_no_sip_passes_as_it_is() {
    in_lab(|lab| {
        let stage = Stage::new(lab)?;
        let get = b"GET /phone.html HTTP/1.1\r\nHost: gw\r\n\r\n";
        let page = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage";
        let noise: Vec<u8> = (0..=255).collect();
        for (request, answer) in [(&get[..], &page[..]), (&noise, &noise)] {
            let mut ends: Ends = Ends::open_at(lab, Site::Vm1, Site::Gw, WS)?;
            let (caller, called): (&mut TcpStream, _) = (&mut ends.caller, &mut ends.called);
            for segment in [1, 7, 1_000] {
                cross(caller, called, request, segment)?;
                cross(called, caller, answer, segment)?;
            }
        }
        ensure!(stage.sidestep.counter(lab, "daemon-received")? == 0);
        ensure!(stage.sidestep.counter(lab, "daemon-connections-accepted")? == 2);
        Ok(())
    });
}
