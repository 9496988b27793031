//! All transactions of one user, matched and timed.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::ack::ack_of_failure;
use super::client::ClientTransaction;
use super::key::{ClientKey, ServerKey};
use super::server::{InviteServer, NonInviteServer, ServerTransaction};
use crate::deadlines::Deadlines;
use crate::engine::Transport;
use crate::sip::received::reply_address;
use crate::sip::{Message, Method};
use crate::time::Time;

/// The two ends of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Ours: the source of what is sent.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// What lies between them.
    #[serde(default)]
    pub transport: Transport,
}

impl Addresses {
    /// Where the response to a request goes that has come so: by a connection back
    /// along it (RFC 3261 §18.2.2), else where its Via says.
    pub fn answering(self, request: &Message) -> Self {
        Self {
            remote: match self.transport.is_reliable() {
                true => self.remote,
                false => reply_address(request, self.remote),
            },
            ..self
        }
    }
}

/// What becomes of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseFate<U> {
    /// No transaction has it.
    Unmatched,
    /// A retransmission, dealt with.
    Absorbed,
    /// For the TU, with what it gave to [`Transactions::send`].
    Deliver(U),
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFate {
    /// Not one that can be matched: no Via branch nor what RFC 2543 matches by.
    Unmatched,
    /// A retransmission, or the ACK of a refusal, dealt with.
    Absorbed,
    /// A new transaction; the TU has to answer it.
    New(ServerKey),
    /// An ACK that no transaction took: of a 2xx, or stray.
    Ack,
}

/// What has come to its end without the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expired<U> {
    /// No final response (timer B or F).
    Request(U),
    /// No ACK of a 3xx to 6xx (timer H).
    Ack(ServerKey),
}

/// The transactions of a TU. `U` is what the TU keeps with each of its requests.
#[derive(Debug, Clone)]
pub struct Transactions<U> {
    clients: HashMap<ClientKey, Client<U>>,
    servers: HashMap<ServerKey, Server>,
    deadlines: Deadlines<Key>,
    outgoing: VecDeque<(Addresses, Vec<u8>)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Client<U> {
    machine: ClientTransaction,
    addresses: Addresses,
    /// Kept for the ACK of a refusal; only an INVITE's, until it is answered.
    #[serde(with = "serde_bytes")]
    request: Vec<u8>,
    user: U,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Server {
    machine: ServerTransaction,
    addresses: Addresses,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Client(ClientKey),
    Server(ServerKey),
}

/// Transactions as they are kept for the next run.
#[derive(Debug, Serialize)]
pub(crate) struct Alive<'a, U> {
    clients: Vec<(&'a ClientKey, &'a Client<U>)>,
    servers: Vec<(&'a ServerKey, &'a Server)>,
}

/// Transactions of an earlier run: an [`Alive`] read again.
#[derive(Debug, Deserialize)]
pub(crate) struct Kept<U> {
    clients: Vec<(ClientKey, Client<U>)>,
    servers: Vec<(ServerKey, Server)>,
}

impl<U> Default for Transactions<U> {
    fn default() -> Self {
        Self {
            clients: HashMap::new(),
            servers: HashMap::new(),
            deadlines: Deadlines::default(),
            outgoing: VecDeque::new(),
        }
    }
}

impl<U: Clone> Transactions<U> {
    /// Sends a request that is not an ACK in a transaction of its own.
    pub fn send(
        &mut self,
        now: Time,
        key: ClientKey,
        addresses: Addresses,
        request: Vec<u8>,
        user: U,
    ) {
        let reliable = addresses.transport.is_reliable();
        let (method, kept) = match key.is_invite() {
            true => (Method::Invite, request.clone()),
            false => (Method::Bye, Vec::new()),
        };
        let (machine, effects) = ClientTransaction::start(now, &method, request, reliable);
        self.transmit(addresses, effects);
        self.deadlines
            .set(&Key::Client(key.clone()), machine.timers().next());
        let client = Client {
            machine,
            addresses,
            request: kept,
            user,
        };
        self.clients.insert(key, client);
    }

    /// A response has come (§17.1.3). The ACK of a 3xx to 6xx is sent here.
    pub fn response(&mut self, now: Time, response: &Message) -> ResponseFate<U> {
        let (Some(key), Some(status)) = (ClientKey::of_response(response), response.status())
        else {
            return ResponseFate::Unmatched;
        };
        let Some(client) = self.clients.get_mut(&key) else {
            return ResponseFate::Unmatched;
        };
        let request = &client.request;
        let effects = client
            .machine
            .response(now, status, || ack_of_failure(request, response));
        if status >= 200 {
            client.request = Vec::new();
        }
        let (addresses, user) = (client.addresses, client.user.clone());
        self.settle_client(key);
        if self.transmit(addresses, effects) {
            ResponseFate::Deliver(user)
        } else {
            ResponseFate::Absorbed
        }
    }

    /// A request has come (§17.2.3).
    pub fn request(&mut self, now: Time, request: &Message, addresses: Addresses) -> RequestFate {
        let Some(key) = ServerKey::of_request(request) else {
            return RequestFate::Unmatched;
        };
        let is_ack = *request.method() == Method::Ack;
        let Some(server) = self.servers.get_mut(&key) else {
            if is_ack {
                return RequestFate::Ack;
            }
            let reliable = addresses.transport.is_reliable();
            let machine = if key.is_invite() {
                ServerTransaction::Invite(InviteServer::new(reliable))
            } else {
                ServerTransaction::NonInvite(NonInviteServer::default())
            };
            self.servers
                .insert(key.clone(), Server { machine, addresses });
            return RequestFate::New(key);
        };
        let effects = match (&mut server.machine, is_ack) {
            (ServerTransaction::Invite(machine), true) => machine.ack(now),
            (machine, _) => machine.request(),
        };
        let addresses = server.addresses;
        self.settle_server(key);
        if self.transmit(addresses, effects) {
            RequestFate::Ack
        } else {
            RequestFate::Absorbed
        }
    }

    /// Answers a request.
    pub fn respond(&mut self, now: Time, key: &ServerKey, status: u16, response: Vec<u8>) {
        let Some(server) = self.servers.get_mut(key) else {
            return;
        };
        let effects = server.machine.respond(now, status, response);
        let addresses = server.addresses;
        self.settle_server(key.clone());
        self.transmit(addresses, effects);
    }

    /// Whether the request has had no final response yet.
    pub fn is_pending(&self, key: &ClientKey) -> bool {
        self.clients
            .get(key)
            .is_some_and(|client| client.machine.is_pending())
    }

    /// Forgets a request whose answer is not waited for any longer (§9.1: a
    /// cancelled INVITE that stays unanswered has no timer of its own).
    pub fn abandon(&mut self, key: &ClientKey) {
        self.clients.remove(key);
        self.deadlines.set(&Key::Client(key.clone()), None);
    }

    /// Forgets a request of a peer's; when it comes again it is a new one.
    pub(crate) fn abandon_server(&mut self, key: &ServerKey) {
        self.servers.remove(key);
        self.deadlines.set(&Key::Server(key.clone()), None);
    }

    /// Whether a request would begin a transaction.
    pub(crate) fn would_begin(&self, request: &Message) -> bool {
        let key = ServerKey::of_request(request).filter(|_| *request.method() != Method::Ack);
        key.is_some_and(|key| !self.servers.contains_key(&key))
    }

    /// Runs the timers that have run out by `now`.
    pub fn timeout(&mut self, now: Time) -> Vec<Expired<U>> {
        let mut expired = Vec::new();
        while let Some(key) = self.deadlines.take_due(now) {
            match key {
                Key::Client(key) => {
                    let Some(client) = self.clients.get_mut(&key) else {
                        continue;
                    };
                    let effects = client.machine.timeout(now);
                    if effects.contains(&Effect::TimedOut) {
                        expired.push(Expired::Request(client.user.clone()));
                    }
                    let addresses = client.addresses;
                    self.settle_client(key);
                    self.transmit(addresses, effects);
                }
                Key::Server(key) => {
                    let Some(server) = self.servers.get_mut(&key) else {
                        continue;
                    };
                    let effects = server.machine.timeout(now);
                    if effects.contains(&Effect::TimedOut) {
                        expired.push(Expired::Ack(key.clone()));
                    }
                    let addresses = server.addresses;
                    self.settle_server(key);
                    self.transmit(addresses, effects);
                }
            }
        }
        expired
    }

    /// When the next timer runs out.
    pub fn next_timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// The next message to send.
    pub fn poll_outgoing(&mut self) -> Option<(Addresses, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// Whether a request's transaction is alive.
    pub(crate) fn has_client(&self, key: &ClientKey) -> bool {
        self.clients.contains_key(key)
    }

    /// Whether the transaction of a peer's request is alive.
    pub(crate) fn has_server(&self, key: &ServerKey) -> bool {
        self.servers.contains_key(key)
    }

    /// Those of these transactions that are alive.
    pub(crate) fn alive(&self, clients: &[ClientKey], servers: &[ServerKey]) -> Alive<'_, U> {
        let clients = clients.iter().filter_map(|k| self.clients.get_key_value(k));
        let servers = servers.iter().filter_map(|k| self.servers.get_key_value(k));
        Alive {
            clients: clients.collect(),
            servers: servers.collect(),
        }
    }

    /// Goes on with transactions of an earlier run; their keys.
    pub(crate) fn restore(&mut self, kept: Kept<U>) -> (Vec<ClientKey>, Vec<ServerKey>) {
        let mut keys = (Vec::new(), Vec::new());
        for (key, client) in kept.clients {
            self.clients.insert(key.clone(), client);
            self.settle_client(key.clone());
            keys.0.push(key);
        }
        for (key, server) in kept.servers {
            self.servers.insert(key.clone(), server);
            self.settle_server(key.clone());
            keys.1.push(key);
        }
        keys
    }

    /// How many transactions are alive.
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues what is to be sent; true when the TU is to be told.
    fn transmit(&mut self, addresses: Addresses, effects: Vec<Effect>) -> bool {
        let mut deliver = false;
        for effect in effects {
            match effect {
                Effect::Send(bytes) => self.outgoing.push_back((addresses, bytes)),
                Effect::Deliver => deliver = true,
                Effect::TimedOut => {}
            }
        }
        deliver
    }

    fn settle_client(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(&key) else {
            return;
        };
        let (over, next) = (
            client.machine.is_terminated(),
            client.machine.timers().next(),
        );
        if over {
            self.clients.remove(&key);
        }
        self.deadlines
            .set(&Key::Client(key), next.filter(|_| !over));
    }

    fn settle_server(&mut self, key: ServerKey) {
        let Some(server) = self.servers.get(&key) else {
            return;
        };
        let (over, next) = (
            server.machine.is_terminated(),
            server.machine.timers().next(),
        );
        if over {
            self.servers.remove(&key);
        }
        self.deadlines
            .set(&Key::Server(key), next.filter(|_| !over));
    }
}
