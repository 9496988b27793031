//! What the operator says of calls: which are left alone, which codecs are used,
//! how many there may be.

use crate::media::Codec;
use crate::sip::Message;
use crate::sip::uri::SipUri;

/// The operator's word on calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPolicy {
    /// Emergency numbers: calls to them, and to `urn:service:sos` and what is
    /// below it (RFC 5031), are never touched. Empty: no call is one.
    pub emergency: Vec<String>,
    /// Codecs between thin clients and gateways.
    pub codecs: CodecPolicy,
    /// Calls of one VM that are followed at once; further ones pass untouched
    /// with the reason `limit`.
    pub max_per_vm: usize,
    /// Legs that one thin client has at once; further calls pass untouched with the
    /// reason `limit`.
    pub max_per_thin_client: usize,
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self {
            emergency: Vec::new(),
            codecs: CodecPolicy::default(),
            max_per_vm: 1000,
            max_per_thin_client: 1000,
        }
    }
}

impl CallPolicy {
    /// Whether an INVITE outside any dialog calls for help: by its Request-URI, or
    /// by the To that it was first sent to.
    ///
    /// A number counts in calls that the VM makes (`outgoing`): one's own may be
    /// the same.
    pub(crate) fn is_emergency(&self, invite: &Message, outgoing: bool) -> bool {
        let uris = [invite.uri().unwrap_or_default(), invite.to_uri()];
        let called = |number: String| outgoing && self.emergency.contains(&number);
        let for_help = |uri| is_sos(uri) || number_called(uri).is_some_and(called);
        !self.emergency.is_empty() && uris.into_iter().any(for_help)
    }
}

/// `urn:service:sos`, or a service below it.
fn is_sos(uri: &[u8]) -> bool {
    const SOS: &[u8] = b"urn:service:sos";
    let parts = uri.split_at_checked(SOS.len());
    parts.is_some_and(|(begin, rest)| {
        begin.eq_ignore_ascii_case(SOS) && matches!(rest.first(), None | Some(b'.' | b';'))
    })
}

/// The number in a `tel:` URI, or in the user part of a `sip:` URI, without visual
/// separators (RFC 3966 §5.1.1) and parameters.
fn number_called(uri: &[u8]) -> Option<String> {
    let tel = uri
        .split_at_checked(4)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"tel:"))
        .map(|(_, rest)| rest);
    let user = match tel {
        Some(rest) => rest,
        None => SipUri::parse(uri)?.user?,
    };
    let number = user.split(|&b| b";:".contains(&b)).next()?;
    let kept: Vec<u8> = number
        .iter()
        .copied()
        .filter(|b| !b"-.() ".contains(b))
        .collect();
    String::from_utf8(kept).ok().filter(|n| !n.is_empty())
}

/// Which codecs thin clients and gateways hear of from each other, and in which
/// order. Names as in SDP, without case; a clock rate may follow, as in
/// `L16/16000`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CodecPolicy {
    /// These first, in this order; the others follow in their own.
    pub prefer: Vec<String>,
    /// Never these.
    pub forbid: Vec<String>,
}

impl CodecPolicy {
    /// What is left of a list of codecs, in the operator's order.
    #[must_use]
    pub fn apply(&self, codecs: &[Codec]) -> Vec<Codec> {
        let allowed = |codec: &&Codec| !self.forbid.iter().any(|name| is_named(codec, name));
        let mut left: Vec<Codec> = codecs.iter().filter(allowed).cloned().collect();
        left.shrink_to_fit();
        // Stable: those that are not preferred keep their order.
        left.sort_by_key(|codec| {
            let mut preferred = self.prefer.iter();
            let place = preferred.position(|name| is_named(codec, name));
            place.unwrap_or(usize::MAX)
        });
        left
    }

    /// Whether it says anything.
    pub(crate) fn is_silent(&self) -> bool {
        self.prefer.is_empty() && self.forbid.is_empty()
    }
}

fn is_named(codec: &Codec, name: &str) -> bool {
    match name.split_once('/') {
        Some((name, rate)) => {
            codec.name.eq_ignore_ascii_case(name) && codec.clock_rate.to_string() == rate
        }
        None => codec.name.eq_ignore_ascii_case(name),
    }
}
