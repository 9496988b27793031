//! A VM that floods: what the daemon holds grows to its limit and no further, calls
//! beyond it pass untouched, and other VMs' calls are none the wiser.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sidestep_abi::map;
use sidestep_tests::bench::memory;
use sidestep_tests::lab::{Lab, Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::pinned;
use sidestep_tests::stage::{
    SET_UP, expect_reason, phone, sip, stock_client, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// INVITEs of a flood, each of a call of its own.
const FLOOD: usize = 20_000;
/// Calls of a VM that are followed.
const LIMIT: usize = 300;
/// INVITEs that are under way at once: no more than any queue takes.
const AT_ONCE: usize = 20;
/// Most that a flood may cost, octets.
const MOST: u64 = 4 << 20;
/// Files that a daemon may open for the first calls, and keep.
const FILES: usize = 8;

fn invite(flood: usize, number: usize) -> String {
    let vm = Site::Vm1.ip();
    let body = format!(
        "v=0\r\no=vm 1 1 IN IP4 {vm}\r\ns=-\r\nc=IN IP4 {vm}\r\nt=0 0\r\n\
         m=audio 7000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    );
    format!(
        "INVITE sip:100@{gw} SIP/2.0\r\nVia: SIP/2.0/UDP {vm}:5060;branch=z9hG4bK{flood}x{number}\r\n\
         From: <sip:vm@{vm}>;tag=f{number}\r\nTo: <sip:100@{gw}>\r\nCall-ID: {flood}-{number}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:vm@{vm}:5060>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
        gw = Site::Gw.ip(),
    )
}

fn files(sidestep: &Sidestep) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", sidestep.pid()))?.count())
}

fn socket(lab: &Lab, site: Site) -> Result<UdpSocket> {
    let socket = lab
        .namespace(site)
        .enter(move || UdpSocket::bind(sip(site)))??;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(socket)
}

/// Sends a flood, a few at a time so that no queue overflows, and returns the Call-IDs
/// of those that came as they were sent. Every INVITE arrives.
fn flood(vm: &UdpSocket, gateway: &UdpSocket, flood: usize) -> Result<BTreeSet<usize>> {
    let mut untouched = BTreeSet::new();
    let mut buffer = [0; 4_096];
    let numbers: Vec<usize> = (0..FLOOD).collect();
    for some in numbers.chunks(AT_ONCE) {
        for number in some {
            vm.send_to(invite(flood, *number).as_bytes(), sip(Site::Gw))?;
        }
        for _ in some {
            let (length, from) = gateway.recv_from(&mut buffer).context("INVITEs are lost")?;
            ensure!(from == sip(Site::Vm1).into(), "from {from}");
            let got = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let id = got.lines().find_map(|line| line.strip_prefix("Call-ID: "));
            let number = id.and_then(|id| id.split_once('-')?.1.parse().ok());
            let number: usize = number.with_context(|| got.clone())?;
            if got == invite(flood, number) {
                untouched.insert(number);
            }
        }
    }
    Ok(untouched)
}

/// The gateway refuses them all, and the VM says that it has understood.
fn refuse(vm: &UdpSocket, gateway: &UdpSocket, flood: usize) -> Result<()> {
    let mut buffer = [0; 4_096];
    let numbers: Vec<usize> = (0..FLOOD).collect();
    for some in numbers.chunks(AT_ONCE) {
        for number in some {
            let invite = invite(flood, *number);
            let head: Vec<&str> = invite.lines().collect();
            let refusal = format!(
                "SIP/2.0 486 Busy Here\r\n{}\r\n{}\r\n{};tag=g\r\n{}\r\n{}\r\nContent-Length: 0\r\n\r\n",
                head[1], head[2], head[3], head[4], head[5]
            );
            gateway.send_to(refusal.as_bytes(), sip(Site::Vm1))?;
        }
        for _ in some {
            let (length, _) = vm.recv_from(&mut buffer).context("refusals are lost")?;
            let got = String::from_utf8_lossy(&buffer[..length]).into_owned();
            ensure!(got.starts_with("SIP/2.0 486 "), "{got}");
            let head: Vec<&str> = got.lines().collect();
            let ack = format!(
                "ACK sip:100@{gw} SIP/2.0\r\n{}\r\n{}\r\n{}\r\n{}\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\
                 Content-Length: 0\r\n\r\n",
                head[1],
                head[2],
                head[3],
                head[4],
                gw = Site::Gw.ip(),
            );
            vm.send_to(ack.as_bytes(), sip(Site::Gw))?;
            gateway.recv_from(&mut buffer).context("an ACK is lost")?;
        }
    }
    Ok(())
}

/// 20,000 INVITEs that nobody answers: 300 are followed, the others pass as they came,
/// and another VM calls meanwhile. Refused, they are all over; and a second flood finds
/// the room that the first had.
#[test]
fn a_flood_of_invites_has_a_bound() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["calls"]["max_per_vm"] = LIMIT.into();
        })?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let _other = stock_client(lab, &sidestep, Site::Tc2, "soft2", Site::Vm2)?;
        let (memory_before, files_before) = (memory(sidestep.pid())?, files(&sidestep)?);
        let mut maps_before = pinned::entries(lab)?;
        let (mut grown, mut open) = (Vec::new(), Vec::new());
        for round in 1..=2 {
            let (vm, gateway) = (socket(lab, Site::Vm1)?, socket(lab, Site::Gw)?);
            let began = Instant::now();
            let untouched = flood(&vm, &gateway, round)?;
            println!("{FLOOD} INVITEs in {:.1} s", began.elapsed().as_secs_f64());
            ensure!(
                untouched == (LIMIT..FLOOD).collect(),
                "{} INVITEs were changed, not the first {LIMIT}",
                FLOOD - untouched.len()
            );
            let counted = sidestep.counter(lab, "daemon-calls-untouched")?;
            ensure!(
                counted == ((FLOOD - LIMIT) * round) as u64,
                "{counted} calls were counted as untouched"
            );
            let calls = sidestep.query(lab, "calls")?;
            let limited = calls.iter().filter(|call| call["reason"] == "limit");
            let limited: Vec<_> = limited.collect();
            ensure!(
                limited.len() >= 100
                    && limited
                        .iter()
                        .all(|call| call["state"] == "untouched" && call["path"] == "vm"),
                "{} calls say limit: {:?}",
                limited.len(),
                calls.last()
            );
            grown.push(memory(sidestep.pid())?.saturating_sub(memory_before));
            // Another VM's call, at the height of it.
            if round == 1 {
                another_vm_calls(lab, &sidestep)?;
            }
            refuse(&vm, &gateway, round)?;
            wait_over(lab, &sidestep)?;
            open.push(files(&sidestep)?);
            if round == 1 {
                // Whose frames were seen is remembered.
                let seen = pinned::entries(lab)?.remove(map::NEIGHBOURS);
                maps_before.insert(map::NEIGHBOURS.into(), seen.unwrap_or_default());
            }
            let maps = pinned::entries(lab)?;
            ensure!(maps == maps_before, "maps: {maps_before:?}, now {maps:?}");
        }
        println!(
            "{LIMIT} of them followed: {} KiB, and {} KiB after a second flood",
            grown[0] / 1024,
            grown[1] / 1024
        );
        ensure!(grown.iter().all(|octets| *octets < MOST), "{grown:?}");
        ensure!(
            grown[1] <= grown[0] + MOST / 10,
            "a second flood found no room of the first: {grown:?}"
        );
        ensure!(
            open[0] <= files_before + FILES && open[1] <= open[0],
            "{open:?} files, and {files_before} before"
        );
        Ok(())
    });
}

/// The second VM's softphone calls, past its VM.
fn another_vm_calls(lab: &Lab, sidestep: &Sidestep) -> Result<()> {
    let mut far = Sipp::start(lab, Site::Tc1, &Run::new("answer"))?;
    let mut other = phone(lab, Site::Vm2)?;
    other.dial(&format!("sip:100@{}", sip(Site::Tc1)))?;
    other.wait_established(1, SET_UP)?;
    let call = sidestep.wait_call(lab, "direct")?;
    expect_reason(&call, None)?;
    ensure!(call["vm"] == "desk-2", "{call}");
    other.hang_up()?;
    far.finish(seconds(5))
}
