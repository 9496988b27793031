//! The registrar for thin clients (RFC 3261 §10; steps 101, 201, 301, 401, 501,
//! 601 of the document).
//!
//! What comes in: the accounts and VMs of the configuration, REGISTER requests,
//! time. What goes out: responses, bindings, and events of what changed.
//!
//! A thin client registers at the address of its own VM, for which the daemon
//! answers. The rules:
//!
//! - **Who.** Digest authentication, SHA-256 and MD5 (RFC 7616, RFC 8760), the
//!   challenges in this order unless the account is limited to one of them;
//!   `qop=auth`, or none as of RFC 2617. Nonces are good for five minutes (then 401 with `stale=true`) and each count of a nonce
//!   once. Without right credentials nothing changes, and a wrong password is
//!   answered like an unknown user: 403. An account registers at its own VM's
//!   address only, and only itself: 403.
//! - **Binding.** One per account: the newest Contact takes the place of the one
//!   before. Expiry within the configured bounds: 423 below, shortened above.
//!   `Contact: *` with `Expires: 0`, or the bound Contact with `expires=0`,
//!   removes it. A CSeq that does not rise within a Call-ID changes nothing (500,
//!   §10.3). Where calls go: [`destination`]. Path, `outbound` and GRUU are not
//!   taken up, which their clients accept.
//! - **Media**, from the body; a refresh replaces what was registered before:
//!
//! | variant | body | the binding's media |
//! | --- | --- | --- |
//! | codecs (claim 5) | SDP with one audio stream: `m=audio 20000 RTP/AVP 0 8` | address and codecs |
//! | address only (claim 9) | SDP with the one format `*`: `m=audio 20000 RTP/AVP *` | address, no codecs |
//! | stock phone | none | none: asked at each call |
//!
//! The format `*` is grammatical (RFC 8866 §9: a format is a token) and means
//! that the codecs are not told. The SDP needs an address that is not null
//! and a port. What cannot be taken is refused (400, 415, 488) and nothing
//! changes.
//!
//! Memory is bounded by the accounts and by constants, whatever is sent.

mod access;
mod account;
mod answered;
mod binding;
mod kept;
mod nonce;
mod refusal;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

pub use self::access::Access;
use self::account::Account;
use self::answered::{Answered, Fingerprint};
pub use self::binding::{Binding, Signalling, SipContact, destination};
pub(crate) use self::kept::Numbers;
use self::nonce::NonceMint;
use self::refusal::Refusal;
use self::wish::Wish;
use crate::deadlines::Deadlines;
use crate::engine::{
    ClientView, ConnectionId, Datagram, Event, ExpiresConfig, Side, ThinClientConfig, VmConfig,
};
use crate::media::Media;
use crate::sip::digest::{Algorithm, Challenge};
use crate::sip::identifiers::{Identifiers, derive};
use crate::sip::received::{mark_received, sent_by};
use crate::sip::transaction::Addresses;
use crate::sip::{Message, Method, Name, ResponseBuilder, SipUri};
use crate::time::Time;

/// What becomes of a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The response.
    pub reply: Option<Datagram>,
    /// [`Event::Client`] and [`Event::RegistrationRefused`].
    pub events: Vec<Event>,
    /// User whose thin client is bound now.
    pub bound: Option<String>,
}

/// The registrar of all VMs.
#[derive(Debug)]
pub struct Registrar {
    vms: Vec<VmConfig>,
    realm: String,
    bounds: ExpiresConfig,
    mint: NonceMint,
    identifiers: Identifiers,
    accounts: Vec<Account>,
    by_user: BTreeMap<String, usize>,
    by_vm: BTreeMap<usize, Vec<usize>>,
    /// Ends of bindings, by account.
    ends: Deadlines<usize>,
    answered: Answered,
    /// Accounts whose bindings have changed since [`Self::take_touched`].
    touched: BTreeSet<usize>,
}

/// What an authenticated REGISTER has led to.
struct Granted {
    account: usize,
    changed: Option<ClientView>,
}

/// What is to be bound.
struct Terms {
    contact: Vec<u8>,
    expires: Time,
    media: Option<Media>,
}

impl Registrar {
    /// No binding yet.
    pub fn new(
        accounts: &[ThinClientConfig],
        vms: &[VmConfig],
        realm: &str,
        bounds: ExpiresConfig,
        seed: [u8; 32],
    ) -> Self {
        let mut by_user = BTreeMap::new();
        let mut by_vm: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, account) in accounts.iter().enumerate() {
            by_user.insert(account.user.clone(), index);
            by_vm.entry(account.vm).or_default().push(index);
        }
        Self {
            vms: vms.to_vec(),
            realm: realm.to_owned(),
            bounds,
            mint: NonceMint::new(derive(seed, "nonces")),
            identifiers: Identifiers::new(seed, "registrar"),
            accounts: accounts.iter().cloned().map(Account::new).collect(),
            by_user,
            by_vm,
            ends: Deadlines::default(),
            answered: Answered::default(),
            touched: BTreeSet::new(),
        }
    }

    /// A REGISTER has come to a VM's address and the registrar's port. Another method
    /// gets no reply here.
    pub fn handle(&mut self, now: Time, from: Addresses, request: &Message) -> Outcome {
        let (src, dst) = (from.remote, from.local);
        if !request.is_request() || *request.method() != Method::Register {
            return Outcome::default();
        }
        let fingerprint = Fingerprint::of(src, dst, request.bytes());
        if let Some(reply) = self.answered.get(now, fingerprint) {
            return Outcome {
                reply: Some(Datagram {
                    transport: from.transport,
                    ..reply.clone()
                }),
                ..Outcome::default()
            };
        }
        let mut events = self.expire(now);
        let mut bound = None;
        let payload = match self.register(now, from, request) {
            Ok(granted) => {
                events.extend(granted.changed.map(Event::Client));
                let binding = self.accounts[granted.account].binding.as_ref();
                bound = binding.map(|binding| binding.user.clone());
                self.ok(now, src, request, granted.account)
            }
            Err(refusal) => {
                if refusal.is_notable() {
                    events.push(Event::RegistrationRefused {
                        peer: src,
                        user: user_of(request.to_uri()),
                        status: refusal.status(),
                        why: refusal.to_string(),
                    });
                }
                self.refused(now, src, request, &refusal)
            }
        };
        let reply = Datagram {
            side: Side::Net,
            transport: from.transport,
            src: dst,
            dst: from.answering(request).remote,
            payload,
        };
        self.answered.put(now, fingerprint, reply.clone());
        Outcome {
            reply: Some(reply),
            events,
            bound,
        }
    }

    /// The thin client that takes the calls of a VM: of several the one whose
    /// present contact was bound last.
    pub fn binding_for_vm(&self, vm: usize) -> Option<&Binding> {
        self.by_vm
            .get(&vm)?
            .iter()
            .filter_map(|account| self.accounts[*account].binding.as_ref())
            .max_by_key(|binding| binding.since)
    }

    /// Binds a thin client that has registered by another protocol than SIP, or
    /// binds it for longer. Its own protocol's agent says when it ends.
    pub fn bind_gateway(&mut self, binding: Binding) -> Option<Event> {
        let account = *self.by_user.get(&binding.user)?;
        let before = self.accounts[account].binding.take();
        let same = before.is_some_and(|before| {
            before.address == binding.address && before.signalling == binding.signalling
        });
        let view = self.view(&binding, true);
        self.accounts[account].binding = Some(binding);
        self.ends.set(&account, None);
        self.touched.insert(account);
        (!same).then_some(Event::Client(view))
    }

    /// The registration of such a thin client has ended.
    pub fn unbind_gateway(&mut self, user: &str) -> Option<Event> {
        let account = *self.by_user.get(user)?;
        self.unbind(account).map(Event::Client)
    }

    /// A connection is gone: bindings by it have ended. Those of gateways are their
    /// agent's to end.
    pub fn closed(&mut self, connection: ConnectionId) -> Vec<Event> {
        let by_it = |binding: &Binding| {
            binding.sip().is_some() && binding.transport.connection() == Some(connection)
        };
        let accounts = self.accounts.iter().enumerate();
        let ended: Vec<usize> = accounts
            .filter(|(_, account)| account.binding.as_ref().is_some_and(by_it))
            .map(|(index, _)| index)
            .collect();
        let views = ended.into_iter().filter_map(|account| self.unbind(account));
        views.map(Event::Client).collect()
    }

    /// Removes the bindings that have ended by `now`.
    pub fn expire(&mut self, now: Time) -> Vec<Event> {
        self.answered.expire(now);
        let mut events = Vec::new();
        while let Some(account) = self.ends.take_due(now) {
            self.touched.insert(account);
            if let Some(gone) = self.accounts[account].binding.take() {
                events.push(Event::Client(self.view(&gone, false)));
            }
        }
        events
    }

    /// How many entries are remembered: bindings, nonces used, answers.
    pub(crate) fn held(&self) -> usize {
        let accounts = self.accounts.iter();
        let of_accounts: usize = accounts
            .map(|a| usize::from(a.binding.is_some()) + a.used.len())
            .sum();
        of_accounts + self.answered.len()
    }

    /// When the next binding ends.
    pub fn next_expiry(&self) -> Option<Time> {
        self.ends.next()
    }

    /// The bindings, as `sidestep clients` shows them.
    pub fn clients(&self) -> Vec<ClientView> {
        self.accounts
            .iter()
            .filter_map(|account| account.binding.as_ref())
            .map(|binding| self.view(binding, true))
            .collect()
    }

    /// §10.3, steps 2 to 7.
    fn register(
        &mut self,
        now: Time,
        from: Addresses,
        request: &Message,
    ) -> Result<Granted, Refusal> {
        let dst = from.local;
        check_extensions(request)?;
        let account = self.authenticate(now, request)?;
        let vm = self.accounts[account].vm;
        if self
            .vms
            .get(vm)
            .is_none_or(|vm| SocketAddr::from((vm.address, dst.port())) != dst)
        {
            return Err(Refusal::OtherVm);
        }
        if user_of(request.to_uri()).as_ref() != Some(&self.accounts[account].user) {
            return Err(Refusal::OtherUser);
        }
        let wish = wish::wish(request, from.transport)?;
        let bound = self.accounts[account].binding.as_ref();
        let in_order = bound.and_then(Binding::sip).is_none_or(|bound| {
            bound.call_id != request.call_id() || bound.cseq < request.cseq().0
        });
        if wish != Wish::Query && !in_order {
            return Err(Refusal::OutOfOrder);
        }
        let changed = match wish {
            Wish::Query => None,
            Wish::RemoveAll => self.unbind(account),
            Wish::Remove(contacts) => {
                let bound = self.accounts[account].binding.as_ref();
                let named = bound
                    .and_then(Binding::sip)
                    .is_some_and(|bound| contacts.iter().any(|uri| same_contact(uri, &bound.uri)));
                if named { self.unbind(account) } else { None }
            }
            Wish::Bind { contact, seconds } => {
                let terms = Terms {
                    contact,
                    expires: now + self.granted(seconds)?,
                    media: wish::media(request)?,
                };
                self.bind(now, from, request, account, terms)?
            }
        };
        Ok(Granted { account, changed })
    }

    /// §10.3 step 3, §22.4; RFC 7616 §3.4.
    fn authenticate(&mut self, now: Time, request: &Message) -> Result<usize, Refusal> {
        let credentials = account::credentials(request, &self.realm)?;
        let index = self.by_user.get(&credentials.username).copied();
        let password = index.and_then(|index| self.accounts[index].password.as_deref());
        // An unknown user costs the same work as a wrong password.
        let right = credentials.verify(password.unwrap_or_default(), Method::Register.as_str());
        let Some(index) = index.filter(|_| right && password.is_some()) else {
            return Err(Refusal::WrongPassword);
        };
        if !takes(self.accounts[index].digest, credentials.algorithm) {
            return Err(Refusal::Challenge);
        }
        match self.mint.check(&credentials.nonce, now) {
            nonce::Nonce::Stale => Err(Refusal::Stale),
            nonce::Nonce::Good(stamp) => {
                if self.accounts[index].used.take(stamp, &credentials) {
                    Ok(index)
                } else {
                    Err(Refusal::Replayed)
                }
            }
        }
    }

    /// §10.3 step 7.
    fn granted(&self, asked: Option<u32>) -> Result<Duration, Refusal> {
        let seconds = match asked {
            None => self.bounds.default,
            Some(seconds) if seconds < self.bounds.min => return Err(Refusal::TooBrief(seconds)),
            Some(seconds) => seconds.min(self.bounds.max),
        };
        Ok(Duration::from_secs(u64::from(seconds)))
    }

    fn bind(
        &mut self,
        now: Time,
        from: Addresses,
        request: &Message,
        account: usize,
        terms: Terms,
    ) -> Result<Option<ClientView>, Refusal> {
        let uri = SipUri::parse(&terms.contact).ok_or(Refusal::Contact)?;
        let rport = request.top_via().rport.is_some();
        // By a connection it is called by that (RFC 5626 §4.2), whatever it names.
        let address = match from.transport.is_reliable() {
            true => from.remote,
            false => destination(&uri, from.remote, sent_by(request), rport),
        };
        let Account {
            user, vm, binding, ..
        } = &mut self.accounts[account];
        let vm_address = self.vms.get(*vm).ok_or(Refusal::OtherVm)?.address;
        let before = binding.take();
        let kept = before.as_ref().filter(|bound| {
            let uri = bound.sip().map(|bound| &bound.uri);
            uri == Some(&terms.contact)
                && bound.address == address
                && bound.transport == from.transport
        });
        let bound = Binding {
            user: user.clone(),
            vm: *vm,
            vm_address,
            since: kept.map_or(now, |bound| bound.since),
            signalling: Signalling::Sip(SipContact {
                uri: terms.contact,
                call_id: request.call_id().to_vec(),
                cseq: request.cseq().0,
            }),
            address,
            transport: from.transport,
            media: terms.media,
            expires: terms.expires,
        };
        let same = kept.is_some_and(|kept| kept.media == bound.media);
        self.ends.set(&account, Some(bound.expires));
        let view = self.view(&bound, true);
        self.accounts[account].binding = Some(bound);
        self.touched.insert(account);
        Ok((!same).then_some(view))
    }

    fn unbind(&mut self, account: usize) -> Option<ClientView> {
        self.ends.set(&account, None);
        self.touched.insert(account);
        let gone = self.accounts[account].binding.take()?;
        Some(self.view(&gone, false))
    }

    /// §10.3 step 8: the account's binding with what is left of its time.
    fn ok(&mut self, now: Time, src: SocketAddr, request: &Message, account: usize) -> Vec<u8> {
        let tag = self.identifiers.token();
        let request = mark_received(request.clone(), src);
        let mut response = ResponseBuilder::new(&request, 200, Some(&tag));
        let bound = self.accounts[account].binding.as_ref();
        if let Some((bound, contact)) = bound.and_then(|bound| Some((bound, bound.sip()?))) {
            let left = bound.expires.since(now).as_secs();
            let tail = format!(">;expires={left}");
            response = response.header(
                Name::CONTACT,
                [b"<", contact.uri.as_slice(), tail.as_bytes()].concat(),
            );
        }
        response.build()
    }

    fn refused(
        &mut self,
        now: Time,
        src: SocketAddr,
        request: &Message,
        refusal: &Refusal,
    ) -> Vec<u8> {
        let tag = self.identifiers.token();
        let request = mark_received(request.clone(), src);
        let mut response = ResponseBuilder::new(&request, refusal.status(), Some(&tag));
        match refusal {
            Refusal::Challenge | Refusal::Stale | Refusal::Replayed => {
                let nonce = self.mint.make(now);
                let account = user_of(request.to_uri())
                    .and_then(|user| Some(&self.accounts[*self.by_user.get(&user)?]));
                let only = account.and_then(|account| account.digest);
                for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
                    if !takes(only, algorithm) {
                        continue;
                    }
                    let challenge = Challenge {
                        realm: self.realm.clone(),
                        nonce: nonce.clone(),
                        opaque: None,
                        algorithm,
                        qop_auth: true,
                        stale: *refusal != Refusal::Challenge,
                    };
                    response = response.header(Name::WWW_AUTHENTICATE, challenge.to_string());
                }
            }
            Refusal::TooBrief(_) => {
                response = response.typed(rsip::headers::MinExpires::from(self.bounds.min));
            }
            Refusal::Extensions(names) => {
                response = response.typed(rsip::headers::Unsupported::from(names.join(", ")));
            }
            Refusal::BodyType => {
                response = response.typed(rsip::headers::Accept::from("application/sdp"));
            }
            _ => {
                let why = refusal.to_string().replace(['"', '\\'], "'");
                response = response.header(Name::WARNING, format!("399 sidestep \"{why}\""));
            }
        }
        response.build()
    }

    fn view(&self, binding: &Binding, registered: bool) -> ClientView {
        ClientView {
            name: binding.user.clone(),
            vm: self
                .vms
                .get(binding.vm)
                .map(|vm| vm.name.clone())
                .unwrap_or_default(),
            protocol: binding.signalling.protocol(),
            address: binding.address,
            media: binding.media.clone(),
            codecs: binding.codecs().to_vec(),
            expires: binding.expires,
            registered,
        }
    }
}

/// §10.3 step 2: no extension is known here.
fn check_extensions(request: &Message) -> Result<(), Refusal> {
    let unknown: Vec<String> = request
        .headers(Name::REQUIRE)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Extensions(unknown))
    }
}

/// The user part of an address-of-record, escapes taken off (§10.3 step 5).
fn user_of(uri: &[u8]) -> Option<String> {
    let user = SipUri::parse(uri)?.user?;
    let user = user.split(|&b| b == b':').next().unwrap_or_default();
    Some(account::unescape(user))
}

/// Whether both URIs are the same contact (§10.3 step 7, §19.1.4).
fn same_contact(a: &[u8], b: &[u8]) -> bool {
    match (SipUri::parse(a), SipUri::parse(b)) {
        (Some(a), Some(b)) => a.same_place(&b),
        _ => a == b,
    }
}

/// Whether an account that is challenged with `only` takes this algorithm.
fn takes(only: Option<Algorithm>, algorithm: Algorithm) -> bool {
    only.is_none_or(|only| only == algorithm)
}
