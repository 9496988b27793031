//! What cannot be changed without harm passes byte for byte, and its call goes through
//! the VM: messages with an authentication header (H.248.1 §10.2), and media told in
//! properties of Annex C that are no lines of a session description.

use sidestep_core::call::Reason;
use sidestep_core::engine::{Path, Side};
use sidestep_core::h248::model::{Descriptor, ItemName, Property, Transaction, Value};
use sidestep_core::h248::{self, Encoding, text};
use sidestep_core::sip::Method;

use super::mg::*;
use super::scene::{config, is_request};

const SIGNED: &str = "Authentication = 0x00000010:0x00000001:0x0123456789abcdef01234567 ";
const UNUSED: &str = "Authentication = 0x00000000:0x00000000:0x000000000000000000000000 ";

impl Control {
    /// A message of the controller's, or of the gateway's, with this before it.
    fn with_header(&mut self, side: Side, header: &str, transactions: &str) -> (String, String) {
        let (said, from, to) = match side {
            Side::Vm => (of_mgc(transactions), MGC, MG),
            Side::Net => (of_mg(transactions), MG, MGC),
        };
        let said = format!("{header}{said}");
        self.put(side, from, to, said.clone());
        let came = match side {
            Side::Vm => self.at_mg(),
            Side::Net => self.at_mgc(),
        };
        (said, came)
    }
}

#[test]
fn a_controller_that_signs_keeps_its_media() {
    let mut control = Control::registered(config());
    for (side, transaction) in [
        (Side::Vm, add(50003, &vm_sdp())),
        (Side::Net, added(50003, &mg_sdp())),
        (Side::Vm, modify(50004, &vm_sdp())),
        (Side::Net, modified(50004)),
    ] {
        let (said, came) = control.with_header(side, SIGNED, &transaction);
        assert_eq!(came, said);
    }
    control.is("up", Path::Vm, Some(Reason::SignallingAuthenticated));
    // Nothing of our own is ever said.
    control.wait(10_000);
    control.silence();
    for (side, transaction) in [(Side::Vm, subtract(50009)), (Side::Net, subtracted(50009))] {
        let (said, came) = control.with_header(side, SIGNED, &transaction);
        assert_eq!(came, said);
    }
    assert_eq!(control.call().state, "ended");
    control.is_clean();
}

#[test]
fn a_header_of_zeros_is_none() {
    let mut control = Control::registered(config());
    let (said, came) = control.with_header(Side::Vm, UNUSED, &add(50003, &vm_sdp()));
    assert_ne!(came, said);
    assert!(came.starts_with(UNUSED), "{came}");
    assert_eq!(remotes(&came), ["10.71.2.21:9000 0 8 101"]);
}

#[test]
fn a_controller_that_begins_to_sign_takes_its_call_back() {
    let (mut control, _) = Control::up(config());
    let (said, came) = control.with_header(Side::Vm, SIGNED, &modify(50004, &vm_sdp()));
    assert_eq!(came, said);
    control.passes_to_mgc(&modified(50004));
    is_request(&control.at_tc(), Method::Bye);
    control.is("up", Path::Vm, Some(Reason::SignallingAuthenticated));
    control.silence();
}

#[test]
fn a_gateway_that_signs_is_told_of_the_vm_again() {
    let mut control = Control::registered(config());
    control.mgc_says(&add(50003, &vm_sdp()));
    control.at_mg();
    // Not even its codecs are changed for the VM.
    let local = sdp("10.71.3.31:8000", "0 18");
    let (said, came) = control.with_header(Side::Net, SIGNED, &added(50003, &local));
    assert_eq!(came, said);
    let back = control.at_mg();
    assert_eq!(remotes(&back), ["10.71.1.11:7000 0 8"]);
    control.mg_says(&modified(requests(&back)[0]));
    control.is("up", Path::Vm, Some(Reason::SignallingAuthenticated));
    control.silence();
}

// --- Annex C ------------------------------------------------------------------------

/// IPv4 and Port (Annex C.6), RTP payload type (C.1).
fn properties(address: [u8; 4], port: u16) -> Vec<Property<'static>> {
    [
        (0x6001, address.to_vec()),
        (
            0x6003,
            vec![2, 2, port.to_be_bytes()[0], port.to_be_bytes()[1]],
        ),
    ]
    .into_iter()
    .map(|(item, value)| Property {
        name: ItemName::Number { package: 0, item },
        value: Value::Equal(value.into()),
    })
    .collect()
}

/// In BER, with these properties in the last command's Remote or Local, in place of
/// the lines or beside them.
fn binary(message: &str, remote: bool, told: Vec<Property<'static>>, lines: bool) -> Vec<u8> {
    let mut message = text::parse(message.as_bytes()).unwrap();
    let h248::model::Body::Transactions(transactions) = &mut message.body else {
        panic!("{message:?}")
    };
    let descriptors = match &mut transactions[0] {
        Transaction::Request(request) => {
            let command = request.actions[0].commands.last_mut().unwrap();
            &mut command.descriptors
        }
        Transaction::Reply(reply) => {
            let h248::model::ReplyResult::Actions(actions) = &mut reply.result else {
                panic!("{reply:?}")
            };
            &mut actions[0].commands.last_mut().unwrap().descriptors
        }
        other => panic!("{other:?}"),
    };
    let Descriptor::Media(media) = &mut descriptors[0] else {
        panic!("{descriptors:?}")
    };
    let stream = &mut media.streams[0];
    let description = match remote {
        true => stream.remote.as_mut(),
        false => stream.local.as_mut(),
    };
    let description = description.unwrap();
    description.properties = told;
    if !lines {
        description.octets = Default::default();
    }
    let bytes = h248::write(&message, Encoding::Binary);
    assert!(!bytes.is_empty());
    bytes
}

fn passes(control: &mut Control, side: Side, bytes: &[u8]) {
    match side {
        Side::Vm => control.put(side, MGC, MG, bytes),
        Side::Net => control.put(side, MG, MGC, bytes),
    }
    let came = match side {
        Side::Vm => control.gateway.pop_front(),
        Side::Net => control.vm.pop_front(),
    };
    assert_eq!(came.expect("to be forwarded").payload, bytes);
}

#[test]
fn media_of_the_vm_in_other_properties_stays_the_vms() {
    const VM: [u8; 4] = [10, 71, 1, 11];
    let add = of_mgc(&add(50003, &vm_sdp()));
    let nested = vec![Property {
        name: ItemName::Number {
            package: 0,
            item: 0x6001,
        },
        value: Value::Equal(vec![4, 4, 10, 71, 1, 11].into()),
    }];
    for (told, lines) in [
        (properties(VM, 7000), false),
        // Beside lines: neither is changed without the other.
        (properties(VM, 7000), true),
        (properties([10, 71, 9, 9], 7000), true),
        (properties(VM, 7000)[1..].to_vec(), true),
        (nested, false),
    ] {
        let mut control = Control::registered(config());
        let add = binary(&add, true, told, lines);
        passes(&mut control, Side::Vm, &add);
        let reply = binary(
            &of_mg(&added(50003, &mg_sdp())),
            false,
            properties([10, 71, 3, 31], 8000),
            false,
        );
        passes(&mut control, Side::Net, &reply);
        control.silence();
        control.is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
    }
    // Another's is nobody's here.
    let mut control = Control::registered(config());
    let add = binary(&add, true, properties([10, 71, 9, 9], 7000), false);
    passes(&mut control, Side::Vm, &add);
    control.silence();
    assert!(control.engine.calls().is_empty());
}

#[test]
fn a_gateway_that_tells_its_media_so_is_told_of_the_vm_again() {
    for lines in [false, true] {
        let mut control = Control::registered(config());
        control.put(
            Side::Vm,
            MGC,
            MG,
            h248::write(
                &text::parse(of_mgc(&add(50003, &vm_sdp())).as_bytes()).unwrap(),
                Encoding::Binary,
            ),
        );
        control.gateway.pop_front().expect("for the gateway");
        let reply = of_mg(&added(50003, &sdp("10.71.3.31:8000", "0 18")));
        let reply = binary(&reply, false, properties([10, 71, 3, 31], 8000), lines);
        passes(&mut control, Side::Net, &reply);
        let back = control
            .gateway
            .pop_front()
            .expect("for the gateway")
            .payload;
        let back = h248::parse(&back).unwrap();
        let (_, stream) = back.streams().next().unwrap();
        let remote = String::from_utf8(stream.remote.as_ref().unwrap().octets.to_vec()).unwrap();
        assert!(remote.contains("c=IN IP4 10.71.1.11"), "{remote}");
        let Transaction::Request(request) = &back.transactions()[0] else {
            panic!("{back:?}")
        };
        let done = of_mg(&modified(request.id));
        let done = h248::write(&text::parse(done.as_bytes()).unwrap(), Encoding::Binary);
        control.put(Side::Net, MG, MGC, &done);
        control.is("up", Path::Vm, Some(Reason::SdpNotUnderstood));
        control.silence();
    }
}
