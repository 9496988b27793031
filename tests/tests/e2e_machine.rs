//! The VM is a real virtual machine: an emulated one with a virtio-net card whose
//! offloads are on, so that its frames reach the tap with checksums left to the
//! card, as they do on every real host.

use anyhow::{Result, ensure};
use sidestep_tests::lab::{Guest, Lab, Machine, Site, in_lab};
use sidestep_tests::peers::audio;
use sidestep_tests::peers::sidestep::Sidestep;
use sidestep_tests::stage::{
    GATEWAY_TONE, TC_TONE, Wires, expect_reason, gateway, hear, sip, steer, thin_client, wait_over,
};
use sidestep_tests::wait::seconds;

/// SIPp in the guest, which waits for [`call`]: then it calls the gateway, plays its
/// tone, and hangs up after 8 s.
fn caller(lab: &Lab) -> Result<Machine> {
    let tone = audio::tone_alaw(sidestep_tests::stage::VM_TONE);
    let vm = Site::Vm1.ip();
    let script = format!(
        "read go\n\
         sipp -sf /call.xml -i {vm} -mi {vm} -p 5060 -m 1 -d 8000 -s 100 -nostdin \
         -key padding machine -key sdp_line a=sendrecv {} >/dev/null 2>/tmp/errors\n\
         echo guest: sipp ended with $?\n\
         cat /tmp/errors",
        sip(Site::Gw)
    );
    Machine::start(
        lab,
        Site::Vm1,
        &Guest {
            programs: &["sipp"],
            files: &[
                ("/call.xml", include_bytes!("../scenarios/call_hangup.xml")),
                ("/tmp/tone.al", &tone),
            ],
            script: &script,
        },
    )
}

/// Has it call.
fn call(machine: &mut Machine) -> Result<()> {
    machine.tell("go")
}

/// Everything that reaches gateway and thin client has its checksum whole, though
/// what the guest hands to its card has not.
fn checksums_are_right(wires: &Wires) -> Result<()> {
    let tap = wires.tap.so_far()?;
    ensure!(
        tap.datagrams
            .iter()
            .any(|d| *d.src.ip() == Site::Vm1.ip() && !d.checksum_right),
        "the guest's card computes checksums itself: this proves nothing"
    );
    for wire in [&wires.gateway, &wires.thin_client] {
        let trace = wire.so_far()?;
        let wrong: Vec<_> = trace
            .datagrams
            .iter()
            .filter(|d| !d.checksum_right)
            .map(|d| format!("{} > {}", d.src, d.dst))
            .collect();
        ensure!(wrong.is_empty(), "wrong checksums: {wrong:?}");
    }
    Ok(())
}

#[test]
fn a_real_vm_calls_and_media_goes_direct() {
    in_lab(|lab| {
        Machine::wire(lab, Site::Vm1)?;
        let sidestep = Sidestep::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let wires = Wires::start(lab)?;
        let mut vm = caller(lab)?;
        // Only now does somebody answer for the VM's address.
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        call(&mut vm)?;
        let call = sidestep.wait_call(lab, "direct")?;
        expect_reason(&call, None)?;
        wires.hear_direct()?;
        wires.nothing_past_tap()?;
        checksums_are_right(&wires)?;
        vm.process()
            .wait_for_text("guest: sipp ended with 0", seconds(40))?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

#[test]
fn a_real_vms_call_is_steered_through_its_own_address() {
    in_lab(|lab| {
        lab.block_thin_clients()?;
        Machine::wire(lab, Site::Vm1)?;
        let sidestep = Sidestep::start_with(lab, &[], steer)?;
        let mut gw = gateway(lab, "answer")?;
        let wires = Wires::start(lab)?;
        let mut vm = caller(lab)?;
        let _tc = thin_client(lab, &sidestep, |_| {})?;
        call(&mut vm)?;
        sidestep.wait_call(lab, "steered")?;
        hear(&wires.gateway, Site::Vm1.ip(), Site::Gw.ip(), TC_TONE)?;
        hear(
            &wires.thin_client,
            Site::Vm1.ip(),
            Site::Tc1.ip(),
            GATEWAY_TONE,
        )?;
        checksums_are_right(&wires)?;
        vm.process()
            .wait_for_text("guest: sipp ended with 0", seconds(40))?;
        gw.finish(seconds(5))?;
        wait_over(lab, &sidestep)
    });
}

/// Without a thin client the call is the VM's: its own media, through the tap.
#[test]
fn a_real_vms_call_without_a_thin_client_is_its_own() {
    in_lab(|lab| {
        Machine::wire(lab, Site::Vm1)?;
        let sidestep = Sidestep::start(lab)?;
        let mut gw = gateway(lab, "answer")?;
        let wires = Wires::start(lab)?;
        let mut vm = caller(lab)?;
        call(&mut vm)?;
        let call = sidestep.wait_call(lab, "vm")?;
        expect_reason(&call, Some("tc-not-registered"))?;
        wires.hear_through_vm()?;
        checksums_are_right(&wires)?;
        vm.process()
            .wait_for_text("guest: sipp ended with 0", seconds(40))?;
        gw.finish(seconds(5))
    });
}
