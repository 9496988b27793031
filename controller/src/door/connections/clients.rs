//! The thin clients' connections, and how many there may be.
//!
//! Anybody who reaches a VM reaches its registrar. So each address may have a few
//! connections to it, and all together some: then a new one takes the place of the
//! oldest that has never said a message, and where all have, it is reset.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::client::Client;

/// Connections to the registrar of one VM.
const OF_VM: usize = 64;
/// Of these, from one address.
const OF_ADDRESS: usize = 8;

/// All of them, by their numbers.
#[derive(Default)]
pub(super) struct Clients {
    clients: HashMap<u64, Client>,
    /// By the VM's address, oldest first.
    by_vm: HashMap<IpAddr, Vec<u64>>,
}

impl Clients {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether a connection is one of these.
    pub fn contains(&self, id: u64) -> bool {
        self.clients.contains_key(&id)
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<&Client> {
        self.clients.get(&id)
    }

    /// One of them.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// Whether there is one between these two: the registrar and a thin client.
    pub fn has(&self, registrar: SocketAddr, client: SocketAddr) -> bool {
        self.of(registrar.ip())
            .any(|known| known.ends == (registrar, client))
    }

    /// Whether `client` may have one more to the registrar of `vm`, and which has to go
    /// for it. `None`: there is no room.
    pub fn make_room(&self, vm: IpAddr, client: IpAddr) -> Option<Option<u64>> {
        let all = self.by_vm.get(&vm).map_or(&[][..], Vec::as_slice);
        let is_own = |id: &&u64| self.get(**id).is_some_and(|c| c.ends.1.ip() == client);
        let is_silent = |id: &&u64| self.get(**id).is_some_and(|c| !c.has_spoken());
        if all.iter().filter(is_own).count() >= OF_ADDRESS {
            return all.iter().filter(is_own).find(is_silent).copied().map(Some);
        }
        match all.len() < OF_VM {
            true => Some(None),
            false => all.iter().find(is_silent).copied().map(Some),
        }
    }

    /// One more.
    pub fn insert(&mut self, id: u64, client: Client) {
        let vm = client.ends.0.ip();
        self.by_vm.entry(vm).or_default().push(id);
        self.clients.insert(id, client);
    }

    /// One less.
    pub fn remove(&mut self, id: u64) -> Option<Client> {
        let client = self.clients.remove(&id)?;
        let vm = client.ends.0.ip();
        if let Some(ids) = self.by_vm.get_mut(&vm) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_vm.remove(&vm);
            }
        }
        Some(client)
    }

    fn of(&self, vm: IpAddr) -> impl Iterator<Item = &Client> {
        let ids = self.by_vm.get(&vm).into_iter().flatten();
        ids.filter_map(|id| self.clients.get(id))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use nix::sys::epoll::EpollFlags;
    use sidestep_core::engine::{ConnectionId, ThinClientFramer};
    use sidestep_core::stream::{Limits, Stream};

    use super::super::super::Taken;
    use super::super::half::Half;
    use super::super::layer::Layer;
    use super::super::pair::Fate;
    use super::*;

    const REGISTRAR: &str = "10.71.1.11:5070";

    /// Connections, with their peers.
    struct Connected {
        clients: Clients,
        peers: Vec<TcpStream>,
        listener: TcpListener,
    }

    impl Connected {
        fn none() -> Self {
            Self {
                clients: Clients::default(),
                peers: Vec::new(),
                listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            }
        }

        /// One from this address; its number is the next.
        fn one(&mut self, from: &str) -> u64 {
            let peer = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            let (socket, _) = self.listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let framer = Box::new(ThinClientFramer::new(Limits::default()));
            let half = Half::new(socket, false, Layer::Plain, Stream::new(Some(framer)));
            let id = self.peers.len() as u64;
            let ends = (
                REGISTRAR.parse().unwrap(),
                SocketAddr::new(from.parse().unwrap(), 40_000 + self.peers.len() as u16),
            );
            let client = Client::new(ConnectionId(id), ends, half);
            self.clients.insert(id, client);
            self.peers.push(peer);
            id
        }

        fn speaks(&mut self, id: u64) {
            let message = b"OPTIONS sip:10.71.1.11 SIP/2.0\r\nl: 0\r\n\r\n";
            self.peers[id as usize].write_all(message).unwrap();
            let client = self.clients.get_mut(id).unwrap();
            while !client.has_spoken() {
                client.turn(None, &mut VecDeque::new());
            }
        }

        fn room_for(&self, from: &str) -> Option<Option<u64>> {
            let vm = REGISTRAR.parse::<SocketAddr>().unwrap().ip();
            self.clients.make_room(vm, from.parse().unwrap())
        }
    }

    #[test]
    fn a_new_one_takes_the_place_of_the_oldest_that_has_said_nothing() {
        let mut connected = Connected::none();
        for _ in 0..OF_ADDRESS {
            assert_eq!(connected.room_for("10.71.2.21"), Some(None));
            connected.one("10.71.2.21");
        }
        assert_eq!(connected.room_for("10.71.2.22"), Some(None));
        assert_eq!(connected.room_for("10.71.2.21"), Some(Some(0)));
        connected.speaks(0);
        assert_eq!(connected.room_for("10.71.2.21"), Some(Some(1)));
        for id in 1..OF_ADDRESS as u64 {
            connected.speaks(id);
        }
        assert_eq!(connected.room_for("10.71.2.21"), None);
        // Another VM's registrar has room of its own.
        let other = "10.71.1.12".parse().unwrap();
        let client = "10.71.2.21".parse().unwrap();
        assert_eq!(connected.clients.make_room(other, client), Some(None));
        for number in OF_ADDRESS..OF_VM {
            connected.one(&format!("10.71.3.{number}"));
        }
        assert_eq!(connected.room_for("10.71.4.1"), Some(Some(8)));
        connected.clients.remove(8);
        assert_eq!(connected.room_for("10.71.4.1"), Some(None));
        connected.one("10.71.4.1");
        for id in 9..=OF_VM as u64 {
            connected.speaks(id);
        }
        assert_eq!(connected.room_for("10.71.4.2"), None);
    }

    /// What waits for one that does not read has a bound, and meanwhile it is not read.
    #[test]
    fn who_does_not_read_is_not_read() {
        let mut connected = Connected::none();
        let id = connected.one("10.71.2.21");
        connected.speaks(id);
        let client = connected.clients.get_mut(id).unwrap();
        assert!(client.interest().contains(EpollFlags::EPOLLIN));
        let mut sent = 0;
        while client.interest().contains(EpollFlags::EPOLLIN) {
            client.send(vec![b'x'; 64 << 10]);
            sent += 1;
            assert!(sent < 1_000, "it is still read");
        }
        assert_eq!(client.interest(), EpollFlags::EPOLLOUT);
        for _ in 0..16 {
            client.send(vec![b'x'; 64 << 10]);
        }
        let fate = client.turn(None, &mut VecDeque::new());
        assert!(matches!(fate, Fate::Broken(_)));
    }

    /// A keep-alive is answered, what is too large is counted, and what cannot be
    /// divided ends it.
    #[test]
    fn what_is_no_message() {
        use std::io::Read;

        let mut connected = Connected::none();
        let id = connected.one("10.71.2.21");
        let client = connected.clients.get_mut(id).unwrap();
        let peer = &mut connected.peers[0];
        let mut said = VecDeque::new();
        peer.write_all(b"\r\n\r\n").unwrap();
        let mut pong = [0; 2];
        peer.set_nonblocking(true).unwrap();
        while peer.read_exact(&mut pong).is_err() {
            assert!(matches!(client.turn(None, &mut said), Fate::GoesOn));
        }
        assert_eq!(&pong, b"\r\n");
        let large = format!(
            "INFO sip:a SIP/2.0\r\nl: 70000\r\n\r\n{}OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n",
            "x".repeat(70_000)
        );
        peer.set_nonblocking(false).unwrap();
        peer.write_all(large.as_bytes()).unwrap();
        while !client.has_spoken() {
            assert!(matches!(client.turn(None, &mut said), Fate::GoesOn));
        }
        assert!(matches!(said.pop_front(), Some(Taken::Untouched { .. })));
        assert!(matches!(said.pop_front(), Some(Taken::Message(_))));
        peer.write_all(b"\x16\x03\x01\x00").unwrap();
        let broken = loop {
            if let Fate::Broken(error) = client.turn(None, &mut said) {
                break error;
            }
        };
        assert_eq!(broken.to_string(), "what comes is not SIP");
    }
}
