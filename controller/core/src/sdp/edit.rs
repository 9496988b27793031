//! Other media in a description, by splice: the port and formats of one `m=`
//! line, its address, its codecs' attributes, and the version of `o=`.

use std::net::SocketAddr;
use std::ops::Range;

use super::codec::static_codec;
use super::description::{Line, MediaDescription, SessionDescription};
use super::parse;
use crate::media::{Channel, Codec, Direction, Media, Security};
use crate::splice::Splice;

/// What is put in the place of an audio stream's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioReplacement {
    /// Where RTP is to be sent.
    pub rtp: SocketAddr,
    /// Where RTCP is to be sent. `None`: RTP's port + 1.
    pub rtcp: Option<SocketAddr>,
    /// `Some(true)`: `a=rtcp-mux` (RFC 5761) is there; `Some(false)`: it is not;
    /// `None`: as it was.
    pub rtcp_mux: Option<bool>,
    /// The codecs, in order of preference. `None` (or none at all): as they were.
    pub codecs: Option<Vec<Codec>>,
    /// `a=ptime`, ms. `None`: as it was.
    pub ptime: Option<u32>,
    /// `a=maxptime`, ms, or none of it. `None`: as it was.
    pub maxptime: Option<Option<u32>>,
    /// Direction. `None`: as it was.
    pub direction: Option<Direction>,
    /// Keys and candidates: those of the old endpoint's go in any case. `None`:
    /// the keys stay.
    pub channel: Option<Channel>,
    /// Session version of `o=`, as given. `None`: as it was.
    pub origin_version: Option<u64>,
    /// Whether a null address (hold, RFC 2543) becomes `rtp`'s. False: it stays
    /// null, and only the port and the codecs change.
    pub replace_null: bool,
}

impl AudioReplacement {
    /// The address alone: everything else as it was.
    pub fn address(rtp: SocketAddr) -> Self {
        Self {
            rtp,
            rtcp: None,
            rtcp_mux: None,
            codecs: None,
            ptime: None,
            maxptime: None,
            direction: None,
            channel: None,
            origin_version: None,
            replace_null: false,
        }
    }

    /// All that is known of `media` except its direction, which is the call's.
    /// RTCP is multiplexed only where `media` says so.
    pub fn media(media: &Media) -> Self {
        Self {
            rtcp: Some(media.rtcp),
            rtcp_mux: Some(media.rtcp == media.rtp),
            codecs: (!media.codecs.is_empty()).then(|| media.codecs.clone()),
            ptime: media.ptime,
            maxptime: Some(media.maxptime),
            channel: Some(media.channel.clone()),
            ..Self::address(media.rtp)
        }
    }

    /// With this session version in `o=`.
    #[must_use]
    pub fn version(mut self, version: u64) -> Self {
        self.origin_version = Some(version);
        self
    }

    /// With this direction.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// With these codecs.
    #[must_use]
    pub fn codecs(mut self, codecs: Vec<Codec>) -> Self {
        self.codecs = Some(codecs);
        self
    }
}

impl AudioReplacement {
    /// Empty: as they were.
    fn new_codecs(&self) -> &[Codec] {
        self.codecs.as_deref().unwrap_or_default()
    }
}

/// `c=` value of an address.
pub(super) fn connection_value(address: SocketAddr) -> String {
    let ip = address.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!("IN {family} {ip}")
}

/// `a=rtpmap` value of a codec.
pub(super) fn rtpmap_value(codec: &Codec) -> String {
    let Codec {
        payload_type,
        name,
        clock_rate,
        channels,
        ..
    } = codec;
    match channels {
        Some(channels) => format!("{payload_type} {name}/{clock_rate}/{channels}"),
        None => format!("{payload_type} {name}/{clock_rate}"),
    }
}

/// Name of a direction's attribute.
pub(super) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

impl SessionDescription {
    /// The description with another session version in `o=`, and nothing else
    /// changed; without an `o=`, the description as it is.
    pub fn with_version(&self, version: u64) -> Vec<u8> {
        let mut splice = Splice::default();
        self.write_version(&mut splice, version);
        splice.apply(&self.bytes)
    }

    fn write_version(&self, splice: &mut Splice, version: u64) {
        if let Some(origin) = &self.origin
            && origin.sess_version != version
        {
            splice.replace(origin.version_span.clone(), version.to_string());
        }
    }

    /// The description with other media for the stream `index`; all bytes that
    /// this does not concern are those of the original. An `index` that is not
    /// there changes nothing.
    ///
    /// The session level's `c=` is replaced where this stream alone uses it, and
    /// otherwise stays: the stream gets a `c=` of its own. ICE candidates and
    /// credentials of the stream are removed, since they are the old endpoint's,
    /// and it leaves its bundle (RFC 9143), whose other streams stay.
    pub fn replace_audio(&self, index: usize, with: &AudioReplacement) -> Vec<u8> {
        let Some(media) = self.media.get(index) else {
            return self.bytes.clone();
        };
        let mut edit = Edit {
            sdp: self,
            media,
            index,
            splice: Splice::default(),
        };
        // In the order of the text: insertions at one place come out so.
        edit.port(with);
        edit.proto(with);
        edit.formats(with.new_codecs());
        let live = edit.connection(with);
        edit.codecs(with.new_codecs());
        edit.rtcp(with, live);
        edit.rtcp_mux(with);
        edit.ptime(with);
        edit.maxptime(with);
        edit.direction(with);
        edit.channel(with);
        edit.leave_bundle();
        if let Some(version) = with.origin_version {
            self.write_version(&mut edit.splice, version);
        }
        edit.splice.apply(&self.bytes)
    }
}

struct Edit<'a> {
    sdp: &'a SessionDescription,
    media: &'a MediaDescription,
    index: usize,
    splice: Splice,
}

impl<'a> Edit<'a> {
    fn port(&mut self, with: &AudioReplacement) {
        if self.media.port != with.rtp.port() || self.media.port_count != 1 {
            self.splice
                .replace(self.media.port_span.clone(), with.rtp.port().to_string());
        }
    }

    /// `RTP/SAVP` where there are keys, `UDP/TLS/RTP/SAVP` where there are
    /// fingerprints, `RTP/AVP` where there is neither; with feedback (RFC 4585) where
    /// it was.
    fn proto(&mut self, with: &AudioReplacement) {
        let Some(channel) = &with.channel else {
            return;
        };
        let proto = self.media.proto.to_ascii_uppercase();
        let (head, feedback) = match proto.strip_suffix("AVPF") {
            Some(head) => (head, "F"),
            None => (proto.strip_suffix("AVP").unwrap_or(&proto), ""),
        };
        let wanted = match channel.security() {
            Security::Plain => "RTP/",
            Security::Sdes => "RTP/S",
            Security::Dtls => "UDP/TLS/RTP/S",
        };
        if head != wanted {
            let proto = format!("{wanted}AVP{feedback}");
            self.splice.replace(self.media.proto_span.clone(), proto);
        }
    }

    /// Returns whether the stream has the replacement's address afterwards.
    fn connection(&mut self, with: &AudioReplacement) -> bool {
        let null = self.media.connection.as_ref().is_some_and(|c| c.is_null());
        if null && !with.replace_null {
            return with.rtp.ip().is_unspecified();
        }
        let value = connection_value(with.rtp);
        let own = &self.media.section.connections;
        if let Some((line, connection)) = own.first() {
            self.replace_connection(*line, connection.ip(), with, &value);
            // Further c= lines are layers of the old endpoint's (RFC 8866 §5.7).
            for (line, _) in own.iter().skip(1) {
                self.remove_line(*line);
            }
            return true;
        }
        match self.sdp.session.connections.first() {
            Some((line, connection)) if !self.session_connection_is_shared() => {
                self.replace_connection(*line, connection.ip(), with, &value);
            }
            Some((_, connection)) if connection.ip() == Some(with.rtp.ip()) => {}
            _ => self.insert_after_title(&format!("c={value}")),
        }
        true
    }

    fn replace_connection(
        &mut self,
        line: usize,
        old: Option<std::net::IpAddr>,
        with: &AudioReplacement,
        value: &str,
    ) {
        if old != Some(with.rtp.ip())
            && let Some(line) = self.sdp.lines.get(line)
        {
            self.splice.replace(line.value.clone(), value);
        }
    }

    /// Whether another live stream uses the session level's `c=`.
    fn session_connection_is_shared(&self) -> bool {
        self.sdp
            .media
            .iter()
            .enumerate()
            .any(|(index, m)| index != self.index && m.port != 0 && !m.has_own_connection())
    }

    /// Formats of `m=`.
    fn formats(&mut self, codecs: &[Codec]) {
        let formats: Vec<String> = codecs.iter().map(|c| c.payload_type.to_string()).collect();
        let mut formats = formats.join(" ");
        let span = self.media.formats_span.clone();
        if codecs.is_empty() || self.sdp.text(&span) == formats.as_bytes() {
            return;
        }
        if span.is_empty() {
            formats.insert(0, ' ');
        }
        self.splice.replace(span, formats);
    }

    /// `a=rtpmap`, `a=fmtp`, `a=rtcp-fb`. A line that says already what it is to
    /// say stays.
    fn codecs(&mut self, codecs: &[Codec]) {
        if codecs.is_empty() {
            return;
        }
        let known = self.media.codecs();
        let same = |codec: &Codec| known.iter().any(|k| k == codec);
        // Where the first of the new attributes goes: the place of the first old.
        let mut place = None;
        let mut mapped = Vec::new();
        let mut parameterised = Vec::new();
        for index in self.attribute_lines() {
            let Some(line) = self.sdp.lines.get(index) else {
                continue;
            };
            let (name, value) = parse::attribute(self.sdp.text(&line.value));
            if !matches!(name, b"rtpmap" | b"fmtp" | b"rtcp-fb") {
                continue;
            }
            let Some((payload_type, _)) = parse::payload_type(value) else {
                continue; // `a=rtcp-fb:*`, or nothing that can be read.
            };
            place = place.or(Some(line.whole.start));
            let codec = codecs.iter().find(|c| c.payload_type == payload_type);
            match (codec, name) {
                (Some(codec), b"rtpmap") if same(codec) => mapped.push(payload_type),
                (Some(codec), b"fmtp") if same(codec) => parameterised.push(payload_type),
                (Some(codec), b"rtcp-fb") if same(codec) => {}
                _ => self.remove_line(index),
            }
        }
        let mut new = Vec::new();
        for codec in codecs {
            let understood = same(codec) && static_codec(codec.payload_type).is_some();
            if !mapped.contains(&codec.payload_type) && !understood {
                new.push(format!("a=rtpmap:{}", rtpmap_value(codec)));
            }
            if let Some(fmtp) = &codec.fmtp
                && !parameterised.contains(&codec.payload_type)
            {
                new.push(format!("a=fmtp:{} {fmtp}", codec.payload_type));
            }
        }
        match place {
            Some(at) => {
                for line in new {
                    let line = [line.as_bytes(), self.sdp.line_end()].concat();
                    self.splice.insert(at, line);
                }
            }
            None => new.iter().for_each(|line| self.append(line)),
        }
    }

    fn rtcp(&mut self, with: &AudioReplacement, live: bool) {
        let default = with.rtp.port().saturating_add(1);
        let rtcp = with
            .rtcp
            .unwrap_or_else(|| SocketAddr::new(with.rtp.ip(), default));
        // Multiplexed RTCP needs no line (RFC 5761 §5.1.1).
        let plain = rtcp.port() == default || rtcp == with.rtp;
        let mut value = rtcp.port().to_string();
        if live && rtcp.ip() != with.rtp.ip() {
            value = format!("{value} {}", connection_value(rtcp));
        }
        if let Some(said) = self.media.rtcp {
            let address = said.address.unwrap_or(with.rtp.ip());
            let null_stays = !live && said.address.is_none();
            if said.port == rtcp.port() && (null_stays || live && address == rtcp.ip()) {
                return;
            }
        }
        match self.attribute_line(|name| name == b"rtcp") {
            Some(line) => {
                let text = format!("rtcp:{value}");
                self.rewrite(line, &text);
            }
            None if plain && rtcp.ip() == with.rtp.ip() => {}
            None if live => self.append(&format!("a=rtcp:{value}")),
            None => {}
        }
    }

    fn rtcp_mux(&mut self, with: &AudioReplacement) {
        let lines: Vec<usize> = self
            .attribute_lines()
            .filter(|line| self.attribute_name(*line) == b"rtcp-mux")
            .collect();
        match with.rtcp_mux {
            Some(false) => lines.into_iter().for_each(|line| self.remove_line(line)),
            Some(true) if lines.is_empty() => self.append("a=rtcp-mux"),
            _ => {}
        }
    }

    fn ptime(&mut self, with: &AudioReplacement) {
        let Some(ptime) = with.ptime.filter(|ptime| self.media.ptime != Some(*ptime)) else {
            return;
        };
        match self.attribute_line(|name| name == b"ptime") {
            Some(line) => self.rewrite(line, &format!("ptime:{ptime}")),
            None => self.append(&format!("a=ptime:{ptime}")),
        }
    }

    /// The old endpoint's goes with it. One of the session level stays for the other
    /// streams; it is overruled here where there is a new one.
    fn maxptime(&mut self, with: &AudioReplacement) {
        let Some(maxptime) = with.maxptime.filter(|new| *new != self.media.maxptime) else {
            return;
        };
        let line = self.attribute_line(|name| name == b"maxptime");
        match (line, maxptime) {
            (Some(line), Some(maxptime)) => self.rewrite(line, &format!("maxptime:{maxptime}")),
            (Some(line), None) => self.remove_line(line),
            (None, Some(maxptime)) => self.append(&format!("a=maxptime:{maxptime}")),
            (None, None) => {}
        }
    }

    fn direction(&mut self, with: &AudioReplacement) {
        let Some(direction) = with.direction.filter(|d| *d != self.media.direction) else {
            return;
        };
        let name = direction_name(direction);
        let mut own = self.media.section.directions.iter();
        match own.next() {
            Some((line, _)) => self.rewrite(*line, name),
            None => self.append(&format!("a={name}")),
        }
        for (line, _) in own {
            self.remove_line(*line);
        }
    }

    /// The old endpoint's candidates go, and its keys where there are new ones.
    /// What the session level says of ICE goes too where no other stream uses it.
    fn channel(&mut self, with: &AudioReplacement) {
        let none = Channel::default();
        let (keep_keys, new) = match &with.channel {
            Some(channel) => {
                let own = &self.media.channel;
                let same = channel.crypto == own.crypto
                    && channel.dtls == own.dtls
                    && channel.setup == own.setup;
                (same, channel)
            }
            None => (true, &none),
        };
        let keep_ice = !new.ice.is_empty() && new.ice == self.media.channel.ice;
        let others = self
            .sdp
            .media
            .iter()
            .enumerate()
            .any(|(index, m)| index != self.index && m.port != 0);
        let session = self.sdp.session.lines.clone().filter(|_| !others);
        let keys = |name: &[u8]| name == b"crypto" || parse::is_dtls(name);
        let goes = |name: &[u8]| !keep_ice && parse::is_ice(name) || !keep_keys && keys(name);
        let lines: Vec<usize> = self
            .attribute_lines()
            .filter(|line| goes(self.attribute_name(*line)))
            .chain(session.filter(|line| {
                let name = self.attribute_name(*line);
                let ice = parse::is_ice(name) || name == b"ice-lite" && !new.ice_lite;
                let dtls = parse::is_dtls(name);
                self.kind(*line) == b'a' && (!keep_ice && ice || !keep_keys && dtls)
            }))
            .collect();
        for line in lines {
            self.remove_line(line);
        }
        if !keep_keys {
            for key in &new.crypto {
                self.append(&format!("a=crypto:{key}"));
            }
            for line in &new.dtls {
                self.append(&format!("a={line}"));
            }
            if let Some(setup) = new.setup {
                self.append(&format!("a=setup:{}", setup.name()));
            }
        }
        if !keep_ice {
            for line in &new.ice {
                self.append(&format!("a={line}"));
            }
        }
        if new.ice_lite && !self.sdp.session.channel.ice_lite {
            let lines = &self.sdp.session.lines;
            let last = lines.clone().rev().find(|line| self.kind(*line) != 0);
            self.insert_after(last.unwrap_or(lines.start), "a=ice-lite");
        }
    }

    /// The stream's transport is its own now. A bundle of one is none.
    fn leave_bundle(&mut self) {
        let Some(mid) = &self.media.mid else {
            return;
        };
        for (line, mids) in &self.sdp.session.bundles {
            if !mids.contains(mid) {
                continue;
            }
            let rest: Vec<&str> = mids
                .iter()
                .filter(|other| *other != mid)
                .map(String::as_str)
                .collect();
            if rest.len() < 2 {
                self.remove_line(*line);
            } else {
                self.rewrite(*line, &format!("group:BUNDLE {}", rest.join(" ")));
            }
        }
    }

    /// Indexes of the stream's own `a=` lines.
    fn attribute_lines(&self) -> impl Iterator<Item = usize> + use<'a> {
        let sdp = self.sdp;
        let lines: Range<usize> = self.media.section.lines.clone();
        lines.filter(|line| sdp.lines.get(*line).is_some_and(|line| line.kind == b'a'))
    }

    fn attribute_name(&self, line: usize) -> &'a [u8] {
        let value = self.sdp.lines.get(line).map(|line| line.value.clone());
        parse::attribute(self.sdp.text(&value.unwrap_or_default())).0
    }

    fn attribute_line(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<usize> {
        self.attribute_lines()
            .find(|line| wanted(self.attribute_name(*line)))
    }

    /// Replaces what stands between `a=` and the line end.
    fn rewrite(&mut self, line: usize, value: &str) {
        if let Some(line) = self.sdp.lines.get(line)
            && self.sdp.text(&line.value) != value.as_bytes()
        {
            self.splice.replace(line.value.clone(), value);
        }
    }

    fn remove_line(&mut self, line: usize) {
        if let Some(line) = self.sdp.lines.get(line) {
            self.splice.remove(line.whole.clone());
        }
    }

    /// Inserts a line after `m=` and `i=` (RFC 8866 §5: `c=` comes next).
    fn insert_after_title(&mut self, line: &str) {
        let lines = &self.media.section.lines;
        let title = lines
            .clone()
            .skip(1)
            .take_while(|line| self.kind(*line) == b'i')
            .last();
        self.insert_after(title.unwrap_or(lines.start), line);
    }

    /// Inserts a line after the stream's last one.
    fn append(&mut self, line: &str) {
        let lines = &self.media.section.lines;
        let last = lines.clone().rev().find(|line| self.kind(*line) != 0);
        self.insert_after(last.unwrap_or(lines.start), line);
    }

    fn kind(&self, line: usize) -> u8 {
        self.sdp.lines.get(line).map_or(0, |line| line.kind)
    }

    fn insert_after(&mut self, line: usize, new: &str) {
        let Some(Line { whole, .. }) = self.sdp.lines.get(line) else {
            return;
        };
        let end = self.sdp.line_end();
        let text = if self.sdp.text(whole).ends_with(b"\n") {
            [new.as_bytes(), end].concat()
        } else {
            // The last line of a description that does not end with a line end.
            [end, new.as_bytes()].concat()
        };
        self.splice.insert(whole.end, text);
    }
}
