//! What the call machine says about media: an address, codecs, a direction.

mod encodings;

use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

pub use encodings::{Encoding, Encodings};

/// A codec as SDP names it (RFC 8866 §6.6; static numbers: RFC 3551 §6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Codec {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name as written; compared without case.
    pub name: String,
    /// RTP clock rate, Hz.
    pub clock_rate: u32,
    /// Encoding parameters: for audio, the channels, where written.
    pub channels: Option<u8>,
    /// Format parameters (`a=fmtp`) as written.
    pub fmtp: Option<String>,
}

impl Codec {
    /// Whether both name the same encoding: name without case, clock rate and
    /// channels; payload type and format parameters do not count.
    pub fn same_encoding(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate == other.clock_rate
            && self.channels.unwrap_or(1) == other.channels.unwrap_or(1)
    }

    /// Whether it carries something else than speech: events (RFC 4733), comfort
    /// noise (RFC 3389). Such a codec alone does not make a call.
    pub fn is_auxiliary(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event") || self.name.eq_ignore_ascii_case("CN")
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.clock_rate)?;
        match self.channels {
            Some(channels) if channels > 1 => write!(f, "/{channels}"),
            _ => Ok(()),
        }
    }
}

/// Direction attribute (RFC 8866 §6.7), from the describer's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Sends and receives; what no attribute means.
    #[default]
    SendRecv,
    /// Sends only.
    SendOnly,
    /// Receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// Who begins the handshake of DTLS-SRTP: `a=setup` (RFC 4145 §4, RFC 5763 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setup {
    /// Either may: what an offer says.
    ActPass,
    /// The describer does.
    Active,
    /// The other does.
    Passive,
}

impl Setup {
    /// Of the value of the attribute; `holdconn` is not for DTLS (RFC 5763 §5).
    pub(crate) fn of(value: &[u8]) -> Option<Self> {
        let all = [Self::ActPass, Self::Active, Self::Passive];
        let value = value.trim_ascii();
        all.into_iter()
            .find(|setup| value.eq_ignore_ascii_case(setup.name().as_bytes()))
    }

    /// The value of the attribute.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }

    /// What is left for the other end; of `actpass`, to begin, as RFC 5763 §5 would
    /// have it.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::ActPass | Self::Passive => Self::Active,
        }
    }
}

/// How a stream is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: RTP/AVP.
    Plain,
    /// SRTP with keys in the description (RFC 4568).
    Sdes,
    /// SRTP with keys of a DTLS handshake (RFC 5764), whose certificates are in the
    /// description by their fingerprints (RFC 8122).
    Dtls,
}

/// How packets find an endpoint and are protected: its SRTP keys (RFC 4568) or the
/// fingerprints of its certificates (RFC 8122), and its ICE candidates (RFC 8839), as
/// it wrote them. They are between the two ends of the media: carried from one to the
/// other, and never shown. Most endpoints have neither, and then it takes no room.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Channel(Option<Box<Lines>>);

/// The lines of a [`Channel`].
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lines {
    /// Values of `a=crypto`, in order. Any: the stream is SRTP.
    pub(crate) crypto: Vec<String>,
    /// `a=fingerprint` and `a=tls-id` (RFC 8842 §4) as written after `a=`. Any: the
    /// stream is DTLS-SRTP.
    pub(crate) dtls: Vec<String>,
    /// Its `a=setup`.
    pub(crate) setup: Option<Setup>,
    /// ICE attributes, in order, as written after `a=`.
    pub(crate) ice: Vec<String>,
    /// `a=ice-lite`.
    pub(crate) ice_lite: bool,
}

/// No lines.
static NONE: Lines = Lines {
    crypto: Vec::new(),
    dtls: Vec::new(),
    setup: None,
    ice: Vec::new(),
    ice_lite: false,
};

impl From<Lines> for Channel {
    fn from(lines: Lines) -> Self {
        Self((lines != NONE).then(|| Box::new(lines)))
    }
}

impl Deref for Channel {
    type Target = Lines;

    fn deref(&self) -> &Lines {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Channel {
    fn deref_mut(&mut self) -> &mut Lines {
        self.0.get_or_insert_default()
    }
}

impl PartialEq for Channel {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Channel {}

impl Channel {
    /// Whether the stream is encrypted.
    pub fn is_secure(&self) -> bool {
        self.security() != Security::Plain
    }

    /// How the stream is protected.
    pub fn security(&self) -> Security {
        if !self.dtls.is_empty() {
            Security::Dtls
        } else if !self.crypto.is_empty() {
            Security::Sdes
        } else {
            Security::Plain
        }
    }

    /// As an offer says it: either end may begin the handshake (RFC 5763 §5), unless
    /// the describer has said already which one does.
    #[must_use]
    pub(crate) fn offered(self) -> Self {
        let setup = self.setup.unwrap_or(Setup::ActPass);
        self.with_setup(setup)
    }

    /// With this word on who begins the handshake, where there is one.
    #[must_use]
    pub(crate) fn with_setup(mut self, setup: Setup) -> Self {
        let setup = (!self.dtls.is_empty()).then_some(setup);
        if self.setup != setup {
            self.setup = setup;
        }
        self
    }

    /// Whether both are the same end, whoever begins the handshake.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let Lines {
            crypto,
            dtls,
            setup: _,
            ice,
            ice_lite,
        } = &**self;
        (crypto, dtls, ice, ice_lite) == (&other.crypto, &other.dtls, &other.ice, &other.ice_lite)
    }

    /// Whether the endpoint has ICE candidates.
    pub fn has_ice(&self) -> bool {
        !self.ice.is_empty()
    }

    /// Whether there are neither keys nor candidates.
    fn is_empty(&self) -> bool {
        **self == NONE
    }

    /// The keys alone: candidates are addresses that do not hold where media is
    /// steered.
    #[must_use]
    pub(crate) fn without_ice(&self) -> Self {
        Self::from(Lines {
            crypto: self.crypto.clone(),
            dtls: self.dtls.clone(),
            setup: self.setup,
            ..Lines::default()
        })
    }

    /// Whether who knows this knows `other`: all of its keys, and its candidates.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let known = |line: &String| {
            let keys = |line: &str| line.splitn(3, ' ').skip(1).collect::<Vec<_>>().join(" ");
            self.crypto.iter().any(|own| keys(own) == keys(line))
        };
        self.security() == other.security()
            && self.dtls == other.dtls
            && other.crypto.iter().all(known)
            && (other.ice.is_empty() || self.ice == other.ice)
    }
}

impl fmt::Debug for Channel {
    /// How many keys and candidates, never which.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("keys", &self.crypto.len())
            .field("dtls", &self.dtls.len())
            .field("ice", &self.ice.len())
            .finish()
    }
}

/// One endpoint's audio, as far as Sidestep has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Media {
    /// Where RTP is to be sent.
    pub rtp: SocketAddr,
    /// Where RTCP is to be sent: `a=rtcp` (RFC 3605), else RTP's port + 1; the
    /// same as `rtp` where both sides multiplex (RFC 5761).
    pub rtcp: SocketAddr,
    /// In order of preference. Empty: not known (address-only registration).
    pub codecs: Vec<Codec>,
    /// Packet time, ms, where given.
    pub ptime: Option<u32>,
    /// Longest packet time, ms, where given.
    #[serde(default)]
    pub maxptime: Option<u32>,
    /// Direction.
    pub direction: Direction,
    /// Its keys and candidates.
    #[serde(default)]
    pub channel: Channel,
}

/// Where people read it, its keys and candidates are left out if it has none.
impl Serialize for Media {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            rtp,
            rtcp,
            codecs,
            ptime,
            maxptime,
            direction,
            channel,
        } = self;
        let all = !serializer.is_human_readable() || !channel.is_empty();
        let mut fields = serializer.serialize_struct("Media", 6 + usize::from(all))?;
        fields.serialize_field("rtp", rtp)?;
        fields.serialize_field("rtcp", rtcp)?;
        fields.serialize_field("codecs", codecs)?;
        fields.serialize_field("ptime", ptime)?;
        fields.serialize_field("maxptime", maxptime)?;
        fields.serialize_field("direction", direction)?;
        if all {
            fields.serialize_field("channel", channel)?;
        }
        fields.end()
    }
}

impl Media {
    /// As people may see it: without keys and candidates.
    #[must_use]
    pub fn shown(&self) -> Self {
        Self {
            channel: Channel::default(),
            ..self.clone()
        }
    }

    /// On hold in the old form (RFC 2543): the address is 0.0.0.0 or `::`. It
    /// must never become a live address.
    pub fn is_null_address(&self) -> bool {
        self.rtp.ip().is_unspecified()
    }
}
