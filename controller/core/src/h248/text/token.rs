//! The tokens of Annex B, each with its long and its short form.
//!
//! No two tokens share a form, whatever construct they belong to, so that one
//! table serves all: found by hash, in constant time.

macro_rules! tokens {
    ($($token:ident $long:literal $short:literal,)*) => {
        /// A token of Annex B, by the name of its long form.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum Token { $($token,)* }

        const FORMS: &[(Token, &str, &str)] = &[$((Token::$token, $long, $short),)*];
    };
}

tokens! {
    Add "Add" "A",
    AndSelect "ANDLgc" "ANDLgc",
    Audit "Audit" "AT",
    AuditCapability "AuditCapability" "AC",
    AuditValue "AuditValue" "AV",
    Authentication "Authentication" "AU",
    Both "Both" "B",
    Bothway "Bothway" "BW",
    Brief "Brief" "BR",
    Buffer "Buffer" "BF",
    Context "Context" "C",
    ContextAttr "ContextAttr" "CT",
    ContextAudit "ContextAudit" "CA",
    ContextList "ContextList" "CLT",
    Delay "Delay" "DL",
    DigitMap "DigitMap" "DM",
    Direction "SPADirection" "SPADI",
    Disconnected "Disconnected" "DC",
    Duration "Duration" "DR",
    Embed "Embed" "EM",
    Emergency "Emergency" "EG",
    EmergencyOff "EmergencyOff" "EGO",
    EmergencyValue "EmergencyValue" "EGV",
    End "END" "&",
    Error "Error" "ER",
    EventBuffer "EventBuffer" "EB",
    Events "Events" "E",
    External "External" "EX",
    Failover "Failover" "FL",
    Forced "Forced" "FO",
    Graceful "Graceful" "GR",
    HandOff "HandOff" "HO",
    IepsCall "IEPSCall" "IEPS",
    ImmAckRequired "ImmAckRequired" "IA",
    ImmediateNotify "ImmediateNotify" "NBIN",
    InService "InService" "IV",
    Inactive "Inactive" "IN",
    IntByEvent "IntByEvent" "IBE",
    IntBySigDescr "IntBySigDescr" "IBS",
    Internal "Internal" "IT",
    Intersignal "Intersignal" "SPAIS",
    Isolate "Isolate" "IS",
    Iteration "Iteration" "IR",
    KeepActive "KeepActive" "KA",
    Local "Local" "L",
    LocalControl "LocalControl" "O",
    LockStep "LockStep" "SP",
    Loopback "Loopback" "LB",
    Media "Media" "M",
    Megaco "MEGACO" "!",
    Method "Method" "MT",
    MgcIdToTry "MgcIdToTry" "MG",
    Mode "Mode" "MO",
    Modem "Modem" "MD",
    Modify "Modify" "MF",
    Move "Move" "MV",
    Mtp "MTP" "MTP",
    Mux "Mux" "MX",
    NeverNotify "NeverNotify" "NBNN",
    Notify "Notify" "N",
    NotifyCompletion "NotifyCompletion" "NC",
    ObservedEvents "ObservedEvents" "OE",
    Off "OFF" "OFF",
    On "ON" "ON",
    OnOff "OnOff" "OO",
    Oneway "Oneway" "OW",
    OnewayBoth "OnewayBoth" "OWB",
    OnewayExternal "OnewayExternal" "OWE",
    OrSelect "ORLgc" "ORLgc",
    OtherReason "OtherReason" "OR",
    OutOfService "OutOfService" "OS",
    Packages "Packages" "PG",
    Pending "Pending" "PN",
    Priority "Priority" "PR",
    Profile "Profile" "PF",
    Reason "Reason" "RE",
    ReceiveOnly "ReceiveOnly" "RC",
    RegulatedNotify "RegulatedNotify" "NBRN",
    Remote "Remote" "R",
    Reply "Reply" "P",
    RequestId "SPARequestID" "SPARQ",
    ReservedGroup "ReservedGroup" "RG",
    ReservedValue "ReservedValue" "RV",
    ResetEventsDescriptor "ResetEventsDescriptor" "RSE",
    ResponseAck "TransactionResponseAck" "K",
    Restart "Restart" "RS",
    Root "ROOT" "ROOT",
    Segment "Segment" "SM",
    SendOnly "SendOnly" "SO",
    SendReceive "SendReceive" "SR",
    ServiceChange "ServiceChange" "SC",
    ServiceChangeAddress "ServiceChangeAddress" "AD",
    ServiceChangeInc "ServiceChangeInc" "SIC",
    ServiceStates "ServiceStates" "SI",
    Services "Services" "SV",
    SignalList "SignalList" "SL",
    SignalType "SignalType" "SY",
    Signals "Signals" "SG",
    Statistics "Statistics" "SA",
    Stream "Stream" "ST",
    Subtract "Subtract" "S",
    TerminationState "TerminationState" "TS",
    Test "Test" "TE",
    TimeOut "TimeOut" "TO",
    Topology "Topology" "TP",
    Transaction "Transaction" "T",
    Version "Version" "V",
}

const SLOTS: usize = 1024;
const EMPTY: u8 = u8::MAX;

/// Slots of forms, by the hash of each: twice its token's index, and one more for the
/// short form.
static TABLE: [u8; SLOTS] = table();

/// Of three bytes and the length, so that a long word costs no more than a short one.
/// The factors are those with which few of the forms meet.
const fn hash(word: &[u8]) -> usize {
    let (Some(first), Some(last)) = (word.first(), word.last()) else {
        return 0;
    };
    // Letters lose their case; what else meets so is told apart by comparing.
    let length = word.len().wrapping_mul(7);
    let first = (*first | 0x20) as usize * 31;
    let middle = (word[word.len() / 2] | 0x20) as usize * 61;
    let last = (*last | 0x20) as usize * 211;
    (length ^ first ^ middle ^ last) % SLOTS
}

const fn table() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut index = 0;
    while index < FORMS.len() {
        let (_, long, short) = FORMS[index];
        put(&mut table, long.as_bytes(), index as u8 * 2);
        put(&mut table, short.as_bytes(), index as u8 * 2 + 1);
        index += 1;
    }
    table
}

const fn put(table: &mut [u8; SLOTS], form: &[u8], entry: u8) {
    let mut slot = hash(form);
    while table[slot] != EMPTY {
        slot = (slot + 1) % SLOTS;
    }
    table[slot] = entry;
}

impl Token {
    /// The token with this form, in any case.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        let mut slot = hash(word);
        loop {
            let entry = *TABLE.get(slot)?;
            let (token, long, short) = FORMS.get(usize::from(entry / 2))?;
            let form = if entry % 2 == 0 { long } else { short };
            // Nearly always in the very letters of Annex B.
            if word == form.as_bytes() || word.eq_ignore_ascii_case(form.as_bytes()) {
                return Some(*token);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Its long form.
    pub(super) fn long(self) -> &'static str {
        FORMS.get(self as usize).map_or("", |(_, long, _)| long)
    }

    /// Its short form.
    pub(super) fn short(self) -> &'static str {
        FORMS.get(self as usize).map_or("", |(_, _, short)| short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_and_is_one_tokens_only() {
        let mut seen = std::collections::BTreeMap::new();
        for (token, long, short) in FORMS {
            for form in [long, short] {
                assert_eq!(Token::of(form.as_bytes()), Some(*token), "{form}");
                assert_eq!(
                    Token::of(form.to_ascii_lowercase().as_bytes()),
                    Some(*token)
                );
                let other = seen.insert(form.to_ascii_lowercase(), *token);
                assert!(other.is_none_or(|other| other == *token), "{form}");
            }
            assert_eq!((token.long(), token.short()), (*long, *short));
        }
        for word in ["", "al/of", "Transactio", "TT", "\u{1}", "X-ext"] {
            assert_eq!(Token::of(word.as_bytes()), None, "{word}");
        }
    }
}
