//! A connection is gone in mid-call: a request that is to go by it goes by a new one, made
//! in the name of whom it comes from (RFC 3261 §18.1.1), as long as the call lives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sidestep_tests::connection::{accept, connect, listen};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::thin_client::ThinClient;
use sidestep_tests::stage::{sip, thin_client, wait_over};
use sidestep_tests::wait::seconds;

/// The ports of `media.anchor_ports` in the lab.
const OWN_PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_099;

/// A user agent that speaks as it is told, in one connection.
struct Agent {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Agent {
    fn of(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(seconds(5)))?;
        let heard = Vec::new();
        Ok(Self { stream, heard })
    }

    /// Of whoever connects next, which is to be Sidestep in the name of `site`.
    fn called_by(listener: &TcpListener, site: Site) -> Result<Self> {
        let (stream, from) = accept(listener)?;
        ensure!(
            from.ip() == SocketAddr::from(sip(site)).ip() && OWN_PORTS.contains(&from.port()),
            "{from} has connected, not one of Sidestep's ports at {}",
            site.ip()
        );
        Self::of(stream)
    }

    fn says(&mut self, message: &str) -> Result<()> {
        let message = message.replace('\n', "\r\n");
        Ok(self.stream.write_all(message.as_bytes())?)
    }

    /// The next message, which begins so and has this in it.
    fn hears(&mut self, begin: &str, within: &str) -> Result<String> {
        let mut buffer = [0; 4_096];
        let message = loop {
            if let Some(message) = self.message() {
                break message;
            }
            let got = self.stream.read(&mut buffer).context(begin.to_owned())?;
            ensure!(got > 0, "the end, in place of {begin}");
            self.heard.extend_from_slice(&buffer[..got]);
        };
        ensure!(
            message.starts_with(begin) && message.contains(within),
            "{begin} with {within:?} was expected: {message}"
        );
        Ok(message)
    }

    fn message(&mut self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.heard).into_owned();
        let head = text.find("\r\n\r\n")? + 4;
        let length: usize = header(&text, "Content-Length")?.parse().ok()?;
        let message = text.get(..head + length)?.to_owned();
        self.heard.drain(..head + length);
        Some(message)
    }

    /// Answers 200; `description`: its media, if any.
    fn answers(&mut self, request: &str, site: Site, description: Option<u16>) -> Result<()> {
        let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
            .iter()
            .map(|name| {
                let value = header(request, name).unwrap_or_default();
                let tagged = *name != "To" || value.contains("tag=");
                format!("{name}: {value}{}\n", if tagged { "" } else { ";tag=far" })
            })
            .collect();
        self.says(&format!(
            "SIP/2.0 200 OK\n{copied}{}",
            rest(site, description)
        ))
    }
}

fn header(message: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        Some(
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .to_owned(),
        )
    };
    message.lines().find_map(value)
}

/// Contact, and a session description with its audio at this port.
fn rest(site: Site, audio: Option<u16>) -> String {
    let ip = site.ip();
    let body = audio.map_or(String::new(), |port| {
        format!(
            "v=0\no=- {port} 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio {port} RTP/AVP 8\n"
        )
    });
    let length = body.replace('\n', "\r\n").len();
    format!(
        "Contact: <sip:{ip}:5060;transport=tcp>\nContent-Type: application/sdp\nContent-Length: {length}\n\n{body}"
    )
}

fn request(method: &str, number: u32, to: &str, more: &str) -> String {
    let (vm, gateway) = (Site::Vm1.ip(), Site::Gw.ip());
    format!(
        "{method} sip:100@{gateway};transport=tcp SIP/2.0\n\
         Via: SIP/2.0/TCP {vm}:5060;branch=z9hG4bK{method}{number};rport\nMax-Forwards: 70\n\
         From: <sip:desk@{vm}>;tag=near\nTo: <sip:100@{gateway}>{to}\nCall-ID: reconnect\n\
         CSeq: {number} {method}\n{more}"
    )
}

/// A direct call over TCP in which the gateway has closed its connection, and so the VM;
/// both listen. The thin client moves after a while, by which time that is so.
struct Call {
    sidestep: Sidestep,
    at_vm: TcpListener,
    at_gateway: TcpListener,
    _tc: ThinClient,
}

impl Call {
    fn cut_off(lab: &Lab) -> Result<Self> {
        let sidestep = Sidestep::start(lab)?;
        let tc = thin_client(lab, &sidestep, |setup| {
            setup.reinvite = Some((1_500, 22_000));
        })?;
        let at_gateway = listen(lab, Site::Gw, 5060)?;
        let mut vm = Agent::of(connect(lab, Site::Vm1, sip(Site::Gw))?)?;
        let (stream, _) = accept(&at_gateway)?;
        let mut gateway = Agent::of(stream)?;
        vm.says(&request("INVITE", 1, "", &rest(Site::Vm1, Some(7_000))))?;
        let invite = gateway.hears("INVITE", "c=IN IP4 10.71.2.21")?;
        gateway.answers(&invite, Site::Gw, Some(8_000))?;
        vm.hears("SIP/2.0 200", "c=IN IP4 192.0.2.1")?;
        vm.says(&request("ACK", 1, ";tag=far", "Content-Length: 0\n\n"))?;
        gateway.hears("ACK", "")?;
        sidestep.wait_call(lab, "direct")?;
        let at_vm = listen(lab, Site::Vm1, 5060)?;
        drop(gateway);
        let end = vm.stream.read(&mut [0; 64])?;
        ensure!(end == 0, "the VM is not told of the end");
        Ok(Self {
            sidestep,
            at_vm,
            at_gateway,
            _tc: tc,
        })
    }

    /// The thin client has moved: the gateway hears of it by a connection of the VM's.
    fn moves(&mut self) -> Result<Agent> {
        let mut gateway = Agent::called_by(&self.at_gateway, Site::Vm1)?;
        let moved = gateway.hears("INVITE", "m=audio 22000")?;
        gateway.answers(&moved, Site::Gw, Some(8_000))?;
        gateway.hears("ACK", "CSeq: 2 ACK")?;
        Ok(gateway)
    }
}

/// The thin client moves, and then the daemon is stopped and hands the call back: the
/// gateway hears both by one new connection, the VM by another.
#[test]
fn requests_of_our_own_are_heard() {
    in_lab(|lab| {
        let mut call = Call::cut_off(lab)?;
        let mut gateway = call.moves()?;
        let made = call.sidestep.counter(lab, "daemon-connections-made")?;
        ensure!(made == 1, "{made} connections were made");
        call.sidestep.process().signal(Signal::SIGTERM)?;
        let back = gateway.hears("INVITE", "c=IN IP4 10.71.1.11")?;
        gateway.answers(&back, Site::Gw, Some(8_000))?;
        gateway.hears("ACK", "CSeq: 3 ACK")?;
        let mut vm = Agent::called_by(&call.at_vm, Site::Gw)?;
        let back = vm.hears("INVITE", "c=IN IP4 10.71.3.31")?;
        vm.answers(&back, Site::Vm1, Some(7_000))?;
        vm.hears("ACK", "")?;
        let status = call.sidestep.process().wait(seconds(10))?;
        ensure!(status.success(), "{status}");
        Ok(())
    });
}

/// What the gateway says by that connection reaches the VM, by one that is made to it, and
/// the answer finds back.
#[test]
fn what_comes_by_it_goes_on() {
    in_lab(|lab| {
        let mut call = Call::cut_off(lab)?;
        let mut gateway = call.moves()?;
        let (vm_ip, gateway_ip) = (Site::Vm1.ip(), Site::Gw.ip());
        gateway.says(&format!(
            "BYE sip:{vm_ip}:5060;transport=tcp SIP/2.0\n\
             Via: SIP/2.0/TCP {gateway_ip}:5060;branch=z9hG4bKbye\nMax-Forwards: 70\n\
             From: <sip:100@{gateway_ip}>;tag=far\nTo: <sip:desk@{vm_ip}>;tag=near\n\
             Call-ID: reconnect\nCSeq: 1 BYE\nContent-Length: 0\n\n"
        ))?;
        let mut vm = Agent::called_by(&call.at_vm, Site::Gw)?;
        let bye = vm.hears("BYE", "CSeq: 1 BYE")?;
        vm.answers(&bye, Site::Vm1, None)?;
        gateway.hears("SIP/2.0 200", "CSeq: 1 BYE")?;
        wait_over(lab, &call.sidestep)?;
        // Each end closes its own; none is left.
        drop((vm, gateway));
        sidestep_tests::wait::wait_for("connections to end", seconds(5), || {
            let open = call.sidestep.counter(lab, "daemon-connections-open").ok()?;
            (open == 0).then_some(())
        })
    });
}
