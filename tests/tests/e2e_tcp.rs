//! Signalling over TCP through the door: streams arrive as they were sent, by
//! connections that look like the other side's own; calls in them go direct; and what
//! was there before Sidestep, or outlives it, is not harmed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use sidestep_tests::connection::{Ends, accept, connect, cross, listen, message, read};
use sidestep_tests::lab::{Site, in_lab};
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::peers::sipp::{Run, Sipp};
use sidestep_tests::sockets;
use sidestep_tests::stage::{
    SET_UP, VM_TONE, Wires, expect_reason, hear, phone, sip, stock_client, thin_client, wait_over,
};
use sidestep_tests::wait::{seconds, wait_for};

/// Waits until the other side has reset the connection; how long that took.
fn wait_reset(end: &mut TcpStream, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    end.set_read_timeout(Some(limit))?;
    match end.read(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(started.elapsed()),
        other => bail!("no reset within {limit:?} but {other:?}"),
    }
}

/// Every shape of a stream, in both directions of connections that either side has
/// made, of a bridged and of a routed VM.
#[test]
fn streams_arrive_as_they_were_sent() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let two = [message("one", 10), message("two", 20)].concat();
        let ping = [b"\r\n\r\n".to_vec(), message("three", 0), b"\r\n".to_vec()].concat();
        let large = [message("four", 300_000), message("five", 5)].concat();
        let broken = b"INVITE sip:x SIP/2.0\r\nContent-Length: what\r\n\r\nrest".to_vec();
        let mut connections = 0;
        for vm in [Site::Vm1, Site::Vm3] {
            for (from, to) in [(vm, Site::Gw), (Site::Gw, vm)] {
                let mut ends = Ends::open(lab, from, to)?;
                connections += 1;
                for (bytes, segment) in [
                    (&ping, ping.len()),
                    (&two, two.len()),
                    (&two, 1),
                    (&large, 10_000),
                    (&broken, broken.len()),
                    // The connection goes on as it is from here.
                    (&two, 7),
                ] {
                    let what = format!("{} to {}", from.name(), to.name());
                    cross(&mut ends.caller, &mut ends.called, bytes, segment).context(what)?;
                    let what = format!("{} to {}", to.name(), from.name());
                    cross(&mut ends.called, &mut ends.caller, bytes, segment).context(what)?;
                }
            }
        }
        // It was the daemon that carried them, and counted what it left alone.
        let accepted = sidestep.counter(lab, "daemon-connections-accepted")?;
        ensure!(accepted == connections, "{accepted} connections accepted");
        for (what, times) in [
            ("a-message-over-the-size-limit", 2 * connections),
            ("Content-Length-is-not-a-number", 2 * connections),
        ] {
            let counted = sidestep.counter(lab, &format!("daemon-malformed-{what}"))?;
            ensure!(counted == times, "{what}: {counted} times");
        }
        // All ends are closed: nothing is left behind.
        wait_for("connections to end", seconds(5), || {
            let open = sidestep.counter(lab, "daemon-connections-open").ok()?;
            (open == 0).then_some(())
        })?;
        Ok(())
    });
}

/// H.248 over TCP has its own framing (H.248.1 Annex D.2), text and binary; what is
/// not framed so passes too.
#[test]
fn h248_crosses_in_its_own_framing() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let packet = |message: &[u8]| {
            let length = (message.len() + 4) as u16;
            [&[3, 0], &length.to_be_bytes()[..], message].concat()
        };
        let text = packet(b"MEGACO/1 [10.71.1.11]:2944 Transaction = 1 {}");
        let stream = [text.clone(), packet(&[0x30; 9_000]), text].concat();
        for port in [2944, 2945] {
            let mut ends = Ends::open_at(lab, Site::Vm1, Site::Gw, port)?;
            for segment in [1_000, 7, stream.len()] {
                cross(&mut ends.caller, &mut ends.called, &stream, segment)?;
                cross(&mut ends.called, &mut ends.caller, &stream, segment)?;
            }
            let odd = b"not a TPKT at all";
            cross(&mut ends.caller, &mut ends.called, odd, odd.len())?;
            cross(&mut ends.caller, &mut ends.called, &stream, 900)?;
        }
        ensure!(sidestep.counter(lab, "daemon-connections-accepted")? == 2);
        Ok(())
    });
}

/// A ping is passed on at once, and so is its pong (RFC 5626 §4.4.1).
#[test]
fn keep_alives_do_not_wait() {
    in_lab(|lab| {
        let _sidestep = Sidestep::start(lab)?;
        let mut ends = Ends::open(lab, Site::Vm1, Site::Gw)?;
        for _ in 0..3 {
            ends.caller.write_all(b"\r\n\r\n")?;
            ensure!(read(&mut ends.called, 4)? == b"\r\n\r\n");
            ends.called.write_all(b"\r\n")?;
            ensure!(read(&mut ends.caller, 2)? == b"\r\n");
        }
        Ok(())
    });
}

/// One side says that it sends no more, and goes on reading.
#[test]
fn half_close_is_passed_on() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        for (from, to) in [(Site::Vm1, Site::Gw), (Site::Gw, Site::Vm1)] {
            let mut ends = Ends::open(lab, from, to)?;
            let (request, answer) = (message("last", 100), message("answer", 50_000));
            ends.caller.write_all(&request)?;
            // Half a message is all that there will be of it.
            ends.caller.write_all(&request[..40])?;
            ends.caller.shutdown(Shutdown::Write)?;
            let mut got = Vec::new();
            ends.called.read_to_end(&mut got)?;
            ensure!(got == [&request[..], &request[..40]].concat());
            ends.called.write_all(&answer)?;
            ends.called.shutdown(Shutdown::Write)?;
            got.clear();
            ends.caller.read_to_end(&mut got)?;
            ensure!(got == answer, "{} bytes of the answer", got.len());
        }
        let ended = wait_for("both to end", seconds(5), || {
            let ended = sidestep.counter(lab, "daemon-connections-ended").ok()?;
            (ended == 2).then_some(())
        });
        ended.with_context(|| format!("{:?}", sidestep.query(lab, "counters")))
    });
}

/// A reset of one side is a reset for the other; a gateway that does not listen is
/// one that resets.
#[test]
fn reset_is_passed_on() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        for (from, to) in [(Site::Vm1, Site::Gw), (Site::Gw, Site::Vm1)] {
            let mut ends = Ends::open(lab, from, to)?;
            cross(&mut ends.caller, &mut ends.called, &message("x", 10), 500)?;
            // Bytes that are not read make closing a reset (RFC 2525 §2.17).
            ends.called.write_all(b"\r\n\r\n")?;
            wait_for("bytes", seconds(5), || {
                ends.caller.peek(&mut [0; 4]).ok().filter(|n| *n == 4)
            })?;
            drop(ends.caller);
            wait_reset(&mut ends.called, seconds(5))?;
        }
        let mut refused = connect(lab, Site::Vm1, sip(Site::Gw))?;
        wait_reset(&mut refused, seconds(5))?;
        let broken = sidestep.counter(lab, "daemon-connections-broken")?;
        ensure!(broken == 3, "{broken} broken");
        Ok(())
    });
}

/// A side that does not read stops the other one; nothing is lost, and the daemon
/// holds no more than its buffers.
#[test]
fn slow_peer_holds_the_other_up() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let mut ends = Ends::open(lab, Site::Vm1, Site::Gw)?;
        let before = resident_kb(sidestep.pid())?;
        ends.caller.set_nonblocking(true)?;
        let batch = message("slow", 60_000);
        let mut sent = Vec::new();
        let mut stalled = Instant::now();
        // Until nothing more is taken for a second.
        while stalled.elapsed() < seconds(1) {
            ensure!(sent.len() < 100_000_000, "{} bytes taken", sent.len());
            let rest = &batch[sent.len() % batch.len()..];
            match ends.caller.write(rest) {
                Ok(length) => {
                    sent.extend_from_slice(&rest[..length]);
                    stalled = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        let grown = resident_kb(sidestep.pid())?.saturating_sub(before);
        ensure!(grown < 4_096, "the daemon has grown by {grown} kB");
        // Others are served meanwhile.
        let mut others = Ends::open(lab, Site::Vm2, Site::Tc1)?;
        cross(&mut others.caller, &mut others.called, &batch, 5_000)?;
        // The message that was cut, to its end.
        ends.caller.set_nonblocking(false)?;
        let rest = batch[sent.len() % batch.len()..].to_vec();
        sent.extend_from_slice(&rest);
        let mut caller = ends.caller.try_clone()?;
        let writer = std::thread::spawn(move || caller.write_all(&rest));
        let got = read(&mut ends.called, sent.len())?;
        writer.join().expect("no panic")?;
        ensure!(got == sent, "{} bytes changed", sent.len());
        Ok(())
    });
}

/// Who says nothing for ten minutes is asked ten times, a minute apart, whether he is
/// there; whoever does not answer then is given up, and the other end hears of it. (The
/// sockets are the daemon's own; only the minutes are made seconds.)
#[test]
fn a_silent_peer_that_is_gone_is_given_up() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        for gone in [Site::Gw, Site::Vm1] {
            let mut ends = Ends::open(lab, Site::Vm1, Site::Gw)?;
            let bytes = message("there", 10);
            cross(&mut ends.caller, &mut ends.called, &bytes, 100)?;
            let between = [Site::Vm1, Site::Gw].map(Site::ip);
            let sockets = sockets::connected(sidestep.pid(), &between)?;
            ensure!(sockets.len() == 2, "{} sockets", sockets.len());
            for socket in &sockets {
                ensure!(getsockopt(socket, sockopt::KeepAlive)?);
                ensure!(getsockopt(socket, sockopt::TcpKeepIdle)? == 600);
                ensure!(getsockopt(socket, sockopt::TcpKeepInterval)? == 60);
                ensure!(getsockopt(socket, sockopt::TcpKeepCount)? == 10);
                setsockopt(socket, sockopt::TcpKeepInterval, &1)?;
                setsockopt(socket, sockopt::TcpKeepIdle, &1)?;
            }
            // As long as they are here, too, the daemon's closing them resets nothing.
            drop(sockets);
            // Silent, but there: it stays. Whose host is gone does not.
            let silent = wait_reset(&mut ends.caller, seconds(3));
            ensure!(silent.is_err(), "given up, though it was there");
            // (With its link, a VM's tap would go, and the reset with it.)
            let address = format!("{}/24 dev eth0", gone.ip());
            lab.ip(gone, &format!("addr del {address}"))?;
            let left = match gone {
                Site::Gw => &mut ends.caller,
                _ => &mut ends.called,
            };
            let given_up = wait_reset(left, seconds(30))?;
            ensure!(given_up > seconds(8), "given up after {given_up:?}");
            lab.ip(gone, &format!("addr add {address}"))?;
            let [a, b, c, _] = gone.ip().octets();
            lab.ip(gone, &format!("route replace default via {a}.{b}.{c}.1"))?;
        }
        Ok(())
    });
}

fn resident_kb(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no VmRSS in {status}"))
}

/// What was connected before Sidestep came is not touched by it; what connects
/// afterwards is taken.
#[test]
fn connection_from_before_goes_on() {
    in_lab(|lab| {
        let mut before = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut before.caller, &mut before.called, &message("a", 9), 9)?;
        let sidestep = Sidestep::start(lab)?;
        let taken = sidestep.counter(lab, "taken-from-vm")?;
        cross(
            &mut before.caller,
            &mut before.called,
            &message("b", 90_000),
            999,
        )?;
        cross(
            &mut before.called,
            &mut before.caller,
            &message("c", 90_000),
            999,
        )?;
        ensure!(sidestep.counter(lab, "taken-from-vm")? == taken);
        ensure!(sidestep.counter(lab, "connection-not-taken")? > 0);
        drop(before.called);
        ensure!(before.caller.read(&mut [0; 9])? == 0, "no end");
        let mut after = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut after.caller, &mut after.called, &message("d", 9), 9)?;
        ensure!(sidestep.counter(lab, "daemon-connections-accepted")? == 1);
        Ok(())
    });
}

/// The daemon is killed: both ends hear of it at once, whoever connects anew gets
/// through within three seconds, and the next daemon leaves that connection alone.
#[test]
fn killed_daemon_resets_its_connections() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let mut ends = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut ends.caller, &mut ends.called, &message("a", 9), 9)?;
        sidestep.process().kill()?;
        let killed = Instant::now();
        for (end, name) in [(&mut ends.caller, "VM"), (&mut ends.called, "gateway")] {
            wait_reset(end, seconds(1)).context(name)?;
        }
        let mut anew = Ends::open(lab, Site::Vm1, Site::Gw)?;
        let passed = killed.elapsed();
        // The first SYN still meets the lease; it comes again after a second, and
        // then after two more.
        ensure!(passed < Duration::from_millis(3_500), "after {passed:?}");
        cross(&mut anew.caller, &mut anew.called, &message("b", 9), 9)?;
        sidestep.restart(lab, &[])?;
        cross(&mut anew.caller, &mut anew.called, &message("c", 9_000), 99)?;
        cross(&mut anew.called, &mut anew.caller, &message("d", 9_000), 99)?;
        let mut after = Ends::open(lab, Site::Vm2, Site::Gw)?;
        cross(&mut after.caller, &mut after.called, &message("e", 9), 9)?;
        ensure!(sidestep.counter(lab, "daemon-connections-accepted")? == 1);
        Ok(())
    });
}

/// A daemon that is stopped resets its connections while there is still a way out;
/// the next ones pass at once.
#[test]
fn stopped_daemon_resets_its_connections() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let mut ends = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut ends.caller, &mut ends.called, &message("a", 9), 9)?;
        let status = sidestep.terminate()?;
        ensure!(status.success(), "{status}");
        for (end, name) in [(&mut ends.caller, "VM"), (&mut ends.called, "gateway")] {
            wait_reset(end, seconds(1)).context(name)?;
        }
        let started = Instant::now();
        let mut anew = Ends::open(lab, Site::Vm1, Site::Gw)?;
        ensure!(started.elapsed() < seconds(1), "a SYN was lost");
        cross(&mut anew.caller, &mut anew.called, &message("b", 9), 9)
    });
}

/// A daemon that hangs lets new connections pass, and keeps those it has: they go on
/// when it does.
#[test]
fn daemon_that_hangs_keeps_its_connections() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let mut ends = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut ends.caller, &mut ends.called, &message("a", 9), 9)?;
        sidestep
            .process()
            .signal(nix::sys::signal::Signal::SIGSTOP)?;
        let waiting = message("b", 20_000);
        ends.caller.write_all(&waiting)?;
        let mut past = wait_for("connections to pass", seconds(8), || {
            let listener = listen(lab, Site::Tc1, 5060).ok()?;
            let caller = connect(lab, Site::Vm2, sip(Site::Tc1)).ok()?;
            let (called, _) = accept(&listener).ok()?;
            let mut ends = Ends { caller, called };
            ends.called
                .set_read_timeout(Some(Duration::from_millis(300)))
                .ok()?;
            ends.caller.write_all(b"\r\n\r\n").ok()?;
            read(&mut ends.called, 4).ok().map(|_| ends)
        })?;
        sidestep
            .process()
            .signal(nix::sys::signal::Signal::SIGCONT)?;
        let got = read(&mut ends.called, waiting.len())?;
        ensure!(got == waiting);
        cross(&mut ends.called, &mut ends.caller, &message("c", 9), 9)?;
        cross(&mut past.caller, &mut past.called, &message("d", 900), 9)
    });
}

/// Beyond the limit a connection passes untouched, and is counted.
#[test]
fn connections_beyond_the_limit_pass() {
    in_lab(|lab| {
        let sidestep = Sidestep::start_with(lab, &[], |config| {
            config["signalling"]["connections"]["limit_per_vm"] = 2.into();
        })?;
        let mut ends = Vec::new();
        for number in 0..4 {
            let mut pair = Ends::open(lab, Site::Vm1, Site::Gw)?;
            cross(&mut pair.caller, &mut pair.called, &message("a", 9), 9)?;
            cross(&mut pair.called, &mut pair.caller, &message("b", 9), 9)?;
            ends.push(pair);
            let open = sidestep.counter(lab, "daemon-connections-open")?;
            ensure!(open == (number + 1).min(2), "{open} open");
        }
        ensure!(sidestep.counter(lab, "connection-limit")? == 2);
        // Another VM is not concerned.
        let mut other = Ends::open(lab, Site::Vm2, Site::Gw)?;
        cross(&mut other.caller, &mut other.called, &message("c", 9), 9)?;
        ensure!(sidestep.counter(lab, "daemon-connections-open")? == 3);
        // And where one ends there is room again.
        ends.remove(0);
        wait_for("room", seconds(5), || {
            let open = sidestep.counter(lab, "daemon-connections-open").ok()?;
            (open == 2).then_some(())
        })?;
        let mut again = Ends::open(lab, Site::Vm1, Site::Gw)?;
        cross(&mut again.caller, &mut again.called, &message("d", 9), 9)?;
        ensure!(sidestep.counter(lab, "daemon-connections-open")? == 3);
        for mut pair in ends {
            cross(&mut pair.caller, &mut pair.called, &message("e", 9), 9)?;
        }
        Ok(())
    });
}

/// A VM connects to its neighbour on the same host: both taps take it.
#[test]
fn vm_connects_to_vm_on_the_same_host() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        for (from, to) in [(Site::Vm1, Site::Vm2), (Site::Vm3, Site::Vm1)] {
            let mut ends = Ends::open(lab, from, to)?;
            cross(&mut ends.caller, &mut ends.called, &message("a", 9_000), 99)?;
            cross(&mut ends.called, &mut ends.caller, &message("b", 9_000), 99)?;
        }
        ensure!(sidestep.counter(lab, "daemon-connections-accepted")? == 4);
        Ok(())
    });
}

/// Fig. 3 over TCP: a softphone in the VM calls, and media goes direct.
#[test]
fn outgoing_call_over_tcp_goes_direct() {
    in_lab(|lab| {
        let sidestep = Sidestep::start(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        let wires = Wires::start(lab)?;
        let over_tcp = Run {
            options: &["-t", "t1"],
            ..Run::new("answer")
        };
        let mut gw = Sipp::start(lab, Site::Gw, &over_tcp)?;
        let mut vm = phone(lab, Site::Vm1)?;
        vm.dial(&format!("sip:100@{};transport=tcp", sip(Site::Gw)))?;
        vm.wait_established(1, SET_UP)?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        wires.hear_direct()?;
        wires.nothing_past_tap()?;
        vm.hang_up()?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)?;
        ensure!(sidestep.counter(lab, "daemon-connections-accepted")? >= 1);
        Ok(())
    });
}

/// Fig. 4 over TCP, and then handed back to the VM by a re-INVITE of Sidestep's own
/// in the same connection.
#[test]
fn incoming_call_over_tcp_goes_direct_and_back() {
    in_lab(|lab| {
        let mut sidestep = Sidestep::start(lab)?;
        let mut vm = phone(lab, Site::Vm1)?;
        let _tc = stock_client(lab, &sidestep, Site::Tc1, "soft1", Site::Vm1)?;
        let wires = Wires::start(lab)?;
        let run = Run {
            options: &["-t", "t1"],
            ..Run::new("call")
        };
        let mut gw = Sipp::start(lab, Site::Gw, &run.calling(sip(Site::Vm1)))?;
        vm.wait_for("CALL_INCOMING", SET_UP)?;
        vm.accept()?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        wires.hear_direct()?;
        wires.nothing_past_tap()?;
        let status = sidestep.terminate()?;
        ensure!(status.success(), "{status}");
        // Handed back: the VM's own audio reaches the gateway.
        hear(&wires.gateway, Site::Vm1.ip(), Site::Gw.ip(), VM_TONE)?;
        drop(vm);
        gw.process().kill()?;
        Ok(())
    });
}
