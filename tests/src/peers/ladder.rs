//! Ladders: what the ends of a call say and expect, a line each, in files of
//! `tests/data/sipp`. Each end's part becomes a scenario of SIPp.
//!
//! ```text
//! path: direct                  what `sidestep calls` says (path, reason); none: no call
//! reason: tc-busy
//! hears: INVITE ACK BYE         requests that the thin client gets
//! over: tcp ipv6                what it is played over besides UDP and IPv4
//!
//! vm                            or gateway, tc, vm2, gateway2: what follows is its part
//! > INVITE sdp                  it sends this, with a session description
//! + a=sendonly                  … that has this line, too
//! | Subject: lab                … and this header
//! < 200                         it waits for this
//! ? c=IN IP4 192.0.2.1          … and finds this in it
//! ! 10.71.2.21                  … and this nowhere
//! <? 180                        this may come, or not
//! pause 300                     it waits, ms
//! play                          it plays the tone from here on
//! ```
//!
//! `sdp` takes `port=`, `codecs=8,101`, `c=` and `play` (the port that `play` sends
//! from); `nocontact` leaves Contact to a line of its own; lines that begin with `=`
//! stand for what follows its `t=` line; of a body that is `raw` they are all of it. The
//! version of `o=` rises when the description has changed. A response is to the last
//! request, or with `to INVITE` to the last INVITE; `reliable` makes it one for PRACK
//! (RFC 3262), `tag=` gives the tag of a branch, and in a request that goes to it the
//! same. A request that is sent `once` does not come again, and may be followed by a pause
//! before there is a response. `uri=` is a Request-URI where it is not the target, and
//! `noroute` leaves Route to a line of its own (a strict router wants both). Numbers,
//! tags, branches and RAck are the ladder's own affair: the VM calls with 21, the gateway
//! with 71.
//!
//! A second call at the same time is one of vm2, the VM's other line, and gateway2, at
//! a place of its own; `path2` and `reason2` are what is said of it. The two go by the
//! clock: a part may begin with a pause.
//!
//! Places are named by IPv4. Over IPv6 ([`Ladder::over_ipv6`]) each is the same place's
//! IPv6 address (`lab::six`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::lab::{Site, six};

/// Names of parts.
const ENDS: [&str; 5] = ["vm", "gateway", "tc", "vm2", "gateway2"];

/// A call, as its ends play it.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    /// The file's name, without its end.
    pub name: String,
    /// What stands before the parts: key and value.
    pub facts: BTreeMap<String, String>,
    /// Parts: whose, and its lines.
    parts: Vec<(String, Vec<String>)>,
    /// VM, gateway and the thin client's media have IPv6.
    six: bool,
}

impl Ladder {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// A line is none of the form above.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut ladder = Self {
            name: name.into_owned(),
            ..Self::default()
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match (line, ladder.parts.last_mut()) {
                ("", _) => {}
                (end, _) if ENDS.contains(&end) => {
                    ladder.parts.push((line.to_owned(), Vec::new()));
                }
                (_, Some((_, lines))) => lines.push(line.to_owned()),
                (_, None) => {
                    let (key, value) = line.split_once(": ").with_context(|| line.to_owned())?;
                    ladder.facts.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        Ok(ladder)
    }

    /// All of a directory, by name.
    pub fn read_all(directory: &Path) -> Result<Vec<Self>> {
        let mut paths: Vec<_> = std::fs::read_dir(directory)
            .with_context(|| directory.display().to_string())?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            Self::read(path).with_context(|| path.display().to_string())
        };
        paths.iter().map(read).collect()
    }

    /// The same call, of a VM, a gateway and a thin client's media with IPv6.
    #[must_use]
    pub fn over_ipv6(mut self) -> Self {
        for line in self.parts.iter_mut().flat_map(|(_, lines)| lines) {
            *line = in_ipv6(line);
        }
        self.six = true;
        self
    }

    /// A fact, where it is given.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.get(key).map(String::as_str)
    }

    /// Whether an end has a part.
    pub fn has(&self, end: &str) -> bool {
        self.parts.iter().any(|(name, _)| name == end)
    }

    /// Whether an end begins.
    pub fn calls(&self, end: &str) -> bool {
        let part = self.parts.iter().find(|(name, _)| name == end);
        let says = |line: &&String| line.starts_with(['>', '<']);
        let first = part.and_then(|(_, lines)| lines.iter().find(says));
        first.is_some_and(|line| line.starts_with('>'))
    }

    /// The scenario of an end.
    ///
    /// # Errors
    ///
    /// There is no such part, or a line of it is none.
    pub fn scenario(&self, end: &str) -> Result<String> {
        let part = self.parts.iter().find(|(name, _)| name == end);
        let (_, lines) = part.with_context(|| format!("{}: no part of {end}", self.name))?;
        let mut writer = Writer::new(end, self.calls(end), self.six);
        let mut steps: Vec<Step<'_>> = Vec::new();
        for line in lines {
            let line = if line == "=" { "= " } else { line };
            match (line.split_at_checked(2), steps.last_mut()) {
                (Some((mark @ ("| " | "+ " | "= " | "? " | "! "), rest)), Some(step)) => {
                    step.details.push((mark.as_bytes()[0], rest));
                }
                _ => steps.push(Step {
                    words: line.split_whitespace().collect(),
                    details: Vec::new(),
                }),
            }
        }
        for step in &steps {
            writer
                .step(step)
                .with_context(|| format!("{}, {end}: {:?}", self.name, step.words))?;
        }
        Ok(writer.finish(&self.name))
    }
}

/// A line, and what hangs on it.
struct Step<'a> {
    words: Vec<&'a str>,
    details: Vec<(u8, &'a str)>,
}

impl<'a> Step<'a> {
    fn with(&self, mark: u8) -> impl Iterator<Item = &'a str> + '_ {
        let marked = self.details.iter().filter(move |(m, _)| *m == mark);
        marked.map(|(_, text)| *text)
    }

    fn says(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(key))
    }
}

/// Writes a scenario.
struct Writer<'a> {
    end: &'a str,
    calls: bool,
    six: bool,
    xml: String,
    variables: Vec<String>,
    /// SIPp's count of commands: [branch-N] goes N commands back.
    index: usize,
    cseq: u32,
    invite_cseq: u32,
    invite_index: usize,
    /// A 2xx to an INVITE has been sent or received.
    confirmed: bool,
    refused: bool,
    last_request: String,
    /// The method of the request that a response is expected to.
    sent: String,
    received_invite: bool,
    received_invite_in_dialog: bool,
    rseq: u32,
    body: String,
    version: u32,
}

impl<'a> Writer<'a> {
    fn new(end: &'a str, calls: bool, six: bool) -> Self {
        // Who is called has no number yet.
        let cseq = match (calls, end) {
            (true, "vm" | "vm2") => 20,
            (true, _) => 70,
            (false, _) => 0,
        };
        Self {
            end,
            calls,
            six,
            xml: String::new(),
            variables: Vec::new(),
            index: 0,
            cseq,
            invite_cseq: 0,
            invite_index: 0,
            confirmed: false,
            refused: false,
            last_request: String::new(),
            sent: String::new(),
            received_invite: false,
            received_invite_in_dialog: false,
            rseq: 499,
            body: String::new(),
            version: 0,
        }
    }

    fn finish(self, name: &str) -> String {
        let used = self.variables.join(",");
        let reference = match used.as_str() {
            "" => String::new(),
            used => format!("<Reference variables=\"{used}\"/>\n"),
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"{name}-{}\">\n{}{reference}</scenario>\n",
            self.end, self.xml
        )
    }

    fn step(&mut self, step: &Step<'_>) -> Result<()> {
        match step.words.as_slice() {
            [">", what, ..] => match what.parse::<u16>() {
                Ok(status) => self.respond(status, step),
                Err(_) => self.request(what, step),
            },
            ["<", what, ..] => self.receive(what, false, step),
            ["<?", what, ..] => self.receive(what, true, step),
            ["pause", ms] => {
                let _ = writeln!(self.xml, "<pause milliseconds=\"{ms}\"/>");
                self.index += 1;
            }
            ["play"] => {
                self.xml
                    .push_str("<nop><action><exec rtp_stream=\"tone.al,-1,8\"/></action></nop>\n");
                self.index += 1;
            }
            _ => bail!("no step of a ladder"),
        }
        Ok(())
    }

    /// The variable of this end; said once so that SIPp knows it is used.
    fn variable(&mut self, name: &str) -> String {
        if !self.variables.iter().any(|v| v == name) {
            self.variables.push(name.to_owned());
        }
        name.to_owned()
    }

    fn tag(&self) -> String {
        format!(";tag={}[pid]-[call_number]", self.end)
    }

    fn contact(&self) -> String {
        format!("Contact: <sip:{}@[local_ip]:[local_port]>\n", self.end)
    }

    fn send(&mut self, message: &str, again: bool) {
        let again = if again { " retrans=\"500\"" } else { "" };
        // A bracket that begins no keyword of SIPp's.
        let message = message.replace("[fd71:", "\\x5bfd71:");
        let _ = writeln!(self.xml, "<send{again}><![CDATA[\n{message}\n]]></send>");
        self.index += 1;
    }

    fn request(&mut self, method: &str, step: &Step<'_>) {
        let mut branch = "[branch]".to_owned();
        let mut initial = self.calls && self.invite_cseq == 0;
        let number = match method {
            "INVITE" => {
                initial = self.calls && !self.confirmed;
                self.cseq += 1;
                self.invite_cseq = self.cseq;
                self.invite_index = self.index;
                self.cseq
            }
            "ACK" | "CANCEL" => {
                if method == "CANCEL" || self.refused {
                    branch = format!("[branch-{}]", self.index - self.invite_index);
                    initial = self.calls && !self.confirmed;
                }
                self.invite_cseq
            }
            _ => {
                self.cseq += 1;
                self.cseq
            }
        };
        let uri = match step.value("uri=") {
            Some(uri) => uri,
            None if initial => "sip:[service]@[remote_ip]:[remote_port]",
            None => "[next_url]",
        };
        let routes = if initial || step.says("noroute") {
            ""
        } else {
            "[routes]\n"
        };
        let (from, to) = if self.calls {
            let peer = match step.value("tag=") {
                Some(branch) => format!(";tag={branch}-[call_number]"),
                None if initial && method != "ACK" => String::new(),
                None => "[peer_tag_param]".to_owned(),
            };
            (
                format!("<sip:{}@[local_ip]:[local_port]>{}", self.end, self.tag()),
                format!("<sip:[service]@[remote_ip]:[remote_port]>{peer}"),
            )
        } else {
            (format!("[$to0]{}", self.tag()), "[$from0]".to_owned())
        };
        let rack = match method {
            "PRACK" => format!("RAck: [$rseq] {} INVITE\n", self.invite_cseq),
            _ => String::new(),
        };
        let contact = match method {
            "ACK" | "CANCEL" | "BYE" | "PRACK" => String::new(),
            _ if step.says("nocontact") => String::new(),
            _ => self.contact() + "Supported: 100rel,timer,replaces\n",
        };
        let message = format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport\n\
             {routes}From: {from}\nTo: {to}\nCall-ID: [call_id]\nCSeq: {number} {method}\n{contact}\
             Max-Forwards: 70\n{rack}{}",
            self.rest(step)
        );
        if method != "ACK" {
            self.sent = method.to_owned();
        }
        self.send(&message, method != "ACK" && !step.says("once"));
    }

    fn respond(&mut self, status: u16, step: &Step<'_>) {
        let to_invite = step.says("to") || self.last_request == "INVITE";
        let slot = if to_invite { "i" } else { "r" };
        let in_dialog = match to_invite {
            true => self.received_invite_in_dialog,
            false => self.received_invite,
        };
        let tag = if !in_dialog && !self.calls && status > 100 {
            match step.value("tag=") {
                Some(branch) => format!(";tag={branch}-[call_number]"),
                None => self.tag(),
            }
        } else {
            String::new()
        };
        let mut reliable = String::new();
        if step.says("reliable") {
            self.rseq += 1;
            reliable = format!("Require: 100rel\nRSeq: {}\n", self.rseq);
        }
        let contact = if step.says("nocontact") {
            String::new()
        } else {
            self.contact()
        };
        let message = format!(
            "SIP/2.0 {status} Said\nVia: [$via_{slot}]\nFrom: [$from_{slot}]\nTo: [$to_{slot}]{tag}\n\
             Call-ID: [call_id]\nCSeq: [$cseq_{slot}]\n{contact}{reliable}{}",
            self.rest(step)
        );
        if to_invite && (200..300).contains(&status) {
            self.confirmed = true;
        }
        self.send(&message, to_invite && status >= 200);
    }

    /// Further headers and the body.
    fn rest(&mut self, step: &Step<'_>) -> String {
        let mut rest = String::new();
        for header in step.with(b'|') {
            let _ = writeln!(rest, "{header}");
        }
        let own: Vec<&str> = step.with(b'=').collect();
        if step.says("raw") {
            let _ = write!(rest, "Content-Length: [len]\n\n{}\n", own.join("\n"));
            return rest;
        }
        if !step.says("sdp") {
            rest.push_str("Content-Length: 0\n");
            return rest;
        }
        let mut body = String::new();
        if own.is_empty() {
            let usual = match self.end {
                "vm" => "7000",
                "vm2" => "7400",
                "gateway" => "8000",
                "gateway2" => "8400",
                _ => "20000",
            };
            let port = if step.says("play") {
                "[rtpstream_audio_port]"
            } else {
                step.value("port=").unwrap_or(usual)
            };
            let codecs = step.value("codecs=").unwrap_or("8,101");
            let _ = writeln!(body, "m=audio {port} RTP/AVP {}", codecs.replace(',', " "));
            for codec in codecs.split(',') {
                let name = match codec {
                    "0" => "PCMU/8000",
                    "8" => "PCMA/8000",
                    "18" => "G729/8000",
                    _ => "telephone-event/8000",
                };
                let _ = writeln!(body, "a=rtpmap:{codec} {name}");
            }
        }
        for line in own.into_iter().chain(step.with(b'+')) {
            let _ = writeln!(body, "{line}");
        }
        // The thin client's signalling is IPv4 always, and so is SIPp's [media_ip] there.
        let (version, own) = match (self.six, self.end) {
            (true, "tc") => ("IP6", Site::Tc1.ip6().to_string()),
            (true, _) => ("IP6", "[media_ip]".to_owned()),
            (false, _) => ("IP4", "[media_ip]".to_owned()),
        };
        let address = step.value("c=").unwrap_or(&own);
        let body = format!("s=-\nc=IN {version} {address}\nt=0 0\n{body}");
        if body != self.body {
            self.version += 1;
            self.body.clone_from(&body);
        }
        let _ = write!(
            rest,
            "Content-Type: application/sdp\nContent-Length: [len]\n\n\
             v=0\no={} 5365 {} IN {version} {own}\n{body}",
            self.end, self.version
        );
        rest
    }

    fn receive(&mut self, what: &str, optional: bool, step: &Step<'_>) {
        let response = what.parse::<u16>().ok();
        let mut actions = String::new();
        let first = response.is_none() && self.last_request.is_empty() && !self.calls;
        if response.is_none() && what != "ACK" {
            let invite = what == "INVITE";
            if invite {
                self.received_invite_in_dialog = self.confirmed || self.calls;
                self.received_invite = true;
            }
            self.last_request = what.to_owned();
            let slot = if invite { "i" } else { "r" };
            let mut save = |header: &str, regexp: &str, name: String| {
                let name = self.variable(&name);
                let _ = writeln!(
                    actions,
                    "<ereg regexp=\"{regexp}\" search_in=\"hdr\" header=\"{header}:\" assign_to=\"{name}\"/>"
                );
            };
            save("Via", "SIP/2.0.*", format!("via_{slot}"));
            save("From", "&lt;.*", format!("from_{slot}"));
            save("To", "&lt;.*", format!("to_{slot}"));
            save("CSeq", "[0-9]+ [A-Z]+", format!("cseq_{slot}"));
            if first {
                save("From", "&lt;.*", "from0".to_owned());
                save("To", "&lt;.*", "to0".to_owned());
            }
        }
        if let Some(status) = response {
            self.refused = status >= 300;
            if step.says("reliable") {
                let name = self.variable("rseq");
                let _ = writeln!(
                    actions,
                    "<ereg regexp=\"[0-9]+\" search_in=\"hdr\" header=\"RSeq:\" check_it=\"true\" assign_to=\"{name}\"/>"
                );
            }
        }
        let checks = [(b'?', "check_it"), (b'!', "check_it_inverse")];
        for (mark, check) in checks {
            for text in step.with(mark) {
                let name = self.variable(&format!("seen{}", self.variables.len()));
                let _ = writeln!(
                    actions,
                    "<ereg regexp=\"{}\" search_in=\"msg\" {check}=\"true\" assign_to=\"{name}\"/>",
                    literal(text)
                );
            }
        }
        // Somebody on the way may say that it tries.
        if response.is_some_and(|status| status > 100) && !optional {
            self.xml
                .push_str("<recv response=\"100\" optional=\"true\"/>\n");
            self.index += 1;
        }
        let kind = if response.is_some() {
            "response"
        } else {
            "request"
        };
        let optional = if optional { " optional=\"true\"" } else { "" };
        let routes = response.is_some_and(|status| (101..300).contains(&status))
            || first
            || what == "INVITE";
        let routes = if routes { " rrs=\"true\"" } else { "" };
        let actions = match actions.as_str() {
            "" => String::new(),
            actions => format!("<action>\n{actions}</action>"),
        };
        let _ = writeln!(
            self.xml,
            "<recv {kind}=\"{what}\"{optional}{routes}>{actions}</recv>"
        );
        self.index += 1;
        if response.is_some_and(|status| (200..300).contains(&status)) {
            // What was asked last is answered first.
            if self.sent == "INVITE" {
                self.confirmed = true;
            }
            self.sent = "INVITE".to_owned();
        }
    }
}

/// A line with the lab's IPv6 addresses in place of its IPv4 ones, in brackets where they
/// are of a URI (RFC 3261 §25.1), and so the null address and the discard address (RFC
/// 6666).
fn in_ipv6(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let is_of_it = |c: char| c.is_ascii_digit() || c == '.';
        let end = from.find(|c| !is_of_it(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let four = word.parse::<Ipv4Addr>().ok();
        let address = four.and_then(|four| match four.octets() {
            [0, 0, 0, 0] => Some(Ipv6Addr::UNSPECIFIED),
            [192, 0, 2, 1] => Some(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)),
            [10, 71, ..] => Some(six(four)),
            _ => None,
        });
        let _ = match address {
            Some(address) if out.ends_with(['@', ':']) => write!(out, "[{address}]"),
            Some(address) => write!(out, "{address}"),
            None => write!(out, "{word}"),
        };
        rest = after;
    }
    out.push_str(rest);
    out.replace("IN IP4 ", "IN IP6 ")
}

/// A regular expression that is this text, for an attribute of XML.
fn literal(text: &str) -> String {
    let mut regexp = String::new();
    for letter in text.chars() {
        match letter {
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '|' => {
                regexp.push('[');
                if letter == '^' {
                    regexp.pop();
                    regexp.push('\\');
                }
                regexp.push(letter);
                if letter != '^' {
                    regexp.push(']');
                }
            }
            '&' => regexp.push_str("&amp;"),
            '<' => regexp.push_str("&lt;"),
            '>' => regexp.push_str("&gt;"),
            '"' => regexp.push_str("&quot;"),
            other => regexp.push(other),
        }
    }
    regexp
}

#[cfg(test)]
mod tests {
    use super::in_ipv6;

    #[test]
    fn places_are_the_same_over_ipv6() {
        for (line, expected) in [
            ("? c=IN IP4 10.71.2.21", "? c=IN IP6 fd71:2::21"),
            ("? c=IN IP4 192.0.2.1", "? c=IN IP6 100::1"),
            ("> ACK sdp c=0.0.0.0", "> ACK sdp c=::"),
            (
                "| Contact: <sip:other@10.71.3.31>",
                "| Contact: <sip:other@[fd71:3::31]>",
            ),
            (
                "? ACK sip:10.71.3.31:5060 SIP/2.0",
                "? ACK sip:[fd71:3::31]:5060 SIP/2.0",
            ),
            (
                "+ a=candidate:1 1 UDP 2130706431 10.71.1.11 7000 typ host",
                "+ a=candidate:1 1 UDP 2130706431 fd71:1::11 7000 typ host",
            ),
            ("? m=audio 20000 RTP/AVP 0 8", "? m=audio 20000 RTP/AVP 0 8"),
        ] {
            assert_eq!(in_ipv6(line), expected);
        }
    }
}
