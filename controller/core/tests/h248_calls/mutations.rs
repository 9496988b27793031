//! Whatever is said, nothing panics, nothing that cannot be read is changed, and
//! nothing is left behind.

use sidestep_core::engine::{Path, Side};
use sidestep_core::h248::model::{CommandKind, Transaction};
use sidestep_core::h248::{self, Encoding, text};
use sidestep_core::sip::Method;

use super::mg::*;
use super::mutation::{Random, mutate_with};
use super::scene::{self, Ua, config};

const TELLING: &[u8] = b"{}[]<>=,:;\"$*-/\r\n 019v";
/// Tags, lengths and ends.
const BER: &[u8] = b"\x00\x01\x04\x30\x31\x7f\x80\x81\xa0\xa1\xa3\xbf\xff";

#[test]
fn mutated_calls() {
    let mut random = Random(0x248);
    let mut bypassed = 0;
    for round in 0..400 {
        let binary = round % 2 == 1;
        let mut control = Control::registered(config());
        let mut tc = Ua::tc();
        let mut direct = false;
        for _ in 0..12 {
            say(&mut random, &mut control, binary);
            hear(&mut random, &mut control, &mut tc);
            control.wait(random.below(3_000) as u64);
            let calls = control.engine.calls();
            direct |= calls.iter().any(|call| call.path == Path::Direct);
        }
        bypassed += usize::from(direct);
        // The gateway begins anew: all is over.
        control.mg_says(
            "Transaction = 999 { Context = - { ServiceChange = ROOT { Services { Method = Restart } } } }",
        );
        while !control.tc.is_empty() {
            hear(&mut random, &mut control, &mut tc);
        }
        control.is_clean();
    }
    assert!(bypassed > 30, "{bypassed}");
}

/// One of the two says something, whole or not.
fn say(random: &mut Random, control: &mut Control, binary: bool) {
    let id = 50003 + random.below(3) as u32;
    let rtp = sdp("10.71.3.31:8200", ["0", "8 0", "18"][random.below(3)]);
    let of_the_mgc = [
        add(id, &vm_sdp()),
        add(id, &vm_sdp()),
        modify(id, &vm_sdp()),
        modify(id, &rtp),
        subtract(id),
        format!("Transaction = {id} {{ Context = 5001 {{ Move = A5556 }} }}"),
        format!(
            "Transaction = {id} {{ Context = * {{ AuditValue = * {{ Audit {{ Media }} }} }} }}"
        ),
        format!("TransactionResponseAck {{ {id} }}"),
    ];
    let of_the_mg = [
        added(id, &mg_sdp()),
        added(id, &rtp),
        modified(id),
        subtracted(id),
        format!("Reply = {id} {{ Context = 5000 {{ Add = A5555, Error = 449 {{ }} }} }}"),
        format!("Reply = {id} {{ Error = 500 {{ }} }}"),
        format!("Pending = {id} {{ }}"),
    ];
    let vm = random.below(2) == 0;
    let (side, src, dst, message) = if vm {
        let said = &of_the_mgc[random.below(of_the_mgc.len())];
        (Side::Vm, MGC, MG, of_mgc(said))
    } else {
        let said = &of_the_mg[random.below(of_the_mg.len())];
        (Side::Net, MG, MGC, of_mg(said))
    };
    let whole = match binary {
        true => h248::write(&text::parse(message.as_bytes()).unwrap(), Encoding::Binary),
        false => message.into_bytes(),
    };
    let bytes = match random.below(3) {
        0 if binary => mutate_with(random, &whole, BER),
        0 => mutate_with(random, &whole, TELLING),
        _ => whole,
    };
    let unreadable = h248::parse(&bytes).is_err();
    control.put(side, src, dst, &bytes);
    if unreadable {
        // What begins as RTP does, the scene takes for it.
        let rtp = !vm && bytes.first().is_some_and(|b| b & 0xc0 == 0x80);
        let last = match (vm, rtp) {
            (true, _) => control.gateway.back(),
            (false, true) => control.keep_alive.last(),
            (false, false) => control.vm.back(),
        };
        let last = last.map(|datagram| datagram.payload.clone());
        assert_eq!(last, Some(bytes));
    }
}

/// The thin client answers, or does not; commands of our own are replied to, or not.
fn hear(random: &mut Random, control: &mut Control, tc: &mut Ua) {
    control.vm.clear();
    while let Some(datagram) = control.gateway.pop_front() {
        let Ok(message) = h248::parse(&datagram.payload) else {
            continue;
        };
        let asked = message
            .transactions()
            .iter()
            .filter_map(|transaction| match transaction {
                Transaction::Request(request) => Some(request),
                _ => None,
            });
        // Whatever the encoding, it is answered in text: each message has its own.
        let ids: Vec<u32> = asked.clone().map(|request| request.id).collect();
        let adds = asked
            .flat_map(|request| &request.actions)
            .flat_map(|action| &action.commands)
            .any(|command| command.kind == CommandKind::Add);
        for id in ids {
            match random.below(3) {
                0 => {}
                1 => control.mg_says(&format!("Reply = {id} {{ Error = 500 {{ }} }}")),
                _ if adds => control.mg_says(&added(id, &mg_sdp())),
                _ => control.mg_says(&modified(id)),
            }
        }
    }
    control.vm.clear();
    while let Some(datagram) = control.tc.pop_front() {
        let Ok(message) = sidestep_core::sip::Message::parse(&datagram.payload) else {
            continue;
        };
        if !message.is_request() || *message.method() == Method::Ack {
            continue;
        }
        tc.learn(&message);
        let answer = scene::sdp(
            ["10.71.2.21:9000", "10.71.2.21:9100"][random.below(2)],
            "0 101",
            1,
            "",
        );
        let (status, body) = match (message.method(), random.below(5)) {
            (Method::Invite, 0) => (486, ""),
            (Method::Invite, _) => (200, answer.as_str()),
            _ => (200, ""),
        };
        let response = tc.response(&message, status, body);
        control.tc_sends(response);
    }
}
