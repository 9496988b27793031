//! Signalling crosses the door whole: large, odd or broken, from several VMs at
//! once, whichever way they are attached.

use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket,
};
use sidestep_tests::lab::{Namespace, Site, in_lab};
use sidestep_tests::peers::baresip::{self, Baresip};
use sidestep_tests::peers::capture::Capture;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::stage::{
    GATEWAY_TONE, SET_UP, TC_TONE, call_gateway, hear, invite, phone, sip, stock_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// Makes an INVITE of more than 4,000 octets: three packets of an MTU of 1,500.
fn padding() -> String {
    "x".repeat(3600)
}

/// Fragments are gathered, and leave as fragments again: both directions, a
/// bridged and a routed VM.
#[test]
fn invite_larger_than_the_mtu_arrives_byte_for_byte() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let gw_wire = Capture::start(lab, Site::Gw, "eth0")?;
        let padding = padding();
        let keys = [("padding", padding.as_str())];
        let calling = |to: Site| Run {
            keys: &keys,
            options: &["-d", "200"],
            ..Run::new("call_hangup").calling(sip(to))
        };
        for vm in [Site::Vm1, Site::Vm3] {
            let vm_wire = Capture::start(lab, vm, "eth0")?;
            for (from, to) in [(vm, Site::Gw), (Site::Gw, vm)] {
                let mut called = Sipp::start(lab, to, &Run::new("answer"))?;
                let mut caller = Sipp::start(lab, from, &calling(to))?;
                caller.finish(seconds(10))?;
                called.finish(seconds(5))?;
                let at_vm = invite(&vm_wire, from, to)?;
                let at_gw = invite(&gw_wire, from, to)?;
                let what = format!("INVITE from {} to {}", from.name(), to.name());
                ensure!(
                    at_vm.payload.len() > 4000,
                    "{what}: {} octets",
                    at_vm.payload.len()
                );
                ensure!(
                    at_vm.fragments == 3 && at_gw.fragments == 3,
                    "{what}: fragments"
                );
                ensure!(at_vm.payload == at_gw.payload, "{what}: changed on its way");
                wait_over(lab, &sidestep).context(what)?;
            }
        }
        // It was the daemon that carried them.
        let taken = sidestep.counter(lab, "taken-fragment")?;
        ensure!(taken >= 8, "{taken} fragments taken");
        Ok(())
    });
}

/// What is not SIP, or SIP that nobody knows, goes as it came.
#[test]
fn message_that_is_not_understood_arrives_byte_for_byte() {
    let messages: [&[u8]; 8] = [
        b"FROBNICATE sip:desk@10.71.1.11 SIP/2.0\r\nVia: SIP/2.0/UDP 10.71.3.31;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\nt: <sip:c@d>\r\ni: odd-1\r\nCSeq: 1 FROBNICATE\r\nl: 0\r\n\r\n",
        b"INVITE sip:desk@10.71.1.11 SIP/2.0\r\nno colon here\r\n\r\n",
        b"INVITE\r\n\r\n",
        b"\r\n\r\n",
        b"\x00\x01\x02\xff\xfe",
        b"SIP/2.0 two hundred OK\r\n\r\n",
        b"OPTIONS sip:desk@10.71.1.11 SIP/2.0\r\nVia: SIP/2.0/UDP 10.71.3.31\r\n ;branch=z9hG4bK2\r\nFrom: \"\xff\xfe\" <sip:a@b>;tag=1\r\nTo: <tel:+49>\r\nCall-ID: odd-2\r\nCSeq: 1 OPTIONS\r\nContent-Length: 99\r\n\r\nshort",
        b"INVITE sip:desk@10.71.1.11 SIP/2.0\nVia: SIP/2.0/UDP 10.71.3.31;branch=z9hG4bK3\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: odd-3\nCSeq: 1 INVITE\nContent-Type: application/sdp\nContent-Length: 4\n\nv=0\n",
    ];
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        for vm in [Site::Vm1, Site::Vm3] {
            let near = bind(&lab.namespace(vm))?;
            let far = bind(&lab.namespace(Site::Gw))?;
            for (number, message) in messages.iter().enumerate() {
                for (from, to, address) in [(&far, &near, vm), (&near, &far, Site::Gw)] {
                    from.send_to(message, sip(address))?;
                    let mut buffer = [0; 2048];
                    let (length, sender) = to
                        .recv_from(&mut buffer)
                        .with_context(|| format!("message {number} to {}", address.name()))?;
                    ensure!(
                        &buffer[..length] == *message,
                        "message {number} to {} became {:?}",
                        address.name(),
                        String::from_utf8_lossy(&buffer[..length])
                    );
                    ensure!(sender.port() == 5060, "message {number} came from {sender}");
                }
            }
        }
        ensure!(sidestep.process().ended().is_none(), "the daemon is gone");
        let taken = sidestep.counter(lab, "taken-from-vm")?;
        ensure!(taken >= 16, "{taken} messages taken");
        Ok(())
    });
}

fn bind(space: &Namespace) -> Result<UdpSocket> {
    let socket = space.enter(|| UdpSocket::bind("0.0.0.0:5060"))??;
    socket.set_read_timeout(Some(seconds(3)))?;
    Ok(socket)
}

/// Three VMs, two on the bridge and one routed, each with a call and a thin
/// client of its own at the same time.
#[test]
fn three_vms_call_at_once() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let tc1 = Capture::start(lab, Site::Tc1, "eth0")?;
        let gw = Capture::start(lab, Site::Gw, "eth0")?;
        let _tc1 = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        let _tc2 = stock_client(lab, &sidestep, Site::Tc2, "soft2", Site::Vm2)?;
        let run = Run {
            calls: 3,
            ..Run::new("answer")
        };
        let mut gateway = Sipp::start(lab, Site::Gw, &run)?;
        let mut phones: Vec<Baresip> = Vec::new();
        for vm in [Site::Vm1, Site::Vm2, Site::Vm3] {
            phones.push(phone(lab, vm)?);
        }
        for phone in &mut phones {
            phone.dial(&format!("sip:100@{}", sip(Site::Gw)))?;
        }
        for phone in &mut phones {
            phone.wait_established(1, SET_UP)?;
        }
        for (vm, path) in [("desk-1", "direct"), ("desk-2", "direct"), ("desk-3", "vm")] {
            sidestep.wait_for_row(lab, "calls", vm, seconds(5), |row| {
                row["vm"] == vm && row["path"] == path && row["state"] == "up"
            })?;
        }
        hear(&gw, Site::Tc1.ip(), Site::Gw.ip(), TC_TONE)?;
        hear(&gw, Site::Tc2.ip(), Site::Gw.ip(), TC_TONE)?;
        hear(&tc1, Site::Gw.ip(), Site::Tc1.ip(), GATEWAY_TONE)?;
        for vm in [Site::Vm1, Site::Vm2] {
            let through = gw.so_far()?.rtp_between(vm.ip(), Site::Gw.ip()).packets;
            ensure!(
                through == 0,
                "{through} RTP packets came from {}",
                vm.name()
            );
        }
        for phone in &mut phones {
            phone.hang_up()?;
        }
        gateway.finish(seconds(5))
    });
}

/// A VM calls its neighbour on the same host: both taps take it, and it is one
/// call for each.
#[test]
fn vm_calls_vm_on_the_same_host() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        for (from, to) in [(Site::Vm1, Site::Vm2), (Site::Vm3, Site::Vm1)] {
            let mut caller = phone(lab, from)?;
            let setup = baresip::Setup {
                user: "colleague",
                ..baresip::Setup::default()
            };
            let mut called = Baresip::start(lab, to, &setup)?;
            caller.dial(&format!("sip:colleague@{}", sip(to)))?;
            called.wait_for("CALL_INCOMING", SET_UP)?;
            called.accept()?;
            caller.wait_established(1, SET_UP)?;
            called.wait_established(1, SET_UP)?;
            sidestep.wait_call(lab, "vm")?;
            caller.hang_up()?;
            called.wait_for("CALL_CLOSED", seconds(5))?;
            wait_over(lab, &sidestep)?;
        }
        Ok(())
    });
}

/// The VM is restarted: its tap goes and comes back, and the next call is taken
/// again.
#[test]
fn tap_that_returns_is_taken_again() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        lab.remove_tap(Site::Vm1)?;
        lab.restore_tap(Site::Vm1)?;
        sidestep.wait_attached(lab, "tap1")?;
        let (mut gw, mut vm) = call_gateway(lab)?;
        sidestep.wait_call(lab, "direct")?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// SCTP is not looked into: it arrives as it was sent, and its VM says so.
#[test]
fn sctp_passes_and_its_vm_says_so() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let raw = || -> Result<OwnedFd> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let protocol = SockProtocol::Sctp;
            Ok(socket(AddressFamily::Inet, SockType::Raw, flags, protocol)?)
        };
        let here = lab.namespace(Site::Vm1).enter(raw)??;
        let there = lab.namespace(Site::Gw).enter(raw)??;
        // From port 40,001 to that of H.248; an INIT without parameters (RFC 9260
        // §3.3.2) whose checksum nobody looks at.
        let ports = [40_001_u16.to_be_bytes(), 2944_u16.to_be_bytes()].concat();
        let init = [&ports[..], &[0; 8], &[1, 0, 0, 20], &[7; 16]].concat();
        let to = SockaddrIn::from(SocketAddrV4::new(Site::Gw.ip(), 0));
        sendto(here.as_raw_fd(), &init, &to, MsgFlags::empty())?;
        let mut buffer = [0; 100];
        let length = wait_for("the INIT at the gateway", seconds(5), || {
            recv(there.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()
        })?;
        // Behind its IP header.
        ensure!(buffer[20..length] == init, "changed on its way");
        ensure!(sidestep.counter(lab, "signalling-sctp")? == 1);
        let vms = sidestep.query(lab, "vms")?;
        let seen = &vms[0]["unread"][0];
        ensure!(
            seen["reason"] == "signalling-sctp" && seen["begun"] == 1,
            "{vms:?}"
        );
        Ok(())
    });
}
