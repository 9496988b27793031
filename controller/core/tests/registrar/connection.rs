//! Registrations by a connection (RFC 3261 §18, RFC 5626 §4.2).

use sidestep_core::engine::{ConnectionId, Event, Transport};
use sidestep_core::registrar::Registrar;
use sidestep_core::sip::transaction::Addresses;
use sidestep_core::sip::{Message, Name};

use crate::client::{Client, TC, VM, at, registrar};

const CONNECTION: ConnectionId = ConnectionId(7);

#[test]
fn who_registers_by_a_connection_is_called_by_it_and_is_gone_with_it() {
    let mut registrar = registrar();
    let mut tc = Client::new("tc17");
    let from = Addresses {
        local: VM.parse().unwrap(),
        remote: "10.71.2.21:40001".parse().unwrap(),
        transport: Transport::Tcp(CONNECTION),
    };
    let say = |registrar: &mut Registrar, bytes: &[u8]| {
        let message = Message::parse(bytes).unwrap();
        let reply = registrar.handle(at(0), from, &message).reply.unwrap();
        assert_eq!((reply.dst, reply.transport), (from.remote, from.transport));
        Message::parse(&reply.payload).unwrap()
    };
    // Its Via and Contact name the port that it would listen at.
    let contact = format!("Contact: <sip:tc17@{TC};transport=tcp>\r\n");
    let challenge = say(&mut registrar, &tc.request(&contact));
    let challenges = challenge.header_values(Name::WWW_AUTHENTICATE);
    tc.challenges = challenges.map(<[u8]>::to_vec).collect();
    assert_eq!(
        say(&mut registrar, &tc.request(&contact)).status(),
        Some(200)
    );
    let bound = registrar.binding_for_vm(0).expect("bound");
    assert_eq!(
        (bound.address, bound.transport),
        (from.remote, from.transport)
    );
    assert_eq!(registrar.closed(ConnectionId(8)), []);
    let events = registrar.closed(CONNECTION);
    assert!(matches!(&events[..], [Event::Client(view)] if !view.registered));
    assert_eq!(registrar.binding_for_vm(0), None);
}
