//! Names of parameters (RFC 3435 §3.2.2).

/// A parameter's name. Written as its code, or in full; in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameter {
    code: &'static str,
    name: &'static str,
}

macro_rules! parameters {
    ($($constant:ident = $code:literal, $name:literal, $text:literal;)*) => {
        impl Parameter {
            $(#[doc = concat!("`", $code, "`, ", $name, ": ", $text)]
            pub const $constant: Self = Self { code: $code, name: $name };)*

            /// All that RFC 3435 names.
            pub const ALL: &'static [Self] = &[$(Self::$constant,)*];
        }
    };
}

parameters! {
    RESPONSE_ACK = "K", "ResponseAck", "transactions whose responses have come; empty in a response: an acknowledgement is wanted (§3.5.6).";
    BEARER_INFORMATION = "B", "BearerInformation", "coding of the line side.";
    CALL_ID = "C", "CallId", "the call, up to 32 hexadecimal digits.";
    CAPABILITIES = "A", "Capabilities", "what an endpoint can do.";
    CONNECTION_ID = "I", "ConnectionId", "the connection, up to 32 hexadecimal digits.";
    CONNECTION_MODE = "M", "ConnectionMode", "which way media may go.";
    CONNECTION_PARAMETERS = "P", "ConnectionParameters", "statistics of the connection.";
    DETECT_EVENTS = "T", "DetectEvents", "events to be detected while quarantined.";
    DIGIT_MAP = "D", "DigitMap", "how digits are gathered (§2.1.5).";
    EVENT_STATES = "ES", "EventStates", "states that events have brought about.";
    LOCAL_CONNECTION_OPTIONS = "L", "LocalConnectionOptions", "what the gateway is to use.";
    MAX_MGCP_DATAGRAM = "MD", "MaxMGCPDatagram", "the longest datagram taken.";
    NOTIFIED_ENTITY = "N", "NotifiedEntity", "the call agent that notifications go to.";
    OBSERVED_EVENTS = "O", "ObservedEvents", "what has happened.";
    PACKAGE_LIST = "PL", "PackageList", "packages that an endpoint knows.";
    QUARANTINE_HANDLING = "Q", "QuarantineHandling", "what happens to events that were not asked for.";
    REASON_CODE = "E", "ReasonCode", "why a connection was deleted or a restart began.";
    REQUESTED_EVENTS = "R", "RequestedEvents", "what is to be notified.";
    REQUESTED_INFO = "F", "RequestedInfo", "what an audit asks for.";
    REQUEST_IDENTIFIER = "X", "RequestIdentifier", "ties notifications to their request.";
    RESTART_DELAY = "RD", "RestartDelay", "seconds until a restart.";
    RESTART_METHOD = "RM", "RestartMethod", "how endpoints go or come.";
    SECOND_CONNECTION_ID = "I2", "SecondConnectionId", "the other connection of a local bridge.";
    SECOND_ENDPOINT_ID = "Z2", "SecondEndpointId", "the other endpoint of a local bridge.";
    SIGNAL_REQUESTS = "S", "SignalRequests", "what the user is to hear.";
    SPECIFIC_ENDPOINT_ID = "Z", "SpecificEndPointId", "the endpoint that a wildcard has found.";
    REMOTE_DESCRIPTOR = "RC", "RemoteConnectionDescriptor", "in RequestedInfo only: the description in the body.";
    LOCAL_DESCRIPTOR = "LC", "LocalConnectionDescriptor", "in RequestedInfo only: the description in the body.";
    MAX_ENDPOINT_IDS = "ZM", "MaxEndPointIds", "how many endpoint names an audit wants at most.";
    NUM_ENDPOINTS = "ZN", "NumEndPoints", "how many endpoints there are.";
    VERSION_SUPPORTED = "VS", "VersionSupported", "versions and profiles of MGCP that an endpoint speaks.";
}

impl Parameter {
    /// Whether `written` is this name.
    pub fn matches(self, written: &[u8]) -> bool {
        written.eq_ignore_ascii_case(self.code.as_bytes())
            || written.eq_ignore_ascii_case(self.name.as_bytes())
    }

    /// The name in full of what was written; as written, where it is not known
    /// (extensions: `X-`, `X+`, `package/name`).
    pub fn long_form(written: &[u8]) -> &[u8] {
        let mut all = Self::ALL.iter();
        let known = all.find(|parameter| parameter.matches(written));
        known.map_or(written, |parameter| parameter.name.as_bytes())
    }

    /// Its code.
    pub const fn code(self) -> &'static str {
        self.code
    }
}
