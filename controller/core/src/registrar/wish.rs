//! What a REGISTER asks for (RFC 3261 §10.2, §10.3 step 6) and the media it
//! describes (step 301).

use super::refusal::Refusal;
use crate::engine::Transport;
use crate::media::{Channel, Media};
use crate::sdp::AudioError;
use crate::sip::uri::number;
use crate::sip::{Message, Name, NameAddr, SipUri};

/// What is to be done with the account's binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// No Contact: only tell.
    Query,
    /// `Contact: *`.
    RemoveAll,
    /// Contacts with an expiry of 0, and no other.
    Remove(Vec<Vec<u8>>),
    /// Bind this URI.
    Bind {
        contact: Vec<u8>,
        /// As asked for, s; `None`: the default.
        seconds: Option<u32>,
    },
}

/// Reads the Contacts. One contact is bound per account: of several in one
/// REGISTER the first whose expiry is not 0. `by`: how it came.
pub(super) fn wish(request: &Message, by: Transport) -> Result<Wish, Refusal> {
    let header_expires = request.header(Name::EXPIRES).and_then(number::<u32>);
    let contacts: Vec<&[u8]> = request.headers(Name::CONTACT).collect();
    if contacts.contains(&b"*".as_slice()) {
        return match (contacts.len(), header_expires) {
            (1, Some(0)) => Ok(Wish::RemoveAll),
            _ => Err(Refusal::Wildcard),
        };
    }
    let mut bind = None;
    let mut remove = Vec::new();
    for value in &contacts {
        let contact = NameAddr::parse(value).ok_or(Refusal::Contact)?;
        // An expiry that cannot be read counts as none (§10.2.1.1).
        let seconds = contact
            .parameter("expires")
            .and_then(number::<u32>)
            .or(header_expires);
        let uri = contact.uri.to_vec();
        if seconds == Some(0) {
            remove.push(uri);
        } else if bind.is_none() {
            check_reachable(&uri, by)?;
            bind = Some((uri, seconds));
        }
    }
    Ok(match bind {
        Some((contact, seconds)) => Wish::Bind { contact, seconds },
        None if contacts.is_empty() => Wish::Query,
        None => Wish::Remove(remove),
    })
}

/// Whether calls can be sent to the URI: it becomes the Request-URI as it is.
fn check_reachable(uri: &[u8], by: Transport) -> Result<(), Refusal> {
    if !uri
        .iter()
        .all(|b| b.is_ascii_graphic() && !b"<>\"".contains(b))
    {
        return Err(Refusal::Contact);
    }
    let has_scheme = |scheme: &[u8]| {
        uri.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if !has_scheme(b"sip:") {
        return Err(Refusal::ContactScheme);
    }
    let parsed = SipUri::parse(uri).ok_or(Refusal::Contact)?;
    match parsed.parameter("transport").flatten() {
        // It is called by the connection that it has made, whatever it names.
        _ if by.is_reliable() => Ok(()),
        Some(transport) if !transport.eq_ignore_ascii_case(b"udp") => Err(Refusal::ContactScheme),
        _ => Ok(()),
    }
}

/// The media that the body describes; `None` without a body.
pub(super) fn media(request: &Message) -> Result<Option<Media>, Refusal> {
    if request.body().is_empty() {
        return Ok(None);
    }
    let description = request
        .sdp()
        .ok_or(Refusal::BodyType)?
        .map_err(Refusal::Sdp)?;
    let (index, mut media) = match description.audio() {
        // Keys are for one call (RFC 4568 §6.1): it is asked for its offer then.
        Err(AudioError::Encrypted) if description.movable_audio(None).is_ok() => return Ok(None),
        audio => audio.map_err(Refusal::Audio)?,
    };
    // So are candidates.
    media.channel = Channel::default();
    if media.is_null_address() {
        return Err(Refusal::NullAddress);
    }
    let address_only = description
        .media()
        .get(index)
        .is_some_and(|audio| audio.formats == ["*"]);
    if address_only {
        media.codecs.clear();
    } else if media.codecs.is_empty() {
        return Err(Refusal::NoCodec);
    }
    Ok(Some(media))
}
