//! The closed list of reasons: why a call's media takes the path it takes.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// Why a call is not on the path that was wanted for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $(#[doc = $text] #[serde(rename = $code)] $name,)*
        }

        impl Reason {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The code that `sidestep calls` shows.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)* }
            }

            /// What it means, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    TcNotRegistered = "tc-not-registered", "No thin client of this VM is registered.";
    TcNoAnswer = "tc-no-answer", "The thin client did not answer in time.";
    TcRefused = "tc-refused", "The thin client answered with an error or took no audio.";
    NoCommonCodec = "no-common-codec", "Thin client and gateway have no codec in common.";
    Policy = "policy", "A path rule of the configuration sends this call through the VM.";
    Emergency = "emergency", "A call for help, which is left as it is.";
    SdpNotUnderstood = "sdp-not-understood", "The session description could not be parsed, or has a shape that is left alone (no audio, a port shared by several streams).";
    MediaEncrypted = "media-encrypted", "The media is encrypted in a way that the thin client does not take over: SRTP with keys in the description, or of DTLS, where it offers none of that kind, or another one.";
    SipNotUnderstood = "sip-not-understood", "A message of the call could not be parsed; it was forwarded as it came.";
    SignallingEncrypted = "signalling-encrypted", "The VM's signalling is encrypted (TLS), and there is no certificate to read it with.";
    SignallingSctp = "signalling-sctp", "The VM's signalling is carried by SCTP, which is not looked into.";
    SignallingAuthenticated = "signalling-authenticated", "The messages carry an authentication header, which would not be right any more if they were changed.";
    AlreadyUp = "already-up", "The call began before Sidestep saw it.";
    NoAnchorPort = "no-anchor-port", "All anchor ports of the VM's address are in use, or it has no address of the needed IP version.";
    Limit = "limit", "The flow map is full, or the VM or the thin client has as many calls as it may.";
    DatapathRefused = "datapath-refused", "The kernel refused the call's flows.";
    GatewayRefused = "gateway-refused", "The gateway refused the thin client's media with an error other than for codecs.";
    HandBackRefused = "hand-back-refused", "The thin client failed, and the gateway refused the VM's media in a request of our own, as where it wants credentials: it gets it with the VM's next offer, for which the VM is asked.";
    TcLost = "tc-lost", "The thin client's leg failed during the call.";
    NoMediaSeen = "no-media-seen", "Media was not seen both ways in time; the call was handed back to the VM.";
    Stopping = "stopping", "Sidestep was stopped; the call was handed back to the VM.";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
