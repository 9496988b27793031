//! What thin clients are asked: commands, and the descriptors in them.

use std::net::SocketAddr;

use super::super::CallProgress;
use super::super::gateway::Settings;
use crate::h248::model::{
    ActionRequest, CommandKind, CommandRequest, ContextId, ContextProperties, Description,
    Descriptor, ItemName, LocalControl, MediaDescriptor, Octets, Signal, SignalParameter,
    SignalsDescriptor, Span, Stream, StreamMode, TerminationId,
};
use crate::media::{Channel, Codec, Direction, Media};
use crate::sdp::{codec_named, describe};

/// What is played to the user: al/ri (Annex E.9), cg/rt (Annex E.7), or nothing any
/// more.
pub(super) fn signals(progress: CallProgress) -> Descriptor<'static> {
    let signal = match progress {
        CallProgress::Alerting => Some(ItemName::text("al", "ri")),
        CallProgress::Ringback => Some(ItemName::text("cg", "rt")),
        CallProgress::Quiet => None,
    };
    let signals = signal.map(|name| SignalParameter::Signal(Signal::new(name)));
    Descriptor::Signals(SignalsDescriptor {
        signals: signals.into_iter().collect(),
    })
}

pub(super) fn action(context: ContextId, commands: Vec<CommandRequest<'_>>) -> ActionRequest<'_> {
    ActionRequest {
        context,
        properties: ContextProperties::default(),
        audit: None,
        commands,
        context_span: Span::default(),
    }
}

pub(super) fn ordered<'a>(
    kind: CommandKind,
    termination: TerminationId<'a>,
    descriptors: Vec<Descriptor<'a>>,
) -> CommandRequest<'a> {
    CommandRequest {
        optional: false,
        wildcard_response: false,
        kind,
        terminations: vec![termination],
        descriptors,
        span: Span::default(),
    }
}

pub(super) fn media(stream: Stream<'_>) -> MediaDescriptor<'_> {
    MediaDescriptor {
        streams: vec![stream],
        ..MediaDescriptor::default()
    }
}

pub(super) fn stream(control: LocalControl<'_>) -> Descriptor<'_> {
    Descriptor::Media(media(Stream {
        id: Some(1),
        control: Some(control),
        ..Stream::default()
    }))
}

pub(super) fn mode_of(direction: Direction) -> StreamMode {
    match direction {
        Direction::SendRecv => StreamMode::SendReceive,
        Direction::SendOnly => StreamMode::SendOnly,
        Direction::RecvOnly => StreamMode::ReceiveOnly,
        Direction::Inactive => StreamMode::Inactive,
    }
}

/// The RTP termination of a new context. It may keep several codecs (ReserveValue),
/// since which of them the other end takes is not known before 505.
pub(super) fn created(settings: &Settings, codecs: &[Codec]) -> MediaDescriptor<'static> {
    let remote_media = settings.remote.as_ref();
    let wanted = remote_media.map_or(codecs, |remote| &remote.codecs);
    let own = |codec: &&Codec| codecs.is_empty() || codecs.iter().any(|o| o.same_encoding(codec));
    let mut choice: Vec<Codec> = wanted.iter().filter(own).cloned().collect();
    if choice.is_empty() {
        choice = match remote_media {
            // None in common: the gateway may say so.
            Some(remote) => remote.codecs.clone(),
            None => ["PCMU", "PCMA"].map(codec_named).to_vec(),
        };
    }
    let several = choice.iter().filter(|codec| !codec.is_auxiliary()).count() > 1;
    let here = SocketAddr::from(([0, 0, 0, 0], 0));
    let local = Media {
        rtp: here,
        rtcp: SocketAddr::from(([0, 0, 0, 0], 1)),
        codecs: choice,
        ptime: remote_media.and_then(|remote| remote.ptime),
        maxptime: None,
        direction: Direction::SendRecv,
        channel: Channel::default(),
    };
    let chosen = text(&local)
        .replace("c=IN IP4 0.0.0.0", "c=IN IP4 $")
        .replace("m=audio 0 ", "m=audio $ ");
    media(Stream {
        id: Some(1),
        control: Some(LocalControl {
            mode: Some(mode_of(settings.mode)),
            reserve_value: several.then_some(true),
            ..LocalControl::default()
        }),
        local: Some(description(chosen)),
        remote: remote_media.map(remote),
        ..Stream::default()
    })
}

pub(super) fn remote(media: &Media) -> Description<'static> {
    description(text(media))
}

fn description(text: String) -> Description<'static> {
    Description {
        octets: Octets::from(text),
        ..Description::default()
    }
}

/// A description without what the controller and the mode say (§7.1.8).
fn text(media: &Media) -> String {
    const KEPT: [&str; 7] = ["v=", "c=", "m=", "a=rtpmap", "a=fmtp", "a=ptime", "a=rtcp"];
    let whole = describe(media, 0, 0);
    let lines = String::from_utf8_lossy(&whole).into_owned();
    lines
        .split_inclusive('\n')
        .filter(|line| KEPT.iter().any(|kept| line.starts_with(kept)))
        .collect()
}
