//! rtpengine, forwarding in user space, and as much of its control protocol
//! (ng: bencoded dictionaries over UDP) as two-sided calls need.

use std::collections::BTreeMap;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Lab, Site};
use crate::peers::Process;
use crate::wait::{seconds, wait_for};

/// Port of its control.
pub const CONTROL: u16 = 2_223;

/// rtpengine, running on the lab's hypervisor host.
#[derive(Debug)]
pub struct Rtpengine {
    process: Process,
    control: UdpSocket,
    cookie: u32,
}

impl Rtpengine {
    /// Starts it on an address of the host.
    pub fn start(lab: &Lab, address: std::net::Ipv4Addr) -> Result<Self> {
        let mut command = lab.command(Site::Hv, "rtpengine");
        command
            .args([
                "--foreground",
                "--log-stderr",
                "--log-level=4",
                "--table=-1",
            ])
            .args(["--port-min=20000", "--port-max=64999"])
            .arg(format!("--interface={address}"))
            .arg(format!("--listen-ng={address}:{CONTROL}"));
        let process = Process::start("rtpengine", lab.directory(), &mut command)?;
        let control = lab
            .namespace(Site::Hv)
            .enter(move || -> Result<UdpSocket> {
                let socket = UdpSocket::bind((address, 0))?;
                socket.connect((address, CONTROL))?;
                socket.set_read_timeout(Some(Duration::from_millis(500)))?;
                Ok(socket)
            })??;
        let mut engine = Self {
            process,
            control,
            cookie: 0,
        };
        wait_for("rtpengine to answer a ping", seconds(10), || {
            engine.ask(&[("command", "ping")]).ok()
        })
        .with_context(|| format!("rtpengine said: {}", engine.process.log()))?;
        Ok(engine)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sets up a call between two media addresses: where each has to send.
    pub fn call(
        &mut self,
        number: usize,
        near: SocketAddrV4,
        far: SocketAddrV4,
    ) -> Result<(SocketAddrV4, SocketAddrV4)> {
        let id = format!("bench-{number}");
        let for_far = self.describe("offer", &id, near)?;
        let for_near = self.describe("answer", &id, far)?;
        Ok((for_near, for_far))
    }

    /// An offer or answer; the address that rtpengine puts in its place.
    fn describe(&mut self, command: &str, id: &str, media: SocketAddrV4) -> Result<SocketAddrV4> {
        let (ip, port) = (media.ip(), media.port());
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na=sendrecv\r\n"
        );
        let mut words = vec![
            ("ICE", "remove"),
            ("call-id", id),
            ("command", command),
            ("from-tag", "near"),
            ("sdp", &sdp),
            ("transport-protocol", "RTP/AVP"),
        ];
        if command == "answer" {
            words.push(("to-tag", "far"));
        }
        let reply = self.ask(&words)?;
        let sdp = reply.get("sdp").context("rtpengine's reply has no sdp")?;
        media_address(sdp).with_context(|| format!("in rtpengine's {sdp:?}"))
    }

    fn ask(&mut self, words: &[(&str, &str)]) -> Result<BTreeMap<String, String>> {
        self.cookie += 1;
        let cookie = format!("c{} ", self.cookie);
        let request = format!("{cookie}{}", bencode(words));
        self.control.send(request.as_bytes())?;
        let mut reply = [0; 8_192];
        loop {
            let length = self
                .control
                .recv(&mut reply)
                .context("rtpengine is silent")?;
            // An answer to a request that was given up is passed over.
            if let Some(reply) = reply[..length].strip_prefix(cookie.as_bytes()) {
                let reply = debencode(reply).context("rtpengine's reply cannot be read")?;
                let result = reply.get("result").map(String::as_str);
                ensure!(
                    matches!(result, Some("ok" | "pong")),
                    "rtpengine refuses: {reply:?}"
                );
                return Ok(reply);
            }
        }
    }
}

/// A dictionary of strings. Its keys have to be sorted, so they are.
fn bencode(words: &[(&str, &str)]) -> String {
    let sorted: BTreeMap<_, _> = words.iter().copied().collect();
    let items: String = sorted
        .iter()
        .map(|(key, value)| format!("{}:{key}{}:{value}", key.len(), value.len()))
        .collect();
    format!("d{items}e")
}

/// The strings of a dictionary; what else it holds is passed over.
fn debencode(text: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut rest = text.strip_prefix(b"d").context("no dictionary")?;
    let mut found = BTreeMap::new();
    while rest.first() != Some(&b'e') {
        let key = string(&mut rest)?;
        match rest.first() {
            Some(b'0'..=b'9') => {
                let value = string(&mut rest)?;
                found.insert(key, value);
            }
            _ => skip(&mut rest)?,
        }
    }
    Ok(found)
}

fn string(rest: &mut &[u8]) -> Result<String> {
    let colon = rest
        .iter()
        .position(|&byte| byte == b':')
        .context("a string without a length")?;
    let (length, text) = (&rest[..colon], &rest[colon + 1..]);
    let length: usize = std::str::from_utf8(length)?.parse()?;
    let (text, after) = text
        .split_at_checked(length)
        .context("a string cut short")?;
    *rest = after;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Passes over one value.
fn skip(rest: &mut &[u8]) -> Result<()> {
    match rest.first() {
        Some(b'0'..=b'9') => string(rest).map(drop),
        Some(b'i') => {
            let end = rest.iter().position(|&byte| byte == b'e');
            *rest = &rest[end.context("an endless number")? + 1..];
            Ok(())
        }
        Some(b'l' | b'd') => {
            *rest = &rest[1..];
            while rest.first() != Some(&b'e') {
                skip(rest)?;
            }
            *rest = &rest[1..];
            Ok(())
        }
        other => bail!("{other:?} begins no value"),
    }
}

/// Address and port of a description with one stream.
fn media_address(sdp: &str) -> Option<SocketAddrV4> {
    let line = |prefix: &str| sdp.lines().find_map(|line| line.strip_prefix(prefix));
    let ip = line("c=IN IP4 ")?.trim().parse().ok()?;
    let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
    Some(SocketAddrV4::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_go_out_sorted_and_come_in_whatever_they_hold() {
        assert_eq!(bencode(&[("b", "xy"), ("a", "")]), "d1:a0:1:b2:xye");
        let reply = b"d4:tagsd1:al1:xi-3eee6:result2:ok3:sdp3:v=0e";
        let read = debencode(reply).expect("readable");
        assert_eq!(read["result"], "ok");
        assert_eq!(read["sdp"], "v=0");
        assert!(debencode(b"d6:result9:oke").is_err());
        assert!(debencode(b"d1:al").is_err());
    }
}
