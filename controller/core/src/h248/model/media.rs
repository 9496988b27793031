//! Media and its parts (H.248.1 §7.1.2 to §7.1.8).

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::audit::Statistic;
use super::name::TerminationId;
use super::value::{Octets, Property, Span};
use crate::decode::SdpView;
use crate::sdp::SessionDescription;

/// Media (H.248.1 §7.1.4).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MediaDescriptor<'a> {
    /// What holds for the termination as a whole.
    pub state: Option<TerminationState<'a>>,
    /// Its streams, in order.
    pub streams: Vec<Stream<'a>>,
    /// What is between its braces.
    #[serde(skip)]
    pub span: Span,
}

/// A stream (H.248.1 §7.1.6): one bidirectional flow of media.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Stream<'a> {
    /// Its id; `None` where the parameters stand directly in Media, which means
    /// stream 1 where the termination has one only.
    pub id: Option<u16>,
    /// LocalControl.
    pub control: Option<LocalControl<'a>>,
    /// Local.
    pub local: Option<Description<'a>>,
    /// Remote.
    pub remote: Option<Description<'a>>,
    /// Statistics of this stream (version 3); empty and `Some`: they are wanted.
    pub statistics: Option<Vec<Statistic<'a>>>,
    /// What is between its braces; Media's where it has no id.
    #[serde(skip)]
    pub span: Span,
}

/// LocalControl (H.248.1 §7.1.7).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LocalControl<'a> {
    /// Mode.
    pub mode: Option<StreamMode>,
    /// ReserveGroup: whether resources for all alternatives are to be kept.
    pub reserve_group: Option<bool>,
    /// ReserveValue: whether for all values of the one that is chosen.
    pub reserve_value: Option<bool>,
    /// Properties of packages.
    pub properties: Vec<Property<'a>>,
    /// What is between its braces.
    #[serde(skip)]
    pub span: Span,
}

/// Mode of a stream, from the outside's view (H.248.1 §7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamMode {
    /// Sends out of the context.
    SendOnly,
    /// Receives into the context.
    ReceiveOnly,
    /// Both.
    SendReceive,
    /// Neither.
    Inactive,
    /// What comes from outside goes back.
    Loopback,
}

/// The content of a Local or a Remote (H.248.1 §7.1.8): session descriptions,
/// one for each alternative, most wanted first.
///
/// In binary they are Annex C properties of groups; where these are SDP's own
/// (C.11), this is the text that they make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description<'a> {
    /// The octets: lines of SDP, with `$` where the gateway is to choose. In text
    /// as between the braces, with `\}` standing for `}` (see
    /// [`Description::unescaped`]), and white space around.
    pub octets: Octets<'a>,
    /// What else binary has in its property groups.
    pub properties: Vec<Property<'a>>,
    /// Where the octets stand: in text, what is between the braces; in binary, the
    /// contents of the LocalRemoteDescriptor.
    pub span: Span,
}

impl Description<'_> {
    /// The octets with `\}` undone.
    pub fn unescaped(&self) -> std::borrow::Cow<'_, [u8]> {
        if !self.octets.windows(2).any(|pair| pair == b"\\}") {
            return std::borrow::Cow::Borrowed(&self.octets);
        }
        let mut out = Vec::with_capacity(self.octets.len());
        for (at, &octet) in self.octets.iter().enumerate() {
            if octet != b'\\' || self.octets.get(at + 1) != Some(&b'}') {
                out.push(octet);
            }
        }
        std::borrow::Cow::Owned(out)
    }

    /// Each alternative: from a `v=` line to the next, blank lines around it left
    /// out. One that does not begin with `v=`, as many gateways write, is one
    /// alternative.
    pub fn alternatives(&self) -> impl Iterator<Item = &[u8]> {
        Alternatives {
            rest: self.octets.trim_ascii(),
        }
    }
}

struct Alternatives<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Alternatives<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let mut start = 0;
        let end = loop {
            let Some(line_end) = self.rest.get(start..).and_then(|rest| {
                rest.iter()
                    .position(|b| matches!(b, b'\n' | b'\r'))
                    .map(|at| start + at + 1)
            }) else {
                break self.rest.len();
            };
            start = line_end;
            let line = self.rest.get(start..).unwrap_or_default();
            if line.trim_ascii_start().starts_with(b"v=")
                && !matches!(line.first(), Some(b'\r' | b'\n'))
            {
                break start;
            }
        };
        let (alternative, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.trim_ascii_start();
        Some(alternative)
    }
}

impl Serialize for Description<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Alternative<'a> {
            text: Octets<'a>,
            sdp: Option<SdpView>,
            sdp_error: Option<String>,
        }
        let unescaped = Description {
            octets: Octets(self.unescaped()),
            ..Description::default()
        };
        let mut list = serializer.serialize_seq(None)?;
        for text in unescaped.alternatives() {
            let parsed = SessionDescription::parse(text);
            list.serialize_element(&Alternative {
                text: text.into(),
                sdp: parsed.as_ref().ok().map(SdpView::new),
                sdp_error: parsed.err().map(|error| error.to_string()),
            })?;
        }
        list.end()
    }
}

/// TerminationState (H.248.1 §7.1.5).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TerminationState<'a> {
    /// ServiceStates.
    pub service_state: Option<ServiceState>,
    /// EventBufferControl.
    pub buffer: Option<BufferControl>,
    /// Properties of packages.
    pub properties: Vec<Property<'a>>,
}

/// State of service (H.248.1 §7.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Being tested.
    Test,
    /// Out of service.
    OutOfService,
    /// In service.
    InService,
}

/// What becomes of events after the first (H.248.1 §7.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BufferControl {
    /// Told as they come.
    Off,
    /// Kept until the next Events descriptor.
    LockStep,
}

/// Modem (H.248.1 §7.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ModemDescriptor<'a> {
    /// Kinds, by their names in Annex B (`V90`, `V32bis`, `synchISDN`, …).
    pub kinds: Vec<Octets<'a>>,
    /// Properties of packages.
    pub properties: Vec<Property<'a>>,
}

/// Multiplex (H.248.1 §7.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MuxDescriptor<'a> {
    /// Kind, by its name in Annex B (`H221`, `H223`, `H226`, `V76`, `Nx64`, …).
    pub kind: Octets<'a>,
    /// The terminations it carries.
    pub terminations: Vec<TerminationId<'a>>,
}
