//! What each party is told about the others' media, and that `o=` versions rise
//! when, and only when, what is told changes (RFC 3264 §8).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::reason::Reason;
use crate::media::{Channel, Codec, Direction, Lines, Media, Security, Setup};
use crate::sdp::{self, AudioError, AudioReplacement, SdpError, SessionDescription};
use crate::sip::identifiers::Identifiers;

/// A description with an audio stream that can be bypassed. A call keeps several for
/// as long as it lasts, some of them in two places, and reads one again where another
/// is made of it: so only the bytes are kept, once, without the places of everything in
/// them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Described(Arc<Description>);

/// What a [`Described`] is.
#[derive(PartialEq, Eq, Serialize)]
pub(crate) struct Description {
    /// Its bytes; they have been read once.
    #[serde(with = "serde_bytes")]
    sdp: Box<[u8]>,
    index: usize,
    pub(crate) media: Media,
    /// Session id and version of `o=`.
    #[serde(skip)]
    origin: Option<(Box<str>, u64)>,
}

/// A description of an earlier run.
#[derive(Deserialize)]
struct Kept {
    sdp: SessionDescription,
    index: usize,
    media: Media,
}

impl Deref for Described {
    type Target = Description;

    fn deref(&self) -> &Description {
        &self.0
    }
}

impl Serialize for Described {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Described {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Kept { sdp, index, media } = Kept::deserialize(deserializer)?;
        Ok(Self::new(&sdp, index, media))
    }
}

impl fmt::Debug for Described {
    /// Without its bytes, which may hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described")
            .field("sdp", &self.sdp.len())
            .field("index", &self.index)
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}

/// Why a body is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undescribed {
    #[error(transparent)]
    Sdp(#[from] SdpError),
    #[error(transparent)]
    Audio(#[from] AudioError),
}

impl Undescribed {
    /// What the call says: a rejected stream means that no codec suited.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Audio(AudioError::Rejected) => Reason::NoCommonCodec,
            Self::Audio(AudioError::Encrypted) => Reason::MediaEncrypted,
            _ => Reason::SdpNotUnderstood,
        }
    }
}

impl Described {
    /// Reads an offer. `stream`: the one that is bypassed, where the session has
    /// one already; else the first that can be.
    pub(crate) fn offer(body: &[u8], stream: Option<usize>) -> Result<Self, Undescribed> {
        let sdp = SessionDescription::parse(body)?;
        let (index, media) = sdp.movable_audio(stream)?;
        Ok(Self::new(&sdp, index, media))
    }

    /// Reads an answer.
    pub(crate) fn answer(body: &[u8], stream: Option<usize>) -> Result<Self, Undescribed> {
        let sdp = SessionDescription::parse(body)?;
        let (index, media) = sdp.movable_audio_of_answer(stream)?;
        Ok(Self::new(&sdp, index, media))
    }

    fn new(sdp: &SessionDescription, index: usize, mut media: Media) -> Self {
        media.codecs.shrink_to_fit();
        let origin = sdp.origin();
        Self(Arc::new(Description {
            sdp: sdp.bytes().into(),
            index,
            media,
            origin: origin.map(|origin| (origin.sess_id.as_str().into(), origin.sess_version)),
        }))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.sdp
    }

    /// It, read again.
    ///
    /// # Errors
    ///
    /// None: it was read before.
    pub(crate) fn sdp(&self) -> Result<SessionDescription, SdpError> {
        SessionDescription::parse(&self.sdp)
    }

    /// The same with another audio stream.
    fn replace(&self, replacement: &AudioReplacement) -> Vec<u8> {
        match self.sdp() {
            Ok(sdp) => sdp.replace_audio(self.index, replacement),
            Err(_) => self.sdp.to_vec(),
        }
    }

    /// Which stream of the session it is.
    pub(crate) fn stream(&self) -> usize {
        self.index
    }

    /// The same description with other media: its address, and its codecs if it
    /// has any. A stream on hold by a null address stays so.
    pub(crate) fn with(&self, media: &Media, direction: Option<Direction>) -> Vec<u8> {
        let replacement = AudioReplacement {
            direction,
            ..AudioReplacement::media(media)
        };
        self.replace(&replacement)
    }

    /// The next description of a session that we describe ourselves: here a null
    /// address of before is not kept, and the direction is the media's.
    pub(crate) fn next(&self, media: &Media) -> Vec<u8> {
        let replacement = AudioReplacement {
            direction: Some(media.direction),
            origin_version: self.version().map(|version| version.saturating_add(1)),
            replace_null: true,
            ..AudioReplacement::media(media)
        };
        self.replace(&replacement)
    }

    /// Whether it names a codec that carries speech, and that is known here.
    fn carries_speech(&self) -> bool {
        self.media.codecs.iter().any(|codec| !codec.is_auxiliary())
    }

    /// Whether an answer to it can be made up: it names a codec that carries
    /// speech, and a key that is known here if it wants one.
    pub(crate) fn is_answerable(&self) -> Result<(), Reason> {
        if !self.carries_speech() {
            Err(Reason::SdpNotUnderstood)
        } else if !VmKey::suits(&self.media.channel) {
            Err(Reason::MediaEncrypted)
        } else {
            Ok(())
        }
    }

    /// Whether its user holds the call (RFC 3264 §8.4).
    pub(crate) fn is_hold(&self) -> bool {
        self.media.is_null_address()
            || matches!(
                self.media.direction,
                Direction::SendOnly | Direction::Inactive
            )
    }

    /// Session id and version of `o=`.
    pub(crate) fn origin(&self) -> Option<(&str, u64)> {
        let (id, version) = self.origin.as_ref()?;
        Some((id, *version))
    }

    /// Session version of `o=`.
    pub(crate) fn version(&self) -> Option<u64> {
        self.origin().map(|(_, version)| version)
    }

    fn session(&self) -> Option<&str> {
        self.origin().map(|(id, _)| id)
    }
}

/// What one party has been told in a session, last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    last: Option<Described>,
    /// What was told before that.
    before: Option<Box<Media>>,
    /// The last was an offer, and refused: what was before stands.
    retracted: bool,
}

impl Told {
    /// What was told last.
    pub(crate) fn last(&self) -> Option<&Described> {
        self.last.as_ref()
    }

    /// The media that it goes by.
    pub(crate) fn media(&self) -> Option<&Media> {
        match (self.retracted, &self.before) {
            (true, Some(before)) => Some(before),
            _ => self.last.as_ref().map(|described| &described.media),
        }
    }

    /// It has refused what it was offered last (RFC 3261 §14.1: the session stays
    /// as it was).
    pub(crate) fn retract(&mut self) {
        self.retracted = true;
    }

    fn set(&mut self, new: Described) {
        self.before = self.media().cloned().map(Box::new);
        self.retracted = false;
        self.last = Some(new);
    }

    /// Tells `body`: as it is, or with a session version above the last one if
    /// something else had that version already.
    pub(crate) fn say(&mut self, body: Vec<u8>) -> Vec<u8> {
        let stream = self.last.as_ref().map(Described::stream);
        let new = Described::answer(&body, stream).or_else(|_| Described::answer(&body, None));
        let Ok(new) = new else {
            return body;
        };
        let Some(last) = self
            .last
            .as_ref()
            .filter(|last| last.session() == new.session())
        else {
            self.set(new);
            return body;
        };
        let (Some(told), Some(version)) = (last.version(), new.version()) else {
            self.set(new);
            return body;
        };
        if told < version || last.bytes() == body {
            self.set(new);
            return body;
        }
        let with_version = |version| match new.sdp() {
            Ok(sdp) => sdp.with_version(version),
            Err(_) => new.sdp.to_vec(),
        };
        if with_version(told) == last.bytes() {
            let bytes = last.bytes().to_vec();
            self.set(last.clone());
            return bytes;
        }
        let raised = with_version(told.saturating_add(1));
        if let Ok(raised) = Described::answer(&raised, Some(new.index)) {
            self.set(raised);
        }
        raised
    }
}

/// The answer that a bypassed VM gets to its offer: the gateway's, but the audio
/// goes to the discard address, and its codecs are such as the VM offered
/// (RFC 3264 §6.1). What the gateway chose is taken where the VM offered it, but
/// G.711 first: nobody will hear it, so the cheapest will do. Other streams and
/// attributes (preconditions, RFC 3312) are the gateway's own. `None`: the VM's
/// offer has no codec that carries speech, or no key that can be answered.
pub(crate) fn answer_to_vm(
    offer: &Described,
    gateway: &Described,
    discard: IpAddr,
    key: &VmKey,
) -> Option<Vec<u8>> {
    let offered = || offer.media.codecs.iter().filter(|c| !c.is_auxiliary());
    let speech = offered()
        .find(|c| {
            ["PCMU", "PCMA"]
                .iter()
                .any(|n| c.name.eq_ignore_ascii_case(n))
        })
        .or_else(|| offered().find(|c| gateway.media.codecs.iter().any(|g| g.same_encoding(c))))
        .or_else(|| offered().next())?;
    let events = |c: &&Codec| c.name.eq_ignore_ascii_case("telephone-event");
    let mut codecs = vec![speech.clone()];
    codecs.extend(offer.media.codecs.iter().filter(events).cloned());
    let replacement = AudioReplacement {
        rtcp_mux: Some(false),
        channel: Some(key.answer(&offer.media.channel)?),
        direction: Some(sdp::answered(
            offer.media.direction,
            gateway.media.direction,
        )),
        ..AudioReplacement::address(SocketAddr::new(discard, offer.media.rtp.port())).codecs(codecs)
    };
    Some(gateway.replace(&replacement))
}

/// What the VM is told as its far end's key where it offers SRTP (RFC 4568 §5.1), or as
/// its certificate's fingerprint where it offers DTLS (RFC 5763): made up, since its
/// media goes nowhere.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct VmKey(Vec<u8>);

impl VmKey {
    /// Drawn once for a call, so that it is told the same again.
    pub(crate) fn draw(identifiers: &mut Identifiers) -> Self {
        let mut draw = || identifiers.below(u32::MAX).to_be_bytes();
        Self((0..12).flat_map(|_| draw()).collect())
    }

    /// Whether an offer with this channel can be answered at all.
    pub(crate) fn suits(offered: &Channel) -> bool {
        Self(vec![0; 46]).answer(offered).is_some()
    }

    /// The channel of an answer to this one: of the keys that are offered, the
    /// first of a suite that is known here (RFC 4568 §6.2, RFC 6188, RFC 7714).
    pub(crate) fn answer(&self, offered: &Channel) -> Option<Channel> {
        match offered.security() {
            Security::Plain => return Some(Channel::default()),
            Security::Dtls => return Some(self.certificate(offered)),
            Security::Sdes => {}
        }
        let line = offered.crypto.iter().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (tag, suite) = (words.next()?, words.next()?);
            // Master key and salt, octets.
            let length = match suite {
                "AES_CM_128_HMAC_SHA1_80" | "AES_CM_128_HMAC_SHA1_32" => 30,
                "AES_192_CM_HMAC_SHA1_80" | "AES_192_CM_HMAC_SHA1_32" => 38,
                "AES_256_CM_HMAC_SHA1_80" | "AES_256_CM_HMAC_SHA1_32" => 46,
                "AEAD_AES_128_GCM" => 28,
                "AEAD_AES_256_GCM" => 44,
                _ => return None,
            };
            let key = base64(self.0.get(..length)?);
            Some(format!("{tag} {suite} inline:{key}"))
        })?;
        Some(Channel::from(Lines {
            crypto: vec![line],
            ..Lines::default()
        }))
    }
}

impl VmKey {
    /// The fingerprint of a certificate that nobody has (RFC 8122 §5). The VM's
    /// softphone is to wait for a handshake that never begins, rather than to begin
    /// one that fails.
    fn certificate(&self, offered: &Channel) -> Channel {
        let hash: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        let mut dtls = vec![format!(
            "fingerprint:sha-256 {}",
            hash.get(..32).unwrap_or_default().join(":")
        )];
        if offered.dtls.iter().any(|line| line.starts_with("tls-id:")) {
            dtls.push(format!(
                "tls-id:{}",
                hash.get(32..).unwrap_or_default().concat()
            ));
        }
        Channel::from(Lines {
            dtls,
            setup: Some(offered.setup.unwrap_or(Setup::ActPass).other()),
            ..Lines::default()
        })
    }
}

impl fmt::Debug for VmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VmKey")
    }
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
            match ALPHABET.get(index) {
                Some(letter) if at <= chunk.len() => out.push(char::from(*letter)),
                _ => out.push('='),
            }
        }
    }
    out
}

/// Whether two codec lists share one that carries speech. A list that is not
/// known shares all.
pub(crate) fn share_speech(one: &[Codec], other: &[Codec]) -> bool {
    one.is_empty()
        || other.is_empty()
        || sdp::intersect(one, other).iter().any(|c| !c.is_auxiliary())
}

/// Whether a TC that was promised to the gateway as `promised`, and that answers
/// the gateway's `chosen` codecs with `answered`, has changed (step 305): another
/// address, or a codec gone that was promised and that the gateway may send.
pub(crate) fn has_changed(promised: &Media, chosen: &[Codec], answered: &Media) -> bool {
    let is_promised = |codec: &Codec| {
        promised.codecs.is_empty() || promised.codecs.iter().any(|p| p.same_encoding(codec))
    };
    promised.rtp != answered.rtp
        || promised.rtcp != answered.rtcp
        || !promised.channel.covers(&answered.channel)
        || chosen
            .iter()
            .filter(|codec| !codec.is_auxiliary() && is_promised(codec))
            .any(|codec| !answered.codecs.iter().any(|a| a.same_encoding(codec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10.
    #[test]
    fn keys_are_written_in_base64() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    /// A key in the answer has the length of its suite, and the tag of the offer.
    #[test]
    fn a_made_up_key_suits_what_was_offered() {
        let key = VmKey(vec![7; 46]);
        let offered = |lines: &[&str]| {
            Channel::from(Lines {
                crypto: lines.iter().map(|line| (*line).to_owned()).collect(),
                ..Lines::default()
            })
        };
        let answer = key
            .answer(&offered(&[
                "1 NEWER inline:x",
                "2 AES_CM_128_HMAC_SHA1_80 inline:y",
            ]))
            .expect("answered");
        let [line] = answer.crypto.as_slice() else {
            panic!("one line");
        };
        let text = line.strip_prefix("2 AES_CM_128_HMAC_SHA1_80 inline:");
        assert_eq!(text.map(str::len), Some(40));
        assert_eq!(key.answer(&offered(&["1 NEWER inline:x"])), None);
        assert_eq!(key.answer(&offered(&[])), Some(Channel::default()));
        assert!(!format!("{key:?}{answer:?}").contains("BwcH"));
    }
}
