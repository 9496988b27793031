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
use sidestep_tests::peers::kamailio::{self, Kamailio, Toward};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::peers::speaker::Speaker;
use sidestep_tests::stage::{GATEWAY_TONE, Wires, expect_reason, sip, thin_client, wait_over};
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
        let mut tls = shown.write(lab, "shown")?;
        tls["trust"] = authority.write(lab, "trust")?.into();
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
        let client = shake_hands(client, port)?;
        let server = server.join().expect("no panic").context("at the gateway")?;
        Ok((client, server))
    }
}

/// The VM's end, over a connection to this port of the gateway's.
fn shake_hands(stream: Box<dyn Wire>, port: u16) -> Result<Socket> {
    let scheme = if port == WSS { "wss" } else { "ws" };
    let uri = format!("{scheme}://{}:{port}/", Site::Gw.ip()).parse()?;
    let request = ClientRequestBuilder::new(uri)
        .with_header("Sec-WebSocket-Extensions", "permessage-deflate")
        .with_sub_protocol("sip");
    let (client, _) = tungstenite::client(request, stream)
        .map_err(|error| anyhow::anyhow!("at the VM: {error}"))?;
    Ok(client)
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

/// The VM's softphone at a proxy: what it sends has the routes that it was given.
struct Browser {
    socket: Socket,
}

/// A dialog of its, as it stands in its requests.
struct Dialog {
    target: String,
    routes: Vec<String>,
    from: String,
    to: String,
    call_id: String,
}

impl Browser {
    fn open(lab: &Lab) -> Result<Self> {
        let stream = connect(lab, Site::Vm1, SocketAddrV4::new(Site::Gw.ip(), WS))?;
        stream.set_read_timeout(Some(seconds(5)))?;
        let socket = shake_hands(Box::new(stream), WS)?;
        Ok(Self { socket })
    }

    fn request(&mut self, cseq: &str, dialog: &Dialog, body: &str) -> Result<()> {
        let method = cseq.split(' ').nth(1).unwrap_or_default();
        let routes = dialog
            .routes
            .iter()
            .map(|route| format!("Route: {route}\r\n"));
        let content = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let Dialog {
            target,
            from,
            to,
            call_id,
            ..
        } = dialog;
        self.socket.send(Message::text(format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/WS {HOST};branch=z9hG4bK{}{call_id}\r\nMax-Forwards: 70\r\n\
             {}From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
             Contact: <sip:desk@{HOST};transport=ws>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            cseq.replace(' ', ""),
            routes.collect::<String>(),
            body.len()
        )))?;
        Ok(())
    }

    /// Answers a request with 200.
    fn accept(&mut self, request: &str, tag: &str, body: &str) -> Result<()> {
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            for value in values(request, name) {
                let tag = if name == "To" { tag } else { "" };
                answer += &format!("{name}: {value}{tag}\r\n");
            }
        }
        answer += &format!(
            "Contact: <sip:desk@{HOST};transport=ws>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send(Message::text(answer))?;
        Ok(())
    }

    /// The final response to its last request.
    fn answered(&mut self) -> Result<String> {
        loop {
            let answer = next(&mut self.socket)?;
            if !answer.starts_with("SIP/2.0 1") {
                ensure!(answer.starts_with("SIP/2.0 200"), "{answer}");
                return Ok(answer);
            }
        }
    }
}

const HOST: &str = "df7jal23ls0d.invalid";

/// The values of a message's header fields of this name.
fn values<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let fields = message
        .split("\r\n")
        .filter_map(|line| line.split_once(": "));
    let fields = fields.filter(|(of, _)| of.eq_ignore_ascii_case(name));
    fields.map(|(_, value)| value).collect()
}

/// Who has put himself into the dialog, in the order of the message.
fn routes(message: &str) -> Vec<String> {
    let fields = values(message, "Record-Route");
    let routes = fields.iter().flat_map(|field| field.split(','));
    routes.map(|route| route.trim().to_owned()).collect()
}

/// What is between the angle brackets of a Contact.
fn contact(message: &str) -> Result<String> {
    let value = values(message, "Contact")
        .first()
        .copied()
        .unwrap_or_default();
    let uri = value.split(['<', '>']).nth(1);
    Ok(uri
        .with_context(|| format!("no Contact in {message}"))?
        .to_owned())
}

/// Kamailio is the server, and stays in the dialogs (Record-Route): a call of the VM's
/// to a gateway behind it, which speaks UDP, and one to the VM in the connection by which
/// it has registered.
#[test]
fn calls_through_kamailio_over_websocket_go_direct() {
    in_lab(|lab| {
        let stage = Stage::new(lab)?;
        let sidestep = &stage.sidestep;
        let _tc = thin_client(lab, sidestep, |_| {})?;
        let setup = kamailio::Setup {
            address: sip(Site::Gw),
            gateway: SocketAddrV4::new(Site::Gw.ip(), BEHIND_PROXY),
            vm: sip(Site::Vm1),
            toward_vm: Toward::WebSocket(WS),
            rtpengine: None,
        };
        let _proxy = Kamailio::start(lab, Site::Gw, &setup)?;
        let behind_proxy = |scenario| Run {
            port: BEHIND_PROXY,
            ..Run::new(scenario)
        };
        let wires = Wires::start(lab)?;
        let mut vm = Browser::open(lab)?;
        let own = format!("<sip:desk@{}>", Site::Gw.ip());
        let mut dialog = Dialog {
            target: format!("sip:{}", Site::Gw.ip()),
            routes: Vec::new(),
            from: format!("{own};tag=vm"),
            to: own.clone(),
            call_id: "register".to_owned(),
        };
        vm.request("1 REGISTER", &dialog, "")?;
        vm.answered()?;

        let mut gw = Sipp::start(lab, Site::Gw, &behind_proxy("answer"))?;
        dialog.target = format!("sip:100@{}", Site::Gw.ip());
        dialog.to = format!("<{}>", dialog.target);
        dialog.call_id = "to-the-gateway".to_owned();
        vm.request("1 INVITE", &dialog, &sdp(Site::Vm1.ip(), 30_000))?;
        let ok = vm.answered()?;
        dialog.target = contact(&ok)?;
        dialog.routes = routes(&ok);
        dialog.routes.reverse();
        dialog.to = values(&ok, "To").concat();
        ensure!(dialog.routes.len() == 2, "{ok}");
        vm.request("1 ACK", &dialog, "")?;
        expect_reason(&sidestep.wait_call(lab, "direct")?, None)?;
        wires.hear_direct()?;
        vm.request("2 BYE", &dialog, "")?;
        vm.answered()?;
        gw.finish(seconds(5))?;
        wait_over(lab, sidestep)?;

        let calling = behind_proxy("call").calling(sip(Site::Gw));
        let mut gw = Sipp::start(lab, Site::Gw, &calling)?;
        let invite = next(&mut vm.socket)?;
        ensure!(invite.starts_with("INVITE "), "{invite}");
        vm.accept(&invite, ";tag=vm", &sdp(Site::Vm1.ip(), 30_000))?;
        let ack = next(&mut vm.socket)?;
        ensure!(ack.starts_with("ACK "), "{ack}");
        expect_reason(&sidestep.wait_call(lab, "direct")?, None)?;
        wires.hear_direct()?;
        let dialog = Dialog {
            target: contact(&invite)?,
            routes: routes(&invite),
            from: format!("{};tag=vm", values(&invite, "To").concat()),
            to: values(&invite, "From").concat(),
            call_id: values(&invite, "Call-ID").concat(),
        };
        vm.request("1 BYE", &dialog, "")?;
        vm.answered()?;
        gw.finish(seconds(5))?;
        wires.nothing_past_tap()?;
        wait_over(lab, sidestep)
    });
}

/// Port of a gateway that has a proxy before it, on the same box.
const BEHIND_PROXY: u16 = 5080;

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
