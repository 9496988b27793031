//! Signalling over IPv6 through the door, of a VM that has both versions.

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use anyhow::{Context, Result, ensure};
use sidestep_tests::connection::{Ends, accept, cross, message, read};
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::thin_client::ThinClient;
use sidestep_tests::stage::{GATEWAY_TONE, SET_UP, expect_reason, thin_client, wait_over};
use sidestep_tests::wait::{seconds, wait_for};

const VM: Ipv6Addr = Ipv6Addr::new(0xfd71, 1, 0, 0, 0, 0, 0, 0x11);
const THIN_CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd71, 2, 0, 0, 0, 0, 0, 0x21);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd71, 3, 0, 0, 0, 0, 0, 0x31);

fn at(address: Ipv6Addr) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(address), 5060)
}

fn start(lab: &Lab) -> Result<Sidestep> {
    lab.add_ipv6()?;
    Sidestep::start_with(lab, &[], |config| {
        config["vms"][0]["address6"] = VM.to_string().into();
    })
}

/// Datagrams in both directions, one of them larger than the MTU.
#[test]
fn datagrams_arrive_byte_for_byte() {
    in_lab(|lab| {
        let sidestep = start(lab)?;
        let open = |site: Site| -> Result<UdpSocket> {
            let socket = lab
                .namespace(site)
                .enter(|| UdpSocket::bind("[::]:5060"))??;
            socket.set_read_timeout(Some(seconds(3)))?;
            Ok(socket)
        };
        let (near, far) = (open(Site::Vm1)?, open(Site::Gw)?);
        for body in [10, 4_000] {
            let sent = message("six", body);
            for (from, to, src, dst) in [(&near, &far, VM, GATEWAY), (&far, &near, GATEWAY, VM)] {
                from.send_to(&sent, at(dst))?;
                let mut buffer = vec![0; 65_536];
                let (length, peer) = to
                    .recv_from(&mut buffer)
                    .with_context(|| format!("{body} octets to {dst}"))?;
                ensure!(buffer[..length] == sent, "{body} octets were changed");
                ensure!(peer == at(src), "it came from {peer}");
            }
        }
        let received = sidestep.counter(lab, "daemon-received")?;
        ensure!(received == 4, "{received} messages were read");
        Ok(())
    });
}

/// Connections in both directions, and IPv4 beside them.
#[test]
fn streams_arrive_as_they_were_sent() {
    in_lab(|lab| {
        let sidestep = start(lab)?;
        let stream: Vec<u8> = (0..4).flat_map(|_| message("six", 40_000)).collect();
        for (from, to, src, dst) in [
            (Site::Vm1, Site::Gw, VM, GATEWAY),
            (Site::Gw, Site::Vm1, GATEWAY, VM),
        ] {
            let listener = lab
                .namespace(to)
                .enter(|| TcpListener::bind("[::]:5060"))??;
            listener.set_nonblocking(true)?;
            let caller = lab
                .namespace(from)
                .enter(move || TcpStream::connect_timeout(&at(dst), seconds(5)))??;
            let (called, peer) = accept(&listener)?;
            ensure!(peer.ip() == IpAddr::V6(src), "{peer} is not {src}");
            let mut ends = Ends { caller, called };
            cross(&mut ends.caller, &mut ends.called, &stream, 9_000)?;
            cross(&mut ends.called, &mut ends.caller, &stream, 9_000)?;
        }
        let mut four = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut four.caller, &mut four.called, &stream, 9_000)?;
        wait_for("three connections", seconds(5), || {
            let accepted = sidestep.counter(lab, "daemon-connections-accepted").ok()?;
            (accepted == 3).then_some(())
        })
    });
}

/// Calls of a softphone in the VM to one that is the gateway, and back. `six`: the two
/// have IPv6 alone.
struct Phones {
    sidestep: Sidestep,
    tc: ThinClient,
    vm: Baresip,
    gateway: Baresip,
    six: bool,
    /// Calls so far.
    calls: usize,
}

impl Phones {
    /// `media`: where the thin client takes its media.
    fn start(lab: &Lab, six: bool, media: IpAddr, transport: &str) -> Result<Self> {
        let sidestep = start(lab)?;
        let tc = thin_client(lab, &sidestep, |setup| setup.media_address = Some(media))?;
        let own = |address: Ipv6Addr| baresip::Setup {
            transport,
            address6: six.then_some(address),
            ..baresip::Setup::default()
        };
        let vm = Baresip::start(lab, Site::Vm1, &own(VM))?;
        let gateway = baresip::Setup {
            user: "100",
            auto_answer: true,
            tone: GATEWAY_TONE,
            ..own(GATEWAY)
        };
        let gateway = Baresip::start(lab, Site::Gw, &gateway)?;
        Ok(Self {
            sidestep,
            tc,
            vm,
            gateway,
            six,
            calls: 0,
        })
    }

    fn uri(&self, user: &str, (site, six): (Site, Ipv6Addr)) -> String {
        match self.six {
            true => format!("sip:{user}@[{six}]"),
            false => format!("sip:{user}@{}", site.ip()),
        }
    }

    /// A call of the VM's and one to it; thin client and gateway hear each other, and the
    /// kernel counts both ways.
    fn call_both_ways(&mut self, lab: &Lab, path: &str) -> Result<()> {
        self.vm.dial(&self.uri("100", (Site::Gw, GATEWAY)))?;
        self.heard(lab, path)?;
        self.gateway.hang_up()?;
        wait_over(lab, &self.sidestep)?;
        self.gateway.dial(&self.uri("desk", (Site::Vm1, VM)))?;
        self.vm.wait_for("CALL_INCOMING", SET_UP)?;
        self.vm.accept()?;
        self.heard(lab, path)?;
        self.vm.hang_up()?;
        wait_over(lab, &self.sidestep)
    }

    fn heard(&mut self, lab: &Lab, path: &str) -> Result<()> {
        self.calls += 1;
        self.vm.wait_established(self.calls, SET_UP)?;
        let call = self.sidestep.wait_call(lab, path)?;
        expect_reason(&call, None)?;
        let what = "the gateway's tone at the thin client";
        self.tc.wait_for(what, SET_UP, |report| {
            let tone = report["calls"].as_array()?.last()?["tone_hz"].as_f64()?;
            ((tone - GATEWAY_TONE).abs() < 15.0).then_some(())
        })?;
        // By the gateway's RTCP, which comes every few seconds: once is enough.
        let what = "the gateway to say that it receives";
        self.tc.wait_for(what, SET_UP, |report| {
            let rtcp = &report["calls"].as_array()?.last()?["rtcp"];
            (self.calls > 1 || rtcp["peer_lost"] == 0).then_some(())
        })?;
        for leg in ["tc->gateway", "gateway->tc"] {
            let what = format!("packets of {leg}");
            self.sidestep
                .wait_for_row(lab, "flows", &what, SET_UP, |row| {
                    row["call"] == call["id"]
                        && row["leg"] == leg
                        && row["rtcp"] == false
                        && row["kind"] == path
                        && row["packets"].as_u64() > Some(50)
                })?;
        }
        Ok(())
    }
}

/// Everyone has IPv6, over UDP and over TCP.
#[test]
fn calls_over_ipv6_go_direct() {
    in_lab(|lab| {
        let mut phones = Phones::start(lab, true, THIN_CLIENT.into(), "udp")?;
        phones.call_both_ways(lab, "direct")
    });
}

/// VM and gateway have IPv6, the thin client has not: an anchor at each of the VM's
/// addresses joins them.
#[test]
fn a_thin_client_with_ipv4_is_steered_to_a_gateway_with_ipv6() {
    in_lab(|lab| {
        let mut phones = Phones::start(lab, true, Site::Tc1.ip().into(), "tcp")?;
        phones.call_both_ways(lab, "steered")
    });
}

/// The other way round.
#[test]
fn a_thin_client_with_ipv6_is_steered_to_a_gateway_with_ipv4() {
    in_lab(|lab| {
        let mut phones = Phones::start(lab, false, THIN_CLIENT.into(), "udp")?;
        phones.call_both_ways(lab, "steered")
    });
}

/// A media gateway controller's Add, as a datagram and in TPKT (H.248.1 Annex D): each is
/// a call, and arrives as it was sent where nobody takes it over.
#[test]
fn h248_is_followed() {
    let at = |address: Ipv6Addr| SocketAddr::new(IpAddr::V6(address), 2944);
    let add = |transaction: u32| {
        format!(
            "MEGACO/1 [{VM}]:2944 Transaction = {transaction} {{ Context = $ {{ Add = $ {{ \
             Media {{ Stream = 1 {{ Local {{\nv=0\nc=IN IP6 $\nm=audio $ RTP/AVP 0\n}}, \
             Remote {{\nv=0\nc=IN IP6 {VM}\nm=audio 7000 RTP/AVP 0\n}} }} }} }} }} }}\n"
        )
        .into_bytes()
    };
    in_lab(|lab| {
        let sidestep = start(lab)?;
        let open = |site: Site| lab.namespace(site).enter(|| UdpSocket::bind("[::]:2944"));
        let (near, far) = (open(Site::Vm1)??, open(Site::Gw)??);
        far.set_read_timeout(Some(seconds(3)))?;
        near.send_to(&add(1), at(GATEWAY))?;
        let mut buffer = vec![0; 4_096];
        let (length, peer) = far.recv_from(&mut buffer)?;
        ensure!(buffer[..length] == add(1) && peer == at(VM), "from {peer}");

        let listener = lab
            .namespace(Site::Gw)
            .enter(|| TcpListener::bind("[::]:2944"))??;
        listener.set_nonblocking(true)?;
        let mut caller = lab
            .namespace(Site::Vm1)
            .enter(move || TcpStream::connect_timeout(&at(GATEWAY), seconds(5)))??;
        let (mut called, _) = accept(&listener)?;
        let length = u16::try_from(add(2).len() + 4)?.to_be_bytes();
        let packet = [&[3, 0], &length[..], &add(2)].concat();
        caller.write_all(&packet)?;
        called.set_read_timeout(Some(seconds(3)))?;
        ensure!(read(&mut called, packet.len())? == packet);

        wait_for("two calls", seconds(5), || {
            let calls = sidestep.query(lab, "calls").ok()?;
            let of_gateway = calls.iter().filter(|call| {
                call["protocol"] == "h248"
                    && call["gateway"] == at(GATEWAY).to_string()
                    && call["reason"] == "tc-not-registered"
            });
            (of_gateway.count() == 2).then_some(())
        })
    });
}
